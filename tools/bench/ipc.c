/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks inside one node: the core of a dataplane, endpoints and rings are the real ones, in forked
 * processes that share the memory of their channels. No control side: nothing of it is on these paths.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/dp.h"
#include "ipc/channel.h"
#include "ipc/endpoint_impl.h"
#include "services/echo/echo.h"
#include "tools/bench/bench.h"
#include "tools/bench/gpu.h"

enum {
	SAMPLES = 50000,
	SAMPLES_SLOW = 10000, /* of what takes microseconds */
	STREAM_CHUNK = 1000,
	STREAM_CHUNKS = 2000,
	IDLE_ENDPOINTS = 64,
	IDLE_RATE = 1000000, /* messages a second */
	SLOTS = CHANNEL_SLOTS_DEFAULT,
	ARENA = CHANNEL_ARENA_MIN,
	HALVES = IDLE_ENDPOINTS + 2,
};

/* Both halves of a channel. */
struct pair {
	void *dp, *process;
};

struct shared {
	uint32_t ready __attribute__((aligned(128)));
	uint32_t stop __attribute__((aligned(128)));
	uint32_t line_a __attribute__((aligned(128)));
	uint32_t line_b __attribute__((aligned(128)));
	uint64_t busy_ticks __attribute__((aligned(128))), empty_ticks, busy_turns, empty_turns, messages;
};

struct rig {
	struct bench *b;
	struct shared *s;
	struct pair pair[HALVES];
	unsigned npairs;	/* endpoints that the dataplane gets */
	bool service;		/* the second pair is echo's */
	uint8_t idle;		/* of the dataplane's loop */
	bool meter;		/* count the ticks of turns, */
	uint64_t taken_away;	/* of those shorter than this */
	uint32_t *samples;
	int sock[2];
	struct channel ch; /* stream: the writer's side */
};

static void pairs_clear(struct rig *r)
{
	memset(r->s, 0, sizeof(*r->s));
	for (unsigned i = 0; i < r->npairs; i++) {
		size_t size = channel_half_size(SLOTS, ARENA);

		memset(r->pair[i].dp, 0, size);
		memset(r->pair[i].process, 0, size);
		channel_format(r->pair[i].dp, SLOTS, ARENA, 1);
		channel_format(r->pair[i].process, SLOTS, ARENA, 1);
	}
}

static struct atoll_endpoint *process_endpoint(struct rig *r, unsigned i, uint8_t idle)
{
	struct atoll_endpoint *ep = endpoint_new();

	if (!ep || endpoint_bind(ep, r->pair[i].process, r->pair[i].dp, SLOTS, ARENA)) {
		fprintf(stderr, "atoll-bench: no endpoint\n");
		exit(1);
	}
	idle_init(&ep->idle, idle, idle == IDLE_MODE_YIELD);
	return ep;
}

/* ---------------------------------------------------------------- the children */

static void raw_child(void *arg)
{
	struct shared *s = ((struct rig *)arg)->s;
	uint32_t last = 0, v;

	__atomic_store_n(&s->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		v = __atomic_load_n(&s->line_a, __ATOMIC_ACQUIRE);
		if (v == last)
			continue;
		last = v;
		__atomic_store_n(&s->line_b, v, __ATOMIC_RELEASE);
	}
}

/* The loop of dataplane/main.c. */
static void dataplane_child(void *arg)
{
	struct rig *r = arg;
	struct dp_conf conf = {.node = 1, .name = "bench", .seed = 1};
	struct dp *dp = dp_new(&conf, NULL, clock_now_ns());
	struct idle idle;
	uint32_t endpoint, epoch;
	uint64_t now = clock_now_ns();
	unsigned done = 0, turns = 0;

	idle_init(&idle, r->idle, r->idle == IDLE_MODE_YIELD);
	for (unsigned i = 0; dp && i < r->npairs; i++) {
		bool service = r->service && i == 1;
		struct dp_attach a = {.kind = service ? CTL_KIND_SERVICE : CTL_KIND_CLIENT,
				      .name = service ? "echo" : "client",
				      .own = r->pair[i].dp,
				      .peer = r->pair[i].process,
				      .slots = SLOTS,
				      .arena = ARENA,
				      .wake_fd = -1};

		if (dp_endpoint_add(dp, &a, &endpoint, &epoch))
			_exit(1);
	}
	__atomic_store_n(&r->s->ready, 1, __ATOMIC_RELEASE);
	while (dp) {
		uint64_t t;

		if (done || (++turns & 3) == 0)
			now = clock_now_ns();
		t = r->meter ? bench_ticks() : 0;
		done = dp_poll(dp, now);
		if (r->meter) {
			t = bench_ticks() - t;
			/* a turn during which the core was taken away says nothing */
			if (t < r->taken_away && done) {
				r->s->busy_ticks += t;
				r->s->busy_turns++;
				r->s->messages += done;
			} else if (t < r->taken_away) {
				r->s->empty_ticks += t;
				r->s->empty_turns++;
			}
		}
		idle.expecting = !dp_quiet(dp);
		if (done)
			idle_active(&idle, now, dp_delivered(dp));
		else
			idle_step(&idle, now);
	}
}

