/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies on one node: who gets what, exactly once, whoever ends in between. */
#include "dataplane/dp_impl.h"
#include "ipc/idle.h"
#include "tests/unit/dp_node.h"

static void test_ping(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proto_msg m = {.opcode = OP_DP_PING,
			      .arg = {0x1234567890},
			      .nargs = 1,
			      .length = 11,
			      .max_reply = 11};
	const struct heard *h;

	(void)state;
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &m, "hello there", 5), 0);
	node_run(n);
	h = proc_expect(c, HEARD_REPLY);
	assert_int_equal(h->cookie, 5);
	assert_int_equal(h->m.status, STATUS_OK);
	assert_int_equal(h->m.arg[0], 0x1234567890);
	assert_int_equal(h->m.length, 11);
	assert_memory_equal(h->first, "hello there", 11);
	/* more than it said that it takes */
	m.max_reply = 10;
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &m, "hello there", 6), 0);
	node_run(n);
	proc_expect_reply(c, 6, STATUS_TOO_BIG);
	/* no answer is wanted */
	m.flags = MESSAGE_FLAG_ASYNC;
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &m, "hello there", 7), 0);
	node_run(n);
	proc_silent(c);
	node_end(n);
}

static void test_lookup(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s;
	struct atoll_handle a, b;

	(void)state;
	proc_ask(c, OP_DP_LOOKUP, NULL, 0, "echo", STATUS_NOT_FOUND);
	s = proc_new(n, 1, CTL_KIND_SERVICE, "echo");
	a = proc_lookup(c, "echo");
	b = proc_lookup(c, "n7/echo");
	assert_int_not_equal(a.slot, b.slot);
	proc_ask(c, OP_DP_LOOKUP, NULL, 0, "n8/echo", STATUS_NOT_FOUND);
	proc_ask(c, OP_DP_LOOKUP, NULL, 0, "client", STATUS_NOT_FOUND);
	proc_ask(c, OP_DP_LOOKUP, NULL, 0, "n7/", STATUS_NOT_FOUND);
	/* one service a name */
	{
		struct dp_attach again = {.kind = CTL_KIND_SERVICE, .name = "echo"};
		uint32_t endpoint, epoch;

		assert_int_equal(dp_endpoint_add(n->dp, &again, &endpoint, &epoch), -EEXIST);
	}
	/* its table of handles is finite, and given back */
	for (unsigned i = 2; i < DP_HANDLES_MAX - 1; i++) {
		proc_lookup(c, "echo");
		c->nheard = c->seen = 0;
	}
	proc_ask(c, OP_DP_LOOKUP, NULL, 0, "echo", STATUS_LIMIT);
	proc_ask(c, OP_DP_RELEASE, (const uint64_t[]){a.slot, a.gen}, 2, NULL, STATUS_OK);
	proc_ask(c, OP_DP_RELEASE, (const uint64_t[]){a.slot, a.gen}, 2, NULL, STATUS_BAD_HANDLE);
	b = proc_lookup(c, "echo");
	assert_int_equal(b.slot, a.slot);
	assert_int_not_equal(b.gen, a.gen);
	proc_silent(s);
	node_end(n);
}

