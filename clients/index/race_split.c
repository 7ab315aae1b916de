/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting of subtables, and finishing what a dead client has begun to split.
 *
 * Whoever finds no free slot for a key takes the lock of the subtable, says in its log where the
 * halves will be, and freezes every slot (FAA of MOVE, which is added only under the lock and only
 * where it lacks). From then on nothing of it changes: a commit, an update, a withdrawal all are
 * compare-and-swaps that do not know of MOVE. Gets go on reading. The frozen entries are then
 * copied into two new subtables, by the next bit of their hash, without the words that have PEND:
 * those were never visible, and their owners find them frozen and begin anew. One WRITE of one word
 * (`next`) makes the halves valid and ends the old subtable at one instant; everything before it is
 * private, everything behind it is tidying.
 *
 * Where the splitter has died, the next client claims the lock and goes on with the same pair,
 * which the record names. Before `next` is written nobody else knows the halves, and they are a
 * function of what is frozen, so writing them again is harmless; once it is written they are not
 * written again.
 */
#include "clients/index/race_op.h"

#include <errno.h>
#include <string.h>

static uint64_t pair_size(const struct race *r)
{
	return 2 * index_subtable_size(r->c.groups);
}

bool race_sub_offset_good(const struct race *r, uint64_t at, unsigned n)
{
	uint64_t size = n * index_subtable_size(r->c.groups);

	return at % INDEX_LINE == 0 && at >= r->c.heap_offset && size <= r->c.heap_size &&
	       at - r->c.heap_offset <= r->c.heap_size - size;
}

struct race_sub race_sub_find(const struct race *r, uint32_t prefix)
{
	uint64_t leaf = r->leaf[r->leaf_bits ? prefix >> (32 - r->leaf_bits) : 0];
	unsigned depth = leaf ? (unsigned)(leaf >> 42) : r->c.depth;
	struct race_sub sub = {.depth = depth, .prefix = depth ? prefix >> (32 - depth) : 0};

	sub.at = leaf ? (leaf & INDEX_SLOT_UNITS_MASK) * INDEX_LINE
		      : r->c.table_offset + sub.prefix * index_subtable_size(r->c.groups);
	return sub;
}

bool race_sub_learn(struct race *r, const struct race_sub *sub, uint64_t pair)
{
	unsigned depth = sub->depth + 1, each;

	if (!race_sub_offset_good(r, pair, 2) || depth > r->leaf_bits)
		return false;
	each = 1u << (r->leaf_bits - depth);
	for (unsigned half = 0; half < 2; half++) {
		uint64_t at = pair + half * index_subtable_size(r->c.groups);
		uint64_t *leaf = &r->leaf[(size_t)(sub->prefix << 1 | half) * each];

		for (unsigned i = 0; i < each; i++)
			if (leaf[i] >> 42 < depth) /* nothing better is known */
				leaf[i] = at / INDEX_LINE | (uint64_t)depth << 42;
	}
	return true;
}

/* ------------------------------------------------------------------ beginning and end */

static void enter(struct race_split *s, enum race_split_state state)
{
	s->state = state;
	s->sent = false;
	s->next = 0;
}

static void stop(struct race *r)
{
	struct race_split *s = &r->split;

	s->state = RACE_SPLIT_IDLE;
	s->gen++; /* late completions are not ours any more */
	s->out = 0;
	s->busy = 0;
}

static void begin(struct race *r, const struct race_sub *sub)
{
	struct race_split *s = &r->split;

	s->sub = *sub;
	s->pair = s->expect = s->log = 0;
	s->slots = r->c.groups * INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS;
	s->again = false;
	s->gen++;
	s->epoch = r->reclaim.epoch;
	rtx_begin(&s->tx, &r->env, 0, s->local + RACE_SPLIT_RTX, s->local_offset + RACE_SPLIT_RTX);
}

static bool room_take(struct race *r)
{
	struct race_split *s = &r->split;

	if (!r->spare_pair)
		r->spare_pair = heap_alloc(&r->heap, pair_size(r));
	s->pair = r->spare_pair;
	return s->pair != 0;
}

