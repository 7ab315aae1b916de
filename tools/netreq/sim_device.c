/* SPDX-License-Identifier: Apache-2.0 */
/* The far side: the service takes messages one at a time, the device works through its streams. */
#include <errno.h>

#include "tools/netreq/sim_impl.h"

/* Does the call's work begin with its first message (results come back) or its last (data must be there)? */
static bool begins_first(const struct trace_call *c)
{
	return c->bytes_in > c->bytes_out;
}

/* ---------------------------------------------------------------- answers */

static bool may_answer(const struct sim *s, const struct trace_call *c, const struct state *st, uint32_t part)
{
	if (st->ready)
		return true;
	if (c->bytes_in)
		return false;
	/* all but the last of many messages are only acknowledged */
	return model_class(c, s->conf->change) == TRACE_ASYNC || part + 1 < st->parts;
}

static void answers_send(struct sim *s, uint32_t client, uint32_t call)
{
	struct client *k = &s->clients[client];
	struct state *st = &k->states[call];

	while (st->sent < st->came && may_answer(s, &k->t->calls[call], st, st->sent))
		sim_answer(s, client, call, st->sent++);
}

static void make_ready(struct sim *s, uint32_t client, uint32_t call)
{
	s->clients[client].states[call].ready = true;
	answers_send(s, client, call);
}

/* ---------------------------------------------------------------- the device */

static void work_start(struct sim *s, uint32_t client, uint32_t call)
{
	const struct trace_call *c = &s->clients[client].t->calls[call];

	if (c->device_ns && s->conf->slots && s->running == s->conf->slots) {
		sim_queue_add(s, &s->slots, (struct outgoing){call, client});
		return;
	}
	if (c->device_ns)
		s->running++;
	s->device_time += (double)c->device_ns;
	sim_at(s, s->now + (double)c->device_ns, EV_DEVICE, client, call, 0);
}

static void stream_go_on(struct sim *s, uint32_t client, uint32_t stream)
{
	struct client *k = &s->clients[client];
	struct stream *q = &k->streams[stream];
	const struct trace_call *c, *before;
	uint32_t call;

	if (q->busy || !q->head)
		return;
	q->busy = true;
	call = q->head - 1;
	c = &k->t->calls[call];
	before = c->after ? &k->t->calls[c->after - 1] : NULL;
	if (before && model_class(before, s->conf->change) != TRACE_LOCAL && !k->states[c->after - 1].done) {
		k->states[call].waits_next = k->states[c->after - 1].waiters;
		k->states[c->after - 1].waiters = call + 1;
		return;
	}
	work_start(s, client, call);
}

static void work_give(struct sim *s, uint32_t client, uint32_t call)
{
	struct client *k = &s->clients[client];
	struct state *st = &k->states[call];
	const struct trace_call *c = &k->t->calls[call];
	struct stream *q = &k->streams[c->stream];

	st->given = true;
	st->work = k->works++;
	if (q->tail)
		k->states[q->tail - 1].next = call + 1;
	else
		q->head = call + 1;
	q->tail = call + 1;
	stream_go_on(s, client, c->stream);
}

/* The first pieces of work, up to those given when they asked, have ended: for whom is that enough? */
static void all_check(struct sim *s, uint32_t client)
{
	struct client *k = &s->clients[client];
	size_t kept = 0;

	for (size_t i = 0; i < k->nall; i++) {
		uint32_t call = k->all[i];

		if (k->states[call].work < k->ended)
			make_ready(s, client, call);
		else
			k->all[kept++] = call;
	}
	k->nall = kept;
}

void sim_device_ended(struct sim *s, const struct event *e)
{
	struct client *k = &s->clients[e->client];
	const struct trace_call *c = &k->t->calls[e->call];
	struct state *st = &k->states[e->call];
	struct stream *q = &k->streams[c->stream];
	enum trace_class class = model_class(c, s->conf->change);
	unsigned flags = model_flags(c, s->conf->change);

	st->done = true;
	if (s->now > k->end)
		k->end = s->now;
	k->states[st->work].work_ended = true;
	while (k->ended < k->works && k->states[k->ended].work_ended)
		k->ended++;
	q->head = st->next;
	if (!q->head)
		q->tail = 0;
	q->busy = false;
	if (class == TRACE_ASYNC || !(flags & TRACE_WAITS_ALL))
		make_ready(s, e->client, e->call);
	if (k->nall)
		all_check(s, e->client);
	for (uint32_t w = st->waiters; w; w = k->states[w - 1].waits_next)
		work_start(s, e->client, w - 1);
	st->waiters = 0;
	stream_go_on(s, e->client, c->stream);
	if (c->device_ns) {
		s->running--;
		if (s->slots.head != s->slots.tail) {
			struct outgoing o = s->slots.ring[s->slots.head++ % s->slots.room];

			work_start(s, o.part, o.call);
		}
	}
}

/* ---------------------------------------------------------------- the service */

static void service_go_on(struct sim *s)
{
	struct service_wait *w;
	const struct trace_call *c;
	struct state *st;
	double ns;

	if (s->service_busy || s->serve_head == s->serve_tail)
		return;
	w = &s->at_service[s->serve_head++ % s->serve_room];
	c = &s->clients[w->e.client].t->calls[w->e.call];
	st = &s->clients[w->e.client].states[w->e.call];
	ns = s->conf->net.serve_ns;
	if (w->e.part == (begins_first(c) ? 0 : st->parts - 1))
		ns += c->cpu_ns;
	s->wait_time += s->now - w->since;
	s->service_time += ns;
	s->service_busy = true;
	sim_at(s, s->now + ns, EV_SERVED, w->e.client, w->e.call, w->e.part);
}

void sim_arrived(struct sim *s, const struct event *e)
{
	struct service_wait *p = sim_ring_room(s, s->at_service, sizeof(*p), &s->serve_head, &s->serve_tail,
					       &s->serve_room);

	if (!p)
		return;
	s->at_service = p;
	p[s->serve_tail++ % s->serve_room] = (struct service_wait){*e, s->now};
	service_go_on(s);
}

void sim_served(struct sim *s, const struct event *e)
{
	struct client *k = &s->clients[e->client];
	const struct trace_call *c = &k->t->calls[e->call];
	struct state *st = &k->states[e->call];
	unsigned flags = model_flags(c, s->conf->change);

	s->service_busy = false;
	st->came++;
	if (e->part == (begins_first(c) ? 0 : st->parts - 1)) {
		/* a question that waits for nothing is answered at once; data waits for what makes it */
		if (model_class(c, s->conf->change) == TRACE_SYNC && !(flags & (TRACE_WAITS | TRACE_WAITS_ALL)) &&
		    !(c->bytes_in && c->device_ns))
			st->ready = true;
		if (flags & TRACE_WAITS_ALL)
			k->all[k->nall++] = e->call;
		work_give(s, e->client, e->call);
	}
	answers_send(s, e->client, e->call);
	service_go_on(s);
}
