/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtx.h - repairable transactions: what an index does with locks, and what is left of it when it
 * dies.
 *
 * An operation that changes more than one word or line takes a lock, and holds it until all is
 * written. Its client may die at any verb in between. Three things make that harmless.
 *
 * Locks have owners. A lock is a word beside what it guards: zero is free, otherwise
 *
 *	client number 16 | its epoch 16 | log slot 8 | sequence 24
 *
 * so that whoever is held up knows whom to suspect, and where to read what the owner meant to do.
 *
 * Intentions come first. Where a change can be torn (more than one packet, or more than one place)
 *its owner writes a redo image and then a record into its log, before it touches anything: WRITEs
 *of one lane land in order and a dead client's stream ends after some packet, so a record that is
 *whole says that its image is whole, and no record says that nothing was touched. A change of one
 *packet (at most RTX_ATOMIC bytes), or of one word, needs neither: rtx_redo is for structure
 *changes only.
 *
 * The dead are dead. Nobody takes a lock over before the client table says that its owner is DEAD
 *(or the number has a later epoch), which the shard writes only after the dataplane has
 *acknowledged the fence: no verb of the owner lands any more, and therefore a blind WRITE of zero
 *is a good unlock.
 *
 * Life of a lock:
 *
 *	0 -> own	CAS, together with a READ of what it guards: one round trip
 *	own -> 0	WRITE, behind the WRITEs it has guarded, in their chain
 *	dead -> own	CAS by whoever repairs, after its own record says the same as the dead
 *one's; it redoes (images are absolute: redoing twice is harmless) and unlocks. If it dies, the
 *next one finds the same shape.
 *
 * A repair function per operation: it is given the record and what the lock guards, and finishes
 *the operation (roll forward). Where there is no record, or one of another sequence, nothing was
 *begun and the lock is simply freed. rtx_record_judge tells the two apart.
 *
 * Two records a slot. Operations of several phases (a split that splits its parent) alternate
 *between the halves, so that a torn record of a later phase never destroys an earlier one. A slot
 *is used again only when its operation has completely ended; a client that has more operations in
 *flight than INDEX_LOG_SLOTS lets those wait that need a slot.
 *
 * Chains. Verbs are gathered in order and go out with rtx_commit, one doorbell, one completion. The
 * rule of ipc/verbs.h is kept here, not mended: a WRITE or atomic behind a READ or atomic is
 *refused
 * (-EINVAL from rtx_commit) unless rtx_fence stands between them, and a fence costs a round trip.
 *
 * With `ft` off (the control that fault tolerance is measured against) rtx_redo adds nothing and
 *lock words carry neither epoch nor sequence. Nothing else differs.
 *
 * No I/O, no clock, no allocation of its own. A transaction belongs to the thread of its client.
 */
#ifndef ATOLL_CLIENTS_INDEX_RTX_H
#define ATOLL_CLIENTS_INDEX_RTX_H

#include "ipc/verbs.h"
#include "proto/index_layout.h"

enum {
	RTX_ATOMIC = 256,  /* bytes of a WRITE that a death does not tear */
	RTX_LOCAL = 128,   /* bytes of the local region that each transaction needs */
	RTX_LOCAL_OLD = 0, /* old value of its lock's CAS, 8 bytes */
	RTX_LOCAL_ZERO = 8,
	RTX_LOCAL_RECORD = 64,
};

/* What all transactions of a client share. Filled by the engine; outlives them. */
struct rtx_env {
	struct atoll_handle table; /* READ, WRITE, ATOMIC */
	struct atoll_handle local;
	uint16_t cid, epoch;
	bool ft;           /* false: the control */
	uint64_t log_base; /* own logs, offset in the table region */
	uint64_t seq;      /* of the transaction begun last */
};

struct rtx {
	struct rtx_env *env;
	uint8_t *local;        /* RTX_LOCAL bytes, 64-aligned */
	uint64_t local_offset; /* of the same in the local region */
	unsigned slot, half;
	uint64_t seq;
	uint64_t word; /* what its locks hold */
	bool fence;    /* the next verb gets VERB_FENCE */
	bool over;     /* more verbs than a chain takes */
	unsigned n;
	struct verb chain[VERB_CHAIN_MAX];
};

