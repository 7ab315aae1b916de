/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, end to end: what each verb does, and what each fault does to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/roce_pair.h"

static const uint64_t *counters(struct pair *p, int e)
{
	return roce_counters(p->host[e].dev);
}

static void fill(uint8_t *at, uint32_t len, uint8_t first)
{
	for (uint32_t i = 0; i < len; i++)
		at[i] = (uint8_t)(first + i * 7 + (i >> 8));
}

static struct pair *start(uint32_t mtu, bool atoll)
{
	struct pair *p = pair_new(42, 1 << 20);
	struct roce_qp_conf conf = pair_conf();

	conf.mtu = mtu;
	conf.atoll = atoll;
	assert_int_equal(pair_connect(p, &conf), 0);
	return p;
}

static void finish(struct pair *p)
{
	assert_true(pair_delete(p));
}

static void expect_done(struct pair_host *h, unsigned i, uint64_t cookie, uint8_t status)
{
	assert_true(i < h->done_count);
	assert_int_equal(h->done[i].cookie, cookie);
	assert_int_equal(h->done[i].status, status);
}

static void test_every_verb(void **state)
{
	static const uint32_t lengths[] = {0, 1, 3, 8, 64, 255, 256, 257, 1024, 4096, 4097, 65536};
	static const uint32_t mtus[] = {256, 512, 1024, 2048, 4096};
	static uint8_t out[1 << 20], in[1 << 20];

	(void)state;
	for (unsigned m = 0; m < 5; m++) {
		for (unsigned l = 0; l < sizeof(lengths) / sizeof(*lengths); l++) {
			struct pair *p = start(mtus[m], l % 2);
			struct pair_host *a = &p->host[0], *b = &p->host[1];
			uint32_t len = lengths[l];
			uint64_t old[2] = {0, 0}, word = 77;

			fill(out, len, (uint8_t)(m * 16 + l));
			memset(in, 0, len);
			memcpy(b->memory + 200000, &word, 8);
			assert_int_equal(pair_post(a, ROCE_WR_WRITE, 100, out, len, 1, 0), 0);
			assert_int_equal(pair_post(a, ROCE_WR_READ, 100, in, len, 2, 0), 0);
			assert_int_equal(pair_post(a, ROCE_WR_SEND, 0, out, len, 3, 0), 0);
			assert_int_equal(
				pair_post_atomic(a, ROCE_WR_CAS, 200000, &old[0], 77, 99, 4, 0), 0);
			assert_int_equal(
				pair_post_atomic(a, ROCE_WR_FAA, 200000, &old[1], 0, 3, 5, 0), 0);
			assert_true(pair_settle(p, 100000));
			for (unsigned i = 0; i < 5; i++)
				expect_done(a, i, i + 1, STATUS_OK);
			assert_int_equal(a->done_count, 5);
			assert_memory_equal(b->memory + 100, out, len);
			assert_memory_equal(in, out, len);
			assert_int_equal(b->received, 1);
			assert_int_equal(b->received_len, len);
			assert_memory_equal(b->received_data, out, len);
			assert_int_equal(old[0], 77);
			assert_int_equal(old[1], 99);
			memcpy(&word, b->memory + 200000, 8);
			assert_int_equal(word, 102);
			assert_int_equal(counters(p, 0)[ROCE_C_RETRANSMIT], 0);
			finish(p);
		}
	}
}

static void test_failed_cas_leaves_memory(void **state)
{
	struct pair *p = start(1024, true);
	uint64_t old = 0, word = 5;

	(void)state;
	memcpy(p->host[1].memory, &word, 8);
	pair_post_atomic(&p->host[0], ROCE_WR_CAS, 0, &old, 6, 7, 1, 0);
	assert_true(pair_settle(p, 1000));
	memcpy(&word, p->host[1].memory, 8);
	assert_int_equal(old, 5);
	assert_int_equal(word, 5);
	finish(p);
}

