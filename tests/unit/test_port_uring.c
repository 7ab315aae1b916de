/* SPDX-License-Identifier: Apache-2.0 */
/* Over the loopback device of a network namespace of the test's own, where it may capture packets.
 */
#include "tests/unit/port_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	A = 0x7f000001,
	B = 0x7f000002
};

static struct port *open_at(uint32_t address)
{
	return rig_open("uring:", (struct port_conf){.address = ip_addr_v4(address)});
}

/* Up to @n packets, waiting for them on the port's descriptor. */
static unsigned receive(struct port *p, struct pkt **pkts, unsigned n)
{
	uint64_t end = rig_now_ns(NULL) + 1000000000u;
	unsigned got = 0;

	while (got < n && rig_now_ns(NULL) < end)
		got += p->ops->rx_burst(p, pkts + got,
					n - got < PORT_BURST_MAX ? n - got : PORT_BURST_MAX);
	return got;
}

static void test_packets_both_ways(void **state)
{
	static const uint32_t sizes[] = {4, 5, 64, 1024, 4096 + 60};
	struct port *port[] = {open_at(A), open_at(B)};
	uint32_t of[] = {A, B}, number;
	struct port_stats stats;
	struct pkt *p;

	(void)state;
	assert_true(port[0]->mtu >= 4096 + 100);
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t payload = sizes[i % 5];
		int from = (int)(i / 5 % 2);

		assert_int_equal(rig_send(port[from], of[from], of[!from], i, payload), 1);
		assert_int_equal(receive(port[!from], &p, 1), 1);
		assert_true(rig_good(p, &number));
		assert_int_equal(number, i);
		assert_int_equal(p->len, RIG_HEADERS + payload);
		assert_int_equal(rig_get(p->data + 12, 4), of[from]);
		assert_int_equal(rig_get(p->data + 16, 4), of[!from]);
		assert_int_equal(rig_get(p->data + 20, 2), RIG_UDP_PORT);
		port[!from]->ops->free(port[!from], &p, 1);
	}
	port[0]->ops->stats(port[0], &stats);
	assert_int_equal(stats.tx_packets, 100);
	assert_int_equal(stats.rx_packets, 100);
	assert_int_equal(stats.tx_dropped + stats.rx_dropped, 0);
	port[0]->ops->close(port[0]);
	port[1]->ops->close(port[1]);
}

static void test_a_received_buffer_can_be_sent(void **state)
{
	struct port *a = open_at(A), *b = open_at(B);
	uint32_t number;
	struct pkt *p;

	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		assert_int_equal(rig_send(a, A, B, i, 64), 1);
		assert_int_equal(receive(b, &p, 1), 1);
		rig_packet(p, B, A, i + 1, 128);
		assert_int_equal(b->ops->tx_burst(b, &p, 1), 1);
		assert_int_equal(receive(a, &p, 1), 1);
		assert_true(rig_good(p, &number));
		assert_int_equal(number, i + 1);
		a->ops->free(a, &p, 1);
	}
	a->ops->close(a);
	b->ops->close(b);
}

/* Bursts as large as they come: nothing is lost while it is drained, all buffers come back. */
static void test_bursts(void **state)
{
	struct port *a = open_at(A), *b = open_at(B);
	unsigned spare = rig_spare(a), seen = 0;
	struct pkt *p[PORT_BURST_MAX];
	uint32_t number;

	(void)state;
	for (uint32_t round = 0; round < 200; round++) {
		unsigned sent, got;

		assert_int_equal(a->ops->alloc(a, p, PORT_BURST_MAX), PORT_BURST_MAX);
		for (uint32_t i = 0; i < PORT_BURST_MAX; i++)
			rig_packet(p[i], A, B, round * PORT_BURST_MAX + i, 1024);
		for (sent = 0; sent < PORT_BURST_MAX;) {
			struct pkt *none[PORT_BURST_MAX];

			sent += a->ops->tx_burst(a, p + sent, PORT_BURST_MAX - sent);
			assert_int_equal(a->ops->rx_burst(a, none, PORT_BURST_MAX), 0);
		}
		got = receive(b, p, PORT_BURST_MAX);
		assert_int_equal(got, PORT_BURST_MAX);
		for (unsigned i = 0; i < got; i++) {
			assert_true(rig_good(p[i], &number));
			assert_int_equal(number, seen + i);
		}
		seen += got;
		b->ops->free(b, p, got);
	}
	assert_int_equal(a->ops->rx_burst(a, p, PORT_BURST_MAX), 0);
	assert_int_equal(rig_spare(a), spare);
	a->ops->close(a);
	b->ops->close(b);
}

