/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct net net_default = {
	.rtt_ns = 0,
	.gbps = 0,
	/* a message of one slot through rings and router; wire.* of the benchmarks have this machine's */
	.push_ns = 300,
	.serve_ns = 300,
	.local_ns = 50,
	.message_bytes = 128, /* head slot and one of registers */
	.packet_bytes = 58,   /* Ethernet 14, IPv4 20, UDP 8, BTH 12, ICRC 4 */
	.packet_payload = 4096,
	.chunk_bytes = 8192,
	.window = 64,
	.window_bytes = 131072,
};

enum {
	PARTS_MAX = 512,	/* of one call that are followed one by one; of more, several are taken as one */
	PACKET_MESSAGES = 64,	/* a packet of 4096 bytes has room for as many heads */
};

/* A message that waits for the wire out, or an answer for the wire back. */
struct item {
	double at;    /* pushed, or ready */
	double bytes; /* of data */
	uint64_t message; /* its number */
	uint32_t call, weight; /* messages that are taken as this one */
};

struct thread {
	const uint32_t *calls; /* this thread's, by number */
	size_t at, n;
	double cpu;
	/* of the call that it waits for, if any */
	uint32_t left; /* answers that are not there */
	double served, ready;
};

/* Bytes that are on the way until their acknowledgement is back. */
struct flight {
	double back_at, bytes;
};

struct wire {
	double free; /* from when on */
	double bytes; /* on the way */
	struct flight *ring;
	size_t head, tail, room;
};

struct run {
	const struct trace *t;
	const struct net *net; /* NULL: local */
	unsigned change;
	struct thread *threads;
	uint32_t *order;
	double *stream;	 /* when each stream's work ends */
	double *done;	 /* when each call's work ends on the device */
	double devices;	 /* the latest of all */
	double service;	 /* when it is free */
	double data_end; /* when the last data of an asynchronous copy is back */
	struct wire out, in;
	double *acks;	 /* of the last `window` messages: when the client has them; negative: not yet known */
	uint64_t sent;	 /* messages that are on the wire */
	struct item *queue; /* for the wire out: a ring */
	size_t head, tail, queue_room;
	struct item *backs; /* for the wire back: a heap by ready */
	size_t nbacks, room;
	int error;
	struct model *result;
};

static double later(double a, double b)
{
	return a > b ? a : b;
}

enum trace_class model_class(const struct trace_call *c, unsigned change)
{
	if (c->class == TRACE_SYNC && change & MODEL_LOCAL && c->flags & TRACE_COULD_LOCAL)
		return TRACE_LOCAL;
	if (c->class == TRACE_SYNC && change & MODEL_ASYNC && c->flags & TRACE_COULD_ASYNC)
		return TRACE_ASYNC;
	if (c->class == TRACE_ASYNC && change & MODEL_ALL_SYNC)
		return TRACE_SYNC;
	return c->class;
}

unsigned model_flags(const struct trace_call *c, unsigned change)
{
	return model_class(c, change) == TRACE_SYNC ? c->flags : c->flags & ~(unsigned)(TRACE_WAITS | TRACE_WAITS_ALL);
}

uint64_t net_messages(const struct net *net, const struct trace_call *c)
{
	uint64_t most = c->bytes_out > c->bytes_in ? c->bytes_out : c->bytes_in;
	uint64_t n = net->chunk_bytes ? (most + net->chunk_bytes - 1) / net->chunk_bytes : 1;

	return n ? n : 1;
}

double net_wire_bytes(const struct net *net, double data)
{
	double bytes = data + net->message_bytes;

	return bytes + ceil(bytes / net->packet_payload) * net->packet_bytes;
}

/* ---------------------------------------------------------------- wires */

/* With the heads of its packets, and of the messages that are taken as one. */
static double packet_bytes(const struct net *net, double bytes, uint32_t weight)
{
	bytes += (double)(weight - 1) * net->message_bytes;
	return bytes + ceil(bytes / weight / net->packet_payload) * weight * net->packet_bytes;
}

