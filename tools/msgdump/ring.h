/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the trace ring of a living dataplane, read-only.
 *
 * The writer never waits: an entry that was overwritten before it was read is counted as lost. An entry
 * is copied first and its sequence looked at again afterwards, so none is half of two.
 */
#ifndef ATOLL_MSGDUMP_RING_H
#define ATOLL_MSGDUMP_RING_H

#include "proto/proto.h"

struct ring {
	const struct proto_trace_entry *entries;
	const uint64_t *position;
	uint32_t mask;
	int sock; /* the dataplane traces while it is open */
	uint64_t at, lost;
};

/* Asks the dataplane at the control socket @path (CTL_OP_TRACE; with its port's @packets) and maps what
 * it gives. 0, or negative errno after it has said on stderr what is wrong. */
int ring_open(struct ring *r, const char *path, bool packets);
void ring_close(struct ring *r);
/* The next entry, whole. 1, or 0 when there is none. */
int ring_next(struct ring *r, struct proto_trace_entry *out);
/* Has the dataplane ended? */
bool ring_over(const struct ring *r);

#endif
