/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/loops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/dp.h"
#include "dataplane/port.h"
#include "ipc/endpoint_impl.h"
#include "tools/bench/memory.h"

enum {
	SAMPLES = 20000,
	WARM = 2000,
	SLOTS = CHANNEL_SLOTS_DEFAULT,
	ARENA = CHANNEL_ARENA_DEFAULT,
	REGION = 65536,
	PATIENCE_MS = 10000,
	FORWARD_LEAST = 1000,
	FORWARD_WINDOW = 64, /* credits for one service of another node */
};

struct shared {
	uint32_t ready, done;
	int error;
	double forward; /* messages a second */
	uint32_t ping[SAMPLES], read8[SAMPLES];
};

struct loops {
	struct bench *b;
	const struct nodes *nodes;
	bool shm, forward;
	struct shared *s;
};

/* One side. */
struct side {
	struct dp *dp;
	struct atoll_endpoint *ep;
	struct port *port;
	uint32_t endpoint, epoch;
	void *region;
	struct atoll_handle handle; /* of the region */
	struct proto_msg reply;
	unsigned replies, completions;
	struct atoll_handle granted;
	uint8_t status;
	struct memory_service memory;
	uint64_t now;
	unsigned done, turns;
};

static void say(void *arg, const char *line)
{
	(void)arg;
	if (getenv("ATOLL_BENCH_LOG"))
		fprintf(stderr, "%s\n", line);
}

static int side_open(struct loops *l, int i, struct side *s, struct dp_peer_conf *peer)
{
	struct dp_conf conf = {.node = (uint8_t)(i + 1),
			       .address = ip_addr_v4(0x7f000002u + (uint32_t)i),
			       .udp_port = 47912,
			       .heartbeat_ms = NODES_HEARTBEAT_MS,
			       .seed = clock_now_ns(),
			       .peers = peer,
			       .npeers = 1,
			       .log = say};
	struct port_conf pc = {.address = conf.address, .udp_port = conf.udp_port};
	size_t size = channel_half_size(SLOTS, ARENA);
	struct dp_attach a = {.kind = i ? CTL_KIND_SERVICE : CTL_KIND_CLIENT,
			      .name = i ? "memory" : "client",
			      .own = calloc(1, size),
			      .slots = SLOTS,
			      .arena = ARENA,
			      .wake_fd = -1};
	void *process = calloc(1, size);
	char spec[128], err[256] = "";
	int rc;

	snprintf(conf.name, sizeof(conf.name), "%c", 'a' + i);
	*peer = (struct dp_peer_conf){.node = (uint8_t)(2 - i), .address = ip_addr_v4(0x7f000003u - (uint32_t)i)};
	snprintf(peer->name, sizeof(peer->name), "%c", 'b' - i);
	nodes_port(l->nodes, l->shm, i, spec, sizeof(spec));
	rc = port_open(&s->port, spec, &pc, err, sizeof(err));
	if (!rc)
		rc = s->port->ops->start(s->port);
	if (rc) {
		fprintf(stderr, "atoll-bench: port %s: %s\n", spec, err[0] ? err : strerror(-rc));
		return rc;
	}
	s->dp = dp_new(&conf, s->port, clock_now_ns());
	s->ep = endpoint_new();
	s->region = aligned_alloc(4096, REGION);
	if (!s->dp || !s->ep || !s->region || !a.own || !process)
		return -ENOMEM;
	memset(s->region, i + 1, REGION);
	channel_format(a.own, SLOTS, ARENA, 1);
	channel_format(process, SLOTS, ARENA, 1);
	a.peer = process;
	rc = dp_endpoint_add(s->dp, &a, &s->endpoint, &s->epoch);
	if (!rc)
		rc = endpoint_bind(s->ep, process, a.own, SLOTS, ARENA);
	if (!rc)
		rc = dp_region_add(s->dp, s->endpoint, s->epoch, (uint64_t)i + 1, s->region, REGION,
				   &s->handle);
	return rc;
}

