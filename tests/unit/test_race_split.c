/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subtables that are split while others work on them: the splitter stopped after each of its steps
 * (verbs, and 256-byte pieces of WRITEs), beside each operation; the one who repairs stopped, too;
 * and several clients on a table that grows all the time, one of which dies, sleeps, or loses its
 * connection.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/race_rig.h"

static struct rig rig;

enum {
	HOT = 3, /* keys that everybody wants; the rest fill the table */
	KEYS = 200,
};

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
	for (unsigned turn = 0; turn < 60000; turn++) {
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

static struct rig_call *run(struct rig *g, unsigned client, enum atoll_op op, unsigned key)
{
	struct rig_call *c = rig_submit(g, client, op, key);

	assert_non_null(c);
	drain(g);
	return c;
}

/* Is every slot taken in which the key may stand, before anything was split? */
static bool no_room(struct rig *g, unsigned key)
{
	const uint8_t *group = g->w.region[RIG_TABLE].base + INDEX_SUPER_SIZE + INDEX_LINE;
	struct kv_place p;

	kv_place(&p, g->key[key], (uint32_t)strlen(g->key[key]), g->groups);
	for (unsigned half = 0; half < 2; half++)
		for (unsigned i = 0; i < 2 * INDEX_BUCKET_SLOTS; i++) {
			const struct index_bucket *b =
				(const void *)(group + p.combined[half] + i / 7 * INDEX_LINE);

			if (b->slot[i % 7] == 0)
				return false;
		}
	return true;
}

/* A table in which the key that is returned has no room. */
static unsigned start(struct rig *g, uint64_t seed, unsigned clients, bool present)
{
	unsigned k = HOT;

	rig_open(g, seed, clients, 2, 2);
	rig_keys(g, KEYS, false);
	for (unsigned i = 0; i < clients; i++)
		rig_chunk(g, i);
	if (present)
		run(g, clients - 1, ATOLL_PUT, 0);
	while (!no_room(g, k))
		run(g, clients - 1, ATOLL_INSERT, k++);
	return k;
}

static void check(struct rig *g, const char *what, unsigned b, unsigned k, uint64_t seed)
{
	if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
		fail_msg("%s beside %s, step %u, seed %u: linearizable %d, faults %u, failures %u",
			 what, atoll_op_name(b), k, (unsigned)seed, rig_check(g),
			 (unsigned)rig_table_faults(g), (unsigned)g->failures);
}

static uint64_t repairs;

static void finish(struct rig *g, unsigned by, unsigned full, const char *what, unsigned b,
		   unsigned k, uint64_t seed)
{
	run(g, by, ATOLL_GET, 0);
	run(g, by, ATOLL_INSERT, full);
	run(g, by, ATOLL_UPDATE, HOT);
	run(g, by, ATOLL_PUT, 0);
	for (unsigned i = 0; i < full; i++)
		run(g, by, ATOLL_GET, i);
	bury(g, true);
	check(g, what, b, k, seed);
	for (unsigned i = 0; i < g->nclients; i++)
		repairs += core_stats(g->client[i].core)->repairs;
}

/* False when the client ended its operation before its k-th step. */
static bool crash_at(unsigned k, enum atoll_op b, unsigned mode, uint64_t seed)
{
	struct rig *g = &rig;
	unsigned full = start(g, seed, 3, mode & 1);
	bool stopped;

	g->client[0].fake->limit = g->client[0].fake->steps + k;
	assert_non_null(rig_submit(g, 0, ATOLL_INSERT, full));
	if (mode & 2) {
		for (unsigned i = 0; i < 400 && !g->client[0].fake->fenced; i++)
			rig_turn(g);
		bury(g, false);
	}
	assert_non_null(rig_submit(g, 1, b, 0));
	drain(g);
	stopped = g->client[0].fake->fenced;
	finish(g, 2, full, "splitter stopped", b, k, seed);
	rig_close(g);
	return stopped;
}

static void test_crash_points(void **state)
{
	bool all = getenv("ATOLL_TEST_FULL");
	unsigned points = 0, runs = 0;

	(void)state;
	repairs = 0;
	for (enum atoll_op b = ATOLL_GET; b < ATOLL_OPS; b++)
		for (unsigned mode = 0; mode < 4; mode++)
			for (unsigned k = 1, stopped = 1; stopped; k++) {
				stopped = 0;
				for (uint64_t seed = 0; seed < (all ? 4 : 1); seed++, runs++)
					stopped |= crash_at(k, b, mode, seed * 1000 + k);
				points += stopped;
			}
	printf("%u crash points in %u runs; %u splits were finished by others\n", points, runs,
	       (unsigned)repairs);
	assert_true(points > 500 && repairs > 400);
}

/* The splitter is stopped, then whoever may be finishing its work; a third goes on. */
static void test_double_crash(void **state)
{
	bool all = getenv("ATOLL_TEST_FULL");
	unsigned runs = 0, both = 0, step = all ? 1 : 7;
	struct rig *g = &rig;

	(void)state;
	repairs = 0;
	for (unsigned k = 1; k < 190; k += step)
		for (unsigned l = 1; l < 230; l += step + 1, runs++) {
			unsigned full = start(g, k * 1000 + l, 3, true);

			g->client[0].fake->limit = g->client[0].fake->steps + k;
			assert_non_null(rig_submit(g, 0, ATOLL_INSERT, full));
			for (unsigned i = 0; i < 400 && !g->client[0].fake->fenced; i++)
				rig_turn(g);
			bury(g, true);
			g->client[1].fake->limit = g->client[1].fake->steps + l;
			assert_non_null(rig_submit(g, 1, ATOLL_INSERT, full));
			drain(g);
			both += g->client[0].fake->fenced && g->client[1].fake->fenced;
			finish(g, 2, full, "splitter and repairer stopped", ATOLL_INSERT, k, l);
			rig_close(g);
		}
	printf("%u runs, %u of them stopped both; %u splits were finished by others\n", runs, both,
	       (unsigned)repairs);
	assert_true(both > runs / 4 && repairs > runs / 3);
}

static void come_back(struct rig *g, unsigned i)
{
	struct rig_client *c = &g->client[i];
	unsigned todo = c->todo;
	uint16_t cid = c->cid, epoch = c->epoch;

	repairs += core_stats(c->core)->repairs;
	core_close(c->core);
	rig_client_open(g, i, cid, (uint16_t)(epoch + 1));
	c->todo = todo;
}

static enum atoll_op any_op(struct rig *g)
{
	static const enum atoll_op ops[] = {ATOLL_GET,    ATOLL_GET,    ATOLL_PUT,   ATOLL_PUT,
					    ATOLL_INSERT, ATOLL_UPDATE, ATOLL_DELETE};

	return ops[fake_below(&g->w, sizeof(ops) / sizeof(ops[0]))];
}

struct tally {
	uint64_t calls, splits, repairs, forwards, unknown, reused;
};

static void tally_add(struct tally *t, const struct rig *g)
{
	t->calls += g->ncalls;
	for (unsigned i = 0; i < g->ncalls; i++)
		t->unknown += g->call[i].op.result == LIN_UNKNOWN && !g->call[i].dropped;
	for (unsigned i = 0; i < g->nclients; i++) {
		const struct atoll_index_stats *s = core_stats(g->client[i].core);

		t->splits += s->splits;
		t->repairs += s->repairs;
		t->forwards += s->forwards;
		t->reused += s->reused_bytes;
	}
}

static void one_seed(uint64_t seed, struct tally *t)
{
	struct rig *g = &rig;
	unsigned n = 2 + (unsigned)(seed % 3), victim = n, cut = n, slow = n;
	uint64_t when, fence_at = UINT64_MAX, turns = 0;

	rig_reclaim_us = seed % 3 != 0;
	rig_open(g, seed, n, 1 + (unsigned)(seed / 3 % 4), 2);
	rig_keys(g, KEYS, false);
	when = 100 + fake_below(&g->w, 3000);
	if (rig_ft_off) /* nobody dies */
		cut = n;
	else if (seed % 4 == 1)
		victim = fake_below(&g->w, n);
	else if (seed % 4 == 2)
		slow = fake_below(&g->w, n);
	else if (seed % 4 == 3)
		cut = fake_below(&g->w, n);
	for (unsigned i = 0; i < n; i++) {
		g->client[i].todo = seed % 16 == 5 ? 900 : 70; /* some live to see blocks again */
		g->client[i].fake->again = seed % 9 == 4 ? 12 : 0;
	}
	for (;; turns++) {
		bool busy = false;

		for (unsigned i = 0; i < n; i++) {
			struct rig_client *c = &g->client[i];
			bool hot = fake_below(&g->w, 3) == 0;

			if (c->dead)
				continue;
			if (c->todo && !c->paused && fake_below(&g->w, 4) == 0 &&
			    rig_submit(g, i, hot ? any_op(g) : ATOLL_INSERT,
				       fake_below(&g->w, hot ? HOT : KEYS)))
				c->todo--;
			busy |= c->todo || core_pending(c->core);
		}
		if (!busy || turns > 400000)
			break;
		if (slow < n)
			g->client[slow].paused = turns >= when && turns < when + 1000;
		if (turns == when && victim < n) {
			g->client[victim].dead = true;
			fence_at = turns + fake_below(&g->w, 400);
		}
		if (turns == fence_at)
			rig_declare_dead(g, victim);
		if (turns == when && cut < n) {
			fake_cut(g->client[cut].fake);
			while (rig_poll(g, cut) >= 0)
				;
			rig_declare_dead(g, cut);
			come_back(g, cut);
		}
		rig_turn(g);
	}
	if (slow < n)
		g->client[slow].paused = false;
	if (turns > 400000)
		fail_msg("seed %llu does not end", (unsigned long long)seed);
	if (victim < n && turns <= fence_at)
		rig_declare_dead(g, victim);
	for (unsigned k = 0; k < g->nkeys; k++)
		run(g, victim == 0 ? 1 : 0, ATOLL_GET, k);
	if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
		fail_msg("seed %llu: linearizable %d, table faults %llu, failures %llu",
			 (unsigned long long)seed, rig_check(g),
			 (unsigned long long)rig_table_faults(g), (unsigned long long)g->failures);
	tally_add(t, g);
	rig_close(g);
	rig_reclaim_us = 0;
}

static void test_side_by_side(void **state)
{
	const char *first = getenv("ATOLL_SEED");
	uint64_t seed = first ? strtoull(first, NULL, 0) : 1;
	uint64_t n = getenv("ATOLL_TEST_FULL") ? 10000 : 500;
	struct tally t = {0};

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		one_seed(seed + i, &t);
	printf("%llu seeds: %llu operations, %llu in doubt, %llu splits, %llu of them finished by "
	       "others, %llu operations sent on, %llu KiB used again\n",
	       (unsigned long long)n, (unsigned long long)t.calls, (unsigned long long)t.unknown,
	       (unsigned long long)t.splits, (unsigned long long)t.repairs,
	       (unsigned long long)t.forwards, (unsigned long long)t.reused >> 10);
	assert_true(t.splits > n && t.repairs && t.forwards && t.unknown && t.reused);
}

/* The control: it splits, too, and takes nobody for dead, neither itself. */
static void test_ft_off(void **state)
{
	uint64_t n = getenv("ATOLL_TEST_FULL") ? 2000 : 100;
	struct tally t = {0};

	(void)state;
	rig_ft_off = true;
	for (uint64_t seed = 1; seed <= n; seed++)
		one_seed(seed, &t);
	rig_ft_off = false;
	assert_true(t.splits > n && t.forwards);
	assert_int_equal(t.repairs, 0);
	assert_int_equal(t.unknown, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_points),
		cmocka_unit_test(test_double_crash),
		cmocka_unit_test(test_side_by_side),
		cmocka_unit_test(test_ft_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
