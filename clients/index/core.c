/* SPDX-License-Identifier: Apache-2.0 */
/* Life of operations: start, sleep, wait for heap, end; and what is done in each poll. */
#include "clients/index/core_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLL_BATCH = 32, /* completions taken at a time */
	POLL_BATCHES = 4,
	BACKOFF_NS = 2000, /* first sleep of a waiter; doubles */
	BACKOFF_DOUBLINGS = 8,
};

uint64_t core_local_size(const struct core_engine *engine, unsigned ops)
{
	return (uint64_t)ops * engine->local_op + engine->local_more + CORE_LOCAL;
}

static bool config_good(const struct core_engine *engine, const struct core_config *c)
{
	if (!c->verbs || !c->nlanes || c->nlanes > CORE_LANES_MAX || !c->ops ||
	    c->ops > CORE_OPS_MAX || c->cid == 0 || c->cid >= INDEX_CLIENTS)
		return false;
	if (c->heap_offset % INDEX_LINE || c->heap_offset < INDEX_SUPER_SIZE || !c->heap_size ||
	    (c->heap_offset | c->heap_size) >= 1ull << 48 || (c->cache & (c->cache - 1)))
		return false;
	if (c->beat_us && (c->log_base < c->heap_offset || c->log_base % INDEX_LINE ||
			   c->log_base + INDEX_LOG_SIZE > c->heap_offset + c->heap_size))
		return false;
	return c->local_base && c->local_offset % INDEX_LINE == 0 &&
	       (uintptr_t)c->local_base % INDEX_LINE == 0 &&
	       c->local_size >= core_local_size(engine, c->ops) && engine->good(c);
}

static struct core_op *op_at(const struct core *k, unsigned i)
{
	return (struct core_op *)(void *)(k->ops + i * k->engine->op_size);
}

/* The epoch in which the oldest operation has begun; who waits for memory holds nothing. */
static uint64_t oldest(void *engine, uint64_t e)
{
	const struct core *k = engine;

	for (unsigned i = 0; i < k->c.ops; i++) {
		const struct core_op *op = op_at(k, i);

		if (op->state != CORE_FREE && op->state != CORE_WANT && op->epoch < e)
			e = op->epoch;
	}
	return k->engine->oldest ? k->engine->oldest(k, e) : e;
}

static bool room_waited(void *engine)
{
	return ((const struct core *)engine)->want.head != NULL;
}

