/* SPDX-License-Identifier: Apache-2.0 */
/* index_clients.h - the rate of an index with 1, 4, 16 and 64 clients, and how evenly it is shared; and beside Redis. */
#ifndef ATOLL_TOOLS_BENCH_INDEX_CLIENTS_H
#define ATOLL_TOOLS_BENCH_INDEX_CLIENTS_H

#include "clients/index/atoll_index.h"
#include "tools/bench/nodes.h"

/* Opens an index, whose link and shard may still be on their way up. 0 or negative errno, after a line on stderr. */
int bench_index_open(struct atoll_index **ix, const char *target, const struct atoll_index_options *o);

/* index.over_redis: beside redis-server, or why it is not. On an empty table. 0 or negative errno. */
int redis_measure(struct bench *b, const struct nodes *n, const char *target, const struct atoll_index_options *options);

/* On an empty table. 0 or negative errno, after a line on stderr. */
int clients_measure(struct bench *b, const char *target, const struct atoll_index_options *options);

#endif
