/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/show.h"

#include <inttypes.h>

#include "tools/msgdump/packet.h"

enum { LINE = 1024 };

void show_text(FILE *to, const struct event *ev, uint64_t start_ns)
{
	char text[LINE], where[32];
	const char *point = event_point_name(ev->point);
	uint64_t ns = ev->time_ns - start_ns;
	int n;
	bool atomic = ev->verb.op == VERB_OP_CAS || ev->verb.op == VERB_OP_FAA;

	switch (ev->kind) {
	case EVENT_VERB:
		proto_verb_text(text, sizeof(text), &ev->verb, atomic ? &ev->operands : NULL);
		break;
	case EVENT_COMPLETION:
		proto_completion_text(text, sizeof(text), &ev->completion);
		break;
	case EVENT_MESSAGE:
		proto_message_text(text, sizeof(text), &ev->msg, ev->data, ev->captured);
		break;
	case EVENT_PACKET:
		n = packet_text(text, sizeof(text), ev->packet, ev->packet_captured);
		if (n >= 0 && (size_t)n < sizeof(text))
			snprintf(text + n, sizeof(text) - (size_t)n, " %u bytes", ev->packet_length);
		break;
	}
	if (ev->kind == EVENT_PACKET)
		snprintf(where, sizeof(where), "port");
	else if (ev->where & 0xffffff)
		snprintf(where, sizeof(where), "%u/%u", ev->where >> 24, ev->where & 0xffffff);
	else
		snprintf(where, sizeof(where), "node %u", ev->where >> 24);
	fprintf(to, "%5" PRIu64 ".%06" PRIu64 "  %-10s %-8s %s\n", ns / 1000000000, ns / 1000 % 1000000,
		point ? point : "?", where, text);
}

/* ---------------------------------------------------------------- JSON */

/* A member's name and what stands before it; @first: of an object. Names come from the schema, so
 * nothing in them needs an escape. */
static void member(FILE *to, const char *name, bool first)
{
	fprintf(to, "%s\"%s\": ", first ? "" : ", ", name);
}

static void digits(FILE *to, uint64_t v)
{
	fprintf(to, v > 1ull << 53 ? "\"%" PRIu64 "\"" : "%" PRIu64, v);
}

static void number(FILE *to, const char *name, uint64_t v)
{
	member(to, name, false);
	digits(to, v);
}

static void endpoint(FILE *to, const char *name, uint32_t ep)
{
	if (ep & 0xffffff)
		fprintf(to, ", \"%s\": \"%u/%u\"", name, ep >> 24, ep & 0xffffff);
	else if (ep)
		fprintf(to, ", \"%s\": \"%u\"", name, ep >> 24);
}

static void named(FILE *to, const struct proto_enum *e, uint64_t v)
{
	const char *text = proto_value_name(e, v);

	if (text[0] == '?')
		digits(to, v);
	else
		fprintf(to, "\"%s\"", text);
}

static void bits(FILE *to, const struct proto_enum *e, uint64_t v)
{
	const char *comma = "";

	fputc('[', to);
	for (unsigned i = 0; i < e->count; i++)
		if (v & e->values[i].value) {
			fprintf(to, "%s\"%s\"", comma, e->values[i].name);
			v &= ~(uint64_t)e->values[i].value;
			comma = ", ";
		}
	if (v)
		fprintf(to, "%s\"0x%" PRIx64 "\"", comma, v);
	fputc(']', to);
}

static void args(FILE *to, const struct proto_msg *m)
{
	/* an answer that is an error may leave out what it has no use for */
	bool failed = (m->flags & MESSAGE_FLAG_REPLY) && m->status != STATUS_OK;
	const struct proto_body *b = failed ? NULL : proto_msg_body(m);
	unsigned known = b ? b->nargs : 0;
	bool first = true;

	for (unsigned i = 0; i < known; i++) {
		const struct proto_arg *a = &b->args[i];

		member(to, a->name, first);
		first = false;
		if (a->values)
			(a->values->bits ? bits : named)(to, a->values, m->arg[i]);
		else
			digits(to, m->arg[i]);
	}
	for (unsigned i = known; i < m->nargs && i < PROTO_ARGS_MAX; i++)
		if (m->arg[i]) {
			char name[16];

			snprintf(name, sizeof(name), "arg%u", i);
			member(to, name, first);
			first = false;
			digits(to, m->arg[i]);
		}
}

