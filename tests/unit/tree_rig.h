/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_rig.h - clients of a tree over fake_verbs.h, with a shard that only keeps the client table and
 * gives out heap, a virtual clock, a history of every operation, and a look at the tree itself.
 */
#ifndef ATOLL_TESTS_TREE_RIG_H
#define ATOLL_TESTS_TREE_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "clients/index/kv.h"
#include "clients/index/tree.h"
#include "clients/index/tree_node.h"
#include "proto/index_tree.h"
#include "tests/sim/linearize.h"
#include "tests/unit/fake_verbs.h"

enum {
	RIG_TABLE = 0,
	RIG_CONTROL = 1,
	RIG_LOCAL = 2, /* and on, one a client */
	RIG_CLIENTS = 6,
	RIG_SEGMENTS = 128,
	RIG_HISTORY = 8192,
	RIG_KEYS = 1000,
	RIG_KEY_MAX = 1024,
	RIG_VALUE_MAX = 20000,
	RIG_HEAP = INDEX_SUPER_SIZE,
};

struct rig;

struct rig_client {
	struct rig *rig;
	struct core *core;
	struct fake_client *fake;
	uint16_t cid, epoch;
	bool dead;   /* not polled any more */
	bool paused; /* not polled for a while */
	bool wants_chunk;
	unsigned todo; /* operations that it still is to begin */
};

struct rig_call {
	struct rig *rig;
	struct rig_client *client;
	struct lin_op op;
	bool finished, dropped;
	enum atoll_result result;
	uint64_t ticket;
	unsigned round_trips;
};

struct rig {
	struct fake_world w;
	uint64_t now_ns, tick;
	unsigned nclients, ops;
	struct rig_client client[RIG_CLIENTS];
	unsigned ncalls;
	uint64_t value_base; /* values count from here, which chooses their sizes */
	bool small;	     /* values of 8 bytes */
	struct rig_call call[RIG_HISTORY];
	uint8_t key[RIG_KEYS][RIG_KEY_MAX];
	uint32_t klen[RIG_KEYS];
	unsigned nkeys;
	unsigned segment;
	uint16_t suspected;
	uint64_t failures; /* what no run may show */
	uint32_t suspect_us, busy_us;
	/* segments of the dead that were given back */
	unsigned nused;
	struct core_recycled used[RIG_SEGMENTS];
};

static uint32_t rig_reclaim_us; /* of the clients that are opened from now on */

/* The values of a history are numbers; in the tree each is bytes whose number and content follow from it, so
 * that a torn one is known. */
static inline uint32_t rig_value_size(const struct rig *g, uint64_t v)
{
	uint64_t h = v * 0x9e3779b97f4a7c15ull >> 40;

	if (g->small)
		return 8;
	return 8 + (uint32_t)(h % 97 == 0 ? h % RIG_VALUE_MAX : h % 3 == 0 ? h % 900 : h % 40);
}

static inline uint32_t rig_value_make(const struct rig *g, uint8_t *to, uint64_t v)
{
	uint32_t n = rig_value_size(g, v);

	memcpy(to, &v, 8);
	for (uint32_t i = 8; i < n; i++)
		to[i] = (uint8_t)(v + i);
	return n;
}

static inline uint64_t rig_value_read(const struct rig *g, const uint8_t *from, uint32_t n)
{
	uint64_t v;

	if (n < 8)
		return UINT64_MAX;
	memcpy(&v, from, 8);
	if (n != rig_value_size(g, v))
		return UINT64_MAX;
	for (uint32_t i = 8; i < n; i++)
		if (from[i] != (uint8_t)(v + i))
			return UINT64_MAX;
	return v;
}

static inline uint64_t rig_now(void *owner)
{
	return ((struct rig_client *)owner)->rig->now_ns;
}

static inline void rig_want_chunk(void *owner)
{
	((struct rig_client *)owner)->wants_chunk = true;
}

static inline struct index_client *rig_line(struct rig *g, uint16_t cid)
{
	return (struct index_client *)(g->w.region[RIG_CONTROL].base + INDEX_CLIENT_TABLE_OFFSET) +
	       cid;
}

static inline void rig_suspect(void *owner, uint16_t cid, uint16_t epoch)
{
	struct rig *g = ((struct rig_client *)owner)->rig;

	(void)epoch;
	g->suspected = cid;
}

