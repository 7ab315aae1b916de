/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/dtx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/kv.h"
#include "proto/atoll_proto.h"

enum {
	PROBES = 16,	  /* buckets that a key may be in */
	TORN_MAX = 10000, /* reads of an item until it is damaged for good */
	BACKOFF_NS = 1000,
	BACKOFF_DOUBLINGS = 5,
	FULL = 1, /* bucket's flag: keys may be in the next one */
	BATCH = 16,

	/* local memory of an operation */
	LOCAL_CAS = 0,
	LOCAL_ZERO = 8,
	LOCAL_HEAD = 64,  /* what was read */
	LOCAL_NEW = 128,  /* the bucket's line to be */
	LOCAL_LOG = 192,
	LOCAL_IMAGE = LOCAL_LOG + DTX_LOG_HEAD, /* the item read; what the log holds of it stands where it is */
	LOCAL_ITEM = LOCAL_IMAGE + DTX_ITEM_MAX, /* the item to be */
	LOCAL_OP = LOCAL_ITEM + DTX_ITEM_MAX,

	LOG_SLOT = DTX_LOG_HEAD + DTX_ITEM_MAX,
};

enum state {
	FREE,
	HEAD,	/* reading the bucket's line */
	READING, /* the item */
	LOCKING, /* the item, and reading it */
	CLAIMING, /* the bucket, and reading its line */
	COMPARING, /* under the bucket's lock, an item with the same fingerprint */
	RELEASING, /* the lock of an item that was another key's, or the bucket's */
	LOGGING,
	COMMITTING,
};

struct head {
	uint64_t lock;
	uint8_t fp[DTX_ITEMS];
	uint8_t flags;
};
_Static_assert(sizeof(struct head) == 16, "written with one WRITE");

struct item {
	uint64_t lock;
	uint64_t version;
	uint32_t crc; /* of all that follows, after the version */
	uint16_t klen, vlen;
};
_Static_assert(sizeof(struct item) == DTX_ITEM_HEAD, "item");

/* One line, then the image. */
struct log {
	uint32_t crc; /* of the rest, and of the image */
	uint32_t len; /* of the image */
	uint64_t lock; /* the word that stands in the lock while this entry is in force */
	uint64_t at;   /* of what was locked, from the base */
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct log) == DTX_LOG_HEAD, "log entry");

struct op {
	struct op *next;
	enum state state, after; /* after: what RELEASING goes on with */
	enum dtx_op op;
	enum dtx_result result; /* after RELEASING, if `after` is FREE */
	uint64_t hash, bucket, lock;
	unsigned probe, slot;
	uint8_t fp, tried; /* slots that hold another key */
	unsigned tries, trips;
	uint64_t wake; /* 0: it is under way */
	bool posted;
	struct verb chain[4];
	unsigned nchain;
	uint8_t *local;
	uint64_t local_offset;
	uint16_t klen, vlen;
	uint8_t key[DTX_ITEM_MAX];
	dtx_done done;
	void *arg;
};

struct dtx {
	struct dtx_config c;
	struct dtx_stats stats;
	struct op *free;
	struct op *op;
	unsigned active, waiting;
	int ended;
	uint64_t seq, random;
};

uint64_t dtx_local_size(unsigned ops)
{
	return (uint64_t)ops * LOCAL_OP;
}

static uint64_t bucket_size(const struct dtx_config *c)
{
	return DTX_LINE + (uint64_t)DTX_ITEMS * c->item;
}

static uint64_t buckets_at(const struct dtx_config *c)
{
	return (uint64_t)c->clients * DTX_OPS_MAX * LOG_SLOT;
}

uint64_t dtx_table_size(const struct dtx_config *c)
{
	return buckets_at(c) + c->buckets * bucket_size(c);
}

static uint64_t log_at(uint16_t cid, unsigned i)
{
	return ((uint64_t)(cid - 1) * DTX_OPS_MAX + i) * LOG_SLOT;
}

static uint64_t item_at(const struct dtx *d, const struct op *o)
{
	return buckets_at(&d->c) + o->bucket * bucket_size(&d->c) + DTX_LINE + (uint64_t)o->slot * d->c.item;
}

