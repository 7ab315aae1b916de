/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/linearize.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* States that were searched without success: a bit for each operation done, then the value. */
struct search {
	const struct lin_op *op; /* by time of call */
	size_t n, words;         /* words of a set of operations */
	uint64_t *done;
	size_t left; /* operations that must still be done: those that returned */
	uint64_t *table;
	bool *used;
	size_t size, count;
};

static uint64_t state_hash(const uint64_t *s, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15ull;

	for (size_t i = 0; i < n; i++) {
		h ^= s[i];
		h *= 0xbf58476d1ce4e5b9ull;
		h ^= h >> 29;
	}
	return h;
}

static size_t table_place(const struct search *s, const uint64_t *state)
{
	size_t n = s->words + 1, i = state_hash(state, n) & (s->size - 1);

	while (s->used[i] && memcmp(&s->table[i * n], state, n * sizeof(*state)))
		i = (i + 1) & (s->size - 1);
	return i;
}

static int table_grow(struct search *s)
{
	size_t n = s->words + 1, size = s->size ? s->size * 2 : 256, old = s->size;
	uint64_t *from = s->table, *to = malloc(size * n * sizeof(*to));
	bool *was = s->used, *is = calloc(size, sizeof(*is));

	if (!to || !is) {
		free(to);
		free(is);
		return -ENOMEM;
	}
	s->table = to;
	s->used = is;
	s->size = size;
	for (size_t i = 0; i < old; i++) {
		size_t p;

		if (!was[i])
			continue;
		p = table_place(s, &from[i * n]);
		is[p] = true;
		memcpy(&to[p * n], &from[i * n], n * sizeof(*to));
	}
	free(from);
	free(was);
	return 0;
}

/* 1: not searched before, and noted; 0: searched before. */
static int visit(struct search *s, uint64_t value)
{
	uint64_t state[s->words + 1];
	size_t p;

	memcpy(state, s->done, s->words * sizeof(*state));
	state[s->words] = value;
	if (s->count * 2 >= s->size && table_grow(s))
		return -ENOMEM;
	p = table_place(s, state);
	if (s->used[p])
		return 0;
	s->used[p] = true;
	memcpy(&s->table[p * (s->words + 1)], state, sizeof(state));
	s->count++;
	return 1;
}

/* What the map holds after @op, if it may answer as it did. An unknown result fits any answer. */
static bool apply(const struct lin_op *op, uint64_t value, uint64_t *after)
{
	bool there = value != LIN_NO_VALUE;

	*after = value;
	switch (op->kind) {
	case LIN_GET:
		return op->result == LIN_UNKNOWN ||
		       (op->result == LIN_OK ? value == op->value : !there);
	case LIN_PUT:
		*after = op->value;
		return true;
	case LIN_INSERT:
		if (!there)
			*after = op->value;
		return op->result == LIN_UNKNOWN || (op->result == LIN_OK) == !there;
	case LIN_UPDATE:
		if (there)
			*after = op->value;
		return op->result == LIN_UNKNOWN || (op->result == LIN_OK) == there;
	case LIN_DELETE:
		*after = LIN_NO_VALUE;
		return op->result == LIN_UNKNOWN || (op->result == LIN_OK) == there;
	}
	return false;
}

static int search(struct search *s, uint64_t value)
{
	uint64_t first_return = UINT64_MAX;
	int rc;

	if (s->left == 0)
		return 1;
	rc = visit(s, value);
	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < s->n; i++)
		if (!(s->done[i / 64] >> (i % 64) & 1) && s->op[i].result != LIN_UNKNOWN &&
		    s->op[i].returned < first_return)
			first_return = s->op[i].returned;
	for (size_t i = 0; i < s->n && s->op[i].called < first_return; i++) {
		bool must = s->op[i].result != LIN_UNKNOWN;
		uint64_t after;

		if ((s->done[i / 64] >> (i % 64) & 1) || !apply(&s->op[i], value, &after))
			continue;
		s->done[i / 64] |= 1ull << (i % 64);
		s->left -= must;
		rc = search(s, after);
		s->left += must;
		s->done[i / 64] &= ~(1ull << (i % 64));
		if (rc)
			return rc;
	}
	return 0;
}

static int by_key_and_call(const void *a, const void *b)
{
	const struct lin_op *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->called < y->called ? -1 : x->called > y->called;
}

static int check_key(const struct lin_op *op, size_t n)
{
	struct search s = {.op = op, .n = n, .words = (n + 63) / 64};
	int rc;

	s.done = calloc(s.words, sizeof(*s.done));
	if (!s.done)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		s.left += op[i].result != LIN_UNKNOWN;
	rc = search(&s, LIN_NO_VALUE);
	free(s.done);
	free(s.table);
	free(s.used);
	return rc;
}

int lin_check(struct lin_op *ops, size_t n, uint64_t *bad_key)
{
	if (n)
		qsort(ops, n, sizeof(*ops), by_key_and_call);
	for (size_t i = 0, j; i < n; i = j) {
		int rc;

		for (j = i + 1; j < n && ops[j].key == ops[i].key; j++)
			;
		rc = check_key(&ops[i], j - i);
		if (rc == 0 && bad_key)
			*bad_key = ops[i].key;
		if (rc <= 0)
			return rc;
	}
	return 1;
}
