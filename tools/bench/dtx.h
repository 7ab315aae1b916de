/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dtx.h - a hash table whose operations are distributed transactions of the usual kind: what the index is
 * measured against.
 *
 * The protocol is that of FORD (Zhang et al., FAST 2022) for one key: lock and read by one doorbell (compare-and-swap,
 * then READ), undo log in one round trip, what is new written and unlocked by one doorbell. Locks are words of
 * the memory itself. A death leaves them taken: dtx_undo gives them back by the log, of one whose verbs land no more. Nobody
 * does that by himself here, for it is for measuring alone.
 *
 *	region:	log of each client | buckets
 *	bucket:	one line: lock 8 | fingerprints 7, flags 1; then DTX_ITEMS items of equal size
 *	item:	lock 8 | version 8 | CRC-32C 4, lengths 2 and 2 | key | value
 *
 *	get	READ the bucket's line; READ the item					2 round trips
 *	update	READ the line; CAS item's lock, READ item; WRITE log; WRITE item, unlock	4
 *	insert	CAS bucket's lock, READ line; WRITE item, WRITE log; WRITE line with unlock	3
 *
 * A get needs no lock: it reads what one commit has written, whole by its checksum, or reads again. Items are not
 * moved or deleted. Where a bucket is full, keys go to the next.
 */
#ifndef ATOLL_TOOLS_BENCH_DTX_H
#define ATOLL_TOOLS_BENCH_DTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/verbs.h"

enum {
	DTX_ITEMS = 7,
	DTX_LINE = 64,
	DTX_ITEM_HEAD = 24,
	DTX_OPS_MAX = 64,
	DTX_ITEM_MAX = 2048, /* bytes */
	DTX_LOG_HEAD = 64,
};

enum dtx_op {
	DTX_GET,
	DTX_UPDATE,
	DTX_INSERT,
	DTX_OP_KINDS,
};

enum dtx_result {
	DTX_OK,
	DTX_NOT_FOUND,
	DTX_EXISTS,
	DTX_FULL, /* no room in DTX_PROBES buckets */
	DTX_BAD,  /* a checksum is wrong for good */
	DTX_LOST, /* a verb failed */
};

/* Called from dtx_poll. @value: of a get or update, what was there before; valid until it returns. */
typedef void (*dtx_done)(void *arg, enum dtx_result result, const void *value, size_t vlen);

struct dtx_config {
	struct verbs *verbs;
	uint32_t lane;
	struct atoll_handle table; /* READ, WRITE, ATOMIC */
	uint64_t base;		   /* offset of the table's memory, whole lines */
	uint64_t buckets;
	uint32_t item; /* bytes of an item, whole lines, at most DTX_ITEM_MAX */
	struct atoll_handle local;
	uint8_t *local_base; /* 64-aligned, dtx_local_size bytes at local_offset */
	uint64_t local_offset;
	uint16_t cid; /* of this client: 1 to clients */
	uint16_t clients;
	unsigned ops; /* at once, up to DTX_OPS_MAX */
	void *owner;
	uint64_t (*now_ns)(void *owner);
};

struct dtx_stats {
	uint64_t ops[DTX_OP_KINDS], trips[DTX_OP_KINDS], least[DTX_OP_KINDS];
	uint64_t conflicts; /* locks found taken */
	uint64_t torn;	    /* items read again */
};

struct dtx;

uint64_t dtx_local_size(unsigned ops);
/* Bytes of the table's memory, which is zero at first. */
uint64_t dtx_table_size(const struct dtx_config *c);

/* 0, -EINVAL or -ENOMEM. */
int dtx_open(struct dtx **out, const struct dtx_config *c);
void dtx_close(struct dtx *d);

/* 0; -EAGAIN: so many run already; -EINVAL: it does not fit into an item. An update's value has any length that fits. */
int dtx_submit(struct dtx *d, enum dtx_op op, const void *key, size_t klen, const void *value, size_t vlen,
	       dtx_done done, void *arg);
/* Operations that have ended, or negative errno. */
int dtx_poll(struct dtx *d);
unsigned dtx_pending(const struct dtx *d);
const struct dtx_stats *dtx_stats(const struct dtx *d);

/**
 * dtx_undo - take back what client @cid has begun and not committed, in memory that is at hand.
 * @memory: of the table, from its base on. No verb of that client executes any more. Returns the locks freed.
 */
unsigned dtx_undo(uint8_t *memory, const struct dtx_config *c, uint16_t cid);

#endif
