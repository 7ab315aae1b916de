/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ycsb_run.h - YCSB's workloads on an index.
 *
 * Records have the standard size, 1,000 bytes (ten fields of a hundred, here one value), and there are
 * `window` operations in flight. A read is a get, an update a put of the whole record, a
 * read-modify-write a get and, when its value has come, a put. As in the original, only records whose
 * insert has been acknowledged are read. Workload E scans ranges of 1 to 100 records, uniformly, and needs a tree.
 */
#ifndef ATOLL_TOOLS_BENCH_YCSB_RUN_H
#define ATOLL_TOOLS_BENCH_YCSB_RUN_H

#include "clients/index/atoll_index.h"
#include "tools/bench/ycsb.h"

enum {
	YCSB_VALUE = 1000, /* bytes of a record */
	YCSB_WINDOW_MAX = 64,
};

/* A table with YCSB's records in it. It keeps them over any number of workloads. */
struct ycsb_table {
	struct atoll_index *ix;
	const char *name;     /* for messages */
	uint64_t records;     /* 0 to records - 1 are there */
	uint64_t next;	      /* the next insert's */
	uint64_t acked;	      /* bit i: records + i is there, too */
};

/* Inserts the first @n records. 0 or negative errno, after a line on stderr. */
int ycsb_load(struct ycsb_table *t, uint64_t n, unsigned window);

/**
 * ycsb_run - run one workload for a while.
 * @w: NULL: inserts only. @seed: same seed, same operations.
 * @rate: operations a second; a read-modify-write is one.
 * Return: 0; -EIO where an operation failed, a record was missing or wrong, or negative errno; after a
 * line on stderr.
 */
int ycsb_run(struct ycsb_table *t, const struct ycsb_workload *w, unsigned window, uint64_t seed,
	     uint64_t ns, double *rate);

#endif
