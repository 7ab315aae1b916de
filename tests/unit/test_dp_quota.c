/* SPDX-License-Identifier: Apache-2.0 */
/* What one user may have, whom it is charged to, and who does not keep the loop awake. */
#include "tests/unit/dp_node.h"

static const uint64_t lane_args[2] = {7, 16};

static struct proc *proc_of(struct node *n, unsigned i, uint32_t uid, struct dp_quota quota)
{
	n->uid = uid;
	n->quota = quota;
	return proc_new(n, i, CTL_KIND_CLIENT, "client");
}

static void lanes(void **state)
{
	struct node *n = node_new();
	struct dp_quota two = {.lanes = 2};
	struct proc *a = proc_of(n, 0, 5, two), *b = proc_of(n, 1, 5, two), *c = proc_of(n, 2, 6, two);
	uint64_t first;

	(void)state;
	first = proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK)->arg[0];
	proc_ask(b, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_LIMIT);
	proc_ask(b, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_LIMIT);
	assert_int_equal(node_count(n, "quota.lanes"), 2);
	assert_int_equal(node_count(n, "refused.limit"), 2);
	/* another user has its own */
	proc_ask(c, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	node_check(n);
	/* what is closed, by hand or with its process, is free again */
	proc_ask(a, OP_DP_LANE_CLOSE, &first, 1, NULL, STATUS_OK);
	proc_ask(b, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	proc_ask(b, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_LIMIT);
	proc_end(b, GONE_DIED);
	proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_LIMIT);
	/* a process that is trusted is not charged to the user's others */
	n->trusted = true;
	b = proc_of(n, 1, 5, (struct dp_quota){0});
	proc_ask(b, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_OK);
	proc_ask(a, OP_DP_LANE_OPEN, lane_args, 2, NULL, STATUS_LIMIT);
	node_end(n);
}

static void requests(void **state)
{
	struct node *n = node_new();
	struct dp_quota three = {.requests = 3};
	struct proc *a = proc_of(n, 0, 5, three), *b = proc_of(n, 1, 5, three);
	struct proc *s = proc_of(n, 2, 0, (struct dp_quota){0});
	struct proto_msg answer = {.opcode = OP_TEST};
	struct atoll_handle to, too;

	(void)state;
	proc_end(s, GONE_CLOSED);
	s = proc_new(n, 2, CTL_KIND_SERVICE, "slow");
	to = proc_lookup(a, "slow");
	too = proc_lookup(b, "slow");
	assert_int_equal(proc_send(a, to, 1, 0, 0, 0), 0);
	assert_int_equal(proc_send(a, to, 2, 0, 0, 0), 0);
	node_run(n);
	assert_int_equal(proc_send(b, too, 3, 0, 0, 0), 0);
	assert_int_equal(proc_send(b, too, 4, 0, 0, 0), 0);
	node_run(n);
	proc_expect_reply(b, 4, STATUS_LIMIT);
	proc_silent(a);
	assert_int_equal(node_count(n, "quota.requests"), 1);
	node_check(n);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			atoll_reply(s->ep, proc_expect(s, HEARD_REQUEST)->m.req_id, &answer, NULL), 0);
	node_run(n);
	proc_expect_reply(a, 1, STATUS_OK);
	proc_expect_reply(a, 2, STATUS_OK);
	proc_expect_reply(b, 3, STATUS_OK);
	assert_int_equal(proc_send(b, too, 5, 0, 0, 0), 0);
	node_run(n);
	proc_end(s, GONE_DIED);
	node_run(n);
	proc_expect_reply(b, 5, STATUS_PEER_DIED);
	node_end(n);
}

/* Beyond the quota chains wait in their ring, and nobody else does. */
static void chains(void **state)
{
	struct node *n = node_new();
	struct proc *a = proc_of(n, 0, 5, (struct dp_quota){.chains = 2}), *b;
	struct verb v = {.op = VERB_WRITE, .len = 1 << 19};
	uint32_t lane = proc_lane(a), other;
	unsigned most = 0;
	uint8_t *at;

	(void)state;
	b = proc_of(n, 1, 6, (struct dp_quota){0});
	other = proc_lane(b);
	v.local = v.remote = proc_region(a, 1, 1 << 20, &at);
	v.remote_offset = 1 << 19;
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(atoll_post(a->ep, lane, &v, 1, i), 0);
	v.local = v.remote = proc_region(b, 2, 1 << 20, &at);
	v.len = 8;
	assert_int_equal(atoll_post(b->ep, other, &v, 1, 9), 0);
	node_turn(n);
	node_turn(n);
	assert_int_equal(proc_expect(b, HEARD_COMPLETION)->c.status[0], STATUS_OK);
	for (unsigned i = 0; i < 400; i++) {
		node_turn(n);
		node_check(n);
		most = a->nheard;
	}
	assert_int_equal(most - a->seen, 6);
	assert_true(node_count(n, "quota.chains") > 0);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(proc_expect(a, HEARD_COMPLETION)->c.status[0], STATUS_OK);
	node_end(n);
}