static void test_long_read_in_window(void **state)
{
	struct pair *p = start(4096, true);
	struct pair_host *a = &p->host[0], *b = &p->host[1];
	uint8_t *in = calloc(1, 1 << 20);
	unsigned most = 0;

	(void)state;
	fill(b->memory, 1 << 20, 3);
	assert_int_equal(pair_post(a, ROCE_WR_READ, 0, in, 1 << 20, 1, 0), 0);
	while (pair_step(p))
		most = p->wire->end[0].queued > most ? p->wire->end[0].queued : most;
	expect_done(a, 0, 1, STATUS_OK);
	assert_memory_equal(in, b->memory, 1 << 20);
	assert_true(most * 4096 <= ROCE_WINDOW_DEFAULT);
	free(in);
	finish(p);
}

static void test_small_read_passes_long(void **state)
{
	struct pair *p = pair_new(1, 1 << 20);
	struct roce_qp_conf conf = pair_conf();
	struct roce_qp *qps[2];
	uint8_t *in = calloc(1, 1 << 20), small[64];
	unsigned steps = 0;

	(void)state;
	conf.mtu = 4096;
	assert_int_equal(pair_connect(p, &conf), 0);
	qps[0] = p->host[0].qp;
	assert_int_equal(pair_connect(p, &conf), 0);
	qps[1] = p->host[0].qp;
	p->host[0].qp = qps[0];
	pair_post(&p->host[0], ROCE_WR_READ, 0, in, 1 << 20, 1, 0);
	for (int i = 0; i < 20; i++)
		pair_step(p);
	p->host[0].qp = qps[1];
	pair_post(&p->host[0], ROCE_WR_READ, 0, small, 64, 2, 0);
	while (!p->host[0].done_count && steps++ < 100000)
		pair_step(p);
	expect_done(&p->host[0], 0, 2, STATUS_OK);
	assert_true(pair_settle(p, 100000));
	expect_done(&p->host[0], 1, 1, STATUS_OK);
	free(in);
	finish(p);
}

/* As the CM has it: each side says with which PSN the other begins. */
static void test_peer_chooses_the_psn(void **state)
{
	struct pair *p = pair_new(42, 1 << 20);
	struct roce_qp_conf conf = pair_conf();
	uint64_t old = 0;

	(void)state;
	conf.atoll = false;
	for (int e = 0; e < 2; e++)
		p->host[e].qp = roce_qp_new(p->host[e].dev, &p->host[e]);
	for (int e = 0; e < 2; e++) {
		struct roce_qp *peer = p->host[!e].qp;

		conf.peer_address = p->host[!e].address;
		conf.peer_qpn = roce_qp_number(peer);
		conf.peer_psn = roce_qp_first_psn(p->host[e].qp);
		roce_qp_begin_at(p->host[e].qp, roce_qp_first_psn(peer));
		assert_int_equal(roce_qp_ready(p->host[e].qp, &conf), 0);
	}
	for (int e = 0; e < 2; e++) {
		assert_int_equal(pair_post_atomic(&p->host[e], ROCE_WR_FAA, 0, &old, 0, 1, 1, 0), 0);
		assert_true(pair_settle(p, 10000));
		expect_done(&p->host[e], 0, 1, STATUS_OK);
		assert_int_equal(roce_qp_stats(p->host[e].qp)->timeouts, 0);
	}
	finish(p);
}

static void test_post_refuses(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0];
	uint64_t word = 0;

	(void)state;
	assert_int_equal(pair_post(a, 0, 0, &word, 8, 1, 0), -EINVAL);
	assert_int_equal(pair_post(a, 6, 0, &word, 8, 1, 0), -EINVAL);
	assert_int_equal(pair_post(a, ROCE_WR_READ, 0, NULL, 8, 1, 0), -EINVAL);
	assert_int_equal(pair_post(a, ROCE_WR_SEND, 0, &word, ROCE_SEND_MAX + 1, 1, 0), -EINVAL);
	assert_int_equal(pair_post(a, ROCE_WR_CAS, 0, &word, 4, 1, 0), -EINVAL);
	for (unsigned i = 0; i < 128; i++) {
		assert_int_equal(roce_sq_room(a->qp), 128 - i);
		assert_int_equal(pair_post(a, ROCE_WR_READ, 0, &word, 8, i, 0), 0);
	}
	assert_int_equal(pair_post(a, ROCE_WR_READ, 0, &word, 8, 1, 0), -EAGAIN);
	assert_true(pair_settle(p, 10000));
	assert_int_equal(a->done_count, 128);
	for (unsigned i = 0; i < 128; i++)
		expect_done(a, i, i, STATUS_OK);
	finish(p);
}

