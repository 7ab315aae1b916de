/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_directory.h - which shard of a cluster holds which key.
 *
 * An index may be spread over several shards, its members. Each of them is started with the same directory, and
 * clients ask one of them for it. It is a text of one word,
 *
 *	VERSION:MEMBER,MEMBER,...[:KEY,KEY,...]
 *
 * A member is NODE/SERVICE. Without keys the index is a hash table: each key has one of 1,024 slots by its hash, and
 * the slots are dealt out to the members in runs of the same length, as nearly as that goes. With keys it is a
 * tree: the keys, one fewer than members and in ascending order, are the first of the second member, of the third
 * and so on. In a key everything but printable ASCII, and of that blank \ : and , is written \xNN.
 *
 * A directory never changes: what is put in under one is not found under another. So both sides compare its id.
 */
#ifndef ATOLL_PROTO_INDEX_DIRECTORY_H
#define ATOLL_PROTO_INDEX_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INDEX_MEMBERS_MAX = 64,
	INDEX_MEMBER_NAME_MAX = 127, /* bytes of NODE/SERVICE */
	INDEX_DIRECTORY_MAX = 4096,  /* bytes of the text */
	INDEX_PLACES = 1024,	     /* slots of a table's keys */
};

struct index_directory {
	uint32_t version; /* 1 or more */
	unsigned n;	  /* members */
	bool range;	  /* a tree's */
	char name[INDEX_MEMBERS_MAX][INDEX_MEMBER_NAME_MAX + 1];
	struct {
		uint16_t at, len; /* in `keys` */
	} first[INDEX_MEMBERS_MAX]; /* lowest key of a member; of member 0 there is none */
	uint8_t keys[INDEX_DIRECTORY_MAX];
};

/**
 * index_directory_parse - read and check a directory, which may come from anybody.
 * @text: @len bytes, need not be terminated. @why: on failure, what is wrong, @size bytes.
 * Return: 0 or -EINVAL.
 */
int index_directory_parse(struct index_directory *d, const char *text, size_t len, char *why, size_t size);

/* Tells directories from one another: the same for the same version, members and keys. Never 0. */
uint64_t index_directory_id(const struct index_directory *d);

/* The member that holds a key of a tree: the order is that of the bytes. */
unsigned index_directory_by_key(const struct index_directory *d, const void *key, size_t klen);

/* The member that holds the keys of a table's slot, below INDEX_PLACES. */
static inline unsigned index_directory_by_place(const struct index_directory *d, unsigned place)
{
	return place % INDEX_PLACES * d->n / INDEX_PLACES;
}

#endif
