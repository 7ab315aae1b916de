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
 *
 * A packet is one mbuf; struct pkt lies in the mbuf's private area, so nothing is allocated. What
 * arrives in several segments, is too short for a header or comes back from ourselves (packet
 * sockets loop what they send) is dropped and counted. While the link is down, what is sent is
 * dropped as by a cable that is out: the other side may be a new process when it comes back.
 *
 * virtio-user in server mode does not become a device before its peer has connected. So it is made
 * on a thread of its own, and the port is one whose link is down until then; a peer that dies in
 * the middle of that is tried again. (Until then other virtual devices of this process wait: one
 * such port a process.) Later comings and goings are DPDK's affair, on its own thread, while rings
 * are polled.
 */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "dataplane/ports/dpdk_eal.h"
#include "dataplane/ports/dpdk_socket.h"
#include "dataplane/ports/drivers.h"

enum {
	BUFFERS = 4095, /* 2^n - 1 suits the pool best */
	BUFFERS_MAX = 262143,
	BUFFER_CACHE = 256,
	RING = 256,         /* descriptors a direction */
	MTU_DEFAULT = 4352, /* 4096 of RoCE payload and every header */
	MTU_MIN = 576,
	MTU_MAX = 9000,
	ETHER_ROOM = 14 + 8 + 4, /* header, two VLAN tags, check sequence */
	EAL_WORDS = 24,
	RETRY_NS = 50000000,
	CLOSE_TRIES = 200, /* times 10 ms */
};

/* Where struct pkt lies: a cache line, so that data stays aligned. */
enum {
	PRIVATE = 64
};
_Static_assert(sizeof(struct pkt) <= PRIVATE, "struct pkt in the private area of an mbuf");
_Static_assert(RTE_PKTMBUF_HEADROOM >= PKT_HEADROOM + 14 + 12,
	       "headroom for the packet, Ethernet, and virtio's header");

struct dpdk_port {
	struct port port;
	uint16_t id;
	bool own_mac; /* given by us, not read from the device */
	bool has_lsc; /* the driver tells when the link changes */
	_Atomic bool ready, link;
	struct rte_mempool *pool;
	struct port_stats stats;

	char name[64];  /* of the device */
	char args[256]; /* of a virtual one */
	bool pci, probed, begun;
	char serves[sizeof(
		((struct sockaddr_un *)0)->sun_path)]; /* socket that virtio-user serves */
	uint32_t mtu_wanted;
	pthread_t thread;
	bool threaded;
	_Atomic bool stop, thread_done;
};

static struct dpdk_port *from(struct port *p)
{
	return (struct dpdk_port *)p;
}

static struct rte_mbuf *mbuf_of(struct pkt *pkt)
{
	return (struct rte_mbuf *)((char *)pkt - sizeof(struct rte_mbuf));
}

static struct pkt *pkt_of(struct rte_mbuf *m)
{
	return (struct pkt *)rte_mbuf_to_priv(m);
}

static void pkt_set(struct rte_mbuf *m)
{
	struct pkt *pkt = pkt_of(m);

	pkt->data = rte_pktmbuf_mtod(m, uint8_t *);
	pkt->len = m->data_len;
	pkt->room = (uint32_t)m->buf_len - m->data_off;
	pkt->drv = m;
}

/* ------------------------------------------------------------------ the polled part */

static unsigned dpdk_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = from(p);
	struct rte_mbuf *m[PORT_BURST_MAX];
	unsigned done = 0;

	while (done < n) {
		unsigned k = n - done < PORT_BURST_MAX ? n - done : PORT_BURST_MAX;

		if (rte_pktmbuf_alloc_bulk(d->pool, m, k)) {
			m[0] = rte_pktmbuf_alloc(d->pool);
			if (!m[0])
				break;
			k = 1;
		}
		for (unsigned i = 0; i < k; i++) {
			pkt_set(m[i]);
			pkts[done++] = pkt_of(m[i]);
		}
	}
	return done;
}

