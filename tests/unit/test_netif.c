/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/netif.h"
#include "dataplane/roce/icrc.h"
#include "dataplane/roce/packet.h"
#include "tests/unit/wire.h"

enum {
	A = 0x0a000001,
	B = 0x0a000002,
	STRANGER = 0x0a000009
};

struct rig {
	struct wire *wire;
	struct netif *nif[2];
};

static struct rig start(uint32_t caps)
{
	struct rig r = {.wire = wire_new(1, caps, 1500)};

	icrc_init();
	r.nif[0] = netif_new(&r.wire->end[0].port, ip_addr_v4(A), ROCE_UDP_PORT);
	r.nif[1] = netif_new(&r.wire->end[1].port, ip_addr_v4(B), ROCE_UDP_PORT);
	return r;
}

static void finish(struct rig *r)
{
	netif_delete(r->nif[0]);
	netif_delete(r->nif[1]);
	assert_true(wire_delete(r->wire));
}

static struct pkt *packet(struct netif *nif, uint32_t from, uint32_t to, uint32_t payload)
{
	struct packet_flow flow;
	struct pkt *pkt;

	assert_int_equal(netif_alloc(nif, &pkt, 1), 1);
	packet_flow_init(&flow, ip_addr_v4(from), ip_addr_v4(to), 0xc000, ROCE_UDP_PORT, 7);
	memset(packet_begin(pkt, &flow, ROCE_OP_SEND_ONLY, 0, 1, 0, payload), 0x42, payload);
	packet_seal(pkt, &flow);
	return pkt;
}

static void send(struct rig *r, int end, uint32_t to)
{
	struct pkt *pkt = packet(r->nif[end], end ? B : A, to, 64);

	netif_tx(r->nif[end], r->wire->now, &pkt, 1);
}

static unsigned receive(struct rig *r, int end)
{
	struct pkt *pkts[8];
	unsigned n;

	r->wire->now += 1000;
	n = netif_rx(r->nif[end], r->wire->now, pkts, 8);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(pkts[i]->len, 108);
		assert_int_equal(pkts[i]->data[0], 0x45);
		assert_true(packet_icrc_ok(pkts[i]->data, pkts[i]->len));
	}
	netif_free(r->nif[end], pkts, n);
	return n;
}

/* Puts bytes on the wire as if end 0 had sent them. */
static void inject(struct rig *r, const uint8_t *frame, uint32_t len)
{
	wire_put(r->wire, 1, frame, len, r->wire->now);
}

static void test_pass_through(void **state)
{
	struct rig r = start(PORT_UDP);

	(void)state;
	assert_int_equal(netif_mtu(r.nif[0]), 1500);
	assert_int_equal(netif_source_port(r.nif[0], 12345), ROCE_UDP_PORT);
	send(&r, 0, B);
	assert_int_equal(receive(&r, 1), 1);
	finish(&r);
}

static void test_arp_then_packets(void **state)
{
	struct rig r = start(PORT_L2);

	(void)state;
	assert_true(netif_source_port(r.nif[0], 12345) >= 0xc000);
	send(&r, 0, B);
	assert_int_equal(netif_stats(r.nif[0])->tx_no_neighbour, 1);
	assert_int_equal(netif_stats(r.nif[0])->tx_arp, 1);
	assert_int_equal(receive(&r, 1), 0); /* the request; it also teaches B who A is */
	assert_int_equal(receive(&r, 0), 0); /* the reply */
	assert_int_equal(receive(&r, 1), 1); /* what waited for it */
	send(&r, 0, B);
	assert_int_equal(receive(&r, 1), 1);
	send(&r, 1, A);
	assert_int_equal(receive(&r, 0), 1);
	assert_int_equal(netif_stats(r.nif[1])->tx_no_neighbour, 0);
	finish(&r);
}

static void test_arp_is_bounded(void **state)
{
	struct rig r = start(PORT_L2);

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		send(&r, 0, STRANGER);
		r.wire->now += 1000000;
	}
	/* A second: five tries, twenty milliseconds apart, then it is let be. */
	assert_int_equal(netif_stats(r.nif[0])->tx_arp, 5);
	assert_int_equal(netif_stats(r.nif[0])->tx_no_neighbour, 1000);
	finish(&r);
}

static void test_neighbour_ages(void **state)
{
	struct rig r = start(PORT_L2);

	(void)state;
	send(&r, 0, B);
	receive(&r, 1);
	receive(&r, 0);
	assert_int_equal(receive(&r, 1), 1);
	r.wire->now += 40000000000;
	send(&r, 0, B); /* goes out, and asks again */
	assert_int_equal(receive(&r, 1), 1);
	assert_int_equal(netif_stats(r.nif[0])->tx_arp, 2);
	r.wire->now += 40000000000;
	send(&r, 0, B); /* the answer was not read: forgotten */
	assert_int_equal(netif_stats(r.nif[0])->tx_no_neighbour, 2);
	finish(&r);
}

