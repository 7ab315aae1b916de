/* SPDX-License-Identifier: Apache-2.0 */
/* Life of operations: start, posting of chains, sleep, blocks of heap, end. */
#include "clients/index/race_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLL_BATCH = 32, /* completions taken at a time */
	POLL_BATCHES = 4,
	BACKOFF_NS = 2000, /* first sleep of a waiter; doubles */
	BACKOFF_DOUBLINGS = 8,
};

uint64_t race_local_size(unsigned ops)
{
	return (uint64_t)ops * RACE_LOCAL_OP + RACE_DUMP_TABLE + RACE_DUMP_BLOCKS +
	       RACE_SPLIT_LOCAL;
}

static bool config_good(const struct race_config *c)
{
	if (!c->verbs || !c->nlanes || c->nlanes > RACE_LANES_MAX || !c->ops ||
	    c->ops > RACE_OPS_MAX || c->cid == 0 || c->cid >= INDEX_CLIENTS)
		return false;
	if (c->groups < INDEX_GROUPS_MIN || c->groups > INDEX_GROUPS_MAX ||
	    c->table_offset % INDEX_LINE || c->heap_offset % INDEX_LINE || c->heap_size == 0)
		return false;
	if ((c->heap_offset | c->heap_size | c->table_offset) >= 1ull << 48 ||
	    c->table_offset == 0 || c->depth > INDEX_DEPTH_MAX ||
	    c->table_offset + (index_subtable_size(c->groups) << c->depth) > c->heap_offset)
		return false;
	if (!c->ft_off && (c->log_base < c->heap_offset || c->log_base % INDEX_LINE ||
			   c->log_base + INDEX_LOG_SIZE > c->heap_offset + c->heap_size))
		return false;
	return c->local_base && c->local_offset % INDEX_LINE == 0 &&
	       (uintptr_t)c->local_base % INDEX_LINE == 0 &&
	       c->local_size >= race_local_size(c->ops);
}

/* The epoch in which the oldest operation has begun. */
static uint64_t oldest(void *engine, uint64_t e)
{
	const struct race *r = engine;

	for (unsigned i = 0; i < r->c.ops; i++)
		if (r->op[i].state != RACE_FREE && r->op[i].epoch < e)
			e = r->op[i].epoch;
	if (r->split.state != RACE_SPLIT_IDLE && r->split.epoch < e)
		e = r->split.epoch;
	return e;
}

static bool room_waited(void *engine)
{
	return ((const struct race *)engine)->want_block.head != NULL;
}

static void room_made(void *engine)
{
	race_room_made(engine);
}

static void reclaim_start(struct race *r)
{
	const struct reclaim_config c = {
		.verbs = r->c.verbs,
		.lane = r->lane[0],
		.table = r->c.table,
		.control = r->c.control,
		.local = r->c.local,
		.local_base = r->split.local + RACE_RECLAIM_LOCAL,
		.local_offset = r->split.local_offset + RACE_RECLAIM_LOCAL,
		.cid = r->c.cid,
		.epoch = r->c.epoch,
		.every_us = r->c.reclaim_us,
		.busy_us = r->c.busy_us,
		.heap = &r->heap,
		.engine = r,
		.oldest = oldest,
		.waiting = room_waited,
		.room = room_made,
		.owner = r->c.owner,
		.now_ns = r->c.now_ns,
		.suspect = r->c.suspect,
	};

	reclaim_open(&r->reclaim, &c);
}

int race_open(struct race **out, const struct race_config *config)
{
	struct race *r;

	if (!config_good(config))
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->op = calloc(config->ops, sizeof(*r->op));
	r->leaf_bits = config->depth + INDEX_DEPTH_GROW;
	if (r->leaf_bits > INDEX_DEPTH_MAX)
		r->leaf_bits = INDEX_DEPTH_MAX;
	r->leaf = calloc((size_t)1 << r->leaf_bits, sizeof(*r->leaf));
	if (config->cache)
		r->cache = calloc(config->cache, sizeof(*r->cache));
	r->c = *config;
	if (!r->op || !r->leaf || (config->cache && !r->cache) || heap_open(&r->heap, config->heap_offset, config->heap_size, &r->stats, config->owner,
		      config->want_chunk)) {
		heap_close(&r->heap);
		free(r->cache);
		free(r->leaf);
		free(r->op);
		free(r);
		return -ENOMEM;
	}
	r->env = (struct rtx_env){
		.table = config->table,
		.local = config->local,
		.cid = config->cid,
		.epoch = config->epoch,
		.ft = !config->ft_off,
		.log_base = config->log_base,
	};
	r->split.local = config->local_base + race_local_size(config->ops) - RACE_SPLIT_LOCAL;
	r->split.local_offset =
		config->local_offset + race_local_size(config->ops) - RACE_SPLIT_LOCAL;
	r->split.local[RACE_SPLIT_SEEN] = INDEX_KV_SEEN;
	memcpy(r->lane, config->lanes, config->nlanes * sizeof(r->lane[0]));
	r->random = (config->seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = config->ops; i-- > 0;) {
		struct race_op *op = &r->op[i];

		op->index = (uint8_t)i;
		op->local = config->local_base + (size_t)i * RACE_LOCAL_OP;
		op->local_offset = config->local_offset + (uint64_t)i * RACE_LOCAL_OP;
		op->next = r->free;
		r->free = op;
	}
	reclaim_start(r);
	*out = r;
	return 0;
}

