/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder.h - flight recorders: the last records of a node's dataplanes, also of those that have ended.
 *
 * The node's supervisor hands out what its keeper holds. A recorder is written without regard for
 * readers, and its dataplane may have died in the middle of an entry or gone mad before: what comes out
 * is a copy, each entry of which was whole when it was written last, and may hold anything.
 */
#ifndef ATOLL_MSGDUMP_RECORDER_H
#define ATOLL_MSGDUMP_RECORDER_H

#include "proto/proto.h"

enum { RECORDER_ENTRIES_MAX = 32768 };

struct recorder {
	struct proto_recorder_head head;
	struct proto_trace_entry *entries; /* from the oldest on; of each no more than the recorder keeps */
	unsigned count;
};

/* @back: 0 the last dataplane that was started, 1 the one before. 0; 1: there are no more; negative errno,
 * said on stderr. */
int recorder_get(struct recorder *r, const char *run_dir, unsigned back);
/* From memory, for tests: @size bytes of a recorder. 0, -EPROTO it is none, -ENOMEM. */
int recorder_parse(struct recorder *r, const void *memory, size_t size);
void recorder_free(struct recorder *r);

#endif
