/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of a tree stopped after each of its steps (verbs, and 256-byte pieces of WRITEs): for
 * each operation, in each state of the tree that makes it another one, beside each other operation.
 * Then the same with the one that repairs stopped, too, and several clients of which one dies at
 * any time.
 *
 * ATOLL_TEST_FULL=1: all of them, not a sample. An argument is the one state of the tree that is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/tree_rig.h"

static struct rig rig;

/* What the operation on key 0 meets. */
enum place {
	EMPTY,  /* no tree */
	PLAIN,  /* room in the leaf, the key is not there */
	THERE,  /* the key is there */
	FULL,   /* no room in the leaf, which has a parent */
	GROWTH, /* no room in the leaf, which is the root */
	DEEP,   /* no room in the leaf, nor in the node above it */
	LONG,   /* as FULL, and keys that do not fit into nodes */
	SMALL,  /* the key is alone in its leaf, whose left neighbour has room */
	SMALLER, /* the same, and their parent is to be merged, too */
	SMALL_LONG, /* as SMALL, and keys that do not fit into nodes */
	ROOT,       /* as SMALL, and the root will have one child left */
	PLACES,
};
static const char *const place_name[PLACES] = {"empty", "plain", "there", "full",    "growth",
					       "deep",  "long",  "small", "smaller", "small long", "root"};

enum {
	SCAN_UP = ATOLL_OPS, /* what others do, beside operations */
	SCAN_DOWN,
	OTHERS,
};
static const char *other_name(unsigned b)
{
	return b == SCAN_UP ? "scan" : b == SCAN_DOWN ? "scan down" : atoll_op_name((enum atoll_op)b);
}

static void check(struct rig *g, const char *what, unsigned place, unsigned a, unsigned b,
		  unsigned k, unsigned l)
{
	uint64_t faults = rig_faults(g);
	int lin = rig_check(g);

	if (lin != 1 || faults || g->failures)
		fail_msg("%s: %s: %s beside %s, step %u, %u: linearizable %d, faults %u, failures "
			 "%u",
			 what, place_name[place], atoll_op_name(a), other_name(b), k, l, lin,
			 (unsigned)faults, (unsigned)g->failures);
}

static void drain(struct rig *g)
{
	if (!rig_drain(g))
		fail_msg("operations do not end");
}

static void key_set(struct rig *g, unsigned i, const char *text, uint32_t fill)
{
	memset(g->key[i], 'p', fill);
	memcpy(g->key[i] + fill, text, strlen(text));
	g->klen[i] = fill + (uint32_t)strlen(text);
}

/* The node in charge of key 0 at @level, or above it where there is none; NULL: no tree. */
static const struct tree_view *node_of(struct rig *g, unsigned level)
{
	static struct tree_view v;
	const uint8_t *base = g->w.region[RIG_TABLE].base;
	uint64_t word, at;

	memcpy(&word, base + INDEX_ROOT_OFFSET, 8);
	if (!word)
		return NULL;
	at = index_tree_root_offset(word);
	for (;;) {
		struct rig_look l;
		const struct tree_entry *best = NULL;

		memset(&l, 0, sizeof(l));
		assert_int_equal(tree_parse(&v, base + at, false), TREE_WHOLE);
		rig_fence(g, &l, &v.low);
		rig_fence(g, &l, &v.high);
		for (unsigned i = 0; i < v.n; i++)
			if (v.e[i].key_long) {
				v.e[i].key = kv_key(rig_block(g, v.e[i].word));
				v.e[i].klen = rig_block(g, v.e[i].word)->klen;
			}
		if (!tree_below(&v.high, g->key[0], g->klen[0], false)) {
			at = v.head.next;
			continue;
		}
		if (v.head.level <= level)
			return &v;
		for (unsigned i = 0; i < v.n; i++)
			if (tree_compare(v.e[i].key, v.e[i].klen, g->key[0], g->klen[0]) <= 0 &&
			    (!best ||
			     tree_compare(best->key, best->klen, v.e[i].key, v.e[i].klen) < 0))
				best = &v.e[i];
		at = best->child;
	}
}

/* Is there room in it for one more short entry? */
static bool has_room(struct rig *g, unsigned level)
{
	const struct tree_view *v = node_of(g, level);
	struct tree_item item;

	if (!v)
		return true;
	if (g->klen[0] > INDEX_TREE_ENTRY_MAX - 10)
		tree_item_key_long(&item, (struct tree_hash){0}, 1);
	else
		tree_item_inline(&item, g->key[0], g->klen[0], "01234567", 8);
	return tree_bucket_find(v, &item, &v->high) >= 0;
}

