/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Did it happen? A client is stopped after each of its steps (verbs, and 256-byte pieces of WRITEs) and fenced off,
 * and of what it had sent no answer reaches it. Others replace, delete, insert and repair, and whoever repairs is
 * stopped, too. Whenever it is asked afterwards, the answer must be what the memory has seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/race_rig.h"

static struct rig rig;

enum {
	VICTIM = 0,
	BESIDE = 1,
	AFTER = 2,
	WORKER = 3,
	SECOND = 4,
	CLIENTS = 5,
	FIRST = INDEX_CLIENTS - 1, /* steps of a walk in which the client table is read */
};

struct tally {
	unsigned points, doubts, happened, seen, both;
};

static void idle(struct verbs *v)
{
	struct fake_client *c = (struct fake_client *)v;

	if (c->fenced && !c->cut)
		fake_cut(c);
	else
		fake_step(c->world);
}

static const struct verbs_ops waiting = {fake_post, fake_flush, fake_poll, idle};

static void bury(struct rig *g)
{
	for (unsigned i = 0; i < g->nclients; i++)
		if (g->client[i].fake->fenced && !g->client[i].dead) {
			/* it learns that its connection is gone, and nothing else */
			if (!g->client[i].fake->cut)
				fake_cut(g->client[i].fake);
			while (core_poll(g->client[i].core) != -ENOTCONN)
				;
			g->client[i].dead = true;
			rig_declare_dead(g, i);
		}
}

static void drain(struct rig *g)
{
	for (unsigned turn = 0; turn < 60000; turn++) {
		unsigned pending = 0;

		bury(g);
		for (unsigned i = 0; i < g->nclients; i++)
			if (!g->client[i].dead)
				pending += core_pending(g->client[i].core);
		if (!pending)
			return;
		rig_turn(g);
	}
	fail_msg("operations do not end");
}

static void run(struct rig *g, unsigned client, enum atoll_op op)
{
	assert_non_null(rig_submit(g, client, op, 0));
	drain(g);
}

static bool truth(const struct rig *g, const struct core_doubt *d)
{
	const struct fake_client *f = g->client[VICTIM].fake;

	for (unsigned i = 0; i < f->won && i < FAKE_WON; i++)
		if (f->won_word[i] == d->word)
			return true;
	return false;
}

/* Asks about all that is in doubt. */
static void ask(struct rig *g, unsigned client, struct tally *t)
{
	const struct core_doubt *d;
	unsigned n = core_doubts(g->client[VICTIM].core, &d);

	for (unsigned i = 0; i < n; i++) {
		bool happened = false, was = truth(g, &d[i]);

		assert_int_equal(core_doubt_resolve(g->client[client].core, &d[i], &happened), 0);
		if (happened != was)
			fail_msg("it is said that %016llx %s happened",
				 (unsigned long long)d[i].word, happened ? "has" : "has not");
		t->doubts++;
		t->happened += was;
		for (unsigned k = 0; k < g->ncalls; k++) {
			struct rig_call *c = &g->call[k];

			if (c->client != &g->client[VICTIM] || c->ticket != d[i].ticket)
				continue;
			c->op.result = LIN_OK;
			c->op.returned = ++g->tick;
			c->dropped = !was;
			c->ticket = 0; /* once */
		}
	}
}

struct scene {
	enum atoll_op op, beside, after;
	bool present, twice, later; /* two operations; the other one comes afterwards */
	unsigned repair;            /* 0 nobody, 1 a worker, 2 one that is stopped, then a second one */
};

