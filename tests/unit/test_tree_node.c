/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of a tree as bytes: what is made is parsed, what is torn or damaged is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "clients/index/tree_node.h"

static const struct tree_fence none = {.none = true};
static struct tree_view view;
static uint8_t node[INDEX_TREE_NODE];
static uint64_t random_state = 88172645463325252ull;

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * n >> 32);
}

static void test_kinds(void **state)
{
	struct tree_fence low = {.key = (const uint8_t *)"a", .klen = 1};
	struct tree_fence high = {.word = 0x1234};
	struct tree_item item[3];

	(void)state;
	assert_true(tree_item_inline(&item[0], "moon", 4, "", 0));
	assert_true(tree_item_value_long(&item[1], "io", 2, 77));
	tree_item_key_long(&item[2], (struct tree_hash){3, 0x4567}, 99);
	assert_true(tree_node_make(node, 0, &low, &high, 4096, item, 3));
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	assert_int_equal(view.n, 3);
	assert_memory_equal(view.e[0].key, "moon", 4);
	assert_int_equal(view.e[0].vlen, 0);
	assert_int_equal(view.e[1].word, 77);
	assert_null(view.e[1].value);
	assert_true(view.e[2].key_long);
	assert_int_equal(view.e[2].hash, 0x4567);
	assert_int_equal(view.e[2].word, 99);
	assert_int_equal(view.low.klen, 1);
	assert_int_equal(view.high.word, 0x1234);
	assert_int_equal(view.head.next, 4096);

	assert_true(tree_item_child(&item[0], NULL, 0, 64));
	tree_item_child_long(&item[1], 5, 128);
	assert_true(tree_node_make(node, 3, &none, &none, 0, item, 2));
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	assert_int_equal(view.head.level, 3);
	assert_int_equal(view.e[0].klen, 0);
	assert_int_equal(view.e[0].child, 64);
	assert_int_equal(view.e[1].word, 5);
	assert_int_equal(view.e[1].child, 128);
	assert_false(tree_item_inline(&item[0], "k", 1, node, INDEX_TREE_ENTRY_MAX));
	assert_false(tree_item_value_long(&item[0], node, INDEX_TREE_ENTRY_MAX - 9, 1));
}

static void test_order(void **state)
{
	const uint8_t *b = (const uint8_t *)"b", *bb = (const uint8_t *)"bb";
	struct tree_fence f = {.key = b, .klen = 1};

	(void)state;
	assert_true(tree_compare(b, 1, bb, 2) < 0);
	assert_true(tree_compare(bb, 2, b, 1) > 0);
	assert_int_equal(tree_compare(bb, 2, bb, 2), 0);
	assert_true(tree_above(&f, b, 1, false));
	assert_false(tree_above(&f, b, 1, true));
	assert_true(tree_above(&f, bb, 2, true));
	assert_false(tree_below(&f, b, 1, false));
	assert_true(tree_below(&f, b, 1, true));
	assert_true(tree_below(&none, bb, 2, false));
}

/* Everything whose sizes fit in half a node does fit. */
static void test_half_fits(void **state)
{
	(void)state;
	for (unsigned run = 0; run < 20000; run++) {
		struct tree_item item[INDEX_TREE_ENTRIES];
		unsigned n = 0, all = 0, small = below(2);

		for (;;) {
			uint32_t vlen = below(small ? 12 : INDEX_TREE_ENTRY_MAX - 4);
			unsigned size =
				4 + vlen < INDEX_TREE_ENTRY_MIN ? INDEX_TREE_ENTRY_MIN : 4 + vlen;

			if (all + size > INDEX_TREE_HALF)
				break;
			all += size;
			assert_true(tree_item_inline(&item[n++], "kk", 2, node, vlen));
		}
		assert_true(tree_node_make(node, 0, &none, &none, 0, item, n));
		assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
		assert_int_equal(view.n, n);
	}
}

/* Every entry can become one with a long key where it stands. */
static void test_any_becomes_long(void **state)
{
	struct tree_item item[INDEX_TREE_ENTRIES], longer;
	uint8_t room[INDEX_TREE_ROOM];
	unsigned n = 0;

	(void)state;
	while (n < INDEX_TREE_ENTRIES) {
		assert_true(tree_item_inline(&item[n], &n, 1, NULL, 0));
		n++;
	}
	assert_true(tree_node_make(node, 0, &none, &none, 0, item, n));
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	tree_item_key_long(&longer, (struct tree_hash){0}, 1);
	assert_int_equal(tree_bucket_find(&view, &longer, &none), -1);
	for (unsigned i = 0; i < n; i++)
		assert_true(
			tree_bucket_edit(&view, view.e[i].bucket, (int)i, &longer, &none, room));
}

