/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twin PID - a child of a running process, on the same host and without a pager: snapshot, descriptor
 * there and back, all pages at once, restore. Its output and exit status are the child's.
 *
 *   twin [--force] [--no-pids] [--times] PID
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/proc/capture.h"
#include "services/fork-pager/proc/restore.h"
#include "tests/fork/fill.h"

int main(int argc, char **argv)
{
	struct capture_options co = {0};
	struct restore_options ro = {.stdio = {-1, -1, -1}, .same_pids = true};
	struct restore_child child;
	struct capture c;
	struct image im;
	struct fill f;
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
	free(text);
	if (rc) {
		fprintf(stderr, "twin: descriptor: %s: %s\n", strerror(-rc), why);
		capture_release(&c);
		return 121;
	}
	rc = fill_cache(&f, &c.source);
	if (rc) {
		fprintf(stderr, "twin: pages: %s\n", strerror(-rc));
		capture_release(&c);
		return 122;
	}
	if (times)
		fprintf(stderr, "twin: pause %.3f ms, snapshot %.3f ms, descriptor %zu bytes, %llu pages\n",
			(double)c.pause_ns / 1e6, (double)c.total_ns / 1e6, len,
			(unsigned long long)f.pages);
	capture_release(&c);
	ro.cache_fd = f.fd;
	ro.runs = f.runs;
	ro.nruns = f.nruns;
	begun = clock_now_ns();
	rc = restore_build(&child, &im, &ro);
	stood = clock_now_ns();
	if (child.report.text[0])
		fprintf(stderr, "%s", child.report.text);
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
	if (waitpid(child.pid, &status, 0) != child.pid)
		return 124;
	child.pid = 0;
	restore_free(&child);
	image_free(&im);
	fill_free(&f);
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "twin: the child was ended by signal %d\n", WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}
