/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges of a tree's nodes beside those who know the tree as it was before: a splitter that tells the
 * parent late, caches of inner nodes, scans, crowds that insert and delete whole ranges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tree_rig.h"

static struct rig rig;

static void drain(struct rig *g)
{
	if (!rig_drain(g))
		fail_msg("operations do not end");
}

static enum atoll_result run(struct rig *g, unsigned client, enum atoll_op op, unsigned key)
{
	struct rig_call *c = rig_submit(g, client, op, key);

	assert_non_null(c);
	drain(g);
	return c->result;
}

/* Keys in the order of their numbers. */
static void keys_ordered(struct rig *g, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char text[24];

		g->klen[i] = (uint32_t)snprintf(text, sizeof(text), "%08u", i);
		memcpy(g->key[i], text, g->klen[i]);
	}
	g->nkeys = n;
}

/* One client splits a leaf and is held up. Another tells the parent, empties the new leaf and merges it. Then the first
 * goes on, and must not name it again. */
static void test_late_splitter(void **state)
{
	struct rig *g = &rig;
	struct rig_look l;
	unsigned n = 0;

	(void)state;
	rig_open(g, 5, 2, 1);
	keys_ordered(g, 400);
	g->small = true;
	do {
		run(g, 1, ATOLL_PUT, n++);
		rig_look(g, &l, NULL);
	} while (l.nodes[0] < 3);
	for (rig_look(g, &l, NULL); l.nodes[0] < 4; rig_look(g, &l, NULL)) {
		/* the next split is made by the other client, up to where it can be seen */
		assert_non_null(rig_submit(g, 0, ATOLL_PUT, n));
		for (unsigned i = 0; i < 2000 && core_pending(g->client[0].core); i++) {
			rig_turn(g);
			rig_look(g, &l, NULL);
			if (l.nodes[0] == 4)
				break;
		}
		n++;
	}
	assert_int_equal(core_pending(g->client[0].core), 1);
	g->client[0].paused = true;
	for (unsigned i = 0; i < 400; i++) /* what it has sent is executed */
		fake_step(&g->w);
	for (unsigned k = n - 1; k > n - 3; k--) { /* in the new leaf, found through its neighbour */
		struct rig_call *c = rig_submit(g, 1, k == n - 1 ? ATOLL_GET : ATOLL_DELETE, n - 1);

		assert_non_null(c);
		for (unsigned i = 0; i < 4000 && core_pending(g->client[1].core); i++)
			rig_turn(g);
		assert_int_equal(c->result, ATOLL_OK);
	}
	rig_look(g, &l, NULL);
	printf("%u leaves, %u merges\n", (unsigned)l.nodes[0],
	       (unsigned)core_stats(g->client[1].core)->merges);
	g->client[0].paused = false;
	drain(g);
	rig_look(g, &l, NULL);
	assert_int_equal(l.faults, 0);
	assert_int_equal(l.stale, 0);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(g->failures, 0);
	rig_close(g);
}

/* Who has seen the tree when it was large finds all that is left, whatever it remembers. */
static void test_old_caches(void **state)
{
	struct rig *g = &rig;
	struct rig_look l;
	uint64_t merges;

	(void)state;
	for (unsigned order = 0; order < 3; order++) {
		rig_open(g, 60 + order, 3, 1);
		keys_ordered(g, 900);
		g->small = true;
		for (unsigned k = 0; k < 900; k++)
			run(g, 0, ATOLL_PUT, k);
		for (unsigned k = 0; k < 900; k += 7)
			run(g, 1, ATOLL_GET, k);
		for (unsigned i = 0; i < 900; i++) {
			unsigned k = order == 0 ? i : order == 1 ? 899 - i : i * 7 % 900;

			if (k % 50)
				assert_int_equal(run(g, 0, ATOLL_DELETE, k), ATOLL_OK);
		}
		g->ncalls = 0;
		for (unsigned k = 0; k < 900; k += 5)
			assert_int_equal(run(g, 1, ATOLL_GET, k), k % 50 ? ATOLL_NOT_FOUND : ATOLL_OK);
		for (unsigned down = 0; down < 2; down++) {
			static struct rig_scan s;

			assert_true(rig_scan(g, 1 + down, &s, down));
			drain(g);
			assert_int_equal(s.result, ATOLL_OK);
			for (unsigned k = 0; k < 900; k++)
				assert_int_equal(s.seen[k], k % 50 == 0);
		}
		for (unsigned k = 0; k < 900; k += 3)
			run(g, 2, ATOLL_PUT, k);
		rig_look(g, &l, NULL);
		merges = core_stats(g->client[0].core)->merges;
		printf("%u levels, %u leaves, %u merges\n", l.levels, (unsigned)l.nodes[0],
		       (unsigned)merges);
		assert_int_equal(l.faults, 0);
		assert_int_equal(l.stale, 0);
		assert_true(merges > 10);
		assert_int_equal(g->failures, 0);
		rig_close(g);
	}
}

