/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every opcode of the schema: a random good message passes at its place, and every single thing
 * that can be wrong with it is found and named. Then pack and unpack, the other records, the text,
 * and random bytes through all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/proto.h"

static uint64_t rng_state = 1;

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators) */
static uint64_t rng(void)
{
	uint64_t z = rng_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t between(uint64_t low, uint64_t high)
{
	return high - low == UINT64_MAX ? rng() : low + rng() % (high - low + 1);
}

static uint64_t arg_random(const struct proto_arg *a)
{
	if (!a->values)
		return between(a->min, a->max);
	if (a->values->bits)
		return rng() & a->allowed;
	return a->values->values[rng() % a->values->count].value;
}

/* A record through pack and unpack, as a receiver sees it. */
static void transmit(const struct proto_msg *in, struct proto_msg *out)
{
	uint64_t slots[PROTO_SLOTS_MAX * 8];
	unsigned n;

	memset(slots, 0xa5, sizeof(slots));
	n = proto_msg_pack(in, slots);
	assert_int_equal(n, proto_msg_slots(in));
	for (unsigned i = 0; i < PROTO_SLOTS_MAX; i++)
		assert_int_equal(slots[i * 8 + 7] >> 32, 0xa5a5a5a5);
	for (unsigned i = n * 8; i < PROTO_SLOTS_MAX * 8; i++)
		assert_true(slots[i] == 0xa5a5a5a5a5a5a5a5u);
	memset(out, 0x5a, sizeof(*out));
	proto_msg_unpack(slots, n, out);
}

static enum proto_where where_of(const struct proto_op *op, bool reply)
{
	if (reply && op->to != PROTO_TO_LINK)
		return PROTO_TO_CLIENT;
	return op->to;
}

/* A good message of this opcode, as it is received. */
static void message_random(const struct proto_op *op, bool reply, struct proto_msg *out)
{
	const struct proto_body *b = reply ? &op->reply : &op->request;
	struct proto_msg q, m;

	proto_request_init(&q, op->value);
	q.req_id = rng();
	q.trace_id = (uint32_t)rng();
	m = q;
	if (reply)
		proto_reply_init(&m, &q, STATUS_OK);
	assert_true(m.req_id == q.req_id && m.trace_id == q.trace_id);
	m.src = (uint32_t)rng();
	m.src_epoch = (uint32_t)rng();
	m.budget_us = (uint32_t)rng();
	m.length = (uint32_t)between(b->payload_min, b->payload_max);
	m.max_reply = (uint16_t)(rng() % (PROTO_PAYLOAD_MAX + 1));
	if (m.length && op->to != PROTO_TO_LINK)
		m.payload = (uint32_t)rng();
	for (unsigned i = 0; i < b->nargs; i++)
		m.arg[i] = arg_random(&b->args[i]);
	transmit(&m, out);
}

static void refuse(const struct proto_msg *m, enum proto_where where, uint8_t status,
		   const char *why)
{
	if (proto_message_check(m, where) != status || !proto_message_why(m, where) ||
	    strcmp(proto_message_why(m, where), why) != 0)
		print_error("opcode 0x%04x at %d: %s (%s), expected %s (%s)\n", m->opcode, where,
			    proto_status_name(proto_message_check(m, where)),
			    proto_message_why(m, where), proto_status_name(status), why);
	assert_int_equal(proto_message_check(m, where), status);
	assert_string_equal(proto_message_why(m, where), why);
}

static void accept(const struct proto_msg *m, enum proto_where where)
{
	if (proto_message_why(m, where))
		print_error("opcode 0x%04x at %d: bad %s\n", m->opcode, where,
			    proto_message_why(m, where));
	assert_int_equal(proto_message_check(m, where), STATUS_OK);
	assert_null(proto_message_why(m, where));
	assert_int_equal(proto_header_check(m, where), STATUS_OK);
	assert_null(proto_header_why(m, where));
}

/* Changes one field of a copy and expects the refusal. */
#define SPOIL(m, where, status, why, change)                                                       \
	do {                                                                                       \
		struct proto_msg x = *(m);                                                         \
		change;                                                                            \
		refuse(&x, where, status, why);                                                    \
	} while (0)

static void spoil_header(const struct proto_msg *m, enum proto_where where)
{
	SPOIL(m, where, STATUS_BAD_MESSAGE, "magic", x.magic ^= 1);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "major", x.major ^= 2);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "slots", x.slots ^= 4);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "slots", x.slots = 0);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "slots", x.nargs = 22; x.slots = 5);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "opcode", x.opcode = 0);
	for (unsigned bit = 3; bit < 16; bit++)
		SPOIL(m, where, STATUS_BAD_MESSAGE, "flags", x.flags ^= (uint16_t)(1u << bit));
	SPOIL(m, where, STATUS_BAD_MESSAGE, "flags", x.flags = 3);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "flags", x.flags = 5);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "flags", x.flags = 6);
	SPOIL(m, where, STATUS_TOO_BIG, "length", x.length = PROTO_PAYLOAD_MAX + 1; x.payload = 0);
	SPOIL(m, where, STATUS_TOO_BIG, "length", x.length = UINT32_MAX; x.payload = 0);
	SPOIL(m, where, STATUS_TOO_BIG, "max_reply", x.max_reply = PROTO_PAYLOAD_MAX + 1);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "payload", x.payload = 64; x.length = 0);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "reserved", x.reserved = 1u << 31);
	SPOIL(m, where, STATUS_BAD_MESSAGE, "status", x.status = STATUS_COUNT);
	if (!(m->flags & MESSAGE_FLAG_REPLY))
		SPOIL(m, where, STATUS_BAD_MESSAGE, "status", x.status = STATUS_FAILED);
	if (where == PROTO_TO_LINK)
		SPOIL(m, where, STATUS_BAD_MESSAGE, "payload", x.payload = 64; x.length = 1);
	if (where == PROTO_TO_DATAPLANE) {
		SPOIL(m, where, STATUS_BAD_MESSAGE, "dst_slot", x.dst_slot = 1);
		SPOIL(m, where, STATUS_BAD_MESSAGE, "dst_gen", x.dst_gen = 1);
	}
}

