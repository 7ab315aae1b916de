/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - a pair of ports joined by a wire that loses, repeats, reorders and spoils packets.
 *
 * For tests of what lies above a port. Everything is drawn from one seed; time is the caller's.
 * A packet sent at one end waits in the wire until its time has come (wire.now), so a test moves
 * the clock, polls both ends, and gets the same run again from the same seed.
 */
#ifndef ATOLL_TESTS_UNIT_WIRE_H
#define ATOLL_TESTS_UNIT_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/port.h"

#ifndef WIRE_BUFFERS /* of each port */
#define WIRE_BUFFERS 1024
#endif
enum {
	WIRE_ROOM = 4400,
	WIRE_QUEUE = 2048
};

struct wire_fault {
	uint32_t lose, repeat, reorder, spoil; /* of a million packets */
	uint64_t delay_ns, late_ns;            /* of every packet; more for one that is reordered */
};

struct wire_buffer {
	struct pkt pkt;
	bool used;
	uint8_t bytes[PKT_HEADROOM + WIRE_ROOM];
};

struct wire;

struct wire_port {
	struct port port;
	struct port_ops ops;
	struct wire *wire;
	struct wire_buffer *buffers;
	unsigned free_count;
	uint16_t free_list[WIRE_BUFFERS];
	/* Packets on their way here. */
	struct {
		uint64_t at;
		uint32_t len;
		uint8_t *bytes;
	} queue[WIRE_QUEUE];
	unsigned queued;
	unsigned accept; /* packets that tx_burst takes until it is full */
};

struct wire {
	struct wire_port end[2];
	struct wire_fault fault;
	uint64_t now, random;
	uint64_t sent, lost, repeated, reordered, spoilt;
	/* Sees each packet before its fate is drawn; false: it is lost. */
	bool (*filter)(void *arg, int from, const uint8_t *data, uint32_t len);
	void *filter_arg;
};

static inline uint64_t wire_draw(struct wire *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static inline bool wire_chance(struct wire *w, uint32_t of_a_million)
{
	return wire_draw(w) % 1000000 < of_a_million;
}

static inline unsigned wire_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	struct wire_port *wp = (struct wire_port *)p;
	unsigned i;

	for (i = 0; i < n && wp->free_count; i++) {
		struct wire_buffer *b = &wp->buffers[wp->free_list[--wp->free_count]];

		b->used = true;
		b->pkt = (struct pkt){.data = b->bytes + PKT_HEADROOM, .room = WIRE_ROOM, .drv = b};
		pkts[i] = &b->pkt;
	}
	return i;
}

static inline void wire_free(struct port *p, struct pkt **pkts, unsigned n)
{
	struct wire_port *wp = (struct wire_port *)p;

	for (unsigned i = 0; i < n; i++) {
		struct wire_buffer *b = pkts[i]->drv;

		if (!b->used)
			abort(); /* freed twice: the code under test is wrong */
		b->used = false;
		wp->free_list[wp->free_count++] = (uint16_t)(b - wp->buffers);
	}
}

static inline void wire_put(struct wire *w, int to, const uint8_t *data, uint32_t len, uint64_t at)
{
	struct wire_port *wp = &w->end[to];

	if (wp->queued == WIRE_QUEUE) {
		w->lost++;
		return;
	}
	wp->queue[wp->queued].at = at;
	wp->queue[wp->queued].len = len;
	/* Exactly as long as the packet, so that a sanitizer sees a read past its end. */
	wp->queue[wp->queued].bytes = malloc(len ? len : 1);
	memcpy(wp->queue[wp->queued].bytes, data, len);
	wp->queued++;
}

