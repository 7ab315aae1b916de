/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans: leaf after leaf, each as it was at one instant.
 *
 * A leaf is read once, and its entries are handed over in order from the copy; blocks are fetched
 * on the way, as many at a time as fit, and cannot have changed. Then the scan goes on with the
 * fence: forwards the leaf whose low fence it is, which is `next`; backwards the leaf of the keys
 * right below it, from the root. So each key is looked for in exactly one leaf, whatever is split
 * meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/tree_op.h"

int tree_scan(struct core *k, const void *from, size_t flen, bool reverse, uint64_t limit,
	      atoll_entry entry, atoll_scan_done done, void *arg)
{
	struct tree *t = tree_of(k);
	struct tree_op *op;
	uint8_t *key;
	int rc;

	if (flen > INDEX_KEY_MAX || (flen && !from) || !entry || !done)
		return -EINVAL;
	rc = tree_op_take(t, &op);
	if (rc)
		return rc;
	key = op->local + TREE_LOCAL_BLOCK + sizeof(struct index_kv);
	if (flen)
		memcpy(key, from, flen);
	op->kind = ATOLL_GET;
	op->key = key;
	op->klen = (uint32_t)flen;
	op->last = reverse && flen == 0;
	op->scan = (struct tree_scan){
		.on = true, .reverse = reverse, .limit = limit, .entry = entry, .done = done};
	op->arg = arg;
	op->reread = true; /* a scan does not begin again */
	tree_go(t, op);
	return 0;
}

static int by_key(const void *a, const void *b)
{
	const struct tree_entry *x = *(const struct tree_entry *const *)a,
				*y = *(const struct tree_entry *const *)b;

	return tree_compare(x->key, x->klen, y->key, y->klen);
}

/* The entries of the leaf that are to be handed over, in order. */
static unsigned collect(const struct tree_view *v, const struct tree_op *op,
			const struct tree_entry **out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->n; i++) {
		const struct tree_entry *e = &v->e[i];
		int c = op->last ? -1 : tree_compare(e->key, e->klen, op->key, op->klen);

		if (tree_below(&v->high, e->key, e->klen, false) &&
		    (op->scan.reverse ? (op->strict ? c < 0 : c <= 0) : op->last || c >= 0))
			out[n++] = e;
	}
	qsort(out, n, sizeof(out[0]), by_key);
	for (unsigned i = 0; op->scan.reverse && i < n / 2; i++) {
		const struct tree_entry *e = out[i];

		out[i] = out[n - 1 - i];
		out[n - 1 - i] = e;
	}
	return n;
}

/* READs the blocks of entries from scan.at on, as many as there is room for. */
static void fetch(struct tree *t, struct tree_op *op, const struct tree_entry **e, unsigned n)
{
	struct tree_scan *s = &op->scan;
	uint64_t heap_end = t->c.heap_offset + t->c.heap_size;

	s->batch = s->at;
	s->nbatch = 0;
	s->pos[0] = 0;
	rtx_abort(&op->tx);
	for (unsigned i = s->at; i < n && e[i]->word && s->nbatch < VERB_CHAIN_MAX &&
				 (!s->limit || s->n + s->nbatch < s->limit);
	     i++) {
		uint64_t at = index_slot_offset(e[i]->word);
		uint64_t len = index_slot_units(e[i]->word) * INDEX_LINE;

		if (!tree_word_good(t, e[i]->word)) {
			tree_bad(t, op);
			return;
		}
		if (index_slot_units(e[i]->word) == INDEX_LEN_LONG)
			len = heap_end - at < INDEX_KV_ROOM_MAX ? heap_end - at : INDEX_KV_ROOM_MAX;
		if (s->pos[s->nbatch] + len > INDEX_KV_ROOM_MAX)
			break;
		rtx_read(&op->tx, at, op->local_offset + TREE_LOCAL_READ + s->pos[s->nbatch],
			 (uint32_t)len);
		s->pos[s->nbatch + 1] = s->pos[s->nbatch] + (uint32_t)len;
		s->nbatch++;
	}
	tree_post(t, op, TREE_VALUE);
}

void tree_scan_blocks(struct tree *t, struct tree_op *op)
{
	tree_look(t, op);
}