/* False: the victim ended before its k-th step. */
static bool scene_play(const struct scene *s, unsigned k, unsigned l, uint64_t seed, struct tally *t)
{
	struct rig *g = &rig;
	struct fake_client *victim, *worker;
	struct atoll_index_repaired r;
	bool stopped;

	rig_open(g, seed, CLIENTS, 2, 8);
	rig_keys(g, 2, seed % 3 == 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		rig_chunk(g, i);
	victim = g->client[VICTIM].fake;
	worker = g->client[WORKER].fake;
	worker->v.ops = g->client[SECOND].fake->v.ops = &waiting;
	if (s->present)
		run(g, seed & 4 ? VICTIM : BESIDE, ATOLL_PUT);

	victim->lose = true;
	victim->limit = victim->steps + k;
	assert_non_null(rig_submit(g, VICTIM, s->op, 0));
	if (s->twice)
		assert_non_null(rig_submit(g, VICTIM, s->beside, 0));
	for (unsigned i = 0; s->later && i < 60 && !victim->fenced; i++)
		rig_turn(g);
	assert_non_null(rig_submit(g, BESIDE, s->beside, 0));
	drain(g);
	stopped = victim->fenced;
	t->points += stopped;

	if (stopped && seed & 8)
		ask(g, SECOND, t);
	if (s->repair == 2)
		worker->limit = worker->steps + l;
	if (s->repair && core_repair(g->client[WORKER].core, &r) && worker->fenced) {
		bury(g);
		t->both++;
		assert_int_equal(core_repair(g->client[SECOND].core, &r), 0);
	}
	if (stopped && seed & 16)
		ask(g, SECOND, t);
	run(g, AFTER, s->after);
	run(g, AFTER, ATOLL_GET);
	if (stopped) {
		ask(g, SECOND, t);
		ask(g, SECOND, t);
	}
	assert_int_equal(core_repair(g->client[SECOND].core, &r), 0);
	assert_int_equal(r.bad, 0);
	if (stopped)
		ask(g, SECOND, t);
	if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
		fail_msg("%s beside %s, step %u, seed %llu: linearizable %d, faults %u, failures %u",
			 atoll_op_name(s->op), atoll_op_name(s->beside), k,
			 (unsigned long long)seed, rig_check(g), (unsigned)rig_table_faults(g),
			 (unsigned)g->failures);
	rig_close(g);
	return stopped;
}

static void test_points(void **state)
{
	unsigned seeds = getenv("ATOLL_TEST_FULL") ? 32 : 1;
	struct tally t = {0};

	(void)state;
	for (unsigned i = 0; i < 4 * ATOLL_OPS * 3 * 2 * 2 * 2 * 2; i++) {
		const struct scene s = {
			.op = ATOLL_PUT + i % 4,
			.beside = i / 4 % ATOLL_OPS,
			.after = i / 4 / ATOLL_OPS % 3 == 0   ? ATOLL_PUT
				 : i / 4 / ATOLL_OPS % 3 == 1 ? ATOLL_DELETE
							      : ATOLL_INSERT,
			.present = i / 4 / ATOLL_OPS / 3 & 1,
			.repair = i / 4 / ATOLL_OPS / 3 / 2 & 1,
			.later = i / 4 / ATOLL_OPS / 3 / 4 & 1,
			.twice = i / 4 / ATOLL_OPS / 3 / 8 & 1,
		};

		for (unsigned k = 1, on = 1; on; k++) {
			on = 0;
			for (unsigned n = 0; n < seeds; n++)
				on |= scene_play(&s, k, 0, (i * 7919u + k) * 32u + (n * 11 + k + i) % 32,
						 &t);
		}
	}
	printf("%u crash points, %u questions, %u times it had happened\n", t.points, t.doubts,
	       t.happened);
	assert_true(t.points > 3000 && t.happened > 500 && t.doubts - t.happened > 500);
}

/* And whoever repairs is stopped, at each of its verbs. */
static void test_double(void **state)
{
	bool all = getenv("ATOLL_TEST_FULL");
	struct tally t = {0};

	(void)state;
	for (unsigned i = 0; i < 4 * 2 * 2; i++) {
		const struct scene s = {
			.op = ATOLL_PUT + i % 4,
			.beside = i & 8 ? ATOLL_DELETE : ATOLL_GET,
			.after = ATOLL_INSERT,
			.present = i & 4,
			.repair = 2,
		};

		for (unsigned k = 1, on = 1; on; k++) {
			on = 0;
			for (unsigned l = FIRST;; l += all ? 1 : 11) {
				unsigned both = t.both;

				on |= scene_play(&s, k, l, i * 1000003u + k * 1000u + l, &t);
				if (t.both == both)
					break;
			}
		}
	}
	printf("%u crash points, %u with the repairer's, %u questions, %u times it had happened\n",
	       t.points, t.both, t.doubts, t.happened);
	assert_true(t.both > 300 && t.happened > 100);
}

/* A victim whose delete is in doubt, not yet declared dead. */
static const struct core_doubt *doubtful(struct rig *g)
{
	const struct core_doubt *d;
	unsigned n = 0;

	for (unsigned k = 1; !n; k++) {
		struct fake_client *victim;

		if (k > 1)
			rig_close(g);
		rig_open(g, 3, CLIENTS, 2, 8);
		rig_keys(g, 1, false);
		for (unsigned i = 0; i < CLIENTS; i++)
			rig_chunk(g, i);
		run(g, BESIDE, ATOLL_PUT);
		victim = g->client[VICTIM].fake;
		victim->lose = true;
		victim->limit = victim->steps + k;
		assert_non_null(rig_submit(g, VICTIM, ATOLL_DELETE, 0));
		while (core_pending(g->client[VICTIM].core))
			rig_turn(g);
		n = core_doubts(g->client[VICTIM].core, &d);
	}
	g->client[VICTIM].dead = true;
	return d;
}

/* What cannot be known is not said. */
static void test_too_late(void **state)
{
	struct rig *g = &rig;
	const struct core_doubt *d = doubtful(g);
	struct core *asks = g->client[SECOND].core;
	bool happened;

	(void)state;
	g->client[SECOND].fake->v.ops = &waiting;
	assert_int_equal(core_doubt_resolve(asks, d, &happened), -EAGAIN);
	rig_declare_dead(g, VICTIM);
	assert_int_equal(core_doubt_resolve(asks, d, &happened), 0);
	assert_int_equal(happened, truth(g, d));
	assert_non_null(rig_submit(g, SECOND, ATOLL_GET, 0));
	assert_int_equal(core_doubt_resolve(asks, d, &happened), -EBUSY);
	drain(g);
	/* its number is another client's now */
	rig_line(g, g->client[VICTIM].cid)->epoch++;
	assert_int_equal(core_doubt_resolve(asks, d, &happened), -ESTALE);
	rig_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_points),
		cmocka_unit_test(test_double),
		cmocka_unit_test(test_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
