/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk.c - any poll-mode driver of DPDK, and the shared-memory link between two processes.
 *
 * `dpdk:DEVICE[;OPTION]...`: DEVICE is a PCI address or a virtual device with its arguments, as in
 * `dpdk:net_af_packet0,iface=v0`. Options: huge=auto|on|off, memory_mb=N, and what begins with a
 * dash is given to the environment (EAL) as it is, words apart. The environment is the process's:
 * the first port decides.
 *
 * `shm:PATH,side=a|b[;OPTION]...`: the link of two processes on one machine over the socket PATH,
 * one of each side (dpdk_eal.h).
 */
#include <errno.h>
#include <pthread.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/ports/dpdk_eal.h"
#include "dataplane/ports/dpdk_port.h"
#include "dataplane/ports/dpdk_socket.h"
#include "dataplane/ports/drivers.h"

enum {
	BUFFERS = 4095, /* 2^n - 1 suits the pool best */
	BUFFERS_MAX = 262143,
	BUFFER_CACHE = 256,
	MTU_DEFAULT = 4352, /* 4096 of RoCE payload and every header */
	MTU_MAX = 9000,
	MTU_AF_XDP = 3456, /* a buffer with all that is before its packet lies in one page */
	ETHER_ROOM = 14 + 8 + 4, /* header, two VLAN tags, check sequence */
	EAL_WORDS = 24,
};

/* ------------------------------------------------------------------ open and close */

/* Devices write to sockets of peers that may be dead: keep that signal from the caller. */
static void pipe_block(sigset_t *before)
{
	sigset_t pipe_only;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, before);
}

static void pipe_restore(const sigset_t *before)
{
	const struct timespec zero = {0};
	sigset_t pipe_only;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	if (!sigismember(before, SIGPIPE))
		while (sigtimedwait(&pipe_only, NULL, &zero) == SIGPIPE)
			;
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

static int dpdk_start(struct port *p)
{
	struct dpdk_port *d = dpdk_from(p);
	sigset_t before;
	int rc;

	/* the pool's cache is the thread's, by DPDK's number of it */
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register())
		return -rte_errno;
	pipe_block(&before);
	rc = d->serves[0] ? dpdk_server_begin(d) : dpdk_device_start(d);
	pipe_restore(&before);
	return rc;
}

static void dpdk_close(struct port *p)
{
	struct dpdk_port *d = dpdk_from(p);
	sigset_t before;

	if (d->threaded && !dpdk_server_join(d))
		return; /* it still uses the port: the process's end frees both */
	atomic_store(&d->ready, false);
	atomic_store(&d->link, false);
	pipe_block(&before);
	dpdk_device_remove(d);
	pipe_restore(&before);
	if (d->threaded)
		dpdk_socket_clear(d->serves);
	rte_mempool_free(d->pool);
	if (d->wait >= 0)
		close(d->wait);
	if (d->wake >= 0)
		close(d->wake);
	if (d->ask >= 0)
		close(d->ask);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

struct options {
	struct dpdk_eal_conf eal;
	char *words[EAL_WORDS];
};

static int option_parse(struct options *o, char *text, char *err, size_t errlen)
{
	char *save = NULL, *end;

	if (text[0] == '-') {
		for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
			if (o->eal.nargs == EAL_WORDS)
				return -E2BIG;
			o->words[o->eal.nargs++] = w;
		}
		return 0;
	}
	if (!strcmp(text, "huge=on")) {
		o->eal.huge = DPDK_HUGE_ON;
	} else if (!strcmp(text, "huge=off")) {
		o->eal.huge = DPDK_HUGE_OFF;
	} else if (!strncmp(text, "memory_mb=", 10)) {
		unsigned long mb = strtoul(text + 10, &end, 10);

		if (*end || mb < 1 || mb > 1 << 20)
			goto bad;
		o->eal.memory_mb = (uint32_t)mb;
	} else if (strcmp(text, "huge=auto")) {
		goto bad;
	}
	return 0;
bad:
	snprintf(err, errlen,
		 "dpdk: option \"%s\": there are huge=auto|on|off, memory_mb=N, and EAL arguments "
		 "that begin "
		 "with a dash",
		 text);
	return -EINVAL;
}

/* A PCI address: hexadecimal digits, and a colon. */
static bool is_pci(const char *name)
{
	size_t digits = strspn(name, "0123456789abcdefABCDEF");

	return digits >= 2 && name[digits] == ':';
}

