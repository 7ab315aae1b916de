/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roce_pair.h - two RoCE devices joined by a wire (wire.h), with hosts that keep books.
 *
 * Each host has one region of memory that the other may reach under KEY, except what the test
 * forbids; it counts completions and keeps what it received.
 */
#ifndef ATOLL_TESTS_UNIT_ROCE_PAIR_H
#define ATOLL_TESTS_UNIT_ROCE_PAIR_H

#include <errno.h>

#include "dataplane/netif.h"
#include "dataplane/roce/packet.h"
#include "dataplane/roce/roce.h"
#include "proto/atoll_proto.h"
#include "tests/unit/wire.h"

enum {
	PAIR_KEY = 0x1234,
	PAIR_BASE = 0x100000,
	PAIR_DONE = 4096
};

struct pair;

struct pair_host {
	struct pair *pair;
	struct netif *nif;
	struct roce_dev *dev;
	struct roce_qp *qp;
	struct ip_addr address;
	uint8_t *memory;
	uint32_t memory_len;
	uint8_t refuse; /* status of every memory check, while not STATUS_OK */
	bool busy;      /* receive answers -EAGAIN */
	uint64_t checks;
	struct {
		uint64_t cookie;
		uint8_t status;
	} done[PAIR_DONE];
	unsigned done_count;
	void (*on_complete)(struct pair_host *h, uint64_t cookie, uint8_t status);
	void (*on_receive)(struct pair_host *h, const void *data, uint32_t len);
	void *test;
	unsigned received, errors, datagrams;
	uint32_t received_len;
	uint8_t received_data[ROCE_SEND_MAX];
	enum roce_error why;
};

struct pair {
	struct wire *wire;
	struct pair_host host[2];
};

static inline void *pair_memory(void *host, struct roce_qp *qp, uint32_t rkey, uint64_t va,
				uint32_t len, uint32_t access, uint8_t *status)
{
	struct pair_host *h = host;

	(void)qp;
	(void)access;
	h->checks++;
	if (h->refuse != STATUS_OK)
		*status = h->refuse;
	else if (rkey != PAIR_KEY)
		*status = STATUS_BAD_HANDLE;
	else if (va < PAIR_BASE || va - PAIR_BASE > h->memory_len ||
		 len > h->memory_len - (va - PAIR_BASE))
		*status = STATUS_RANGE;
	else
		return h->memory + (va - PAIR_BASE);
	return NULL;
}

static inline void pair_complete(void *host, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	struct pair_host *h = host;

	(void)qp;
	if (h->on_complete)
		h->on_complete(h, cookie, status);
	h->done[h->done_count % PAIR_DONE].cookie = cookie;
	h->done[h->done_count++ % PAIR_DONE].status = status;
}

static inline int pair_receive(void *host, struct roce_qp *qp, const void *data, uint32_t len)
{
	struct pair_host *h = host;

	(void)qp;
	if (h->busy)
		return -EAGAIN;
	if (h->on_receive)
		h->on_receive(h, data, len);
	h->received++;
	h->received_len = len;
	memcpy(h->received_data, data, len);
	return 0;
}

static inline void pair_error(void *host, struct roce_qp *qp, enum roce_error why)
{
	struct pair_host *h = host;

	(void)qp;
	h->errors++;
	h->why = why;
}

static inline void pair_datagram(void *host, struct ip_addr src_address, uint32_t src_qpn,
				 const void *mad, uint32_t len)
{
	struct pair_host *h = host;

	(void)src_address;
	(void)src_qpn;
	h->datagrams++;
	memcpy(h->received_data, mad, len);
}

static const struct roce_host pair_ops = {.memory = pair_memory,
					  .complete = pair_complete,
					  .receive = pair_receive,
					  .error = pair_error,
					  .datagram = pair_datagram};

static inline struct roce_qp_conf pair_conf(void)
{
	return (struct roce_qp_conf){.mtu = 1024,
				     .read_depth = 16,
				     .peer_depth = 16,
				     .sq_depth = 128,
				     .retry_count = 7,
				     .rnr_retry = 7,
				     .timeout_ns = 1000000,
				     .atoll = true,
				     .recv_max = ROCE_SEND_MAX};
}