static void spoil_body(const struct proto_msg *m, const struct proto_body *b,
		       enum proto_where where)
{
	if (b->payload_max < PROTO_PAYLOAD_MAX)
		SPOIL(m, where, STATUS_TOO_BIG, "length", x.length = b->payload_max + 1u);
	if (b->payload_min)
		SPOIL(m, where, STATUS_BAD_MESSAGE, "length", x.length = 0; x.payload = 0);
	for (unsigned i = 0; i < b->nargs; i++) {
		const struct proto_arg *a = &b->args[i];

		if (a->max != UINT64_MAX) {
			SPOIL(m, where, STATUS_BAD_MESSAGE, a->name, x.arg[i] = a->max + 1);
			SPOIL(m, where, STATUS_BAD_MESSAGE, a->name, x.arg[i] |= 1ull << 63);
		}
		if (a->min != 0) {
			SPOIL(m, where, STATUS_BAD_MESSAGE, a->name, x.arg[i] = 0);
			SPOIL(m, where, STATUS_BAD_MESSAGE, a->name, x.arg[i] = a->min - 1);
		}
	}
	for (unsigned i = b->nargs; i < m->nargs; i++)
		SPOIL(m, where, STATUS_BAD_MESSAGE, "unused register", x.arg[i] = 1);
}

static void spoil_direction(const struct proto_op *op, const struct proto_msg *m,
			    enum proto_where where)
{
	bool reply = m->flags & MESSAGE_FLAG_REPLY;

	for (enum proto_where w = PROTO_TO_DATAPLANE; w <= PROTO_TO_CLIENT; w++) {
		struct proto_msg x = *m;

		x.payload = 0;
		if (w == where)
			continue;
		if (op->value >= PROTO_SERVICE_FIRST &&
		    (w == PROTO_TO_DATAPLANE || w == PROTO_TO_LINK))
			accept(&x, w); /* in transit */
		else
			assert_int_equal(proto_message_check(&x, w), STATUS_BAD_MESSAGE);
	}
	if (!reply && op->async)
		SPOIL(m, where, STATUS_BAD_MESSAGE, "flags", x.flags = 0);
	if (!reply && !op->async && where != PROTO_TO_CLIENT) {
		struct proto_msg x = *m;

		x.flags = MESSAGE_FLAG_ASYNC;
		accept(&x, where);
	}
	if (!reply && where == PROTO_TO_CLIENT) /* an event is no answer */
		SPOIL(m, where, STATUS_BAD_MESSAGE, "opcode", x.flags = MESSAGE_FLAG_REPLY);
}

static void spoil_failed(const struct proto_msg *m, const struct proto_body *b,
			 enum proto_where where)
{
	struct proto_msg q = {.opcode = m->opcode}, r;

	for (uint16_t status = 1; status < STATUS_COUNT; status++) {
		proto_reply_init(&q, m, status);
		transmit(&q, &r);
		assert_int_equal(r.slots, 1);
		accept(&r, where);
	}
	for (unsigned i = 0; i < b->nargs; i++)
		if (b->args[i].max != UINT64_MAX)
			SPOIL(&r, where, STATUS_BAD_MESSAGE, b->args[i].name,
			      x.arg[i] = b->args[i].max + 1);
}

