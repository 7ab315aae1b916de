/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - operations on a tree, by verbs alone.
 *
 * The engine behind atoll_index.h for an index of type tree; docs/index-tree.md has the protocol and why
 * it is right. Like the hash table's (race.h) it works on any struct verbs and does no I/O of its
 * own: clock, chunks of heap and questions about other clients come from its owner. One thread. Up to
 * `ops` operations run at once, each a small state machine with one chain out at a time:
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

#include "clients/index/atoll_index.h"
#include "ipc/verbs.h"

enum {
	TREE_OPS_MAX = 64,
	TREE_LANES_MAX = 16,
};

/* What the engine is given. All of it outlives the engine. */
struct tree_config {
	struct verbs *verbs;
	const uint32_t *lanes; /* at least one, to the node of the shard */
	unsigned nlanes;
	unsigned ops; /* operations at once, 1 to TREE_OPS_MAX */

	struct atoll_handle table;   /* READ, WRITE, ATOMIC */
	struct atoll_handle control; /* READ */
	struct atoll_handle local;   /* own region for all buffers */
	uint8_t *local_base;	     /* where local_offset is mapped; 64-aligned, as is the offset */
	uint64_t local_offset;
	uint64_t local_size; /* tree_local_size(ops) or more */

	/* as index.open answered */
	uint16_t cid, epoch;
	uint64_t heap_offset, heap_size, log_base;
	bool ft_off;	  /* the control: no epochs in locks, no heartbeats */
	uint32_t cache;	  /* inner nodes remembered, a power of two, at least 8 */
	uint32_t beat_us; /* time between heartbeats; 0 none */
	uint32_t reclaim_us; /* time between looks at the epoch of reclamation; 0: nothing is used again */

	uint32_t suspect_us, busy_us; /* see struct atoll_index_options */
	uint64_t seed;		      /* of the jitter in back-off */

	void *owner;
	uint64_t (*now_ns)(void *owner);
	/* As those of struct race_config. */
	void (*want_chunk)(void *owner);
	void (*suspect)(void *owner, uint16_t cid, uint16_t epoch);
};

struct tree;

/* Bytes of the local region for @ops operations. */
uint64_t tree_local_size(unsigned ops);

/* 0, -EINVAL or -ENOMEM. The configuration is copied. */
int tree_open(struct tree **out, const struct tree_config *config);

/* Frees it. Operations that have not ended are forgotten: see tree_abandon. */
void tree_close(struct tree *t);

/* See atoll_index_submit. */
int tree_submit(struct tree *t, enum atoll_op op, const void *key, size_t klen, const void *value,
		size_t vlen, atoll_done done, void *arg);

/**
 * tree_scan - hand over the entries from a key on, in order; see atoll_index_scan.
 * @from: first key, or where there is none the one that would follow; @flen 0: from the end.
 * @reverse: downwards. @limit: entries at most, 0 all.
 * @entry: called from inside polls, like @done; a return other than 0 ends the scan.
 * Return: as tree_submit.
 */
int tree_scan(struct tree *t, const void *from, size_t flen, bool reverse, uint64_t limit,
	      atoll_entry entry, atoll_scan_done done, void *arg);

/* See atoll_index_poll. */
int tree_poll(struct tree *t);

/* Ends all operations now, without the provider: those that may have changed something are in doubt. */
void tree_abandon(struct tree *t);

/* A chunk has come. */
void tree_chunk_add(struct tree *t, uint64_t offset, uint64_t size);

/* None will: operations that wait for one end with @result and @status. */
void tree_chunk_none(struct tree *t, enum atoll_result result, unsigned status);

unsigned tree_pending(const struct tree *t);

/* Has a status been seen after which the lanes are of no use? */
bool tree_lost(const struct tree *t);

/* See atoll_index_dump: the entries in order. */
int tree_dump(struct tree *t, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);

/* Offset in the table region of the node (or of the node whose block) that was damaged, of the last operation that ended
 * CORRUPT; 0 none did. */
uint64_t tree_bad_at(const struct tree *t);

/* See atoll_index_check; of the report `subtables` are nodes, and a damaged one ends the walk. */
int tree_check(struct tree *t, atoll_progress progress, void *arg,
	       struct atoll_index_report *report, struct atoll_index_account *out);

/* See atoll_index_repair; of its counts `subtables` are nodes. */
int tree_repair(struct tree *t, struct atoll_index_repaired *out);
int tree_deaths(struct tree *t, uint64_t *deaths);

/* Counts of this engine. */
const struct atoll_index_stats *tree_stats(const struct tree *t);

#endif