static void dpdk_free(struct port *p, struct pkt **pkts, unsigned n)
{
	(void)p;
	for (unsigned i = 0; i < n; i++)
		rte_pktmbuf_free_seg(mbuf_of(pkts[i]));
}

static unsigned dpdk_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = from(p);
	struct rte_mbuf *m[PORT_BURST_MAX];
	unsigned got, kept = 0;

	if (!atomic_load_explicit(&d->ready, memory_order_acquire))
		return 0;
	got = rte_eth_rx_burst(d->id, 0, m, (uint16_t)(n < PORT_BURST_MAX ? n : PORT_BURST_MAX));
	for (unsigned i = 0; i < got; i++) {
		const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *);

		if (m[i]->nb_segs != 1 || m[i]->data_len < sizeof(*eth) ||
		    !memcmp(&eth->src_addr, p->mac, sizeof(p->mac))) {
			d->stats.rx_dropped++;
			rte_pktmbuf_free(m[i]);
			continue;
		}
		pkt_set(m[i]);
		d->stats.rx_bytes += m[i]->data_len;
		pkts[kept++] = pkt_of(m[i]);
	}
	d->stats.rx_packets += kept;
	return kept;
}

static bool link_read(struct dpdk_port *d)
{
	struct rte_eth_link link = {0};

	return !rte_eth_link_get_nowait(d->id, &link) && link.link_status == RTE_ETH_LINK_UP;
}

static unsigned dpdk_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = from(p);
	struct rte_mbuf *m[PORT_BURST_MAX];
	uint32_t len[PORT_BURST_MAX];
	unsigned sent;

	if (n > PORT_BURST_MAX)
		n = PORT_BURST_MAX;
	if (!atomic_load_explicit(&d->link, memory_order_acquire)) {
		d->stats.tx_dropped += n;
		dpdk_free(p, pkts, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++) {
		m[i] = mbuf_of(pkts[i]);
		m[i]->data_off = (uint16_t)(pkts[i]->data - (uint8_t *)m[i]->buf_addr);
		m[i]->data_len = (uint16_t)pkts[i]->len;
		m[i]->pkt_len = len[i] = pkts[i]->len;
		m[i]->ol_flags = 0;
	}
	sent = rte_eth_tx_burst(d->id, 0, m, (uint16_t)n);
	for (unsigned i = 0; i < sent; i++)
		d->stats.tx_bytes += len[i];
	d->stats.tx_packets += sent;
	return sent;
}

/* Drivers of DPDK are polled: a sleeping owner looks at the port now and then. */
static int dpdk_wait_fd(struct port *p)
{
	(void)p;
	return -1;
}

static int dpdk_arm(struct port *p)
{
	(void)p;
	return 0;
}

static int dpdk_link_up(struct port *p)
{
	return atomic_load_explicit(&from(p)->link, memory_order_acquire);
}

static void dpdk_stats(struct port *p, struct port_stats *out)
{
	*out = from(p)->stats;
}

/* ------------------------------------------------------------------ the device */

/* On DPDK's interrupt thread. */
static int link_changed(uint16_t id, enum rte_eth_event_type event, void *arg, void *ret)
{
	struct dpdk_port *d = arg;

	(void)id;
	(void)event;
	(void)ret;
	atomic_store_explicit(&d->link, link_read(d), memory_order_release);
	return 0;
}

