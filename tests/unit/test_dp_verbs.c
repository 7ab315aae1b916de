/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes to the own node: what each verb does, what refuses it, and who may end in between. */
#include "tests/unit/dp_node.h"

enum { SIZE = 1 << 20 };

/* A client with a region of its own, a service's region that it was granted, and a lane. */
struct rig {
	struct node *n;
	struct proc *c, *s;
	struct atoll_handle local, own, remote; /* own: the service's handle of its region */
	uint8_t *at, *there;
	uint32_t lane;
};

static struct atoll_handle grant(struct rig *r, uint32_t rights)
{
	struct atoll_handle to = proc_lookup(r->c, "mem");
	struct proto_msg answer = {.opcode = OP_TEST};
	const struct heard *h;
	uint64_t token;

	assert_int_equal(proc_send(r->c, to, 1, 0, 0, 0), 0);
	node_run(r->n);
	token = proc_expect(r->s, HEARD_REQUEST)->m.req_id;
	proc_ask(r->s, OP_DP_GRANT,
		 (const uint64_t[]){r->own.slot, r->own.gen, rights, token, 0}, 5, NULL, STATUS_OK);
	assert_int_equal(atoll_reply(r->s->ep, token, &answer, NULL), 0);
	node_run(r->n);
	h = proc_expect(r->c, HEARD_EVENT);
	proc_expect_reply(r->c, 1, STATUS_OK);
	return (struct atoll_handle){(uint32_t)h->m.arg[0], (uint32_t)h->m.arg[1]};
}

static struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->n = node_new();
	r->c = proc_new(r->n, 0, CTL_KIND_CLIENT, "client");
	r->s = proc_new(r->n, 1, CTL_KIND_SERVICE, "mem");
	r->local = proc_region(r->c, 1, SIZE, &r->at);
	r->own = proc_region(r->s, 2, SIZE, &r->there);
	r->remote = grant(r, RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC);
	r->lane = proc_lane(r->c);
	return r;
}

static void rig_end(struct rig *r)
{
	node_end(r->n);
	free(r);
}

static struct verb verb(const struct rig *r, uint8_t op, uint64_t remote, uint64_t local, uint32_t len)
{
	return (struct verb){.op = op,
			     .len = len,
			     .remote = r->remote,
			     .remote_offset = remote,
			     .local = r->local,
			     .local_offset = local};
}

static void post(struct rig *r, const struct verb *v, unsigned n, uint64_t cookie)
{
	assert_int_equal(atoll_post(r->c->ep, r->lane, v, n, cookie), 0);
}

static const struct verb_completion *ended(struct rig *r, uint64_t cookie)
{
	const struct heard *h = proc_expect(r->c, HEARD_COMPLETION);

	assert_int_equal(h->cookie, cookie);
	return &h->c;
}

static void expect(struct rig *r, uint64_t cookie, unsigned n, const uint8_t *status)
{
	const struct verb_completion *c = ended(r, cookie);

	assert_int_equal(c->count, n);
	for (unsigned i = 0; i < n; i++)
		if (c->status[i] != status[i])
			fail_msg("chain %u verb %u: %s instead of %s", (unsigned)cookie, i,
				 proto_status_name(c->status[i]), proto_status_name(status[i]));
}

/* One chain that is to end like this. */
static void run(struct rig *r, const struct verb *v, unsigned n, const uint8_t *status)
{
	static uint64_t cookie = 100;

	post(r, v, n, ++cookie);
	node_run(r->n);
	expect(r, cookie, n, status);
	node_settled(r->n);
}

static void run_one(struct rig *r, struct verb v, uint8_t status)
{
	run(r, &v, 1, &status);
}

static void fill(uint8_t *at, uint32_t len, uint8_t first)
{
	for (uint32_t i = 0; i < len; i++)
		at[i] = (uint8_t)(first + i * 7 + (i >> 8));
}