static void test_request_reply(void **state)
{
	static const uint32_t lengths[] = {0, 1, 63, 64, 65, 4000, PROTO_PAYLOAD_MAX};
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "echo");
	struct atoll_handle to = proc_lookup(c, "echo");
	uint64_t cookie = 1000;

	(void)state;
	s->answers = true;
	/* often enough to go round ring and arena */
	for (unsigned round = 0; round < 200; round++) {
		uint32_t length = lengths[round % 7];
		const struct heard *h;

		assert_int_equal(proc_send(c, to, ++cookie, length, (uint16_t)length, 0), 0);
		node_run(n);
		h = proc_expect(s, HEARD_REQUEST);
		assert_int_equal(h->m.src, c->ep->source);
		assert_int_equal(h->m.src_epoch, c->epoch);
		assert_int_equal(h->m.length, length);
		assert_int_equal(h->m.arg[0], cookie);
		h = proc_expect(c, HEARD_REPLY);
		assert_int_equal(h->cookie, cookie);
		assert_int_equal(h->m.status, STATUS_OK);
		assert_int_equal(h->m.length, length);
		assert_int_equal(h->m.arg[0], cookie);
		assert_int_equal(h->m.src, s->ep->source);
		for (unsigned i = 0; i < length && i < 16; i++)
			assert_int_equal(h->first[i], (uint8_t)(cookie + i));
		node_settled(n);
	}
	/* a service's own status goes through, an answer that is too big does not */
	s->status = STATUS_FAILED;
	assert_int_equal(proc_send(c, to, 1, 8, 8, 0), 0);
	node_run(n);
	proc_expect_reply(c, 1, STATUS_FAILED);
	s->status = STATUS_OK;
	assert_int_equal(proc_send(c, to, 2, 100, 99, 0), 0);
	node_run(n);
	assert_int_equal(proc_expect_reply(c, 2, STATUS_TOO_BIG)->length, 0);
	node_end(n);
}

/* A full service says AGAIN, and dp.credit when it has room: also when it never writes a word. */
static void test_again(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new_sized(n, 0, CTL_KIND_CLIENT, "client", 1024, 1 << 20);
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "slow");
	struct atoll_handle to = proc_lookup(c, "slow");
	unsigned sent, again = 0;
	const struct heard *h;

	(void)state;
	s->asleep = true;
	for (sent = 0; sent < 80; sent++)
		assert_int_equal(proc_send(c, to, sent, 0, 0, 0), 0);
	node_run(n);
	for (; c->seen < c->nheard; again++)
		assert_int_equal(proc_expect(c, HEARD_REPLY)->m.status, STATUS_AGAIN);
	assert_true(again > 0 && again < sent);
	assert_int_equal(node_count(n, "refused.again"), again);
	node_check(n);
	/* it reads, and answers nothing: room all the same */
	s->asleep = false;
	node_run(n);
	h = proc_expect(c, HEARD_EVENT);
	assert_int_equal(h->m.opcode, OP_DP_CREDIT);
	assert_int_equal(h->m.arg[0], to.slot);
	assert_int_equal(h->m.arg[1], to.gen);
	proc_silent(c);
	assert_int_equal(s->nheard, sent - again);
	/* the same when it has been silent for so long that it counts as idle */
	s->asleep = true;
	c->nheard = c->seen = s->nheard = s->seen = 0;
	{
		struct proto_msg m = {.opcode = OP_TEST, .flags = MESSAGE_FLAG_ASYNC};

		for (unsigned i = 0; i < sent - again; i++)
			assert_int_equal(atoll_request(c->ep, to, &m, NULL, 0), 0);
	}
	node_run(n);
	n->now += 10000000;
	node_run(n);
	node_run(n);
	assert_int_equal(proc_send(c, to, 500, 0, 0, 0), 0);
	node_run(n);
	proc_expect_reply(c, 500, STATUS_AGAIN);
	n->now += 10000000;
	node_run(n);
	node_run(n);
	proc_silent(c);
	s->asleep = false;
	node_run(n);
	node_run(n);
	assert_int_equal(proc_expect(c, HEARD_EVENT)->m.opcode, OP_DP_CREDIT);
	proc_end(s, GONE_DIED);
	node_run(n);
	/* those that were taken have all ended */
	for (unsigned i = 0; i < sent - again; i++)
		assert_int_equal(proc_expect(c, HEARD_REPLY)->m.status, STATUS_PEER_DIED);
	proc_silent(c);
	node_end(n);
}

/* While a client is told that it must wait, somebody must look for room, or a sleeping core never will. */
static void test_again_keeps_awake(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new_sized(n, 0, CTL_KIND_CLIENT, "client", 1024, 1 << 20);
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "slow");
	struct atoll_handle to = proc_lookup(c, "slow");

	(void)state;
	s->asleep = true;
	assert_int_equal(dp_next_timer(n->dp), UINT64_MAX);
	for (unsigned i = 0; i < 80; i++)
		assert_int_equal(proc_send(c, to, i, 0, 0, 0), 0);
	node_run(n);
	assert_true(dp_next_timer(n->dp) <= n->now + 10000000);
	node_end(n);
}