/* Several clients that put and delete ranges, so that leaves come and go; some die. */
static void test_crowd(void **state)
{
	struct rig *g = &rig;
	unsigned runs = getenv("ATOLL_TEST_FULL") ? 1500 : 60;
	uint64_t merges = 0, splits = 0, repairs = 0, reused = 0;
	unsigned scans = 0, recorded = 0;

	(void)state;
	for (unsigned seed = 0; seed < runs; seed++) {
		unsigned clients = 3 + seed % 3, from = 0, begun = 0, keys = 150;
		static struct rig_scan scan;
		bool scanning = false;
		uint64_t live[RIG_KEYS] = {0};
		struct rig_look l;

		rig_reclaim_us = seed % 3 ? 1 : 0;
		rig_open(g, 9000 + seed, clients, 2);
		keys_ordered(g, keys);
		g->small = seed % 5 != 0;
		for (unsigned k = 0; k < keys; k++) { /* two to a bucket, or in blocks */
			uint32_t fill = seed % 4 == 3 ? 60 : 36;

			memmove(g->key[k] + fill, g->key[k], g->klen[k]);
			memset(g->key[k], 'p', fill);
			g->klen[k] += fill;
		}
		for (unsigned i = 0; i < clients; i++) {
			g->client[i].todo = 220;
			if (i + 1 < clients && seed % 2)
				g->client[i].fake->limit = 1500 + fake_below(&g->w, 12000);
		}
		for (unsigned left = 1, turn = 0; left; turn++) {
			assert_true(turn < 2000000);
			left = 0;
			rig_bury(g, false);
			for (unsigned i = 0; i < clients; i++) {
				struct rig_client *c = &g->client[i];
				enum atoll_op op = fake_below(&g->w, 8) == 0 ? ATOLL_GET
						   : begun % 300 >= 100 ? ATOLL_DELETE
									   : ATOLL_PUT;

				if (c->dead)
					continue;
				if (c->todo && core_pending(c->core) < 2 &&
				    rig_submit(g, i, op, from + fake_below(&g->w, 50))) {
					c->todo--;
					/* a range of keys is put by all, then deleted by all */
					if (++begun % 300 == 0)
						from = fake_below(&g->w, 3) * 50;
				}
				left += c->todo + core_pending(c->core);
			}
			if (!scanning) {
				scanning = rig_scan(g, clients - 1, &scan, scans++ & 1);
			} else if (scan.done) {
				/* not all of them: a history has an end */
				if (scan.result == ATOLL_OK && g->ncalls < RIG_HISTORY / 2) {
					rig_scan_record(g, &scan);
					recorded++;
				}
				scanning = false;
			}
			rig_turn(g);
		}
		drain(g);
		for (unsigned k = 0; k < keys; k++)
			run(g, clients - 1, ATOLL_GET, k);
		rig_bury(g, true);
		rig_look(g, &l, live);
		for (unsigned i = 0; i < clients; i++) {
			merges += core_stats(g->client[i].core)->merges;
			splits += core_stats(g->client[i].core)->splits;
			repairs += core_stats(g->client[i].core)->repairs;
			reused += core_stats(g->client[i].core)->reused_bytes;
		}
		if (l.faults || g->failures || rig_check(g) != 1)
			fail_msg("seed %u: %u faults, %u failures", seed, (unsigned)l.faults,
				 (unsigned)g->failures);
		rig_close(g);
	}
	rig_reclaim_us = 0;
	printf("%u scans of whole trees in the histories\n", recorded);
	assert_true(recorded > runs);
	printf("%u runs: %u splits, %u merges, %u finished for the dead, %u KiB used again\n", runs,
	       (unsigned)splits, (unsigned)merges, (unsigned)repairs, (unsigned)(reused >> 10));
	assert_true(merges > runs / 2 && reused > 50000);
}

