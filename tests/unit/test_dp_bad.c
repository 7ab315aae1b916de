/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad input on a ring: each kind has a counter, gives whoever did it a status or closes it, and nobody
 * else notices: an honest client and its service talk on throughout.
 */
#include "tests/unit/dp_node.h"

struct rig {
	struct node *n;
	struct proc *bad, *honest, *s;
	struct atoll_handle to, to_too; /* the service, for either */
	uint64_t cookie;
};

static struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->n = node_new();
	r->s = proc_new(r->n, 0, CTL_KIND_SERVICE, "echo");
	r->honest = proc_new(r->n, 1, CTL_KIND_CLIENT, "honest");
	r->bad = proc_new(r->n, 2, CTL_KIND_CLIENT, "bad");
	r->s->answers = true;
	r->to = proc_lookup(r->bad, "echo");
	r->to_too = proc_lookup(r->honest, "echo");
	return r;
}

/* The others have seen nothing of it. */
static void others_fine(struct rig *r)
{
	struct proc *h = r->honest;

	h->nheard = h->seen = r->s->nheard = r->s->seen = 0;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(proc_send(h, r->to_too, ++r->cookie, 100, 100, 0), 0);
	node_run(r->n);
	for (unsigned i = 0; i < 3; i++)
		proc_expect_reply(h, r->cookie - 2 + i, STATUS_OK);
	proc_silent(h);
	node_check(r->n);
}

static void rig_end(struct rig *r)
{
	others_fine(r);
	node_end(r->n);
	free(r);
}

/* A record of a good request, to be spoilt. */
static struct proto_message good(const struct rig *r, uint64_t id)
{
	return (struct proto_message){.magic = PROTO_MESSAGE_MAGIC,
				      .major = PROTO_MAJOR,
				      .slots = 1,
				      .opcode = OP_TEST,
				      .req_id = id,
				      .dst_slot = r->to.slot,
				      .dst_gen = r->to.gen,
				      .arg0 = id};
}

/* As the library would have numbered it, so that it hears the answer. */
static uint64_t expect_answer(struct proc *p)
{
	struct ep_pending *e = &p->ep->requests[p->ep->request_free];

	p->ep->request_free = e->next;
	e->used = 1;
	e->call = 0;
	e->state = EP_LIVE;
	e->cookie = 4711;
	return (uint64_t)e->gen << 32 | (uint64_t)(e - p->ep->requests);
}

enum field {
	F_OPCODE_ZERO, F_FLAGS_UNKNOWN, F_FLAGS_EVENT, F_STATUS_IN_REQUEST, F_PAYLOAD_WITHOUT_LENGTH,
	F_MAX_REPLY, F_RESERVED, F_OPCODE_NOT_HERE, F_OPCODE_LINK, F_OPCODE_UNKNOWN, F_UNUSED_REGISTER,
	F_ARG_RANGE, F_FIELDS,
};

