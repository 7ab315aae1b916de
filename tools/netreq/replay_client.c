/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's side of a replay. The program's clock is a schedule: a call is due when the one before it has
 * returned and its gap has passed, however long the loop took meanwhile, so that the dataplane's turns cost the
 * program no more than on a core of their own. Only an answer that is waited for moves the schedule.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/netreq/replay_node.h"

struct message {
	uint32_t call, part, parts;
};

struct play {
	struct replay_node n;
	struct atoll_handle device;
	const struct trace *t;
	struct net net; /* how calls are cut into messages */
	struct message *queue; /* a ring, for what the window does not let go */
	size_t head, tail, room;
	uint32_t unanswered, left; /* answers that the call at hand waits for */
	uint32_t waits_for;
	uint64_t answered_ns, pushes;
	double push_ns; /* of all, together */
	struct proto_msg reply;
	unsigned replies;
	int error;
};

static uint8_t data[REPLAY_DATA];

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct play *p = ctx;

	(void)payload;
	p->reply = *m;
	p->replies++;
	if (cookie == 0)
		return;
	p->unanswered--;
	if (m->status)
		p->error = atoll_status_errno(m->status);
	if (p->left && cookie == p->waits_for + 1ull && !--p->left)
		p->answered_ns = clock_now_ns();
}

static bool message_send(struct play *p, const struct message *q)
{
	const struct trace_call *c = &p->t->calls[q->call];
	bool back = c->bytes_in > c->bytes_out;
	uint64_t skip = (uint64_t)q->part * REPLAY_DATA;
	uint32_t there = c->bytes_out <= skip ? 0 : c->bytes_out - skip < REPLAY_DATA ? (uint32_t)(c->bytes_out - skip) : REPLAY_DATA;
	uint32_t from = c->bytes_in <= skip ? 0 : c->bytes_in - skip < REPLAY_DATA ? (uint32_t)(c->bytes_in - skip) : REPLAY_DATA;
	bool begins = q->part == (back ? 0 : q->parts - 1);
	struct proto_msg m = {.opcode = OP_REPLAY_CALL,
			      .nargs = RA_COUNT,
			      .length = there,
			      .max_reply = (uint16_t)from,
			      .arg = {[RA_CALL] = q->call,
				      [RA_PART] = q->part | (uint64_t)q->parts << 32,
				      [RA_FLAGS] = c->flags | (uint64_t)c->class << 8 | (uint64_t)begins << 16 |
						   (uint64_t)back << 17,
				      [RA_STREAM] = c->stream,
				      [RA_DEVICE_NS] = c->device_ns,
				      [RA_CPU_NS] = c->cpu_ns,
				      [RA_AFTER] = c->after,
				      [RA_BACK] = from}};
	int rc = atoll_request(p->n.ep, p->device, &m, there ? data : NULL, q->call + 1ull);

	if (rc && rc != -EAGAIN)
		p->error = rc;
	return !rc;
}

static void queue_run(struct play *p)
{
	while (p->head != p->tail && p->unanswered < REPLAY_WINDOW && message_send(p, &p->queue[p->head % p->room])) {
		p->head++;
		p->unanswered++;
	}
}

static int queue_add(struct play *p, struct message m)
{
	if (p->tail - p->head == p->room) {
		size_t room = p->room ? 2 * p->room : 1024;
		struct message *q = malloc(room * sizeof(*q));

		if (!q)
			return -ENOMEM;
		for (size_t i = p->head; i != p->tail; i++)
			q[i - p->head] = p->queue[i % p->room];
		free(p->queue);
		p->queue = q;
		p->tail -= p->head;
		p->head = 0;
		p->room = room;
	}
	p->queue[p->tail++ % p->room] = m;
	return 0;
}

static void turn(struct play *p)
{
	if (p->head != p->tail)
		queue_run(p);
	replay_node_turn(&p->n);
}