/* Record and image of @half (0, 1) of a log slot, as offsets in the table region. */
static inline uint64_t rtx_record_at(uint64_t log_base, unsigned slot, unsigned half)
{
	return log_base + (uint64_t)slot * INDEX_LOG_SLOT + half * INDEX_LINE;
}

static inline uint64_t rtx_image_at(uint64_t log_base, unsigned slot, unsigned half)
{
	return log_base + (uint64_t)slot * INDEX_LOG_SLOT + 2 * INDEX_LINE + half * INDEX_LOG_IMAGE;
}

/**
 * rtx_begin - start a transaction with an empty chain.
 * @slot: log slot, below INDEX_LOG_SLOTS, of no other transaction that runs. Its lock word is made
 * anew.
 * @local, @local_offset: RTX_LOCAL bytes, the same memory seen from here and in the local region.
 */
void rtx_begin(struct rtx *tx, struct rtx_env *env, unsigned slot, uint8_t *local,
	       uint64_t local_offset);

/**
 * rtx_lock_read - add CAS @expect -> own word on @lock, and a READ of what it guards.
 * @expect: 0; or the word of a dead owner, by whoever repairs.
 * The old value is rtx_old() when the chain has ended; the lock is held if it equals @expect. @len
 * 0 leaves the READ out.
 */
void rtx_lock_read(struct rtx *tx, uint64_t lock, uint64_t expect, uint64_t at,
		   uint64_t local_offset, uint32_t len);

/* Plain READ. */
void rtx_read(struct rtx *tx, uint64_t at, uint64_t local_offset, uint32_t len);

/* What stood in the lock before rtx_lock_read. */
uint64_t rtx_old(const struct rtx *tx);

/* What a record says, but for what rtx_redo fills in itself. */
struct rtx_intent {
	uint8_t op; /* enum index_log_op */
	uint8_t level, flags, nkey;
	uint64_t target, aux, old8, new8, key8;
};

/**
 * rtx_redo - add WRITEs of an image (if @len is not 0) and of the record that makes it valid.
 * @image, @image_offset: @len bytes (at most INDEX_LOG_IMAGE), as seen from here and in the local
 * region; unchanged until the chain has ended. Uses the half of the slot that was not used last.
 */
void rtx_redo(struct rtx *tx, const struct rtx_intent *intent, const uint8_t *image,
	      uint64_t image_offset, uint32_t len);

/* Add a WRITE of @len local bytes. */
void rtx_write(struct rtx *tx, uint64_t at, uint64_t local_offset, uint32_t len);

/* Add the WRITE that frees a lock. */
void rtx_unlock(struct rtx *tx, uint64_t lock);

/* The next verb waits for the answers of all earlier ones of the lane. */
void rtx_fence(struct rtx *tx);

/**
 * rtx_commit - post the chain and begin an empty one.
 * Return: 0; -EAGAIN no room, the chain is kept: again later; -EINVAL the chain breaks the ordering
 * rule, is empty or too long, and is dropped; -ENOTCONN.
 */
int rtx_commit(struct rtx *tx, struct verbs *v, uint32_t lane, uint64_t cookie);

/* Drop the chain. What was committed before stays: a lock that is held is still held. */
void rtx_abort(struct rtx *tx);

/* ------------------------------------------------------------------ repair */

enum rtx_judgement {
	RTX_NOTHING, /* nothing was begun under this lock: free it */
	RTX_REDO,    /* *out is what the owner meant to do: finish it */
};

/**
 * rtx_record_judge - what a dead owner's log slot says of the lock word it left.
 * @word: the lock word. @slot_bytes: the INDEX_LOG_SLOT bytes of the slot that it names, copied
 * after the owner was fenced off. @image: set to the image inside them, or NULL where the record
 * has none.
 */
enum rtx_judgement rtx_record_judge(uint64_t word, const uint8_t *slot_bytes, struct index_log *out,
				    const uint8_t **image);

/* Is the client that @line describes dead as far as (cid, epoch) is concerned? */
bool rtx_is_dead(const struct index_client *line, uint16_t cid, uint16_t epoch);

/* Checksum of a record and its image. */
uint32_t rtx_record_crc(const struct index_log *record, const uint8_t *image);

#endif