static uint64_t word(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static void test_every_verb(void **state)
{
	static const uint32_t lengths[] = {1, 7, 8, 64, 256, 257, 65535, 65536, 65537, 500000};
	struct rig *r = rig_new();
	struct verb v[4];

	(void)state;
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		uint32_t len = lengths[i];

		fill(r->at, len, (uint8_t)i);
		v[0] = verb(r, VERB_WRITE, i, 0, len);
		v[1] = verb(r, VERB_READ, i, 500001, len);
		run(r, v, 2, (const uint8_t[]){STATUS_OK, STATUS_OK});
		assert_memory_equal(r->there + i, r->at, len);
		assert_memory_equal(r->at + 500001, r->at, len);
	}
	memset(r->there, 0, 64);
	v[0] = verb(r, VERB_FAA, 8, 0, 8);
	v[0].swap = 5;
	v[1] = verb(r, VERB_CAS, 8, 8, 8);
	v[1].flags = VERB_FENCE;
	v[1].compare = 5;
	v[1].swap = 77;
	v[2] = verb(r, VERB_CAS, 8, 16, 8);
	v[2].flags = VERB_FENCE;
	v[2].compare = 5;
	v[2].swap = 78;
	v[3] = verb(r, VERB_FAA, 8, 24, 8);
	v[3].flags = VERB_FENCE;
	v[3].swap = ~0ull;
	run(r, v, 4, (const uint8_t[]){STATUS_OK, STATUS_OK, STATUS_OK, STATUS_OK});
	assert_int_equal(word(r->at), 0);
	assert_int_equal(word(r->at + 8), 5);
	assert_int_equal(word(r->at + 16), 77);
	assert_int_equal(word(r->at + 24), 77);
	assert_int_equal(word(r->there + 8), 76);
	rig_end(r);
}

/* A local lane works in slices: what must be whole is whole wherever a slice ends, and executes once. */
static void test_slices(void **state)
{
	struct rig *r = rig_new();

	(void)state;
	for (uint32_t left = 0; left <= 260; left += left < 20 ? 1 : 13) {
		struct verb v[3] = {verb(r, VERB_WRITE, 4096, 4096, 65536 - left),
				    verb(r, VERB_FAA, 8, 0, 8), verb(r, VERB_WRITE, 16, 512, 256)};
		uint64_t before = word(r->there + 8);

		v[1].swap = 1;
		v[2].flags = VERB_FENCE;
		fill(r->at + 512, 256, (uint8_t)left);
		memset(r->there + 16, 0xee, 256);
		post(r, v, 3, left);
		for (unsigned i = 0; i < 10; i++) {
			uint8_t same[256];

			node_turn(r->n);
			memset(same, 0xee, sizeof(same));
			if (memcmp(r->there + 16, same, 256))
				assert_memory_equal(r->there + 16, r->at + 512, 256);
		}
		expect(r, left, 3, (const uint8_t[]){STATUS_OK, STATUS_OK, STATUS_OK});
		assert_int_equal(word(r->there + 8), before + 1);
		assert_int_equal(word(r->at), before);
	}
	rig_end(r);
}

/* Both ends of a verb in one region, over each other. */
static void test_overlap(void **state)
{
	struct rig *r = rig_new();
	struct verb v = verb(r, VERB_READ, 100, 0, 5000);
	static uint8_t want[5000];

	(void)state;
	fill(r->at, 10000, 3);
	memcpy(want, r->at + 100, 5000);
	v.remote = r->local;
	run_one(r, v, STATUS_OK);
	assert_memory_equal(r->at, want, 5000);
	v.op = VERB_WRITE;
	memcpy(want, r->at, 5000);
	run_one(r, v, STATUS_OK);
	assert_memory_equal(r->at + 100, want, 5000);
	rig_end(r);
}