static uint64_t head_at(const struct dtx *d, const struct op *o)
{
	return buckets_at(&d->c) + o->bucket * bucket_size(&d->c);
}

static uint32_t item_crc(const struct item *i)
{
	return kv_crc32c(0, (const uint8_t *)i + 20, 4u + i->klen + i->vlen);
}

/* Is the item in the image whole? */
static bool item_whole(const struct dtx *d, const struct item *i)
{
	return (size_t)DTX_ITEM_HEAD + i->klen + i->vlen <= d->c.item && item_crc(i) == i->crc;
}

int dtx_open(struct dtx **out, const struct dtx_config *c)
{
	struct dtx *d;

	if (!c->verbs || !c->buckets || !c->ops || c->ops > DTX_OPS_MAX || c->cid == 0 || c->cid > c->clients ||
	    c->item % DTX_LINE || c->item <= DTX_ITEM_HEAD || c->item > DTX_ITEM_MAX || c->base % DTX_LINE ||
	    !c->local_base || c->local_offset % DTX_LINE || !c->now_ns)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (d)
		d->op = calloc(c->ops, sizeof(*d->op));
	if (!d || !d->op) {
		free(d);
		return -ENOMEM;
	}
	d->c = *c;
	d->random = c->cid * 0x9e3779b97f4a7c15ull;
	for (unsigned i = c->ops; i-- > 0;) {
		d->op[i].local = c->local_base + (size_t)i * LOCAL_OP;
		d->op[i].local_offset = c->local_offset + (uint64_t)i * LOCAL_OP;
		d->op[i].next = d->free;
		d->free = &d->op[i];
	}
	*out = d;
	return 0;
}

void dtx_close(struct dtx *d)
{
	if (d)
		free(d->op);
	free(d);
}

/* ------------------------------------------------------------------ chains */

static void add(struct dtx *d, struct op *o, enum verb_op op, uint64_t at, unsigned local, uint32_t len)
{
	o->chain[o->nchain++] = (struct verb){
		.op = (uint8_t)op,
		.len = len,
		.remote = d->c.table,
		.remote_offset = d->c.base + at,
		.local = d->c.local,
		.local_offset = o->local_offset + local,
	};
}

static void add_lock(struct dtx *d, struct op *o, uint64_t at)
{
	add(d, o, VERB_CAS, at, LOCAL_CAS, 8);
	o->chain[o->nchain - 1].swap = o->lock;
}

static void add_zero(struct dtx *d, struct op *o, uint64_t at)
{
	memset(o->local + LOCAL_ZERO, 0, 8);
	add(d, o, VERB_WRITE, at, LOCAL_ZERO, 8);
}

static void post(struct dtx *d, struct op *o)
{
	int rc = d->c.verbs->ops->post(d->c.verbs, d->c.lane, o->chain, o->nchain, (uint64_t)(o - d->op));

	o->posted = rc == 0;
	o->trips += rc == 0;
	d->waiting += rc != 0; /* -EAGAIN: again at the next poll; else that says what it is */
	o->wake = rc ? 1 : 0;
}

static void go(struct dtx *d, struct op *o, enum state state)
{
	o->state = state;
	post(d, o);
}

static void end(struct dtx *d, struct op *o, enum dtx_result result, const void *value, size_t vlen)
{
	d->stats.ops[o->op]++;
	d->stats.trips[o->op] += o->trips;
	if (result == DTX_OK && (!d->stats.least[o->op] || o->trips < d->stats.least[o->op]))
		d->stats.least[o->op] = o->trips;
	o->state = FREE;
	o->next = d->free;
	d->free = o;
	d->active--;
	d->ended++;
	o->done(o->arg, result, value, vlen);
}

/* Later, but not much later. */
static void sleep_first(struct dtx *d, struct op *o)
{
	uint64_t most = (uint64_t)BACKOFF_NS << (o->tries < BACKOFF_DOUBLINGS ? o->tries : BACKOFF_DOUBLINGS);

	o->tries++;
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	o->wake = d->c.now_ns(d->c.owner) + BACKOFF_NS / 2 + d->random % most;
	d->waiting++;
}

/* ------------------------------------------------------------------ steps */

