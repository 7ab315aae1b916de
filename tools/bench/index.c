/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks of the remote index: a client on node a, the shard on node b. Round trips are counted by the
 * client library for each operation; the figure is the commonest count, and the mean is beside it, for an
 * operation takes more where fingerprints collide.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/beside.h"

#ifdef ATOLL_HAVE_INDEX

#include <signal.h>
#include <unistd.h>

#include "clients/index/atoll_index.h"
#include "tools/bench/index_clients.h"
#include "tools/bench/index_death.h"
#include "tools/bench/index_dtx.h"
#include "tools/bench/index_scaling.h"
#include "tools/bench/ycsb_run.h"

enum {
	ENTRIES = 20000,
	VALUE = 64,
	IN_FLIGHT = 16,
	OPEN_MS = 15000,
	YCSB_RECORDS = 10000,
	SUSPECT_US = 300, /* a waiter asks early */
};

/* index_tree.c */
int bench_tree_trips(struct atoll_index *ix);

struct load {
	unsigned running;
	uint64_t done, failed;
	enum atoll_result worst;
	uint64_t sum;
};

static void key_of(uint64_t i, char key[24], size_t *len)
{
	*len = (size_t)snprintf(key, 24, "key-%016llx",
				(unsigned long long)(i * 0x9e3779b97f4a7c15ull));
}

static void on_done(void *arg, const struct atoll_outcome *o)
{
	struct load *l = arg;

	l->running--;
	l->done++;
	if (o->result != ATOLL_OK) {
		l->failed++;
		l->worst = o->result;
	} else if (o->op == ATOLL_GET && o->value_len == VALUE) {
		l->sum += *(const uint8_t *)o->value;
	}
}

/* @n operations, at most @window at once; ends early after @ns. Operations done. */
static int run(struct atoll_index *ix, enum atoll_op op, uint64_t n, unsigned window, uint64_t ns,
	       uint64_t *done)
{
	char key[24], value[VALUE];
	struct load l = {0};
	uint64_t end = ns ? clock_now_ns() + ns : UINT64_MAX;
	bool over = false;
	size_t klen;

	memset(value, 'a' + (int)op, sizeof(value));
	for (uint64_t i = 0, turn = 0; i < n || l.running; turn++) {
		int rc;

		while (i < n && l.running < window && !over) {
			key_of(i % ENTRIES, key, &klen);
			l.running++;
			rc = atoll_index_submit(ix, op, key, klen, value,
						op == ATOLL_GET || op == ATOLL_DELETE ? 0 : VALUE,
						on_done, &l);
			if (rc == -EAGAIN) {
				l.running--;
				break;
			}
			if (rc)
				return rc;
			i++;
		}
		rc = atoll_index_poll(ix);
		if (rc < 0 || l.failed) {
			fprintf(stderr, "atoll-bench: %s: %s\n", atoll_op_name(op),
				l.failed ? atoll_result_text(l.worst) : strerror(-rc));
			return rc < 0 ? rc : -EIO;
		}
		if (rc == 0)
			atoll_index_idle(ix);
		if ((turn & 15) == 0 && clock_now_ns() > end) {
			over = true;
			if (!l.running)
				break;
		}
	}
	*done = l.done;
	return 0;
}

/* The commonest count of round trips of @op between two looks at the statistics; the mean in *@mean. */
static double trips(const struct atoll_index_stats *from, const struct atoll_index_stats *to,
		    enum atoll_op op, double *mean)
{
	unsigned best = 0;

	for (unsigned i = 1; i < 16; i++)
		if (to->trips_hist[op][i] - from->trips_hist[op][i] >
		    to->trips_hist[op][best] - from->trips_hist[op][best])
			best = i;
	*mean = (double)(to->round_trips[op] - from->round_trips[op]) /
		(double)(to->ops[op] - from->ops[op]);
	return best;
}

/* @what: the key of the figures; @goal: by step. */
static int count_trips(struct atoll_index *ix, uint64_t n, const char *what, const double goal[5])
{
	static const enum atoll_op steps[] = {ATOLL_INSERT, ATOLL_PUT, ATOLL_GET, ATOLL_UPDATE,
					      ATOLL_DELETE};
	double common[5], mean[5];
	char key[64];

	for (unsigned i = 0; i < 5; i++) {
		struct atoll_index_stats from, to;
		uint64_t done;
		int rc;

		atoll_index_stats(ix, &from);
		rc = run(ix, steps[i], n, IN_FLIGHT, 0, &done);
		if (rc)
			return rc;
		atoll_index_stats(ix, &to);
		common[i] = trips(&from, &to, steps[i], &mean[i]);
	}
	for (unsigned i = 0; i < 5; i++) {
		snprintf(key, sizeof(key), "index.%s.%s", what, atoll_op_name(steps[i]));
		result_one(key, common[i], "trips", goal[i]);
	}
	for (unsigned i = 0; i < 5; i++) {
		snprintf(key, sizeof(key), "index.%s_mean.%s", what, atoll_op_name(steps[i]));
		result_one(key, mean[i], "trips", 0);
	}
	return 0;
}