int race_split_begin(struct race *r, const struct race_sub *sub)
{
	struct race_split *s = &r->split;

	if (sub->depth >= r->leaf_bits)
		return -ENOSPC;
	if (s->state != RACE_SPLIT_IDLE)
		return 0;
	if (s->none)
		return -ENOSPC;
	begin(r, sub);
	if (room_take(r))
		enter(s, RACE_SPLIT_LOCK);
	else
		enter(s, RACE_SPLIT_ROOM);
	return 0;
}

void race_split_repair(struct race *r, const struct race_sub *sub, uint64_t lock, uint64_t log)
{
	struct race_split *s = &r->split;
	uint64_t at = log + (uint64_t)index_lock_slot(lock) * INDEX_LOG_SLOT;

	if (s->state != RACE_SPLIT_IDLE || index_lock_slot(lock) >= INDEX_LOG_SLOTS ||
	    log < r->c.heap_offset || at + INDEX_LOG_SLOT > r->c.heap_offset + r->c.heap_size)
		return;
	begin(r, sub);
	s->expect = lock;
	s->log = log;
	enter(s, RACE_SPLIT_INTENT);
}

void race_split_room(struct race *r, bool none)
{
	struct race_split *s = &r->split;

	s->none = none;
	if (s->state != RACE_SPLIT_ROOM)
		return;
	if (none)
		stop(r);
	else if (room_take(r))
		enter(s, RACE_SPLIT_LOCK);
}

/* ------------------------------------------------------------------ chains */

static uint64_t cookie(const struct race_split *s, unsigned chain)
{
	return (uint64_t)s->gen << 32 | chain << 8 | RACE_SPLIT_INDEX;
}

static uint64_t local_at(const struct race_split *s, unsigned at)
{
	return s->local_offset + at;
}

static void sent(struct race *r, unsigned chain)
{
	r->split.out++;
	r->split.busy |= (uint16_t)(1u << chain);
	r->doorbell = true;
}

/* The one chain of a state that has one. */
static void post_tx(struct race *r)
{
	struct race_split *s = &r->split;
	struct rtx *tx = &s->tx;
	const struct rtx_intent intent = {
		.op = INDEX_LOG_HASH_SPLIT,
		.target = s->sub.at,
		.aux = s->pair,
		.key8 = (uint64_t)s->sub.depth << 32 | s->sub.prefix,
	};
	uint32_t size = (uint32_t)index_subtable_size(r->c.groups), logged = 0;
	int rc;

	rtx_abort(tx);
	switch (s->state) {
	case RACE_SPLIT_INTENT:
		rtx_read(tx, s->log + (uint64_t)index_lock_slot(s->expect) * INDEX_LOG_SLOT,
			 local_at(s, RACE_SPLIT_LOG), INDEX_LOG_SLOT);
		break;
	case RACE_SPLIT_LOCK:
		/* Who takes a dead client's lock over says first what it will do with it. */
		if (s->expect && s->pair)
			rtx_redo(tx, &intent, NULL, 0, 0);
		rtx_lock_read(tx, s->sub.at, s->expect, s->sub.at, local_at(s, RACE_SPLIT_SUB),
			      INDEX_LINE);
		break;
	case RACE_SPLIT_RECORD:
		rtx_redo(tx, &intent, NULL, 0, 0);
		break;
	case RACE_SPLIT_LOOK:
	case RACE_SPLIT_TAKE:
		rtx_read(tx, s->sub.at, local_at(s, RACE_SPLIT_SUB), size);
		break;
	case RACE_SPLIT_PUBLISH:
		rtx_write(tx, s->pair, local_at(s, RACE_SPLIT_PAIR), 2 * size);
		rtx_write(tx, s->sub.at + offsetof(struct index_subtable, next),
			  local_at(s, RACE_SPLIT_NEXT), 8);
		rtx_unlock(tx, s->sub.at);
		break;
	case RACE_SPLIT_UNLOCK:
		rtx_unlock(tx, s->sub.at);
		break;
	case RACE_SPLIT_IDLE:
	case RACE_SPLIT_ROOM:
	case RACE_SPLIT_FREEZE:
	case RACE_SPLIT_KEYS_OF:
		return;
	}
	for (unsigned i = 0; i < tx->n; i++)
		if (tx->chain[i].op == VERB_WRITE &&
		    (s->state == RACE_SPLIT_LOCK || s->state == RACE_SPLIT_RECORD))
			logged += tx->chain[i].len;
	rc = rtx_commit(tx, r->c.verbs, r->lane[0], cookie(s, 0));
	if (rc == 0) {
		r->stats.log_bytes += logged;
		s->sent = true;
		sent(r, 0);
	} else if (rc != -EAGAIN) {
		r->lost = true;
		stop(r);
	}
}

