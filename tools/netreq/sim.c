/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/sim.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/netreq/sim_impl.h"

enum { PACKET_MESSAGES = 64 }; /* a packet of 4096 bytes has room for as many heads */

static double draw(struct sim *s)
{
	uint64_t z = s->rng += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* ---------------------------------------------------------------- events */

static bool before(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

void sim_at(struct sim *s, double at, enum event_kind kind, uint32_t client, uint32_t call, uint32_t part)
{
	struct event e = {at, s->order++, client, call, part, (uint8_t)kind};
	size_t i;

	if (s->nevents == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		void *p = realloc(s->heap, room * sizeof(*s->heap));

		if (!p) {
			s->error = -ENOMEM;
			return;
		}
		s->heap = p;
		s->room = room;
	}
	for (i = s->nevents++; i && before(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct event event_take(struct sim *s)
{
	struct event first = s->heap[0], last = s->heap[--s->nevents];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < s->nevents) {
		if (child + 1 < s->nevents && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return first;
}

void *sim_ring_room(struct sim *s, void *ring, size_t size, size_t *head, size_t *tail, size_t *room)
{
	char *p;

	if (*tail - *head < *room)
		return ring;
	p = malloc((*room ? 2 * *room : 64) * size);
	if (!p) {
		s->error = -ENOMEM;
		return NULL;
	}
	for (size_t i = *head; i != *tail; i++)
		memcpy(p + (i - *head) * size, (char *)ring + i % *room * size, size);
	*tail -= *head;
	*head = 0;
	*room = *room ? 2 * *room : 64;
	free(ring);
	return p;
}

void sim_queue_add(struct sim *s, struct queue *q, struct outgoing o)
{
	struct outgoing *p = sim_ring_room(s, q->ring, sizeof(*p), &q->head, &q->tail, &q->room);

	if (!p)
		return;
	q->ring = p;
	p[q->tail++ % q->room] = o;
}

/* ---------------------------------------------------------------- threads */

static void thread_go_on(struct sim *s, uint32_t i, uint32_t thread)
{
	struct client *k = &s->clients[i];
	double gap;

	if (k->cpu[thread] > k->end)
		k->end = k->cpu[thread];
	if (k->next[thread] == k->last[thread]) {
		k->running--;
		return;
	}
	gap = (double)k->t->calls[k->order[k->next[thread]]].gap_ns;
	if (s->conf->jitter > 0)
		gap *= 1 + s->conf->jitter * (2 * draw(s) - 1);
	sim_at(s, k->cpu[thread] + gap, EV_CALL, i, k->order[k->next[thread]++], 0);
}

static void call_made(struct sim *s, const struct event *e)
{
	struct client *k = &s->clients[e->client];
	const struct trace_call *c = &k->t->calls[e->call];
	enum trace_class class = model_class(c, s->conf->change);
	const struct net *net = &s->conf->net;

	k->cpu[c->thread] = s->now + (class == TRACE_LOCAL ? net->local_ns : net->push_ns);
	if (class == TRACE_LOCAL) {
		k->states[e->call].done = true; /* nothing can depend on more than its having been made */
	} else {
		k->states[e->call].parts = (uint32_t)net_messages(net, c);
		sim_at(s, k->cpu[c->thread], EV_PUSHED, e->client, e->call, 0);
	}
	if (class != TRACE_SYNC)
		thread_go_on(s, e->client, c->thread);
}

/* ---------------------------------------------------------------- wires */

static double data_of(const struct net *net, uint64_t bytes, uint32_t part)
{
	uint64_t skip = (uint64_t)part * net->chunk_bytes;

	if (!net->chunk_bytes)
		return part ? 0 : (double)bytes;
	if (bytes <= skip)
		return 0;
	return bytes - skip < net->chunk_bytes ? (double)(bytes - skip) : (double)net->chunk_bytes;
}

static bool may_send(const struct sim *s, const struct client *k, bool out)
{
	if (!out)
		return k->in.head != k->in.tail;
	return k->out.head != k->out.tail && (!s->conf->net.window || k->unanswered < s->conf->net.window);
}

/* May bytes go, or when? Those whose acknowledgement is back do not count any more. */
static bool flight_full(struct sim *s, struct wire *w, double *when)
{
	while (w->head != w->tail && w->ring[w->head % w->room].back_at <= s->now)
		w->bytes -= w->ring[w->head++ % w->room].bytes;
	if (!s->conf->net.window_bytes || w->bytes < s->conf->net.window_bytes || w->head == w->tail)
		return false;
	*when = w->ring[w->head % w->room].back_at;
	return true;
}

static void flight_add(struct sim *s, struct wire *w, double back_at, double bytes)
{
	struct flight *p;

	if (!s->conf->net.window_bytes)
		return;
	p = sim_ring_room(s, w->ring, sizeof(*p), &w->head, &w->tail, &w->room);
	if (!p)
		return;
	w->ring = p;
	p[w->tail++ % w->room] = (struct flight){back_at, bytes};
	w->bytes += bytes;
}

/* The next packet with what fits of one client, or the packets of a message that needs several. */
static void wire_run(struct sim *s, bool out)
{
	const struct net *net = &s->conf->net;
	struct wire *w = out ? &s->out : &s->in;
	struct outgoing in_packet[PACKET_MESSAGES];
	double bytes = 0, packets, ns, when;
	struct client *k = NULL;
	struct queue *q;
	unsigned n = 0;
	uint32_t i = 0;

	if (w->busy)
		return;
	for (uint32_t j = 0; j < s->conf->clients && !k; j++) {
		i = (w->turn + j) % s->conf->clients;
		if (may_send(s, &s->clients[i], out))
			k = &s->clients[i];
	}
	if (!k)
		return;
	if (flight_full(s, w, &when)) {
		w->busy = true;
		sim_at(s, when, out ? EV_WIRE_OUT : EV_WIRE_IN, 0, 0, 0);
		return;
	}
	w->turn = i + 1;
	q = out ? &k->out : &k->in;
	while (n < PACKET_MESSAGES && may_send(s, k, out)) {
		struct outgoing o = q->ring[q->head % q->room];
		const struct trace_call *c = &k->t->calls[o.call];
		double each = data_of(net, out ? c->bytes_out : c->bytes_in, o.part) + net->message_bytes;

		if (n && bytes + each > net->packet_payload)
			break;
		bytes += each;
		in_packet[n++] = o;
		q->head++;
		if (out) {
			k->unanswered++;
			s->waiting_out--;
		}
	}
	packets = ceil(bytes / net->packet_payload);
	bytes += packets * net->packet_bytes;
	ns = net->gbps > 0 ? bytes * 8 / net->gbps : 0;
	s->result->packets += (uint64_t)packets;
	w->time += ns;
	w->busy = true;
	flight_add(s, w, s->now + ns + net->rtt_ns, bytes);
	sim_at(s, s->now + ns, out ? EV_WIRE_OUT : EV_WIRE_IN, i, 0, 0);
	for (unsigned j = 0; j < n; j++)
		sim_at(s, s->now + ns + net->rtt_ns / 2, out ? EV_ARRIVED : EV_ANSWERED, i, in_packet[j].call,
		       in_packet[j].part);
}

static void pushed(struct sim *s, const struct event *e)
{
	struct client *k = &s->clients[e->client];
	uint32_t parts = k->states[e->call].parts;

	for (uint32_t p = 0; p < parts && !s->error; p++)
		sim_queue_add(s, &k->out, (struct outgoing){e->call, p});
	s->result->messages += parts;
	s->waiting_out += parts;
	if (s->waiting_out > s->result->queue_max)
		s->result->queue_max = s->waiting_out;
	wire_run(s, true);
}

void sim_answer(struct sim *s, uint32_t client, uint32_t call, uint32_t part)
{
	sim_queue_add(s, &s->clients[client].in, (struct outgoing){call, part});
	wire_run(s, false);
}

static void answered(struct sim *s, const struct event *e)
{
	struct client *k = &s->clients[e->client];
	const struct trace_call *c = &k->t->calls[e->call];
	struct state *st = &k->states[e->call];

	k->unanswered--;
	if (c->bytes_in && s->now > k->end)
		k->end = s->now;
	if (++st->answered == st->parts && model_class(c, s->conf->change) == TRACE_SYNC) {
		if (s->now > k->cpu[c->thread])
			k->cpu[c->thread] = s->now;
		thread_go_on(s, e->client, c->thread);
	}
	wire_run(s, true);
}

/* ---------------------------------------------------------------- all of it */

static int client_make(struct sim *s, uint32_t i)
{
	struct client *k = &s->clients[i];
	const struct trace *t = k->t = &s->conf->traces[s->conf->same ? 0 : i];
	uint32_t from = 0;

	k->order = calloc(t->ncalls + 1, sizeof(*k->order));
	k->next = calloc(t->threads, sizeof(*k->next));
	k->last = calloc(t->threads, sizeof(*k->last));
	k->cpu = calloc(t->threads, sizeof(*k->cpu));
	k->states = calloc(t->ncalls + 1, sizeof(*k->states));
	k->streams = calloc(t->streams, sizeof(*k->streams));
	k->all = calloc(t->threads, sizeof(*k->all));
	if (!k->order || !k->next || !k->last || !k->cpu || !k->states || !k->streams || !k->all)
		return -ENOMEM;
	for (size_t n = 0; n < t->ncalls; n++)
		k->last[t->calls[n].thread]++;
	for (uint32_t th = 0; th < t->threads; th++) {
		uint32_t n = k->last[th];

		k->next[th] = k->last[th] = from;
		from += n;
	}
	for (size_t n = 0; n < t->ncalls; n++)
		k->order[k->last[t->calls[n].thread]++] = (uint32_t)n;
	/* clients that run the same program are hardly ever in step */
	if (s->conf->jitter > 0 && t->ncalls)
		k->start = draw(s) * (double)t->calls[t->ncalls - 1].at_ns / (double)t->ncalls * s->conf->clients;
	k->end = k->start;
	k->running = t->threads;
	for (uint32_t th = 0; th < t->threads && !s->error; th++) {
		k->cpu[th] = k->start;
		thread_go_on(s, i, th);
	}
	return s->error;
}

static void event_run(struct sim *s, const struct event *e)
{
	switch ((enum event_kind)e->kind) {
	case EV_CALL:
		call_made(s, e);
		break;
	case EV_PUSHED:
		pushed(s, e);
		break;
	case EV_WIRE_OUT:
		s->out.busy = false;
		wire_run(s, true);
		break;
	case EV_ARRIVED:
		sim_arrived(s, e);
		break;
	case EV_SERVED:
		sim_served(s, e);
		break;
	case EV_DEVICE:
		sim_device_ended(s, e);
		break;
	case EV_WIRE_IN:
		s->in.busy = false;
		wire_run(s, false);
		break;
	case EV_ANSWERED:
		answered(s, e);
		break;
	}
}

static void results_fill(struct sim *s)
{
	struct sim_result *r = s->result;
	double span = s->now > 0 ? s->now : 1;

	for (uint32_t i = 0; i < s->conf->clients; i++) {
		double ns = s->clients[i].end - s->clients[i].start;

		r->total_ns[i] = ns;
		r->mean_ns += ns / s->conf->clients;
		r->worst_ns = ns > r->worst_ns ? ns : r->worst_ns;
		if (s->clients[i].running && !s->error)
			s->error = -EDEADLK;
	}
	r->wire_out_busy = s->out.time / span;
	r->wire_in_busy = s->in.time / span;
	r->service_busy = s->service_time / span;
	r->device_busy = s->device_time / span;
	r->service_wait_ns = r->messages ? s->wait_time / (double)r->messages : 0;
}

static void client_free(struct client *k)
{
	free(k->order);
	free(k->next);
	free(k->last);
	free(k->cpu);
	free(k->states);
	free(k->streams);
	free(k->all);
	free(k->out.ring);
	free(k->in.ring);
}

int sim_run(const struct sim_conf *conf, struct sim_result *out)
{
	struct sim s = {.conf = conf, .result = out, .rng = conf->seed};

	memset(out, 0, sizeof(*out));
	if (!conf->clients || conf->clients > SIM_CLIENTS_MAX || !conf->net.packet_payload ||
	    !(conf->jitter >= 0 && conf->jitter <= 1))
		return -EINVAL;
	s.clients = calloc(conf->clients, sizeof(*s.clients));
	if (!s.clients)
		return -ENOMEM;
	for (uint32_t i = 0; i < conf->clients && !s.error; i++)
		s.error = client_make(&s, i);
	while (s.nevents && !s.error) {
		struct event e = event_take(&s);

		s.now = e.at;
		event_run(&s, &e);
		if (++out->events == conf->events_max)
			s.error = -ETIME;
	}
	results_fill(&s);
	for (uint32_t i = 0; i < conf->clients; i++)
		client_free(&s.clients[i]);
	free(s.clients);
	free(s.heap);
	free(s.out.ring);
	free(s.in.ring);
	free(s.at_service);
	free(s.slots.ring);
	return s.error;
}
