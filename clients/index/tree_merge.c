/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging of two neighbours that have become small, and what others meet of it.
 *
 * R goes into its left neighbour L under the locks of both and of their parent P, which names both.
 * Only P's lock is waited for; who cannot have the others leaves it be. Everything changes in one
 * chain:
 *
 *	WRITE buckets of L, with R's entries: they mean nothing yet, being above L's high fence
 *	WRITE R: gone, its keys are in L
 *	WRITE head and fences of L: as far as R went
 *	WRITE unlock L | WRITE bucket of P without R, WRITE head of P, WRITE unlock P
 *
 * Until the second WRITE R holds its keys, and its lock keeps them as they are. From the third one
 * on L does. In between nobody does, and L is locked: who comes waits, and whoever takes L over from
 * a dead owner looks whether its right neighbour is gone, and writes the third himself.
 */
#include <string.h>

#include "clients/index/tree_op.h"

/* ------------------------------------------------------------------ what others meet */

static void fix_drop(struct tree_op *op, const struct tree_view *v)
{
	if (op->fix.due || op->fixing || op->walk || v->low.none ||
	    op->level + 1 >= INDEX_TREE_LEVELS)
		return;
	op->fix.due = true;
	op->fix.kind = TREE_FIX_DROP;
	op->fix.level = op->level + 1;
	op->fix.child = op->at;
	op->fix.word = v->low.word;
	op->fix.klen = v->low.klen;
	memcpy(op->fix.key, v->low.key, v->low.klen);
}

void tree_gone(struct tree *t, struct tree_op *op)
{
	const struct tree_view *v = &t->view;
	uint64_t left = v->head.left;

	if (!tree_offset_good(t, left, INDEX_TREE_NODE) || ++op->hops > TREE_HOPS_MAX) {
		tree_bad(t, op);
		return;
	}
	if (!op->moved) /* the parent still names it */
		fix_drop(op, v);
	op->moved = false;
	tree_inner_drop(t, op->at);
	tree_inner_drop(t, left); /* of before the merge, maybe: it would lead back */
	op->gone = op->at;
	if (op->held) {
		tree_release(t, op, TREE_THEN_GO, ATOLL_OK);
		op->at = left;
	} else {
		op->at = left;
		tree_go(t, op);
	}
}

/* ------------------------------------------------------------------ after the dead */

bool tree_sibling_ask(struct tree *t, struct tree_op *op)
{
	uint64_t next = t->view.head.next;

	if (!op->mend || op->sibling_seen || !next || t->view.head.flags & INDEX_TREE_GONE)
		return false;
	op->sibling_seen = true;
	if (!tree_offset_good(t, next, INDEX_TREE_NODE))
		return false; /* as will be found out on the way there */
	rtx_abort(&op->tx);
	rtx_read(&op->tx, next, op->local_offset + TREE_LOCAL_CHILD, INDEX_TREE_HEAD);
	tree_post(t, op, TREE_SIBLING);
	return true;
}

void tree_sibling_read(struct tree *t, struct tree_op *op)
{
	struct tree_view *v = &t->view;
	struct index_tree_head head;
	struct index_tree_fences fences;

	if (tree_head_parse(&head, &fences, op->local + TREE_LOCAL_CHILD) != TREE_WHOLE ||
	    !(head.flags & INDEX_TREE_GONE) || head.left != op->at ||
	    tree_parse(v, op->local + TREE_LOCAL_NODE, true) != TREE_WHOLE) {
		tree_look(t, op);
		return;
	}
	memcpy(v->fences.high, fences.high, sizeof(fences.high));
	v->head.next = head.next;
	v->head.version[0]++;
	v->fences.version++;
	tree_head_make(op->local + TREE_LOCAL_SPLIT, &v->head, &v->fences);
	t->stats.repairs++;
	op->then = TREE_THEN_GO;
	rtx_abort(&op->tx);
	rtx_write(&op->tx, op->at + 8, op->local_offset + TREE_LOCAL_SPLIT + 8,
		  INDEX_TREE_HEAD - 8);
	rtx_unlock(&op->tx, op->at);
	tree_post(t, op, TREE_RELEASE);
}

/* ------------------------------------------------------------------ merging */

