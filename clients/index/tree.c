/* SPDX-License-Identifier: Apache-2.0 */
/* Life of operations on a tree: start, posting of chains, sleep, blocks of heap, end. */
#include "clients/index/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/race_op.h" /* what statuses mean */
#include "clients/index/tree_op.h"

enum {
	POLL_BATCH = 32, /* completions taken at a time */
	POLL_BATCHES = 4,
	BACKOFF_NS = 2000, /* first sleep of a waiter; doubles */
	BACKOFF_DOUBLINGS = 8,
	TREE_CACHE_MIN = 8,
};

uint64_t tree_local_size(unsigned ops)
{
	/* behind the operations: the heartbeat, and what reclamation has */
	return (uint64_t)ops * TREE_LOCAL_OP + INDEX_LINE + RECLAIM_LOCAL;
}

static bool config_good(const struct tree_config *c)
{
	if (!c->verbs || !c->nlanes || c->nlanes > TREE_LANES_MAX || !c->ops ||
	    c->ops > TREE_OPS_MAX || c->cid == 0 || c->cid >= INDEX_CLIENTS)
		return false;
	if (c->heap_offset % INDEX_LINE || c->heap_offset < INDEX_SUPER_SIZE || !c->heap_size ||
	    (c->heap_offset | c->heap_size) >= 1ull << 48)
		return false;
	if (c->cache < TREE_CACHE_MIN || c->cache & (c->cache - 1))
		return false;
	if (c->beat_us && (c->log_base < c->heap_offset || c->log_base % INDEX_LINE ||
			   c->log_base + INDEX_SEGMENT > c->heap_offset + c->heap_size))
		return false;
	return c->local_base && c->local_offset % INDEX_LINE == 0 &&
	       (uintptr_t)c->local_base % INDEX_LINE == 0 &&
	       c->local_size >= tree_local_size(c->ops);
}

void tree_close(struct tree *t)
{
	if (t) {
		tree_inner_clear(t);
		tree_long_clear(t);
		heap_close(&t->heap);
		free(t->inner);
		free(t->op);
		free(t);
	}
}

uint64_t tree_now(struct tree *t)
{
	return t->c.now_ns(t->c.owner);
}

unsigned tree_pending(const struct tree *t)
{
	return t->active;
}

bool tree_lost(const struct tree *t)
{
	return t->lost || t->gone;
}

uint64_t tree_bad_at(const struct tree *t)
{
	return t->bad_at;
}

const struct atoll_index_stats *tree_stats(const struct tree *t)
{
	return &t->stats;
}

/* ------------------------------------------------------------------ chains */

/* What could not be posted is posted, or its operation ended, in the next poll. */
static int post(struct tree *t, struct tree_op *op)
{
	uint64_t cookie = (uint64_t)op->gen << 8 | op->index;
	int rc = op->post_rc;

	/* A chain that was refused is gone, and its operation ends in the next poll. */
	if (rc == 0 || rc == -EAGAIN)
		rc = rtx_commit(&op->tx, t->c.verbs, t->lane[op->index % t->c.nlanes], cookie);
	op->post_rc = rc;
	if (rc == 0) {
		op->posted = true;
		op->trips++;
		t->doorbell = true;
	}
	if (op->unsent != (rc != 0)) {
		op->unsent = rc != 0;
		t->unsent += op->unsent ? 1u : -1u;
	}
	return rc;
}

void tree_post(struct tree *t, struct tree_op *op, enum tree_state state)
{
	op->state = state;
	op->nchain = op->tx.n;
	op->base = 0;
	post(t, op);
}

/* Verbs that were certainly not executed are sent again; those before them are not. */
static void post_rest(struct tree *t, struct tree_op *op, unsigned first)
{
	memmove(op->tx.chain, op->tx.chain + first, (op->nchain - first) * sizeof(op->tx.chain[0]));
	op->base += first;
	op->nchain -= first;
	op->tx.n = op->nchain;
	post(t, op);
}

/* ------------------------------------------------------------------ heap */

bool tree_offset_good(const struct tree *t, uint64_t at, uint64_t size)
{
	return at % INDEX_LINE == 0 && at >= t->c.heap_offset && size <= t->c.heap_size &&
	       at - t->c.heap_offset <= t->c.heap_size - size;
}

bool tree_word_good(const struct tree *t, uint64_t word)
{
	return !(word & (INDEX_SLOT_TAG_MASK | INDEX_SLOT_PEND | INDEX_SLOT_MOVE)) &&
	       index_slot_units(word) &&
	       tree_offset_good(t, index_slot_offset(word),
				(uint64_t)index_slot_units(word) * INDEX_LINE);
}

static void queue_add(struct tree_queue *q, struct tree_op *op)
{
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
}

