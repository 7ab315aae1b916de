/* SPDX-License-Identifier: Apache-2.0 */
/* What an operation does next, once it knows what its buckets hold: the protocol of race.h. */
#include "clients/index/race_op.h"

#include <string.h>

static void wait_split(struct race *r, struct race_op *op);

static void withdraw(struct race *r, struct race_op *op)
{
	race_cas_look(r, op, RACE_WITHDRAW, op->mine, op->word | INDEX_SLOT_PEND, 0);
}

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
	uint64_t now = core_now((struct core *)r);

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
	const struct race_seen *s = race_seen_find(op, word);
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
		race_ask_owner(r, op, RACE_FOR_KEY, s->cid, s->epoch);
	else
		race_op_sleep(r, op);
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
		race_op_sleep(r, op);
		return;
	}
	ask = wait_more(r, op, head.lock, &over);
	op->lock = head.lock;
	/* Without epochs in locks (the control) nobody can be told from the dead, not even oneself.
	 */
	if (over)
		end_or_withdraw(r, op, ATOLL_BUSY);
	else if (ask && !r->c.ft_off &&
		 may_ask(r, index_lock_cid(head.lock), index_lock_epoch(head.lock)))
		race_ask_owner(r, op, RACE_FOR_SPLIT, index_lock_cid(head.lock),
			       index_lock_epoch(head.lock));
	else
		race_op_sleep(r, op);
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
	if (core_restructuring((struct core *)r)) /* one after the other: that is no standing still */
		op->wait_begin = 0;
	wait_more(r, op, 0, &over);
	if (race_split_begin(r, &op->sub) || over) {
		race_op_end(r, op, over ? ATOLL_BUSY : ATOLL_FULL, 0);
		return;
	}
	op->head = true;
	race_op_sleep(r, op);
}

/* No free slot. PEND of a dead client, of whatever key, gives one. */
static void find_room(struct race *r, struct race_op *op)
{
	race_chain_begin(op, RACE_IDENTIFY);
	op->nreading = 0;
	for (unsigned i = 0; i < RACE_SLOTS; i++) {
		uint64_t at, word = race_slot_read(op, i, &at);
		struct race_seen *s = race_seen_find(op, word);

		if (index_slot_tomb(word) && !(word & INDEX_SLOT_MOVE)) {
			const struct index_kv owner = {.cid = index_tomb_cid(word),
						       .epoch = index_tomb_epoch(word)};

			if (!s)
				race_seen_add(op, word, &owner, false);
			s = race_seen_find(op, word);
		} else if (!index_slot_pending(word) || !race_word_good(r, word)) {
			continue;
		}
		if (!s) {
			race_read_block(r, op, word, sizeof(struct index_kv));
		} else if (!s->asked && may_ask(r, s->cid, s->epoch)) {
			s->asked = true;
			op->target = at;
			op->target_word = word;
			race_ask_owner(r, op, RACE_FOR_ROOM, s->cid, s->epoch);
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

		if (race_slot_read(op, i, &at[b][n[b]]) == 0)
			n[b]++;
	}
	half = n[0] + n[1] >= n[2] + n[3] ? 0 : 1;
	/* The overflow bucket is the second of a pair on side 0, the first of one on side 1. */
	bucket = 2 * half + (op->place.combined[half] % INDEX_GROUP_SIZE != 0);
	if (n[bucket] == 0)
		bucket ^= 1;
	return n[bucket] ? at[bucket][core_random((struct core *)r) % n[bucket]] : 0;
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
	race_cas_look(r, op, RACE_CLAIM, slot, 0, op->word | INDEX_SLOT_PEND);
}

/* Copies of our key as the last scan saw them; offset 0 is none. */
struct copies {
	uint64_t live, live_word;
	uint64_t before, before_word; /* PEND in a slot before ours, or any while we hold none */
	uint64_t after, after_word;
};

static void look(struct race_op *op, struct copies *c)
{
	memset(c, 0, sizeof(*c));
	for (uint32_t left = op->match; left; left &= left - 1) {
		uint64_t at, word = race_slot_read(op, (unsigned)__builtin_ctz(left), &at);
		const struct race_seen *s;

		if (op->held && at == op->mine)
			continue;
		s = race_seen_find(op, word);
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
	for (unsigned i = 0; i < RACE_SLOTS && op->frozen; i++) {
		word = race_slot_read(op, i, &at);
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
		race_cas_only(r, op, RACE_COMMIT, op->mine, op->word | INDEX_SLOT_PEND, op->word);
}

void race_decide(struct race *r, struct race_op *op)
{
	struct copies c;

	look(op, &c);
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
		race_replace(r, op);
	} else if (op->kind == ATOLL_DELETE || op->kind == ATOLL_UPDATE) {
		race_op_end(r, op, ATOLL_NOT_FOUND, 0);
	} else if (c.before) {
		wait_for(r, op, c.before, c.before_word);
	} else {
		claim(r, op);
	}
}

void race_bad_read(struct race *r, struct race_op *op)
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
		race_bad_read(r, op);
		return false;
	}
	if (!head.next)
		return true;
	/* All was frozen before it led on, so a word of ours has been left out. */
	op->held = false;
	r->stats.forwards++;
	if (!race_sub_learn(r, &op->sub, head.next)) {
		race_bad_read(r, op);
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
void race_evaluate(struct race *r, struct race_op *op)
{
	uint32_t need = (uint32_t)sizeof(struct index_kv) + op->klen;

	if (!race_scan_take(op)) {
		race_bad_read(r, op);
		return;
	}
	if (!frozen_good(r, op))
		return;
	race_chain_begin(op, RACE_IDENTIFY);
	op->nreading = 0;
	for (uint32_t left = op->match; left; left &= left - 1) {
		uint64_t at, word = race_slot_read(op, (unsigned)__builtin_ctz(left), &at);
		uint32_t size = index_slot_units(word) * INDEX_LINE;

		if ((op->held && at == op->mine) ||
		    (op->kind == ATOLL_GET && index_slot_pending(word)))
			continue;
		if (!race_word_good(r, word)) {
			race_bad_read(r, op);
			return;
		}
		/* Too small for our key is another key. */
		if (size < need || race_seen_find(op, word))
			continue;
		if (!race_read_block(r, op, word, op->kind == ATOLL_GET ? size : need))
			break;
	}
	if (op->nreading)
		race_chain_post(r, op);
	else
		race_decide(r, op);
}
