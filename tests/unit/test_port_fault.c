/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/port_rig.h"

#include <errno.h>

#include "dataplane/ports/fault.h"

enum {
	A = 0x0a000001,
	B = 0x0a000002,
	COUNT = 4000
};

/* One wire with faults on the way from a to b, and a clock that moves when the test says so. */
struct rig {
	struct port *a, *b;
	uint64_t now;
	unsigned spare_a, spare_b;
};

static uint64_t rig_clock(void *arg)
{
	return ((struct rig *)arg)->now;
}

static void rig_start(struct rig *r, const char *faults)
{
	char spec[160];

	memset(r, 0, sizeof(*r));
	r->now = 1000;
	snprintf(spec, sizeof(spec), "fault:%s/loop:f", faults);
	r->a = rig_open(spec, (struct port_conf){.address = ip_addr_v4(A), .now_ns = rig_clock, .now_arg = r});
	r->b = rig_open("loop:f", (struct port_conf){.address = ip_addr_v4(B)});
	r->spare_a = rig_spare(r->a);
	r->spare_b = rig_spare(r->b);
}

static void rig_end(struct rig *r)
{
	assert_int_equal(rig_spare(r->a), r->spare_a);
	assert_int_equal(rig_spare(r->b), r->spare_b);
	r->a->ops->close(r->a);
	r->b->ops->close(r->b);
}

/* What came since the last call: numbers in their order, -1 for a packet that is not whole. */
static unsigned received(struct rig *r, int *numbers, unsigned max)
{
	struct pkt *pkts[PORT_BURST_MAX];
	unsigned got, n = 0;
	uint32_t number;

	r->a->ops->rx_burst(r->a, pkts, PORT_BURST_MAX);
	while ((got = r->b->ops->rx_burst(r->b, pkts, PORT_BURST_MAX)) > 0) {
		for (unsigned i = 0; i < got && n < max; i++)
			numbers[n++] = rig_good(pkts[i], &number) ? (int)number : -1;
		r->b->ops->free(r->b, pkts, got);
	}
	return n;
}

/* COUNT packets, 1 us apart; then until all is over. */
static unsigned run(struct rig *r, int *numbers, unsigned max)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < COUNT; i++) {
		assert_int_equal(rig_send(r->a, A, B, i, 100), 1);
		r->now += 1000;
		n += received(r, numbers + n, max - n);
	}
	for (int i = 0; i < 100; i++) {
		r->now += 1000000;
		n += received(r, numbers + n, max - n);
	}
	return n;
}

static int numbers[2 * COUNT], again[2 * COUNT];

