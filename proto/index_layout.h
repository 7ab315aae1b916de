/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_layout.h - what the memory of an index shard looks like.
 *
 * A shard hosts two regions. Clients change the table region with one-sided verbs and nobody else
 * does once it is formatted; the control region is written by the shard alone, and clients may READ
 * it.
 *
 *	table region:	superblock | subtables | heap: KV blocks, more subtables, logs | pins
 *	control region:	superblock | client table | segment table
 *
 * Directory. A table begins as 2^depth subtables, chosen by the upper bits of 32 bits of the hash. One that
 * is full is split into two, which lie in the heap, and keeps for ever the place of the two in its first
 * line. So the subtables themselves are the directory: a trie, whose leaves hold the entries. Clients
 * remember the leaves that they have met; a leaf that has been split since leads on.
 *
 * Table. A group is three buckets of one cache line: main, shared overflow, main. The overflow
 * bucket serves both its neighbours, so a main bucket and its overflow are adjacent: a combined
 * bucket, fetched with one READ of 128 bytes. A key has two combined buckets, in different groups,
 * and may stand in any slot of either. A bucket is a header and seven slots of 8 bytes.
 *
 * Slot. Zero is empty. Otherwise, from the top bit down,
 *
 *	fingerprint 8 | length 8 | PEND 1 | MOVE 1 | tag 4 | offset 42
 *
 * where length and offset count units of 64 bytes. Length 255 says "255 or more". A word with PEND is an
 * insert that has not committed: readers ignore it. MOVE freezes a slot, also an empty one, while its
 * subtable is split: its other bits still hold, and no compare-and-swap that does not know of MOVE changes
 * it. A slot once frozen stays so. The tag is zero, but for a tomb: a slot whose entry was deleted, and which
 * its deleter has not emptied yet. Its offset names the deleter. To readers it is empty.
 *
 * What became of it. An operation whose last compare-and-swap got no answer can be told afterwards whether it
 * happened, since every trace of it is replaced by another one first: whoever takes a committed word out of its
 * slot has before, in the same chain, set SEEN in the block's flags, and who empties a dead client's tomb has
 * written so into the dead one's `outcomes`. clients/index/race_doubt.c reads them.
 *
 * Invariant: a block is used again only when nobody can hold its word any more (reclamation, below), and a
 * word with PEND is compared only by its owner, or by somebody who has seen its owner fenced. So no
 * compare-and-swap can be fooled by a word that left and came back.
 *
 * KV block. A header, the key, the value, in one piece, immutable but for SEEN once a slot names it. The header
 * names the client and epoch that wrote it, which is how one finds out whose PEND one has met.
 *
 * Control region. Line c of the client table is the client number c; its first 8 bytes (number,
 * epoch, state) change with one store. A client is dead when its line says DEAD, or holds a later
 * epoch: the shard writes either only after the client has been fenced off. Numbers are given
 * again, epochs of a number never. The segment table names the owner of each 128 KiB of the heap;
 * segments are handed out in order, in runs ("chunks") of up to 2 MiB. A dead client's are handed out again, one
 * by one, each with a map of what of it is in use: clients/index/race_recycle.c.
 *
 * Reclamation. The epoch is a word of the table region; each client has a pin behind the heap, an epoch before
 * which none of its operations has begun. clients/index/reclaim.h says how they keep blocks from being
 * used again too early.
 *
 * Logs of structure changes: one segment a client, from the upper end of the heap.
 */