static void test_wait_and_arm(void **state)
{
	struct port *a = open_at(A), *b = open_at(B);
	struct pollfd fd = {.fd = b->ops->wait_fd(b), .events = POLLIN};
	struct pkt *p;

	(void)state;
	assert_true(fd.fd >= 0);
	for (uint32_t i = 0; i < 20; i++) {
		int armed = b->ops->arm(b);

		while (armed == 1) {
			assert_int_equal(b->ops->rx_burst(b, &p, 1), 0);
			armed = b->ops->arm(b);
		}
		assert_int_equal(poll(&fd, 1, 0), 0);
		rig_send(a, A, B, i, 64);
		assert_int_equal(poll(&fd, 1, 1000), 1);
		assert_int_equal(receive(b, &p, 1), 1);
		b->ops->free(b, &p, 1);
	}
	/* what came before arming is seen by arming */
	rig_send(a, A, B, 99, 64);
	usleep(1000);
	assert_int_equal(b->ops->arm(b), 1);
	assert_int_equal(receive(b, &p, 1), 1);
	b->ops->free(b, &p, 1);
	a->ops->close(a);
	b->ops->close(b);
}

/* Packets to a node that is not there, and a node that comes back. */
static void test_peer_away(void **state)
{
	struct port *a = open_at(A), *b;
	unsigned spare = rig_spare(a);
	struct pkt *p;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		assert_int_equal(rig_send(a, A, B, i, 64), 1);
		assert_int_equal(a->ops->rx_burst(a, &p, 1), 0);
	}
	b = open_at(B);
	assert_int_equal(rig_send(a, A, B, 7, 64), 1);
	assert_int_equal(receive(b, &p, 1), 1);
	b->ops->free(b, &p, 1);
	assert_int_equal(a->ops->rx_burst(a, &p, 1), 0);
	assert_int_equal(rig_spare(a), spare);
	a->ops->close(a);
	b->ops->close(b);
}

/* Datagrams from strangers: too long, empty. */
static void test_foreign_datagrams(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(RIG_UDP_PORT),
				 .sin_addr.s_addr = htonl(B)};
	struct port *b = open_at(B);
	static uint8_t data[60000];
	struct port_stats stats;
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct pkt *p;

	(void)state;
	assert_int_equal(sendto(sock, data, sizeof(data), 0, (void *)&to, sizeof(to)),
			 sizeof(data));
	assert_int_equal(sendto(sock, data, 0, 0, (void *)&to, sizeof(to)), 0);
	assert_int_equal(sendto(sock, data, 100, 0, (void *)&to, sizeof(to)), 100);
	assert_int_equal(receive(b, &p, 1), 1);
	if (p->len == RIG_HEADERS) { /* the empty one is a packet too */
		b->ops->free(b, &p, 1);
		assert_int_equal(receive(b, &p, 1), 1);
	}
	assert_int_equal(p->len, RIG_HEADERS + 100);
	b->ops->free(b, &p, 1);
	b->ops->stats(b, &stats);
	assert_int_equal(stats.rx_dropped, 1);
	close(sock);
	b->ops->close(b);
}

/* The invariant CRC covers identification and flags: what the kernel really sends must be what the
 * other side assumes. */
