/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree_op.h - insides of the engine of tree.h: one operation, and what tree.c (life of operations, heap,
 * posting), tree_step.c (the way to a node and what is read there), tree_write.c (changes under a lock),
 * tree_merge.c (of two nodes into one) and tree_cache.c (what a client remembers) offer each other.
 */
#ifndef ATOLL_CLIENTS_INDEX_TREE_OP_H
#define ATOLL_CLIENTS_INDEX_TREE_OP_H

#include "clients/index/account.h"
#include "clients/index/core_op.h"
#include "clients/index/kv.h"
#include "clients/index/tree.h"
#include "clients/index/tree_node.h"
#include "proto/atoll_proto.h"

enum {
	TREE_WORD_LOOK = 24 + INDEX_KEY_MAX + 40, /* bytes read of a block for its key */
	/* local memory of an operation, in bytes from its start */
	TREE_LOCAL_RTX = 0,
	TREE_LOCAL_FENCED = TREE_LOCAL_RTX + 16, /* 8 bytes between what rtx.h uses: INDEX_TREE_FENCED */
	TREE_LOCAL_RETIRED = TREE_LOCAL_RTX + 24, /* INDEX_TREE_RETIRED */
	TREE_LOCAL_HAND = TREE_LOCAL_RTX + 32,	  /* 8 bytes: the word of who has the lock next */
	TREE_LOCAL_CLIENT = TREE_LOCAL_RTX + RTX_LOCAL, /* line of the client table */
	TREE_LOCAL_ROOT = TREE_LOCAL_CLIENT + INDEX_LINE,
	TREE_LOCAL_TRACE = TREE_LOCAL_ROOT + 8,
	TREE_LOCAL_NODE = TREE_LOCAL_ROOT + INDEX_LINE,	 /* as read */
	TREE_LOCAL_SPLIT = TREE_LOCAL_NODE + INDEX_TREE_NODE, /* head and fences of a node that is split */
	TREE_LOCAL_HEAD = TREE_LOCAL_SPLIT + INDEX_TREE_HEAD,
	TREE_LOCAL_BUCKET = TREE_LOCAL_HEAD + INDEX_TREE_HEAD,
	TREE_LOCAL_NEW = TREE_LOCAL_BUCKET + INDEX_TREE_BUCKET, /* new node */
	TREE_LOCAL_CHILD = TREE_LOCAL_NEW + INDEX_TREE_NODE,	/* head and fences of a neighbour or child */
	TREE_LOCAL_LEFT = TREE_LOCAL_CHILD + INDEX_TREE_HEAD,	/* two nodes that are merged */
	TREE_LOCAL_RIGHT = TREE_LOCAL_LEFT + INDEX_TREE_NODE,
	TREE_LOCAL_MERGED = TREE_LOCAL_RIGHT + INDEX_TREE_NODE, /* the buckets of both */
	TREE_LOCAL_FENCE = TREE_LOCAL_MERGED + INDEX_TREE_BUCKETS * INDEX_TREE_BUCKET, /* block of a long fence */
	TREE_LOCAL_BLOCK = TREE_LOCAL_FENCE + TREE_WORD_LOOK,	/* key and value of the operation */
	TREE_LOCAL_READ = TREE_LOCAL_BLOCK + INDEX_KV_ROOM_MAX, /* blocks that it reads */
	TREE_LOCAL_OP = TREE_LOCAL_READ + INDEX_KV_ROOM_MAX,
	TREE_HOPS_MAX = 1 << 14, /* from neighbour to neighbour: more are a circle */
	TREE_MERGE_AT = INDEX_TREE_HALF / 4, /* bytes of a node that a merge is tried at */
};
_Static_assert(TREE_LOCAL_BLOCK % INDEX_LINE == 0 && TREE_LOCAL_OP % INDEX_LINE == 0, "lines");
_Static_assert(VERB_CHAIN_MAX *TREE_WORD_LOOK <= INDEX_KV_ROOM_MAX, "a chain of keys fits");

