/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race_op.h - insides of the engine of race.h: one operation, and what race.c (life of operations,
 * heap, posting) and race_step.c (the state machine) offer each other.
 */
#ifndef ATOLL_CLIENTS_INDEX_RACE_OP_H
#define ATOLL_CLIENTS_INDEX_RACE_OP_H

#include "clients/index/account.h"
#include "clients/index/core_op.h"
#include "clients/index/kv.h"
#include "clients/index/race.h"
#include "proto/atoll_proto.h"

enum {
	RACE_SLOTS = 4 * INDEX_BUCKET_SLOTS, /* of the two combined buckets of a key */
	RACE_SEEN = 64, /* blocks remembered by an operation; over twice RACE_SLOTS */
	/* local memory of an operation, in bytes from its start */
	RACE_LOCAL_OLD = 0,        /* old value of its CAS */
	RACE_LOCAL_OUTCOME = 8,    /* of a dead client's tomb */
	RACE_LOCAL_CLIENT = 64,    /* line of the client table */
	RACE_LOCAL_COMBINED = 128, /* two combined buckets */
	RACE_LOCAL_HEAD = 384,     /* first line of the subtable */
	RACE_LOCAL_BLOCK = 448,    /* its own block; at least the header and the key */
	RACE_LOCAL_READ = RACE_LOCAL_BLOCK + INDEX_KV_ROOM_MAX, /* blocks that it reads */
	RACE_LOCAL_OP = RACE_LOCAL_READ + INDEX_KV_ROOM_MAX,
	/* local memory of the walk, after the operations */
	RACE_DUMP_GROUPS = 512, /* groups of a READ: 96 KiB */
	RACE_DUMP_TABLE = RACE_DUMP_GROUPS * INDEX_GROUP_SIZE,
	RACE_DUMP_BLOCKS = VERB_CHAIN_MAX * INDEX_KV_ROOM_MAX,
	/* local memory of a split, after that of the walk */
	RACE_SUB_MAX = INDEX_LINE + INDEX_GROUPS_MAX * INDEX_GROUP_SIZE,
	RACE_SUB_SLOTS = INDEX_GROUPS_MAX * INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS,
	RACE_SPLIT_CHAINS = 16, /* out at once */
	RACE_SPLIT_KEY = 1088,  /* bytes read of a block: header and key */
	RACE_SPLIT_RTX = 0,
	RACE_SPLIT_NEXT = RTX_LOCAL,                   /* 8 bytes that lead on */
	RACE_SPLIT_SCRATCH = RACE_SPLIT_NEXT + 16,     /* old values that nobody wants */
	RACE_SPLIT_SEEN = RACE_SPLIT_NEXT + 24,        /* one byte: INDEX_KV_SEEN */
	RACE_TOMB_INDEX = 0xfc,                        /* that of chains that empty tombs in cookies */
	RACE_SPLIT_OLD = RACE_SPLIT_NEXT + INDEX_LINE, /* old values */
	RACE_SPLIT_LOG = RACE_SPLIT_OLD + RACE_SPLIT_CHAINS * 8,
	RACE_SPLIT_SUB = RACE_SPLIT_LOG + INDEX_LOG_SLOT,
	RACE_SPLIT_PAIR = RACE_SPLIT_SUB + RACE_SUB_MAX,
	RACE_SPLIT_KEYS = RACE_SPLIT_PAIR + 2 * RACE_SUB_MAX,
	RACE_SPLIT_LOCAL = RACE_SPLIT_KEYS + RACE_SPLIT_CHAINS * VERB_CHAIN_MAX * RACE_SPLIT_KEY,
	RACE_SPLIT_INDEX = 0xff, /* its number in cookies: of no operation */
};
_Static_assert(RACE_SPLIT_LOG % INDEX_LINE == 0 && RACE_SPLIT_LOCAL % INDEX_LINE == 0, "lines");
_Static_assert(RACE_LOCAL_OP % INDEX_LINE == 0, "operations begin on a line");
_Static_assert(RACE_SLOTS *(24 + INDEX_KEY_MAX + 64) <= INDEX_KV_ROOM_MAX, "headers fit");

/* What an operation waits for. */
enum race_state {
	RACE_FREE = CORE_FREE,
	RACE_WANT = CORE_WANT,
	RACE_SLEEP = CORE_SLEEP,
	RACE_SCAN = CORE_STATES, /* [WRITE block,] READ both */
	RACE_IDENTIFY,   /* READ blocks whose fingerprint is ours */
	RACE_REST,       /* READ of a block longer than its slot can say */
	RACE_CLAIM,      /* CAS 0 -> PEND, READ both */
	RACE_COMMIT,     /* CAS PEND -> live */
	RACE_REPLACE,    /* [WRITE SEEN into old,] CAS old -> new, a tomb, or 0 */
	RACE_WITHDRAW,   /* CAS PEND -> 0, READ both */
	RACE_OWNER,      /* READ line of the client table */
	RACE_CLEAR,      /* CAS PEND of a dead client -> 0, READ both */
	RACE_CACHED,     /* [WRITE block,] READ a cached block, READ its slot */
};

