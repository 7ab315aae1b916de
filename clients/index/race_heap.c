/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of heap: from chunks of the shard, and again from what was given back.
 *
 * A chunk has one owner, and only its owner takes blocks out of it. A block that is not reachable
 * any more goes back to the owner: at once where the owner itself has replaced or deleted it, else
 * when the owner sweeps (race_sweep.c). Either way it then rests in `limbo` until nobody can hold
 * its word any more (race_reclaim.c), and goes to the list of free blocks of its size.
 *
 * For each segment that it owns a client keeps a word for each unit of 64 bytes, which says of the
 * first unit of a block how long it is and whether the block is in the table. So what is reachable
 * of its own chunks can be told from what it holds without anything written into shared memory.
 */
#include "clients/index/race_op.h"

#include <stdlib.h>
#include <string.h>

enum {
	UNITS = INDEX_SEGMENT / INDEX_LINE, /* of a segment */
	POOL_FIRST = 1024,
};

/* ------------------------------------------------------------------ own segments */

static uint16_t *unit_of(const struct race *r, uint64_t at)
{
	uint64_t segment = (at - r->c.heap_offset) / INDEX_SEGMENT;

	if (at < r->c.heap_offset || segment >= r->heap.segments || !r->heap.own[segment])
		return NULL;
	return &r->heap.own[segment][(at - r->c.heap_offset) % INDEX_SEGMENT / INDEX_LINE];
}

int race_heap_open(struct race *r)
{
	r->heap.segments = r->c.heap_size / INDEX_SEGMENT;
	r->heap.own = calloc(r->heap.segments, sizeof(*r->heap.own));
	return r->heap.own ? 0 : -1;
}

void race_heap_close(struct race *r)
{
	for (uint64_t i = 0; i < r->heap.segments && r->heap.own; i++)
		free(r->heap.own[i]);
	free(r->heap.own);
	free(r->heap.pool);
	free(r->heap.limbo);
}

