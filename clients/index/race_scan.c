/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation reads, and how it asks for it: buckets, blocks, lines of the client table. */
#include "clients/index/race_op.h"

#include <string.h>

/* ------------------------------------------------------------------ what was read */

uint64_t race_old_value(const struct race_op *op)
{
	uint64_t old;

	memcpy(&old, op->local + RACE_LOCAL_OLD, sizeof(old));
	return old;
}

/* Bytes of slot i of a combined bucket from its start. */
static uint32_t slot_in(unsigned i)
{
	return i / INDEX_BUCKET_SLOTS * INDEX_LINE + (uint32_t)offsetof(struct index_bucket, slot) +
	       i % INDEX_BUCKET_SLOTS * 8;
}

uint64_t race_slot_read(const struct race_op *op, unsigned i, uint64_t *at)
{
	unsigned half = i / (2 * INDEX_BUCKET_SLOTS);
	uint32_t in = slot_in(i % (2 * INDEX_BUCKET_SLOTS));
	uint64_t word;

	*at = op->sub.at + INDEX_LINE + op->place.combined[half] + in;
	memcpy(&word, op->local + RACE_LOCAL_COMBINED + half * INDEX_COMBINED_SIZE + in,
	       sizeof(word));
	return word;
}

bool race_scan_take(struct race_op *op)
{
	const uint8_t *line = op->local + RACE_LOCAL_COMBINED;
	uint64_t all = 0, odd = 0;
	uint32_t match = 0;

	for (unsigned b = 0; b < 4; b++, line += INDEX_LINE) {
		struct index_bucket k;
		uint32_t same = 0;

		memcpy(&k, line, sizeof(k));
		odd |= k.reserved;
		for (unsigned i = 0; i < INDEX_BUCKET_SLOTS; i++) {
			uint64_t word = k.slot[i];

			all |= word;
			same |= (uint32_t)(index_slot_fp(word) == op->place.fp &&
					   (word & ~INDEX_SLOT_MOVE) != 0 && !index_slot_tomb(word))
				<< i;
		}
		match |= same << b * INDEX_BUCKET_SLOTS;
	}
	op->match = match;
	op->frozen = (all & INDEX_SLOT_MOVE) != 0;
	return odd == 0;
}

struct race_seen *race_seen_find(struct race_op *op, uint64_t word)
{
	unsigned n = op->nseen < RACE_SEEN ? op->nseen : RACE_SEEN;

	for (unsigned i = 0; i < n; i++)
		if (op->seen[i].word == (word & ~(INDEX_SLOT_PEND | INDEX_SLOT_MOVE)))
			return &op->seen[i];
	return NULL;
}

void race_seen_add(struct race_op *op, uint64_t word, const struct index_kv *kv, bool same)
{
	op->seen[op->nseen++ % RACE_SEEN] = (struct race_seen){
		.word = word & ~(INDEX_SLOT_PEND | INDEX_SLOT_MOVE),
		.room = (uint32_t)index_kv_room(kv->klen, kv->vlen),
		.cid = kv->cid,
		.epoch = kv->epoch,
		.same = same,
	};
	if (op->nseen == 2 * RACE_SEEN)
		op->nseen = RACE_SEEN;
}

bool race_log_good(const struct race *r, uint64_t log)
{
	return log % INDEX_LINE == 0 && log >= r->c.heap_offset &&
	       r->c.heap_size >= INDEX_SEGMENT &&
	       log - r->c.heap_offset <= r->c.heap_size - INDEX_SEGMENT;
}

bool race_word_good(const struct race *r, uint64_t word)
{
	uint64_t at = index_slot_offset(word), size = index_slot_units(word) * INDEX_LINE;

	return !(word & INDEX_SLOT_TAG_MASK) && size != 0 && at >= r->c.heap_offset &&
	       size <= r->c.heap_size && at - r->c.heap_offset <= r->c.heap_size - size;
}

/* ------------------------------------------------------------------ chains */

