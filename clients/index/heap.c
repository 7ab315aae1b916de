/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For each segment that it owns a client keeps a word for each unit of 64 bytes, which says of the
 * first unit of a block how long it is and whether the block is in the index.
 */
#include "clients/index/heap.h"

#include <errno.h>

#include <stdlib.h>
#include <string.h>

enum {
	UNITS = INDEX_SEGMENT / INDEX_LINE, /* of a segment */
	POOL_FIRST = 1024,
};

/* ------------------------------------------------------------------ own segments */

static uint16_t *unit_of(const struct heap *h, uint64_t at)
{
	uint64_t segment = (at - h->offset) / INDEX_SEGMENT;

	if (at < h->offset || segment >= h->segments || !h->own[segment])
		return NULL;
	return &h->own[segment][(at - h->offset) % INDEX_SEGMENT / INDEX_LINE];
}

int heap_open(struct heap *h, uint64_t offset, uint64_t size, struct atoll_index_stats *stats,
	      void *owner, void (*want_chunk)(void *owner))
{
	*h = (struct heap){
		.offset = offset,
		.size = size,
		.stats = stats,
		.owner = owner,
		.want_chunk = want_chunk,
		.segments = size / INDEX_SEGMENT,
	};
	h->own = calloc(h->segments, sizeof(*h->own));
	return h->own ? 0 : -ENOMEM;
}

void heap_close(struct heap *h)
{
	for (uint64_t i = 0; i < h->segments && h->own; i++)
		free(h->own[i]);
	free(h->own);
	free(h->pool);
	free(h->limbo);
}

