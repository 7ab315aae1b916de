/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on a table: alone, side by side, with clients that die or lose their connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clients/index/race_op.h"
#include "tests/unit/race_rig.h"

static struct rig rig;

static enum atoll_op any_op(struct rig *g);

static struct rig_call *run(struct rig *g, unsigned client, enum atoll_op op, unsigned key)
{
	struct rig_call *call = rig_submit(g, client, op, key);

	assert_non_null(call);
	assert_true(rig_drain(g));
	assert_true(call->finished);
	return call;
}

#define EXPECT(call, res, trips)                                                                   \
	do {                                                                                       \
		const struct rig_call *c_ = (call);                                                \
		assert_int_equal(c_->result, (res));                                               \
		assert_int_equal(c_->round_trips, (trips));                                        \
	} while (0)

static void test_round_trips(void **state)
{
	struct rig *g = &rig;
	struct rig_call *put;

	(void)state;
	rig_open(g, 1, 1, 4, 64);
	rig_keys(g, 4, false);
	run(g, 0, ATOLL_PUT, 3); /* the first chunk */
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_NOT_FOUND, 1);
	EXPECT(run(g, 0, ATOLL_UPDATE, 0), ATOLL_NOT_FOUND, 1);
	EXPECT(run(g, 0, ATOLL_DELETE, 0), ATOLL_NOT_FOUND, 1);
	EXPECT(run(g, 0, ATOLL_INSERT, 0), ATOLL_OK, 3);
	EXPECT(run(g, 0, ATOLL_INSERT, 0), ATOLL_EXISTS, 2);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_OK, 2);
	EXPECT(run(g, 0, ATOLL_UPDATE, 0), ATOLL_OK, 3);
	put = run(g, 0, ATOLL_PUT, 0);
	EXPECT(put, ATOLL_OK, 3);
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->op.value, put->op.value);
	EXPECT(run(g, 0, ATOLL_PUT, 1), ATOLL_OK, 3);
	EXPECT(run(g, 0, ATOLL_DELETE, 0), ATOLL_OK, 3);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_NOT_FOUND, 1);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(rig_table_faults(g), 0);
	assert_int_equal(core_stats(g->client[0].core)->trips_hist[ATOLL_INSERT][3], 1);
	rig_close(g);
}

/* With the slot cache, and when what it says does not hold any more. */
static void test_cache(void **state)
{
	struct rig *g = &rig;
	struct rig_call *put;

	(void)state;
	rig_open(g, 12, 2, 4, 64);
	core_close(g->client[0].core);
	g->cache = 64;
	rig_client_open(g, 0, 1, 2);
	rig_keys(g, 2, false);
	run(g, 0, ATOLL_PUT, 1); /* the first chunk */
	EXPECT(run(g, 0, ATOLL_INSERT, 0), ATOLL_OK, 3);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_OK, 1);
	EXPECT(run(g, 0, ATOLL_UPDATE, 0), ATOLL_OK, 2);
	EXPECT(run(g, 0, ATOLL_PUT, 0), ATOLL_OK, 2);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_OK, 1);
	EXPECT(run(g, 0, ATOLL_DELETE, 0), ATOLL_OK, 2);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_NOT_FOUND, 1);
	run(g, 0, ATOLL_PUT, 0);
	put = run(g, 1, ATOLL_PUT, 0); /* somebody else */
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_OK, 3);
	assert_int_equal(g->call[g->ncalls - 1].op.value, put->op.value);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_OK, 1);
	run(g, 1, ATOLL_DELETE, 0);
	EXPECT(run(g, 0, ATOLL_UPDATE, 0), ATOLL_NOT_FOUND, 2);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(g->failures, 0);
	assert_true(core_stats(g->client[0].core)->cache_hits == 6);
	assert_true(core_stats(g->client[0].core)->cache_misses == 2);
	rig_close(g);
}

struct sized {
	bool finished;
	enum atoll_result result;
	uint32_t len;
	unsigned trips;
	uint8_t data[INDEX_VALUE_MAX];
};

