/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/filter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int known(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "b") == 0 ? 2 : strcmp(name, "node-a") == 0 ? 1 : -1;
}

static const struct filter_names names = {known, NULL};

/* A request 1/3 -> 2/5, seen where node 1 sends it. */
static struct event request(void)
{
	struct proto_trace_entry e = {.magic = PROTO_TRACE_ENTRY_MAGIC,
				      .point = TRACE_POINT_TO_LINK,
				      .node = 1,
				      .endpoint = 2 << 24,
				      .captured = 4};
	struct event ev;
	struct proto_msg m;

	proto_request_init(&m, OP_INDEX_OPEN);
	m.src = 1 << 24 | 3;
	m.dst_slot = 5;
	m.req_id = 0x1234567890;
	m.trace_id = 7;
	m.length = 4;
	m.arg[0] = 9;
	m.nargs = 8;
	m.arg[ARG_INDEX_OPEN_OLD_CID] = 77;
	assert_int_equal(proto_msg_slots(&m), 2);
	{
		uint8_t slots[2 * PROTO_SLOT_SIZE] = {0};

		proto_msg_pack(&m, slots);
		memcpy(e.slot0, slots, PROTO_SLOT_SIZE);
		memcpy(e.slot1, slots + PROTO_SLOT_SIZE, PROTO_SLOT_SIZE);
	}
	memcpy(e.data, "main", 4);
	assert_true(event_read(&e, &ev));
	return ev;
}

/* Its answer, put on the asker's ring. */
static struct event reply(void)
{
	struct proto_trace_entry e = {.magic = PROTO_TRACE_ENTRY_MAGIC,
				      .point = TRACE_POINT_TO_RING,
				      .node = 1,
				      .endpoint = 1 << 24 | 3};
	struct event ev;
	struct proto_msg m = {.opcode = OP_INDEX_OPEN,
			      .flags = MESSAGE_FLAG_REPLY,
			      .status = STATUS_LIMIT,
			      .src = 2 << 24 | 5};

	proto_msg_pack(&m, e.slot0);
	assert_true(event_read(&e, &ev));
	return ev;
}

static struct event verb(void)
{
	struct proto_trace_entry e = {
		.magic = PROTO_TRACE_ENTRY_MAGIC, .point = TRACE_POINT_VERB, .node = 1, .endpoint = 1 << 24 | 3};
	struct proto_verb v = {.op = VERB_OP_CAS, .lane = 4, .cookie = 11, .len = 8};
	struct event ev;

	memcpy(e.slot0, &v, sizeof(v));
	assert_true(event_read(&e, &ev));
	return ev;
}

static struct event completion(void)
{
	struct proto_trace_entry e = {.magic = PROTO_TRACE_ENTRY_MAGIC,
				      .point = TRACE_POINT_COMPLETION,
				      .node = 1,
				      .endpoint = 1 << 24 | 3};
	struct proto_completion c = {
		.lane = 4, .count = 3, .cookie = 11, .status = {STATUS_OK, STATUS_RANGE, STATUS_CANCELLED}};
	struct event ev;

	memcpy(e.slot0, &c, sizeof(c));
	assert_true(event_read(&e, &ev));
	return ev;
}

enum { REQUEST = 1, REPLY = 2, VERB = 4, COMPLETION = 8 };

static void passes(const char *text, unsigned which)
{
	struct event ev[4] = {request(), reply(), verb(), completion()};
	struct filter *f = filter_new();
	struct filter_error err;

	if (filter_and(f, text, &names, &err))
		fail_msg("%s: %s at %zu", text, err.text, err.at);
	for (unsigned i = 0; i < 4; i++)
		if (filter_match(f, &ev[i]) != ((which >> i & 1) != 0))
			fail_msg("%s: record %u", text, i);
	filter_free(f);
}

static void each_field_is_tested(void **state)
{
	(void)state;
	passes("", 15);
	passes("opcode index.*", REQUEST | REPLY);
	passes("opcode=index.open", REQUEST | REPLY);
	passes("opcode != 'index.o?en'", 0);
	passes("opcode != echo.*", REQUEST | REPLY);
	passes("opcode 0x1101", REQUEST | REPLY);
	passes("status limit", REPLY);
	passes("status != ok", REPLY | COMPLETION);
	passes("status = OK", COMPLETION);
	passes("status range", COMPLETION);
	passes("point to-link", REQUEST);
	passes("point != to-link", REPLY | VERB | COMPLETION);
	passes("src node-a/3", REQUEST | VERB);
	passes("src 1", REQUEST | VERB);
	passes("src 1/4", 0);
	passes("src b", REPLY);
	passes("dst node-b", REQUEST);
	passes("dst node2/5", REQUEST);
	passes("dst != b", REPLY | COMPLETION);
	passes("endpoint 1/3", 15);
	passes("node b", REQUEST | REPLY);
	passes("node != b", VERB | COMPLETION);
	passes("at node-a", 15);
	passes("at 2", 0);
	passes("op cas", VERB);
	passes("payload m*n", REQUEST);
	passes("length >= 4", REQUEST | VERB);
	passes("length<5", REQUEST | REPLY);
	passes("req 0x1234567890", REQUEST);
	passes("trace 7", REQUEST);
	passes("trace > 7", 0);
	passes("budget 0", REQUEST | REPLY);
	passes("lane 4", VERB | COMPLETION);
	passes("cookie <= 11", VERB | COMPLETION);
	passes("arg0 = 9", REQUEST);
	passes("arg.version 9", REQUEST);
	passes("arg.old_cid 77", REQUEST);
	passes("arg21 0", REQUEST | REPLY);
	passes("request", REQUEST);
	passes("reply", REPLY);
	passes("verb", VERB);
	passes("completion", COMPLETION);
	passes("message", REQUEST | REPLY);
	passes("event", 0);
	passes("async", 0);
}

