/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: chains as hardware keeps them, locks, and a log that is there or not at every cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "clients/index/rtx.h"
#include "tests/unit/fake_verbs.h"

enum {
	LOG = 4096,
	LOCK = 1024,
	NODE = 2048,
	NODE_SIZE = 1024
};

static struct fake_world w;
static uint8_t table[LOG + INDEX_SEGMENT] __attribute__((aligned(64)));
static uint8_t local[8192] __attribute__((aligned(64)));
static struct rtx_env env;

static struct fake_client *start(uint64_t seed)
{
	fake_free(&w);
	memset(&w, 0, sizeof(w));
	memset(table, 0, sizeof(table));
	memset(local, 0, sizeof(local));
	w.random = seed * 0x9e3779b97f4a7c15ull + 1;
	w.region[0] = (struct fake_region){table, sizeof(table)};
	w.region[1] = (struct fake_region){local, sizeof(local)};
	env = (struct rtx_env){.table = {0, 0},
			       .local = {1, 0},
			       .cid = 7,
			       .epoch = 3,
			       .ft = true,
			       .log_base = LOG};
	return fake_client_add(&w);
}

static unsigned run(struct fake_client *c, struct rtx *tx)
{
	struct verb_completion done = {0};

	assert_int_equal(rtx_commit(tx, &c->v, 0, 1), 0);
	while (fake_step(&w))
		;
	return fake_poll(&c->v, &done, 1) == 1 ? done.status[done.count - 1] : 255;
}

static uint64_t lock_word(void)
{
	uint64_t v;

	memcpy(&v, table + LOCK, 8);
	return v;
}

static void test_locks(void **state)
{
	struct fake_client *c = start(1);
	struct rtx a, b;
	uint64_t held;

	(void)state;
	rtx_begin(&a, &env, 4, local, 0);
	rtx_begin(&b, &env, 5, local + RTX_LOCAL, RTX_LOCAL);
	assert_int_not_equal(a.word, b.word);
	rtx_lock_read(&a, LOCK, 0, NODE, 4096, NODE_SIZE);
	assert_int_equal(run(c, &a), STATUS_OK);
	assert_int_equal(rtx_old(&a), 0);
	held = lock_word();
	assert_int_equal(held, a.word);
	assert_int_equal(index_lock_cid(held), 7);
	assert_int_equal(index_lock_epoch(held), 3);
	assert_int_equal(index_lock_slot(held), 4);
	assert_int_equal(index_lock_seq(held), 1);
	rtx_lock_read(&b, LOCK, 0, 0, 0, 0);
	assert_int_equal(run(c, &b), STATUS_OK);
	assert_int_equal(rtx_old(&b), a.word);
	rtx_write(&a, NODE, 4096, 64);
	rtx_unlock(&a, LOCK);
	assert_int_equal(run(c, &a), STATUS_OK);
	assert_int_equal(lock_word(), 0);
}

/* Chains that hardware would reorder are refused, not sent. */
static void test_order(void **state)
{
	struct fake_client *c = start(2);
	struct rtx tx;

	(void)state;
	rtx_begin(&tx, &env, 0, local, 0);
	rtx_lock_read(&tx, LOCK, 0, NODE, 4096, 64);
	rtx_write(&tx, NODE, 4096, 64);
	assert_int_equal(rtx_commit(&tx, &c->v, 0, 1), -EINVAL);
	assert_int_equal(rtx_commit(&tx, &c->v, 0, 1), -EINVAL); /* empty now */
	rtx_lock_read(&tx, LOCK, 0, NODE, 4096, 64);
	rtx_fence(&tx);
	rtx_write(&tx, NODE, 4096, 64);
	rtx_unlock(&tx, LOCK);
	assert_int_equal(run(c, &tx), STATUS_OK);
	for (unsigned i = 0; i <= VERB_CHAIN_MAX; i++)
		rtx_write(&tx, NODE, 4096, 64);
	assert_int_equal(rtx_commit(&tx, &c->v, 0, 1), -EINVAL);
	c->room = 0;
	rtx_write(&tx, NODE, 4096, 64);
	assert_int_equal(rtx_commit(&tx, &c->v, 0, 1), -EAGAIN);
	assert_int_equal(tx.n, 1);
	rtx_abort(&tx);
	assert_int_equal(tx.n, 0);
}

/* Killed at every step of image, record, node, unlock: the node is old, or the record says how to
 * finish. */