/* Values come and go, and leaves with them, many times as much as the heap holds. */
static void test_memory(void **state)
{
	struct rig *g = &rig;
	struct rig_look l;
	unsigned begun;

	(void)state;
	rig_reclaim_us = 5;
	rig_open(g, 3, 2, 2);
	keys_ordered(g, 300);
	begun = g->segment;
	for (unsigned round = 0; round < 16; round++) {
		for (unsigned i = 0; i < 600; i++) {
			rig_submit(g, 0, i < 300 ? ATOLL_PUT : ATOLL_DELETE, i % 300);
			for (unsigned turn = 0; turn < 60; turn++)
				rig_turn(g);
			drain(g);
		}
		g->ncalls = 0;
	}
	rig_look(g, &l, NULL);
	printf("%u segments, %u KiB used again, %u KiB leaked, %u merges\n", g->segment - begun,
	       (unsigned)(core_stats(g->client[0].core)->reused_bytes >> 10),
	       (unsigned)(core_stats(g->client[0].core)->leaked_bytes >> 10),
	       (unsigned)core_stats(g->client[0].core)->merges);
	assert_true(g->segment - begun < 16);
	assert_true(core_stats(g->client[0].core)->reused_bytes > 1 << 20);
	assert_int_equal(l.faults, 0);
	assert_int_equal(l.entries, 0);
	assert_int_equal(g->failures, 0);
	rig_close(g);
	rig_reclaim_us = 0;
}

/* A reader stands still between a leaf and a block that it names. Others replace the value again and again, and put others
 * of the same size, but what the reader will look at is not used for them. */
static void test_slow_reader(void **state)
{
	struct rig *g = &rig;
	uint64_t reused = 0;

	(void)state;
	rig_reclaim_us = 1;
	for (unsigned n = 1; n < 60; n++) {
		struct rig_call *c;

		rig_open(g, n, 2, 1);
		keys_ordered(g, 8);
		g->value_base = 97 * 97; /* sizes vary, and most do not fit into entries */
		for (unsigned k = 0; k < 8; k++)
			run(g, 0, ATOLL_PUT, k);
		for (unsigned k = 0; k < 40; k++)
			run(g, 1, ATOLL_GET, k % 8);
		c = rig_submit(g, 1, ATOLL_GET, n % 8);
		assert_non_null(c);
		for (unsigned i = 0; i < n && !c->finished; i++)
			rig_turn(g);
		g->client[1].paused = true;
		for (unsigned k = 0; k < 200; k++) {
			assert_non_null(rig_submit(g, 0, ATOLL_PUT, k % 8));
			for (unsigned i = 0; i < 4000 && core_pending(g->client[0].core); i++)
				rig_turn(g);
		}
		g->client[1].paused = false;
		drain(g);
		assert_int_equal(c->result, ATOLL_OK);
		assert_int_equal(rig_check(g), 1);
		/* nobody is held back any more */
		for (unsigned k = 0; k < 200; k++)
			run(g, 0, ATOLL_PUT, k % 8);
		for (unsigned i = 0; i < 8000; i++)
			rig_turn(g);
		reused += core_stats(g->client[0].core)->reused_bytes;
		assert_int_equal(g->failures, 0);
		rig_close(g);
	}
	rig_reclaim_us = 0;
	printf("%u KiB used again\n", (unsigned)(reused >> 10));
	assert_true(reused > 1 << 20);
}

/* Nodes that lead to each other in a circle are an answer, too. */
static void test_circle(void **state)
{
	struct rig *g = &rig;

	(void)state;
	for (unsigned left = 0; left < 2; left++) {
		struct index_tree_fences fences;
		struct index_tree_head head;
		struct rig_call *c;
		uint64_t word;
		uint8_t *leaf;

		rig_open(g, 30 + left, 1, 1);
		keys_ordered(g, 4);
		g->small = true;
		for (unsigned k = 0; k < 3; k++)
			run(g, 0, ATOLL_PUT, k);
		memcpy(&word, g->w.region[RIG_TABLE].base + INDEX_ROOT_OFFSET, 8);
		leaf = g->w.region[RIG_TABLE].base + index_tree_root_offset(word);
		assert_int_equal(tree_head_parse(&head, &fences, leaf), TREE_WHOLE);
		if (left) {
			head.flags = INDEX_TREE_GONE;
			head.left = index_tree_root_offset(word);
		} else {
			struct tree_fence high = {.key = g->key[0], .klen = g->klen[0]};

			head.next = index_tree_root_offset(word);
			tree_fence_make(fences.high, &high);
		}
		tree_head_make(leaf, &head, &fences);
		c = rig_submit(g, 0, ATOLL_GET, 2);
		assert_non_null(c);
		for (unsigned i = 0; i < 4 && !c->finished; i++)
			rig_drain(g);
		assert_true(c->finished);
		assert_int_equal(c->result, ATOLL_CORRUPT);
		rig_close(g);
	}
}

