/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baseline of the benchmarks does what a hash table does, with several clients at once and every reordering that
 * verbs may have: no update is lost, and what a client leaves that dies at any step is taken back whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_verbs.h"
#include "tools/bench/dtx.h"

enum {
	CLIENTS = 3,
	OPS = 4,
	KEYS = 24,
	BUCKETS = 4, /* of 28 items: some keys are in the next one */
	ITEM = 512,
};

static struct fake_world w;
static struct dtx_config config[CLIENTS];
static struct dtx *client[CLIENTS];
static uint64_t clock_ns;

/* What is known of a key: it was inserted so often, updated so often, by who is answered; and may have been by others. */
static struct key {
	unsigned inserted, updated, open;
} known[KEYS];

struct request {
	unsigned key, id;
	enum dtx_op op;
	bool busy;
};
static struct request request[CLIENTS][OPS];
static unsigned ended[DTX_FULL + 3], ids;

static uint64_t now(void *owner)
{
	(void)owner;
	return clock_ns += 100;
}

static size_t key_make(unsigned k, char *out)
{
	return (size_t)sprintf(out, "key-%u", k);
}

/* A value tells its key, and its own number over all of its length. */
static size_t value_make(unsigned k, unsigned id, uint8_t *out)
{
	size_t len = 40 + id % 300;

	memset(out, (int)(id & 0xff), len);
	memcpy(out, &k, 4);
	memcpy(out + 4, &id, 4);
	return len;
}

static bool value_good(unsigned k, const uint8_t *v, size_t len)
{
	uint8_t want[400];
	unsigned id;

	if (len < 8)
		return false;
	memcpy(&id, v + 4, 4);
	return value_make(k, id, want) == len && memcmp(want, v, len) == 0;
}

static void on_done(void *arg, enum dtx_result result, const void *value, size_t vlen)
{
	struct request *r = arg;
	struct key *k = &known[r->key];

	ended[result]++;
	if (result == DTX_LOST) /* its client dies */
		return;
	r->busy = false;
	k->open -= r->op != DTX_GET;
	assert_true(result == DTX_OK || result == DTX_NOT_FOUND || result == DTX_EXISTS);
	if (result == DTX_OK && r->op == DTX_INSERT)
		k->inserted++;
	if (result == DTX_OK && r->op == DTX_UPDATE)
		k->updated++;
	if (result == DTX_OK && r->op != DTX_INSERT)
		assert_true(value_good(r->key, value, vlen));
	if (result == DTX_NOT_FOUND)
		assert_true(r->op != DTX_INSERT);
}

static void begin(uint64_t seed)
{
	memset(&w, 0, offsetof(struct fake_world, client));
	memset(known, 0, sizeof(known));
	memset(request, 0, sizeof(request));
	w.random = seed * 2654435761u | 1;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct fake_client *c = fake_client_add(&w);

		config[i] = (struct dtx_config){
			.verbs = &c->v,
			.table = {0, 1},
			.buckets = BUCKETS,
			.item = ITEM,
			.local = {i + 1, 1},
			.cid = (uint16_t)(i + 1),
			.clients = CLIENTS,
			.ops = OPS,
			.now_ns = now,
		};
		w.region[i + 1] = (struct fake_region){aligned_alloc(64, dtx_local_size(OPS)), dtx_local_size(OPS)};
		config[i].local_base = w.region[i + 1].base;
	}
	w.region[0] = (struct fake_region){calloc(1, dtx_table_size(&config[0])), dtx_table_size(&config[0])};
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(dtx_open(&client[i], &config[i]), 0);
}

static void finish(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		dtx_close(client[i]);
	for (unsigned i = 0; i <= CLIENTS; i++)
		free(w.region[i].base);
	fake_free(&w);
}

static void give(unsigned c)
{
	for (unsigned i = 0; i < OPS; i++) {
		struct request *r = &request[c][i];
		uint8_t value[400];
		char key[16];
		size_t klen, vlen;

		if (r->busy)
			continue;
		*r = (struct request){.key = fake_below(&w, KEYS), .id = ++ids, .op = fake_below(&w, 3), .busy = true};
		klen = key_make(r->key, key);
		vlen = value_make(r->key, r->id, value);
		known[r->key].open += r->op != DTX_GET;
		assert_int_equal(dtx_submit(client[c], r->op, key, klen, value, r->op == DTX_GET ? 0 : vlen, on_done, r), 0);
	}
}

static void turns(unsigned n, unsigned dead, bool more)
{
	for (unsigned t = 0; t < n; t++) {
		bool busy = false;

		for (unsigned c = 0; c < CLIENTS; c++) {
			if (c == dead || w.client[c].fenced)
				continue;
			if (more)
				give(c);
			dtx_poll(client[c]);
			busy |= dtx_pending(client[c]) != 0;
		}
		if (!busy)
			return;
		for (unsigned s = 0; s < 8; s++)
			fake_step(&w);
	}
}