static bool own_add(struct race *r, uint64_t offset, uint64_t size)
{
	for (uint64_t at = offset; at < offset + size; at += INDEX_SEGMENT) {
		uint16_t **own = &r->heap.own[(at - r->c.heap_offset) / INDEX_SEGMENT];

		if (!*own)
			*own = calloc(UNITS, sizeof(**own));
		if (!*own)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------ free blocks, by size */

static void free_put(struct race *r, uint64_t at, uint32_t units)
{
	struct race_heap *h = &r->heap;
	uint32_t node = h->unused;

	if (node) {
		h->unused = h->pool[node].next;
	} else {
		if (h->pool_used == h->pool_room) {
			uint32_t room = h->pool_room ? 2 * h->pool_room : POOL_FIRST;
			void *more = realloc(h->pool, room * sizeof(*h->pool));

			if (!more) { /* the next sweep finds it again */
				*unit_of(r, at) = (uint16_t)(units | RACE_UNIT_LINKED);
				return;
			}
			h->pool = more;
			h->pool_room = room;
			h->pool_used += h->pool_used == 0; /* node 0 is none */
		}
		node = h->pool_used++;
	}
	h->pool[node] = (struct race_free){at, h->free[units]};
	h->free[units] = node;
	h->classes[units / 64] |= 1ull << units % 64;
	h->free_bytes += (uint64_t)units * INDEX_LINE;
}

static uint64_t free_take(struct race *r, uint32_t units)
{
	struct race_heap *h = &r->heap;
	uint32_t node = h->free[units];
	uint64_t at;

	if (!node)
		return 0;
	at = h->pool[node].at;
	h->free[units] = h->pool[node].next;
	if (!h->free[units])
		h->classes[units / 64] &= ~(1ull << units % 64);
	h->pool[node].next = h->unused;
	h->unused = node;
	h->free_bytes -= (uint64_t)units * INDEX_LINE;
	return at;
}

void race_free_run(struct race *r, uint64_t at, uint64_t units)
{
	while (units) {
		uint32_t n = units < RACE_UNITS_MAX ? (uint32_t)units : RACE_UNITS_MAX;

		*unit_of(r, at) = (uint16_t)(n | RACE_UNIT_HELD);
		free_put(r, at, n);
		at += (uint64_t)n * INDEX_LINE;
		units -= n;
	}
}

/* A larger block is cut. */
static uint64_t free_cut(struct race *r, uint32_t units)
{
	struct race_heap *h = &r->heap;

	for (uint32_t w = units / 64; w < sizeof(h->classes) / 8; w++) {
		uint64_t bits = h->classes[w];

		if (w == units / 64)
			bits &= ~0ull << units % 64;
		if (bits) {
			uint32_t n = w * 64 + (uint32_t)__builtin_ctzll(bits);
			uint64_t at = free_take(r, n);

			if (n > units)
				race_free_run(r, at + (uint64_t)units * INDEX_LINE, n - units);
			return at;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ taking and giving back */

static void chunk_ask(struct race *r)
{
	if (!r->chunk_asked) {
		r->chunk_asked = true;
		r->c.want_chunk(r->c.owner);
	}
}

/* What is left of the chunk is too short for what is wanted now. */
static void chunk_next(struct race *r)
{
	if (r->chunk_end > r->chunk_at)
		race_free_run(r, r->chunk_at, (r->chunk_end - r->chunk_at) / INDEX_LINE);
	r->chunk_at = r->spare_at;
	r->chunk_end = r->spare_end;
	r->spare_at = r->spare_end = 0;
}

uint64_t race_block_alloc(struct race *r, uint64_t room)
{
	uint32_t units = (uint32_t)(room / INDEX_LINE);
	uint64_t at = free_take(r, units);

	/* Cut what is free rather than take more, where there is much of it. */
	if (!at && (r->heap.free_bytes > r->stats.chunk_bytes / 4 ||
		    (r->chunk_end - r->chunk_at < room && r->spare_end - r->spare_at < room)))
		at = free_cut(r, units);
	if (!at) {
		if (r->chunk_end - r->chunk_at < room) {
			if (r->spare_end - r->spare_at < room) {
				chunk_ask(r);
				return 0;
			}
			chunk_next(r);
		}
		at = r->chunk_at;
		r->chunk_at += room;
		if (!r->spare_end && r->chunk_end - r->chunk_at < INDEX_KV_ROOM_MAX / 2 &&
		    r->heap.free_bytes <= r->stats.chunk_bytes / 4)
			chunk_ask(r);
	}
	*unit_of(r, at) = (uint16_t)(units | RACE_UNIT_HELD);
	return at;
}

void race_block_linked(struct race *r, uint64_t at)
{
	uint16_t *unit = unit_of(r, at);

	if (unit)
		*unit = (uint16_t)((*unit & RACE_UNIT_LEN) | RACE_UNIT_LINKED | RACE_UNIT_YOUNG);
}

/* What nobody knows of yet can be used again at once. */
void race_block_unused(struct race *r, uint64_t at)
{
	uint16_t *unit = unit_of(r, at);

	if (unit)
		free_put(r, at, *unit & RACE_UNIT_LEN);
}

void race_block_free(struct race *r, uint64_t at, uint64_t room)
{
	struct race_heap *h = &r->heap;
	uint16_t *unit = unit_of(r, at);
	uint32_t units;

	if (!unit) {
		r->stats.leaked_blocks++;
		r->stats.leaked_bytes += room;
		return;
	}
	units = *unit & RACE_UNIT_LEN;
	if (h->limbo_n == h->limbo_room) {
		uint64_t places = h->limbo_room ? 2 * h->limbo_room : POOL_FIRST;
		struct race_limbo *more = malloc(places * sizeof(*more));

		if (!more) {
			*unit = (uint16_t)(units | RACE_UNIT_LINKED); /* found by a sweep */
			return;
		}
		for (uint64_t i = 0; i < h->limbo_n; i++)
			more[i] = h->limbo[(h->limbo_first + i) & (h->limbo_room - 1)];
		free(h->limbo);
		h->limbo = more;
		h->limbo_room = places;
		h->limbo_first = 0;
	}
	*unit = (uint16_t)(units | RACE_UNIT_HELD);
	h->limbo[(h->limbo_first + h->limbo_n++) & (h->limbo_room - 1)] =
		(struct race_limbo){.at = at, .epoch = RACE_EPOCH_NONE};
	h->limbo_bytes += (uint64_t)units * INDEX_LINE;
}

void race_limbo_tag(struct race *r, uint64_t n, uint64_t epoch)
{
	struct race_heap *h = &r->heap;

	for (uint64_t i = n < h->limbo_n ? n : h->limbo_n; i-- > 0;) {
		struct race_limbo *l = &h->limbo[(h->limbo_first + i) & (h->limbo_room - 1)];

		if (l->epoch != RACE_EPOCH_NONE)
			break;
		l->epoch = epoch;
	}
}

bool race_limbo_drain(struct race *r, uint64_t epoch)
{
	struct race_heap *h = &r->heap;
	bool any = false;

	while (h->limbo_n) {
		const struct race_limbo *l = &h->limbo[h->limbo_first];
		uint32_t units;

		if (l->epoch == RACE_EPOCH_NONE || epoch < l->epoch + RACE_GRACE)
			break;
		units = *unit_of(r, l->at) & RACE_UNIT_LEN;
		free_put(r, l->at, units);
		r->stats.reused_bytes += (uint64_t)units * INDEX_LINE;
		h->limbo_bytes -= (uint64_t)units * INDEX_LINE;
		h->limbo_first = (h->limbo_first + 1) & (h->limbo_room - 1);
		h->limbo_n--;
		any = true;
	}
	return any;
}

/* ------------------------------------------------------------------ operations that wait for room
 */

/* The block is in local memory but for what its place decides. */
bool race_block_give(struct race *r, struct race_op *op)
{
	uint64_t room = index_kv_room(op->klen, op->vlen);

	op->block = race_block_alloc(r, room);
	if (!op->block)
		return false;
	op->word = index_slot_make(op->place.fp, op->block, room);
	return true;
}

void race_want_block(struct race *r, struct race_op *op)
{
	struct race_queue *q = &r->want_block;

	op->state = RACE_WANT_BLOCK;
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
}

static struct race_op *queue_take(struct race_queue *q)
{
	struct race_op *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

void race_room_made(struct race *r)
{
	while (r->want_block.head && race_block_give(r, r->want_block.head))
		race_step_scan(r, queue_take(&r->want_block));
	race_split_room(r, false);
}

void race_chunk_add(struct race *r, uint64_t offset, uint64_t size)
{
	r->chunk_asked = false;
	if (offset % INDEX_LINE || offset < r->c.heap_offset || size > r->c.heap_size ||
	    offset - r->c.heap_offset > r->c.heap_size - size || size < INDEX_KV_ROOM_MAX ||
	    (offset - r->c.heap_offset) % INDEX_SEGMENT || size % INDEX_SEGMENT ||
	    !own_add(r, offset, size)) {
		race_chunk_none(r, ATOLL_CORRUPT, 0);
		return;
	}
	r->stats.chunk_bytes += size;
	if (r->spare_end)
		race_free_run(r, r->spare_at, (r->spare_end - r->spare_at) / INDEX_LINE);
	r->spare_at = offset;
	r->spare_end = offset + size;
	race_room_made(r);
}

void race_chunk_none(struct race *r, enum atoll_result result, unsigned status)
{
	struct race_queue waiting;
	struct race_op *op;

	r->chunk_asked = false;
	/* What rests in limbo will be free in a while. */
	if (result == ATOLL_NO_SPACE && r->want_block.head && race_reclaim_hurry(r))
		return;
	waiting = r->want_block;
	r->want_block = (struct race_queue){0};
	race_split_room(r, true);
	while ((op = queue_take(&waiting)))
		race_op_end(r, op, result, status);
}