static void message(FILE *to, const struct event *ev)
{
	const struct proto_msg *m = &ev->msg;
	const char *name = proto_op_name(m->opcode);

	fprintf(to, ", \"opcode\": %u, \"name\": ", m->opcode);
	if (name)
		fprintf(to, "\"%s\"", name);
	else
		fputs("null", to);
	number(to, "req", m->req_id);
	if (m->flags & MESSAGE_FLAG_REPLY) {
		member(to, "status", false);
		named(to, &proto_enum_status, m->status);
	} else
		fprintf(to, ", \"handle\": \"%u:%u\"", m->dst_slot, m->dst_gen);
	number(to, "length", m->length);
	fputs(", \"args\": {", to);
	args(to, m);
	fputc('}', to);
	if (ev->captured) {
		fputs(", \"payload\": \"", to);
		for (unsigned i = 0; i < ev->captured; i++)
			fprintf(to, "%02x", ev->data[i]);
		fputc('"', to);
	}
	if (m->budget_us)
		number(to, "budget_us", m->budget_us);
	if (m->trace_id)
		number(to, "trace", m->trace_id);
}

static void verb(FILE *to, const struct event *ev)
{
	const struct proto_verb *v = &ev->verb;

	member(to, "op", false);
	named(to, &proto_enum_verb_op, v->op);
	member(to, "flags", false);
	bits(to, &proto_enum_verb_flag, v->flags);
	number(to, "lane", v->lane);
	number(to, "cookie", v->cookie);
	fprintf(to, ", \"remote\": \"%u:%u\"", v->remote_slot, v->remote_gen);
	number(to, "remote_offset", v->remote_offset);
	fprintf(to, ", \"local\": \"%u:%u\"", v->local_slot, v->local_gen);
	number(to, "local_offset", v->local_offset);
	number(to, "length", v->len);
	if (v->op == VERB_OP_CAS)
		number(to, "compare", ev->operands.compare);
	if (v->op == VERB_OP_CAS || v->op == VERB_OP_FAA)
		number(to, v->op == VERB_OP_CAS ? "swap" : "add", ev->operands.swap);
}

static void completion(FILE *to, const struct event *ev)
{
	const struct proto_completion *c = &ev->completion;

	number(to, "lane", c->lane);
	number(to, "cookie", c->cookie);
	fputs(", \"status\": [", to);
	for (unsigned i = 0; i < c->count && i < PROTO_CHAIN_MAX; i++)
		if (c->status[i] < STATUS_COUNT)
			fprintf(to, "%s\"%s\"", i ? ", " : "", proto_status_name(c->status[i]));
		else
			fprintf(to, "%s%u", i ? ", " : "", c->status[i]);
	fputc(']', to);
}

static void packet(FILE *to, const struct event *ev)
{
	char text[LINE];

	packet_text(text, sizeof(text), ev->packet, ev->packet_captured);
	fprintf(to, ", \"text\": \"%s\"", text);
	number(to, "length", ev->packet_length);
	member(to, "frame", false);
	fputc('"', to);
	for (uint32_t i = 0; i < ev->packet_captured; i++)
		fprintf(to, "%02x", ev->packet[i]);
	fputc('"', to);
}

void show_json(FILE *to, const struct event *ev)
{
	const char *point = event_point_name(ev->point);

	/* the time is a number all the same: it is below 2^53 until a clock has run for 104 days, or is one
	 * of the calendar's, and then what is lost is less than a microsecond */
	fprintf(to, "{\"time_ns\": %" PRIu64 ", \"point\": \"%s\", \"node\": %u, \"kind\": \"%s\"",
		ev->time_ns, point ? point : "?", ev->node, event_kind_name(ev));
	endpoint(to, "src", ev->src);
	endpoint(to, "dst", ev->dst);
	endpoint(to, "where", ev->where);
	switch (ev->kind) {
	case EVENT_MESSAGE:
		message(to, ev);
		break;
	case EVENT_VERB:
		verb(to, ev);
		break;
	case EVENT_COMPLETION:
		completion(to, ev);
		break;
	case EVENT_PACKET:
		packet(to, ev);
		break;
	}
	fputs("}\n", to);
}
