/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recycle_play.h - what a dead client leaves of its chunks is used again by others, while they work: nothing that is
 * reachable is lost, nothing lies on anything else, and who finds it may die at any verb, or be there twice.
 *
 * Of a table or a tree: whoever includes it has its rig, and opens it in rig_begin.
 */
#ifndef ATOLL_TESTS_RECYCLE_PLAY_H
#define ATOLL_TESTS_RECYCLE_PLAY_H

static void rig_begin(struct rig *g, uint64_t seed); /* CLIENTS clients of two operations at once, KEYS keys */

static struct rig rig;

enum {
	KEYS = 150,
	VICTIM = 0,
	WORKER = 1,
	SECOND = 2,
	OTHER = 3,
	CLIENTS = 4,
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
			g->client[i].dead = true;
			rig_declare_dead(g, i);
		}
}

static void drain(struct rig *g)
{
	for (unsigned turn = 0; turn < 100000; turn++) {
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

static void work(struct rig *g, unsigned client, unsigned n)
{
	static const enum atoll_op ops[] = {ATOLL_PUT, ATOLL_PUT, ATOLL_DELETE, ATOLL_INSERT, ATOLL_GET};

	for (unsigned i = 0; i < n && !g->client[client].fake->fenced && !g->client[client].dead; i++) {
		while (!rig_submit(g, client, ops[fake_below(&g->w, 5)], fake_below(&g->w, KEYS)) &&
		       !g->client[client].fake->fenced)
			rig_turn(g);
		rig_turn(g);
	}
}

/* Repairs and looks. What is to be given back, when it is ripe; NULL if it died, or there is nothing. */
static struct core_recycle *find(struct rig *g, unsigned client, unsigned limit)
{
	struct rig_client *c = &g->client[client];
	struct atoll_index_repaired r;
	struct core_recycle *p = NULL;
	int rc;

	if (limit)
		c->fake->limit = c->fake->steps + limit;
	while (core_pending(c->core) && !c->fake->fenced)
		rig_turn(g);
	rc = core_repair(c->core, &r);
	if (!rc)
		rc = core_recycle_find(c->core, &p);
	if (c->fake->fenced) {
		free(p);
		p = NULL;
	} else {
		assert_int_equal(rc, 0);
	}
	c->fake->limit = 0;
	bury(g);
	return p;
}

static void ripen(struct rig *g, unsigned client, struct core_recycle *p)
{
	for (unsigned i = 0; !core_recycle_ripe(g->client[client].core, p); i++) {
		assert_true(i < 100000);
		rig_turn(g);
	}
}

/* Not when there is nothing else, but at once. */
static void hand_out(struct rig *g)
{
	while (g->nused)
		rig_chunk_used(g, OTHER);
}

/* @limit: steps of the worker until it dies, 0 never. Did it? */
static bool play(uint64_t seed, unsigned limit, bool two, uint64_t *recycled)
{
	struct rig *g = &rig;
	struct core_recycle *p, *q = NULL;
	struct atoll_index_report report = {0};
	struct atoll_index_account a;
	bool died;

	rig_reclaim_us = 20;
	rig_begin(g, seed);
	g->value_base = seed * 131;
	g->client[WORKER].fake->v.ops = g->client[SECOND].fake->v.ops = &waiting;
	work(g, VICTIM, 40 + (unsigned)(seed % 100));
	work(g, OTHER, 20);
	/* in the middle of whatever it does */
	g->client[VICTIM].fake->limit = g->client[VICTIM].fake->steps + 1 + fake_below(&g->w, 400);
	work(g, VICTIM, 400);
	while (!g->client[VICTIM].fake->fenced)
		rig_turn(g);
	bury(g);

	work(g, OTHER, 2); /* and others go on meanwhile */
	p = find(g, WORKER, limit);
	died = g->client[WORKER].dead;
	if (two || died)
		q = find(g, SECOND, 0);
	work(g, OTHER, 20);
	if (p) {
		ripen(g, WORKER, p);
		if (seed % 2) /* or is it killed before it says so? */
			rig_recycle(g, p);
	}
	if (q) {
		ripen(g, SECOND, q);
		rig_recycle(g, q);
	}
	g->segment = RIG_SEGMENTS - RIG_CLIENTS; /* there is nothing else */
	hand_out(g);
	work(g, OTHER, 30);
	if (p)
		rig_recycle(g, p); /* late, or again */
	hand_out(g);
	free(p);
	free(q);
	work(g, OTHER, 150);
	work(g, SECOND, 60);
	drain(g);
	*recycled += core_stats(g->client[OTHER].core)->recycled_bytes;
	assert_int_equal(core_check(g->client[SECOND].core, NULL, NULL, &report, &a), 0);
	assert_int_equal(a.bad, 0);
	assert_int_equal(report.torn + report.misplaced + report.duplicates, 0);
	assert_int_equal(a.allocated_bytes,
			 a.log_bytes + a.reachable_bytes + a.held_bytes + a.left_bytes);
	if (rig_check(g) != 1 || rig_faults(g) || g->failures)
		fail_msg("seed %llu, worker step %u: linearizable %d, faults %u, failures %u",
			 (unsigned long long)seed, limit, rig_check(g), (unsigned)rig_faults(g),
			 (unsigned)g->failures);
	rig_close(g);
	return died;
}

static void test_reuse(void **state)
{
	unsigned seeds = getenv("ATOLL_TEST_FULL") ? 2000 : 150;
	uint64_t recycled = 0;

	(void)state;
	for (unsigned seed = 1; seed <= seeds; seed++)
		play(seed, 0, seed % 3 == 0, &recycled);
	printf("%u seeds, %u KiB of the dead used again\n", seeds, (unsigned)(recycled >> 10));
	assert_true(recycled >> 10 > seeds * 16);
}

/* The worker dies at each of its verbs. */
static void test_worker_dies(void **state)
{
	bool all = getenv("ATOLL_TEST_FULL");
	uint64_t recycled = 0;
	unsigned points = 0;

	(void)state;
	for (unsigned limit = 1; play(7 + limit % 5, limit, false, &recycled); limit += all ? 1 : 53)
		points++;
	printf("%u points at which the worker died, %u KiB used again\n", points,
	       (unsigned)(recycled >> 10));
	assert_true(points > 30 && recycled);
}

/* While somebody is on the way to a block, what is free is not given back. */
static void test_held(void **state)
{
	struct rig *g = &rig;
	struct core_recycle *p;

	(void)state;
	rig_begin(g, 1);
	g->client[WORKER].fake->v.ops = &waiting;
	assert_non_null(rig_submit(g, VICTIM, ATOLL_PUT, 0));
	drain(g);
	assert_non_null(rig_submit(g, OTHER, ATOLL_GET, 0));
	rig_turn(g);
	g->client[OTHER].paused = true;
	fake_fence(g->client[VICTIM].fake);
	bury(g);
	p = find(g, WORKER, 0);
	assert_non_null(p);
	for (unsigned i = 0; i < 20000; i++) {
		rig_turn(g);
		assert_false(core_recycle_ripe(g->client[WORKER].core, p));
	}
	g->client[OTHER].paused = false;
	ripen(g, WORKER, p);
	free(p);
	drain(g);
	rig_close(g);
}

#endif