static int device_configure(struct dpdk_port *d, char *err, size_t errlen)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint32_t mtu = d->mtu_wanted, overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	unsigned node = (unsigned)rte_eth_dev_socket_id(d->id);
	int rc = rte_eth_dev_info_get(d->id, &info);

	if (rc)
		return rc;
	/* as ethdev reckons it */
	if (info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu)
		overhead = info.max_rx_pktlen - info.max_mtu;
	if (mtu > info.max_mtu)
		mtu = info.max_mtu;
	if (info.max_rx_pktlen > overhead && mtu > info.max_rx_pktlen - overhead)
		mtu = info.max_rx_pktlen - overhead;
	if (mtu < info.min_mtu || mtu < MTU_MIN) {
		snprintf(err, errlen, "dpdk: %s carries no IPv4 packets of %u bytes", d->name, mtu);
		return -EINVAL;
	}
	if (!d->own_mac) {
		if (rte_eth_macaddr_get(d->id, &mac) == 0)
			memcpy(d->port.mac, &mac, sizeof(d->port.mac));
		d->port.mtu = mtu;
	}
	conf.rxmode.mtu = mtu;
	d->has_lsc = *info.dev_flags & RTE_ETH_DEV_INTR_LSC;
	conf.intr_conf.lsc = d->has_lsc;
	rc = rte_eth_dev_configure(d->id, 1, 1, &conf);
	if (!rc)
		rc = rte_eth_rx_queue_setup(d->id, 0, RING, node, NULL, d->pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(d->id, 0, RING, node, NULL);
	if (!rc && d->has_lsc)
		rc = rte_eth_dev_callback_register(d->id, RTE_ETH_EVENT_INTR_LSC, link_changed, d);
	if (rc)
		snprintf(err, errlen, "dpdk: %s cannot be configured: %s", d->name, strerror(-rc));
	return rc;
}

static void device_remove(struct dpdk_port *d)
{
	if (!d->probed)
		return;
	if (d->has_lsc)
		rte_eth_dev_callback_unregister(d->id, RTE_ETH_EVENT_INTR_LSC, link_changed, d);
	if (d->begun)
		rte_eth_dev_stop(d->id);
	rte_eth_dev_close(d->id);
	if (!d->pci)
		rte_eal_hotplug_remove("vdev", d->name);
	d->probed = d->begun = false;
}

static int device_probe(struct dpdk_port *d, char *err, size_t errlen)
{
	char device[sizeof(d->name) + sizeof(d->args)];
	int rc = rte_eth_dev_get_port_by_name(d->name, &d->id);

	if (!rc) {
		snprintf(err, errlen, "dpdk: another port of this process has the device %s",
			 d->name);
		return -EBUSY;
	}
	if (d->pci) {
		snprintf(device, sizeof(device), "%s%s%s", d->name, d->args[0] ? "," : "", d->args);
		rc = rte_dev_probe(device);
	} else {
		rc = rte_eal_hotplug_add("vdev", d->name, d->args);
	}
	/* some drivers fail and only log it */
	if (rc || rte_eth_dev_get_port_by_name(d->name, &d->id)) {
		snprintf(err, errlen,
			 "dpdk: no device came of \"%s,%s\": is the driver's name right, and do "
			 "its arguments "
			 "name what exists and may be used?",
			 d->name, d->args);
		return -ENODEV;
	}
	d->probed = true;
	rc = device_configure(d, err, errlen);
	if (rc)
		device_remove(d);
	return rc;
}

static int device_start(struct dpdk_port *d)
{
	int rc = rte_eth_dev_start(d->id);

	if (rc)
		return rc;
	d->begun = true;
	/* the callback may be running: end with what it would say */
	do {
		atomic_store(&d->link, !d->has_lsc || link_read(d));
	} while (d->has_lsc && atomic_load(&d->link) != link_read(d));
	atomic_store_explicit(&d->ready, true, memory_order_release);
	return 0;
}

/* ------------------------------------------------------------------ virtio-user as a server */

