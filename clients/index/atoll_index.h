/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll_index.h - an index in the memory of another node.
 *
 * An index is a hash table, or a tree with its keys in order, that a shard hosts and that its clients read and
 * change with one-sided verbs: the shard's process does nothing while they do. Keys are 1 to 1,024 bytes, values 0 to 65,536.
 * Each operation happens at one instant or not at all, also when its client dies half-way.
 *
 *	struct atoll_index *ix;
 *	const char *why;
 *
 *	if (atoll_index_open(&ix, "node-b/index", NULL, &why))
 *		errx(1, "%s", why);
 *	if (atoll_index_put(ix, "moon", 4, "one", 3) != ATOLL_OK)
 *		...
 *	atoll_index_close(ix);
 *
 * A context belongs to one thread; a program with more threads opens more contexts. Up to
 * `in_flight` operations run at once: submit them, and poll until their callbacks have come. The
 * calls that wait (atoll_index_get and its like) poll until their own operation has ended, so the
 * callbacks of others may run in the meantime.
 *
 * Every operation ends with exactly one result. It belongs to one of three classes
 * (atoll_result_class): the operation was executed; it certainly was not and never will be, and
 * may be given again; or nobody can tell. After the loss of a connection operations end as they
 * stand; atoll_index_reconnect then has the old identity fenced off before it returns, so what was
 * in doubt before has by then either happened or will not: atoll_index_resolve says which.
 *
 * Memory of replaced and deleted values is used again by the client in whose chunk it lies, when no operation
 * that began before can see it. A context that is open and not polled keeps all clients from that; when one
 * of them runs out of memory for it, the silent one is declared dead.
 *
 * Limits of this version: a table grows by a factor of 256 (ATOLL_FULL); memory of values that another client has
 * replaced is used again only when the one in whose chunk it lies has died.
 */
#ifndef ATOLL_CLIENTS_INDEX_ATOLL_INDEX_H
#define ATOLL_CLIENTS_INDEX_ATOLL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ATOLL_INDEX_KEY_MAX = 1024,
	ATOLL_INDEX_VALUE_MAX = 65536,
	ATOLL_INDEX_IN_FLIGHT_MAX = 64,
};

enum atoll_index_type {
	ATOLL_INDEX_HASH = 1,
	ATOLL_INDEX_TREE = 2,
};

enum atoll_op {
	ATOLL_GET = 0,
	ATOLL_PUT,    /* insert or replace */
	ATOLL_INSERT, /* ATOLL_EXISTS if the key is there */
	ATOLL_UPDATE, /* ATOLL_NOT_FOUND if it is not */
	ATOLL_DELETE, /* the same */
	ATOLL_OPS,
};

enum atoll_result {
	/* executed */
	ATOLL_OK = 0,
	ATOLL_NOT_FOUND, /* the key is not there; a get, update or delete has seen so */
	ATOLL_EXISTS,    /* the key is there; an insert has seen so */
	/* certainly not executed */
	ATOLL_FULL,     /* no free slot for this key in the table */
	ATOLL_NO_SPACE, /* the shard has no memory left for values */
	ATOLL_BUSY, /* another client's insert of the same key neither ended nor was fenced off */
	ATOLL_CORRUPT,     /* a block or bucket is not what its checksum or layout says */
	ATOLL_FENCED,      /* this client was declared dead: reconnect */
	ATOLL_NOT_SENT,    /* the connection is gone and it never left: reconnect, give it again */
	ATOLL_UNREACHABLE, /* no answer came, but nothing was changed: reconnect, give it again */
	ATOLL_REFUSED,     /* a right, a range or an agreement is wrong; `status` says which */
	/* may have been executed */
	ATOLL_IN_DOUBT, /* reconnect, then atoll_index_resolve */
	ATOLL_RESULTS,
};

enum atoll_class {
	ATOLL_EXECUTED,
	ATOLL_NOT_EXECUTED,
	ATOLL_UNKNOWN,
};

/* Which class a result belongs to, and what it means in words. */
enum atoll_class atoll_result_class(enum atoll_result result);
const char *atoll_result_text(enum atoll_result result);
const char *atoll_op_name(enum atoll_op op);