/* A field out of range: BAD_MESSAGE or TOO_BIG to the sender, and counted. */
static void test_fields(void **state)
{
	struct rig *r = rig_new();

	(void)state;
	for (int f = 0; f < F_FIELDS; f++) {
		uint64_t before = node_count(r->n, "refused.bad_message");
		struct {
			struct proto_message m;
			struct proto_message_args more;
		} rec;
		unsigned slots = 1;
		const struct heard *h;

		memset(&rec, 0, sizeof(rec));
		rec.m = good(r, expect_answer(r->bad));
		switch ((enum field)f) {
		case F_OPCODE_ZERO:
			rec.m.opcode = 0;
			break;
		case F_FLAGS_UNKNOWN:
			rec.m.flags = 0x80;
			break;
		case F_FLAGS_EVENT: /* counted, but an event has no answer */
			rec.m.flags = MESSAGE_FLAG_EVENT;
			break;
		case F_STATUS_IN_REQUEST:
			rec.m.status = STATUS_FAILED;
			break;
		case F_PAYLOAD_WITHOUT_LENGTH:
			rec.m.payload = 64;
			break;
		case F_MAX_REPLY:
			rec.m.max_reply = PROTO_PAYLOAD_MAX + 1;
			break;
		case F_RESERVED:
			rec.m.slots = 2;
			rec.more.reserved = 1;
			slots = 2;
			break;
		case F_OPCODE_NOT_HERE: /* an event's */
			rec.m.dst_slot = rec.m.dst_gen = 0;
			rec.m.opcode = OP_DP_GRANTED;
			break;
		case F_OPCODE_LINK:
			rec.m.dst_slot = rec.m.dst_gen = 0;
			rec.m.opcode = OP_LINK_LANE_OPEN;
			break;
		case F_OPCODE_UNKNOWN:
			rec.m.dst_slot = rec.m.dst_gen = 0;
			rec.m.opcode = 0x01ff;
			break;
		case F_UNUSED_REGISTER:
			rec.m.dst_slot = rec.m.dst_gen = 0;
			rec.m.opcode = OP_DP_PING;
			rec.m.slots = 2;
			rec.more.arg[0] = 1;
			slots = 2;
			break;
		case F_ARG_RANGE:
			rec.m.dst_slot = rec.m.dst_gen = 0;
			rec.m.opcode = OP_DP_LANE_OPEN;
			rec.m.arg0 = 0; /* no node */
			break;
		case F_FIELDS:
			break;
		}
		proc_raw(r->bad, &rec, slots);
		node_run(r->n);
		if (f == F_FLAGS_EVENT) {
			proc_silent(r->bad);
		} else {
			h = proc_expect(r->bad, HEARD_REPLY);
			assert_true(h->m.status ==
				    (f == F_MAX_REPLY ? STATUS_TOO_BIG : STATUS_BAD_MESSAGE));
		}
		if (f != F_MAX_REPLY)
			assert_int_equal(node_count(r->n, "refused.bad_message"), before + 1);
		others_fine(r);
	}
	assert_int_equal(node_count(r->n, "poisoned"), 0);
	rig_end(r);
}

static void test_forged_source(void **state)
{
	struct rig *r = rig_new();
	struct proto_message m = good(r, 0);
	const struct heard *h;

	(void)state;
	m.req_id = expect_answer(r->bad);
	m.src = r->honest->ep->source;
	m.src_epoch = r->honest->epoch;
	r->s->nheard = r->s->seen = 0;
	proc_raw(r->bad, &m, 1);
	node_run(r->n);
	/* it arrives, as from whom it is */
	h = proc_expect(r->s, HEARD_REQUEST);
	assert_int_equal(h->m.src, r->bad->ep->source);
	assert_int_equal(h->m.src_epoch, r->bad->epoch);
	proc_expect_reply(r->bad, 4711, STATUS_OK);
	assert_int_equal(node_count(r->n, "forged_source"), 1);
	rig_end(r);
}

static void test_stale_handle(void **state)
{
	const struct atoll_handle none[] = {{1, 0}, {0, 1}, {DP_HANDLES_MAX - 1, 1}, {DP_HANDLES_MAX, 1},
					    {~0u, ~0u}};
	struct rig *r = rig_new();
	struct atoll_handle h = r->to;

	(void)state;
	h.gen--;
	assert_int_equal(proc_send(r->bad, h, 1, 0, 0, 0), 0);
	node_run(r->n);
	proc_expect_reply(r->bad, 1, STATUS_BAD_HANDLE);
	for (unsigned i = 0; i < sizeof(none) / sizeof(*none); i++) {
		assert_int_equal(proc_send(r->bad, none[i], i, 0, 0, 0), 0);
		node_run(r->n);
		proc_expect_reply(r->bad, i, STATUS_BAD_HANDLE);
	}
	assert_int_equal(node_count(r->n, "refused.bad_handle"), 6);
	rig_end(r);
}

/* Answers to what it was never asked, or that somebody else was. */
static void test_bad_reply(void **state)
{
	struct rig *r = rig_new();
	struct proto_msg m = {.opcode = OP_TEST};
	uint64_t token;

	(void)state;
	r->s->answers = false;
	r->s->nheard = r->s->seen = 0;
	assert_int_equal(proc_send(r->honest, r->to_too, 1, 0, 0, 0), 0);
	node_run(r->n);
	token = proc_expect(r->s, HEARD_REQUEST)->m.req_id;
	assert_int_equal(atoll_reply(r->bad->ep, token, &m, NULL), 0);
	assert_int_equal(atoll_reply(r->bad->ep, ~0ull, &m, NULL), 0);
	assert_int_equal(atoll_reply(r->bad->ep, 0, &m, NULL), 0);
	node_run(r->n);
	assert_int_equal(node_count(r->n, "bad_reply"), 3);
	proc_silent(r->honest);
	assert_int_equal(atoll_reply(r->s->ep, token, &m, NULL), 0);
	assert_int_equal(atoll_reply(r->s->ep, token, &m, NULL), 0); /* once only */
	node_run(r->n);
	proc_expect_reply(r->honest, 1, STATUS_OK);
	proc_silent(r->honest);
	assert_int_equal(node_count(r->n, "bad_reply"), 4);
	r->s->answers = true;
	rig_end(r);
}

