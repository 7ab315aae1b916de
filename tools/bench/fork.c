/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remote fork: a process of node a forked onto node b by the command afork, as a user does it. Times begin before afork
 * is started, so they have its own start in them. What a plain fork costs is measured by the program itself, just before.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/nodes.h"

enum { TEXT_MAX = 16384, PATIENCE_MS = 60000, UP_TRIES = 500, CHILDREN = 64, SMALL_MIB = 1 };

struct program {
	pid_t pid;
	int out;
	size_t len;
	char text[TEXT_MAX];
};

static char afork[600], work[600], node[2][96];

static int start(struct program *p, const char *const argv[])
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	p->len = 0;
	p->text[0] = 0;
	p->out = fds[0];
	p->pid = fork();
	if (p->pid == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(null, 0) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[1], 2) < 0)
			_exit(126);
		syscall(SYS_close_range, 3, ~0u, 0);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	if (p->pid > 0)
		return 0;
	close(fds[0]);
	return -EAGAIN;
}

/* Until it has said @what, or with NULL until it has nothing more to say. */
static int hear(struct program *p, const char *what)
{
	uint64_t end = clock_now_ns() + PATIENCE_MS * 1000000ull;

	while (p->len < TEXT_MAX - 1 && clock_now_ns() < end) {
		struct pollfd w = {.fd = p->out, .events = POLLIN};
		ssize_t n;

		if (poll(&w, 1, 100) <= 0)
			continue;
		n = read(p->out, p->text + p->len, TEXT_MAX - 1 - p->len);
		if (n <= 0)
			return what ? -ECHILD : 0;
		p->len += (size_t)n;
		p->text[p->len] = 0;
		if (what && strstr(p->text, what))
			return 0;
	}
	return -ETIMEDOUT;
}

static void end(struct program *p)
{
	bench_kill(p->pid);
	close(p->out);
}

/* To its end. 0, or negative errno after what it said. */
static int run(struct program *p, const char *const argv[])
{
	int rc = start(p, argv), status = 0;

	if (rc)
		return rc;
	rc = hear(p, NULL);
	if (rc) {
		end(p);
		return rc;
	}
	close(p->out);
	if (waitpid(p->pid, &status, 0) != p->pid || status) {
		fprintf(stderr, "atoll-bench: %s %s: %s", argv[0], argv[3] ? argv[3] : "", p->text);
		return -ECHILD;
	}
	return 0;
}

static int number(const struct program *p, const char *name, double *out)
{
	const char *at = strstr(p->text, name);

	if (!at) {
		fprintf(stderr, "atoll-bench: fork: no \"%s\" in: %s", name, p->text);
		return -EBADMSG;
	}
	*out = strtod(at + strlen(name), NULL);
	return 0;
}

/* Handle of a new snapshot of @pid. */
static int prepare(struct program *said, pid_t pid, char handle[96])
{
	char text[16];
	const char *const argv[] = {afork, "--node", node[0], "-v", "prepare", text, NULL};
	int rc;

	snprintf(text, sizeof(text), "%d", pid);
	rc = run(said, argv);
	if (rc)
		return rc;
	for (char *line = said->text, *save; (line = strtok_r(line, "\n", &save)); line = NULL)
		if (strncmp(line, "afork:", 6) != 0 && strchr(line, '/'))
			snprintf(handle, 96, "%s", line);
		else
			memmove(said->text, line, strlen(line) + 1);
	return 0;
}

static int reclaim(const char *handle)
{
	static struct program p;
	const char *const argv[] = {afork, "--node", node[0], "reclaim", "--force", handle, NULL};

	return run(&p, argv);
}

/* A child on node b: when it first ran, after afork was started. */
static int resume(struct program *said, const char *handle, const char *count, double *first_ms)
{
	const char *const argv[] = {afork, "--node", node[1], "resume", "-n", count, handle, NULL};
	uint64_t begun = clock_now_ns();
	double bad = 0, first = 0;
	const char *at;
	int rc = run(said, argv);

	at = rc ? NULL : strstr(said->text, "first_ns ");
	if (!rc && !at)
		rc = -EBADMSG;
	if (!rc)
		rc = number(said, "bad ", &bad);
	if (rc || bad > 0)
		return rc ? rc : -EIO;
	first = (double)(strtoull(at + 9, NULL, 10) - begun);
	*first_ms = first / 1e6;
	return 0;
}