/* How an operation ended. */
struct atoll_outcome {
	enum atoll_op op;
	enum atoll_result result;
	unsigned status;      /* enum status (proto) of the verb that failed, or 0 */
	unsigned round_trips; /* that it took */
	uint64_t ticket;      /* of ATOLL_IN_DOUBT: for atoll_index_resolve; 0 where that cannot tell */
	const void *value;    /* of a get with ATOLL_OK; valid until the callback returns */
	uint32_t value_len;   /* bytes */
};

/* Called once for every operation, from inside poll. It may submit; it may not poll or wait. */
typedef void (*atoll_done)(void *arg, const struct atoll_outcome *outcome);

struct atoll_index;

/* Zero in any field is the default that is named. */
struct atoll_index_options {
	const char *socket;  /* control socket of this node's dataplane; that of the environment */
	const char *name;    /* of this client, for people to read; "index-client" */
	unsigned in_flight;  /* operations at once, 1 to 64; 16 */
	unsigned lanes;      /* ordered streams of verbs, 1 to 16; 1. More keep long values from
			      * holding up what comes behind them. */
	unsigned depth;      /* READs and atomics outstanding on a lane, 1 to 128; 32 */
	unsigned suspect_us; /* wait for another client's insert before asking about it; 2,000 */
	unsigned busy_ms;    /* and before giving up; 2,000 */
	unsigned cache;      /* a power of two. Hash: keys whose slots are remembered; 0 none. Tree: inner
			      * nodes remembered, of 1 to 2 KiB; 4,096 */
	unsigned type;       /* enum atoll_index_type that it must be; any */
	unsigned lease_ms;   /* time between heartbeats is a quarter of it; 50 */
	bool ft_off;         /* the control of measurements: what a death leaves is not repaired */
	bool shard_only;     /* of a cluster open this one shard: for looking at it and repairing it, as its
			      * keys are not told from others' */
	unsigned answer_ms;  /* wait for answers of the shard and the dataplane; 5,000 */
};

/**
 * atoll_index_open - become a client of an index.
 * @target: "NODE/SERVICE", or "SERVICE" on this node. If that shard is a member of a cluster, the context is one
 *   for all of it: keys go to the shards that hold them. Members that cannot be reached are left out until
 *   atoll_index_reconnect; one that knows of another directory than others is an error (-EPROTO).
 * @why: if not NULL, set to a sentence that says what is wrong when it fails; static storage of the
 *   calling thread.
 * Return: 0 or a negative errno.
 */
int atoll_index_open(struct atoll_index **out, const char *target,
		     const struct atoll_index_options *options, const char **why);

/* Ends the context. Operations in flight get their callbacks first, as after a lost connection. */
void atoll_index_close(struct atoll_index *ix);

/**
 * atoll_index_reconnect - connect again after a loss, under a new identity.
 * Operations still open end first. The shard fences the old identity off before it answers, so no
 * verb of it executes after the return.
 * Return: 0; -EAGAIN not yet reachable, try again later; -ESTALE the index was lost with the memory of
 * its node, and what was put into it (open anew to use the one that has taken its name); or another
 * negative errno.
 */
int atoll_index_reconnect(struct atoll_index *ix, const char **why);

/**
 * atoll_index_resolve - was an operation that ended ATOLL_IN_DOUBT executed? Exact, also where others have
 * repaired what was left of it, or have replaced since what it wrote.
 * To be called after atoll_index_reconnect, with no operation in flight. Waits for a few READs.
 * @ticket: of its struct atoll_outcome; that of the blocking calls is atoll_index_ticket. Remembered of the
 *   last 256, and asked for as often as one likes.
 * @executed: it was; or it was not and never will be.
 * Return: 0; -ENOENT no such ticket; -ESTALE too late: the number that this client had has been given to
 * another one; -EAGAIN it has not been fenced off: reconnect first; -EBUSY, -ENOTCONN; -EBADMSG the
 * node of a tree is damaged.
 */
