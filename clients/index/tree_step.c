/* SPDX-License-Identifier: Apache-2.0 */
/* The way of an operation to its node, what it reads there, and how it waits for others. */
#include <string.h>

#include "clients/index/tree_op.h"

enum {
	HOPS_MAX = 1 << 16, /* through the cache, without a READ between */
	SAME_TORN = 3,      /* READs of the same bytes, unlocked and not whole, that are a fault */
};

/* ------------------------------------------------------------------ ends of phases */

static void fix_begin(struct tree *t, struct tree_op *op)
{
	op->cur = op->fix;
	op->fix.due = false;
	op->fixing = true;
	op->key = op->cur.key;
	op->klen = op->cur.klen;
	op->goal = op->cur.level;
	op->locks = op->cur.sure;
	op->at = op->gone = 0;
	op->hops = 0;
	op->root_seen = op->moved = op->reread = op->strict = op->last = false;
	op->wait_begin = op->wait_word = 0;
	op->skip = 0;
	tree_go(t, op);
}

void tree_settle(struct tree *t, struct tree_op *op, enum atoll_result result)
{
	if (!op->finished) {
		op->finished = true;
		op->result = result;
		op->status = 0;
	}
	if (op->fix.due && atoll_result_class(op->result) == ATOLL_EXECUTED)
		fix_begin(t, op);
	else
		tree_op_end(t, op, op->result, 0);
}

void tree_release(struct tree *t, struct tree_op *op, enum tree_then then, enum atoll_result result)
{
	op->then = then;
	op->then_result = result;
	rtx_abort(&op->tx);
	if (op->mend_due)
		rtx_write(&op->tx, op->at + 8, op->local_offset + TREE_LOCAL_HEAD + 8,
			  INDEX_LINE - 8);
	if (op->right_held)
		rtx_unlock(&op->tx, op->right);
	if (op->left_held)
		rtx_unlock(&op->tx, op->left);
	if (op->damaged && op->reread)
		rtx_write(&op->tx, op->at, op->local_offset + TREE_LOCAL_FENCED, 8);
	else if (op->retire)
		rtx_write(&op->tx, op->at, op->local_offset + TREE_LOCAL_RETIRED, 8);
	else
		rtx_unlock(&op->tx, op->at);
	tree_post(t, op, TREE_RELEASE);
}

/* The node that was read makes no sense. */
static void damaged(struct tree *t, struct tree_op *op)
{
	op->damaged = op->reread; /* read twice */
	tree_bad(t, op);
	op->damaged = false;
}

void tree_bad(struct tree *t, struct tree_op *op)
{
	bool again = !op->reread;

	if (again) {
		t->root = 0;
		tree_inner_clear(t);
		tree_long_clear(t);
		op->reread = true;
		op->moved = false;
		op->gone = 0;
		op->hops = 0;
	}
	t->bad_at = op->at;
	if (op->held) {
		tree_release(t, op, again ? TREE_THEN_GO : TREE_THEN_SETTLE, ATOLL_CORRUPT);
		op->at = 0;
	} else if (again) {
		op->at = 0;
		tree_go(t, op);
	} else {
		tree_settle(t, op, ATOLL_CORRUPT);
	}
}

/* ------------------------------------------------------------------ posting */

static void post_root(struct tree *t, struct tree_op *op)
{
	tree_local_leave(t, op);
	op->root_epoch = t->reclaim.epoch;
	rtx_abort(&op->tx);
	rtx_read(&op->tx, INDEX_ROOT_OFFSET, op->local_offset + TREE_LOCAL_ROOT, 8);
	tree_post(t, op, TREE_ROOT);
}

void tree_root_read(struct tree *t, struct tree_op *op)
{
	t->root = 0;
	op->at = 0;
	post_root(t, op);
}

static void post_read(struct tree *t, struct tree_op *op)
{
	tree_local_leave(t, op);
	op->skip = 0; /* of what was read before */
	rtx_abort(&op->tx);
	rtx_read(&op->tx, op->at, op->local_offset + TREE_LOCAL_NODE, INDEX_TREE_NODE);
	tree_post(t, op, TREE_READ);
}

static void begin(struct tree *t, struct tree_op *op)
{
	rtx_begin(&op->tx, &t->env, op->index, op->local + TREE_LOCAL_RTX,
		  op->local_offset + TREE_LOCAL_RTX);
}

/* A child that a parent is to name: it must not have been merged meanwhile, and will not be while the parent's
 * lock is ours. */
