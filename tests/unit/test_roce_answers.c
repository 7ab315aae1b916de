/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of failures, over PSN wrap and age; and the heap of timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/roce/answers.h"

static struct responder fresh(void)
{
	static struct failure ring[FAILURES];

	return (struct responder){.failures = ring};
}

static void test_find_and_count(void **state)
{
	struct responder rs = fresh();
	uint32_t n;

	(void)state;
	assert_true(failures_until(&rs, 5, &n));
	assert_int_equal(n, 0);
	failures_add(&rs, 0xfffffe, 3);
	failures_add(&rs, 1, 4);
	failures_add(&rs, 5, 5);
	assert_int_equal(failures_find(&rs, 0xfffffe, &n)->status, 3);
	assert_int_equal(n, 0);
	assert_int_equal(failures_find(&rs, 1, &n)->status, 4);
	assert_int_equal(n, 1);
	assert_int_equal(failures_find(&rs, 5, &n)->status, 5);
	assert_int_equal(n, 2);
	assert_null(failures_find(&rs, 0, &n));
	assert_true(failures_until(&rs, 0xfffffd, &n));
	assert_int_equal(n, 0);
	assert_true(failures_until(&rs, 0, &n));
	assert_int_equal(n, 1);
	assert_true(failures_until(&rs, 100, &n));
	assert_int_equal(n, 3);
}

static void test_full_ring_knows_what_it_forgot(void **state)
{
	struct responder rs = fresh();
	uint32_t n;

	(void)state;
	for (uint32_t i = 0; i < FAILURES + 10; i++)
		failures_add(&rs, i, 1);
	assert_null(failures_find(&rs, 9, &n));
	assert_false(failures_until(&rs, 9, &n));
	assert_true(failures_until(&rs, 10, &n));
	assert_int_equal(n, 11);
	assert_non_null(failures_find(&rs, FAILURES + 9, &n));
	assert_int_equal(n, FAILURES + 9);
}

static void test_age(void **state)
{
	struct responder rs = fresh();
	uint32_t n;

	(void)state;
	failures_add(&rs, 10, 1);
	failures_add(&rs, 1 << 21, 2);
	rs.epsn = (1 << 22) + 11;
	failures_age(&rs);
	assert_null(failures_find(&rs, 10, &n));
	assert_non_null(failures_find(&rs, 1 << 21, &n));
	assert_int_equal(n, 1);
	/* What is this old counts as before everything that can be asked about. */
	rs.epsn = 1 << 23;
	failures_age(&rs);
	assert_int_equal(rs.forgotten, 2);
	assert_true(failures_until(&rs, (1 << 23) - 100, &n));
	assert_int_equal(n, 2);
}

static uint64_t deadline_of(const struct roce_qp *qp)
{
	return qp->rq.deadline;
}

static void test_timers(void **state)
{
	enum {
		QPS = 200
	};
	static struct roce_qp qps[QPS];
	struct roce_qp *heap[QPS + 2], *qp;
	struct roce_dev dev = {.timers = heap};
	uint64_t random = 9, last = 0;
	unsigned fired = 0;

	(void)state;
	for (unsigned i = 0; i < QPS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		qps[i].rq.deadline = 1 + (random >> 40) % 1000;
		timer_set(&dev, &qps[i], qps[i].rq.deadline);
	}
	for (unsigned i = 0; i < QPS; i += 4) /* moved: later, earlier, off, gone */
		qps[i].rq.deadline += 500;
	for (unsigned i = 1; i < QPS; i += 4) {
		qps[i].rq.deadline = 1 + qps[i].rq.deadline / 2;
		timer_set(&dev, &qps[i], qps[i].rq.deadline);
	}
	for (unsigned i = 2; i < QPS; i += 4)
		qps[i].rq.deadline = 0;
	for (unsigned i = 3; i < QPS; i += 4)
		timer_remove(&dev, &qps[i]);
	for (uint64_t now = 0; now < 2000; now++) {
		while ((qp = timer_take(&dev, now, deadline_of))) {
			assert_true(qp->rq.deadline == now);
			assert_true(now >= last);
			assert_int_equal((qp - qps) % 4 / 2, 0);
			last = now;
			fired++;
		}
	}
	assert_int_equal(fired, QPS / 2);
	assert_int_equal(dev.timer_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_and_count),
		cmocka_unit_test(test_full_ring_knows_what_it_forgot),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
