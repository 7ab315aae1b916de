/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory: given out here, within what the service leases; and copies. */
#include <string.h>

#include "clients/gpu/gpu_impl.h"

enum {
	GRAIN = 512,		   /* services/gpu-exec counts in it, too */
	LEASE_STEP = 64 << 20,	   /* bytes that are asked for beyond what is needed */
	INLINE_MAX = 4 * GPU_DATA_MAX, /* larger ones go through the bounce region */
};

/* ------------------------------------------------------------------ allocation */

/* 0, or 2: the device has not as much. */
static int lease(struct gpu *g, uint64_t size)
{
	uint64_t need, more = 0;
	int rc;

	if (size <= g->leased - g->used)
		return 0;
	if (size > g->quota - g->used)
		return GPUE_MEMORY;
	need = g->used + size;
	rc = g->quota - need > LEASE_STEP ? link_lease(g, need + LEASE_STEP, &more) : GPUE_MEMORY;
	if (rc == GPUE_MEMORY)
		rc = link_lease(g, need, &more);
	return rc;
}

int gpu_malloc(struct gpu *g, uint64_t size, uint64_t *address)
{
	uint64_t at;
	int rc;

	*address = 0;
	if (size > UINT64_MAX - GRAIN)
		return GPUE_MEMORY;
	size = (size + GRAIN - 1) / GRAIN * GRAIN;
	gpu_lock(g);
	rc = g->fault;
	if (!rc && size) {
		rc = lease(g, size);
		at = rc ? 0 : piece_fit(g->pieces, g->pieces_count, g->window_base, g->heap_end, &g->next_fit,
					size);
		if (!rc && !at)
			rc = GPUE_MEMORY; /* too many pieces: no range is left */
		if (!rc)
			rc = piece_add(&g->pieces, &g->pieces_count, &g->pieces_room, at, size);
		if (!rc)
			rc = GPU_APPEND(g, mem_map, 0, at, size);
		if (!rc) {
			g->used += size;
			*address = at;
			link_kick(g);
		}
	}
	gpu_unlock(g);
	return rc;
}

int gpu_free(struct gpu *g, uint64_t address)
{
	uint64_t size;
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc) {
		size = piece_remove(g->pieces, &g->pieces_count, address);
		rc = size ? GPU_APPEND(g, mem_unmap, 0, address) : GPUE_INVALID_VALUE;
		g->used -= size;
		if (!rc)
			link_kick(g);
	}
	gpu_unlock(g);
	return rc;
}

int gpu_memory(struct gpu *g, uint64_t *free_bytes, uint64_t *total_bytes)
{
	uint64_t more = 0;
	int rc;

	gpu_lock(g);
	rc = g->fault ? g->fault : link_lease(g, 0, &more);
	*free_bytes = g->leased - g->used + more;
	*total_bytes = g->quota;
	gpu_unlock(g);
	return rc;
}

static bool owns(const struct gpu *g, uint64_t address, uint64_t size)
{
	return piece_find(g->pieces, g->pieces_count, address, size) ||
	       piece_find(g->variables, g->variables_count, address, size);
}

bool gpu_owns(struct gpu *g, uint64_t address, uint64_t size)
{
	bool is;

	gpu_lock(g);
	is = owns(g, address, size);
	gpu_unlock(g);
	return is;
}

/* ------------------------------------------------------------------ the bounce region */

struct transfer {
	enum { SLOT_NONE, SLOT_ASKED, SLOT_MOVES } phase;
	uint64_t at, seq; /* at: offset in what is copied */
	uint32_t size;
};

static int slot_take(struct gpu *g)
{
	int slot = g->slots_free ? __builtin_ctz(g->slots_free) : -1;

	if (slot >= 0)
		g->slots_free &= ~(1u << slot);
	return slot;
}

static uint8_t *slot_memory(const struct gpu *g, int slot)
{
	return (uint8_t *)g->local.base + (size_t)slot * SLOT;
}

