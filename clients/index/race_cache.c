/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slot cache: where a key was found last, and in which word. One READ of the slot behind a READ
 * of the block says whether both still hold, so a get takes one round trip, and an update or delete
 * two. While it may be used an equal word is the same entry (reclaim.h); MOVE in it, or anything
 * else, sends the operation the long way. A hint and never more: an entry that is wrong costs a round
 * trip.
 */
#include "clients/index/race_op.h"

#include <string.h>

static struct race_cached *place(const struct race *r, const struct race_op *op)
{
	return &r->cache[op->place.hash[1] & (r->c.cache - 1)];
}

void race_cache_put(struct race *r, const struct race_op *op, uint64_t at, uint64_t word)
{
	/* A frozen word stays where it is for ever, also when it is long out of date. */
	if (!r->cache || (word & (INDEX_SLOT_MOVE | INDEX_SLOT_PEND)) ||
	    index_slot_units(word) == INDEX_LEN_LONG)
		return;
	*place(r, op) = (struct race_cached){op->place.hash[0], op->epoch, at, word};
}

void race_cache_drop(struct race *r, const struct race_op *op)
{
	struct race_cached *c;

	if (!r->cache)
		return;
	c = place(r, op);
	if (c->hash == op->place.hash[0])
		c->at = 0;
}

bool race_cache_begin(struct race *r, struct race_op *op)
{
	const struct race_cached *c;
	uint32_t size, need = (uint32_t)sizeof(struct index_kv) + op->klen;

	if (!r->cache || op->kind == ATOLL_INSERT)
		return false;
	c = place(r, op);
	size = index_slot_units(c->word) * INDEX_LINE;
	if (!c->at || c->hash != op->place.hash[0] || size < need ||
	    op->epoch > c->epoch + RECLAIM_CACHE)
		return false;
	race_chain_begin(op, RACE_CACHED);
	if (op->block)
		race_chain_add(r, op, VERB_WRITE, op->block, RACE_LOCAL_BLOCK, need + op->vlen);
	op->target = c->at;
	op->target_word = c->word;
	op->reading[0] = c->word;
	op->reading_at[0] = RACE_LOCAL_READ;
	op->reading_len[0] = op->kind == ATOLL_GET ? size : need;
	op->nreading = 1;
	race_chain_add(r, op, VERB_READ, index_slot_offset(c->word), RACE_LOCAL_READ,
		       op->reading_len[0]);
	race_chain_add(r, op, VERB_READ, c->at, RACE_LOCAL_OLD, sizeof(uint64_t));
	race_chain_post(r, op);
	return true;
}

bool race_cache_hit(struct race *r, struct race_op *op)
{
	const uint8_t *key = op->local + RACE_LOCAL_BLOCK + sizeof(struct index_kv);
	const struct index_kv *kv = (const struct index_kv *)(op->local + RACE_LOCAL_READ);
	uint64_t word;
	bool hit;

	memcpy(&word, op->local + RACE_LOCAL_OLD, sizeof(word));
	hit = word == op->target_word && kv_key_is(kv, key, op->klen) &&
	      (op->kind != ATOLL_GET || kv_whole(kv, op->reading_len[0]));
	if (hit) {
		race_cache_put(r, op, op->target, word);
		r->stats.cache_hits++;
	} else {
		r->stats.cache_misses++;
		race_cache_drop(r, op);
	}
	return hit;
}
