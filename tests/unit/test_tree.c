/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on a tree against a model: one client, several at once with a checked history, keys
 * and values of all sizes, round trips, bad memory, lost connections.
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

static struct rig_call *run(struct rig *g, unsigned client, enum atoll_op op, unsigned key)
{
	struct rig_call *c = rig_submit(g, client, op, key);

	assert_non_null(c);
	drain(g);
	return c;
}

/* Random operations of one client, each compared with what a map says. */
static void against_model(uint64_t seed, unsigned keys, uint32_t longest, bool small)
{
	static uint64_t model[RIG_KEYS];
	struct rig *g = &rig;
	struct rig_look l;
	uint64_t live[RIG_KEYS] = {0};

	memset(model, 0, sizeof(model));
	rig_open(g, seed, 1, 1);
	rig_keys(g, keys, longest);
	g->small = small;
	for (unsigned i = 0; i < RIG_HISTORY - 1; i++) {
		unsigned k = fake_below(&g->w, keys);
		enum atoll_op op = (enum atoll_op)fake_below(&g->w, ATOLL_OPS);
		struct rig_call *c = run(g, 0, op, k);

		switch (op) {
		case ATOLL_GET:
			assert_int_equal(c->result, model[k] ? ATOLL_OK : ATOLL_NOT_FOUND);
			if (model[k])
				assert_int_equal(c->op.value, model[k]);
			break;
		case ATOLL_INSERT:
			assert_int_equal(c->result, model[k] ? ATOLL_EXISTS : ATOLL_OK);
			model[k] = model[k] ? model[k] : c->op.value;
			break;
		case ATOLL_UPDATE:
			assert_int_equal(c->result, model[k] ? ATOLL_OK : ATOLL_NOT_FOUND);
			model[k] = model[k] ? c->op.value : 0;
			break;
		case ATOLL_DELETE:
			assert_int_equal(c->result, model[k] ? ATOLL_OK : ATOLL_NOT_FOUND);
			model[k] = 0;
			break;
		default:
			assert_int_equal(c->result, ATOLL_OK);
			model[k] = c->op.value;
		}
	}
	rig_look(g, &l, live);
	assert_int_equal(l.faults, 0);
	assert_int_equal(l.locked, 0);
	for (unsigned k = 0; k < keys; k++)
		assert_int_equal(live[k], model[k] != 0);
	printf("%u keys to %u bytes: %u levels, %u leaves, %u entries\n", keys, longest, l.levels,
	       (unsigned)l.nodes[0], (unsigned)l.entries);
	assert_int_equal(g->failures, 0);
	rig_close(g);
}

static void test_model(void **state)
{
	(void)state;
	against_model(1, 1000, 0, true);
	against_model(2, 1000, 0, false);
	against_model(3, 1000, 40, false);
	against_model(4, 1000, 64, true);
	against_model(5, 600, 1024, false);
	against_model(6, 20, 1024, false);
}

/* In order, backwards, and from the middle: all splits there are. */
static void test_orders(void **state)
{
	struct rig *g = &rig;

	(void)state;
	for (unsigned order = 0; order < 3; order++) {
		struct rig_look l;
		uint64_t live[RIG_KEYS] = {0};

		rig_open(g, order + 10, 1, 1);
		g->small = true;
		for (unsigned i = 0; i < RIG_KEYS; i++) {
			char text[16];

			g->klen[i] = (uint32_t)snprintf(text, sizeof(text), "%08u", i);
			memcpy(g->key[i], text, g->klen[i]);
		}
		g->nkeys = RIG_KEYS;
		for (unsigned i = 0; i < RIG_KEYS; i++)
			assert_int_equal(run(g, 0, ATOLL_INSERT,
					     order == 0   ? i
					     : order == 1 ? RIG_KEYS - 1 - i
							  : (i % 2 ? RIG_KEYS / 2 + i / 2
								   : RIG_KEYS / 2 - 1 - i / 2))
						 ->result,
					 ATOLL_OK);
		rig_look(g, &l, live);
		assert_int_equal(l.faults, 0);
		for (unsigned k = 0; k < RIG_KEYS; k++) {
			assert_int_equal(live[k], 1);
			assert_int_equal(run(g, 0, ATOLL_GET, k)->result, ATOLL_OK);
		}
		printf("order %u: %u levels, %u leaves, %.1f entries in each\n", order, l.levels,
		       (unsigned)l.nodes[0], (double)l.entries / (double)l.nodes[0]);
		rig_close(g);
	}
}