/* The next message or answer waits for all that are before it; the wire is taken for its bytes, and the way
 * behind it by everybody at once. @share: of one packet. Return: when its last bit has left. */
static double wire_put(struct run *r, struct wire *w, double from, double bytes, uint32_t weight)
{
	const struct net *net = r->net;
	double ns = net->gbps > 0 ? bytes * 8 / net->gbps : 0, start = from > w->free ? from : w->free;

	if (weight > 1) {
		/* many messages as one: what may be under way at once bounds the rate by one such a round trip */
		double room = net->window_bytes ? net->window_bytes : HUGE_VAL;
		double window = net->window ? bytes / weight * net->window : HUGE_VAL;

		if (window < room)
			room = window;
		if (bytes / room * (net->rtt_ns + net->serve_ns) > ns)
			ns = bytes / room * (net->rtt_ns + net->serve_ns);
		w->free = start + ns;
		return w->free;
	}
	while (w->head != w->tail && (w->ring[w->head % w->room].back_at <= start ||
				      (net->window_bytes && w->bytes >= net->window_bytes))) {
		struct flight *f = &w->ring[w->head++ % w->room];

		if (f->back_at > start)
			start = f->back_at;
		w->bytes -= f->bytes;
	}
	w->free = start + ns;
	if (net->window_bytes && net->rtt_ns > 0) {
		if (w->tail - w->head == w->room) {
			size_t room = w->room ? 2 * w->room : 64;
			struct flight *p = malloc(room * sizeof(*p));

			if (!p) {
				r->error = -ENOMEM;
				return w->free;
			}
			for (size_t i = w->head; i != w->tail; i++)
				p[i - w->head] = w->ring[i % w->room];
			free(w->ring);
			w->ring = p;
			w->tail -= w->head;
			w->head = 0;
			w->room = room;
		}
		w->ring[w->tail++ % w->room] = (struct flight){w->free + net->rtt_ns, bytes};
		w->bytes += bytes;
	}
	return w->free;
}

/* ---------------------------------------------------------------- the way back */

static void back_add(struct run *r, struct item b)
{
	size_t i;

	if (r->nbacks == r->room) {
		size_t room = r->room ? 2 * r->room : 64;
		void *p = realloc(r->backs, room * sizeof(*r->backs));

		if (!p) {
			r->error = -ENOMEM;
			return;
		}
		r->backs = p;
		r->room = room;
	}
	for (i = r->nbacks++; i && b.at < r->backs[(i - 1) / 2].at; i = (i - 1) / 2)
		r->backs[i] = r->backs[(i - 1) / 2];
	r->backs[i] = b;
}

static void back_drop(struct run *r)
{
	struct item last = r->backs[--r->nbacks];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < r->nbacks) {
		if (child + 1 < r->nbacks && r->backs[child + 1].at < r->backs[child].at)
			child++;
		if (last.at <= r->backs[child].at)
			break;
		r->backs[i] = r->backs[child];
		i = child;
	}
	r->backs[i] = last;
}

/* A thread has its answer and goes on. */
static void thread_wakes(struct run *r, struct thread *th, const struct trace_call *c, double at)
{
	/* what a local program waits for the device, it would have waited, too */
	double blocked = later(0, at - th->cpu - later(0, th->ready - th->served));

	r->result->answers++;
	r->result->blocked_ns += blocked;
	if (r->result->names) {
		r->result->names[c->name].sync++;
		r->result->names[c->name].blocked_ns += blocked;
	}
	th->cpu = later(th->cpu, at);
}