static void test_identification_is_zero(void **state)
{
	int cap = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	struct port *a = open_at(A), *b = open_at(B);
	unsigned seen = 0;
	struct pkt *p;

	(void)state;
	assert_true(cap >= 0);
	for (uint32_t i = 0; i < 100; i++) {
		uint8_t h[64];

		assert_int_equal(rig_send(a, A, B, i, i % 2 ? 4096 : 64), 1);
		assert_int_equal(receive(b, &p, 1), 1);
		b->ops->free(b, &p, 1);
		while (recv(cap, h, sizeof(h), MSG_DONTWAIT) >= (ssize_t)RIG_HEADERS) {
			if (h[9] != IPPROTO_UDP || rig_get(h + 22, 2) != RIG_UDP_PORT)
				continue;
			assert_int_equal(rig_get(h, 1), 0x45);
			assert_int_equal(rig_get(h + 4, 2), 0);
			assert_int_equal(rig_get(h + 6, 2), 0x4000);
			assert_int_equal(rig_get(h + 20, 2), RIG_UDP_PORT);
			seen++;
		}
	}
	assert_true(seen >= 100);
	close(cap);
	a->ops->close(a);
	b->ops->close(b);
}

static void set_mtu(int mtu)
{
	struct ifreq req = {.ifr_name = "lo"};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	req.ifr_mtu = mtu;
	assert_int_equal(ioctl(sock, SIOCSIFMTU, &req), 0);
	close(sock);
}

static void test_mtu_is_the_interfaces(void **state)
{
	struct port *a, *b;
	struct pkt *p;

	(void)state;
	set_mtu(1500);
	a = open_at(A);
	b = open_at(B);
	assert_int_equal(a->mtu, 1500);
	assert_int_equal(rig_send(a, A, B, 1, 1500 - RIG_HEADERS), 1);
	assert_int_equal(receive(b, &p, 1), 1);
	b->ops->free(b, &p, 1);
	a->ops->close(a);
	b->ops->close(b);
	set_mtu(65536);
}

static void test_refused(void **state)
{
	struct port *a = open_at(A);

	(void)state;
	rig_refused("uring:", -EADDRINUSE, "another node");
	rig_refused("uring:x", -EINVAL, "no arguments");
	a->ops->close(a);
}

/* What the port does not do cannot be asked of its ring either, by whoever has taken over the process. */
static void test_ring_is_restricted(void **state)
{
	struct port *a = open_at(A);
	unsigned rings = 0;

	(void)state;
	for (int fd = 3; fd < 64; fd++) {
		char path[64], what[64];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, what, sizeof(what) - 1);
		if (n <= 0)
			continue;
		what[n] = 0;
		if (!strstr(what, "[io_uring]"))
			continue;
		rings++;
		/* the credentials of a thread, for later submissions */
		assert_int_equal(syscall(SYS_io_uring_register, fd, IORING_REGISTER_PERSONALITY, NULL, 0), -1);
		assert_int_equal(errno, EACCES);
	}
	assert_int_equal(rings, 1);
	a->ops->close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_both_ways),
		cmocka_unit_test(test_a_received_buffer_can_be_sent),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_wait_and_arm),
		cmocka_unit_test(test_peer_away),
		cmocka_unit_test(test_foreign_datagrams),
		cmocka_unit_test(test_identification_is_zero),
		cmocka_unit_test(test_mtu_is_the_interfaces),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_ring_is_restricted),
	};
	struct port_conf conf = {.address = ip_addr_v4(A), .udp_port = RIG_UDP_PORT};
	struct port *port;
	char err[256] = "";
	int rc = rig_namespace();

	if (rc) {
		printf("SKIP: no network namespace of its own: %s\n", strerror(-rc));
		return 77;
	}
	rc = port_open(&port, "uring:", &conf, err, sizeof(err));
	if (rc == -ENOSYS || rc == -EPERM) {
		printf("SKIP: %s\n", err);
		return 77;
	}
	if (!rc)
		port->ops->close(port);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