/* The clock is asked as in dataplane/main.c: after work, and every fourth empty turn. */
static inline void side_turn(struct side *s)
{
	if (s->done || (++s->turns & 3) == 0)
		s->now = clock_now_ns();
	s->done = dp_poll(s->dp, s->now);
	atoll_poll(s->ep, 16);
}

/* ---------------------------------------------------------------- the second dataplane */

static void answering_child(void *arg)
{
	struct loops *l = arg;
	struct dp_peer_conf peer;
	struct side s = {0};

	if (side_open(l, 1, &s, &peer))
		_exit(1);
	memory_bind(&s.memory, s.ep, s.handle);
	for (;;)
		side_turn(&s);
}

/* ---------------------------------------------------------------- the first, which asks */

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct side *s = ctx;

	(void)cookie;
	(void)payload;
	s->reply = *m;
	s->status = (uint8_t)m->status;
	s->replies++;
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct side *s = ctx;

	if (m->opcode == OP_DP_GRANTED)
		s->granted = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
}

static void on_completion(void *ctx, const struct verb_completion *c)
{
	struct side *s = ctx;

	s->status = c->status[0];
	s->completions++;
}

static int call(struct side *s, struct atoll_handle to, const struct proto_msg *m, const void *payload)
{
	uint64_t end = clock_now_ns() + PATIENCE_MS * 1000000ull;
	unsigned before = s->replies;
	int rc = atoll_request(s->ep, to, m, payload, 0);

	while (!rc && s->replies == before) {
		side_turn(s);
		if (s->now > end)
			return -ETIMEDOUT;
	}
	return rc ? rc : atoll_status_errno(s->status);
}

static int join(struct side *s, struct atoll_handle *memory)
{
	struct proto_msg look = {.opcode = OP_DP_LOOKUP, .length = 8};
	struct proto_msg open = {.opcode = OP_MEMORY_OPEN};
	struct proto_msg lane = {.opcode = OP_DP_LANE_OPEN, .nargs = 2, .arg = {2, 32}};
	uint64_t end = clock_now_ns() + PATIENCE_MS * 1000000ull;
	int rc;

	while (!dp_link_up(s->dp, 2)) {
		side_turn(s);
		if (s->now > end)
			return -EHOSTUNREACH;
	}
	rc = call(s, ATOLL_DATAPLANE, &look, "b/memory");
	if (rc)
		return rc;
	*memory = (struct atoll_handle){(uint32_t)s->reply.arg[REPLY_DP_LOOKUP_SLOT],
					(uint32_t)s->reply.arg[REPLY_DP_LOOKUP_GEN]};
	rc = call(s, *memory, &open, NULL);
	if (!rc)
		rc = call(s, ATOLL_DATAPLANE, &lane, NULL);
	if (!rc)
		s->ep->lanes[0] = (struct ep_lane){.node = 2,
						   .depth = 32,
						   .number = (uint32_t)s->reply.arg[REPLY_DP_LANE_OPEN_LANE],
						   .used = true,
						   .open = true};
	return rc ? rc : s->granted.gen ? 0 : -EACCES;
}

static int pings(struct side *s, uint32_t *out, unsigned n)
{
	uint64_t end = clock_now_ns() + PATIENCE_MS * 1000000ull;

	for (unsigned i = 0; i < n + WARM; i++) {
		uint64_t t = bench_ticks();
		int rc = dp_ping(s->dp, 2);

		while (!rc && !dp_ping_done(s->dp)) {
			side_turn(s);
			if (s->now > end)
				rc = -ETIMEDOUT;
		}
		if (rc)
			return rc;
		if (i >= WARM)
			out[i - WARM] = (uint32_t)(bench_ticks() - t);
	}
	return dp_link_up(s->dp, 2) ? 0 : -EHOSTUNREACH;
}

