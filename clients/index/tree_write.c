/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a node whose lock is ours: an entry in, over or out; a split where it has no room; a
 * new root. docs/index-tree.md says why each prefix of these chains leaves a tree.
 */
#include <stdlib.h>
#include <string.h>

#include "clients/index/tree_op.h"

enum {
	LIVE_MAX = INDEX_TREE_ENTRIES + 1,
};

struct live {
	const uint8_t *key;
	uint32_t klen;
	uint64_t word; /* block of the key, or 0 */
	bool new;
	struct tree_item item;
};

/* ------------------------------------------------------------------ entries */

static uint64_t block_word(const struct tree_op *op)
{
	return index_slot_make(tree_hash(op->key, op->klen).fp, op->block,
			       index_kv_room(op->klen, op->vlen));
}

/* The entry that the operation puts, in the form that it has by its size. */
static void item_make(const struct tree_op *op, struct tree_item *item)
{
	if (op->fixing) {
		if (op->klen > INDEX_TREE_ENTRY_MAX - 2 - 8)
			tree_item_child_long(item, op->cur.word, op->cur.child);
		else
			tree_item_child(item, op->key, op->klen, op->cur.child);
	} else if (!op->block) {
		tree_item_inline(item, op->key, op->klen, op->key + op->klen, op->vlen);
	} else if (!tree_item_value_long(item, op->key, op->klen, block_word(op))) {
		tree_item_key_long(item, tree_hash(op->key, op->klen), block_word(op));
	}
}

static int same_find(const struct tree_view *v, const struct tree_op *op)
{
	for (unsigned i = 0; i < v->n; i++) {
		const struct tree_entry *e = &v->e[i];

		if (e->key && tree_compare(e->key, e->klen, op->key, op->klen) == 0)
			return (int)i;
	}
	return -1;
}

static bool all_keys(const struct tree_view *v)
{
	for (unsigned i = 0; i < v->n; i++)
		if (!v->e[i].key)
			return false;
	return true;
}

/* ------------------------------------------------------------------ one bucket */

static void post_commit(struct tree *t, struct tree_op *op)
{
	op->handing = tree_local_hand(t, op);
	if (!op->handing)
		rtx_unlock(&op->tx, op->at);
	op->deciding = !op->finished && !op->again;
	tree_post(t, op, TREE_COMMIT);
}

/* Adds the WRITEs of bucket op->bucket, which has become @room, and of the head that names it. */
static void add_bucket(struct tree_op *op, const struct index_tree_head *head,
		       const struct index_tree_fences *fences, const uint8_t *room)
{
	struct index_tree_head h = *head;
	unsigned b = (unsigned)op->bucket;

	h.version[1 + b]++;
	tree_bucket_make(op->local + TREE_LOCAL_BUCKET, b, h.version[1 + b], room);
	tree_head_make(op->local + TREE_LOCAL_HEAD, &h, fences);
	op->sum = index_tree_sum(&h);
	op->begun = op->tx.n;
	rtx_write(&op->tx, op->at + INDEX_TREE_HEAD + b * INDEX_TREE_BUCKET,
		  op->local_offset + TREE_LOCAL_BUCKET, INDEX_TREE_BUCKET);
	op->decided = op->tx.n;
	rtx_write(&op->tx, op->at + 8, op->local_offset + TREE_LOCAL_HEAD + 8, INDEX_LINE - 8);
}

static void put_bucket(struct tree *t, struct tree_op *op, int bucket, const uint8_t *room,
		       bool block)
{
	op->bucket = bucket;
	op->split = op->again = false;
	rtx_abort(&op->tx);
	if (block || (op->block && !op->written && !op->fixing))
		rtx_write(&op->tx, op->block, op->local_offset + TREE_LOCAL_BLOCK,
			  (uint32_t)sizeof(struct index_kv) + op->klen + op->vlen);
	add_bucket(op, &t->view.head, &t->view.fences, room);
	post_commit(t, op);
}

/* The entry goes away with the chain that is to come. Its block can be used again if its key stands in the
 * entry: what a split has left elsewhere is then known by it. Else somebody may read the block to learn that
 * it means nothing. */
static void leaves(struct tree *t, struct tree_op *op, const struct tree_entry *e)
{
	if (e->word && !e->key_long && !op->finished) {
		op->old_word = e->word;
	} else if (e->word) {
		t->stats.leaked_blocks++;
		t->stats.leaked_bytes += (uint64_t)index_slot_units(e->word) * INDEX_LINE;
	}
}

