/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/event.h"

#include <stddef.h>
#include <string.h>

static const char *const points[] = {
	[TRACE_POINT_FROM_RING] = "from-ring", [TRACE_POINT_TO_RING] = "to-ring",
	[TRACE_POINT_TO_LINK] = "to-link",     [TRACE_POINT_FROM_LINK] = "from-link",
	[TRACE_POINT_VERB] = "verb",	       [TRACE_POINT_COMPLETION] = "completion",
	[TRACE_POINT_REFUSED] = "refused",     [TRACE_POINT_PACKET_OUT] = "packet-out",
	[TRACE_POINT_PACKET_IN] = "packet-in",
};

enum { POINTS = sizeof(points) / sizeof(points[0]) };

const char *event_point_name(unsigned point)
{
	return point < POINTS ? points[point] : NULL;
}

int event_point_find(const char *name)
{
	for (int i = 0; i < POINTS; i++)
		if (points[i] && strcmp(points[i], name) == 0)
			return i;
	return -1;
}

const char *event_kind_name(const struct event *ev)
{
	if (ev->kind == EVENT_VERB)
		return "verb";
	if (ev->kind == EVENT_COMPLETION)
		return "completion";
	if (ev->kind == EVENT_PACKET)
		return "packet";
	if (ev->msg.flags & MESSAGE_FLAG_REPLY)
		return "reply";
	if (ev->msg.flags & MESSAGE_FLAG_EVENT)
		return "event";
	return ev->msg.flags & MESSAGE_FLAG_ASYNC ? "async" : "request";
}

static void message_read(const struct proto_trace_entry *e, struct event *out)
{
	uint8_t slots[2 * PROTO_SLOT_SIZE];
	unsigned n;

	memcpy(slots, e->slot0, PROTO_SLOT_SIZE);
	memcpy(slots + PROTO_SLOT_SIZE, e->slot1, PROTO_SLOT_SIZE);
	n = slots[3] < 1 ? 1 : slots[3] > 2 ? 2 : slots[3];
	slots[3] = (uint8_t)n; /* what the trace does not keep is not there */
	proto_msg_unpack(slots, n, &out->msg);
	out->captured = e->captured < sizeof(out->data) ? e->captured : (uint32_t)sizeof(out->data);
	memcpy(out->data, e->data, out->captured);
	switch (e->point) {
	case TRACE_POINT_FROM_RING:
		out->src = e->endpoint;
		out->dst = e->peer;
		break;
	case TRACE_POINT_TO_LINK:
		out->src = out->msg.src;
		out->dst = e->endpoint;
		break;
	case TRACE_POINT_FROM_LINK:
		out->src = out->msg.src;
		out->dst = (uint32_t)e->node << 24;
		break;
	default:
		out->src = out->msg.src;
		out->dst = e->endpoint;
	}
	/* on a link the destination is an endpoint of the receiver's, except of an answer */
	if ((e->point == TRACE_POINT_TO_LINK || e->point == TRACE_POINT_FROM_LINK) &&
	    !(out->msg.flags & MESSAGE_FLAG_REPLY))
		out->dst |= out->msg.dst_slot & 0xffffff;
}

bool event_read(const struct proto_trace_entry *e, struct event *out)
{
	memset(out, 0, sizeof(*out));
	if (e->magic != PROTO_TRACE_ENTRY_MAGIC || !event_point_name(e->point) ||
	    e->point == TRACE_POINT_PACKET_OUT || e->point == TRACE_POINT_PACKET_IN)
		return false;
	out->entry = *e;
	out->point = e->point;
	out->node = e->node;
	out->time_ns = e->time_ns;
	out->where = e->endpoint;
	switch (e->point) {
	case TRACE_POINT_VERB:
		out->kind = EVENT_VERB;
		out->src = e->endpoint;
		memcpy(&out->verb, e->slot0, sizeof(out->verb));
		memcpy(&out->operands, e->slot1, sizeof(out->operands));
		break;
	case TRACE_POINT_COMPLETION:
		out->kind = EVENT_COMPLETION;
		out->dst = e->endpoint;
		memcpy(&out->completion, e->slot0, sizeof(out->completion));
		break;
	default:
		message_read(e, out);
	}
	return true;
}

void event_packet(struct event *out, uint64_t time_ns, bool out_of, const uint8_t *frame,
		  uint32_t captured, uint32_t length)
{
	memset(out, 0, sizeof(*out));
	out->kind = EVENT_PACKET;
	out->point = out_of ? TRACE_POINT_PACKET_OUT : TRACE_POINT_PACKET_IN;
	out->time_ns = time_ns;
	out->packet = frame;
	out->packet_captured = captured;
	out->packet_length = length;
}

bool event_next(struct event_packets *packets, const struct proto_trace_entry *e, struct event *out)
{
	enum { ROOM = offsetof(struct proto_trace_entry, seq) - offsetof(struct proto_trace_entry, slot0) };
	uint32_t n = e->captured < ROOM ? e->captured : ROOM;

	if (e->magic != PROTO_TRACE_ENTRY_MAGIC)
		return false;
	switch (e->point) {
	case TRACE_POINT_PACKET_OUT:
	case TRACE_POINT_PACKET_IN:
		packets->have = 0;
		packets->want = e->peer < EVENT_PACKET_MAX ? e->peer : 0;
		event_packet(&packets->first, e->time_ns, e->point == TRACE_POINT_PACKET_OUT,
			     packets->bytes, packets->want, packets->want);
		packets->first.node = e->node;
		packets->first.where = e->endpoint;
		break;
	case TRACE_POINT_PACKET_MORE:
		break;
	default:
		packets->want = 0;
		return event_read(e, out);
	}
	if (!packets->want || n > packets->want - packets->have)
		return false;
	memcpy(packets->bytes + packets->have, e->slot0, n);
	packets->have += n;
	if (packets->have < packets->want)
		return false;
	packets->want = 0;
	*out = packets->first;
	return true;
}