static void read_buckets(struct race *r, struct race_op *op)
{
	for (unsigned half = 0; half < 2; half++)
		race_chain_add(r, op, VERB_READ, op->sub.at + INDEX_LINE + op->place.combined[half],
			       RACE_LOCAL_COMBINED + half * INDEX_COMBINED_SIZE,
			       INDEX_COMBINED_SIZE);
	/* Behind the buckets: if it does not lead on, it did not when they were read. The fence
	 * costs a round trip, where a split is met; without it the lines of neighbouring READs may
	 * come in any order. */
	op->headed = op->head;
	if (op->head)
		race_chain_add(r, op, VERB_READ, op->sub.at, RACE_LOCAL_HEAD, INDEX_LINE)->flags =
			VERB_FENCE;
	op->head = false;
}

void race_step_scan(struct race *r, struct race_op *op)
{
	race_chain_begin(op, RACE_SCAN);
	if (op->block && !op->written)
		race_chain_add(r, op, VERB_WRITE, op->block, RACE_LOCAL_BLOCK,
			       (uint32_t)sizeof(struct index_kv) + op->klen + op->vlen);
	read_buckets(r, op);
	race_chain_post(r, op);
}

bool race_read_block(struct race *r, struct race_op *op, uint64_t word, uint32_t len)
{
	unsigned n = op->nreading;
	uint32_t at = RACE_LOCAL_READ;

	if (n == VERB_CHAIN_MAX)
		return false;
	if (n)
		at = (op->reading_at[n - 1] + op->reading_len[n - 1] + INDEX_LINE - 1) &
		     ~(uint32_t)(INDEX_LINE - 1);
	if (at + len > RACE_LOCAL_READ + INDEX_KV_ROOM_MAX)
		return false;
	op->reading[n] = word;
	op->reading_at[n] = at;
	op->reading_len[n] = len;
	op->nreading++;
	race_chain_add(r, op, VERB_READ, index_slot_offset(word), at, len);
	return true;
}

void race_cas_look(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
		   uint64_t from, uint64_t to)
{
	race_chain_begin(op, state);
	race_chain_cas(r, op, slot, from, to);
	read_buckets(r, op);
	race_chain_post(r, op);
}

void race_replace(struct race *r, struct race_op *op)
{
	uint64_t block = index_slot_offset(op->target_word), to = op->word;

	if (op->kind == ATOLL_DELETE && !r->c.ft_off && !race_tomb_take(r, op)) {
		race_op_sleep(r, op); /* all are on their way */
		return;
	}
	if (op->kind == ATOLL_DELETE)
		to = op->tomb ? race_tomb_word(r, op) : 0;
	race_chain_begin(op, RACE_REPLACE);
	if (!r->c.ft_off && !heap_known(&r->heap, block)) {
		struct verb *v = race_chain_add(r, op, VERB_WRITE, block + INDEX_KV_FLAGS, 0, 1);

		v->local_offset = r->split.local_offset + RACE_SPLIT_SEEN;
	}
	race_chain_cas(r, op, op->target, op->target_word, to);
	race_chain_post(r, op);
}

void race_clear(struct race *r, struct race_op *op, uint64_t log)
{
	bool tomb = index_slot_tomb(op->target_word);

	if (tomb && !race_log_good(r, log)) { /* it cannot be written what became of it */
		race_decide(r, op);
		return;
	}
	race_chain_begin(op, RACE_CLEAR);
	if (tomb) {
		uint64_t outcome = index_outcome_make(op->target_word);

		memcpy(op->local + RACE_LOCAL_OUTCOME, &outcome, sizeof(outcome));
		race_chain_add(r, op, VERB_WRITE, log + index_outcome_at(op->target_word),
			       RACE_LOCAL_OUTCOME, sizeof(outcome));
	}
	race_chain_cas(r, op, op->target, op->target_word, 0);
	read_buckets(r, op);
	race_chain_post(r, op);
}

void race_cas_only(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
		   uint64_t from, uint64_t to)
{
	race_chain_begin(op, state);
	race_chain_cas(r, op, slot, from, to);
	race_chain_post(r, op);
}

void race_ask_owner(struct race *r, struct race_op *op, enum race_why why, uint16_t cid,
		    uint16_t epoch)
{
	struct verb *v;

	op->why = why;
	op->owner_cid = cid;
	op->owner_epoch = epoch;
	race_chain_begin(op, RACE_OWNER);
	v = race_chain_add(r, op, VERB_READ, INDEX_CLIENT_TABLE_OFFSET + (uint64_t)cid * INDEX_LINE,
			   RACE_LOCAL_CLIENT, INDEX_LINE);
	v->remote = r->c.control;
	race_chain_post(r, op);
}
