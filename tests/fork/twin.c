/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twin PID - a child of a running process, on the same host: snapshot, descriptor there and back, pages,
 * restore. Its output and exit status are the child's.
 *
 *   twin [--force] [--no-pids] [--times] [--pager [--late] [--cut READS]] PID
 *
 * Without --pager all pages are copied at once; with it they come as they are wanted.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/proc/capture.h"
#include "services/fork-pager/proc/restore.h"
#include "tests/fork/fill.h"
#include "tests/fork/local.h"

struct serving {
	struct local *l;
	int pidfd;
};

/* On a thread of its own: whoever traces a child may wait for it, and the pager must not. */
static void *serve(void *arg)
{
	struct serving *s = arg;

	local_serve(s->l, s->pidfd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct capture_options co = {0};
	struct restore_options ro = {.stdio = {-1, -1, -1}, .same_pids = true};
	struct restore_child child;
	struct capture c;
	struct image im;
	struct fill f = {.fd = -1};
	struct local l = {.seed = (uint32_t)getpid()};
	struct space_child *served = NULL;
	struct serving serving;
	pthread_t thread;
	bool pager = false;
	uint8_t *text = NULL;
	size_t len = 0;
	const char *why = "";
	uint64_t begun, stood;
	bool times = false;
	pid_t pid = 0;
	int rc, status;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--force") == 0)
			co.force = true;
		else if (strcmp(argv[i], "--no-pids") == 0)
			ro.same_pids = false;
		else if (strcmp(argv[i], "--times") == 0)
			times = true;
		else if (strcmp(argv[i], "--pager") == 0)
			pager = true;
		else if (strcmp(argv[i], "--late") == 0)
			l.late = true;
		else if (strcmp(argv[i], "--cut") == 0 && i + 1 < argc)
			l.cut = (unsigned)atoi(argv[++i]);
		else
			pid = atoi(argv[i]);
	}
	rc = capture_take(&c, pid, &co);
	if (c.report.text[0])
		fprintf(stderr, "%s", c.report.text);
	if (rc) {
		fprintf(stderr, "twin: snapshot: %s\n", strerror(-rc));
		return 120;
	}
	rc = image_encode(&c.image, &text, &len);
	if (!rc)
		rc = image_decode(&im, text, len, &why);
	if (rc) {
		fprintf(stderr, "twin: descriptor: %s: %s\n", strerror(-rc), why);
		capture_release(&c);
		return 121;
	}
	rc = pager ? local_open(&l, &c.source, text, len) : fill_cache(&f, &c.source);
	free(text);
	if (rc) {
		fprintf(stderr, "twin: pages: %s\n", strerror(-rc));
		capture_release(&c);
		return 122;
	}
	if (times)
		fprintf(stderr, "twin: pause %.3f ms, snapshot %.3f ms, descriptor %zu bytes, %llu pages\n",
			(double)c.pause_ns / 1e6, (double)c.total_ns / 1e6, len,
			(unsigned long long)(pager ? l.size / 4096 : f.pages));
	capture_release(&c);
	ro.cache_fd = pager ? space_fd(l.space) : f.fd;
	ro.runs = pager ? l.runs : f.runs;
	ro.nruns = pager ? l.nruns : f.nruns;
	if (pager) {
		ro.uffd_features = space_features();
		rc = ro.uffd_features ? local_fill(&l, &im) : -ENOSYS;
		if (rc) {
			fprintf(stderr, "twin: pager: %s\n", strerror(-rc));
			return 122;
		}
	}
	begun = clock_now_ns();
	rc = restore_build(&child, &im, &ro);
	stood = clock_now_ns();
	if (child.report.text[0])
		fprintf(stderr, "%s", child.report.text);
	if (!rc && pager) {
		rc = local_child_add(&l, child.uffd, child.places, child.nplaces, &served);
		child.uffd = -1;
	}
	if (!rc && pager) {
		serving = (struct serving){&l, child.pidfd};
		rc = -pthread_create(&thread, NULL, serve, &serving);
	}
	if (!rc)
		rc = restore_run(&child);
	if (rc) {
		fprintf(stderr, "twin: restore: %s\n", strerror(-rc));
		restore_free(&child);
		return 123;
	}
	if (times)
		fprintf(stderr, "twin: build %.3f ms, run %.3f ms\n", (double)(stood - begun) / 1e6,
			(double)(clock_now_ns() - stood) / 1e6);
	if (pager) {
		pthread_join(thread, NULL);
		space_child_end(served);
	}
	if (waitpid(child.pid, &status, 0) != child.pid)
		return 124;
	if (pager && times) {
		const struct space_stats *st = space_stats(l.space);

		fprintf(stderr,
			"twin: %llu faults, %llu fetched in %llu, %llu mapped, %llu zero, %llu cached; "
			"%llu forks, %llu moves, %llu empties, %llu unmaps; %llu again, %llu lost\n",
			(unsigned long long)st->faults, (unsigned long long)st->fetched,
			(unsigned long long)st->reads, (unsigned long long)st->mapped,
			(unsigned long long)st->zero, (unsigned long long)st->cached,
			(unsigned long long)st->forks, (unsigned long long)st->moves,
			(unsigned long long)st->empties, (unsigned long long)st->unmaps,
			(unsigned long long)st->again, (unsigned long long)st->lost);
	}
	child.pid = 0;
	restore_free(&child);
	image_free(&im);
	fill_free(&f);
	local_close(&l);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "twin: the child was ended by signal %d\n", WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}
