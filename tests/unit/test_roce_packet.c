/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/roce/icrc.h"
#include "dataplane/roce/packet.h"
#include "tests/unit/roce_vectors.h"

enum {
	SRC = 0x0a000001,
	DST = 0x0a000002,
	SRC_PORT = 0xc123
};

struct buffer {
	struct pkt pkt;
	uint8_t bytes[2048];
};

static uint8_t *begin(struct buffer *b, struct packet_flow *flow, uint32_t qpn, uint8_t opcode,
		      uint32_t flags, uint32_t psn, uint32_t ext, uint32_t payload)
{
	packet_flow_init(flow, ip_addr_v4(SRC), ip_addr_v4(DST), SRC_PORT, ROCE_UDP_PORT, qpn);
	memset(b->bytes, 0x5a, sizeof(b->bytes));
	b->pkt = (struct pkt){.data = b->bytes, .room = sizeof(b->bytes)};
	return packet_begin(&b->pkt, flow, opcode, flags, psn, ext, payload);
}

static void put_reth(uint8_t *at)
{
	struct wire_reth *reth = (struct wire_reth *)at;

	reth->va = be64_of(0x1122334455667788);
	reth->rkey = be32_of(0xcafe0001);
	reth->len = be32_of(64);
}

static void check(struct buffer *b, const struct packet_flow *flow, const uint8_t *want, size_t len)
{
	packet_seal(&b->pkt, flow);
	assert_int_equal(b->pkt.len, len);
	assert_memory_equal(b->bytes, want, len);
	assert_int_equal(b->bytes[len], 0x5a);
}

static void test_build(void **state)
{
	struct packet_flow flow;
	struct wire_aeth *aeth;
	struct wire_atomic *atomic;
	struct buffer b;
	uint8_t *body;

	(void)state;
	body = begin(&b, &flow, 0xabcdef, ROCE_OP_READ_REQUEST, 0, 0x123456, 16, 0);
	put_reth(body);
	check(&b, &flow, read_request, sizeof(read_request));

	body = begin(&b, &flow, 0x11, ROCE_OP_SEND_ONLY, PACKET_SE | PACKET_ACK_REQ, 0xffffff, 0,
		     5);
	memcpy(body, "hello", 5);
	check(&b, &flow, send_only, sizeof(send_only));

	body = begin(&b, &flow, 0x22, ROCE_OP_WRITE_ONLY, PACKET_ACK_REQ, 1, 16, 64);
	put_reth(body);
	for (uint8_t i = 0; i < 64; i++)
		body[16 + i] = i;
	check(&b, &flow, write_only, sizeof(write_only));

	body = begin(&b, &flow, 0x33, ROCE_OP_ACK, 0, 0x77, 4, 0);
	aeth = (struct wire_aeth *)body;
	*aeth = (struct wire_aeth){.syndrome = AETH_ACK | AETH_NO_CREDITS, .msn = be24_of(7)};
	check(&b, &flow, ack, sizeof(ack));

	body = begin(&b, &flow, 0x44, ROCE_OP_FAA, 0, 0x78, 28, 0);
	atomic = (struct wire_atomic *)body;
	*atomic = (struct wire_atomic){.va = be64_of(0x1000),
				       .rkey = be32_of(5),
				       .swap = be64_of(3),
				       .compare = be64_of(0)};
	check(&b, &flow, faa, sizeof(faa));

	body = begin(&b, &flow, 0x55, ROCE_OP_READ_MIDDLE, 0, 0x79, 0, 1024);
	for (uint32_t i = 0; i < 1024; i++)
		body[i] = (uint8_t)(i * 7 + 1);
	packet_seal(&b.pkt, &flow);
	assert_memory_equal(b.bytes + 1064, read_middle_icrc, 4);
}

static void test_parse(void **state)
{
	struct roce_rx rx;

	(void)state;
	assert_int_equal(packet_parse(&rx, read_request, sizeof(read_request)), 0);
	assert_int_equal(rx.opcode, ROCE_OP_READ_REQUEST);
	assert_true(ip_addr_equal(rx.src, ip_addr_v4(SRC)));
	assert_int_equal(rx.qpn, 0xabcdef);
	assert_int_equal(rx.psn, 0x123456);
	assert_int_equal(rx.va, 0x1122334455667788);
	assert_int_equal(rx.rkey, 0xcafe0001);
	assert_int_equal(rx.len, 64);
	assert_int_equal(rx.payload_len, 0);
	assert_false(rx.ack_req || rx.se);

	assert_int_equal(packet_parse(&rx, send_only, sizeof(send_only)), 0);
	assert_int_equal(rx.payload_len, 5);
	assert_memory_equal(rx.payload, "hello", 5);
	assert_true(rx.ack_req && rx.se);

	assert_int_equal(packet_parse(&rx, write_only, sizeof(write_only)), 0);
	assert_int_equal(rx.payload_len, 64);
	assert_ptr_equal(rx.payload, write_only + 56);

	assert_int_equal(packet_parse(&rx, ack, sizeof(ack)), 0);
	assert_int_equal(rx.syndrome, 0x1f);
	assert_int_equal(rx.msn, 7);

	assert_int_equal(packet_parse(&rx, faa, sizeof(faa)), 0);
	assert_int_equal(rx.va, 0x1000);
	assert_int_equal(rx.swap, 3);
}

