/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk that finishes what the dead have left: a client is stopped after each of its steps
 * (verbs, and 256-byte pieces of WRITEs), in the middle of any operation, a split among them; then
 * whoever repairs is stopped after each of its own, while others go on working; then the next one
 * must find nothing left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/race_rig.h"

static struct rig rig;

enum {
	KEYS = 200,
	FILL = 3, /* keys from here on fill the table */
	VICTIM = 0,
	WORKER = 1,
	SECOND = 2,
	OTHER = 3,
	CLIENTS = 4,
	FIRST = INDEX_CLIENTS - 2, /* steps in which nothing but the client table is read */
};

/* Who was fenced off in the middle of a walk, which waits for its verbs, sees its connection end.
 */
static void idle(struct verbs *v)
{
	struct fake_client *c = (struct fake_client *)v;

	if (c->fenced && !c->cut)
		fake_cut(c);
	else
		fake_step(c->world);
}

static const struct verbs_ops waiting = {fake_post, fake_flush, fake_poll, idle};

static void drain(struct rig *g, unsigned but)
{
	for (unsigned turn = 0; turn < 60000; turn++) {
		unsigned pending = 0;

		for (unsigned i = 0; i < g->nclients; i++) {
			if (g->client[i].fake->fenced && i != but) {
				g->client[i].dead = true;
				if (g->suspected == g->client[i].cid)
					rig_declare_dead(g, i);
			}
			if (!g->client[i].dead)
				pending += core_pending(g->client[i].core);
		}
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
	drain(g, CLIENTS);
	return c;
}

/* A table in which the key that is returned has no room, and key 0 is there if @present. */
static unsigned start(struct rig *g, uint64_t seed, bool full, bool present)
{
	unsigned k = FILL;

	rig_open(g, seed, CLIENTS, 2, 2);
	rig_keys(g, KEYS, false);
	for (unsigned i = 0; i < CLIENTS; i++)
		rig_chunk(g, i);
	if (present)
		run(g, OTHER, ATOLL_PUT, 0);
	while (full) {
		struct rig_call *c = rig_submit(g, OTHER, ATOLL_INSERT, k);

		assert_non_null(c);
		while (!c->finished && !core_restructuring(g->client[OTHER].core))
			rig_turn(g);
		if (!c->finished)
			break;
		k++;
	}
	if (full) { /* it has just begun to split: it dies there, and the victim repairs that first
		     */
		g->client[OTHER].dead = true;
		rig_declare_dead(g, OTHER);
	}
	return full ? k : 1;
}

static struct rig_look look(struct rig *g)
{
	struct rig_look l = {0};

	rig_look_sub(g, &l, INDEX_SUPER_SIZE);
	return l;
}

struct tally {
	unsigned points, both;
	uint64_t inserts, splits, locks;
};

static void tally_add(struct tally *t, const struct atoll_index_repaired *r)
{
	t->inserts += r->inserts;
	t->splits += r->splits;
	t->locks += r->locks;
	assert_int_equal(r->bad, 0);
}

/* The victim stops after @k steps, the worker after @l (0: never). False: the victim ended before.
 */
static bool crash_at(enum atoll_op op, bool full, bool present, unsigned k, unsigned l,
		     uint64_t seed, struct tally *t)
{
	struct rig *g = &rig;
	unsigned key = start(g, seed, full, present);
	struct fake_client *victim = g->client[VICTIM].fake, *worker = g->client[WORKER].fake;
	struct atoll_index_repaired r;
	struct rig_look found;
	bool stopped;
	int rc;

	worker->v.ops = g->client[SECOND].fake->v.ops = &waiting;
	victim->limit = victim->steps + k;
	assert_non_null(rig_submit(g, VICTIM, op, full ? key : 0));
	for (unsigned i = 0; i < 3000 && !victim->fenced && core_pending(g->client[VICTIM].core);
	     i++)
		rig_turn(g);
	stopped = victim->fenced;
	g->client[VICTIM].dead = true;
	rig_declare_dead(g, VICTIM);
	t->points += stopped;

	if (l)
		worker->limit = worker->steps + l;
	rc = core_repair(g->client[WORKER].core, &r);
	if (worker->fenced) {
		g->client[WORKER].dead = true;
		rig_declare_dead(g, WORKER);
		t->both++;
	}
	if (rc == 0)
		tally_add(t, &r);
	else
		assert_true(rc == -ENOTCONN && worker->fenced);
	/* The next one finds the rest, and the one after it nothing. */
	assert_int_equal(core_repair(g->client[SECOND].core, &r), 0);
	if (rc)
		tally_add(t, &r);
	else
		assert_int_equal(r.inserts + r.splits + r.locks, 0);
	assert_int_equal(core_repair(g->client[SECOND].core, &r), 0);
	assert_int_equal(r.inserts + r.splits + r.locks + r.open, 0);
	found = look(g);
	assert_int_equal(found.faults + found.locked, 0);
	assert_int_equal(found.pending, 0);

	run(g, SECOND, ATOLL_GET, 0);
	run(g, SECOND, ATOLL_PUT, full ? key : 0);
	for (unsigned i = 0; i < (full ? key : 1); i++)
		run(g, SECOND, ATOLL_GET, i);
	if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
		fail_msg("%s, full %d, victim step %u, worker step %u", atoll_op_name(op), full, k,
			 l);
	rig_close(g);
	return stopped;
}

static void test_crash_points(void **state)
{
	struct tally t = {0};

	(void)state;
	for (enum atoll_op op = ATOLL_PUT; op < ATOLL_OPS; op++)
		for (unsigned present = 0; present < 2; present++)
			for (unsigned k = 1; crash_at(op, false, present, k, 0, k, &t); k++)
				;
	for (unsigned k = 1; crash_at(ATOLL_INSERT, true, true, k, 0, k, &t); k++)
		;
	printf("%u crash points: %u inserts taken back, %u splits finished, %u locks freed\n",
	       t.points, (unsigned)t.inserts, (unsigned)t.splits, (unsigned)t.locks);
	assert_true(t.points > 200 && t.inserts && t.splits && t.locks);
}

/* And the one who repairs, at each of its verbs. */
static void test_double_crash(void **state)
{
	bool all = getenv("ATOLL_TEST_FULL");
	struct tally t = {0};
	unsigned both = 0;

	(void)state;
	for (unsigned k = 1, on = 1; on; k += all ? 1 : 29) {
		both = 0;
		on = 0;
		for (unsigned l = FIRST;; l += all ? 1 : 7) {
			both = t.both;
			on |= crash_at(ATOLL_INSERT, true, true, k, l, k * 1000 + l, &t);
			if (t.both == both)
				break;
		}
	}
	for (unsigned k = 1, on = 1; on; k += all ? 1 : 2) {
		on = 0;
		for (unsigned l = FIRST;; l += all ? 1 : 13) {
			both = t.both;
			on |= crash_at(ATOLL_PUT, false, false, k, l, k * 1000 + l, &t);
			if (t.both == both)
				break;
		}
	}
	printf("%u runs in which both were stopped: %u inserts taken back, %u splits finished, %u "
	       "locks "
	       "freed by the last\n",
	       t.both, (unsigned)t.inserts, (unsigned)t.splits, (unsigned)t.locks);
	assert_true(t.both > 300 && t.inserts && t.splits);
}

/* What lives is left alone. */
static void test_living(void **state)
{
	struct rig *g = &rig;
	struct atoll_index_repaired r;
	uint64_t open = 0, deaths = 7;

	(void)state;
	for (uint64_t seed = 1; seed < 300; seed++) {
		unsigned key = start(g, seed, seed & 1, true);
		struct rig_call *c;

		g->client[WORKER].fake->v.ops = &waiting;
		c = rig_submit(g, VICTIM, ATOLL_INSERT, key);
		assert_non_null(c);
		for (unsigned i = 0; i < seed && !c->finished; i++)
			rig_turn(g);
		assert_int_equal(core_repair(g->client[WORKER].core, &r), 0);
		open += r.open;
		drain(g, CLIENTS);
		assert_int_equal(c->result, ATOLL_OK);
		if (rig_check(g) != 1 || rig_table_faults(g) || g->failures)
			fail_msg("seed %u", (unsigned)seed);
		assert_int_equal(core_deaths(g->client[WORKER].core, &deaths), 0);
		assert_int_equal(deaths, 0); /* the rig counts none */
		/* not while something is in flight */
		assert_non_null(rig_submit(g, WORKER, ATOLL_GET, 0));
		assert_int_equal(core_repair(g->client[WORKER].core, &r), -EBUSY);
		drain(g, CLIENTS);
		rig_close(g);
	}
	assert_true(open > 20);
}

/* Every byte that was handed out is accounted for; what lies on something else, or nowhere, is found. */
static void test_account(void **state)
{
	struct rig *g = &rig;
	uint64_t *slot[2] = {NULL, NULL}, word, rooms = 0;
	struct atoll_index_report r;
	struct atoll_index_account a;
	const struct index_bucket *b;
	unsigned n = 0;

	(void)state;
	rig_open(g, 5, CLIENTS, 2, 8);
	rig_keys(g, 20, false);
	g->client[SECOND].fake->v.ops = &waiting;
	for (unsigned k = 0; k < 20; k++) {
		const struct rig_call *c = run(g, k % 2 ? VICTIM : WORKER, ATOLL_PUT, k);

		rooms += index_kv_room((uint32_t)strlen(g->key[k]), rig_value_size(c->op.value));
	}
	assert_int_equal(core_check(g->client[SECOND].core, NULL, NULL, &r, &a), 0);
	assert_int_equal(a.bad, 0);
	assert_int_equal(a.reachable_bytes, rooms);
	assert_int_equal(a.allocated_bytes, (uint64_t)g->segment * INDEX_SEGMENT);
	assert_int_equal(a.allocated_bytes, a.reachable_bytes + a.held_bytes);
	assert_int_equal(a.left_bytes, 0);
	rig_declare_dead(g, VICTIM);
	g->client[VICTIM].dead = true;
	assert_int_equal(core_check(g->client[SECOND].core, NULL, NULL, &r, &a), 0);
	assert_true(a.left_bytes > 0 && a.held_bytes > 0);
	assert_int_equal(a.allocated_bytes, a.reachable_bytes + a.held_bytes + a.left_bytes);

	/* two slots of one word */
	b = (const void *)(g->w.region[RIG_TABLE].base + INDEX_SUPER_SIZE + INDEX_LINE);
	for (unsigned i = 0; n < 2; i++)
		if (b[i / INDEX_BUCKET_SLOTS].slot[i % INDEX_BUCKET_SLOTS])
			slot[n++] = (uint64_t *)(uintptr_t)&b[i / INDEX_BUCKET_SLOTS]
					    .slot[i % INDEX_BUCKET_SLOTS];
	word = *slot[0];
	*slot[0] = *slot[1];
	assert_int_equal(core_check(g->client[SECOND].core, NULL, NULL, &r, &a), 0);
	assert_int_equal(a.bad, 1);
	*slot[0] = word;
	/* a chunk that nobody was given */
	memset(g->w.region[RIG_CONTROL].base + INDEX_SEGMENT_TABLE_OFFSET, 0, 8);
	assert_int_equal(core_check(g->client[SECOND].core, NULL, NULL, &r, &a), 0);
	assert_true(a.bad > 0);
	rig_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_points),
		cmocka_unit_test(test_double_crash),
		cmocka_unit_test(test_living),
		cmocka_unit_test(test_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
