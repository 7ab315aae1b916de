/* SPDX-License-Identifier: Apache-2.0 */
/* The echo service against a dataplane that the test plays; the clock is the test's. */
#include "tests/unit/ipc_pair.h"

#include "ipc/endpoint_impl.h"
#include "services/echo/echo.h"

struct rig {
	struct pair p;
	struct service s;
	struct echo state;
};

static int rig_make(void **state)
{
	static struct rig r;

	memset(&r, 0, sizeof(r));
	pair_make(&r.p);
	r.s = (struct service){.ops = &echo_ops, .state = &r.state, .timer_ns = UINT64_MAX, .now_ns = 1000};
	service_bind(&r.s, endpoint_new());
	assert_non_null(r.s.ep);
	assert_int_equal(endpoint_bind(r.s.ep, r.p.half[1], r.p.half[0], PAIR_SLOTS, PAIR_ARENA), 0);
	*state = &r;
	return 0;
}

static int rig_free(void **state)
{
	struct rig *r = *state;

	free(r->s.ep);
	pair_free(&r->p);
	return 0;
}

static void ask(struct rig *r, uint16_t opcode, uint64_t id, uint64_t a, uint64_t b, const char *text)
{
	struct proto_msg m;

	proto_request_init(&m, opcode);
	m.req_id = id;
	m.arg[0] = a;
	m.arg[1] = b;
	m.nargs = b ? 2 : 1;
	m.length = text ? (uint32_t)strlen(text) : 0;
	pair_send(&r->p.a, &m, text);
	assert_int_equal(atoll_poll(r->s.ep, 8), 1);
}

/* The next answer is to @id. */
static void answered(struct rig *r, uint64_t id, uint16_t status, uint64_t a, const char *text)
{
	struct proto_msg m;
	char data[64] = "";

	assert_true(pair_recv(&r->p.a, &m, data));
	assert_int_equal(m.flags, MESSAGE_FLAG_REPLY);
	assert_int_equal(m.req_id, id);
	assert_int_equal(m.status, status);
	if (status == STATUS_OK) {
		assert_int_equal(m.arg[0], a);
		assert_int_equal(proto_message_check(&m, PROTO_TO_CLIENT), STATUS_OK);
	}
	assert_string_equal(data, text);
}

static void quiet(struct rig *r)
{
	struct proto_msg m;

	assert_false(pair_recv(&r->p.a, &m, NULL));
}

static void at(struct rig *r, uint64_t ns)
{
	r->s.now_ns = ns;
	if (ns >= r->s.timer_ns) {
		r->s.timer_ns = UINT64_MAX;
		echo_ops.timer(&r->s);
	}
}

static void echoes(void **state)
{
	struct rig *r = *state;

	ask(r, OP_ECHO_ECHO, 1, 77, 0, "over the lagoon");
	answered(r, 1, STATUS_OK, 77, "over the lagoon");
	ask(r, OP_ECHO_ECHO, 2, 78, 0, NULL);
	answered(r, 2, STATUS_OK, 78, "");
	ask(r, OP_INDEX_STAT, 3, 0, 0, NULL); /* another service's */
	answered(r, 3, STATUS_UNSUPPORTED, 0, "");
	ask(r, OP_ECHO_DELAY, 4, 0, 10000001, NULL); /* longer than the schema allows */
	answered(r, 4, STATUS_BAD_MESSAGE, 0, "");
}

/* Answers come when they are due, not in the order of the questions. */
static void delays(void **state)
{
	static const uint64_t us[] = {50, 10, 40, 20, 30};
	struct rig *r = *state;

	for (uint64_t i = 0; i < 5; i++)
		ask(r, OP_ECHO_DELAY, 10 + i, i, us[i], NULL);
	assert_int_equal(r->s.timer_ns, 1000 + 10000);
	at(r, 1000 + 9999);
	quiet(r);
	at(r, 1000 + 10000);
	answered(r, 11, STATUS_OK, 1, "");
	quiet(r);
	ask(r, OP_ECHO_ECHO, 99, 1, 0, NULL); /* others are served meanwhile */
	answered(r, 99, STATUS_OK, 1, "");
	at(r, 1000 + 45000);
	answered(r, 13, STATUS_OK, 3, "");
	answered(r, 14, STATUS_OK, 4, "");
	answered(r, 12, STATUS_OK, 2, "");
	quiet(r);
	at(r, 1000 + 50000);
	answered(r, 10, STATUS_OK, 0, "");
	assert_int_equal(r->s.timer_ns, UINT64_MAX);
}

static void limit(void **state)
{
	struct rig *r = *state;
	unsigned n = 0;
	struct proto_msg m;

	for (unsigned i = 0; i < ECHO_DELAYED_MAX; i++) {
		ask(r, OP_ECHO_DELAY, 100 + i, i, 1000 + (i * 7919) % 1000, NULL);
		quiet(r);
	}
	ask(r, OP_ECHO_DELAY, 5000, 0, 1000, NULL);
	answered(r, 5000, STATUS_LIMIT, 0, "");
	for (unsigned us = 1000; us <= 2000; us++) {
		at(r, 1000 + us * 1000);
		while (pair_recv(&r->p.a, &m, NULL)) {
			assert_int_equal(1000 + (m.arg[0] * 7919) % 1000, us); /* just when it is due */
			n++;
		}
	}
	assert_int_equal(n, ECHO_DELAYED_MAX);
	ask(r, OP_ECHO_DELAY, 5001, 0, 1000, NULL);
	quiet(r);
}

static void dataplane_restarted(void **state)
{
	struct rig *r = *state;

	ask(r, OP_ECHO_DELAY, 1, 0, 10, NULL);
	echo_ops.reattached(&r->s);
	at(r, 1000000000);
	quiet(r); /* its token is the old dataplane's */
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_make, rig_free)

int main(void)
{
	const struct CMUnitTest tests[] = {T(echoes), T(delays), T(limit), T(dataplane_restarted)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
