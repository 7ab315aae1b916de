/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many clients of one table, each a process of its own, all with YCSB's workload A on the same records: does the
 * rate collapse, and is each served? All of them share the first core; the shard's node has the second.
 */
#include "tools/bench/index_clients.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/ycsb_run.h"

enum {
	RECORDS = 2000,
	WINDOW = 4,
	MOST = 64,
	START_S = 40, /* until all have begun */
	WARM_NS = 20000000,
};

/* Of the parent and its children. */
struct crowd {
	uint32_t ready, go, failed;
	double rate[MOST];
};

static void child_run(struct crowd *crowd, struct ycsb_table t, const char *target,
		      const struct atoll_index_options *options, unsigned i, uint64_t ns)
{
	const char *why = "";
	double warm;

	if (atoll_index_open(&t.ix, target, options, &why)) {
		fprintf(stderr, "atoll-bench: client %u: %s\n", i, why);
		goto failed;
	}
	if (ycsb_run(&t, &ycsb_workloads[0], WINDOW, i + 1, WARM_NS, &warm))
		goto failed;
	__atomic_fetch_add(&crowd->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&crowd->go, __ATOMIC_ACQUIRE)) {
		atoll_index_poll(t.ix); /* it lives */
		usleep(2000);
	}
	if (ycsb_run(&t, &ycsb_workloads[0], WINDOW, 100 + i, ns, &crowd->rate[i]))
		goto failed;
	atoll_index_close(t.ix);
	_exit(0);
failed:
	__atomic_fetch_add(&crowd->failed, 1, __ATOMIC_RELEASE);
	_exit(1);
}

/* @n at once for @ns. Their rates added up, and the slowest one's over the mean. */
static int crowd_run(struct ycsb_table *t, const char *target,
		     const struct atoll_index_options *options, unsigned n, uint64_t ns, double *rate,
		     double *fairness)
{
	struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t end = clock_now_ns() + START_S * 1000000000ull;
	double slowest = 0;
	pid_t pid[MOST], parent = getpid();
	unsigned began = 0;

	if (crowd == MAP_FAILED)
		return -errno;
	for (; began < n; began++) {
		pid[began] = fork();
		if (pid[began] < 0)
			break;
		if (pid[began] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() == parent)
				child_run(crowd, *t, target, options, began, ns);
			_exit(1);
		}
	}
	while (began == n && __atomic_load_n(&crowd->ready, __ATOMIC_ACQUIRE) < n &&
	       !__atomic_load_n(&crowd->failed, __ATOMIC_ACQUIRE) && clock_now_ns() < end)
		usleep(1000);
	if (began < n || crowd->ready < n)
		for (unsigned i = 0; i < began; i++)
			kill(pid[i], SIGKILL);
	__atomic_store_n(&crowd->go, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < began; i++) {
		int status = 1;

		waitpid(pid[i], &status, 0);
		crowd->failed += status != 0;
	}
	*rate = 0;
	for (unsigned i = 0; i < n; i++) {
		*rate += crowd->rate[i];
		slowest = i == 0 || crowd->rate[i] < slowest ? crowd->rate[i] : slowest;
	}
	*fairness = *rate > 0 ? slowest * n / *rate : 0;
	began = crowd->failed;
	munmap(crowd, sizeof(*crowd));
	return began ? -EIO : 0;
}

int clients_measure(struct bench *b, const char *target, const struct atoll_index_options *options)
{
	static const unsigned counts[] = {1, 4, 16, MOST};
	struct atoll_index_options o = *options;
	struct ycsb_table t = {.name = "crowd"};
	struct rounds rate[4] = {{{0}, 0}}, fair[4] = {{{0}, 0}};
	unsigned rounds = b->quick ? 1 : b->rounds < 3 ? b->rounds : 3;
	double best = 0;
	char key[64];
	int rc;

	o.name = "bench-crowd";
	rc = bench_index_open(&t.ix, target, &o);
	if (rc)
		return rc;
	rc = ycsb_load(&t, RECORDS, WINDOW);
	atoll_index_close(t.ix);
	o.in_flight = WINDOW;
	o.busy_ms = o.answer_ms = 20000; /* a client may wait long for its turn of the core */
	for (unsigned r = 0; r < rounds && !rc; r++)
		for (unsigned i = 0; i < 4 && !rc; i++) {
			/* Each must have had several turns of the core that they share. */
			uint64_t ns = (b->quick ? 50000000ull : 300000000ull) * (i > 1 ? 6 : 1);
			double v = 0, f = 0;

			rc = crowd_run(&t, target, &o, counts[i], ns, &v, &f);
			rounds_add(&rate[i], v);
			rounds_add(&fair[i], f);
		}
	for (unsigned i = 0; i < 4 && !rc; i++) {
		best = rounds_median(&rate[i]) > best ? rounds_median(&rate[i]) : best;
		snprintf(key, sizeof(key), "index.clients.%u", counts[i]);
		result(key, &rate[i], "op/s", 0);
		snprintf(key, sizeof(key), "index.clients_slowest_over_mean.%u", counts[i]);
		result(key, &fair[i], "of the mean", i ? -0.5 : 0);
	}
	if (!rc)
		result_one("index.clients_64_over_best", rounds_median(&rate[3]) / best, "of the best",
			   -0.8);
	return rc;
}