static void test_no_faults_no_change(void **state)
{
	uint64_t hits[FAULT_KINDS];
	struct rig r;

	(void)state;
	rig_start(&r, "seed=1");
	assert_int_equal(run(&r, numbers, 2 * COUNT), COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(numbers[i], i);
	fault_counts(r.a, hits);
	for (int i = 0; i < FAULT_KINDS; i++)
		assert_int_equal(hits[i], 0);
	rig_end(&r);
}

static void test_each_share_is_kept_and_counted(void **state)
{
	uint64_t hits[FAULT_KINDS];
	unsigned n, bad = 0, out_of_order = 0;
	struct rig r;

	(void)state;
	rig_start(&r, "loss=0.1,seed=3");
	n = run(&r, numbers, 2 * COUNT);
	fault_counts(r.a, hits);
	assert_in_range(hits[FAULT_LOSS], COUNT / 12, COUNT / 8);
	assert_int_equal(n, COUNT - hits[FAULT_LOSS]);
	rig_end(&r);

	rig_start(&r, "dup=0.1,seed=3");
	n = run(&r, numbers, 2 * COUNT);
	fault_counts(r.a, hits);
	assert_in_range(hits[FAULT_DUP], COUNT / 12, COUNT / 8);
	assert_int_equal(n, COUNT + hits[FAULT_DUP]);
	rig_end(&r);

	rig_start(&r, "corrupt=0.1,seed=3");
	n = run(&r, numbers, 2 * COUNT);
	fault_counts(r.a, hits);
	for (unsigned i = 0; i < n; i++)
		bad += numbers[i] == -1 || numbers[i] >= COUNT;
	assert_int_equal(n, COUNT);
	assert_in_range(hits[FAULT_CORRUPT], COUNT / 12, COUNT / 8);
	assert_in_range(bad, hits[FAULT_CORRUPT] * 8 / 10, hits[FAULT_CORRUPT]);
	rig_end(&r);

	rig_start(&r, "reorder=0.1,seed=3");
	n = run(&r, numbers, 2 * COUNT);
	fault_counts(r.a, hits);
	for (unsigned i = 1; i < n; i++)
		out_of_order += numbers[i] < numbers[i - 1];
	assert_int_equal(n, COUNT);
	assert_in_range(hits[FAULT_REORDER], COUNT / 12, COUNT / 8);
	assert_in_range(out_of_order, hits[FAULT_REORDER] / 2, hits[FAULT_REORDER]);
	rig_end(&r);
}

static void test_same_seed_same_faults(void **state)
{
	static const char all[] =
		"loss=0.05,dup=0.05,reorder=0.05,corrupt=0.05,jitter_us=30,seed=%d";
	char faults[128];
	unsigned n, m;
	struct rig r;

	(void)state;
	snprintf(faults, sizeof(faults), all, 7);
	rig_start(&r, faults);
	n = run(&r, numbers, 2 * COUNT);
	rig_end(&r);
	rig_start(&r, faults);
	m = run(&r, again, 2 * COUNT);
	rig_end(&r);
	assert_int_equal(n, m);
	assert_memory_equal(numbers, again, n * sizeof(numbers[0]));
	snprintf(faults, sizeof(faults), all, 8);
	rig_start(&r, faults);
	m = run(&r, again, 2 * COUNT);
	rig_end(&r);
	assert_true(n != m || memcmp(numbers, again, n * sizeof(numbers[0])));
}

static void test_delay_and_rate_follow_the_clock(void **state)
{
	struct rig r;

	(void)state;
	rig_start(&r, "delay_us=20");
	rig_send(r.a, A, B, 1, 100);
	r.now += 19999;
	assert_int_equal(received(&r, numbers, 8), 0);
	assert_int_equal(r.a->ops->arm(r.a), 1); /* something waits for its time */
	r.now += 1;
	assert_int_equal(received(&r, numbers, 8), 1);
	assert_int_equal(r.a->ops->arm(r.a), 0);
	rig_end(&r);

	/* 1250 bytes at 1000 Mb/s: 10 us each, one after the other */
	rig_start(&r, "rate_mbps=1000");
	for (uint32_t i = 0; i < 3; i++)
		rig_send(r.a, A, B, i, 1250 - RIG_HEADERS);
	for (unsigned i = 0; i < 3; i++) {
		r.now += 9999;
		assert_int_equal(received(&r, numbers, 8), 0);
		r.now += 1;
		assert_int_equal(received(&r, numbers, 8), 1);
	}
	rig_end(&r);
}

static void test_held_packets_are_bounded(void **state)
{
	uint64_t hits[FAULT_KINDS];
	struct rig r;

	(void)state;
	rig_start(&r, "delay_us=1000");
	for (uint32_t i = 0; i < 1500; i++)
		assert_int_equal(rig_send(r.a, A, B, i, 64), 1);
	fault_counts(r.a, hits);
	assert_true(hits[FAULT_OVERFLOW] > 0);
	r.now += 2000000;
	assert_int_equal(received(&r, numbers, 2 * COUNT), 1500 - hits[FAULT_OVERFLOW]);
	/* what is held when it closes is given back */
	rig_send(r.a, A, B, 0, 64);
	r.a->ops->close(r.a);
	r.b->ops->close(r.b);
}

static uint32_t rule(void *arg, const struct pkt *pkt)
{
	uint32_t number = rig_get(pkt->data + RIG_HEADERS, 4);

	++*(unsigned *)arg;
	return number == 3 ? 1u << FAULT_LOSS : number == 5 ? 1u << FAULT_DUP : 0;
}

static void test_rule_aims(void **state)
{
	const int want[] = {0, 1, 2, 4, 5, 5, 6, 7};
	unsigned asked = 0;
	struct rig r;

	(void)state;
	rig_start(&r, "seed=1");
	fault_rule_set(r.a, rule, &asked);
	for (uint32_t i = 0; i < 8; i++)
		rig_send(r.a, A, B, i, 64);
	assert_int_equal(asked, 8);
	assert_int_equal(received(&r, numbers, 16), 8);
	assert_memory_equal(numbers, want, sizeof(want));
	rig_end(&r);
}

static void test_bad_specifications(void **state)
{
	(void)state;
	rig_refused("fault:loss=0.1", -EINVAL, "INNER");
	rig_refused("fault:loss=2/loop:x", -EINVAL, "0 to 1");
	rig_refused("fault:loss=/loop:x", -EINVAL, "0 to 1");
	rig_refused("fault:delay_us=-1/loop:x", -EINVAL, "number");
	rig_refused("fault:speed=1/loop:x", -EINVAL, "speed");
	rig_refused("fault:seed=1/nothing:", -ENOENT, "nothing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_faults_no_change),
		cmocka_unit_test(test_each_share_is_kept_and_counted),
		cmocka_unit_test(test_same_seed_same_faults),
		cmocka_unit_test(test_delay_and_rate_follow_the_clock),
		cmocka_unit_test(test_held_packets_are_bounded),
		cmocka_unit_test(test_rule_aims),
		cmocka_unit_test(test_bad_specifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