/* What an operation waits for. */
enum tree_state {
	TREE_FREE = CORE_FREE,
	TREE_WANT = CORE_WANT,
	TREE_SLEEP = CORE_SLEEP,
	TREE_ROOT = CORE_STATES, /* READ root word */
	TREE_READ,    /* READ node */
	TREE_LOCK,    /* [WRITE block,] CAS lock, READ node */
	TREE_QUEUED,  /* the lock that another operation of this client has */
	TREE_KEYS,    /* READ keys that lie in blocks; then the node is looked at again */
	TREE_VALUE,   /* READ block */
	TREE_LINES,   /* READ client table */
	TREE_OWNER,   /* READ line of the client table */
	TREE_TRACE,   /* READ node with the lock of a dead client, and the trace of that */
	TREE_NOTE,    /* CAS trace */
	TREE_CLAIM,   /* CAS lock of a dead client, READ node */
	TREE_SIBLING, /* READ head of the right neighbour of such a node */
	TREE_LEFT,    /* CAS lock of the left one of two that are to be merged, READ it */
	TREE_RIGHT,   /* CAS lock of the right one, READ it */
	TREE_COMMIT,  /* the WRITEs of a change */
	TREE_RELEASE, /* [WRITE head,] WRITE unlock */
	TREE_GROW,    /* WRITE new root, CAS root word */
	TREE_SHRINK,  /* CAS root word, from a root that has one child to that */
};

/* What follows when a lock has been given back, or a change is written. */
enum tree_then {
	TREE_THEN_SETTLE, /* the phase has ended with `then_result` */
	TREE_THEN_GO,	  /* on from `at` */
	TREE_THEN_WANT,	  /* wait for a chunk */
};

enum tree_fix_kind {
	TREE_FIX_ADD,	/* a child whose parent may not know it */
	TREE_FIX_DROP,	/* one that is gone and that its parent still names */
	TREE_FIX_MERGE, /* one that has become small; key: one of its keys */
};

/* What is to be done in a parent. */
struct tree_fix {
	bool due;
	bool sure; /* it is to be done: no need to look */
	bool right; /* merge it with its right neighbour, the left one has no room */
	enum tree_fix_kind kind;
	unsigned level; /* of the parent */
	uint64_t child, word; /* word: block of the key, or 0 */
	uint32_t klen;
	uint8_t key[INDEX_KEY_MAX];
};

struct tree_scan {
	bool on; /* the operation is a scan */
	bool reverse;
	uint64_t limit, n;
	int rc;
	unsigned at;		     /* entries of this leaf that are done */
	unsigned batch, nbatch;	     /* blocks in TREE_LOCAL_READ: those of entries from `batch` on */
	uint32_t pos[VERB_CHAIN_MAX + 1]; /* where each begins, and the end */
	atoll_entry entry;
	atoll_scan_done done;
};

/* A walk, which somebody waits for. */
struct tree_walk {
	bool inner; /* the nodes above the leaves, to be counted */
	bool ended;
	enum atoll_result result;
	struct atoll_index_repaired *out;
};

struct tree_op {
	struct core_op;
	int post_rc;   /* of a chain that is unsent: why */
	bool damaged;  /* `at` is a node that makes no sense */
	bool finished; /* the operation itself; what remains is for others */
	unsigned status;

	/* where it is going */
	const uint8_t *key;
	bool strict;	/* for the keys right below this one */
	bool last;	/* for the last of all; there is no key */
	unsigned goal;	/* level */
	uint64_t at;	/* node; 0: from the root */
	unsigned level; /* of it */
	bool locks;	/* at the goal it takes the lock */
	bool moved;	/* `at` was reached through its left neighbour */
	unsigned hops;	/* from neighbour to neighbour, since the phase began */
	uint64_t gone;	/* `at` was reached from this node, which was merged into it; or 0 */
	uint64_t root_epoch; /* of reclamation, in which the root word was asked for */
	bool root_seen; /* the root word was read since the phase began */

	bool held; /* the lock of `at` is ours */
	bool mend; /* it was taken over */
	bool mend_due; /* and TREE_LOCAL_HEAD must be written before it is given back */
	uint64_t trace; /* where that of a dead client is */
	bool sibling_seen; /* and its right neighbour is not gone */
	uint64_t left, right; /* children of `at` that are to be merged */
	bool left_held, right_held; /* their locks are ours */
	bool handing; /* the chain that is out hands the lock over */
	unsigned handed; /* times that it was, without being free */
	struct tree_op *local_first, *local_last; /* who waits for it, of this client */
	struct tree_op *local_next;
	bool retire; /* `at` was the root, and is none any more */
	bool merged; /* the chain that is out merges them */
	uint64_t dropped; /* child that the chain that is out takes away from its parent, or 0 */
	enum tree_then then;
	enum atoll_result then_result;
	unsigned skip; /* entries with our hash that are not our key */
	uint32_t value_at, value_len; /* of a get, in TREE_LOCAL_READ */
	uint64_t value_word;	      /* block that is read */