void race_close(struct race *r)
{
	if (r) {
		heap_close(&r->heap);
		free(r->cache);
		free(r->leaf);
		free(r->op);
		free(r);
	}
}

uint64_t race_now(struct race *r)
{
	return r->c.now_ns(r->c.owner);
}

unsigned race_pending(const struct race *r)
{
	return r->active + race_splitting(r) + (race_lost(r) ? 0 : r->tombs);
}

bool race_splitting(const struct race *r)
{
	return r->split.state != RACE_SPLIT_IDLE && !r->lost && !r->gone;
}

bool race_lost(const struct race *r)
{
	return r->lost || r->gone;
}

const struct atoll_index_stats *race_stats(const struct race *r)
{
	return &r->stats;
}

/* ------------------------------------------------------------------ chains */

void race_chain_begin(struct race_op *op, enum race_state state)
{
	op->state = state;
	op->nchain = 0;
}

struct verb *race_chain_add(struct race *r, struct race_op *op, enum verb_op what, uint64_t remote,
			    uint32_t local, uint32_t len)
{
	struct verb *v = &op->chain[op->nchain++];

	*v = (struct verb){
		.op = (uint8_t)what,
		.len = len,
		.remote = r->c.table,
		.remote_offset = remote,
		.local = r->c.local,
		.local_offset = op->local_offset + local,
	};
	return v;
}

void race_chain_cas(struct race *r, struct race_op *op, uint64_t slot, uint64_t from, uint64_t to)
{
	struct verb *v = race_chain_add(r, op, VERB_CAS, slot, RACE_LOCAL_OLD, sizeof(uint64_t));

	v->compare = from;
	v->swap = to;
}

/* What could not be posted is posted, or its operation ended, in the next poll. */
int race_chain_post(struct race *r, struct race_op *op)
{
	uint64_t cookie = (uint64_t)op->gen << 8 | op->index;
	int rc = r->c.verbs->ops->post(r->c.verbs, r->lane[op->index % r->c.nlanes], op->chain,
				       op->nchain, cookie);

	if (rc == 0) {
		op->posted = true;
		op->trips++;
		if (op->chain[0].op == VERB_WRITE)
			r->stats.block_bytes += op->chain[0].len;
		r->doorbell = true;
	}
	if (op->unsent != (rc != 0)) {
		op->unsent = rc != 0;
		r->unsent += op->unsent ? 1u : -1u;
	}
	return rc;
}

/* ------------------------------------------------------------------ operations */

static void block_build(struct race *r, struct race_op *op, const void *key, const void *value)
{
	static const uint8_t written_by[ATOLL_OPS] = {
		[ATOLL_PUT] = INDEX_KV_PUT,
		[ATOLL_INSERT] = INDEX_KV_INSERT,
		[ATOLL_UPDATE] = INDEX_KV_UPDATE,
	};
	struct index_kv *kv = (struct index_kv *)(op->local + RACE_LOCAL_BLOCK);

	*kv = (struct index_kv){
		.klen = (uint16_t)op->klen,
		.op = written_by[op->kind],
		.vlen = op->vlen,
		.cid = r->c.cid,
		.epoch = r->c.epoch,
		.seq = ++r->seq,
	};
	memcpy(kv + 1, key, op->klen);
	if (op->vlen)
		memcpy((uint8_t *)(kv + 1) + op->klen, value, op->vlen);
}

