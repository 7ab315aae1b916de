/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/reclaim.h"

#include <string.h>

#include "clients/index/core_op.h" /* what statuses mean */

_Static_assert(RECLAIM_GRACE >= RECLAIM_CACHE + 2, "what a cached word needs");

void reclaim_open(struct reclaim *c, const struct reclaim_config *config)
{
	*c = (struct reclaim){.c = *config};
	c->tick_at = config->now_ns(config->owner) + config->every_us * 1000ull;
}

static uint64_t pin_make(const struct reclaim *c, uint64_t epoch)
{
	return (uint64_t)c->c.epoch << 48 | (epoch & INDEX_PIN_EPOCH_MASK);
}

static struct verb verb_make(const struct reclaim *c, enum verb_op op, uint64_t at, uint32_t len,
			     uint32_t in)
{
	return (struct verb){
		.op = (uint8_t)op,
		.len = len,
		.remote = c->c.table,
		.remote_offset = at,
		.local = c->c.local,
		.local_offset = c->c.local_offset + in,
	};
}

static void *local(const struct reclaim *c, uint32_t in)
{
	return c->c.local_base + in;
}

static void post(struct reclaim *c, enum reclaim_state state, const struct verb *v, unsigned n)
{
	c->state = state;
	c->out = c->c.verbs->ops->post(c->c.verbs, c->c.lane, v, n, RECLAIM_COOKIE) == 0;
	if (c->out)
		c->doorbell = true;
	else
		c->state = RECLAIM_IDLE; /* again at the next tick */
}

static void look(struct reclaim *c)
{
	uint64_t epoch = c->c.oldest(c->c.engine, c->epoch), pin;
	struct verb v[2];
	unsigned n = 0;

	if (epoch > c->pin) {
		pin = pin_make(c, epoch);
		memcpy(local(c, RECLAIM_LOCAL_PIN), &pin, sizeof(pin));
		c->pin = epoch;
		v[n++] = verb_make(c, VERB_WRITE,
				   index_pin_at(c->c.heap->offset, c->c.heap->size, c->c.cid), 8,
				   RECLAIM_LOCAL_PIN);
	}
	v[n++] = verb_make(c, VERB_READ, INDEX_RECLAIM_OFFSET, 8, RECLAIM_LOCAL_EPOCH);
	c->tagging = c->c.heap->limbo_n;
	post(c, RECLAIM_LOOK, v, n);
}

uint64_t reclaim_next(const struct reclaim *c)
{
	return !c->c.every_us || c->out || c->state != RECLAIM_IDLE ? UINT64_MAX : c->tick_at;
}

void reclaim_tick(struct reclaim *c)
{
	uint64_t now;

	if (!c->c.every_us || c->out || c->state != RECLAIM_IDLE)
		return;
	now = c->c.now_ns(c->c.owner);
	if (now < c->tick_at)
		return;
	c->tick_at = now + c->c.every_us * 1000ull / (c->hurry_until ? RECLAIM_HURRY : 1);
	look(c);
}

/* Is anybody alive pinned before the epoch? @from: the first to look at. */
static void pins_check(struct reclaim *c, unsigned from)
{
	struct verb v;

	for (unsigned cid = from; cid < INDEX_CLIENTS; cid++) {
		uint64_t pin;

		memcpy(&pin, (uint8_t *)local(c, RECLAIM_LOCAL_PINS) + cid * 8, sizeof(pin));
		if (!pin || (pin & INDEX_PIN_EPOCH_MASK) >= c->epoch)
			continue;
		if (cid == c->c.cid) {
			c->state = RECLAIM_IDLE; /* ourselves: when we have moved on */
			return;
		}
		c->laggard = cid;
		c->laggard_pin = pin;
		v = verb_make(c, VERB_READ, INDEX_CLIENT_TABLE_OFFSET + (uint64_t)cid * INDEX_LINE,
			      INDEX_LINE, RECLAIM_LOCAL_LINE);
		v.remote = c->c.control;
		post(c, RECLAIM_LAGGARD, &v, 1);
		return;
	}
	v = verb_make(c, VERB_CAS, INDEX_RECLAIM_OFFSET, 8, RECLAIM_LOCAL_OLD);
	v.compare = c->epoch;
	v.swap = c->epoch + 1;
	post(c, RECLAIM_RISE, &v, 1);
}