static void read_child(struct tree_op *op)
{
	if (op->fixing && op->cur.kind == TREE_FIX_ADD && op->level == op->goal)
		rtx_read(&op->tx, op->cur.child, op->local_offset + TREE_LOCAL_CHILD,
			 INDEX_TREE_HEAD);
}

static void post_lock(struct tree *t, struct tree_op *op)
{
	if (tree_local_wait(t, op))
		return;
	begin(t, op);
	if (op->block && !op->written && !op->fixing)
		rtx_write(&op->tx, op->block, op->local_offset + TREE_LOCAL_BLOCK,
			  (uint32_t)sizeof(struct index_kv) + op->klen + op->vlen);
	rtx_lock_read(&op->tx, op->at, 0, op->at, op->local_offset + TREE_LOCAL_NODE,
		      INDEX_TREE_NODE);
	read_child(op);
	tree_post(t, op, TREE_LOCK);
}

void tree_claim_lock(struct tree *t, struct tree_op *op)
{
	begin(t, op);
	rtx_lock_read(&op->tx, op->at, op->wait_word, op->at, op->local_offset + TREE_LOCAL_NODE,
		      INDEX_TREE_NODE);
	read_child(op);
	tree_post(t, op, TREE_CLAIM);
}

static void post_owner(struct tree *t, struct tree_op *op)
{
	rtx_abort(&op->tx);
	rtx_read(&op->tx,
		 INDEX_CLIENT_TABLE_OFFSET + (uint64_t)index_lock_cid(op->wait_word) * INDEX_LINE,
		 op->local_offset + TREE_LOCAL_CLIENT, INDEX_LINE);
	op->tx.chain[0].remote = t->c.control;
	tree_post(t, op, TREE_OWNER);
}

/* ------------------------------------------------------------------ waiting */

/* @lock: what stands in the lock of `at`. */
static void wait_lock(struct tree *t, struct tree_op *op, uint64_t lock)
{
	uint64_t now = core_now((struct core *)t);
	uint16_t cid = index_lock_cid(lock);

	if (lock == INDEX_TREE_FENCED) {
		t->bad_at = op->at;
		tree_settle(t, op, ATOLL_CORRUPT);
		return;
	}
	if (lock == INDEX_TREE_RETIRED) {
		tree_inner_drop(t, op->at);
		t->root = 0;
		op->at = 0;
		op->moved = false;
		op->gone = 0;
		tree_go(t, op);
		return;
	}
	t->stats.waits++;
	if (!op->wait_begin)
		op->wait_begin = now;
	if (op->wait_word != lock) {
		op->wait_word = lock;
		op->wait_ask = now + t->c.suspect_us * 1000ull;
		op->wait_count = 0;
	}
	if (now - op->wait_begin > t->c.busy_us * 1000ull) {
		tree_settle(t, op, ATOLL_BUSY);
	} else if (lock && now >= op->wait_ask && t->env.ft && cid && cid < INDEX_CLIENTS &&
		   !(cid == t->c.cid && index_lock_epoch(lock) == t->c.epoch)) {
		op->wait_ask = now + t->c.suspect_us * 1000ull;
		post_owner(t, op);
	} else {
		core_op_sleep((struct core *)t, (struct core_op *)op);
	}
}

static void owner_read(struct tree *t, struct tree_op *op)
{
	uint16_t cid = index_lock_cid(op->wait_word), epoch = index_lock_epoch(op->wait_word);
	struct index_client line;

	memcpy(&line, op->local + TREE_LOCAL_CLIENT, sizeof(line));
	if (rtx_is_dead(&line, cid, epoch)) {
		tree_claim(t, op, op->wait_word, line.log_base);
		return;
	}
	if (line.cid == cid && line.epoch == epoch && line.state == INDEX_CLIENT_ALIVE) {
		t->stats.suspicions++;
		t->c.suspect(t->c.owner, cid, epoch);
	}
	core_op_sleep((struct core *)t, (struct core_op *)op);
}

/* The node was read while it was changed, or is left half changed. */
static void torn(struct tree *t, struct tree_op *op)
{
	uint32_t crc = kv_crc32c(0, op->local + TREE_LOCAL_NODE, INDEX_TREE_NODE);
	uint64_t lock = t->view.head.lock;

	op->torn = op->torn_crc == crc ? op->torn + 1 : 0;
	op->torn_crc = crc;
	if (lock == 0 && op->torn >= SAME_TORN)
		tree_bad(t, op);
	else
		wait_lock(t, op, lock);
}

