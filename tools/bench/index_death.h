/* SPDX-License-Identifier: Apache-2.0 */
/* index_death.h - how long a client that dies or hangs holds up one that wants the same key. */
#ifndef ATOLL_TOOLS_BENCH_INDEX_DEATH_H
#define ATOLL_TOOLS_BENCH_INDEX_DEATH_H

#include "clients/index/atoll_index.h"
#include "tools/bench/bench.h"

/**
 * death_measure - from the signal to the end of a put of the same key, in milliseconds.
 * @sig: SIGKILL or SIGSTOP. @want: samples, at most BENCH_ROUNDS; fewer where chance does not give them.
 * Return: 0 or negative errno, after a line on stderr.
 */
int death_measure(struct atoll_index *ix, const char *target,
		  const struct atoll_index_options *options, int sig, unsigned want, struct rounds *ms);

#endif
