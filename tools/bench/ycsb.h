/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ycsb.h - the operations of the Yahoo! Cloud Serving Benchmark's core workloads, without its
 * harness.
 *
 * Which record an operation is about follows one of four distributions: uniform; zipf, whose
 * popular records are the first ones (Gray et al., "Quickly generating billion-record synthetic
 * databases", 1994, constant 0.99); scrambled zipf, which draws from 10^10 and hashes the draw over
 * the records, so that the popular ones lie anywhere; latest, zipf counted back from the newest
 * record. The key of record i is "user" and FNV-64 of i. A to F are the standard mixtures.
 */
#ifndef ATOLL_TOOLS_BENCH_YCSB_H
#define ATOLL_TOOLS_BENCH_YCSB_H

#include <stddef.h>
#include <stdint.h>

enum ycsb_dist {
	YCSB_UNIFORM,
	YCSB_ZIPF,
	YCSB_SCRAMBLED,
	YCSB_LATEST,
};

enum ycsb_op {
	YCSB_READ,
	YCSB_UPDATE,
	YCSB_INSERT,
	YCSB_SCAN,
	YCSB_RMW, /* read, then write the same record */
};

struct ycsb_workload {
	const char *name;
	enum ycsb_dist dist;
	uint8_t percent[YCSB_RMW + 1]; /* by operation */
};

enum {
	YCSB_WORKLOADS = 6,
	YCSB_KEY_MAX = 24 + 1,
	YCSB_SCAN_MAX = 100
};

/* A to F. */
extern const struct ycsb_workload ycsb_workloads[YCSB_WORKLOADS];

struct ycsb {
	enum ycsb_dist dist;
	uint64_t random;
	uint64_t records;  /* there now; an insert adds one */
	uint64_t zeta_for; /* records that zetan is of */
	double zetan, zeta2, alpha, eta;
};

/* @seed: any. @records: at least 1. */
void ycsb_begin(struct ycsb *y, enum ycsb_dist dist, uint64_t records, uint64_t seed);
/* The number of a record, below y->records. */
uint64_t ycsb_record(struct ycsb *y);
/* What to do next. */
enum ycsb_op ycsb_op(struct ycsb *y, const struct ycsb_workload *w);
/* Records of a scan: 1 to YCSB_SCAN_MAX, uniform. */
uint32_t ycsb_scan_length(struct ycsb *y);
/* The key of a record, with a NUL; returns its length. */
size_t ycsb_key(uint64_t record, char key[YCSB_KEY_MAX]);
uint64_t ycsb_fnv64(uint64_t v);

#endif
