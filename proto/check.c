/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of messages. One walk over the rules says the status and the first bad field; the two
 * public forms of a check return one or the other.
 */
#include "proto/proto.h"

#define BAD(field)                                                                                 \
	do {                                                                                       \
		*why = (field);                                                                    \
		return STATUS_BAD_MESSAGE;                                                         \
	} while (0)

#define TOO_BIG(field)                                                                             \
	do {                                                                                       \
		*why = (field);                                                                    \
		return STATUS_TOO_BIG;                                                             \
	} while (0)

/* May a message with these flags arrive here? */
static inline bool direction_good(const struct proto_msg *m, enum proto_where where)
{
	bool service = m->opcode >= PROTO_SERVICE_FIRST;
	bool own = m->dst_slot == 0 && m->dst_gen == 0;

	switch (m->flags) {
	case 0:
	case MESSAGE_FLAG_ASYNC:
		return where != PROTO_TO_CLIENT;
	case MESSAGE_FLAG_REPLY:
		if (where == PROTO_TO_DATAPLANE)
			return service && own;
		return where != PROTO_TO_SERVICE;
	case MESSAGE_FLAG_EVENT:
		return where == PROTO_TO_CLIENT;
	default:
		return false;
	}
}

static inline uint8_t header(const struct proto_msg *m, enum proto_where where, const char **why)
{
	bool reply = m->flags & MESSAGE_FLAG_REPLY;

	if (m->magic != PROTO_MESSAGE_MAGIC)
		BAD("magic");
	if (m->major != PROTO_MAJOR)
		BAD("major");
	if (m->slots < 1 || m->slots > PROTO_SLOTS_MAX ||
	    m->nargs != PROTO_ARGS_FIRST + (m->slots - 1) * PROTO_ARGS_MORE)
		BAD("slots");
	if (m->opcode == 0)
		BAD("opcode");
	if (!direction_good(m, where))
		BAD("flags");
	if (m->length > PROTO_PAYLOAD_MAX)
		TOO_BIG("length");
	if (m->payload != 0 && (m->length == 0 || where == PROTO_TO_LINK))
		BAD("payload");
	if (m->status >= STATUS_COUNT || (!reply && m->status != STATUS_OK))
		BAD("status");
	if (m->max_reply > PROTO_PAYLOAD_MAX)
		TOO_BIG("max_reply");
	if (m->reserved)
		BAD("reserved");
	if (where == PROTO_TO_DATAPLANE && m->opcode < PROTO_SERVICE_FIRST) {
		if (m->dst_slot)
			BAD("dst_slot");
		if (m->dst_gen)
			BAD("dst_gen");
	}
	return STATUS_OK;
}

/* Is this opcode, as a request, answer or event, one for this place? */
static inline bool opcode_good(const struct proto_msg *m, const struct proto_op *op,
			       enum proto_where where)
{
	if (!(m->flags & MESSAGE_FLAG_REPLY))
		return op->to == (uint8_t)where;
	if (!op->replies)
		return false;
	if (where == PROTO_TO_CLIENT)
		return op->to == PROTO_TO_DATAPLANE || op->to == PROTO_TO_SERVICE;
	return op->to == (uint8_t)where;
}

static inline bool arg_good(const struct proto_arg *a, uint64_t v)
{
	if (v < a->min || v > a->max)
		return false;
	if (!a->values)
		return true;
	return a->values->bits ? (v & ~a->allowed) == 0 : (a->allowed >> v & 1) != 0;
}

static uint8_t body(const struct proto_msg *m, const struct proto_body *b, const char **why)
{
	bool partial = m->status != STATUS_OK;

	if (m->length > b->payload_max)
		TOO_BIG("length");
	if (m->length < b->payload_min && !(partial && m->length == 0))
		BAD("length");
	for (unsigned i = 0; i < b->nargs; i++)
		if (!arg_good(&b->args[i], m->arg[i]) && !(partial && m->arg[i] == 0))
			BAD(b->args[i].name);
	for (unsigned i = b->nargs; i < m->nargs; i++)
		if (m->arg[i])
			BAD("unused register");
	return STATUS_OK;
}

/* What is left to be checked when the header is good. */
static uint8_t operation(const struct proto_msg *m, enum proto_where where, const char **why)
{
	bool transit = where == PROTO_TO_DATAPLANE || where == PROTO_TO_LINK;
	const struct proto_op *op;

	if (transit && m->opcode >= PROTO_SERVICE_FIRST)
		return STATUS_OK;
	op = proto_op_find(m->opcode);
	if (!op || !opcode_good(m, op, where))
		BAD("opcode");
	if (op->async && !(m->flags & MESSAGE_FLAG_ASYNC))
		BAD("flags");
	return body(m, m->flags & MESSAGE_FLAG_REPLY ? &op->reply : &op->request, why);
}

static uint8_t message(const struct proto_msg *m, enum proto_where where, const char **why)
{
	uint8_t status = header(m, where, why);

	return status == STATUS_OK ? operation(m, where, why) : status;
}

uint8_t proto_header_check(const struct proto_msg *m, enum proto_where where)
{
	const char *why;

	return header(m, where, &why);
}

const char *proto_header_why(const struct proto_msg *m, enum proto_where where)
{
	const char *why = NULL;

	header(m, where, &why);
	return why;
}

uint8_t proto_operation_check(const struct proto_msg *m, enum proto_where where)
{
	const char *why;

	return operation(m, where, &why);
}

uint8_t proto_message_check(const struct proto_msg *m, enum proto_where where)
{
	const char *why;

	return message(m, where, &why);
}

const char *proto_message_why(const struct proto_msg *m, enum proto_where where)
{
	const char *why = NULL;

	message(m, where, &why);
	return why;
}

uint8_t proto_payload_check(const struct proto_msg *m, const void *payload)
{
	const struct proto_body *b = proto_msg_body(m);
	const unsigned char *p = payload;

	if (!b || b->payload != PROTO_PAYLOAD_STRING)
		return STATUS_OK;
	for (uint32_t i = 0; i < m->length; i++)
		if (p[i] < 0x20 || p[i] == 0x7f)
			return STATUS_BAD_MESSAGE;
	return STATUS_OK;
}

void proto_request_init(struct proto_msg *m, uint16_t opcode)
{
	const struct proto_op *op = proto_op_find(opcode);

	memset(m, 0, sizeof(*m));
	m->opcode = opcode;
	if (!op)
		return;
	if (op->async)
		m->flags = MESSAGE_FLAG_ASYNC;
	if (op->to == PROTO_TO_CLIENT)
		m->flags = MESSAGE_FLAG_EVENT;
	m->nargs = op->request.nargs;
}

void proto_reply_init(struct proto_msg *m, const struct proto_msg *request, uint16_t status)
{
	const struct proto_op *op = proto_op_find(request->opcode);

	memset(m, 0, sizeof(*m));
	m->opcode = request->opcode;
	m->flags = MESSAGE_FLAG_REPLY;
	m->status = status;
	m->req_id = request->req_id;
	m->trace_id = request->trace_id;
	if (op && op->replies && status == STATUS_OK)
		m->nargs = op->reply.nargs;
}