static uint64_t slot_at(unsigned i)
{
	return INDEX_LINE + (uint64_t)(i / INDEX_BUCKET_SLOTS) * INDEX_LINE +
	       offsetof(struct index_bucket, slot) + i % INDEX_BUCKET_SLOTS * 8;
}

static uint64_t slot_word(const struct race_split *s, unsigned i)
{
	uint64_t word;

	memcpy(&word, s->local + RACE_SPLIT_SUB + slot_at(i), sizeof(word));
	return word;
}

static int chain_free(const struct race_split *s)
{
	return s->busy == UINT16_MAX ? -1 : __builtin_ctz(~(unsigned)s->busy);
}

static int post(struct race *r, const struct verb *v, unsigned n, unsigned chain)
{
	int rc = r->c.verbs->ops->post(r->c.verbs, r->lane[0], v, n, cookie(&r->split, chain));

	if (rc == 0)
		sent(r, chain);
	else if (rc != -EAGAIN)
		r->lost = true;
	return rc;
}

static void post_freeze(struct race *r)
{
	struct race_split *s = &r->split;
	int chain;

	for (; s->next < s->slots && (chain = chain_free(s)) >= 0; s->next++) {
		struct verb v = {
			.op = VERB_FAA,
			.len = 8,
			.remote = r->c.table,
			.remote_offset = s->sub.at + slot_at(s->next),
			.local = r->c.local,
			.local_offset = local_at(s, RACE_SPLIT_OLD) + (unsigned)chain * 8,
			.swap = INDEX_SLOT_MOVE,
		};

		if (slot_word(s, s->next) & INDEX_SLOT_MOVE)
			continue;
		if (post(r, &v, 1, (unsigned)chain))
			return;
	}
}

/* An entry to be copied. */
static bool entry_good(const struct race *r, uint64_t word)
{
	uint64_t at = index_slot_offset(word), size = index_slot_units(word) * INDEX_LINE;

	return (word & ~INDEX_SLOT_MOVE) && !index_slot_pending(word) && size &&
	       at >= r->c.heap_offset && size <= r->c.heap_size &&
	       at - r->c.heap_offset <= r->c.heap_size - size;
}

static void post_keys(struct race *r)
{
	struct race_split *s = &r->split;
	int chain;

	while (s->next < s->slots && (chain = chain_free(s)) >= 0) {
		struct verb v[VERB_CHAIN_MAX];
		unsigned n = 0, i = s->next;

		for (; i < s->slots && n < VERB_CHAIN_MAX; i++) {
			uint64_t word = slot_word(s, i);
			uint32_t size = index_slot_units(word) * INDEX_LINE;

			s->half[i] = 0;
			if (!entry_good(r, word))
				continue;
			s->key[chain][n] = (uint16_t)i;
			v[n] = (struct verb){
				.op = VERB_READ,
				.len = size < RACE_SPLIT_KEY ? size : RACE_SPLIT_KEY,
				.remote = r->c.table,
				.remote_offset = index_slot_offset(word),
				.local = r->c.local,
				.local_offset =
					local_at(s, RACE_SPLIT_KEYS) +
					((unsigned)chain * VERB_CHAIN_MAX + n) * RACE_SPLIT_KEY,
			};
			n++;
		}
		s->nkey[chain] = (uint8_t)n;
		if (n && post(r, v, n, (unsigned)chain))
			return;
		s->next = i;
	}
}