static void echo_child(void *arg)
{
	struct rig *r = arg;
	static struct echo state;
	struct service s = {.ops = &echo_ops, .state = &state};

	service_bind(&s, process_endpoint(r, 1, IDLE_MODE_YIELD));
	for (;;) {
		int n = atoll_poll(s.ep, 64);

		if (n < 0)
			_exit(1);
		if (n == 0)
			atoll_idle(s.ep, 1000000);
	}
}

static void socket_child(void *arg)
{
	struct rig *r = arg;
	char m[64];

	while (recv(r->sock[1], m, sizeof(m), 0) == sizeof(m))
		if (send(r->sock[1], m, sizeof(m), 0) != sizeof(m))
			break;
}

static void writer_child(void *arg)
{
	struct rig *r = arg;
	struct channel *ch = &r->ch;
	uint64_t slot[8] = {0};

	if (channel_open(ch, r->pair[0].dp, r->pair[0].process, SLOTS, ARENA))
		_exit(1);
	((uint8_t *)slot)[3] = 1;
	__atomic_store_n(&r->s->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		if (channel_room(ch, 1, 0) <= 0)
			continue;
		slot[1]++;
		channel_push(ch, slot, 1);
	}
}

/* ---------------------------------------------------------------- the measuring side */

static struct latency raw_round(struct rig *r, unsigned n)
{
	struct shared *s = r->s;
	pid_t child;

	pairs_clear(r);
	child = bench_fork(r->b->core[1], raw_child, r);
	bench_wait(&s->ready);
	for (uint32_t i = 1; i <= n; i++) {
		uint64_t t = bench_ticks();

		__atomic_store_n(&s->line_a, i, __ATOMIC_RELEASE);
		while (__atomic_load_n(&s->line_b, __ATOMIC_ACQUIRE) != i)
			;
		r->samples[i - 1] = (uint32_t)(bench_ticks() - t);
	}
	bench_kill(child);
	return bench_latency(r->samples, n);
}

struct asker {
	unsigned answers;
	int bad;
};

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct asker *a = ctx;

	(void)cookie;
	(void)payload;
	a->answers++;
	if (m->status != STATUS_OK)
		a->bad = -atoll_status_errno(m->status);
}

static const struct atoll_handlers asking = {.reply = on_reply};

/* @n requests one after the other; fills the samples. */
static int ask(struct rig *r, struct atoll_endpoint *ep, struct atoll_handle to, uint16_t opcode,
	       unsigned n, bool yield)
{
	struct proto_msg q = {.opcode = opcode, .nargs = 1};
	struct asker a = {0};

	atoll_set_handlers(ep, &asking, &a);
	for (unsigned i = 0; i < n; i++) {
		uint64_t t = bench_ticks();
		int rc;

		q.arg[0] = i;
		rc = atoll_request(ep, to, &q, NULL, i);
		while (!rc && a.answers == i) {
			rc = atoll_poll(ep, 8);
			if (rc == 0 && yield)
				sched_yield();
			rc = rc < 0 ? rc : 0;
		}
		r->samples[i] = (uint32_t)(bench_ticks() - t);
		if (rc || a.bad)
			return rc ? rc : -a.bad;
	}
	return 0;
}

static int ping_round(struct rig *r, unsigned n, struct latency *out)
{
	struct atoll_endpoint *ep;
	pid_t child;
	int rc;

	r->npairs = 1;
	r->service = false;
	r->idle = IDLE_MODE_SPIN;
	pairs_clear(r);
	child = bench_fork(r->b->core[1], dataplane_child, r);
	rc = bench_wait(&r->s->ready);
	ep = process_endpoint(r, 0, IDLE_MODE_SPIN);
	if (!rc)
		rc = ask(r, ep, ATOLL_DATAPLANE, OP_DP_PING, n, false);
	*out = bench_latency(r->samples, n);
	bench_kill(child);
	free(ep);
	return rc;
}