/* Logs are the last segments of the heap. */
static inline uint64_t rig_log(uint16_t cid)
{
	return RIG_HEAP + (RIG_SEGMENTS - cid) * (uint64_t)INDEX_SEGMENT;
}

/* What a shard does before it answers. */
static inline void rig_pin(struct rig *g, uint16_t cid, uint16_t epoch)
{
	uint8_t *table = g->w.region[RIG_TABLE].base;
	uint64_t pin = (uint64_t)epoch << 48 | *(uint64_t *)(void *)(table + INDEX_RECLAIM_OFFSET);

	memcpy(table + index_pin_at(RIG_HEAP, RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT, cid), &pin,
	       sizeof(pin));
}

static inline void rig_client_open(struct rig *g, unsigned i, uint16_t cid, uint16_t epoch)
{
	static const uint32_t lane = 0;
	struct rig_client *c = &g->client[i];
	struct fake_client *fake = fake_client_add(&g->w);
	struct core_config conf = {
		.verbs = &fake->v,
		.lanes = &lane,
		.nlanes = 1,
		.ops = g->ops,
		.table = {RIG_TABLE, 0},
		.control = {RIG_CONTROL, 0},
		.local = {RIG_LOCAL + i, 0},
		.local_base = g->w.region[RIG_LOCAL + i].base,
		.local_size = g->w.region[RIG_LOCAL + i].size,
		.cid = cid,
		.epoch = epoch,
		.heap_offset = RIG_HEAP,
		.log_base = rig_log(cid),
		.heap_size = RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT,
		.cache = 256,
		.reclaim_us = rig_reclaim_us,
		.suspect_us = g->suspect_us,
		.busy_us = g->busy_us,
		.seed = fake_random(&g->w),
		.owner = c,
		.now_ns = rig_now,
		.want_chunk = rig_want_chunk,
		.suspect = rig_suspect,
	};

	*c = (struct rig_client){.rig = g, .fake = fake, .cid = cid, .epoch = epoch};
	*rig_line(g, cid) = (struct index_client){
		.cid = cid,
		.epoch = epoch,
		.state = INDEX_CLIENT_ALIVE,
		.log_base = rig_log(cid),
	};
	rig_pin(g, cid, epoch);
	if (core_open(&c->core, &tree_engine, &conf))
		g->failures++;
}

/* Memory for region i, kept from rig to rig: thousands are opened. */
static inline uint8_t *rig_memory(unsigned i, uint64_t size)
{
	static uint8_t *base[FAKE_REGIONS];
	static uint64_t room[FAKE_REGIONS];

	if (size > room[i]) {
		free(base[i]);
		room[i] = (size + 63) & ~63ull;
		base[i] = aligned_alloc(64, room[i]);
	}
	return base[i];
}

/* @seed: of everything that chance decides. */
static inline void rig_open(struct rig *g, uint64_t seed, unsigned clients, unsigned ops)
{
	/* of clients, keys and calls nobody reads what nobody wrote */
	memset(&g->w, 0, offsetof(struct fake_world, client));
	memset(&g->now_ns, 0, offsetof(struct rig, call) - offsetof(struct rig, now_ns));
	memset(&g->nkeys, 0, offsetof(struct rig, used) - offsetof(struct rig, nkeys));
	g->w.random = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	for (unsigned i = 0; i < 4; i++)
		fake_random(&g->w);
	g->ops = ops;
	g->nclients = clients;
	g->now_ns = 1000000;
	g->suspect_us = 20;
	g->busy_us = 100000;
	g->w.region[RIG_TABLE].size = index_tree_region_size(RIG_SEGMENTS);
	g->w.region[RIG_CONTROL].size = index_control_region_size(RIG_SEGMENTS);
	for (unsigned i = 0; i < RIG_CLIENTS; i++)
		g->w.region[RIG_LOCAL + i].size = core_local_size(&tree_engine, ops);
	for (unsigned i = 0; i < RIG_LOCAL + RIG_CLIENTS; i++) {
		g->w.region[i].base = rig_memory(i, g->w.region[i].size);
		if (i < RIG_LOCAL) /* of the heap nobody reads what nobody wrote */
			memset(g->w.region[i].base, 0,
			       i == RIG_TABLE ? RIG_HEAP : g->w.region[i].size);
	}
	memset(g->w.region[RIG_TABLE].base +
		       index_pin_at(RIG_HEAP, RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT, 0),
	       0, INDEX_CLIENTS * 8);
	for (unsigned i = 1; i <= RIG_CLIENTS; i++)
		memset(g->w.region[RIG_TABLE].base + rig_log((uint16_t)i) + INDEX_TREE_TRACES, 0, 256 * 8);
	g->w.region[RIG_TABLE].base[INDEX_RECLAIM_OFFSET] = 1;
	for (unsigned i = 0; i < clients; i++)
		rig_client_open(g, i, (uint16_t)(i + 1), 1);
}