/* Why an owner is asked about. */
enum race_why {
	RACE_FOR_KEY,   /* its PEND of our key is in the way */
	RACE_FOR_ROOM,  /* its PEND takes a slot and none is free */
	RACE_FOR_SPLIT, /* it is splitting our subtable */
};

/* Where a key was found. */
struct race_cached {
	uint64_t hash;
	uint64_t epoch; /* in which it was seen there last */
	uint64_t at, word; /* slot and what was in it; at 0: nothing */
};

/* A subtable, as a client knows it. */
struct race_sub {
	uint64_t at; /* its first line, offset */
	uint32_t prefix, depth;
};

enum race_split_state {
	RACE_SPLIT_IDLE,
	RACE_SPLIT_ROOM,    /* waits for a chunk */
	RACE_SPLIT_INTENT,  /* READ a dead client's log slot */
	RACE_SPLIT_LOCK,    /* [WRITE record,] CAS lock, READ first line */
	RACE_SPLIT_RECORD,  /* WRITE record */
	RACE_SPLIT_LOOK,    /* READ the subtable */
	RACE_SPLIT_FREEZE,  /* FAA MOVE on every slot that lacks it */
	RACE_SPLIT_TAKE,    /* READ the subtable, which nobody changes any more */
	RACE_SPLIT_KEYS_OF, /* READ headers and keys of its entries */
	RACE_SPLIT_PUBLISH, /* WRITE both halves, WRITE where they are, WRITE unlock */
	RACE_SPLIT_UNLOCK,
};

struct race_split {
	enum race_split_state state;
	struct race_sub sub;
	uint64_t pair;   /* where the halves go */
	uint64_t expect; /* lock word that is taken over: 0, or a dead one's */
	uint64_t log;    /* log_base of the dead */
	uint64_t epoch;  /* in which it began */
	struct rtx tx;
	uint32_t gen;
	unsigned out, next, slots;
	uint16_t busy;          /* chains of RACE_SPLIT_CHAINS that are out */
	bool sent, again, none; /* none: no chunk to be had */
	uint16_t key[RACE_SPLIT_CHAINS][VERB_CHAIN_MAX];
	uint8_t nkey[RACE_SPLIT_CHAINS];
	uint8_t half[RACE_SUB_SLOTS];
	uint64_t splits, repairs, slots_full, slots_all;
	uint8_t *local;
	uint64_t local_offset;
};

/* A block that was looked at. Words are unique for life, so this never goes stale. */
struct race_seen {
	uint64_t word; /* without PEND */
	uint32_t room; /* bytes of the block */
	uint16_t cid, epoch;
	bool same;  /* it is our key */
	bool asked; /* its owner's line has been read for want of a free slot */
};

struct race_op {
	struct core_op;
	bool held;     /* our PEND stands in the slot `mine` */
	bool ending;   /* withdraw, then end with `result` */
	bool evicted;  /* our PEND was taken away: we have been fenced off */
	bool headed;   /* the last scan read the first line of the subtable, too */
	bool head;     /* the next one is to */
	bool frozen;   /* the last scan met MOVE */
	bool shown;    /* its PEND was in a slot: others may hold the word */
	uint8_t tomb;  /* the number of its tomb, counted from 1; 0 none */
	uint32_t match; /* slots with our fingerprint in it, a bit each */
	enum race_why why;
	uint16_t owner_cid, owner_epoch;
	uint64_t lock; /* of the subtable, as the owner was asked about */
	struct kv_place place;
	struct race_sub sub;

	uint64_t word; /* of its block, without PEND */
	uint64_t mine; /* offset of the slot that holds it */

	uint64_t target; /* offset of the slot that a CAS or a wait is about */
	uint64_t target_word;

	uint64_t reading[VERB_CHAIN_MAX]; /* words whose blocks are being read */
	uint32_t reading_at[VERB_CHAIN_MAX], reading_len[VERB_CHAIN_MAX];
	unsigned nreading;

	struct race_seen seen[RACE_SEEN];
	unsigned nseen;

	struct verb chain[VERB_CHAIN_MAX];
	unsigned nchain;
};

enum race_tomb_state {
	RACE_TOMB_FREE,
	RACE_TOMB_HELD, /* by a delete; for ever, where the connection was lost */
	RACE_TOMB_DUE,  /* to be emptied */
	RACE_TOMB_SENT,
};

/* race_tomb.c */
struct race_tomb {
	enum race_tomb_state state;
	uint16_t turn; /* modulo INDEX_TOMB_TURNS */
	uint64_t at;   /* slot */
};

struct race {
	struct core;
	uint64_t *leaf; /* subtables as known: offset / 64, depth << 42 */
	unsigned leaf_bits;
	struct race_split split;
	uint64_t spare_pair;
	bool repairing; /* splits of the dead are finished, none is begun */
	struct race_cached *cache; /* c.cache places, or NULL */
	struct race_tomb tomb[INDEX_TOMBS];
	unsigned tombs; /* to be emptied */
};

static inline struct race *race_of(struct core *k)
{
	return (struct race *)k;
}