static void sized_done(void *arg, const struct atoll_outcome *out)
{
	struct sized *s = arg;

	s->finished = true;
	s->result = out->result;
	s->trips = out->round_trips;
	s->len = out->value_len;
	if (out->value)
		memcpy(s->data, out->value, out->value_len);
}

/* Every interesting length of key and value; the longest take a READ more. */
static void test_sizes(void **state)
{
	static const uint32_t klens[] = {1, 39, 40, 41, 1023, 1024};
	static const uint32_t vlens[] = {0,     1,     255,   256,   4096, 15000,
					 16279, 16280, 20000, 65535, 65536};
	static uint8_t key[1024], value[65536];
	static struct sized s;
	struct rig *g = &rig;
	struct core *r;

	(void)state;
	rig_open(g, 13, 1, 2, 64);
	r = g->client[0].core;
	for (unsigned i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 7 + i / 256);
	for (unsigned i = 0; i < 6; i++) {
		for (unsigned j = 0; j < 11; j++) {
			bool more = index_kv_room(klens[i], vlens[j]) > INDEX_LEN_LONG * INDEX_LINE;

			memset(key, (int)('a' + i * 11 + j), sizeof(key));
			assert_int_equal(core_submit(r, ATOLL_PUT, key, klens[i], value, vlens[j],
						     sized_done, &s),
					 0);
			assert_true(rig_drain(g));
			assert_int_equal(s.result, ATOLL_OK);
			assert_int_equal(
				core_submit(r, ATOLL_GET, key, klens[i], NULL, 0, sized_done, &s),
				0);
			assert_true(rig_drain(g));
			assert_int_equal(s.result, ATOLL_OK);
			assert_int_equal(s.len, vlens[j]);
			assert_memory_equal(s.data, value, s.len);
			assert_int_equal(s.trips, more ? 3 : 2);
		}
	}
	assert_int_equal(core_submit(r, ATOLL_PUT, key, 0, value, 1, sized_done, &s), -EINVAL);
	assert_int_equal(core_submit(r, ATOLL_PUT, key, 1025, value, 1, sized_done, &s), -EINVAL);
	assert_int_equal(core_submit(r, ATOLL_PUT, key, 1, value, 65537, sized_done, &s), -EINVAL);
	assert_int_equal(core_submit(r, ATOLL_PUT, key, 1, NULL, 1, sized_done, &s), -EINVAL);
	rig_close(g);
}

/* Fills the smallest table: clear errors, and everything that was stored is still there. */
static void test_full(void **state)
{
	static struct sized s;
	struct rig *g = &rig;
	uint64_t stored[2] = {0, 0};
	unsigned full = 0;

	(void)state;
	rig_open(g, 3, 1, 1, 8);
	race_of(g->client[0].core)->leaf_bits = 0; /* not to be split */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < 400; i++) {
			char key[16];
			size_t n = (size_t)snprintf(key, sizeof(key), "k%u", i);

			assert_int_equal(core_submit(g->client[0].core,
						     pass ? ATOLL_GET : ATOLL_INSERT, key, n, "v",
						     1, sized_done, &s),
					 0);
			assert_true(rig_drain(g));
			if (s.result == ATOLL_OK)
				stored[pass]++;
			else
				assert_int_equal(s.result, pass ? ATOLL_NOT_FOUND : ATOLL_FULL);
			full += s.result == ATOLL_FULL;
		}
	}
	assert_int_equal(stored[0], stored[1]);
	assert_true(full > 200 && stored[0] > 8 * 21 * 85 / 100);
	rig_close(g);
}

/* A table of two groups takes thousands of keys: it is split and split again, and nothing is lost.
 */
