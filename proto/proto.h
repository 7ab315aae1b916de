/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto.h - messages as C code sees them: taken apart, checked, named and printed.
 *
 * A receiver copies a record to private memory, unpacks it, and runs the check of its place before
 * it looks at anything else:
 *
 *	proto_msg_unpack(slots, n, &m);
 *	status = proto_message_check(&m, PROTO_TO_SERVICE);
 *	if (status == STATUS_OK && m.length)
 *		status = proto_payload_check(&m, payload);
 *
 * What is checked comes from proto/schema.toml, by way of the generated tables. The check is
 * complete: a message that passes has known flags, an opcode and a direction that are legal at that
 * place, every register in its range, and zeros everywhere else. In transit (dataplane, link) the
 * opcodes of services get the general rules alone, proto_header_check: whoever brings a service, or
 * a service that has learnt something, needs no new dataplane.
 *
 * No function here allocates, locks, or keeps state; all may be called from any thread. None trusts
 * its input, but all want it in memory that nobody else writes.
 */
#ifndef ATOLL_PROTO_PROTO_H
#define ATOLL_PROTO_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/atoll_proto.h"

/* ---------------------------------------------------------------- messages taken apart */

/*
 * A message in private memory. The first 48 bytes are those of struct proto_message.
 *
 * Sending: magic, major and slots are set by proto_msg_pack. nargs says how many registers go out;
 * 0 means as many as are not zero. A register left out and a register that is zero are the same to
 * the receiver. Receiving: nargs is what the record had room for, registers beyond are zero.
 */
struct proto_msg {
	uint16_t magic;
	uint8_t major;
	uint8_t slots; /* 0 after unpacking a record that was not as long as it says */
	uint16_t opcode;
	uint16_t flags;
	uint32_t length;
	uint32_t payload;
	uint32_t src;
	uint16_t status;
	uint16_t max_reply;
	uint64_t req_id;
	uint32_t dst_slot;
	uint32_t dst_gen;
	uint32_t budget_us;
	uint32_t trace_id;
	uint64_t arg[PROTO_ARGS_MAX];
	uint32_t src_epoch;
	uint32_t reserved; /* the reserved words of all slots, ored */
	uint8_t nargs;
};