#ifndef ATOLL_PROTO_INDEX_LAYOUT_H
#define ATOLL_PROTO_INDEX_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INDEX_VERSION = 4,
	INDEX_LINE = 64,         /* bytes of a cache line, a bucket, a unit of the heap */
	INDEX_SUPER_SIZE = 4096, /* bytes kept for a superblock */
	INDEX_BUCKET_SLOTS = 7,
	INDEX_GROUP_BUCKETS = 3,
	INDEX_GROUP_SIZE = 192,    /* bytes */
	INDEX_COMBINED_SIZE = 128, /* bytes of a combined bucket */
	INDEX_GROUPS_MIN = 2,      /* a key needs two */
	INDEX_GROUPS_MAX = 64,     /* of a subtable */
	INDEX_DEPTH_MAX = 24,      /* bits of a hash that choose a subtable */
	INDEX_DEPTH_GROW = 8,      /* splits of splits that a table can take */
	INDEX_KEY_MAX = 1024,      /* bytes; a key has at least one */
	INDEX_VALUE_MAX = 65536,   /* bytes */
	INDEX_CLIENTS = 1024,      /* lines; number 0 is nobody */
	INDEX_EPOCH_MAX = 65535,   /* a number that had this epoch is not given again */
	INDEX_SEGMENT = 128 << 10, /* bytes; grain of the heap */
	INDEX_MAP_SIZE = INDEX_SEGMENT / INDEX_LINE / 8, /* bytes of a map of a segment: a bit a unit, 1 in use */
	INDEX_CHUNK_MAX = 2 << 20, /* bytes; most that is handed out at once */
	INDEX_LEN_LONG = 255,      /* slot length: this many units or more */
};

/* Grants of index.open come with these tags. */
enum index_tag {
	INDEX_TAG_TABLE = 1,
	INDEX_TAG_CONTROL = 2,
};

#define INDEX_TABLE_MAGIC   0x31656c6261744149ull /* "IAtable1" */
#define INDEX_CONTROL_MAGIC 0x316c72746e634149ull /* "IAcntrl1" */

/* First line of either region. Written by the shard when it formats; `magic` last. */
struct index_super {
	uint64_t magic;
	uint32_t version;
	uint32_t groups;       /* of a subtable */
	uint64_t table_id;     /* random; the same in both regions of a table */
	uint64_t table_offset; /* table region: first subtable */
	uint64_t heap_offset;  /* table region: first segment */
	uint64_t heap_size;    /* bytes, a multiple of INDEX_SEGMENT */
	uint32_t depth;        /* 2^depth subtables at first */
	uint32_t type;         /* enum index_type */
	uint64_t root;         /* tree: changed by clients, with CAS; 0 at first */
};
_Static_assert(sizeof(struct index_super) == 64, "superblock is one line");
_Static_assert(offsetof(struct index_super, heap_size) == 40, "superblock");
_Static_assert(offsetof(struct index_super, root) == 56, "superblock");
#define INDEX_ROOT_OFFSET 56 /* of `root`, in the table region */

/* Control region, second line: how many clients have been declared dead so far, 8 bytes. Whoever repairs looks
 * at it, and reads the client table when it has risen. */
#define INDEX_DEATHS_OFFSET 64

/* Control region, third line: the id of the directory of the cluster that the shard is a member of, 8 bytes, 0 of
 * none (index_directory.h). What the table holds was put there under this one. */
#define INDEX_DIRECTORY_OFFSET 128

/* Table region, second line: the epoch of reclamation, 8 bytes, changed by clients with CAS. */
#define INDEX_RECLAIM_OFFSET 64

/* Table region, third line: everything has been repaired that the first so many of the deaths left, 8 bytes.
 * Raised, with CAS, by who has walked through all of the table. */
#define INDEX_REPAIRED_OFFSET 128

/* The pin of client @cid: its epoch as a client 16 | the epoch that it is pinned at 48; 0 none. The first one
 * is written by the shard when it admits the client, all others by the client. */
#define INDEX_PIN_EPOCH_MASK ((1ull << 48) - 1)
static inline uint64_t index_pin_at(uint64_t heap_offset, uint64_t heap_size, unsigned cid)
{
	return heap_offset + heap_size + cid * 8ull;
}

enum index_type {
	INDEX_TYPE_HASH = 1,
	INDEX_TYPE_TREE = 2,
};

/*
 * A subtable begins with this line; its groups follow. `lock` is its splitter's, see clients/index/rtx.h.
 * `next` is where its two halves are, side by side, the one whose next bit of the hash is 0 first; 0 while
 * it has not been split. It is written once, and the line is then never used for anything else.
 */
struct index_subtable {
	uint64_t lock;
	uint64_t next;
	uint32_t prefix; /* upper `depth` bits of the directory half of the hashes */
	uint32_t depth;
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct index_subtable) == INDEX_LINE, "head of a subtable is one line");
_Static_assert(offsetof(struct index_subtable, next) == 8, "head of a subtable");

