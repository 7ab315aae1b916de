/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race_rig.h - clients of a table over fake_verbs.h, with a shard that only keeps the client table
 * and gives out heap, a virtual clock, and a history of every operation.
 */
#ifndef ATOLL_TESTS_RACE_RIG_H
#define ATOLL_TESTS_RACE_RIG_H

#include <stdio.h>
#include <stdlib.h>

#include "clients/index/kv.h"
#include "clients/index/race.h"
#include "clients/index/rtx.h"
#include "proto/index_layout.h"
#include "tests/sim/linearize.h"
#include "tests/unit/fake_verbs.h"

enum {
	RIG_TABLE = 0,
	RIG_CONTROL = 1,
	RIG_LOCAL = 2, /* and on, one a client */
	RIG_CLIENTS = 6,
	RIG_SEGMENTS = 128,
	RIG_HISTORY = 4096,
	RIG_KEYS = 200,
	RIG_VALUE_MAX = 20000,
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
	uint32_t groups;
	unsigned nclients, ops;
	struct rig_client client[RIG_CLIENTS];
	struct rig_call call[RIG_HISTORY];
	unsigned ncalls;
	uint64_t value_base; /* values count from here, which chooses their sizes */
	char key[RIG_KEYS][24];
	unsigned nkeys;
	unsigned segment;
	uint16_t suspected;
	uint64_t failures; /* what no run may show */
	uint32_t suspect_us, busy_us, cache;
	/* segments of the dead that were given back */
	unsigned nused;
	struct core_recycled used[RIG_SEGMENTS];
};

/* Clients that are opened from here on do without fault tolerance. */
static bool rig_ft_off;
/* And look at the epoch of reclamation so often; 0 never. */
static uint32_t rig_reclaim_us;

/* The values of a history are numbers; in the table each is a block whose length and bytes follow
 * from the number, so that a torn one is known. */
static inline uint32_t rig_value_size(uint64_t v)
{
	uint64_t h = v * 0x9e3779b97f4a7c15ull >> 40;

	return 8 + (uint32_t)(h % 97 == 0 ? h % RIG_VALUE_MAX : h % 3 == 0 ? h % 900 : h % 40);
}

static inline uint32_t rig_value_make(uint8_t *to, uint64_t v)
{
	uint32_t n = rig_value_size(v);

	memcpy(to, &v, 8);
	for (uint32_t i = 8; i < n; i++)
		to[i] = (uint8_t)(v + i);
	return n;
}

