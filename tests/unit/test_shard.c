/* SPDX-License-Identifier: Apache-2.0 */
/* The shard's engine, with a fake dataplane that remembers what it was asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/index-shard/shard.h"

enum {
	GROUPS = 8,
	SEGMENTS = 20,
	ASKED = 64,
	REPLIES = 64
};

struct asked {
	uint16_t opcode;
	uint64_t args[5], cookie;
};

struct replied {
	uint64_t req_id;
	uint32_t status;
	uint64_t args[14];
	unsigned nargs;
	uint32_t len; /* of the payload */
};

static struct world {
	struct store store;
	struct shard *shard;
	void *table, *control;
	struct asked asked[ASKED];
	unsigned nasked, nanswered;
	struct replied replied[REPLIES];
	unsigned nreplied;
	int room; /* requests that the ring takes; negative: any number */
	uint64_t random, now_ns;
	unsigned said;
	uint8_t map[INDEX_MAP_SIZE], map_out[INDEX_MAP_SIZE];
} w;

static int fake_ask(void *ctx, uint16_t opcode, const uint64_t *args, unsigned nargs,
		    uint64_t cookie)
{
	struct asked *a = &w.asked[w.nasked];

	assert_ptr_equal(ctx, &w);
	if (w.room == 0)
		return -11;
	if (w.room > 0)
		w.room--;
	assert_true(w.nasked < ASKED && nargs <= 5);
	memset(a, 0, sizeof(*a));
	a->opcode = opcode;
	a->cookie = cookie;
	memcpy(a->args, args, nargs * sizeof(*args));
	w.nasked++;
	return 0;
}

static void fake_reply(void *ctx, const struct proto_msg *request, uint32_t status,
		       const uint64_t *args, unsigned nargs, const void *payload, uint32_t len)
{
	struct replied *r = &w.replied[w.nreplied++];

	assert_ptr_equal(ctx, &w);
	assert_true(w.nreplied < REPLIES && nargs <= 14);
	*r = (struct replied){.req_id = request->req_id, .status = status, .nargs = nargs};
	if (nargs)
		memcpy(r->args, args, nargs * sizeof(*args));
	r->len = len;
	if (len)
		memcpy(w.map_out, payload, len);
}

static uint64_t fake_random(void *ctx)
{
	(void)ctx;
	return ++w.random * 1000003;
}

static void fake_say(void *ctx, const char *line)
{
	(void)ctx;
	assert_non_null(line);
	w.said++;
}

static uint64_t fake_now(void *ctx)
{
	(void)ctx;
	return w.now_ns;
}

static const struct shard_io io = {
	.ask = fake_ask,
	.reply = fake_reply,
	.random = fake_random,
	.now_ns = fake_now,
	.say = fake_say,
};

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.room = -1;
	w.table = calloc(1, index_table_region_size(GROUPS, 0, SEGMENTS));
	w.control = calloc(1, index_control_region_size(SEGMENTS));
	store_format(&w.store, w.table, w.control, GROUPS, 0, SEGMENTS, 42);
	w.shard = shard_new(&w.store, 3, &io, &w);
	shard_handles_set(w.shard, &(struct shard_handles){5, 6, 7, 8});
	return w.shard ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	shard_free(w.shard);
	free(w.table);
	free(w.control);
	return 0;
}

static const struct index_client *line(unsigned cid)
{
	return &w.store.client[cid];
}

/* Answers everything that was asked and not yet answered. */
static void answer_all(uint32_t status)
{
	while (w.nanswered < w.nasked)
		shard_answer(w.shard, w.asked[w.nanswered++].cookie, status);
}

static uint64_t send(uint16_t opcode, uint32_t src, const uint64_t *args, unsigned n)
{
	static uint64_t id;
	struct proto_msg m;

	proto_request_init(&m, opcode);
	m.src = src;
	m.src_epoch = src * 10;
	m.req_id = ++id;
	memcpy(m.arg, args, n * sizeof(*args));
	m.nargs = (uint8_t)n;
	m.length = opcode == OP_INDEX_RECYCLE ? INDEX_MAP_SIZE : 0;
	m.max_reply = INDEX_MAP_SIZE;
	shard_message(w.shard, &m, w.map);
	return id;
}

static const struct replied *last(void)
{
	assert_true(w.nreplied > 0);
	return &w.replied[w.nreplied - 1];
}