static void bucket_look(struct dtx *d, struct op *o)
{
	o->nchain = 0;
	o->tried = 0;
	o->bucket = (o->hash + o->probe) % d->c.buckets;
	if (o->op == DTX_INSERT) {
		add_lock(d, o, head_at(d, o));
		add(d, o, VERB_READ, head_at(d, o), LOCAL_HEAD, sizeof(struct head));
		go(d, o, CLAIMING);
	} else {
		add(d, o, VERB_READ, head_at(d, o), LOCAL_HEAD, sizeof(struct head));
		go(d, o, HEAD);
	}
}

/* The next slot whose fingerprint fits and that has not been tried. */
static bool slot_next(struct op *o, const struct head *h)
{
	for (unsigned i = 0; i < DTX_ITEMS; i++)
		if (h->fp[i] == o->fp && !(o->tried >> i & 1)) {
			o->slot = i;
			o->tried |= (uint8_t)(1u << i);
			return true;
		}
	return false;
}

/* No slot of this bucket has the key. */
static void bucket_next(struct dtx *d, struct op *o, const struct head *h)
{
	if (!(h->flags & FULL) || ++o->probe == PROBES)
		end(d, o, DTX_NOT_FOUND, NULL, 0);
	else
		bucket_look(d, o);
}

static void item_go(struct dtx *d, struct op *o, enum state state)
{
	o->nchain = 0;
	if (state == LOCKING)
		add_lock(d, o, item_at(d, o));
	add(d, o, VERB_READ, item_at(d, o), LOCAL_IMAGE, d->c.item);
	go(d, o, state);
}

static void slot_look(struct dtx *d, struct op *o)
{
	const struct head *h = (const void *)(o->local + LOCAL_HEAD);

	if (!slot_next(o, h))
		bucket_next(d, o, h);
	else
		item_go(d, o, o->op == DTX_GET ? READING : LOCKING);
}

static void release(struct dtx *d, struct op *o, uint64_t at, enum state after, enum dtx_result result)
{
	o->nchain = 0;
	o->after = after;
	o->result = result;
	add_zero(d, o, at);
	go(d, o, RELEASING);
}

static bool key_is(const struct op *o, const struct item *i)
{
	return i->klen == o->klen && memcmp(i + 1, o->key, o->klen) == 0;
}

/* Fills in what the log says of what is locked at @at: @len bytes of it stand behind the entry. */
static void log_make(struct dtx *d, struct op *o, uint64_t at, uint32_t len)
{
	struct log *l = (void *)(o->local + LOCAL_LOG);

	*l = (struct log){.len = len, .lock = o->lock, .at = at};
	l->crc = kv_crc32c(0, (const uint8_t *)l + 4, sizeof(*l) - 4 + len);
	add(d, o, VERB_WRITE, log_at(d->c.cid, (unsigned)(o - d->op)), LOCAL_LOG, (uint32_t)sizeof(*l) + len);
}

static void item_make(struct op *o, uint64_t version)
{
	struct item *i = (void *)(o->local + LOCAL_ITEM);

	i->version = version;
	i->klen = o->klen;
	i->vlen = o->vlen;
	i->crc = item_crc(i);
}

static void on_item_read(struct dtx *d, struct op *o)
{
	const struct item *i = (const void *)(o->local + LOCAL_IMAGE);

	if (!item_whole(d, i)) {
		d->stats.torn++;
		if (++o->tries == TORN_MAX)
			end(d, o, DTX_BAD, NULL, 0);
		else
			post(d, o);
	} else if (key_is(o, i)) {
		end(d, o, DTX_OK, (const uint8_t *)(i + 1) + i->klen, i->vlen);
	} else {
		slot_look(d, o);
	}
}

static void on_locked(struct dtx *d, struct op *o)
{
	struct item *i = (void *)(o->local + LOCAL_IMAGE);
	uint64_t was;

	memcpy(&was, o->local + LOCAL_CAS, sizeof(was));
	if (was) {
		d->stats.conflicts++;
		sleep_first(d, o);
		return;
	}
	if (!item_whole(d, i)) {
		release(d, o, item_at(d, o), FREE, DTX_BAD);
	} else if (!key_is(o, i)) {
		release(d, o, item_at(d, o), LOCKING, DTX_OK);
	} else {
		o->nchain = 0;
		item_make(o, i->version + 1);
		log_make(d, o, item_at(d, o), DTX_ITEM_HEAD + (uint32_t)i->klen + i->vlen);
		go(d, o, LOGGING);
	}
}

