/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/tree_node.h"

#include <string.h>
#include <xxhash.h>

#include "clients/index/kv.h"

enum {
	LINE_A = 58, /* entry bytes in the first line of a bucket */
	LINE_A_AT = 6,
	LINE_B_AT = INDEX_LINE + 2,
	LINE_B = INDEX_TREE_ROOM - LINE_A,
	CRC_AT = 2,
	HEAD_CRC_FROM = offsetof(struct index_tree_head, next),
	HEAD_CRC_LEN = offsetof(struct index_tree_head, crc) - HEAD_CRC_FROM,
	LONG_LEAF = 1 + 2 + 8,
	LONG_INNER = LONG_LEAF + 8,
};
_Static_assert(LINE_B_AT + LINE_B == INDEX_TREE_BUCKET, "bucket");
_Static_assert((int)LONG_LEAF == INDEX_TREE_ENTRY_MIN, "any entry can become one of these");

struct tree_hash tree_hash(const void *key, uint32_t klen)
{
	uint64_t h = XXH3_64bits(key, klen);

	return (struct tree_hash){.fp = (uint8_t)(h >> 56), .hash = (uint16_t)h};
}

int tree_compare(const uint8_t *a, uint32_t alen, const uint8_t *b, uint32_t blen)
{
	uint32_t n = alen < blen ? alen : blen;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (alen > blen) - (alen < blen);
}

uint8_t tree_counted(uint8_t size)
{
	return size < INDEX_TREE_ENTRY_MIN ? INDEX_TREE_ENTRY_MIN : size;
}

/* ------------------------------------------------------------------ checksums */

static uint32_t bucket_crc(unsigned bucket, uint16_t version, const uint8_t *room)
{
	uint16_t salt[2] = {(uint16_t)bucket, version};

	return kv_crc32c(kv_crc32c(0, salt, sizeof(salt)), room, INDEX_TREE_ROOM);
}

static uint32_t head_crc(const struct index_tree_head *head, const struct index_tree_fences *fences)
{
	uint32_t crc = kv_crc32c(0, (const uint8_t *)head + HEAD_CRC_FROM, HEAD_CRC_LEN);

	crc = kv_crc32c(crc, &head->left, sizeof(head->left));
	return kv_crc32c(crc, fences, sizeof(*fences));
}

/* ------------------------------------------------------------------ taking apart */

static bool fence_parse(struct tree_fence *f, const uint8_t *cell)
{
	*f = (struct tree_fence){.none = cell[0] == 0};
	if (cell[0] == INDEX_TREE_LONG) {
		memcpy(&f->word, cell + 1, sizeof(f->word));
		return f->word != 0;
	}
	if (cell[0] > INDEX_TREE_FENCE)
		return false;
	f->klen = cell[0];
	f->key = f->none ? NULL : cell + 1;
	return true;
}

static bool long_parse(struct tree_entry *e, const uint8_t *at, unsigned left, bool leaf)
{
	e->size = leaf ? LONG_LEAF : LONG_INNER;
	if (left < e->size)
		return false;
	e->key_long = true;
	memcpy(&e->hash, at + 1, sizeof(e->hash));
	memcpy(&e->word, at + 3, sizeof(e->word));
	if (!leaf)
		memcpy(&e->child, at + LONG_LEAF, sizeof(e->child));
	return e->word != 0 && (leaf || e->child != 0);
}

/* One entry with @left bytes to the end of the room. */
static bool entry_parse(struct tree_entry *e, const uint8_t *at, unsigned left, bool leaf)
{
	unsigned size;
	bool far;

	*e = (struct tree_entry){.raw = at};
	if (at[0] == INDEX_TREE_LONG)
		return long_parse(e, at, left, leaf);
	if (left < 2)
		return false;
	e->klen = at[0] - 1u;
	far = at[1] == INDEX_TREE_LONG;
	size = 2 + e->klen + (far ? 8u : at[1]);
	if (size > left || size > INDEX_TREE_ENTRY_MAX)
		return false;
	e->size = (uint8_t)size;
	e->key = at + 2;
	if (far) {
		memcpy(&e->word, at + 2 + e->klen, sizeof(e->word));
		return leaf && e->klen && e->word != 0;
	}
	e->value = at + 2 + e->klen;
	e->vlen = at[1];
	if (leaf)
		return e->klen != 0;
	if (e->vlen != sizeof(e->child))
		return false;
	memcpy(&e->child, e->value, sizeof(e->child));
	return e->child != 0;
}