static inline void rig_close(struct rig *g)
{
	for (unsigned i = 0; i < g->nclients; i++)
		core_close(g->client[i].core);
	fake_free(&g->w);
}

/* @n keys, all different. @longest: some have as many bytes and differ in the last. */
static inline void rig_keys(struct rig *g, unsigned n, uint32_t longest)
{
	for (unsigned i = 0; i < n; i++) {
		char number[16];
		uint32_t len, fill = longest > 16 && i % 3 == 0 ? longest - 8 : 0;

		len = (uint32_t)snprintf(number, sizeof(number), "%06u", i * 7919 % 999983);
		memset(g->key[i], 'p', fill);
		memcpy(g->key[i] + fill, number, len);
		g->klen[i] = fill + len;
	}
	g->nkeys = n;
}

static inline void rig_done(void *arg, const struct atoll_outcome *out)
{
	struct rig_call *call = arg;
	struct rig *g = call->rig;

	if (call->finished)
		g->failures++;
	call->finished = true;
	call->result = out->result;
	call->ticket = out->ticket;
	call->round_trips = out->round_trips;
	call->op.returned = ++g->tick;
	switch (atoll_result_class(out->result)) {
	case ATOLL_EXECUTED:
		call->op.result = out->result == ATOLL_OK	   ? LIN_OK
				  : out->result == ATOLL_NOT_FOUND ? LIN_ABSENT
								   : LIN_PRESENT;
		break;
	case ATOLL_NOT_EXECUTED:
		call->dropped = true;
		break;
	case ATOLL_UNKNOWN:
		break;
	}
	if (out->op == ATOLL_GET && out->result == ATOLL_OK)
		call->op.value = rig_value_read(g, out->value, out->value_len);
	if (out->result == ATOLL_CORRUPT || out->result == ATOLL_REFUSED ||
	    out->result == ATOLL_BUSY || out->result == ATOLL_FULL)
		g->failures++;
	/* nobody takes away what a living client has begun */
	if (out->result == ATOLL_FENCED && !call->client->fake->fenced)
		g->failures++;
}

static inline struct rig_call *rig_submit(struct rig *g, unsigned client, enum atoll_op op,
					  unsigned key)
{
	static const enum lin_kind kinds[ATOLL_OPS] = {LIN_GET, LIN_PUT, LIN_INSERT, LIN_UPDATE,
						       LIN_DELETE};
	static uint8_t value[8 + RIG_VALUE_MAX];
	struct rig_call *call = &g->call[g->ncalls];
	uint32_t len;

	*call = (struct rig_call){.rig = g, .client = &g->client[client]};
	call->op = (struct lin_op){
		.key = key,
		.called = ++g->tick,
		.value = 1 + g->value_base + g->ncalls,
		.kind = kinds[op],
		.result = LIN_UNKNOWN,
	};
	len = rig_value_make(g, value, call->op.value);
	if (core_submit(g->client[client].core, op, g->key[key], g->klen[key], value, len, rig_done,
			call))
		return NULL;
	g->ncalls++;
	return call;
}

