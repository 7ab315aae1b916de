/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ID = 0x77 };

static void see(struct follow *f, unsigned node, int64_t time, unsigned point, unsigned other, bool reply,
		uint32_t trace)
{
	struct event ev = {.kind = EVENT_MESSAGE,
			   .point = (uint8_t)point,
			   .node = (uint8_t)node,
			   .time_ns = (uint64_t)time,
			   .where = other << 24 | (point <= TRACE_POINT_TO_RING ? 5 : 0)};

	ev.msg.opcode = OP_ECHO_ECHO;
	ev.msg.trace_id = trace;
	ev.msg.req_id = 9;
	ev.msg.flags = reply ? MESSAGE_FLAG_REPLY : 0;
	ev.entry.seq = f->count;
	follow_add(f, &ev);
}

/* Node 2's clock is @ahead of node 1's; a message takes 1000 there and 1000 back. In the order of nodes. */
static void trip(struct follow *f, int64_t ahead)
{
	const int64_t t = 1000000;

	follow_begin(f, ID);
	see(f, 2, t + ahead + 1100, TRACE_POINT_FROM_LINK, 1, false, ID);
	see(f, 2, t + ahead + 1100, TRACE_POINT_TO_RING, 2, false, ID);
	see(f, 2, t + ahead + 1500, TRACE_POINT_TO_LINK, 1, true, ID);
	see(f, 1, t, TRACE_POINT_FROM_RING, 1, false, ID);
	see(f, 1, t + 100, TRACE_POINT_TO_LINK, 2, false, ID);
	see(f, 1, t + 300, TRACE_POINT_TO_LINK, 2, false, ID + 1); /* of another request */
	see(f, 1, t + 2500, TRACE_POINT_FROM_LINK, 2, true, ID);
	see(f, 1, t + 2600, TRACE_POINT_TO_RING, 1, true, ID);
}

static void clocks_are_brought_together(void **state)
{
	static const int64_t ahead[] = {0, 500, -700, 3600000000000, -900000};
	static const uint8_t points[] = {
		TRACE_POINT_FROM_RING, TRACE_POINT_TO_LINK,   TRACE_POINT_FROM_LINK, TRACE_POINT_TO_RING,
		TRACE_POINT_TO_LINK,   TRACE_POINT_FROM_LINK, TRACE_POINT_TO_RING};
	struct follow f;

	(void)state;
	for (unsigned i = 0; i < sizeof(ahead) / sizeof(ahead[0]); i++) {
		trip(&f, ahead[i]);
		assert_int_equal(f.count, 7);
		assert_true(follow_complete(&f));
		follow_order(&f);
		assert_int_equal(f.offset_ns[2], -ahead[i]);
		for (unsigned k = 0; k < 7; k++)
			assert_int_equal(f.events[k].point, points[k]);
		assert_int_equal(f.events[6].time_ns - f.events[0].time_ns, 2600);
		follow_end(&f);
	}
}

static void what_is_not_answered_is_said(void **state)
{
	char text[4096] = "";
	FILE *to = fmemopen(text, sizeof(text), "w");
	struct follow f;

	(void)state;
	follow_begin(&f, ID);
	assert_false(follow_complete(&f));
	see(&f, 1, 1000, TRACE_POINT_FROM_RING, 1, false, ID);
	see(&f, 1, 2000, TRACE_POINT_TO_LINK, 2, false, ID);
	assert_false(follow_complete(&f));
	follow_order(&f);
	follow_print(&f, to);
	fclose(to);
	assert_non_null(strstr(text, "2 sightings on 1 node, 1.000 us, not answered"));
	assert_non_null(strstr(text, "echo.echo request"));
	follow_end(&f);
}

static void there_may_be_too_many(void **state)
{
	struct follow f;

	(void)state;
	follow_begin(&f, ID);
	for (unsigned i = 0; i < FOLLOW_EVENTS_MAX + 5; i++)
		see(&f, 1, 1000, TRACE_POINT_FROM_RING, 1, false, ID);
	assert_int_equal(f.count, FOLLOW_EVENTS_MAX);
	assert_true(f.full);
	follow_order(&f);
	follow_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_are_brought_together),
		cmocka_unit_test(what_is_not_answered_is_said),
		cmocka_unit_test(there_may_be_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