	/* the change */
	uint64_t old_word;     /* of a block that the chain that is out takes out of the tree, or 0 */
	bool deciding;	       /* the chain that is out has the verbs that count: */
	unsigned begun, decided; /* with this one it is certain to happen, with that it has */
	uint64_t sum; /* of the versions, when it has happened */
	int bucket;	       /* that is written, or -1 */
	bool split, again;     /* the node is split; then the change is to be tried again */

	uint64_t grow_from, grow_to; /* root words */

	struct tree_fix cur, fix; /* that is being mended; that is to be next */
	bool fixing;

	unsigned torn;
	uint32_t torn_crc;

	uint64_t want[VERB_CHAIN_MAX]; /* words of blocks whose keys are read */
	unsigned nwant;

	struct rtx tx;
	unsigned nchain, base; /* verbs of the chain that is out; verbs of it that were done before */

	struct tree_scan scan;
	struct tree_walk *walk; /* or NULL */
};

/* A node above the leaves, as it was once. */
struct tree_inner {
	uint64_t at, next;
	uint64_t epoch; /* in which the operation had begun that read it: what it names may be used again later */
	unsigned level, n;
	struct tree_fence low, high;
	struct tree_child {
		const uint8_t *key;
		uint32_t klen;
		uint64_t at;
	} child[]; /* by key */
};

struct tree_long {
	struct tree_long *next;
	uint64_t word;
	uint32_t klen;
	uint8_t key[];
};

enum {
	TREE_LONG_HEADS = 1024,
	TREE_LONG_MAX = 8192,
};

struct tree {
	struct core;
	uint64_t spare_node; /* a node that was never named */
	uint64_t root;	     /* as last seen, */
	uint64_t root_epoch; /* and not before this epoch of reclamation */
	struct tree_inner **inner;
	struct tree_long *longs[TREE_LONG_HEADS];
	unsigned nlongs;
	uint64_t local_at[CORE_OPS_MAX]; /* node whose lock an operation has, or is about to get, or 0 */
	uint64_t marked; /* nodes */
	uint64_t bad_at; /* offset of the node or block that was damaged, last */
	struct tree_view view; /* of the node that is being looked at */
	struct tree_view left, right; /* of two that are to be merged */
};

static inline struct tree *tree_of(struct core *k)
{
	return (struct tree *)k;
}

static inline struct tree_op *tree_op_of(struct core_op *op)
{
	return (struct tree_op *)op;
}

static inline struct tree_op *tree_op_at(struct tree *t, unsigned i)
{
	return (struct tree_op *)(void *)(t->ops + i * sizeof(struct tree_op));
}

/* tree_local.c */
/* Before the lock of `at` is asked for. True: it waits, another operation has it. */
bool tree_local_wait(struct tree *t, struct tree_op *op);
/* It has no lock any more, and wants none. */
void tree_local_leave(struct tree *t, struct tree_op *op);
/* At the end of a chain that changes a leaf: adds the WRITE that hands the lock over. False: nobody waits. */
bool tree_local_hand(struct tree *t, struct tree_op *op);
/* That chain has ended: the next one goes on. */
void tree_local_handed(struct tree *t, struct tree_op *op);

/* tree.c */
/* An operation that is free, with nothing in it. -EAGAIN or -ENOTCONN. */
int tree_op_take(struct tree *t, struct tree_op **out);
/* Posts the chain of op->tx. */
void tree_post(struct tree *t, struct tree_op *op, enum tree_state state);
void tree_op_end(struct tree *t, struct tree_op *op, enum atoll_result result, unsigned status);
void tree_op_want(struct tree *t, struct tree_op *op);
bool tree_offset_good(const struct tree *t, uint64_t at, uint64_t size);
/* A word of a block: does it point into the heap? */
bool tree_word_good(const struct tree *t, uint64_t word);

/* tree_cache.c */
/* As @op may use it. */
const struct tree_inner *tree_inner_find(struct tree *t, const struct tree_op *op, uint64_t at);
/* @view: `at` of the operation; its keys are all there. */
void tree_inner_put(struct tree *t, const struct tree_op *op, const struct tree_view *view);
void tree_inner_drop(struct tree *t, uint64_t at);
void tree_inner_clear(struct tree *t);
const struct tree_long *tree_long_find(const struct tree *t, uint64_t word);
/* False: no memory. */
bool tree_long_put(struct tree *t, uint64_t word, const uint8_t *key, uint32_t klen);
void tree_long_clear(struct tree *t);
/* The child in charge of a key, or (strict) of the keys right below it. NULL: none. */
const struct tree_child *tree_child_find(const struct tree_inner *node, const uint8_t *key,
					 uint32_t klen, bool strict);