static int rtt(struct rig *r)
{
	struct latency_rounds ping = {0}, raw = {0};
	struct rounds ratio = {0}, above = {0};
	unsigned n = r->b->quick ? SAMPLES / 10 : SAMPLES;

	for (unsigned i = 0; i < r->b->rounds; i++) {
		struct latency a = raw_round(r, n), l;
		int rc = ping_round(r, n, &l);

		if (rc)
			return rc;
		latency_add(&raw, a);
		latency_add(&ping, l);
		rounds_add(&ratio, l.p50 / a.p50);
		rounds_add(&above, l.p50 - a.p50);
	}
	result("ipc.rtt_over_raw", &ratio, "", rounds_median(&raw.p50) < 300 ? 0 : 1.5);
	result("ipc.rtt_above_raw_ns", &above, "ns", rounds_median(&raw.p50) < 300 ? 150 : 0);
	result("ipc.rtt_ns", &ping.p50, "ns", 0);
	result_latency("ipc.rtt", &ping);
	result("ipc.raw_ns", &raw.p50, "ns", 0);
	result_latency("ipc.raw", &raw);
	return 0;
}

/* The median over chunks, so that a chunk during which a core was taken away does not count. */
static int stream_round(struct rig *r, unsigned chunks, double *ns)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8], t, n = 0;
	struct channel ch;
	struct idle idle;
	pid_t child;
	int rc;

	r->npairs = 1;
	pairs_clear(r);
	if (channel_open(&ch, r->pair[0].process, r->pair[0].dp, SLOTS, ARENA))
		return -EPROTO;
	idle_init(&idle, IDLE_MODE_SPIN, false);
	child = bench_fork(r->b->core[1], writer_child, r);
	rc = bench_wait(&r->s->ready);
	for (unsigned c = 0; c < chunks && rc >= 0; c++) {
		t = bench_ticks();
		for (unsigned got = 0, last = 0; got < STREAM_CHUNK && rc >= 0;) {
			rc = channel_pop(&ch, slots);
			got += rc > 0;
			if (got - last == 32 || (rc == 0 && got != last)) {
				channel_consumed(&ch);
				last = got;
			}
			if (rc == 0)
				idle_step(&idle, 0);
		}
		r->samples[c] = (uint32_t)(bench_ticks() - t);
		n += STREAM_CHUNK;
	}
	bench_kill(child);
	if (rc < 0 || slots[1] != n)
		return -EPROTO;
	*ns = bench_latency(r->samples, chunks).p50 / STREAM_CHUNK;
	return 0;
}

static int stream(struct rig *r)
{
	struct rounds ns = {0};

	for (unsigned i = 0; i < r->b->rounds; i++) {
		double v = 0;
		int rc = stream_round(r, r->b->quick ? STREAM_CHUNKS / 10 : STREAM_CHUNKS, &v);

		if (rc)
			return rc;
		rounds_add(&ns, v);
	}
	result("ipc.stream_ns", &ns, "ns", 20);
	return 0;
}

static int socket_round(struct rig *r, unsigned n, struct latency *out)
{
	char m[64] = {0};
	pid_t child;
	int rc = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, r->sock))
		return -errno;
	child = bench_fork(r->b->core[0], socket_child, r);
	close(r->sock[1]);
	for (unsigned i = 0; i < n && !rc; i++) {
		uint64_t t = bench_ticks();

		if (send(r->sock[0], m, sizeof(m), 0) != sizeof(m) ||
		    recv(r->sock[0], m, sizeof(m), 0) != sizeof(m))
			rc = -EPIPE;
		r->samples[i] = (uint32_t)(bench_ticks() - t);
	}
	close(r->sock[0]);
	bench_kill(child);
	*out = bench_latency(r->samples, n);
	return rc;
}

static int routed_round(struct rig *r, unsigned n, struct latency *out)
{
	struct atoll_handle echo;
	struct atoll_endpoint *ep;
	pid_t dp, service;
	int rc;

	r->npairs = 2;
	r->service = true;
	r->idle = IDLE_MODE_YIELD;
	pairs_clear(r);
	dp = bench_fork(r->b->core[0], dataplane_child, r);
	rc = bench_wait(&r->s->ready);
	service = bench_fork(r->b->core[1], echo_child, r);
	ep = process_endpoint(r, 0, IDLE_MODE_YIELD);
	if (!rc)
		rc = atoll_lookup(ep, "echo", &echo, NULL, 2000);
	if (!rc)
		rc = ask(r, ep, echo, OP_ECHO_ECHO, n, true);
	*out = bench_latency(r->samples, n);
	bench_kill(dp);
	bench_kill(service);
	free(ep);
	return rc;
}

static int routed(struct rig *r)
{
	struct latency_rounds unix_socket = {0}, routing = {0};
	struct rounds ratio = {0};
	unsigned n = r->b->quick ? SAMPLES_SLOW / 10 : SAMPLES_SLOW;

	for (unsigned i = 0; i < r->b->rounds; i++) {
		struct latency u, l;
		int rc = socket_round(r, n, &u);

		if (!rc)
			rc = routed_round(r, n, &l);
		if (rc)
			return rc;
		latency_add(&unix_socket, u);
		latency_add(&routing, l);
		rounds_add(&ratio, l.p50 / u.p50);
	}
	result("ipc.routed_over_unix", &ratio, "", 1.0);
	result("ipc.routed_ns", &routing.p50, "ns", 0);
	result_latency("ipc.routed", &routing);
	result("ipc.unix_ns", &unix_socket.p50, "ns", 0);
	result_latency("ipc.unix", &unix_socket);
	return 0;
}