/* ------------------------------------------------------------------ the way */

static void move_right(struct tree *t, struct tree_op *op, uint64_t next)
{
	t->stats.forwards++;
	op->at = next;
	op->moved = true;
}

/* `at`, whose low fence is @low, was found through its left neighbour: does its parent know it? */
static void arrived(struct tree_op *op, const struct tree_fence *low)
{
	if (!op->moved)
		return;
	op->moved = false;
	if (op->fix.due || op->fixing || low->none || op->level + 1 >= INDEX_TREE_LEVELS)
		return;
	op->fix.due = true;
	op->fix.kind = TREE_FIX_ADD;
	op->fix.sure = false;
	op->fix.level = op->level + 1;
	op->fix.child = op->at;
	op->fix.word = low->word;
	op->fix.klen = low->klen;
	memcpy(op->fix.key, low->key, low->klen);
}

/* Is what the operation looks for at @low or above it? */
static bool above(const struct tree_op *op, const struct tree_fence *low)
{
	return op->last || tree_above(low, op->key, op->klen, op->strict);
}

static bool below(const struct tree_op *op, const struct tree_fence *high)
{
	return op->last ? high->none : tree_below(high, op->key, op->klen, op->strict);
}

/* False: the node makes no sense on this way. */
static bool follow(struct tree *t, struct tree_op *op, const struct tree_inner *n)
{
	const struct tree_child *c;

	if (n->level != op->level || !above(op, &n->low))
		return false;
	arrived(op, &n->low);
	if (!below(op, &n->high)) {
		if (!tree_offset_good(t, n->next, INDEX_TREE_NODE))
			return false;
		move_right(t, op, n->next);
		return true;
	}
	c = op->last ? (n->n ? &n->child[n->n - 1] : NULL)
		     : tree_child_find(n, op->key, op->klen, op->strict);
	if (!c || !tree_offset_good(t, c->at, INDEX_TREE_NODE))
		return false;
	op->at = c->at;
	op->level--;
	return true;
}

void tree_go(struct tree *t, struct tree_op *op)
{
	for (unsigned hop = 0; hop < HOPS_MAX; hop++) {
		const struct tree_inner *n;

		if (!op->at) {
			if (!t->root || op->epoch > t->root_epoch + RECLAIM_CACHE) {
				post_root(t, op);
				return;
			}
			op->at = index_tree_root_offset(t->root);
			op->level = index_tree_root_level(t->root);
		}
		if (op->level < op->goal) {
			op->at = 0;
			if (op->walk || (op->fixing && op->cur.kind != TREE_FIX_ADD)) {
				tree_settle(t, op, ATOLL_OK);
			} else if (op->root_seen) {
				tree_grow(t, op);
			} else {
				t->root = 0;
				post_root(t, op);
			}
			return;
		}
		if (op->level == op->goal) {
			if (op->locks)
				post_lock(t, op);
			else
				post_read(t, op);
			return;
		}
		n = tree_inner_find(t, op, op->at);
		if (!n) {
			post_read(t, op);
			return;
		}
		if (!follow(t, op, n))
			break;
	}
	tree_bad(t, op);
}

static void root_read(struct tree *t, struct tree_op *op)
{
	uint64_t word;

	memcpy(&word, op->local + TREE_LOCAL_ROOT, sizeof(word));
	op->root_seen = true;
	op->at = 0;
	if (word == 0) {
		if (!op->fixing && (op->kind == ATOLL_PUT || op->kind == ATOLL_INSERT))
			tree_grow(t, op);
		else
			tree_settle(t, op, op->scan.on || op->walk ? ATOLL_OK : ATOLL_NOT_FOUND);
		return;
	}
	if (index_tree_root_level(word) >= INDEX_TREE_LEVELS ||
	    !tree_offset_good(t, index_tree_root_offset(word), INDEX_TREE_NODE)) {
		tree_bad(t, op);
		return;
	}
	t->root = word;
	t->root_epoch = op->root_epoch;
	tree_go(t, op);
}

/* An operation begins, or goes on after a chunk has come. */
void tree_start(struct tree *t, struct tree_op *op)
{
	bool writes = op->kind == ATOLL_PUT || op->kind == ATOLL_INSERT || op->kind == ATOLL_UPDATE;

	/* it holds nothing that it has read */
	op->epoch = t->reclaim.epoch;
	op->at = op->gone = 0;
	op->moved = op->root_seen = op->fix.due = false;
	if (writes && !op->fixing && !op->block && 2 + op->klen + op->vlen > INDEX_TREE_ENTRY_MAX) {
		op->block = heap_alloc(&t->heap, index_kv_room(op->klen, op->vlen));
		if (!op->block) {
			tree_op_want(t, op);
			return;
		}
		kv_seal((struct index_kv *)(void *)(op->local + TREE_LOCAL_BLOCK));
	}
	tree_go(t, op);
}

