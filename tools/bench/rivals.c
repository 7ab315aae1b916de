/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Others' programs and this one, turn by turn on the same two cores: UCX and libfabric over TCP and over
 * shared memory, sockperf, Redis, DPDK's testpmd. Where theirs is a library that a client calls in its own process and ours is
 * a process that serves several, ours has a hand-over more; that is part of what is compared.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/beside.h"
#include "tools/bench/loops.h"
#include "tools/bench/memory.h"
#include "tools/bench/rival.h"

enum {
	LINE_TRIPS = 20000, /* of the cache line */
	REDIS_KEYS = 20000,
	LATENCIES = 4000,
};

struct rival {
	const char *program, *package;
	bool there;  /* installed, and has worked so far */
	bool failed;
};

static struct rival ucx = {"ucx_perftest", "ucx-utils", false, false};
static struct rival fabric = {"fi_pingpong", "libfabric-bin", false, false};
static struct rival sockperf = {"sockperf", "sockperf", false, false};
static struct rival redis = {"redis-benchmark", "redis-server", false, false};
static struct rival testpmd = {"dpdk-testpmd", "dpdk-dev", false, false};
static struct rival *const all[] = {&ucx, &fabric, &sockperf, &redis, &testpmd};

/* Failed once: left out from then on, and said to be. */
static void rival_lost(struct rival *r, const char *what, int rc)
{
	fprintf(stderr, "atoll-bench: %s (%s): %s; left out\n", r->program, what, strerror(-rc));
	r->there = false;
	r->failed = true;
}

/* ---------------------------------------------------------------- what the machine does */

struct line {
	uint32_t turn __attribute__((aligned(128)));
};

static void line_child(void *arg)
{
	struct line *l = arg;

	for (uint32_t i = 0;; i++) {
		while (__atomic_load_n(&l->turn, __ATOMIC_ACQUIRE) != 2 * i + 1)
			__asm__ volatile("");
		__atomic_store_n(&l->turn, 2 * i + 2, __ATOMIC_RELEASE);
	}
}

/* One cache line to the other core and back, ns. */
static double line_trip(struct bench *b)
{
	struct line *l = bench_shared(4096);
	pid_t pid = bench_fork(b->core[1], line_child, l);
	uint64_t start = 0;

	for (uint32_t i = 0; i < LINE_TRIPS; i++) {
		if (i == LINE_TRIPS / 2)
			start = clock_now_ns();
		__atomic_store_n(&l->turn, 2 * i + 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&l->turn, __ATOMIC_ACQUIRE) != 2 * i + 2)
			__asm__ volatile("");
	}
	start = clock_now_ns() - start;
	bench_kill(pid);
	return (double)start / (LINE_TRIPS / 2);
}

/* ---------------------------------------------------------------- rivals */

static const char *const env_tcp[] = {"UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo", "UCX_WARN_UNUSED_ENV_VARS=n",
				      "FI_TCP_IFACE=lo", NULL};
static const char *const env_shm[] = {"UCX_TLS=posix,sysv,cma,self", "UCX_WARN_UNUSED_ENV_VARS=n", NULL};

struct ucx_result {
	double p50_us, rate, bytes;
};

/* ucx_perftest -v: iterations, 50th percentile, average and overall latency (us), average and overall MB/s,
 * average and overall messages/s. */
static int ucx_run(struct bench *b, bool shm, const char *test, unsigned n, struct ucx_result *out)
{
	static uint16_t port = RIVAL_PORT;
	char server[128], client[256], text[RIVAL_TEXT_MAX];
	struct rival_pair p = {.env = shm ? env_shm : env_tcp,
			       .server = server,
			       .client = client,
			       .port = ++port,
			       .patience_ms = 20000};
	const char *line;
	double v[8];
	int rc;

	snprintf(server, sizeof(server), "ucx_perftest -p %u", port);
	snprintf(client, sizeof(client), "ucx_perftest 127.0.0.1 -p %u -t %s -n %u -w %u -f -v", port, test, n,
		 n / 20);
	rc = rival_run(b, &p, text);
	if (rc)
		return rc;
	line = strchr(text, '\n');
	if (!line || sscanf(line, " %lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
			    &v[6], &v[7]) != 8)
		return -EPROTO;
	*out = (struct ucx_result){.p50_us = v[1], .rate = v[7], .bytes = v[5] * 1048576};
	return 0;
}

