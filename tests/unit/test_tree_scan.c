/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans of a tree: forwards and backwards, from anywhere, with nothing cached and beside writers;
 * each leaf as it was at one instant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tree_rig.h"

static struct rig rig;

static struct {
	unsigned n, key[RIG_KEYS];
	uint64_t value[RIG_KEYS];
	bool ended;
	enum atoll_result result;
	int rc;
	unsigned stop; /* after so many */
} got;

static int on_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct rig *g = arg;
	unsigned k = 0;

	while (k < g->nkeys && tree_compare(g->key[k], g->klen[k], key, (uint32_t)klen))
		k++;
	assert_true(k < g->nkeys);
	assert_true(got.n < RIG_KEYS);
	got.key[got.n] = k;
	got.value[got.n] = rig_value_read(g, value, (uint32_t)vlen);
	assert_int_not_equal(got.value[got.n], UINT64_MAX);
	got.n++;
	return got.stop && got.n >= got.stop ? 42 : 0;
}

static void on_end(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	(void)arg;
	assert_int_equal(entries, got.n);
	got.ended = true;
	got.result = result;
	got.rc = rc;
}

static void scan_begin(struct rig *g, unsigned client, int from, bool reverse, uint64_t limit)
{
	memset(&got, 0, sizeof(got));
	assert_int_equal(tree_scan(g->client[client].core, from < 0 ? NULL : g->key[from],
				   from < 0 ? 0 : g->klen[from], reverse, limit, on_entry, on_end,
				   g),
			 0);
}

static void scan(struct rig *g, unsigned client, int from, bool reverse, uint64_t limit)
{
	scan_begin(g, client, from, reverse, limit);
	assert_true(rig_drain(g));
	assert_true(got.ended);
	assert_int_equal(got.result, ATOLL_OK);
}

static struct rig *sort_rig;

static int by_key(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return tree_compare(sort_rig->key[x], sort_rig->klen[x], sort_rig->key[y],
			    sort_rig->klen[y]);
}

/* What a scan has found is what the keys that are there say, in order. */
static void same(struct rig *g, const uint64_t *model, int from, bool reverse, uint64_t limit)
{
	unsigned order[RIG_KEYS], n = 0;

	for (unsigned k = 0; k < g->nkeys; k++) {
		int c = from < 0 ? 0
				 : tree_compare(g->key[k], g->klen[k], g->key[from], g->klen[from]);

		if (model[k] && (reverse ? c <= 0 : c >= 0))
			order[n++] = k;
	}
	sort_rig = g;
	qsort(order, n, sizeof(order[0]), by_key);
	assert_int_equal(got.n, limit && limit < n ? limit : n);
	for (unsigned i = 0; i < got.n; i++) {
		unsigned k = order[reverse ? n - 1 - i : i];

		assert_int_equal(got.key[i], k);
		assert_int_equal(got.value[i], model[k]);
	}
}

static void test_model(void **state)
{
	static uint64_t model[RIG_KEYS];
	struct rig *g = &rig;

	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		unsigned keys = round == 0 ? 1 : round % 2 ? 700 : 60;

		memset(model, 0, sizeof(model));
		rig_open(g, 300 + round, 3, 2);
		rig_keys(g, keys, round % 3 == 0 ? 0 : round % 3 == 1 ? 45 : 900);
		g->small = round % 4 == 1;
		scan(g, 2, -1, false, 0); /* nothing there */
		assert_int_equal(got.n, 0);
		scan(g, 2, 0, true, 0);
		assert_int_equal(got.n, 0);
		for (unsigned i = 0; i < 3 * keys; i++) {
			unsigned k = fake_below(&g->w, keys);
			bool put = i < 2 * keys || i % 2;

			assert_non_null(rig_submit(g, 0, put ? ATOLL_PUT : ATOLL_DELETE, k));
			assert_true(rig_drain(g));
			model[k] = put ? g->call[g->ncalls - 1].op.value : 0;
		}
		/* client 1 has never read anything */
		for (unsigned i = 0; i < 60; i++) {
			int from = i % 5 ? (int)fake_below(&g->w, keys) : -1;
			bool reverse = i / 5 % 2;
			uint64_t limit = i % 3 ? fake_below(&g->w, keys) : 0;

			scan(g, 1, from, reverse, limit);
			same(g, model, from, reverse, limit);
		}
		got.n = 0;
		rig_close(g);
	}
}

static void test_stop(void **state)
{
	struct rig *g = &rig;

	(void)state;
	rig_open(g, 3, 1, 1);
	rig_keys(g, 300, 0);
	for (unsigned k = 0; k < 300; k++) {
		rig_submit(g, 0, ATOLL_PUT, k);
		rig_drain(g);
	}
	scan_begin(g, 0, -1, false, 0);
	got.stop = 77;
	assert_true(rig_drain(g));
	assert_int_equal(got.n, 77);
	assert_int_equal(got.rc, 42);
	/* one operation at a time is what this client has */
	scan_begin(g, 0, -1, false, 0);
	assert_int_equal(tree_scan(g->client[0].core, NULL, 0, false, 0, on_entry, on_end, g),
			 -EAGAIN);
	assert_true(rig_drain(g));
	assert_int_equal(tree_scan(g->client[0].core, g->key[0], RIG_KEY_MAX + 1, false, 0,
				   on_entry, on_end, g),
			 -EINVAL);
	/* a connection that breaks ends it */
	scan_begin(g, 0, -1, false, 0);
	for (unsigned i = 0; i < 100; i++)
		rig_turn(g);
	fake_cut(g->client[0].fake);
	while (!got.ended)
		rig_turn(g);
	assert_int_equal(atoll_result_class(got.result), ATOLL_NOT_EXECUTED);
	rig_close(g);
}

