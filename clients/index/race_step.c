/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of an operation: what a chain's end means, and which chain comes next. */
#include "clients/index/race_op.h"

#include <string.h>

/* ------------------------------------------------------------------ statuses */

bool race_status_doubt(unsigned status)
{
	switch (status) {
	case STATUS_OK:
	case STATUS_AGAIN:
	case STATUS_BAD_MESSAGE:
	case STATUS_BAD_HANDLE:
	case STATUS_NO_RIGHT:
	case STATUS_RANGE:
	case STATUS_ALIGN:
	case STATUS_NOT_FOUND:
	case STATUS_NOT_SENT:
	case STATUS_FENCED:
	case STATUS_CANCELLED:
	case STATUS_TOO_BIG:
	case STATUS_LIMIT:
	case STATUS_DENIED:
	case STATUS_UNSUPPORTED:
		return false;
	default:
		return true;
	}
}

bool race_status_lost(unsigned status)
{
	switch (status) {
	case STATUS_BAD_HANDLE:
	case STATUS_NOT_SENT:
	case STATUS_FENCED:
	case STATUS_CANCELLED:
		return true;
	default:
		return race_status_doubt(status);
	}
}

enum atoll_result race_result_of(unsigned status)
{
	switch (status) {
	case STATUS_FENCED:
		return ATOLL_FENCED;
	case STATUS_NOT_SENT:
	case STATUS_CANCELLED:
		return ATOLL_NOT_SENT;
	default:
		return race_status_doubt(status) ? ATOLL_UNREACHABLE : ATOLL_REFUSED;
	}
}

/* ------------------------------------------------------------------ what was read */

static uint64_t old_value(const struct race_op *op)
{
	uint64_t old;

	memcpy(&old, op->local + RACE_LOCAL_OLD, sizeof(old));
	return old;
}

/* Slot i of the two combined buckets: its word as read, its place in the table region. */
static uint64_t slot_read(const struct race *r, const struct race_op *op, unsigned i, uint64_t *at)
{
	unsigned half = i / (2 * INDEX_BUCKET_SLOTS), j = i % (2 * INDEX_BUCKET_SLOTS);
	uint32_t in = j / INDEX_BUCKET_SLOTS * INDEX_LINE +
		      (uint32_t)offsetof(struct index_bucket, slot) + j % INDEX_BUCKET_SLOTS * 8;
	uint64_t word;

	(void)r;
	*at = op->sub.at + INDEX_LINE + op->place.combined[half] + in;
	memcpy(&word, op->local + RACE_LOCAL_COMBINED + half * INDEX_COMBINED_SIZE + in,
	       sizeof(word));
	return word;
}

static bool buckets_good(const struct race_op *op)
{
	for (unsigned i = 0; i < 4; i++) {
		struct index_bucket b;

		memcpy(&b, op->local + RACE_LOCAL_COMBINED + i * INDEX_LINE, sizeof(b));
		if (b.reserved)
			return false;
	}
	return true;
}

static struct race_seen *seen_find(struct race_op *op, uint64_t word)
{
	unsigned n = op->nseen < RACE_SEEN ? op->nseen : RACE_SEEN;

	for (unsigned i = 0; i < n; i++)
		if (op->seen[i].word == (word & ~(INDEX_SLOT_PEND | INDEX_SLOT_MOVE)))
			return &op->seen[i];
	return NULL;
}

static void seen_add(struct race_op *op, uint64_t word, const struct index_kv *kv, bool same)
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

static bool word_good(const struct race *r, uint64_t word)
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

/* Adds the block of @word to those that are read next. False: no room in this chain. */
static bool read_block(struct race *r, struct race_op *op, uint64_t word, uint32_t len)
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

static void cas_and_look(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
			 uint64_t from, uint64_t to)
{
	race_chain_begin(op, state);
	race_chain_cas(r, op, slot, from, to);
	read_buckets(r, op);
	race_chain_post(r, op);
}

static void withdraw(struct race *r, struct race_op *op)
{
	cas_and_look(r, op, RACE_WITHDRAW, op->mine, op->word | INDEX_SLOT_PEND, 0);
}