static void users(void **state)
{
	struct node *n = node_new();
	uint32_t endpoint[DP_USERS_MAX], epoch[DP_USERS_MAX], e, p;
	size_t size = channel_half_size(NODE_SLOTS, NODE_ARENA);
	void *own = calloc(1, size), *peer = calloc(1, size);
	struct dp_attach a = {.kind = CTL_KIND_CLIENT, .name = "x", .own = own, .peer = peer,
			      .slots = NODE_SLOTS, .arena = NODE_ARENA, .wake_fd = -1};

	(void)state;
	channel_format(own, NODE_SLOTS, NODE_ARENA, 1);
	channel_format(peer, NODE_SLOTS, NODE_ARENA, 1);
	n->ignore_unused = true;
	for (unsigned i = 0; i < DP_USERS_MAX; i++) {
		a.uid = 100 + i;
		assert_int_equal(dp_endpoint_add(n->dp, &a, &endpoint[i], &epoch[i]), 0);
	}
	a.uid = 5000;
	assert_int_equal(dp_endpoint_add(n->dp, &a, &e, &p), -EUSERS);
	a.uid = 100;
	assert_int_equal(dp_endpoint_add(n->dp, &a, &e, &p), 0);
	assert_int_equal(dp_endpoint_close(n->dp, e, p, GONE_CLOSED), 0);
	assert_int_equal(dp_endpoint_close(n->dp, endpoint[7], epoch[7], GONE_CLOSED), 0);
	a.uid = 5000;
	assert_int_equal(dp_endpoint_add(n->dp, &a, &endpoint[7], &epoch[7]), 0);
	node_check(n);
	for (unsigned i = 0; i < DP_USERS_MAX; i++)
		assert_int_equal(dp_endpoint_close(n->dp, endpoint[i], epoch[i], GONE_CLOSED), 0);
	node_end(n);
	free(own);
	free(peer);
}

/* A client asks without end and never reads: the loop sleeps, looks again now and then, and serves it when it
 * reads at last. */
static void never_reads(void **state)
{
	struct node *n = node_new();
	struct proc *a = proc_of(n, 0, 5, (struct dp_quota){0});
	struct proto_msg m = {.opcode = OP_DP_PING, .arg = {1}, .nargs = 1};
	unsigned asked = 0, looks = 0, answers = 0;
	uint64_t until;

	(void)state;
	a->asleep = true;
	for (unsigned i = 0; i < 100; i++) {
		while (!atoll_request(a->ep, ATOLL_DATAPLANE, &m, NULL, 1))
			asked++;
		node_turn(n);
	}
	assert_true(channel_room(&a->ep->ch, 1, 0) == 0);
	assert_true(asked > NODE_SLOTS);
	assert_int_equal(node_count(n, "stalls"), 1);
	/* a second goes by */
	for (until = n->now + 1000000000; n->now < until; looks++) {
		assert_int_equal(dp_poll(n->dp, n->now), 0);
		assert_true(dp_sleep_begin(n->dp));
		assert_true(dp_next_timer(n->dp) > n->now);
		n->now = dp_next_timer(n->dp);
		dp_sleep_end(n->dp);
	}
	assert_true(looks < 40);
	/* nobody else has to wait for it */
	proc_ask(proc_of(n, 1, 6, (struct dp_quota){0}), OP_DP_PING, (const uint64_t[]){3}, 1, NULL, STATUS_OK);
	a->asleep = false;
	for (unsigned i = 0; i < 1000 && answers < asked; i++) {
		node_turn(n);
		answers = a->nheard;
	}
	assert_int_equal(answers, asked);
	assert_int_equal(a->heard[asked - 1].m.status, STATUS_OK);
	node_end(n);
}

/* A long budget does not wake the loop before its time, a short one that comes after it does. */
static void budgets(void **state)
{
	struct node *n = node_new();
	struct proc *a = proc_of(n, 0, 5, (struct dp_quota){0}), *s;
	struct atoll_handle to;

	(void)state;
	s = proc_new(n, 1, CTL_KIND_SERVICE, "slow");
	to = proc_lookup(a, "slow");
	assert_int_equal(proc_send(a, to, 1, 0, 0, 900000), 0);
	node_run(n);
	assert_true(dp_sleep_begin(n->dp));
	assert_true(dp_next_timer(n->dp) > n->now + 890000000);
	dp_sleep_end(n->dp);
	assert_int_equal(proc_send(a, to, 2, 0, 0, 20000), 0);
	node_run(n);
	assert_true(dp_next_timer(n->dp) < n->now + 21000000);
	n->now = dp_next_timer(n->dp);
	node_run(n);
	proc_expect_reply(a, 2, STATUS_TIMED_OUT);
	assert_true(dp_next_timer(n->dp) > n->now + 800000000);
	n->now = dp_next_timer(n->dp);
	node_run(n);
	proc_expect_reply(a, 1, STATUS_TIMED_OUT);
	/* a hop takes its part, and nothing goes on that has nothing left */
	assert_int_equal(s->heard[0].m.budget_us, 899999);
	assert_int_equal(s->heard[1].m.budget_us, 19999);
	assert_int_equal(proc_send(a, to, 3, 0, 0, 1), 0);
	node_run(n);
	proc_expect_reply(a, 3, STATUS_TIMED_OUT);
	assert_int_equal(s->nheard, 2);
	s->seen = s->nheard;
	node_end(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lanes),	cmocka_unit_test(requests), cmocka_unit_test(chains),
		cmocka_unit_test(users),	cmocka_unit_test(never_reads), cmocka_unit_test(budgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