/* Opens and answers all; the reply. */
static const struct replied *open_as(uint32_t src, const struct replied *old)
{
	uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};

	if (old)
		memcpy(args + 1, old->args, 3 * sizeof(*args));
	send(OP_INDEX_OPEN, src, args, 4);
	answer_all(STATUS_OK);
	answer_all(STATUS_OK);
	return last();
}

static void test_open(void **state)
{
	const uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};
	uint64_t id;
	const struct replied *r;

	(void)state;
	id = send(OP_INDEX_OPEN, 3, args, 4);
	assert_int_equal(w.nreplied, 0);
	/* watched first, then both grants, to the request that is not answered yet */
	assert_int_equal(w.nasked, 3);
	assert_int_equal(w.asked[0].opcode, OP_DP_WATCH);
	assert_int_equal(w.asked[0].args[0], 3);
	assert_int_equal(w.asked[0].args[1], 30);
	assert_int_equal(w.asked[1].opcode, OP_DP_GRANT);
	assert_int_equal(w.asked[1].args[ARG_DP_GRANT_SLOT], 5);
	assert_int_equal(w.asked[1].args[ARG_DP_GRANT_RIGHTS],
			 RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC);
	assert_int_equal(w.asked[1].args[ARG_DP_GRANT_TOKEN], id);
	assert_int_equal(w.asked[1].args[ARG_DP_GRANT_TAG], INDEX_TAG_TABLE);
	assert_int_equal(w.asked[2].args[ARG_DP_GRANT_SLOT], 7);
	assert_int_equal(w.asked[2].args[ARG_DP_GRANT_RIGHTS], RIGHT_READ);
	assert_int_equal(w.asked[2].args[ARG_DP_GRANT_TAG], INDEX_TAG_CONTROL);
	answer_all(STATUS_OK);
	r = last();
	assert_int_equal(r->req_id, id);
	assert_int_equal(r->status, STATUS_OK);
	assert_int_equal(r->args[REPLY_INDEX_OPEN_CID], 1);
	assert_int_equal(r->args[REPLY_INDEX_OPEN_EPOCH], 1);
	assert_int_equal(r->args[REPLY_INDEX_OPEN_GROUPS], GROUPS);
	assert_int_equal(r->args[REPLY_INDEX_OPEN_HEAP_SIZE], SEGMENTS * INDEX_SEGMENT);
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);
	assert_int_equal(line(1)->cid, 1);
	assert_int_equal(line(1)->epoch, 1);
}

static void test_open_refused(void **state)
{
	const uint64_t wrong[4] = {INDEX_VERSION + 1, 0, 0, 0};

	(void)state;
	send(OP_INDEX_OPEN, 3, wrong, 4);
	assert_int_equal(last()->status, STATUS_UNSUPPORTED);
	assert_int_equal(open_as(3, NULL)->status, STATUS_OK);
	assert_int_equal(open_as(3, NULL)->status, STATUS_EXISTS); /* the same endpoint */
	assert_int_equal(open_as(4, NULL)->status, STATUS_OK);
	assert_int_equal(open_as(5, NULL)->status, STATUS_OK);
	assert_int_equal(open_as(6, NULL)->status, STATUS_LIMIT);
	shard_peer_gone(w.shard, 4, 40, false);
	answer_all(STATUS_OK);
	assert_int_equal(open_as(6, NULL)->status, STATUS_OK);
}

/* DEAD is not written before the fence has been acknowledged, however often it must be asked for.
 */
static void test_death(void **state)
{
	(void)state;
	open_as(3, NULL);
	shard_peer_gone(w.shard, 9, 90, false);
	shard_peer_gone(w.shard, 3, 29, false); /* an earlier life of the endpoint */
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);
	shard_peer_gone(w.shard, 3, 30, false);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	assert_int_equal(w.asked[w.nasked - 1].opcode, OP_DP_FENCE);
	assert_int_equal(w.asked[w.nasked - 1].args[0], 3);
	assert_int_equal(w.asked[w.nasked - 1].args[1], 30);
	answer_all(STATUS_LIMIT);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	assert_false(shard_tick(w.shard));
	assert_int_equal(w.asked[w.nasked - 1].opcode, OP_DP_FENCE);
	answer_all(STATUS_OK);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	/* what is answered twice, or for nobody, changes nothing */
	shard_answer(w.shard, w.asked[w.nasked - 1].cookie, STATUS_OK);
	shard_answer(w.shard, UINT64_MAX, STATUS_OK);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
}

