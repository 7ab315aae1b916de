/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim.h - when a block that has left an index may be used again: epochs, for either engine.
 *
 * One word of the table region is the epoch. Each client has a pin, beside the pins of all others:
 * an epoch such that none of its operations has begun in an earlier one. The epoch rises from e to
 * e + 1 only when every client that is not dead has a pin of e or more; any client may do it. A
 * block that leaves the index is tagged with an epoch that was read afterwards. Who can still hold
 * its word has begun before it left, in the tag's epoch or earlier, and is pinned there; so when
 * the epoch is two more than the tag nobody is. The shard pins a new client at the epoch of that
 * moment before it answers the open, so there is no instant at which a client works without a pin.
 * The dead are fenced off and do not count.
 *
 * Caches keep words longer than an operation. A cached word (of a slot, or of a child in an inner node) is used at
 * most RECLAIM_CACHE epochs after the one in which the operation had begun that read it where it stands, and
 * blocks rest for RECLAIM_GRACE, which is two more: while an operation that uses it runs the epoch is at
 * most one further, so the block cannot have been used again, and an equal word is the same entry.
 *
 * A client that does not poll holds the epoch back. Who is short of memory for that suspects it.
 *
 * Who owns this asks for a look now and then (reclaim_tick) and hands the completions over that come with
 * RECLAIM_COOKIE.
 */
#ifndef ATOLL_CLIENTS_INDEX_RECLAIM_H
#define ATOLL_CLIENTS_INDEX_RECLAIM_H

#include "clients/index/heap.h"
#include "ipc/verbs.h"

enum {
	RECLAIM_COOKIE = 0xfd,
	RECLAIM_HURRY = 16, /* looks at the epoch are more frequent while memory is waited for */
	RECLAIM_CACHE = 14, /* epochs that a cached word holds */
	RECLAIM_GRACE = RECLAIM_CACHE + 2, /* epochs that a block rests */
	/* own memory, from its start */
	RECLAIM_LOCAL_PIN = 0,
	RECLAIM_LOCAL_EPOCH = 8,
	RECLAIM_LOCAL_OLD = 16,
	RECLAIM_LOCAL_LINE = INDEX_LINE,
	RECLAIM_LOCAL_PINS = 2 * INDEX_LINE,
	RECLAIM_LOCAL = 2 * INDEX_LINE + INDEX_CLIENTS * 8,
};

enum reclaim_state {
	RECLAIM_IDLE,
	RECLAIM_LOOK,    /* [WRITE pin,] READ epoch */
	RECLAIM_READ,    /* READ all pins */
	RECLAIM_LAGGARD, /* READ the line of one that is behind */
	RECLAIM_CLEAR,   /* CAS the pin of a dead one -> 0 */
	RECLAIM_RISE,    /* CAS epoch -> epoch + 1 */
};

struct reclaim_config {
	struct verbs *verbs;
	uint32_t lane;
	struct atoll_handle table, control, local;
	uint8_t *local_base; /* RECLAIM_LOCAL bytes, as seen from here and in the local region */
	uint64_t local_offset;
	uint16_t cid, epoch;
	uint32_t every_us, busy_us; /* between looks, 0: nothing is used again; until waiting is given up */
	struct heap *heap;

	/* of the engine */
	void *engine;
	uint64_t (*oldest)(void *engine, uint64_t epoch); /* in which an operation that runs has begun */
	bool (*waiting)(void *engine); /* does any wait for memory? */
	void (*room)(void *engine);    /* there is some */
	/* of its owner, as in struct core_config */
	void *owner;
	uint64_t (*now_ns)(void *owner);
	void (*suspect)(void *owner, uint16_t cid, uint16_t epoch);
};

struct reclaim {
	struct reclaim_config c;
	enum reclaim_state state;
	bool out;      /* a chain is */
	bool doorbell; /* one was posted; the owner clears it when it has flushed */
	uint64_t tick_at;
	uint64_t epoch;   /* as read last; operations begin in it */
	uint64_t pin;     /* as written last; 0: what the shard has written */
	uint64_t tagging; /* blocks in limbo when the epoch was asked for */
	unsigned laggard;
	uint64_t laggard_pin;
	bool wanted;          /* the epoch is to rise though nothing rests in limbo */
	bool given_up;        /* waiting was in vain, and nothing has become free since */
	uint64_t hurry_until; /* operations wait for memory until then; 0 none */
};

void reclaim_open(struct reclaim *c, const struct reclaim_config *config);

/* When it will be time to look; UINT64_MAX: when an answer has come. */
uint64_t reclaim_next(const struct reclaim *c);

/* Looks, if it is time. */
void reclaim_tick(struct reclaim *c);

/* A chain has ended. False: so that the connection is lost. */
bool reclaim_done(struct reclaim *c, const struct verb_completion *done);

/* There is no chunk to be had. True: blocks in limbo will be free in a while. */
bool reclaim_hurry(struct reclaim *c);

#endif
