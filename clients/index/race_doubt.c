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
#include <string.h>

uint64_t race_doubt_add(struct race *r, const struct race_op *op)
{
	struct race_doubt *d;

	if (r->c.ft_off || r->ndoubts == CORE_OPS_MAX)
		return 0;
	d = &r->doubt[r->ndoubts++];
	*d = (struct race_doubt){
		.ticket = r->c.tickets + r->ndoubts,
		.slot = op->state == RACE_COMMIT ? op->mine : op->target,
		.word = op->kind == ATOLL_DELETE ? race_tomb_word(r, op) : op->word,
		.log_base = r->c.log_base,
		.seq = ((const struct index_kv *)(op->local + RACE_LOCAL_BLOCK))->seq,
		.cid = r->c.cid,
		.epoch = r->c.epoch,
	};
	return d->ticket;
}

unsigned race_doubts(const struct core *k, const struct race_doubt **out)
{
	const struct race *r = (const struct race *)k;

	*out = r->doubt;
	return r->ndoubts;
}

/* Reads @len bytes of the table, or of the control region, into @out. */
static int fetch(struct race *r, struct atoll_handle region, uint64_t at, void *out, uint32_t len)
{
	uint64_t after_ops = (uint64_t)r->c.ops * RACE_LOCAL_OP;
	struct verb v = race_read_verb(r, at, len, r->c.local_offset + after_ops);
	int rc;

	v.remote = region;
	rc = race_verbs_run(r, &v, 1, 1);
	memcpy(out, r->c.local_base + after_ops, len);
	return rc;
}

static int trace_read(struct race *r, const struct race_doubt *d, bool *happened)
{
	struct index_kv kv;
	uint64_t outcome;
	int rc;

	if (index_slot_tomb(d->word)) {
		rc = fetch(r, r->c.table, d->log_base + index_outcome_at(d->word), &outcome,
			   sizeof(outcome));
		*happened = outcome == index_outcome_make(d->word);
		return rc;
	}
	rc = fetch(r, r->c.table, index_slot_offset(d->word), &kv, sizeof(kv));
	if (!rc && (kv.cid != d->cid || kv.epoch != d->epoch || kv.seq != d->seq))
		return -ESTALE;
	*happened = kv.flags & INDEX_KV_SEEN;
	return rc;
}

int race_doubt_resolve(struct core *k, const struct race_doubt *d, bool *happened)
{
	struct race *r = race_of(k);
	struct index_client line;
	uint64_t slot;
	int rc = race_quiet(r);

	if (!rc)
		rc = fetch(r, r->c.table, d->slot, &slot, sizeof(slot));
	if (rc)
		return rc;
	slot &= ~INDEX_SLOT_MOVE;
	if ((slot & ~INDEX_SLOT_PEND) == d->word)
		*happened = !index_slot_pending(slot);
	else
		rc = trace_read(r, d, happened);
	if (!rc)
		rc = fetch(r, r->c.control,
			   INDEX_CLIENT_TABLE_OFFSET + (uint64_t)d->cid * INDEX_LINE, &line,
			   sizeof(line));
	if (!rc && (line.cid != d->cid || line.epoch != d->epoch))
		return -ESTALE;
	/* Not fenced off, so it may still happen: the caller has not reconnected. */
	if (!rc && line.state != INDEX_CLIENT_DEAD)
		return -EAGAIN;
	return rc;
}
