/* SPDX-License-Identifier: Apache-2.0 */
/* The checker accepts what a map can do and, above all, rejects what it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/linearize.h"

#define OP(k, c, r, kd, res, v)                                                                    \
	{                                                                                          \
		.key = (k), .called = (c), .returned = (r), .value = (v), .kind = LIN_##kd,        \
		.result = LIN_##res                                                                \
	}
#define CHECK(...)                                                                                 \
	check((struct lin_op[]){__VA_ARGS__},                                                      \
	      sizeof((struct lin_op[]){__VA_ARGS__}) / sizeof(struct lin_op))

static int check(struct lin_op *ops, size_t n)
{
	uint64_t bad = 0;
	int rc = lin_check(ops, n, &bad);

	if (rc == 0)
		assert_true(bad == 1 || bad == 2);
	return rc;
}

static void test_accepts(void **state)
{
	(void)state;
	assert_int_equal(lin_check(NULL, 0, NULL), 1);
	assert_int_equal(CHECK(OP(1, 1, 2, GET, ABSENT, 0)), 1);
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(1, 3, 4, GET, OK, 7)), 1);
	/* concurrent: either order */
	assert_int_equal(CHECK(OP(1, 1, 4, PUT, OK, 7), OP(1, 2, 3, GET, ABSENT, 0)), 1);
	assert_int_equal(CHECK(OP(1, 1, 4, PUT, OK, 7), OP(1, 2, 3, GET, OK, 7)), 1);
	assert_int_equal(CHECK(OP(1, 1, 4, INSERT, OK, 7), OP(1, 2, 5, INSERT, PRESENT, 8),
			       OP(1, 6, 7, GET, OK, 7)),
			 1);
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(1, 3, 8, DELETE, OK, 0),
			       OP(1, 4, 7, INSERT, OK, 9), OP(1, 9, 10, GET, OK, 9)),
			 1);
	/* nobody knows: applied late, or never */
	assert_int_equal(CHECK(OP(1, 1, 0, PUT, UNKNOWN, 7), OP(1, 3, 4, GET, ABSENT, 0),
			       OP(1, 5, 6, GET, OK, 7)),
			 1);
	assert_int_equal(CHECK(OP(1, 1, 0, PUT, UNKNOWN, 7), OP(1, 3, 4, GET, ABSENT, 0),
			       OP(1, 5, 6, GET, ABSENT, 7)),
			 1);
	/* keys do not touch each other */
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(2, 3, 4, GET, ABSENT, 0)), 1);
}

static void test_rejects(void **state)
{
	(void)state;
	/* a value that nobody stored, one that was stored later, one that was lost */
	assert_int_equal(CHECK(OP(1, 1, 2, GET, OK, 7)), 0);
	assert_int_equal(CHECK(OP(1, 1, 2, GET, OK, 7), OP(1, 3, 4, PUT, OK, 7)), 0);
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(1, 3, 4, GET, ABSENT, 0)), 0);
	assert_int_equal(
		CHECK(OP(1, 1, 2, PUT, OK, 7), OP(1, 3, 4, PUT, OK, 8), OP(1, 5, 6, GET, OK, 7)),
		0);
	/* two inserts that both succeed, an insert beside a key, an update of nothing */
	assert_int_equal(CHECK(OP(1, 1, 4, INSERT, OK, 7), OP(1, 2, 3, INSERT, OK, 8)), 0);
	assert_int_equal(CHECK(OP(1, 1, 2, INSERT, PRESENT, 7)), 0);
	assert_int_equal(CHECK(OP(2, 1, 2, UPDATE, OK, 7)), 0);
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(1, 3, 4, DELETE, ABSENT, 0)), 0);
	/* two gets that disagree about the order */
	assert_int_equal(CHECK(OP(1, 1, 9, PUT, OK, 7), OP(1, 2, 3, GET, OK, 7),
			       OP(1, 4, 5, GET, ABSENT, 0)),
			 0);
	assert_int_equal(CHECK(OP(1, 1, 12, PUT, OK, 7), OP(1, 2, 13, PUT, OK, 8),
			       OP(1, 3, 4, GET, OK, 7), OP(1, 5, 6, GET, OK, 8),
			       OP(1, 7, 8, GET, OK, 7)),
			 0);
	/* an unknown one is applied once, and not before its call */
	assert_int_equal(CHECK(OP(1, 1, 2, GET, OK, 7), OP(1, 3, 0, PUT, UNKNOWN, 7)), 0);
	assert_int_equal(CHECK(OP(1, 1, 0, PUT, UNKNOWN, 7), OP(1, 2, 3, GET, OK, 7),
			       OP(1, 4, 5, DELETE, OK, 0), OP(1, 6, 7, GET, OK, 7)),
			 0);
	/* the second key is the bad one */
	assert_int_equal(CHECK(OP(1, 1, 2, PUT, OK, 7), OP(2, 3, 4, GET, OK, 7)), 0);
}

/* Long and mostly sequential, as histories are: found at once, not after an exponential search. */
static void test_long(void **state)
{
	static struct lin_op ops[3000];
	size_t n = 0;

	(void)state;
	for (uint64_t i = 0; n + 3 <= 3000; i++) {
		ops[n++] = (struct lin_op)OP(1, 10 * i + 1, 10 * i + 6, PUT, OK, i + 1);
		ops[n++] = (struct lin_op)OP(1, 10 * i + 2, 10 * i + 7, GET, OK, i + 1);
		ops[n++] = (struct lin_op)OP(1, 10 * i + 3, 10 * i + 12, GET, OK, i + 1);
	}
	assert_int_equal(lin_check(ops, n, NULL), 1);
	ops[n - 1].value = 5;
	assert_int_equal(lin_check(ops, n, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepts),
		cmocka_unit_test(test_rejects),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
