/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race.h - operations on a table in RACE's layout, by verbs alone.
 *
 * The engine behind atoll_index.h. It works on any struct verbs and does no I/O of its own: clock,
 * chunks of heap and questions about other clients come from its owner, so the same code runs
 * over an endpoint, over a simulator, and over a transport that stops after every verb. One thread.
 * Up to `ops` operations run at once, each a small state machine:
 *
 *	get	READ both combined buckets | READ the block
 *	update	WRITE block, READ both | READ block with the fingerprint | CAS old -> new
 *	delete	READ both | READ block with the fingerprint | CAS old -> tomb; and unwaited, CAS tomb -> 0
 *	insert	WRITE block, READ both | CAS 0 -> PEND, READ both | CAS PEND -> live
 *	put	update where the key is there, insert where it is not
 *	split	CAS lock | WRITE record | READ all | FAA each slot | READ all | READ keys | WRITE
 *		halves
 *
 * With the slot cache (race_cache.c) a get that hits takes one round trip, an update or delete two.
 *
 * A bar is a round trip. A fingerprint that turns out to be another key's costs one more.
 *
 * Why an insert is right: two clients that insert the same key into different slots must not both
 * succeed, and a get that reads the slots one after the other must not miss a put that has ended.
 * Each puts its word with PEND, which no reader sees, and then reads both buckets again. Of two
 * such inserts the one whose CAS came later sees the other: it is in a READ after its own CAS. If it
 * sees a committed copy, or PEND in a slot before its own, it withdraws (CAS PEND -> 0) and starts
 * again; if it sees PEND in a slot after its own it waits until that one has withdrawn or
 * committed. So at most one commits, and it commits by one CAS after which every READ sees it.
 * tests/unit/test_insert_model.c checks the protocol over all interleavings.
 *
 * A client that died leaves at most a block without a slot, or PEND. Whoever is held up by PEND
 * learns its owner from the block's header, looks at the owner's line of the client table, and
 * tells its shard that it suspects it. When the line says that the owner is fenced off, and only
 * then, the word is removed (CAS PEND -> 0): no verb of the owner can come later.
 *
 * How an operation ends when a verb fails: only a lost answer to the one CAS that publishes makes
 * it IN_DOUBT, and race_doubt_resolve tells later whether it happened. A lost answer to anything earlier leaves nothing that anybody sees, so it was not
 * executed. Nothing that changes the table is ever sent twice, but for a verb that was certainly
 * not executed.
 *
 * Chains obey ipc/verbs.h without fences. An operation has one chain out at a time, and operations
 * need no order among each other, so they may share lanes as they like.
 */
#ifndef ATOLL_CLIENTS_INDEX_RACE_H
#define ATOLL_CLIENTS_INDEX_RACE_H

#include "clients/index/atoll_index.h"
#include "ipc/verbs.h"
#include "proto/index_layout.h"

enum {
	RACE_OPS_MAX = 64,
	RACE_LANES_MAX = 16,
};

/* What the engine is given. All of it outlives the engine. */
struct race_config {
	struct verbs *verbs;
	const uint32_t *lanes; /* at least one, to the node of the shard */
	unsigned nlanes;
	unsigned ops; /* operations at once, 1 to RACE_OPS_MAX */

	struct atoll_handle table;   /* READ, WRITE, ATOMIC */
	struct atoll_handle control; /* READ */
	struct atoll_handle local;   /* own region for all buffers */
	uint8_t *local_base; /* where local_offset is mapped; 64-aligned, as is the offset */
	uint64_t local_offset;
	uint64_t local_size; /* race_local_size(ops) or more */

	/* as index.open answered */
	uint16_t cid, epoch;
	uint32_t groups;
	unsigned depth;
	uint64_t table_offset, heap_offset, heap_size, log_base;
	bool ft_off;      /* the control: no log, no epochs in locks, no heartbeats */
	uint32_t cache;   /* places of the slot cache, a power of two; 0 none */
	uint32_t beat_us; /* time between heartbeats; 0 none */
	uint32_t reclaim_us; /* time between looks at the epoch of reclamation; 0: nothing is used again */

