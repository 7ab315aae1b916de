/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk through a whole table. It polls the provider itself, which is why no operation may be in
 * flight: a cold path for people and checks.
 */
#include "clients/index/race_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	DUMP_BATCH = 16 * VERB_CHAIN_MAX
}; /* blocks read at a time, if they fit */

struct met {
	uint64_t hash[2];
	uint64_t at, word; /* slot, what was in it; at 0: free */
};

struct pair {
	struct met first, second;
};

struct walk {
	struct race *r;
	struct atoll_index_report *report;
	atoll_entry entry;
	void *arg;
	struct race_sub sub; /* that is walked */
	atoll_progress progress;
	uint8_t *table, *blocks;
	uint64_t table_local, blocks_local;
	struct met *met; /* open hash of `size` places */
	uint64_t size, count;
	struct pair *pairs;
	uint64_t npairs, room;
	struct {
		uint64_t at, word;
		uint32_t len, local; /* bytes; where in `blocks` */
	} batch[DUMP_BATCH];
	unsigned n;
	uint32_t used; /* of `blocks`, bytes */
};

static void bad(struct walk *w, uint64_t *counter, uint64_t at)
{
	++*counter;
	if (!w->report->first_bad)
		w->report->first_bad = at;
}

static struct met *met_place(struct walk *w, const struct met *m)
{
	uint64_t i = m->hash[0] & (w->size - 1);

	while (w->met[i].at && (w->met[i].hash[0] != m->hash[0] || w->met[i].hash[1] != m->hash[1]))
		i = (i + 1) & (w->size - 1);
	return &w->met[i];
}

static int met_grow(struct walk *w)
{
	struct met *old = w->met;
	uint64_t n = w->size;

	w->size = n ? n * 2 : 4096;
	w->met = calloc(w->size, sizeof(*w->met));
	if (!w->met) {
		w->met = old;
		w->size = n;
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < n; i++)
		if (old[i].at)
			*met_place(w, &old[i]) = old[i];
	free(old);
	return 0;
}

/* 1: the key is new; 0: it was met before, in another slot. */
static int met_add(struct walk *w, const struct met *m)
{
	struct met *place;

	if (w->count * 2 >= w->size && met_grow(w))
		return -ENOMEM;
	place = met_place(w, m);
	if (!place->at) {
		*place = *m;
		w->count++;
		return 1;
	}
	if (w->npairs == w->room) {
		uint64_t room = w->room ? w->room * 2 : 64;
		struct pair *p = realloc(w->pairs, room * sizeof(*p));

		if (!p)
			return -ENOMEM;
		w->pairs = p;
		w->room = room;
	}
	w->pairs[w->npairs++] = (struct pair){*place, *m};
	return 0;
}

static bool belongs(const struct walk *w, const struct kv_place *p, uint64_t at, uint64_t word)
{
	const struct race_sub *s = &w->sub;
	uint64_t in = at - s->at - INDEX_LINE;

	return (uint64_t)p->prefix >> (32 - s->depth) == s->prefix &&
	       p->fp == index_slot_fp(word) &&
	       (in - p->combined[0] < INDEX_COMBINED_SIZE ||
		in - p->combined[1] < INDEX_COMBINED_SIZE);
}

static int block_take(struct walk *w, unsigned i)
{
	const struct index_kv *kv = (const struct index_kv *)(w->blocks + w->batch[i].local);
	uint64_t at = w->batch[i].at, word = w->batch[i].word;
	struct kv_place place;
	struct met m = {.at = at, .word = word};
	int rc;

	if (!kv_whole(kv, w->batch[i].len) ||
	    index_slot_units(index_slot_make(0, 0, index_kv_room(kv->klen, kv->vlen))) !=
		    index_slot_units(word)) {
		bad(w, &w->report->torn, at);
		return 0;
	}
	if (w->r->marks)
		account_mark(w->r->marks, index_slot_offset(word), index_kv_room(kv->klen, kv->vlen));
	kv_place(&place, kv_key(kv), kv->klen, w->r->c.groups);
	if (!belongs(w, &place, at, word)) {
		bad(w, &w->report->misplaced, at);
		return 0;
	}
	m.hash[0] = place.hash[0];
	m.hash[1] = place.hash[1];
	rc = met_add(w, &m);
	if (rc <= 0)
		return rc;
	w->report->entries++;
	w->report->key_bytes += kv->klen;
	w->report->value_bytes += kv->vlen;
	return w->entry ? w->entry(w->arg, kv_key(kv), kv->klen, kv_value(kv), kv->vlen) : 0;
}

