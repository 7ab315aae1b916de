/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.h - one request across nodes, by its trace id, as a waterfall.
 *
 * Events of all nodes are gathered and put in one order. Each node has a clock of its own; what one node
 * is ahead of another is estimated from the messages between them, as NTP does: half of the difference
 * between the shortest ways there and back that were seen (one way only: the shortest counts as no time).
 */
#ifndef ATOLL_MSGDUMP_FOLLOW_H
#define ATOLL_MSGDUMP_FOLLOW_H

#include <stdio.h>

#include "tools/msgdump/event.h"

enum { FOLLOW_EVENTS_MAX = 4096, FOLLOW_WIDTH = 40 };

struct follow {
	uint32_t trace_id;
	struct event *events;
	unsigned count;
	bool full; /* there were more */
	int64_t offset_ns[256]; /* by node: to be added to its times */
};

/* 0 or -ENOMEM. */
int follow_begin(struct follow *f, uint32_t trace_id);
/* Keeps @ev if it is a message of the trace. */
void follow_add(struct follow *f, const struct event *ev);
/* Have all requests that were seen been answered where they came from? */
bool follow_complete(const struct follow *f);
/* Estimates offsets, sorts. */
void follow_order(struct follow *f);
void follow_print(const struct follow *f, FILE *to);
void follow_end(struct follow *f);

#endif
