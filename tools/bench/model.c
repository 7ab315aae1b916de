/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/kv.h"
#include "clients/index/race.h"
#include "proto/atoll_proto.h"
#include "proto/index_directory.h"
#include "services/index-shard/store.h"
#include "tools/bench/ycsb_run.h"

enum {
	SHARDS = 8,
	CLIENTS = 16,
	WINDOW = 16,
	RECORDS = 10000,
	SEGMENTS = 4096, /* of a shard's heap: memory that is not touched costs nothing */
	CHUNK = 8,	 /* segments */
	EVENTS = CLIENTS * SHARDS * (WINDOW + 8) * 4,
	RECLAIM_US = 10000,
	TIMER_NS = 50000,  /* a client looks at its clock so often */
	ANSWER_NS = 20000, /* the shard's answer to who wants a chunk */
	TABLE = 1, /* handles */
	CONTROL = 2,
	LOCAL = 3,
};

struct model;
struct client;

struct chain {
	struct chain *next; /* free, or answered */
	struct port *port;
	uint64_t cookie;
	unsigned n;
	struct verb verb[VERB_CHAIN_MAX];
};

struct shard {
	struct store store;
	uint8_t *table, *control;
	uint64_t table_size, control_size;
	double busy_until, busy;
};

/* A client at one shard. */
struct port {
	struct verbs v;
	struct model *m;
	struct client *client;
	struct shard *shard;
	struct core *core;
	uint8_t *local;
	uint64_t local_size;
	bool wants_chunk;
	unsigned posted; /* in this turn */
	struct chain *answered, **answered_end;
};

struct slot {
	struct client *client;
	struct slot *next;
	uint64_t record;
};

struct client {
	struct model *m;
	struct port port[SHARDS];
	struct slot slot[WINDOW], *free;
	struct ycsb y;
	double free_at, busy;		/* its core */
	double node_until, node_busy; /* its node's dataplane */
	double turn_at;			/* of its next turn; 0: none is to come */
};

struct event {
	double at;
	uint64_t order;
	enum { ARRIVE, ANSWER, TURN } kind;
	struct chain *chain;
	struct client *client;
};

struct model {
	struct model_cost cost;
	struct index_directory directory; /* of so many members; their names do not matter */
	struct shard shard[SHARDS];
	struct client client[CLIENTS];
	unsigned nclients, window;
	struct event heap[EVENTS];
	unsigned nevents;
	uint64_t order, begun, done, ops, loaded;
	struct chain *chains; /* free */
	struct chain chain[EVENTS];
	double now;
	const struct ycsb_workload *w; /* NULL: the load */
	const char *wrong;
	uint8_t value[YCSB_VALUE];
};

/* ------------------------------------------------------------------ events */

