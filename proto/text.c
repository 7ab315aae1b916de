/* SPDX-License-Identifier: Apache-2.0 */
/* Names, and records as one line of text. */
#include <stdarg.h>
#include <stdio.h>

#include "proto/proto.h"

const char *proto_status_name(unsigned status)
{
	return status < STATUS_COUNT ? proto_enum_status.values[status].name : "?";
}

const char *proto_status_text(unsigned status)
{
	return status < STATUS_COUNT ? proto_enum_status.values[status].doc : "unknown status";
}

const char *proto_op_name(uint16_t opcode)
{
	const struct proto_op *op = proto_op_find(opcode);

	return op ? op->name : NULL;
}

uint16_t proto_opcode_by_name(const char *name)
{
	for (unsigned i = 0; i < proto_ops_count; i++)
		if (strcmp(proto_ops[i].name, name) == 0)
			return proto_ops[i].value;
	return 0;
}

const char *proto_value_name(const struct proto_enum *e, uint64_t value)
{
	for (unsigned i = 0; i < e->count; i++)
		if (e->values[i].value == value)
			return e->values[i].name;
	return "?";
}

/* ---------------------------------------------------------------- a line that grows */

struct line {
	char *buf;
	size_t len;
	size_t pos; /* what the whole text takes, room or not */
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	bool room = l->pos < l->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room ? l->buf + l->pos : NULL, room ? l->len - l->pos : 0, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->pos += (size_t)n;
}

static struct line line_start(char *buf, size_t len)
{
	if (len)
		buf[0] = 0;
	return (struct line){buf, len, 0};
}

static void add_value(struct line *l, const struct proto_enum *e, uint64_t v)
{
	const char *bar = "";

	if (!e->bits) {
		const char *name = proto_value_name(e, v);

		if (name[0] != '?')
			add(l, "%s", name);
		else
			add(l, "%llu", (unsigned long long)v);
		return;
	}
	for (unsigned i = 0; i < e->count; i++) {
		if (v & e->values[i].value) {
			add(l, "%s%s", bar, e->values[i].name);
			v &= ~(uint64_t)e->values[i].value;
			bar = "|";
		}
	}
	if (v || !*bar)
		add(l, "%s%#llx", bar, (unsigned long long)v);
}

/* Numbers that do not fit 32 bits are keys, secrets and ids: nobody reads those in decimal. */
static void add_number(struct line *l, uint64_t v)
{
	add(l, v > UINT32_MAX ? "0x%llx" : "%llu", (unsigned long long)v);
}

static void add_status(struct line *l, unsigned status)
{
	if (status < STATUS_COUNT)
		add(l, " %s", proto_status_name(status));
	else
		add(l, " status=%u", status);
}

static void add_args(struct line *l, const struct proto_msg *m, const struct proto_body *b)
{
	unsigned known = b ? b->nargs : 0;
	unsigned n = m->nargs < PROTO_ARGS_MAX ? m->nargs : PROTO_ARGS_MAX;

	for (unsigned i = 0; i < known; i++) {
		const struct proto_arg *a = &b->args[i];

		add(l, " %s=", a->name);
		if (a->values)
			add_value(l, a->values, m->arg[i]);
		else
			add_number(l, m->arg[i]);
		if (a->unit[0])
			add(l, " %s", a->unit);
	}
	for (unsigned i = known; i < n; i++)
		if (m->arg[i])
			add(l, " arg%u=0x%llx", i, (unsigned long long)m->arg[i]);
}

enum {
	BYTES_SHOWN = 16,
};