/* Number of a key; RIG_KEYS: none of ours. */
static inline unsigned rig_key_find(const struct rig *g, const uint8_t *key, uint32_t klen)
{
	enum { PLACES_OF_KEYS = 4 * RIG_KEYS };
	static uint16_t place[PLACES_OF_KEYS]; /* numbers from 1, as keys were when they were last looked for */
	uint32_t h = 0;

	for (uint32_t i = klen > 16 ? klen - 16 : 0; i < klen; i++)
		h = h * 31 + key[i];
	for (unsigned i = h % PLACES_OF_KEYS, n = 0; n < 8; n++, i = (i + 1) % PLACES_OF_KEYS) {
		unsigned k = place[i] - 1u;

		if (k < g->nkeys && g->klen[k] == klen && memcmp(g->key[k], key, klen) == 0)
			return k;
		if (k < g->nkeys)
			continue;
		for (k = 0; k < g->nkeys; k++)
			if (g->klen[k] == klen && memcmp(g->key[k], key, klen) == 0) {
				place[i] = (uint16_t)(k + 1);
				return k;
			}
		return RIG_KEYS;
	}
	for (unsigned k = 0; k < g->nkeys; k++)
		if (g->klen[k] == klen && memcmp(g->key[k], key, klen) == 0)
			return k;
	return RIG_KEYS;
}

/* ------------------------------------------------------------------ scans */

/* Keys that stay as they are must be seen once, in order; others may be. */
struct rig_scan {
	struct rig *rig;
	bool done, reverse;
	enum atoll_result result;
	uint32_t klen;
	uint8_t key[RIG_KEY_MAX];
	unsigned seen[RIG_KEYS];
	uint64_t value[RIG_KEYS]; /* of those */
	uint64_t called;
	struct rig_client *client;
};

static inline int rig_scan_entry(void *arg, const void *key, size_t klen, const void *value,
				 size_t vlen)
{
	struct rig_scan *s = arg;
	struct rig *g = s->rig;
	unsigned k = rig_key_find(g, key, (uint32_t)klen);

	if (s->klen) {
		int c = tree_compare(key, (uint32_t)klen, s->key, s->klen);

		g->failures += s->reverse ? c >= 0 : c <= 0;
	}
	memcpy(s->key, key, klen);
	s->klen = (uint32_t)klen;
	g->failures += rig_value_read(g, value, (uint32_t)vlen) == UINT64_MAX;
	if (k < RIG_KEYS) {
		s->seen[k]++;
		s->value[k] = rig_value_read(g, value, (uint32_t)vlen);
	}
	return 0;
}

static inline void rig_scan_done(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	struct rig_scan *s = arg;

	(void)rc;
	(void)entries;
	s->done = true;
	s->result = result;
}

static inline bool rig_scan(struct rig *g, unsigned client, struct rig_scan *s, bool reverse)
{
	memset(s, 0, sizeof(*s));
	s->rig = g;
	s->reverse = reverse;
	s->client = &g->client[client];
	s->called = ++g->tick;
	return tree_scan(g->client[client].core, NULL, 0, reverse, 0, rig_scan_entry, rig_scan_done,
			 s) == 0;
}

/* A scan that has ended, in the history: of each key it has seen the value, or that it is not there, at one instant. */
static inline void rig_scan_record(struct rig *g, const struct rig_scan *s)
{
	uint64_t returned = ++g->tick;

	for (unsigned k = 0; k < g->nkeys && g->ncalls < RIG_HISTORY; k++)
		g->call[g->ncalls++] = (struct rig_call){
			.rig = g,
			.client = s->client,
			.finished = true,
			.op = {
				.key = k,
				.called = s->called,
				.returned = returned,
				.value = s->value[k],
				.kind = LIN_GET,
				.result = s->seen[k] ? LIN_OK : LIN_ABSENT,
			},
		};
}

static inline uint64_t rig_heap(const struct rig *g)
{
	(void)g;
	return RIG_HEAP;
}

#include "tests/unit/rig_recycle.h"

static inline void rig_chunk(struct rig *g, unsigned i)
{
	struct index_segment s = {.cid = g->client[i].cid, .epoch = g->client[i].epoch, .run = 1};

	memcpy(g->w.region[RIG_CONTROL].base + INDEX_SEGMENT_TABLE_OFFSET + g->segment * sizeof(s), &s,
	       sizeof(s));
	core_chunk_add(g->client[i].core, RIG_HEAP + g->segment++ * (uint64_t)INDEX_SEGMENT,
		       INDEX_SEGMENT);
}

