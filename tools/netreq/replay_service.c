/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a replay: what a device would do takes as long as the trace says, and nothing else is
 * done. When work ends is known as soon as it is given; its answer goes at the first turn after that.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/netreq/replay_node.h"

struct answer {
	uint64_t at, order, token;
	uint32_t bytes;
};

struct device {
	struct replay_node n;
	uint64_t stream[TRACE_STREAMS_MAX]; /* when its work ends */
	uint64_t last;	  /* of all */
	uint64_t service; /* when the calls' own time on this host has passed */
	uint64_t *ends, *ready; /* of each call of the trace at hand */
	size_t calls;
	struct answer *heap;
	size_t n_answers, room;
	uint64_t order;
};

static uint8_t data[REPLAY_DATA];

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool first(const struct answer *a, const struct answer *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void answer_add(struct device *d, struct answer a)
{
	size_t i;

	if (d->n_answers == d->room) {
		size_t room = d->room ? 2 * d->room : 256;
		void *p = realloc(d->heap, room * sizeof(*d->heap));

		if (!p)
			return; /* the client's patience ends */
		d->heap = p;
		d->room = room;
	}
	a.order = d->order++;
	for (i = d->n_answers++; i && first(&a, &d->heap[(i - 1) / 2]); i = (i - 1) / 2)
		d->heap[i] = d->heap[(i - 1) / 2];
	d->heap[i] = a;
}

static void answer_drop(struct device *d)
{
	struct answer last = d->heap[--d->n_answers];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < d->n_answers) {
		if (child + 1 < d->n_answers && first(&d->heap[child + 1], &d->heap[child]))
			child++;
		if (!first(&d->heap[child], &last))
			break;
		d->heap[i] = d->heap[child];
		i = child;
	}
	d->heap[i] = last;
}

static void answers_send(struct device *d)
{
	while (d->n_answers && d->heap[0].at <= d->n.now) {
		struct proto_msg r = {.opcode = OP_REPLAY_CALL, .nargs = 2, .length = d->heap[0].bytes};

		if (atoll_reply(d->n.ep, d->heap[0].token, &r, r.length ? data : NULL))
			return;
		answer_drop(d);
	}
}

static bool calls_room(struct device *d, uint64_t call)
{
	if (call >= d->calls) {
		size_t n = call < 1024 ? 1024 : 2 * (size_t)call;
		uint64_t *e = realloc(d->ends, n * sizeof(*e)), *r = NULL;

		if (e) {
			d->ends = e;
			r = realloc(d->ready, n * sizeof(*r));
		}
		if (!r)
			return false;
		d->ready = r;
		memset(d->ends + d->calls, 0, (n - d->calls) * sizeof(*e));
		memset(d->ready + d->calls, 0, (n - d->calls) * sizeof(*r));
		d->calls = n;
	}
	return true;
}

/* A call's work is given to its stream. */
static void work_give(struct device *d, const struct proto_msg *m, uint64_t call, uint32_t stream, unsigned flags)
{
	uint64_t start, ready, after = m->arg[RA_AFTER];

	d->service = later(d->service, d->n.now) + m->arg[RA_CPU_NS];
	start = later(d->service, d->stream[stream]);
	if (after && after <= d->calls)
		start = later(start, d->ends[after - 1]);
	d->ends[call] = d->stream[stream] = start + m->arg[RA_DEVICE_NS];
	d->last = later(d->last, d->ends[call]);
	ready = d->service;
	if (m->arg[RA_BACK] && (m->arg[RA_DEVICE_NS] || (m->arg[RA_FLAGS] >> 8 & 0xff) == TRACE_ASYNC))
		ready = later(ready, d->ends[call]);
	if (flags & TRACE_WAITS_ALL)
		ready = later(ready, d->last);
	else if (flags & TRACE_WAITS)
		ready = later(ready, d->stream[stream]);
	d->ready[call] = ready;
}

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct device *d = ctx;
	uint64_t call = m->arg[RA_CALL], flags = m->arg[RA_FLAGS];
	uint32_t stream = (uint32_t)m->arg[RA_STREAM], part = (uint32_t)m->arg[RA_PART];
	bool begins = flags >> 16 & 1, back = flags >> 17 & 1, last = part + 1 == m->arg[RA_PART] >> 32;
	struct answer a = {.token = m->req_id};

	(void)payload;
	if (m->opcode != OP_REPLAY_CALL || m->nargs != RA_COUNT || call >= TRACE_CALLS_MAX ||
	    stream >= TRACE_STREAMS_MAX || m->arg[RA_BACK] > REPLAY_DATA || !calls_room(d, call)) {
		struct proto_msg r = {.opcode = m->opcode, .status = STATUS_BAD_MESSAGE};

		atoll_reply(d->n.ep, m->req_id, &r, NULL);
		return;
	}
	a.bytes = (uint32_t)m->arg[RA_BACK];
	if (begins)
		work_give(d, m, call, stream, (unsigned)flags & 0xff);
	a.at = back || last ? d->ready[call] : d->n.now;
	answer_add(d, a);
}

void replay_service(const struct replay_session *r)
{
	static const struct atoll_handlers handlers = {.request = on_request};
	static struct device d;

	if (replay_node_open(r, 1, &d.n))
		_exit(1);
	atoll_set_handlers(d.n.ep, &handlers, &d);
	__atomic_store_n(&r->s->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		replay_node_turn(&d.n);
		if (d.n_answers)
			answers_send(&d);
	}
}