static void test_every_cut(void **state)
{
	const struct rtx_intent intent = {.op = INDEX_LOG_TREE_SPLIT, .target = NODE, .aux = 77};
	unsigned nothing = 0, redo = 0, done = 0;

	(void)state;
	for (unsigned k = 1; k < 32; k++) {
		struct fake_client *c = start(k);
		struct verb_completion end;
		struct index_log record;
		const uint8_t *image = NULL;
		struct rtx tx;
		uint8_t slot[INDEX_LOG_SLOT];
		bool touched;

		rtx_begin(&tx, &env, 9, local, 0);
		rtx_lock_read(&tx, LOCK, 0, 0, 0, 0);
		run(c, &tx);
		memset(local + 4096, 0xab, NODE_SIZE);
		rtx_redo(&tx, &intent, local + 4096, 4096, NODE_SIZE);
		rtx_write(&tx, NODE, 4096, NODE_SIZE);
		rtx_unlock(&tx, LOCK);
		c->limit = c->steps + k;
		assert_int_equal(rtx_commit(&tx, &c->v, 0, 1), 0);
		while (fake_step(&w))
			;
		fake_poll(&c->v, &end, 1);
		if (lock_word() == 0) {
			done++;
			continue;
		}
		touched = false;
		for (unsigned i = 0; i < NODE_SIZE; i++)
			touched |= table[NODE + i] != 0;
		memcpy(slot, table + LOG + 9 * INDEX_LOG_SLOT, sizeof(slot));
		if (rtx_record_judge(lock_word(), slot, &record, &image) == RTX_NOTHING) {
			assert_false(touched);
			nothing++;
		} else {
			assert_int_equal(record.target, NODE);
			assert_int_equal(record.img_len, NODE_SIZE);
			assert_memory_equal(image, local + 4096, NODE_SIZE);
			redo++;
		}
	}
	printf("%u cuts before the record, %u after it, %u when all was done\n", nothing, redo,
	       done);
	assert_true(nothing == 4 && redo == 5 && done > 10);
}

/* The halves alternate; of two phases the later counts; other epochs and sequences do not. */
static void test_judge(void **state)
{
	struct fake_client *c = start(3);
	struct rtx_intent intent = {.op = INDEX_LOG_TREE_SPLIT, .target = 1};
	struct index_log record;
	const uint8_t *image = local;
	struct rtx tx;
	uint8_t *slot = table + LOG + 2 * INDEX_LOG_SLOT;

	(void)state;
	rtx_begin(&tx, &env, 2, local, 0);
	assert_int_equal(rtx_record_judge(tx.word, slot, &record, &image), RTX_NOTHING);
	rtx_redo(&tx, &intent, NULL, 0, 0);
	run(c, &tx);
	intent.level = 1;
	intent.target = 2;
	rtx_redo(&tx, &intent, NULL, 0, 0);
	run(c, &tx);
	assert_int_equal(rtx_record_judge(tx.word, slot, &record, &image), RTX_REDO);
	assert_int_equal(record.target, 2);
	assert_null(image);
	slot[INDEX_LINE + 30] ^= 1; /* the later one is torn */
	assert_int_equal(rtx_record_judge(tx.word, slot, &record, &image), RTX_REDO);
	assert_int_equal(record.target, 1);
	assert_int_equal(rtx_record_judge(tx.word + 1, slot, &record, &image), RTX_NOTHING);
	assert_int_equal(rtx_record_judge(tx.word ^ 1ull << 32, slot, &record, &image),
			 RTX_NOTHING);
}

static void test_dead(void **state)
{
	struct index_client line = {.cid = 7, .epoch = 3, .state = INDEX_CLIENT_ALIVE};

	(void)state;
	assert_false(rtx_is_dead(&line, 7, 3));
	line.state = INDEX_CLIENT_FENCING;
	assert_false(rtx_is_dead(&line, 7, 3));
	line.state = INDEX_CLIENT_DEAD;
	assert_true(rtx_is_dead(&line, 7, 3));
	assert_false(rtx_is_dead(&line, 7, 4));
	assert_false(rtx_is_dead(&line, 8, 3));
	line.epoch = 4;
	line.state = INDEX_CLIENT_ALIVE;
	assert_true(rtx_is_dead(&line, 7, 3));
}

/* The control: the same chains without log. */
static void test_ft_off(void **state)
{
	struct fake_client *c = start(4);
	const struct rtx_intent intent = {.op = INDEX_LOG_TREE_SPLIT};
	struct rtx tx;

	(void)state;
	env.ft = false;
	rtx_begin(&tx, &env, 2, local, 0);
	rtx_redo(&tx, &intent, local, 0, 64);
	assert_int_equal(tx.n, 0);
	rtx_lock_read(&tx, LOCK, 0, 0, 0, 0);
	run(c, &tx);
	assert_int_equal(lock_word(), index_lock_make(7, 0, 2, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locks),     cmocka_unit_test(test_order),
		cmocka_unit_test(test_every_cut), cmocka_unit_test(test_judge),
		cmocka_unit_test(test_dead),      cmocka_unit_test(test_ft_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