/* The leaf is done. */
static void next_leaf(struct tree *t, struct tree_op *op)
{
	struct tree_scan *s = &op->scan;
	const struct tree_fence *f = s->reverse ? &t->view.low : &t->view.high;
	uint8_t *key = op->local + TREE_LOCAL_BLOCK + sizeof(struct index_kv);

	tree_mark_node(t, op->at);
	if (f->none) {
		tree_settle(t, op, ATOLL_OK);
		return;
	}
	memcpy(key, f->key, f->klen);
	op->klen = f->klen;
	op->strict = s->reverse;
	op->last = false;
	op->at = s->reverse ? 0 : t->view.head.next;
	if (op->epoch != t->reclaim.epoch) { /* a long scan does not hold memory back */
		op->epoch = t->reclaim.epoch;
		op->at = 0;
	}
	s->at = s->nbatch = 0;
	op->hops = 0;
	if (op->at && !tree_offset_good(t, op->at, INDEX_TREE_NODE))
		tree_bad(t, op);
	else
		tree_go(t, op);
}

void tree_scan_look(struct tree *t, struct tree_op *op)
{
	const struct tree_entry *e[INDEX_TREE_ENTRIES];
	struct tree_scan *s = &op->scan;
	unsigned n;

	if (!tree_resolve(t, op, &t->view, TREE_NEED_ALL))
		return;
	n = collect(&t->view, op, e);
	for (; s->at < n; s->at++) {
		const struct tree_entry *x = e[s->at];
		const uint8_t *value = x->value;
		uint32_t vlen = x->vlen;

		if (s->limit && s->n >= s->limit) {
			tree_settle(t, op, ATOLL_OK);
			return;
		}
		if (!value) {
			unsigned i = s->at - s->batch;
			const struct index_kv *kv;

			if (i >= s->nbatch) {
				fetch(t, op, e, n);
				return;
			}
			kv = (const void *)(op->local + TREE_LOCAL_READ + s->pos[i]);
			if (!kv_whole(kv, s->pos[i + 1] - s->pos[i]) ||
			    !kv_key_is(kv, x->key, x->klen)) {
				tree_bad(t, op);
				return;
			}
			value = kv_value(kv);
			vlen = kv->vlen;
			if (t->marks)
				account_mark(t->marks, index_slot_offset(x->word),
					     index_kv_room(kv->klen, kv->vlen));
		}
		s->n++;
		s->rc = s->entry(op->arg, x->key, x->klen, value, vlen);
		if (s->rc) {
			tree_settle(t, op, ATOLL_OK);
			return;
		}
	}
	next_leaf(t, op);
}

/* ------------------------------------------------------------------ all of it */

struct dump {
	atoll_entry entry;
	atoll_progress progress;
	void *arg;
	struct atoll_index_report *report;
	bool ended;
	enum atoll_result result;
	int rc;
};

enum {
	PROGRESS_ENTRIES = 4096
};

static int dump_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct dump *d = arg;

	d->report->entries++;
	d->report->key_bytes += klen;
	d->report->value_bytes += vlen;
	if (d->progress && d->report->entries % PROGRESS_ENTRIES == 0)
		d->progress(d->arg, d->report->entries, 0);
	return d->entry ? d->entry(d->arg, key, klen, value, vlen) : 0;
}

static void dump_end(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	struct dump *d = arg;

	(void)entries;
	d->ended = true;
	d->result = result;
	d->rc = rc;
}

int tree_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report)
{
	struct dump d = {.entry = entry, .progress = progress, .arg = arg, .report = report};
	int rc;

	if (core_pending(k))
		return -EBUSY;
	rc = tree_scan(k, NULL, 0, false, 0, dump_entry, dump_end, &d);
	if (rc)
		return rc;
	while (!d.ended)
		if (core_poll(k) == 0)
			k->c.verbs->ops->idle(k->c.verbs);
	if (d.progress && report->entries)
		d.progress(d.arg, report->entries, report->entries);
	if (d.result == ATOLL_OK)
		return d.rc;
	return d.result == ATOLL_CORRUPT ? -EBADMSG : d.result == ATOLL_BUSY ? -EBUSY : -ENOTCONN;
}