static bool bucket_parse(struct tree_view *v, unsigned b)
{
	const uint8_t *room = v->room[b];
	unsigned at = 0, all = 0;

	while (at < INDEX_TREE_ROOM && room[at]) {
		struct tree_entry *e = &v->e[v->n];

		if (v->n == INDEX_TREE_ENTRIES ||
		    !entry_parse(e, room + at, INDEX_TREE_ROOM - at, v->head.level == 0))
			return false;
		e->bucket = (uint8_t)b;
		at += e->size;
		all += tree_counted(e->size);
		if (all > INDEX_TREE_ROOM)
			return false;
		v->n++;
	}
	v->used[b] = (uint8_t)at;
	v->counted[b] = (uint8_t)all;
	return true;
}

enum tree_parse tree_head_parse(struct index_tree_head *head, struct index_tree_fences *fences,
				const uint8_t *node)
{
	memcpy(head, node, sizeof(*head));
	memcpy(fences, node + INDEX_LINE, sizeof(*fences));
	if (head->magic != INDEX_TREE_MAGIC || head->level >= INDEX_TREE_LEVELS)
		return TREE_BAD;
	if (head->version[0] != fences->version)
		return TREE_TORN;
	if (head->crc != head_crc(head, fences) || head->flags & ~INDEX_TREE_GONE ||
	    !head->left != !(head->flags & INDEX_TREE_GONE))
		return TREE_BAD;
	return TREE_WHOLE;
}

enum tree_parse tree_parse(struct tree_view *v, const uint8_t *node, bool mend)
{
	uint32_t crc[INDEX_TREE_BUCKETS];
	uint16_t found[INDEX_TREE_BUCKETS];

	v->n = 0;
	v->mended = false;
	switch (tree_head_parse(&v->head, &v->fences, node)) {
	case TREE_WHOLE:
		break;
	case TREE_TORN:
		return mend ? TREE_BAD : TREE_TORN; /* they are written together */
	case TREE_BAD:
		return TREE_BAD;
	}
	for (unsigned b = 0; b < INDEX_TREE_BUCKETS; b++) {
		const uint8_t *at = node + INDEX_TREE_HEAD + b * INDEX_TREE_BUCKET;
		uint16_t second;

		memcpy(&found[b], at, 2);
		memcpy(&second, at + INDEX_LINE, 2);
		if (found[b] != second)
			return mend ? TREE_BAD : TREE_TORN;
		if (found[b] != v->head.version[1 + b]) {
			if (!mend)
				return TREE_TORN;
			v->head.version[1 + b] = found[b];
			v->mended = true;
		}
		memcpy(&crc[b], at + CRC_AT, 4);
		memcpy(v->room[b], at + LINE_A_AT, LINE_A);
		memcpy(v->room[b] + LINE_A, at + LINE_B_AT, LINE_B);
	}
	if (!fence_parse(&v->low, v->fences.low) || !fence_parse(&v->high, v->fences.high))
		return TREE_BAD;
	for (unsigned b = 0; b < INDEX_TREE_BUCKETS; b++)
		if (crc[b] != bucket_crc(b, found[b], v->room[b]) || !bucket_parse(v, b))
			return TREE_BAD;
	if (v->high.none != (v->head.next == 0))
		return TREE_BAD;
	return TREE_WHOLE;
}

bool tree_above(const struct tree_fence *low, const uint8_t *key, uint32_t klen, bool strict)
{
	int c;

	if (low->none)
		return true;
	c = tree_compare(key, klen, low->key, low->klen);
	return strict ? c > 0 : c >= 0;
}

bool tree_below(const struct tree_fence *high, const uint8_t *key, uint32_t klen, bool strict)
{
	int c;

	if (high->none)
		return true;
	c = tree_compare(key, klen, high->key, high->klen);
	return strict ? c <= 0 : c < 0;
}

