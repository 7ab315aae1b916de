/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_op.h - insides of core.h: what an engine has in its own structures, and what it gives.
 *
 * struct core and struct core_op come first in the engine's own (without a name: -fms-extensions).
 */
#ifndef ATOLL_CLIENTS_INDEX_CORE_OP_H
#define ATOLL_CLIENTS_INDEX_CORE_OP_H

#include "clients/index/account.h"
#include "clients/index/core.h"
#include "clients/index/reclaim.h"
#include "clients/index/rtx.h"
#include "proto/atoll_proto.h"

/* States of an operation that the core knows; an engine's own begin with CORE_STATES. */
enum core_state {
	CORE_FREE,
	CORE_WANT,  /* a chunk of heap */
	CORE_SLEEP, /* time to pass */
	CORE_STATES,
};

enum {
	CORE_BEAT_INDEX = 0xfe, /* of heartbeats in cookies; those of operations are below CORE_OPS_MAX */
	/* local memory, behind the engine's */
	CORE_LOCAL_BEAT = 0,
	CORE_LOCAL_RECLAIM = INDEX_LINE,
	CORE_LOCAL_FETCH = CORE_LOCAL_RECLAIM + RECLAIM_LOCAL, /* of core_fetch */
	CORE_FETCH_MAX = INDEX_CLIENTS * INDEX_LINE,
	CORE_LOCAL = CORE_LOCAL_FETCH + CORE_FETCH_MAX,
};

struct core_op {
	unsigned state; /* an enum core_state, or the engine's */
	enum atoll_op kind;
	uint8_t index;
	uint8_t gen;  /* so that a late completion is known */
	bool posted;  /* a chain is out */
	bool unsent;  /* a chain was made but the provider had no room */
	bool written; /* the block is in the heap */
	bool reread;  /* something bad was met and read again */
	enum atoll_result result;
	unsigned trips;
	uint32_t klen, vlen;
	uint64_t block; /* offset of the own block in the table region, 0 none */
	uint64_t epoch; /* of reclamation, in which it began */

	uint64_t wait_begin, wait_word, wait_ask, wake_at; /* ns; 0 unset */
	unsigned wait_count;

	atoll_done done;
	void *arg;
	struct core_op *next; /* in one of the queues */
	uint8_t *local;
	uint64_t local_offset;
};

struct core_queue {
	struct core_op *head, *tail;
};

struct core {
	const struct core_engine *engine;
	struct core_config c;
	uint32_t lane[CORE_LANES_MAX];
	uint8_t *ops;
	struct core_op *free;
	struct core_queue want;
	unsigned active, asleep, unsent;
	unsigned ended; /* in this poll */
	bool doorbell;  /* something was posted since the last flush */
	bool lost, gone;
	uint8_t *local; /* CORE_LOCAL bytes */
	uint64_t local_offset;
	struct rtx_env env;
	struct heap heap;
	struct reclaim reclaim;
	struct account_marks *marks; /* where a walk counts, or NULL */
	uint64_t beat, beat_at;      /* heartbeats sent; when the next is due */
	bool beat_out;
	bool intents; /* it marks what changes that have begun will lead to, too */
	struct core_doubt doubt[CORE_OPS_MAX]; /* operations that ended in doubt */
	unsigned ndoubts;
	uint64_t seq;
	uint64_t random;
	struct atoll_index_stats stats;
};

struct core_engine {
	size_t size, op_size;      /* of its struct core and struct core_op */
	uint32_t local_op;         /* local memory of an operation */
	uint32_t local_block;      /* where in it its key and value are, as a block */
	uint64_t local_more;       /* local memory behind all operations */

	bool (*good)(const struct core_config *c); /* does what the core does not check make sense? */
	int (*open)(struct core *k);               /* the core is there; 0 or -ENOMEM */
	void (*close)(struct core *k);             /* also what was opened by half */

