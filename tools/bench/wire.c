/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks between two nodes. Latencies between dataplanes in loops of their own (loops.c); rates, mixed
 * load and the time until a death is told between real nodes, from a client process on the core of node a.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/roce/icrc.h"
#include "ipc/endpoint.h"
#include "tools/bench/beside.h"
#include "tools/bench/loops.h"
#include "tools/bench/memory.h"

enum {
	WINDOW = 32,
	LARGE = 1 << 20,
	LARGE_WINDOW = 4,
	SAMPLES = 20000,
	DETECT_ROUNDS = 5,
	WAIT_MS = 10000,
	WARM_NS = 100000000,
};

struct client {
	struct atoll_endpoint *ep;
	struct atoll_handle memory, granted;
	struct atoll_region region;
	uint32_t lane;
	uint64_t done, failed;
	uint32_t status; /* of the last failure, or of the last reply */
	bool replied;
};

static void on_completion(void *ctx, const struct verb_completion *c)
{
	struct client *k = ctx;

	k->done++;
	for (unsigned i = 0; i < c->count; i++)
		if (c->status[i]) {
			k->failed++;
			k->status = c->status[i];
			break;
		}
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct client *k = ctx;

	(void)cookie;
	(void)payload;
	k->status = m->status;
	k->replied = true;
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct client *k = ctx;

	if (m->opcode == OP_DP_GRANTED)
		k->granted = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
}

static int find(struct client *k, const char *name)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull;
	int rc;

	/* the link may still be on its way up */
	while ((rc = atoll_lookup(k->ep, name, &k->memory, NULL, 1000)) != 0 && clock_now_ns() < end)
		usleep(5000);
	return rc;
}

static int client_open(struct client *k, const struct nodes *n, const char *name)
{
	static const struct atoll_handlers handlers = {
		.reply = on_reply, .event = on_event, .completion = on_completion};
	struct atoll_endpoint_conf conf = {
		.socket = n->socket[0], .name = "bench", .kind = CTL_KIND_CLIENT};
	struct proto_msg open = {.opcode = OP_MEMORY_OPEN}, reply;
	char err[256] = "";
	int rc;

	memset(k, 0, sizeof(*k));
	rc = atoll_attach(&k->ep, &conf, err, sizeof(err));
	if (rc) {
		fprintf(stderr, "atoll-bench: %s\n", err);
		return rc;
	}
	atoll_set_handlers(k->ep, &handlers, k);
	rc = find(k, name);
	if (!rc)
		rc = atoll_call(k->ep, k->memory, &open, NULL, &reply, NULL, 2000);
	if (!rc)
		rc = k->granted.gen ? atoll_status_errno(reply.status) : -EACCES;
	if (!rc)
		rc = atoll_lane_open(k->ep, 2, WINDOW, &k->lane, 2000);
	if (!rc)
		rc = atoll_region_alloc(k->ep, LARGE_WINDOW * LARGE, 0, &k->region, err, sizeof(err));
	if (rc)
		fprintf(stderr, "atoll-bench: a client of node a: %s%s%s\n", strerror(-rc),
			err[0] ? ": " : "", err);
	return rc;
}

/* Reads of @len bytes with @window of them in flight until @end; bytes a second in *@rate. */
static int reads_run(struct client *k, uint32_t len, unsigned window, uint64_t ns, double *rate)
{
	struct verb v = {.op = VERB_READ,
			 .len = len,
			 .remote = k->granted,
			 .local = atoll_region_handle(k->ep, &k->region)};
	uint64_t posted = k->done, first = 0, start = clock_now_ns(), now = start, from = 0;

	for (uint64_t turn = 0;; turn++) {
		int n;

		while (posted - k->done < window) {
			uint64_t at = posted % window * len;

			v.local_offset = at;
			v.remote_offset = at % MEMORY_REGION;
			if (atoll_post(k->ep, k->lane, &v, 1, posted))
				break;
			posted++;
		}
		n = atoll_poll(k->ep, 64);
		if (n < 0 || k->failed)
			return n < 0 ? n : atoll_status_errno(k->status);
		if (n == 0)
			atoll_idle(k->ep, 1000000);
		if (n == 0 || (turn & 63) == 0) {
			now = clock_now_ns();
			if (!from && now - start > WARM_NS) {
				from = now;
				first = k->done;
			}
			if (from && now - from >= ns)
				break;
		}
	}
	*rate = (double)(k->done - first) * len / (double)(now - from) * 1e9;
	while (posted != k->done) {
		int n = atoll_poll(k->ep, 64);

		if (n < 0)
			return n;
		if (n == 0)
			atoll_idle(k->ep, 1000000);
	}
	return 0;
}

