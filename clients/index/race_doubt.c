/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Did it happen? Exact answers for operations whose last compare-and-swap got no answer.
 *
 * The one who asks has been fenced off under the identity that it had then, and asks under a new one, so what
 * has not happened never will. That compare-and-swap put a word into a slot that nobody else ever puts there:
 * the own block's, or the own tomb. Three places tell what became of it, read in this order:
 *
 *	the slot	holds the word (with MOVE or not): it happened. Holds it with PEND: it did not.
 *	the trace	Whoever takes a committed word out of its slot has set SEEN in its block before, in the
 *			same chain; who empties the tomb of a dead client has written its outcome before. There: it
 *			happened. Not there: the word was never committed, or else it would be in the slot.
 *	the owner	The client table and the block still name us: so the trace was ours. Otherwise it is too
 *			late to know.
 *
 * A word that a split has frozen stays in its slot for ever. A word with PEND that was taken back by a repair was
 * never committed, and leaves no trace, which is right.
 *
 * Not every word that is replaced needs SEEN: a block of one's own whose operation has been answered is in
 * nobody's doubt. So a client that is alone with its keys writes nothing for this.
 */
#include "clients/index/race_op.h"

#include <errno.h>

uint64_t race_doubt_add(struct race *r, const struct race_op *op)
{
	const struct core_doubt d = {
		.at = op->state == RACE_COMMIT ? op->mine : op->target,
		.word = op->kind == ATOLL_DELETE ? race_tomb_word(r, op) : op->word,
		.seq = ((const struct index_kv *)(op->local + RACE_LOCAL_BLOCK))->seq,
	};

	return core_doubt_add((struct core *)r, &d);
}

static int trace_read(struct core *k, const struct core_doubt *d, bool *happened)
{
	struct index_kv kv;
	uint64_t outcome;
	int rc;

	if (index_slot_tomb(d->word)) {
		rc = core_fetch(k, k->c.table, d->log_base + index_outcome_at(d->word), &outcome,
			   sizeof(outcome));
		*happened = outcome == index_outcome_make(d->word);
		return rc;
	}
	rc = core_fetch(k, k->c.table, index_slot_offset(d->word), &kv, sizeof(kv));
	if (!rc && (kv.cid != d->cid || kv.epoch != d->epoch || kv.seq != d->seq))
		return -ESTALE;
	*happened = kv.flags & INDEX_KV_SEEN;
	return rc;
}

int race_resolve(struct core *k, const struct core_doubt *d, bool *happened)
{
	uint64_t slot = 0;
	int rc = core_fetch(k, k->c.table, d->at, &slot, sizeof(slot));

	slot &= ~INDEX_SLOT_MOVE;
	if (!rc && (slot & ~INDEX_SLOT_PEND) == d->word)
		*happened = !index_slot_pending(slot);
	else if (!rc)
		rc = trace_read(k, d, happened);
	return rc;
}
