/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over all nodes that gives back the locks of dead clients, and finishes the changes under
 * them.
 *
 * It does what any operation does that is held up by the dead, only everywhere, so it may itself be
 * stopped at any verb, and two may run. Children that a dead splitter's parent does not know are
 * not looked for: they are reached through their neighbours, and whoever does so tells the parent.
 */
#include <errno.h>
#include <string.h>

#include "clients/index/tree_op.h"

static int run(struct tree *t, struct tree_walk *w)
{
	while (!w->ended)
		if (core_poll((struct core *)t) == 0)
			t->c.verbs->ops->idle(t->c.verbs);
	switch (w->result) {
	case ATOLL_OK:
		return 0;
	case ATOLL_CORRUPT:
		return -EBADMSG;
	case ATOLL_BUSY:
		return -EBUSY;
	default:
		return -ENOTCONN;
	}
}

static int walk(struct tree *t, struct tree_walk *w)
{
	struct tree_op *op;
	int rc;

	if (core_pending((struct core *)t))
		return -EBUSY;
	rc = tree_op_take(t, &op);
	if (rc)
		return rc;
	op->kind = ATOLL_GET;
	op->walk = w;
	op->key = op->local + TREE_LOCAL_BLOCK + sizeof(struct index_kv);
	op->klen = 0;
	op->reread = true; /* it does not begin again */
	rtx_read(&op->tx, INDEX_CLIENT_TABLE_OFFSET, op->local_offset + TREE_LOCAL_READ,
		 INDEX_CLIENTS * INDEX_LINE);
	op->tx.chain[0].remote = t->c.control;
	tree_post(t, op, TREE_LINES);
	return run(t, w);
}

int tree_walk_inner(struct tree *t, struct atoll_index_repaired *out)
{
	struct tree_walk w = {.inner = true, .out = out};

	return walk(t, &w);
}

int tree_repair(struct core *k, struct atoll_index_repaired *out)
{
	struct tree_walk w = {.out = out};

	memset(out, 0, sizeof(*out));
	return walk(tree_of(k), &w);
}

static bool dead(const struct tree_op *op, uint64_t lock, uint64_t *log)
{
	uint16_t cid = index_lock_cid(lock);
	struct index_client line;

	if (cid == 0 || cid >= INDEX_CLIENTS)
		return false;
	memcpy(&line, op->local + TREE_LOCAL_READ + cid * INDEX_LINE, sizeof(line));
	*log = line.log_base;
	return rtx_is_dead(&line, cid, index_lock_epoch(lock));
}

void tree_walk_lines(struct tree *t, struct tree_op *op)
{
	struct tree_walk *w = op->walk;

	for (unsigned c = 1; c < INDEX_CLIENTS; c++) {
		struct index_client line;

		memcpy(&line, op->local + TREE_LOCAL_READ + c * INDEX_LINE, sizeof(line));
		w->out->dead += line.state == INDEX_CLIENT_DEAD;
	}
	/* from the root of now */
	op->goal = w->inner;
	tree_root_read(t, op);
}

bool tree_walk_claim(struct tree *t, struct tree_op *op)
{
	uint64_t lock = t->view.head.lock, log;

	if (!lock || op->walk->inner || !dead(op, lock, &log))
		return false;
	op->walk->out->locks++;
	tree_claim(t, op, lock, log); /* the node is mended, given back, and then read again */
	return true;
}

void tree_walk_look(struct tree *t, struct tree_op *op)
{
	struct tree_walk *w = op->walk;

	if (tree_walk_claim(t, op))
		return;
	w->out->open += t->view.head.lock != 0;
	w->out->bad += t->view.head.lock == INDEX_TREE_FENCED;
	w->out->subtables++;
	if (w->inner)
		tree_mark_node(t, op->at);
	op->wait_begin = op->wait_word = 0;
	if (t->view.head.next) {
		op->at = t->view.head.next;
		op->hops = 0;
		if (!tree_offset_good(t, op->at, INDEX_TREE_NODE) ||
		    w->out->subtables > t->c.heap_size / INDEX_TREE_NODE * 2) /* a circle */
			tree_bad(t, op);
		else
			tree_go(t, op);
		return;
	}
	if (op->goal == index_tree_root_level(t->root)) {
		tree_settle(t, op, ATOLL_OK);
		return;
	}
	op->goal++;
	op->at = 0;
	tree_go(t, op);
}