/* What fault tolerance adds to a put that changes no structure: bytes that are not key or value, and log. */
static int count_bytes(struct atoll_index *ix, uint64_t n)
{
	struct atoll_index_stats from, to;
	uint64_t done;
	size_t klen;
	char key[24];
	int rc;

	key_of(0, key, &klen);
	atoll_index_stats(ix, &from);
	rc = run(ix, ATOLL_PUT, n, IN_FLIGHT, 0, &done);
	atoll_index_stats(ix, &to);
	if (rc)
		return rc;
	if (to.splits != from.splits)
		return 0; /* a structure was changed */
	result_one("index.log_bytes",
		   (double)(to.block_bytes + to.log_bytes - from.block_bytes - from.log_bytes) /
				   (double)n -
			   (double)(klen + VALUE),
		   "bytes", 24);
	return 0;
}

/* Gets one at a time. */
static int get_latency(struct atoll_index *ix, uint32_t *samples, unsigned n)
{
	char key[24], value[VALUE];
	size_t klen, len;

	for (unsigned i = 0; i < n; i++) {
		uint64_t t = bench_ticks();

		key_of(i * 7919u % ENTRIES, key, &klen);
		len = sizeof(value);
		if (atoll_index_get(ix, key, klen, value, &len) != ATOLL_OK || len != VALUE)
			return -EIO;
		samples[i] = (uint32_t)(bench_ticks() - t);
	}
	return 0;
}

static int measure(struct bench *b, struct atoll_index *ix)
{
	unsigned n = b->quick ? 500 : 5000;
	uint64_t ns = b->quick ? 100000000 : 300000000, done;
	uint32_t *samples = calloc(n, sizeof(*samples));
	struct latency_rounds get = {0};
	struct rounds rate = {0};
	const double goal[5] = {3, 3, 2, 3, 3};
	int rc = samples ? count_trips(ix, b->quick ? ENTRIES / 10 : ENTRIES, "rtts", goal) : -ENOMEM;

	if (!rc)
		rc = run(ix, ATOLL_INSERT, ENTRIES, IN_FLIGHT, 0, &done);
	if (!rc)
		rc = count_bytes(ix, ENTRIES / 10);
	for (unsigned i = 0; i < b->rounds && !rc; i++) {
		uint64_t start = clock_now_ns();

		rc = run(ix, ATOLL_GET, UINT64_MAX, IN_FLIGHT, ns, &done);
		rounds_add(&rate, (double)done * 1e9 / (double)(clock_now_ns() - start));
		if (!rc)
			rc = get_latency(ix, samples, n);
		latency_add(&get, bench_latency(samples, n));
	}
	free(samples);
	if (rc)
		return rc;
	result("index.get_rate", &rate, "gets/s", -350000);
	result("index.get_ns", &get.p50, "ns", 0);
	result_latency("index.get", &get);
	return 0;
}

int bench_index_open(struct atoll_index **ix, const char *target, const struct atoll_index_options *o)
{
	uint64_t end = clock_now_ns() + OPEN_MS * 1000000ull;
	const char *why = NULL;
	int rc;

	while ((rc = atoll_index_open(ix, target, o, &why)) != 0 && clock_now_ns() < end)
		usleep(20000); /* the link and the shard may still be on their way up */
	if (rc)
		fprintf(stderr, "atoll-bench: %s\n", why ? why : strerror(-rc));
	return rc;
}

/* ---------------------------------------------------------------- beside others */

static struct atoll_index *beside;

int beside_index_open(const struct nodes *n, const char *target)
{
	struct atoll_index_options options = {
		.name = "bench", .in_flight = IN_FLIGHT, .socket = n->socket[0]};
	uint64_t done;
	int rc = bench_index_open(&beside, target, &options);

	return rc ? rc : run(beside, ATOLL_INSERT, ENTRIES, IN_FLIGHT, 0, &done);
}

int beside_index_gets(uint64_t ns, double *rate)
{
	uint64_t start = clock_now_ns(), done = 0;
	int rc = run(beside, ATOLL_GET, UINT64_MAX, IN_FLIGHT, ns, &done);

	*rate = (double)done * 1e9 / (double)(clock_now_ns() - start);
	return rc;
}

void beside_index_close(void)
{
	if (beside)
		atoll_index_close(beside);
	beside = NULL;
}