/* The bucket is ours, and none of its slots has the key. */
static void insert_here(struct dtx *d, struct op *o)
{
	const struct head *h = (const void *)(o->local + LOCAL_HEAD);
	struct head *n = (void *)(o->local + LOCAL_NEW);
	unsigned i = 0;

	*n = *h;
	n->lock = 0;
	while (i < DTX_ITEMS && h->fp[i])
		i++;
	o->nchain = 0;
	if (i == DTX_ITEMS) { /* says so, and goes on in the next */
		n->flags |= FULL;
		o->after = CLAIMING;
		add(d, o, VERB_WRITE, head_at(d, o), LOCAL_NEW, sizeof(*n));
		go(d, o, RELEASING);
		return;
	}
	o->slot = i;
	n->fp[i] = o->fp;
	item_make(o, 1);
	memset(o->local + LOCAL_ITEM, 0, 8);
	add(d, o, VERB_WRITE, item_at(d, o), LOCAL_ITEM, DTX_ITEM_HEAD + (uint32_t)o->klen + o->vlen);
	memcpy(o->local + LOCAL_IMAGE, h, sizeof(*h));
	log_make(d, o, head_at(d, o), sizeof(*h));
	go(d, o, LOGGING);
}

static void on_claimed(struct dtx *d, struct op *o, bool compared)
{
	const struct head *h = (const void *)(o->local + LOCAL_HEAD);
	const struct item *i = (const void *)(o->local + LOCAL_IMAGE);
	uint64_t was;

	memcpy(&was, o->local + LOCAL_CAS, sizeof(was));
	if (!compared && was) {
		d->stats.conflicts++;
		sleep_first(d, o);
		return;
	}
	if (compared && !item_whole(d, i)) {
		/* It is being updated: read it again. */
		d->stats.torn++;
		if (++o->tries == TORN_MAX)
			release(d, o, head_at(d, o), FREE, DTX_BAD);
		else
			post(d, o);
		return;
	}
	if (compared && key_is(o, i))
		release(d, o, head_at(d, o), FREE, DTX_EXISTS);
	else if (slot_next(o, h))
		item_go(d, o, COMPARING);
	else
		insert_here(d, o);
}

static void on_released(struct dtx *d, struct op *o)
{
	if (o->after == FREE)
		end(d, o, o->result, NULL, 0);
	else if (o->after == LOCKING)
		slot_look(d, o);
	else if (++o->probe == PROBES)
		end(d, o, DTX_FULL, NULL, 0);
	else
		bucket_look(d, o);
}

static void on_logged(struct dtx *d, struct op *o)
{
	o->nchain = 0;
	if (o->op == DTX_INSERT) {
		add(d, o, VERB_WRITE, head_at(d, o), LOCAL_NEW, sizeof(struct head));
	} else {
		add(d, o, VERB_WRITE, item_at(d, o) + 8, LOCAL_ITEM + 8,
		    DTX_ITEM_HEAD - 8 + (uint32_t)o->klen + o->vlen);
		add_zero(d, o, item_at(d, o));
	}
	go(d, o, COMMITTING);
}

static void step(struct dtx *d, struct op *o)
{
	const struct item *i = (const void *)(o->local + LOCAL_IMAGE);

	switch (o->state) {
	case FREE:
		break;
	case HEAD:
		slot_look(d, o);
		break;
	case READING:
		on_item_read(d, o);
		break;
	case LOCKING:
		on_locked(d, o);
		break;
	case CLAIMING:
	case COMPARING:
		on_claimed(d, o, o->state == COMPARING);
		break;
	case RELEASING:
		on_released(d, o);
		break;
	case LOGGING:
		on_logged(d, o);
		break;
	case COMMITTING:
		if (o->op == DTX_INSERT)
			end(d, o, DTX_OK, NULL, 0);
		else
			end(d, o, DTX_OK, (const uint8_t *)(i + 1) + i->klen, i->vlen);
		break;
	}
}

/* ------------------------------------------------------------------ calls */