static struct core_op *queue_take(struct core_queue *q)
{
	struct core_op *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

static void room_made(void *engine)
{
	struct core *k = engine;
	struct core_queue waiting = k->want;
	struct core_op *op;

	k->want = (struct core_queue){0};
	while ((op = queue_take(&waiting))) {
		op->epoch = k->reclaim.epoch;
		k->engine->resume(k, op);
	}
	if (k->engine->room)
		k->engine->room(k, false);
}

static void reclaim_start(struct core *k)
{
	const struct reclaim_config c = {
		.verbs = k->c.verbs,
		.lane = k->lane[0],
		.table = k->c.table,
		.control = k->c.control,
		.local = k->c.local,
		.local_base = k->local + CORE_LOCAL_RECLAIM,
		.local_offset = k->local_offset + CORE_LOCAL_RECLAIM,
		.cid = k->c.cid,
		.epoch = k->c.epoch,
		.every_us = k->c.reclaim_us,
		.busy_us = k->c.busy_us,
		.heap = &k->heap,
		.engine = k,
		.oldest = oldest,
		.waiting = room_waited,
		.room = room_made,
		.owner = k->c.owner,
		.now_ns = k->c.now_ns,
		.suspect = k->c.suspect,
	};

	reclaim_open(&k->reclaim, &c);
}

int core_open(struct core **out, const struct core_engine *engine, const struct core_config *config)
{
	uint64_t behind = core_local_size(engine, config->ops) - CORE_LOCAL;
	struct core *k;

	if (!config_good(engine, config))
		return -EINVAL;
	k = calloc(1, engine->size);
	if (!k)
		return -ENOMEM;
	k->engine = engine;
	k->c = *config;
	k->local = config->local_base + behind;
	k->local_offset = config->local_offset + behind;
	k->env = (struct rtx_env){
		.table = config->table,
		.local = config->local,
		.cid = config->cid,
		.epoch = config->epoch,
		.ft = !config->ft_off,
		.log_base = config->log_base,
	};
	memcpy(k->lane, config->lanes, config->nlanes * sizeof(k->lane[0]));
	k->random = (config->seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	k->ops = calloc(config->ops, engine->op_size);
	for (unsigned i = config->ops; k->ops && i-- > 0;) {
		struct core_op *op = op_at(k, i);

		op->index = (uint8_t)i;
		op->local = config->local_base + (size_t)i * engine->local_op;
		op->local_offset = config->local_offset + (uint64_t)i * engine->local_op;
		op->next = k->free;
		k->free = op;
	}
	if (!k->ops ||
	    heap_open(&k->heap, config->heap_offset, config->heap_size, &k->stats, config->owner,
		      config->want_chunk) ||
	    engine->open(k)) {
		core_close(k);
		return -ENOMEM;
	}
	reclaim_start(k);
	*out = k;
	return 0;
}

void core_close(struct core *k)
{
	if (k) {
		k->engine->close(k);
		heap_close(&k->heap);
		free(k->ops);
		free(k);
	}
}

const struct core_engine *core_engine(const struct core *k)
{
	return k->engine;
}

unsigned core_pending(const struct core *k)
{
	return k ? k->active + (k->engine->more ? k->engine->more(k) : 0) : 0;
}

bool core_restructuring(const struct core *k)
{
	return k && k->engine->restructuring && k->engine->restructuring(k);
}

bool core_lost(const struct core *k)
{
	return k->lost || k->gone;
}

const struct atoll_index_stats *core_stats(const struct core *k)
{
	return &k->stats;
}

int core_dump(struct core *k, atoll_entry entry, atoll_progress progress, void *arg,
	      struct atoll_index_report *report)
{
	return k->engine->dump(k, entry, progress, arg, report);
}

int core_repair(struct core *k, struct atoll_index_repaired *out)
{
	return k->engine->repair(k, out);
}

uint64_t core_random(struct core *k)
{
	k->random ^= k->random << 13;
	k->random ^= k->random >> 7;
	k->random ^= k->random << 17;
	return k->random * 0x2545f4914f6cdd1dull >> 11;
}

/* ------------------------------------------------------------------ operations */

static void block_build(struct core *k, struct core_op *op, const void *key, const void *value)
{
	static const uint8_t written_by[ATOLL_OPS] = {
		[ATOLL_PUT] = INDEX_KV_PUT,
		[ATOLL_INSERT] = INDEX_KV_INSERT,
		[ATOLL_UPDATE] = INDEX_KV_UPDATE,
	};
	struct index_kv *kv = (struct index_kv *)(void *)(op->local + k->engine->local_block);

	*kv = (struct index_kv){
		.klen = (uint16_t)op->klen,
		.op = written_by[op->kind],
		.vlen = op->vlen,
		.cid = k->c.cid,
		.epoch = k->c.epoch,
		.seq = ++k->seq,
	};
	memcpy(kv + 1, key, op->klen);
	if (op->vlen)
		memcpy((uint8_t *)(kv + 1) + op->klen, value, op->vlen);
}

int core_op_take(struct core *k, struct core_op **out)
{
	struct core_op *op = k->free;

	if (core_lost(k))
		return -ENOTCONN;
	if (!op)
		return -EAGAIN;
	k->free = op->next;
	k->active++;
	op->gen++;
	op->posted = op->unsent = op->written = op->reread = false;
	op->trips = 0;
	op->klen = op->vlen = 0;
	op->block = 0;
	op->epoch = k->reclaim.epoch;
	op->wait_begin = op->wait_word = op->wake_at = 0;
	op->wait_count = 0;
	*out = op;
	return 0;
}

int core_submit(struct core *k, enum atoll_op kind, const void *key, size_t klen, const void *value,
		size_t vlen, atoll_done done, void *arg)
{
	struct core_op *op;
	int rc;

	if ((unsigned)kind >= ATOLL_OPS || klen == 0 || klen > INDEX_KEY_MAX ||
	    vlen > INDEX_VALUE_MAX || !key || !done || (vlen && !value))
		return -EINVAL;
	rc = core_op_take(k, &op);
	if (rc)
		return rc;
	k->stats.ops[kind]++;
	op->kind = kind;
	op->klen = (uint32_t)klen;
	op->vlen = core_writes_block(kind) ? (uint32_t)vlen : 0;
	op->done = done;
	op->arg = arg;
	block_build(k, op, key, value);
	k->engine->begin(k, op);
	return 0;
}

void core_op_free(struct core *k, struct core_op *op, enum atoll_result result, bool whole)
{
	k->stats.results[result]++;
	if (whole) {
		k->stats.round_trips[op->kind] += op->trips;
		k->stats.trips_hist[op->kind][op->trips < 15 ? op->trips : 15]++;
	}
	if (op->state == CORE_SLEEP)
		k->asleep--;
	if (op->unsent)
		k->unsent--;
	op->state = CORE_FREE;
	op->posted = op->unsent = false;
	op->next = k->free;
	k->free = op;
	k->active--;
	k->ended++;
}

void core_op_sleep(struct core *k, struct core_op *op)
{
	unsigned n = op->wait_count < BACKOFF_DOUBLINGS ? op->wait_count : BACKOFF_DOUBLINGS;
	uint64_t most = (uint64_t)BACKOFF_NS << n;

	op->wait_count++;
	op->state = CORE_SLEEP;
	op->wake_at = core_now(k) + most / 2 + core_random(k) % (most / 2);
	k->asleep++;
}

static void wake_sleepers(struct core *k)
{
	uint64_t now = core_now(k);

	for (unsigned i = 0; i < k->c.ops && k->asleep; i++) {
		struct core_op *op = op_at(k, i);

		if (op->state == CORE_SLEEP && now >= op->wake_at) {
			k->asleep--;
			op->state = CORE_STATES;
			k->engine->wake(k, op);
		}
	}
}

void core_posted(struct core *k, struct core_op *op, int rc)
{
	if (rc == 0) {
		op->posted = true;
		op->trips++;
		k->doorbell = true;
	}
	if (op->unsent != (rc != 0)) {
		op->unsent = rc != 0;
		k->unsent += op->unsent ? 1u : -1u;
	}
}

static void post_unsent(struct core *k)
{
	for (unsigned i = 0; i < k->c.ops && k->unsent; i++) {
		struct core_op *op = op_at(k, i);
		int rc;

		if (op->state == CORE_FREE || !op->unsent)
			continue;
		rc = k->engine->post(k, op);
		if (rc == -EAGAIN)
			return;
		if (rc)
			k->engine->refused(k, op, rc);
	}
}

void core_abandon(struct core *k)
{
	k->gone = true;
	k->want = (struct core_queue){0};
	for (unsigned i = 0; i < k->c.ops; i++)
		if (op_at(k, i)->state != CORE_FREE)
			k->engine->cut(k, op_at(k, i));
}

/* ------------------------------------------------------------------ heap */

void core_op_want(struct core *k, struct core_op *op)
{
	struct core_queue *q = &k->want;

	op->state = CORE_WANT;
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
	heap_ask(&k->heap); /* what was asked for may have been answered since */
}

void core_chunk_add(struct core *k, uint64_t offset, uint64_t size)
{
	if (heap_chunk_add(&k->heap, offset, size))
		room_made(k);
	else
		core_chunk_none(k, ATOLL_CORRUPT, 0);
}

void core_chunk_used(struct core *k, uint64_t offset, uint64_t size, const uint64_t *map)
{
	if (heap_chunk_used(&k->heap, offset, size, map))
		room_made(k);
	else
		core_chunk_none(k, ATOLL_CORRUPT, 0);
}

void core_chunk_none(struct core *k, enum atoll_result result, unsigned status)
{
	struct core_queue waiting;
	struct core_op *op;

	k->heap.chunk_asked = false;
	/* What rests in limbo will be free in a while. */
	if (result == ATOLL_NO_SPACE && k->want.head && reclaim_hurry(&k->reclaim))
		return;
	waiting = k->want;
	k->want = (struct core_queue){0};
	if (k->engine->room)
		k->engine->room(k, true);
	while ((op = queue_take(&waiting)))
		k->engine->end(k, op, result, status);
}

/* ------------------------------------------------------------------ polls */

void core_complete(struct core *k, const struct verb_completion *done)
{
	uint64_t index = done->cookie & 0xff;
	struct core_op *op;

	if (index == RECLAIM_COOKIE) {
		k->lost |= !reclaim_done(&k->reclaim, done);
	} else if (index == CORE_BEAT_INDEX) {
		k->beat_out = false;
		k->lost |= core_status_lost(done->status[0]);
	} else if (index >= k->c.ops) {
		if (k->engine->other)
			k->engine->other(k, done);
	} else {
		op = op_at(k, (unsigned)index);
		if (op->state == CORE_FREE || !op->posted ||
		    op->gen != (uint8_t)(done->cookie >> 8))
			return;
		op->posted = false;
		k->engine->step(k, op, done);
	}
}

void core_beat(struct core *k)
{
	uint64_t now;
	struct verb v = {
		.op = VERB_WRITE,
		.len = 8,
		.remote = k->c.table,
		.remote_offset = k->c.log_base + INDEX_BEAT,
		.local = k->c.local,
		.local_offset = k->local_offset + CORE_LOCAL_BEAT,
	};

	if (!k->c.beat_us || k->lost || k->beat_out)
		return;
	now = core_now(k);
	if (now < k->beat_at)
		return;
	k->beat_at = now + k->c.beat_us * 1000ull;
	k->beat++;
	memcpy(k->local + CORE_LOCAL_BEAT, &k->beat, sizeof(k->beat));
	if (k->c.verbs->ops->post(k->c.verbs, k->lane[0], &v, 1, CORE_BEAT_INDEX) == 0)
		k->beat_out = k->doorbell = true;
}

uint64_t core_next(const struct core *k)
{
	uint64_t next = reclaim_next(&k->reclaim);

	/* What the provider had no room for is tried again by the clock, and so is what an engine does beside. */
	if (k->unsent || core_pending(k) > k->active)
		return 0;
	if (k->c.beat_us && !k->beat_out && k->beat_at < next)
		next = k->beat_at;
	for (unsigned i = 0, n = k->asleep; i < k->c.ops && n; i++) {
		const struct core_op *op = (const struct core_op *)(k->ops + i * k->engine->op_size);

		if (op->state != CORE_SLEEP)
			continue;
		next = op->wake_at < next ? op->wake_at : next;
		n--;
	}
	return next;
}

int core_poll(struct core *k)
{
	struct verb_completion done[POLL_BATCH];
	int n = 0;

	k->ended = 0;
	for (int batch = 0; batch < POLL_BATCHES && !k->gone; batch++) {
		n = k->c.verbs->ops->poll(k->c.verbs, done, POLL_BATCH);
		for (int i = 0; i < n; i++)
			core_complete(k, &done[i]);
		if (n < POLL_BATCH)
			break;
	}
	if (n < 0 && !k->gone)
		core_abandon(k);
	if (k->gone)
		return k->ended ? (int)k->ended : -ENOTCONN;
	if (k->asleep)
		wake_sleepers(k);
	if (k->unsent)
		post_unsent(k);
	if (k->engine->turn)
		k->engine->turn(k);
	core_beat(k);
	if (!k->lost)
		reclaim_tick(&k->reclaim);
	k->doorbell |= k->reclaim.doorbell;
	k->reclaim.doorbell = false;
	if (k->doorbell) {
		k->doorbell = false;
		k->c.verbs->ops->flush(k->c.verbs);
	}
	return (int)k->ended;
}
