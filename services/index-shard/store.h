/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the memory of a shard: two regions in the layout of proto/index_layout.h, seen from
 * their owner.
 *
 * The table region belongs to the clients once it is formatted: the shard never looks at a bucket
 * or a block. The control region is written here and nowhere else; clients READ it while it
 * changes, so a client's number, epoch and state change with one store.
 */
#ifndef ATOLL_SERVICES_INDEX_SHARD_STORE_H
#define ATOLL_SERVICES_INDEX_SHARD_STORE_H

#include "proto/index_layout.h"

struct store {
	struct index_super *table;   /* start of the table region */
	struct index_super *control; /* start of the control region */
	struct index_client *client; /* INDEX_CLIENTS lines */
	uint64_t *deaths;            /* rises with each client that is declared dead */
	struct index_segment *segment;
	uint64_t segments, used; /* of the heap, handed out of its lower end */
	uint64_t logs;           /* segments of its upper end that are logs */
};

/* Groups in all for a table of @entries that is 0.7 full then. */
uint64_t store_groups(uint64_t entries);

/* Subtables for @all groups: groups of each, at most INDEX_GROUPS_MAX, and 2^*depth of them. */
uint32_t store_subtables(uint64_t all, unsigned *depth);

/* Makes an empty index in zeroed regions. @table_id: random. */
void store_format(struct store *s, void *table, void *control, uint32_t groups, unsigned depth,
		  uint64_t segments, uint64_t table_id);

/* The same for a tree, which its first writer gives a root. */
void store_format_tree(struct store *s, void *table, void *control, uint64_t segments,
		       uint64_t table_id);

/* The log of client number @cid, which is made now if it has none. 0: there is no room for it. */
uint64_t store_log(struct store *s, uint16_t cid);

/* The heartbeat of @cid as it stands now. */
uint64_t store_beat(const struct store *s, uint16_t cid);

/* Does the log of @cid, who is dead, say what somebody still has to finish? */
bool store_log_open(const struct store *s, uint16_t cid);

/**
 * store_adopt - take over regions that an earlier life of this shard has left
 * Whatever they hold is checked before it is believed. All clients of that life are declared dead:
 * the regions' new registration has made every right of theirs void. Return: NULL, or what is wrong
 * with them.
 */
const char *store_adopt(struct store *s, void *table, uint64_t table_size, void *control,
			uint64_t control_size);

/* The id of the directory that a control region was made for, and under which the table is filled; 0 none. To
 * be set before the region is formatted. */
static inline uint64_t *store_directory(void *control)
{
	return (uint64_t *)(void *)((char *)control + INDEX_DIRECTORY_OFFSET);
}

/* A run of at most @segments of the heap for a client. Bytes, 0 if nothing is left. */
uint64_t store_chunk(struct store *s, uint16_t cid, uint16_t epoch, unsigned segments,
		     uint64_t *offset);

/* A client's line as clients see it, with one store. */
void store_client_set(struct store *s, uint16_t cid, uint16_t epoch, enum index_client_state state);

#endif
