/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes from the death of a client until repair-worker has repaired all that it left, and at
 * how many points of death the tests of this build find the index whole afterwards.
 */
#include "tools/bench/bench.h"

#ifdef ATOLL_HAVE_INDEX

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clients/index/atoll_index.h"
#include "tools/bench/nodes.h"

enum {
	IN_FLIGHT = 16,
	KEYS = 48, /* few, so that what is begun is met by others */
	OPEN_MS = 15000,
	READY_S = 20,
	GIVE_UP_MS = 5000,
	POLL_US = 100,
	MORE = 100, /* keys that are there all the time: the worker walks past them */
};

static void ignore(void *arg, const struct atoll_outcome *o)
{
	(void)arg;
	(void)o;
}

/* Inserts and deletes for ever, all that may be in flight in flight. */
static void victim(const char *target, const struct atoll_index_options *options, int ready)
{
	struct atoll_index *ix;
	const char *why;
	uint64_t done = 0;

	if (atoll_index_open(&ix, target, options, &why))
		_exit(1);
	for (unsigned i = 0;; i++) {
		char key[32];
		size_t len = (size_t)snprintf(key, sizeof(key), "wanted-%u", i / 2 % KEYS);
		enum atoll_op op = i % 2 ? ATOLL_DELETE : ATOLL_INSERT;
		int rc;

		while ((rc = atoll_index_submit(ix, op, key, len, "value", op == ATOLL_DELETE ? 0 : 5,
						ignore, NULL)) == -EAGAIN) {
			int n = atoll_index_poll(ix);

			if (n < 0)
				_exit(1);
			if (n == 0)
				atoll_index_idle(ix);
			if (done < 100 && (done += (unsigned)n) >= 100 && write(ready, "r", 1) != 1)
				_exit(1);
		}
		if (rc)
			_exit(1);
	}
}

static pid_t victim_start(const char *target, const struct atoll_index_options *options)
{
	struct atoll_index_options o = *options;
	pid_t parent = getpid(), pid;
	int p[2];
	char c;

	o.name = "bench-victim";
	if (pipe(p))
		return 0;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		alarm(READY_S);
		if (getppid() == parent)
			victim(target, &o, p[1]);
		_exit(1);
	}
	close(p[1]);
	if (pid > 0 && read(p[0], &c, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	close(p[0]);
	return pid > 0 ? pid : 0;
}

static int round_run(struct atoll_index *ix, const char *target,
		     const struct atoll_index_options *options, unsigned round, double *ms)
{
	struct timespec pause = {.tv_nsec = 1000000 + (long)(round * 617 % 1000) * 3000};
	uint64_t before, now = 0, start, end;
	pid_t pid;
	int rc = atoll_index_deaths(ix, &before);

	if (rc)
		return rc;
	pid = victim_start(target, options);
	if (!pid)
		return -ECHILD;
	nanosleep(&pause, NULL);
	start = clock_now_ns();
	kill(pid, SIGKILL);
	do {
		usleep(POLL_US);
		rc = atoll_index_repairs(ix, &now);
		end = clock_now_ns();
	} while (!rc && now <= before && end - start < GIVE_UP_MS * 1000000ull);
	waitpid(pid, NULL, 0);
	if (!rc && now <= before)
		rc = -ETIMEDOUT;
	*ms = (double)(end - start) / 1e6;
	return rc;
}

/* Runs a test of this build; adds up what it says of its points. */
static void test_run(const struct bench *b, const char *name, uint64_t *points, unsigned *ran,
		     unsigned *failed)
{
	char command[600], line[512];
	FILE *f;

	snprintf(command, sizeof(command), "'%s/tests/unit/test_%s'", b->build, name);
	command[strlen(command) - 1] = 0;
	if (access(command + 1, X_OK))
		return;
	strcat(command, "' 2>&1");
	f = popen(command, "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		unsigned long n;
		const char *at = strstr(line, " crash points");

		if (!at)
			at = strstr(line, " runs in which both were stopped");
		if (!at)
			at = strstr(line, " points at which");
		if (!at)
			continue;
		while (at > line && at[-1] >= '0' && at[-1] <= '9')
			at--;
		n = strtoul(at, NULL, 10);
		*points += n;
	}
	*ran += 1;
	*failed += pclose(f) != 0;
}

static void points(const struct bench *b)
{
	static const char *const tests[] = {"race_repair", "race_doubt", "race_recycle",
					    "race_crash",  "race_split", "tree_crash"};
	unsigned n = b->quick ? 1 : sizeof(tests) / sizeof(tests[0]), ran = 0, failed = 0;
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++)
		test_run(b, tests[i], &all, &ran, &failed);
	if (!ran)
		return; /* this build has no tests */
	result_one("repair.crash_points", (double)all, "points", 0);
	result_one("repair.failures", failed, "programs", 0);
	result_text("repair.crash_points_of", getenv("ATOLL_TEST_FULL") ? "all" : "a sample; all with ATOLL_TEST_FULL=1");
}

static int fill(struct atoll_index *ix)
{
	for (unsigned i = 0; i < MORE; i++) {
		char key[32];
		size_t len = (size_t)snprintf(key, sizeof(key), "other-%u", i);

		if (atoll_index_put(ix, key, len, "value", 5) != ATOLL_OK)
			return -EIO;
	}
	return 0;
}

int bench_repair(struct bench *b)
{
	struct atoll_index_options options = {.name = "bench", .in_flight = IN_FLIGHT};
	bool shm = nodes_shm_works(b);
	struct atoll_index *ix = NULL;
	struct rounds ms = {0};
	const char *why = "";
	char services[512];
	struct nodes n;
	uint64_t end;
	int rc = nodes_begin(b, &n, shm);

	if (rc)
		return rc;
	result_text("repair.port", b->port);
	snprintf(services, sizeof(services),
		 "\n[service index]\nexec = index-shard\nargs = --entries 20000 --heap-mib 64\ncore = %d\n"
		 "\n[service worker]\nexec = repair-worker\nargs = --target index\ncore = %d\n",
		 b->core[1], b->core[1]);
	rc = nodes_up(b, &n, shm, services);
	bench_pin(b->core[0]);
	options.socket = n.socket[0];
	end = clock_now_ns() + OPEN_MS * 1000000ull;
	while (!rc && (rc = atoll_index_open(&ix, "b/index", &options, &why)) != 0 &&
	       clock_now_ns() < end) {
		usleep(20000);
		rc = 0;
	}
	if (!rc && !ix) {
		fprintf(stderr, "atoll-bench: %s\n", why);
		rc = -EHOSTUNREACH;
	}
	if (!rc)
		rc = fill(ix);
	for (unsigned i = 0; i < b->rounds && !rc; i++) {
		double v;

		rc = round_run(ix, "b/index", &options, i, &v);
		if (!rc)
			rounds_add(&ms, v);
	}
	if (ix)
		atoll_index_close(ix);
	nodes_down(&n);
	if (rc)
		return rc;
	result("repair.recovery_ms", &ms, "ms", 5);
	points(b);
	return 0;
}

#endif
