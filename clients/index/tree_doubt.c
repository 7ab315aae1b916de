/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Did it happen? Exact answers for operations whose last chain got no answer, and the traces that they need.
 *
 * An operation in doubt held the lock of one node, with a word that nobody else ever has. It happens with the WRITE
 * that raises the version of its bucket (or, where a split put the entry into the new node, of the fences): whoever
 * repairs the node rolls that forward. All versions of a node have a sum, and each step of the operation adds
 * one to it, so the sum tells how far it came. The one who asks has been fenced off under the identity that it
 * had then. Three places tell, read in this order:
 *
 *	the node	has the lock word: nobody has been there since. Its versions tell.
 *	the trace	Whoever takes a dead client's lock over has written into the dead's log what the sum was.
 *	neither		The lock was given back by who held it, at the end of its chain: it happened.
 *
 * Taking a lock over is therefore three chains: READ node and trace; CAS trace, from what it was; CAS lock. A node
 * that is read while another one takes its lock over may be torn, but then the trace is not what it was any more,
 * and the CAS changes nothing. A trace of a later epoch of the same number stays: he of the earlier one can ask
 * no longer.
 */
#include <errno.h>
#include <string.h>

#include "clients/index/tree_op.h"

enum { TRIES = 8 }; /* looks at a node whose lock changes between two READs */

/* ------------------------------------------------------------------ taking over */

void tree_claim(struct tree *t, struct tree_op *op, uint64_t lock, uint64_t log)
{
	op->wait_word = lock;
	op->trace = log + index_tree_trace_at(lock);
	if (!tree_offset_good(t, log, INDEX_SEGMENT)) { /* without one nobody can ask */
		tree_claim_lock(t, op);
		return;
	}
	rtx_abort(&op->tx);
	rtx_read(&op->tx, op->at, op->local_offset + TREE_LOCAL_NODE, INDEX_TREE_NODE);
	rtx_read(&op->tx, op->trace, op->local_offset + TREE_LOCAL_TRACE, 8);
	tree_post(t, op, TREE_TRACE);
}

void tree_trace_read(struct tree *t, struct tree_op *op)
{
	uint64_t lock = op->wait_word, old, new, sum = INDEX_TREE_SUM_NONE;

	memcpy(&old, op->local + TREE_LOCAL_TRACE, sizeof(old));
	if (tree_parse(&t->view, op->local + TREE_LOCAL_NODE, true) == TREE_WHOLE) {
		if (t->view.head.lock != lock) { /* somebody else has */
			tree_go(t, op);
			return;
		}
		sum = index_tree_sum(&t->view.head);
	}
	new = index_tree_trace_make(lock, sum);
	if (old >> 24 == new >> 24 || (old >> 48) > index_lock_epoch(lock)) {
		tree_claim_lock(t, op);
		return;
	}
	rtx_abort(&op->tx);
	rtx_lock_read(&op->tx, op->trace, old, 0, 0, 0);
	op->tx.chain[op->tx.n - 1].swap = new;
	tree_post(t, op, TREE_NOTE);
}

/* ------------------------------------------------------------------ asking */

uint64_t tree_doubt_add(struct tree *t, const struct tree_op *op)
{
	const struct core_doubt d = {
		.at = op->at,
		.word = op->tx.word,
		.seq = op->sum & INDEX_TREE_SUM_MASK,
	};

	return core_doubt_add((struct core *)t, &d);
}

/* 0: @sum is what the versions are under the lock; 1: the lock is not its any more; or negative errno. */
static int node_read(struct core *k, const struct core_doubt *d, uint64_t *sum)
{
	struct tree_view *v = &tree_of(k)->view;
	uint8_t node[INDEX_TREE_NODE];

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t lock = 0;
		int rc = core_fetch(k, k->c.table, d->at, node, sizeof(node));

		memcpy(&lock, node, sizeof(lock));
		if (rc || lock != d->word)
			return rc ? rc : 1;
		rc = tree_parse(v, node, true) == TREE_WHOLE ? 0 : -EBADMSG;
		*sum = index_tree_sum(&v->head) & INDEX_TREE_SUM_MASK;
		/* while it was read, too? */
		if (core_fetch(k, k->c.table, d->at, &lock, sizeof(lock)))
			return -ENOTCONN;
		if (lock == d->word)
			return rc;
	}
	return 1;
}

int tree_resolve_doubt(struct core *k, const struct core_doubt *d, bool *happened)
{
	uint64_t sum = 0, trace;
	int rc = node_read(k, d, &sum);

	if (rc == 1) {
		rc = core_fetch(k, k->c.table, d->log_base + index_tree_trace_at(d->word), &trace,
				sizeof(trace));
		if (!rc && trace >> 24 != index_tree_trace_make(d->word, 0) >> 24) {
			*happened = true;
			return 0;
		}
		sum = trace & INDEX_TREE_SUM_MASK;
		if (!rc && sum == INDEX_TREE_SUM_NONE)
			rc = -EBADMSG;
	}
	*happened = sum == d->seq;
	return rc;
}