/* A client that comes back: its old identity is dead before it gets the answer. */
static void test_reopen(void **state)
{
	const struct replied first = *open_as(3, NULL);
	uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};
	struct replied wrong = first;
	unsigned before;

	(void)state;
	wrong.args[REPLY_INDEX_OPEN_SECRET]++;
	assert_int_equal(open_as(4, &wrong)->status, STATUS_DENIED);
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);

	wrong.args[REPLY_INDEX_OPEN_SECRET] ^= 1ull << 63; /* of an index that was lost */
	assert_int_equal(open_as(4, &wrong)->status, STATUS_NOT_FOUND);
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);

	memcpy(args + 1, first.args, 3 * sizeof(*args));
	before = w.nreplied;
	send(OP_INDEX_OPEN, 4, args, 4);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	assert_int_equal(w.asked[w.nasked - 1].opcode, OP_DP_FENCE);
	shard_answer(w.shard, w.asked[w.nasked - 1].cookie, STATUS_OK);
	w.nanswered = w.nasked - 3;
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	assert_int_equal(w.nreplied, before);
	answer_all(STATUS_OK);
	assert_int_equal(last()->status, STATUS_OK);
	assert_int_equal(last()->args[REPLY_INDEX_OPEN_CID], 2);
	/* named once more, it is dead already: nothing to wait for */
	assert_int_equal(open_as(5, &first)->status, STATUS_OK);
}

static void test_numbers_again(void **state)
{
	(void)state;
	for (unsigned i = 1; i < INDEX_CLIENTS; i++)
		store_client_set(&w.store, (uint16_t)i, (uint16_t)(i == 700 ? 3 : 4),
				 i == 5 ? INDEX_CLIENT_FENCING : INDEX_CLIENT_DEAD);
	shard_free(w.shard);
	w.shard = shard_new(&w.store, 3, &io, &w);
	assert_int_equal(open_as(3, NULL)->args[REPLY_INDEX_OPEN_CID], 700);
	assert_int_equal(last()->args[REPLY_INDEX_OPEN_EPOCH], 4);
	assert_int_equal(open_as(4, NULL)->args[REPLY_INDEX_OPEN_EPOCH], 5);
	for (unsigned i = 1; i < INDEX_CLIENTS; i++)
		store_client_set(&w.store, (uint16_t)i, INDEX_EPOCH_MAX, INDEX_CLIENT_DEAD);
	assert_int_equal(open_as(5, NULL)->status, STATUS_LIMIT);
}

/* Ended before it was watched: the grant finds no request, and that is its death. */
static void test_open_dies(void **state)
{
	const uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};

	(void)state;
	send(OP_INDEX_OPEN, 3, args, 4);
	shard_answer(w.shard, w.asked[0].cookie, STATUS_OK);
	shard_answer(w.shard, w.asked[1].cookie, STATUS_NOT_FOUND);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	shard_answer(w.shard, w.asked[2].cookie, STATUS_NOT_FOUND);
	assert_int_equal(w.asked[3].opcode, OP_DP_FENCE);
	shard_answer(w.shard, w.asked[3].cookie, STATUS_NO_RIGHT);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	assert_int_equal(last()->status, STATUS_NOT_FOUND);
	assert_int_equal(w.nreplied, 1);
}

static void test_no_room(void **state)
{
	const uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};

	(void)state;
	w.room = 1;
	send(OP_INDEX_OPEN, 3, args, 4);
	assert_int_equal(w.nasked, 1);
	assert_true(shard_tick(w.shard));
	answer_all(STATUS_OK);
	assert_int_equal(w.nreplied, 0);
	w.room = 1;
	assert_true(shard_tick(w.shard));
	answer_all(STATUS_AGAIN); /* the link was full */
	w.room = 2;
	assert_false(shard_tick(w.shard));
	answer_all(STATUS_OK);
	assert_int_equal(last()->status, STATUS_OK);
	w.room = 0;
	shard_peer_gone(w.shard, 3, 30, false);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	w.room = -1;
	assert_false(shard_tick(w.shard));
	answer_all(STATUS_OK);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
}