static int device_open(struct dpdk_port *d, const struct port_conf *conf, struct options *o,
		       char *err, size_t errlen)
{
	uint32_t buffers = conf->buffers ? conf->buffers : BUFFERS;
	uint32_t room = RTE_PKTMBUF_HEADROOM, bytes;
	char name[RTE_MEMPOOL_NAMESIZE];
	static unsigned pools;
	sigset_t before;
	int rc;

	if (buffers < 2 * DPDK_RING)
		buffers = 2 * DPDK_RING;
	if (buffers > BUFFERS_MAX)
		buffers = BUFFERS_MAX;
	d->mtu_wanted = conf->mtu && conf->mtu < MTU_MAX ? conf->mtu : MTU_DEFAULT;
	if (!strncmp(d->name, "net_af_xdp", 10) && d->mtu_wanted > MTU_AF_XDP)
		d->mtu_wanted = MTU_AF_XDP;
	if (d->mtu_wanted < DPDK_MTU_MIN)
		d->mtu_wanted = DPDK_MTU_MIN;
	room += RTE_ALIGN_CEIL(d->mtu_wanted + ETHER_ROOM, 64);
	bytes = room + (uint32_t)sizeof(struct rte_mbuf) + DPDK_PRIVATE + 64;
	if (!o->eal.memory_mb)
		o->eal.memory_mb = (uint32_t)((uint64_t)buffers * bytes >> 20) + 32;
	o->eal.device = d->pci ? d->name : NULL;
	o->eal.args = o->words;
	rc = dpdk_eal_start(&o->eal, err, errlen);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "pkt%u", pools++);
	d->pool = rte_pktmbuf_pool_create(name, buffers, BUFFER_CACHE, DPDK_PRIVATE, (uint16_t)room,
					  SOCKET_ID_ANY);
	if (!d->pool) {
		snprintf(err, errlen,
			 "dpdk: %u packet buffers of %u bytes: %s: give memory_mb=N, or fewer "
			 "buffers",
			 buffers, bytes, rte_strerror(rte_errno));
		return -ENOMEM;
	}
	if (!d->serves[0]) {
		pipe_block(&before);
		rc = dpdk_device_probe(d, err, errlen);
		pipe_restore(&before);
		return rc;
	}
	rc = dpdk_socket_clear(d->serves);
	if (rc)
		snprintf(err, errlen, "dpdk: %s: %s: is another process this side of the link?",
			 d->serves, strerror(-rc));
	return rc;
}

/* What the owner sleeps on. */
static int wait_open(struct dpdk_port *d)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

	d->wait = epoll_create1(EPOLL_CLOEXEC);
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->wait < 0 || d->wake < 0 || epoll_ctl(d->wait, EPOLL_CTL_ADD, d->wake, &ev))
		return -errno;
	return 0;
}