static void cas_only(struct race *r, struct race_op *op, enum race_state state, uint64_t slot,
		     uint64_t from, uint64_t to)
{
	race_chain_begin(op, state);
	race_chain_cas(r, op, slot, from, to);
	race_chain_post(r, op);
}

static void ask_owner(struct race *r, struct race_op *op, enum race_why why, uint16_t cid,
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

/* ------------------------------------------------------------------ decisions */

static void decide(struct race *r, struct race_op *op);
static void wait_split(struct race *r, struct race_op *op);

static void end_or_withdraw(struct race *r, struct race_op *op, enum atoll_result result)
{
	if (!op->held) {
		race_op_end(r, op, result, 0);
		return;
	}
	op->ending = true;
	op->result = result;
	withdraw(r, op);
}

static bool may_ask(const struct race *r, uint16_t cid, uint16_t epoch)
{
	return cid && cid < INDEX_CLIENTS && !(cid == r->c.cid && epoch == r->c.epoch);
}

/* Look again later. True: it is time to ask about the owner of @word. */
static bool wait_more(struct race *r, struct race_op *op, uint64_t word, bool *over)
{
	uint64_t now = race_now(r);

	r->stats.waits++;
	if (!op->wait_begin)
		op->wait_begin = now;
	if (op->wait_word != word) {
		op->wait_word = word;
		op->wait_ask = now + r->c.suspect_us * 1000ull;
		op->wait_count = 0;
	}
	*over = now - op->wait_begin > r->c.busy_us * 1000ull;
	if (now < op->wait_ask)
		return false;
	op->wait_ask = now + r->c.suspect_us * 1000ull;
	return true;
}

/* PEND of another insert of our key is in the way: look again later, now and then ask who it is. */
static void wait_for(struct race *r, struct race_op *op, uint64_t slot, uint64_t word)
{
	const struct race_seen *s = seen_find(op, word);
	bool over, ask;

	if (word & INDEX_SLOT_MOVE) { /* it will not be committed where it stands */
		wait_split(r, op);
		return;
	}
	ask = wait_more(r, op, word, &over);
	op->target = slot;
	op->target_word = word;
	if (over)
		end_or_withdraw(r, op, ATOLL_BUSY);
	else if (ask && may_ask(r, s->cid, s->epoch))
		ask_owner(r, op, RACE_FOR_KEY, s->cid, s->epoch);
	else
		race_op_sleep(r, op, race_now(r));
}

static void head_read(const struct race_op *op, struct index_subtable *head)
{
	memcpy(head, op->local + RACE_LOCAL_HEAD, sizeof(*head));
}

/* The subtable is being split, and what we want to change is frozen. */
static void wait_split(struct race *r, struct race_op *op)
{
	struct index_subtable head;
	bool over, ask;

	op->head = true;
	if (!op->headed) { /* who does it? */
		race_step_scan(r, op);
		return;
	}
	head_read(op, &head);
	if (!head.lock) { /* it was given up before it began, or has just begun */
		race_op_sleep(r, op, race_now(r));
		return;
	}
	ask = wait_more(r, op, head.lock, &over);
	op->lock = head.lock;
	/* Without epochs in locks (the control) nobody can be told from the dead, not even oneself. */
	if (over)
		end_or_withdraw(r, op, ATOLL_BUSY);
	else if (ask && !r->c.ft_off &&
		 may_ask(r, index_lock_cid(head.lock), index_lock_epoch(head.lock)))
		ask_owner(r, op, RACE_FOR_SPLIT, index_lock_cid(head.lock),
			  index_lock_epoch(head.lock));
	else
		race_op_sleep(r, op, race_now(r));
}

/* No room in either bucket: the subtable must be split, by us or whoever has begun it. */
static void want_split(struct race *r, struct race_op *op)
{
	struct index_subtable head;
	bool over;

	if (!op->headed) {
		op->head = true;
		race_step_scan(r, op);
		return;
	}
	head_read(op, &head);
	if (head.lock) {
		wait_split(r, op);
		return;
	}
	wait_more(r, op, 0, &over);
	if (race_split_begin(r, &op->sub) || over) {
		race_op_end(r, op, ATOLL_FULL, 0);
		return;
	}
	op->head = true;
	race_op_sleep(r, op, race_now(r));
}

/* No free slot. PEND of a dead client, of whatever key, gives one. */
static void find_room(struct race *r, struct race_op *op)
{
	race_chain_begin(op, RACE_IDENTIFY);
	op->nreading = 0;
	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		uint64_t at, word = slot_read(r, op, i, &at);
		struct race_seen *s = seen_find(op, word);

		if (!index_slot_pending(word) || !word_good(r, word))
			continue;
		if (!s) {
			read_block(r, op, word, sizeof(struct index_kv));
		} else if (!s->asked && may_ask(r, s->cid, s->epoch)) {
			s->asked = true;
			op->target = at;
			op->target_word = word;
			ask_owner(r, op, RACE_FOR_ROOM, s->cid, s->epoch);
			return;
		}
	}
	if (op->nreading)
		race_chain_post(r, op);
	else
		want_split(r, op);
}