/* ------------------------------------------------------------------ did it happen? */

/* What the memory has seen of client 0: the locks that it has had, and whether under each the WRITE came that
 * counts: that of a bucket, or where a chain has none, of head and fences. */
static struct {
	uint64_t word, at;
	bool happened;
} seen[64];
static unsigned nseen;
static uint64_t questions, happened_before;

static void watch(struct fake_client *c, const struct fake_chain *f)
{
	const struct verb *v = &f->verb[f->at];
	uint32_t counts = INDEX_TREE_HEAD - 8;

	if (c != rig.client[0].fake || v->remote.slot != RIG_TABLE)
		return;
	if (v->op == VERB_CAS) {
		seen[nseen % 64].word = v->swap;
		seen[nseen % 64].at = v->remote_offset;
		seen[nseen++ % 64].happened = false;
		return;
	}
	if (v->len == 8) { /* a lock that is handed over */
		uint64_t word;

		memcpy(&word, rig.w.region[v->local.slot].base + v->local_offset, 8);
		if (index_lock_cid(word) == 1) {
			seen[nseen % 64].word = word;
			seen[nseen % 64].at = v->remote_offset;
			seen[nseen++ % 64].happened = false;
		}
		return;
	}
	for (unsigned i = 0; i < f->n; i++)
		if (f->verb[i].op == VERB_WRITE && f->verb[i].len == INDEX_TREE_BUCKET)
			counts = INDEX_TREE_BUCKET;
	for (unsigned i = nseen < 64 ? nseen : 64; i-- > 0 && v->len == counts;)
		if (v->remote_offset - seen[i].at < INDEX_TREE_NODE) {
			seen[i].happened = true; /* of the last who had the lock */
			break;
		}
}

/* Everything that client 0 is in doubt about. */
static void ask(struct rig *g, unsigned client)
{
	const struct core_doubt *d;
	unsigned n = core_doubts(g->client[0].core, &d);

	g->w.idle_steps = true;
	for (unsigned i = 0; i < n; i++) {
		bool happened = false, was = false;
		int rc = core_doubt_resolve(g->client[client].core, &d[i], &happened);

		for (unsigned j = 0; j < nseen && j < 64; j++)
			was |= seen[j].word == d[i].word && seen[j].happened;
		if (rc || happened != was)
			fail_msg("%d: it is said that %016llx %s happened", rc,
				 (unsigned long long)d[i].word, happened ? "has" : "has not");
		questions++;
		happened_before += was;
		for (unsigned k = 0; k < g->ncalls; k++) {
			struct rig_call *c = &g->call[k];

			if (c->client != &g->client[0] || c->ticket != d[i].ticket)
				continue;
			c->op.result = LIN_OK;
			c->op.returned = ++g->tick;
			c->dropped = !was;
			c->ticket = 0; /* once */
		}
	}
	g->w.idle_steps = false;
}

/* The base state is made once a place, and copied for each run. */
static struct {
	uint8_t *table;
	uint64_t size;
	unsigned ncalls, segment, nkeys;
	uint64_t tick;
	uint8_t (*key)[RIG_KEY_MAX];
	uint32_t klen[RIG_KEYS];
	struct rig_call call[RIG_HISTORY];
} saved[PLACES];

static void run(struct rig *g, enum atoll_op op, unsigned key)
{
	assert_non_null(rig_submit(g, 0, op, key));
	drain(g);
}

static unsigned put_next(struct rig *g, unsigned n, uint32_t far)
{
	char text[24];

	snprintf(text, sizeof(text), "l%04u", n);
	key_set(g, n, text, far);
	run(g, ATOLL_PUT, n);
	g->nkeys = n + 1;
	return n + 1;
}

/* The leaf of key 0 has been split from its left neighbour, where what went to it still stands. It has that key
 * alone, and its neighbour has room. There is another leaf, or not. */
static unsigned fill_small(struct rig *g, uint32_t far, unsigned leaves)
{
	unsigned some;
	unsigned n = 2;
	struct rig_look l = {0};

	while (l.nodes[0] < 2) {
		n = put_next(g, n, far);
		rig_look(g, &l, NULL);
	}
	run(g, ATOLL_PUT, 0); /* the last, so what follows does not append */
	while (l.nodes[0] < leaves) {
		n = put_next(g, n, far);
		rig_look(g, &l, NULL);
	}
	for (unsigned i = n - 1; node_of(g, 0)->n > 1; i--)
		run(g, ATOLL_DELETE, i);
	some = leaves == 3 ? n / 2 + 4 : 8;
	for (unsigned i = some; i < some + 12; i++)
		run(g, ATOLL_DELETE, i);
	rig_look(g, &l, NULL);
	assert_int_equal(l.faults, 0);
	assert_int_equal(l.nodes[0], leaves);
	assert_int_equal(l.levels, 2);
	return n;
}

