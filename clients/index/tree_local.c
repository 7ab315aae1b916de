/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks among the operations of one client, as Sherman (SIGMOD 2022, 4.3) has them among threads: who wants the lock
 * of a leaf that another operation of the same client has, or is on the way to get, waits here, in order, and not by
 * verbs. Whoever ends a change with somebody waiting writes the next one's word into the lock where it would have
 * written 0, and gives him its copy of the leaf: he is spared the round trip of CAS and READ. After HAND_MAX times the lock
 * is given back, for other clients.
 *
 * To others it is a lock of this client all the time, and each operation has a word of its own, so what holds of locks and
 * traces holds of these.
 */
#include <string.h>

#include "clients/index/tree_op.h"

enum { HAND_MAX = 8 };

bool tree_local_wait(struct tree *t, struct tree_op *op)
{
	if (t->local_at[op->index] == op->at)
		return false;
	tree_local_leave(t, op);
	for (unsigned i = 0; i < t->c.ops; i++) {
		struct tree_op *o;

		if (t->local_at[i] != op->at)
			continue;
		o = tree_op_at(t, i);
		op->state = TREE_QUEUED;
		if (!op->wait_begin)
			op->wait_begin = core_now((struct core *)t);
		op->local_next = NULL;
		if (o->local_last)
			o->local_last->local_next = op;
		else
			o->local_first = op;
		o->local_last = op;
		return true;
	}
	t->local_at[op->index] = op->at;
	op->local_first = op->local_last = NULL;
	op->handed = 0;
	return false;
}

/* The next one has the place of @op, and those that wait behind him. */
static struct tree_op *next_take(struct tree *t, struct tree_op *op)
{
	struct tree_op *next = op->local_first;

	if (next) {
		next->local_first = next->local_next;
		next->local_last = next->local_first ? op->local_last : NULL;
		next->handed = 0;
		t->local_at[next->index] = t->local_at[op->index];
	}
	t->local_at[op->index] = 0;
	op->local_first = op->local_last = NULL;
	return next;
}

void tree_local_leave(struct tree *t, struct tree_op *op)
{
	struct tree_op *next = t->local_at[op->index] ? next_take(t, op) : NULL;

	if (next && !t->gone)
		tree_go(t, next);
}

bool tree_local_hand(struct tree *t, struct tree_op *op)
{
	struct tree_op *next = op->local_first;

	if (t->local_at[op->index] != op->at || !next || op->level || op->finished || op->split ||
	    op->handed >= HAND_MAX)
		return false;
	rtx_begin(&next->tx, &t->env, next->index, next->local + TREE_LOCAL_RTX,
		  next->local_offset + TREE_LOCAL_RTX);
	memcpy(op->local + TREE_LOCAL_HAND, &next->tx.word, sizeof(next->tx.word));
	rtx_write(&op->tx, op->at, op->local_offset + TREE_LOCAL_HAND, 8);
	return true;
}

void tree_local_handed(struct tree *t, struct tree_op *op)
{
	unsigned handed = op->handed + 1;
	struct tree_op *next = next_take(t, op);
	uint8_t *node = next->local + TREE_LOCAL_NODE;

	memcpy(node, op->local + TREE_LOCAL_NODE, INDEX_TREE_NODE);
	memcpy(node, op->local + TREE_LOCAL_HEAD, INDEX_TREE_HEAD);
	memcpy(node + INDEX_TREE_HEAD + (unsigned)op->bucket * INDEX_TREE_BUCKET,
	       op->local + TREE_LOCAL_BUCKET, INDEX_TREE_BUCKET);
	next->handed = handed;
	next->held = true;
	next->mend = next->mend_due = next->sibling_seen = false;
	next->wait_begin = next->wait_word = 0;
	t->stats.handovers++;
	tree_look(t, next);
}