static void test_drops_by_reason(void **state)
{
	struct rig r = start(PORT_L2);
	const struct netif_stats *st = netif_stats(r.nif[1]);
	struct pkt *pkt = packet(r.nif[0], A, B, 64);
	uint8_t frame[200] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}, f[200];
	uint32_t len = 14 + pkt->len;

	(void)state;
	memcpy(frame + 14, pkt->data, pkt->len);
	netif_free(r.nif[0], &pkt, 1);

	memcpy(f, frame, sizeof(f));
	inject(&r, f, len + 6); /* padded: trimmed */
	assert_int_equal(receive(&r, 1), 1);
	f[12] = 0x86, f[13] = 0xdd;
	inject(&r, f, len);
	assert_int_equal(receive(&r, 1), 0);
	assert_int_equal(st->rx_not_ip, 1);

	memcpy(f, frame, sizeof(f));
	f[5] = 9; /* another MAC */
	inject(&r, f, len);
	memcpy(f, frame, sizeof(f));
	f[33] = 9; /* another address */
	inject(&r, f, len);
	memcpy(f, frame, sizeof(f));
	f[37] = 1; /* another port */
	inject(&r, f, len);
	assert_int_equal(receive(&r, 1), 0);
	assert_int_equal(st->rx_not_ours, 3);

	for (uint32_t cut = 0; cut < len; cut++)
		inject(&r, frame, cut);
	for (uint32_t cut = 0; cut < len; cut += 8)
		assert_int_equal(receive(&r, 1), 0);
	assert_int_equal(st->rx_malformed, len);
	memcpy(f, frame, sizeof(f));
	f[24] ^= 1; /* header checksum */
	inject(&r, f, len);
	memcpy(f, frame, sizeof(f));
	f[39]++; /* UDP length */
	inject(&r, f, len);
	assert_int_equal(receive(&r, 1), 0);
	assert_int_equal(st->rx_malformed, len + 2);
	finish(&r);
}