static void test_growth(void **state)
{
	static struct sized s;
	static struct rig_look look;
	struct rig *g = &rig;
	const struct atoll_index_stats *st;
	struct atoll_index_report report;
	unsigned n = 3000;
	double load;

	(void)state;
	rig_open(g, 11, 2, 4, 8);
	g->w.idle_steps = true;
	for (unsigned pass = 0; pass < 3; pass++) {
		for (unsigned i = 0; i < n; i++) {
			char key[16];
			size_t len = (size_t)snprintf(key, sizeof(key), "k%u", i);
			enum atoll_op op = pass == 0 ? ATOLL_INSERT : ATOLL_GET;

			/* the second client knows of no split until it meets it */
			assert_int_equal(core_submit(g->client[pass == 2].core, op, key, len, "v",
						     1, sized_done, &s),
					 0);
			assert_true(rig_drain(g));
			assert_int_equal(s.result, ATOLL_OK);
			assert_true(pass != 1 || s.trips == 2 || s.trips == 3);
		}
	}
	memset(&look, 0, sizeof(look));
	rig_look_sub(g, &look, INDEX_SUPER_SIZE);
	assert_int_equal(look.faults, 0);
	assert_int_equal(look.locked, 0);
	assert_true(look.leaves >= 16 && look.retired == look.leaves - 1);
	st = core_stats(g->client[0].core);
	load = (double)st->split_used / (double)st->split_slots;
	printf("%u keys in %u subtables of 8 groups, which were %.2f full when they were split\n",
	       n, (unsigned)look.leaves, load);
	assert_true(load > 0.85);
	assert_int_equal(st->splits, look.retired);
	assert_true(core_stats(g->client[1].core)->forwards >= look.retired);
	assert_int_equal(core_dump(g->client[1].core, NULL, NULL, NULL, &report), 0);
	assert_int_equal(report.entries, n);
	assert_int_equal(report.subtables, look.leaves);
	assert_int_equal(report.retired, look.retired);
	assert_int_equal(report.torn + report.misplaced + report.duplicates + report.pending, 0);
	rig_close(g);
}

static void test_no_space(void **state)
{
	struct rig *g = &rig;

	(void)state;
	rig_open(g, 4, 1, 1, 8);
	rig_keys(g, 1, false);
	g->segment = RIG_SEGMENTS;
	assert_int_equal(run(g, 0, ATOLL_PUT, 0)->result, ATOLL_NO_SPACE);
	EXPECT(run(g, 0, ATOLL_GET, 0), ATOLL_NOT_FOUND, 1);
	rig_close(g);
}

static uint64_t *slot_of(struct rig *g, unsigned key)
{
	uint8_t *base = g->w.region[RIG_TABLE].base;
	struct index_bucket *b = (void *)(base + INDEX_SUPER_SIZE + INDEX_LINE);

	for (uint32_t i = 0; i < g->groups * 3 * INDEX_BUCKET_SLOTS; i++) {
		uint64_t *word = &b[i / INDEX_BUCKET_SLOTS].slot[i % INDEX_BUCKET_SLOTS];
		struct index_kv *kv = (void *)(base + index_slot_offset(*word));

		if (*word && kv_key_is(kv, g->key[key], (uint32_t)strlen(g->key[key])))
			return word;
	}
	return NULL;
}

/* Damaged memory is an error, not a wrong answer. */
static void test_corrupt(void **state)
{
	struct rig *g = &rig;
	uint8_t *base;
	uint64_t *word, good;

	(void)state;
	rig_open(g, 5, 1, 1, 8);
	rig_keys(g, 2, false);
	run(g, 0, ATOLL_PUT, 0);
	base = g->w.region[RIG_TABLE].base;
	word = slot_of(g, 0);
	good = *word;
	base[index_slot_offset(good) + sizeof(struct index_kv) + strlen(g->key[0])] ^= 1;
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	base[index_slot_offset(good) + sizeof(struct index_kv) + strlen(g->key[0])] ^= 1;
	base[index_slot_offset(good) + sizeof(struct index_kv)] ^= 1; /* the key */
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	base[index_slot_offset(good) + sizeof(struct index_kv)] ^= 1;
	*word = (good & ~INDEX_SLOT_UNITS_MASK) | 1; /* into the table */
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	assert_int_equal(run(g, 0, ATOLL_PUT, 0)->result, ATOLL_CORRUPT);
	*word = good | INDEX_SLOT_UNITS_MASK; /* past the end */
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	*word = good | INDEX_SLOT_MOVE; /* and nobody who splits */
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	*word = good;
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_OK);
	((struct index_bucket *)((uintptr_t)word & ~63ull))->reserved = 1;
	assert_int_equal(run(g, 0, ATOLL_GET, 0)->result, ATOLL_CORRUPT);
	rig_close(g);
}

