/* SPDX-License-Identifier: Apache-2.0 */
/* Two devices of net_af_packet at the ends of a veth pair, in a network namespace of the test's
 * own. DPDK starts once a process, so all tests share the ports. */
#include "tests/unit/port_rig.h"

#include <errno.h>
#include <stdlib.h>

enum {
	A = 0x0a000001,
	B = 0x0a000002,
	ETHER = 14
};

static struct port *ends[2];
static const uint32_t of[2] = {A, B};

/* Up to @n of our own frames; the kernel may have some of its own on the wire. */
static unsigned receive(struct port *p, struct pkt **pkts, unsigned n, unsigned ms)
{
	uint64_t end = rig_now_ns(NULL) + ms * 1000000ull;
	unsigned got = 0, k;

	while (got < n && rig_now_ns(NULL) < end) {
		k = p->ops->rx_burst(p, pkts + got,
				     n - got < PORT_BURST_MAX ? n - got : PORT_BURST_MAX);
		for (unsigned i = got, to = got; i < to + k; i++) {
			if (rig_get(pkts[i]->data + 12, 2) == 0x0800)
				pkts[got++] = pkts[i];
			else
				p->ops->free(p, &pkts[i], 1);
		}
	}
	return got;
}

static void frame(struct pkt *p, int from, uint32_t number, uint32_t payload)
{
	uint8_t *eth = p->data;

	p->data += ETHER;
	p->room -= ETHER;
	rig_packet(p, of[from], of[!from], number, payload);
	p->data = eth;
	p->len += ETHER;
	memcpy(eth, ends[!from]->mac, 6);
	memcpy(eth + 6, ends[from]->mac, 6);
	rig_put(eth + 12, 0x0800, 2);
}

static void check(struct pkt *p, uint32_t number, uint32_t payload)
{
	uint32_t got;

	assert_true(p->len >= ETHER + RIG_HEADERS + payload);
	p->data += ETHER;
	p->len = RIG_HEADERS + payload;
	assert_true(rig_good(p, &got));
	assert_int_equal(got, number);
}

static void test_what_the_port_says(void **state)
{
	static const uint8_t zero[6];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ends[i]->ops->caps & (PORT_L2 | PORT_UDP), PORT_L2);
		assert_int_equal(ends[i]->mtu, 1500);
		assert_memory_not_equal(ends[i]->mac, zero, 6);
		assert_int_equal(ends[i]->ops->link_up(ends[i]), 1);
		assert_int_equal(ends[i]->ops->wait_fd(ends[i]), -1);
	}
	assert_memory_not_equal(ends[0]->mac, ends[1]->mac, 6);
}

static void test_buffers_have_room(void **state)
{
	struct pkt *p[PORT_BURST_MAX];

	(void)state;
	assert_int_equal(ends[0]->ops->alloc(ends[0], p, PORT_BURST_MAX), PORT_BURST_MAX);
	for (int i = 0; i < PORT_BURST_MAX; i++) {
		assert_int_equal(p[i]->len, 0);
		assert_true(p[i]->room >= 4096 + 100);
		memset(p[i]->data - PKT_HEADROOM, i, PKT_HEADROOM + p[i]->room);
	}
	ends[0]->ops->free(ends[0], p, PORT_BURST_MAX);
}

static void test_frames_both_ways(void **state)
{
	static const uint32_t sizes[] = {18, 64, 1000, 1500 - RIG_HEADERS};
	struct pkt *p;

	(void)state;
	for (uint32_t i = 0; i < 200; i++) {
		int from = (int)(i & 1);

		assert_int_equal(ends[from]->ops->alloc(ends[from], &p, 1), 1);
		frame(p, from, i, sizes[i / 2 % 4]);
		assert_int_equal(ends[from]->ops->tx_burst(ends[from], &p, 1), 1);
		assert_int_equal(receive(ends[!from], &p, 1, 1000), 1);
		check(p, i, sizes[i / 2 % 4]);
		ends[!from]->ops->free(ends[!from], &p, 1);
	}
}

/* A packet socket sees what it sends itself: that must not come back. */
static void test_own_frames_are_dropped(void **state)
{
	struct pkt *p;

	(void)state;
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(ends[0]->ops->alloc(ends[0], &p, 1), 1);
		frame(p, 0, i, 64);
		assert_int_equal(ends[0]->ops->tx_burst(ends[0], &p, 1), 1);
		assert_int_equal(receive(ends[1], &p, 1, 1000), 1);
		ends[1]->ops->free(ends[1], &p, 1);
	}
	assert_int_equal(receive(ends[0], &p, 1, 50), 0);
}

static void test_bursts_and_no_leak(void **state)
{
	unsigned spare[2] = {rig_spare(ends[0]), rig_spare(ends[1])};
	struct pkt *p[PORT_BURST_MAX];

	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		unsigned sent = 0, got;

		assert_int_equal(ends[0]->ops->alloc(ends[0], p, PORT_BURST_MAX), PORT_BURST_MAX);
		for (uint32_t i = 0; i < PORT_BURST_MAX; i++)
			frame(p[i], 0, round * PORT_BURST_MAX + i, 200);
		while (sent < PORT_BURST_MAX)
			sent += ends[0]->ops->tx_burst(ends[0], p + sent, PORT_BURST_MAX - sent);
		got = receive(ends[1], p, PORT_BURST_MAX, 1000);
		assert_int_equal(got, PORT_BURST_MAX);
		for (unsigned i = 0; i < got; i++)
			check(p[i], round * PORT_BURST_MAX + i, 200);
		ends[1]->ops->free(ends[1], p, got);
	}
	assert_int_equal(rig_spare(ends[0]), spare[0]);
	assert_int_equal(rig_spare(ends[1]), spare[1]);
}