static void account(struct rig *g, unsigned client, struct atoll_index_report *r,
		    struct atoll_index_account *a)
{
	memset(r, 0, sizeof(*r));
	g->w.idle_steps = true;
	assert_int_equal(core_check(g->client[client].core, NULL, NULL, r, a), 0);
	g->w.idle_steps = false;
}

/* What was handed out is all accounted for; a damaged leaf is found, and fenced off by who wants to write it. */
static void test_account(void **state)
{
	struct rig *g = &rig;
	struct atoll_index_report r;
	struct atoll_index_account a;
	uint64_t word, lock;
	struct rig_look l;
	uint8_t *leaf;

	(void)state;
	for (unsigned far = 0; far < 2; far++) {
		rig_reclaim_us = 1;
		rig_open(g, 11 + far, 2, 2);
		rig_keys(g, 600, far ? 300 : 0);
		for (unsigned i = 0; i < 3000; i++) {
			unsigned key = fake_below(&g->w, 600);

			run(g, i % 2, i % 3 == 2 ? ATOLL_DELETE : ATOLL_PUT, key);
		}
		account(g, 1, &r, &a);
		rig_look(g, &l, NULL);
		printf("%u entries, %u nodes: %u KiB allocated, %u reachable, %u held\n",
		       (unsigned)r.entries, (unsigned)r.subtables,
		       (unsigned)(a.allocated_bytes >> 10), (unsigned)(a.reachable_bytes >> 10),
		       (unsigned)(a.held_bytes >> 10));
		assert_int_equal(a.bad, 0);
		assert_int_equal(r.torn, 0);
		assert_int_equal(r.entries, l.entries);
		assert_int_equal(a.allocated_bytes, g->segment * (uint64_t)INDEX_SEGMENT);
		assert_int_equal(a.allocated_bytes, a.reachable_bytes + a.held_bytes);
		assert_int_equal(r.subtables, l.nodes[0] + l.nodes[1] + l.nodes[2] + l.nodes[3]);
		assert_true(a.reachable_bytes >= r.subtables * INDEX_TREE_NODE);
		fake_fence(g->client[0].fake);
		rig_bury(g, true);
		account(g, 1, &r, &a);
		assert_int_equal(a.allocated_bytes,
				 a.reachable_bytes + a.held_bytes + a.left_bytes);
		assert_true(a.left_bytes > 0);
		rig_reclaim_us = 0;
		rig_close(g);
	}

	rig_open(g, 13, 2, 1);
	keys_ordered(g, 20);
	g->small = true;
	for (unsigned k = 0; k < 20; k++)
		run(g, 0, ATOLL_PUT, k);
	memcpy(&word, g->w.region[RIG_TABLE].base + INDEX_ROOT_OFFSET, 8);
	leaf = g->w.region[RIG_TABLE].base + index_tree_root_offset(word);
	leaf[INDEX_TREE_HEAD + 10] ^= 1;
	assert_int_equal(run(g, 1, ATOLL_GET, 3), ATOLL_CORRUPT);
	assert_int_equal(tree_bad_at(g->client[1].core), index_tree_root_offset(word));
	assert_int_equal(run(g, 1, ATOLL_PUT, 3), ATOLL_CORRUPT);
	memcpy(&lock, leaf, 8);
	assert_true(lock == INDEX_TREE_FENCED);
	leaf[INDEX_TREE_HEAD + 10] ^= 1; /* though it be whole again: nobody writes it */
	assert_int_equal(run(g, 0, ATOLL_PUT, 3), ATOLL_CORRUPT);
	assert_int_equal(tree_bad_at(g->client[0].core), index_tree_root_offset(word));
	assert_int_equal(run(g, 0, ATOLL_GET, 3), ATOLL_OK);
	leaf[INDEX_TREE_HEAD + 10] ^= 1;
	account(g, 1, &r, &a);
	assert_int_equal(r.torn, 1);
	assert_int_equal(r.first_bad, index_tree_root_offset(word));
	rig_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_splitter),
		cmocka_unit_test(test_old_caches),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_circle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