/* A full table in which a dead client's insert holds a slot: whoever needs the slot gets it. */
static void test_room_of_the_dead(void **state)
{
	static struct sized s;
	struct rig *g = &rig;
	unsigned stored = 0;

	(void)state;
	rig_open(g, 6, 2, 1, 2);
	race_of(g->client[1].core)->leaf_bits = 0; /* not to be split */
	rig_keys(g, 1, false);
	rig_chunk(g, 0);
	assert_non_null(rig_submit(g, 0, ATOLL_INSERT, 0));
	while (!slot_of(g, 0) || !index_slot_pending(*slot_of(g, 0)))
		rig_turn(g);
	g->client[0].dead = true;
	for (unsigned pass = 0; pass < 2; pass++) {
		unsigned before = stored;

		if (pass)
			rig_declare_dead(g, 0);
		for (unsigned i = 0; i < 200; i++) {
			char key[16];
			size_t n = (size_t)snprintf(key, sizeof(key), "k%u-%u", pass, i);

			assert_int_equal(core_submit(g->client[1].core, ATOLL_INSERT, key, n, "v",
						     1, sized_done, &s),
					 0);
			assert_true(rig_drain(g));
			stored += s.result == ATOLL_OK;
			assert_true(s.result == ATOLL_OK || s.result == ATOLL_FULL);
		}
		assert_true(pass ? stored == before + 1 : stored > 30);
	}
	assert_int_equal(core_stats(g->client[1].core)->cleared, 1);
	rig_close(g);
}

/* A provider with little room refuses chains; nothing is lost and nothing is counted twice. */
static void test_small_provider(void **state)
{
	struct rig *g = &rig;

	(void)state;
	rig_open(g, 7, 1, 16, 64);
	rig_keys(g, 16, false);
	g->client[0].fake->room = 2;
	for (unsigned i = 0; i < 200; i++) {
		while (!rig_submit(g, 0, any_op(g), fake_below(&g->w, 16)))
			rig_turn(g);
	}
	assert_true(rig_drain(g));
	assert_int_equal(core_pending(g->client[0].core), 0);
	assert_int_equal(rig_check(g), 1);
	assert_int_equal(rig_table_faults(g), 0);
	assert_int_equal(g->failures, 0);
	rig_close(g);
}

/* A client whose pending insert was taken away is dead to the others, and knows it. */
static void test_evicted(void **state)
{
	struct rig *g = &rig;
	struct rig_call *call;

	(void)state;
	rig_open(g, 10, 1, 1, 8);
	rig_keys(g, 1, false);
	call = rig_submit(g, 0, ATOLL_INSERT, 0);
	while (!slot_of(g, 0))
		rig_turn(g);
	*slot_of(g, 0) = 0;
	assert_true(rig_drain(g));
	assert_int_equal(call->result, ATOLL_FENCED);
	assert_true(core_lost(g->client[0].core));
	assert_int_equal(core_submit(g->client[0].core, ATOLL_GET, "k", 1, NULL, 0, rig_done, call),
			 -ENOTCONN);
	rig_close(g);
}

/* Of its own chunk a client uses again what it has replaced, deleted or written in vain; of another's it counts
 * what it leaves behind. */