/* ------------------------------------------------------------------ keys in blocks */

static void want(struct tree_op *op, uint64_t word)
{
	if (op->nwant < VERB_CHAIN_MAX)
		op->want[op->nwant++] = word;
}

static void fence_resolve(struct tree *t, struct tree_op *op, struct tree_fence *f)
{
	const struct tree_long *l;

	if (!f->word)
		return;
	l = tree_long_find(t, f->word);
	if (!l) {
		want(op, f->word);
		return;
	}
	f->key = l->key;
	f->klen = l->klen;
}

/* Where keys are read to: not where the value of a get is, nor where that of a put is. */
static uint32_t keys_at(const struct tree_op *op)
{
	return op->kind == ATOLL_GET ? TREE_LOCAL_BLOCK + TREE_WORD_LOOK : TREE_LOCAL_READ;
}

bool tree_resolve(struct tree *t, struct tree_op *op, struct tree_view *v, enum tree_need need)
{
	struct tree_hash h = {0};

	op->nwant = 0;
	fence_resolve(t, op, &v->low);
	fence_resolve(t, op, &v->high);
	if (need == TREE_NEED_SAME)
		h = tree_hash(op->key, op->klen);
	for (unsigned i = 0; i < v->n; i++) {
		struct tree_entry *e = &v->e[i];
		const struct tree_long *l = e->key_long ? tree_long_find(t, e->word) : NULL;

		if (l) {
			e->key = l->key;
			e->klen = l->klen;
		} else if (e->key_long &&
			   (need == TREE_NEED_ALL || (need == TREE_NEED_SAME && e->hash == h.hash &&
						      index_slot_fp(e->word) == h.fp))) {
			want(op, e->word);
		}
	}
	if (!op->nwant)
		return true;
	rtx_abort(&op->tx);
	for (unsigned i = 0; i < op->nwant; i++) {
		uint32_t len = index_slot_units(op->want[i]) * INDEX_LINE;

		if (!tree_word_good(t, op->want[i])) {
			tree_bad(t, op);
			return false;
		}
		rtx_read(&op->tx, index_slot_offset(op->want[i]),
			 op->local_offset + keys_at(op) + i * TREE_WORD_LOOK,
			 len < TREE_WORD_LOOK ? len : TREE_WORD_LOOK);
	}
	tree_post(t, op, TREE_KEYS);
	return false;
}

static void keys_read(struct tree *t, struct tree_op *op)
{
	for (unsigned i = 0; i < op->nwant; i++) {
		const struct index_kv *kv =
			(const void *)(op->local + keys_at(op) + i * TREE_WORD_LOOK);
		uint64_t len = index_slot_units(op->want[i]) * INDEX_LINE;

		if (len > TREE_WORD_LOOK)
			len = TREE_WORD_LOOK;
		if (kv->klen == 0 || kv->klen > INDEX_KEY_MAX || sizeof(*kv) + kv->klen > len ||
		    (sizeof(*kv) + kv->klen + (uint64_t)kv->vlen <= len && !kv_whole(kv, len)) ||
		    tree_hash(kv_key(kv), kv->klen).fp != index_slot_fp(op->want[i])) {
			tree_bad(t, op);
			return;
		}
		if (!tree_long_put(t, op->want[i], kv_key(kv), kv->klen)) {
			tree_bad(t, op);
			return;
		}
	}
	if (op->right_held)
		tree_merge(t, op);
	else
		tree_look(t, op);
}

/* ------------------------------------------------------------------ get */

static void read_value(struct tree *t, struct tree_op *op, uint64_t word, uint32_t from,
		       uint32_t to)
{
	op->value_word = word;
	op->value_len = to;
	rtx_abort(&op->tx);
	rtx_read(&op->tx, index_slot_offset(word) + from, op->local_offset + TREE_LOCAL_READ + from,
		 to - from);
	tree_post(t, op, TREE_VALUE);
}

