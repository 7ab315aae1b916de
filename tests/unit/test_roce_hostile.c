/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind of bad packet gets: its own counter, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/roce_pair.h"

/* A packet to end 1's QP as its peer would send it, from the PSN that is expected there. */
struct forged {
	struct pair *pair;
	struct pkt pkt;
	struct packet_flow flow;
	uint8_t bytes[8192];
};

static uint8_t *forge(struct forged *f, uint8_t opcode, uint32_t flags, uint32_t ahead,
		      uint32_t ext, uint32_t payload)
{
	uint32_t psn = psn_add(roce_qp_first_psn(f->pair->host[0].qp), ahead);
	uint8_t *body;

	f->pkt = (struct pkt){.data = f->bytes, .room = sizeof(f->bytes)};
	packet_flow_init(&f->flow, f->pair->host[0].address, f->pair->host[1].address, 0xc000,
			 ROCE_UDP_PORT, roce_qp_number(f->pair->host[1].qp));
	body = packet_begin(&f->pkt, &f->flow, opcode, flags, psn, ext, payload);
	memset(body, 0, ext + payload);
	return body;
}

static void put_reth(uint8_t *at, uint64_t va, uint32_t len)
{
	struct wire_reth *reth = (struct wire_reth *)at;

	reth->va = be64_of(va);
	reth->rkey = be32_of(PAIR_KEY);
	reth->len = be32_of(len);
}

/* Sends it sealed; how much @counter rose. */
static uint64_t rises(struct forged *f, enum roce_counter counter)
{
	const uint64_t *counters = roce_counters(f->pair->host[1].dev);
	uint64_t before = counters[counter];

	packet_seal(&f->pkt, &f->flow);
	wire_put(f->pair->wire, 1, f->bytes, f->pkt.len, f->pair->wire->now);
	roce_input(f->pair->host[1].dev, f->pair->wire->now, 32);
	return counters[counter] - before;
}

static struct forged *start(bool atoll)
{
	struct forged *f = calloc(1, sizeof(*f));
	struct roce_qp_conf conf = pair_conf();

	f->pair = pair_new(11, 1 << 16);
	conf.atoll = atoll;
	assert_int_equal(pair_connect(f->pair, &conf), 0);
	return f;
}

static void finish(struct forged *f)
{
	assert_true(pair_delete(f->pair));
	free(f);
}

static void test_counted_and_dropped(void **state)
{
	struct forged *f = start(true);
	struct pair_host *b = &f->pair->host[1];
	uint64_t sent;

	(void)state;
	sent = roce_counters(b->dev)[ROCE_C_TX];
	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	f->flow.headers.bth.qpn = be24_of(roce_qp_number(b->qp) + 1);
	((struct wire_roce *)f->bytes)->bth.qpn = f->flow.headers.bth.qpn;
	assert_int_equal(rises(f, ROCE_C_BAD_QPN), 1);
	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	((struct wire_roce *)f->bytes)->bth.pkey = be16_of(0x1234);
	assert_int_equal(rises(f, ROCE_C_BAD_PKEY), 1);
	forge(f, 0x1f, PACKET_ACK_REQ, 0, 0, 8);
	assert_int_equal(rises(f, ROCE_C_BAD_OPCODE), 1);
	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	((struct wire_roce *)f->bytes)->bth.flags |= 1;
	assert_int_equal(rises(f, ROCE_C_BAD_VERSION), 1);
	forge(f, ROCE_OP_ACK, 0, 0, 4, 8);
	assert_int_equal(rises(f, ROCE_C_BAD_LENGTH), 1);
	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	((struct wire_roce *)f->bytes)->ip.src = be32_of(0x0a000009);
	assert_int_equal(rises(f, ROCE_C_BAD_PEER), 1);
	forge(f, ROCE_OP_ACK, 0, 0, 4, 0);
	((struct wire_roce *)f->bytes)->bth.psn = be24_of(roce_qp_first_psn(b->qp));
	assert_int_equal(rises(f, ROCE_C_BAD_PSN), 1); /* nothing was sent */

	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	packet_seal(&f->pkt, &f->flow);
	f->bytes[PACKET_HEADERS] ^= 1;
	wire_put(f->pair->wire, 1, f->bytes, f->pkt.len, f->pair->wire->now);
	roce_input(b->dev, f->pair->wire->now, 32);
	assert_int_equal(roce_counters(b->dev)[ROCE_C_BAD_ICRC], 1);

	roce_output(b->dev, f->pair->wire->now, 32);
	assert_int_equal(roce_counters(b->dev)[ROCE_C_TX], sent); /* none is answered */
	assert_int_equal(b->received + b->errors, 0);

	roce_qp_fail(b->qp, ROCE_ERR_CLOSED);
	forge(f, ROCE_OP_SEND_ONLY, PACKET_ACK_REQ, 0, 0, 8);
	assert_int_equal(rises(f, ROCE_C_BAD_STATE), 1);
	finish(f);
}

static void test_address_overflow(void **state)
{
	struct forged *f = start(true);

	(void)state;
	put_reth(forge(f, ROCE_OP_READ_REQUEST, PACKET_SE, 0, 16, 0), UINT64_MAX - 3, 8);
	assert_int_equal(rises(f, ROCE_C_ACCESS_DENIED), 1);
	assert_int_equal(f->pair->host[1].checks, 0); /* the host need not know of such */
	put_reth(forge(f, ROCE_OP_WRITE_ONLY, PACKET_SE, 1, 16, 8), PAIR_BASE + 65530, 8);
	assert_int_equal(rises(f, ROCE_C_ACCESS_DENIED), 1);
	assert_int_equal(f->pair->host[1].errors, 0);
	finish(f);
}