static bool writes_block(enum atoll_op kind)
{
	return kind == ATOLL_PUT || kind == ATOLL_INSERT || kind == ATOLL_UPDATE;
}

int race_submit(struct race *r, enum atoll_op kind, const void *key, size_t klen, const void *value,
		size_t vlen, atoll_done done, void *arg)
{
	struct race_op *op = r->free;

	if ((unsigned)kind >= ATOLL_OPS || klen == 0 || klen > INDEX_KEY_MAX ||
	    vlen > INDEX_VALUE_MAX || !key || !done || (vlen && !value))
		return -EINVAL;
	if (race_lost(r))
		return -ENOTCONN;
	if (!op)
		return -EAGAIN;
	r->free = op->next;
	r->active++;
	r->stats.ops[kind]++;

	op->kind = kind;
	op->gen++;
	op->posted = op->unsent = op->written = op->held = op->reread = op->ending = false;
	op->evicted = op->headed = op->head = op->frozen = false;
	op->trips = 0;
	op->klen = (uint32_t)klen;
	op->vlen = writes_block(kind) ? (uint32_t)vlen : 0;
	op->epoch = r->reclaim.epoch;
	op->shown = false;
	op->tomb = 0;
	op->block = op->word = op->mine = 0;
	op->wait_begin = op->wait_word = op->wake_at = 0;
	op->wait_count = 0;
	op->nseen = 0;
	op->done = done;
	op->arg = arg;
	kv_place(&op->place, key, op->klen, r->c.groups);
	op->sub = race_sub_find(r, op->place.prefix);
	block_build(r, op, key, value);
	if (writes_block(kind)) {
		kv_seal((struct index_kv *)(op->local + RACE_LOCAL_BLOCK));
		if (r->want_block.head || !race_block_give(r, op)) {
			race_want_block(r, op);
			return 0;
		}
	}
	if (!race_cache_begin(r, op))
		race_step_scan(r, op);
	return 0;
}

void race_op_end(struct race *r, struct race_op *op, enum atoll_result result, unsigned status)
{
	const struct index_kv *kv = (const struct index_kv *)(op->local + RACE_LOCAL_READ);
	struct atoll_outcome out = {
		.op = op->kind,
		.result = result,
		.status = status,
		.round_trips = op->trips,
	};

	if (result == ATOLL_OK && op->kind == ATOLL_GET) {
		kv = (const struct index_kv *)(op->local + op->reading_at[0]);
		out.value = kv_value(kv);
		out.value_len = kv->vlen;
	}
	if (result == ATOLL_IN_DOUBT)
		out.ticket = race_doubt_add(r, op);
	else
		race_tomb_drop(r, op);
	if (result != ATOLL_OK)
		race_cache_drop(r, op);
	if (op->block && result != ATOLL_OK) {
		/* While its WRITE or its CAS may still come, it stays with the connection. */
		if (op->shown && !r->lost && !r->gone)
			heap_free(&r->heap, op->block, index_kv_room(op->klen, op->vlen));
		else if (!r->lost && !r->gone && !op->posted)
			heap_unused(&r->heap, op->block);
	}
	r->stats.results[result]++;
	r->stats.round_trips[op->kind] += op->trips;
	r->stats.trips_hist[op->kind][op->trips < 15 ? op->trips : 15]++;
	if (op->state == RACE_BACKOFF)
		r->asleep--;
	if (op->unsent)
		r->unsent--;
	op->state = RACE_FREE;
	op->posted = op->unsent = false;
	op->next = r->free;
	r->free = op;
	r->active--;
	r->ended++;
	/* The callback may submit and so take this very operation; the value lies where only a
	 * later completion writes. */
	op->done(op->arg, &out);
}

uint64_t race_random(struct race *r)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random * 0x2545f4914f6cdd1dull >> 11;
}

void race_op_sleep(struct race *r, struct race_op *op, uint64_t now)
{
	unsigned n = op->wait_count < BACKOFF_DOUBLINGS ? op->wait_count : BACKOFF_DOUBLINGS;
	uint64_t most = (uint64_t)BACKOFF_NS << n;

	op->wait_count++;
	op->state = RACE_BACKOFF;
	op->wake_at = now + most / 2 + race_random(r) % (most / 2);
	r->asleep++;
}

static void wake_sleepers(struct race *r)
{
	uint64_t now = race_now(r);

	for (unsigned i = 0; i < r->c.ops && r->asleep; i++) {
		struct race_op *op = &r->op[i];

		if (op->state == RACE_BACKOFF && now >= op->wake_at) {
			r->asleep--;
			op->state = RACE_SCAN;
			race_step_scan(r, op);
		}
	}
}