/* A wake is a system call: one that has been woken and has not run since is not woken again; one that sleeps again is. */
static void test_wakes(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "echo");
	struct atoll_handle to = proc_lookup(c, "echo");
	uint64_t from = dp_counters(n->dp)[DPC_WAKES];

	(void)state;
	s->answers = true;
	for (unsigned round = 1; round <= 3; round++) {
		c->asleep = true;
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(proc_send(c, to, i, 0, 0, 0), 0);
			atoll_flush(c->ep);
			assert_true(i || atoll_sleep_begin(c->ep));
			node_run(n);
			node_run(n);
			assert_int_equal(dp_counters(n->dp)[DPC_WAKES] - from, round);
		}
		atoll_sleep_end(c->ep);
		c->asleep = false;
		node_run(n);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(proc_expect(c, HEARD_REPLY)->m.status, STATUS_OK);
	}
	/* woken for what it has taken meanwhile, it sleeps again: what comes then wakes it */
	c->asleep = true;
	assert_int_equal(proc_send(c, to, 9, 0, 0, 0), 0);
	atoll_flush(c->ep);
	assert_true(atoll_sleep_begin(c->ep));
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++)
		if (n->dp->endpoints[i])
			n->dp->endpoints[i]->dirty = n->dp->dirty = true;
	node_run(n);
	node_run(n);
	assert_true(dp_counters(n->dp)[DPC_WAKES] - from >= 5);
	node_end(n);
}

/* A turn lasts as long as the others had the core, within bounds. */
static void test_idle_turn(void **state)
{
	struct idle idle;

	(void)state;
	idle_init(&idle, IDLE_MODE_BLOCK, true); /* gives nothing away */
	assert_int_equal(idle_turn_ns(&idle), IDLE_BUSY_NS);
	idle.owed = true;
	assert_int_equal(idle_turn_ns(&idle), IDLE_OWED_NS);
	idle.away_ns = IDLE_BUSY_NS;
	assert_int_equal(idle_turn_ns(&idle), IDLE_OWED_NS);
	idle.away_ns = 100000;
	assert_int_equal(idle_turn_ns(&idle), 100000);
	idle.gave_ns = 1000000000;
	idle_active(&idle, 1000000000 + 100000, true);
	assert_int_equal(idle.gave_ns, 1000000000);
	idle_active(&idle, 1000000000 + 100001, true);
	assert_true(idle.gave_ns > 1000000000 && !idle.owed);
	idle.away_ns = 1000000000;
	assert_int_equal(idle_turn_ns(&idle), IDLE_TURN_NS);
}

/* What is accepted can be answered: a client that does not read cannot be owed more than it has room for. */
static void test_reservation(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new_sized(n, 1, CTL_KIND_SERVICE, "echo", 1024, 1 << 20);
	struct atoll_handle to = proc_lookup(c, "echo");
	unsigned sent = 0;

	(void)state;
	s->answers = true;
	c->asleep = true;
	/* 64 slots and 64 KiB: as many answers of 8 KiB as fit, the others stay in the client's ring */
	for (unsigned i = 0; i < 12; i++) {
		sent += proc_send(c, to, i, PROTO_PAYLOAD_MAX, PROTO_PAYLOAD_MAX, 0) == 0;
		atoll_flush(c->ep);
		node_run(n);
		node_check(n);
	}
	assert_true(s->nheard < sent);
	c->asleep = false;
	for (unsigned i = 0; i < 10; i++)
		node_run(n);
	assert_int_equal(s->nheard, sent);
	for (unsigned i = 0; i < sent; i++)
		proc_expect_reply(c, i, STATUS_OK);
	node_end(n);
}