static bool number_after(const char *text, const char *word, double *out)
{
	const char *at = strstr(text, word);
	char *end;

	if (!at)
		return false;
	at += strlen(word);
	*out = strtod(at, &end);
	return end != at;
}

/* Round trip of 64 bytes, ns: the program says half of it, in microseconds, at the end of its table. */
static int fabric_run(struct bench *b, bool shm, unsigned n, double *ns)
{
	static uint16_t port = RIVAL_PORT + 500;
	char server[160], client[192], text[RIVAL_TEXT_MAX];
	struct rival_pair p = {
		.env = env_tcp, .server = server, .client = client, .port = ++port, .patience_ms = 15000};
	double us, rest;
	const char *at;
	int rc;

	snprintf(server, sizeof(server), "fi_pingpong -B %u -p %s -e rdm -I %u -S 64", port,
		 shm ? "shm" : "tcp", n);
	snprintf(client, sizeof(client), "fi_pingpong -P %u -p %s -e rdm -I %u -S 64 127.0.0.1", port,
		 shm ? "shm" : "tcp", n);
	rc = rival_run(b, &p, text);
	if (rc)
		return rc;
	/* bytes #sent #ack total time MB/sec usec/xfer Mxfers/sec */
	at = strstr(text, "\n64 ");
	if (!at || sscanf(at, "\n64 %*s %*s %*s %*s %*s %lf %lf", &us, &rest) != 2)
		return -EPROTO;
	*ns = us * 2000;
	return 0;
}

static int sockperf_run(struct bench *b, double *ns)
{
	static uint16_t port = RIVAL_PORT + 1000;
	char server[96], client[128], text[RIVAL_TEXT_MAX];
	struct rival_pair p = {.server = server, .client = client, .port = ++port, .patience_ms = 10000};
	double us;
	int rc;

	snprintf(server, sizeof(server), "sockperf sr --tcp -i 127.0.0.1 -p %u", port);
	snprintf(client, sizeof(client), "sockperf ping-pong --tcp -i 127.0.0.1 -p %u -m 64 -t 1", port);
	rc = rival_run(b, &p, text);
	if (rc)
		return rc;
	if (!number_after(text, "percentile 50.000 =", &us))
		return -EPROTO;
	*ns = us * 2000; /* it says half of a round trip */
	return 0;
}

/* Frames a second that testpmd forwards and does nothing else with, on the devices of the shared-memory link: one
 * of them at each end sends back what it gets, as many under way as our messages have. It goes on until its time is
 * up, and says each second how many they were: the best of those. */
static int testpmd_run(struct bench *b, const struct nodes *n, double *rate)
{
	static const char common[] = "--no-huge --no-shconf --no-telemetry --no-pci -m 128";
	static const char forward[] = "--forward-mode=io --port-topology=loop --no-mlockall --disable-link-check"
				      " --total-num-mbufs=4096 --burst=64 --stats-period 1";
	char path[128], server[640], client[640], text[RIVAL_TEXT_MAX];
	struct rival_pair p = {.server = server, .client = client, .path = path, .patience_ms = b->quick ? 3500 : 5000};
	double pps;
	int rc;

	snprintf(path, sizeof(path), "%s/testpmd.sock", n->dir);
	snprintf(server, sizeof(server),
		 "dpdk-testpmd --lcores 0@%d,1@%d %s --vdev virtio_user0,path=%s,queues=1,server=1 -- %s --tx-first",
		 b->core[1], b->core[1], common, path, forward);
	snprintf(client, sizeof(client),
		 "dpdk-testpmd --lcores 0@%d,1@%d %s --vdev net_vhost0,iface=%s,queues=1,client=1 -- %s --auto-start",
		 b->core[0], b->core[0], common, path, forward);
	unlink(path);
	rc = rival_run(b, &p, text);
	unlink(path);
	if (rc != -ETIMEDOUT)
		return rc ? rc : -EPROTO;
	*rate = 0;
	for (const char *at = text; (at = strstr(at, "Rx-pps:")) != NULL; at++)
		if (number_after(at, "Rx-pps:", &pps) && pps > *rate)
			*rate = pps;
	return *rate > 0 ? 0 : -EPROTO;
}

