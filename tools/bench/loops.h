/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loops.h - two dataplanes in loops of their own, with client and service inside the loops.
 *
 * What a message or a READ costs between two dataplanes, without a process's turn in between: the client's
 * endpoint is polled by the same thread that turns the first dataplane, the service's by that of the second.
 */
#ifndef ATOLL_TOOLS_BENCH_LOOPS_H
#define ATOLL_TOOLS_BENCH_LOOPS_H

#include "tools/bench/nodes.h"

/* One round: messages that the other dataplane answers itself, and READs of 8 bytes, one at a time. 0 or
 * negative errno. */
int loops_round(struct bench *b, const struct nodes *n, bool shm, struct latency *ping,
		struct latency *read8);
/* Messages a second that the second dataplane parses, routes to a service and answers. */
int loops_forward(struct bench *b, const struct nodes *n, bool shm, double *rate);

#endif
