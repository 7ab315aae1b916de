/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/linearize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One possibility: the value, and the open operations (bit: place) that have taken effect. */
struct state {
	uint64_t value;
	uint64_t effected;
};

/* A set of states, and the queue of them: they stay in the order in which they came. */
struct set {
	struct state *at;
	size_t count, room;
	uint32_t *hash; /* 1 + position in `at`; twice `room` of them */
};

struct event {
	uint64_t time;
	uint32_t op;
	bool end;
};

struct walk {
	const struct lin_op *ops;
	uint32_t place[LIN_OPEN_MAX]; /* operation that has this bit */
	uint64_t open;		      /* bits in use */
	struct set now, next;
};

static uint64_t mix(const struct state *s)
{
	uint64_t h = s->value * 0x9e3779b97f4a7c15ull ^ s->effected * 0xc2b2ae3d27d4eb4full;

	return h ^ h >> 29;
}

static size_t bucket(const struct set *s, const struct state *x)
{
	size_t mask = 2 * s->room - 1, i = mix(x) & mask;

	while (s->hash[i] && (s->at[s->hash[i] - 1].value != x->value ||
			      s->at[s->hash[i] - 1].effected != x->effected))
		i = (i + 1) & mask;
	return i;
}

static int set_grow(struct set *s)
{
	size_t room = s->room ? 2 * s->room : 64;
	struct state *at = realloc(s->at, room * sizeof(*at));
	uint32_t *hash = calloc(2 * room, sizeof(*hash));

	if (at)
		s->at = at;
	if (!at || !hash) {
		free(hash);
		return -ENOMEM;
	}
	free(s->hash);
	s->hash = hash;
	s->room = room;
	for (size_t i = 0; i < s->count; i++)
		s->hash[bucket(s, &s->at[i])] = (uint32_t)i + 1;
	return 0;
}

static int set_add(struct set *s, struct state x)
{
	size_t i;

	if (s->count == s->room && set_grow(s))
		return -ENOMEM;
	i = bucket(s, &x);
	if (!s->hash[i]) {
		s->at[s->count++] = x;
		s->hash[i] = (uint32_t)s->count;
	}
	return 0;
}

static void set_clear(struct set *s)
{
	s->count = 0;
	if (s->hash)
		memset(s->hash, 0, 2 * s->room * sizeof(*s->hash));
}

/* Let the operation take effect on a value. False: it could not, and end as it did. */
static bool effect(const struct lin_op *op, uint64_t *value)
{
	bool there = *value != 0;

	switch (op->kind) {
	case LIN_GET:
		return !op->known || op->value == *value;
	case LIN_PUT:
		*value = op->value;
		return true;
	case LIN_INSERT:
		if (op->known && op->done == there)
			return false;
		if (!there)
			*value = op->value;
		return true;
	case LIN_UPDATE:
		if (op->known && op->done != there)
			return false;
		if (there)
			*value = op->value;
		return true;
	case LIN_DELETE:
		if (op->known && op->done != there)
			return false;
		*value = 0;
		return true;
	}
	return false;
}

static int op_begin(struct walk *w, uint32_t op)
{
	unsigned p;

	if (!~w->open)
		return -E2BIG;
	p = (unsigned)__builtin_ctzll(~w->open);
	w->open |= 1ull << p;
	w->place[p] = op;
	return 0;
}

/* The states in which the operation has taken effect, by letting others take effect before it. */
static int op_end(struct walk *w, uint32_t op)
{
	struct set swap;
	uint64_t bit = 1;

	while (!(w->open & bit) || w->place[__builtin_ctzll(bit)] != op)
		bit <<= 1;
	for (size_t i = 0; i < w->now.count; i++) {
		struct state s = w->now.at[i];
		uint64_t rest = w->open & ~s.effected;

		if (s.effected & bit || !w->ops[op].known) {
			s.effected &= ~bit;
			if (set_add(&w->next, s))
				return -ENOMEM;
			if (w->now.at[i].effected & bit)
				continue;
			/* It may take effect at the last moment, or others may. */
		}
		for (; rest; rest &= rest - 1) {
			uint64_t b = rest & -rest;
			struct state t = w->now.at[i];

			if (!effect(&w->ops[w->place[__builtin_ctzll(b)]], &t.value))
				continue;
			t.effected |= b;
			if (set_add(&w->now, t))
				return -ENOMEM;
		}
	}
	w->open &= ~bit;
	swap = w->now;
	w->now = w->next;
	w->next = swap;
	set_clear(&w->next);
	return w->now.count != 0;
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return (int)x->end - (int)y->end;
}

int lin_check(const struct lin_op *ops, size_t n, uint64_t initial, size_t *bad)
{
	struct event *events = calloc(2 * n + 1, sizeof(*events));
	struct walk w = {.ops = ops};
	size_t count = 0;
	int rc = events ? set_add(&w.now, (struct state){.value = initial}) : -ENOMEM;

	if (rc == 0)
		rc = set_grow(&w.next);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		events[count++] = (struct event){ops[i].begin, (uint32_t)i, false};
		if (ops[i].known || ops[i].end != UINT64_MAX)
			events[count++] = (struct event){ops[i].end, (uint32_t)i, true};
	}
	if (rc == 0) {
		qsort(events, count, sizeof(*events), by_time);
		rc = 1;
	}
	for (size_t i = 0; rc > 0 && i < count; i++) {
		if (!events[i].end) {
			int e = op_begin(&w, events[i].op);

			rc = e ? e : 1;
			continue;
		}
		rc = op_end(&w, events[i].op);
		if (rc == 0 && bad)
			*bad = events[i].op;
	}
	free(events);
	free(w.now.at);
	free(w.now.hash);
	free(w.next.at);
	free(w.next.hash);
	return rc;
}