static int batch_run(struct walk *w)
{
	struct verb reads[DUMP_BATCH];
	unsigned n = w->n;
	int rc;

	if (n == 0)
		return 0;
	w->n = 0;
	w->used = 0;
	for (unsigned i = 0; i < n; i++)
		reads[i] = core_read_verb((struct core *)w->r, index_slot_offset(w->batch[i].word), w->batch[i].len,
				     w->blocks_local + w->batch[i].local);
	rc = core_verbs_run((struct core *)w->r, reads, n, VERB_CHAIN_MAX);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = block_take(w, i);
	return rc;
}

static int word_take(struct walk *w, uint64_t at, uint64_t word)
{
	const struct core_config *c = &w->r->c;
	uint64_t offset = index_slot_offset(word), len = index_slot_units(word) * INDEX_LINE;
	uint64_t left = c->heap_offset + c->heap_size - offset;
	int rc = 0;

	if (word == 0 || index_slot_tomb(word))
		return 0;
	if ((word & INDEX_SLOT_TAG_MASK) || len == 0 || offset < c->heap_offset ||
	    offset >= c->heap_offset + c->heap_size || len > left) {
		bad(w, &w->report->torn, at);
		return 0;
	}
	if (index_slot_pending(word)) {
		w->report->pending++;
		return 0;
	}
	if (len == INDEX_LEN_LONG * INDEX_LINE)
		len = left < INDEX_KV_ROOM_MAX ? left : INDEX_KV_ROOM_MAX;
	if (w->n == DUMP_BATCH || w->used + len > RACE_DUMP_BLOCKS)
		rc = batch_run(w);
	w->batch[w->n].at = at;
	w->batch[w->n].word = word;
	w->batch[w->n].len = (uint32_t)len;
	w->batch[w->n].local = w->used;
	w->used += (uint32_t)(len + INDEX_LINE - 1) & ~(uint32_t)(INDEX_LINE - 1);
	w->n++;
	return rc;
}

static int groups_take(struct walk *w)
{
	uint32_t n = w->r->c.groups;
	uint64_t base = w->sub.at + INDEX_LINE;
	struct verb v = core_read_verb((struct core *)w->r, base, n * INDEX_GROUP_SIZE, w->table_local);
	int rc = core_verbs_run((struct core *)w->r, &v, 1, 1);

	for (uint32_t b = 0; b < n * INDEX_GROUP_BUCKETS && !rc; b++) {
		struct index_bucket bucket;
		uint64_t at = base + (uint64_t)b * INDEX_LINE;

		memcpy(&bucket, w->table + (size_t)b * INDEX_LINE, sizeof(bucket));
		if (bucket.reserved)
			bad(w, &w->report->torn, at);
		for (unsigned i = 0; i < INDEX_BUCKET_SLOTS && !rc; i++)
			rc = word_take(w, at + offsetof(struct index_bucket, slot) + i * 8,
				       bucket.slot[i] & ~INDEX_SLOT_MOVE);
	}
	w->report->slots += (uint64_t)n * INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS;
	return rc ? rc : batch_run(w);
}

/* @head, of a leaf, is locked: marks where its halves will be, if that has been said; looks at it again. */
static int intent_mark(struct walk *w, const struct race_sub *sub, struct index_subtable *head)
{
	uint16_t cid = index_lock_cid(head->lock);
	uint64_t pair = 2 * index_subtable_size(w->r->c.groups);
	struct verb v = core_read_verb((struct core *)w->r, INDEX_CLIENT_TABLE_OFFSET + (uint64_t)cid * INDEX_LINE,
				       INDEX_LINE, w->table_local);
	struct index_client line;
	struct index_log record[2];
	int rc;

	if (cid == 0 || cid >= INDEX_CLIENTS || index_lock_slot(head->lock) >= INDEX_LOG_SLOTS)
		return -EBADMSG;
	v.remote = w->r->c.control;
	rc = core_verbs_run((struct core *)w->r, &v, 1, 1);
	memcpy(&line, w->table, sizeof(line));
	if (rc || !race_log_good(w->r, line.log_base))
		return rc ? rc : -EBADMSG;
	v = core_read_verb((struct core *)w->r, line.log_base + (uint64_t)index_lock_slot(head->lock) * INDEX_LOG_SLOT,
			   2 * INDEX_LINE, w->table_local);
	rc = core_verbs_run((struct core *)w->r, &v, 1, 1);
	memcpy(record, w->table, sizeof(record));
	if (!rc) {
		v = core_read_verb((struct core *)w->r, sub->at, INDEX_LINE, w->table_local);
		rc = core_verbs_run((struct core *)w->r, &v, 1, 1);
		memcpy(head, w->table, sizeof(*head));
	}
	for (unsigned half = 0; half < 2 && !rc && !head->next; half++) {
		struct account_marks apart = *w->r->marks; /* met twice: that is no fault here */

		if (record[half].op == INDEX_LOG_HASH_SPLIT && record[half].target == sub->at &&
		    race_sub_offset_good(w->r, record[half].aux, 2))
			account_mark(&apart, record[half].aux, pair);
	}
	return rc;
}