/* One at a time. */
static int reads_latency(struct client *k, uint32_t *samples, unsigned n)
{
	struct verb v = {.op = VERB_READ,
			 .len = 64,
			 .remote = k->granted,
			 .local = atoll_region_handle(k->ep, &k->region)};

	for (unsigned i = 0; i < n; i++) {
		uint64_t before = k->done, t = bench_ticks();
		int rc = atoll_post(k->ep, k->lane, &v, 1, i);

		while (!rc && k->done == before) {
			rc = atoll_poll(k->ep, 8);
			if (rc == 0)
				atoll_idle(k->ep, 1000000);
			rc = rc < 0 ? rc : 0;
		}
		if (rc || k->failed)
			return rc ? rc : atoll_status_errno(k->status);
		samples[i] = (uint32_t)(bench_ticks() - t);
	}
	return 0;
}

struct streamer {
	struct bench *b;
	const struct nodes *n;
	uint32_t *ready;
};

static void streaming_child(void *arg)
{
	struct streamer *s = arg;
	struct client k;
	double rate;

	if (client_open(&k, s->n, "b/memory") ||
	    reads_run(&k, LARGE, LARGE_WINDOW, 1000000, &rate))
		_exit(1);
	__atomic_store_n(s->ready, 1, __ATOMIC_RELEASE);
	reads_run(&k, LARGE, LARGE_WINDOW, UINT64_MAX / 2, &rate);
}

static int rates(struct bench *b, struct client *k)
{
	struct rounds small = {0}, large = {0};
	uint64_t ns = b->quick ? 50000000 : 300000000;

	for (unsigned i = 0; i < b->rounds; i++) {
		double rate;
		int rc = reads_run(k, 64, WINDOW, ns, &rate);

		if (rc)
			return rc;
		rounds_add(&small, rate / 64);
		rc = reads_run(k, LARGE, LARGE_WINDOW, ns, &rate);
		if (rc)
			return rc;
		rounds_add(&large, rate);
	}
	result("wire.read64_rate", &small, "reads/s", -1e6);
	result("wire.read1m_bytes", &large, "bytes/s", -2.2e9);
	return 0;
}

static int mixed(struct bench *b, const struct nodes *n, struct client *k)
{
	struct latency_rounds alone = {0}, crowded = {0};
	struct rounds ratio = {0};
	struct streamer s = {.b = b, .n = n, .ready = bench_shared(4096)};
	unsigned count = b->quick ? SAMPLES / 20 : SAMPLES / 4;
	uint32_t *samples = calloc(SAMPLES, sizeof(*samples));
	int rc = samples ? 0 : -ENOMEM;

	for (unsigned i = 0; i < b->rounds && !rc; i++) {
		struct latency a, c;
		pid_t child;

		rc = reads_latency(k, samples, count);
		a = bench_latency(samples, count);
		*s.ready = 0;
		child = bench_fork(b->core[0], streaming_child, &s);
		if (!rc)
			rc = bench_wait(s.ready);
		if (!rc)
			rc = reads_latency(k, samples, count);
		c = bench_latency(samples, count);
		bench_kill(child);
		latency_add(&alone, a);
		latency_add(&crowded, c);
		rounds_add(&ratio, c.p99 / a.p99);
	}
	free(samples);
	if (rc)
		return rc;
	result("wire.mixed_p99", &ratio, "", 5);
	result("wire.read64_ns", &alone.p50, "ns", 0);
	result_latency("wire.read64", &alone);
	result("wire.read64_mixed_ns", &crowded.p50, "ns", 0);
	result_latency("wire.read64_mixed", &crowded);
	return 0;
}

