/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a block that has left the table may be used again: epochs.
 *
 * One word of the table region is the epoch. Each client has a pin, beside the pins of all others:
 * an epoch such that none of its operations has begun in an earlier one. The epoch rises from e to
 * e + 1 only when every client that is not dead has a pin of e or more; any client may do it. A
 * block that leaves the table is tagged with an epoch that was read afterwards. Who can still hold
 * its word has begun before it left, in the tag's epoch or earlier, and is pinned there; so when
 * the epoch is two more than the tag nobody is. The shard pins a new client at the epoch of that
 * moment before it answers the open, so there is no instant at which a client works without a pin.
 * The dead are fenced off and do not count.
 *
 * The slot cache keeps words longer than an operation. A cached word is used at most
 * RACE_CACHE_EPOCHS after the epoch in which it was last seen in its slot, and blocks rest for
 * RACE_GRACE, which is two more: while such an operation runs the epoch is at most one further, so
 * the block cannot have been used again, and an equal word in the slot is the same entry.
 *
 * A client that does not poll holds the epoch back. Who is short of memory for that suspects it.
 */
#include "clients/index/race_op.h"

#include <string.h>

_Static_assert(RACE_GRACE >= RACE_CACHE_EPOCHS + 2, "what a cached word needs");

static uint64_t pin_make(const struct race *r, uint64_t epoch)
{
	return (uint64_t)r->c.epoch << 48 | (epoch & INDEX_PIN_EPOCH_MASK);
}

static struct verb verb_make(const struct race *r, enum verb_op op, uint64_t at, uint32_t len,
			     uint32_t in)
{
	return (struct verb){
		.op = (uint8_t)op,
		.len = len,
		.remote = r->c.table,
		.remote_offset = at,
		.local = r->c.local,
		.local_offset = r->split.local_offset + RACE_RECLAIM_LOCAL + in,
	};
}

static void *local(const struct race *r, uint32_t in)
{
	return r->split.local + RACE_RECLAIM_LOCAL + in;
}

static void post(struct race *r, enum race_reclaim_state state, const struct verb *v, unsigned n)
{
	struct race_reclaim *c = &r->reclaim;

	c->state = state;
	c->out = r->c.verbs->ops->post(r->c.verbs, r->lane[0], v, n, RACE_RECLAIM_INDEX) == 0;
	if (c->out)
		r->doorbell = true;
	else
		c->state = RACE_RECLAIM_IDLE; /* again at the next tick */
}

/* The epoch in which the oldest operation has begun. */
static uint64_t oldest(const struct race *r)
{
	uint64_t e = r->reclaim.epoch;

	for (unsigned i = 0; i < r->c.ops; i++)
		if (r->op[i].state != RACE_FREE && r->op[i].epoch < e)
			e = r->op[i].epoch;
	if (r->split.state != RACE_SPLIT_IDLE && r->split.epoch < e)
		e = r->split.epoch;
	return e;
}

static void look(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;
	uint64_t epoch = oldest(r), pin;
	struct verb v[2];
	unsigned n = 0;

	if (epoch > c->pin) {
		pin = pin_make(r, epoch);
		memcpy(local(r, RACE_RECLAIM_PIN), &pin, sizeof(pin));
		c->pin = epoch;
		v[n++] = verb_make(r, VERB_WRITE,
				   index_pin_at(r->c.heap_offset, r->c.heap_size, r->c.cid), 8,
				   RACE_RECLAIM_PIN);
	}
	v[n++] = verb_make(r, VERB_READ, INDEX_RECLAIM_OFFSET, 8, RACE_RECLAIM_EPOCH);
	c->tagging = r->heap.limbo_n;
	post(r, RACE_RECLAIM_LOOK, v, n);
}

void race_reclaim_tick(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;
	uint64_t now;

	if (r->lost || !r->c.reclaim_us || c->out || c->state != RACE_RECLAIM_IDLE)
		return;
	now = race_now(r);
	if (now < c->tick_at)
		return;
	c->tick_at = now + r->c.reclaim_us * 1000ull / (c->hurry_until ? RACE_RECLAIM_HURRY : 1);
	look(r);
}