static void post_unsent(struct race *r)
{
	for (unsigned i = 0; i < r->c.ops && r->unsent; i++) {
		struct race_op *op = &r->op[i];

		int rc;

		if (op->state == RACE_FREE || !op->unsent)
			continue;
		rc = race_chain_post(r, op);
		if (rc == -EAGAIN)
			return;
		if (rc == -ENOTCONN) {
			r->lost = true;
			race_op_end(r, op, ATOLL_NOT_SENT, STATUS_NOT_SENT);
		} else if (rc) {
			race_op_end(r, op, ATOLL_REFUSED, STATUS_BAD_MESSAGE);
		}
	}
}

void race_abandon(struct race *r)
{
	r->gone = true;
	r->split.state = RACE_SPLIT_IDLE;
	r->want_block = (struct race_queue){0};
	for (unsigned i = 0; i < r->c.ops; i++) {
		struct race_op *op = &r->op[i];
		bool publishes = op->state == RACE_COMMIT || op->state == RACE_REPLACE;

		if (op->state == RACE_FREE)
			continue;
		if (op->ending)
			race_op_end(r, op, op->result, 0);
		else if (publishes && op->posted)
			race_op_end(r, op, ATOLL_IN_DOUBT, STATUS_UNREACHABLE);
		else
			race_op_end(r, op, ATOLL_NOT_SENT, STATUS_NOT_SENT);
	}
}

void race_complete(struct race *r, const struct verb_completion *done)
{
	uint64_t index = done->cookie & 0xff;
	struct race_op *op;

	if (index == RACE_SPLIT_INDEX)
		race_split_done(r, done);
	if (index == RECLAIM_COOKIE)
		r->lost |= !reclaim_done(&r->reclaim, done);
	if (index == RACE_TOMB_INDEX)
		race_tomb_done(r, done);
	if (index == RACE_BEAT_INDEX) {
		r->beat_out = false;
		r->lost |= race_status_lost(done->status[0]);
	}
	if (index >= r->c.ops)
		return;
	op = &r->op[index];
	if (op->state == RACE_FREE || !op->posted || op->gen != (uint8_t)(done->cookie >> 8))
		return;
	op->posted = false;
	race_step(r, op, done);
}

void race_beat(struct race *r)
{
	uint64_t now;
	struct verb v = {
		.op = VERB_WRITE,
		.len = 8,
		.remote = r->c.table,
		.remote_offset = r->c.log_base + INDEX_BEAT,
		.local = r->c.local,
		.local_offset = r->split.local_offset + RACE_SPLIT_BEAT,
	};

	if (!r->c.beat_us || r->lost || r->beat_out)
		return;
	now = race_now(r);
	if (now < r->beat_at)
		return;
	r->beat_at = now + r->c.beat_us * 1000ull;
	r->beat++;
	memcpy(r->split.local + RACE_SPLIT_BEAT, &r->beat, sizeof(r->beat));
	if (r->c.verbs->ops->post(r->c.verbs, r->lane[0], &v, 1, RACE_BEAT_INDEX) == 0)
		r->beat_out = r->doorbell = true;
}

int race_poll(struct race *r)
{
	struct verb_completion done[POLL_BATCH];
	int n = 0;

	r->ended = 0;
	for (int batch = 0; batch < POLL_BATCHES && !r->gone; batch++) {
		n = r->c.verbs->ops->poll(r->c.verbs, done, POLL_BATCH);
		for (int i = 0; i < n; i++)
			race_complete(r, &done[i]);
		if (n < POLL_BATCH)
			break;
	}
	if (n < 0 && !r->gone)
		race_abandon(r);
	if (r->gone)
		return r->ended ? (int)r->ended : -ENOTCONN;
	if (r->asleep)
		wake_sleepers(r);
	if (r->unsent)
		post_unsent(r);
	if (r->split.state != RACE_SPLIT_IDLE)
		race_split_pump(r);
	if (r->tombs)
		race_tomb_pump(r);
	race_beat(r);
	if (!r->lost)
		reclaim_tick(&r->reclaim);
	r->doorbell |= r->reclaim.doorbell;
	r->reclaim.doorbell = false;
	if (r->doorbell) {
		r->doorbell = false;
		r->c.verbs->ops->flush(r->c.verbs);
	}
	return (int)r->ended;
}
