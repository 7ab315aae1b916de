/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.h - one-sided verbs as a client sees them.
 *
 * A chain of verbs goes out with one doorbell and comes back as one completion that holds a status
 * for each verb. The verbs of a chain execute in the order posted. Chains on different lanes are not
 * ordered; of two chains in flight on one lane, a later WRITE or atomic may pass an earlier READ or
 * atomic, nothing else may pass. What real RDMA hardware would not keep in order is refused before it
 * is sent: inside a chain, a WRITE or an atomic after a READ or an atomic needs VERB_FENCE on the later
 * one. A fenced verb is not sent before every earlier verb of its lane has been answered, which costs a
 * round trip.
 *
 * Promises, and no others: an aligned 8-byte access is single-copy atomic; a WRITE of at most 256
 * bytes happens whole or not at all when its client dies; longer READs may be torn by line.
 *
 * When a verb fails, the rest of its chain is cancelled (STATUS_CANCELLED: not executed).
 *
 * Libraries that work on verbs (the indexes) take a struct verbs, so that the same code runs over
 * a real endpoint, over the simulator, and over a transport that stops after every verb.
 */
#ifndef ATOLL_IPC_VERBS_H
#define ATOLL_IPC_VERBS_H

#include <stdint.h>

enum {
	VERB_CHAIN_MAX = 16,	  /* verbs in one chain */
	VERB_LENGTH_MAX = 1 << 30, /* bytes in one READ or WRITE */
};

/* Right to use an endpoint or a region: an index into the owner's table inside the dataplane. */
struct atoll_handle {
	uint32_t slot;
	uint32_t gen;
};

enum verb_op {
	VERB_READ = 1,	/* remote -> local, len bytes */
	VERB_WRITE = 2, /* local -> remote, len bytes */
	VERB_CAS = 3,	/* remote 8 bytes: if == compare then = swap; the old value -> local 8 bytes */
	VERB_FAA = 4,	/* remote 8 bytes: += swap; the old value -> local 8 bytes */
};

enum verb_flag {
	VERB_FENCE = 1 << 0, /* wait for the answers of all earlier verbs of the lane */
};

struct verb {
	uint8_t op;    /* enum verb_op */
	uint8_t flags; /* enum verb_flag */
	uint16_t reserved;
	uint32_t len;		    /* bytes; 8 for atomics */
	struct atoll_handle remote; /* region the verb works on, this node's or another's */
	uint64_t remote_offset;	    /* bytes from the region's start; 8-aligned for atomics */
	struct atoll_handle local;  /* region of the caller: destination of READ and of old values */
	uint64_t local_offset;
	uint64_t compare; /* CAS */
	uint64_t swap;	  /* CAS: new value; FAA: addend */
};

/* One chain's end. status[i] is an enum status (proto) for verb i of the chain. */
struct verb_completion {
	uint64_t cookie; /* as posted */
	uint8_t count;	 /* verbs in the chain */
	uint8_t status[VERB_CHAIN_MAX];
};

struct verbs;

/*
 * Operations of a verbs provider. All calls come from the one thread that owns it.
 *
 * post: queues one chain of n (1 to VERB_CHAIN_MAX) verbs on @lane and returns 0; the doorbell is
 *   rung by flush. -EAGAIN: no room now, poll and try again. -EINVAL: the chain breaks the ordering
 *   rule above or has a field out of range; nothing was queued. -ENOTCONN: the session is gone.
 * flush: rings the doorbell for everything posted since the last one.
 * poll: moves up to @max ended chains into @out and returns how many (0: none yet); negative errno
 *   when the session is gone (every outstanding chain has been reported first).
 * idle: called between polls that found nothing; may spin, yield or block for a bounded time.
 */
struct verbs_ops {
	int (*post)(struct verbs *v, uint32_t lane, const struct verb *chain, unsigned n,
		    uint64_t cookie);
	void (*flush)(struct verbs *v);
	int (*poll)(struct verbs *v, struct verb_completion *out, unsigned max);
	void (*idle)(struct verbs *v);
};

struct verbs {
	const struct verbs_ops *ops;
};

/* Is the chain one that real hardware keeps in order, and is every field in range? 0 or -EINVAL. */
int verbs_chain_check(const struct verb *chain, unsigned n);

#endif