/* With the inner nodes cached: a get takes one round trip, a put two. */
static void test_round_trips(void **state)
{
	struct rig *g = &rig;
	uint64_t leaves;
	unsigned tried = 0;
	struct rig_look l;

	(void)state;
	rig_open(g, 20, 2, 1);
	rig_keys(g, 1000, 0);
	g->small = true;
	for (unsigned k = 0; k < 900; k++)
		run(g, 0, ATOLL_PUT, k);
	for (unsigned k = 0; k < 900; k++)
		run(g, 1, ATOLL_GET, k); /* fills the other client's cache */
	for (unsigned client = 0; client < 2; client++)
		for (unsigned k = 0; k < 900; k++) {
			assert_int_equal(run(g, client, ATOLL_GET, k)->round_trips, 1);
			assert_int_equal(run(g, client, ATOLL_PUT, k)->round_trips, 2);
			assert_int_equal(run(g, client, ATOLL_UPDATE, k)->round_trips, 2);
			if (k % 100 == 0)
				g->ncalls = 0;
		}
	g->ncalls = 0;
	rig_look(g, &l, NULL);
	leaves = l.nodes[0];
	for (unsigned k = 0; k < 900; k++) {
		uint64_t merges = core_stats(g->client[0].core)->merges;
		unsigned trips = run(g, 0, ATOLL_DELETE, k)->round_trips;

		if (trips > 2) {
			tried++;
			assert_true(core_stats(g->client[0].core)->merges == merges || trips >= 6);
		}
	}
	rig_look(g, &l, NULL);
	printf("%u leaves, %u after all was deleted; %u of 900 deletes tried to merge\n", (unsigned)leaves,
	       (unsigned)l.nodes[0], tried);
	assert_int_equal(l.faults, 0);
	assert_int_equal(l.nodes[0], 1);
	assert_true(tried < 900 / 4);
	assert_int_equal(g->failures, 0);
	rig_close(g);
}

/* Several clients with several operations each, on few keys and on many, all splits between. */
static void test_concurrent(void **state)
{
	struct rig *g = &rig;
	unsigned runs = getenv("ATOLL_TEST_FULL") ? 2000 : 150;
	uint64_t forwards = 0, splits = 0, waits = 0;

	(void)state;
	for (unsigned seed = 0; seed < runs; seed++) {
		unsigned keys = seed % 2 ? 8 : 300, clients = 2 + seed % 4;

		rig_open(g, 1000 + seed, clients, 4);
		rig_keys(g, keys, seed % 3 == 0 ? 200 : 0);
		g->small = seed % 5 < 2;
		for (unsigned i = 0; i < clients; i++) {
			g->client[i].todo = keys == 8 ? 60 : 200;
			g->client[i].fake->again = seed % 7 == 0 ? 50 : 0;
		}
		for (unsigned left = 1, turn = 0; left; turn++) {
			assert_true(turn < 2000000);
			left = 0;
			for (unsigned i = 0; i < clients; i++) {
				struct rig_client *c = &g->client[i];

				if (c->todo && core_pending(c->core) < 4 &&
				    rig_submit(g, i, (enum atoll_op)fake_below(&g->w, ATOLL_OPS),
					       fake_below(&g->w, keys)))
					c->todo--;
				left += c->todo + core_pending(c->core);
			}
			rig_turn(g);
		}
		for (unsigned k = 0; k < keys; k++)
			run(g, k % clients, ATOLL_GET, k);
		for (unsigned i = 0; i < clients; i++) {
			forwards += core_stats(g->client[i].core)->forwards;
			splits += core_stats(g->client[i].core)->splits;
			waits += core_stats(g->client[i].core)->waits;
		}
		if (rig_check(g) != 1 || rig_faults(g) || g->failures)
			fail_msg("seed %u: linearizable %d, faults %u, failures %u", seed,
				 rig_check(g), (unsigned)rig_faults(g), (unsigned)g->failures);
		rig_close(g);
	}
	printf("%u runs: %u splits, %u moves to the right, %u waits\n", runs, (unsigned)splits,
	       (unsigned)forwards, (unsigned)waits);
	assert_true(splits > 100 && forwards > 100 && waits > 100);
}

/* A connection breaks at any time: what was answered holds, what is in doubt may. */
static void test_cut(void **state)
{
	struct rig *g = &rig;
	unsigned doubts = 0;

	(void)state;
	for (unsigned seed = 0; seed < 300; seed++) {
		rig_open(g, 5000 + seed, 2, 4);
		rig_keys(g, 60, 0);
		for (unsigned i = 0; i < 300; i++) {
			if (i == 100 + seed % 150)
				fake_cut(g->client[0].fake);
			for (unsigned c = 0; c < 2; c++)
				if (!core_lost(g->client[c].core))
					rig_submit(g, c,
						   (enum atoll_op)fake_below(&g->w, ATOLL_OPS),
						   fake_below(&g->w, 60));
			for (unsigned n = 0; n < 12; n++)
				rig_turn(g);
		}
		for (unsigned n = 0; n < 2000 && core_pending(g->client[0].core); n++)
			rig_turn(g);
		assert_int_equal(core_pending(g->client[0].core), 0);
		g->client[0].dead = true;
		rig_declare_dead(g, 0);
		drain(g);
		for (unsigned k = 0; k < 60; k++)
			run(g, 1, k % 2 ? ATOLL_GET : ATOLL_UPDATE, k);
		for (unsigned i = 0; i < g->ncalls; i++)
			doubts += g->call[i].result == ATOLL_IN_DOUBT;
		if (rig_check(g) != 1 || rig_faults(g) || g->failures)
			fail_msg("seed %u: linearizable %d, faults %u, failures %u", seed,
				 rig_check(g), (unsigned)rig_faults(g), (unsigned)g->failures);
		rig_close(g);
	}
	printf("%u in doubt\n", doubts);
	assert_true(doubts > 5);
}