static void test_refusals(void **state)
{
	static const uint8_t last[] = {STATUS_OK, STATUS_RANGE, STATUS_CANCELLED};
	struct rig *r = rig_new();
	struct atoll_handle reader = grant(r, RIGHT_READ);
	struct verb v = verb(r, VERB_WRITE, 0, 0, 8), chain[3];

	(void)state;
	/* to the last byte, and one further */
	run_one(r, verb(r, VERB_WRITE, SIZE - 8, SIZE - 8, 8), STATUS_OK);
	run_one(r, verb(r, VERB_WRITE, SIZE - 7, 0, 8), STATUS_RANGE);
	run_one(r, verb(r, VERB_WRITE, 0, SIZE - 7, 8), STATUS_RANGE);
	run_one(r, verb(r, VERB_READ, ~0ull - 7, 0, 8), STATUS_RANGE);
	run_one(r, verb(r, VERB_READ, ~0ull - 6, 0, 8), STATUS_RANGE);
	run_one(r, verb(r, VERB_READ, SIZE, 0, 1), STATUS_RANGE);
	run_one(r, verb(r, VERB_READ, 0, 0, 1 << 30), STATUS_RANGE);
	assert_int_equal(node_count(r->n, "refused.range"), 6);
	v.remote.gen++;
	run_one(r, v, STATUS_BAD_HANDLE);
	v.remote = (struct atoll_handle){0, 0};
	run_one(r, v, STATUS_BAD_HANDLE);
	v.remote = (struct atoll_handle){DP_HANDLES_MAX, 1};
	run_one(r, v, STATUS_BAD_HANDLE);
	v.remote = (struct atoll_handle){~0u, ~0u};
	run_one(r, v, STATUS_BAD_HANDLE);
	v = verb(r, VERB_WRITE, 0, 0, 8);
	v.local.gen++;
	run_one(r, v, STATUS_BAD_HANDLE);
	assert_int_equal(node_count(r->n, "refused.bad_handle"), 5);
	/* rights: only READ */
	v = verb(r, VERB_WRITE, 0, 0, 8);
	v.remote = reader;
	run_one(r, v, STATUS_NO_RIGHT);
	v.op = VERB_FAA;
	run_one(r, v, STATUS_NO_RIGHT);
	v.op = VERB_CAS;
	run_one(r, v, STATUS_NO_RIGHT);
	v.op = VERB_READ;
	run_one(r, v, STATUS_OK);
	v.local = reader; /* nor may a READ write to it */
	run_one(r, v, STATUS_NO_RIGHT);
	assert_int_equal(node_count(r->n, "refused.no_right"), 4);
	/* the rest of the chain is cancelled and not executed, what came before was */
	memset(r->there, 0, 64);
	fill(r->at, 24, 9);
	chain[0] = verb(r, VERB_WRITE, 0, 0, 8);
	chain[1] = verb(r, VERB_WRITE, SIZE, 8, 8);
	chain[2] = verb(r, VERB_WRITE, 16, 16, 8);
	run(r, chain, 3, last);
	assert_memory_equal(r->there, r->at, 8);
	assert_int_equal(word(r->there + 16), 0);
	/* a lane that it has not: the library refuses, so a number that is not the dataplane's */
	r->c->ep->lanes[r->lane].number = 5;
	run_one(r, verb(r, VERB_WRITE, 0, 0, 8), STATUS_BAD_HANDLE);
	r->c->ep->lanes[r->lane].number = 65535;
	run_one(r, verb(r, VERB_WRITE, 0, 0, 8), STATUS_BAD_HANDLE);
	rig_end(r);
}

static void test_revoke(void **state)
{
	const uint8_t bad = STATUS_BAD_HANDLE;
	struct rig *r = rig_new();
	struct verb v = verb(r, VERB_WRITE, 0, 0, SIZE);
	const struct verb_completion *c;

	(void)state;
	/* the chain is half-way when the region is revoked: not one byte is written after the answer */
	memset(r->at, 0x11, SIZE);
	post(r, &v, 1, 1);
	node_turn(r->n);
	node_turn(r->n);
	assert_int_equal(r->there[SIZE - 1], 0);
	proc_ask(r->s, OP_DP_REVOKE, (const uint64_t[]){r->own.slot, r->own.gen}, 2, NULL, STATUS_OK);
	c = ended(r, 1);
	assert_true(c->status[0] == STATUS_IN_DOUBT);
	assert_int_equal(r->there[SIZE - 1], 0);
	run(r, &v, 1, &bad);
	/* the owner's own handle stays good */
	r->remote = grant(r, RIGHT_WRITE);
	run_one(r, verb(r, VERB_WRITE, 0, 0, 8), STATUS_OK);
	proc_ask(r->s, OP_DP_REVOKE, (const uint64_t[]){r->own.slot, r->own.gen + 1}, 2, NULL,
		 STATUS_BAD_HANDLE);
	assert_int_equal(node_count(r->n, "revokes"), 1);
	rig_end(r);
}

