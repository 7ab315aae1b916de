/* SPDX-License-Identifier: Apache-2.0 */
/* What seeing costs: the rate of messages of a build with trace points over that of one without. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/bench.h"

enum { SLICES = 12, SLICE_MS = 20 };

struct helper {
	pid_t pid;
	FILE *to, *from;
};

static int helper_start(struct bench *b, const char *name, struct helper *h)
{
	char path[600], core[2][16];
	int in[2], out[2];
	pid_t parent = getpid();

	snprintf(path, sizeof(path), "%s/tools/bench/%s", b->build, name);
	for (int i = 0; i < 2; i++)
		snprintf(core[i], sizeof(core[i]), "%d", b->core[i]);
	/* no helper keeps the other's open: each ends when its own is closed */
	if (pipe2(in, O_CLOEXEC))
		return -errno;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return -errno;
	}
	h->pid = fork();
	if (h->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
			_exit(1);
		execl(path, path, core[0], core[1], (char *)NULL);
		fprintf(stderr, "atoll-bench: %s: %s\n", path, strerror(errno));
		_exit(1);
	}
	close(in[0]);
	close(out[1]);
	h->to = fdopen(in[1], "w");
	h->from = fdopen(out[0], "r");
	return h->pid > 0 && h->to && h->from ? 0 : -errno;
}

static void helper_end(struct helper *h)
{
	if (h->to)
		fclose(h->to); /* which ends it */
	if (h->from)
		fclose(h->from);
	if (h->pid > 0)
		waitpid(h->pid, NULL, 0);
}

static int ask(struct helper *h, const char *mode, unsigned ms, double *sum)
{
	char line[64];

	fprintf(h->to, "%s %u\n", mode, ms);
	if (fflush(h->to) || !fgets(line, sizeof(line), h->from))
		return -EPIPE;
	*sum += strtod(line, NULL);
	return 0;
}

/* In turn, and each first as often as the other, so that what the machine does meanwhile meets all. */
static int compare(struct helper h[2], const char *mode, unsigned slices, double *ratio)
{
	double with = 0, without = 0;
	int rc = 0;

	for (unsigned i = 0; i < slices && !rc; i++) {
		if (i & 1)
			rc = ask(&h[0], mode, SLICE_MS, &with);
		if (!rc)
			rc = ask(&h[1], "off", SLICE_MS, &without);
		if (!rc && !(i & 1))
			rc = ask(&h[0], mode, SLICE_MS, &with);
	}
	*ratio = without > 0 ? with / without : 0;
	return rc;
}

int bench_tracing(struct bench *b)
{
	struct helper h[2] = {{0}};
	struct rounds off = {0}, on = {0}, rate = {0};
	unsigned slices = b->quick ? 2 : SLICES;
	int rc = helper_start(b, "trace_rate", &h[0]);

	if (!rc)
		rc = helper_start(b, "trace_rate_without", &h[1]);
	for (unsigned i = 0; i < b->rounds && !rc; i++) {
		double ratio, own = 0;

		rc = compare(h, "off", slices, &ratio);
		if (!rc)
			rounds_add(&off, ratio);
		if (!rc)
			rc = compare(h, "on", slices, &ratio);
		if (!rc)
			rounds_add(&on, ratio);
		if (!rc)
			rc = ask(&h[0], "off", SLICE_MS, &own);
		rounds_add(&rate, own);
	}
	for (int i = 0; i < 2; i++)
		helper_end(&h[i]);
	if (rc)
		return rc;
	result("wire.trace_off", &off, "", -0.99);
	result("wire.trace_on", &on, "", -0.7);
	result("wire.message_rate_one_core", &rate, "messages/s", 0);
	return 0;
}