static inline uint64_t rig_value_read(const uint8_t *from, uint32_t n)
{
	uint64_t v;

	if (n < 8)
		return UINT64_MAX;
	memcpy(&v, from, 8);
	if (n != rig_value_size(v))
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
static inline uint64_t rig_log(const struct rig *g, uint16_t cid)
{
	return index_heap_offset(g->groups, 0) + (RIG_SEGMENTS - cid) * (uint64_t)INDEX_SEGMENT;
}

/* As a shard does when it admits a client. */
static inline void rig_pin(struct rig *g, uint16_t cid, uint16_t epoch)
{
	uint8_t *table = g->w.region[RIG_TABLE].base;
	uint64_t pin = (uint64_t)epoch << 48 | *(uint64_t *)(void *)(table + INDEX_RECLAIM_OFFSET);

	memcpy(table + index_pin_at(index_heap_offset(g->groups, 0),
				    RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT, cid),
	       &pin, sizeof(pin));
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
		.groups = g->groups,
		.table_offset = INDEX_SUPER_SIZE,
		.heap_offset = index_heap_offset(g->groups, 0),
		.log_base = rig_log(g, cid),
		.heap_size = RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT,
		.cache = g->cache,
		.ft_off = rig_ft_off,
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
		.log_base = rig_log(g, cid),
	};
	rig_pin(g, cid, epoch);
	if (core_open(&c->core, &race_engine, &conf))
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
static inline void rig_open(struct rig *g, uint64_t seed, unsigned clients, unsigned ops,
			    uint32_t groups)
{
	memset(g, 0, sizeof(*g));
	g->w.random = seed * 0x9e3779b97f4a7c15ull + 0x1234567;
	for (unsigned i = 0; i < 4; i++)
		fake_random(&g->w);
	g->groups = groups;
	g->ops = ops;
	g->nclients = clients;
	g->now_ns = 1000000;
	g->suspect_us = 20;
	g->busy_us = 100000;
	g->w.region[RIG_TABLE].size = index_table_region_size(groups, 0, RIG_SEGMENTS);
	g->w.region[RIG_CONTROL].size = index_control_region_size(RIG_SEGMENTS);
	for (unsigned i = 0; i < RIG_CLIENTS; i++)
		g->w.region[RIG_LOCAL + i].size = core_local_size(&race_engine, ops);
	for (unsigned i = 0; i < RIG_LOCAL + RIG_CLIENTS; i++) {
		g->w.region[i].base = rig_memory(i, g->w.region[i].size);
		if (i < RIG_LOCAL) /* of the heap nobody reads what nobody wrote */
			memset(g->w.region[i].base, 0,
			       i == RIG_TABLE ? index_heap_offset(groups, 0) : g->w.region[i].size);
	}
	for (unsigned i = 1; i <= RIG_CLIENTS; i++) { /* splits use the first slot */
		uint8_t *log = g->w.region[RIG_TABLE].base + rig_log(g, (uint16_t)i);

		memset(log, 0, INDEX_LOG_SLOT);
		memset(log + INDEX_OUTCOMES, 0, INDEX_TOMBS * 8);
	}
	memset(g->w.region[RIG_TABLE].base + index_pin_at(index_heap_offset(groups, 0),
							 RIG_SEGMENTS * (uint64_t)INDEX_SEGMENT, 0),
	       0, INDEX_CLIENTS * 8);
	g->w.region[RIG_TABLE].base[INDEX_RECLAIM_OFFSET] = 1;
	g->cache = seed % 2 ? 0 : 16;
	for (unsigned i = 0; i < clients; i++)
		rig_client_open(g, i, (uint16_t)(i + 1), 1);
}

static inline void rig_close(struct rig *g)
{
	for (unsigned i = 0; i < g->nclients; i++)
		core_close(g->client[i].core);
	fake_free(&g->w);
}

/* @n keys whose fingerprints are all the same, as a test of what a fingerprint cannot tell. */
static inline void rig_keys(struct rig *g, unsigned n, bool same_fp)
{
	struct kv_place first, p;

	for (unsigned i = 0, k = 0; k < n; i++) {
		snprintf(g->key[k], sizeof(g->key[k]), "key-%u", i);
		kv_place(&p, g->key[k], (uint32_t)strlen(g->key[k]), g->groups);
		if (k == 0)
			first = p;
		if (!same_fp || p.fp == first.fp)
			k++;
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
		call->op.result = out->result == ATOLL_OK          ? LIN_OK
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
		call->op.value = rig_value_read(out->value, out->value_len);
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
	struct rig_call *call = &g->call[g->ncalls];
	uint8_t value[8 + RIG_VALUE_MAX];
	uint32_t len;

	*call = (struct rig_call){.rig = g, .client = &g->client[client]};
	call->op = (struct lin_op){
		.key = key,
		.called = ++g->tick,
		.value = 1 + g->value_base + g->ncalls,
		.kind = kinds[op],
		.result = LIN_UNKNOWN,
	};
	len = rig_value_make(value, call->op.value);
	if (core_submit(g->client[client].core, op, g->key[key], strlen(g->key[key]), value, len,
			rig_done, call))
		return NULL;
	g->ncalls++;
	return call;
}

static inline uint64_t rig_heap(const struct rig *g)
{
	return index_heap_offset(g->groups, 0);
}

#include "tests/unit/rig_recycle.h"

static inline void rig_chunk(struct rig *g, unsigned i)
{
	uint64_t heap = index_heap_offset(g->groups, 0);

	((struct index_segment *)(void *)(g->w.region[RIG_CONTROL].base +
					  INDEX_SEGMENT_TABLE_OFFSET))[g->segment] =
		(struct index_segment){g->client[i].cid, g->client[i].epoch, 1};
	core_chunk_add(g->client[i].core, heap + g->segment++ * (uint64_t)INDEX_SEGMENT,
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

		for (unsigned i = 0; i < g->nclients; i++)
			if (!g->client[i].dead)
				pending += core_pending(g->client[i].core);
		if (!pending)
			return true;
		rig_turn(g);
	}
	return false;
}

/* What a look at the table itself found. */
struct rig_look {
	uint64_t faults, leaves, retired, locked, pending, tombs, live[RIG_KEYS];
};

static inline void rig_look_slot(struct rig *g, struct rig_look *l, uint64_t word,
				 const struct index_subtable *head)
{
	const struct index_kv *kv =
		(const void *)(g->w.region[RIG_TABLE].base + index_slot_offset(word));

	word &= ~INDEX_SLOT_MOVE;
	if (!word)
		return;
	if (index_slot_tomb(word)) {
		const struct index_client *line = rig_line(g, index_tomb_cid(word));

		l->tombs++;
		l->faults += line->state != INDEX_CLIENT_DEAD && line->epoch == index_tomb_epoch(word);
		return;
	}
	if (!kv_whole(kv, INDEX_KV_ROOM_MAX)) {
		l->faults++;
		return;
	}
	if (index_slot_pending(word)) {
		l->pending++;
		l->faults += rig_line(g, kv->cid)->state != INDEX_CLIENT_DEAD &&
			     rig_line(g, kv->cid)->epoch == kv->epoch;
		return;
	}
	l->faults +=
		(uint64_t)kv_prefix(kv_key(kv), kv->klen) >> (32 - head->depth) != head->prefix;
	for (unsigned k = 0; k < g->nkeys; k++)
		if (kv_key_is(kv, g->key[k], (uint32_t)strlen(g->key[k])))
			l->faults += l->live[k]++ != 0;
}

/* The leaves below @at: no key twice or astray, no torn block, PEND and locks only of the dead. */
static inline void rig_look_sub(struct rig *g, struct rig_look *l, uint64_t at)
{
	const uint8_t *base = g->w.region[RIG_TABLE].base;
	const struct index_subtable *head = (const void *)(base + at);
	const struct index_bucket *b = (const void *)(head + 1);
	uint16_t cid = index_lock_cid(head->lock);

	if (head->lock) {
		l->locked++;
		l->faults += rig_line(g, cid)->state != INDEX_CLIENT_DEAD &&
			     rig_line(g, cid)->epoch == index_lock_epoch(head->lock);
	}
	if (head->next) {
		l->retired++;
		rig_look_sub(g, l, head->next);
		rig_look_sub(g, l, head->next + index_subtable_size(g->groups));
		return;
	}
	l->leaves++;
	for (uint32_t i = 0; i < g->groups * INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS; i++)
		rig_look_slot(g, l, b[i / INDEX_BUCKET_SLOTS].slot[i % INDEX_BUCKET_SLOTS], head);
}

static inline uint64_t rig_table_faults(struct rig *g)
{
	struct rig_look l = {0};

	rig_look_sub(g, &l, INDEX_SUPER_SIZE);
	return l.faults;
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

#endif