/* Is anybody alive pinned before the epoch? @from: the first to look at. */
static void pins_check(struct race *r, unsigned from)
{
	struct race_reclaim *c = &r->reclaim;
	struct verb v;

	for (unsigned cid = from; cid < INDEX_CLIENTS; cid++) {
		uint64_t pin;

		memcpy(&pin, (uint8_t *)local(r, RACE_RECLAIM_PINS) + cid * 8, sizeof(pin));
		if (!pin || (pin & INDEX_PIN_EPOCH_MASK) >= c->epoch)
			continue;
		if (cid == r->c.cid) {
			c->state = RACE_RECLAIM_IDLE; /* ourselves: when we have moved on */
			return;
		}
		c->laggard = cid;
		c->laggard_pin = pin;
		v = verb_make(r, VERB_READ, INDEX_CLIENT_TABLE_OFFSET + (uint64_t)cid * INDEX_LINE,
			      INDEX_LINE, RACE_RECLAIM_LINE);
		v.remote = r->c.control;
		post(r, RACE_RECLAIM_LAGGARD, &v, 1);
		return;
	}
	v = verb_make(r, VERB_CAS, INDEX_RECLAIM_OFFSET, 8, RACE_RECLAIM_OLD);
	v.compare = c->epoch;
	v.swap = c->epoch + 1;
	post(r, RACE_RECLAIM_RISE, &v, 1);
}

static void looked(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;
	uint64_t epoch;
	struct verb v;

	memcpy(&epoch, local(r, RACE_RECLAIM_EPOCH), sizeof(epoch));
	if (epoch > c->epoch)
		c->epoch = epoch;
	race_limbo_tag(r, c->tagging, epoch);
	if (race_limbo_drain(r, epoch)) {
		c->given_up = false;
		race_room_made(r);
	}
	c->state = RACE_RECLAIM_IDLE;
	if (!r->heap.limbo_n) {
		race_reclaim_over(r);
		return;
	}
	/* Read after the epoch: who is not among them was pinned later, at this epoch or after it.
	 */
	v = verb_make(r, VERB_READ, index_pin_at(r->c.heap_offset, r->c.heap_size, 0),
		      INDEX_CLIENTS * 8, RACE_RECLAIM_PINS);
	post(r, RACE_RECLAIM_READ, &v, 1);
}

static void laggard(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;
	uint16_t epoch = (uint16_t)(c->laggard_pin >> 48);
	struct index_client line;
	struct verb v;

	memcpy(&line, local(r, RACE_RECLAIM_LINE), sizeof(line));
	if (rtx_is_dead(&line, (uint16_t)c->laggard, epoch)) {
		/* Not by a WRITE: the number may have been given again, with a pin. */
		v = verb_make(r, VERB_CAS,
			      index_pin_at(r->c.heap_offset, r->c.heap_size, c->laggard), 8,
			      RACE_RECLAIM_OLD);
		v.compare = c->laggard_pin;
		v.swap = 0;
		post(r, RACE_RECLAIM_CLEAR, &v, 1);
		return;
	}
	c->state = RACE_RECLAIM_IDLE;
	if (c->hurry_until) {
		r->stats.suspicions++;
		r->c.suspect(r->c.owner, (uint16_t)c->laggard, epoch);
		race_reclaim_over(r);
	}
}

void race_reclaim_done(struct race *r, const struct verb_completion *done)
{
	struct race_reclaim *c = &r->reclaim;
	enum race_reclaim_state state = c->state;

	c->out = false;
	for (unsigned i = 0; i < done->count && i < VERB_CHAIN_MAX; i++)
		if (done->status[i] != STATUS_OK) {
			r->lost |= race_status_lost(done->status[i]);
			if (state == RACE_RECLAIM_LOOK)
				c->pin = 0; /* it may not stand: the next one writes it again */
			c->state = RACE_RECLAIM_IDLE;
			return;
		}
	switch (state) {
	case RACE_RECLAIM_LOOK:
		looked(r);
		break;
	case RACE_RECLAIM_READ:
		pins_check(r, 1);
		break;
	case RACE_RECLAIM_LAGGARD:
		laggard(r);
		break;
	case RACE_RECLAIM_CLEAR:
		pins_check(r, c->laggard + 1);
		break;
	case RACE_RECLAIM_RISE: {
		uint64_t old;

		memcpy(&old, local(r, RACE_RECLAIM_OLD), sizeof(old));
		c->epoch += old == c->epoch;
		c->state = RACE_RECLAIM_IDLE;
		break;
	}
	case RACE_RECLAIM_IDLE:
		break;
	}
}

bool race_reclaim_hurry(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;

	if (!r->heap.limbo_n || c->given_up || !r->c.reclaim_us)
		return false;
	if (!c->hurry_until)
		c->hurry_until = race_now(r) + r->c.busy_us * 1000ull;
	c->tick_at = 0;
	return true;
}

/* Operations wait for room, and there is nothing more to wait for, or it was long enough. */
void race_reclaim_over(struct race *r)
{
	struct race_reclaim *c = &r->reclaim;

	if (!c->hurry_until)
		return;
	if (!r->want_block.head) {
		c->hurry_until = 0;
	} else if (!r->heap.limbo_n || race_now(r) > c->hurry_until) {
		c->hurry_until = 0;
		c->given_up = true;
		r->chunk_asked = true; /* asked again: somebody may have died and left chunks */
		r->c.want_chunk(r->c.owner);
	}
}