/* Memory that is damaged is an answer, not a wait, and nothing else. */
static void test_damage(void **state)
{
	struct rig *g = &rig;
	unsigned corrupt = 0;

	(void)state;
	for (unsigned seed = 0; seed < 60; seed++) {
		uint64_t used;

		rig_open(g, 9000 + seed, 1, 1);
		rig_keys(g, 100, 300);
		for (unsigned k = 0; k < 100; k++)
			run(g, 0, ATOLL_PUT, k);
		used = core_stats(g->client[0].core)->chunk_bytes / 4;
		for (unsigned i = 0; i < 2; i++)
			g->w.region[RIG_TABLE].base[RIG_HEAP + fake_random(&g->w) % used] ^=
				(uint8_t)(1 + i);
		g->ncalls = 0;
		for (unsigned k = 0; k < 100; k++) {
			struct rig_call *c = run(g, 0, k % 2 ? ATOLL_GET : ATOLL_PUT, k);

			corrupt += c->result == ATOLL_CORRUPT;
			/* a lock that is damaged is one that never ends */
			assert_true(c->result == ATOLL_OK || c->result == ATOLL_CORRUPT ||
				    c->result == ATOLL_BUSY);
			if (k % 2 && c->result == ATOLL_OK)
				assert_int_equal(c->op.value, k + 1);
		}
		rig_close(g);
	}
	printf("%u operations met damage\n", corrupt);
	assert_true(corrupt > 100);
}

static void test_no_space(void **state)
{
	struct rig *g = &rig;
	unsigned none = 0;

	(void)state;
	rig_open(g, 30, 1, 1);
	rig_keys(g, 1000, 1000);
	g->segment = RIG_SEGMENTS - RIG_CLIENTS - 2;
	for (unsigned k = 0; k < 1000; k++) {
		struct rig_call *c = run(g, 0, ATOLL_PUT, k);

		none += c->result == ATOLL_NO_SPACE;
		assert_true(c->result == ATOLL_OK || c->result == ATOLL_NO_SPACE);
	}
	assert_true(none > 10 && none < 900);
	for (unsigned k = 0; k < 1000; k++)
		run(g, 0, ATOLL_GET, k);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(rig_faults(g), 0);
	rig_close(g);
}

/* Sixteen operations of one client that want the same leaf hand its lock over, and another client gets its turn. */
static void test_handover(void **state)
{
	struct rig *g = &rig;
	const struct atoll_index_stats *st;
	unsigned puts = 0, others = 0, before = 0;

	(void)state;
	rig_open(g, 5, 2, 16);
	rig_keys(g, 12, 0);
	g->small = true;
	for (unsigned turn = 0; others < 60; turn++) {
		assert_true(turn < 400000 && g->ncalls + 20 < RIG_HISTORY);
		while (puts < 4000 && rig_submit(g, 0, ATOLL_PUT, fake_below(&g->w, 12)))
			puts++;
		if (!core_pending(g->client[1].core) && rig_submit(g, 1, ATOLL_PUT, fake_below(&g->w, 12))) {
			others++;
			before = puts;
		}
		rig_turn(g);
	}
	drain(g);
	st = core_stats(g->client[0].core);
	printf("%u puts of one client, %.2f round trips each, %u handed over, %u waits; 60 of another one meanwhile\n",
	       before, (double)st->round_trips[ATOLL_PUT] / (double)st->ops[ATOLL_PUT],
	       (unsigned)st->handovers, (unsigned)st->waits);
	assert_true(before < 4000);
	assert_true(st->handovers > st->ops[ATOLL_PUT] / 2);
	assert_true(st->round_trips[ATOLL_PUT] < 2 * st->ops[ATOLL_PUT]);
	assert_int_equal(rig_faults(g), 0);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(g->failures, 0);
	rig_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),       cmocka_unit_test(test_orders),
		cmocka_unit_test(test_round_trips), cmocka_unit_test(test_concurrent),
		cmocka_unit_test(test_cut),         cmocka_unit_test(test_damage),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_handover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
