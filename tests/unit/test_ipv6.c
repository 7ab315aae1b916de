/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses in text; packets over IPv6 against bytes made elsewhere; neighbour discovery and ping; every verb
 * between two engines over IPv6, on datagram ports and on Ethernet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/icmp6.h"
#include "dataplane/roce/cm_mad.h"
#include "dataplane/roce/icrc.h"
#include "dataplane/roce/packet.h"
#include "tests/unit/roce_pair.h"

/* From a program that shares no code with this one (zlib's CRC-32 over the masked bytes): fd00::1 port 0xc123
 * to fd00::abcd. A READ request, and a SEND of "hello". */
static const uint8_t read_request6[] = {
	0x60, 0x20, 0x00, 0x00, 0x00, 0x28, 0x11, 0x40, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xab, 0xcd, 0xc1, 0x23, 0x12, 0xb7, 0x00,
	0x28, 0x00, 0x00, 0x0c, 0x40, 0xff, 0xff, 0x00, 0xab, 0xcd, 0xef, 0x00, 0x12, 0x34, 0x56,
	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0xca, 0xfe, 0x00, 0x01, 0x00, 0x00, 0x00,
	0x40, 0xf4, 0x5b, 0x44, 0xb1,
};
static const uint8_t send_only6[] = {
	0x60, 0x20, 0x00, 0x00, 0x00, 0x20, 0x11, 0x40, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xab, 0xcd, 0xc1, 0x23, 0x12, 0xb7, 0x00,
	0x20, 0x00, 0x00, 0x04, 0xf0, 0xff, 0xff, 0x00, 0x00, 0x00, 0x11, 0x80, 0xff, 0xff, 0xff,
	0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00, 0x6a, 0x17, 0xef, 0xcd,
};

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;

	assert_int_equal(ip_addr_parse(&a, text), 0);
	return a;
}

