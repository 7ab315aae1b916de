/* SPDX-License-Identifier: Apache-2.0 */
/*
 * beside.h - what is measured beside rivals, one figure at a time: a client process on node a and what it
 * reaches on node b. One session of each kind; opened once, it waits without work while a rival runs.
 */
#ifndef ATOLL_TOOLS_BENCH_BESIDE_H
#define ATOLL_TOOLS_BENCH_BESIDE_H

#include "tools/bench/nodes.h"

/* wire.c: the service "memory" of node b (memory.h) must be there. 0 or negative errno, all of them. */
int beside_open(const struct nodes *n);
/* READs of 64 bytes, 32 outstanding: how many a second. */
int beside_read64_rate(uint64_t ns, double *rate);
/* READs of 1 MiB, 4 outstanding: bytes a second. */
int beside_read1m(uint64_t ns, double *bytes);
/* READs of 64 bytes, one at a time. */
int beside_read64(unsigned n, struct latency *out);
void beside_close(void);

/* index.c: a shard; it is filled. -ENOSYS: not in this build. */
int beside_index_open(const struct nodes *n, const char *target);
/* Gets, 16 in flight: how many a second. */
int beside_index_gets(uint64_t ns, double *rate);
void beside_index_close(void);

#endif