static void test_chunks(void **state)
{
	uint64_t args[2] = {1, 1}, at = w.store.table->heap_offset, total = 0;

	(void)state;
	open_as(3, NULL);
	send(OP_INDEX_CHUNK, 4, args, 2);
	assert_int_equal(last()->status, STATUS_DENIED);
	args[1] = 0;
	send(OP_INDEX_CHUNK, 3, args, 2);
	assert_int_equal(last()->status, STATUS_FENCED);
	args[1] = 2;
	send(OP_INDEX_CHUNK, 3, args, 2);
	assert_int_equal(last()->status, STATUS_NOT_FOUND);
	args[1] = 1;
	for (;;) {
		send(OP_INDEX_CHUNK, 3, args, 2);
		if (last()->status != STATUS_OK)
			break;
		assert_int_equal(last()->args[REPLY_INDEX_CHUNK_OFFSET], at + total);
		assert_int_equal(last()->args[REPLY_INDEX_CHUNK_SIZE] % INDEX_SEGMENT, 0);
		assert_true(last()->args[REPLY_INDEX_CHUNK_SIZE] <= INDEX_CHUNK_MAX);
		total += last()->args[REPLY_INDEX_CHUNK_SIZE];
	}
	assert_int_equal(last()->status, STATUS_LIMIT);
	assert_int_equal(total, (SEGMENTS - 1) * INDEX_SEGMENT); /* and a log */
	assert_int_equal(w.said, 1);
	assert_int_equal(w.store.segment[0].run, 1);
	assert_int_equal(w.store.segment[SEGMENTS - 2].cid, 1);
	assert_int_equal(w.store.segment[SEGMENTS - 1].run, INDEX_RUN_LOG);
	shard_peer_gone(w.shard, 3, 30, false);
	send(OP_INDEX_CHUNK, 3, args, 2);
	assert_int_equal(last()->status, STATUS_FENCED);
}

static void test_suspect(void **state)
{
	uint64_t args[2] = {1, 1};

	(void)state;
	send(OP_INDEX_SUSPECT, 9, args, 2);
	assert_int_equal(last()->args[0], CLIENT_STATE_UNKNOWN);
	open_as(3, NULL);
	send(OP_INDEX_SUSPECT, 9, args, 2);
	assert_int_equal(last()->args[0], CLIENT_STATE_ALIVE);
	assert_int_equal(w.asked[w.nasked - 1].opcode, OP_DP_WATCH);
	answer_all(STATUS_OK);
	shard_peer_gone(w.shard, 3, 30, false);
	send(OP_INDEX_SUSPECT, 9, args, 2);
	assert_int_equal(last()->args[0], CLIENT_STATE_FENCING);
	answer_all(STATUS_OK);
	send(OP_INDEX_SUSPECT, 9, args, 2);
	assert_int_equal(last()->args[0], CLIENT_STATE_DEAD);
	args[0] = INDEX_CLIENTS + 1;
	send(OP_INDEX_SUSPECT, 9, args, 2);
	assert_int_equal(last()->args[0], CLIENT_STATE_UNKNOWN);
	send(OP_INDEX_STAT, 9, args, 0);
	assert_int_equal(last()->args[REPLY_INDEX_STAT_CLIENTS], 0);
	assert_int_equal(last()->args[REPLY_INDEX_STAT_DEAD], 1);
	assert_int_equal(last()->args[REPLY_INDEX_STAT_CHUNKS], SEGMENTS);
}

/* Who hangs is dead after a lease of silence, if somebody waits for it; who lives is not. */
static void test_lease(void **state)
{
	uint64_t args[2] = {1, 1}, *beat;

	(void)state;
	shard_lease_set(w.shard, 50000000);
	open_as(3, NULL);
	beat = (uint64_t *)(void *)((char *)w.table + line(1)->log_base + INDEX_BEAT);
	for (unsigned i = 0; i < 20; i++) { /* suspected again and again, and living */
		send(OP_INDEX_SUSPECT, 9, args, 2);
		answer_all(STATUS_OK);
		w.now_ns += 30000000;
		++*beat;
		shard_tick(w.shard);
		assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);
	}
	w.now_ns += 1000000000; /* silent, but nobody minds */
	shard_tick(w.shard);
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);
	send(OP_INDEX_SUSPECT, 9, args, 2);
	answer_all(STATUS_OK);
	w.now_ns += 49000000;
	assert_true(shard_tick(w.shard));
	assert_int_equal(line(1)->state, INDEX_CLIENT_ALIVE);
	w.now_ns += 2000000;
	shard_tick(w.shard);
	assert_int_equal(line(1)->state, INDEX_CLIENT_FENCING);
	answer_all(STATUS_OK);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	assert_false(shard_tick(w.shard));
}