/* A client with a slot cache, then one that others die beside. */
static int measure_more(struct bench *b, const struct atoll_index_options *options)
{
	const double goal[5] = {3, 2, 1, 2, 2};
	struct atoll_index_options o = *options;
	struct rounds killed = {0}, stopped = {0};
	struct atoll_index *ix = NULL;
	int rc;

	o.cache = 1 << 16;
	rc = bench_index_open(&ix, "b/cached", &o);
	if (!rc)
		rc = count_trips(ix, b->quick ? ENTRIES / 10 : ENTRIES, "rtts_cached", goal);
	if (ix)
		atoll_index_close(ix);
	ix = NULL;
	o.cache = 0;
	o.suspect_us = SUSPECT_US;
	if (!rc)
		rc = bench_index_open(&ix, "b/cached", &o);
	if (!rc)
		rc = death_measure(ix, "b/cached", &o, SIGKILL, b->rounds, &killed);
	if (!rc)
		rc = death_measure(ix, "b/cached", &o, SIGSTOP, b->rounds, &stopped);
	if (ix)
		atoll_index_close(ix);
	if (!rc && killed.n)
		result("index.unblock_ms.hangup", &killed, "ms", 2);
	if (!rc && stopped.n)
		result("index.unblock_ms.hang", &stopped, "ms", 60);
	return rc;
}

/* ---------------------------------------------------------------- YCSB, fault tolerance on and off */

/* One round of a workload on either table, the one that was second last time first. */
static int ycsb_round(struct bench *b, struct ycsb_table t[2], const struct ycsb_workload *w, unsigned i,
		      struct rounds rate[2], struct rounds *lost)
{
	uint64_t ns = b->quick ? 30000000 : 100000000;
	double v[2] = {0, 0};
	int rc = 0;

	for (unsigned k = 0; k < 2 && !rc; k++) {
		unsigned side = k ^ (i & 1);

		rc = ycsb_run(&t[side], w, IN_FLIGHT, i + 1, ns, &v[side]);
	}
	if (rc)
		return rc;
	rounds_add(&rate[0], v[0]);
	rounds_add(&rate[1], v[1]);
	rounds_add(lost, 1 - v[0] / v[1]);
	return 0;
}

/* The rounds of one workload, NULL: inserts; and what is lost by fault tolerance, at most. */
static int ycsb_workload(struct bench *b, struct ycsb_table t[2], const struct ycsb_workload *w,
			 double goal)
{
	struct rounds rate[2] = {0}, lost = {0};
	const char *name = w ? w->name : "insert";
	char key[64];
	int rc = 0;

	for (unsigned k = 0; k < b->rounds && !rc; k++)
		rc = ycsb_round(b, t, w, k, rate, &lost);
	if (rc)
		return rc;
	snprintf(key, sizeof(key), "index.ft_overhead.%s", name);
	result(key, &lost, "of the rate", goal);
	snprintf(key, sizeof(key), "index.ycsb_rate.%s", name);
	result(key, &rate[0], "op/s", 0);
	snprintf(key, sizeof(key), "index.ycsb_rate_ft_off.%s", name);
	result(key, &rate[1], "op/s", 0);
	return 0;
}

/* @t: with fault tolerance, without. @scans: the workloads with scans, of a tree; else the others, and inserts. */
static int ycsb_measure(struct bench *b, struct ycsb_table t[2], bool scans)
{
	struct atoll_index_stats stats;
	int rc = 0;

	for (unsigned side = 0; side < 2 && !rc; side++)
		rc = ycsb_load(&t[side], YCSB_RECORDS, IN_FLIGHT);
	for (unsigned i = 0; i < YCSB_WORKLOADS && !rc; i++)
		if ((ycsb_workloads[i].percent[YCSB_SCAN] != 0) == scans)
			rc = ycsb_workload(b, t, &ycsb_workloads[i], scans ? 0.15 : 0.10);
	if (rc || scans)
		return rc;
	rc = ycsb_workload(b, t, NULL, 0.20);
	if (rc)
		return rc;
	atoll_index_stats(t[0].ix, &stats);
	if (stats.split_slots)
		result_one("index.load_factor", (double)stats.split_used / (double)stats.split_slots,
			   "of the slots", -0.85);
	result_one("index.splits", (double)stats.splits, "subtables", 0);
	return 0;
}

/* On two indexes, whose shards are named. */
static int ycsb_pair(struct bench *b, struct atoll_index_options *o, const char *ft,
		     const char *ft_off, bool scans)
{
	struct ycsb_table t[2] = {{.name = ft}, {.name = ft_off}};
	int rc = bench_index_open(&t[0].ix, ft, o);

	o->ft_off = true;
	if (!rc)
		rc = bench_index_open(&t[1].ix, ft_off, o);
	o->ft_off = false;
	if (!rc)
		rc = ycsb_measure(b, t, scans);
	for (unsigned side = 0; side < 2; side++)
		if (t[side].ix)
			atoll_index_close(t[side].ix);
	return rc;
}

