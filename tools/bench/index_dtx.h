/* SPDX-License-Identifier: Apache-2.0 */
/* index_dtx.h - the index beside distributed transactions of the usual kind (dtx.h), on the same nodes. */
#ifndef ATOLL_TOOLS_BENCH_INDEX_DTX_H
#define ATOLL_TOOLS_BENCH_INDEX_DTX_H

#include "clients/index/atoll_index.h"
#include "tools/bench/bench.h"

/* @target: an empty index; @memory: the shard whose memory the transactions have. 0 or negative errno, after a line on
 * stderr. */
int dtx_measure(struct bench *b, const char *target, const char *memory, const struct atoll_index_options *options);

#endif