/* Lets a client go on: its chunk, its completions, its timers. */
static inline int rig_poll(struct rig *g, unsigned i)
{
	struct rig_client *c = &g->client[i];

	if (c->dead || c->paused)
		return 0;
	if (c->wants_chunk && g->nused) {
		c->wants_chunk = false;
		rig_chunk_used(g, i);
	} else if (c->wants_chunk && g->segment < RIG_SEGMENTS - RIG_CLIENTS) {
		c->wants_chunk = false;
		rig_chunk(g, i);
	} else if (c->wants_chunk) {
		c->wants_chunk = false;
		core_chunk_none(c->core, ATOLL_NO_SPACE, STATUS_LIMIT);
	}
	return core_poll(c->core);
}

/* What a shard does about a client that ended: fences it off, then says so. */
static inline void rig_declare_dead(struct rig *g, unsigned i)
{
	fake_fence(g->client[i].fake);
	rig_line(g, g->client[i].cid)->state = INDEX_CLIENT_DEAD;
}

/* Declares dead whoever was stopped and is suspected, or everybody who was stopped. */
static inline void rig_bury(struct rig *g, bool all)
{
	for (unsigned i = 0; i < g->nclients; i++) {
		struct rig_client *c = &g->client[i];

		if (c->fake->fenced) {
			/* it learns that its connection is gone, if that is all that it learns */
			while (!c->dead && c->fake->cut && core_poll(c->core) >= 0)
				;
			c->dead = true;
			if (all || g->suspected == c->cid)
				rig_declare_dead(g, i);
		}
	}
}

/* One step of everything, and time goes on. False when nothing but time can help. */
static inline bool rig_turn(struct rig *g)
{
	bool stepped = fake_step(&g->w);

	g->now_ns += stepped ? 100 : 2000;
	for (unsigned i = 0; i < g->nclients; i++)
		rig_poll(g, i);
	return stepped;
}

/* Until the clients that live have nothing in flight. False: they never end. */
static inline bool rig_drain(struct rig *g)
{
	for (unsigned turn = 0; turn < 400000; turn++) {
		unsigned pending = 0;

		rig_bury(g, false);
		for (unsigned i = 0; i < g->nclients; i++)
			if (!g->client[i].dead)
				pending += core_pending(g->client[i].core);
		if (!pending)
			return true;
		rig_turn(g);
	}
	return false;
}

/* 1 if the history is one that a map could have had. */
static inline int rig_check(struct rig *g)
{
	static struct lin_op ops[RIG_HISTORY];
	size_t n = 0;

	for (unsigned i = 0; i < g->ncalls; i++)
		if (!g->call[i].dropped)
			ops[n++] = g->call[i].op;
	return lin_check(ops, n, NULL);
}

/* ------------------------------------------------------------------ a look at the tree itself */

struct rig_look {
	uint64_t faults, nodes[INDEX_TREE_LEVELS], entries, locked, torn, merging, stale;
	unsigned levels;
};

static struct tree_view rig_view;
static uint8_t rig_held[2][INDEX_KEY_MAX];

/* Block of a word; NULL: damaged. */
static inline const struct index_kv *rig_block(struct rig *g, uint64_t word)
{
	const struct index_kv *kv =
		(const void *)(g->w.region[RIG_TABLE].base + index_slot_offset(word));

	if (index_slot_offset(word) < RIG_HEAP ||
	    index_slot_offset(word) + sizeof(*kv) > g->w.region[RIG_TABLE].size ||
	    !kv_whole(kv, g->w.region[RIG_TABLE].size - index_slot_offset(word)))
		return NULL;
	return kv;
}

static inline void rig_fence(struct rig *g, struct rig_look *l, struct tree_fence *f)
{
	const struct index_kv *kv = f->word ? rig_block(g, f->word) : NULL;

	if (kv) {
		f->key = kv_key(kv);
		f->klen = kv->klen;
	} else if (f->word) {
		l->faults++;
		f->none = true;
	}
}

/* Entries of rig_view: where their keys are, whether they are in order. @leaf: counts `live` of its keys. */
static inline void rig_look_entries(struct rig *g, struct rig_look *l, uint64_t *live)
{
	struct tree_view *v = &rig_view;

	for (unsigned i = 0; i < v->n; i++) {
		struct tree_entry *e = &v->e[i];
		const struct index_kv *kv = e->word ? rig_block(g, e->word) : NULL;

		if (e->word && !kv) {
			l->faults++;
			continue;
		}
		if (e->key_long) {
			e->key = kv_key(kv);
			e->klen = kv->klen;
		}
		if (!tree_below(&v->high, e->key, e->klen, false)) {
			e->key = NULL; /* left from a split */
			continue;
		}
		l->entries += v->head.level == 0;
		l->faults += !tree_above(&v->low, e->key, e->klen, false);
		if (v->head.level == 0 && kv)
			l->faults += !kv_key_is(kv, e->key, e->klen);
		for (unsigned j = 0; j < i; j++)
			l->faults += v->e[j].key && tree_compare(v->e[j].key, v->e[j].klen, e->key,
								 e->klen) == 0;
		if (v->head.level == 0 && live) {
			unsigned k = rig_key_find(g, e->key, e->klen);

			if (k < RIG_KEYS)
				l->faults += live[k]++ != 0;
		}
	}
}