static inline void wire_carry(struct wire *w, int from, const uint8_t *data, uint32_t len)
{
	uint64_t at = w->now + w->fault.delay_ns;

	w->sent++;
	if ((w->filter && !w->filter(w->filter_arg, from, data, len)) ||
	    wire_chance(w, w->fault.lose)) {
		w->lost++;
		return;
	}
	if (wire_chance(w, w->fault.reorder)) {
		at += w->fault.late_ns;
		w->reordered++;
	}
	wire_put(w, !from, data, len, at);
	if (w->fault.spoil && wire_chance(w, w->fault.spoil) && w->end[!from].queued) {
		struct wire_port *wp = &w->end[!from];

		wp->queue[wp->queued - 1].bytes[wire_draw(w) % len] ^=
			(uint8_t)(1 + wire_draw(w) % 255);
		w->spoilt++;
	}
	if (wire_chance(w, w->fault.repeat)) {
		wire_put(w, !from, data, len, at + wire_draw(w) % (2 * w->fault.delay_ns + 2));
		w->repeated++;
	}
}

static inline unsigned wire_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct wire_port *wp = (struct wire_port *)p;
	int from = wp == &wp->wire->end[1];
	unsigned took = n < wp->accept ? n : wp->accept;

	for (unsigned i = 0; i < took; i++)
		wire_carry(wp->wire, from, pkts[i]->data, pkts[i]->len);
	wire_free(p, pkts, took);
	wp->accept -= wp->accept == UINT32_MAX ? 0 : took;
	return took;
}

static inline unsigned wire_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct wire_port *wp = (struct wire_port *)p;
	unsigned got = 0;

	while (got < n) {
		unsigned best = wp->queued;

		for (unsigned i = 0; i < wp->queued; i++)
			if (wp->queue[i].at <= wp->wire->now &&
			    (best == wp->queued || wp->queue[i].at < wp->queue[best].at))
				best = i;
		if (best == wp->queued || !wire_alloc(p, &pkts[got], 1))
			break;
		memcpy(pkts[got]->data, wp->queue[best].bytes, wp->queue[best].len);
		pkts[got]->len = wp->queue[best].len;
		free(wp->queue[best].bytes);
		wp->queued--;
		memmove(&wp->queue[best], &wp->queue[best + 1],
			(wp->queued - best) * sizeof(wp->queue[0]));
		got++;
	}
	return got;
}

/* When the next packet arrives anywhere, or UINT64_MAX. */
static inline uint64_t wire_next(const struct wire *w)
{
	uint64_t next = UINT64_MAX;

	for (int e = 0; e < 2; e++)
		for (unsigned i = 0; i < w->end[e].queued; i++)
			if (w->end[e].queue[i].at < next)
				next = w->end[e].queue[i].at;
	return next;
}

static inline struct wire *wire_new(uint64_t seed, uint32_t caps, uint32_t mtu)
{
	struct wire *w = calloc(1, sizeof(*w));

	w->random = seed * 0x9e3779b97f4a7c15u + 1;
	w->now = 1000000;
	for (int e = 0; e < 2; e++) {
		struct wire_port *wp = &w->end[e];

		wp->ops = (struct port_ops){.name = "wire",
					    .caps = caps,
					    .alloc = wire_alloc,
					    .free = wire_free,
					    .rx_burst = wire_rx,
					    .tx_burst = wire_tx};
		wp->port.ops = &wp->ops;
		wp->port.mtu = mtu;
		wp->port.mac[0] = 2;
		wp->port.mac[5] = (uint8_t)(e + 1);
		wp->wire = w;
		wp->accept = UINT32_MAX;
		wp->buffers = calloc(WIRE_BUFFERS, sizeof(*wp->buffers));
		for (unsigned i = 0; i < WIRE_BUFFERS; i++)
			wp->free_list[wp->free_count++] = (uint16_t)i;
	}
	return w;
}

/* Return: were all packet buffers given back? */
static inline bool wire_delete(struct wire *w)
{
	bool whole = true;

	for (int e = 0; e < 2; e++) {
		whole = whole && w->end[e].free_count == WIRE_BUFFERS;
		for (unsigned i = 0; i < w->end[e].queued; i++)
			free(w->end[e].queue[i].bytes);
		free(w->end[e].buffers);
	}
	free(w);
	return whole;
}

#endif