static void test_reuse(void **state)
{
	struct rig *g = &rig;
	uint64_t written = 0, left = 0;

	(void)state;
	rig_reclaim_us = 1;
	rig_open(g, 8, 2, 1, 8);
	rig_keys(g, 2, false);
	run(g, 1, ATOLL_PUT, 1);
	/* The rig's history would be full, and is not looked at. */
	for (unsigned i = 0; written < 20 * INDEX_SEGMENT; i++) {
		const struct rig_call *c;

		g->ncalls %= RIG_HISTORY / 2;
		c = run(g, 0, i % 5 == 4 ? ATOLL_DELETE : i % 5 == 3 ? ATOLL_INSERT : ATOLL_PUT, 0);
		if (i % 5 != 4)
			written += index_kv_room((uint32_t)strlen(g->key[0]),
						 rig_value_size(c->op.value));
		run(g, 1, ATOLL_GET, 0); /* the other one polls, too */
	}
	assert_true(g->segment <= 2 + 6);
	assert_true(core_stats(g->client[0].core)->reused_bytes > 8 * INDEX_SEGMENT);
	assert_int_equal(core_stats(g->client[0].core)->leaked_blocks, 0);
	left = core_stats(g->client[0].core)->leaked_blocks;
	run(g, 0, ATOLL_PUT, 1);
	assert_int_equal(core_stats(g->client[0].core)->leaked_blocks, left + 1);
	/* Somebody who does not poll holds it back. */
	g->client[1].paused = true;
	for (unsigned i = 0; i < 500; i++) {
		g->ncalls %= RIG_HISTORY / 2;
		run(g, 0, ATOLL_PUT, 0);
	}
	written = core_stats(g->client[0].core)->reused_bytes;
	for (unsigned i = 0; i < 500; i++) {
		g->ncalls %= RIG_HISTORY / 2;
		run(g, 0, ATOLL_PUT, 0);
	}
	assert_int_equal(core_stats(g->client[0].core)->reused_bytes, written);
	/* Until it is dead. */
	rig_declare_dead(g, 1);
	for (unsigned i = 0; i < 500; i++) {
		g->ncalls %= RIG_HISTORY / 2;
		run(g, 0, ATOLL_PUT, 0);
	}
	assert_true(core_stats(g->client[0].core)->reused_bytes > written);
	rig_reclaim_us = 0;
	rig_close(g);
}

static int count_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	(void)key;
	(void)value;
	(void)vlen;
	*(unsigned *)arg += klen > 0;
	return *(unsigned *)arg == 1000 ? -ECANCELED : 0;
}

static void test_dump(void **state)
{
	struct rig *g = &rig;
	struct atoll_index_report report;
	uint64_t *word, *other, good;
	unsigned count = 0;

	(void)state;
	rig_open(g, 9, 1, 2, 64);
	rig_keys(g, 16, false);
	g->w.idle_steps = true;
	for (unsigned i = 0; i < 16; i++)
		run(g, 0, ATOLL_PUT, i);
	assert_int_equal(core_dump(g->client[0].core, count_entry, NULL, &count, &report), 0);
	assert_int_equal(count, 16);
	assert_int_equal(report.entries, 16);
	assert_int_equal(report.slots, 64 * 21);
	assert_int_equal(report.torn + report.misplaced + report.duplicates + report.pending, 0);

	word = slot_of(g, 3);
	good = *word;
	other = word;
	while (*other)
		other = (uintptr_t)other % 64 == 56 ? other - 6 : other + 1;
	*other = good; /* twice in one bucket */
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.duplicates, 1);
	assert_int_equal(report.entries, 16);
	*other = good | INDEX_SLOT_PEND;
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.pending, 1);
	*other = good ^ 1ull << 60;
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.misplaced, 1);
	*other = good + (1ull << 48); /* another length */
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.torn, 1);
	assert_int_equal(report.first_bad, (uint8_t *)other - g->w.region[RIG_TABLE].base);
	*other = good | INDEX_SLOT_UNITS_MASK;
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.torn, 1);
	*other = 0;
	g->w.region[RIG_TABLE].base[index_slot_offset(good) + 9] ^= 1;
	core_dump(g->client[0].core, NULL, NULL, NULL, &report);
	assert_int_equal(report.torn, 1);
	assert_int_equal(report.entries, 15);
	assert_non_null(rig_submit(g, 0, ATOLL_GET, 0));
	assert_int_equal(core_dump(g->client[0].core, NULL, NULL, NULL, &report), -EBUSY);
	rig_close(g);
}

static enum atoll_op any_op(struct rig *g)
{
	static const enum atoll_op ops[] = {ATOLL_GET,    ATOLL_GET,    ATOLL_PUT,
					    ATOLL_PUT,    ATOLL_INSERT, ATOLL_INSERT,
					    ATOLL_UPDATE, ATOLL_DELETE, ATOLL_DELETE};