/* Ticks that a message costs the dataplane at a steady rate: those of the turns that did something, by
 * message, and one turn that found nothing, for a message is found after one of those. */
static int load_round(struct rig *r, unsigned endpoints, double seconds, double *out)
{
	struct proto_msg q = {.opcode = OP_DP_PING, .nargs = 1};
	uint64_t step = (uint64_t)(1e9 / IDLE_RATE / bench_tick_ns), next, end;
	struct shared before;
	struct asker a = {0};
	struct atoll_endpoint *ep;
	pid_t child;
	int rc;

	r->npairs = endpoints;
	r->service = false;
	r->idle = IDLE_MODE_SPIN;
	r->meter = true;
	r->taken_away = (uint64_t)(2000 / bench_tick_ns);
	pairs_clear(r);
	child = bench_fork(r->b->core[1], dataplane_child, r);
	r->meter = false;
	rc = bench_wait(&r->s->ready);
	ep = process_endpoint(r, 0, IDLE_MODE_SPIN);
	atoll_set_handlers(ep, &asking, &a);
	next = bench_ticks();
	/* a tenth of the time warms up, and lets the idle ones be seen to be idle */
	for (int part = 0; part < 2 && !rc; part++) {
		before = *r->s;
		end = next + (uint64_t)(seconds * (part ? 0.9 : 0.1) * 1e9 / bench_tick_ns);
		while (next < end && !rc) {
			while (bench_ticks() < next)
				;
			next += step;
			rc = atoll_request(ep, ATOLL_DATAPLANE, &q, NULL, 0);
			if (rc == -EAGAIN)
				rc = 0;
			if (atoll_poll(ep, 16) < 0)
				rc = -EPROTO;
		}
	}
	if (!rc && r->s->messages > before.messages && r->s->empty_turns > before.empty_turns)
		*out = (double)(r->s->busy_ticks - before.busy_ticks) /
			       (double)(r->s->messages - before.messages) +
		       (double)(r->s->empty_ticks - before.empty_ticks) /
			       (double)(r->s->empty_turns - before.empty_turns);
	else if (!rc)
		rc = -EIO;
	bench_kill(child);
	free(ep);
	return rc;
}

static int idle_cost(struct rig *r)
{
	struct rounds ratio = {0}, one = {0}, many = {0};
	double seconds = r->b->quick ? 0.05 : 0.2;

	for (unsigned i = 0; i < r->b->rounds; i++) {
		double alone = 0, crowd = 0;
		int rc = load_round(r, 2, seconds, &alone);

		if (!rc)
			rc = load_round(r, 1 + IDLE_ENDPOINTS, seconds, &crowd);
		if (rc)
			return rc;
		rounds_add(&one, alone);
		rounds_add(&many, crowd);
		rounds_add(&ratio, crowd / alone);
	}
	result("ipc.idle_cost", &ratio, "", 1.1);
	result("ipc.message_ticks_1_idle", &one, "ticks", 0);
	result("ipc.message_ticks_64_idle", &many, "ticks", 0);
	return 0;
}

int ipc_raw(struct bench *b, double *ns)
{
	static struct rig r;

	r.b = b;
	if (!r.s)
		r.s = bench_shared(sizeof(struct shared));
	if (!r.samples)
		r.samples = calloc(SAMPLES_SLOW, sizeof(*r.samples));
	if (!r.samples)
		return -ENOMEM;
	*ns = raw_round(&r, SAMPLES_SLOW).p50;
	return 0;
}

int bench_ipc(struct bench *b)
{
	struct rig r = {.b = b, .s = bench_shared(sizeof(struct shared))};
	size_t half = (channel_half_size(SLOTS, ARENA) + 4095) & ~4095ul;
	uint8_t *memory = bench_shared(half * 2 * HALVES);
	int rc;

	for (unsigned i = 0; i < HALVES; i++) {
		r.pair[i].dp = memory + half * 2 * i;
		r.pair[i].process = memory + half * (2 * i + 1);
	}
	r.samples = calloc(SAMPLES, sizeof(*r.samples));
	if (!r.samples)
		return -ENOMEM;
	bench_pin(b->core[0]);
	rc = rtt(&r);
	if (!rc)
		rc = stream(&r);
	if (!rc)
		rc = routed(&r);
	if (!rc)
		rc = idle_cost(&r);
	free(r.samples);
	return rc;
}