static int reads(struct side *s, uint32_t *out, unsigned n)
{
	struct verb v = {.op = VERB_READ, .len = 8, .remote = s->granted, .local = s->handle};
	uint64_t end = clock_now_ns() + PATIENCE_MS * 1000000ull;

	for (unsigned i = 0; i < n + WARM; i++) {
		uint64_t t = bench_ticks();
		int rc;

		v.remote_offset = v.local_offset = i * 8 % REGION;
		rc = atoll_post(s->ep, 0, &v, 1, i);
		while (!rc && s->completions == i) {
			side_turn(s);
			if (s->now > end)
				rc = -ETIMEDOUT;
		}
		if (rc || s->status)
			return rc ? rc : atoll_status_errno(s->status);
		if (i >= WARM)
			out[i - WARM] = (uint32_t)(bench_ticks() - t);
	}
	return ((uint8_t *)s->region)[0] == 2 ? 0 : -EIO;
}

/* Messages that the second dataplane parses, routes to a process's ring, and whose answers it sends back:
 * as many as one service may have outstanding. */
static int forwards(struct side *s, struct atoll_handle to, uint64_t ns, double *rate)
{
	struct proto_msg m = {.opcode = OP_MEMORY_ECHO, .nargs = 1};
	uint64_t start = clock_now_ns(), asked = s->replies, first = 0, from = 0;

	for (;;) {
		while (asked - s->replies < FORWARD_WINDOW && !atoll_request(s->ep, to, &m, NULL, 0))
			asked++;
		side_turn(s);
		if (s->status)
			return atoll_status_errno(s->status);
		if (!from && s->now - start > ns / 4) {
			from = s->now;
			first = s->replies;
		}
		/* on a busy machine the other side may not have had a turn yet */
		if (from && s->now - from > ns && s->replies - first > FORWARD_LEAST)
			break;
		if (s->now - start > PATIENCE_MS * 1000000ull)
			return -ETIMEDOUT;
	}
	*rate = (double)(s->replies - first) / (double)(s->now - from) * 1e9;
	return 0;
}

static void asking_child(void *arg)
{
	static const struct atoll_handlers handlers = {
		.reply = on_reply, .event = on_event, .completion = on_completion};
	struct loops *l = arg;
	struct dp_peer_conf peer;
	struct side s = {0};
	struct atoll_handle memory;
	unsigned n = l->b->quick ? SAMPLES / 10 : SAMPLES;
	int rc = side_open(l, 0, &s, &peer);

	if (!rc) {
		atoll_set_handlers(s.ep, &handlers, &s);
		rc = join(&s, &memory);
	}
	if (!rc && l->forward)
		rc = forwards(&s, memory, l->b->quick ? 50000000 : 300000000, &l->s->forward);
	else if (!rc)
		rc = pings(&s, l->s->ping, n);
	if (!rc && !l->forward)
		rc = reads(&s, l->s->read8, n);
	l->s->error = rc;
	__atomic_store_n(&l->s->done, 1, __ATOMIC_RELEASE);
	pause();
}

static struct shared *shared;

static int loops_run(struct bench *b, const struct nodes *n, bool shm, bool forward)
{
	struct loops l = {.b = b, .nodes = n, .shm = shm, .forward = forward};
	uint64_t end = clock_now_ns() + 4 * PATIENCE_MS * 1000000ull;
	pid_t asks, answers;
	int rc = 0;

	if (!shared)
		shared = bench_shared(sizeof(*shared));
	memset(shared, 0, sizeof(*shared));
	l.s = shared;
	answers = bench_fork(b->core[1], answering_child, &l);
	asks = bench_fork(b->core[0], asking_child, &l);
	while (!__atomic_load_n(&shared->done, __ATOMIC_ACQUIRE) && !rc) {
		usleep(2000);
		if (clock_now_ns() > end)
			rc = -ETIMEDOUT;
	}
	bench_kill(asks);
	bench_kill(answers);
	return rc ? rc : shared->error;
}

int loops_forward(struct bench *b, const struct nodes *n, bool shm, double *rate)
{
	int rc = loops_run(b, n, shm, true);

	*rate = shared->forward;
	return rc;
}

int loops_round(struct bench *b, const struct nodes *n, bool shm, struct latency *ping,
		struct latency *read8)
{
	unsigned count = b->quick ? SAMPLES / 10 : SAMPLES;
	int rc = loops_run(b, n, shm, false);

	if (rc)
		return rc;
	*ping = bench_latency(shared->ping, count);
	*read8 = bench_latency(shared->read8, count);
	return 0;
}
