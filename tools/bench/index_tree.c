/* SPDX-License-Identifier: Apache-2.0 */
/* Round trips of a get and a put on a tree whose inner nodes the client has cached. */
#include <stdio.h>

#include "tools/bench/beside.h"

#ifdef ATOLL_HAVE_INDEX

#include "clients/index/atoll_index.h"

enum {
	ENTRIES = 3000, /* enough for inner nodes on two levels */
};

static int each(struct atoll_index *ix, enum atoll_op op)
{
	for (uint64_t i = 0; i < ENTRIES; i++) {
		uint64_t value = i;
		size_t size = sizeof(value);
		enum atoll_result r;
		char key[24];
		size_t klen = (size_t)snprintf(key, sizeof(key), "key-%016llx",
					       (unsigned long long)(i * 0x9e3779b97f4a7c15ull));

		r = op == ATOLL_GET ? atoll_index_get(ix, key, klen, &value, &size)
				    : atoll_index_put(ix, key, klen, &value, size);
		if (r != ATOLL_OK || value != i) {
			fprintf(stderr, "bench: a %s of a tree: %s\n", atoll_op_name(op),
				atoll_result_text(r));
			return -1;
		}
	}
	return 0;
}

/* 0, or -1 where an operation failed. */
int bench_tree_trips(struct atoll_index *ix);

int bench_tree_trips(struct atoll_index *ix)
{
	static const struct {
		enum atoll_op op;
		const char *key, *mean;
		double goal;
	} steps[] = {{ATOLL_GET, "index.tree_rtts.get", "index.tree_rtts_mean.get", 1},
		     {ATOLL_PUT, "index.tree_rtts.put", "index.tree_rtts_mean.put", 2}};

	if (each(ix, ATOLL_PUT))
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		enum atoll_op op = steps[i].op;
		struct atoll_index_stats from, to;
		unsigned best = 0;

		atoll_index_stats(ix, &from);
		if (each(ix, op))
			return -1;
		atoll_index_stats(ix, &to);
		for (unsigned n = 1; n < 16; n++)
			if (to.trips_hist[op][n] - from.trips_hist[op][n] >
			    to.trips_hist[op][best] - from.trips_hist[op][best])
				best = n;
		result_one(steps[i].key, best, "trips", steps[i].goal);
		result_one(steps[i].mean,
			   (double)(to.round_trips[op] - from.round_trips[op]) / ENTRIES, "trips",
			   0);
	}
	return 0;
}

#endif