static void back_came(struct run *r, const struct item *b, double at)
{
	const struct trace_call *c = &r->t->calls[b->call];
	struct thread *th = &r->threads[c->thread];
	uint64_t window = r->net->window;

	if (window && b->message + window >= r->sent) /* else it is of nobody's concern any more */
		r->acks[b->message % window] = at;
	if (b->bytes > 0)
		r->data_end = later(r->data_end, at);
	if (model_class(c, r->change) == TRACE_SYNC && !--th->left)
		thread_wakes(r, th, c, at);
}

/* When the next packet of answers leaves. */
static double back_start(const struct run *r)
{
	return r->nbacks ? later(r->backs[0].at, r->in.free) : HUGE_VAL;
}

/* It holds what is ready by then. */
static void back_send(struct run *r)
{
	const struct net *net = r->net;
	double start = back_start(r), bytes = 0;
	struct item in[PACKET_MESSAGES];
	uint32_t n = 0, weight = r->backs[0].weight;

	do {
		bytes += r->backs[0].bytes + net->message_bytes;
		in[n++] = r->backs[0];
		back_drop(r);
	} while (weight == 1 && r->nbacks && n < PACKET_MESSAGES && r->backs[0].at <= start && r->backs[0].weight == 1 &&
		 bytes + r->backs[0].bytes + net->message_bytes <= net->packet_payload);
	bytes = packet_bytes(net, bytes, weight);
	r->result->bytes_in += bytes;
	start = wire_put(r, &r->in, start, bytes, weight) + net->rtt_ns / 2;
	for (uint32_t i = 0; i < n; i++)
		back_came(r, &in[i], start);
}

/* ---------------------------------------------------------------- the device */

/* On the device, not before @from. Return: when it ends. */
static double device(struct run *r, const struct trace_call *c, size_t number, double from)
{
	double start = later(from, r->stream[c->stream]);

	if (c->after)
		start = later(start, r->done[c->after - 1]);
	r->done[number] = r->stream[c->stream] = start + (double)c->device_ns;
	r->devices = later(r->devices, r->done[number]);
	return r->done[number];
}

static double waits_until(const struct run *r, const struct trace_call *c, unsigned flags, double otherwise)
{
	if (flags & TRACE_WAITS_ALL)
		return later(otherwise, r->devices);
	return flags & TRACE_WAITS ? later(otherwise, r->stream[c->stream]) : otherwise;
}

/* ---------------------------------------------------------------- the way there */

struct parts {
	uint32_t n, weight;
};

/* Messages of a call, and how many of them are taken as one. */
static struct parts parts_of(const struct net *net, const struct trace_call *c)
{
	uint64_t n = net_messages(net, c), weight = (n + PARTS_MAX - 1) / PARTS_MAX;

	return (struct parts){(uint32_t)((n + weight - 1) / weight), (uint32_t)weight};
}

/* Data of part @part out of @bytes. */
static double part_bytes(const struct net *net, struct parts p, uint64_t bytes, uint32_t part)
{
	double each = (double)net->chunk_bytes * p.weight, skip = each * part, left = (double)bytes - skip;

	if (!net->chunk_bytes)
		return part ? 0 : (double)bytes;
	return left <= 0 ? 0 : left < each ? left : each;
}

/* The service has a message: its call begins on the device with the last that brings data, or with the first
 * that asks for data. */
static void message_take(struct run *r, const struct item *m, double arrive)
{
	const struct trace_call *c = &r->t->calls[m->call];
	enum trace_class class = model_class(c, r->change);
	unsigned flags = model_flags(c, r->change);
	struct parts p = parts_of(r->net, c);
	uint32_t part = (uint32_t)m->message;
	bool back = c->bytes_in > c->bytes_out, begins = part == (back ? 0 : p.n - 1);
	struct item answer = {.bytes = part_bytes(r->net, p, c->bytes_in, part),
			      .message = r->sent,
			      .call = m->call,
			      .weight = m->weight};
	double ready;

	r->service = later(arrive, r->service) + r->net->serve_ns * m->weight + (begins ? c->cpu_ns : 0);
	if (begins)
		device(r, c, m->call, r->service);
	/* data comes when the device has made it; a question is answered at once, or when the stream is there */
	ready = r->service;
	if (c->bytes_in && (c->device_ns || class == TRACE_ASYNC))
		ready = later(ready, r->done[m->call]);
	if (back || part == p.n - 1)
		ready = waits_until(r, c, flags, ready);
	if (class == TRACE_SYNC && begins) {
		r->threads[c->thread].served = r->service;
		r->threads[c->thread].ready = ready;
	}
	answer.at = ready;
	back_add(r, answer);
}