static void value_read(struct tree *t, struct tree_op *op)
{
	const struct index_kv *kv = (const void *)(op->local + TREE_LOCAL_READ);
	uint64_t room = index_kv_room(kv->klen, kv->vlen);

	if (kv->klen == 0 || kv->klen > INDEX_KEY_MAX || kv->vlen > INDEX_VALUE_MAX ||
	    !tree_offset_good(t, index_slot_offset(op->value_word), room)) {
		tree_bad(t, op);
	} else if (room > op->value_len && index_slot_units(op->value_word) == INDEX_LEN_LONG) {
		read_value(t, op, op->value_word, op->value_len, (uint32_t)room);
	} else if (!kv_whole(kv, op->value_len)) {
		tree_bad(t, op);
	} else if (!kv_key_is(kv, op->key, op->klen)) {
		op->skip++; /* the same hash, or not what the entry says */
		t->stats.collisions++;
		tree_look(t, op);
	} else {
		op->value_at = (uint32_t)(kv_value(kv) - (op->local + TREE_LOCAL_READ));
		op->value_len = kv->vlen;
		tree_settle(t, op, ATOLL_OK);
	}
}

static void get(struct tree *t, struct tree_op *op)
{
	struct tree_hash h = tree_hash(op->key, op->klen);
	unsigned skip = op->skip;

	for (unsigned i = 0; i < t->view.n; i++) {
		const struct tree_entry *e = &t->view.e[i];

		if (e->key_long ? e->hash != h.hash || index_slot_fp(e->word) != h.fp
				: tree_compare(e->key, e->klen, op->key, op->klen) != 0)
			continue;
		if (e->value) {
			memcpy(op->local + TREE_LOCAL_READ, e->value, e->vlen);
			op->value_at = 0;
			op->value_len = e->vlen;
			tree_settle(t, op, ATOLL_OK);
			return;
		}
		if (skip) {
			skip--;
			continue;
		}
		if (!tree_word_good(t, e->word))
			tree_bad(t, op);
		else
			read_value(t, op, e->word, 0, index_slot_units(e->word) * INDEX_LINE);
		return;
	}
	tree_settle(t, op, ATOLL_NOT_FOUND);
}

/* ------------------------------------------------------------------ what was read */

/* Does the parent know the child after all, or has it forgotten it? */
static void fix_look(struct tree *t, struct tree_op *op)
{
	bool add = op->cur.kind == TREE_FIX_ADD, named = false;

	if (!tree_resolve(t, op, &t->view, TREE_NEED_ALL))
		return;
	tree_inner_put(t, op, &t->view);
	for (unsigned i = 0; i < t->view.n; i++) {
		const struct tree_entry *e = &t->view.e[i];

		if (e->child == op->cur.child &&
		    tree_compare(e->key, e->klen, op->key, op->klen) == 0)
			named = true;
	}
	if (named == add) {
		tree_settle(t, op, ATOLL_OK);
		return;
	}
	op->locks = true;
	tree_go(t, op);
}

static void inner_look(struct tree *t, struct tree_op *op)
{
	const struct tree_inner *n;

	if (!tree_resolve(t, op, &t->view, TREE_NEED_ALL))
		return;
	tree_inner_put(t, op, &t->view);
	n = tree_inner_find(t, op, op->at);
	if (!n || !follow(t, op, n))
		tree_bad(t, op);
	else
		tree_go(t, op);
}

void tree_look(struct tree *t, struct tree_op *op)
{
	struct tree_view *v = &t->view;

	switch (tree_parse(v, op->local + TREE_LOCAL_NODE, op->held && op->mend)) {
	case TREE_WHOLE:
		break;
	case TREE_TORN:
		if (op->held)
			damaged(t, op);
		else if (!op->walk || !tree_walk_claim(t, op))
			torn(t, op);
		return;
	case TREE_BAD:
		damaged(t, op);
		return;
	}
	op->torn = 0;
	if (op->held && v->mended) {
		tree_head_make(op->local + TREE_LOCAL_HEAD, &v->head, &v->fences);
		op->mend_due = true;
	}
	if (op->held && tree_sibling_ask(t, op))
		return;
	if (!tree_resolve(t, op, v, TREE_NEED_FENCES))
		return;
	/* A walk takes what is next, whatever its keys. */
	if (v->head.level != op->level ||
	    (!above(op, &v->low) && !(op->walk && op->level == op->goal))) {
		tree_bad(t, op);
		return;
	}
	if (v->head.flags & INDEX_TREE_GONE) {
		tree_gone(t, op);
		return;
	}
	if (op->gone && op->gone == v->head.next && !op->held) {
		/* the merge is under way */
		if (!op->walk || !tree_walk_claim(t, op))
			wait_lock(t, op, v->head.lock);
		return;
	}
	op->gone = 0;
	if (!op->held)
		op->wait_begin = op->wait_word = 0;
	arrived(op, &v->low);
	if (!below(op, &v->high)) {
		uint64_t at = op->at;

		if (!tree_offset_good(t, v->head.next, INDEX_TREE_NODE) ||
		    ++op->hops > TREE_HOPS_MAX) {
			tree_bad(t, op);
		} else if (op->held) {
			tree_release(t, op, TREE_THEN_GO, ATOLL_OK);
			move_right(t, op, v->head.next);
		} else {
			if (op->level > 0)
				tree_inner_drop(t, at); /* it has been split since */
			move_right(t, op, v->head.next);
			tree_go(t, op);
		}
		return;
	}
	if (op->held && (!op->locks || op->level > op->goal))
		tree_release(t, op, TREE_THEN_GO, ATOLL_OK); /* mended; now read */
	else if (op->level > op->goal)
		inner_look(t, op);
	else if (op->held)
		tree_change(t, op);
	else if (op->fixing)
		fix_look(t, op);
	else if (op->walk)
		tree_walk_look(t, op);
	else if (op->scan.on)
		tree_scan_look(t, op);
	else
		get(t, op);
}