static void test_conf_refused(void **state)
{
	struct pair *p = pair_new(1, 4096);
	struct roce_qp_conf conf = pair_conf();

	(void)state;
	conf.mtu = 1500;
	assert_int_equal(pair_connect(p, &conf), -EINVAL);
	conf.mtu = 1024;
	conf.peer_depth = ROCE_DEPTH_MAX + 1;
	assert_int_equal(pair_connect(p, &conf), -EINVAL);
	conf.peer_depth = 1;
	conf.sq_depth = 0;
	assert_int_equal(pair_connect(p, &conf), -EINVAL);
	finish(p);
}

/* ------------------------------------------------------------------ per-verb status */

static void test_status_and_cancelled_chain(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0];
	uint8_t buf[8192];
	uint64_t word;

	(void)state;
	/* Chain: good, out of range, good, good + end. Next chain: good + end. */
	memset(buf, 0xaa, sizeof(buf));
	pair_post(a, ROCE_WR_WRITE, 0, buf, 5000, 1, 0);
	pair_post(a, ROCE_WR_WRITE, (1 << 20) - 10, buf, 5000, 2, 0);
	pair_post(a, ROCE_WR_WRITE, 8192, buf, 100, 3, 0);
	pair_post_atomic(a, ROCE_WR_FAA, 16384, &word, 0, 1, 4, ROCE_WR_CHAIN_END);
	pair_post(a, ROCE_WR_WRITE, 32768, buf, 10, 5, ROCE_WR_CHAIN_END);
	pair_post_atomic(a, ROCE_WR_FAA, 3, &word, 0, 1, 6, ROCE_WR_CHAIN_END);
	pair_post(a, ROCE_WR_READ, 2000000, buf, 4000, 7, 0);
	pair_post(a, ROCE_WR_READ, 0, buf, 4000, 8, ROCE_WR_CHAIN_END);
	pair_post(a, ROCE_WR_READ, 0, buf, 4000, 9, ROCE_WR_CHAIN_END);
	assert_true(pair_settle(p, 10000));
	expect_done(a, 0, 1, STATUS_OK);
	expect_done(a, 1, 2, STATUS_RANGE);
	expect_done(a, 2, 3, STATUS_CANCELLED);
	expect_done(a, 3, 4, STATUS_CANCELLED);
	expect_done(a, 4, 5, STATUS_OK);
	expect_done(a, 5, 6, STATUS_ALIGN);
	expect_done(a, 6, 7, STATUS_RANGE);
	expect_done(a, 7, 8, STATUS_CANCELLED);
	expect_done(a, 8, 9, STATUS_OK);
	assert_int_equal(a->done_count, 9);
	assert_int_equal(p->host[1].memory[8192], 0);
	assert_int_equal(p->host[1].memory[16384], 0);
	assert_int_equal(p->host[1].memory[32768], 0xaa);
	assert_int_equal(roce_qp_state(a->qp), ROCE_QP_READY);
	assert_int_equal(a->errors + p->host[1].errors, 0);
	finish(p);
}

static void test_too_big_send(void **state)
{
	struct pair *p = pair_new(3, 4096);
	struct roce_qp_conf conf = pair_conf();
	static uint8_t buf[20000];

	(void)state;
	conf.recv_max = 10000;
	assert_int_equal(pair_connect(p, &conf), 0);
	pair_post(&p->host[0], ROCE_WR_SEND, 0, buf, 20000, 1, ROCE_WR_CHAIN_END);
	pair_post(&p->host[0], ROCE_WR_SEND, 0, buf, 10000, 2, ROCE_WR_CHAIN_END);
	assert_true(pair_settle(p, 10000));
	expect_done(&p->host[0], 0, 1, STATUS_TOO_BIG);
	expect_done(&p->host[0], 1, 2, STATUS_OK);
	assert_int_equal(p->host[1].received, 1);
	finish(p);
}

static bool lose_statuses(void *arg, int from, const uint8_t *data, uint32_t len)
{
	unsigned *left = arg;

	(void)from;
	(void)len;
	if (((const struct wire_roce *)data)->bth.opcode != ROCE_OP_VERB_STATUS || !*left)
		return true;
	--*left;
	return false;
}