static inline struct race_op *race_op_of(struct core_op *op)
{
	return (struct race_op *)op;
}

/* race.c */
void race_chain_begin(struct race_op *op, enum race_state state);
struct verb *race_chain_add(struct race *r, struct race_op *op, enum verb_op what, uint64_t remote,
			    uint32_t local, uint32_t len);
void race_chain_cas(struct race *r, struct race_op *op, uint64_t slot, uint64_t from, uint64_t to);
int race_chain_post(struct race *r, struct race_op *op);
void race_op_end(struct race *r, struct race_op *op, enum atoll_result result, unsigned status);
void race_op_sleep(struct race *r, struct race_op *op);

/* race_tomb.c */
/* A number for the tomb of a delete. False: all are in use; try later. */
bool race_tomb_take(struct race *r, struct race_op *op);
uint64_t race_tomb_word(const struct race *r, const struct race_op *op);
/* It was not used. */
void race_tomb_drop(struct race *r, struct race_op *op);
/* It stands in @slot, and is to be emptied. */
void race_tomb_empty(struct race *r, struct race_op *op, uint64_t slot);
void race_tomb_pump(struct race *r);
void race_tomb_done(struct race *r, const struct verb_completion *done);

/* race_doubt.c */
/* Remembers an operation that ends in doubt. Its ticket, or 0. */
uint64_t race_doubt_add(struct race *r, const struct race_op *op);
int race_resolve(struct core *k, const struct core_doubt *d, bool *happened);

/* race_cache.c */
void race_cache_put(struct race *r, const struct race_op *op, uint64_t at, uint64_t word);
void race_cache_drop(struct race *r, const struct race_op *op);
/* Posts the chain of an operation whose key is in the cache. */
bool race_cache_begin(struct race *r, struct race_op *op);
/* That chain has ended: does the cache still hold? */
bool race_cache_hit(struct race *r, struct race_op *op);

/* race_split.c */
/* The subtable of a key, as far as this client knows. */
struct race_sub race_sub_find(const struct race *r, uint32_t prefix);
/* A subtable was split: its halves are at @pair. False: that makes no sense. */
bool race_sub_learn(struct race *r, const struct race_sub *sub, uint64_t pair);
bool race_sub_offset_good(const struct race *r, uint64_t at, unsigned n);
/* Begins to split @sub, unless this client is splitting already. -ENOSPC: that cannot be. */
int race_split_begin(struct race *r, const struct race_sub *sub);
/* Begins to finish what a dead client, whose log is at @log, has left with @lock. */
void race_split_repair(struct race *r, const struct race_sub *sub, uint64_t lock, uint64_t log);
void race_split_pump(struct race *r);
void race_split_done(struct race *r, const struct verb_completion *done);
/* Chunks have come, or will not. */
void race_split_room(struct race *r, bool none);

/* race_scan.c */
/* Reads the combined buckets, behind the WRITE of the own block if that is not yet out. */
void race_step_scan(struct race *r, struct race_op *op);
/* Sums up the combined buckets that were read: `match` and `frozen`. False: they are damaged. */
bool race_scan_take(struct race_op *op);
/* Slot i of the two combined buckets: its word as read, its place in the table region. */
uint64_t race_slot_read(const struct race_op *op, unsigned i, uint64_t *at);
/* What the last CAS found. */
uint64_t race_old_value(const struct race_op *op);
/* Can the log of a client be there? */
bool race_log_good(const struct race *r, uint64_t log);
bool race_word_good(const struct race *r, uint64_t word);
struct race_seen *race_seen_find(struct race_op *op, uint64_t word);
void race_seen_add(struct race_op *op, uint64_t word, const struct index_kv *kv, bool same);
/* Adds the block of @word to those that are read next. False: no room in this chain. */
bool race_read_block(struct race *r, struct race_op *op, uint64_t word, uint32_t len);
/* Posts a CAS of a slot; a CAS and then the buckets; the line of a client. */
void race_cas_only(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
		   uint64_t from, uint64_t to);
/* Replaces what the operation has found by its own word, or deletes it. */
void race_replace(struct race *r, struct race_op *op);
/* Empties a slot of the dead, whose log is at @log, and reads the buckets. */
void race_clear(struct race *r, struct race_op *op, uint64_t log);
void race_cas_look(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
		   uint64_t from, uint64_t to);
void race_ask_owner(struct race *r, struct race_op *op, enum race_why why, uint16_t cid,
		    uint16_t epoch);

/* race_decide.c */
/* The buckets are there: reads the blocks that must be known, or decides. */
void race_evaluate(struct race *r, struct race_op *op);
void race_decide(struct race *r, struct race_op *op);
/* Something that cannot be was read. Once it may be the network; twice it is the memory. */
void race_bad_read(struct race *r, struct race_op *op);

/* race_dump.c, race_repair.c: of race_engine */
int race_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);
int race_mark(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report);
int race_repair(struct core *k, struct atoll_index_repaired *out);

/* race_step.c */
void race_step(struct core *k, struct core_op *o, const struct verb_completion *done);

#endif
