/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client stopped after each of its steps (verbs, and 256-byte pieces of WRITEs), with another
 * client beside it; the same with the one that cleans up stopped, too; and every interleaving of
 * the verbs of two operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/race_rig.h"

static struct rig rig;

static void check(struct rig *g, const char *what, unsigned a, unsigned b, unsigned k)
{
	if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
		fail_msg("%s: %s beside %s, step %u: linearizable %d, faults %u, failures %u", what,
			 atoll_op_name(a), atoll_op_name(b), k, rig_check(g),
			 (unsigned)rig_table_faults(g), (unsigned)g->failures);
}

/* Declares dead whoever was stopped and is suspected, or everybody who was stopped. */
static void bury(struct rig *g, bool all)
{
	for (unsigned i = 0; i < g->nclients; i++) {
		struct rig_client *c = &g->client[i];

		if (c->fake->fenced) {
			c->dead = true;
			if (all || g->suspected == c->cid)
				rig_declare_dead(g, i);
		}
	}
}

static void drain(struct rig *g)
{
	for (unsigned turn = 0; turn < 20000; turn++) {
		unsigned pending = 0;

		bury(g, false);
		for (unsigned i = 0; i < g->nclients; i++)
			if (!g->client[i].dead)
				pending += core_pending(g->client[i].core);
		if (!pending)
			return;
		rig_turn(g);
	}
	fail_msg("operations do not end");
}

static void start(struct rig *g, uint64_t seed, unsigned clients, bool present)
{
	rig_open(g, seed, clients, 2, 8);
	rig_keys(g, 2, seed % 2);
	g->value_base = 48; /* of several packets */
	while (rig_value_size(g->value_base + 4) < 600)
		g->value_base++;
	for (unsigned i = 0; i < clients; i++)
		rig_chunk(g, i);
	if (present) {
		assert_non_null(rig_submit(g, clients - 1, ATOLL_PUT, 1));
		assert_non_null(rig_submit(g, clients - 1, ATOLL_PUT, 0));
		drain(g);
	}
}

/* 0 when the client ended its operation before its k-th step. */
static bool crash_at(unsigned k, unsigned a, unsigned b, bool present, bool later, uint64_t seed)
{
	struct rig *g = &rig;
	bool stopped;

	start(g, seed, 3, present);
	g->client[0].fake->limit = g->client[0].fake->steps + k;
	if (k == 0)
		fake_fence(g->client[0].fake);
	assert_non_null(rig_submit(g, 0, (enum atoll_op)a, 0));
	if (later) {
		for (unsigned i = 0; i < 60 && !g->client[0].fake->fenced; i++)
			rig_turn(g);
		bury(g, false);
	}
	assert_non_null(rig_submit(g, 1, (enum atoll_op)b, 0));
	drain(g);
	stopped = g->client[0].fake->fenced;
	assert_non_null(rig_submit(g, 2, ATOLL_GET, 0));
	drain(g);
	assert_non_null(rig_submit(g, 2, ATOLL_INSERT, 0));
	drain(g);
	assert_non_null(rig_submit(g, 2, ATOLL_GET, 0));
	drain(g);
	bury(g, true);
	check(g, "crash", a, b, k);
	rig_close(g);
	return stopped;
}

static void test_crash_points(void **state)
{
	unsigned points = 0;

	(void)state;
	for (unsigned a = ATOLL_PUT; a < ATOLL_OPS; a++)
		for (unsigned b = ATOLL_GET; b < ATOLL_OPS; b++)
			for (unsigned mode = 0; mode < 4; mode++)
				for (unsigned k = 1, stopped = 1; stopped; k++) {
					stopped = 0;
					for (uint64_t seed = 0; seed < 6; seed++)
						stopped |= crash_at(k, a, b, mode & 1, mode & 2,
								    seed * 1000 + k);
					points += stopped;
				}
	printf("%u crash points\n", points);
	assert_true(points > 500);
}