/* The free slot to take: of the combined bucket with more room, its main bucket before the
 * overflow, any of that one's, so that clients seldom want the same. 0 if there is none. */
static uint64_t free_slot(struct race *r, const struct race_op *op)
{
	uint64_t at[4][INDEX_BUCKET_SLOTS];
	unsigned n[4] = {0, 0, 0, 0}, half, bucket;

	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		unsigned b = i / INDEX_BUCKET_SLOTS;

		if (slot_read(r, op, i, &at[b][n[b]]) == 0)
			n[b]++;
	}
	half = n[0] + n[1] >= n[2] + n[3] ? 0 : 1;
	/* The overflow bucket is the second of a pair on side 0, the first of one on side 1. */
	bucket = 2 * half + (op->place.combined[half] % INDEX_GROUP_SIZE != 0);
	if (n[bucket] == 0)
		bucket ^= 1;
	return n[bucket] ? at[bucket][race_random(r) % n[bucket]] : 0;
}

static void claim(struct race *r, struct race_op *op)
{
	uint64_t slot = free_slot(r, op);

	if (!slot && op->frozen) {
		wait_split(r, op);
		return;
	}
	if (!slot) {
		find_room(r, op);
		return;
	}
	op->target = slot;
	cas_and_look(r, op, RACE_CLAIM, slot, 0, op->word | INDEX_SLOT_PEND);
}

/* Copies of our key as the last scan saw them; offset 0 is none. */
struct copies {
	uint64_t live, live_word;
	uint64_t before, before_word; /* PEND in a slot before ours, or any while we hold none */
	uint64_t after, after_word;
};

static void look(struct race *r, struct race_op *op, struct copies *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		uint64_t at, word = slot_read(r, op, i, &at);
		const struct race_seen *s;

		if (!(word & ~INDEX_SLOT_MOVE) || index_slot_fp(word) != op->place.fp ||
		    (op->held && at == op->mine))
			continue;
		s = seen_find(op, word);
		if (!s || !s->same)
			continue;
		if (!index_slot_pending(word)) {
			c->live = at;
			c->live_word = word;
		} else if (!op->held || at < op->mine) {
			c->before = at;
			c->before_word = word;
		} else {
			c->after = at;
			c->after_word = word;
		}
	}
}

static void decide_held(struct race *r, struct race_op *op, const struct copies *c)
{
	uint64_t at, word;

	/* Our own word is frozen: whoever splits leaves it out. */
	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		word = slot_read(r, op, i, &at);
		if (at == op->mine && (word & INDEX_SLOT_MOVE)) {
			op->held = false;
			wait_split(r, op);
			return;
		}
	}
	if (c->live || c->before)
		withdraw(r, op);
	else if (c->after)
		wait_for(r, op, c->after, c->after_word);
	else
		cas_only(r, op, RACE_COMMIT, op->mine, op->word | INDEX_SLOT_PEND, op->word);
}