int dtx_submit(struct dtx *d, enum dtx_op op, const void *key, size_t klen, const void *value, size_t vlen,
	       dtx_done done, void *arg)
{
	struct op *o = d->free;
	uint64_t h[2] = {kv_crc32c(0, key, klen), 0};

	if (klen == 0 || DTX_ITEM_HEAD + klen + vlen > d->c.item)
		return -EINVAL;
	if (!o)
		return -EAGAIN;
	d->free = o->next;
	d->active++;
	h[1] = (h[0] + 1) * 0x9e3779b97f4a7c15ull;
	o->hash = h[1] >> 24;
	o->fp = (uint8_t)(h[1] >> 8) ? (uint8_t)(h[1] >> 8) : 1;
	o->op = op;
	o->klen = (uint16_t)klen;
	o->vlen = (uint16_t)vlen;
	o->probe = o->tries = o->trips = 0;
	o->lock = (uint64_t)d->c.cid << 48 | (++d->seq & 0xffffffffffffull);
	o->done = done;
	o->arg = arg;
	memcpy(o->key, key, klen);
	if (op != DTX_GET) {
		memcpy(o->local + LOCAL_ITEM + DTX_ITEM_HEAD, key, klen);
		memcpy(o->local + LOCAL_ITEM + DTX_ITEM_HEAD + klen, value, vlen);
	}
	bucket_look(d, o);
	return 0;
}

/* What waits for its time, or for room. */
static void wake(struct dtx *d)
{
	uint64_t now = d->c.now_ns(d->c.owner);

	for (unsigned i = 0; i < d->c.ops && d->waiting; i++) {
		struct op *o = &d->op[i];

		if (o->state == FREE || o->posted || !o->wake || now < o->wake)
			continue;
		o->wake = 0;
		d->waiting--;
		post(d, o);
	}
}

int dtx_poll(struct dtx *d)
{
	struct verb_completion done[BATCH];
	int n;

	d->ended = 0;
	if (d->waiting)
		wake(d);
	d->c.verbs->ops->flush(d->c.verbs);
	n = d->c.verbs->ops->poll(d->c.verbs, done, BATCH);
	for (int k = 0; k < n; k++) {
		struct op *o = done[k].cookie < d->c.ops ? &d->op[done[k].cookie] : NULL;
		bool failed = false;

		if (!o || !o->posted)
			continue;
		o->posted = false;
		for (unsigned v = 0; v < done[k].count; v++)
			failed |= done[k].status[v] != STATUS_OK;
		if (failed)
			end(d, o, DTX_LOST, NULL, 0);
		else
			step(d, o);
	}
	d->c.verbs->ops->flush(d->c.verbs);
	return n < 0 ? n : d->ended;
}

unsigned dtx_pending(const struct dtx *d)
{
	return d->active;
}

const struct dtx_stats *dtx_stats(const struct dtx *d)
{
	return &d->stats;
}

/* ------------------------------------------------------------------ after a death */

unsigned dtx_undo(uint8_t *memory, const struct dtx_config *c, uint16_t cid)
{
	uint64_t end = dtx_table_size(c), size = bucket_size(c);
	unsigned freed = 0;
	uint64_t lock;

	/* What was locked and logged may be half written. */
	for (unsigned i = 0; i < DTX_OPS_MAX; i++) {
		const struct log *l = (const void *)(memory + log_at(cid, i));

		if (l->lock >> 48 != cid || l->len > DTX_ITEM_MAX || l->at % 8 || l->at > end - 8 ||
		    l->len > end - l->at || l->len < sizeof(struct head) ||
		    l->crc != kv_crc32c(0, (const uint8_t *)l + 4, sizeof(*l) - 4 + l->len))
			continue;
		memcpy(&lock, memory + l->at, 8);
		if (lock == l->lock)
			memcpy(memory + l->at + 8, (const uint8_t *)(l + 1) + 8, l->len - 8);
	}
	for (uint64_t at = buckets_at(c); at < end; at += size)
		for (unsigned i = 0; i <= DTX_ITEMS; i++) {
			uint8_t *word = memory + at + (i ? DTX_LINE + (uint64_t)(i - 1) * c->item : 0);

			memcpy(&lock, word, 8);
			if (lock >> 48 == cid) {
				memset(word, 0, 8);
				freed++;
			}
		}
	return freed;
}
