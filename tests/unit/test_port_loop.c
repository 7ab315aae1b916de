/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/port_rig.h"

#include <errno.h>

enum {
	A = 0x0a000001,
	B = 0x0a000002,
	C = 0x0a000003
};

static struct port *open_at(const char *spec, uint32_t address)
{
	return rig_open(spec, (struct port_conf){.address = ip_addr_v4(address)});
}

static void test_switches_by_address(void **state)
{
	struct port *port[] = {open_at("loop:x", A), open_at("loop:x", B), open_at("loop:x", C),
			       open_at("loop:other", B)};
	uint32_t of[] = {A, B, C}, number;
	struct pkt *got[PORT_BURST_MAX];

	(void)state;
	for (uint32_t from = 0; from < 3; from++)
		for (uint32_t to = 0; to < 3; to++)
			assert_int_equal(
				rig_send(port[from], of[from], of[to], 10 * from + to, 4000), 1);
	for (uint32_t to = 0; to < 3; to++) {
		assert_int_equal(port[to]->ops->rx_burst(port[to], got, PORT_BURST_MAX), 3);
		for (uint32_t from = 0; from < 3; from++) {
			assert_true(rig_good(got[from], &number));
			assert_int_equal(number, 10 * from + to);
			assert_int_equal(rig_get(got[from]->data + 12, 4), of[from]);
		}
		port[to]->ops->free(port[to], got, 3);
	}
	/* segments do not see each other */
	assert_int_equal(port[3]->ops->rx_burst(port[3], got, PORT_BURST_MAX), 0);
	for (int i = 0; i < 4; i++)
		port[i]->ops->close(port[i]);
}

static void test_nobody_there_loses(void **state)
{
	struct port *a = open_at("loop:y", A);
	unsigned spare = rig_spare(a);
	struct port_stats stats;

	(void)state;
	assert_int_equal(a->ops->link_up(a), 0);
	assert_int_equal(rig_send(a, A, B, 1, 64), 1);
	a->ops->stats(a, &stats);
	assert_int_equal(stats.tx_dropped, 1);
	assert_int_equal(stats.tx_packets, 0);
	assert_int_equal(rig_spare(a), spare);
	a->ops->close(a);
}

static void test_full_queue_is_not_accepted(void **state)
{
	struct port *a = open_at("loop:z", A), *b = open_at("loop:z", B);
	unsigned spare_a = rig_spare(a), spare_b = rig_spare(b), sent = 0, got, total = 0;
	struct pkt *pkts[PORT_BURST_MAX];
	uint32_t number;

	(void)state;
	assert_int_equal(a->ops->link_up(a), 1);
	while (rig_send(a, A, B, sent, 64))
		sent++;
	assert_true(sent >= 256 && sent <= 65536);
	assert_int_equal(rig_spare(a), spare_a);
	while ((got = b->ops->rx_burst(b, pkts, PORT_BURST_MAX)) > 0) {
		for (unsigned i = 0; i < got; i++) {
			assert_true(rig_good(pkts[i], &number));
			assert_int_equal(number, total + i);
		}
		total += got;
		b->ops->free(b, pkts, got);
	}
	assert_int_equal(total, sent);
	assert_int_equal(rig_spare(b), spare_b);
	assert_int_equal(rig_send(a, A, B, 0, 64), 1);
	a->ops->close(a);
	b->ops->close(b);
}

static void test_dead_port_leaves_the_segment(void **state)
{
	struct port *a = open_at("loop:w", A), *b = open_at("loop:w", B);
	struct pkt *pkts[PORT_BURST_MAX];

	(void)state;
	rig_send(a, A, B, 1, 64);
	b->ops->close(b);
	assert_int_equal(rig_send(a, A, B, 2, 64), 1);
	b = open_at("loop:w", B);
	assert_int_equal(b->ops->rx_burst(b, pkts, PORT_BURST_MAX), 0);
	assert_int_equal(rig_send(a, A, B, 3, 64), 1);
	assert_int_equal(b->ops->arm(b), 1);
	assert_int_equal(b->ops->rx_burst(b, pkts, PORT_BURST_MAX), 1);
	b->ops->free(b, pkts, 1);
	assert_int_equal(b->ops->arm(b), 0);
	a->ops->close(a);
	b->ops->close(b);
}

static void test_bad_specifications(void **state)
{
	(void)state;
	rig_refused("nothing:x", -ENOENT, "there is no port driver");
	rig_refused("loop:a-name-that-is-longer-than-a-segment-may-have", -EINVAL, "name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_switches_by_address),
		cmocka_unit_test(test_nobody_there_loses),
		cmocka_unit_test(test_full_queue_is_not_accepted),
		cmocka_unit_test(test_dead_port_leaves_the_segment),
		cmocka_unit_test(test_bad_specifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