int atoll_index_resolve(struct atoll_index *ix, uint64_t ticket, bool *executed);

/* Ticket of the operation that ended in doubt last, or 0. */
uint64_t atoll_index_ticket(const struct atoll_index *ix);

/* Is the connection lost, so that only reconnecting helps? Of a cluster: that of any member. Operations on the keys
 * of the others go on; those on its keys end with -ENOTCONN or ATOLL_NOT_SENT, and reconnecting is for it alone. */
bool atoll_index_lost(const struct atoll_index *ix);

/* How many shards the index is spread over; 1 that is no cluster. */
unsigned atoll_index_members(const struct atoll_index *ix);

/* The context of one of them, for the calls that look at a shard (lost, check, stats, identity); an index that is no
 * cluster is its own only member. NULL: there is no such member. It is not to be closed. */
struct atoll_index *atoll_index_member(struct atoll_index *ix, unsigned member);

/* The member that holds a key, or would. */
unsigned atoll_index_member_of(const struct atoll_index *ix, const void *key, size_t klen);

/* The shard's name, as it was opened or stands in the directory. */
const char *atoll_index_name(const struct atoll_index *ix);

/* Why a member is lost, "" if it is not. Valid until the next call that connects. */
const char *atoll_index_why(const struct atoll_index *ix);

/**
 * atoll_index_submit - start an operation. Key and value are copied.
 * Return: 0, -EAGAIN (in_flight are running: poll), -EINVAL (lengths), -ENOTCONN (reconnect).
 */
int atoll_index_submit(struct atoll_index *ix, enum atoll_op op, const void *key, size_t klen,
		       const void *value, size_t vlen, atoll_done done, void *arg);

/**
 * atoll_index_poll - make progress; never blocks.
 * Return: operations that ended in this call, or -ENOTCONN when the connection is gone and every
 * operation has ended.
 */
int atoll_index_poll(struct atoll_index *ix);

/* After a poll that found nothing: spins, yields or sleeps for a bounded time, as this node does.
 */
void atoll_index_idle(struct atoll_index *ix);

/* Operations that have not ended, and one more while this client splits a part of the table: others may wait
 * for that, so poll until it is 0 before doing something else for long. */
unsigned atoll_index_pending(const struct atoll_index *ix);

/**
 * atoll_index_get - read a value.
 * @size: in: bytes that @value has room for; out: length of the value, also where it did not fit
 *   (then as much as fits has been copied).
 */
enum atoll_result atoll_index_get(struct atoll_index *ix, const void *key, size_t klen, void *value,
				  size_t *size);
enum atoll_result atoll_index_put(struct atoll_index *ix, const void *key, size_t klen,
				  const void *value, size_t vlen);
enum atoll_result atoll_index_insert(struct atoll_index *ix, const void *key, size_t klen,
				     const void *value, size_t vlen);
enum atoll_result atoll_index_update(struct atoll_index *ix, const void *key, size_t klen,
				     const void *value, size_t vlen);
enum atoll_result atoll_index_delete(struct atoll_index *ix, const void *key, size_t klen);

/* What a walk through the whole table found. */
struct atoll_index_report {
	uint64_t slots;     /* in the subtables that hold entries */
	uint64_t subtables; /* those */
	uint64_t retired;   /* subtables that were split: they lead on to their halves */
	uint64_t entries;   /* committed and good */
	uint64_t key_bytes; /* of those */
	uint64_t value_bytes;
	uint64_t pending;    /* inserts that have not committed, now or ever */
	uint64_t torn;       /* blocks with a wrong checksum or length, slots that point nowhere */
	uint64_t misplaced;  /* good blocks in a bucket where their key is never looked for */
	uint64_t duplicates; /* second committed slots of one key, still there when looked at again
			      */
	uint64_t first_bad;  /* offset in the table region of the first bad slot, or 0 */
};

/* Called for each good entry. A return other than 0 ends the walk, which then returns it. */
typedef int (*atoll_entry)(void *arg, const void *key, size_t klen, const void *value, size_t vlen);
/* Called now and then: how much has been walked, of all. May be NULL. */
typedef void (*atoll_progress)(void *arg, uint64_t done, uint64_t all);