static void decide(struct race *r, struct race_op *op)
{
	struct copies c;

	look(r, op, &c);
	if (op->held) {
		decide_held(r, op, &c);
	} else if (op->kind == ATOLL_GET) {
		race_op_end(r, op, ATOLL_NOT_FOUND, 0);
	} else if (c.live && op->kind == ATOLL_INSERT) {
		race_op_end(r, op, ATOLL_EXISTS, 0);
	} else if (c.live && (c.live_word & INDEX_SLOT_MOVE)) {
		wait_split(r, op);
	} else if (c.live) {
		op->target = c.live;
		op->target_word = c.live_word;
		cas_only(r, op, RACE_REPLACE, c.live, c.live_word,
			 op->kind == ATOLL_DELETE ? 0 : op->word);
	} else if (op->kind == ATOLL_DELETE || op->kind == ATOLL_UPDATE) {
		race_op_end(r, op, ATOLL_NOT_FOUND, 0);
	} else if (c.before) {
		wait_for(r, op, c.before, c.before_word);
	} else {
		claim(r, op);
	}
}

/* Something that cannot be was read. Once it may be the network; twice it is the memory. */
static void bad_read(struct race *r, struct race_op *op)
{
	if (!op->reread) {
		op->reread = true;
		race_step_scan(r, op);
	} else {
		end_or_withdraw(r, op, ATOLL_CORRUPT);
	}
}

/* Was MOVE met? Then the subtable is being split or has been: its first line tells. False: the
 * operation goes on elsewhere. */
static bool frozen_good(struct race *r, struct race_op *op)
{
	struct index_subtable head;
	uint64_t at;

	op->frozen = false;
	for (unsigned i = 0; i < RACE_SLOTS; i++)
		op->frozen |= (slot_read(r, op, i, &at) & INDEX_SLOT_MOVE) != 0;
	if (!op->frozen && !op->headed)
		return true;
	if (!op->headed) {
		op->head = true;
		race_step_scan(r, op);
		return false;
	}
	head_read(op, &head);
	if (head.prefix != op->sub.prefix || head.depth != op->sub.depth ||
	    (op->frozen && !head.next && !head.lock)) {
		op->head = true;
		bad_read(r, op);
		return false;
	}
	if (!head.next)
		return true;
	/* All was frozen before it led on, so a word of ours has been left out. */
	op->held = false;
	r->stats.forwards++;
	if (!race_sub_learn(r, &op->sub, head.next)) {
		bad_read(r, op);
		return false;
	}
	op->sub = race_sub_find(r, op->place.prefix);
	if (op->ending)
		race_op_end(r, op, op->result, 0);
	else
		race_step_scan(r, op);
	return false;
}

/* The combined buckets are there. Which blocks must be read before anything can be decided? */
static void evaluate(struct race *r, struct race_op *op)
{
	uint32_t need = (uint32_t)sizeof(struct index_kv) + op->klen;

	if (!buckets_good(op)) {
		bad_read(r, op);
		return;
	}
	if (!frozen_good(r, op))
		return;
	race_chain_begin(op, RACE_IDENTIFY);
	op->nreading = 0;
	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		uint64_t at, word = slot_read(r, op, i, &at);
		uint32_t size = index_slot_units(word) * INDEX_LINE;

		if (!(word & ~INDEX_SLOT_MOVE) || index_slot_fp(word) != op->place.fp ||
		    (op->held && at == op->mine) ||
		    (op->kind == ATOLL_GET && index_slot_pending(word)))
			continue;
		if (!word_good(r, word)) {
			bad_read(r, op);
			return;
		}
		/* Too small for our key is another key. */
		if (size < need || seen_find(op, word))
			continue;
		if (!read_block(r, op, word, op->kind == ATOLL_GET ? size : need))
			break;
	}
	if (op->nreading)
		race_chain_post(r, op);
	else
		decide(r, op);
}

/* ------------------------------------------------------------------ ends of chains */

/* The slot in which the last scan has seen @word, to be remembered. */
static void remember(struct race *r, struct race_op *op, uint64_t word)
{
	for (unsigned i = 0; i < RACE_SLOTS && r->cache; i++) {
		uint64_t at;

		if (slot_read(r, op, i, &at) == word) {
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
		bad_read(r, op);
		return;
	}
	race_chain_begin(op, RACE_REST);
	op->nreading = 0;
	read_block(r, op, word, (uint32_t)room);
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
				bad_read(r, op);
				return;
			}
		}
		if (!same)
			r->stats.collisions++;
		seen_add(op, op->reading[i], kv, same);
	}
	evaluate(r, op);
}