	return ops[fake_below(&g->w, sizeof(ops) / sizeof(ops[0]))];
}

/* A client that lost its connection comes back under a new identity. */
static void come_back(struct rig *g, unsigned i)
{
	struct rig_client *c = &g->client[i];
	unsigned todo = c->todo;
	uint16_t cid = c->cid, epoch = c->epoch;

	core_close(c->core);
	rig_client_open(g, i, cid, (uint16_t)(epoch + 1));
	c->todo = todo;
}

struct tally {
	uint64_t calls, unknown, dropped, steps, cleared, withdrawals, conflicts;
};

static void tally_add(struct tally *t, const struct rig *g)
{
	for (unsigned i = 0; i < g->ncalls; i++) {
		t->unknown += g->call[i].op.result == LIN_UNKNOWN && !g->call[i].dropped;
		t->dropped += g->call[i].dropped;
	}
	t->calls += g->ncalls;
	t->steps += g->w.steps;
	for (unsigned i = 0; i < g->nclients; i++) {
		t->cleared += core_stats(g->client[i].core)->cleared;
		t->withdrawals += core_stats(g->client[i].core)->withdrawals;
		t->conflicts += core_stats(g->client[i].core)->conflicts;
	}
}

/* Several clients on few keys. One may die, or do nothing for long, or lose its connection and come
 * back. */
static void one_seed(uint64_t seed, struct tally *t)
{
	struct rig *g = &rig;
	unsigned n = 2 + (unsigned)(seed % 3), victim = n, cut = n, slow = n;
	uint64_t when, fence_at = UINT64_MAX, turns = 0;

	rig_reclaim_us = seed % 3 != 0;
	rig_open(g, seed, n, 1 + (unsigned)(seed / 3 % 4), seed % 5 == 0 ? 2 : 8);
	rig_keys(g, 1 + (unsigned)(seed / 7 % 3), seed % 2 == 0);
	when = 20 + fake_below(&g->w, 500);
	if (seed % 4 == 1)
		victim = fake_below(&g->w, n);
	else if (seed % 4 == 2)
		slow = fake_below(&g->w, n);
	else if (seed % 4 == 3)
		cut = fake_below(&g->w, n);
	for (unsigned i = 0; i < n; i++) {
		g->client[i].todo = 10;
		g->client[i].fake->again = seed % 9 == 4 ? 12 : 0;
	}
	for (;; turns++) {
		bool busy = false;

		for (unsigned i = 0; i < n; i++) {
			struct rig_client *c = &g->client[i];

			if (c->dead)
				continue;
			if (c->todo && !c->paused && fake_below(&g->w, 4) == 0 &&
			    rig_submit(g, i, any_op(g), fake_below(&g->w, g->nkeys)))
				c->todo--;
			busy |= c->todo || core_pending(c->core);
		}
		if (!busy || turns > 200000)
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
	if (turns > 200000)
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
	uint64_t n = getenv("ATOLL_TEST_FULL") ? 50000 : 1500;
	struct tally t = {0};

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		one_seed(seed + i, &t);
	printf("%llu seeds: %llu operations in %llu steps, %llu in doubt, %llu not executed, %llu "
	       "conflicts, "
	       "%llu withdrawals, %llu cleared for the dead\n",
	       (unsigned long long)n, (unsigned long long)t.calls, (unsigned long long)t.steps,
	       (unsigned long long)t.unknown, (unsigned long long)t.dropped,
	       (unsigned long long)t.conflicts, (unsigned long long)t.withdrawals,
	       (unsigned long long)t.cleared);
	assert_true(t.unknown && t.dropped && t.conflicts && t.withdrawals && t.cleared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),    cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_full),           cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_growth),         cmocka_unit_test(test_cache),
		cmocka_unit_test(test_corrupt),        cmocka_unit_test(test_room_of_the_dead),
		cmocka_unit_test(test_small_provider), cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_evicted),        cmocka_unit_test(test_dump),
		cmocka_unit_test(test_side_by_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