/* ------------------------------------------------------------------ entries */

static void short_begin(struct tree_item *item, const void *key, uint32_t klen, uint8_t vlen)
{
	item->bytes[0] = (uint8_t)(klen + 1);
	item->bytes[1] = vlen;
	if (klen)
		memcpy(item->bytes + 2, key, klen);
	item->size = (uint8_t)(2 + klen);
}

static void item_append(struct tree_item *item, const void *bytes, uint32_t n)
{
	if (n)
		memcpy(item->bytes + item->size, bytes, n);
	item->size = (uint8_t)(item->size + n);
}

bool tree_item_inline(struct tree_item *item, const void *key, uint32_t klen, const void *value,
		      uint32_t vlen)
{
	if (klen > INDEX_TREE_ENTRY_MAX || vlen > INDEX_TREE_ENTRY_MAX ||
	    2 + klen + vlen > INDEX_TREE_ENTRY_MAX)
		return false;
	short_begin(item, key, klen, (uint8_t)vlen);
	item_append(item, value, vlen);
	return true;
}

bool tree_item_value_long(struct tree_item *item, const void *key, uint32_t klen, uint64_t word)
{
	if (klen > INDEX_TREE_ENTRY_MAX - 2 - 8)
		return false;
	short_begin(item, key, klen, INDEX_TREE_LONG);
	item_append(item, &word, sizeof(word));
	return true;
}

void tree_item_key_long(struct tree_item *item, struct tree_hash hash, uint64_t word)
{
	item->bytes[0] = INDEX_TREE_LONG;
	item->size = 1;
	item_append(item, &hash.hash, sizeof(hash.hash));
	item_append(item, &word, sizeof(word));
}

bool tree_item_child(struct tree_item *item, const void *key, uint32_t klen, uint64_t child)
{
	return tree_item_inline(item, key, klen, &child, sizeof(child));
}

void tree_item_child_long(struct tree_item *item, uint64_t word, uint64_t child)
{
	tree_item_key_long(item, (struct tree_hash){0}, word);
	item_append(item, &child, sizeof(child));
}

/* ------------------------------------------------------------------ making */

static bool left_over(const struct tree_entry *e, const struct tree_fence *high)
{
	return e->key && !tree_below(high, e->key, e->klen, false);
}

bool tree_bucket_edit(const struct tree_view *v, unsigned bucket, int drop,
		      const struct tree_item *add, const struct tree_fence *high, uint8_t *out)
{
	unsigned at = 0, all = 0;

	memset(out, 0, INDEX_TREE_ROOM);
	for (unsigned i = 0; i < v->n; i++) {
		const struct tree_entry *e = &v->e[i];

		if (e->bucket != bucket || (int)i == drop || left_over(e, high))
			continue;
		memcpy(out + at, e->raw, e->size);
		at += e->size;
		all += tree_counted(e->size);
	}
	if (!add)
		return true;
	if (all + tree_counted(add->size) > INDEX_TREE_ROOM)
		return false;
	memcpy(out + at, add->bytes, add->size);
	return true;
}

int tree_bucket_find(const struct tree_view *v, const struct tree_item *add,
		     const struct tree_fence *high)
{
	unsigned all[INDEX_TREE_BUCKETS] = {0};
	int best = -1;

	for (unsigned i = 0; i < v->n; i++)
		if (!left_over(&v->e[i], high))
			all[v->e[i].bucket] += tree_counted(v->e[i].size);
	for (unsigned b = 0; b < INDEX_TREE_BUCKETS; b++)
		if (all[b] + tree_counted(add->size) <= INDEX_TREE_ROOM &&
		    (best < 0 || all[b] > all[best]))
			best = (int)b;
	return best;
}

void tree_bucket_make(uint8_t *out, unsigned bucket, uint16_t version, const uint8_t *room)
{
	uint32_t crc = bucket_crc(bucket, version, room);

	memcpy(out, &version, 2);
	memcpy(out + CRC_AT, &crc, 4);
	memcpy(out + LINE_A_AT, room, LINE_A);
	memcpy(out + INDEX_LINE, &version, 2);
	memcpy(out + LINE_B_AT, room + LINE_A, LINE_B);
}