/* Operations wait for room, and there is nothing more to wait for, or it was long enough. */
static void over(struct reclaim *c)
{
	if (!c->hurry_until)
		return;
	if (!c->c.waiting(c->c.engine)) {
		c->hurry_until = 0;
	} else if (!c->c.heap->limbo_n || c->c.now_ns(c->c.owner) > c->hurry_until) {
		c->hurry_until = 0;
		c->given_up = true;
		c->c.heap->chunk_asked = true; /* asked again: somebody may have died and left chunks */
		c->c.heap->want_chunk(c->c.heap->owner);
	}
}

static void looked(struct reclaim *c)
{
	uint64_t epoch;
	struct verb v;

	memcpy(&epoch, local(c, RECLAIM_LOCAL_EPOCH), sizeof(epoch));
	if (epoch > c->epoch)
		c->epoch = epoch;
	heap_limbo_tag(c->c.heap, c->tagging, epoch);
	if (heap_limbo_drain(c->c.heap, epoch, RECLAIM_GRACE)) {
		c->given_up = false;
		c->c.room(c->c.engine);
	}
	c->state = RECLAIM_IDLE;
	if (!c->c.heap->limbo_n && !c->wanted) {
		over(c);
		return;
	}
	/* Read after the epoch: who is not among them was pinned later, at this epoch or after it.
	 */
	v = verb_make(c, VERB_READ, index_pin_at(c->c.heap->offset, c->c.heap->size, 0),
		      INDEX_CLIENTS * 8, RECLAIM_LOCAL_PINS);
	post(c, RECLAIM_READ, &v, 1);
}

static void laggard(struct reclaim *c)
{
	uint16_t epoch = (uint16_t)(c->laggard_pin >> 48);
	struct index_client line;
	struct verb v;

	memcpy(&line, local(c, RECLAIM_LOCAL_LINE), sizeof(line));
	if (rtx_is_dead(&line, (uint16_t)c->laggard, epoch)) {
		/* Not by a WRITE: the number may have been given again, with a pin. */
		v = verb_make(c, VERB_CAS,
			      index_pin_at(c->c.heap->offset, c->c.heap->size, c->laggard), 8,
			      RECLAIM_LOCAL_OLD);
		v.compare = c->laggard_pin;
		v.swap = 0;
		post(c, RECLAIM_CLEAR, &v, 1);
		return;
	}
	c->state = RECLAIM_IDLE;
	if (c->hurry_until) {
		c->c.heap->stats->suspicions++;
		c->c.suspect(c->c.owner, (uint16_t)c->laggard, epoch);
		over(c);
	}
}

bool reclaim_done(struct reclaim *c, const struct verb_completion *done)
{
	enum reclaim_state state = c->state;

	c->out = false;
	for (unsigned i = 0; i < done->count && i < VERB_CHAIN_MAX; i++)
		if (done->status[i] != STATUS_OK) {
			if (state == RECLAIM_LOOK)
				c->pin = 0; /* it may not stand: the next one writes it again */
			c->state = RECLAIM_IDLE;
			return !core_status_lost(done->status[i]);
		}
	switch (state) {
	case RECLAIM_LOOK:
		looked(c);
		break;
	case RECLAIM_READ:
		pins_check(c, 1);
		break;
	case RECLAIM_LAGGARD:
		laggard(c);
		break;
	case RECLAIM_CLEAR:
		pins_check(c, c->laggard + 1);
		break;
	case RECLAIM_RISE: {
		uint64_t old;

		memcpy(&old, local(c, RECLAIM_LOCAL_OLD), sizeof(old));
		c->epoch += old == c->epoch;
		c->state = RECLAIM_IDLE;
		break;
	}
	case RECLAIM_IDLE:
		break;
	}
	return true;
}

bool reclaim_hurry(struct reclaim *c)
{
	if (!c->c.heap->limbo_n || c->given_up || !c->c.every_us)
		return false;
	if (!c->hurry_until)
		c->hurry_until = c->c.now_ns(c->c.owner) + c->c.busy_us * 1000ull;
	c->tick_at = 0;
	return true;
}
