/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - the client of an index, whatever its type: what connect.c and tests know of it.
 *
 * A core has up to `ops` operations at once, lanes to send their chains on, a heap with the reclamation of
 * what was replaced, a heartbeat, and counts. What an operation does is the engine's: race.h for the hash table,
 * tree.h for the tree. It works on any struct verbs and does no I/O of its own: clock, chunks of heap and
 * questions about other clients come from its owner, so the same code runs over an endpoint, over a simulator, and
 * over a transport that stops after every verb. One thread.
 */
#ifndef ATOLL_CLIENTS_INDEX_CORE_H
#define ATOLL_CLIENTS_INDEX_CORE_H

#include "clients/index/atoll_index.h"
#include "ipc/verbs.h"
#include "proto/index_layout.h"

enum {
	CORE_OPS_MAX = 64,
	CORE_LANES_MAX = 16,
};

/* What a core is given. All of it outlives the core. */
struct core_config {
	struct verbs *verbs;
	const uint32_t *lanes; /* at least one, to the node of the shard */
	unsigned nlanes;
	unsigned ops; /* operations at once, 1 to CORE_OPS_MAX */

	struct atoll_handle table;   /* READ, WRITE, ATOMIC */
	struct atoll_handle control; /* READ */
	struct atoll_handle local;   /* own region for all buffers */
	uint8_t *local_base; /* where local_offset is mapped; 64-aligned, as is the offset */
	uint64_t local_offset;
	uint64_t local_size; /* core_local_size or more */

	/* as index.open answered */
	uint16_t cid, epoch;
	uint64_t heap_offset, heap_size, log_base;
	uint32_t groups; /* of a hash table, with the next two */
	unsigned depth;
	uint64_t table_offset;

	bool ft_off;         /* the control: no log, no epochs in locks, no heartbeats */
	uint32_t cache;      /* what is remembered, a power of two: places of the slot cache (0 none), inner nodes (8 or more) */
	uint32_t beat_us;    /* time between heartbeats; 0 none */
	uint32_t reclaim_us; /* time between looks at the epoch of reclamation; 0: nothing is used again */

	uint32_t suspect_us, busy_us; /* see struct atoll_index_options */
	uint64_t seed;                /* of the jitter in back-off */
	uint64_t tickets;             /* those of operations in doubt count from here */

	void *owner;
	uint64_t (*now_ns)(void *owner);
	/* Ask the shard for a chunk; answered by one of core_chunk_*. Called once until then. Must not call back from
	 * inside. */
	void (*want_chunk)(void *owner);
	/* Tell the shard that this client is suspected; no answer is waited for. */
	void (*suspect)(void *owner, uint16_t cid, uint16_t epoch);
};

struct core;
struct core_engine;

/* Bytes of the local region for @ops operations. */
uint64_t core_local_size(const struct core_engine *engine, unsigned ops);

/* 0, -EINVAL or -ENOMEM. The configuration is copied. */
int core_open(struct core **out, const struct core_engine *engine, const struct core_config *config);

/* Frees it; NULL is nothing. Operations that have not ended are forgotten: see core_abandon. */
void core_close(struct core *k);

const struct core_engine *core_engine(const struct core *k);

/* See atoll_index_submit. */
int core_submit(struct core *k, enum atoll_op op, const void *key, size_t klen, const void *value, size_t vlen,
		atoll_done done, void *arg);

/* See atoll_index_poll. */
int core_poll(struct core *k);

/* Until when nothing is to be done unless a verb completes: in the clock of now_ns; 0: look again soon; UINT64_MAX. */
uint64_t core_next(const struct core *k);

/* Ends all operations now, without the provider: those that may have changed something are in doubt. */
void core_abandon(struct core *k);

/* A chunk has come. */
void core_chunk_add(struct core *k, uint64_t offset, uint64_t size);

/* A segment has come that was a dead client's, and what of it is in use. */
void core_chunk_used(struct core *k, uint64_t offset, uint64_t size, const uint64_t *map);

/* None will: operations that wait for one end with @result and @status. */
void core_chunk_none(struct core *k, enum atoll_result result, unsigned status);

/* Operations, and what else must be polled for; 0 of no core, NULL. */
unsigned core_pending(const struct core *k);

/* Is this client changing structure, on which others may wait? It counts as pending, too. */
bool core_restructuring(const struct core *k);

/* Has a status been seen after which the lanes are of no use? */
bool core_lost(const struct core *k);

/* See atoll_index_dump. */
int core_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);

/* See atoll_index_check. */
int core_check(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report,
	       struct atoll_index_account *out);

/* See atoll_index_repair. */
int core_repair(struct core *k, struct atoll_index_repaired *out);
int core_deaths(struct core *k, uint64_t *out);

/* An operation that ended IN_DOUBT: what is needed to find out later. */
struct core_doubt {
	uint64_t ticket;
	uint64_t at, word; /* table: the slot, and what it was to put there; tree: the node, and the word of its lock */
	uint64_t log_base;
	uint64_t seq; /* table: of its block; tree: the sum of the node's versions from which on it has happened */
	uint16_t cid, epoch;
};

enum { CORE_RECYCLE_MAX = 512 }; /* segments at a time */

/* Segments of the dead, and what of them is in use. */
struct core_recycle {
	uint64_t epoch; /* of reclamation when they were looked at */
	unsigned n;
	struct core_recycled {
		uint32_t number;
		uint16_t cid, epoch; /* owner */
		uint64_t map[INDEX_MAP_SIZE / 8];
	} segment[CORE_RECYCLE_MAX];
};

/* What can be used again of the memory of the dead, to be freed by the caller; NULL: nothing. 0 or negative
 * errno, as atoll_index_recycle. The next call says whether it may be given to the shard; poll until then. */
int core_recycle_find(struct core *k, struct core_recycle **out);
bool core_recycle_ripe(struct core *k, const struct core_recycle *p);

/* Operations that have ended in doubt so far; valid until the core is closed. */
unsigned core_doubts(const struct core *k, const struct core_doubt **out);

/* See atoll_index_resolve: was it executed? -EAGAIN: its client has not been fenced off yet. */
int core_doubt_resolve(struct core *k, const struct core_doubt *d, bool *happened);

/* Counts of this core, to which the owner may add those of earlier ones. */
const struct atoll_index_stats *core_stats(const struct core *k);

#endif
