/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - what the benchmarks share: time, samples, rounds, pinned processes, results.
 *
 * A figure is the median of several rounds. Where it is a ratio, each round measures the thing and its
 * raw probe one after the other on the same cores, so that what the machine does meanwhile meets both;
 * the spread of the rounds is printed beside it. Latencies are taken one by one, by the time stamp counter.
 */
#ifndef ATOLL_TOOLS_BENCH_H
#define ATOLL_TOOLS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/idle.h"

enum { BENCH_ROUNDS = 7, BENCH_ROUNDS_QUICK = 3 };

struct bench {
	bool json, quick;
	unsigned rounds;
	int core[2];	    /* the two that everything is pinned to */
	const char *build;  /* directory of the build: where programs are */
	const char *port;   /* what nodes are joined by, for people */
	const char *part;   /* the only part of a benchmark to run, or NULL */
};

/* Is this part of a benchmark to run? */
bool bench_part(const struct bench *b, const char *name);

/* A moment, in ticks of the fastest steady counter. */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return clock_now_ns();
#endif
}

/* Nanoseconds of one tick: measured by bench_begin. */
extern double bench_tick_ns;

/* Measures the tick, takes a little precedence where that is allowed. */
void bench_begin(struct bench *b);

struct latency {
	double p50, p99, p999; /* ns */
};

/* Percentiles of @n samples in ticks, which get sorted. */
struct latency bench_latency(uint32_t *ticks, size_t n);

/* One value a round. */
struct rounds {
	double v[BENCH_ROUNDS];
	unsigned n;
};

void rounds_add(struct rounds *r, double v);
double rounds_median(const struct rounds *r);

/* Latencies of all rounds of one thing. */
struct latency_rounds {
	struct rounds p50, p99, p999;
};

void latency_add(struct latency_rounds *r, struct latency l);

/**
 * result - a figure by its key, dots as nesting: the median of the rounds, and their spread.
 * @goal: the largest good value; negative: minus the smallest good one; 0: none is set.
 */
void result(const char *key, const struct rounds *r, const char *unit, double goal);
/* prefix_p50_ns and so on. */
void result_latency(const char *prefix, const struct latency_rounds *r);
void result_one(const char *key, double value, const char *unit, double goal);
void result_text(const char *key, const char *text);
/* Print everything: one JSON object, or a table. */
void results_print(const struct bench *b);

void bench_pin(int core);
/* Memory that children share, zero. Ends the program if there is none. */
void *bench_shared(size_t size);
/* A child pinned to @core that runs @f and ends; it dies with its parent. */
pid_t bench_fork(int core, void (*f)(void *), void *arg);
void bench_kill(pid_t pid);
/* Spin until *@flag; gives up after ten seconds: -ETIMEDOUT. */
int bench_wait(const uint32_t *flag);

/* The benchmarks. 0 or negative errno, after a line on stderr. */
int bench_ipc(struct bench *b);
int bench_wire(struct bench *b);
int bench_tracing(struct bench *b); /* of wire */
int bench_index(struct bench *b);
int bench_repair(struct bench *b);
int bench_gpu(struct bench *b);
int bench_fork_remote(struct bench *b);
int bench_ops(struct bench *b);
int bench_rivals(struct bench *b);

#endif
