/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client remembers: inner nodes, and keys that lie in blocks.
 *
 * Neither can be wrong. A block of a key that lies in it alone is never used again. An inner node that has
 * changed since leads to a child that is in charge of the key or left of the one who is, or is gone and
 * leads there, while its memory rests (reclaim.h): so a node is remembered for some epochs only. What there is
 * no memory for is not remembered.
 */
#include <stdlib.h>
#include <string.h>

#include "clients/index/tree_op.h"

enum {
	PROBES = 8
};

static uint64_t mix(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15ull;
	return x ^ x >> 32;
}

/* ------------------------------------------------------------------ inner nodes */

const struct tree_inner *tree_inner_find(struct tree *t, const struct tree_op *op, uint64_t at)
{
	for (unsigned i = 0; i < PROBES; i++) {
		struct tree_inner *n = t->inner[(mix(at) + i) & (t->c.cache - 1)];

		if (n && n->at == at && op->epoch > n->epoch + RECLAIM_CACHE)
			break;
		if (n && n->at == at) {
			t->stats.cache_hits++;
			return n;
		}
	}
	t->stats.cache_misses++;
	return NULL;
}

void tree_inner_drop(struct tree *t, uint64_t at)
{
	for (unsigned i = 0; i < PROBES; i++) {
		struct tree_inner **n = &t->inner[(mix(at) + i) & (t->c.cache - 1)];

		if (*n && (*n)->at == at) {
			free(*n);
			*n = NULL;
		}
	}
}

void tree_inner_clear(struct tree *t)
{
	for (unsigned i = 0; i < t->c.cache; i++) {
		free(t->inner[i]);
		t->inner[i] = NULL;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct tree_child *x = a, *y = b;

	return tree_compare(x->key, x->klen, y->key, y->klen);
}

static size_t key_bytes(const struct tree_view *v)
{
	size_t n = v->low.klen + v->high.klen;

	for (unsigned i = 0; i < v->n; i++)
		n += v->e[i].klen;
	return n;
}

static const uint8_t *keep(uint8_t **to, const uint8_t *key, uint32_t klen)
{
	uint8_t *at = *to;

	if (klen)
		memcpy(at, key, klen);
	*to += klen;
	return at;
}

static struct tree_inner *inner_make(const struct tree_op *op, const struct tree_view *v)
{
	struct tree_inner *n = malloc(sizeof(*n) + v->n * sizeof(n->child[0]) + key_bytes(v));
	uint8_t *keys;

	if (!n)
		return NULL;
	keys = (uint8_t *)&n->child[v->n];
	n->at = op->at;
	n->epoch = op->epoch;
	n->next = v->head.next;
	n->level = v->head.level;
	n->low = v->low;
	n->low.key = keep(&keys, v->low.key, v->low.klen);
	n->high = v->high;
	n->high.key = keep(&keys, v->high.key, v->high.klen);
	n->n = 0;
	for (unsigned i = 0; i < v->n; i++) {
		const struct tree_entry *e = &v->e[i];

		if (!tree_below(&v->high, e->key, e->klen, false))
			continue;
		n->child[n->n++] = (struct tree_child){
			.key = keep(&keys, e->key, e->klen), .klen = e->klen, .at = e->child};
	}
	qsort(n->child, n->n, sizeof(n->child[0]), by_key);
	return n;
}

void tree_inner_put(struct tree *t, const struct tree_op *op, const struct tree_view *v)
{
	uint64_t at = op->at;
	struct tree_inner **to = NULL;

	tree_inner_drop(t, at);
	for (unsigned i = 0; i < PROBES && !to; i++)
		if (!t->inner[(mix(at) + i) & (t->c.cache - 1)])
			to = &t->inner[(mix(at) + i) & (t->c.cache - 1)];
	if (!to)
		to = &t->inner[(mix(at) + t->stats.cache_misses % PROBES) & (t->c.cache - 1)];
	free(*to);
	*to = inner_make(op, v);
}

const struct tree_child *tree_child_find(const struct tree_inner *n, const uint8_t *key,
					 uint32_t klen, bool strict)
{
	unsigned from = 0, to = n->n; /* the last whose key is below (or the same) */

	while (from < to) {
		unsigned mid = (from + to) / 2;
		int c = tree_compare(n->child[mid].key, n->child[mid].klen, key, klen);

		if (strict ? c < 0 : c <= 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from ? &n->child[from - 1] : NULL;
}

/* ------------------------------------------------------------------ long keys */

const struct tree_long *tree_long_find(const struct tree *t, uint64_t word)
{
	const struct tree_long *l = t->longs[mix(word) % TREE_LONG_HEADS];

	while (l && l->word != word)
		l = l->next;
	return l;
}

void tree_long_clear(struct tree *t)
{
	for (unsigned i = 0; i < TREE_LONG_HEADS; i++)
		while (t->longs[i]) {
			struct tree_long *l = t->longs[i];

			t->longs[i] = l->next;
			free(l);
		}
	t->nlongs = 0;
}

bool tree_long_put(struct tree *t, uint64_t word, const uint8_t *key, uint32_t klen)
{
	struct tree_long *l;

	if (tree_long_find(t, word))
		return true;
	/* Enough for all operations at once; begun anew when it is full. */
	if (t->nlongs == TREE_LONG_MAX)
		tree_long_clear(t);
	l = malloc(sizeof(*l) + klen);
	if (!l)
		return false;
	l->word = word;
	l->klen = klen;
	memcpy(l->key, key, klen);
	l->next = t->longs[mix(word) % TREE_LONG_HEADS];
	t->longs[mix(word) % TREE_LONG_HEADS] = l;
	t->nlongs++;
	return true;
}