static bool own_add(struct heap *h, uint64_t offset, uint64_t size)
{
	for (uint64_t at = offset; at < offset + size; at += INDEX_SEGMENT) {
		uint16_t **own = &h->own[(at - h->offset) / INDEX_SEGMENT];

		if (!*own)
			*own = calloc(UNITS, sizeof(**own));
		if (!*own)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------ free blocks, by size */

static void free_put(struct heap *h, uint64_t at, uint32_t units)
{
	uint32_t node = h->unused;

	if (node) {
		h->unused = h->pool[node].next;
	} else {
		if (h->pool_used == h->pool_room) {
			uint32_t room = h->pool_room ? 2 * h->pool_room : POOL_FIRST;
			void *more = realloc(h->pool, room * sizeof(*h->pool));

			if (!more) { /* the next sweep finds it again */
				*unit_of(h, at) = (uint16_t)(units | HEAP_UNIT_LINKED);
				return;
			}
			h->pool = more;
			h->pool_room = room;
			h->pool_used += h->pool_used == 0; /* node 0 is none */
		}
		node = h->pool_used++;
	}
	h->pool[node] = (struct heap_free){at, h->free[units]};
	h->free[units] = node;
	h->classes[units / 64] |= 1ull << units % 64;
	h->free_bytes += (uint64_t)units * INDEX_LINE;
}

static uint64_t free_take(struct heap *h, uint32_t units)
{
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

void heap_free_run(struct heap *h, uint64_t at, uint64_t units)
{
	while (units) {
		uint32_t n = units < HEAP_UNITS_MAX ? (uint32_t)units : HEAP_UNITS_MAX;

		*unit_of(h, at) = (uint16_t)(n | HEAP_UNIT_HELD);
		free_put(h, at, n);
		at += (uint64_t)n * INDEX_LINE;
		units -= n;
	}
}

/* A larger block is cut. */
static uint64_t free_cut(struct heap *h, uint32_t units)
{
	for (uint32_t w = units / 64; w < sizeof(h->classes) / 8; w++) {
		uint64_t bits = h->classes[w];

		if (w == units / 64)
			bits &= ~0ull << units % 64;
		if (bits) {
			uint32_t n = w * 64 + (uint32_t)__builtin_ctzll(bits);
			uint64_t at = free_take(h, n);

			if (n > units)
				heap_free_run(h, at + (uint64_t)units * INDEX_LINE, n - units);
			return at;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ taking and giving back */

void heap_ask(struct heap *h)
{
	if (!h->chunk_asked) {
		h->chunk_asked = true;
		h->want_chunk(h->owner);
	}
}

/* What is left of the chunk is too short for what is wanted now. */
static void chunk_next(struct heap *h)
{
	if (h->chunk_end > h->chunk_at)
		heap_free_run(h, h->chunk_at, (h->chunk_end - h->chunk_at) / INDEX_LINE);
	h->chunk_at = h->spare_at;
	h->chunk_end = h->spare_end;
	h->spare_at = h->spare_end = 0;
}

uint64_t heap_alloc(struct heap *h, uint64_t room)
{
	uint32_t units = (uint32_t)(room / INDEX_LINE);
	uint64_t at = free_take(h, units);

	/* Cut what is free rather than take more, where there is much of it. */
	if (!at && (h->free_bytes > h->stats->chunk_bytes / 4 ||
		    (h->chunk_end - h->chunk_at < room && h->spare_end - h->spare_at < room)))
		at = free_cut(h, units);
	if (!at) {
		if (h->chunk_end - h->chunk_at < room) {
			if (h->spare_end - h->spare_at < room) {
				heap_ask(h);
				return 0;
			}
			chunk_next(h);
		}
		at = h->chunk_at;
		h->chunk_at += room;
		if (!h->spare_end && h->chunk_end - h->chunk_at < INDEX_KV_ROOM_MAX / 2 &&
		    h->free_bytes <= h->stats->chunk_bytes / 4)
			heap_ask(h);
	}
	*unit_of(h, at) = (uint16_t)(units | HEAP_UNIT_HELD);
	return at;
}

bool heap_known(const struct heap *h, uint64_t at)
{
	const uint16_t *unit = unit_of(h, at);

	return unit && (*unit & HEAP_UNIT_LINKED);
}

void heap_linked(struct heap *h, uint64_t at)
{
	uint16_t *unit = unit_of(h, at);

	if (unit)
		*unit = (uint16_t)((*unit & HEAP_UNIT_LEN) | HEAP_UNIT_LINKED | HEAP_UNIT_YOUNG);
}

/* What nobody knows of yet can be used again at once. */
void heap_unused(struct heap *h, uint64_t at)
{
	uint16_t *unit = unit_of(h, at);

	if (unit)
		free_put(h, at, *unit & HEAP_UNIT_LEN);
}

void heap_free(struct heap *h, uint64_t at, uint64_t room)
{
	uint16_t *unit = unit_of(h, at);
	uint32_t units;

	if (!unit) {
		h->stats->leaked_blocks++;
		h->stats->leaked_bytes += room;
		return;
	}
	units = *unit & HEAP_UNIT_LEN;
	if (!units) { /* put there by somebody who is dead, and whose header may be damaged */
		uint64_t last = at + room - INDEX_LINE;

		if (room == 0 || room > INDEX_KV_ROOM_MAX || !unit_of(h, last) ||
		    last / INDEX_SEGMENT != at / INDEX_SEGMENT) {
			h->stats->leaked_blocks++;
			h->stats->leaked_bytes += room;
			return;
		}
		units = (uint32_t)((room + INDEX_LINE - 1) / INDEX_LINE);
	}
	if (h->limbo_n == h->limbo_room) {
		uint64_t places = h->limbo_room ? 2 * h->limbo_room : POOL_FIRST;
		struct heap_limbo *more = malloc(places * sizeof(*more));

		if (!more) {
			*unit = (uint16_t)(units | HEAP_UNIT_LINKED); /* found by a sweep */
			return;
		}
		for (uint64_t i = 0; i < h->limbo_n; i++)
			more[i] = h->limbo[(h->limbo_first + i) & (h->limbo_room - 1)];
		free(h->limbo);
		h->limbo = more;
		h->limbo_room = places;
		h->limbo_first = 0;
	}
	*unit = (uint16_t)(units | HEAP_UNIT_HELD);
	h->limbo[(h->limbo_first + h->limbo_n++) & (h->limbo_room - 1)] =
		(struct heap_limbo){.at = at, .epoch = HEAP_EPOCH_NONE};
	h->limbo_bytes += (uint64_t)units * INDEX_LINE;
}

void heap_limbo_tag(struct heap *h, uint64_t n, uint64_t epoch)
{
	for (uint64_t i = n < h->limbo_n ? n : h->limbo_n; i-- > 0;) {
		struct heap_limbo *l = &h->limbo[(h->limbo_first + i) & (h->limbo_room - 1)];

		if (l->epoch != HEAP_EPOCH_NONE)
			break;
		l->epoch = epoch;
	}
}

bool heap_limbo_drain(struct heap *h, uint64_t epoch, uint64_t grace)
{
	bool any = false;

	while (h->limbo_n) {
		const struct heap_limbo *l = &h->limbo[h->limbo_first];
		uint32_t units;

		if (l->epoch == HEAP_EPOCH_NONE || epoch < l->epoch + grace)
			break;
		units = *unit_of(h, l->at) & HEAP_UNIT_LEN;
		free_put(h, l->at, units);
		h->stats->reused_bytes += (uint64_t)units * INDEX_LINE;
		h->limbo_bytes -= (uint64_t)units * INDEX_LINE;
		h->limbo_first = (h->limbo_first + 1) & (h->limbo_room - 1);
		h->limbo_n--;
		any = true;
	}
	return any;
}

bool heap_chunk_used(struct heap *h, uint64_t offset, uint64_t size, const uint64_t *map)
{
	const uint64_t units = INDEX_SEGMENT / INDEX_LINE;

	h->chunk_asked = false;
	if (size != INDEX_SEGMENT || offset < h->offset || (offset - h->offset) % INDEX_SEGMENT ||
	    offset - h->offset > h->size - size || !own_add(h, offset, size))
		return false;
	for (uint64_t i = 0, n; i < units; i += n + 1) {
		for (n = 0; i + n < units && !(map[(i + n) / 64] >> (i + n) % 64 & 1); n++)
			;
		if (n)
			heap_free_run(h, offset + i * INDEX_LINE, n);
		h->stats->chunk_bytes += n * INDEX_LINE;
		h->stats->recycled_bytes += n * INDEX_LINE;
	}
	return true;
}

bool heap_chunk_add(struct heap *h, uint64_t offset, uint64_t size)
{
	h->chunk_asked = false;
	if (offset % INDEX_LINE || offset < h->offset || size > h->size ||
	    offset - h->offset > h->size - size || size < INDEX_KV_ROOM_MAX ||
	    (offset - h->offset) % INDEX_SEGMENT || size % INDEX_SEGMENT || !own_add(h, offset, size))
		return false;
	h->stats->chunk_bytes += size;
	if (h->spare_end)
		heap_free_run(h, h->spare_at, (h->spare_end - h->spare_at) / INDEX_LINE);
	h->spare_at = offset;
	h->spare_end = offset + size;
	return true;
}