/* The region comes back while the status is lost: the verb must stay failed, its chain cancelled.
 */
static void test_lost_status_does_not_succeed(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0];
	unsigned lose = 5;
	uint8_t ones[100];
	uint64_t word;

	(void)state;
	memset(ones, 1, sizeof(ones));
	p->wire->filter = lose_statuses;
	p->wire->filter_arg = &lose;
	pair_post(a, ROCE_WR_WRITE, 0, ones, 100, 1, ROCE_WR_CHAIN_END);
	assert_true(pair_settle(p, 10000));
	p->host[1].refuse = STATUS_FENCED;
	pair_post(a, ROCE_WR_WRITE, 200, ones, 100, 2, 0);
	pair_post(a, ROCE_WR_WRITE, 400, ones, 100, 3, 0);
	pair_post_atomic(a, ROCE_WR_FAA, 800, &word, 0, 1, 4, ROCE_WR_CHAIN_END);
	while (lose > 2)
		pair_step(p);
	p->host[1].refuse = STATUS_OK;
	pair_post(a, ROCE_WR_WRITE, 600, ones, 100, 5, ROCE_WR_CHAIN_END);
	assert_true(pair_settle(p, 10000));
	assert_int_equal(lose, 0);
	expect_done(a, 0, 1, STATUS_OK);
	expect_done(a, 1, 2, STATUS_FENCED);
	expect_done(a, 2, 3, STATUS_CANCELLED);
	expect_done(a, 3, 4, STATUS_CANCELLED);
	expect_done(a, 4, 5, STATUS_OK);
	assert_int_equal(p->host[1].memory[200] + p->host[1].memory[400] + p->host[1].memory[800],
			 0);
	assert_int_equal(p->host[1].memory[600], 1);
	finish(p);
}

static void test_stock_peer_gets_nak(void **state)
{
	struct pair *p = start(1024, false);
	struct pair_host *a = &p->host[0];
	uint8_t buf[64];

	(void)state;
	pair_post(a, ROCE_WR_WRITE, 0, buf, 64, 1, 0);
	pair_post(a, ROCE_WR_WRITE, 2000000, buf, 64, 2, 0);
	pair_post(a, ROCE_WR_WRITE, 0, buf, 64, 3, 0);
	assert_true(pair_settle(p, 10000));
	expect_done(a, 0, 1, STATUS_OK);
	expect_done(a, 1, 2, STATUS_REMOTE_ERROR);
	expect_done(a, 2, 3, STATUS_UNREACHABLE);
	assert_int_equal(a->why, ROCE_ERR_REMOTE_ACCESS);
	assert_int_equal(p->host[1].errors, 1);
	assert_int_equal(roce_qp_state(p->host[1].qp), ROCE_QP_ERROR);
	assert_int_equal(pair_post(a, ROCE_WR_WRITE, 0, buf, 64, 4, 0), -ENOTCONN);
	finish(p);
}

static void test_revoke_mid_read(void **state)
{
	for (int atoll = 0; atoll < 2; atoll++) {
		struct pair *p = start(1024, atoll);
		struct pair_host *a = &p->host[0], *b = &p->host[1];
		uint8_t *in = calloc(1, 1 << 20);

		(void)state;
		pair_post(a, ROCE_WR_READ, 0, in, 1 << 20, 1, ROCE_WR_CHAIN_END);
		for (int i = 0; i < 60; i++)
			pair_step(p);
		assert_int_equal(a->done_count, 0);
		roce_memory_revoke(b->dev, b->memory, b->memory_len);
		b->refuse = STATUS_BAD_HANDLE;
		memset(b->memory, 0xee, b->memory_len);
		assert_true(pair_settle(p, 100000));
		expect_done(a, 0, 1, atoll ? STATUS_BAD_HANDLE : STATUS_REMOTE_ERROR);
		for (uint32_t i = 0; i < 1 << 20; i++)
			assert_int_not_equal(in[i], 0xee);
		b->refuse = STATUS_OK;
		if (atoll) {
			pair_post(a, ROCE_WR_READ, 0, in, 100, 2, ROCE_WR_CHAIN_END);
			assert_true(pair_settle(p, 10000));
			expect_done(a, 1, 2, STATUS_OK);
		}
		free(in);
		finish(p);
	}
}

