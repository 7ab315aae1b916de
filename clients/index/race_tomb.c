/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tombs: how a delete leaves a trace that is its own.
 *
 * A delete that swapped an entry for nothing could not be told afterwards from another one that did so. So it
 * swaps it for a word that names it, and has happened then; that word is swapped for nothing by a chain
 * which nobody waits for. Of a client that dies in between the tomb stays, until somebody wants its slot or a
 * repair comes by: they write first that it was there, then empty the slot (race_doubt.c).
 *
 * A tomb's number is used again only when its slot has been emptied, so what is written of a dead client's
 * number is about the delete that used it last.
 */
#include "clients/index/race_op.h"

#include <string.h>

bool race_tomb_take(struct race *r, struct race_op *op)
{
	if (op->tomb)
		return true;
	for (unsigned i = 0; i < INDEX_TOMBS; i++) {
		struct race_tomb *t = &r->tomb[i];

		if (t->state != RACE_TOMB_FREE)
			continue;
		t->state = RACE_TOMB_HELD;
		t->turn++;
		op->tomb = (uint8_t)(i + 1);
		return true;
	}
	return false;
}

uint64_t race_tomb_word(const struct race *r, const struct race_op *op)
{
	return index_tomb_make(r->c.cid, r->c.epoch, op->tomb - 1u, r->tomb[op->tomb - 1].turn);
}

void race_tomb_drop(struct race *r, struct race_op *op)
{
	if (op->tomb)
		r->tomb[op->tomb - 1].state = RACE_TOMB_FREE;
	op->tomb = 0;
}

static void post(struct race *r, unsigned i)
{
	struct race_tomb *t = &r->tomb[i];
	struct verb v = {
		.op = VERB_CAS,
		.len = 8,
		.remote = r->c.table,
		.remote_offset = t->at,
		.local = r->c.local,
		.local_offset = r->split.local_offset + RACE_SPLIT_SCRATCH,
		.compare = index_tomb_make(r->c.cid, r->c.epoch, i, t->turn),
	};

	t->state = RACE_TOMB_DUE;
	if (r->c.verbs->ops->post(r->c.verbs, r->lane[0], &v, 1,
				  (uint64_t)i << 8 | RACE_TOMB_INDEX))
		return; /* no room: in the next poll */
	t->state = RACE_TOMB_SENT;
	r->doorbell = true;
}

void race_tomb_empty(struct race *r, struct race_op *op, uint64_t slot)
{
	unsigned i = op->tomb - 1u;

	op->tomb = 0;
	r->tombs++;
	r->tomb[i].at = slot;
	post(r, i);
}

void race_tomb_pump(struct race *r)
{
	for (unsigned i = 0; i < INDEX_TOMBS && r->tombs && !r->lost; i++)
		if (r->tomb[i].state == RACE_TOMB_DUE)
			post(r, i);
}

void race_tomb_done(struct race *r, const struct verb_completion *done)
{
	uint64_t i = done->cookie >> 8;

	if (i >= INDEX_TOMBS || r->tomb[i].state != RACE_TOMB_SENT)
		return;
	if (done->status[0] == STATUS_AGAIN) {
		r->tomb[i].state = RACE_TOMB_DUE;
		return;
	}
	/* What it found does not matter: if not the tomb, its subtable was split meanwhile. */
	r->lost |= core_status_lost(done->status[0]);
	r->tomb[i].state = done->status[0] == STATUS_OK ? RACE_TOMB_FREE : RACE_TOMB_HELD;
	r->tombs--;
}