static void test_bad_verbs(void **state)
{
	struct rig *r = rig_new();
	uint8_t *base;
	struct atoll_handle h = proc_region(r->bad, 1, 4096, &base);
	uint32_t lane = proc_lane(r->bad);
	uint64_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 11; i++) {
		struct {
			struct proto_verb v;
			struct proto_verb_operands o;
		} rec;
		static const uint8_t want[] = {STATUS_BAD_MESSAGE, STATUS_BAD_MESSAGE,
					       STATUS_BAD_MESSAGE, STATUS_BAD_MESSAGE,
					       STATUS_BAD_MESSAGE, STATUS_BAD_MESSAGE,
					       STATUS_BAD_MESSAGE, STATUS_RANGE,
					       STATUS_ALIGN,	   STATUS_ALIGN, STATUS_BAD_MESSAGE};
		uint64_t align = node_count(r->n, "refused.align");
		struct ep_pending *p = &r->bad->ep->chains[r->bad->ep->chain_free];
		const struct heard *got;

		r->bad->ep->chain_free = p->next;
		p->used = p->count = 1;
		p->state = EP_LIVE;
		p->cookie = i;
		r->bad->ep->chains_out++;
		memset(&rec, 0, sizeof(rec));
		rec.v = (struct proto_verb){.magic = PROTO_VERB_MAGIC,
					    .major = PROTO_MAJOR,
					    .slots = 2,
					    .op = VERB_FAA,
					    .flags = VERB_FLAG_CHAIN_END,
					    .lane = (uint16_t)r->bad->ep->lanes[lane].number,
					    .len = 8,
					    .cookie = (uint64_t)p->gen << 32 |
						      (uint64_t)(p - r->bad->ep->chains),
					    .remote_slot = h.slot,
					    .remote_gen = h.gen,
					    .local_slot = h.slot,
					    .local_gen = h.gen};
		switch (i) {
		case 0:
			rec.v.op = 0;
			break;
		case 1:
			rec.v.op = 5;
			break;
		case 2:
			rec.v.len = 16;
			break;
		case 3:
			rec.v.flags |= 0x80;
			break;
		case 4:
			rec.v.reserved0 = 1;
			break;
		case 5:
			rec.o.compare = 1;
			break;
		case 6: /* a READ needs no operands */
			rec.v.op = VERB_READ;
			break;
		case 7:
			rec.v.remote_offset = ~0ull;
			break;
		case 8:
			rec.v.remote_offset = 4;
			break;
		case 9:
			rec.v.local_offset = 1;
			break;
		default: /* nothing to read */
			rec.v.op = VERB_READ;
			rec.v.slots = 1;
			rec.v.len = 0;
			break;
		}
		proc_raw(r->bad, &rec, rec.v.slots);
		node_run(r->n);
		got = proc_expect(r->bad, HEARD_COMPLETION);
		assert_int_equal(got->cookie, i);
		if (got->c.status[0] != want[i])
			fail_msg("verb %u: %s", i, proto_status_name(got->c.status[0]));
		assert_int_equal(node_count(r->n, "bad_verb"), ++n);
		if (want[i] == STATUS_ALIGN)
			assert_int_equal(node_count(r->n, "refused.align"), align + 1);
		others_fine(r);
	}
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(base[i], 0);
	assert_int_equal(node_count(r->n, "poisoned"), 0);
	rig_end(r);
}

/* What cannot come from a library that is whole: the endpoint is closed, and the log says why. */
enum poison {
	P_MAGIC, P_MAJOR, P_SEQ, P_SEQ_OLD, P_SLOTS_ZERO, P_SLOTS_MANY, P_SLOTS_MISSING, P_CONSUMED,
	P_CONSUMED_BYTES, P_PAYLOAD_OUTSIDE, P_PAYLOAD_ODD, P_PAYLOAD_FAR, P_CHAIN_MIXED, P_CHAIN_LONG,
	P_VERB_MAJOR, P_KINDS,
};