static void sum(uint8_t *p, uint32_t len, uint8_t *at)
{
	uint32_t s = 0;

	at[0] = at[1] = 0;
	for (uint32_t i = 0; i < len; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	s = (s & 0xffff) + (s >> 16);
	s = ~((s & 0xffff) + (s >> 16));
	at[0] = (uint8_t)(s >> 8);
	at[1] = (uint8_t)s;
}

/* A ping of A's with @bytes of data. */
static uint32_t ping(uint8_t *f, uint32_t bytes)
{
	static const uint8_t head[42] = {2,    0, 0,	0,  0,	  2, 2, 0, 0,  0, 0, 1, 8, 0,
					 0x45, 0, 0,	0,  0x12, 7, 0, 0, 63, 1, 0, 0, 10, 0,
					 0,    1, 10,	0,  0,	  2, 8, 0, 0,  0, 0xab, 0xcd, 0, 5};

	memcpy(f, head, sizeof(head));
	f[17] = (uint8_t)(28 + bytes);
	for (uint32_t i = 0; i < bytes; i++)
		f[42 + i] = (uint8_t)(i * 37);
	sum(f + 14, 20, f + 24);
	sum(f + 34, 8 + bytes, f + 36);
	return 42 + bytes;
}

static bool answered(struct rig *r, const uint8_t *f, uint32_t len)
{
	bool is;

	inject(r, f, len);
	assert_int_equal(receive(r, 1), 0);
	is = r->wire->end[0].queued > 0;
	receive(r, 0);
	return is;
}

static void test_ping(void **state)
{
	struct rig r = start(PORT_L2);
	const struct netif_stats *st = netif_stats(r.nif[1]);
	uint8_t f[200], g[200];
	uint32_t len;

	(void)state;
	for (uint32_t bytes = 0; bytes < 60; bytes += 7) {
		const uint8_t *a;

		len = ping(f, bytes);
		memset(f + len, 0, 18);
		inject(&r, f, len + 18); /* padded */
		assert_int_equal(receive(&r, 1), 0);
		assert_int_equal(r.wire->end[0].queued, 1);
		assert_int_equal(r.wire->end[0].queue[0].len, len);
		/* what A would have sent, had it been the other way round */
		memcpy(g, f, len);
		memcpy(g, f + 6, 6);
		memcpy(g + 6, f, 6);
		memcpy(g + 26, f + 30, 4);
		memcpy(g + 30, f + 26, 4);
		g[22] = 64;
		g[34] = 0;
		sum(g + 14, 20, g + 24);
		sum(g + 34, 8 + bytes, g + 36);
		a = r.wire->end[0].queue[0].bytes;
		assert_memory_equal(a, g, len);
		receive(&r, 0);
	}
	assert_int_equal(st->rx_echo, 9);
#define NOT_ANSWERED(change, again) \
	do { \
		len = ping(f, 8); \
		change; \
		if (again) { \
			sum(f + 14, 20, f + 24); \
			sum(f + 34, 16, f + 36); \
		} \
		assert_false(answered(&r, f, len)); \
	} while (0)
	NOT_ANSWERED(f[24] ^= 1, false);	 /* checksum of the header */
	NOT_ANSWERED(f[45] ^= 1, false);	 /* and of the rest */
	NOT_ANSWERED(f[34] = 0, true);		 /* an answer */
	NOT_ANSWERED(f[35] = 1, true);		 /* a code that there is not */
	NOT_ANSWERED(f[14] = 0x46, true);	 /* options */
	NOT_ANSWERED(f[20] = 0x20, true);	 /* a fragment */
	NOT_ANSWERED(f[21] = 3, true);		 /* another */
	NOT_ANSWERED(f[17] = 60, true);		 /* longer than it is */
	NOT_ANSWERED(f[17] = 27, true);		 /* shorter than can be */
	NOT_ANSWERED(f[33] = 9, true);		 /* to another address */
	NOT_ANSWERED(f[29] = 2, true);		 /* from oneself */
	NOT_ANSWERED(f[26] = 0xe0, true);	 /* from many */
	NOT_ANSWERED(f[26] = 127, true);	 /* from nowhere */
	NOT_ANSWERED(memset(f, 0xff, 6), true); /* to everybody */
	NOT_ANSWERED(f[6] |= 1, true);		 /* from a group */
	len = ping(f, 8);
	for (uint32_t cut = 0; cut < len; cut++)
		assert_false(answered(&r, f, cut));
	assert_int_equal(st->rx_echo, 9);
	assert_true(answered(&r, f, len));
	finish(&r);
}

static void test_any_frame(void **state)
{
	(void)state;
	for (unsigned l2 = 0; l2 < 2; l2++) {
		struct rig r = start(l2 ? PORT_L2 : PORT_UDP);

		for (unsigned i = 0; i < 20000; i++) {
			uint32_t len = (uint32_t)(wire_draw(r.wire) % 90);
			uint8_t f[90];

			for (uint32_t j = 0; j < len; j++)
				f[j] = (uint8_t)wire_draw(r.wire);
			if (len > 42 && l2) {
				memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\10", 13);
				f[13] = (uint8_t)(i & 6);
				if (i & 8)
					memcpy(f + 14, "\0\1\10\0\6\4\0", 7);
				else
					memcpy(f + 14, "\x45\0\0", 3);
			}
			inject(&r, f, len);
			assert_int_equal(receive(&r, 1), 0);
			receive(&r, 0);
		}
		finish(&r);
	}
}

static void test_port_that_waits(void **state)
{
	struct rig r = start(PORT_UDP);
	struct pkt *pkts[10];
	unsigned got = 0;

	(void)state;
	r.wire->end[0].accept = 4;
	for (unsigned i = 0; i < 10; i++)
		pkts[i] = packet(r.nif[0], A, B, 64);
	netif_tx(r.nif[0], r.wire->now, pkts, 10);
	assert_int_equal(netif_backlog(r.nif[0]), 6);
	assert_int_equal(receive(&r, 1), 4);
	netif_tick(r.nif[0], r.wire->now);
	assert_int_equal(netif_backlog(r.nif[0]), 6);
	r.wire->end[0].accept = UINT32_MAX;
	netif_tick(r.nif[0], r.wire->now);
	assert_int_equal(netif_backlog(r.nif[0]), 0);
	got = receive(&r, 1);
	assert_int_equal(got, 6);

	/* What a dead port keeps is thrown away in the end. */
	r.wire->end[0].accept = 0;
	pkts[0] = packet(r.nif[0], A, B, 64);
	netif_tx(r.nif[0], r.wire->now, pkts, 1);
	r.wire->now += 99000000;
	netif_tick(r.nif[0], r.wire->now);
	assert_int_equal(netif_backlog(r.nif[0]), 1);
	r.wire->now += 2000000;
	netif_tick(r.nif[0], r.wire->now);
	assert_int_equal(netif_backlog(r.nif[0]), 0);
	assert_int_equal(netif_stats(r.nif[0])->tx_overrun, 1);
	for (unsigned i = 0; i < 600; i++) {
		pkts[0] = packet(r.nif[0], A, B, 64);
		netif_tx(r.nif[0], r.wire->now, pkts, 1);
	}
	assert_int_equal(netif_stats(r.nif[0])->tx_overrun, 1 + 600 - netif_backlog(r.nif[0]));
	finish(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass_through),    cmocka_unit_test(test_arp_then_packets),
		cmocka_unit_test(test_arp_is_bounded),  cmocka_unit_test(test_neighbour_ages),
		cmocka_unit_test(test_drops_by_reason), cmocka_unit_test(test_any_frame),
		cmocka_unit_test(test_port_that_waits), cmocka_unit_test(test_ping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