/* Is @at a node one level down from @level whose low fence is @key? */
static inline void rig_look_child(struct rig *g, struct rig_look *l, uint64_t at, unsigned level,
				  const uint8_t *key, uint32_t klen)
{
	static struct tree_view v;
	enum tree_parse p;

	if (at % INDEX_LINE || at + INDEX_TREE_NODE > g->w.region[RIG_TABLE].size) {
		l->faults++;
		return;
	}
	p = tree_parse(&v, g->w.region[RIG_TABLE].base + at, true);
	l->faults += p != TREE_WHOLE || v.head.level + 1u != level;
	if (p == TREE_WHOLE) {
		rig_fence(g, l, &v.low);
		l->faults += v.low.none ? klen != 0
					: tree_compare(v.low.key, v.low.klen, key, klen) != 0;
		l->stale += v.head.flags != 0;
	}
}

/* Every level from left to right: no gap between the fences, no key twice or astray, nothing half
 * done but under the lock of the dead. */
static inline void rig_look(struct rig *g, struct rig_look *l, uint64_t *live)
{
	const uint8_t *base = g->w.region[RIG_TABLE].base;
	uint64_t word, at, down, steps = 0;

	memset(l, 0, sizeof(*l));
	memcpy(&word, base + INDEX_ROOT_OFFSET, sizeof(word));
	if (!word)
		return;
	l->levels = index_tree_root_level(word) + 1;
	down = index_tree_root_offset(word);
	for (unsigned level = l->levels; level-- > 0;) {
		uint64_t next = down;
		uint64_t before = 0, before_lock = 0;
		uint32_t hlen = 0;
		bool first = true;

		while ((at = next) && steps++ < 100000) {
			struct tree_view *v = &rig_view;
			uint16_t cid;

			if (at % INDEX_LINE || at + INDEX_TREE_NODE > g->w.region[RIG_TABLE].size ||
			    tree_parse(v, base + at, true) != TREE_WHOLE) {
				l->faults++;
				return;
			}
			next = v->head.next;
			cid = index_lock_cid(v->head.lock);
			l->torn += v->mended;
			l->faults += v->mended && !v->head.lock;
			if (v->head.lock) {
				l->locked++;
				l->faults += cid > RIG_CLIENTS ||
					     (rig_line(g, cid)->state != INDEX_CLIENT_DEAD &&
					      rig_line(g, cid)->epoch ==
						      index_lock_epoch(v->head.lock));
			}
			l->nodes[level]++;
			l->faults += v->head.level != level;
			if (v->head.flags) { /* its merger died in the middle */
				l->merging++;
				l->faults += v->head.left != before || !before_lock;
			}
			before = at;
			before_lock = v->head.lock;
			rig_fence(g, l, &v->low);
			rig_fence(g, l, &v->high);
			l->faults += first != v->low.none;
			if (!first && !v->low.none)
				l->faults += tree_compare(v->low.key, v->low.klen, rig_held[0],
							  hlen) != 0;
			if (!v->high.none) {
				memcpy(rig_held[0], v->high.key, v->high.klen);
				hlen = v->high.klen;
			}
			rig_look_entries(g, l, live);
			for (unsigned i = 0; level && i < v->n; i++) {
				if (!v->e[i].key)
					continue;
				rig_look_child(g, l, v->e[i].child, level, v->e[i].key,
					       v->e[i].klen);
				if (v->e[i].klen == 0)
					down = v->e[i].child;
			}
			first = false;
		}
	}
}

static inline uint64_t rig_faults(struct rig *g)
{
	struct rig_look l;

	rig_look(g, &l, NULL);
	return l.faults;
}

#endif