static void every_opcode(void **state)
{
	(void)state;
	assert_true(proto_ops_count > 25);
	for (unsigned i = 0; i < proto_ops_count; i++) {
		const struct proto_op *op = &proto_ops[i];

		assert_ptr_equal(proto_op_find(op->value), op);
		assert_string_equal(proto_op_name(op->value), op->name);
		assert_int_equal(proto_opcode_by_name(op->name), op->value);
		for (int round = 0; round < 40; round++) {
			for (int reply = 0; reply <= op->replies; reply++) {
				const struct proto_body *b = reply ? &op->reply : &op->request;
				enum proto_where where = where_of(op, reply);
				struct proto_msg m;

				message_random(op, reply, &m);
				accept(&m, where);
				spoil_header(&m, where);
				spoil_body(&m, b, where);
				spoil_direction(op, &m, where);
				if (reply)
					spoil_failed(&m, b, where);
			}
		}
	}
}

static void enum_args(void **state)
{
	struct proto_msg q, m;

	(void)state;
	proto_request_init(&q, OP_DP_PEER_GONE);
	q.arg[ARG_DP_PEER_GONE_WHY] = GONE_DIED;
	transmit(&q, &m);
	accept(&m, PROTO_TO_CLIENT);
	SPOIL(&m, PROTO_TO_CLIENT, STATUS_BAD_MESSAGE, "why", x.arg[ARG_DP_PEER_GONE_WHY] = 0);
	SPOIL(&m, PROTO_TO_CLIENT, STATUS_BAD_MESSAGE, "why", x.arg[ARG_DP_PEER_GONE_WHY] = 64);
	proto_request_init(&q, OP_DP_GRANT);
	q.arg[ARG_DP_GRANT_RIGHTS] = RIGHT_READ | RIGHT_GRANT;
	transmit(&q, &m);
	accept(&m, PROTO_TO_DATAPLANE);
	SPOIL(&m, PROTO_TO_DATAPLANE, STATUS_BAD_MESSAGE, "rights",
	      x.arg[ARG_DP_GRANT_RIGHTS] = RIGHT_ALL + 1);
}

static void unknown_opcodes(void **state)
{
	struct proto_msg q, m;
	unsigned known = 0;

	(void)state;
	for (unsigned op = 0; op <= UINT16_MAX; op++) {
		if (proto_op_find((uint16_t)op)) {
			known++;
			continue;
		}
		assert_null(proto_op_name((uint16_t)op));
		proto_request_init(&q, (uint16_t)op);
		q.arg[21] = op;
		transmit(&q, &m);
		for (enum proto_where w = PROTO_TO_DATAPLANE; w <= PROTO_TO_LINK; w++) {
			bool transit = w != PROTO_TO_SERVICE && op >= PROTO_SERVICE_FIRST;

			if (transit)
				accept(&m, w);
			else
				refuse(&m, w, STATUS_BAD_MESSAGE, "opcode");
			assert_int_equal(proto_header_check(&m, w),
					 op ? STATUS_OK : STATUS_BAD_MESSAGE);
		}
	}
	assert_int_equal(known, proto_ops_count);
	assert_int_equal(proto_opcode_by_name("no.such"), 0);
	assert_int_equal(proto_opcode_by_name(""), 0);
}

static void pack_round_trip(void **state)
{
	(void)state;
	for (int round = 0; round < 20000; round++) {
		unsigned n = (unsigned)(rng() % (PROTO_ARGS_MAX + 1)), want;
		struct proto_msg in = {.opcode = (uint16_t)rng(),
				       .flags = (uint16_t)rng(),
				       .length = (uint32_t)rng(),
				       .payload = (uint32_t)rng(),
				       .src = (uint32_t)rng(),
				       .status = (uint16_t)rng(),
				       .max_reply = (uint16_t)rng(),
				       .req_id = rng(),
				       .dst_slot = (uint32_t)rng(),
				       .dst_gen = (uint32_t)rng(),
				       .budget_us = (uint32_t)rng(),
				       .trace_id = (uint32_t)rng(),
				       .src_epoch = (uint32_t)rng()};
		struct proto_msg out;
		bool implied = rng() & 1;

		for (unsigned i = 0; i < n; i++)
			in.arg[i] = rng() | 1;
		in.nargs = (uint8_t)(implied ? 0 : n);
		want = n <= 1 ? 1 : n <= 8 ? 2 : n <= 15 ? 3 : 4;
		assert_int_equal(proto_msg_slots(&in), want);
		transmit(&in, &out);
		assert_int_equal(out.slots, want);
		assert_int_equal(out.magic, PROTO_MESSAGE_MAGIC);
		assert_int_equal(out.major, PROTO_MAJOR);
		assert_memory_equal(&out.opcode, &in.opcode, 44);
		assert_memory_equal(out.arg, in.arg, sizeof(in.arg));
		assert_int_equal(out.src_epoch, in.src_epoch);
		assert_int_equal(out.reserved, 0);
		assert_int_equal(out.nargs, 1 + (want - 1) * 7);
	}
}