/* Each key is there once, if at all, whole, and was updated as often as was said. */
static void check(void)
{
	const uint8_t *at = w.region[0].base + dtx_table_size(&config[0]) - BUCKETS * (DTX_LINE + DTX_ITEMS * ITEM);
	unsigned found[KEYS] = {0};

	for (unsigned b = 0; b < BUCKETS; b++, at += DTX_LINE + DTX_ITEMS * ITEM)
		for (unsigned i = 0; i < DTX_ITEMS; i++) {
			const uint8_t *item = at + DTX_LINE + i * ITEM;
			uint64_t lock, version;
			uint16_t klen, vlen;
			unsigned k;

			if (!at[8 + i])
				continue;
			memcpy(&lock, item, 8);
			memcpy(&version, item + 8, 8);
			memcpy(&klen, item + 20, 2);
			memcpy(&vlen, item + 22, 2);
			assert_int_equal(lock, 0);
			assert_true(klen >= 5 && klen <= 6);
			if (klen == 5)
				k = item[28] - (unsigned)'0';
			else
				k = (item[28] - (unsigned)'0') * 10 + item[29] - (unsigned)'0';
			assert_true(k < KEYS);
			assert_true(value_good(k, item + 24 + klen, vlen));
			assert_int_equal(found[k]++, 0);
			/* Those that were not answered may have been done. */
			assert_in_range(version, known[k].inserted + known[k].updated, 1 + known[k].updated + known[k].open);
		}
	for (unsigned k = 0; k < KEYS; k++) {
		assert_true(known[k].inserted <= 1);
		if (known[k].inserted)
			assert_int_equal(found[k], 1);
		if (!known[k].open)
			assert_int_equal(found[k], known[k].inserted);
	}
}

static void test_concurrent(void **state)
{
	const struct dtx_stats *s;

	(void)state;
	begin(1);
	turns(20000, CLIENTS, true);
	turns(100000, CLIENTS, false);
	check();
	for (unsigned k = 0; k < KEYS; k++)
		assert_int_equal(known[k].open, 0);
	assert_true(ended[DTX_OK] > 1000 && ended[DTX_NOT_FOUND] > 0 && ended[DTX_EXISTS] > 0);
	s = dtx_stats(client[0]);
	assert_true(s->conflicts > 0);
	/* As the header says. */
	assert_int_equal(s->least[DTX_GET], 2);
	assert_int_equal(s->least[DTX_UPDATE], 4);
	finish();
	/* An insert alone. */
	begin(2);
	request[0][0] = (struct request){.key = 1, .op = DTX_INSERT, .busy = true};
	known[1].open = 1;
	assert_int_equal(dtx_submit(client[0], DTX_INSERT, "key-1", 5, "\1\0\0\0\0\0\0\0", 8, on_done, &request[0][0]), 0);
	turns(1000, CLIENTS, false);
	assert_int_equal(dtx_stats(client[0])->least[DTX_INSERT], 3);
	assert_int_equal(dtx_stats(client[0])->trips[DTX_INSERT], 3);
	finish();
}

/* One dies at any step of its: what it had locked and not committed is as it was. */
static void test_death(void **state)
{
	unsigned freed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		begin(seed);
		w.client[0].limit = 200 + seed * 13;
		turns(4000, CLIENTS, true);
		while (w.client[0].steps < w.client[0].limit && fake_step(&w))
			;
		fake_fence(&w.client[0]);
		freed += dtx_undo(w.region[0].base, &config[0], 1);
		turns(100000, 0, false);
		check();
		finish();
	}
	assert_true(freed > 50);
}

static void test_limits(void **state)
{
	struct dtx_config bad;
	struct dtx *d;
	char key[8] = "k", big[ITEM] = "";

	(void)state;
	begin(3);
	bad = config[0];
	bad.item = DTX_ITEM_MAX + 64;
	assert_int_equal(dtx_open(&d, &bad), -EINVAL);
	bad = config[0];
	bad.cid = CLIENTS + 1;
	assert_int_equal(dtx_open(&d, &bad), -EINVAL);
	assert_int_equal(dtx_submit(client[0], DTX_UPDATE, key, 1, big, ITEM - 24, on_done, &request[0][0]), -EINVAL);
	assert_int_equal(dtx_submit(client[0], DTX_UPDATE, key, 0, big, 1, on_done, &request[0][0]), -EINVAL);
	for (unsigned i = 0; i < OPS; i++) {
		request[0][i] = (struct request){.key = 0, .op = DTX_GET, .busy = true};
		assert_int_equal(dtx_submit(client[0], DTX_GET, key, 1, NULL, 0, on_done, &request[0][i]), 0);
	}
	assert_int_equal(dtx_submit(client[0], DTX_GET, key, 1, NULL, 0, on_done, &request[0][0]), -EAGAIN);
	turns(1000, CLIENTS, false);
	assert_int_equal(dtx_pending(client[0]), 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_concurrent),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