struct figures {
	struct rounds first, cached, pause, pause_over, plain, touch_first, touch_cached, descriptor;
};

/* One life of a process of so many MiB: a snapshot, a first child, a later one. */
static int life(const char *mib, const char *does, struct figures *f)
{
	static struct program parent, said;
	const char *const argv[] = {work, mib, does, NULL};
	char handle[96] = "";
	double plain = 0, plain_touch = 0, v = 0, first = 0;
	int rc = start(&parent, argv);

	if (rc)
		return rc;
	rc = hear(&parent, "ready");
	if (!rc)
		rc = number(&parent, "plain_fork_ms ", &plain);
	if (!rc)
		rc = number(&parent, "plain_touch_ms ", &plain_touch);
	if (!rc)
		rc = prepare(&said, parent.pid, handle);
	if (!rc)
		rc = number(&said, "paused for ", &v);
	if (!rc) {
		rounds_add(&f->plain, plain);
		rounds_add(&f->pause, v);
		rounds_add(&f->pause_over, v / plain);
		rc = number(&said, "descriptor of ", &v);
		rounds_add(&f->descriptor, v);
	}
	for (unsigned i = 0; i < 2 && !rc; i++) {
		rc = resume(&said, handle, "1", &first);
		if (!rc)
			rc = number(&said, "touch_ms ", &v);
		rounds_add(i ? &f->cached : &f->first, first);
		rounds_add(i ? &f->touch_cached : &f->touch_first, v / plain_touch);
	}
	end(&parent);
	if (handle[0] && !rc)
		rc = reclaim(handle);
	return rc;
}

static int sizes(const struct bench *b)
{
	static const char *const mib[] = {"64", "512"};
	static const double pause_goal[] = {3.5, 15};
	int rc = 0;

	for (unsigned i = 0; i < 2 && !rc; i++) {
		struct figures f = {0};
		char key[64];

		for (unsigned k = 0; k < b->rounds && !rc; k++)
			rc = life(mib[i], i ? "exit" : "touch", &f); /* touching 512 MiB says no more */
		if (rc)
			break;
		snprintf(key, sizeof(key), "fork.first_instruction_ms.%s", mib[i]);
		result(key, &f.first, "ms, the first child of a node", 3.5);
		snprintf(key, sizeof(key), "fork.first_instruction_cached_ms.%s", mib[i]);
		result(key, &f.cached, "ms, later ones", 3.5);
		snprintf(key, sizeof(key), "fork.parent_pause_ms.%s", mib[i]);
		result(key, &f.pause, "ms", pause_goal[i]);
		snprintf(key, sizeof(key), "fork.plain_fork_ms.%s", mib[i]);
		result(key, &f.plain, "ms, plain fork(2)", 0);
		snprintf(key, sizeof(key), "fork.parent_pause_over_fork.%s", mib[i]);
		result(key, &f.pause_over, "over plain fork(2)", 0);
		snprintf(key, sizeof(key), "fork.descriptor_bytes.%s", mib[i]);
		result(key, &f.descriptor, "bytes", 16384);
		if (i == 0) {
			result("fork.touch100_over_local.first", &f.touch_first, "over a local fork", 2.5);
			result("fork.touch100_over_local.cached", &f.touch_cached, "over a local fork", 1.2);
		}
	}
	return rc;
}

/* Small children, run and reaped. */
static int rate(const struct bench *b)
{
	static struct program parent, said;
	const char *const argv[] = {work, "1", "exit", NULL};
	struct rounds per_s = {0}, over = {0};
	char handle[96] = "", count[8];
	double plain = 0, first;
	int rc = start(&parent, argv);

	if (rc)
		return rc;
	snprintf(count, sizeof(count), "%d", CHILDREN);
	rc = hear(&parent, "ready");
	if (!rc)
		rc = number(&parent, "plain_whole_ms ", &plain);
	if (!rc)
		rc = prepare(&said, parent.pid, handle);
	if (!rc)
		rc = resume(&said, handle, "1", &first);
	for (unsigned k = 0; k < b->rounds && !rc; k++) {
		uint64_t t = clock_now_ns();

		rc = resume(&said, handle, count, &first);
		t = clock_now_ns() - t;
		rounds_add(&per_s, CHILDREN * 1e9 / (double)t);
		rounds_add(&over, CHILDREN * 1e6 / (double)t * plain);
	}
	end(&parent);
	if (!rc)
		rc = reclaim(handle);
	if (rc)
		return rc;
	result("fork.children_per_s", &per_s, "1/s", -350);
	result("fork.children_over_fork_rate", &over, "of plain fork, exit, wait", -0.2);
	return 0;
}