struct index_bucket {
	uint64_t reserved; /* 0 */
	uint64_t slot[INDEX_BUCKET_SLOTS];
};
_Static_assert(sizeof(struct index_bucket) == INDEX_LINE, "bucket is one line");
_Static_assert(offsetof(struct index_bucket, slot) == 8, "bucket");

struct index_group {
	struct index_bucket bucket[INDEX_GROUP_BUCKETS]; /* main, overflow, main */
};
_Static_assert(sizeof(struct index_group) == INDEX_GROUP_SIZE, "group");
_Static_assert(INDEX_COMBINED_SIZE == 2 * INDEX_LINE, "combined bucket");

/* Key and value follow the header. */
struct index_kv {
	uint32_t crc;   /* CRC-32C of all that follows, key and value included */
	uint16_t klen;  /* bytes */
	uint8_t op;     /* enum index_kv_op: what wrote it */
	uint8_t flags;  /* INDEX_KV_SEEN, which the checksum does not cover */
	uint32_t vlen;  /* bytes */
	uint16_t cid;   /* writer */
	uint16_t epoch; /* of the writer */
	uint64_t seq;   /* of the operation, counted by the writer */
};
_Static_assert(sizeof(struct index_kv) == 24, "KV header");
_Static_assert(offsetof(struct index_kv, vlen) == 8, "KV header");
_Static_assert(offsetof(struct index_kv, cid) == 12, "KV header");
_Static_assert(offsetof(struct index_kv, seq) == 16, "KV header");

enum index_kv_op {
	INDEX_KV_PUT = 1,
	INDEX_KV_INSERT = 2,
	INDEX_KV_UPDATE = 3,
	INDEX_KV_FENCE = 4, /* a key alone, of a tree's node */
};

#define INDEX_KV_FLAGS 7 /* where the flags are in the header */
_Static_assert(offsetof(struct index_kv, flags) == INDEX_KV_FLAGS, "KV header");

enum index_kv_flag {
	INDEX_KV_SEEN = 1, /* a committed word named it: set by who is about to replace that */
};

enum index_client_state {
	INDEX_CLIENT_FREE = 0,
	INDEX_CLIENT_ALIVE = 1,
	INDEX_CLIENT_FENCING = 2, /* declared dead, not yet known to be fenced */
	INDEX_CLIENT_DEAD = 3,    /* fenced off: no verb of this epoch executes any more */
};

struct index_client {
	uint16_t cid;
	uint16_t epoch;
	uint8_t state; /* enum index_client_state */
	uint8_t reserved0[3];
	uint64_t heartbeat; /* 0: it stands behind the log, where its client may write */
	uint64_t pin_epoch; /* 0: pins stand behind the heap, where clients may write */
	uint64_t log_base;  /* its logs, offset in the table region; 0: none */
	uint64_t reserved[4];
};
_Static_assert(sizeof(struct index_client) == INDEX_LINE, "client is one line");
_Static_assert(offsetof(struct index_client, state) == 4, "client");
_Static_assert(offsetof(struct index_client, heartbeat) == 8, "state is one word");

struct index_segment {
	uint16_t cid; /* 0: not handed out */
	uint16_t epoch;
	uint32_t run; /* segments of the chunk that begins here; 0 inside one; INDEX_RUN_LOG */
};
#define INDEX_RUN_LOG UINT32_MAX /* the segment is the log of client `cid` */
_Static_assert(sizeof(struct index_segment) == 8, "segment is one word");

/*
 * Logs. A client has INDEX_LOG_SLOTS log slots in a segment of its own (log_base of its line); number
 * and log stay together. A slot is two records and two images, used in turn. Written by the client with
 * verbs; read by whoever repairs after it (clients/index/rtx.h).
 */
enum {
	INDEX_LOG_SLOTS = 32,
	INDEX_LOG_IMAGE = 1024, /* bytes of an image */
	INDEX_LOG_SLOT = 2 * INDEX_LINE + 2 * INDEX_LOG_IMAGE,
	INDEX_LOG_SIZE = INDEX_LOG_SLOTS * INDEX_LOG_SLOT,
};
_Static_assert(INDEX_LOG_SLOT == 2176 && (int)INDEX_LOG_SIZE < (int)INDEX_SEGMENT, "a log is one segment");