static void *server_run(void *arg)
{
	const struct timespec nap = {.tv_nsec = RETRY_NS};
	struct dpdk_port *d = arg;
	char err[256];

	while (!atomic_load(&d->stop)) {
		int rc = dpdk_socket_clear(d->serves);

		if (!rc)
			rc = device_probe(d, err, sizeof(err));
		if (!rc) {
			rc = device_start(d);
			if (!rc)
				break;
			device_remove(d);
		}
		if (rc != -EADDRINUSE)
			dpdk_sockets_close(d->serves);
		nanosleep(&nap, NULL);
	}
	atomic_store(&d->thread_done, true);
	return NULL;
}

/* The thread waits for a peer to connect: be one, until it has seen that it is to stop. Return:
 * false when a real peer holds it. */
static bool server_join(struct dpdk_port *d)
{
	const struct timespec nap = {.tv_nsec = 10000000};

	atomic_store(&d->stop, true);
	for (int i = 0; i < CLOSE_TRIES && !atomic_load(&d->thread_done); i++) {
		dpdk_socket_connect(d->serves, SOCK_STREAM);
		nanosleep(&nap, NULL);
	}
	if (!atomic_load(&d->thread_done)) {
		pthread_detach(d->thread);
		return false;
	}
	pthread_join(d->thread, NULL);
	return true;
}

static int server_begin(struct dpdk_port *d)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = -pthread_create(&d->thread, NULL, server_run, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	d->threaded = rc == 0;
	return rc;
}

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
	struct dpdk_port *d = from(p);
	sigset_t before;
	int rc;

	/* the pool's cache is the thread's, by DPDK's number of it */
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register())
		return -rte_errno;
	pipe_block(&before);
	rc = d->serves[0] ? server_begin(d) : device_start(d);
	pipe_restore(&before);
	return rc;
}

static void dpdk_close(struct port *p)
{
	struct dpdk_port *d = from(p);
	sigset_t before;

	if (d->threaded && !server_join(d))
		return; /* it still uses the port: the process's end frees both */
	atomic_store(&d->ready, false);
	atomic_store(&d->link, false);
	pipe_block(&before);
	device_remove(d);
	pipe_restore(&before);
	if (d->threaded)
		dpdk_socket_clear(d->serves);
	rte_mempool_free(d->pool);
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

	if (buffers < 2 * RING)
		buffers = 2 * RING;
	if (buffers > BUFFERS_MAX)
		buffers = BUFFERS_MAX;
	d->mtu_wanted = conf->mtu && conf->mtu < MTU_MAX ? conf->mtu : MTU_DEFAULT;
	if (d->mtu_wanted < MTU_MIN)
		d->mtu_wanted = MTU_MIN;
	room += RTE_ALIGN_CEIL(d->mtu_wanted + ETHER_ROOM, 64);
	bytes = room + (uint32_t)sizeof(struct rte_mbuf) + PRIVATE + 64;
	if (!o->eal.memory_mb)
		o->eal.memory_mb = (uint32_t)((uint64_t)buffers * bytes >> 20) + 32;
	o->eal.device = d->pci ? d->name : NULL;
	o->eal.args = o->words;
	rc = dpdk_eal_start(&o->eal, err, errlen);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "pkt%u", pools++);
	d->pool = rte_pktmbuf_pool_create(name, buffers, BUFFER_CACHE, PRIVATE, (uint16_t)room,
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
		rc = device_probe(d, err, errlen);
		pipe_restore(&before);
		return rc;
	}
	rc = dpdk_socket_clear(d->serves);
	if (rc)
		snprintf(err, errlen, "dpdk: %s: %s: is another process this side of the link?",
			 d->serves, strerror(-rc));
	return rc;
}

static struct dpdk_port *port_new(const struct port_ops *ops)
{
	struct dpdk_port *d = calloc(1, sizeof(*d));

	if (d)
		d->port.ops = ops;
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

static void mac_derive(uint8_t mac[6], uint32_t address)
{
	mac[0] = 0x02; /* locally administered */
	mac[1] = 0xa7;
	for (int i = 0; i < 4; i++)
		mac[2 + i] = (uint8_t)(address >> (24 - 8 * i));
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