static struct dpdk_port *port_new(const struct port_ops *ops)
{
	struct dpdk_port *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->port.ops = ops;
	d->wait = d->wake = d->ask = -1;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

/* Splits "DEVICE;OPTION;..." in place. */
static int options_split(struct options *o, char *text, char *err, size_t errlen)
{
	char *save = NULL, *part = strtok_r(text, ";", &save);
	int rc = 0;

	while (!rc && part && (part = strtok_r(NULL, ";", &save)))
		rc = option_parse(o, part, err, errlen);
	return rc;
}

static void mac_derive(uint8_t mac[6], struct ip_addr address)
{
	mac[0] = 0x02; /* locally administered */
	mac[1] = 0xa7;
	for (int i = 0; i < 4; i++)
		mac[2 + i] = address.b[12 + i];
}

/* "path=" of virtio-user's arguments, if it is to serve it. */
static int server_path(struct dpdk_port *d)
{
	const char *path = strstr(d->args, "path=");
	size_t len;

	if (strncmp(d->name, "virtio_user", 11) && strncmp(d->name, "net_virtio_user", 15))
		return 0;
	if (!path || !strstr(d->args, "server=1"))
		return 0;
	path += 5;
	len = strcspn(path, ",");
	if (len >= sizeof(d->serves))
		return -ENAMETOOLONG;
	memcpy(d->serves, path, len);
	d->serves[len] = 0;
	return 0;
}

/* "iface=" of a packet socket's arguments: DPDK says of these that they are up, whatever they are. */
static void iface_watch(struct dpdk_port *d)
{
	const char *at = strstr(d->args, "iface=");
	size_t len;

	if (!at)
		return;
	at += 6;
	len = strcspn(at, ",");
	if (!len || len >= sizeof(d->iface) || memchr(at, '/', len)) /* vhost: a socket's path */
		return;
	memcpy(d->iface, at, len);
	d->iface[len] = 0;
	d->ask = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_end(struct dpdk_port *d, int rc, struct port **out)
{
	if (rc)
		dpdk_close(&d->port);
	else
		*out = &d->port;
	return rc;
}

static int dpdk_open(struct port **out, const struct port_conf *conf, char *err, size_t errlen)
{
	struct dpdk_port *d = port_new(&port_dpdk_ops);
	struct options o = {0};
	char *text = strdup(conf->args), *comma;
	int rc = -ENOMEM;

	if (!d || !text) {
		free(text);
		free(d);
		return rc;
	}
	d->v6 = ip_addr_is_v6(conf->address);
	rc = options_split(&o, text, err, errlen);
	comma = strchr(text, ',');
	if (comma)
		*comma++ = 0;
	if (!rc && (!text[0] || strlen(text) >= sizeof(d->name) ||
		    (comma && strlen(comma) >= sizeof(d->args) - 24))) {
		snprintf(err, errlen,
			 "dpdk: \"%s\" names no device: give a PCI address or a virtual device, "
			 "for example "
			 "dpdk:net_af_packet0,iface=eth0",
			 text);
		rc = -EINVAL;
	}
	if (!rc) {
		strcpy(d->name, text);
		strcpy(d->args, comma ? comma : "");
		d->pci = is_pci(text);
		rc = server_path(d);
	}
	if (!rc && d->serves[0] && !strstr(d->args, "mac=")) {
		/* the device comes later, but neighbours ask for its address at once */
		size_t at = strlen(d->args);

		d->own_mac = true;
		mac_derive(d->port.mac, conf->address);
		snprintf(d->args + at, sizeof(d->args) - at, ",mac=%02x:%02x:%02x:%02x:%02x:%02x",
			 d->port.mac[0], d->port.mac[1], d->port.mac[2], d->port.mac[3],
			 d->port.mac[4], d->port.mac[5]);
	}
	if (!rc)
		rc = device_open(d, conf, &o, err, errlen);
	if (!rc && d->own_mac)
		d->port.mtu = d->mtu_wanted;
	if (!rc)
		iface_watch(d);
	free(text);
	return open_end(d, rc, out);
}

static int dpdk_open_shm(struct port **out, const struct port_conf *conf, char *err, size_t errlen)
{
	struct dpdk_port *d = port_new(&port_shm_ops);
	struct options o = {0};
	char *text = strdup(conf->args), *comma;
	enum dpdk_shm_side side = DPDK_SHM_A;
	int rc = -ENOMEM;

	if (!d || !text) {
		free(text);
		free(d);
		return rc;
	}
	d->v6 = ip_addr_is_v6(conf->address);
	rc = options_split(&o, text, err, errlen);
	comma = strchr(text, ',');
	if (comma)
		*comma++ = 0;
	if (comma && !strcmp(comma, "side=b"))
		side = DPDK_SHM_B;
	else if (!rc && (!text[0] || !comma || strcmp(comma, "side=a"))) {
		snprintf(err, errlen,
			 "shm: \"%s\" is not PATH,side=a or PATH,side=b, for example "
			 "shm:/run/atoll/link.sock,side=a; one process of the link is a, the other "
			 "b",
			 conf->args);
		rc = -EINVAL;
	}
	if (!rc) {
		d->own_mac = true;
		mac_derive(d->port.mac, conf->address);
		rc = dpdk_shm_vdev(side, text, d->port.mac, d->name, sizeof(d->name), d->args,
				   sizeof(d->args));
		if (!rc)
			rc = server_path(d);
		if (rc)
			snprintf(err, errlen, "shm: the path %s is too long for a socket", text);
	}
	if (!rc)
		rc = wait_open(d);
	if (!rc)
		rc = device_open(d, conf, &o, err, errlen);
	d->port.mtu = d->mtu_wanted;
	free(text);
	return open_end(d, rc, out);
}

#define OPERATIONS                                                                                 \
	.start = dpdk_start, .alloc = dpdk_alloc, .free = dpdk_free, .rx_burst = dpdk_rx,          \
	.tx_burst = dpdk_tx, .wait_fd = dpdk_wait_fd, .arm = dpdk_arm, .link_up = dpdk_link_up,    \
	.stats = dpdk_stats, .close = dpdk_close

const struct port_ops port_dpdk_ops = {
	.name = "dpdk",
	.caps = PORT_L2,
	.open = dpdk_open,
	OPERATIONS,
};

const struct port_ops port_shm_ops = {
	.name = "shm",
	.caps = PORT_L2 | PORT_LOSSLESS,
	.open = dpdk_open_shm,
	OPERATIONS,
};
