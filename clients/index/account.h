/* SPDX-License-Identifier: Apache-2.0 */
/*
 * account.h - what became of the heap: a walk through an index marks what it meets, and then each segment
 * is counted against what the shard has handed out.
 *
 * What was handed out is a log, or reachable, or free or in flight with a client that lives, or was left by a dead
 * one. Two things must not lie on one another, nor where nothing was handed out.
 */
#ifndef ATOLL_CLIENTS_INDEX_ACCOUNT_H
#define ATOLL_CLIENTS_INDEX_ACCOUNT_H

#include "clients/index/atoll_index.h"
#include "proto/index_layout.h"

/* Units of the heap that a walk has met. */
struct account_marks {
	uint64_t *bits;
	uint64_t heap_offset, units;
	uint64_t overlaps, outside;
};

void account_mark(struct account_marks *m, uint64_t at, uint64_t room);
bool account_marked(const struct account_marks *m, uint64_t at);

/* Adds segment @i. @lines: the client table, copied. */
void account_segment(const struct account_marks *m, uint64_t i, const struct index_segment *s,
		     const uint8_t *lines, struct atoll_index_account *a);

#endif