static struct tree_op *queue_take(struct tree_queue *q)
{
	struct tree_op *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

void tree_op_want(struct tree *t, struct tree_op *op)
{
	if (op->fixing) { /* it is for others, and they will do without */
		tree_op_end(t, op, op->result, 0);
		return;
	}
	op->state = TREE_WANT;
	queue_add(&t->want, op);
	heap_ask(&t->heap); /* what was asked for may have been answered since */
}

static void room_made(void *engine)
{
	struct tree *t = engine;
	struct tree_queue waiting = t->want;
	struct tree_op *op;

	t->want = (struct tree_queue){0};
	while ((op = queue_take(&waiting)))
		tree_start(t, op);
}

void tree_chunk_add(struct tree *t, uint64_t offset, uint64_t size)
{
	if (heap_chunk_add(&t->heap, offset, size))
		room_made(t);
	else
		tree_chunk_none(t, ATOLL_CORRUPT, 0);
}

void tree_chunk_none(struct tree *t, enum atoll_result result, unsigned status)
{
	struct tree_queue waiting;
	struct tree_op *op;

	t->heap.chunk_asked = false;
	/* What rests in limbo will be free in a while. */
	if (result == ATOLL_NO_SPACE && t->want.head && reclaim_hurry(&t->reclaim))
		return;
	waiting = t->want;
	t->want = (struct tree_queue){0};
	while ((op = queue_take(&waiting)))
		tree_op_end(t, op, result, status);
}

/* The epoch in which the oldest operation has begun; who waits for memory holds nothing. */
static uint64_t oldest(void *engine, uint64_t e)
{
	const struct tree *t = engine;

	for (unsigned i = 0; i < t->c.ops; i++)
		if (t->op[i].state != TREE_FREE && t->op[i].state != TREE_WANT && t->op[i].epoch < e)
			e = t->op[i].epoch;
	return e;
}

static bool room_waited(void *engine)
{
	return ((const struct tree *)engine)->want.head != NULL;
}

static void reclaim_start(struct tree *t)
{
	uint64_t at = (uint64_t)t->c.ops * TREE_LOCAL_OP + INDEX_LINE;
	const struct reclaim_config c = {
		.verbs = t->c.verbs,
		.lane = t->lane[0],
		.table = t->c.table,
		.control = t->c.control,
		.local = t->c.local,
		.local_base = t->c.local_base + at,
		.local_offset = t->c.local_offset + at,
		.cid = t->c.cid,
		.epoch = t->c.epoch,
		.every_us = t->c.reclaim_us,
		.busy_us = t->c.busy_us,
		.heap = &t->heap,
		.engine = t,
		.oldest = oldest,
		.waiting = room_waited,
		.room = room_made,
		.owner = t->c.owner,
		.now_ns = t->c.now_ns,
		.suspect = t->c.suspect,
	};

	reclaim_open(&t->reclaim, &c);
}

int tree_open(struct tree **out, const struct tree_config *config)
{
	const uint64_t fenced = INDEX_TREE_FENCED;
	struct tree *t;

	if (!config_good(config))
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->op = calloc(config->ops, sizeof(*t->op));
	t->inner = calloc(config->cache, sizeof(struct tree_inner *));
	if (!t->op || !t->inner ||
	    heap_open(&t->heap, config->heap_offset, config->heap_size, &t->stats, config->owner,
		      config->want_chunk)) {
		free(t->inner);
		free(t->op);
		free(t);
		return -ENOMEM;
	}
	t->c = *config;
	t->env = (struct rtx_env){
		.table = config->table,
		.local = config->local,
		.cid = config->cid,
		.epoch = config->epoch,
		.ft = !config->ft_off,
		.log_base = config->log_base,
	};
	memcpy(t->lane, config->lanes, config->nlanes * sizeof(t->lane[0]));
	t->random = (config->seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned i = config->ops; i-- > 0;) {
		struct tree_op *op = &t->op[i];

		op->index = (uint8_t)i;
		op->local = config->local_base + (size_t)i * TREE_LOCAL_OP;
		op->local_offset = config->local_offset + (uint64_t)i * TREE_LOCAL_OP;
		memcpy(op->local + TREE_LOCAL_FENCED, &fenced, sizeof(fenced));
		op->next = t->free;
		t->free = op;
	}
	reclaim_start(t);
	*out = t;
	return 0;
}

/* ------------------------------------------------------------------ operations */

static bool writes_block(enum atoll_op kind)
{
	return kind == ATOLL_PUT || kind == ATOLL_INSERT || kind == ATOLL_UPDATE;
}

static void block_build(struct tree *t, struct tree_op *op, const void *key, const void *value)
{
	static const uint8_t written_by[ATOLL_OPS] = {
		[ATOLL_PUT] = INDEX_KV_PUT,
		[ATOLL_INSERT] = INDEX_KV_INSERT,
		[ATOLL_UPDATE] = INDEX_KV_UPDATE,
	};
	struct index_kv *kv = (struct index_kv *)(void *)(op->local + TREE_LOCAL_BLOCK);

	*kv = (struct index_kv){
		.klen = (uint16_t)op->klen,
		.op = written_by[op->kind],
		.vlen = op->vlen,
		.cid = t->c.cid,
		.epoch = t->c.epoch,
		.seq = ++t->seq,
	};
	memcpy(kv + 1, key, op->klen);
	if (op->vlen)
		memcpy((uint8_t *)(kv + 1) + op->klen, value, op->vlen);
	op->key = kv_key(kv);
}

int tree_op_take(struct tree *t, struct tree_op **out)
{
	struct tree_op *op = t->free;

	if (tree_lost(t))
		return -ENOTCONN;
	if (!op)
		return -EAGAIN;
	t->free = op->next;
	t->active++;
	op->gen++;
	op->posted = op->unsent = op->reread = op->finished = false;
	op->post_rc = 0;
	op->moved = op->root_seen = op->written = op->strict = op->last = op->locks = false;
	op->held = op->mend = op->mend_due = op->sibling_seen = false;
	op->left_held = op->right_held = op->merged = false;
	op->gone = op->dropped = op->old_word = 0;
	op->epoch = t->reclaim.epoch;
	op->fixing = op->fix.due = op->deciding = op->scan.on = false;
	op->trips = op->skip = op->torn = op->hops = 0;
	op->wait_begin = op->wait_word = 0;
	op->wait_count = 0;
	op->goal = 0;
	op->vlen = 0;
	op->at = op->block = 0;
	op->walk = NULL;
	rtx_begin(&op->tx, &t->env, op->index, op->local + TREE_LOCAL_RTX,
		  op->local_offset + TREE_LOCAL_RTX);
	*out = op;
	return 0;
}

int tree_submit(struct tree *t, enum atoll_op kind, const void *key, size_t klen, const void *value,
		size_t vlen, atoll_done done, void *arg)
{
	struct tree_op *op;
	int rc;

	if ((unsigned)kind >= ATOLL_OPS || klen == 0 || klen > INDEX_KEY_MAX ||
	    vlen > INDEX_VALUE_MAX || !key || !done || (vlen && !value))
		return -EINVAL;
	rc = tree_op_take(t, &op);
	if (rc)
		return rc;
	t->stats.ops[kind]++;
	op->kind = kind;
	op->klen = (uint32_t)klen;
	op->vlen = writes_block(kind) ? (uint32_t)vlen : 0;
	op->locks = kind != ATOLL_GET;
	op->done = done;
	op->arg = arg;
	block_build(t, op, key, value);
	tree_start(t, op);
	return 0;
}

void tree_op_end(struct tree *t, struct tree_op *op, enum atoll_result result, unsigned status)
{
	struct atoll_outcome out = {
		.op = op->kind,
		.result = op->finished ? op->result : result,
		.status = op->finished ? op->status : status,
		.round_trips = op->trips,
	};

	if (out.result == ATOLL_OK && op->kind == ATOLL_GET && !op->scan.on && !op->walk) {
		out.value = op->local + TREE_LOCAL_READ + op->value_at;
		out.value_len = op->value_len;
	}
	if (op->block && out.result == ATOLL_OK)
		heap_linked(&t->heap, op->block);
	else if (op->block && out.result != ATOLL_IN_DOUBT && !t->lost && !t->gone)
		heap_unused(&t->heap, op->block); /* no entry was made of it */
	t->stats.results[out.result]++;
	if (!op->scan.on && !op->walk) {
		t->stats.round_trips[op->kind] += op->trips;
		t->stats.trips_hist[op->kind][op->trips < 15 ? op->trips : 15]++;
	}
	if (op->state == TREE_BACKOFF)
		t->asleep--;
	if (op->unsent)
		t->unsent--;
	op->state = TREE_FREE;
	op->posted = op->unsent = false;
	op->next = t->free;
	t->free = op;
	t->active--;
	t->ended++;
	/* The callback may submit and so take this very operation; the value lies where only a
	 * later completion writes. */
	if (op->walk) {
		op->walk->ended = true;
		op->walk->result = out.result;
	} else if (op->scan.on)
		op->scan.done(op->arg, out.result, op->scan.rc, op->scan.n);
	else
		op->done(op->arg, &out);
}

static uint64_t random_next(struct tree *t)
{
	t->random ^= t->random << 13;
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random * 0x2545f4914f6cdd1dull >> 11;
}

void tree_op_sleep(struct tree *t, struct tree_op *op)
{
	unsigned n = op->wait_count < BACKOFF_DOUBLINGS ? op->wait_count : BACKOFF_DOUBLINGS;
	uint64_t most = (uint64_t)BACKOFF_NS << n;

	op->wait_count++;
	op->state = TREE_BACKOFF;
	op->wake_at = tree_now(t) + most / 2 + random_next(t) % (most / 2);
	t->asleep++;
}

static void wake_sleepers(struct tree *t)
{
	uint64_t now = tree_now(t);

	for (unsigned i = 0; i < t->c.ops && t->asleep; i++) {
		struct tree_op *op = &t->op[i];

		if (op->state == TREE_BACKOFF && now >= op->wake_at) {
			t->asleep--;
			op->state = TREE_READ;
			tree_go(t, op);
		}
	}
}

static void post_unsent(struct tree *t)
{
	for (unsigned i = 0; i < t->c.ops && t->unsent; i++) {
		struct tree_op *op = &t->op[i];
		int rc;

		if (op->state == TREE_FREE || !op->unsent)
			continue;
		rc = post(t, op);
		if (rc == -EAGAIN)
			return;
		if (rc) {
			/* A lock that is held stays: the connection must end for others to go on.
			 */
			t->lost = true;
			tree_failed(t, op, op->base,
				    rc == -ENOTCONN ? STATUS_NOT_SENT : STATUS_BAD_MESSAGE);
		}
	}
}

void tree_abandon(struct tree *t)
{
	t->gone = true;
	t->want = (struct tree_queue){0};
	for (unsigned i = 0; i < t->c.ops; i++) {
		struct tree_op *op = &t->op[i];

		if (op->state == TREE_FREE)
			continue;
		if (op->state == TREE_COMMIT && op->deciding && (op->posted || op->base))
			tree_op_end(t, op, ATOLL_IN_DOUBT, STATUS_UNREACHABLE);
		else
			tree_op_end(t, op, ATOLL_NOT_SENT, STATUS_NOT_SENT);
	}
}

static void complete(struct tree *t, const struct verb_completion *done)
{
	uint64_t index = done->cookie & 0xff;
	struct tree_op *op;
	unsigned first = 0;

	if (index == RECLAIM_COOKIE)
		t->lost |= !reclaim_done(&t->reclaim, done);
	if (index == TREE_BEAT_INDEX) {
		t->beat_out = false;
		t->lost |= race_status_lost(done->status[0]);
	}
	if (index >= t->c.ops)
		return;
	op = &t->op[index];
	if (op->state == TREE_FREE || !op->posted || op->gen != (uint8_t)(done->cookie >> 8) ||
	    done->count != op->nchain)
		return;
	op->posted = false;
	while (first < op->nchain && done->status[first] == STATUS_OK)
		first++;
	if (first < op->nchain && done->status[first] == STATUS_AGAIN)
		post_rest(t, op, first);
	else
		tree_step(t, op, done);
}

/* Says that we live, for whoever suspects that we do not. */
static void beat(struct tree *t)
{
	uint64_t now = tree_now(t), at = (uint64_t)t->c.ops * TREE_LOCAL_OP;
	struct verb v = {
		.op = VERB_WRITE,
		.len = 8,
		.remote = t->c.table,
		.remote_offset = t->c.log_base + INDEX_BEAT,
		.local = t->c.local,
		.local_offset = t->c.local_offset + at,
	};

	if (now < t->beat_at || t->beat_out)
		return;
	t->beat_at = now + t->c.beat_us * 1000ull;
	t->beat++;
	memcpy(t->c.local_base + at, &t->beat, sizeof(t->beat));
	if (t->c.verbs->ops->post(t->c.verbs, t->lane[0], &v, 1, TREE_BEAT_INDEX) == 0)
		t->beat_out = t->doorbell = true;
}

int tree_poll(struct tree *t)
{
	struct verb_completion done[POLL_BATCH];
	int n = 0;

	t->ended = 0;
	for (int batch = 0; batch < POLL_BATCHES && !t->gone; batch++) {
		n = t->c.verbs->ops->poll(t->c.verbs, done, POLL_BATCH);
		for (int i = 0; i < n; i++)
			complete(t, &done[i]);
		if (n < POLL_BATCH)
			break;
	}
	if (n < 0 && !t->gone)
		tree_abandon(t);
	if (t->gone)
		return t->ended ? (int)t->ended : -ENOTCONN;
	if (t->asleep)
		wake_sleepers(t);
	if (t->unsent)
		post_unsent(t);
	if (t->c.beat_us && !t->lost)
		beat(t);
	if (!t->lost)
		reclaim_tick(&t->reclaim);
	if (t->doorbell || t->reclaim.doorbell) {
		t->doorbell = t->reclaim.doorbell = false;
		t->c.verbs->ops->flush(t->c.verbs);
	}
	return (int)t->ended;
}
