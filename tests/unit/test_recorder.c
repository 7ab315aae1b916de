/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/recorder.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 64 };

struct memory {
	struct proto_recorder_head head;
	struct proto_recorder_entry entries[ENTRIES];
};

/* As a dataplane writes it that has seen @n records. */
static void fill(struct memory *m, uint32_t n)
{
	memset(m, 0, sizeof(*m));
	m->head = (struct proto_recorder_head){
		.magic = PROTO_RECORDER_HEAD_MAGIC, .major = PROTO_MAJOR, .node = 3, .entries = ENTRIES};
	for (uint32_t i = 0; i < n; i++) {
		struct proto_recorder_entry *e = &m->entries[i & (ENTRIES - 1)];

		*e = (struct proto_recorder_entry){.time_ns = 1000 + i,
						   .endpoint = 3 << 24 | 1,
						   .seq = (uint16_t)(i + 1),
						   .point = TRACE_POINT_TO_RING};
	}
}

static void holds(const struct memory *m, uint32_t first, uint32_t count)
{
	struct recorder r;

	assert_int_equal(recorder_parse(&r, m, sizeof(*m)), 0);
	assert_int_equal(r.count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(r.entries[i].time_ns, 1000 + first + i);
		assert_int_equal(r.entries[i].magic, PROTO_TRACE_ENTRY_MAGIC);
		assert_int_equal(r.entries[i].node, 3);
	}
	recorder_free(&r);
}

static void records_come_from_the_oldest_on(void **state)
{
	static const uint32_t over[] = {ENTRIES + 1, 1000, 65535, 65536, 65537, 65600, 131072 + 7};
	struct memory m;

	(void)state;
	fill(&m, 0);
	holds(&m, 0, 0);
	fill(&m, 1);
	holds(&m, 0, 1);
	fill(&m, ENTRIES - 1);
	holds(&m, 0, ENTRIES - 1);
	/* full: the oldest may be half overwritten */
	fill(&m, ENTRIES);
	holds(&m, 1, ENTRIES - 1);
	for (unsigned i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
		fill(&m, over[i]);
		holds(&m, over[i] - ENTRIES + 1, ENTRIES - 1);
	}
}

static void a_write_that_was_cut_short_is_left_out(void **state)
{
	struct memory m;

	(void)state;
	fill(&m, 100);
	/* everything but seq of record 100 */
	m.entries[100 & (ENTRIES - 1)].time_ns = 77;
	memset(m.entries[100 & (ENTRIES - 1)].record, 0xff, sizeof(m.entries[0].record));
	holds(&m, 100 - ENTRIES + 1, ENTRIES - 1);
}

static void other_memory_is_refused(void **state)
{
	struct recorder r;
	struct memory m;

	(void)state;
#define REFUSED(change) \
	do { \
		fill(&m, 5); \
		change; \
		assert_int_equal(recorder_parse(&r, &m, sizeof(m)), -EPROTO); \
	} while (0)
	REFUSED(m.head.magic = 0);
	REFUSED(m.head.major++);
	REFUSED(m.head.entries = 0);
	REFUSED(m.head.entries = 63);
	REFUSED(m.head.entries = 128);
	REFUSED(m.head.entries = 1u << 31);
#undef REFUSED
	fill(&m, 5);
	assert_int_equal(recorder_parse(&r, &m, 63), -EPROTO);
	assert_int_equal(recorder_parse(&r, &m, 64), -EPROTO);
}

static void any_content_is_survived(void **state)
{
	struct recorder r;
	struct memory m;

	(void)state;
	srand(1);
	for (unsigned i = 0; i < 3000; i++) {
		fill(&m, (uint32_t)rand() % 200);
		for (unsigned k = (unsigned)rand() % 200; k > 0; k--)
			((uint8_t *)m.entries)[(unsigned)rand() % sizeof(m.entries)] = (uint8_t)rand();
		assert_int_equal(recorder_parse(&r, &m, sizeof(m)), 0);
		assert_true(r.count <= ENTRIES);
		recorder_free(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_from_the_oldest_on),
		cmocka_unit_test(a_write_that_was_cut_short_is_left_out),
		cmocka_unit_test(other_memory_is_refused),
		cmocka_unit_test(any_content_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
