/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk_port.h - what the parts of the DPDK driver share.
 *
 *   dpdk.c         from text to a port: arguments, buffers, open and close
 *   dpdk_device.c  the device's life: probed, configured, started; peers that come and go
 *   dpdk_poll.c    what the polling thread does: receive, send, sleep
 *
 * Three threads: the one that opens and polls; DPDK's own, which calls back when the link changes;
 * and for a virtio-user that serves, one that waits for its first peer. They meet in the atomics
 * and under @lock.
 */
#ifndef ATOLL_DATAPLANE_PORTS_DPDK_PORT_H
#define ATOLL_DATAPLANE_PORTS_DPDK_PORT_H

#include <pthread.h>
#include <rte_mbuf.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/un.h>

#include "dataplane/port.h"

enum {
	DPDK_RING = 256, /* descriptors a direction */
	DPDK_MTU_MIN = 576,
	/* where struct pkt lies in an mbuf: a cache line, so that data stays aligned */
	DPDK_PRIVATE = 64,
};
_Static_assert(sizeof(struct pkt) <= DPDK_PRIVATE, "struct pkt in the private area of an mbuf");
_Static_assert(RTE_PKTMBUF_HEADROOM >= PKT_HEADROOM + 14 + 12,
	       "headroom for the packet, Ethernet, and virtio's header");

struct dpdk_port {
	struct port port;
	uint16_t id;
	bool own_mac;  /* given by us, not read from the device */
	bool v6; /* IPv6 is carried: multicast must come in */
	bool has_lsc;  /* the driver tells when the link changes */
	bool has_intr; /* the driver can wake us, by descriptors in @wait */
	bool armed;    /* it has been asked to */
	_Atomic bool ready, link;
	struct rte_mempool *pool;
	struct port_stats stats;
	struct pkt *stash[PORT_BURST_MAX]; /* what arming found */
	unsigned nstash;

	char name[64];  /* of the device */
	char iface[16]; /* kernel interface that it sends by and does not watch; empty: none */
	int ask;        /* a socket to ask the kernel by; -1 */
	char args[256]; /* of a virtual one */
	bool pci, probed, begun;
	char serves[sizeof(
		((struct sockaddr_un *)0)->sun_path)]; /* socket that virtio-user serves */
	uint32_t mtu_wanted;
	int wait, wake;       /* epoll; eventfd in it that a change of the link writes */
	pthread_mutex_t lock; /* while held, the peer's device is not taken away */
	pthread_t thread;
	bool threaded;
	_Atomic bool stop, thread_done;
};

static inline struct dpdk_port *dpdk_from(struct port *p)
{
	return (struct dpdk_port *)p;
}

/* dpdk_device.c: 0 or negative errno, those with @err also a sentence. */
int dpdk_device_probe(struct dpdk_port *d, char *err, size_t errlen);
int dpdk_device_start(struct dpdk_port *d);
void dpdk_device_remove(struct dpdk_port *d);
/* Begin to wait for the first peer of d->serves, on a thread. */
int dpdk_server_begin(struct dpdk_port *d);
/* End that. False: a peer holds the thread in its hand-shake; d must stay. */
bool dpdk_server_join(struct dpdk_port *d);

/* dpdk_poll.c: of struct port_ops. */
unsigned dpdk_alloc(struct port *p, struct pkt **pkts, unsigned n);
void dpdk_free(struct port *p, struct pkt **pkts, unsigned n);
unsigned dpdk_rx(struct port *p, struct pkt **pkts, unsigned n);
unsigned dpdk_tx(struct port *p, struct pkt **pkts, unsigned n);
int dpdk_wait_fd(struct port *p);
int dpdk_arm(struct port *p);
int dpdk_link_up(struct port *p);
void dpdk_stats(struct port *p, struct port_stats *out);

#endif
