/* SPDX-License-Identifier: Apache-2.0 */
/* An endpoint against a dataplane that the test plays: it reads what the endpoint writes, and answers. */
#include "tests/unit/ipc_pair.h"

#include "ipc/endpoint_impl.h"

struct heard {
	unsigned requests, replies, events, completions;
	uint64_t cookie;
	struct proto_msg m;
	struct verb_completion c;
	uint8_t data[CHANNEL_PAYLOAD_MAX];
};

struct rig {
	struct pair p; /* a is the dataplane's side, b's memory the endpoint's */
	struct atoll_endpoint *ep;
	struct heard h;
};

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct heard *h = ctx;

	h->requests++;
	h->m = *m;
	if (m->length)
		memcpy(h->data, payload, m->length);
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct heard *h = ctx;

	h->replies++;
	h->cookie = cookie;
	h->m = *m;
	if (m->length && payload)
		memcpy(h->data, payload, m->length);
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct heard *h = ctx;

	h->events++;
	h->m = *m;
}

static void on_completion(void *ctx, const struct verb_completion *c)
{
	struct heard *h = ctx;

	h->completions++;
	h->cookie = c->cookie;
	h->c = *c;
}

static const struct atoll_handlers all = {
	.request = on_request, .reply = on_reply, .event = on_event, .completion = on_completion};

static int rig_make(void **state)
{
	static struct rig r;

	memset(&r, 0, sizeof(r));
	pair_make(&r.p);
	r.ep = endpoint_new();
	assert_non_null(r.ep);
	assert_int_equal(endpoint_bind(r.ep, r.p.half[1], r.p.half[0], PAIR_SLOTS, PAIR_ARENA), 0);
	r.ep->lanes[0] = (struct ep_lane){.node = 2, .depth = 4, .number = 9, .used = true, .open = true};
	atoll_set_handlers(r.ep, &all, &r.h);
	*state = &r;
	return 0;
}

static int rig_free(void **state)
{
	struct rig *r = *state;

	free(r->ep);
	pair_free(&r->p);
	return 0;
}

static void answer(struct rig *r, const struct proto_msg *q, uint16_t status, const void *payload,
		   uint32_t len)
{
	struct proto_msg m;

	proto_reply_init(&m, q, status);
	m.arg[0] = q->arg[0];
	m.nargs = 1;
	m.length = len;
	pair_send(&r->p.a, &m, payload);
}

static void requests(void **state)
{
	struct rig *r = *state;
	struct proto_msg q = {.opcode = OP_ECHO_ECHO, .nargs = 1, .arg = {5}, .length = 3, .max_reply = 3}, got;
	char data[16] = "";

	assert_int_equal(atoll_request(r->ep, (struct atoll_handle){3, 4}, &q, "abc", 99), 0);
	assert_true(pair_recv(&r->p.a, &got, data));
	assert_int_equal(proto_message_check(&got, PROTO_TO_DATAPLANE), STATUS_OK);
	assert_memory_equal(data, "abc", 3);
	assert_int_equal(got.dst_slot, 3);
	assert_int_equal(got.dst_gen, 4);
	assert_int_equal(atoll_poll(r->ep, 8), 0);
	answer(r, &got, STATUS_OK, "xyz", 3);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.replies, 1);
	assert_int_equal(r->h.cookie, 99);
	assert_int_equal(r->h.m.arg[0], 5);
	assert_memory_equal(r->h.data, "xyz", 3);
	/* an answer that comes again, or to what was never asked, is dropped */
	answer(r, &got, STATUS_OK, "xyz", 3);
	got.req_id = 0x500000400ull;
	answer(r, &got, STATUS_OK, "xyz", 3);
	assert_int_equal(atoll_poll(r->ep, 8), 2);
	assert_int_equal(r->h.replies, 1);
	/* a service that answers against the schema has failed */
	assert_int_equal(atoll_request(r->ep, (struct atoll_handle){3, 4}, &q, "abc", 100), 0);
	assert_true(pair_recv(&r->p.a, &got, data));
	got.arg[0] = 1;
	{
		struct proto_msg m;

		proto_reply_init(&m, &got, STATUS_OK);
		m.nargs = 2;
		m.arg[1] = 1; /* echo.echo answers with one register */
		pair_send(&r->p.a, &m, NULL);
	}
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.m.status, STATUS_FAILED);
}