/* The bytes themselves, so that both sides cannot be wrong alike. */
static void layout(void **state)
{
	struct proto_message h = {.magic = PROTO_MESSAGE_MAGIC,
				  .major = 1,
				  .slots = 2,
				  .opcode = OP_DP_GRANT,
				  .req_id = 0x1122334455667788u,
				  .dst_slot = 7,
				  .dst_gen = 8,
				  .budget_us = 9,
				  .trace_id = 10,
				  .arg0 = 11,
				  .src_epoch = 12,
				  .src = 13,
				  .length = 14};
	struct proto_message_args a = {.arg = {21, 22, 23, 24, 25, 26, 27}, .reserved = 0x10};
	unsigned char slots[128];
	struct proto_msg m;

	(void)state;
	memcpy(slots, &h, 64);
	memcpy(slots + 64, &a, 64);
	assert_int_equal(slots[0], 0x01);
	assert_int_equal(slots[1], 0xa7);
	assert_int_equal(slots[24], 0x88);
	proto_msg_unpack(slots, 2, &m);
	assert_int_equal(m.slots, 2);
	assert_int_equal(m.nargs, 8);
	assert_int_equal(m.arg[0], 11);
	assert_int_equal(m.arg[1], 21);
	assert_int_equal(m.arg[7], 27);
	assert_int_equal(m.arg[8], 0);
	assert_int_equal(m.reserved, 0x10);
	assert_int_equal(m.src_epoch, 12);
	assert_int_equal(m.dst_gen, 8);
	proto_msg_unpack(slots, 1, &m); /* shorter than it says */
	assert_int_equal(m.slots, 0);
	assert_int_equal(m.arg[1], 0);
}

static void payloads(void **state)
{
	struct proto_msg m = {.opcode = OP_DP_LOOKUP, .length = 6};

	(void)state;
	assert_int_equal(proto_payload_check(&m, "a/echo"), STATUS_OK);
	assert_int_equal(proto_payload_check(&m, "a/ech\0"), STATUS_BAD_MESSAGE);
	assert_int_equal(proto_payload_check(&m, "a/e\x1b[m"), STATUS_BAD_MESSAGE);
	assert_int_equal(proto_payload_check(&m, "a\x7f"
						 "echo"),
			 STATUS_BAD_MESSAGE);
	assert_int_equal(proto_payload_check(&m, "a/\xc3\xa9"
						 "ch"),
			 STATUS_OK);
	m.opcode = OP_DP_PING;
	assert_int_equal(proto_payload_check(&m, "\0\1\2\3\4\5"), STATUS_OK);
}

/* ---------------------------------------------------------------- other records */

#define SPOIL_RECORD(type, good, check, why_of, want_status, want_why, change)                     \
	do {                                                                                       \
		struct proto_##type x = (good);                                                    \
		change;                                                                            \
		assert_int_equal(check, want_status);                                              \
		assert_non_null(why_of);                                                           \
		assert_string_equal(why_of, want_why);                                             \
	} while (0)