static void keys_take(struct race *r, unsigned chain)
{
	struct race_split *s = &r->split;

	for (unsigned n = 0; n < s->nkey[chain]; n++) {
		const struct index_kv *kv =
			(const void *)(s->local + RACE_SPLIT_KEYS +
				       (chain * VERB_CHAIN_MAX + n) * RACE_SPLIT_KEY);
		unsigned i = s->key[chain][n];
		uint32_t size = index_slot_units(slot_word(s, i)) * INDEX_LINE;

		/* What is damaged stays in the first half, where fsck finds it. */
		if (kv->klen == 0 || kv->klen > INDEX_KEY_MAX || sizeof(*kv) + kv->klen > size)
			continue;
		s->half[i] = kv_prefix(kv_key(kv), kv->klen) >> (31 - s->sub.depth) & 1;
	}
}

static void halves_make(struct race *r)
{
	struct race_split *s = &r->split;
	uint64_t size = index_subtable_size(r->c.groups);
	uint8_t *pair = s->local + RACE_SPLIT_PAIR;

	memset(pair, 0, 2 * size);
	for (uint32_t half = 0; half < 2; half++) {
		struct index_subtable head = {
			.prefix = s->sub.prefix << 1 | half,
			.depth = s->sub.depth + 1,
		};

		memcpy(pair + half * size, &head, sizeof(head));
	}
	r->stats.split_slots += s->slots;
	for (unsigned i = 0; i < s->slots; i++) {
		uint64_t word = slot_word(s, i) & ~INDEX_SLOT_MOVE;

		if (!word || index_slot_pending(word) || index_slot_tomb(word))
			continue;
		memcpy(pair + s->half[i] * size + slot_at(i), &word, sizeof(word));
		r->stats.split_used++;
	}
	memcpy(s->local + RACE_SPLIT_NEXT, &s->pair, sizeof(s->pair));
}

/* ------------------------------------------------------------------ steps */

/* The lock is ours. What has become of the subtable? */
static void locked(struct race *r)
{
	struct race_split *s = &r->split;
	struct index_subtable head;

	memcpy(&head, s->local + RACE_SPLIT_SUB, sizeof(head));
	if (head.prefix != s->sub.prefix || head.depth != s->sub.depth) {
		enter(s, RACE_SPLIT_UNLOCK);
	} else if (head.next) {
		race_sub_learn(r, &s->sub, head.next);
		enter(s, RACE_SPLIT_UNLOCK);
	} else if (!s->pair) {
		enter(s, RACE_SPLIT_UNLOCK);
	} else {
		if (s->pair == r->spare_pair)
			r->spare_pair = 0; /* it may be used from here on */
		/* Without fault tolerance there is nothing to say before. */
		enter(s, s->expect || r->c.ft_off ? RACE_SPLIT_LOOK : RACE_SPLIT_RECORD);
	}
}

/* What did the dead client mean to do? */
static void intent_take(struct race *r)
{
	struct race_split *s = &r->split;
	const uint8_t *image;
	struct index_log record;

	if (rtx_record_judge(s->expect, s->local + RACE_SPLIT_LOG, &record, &image) == RTX_REDO &&
	    record.op == INDEX_LOG_HASH_SPLIT && record.target == s->sub.at &&
	    race_sub_offset_good(r, record.aux, 2)) {
		s->pair = record.aux;
		enter(s, RACE_SPLIT_LOCK);
	} else if (r->repairing || room_take(r)) { /* it had not begun: we do it, or free the lock */
		enter(s, RACE_SPLIT_LOCK);
	} else {
		enter(s, RACE_SPLIT_ROOM);
	}
}