static void poison(struct rig *r, enum poison kind)
{
	struct atoll_endpoint *ep = r->bad->ep;
	struct channel_slot *slot = &ep->ch.tx[ep->ch.tx_head & ep->ch.tx_mask];
	struct proto_message m = good(r, 1);
	struct proto_verb v = {.magic = PROTO_VERB_MAGIC,
			       .major = PROTO_MAJOR,
			       .slots = 1,
			       .op = VERB_READ,
			       .len = 8,
			       .cookie = 1};

	switch (kind) {
	case P_MAGIC:
		m.magic = 0xdead;
		proc_raw(r->bad, &m, 1);
		break;
	case P_MAJOR:
		m.major++;
		proc_raw(r->bad, &m, 1);
		break;
	case P_SEQ:
		slot->seq = ep->ch.tx_head + 2;
		break;
	case P_SEQ_OLD:
		slot->seq = ep->ch.tx_head + 1 - 2 * (ep->ch.tx_mask + 1);
		break;
	case P_SLOTS_ZERO:
		m.slots = 0;
		proc_raw(r->bad, &m, 1);
		break;
	case P_SLOTS_MANY:
		m.slots = 5;
		proc_raw(r->bad, &m, 1);
		break;
	case P_SLOTS_MISSING:
		m.slots = 3;
		proc_raw(r->bad, &m, 1);
		break;
	case P_CONSUMED: /* seen when the ring is full: so it asks for much */
	case P_CONSUMED_BYTES:
		r->bad->asleep = true;
		if (kind == P_CONSUMED)
			ep->ch.own->consumed_slots += 1000;
		else
			ep->ch.own->consumed_bytes += 1 << 20;
		for (unsigned i = 0; i < 40; i++)
			proc_send(r->bad, r->to, i, 64, PROTO_PAYLOAD_MAX, 0);
		break;
	case P_PAYLOAD_OUTSIDE:
		m.length = PROTO_PAYLOAD_MAX;
		m.payload = NODE_ARENA - 64;
		proc_raw(r->bad, &m, 1);
		break;
	case P_PAYLOAD_ODD:
		m.length = 8;
		m.payload = 1;
		proc_raw(r->bad, &m, 1);
		break;
	case P_PAYLOAD_FAR:
		m.length = 8;
		m.payload = 16 * NODE_ARENA;
		proc_raw(r->bad, &m, 1);
		break;
	case P_CHAIN_MIXED:
		proc_raw(r->bad, &v, 1);
		v.cookie = 2;
		v.flags = VERB_FLAG_CHAIN_END;
		proc_raw(r->bad, &v, 1);
		break;
	case P_CHAIN_LONG:
		for (unsigned i = 0; i <= PROTO_CHAIN_MAX; i++)
			proc_raw(r->bad, &v, 1);
		break;
	case P_VERB_MAJOR:
		v.major++;
		proc_raw(r->bad, &v, 1);
		break;
	case P_KINDS:
		break;
	}
}

static void test_poison(void **state)
{
	struct rig *r = rig_new();

	(void)state;
	for (int kind = 0; kind < P_KINDS; kind++) {
		uint64_t closed = node_count(r->n, "closed"), rings = node_count(r->n, "bad_ring");
		unsigned unused = r->n->unused_endpoints;

		/* requests and chains of its are outstanding at that moment */
		r->s->answers = false;
		assert_int_equal(proc_send(r->bad, r->to, 1, 100, 100, 0), 0);
		node_run(r->n);
		r->n->said[0] = 0;
		poison(r, (enum poison)kind);
		node_run(r->n);
		if (node_count(r->n, "poisoned") != (uint64_t)kind + 1)
			fail_msg("kind %d is not seen", kind);
		assert_int_equal(node_count(r->n, "closed"), closed + 1);
		assert_int_equal(r->n->unused_endpoints, unused + 1);
		assert_non_null(strstr(r->n->said, "bad"));
		if (kind >= P_SEQ && kind <= P_PAYLOAD_FAR)
			assert_int_equal(node_count(r->n, "bad_ring"), rings + 1);
		if (kind >= P_CHAIN_MIXED)
			assert_int_equal(node_count(r->n, "bad_verb"), (uint64_t)kind - P_CHAIN_MIXED + 1);
		node_check(r->n);
		r->s->answers = true;
		others_fine(r);
		proc_end(r->bad, GONE_DIED);
		r->bad = proc_new(r->n, 2, CTL_KIND_CLIENT, "bad");
		r->to = proc_lookup(r->bad, "echo");
	}
	rig_end(r);
}

