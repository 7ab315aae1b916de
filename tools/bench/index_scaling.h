/* SPDX-License-Identifier: Apache-2.0 */
/* index_scaling.h - the rate of an index over 1, 2 and 4 shards: in a model, and here. */
#ifndef ATOLL_TOOLS_BENCH_INDEX_SCALING_H
#define ATOLL_TOOLS_BENCH_INDEX_SCALING_H

#include "clients/index/atoll_index.h"
#include "tools/bench/bench.h"
#include "tools/bench/nodes.h"

/* Adds the services and clusters that scaling_measure wants to node b's sections. */
void scaling_services(const struct bench *b, char *sections, size_t size);
/* 0 or negative errno, after a line on stderr. */
int scaling_measure(struct bench *b, const struct nodes *n, const struct atoll_index_options *options);

#endif