/* Leaves in the order of their keys, all full but the last. Then the last has key 0 alone, its left neighbour is
 * half empty, and so is their parent, which has no other child. */
static unsigned fill_smaller(struct rig *g, uint32_t far)
{
	unsigned per = 0, n = 2, last;
	struct rig_look l;

	do { /* until there is a new leaf, so many times */
		n = put_next(g, n, far);
		rig_look(g, &l, NULL);
		if (l.nodes[0] == 2 && !per)
			per = n - 3; /* entries of a full leaf */
	} while (l.levels < 3 || l.nodes[1] < 2 || l.nodes[0] % 2);
	last = n - 1;
	run(g, ATOLL_PUT, 0);
	for (unsigned i = 2 + 2 * per; i < 2 + 10 * per; i++)
		run(g, ATOLL_DELETE, i);
	run(g, ATOLL_DELETE, last);
	for (unsigned i = last - per; i < last - 5; i++)
		run(g, ATOLL_DELETE, i);
	rig_look(g, &l, NULL);
	assert_int_equal(l.faults, 0);
	return n;
}

static void fill(struct rig *g, unsigned place)
{
	uint32_t far = place == LONG || place == SMALL_LONG	? 60
		       : place == DEEP || place == SMALLER ? 44
								: 0;
	unsigned n = 2;

	rig_open(g, 7 + place, 1, 1);
	g->small = true;
	key_set(g, 0, "m", far);
	key_set(g, 1, "n", far);
	g->nkeys = n;
	if (place == THERE)
		rig_submit(g, 0, ATOLL_PUT, 0);
	drain(g);
	if (place == PLAIN)
		rig_submit(g, 0, ATOLL_PUT, 1);
	drain(g);
	if (place >= SMALL)
		n = place == SMALLER ? fill_smaller(g, far) : fill_small(g, far, place == ROOT ? 2 : 3);
	for (unsigned i = 0; place >= FULL && place < SMALL && i < RIG_KEYS - 2; i++) {
		char text[24];
		struct rig_look l;

		rig_look(g, &l, NULL);
		if (place == GROWTH && !has_room(g, 0))
			break;
		if ((place == FULL || place == LONG) && l.levels > 1 && !has_room(g, 0))
			break;
		if (place == DEEP && l.levels > 1 && !has_room(g, 1) && !has_room(g, 0))
			break;
		/* with keys on both sides of ours, more of them near it */
		snprintf(text, sizeof(text), "%c%04u", i % 2 ? 'l' : 'n', i * 7919 % 10000);
		key_set(g, n, text, far);
		assert_non_null(rig_submit(g, 0, ATOLL_PUT, n));
		g->nkeys = ++n;
		drain(g);
	}
	assert_true(n < RIG_KEYS - 2);
	if (place >= FULL && place < SMALL)
		assert_false(has_room(g, 0));
	if (place == DEEP)
		assert_false(has_room(g, 1));
	saved[place].size = RIG_HEAP + g->segment * (uint64_t)INDEX_SEGMENT;
	saved[place].table = malloc(saved[place].size);
	memcpy(saved[place].table, g->w.region[RIG_TABLE].base, saved[place].size);
	saved[place].ncalls = g->ncalls;
	memcpy(saved[place].call, g->call, g->ncalls * sizeof(g->call[0]));
	saved[place].segment = g->segment;
	saved[place].nkeys = n;
	saved[place].key = malloc(n * sizeof(g->key[0]));
	memcpy(saved[place].key, g->key, n * sizeof(g->key[0]));
	memcpy(saved[place].klen, g->klen, sizeof(g->klen));
	saved[place].tick = g->tick;
	rig_close(g);
}