static void test_deadline_and_cancel(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "slow");
	struct atoll_handle to = proc_lookup(c, "slow");
	struct proto_msg r = {.opcode = OP_TEST}, cancel = {.opcode = OP_DP_CANCEL,
							    .flags = MESSAGE_FLAG_ASYNC,
							    .nargs = 1};
	uint64_t token;

	(void)state;
	assert_int_equal(proc_send(c, to, 1, 0, 0, 2000), 0);
	assert_int_equal(proc_send(c, to, 2, 0, 0, 0), 0);
	node_run(n);
	proc_silent(c);
	assert_true(dp_next_timer(n->dp) < n->now + 2000000);
	token = proc_expect(s, HEARD_REQUEST)->m.req_id;
	n->now += 5000000;
	node_run(n);
	proc_expect_reply(c, 1, STATUS_TIMED_OUT);
	assert_int_equal(node_count(n, "failed.timed_out"), 1);
	/* the answer comes too late: counted, and for nobody */
	assert_int_equal(atoll_reply(s->ep, token, &r, NULL), 0);
	node_run(n);
	proc_silent(c);
	assert_int_equal(node_count(n, "bad_reply"), 1);
	/* cancel the other one: by what the library called it, slot 1 of its table in its first life */
	cancel.arg[0] = (uint64_t)c->ep->requests[1].gen << 32 | 1;
	if (!c->ep->requests[1].used)
		cancel.arg[0] = (uint64_t)c->ep->requests[0].gen << 32;
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &cancel, NULL, 0), 0);
	node_run(n);
	proc_expect_reply(c, 2, STATUS_CANCELLED);
	/* again, and of what never was: nothing */
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &cancel, NULL, 0), 0);
	cancel.arg[0] = ~0ull;
	assert_int_equal(atoll_request(c->ep, ATOLL_DATAPLANE, &cancel, NULL, 0), 0);
	node_run(n);
	proc_silent(c);
	node_settled(n);
	node_end(n);
}

/* Either side ends with requests outstanding; a reply may be in its ring at that moment. */
static void test_ends(void **state)
{
	(void)state;
	for (unsigned turns = 0; turns < 4; turns++) {
		for (unsigned who = 0; who < 2; who++) {
			struct node *n = node_new();
			struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
			struct proc *d = proc_new(n, 1, CTL_KIND_CLIENT, "other");
			struct proc *s = proc_new(n, 2, CTL_KIND_SERVICE, "echo");
			struct atoll_handle to = proc_lookup(c, "echo"), too = proc_lookup(d, "echo");

			s->answers = true;
			for (unsigned i = 0; i < 5; i++) {
				assert_int_equal(proc_send(c, to, i, 100, 100, 0), 0);
				assert_int_equal(proc_send(d, too, i, 100, 100, 0), 0);
			}
			for (unsigned i = 0; i < turns; i++)
				node_turn(n);
			proc_end(who ? c : s, GONE_DIED);
			node_check(n);
			node_run(n);
			node_settled(n);
			assert_int_equal(n->unused_endpoints, 1);
			for (unsigned i = 0; i < 5; i++) {
				const struct heard *h = proc_expect(d, HEARD_REPLY);

				assert_int_equal(h->cookie, i);
				assert_true(h->m.status == STATUS_OK || !who);
				assert_true(h->m.status == STATUS_OK ||
					    h->m.status == STATUS_PEER_DIED ||
					    h->m.status == STATUS_BAD_HANDLE);
			}
			proc_silent(d);
			if (!who) {
				/* its next life is somebody else */
				s = proc_new(n, 2, CTL_KIND_SERVICE, "echo");
				assert_int_equal(proc_send(d, too, 77, 0, 0, 0), 0);
				node_run(n);
				proc_expect_reply(d, 77, STATUS_BAD_HANDLE);
				assert_int_equal(s->nheard, 0);
			}
			node_end(n);
		}
	}
}