#define PROTO_MSG_SAME(field)                                                                      \
	_Static_assert(offsetof(struct proto_msg, field) == offsetof(struct proto_message, field), \
		       "proto_msg." #field)
PROTO_MSG_SAME(slots);
PROTO_MSG_SAME(opcode);
PROTO_MSG_SAME(length);
PROTO_MSG_SAME(src);
PROTO_MSG_SAME(max_reply);
PROTO_MSG_SAME(req_id);
PROTO_MSG_SAME(dst_gen);
PROTO_MSG_SAME(trace_id);
#undef PROTO_MSG_SAME
_Static_assert(offsetof(struct proto_msg, arg) == 48, "arg follows the header");

/**
 * proto_msg_slots() - slots that proto_msg_pack will fill, 1 to PROTO_SLOTS_MAX
 * @m: nargs at most PROTO_ARGS_MAX
 */
static inline unsigned proto_msg_slots(const struct proto_msg *m)
{
	unsigned n = m->nargs;

	if (n == 0)
		for (n = PROTO_ARGS_MAX; n > 1 && m->arg[n - 1] == 0; n--)
			;
	if (n <= PROTO_ARGS_FIRST)
		return 1;
	if (n > PROTO_ARGS_MAX)
		n = PROTO_ARGS_MAX;
	return 1 + (n - PROTO_ARGS_FIRST + PROTO_ARGS_MORE - 1) / PROTO_ARGS_MORE;
}

/**
 * proto_msg_pack() - writes a message as a record
 * @slots: room for proto_msg_slots(m) slots of 64 bytes; the sequence words are left alone
 *
 * Returns how many slots it wrote. Registers beyond nargs are sent as zero (with nargs 0 there are
 * none that differ).
 */
static inline unsigned proto_msg_pack(const struct proto_msg *m, void *slots)
{
	unsigned n = proto_msg_slots(m), last = m->nargs ? m->nargs : PROTO_ARGS_MAX;
	unsigned char *to = slots;
	const uint16_t magic = PROTO_MESSAGE_MAGIC;

	if (last > PROTO_ARGS_MAX)
		last = PROTO_ARGS_MAX;
	memcpy(to, m, 48);
	memcpy(to, &magic, sizeof(magic));
	to[2] = PROTO_MAJOR;
	to[3] = (unsigned char)n;
	memcpy(to + 48, &m->arg[0], 8);
	memcpy(to + 56, &m->src_epoch, 4);
	for (unsigned s = 1; s < n; s++) {
		unsigned first = PROTO_ARGS_FIRST + (s - 1) * PROTO_ARGS_MORE;
		unsigned count = last - first < PROTO_ARGS_MORE ? last - first : PROTO_ARGS_MORE;

		to += PROTO_SLOT_SIZE;
		memset(to, 0, 60);
		memcpy(to, &m->arg[first], count * 8);
	}
	return n;
}

/**
 * proto_msg_unpack() - takes a record apart; checks nothing
 * @slots: private copy of the record
 * @nslots: slots that were copied; other values than 1 to PROTO_SLOTS_MAX count as the nearest
 */
static inline void proto_msg_unpack(const void *slots, unsigned nslots, struct proto_msg *out)
{
	const unsigned char *from = slots;
	unsigned n = nslots < 1 ? 1 : nslots > PROTO_SLOTS_MAX ? PROTO_SLOTS_MAX : nslots;

	memcpy(out, from, 56);
	memcpy(&out->src_epoch, from + 56, 4);
	out->reserved = 0;
	for (unsigned s = 1; s < n; s++) {
		uint32_t reserved;

		from += PROTO_SLOT_SIZE;
		memcpy(&out->arg[PROTO_ARGS_FIRST + (s - 1) * PROTO_ARGS_MORE], from,
		       PROTO_ARGS_MORE * 8);
		memcpy(&reserved, from + 56, sizeof(reserved));
		out->reserved |= reserved;
	}
	for (unsigned s = n; s < PROTO_SLOTS_MAX; s++)
		memset(&out->arg[PROTO_ARGS_FIRST + (s - 1) * PROTO_ARGS_MORE], 0,
		       PROTO_ARGS_MORE * 8);
	out->nargs = (uint8_t)(PROTO_ARGS_FIRST + (n - 1) * PROTO_ARGS_MORE);
	if (out->slots != nslots)
		out->slots = 0;
}

/* ---------------------------------------------------------------- what the schema says */

enum proto_payload {
	PROTO_PAYLOAD_NONE,
	PROTO_PAYLOAD_BYTES,
	PROTO_PAYLOAD_STRING, /* neither NUL nor control characters */
};

/* Where a message is received. */
enum proto_where {
	PROTO_TO_DATAPLANE, /* off an endpoint's ring: own requests, and what is to be routed */
	PROTO_TO_SERVICE,   /* a request at a service */
	PROTO_TO_LINK,      /* at a dataplane, off a link: link requests and answers, and transit */
	PROTO_TO_CLIENT,    /* an answer or an event at any endpoint, a service's own included */
};

struct proto_value {
	uint32_t value;
	const char *name;
	const char *doc;
};

struct proto_enum {
	const char *name;
	const struct proto_value *values;
	uint16_t count;
	bool bits; /* flags */
};

struct proto_arg {
	uint64_t min;
	uint64_t max;
	uint64_t allowed; /* flags: legal bits; enum: bit v for a legal value v; else 0 */
	const struct proto_enum *values;
	const char *name;
	const char *unit; /* "" where there is none */
	const char *doc;
};

struct proto_body {
	const struct proto_arg *args;
	const char *payload_doc;
	uint16_t payload_min; /* bytes */
	uint16_t payload_max;
	uint8_t payload; /* enum proto_payload */
	uint8_t nargs;
};

struct proto_op {
	uint16_t value;
	uint8_t to;   /* enum proto_where that gets the request or event */
	bool async;   /* every request has MESSAGE_FLAG_ASYNC */
	bool replies; /* reply says what the answer looks like */
	const char *name;
	const char *doc;
	struct proto_body request;
	struct proto_body reply;
};

extern const struct proto_op proto_ops[]; /* sorted by value */
extern const unsigned proto_ops_count;
extern const uint8_t proto_op_pages[256];
extern const uint16_t proto_op_index[][256]; /* 1 + position in proto_ops, 0 unknown */

/** proto_op_find() - what the schema says about an opcode, NULL if nothing */
static inline const struct proto_op *proto_op_find(uint16_t opcode)
{
	unsigned i = proto_op_index[proto_op_pages[opcode >> 8]][opcode & 0xff];

	return i ? &proto_ops[i - 1] : NULL;
}

/** proto_msg_body() - what the schema says about this message's body, NULL if nothing */
static inline const struct proto_body *proto_msg_body(const struct proto_msg *m)
{
	const struct proto_op *op = proto_op_find(m->opcode);

	if (!op)
		return NULL;
	if (m->flags & MESSAGE_FLAG_REPLY)
		return op->replies ? &op->reply : NULL;
	return &op->request;
}

/** proto_request_init() - zeroes @m and makes it a request or event with the flags it must have */
void proto_request_init(struct proto_msg *m, uint16_t opcode);

/** proto_reply_init() - zeroes @m and makes it the answer to @request: flags, opcode, ids */
void proto_reply_init(struct proto_msg *m, const struct proto_msg *request, uint16_t status);

/* ---------------------------------------------------------------- checks */

/*
 * All return STATUS_OK or why not: STATUS_BAD_MESSAGE, STATUS_TOO_BIG for a length, and for verbs
 * STATUS_ALIGN and STATUS_RANGE too. The _why form says the same, and which field was the first bad
 * one: a string that lives for ever, NULL if all is well. It is for counters, logs and tests.
 */

/**
 * proto_header_check() - the general rules, whatever the opcode means
 *
 * Magic, major, slots, flags, direction, lengths, status, reserved bytes.
 */
uint8_t proto_header_check(const struct proto_msg *m, enum proto_where where);
const char *proto_header_why(const struct proto_msg *m, enum proto_where where);

/**
 * proto_message_check() - everything about a message but its payload
 *
 * An answer with another status than OK may leave out registers and payload, that is have zeros
 * where the schema wants more. In transit, opcodes from PROTO_SERVICE_FIRST on get
 * proto_header_check alone.
 */
uint8_t proto_message_check(const struct proto_msg *m, enum proto_where where);
/** proto_operation_check() - the rest of it, for a message that proto_header_check has passed there */
uint8_t proto_operation_check(const struct proto_msg *m, enum proto_where where);
const char *proto_message_why(const struct proto_msg *m, enum proto_where where);

/**
 * proto_payload_check() - the payload of a message that proto_message_check has passed
 * @payload: m->length bytes
 */
uint8_t proto_payload_check(const struct proto_msg *m, const void *payload);

/**
 * proto_verb_check() - a verb record
 * @operands: second slot, NULL for a record of one slot
 *
 * STATUS_BAD_MESSAGE is a malformed record; STATUS_ALIGN, of an atomic, and STATUS_RANGE, of
 * offsets that overflow with the length, are statuses of a well-formed one.
 */
uint8_t proto_verb_check(const struct proto_verb *v, const struct proto_verb_operands *operands);
const char *proto_verb_why(const struct proto_verb *v, const struct proto_verb_operands *operands);

uint8_t proto_completion_check(const struct proto_completion *c);
const char *proto_completion_why(const struct proto_completion *c);

/** proto_ctl_request_check() - fields that the op does not use are zero (numa: any value) */
uint8_t proto_ctl_request_check(const struct proto_ctl_request *q);
const char *proto_ctl_request_why(const struct proto_ctl_request *q);

/** proto_ctl_reply_check() - afterwards text is known to end with a NUL */
uint8_t proto_ctl_reply_check(const struct proto_ctl_reply *r);
const char *proto_ctl_reply_why(const struct proto_ctl_reply *r);

/** proto_link_hello_check() - STATUS_UNSUPPORTED if only the major differs */
uint8_t proto_link_hello_check(const struct proto_link_hello *h);
const char *proto_link_hello_why(const struct proto_link_hello *h);

/** proto_name_check() - is it a name of a node, service or client: 1 to PROTO_NAME_MAX letters,
 * digits, '.', '_', '-', the first a letter or digit? @len: without a NUL. */
bool proto_name_check(const char *name, size_t len);

/* ---------------------------------------------------------------- names and text */

/** proto_status_name() - "NO_RIGHT"; "?" for a number that is no status */
const char *proto_status_name(unsigned status);

/** proto_status_text() - one line for a person: what happened, and was it executed */
const char *proto_status_text(unsigned status);

/** proto_op_name() - "dp.lookup", NULL if the opcode is not known */
const char *proto_op_name(uint16_t opcode);

/** proto_opcode_by_name() - 0 if there is none */
uint16_t proto_opcode_by_name(const char *name);

/** proto_value_name() - name of an enum's value or of a single flag, "?" if it has none:
 * proto_value_name(&proto_enum_gone, GONE_DIED) is "DIED" */
const char *proto_value_name(const struct proto_enum *e, uint64_t value);

/*
 * Text of one record, on one line without a newline: what msgdump prints. Input may be anything.
 * Like snprintf: at most @len bytes are written, the last of them a NUL; the return value is the
 * length of the whole text.
 */

/**
 * proto_message_text() - dp.lookup request 0x2a node1/3 -> 0:0 "node-b/echo"
 * @payload: its first @captured bytes, NULL if there are none
 */
int proto_message_text(char *buf, size_t len, const struct proto_msg *m, const void *payload,
		       size_t captured);

/** proto_verb_text() - READ lane 2 cookie 0x9 3:1+0x40 -> 4:1+0x0 128 bytes CHAIN_END */
int proto_verb_text(char *buf, size_t len, const struct proto_verb *v,
		    const struct proto_verb_operands *operands);

/** proto_completion_text() - completion lane 2 cookie 0x9 OK OK RANGE CANCELLED */
int proto_completion_text(char *buf, size_t len, const struct proto_completion *c);

#endif