/* A fresh QP at both ends, joined. 0 or what roce_qp_ready says. */
static inline int pair_connect(struct pair *p, const struct roce_qp_conf *conf)
{
	int err = 0;

	for (int e = 0; e < 2; e++)
		p->host[e].qp = roce_qp_new(p->host[e].dev, &p->host[e]);
	for (int e = 0; e < 2 && !err; e++) {
		struct roce_qp_conf c = *conf;

		c.peer_address = p->host[!e].address;
		c.peer_qpn = roce_qp_number(p->host[!e].qp);
		c.peer_psn = roce_qp_first_psn(p->host[!e].qp);
		err = roce_qp_ready(p->host[e].qp, &c);
	}
	return err;
}

/* @caps: of the ports; @a: the first end's address, the other's is one more */
static inline struct pair *pair_new_at(uint64_t seed, uint32_t memory_len, uint32_t caps, struct ip_addr a)
{
	struct pair *p = calloc(1, sizeof(*p));

	p->wire = wire_new(seed, caps, 4200);
	p->wire->fault.delay_ns = 1500;
	p->wire->fault.late_ns = 20000;
	for (int e = 0; e < 2; e++) {
		struct pair_host *h = &p->host[e];

		h->pair = p;
		h->address = a;
		h->address.b[15] = (uint8_t)(a.b[15] + e);
		h->memory_len = memory_len;
		h->memory = calloc(1, memory_len);
		h->nif = netif_new(&p->wire->end[e].port, h->address, ROCE_UDP_PORT);
		h->dev = roce_dev_new(&(struct roce_dev_conf){.address = h->address,
							      .udp_port = ROCE_UDP_PORT,
							      .max_qps = 64,
							      .seed = seed * 2 + (uint64_t)e},
				      h->nif, &pair_ops, h);
	}
	return p;
}

static inline struct pair *pair_new(uint64_t seed, uint32_t memory_len)
{
	return pair_new_at(seed, memory_len, 0, ip_addr_v4(0x0a000001));
}

static inline bool pair_delete(struct pair *p)
{
	bool whole;

	for (int e = 0; e < 2; e++) {
		roce_dev_delete(p->host[e].dev);
		netif_delete(p->host[e].nif);
		free(p->host[e].memory);
	}
	whole = wire_delete(p->wire);
	free(p);
	return whole;
}

/* Poll both ends once and move the clock to where something happens. false: nothing ever will. */
static inline bool pair_step(struct pair *p)
{
	bool pending = false;
	uint64_t next;

	for (int e = 0; e < 2; e++) {
		struct pair_host *h = &p->host[e];

		roce_timers(h->dev, p->wire->now);
		roce_input(h->dev, p->wire->now, 32);
		roce_output(h->dev, p->wire->now, 32);
		netif_tick(h->nif, p->wire->now);
		pending = pending || roce_output_pending(h->dev);
	}
	next = pending ? p->wire->now + 300 : wire_next(p->wire);
	for (int e = 0; e < 2; e++)
		if (roce_next_timer(p->host[e].dev) < next)
			next = roce_next_timer(p->host[e].dev);
	if (next == UINT64_MAX)
		return false;
	p->wire->now = next > p->wire->now ? next : p->wire->now + 1;
	return true;
}

/* Steps until both ends are quiet; false: still busy after @steps. */
static inline bool pair_settle(struct pair *p, unsigned steps)
{
	while (steps--)
		if (!pair_step(p))
			return true;
	return false;
}

static inline int pair_post(struct pair_host *h, uint8_t op, uint64_t offset, void *local,
			    uint32_t len, uint64_t cookie, uint8_t flags)
{
	return roce_post(h->qp, &(struct roce_wr){.op = op,
						  .flags = flags,
						  .rkey = PAIR_KEY,
						  .remote = PAIR_BASE + offset,
						  .local = local,
						  .len = len,
						  .cookie = cookie});
}

static inline int pair_post_atomic(struct pair_host *h, uint8_t op, uint64_t offset, void *local,
				   uint64_t compare, uint64_t swap, uint64_t cookie, uint8_t flags)
{
	return roce_post(h->qp, &(struct roce_wr){.op = op,
						  .flags = flags,
						  .rkey = PAIR_KEY,
						  .remote = PAIR_BASE + offset,
						  .local = local,
						  .len = 8,
						  .compare = compare,
						  .swap = swap,
						  .cookie = cookie});
}

#endif
