/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - the RoCEv2 engine on a port, with one region: what the programs of this directory share.
 *
 * One thread: peer_turn does one turn of the loop, and sleeps for at most a millisecond when there
 * is nothing to do. The region's addresses, as remote peers name them, begin at PEER_VA.
 */
#ifndef ATOLL_TESTS_INTEROP_PEER_H
#define ATOLL_TESTS_INTEROP_PEER_H

#include "dataplane/netif.h"
#include "dataplane/port.h"
#include "dataplane/roce/roce.h"

enum {
	PEER_REGION = 4 << 20,
	PEER_SEND_MAX = 65536,
};
#define PEER_VA 0x7e5700000000u

struct peer;

/* What the engine tells; each may be NULL. As in struct roce_host. */
struct peer_events {
	void (*complete)(struct peer *p, struct roce_qp *qp, uint64_t cookie, uint8_t status);
	int (*receive)(struct peer *p, struct roce_qp *qp, const void *data, uint32_t len);
	void (*error)(struct peer *p, struct roce_qp *qp, enum roce_error why);
	void (*datagram)(struct peer *p, struct ip_addr address, const void *mad, uint32_t len);
};

struct peer {
	struct port *port;
	struct netif *nif;
	struct roce_dev *dev;
	uint32_t address, remote; /* IPv4, host byte order */
	uint8_t *region;
	uint32_t rkey, access; /* enum roce_access */
	uint64_t now;
	unsigned idle;
	const struct peer_events *events;
	void *arg; /* the program's own */
};

/* Opens @spec at @address, for QPs to @remote. Says on stderr what failed and exits: 77 if the
 * build or the machine lacks the port. */
void peer_open(struct peer *p, const char *spec, const char *address, const char *remote,
	       const struct peer_events *events, void *arg);
void peer_close(struct peer *p);
void peer_turn(struct peer *p);
uint64_t peer_now(void); /* monotonic, ns */
/* The largest path MTU that the port carries, at most @want. */
uint32_t peer_mtu(const struct peer *p, uint32_t want);
/* The counters that are not 0, as "name=value ". */
void peer_counters(const struct peer *p, char *out, size_t size);

/* TCP for what the tools exchange beside RDMA; each exits with a message when it fails. Sockets
 * wait. */
int tcp_connect(uint32_t address, uint16_t port); /* tries for ten seconds */
int tcp_accept(uint32_t address, uint16_t port);
void tcp_read(int fd, void *data, size_t len);
void tcp_write(int fd, const void *data, size_t len);

#endif