/* The owner's heartbeat: 8 bytes behind its log, at log_base + INDEX_BEAT. It rises while its client lives
 * and polls; the shard looks at it when somebody suspects the client. */
#define INDEX_BEAT INDEX_LOG_SIZE

/* Behind it 8 bytes for each tomb that the owner may have made: what index_outcome_make says, once the
 * owner is dead and the tomb has been emptied for it. Written by whoever empties it. */
#define INDEX_OUTCOMES (INDEX_LOG_SIZE + INDEX_LINE)
enum {
	INDEX_TOMBS = 64, /* of a client at once */
	INDEX_TOMB_TURNS = 1024,
};
/* Behind them 8 bytes for each log slot, of the client of a tree: what index_tree_trace_make says of the lock that
 * the owner has left. Written, with CAS, by whoever takes that lock over, before. */
#define INDEX_TREE_TRACES (INDEX_OUTCOMES + INDEX_TOMBS * 8)
_Static_assert((int)INDEX_TREE_TRACES + 256 * 8 <= (int)INDEX_SEGMENT, "outcomes are in the segment");

enum index_log_op {
	INDEX_LOG_NONE = 0,
	INDEX_LOG_HASH_SPLIT = 1, /* target: subtable; aux: where its two halves are */
	INDEX_LOG_TREE_SPLIT = 16,
	INDEX_LOG_TREE_PARENT = 17,
	INDEX_LOG_TREE_ROOT = 18,
	INDEX_LOG_TREE_MERGE = 19,
};

/* One line, so one packet: there or not. */
struct index_log {
	uint32_t crc; /* CRC-32C of the rest of the record, then of the image */
	uint16_t cid, epoch;
	uint64_t seq; /* its low 24 bits stand in the lock word */
	uint8_t op;   /* enum index_log_op */
	uint8_t level, flags, nkey;
	uint32_t img_len; /* bytes of the image, 0 none */
	uint64_t target;  /* what is changed, offset */
	uint64_t aux;	  /* what is new, offset */
	uint64_t old8, new8, key8;
};
_Static_assert(sizeof(struct index_log) == INDEX_LINE, "a record is one line");
_Static_assert(offsetof(struct index_log, target) == 24, "record");

/* Lock words: clients/index/rtx.h. */
static inline uint64_t index_lock_make(uint16_t cid, uint16_t epoch, unsigned slot, uint64_t seq)
{
	return (uint64_t)cid << 48 | (uint64_t)epoch << 32 | (uint64_t)(slot & 0xff) << 24 |
	       (seq & 0xffffff);
}

static inline uint16_t index_lock_cid(uint64_t word)
{
	return (uint16_t)(word >> 48);
}