/* A service that has asked itself, and ends. */
static void test_asks_itself(void **state)
{
	(void)state;
	for (unsigned answered = 0; answered < 2; answered++) {
		struct node *n = node_new();
		struct proc *s = proc_new(n, 0, CTL_KIND_SERVICE, "echo");
		struct proc *c = proc_new(n, 1, CTL_KIND_CLIENT, "client");
		struct atoll_handle self = proc_lookup(s, "echo"), to = proc_lookup(c, "echo");

		s->answers = answered;
		assert_int_equal(proc_send(s, self, 1, 10, 10, 0), 0);
		assert_int_equal(proc_send(c, to, 2, 10, 10, 0), 0);
		assert_int_equal(proc_send(s, self, 3, 10, 10, 0), 0);
		node_run(n);
		node_check(n);
		proc_end(s, GONE_DIED);
		node_run(n);
		node_settled(n);
		proc_expect_reply(c, 2, answered ? STATUS_OK : STATUS_PEER_DIED);
		proc_silent(c);
		/* the table of requests is whole: it can be filled and emptied */
		s = proc_new(n, 0, CTL_KIND_SERVICE, "echo");
		s->answers = true;
		to = proc_lookup(c, "echo");
		for (unsigned i = 0; i < 300; i++) {
			assert_int_equal(proc_send(c, to, i, 0, 0, 0), 0);
			if (i % 3 == 0)
				node_run(n);
		}
		node_run(n);
		for (unsigned i = 0; i < 300; i++)
			proc_expect_reply(c, i, STATUS_OK);
		node_end(n);
	}
}

static void test_grants(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "mem");
	struct atoll_handle to = proc_lookup(c, "mem"), region, got;
	struct proto_msg r = {.opcode = OP_TEST};
	const struct heard *h;
	uint64_t token;
	uint8_t *base;

	(void)state;
	region = proc_region(s, 1, 4096, &base);
	assert_int_equal(proc_send(c, to, 1, 0, 0, 0), 0);
	node_run(n);
	token = proc_expect(s, HEARD_REQUEST)->m.req_id;
	/* to somebody who did not ask; a handle that it has not; more than it has */
	proc_ask(s, OP_DP_GRANT, (const uint64_t[]){region.slot, region.gen, RIGHT_READ, token + 1, 9}, 5,
		 NULL, STATUS_NOT_FOUND);
	proc_ask(s, OP_DP_GRANT, (const uint64_t[]){region.slot, region.gen + 1, RIGHT_READ, token, 9}, 5,
		 NULL, STATUS_BAD_HANDLE);
	proc_ask(s, OP_DP_GRANT, (const uint64_t[]){region.slot, region.gen, RIGHT_SEND, token, 9}, 5,
		 NULL, STATUS_NO_RIGHT);
	proc_ask(c, OP_DP_GRANT, (const uint64_t[]){to.slot, to.gen, RIGHT_SEND, token, 9}, 5, NULL,
		 STATUS_NOT_FOUND); /* not its to answer */
	proc_ask(s, OP_DP_GRANT, (const uint64_t[]){region.slot, region.gen, RIGHT_READ, token, 9}, 5,
		 NULL, STATUS_OK);
	h = proc_expect(c, HEARD_EVENT);
	assert_int_equal(h->m.opcode, OP_DP_GRANTED);
	assert_int_equal(h->m.arg[2], RIGHT_READ);
	assert_int_equal(h->m.arg[3], OBJECT_REGION);
	assert_int_equal(h->m.arg[4], 4096);
	assert_int_equal(h->m.arg[5], 9);
	assert_int_equal(h->m.arg[6], 7);
	got = (struct atoll_handle){(uint32_t)h->m.arg[0], (uint32_t)h->m.arg[1]};
	assert_int_equal(atoll_reply(s->ep, token, &r, NULL), 0);
	node_run(n);
	proc_expect_reply(c, 1, STATUS_OK);
	/* without GRANT it cannot be passed on; it can be given back, and the region's own cannot */
	assert_int_equal(proc_send(c, got, 2, 0, 0, 0), 0);
	node_run(n);
	proc_expect_reply(c, 2, STATUS_BAD_HANDLE);
	proc_ask(c, OP_DP_GRANT, (const uint64_t[]){got.slot, got.gen, RIGHT_READ, 0, 9}, 5, NULL,
		 STATUS_NO_RIGHT);
	proc_ask(c, OP_DP_REVOKE, (const uint64_t[]){got.slot, got.gen}, 2, NULL, STATUS_NO_RIGHT);
	proc_ask(c, OP_DP_RELEASE, (const uint64_t[]){got.slot, got.gen}, 2, NULL, STATUS_OK);
	proc_ask(s, OP_DP_RELEASE, (const uint64_t[]){region.slot, region.gen}, 2, NULL, STATUS_NO_RIGHT);
	node_end(n);
	/* both regions of the process went with it */
}

