/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How right netreq is: programs are recorded with the device in their own process, and each recording is played
 * over two real nodes whose link has delay and rate; what that takes, beside what the formula says it takes.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/bench/gpu.h"

enum { ERRORS_MAX = 32, TRIES = 3 };

static const struct {
	const char *name;
	unsigned warm, steps; /* what is recorded is the program as it runs once its kernels are compiled */
} programs[] = {{"matmul", 100, 10}, {"training", 120, 20}, {"nbody", 10, 10}};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int record(struct bench *b, const char *path, unsigned p)
{
	struct work w = {0};
	double ns;
	int rc;

	setenv("ATOLL_GPU_TRACE", path, 1);
	setenv("ATOLL_GPU_TRACE_RANGE", "profiler", 1);
	rc = work_start(b, &w, "gpu_work_local", b->core[1], "cpu", NULL);
	unsetenv("ATOLL_GPU_TRACE");
	unsetenv("ATOLL_GPU_TRACE_RANGE");
	if (!rc)
		rc = work_ask(&w, &ns, 1, "%s %u", programs[p].name, programs[p].warm);
	if (!rc)
		rc = work_ask(&w, &ns, 1, "record 1");
	if (!rc)
		rc = work_ask(&w, &ns, 1, "%s %u", programs[p].name, programs[p].steps);
	work_end(&w);
	return rc;
}

/* The number behind @key in what netreq prints as JSON. */
static int netreq(struct bench *b, const char *arguments, const char *path, const char *const *keys, double *out,
		  unsigned n)
{
	char command[1024], text[16384], quoted[64];
	const char *at;
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command), "'%s/tools/netreq/netreq' %s '%s'", b->build, arguments, path);
	f = popen(command, "re");
	if (!f)
		return -errno;
	len = fread(text, 1, sizeof(text) - 1, f);
	text[len] = 0;
	if (pclose(f))
		return -EIO;
	for (unsigned k = 0; k < n; k++) {
		snprintf(quoted, sizeof(quoted), "\"%s\":", keys[k]);
		at = strstr(text, quoted);
		if (!at)
			return -EPROTO;
		out[k] = strtod(at + strlen(quoted), NULL);
	}
	return 0;
}

/* Once, and again if others had the cores. */
static int replay(struct bench *b, const char *path, double us, double gbps, double *error, double *sim_error,
		  bool *disturbed)
{
	static const char *const keys[] = {"error", "sim_error", "disturbed"};
	char arguments[160];
	double v[3];
	int rc = 0;

	snprintf(arguments, sizeof(arguments), "replay --json --rounds 3 --delay-us %.1f --gbps %.4f --cores %d,%d", us,
		 gbps, b->core[0], b->core[1]);
	for (unsigned i = 0; i < TRIES && !rc; i++) {
		rc = netreq(b, arguments, path, keys, v, 3);
		if (rc || !(v[2] > 0))
			break;
	}
	*error = v[0];
	*sim_error = v[1];
	*disturbed = v[2] > 0;
	return rc;
}

/* At the least bandwidth that keeps the budget, and at half of it. */
static int minimum(struct bench *b, const char *path)
{
	static const char *const keys[] = {"gbps_min", "overhead_at_minimum", "overhead_at_half"};
	char arguments[96];
	double v[3];
	int rc = 0;

	snprintf(arguments, sizeof(arguments), "replay --json --minimum --cores %d,%d", b->core[0], b->core[1]);
	for (unsigned i = 0; i < TRIES; i++) {
		rc = netreq(b, arguments, path, keys, v, 3);
		if (!rc)
			break;
	}
	if (rc) { /* netreq has said why: most likely others have the cores */
		result_text("gpu.netreq.gbps_min", "not known: netreq replay --minimum failed");
		return 0;
	}
	result_one("gpu.netreq.gbps_min", v[0], "Gb/s", 0);
	result_one("gpu.netreq.overhead_at_minimum", v[1], "", 0.05);
	result_one("gpu.netreq.overhead_at_half", v[2], "", -0.05);
	return 0;
}

int gpu_netreq(struct bench *b, const char *dir)
{
	static const double delays[] = {5, 20, 100}, rates[] = {0.1, 1, 10};
	double errors[ERRORS_MAX], sims[ERRORS_MAX];
	unsigned disturbed = 0;
	char path[256];
	unsigned n = 0;
	int rc = 0;

	for (unsigned p = 0; p < 3 && !rc; p++) {
		snprintf(path, sizeof(path), "%s/%s.trace", dir, programs[p].name);
		if (b->quick && p != 1)
			continue;
		rc = record(b, path, p);
		for (unsigned k = 0; k < 9 && !rc; k++) {
			bool others = false;

			if (b->quick && k != 4)
				continue;
			rc = replay(b, path, delays[k / 3], rates[k % 3], &errors[n], &sims[n], &others);
			n += !rc;
			disturbed += others;
		}
		if (!rc && p == 1 && !b->quick)
			rc = minimum(b, path);
		unlink(path);
	}
	if (rc)
		return rc;
	qsort(sims, n, sizeof(sims[0]), by_size);
	qsort(errors, n, sizeof(errors[0]), by_size);
	result_one("gpu.netreq.error_median", n % 2 ? errors[n / 2] : (errors[n / 2 - 1] + errors[n / 2]) / 2, "", 0.05);
	result_one("gpu.netreq.error_worst", errors[n - 1], "", 0.15);
	result_one("gpu.netreq.sim_error_worst", sims[n - 1], "", 0.15);
	result_one("gpu.netreq.disturbed", disturbed, "", 0);
	return 0;
}