/* The dataplane was restarted: every right has gone with it. */
static void test_restarted(void **state)
{
	const uint64_t args[4] = {INDEX_VERSION, 0, 0, 0};
	const struct replied first = *open_as(3, NULL);

	(void)state;
	send(OP_INDEX_OPEN, 4, args, 4); /* on its way */
	shard_restarted(w.shard);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	assert_int_equal(line(2)->state, INDEX_CLIENT_DEAD);
	answer_all(STATUS_UNREACHABLE); /* of the old dataplane */
	assert_int_equal(w.nreplied, 1);
	assert_int_equal(open_as(5, &first)->status, STATUS_OK);
	assert_int_equal(last()->args[REPLY_INDEX_OPEN_CID], 3);
}

/* The shard was restarted: it takes its regions back, and nothing that is not an index. */
static void test_adopt(void **state)
{
	uint64_t ts = index_table_region_size(GROUPS, 0, SEGMENTS), args[2] = {1, 1};
	uint64_t cs = index_control_region_size(SEGMENTS);
	struct index_super *t = w.table, *c = w.control, good = *t;
	struct store s;

	(void)state;
	open_as(3, NULL);
	for (int i = 0; i < 3; i++)
		send(OP_INDEX_CHUNK, 3, args, 2);
	assert_null(store_adopt(&s, w.table, ts, w.control, cs));
	assert_int_equal(s.used, 1 + 1 + 2);
	assert_int_equal(s.logs, 1);
	assert_int_equal(s.segments, SEGMENTS);
	assert_int_equal(line(1)->state, INDEX_CLIENT_DEAD);
	assert_int_equal(line(1)->epoch, 1);

	assert_non_null(store_adopt(&s, w.table, ts - 4096, w.control, cs));
	assert_non_null(store_adopt(&s, w.table, ts, w.control, 64));
	t->magic++;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	*t = good;
	t->version++;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	*t = good;
	c->table_id++;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	c->table_id--;
	t->groups = c->groups = UINT32_MAX;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	t->groups = c->groups = GROUPS;
	t->heap_size = c->heap_size = UINT64_MAX;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	t->heap_size = c->heap_size = good.heap_size;
	t->heap_offset += 64;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	*t = good;
	w.store.segment[3].cid = INDEX_CLIENTS;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	w.store.segment[3].cid = 1;
	w.store.client[9].state = 7;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	w.store.client[9].state = 0;
	assert_null(store_adopt(&s, w.table, ts, w.control, cs));
}

/* The same for a tree. */
static void test_adopt_tree(void **state)
{
	uint64_t ts = index_tree_region_size(SEGMENTS), cs = index_control_region_size(SEGMENTS);
	struct index_super *t = w.table, *c = w.control, good;
	struct store s;

	(void)state;
	memset(w.control, 0, cs);
	store_format_tree(&s, w.table, w.control, SEGMENTS, 43);
	good = *t;
	assert_null(store_adopt(&s, w.table, ts, w.control, cs));
	assert_int_equal(s.segments, SEGMENTS);
	assert_int_equal(s.table->root, 0);
	store_client_set(&s, INDEX_CLIENTS - 1, 1, INDEX_CLIENT_ALIVE);
	assert_true(index_pin_at(t->heap_offset, t->heap_size, INDEX_CLIENTS - 1) + 8 <= ts);
	store_client_set(&s, INDEX_CLIENTS - 1, 1, INDEX_CLIENT_DEAD);
	assert_non_null(store_adopt(&s, w.table, ts - 1, w.control, cs));
	t->type = INDEX_TYPE_HASH;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	c->type = INDEX_TYPE_HASH;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	t->type = c->type = 3;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	t->type = c->type = INDEX_TYPE_TREE;
	t->depth = 1;
	assert_non_null(store_adopt(&s, w.table, ts, w.control, cs));
	*t = good;
	assert_null(store_adopt(&s, w.table, ts, w.control, cs));
}