static void test_stats(void **state)
{
	struct port_stats before, after;
	struct pkt *p;

	(void)state;
	ends[0]->ops->stats(ends[0], &before);
	assert_int_equal(ends[0]->ops->alloc(ends[0], &p, 1), 1);
	frame(p, 0, 1, 64);
	assert_int_equal(ends[0]->ops->tx_burst(ends[0], &p, 1), 1);
	ends[0]->ops->stats(ends[0], &after);
	assert_int_equal(after.tx_packets - before.tx_packets, 1);
	assert_int_equal(after.tx_bytes - before.tx_bytes, ETHER + RIG_HEADERS + 64);
	assert_int_equal(receive(ends[1], &p, 1, 1000), 1);
	ends[1]->ops->free(ends[1], &p, 1);
}

static void test_refused(void **state)
{
	(void)state;
	rig_refused("dpdk:", -EINVAL, "names no device");
	rig_refused("dpdk:net_af_packet7,iface=v0;speed=1", -EINVAL, "speed");
	rig_refused("dpdk:net_af_packet0,iface=v0", -EBUSY, "net_af_packet0");
	rig_refused("dpdk:net_af_packet7,iface=nowhere", -ENODEV, "nowhere");
	rig_refused("dpdk:net_unheard_of0", -ENODEV, "net_unheard_of0");
	rig_refused("shm:/nowhere/link.sock", -EINVAL, "side=a");
	rig_refused("shm:/nowhere/link.sock,side=c", -EINVAL, "side=a");
	rig_refused(
		"shm:/a-path-that-is-far-too-long-for-the-name-of-a-unix-socket-whose-limit-is-one-"
		"hundred-and-seven-bytes/link.sock,side=a",
		-ENAMETOOLONG, "too long");
}

/* A side that nobody joins: its link is down, what it sends is dropped, and it can be closed. */
static void test_shm_alone(void **state)
{
	char path[] = "/tmp/atoll-test-XXXXXX", spec[64];
	struct port_stats stats;
	struct port *port;
	struct pkt *p;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(spec, sizeof(spec), "shm:%s/l,side=a", path);
	port = rig_open(spec, (struct port_conf){.address = ip_addr_v4(A)});
	assert_true(port->mtu >= 4096 + 100);
	assert_int_equal(port->ops->link_up(port), 0);
	assert_int_equal(port->ops->rx_burst(port, &p, 1), 0);
	assert_int_equal(port->ops->alloc(port, &p, 1), 1);
	p->len = 64;
	assert_int_equal(port->ops->tx_burst(port, &p, 1), 1);
	port->ops->stats(port, &stats);
	assert_int_equal(stats.tx_dropped, 1);
	port->ops->close(port);
	assert_int_equal(rmdir(path), 0); /* nothing is left in it */
}

/* After close, the device can be opened again. */
static void test_open_again(void **state)
{
	struct pkt *p;

	(void)state;
	ends[0]->ops->close(ends[0]);
	ends[0] = rig_open("dpdk:net_af_packet0,iface=v0", (struct port_conf){.address = ip_addr_v4(A)});
	assert_int_equal(ends[1]->ops->alloc(ends[1], &p, 1), 1);
	frame(p, 1, 5, 100);
	assert_int_equal(ends[1]->ops->tx_burst(ends[1], &p, 1), 1);
	assert_int_equal(receive(ends[0], &p, 1, 1000), 1);
	check(p, 5, 100);
	ends[0]->ops->free(ends[0], &p, 1);
}

static int close_all(void **state)
{
	(void)state;
	ends[0]->ops->close(ends[0]);
	ends[1]->ops->close(ends[1]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_port_says),
		cmocka_unit_test(test_buffers_have_room),
		cmocka_unit_test(test_frames_both_ways),
		cmocka_unit_test(test_own_frames_are_dropped),
		cmocka_unit_test(test_bursts_and_no_leak),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_shm_alone),
		cmocka_unit_test(test_open_again),
	};
	struct port_conf conf = {.udp_port = RIG_UDP_PORT};
	char err[256] = "";
	int rc = rig_namespace();

	if (rc) {
		printf("SKIP: no network namespace of its own: %s\n", strerror(-rc));
		return 77;
	}
	rig_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	rig_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	if (system("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 "
		   "up")) {
		puts("SKIP: no veth pair: the command ip (iproute2) or the kernel lacks it");
		return 77;
	}
	for (int i = 0; i < 2; i++) {
		conf.address = ip_addr_v4(of[i]);
		rc = port_open(&ends[i],
			       i ? "dpdk:net_af_packet1,iface=v1"
				 : "dpdk:net_af_packet0,iface=v0;huge=off;memory_mb=160",
			       &conf, err, sizeof(err));
		if (rc == -ENODEV || rc == -EIO) {
			printf("SKIP: %s\n", err);
			return 77;
		}
		if (rc || ends[i]->ops->start(ends[i])) {
			printf("FAILED: %s\n", err);
			return 1;
		}
	}
	return cmocka_run_group_tests(tests, NULL, close_all);
}