	/* An operation is submitted; has waited for a chunk, which has come; has slept. */
	void (*begin)(struct core *k, struct core_op *op);
	void (*resume)(struct core *k, struct core_op *op);
	void (*wake)(struct core *k, struct core_op *op);
	int (*post)(struct core *k, struct core_op *op); /* its chain, which was unsent; calls core_posted */
	void (*refused)(struct core *k, struct core_op *op, int rc); /* it cannot be */
	void (*step)(struct core *k, struct core_op *op, const struct verb_completion *done);
	void (*cut)(struct core *k, struct core_op *op); /* the connection is gone: ends it */
	void (*end)(struct core *k, struct core_op *op, enum atoll_result result, unsigned status);

	/* NULL: nothing to do */
	void (*room)(struct core *k, bool none);                           /* chunks have come, or will not */
	void (*other)(struct core *k, const struct verb_completion *done); /* of no operation */
	void (*turn)(struct core *k);                                      /* in each poll */
	uint64_t (*oldest)(const struct core *k, uint64_t epoch); /* in which something else has begun */
	unsigned (*more)(const struct core *k);                   /* what else is pending */
	bool (*restructuring)(const struct core *k);

	int (*dump)(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
		    struct atoll_index_report *report);
	/* Marks all that is reachable in k->marks. 0, 1 if damage has ended it early (the report says where), or
	 * negative errno. */
	int (*mark)(struct core *k, atoll_progress progress, void *arg,
		    struct atoll_index_report *report);
	int (*repair)(struct core *k, struct atoll_index_repaired *out);
	/* Was an operation executed that ended in doubt, as its traces say? 0 or negative errno. */
	int (*resolve)(struct core *k, const struct core_doubt *d, bool *happened);
};

static inline uint64_t core_now(struct core *k)
{
	return k->c.now_ns(k->c.owner);
}

uint64_t core_random(struct core *k);

/* An operation that is free, with nothing in it. -EAGAIN or -ENOTCONN. */
int core_op_take(struct core *k, struct core_op **out);

/* It has ended: it is counted (@whole: with its round trips) and free; what remains is to tell its caller. */
void core_op_free(struct core *k, struct core_op *op, enum atoll_result result, bool whole);

/* It waits for a chunk; for time to pass, longer each time. */
void core_op_want(struct core *k, struct core_op *op);
void core_op_sleep(struct core *k, struct core_op *op);

/* Its chain was given to the provider, who said @rc. What could not be posted is posted, or its operation
 * ended, in the next poll. */
void core_posted(struct core *k, struct core_op *op, int rc);

/* What comes of a completion. */
void core_complete(struct core *k, const struct verb_completion *done);

/* Says that we live, when it is time to, for whoever suspects that we do not. */
void core_beat(struct core *k);

static inline bool core_writes_block(enum atoll_op kind)
{
	return kind == ATOLL_PUT || kind == ATOLL_INSERT || kind == ATOLL_UPDATE;
}

/* core_wait.c: verbs that are waited for */
/* May a walk begin? 0, -EBUSY or -ENOTCONN. */
int core_quiet(const struct core *k);
/* In chains of at most @each, all of them to their end. 0 or negative errno. */
int core_verbs_run(struct core *k, const struct verb *v, unsigned n, unsigned each);
struct verb core_read_verb(const struct core *k, uint64_t at, uint32_t len, uint64_t local);
/* READs @len bytes, CORE_FETCH_MAX at most. */
int core_fetch(struct core *k, struct atoll_handle region, uint64_t at, void *out, uint32_t len);

/* core_fsck.c */
/* Marks all that is reachable in @m. As `mark` of the engine. */
int core_mark(struct core *k, struct account_marks *m, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);

/* core_doubt.c */
/* Remembers an operation that ends in doubt. Its ticket, or 0. */
uint64_t core_doubt_add(struct core *k, const struct core_doubt *d);

/* core_status.c */
/* Result of an operation that a verb with this status has ended before it changed anything. */
enum atoll_result core_result_of(unsigned status);
bool core_status_lost(unsigned status);
bool core_status_doubt(unsigned status);

#endif