static void test_watch_and_fence_rights(void **state)
{
	struct node *n = node_new();
	struct proc *c = proc_new(n, 0, CTL_KIND_CLIENT, "client");
	struct proc *s = proc_new(n, 1, CTL_KIND_SERVICE, "mem");
	const uint64_t who[2] = {c->ep->source, c->epoch};
	const struct heard *h;

	(void)state;
	proc_ask(c, OP_DP_WATCH, who, 2, NULL, STATUS_NO_RIGHT); /* services only */
	proc_ask(s, OP_DP_WATCH, who, 2, NULL, STATUS_OK);
	proc_ask(s, OP_DP_FENCE, who, 2, NULL, STATUS_NO_RIGHT); /* it was granted nothing */
	proc_ask(s, OP_DP_WATCH, (const uint64_t[]){c->ep->source, c->epoch - 1}, 2, NULL, STATUS_OK);
	h = proc_expect(s, HEARD_EVENT); /* an earlier life: gone already */
	assert_int_equal(h->m.opcode, OP_DP_PEER_GONE);
	proc_end(c, GONE_DIED);
	node_run(n);
	h = proc_expect(s, HEARD_EVENT);
	assert_int_equal(h->m.opcode, OP_DP_PEER_GONE);
	assert_int_equal(h->m.arg[0], who[0]);
	assert_int_equal(h->m.arg[1], who[1]);
	assert_int_equal(h->m.arg[2], GONE_DIED);
	proc_silent(s);
	node_end(n);
}

/* An event that finds no room waits, and comes. */
static void test_late_event(void **state)
{
	struct node *n = node_new();
	struct proc *s = proc_new(n, 0, CTL_KIND_SERVICE, "mem");
	struct proc *c = proc_new(n, 1, CTL_KIND_CLIENT, "client");
	struct atoll_handle to = proc_lookup(c, "mem");
	const uint64_t who[2] = {c->ep->source, c->epoch};
	unsigned gone = 0;

	(void)state;
	proc_ask(s, OP_DP_WATCH, who, 2, NULL, STATUS_OK);
	s->asleep = true;
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(proc_send(c, to, i, 0, 0, 0), 0);
	node_run(n);
	/* fill it to the last slot with answers to its own pings */
	for (unsigned i = 0; i < 60; i++) {
		struct proto_msg m = {.opcode = OP_DP_PING};

		atoll_request(s->ep, ATOLL_DATAPLANE, &m, NULL, i);
		atoll_flush(s->ep);
		node_turn(n);
	}
	proc_end(c, GONE_DIED);
	node_run(n);
	node_check(n);
	s->asleep = false;
	node_run(n);
	node_run(n);
	while (s->seen < s->nheard)
		gone += proc_next(s)->m.opcode == OP_DP_PEER_GONE;
	assert_int_equal(gone, 1);
	node_end(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_request_reply),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_again_keeps_awake),
		cmocka_unit_test(test_wakes),
		cmocka_unit_test(test_idle_turn),
		cmocka_unit_test(test_reservation),
		cmocka_unit_test(test_deadline_and_cancel),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_asks_itself),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_watch_and_fence_rights),
		cmocka_unit_test(test_late_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