static void test_fence(void **state)
{
	struct rig *r = rig_new();
	struct proc *other;
	const uint64_t who[2] = {r->c->ep->source, r->c->epoch};
	struct verb v[2] = {verb(r, VERB_WRITE, 0, 0, SIZE - 8), verb(r, VERB_WRITE, SIZE - 8, 0, 8)};
	const struct verb_completion *c;

	(void)state;
	memset(r->at, 0x22, SIZE);
	post(r, v, 2, 1);
	node_turn(r->n);
	node_turn(r->n);
	proc_ask(r->s, OP_DP_FENCE, who, 2, NULL, STATUS_OK);
	c = ended(r, 1);
	assert_int_equal(c->status[0], STATUS_IN_DOUBT);
	assert_int_equal(c->status[1], STATUS_CANCELLED);
	assert_int_equal(word(r->there + SIZE - 8), 0);
	/* nor by a lane that it opens now */
	run_one(r, verb(r, VERB_WRITE, 0, 0, 8), STATUS_FENCED);
	r->lane = proc_lane(r->c);
	run_one(r, verb(r, VERB_FAA, 0, 0, 8), STATUS_FENCED);
	assert_true(node_count(r->n, "refused.fenced") >= 2);
	/* it may talk, and its next life is free */
	proc_ask(r->c, OP_DP_PING, (const uint64_t[]){1}, 1, NULL, STATUS_OK);
	proc_end(r->c, GONE_CLOSED);
	other = proc_new(r->n, 0, CTL_KIND_CLIENT, "client");
	assert_int_equal(other->ep->source, who[0]);
	r->c = other;
	r->local = proc_region(r->c, 3, SIZE, &r->at);
	r->remote = grant(r, RIGHT_WRITE | RIGHT_ATOMIC);
	r->lane = proc_lane(r->c);
	run_one(r, verb(r, VERB_FAA, 0, 0, 8), STATUS_OK);
	/* an old epoch cannot be fenced into hitting the new one */
	proc_ask(r->s, OP_DP_FENCE, who, 2, NULL, STATUS_OK);
	run_one(r, verb(r, VERB_FAA, 0, 0, 8), STATUS_OK);
	rig_end(r);
}

/* The order that hardware would not keep is refused whole, also in front of a verb that is bad itself. */
static void test_order(void **state)
{
	struct rig *r = rig_new();
	struct {
		struct proto_verb v[3];
	} raw;

	(void)state;
	memset(r->at, 0x33, 64);
	for (unsigned bad = 0; bad < 2; bad++) {
		memset(&raw, 0, sizeof(raw));
		for (unsigned i = 0; i < 3; i++)
			raw.v[i] = (struct proto_verb){.magic = PROTO_VERB_MAGIC,
						       .major = PROTO_MAJOR,
						       .slots = 1,
						       .op = i ? VERB_WRITE : VERB_READ,
						       .flags = i == 2 ? VERB_FLAG_CHAIN_END : 0,
						       .lane = (uint16_t)r->c->ep->lanes[r->lane].number,
						       .len = 8,
						       .cookie = 77,
						       .remote_slot = r->remote.slot,
						       .remote_gen = r->remote.gen,
						       .remote_offset = 8 * i,
						       .local_slot = r->local.slot,
						       .local_gen = r->local.gen,
						       .local_offset = 8 * i};
		if (bad)
			raw.v[2].remote_offset = SIZE;
		for (unsigned i = 0; i < 3; i++)
			proc_raw(r->c, &raw.v[i], 1);
		node_run(r->n);
		assert_int_equal(word(r->there + 8), 0);
		assert_int_equal(word(r->there + 16), 0);
		node_settled(r->n);
	}
	rig_end(r);
}