/**
 * atoll_index_dump - walk through the whole table with large READs. No operation may be in flight.
 * What other clients change meanwhile may be seen or not; what they do not change is seen.
 * Return: 0, -EBUSY, -ENOTCONN, -ENOMEM, -EIO (a READ was refused), or what @entry returned.
 */
int atoll_index_dump(struct atoll_index *ix, atoll_entry entry, atoll_progress progress, void *arg,
		     struct atoll_index_report *report);

/* What the index is. */
enum atoll_index_type atoll_index_type(const struct atoll_index *ix);

/**
 * atoll_index_scan - hand over the entries of a tree from a key on, in the order of the keys' bytes.
 * @from, @flen: where it begins, this key included; @flen 0: at the end.
 * @reverse: downwards. @limit: entries at most; 0 all.
 * @entry: called for each; it may not call into this context. A return other than 0 ends the scan.
 * The entries of a leaf are those of one instant; leaves are looked at one after the other. What is
 * there all the time is seen, once.
 * Return: 0 or what @entry returned; -EOPNOTSUPP it is no tree; -EBADMSG a node or block is damaged; -EBUSY a
 * node is being changed by somebody who neither ends nor was fenced off; -EINVAL; -ENOTCONN.
 */
int atoll_index_scan(struct atoll_index *ix, const void *from, size_t flen, bool reverse,
		     uint64_t limit, atoll_entry entry, void *arg);

/* How a scan ended: @rc is what @entry returned last, @entries were handed over. From inside poll; it may submit. */
typedef void (*atoll_scan_done)(void *arg, enum atoll_result result, int rc, uint64_t entries);

/**
 * atoll_index_scan_submit - start a scan, which counts as an operation; see atoll_index_scan.
 * @entry: called from inside poll; what it is given is valid until it returns.
 * Return: as atoll_index_submit, or -EOPNOTSUPP: it is no tree.
 */
int atoll_index_scan_submit(struct atoll_index *ix, const void *from, size_t flen, bool reverse,
			    uint64_t limit, atoll_entry entry, atoll_scan_done done, void *arg);

/* What became of the heap, in bytes: allocated = logs + reachable + held + left. */
struct atoll_index_account {
	uint64_t heap_bytes;
	uint64_t allocated_bytes; /* handed out by the shard */
	uint64_t log_bytes;
	uint64_t reachable_bytes; /* entries and subtables */
	uint64_t held_bytes;      /* free, resting or in flight with clients that live */
	uint64_t left_bytes;      /* by the dead: neither reachable nor held by anybody */
	uint64_t bad;             /* things that lie on one another, or where nothing was handed out */
};

/* As atoll_index_dump without entries, and accounts for the heap. */
int atoll_index_check(struct atoll_index *ix, atoll_progress progress, void *arg,
		      struct atoll_index_report *report, struct atoll_index_account *out);

/* How many of the deaths have been repaired by somebody who walked through the whole table, as
 * atoll_index_repair does. One READ, waited for. 0; -EOPNOTSUPP a tree; or negative errno, as atoll_index_repair. */
int atoll_index_repairs(struct atoll_index *ix, uint64_t *out);

/* What a repair found and did. */
struct atoll_index_repaired {
	uint64_t subtables; /* looked at, those that were split included; nodes of a tree */
	uint64_t dead;      /* clients that are dead, as the client table says */
	uint64_t inserts;   /* of the dead, which had not committed: taken back */
	uint64_t deletes;   /* of the dead, which had happened: what was left of them taken away */
	uint64_t splits;    /* of the dead: finished */
	uint64_t locks;     /* of the dead, under which nothing had begun, or all was done: freed */
	uint64_t open;      /* inserts and splits of clients that are not dead: left alone */
	uint64_t bad;       /* heads and words that make no sense: left alone */
};

/**
 * atoll_index_repair - finish or take back what dead clients have left anywhere in the table.
 * Those are dead whom the shard has declared so: their verbs are fenced off. Others may do the same at
 * the same time, and whoever does it may die at any verb. No operation may be in flight.
 * Return: 0, -EBUSY, -ENOTCONN, or another negative errno.
 */