/* ------------------------------------------------------------------ time */

static void test_rnr_waits(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0], *b = &p->host[1];
	static uint8_t buf[3000];

	(void)state;
	fill(buf, sizeof(buf), 1);
	b->busy = true;
	pair_post(a, ROCE_WR_SEND, 0, buf, 3000, 1, 0);
	pair_post(a, ROCE_WR_SEND, 0, buf, 10, 2, 0);
	for (int i = 0; i < 200; i++)
		pair_step(p);
	assert_true(counters(p, 1)[ROCE_C_RNR_NAK] > 1);
	assert_int_equal(a->done_count, 0);
	b->busy = false;
	assert_true(pair_settle(p, 10000));
	expect_done(a, 0, 1, STATUS_OK);
	expect_done(a, 1, 2, STATUS_OK);
	assert_int_equal(b->received, 2);
	finish(p);
}

static void test_rnr_gives_up(void **state)
{
	struct pair *p = pair_new(9, 4096);
	struct roce_qp_conf conf = pair_conf();
	uint8_t buf[8];

	(void)state;
	conf.rnr_retry = 3;
	assert_int_equal(pair_connect(p, &conf), 0);
	p->host[1].busy = true;
	pair_post(&p->host[0], ROCE_WR_SEND, 0, buf, 8, 1, 0);
	assert_true(pair_settle(p, 10000));
	expect_done(&p->host[0], 0, 1, STATUS_UNREACHABLE);
	assert_int_equal(p->host[0].why, ROCE_ERR_RNR);
	assert_int_equal(counters(p, 1)[ROCE_C_RNR_NAK], 4);
	finish(p);
}

static void test_silence_ends_the_qp(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0];
	static uint8_t buf[65536];
	uint64_t began;

	(void)state;
	p->wire->fault.lose = 1000000;
	began = p->wire->now;
	for (unsigned i = 0; i < 8; i++)
		pair_post(a, ROCE_WR_WRITE, 0, buf, 65536, i, 0);
	assert_true(pair_settle(p, 100000));
	assert_int_equal(a->done_count, 8);
	expect_done(a, 0, 0, STATUS_UNREACHABLE);
	expect_done(a, 7, 7, STATUS_NOT_SENT);
	assert_int_equal(a->why, ROCE_ERR_RETRY);
	assert_true(p->wire->now - began >= 8 * 1000000);
	assert_true(p->wire->now - began < 9 * 1000000);
	finish(p);
}

static void note_time(struct pair_host *h, uint64_t cookie, uint8_t status)
{
	(void)status;
	((uint64_t *)h->test)[cookie] = h->pair->wire->now;
}