/* ---------------------------------------------------------------- Redis */

static pid_t redis_pid;
static char redis_path[128];

static int redis_ask(struct bench *b, const char *what, unsigned n, char text[RIVAL_TEXT_MAX])
{
	char client[320];
	struct rival_pair p = {.client = client, .patience_ms = 15000};

	snprintf(client, sizeof(client), "redis-benchmark -s %s -c 1 -P 16 -d 64 -r %d -n %u -t %s --csv",
		 redis_path, REDIS_KEYS, n, what);
	return rival_ask(b, &p, text);
}

static int redis_open(struct bench *b, const struct nodes *n)
{
	char server[512], text[RIVAL_TEXT_MAX];
	struct rival_pair p = {.server = server, .path = redis_path};

	snprintf(redis_path, sizeof(redis_path), "%s/redis.sock", n->dir);
	snprintf(server, sizeof(server),
		 "redis-server --port 0 --unixsocket %s --unixsocketperm 700 --appendonly no --daemonize no"
		 " --dir %s", redis_path, n->dir);
	redis_pid = rival_start(b, &p);
	if (redis_pid < 0)
		return redis_pid;
	return redis_ask(b, "set", REDIS_KEYS * 4, text);
}

static int redis_gets(struct bench *b, double *rate)
{
	char text[RIVAL_TEXT_MAX];
	int rc = redis_ask(b, "get", b->quick ? 50000 : 200000, text);

	if (rc)
		return rc;
	return number_after(text, "\"GET\",\"", rate) ? 0 : -EPROTO;
}

/* ---------------------------------------------------------------- rounds */

struct figures {
	struct rounds line, ucx_rate, ucx_1m, ucx_get, ucx_rtt, shm_rate, shm_1m, shm_rtt, fabric_tcp,
		fabric_shm, sockperf, redis;
	struct rounds rate, large, read64, rtt, gets;
	struct rounds forward, testpmd, over_rate, over_1m, over_get, over_rtt, over_redis, over_testpmd;
};

/* Between dataplanes in loops of their own; the nodes are not there yet. */
static int round_loops(struct bench *b, const struct nodes *n, bool shm, struct figures *f)
{
	struct latency ping, read8;
	struct ucx_result u;
	double ns, forward;
	int rc = loops_round(b, n, shm, &ping, &read8);

	if (rc)
		return rc;
	rounds_add(&f->line, line_trip(b));
	rounds_add(&f->rtt, ping.p50);
	rc = loops_forward(b, n, shm, &forward);
	if (rc)
		return rc;
	rounds_add(&f->forward, forward);
	if (shm && testpmd.there && (rc = testpmd_run(b, n, &ns)) != 0)
		rival_lost(&testpmd, "io-forward", rc);
	if (shm && testpmd.there) {
		rounds_add(&f->testpmd, ns);
		rounds_add(&f->over_testpmd, forward / ns);
	}
	if (ucx.there && (rc = ucx_run(b, false, "ucp_am_lat -s 64", b->quick ? 2000 : 10000, &u)) != 0)
		rival_lost(&ucx, "am_lat over TCP", rc);
	if (ucx.there) {
		rounds_add(&f->ucx_rtt, u.p50_us * 2000);
		rounds_add(&f->over_rtt, ping.p50 / (u.p50_us * 2000));
	}
	if (ucx.there && (rc = ucx_run(b, true, "ucp_am_lat -s 64", b->quick ? 5000 : 50000, &u)) != 0)
		rival_lost(&ucx, "am_lat over shared memory", rc);
	if (ucx.there)
		rounds_add(&f->shm_rtt, u.p50_us * 2000);
	if (fabric.there && (rc = fabric_run(b, false, b->quick ? 1000 : 5000, &ns)) != 0)
		rival_lost(&fabric, "tcp", rc);
	if (fabric.there)
		rounds_add(&f->fabric_tcp, ns);
	if (fabric.there && fabric_run(b, true, b->quick ? 1000 : 20000, &ns) == 0)
		rounds_add(&f->fabric_shm, ns);
	if (sockperf.there && (rc = sockperf_run(b, &ns)) != 0)
		rival_lost(&sockperf, "ping-pong", rc);
	if (sockperf.there)
		rounds_add(&f->sockperf, ns);
	return 0;
}