static void and_binds_before_or(void **state)
{
	(void)state;
	passes("opcode index.* and dst node-b and status != ok", 0);
	passes("opcode index.* and src b and status != ok", REPLY);
	passes("verb or reply and status ok", VERB);
	passes("(verb or reply) and status limit", REPLY);
	passes("not verb", 15 & ~VERB);
	passes("!verb && !(completion||reply)", REQUEST);
	passes("not not verb", VERB);
	passes("  \tverb\n", VERB);
}

static void one_filter_narrows_another(void **state)
{
	struct event ev = request();
	struct filter *f = filter_new();
	struct filter_error err;

	(void)state;
	assert_true(filter_match(f, &ev));
	assert_int_equal(filter_and(f, "request", NULL, &err), 0);
	assert_int_equal(filter_and(f, "trace 7", NULL, &err), 0);
	assert_true(filter_match(f, &ev));
	assert_int_equal(filter_and(f, "nonsense", NULL, &err), -EINVAL);
	assert_true(filter_match(f, &ev)); /* as before */
	assert_int_equal(filter_and(f, "verb", NULL, &err), 0);
	assert_false(filter_match(f, &ev));
	filter_free(f);
}

static void errors_say_where(void **state)
{
	static const struct {
		const char *text;
		size_t at;
		const char *says;
	} wrong[] = {
		{"opcde x", 0, "no field"},
		{"opcode", 6, "value is missing"},
		{"opcode =", 8, "value is missing"},
		{"opcode index.opne", 7, "no opcode"},
		{"status fine", 7, "no status 'fine'"},
		{"status ok and", 13, "missing at the end"},
		{"status ok or )", 13, "field's name"},
		{"(status ok", 10, "')' is missing"},
		{"status ok)", 9, "'and' or 'or'"},
		{"status ok verb", 10, "'and' or 'or'"},
		{"point moon", 6, "no point"},
		{"src mars", 4, "no node 'mars'"},
		{"src 1/x", 6, "no endpoint"},
		{"src 300", 4, "no node"},
		{"node 1/2", 5, "alone"},
		{"src > 1", 6, "no order"},
		{"length many", 7, "no number"},
		{"length 99999999999999999999", 7, "no number"},
		{"arg22 1", 0, "numbered from 0 to 21"},
		{"arg.moon 1", 4, "no opcode has"},
		{"opcode 'x", 7, "no end"},
		{"verb | reply", 5, "no meaning"},
		{"\x01\xff", 0, "no field"},
	};
	struct filter *f = filter_new();
	struct filter_error err;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (filter_and(f, wrong[i].text, &names, &err) != -EINVAL)
			fail_msg("%s is taken", wrong[i].text);
		if (err.at != wrong[i].at || !strstr(err.text, wrong[i].says))
			fail_msg("%s: %s at %zu", wrong[i].text, err.text, err.at);
	}
	filter_free(f);
}

static void size_and_depth_are_bounded(void **state)
{
	struct filter *f = filter_new();
	struct filter_error err;
	char *text = malloc(100001);

	(void)state;
	memset(text, '(', 100000);
	text[100000] = 0;
	assert_int_equal(filter_and(f, text, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "deep"));
	memset(text, '!', 100000);
	assert_int_equal(filter_and(f, text, NULL, &err), -EINVAL);
	memset(text, 'x', 100000);
	assert_int_equal(filter_and(f, text, NULL, &err), -EINVAL);
	for (unsigned i = 0; i < 12000; i++)
		memcpy(text + i * 8, "verb or ", 8);
	text[12000 * 8] = 0;
	assert_int_equal(filter_and(f, text, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.text, "more than"));
	free(text);
	filter_free(f);
}

/* Whatever an entry holds, it is refused or can be asked about. */
static void entries_may_hold_anything(void **state)
{
	struct filter *f = filter_new();
	struct filter_error err;
	struct proto_trace_entry e;
	struct event ev;

	(void)state;
	srand(1);
	assert_int_equal(filter_and(f, "status ok or arg.gen 1 or payload *x or opcode != dp.* or dst 1",
				    NULL, &err), 0);
	for (unsigned i = 0; i < 200000; i++) {
		for (unsigned k = 0; k < sizeof(e); k++)
			((uint8_t *)&e)[k] = (uint8_t)rand();
		assert_true(e.magic == PROTO_TRACE_ENTRY_MAGIC || !event_read(&e, &ev));
		e.magic = PROTO_TRACE_ENTRY_MAGIC;
		e.point = (uint8_t)(rand() % 9);
		if (event_read(&e, &ev)) {
			filter_match(f, &ev);
			assert_true(ev.captured <= sizeof(ev.data));
			assert_non_null(event_kind_name(&ev));
		}
	}
	filter_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_tested),
		cmocka_unit_test(and_binds_before_or),
		cmocka_unit_test(one_filter_narrows_another),
		cmocka_unit_test(errors_say_where),
		cmocka_unit_test(size_and_depth_are_bounded),
		cmocka_unit_test(entries_may_hold_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