static void locked(struct tree *t, struct tree_op *op)
{
	uint64_t old = rtx_old(&op->tx);

	if (op->block && !op->fixing)
		op->written = true;
	if (old == 0) {
		op->held = true;
		op->mend = op->mend_due = op->sibling_seen = false;
		op->wait_begin = op->wait_word = 0;
		tree_look(t, op);
	} else {
		t->stats.conflicts++;
		wait_lock(t, op, old);
	}
}

static void claimed(struct tree *t, struct tree_op *op)
{
	if (rtx_old(&op->tx) == op->wait_word) {
		op->held = op->mend = true;
		op->mend_due = op->sibling_seen = false;
		t->stats.cleared++;
		op->wait_begin = op->wait_word = 0;
		tree_look(t, op);
	} else { /* somebody else has */
		tree_go(t, op);
	}
}

static void released(struct tree *t, struct tree_op *op)
{
	if (op->retire) {
		tree_inner_drop(t, op->at);
		heap_free(&t->heap, op->at, INDEX_TREE_NODE);
	}
	op->held = op->mend = op->mend_due = op->left_held = op->right_held = op->retire = false;
	tree_local_leave(t, op);
	switch (op->then) {
	case TREE_THEN_SETTLE:
		tree_settle(t, op, op->then_result);
		break;
	case TREE_THEN_GO:
		tree_go(t, op);
		break;
	case TREE_THEN_WANT:
		tree_op_want(t, op);
		break;
	}
}

/* The chain that was out has ended. */
void tree_step(struct tree *t, struct tree_op *op, const struct verb_completion *done)
{
	for (unsigned i = 0; i < op->nchain; i++)
		if (done->status[i] != STATUS_OK) {
			tree_failed(t, op, op->base + i, done->status[i]);
			return;
		}
	switch ((enum tree_state)op->state) {
	case TREE_ROOT:
		root_read(t, op);
		break;
	case TREE_READ:
		tree_look(t, op);
		break;
	case TREE_LOCK:
		locked(t, op);
		break;
	case TREE_TRACE:
		tree_trace_read(t, op);
		break;
	case TREE_NOTE:
		tree_claim_lock(t, op);
		break;
	case TREE_CLAIM:
		claimed(t, op);
		break;
	case TREE_SIBLING:
		tree_sibling_read(t, op);
		break;
	case TREE_LEFT:
		tree_left_locked(t, op);
		break;
	case TREE_RIGHT:
		tree_right_locked(t, op);
		break;
	case TREE_KEYS:
		keys_read(t, op);
		break;
	case TREE_VALUE:
		if (op->scan.on)
			tree_scan_blocks(t, op);
		else
			value_read(t, op);
		break;
	case TREE_LINES:
		tree_walk_lines(t, op);
		break;
	case TREE_OWNER:
		owner_read(t, op);
		break;
	case TREE_COMMIT:
		tree_committed(t, op);
		break;
	case TREE_RELEASE:
		released(t, op);
		break;
	case TREE_GROW:
		tree_grown(t, op);
		break;
	case TREE_SHRINK:
		tree_shrunk(t, op);
		break;
	case TREE_FREE:
	case TREE_WANT:
	case TREE_QUEUED:
	case TREE_SLEEP:
		break;
	}
}