static void start(struct rig *g, unsigned place, uint64_t seed, unsigned clients)
{
	static unsigned keys_of = PLACES;

	if (!saved[place].table)
		fill(g, place);
	rig_open(g, seed, clients, 2);
	if (keys_of != place) {
		memcpy(g->key, saved[place].key, saved[place].nkeys * sizeof(g->key[0]));
		memcpy(g->klen, saved[place].klen, sizeof(g->klen));
		keys_of = place;
	}
	g->small = true;
	g->w.watch = watch;
	nseen = 0;
	g->client[0].fake->lose = true;
	memcpy(g->w.region[RIG_TABLE].base, saved[place].table, saved[place].size);
	memset(rig_line(g, 1), 0, sizeof(struct index_client));
	g->ncalls = saved[place].ncalls;
	memcpy(g->call, saved[place].call, g->ncalls * sizeof(g->call[0]));
	g->segment = saved[place].segment;
	g->nkeys = saved[place].nkeys;
	g->tick = saved[place].tick;
	for (unsigned i = 0; i < clients; i++) {
		*rig_line(g, (uint16_t)(i + 1)) = (struct index_client){
			.cid = (uint16_t)(i + 1),
			.epoch = 1,
			.state = INDEX_CLIENT_ALIVE,
			.log_base = rig_log((uint16_t)(i + 1)),
		};
		rig_chunk(g, i);
	}
}

/* What everybody finds afterwards; and that they can go on. */
static void after(struct rig *g, unsigned client)
{
	static const enum atoll_op ops[] = {ATOLL_GET, ATOLL_INSERT, ATOLL_GET};

	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < 2; k++) {
			assert_non_null(rig_submit(g, client, ops[i], k));
			drain(g);
		}
	for (unsigned k = 2; k < g->nkeys; k += 1 + g->nkeys / 12) {
		assert_non_null(rig_submit(g, client, ATOLL_GET, k));
		drain(g);
	}
	rig_bury(g, true);
}

static uint64_t merges, shrinks, handovers;

/* What `client` does beside the one that is stopped. */
static void other(struct rig *g, unsigned client, unsigned b, unsigned key)
{
	static struct rig_scan scan;
	static uint64_t live[RIG_KEYS];
	struct rig_look l;

	if (b < ATOLL_OPS) {
		assert_non_null(rig_submit(g, client, (enum atoll_op)b, key));
		drain(g);
		return;
	}
	assert_true(rig_scan(g, client, &scan, b == SCAN_DOWN));
	drain(g);
	if (!scan.done || g->client[client].fake->fenced)
		return;
	assert_int_equal(scan.result, ATOLL_OK);
	memset(live, 0, sizeof(live));
	rig_look(g, &l, live);
	for (unsigned k = 2; k < g->nkeys; k++)
		if (scan.seen[k] != live[k])
			fail_msg("key %u: seen %u times, there %u times", k, scan.seen[k],
				 (unsigned)live[k]);
}

/* False when the client ended its operation before its k-th step. */
static bool crash_at(unsigned place, unsigned k, unsigned a, unsigned b, bool later, uint64_t seed)
{
	struct rig *g = &rig;
	bool stopped;

	start(g, place, seed, 3);
	g->client[0].fake->limit = g->client[0].fake->steps + k;
	assert_non_null(rig_submit(g, 0, (enum atoll_op)a, 0));
	if ((seed / 1000 + k) % 2) /* with one behind it that wants the same lock */
		assert_non_null(rig_submit(g, 0, seed % 3 ? ATOLL_PUT : ATOLL_DELETE, 1));
	if (later) {
		for (unsigned i = 0; i < 400 && !g->client[0].fake->fenced; i++)
			rig_turn(g);
		rig_bury(g, seed % 3 == 0);
		if (seed % 3 == 0)
			ask(g, 2);
	}
	other(g, 1, b, seed % 2);
	stopped = g->client[0].fake->fenced;
	merges += core_stats(g->client[0].core)->merges;
	shrinks += core_stats(g->client[0].core)->shrinks;
	handovers += core_stats(g->client[0].core)->handovers;
	if (stopped && seed % 3 == 1) {
		rig_bury(g, true);
		ask(g, 2);
	}
	after(g, 2);
	if (stopped)
		ask(g, 2);
	check(g, "crash", place, a, b, k, 0);
	rig_close(g);
	return stopped;
}

static const char *only; /* this place, or NULL */

static bool place_left_out(unsigned place)
{
	return only && strcmp(only, place_name[place]) != 0;
}