static void slot_move(struct gpu *g, int slot, unsigned op, uint32_t size)
{
	struct verb v = {
		.op = (uint8_t)op,
		.len = size,
		.remote = g->bounce,
		.remote_offset = (uint64_t)slot * SLOT,
		.local = g->local.handle,
		.local_offset = (uint64_t)slot * SLOT,
	};
	int rc;

	g->verbs_out |= 1u << slot;
	while (!g->lost && (rc = atoll_post(g->ep, g->lane, &v, 1, (uint64_t)slot))) {
		if (rc != -11) /* EAGAIN: no room now */
			link_lose(g, "a copy cannot be sent");
		else
			link_idle(g);
	}
	if (g->lost)
		g->verbs_out &= ~(1u << slot);
	else
		atoll_flush(g->ep);
}

/* What a fault left of a copy: verbs must have ended before their slots are used again. */
static void transfers_drop(struct gpu *g, struct transfer *t)
{
	for (int k = 0; k < SLOTS; k++) {
		if (t[k].phase == SLOT_NONE)
			continue;
		while (g->verbs_out & 1u << k && !g->lost)
			link_idle(g);
		g->slots_free |= 1u << k;
	}
}

/* Pieces go out by WRITE; when one is there, a call that copies it on is appended. */
static int out_bounced(struct gpu *g, const uint8_t *from, uint64_t size,
		       int (*on)(struct gpu *g, void *ctx, uint64_t at, uint32_t offset, uint32_t n),
		       void *ctx)
{
	struct transfer t[SLOTS] = {0};
	uint64_t at = 0;
	unsigned out = 0;
	int rc = 0;

	while (!rc && (at < size || out)) {
		int slot = at < size ? slot_take(g) : -1;
		bool moved = false;

		if (slot >= 0) {
			t[slot] = (struct transfer){SLOT_MOVES, at, 0,
						    size - at < SLOT ? (uint32_t)(size - at) : SLOT};
			memcpy(slot_memory(g, slot), from + at, t[slot].size);
			slot_move(g, slot, VERB_WRITE, t[slot].size);
			at += t[slot].size;
			out++;
			moved = true;
		}
		for (int k = 0; k < SLOTS && !rc; k++) {
			if (t[k].phase != SLOT_MOVES || g->verbs_out & 1u << k)
				continue;
			rc = g->fault;
			if (!rc)
				rc = on(g, ctx, t[k].at, (uint32_t)k * SLOT, t[k].size);
			if (!rc) {
				g->open->slots |= 1u << k; /* free when the batch is done */
				t[k].phase = SLOT_NONE;
				out--;
				link_kick(g);
				moved = true;
			}
		}
		if (!rc && !moved)
			link_idle(g);
		if (g->fault)
			rc = g->fault;
	}
	if (rc)
		transfers_drop(g, t);
	return rc;
}

static int on_copy(struct gpu *g, void *ctx, uint64_t at, uint32_t offset, uint32_t n)
{
	return GPU_APPEND(g, copy_in, 0, *(uint64_t *)ctx + at, offset, n);
}

int gpu_copy_to_device(struct gpu *g, uint64_t to, const void *from, uint64_t size)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && !owns(g, to, size))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size > INLINE_MAX) {
		rc = out_bounced(g, from, size, on_copy, &to);
	} else if (!rc) {
		for (uint64_t at = 0; at < size && !rc; at += GPU_DATA_MAX) {
			uint32_t n = size - at < GPU_DATA_MAX ? (uint32_t)(size - at) : GPU_DATA_MAX;

			rc = GPU_APPEND(g, copy_in_data, n, to + at, (const uint8_t *)from + at, n);
		}
		link_kick(g);
	}
	gpu_unlock(g);
	return rc;
}

/* Pieces are copied to the bounce region in the order of all calls, then fetched by READ. */
static int in_bounced(struct gpu *g, uint8_t *to, uint64_t from, uint64_t size)
{
	struct transfer t[SLOTS] = {0};
	uint64_t at = 0;
	unsigned out = 0;
	int rc = 0;

	while (!rc && (at < size || out)) {
		int slot = at < size ? slot_take(g) : -1;
		bool moved = false;

		if (slot >= 0) {
			uint32_t n = size - at < SLOT ? (uint32_t)(size - at) : SLOT;

			t[slot] = (struct transfer){SLOT_ASKED, at, 0, n};
			rc = GPU_APPEND(g, copy_out, 0, from + at, (uint32_t)slot * SLOT, n);
			if (rc)
				break;
			t[slot].seq = g->open->seq;
			link_flush(g);
			at += n;
			out++;
			moved = true;
		}
		for (int k = 0; k < SLOTS && !g->fault; k++) {
			if (t[k].phase == SLOT_ASKED && g->done >= t[k].seq && t[k].seq) {
				t[k].phase = SLOT_MOVES;
				slot_move(g, k, VERB_READ, t[k].size);
				moved = true;
			} else if (t[k].phase == SLOT_MOVES && !(g->verbs_out & 1u << k)) {
				memcpy(to + t[k].at, slot_memory(g, k), t[k].size);
				t[k].phase = SLOT_NONE;
				g->slots_free |= 1u << k;
				out--;
				moved = true;
			}
		}
		if (!rc && !moved)
			link_idle(g);
		if (g->fault)
			rc = g->fault;
	}
	if (rc)
		transfers_drop(g, t);
	return rc;
}

