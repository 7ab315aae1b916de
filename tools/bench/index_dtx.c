/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transactions work on the heap of an index shard that has no other client: a way to much memory of
 * another node with all rights. YCSB's operations are given as ycsb_run.h does, but for a read-modify-write,
 * which is one transaction.
 */
#include "tools/bench/index_dtx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/endpoint.h"
#include "ipc/idle.h"
#include "proto/index_layout.h"
#include "tools/bench/dtx.h"
#include "tools/bench/index_clients.h"
#include "tools/bench/ycsb_run.h"

enum {
	RECORDS = 10000,
	WINDOW = 16,
	DEPTH = 32, /* as an index's client */
	ANSWER_MS = 5000,
	ITEM = (DTX_ITEM_HEAD + YCSB_KEY_MAX + YCSB_VALUE + DTX_LINE - 1) / DTX_LINE * DTX_LINE,
};

struct side {
	struct atoll_endpoint *ep;
	struct atoll_handle table;
	struct atoll_region local;
	struct dtx *d;
	uint64_t records, next, acked; /* as struct ycsb_table */
};

struct run;

struct slot {
	struct run *run;
	struct slot *next;
	uint64_t record;
	enum ycsb_op op;
};

struct run {
	struct side *s;
	struct slot slot[WINDOW], *free;
	unsigned running;
	uint64_t done;
	bool wrong;
	uint8_t value[YCSB_VALUE];
};

static uint64_t now(void *owner)
{
	(void)owner;
	return clock_now_ns();
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct side *s = ctx;

	if (m->opcode == OP_DP_GRANTED && m->arg[ARG_DP_GRANTED_TAG] == INDEX_TAG_TABLE)
		s->table = (struct atoll_handle){(uint32_t)m->arg[ARG_DP_GRANTED_SLOT],
						 (uint32_t)m->arg[ARG_DP_GRANTED_GEN]};
}

static void side_close(struct side *s)
{
	dtx_close(s->d);
	if (s->ep)
		atoll_detach(s->ep);
	s->d = NULL;
	s->ep = NULL;
}

static int side_open(struct side *s, const char *target, const char *socket)
{
	static const struct atoll_handlers handlers = {.event = on_event};
	struct atoll_endpoint_conf conf = {.socket = socket, .name = "bench-dtx", .kind = CTL_KIND_CLIENT};
	struct dtx_config c = {.item = ITEM, .cid = 1, .clients = 1, .ops = WINDOW, .now_ns = now};
	struct atoll_handle shard;
	struct proto_msg m, r;
	char err[256] = "";
	uint32_t node;
	int rc = atoll_attach(&s->ep, &conf, err, sizeof(err));

	if (rc) {
		s->ep = NULL;
		return rc;
	}
	atoll_set_handlers(s->ep, &handlers, s);
	rc = atoll_lookup(s->ep, target, &shard, &node, ANSWER_MS);
	if (!rc)
		rc = atoll_lane_open(s->ep, node, DEPTH, &c.lane, ANSWER_MS);
	if (!rc)
		rc = atoll_region_alloc(s->ep, dtx_local_size(WINDOW), 0, &s->local, err, sizeof(err));
	if (rc)
		return rc;
	proto_request_init(&m, OP_INDEX_OPEN);
	m.arg[ARG_INDEX_OPEN_VERSION] = INDEX_VERSION;
	m.nargs = 4;
	m.budget_us = ANSWER_MS * 1000;
	rc = atoll_call(s->ep, shard, &m, NULL, &r, NULL, ANSWER_MS);
	if (!rc)
		rc = atoll_status_errno(r.status);
	if (!rc && !s->table.gen)
		rc = -EACCES;
	if (rc)
		return rc;
	c.verbs = atoll_verbs(s->ep);
	c.table = s->table;
	c.base = r.arg[REPLY_INDEX_OPEN_HEAP_OFFSET];
	c.buckets = 1;
	/* The last segment is the client's log as an index has it. */
	c.buckets = (r.arg[REPLY_INDEX_OPEN_HEAP_SIZE] - INDEX_SEGMENT - dtx_table_size(&c)) /
		    (DTX_LINE + DTX_ITEMS * (uint64_t)ITEM);
	c.local = s->local.handle;
	c.local_base = s->local.base;
	return dtx_open(&s->d, &c);
}

static void acknowledge(struct side *s, uint64_t record)
{
	s->acked |= 1ull << (record - s->records);
	while (s->acked & 1) {
		s->acked >>= 1;
		s->records++;
	}
}

static void on_done(void *arg, enum dtx_result result, const void *value, size_t vlen)
{
	struct slot *k = arg;
	struct run *r = k->run;

	if (result != DTX_OK) {
		if (!r->wrong)
			fprintf(stderr, "atoll-bench: transaction on record %llu: result %d\n",
				(unsigned long long)k->record, (int)result);
		r->wrong = true;
	} else if (k->op == YCSB_INSERT) {
		acknowledge(r->s, k->record);
	} else if (vlen != YCSB_VALUE || memcmp(value, &k->record, sizeof(k->record))) {
		fprintf(stderr, "atoll-bench: a transaction met the value of another record\n");
		r->wrong = true;
	}
	k->next = r->free;
	r->free = k;
	r->running--;
	r->done++;
}