/* tree_step.c */
/* The bytes of `at` are in local memory: what follows? */
void tree_look(struct tree *t, struct tree_op *op);
void tree_start(struct tree *t, struct tree_op *op);
void tree_go(struct tree *t, struct tree_op *op);
/* The same from the root of now. */
void tree_root_read(struct tree *t, struct tree_op *op);
void tree_step(struct tree *t, struct tree_op *op, const struct verb_completion *done);
/* The phase has ended. */
void tree_settle(struct tree *t, struct tree_op *op, enum atoll_result result);
void tree_release(struct tree *t, struct tree_op *op, enum tree_then then, enum atoll_result result);
/* Verb @k of the chain, counted from its beginning, has failed: the end. */
void tree_failed(struct tree *t, struct tree_op *op, unsigned k, unsigned status);
/* Something that cannot be was read. Once it may be the network; twice it is the memory. */
void tree_bad(struct tree *t, struct tree_op *op);
enum tree_need {
	TREE_NEED_FENCES,
	TREE_NEED_SAME, /* and entries that have the hash of the key */
	TREE_NEED_ALL,
};
/* Sets long keys of @v. False: they are being read, and all will be looked at again. */
bool tree_resolve(struct tree *t, struct tree_op *op, struct tree_view *v, enum tree_need need);

/* The same, when the trace of its owner is there. */
void tree_claim_lock(struct tree *t, struct tree_op *op);

/* tree_doubt.c */
/* Takes the lock of `at` over from a client that is dead, whose log is at @log. */
void tree_claim(struct tree *t, struct tree_op *op, uint64_t lock, uint64_t log);
void tree_trace_read(struct tree *t, struct tree_op *op);
/* Remembers an operation that ends in doubt. Its ticket, or 0. */
uint64_t tree_doubt_add(struct tree *t, const struct tree_op *op);
int tree_resolve_doubt(struct core *k, const struct core_doubt *d, bool *happened);

/* tree_merge.c */
/* t->view is a node that is gone: on where its keys are. */
void tree_gone(struct tree *t, struct tree_op *op);
/* t->view is a node taken over from a dead client: is its right neighbour to be looked at first? */
bool tree_sibling_ask(struct tree *t, struct tree_op *op);
void tree_sibling_read(struct tree *t, struct tree_op *op);
/* The entries of t->view take up @after bytes where they took up @before: is it to be merged? */
void tree_merge_due(struct tree *t, struct tree_op *op, unsigned before, unsigned after);
/* t->view is the parent, ours. */
void tree_merge_begin(struct tree *t, struct tree_op *op);
void tree_left_locked(struct tree *t, struct tree_op *op);
void tree_right_locked(struct tree *t, struct tree_op *op);
void tree_merge(struct tree *t, struct tree_op *op);
void tree_merged(struct tree *t, struct tree_op *op);

/* tree_scan.c, tree_fsck.c, tree_walk.c: of tree_engine. Of what they count `subtables` are nodes; a damaged one ends
 * the walk. */
int tree_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report);
int tree_mark(struct core *k, atoll_progress progress, void *arg, struct atoll_index_report *report);
int tree_repair(struct core *k, struct atoll_index_repaired *out);

/* tree_fsck.c */
/* t->view is a node that is reachable. */
void tree_mark_node(struct tree *t, uint64_t at);

/* tree_walk.c */
/* Walks through the nodes above the leaves, and counts them. */
int tree_walk_inner(struct tree *t, struct atoll_index_repaired *out);
void tree_walk_lines(struct tree *t, struct tree_op *op);
/* t->view has the head of a node: is its lock the dead's? Then it is taken over. */
bool tree_walk_claim(struct tree *t, struct tree_op *op);
/* t->view is the next node of the walk. */
void tree_walk_look(struct tree *t, struct tree_op *op);

/* tree_scan.c */
/* t->view is the next leaf. */
void tree_scan_look(struct tree *t, struct tree_op *op);
/* Blocks have come. */
void tree_scan_blocks(struct tree *t, struct tree_op *op);

/* tree_write.c */
/* t->view is the node of the goal, which is ours and in charge of the key. */
void tree_change(struct tree *t, struct tree_op *op);
void tree_committed(struct tree *t, struct tree_op *op);
/* There is no node at the level of the goal. */
void tree_grow(struct tree *t, struct tree_op *op);
void tree_grown(struct tree *t, struct tree_op *op);
/* t->view is a node above the leaves, ours. False: it is not a root with one child. */
bool tree_shrink(struct tree *t, struct tree_op *op);
void tree_shrunk(struct tree *t, struct tree_op *op);

#endif