/* The entry @i is replaced where it stands, if need be by one that is all in a block. */
static void replace(struct tree *t, struct tree_op *op, int i, const struct tree_item *item)
{
	const struct tree_entry *e = &t->view.e[i];
	uint8_t room[INDEX_TREE_ROOM];
	struct tree_item far;
	bool fresh = false;

	if (!tree_bucket_edit(&t->view, e->bucket, i, item, &t->view.high, room)) {
		fresh = !op->block;
		if (fresh) {
			op->block = heap_alloc(&t->heap, index_kv_room(op->klen, op->vlen));
			if (!op->block) {
				tree_release(t, op, TREE_THEN_WANT, ATOLL_OK);
				return;
			}
			kv_seal((struct index_kv *)(void *)(op->local + TREE_LOCAL_BLOCK));
		}
		tree_item_key_long(&far, tree_hash(op->key, op->klen), block_word(op));
		if (!tree_bucket_edit(&t->view, e->bucket, i, &far, &t->view.high, room)) {
			tree_bad(t, op); /* it was counted as that long */
			return;
		}
	}
	leaves(t, op, e);
	put_bucket(t, op, e->bucket, room, fresh);
}

/* ------------------------------------------------------------------ split */

static int by_key(const void *a, const void *b)
{
	const struct live *x = a, *y = b;

	return tree_compare(x->key, x->klen, y->key, y->klen);
}

static unsigned live_collect(const struct tree_view *v, const struct tree_op *op,
			     const struct tree_item *item, struct live *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->n; i++) {
		const struct tree_entry *e = &v->e[i];

		if (!tree_below(&v->high, e->key, e->klen, false))
			continue;
		out[n] = (struct live){.key = e->key, .klen = e->klen};
		out[n].word = e->key_long ? e->word : 0;
		memcpy(out[n].item.bytes, e->raw, e->size);
		out[n++].item.size = e->size;
	}
	out[n++] = (struct live){.key = op->key, .klen = op->klen, .item = *item, .new = true};
	qsort(out, n, sizeof(*out), by_key);
	return n;
}

/* The first entry of the right half. Whoever appends leaves full nodes behind. */
static unsigned middle(const struct tree_view *v, const struct live *l, unsigned n)
{
	unsigned all = 0, left = 0, m = 1;

	if (v->high.none && l[n - 1].new)
		return n - 1;
	for (unsigned i = 0; i < n; i++)
		all += tree_counted(l[i].item.size);
	for (left = tree_counted(l[0].item.size); m < n - 1; m++) {
		if (left >= all / 2 && all - left <= INDEX_TREE_HALF)
			break;
		left += tree_counted(l[m].item.size);
	}
	return m;
}

/* The shortest key above that of l[m - 1] and not above that of l[m]; of inner nodes l[m]'s. */
static uint32_t separator(const struct tree_view *v, const struct live *l, unsigned m)
{
	const struct live *a = &l[m - 1], *b = &l[m];
	uint32_t n = 0;

	if (v->head.level)
		return b->klen;
	while (n < a->klen && n < b->klen && a->key[n] == b->key[n])
		n++;
	return n + 1;
}

/* The block of a fence that has no room in a node. */
static void fence_block(struct tree *t, struct tree_op *op)
{
	struct index_kv *kv = (struct index_kv *)(void *)(op->local + TREE_LOCAL_FENCE);

	*kv = (struct index_kv){
		.klen = (uint16_t)op->fix.klen,
		.op = INDEX_KV_FENCE,
		.cid = t->c.cid,
		.epoch = t->c.epoch,
		.seq = ++t->seq,
	};
	memcpy(kv + 1, op->fix.key, op->fix.klen);
	kv_seal(kv);
}

