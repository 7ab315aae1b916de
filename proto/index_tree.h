/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_tree.h - what a node of a tree looks like in the memory of an index shard.
 *
 * A tree (INDEX_TYPE_TREE) has no subtables: its table region is the superblock and the heap, in which
 * nodes, KV blocks and logs lie. `root` of the superblock names the root and its level. docs/index-tree.md
 * has the protocol: who writes which byte when, and why every prefix of it is a tree.
 *
 * A node is 16 lines: head, fences, and seven buckets of two lines.
 *
 *	line 0		struct index_tree_head
 *	line 1		struct index_tree_fences: the keys k of the node have low <= k < high
 *	lines 2b+2, +3	bucket b, of entries in no order
 *
 * Versions. Whoever changes a bucket (or the fences) writes it with a version of its own that is one
 * higher, and then the head, in which all these versions stand. The node is whole when each line
 * has the version that the head names, and is then what it was when the head was written. A node that
 * is not whole is being changed, or its changer has died.
 *
 * A bucket is 128 bytes, written with one WRITE of one packet, so a death leaves the old or the new:
 *
 *	version 16 | CRC-32C 32 | 58 bytes || version 16 | 62 bytes
 *
 * and the two pieces together are its room for entries, which follow each other and end with a zero or with
 * the room:
 *
 *	klen+1 8 | vlen 8 | key | value			key and value in the entry
 *	klen+1 8 | 255 8  | key | word 64		value in the block that the word names
 *	255 8	 | hash 16 | word 64			key and value in the block (leaves)
 *	255 8	 | hash 16 | word 64 | child 64		key in the block (inner nodes)
 *
 * An inner entry of the first kind has a value of 8 bytes: the offset of the child whose low fence the key is.
 * Words are those of slots (index_layout.h), with 24 bits of the key's hash: 8 in the word, 16 beside it.
 * Each entry is counted as INDEX_TREE_ENTRY_MIN bytes at least, so that any can become one of the third kind
 * where it stands. Entries with keys of the high fence or above are left from a split and mean nothing.
 *
 * A node that is GONE has been merged into its left neighbour, `left`, which is in charge of its keys or will
 * be before its lock is free. It stays so until its memory is used again.
 */
#ifndef ATOLL_PROTO_INDEX_TREE_H
#define ATOLL_PROTO_INDEX_TREE_H

#include "proto/index_layout.h"

enum {
	INDEX_TREE_NODE = 1024,	    /* bytes */
	INDEX_TREE_HEAD = 128,	    /* bytes of head and fences: one packet */
	INDEX_TREE_BUCKETS = 7,
	INDEX_TREE_BUCKET = 128,    /* bytes */
	INDEX_TREE_ROOM = 120,	    /* bytes of a bucket's entries */
	INDEX_TREE_ENTRY_MAX = 60,  /* two to a bucket, at least */
	INDEX_TREE_ENTRY_MIN = 11,
	INDEX_TREE_ENTRIES = 70,    /* of a node: ten to a bucket, at most */
	INDEX_TREE_FENCE = 29,	    /* bytes of a fence key that stands in its cell */
	INDEX_TREE_LEVELS = 16,	    /* leaves are level 0 */
	INDEX_TREE_MAGIC = 0xa7,
	INDEX_TREE_LONG = 255,	    /* in place of a length: a word follows */
	INDEX_TREE_GONE = 1,	    /* flag: merged into `left` */
};

/* `lock` is changed by CAS and unlocking WRITEs only; the rest of the line by whoever holds it. */
struct index_tree_head {
	uint64_t lock;	      /* clients/index/rtx.h */
	uint64_t next;	      /* offset of the node whose low fence is our high one; 0 none */
	uint16_t version[8];  /* of the fences, then of the buckets */
	uint8_t magic, level;
	uint16_t flags;	      /* 0, or INDEX_TREE_GONE */
	uint32_t crc;	      /* CRC-32C of next to flags, then of left, then of the fences' line */
	uint64_t left;	      /* of a node that is gone: where its keys are; else 0 */
	uint64_t reserved[2]; /* 0 */
};
_Static_assert(sizeof(struct index_tree_head) == INDEX_LINE, "head is one line");
_Static_assert(offsetof(struct index_tree_head, version) == 16, "head");
_Static_assert(offsetof(struct index_tree_head, magic) == 32, "head");
_Static_assert(offsetof(struct index_tree_head, crc) == 36, "head");

/* In place of a lock's owner: the node is damaged, nobody is to change it, and its lock is never freed. Of no
 * client: numbers are below INDEX_CLIENTS. */
#define INDEX_TREE_FENCED ((uint64_t)UINT16_MAX << 48)

/* The same: the node was the root, and has become useless. It leads to its one child for ever, until its memory is
 * used again. Who wants to change it begins anew at the root. */
#define INDEX_TREE_RETIRED ((uint64_t)(UINT16_MAX - 1) << 48)

/* A cell: 0 (no bound), or a length and the key, or INDEX_TREE_LONG and the word of a block with the key. */
struct index_tree_fences {
	uint16_t version;
	uint8_t low[INDEX_TREE_FENCE + 1], high[INDEX_TREE_FENCE + 1];
	uint8_t reserved[2]; /* 0 */
};
_Static_assert(sizeof(struct index_tree_fences) == INDEX_LINE, "fences are one line");
_Static_assert((int)INDEX_TREE_HEAD + INDEX_TREE_BUCKETS * INDEX_TREE_BUCKET == INDEX_TREE_NODE, "node");
_Static_assert(INDEX_TREE_ROOM / INDEX_TREE_ENTRY_MIN * INDEX_TREE_BUCKETS == INDEX_TREE_ENTRIES, "node");

/* Where the trace of a lock goes, from its owner's log on. */
static inline uint64_t index_tree_trace_at(uint64_t lock)
{
	return INDEX_TREE_TRACES + (uint64_t)index_lock_slot(lock) * 8;
}

#define INDEX_TREE_SUM_MASK 0xffffffull
#define INDEX_TREE_SUM_NONE INDEX_TREE_SUM_MASK /* the node was damaged */

/*
 * A trace: epoch 16 | sequence 24 | sum 24: what the lock word says of its owner's operation, and the sum of all
 * versions that the owner has left in the node. Its changes raise one version by one each, in an order that it knows.
 */
static inline uint64_t index_tree_trace_make(uint64_t lock, uint64_t sum)
{
	return (uint64_t)index_lock_epoch(lock) << 48 | (uint64_t)index_lock_seq(lock) << 24 |
	       (sum & INDEX_TREE_SUM_MASK);
}

static inline uint64_t index_tree_sum(const struct index_tree_head *head)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 8; i++)
		sum += head->version[i];
	return sum;
}

/* The word of the root: 0 while the tree has no node. */
static inline uint64_t index_tree_root_make(uint64_t offset, unsigned level)
{
	return (uint64_t)level << 56 | offset / INDEX_LINE;
}

static inline unsigned index_tree_root_level(uint64_t word)
{
	return (unsigned)(word >> 56);
}

static inline uint64_t index_tree_root_offset(uint64_t word)
{
	return (word & INDEX_SLOT_UNITS_MASK) * INDEX_LINE;
}

#endif
