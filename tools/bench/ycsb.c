/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/ycsb.h"

#include <math.h>
#include <stdio.h>

#define THETA          0.99
#define SCRAMBLED_N    10000000000ull
#define SCRAMBLED_ZETA 26.46902820178302 /* zeta(10^10, 0.99) */

const struct ycsb_workload ycsb_workloads[YCSB_WORKLOADS] = {
	{"A", YCSB_SCRAMBLED, {[YCSB_READ] = 50, [YCSB_UPDATE] = 50}},
	{"B", YCSB_SCRAMBLED, {[YCSB_READ] = 95, [YCSB_UPDATE] = 5}},
	{"C", YCSB_SCRAMBLED, {[YCSB_READ] = 100}},
	{"D", YCSB_LATEST, {[YCSB_READ] = 95, [YCSB_INSERT] = 5}},
	{"E", YCSB_SCRAMBLED, {[YCSB_SCAN] = 95, [YCSB_INSERT] = 5}},
	{"F", YCSB_SCRAMBLED, {[YCSB_READ] = 50, [YCSB_RMW] = 50}},
};

static uint64_t next(struct ycsb *y)
{
	uint64_t x = y->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static double uniform(struct ycsb *y)
{
	return (double)(next(y) >> 11) * 0x1p-53;
}

static uint64_t below(struct ycsb *y, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)next(y) * n) >> 64);
}

/* zeta(n) is a sum, which grows with the records. */
static void zipf_prepare(struct ycsb *y, uint64_t n)
{
	if (y->zeta_for == n)
		return;
	for (uint64_t i = y->zeta_for; i < n; i++)
		y->zetan += 1 / pow((double)(i + 1), THETA);
	y->zeta_for = n;
	y->eta = (1 - pow(2.0 / (double)n, 1 - THETA)) / (1 - y->zeta2 / y->zetan);
}

static uint64_t zipf(struct ycsb *y, uint64_t n)
{
	double u = uniform(y), uz = u * y->zetan;
	uint64_t r;

	if (uz < 1)
		return 0;
	if (uz < 1 + pow(0.5, THETA))
		return n > 1;
	r = (uint64_t)((double)n * pow(y->eta * u - y->eta + 1, y->alpha));
	return r < n ? r : n - 1;
}

void ycsb_begin(struct ycsb *y, enum ycsb_dist dist, uint64_t records, uint64_t seed)
{
	*y = (struct ycsb){
		.dist = dist,
		.random = seed,
		.records = records,
		.zeta2 = 1 + pow(0.5, THETA),
		.alpha = 1 / (1 - THETA),
	};
	if (dist == YCSB_SCRAMBLED) {
		y->zetan = SCRAMBLED_ZETA;
		y->eta =
			(1 - pow(2.0 / (double)SCRAMBLED_N, 1 - THETA)) / (1 - y->zeta2 / y->zetan);
	} else if (dist != YCSB_UNIFORM) {
		zipf_prepare(y, records);
	}
}

uint64_t ycsb_fnv64(uint64_t v)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < 8; i++, v >>= 8)
		h = (h ^ (v & 0xff)) * 1099511628211ull;
	return (int64_t)h < 0 ? -h : h;
}

uint64_t ycsb_record(struct ycsb *y)
{
	switch (y->dist) {
	case YCSB_UNIFORM:
		return below(y, y->records);
	case YCSB_SCRAMBLED:
		return ycsb_fnv64(zipf(y, SCRAMBLED_N)) % y->records;
	case YCSB_ZIPF:
		zipf_prepare(y, y->records);
		return zipf(y, y->records);
	case YCSB_LATEST:
		zipf_prepare(y, y->records);
		return y->records - 1 - zipf(y, y->records);
	}
	return 0;
}

enum ycsb_op ycsb_op(struct ycsb *y, const struct ycsb_workload *w)
{
	unsigned p = (unsigned)below(y, 100), op = YCSB_READ;

	while (op < YCSB_RMW && p >= w->percent[op])
		p -= w->percent[op++];
	return (enum ycsb_op)op;
}

uint32_t ycsb_scan_length(struct ycsb *y)
{
	return 1 + (uint32_t)below(y, YCSB_SCAN_MAX);
}

size_t ycsb_key(uint64_t record, char key[YCSB_KEY_MAX])
{
	return (size_t)snprintf(key, YCSB_KEY_MAX, "user%llu",
				(unsigned long long)ycsb_fnv64(record));
}
