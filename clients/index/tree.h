/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - operations on a tree, by verbs alone.
 *
 * The engine of core.h for an index of type tree; docs/index-tree.md has the protocol and why it is right.
 * Operations run side by side, each a small state machine with one chain out at a time:
 *
 *	get		READ leaf | [READ block]
 *	put		[WRITE block,] CAS lock, READ leaf | WRITE bucket, WRITE head, WRITE unlock
 *	put, split	the same, with the WRITE of a new node before; then the parent, as a put
 *	scan		READ leaf | [READ blocks] | READ next leaf ...
 *
 * with the inner nodes on the way in the client's cache; where they are not, a READ each.
 *
 * How an operation ends when a verb fails: one whose bucket may have been written is IN_DOUBT; anything earlier
 * leaves nothing that changes what is read, so it was not executed; once its head was written it was. No
 * verb is sent twice but one that was certainly not executed.
 */
#ifndef ATOLL_CLIENTS_INDEX_TREE_H
#define ATOLL_CLIENTS_INDEX_TREE_H

#include "clients/index/core.h"

extern const struct core_engine tree_engine;

/**
 * tree_scan - hand over the entries from a key on, in order; see atoll_index_scan.
 * @from: first key, or where there is none the one that would follow; @flen 0: from the end.
 * @reverse: downwards. @limit: entries at most, 0 all.
 * @entry: called from inside polls, like @done; a return other than 0 ends the scan.
 * Return: as core_submit.
 */
int tree_scan(struct core *k, const void *from, size_t flen, bool reverse, uint64_t limit,
	      atoll_entry entry, atoll_scan_done done, void *arg);

/* Offset in the table region of the node (or of the node whose block) that was damaged, of the last operation that ended
 * CORRUPT; 0 none did. */
uint64_t tree_bad_at(const struct core *k);

#endif