void tree_merge_due(struct tree *t, struct tree_op *op, unsigned before, unsigned after)
{
	unsigned level = t->view.head.level;

	if (op->fix.due || level >= index_tree_root_level(t->root) ||
	    level + 1 >= INDEX_TREE_LEVELS || (t->view.low.none && t->view.high.none))
		return;
	if (after > TREE_MERGE_AT || (after && before <= TREE_MERGE_AT))
		return;
	op->fix.due = true;
	op->fix.kind = TREE_FIX_MERGE;
	op->fix.sure = true;
	op->fix.right = false;
	op->fix.level = level + 1;
	op->fix.klen = op->klen;
	memcpy(op->fix.key, op->key, op->klen);
}

/* The entries of P that name the pair; key is of `cur`. False: there is no pair. */
static bool pair_find(const struct tree_view *p, const struct tree_op *op, uint64_t *left,
		      uint64_t *right)
{
	const struct tree_entry *at = NULL, *before = NULL, *after = NULL;

	for (unsigned i = 0; i < p->n; i++) {
		const struct tree_entry *e = &p->e[i];

		if (!tree_below(&p->high, e->key, e->klen, false))
			continue;
		if (tree_compare(e->key, e->klen, op->key, op->klen) > 0) {
			if (!after || tree_compare(e->key, e->klen, after->key, after->klen) < 0)
				after = e;
		} else if (!at || tree_compare(e->key, e->klen, at->key, at->klen) > 0) {
			before = at;
			at = e;
		} else if (!before ||
			   tree_compare(e->key, e->klen, before->key, before->klen) > 0) {
			before = e;
		}
	}
	if (op->cur.right)
		before = NULL;
	if (!at || (!before && !after))
		return false;
	*left = before ? before->child : at->child;
	*right = before ? at->child : after->child;
	return true;
}

void tree_merge_begin(struct tree *t, struct tree_op *op)
{
	if (!pair_find(&t->view, op, &op->left, &op->right) ||
	    !tree_offset_good(t, op->left, INDEX_TREE_NODE) ||
	    !tree_offset_good(t, op->right, INDEX_TREE_NODE)) {
		if (tree_shrink(t, op))
			return;
		/* an only child is merged when its parent has been */
		if (!op->cur.right)
			tree_merge_due(t, op, INDEX_TREE_HALF, tree_node_live(&t->view));
		tree_release(t, op, TREE_THEN_SETTLE, ATOLL_OK);
		return;
	}
	rtx_abort(&op->tx);
	rtx_lock_read(&op->tx, op->left, 0, op->left, op->local_offset + TREE_LOCAL_LEFT,
		      INDEX_TREE_NODE);
	tree_post(t, op, TREE_LEFT);
}

static void give_up(struct tree *t, struct tree_op *op)
{
	tree_release(t, op, TREE_THEN_SETTLE, ATOLL_OK);
}

void tree_left_locked(struct tree *t, struct tree_op *op)
{
	struct tree_view *l = &t->left;

	if (rtx_old(&op->tx) != 0) {
		t->stats.conflicts++;
		give_up(t, op);
		return;
	}
	op->left_held = true;
	/* A child that the parent does not know lies between, or it has been merged itself. */
	if (tree_parse(l, op->local + TREE_LOCAL_LEFT, false) != TREE_WHOLE ||
	    l->head.level + 1u != op->level || l->head.flags || l->head.next != op->right) {
		give_up(t, op);
		return;
	}
	rtx_abort(&op->tx);
	rtx_lock_read(&op->tx, op->right, 0, op->right, op->local_offset + TREE_LOCAL_RIGHT,
		      INDEX_TREE_NODE);
	tree_post(t, op, TREE_RIGHT);
}

void tree_right_locked(struct tree *t, struct tree_op *op)
{
	if (rtx_old(&op->tx) != 0) {
		t->stats.conflicts++;
		give_up(t, op);
		return;
	}
	op->right_held = true;
	tree_merge(t, op);
}