static void verbs(void **state)
{
	const struct proto_verb read = {.magic = PROTO_VERB_MAGIC,
					.major = PROTO_MAJOR,
					.slots = 1,
					.op = VERB_OP_READ,
					.flags = VERB_FLAG_CHAIN_END,
					.len = PROTO_VERB_MAX,
					.remote_offset = 1};
	const struct proto_verb cas = {.magic = PROTO_VERB_MAGIC,
				       .major = PROTO_MAJOR,
				       .slots = 2,
				       .op = VERB_OP_CAS,
				       .len = 8,
				       .local_offset = 16};
	struct proto_verb_operands o = {.compare = 1, .swap = 2}, bad = o;

	(void)state;
#define SPOIL_VERB(good, ops, status, why, change)                                                 \
	SPOIL_RECORD(verb, good, proto_verb_check(&x, ops), proto_verb_why(&x, ops), status, why,  \
		     change)
	assert_int_equal(proto_verb_check(&read, NULL), STATUS_OK);
	assert_null(proto_verb_why(&read, NULL));
	assert_int_equal(proto_verb_check(&cas, &o), STATUS_OK);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "magic", x.magic++);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "major", x.major++);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "slots", x.slots = 2);
	SPOIL_VERB(read, &o, STATUS_BAD_MESSAGE, "slots", x.slots = 1);
	SPOIL_VERB(cas, NULL, STATUS_BAD_MESSAGE, "slots", x.slots = 2);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "op", x.op = 0);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "op", x.op = 5);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "flags", x.flags = VERB_FLAG_ALL + 1);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "len", x.len = 0);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "len", x.len = PROTO_VERB_MAX + 1);
	SPOIL_VERB(cas, &o, STATUS_BAD_MESSAGE, "len", x.len = 16);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "reserved", x.reserved0 = 1);
	SPOIL_VERB(read, NULL, STATUS_BAD_MESSAGE, "reserved", x.reserved1 = 1);
	SPOIL_VERB(read, NULL, STATUS_RANGE, "remote_offset", x.remote_offset = UINT64_MAX - 9);
	SPOIL_VERB(read, NULL, STATUS_RANGE, "local_offset", x.local_offset = UINT64_MAX);
	SPOIL_VERB(cas, &o, STATUS_ALIGN, "remote_offset", x.remote_offset = 4);
	SPOIL_VERB(cas, &o, STATUS_ALIGN, "local_offset", x.local_offset = 1);
	SPOIL_VERB(cas, &o, STATUS_BAD_MESSAGE, "compare", x.op = VERB_OP_FAA);
	bad.reserved[4] = 1;
	SPOIL_VERB(cas, &bad, STATUS_BAD_MESSAGE, "reserved", x.cookie = 1);
	bad = o;
	bad.reserved2 = 1;
	SPOIL_VERB(cas, &bad, STATUS_BAD_MESSAGE, "reserved", x.cookie = 1);
	o.compare = 0;
	bad = (struct proto_verb_operands){.swap = 1};
	SPOIL_VERB(cas, &bad, STATUS_RANGE, "remote_offset", x.op = VERB_OP_FAA;
		   x.remote_offset = UINT64_MAX - 7);
}

static void completions(void **state)
{
	const struct proto_completion good = {.magic = PROTO_COMPLETION_MAGIC,
					      .major = PROTO_MAJOR,
					      .slots = 1,
					      .count = 2,
					      .status = {STATUS_OK, STATUS_FAILED}};

	(void)state;
#define SPOIL_COMPLETION(why, change)                                                              \
	SPOIL_RECORD(completion, good, proto_completion_check(&x), proto_completion_why(&x),       \
		     STATUS_BAD_MESSAGE, why, change)
	assert_int_equal(proto_completion_check(&good), STATUS_OK);
	assert_null(proto_completion_why(&good));
	SPOIL_COMPLETION("magic", x.magic = PROTO_VERB_MAGIC);
	SPOIL_COMPLETION("major", x.major = 0);
	SPOIL_COMPLETION("slots", x.slots = 2);
	SPOIL_COMPLETION("count", x.count = 0);
	SPOIL_COMPLETION("count", x.count = PROTO_CHAIN_MAX + 1);
	SPOIL_COMPLETION("status", x.status[0] = STATUS_COUNT);
	SPOIL_COMPLETION("status", x.status[2] = STATUS_FAILED);
	SPOIL_COMPLETION("reserved", x.reserved0 = 1);
	SPOIL_COMPLETION("reserved", x.reserved[27] = 1);
}

static void ctl_requests(void **state)
{
	const struct proto_ctl_request attach = {.magic = PROTO_CTL_REQUEST_MAGIC,
						 .major = PROTO_MAJOR,
						 .op = CTL_OP_ATTACH,
						 .kind = CTL_KIND_SERVICE,
						 .features = PROTO_FEATURES,
						 .slots = 1024,
						 .arena = 1 << 20,
						 .key = 5,
						 .name = "index-shard.0"};
	const struct proto_ctl_request region = {.magic = PROTO_CTL_REQUEST_MAGIC,
						 .major = PROTO_MAJOR,
						 .op = CTL_OP_REGION_ALLOC,
						 .size = 4096,
						 .flags = REGION_FLAG_PERSIST,
						 .numa = UINT32_MAX};

	(void)state;
#define SPOIL_CTL(good, why, change)                                                               \
	SPOIL_RECORD(ctl_request, good, proto_ctl_request_check(&x), proto_ctl_request_why(&x),    \
		     STATUS_BAD_MESSAGE, why, change)
	assert_null(proto_ctl_request_why(&attach));
	assert_null(proto_ctl_request_why(&region));
	assert_int_equal(proto_ctl_request_check(&region), STATUS_OK);
	SPOIL_CTL(attach, "magic", x.magic = 0);
	SPOIL_CTL(attach, "major", x.major = 9);
	SPOIL_CTL(attach, "op", x.op = 0);
	SPOIL_CTL(attach, "op", x.op = CTL_OP_TRACE_PACKETS + 1);
	SPOIL_CTL(attach, "reserved", x.reserved0 = 1);
	SPOIL_CTL(attach, "uid", x.uid = 1);
	SPOIL_CTL(attach, "reserved", x.reserved2[135] = 1);
	SPOIL_CTL(attach, "kind", x.kind = 0);
	SPOIL_CTL(attach, "kind", x.kind = 3);
	SPOIL_CTL(attach, "slots", x.slots = 96);
	SPOIL_CTL(attach, "slots", x.slots = 32);
	SPOIL_CTL(attach, "slots", x.slots = 32768);
	SPOIL_CTL(attach, "arena", x.arena = 4096);
	SPOIL_CTL(attach, "size", x.size = 1);
	SPOIL_CTL(attach, "flags", x.flags = 1);
	SPOIL_CTL(attach, "pid", x.pid = 1);
	SPOIL_CTL(attach, "name", x.name[0] = 0);
	SPOIL_CTL(attach, "name", x.name[3] = '/');
	SPOIL_CTL(attach, "name", x.name[0] = '.');
	SPOIL_CTL(attach, "name", x.name[63] = 'a');
	SPOIL_CTL(attach, "name", memset(x.name, 'a', sizeof(x.name)));
	SPOIL_CTL(attach, "name", memset(x.name, 0, sizeof(x.name)));
	SPOIL_CTL(region, "kind", x.kind = CTL_KIND_CLIENT);
	SPOIL_CTL(region, "slots", x.slots = 64);
	SPOIL_CTL(region, "arena", x.arena = 1 << 20);
	SPOIL_CTL(region, "size", x.size = 0);
	SPOIL_CTL(region, "size", x.size = 1ull << 63);
	SPOIL_CTL(region, "flags", x.flags = REGION_FLAG_ALL + 1);
	SPOIL_CTL(region, "key", x.key = 1);
	SPOIL_CTL(region, "name", x.name[0] = 'a');
}