static int round_reads(struct bench *b, struct figures *f)
{
	uint64_t span = b->quick ? 50000000 : 300000000;
	struct latency l;
	struct ucx_result u;
	double rate, bytes;
	int rc = beside_read64_rate(span, &rate);

	if (!rc)
		rc = beside_read1m(span, &bytes);
	if (!rc)
		rc = beside_read64(b->quick ? LATENCIES / 8 : LATENCIES, &l);
	if (rc)
		return rc;
	rounds_add(&f->rate, rate);
	rounds_add(&f->large, bytes);
	rounds_add(&f->read64, l.p50);
	if (ucx.there && !(rc = ucx_run(b, false, "ucp_get -s 64 -O 32", b->quick ? 5000 : 20000, &u))) {
		rounds_add(&f->ucx_rate, u.rate);
		rounds_add(&f->over_rate, rate / u.rate);
		rc = ucx_run(b, false, "ucp_get -s 1048576 -O 4", b->quick ? 100 : 400, &u);
	}
	if (ucx.there && !rc) {
		rounds_add(&f->ucx_1m, u.bytes);
		rounds_add(&f->over_1m, bytes / u.bytes);
		rc = ucx_run(b, false, "ucp_get -s 64 -O 1", b->quick ? 1000 : 5000, &u);
	}
	if (ucx.there && !rc) {
		/* A lone get waits for a timer in some versions; a message and its answer does the same, sooner. */
		double best = u.p50_us * 1000, rtt = rounds_median(&f->ucx_rtt);

		rounds_add(&f->ucx_get, best);
		best = rtt > 0 && rtt < best ? rtt : best;
		rounds_add(&f->over_get, l.p50 / best);
		rc = ucx_run(b, true, "ucp_get -s 64 -O 32", b->quick ? 100000 : 1000000, &u);
	}
	if (ucx.there && !rc) {
		rounds_add(&f->shm_rate, u.rate);
		rc = ucx_run(b, true, "ucp_get -s 1048576 -O 4", b->quick ? 200 : 1000, &u);
	}
	if (ucx.there && !rc)
		rounds_add(&f->shm_1m, u.bytes);
	if (rc)
		rival_lost(&ucx, "ucp_get", rc);
	return 0;
}

static int round_gets(struct bench *b, struct figures *f)
{
	double ours, theirs;
	int rc = beside_index_gets(b->quick ? 100000000 : 300000000, &ours);

	if (rc)
		return rc;
	rounds_add(&f->gets, ours);
	if (redis.there && (rc = redis_gets(b, &theirs)) != 0)
		rival_lost(&redis, "get", rc);
	if (redis.there) {
		rounds_add(&f->redis, theirs);
		rounds_add(&f->over_redis, ours / theirs);
	}
	return 0;
}

static void say(const char *key, const struct rounds *r, const char *unit, double goal)
{
	if (r->n)
		result(key, r, unit, goal);
}

/* Those that are not installed, or those that failed on the way. */
static void say_list(const char *key, bool failed)
{
	char list[96] = "";
	size_t at = 0;

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!all[i]->there && all[i]->failed == failed && at < sizeof(list) - 1)
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "",
					       all[i]->package);
	if (list[0])
		result_text(key, list);
}