static void add_payload(struct line *l, const struct proto_msg *m, const struct proto_body *b,
			const unsigned char *p, size_t captured)
{
	bool string = b && b->payload == PROTO_PAYLOAD_STRING;
	size_t n = captured < m->length ? captured : m->length;

	if (!p)
		n = 0;
	if (!string)
		add(l, " %u bytes", m->length);
	if (!string && n > BYTES_SHOWN)
		n = BYTES_SHOWN;
	if (n)
		add(l, string ? " \"" : " ");
	for (size_t i = 0; i < n; i++) {
		if (!string)
			add(l, "%02x", p[i]);
		else if (p[i] < 0x20 || p[i] >= 0x7f || p[i] == '"' || p[i] == '\\')
			add(l, "\\x%02x", p[i]);
		else
			add(l, "%c", p[i]);
	}
	if (string && n)
		add(l, "\"");
	if (n < m->length && (n || string))
		add(l, "...");
}

static const char *message_kind(unsigned flags)
{
	if (flags & MESSAGE_FLAG_REPLY)
		return "reply";
	if (flags & MESSAGE_FLAG_EVENT)
		return "event";
	return flags & MESSAGE_FLAG_ASYNC ? "async" : "request";
}

int proto_message_text(char *buf, size_t len, const struct proto_msg *m, const void *payload,
		       size_t captured)
{
	struct line l = line_start(buf, len);
	const struct proto_body *b = proto_msg_body(m);
	const char *name = proto_op_name(m->opcode);
	bool reply = m->flags & MESSAGE_FLAG_REPLY;

	if (name)
		add(&l, "%s", name);
	else
		add(&l, "opcode 0x%04x", m->opcode);
	add(&l, " %s 0x%llx", message_kind(m->flags), (unsigned long long)m->req_id);
	if (m->flags & (unsigned)~MESSAGE_FLAG_ALL || m->flags & (unsigned)(m->flags - 1)) {
		add(&l, " flags=");
		add_value(&l, &proto_enum_message_flag, m->flags);
	}
	if (m->src)
		add(&l, " node%u/%u", m->src >> 24, m->src & 0xffffff);
	else
		add(&l, " -");
	add(&l, " -> %u:%u", m->dst_slot, m->dst_gen);
	if (reply || m->status)
		add_status(&l, m->status);
	if (!(reply && m->status != STATUS_OK))
		add_args(&l, m, b);
	else
		add_args(&l, m, NULL);
	if (m->length)
		add_payload(&l, m, b, payload, captured);
	if (m->budget_us)
		add(&l, " budget=%u us", m->budget_us);
	if (m->trace_id)
		add(&l, " trace=0x%x", m->trace_id);
	return (int)l.pos;
}

int proto_verb_text(char *buf, size_t len, const struct proto_verb *v,
		    const struct proto_verb_operands *operands)
{
	struct line l = line_start(buf, len);
	bool write = v->op == VERB_OP_WRITE;

	add_value(&l, &proto_enum_verb_op, v->op);
	add(&l, " lane %u cookie 0x%llx %u:%u+0x%llx %s %u:%u+0x%llx", v->lane,
	    (unsigned long long)v->cookie, v->remote_slot, v->remote_gen,
	    (unsigned long long)v->remote_offset, write ? "<-" : "->", v->local_slot, v->local_gen,
	    (unsigned long long)v->local_offset);
	add(&l, " %u bytes", v->len);
	if (operands && v->op == VERB_OP_CAS)
		add(&l, " compare=0x%llx", (unsigned long long)operands->compare);
	if (operands && (v->op == VERB_OP_CAS || v->op == VERB_OP_FAA))
		add(&l, " %s=0x%llx", v->op == VERB_OP_CAS ? "swap" : "add",
		    (unsigned long long)operands->swap);
	if (v->flags) {
		add(&l, " ");
		add_value(&l, &proto_enum_verb_flag, v->flags);
	}
	return (int)l.pos;
}

int proto_completion_text(char *buf, size_t len, const struct proto_completion *c)
{
	struct line l = line_start(buf, len);

	add(&l, "completion lane %u cookie 0x%llx", c->lane, (unsigned long long)c->cookie);
	for (unsigned i = 0; i < c->count && i < PROTO_CHAIN_MAX; i++)
		add_status(&l, c->status[i]);
	if (c->count == 0 || c->count > PROTO_CHAIN_MAX)
		add(&l, " count=%u", c->count);
	return (int)l.pos;
}