/* ---------------------------------------------------------------- nodes */

static int gets_part(struct bench *b, const struct atoll_index_options *o)
{
	struct atoll_index *ix = NULL;
	int rc = bench_index_open(&ix, "b/index", o);

	if (!rc)
		rc = measure(b, ix);
	if (ix)
		atoll_index_close(ix);
	return rc;
}

static int tree_part(const struct atoll_index_options *o)
{
	struct atoll_index *ix = NULL;
	int rc = bench_index_open(&ix, "b/tree", o);

	if (!rc)
		rc = bench_tree_trips(ix);
	if (ix)
		atoll_index_close(ix);
	return rc;
}

int bench_index(struct bench *b)
{
	struct atoll_index_options options = {.name = "bench", .in_flight = IN_FLIGHT};
	bool shm = nodes_shm_works(b);
	char services[4096];
	struct nodes n;
	int rc = nodes_begin(b, &n, shm);

	if (rc)
		return rc;
	result_text("index.port", b->port);
	snprintf(services, sizeof(services),
		 "\n[service index]\nexec = index-shard\nargs = --entries 100000 --heap-mib 128\ncore = %d\n"
		 "\n[service cached]\nexec = index-shard\nargs = --entries 100000 --heap-mib 64\ncore = %d\n"
		 "\n[service tree]\nexec = index-shard\nargs = --type tree --heap-mib 64\ncore = %d\n"
		 "\n[service ft]\nexec = index-shard\nargs = --groups 64 --heap-mib 512\ncore = %d\n"
		 "\n[service ft-off]\nexec = index-shard\nargs = --groups 64 --heap-mib 512\ncore = %d\n"
		 "\n[service tree-ft]\nexec = index-shard\nargs = --type tree --heap-mib 128\ncore = %d\n"
		 "\n[service tree-ft-off]\nexec = index-shard\nargs = --type tree --heap-mib 128\ncore = %d\n"
		 "\n[service crowd]\nexec = index-shard\nargs = --entries 20000 --heap-mib 1024 --lease-ms 5000\ncore = %d\n"
		 "\n[service redis]\nexec = index-shard\nargs = --entries 40000 --heap-mib 256\ncore = %d\n"
		 "\n[service over]\nexec = index-shard\nargs = --entries 400000 --heap-mib 512\ncore = %d\n"
		 "\n[service dtx]\nexec = index-shard\nargs = --groups 64 --heap-mib 768\ncore = %d\n",
		 b->core[1], b->core[1], b->core[1], b->core[1], b->core[1], b->core[1], b->core[1], b->core[1],
		 b->core[1], b->core[1], b->core[1]);
	if (bench_part(b, "scaling"))
		scaling_services(b, services, sizeof(services));
	rc = nodes_up(b, &n, shm, services);
	bench_pin(b->core[0]);
	options.socket = n.socket[0];
	if (!rc && bench_part(b, "get"))
		rc = gets_part(b, &options);
	if (!rc && bench_part(b, "tree"))
		rc = tree_part(&options);
	if (!rc && bench_part(b, "death"))
		rc = measure_more(b, &options);
	if (!rc && bench_part(b, "ycsb"))
		rc = ycsb_pair(b, &options, "b/ft", "b/ft-off", false);
	if (!rc && bench_part(b, "ycsb"))
		rc = ycsb_pair(b, &options, "b/tree-ft", "b/tree-ft-off", true);
	if (!rc && bench_part(b, "redis"))
		rc = redis_measure(b, &n, "b/redis", &options);
	if (!rc && bench_part(b, "clients"))
		rc = clients_measure(b, "b/crowd", &options);
	if (!rc && bench_part(b, "dtx"))
		rc = dtx_measure(b, "b/over", "b/dtx", &options);
	if (!rc && bench_part(b, "scaling"))
		rc = scaling_measure(b, &n, &options);
	nodes_down(&n);
	return rc;
}

#else

int bench_index(struct bench *b)
{
	(void)b;
	fprintf(stderr, "atoll-bench: the index is not in this build\n");
	return -ENOSYS;
}

int beside_index_open(const struct nodes *n, const char *target)
{
	(void)n;
	(void)target;
	return -ENOSYS;
}

int beside_index_gets(uint64_t ns, double *rate)
{
	(void)ns;
	*rate = 0;
	return -ENOSYS;
}

void beside_index_close(void)
{
}

#endif