static void ctl_replies(void **state)
{
	const struct proto_ctl_reply good = {.magic = PROTO_CTL_REPLY_MAGIC,
					     .major = PROTO_MAJOR,
					     .op = CTL_OP_ATTACH,
					     .status = STATUS_DENIED,
					     .slots = 64,
					     .arena = 64 << 10,
					     .text = "no"};

	(void)state;
#define SPOIL_REPLY(why, change)                                                                   \
	SPOIL_RECORD(ctl_reply, good, proto_ctl_reply_check(&x), proto_ctl_reply_why(&x),          \
		     STATUS_BAD_MESSAGE, why, change)
	assert_int_equal(proto_ctl_reply_check(&good), STATUS_OK);
	assert_null(proto_ctl_reply_why(&good));
	SPOIL_REPLY("magic", x.magic = PROTO_CTL_REQUEST_MAGIC);
	SPOIL_REPLY("major", x.major = 0);
	SPOIL_REPLY("op", x.op = 99);
	SPOIL_REPLY("status", x.status = STATUS_COUNT);
	SPOIL_REPLY("reserved", x.reserved0 = 1);
	SPOIL_REPLY("reserved", x.reserved1[0] = 1);
	SPOIL_REPLY("slots", x.slots = 65);
	SPOIL_REPLY("arena", x.arena = 64);
	SPOIL_REPLY("idle", x.idle = IDLE_MODE_BLOCK + 1);
	SPOIL_REPLY("text", memset(x.text, 'a', sizeof(x.text)));
	SPOIL_REPLY("text", x.text[1] = '\n');
	SPOIL_REPLY("text", x.text[159] = 'x');
}

static void link_hellos(void **state)
{
	struct proto_link_hello good = {.magic = PROTO_LINK_HELLO_MAGIC,
					.major = PROTO_MAJOR,
					.node = 254,
					.incarnation = 1,
					.heartbeat_ms = 20,
					.mtu = 1024,
					.name = "node-b"};

	(void)state;
#define SPOIL_HELLO(status, why, change)                                                           \
	SPOIL_RECORD(link_hello, good, proto_link_hello_check(&x), proto_link_hello_why(&x),       \
		     status, why, change)
	assert_null(proto_link_hello_why(&good));
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "magic", x.magic = 0);
	SPOIL_HELLO(STATUS_UNSUPPORTED, "major", x.major = 2);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "node", x.node = 0);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "node", x.node = 255);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "incarnation", x.incarnation = 0);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "heartbeat_ms", x.heartbeat_ms = 0);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "mtu", x.mtu = 1000);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "mtu", x.mtu = 8192);
	SPOIL_HELLO(STATUS_BAD_MESSAGE, "name", x.name[0] = 0);
	memset(good.name, 'n', sizeof(good.name)); /* cut off, without a NUL */
	assert_int_equal(proto_link_hello_check(&good), STATUS_OK);
}

/* ---------------------------------------------------------------- text */