/* The leaves below @sub, one after the other. */
static int sub_take(struct walk *w, struct race_sub sub)
{
	struct verb v = core_read_verb((struct core *)w->r, sub.at, INDEX_LINE, w->table_local);
	struct index_subtable head;
	int rc = core_verbs_run((struct core *)w->r, &v, 1, 1);

	if (rc)
		return rc;
	memcpy(&head, w->table, sizeof(head));
	if (head.prefix != sub.prefix || head.depth != sub.depth) {
		bad(w, &w->report->torn, sub.at);
		return 0;
	}
	if (!head.next && head.lock && w->r->marks && w->r->intents) {
		rc = intent_mark(w, &sub, &head);
		if (rc)
			return rc;
	}
	if (!head.next) {
		w->sub = sub;
		w->report->subtables++;
		rc = groups_take(w);
		if (w->progress && !rc) { /* how many leaves there are nobody knows */
			double part = ((double)sub.prefix + 1) / (double)(1ull << sub.depth);

			w->progress(w->arg, w->report->slots,
				    (uint64_t)((double)w->report->slots / part + 0.5));
		}
		return rc;
	}
	if (!race_sub_offset_good(w->r, head.next, 2) || sub.depth >= 32) {
		bad(w, &w->report->torn, sub.at);
		return 0;
	}
	w->report->retired++;
	if (w->r->marks)
		account_mark(w->r->marks, head.next, 2 * index_subtable_size(w->r->c.groups));
	for (uint32_t i = 0; i < 2 && !rc; i++)
		rc = sub_take(w, (struct race_sub){
					 .at = head.next + i * index_subtable_size(w->r->c.groups),
					 .prefix = sub.prefix << 1 | i,
					 .depth = sub.depth + 1,
				 });
	return rc;
}

/* A key that was deleted and inserted again during the walk may have been met twice. It is a
 * duplicate if both slots still hold what they held. */
static int pairs_check(struct walk *w)
{
	for (uint64_t i = 0; i < w->npairs; i++) {
		const struct pair *p = &w->pairs[i];
		struct verb chain[2] = {
			core_read_verb((struct core *)w->r, p->first.at, 8, w->table_local),
			core_read_verb((struct core *)w->r, p->second.at, 8, w->table_local + 8),
		};
		uint64_t now[2];
		int rc = core_verbs_run((struct core *)w->r, chain, 2, 2);

		if (rc)
			return rc;
		memcpy(now, w->table, sizeof(now));
		if ((now[0] & ~INDEX_SLOT_MOVE) == p->first.word &&
		    (now[1] & ~INDEX_SLOT_MOVE) == p->second.word)
			bad(w, &w->report->duplicates, p->second.at);
	}
	return 0;
}

int race_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report)
{
	struct race *r = race_of(k);
	uint64_t after_ops = (uint64_t)r->c.ops * RACE_LOCAL_OP;
	struct walk w = {
		.r = r,
		.report = report,
		.entry = entry,
		.arg = arg,
		.table = r->c.local_base + after_ops,
		.table_local = r->c.local_offset + after_ops,
	};
	int rc = core_quiet(k);

	memset(report, 0, sizeof(*report));
	if (rc)
		return rc;
	w.blocks = w.table + RACE_DUMP_TABLE;
	w.blocks_local = w.table_local + RACE_DUMP_TABLE;
	w.progress = progress;
	for (uint32_t i = 0; i < 1u << r->c.depth && !rc; i++)
		rc = sub_take(
			&w, (struct race_sub){
				    .at = r->c.table_offset + i * index_subtable_size(r->c.groups),
				    .prefix = i,
				    .depth = r->c.depth,
			    });
	if (!rc)
		rc = pairs_check(&w);
	free(w.met);
	free(w.pairs);
	return rc;
}

int race_mark(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report)
{
	return race_dump(k, NULL, progress, arg, report);
}