/* May one more message go by @start, behind the @n of a packet? */
static bool window_open(const struct run *r, uint32_t n, double start)
{
	double ack;

	if (!r->net->window)
		return true;
	if (n >= r->net->window)
		return false;
	ack = r->acks[(r->sent + n) % r->net->window];
	return ack >= 0 && ack <= start;
}

/* When the next packet of messages leaves; HUGE_VAL: not before another answer has come. */
static double queue_start(const struct run *r)
{
	double start;

	if (r->head == r->tail)
		return HUGE_VAL;
	start = later(r->queue[r->head % r->queue_room].at, r->out.free);
	if (!r->net->window)
		return start;
	return r->acks[r->sent % r->net->window] < 0 ? HUGE_VAL : later(start, r->acks[r->sent % r->net->window]);
}

/* It holds what was pushed by then. */
static void queue_send(struct run *r)
{
	const struct net *net = r->net;
	double start = queue_start(r), bytes = 0;
	struct item in[PACKET_MESSAGES], *m = &r->queue[r->head % r->queue_room];
	uint32_t n = 0, weight = m->weight;

	do {
		bytes += m->bytes + net->message_bytes;
		in[n++] = *m;
		m = &r->queue[++r->head % r->queue_room];
	} while (weight == 1 && r->head != r->tail && n < PACKET_MESSAGES && m->at <= start && m->weight == 1 &&
		 bytes + m->bytes + net->message_bytes <= net->packet_payload && window_open(r, n, start));
	bytes = packet_bytes(net, bytes, weight);
	r->result->bytes_out += bytes;
	start = wire_put(r, &r->out, start, bytes, weight) + net->rtt_ns / 2;
	for (uint32_t i = 0; i < n; i++) {
		if (net->window)
			r->acks[r->sent % net->window] = -1;
		message_take(r, &in[i], start);
		r->sent++;
	}
}

static void queue_add(struct run *r, struct item m)
{
	if (r->tail - r->head == r->queue_room) {
		size_t room = r->queue_room ? 2 * r->queue_room : 64;
		struct item *p = malloc(room * sizeof(*p));

		if (!p) {
			r->error = -ENOMEM;
			return;
		}
		for (size_t i = r->head; i != r->tail; i++)
			p[i - r->head] = r->queue[i % r->queue_room];
		free(r->queue);
		r->queue = p;
		r->tail -= r->head;
		r->head = 0;
		r->queue_room = room;
	}
	r->queue[r->tail++ % r->queue_room] = m;
}

/* ---------------------------------------------------------------- one call */

static void local_call(struct run *r, struct thread *th, const struct trace_call *c, size_t number)
{
	double issued = th->cpu + (double)c->gap_ns + c->cpu_ns;

	if (c->class == TRACE_LOCAL) {
		th->cpu = issued;
		return;
	}
	device(r, c, number, issued);
	th->cpu = waits_until(r, c, model_flags(c, r->change), issued);
	if (c->class == TRACE_SYNC && c->bytes_in && c->device_ns)
		th->cpu = later(th->cpu, r->done[number]);
}