static void test_text(void **state)
{
	static const char *const same[] = {"10.0.0.1", "255.255.255.255", "fd00::1", "::1", "::", "2001:db8::ff:1"};
	static const char *const bad[] = {"", "10.0.0", "1.2.3.4.5", "fd00::1%lo", "::ffff:10.0.0.1", "fd00:::1", "g::"};
	static const char *const hosts[] = {"10.0.0.1", "127.0.0.1", "223.1.1.1", "::1", "fd00::1", "2001:db8::1"};
	static const char *const none[] = {"0.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "fe80::1"};
	char text[IP_ADDR_TEXT];
	struct ip_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_string_equal(ip_addr_text(addr(same[i]), text), same[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ip_addr_parse(&a, bad[i]), -EINVAL);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		assert_true(ip_addr_is_host(addr(hosts[i])));
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(ip_addr_is_host(addr(none[i])));
	assert_true(ip_addr_is_v4(addr("10.0.0.1")));
	assert_int_equal(ip_addr_low(addr("10.0.0.1")), 0x0a000001);
	assert_true(ip_addr_is_v6(addr("fd00::1")));
	assert_false(ip_addr_is_v6((struct ip_addr){{0}}));
	assert_true(ip_addr_is_loopback(addr("::1")));
	assert_false(ip_addr_is_loopback(addr("fd00::1")));
}

static void test_packets(void **state)
{
	uint8_t bytes[256], *body;
	struct pkt pkt = {.data = bytes, .room = sizeof(bytes)};
	struct packet_flow flow;
	struct wire_reth reth = {be64_of(0x1122334455667788), be32_of(0xcafe0001), be32_of(64)};
	struct roce_rx rx;

	(void)state;
	packet_flow_init(&flow, addr("fd00::1"), addr("fd00::abcd"), 0xc123, ROCE_UDP_PORT, 0xabcdef);
	body = packet_begin(&pkt, &flow, ROCE_OP_READ_REQUEST, 0, 0x123456, 16, 0);
	memcpy(body, &reth, sizeof(reth));
	packet_seal(&pkt, &flow);
	assert_int_equal(pkt.len, sizeof(read_request6));
	assert_memory_equal(bytes, read_request6, sizeof(read_request6));
	assert_int_equal(packet_parse(&rx, bytes, pkt.len), 0);
	assert_true(ip_addr_equal(rx.src, addr("fd00::1")));
	assert_int_equal(rx.qpn, 0xabcdef);
	assert_int_equal(rx.psn, 0x123456);
	assert_int_equal(rx.va, 0x1122334455667788);
	assert_false(rx.congested);
	assert_true(packet_icrc_ok(bytes, pkt.len));

	packet_flow_init(&flow, addr("fd00::1"), addr("fd00::abcd"), 0xc123, ROCE_UDP_PORT, 0x11);
	memcpy(packet_begin(&pkt, &flow, ROCE_OP_SEND_ONLY, PACKET_SE | PACKET_ACK_REQ, 0xffffff, 0, 5), "hello", 5);
	packet_seal(&pkt, &flow);
	assert_int_equal(pkt.len, sizeof(send_only6));
	assert_memory_equal(bytes, send_only6, sizeof(send_only6));

	/* every bit is covered, but those that routers and kernels may change */
	for (uint32_t bit = 0; bit < 8 * sizeof(send_only6); bit++) {
		uint32_t at = bit / 8;
		/* class and flow label; hop limit; UDP checksum; FECN and BECN */
		bool variant = (bit >= 4 && bit < 32) || at == 7 || at == 46 || at == 47 || at == 52;

		memcpy(bytes, send_only6, sizeof(send_only6));
		bytes[at] ^= (uint8_t)(0x80 >> bit % 8);
		if (bytes[0] >> 4 == 6)
			assert_int_equal(packet_icrc_ok(bytes, sizeof(send_only6)), variant);
	}
	/* congestion experienced is the class's last two bits */
	memcpy(bytes, send_only6, sizeof(send_only6));
	bytes[1] |= 0x30;
	assert_int_equal(packet_parse(&rx, bytes, sizeof(send_only6)), 0);
	assert_true(rx.congested);
	/* lengths */
	for (uint32_t len = 0; len < sizeof(send_only6); len++) {
		uint8_t *exact = malloc(len ? len : 1);

		memcpy(exact, send_only6, len);
		assert_int_not_equal(packet_parse(&rx, exact, len), 0);
		free(exact);
	}
	memcpy(bytes, send_only6, sizeof(send_only6));
	bytes[6] = 0; /* hop-by-hop options */
	assert_int_equal(packet_parse(&rx, bytes, sizeof(send_only6)), ROCE_C_BAD_VERSION);
}

static void test_cm(void **state)
{
	struct cm_mad m = {.kind = CM_REQ, .transaction = 1, .local_id = 2}, out;
	uint8_t mad[CM_MAD_BYTES];

	(void)state;
	m.req.mtu = 1024;
	m.req.qpn = 5;
	m.req.src_address = addr("fd00::1");
	m.req.dst_address = addr("2001:db8::2");
	assert_int_equal(cm_mad_build(mad, &m), 0);
	assert_int_equal(cm_mad_parse(&out, mad, sizeof(mad)), 0);
	assert_true(ip_addr_equal(out.req.src_address, m.req.src_address));
	assert_true(ip_addr_equal(out.req.dst_address, m.req.dst_address));
}

/* ---------------------------------------------------------------- neighbours */

struct rig {
	struct wire *wire;
	struct netif *nif[2];
	struct ip_addr address[2];
};

static struct rig rig_start(void)
{
	struct rig r = {.wire = wire_new(1, PORT_L2, 1500), .address = {addr("fd00::1"), addr("fd00::2")}};

	for (int e = 0; e < 2; e++)
		r.nif[e] = netif_new(&r.wire->end[e].port, r.address[e], ROCE_UDP_PORT);
	return r;
}

static void rig_finish(struct rig *r)
{
	netif_delete(r->nif[0]);
	netif_delete(r->nif[1]);
	assert_true(wire_delete(r->wire));
}

static void rig_send(struct rig *r, int end, struct ip_addr to)
{
	struct packet_flow flow;
	struct pkt *pkt;

	assert_int_equal(netif_alloc(r->nif[end], &pkt, 1), 1);
	packet_flow_init(&flow, r->address[end], to, 0xc000, ROCE_UDP_PORT, 7);
	memset(packet_begin(pkt, &flow, ROCE_OP_SEND_ONLY, 0, 1, 0, 64), 0x42, 64);
	packet_seal(pkt, &flow);
	netif_tx(r->nif[end], r->wire->now, &pkt, 1);
}

static unsigned rig_receive(struct rig *r, int end)
{
	struct pkt *pkts[8];
	unsigned n;

	r->wire->now += 1000;
	n = netif_rx(r->nif[end], r->wire->now, pkts, 8);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(pkts[i]->len, 128);
		assert_true(packet_icrc_ok(pkts[i]->data, pkts[i]->len));
	}
	netif_free(r->nif[end], pkts, n);
	return n;
}

/* What waits at end @e, and then it is gone. */
static uint32_t rig_take(struct rig *r, int e, uint8_t *out)
{
	uint32_t len = 0;

	if (r->wire->end[e].queued) {
		len = r->wire->end[e].queue[0].len;
		memcpy(out, r->wire->end[e].queue[0].bytes, len);
	}
	rig_receive(r, e);
	return len;
}

static void test_discovery(void **state)
{
	struct rig r = rig_start();
	uint8_t f[256];

	(void)state;
	rig_send(&r, 0, r.address[1]);
	assert_int_equal(netif_stats(r.nif[0])->tx_arp, 1);
	/* RFC 4861 4.3: to the solicited-node group, 255 hops, our address and MAC */
	memcpy(f, r.wire->end[1].queue[0].bytes, 86);
	assert_memory_equal(f, "\x33\x33\xff\0\0\2", 6);
	assert_memory_equal(f + 12, "\x86\xdd\x60\0\0\0\0\x20\x3a\xff", 10);
	assert_memory_equal(f + 38, "\xff\2\0\0\0\0\0\0\0\0\0\1\xff\0\0\2", 16);
	assert_int_equal(f[54], 135);
	assert_memory_equal(f + 62, r.address[1].b, 16);
	assert_memory_equal(f + 78, "\1\1", 2);
	assert_memory_equal(f + 80, r.wire->end[0].port.mac, 6);
	assert_int_equal(rig_receive(&r, 1), 0); /* it teaches the other who we are */
	assert_int_equal(rig_receive(&r, 0), 0); /* the answer */
	assert_int_equal(rig_receive(&r, 1), 1); /* what waited for it */
	rig_send(&r, 1, r.address[0]);
	assert_int_equal(rig_receive(&r, 0), 1);
	assert_int_equal(netif_stats(r.nif[1])->tx_no_neighbour, 0);

	/* bounded, as with ARP */
	for (unsigned i = 0; i < 1000; i++) {
		rig_send(&r, 0, addr("fd00::9"));
		r.wire->now += 1000000;
	}
	assert_int_equal(netif_stats(r.nif[0])->tx_arp, 6);
	while (r.wire->end[1].queued)
		rig_receive(&r, 1);
	/* asked again in time, the known MAC first */
	r.wire->now += 40000000000;
	rig_send(&r, 0, r.address[1]);
	assert_memory_equal(r.wire->end[1].queue[0].bytes, r.wire->end[1].port.mac, 6);
	assert_int_equal(rig_receive(&r, 1), 1);
	rig_finish(&r);
}

static uint32_t frame(uint8_t *f, const struct rig *r, uint32_t len)
{
	memcpy(f, r->wire->end[1].port.mac, 6);
	memcpy(f + 6, r->wire->end[0].port.mac, 6);
	memcpy(f + 12, "\x86\xdd", 2);
	return 14 + len;
}

/* ICMPv6's checksum anew. */
static void resum(uint8_t *f)
{
	uint32_t len = (uint32_t)f[18] << 8 | f[19], sum = len + 58;

	f[56] = f[57] = 0;
	for (uint32_t i = 22; i < 54 + len; i++)
		sum += i & 1 ? f[i] : (uint32_t)f[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	f[56] = (uint8_t)(~sum >> 8);
	f[57] = (uint8_t)~sum;
}

static bool answered(struct rig *r, const uint8_t *f, uint32_t len)
{
	uint8_t answer[512];

	wire_put(r->wire, 1, f, len, r->wire->now);
	assert_int_equal(rig_receive(r, 1), 0);
	return rig_take(r, 0, answer) > 0;
}

static void test_discovery_refuses(void **state)
{
	struct rig r = rig_start();
	uint8_t good[256], f[256], *mac = r.wire->end[0].port.mac;
	uint32_t len;

	(void)state;
	len = frame(good, &r, icmp6_solicitation(good + 14, r.address[0], r.address[1], mac, false));
	assert_true(answered(&r, good, len));
#define REFUSED(change)                         \
	do {                                    \
		memcpy(f, good, sizeof(f));     \
		change;                         \
		resum(f);                       \
		assert_false(answered(&r, f, len)); \
	} while (0)
	REFUSED(f[21] = 254);		      /* it came through a router */
	REFUSED(f[55] = 1);		      /* a code that there is not */
	REFUSED(f[77] ^= 1);		      /* not for us */
	REFUSED(memcpy(f + 22, f + 62, 16));  /* from us */
	REFUSED(f[22] = 0xff);		      /* from a group */
	REFUSED(f[79] = 0);		      /* an option of no length */
	REFUSED(f[79] = 2);		      /* one longer than the packet */
	REFUSED(f[19] = 23);		      /* cut short */
	REFUSED(memset(f + 22, 0, 16));	      /* nobody, with a MAC */
	memcpy(f, good, sizeof(f));
	f[57] ^= 1; /* checksum */
	assert_false(answered(&r, f, len));
	for (uint32_t cut = 0; cut < len; cut++)
		assert_false(answered(&r, good, cut));

	/* is the address taken? all nodes are told so */
	memset(good + 22, 0, 16);
	memcpy(good, "\x33\x33\xff\0\0\2", 6);
	memcpy(good + 38, "\xff\2\0\0\0\0\0\0\0\0\0\1\xff\0\0\2", 16);
	good[19] = 24;
	resum(good);
	wire_put(r.wire, 1, good, len - 8, r.wire->now);
	assert_int_equal(rig_receive(&r, 1), 0);
	assert_int_equal(rig_take(&r, 0, f), 86);
	assert_memory_equal(f, "\x33\x33\0\0\0\1", 6);
	assert_int_equal(f[54], 136);
	assert_int_equal(f[58], 0x20);

	/* an advertisement that nobody asked for makes no entry; one for an entry must override to change it */
	len = frame(good, &r, icmp6_advertisement(good + 14, addr("fd00::7"), r.address[1], mac));
	assert_false(answered(&r, good, len));
	rig_send(&r, 1, addr("fd00::7"));
	assert_int_equal(netif_stats(r.nif[1])->tx_no_neighbour, 1);
	rig_take(&r, 0, f);
	assert_true(answered(&r, good, len)); /* that is what it asked: the packet goes out */
	good[81] ^= 0x55;
	good[58] = 0x40;
	resum(good);
	assert_false(answered(&r, good, len));
	rig_send(&r, 1, addr("fd00::7"));
	assert_int_equal(rig_take(&r, 0, f), 142);
	assert_memory_equal(f, mac, 6);
	rig_finish(&r);
}

static void test_ping(void **state)
{
	struct rig r = rig_start();
	uint8_t f[200] = {0}, want[200], got[200];

	(void)state;
	for (uint32_t bytes = 0; bytes < 60; bytes += 7) {
		uint32_t len = frame(f, &r, 48 + bytes);

		memset(f + 14, 0, 48);
		f[14] = 0x6a, f[15] = 0xbc; /* some class and flow */
		f[19] = (uint8_t)(8 + bytes);
		f[20] = 58;
		f[21] = 3;
		memcpy(f + 22, r.address[0].b, 16);
		memcpy(f + 38, r.address[1].b, 16);
		memcpy(f + 54, "\x80\0\0\0\xab\xcd\0\5", 8);
		for (uint32_t i = 0; i < bytes; i++)
			f[62 + i] = (uint8_t)(i * 37);
		resum(f);
		memcpy(want, f, len);
		memcpy(want, f + 6, 6);
		memcpy(want + 6, f, 6);
		memcpy(want + 14, "\x60\0\0\0", 4);
		want[21] = 64;
		memcpy(want + 22, f + 38, 16);
		memcpy(want + 38, f + 22, 16);
		want[54] = 129;
		resum(want);
		wire_put(r.wire, 1, f, len, r.wire->now);
		assert_int_equal(rig_receive(&r, 1), 0);
		assert_int_equal(rig_take(&r, 0, got), len);
		assert_memory_equal(got, want, len);
		f[56] ^= 1;
		assert_false(answered(&r, f, len));
		f[56] ^= 1;
		f[22] = 0xfe, f[23] = 0x80; /* link-local: it has no business here */
		resum(f);
		assert_false(answered(&r, f, len));
	}
	assert_int_equal(netif_stats(r.nif[1])->rx_echo, 9);
	rig_finish(&r);
}

static void test_any_frame(void **state)
{
	struct rig r = rig_start();

	(void)state;
	for (unsigned i = 0; i < 30000; i++) {
		uint8_t f[130];
		uint32_t len = (uint32_t)(wire_draw(r.wire) % sizeof(f));

		for (uint32_t j = 0; j < len; j++)
			f[j] = (uint8_t)wire_draw(r.wire);
		if (len > 64) {
			frame(f, &r, 0);
			f[14] = 0x60;
			f[18] = 0;
			f[19] = (uint8_t)(i & 3 ? len - 54 : f[19]);
			f[20] = i & 4 ? 58 : 17;
			f[21] = 255;
			memcpy(f + 38, r.address[1].b, 16);
			f[54] = (uint8_t)(133 + (i >> 3 & 3));
			f[55] = 0;
			if (f[20] == 58 && f[19] == len - 54)
				resum(f);
		}
		wire_put(r.wire, 1, f, len, r.wire->now);
		assert_int_equal(rig_receive(&r, 1), 0);
		while (r.wire->end[0].queued)
			rig_receive(&r, 0);
	}
	rig_finish(&r);
}

/* Strangers who ask fill the table of neighbours; those that this node sends to keep their places. */
static void test_strangers(void **state)
{
	struct rig r = rig_start();
	uint8_t f[256];

	(void)state;
	rig_send(&r, 1, r.address[0]);
	for (unsigned i = 0; i < 3; i++) {
		rig_receive(&r, 0);
		rig_receive(&r, 1);
	}
	for (unsigned i = 0; i < 2000; i++) {
		struct ip_addr from = addr("fd00:1::");
		uint32_t len;

		from.b[14] = (uint8_t)(i >> 8);
		from.b[15] = (uint8_t)i;
		len = frame(f, &r, icmp6_solicitation(f + 14, from, r.address[1], r.wire->end[0].port.mac, false));
		wire_put(r.wire, 1, f, len, r.wire->now);
		rig_receive(&r, 1);
		rig_receive(&r, 0);
	}
	rig_send(&r, 1, r.address[0]);
	assert_int_equal(rig_receive(&r, 0), 1);
	/* and there is room for another peer */
	rig_send(&r, 1, addr("fd00::77"));
	assert_int_equal(netif_stats(r.nif[1])->tx_no_neighbour, 2);
	assert_int_equal(rig_take(&r, 0, f), 86);
	assert_int_equal(f[54], 135);
	rig_finish(&r);
}

/* ---------------------------------------------------------------- the engine */

static void test_verbs(void **state)
{
	static uint8_t out[70000], in[70000];

	(void)state;
	for (unsigned run = 0; run < 4; run++) {
		struct pair *p = pair_new_at(run + 1, 1 << 20, run & 1 ? PORT_L2 : PORT_UDP, addr("fd00::1"));
		struct roce_qp_conf conf = pair_conf();
		uint64_t old[2] = {0};

		if (run > 1)
			p->wire->fault = (struct wire_fault){.lose = 20000, .repeat = 20000, .reorder = 20000,
							     .spoil = 20000, .delay_ns = 1500, .late_ns = 20000};
		/* the family must be the device's */
		conf.peer_address = addr("10.0.0.1");
		conf.mtu = 4096;
		assert_int_equal(pair_connect(p, &conf), 0);
		for (uint32_t i = 0; i < sizeof(out); i++)
			out[i] = (uint8_t)(i * 7 + run);
		*(uint64_t *)(p->host[1].memory + 200000) = 77;
		assert_int_equal(pair_post(&p->host[0], ROCE_WR_WRITE, 100, out, sizeof(out), 1, 0), 0);
		assert_int_equal(pair_post(&p->host[0], ROCE_WR_READ, 100, in, sizeof(in), 2, 0), 0);
		assert_int_equal(pair_post(&p->host[0], ROCE_WR_SEND, 0, out, 60000, 3, 0), 0);
		assert_int_equal(pair_post_atomic(&p->host[0], ROCE_WR_CAS, 200000, &old[0], 77, 99, 4, 0), 0);
		assert_int_equal(pair_post_atomic(&p->host[0], ROCE_WR_FAA, 200000, &old[1], 0, 3, 5, 0), 0);
		assert_true(pair_settle(p, 1000000));
		assert_int_equal(p->host[0].done_count, 5);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(p->host[0].done[i].status, STATUS_OK);
		assert_memory_equal(in, out, sizeof(in));
		assert_int_equal(p->host[1].received_len, 60000);
		assert_int_equal(old[0], 77);
		assert_int_equal(old[1], 99);
		assert_true(pair_delete(p));
	}
}

static void test_family(void **state)
{
	struct pair *p = pair_new_at(1, 4096, PORT_UDP, addr("fd00::1"));
	struct roce_qp_conf conf = pair_conf();
	struct roce_qp *qp = roce_qp_new(p->host[0].dev, NULL);
	uint8_t mad[4] = {0};

	(void)state;
	conf.peer_address = addr("10.0.0.1");
	conf.peer_qpn = 5;
	assert_int_equal(roce_qp_ready(qp, &conf), -EINVAL);
	conf.peer_address = addr("fd00::2");
	/* 20 bytes more than over IPv4 */
	conf.mtu = 4096;
	assert_int_equal(roce_qp_ready(qp, &conf), 0);
	assert_int_equal(roce_send_datagram(p->host[0].dev, addr("10.0.0.1"), mad, sizeof(mad)), -EINVAL);
	assert_true(pair_delete(p));
}

static int setup(void **state)
{
	(void)state;
	icrc_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	  cmocka_unit_test(test_packets),
		cmocka_unit_test(test_cm),	  cmocka_unit_test(test_discovery),
		cmocka_unit_test(test_ping),	  cmocka_unit_test(test_discovery_refuses),
		cmocka_unit_test(test_any_frame), cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_verbs),	  cmocka_unit_test(test_family),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