static void say_all(struct bench *b, const struct figures *f)
{
	result_text("rivals.port", b->port);
	say_list("rivals.missing", false);
	say_list("rivals.failed", true);
	say("rivals.read64_rate_over_ucx_tcp", &f->over_rate, "", -8);
	say("rivals.read1m_over_ucx_tcp", &f->over_1m, "", -2);
	say("rivals.client_read64_over_ucx_tcp", &f->over_get, "", idle_few_cores() ? 2 : 1);
	say("rivals.message_rtt_over_ucx_tcp", &f->over_rtt, "", 0.25);
	say("rivals.index_get_over_redis", &f->over_redis, "", -1.5);
	say("rivals.port_forward_over_testpmd", &f->over_testpmd, "", -0.3);
	say("rivals.machine.cache_line_ns", &f->line, "ns", 0);
	say("rivals.atoll.read64_rate", &f->rate, "reads/s", 0);
	say("rivals.atoll.read1m_bytes", &f->large, "bytes/s", 0);
	say("rivals.atoll.client_read64_ns", &f->read64, "ns", 0);
	say("rivals.atoll.message_rtt_ns", &f->rtt, "ns", 0);
	say("rivals.atoll.index_get_rate", &f->gets, "gets/s", 0);
	say("rivals.atoll.forward_rate", &f->forward, "messages/s", 0);
	say("rivals.ucx_tcp.get64_rate", &f->ucx_rate, "gets/s", 0);
	say("rivals.ucx_tcp.get1m_bytes", &f->ucx_1m, "bytes/s", 0);
	say("rivals.ucx_tcp.get64_ns", &f->ucx_get, "ns", 0);
	say("rivals.ucx_tcp.rtt_ns", &f->ucx_rtt, "ns", 0);
	say("rivals.ucx_shm.get64_rate", &f->shm_rate, "gets/s", 0);
	say("rivals.ucx_shm.get1m_bytes", &f->shm_1m, "bytes/s", 0);
	say("rivals.ucx_shm.rtt_ns", &f->shm_rtt, "ns", 0);
	say("rivals.libfabric_tcp.rtt_ns", &f->fabric_tcp, "ns", 0);
	say("rivals.libfabric_shm.rtt_ns", &f->fabric_shm, "ns", 0);
	say("rivals.sockperf_tcp.rtt_ns", &f->sockperf, "ns", 0);
	say("rivals.redis.get_rate", &f->redis, "gets/s", 0);
	say("rivals.testpmd.forward_rate", &f->testpmd, "packets/s", 0);
}

int bench_rivals(struct bench *b)
{
	static struct figures f;
	bool shm = nodes_shm_works(b);
	char service[160];
	struct nodes n;
	pid_t memory = 0;
	int rc = nodes_begin(b, &n, shm);

	if (rc)
		return rc;
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		all[i]->there = rival_there(all[i]->program);
	redis.there &= rival_there("redis-server");
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = round_loops(b, &n, shm, &f);
	snprintf(service, sizeof(service),
		 "\n[service index]\nexec = index-shard\nargs = --entries 100000 --heap-mib 128\ncore = %d\n",
		 b->core[1]);
	if (!rc)
		rc = nodes_up(b, &n, shm, service);
	if (!rc) {
		memory = memory_start(b, &n, "memory");
		rc = memory < 0 ? (int)memory : 0;
	}
	bench_pin(b->core[0]);
	if (!rc)
		rc = beside_open(&n);
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = round_reads(b, &f);
	beside_close();
	if (!rc && redis.there && (rc = redis_open(b, &n)) != 0) {
		rival_lost(&redis, "server", rc);
		rc = 0;
	}
	if (!rc)
		rc = beside_index_open(&n, "b/index");
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = round_gets(b, &f);
	beside_index_close();
	rival_end(redis_pid);
	bench_kill(memory);
	nodes_down(&n);
	if (!rc)
		say_all(b, &f);
	return rc;
}