int atoll_index_repair(struct atoll_index *ix, struct atoll_index_repaired *out);

/* What was done about the memory of the dead. */
struct atoll_index_recycled {
	uint64_t waiting; /* segments in which something is free, and that others may still look into */
	uint64_t given;   /* that the shard has taken back */
	uint64_t later;   /* that it has not: their owner may still ask what became of its operations */
	uint64_t bytes;   /* free in those that were taken */
};

/**
 * atoll_index_recycle - find what dead clients have left in their chunks, and give it back for others to use.
 * To be called again and again, with polls in between: at first it walks through the index, and when no client
 * can look at what it found any more, which takes some 200 ms, it tells the shard (@out->waiting is 0 then). No
 * operation may be in flight. Several clients may do it, and each may die at any time.
 * Return: 0; -EBADMSG the table is damaged, and nothing is given back; -EBUSY, -ENOTCONN.
 */
int atoll_index_recycle(struct atoll_index *ix, struct atoll_index_recycled *out);

/* How many clients the shard has declared dead so far: when it has risen there is something to repair.
 * One READ, waited for. 0 or negative errno, as atoll_index_repair. */
int atoll_index_deaths(struct atoll_index *ix, uint64_t *out);

/* Counts since the context was opened (reconnecting does not reset them). */
struct atoll_index_stats {
	uint64_t ops[ATOLL_OPS];
	uint64_t results[ATOLL_RESULTS];
	uint64_t round_trips[ATOLL_OPS];    /* of all operations of the kind together */
	uint64_t trips_hist[ATOLL_OPS][16]; /* operations by round trips; the last is 15 or more */
	uint64_t leaked_blocks; /* replaced or deleted in chunks of others; a tree's: all, and vain ones */
	uint64_t leaked_bytes;
	uint64_t reused_bytes; /* of blocks that left the table, and were free again */
	uint64_t chunk_bytes; /* received from the shard */
	uint64_t recycled_bytes; /* of those, free in segments that a dead client has left */
	uint64_t block_bytes; /* written as blocks: header, key, value */
	uint64_t log_bytes;   /* written as records and images */
	uint64_t collisions;  /* blocks read for a fingerprint that was another key's */
	uint64_t conflicts;   /* compare-and-swaps lost */
	uint64_t withdrawals; /* pending inserts taken back for another one */
	uint64_t waits;       /* looks at another client's pending insert */
	uint64_t suspicions;  /* questions to the shard */
	uint64_t cleared;     /* pending inserts of dead clients removed */
	uint64_t cache_hits;  /* of the slot cache */
	uint64_t cache_misses;
	uint64_t splits;      /* subtables split */
	uint64_t repairs;     /* of those, begun by a client that died */
	uint64_t split_slots; /* in subtables when they were split */
	uint64_t split_used;  /* of those, full: the load factor */
	uint64_t forwards;    /* operations sent on by a subtable that had been split */
	uint64_t merges;      /* nodes of a tree merged into their left neighbours */
	uint64_t handovers;   /* of locks of a tree, from operation to operation of this client */
	uint64_t shrinks;     /* roots of a tree that had one child left */
};

void atoll_index_stats(const struct atoll_index *ix, struct atoll_index_stats *out);

/* What the shard knows without looking at the table. */
struct atoll_index_shard {
	uint64_t clients;   /* alive */
	uint64_t dead;      /* declared dead, and their numbers not yet given again */
	uint64_t heap_used; /* bytes handed out to clients */
	uint64_t heap_size; /* bytes */
};

/* Asks the shard, and waits. 0 or negative errno. No operation may be in flight (-EBUSY). */
int atoll_index_shard_stat(struct atoll_index *ix, struct atoll_index_shard *out);

/* Who this client is at the shard (number and epoch there); at a member of a cluster, ask that. */
void atoll_index_identity(const struct atoll_index *ix, unsigned *cid, unsigned *epoch);

#endif