static void test_edit(void **state)
{
	struct tree_fence high = {.key = (const uint8_t *)"m", .klen = 1};
	struct tree_item item[2], add;
	uint8_t room[INDEX_TREE_ROOM];
	int b;

	(void)state;
	assert_true(tree_item_inline(&item[0], "a", 1, "1", 1));
	assert_true(tree_item_inline(&item[1], "z", 1, "2", 1));
	assert_true(tree_item_inline(&add, "b", 1, "3", 1));
	assert_true(tree_node_make(node, 0, &none, &none, 0, item, 2));
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	b = tree_bucket_find(&view, &add, &high);
	assert_int_equal(b, 0);
	assert_true(tree_bucket_edit(&view, 0, 0, &add, &high, room));
	assert_memory_equal(room, add.bytes, add.size); /* neither the dropped nor the one above */
	assert_int_equal(room[add.size], 0);
}

/* A change in the middle is seen as one; with the lock of a dead client it is finished. */
static void test_torn(void **state)
{
	struct tree_item item, add;
	uint8_t room[INDEX_TREE_ROOM], was[INDEX_TREE_NODE];
	uint8_t *bucket = node + INDEX_TREE_HEAD + 2 * INDEX_TREE_BUCKET;

	(void)state;
	assert_true(tree_item_inline(&item, "a", 1, "1", 1));
	assert_true(tree_item_inline(&add, "b", 1, "2", 1));
	assert_true(tree_node_make(node, 0, &none, &none, 0, &item, 1));
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	memcpy(was, node, sizeof(was));
	assert_true(tree_bucket_edit(&view, 2, -1, &add, &none, room));
	tree_bucket_make(bucket, 2, 2, room);
	assert_int_equal(tree_parse(&view, node, false), TREE_TORN);
	assert_int_equal(tree_parse(&view, node, true), TREE_WHOLE);
	assert_true(view.mended);
	assert_int_equal(view.n, 2);
	tree_head_make(node, &view.head, &view.fences);
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	assert_int_equal(view.n, 2);
	/* one line of the bucket from before: no death leaves that, a READ may see it */
	memcpy(bucket + INDEX_LINE, was + (bucket - node) + INDEX_LINE, INDEX_LINE);
	assert_int_equal(tree_parse(&view, node, false), TREE_TORN);
	assert_int_equal(tree_parse(&view, node, true), TREE_BAD);
}

/* No bit can turn unnoticed, but for the lock's; and no bytes at all make the parser go astray. */
static void test_damage(void **state)
{
	struct tree_item item[20];

	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		assert_true(tree_item_inline(&item[i], &i, 4, "value", 5));
	assert_true(tree_node_make(node, 0, &none, &none, 0, item, 20));
	for (unsigned bit = 64; bit < INDEX_TREE_NODE * 8; bit++) {
		if (bit >= 40 * 8 && bit < 64 * 8)
			continue; /* reserved, for later versions */
		node[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(tree_parse(&view, node, false), TREE_WHOLE);
		node[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(tree_parse(&view, node, false), TREE_WHOLE);
	for (unsigned run = 0; run < 20000; run++) {
		uint8_t room[INDEX_TREE_ROOM];
		unsigned b = below(INDEX_TREE_BUCKETS);

		for (unsigned i = 0; i < sizeof(room); i++)
			room[i] = below(4) ? (uint8_t)below(12) : (uint8_t)below(256);
		assert_true(tree_node_make(node, below(2), &none, &none, 0, item, 0));
		tree_bucket_make(node + INDEX_TREE_HEAD + b * INDEX_TREE_BUCKET, b, 1, room);
		tree_parse(&view, node, false);
		assert_true(view.n <= INDEX_TREE_ENTRIES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),     cmocka_unit_test(test_order),
		cmocka_unit_test(test_half_fits), cmocka_unit_test(test_any_becomes_long),
		cmocka_unit_test(test_edit),      cmocka_unit_test(test_torn),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