	uint32_t suspect_us, busy_us; /* see struct atoll_index_options */
	uint64_t seed;                /* of the jitter in back-off */
	uint64_t tickets;             /* those of operations in doubt count from here */

	void *owner;
	uint64_t (*now_ns)(void *owner);
	/* Ask the shard for a chunk; answered by race_chunk_add or race_chunk_none. Called once
	 * until then. Must not call back from inside. */
	void (*want_chunk)(void *owner);
	/* Tell the shard that this client is suspected; no answer is waited for. */
	void (*suspect)(void *owner, uint16_t cid, uint16_t epoch);
};

/* An operation that ended IN_DOUBT: what is needed to find out later. */
struct race_doubt {
	uint64_t ticket;
	uint64_t slot, word; /* which it was to put there */
	uint64_t log_base, seq;
	uint16_t cid, epoch;
};

enum { RACE_RECYCLE_MAX = 512 }; /* segments at a time */

/* Segments of the dead, and what of them is in use. */
struct race_recycle {
	uint64_t epoch; /* of reclamation when they were looked at */
	unsigned n;
	struct race_recycled {
		uint32_t number;
		uint16_t cid, epoch; /* owner */
		uint64_t map[INDEX_MAP_SIZE / 8];
	} segment[RACE_RECYCLE_MAX];
};

struct race;

/* Bytes of the local region for @ops operations and the walk through the table. */
uint64_t race_local_size(unsigned ops);

/* 0, -EINVAL or -ENOMEM. The configuration is copied. */
int race_open(struct race **out, const struct race_config *config);

/* Frees it. Operations that have not ended are forgotten: see race_abandon. */
void race_close(struct race *r);

/* See atoll_index_submit. */
int race_submit(struct race *r, enum atoll_op op, const void *key, size_t klen, const void *value,
		size_t vlen, atoll_done done, void *arg);

/* See atoll_index_poll. */
int race_poll(struct race *r);

/* Ends all operations now, without the provider: those that have sent their CAS are in doubt. */
void race_abandon(struct race *r);

/* A chunk has come. */
void race_chunk_add(struct race *r, uint64_t offset, uint64_t size);

/* A segment has come that was a dead client's, and what of it is in use. */
void race_chunk_used(struct race *r, uint64_t offset, uint64_t size, const uint64_t *map);

/* What can be used again of the memory of the dead, to be freed by the caller; NULL: nothing. 0 or negative
 * errno, as atoll_index_recycle. The next call says whether it may be given to the shard; poll until then. */
int race_recycle_find(struct race *r, struct race_recycle **out);
bool race_recycle_ripe(struct race *r, const struct race_recycle *p);

/* None will: operations that wait for one end with @result and @status. */
void race_chunk_none(struct race *r, enum atoll_result result, unsigned status);

unsigned race_pending(const struct race *r);

/* Is this client splitting a subtable, on which others may wait? It counts as pending, too. */
bool race_splitting(const struct race *r);

/* Has a status been seen after which the lanes are of no use? */
bool race_lost(const struct race *r);

/* See atoll_index_dump. */
int race_dump(struct race *r, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);

/* See atoll_index_check. */
int race_check(struct race *r, atoll_progress progress, void *arg, struct atoll_index_report *report,
	       struct atoll_index_account *out);

/* See atoll_index_repair. */
int race_repair(struct race *r, struct atoll_index_repaired *out);
int race_deaths(struct race *r, uint64_t *out);
int race_repairs(struct race *r, uint64_t *out);

/* Operations that have ended in doubt so far; valid until the engine is closed. */
unsigned race_doubts(const struct race *r, const struct race_doubt **out);

/* See atoll_index_resolve: was it executed? -EAGAIN: its client has not been fenced off yet. */
int race_doubt_resolve(struct race *r, const struct race_doubt *d, bool *happened);

/* Counts of this engine, to which the owner may add those of earlier ones. */
const struct atoll_index_stats *race_stats(const struct race *r);

#endif
