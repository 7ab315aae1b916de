/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of an operation: what a chain's end means, and which chain comes next. */
#include "clients/index/race_op.h"

#include <string.h>

/* The slot in which the last scan has seen @word, to be remembered. */
static void remember(struct race *r, struct race_op *op, uint64_t word)
{
	for (unsigned i = 0; i < RACE_SLOTS && r->cache; i++) {
		uint64_t at;

		if (race_slot_read(op, i, &at) == word) {
			race_cache_put(r, op, at, word);
			return;
		}
	}
}

/* A get has read block @i whose key is ours. */
static void found(struct race *r, struct race_op *op, unsigned i)
{
	const struct index_kv *kv = (const struct index_kv *)(op->local + op->reading_at[i]);
	uint64_t word = op->reading[i], room;

	op->reading_at[0] = op->reading_at[i];
	op->reading_len[0] = op->reading_len[i];
	op->reading[0] = word;
	if (kv_whole(kv, op->reading_len[0])) {
		remember(r, op, word);
		race_op_end(r, op, ATOLL_OK, 0);
		return;
	}
	room = index_kv_room(kv->klen, kv->vlen);
	if (kv->vlen > INDEX_VALUE_MAX || room <= op->reading_len[0] ||
	    index_slot_units(word) != INDEX_LEN_LONG ||
	    index_slot_offset(word) - r->c.heap_offset > r->c.heap_size - room) {
		race_bad_read(r, op);
		return;
	}
	race_chain_begin(op, RACE_REST);
	op->nreading = 0;
	race_read_block(r, op, word, (uint32_t)room);
	race_chain_post(r, op);
}

static void identified(struct race *r, struct race_op *op)
{
	const uint8_t *key = op->local + RACE_LOCAL_BLOCK + sizeof(struct index_kv);

	for (unsigned i = 0; i < op->nreading; i++) {
		const struct index_kv *kv =
			(const struct index_kv *)(op->local + op->reading_at[i]);
		bool same = op->reading_len[i] >= sizeof(*kv) + op->klen &&
			    kv_key_is(kv, key, op->klen);

		if (op->kind == ATOLL_GET) {
			if (same) {
				found(r, op, i);
				return;
			}
			if (index_slot_units(op->reading[i]) < INDEX_LEN_LONG &&
			    !kv_whole(kv, op->reading_len[i])) {
				race_bad_read(r, op);
				return;
			}
		}
		if (!same)
			r->stats.collisions++;
		race_seen_add(op, op->reading[i], kv, same);
	}
	race_evaluate(r, op);
}

static void owner_read(struct race *r, struct race_op *op)
{
	struct index_client line;

	memcpy(&line, op->local + RACE_LOCAL_CLIENT, sizeof(line));
	if (rtx_is_dead(&line, op->owner_cid, op->owner_epoch)) {
		if (op->why != RACE_FOR_SPLIT) {
			race_clear(r, op, line.log_base);
			return;
		}
		race_split_repair(r, &op->sub, op->lock, line.log_base);
		op->head = true;
	} else {
		r->stats.suspicions++;
		r->c.suspect(r->c.owner, op->owner_cid, op->owner_epoch);
	}
	if (op->why == RACE_FOR_ROOM)
		race_decide(r, op);
	else
		race_op_sleep(r, op);
}

/* The first verb of a chain was executed, whatever became of the rest. */
static void first_done(struct race *r, struct race_op *op)
{
	switch (op->state) {
	case RACE_SCAN:
	case RACE_CACHED:
		if (op->chain[0].op == VERB_WRITE)
			op->written = true;
		break;
	case RACE_CLAIM:
		if (race_old_value(op) == 0) {
			op->held = op->shown = true;
			op->mine = op->target;
		} else {
			r->stats.conflicts++;
		}
		break;
	case RACE_WITHDRAW:
		op->held = false;
		op->evicted =
			(race_old_value(op) & ~INDEX_SLOT_MOVE) != (op->word | INDEX_SLOT_PEND);
		r->stats.withdrawals++;
		break;
	case RACE_CLEAR:
		if (race_old_value(op) == op->target_word)
			r->stats.cleared++;
		break;
	default:
		break;
	}
}

