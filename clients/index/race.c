/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of the hash table as the core knows it: start, posting of chains, end. */
#include "clients/index/race_op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool good(const struct core_config *c)
{
	if (c->groups < INDEX_GROUPS_MIN || c->groups > INDEX_GROUPS_MAX ||
	    c->table_offset % INDEX_LINE || c->table_offset == 0 ||
	    c->table_offset >= 1ull << 48 || c->depth > INDEX_DEPTH_MAX ||
	    c->table_offset + (index_subtable_size(c->groups) << c->depth) > c->heap_offset)
		return false;
	return c->ft_off || (c->log_base >= c->heap_offset && c->log_base % INDEX_LINE == 0 &&
			     c->log_base + INDEX_LOG_SIZE <= c->heap_offset + c->heap_size);
}

static int open_engine(struct core *k)
{
	struct race *r = race_of(k);
	uint64_t at = (uint64_t)k->c.ops * RACE_LOCAL_OP + RACE_DUMP_TABLE + RACE_DUMP_BLOCKS;

	r->leaf_bits = k->c.depth + INDEX_DEPTH_GROW;
	if (r->leaf_bits > INDEX_DEPTH_MAX)
		r->leaf_bits = INDEX_DEPTH_MAX;
	r->leaf = calloc((size_t)1 << r->leaf_bits, sizeof(*r->leaf));
	if (k->c.cache)
		r->cache = calloc(k->c.cache, sizeof(*r->cache));
	r->split.local = k->c.local_base + at;
	r->split.local_offset = k->c.local_offset + at;
	r->split.local[RACE_SPLIT_SEEN] = INDEX_KV_SEEN;
	return r->leaf && (!k->c.cache || r->cache) ? 0 : -ENOMEM;
}

static void close_engine(struct core *k)
{
	free(race_of(k)->cache);
	free(race_of(k)->leaf);
}

static uint64_t oldest(const struct core *k, uint64_t e)
{
	const struct race_split *s = &((const struct race *)k)->split;

	return s->state != RACE_SPLIT_IDLE && s->epoch < e ? s->epoch : e;
}

static bool splitting(const struct core *k)
{
	return ((const struct race *)k)->split.state != RACE_SPLIT_IDLE && !core_lost(k);
}

static unsigned more(const struct core *k)
{
	return splitting(k) + (core_lost(k) ? 0 : ((const struct race *)k)->tombs);
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

int race_chain_post(struct race *r, struct race_op *op)
{
	uint64_t cookie = (uint64_t)op->gen << 8 | op->index;
	int rc = r->c.verbs->ops->post(r->c.verbs, r->lane[op->index % r->c.nlanes], op->chain,
				       op->nchain, cookie);

	if (rc == 0 && op->chain[0].op == VERB_WRITE)
		r->stats.block_bytes += op->chain[0].len;
	core_posted((struct core *)r, (struct core_op *)op, rc);
	return rc;
}

static int post(struct core *k, struct core_op *op)
{
	return race_chain_post(race_of(k), race_op_of(op));
}

/* ------------------------------------------------------------------ operations */

/* The block is in local memory but for what its place decides. */
static bool block_give(struct race *r, struct race_op *op)
{
	uint64_t room = index_kv_room(op->klen, op->vlen);

	op->block = heap_alloc(&r->heap, room);
	if (!op->block)
		return false;
	op->word = index_slot_make(op->place.fp, op->block, room);
	return true;
}

static void resume(struct core *k, struct core_op *o)
{
	struct race *r = race_of(k);
	struct race_op *op = race_op_of(o);

	if (k->want.head || !block_give(r, op))
		core_op_want(k, o);
	else
		race_step_scan(r, op);
}

static void begin(struct core *k, struct core_op *o)
{
	struct race *r = race_of(k);
	struct race_op *op = race_op_of(o);
	struct index_kv *kv = (struct index_kv *)(op->local + RACE_LOCAL_BLOCK);

	op->held = op->ending = op->evicted = op->headed = op->head = op->frozen = false;
	op->shown = false;
	op->tomb = 0;
	op->word = op->mine = 0;
	op->nseen = 0;
	kv_place(&op->place, kv_key(kv), op->klen, r->c.groups);
	op->sub = race_sub_find(r, op->place.prefix);
	if (core_writes_block(op->kind)) {
		kv_seal(kv);
		if (k->want.head || !block_give(r, op)) {
			core_op_want(k, o);
			return;
		}
	}
	if (!race_cache_begin(r, op))
		race_step_scan(r, op);
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
	core_op_free((struct core *)r, (struct core_op *)op, result, true);
	/* The callback may submit and so take this very operation; the value lies where only a
	 * later completion writes. */
	op->done(op->arg, &out);
}

static void end(struct core *k, struct core_op *op, enum atoll_result result, unsigned status)
{
	race_op_end(race_of(k), race_op_of(op), result, status);
}

void race_op_sleep(struct race *r, struct race_op *op)
{
	core_op_sleep((struct core *)r, (struct core_op *)op);
}

static void wake(struct core *k, struct core_op *op)
{
	op->state = RACE_SCAN;
	race_step_scan(race_of(k), race_op_of(op));
}

static void refused(struct core *k, struct core_op *op, int rc)
{
	k->lost |= rc == -ENOTCONN;
	if (rc == -ENOTCONN)
		end(k, op, ATOLL_NOT_SENT, STATUS_NOT_SENT);
	else
		end(k, op, ATOLL_REFUSED, STATUS_BAD_MESSAGE);
}

static void cut(struct core *k, struct core_op *o)
{
	struct race_op *op = race_op_of(o);
	bool publishes = op->state == RACE_COMMIT || op->state == RACE_REPLACE;

	if (op->ending)
		end(k, o, op->result, 0);
	else if (publishes && op->posted)
		end(k, o, ATOLL_IN_DOUBT, STATUS_UNREACHABLE);
	else
		end(k, o, ATOLL_NOT_SENT, STATUS_NOT_SENT);
}

static void room(struct core *k, bool none)
{
	race_split_room(race_of(k), none);
}

static void other(struct core *k, const struct verb_completion *done)
{
	uint64_t index = done->cookie & 0xff;

	if (index == RACE_SPLIT_INDEX)
		race_split_done(race_of(k), done);
	if (index == RACE_TOMB_INDEX)
		race_tomb_done(race_of(k), done);
}

static void turn(struct core *k)
{
	struct race *r = race_of(k);

	if (r->split.state != RACE_SPLIT_IDLE)
		race_split_pump(r);
	if (r->tombs)
		race_tomb_pump(r);
}

const struct core_engine race_engine = {
	.size = sizeof(struct race),
	.op_size = sizeof(struct race_op),
	.local_op = RACE_LOCAL_OP,
	.local_block = RACE_LOCAL_BLOCK,
	.local_more = RACE_DUMP_TABLE + RACE_DUMP_BLOCKS + RACE_SPLIT_LOCAL,
	.good = good,
	.open = open_engine,
	.close = close_engine,
	.begin = begin,
	.resume = resume,
	.wake = wake,
	.post = post,
	.refused = refused,
	.step = race_step,
	.cut = cut,
	.end = end,
	.room = room,
	.other = other,
	.turn = turn,
	.oldest = oldest,
	.more = more,
	.restructuring = splitting,
	.dump = race_dump,
	.mark = race_mark,
	.repair = race_repair,
	.resolve = race_resolve,
};