static inline uint16_t index_lock_epoch(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

static inline unsigned index_lock_slot(uint64_t word)
{
	return (unsigned)(word >> 24) & 0xff;
}

static inline uint32_t index_lock_seq(uint64_t word)
{
	return (uint32_t)word & 0xffffff;
}

#define INDEX_SLOT_PEND       (1ull << 47)
#define INDEX_SLOT_MOVE       (1ull << 46)
#define INDEX_SLOT_TAG_SHIFT  42
#define INDEX_SLOT_TAG_MASK   (0xfull << INDEX_SLOT_TAG_SHIFT)
#define INDEX_SLOT_UNITS_MASK ((1ull << 42) - 1)

/* A slot word that names the block of @size bytes at @offset (a multiple of 64) of the table
 * region. */
static inline uint64_t index_slot_make(uint8_t fp, uint64_t offset, uint64_t size)
{
	uint64_t units = (size + INDEX_LINE - 1) / INDEX_LINE;

	if (units > INDEX_LEN_LONG)
		units = INDEX_LEN_LONG;
	return (uint64_t)fp << 56 | units << 48 | offset / INDEX_LINE;
}

static inline uint8_t index_slot_fp(uint64_t word)
{
	return (uint8_t)(word >> 56);
}

/* Length in units; INDEX_LEN_LONG is "that many or more". */
static inline uint32_t index_slot_units(uint64_t word)
{
	return (uint32_t)(word >> 48) & 0xff;
}

static inline uint64_t index_slot_offset(uint64_t word)
{
	return (word & INDEX_SLOT_UNITS_MASK) * INDEX_LINE;
}

static inline bool index_slot_pending(uint64_t word)
{
	return (word & INDEX_SLOT_PEND) != 0;
}

/* Where a client has deleted: its number 10 | its epoch 16 | which of its tombs 6 | turn 10. */
#define INDEX_SLOT_TOMB (1ull << INDEX_SLOT_TAG_SHIFT)
static inline uint64_t index_tomb_make(uint16_t cid, uint16_t epoch, unsigned n, unsigned turn)
{
	return INDEX_SLOT_TOMB | (uint64_t)(cid & 1023) << 32 | (uint64_t)epoch << 16 |
	       (n % INDEX_TOMBS) << 10 | turn % INDEX_TOMB_TURNS;
}

_Static_assert(INDEX_CLIENTS <= 1024, "a tomb has 10 bits for the number");

static inline bool index_slot_tomb(uint64_t word)
{
	return (word & ~(INDEX_SLOT_MOVE | INDEX_SLOT_UNITS_MASK)) == INDEX_SLOT_TOMB;
}

static inline uint16_t index_tomb_cid(uint64_t word)
{
	return (uint16_t)(word >> 32) & 1023;
}

static inline uint16_t index_tomb_epoch(uint64_t word)
{
	return (uint16_t)(word >> 16);
}

/* Where its outcome goes, from the client's log on, and what that is. */
static inline uint64_t index_outcome_at(uint64_t word)
{
	return INDEX_OUTCOMES + (word >> 10) % INDEX_TOMBS * 8;
}

static inline uint64_t index_outcome_make(uint64_t word)
{
	return 1ull << 63 | (word & INDEX_SLOT_UNITS_MASK);
}

/* Bytes that a KV block takes in the heap. */
static inline uint64_t index_kv_room(uint32_t klen, uint32_t vlen)
{
	uint64_t size = sizeof(struct index_kv) + (uint64_t)klen + vlen;

	return (size + INDEX_LINE - 1) & ~(uint64_t)(INDEX_LINE - 1);
}

/* The largest block. */
#define INDEX_KV_ROOM_MAX 66624u
_Static_assert(((24 + INDEX_KEY_MAX + INDEX_VALUE_MAX + 63) & ~63) == INDEX_KV_ROOM_MAX, "block");

/* Where a combined bucket begins, in bytes from the first group. @side: 0 or 1. */
static inline uint64_t index_combined_offset(uint64_t group, unsigned side)
{
	return group * INDEX_GROUP_SIZE + side * INDEX_LINE;
}

/* Bytes of a subtable of @groups. */
static inline uint64_t index_subtable_size(uint64_t groups)
{
	return INDEX_LINE + groups * INDEX_GROUP_SIZE;
}

/* Layout of the regions for 2^@depth subtables of @groups at first, and @segments. */
static inline uint64_t index_heap_offset(uint64_t groups, unsigned depth)
{
	uint64_t end = INDEX_SUPER_SIZE + (index_subtable_size(groups) << depth);

	return (end + 4095) & ~(uint64_t)4095;
}

static inline uint64_t index_table_region_size(uint64_t groups, unsigned depth, uint64_t segments)
{
	return index_heap_offset(groups, depth) + segments * INDEX_SEGMENT + INDEX_CLIENTS * 8ull;
}

/* The same for a tree, which has no subtables: `groups` and `depth` of its superblock are 0. */
#define INDEX_TREE_HEAP_OFFSET INDEX_SUPER_SIZE

static inline uint64_t index_tree_region_size(uint64_t segments)
{
	return INDEX_TREE_HEAP_OFFSET + segments * INDEX_SEGMENT + INDEX_CLIENTS * 8ull;
}

#define INDEX_CLIENT_TABLE_OFFSET  INDEX_SUPER_SIZE
#define INDEX_SEGMENT_TABLE_OFFSET (INDEX_SUPER_SIZE + INDEX_CLIENTS * INDEX_LINE)

static inline uint64_t index_control_region_size(uint64_t segments)
{
	uint64_t end = INDEX_SEGMENT_TABLE_OFFSET + segments * sizeof(struct index_segment);

	return (end + 4095) & ~(uint64_t)4095;
}

#endif
