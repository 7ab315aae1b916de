/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - blocks of heap, as one client has them: from chunks of the shard, and again from what was
 * given back.
 *
 * Bookkeeping of one client's own, for either engine; nothing of it is in shared memory, and nothing
 * here does I/O. A chunk has one owner, and only its owner takes blocks out of it. A block that
 * has left the index goes back where the owner itself has taken it out; it then rests in `limbo` until
 * nobody can hold its word any more (reclaim.h), and is free again.
 */
#ifndef ATOLL_CLIENTS_INDEX_HEAP_H
#define ATOLL_CLIENTS_INDEX_HEAP_H

#include "clients/index/atoll_index.h"
#include "proto/index_layout.h"

enum {
	HEAP_UNITS_MAX = INDEX_KV_ROOM_MAX / INDEX_LINE, /* of the largest block */
	/* a client's word for the first unit of a block of its own */
	HEAP_UNIT_LEN = 0xfff,      /* units */
	HEAP_UNIT_HELD = 1 << 12,   /* the client has it: in use by an operation, in limbo, free */
	HEAP_UNIT_LINKED = 1 << 13, /* it is in the index, or was when last known */
	HEAP_UNIT_YOUNG = 1 << 14,  /* linked since the last sweep began */
	HEAP_UNIT_MARK = 1 << 15,   /* met by the sweep */
};

#define HEAP_EPOCH_NONE UINT64_MAX

struct heap_free {
	uint64_t at;
	uint32_t next; /* in the pool; 0 none */
};

struct heap_limbo {
	uint64_t at, epoch;
};

struct heap {
	uint64_t offset, size; /* of all heap, in the table region */
	struct atoll_index_stats *stats;
	void *owner;
	void (*want_chunk)(void *owner);

	bool chunk_asked;
	uint64_t chunk_at, chunk_end, spare_at, spare_end;
	uint64_t segments;
	uint16_t **own; /* by segment: a word a unit where it is ours, or NULL */
	struct heap_free *pool;
	uint32_t pool_used, pool_room, unused;
	uint32_t free[HEAP_UNITS_MAX + 1]; /* by units: first in the pool */
	uint64_t classes[HEAP_UNITS_MAX / 64 + 1]; /* which of them are not empty */
	struct heap_limbo *limbo; /* a ring, by age */
	uint64_t limbo_first, limbo_n, limbo_room;
	uint64_t free_bytes, limbo_bytes;
};

/* 0 or -ENOMEM. @want_chunk asks the shard for a chunk; called once until heap_chunk_add, or chunk_asked is
 * cleared; it must not call back from inside. */
int heap_open(struct heap *h, uint64_t offset, uint64_t size, struct atoll_index_stats *stats,
	      void *owner, void (*want_chunk)(void *owner));
void heap_close(struct heap *h);

/* Offset of a new block, 0 when a chunk must come first. @room: bytes, whole lines. */
uint64_t heap_alloc(struct heap *h, uint64_t room);

/* Asks for a chunk, unless one has been asked for. */
void heap_ask(struct heap *h);

/* A block that this client has is in the index now. */
void heap_linked(struct heap *h, uint64_t at);

/* Was it put there by an operation of this client's that has been answered? */
bool heap_known(const struct heap *h, uint64_t at);

/* It has left the index. Where it is not ours it is counted as leaked, @room bytes of it. */
void heap_free(struct heap *h, uint64_t at, uint64_t room);

/* It was never seen by others: it can be used again at once. */
void heap_unused(struct heap *h, uint64_t at);

/* Own units that nobody has seen. */
void heap_free_run(struct heap *h, uint64_t at, uint64_t units);

/* The first @n blocks in limbo have left the index when the epoch was @epoch, or earlier. */
void heap_limbo_tag(struct heap *h, uint64_t n, uint64_t epoch);

/* It is @epoch: what has rested for @grace epochs is free. Was there any? */
bool heap_limbo_drain(struct heap *h, uint64_t epoch, uint64_t grace);

/* A segment has come that was a dead client's, with a bit of @map set for each unit that is in use. The same. */
bool heap_chunk_used(struct heap *h, uint64_t offset, uint64_t size, const uint64_t *map);

/* A chunk has come. False: it makes no sense, or there is no memory. */
bool heap_chunk_add(struct heap *h, uint64_t offset, uint64_t size);

#endif