static void text_is(const struct proto_msg *q, const void *payload, const char *want)
{
	char buf[512];
	struct proto_msg m;
	int n;

	transmit(q, &m);
	n = proto_message_text(buf, sizeof(buf), &m, payload, payload ? q->length : 0);
	assert_string_equal(buf, want);
	assert_int_equal(n, strlen(want));
	for (size_t len = 0; len < sizeof(buf) && len < strlen(want); len++) {
		memset(buf, '#', sizeof(buf));
		assert_int_equal(proto_message_text(buf, len, &m, payload, payload ? q->length : 0),
				 n);
		assert_int_equal(buf[len], '#');
		if (len)
			assert_int_equal(strlen(buf), len - 1);
	}
}

static void message_texts(void **state)
{
	struct proto_msg q, r;

	(void)state;
	proto_request_init(&q, OP_DP_LOOKUP);
	q.req_id = 0x2a;
	q.src = 1u << 24 | 3;
	q.length = 11;
	text_is(&q, "node-b/echo", "dp.lookup request 0x2a node1/3 -> 0:0 \"node-b/echo\"");
	q.length = 12;
	text_is(&q, "node\x1b\"b/echo",
		"dp.lookup request 0x2a node1/3 -> 0:0 \"node\\x1b\\x22b/echo\"");
	text_is(&q, NULL, "dp.lookup request 0x2a node1/3 -> 0:0...");
	q.length = 3;
	text_is(&q, "a/b", "dp.lookup request 0x2a node1/3 -> 0:0 \"a/b\"");
	proto_reply_init(&r, &q, STATUS_OK);
	r.arg[REPLY_DP_LOOKUP_SLOT] = 5;
	r.arg[REPLY_DP_LOOKUP_GEN] = 1;
	r.arg[REPLY_DP_LOOKUP_NODE] = 2;
	text_is(&r, NULL, "dp.lookup reply 0x2a - -> 0:0 OK slot=5 gen=1 node=2");
	proto_reply_init(&r, &q, STATUS_NOT_FOUND);
	text_is(&r, NULL, "dp.lookup reply 0x2a - -> 0:0 NOT_FOUND");
	proto_request_init(&q, OP_DP_GRANTED);
	q.arg[ARG_DP_GRANTED_RIGHTS] = RIGHT_READ | RIGHT_ATOMIC;
	q.arg[ARG_DP_GRANTED_OBJECT] = OBJECT_REGION;
	q.arg[ARG_DP_GRANTED_SIZE] = 4096;
	text_is(&q, NULL,
		"dp.granted event 0x0 - -> 0:0 slot=0 gen=0 rights=READ|ATOMIC "
		"object=REGION size=4096 bytes tag=0 node=0");
	proto_request_init(&q, OP_ECHO_ECHO);
	q.length = 3;
	q.arg[ARG_ECHO_ECHO_A] = 1ull << 40;
	q.budget_us = 50;
	q.trace_id = 0xbeef;
	q.dst_slot = 4;
	q.dst_gen = 2;
	text_is(&q, "\1\2\xff",
		"echo.echo request 0x0 - -> 4:2 a=0x10000000000 3 bytes 0102ff "
		"budget=50 us trace=0xbeef");
	q = (struct proto_msg){.opcode = 0x9999, .flags = MESSAGE_FLAG_ASYNC, .arg = {1, 0, 2}};
	text_is(&q, NULL, "opcode 0x9999 async 0x0 - -> 0:0 arg0=0x1 arg2=0x2");
	q = (struct proto_msg){.opcode = OP_LINK_CANCEL, .flags = 0x8005};
	text_is(&q, NULL, "link.cancel reply 0x0 flags=REPLY|ASYNC|0x8000 - -> 0:0 OK");
}

static void verb_texts(void **state)
{
	struct proto_verb v = {.op = VERB_OP_READ,
			       .flags = VERB_FLAG_CHAIN_END,
			       .lane = 2,
			       .cookie = 9,
			       .len = 128,
			       .remote_slot = 3,
			       .remote_gen = 1,
			       .remote_offset = 0x40,
			       .local_slot = 4,
			       .local_gen = 1};
	struct proto_verb_operands o = {.compare = 1, .swap = 0xff};
	struct proto_completion c = {.lane = 2,
				     .cookie = 9,
				     .count = 3,
				     .status = {STATUS_OK, STATUS_RANGE, STATUS_CANCELLED}};
	char buf[256];

	(void)state;
	proto_verb_text(buf, sizeof(buf), &v, NULL);
	assert_string_equal(buf, "READ lane 2 cookie 0x9 3:1+0x40 -> 4:1+0x0 128 bytes CHAIN_END");
	v.op = VERB_OP_CAS;
	v.len = 8;
	v.flags = 0;
	proto_verb_text(buf, sizeof(buf), &v, &o);
	assert_string_equal(
		buf, "CAS lane 2 cookie 0x9 3:1+0x40 -> 4:1+0x0 8 bytes compare=0x1 swap=0xff");
	proto_completion_text(buf, sizeof(buf), &c);
	assert_string_equal(buf, "completion lane 2 cookie 0x9 OK RANGE CANCELLED");
	assert_string_equal(proto_status_name(STATUS_NO_RIGHT), "NO_RIGHT");
	assert_string_equal(proto_status_name(STATUS_COUNT), "?");
	assert_string_equal(proto_status_text(STATUS_OK), "done");
	assert_string_equal(proto_value_name(&proto_enum_gone, GONE_DIED), "DIED");
	assert_string_equal(proto_value_name(&proto_enum_gone, 99), "?");
}