static void lane_close(void **state)
{
	struct rig *r = *state;
	struct proto_msg got;
	char data[16];

	assert_int_equal(atoll_lane_close(r->ep, 1, 1), -EINVAL);
	assert_int_equal(atoll_lane_close(r->ep, 64, 1), -EINVAL);
	/* nobody answers here: its number is free all the same */
	assert_int_equal(atoll_lane_close(r->ep, 0, 1), -ETIMEDOUT);
	assert_true(pair_recv(&r->p.a, &got, data));
	assert_int_equal(got.opcode, OP_DP_LANE_CLOSE);
	assert_int_equal(got.arg[0], 9);
	assert_int_equal(proto_message_check(&got, PROTO_TO_DATAPLANE), STATUS_OK);
	assert_int_equal(atoll_lane_close(r->ep, 0, 1), -EINVAL);
	/* one that the session's loss has closed already is not asked for */
	r->ep->lanes[3] = (struct ep_lane){.node = 2, .number = 4, .used = true};
	assert_int_equal(atoll_lane_close(r->ep, 3, 1), 0);
	assert_int_equal(r->ep->lanes[3].used, false);
}

static void request_limits(void **state)
{
	struct rig *r = *state;
	struct proto_msg q = {.opcode = OP_ECHO_ECHO}, got;
	static const char payload[CHANNEL_PAYLOAD_MAX + 1];
	unsigned n = 0;
	int rc;

	q.length = CHANNEL_PAYLOAD_MAX + 1;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, payload, 0), -EINVAL);
	q.length = 8;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), -EINVAL);
	q.length = 0;
	q.flags = MESSAGE_FLAG_REPLY;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), -EINVAL);
	q.flags = 0;
	q.nargs = PROTO_ARGS_MAX + 1;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), -EINVAL);
	q.nargs = 1;
	/* the ring fills; then as many as are taken can be sent */
	while ((rc = atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, n)) == 0)
		n++;
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(n, PAIR_SLOTS);
	while (pair_recv(&r->p.a, &got, NULL))
		;
	/* the table of outstanding requests fills, too */
	for (; (rc = atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, n)) == 0; n++)
		assert_true(pair_recv(&r->p.a, &got, NULL));
	assert_int_equal(rc, -EAGAIN);
	assert_int_equal(n, EP_REQUESTS);
	/* what wants no answer needs no place in it */
	q.flags = MESSAGE_FLAG_ASYNC;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), 0);
}

static void services(void **state)
{
	struct rig *r = *state;
	struct proto_msg q, got, a = {.status = STATUS_OK, .nargs = 1, .arg = {6}};
	char data[16] = "";

	proto_request_init(&q, OP_ECHO_ECHO);
	q.req_id = 0x1234;
	q.nargs = 1;
	q.src = 0x02000001;
	q.length = 2;
	pair_send(&r->p.a, &q, "hi");
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.requests, 1);
	assert_int_equal(r->h.m.src, 0x02000001);
	a.opcode = OP_ECHO_ECHO;
	assert_int_equal(atoll_reply(r->ep, r->h.m.req_id, &a, NULL), 0);
	assert_true(pair_recv(&r->p.a, &got, data));
	assert_int_equal(got.flags, MESSAGE_FLAG_REPLY);
	assert_int_equal(got.req_id, 0x1234);
	assert_int_equal(got.arg[0], 6);
	/* against the schema: refused before the service sees it */
	proto_request_init(&q, OP_ECHO_DELAY);
	q.req_id = 7;
	q.nargs = 2;
	q.arg[1] = 20000000;
	pair_send(&r->p.a, &q, NULL);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.requests, 1);
	assert_true(pair_recv(&r->p.a, &got, NULL));
	assert_int_equal(got.status, STATUS_BAD_MESSAGE);
	assert_int_equal(got.req_id, 7);
	/* who has no handler for requests says so */
	{
		struct atoll_handlers none = {0};

		atoll_set_handlers(r->ep, &none, NULL);
	}
	q.arg[1] = 1;
	pair_send(&r->p.a, &q, NULL);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_true(pair_recv(&r->p.a, &got, NULL));
	assert_int_equal(got.status, STATUS_UNSUPPORTED);
}

static void events(void **state)
{
	struct rig *r = *state;
	struct proto_msg e;

	proto_request_init(&e, OP_DP_PEER_GONE);
	e.flags = MESSAGE_FLAG_EVENT;
	e.nargs = 3;
	e.arg[0] = 0x01000002;
	e.arg[2] = GONE_DIED;
	pair_send(&r->p.a, &e, NULL);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.events, 1);
	e.arg[2] = 77; /* no way to end */
	pair_send(&r->p.a, &e, NULL);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.events, 1);
}

static void complete(struct rig *r, const struct proto_verb *v, uint8_t count, uint8_t status)
{
	struct proto_completion c = {.magic = PROTO_COMPLETION_MAGIC,
				     .major = PROTO_MAJOR,
				     .slots = 1,
				     .lane = v->lane,
				     .count = count,
				     .cookie = v->cookie};

	memset(c.status, status, count);
	assert_int_equal(channel_room(&r->p.a, 1, 0), 1);
	channel_push(&r->p.a, &c, 1);
}