/* A request that is never answered, from its target's end to its own. @end ends the target. */
static int detect(struct client *k, void (*end)(pid_t), pid_t pid, double *ms)
{
	struct proto_msg q = {.opcode = OP_MEMORY_SILENCE}, echo = {.opcode = OP_MEMORY_ECHO}, r;
	uint64_t start, last;
	int rc;

	k->replied = false;
	rc = atoll_request(k->ep, k->memory, &q, NULL, 1);
	if (!rc) /* behind it, so it is there, too */
		rc = atoll_call(k->ep, k->memory, &echo, NULL, &r, NULL, 2000);
	if (rc)
		return rc;
	start = clock_now_ns();
	end(pid);
	last = start + WAIT_MS * 1000000ull;
	while (!k->replied) {
		rc = atoll_poll(k->ep, 8);
		if (rc < 0)
			return rc;
		if (rc == 0)
			atoll_idle(k->ep, 1000000);
		if (clock_now_ns() > last)
			return -ETIMEDOUT;
	}
	*ms = (double)(clock_now_ns() - start) / 1e6;
	return 0;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
}

static void end_node(pid_t pid)
{
	kill(pid, SIGSTOP);
}

static int detects(struct bench *b, const struct nodes *n, struct client *k)
{
	struct rounds process = {0}, node = {0};
	int rc = 0;

	for (unsigned i = 0; i < DETECT_ROUNDS && !rc; i++) {
		pid_t pid = memory_start(b, n, "victim");
		double ms = 0;

		if (pid < 0)
			return (int)pid;
		rc = find(k, "b/victim");
		if (!rc)
			rc = detect(k, end_process, pid, &ms);
		bench_kill(pid);
		rounds_add(&process, ms);
		if (!rc && k->status != STATUS_PEER_DIED) {
			fprintf(stderr, "atoll-bench: a request at a dead process ended %s\n",
				proto_status_name(k->status));
			rc = -EIO;
		}
	}
	for (unsigned i = 0; i < (b->quick ? 1 : DETECT_ROUNDS) && !rc; i++) {
		pid_t pid = nodes_pid(b, n, 1, "dataplane");
		double ms = 0;

		if (pid <= 0)
			return -ESRCH;
		rc = find(k, "b/memory");
		/* at any moment of the heartbeat */
		usleep(i * 17000);
		if (!rc)
			rc = detect(k, end_node, pid, &ms);
		kill(pid, SIGCONT);
		rounds_add(&node, ms);
		if (!rc && k->status != STATUS_UNREACHABLE) {
			fprintf(stderr, "atoll-bench: a request at a silent node ended %s\n",
				proto_status_name(k->status));
			rc = -EIO;
		}
	}
	if (rc)
		return rc;
	result("wire.detect_ms.process", &process, "ms", 10);
	result("wire.detect_ms.node", &node, "ms", 3.0 * NODES_HEARTBEAT_MS);
	return 0;
}

/* Of the four ICRCs of a round trip: each message's is computed by the one and checked by the other. */
static double icrc_ns(void)
{
	enum { TIMES = 20000, BYTES = 40 + 64 };
	uint8_t packet[BYTES] = {0x45};
	uint64_t t;

	icrc_init();
	t = bench_ticks();
	for (unsigned i = 0; i < TIMES; i++) {
		uint32_t crc = icrc_compute(packet, sizeof(packet));

		/* the next waits for this one, as the packet's sender does */
		memcpy(packet + BYTES - sizeof(crc), &crc, sizeof(crc));
	}
	return 4.0 * (double)(bench_ticks() - t) * bench_tick_ns / TIMES;
}