/* The first is stopped, then the second, who may be cleaning up; a third goes on. */
static void test_double_crash(void **state)
{
	struct rig *g = &rig;
	unsigned points = 0, both = 0;
	uint64_t cleared = 0;

	(void)state;
	for (unsigned a = ATOLL_PUT; a <= ATOLL_INSERT; a++)
		for (unsigned b = ATOLL_PUT; b <= ATOLL_INSERT; b++)
			for (unsigned k = 1; k < 24; k++)
				for (unsigned l = 1; l < 40; l++) {
					start(g, k * 100 + l, 3, false);
					g->client[0].fake->limit = g->client[0].fake->steps + k;
					g->client[1].fake->limit = g->client[1].fake->steps + l;
					assert_non_null(rig_submit(g, 0, (enum atoll_op)a, 0));
					for (unsigned i = 0; i < 60; i++)
						rig_turn(g);
					bury(g, false);
					assert_non_null(rig_submit(g, 1, (enum atoll_op)b, 0));
					drain(g);
					both += g->client[0].fake->fenced &&
						g->client[1].fake->fenced;
					assert_non_null(rig_submit(g, 2, (enum atoll_op)a, 0));
					drain(g);
					assert_non_null(rig_submit(g, 2, ATOLL_GET, 0));
					drain(g);
					cleared += core_stats(g->client[2].core)->cleared;
					bury(g, true);
					check(g, "double crash", a, b, k);
					rig_close(g);
					points++;
				}
	printf("%u runs, %u of them stopped both, the third cleared %llu\n", points, both,
	       (unsigned long long)cleared);
	assert_true(both > 500 && cleared > 100);
}

/* Depth-first over the choices of a run: `taken` is the run's, of `of` each. */
struct tree {
	unsigned depth, at;
	uint32_t taken[256], of[256];
};

static uint32_t tree_choose(void *arg, uint32_t n)
{
	struct tree *t = arg;

	assert_true(t->at < 256);
	if (t->at == t->depth) {
		t->taken[t->depth] = 0;
		t->of[t->depth++] = n;
	}
	assert_int_equal(t->of[t->at], n);
	return t->taken[t->at++];
}

/* Makes the next run another one; false when there is none. */
static bool tree_next(struct tree *t)
{
	t->at = 0;
	while (t->depth) {
		if (++t->taken[t->depth - 1] < t->of[t->depth - 1])
			return true;
		t->depth--;
	}
	return false;
}

static unsigned interleavings(unsigned a, unsigned b, bool present, uint64_t seed)
{
	static struct tree t;
	struct rig *g = &rig;
	unsigned runs = 0;

	t.depth = t.at = 0;
	do {
		start(g, seed, 2, present);
		g->w.whole_verbs = true;
		g->w.arg = &t;
		g->w.choose = tree_choose;
		assert_non_null(rig_submit(g, 0, (enum atoll_op)a, 0));
		assert_non_null(rig_submit(g, 1, (enum atoll_op)b, 0));
		drain(g);
		g->w.choose = NULL;
		assert_non_null(rig_submit(g, 0, ATOLL_GET, 0));
		drain(g);
		check(g, "interleaving", a, b, runs);
		rig_close(g);
		runs++;
	} while (tree_next(&t));
	return runs;
}

static void test_interleavings(void **state)
{
	bool full = getenv("ATOLL_TEST_FULL");
	unsigned runs = 0;

	(void)state;
	for (unsigned a = ATOLL_GET; a < ATOLL_OPS; a++)
		for (unsigned b = a ? a : ATOLL_PUT; b < ATOLL_OPS; b++)
			for (unsigned present = 0; present < 2; present++) {
				/* two that insert have the most, and all look alike */
				if (!full && !present && a == ATOLL_PUT && b <= ATOLL_INSERT)
					continue;
				for (uint64_t seed = 0; seed < (full ? 4 : 1); seed++)
					runs += interleavings(a, b, present, 77 + seed);
			}
	printf("%u interleavings\n", runs);
	assert_true(runs > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_points),
		cmocka_unit_test(test_double_crash),
		cmocka_unit_test(test_interleavings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
