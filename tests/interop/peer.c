/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/interop/peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/roce/packet.h"
#include "proto/atoll_proto.h"

enum {
	BURST = 32,
	IDLE_TURNS = 20, /* then the loop sleeps */
	SLEEP_NS = 1000000,
};

uint64_t peer_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *host_memory(void *host, struct roce_qp *qp, uint32_t rkey, uint64_t va, uint32_t len,
			 uint32_t access, uint8_t *status)
{
	struct peer *p = host;

	(void)qp;
	if (rkey != p->rkey) {
		*status = STATUS_BAD_HANDLE;
		return NULL;
	}
	if (access & ~p->access) {
		*status = STATUS_NO_RIGHT;
		return NULL;
	}
	if (va < PEER_VA || va - PEER_VA > PEER_REGION || len > PEER_REGION - (va - PEER_VA)) {
		*status = STATUS_RANGE;
		return NULL;
	}
	return p->region + (va - PEER_VA);
}

static void host_complete(void *host, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct peer *p = host;

	if (p->events->complete)
		p->events->complete(p, qp, cookie, status);
}

static int host_receive(void *host, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct peer *p = host;

	return p->events->receive ? p->events->receive(p, qp, data, len) : -EAGAIN;
}

static void host_error(void *host, struct roce_qp *qp, enum roce_error why)
{
	struct peer *p = host;

	if (p->events->error)
		p->events->error(p, qp, why);
}

static void host_datagram(void *host, struct ip_addr address, uint32_t qpn, const void *mad, uint32_t len)
{
	struct peer *p = host;

	(void)qpn;
	if (p->events->datagram)
		p->events->datagram(p, address, mad, len);
}

static const struct roce_host host_ops = {.memory = host_memory,
					  .complete = host_complete,
					  .receive = host_receive,
					  .error = host_error,
					  .datagram = host_datagram};

void peer_open(struct peer *p, const char *spec, const char *address, const char *remote,
	       const struct peer_events *events, void *arg)
{
	struct port_conf pc = {.udp_port = ROCE_UDP_PORT};
	struct roce_dev_conf dc = {.udp_port = ROCE_UDP_PORT, .max_qps = 64, .seed = peer_now()};
	char why[256] = "";
	int rc;

	memset(p, 0, sizeof(*p));
	p->address = ntohl(inet_addr(address));
	pc.address = dc.address = ip_addr_v4(p->address);
	p->remote = ntohl(inet_addr(remote));
	p->events = events;
	p->arg = arg;
	p->access = ROCE_REMOTE_READ | ROCE_REMOTE_WRITE | ROCE_REMOTE_ATOMIC;
	p->rkey = 0x5eed0000u ^ (uint32_t)peer_now();
	rc = port_open(&p->port, spec, &pc, why, sizeof(why));
	if (!rc)
		rc = p->port->ops->start(p->port);
	if (rc) {
		warnx("%s: %s", spec, why[0] ? why : strerror(-rc));
		exit(rc == -ENOENT ? 77 : 1);
	}
	p->region = aligned_alloc(4096, PEER_REGION);
	p->nif = netif_new(p->port, pc.address, ROCE_UDP_PORT);
	if (p->nif && p->region)
		p->dev = roce_dev_new(&dc, p->nif, &host_ops, p);
	if (!p->dev)
		errx(1, "out of memory");
	memset(p->region, 0, PEER_REGION);
}

void peer_close(struct peer *p)
{
	roce_dev_delete(p->dev);
	netif_delete(p->nif);
	p->port->ops->close(p->port);
	free(p->region);
}

static void peer_sleep(struct peer *p)
{
	struct pollfd fd = {.fd = p->port->ops->wait_fd(p->port), .events = POLLIN};
	uint64_t due = roce_next_timer(p->dev), now = peer_now();
	struct timespec most = {.tv_nsec = SLEEP_NS};

	if (due <= now)
		return;
	if (due - now < SLEEP_NS)
		most.tv_nsec = (long)(due - now);
	if (fd.fd < 0)
		sched_yield();
	else if (!p->port->ops->arm(p->port))
		ppoll(&fd, 1, &most, NULL);
}

void peer_turn(struct peer *p)
{
	unsigned did;

	p->now = peer_now();
	did = roce_input(p->dev, p->now, BURST);
	roce_timers(p->dev, p->now);
	did += roce_output(p->dev, p->now, BURST);
	netif_tick(p->nif, p->now);
	if (did) {
		p->idle = 0;
	} else if (++p->idle > IDLE_TURNS) {
		peer_sleep(p);
	} else {
		sched_yield();
	}
}

uint32_t peer_mtu(const struct peer *p, uint32_t want)
{
	uint32_t mtu = ROCE_MTU_MAX;

	while (mtu > want || (mtu > ROCE_MTU_MIN && mtu + PACKET_DATA_OVERHEAD > netif_mtu(p->nif)))
		mtu /= 2;
	return mtu;
}

void peer_counters(const struct peer *p, char *out, size_t size)
{
	const uint64_t *c = roce_counters(p->dev);
	size_t at = 0;

	out[0] = 0;
	for (int i = 0; i < ROCE_C_COUNT; i++)
		if (c[i] && at < size)
			at += (size_t)snprintf(out + at, size - at, "%s=%llu ",
					       roce_counter_names[i], (unsigned long long)c[i]);
}

/* ------------------------------------------------------------------ TCP */

static int tcp_socket(uint32_t address, uint16_t port, struct sockaddr_in *sa)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	*sa = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
	return fd;
}

int tcp_connect(uint32_t address, uint16_t port)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	struct sockaddr_in sa;

	for (int i = 0; i < 200; i++) {
		int fd = tcp_socket(address, port, &sa);

		if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
			return fd;
		close(fd);
		nanosleep(&nap, NULL);
	}
	err(1, "nobody accepts on TCP port %u", port);
}

int tcp_accept(uint32_t address, uint16_t port)
{
	struct sockaddr_in sa;
	int fd = tcp_socket(address, port, &sa), on = 1, conn;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 1))
		err(1, "TCP port %u", port);
	conn = accept(fd, NULL, NULL);
	if (conn < 0)
		err(1, "accept");
	close(fd);
	return conn;
}

void tcp_read(int fd, void *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = read(fd, (char *)data + at, len - at);

		if (n <= 0)
			errx(1, "the other end closed its TCP connection");
		at += (size_t)n;
	}
}

void tcp_write(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "TCP");
}