int gpu_copy_to_host(struct gpu *g, void *to, uint64_t from, uint64_t size)
{
	struct link_answer answer;
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && !owns(g, from, size))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size > GPU_DATA_MAX) {
		g->round_trips++;
		rc = in_bounced(g, to, from, size);
	} else if (!rc && size) {
		rc = GPU_APPEND(g, copy_out_data, 0, from, (uint32_t)size);
		if (!rc)
			rc = link_result(g, &answer);
		if (!rc && answer.size != size) {
			link_lose(g, "it answers a copy with another size");
			rc = g->fault;
		}
		if (!rc)
			memcpy(to, answer.data, size);
	}
	gpu_unlock(g);
	return rc;
}

int gpu_copy_on_device(struct gpu *g, uint64_t to, uint64_t from, uint64_t size)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && size && (!owns(g, to, size) || !owns(g, from, size)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && size)
		rc = GPU_APPEND(g, copy, 0, to, from, size);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

/* All of the rows are one range that is this device's. */
static bool owns_rows(const struct gpu *g, uint64_t at, uint64_t pitch, uint64_t width, uint64_t height)
{
	uint64_t n;

	return !__builtin_mul_overflow(pitch, height - 1, &n) && !__builtin_add_overflow(n, width, &n) &&
	       owns(g, at, n);
}

int gpu_copy_rows_on_device(struct gpu *g, uint64_t to, uint64_t to_pitch, uint64_t from,
			    uint64_t from_pitch, uint64_t width, uint64_t height)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && width && height &&
	    (width > to_pitch || width > from_pitch || !owns_rows(g, to, to_pitch, width, height) ||
	     !owns_rows(g, from, from_pitch, width, height)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && width && height)
		rc = GPU_APPEND(g, copy_rows, 0, to, to_pitch, from, from_pitch, width, height);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

int gpu_fill(struct gpu *g, uint64_t to, uint64_t pitch, uint32_t value, uint32_t element,
	     uint64_t width, uint64_t height)
{
	uint64_t bytes;
	int rc;

	gpu_lock(g);
	rc = g->fault;
	if (!rc && width && height &&
	    (to % element || __builtin_mul_overflow(width, element, &bytes) ||
	     (height > 1 && bytes > pitch) || !owns_rows(g, to, pitch, bytes, height)))
		rc = GPUE_INVALID_VALUE;
	if (!rc && width && height)
		rc = GPU_APPEND(g, fill, 0, to, pitch, width, height, value, element);
	if (!rc)
		link_kick(g);
	gpu_unlock(g);
	return rc;
}

/* ------------------------------------------------------------------ images of modules */

static int on_image(struct gpu *g, void *ctx, uint64_t at, uint32_t offset, uint32_t n)
{
	(void)ctx;
	return GPU_APPEND(g, image_piece, 0, at, offset, n);
}

int image_send(struct gpu *g, const void *image, uint64_t size)
{
	int rc = GPU_APPEND(g, image_begin, 0, size);

	if (!rc && size > INLINE_MAX)
		return out_bounced(g, image, size, on_image, NULL);
	for (uint64_t at = 0; at < size && !rc; at += GPU_DATA_MAX) {
		uint32_t n = size - at < GPU_DATA_MAX ? (uint32_t)(size - at) : GPU_DATA_MAX;

		rc = GPU_APPEND(g, image_data, n, at, (const uint8_t *)image + at, n);
	}
	return rc;
}
