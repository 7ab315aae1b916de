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

enum { ERRORS_MAX = 32 };

static const struct {
	const char *name, *ask;
} programs[] = {{"matmul", "matmul 2"}, {"training", "training 10"}, {"nbody", "nbody 1"}};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int record(struct bench *b, const char *path, const char *ask)
{
	struct work w = {0};
	double ns;
	int rc;

	setenv("ATOLL_GPU_TRACE", path, 1);
	rc = work_start(b, &w, "gpu_work_local", b->core[1], "cpu", NULL);
	unsetenv("ATOLL_GPU_TRACE");
	if (!rc)
		rc = work_ask(&w, &ns, 1, "%s", ask);
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

static int replay(struct bench *b, const char *path, unsigned rounds, double us, double gbps, double *error,
		  double *overhead)
{
	static const char *const keys[] = {"measured_ms", "local_ms", "error"};
	char arguments[160];
	double v[3];
	int rc;

	snprintf(arguments, sizeof(arguments),
		 "replay --json --rounds %u --delay-us %.1f --gbps %.4f --cores %d,%d", rounds, us, gbps, b->core[0],
		 b->core[1]);
	rc = netreq(b, arguments, path, keys, v, 3);
	*error = v[2];
	*overhead = rc ? 0 : v[0] / v[1] - 1;
	return rc;
}

/* At the least bandwidth that is printed, and at half of it. */
static int minimum(struct bench *b, const char *path)
{
	static const char *const keys[] = {"gbps_min"};
	double gbps = 0, error, at = 0, half = 0;
	int rc = netreq(b, "--json", path, keys, &gbps, 1);

	if (rc || gbps <= 0)
		return rc;
	rc = replay(b, path, 3, 0, gbps, &error, &at);
	if (!rc)
		rc = replay(b, path, 3, 0, gbps / 2, &error, &half);
	result_one("gpu.netreq.gbps_min", gbps, "Gb/s", 0);
	result_one("gpu.netreq.overhead_at_minimum", at, "", 0.05);
	result_one("gpu.netreq.overhead_at_half", half, "", -0.05);
	return rc;
}

int gpu_netreq(struct bench *b, const char *dir)
{
	static const double delays[] = {5, 20, 100}, rates[] = {0.1, 1, 10};
	double errors[ERRORS_MAX], overhead;
	char path[256];
	unsigned n = 0;
	int rc = 0;

	for (unsigned p = 0; p < 3 && !rc; p++) {
		snprintf(path, sizeof(path), "%s/%s.trace", dir, programs[p].name);
		if (b->quick && p != 1)
			continue;
		rc = record(b, path, programs[p].ask);
		for (unsigned k = 0; k < 9 && !rc; k++) {
			if (b->quick && k != 4)
				continue;
			rc = replay(b, path, 1, delays[k / 3], rates[k % 3], &errors[n], &overhead);
			n += !rc;
		}
		if (!rc && p == 1 && !b->quick)
			rc = minimum(b, path);
		unlink(path);
	}
	if (rc)
		return rc;
	qsort(errors, n, sizeof(errors[0]), by_size);
	result_one("gpu.netreq.error_median", n % 2 ? errors[n / 2] : (errors[n / 2 - 1] + errors[n / 2]) / 2, "", 0.05);
	result_one("gpu.netreq.error_worst", errors[n - 1], "", 0.15);
	return 0;
}