/* Halves that were not made for each other. */
static void test_bad_halves(void **state)
{
	struct rig *r = rig_new();
	size_t size = channel_half_size(NODE_SLOTS, NODE_ARENA);
	uint8_t *own = calloc(1, size), *peer = calloc(1, size);
	struct dp_attach a = {.kind = CTL_KIND_CLIENT,
			      .name = "x",
			      .own = own,
			      .peer = peer,
			      .slots = NODE_SLOTS,
			      .arena = NODE_ARENA};
	uint32_t endpoint, epoch;

	(void)state;
	assert_int_equal(dp_endpoint_add(r->n->dp, &a, &endpoint, &epoch), -EPROTO);
	channel_format(own, NODE_SLOTS, NODE_ARENA, 1);
	channel_format(peer, NODE_SLOTS * 2, NODE_ARENA, 1);
	assert_int_equal(dp_endpoint_add(r->n->dp, &a, &endpoint, &epoch), -EPROTO);
	a.slots = 65;
	assert_int_equal(dp_endpoint_add(r->n->dp, &a, &endpoint, &epoch), -EINVAL);
	free(own);
	free(peer);
	assert_int_equal(dp_endpoint_close(r->n->dp, 17, 1, GONE_DIED), -ENOENT);
	assert_int_equal(dp_endpoint_close(r->n->dp, ~0u, 1, GONE_DIED), -ENOENT);
	assert_int_equal(dp_endpoint_close(r->n->dp, r->bad->endpoint, r->bad->epoch + 1, GONE_DIED),
			 -ENOENT);
	assert_int_equal(dp_region_close(r->n->dp, 12345), -ENOENT);
	rig_end(r);
}

/* One that takes all it can get: others are served all the same. */
static void test_greedy(void **state)
{
	struct rig *r = rig_new();
	struct proc *g[3];
	struct atoll_handle to[3], h;
	uint8_t *base;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		g[i] = proc_new_sized(r->n, 3 + i, i ? CTL_KIND_CLIENT : CTL_KIND_SERVICE, "greedy",
				      16384, 1 << 20);
	for (unsigned i = 0; i < 3; i++)
		to[i] = proc_lookup(g[i], "greedy");
	/* requests that are never answered; of itself too */
	for (unsigned i = 0; i < 3; i++)
		g[i]->asleep = true;
	for (unsigned i = 0; i < 15000; i++) {
		struct proto_message m = good(r, i);
		struct proc *p = g[i % 3];

		m.dst_slot = to[i % 3].slot;
		m.dst_gen = to[i % 3].gen;
		if (channel_room(&p->ep->ch, 1, 0) == 1)
			proc_raw(p, &m, 1);
		if (i % 32 == 0)
			node_turn(r->n);
	}
	node_run(r->n);
	node_check(r->n);
	others_fine(r);
	for (unsigned i = 0; i < 2; i++)
		proc_end(g[i], GONE_DIED);
	others_fine(r);
	/* chains that are worked on for long, past what the library would post */
	g[2]->asleep = false;
	for (unsigned i = 0; i < 400; i++)
		node_run(r->n);
	g[2]->nheard = g[2]->seen = 0;
	h = proc_region(g[2], 9, 4 << 20, &base);
	(void)proc_lane(g[2]);
	g[2]->asleep = true;
	for (unsigned i = 0; i < 20000; i++) {
		struct proto_verb v = {.magic = PROTO_VERB_MAGIC,
				       .major = PROTO_MAJOR,
				       .slots = 1,
				       .op = VERB_READ,
				       .flags = VERB_FLAG_CHAIN_END,
				       .len = 4 << 20,
				       .cookie = i,
				       .remote_slot = h.slot,
				       .remote_gen = h.gen,
				       .local_slot = h.slot,
				       .local_gen = h.gen};

		if (channel_room(&g[2]->ep->ch, 1, 0) == 1)
			proc_raw(g[2], &v, 1);
		if (i % 64 == 0)
			node_turn(r->n);
	}
	others_fine(r);
	node_check(r->n);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),	     cmocka_unit_test(test_forged_source),
		cmocka_unit_test(test_stale_handle), cmocka_unit_test(test_bad_reply),
		cmocka_unit_test(test_bad_verbs),    cmocka_unit_test(test_poison),
		cmocka_unit_test(test_bad_halves),   cmocka_unit_test(test_greedy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