static void advance(struct race *r)
{
	struct race_split *s = &r->split;

	switch (s->state) {
	case RACE_SPLIT_INTENT:
		intent_take(r);
		break;
	case RACE_SPLIT_LOCK:
		/* own: taken by a chain that failed behind it */
		if (rtx_old(&s->tx) == s->expect || rtx_old(&s->tx) == s->tx.word)
			locked(r);
		else
			stop(r);
		break;
	case RACE_SPLIT_RECORD:
		enter(s, RACE_SPLIT_LOOK);
		break;
	case RACE_SPLIT_LOOK: {
		struct index_subtable head;

		/* After a chain that failed in its middle it may lead on already. */
		memcpy(&head, s->local + RACE_SPLIT_SUB, sizeof(head));
		enter(s, head.next ? RACE_SPLIT_UNLOCK : RACE_SPLIT_FREEZE);
		break;
	}
	case RACE_SPLIT_FREEZE:
		enter(s, RACE_SPLIT_TAKE);
		break;
	case RACE_SPLIT_TAKE:
		enter(s, RACE_SPLIT_KEYS_OF);
		break;
	case RACE_SPLIT_KEYS_OF:
		halves_make(r);
		enter(s, RACE_SPLIT_PUBLISH);
		break;
	case RACE_SPLIT_PUBLISH:
		heap_linked(&r->heap, s->pair);
		r->stats.splits++;
		r->stats.repairs += s->expect != 0;
		race_sub_learn(r, &s->sub, s->pair);
		stop(r);
		break;
	case RACE_SPLIT_UNLOCK:
		stop(r);
		break;
	case RACE_SPLIT_IDLE:
	case RACE_SPLIT_ROOM:
		break;
	}
}

static bool all_sent(const struct race_split *s)
{
	if (s->state == RACE_SPLIT_FREEZE || s->state == RACE_SPLIT_KEYS_OF)
		return s->next >= s->slots;
	return s->sent;
}

void race_split_pump(struct race *r)
{
	struct race_split *s = &r->split;

	/* A state that has nothing to send is over at once. */
	for (unsigned i = 0; i < 8 && s->state != RACE_SPLIT_IDLE && !r->lost; i++) {
		if (s->state == RACE_SPLIT_ROOM)
			return;
		if (!s->again && s->state == RACE_SPLIT_FREEZE)
			post_freeze(r);
		else if (!s->again && s->state == RACE_SPLIT_KEYS_OF)
			post_keys(r);
		else if (!s->again && !s->sent)
			post_tx(r);
		if (s->out || s->state == RACE_SPLIT_IDLE)
			return;
		if (s->again) { /* some of it was not executed: look what there is */
			s->again = false;
			if (s->state <= RACE_SPLIT_RECORD)
				enter(s, s->state);
			else
				enter(s, RACE_SPLIT_LOOK);
		} else if (all_sent(s)) {
			advance(r);
		} else {
			return; /* the provider has no room */
		}
	}
}

void race_split_done(struct race *r, const struct verb_completion *done)
{
	struct race_split *s = &r->split;
	unsigned chain = (unsigned)(done->cookie >> 8) & 0xff;

	if (s->state == RACE_SPLIT_IDLE || (uint32_t)(done->cookie >> 32) != s->gen ||
	    chain >= RACE_SPLIT_CHAINS || !(s->busy >> chain & 1))
		return;
	s->busy &= (uint16_t) ~(1u << chain);
	s->out--;
	for (unsigned i = 0; i < done->count && i < VERB_CHAIN_MAX; i++) {
		unsigned status = done->status[i];

		if (status == STATUS_OK)
			continue;
		if (status != STATUS_AGAIN) {
			/* The lock stays. It is for others to finish, when we are known to be dead.
			 */
			r->lost |= core_status_lost(status);
			stop(r);
			return;
		}
		s->again = true;
		break;
	}
	if (s->state == RACE_SPLIT_KEYS_OF && !s->again)
		keys_take(r, chain);
}
