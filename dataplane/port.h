/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - drivers that move packets, behind one table of functions.
 *
 * A port is opened from a text argument, owns its packet buffers, and is used by one thread. It
 * carries IPv4 or IPv6 packets for the RoCEv2 engine: struct pkt's data always points at the IP header
 * when the engine sees it, and at least PKT_HEADROOM bytes lie before it. On a PORT_L2 port the
 * frame's Ethernet header precedes; netif.h adds and removes it and answers ARP and neighbour solicitations. On a PORT_UDP port
 * the driver sends the UDP payload through the kernel and, on receipt, rebuilds the IP and UDP
 * headers that the invariant CRC covers (identification 0, DF set; what it cannot see is masked).
 *
 * Ownership: rx_burst gives buffers to the caller, who frees them or sends them. tx_burst takes the
 * buffers that it accepts; the rest stay the caller's. Nothing here blocks, allocates or logs after
 * start; a peer that goes away is an empty rx_burst and a link state, never an error that ends the
 * process.
 */
#ifndef ATOLL_DATAPLANE_PORT_H
#define ATOLL_DATAPLANE_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "ipc/ip_addr.h"

enum {
	PKT_HEADROOM = 64,
	PORT_BURST_MAX = 32,
};

enum port_cap {
	PORT_L2 = 1 << 0,  /* whole Ethernet frames; needs netif for ARP */
	PORT_UDP = 1 << 1, /* UDP datagrams by the kernel; no Ethernet, no ARP */
	PORT_LOSSLESS = 1 << 2, /* keeps order and loses only on overrun (shared memory) */
};

struct port;

struct pkt {
	uint8_t *data; /* first byte of the frame (driver) or of the IP header (engine) */
	uint32_t len;  /* bytes from data */
	uint32_t room; /* bytes that may be written from data */
	void *drv;     /* the driver's own */
};

struct port_conf {
	const char *args;     /* driver-specific, see each driver's header */
	struct ip_addr address; /* this node's: says which of IPv4 and IPv6 is carried */
	uint16_t udp_port;    /* 4791, unless a test moved it */
	uint32_t buffers;     /* packet buffers, 0: the driver's default */
	uint32_t mtu;	      /* largest IP packet wanted, bytes; 0: what the driver can */
	uint64_t seed;	      /* for the fault port */
	uint64_t (*now_ns)(void *); /* monotonic clock, for the fault port's delays */
	void *now_arg;
};

struct port_stats {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
};

/**
 * struct port_ops - what a driver does
 * @open: make a port. 0 or negative errno, and then a sentence in @err that says what failed and
 *	how to mend it. May take long and allocate.
 * @start: begin to receive. After it the port may be polled by one thread.
 * @alloc: up to @n empty buffers with headroom, data set, len 0; returns how many.
 * @free: give buffers back.
 * @rx_burst: up to @n (at most PORT_BURST_MAX) received packets; 0 when there are none.
 * @tx_burst: send; returns how many of the first were accepted.
 * @wait_fd: a descriptor that polls readable when packets may be there, or -1 if the port must be
 *	polled.
 * @arm: ask that wait_fd wake once; returns 1 if packets are already there (do not sleep).
 * @link_up: 1 when a peer is attached or the carrier is up. Any thread but the polled one: it may ask the
 *	kernel.
 * @stats: totals since open.
 * @close: stop and free everything. Buffers still held by the caller become invalid.
 */
struct port_ops {
	const char *name;
	uint32_t caps;
	int (*open)(struct port **out, const struct port_conf *conf, char *err, size_t errlen);
	int (*start)(struct port *p);
	unsigned (*alloc)(struct port *p, struct pkt **pkts, unsigned n);
	void (*free)(struct port *p, struct pkt **pkts, unsigned n);
	unsigned (*rx_burst)(struct port *p, struct pkt **pkts, unsigned n);
	unsigned (*tx_burst)(struct port *p, struct pkt **pkts, unsigned n);
	int (*wait_fd)(struct port *p);
	int (*arm)(struct port *p);
	int (*link_up)(struct port *p);
	void (*stats)(struct port *p, struct port_stats *out);
	void (*close)(struct port *p);
};

/* The part of a port that every driver begins with. */
struct port {
	const struct port_ops *ops;
	uint32_t mtu;	  /* largest IP packet, bytes: after open */
	uint8_t mac[6];	  /* PORT_L2 */
	uint8_t pad[2];
};

/* All drivers in this build, ended by NULL. */
extern const struct port_ops *const port_drivers[];

/**
 * port_open - open a port from "driver:args", for example "uring:", "dpdk:net_af_packet0,iface=v0",
 * "fault:loss=0.01,seed=7/uring:".
 * Return: 0, or negative errno with a sentence in @err. Not from the polled thread.
 */
int port_open(struct port **out, const char *spec, const struct port_conf *conf, char *err,
	      size_t errlen);

#endif