/* Breaches of the protocol end the QP with NAK invalid request, also between Atoll nodes. */
static void test_breaches(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 14; kind++) {
		struct forged *f = start(kind % 2);
		struct pair_host *b = &f->pair->host[1];

		switch (kind / 2) {
		case 0: /* the middle of nothing */
			forge(f, ROCE_OP_SEND_MIDDLE, 0, 0, 0, 1024);
			break;
		case 1: /* first packet that is not full */
			forge(f, ROCE_OP_SEND_FIRST, 0, 0, 0, 1000);
			break;
		case 2: /* WRITE of more than it said */
			put_reth(forge(f, ROCE_OP_WRITE_ONLY, 0, 0, 16, 100), PAIR_BASE, 50);
			break;
		case 3: /* longer than any request */
			put_reth(forge(f, ROCE_OP_READ_REQUEST, 0, 0, 16, 0), PAIR_BASE, 1u << 31);
			break;
		case 4: /* requests that are not supported */
			forge(f, ROCE_OP_SEND_ONLY_IMM, PACKET_ACK_REQ, 0, 4, 8);
			break;
		case 5:
			put_reth(forge(f, ROCE_OP_WRITE_ONLY_IMM, PACKET_ACK_REQ, 0, 20, 8),
				 PAIR_BASE, 8);
			break;
		case 6:
			forge(f, ROCE_OP_SEND_ONLY_INV, PACKET_ACK_REQ, 0, 4, 8);
			break;
		}
		rises(f, ROCE_C_RX);
		assert_int_equal(b->errors, 0);
		roce_output(b->dev, f->pair->wire->now, 32);
		assert_int_equal(b->errors, 1);
		assert_int_equal(b->why, ROCE_ERR_LOCAL);
		assert_int_equal(f->pair->wire->end[0].queued, 1);
		assert_int_equal(f->pair->wire->end[0].queue[0].bytes[PACKET_HEADERS],
				 AETH_NAK | NAK_INVALID);
		finish(f);
	}
}

static void test_more_reads_than_agreed(void **state)
{
	struct forged *f = start(true);
	struct pair_host *b = &f->pair->host[1];

	(void)state;
	for (uint32_t i = 0; i < 16; i++) {
		put_reth(forge(f, ROCE_OP_READ_REQUEST, 0, i, 16, 0), PAIR_BASE, 64);
		assert_int_equal(rises(f, ROCE_C_NO_BUFFER), 0);
	}
	put_reth(forge(f, ROCE_OP_READ_REQUEST, 0, 16, 16, 0), PAIR_BASE, 64);
	assert_int_equal(rises(f, ROCE_C_NO_BUFFER), 1);
	roce_output(b->dev, f->pair->wire->now, 64);
	assert_int_equal(f->pair->wire->end[0].queued, 16);
	put_reth(forge(f, ROCE_OP_READ_REQUEST, 0, 16, 16, 0), PAIR_BASE, 64);
	assert_int_equal(rises(f, ROCE_C_NO_BUFFER), 0);
	finish(f);
}

/* Responses of a length that was not asked for touch nothing, and the READ still completes. */
static void test_wrong_response(void **state)
{
	struct pair *p = pair_new(4, 1 << 16);
	struct roce_qp_conf conf = pair_conf();
	struct pair_host *a = &p->host[0];
	struct packet_flow flow;
	uint8_t bytes[4096], *local = malloc(100);
	struct pkt pkt = {.data = bytes, .room = sizeof(bytes)};

	(void)state;
	assert_int_equal(pair_connect(p, &conf), 0);
	assert_int_equal(pair_post(a, ROCE_WR_READ, 0, local, 100, 1, 0), 0);
	roce_output(a->dev, p->wire->now, 1);
	packet_flow_init(&flow, p->host[1].address, a->address, 0xc000, ROCE_UDP_PORT,
			 roce_qp_number(a->qp));
	for (uint32_t len = 0; len <= 1024; len += 64) {
		uint8_t *body = packet_begin(&pkt, &flow, ROCE_OP_READ_ONLY, 0,
					     roce_qp_first_psn(a->qp), 4, len);

		memset(body, 0, 4 + len);
		body[0] = AETH_ACK | AETH_NO_CREDITS;
		packet_seal(&pkt, &flow);
		wire_put(p->wire, 0, bytes, pkt.len, p->wire->now);
	}
	roce_input(a->dev, p->wire->now, 64);
	assert_int_equal(roce_counters(a->dev)[ROCE_C_BAD_LENGTH], 17);
	assert_int_equal(a->done_count, 0);
	assert_true(pair_settle(p, 1000));
	assert_int_equal(a->done_count, 1);
	assert_int_equal(a->done[0].status, STATUS_OK);
	free(local);
	assert_true(pair_delete(p));
}

static void test_congestion(void **state)
{
	struct forged *f = start(true);
	struct pair_host *a = &f->pair->host[0], *b = &f->pair->host[1];

	(void)state;
	forge(f, ROCE_OP_SEND_ONLY, 0, 0, 0, 8);
	packet_seal(&f->pkt, &f->flow);
	((struct wire_roce *)f->bytes)->ip.tos = 3;
	wire_put(f->pair->wire, 1, f->bytes, f->pkt.len, f->pair->wire->now);
	roce_input(b->dev, f->pair->wire->now, 1);
	assert_int_equal(b->received, 1);
	f->pair->wire->now += 2000;
	roce_input(a->dev, f->pair->wire->now, 8);
	assert_int_equal(roce_counters(a->dev)[ROCE_C_CNP], 1);
	finish(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counted_and_dropped),
		cmocka_unit_test(test_address_overflow),
		cmocka_unit_test(test_breaches),
		cmocka_unit_test(test_more_reads_than_agreed),
		cmocka_unit_test(test_wrong_response),
		cmocka_unit_test(test_congestion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
