/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "ipc/counters.h"

static void page(void **state)
{
	static const struct counter_info info[] = {{"first", "bytes", "one", COUNTER_SUM},
						   {"second", "turns", "two", COUNTER_LEVEL}};
	struct counters_page *p = calloc(1, sizeof(*p));

	(void)state;
	assert_non_null(p);
	assert_int_equal(counters_check(p, sizeof(*p)), -EPROTO); /* not yet set up */
	counters_format(p, info, 2);
	assert_int_equal(counters_check(p, sizeof(*p)), 0);
	assert_int_equal(p->count, 2);
	assert_string_equal(p->info[1].name, "second");
	counter_add(&p->value[1], 3);
	counter_add(&p->value[1], 4);
	assert_int_equal(counters_read(p, 0), 0);
	assert_int_equal(counters_read(p, 1), 7);
	/* a page that is too small, of another version, or that claims too much */
	assert_int_equal(counters_check(p, sizeof(*p) - 1), -EPROTO);
	p->count = COUNTERS_MAX + 1;
	assert_int_equal(counters_check(p, sizeof(*p)), -EPROTO);
	p->count = 2;
	p->major++;
	assert_int_equal(counters_check(p, sizeof(*p)), -EPROTO);
	free(p);
}

/* A slot is read whole, or not at all. */
static void slot(void **state)
{
	struct counters_page *p = calloc(1, sizeof(*p));
	struct counters_slot s = {.kind = SLOT_LANE, .lane = 3, .node = 7, .version = 99}, out;

	(void)state;
	assert_non_null(p);
	assert_false(counters_slot_read(p, 5, &out)); /* free */
	s.value[SLOT_BYTES] = 11;
	memset(s.name, 'x', sizeof(s.name));
	counters_slot_write(&p->slot[5], &s);
	assert_true(counters_slot_read(p, 5, &out));
	assert_int_equal(out.lane, 3);
	assert_int_equal(out.node, 7);
	assert_int_equal(out.value[SLOT_BYTES], 11);
	assert_int_equal(strlen(out.name), sizeof(out.name) - 1);
	p->slot[5].version |= 1; /* its writer stopped in the middle */
	assert_false(counters_slot_read(p, 5, &out));
	counters_slot_write(&p->slot[5], &s);
	assert_true(counters_slot_read(p, 5, &out));
	s.kind = 9;
	counters_slot_write(&p->slot[5], &s);
	assert_false(counters_slot_read(p, 5, &out));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(page), cmocka_unit_test(slot)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