static void replaced(struct race *r, struct race_op *op)
{
	const struct race_seen *s = race_seen_find(op, op->target_word);

	if (race_old_value(op) != op->target_word) {
		race_tomb_drop(r, op);
		r->stats.conflicts++;
		race_step_scan(r, op);
		return;
	}
	heap_free(&r->heap, index_slot_offset(op->target_word),
			s ? s->room : index_slot_units(op->target_word) * INDEX_LINE);
	if (op->kind != ATOLL_DELETE)
		heap_linked(&r->heap, op->block);
	if (op->tomb)
		race_tomb_empty(r, op, op->target);
	if (op->kind == ATOLL_DELETE)
		race_cache_drop(r, op);
	else
		race_cache_put(r, op, op->target, op->word);
	race_op_end(r, op, ATOLL_OK, 0);
}

/* Our PEND was taken away, which is done to the dead only. */
static void evicted(struct race *r, struct race_op *op)
{
	r->lost = true;
	race_op_end(r, op, ATOLL_FENCED, STATUS_FENCED);
}

static void failed(struct race *r, struct race_op *op, unsigned status)
{
	bool publishes = op->state == RACE_COMMIT || op->state == RACE_REPLACE;

	if (core_status_lost(status))
		r->lost = true;
	if (status == STATUS_AGAIN) {
		/* Not executed, so nothing is sent twice by looking again. What was to end with a
		 * withdrawal goes on, and may even commit. */
		op->ending = false;
		race_tomb_drop(r, op);
		race_op_sleep(r, op);
	} else if (op->ending) {
		race_op_end(r, op, op->result, status);
	} else if (publishes && core_status_doubt(status)) {
		race_op_end(r, op, ATOLL_IN_DOUBT, status);
	} else {
		race_op_end(r, op, core_result_of(status), status);
	}
}

void race_step(struct core *k, struct core_op *o, const struct verb_completion *done)
{
	struct race *r = race_of(k);
	struct race_op *op = race_op_of(o);

	for (unsigned i = 0; i < op->nchain; i++) {
		unsigned status = i < done->count ? done->status[i] : STATUS_IN_DOUBT;

		if (status != STATUS_OK) {
			failed(r, op, status);
			return;
		}
		if (i == 0)
			first_done(r, op);
	}
	switch ((enum race_state)op->state) {
	case RACE_SCAN:
	case RACE_CLAIM:
	case RACE_CLEAR:
		race_evaluate(r, op);
		break;
	case RACE_WITHDRAW:
		if (op->ending)
			race_op_end(r, op, op->result, 0);
		else if (op->evicted)
			evicted(r, op);
		else
			race_evaluate(r, op);
		break;
	case RACE_IDENTIFY:
		identified(r, op);
		break;
	case RACE_REST:
		if (kv_whole((const struct index_kv *)(op->local + op->reading_at[0]),
			     op->reading_len[0]))
			race_op_end(r, op, ATOLL_OK, 0);
		else
			race_bad_read(r, op);
		break;
	case RACE_COMMIT:
		if (race_old_value(op) == (op->word | INDEX_SLOT_PEND)) {
			heap_linked(&r->heap, op->block);
			race_cache_put(r, op, op->mine, op->word);
			race_op_end(r, op, ATOLL_OK, 0);
		} else if (race_old_value(op) == (op->word | INDEX_SLOT_PEND | INDEX_SLOT_MOVE)) {
			op->held = false; /* frozen, and so left out by who splits */
			op->head = true;
			race_step_scan(r, op);
		} else {
			evicted(r, op);
		}
		break;
	case RACE_REPLACE:
		replaced(r, op);
		break;
	case RACE_OWNER:
		owner_read(r, op);
		break;
	case RACE_CACHED:
		if (!race_cache_hit(r, op))
			race_step_scan(r, op);
		else if (op->kind == ATOLL_GET)
			race_op_end(r, op, ATOLL_OK, 0);
		else
			race_replace(r, op);
		break;
	case RACE_FREE:
	case RACE_WANT:
	case RACE_SLEEP:
		break;
	}
}