static void split(struct tree *t, struct tree_op *op, const struct tree_item *item)
{
	const struct tree_view *v = &t->view;
	struct live l[LIVE_MAX];
	struct tree_item right[LIVE_MAX];
	struct index_tree_head head = v->head;
	struct index_tree_fences fences = v->fences;
	struct tree_fence sep = {0};
	unsigned n = live_collect(v, op, item, l), m = middle(v, l, n);
	uint64_t at, fence = 0, fence_room = 0;
	uint8_t bytes[INDEX_TREE_ROOM];
	bool in_right = false;

	if (v->head.level + 1 >= INDEX_TREE_LEVELS) {
		tree_release(t, op, TREE_THEN_SETTLE, ATOLL_FULL);
		return;
	}
	sep.klen = separator(v, l, m);
	sep.key = l[m].key;
	if (sep.klen > INDEX_TREE_FENCE && v->head.level)
		sep.word = l[m].new ? op->cur.word : l[m].word;
	if (sep.klen > INDEX_TREE_FENCE && !sep.word)
		fence_room = index_kv_room(sep.klen, 0);
	at = heap_alloc(&t->heap, INDEX_TREE_NODE);
	if (at && fence_room)
		fence = heap_alloc(&t->heap, fence_room);
	if (!at || (fence_room && !fence)) {
		if (at)
			heap_unused(&t->heap, at);
		tree_release(t, op, TREE_THEN_WANT, ATOLL_OK);
		return;
	}
	op->fix.due = op->fix.sure = true;
	op->fix.kind = TREE_FIX_ADD;
	op->fix.level = v->head.level + 1u;
	op->fix.child = at;
	op->fix.klen = sep.klen;
	memcpy(op->fix.key, sep.key, sep.klen);
	if (fence_room) {
		sep.word = index_slot_make(tree_hash(sep.key, sep.klen).fp, fence, fence_room);
		fence_block(t, op);
	}
	op->fix.word = sep.word;

	for (unsigned i = m; i < n; i++) {
		right[i - m] = l[i].item;
		in_right |= l[i].new;
	}
	if (!tree_node_make(op->local + TREE_LOCAL_NEW, v->head.level, &sep, &v->high, v->head.next,
			    right, n - m)) {
		tree_bad(t, op); /* half of a node fits into one */
		return;
	}
	head.next = at;
	head.version[0]++;
	fences.version++;
	tree_fence_make(fences.high, &sep);
	tree_head_make(op->local + TREE_LOCAL_SPLIT, &head, &fences);

	rtx_abort(&op->tx);
	if (fence_room)
		rtx_write(&op->tx, fence, op->local_offset + TREE_LOCAL_FENCE,
			  (uint32_t)sizeof(struct index_kv) + sep.klen);
	if (op->block && !op->written && !op->fixing)
		rtx_write(&op->tx, op->block, op->local_offset + TREE_LOCAL_BLOCK,
			  (uint32_t)sizeof(struct index_kv) + op->klen + op->vlen);
	rtx_write(&op->tx, at, op->local_offset + TREE_LOCAL_NEW, INDEX_TREE_NODE);
	op->sum = index_tree_sum(&head);
	op->begun = op->decided = op->tx.n;
	rtx_write(&op->tx, op->at + 8, op->local_offset + TREE_LOCAL_SPLIT + 8,
		  INDEX_TREE_HEAD - 8);
	op->split = true;
	op->bucket = in_right ? -1 : tree_bucket_find(v, item, &sep);
	op->again = !in_right && op->bucket < 0;
	if (op->bucket >= 0) {
		tree_bucket_edit(v, (unsigned)op->bucket, -1, item, &sep, bytes);
		add_bucket(op, &head, &fences, bytes);
	}
	t->stats.splits++;
	post_commit(t, op);
}

/* ------------------------------------------------------------------ parents */

/* Is the node that op->cur names in the tree, with the low fence that it is to be known by? */
static bool child_lives(const struct tree_op *op)
{
	struct tree_fence low = {.key = op->key, .klen = op->klen, .word = op->cur.word};
	uint8_t cell[INDEX_TREE_FENCE + 1];
	struct index_tree_fences fences;
	struct index_tree_head head;

	if (tree_head_parse(&head, &fences, op->local + TREE_LOCAL_CHILD) != TREE_WHOLE ||
	    head.flags || head.level + 1u != op->level)
		return false;
	tree_fence_make(cell, &low);
	return memcmp(cell, fences.low, sizeof(cell)) == 0;
}

