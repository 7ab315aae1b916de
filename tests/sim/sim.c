/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll-sim: runs seeds of the simulation (world.h).
 *
 * usage: atoll-sim [--seeds N] [--first S] [--seed S] [--verbose] [--planted NAME]
 *
 * --seeds N runs N seeds from --first on (default: $ATOLL_SIM_SEEDS or 1000, from $ATOLL_SEED or 1);
 * --seed S runs that one. --planted NAME, in a build that has planted faults, switches one on and succeeds
 * when a seed of the first 2,000 finds it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/dp.h"
#include "dataplane/roce/roce.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

enum { PLANTED_SEEDS = 2000 };

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void print_hits(void)
{
	printf("\n%-14s", "struck");
	for (unsigned f = 0; f < SIM_FAULTS; f++)
		printf("%10s", sim_fault_names[f]);
	printf("\n");
	for (unsigned s = 0; s < SIM_STEPS; s++) {
		printf("%-14s", sim_step_names[s]);
		for (unsigned f = 0; f < SIM_FAULTS; f++)
			printf("%10llu", (unsigned long long)sim_hits[f][s]);
		printf("\n");
	}
}

static uint64_t number(const char *text, uint64_t otherwise)
{
	char *end;
	uint64_t n;

	if (!text || !*text)
		return otherwise;
	n = strtoull(text, &end, 10);
	if (*end) {
		fprintf(stderr, "atoll-sim: %s is not a number\n", text);
		exit(2);
	}
	return n;
}

static int plant(const char *name)
{
#ifdef ATOLL_PLANTED_BUGS
	static const struct {
		const char *name;
		unsigned *mask, bit;
	} bugs[] = {
		{"no-replay", &roce_planted, ROCE_PLANT_NO_REPLAY},
		{"no-icrc", &roce_planted, ROCE_PLANT_NO_ICRC},
		{"late-qp", &roce_planted, ROCE_PLANT_LATE_QP},
		{"no-fence", &dp_planted, DP_PLANTED_NO_FENCE},
		{"lost-credit", &dp_planted, DP_PLANTED_LOST_CREDIT},
	};

	for (unsigned i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++)
		if (!strcmp(bugs[i].name, name)) {
			*bugs[i].mask |= bugs[i].bit;
			return 0;
		}
	fprintf(stderr, "atoll-sim: no such fault: %s\n", name);
	return 2;
#else
	fprintf(stderr, "atoll-sim: this build has no planted faults (%s): -Dplanted_bugs=true\n", name);
	return 77;
#endif
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seeds", 1, NULL, 'n'},   {"first", 1, NULL, 'f'},   {"seed", 1, NULL, 's'},
		{"verbose", 0, NULL, 'v'}, {"planted", 1, NULL, 'p'}, {NULL, 0, NULL, 0}};
	uint64_t count = number(getenv("ATOLL_SIM_SEEDS"), 1000);
	uint64_t first = number(getenv("ATOLL_SEED"), 1), failed = 0;
	struct sim_totals t = {0};
	const char *planted = NULL;
	double start = seconds(), told = start;
	int verbose = 0, c, rc;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'n':
			count = number(optarg, 0);
			break;
		case 'f':
			first = number(optarg, 0);
			break;
		case 's':
			first = number(optarg, 0);
			count = 1;
			break;
		case 'v':
			verbose++;
			break;
		case 'p':
			planted = optarg;
			count = PLANTED_SEEDS;
			break;
		default:
			return 2;
		}
	if (planted && (rc = plant(planted)) != 0)
		return rc;
	for (uint64_t seed = first; seed < first + count; seed++) {
		const char *why = sim_run(seed, verbose, &t);

		if (why && planted) {
			printf("%s: found by seed %llu: %s\n", planted, (unsigned long long)seed, why);
			return 0;
		}
		if (why) {
			printf("seed %llu FAILED: %s\n  replay: atoll-sim --seed %llu --verbose\n",
			       (unsigned long long)seed, why, (unsigned long long)seed);
			if (++failed == 5)
				break;
		}
		if (seconds() - told > 10) {
			told = seconds();
			printf("%llu seeds, %.0f s\n", (unsigned long long)(seed - first + 1),
			       told - start);
			fflush(stdout);
		}
	}
	if (planted) {
		printf("%s: NOT found in %d seeds\n", planted, PLANTED_SEEDS);
		return 1;
	}
	if (count > 1)
		print_hits();
	printf("\n%llu seeds from %llu, %llu failed, %.1f s: %llu messages, %llu verbs, %llu ended OK, "
	       "%llu refused, %llu in doubt; %llu processes and %llu nodes crashed, %llu fences, "
	       "%llu revocations, %llu waits for room\n",
	       (unsigned long long)count, (unsigned long long)first, (unsigned long long)failed,
	       seconds() - start, (unsigned long long)t.messages, (unsigned long long)t.verbs,
	       (unsigned long long)t.ok, (unsigned long long)t.refused, (unsigned long long)t.doubt,
	       (unsigned long long)t.crashes, (unsigned long long)t.node_crashes,
	       (unsigned long long)t.fences, (unsigned long long)t.revokes,
	       (unsigned long long)t.agains);
	return failed ? 1 : 0;
}
