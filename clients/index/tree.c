/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of the tree as the core knows it: start, posting of chains, end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/tree_op.h"

enum {
	TREE_CACHE_MIN = 8,
};

static bool good(const struct core_config *c)
{
	return c->cache >= TREE_CACHE_MIN;
}

static int open_engine(struct core *k)
{
	const uint64_t words[] = {INDEX_TREE_FENCED, INDEX_TREE_RETIRED};
	struct tree *t = tree_of(k);

	t->inner = calloc(k->c.cache, sizeof(struct tree_inner *));
	for (unsigned i = 0; i < k->c.ops; i++)
		memcpy(k->c.local_base + (size_t)i * TREE_LOCAL_OP + TREE_LOCAL_FENCED, words,
		       sizeof(words));
	return t->inner ? 0 : -ENOMEM;
}

static void close_engine(struct core *k)
{
	struct tree *t = tree_of(k);

	if (t->inner)
		tree_inner_clear(t);
	tree_long_clear(t);
	free(t->inner);
}

uint64_t tree_bad_at(const struct core *k)
{
	return ((const struct tree *)k)->bad_at;
}

/* ------------------------------------------------------------------ chains */

static int post(struct core *k, struct core_op *o)
{
	struct tree_op *op = tree_op_of(o);
	uint64_t cookie = (uint64_t)op->gen << 8 | op->index;
	int rc = op->post_rc;

	/* A chain that was refused is gone, and its operation ends in the next poll. */
	if (rc == 0 || rc == -EAGAIN)
		rc = rtx_commit(&op->tx, k->c.verbs, k->lane[op->index % k->c.nlanes], cookie);
	op->post_rc = rc;
	core_posted(k, o, rc);
	return rc;
}

void tree_post(struct tree *t, struct tree_op *op, enum tree_state state)
{
	op->state = state;
	op->nchain = op->tx.n;
	op->base = 0;
	post((struct core *)t, (struct core_op *)op);
}

/* Verbs that were certainly not executed are sent again; those before them are not. */
static void post_rest(struct core *k, struct tree_op *op, unsigned first)
{
	memmove(op->tx.chain, op->tx.chain + first, (op->nchain - first) * sizeof(op->tx.chain[0]));
	op->base += first;
	op->nchain -= first;
	op->tx.n = op->nchain;
	post(k, (struct core_op *)op);
}

static void step(struct core *k, struct core_op *o, const struct verb_completion *done)
{
	struct tree_op *op = tree_op_of(o);
	unsigned first = 0;

	while (first < op->nchain && done->status[first] == STATUS_OK)
		first++;
	if (first < op->nchain && done->status[first] == STATUS_AGAIN)
		post_rest(k, op, first);
	else
		tree_step(tree_of(k), op, done);
}

/* ------------------------------------------------------------------ heap */

bool tree_offset_good(const struct tree *t, uint64_t at, uint64_t size)
{
	return at % INDEX_LINE == 0 && at >= t->c.heap_offset && size <= t->c.heap_size &&
	       at - t->c.heap_offset <= t->c.heap_size - size;
}

bool tree_word_good(const struct tree *t, uint64_t word)
{
	return !(word & (INDEX_SLOT_TAG_MASK | INDEX_SLOT_PEND | INDEX_SLOT_MOVE)) &&
	       index_slot_units(word) &&
	       tree_offset_good(t, index_slot_offset(word),
				(uint64_t)index_slot_units(word) * INDEX_LINE);
}

void tree_op_want(struct tree *t, struct tree_op *op)
{
	if (op->fixing) { /* it is for others, and they will do without */
		tree_op_end(t, op, op->result, 0);
		return;
	}
	core_op_want((struct core *)t, (struct core_op *)op);
	heap_ask(&t->heap); /* what was asked for may have been answered since */
}

static void resume(struct core *k, struct core_op *op)
{
	tree_start(tree_of(k), tree_op_of(op));
}

/* ------------------------------------------------------------------ operations */

static void clear(struct tree *t, struct tree_op *op)
{
	op->finished = false;
	op->post_rc = 0;
	op->moved = op->root_seen = op->strict = op->last = op->locks = false;
	op->held = op->mend = op->mend_due = op->sibling_seen = false;
	op->left_held = op->right_held = op->merged = op->retire = op->handing = false;
	op->gone = op->dropped = op->old_word = 0;
	op->fixing = op->fix.due = op->deciding = op->scan.on = false;
	op->skip = op->torn = op->hops = 0;
	op->goal = 0;
	op->at = 0;
	op->walk = NULL;
	rtx_begin(&op->tx, &t->env, op->index, op->local + TREE_LOCAL_RTX,
		  op->local_offset + TREE_LOCAL_RTX);
}