/* The same script, warm on another node and cold here: when its first statement after the imports runs. */
static int python(const struct bench *b)
{
	static const char script[] =
		"import argparse, asyncio, decimal, email.message, http.client, json, logging, sqlite3, time, os, sys\n"
		"p = os.getppid()\n"
		"if sys.argv[1] == 'wait':\n"
		"    print('ready', flush=True)\n"
		"    while os.getppid() == p: time.sleep(0.0001)\n"
		"print('first_ns', time.monotonic_ns())\nprint('bad 0')\n";
	static struct program parent, said;
	const char *const warm[] = {"python3", "-c", script, "wait", NULL};
	const char *const cold[] = {"python3", "-c", script, "run", NULL};
	struct rounds first = {0}, times = {0};
	char handle[96] = "";
	double ms;
	int rc = start(&parent, warm);

	if (rc)
		return rc;
	rc = hear(&parent, "ready");
	if (!rc)
		rc = prepare(&said, parent.pid, handle);
	for (unsigned k = 0; k < b->rounds && !rc; k++) {
		uint64_t begun;
		const char *at;

		rc = resume(&said, handle, "1", &ms);
		begun = clock_now_ns();
		if (!rc)
			rc = run(&said, cold);
		at = rc ? NULL : strstr(said.text, "first_ns ");
		if (!rc && !at)
			rc = -EBADMSG;
		if (rc)
			break;
		rounds_add(&first, ms);
		rounds_add(&times, (double)(strtoull(at + 9, NULL, 10) - begun) / 1e6 / ms);
	}
	end(&parent);
	if (!rc)
		rc = reclaim(handle);
	if (rc)
		return rc;
	result("fork.python_first_statement_ms", &first, "ms", 8);
	result("fork.python_cold_over_fork", &times, "times a cold start", -20);
	return 0;
}

/* Faults of the last children of node b, from reading the message to waking who waits. */
static int faults(void)
{
	static struct program said;
	const char *const argv[] = {afork, "--node", node[1], "stat", NULL};
	double us = 0;
	int rc = run(&said, argv);

	if (!rc)
		rc = number(&said, "mean fault, us", &us);
	if (!rc)
		result_one("fork.page_fetch_us.window", us, "us, mean of all faults, windows of 32 pages", 0);
	return rc;
}

static int ready(void)
{
	static struct program said;

	for (unsigned i = 0; i < 2; i++) {
		const char *const argv[] = {afork, "--node", node[i], "ls", NULL};
		int rc = -1;

		for (unsigned k = 0; k < UP_TRIES && rc; k++) {
			int status = 0;

			rc = start(&said, argv);
			if (rc)
				return rc;
			rc = hear(&said, NULL);
			close(said.out);
			if (waitpid(said.pid, &status, 0) != said.pid || status)
				rc = -EAGAIN;
			if (rc)
				usleep(10000);
		}
		if (rc) {
			fprintf(stderr, "atoll-bench: no fork-pager on node %c: %s", 'a' + (int)i, said.text);
			return rc;
		}
	}
	return 0;
}

int bench_fork_remote(struct bench *b)
{
	char section[2][96];
	struct nodes n;
	bool shm = nodes_shm_works(b);
	int rc = nodes_begin(b, &n, shm);

	if (rc)
		return rc;
	snprintf(afork, sizeof(afork), "%s/services/fork-pager/afork", b->build);
	snprintf(work, sizeof(work), "%s/tools/bench/fork_work", b->build);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(section[i], sizeof(section[i]), "\n[service fork-pager]\nexec = fork-pager\ncore = %d\n", b->core[i]);
		snprintf(node[i], sizeof(node[i]), "%.60s/%c", n.dir, 'a' + (int)i);
	}
	n.services_a = section[0];
	rc = nodes_up(b, &n, shm, section[1]);
	if (!rc)
		rc = ready();
	if (!rc)
		rc = rate(b);
	if (!rc)
		rc = sizes(b);
	if (!rc)
		rc = faults();
	if (!rc)
		rc = python(b);
	if (!rc)
		result_text("fork.port", b->port);
	nodes_down(&n);
	return rc;
}