/* ---------------------------------------------------------------- random bytes */

static void random_bytes(void **state)
{
	uint64_t slots[PROTO_SLOTS_MAX * 8], other[32], payload[8];
	struct proto_ctl_request cq;
	struct proto_ctl_reply cr;
	struct proto_link_hello h;
	struct proto_verb v;
	struct proto_verb_operands o;
	struct proto_completion c;
	struct proto_msg m;
	char buf[700];

	(void)state;
	for (int round = 0; round < 50000; round++) {
		unsigned n = (unsigned)(rng() % 6);

		for (unsigned i = 0; i < PROTO_SLOTS_MAX * 8; i++)
			other[i] = slots[i] = rng() & (rng() & 1 ? UINT64_MAX : 0xff);
		for (unsigned i = 0; i < 8; i++)
			payload[i] = rng();
		if (round & 1) { /* get past the first checks */
			slots[0] = PROTO_MESSAGE_MAGIC | PROTO_MAJOR << 16 | (uint64_t)n << 24 |
				   (uint64_t)proto_ops[rng() % proto_ops_count].value << 32 |
				   (rng() & 7) << 48;
			slots[1] &= 0x3fff;
		}
		proto_msg_unpack(slots, n, &m);
		assert_in_range(m.nargs, 1, PROTO_ARGS_MAX);
		for (enum proto_where w = PROTO_TO_DATAPLANE; w <= PROTO_TO_CLIENT; w++) {
			assert_true(!proto_message_check(&m, w) == !proto_message_why(&m, w));
			if (proto_header_check(&m, w))
				assert_true(proto_message_check(&m, w));
		}
		proto_message_text(buf, sizeof(buf), &m, payload, sizeof(payload));
		m.nargs = (uint8_t)rng();
		assert_in_range(proto_msg_pack(&m, slots), 1, PROTO_SLOTS_MAX);
		proto_message_text(buf, rng() % sizeof(buf), &m, payload, sizeof(payload));
		memcpy(&v, other, sizeof(v));
		memcpy(&o, other + 8, sizeof(o));
		memcpy(&c, other, sizeof(c));
		memcpy(&cq, other, sizeof(cq));
		memcpy(&cr, other, sizeof(cr));
		memcpy(&h, other, sizeof(h));
		if (round & 1) {
			v.magic = PROTO_VERB_MAGIC;
			c.magic = PROTO_COMPLETION_MAGIC;
			cq.magic = PROTO_CTL_REQUEST_MAGIC;
			cr.magic = PROTO_CTL_REPLY_MAGIC;
			h.magic = PROTO_LINK_HELLO_MAGIC;
			v.major = c.major = cq.major = cr.major = h.major = PROTO_MAJOR;
		}
		assert_true(!proto_verb_check(&v, &o) == !proto_verb_why(&v, &o));
		assert_true(!proto_verb_check(&v, NULL) == !proto_verb_why(&v, NULL));
		assert_true(!proto_completion_check(&c) == !proto_completion_why(&c));
		assert_true(!proto_ctl_request_check(&cq) == !proto_ctl_request_why(&cq));
		assert_true(!proto_ctl_reply_check(&cr) == !proto_ctl_reply_why(&cr));
		assert_true(!proto_link_hello_check(&h) == !proto_link_hello_why(&h));
		proto_verb_text(buf, sizeof(buf), &v, &o);
		proto_completion_text(buf, sizeof(buf), &c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout),          cmocka_unit_test(pack_round_trip),
		cmocka_unit_test(every_opcode),    cmocka_unit_test(enum_args),
		cmocka_unit_test(unknown_opcodes), cmocka_unit_test(payloads),
		cmocka_unit_test(verbs),           cmocka_unit_test(completions),
		cmocka_unit_test(ctl_requests),    cmocka_unit_test(ctl_replies),
		cmocka_unit_test(link_hellos),     cmocka_unit_test(message_texts),
		cmocka_unit_test(verb_texts),      cmocka_unit_test(random_bytes),
	};
	const char *seed = getenv("ATOLL_SEED");

	if (seed)
		rng_state = strtoull(seed, NULL, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
