/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the death of a client holds others up. A child inserts and deletes one key all the time;
 * it is killed, or stopped, at a random moment, and the parent puts the same key. Where the child
 * had its insert pending, the put must wait until the child is known to be dead. Only those count.
 */
#include "tools/bench/index_death.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/idle.h"

enum {
	TRIES = 120,
	READY_S = 20, /* that a child may take to begin */
};

static const char key[] = "the key that everybody wants";

static void child_run(const char *target, const struct atoll_index_options *options, int ready)
{
	struct atoll_index *ix;
	const char *why;

	if (atoll_index_open(&ix, target, options, &why))
		_exit(1);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		enum atoll_result r = atoll_index_insert(ix, key, sizeof(key) - 1, "v", 1);

		if (atoll_result_class(r) != ATOLL_EXECUTED)
			_exit(1);
		atoll_index_delete(ix, key, sizeof(key) - 1);
	}
}

/* A child that has begun. Its pid, or 0. */
static pid_t child_start(const char *target, const struct atoll_index_options *options)
{
	struct atoll_index_options o = *options;
	pid_t parent = getpid(), pid;
	int p[2];
	char c;

	o.name = "bench-victim";
	o.in_flight = 1;
	if (pipe(p))
		return 0;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		alarm(READY_S); /* for the case that it never ends otherwise */
		if (getppid() == parent)
			child_run(target, &o, p[1]);
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

int death_measure(struct atoll_index *ix, const char *target,
		  const struct atoll_index_options *options, int sig, unsigned want,
		  struct rounds *ms)
{
	uint64_t random = 88172645463325252ull;

	for (unsigned i = 0; i < TRIES && ms->n < want; i++) {
		struct atoll_index_stats from, to;
		enum atoll_result r;
		struct timespec pause;
		uint64_t start, end;
		pid_t pid = child_start(target, options);

		if (!pid)
			return -ECHILD;
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		pause = (struct timespec){.tv_nsec = 1000000 + (long)(random % 3000000)};
		nanosleep(&pause, NULL);
		atoll_index_stats(ix, &from);
		start = clock_now_ns();
		kill(pid, sig);
		r = atoll_index_put(ix, key, sizeof(key) - 1, "mine", 4);
		end = clock_now_ns();
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		atoll_index_stats(ix, &to);
		if (r != ATOLL_OK) {
			fprintf(stderr, "atoll-bench: put beside a dead client: %s\n",
				atoll_result_text(r));
			return -EIO;
		}
		if (to.cleared > from.cleared)
			rounds_add(ms, (double)(end - start) / 1e6);
	}
	return 0;
}