static void post_merge(struct tree *t, struct tree_op *op, unsigned entry,
		       uint8_t (*rooms)[INDEX_TREE_ROOM], unsigned dirty)
{
	const struct tree_view *p = &t->view, *l = &t->left, *r = &t->right;
	struct index_tree_head lh = l->head, rh = r->head, ph = p->head;
	struct index_tree_fences lf = l->fences;
	unsigned pb = p->e[entry].bucket;
	uint8_t room[INDEX_TREE_ROOM];

	rtx_abort(&op->tx);
	for (unsigned b = 0; b < INDEX_TREE_BUCKETS; b++) {
		uint32_t at = TREE_LOCAL_MERGED + b * INDEX_TREE_BUCKET;

		if (!(dirty >> b & 1))
			continue;
		lh.version[1 + b]++;
		tree_bucket_make(op->local + at, b, lh.version[1 + b], rooms[b]);
		rtx_write(&op->tx, op->left + INDEX_TREE_HEAD + b * INDEX_TREE_BUCKET,
			  op->local_offset + at, INDEX_TREE_BUCKET);
	}

	rh.lock = 0;
	rh.flags = INDEX_TREE_GONE;
	rh.left = op->left;
	tree_head_make(op->local + TREE_LOCAL_CHILD, &rh, &r->fences);
	rtx_write(&op->tx, op->right, op->local_offset + TREE_LOCAL_CHILD, INDEX_TREE_HEAD);

	lh.next = r->head.next;
	lh.version[0]++;
	lf.version++;
	memcpy(lf.high, r->fences.high, sizeof(lf.high));
	tree_head_make(op->local + TREE_LOCAL_SPLIT, &lh, &lf);
	rtx_write(&op->tx, op->left + 8, op->local_offset + TREE_LOCAL_SPLIT + 8,
		  INDEX_TREE_HEAD - 8);
	rtx_unlock(&op->tx, op->left);

	tree_bucket_edit(p, pb, (int)entry, NULL, &p->high, room);
	ph.version[1 + pb]++;
	tree_bucket_make(op->local + TREE_LOCAL_BUCKET, pb, ph.version[1 + pb], room);
	tree_head_make(op->local + TREE_LOCAL_HEAD, &ph, &p->fences);
	rtx_write(&op->tx, op->at + INDEX_TREE_HEAD + pb * INDEX_TREE_BUCKET,
		  op->local_offset + TREE_LOCAL_BUCKET, INDEX_TREE_BUCKET);
	rtx_write(&op->tx, op->at + 8, op->local_offset + TREE_LOCAL_HEAD + 8, INDEX_LINE - 8);
	rtx_unlock(&op->tx, op->at);

	op->bucket = (int)pb;
	op->split = op->again = op->deciding = false;
	op->merged = true;
	tree_merge_due(t, op, tree_node_live(p),
		       tree_node_live(p) - tree_counted(p->e[entry].size));
	if (p->n == 2 && op->at == index_tree_root_offset(t->root) && !op->fix.due) {
		op->fix = op->cur; /* which will find one child, and a root that can go */
		op->fix.due = true;
		op->fix.right = false;
	}
	tree_post(t, op, TREE_COMMIT);
}

/* All three are ours. Keys that lie in blocks are fetched on the way. */
void tree_merge(struct tree *t, struct tree_op *op)
{
	struct tree_view *p = &t->view, *l = &t->left, *r = &t->right;
	uint8_t rooms[INDEX_TREE_BUCKETS][INDEX_TREE_ROOM];
	unsigned dirty, entry;

	if (tree_parse(p, op->local + TREE_LOCAL_NODE, op->mend) != TREE_WHOLE ||
	    tree_parse(l, op->local + TREE_LOCAL_LEFT, false) != TREE_WHOLE ||
	    tree_parse(r, op->local + TREE_LOCAL_RIGHT, false) != TREE_WHOLE ||
	    r->head.level != l->head.level || r->head.flags) {
		give_up(t, op);
		return;
	}
	if (!tree_resolve(t, op, p, TREE_NEED_ALL) || !tree_resolve(t, op, l, TREE_NEED_ALL) ||
	    !tree_resolve(t, op, r, TREE_NEED_ALL))
		return;
	for (entry = 0; entry < p->n; entry++)
		if (p->e[entry].child == op->right &&
		    tree_below(&p->high, p->e[entry].key, p->e[entry].klen, false))
			break;
	if (entry == p->n || r->low.none ||
	    tree_compare(p->e[entry].key, p->e[entry].klen, r->low.key, r->low.klen) != 0) {
		give_up(t, op);
		return;
	}
	if (!tree_node_merge(l, r, rooms, &dirty)) {
		if (!op->cur.right && !op->fix.due) { /* then with the neighbour on the other side */
			op->fix = op->cur;
			op->fix.due = op->fix.right = true;
		}
		give_up(t, op);
		return;
	}
	post_merge(t, op, entry, rooms, dirty);
}

void tree_merged(struct tree *t, struct tree_op *op)
{
	op->merged = op->left_held = op->right_held = false;
	t->stats.merges++;
	tree_inner_drop(t, op->left);
	tree_inner_drop(t, op->right);
	heap_free(&t->heap, op->right, INDEX_TREE_NODE);
}