static bool earlier(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void event_add(struct model *m, struct event e)
{
	unsigned i = m->nevents++;

	e.order = m->order++;
	for (; i && earlier(&e, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = e;
}

static struct event event_take(struct model *m)
{
	struct event first = m->heap[0], last = m->heap[--m->nevents];
	unsigned i = 0, k;

	while ((k = 2 * i + 1) < m->nevents) {
		k += k + 1 < m->nevents && earlier(&m->heap[k + 1], &m->heap[k]);
		if (!earlier(&m->heap[k], &last))
			break;
		m->heap[i] = m->heap[k];
		i = k;
	}
	m->heap[i] = last;
	return first;
}

/* A turn of the client's at @at, or when its core is free; the earliest that is wanted is taken. */
static void turn_want(struct client *c, double at)
{
	at = at > c->free_at ? at : c->free_at;
	if (c->turn_at != 0 && c->turn_at <= at)
		return;
	c->turn_at = at;
	event_add(c->m, (struct event){.at = at, .kind = TURN, .client = c});
}

/* ------------------------------------------------------------------ verbs */

static int port_post(struct verbs *v, uint32_t lane, const struct verb *chain, unsigned n, uint64_t cookie)
{
	struct port *p = (struct port *)v;
	struct model *m = p->m;
	struct client *c = p->client;
	struct chain *k = m->chains;
	double cost = 0, from = c->free_at;

	(void)lane;
	if (!k || m->nevents + 2 >= EVENTS)
		return -EAGAIN;
	if (verbs_chain_check(chain, n))
		return -EINVAL;
	m->chains = k->next;
	*k = (struct chain){.port = p, .cookie = cookie, .n = n};
	memcpy(k->verb, chain, n * sizeof(*chain));
	for (unsigned i = 0; i < n; i++)
		cost += m->cost.verb_ns + chain[i].len * m->cost.byte_ns;
	c->free_at += m->cost.chain_ns;
	c->busy += m->cost.chain_ns;
	c->node_until = (c->node_until > from ? c->node_until : from) + cost;
	c->node_busy += cost;
	event_add(m, (struct event){.at = c->node_until + m->cost.wire_ns, .kind = ARRIVE, .chain = k});
	return 0;
}

static void port_flush(struct verbs *v)
{
	(void)v;
}

static int port_poll(struct verbs *v, struct verb_completion *out, unsigned max)
{
	struct port *p = (struct port *)v;
	unsigned n = 0;

	while (n < max && p->answered) {
		struct chain *k = p->answered;

		p->answered = k->next;
		out[n] = (struct verb_completion){.cookie = k->cookie, .count = (uint8_t)k->n};
		_Static_assert(STATUS_OK == 0, "all are well");
		n++;
		k->next = p->m->chains;
		p->m->chains = k;
	}
	if (!p->answered)
		p->answered_end = &p->answered;
	return (int)n;
}

static void port_idle(struct verbs *v)
{
	(void)v;
}

static const struct verbs_ops port_ops = {port_post, port_flush, port_poll, port_idle};

static void execute(struct model *m, struct port *p, const struct verb *v)
{
	struct shard *s = p->shard;
	uint8_t *base = v->remote.slot == TABLE ? s->table : s->control;
	uint64_t size = v->remote.slot == TABLE ? s->table_size : s->control_size, old;

	if (v->remote_offset > size || v->len > size - v->remote_offset || v->local_offset > p->local_size ||
	    v->len > p->local_size - v->local_offset) {
		m->wrong = "a verb out of its region";
		return;
	}
	base += v->remote_offset;
	switch ((enum verb_op)v->op) {
	case VERB_READ:
		memcpy(p->local + v->local_offset, base, v->len);
		break;
	case VERB_WRITE:
		memcpy(base, p->local + v->local_offset, v->len);
		break;
	case VERB_CAS:
	case VERB_FAA:
		memcpy(&old, base, 8);
		memcpy(p->local + v->local_offset, &old, 8);
		if (v->op == VERB_FAA)
			old += v->swap;
		else if (old == v->compare)
			old = v->swap;
		memcpy(base, &old, 8);
		break;
	}
}

static void arrive(struct model *m, struct chain *k)
{
	struct shard *s = k->port->shard;
	double cost = 0, extra = 0;

	for (unsigned i = 0; i < k->n; i++) {
		cost += m->cost.verb_ns + k->verb[i].len * m->cost.byte_ns;
		extra += i && (k->verb[i].flags & VERB_FENCE) ? 2 * m->cost.wire_ns : 0;
		execute(m, k->port, &k->verb[i]);
	}
	s->busy_until = (s->busy_until > m->now ? s->busy_until : m->now) + cost;
	s->busy += cost;
	event_add(m, (struct event){.at = s->busy_until + extra + m->cost.wire_ns, .kind = ANSWER, .chain = k});
}

/* ------------------------------------------------------------------ clients */

static uint64_t port_now(void *owner)
{
	return (uint64_t)((struct port *)owner)->m->now + 1;
}

static void port_want_chunk(void *owner)
{
	((struct port *)owner)->wants_chunk = true;
}

static void port_suspect(void *owner, uint16_t cid, uint16_t epoch)
{
	(void)owner;
	(void)cid;
	(void)epoch; /* all live */
}

static void on_done(void *arg, const struct atoll_outcome *o)
{
	struct slot *s = arg;
	struct client *c = s->client;

	if (o->result != ATOLL_OK)
		c->m->wrong = atoll_result_text(o->result);
	if (o->op == ATOLL_GET && (o->value_len != YCSB_VALUE || memcmp(o->value, &s->record, sizeof(s->record))))
		c->m->wrong = "the value of another record";
	s->next = c->free;
	c->free = s;
	c->m->done++;
}

static int submit(struct client *c)
{
	struct model *m = c->m;
	struct slot *s = c->free;
	enum ycsb_op op = m->w ? ycsb_op(&c->y, m->w) : YCSB_INSERT;
	char key[YCSB_KEY_MAX];
	size_t klen;
	unsigned member;
	int rc;

	s->record = m->w ? ycsb_record(&c->y) : m->loaded;
	klen = ycsb_key(s->record, key);
	member = index_directory_by_place(&m->directory, kv_cluster_place(key, (uint32_t)klen));
	memcpy(m->value, &s->record, sizeof(s->record));
	rc = core_submit(c->port[member].core, op == YCSB_INSERT ? ATOLL_INSERT : op == YCSB_READ ? ATOLL_GET : ATOLL_PUT,
			 key, klen, m->value, op == YCSB_READ ? 0 : YCSB_VALUE, on_done, s);
	if (rc)
		return rc;
	c->free = s->next;
	m->loaded += !m->w;
	m->begun++;
	return 0;
}

static void chunk_give(struct model *m, struct port *p)
{
	uint64_t offset = 0, size;

	p->wants_chunk = false;
	size = store_chunk(&p->shard->store, (uint16_t)(p->client - m->client + 1), 1, CHUNK, &offset);
	if (size)
		core_chunk_add(p->core, offset, size);
	else
		core_chunk_none(p->core, ATOLL_NO_SPACE, STATUS_LIMIT);
}

static void turn(struct model *m, struct client *c)
{
	if (c->turn_at != m->now)
		return; /* another one was earlier */
	c->turn_at = 0;
	c->free_at = m->now;
	for (unsigned i = 0; i < m->directory.n; i++) {
		struct port *p = &c->port[i];

		if (p->wants_chunk)
			chunk_give(m, p);
		core_poll(p->core);
	}
	while (c->free && m->begun < m->ops && submit(c) == 0)
		;
	/* Answers make the next turn, or the clock. */
	for (unsigned i = 0; i < m->directory.n; i++)
		if (c->port[i].wants_chunk)
			turn_want(c, m->now + ANSWER_NS);
	if (m->done < m->ops)
		turn_want(c, m->now + TIMER_NS);
}

/* ------------------------------------------------------------------ set up */

static int shard_make(struct shard *s, unsigned groups, unsigned depth, unsigned clients)
{
	s->table_size = index_table_region_size(groups, depth, SEGMENTS);
	s->control_size = index_control_region_size(SEGMENTS);
	s->table_size = (s->table_size + 4095) & ~4095ull;
	s->table = calloc(1, s->table_size);
	s->control = calloc(1, s->control_size);
	if (!s->table || !s->control)
		return -ENOMEM;
	store_format(&s->store, s->table, s->control, groups, depth, SEGMENTS, 7);
	for (unsigned c = 1; c <= clients; c++) {
		if (!store_log(&s->store, (uint16_t)c))
			return -ENOSPC;
		store_client_set(&s->store, (uint16_t)c, 1, INDEX_CLIENT_ALIVE);
	}
	return 0;
}

static int port_open(struct model *m, struct client *c, struct port *p, struct shard *s)
{
	static const uint32_t lane;
	const struct index_super *t = s->store.table;
	uint16_t cid = (uint16_t)(c - m->client + 1);
	struct core_config k = {
		.verbs = &p->v,
		.lanes = &lane,
		.nlanes = 1,
		.ops = m->window,
		.table = {TABLE, 1},
		.control = {CONTROL, 1},
		.local = {LOCAL, 1},
		.cid = cid,
		.epoch = 1,
		.heap_offset = t->heap_offset,
		.heap_size = t->heap_size,
		.log_base = s->store.client[cid].log_base,
		.groups = t->groups,
		.depth = t->depth,
		.table_offset = t->table_offset,
		.reclaim_us = RECLAIM_US,
		.suspect_us = 2000,
		.busy_us = 2000000,
		.seed = cid,
		.owner = p,
		.now_ns = port_now,
		.want_chunk = port_want_chunk,
		.suspect = port_suspect,
	};

	*p = (struct port){.v = {&port_ops}, .m = m, .client = c, .shard = s};
	p->answered_end = &p->answered;
	p->local_size = (core_local_size(&race_engine, m->window) + 63) & ~63ull;
	p->local = aligned_alloc(64, p->local_size);
	if (!p->local)
		return -ENOMEM;
	k.local_base = p->local;
	k.local_size = p->local_size;
	return core_open(&p->core, &race_engine, &k);
}

static int phase(struct model *m, const struct ycsb_workload *w, uint64_t ops)
{
	m->w = w;
	m->ops = ops;
	m->begun = m->done = 0;
	for (unsigned i = 0; i < m->nclients; i++) {
		if (w)
			ycsb_begin(&m->client[i].y, w->dist, RECORDS, i + 1);
		turn_want(&m->client[i], m->now + 1);
	}
	while ((m->done < m->ops || m->nevents) && !m->wrong) {
		struct event e;

		if (!m->nevents)
			return -EIO;
		e = event_take(m);
		m->now = e.at;
		switch (e.kind) {
		case ARRIVE:
			arrive(m, e.chain);
			break;
		case ANSWER:
			e.chain->next = NULL;
			*e.chain->port->answered_end = e.chain;
			e.chain->port->answered_end = &e.chain->next;
			turn_want(e.chain->port->client, m->now);
			break;
		case TURN:
			turn(m, e.client);
			break;
		}
	}
	return m->wrong ? -EIO : 0;
}

static void result_make(const struct model *m, double from, uint64_t ops, struct model_result *out)
{
	double ns = m->now - from;

	*out = (struct model_result){.rate = (double)ops * 1e9 / ns};
	out->idlest = 1;
	for (unsigned i = 0; i < m->directory.n; i++) {
		double busy = m->shard[i].busy / ns;

		out->shard = busy > out->shard ? busy : out->shard;
		out->idlest = busy < out->idlest ? busy : out->idlest;
	}
	for (unsigned i = 0; i < m->nclients; i++) {
		out->client = m->client[i].busy / ns > out->client ? m->client[i].busy / ns : out->client;
		out->node = m->client[i].node_busy / ns > out->node ? m->client[i].node_busy / ns : out->node;
	}
}

int model_run(const struct model_cost *cost, unsigned shards, unsigned clients, unsigned window, uint64_t ops,
	      int reads, struct model_result *out)
{
	struct model *m = calloc(1, sizeof(*m));
	unsigned depth, groups;
	double from;
	int rc = 0;

	if (!m)
		return -ENOMEM;
	if (shards == 0 || shards > SHARDS || clients == 0 || clients > CLIENTS || window == 0 || window > WINDOW) {
		free(m);
		return -EINVAL;
	}
	m->cost = *cost;
	m->directory.n = shards;
	m->nclients = clients;
	m->window = window;
	memset(m->value, 'v', sizeof(m->value));
	for (unsigned i = EVENTS; i-- > 0;) {
		m->chain[i].next = m->chains;
		m->chains = &m->chain[i];
	}
	groups = store_subtables(store_groups(RECORDS * 2 / shards), &depth);
	for (unsigned i = 0; i < shards && !rc; i++)
		rc = shard_make(&m->shard[i], groups, depth, clients);
	for (unsigned i = 0; i < clients && !rc; i++) {
		struct client *c = &m->client[i];

		c->m = m;
		for (unsigned s = 0; s < window; s++) {
			c->slot[s] = (struct slot){.client = c, .next = c->free};
			c->free = &c->slot[s];
		}
		for (unsigned s = 0; s < shards && !rc; s++)
			rc = port_open(m, c, &c->port[s], &m->shard[s]);
	}
	if (!rc)
		rc = phase(m, NULL, RECORDS);
	from = m->now;
	for (unsigned i = 0; i < shards; i++)
		m->shard[i].busy = 0;
	for (unsigned i = 0; i < clients; i++)
		m->client[i].busy = m->client[i].node_busy = 0;
	if (!rc)
		rc = phase(m, &ycsb_workloads[reads ? 2 : 0], ops);
	if (!rc)
		result_make(m, from, ops, out);
	else
		fprintf(stderr, "atoll-bench: model of %u shards: %s\n", shards, m->wrong ? m->wrong : strerror(-rc));
	for (unsigned i = 0; i < clients; i++)
		for (unsigned s = 0; s < shards; s++) {
			core_close(m->client[i].port[s].core);
			free(m->client[i].port[s].local);
		}
	for (unsigned i = 0; i < shards; i++) {
		free(m->shard[i].table);
		free(m->shard[i].control);
	}
	free(m);
	return rc;
}
