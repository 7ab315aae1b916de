/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shm_peer.c - one end of a link for test_shm_link.py: sends numbered frames of many sizes and
 * checks what comes.
 *
 * `shm_peer PORT ADDRESS [turns]`, the port as in a node's configuration. Without `turns` it sends
 * all the time and never sleeps; with it, one frame for each that comes, and sleeps on the port's
 * descriptor in between; after 50 ms without a frame it sends one. Every 50 ms a line "up L tx N rx
 * N bad N" on standard output. Ends well on SIGTERM or end of file on standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/port.h"

enum {
	HEAD = 14 + 16,
	PAYLOAD_MAX = 4096 + 100,
	SILENCE_NS = 50000000
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint32_t size_of(uint64_t n)
{
	return n % 3 ? PAYLOAD_MAX - (uint32_t)(n % 32) : 34 + (uint32_t)(n % 1500);
}

/* Frame: Ethernet (broadcast, ours, a local experimental type), number, seed, then bytes that both
 * give. */
static void frame_build(const struct port *port, struct pkt *p, uint64_t n, uint64_t seed)
{
	uint32_t size = size_of(n);
	uint64_t x = n * 0x9e3779b97f4a7c15u ^ seed;

	memset(p->data, 0xff, 6);
	memcpy(p->data + 6, port->mac, 6);
	p->data[12] = 0x88;
	p->data[13] = 0xb5;
	memcpy(p->data + 14, &n, 8);
	memcpy(p->data + 22, &seed, 8);
	for (uint32_t i = 0; i < size; i++)
		p->data[HEAD + i] = (uint8_t)(x >> (i & 7) * 8) ^ (uint8_t)i;
	p->len = HEAD + size;
}

static int frame_good(const struct pkt *p)
{
	uint64_t n, seed, x;

	if (p->len < HEAD)
		return 0;
	memcpy(&n, p->data + 14, 8);
	memcpy(&seed, p->data + 22, 8);
	x = n * 0x9e3779b97f4a7c15u ^ seed;
	if (p->len != HEAD + size_of(n))
		return 0;
	for (uint32_t i = 0; i < size_of(n); i++)
		if (p->data[HEAD + i] != (uint8_t)((uint8_t)(x >> (i & 7) * 8) ^ (uint8_t)i))
			return 0;
	return 1;
}

int main(int argc, char **argv)
{
	struct port_conf conf = {.udp_port = 4791};
	struct sigaction sa = {.sa_handler = on_signal};
	bool turns = argc == 4 && !strcmp(argv[3], "turns");
	uint64_t heard = 0, tx = 0, rx = 0, bad = 0, seed = (uint64_t)getpid() << 32 ^ now_ns(),
		 said = 0, polled = 0;
	struct port_stats stats;
	struct pkt *pkts[PORT_BURST_MAX];
	struct port *port;
	char err[256] = "";
	int rc;

	if (argc != 3 && !turns)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	conf.address = ip_addr_v4(ntohl(inet_addr(argv[2])));
	sigaction(SIGTERM, &sa, NULL);
	rc = port_open(&port, argv[1], &conf, err, sizeof(err));
	if (!rc)
		rc = port->ops->start(port);
	if (rc) {
		fprintf(stderr, "shm_peer: %s: %s\n", argv[1], err[0] ? err : strerror(-rc));
		return rc == -ENOENT ? 77 : 1;
	}
	while (!stopped) {
		uint64_t now = now_ns();
		unsigned n = port->ops->rx_burst(port, pkts, PORT_BURST_MAX), sent, send = 8;

		for (unsigned i = 0; i < n; i++)
			bad += !frame_good(pkts[i]);
		rx += n;
		port->ops->free(port, pkts, n);
		if (turns) {
			struct pollfd fd = {.fd = port->ops->wait_fd(port), .events = POLLIN};

			heard = n || !heard ? now : heard;
			if (!n && now - heard < SILENCE_NS) {
				if (!port->ops->arm(port))
					poll(&fd, 1, SILENCE_NS / 1000000);
				continue;
			}
			heard = now;
			send = 1;
		}
		n = port->ops->alloc(port, pkts, send);
		if (n && pkts[0]->room < HEAD + PAYLOAD_MAX) {
			fprintf(stderr, "shm_peer: buffers of %u bytes\n", pkts[0]->room);
			return 1;
		}
		for (unsigned i = 0; i < n; i++)
			frame_build(port, pkts[i], tx + i, seed);
		sent = port->ops->tx_burst(port, pkts, n);
		tx += sent;
		port->ops->free(port, pkts + sent, n - sent);
		if (now - said > 50000000) {
			port->ops->stats(port, &stats);
			printf("up %d tx %llu rx %llu bad %llu\n", port->ops->link_up(port),
			       (unsigned long long)(tx - stats.tx_dropped), (unsigned long long)rx,
			       (unsigned long long)bad);
			said = now;
		}
		if (now - polled > 10000000) {
			struct pollfd in = {.events = POLLIN};
			char byte;

			polled = now;
			if (poll(&in, 1, 0) == 1 && read(0, &byte, 1) <= 0)
				break;
		}
	}
	port->ops->close(port);
	return bad ? 1 : 0;
}
