/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to and from a device: in the calls themselves, or through the bounce region, pipelined. */
#include <string.h>

#include "clients/gpu/gpu_impl.h"

enum { INLINE_MAX = 4 * GPU_DATA_MAX }; /* larger copies go through the bounce region */

struct transfer {
	enum { SLOT_NONE, SLOT_ASKED, SLOT_MOVES } phase;
	uint64_t at, seq; /* at: offset in what is copied */
	uint32_t size;
};

/* The program's side of a copy, where it is memory that verbs reach. */
struct direct {
	bool is;
	struct atoll_handle region;
	uint64_t offset;
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

/* Between the slot of the session's region and, if @direct, pinned memory, else the same slot of the own one. */
static void slot_move(struct gpu *g, int slot, unsigned op, uint32_t size, const struct direct *direct, uint64_t at)
{
	struct verb v = {
		.op = (uint8_t)op,
		.len = size,
		.remote = g->bounce,
		.remote_offset = (uint64_t)slot * SLOT,
		.local = direct->is ? direct->region : g->local.handle,
		.local_offset = direct->is ? direct->offset + at : (uint64_t)slot * SLOT,
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
	struct direct direct = {0};
	uint64_t at = 0;
	unsigned out = 0;
	int rc = 0;

	direct.is = pinned_find(g, from, size, &direct.region, &direct.offset);
	while (!rc && (at < size || out)) {
		int slot = at < size ? slot_take(g) : -1;
		bool moved = false;

		if (slot >= 0) {
			t[slot] = (struct transfer){SLOT_MOVES, at, 0,
						    size - at < SLOT ? (uint32_t)(size - at) : SLOT};
			if (!direct.is)
				memcpy(slot_memory(g, slot), from + at, t[slot].size);
			slot_move(g, slot, VERB_WRITE, t[slot].size, &direct, at);
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

int link_copy_in(struct gpu *g, uint64_t to, const void *from, uint64_t size)
{
	int rc = 0;

	if (size > INLINE_MAX)
		return out_bounced(g, from, size, on_copy, &to);
	for (uint64_t at = 0; at < size && !rc; at += GPU_DATA_MAX) {
		uint32_t n = size - at < GPU_DATA_MAX ? (uint32_t)(size - at) : GPU_DATA_MAX;

		rc = GPU_APPEND(g, copy_in_data, n, to + at, (const uint8_t *)from + at, n);
	}
	link_kick(g);
	return rc;
}

/* Pieces are copied to the bounce region in the order of all calls, then fetched by READ. */
static int in_bounced(struct gpu *g, uint8_t *to, uint64_t from, uint64_t size)
{
	struct transfer t[SLOTS] = {0};
	struct direct direct = {0};
	uint64_t at = 0;
	unsigned out = 0;
	int rc = 0;

	direct.is = pinned_find(g, to, size, &direct.region, &direct.offset);
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
				slot_move(g, k, VERB_READ, t[k].size, &direct, t[k].at);
				moved = true;
			} else if (t[k].phase == SLOT_MOVES && !(g->verbs_out & 1u << k)) {
				if (!direct.is)
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

int link_copy_out(struct gpu *g, void *to, uint64_t from, uint64_t size)
{
	struct link_answer answer;
	int rc;

	if (size > GPU_DATA_MAX) {
		g->round_trips++;
		return in_bounced(g, to, from, size);
	}
	rc = GPU_APPEND(g, copy_out_data, 0, from, (uint32_t)size);
	if (!rc)
		rc = link_result(g, &answer);
	if (!rc && answer.size != size) {
		link_lose(g, "it answers a copy with another size");
		rc = g->fault;
	}
	if (!rc)
		memcpy(to, answer.data, size);
	return rc;
}

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