static void chains(void **state)
{
	struct rig *r = *state;
	struct verb v[2] = {
		{.op = VERB_CAS, .len = 8, .remote = {1, 2}, .local = {3, 4}, .compare = 5, .swap = 6},
		{.op = VERB_WRITE, .len = 64, .remote = {1, 2}, .local = {3, 4}}};
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	struct proto_verb head;
	struct proto_verb_operands more;

	/* an order that hardware would not keep */
	assert_int_equal(atoll_post(r->ep, 0, v, 2, 1), -EINVAL);
	v[1].flags = VERB_FENCE;
	assert_int_equal(atoll_post(r->ep, 1, v, 2, 1), -EINVAL); /* no such lane */
	assert_int_equal(atoll_post(r->ep, 0, v, 0, 1), -EINVAL);
	assert_int_equal(atoll_post(r->ep, 0, v, 2, 41), 0);
	assert_int_equal(channel_pop(&r->p.a, slots), 2);
	memcpy(&head, slots, sizeof(head));
	memcpy(&more, slots + 8, sizeof(more));
	assert_int_equal(proto_verb_check(&head, &more), STATUS_OK);
	assert_int_equal(head.lane, 9);
	assert_int_equal(more.compare, 5);
	assert_int_equal(more.swap, 6);
	assert_int_equal(channel_pop(&r->p.a, slots), 1);
	memcpy(&head, slots, sizeof(head));
	assert_int_equal(head.flags, VERB_FENCE | VERB_FLAG_CHAIN_END);
	channel_consumed(&r->p.a);
	complete(r, &head, 2, STATUS_OK);
	complete(r, &head, 2, STATUS_OK); /* once more: dropped */
	assert_int_equal(atoll_poll(r->ep, 8), 2);
	assert_int_equal(r->h.completions, 1);
	assert_int_equal(r->h.cookie, 41);
	assert_int_equal(r->h.c.count, 2);
}

static void provider(void **state)
{
	struct rig *r = *state;
	struct verbs *vs = atoll_verbs(r->ep);
	struct verb v = {.op = VERB_READ, .len = 8, .remote = {1, 2}, .local = {3, 4}};
	struct verb_completion c[4];
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	struct proto_verb head;
	struct proto_msg e;

	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(vs->ops->post(vs, 0, &v, 1, i), 0);
		assert_int_equal(channel_pop(&r->p.a, slots), 1);
		memcpy(&head, slots, sizeof(head));
		complete(r, &head, 1, (uint8_t)i);
	}
	proto_request_init(&e, OP_DP_CREDIT);
	e.flags = MESSAGE_FLAG_EVENT;
	e.nargs = 2;
	pair_send(&r->p.a, &e, NULL);
	assert_int_equal(vs->ops->poll(vs, c, 2), 2);
	assert_int_equal(vs->ops->poll(vs, c + 2, 2), 1);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(c[i].cookie, i);
		assert_int_equal(c[i].status[0], i);
	}
	assert_int_equal(r->h.completions, 0);
	assert_int_equal(vs->ops->poll(vs, c, 2), 0);
	assert_int_equal(r->h.events, 1); /* everything else goes to the handlers */
}

/* A ring that makes no sense ends the endpoint, for good. */
static void nonsense(void **state)
{
	struct rig *r = *state;
	struct channel_slot *s = (struct channel_slot *)((uint8_t *)r->p.half[0] + CHANNEL_HEADER);
	struct proto_msg q;

	s[0].seq = 99;
	assert_int_equal(atoll_poll(r->ep, 8), -EPROTO);
	s[0].seq = 0;
	assert_int_equal(atoll_poll(r->ep, 8), -EPROTO);
	rig_free(state);
	rig_make(state);
	r = *state;
	/* a payload that cannot be where it is said to be */
	proto_request_init(&q, OP_ECHO_ECHO);
	q.nargs = 1;
	q.length = 8;
	{
		uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
		unsigned n;

		q.payload = PAIR_ARENA - 4;
		n = proto_msg_pack(&q, slots);
		channel_push(&r->p.a, slots, n);
	}
	assert_int_equal(atoll_poll(r->ep, 8), -EPROTO);
	rig_free(state);
	rig_make(state);
	r = *state;
	/* counts that cannot be */
	((struct channel_header *)r->p.half[0])->consumed_slots = 1000;
	memset(&q, 0, sizeof(q));
	q.opcode = OP_DP_PING;
	for (unsigned i = 0; i < PAIR_SLOTS; i++)
		assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), 0);
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 0), -ENOTCONN);
	assert_int_equal(atoll_poll(r->ep, 8), -EPROTO);
}