/* A dead client's segment is handed out again, once, with the map that came with it. */
static void test_recycle(void **state)
{
	uint64_t take[2] = {1, 1}, give[3] = {1, 1, 0}, other[2] = {2, 1};

	(void)state;
	shard_return_set(w.shard, 1000);
	open_as(3, NULL);
	open_as(4, NULL);
	send(OP_INDEX_CHUNK, 3, take, 2);
	assert_int_equal(last()->status, STATUS_OK);
	assert_int_equal(last()->len, 0);
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* it lives */
	shard_peer_gone(w.shard, 3, 30, true);
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* not fenced off yet */
	answer_all(STATUS_OK);
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_AGAIN); /* it may come back */
	w.now_ns += 1000;
	for (unsigned i = 0; i < INDEX_MAP_SIZE; i++)
		w.map[i] = (uint8_t)(i * 7);
	send(OP_INDEX_RECYCLE, 9, give, 3);
	assert_int_equal(last()->status, STATUS_DENIED); /* who is that? */
	give[2] = 1;
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* nobody's */
	give[2] = UINT64_MAX;
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND);
	give[2] = 0;
	give[1] = 2;
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* a life that it has not had */
	give[1] = 1;
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_OK);
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* a second worker */
	assert_int_equal(w.store.segment[0].cid, 1);
	send(OP_INDEX_CHUNK, 4, other, 2);
	assert_int_equal(last()->status, STATUS_OK);
	assert_int_equal(last()->args[0], w.store.table->heap_offset);
	assert_int_equal(last()->args[1], INDEX_SEGMENT);
	assert_int_equal(last()->len, INDEX_MAP_SIZE);
	assert_memory_equal(w.map_out, w.map, INDEX_MAP_SIZE);
	assert_int_equal(w.store.segment[0].cid, 2);
	send(OP_INDEX_RECYCLE, 4, give, 3);
	assert_int_equal(last()->status, STATUS_NOT_FOUND); /* one that comes late */
	send(OP_INDEX_CHUNK, 4, other, 2);
	assert_int_equal(last()->args[0], w.store.table->heap_offset + INDEX_SEGMENT);
	assert_int_equal(last()->len, 0);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(store_groups(1), INDEX_GROUPS_MIN);
	for (uint64_t n = 1000; n < 1ull << 34; n *= 7) {
		double load = (double)n / ((double)store_groups(n) * 21);

		assert_true(load > 0.66 && load <= 0.7);
		if (store_groups(n) < 1u << 22) {
			unsigned depth;
			uint64_t each = store_subtables(store_groups(n), &depth);

			assert_true(each >= INDEX_GROUPS_MIN && each <= INDEX_GROUPS_MAX);
			assert_true(each << depth >= store_groups(n) &&
				    each << depth <= store_groups(n) + store_groups(n) / 32 + 2);
		}
	}
}

/* A member of a cluster says so to each client, and gives the directory to who asks. */
static void test_directory(void **state)
{
	static struct index_directory d;
	const char text[] = "3:a/x,b/y";
	const uint64_t args[4] = {INDEX_VERSION};
	struct proto_msg m;
	char why[64];

	(void)state;
	send(OP_INDEX_DIRECTORY, 3, args, 0);
	assert_int_equal(w.replied[0].status, STATUS_NOT_FOUND);
	assert_int_equal(index_directory_parse(&d, text, strlen(text), why, sizeof(why)), 0);
	shard_directory_set(w.shard, text, (uint32_t)strlen(text), &d, 1);
	proto_request_init(&m, OP_INDEX_DIRECTORY);
	m.max_reply = (uint16_t)(strlen(text) - 1);
	shard_message(w.shard, &m, NULL);
	assert_int_equal(w.replied[1].status, STATUS_TOO_BIG);
	m.max_reply++;
	shard_message(w.shard, &m, NULL);
	assert_int_equal(w.replied[2].status, STATUS_OK);
	assert_int_equal(w.replied[2].len, strlen(text));
	assert_memory_equal(w.map_out, text, strlen(text));
	send(OP_INDEX_OPEN, 3, args, 4);
	answer_all(STATUS_OK);
	assert_int_equal(w.replied[3].status, STATUS_OK);
	assert_true(w.replied[3].args[REPLY_INDEX_OPEN_DIRECTORY] == index_directory_id(&d));
	assert_int_equal(w.replied[3].args[REPLY_INDEX_OPEN_DIRECTORY_VERSION], 3);
	assert_int_equal(w.replied[3].args[REPLY_INDEX_OPEN_MEMBER], 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open),      TEST(test_open_refused),  TEST(test_death),
		TEST(test_reopen),    TEST(test_numbers_again), TEST(test_open_dies),
		TEST(test_no_room),   TEST(test_chunks),        TEST(test_suspect),
		TEST(test_restarted), TEST(test_adopt), TEST(test_adopt_tree),       TEST(test_sizes),
		TEST(test_lease), TEST(test_recycle), TEST(test_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