int tree_op_take(struct tree *t, struct tree_op **out)
{
	struct core_op *op;
	int rc = core_op_take((struct core *)t, &op);

	if (!rc) {
		*out = tree_op_of(op);
		clear(t, *out);
	}
	return rc;
}

static void begin(struct core *k, struct core_op *o)
{
	struct tree_op *op = tree_op_of(o);

	clear(tree_of(k), op);
	op->locks = op->kind != ATOLL_GET;
	op->key = op->local + TREE_LOCAL_BLOCK + sizeof(struct index_kv);
	tree_start(tree_of(k), op);
}

void tree_op_end(struct tree *t, struct tree_op *op, enum atoll_result result, unsigned status)
{
	struct atoll_outcome out = {
		.op = op->kind,
		.result = op->finished ? op->result : result,
		.status = op->finished ? op->status : status,
		.round_trips = op->trips,
	};

	if (out.result == ATOLL_OK && op->kind == ATOLL_GET && !op->scan.on && !op->walk) {
		out.value = op->local + TREE_LOCAL_READ + op->value_at;
		out.value_len = op->value_len;
	}
	if (out.result == ATOLL_IN_DOUBT)
		out.ticket = tree_doubt_add(t, op);
	if (op->block && out.result == ATOLL_OK)
		heap_linked(&t->heap, op->block);
	else if (op->block && out.result != ATOLL_IN_DOUBT && !t->lost && !t->gone)
		heap_unused(&t->heap, op->block); /* no entry was made of it */
	tree_local_leave(t, op);
	core_op_free((struct core *)t, (struct core_op *)op, out.result, !op->scan.on && !op->walk);
	/* The callback may submit and so take this very operation; the value lies where only a
	 * later completion writes. */
	if (op->walk) {
		op->walk->ended = true;
		op->walk->result = out.result;
	} else if (op->scan.on)
		op->scan.done(op->arg, out.result, op->scan.rc, op->scan.n);
	else
		op->done(op->arg, &out);
}

static void end(struct core *k, struct core_op *op, enum atoll_result result, unsigned status)
{
	tree_op_end(tree_of(k), tree_op_of(op), result, status);
}

static void wake(struct core *k, struct core_op *op)
{
	op->state = TREE_READ;
	tree_go(tree_of(k), tree_op_of(op));
}

static void refused(struct core *k, struct core_op *op, int rc)
{
	/* A lock that is held stays: the connection must end for others to go on. */
	k->lost = true;
	tree_failed(tree_of(k), tree_op_of(op), tree_op_of(op)->base,
		    rc == -ENOTCONN ? STATUS_NOT_SENT : STATUS_BAD_MESSAGE);
}

static void cut(struct core *k, struct core_op *o)
{
	const struct tree_op *op = tree_op_of(o);

	if (op->state == TREE_COMMIT && op->deciding && (op->posted || op->base))
		end(k, o, ATOLL_IN_DOUBT, STATUS_UNREACHABLE);
	else
		end(k, o, ATOLL_NOT_SENT, STATUS_NOT_SENT);
}

void tree_failed(struct tree *t, struct tree_op *op, unsigned k, unsigned status)
{
	enum atoll_result result = core_result_of(status);

	/* With a lock that is ours, whatever the reason, others must see us go. */
	t->lost |= core_status_lost(status) || op->held || op->state == TREE_LOCK ||
		   op->state == TREE_CLAIM;
	if (op->state == TREE_COMMIT && op->deciding) {
		if (k > op->decided)
			result = ATOLL_OK;
		else if (k > op->begun || core_status_doubt(status))
			result = ATOLL_IN_DOUBT;
	} else if (op->state == TREE_RELEASE && op->then == TREE_THEN_SETTLE) {
		result = op->then_result;
	}
	tree_op_end(t, op, result, atoll_result_class(result) == ATOLL_EXECUTED ? 0 : status);
}

const struct core_engine tree_engine = {
	.size = sizeof(struct tree),
	.op_size = sizeof(struct tree_op),
	.local_op = TREE_LOCAL_OP,
	.local_block = TREE_LOCAL_BLOCK,
	.good = good,
	.open = open_engine,
	.close = close_engine,
	.begin = begin,
	.resume = resume,
	.wake = wake,
	.post = post,
	.refused = refused,
	.step = step,
	.cut = cut,
	.end = end,
	.dump = tree_dump,
	.mark = tree_mark,
	.repair = tree_repair,
	.resolve = tree_resolve_doubt,
};