static void owner_read(struct race *r, struct race_op *op)
{
	struct index_client line;

	memcpy(&line, op->local + RACE_LOCAL_CLIENT, sizeof(line));
	if (rtx_is_dead(&line, op->owner_cid, op->owner_epoch)) {
		if (op->why != RACE_FOR_SPLIT) {
			cas_and_look(r, op, RACE_CLEAR, op->target, op->target_word, 0);
			return;
		}
		race_split_repair(r, &op->sub, op->lock, line.log_base);
		op->head = true;
	} else {
		r->stats.suspicions++;
		r->c.suspect(r->c.owner, op->owner_cid, op->owner_epoch);
	}
	if (op->why == RACE_FOR_ROOM)
		decide(r, op);
	else
		race_op_sleep(r, op, race_now(r));
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
		if (old_value(op) == 0) {
			op->held = true;
			op->mine = op->target;
		} else {
			r->stats.conflicts++;
		}
		break;
	case RACE_WITHDRAW:
		op->held = false;
		op->evicted = (old_value(op) & ~INDEX_SLOT_MOVE) != (op->word | INDEX_SLOT_PEND);
		r->stats.withdrawals++;
		break;
	case RACE_CLEAR:
		if (old_value(op) == op->target_word)
			r->stats.cleared++;
		break;
	default:
		break;
	}
}

static void replaced(struct race *r, struct race_op *op)
{
	const struct race_seen *s = seen_find(op, op->target_word);

	if (old_value(op) != op->target_word) {
		r->stats.conflicts++;
		race_step_scan(r, op);
		return;
	}
	race_block_leak(r, s ? s->room : index_slot_units(op->target_word) * INDEX_LINE);
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

	if (race_status_lost(status))
		r->lost = true;
	if (status == STATUS_AGAIN) {
		/* Not executed, so nothing is sent twice by looking again. What was to end with a
		 * withdrawal goes on, and may even commit. */
		op->ending = false;
		race_op_sleep(r, op, race_now(r));
	} else if (op->ending) {
		race_op_end(r, op, op->result, status);
	} else if (publishes && race_status_doubt(status)) {
		race_op_end(r, op, ATOLL_IN_DOUBT, status);
	} else {
		race_op_end(r, op, race_result_of(status), status);
	}
}

void race_step(struct race *r, struct race_op *op, const struct verb_completion *done)
{
	for (unsigned i = 0; i < op->nchain; i++) {
		unsigned status = i < done->count ? done->status[i] : STATUS_IN_DOUBT;

		if (status != STATUS_OK) {
			failed(r, op, status);
			return;
		}
		if (i == 0)
			first_done(r, op);
	}
	switch (op->state) {
	case RACE_SCAN:
	case RACE_CLAIM:
	case RACE_CLEAR:
		evaluate(r, op);
		break;
	case RACE_WITHDRAW:
		if (op->ending)
			race_op_end(r, op, op->result, 0);
		else if (op->evicted)
			evicted(r, op);
		else
			evaluate(r, op);
		break;
	case RACE_IDENTIFY:
		identified(r, op);
		break;
	case RACE_REST:
		if (kv_whole((const struct index_kv *)(op->local + op->reading_at[0]),
			     op->reading_len[0]))
			race_op_end(r, op, ATOLL_OK, 0);
		else
			bad_read(r, op);
		break;
	case RACE_COMMIT:
		if (old_value(op) == (op->word | INDEX_SLOT_PEND)) {
			race_cache_put(r, op, op->mine, op->word);
			race_op_end(r, op, ATOLL_OK, 0);
		} else if (old_value(op) == (op->word | INDEX_SLOT_PEND | INDEX_SLOT_MOVE)) {
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
			cas_only(r, op, RACE_REPLACE, op->target, op->target_word,
				 op->kind == ATOLL_DELETE ? 0 : op->word);
		break;
	case RACE_FREE:
	case RACE_WANT_BLOCK:
	case RACE_BACKOFF:
	case RACE_STATES:
		break;
	}
}