/* A parent forgets a child, unless it is the one that all keys below the next are looked for in. */
static void drop(struct tree *t, struct tree_op *op, int same)
{
	const struct tree_view *v = &t->view;
	uint8_t room[INDEX_TREE_ROOM];

	if (same < 0 || v->e[same].child != op->cur.child || v->low.none ||
	    tree_compare(v->low.key, v->low.klen, op->key, op->klen) == 0) {
		tree_release(t, op, TREE_THEN_SETTLE, ATOLL_OK);
		return;
	}
	tree_bucket_edit(v, v->e[same].bucket, same, NULL, &v->high, room);
	op->dropped = op->cur.child;
	put_bucket(t, op, v->e[same].bucket, room, false);
}

/* True: what is to be done in this parent is done, or needs no change of it. */
static bool parent(struct tree *t, struct tree_op *op, int same)
{
	switch (op->cur.kind) {
	case TREE_FIX_MERGE:
		tree_merge_begin(t, op);
		return true;
	case TREE_FIX_DROP:
		drop(t, op, same);
		return true;
	case TREE_FIX_ADD:
		break;
	}
	if (!child_lives(op) || (same >= 0 && t->view.e[same].child == op->cur.child)) {
		tree_release(t, op, TREE_THEN_SETTLE, ATOLL_OK);
		return true;
	}
	if (same >= 0) /* it is gone, and its place is another's */
		op->dropped = t->view.e[same].child;
	return false;
}

/* ------------------------------------------------------------------ what is to be done */

void tree_change(struct tree *t, struct tree_op *op)
{
	struct tree_view *v = &t->view;
	uint8_t room[INDEX_TREE_ROOM];
	struct tree_item item;
	int same, b;

	op->dropped = op->old_word = 0;
	if (!tree_resolve(t, op, v, op->fixing ? TREE_NEED_ALL : TREE_NEED_SAME))
		return;
	same = same_find(v, op);
	if (op->fixing) {
		if (parent(t, op, same))
			return;
	} else {
		bool must = op->kind == ATOLL_UPDATE || op->kind == ATOLL_DELETE;

		if (same >= 0 ? op->kind == ATOLL_INSERT : must) {
			tree_release(t, op, TREE_THEN_SETTLE,
				     same >= 0 ? ATOLL_EXISTS : ATOLL_NOT_FOUND);
			return;
		}
		if (op->kind == ATOLL_DELETE) {
			unsigned live = tree_node_live(v);

			tree_bucket_edit(v, v->e[same].bucket, same, NULL, &v->high, room);
			leaves(t, op, &v->e[same]);
			tree_merge_due(t, op, live, live - tree_counted(v->e[same].size));
			put_bucket(t, op, v->e[same].bucket, room, false);
			return;
		}
	}
	item_make(op, &item);
	if (same >= 0) {
		replace(t, op, same, &item);
		return;
	}
	b = tree_bucket_find(v, &item, &v->high);
	if (b < 0 && !all_keys(v)) { /* what a split has left is known by its keys */
		if (!tree_resolve(t, op, v, TREE_NEED_ALL))
			return;
		b = tree_bucket_find(v, &item, &v->high);
	}
	if (b < 0) {
		split(t, op, &item);
		return;
	}
	tree_bucket_edit(v, (unsigned)b, -1, &item, &v->high, room);
	put_bucket(t, op, b, room, false);
}

/* An inner node as it has become is worth remembering. */
static void remember(struct tree *t, struct tree_op *op)
{
	uint8_t *node = op->local + TREE_LOCAL_NODE;

	if (op->split)
		memcpy(node, op->local + TREE_LOCAL_SPLIT, INDEX_TREE_HEAD);
	if (op->bucket >= 0) {
		memcpy(node, op->local + TREE_LOCAL_HEAD, INDEX_TREE_HEAD);
		memcpy(node + INDEX_TREE_HEAD + (unsigned)op->bucket * INDEX_TREE_BUCKET,
		       op->local + TREE_LOCAL_BUCKET, INDEX_TREE_BUCKET);
	}
	tree_inner_drop(t, op->at);
	if (tree_parse(&t->view, node, false) != TREE_WHOLE)
		return;
	for (unsigned i = 0; i < t->view.n; i++)
		if (t->view.e[i].key_long)
			return;
	if (!t->view.low.word && !t->view.high.word)
		tree_inner_put(t, op, &t->view);
}

