/* SPDX-License-Identifier: Apache-2.0 */
/* The distributions are those of the original generators: their most popular records have its
 * shares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/bench/ycsb.h"

enum {
	N = 100000,
	DRAWS = 2000000
};

static uint32_t count[N];

static int by_count(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x < *y) - (*x > *y);
}

static void draw(enum ycsb_dist dist)
{
	struct ycsb y;

	memset(count, 0, sizeof(count));
	ycsb_begin(&y, dist, N, 7);
	for (unsigned i = 0; i < DRAWS; i++) {
		uint64_t r = ycsb_record(&y);

		assert_true(r < N);
		count[r]++;
	}
}

static double share(unsigned top)
{
	uint64_t sum = 0;

	qsort(count, N, sizeof(*count), by_count);
	for (unsigned i = 0; i < top; i++)
		sum += count[i];
	return 100.0 * (double)sum / DRAWS;
}

static void test_scrambled(void **state)
{
	(void)state;
	draw(YCSB_SCRAMBLED);
	assert_true(share(1) > 3.7 && share(1) < 3.86);
	assert_true(share(100) > 20.5 && share(100) < 21);
}

static void test_zipf(void **state)
{
	(void)state;
	draw(YCSB_ZIPF);
	assert_true(count[0] > count[1] && count[1] > count[10]);
	assert_true(share(1) > 7.7 && share(1) < 7.95);
	draw(YCSB_LATEST);
	assert_true(count[N - 1] > count[N - 2] && count[N - 2] > count[N - 11]);
	assert_true(share(1) > 7.7 && share(1) < 7.95);
	draw(YCSB_UNIFORM);
	assert_true(share(1) < 0.01);
}

static void test_workloads(void **state)
{
	(void)state;
	for (unsigned w = 0; w < YCSB_WORKLOADS; w++) {
		unsigned seen[YCSB_RMW + 1] = {0};
		struct ycsb y;

		ycsb_begin(&y, ycsb_workloads[w].dist, 1000, w);
		assert_int_equal(ycsb_workloads[w].name[0], 'A' + (int)w);
		for (unsigned i = 0; i < 100000; i++)
			seen[ycsb_op(&y, &ycsb_workloads[w])]++;
		for (unsigned op = 0; op <= YCSB_RMW; op++)
			assert_in_range(seen[op] + 800, ycsb_workloads[w].percent[op] * 1000,
					ycsb_workloads[w].percent[op] * 1000 + 1600);
	}
}

static void test_key(void **state)
{
	char key[YCSB_KEY_MAX];

	(void)state;
	assert_int_equal(ycsb_fnv64(0), 6284781860667377211ll);
	assert_int_equal(ycsb_key(0, key), strlen("user6284781860667377211"));
	assert_string_equal(key, "user6284781860667377211");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scrambled),
		cmocka_unit_test(test_zipf),
		cmocka_unit_test(test_workloads),
		cmocka_unit_test(test_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