struct ends {
	uint8_t reply[16], chain[16];
	unsigned replies, chains;
};

static void ended_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct ends *e = ctx;

	(void)payload;
	e->reply[cookie] = (uint8_t)m->status;
	e->replies++;
}

static void ended_chain(void *ctx, const struct verb_completion *c)
{
	struct ends *e = ctx;

	e->chain[c->cookie] = c->status[0];
	e->chains++;
}

/* What a dataplane that ended had taken may have happened; what it had not, has not. */
static void lost(void **state)
{
	static const struct atoll_handlers handlers = {.reply = ended_reply, .completion = ended_chain};
	struct rig *r = *state;
	struct proto_msg q = {.opcode = OP_DP_PING, .nargs = 1};
	struct verb v = {.op = VERB_READ, .len = 8, .remote = {1, 2}, .local = {3, 4}};
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	struct ends e = {0};

	atoll_set_handlers(r->ep, &handlers, &e);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, i), 0);
		assert_int_equal(atoll_post(r->ep, 0, &v, 1, i), 0);
	}
	for (unsigned i = 0; i < 5; i++) /* requests 0 to 2, chains 0 and 1 */
		assert_int_equal(channel_pop(&r->p.a, slots), 1);
	channel_taken(&r->p.a);
	endpoint_mark_lost(r->ep);
	endpoint_fail_requests(r->ep, STATUS_UNREACHABLE);
	assert_int_equal(e.replies, 4);
	assert_int_equal(e.chains, 0); /* those wait until the old lanes are known to be dead */
	endpoint_fail_chains(r->ep, STATUS_IN_DOUBT);
	assert_int_equal(e.chains, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(e.reply[i], i < 3 ? STATUS_UNREACHABLE : STATUS_NOT_SENT);
		assert_int_equal(e.chain[i], i < 2 ? STATUS_IN_DOUBT : STATUS_NOT_SENT);
	}
	endpoint_fail_requests(r->ep, STATUS_UNREACHABLE); /* each ends once */
	endpoint_fail_chains(r->ep, STATUS_IN_DOUBT);
	assert_int_equal(e.replies + e.chains, 8);
	/* a count that cannot be: everything may have happened */
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 5), 0);
	((struct channel_header *)r->p.half[0])->consumed_slots += 5000;
	endpoint_mark_lost(r->ep);
	endpoint_fail_requests(r->ep, STATUS_UNREACHABLE);
	assert_int_equal(e.reply[5], STATUS_UNREACHABLE);
}

/* The answer that the last dataplane gave before it ended is heard; then the loss is. */
static void lost_after_answer(void **state)
{
	struct rig *r = *state;
	struct proto_msg q = {.opcode = OP_DP_PING, .nargs = 1, .arg = {1}}, got;

	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 3), 0);
	assert_true(pair_recv(&r->p.a, &got, NULL));
	answer(r, &got, STATUS_OK, NULL, 0);
	r->ep->lost = true;
	assert_int_equal(atoll_request(r->ep, ATOLL_DATAPLANE, &q, NULL, 4), -ENOTCONN);
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.m.status, STATUS_OK);
	assert_int_equal(atoll_poll(r->ep, 8), -ENOTCONN);
}

static void calls(void **state)
{
	struct rig *r = *state;
	struct proto_msg q = {.opcode = OP_DP_PING, .nargs = 1, .arg = {1}}, got, reply;

	/* nobody answers: the request is cancelled, and a late answer is nobody's */
	assert_int_equal(atoll_call(r->ep, ATOLL_DATAPLANE, &q, NULL, &reply, NULL, 5), -ETIMEDOUT);
	assert_true(pair_recv(&r->p.a, &got, NULL));
	assert_int_equal(got.opcode, OP_DP_PING);
	answer(r, &got, STATUS_OK, NULL, 0);
	{
		uint64_t id = got.req_id;

		assert_true(pair_recv(&r->p.a, &got, NULL));
		assert_int_equal(got.opcode, OP_DP_CANCEL);
		assert_int_equal(got.arg[0], id);
	}
	assert_int_equal(atoll_poll(r->ep, 8), 1);
	assert_int_equal(r->h.replies, 0);
	q.flags = MESSAGE_FLAG_ASYNC;
	assert_int_equal(atoll_call(r->ep, ATOLL_DATAPLANE, &q, NULL, &reply, NULL, 5), -EINVAL);
	q.flags = 0;
	r->ep->lost = true;
	assert_int_equal(atoll_call(r->ep, ATOLL_DATAPLANE, &q, NULL, &reply, NULL, 5), -ENOTCONN);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(requests), T(lane_close), T(request_limits), T(services), T(events), T(chains),
		T(provider), T(nonsense),	T(lost),     T(lost_after_answer), T(calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
