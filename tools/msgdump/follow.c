/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 256 };

int follow_begin(struct follow *f, uint32_t trace_id)
{
	memset(f, 0, sizeof(*f));
	f->trace_id = trace_id;
	f->events = calloc(FOLLOW_EVENTS_MAX, sizeof(*f->events));
	return f->events ? 0 : -ENOMEM;
}

void follow_end(struct follow *f)
{
	free(f->events);
	f->events = NULL;
}

void follow_add(struct follow *f, const struct event *ev)
{
	if (ev->kind != EVENT_MESSAGE || ev->msg.trace_id != f->trace_id)
		return;
	if (f->count == FOLLOW_EVENTS_MAX) {
		f->full = true;
		return;
	}
	f->events[f->count++] = *ev;
}

static bool is_reply(const struct event *ev)
{
	return ev->msg.flags & MESSAGE_FLAG_REPLY;
}

bool follow_complete(const struct follow *f)
{
	unsigned open = 0, asked = 0;

	for (unsigned i = 0; i < f->count; i++) {
		const struct event *ev = &f->events[i];

		if (ev->point == TRACE_POINT_FROM_RING && !is_reply(ev) &&
		    !(ev->msg.flags & MESSAGE_FLAG_ASYNC)) {
			open++;
			asked++;
		}
		if (ev->point == TRACE_POINT_TO_RING && is_reply(ev) && open)
			open--;
	}
	return asked && !open;
}

/* ---------------------------------------------------------------- clocks */

/* The shortest time that a message from @a to @b took, by their clocks. False: none was seen at both. */
static bool shortest(const struct follow *f, unsigned a, unsigned b, int64_t *out)
{
	bool found = false;

	for (unsigned i = 0; i < f->count; i++) {
		const struct event *sent = &f->events[i];

		if (sent->point != TRACE_POINT_TO_LINK || sent->node != a || sent->where >> 24 != b)
			continue;
		for (unsigned k = 0; k < f->count; k++) {
			const struct event *got = &f->events[k];
			int64_t took;

			if (got->point != TRACE_POINT_FROM_LINK || got->node != b ||
			    got->where >> 24 != a || got->msg.req_id != sent->msg.req_id ||
			    is_reply(got) != is_reply(sent))
				continue;
			took = (int64_t)(got->time_ns - sent->time_ns);
			if (!found || took < *out)
				*out = took;
			found = true;
		}
	}
	return found;
}

/* How far @b's clock is ahead of @a's. */
static bool ahead(const struct follow *f, unsigned a, unsigned b, int64_t *out)
{
	int64_t there = 0, back = 0;
	bool one = shortest(f, a, b, &there), other = shortest(f, b, a, &back);

	if (!one && !other)
		return false;
	if (one && other)
		*out = there / 2 - back / 2;
	else
		*out = one ? there : -back;
	return true;
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	/* of one node they stand in the order of its ring */
	return x->entry.seq < y->entry.seq ? -1 : x->entry.seq > y->entry.seq;
}

void follow_order(struct follow *f)
{
	uint8_t state[NODES] = {0}; /* 1 seen, 2 its offset is known */
	unsigned first = 0;
	bool more = true;

	if (!f->count)
		return;
	/* on from the node where the request began: the first that took it from a ring */
	for (unsigned i = 0; i < f->count; i++) {
		state[f->events[i].node] = 1;
		if (f->events[i].point == TRACE_POINT_FROM_RING && !is_reply(&f->events[i]) && !first)
			first = f->events[i].node;
	}
	if (!first)
		first = f->events[0].node;
	state[first] = 2;
	while (more) {
		more = false;
		for (unsigned a = 0; a < NODES; a++)
			for (unsigned b = 0; b < NODES && state[a] == 2; b++) {
				int64_t offset;

				if (state[b] != 1 || !ahead(f, a, b, &offset))
					continue;
				f->offset_ns[b] = f->offset_ns[a] - offset;
				state[b] = 2;
				more = true;
			}
	}
	for (unsigned i = 0; i < f->count; i++)
		f->events[i].time_ns += (uint64_t)f->offset_ns[f->events[i].node];
	qsort(f->events, f->count, sizeof(*f->events), by_time);
}

/* ---------------------------------------------------------------- the picture */

static void bar(char *out, uint64_t from, uint64_t to, uint64_t whole)
{
	unsigned a = whole ? (unsigned)((unsigned __int128)from * FOLLOW_WIDTH / whole) : 0;
	unsigned b = whole ? (unsigned)((unsigned __int128)to * FOLLOW_WIDTH / whole) : 0;

	memset(out, ' ', FOLLOW_WIDTH);
	out[FOLLOW_WIDTH] = 0;
	if (a >= FOLLOW_WIDTH)
		a = FOLLOW_WIDTH - 1;
	if (b > FOLLOW_WIDTH)
		b = FOLLOW_WIDTH;
	for (unsigned i = a; i < b; i++)
		out[i] = '-';
	out[a] = '|';
}

void follow_print(const struct follow *f, FILE *to)
{
	uint64_t start, whole;
	bool node[NODES] = {false};
	unsigned nodes = 0;

	if (!f->count) {
		fprintf(to, "no message with trace id 0x%x was seen\n", f->trace_id);
		return;
	}
	start = f->events[0].time_ns;
	whole = f->events[f->count - 1].time_ns - start;
	for (unsigned i = 0; i < f->count; i++) {
		nodes += !node[f->events[i].node];
		node[f->events[i].node] = true;
	}
	fprintf(to, "trace 0x%x: %u sightings on %u node%s, %" PRIu64 ".%03" PRIu64 " us%s%s\n", f->trace_id,
		f->count, nodes, nodes == 1 ? "" : "s", whole / 1000, whole % 1000,
		follow_complete(f) ? "" : ", not answered",
		f->full ? ", and more than could be kept" : "");
	for (unsigned i = 0; i < f->count; i++) {
		const struct event *ev = &f->events[i];
		uint64_t at = ev->time_ns - start;
		uint64_t next = i + 1 < f->count ? f->events[i + 1].time_ns - start : at;
		const char *name = proto_op_name(ev->msg.opcode), *point = event_point_name(ev->point);
		char picture[FOLLOW_WIDTH + 1], where[32], opcode[32];

		bar(picture, at, next, whole);
		if (ev->where & 0xffffff)
			snprintf(where, sizeof(where), "%u/%u", ev->node, ev->where & 0xffffff);
		else
			snprintf(where, sizeof(where), "%u", ev->node);
		snprintf(opcode, sizeof(opcode), "opcode 0x%04x", ev->msg.opcode);
		fprintf(to, "%8" PRIu64 ".%03" PRIu64 "  %s  %-8s %-10s %s %s%s%s\n", at / 1000, at % 1000,
			picture, where, point ? point : "?", name ? name : opcode, event_kind_name(ev),
			is_reply(ev) ? " " : "", is_reply(ev) ? proto_status_name(ev->msg.status) : "");
	}
	for (unsigned i = 1; i < NODES; i++)
		if (node[i] && f->offset_ns[i])
			fprintf(to, "clock of node %u: %+.3f us\n", i, (double)f->offset_ns[i] / 1e3);
}