void tree_head_make(uint8_t *out, const struct index_tree_head *head,
		    const struct index_tree_fences *fences)
{
	struct index_tree_head h = *head;

	h.crc = head_crc(&h, fences);
	memcpy(out, &h, sizeof(h));
	memcpy(out + INDEX_LINE, fences, sizeof(*fences));
}

void tree_fence_make(uint8_t *cell, const struct tree_fence *f)
{
	memset(cell, 0, INDEX_TREE_FENCE + 1);
	if (f->none)
		return;
	if (f->word) {
		cell[0] = INDEX_TREE_LONG;
		memcpy(cell + 1, &f->word, sizeof(f->word));
	} else {
		cell[0] = (uint8_t)f->klen;
		memcpy(cell + 1, f->key, f->klen);
	}
}

bool tree_node_make(uint8_t *out, unsigned level, const struct tree_fence *low,
		    const struct tree_fence *high, uint64_t next, const struct tree_item *items,
		    unsigned n)
{
	struct index_tree_head head = {
		.next = next,
		.magic = INDEX_TREE_MAGIC,
		.level = (uint8_t)level,
	};
	struct index_tree_fences fences = {.version = 1};
	uint8_t room[INDEX_TREE_BUCKETS][INDEX_TREE_ROOM] = {{0}};
	unsigned at[INDEX_TREE_BUCKETS] = {0}, all[INDEX_TREE_BUCKETS] = {0};

	for (unsigned i = 0; i < n; i++) {
		unsigned b = 0;

		while (b < INDEX_TREE_BUCKETS && all[b] + tree_counted(items[i].size) > INDEX_TREE_ROOM)
			b++;
		if (b == INDEX_TREE_BUCKETS)
			return false;
		memcpy(room[b] + at[b], items[i].bytes, items[i].size);
		at[b] += items[i].size;
		all[b] += tree_counted(items[i].size);
	}
	tree_fence_make(fences.low, low);
	tree_fence_make(fences.high, high);
	for (unsigned i = 0; i <= INDEX_TREE_BUCKETS; i++)
		head.version[i] = 1;
	tree_head_make(out, &head, &fences);
	for (unsigned b = 0; b < INDEX_TREE_BUCKETS; b++)
		tree_bucket_make(out + INDEX_TREE_HEAD + b * INDEX_TREE_BUCKET, b, 1, room[b]);
	return true;
}

/* ------------------------------------------------------------------ merging */

unsigned tree_node_live(const struct tree_view *v)
{
	unsigned all = 0;

	for (unsigned i = 0; i < v->n; i++)
		if (!left_over(&v->e[i], &v->high))
			all += tree_counted(v->e[i].size);
	return all;
}

bool tree_node_merge(const struct tree_view *left, const struct tree_view *right,
		     uint8_t (*rooms)[INDEX_TREE_ROOM], unsigned *dirty)
{
	unsigned at[INDEX_TREE_BUCKETS] = {0}, all[INDEX_TREE_BUCKETS] = {0};
	unsigned l = tree_node_live(left), r = tree_node_live(right);

	*dirty = 0;
	memset(rooms, 0, INDEX_TREE_BUCKETS * sizeof(rooms[0]));
	if (l && r && l + r > INDEX_TREE_HALF)
		return false;
	for (unsigned side = 0; side < 2; side++) {
		const struct tree_view *v = side ? right : left;

		for (unsigned i = 0; i < v->n; i++) {
			const struct tree_entry *e = &v->e[i];
			unsigned b = e->bucket;

			if (left_over(e, &v->high)) {
				*dirty |= side ? 0 : 1u << b;
				continue;
			}
			if (side) {
				for (b = 0; b < INDEX_TREE_BUCKETS; b++)
					if (all[b] + tree_counted(e->size) <= INDEX_TREE_ROOM)
						break;
				if (b == INDEX_TREE_BUCKETS)
					return false;
				*dirty |= 1u << b;
			}
			memcpy(rooms[b] + at[b], e->raw, e->size);
			at[b] += e->size;
			all[b] += tree_counted(e->size);
		}
	}
	return true;
}
