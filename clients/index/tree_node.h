/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_node.h - nodes of a tree as bytes: taking them apart, changing a bucket, making new ones.
 *
 * Functions of bytes alone, without I/O. `node`, `room` and the like have the sizes of index_tree.h. What is parsed comes from memory that anybody may have
 * written: every length, offset and checksum is checked before it is used.
 *
 * Keys that are too long to stand in a node lie in blocks. A parsed node has only their words; who
 * parses fetches the blocks and sets `key` and `klen` before he compares.
 */
#ifndef ATOLL_CLIENTS_INDEX_TREE_NODE_H
#define ATOLL_CLIENTS_INDEX_TREE_NODE_H

#include "proto/index_tree.h"

struct tree_fence {
	const uint8_t *key; /* NULL: it lies in the block `word`, or there is none */
	uint32_t klen;
	uint64_t word;
	bool none; /* no bound */
};

struct tree_entry {
	const uint8_t *raw; /* as it stands in its bucket */
	uint8_t size, bucket;
	const uint8_t *key; /* NULL: in the block `word` */
	uint32_t klen;
	uint64_t word;	      /* block of the key, or of key and value; 0: all is here */
	const uint8_t *value; /* NULL: in the block */
	uint32_t vlen;
	uint64_t child; /* of an inner entry */
	uint16_t hash;	/* where the key is in the block */
	bool key_long;	/* it lies in the block */
};

enum tree_parse {
	TREE_WHOLE,
	TREE_TORN, /* read while it was changed, or its changer died */
	TREE_BAD,  /* nobody writes such a node */
};

struct tree_view {
	struct index_tree_head head;
	struct index_tree_fences fences;
	uint8_t room[INDEX_TREE_BUCKETS][INDEX_TREE_ROOM];
	uint8_t used[INDEX_TREE_BUCKETS];    /* bytes of entries */
	uint8_t counted[INDEX_TREE_BUCKETS]; /* the same, with at least INDEX_TREE_ENTRY_MIN each */
	struct tree_fence low, high;
	unsigned n;
	struct tree_entry e[INDEX_TREE_ENTRIES];
	bool mended; /* the head names versions that it did not */
};

/* An entry on its way into a bucket. */
struct tree_item {
	uint8_t bytes[INDEX_TREE_ENTRY_MAX];
	uint8_t size;
};

/* Where keys and words of blocks are from. */
struct tree_hash {
	uint8_t fp;    /* in words */
	uint16_t hash; /* beside them */
};
struct tree_hash tree_hash(const void *key, uint32_t klen);

/* Order of keys: by bytes, a prefix first. */
int tree_compare(const uint8_t *a, uint32_t alen, const uint8_t *b, uint32_t blen);

/**
 * tree_parse - take a node apart. @view points into itself and nowhere else.
 * @mend: the lock is ours, taken over from a client that died: a bucket that is newer than the head
 *   knows is whole, and the head is brought up to it (`mended` of the view).
 */
enum tree_parse tree_parse(struct tree_view *view, const uint8_t *node, bool mend);

/* Head and fences alone: the first INDEX_TREE_HEAD bytes of a node. */
enum tree_parse tree_head_parse(struct index_tree_head *head, struct index_tree_fences *fences,
				const uint8_t *node);

/* Bytes that an entry counts in its bucket. */
uint8_t tree_counted(uint8_t size);

/* Is @key at the low fence or above it (strict: above it)? The fence's key must be there. */
bool tree_above(const struct tree_fence *low, const uint8_t *key, uint32_t klen, bool strict);
/* Is it below the high fence (strict: not above it)? */
bool tree_below(const struct tree_fence *high, const uint8_t *key, uint32_t klen, bool strict);

/* Entries. False: it does not fit this way. */
bool tree_item_inline(struct tree_item *item, const void *key, uint32_t klen, const void *value,
		      uint32_t vlen);
bool tree_item_value_long(struct tree_item *item, const void *key, uint32_t klen, uint64_t word);
void tree_item_key_long(struct tree_item *item, struct tree_hash hash, uint64_t word);
bool tree_item_child(struct tree_item *item, const void *key, uint32_t klen, uint64_t child);
void tree_item_child_long(struct tree_item *item, uint64_t word, uint64_t child);

/**
 * tree_bucket_edit - a bucket with one entry less, one more, and without what a split has left.
 * Entries whose long keys are not there stay. @drop: index of an entry, or -1. @add: or NULL.
 * @out: the new room, filled with zeros. Return: false, it does not fit.
 */
bool tree_bucket_edit(const struct tree_view *view, unsigned bucket, int drop,
		      const struct tree_item *add, const struct tree_fence *high,
		      uint8_t *out);

/* The bucket that @add fits into with the least left over, or -1. */
int tree_bucket_find(const struct tree_view *view, const struct tree_item *add,
		     const struct tree_fence *high);

/* Bytes of a bucket as they are written. */
void tree_bucket_make(uint8_t *out, unsigned bucket, uint16_t version,
		      const uint8_t *room);

/* Head and fences as they are written, with the checksum made anew. The lock word is as in @head. */
void tree_head_make(uint8_t *out, const struct index_tree_head *head,
		    const struct index_tree_fences *fences);

/* Puts a fence into a cell. */
void tree_fence_make(uint8_t *cell, const struct tree_fence *fence);

/**
 * tree_node_make - a node with these entries, unlocked.
 * Return: false, they do not fit. They do if their counted bytes are INDEX_TREE_HALF or fewer.
 */
bool tree_node_make(uint8_t *out, unsigned level, const struct tree_fence *low,
		    const struct tree_fence *high, uint64_t next, const struct tree_item *items,
		    unsigned n);

/**
 * tree_node_merge - the buckets of a node with all entries of its right neighbour, and without what a split
 * has left. All keys are there.
 * @rooms: INDEX_TREE_BUCKETS rooms. @dirty: a bit for each bucket that has changed.
 * Return: false, both have some, and they are more than INDEX_TREE_HALF together.
 */
bool tree_node_merge(const struct tree_view *left, const struct tree_view *right,
		     uint8_t (*rooms)[INDEX_TREE_ROOM], unsigned *dirty);

/* Counted bytes of the entries below the high fence, those with keys that are not there included. */
unsigned tree_node_live(const struct tree_view *view);

/* While the buckets have less than this in all, one has room for any entry. */
#define INDEX_TREE_HALF (INDEX_TREE_BUCKETS * (INDEX_TREE_ROOM - INDEX_TREE_ENTRY_MAX))

#endif