static int start(struct run *r, struct ycsb *y, const struct ycsb_workload *w)
{
	static const enum dtx_op ops[] = {
		[YCSB_READ] = DTX_GET, [YCSB_UPDATE] = DTX_UPDATE, [YCSB_INSERT] = DTX_INSERT, [YCSB_RMW] = DTX_UPDATE,
	};
	enum ycsb_op op = w ? ycsb_op(y, w) : YCSB_INSERT;
	struct slot *k = r->free;
	char key[YCSB_KEY_MAX];
	size_t klen;
	int rc;

	if (op == YCSB_INSERT && r->s->next - r->s->records >= YCSB_WINDOW_MAX)
		return -EAGAIN;
	y->records = r->s->records;
	k->op = op;
	k->record = op == YCSB_INSERT ? r->s->next : ycsb_record(y);
	klen = ycsb_key(k->record, key);
	memcpy(r->value, &k->record, sizeof(k->record));
	rc = dtx_submit(r->s->d, ops[op], key, klen, r->value, op == YCSB_READ ? 0 : YCSB_VALUE, on_done, k);
	if (rc)
		return rc;
	r->free = k->next;
	r->running++;
	r->s->next += op == YCSB_INSERT;
	return 0;
}

/* As in ycsb_run.c: until @n are done or it is @end. */
static int drive(struct side *s, struct ycsb *y, const struct ycsb_workload *w, uint64_t n, uint64_t end, uint64_t *done)
{
	struct run r = {.s = s};
	uint64_t begun = 0;
	int rc = 0;

	memset(r.value, 'v', sizeof(r.value));
	for (unsigned i = 0; i < WINDOW; i++) {
		r.slot[i].run = &r;
		r.slot[i].next = r.free;
		r.free = &r.slot[i];
	}
	for (unsigned turn = 0; begun < n || r.running; turn++) {
		int ended;

		while (begun < n && r.free && (rc = start(&r, y, w)) == 0)
			begun++;
		if (rc == -EAGAIN)
			rc = 0;
		if (rc || r.wrong)
			n = begun;
		ended = dtx_poll(s->d);
		if (ended < 0) {
			rc = ended;
			break;
		}
		if (ended == 0)
			atoll_idle(s->ep, 500000);
		if ((turn & 15) == 0 && clock_now_ns() >= end)
			n = begun;
	}
	*done = r.done;
	return rc ? rc : r.wrong ? -EIO : 0;
}

static int side_run(struct side *s, const struct ycsb_workload *w, uint64_t seed, uint64_t ns, double *rate)
{
	uint64_t from = clock_now_ns(), done = 0;
	struct ycsb y;
	int rc;

	ycsb_begin(&y, w ? w->dist : YCSB_UNIFORM, s->records, seed);
	from = clock_now_ns();
	rc = drive(s, &y, w, UINT64_MAX, from + ns, &done);
	*rate = (double)done * 1e9 / (double)(clock_now_ns() - from);
	return rc;
}

static int workload(struct bench *b, struct ycsb_table *t, struct side *s, const struct ycsb_workload *w)
{
	uint64_t ns = b->quick ? 30000000 : 100000000;
	struct rounds over = {0}, index = {0}, dtx = {0};
	const char *name = w ? w->name : "insert";
	char key[64];
	int rc = 0;

	for (unsigned i = 0; i < b->rounds && !rc; i++) {
		double v[2] = {0, 0};

		for (unsigned k = 0; k < 2 && !rc; k++)
			rc = (k ^ (i & 1)) ? side_run(s, w, i + 1, ns, &v[1]) : ycsb_run(t, w, WINDOW, i + 1, ns, &v[0]);
		rounds_add(&index, v[0]);
		rounds_add(&dtx, v[1]);
		rounds_add(&over, v[0] / v[1]);
	}
	if (rc)
		return rc;
	snprintf(key, sizeof(key), "index.over_dtx.%s", name);
	result(key, &over, "times", -1.5);
	snprintf(key, sizeof(key), "index.beside_dtx_rate.%s", name);
	result(key, &index, "op/s", 0);
	snprintf(key, sizeof(key), "index.dtx_rate.%s", name);
	result(key, &dtx, "op/s", 0);
	return 0;
}

static void trips_result(const struct dtx_stats *stats)
{
	static const char *const names[] = {"get", "update", "insert"};
	char key[64];

	for (unsigned i = 0; i < DTX_OP_KINDS; i++) {
		snprintf(key, sizeof(key), "index.dtx_rtts.%s", names[i]);
		result_one(key, (double)stats->least[i], "trips", 0);
	}
	for (unsigned i = 0; i < DTX_OP_KINDS; i++) {
		snprintf(key, sizeof(key), "index.dtx_rtts_mean.%s", names[i]);
		result_one(key, (double)stats->trips[i] / (double)stats->ops[i], "trips", 0);
	}
}

int dtx_measure(struct bench *b, const char *target, const char *memory, const struct atoll_index_options *options)
{
	static const unsigned which[] = {0, 5}; /* A and F */
	struct ycsb_table t = {.name = target};
	struct side s = {0};
	struct ycsb y;
	uint64_t done;
	int rc = bench_index_open(&t.ix, target, options);

	if (rc)
		return rc;
	rc = side_open(&s, memory, options->socket);
	if (rc)
		fprintf(stderr, "atoll-bench: %s: no memory for transactions: %s\n", memory, strerror(-rc));
	if (!rc)
		rc = ycsb_load(&t, RECORDS, WINDOW);
	ycsb_begin(&y, YCSB_UNIFORM, 1, 1);
	if (!rc)
		rc = drive(&s, &y, NULL, RECORDS, UINT64_MAX, &done);
	for (unsigned i = 0; i < 2 && !rc; i++)
		rc = workload(b, &t, &s, &ycsb_workloads[which[i]]);
	if (!rc)
		rc = workload(b, &t, &s, NULL);
	if (!rc)
		trips_result(dtx_stats(s.d));
	side_close(&s);
	atoll_index_close(t.ix);
	return rc;
}