void tree_committed(struct tree *t, struct tree_op *op)
{
	op->held = op->mend = op->mend_due = op->deciding = false;
	if (op->level)
		remember(t, op);
	if (op->merged)
		tree_merged(t, op);
	if (op->dropped)
		heap_free(&t->heap, op->dropped, INDEX_TREE_NODE);
	if (op->old_word && !op->again)
		heap_free(&t->heap, index_slot_offset(op->old_word),
			  (uint64_t)index_slot_units(op->old_word) * INDEX_LINE);
	op->dropped = op->old_word = 0;
	if (op->handing)
		tree_local_handed(t, op);
	else
		tree_local_leave(t, op);
	op->handing = false;
	if (op->again)
		tree_go(t, op);
	else
		tree_settle(t, op, ATOLL_OK);
}

/* ------------------------------------------------------------------ roots */

void tree_grow(struct tree *t, struct tree_op *op)
{
	const struct tree_fence none = {.none = true};
	struct tree_item item[2];
	unsigned n = 0, level = 0;

	if (!t->spare_node)
		t->spare_node = heap_alloc(&t->heap, INDEX_TREE_NODE);
	if (!t->spare_node) {
		op->root_seen = false;
		tree_op_want(t, op);
		return;
	}
	if (op->fixing) {
		level = index_tree_root_level(t->root) + 1;
		if (level < op->goal) { /* the root has shrunk; it is reached through its neighbour */
			tree_settle(t, op, ATOLL_OK);
			return;
		}
		if (level != op->goal || level >= INDEX_TREE_LEVELS) {
			tree_bad(t, op);
			return;
		}
		tree_item_child(&item[n++], NULL, 0, index_tree_root_offset(t->root));
		item_make(op, &item[n++]);
	}
	tree_node_make(op->local + TREE_LOCAL_NEW, level, &none, &none, 0, item, n);
	rtx_begin(&op->tx, &t->env, op->index, op->local + TREE_LOCAL_RTX,
		  op->local_offset + TREE_LOCAL_RTX);
	rtx_write(&op->tx, t->spare_node, op->local_offset + TREE_LOCAL_NEW, INDEX_TREE_NODE);
	op->grow_from = t->root;
	op->grow_to = index_tree_root_make(t->spare_node, level);
	rtx_lock_read(&op->tx, INDEX_ROOT_OFFSET, op->grow_from, 0, 0, 0);
	op->tx.chain[op->tx.n - 1].swap = op->grow_to;
	t->spare_node = 0; /* it may be named from here on */
	tree_post(t, op, TREE_GROW);
}

void tree_grown(struct tree *t, struct tree_op *op)
{
	uint64_t old = rtx_old(&op->tx);

	op->at = 0;
	if (old == op->grow_from) {
		t->root = op->grow_to;
		t->root_epoch = op->epoch;
		if (op->fixing)
			tree_settle(t, op, ATOLL_OK);
		else
			tree_go(t, op);
		return;
	}
	t->spare_node = index_tree_root_offset(op->grow_to);
	t->root = 0;
	op->root_seen = false;
	tree_go(t, op);
}

/*
 * A root with one child: the root word goes from it to the child, under its lock. It has no neighbour, and its
 * first child is never merged, so the child is the first node of its level. Who dies after the CAS leaves an orphan
 * that leads to the child, and so does whoever still knows the old root: what it adds there is not found from the
 * new one, but through neighbours.
 */
bool tree_shrink(struct tree *t, struct tree_op *op)
{
	const struct tree_view *v = &t->view;

	if (v->n != 1 || !v->low.none || !v->high.none || v->head.next || op->level == 0 ||
	    index_tree_root_make(op->at, op->level) != t->root || v->e[0].klen ||
	    !tree_offset_good(t, v->e[0].child, INDEX_TREE_NODE))
		return false;
	op->grow_from = t->root;
	op->grow_to = index_tree_root_make(v->e[0].child, op->level - 1);
	rtx_abort(&op->tx);
	rtx_lock_read(&op->tx, INDEX_ROOT_OFFSET, op->grow_from, 0, 0, 0);
	op->tx.chain[op->tx.n - 1].swap = op->grow_to;
	tree_post(t, op, TREE_SHRINK);
	return true;
}

void tree_shrunk(struct tree *t, struct tree_op *op)
{
	op->retire = rtx_old(&op->tx) == op->grow_from;
	t->root = op->retire ? op->grow_to : 0;
	t->root_epoch = op->epoch;
	t->stats.shrinks += op->retire;
	tree_release(t, op, TREE_THEN_SETTLE, ATOLL_OK);
}