static uint64_t seed_of_sample(void)
{
	const char *text = getenv("ATOLL_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 1;
}

/* All of them, four times, with ATOLL_TEST_FULL; else one in four. */
static void test_crash_points(void **state)
{
	bool full = getenv("ATOLL_TEST_FULL");
	struct fake_world w = {.random = seed_of_sample() * 0x9e3779b97f4a7c15ull + 1};
	unsigned points = 0, runs = 0, of[PLACES] = {0};

	(void)state;
	for (unsigned place = 0; place < PLACES; place++)
		for (unsigned a = ATOLL_PUT; a < ATOLL_OPS && !place_left_out(place); a++)
			for (unsigned b = ATOLL_GET; b < OTHERS; b++)
				for (unsigned later = 0; later < 2; later++)
					for (unsigned k = 1, stopped = 1; stopped; k++) {
						if (!full && fake_below(&w, 4))
							continue;
						stopped = 0;
						for (uint64_t seed = 0; seed < (full ? 4 : 1);
						     seed++)
							stopped |= crash_at(place, k, a, b, later,
									    seed * 1000 + k);
						points += stopped;
						of[place] += stopped;
						runs += full ? 4 : 1;
					}
	printf("seed %llu: %u crash points, %u runs;",
	       (unsigned long long)seed_of_sample(), points, runs);
	for (unsigned place = 0; place < PLACES; place++)
		printf(" %s %u", place_name[place], of[place]);
	printf("; %llu merges, %llu roots gone, %llu locks handed over; %llu questions, %llu times it had happened\n",
	       (unsigned long long)merges, (unsigned long long)shrinks, (unsigned long long)handovers,
	       (unsigned long long)questions, (unsigned long long)happened_before);
	assert_true(only || (points > 2000 && merges && shrinks > 2 && handovers > 50 && happened_before > 300 &&
			     questions - happened_before > 100));
}

/* The first is stopped in a change, then the second, who finds what it left, after each of its
 * steps. */
static bool double_at(unsigned place, unsigned k, unsigned l, unsigned a, unsigned b, uint64_t seed,
		      unsigned *both, uint64_t *cleared)
{
	struct rig *g = &rig;
	bool stopped;

	start(g, place, seed, 3);
	g->client[0].fake->limit = g->client[0].fake->steps + k;
	assert_non_null(rig_submit(g, 0, (enum atoll_op)a, 0));
	for (unsigned i = 0; i < 400 && !g->client[0].fake->fenced; i++)
		rig_turn(g);
	rig_bury(g, true);
	g->client[1].fake->limit = g->client[1].fake->steps + l;
	other(g, 1, b, 0);
	stopped = g->client[1].fake->fenced;
	*both += stopped && g->client[0].fake->fenced;
	if (seed % 2 && g->client[0].fake->fenced)
		ask(g, 2);
	after(g, 2);
	if (g->client[0].fake->fenced)
		ask(g, 2);
	for (unsigned i = 1; i < 3; i++)
		*cleared += core_stats(g->client[i].core)->cleared;
	check(g, "double crash", place, a, b, k, l);
	rig_close(g);
	return stopped;
}

static void test_double_crash(void **state)
{
	bool full = getenv("ATOLL_TEST_FULL");
	uint64_t seed = seed_of_sample(), cleared = 0;
	struct fake_world w = {.random = seed * 0x9e3779b97f4a7c15ull + 1};
	unsigned both = 0, runs = 0;

	(void)state;
	questions = happened_before = 0;
	for (unsigned place = 0; place < PLACES; place++)
		for (unsigned a = ATOLL_PUT; a < ATOLL_OPS && !place_left_out(place); a++) {
			unsigned most = 0;

			for (unsigned k = 1; crash_at(place, k, a, ATOLL_GET, true, k); k++)
				most = k;
			for (unsigned b = ATOLL_GET; b < OTHERS; b++)
				for (unsigned k = 1; k <= most; k++)
					for (unsigned l = 1, stopped = 1; stopped; l++) {
						if (!full && fake_below(&w, 4))
							break;
						if (!full)
							l = 1 + fake_below(&w, most);
						stopped = double_at(place, k, l, a, b,
								    seed + k * 100 + l, &both,
								    &cleared) && full;
						runs++;
					}
		}
	printf("seed %llu: %u runs, %u of them stopped both, %llu locks taken over; %llu questions, %llu times "
	       "it had happened\n",
	       (unsigned long long)seed, runs, both, (unsigned long long)cleared,
	       (unsigned long long)questions, (unsigned long long)happened_before);
	assert_true(only || (both > 500 && cleared > 500));
}

/* Who dies is cleaned up after by somebody who meets nothing of it on a way of his own, and who may
 * be stopped at any step, too. */
static void test_repair(void **state)
{
	struct rig *g = &rig;
	unsigned runs = 0, stopped = 0;
	uint64_t freed = 0;

	(void)state;
	for (unsigned place = THERE; place < PLACES; place++)
		for (unsigned k = 1; k < (place < SMALL ? 40 : 160) && !place_left_out(place);
		     k += getenv("ATOLL_TEST_FULL") ? 1 : place < SMALL ? 5 : 11)
			for (unsigned l = 1; l < 240; l += getenv("ATOLL_TEST_FULL") ? 2 : 29) {
				struct atoll_index_repaired r = {0};
				struct rig_look look;
				uint64_t deaths;

				start(g, place, k * 1000 + l, 3);
				g->w.idle_steps = true;
				g->client[0].fake->limit = g->client[0].fake->steps + k;
				assert_non_null(
					rig_submit(g, 0, place < SMALL ? ATOLL_PUT : ATOLL_DELETE, 0));
				for (unsigned i = 0; i < 400 && !g->client[0].fake->fenced; i++)
					rig_turn(g);
				rig_bury(g, true);
				/* behind the READ of the client table */
				g->client[1].fake->limit =
					g->client[1].fake->steps + INDEX_CLIENTS + l;
				if (core_repair(g->client[1].core, &r)) {
					stopped++;
					assert_true(g->client[1].fake->fenced);
				}
				rig_bury(g, true);
				assert_int_equal(core_repair(g->client[2].core, &r), 0);
				assert_int_equal(r.open, 0);
				freed += r.locks;
				rig_look(g, &look, NULL);
				assert_int_equal(look.locked, 0);
				assert_int_equal(look.torn, 0);
				assert_int_equal(look.merging, 0);
				assert_int_equal(core_deaths(g->client[2].core, &deaths), 0);
				after(g, 2);
				check(g, "repair", place, ATOLL_PUT, 0, k, l);
				rig_close(g);
				runs++;
			}
	printf("%u runs, %u repairers stopped, %llu locks given back\n", runs, stopped,
	       (unsigned long long)freed);
	assert_true(only || (stopped > 50 && freed > 50));
}

/* Several clients at once; one after the other dies at some step, and a new one comes. */
static void test_deaths(void **state)
{
	struct rig *g = &rig;
	unsigned runs = getenv("ATOLL_TEST_FULL") ? 1500 : 80, deaths = 0;
	uint64_t cleared = 0, splits = 0;

	(void)state;
	for (unsigned seed = 0; seed < runs; seed++) {
		unsigned keys = seed % 2 ? 6 : 400, clients = 3 + seed % 3;

		rig_open(g, 70000 + seed, clients, 3);
		rig_keys(g, keys, seed % 3 == 0 ? 300 : 0);
		g->small = seed % 5 < 2;
		for (unsigned i = 0; i < clients; i++) {
			g->client[i].todo = keys == 6 ? 40 : 150;
			if (i + 1 < clients)
				g->client[i].fake->limit = 100 + fake_below(&g->w, 4000);
		}
		for (unsigned left = 1, turn = 0; left; turn++) {
			assert_true(turn < 2000000);
			left = 0;
			rig_bury(g, false);
			for (unsigned i = 0; i < clients; i++) {
				struct rig_client *c = &g->client[i];

				if (c->dead)
					continue;
				if (c->todo && core_pending(c->core) < 3 &&
				    rig_submit(g, i, (enum atoll_op)fake_below(&g->w, ATOLL_OPS),
					       fake_below(&g->w, keys)))
					c->todo--;
				left += c->todo + core_pending(c->core);
			}
			rig_turn(g);
		}
		for (unsigned k = 0; k < keys; k++) {
			assert_non_null(
				rig_submit(g, clients - 1, k % 2 ? ATOLL_GET : ATOLL_UPDATE, k));
			drain(g);
		}
		rig_bury(g, true);
		for (unsigned i = 0; i < clients; i++) {
			deaths += g->client[i].dead;
			cleared += core_stats(g->client[i].core)->cleared;
			splits += core_stats(g->client[i].core)->splits;
		}
		check(g, "deaths", PLAIN, 0, 0, seed, 0);
		rig_close(g);
	}
	printf("%u runs, %u deaths, %llu splits, %llu locks taken over\n", runs, deaths,
	       (unsigned long long)splits, (unsigned long long)cleared);
	assert_true(deaths > 100 && cleared > 10);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crash_points),
		cmocka_unit_test(test_double_crash),
		cmocka_unit_test(test_repair),
		cmocka_unit_test(test_deaths),
	};

	only = argc > 1 ? argv[1] : NULL;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