/* One packet in 16 asks for its acknowledgement; the rest is acknowledged with it, or later. */
static void test_delayed_acks(void **state)
{
	struct pair *p = pair_new(9, 4096);
	struct roce_qp_conf conf = pair_conf();
	struct pair_host *a = &p->host[0];
	uint8_t data[8] = {1};
	uint64_t begun, at[40] = {0};

	(void)state;
	a->test = at;
	a->on_complete = note_time;
	conf.ack_delay_ns = 50000;
	assert_int_equal(pair_connect(p, &conf), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(pair_post(a, ROCE_WR_SEND, 0, data, sizeof(data), i, 0), 0);
	begun = p->wire->now;
	assert_true(pair_settle(p, 1000));
	assert_int_equal(a->done_count, 40);
	assert_true(at[31] - begun < conf.ack_delay_ns);
	assert_true(at[32] - begun >= conf.ack_delay_ns);
	assert_int_equal(counters(p, 1)[ROCE_C_RX], 40);
	assert_in_range(counters(p, 0)[ROCE_C_RX], 2, 3);
	assert_int_equal(counters(p, 0)[ROCE_C_TIMEOUT], 0);
	finish(p);
}

static void test_destroy_in_flight(void **state)
{
	for (unsigned steps = 0; steps < 40; steps++) {
		struct pair *p = start(1024, true);
		struct pair_host *a = &p->host[0], *b = &p->host[1];
		uint8_t *buf = malloc(1 << 18);
		unsigned victim = steps % 2;

		(void)state;
		for (unsigned i = 0; i < 4; i++) {
			pair_post(a, ROCE_WR_READ, 0, buf, 1 << 16, i, 0);
			pair_post(b, ROCE_WR_WRITE, 0, buf + (1 << 17), 1 << 16, i, 0);
		}
		for (unsigned i = 0; i < steps; i++)
			pair_step(p);
		roce_qp_destroy(p->host[victim].qp);
		free(buf);
		buf = NULL;
		if (victim == 0) {
			assert_int_equal(a->done_count, 4);
			assert_int_equal(a->why, ROCE_ERR_CLOSED);
		}
		/* The peer's own local memory is gone too: end it before it touches it. */
		roce_qp_destroy(p->host[!victim].qp);
		assert_int_equal(a->done_count, 4);
		assert_int_equal(b->done_count, 4);
		assert_true(pair_settle(p, 100000));
		finish(p);
	}
}

static void test_old_packets_do_not_reach_new_qp(void **state)
{
	struct pair *p = start(1024, true);
	struct pair_host *a = &p->host[0], *b = &p->host[1];
	struct roce_qp_conf conf = pair_conf();
	uint8_t ones[64];
	uint32_t old = roce_qp_number(b->qp);

	(void)state;
	memset(ones, 1, sizeof(ones));
	p->wire->fault.delay_ns = 100000;
	pair_post(a, ROCE_WR_WRITE, 0, ones, 64, 1, 0);
	pair_step(p);
	roce_qp_destroy(a->qp);
	roce_qp_destroy(b->qp);
	assert_int_equal(pair_connect(p, &conf), 0);
	assert_int_not_equal(roce_qp_number(b->qp), old);
	assert_true(pair_settle(p, 1000));
	assert_int_equal(b->memory[0], 0);
	assert_int_equal(counters(p, 1)[ROCE_C_BAD_QPN], 1);
	finish(p);
}

static void test_datagram(void **state)
{
	struct pair *p = pair_new(5, 64);
	uint8_t mad[256];

	(void)state;
	fill(mad, 256, 9);
	assert_int_equal(roce_send_datagram(p->host[0].dev, p->host[1].address, mad, 256), 0);
	assert_int_equal(roce_send_datagram(p->host[0].dev, p->host[1].address, mad, 257), -EINVAL);
	assert_true(pair_settle(p, 100));
	assert_int_equal(p->host[1].datagrams, 1);
	assert_memory_equal(p->host[1].received_data, mad, 256);
	finish(p);
}

static void test_port_takes_nothing(void **state)
{
	struct pair *p = start(1024, true);
	static uint8_t buf[65536];

	(void)state;
	p->wire->end[0].accept = 3;
	for (unsigned i = 0; i < 20; i++)
		pair_post(&p->host[0], ROCE_WR_WRITE, 0, buf, 65536, i, 0);
	for (int i = 0; i < 50; i++)
		pair_step(p);
	assert_int_equal(p->host[0].errors, 0);
	p->wire->end[0].accept = UINT32_MAX;
	assert_true(pair_settle(p, 100000));
	assert_int_equal(p->host[0].done_count, 20);
	expect_done(&p->host[0], 19, 19, STATUS_OK);
	finish(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_verb),
		cmocka_unit_test(test_failed_cas_leaves_memory),
		cmocka_unit_test(test_long_read_in_window),
		cmocka_unit_test(test_small_read_passes_long),
		cmocka_unit_test(test_peer_chooses_the_psn),
		cmocka_unit_test(test_post_refuses),
		cmocka_unit_test(test_conf_refused),
		cmocka_unit_test(test_status_and_cancelled_chain),
		cmocka_unit_test(test_too_big_send),
		cmocka_unit_test(test_lost_status_does_not_succeed),
		cmocka_unit_test(test_stock_peer_gets_nak),
		cmocka_unit_test(test_revoke_mid_read),
		cmocka_unit_test(test_rnr_waits),
		cmocka_unit_test(test_rnr_gives_up),
		cmocka_unit_test(test_silence_ends_the_qp),
		cmocka_unit_test(test_delayed_acks),
		cmocka_unit_test(test_destroy_in_flight),
		cmocka_unit_test(test_old_packets_do_not_reach_new_qp),
		cmocka_unit_test(test_datagram),
		cmocka_unit_test(test_port_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