static void remote_call(struct run *r, struct thread *th, const struct trace_call *c, size_t number)
{
	enum trace_class class = model_class(c, r->change);
	struct parts p;

	th->cpu += (double)c->gap_ns;
	if (class == TRACE_LOCAL) {
		th->cpu += r->net->local_ns;
		return;
	}
	th->cpu += r->net->push_ns;
	p = parts_of(r->net, c);
	r->result->messages += net_messages(r->net, c);
	for (uint32_t i = 0; i < p.n; i++)
		/* until it is on the wire, a message's number is that of the part */
		queue_add(r, (struct item){th->cpu, part_bytes(r->net, p, c->bytes_out, i), i, (uint32_t)number, p.weight});
	if (class == TRACE_SYNC)
		th->left = p.n;
}

/* ---------------------------------------------------------------- all of them */

/* The thread that calls next, and when its call is made: HUGE_VAL if all wait or have ended. */
static struct thread *next_thread(struct run *r, double *at)
{
	struct thread *best = NULL;

	*at = HUGE_VAL;
	for (uint32_t i = 0; i < r->t->threads; i++) {
		struct thread *th = &r->threads[i];
		double when;

		if (th->at == th->n || th->left)
			continue;
		when = th->cpu + (double)r->t->calls[th->calls[th->at]].gap_ns;
		if (when < *at) {
			*at = when;
			best = th;
		}
	}
	return best;
}

static void threads_split(struct run *r)
{
	const struct trace *t = r->t;
	uint32_t from = 0;

	for (size_t i = 0; i < t->ncalls; i++)
		r->threads[t->calls[i].thread].n++;
	for (uint32_t k = 0; k < t->threads; k++) {
		r->threads[k].calls = r->order + from;
		from += (uint32_t)r->threads[k].n;
		r->threads[k].n = 0;
	}
	for (size_t i = 0; i < t->ncalls; i++) {
		struct thread *th = &r->threads[t->calls[i].thread];

		r->order[(size_t)(th->calls - r->order) + th->n++] = (uint32_t)i;
	}
}

/* Whatever comes first: a call, a packet there, a packet back. */
static bool turn(struct run *r)
{
	double at, there = queue_start(r), back = back_start(r);
	struct thread *th = next_thread(r, &at);

	if (th && at + (r->net ? r->net->push_ns : 0) <= there && at <= back) {
		size_t number = th->calls[th->at++];
		const struct trace_call *c = &r->t->calls[number];

		if (r->result->names)
			r->result->names[c->name].calls++;
		if (r->net)
			remote_call(r, th, c, number);
		else
			local_call(r, th, c, number);
	} else if (there <= back && there < HUGE_VAL) {
		queue_send(r);
	} else if (back < HUGE_VAL) {
		back_send(r);
	} else {
		return false;
	}
	return !r->error;
}

int model_run(const struct trace *t, const struct net *net, unsigned change, struct model_name *names,
	      struct model *out)
{
	struct run r = {.t = t, .net = net, .change = change, .result = out};

	memset(out, 0, sizeof(*out));
	out->names = names;
	if (names)
		memset(names, 0, t->nnames * sizeof(*names));
	r.threads = calloc(t->threads, sizeof(*r.threads));
	r.order = calloc(t->ncalls + 1, sizeof(*r.order));
	r.stream = calloc(t->streams, sizeof(*r.stream));
	r.done = calloc(t->ncalls + 1, sizeof(*r.done));
	r.acks = calloc((net ? net->window : 0) + 1u, sizeof(*r.acks));
	if (!r.threads || !r.order || !r.stream || !r.done || !r.acks)
		r.error = -ENOMEM;
	else
		threads_split(&r);
	while (!r.error && turn(&r))
		;
	out->total_ns = later(r.devices, r.data_end);
	for (uint32_t i = 0; !r.error && i < t->threads; i++)
		out->total_ns = later(out->total_ns, r.threads[i].cpu);
	free(r.threads);
	free(r.order);
	free(r.stream);
	free(r.done);
	free(r.acks);
	free(r.backs);
	free(r.queue);
	free(r.out.ring);
	free(r.in.ring);
	return r.error;
}