static int latencies(struct bench *b, const struct nodes *n, bool shm)
{
	struct latency_rounds raw = {0}, ping = {0}, read8 = {0};
	struct rounds ping_over = {0}, read_over = {0}, same = {0}, window = {0}, bytes = {0}, icrc = {0};

	for (unsigned i = 0; i < b->rounds; i++) {
		struct nodes_limit limit = {0};
		struct latency r, p, d;
		int rc = nodes_raw(b, shm, &r);

		if (!rc)
			rc = loops_round(b, n, shm, &p, &d);
		if (!rc && shm)
			rc = nodes_raw_limit(b, &limit);
		if (rc)
			return rc;
		rounds_add(&same, limit.ping_ns);
		rounds_add(&window, limit.window);
		rounds_add(&bytes, limit.bytes);
		rounds_add(&icrc, icrc_ns());
		latency_add(&raw, r);
		latency_add(&ping, p);
		latency_add(&read8, d);
		rounds_add(&ping_over, p.p50 / r.p50);
		rounds_add(&read_over, d.p50 / r.p50);
	}
	result("wire.rtt_over_port", &ping_over, "", 1.5);
	result("wire.read8_over_port", &read_over, "", 1.7);
	result("wire.raw_ns", &raw.p50, "ns", 0);
	result_latency("wire.raw", &raw);
	/* what no RoCEv2 in software can be faster than: the same frames by the bare device, and their ICRCs */
	result("wire.icrc_ns", &icrc, "ns", 0);
	if (shm) {
		result("wire.raw_same_ns", &same, "ns", 0);
		result("wire.raw_packets_rate", &window, "round trips/s", 0);
		result("wire.raw_bytes", &bytes, "bytes/s", 0);
	}
	result("wire.rtt_ns", &ping.p50, "ns", 0);
	result_latency("wire.rtt", &ping);
	result("wire.read8_ns", &read8.p50, "ns", 0);
	result_latency("wire.read8", &read8);
	return 0;
}

/* ---------------------------------------------------------------- beside others */

static struct client beside;

int beside_open(const struct nodes *n)
{
	return client_open(&beside, n, "b/memory");
}

int beside_read64_rate(uint64_t ns, double *rate)
{
	int rc = reads_run(&beside, 64, WINDOW, ns, rate);

	*rate /= 64;
	return rc;
}

int beside_read1m(uint64_t ns, double *bytes)
{
	return reads_run(&beside, LARGE, LARGE_WINDOW, ns, bytes);
}

int beside_read64(unsigned n, struct latency *out)
{
	uint32_t *samples = calloc(n, sizeof(*samples));
	int rc = samples ? reads_latency(&beside, samples, n) : -ENOMEM;

	if (!rc)
		*out = bench_latency(samples, n);
	free(samples);
	return rc;
}

void beside_close(void)
{
	if (beside.ep)
		atoll_detach(beside.ep);
	beside.ep = NULL;
}

int bench_wire(struct bench *b)
{
	bool shm = nodes_shm_works(b);
	struct nodes n;
	struct client k = {0};
	pid_t memory = 0;
	int rc = nodes_begin(b, &n, shm);

	if (rc)
		return rc;
	result_text("wire.port", b->port);
	rc = latencies(b, &n, shm);
	if (!rc)
		rc = bench_tracing(b);
	if (!rc)
		rc = nodes_up(b, &n, shm, "");
	if (!rc) {
		memory = memory_start(b, &n, "memory");
		rc = memory < 0 ? (int)memory : 0;
	}
	bench_pin(b->core[0]);
	if (!rc)
		rc = client_open(&k, &n, "b/memory");
	if (!rc)
		rc = rates(b, &k);
	if (!rc)
		rc = mixed(b, &n, &k);
	if (!rc)
		rc = detects(b, &n, &k);
	if (k.ep)
		atoll_detach(k.ep);
	bench_kill(memory);
	nodes_down(&n);
	return rc;
}