/* Whoever ends in the middle of a long chain. */
static void test_ends(void **state)
{
	(void)state;
	for (unsigned who = 0; who < 4; who++) {
		struct rig *r = rig_new();
		struct verb v = verb(r, who == 3 ? VERB_READ : VERB_WRITE, 0, 0, SIZE);
		struct proto_msg close = {.opcode = OP_DP_LANE_CLOSE, .nargs = 1};

		for (unsigned i = 0; i < 3; i++)
			post(r, &v, 1, i);
		node_turn(r->n);
		node_turn(r->n);
		node_check(r->n);
		switch (who) {
		case 0: /* the client: its region goes when nothing works on it */
			proc_end(r->c, GONE_DIED);
			assert_int_equal(r->n->unused_regions, 1);
			break;
		case 1: /* the service, and its memory */
			proc_end(r->s, GONE_DIED);
			node_run(r->n);
			assert_int_equal(r->n->unused_regions, 1);
			assert_int_equal(ended(r, 0)->status[0], STATUS_IN_DOUBT);
			assert_int_equal(ended(r, 1)->status[0], STATUS_BAD_HANDLE);
			assert_int_equal(ended(r, 2)->status[0], STATUS_BAD_HANDLE);
			break;
		case 2: /* the client's region: it stays until the chains have ended */
			assert_int_equal(dp_region_close(r->n->dp, 1), 0);
			assert_int_equal(r->n->unused_regions, 0);
			for (unsigned i = 0; i < 10; i++)
				node_run(r->n);
			assert_int_equal(r->n->unused_regions, 1);
			for (unsigned i = 0; i < 3; i++)
				assert_int_equal(ended(r, i)->status[0], STATUS_OK);
			break;
		default: /* the lane */
			close.arg[0] = r->c->ep->lanes[r->lane].number;
			assert_int_equal(atoll_request(r->c->ep, ATOLL_DATAPLANE, &close, NULL, 9), 0);
			node_run(r->n);
			assert_int_equal(ended(r, 0)->status[0], STATUS_IN_DOUBT);
			assert_int_equal(ended(r, 1)->status[0], STATUS_NOT_SENT);
			assert_int_equal(ended(r, 2)->status[0], STATUS_NOT_SENT);
			proc_expect_reply(r->c, 9, STATUS_OK);
			break;
		}
		node_run(r->n);
		node_settled(r->n);
		rig_end(r);
	}
}

/* More chains than there is room for, on many lanes, and none is lost. */
static void test_many(void **state)
{
	struct rig *r = rig_new();
	uint32_t lanes[8] = {r->lane};
	unsigned posted = 0, done = 0;

	(void)state;
	for (unsigned i = 1; i < 8; i++)
		lanes[i] = proc_lane(r->c);
	while (done < 5000) {
		while (posted < 5000) {
			struct verb v = verb(r, VERB_FAA, 64, 0, 8);

			v.swap = 1;
			if (atoll_post(r->c->ep, lanes[posted % 8], &v, 1, posted))
				break;
			posted++;
		}
		node_turn(r->n);
		for (; r->c->seen < r->c->nheard; done++)
			assert_int_equal(proc_expect(r->c, HEARD_COMPLETION)->c.status[0], STATUS_OK);
		r->c->seen = r->c->nheard = 0;
	}
	assert_int_equal(word(r->there + 64), 5000);
	/* its lanes are counted, too */
	for (unsigned i = 8; i < DP_LANES_MAX; i++)
		proc_ask(r->c, OP_DP_LANE_OPEN, (const uint64_t[]){7, 16}, 2, NULL, STATUS_OK);
	proc_ask(r->c, OP_DP_LANE_OPEN, (const uint64_t[]){7, 16}, 2, NULL, STATUS_LIMIT);
	proc_ask(r->c, OP_DP_LANE_OPEN, (const uint64_t[]){9, 16}, 2, NULL, STATUS_NOT_FOUND);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb), cmocka_unit_test(test_slices),
		cmocka_unit_test(test_overlap),	   cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_revoke),	   cmocka_unit_test(test_fence),
		cmocka_unit_test(test_order),	   cmocka_unit_test(test_ends),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