/* The whole trace. Its time in ns, or negative errno. */
static double play(struct play *p, double push_ns, double local_ns)
{
	double start = (double)clock_now_ns(), cpu = start;
	uint64_t patience = clock_now_ns() + REPLAY_PATIENCE_MS * 1000000ull;

	for (size_t i = 0; i < p->t->ncalls && !p->error; i++) {
		const struct trace_call *c = &p->t->calls[i];
		uint32_t parts;
		uint64_t from;

		cpu += (double)c->gap_ns;
		if (c->class == TRACE_LOCAL) {
			cpu += local_ns;
			continue;
		}
		while ((double)clock_now_ns() < cpu)
			turn(p);
		parts = (uint32_t)net_messages(&p->net, c);
		from = clock_now_ns();
		for (uint32_t k = 0; k < parts && !p->error; k++)
			p->error = queue_add(p, (struct message){(uint32_t)i, k, parts});
		if (c->class == TRACE_SYNC) {
			p->waits_for = (uint32_t)i;
			p->left = parts;
		}
		queue_run(p);
		atoll_flush(p->n.ep);
		if (!c->bytes_out) { /* bytes have a cost of their own */
			p->push_ns += (double)(clock_now_ns() - from);
			p->pushes++;
		}
		cpu += push_ns;
		/* the node's own core takes the message at once; so does this one's loop */
		turn(p);
		while (p->left && !p->error) {
			turn(p);
			if (p->n.now > patience)
				p->error = -ETIMEDOUT;
		}
		if (c->class == TRACE_SYNC && (double)p->answered_ns > cpu)
			cpu = (double)p->answered_ns;
	}
	while ((p->head != p->tail || p->unanswered) && !p->error) {
		turn(p);
		if (p->n.now > patience)
			p->error = -ETIMEDOUT;
	}
	return p->error ? p->error : cpu - start;
}

static uint64_t still(const struct replay_shared *s)
{
	return __atomic_load_n(&s->still_ns[0], __ATOMIC_RELAXED) + __atomic_load_n(&s->still_ns[1], __ATOMIC_RELAXED);
}

/* Rounds of one trace, until enough of them were left alone. */
static int rounds(struct play *p, const struct replay_session *r, unsigned i, double push_ns)
{
	struct replay_shared *s = r->s;
	uint64_t end = clock_now_ns() + REPLAY_TRY_MS * 1000000ull;
	unsigned good = 0;

	for (unsigned k = 0; k < REPLAY_TRIES && good < r->rounds && (k < r->rounds || clock_now_ns() < end); k++) {
		uint64_t before = still(s);

		s->total_ns[i][k] = play(p, push_ns, net_default.local_ns);
		if (p->error)
			return p->error;
		s->disturbed[i][k] = (double)(still(s) - before) / s->total_ns[i][k];
		good += s->disturbed[i][k] * REPLAY_DISTURBED < 1;
		s->tries[i] = k + 1;
	}
	return 0;
}

static int join(struct play *p)
{
	struct proto_msg look = {.opcode = OP_DP_LOOKUP, .length = 8};
	uint64_t end = clock_now_ns() + 10000000000ull;
	int rc = 0;

	while (!dp_link_up(p->n.dp, 2)) {
		replay_node_turn(&p->n);
		if (p->n.now > end)
			return -EHOSTUNREACH;
	}
	rc = atoll_request(p->n.ep, ATOLL_DATAPLANE, &look, "b/device", 0);
	while (!rc && !p->replies) {
		replay_node_turn(&p->n);
		if (p->n.now > end)
			return -ETIMEDOUT;
	}
	if (rc || p->reply.status)
		return rc ? rc : atoll_status_errno(p->reply.status);
	p->device = (struct atoll_handle){(uint32_t)p->reply.arg[REPLY_DP_LOOKUP_SLOT],
					  (uint32_t)p->reply.arg[REPLY_DP_LOOKUP_GEN]};
	return 0;
}

static void counters_print(struct dp *dp)
{
	static struct counter_info info[COUNTERS_MAX];
	uint32_t n = dp_counter_describe(info);
	const uint64_t *v = dp_counters(dp);

	for (uint32_t i = 0; i < n; i++)
		if (v[i])
			fprintf(stderr, "%s %llu\n", info[i].name, (unsigned long long)v[i]);
}

void replay_client(const struct replay_session *r)
{
	static const struct atoll_handlers handlers = {.reply = on_reply};
	static struct play p;
	double push_ns = r->s->push_ns;
	int rc = replay_node_open(r, 0, &p.n);

	p.net = (struct net){.chunk_bytes = REPLAY_DATA};
	if (!rc) {
		atoll_set_handlers(p.n.ep, &handlers, &p);
		rc = join(&p);
	}
	for (unsigned i = 0; i < r->ntraces && !rc; i++) {
		p.t = r->traces[i];
		rc = rounds(&p, r, i, push_ns);
	}
	if (p.pushes)
		r->s->push_ns = p.push_ns / (double)p.pushes;
	r->s->error = rc;
	if (getenv("ATOLL_BENCH_LOG"))
		counters_print(p.n.dp);
	__atomic_store_n(&r->s->done, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}