/* Does one leaf hold both keys, in different buckets? Nothing is merged, so it always did. */
static bool together(struct rig *g, unsigned a, unsigned b)
{
	static struct tree_view v;
	uint64_t word, at;

	memcpy(&word, g->w.region[RIG_TABLE].base + INDEX_ROOT_OFFSET, 8);
	for (at = index_tree_root_offset(word); at;) {
		const struct tree_entry *first = NULL;
		int has_a = -1, has_b = -1; /* buckets */

		assert_int_equal(tree_parse(&v, g->w.region[RIG_TABLE].base + at, false),
				 TREE_WHOLE);
		for (unsigned i = 0; i < v.n; i++) {
			const struct tree_entry *e = &v.e[i];

			if (!e->key || !tree_below(&v.high, e->key, e->klen, false))
				continue;
			if (tree_compare(e->key, e->klen, g->key[a], g->klen[a]) == 0)
				has_a = e->bucket;
			if (tree_compare(e->key, e->klen, g->key[b], g->klen[b]) == 0)
				has_b = e->bucket;
			if (!e->klen)
				first = e;
		}
		if (v.head.level == 0 && (has_a >= 0 || has_b >= 0))
			return has_a >= 0 && has_b >= 0 && has_a != has_b;
		at = v.head.level ? first->child : v.head.next;
	}
	return false;
}

/* The one that scans is slow, so that much is written while it reads a leaf. */
static uint32_t slow_reader(void *arg, uint32_t n)
{
	struct rig *g = arg;
	uint32_t before = g->client[0].fake->nopen, its = g->client[1].fake->nopen, pick;

	if (!its || n == its || fake_below(&g->w, 5) == 0)
		return fake_below(&g->w, n);
	pick = fake_below(&g->w, n - its);
	return pick < before ? pick : pick + its;
}

/* Two keys are written in turn. A scan sees of each the last, or of one the last and of the other
 * the one before, never a gap: the leaf is as it was at one instant. Another client splits what is
 * around them. */
static void test_atomic(void **state)
{
	static unsigned written[RIG_HISTORY]; /* which write of the two a value was */
	struct rig *g = &rig;
	unsigned runs = getenv("ATOLL_TEST_FULL") ? 600 : 30, scans = 0, same_leaf = 0, moving = 0;

	(void)state;
	for (unsigned seed = 0; seed < runs; seed++) {
		unsigned filler = 2, turn = 0, writes = 0, gaps = 0;
		uint64_t last = 0;

		rig_open(g, 400 + seed, 3, 2);
		rig_keys(g, 500, 0);
		g->small = true;
		g->klen[0] = (uint32_t)snprintf((char *)g->key[0], 16, "500000x");
		g->klen[1] = (uint32_t)snprintf((char *)g->key[1], 16, "500000y");
		/* buckets are filled one after the other */
		for (unsigned k = 0; k < 18; k++) {
			assert_non_null(rig_submit(g, 0, ATOLL_PUT,
						   k == 0   ? 0
						   : k < 17 ? filler++
							    : 1));
			assert_true(rig_drain(g));
			if (k == 0 || k == 17)
				written[g->call[g->ncalls - 1].op.value] = ++writes;
		}
		g->w.choose = slow_reader;
		g->w.arg = g;
		scan_begin(g, 1, -1, seed % 2, 0);
		for (unsigned n = 0; n < 20;) {
			unsigned of[2] = {0, 0};

			assert_true(turn++ < 1000000 && g->ncalls < RIG_HISTORY - 4);
			/* with pauses, or a reader that slow would never find it whole */
			if (!core_pending(g->client[0].core) && turn % 512 < 300) {
				struct rig_call *c = rig_submit(g, 0, ATOLL_PUT, writes % 2);

				assert_non_null(c);
				written[c->op.value] = ++writes;
			}
			if (!core_pending(g->client[2].core) && filler < 500 && turn % 50 == 0)
				assert_non_null(rig_submit(g, 2, ATOLL_INSERT, filler++));
			rig_turn(g);
			if (!got.ended)
				continue;
			assert_int_equal(got.result, ATOLL_OK);
			for (unsigned i = 0; i < got.n; i++) {
				int c = !i ? 0
					   : tree_compare(g->key[got.key[i - 1]],
							  g->klen[got.key[i - 1]],
							  g->key[got.key[i]], g->klen[got.key[i]]);

				assert_true(!i || (seed % 2 ? c > 0 : c < 0));
				if (got.key[i] < 2)
					of[got.key[i]] = written[got.value[i]];
			}
			if (of[0] || of[1]) {
				gaps += of[0] > of[1] ? of[0] - of[1] != 1 : of[1] - of[0] != 1;
				moving += of[0] != last;
				last = of[0];
				scans++;
			}
			n++;
			scan_begin(g, 1, -1, seed % 2, 0);
		}
		assert_true(rig_drain(g));
		if (together(g, 0, 1)) {
			same_leaf++;
			assert_int_equal(gaps, 0);
		}
		assert_int_equal(rig_faults(g), 0);
		assert_int_equal(g->failures, 0);
		rig_close(g);
	}
	printf("%u scans in %u runs, in %u of which the two keys were in two buckets of one leaf; "
	       "%u saw another "
	       "value\n",
	       scans, runs, same_leaf, moving);
	assert_true(same_leaf > runs / 2 && moving > scans / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_atomic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