static int parse_changed(const uint8_t *packet, size_t len, size_t at, uint8_t value)
{
	uint8_t copy[256];
	struct roce_rx rx;

	memcpy(copy, packet, len);
	copy[at] = value;
	return packet_parse(&rx, copy, (uint32_t)len);
}

static void test_refusals(void **state)
{
	struct roce_rx rx;

	(void)state;
	assert_int_equal(parse_changed(ack, sizeof(ack), 0, 0x46), ROCE_C_BAD_VERSION);
	assert_int_equal(parse_changed(ack, sizeof(ack), 9, 6), ROCE_C_BAD_VERSION);
	assert_int_equal(parse_changed(ack, sizeof(ack), 3, 0x31), ROCE_C_BAD_LENGTH);
	assert_int_equal(parse_changed(ack, sizeof(ack), 25, 0x1d), ROCE_C_BAD_LENGTH);
	assert_int_equal(parse_changed(ack, sizeof(ack), 29, 0x41), ROCE_C_BAD_VERSION);
	assert_int_equal(parse_changed(ack, sizeof(ack), 30, 0x12), ROCE_C_BAD_PKEY);
	assert_int_equal(parse_changed(ack, sizeof(ack), 28, 0x3f), ROCE_C_BAD_OPCODE);
	assert_int_equal(parse_changed(ack, sizeof(ack), 29, 0x70), ROCE_C_BAD_LENGTH);
	assert_int_equal(parse_changed(ack, sizeof(ack), 28, ROCE_OP_CAS), ROCE_C_BAD_LENGTH);
	assert_int_equal(parse_changed(write_only, sizeof(write_only), 28, ROCE_OP_READ_REQUEST),
			 ROCE_C_BAD_LENGTH);
	for (uint32_t len = 0; len < sizeof(ack); len++)
		assert_int_equal(packet_parse(&rx, ack, len), ROCE_C_BAD_LENGTH);
}

/* Any opcode with any length: nothing outside the packet is touched (the sanitizers look). */
static void test_any_bytes(void **state)
{
	uint64_t random = 1;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint32_t len = (uint32_t)(random >> 20) % 96;
		uint8_t *packet = malloc(len ? len : 1);
		struct roce_rx rx;

		for (uint32_t j = 0; j < len; j++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			packet[j] = (uint8_t)(random >> 56);
		}
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (len >= 44) {
			memcpy(packet, ack, 40);
			packet[3] = (uint8_t)len;
			packet[25] = (uint8_t)(len - 20);
			packet[28] = (uint8_t)(random >> 40);
			packet[29] = (uint8_t)((random >> 48) & 0xf0);
		}
		if (packet_parse(&rx, packet, len) == 0) {
			assert_true(rx.payload >= packet + 40);
			assert_true(rx.payload + rx.payload_len <= packet + len - 4);
		}
		free(packet);
	}
}

static void test_copy(void **state)
{
	uint8_t from[300], to[300];

	(void)state;
	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i + 1);
	for (unsigned at = 0; at < 9; at++) {
		for (unsigned len = 0; len + 9 < sizeof(from); len++) {
			memset(to, 0, sizeof(to));
			packet_copy(to + at, from + 8 - at, len);
			assert_memory_equal(to + at, from + 8 - at, len);
			assert_int_equal(to[at + len], 0);
		}
	}
}

static void test_psn_arithmetic(void **state)
{
	(void)state;
	assert_int_equal(psn_add(0xffffff, 1), 0);
	assert_int_equal(psn_diff(0, 0xffffff), 1);
	assert_int_equal(psn_diff(0xffffff, 0), -1);
	assert_int_equal(psn_diff(0x7fffff, 0), 0x7fffff);
	assert_int_equal(psn_diff(0x800000, 0), -0x800000);
	assert_int_equal(psn_since(3, 0xfffffe), 5);
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
		cmocka_unit_test(test_build),    cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_copy),     cmocka_unit_test(test_psn_arithmetic),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
