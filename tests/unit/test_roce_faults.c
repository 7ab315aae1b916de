/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random verbs in both directions over a wire that loses, repeats, reorders and spoils packets.
 *
 * The model is a copy of each memory to which every verb is applied when it is posted: one QP
 * executes in the order posted, so at the end memory equals the model, every old value and every
 * READ is what the model held, and completions come once each, in order. Verbs that write are
 * fenced behind earlier READs, as the protocol asks. In the rounds with refused verbs, what the
 * host's check refuses is drawn per rkey, so the model knows the statuses beforehand too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/roce_pair.h"

enum {
	MEMORY = 1 << 18,
	WORDS = 64,
	OPS = 400,
	LENGTH = 20000,
	BAD_KEY = 0x66
};

struct op {
	uint8_t *local;  /* what the engine reads or writes */
	uint8_t *expect; /* READ, atomics: what it must hold at the end */
	uint32_t len;
	uint8_t status;
};

struct side {
	struct pair_host *host;
	struct op ops[OPS];
	unsigned posted, completed;
	uint8_t *model; /* of the other's memory */
	uint8_t sent[OPS][16];
	unsigned sends, delivered;
	struct side *other;
	bool reads_open; /* a READ or atomic since the last fence */
	bool chain_failed;
};

static void on_complete(struct pair_host *h, uint64_t cookie, uint8_t status)
{
	struct side *s = h->test;
	struct op *op = &s->ops[cookie];

	assert_int_equal(cookie, s->completed);
	s->completed++;
	assert_int_equal(status, op->status);
	if (op->expect && status == STATUS_OK)
		assert_memory_equal(op->local, op->expect, op->len);
	free(op->local);
	free(op->expect);
}

static void on_receive(struct pair_host *h, const void *data, uint32_t len)
{
	struct side *from = ((struct side *)h->test)->other;

	assert_true(from->delivered < from->sends);
	assert_memory_equal(data, from->sent[from->delivered], len < 16 ? len : 16);
	from->delivered++;
}

static uint32_t draw_length(struct wire *w)
{
	switch (wire_draw(w) % 4) {
	case 0:
		return 8;
	case 1:
		return (uint32_t)(wire_draw(w) % 300);
	default:
		return (uint32_t)(wire_draw(w) % LENGTH);
	}
}

static void post_one(struct side *s, bool refusals)
{
	struct wire *w = s->host->pair->wire;
	struct roce_wr wr = {.op = (uint8_t)(ROCE_WR_SEND + wire_draw(w) % 5), .rkey = PAIR_KEY};
	struct op *op = &s->ops[s->posted];
	bool atomic = wr.op == ROCE_WR_CAS || wr.op == ROCE_WR_FAA;
	bool fails = refusals && wr.op != ROCE_WR_SEND && wire_draw(w) % 8 == 0;
	uint64_t offset, old, new;

	op->len = wr.len = atomic ? 8 : draw_length(w);
	offset = atomic ? wire_draw(w) % WORDS * 8 : wire_draw(w) % (MEMORY - LENGTH);
	op->local = calloc(1, op->len + 1);
	op->expect = NULL;
	op->status = STATUS_OK;
	wr.cookie = s->posted;
	wr.local = op->local;
	wr.remote = PAIR_BASE + offset;
	if (!refusals || wire_draw(w) % 3 == 0)
		wr.flags |= ROCE_WR_CHAIN_END;
	if (wr.op != ROCE_WR_SEND && wr.op != ROCE_WR_READ && s->reads_open) {
		wr.flags |= ROCE_WR_FENCE;
		s->reads_open = false;
	}
	if (wr.op == ROCE_WR_READ || atomic)
		s->reads_open = true;
	if (fails)
		wr.rkey = BAD_KEY;
	if (s->chain_failed)
		op->status = STATUS_CANCELLED;
	else if (fails && wr.len)
		op->status = STATUS_BAD_HANDLE;
	s->chain_failed =
		(s->chain_failed || op->status != STATUS_OK) && !(wr.flags & ROCE_WR_CHAIN_END);
	if (op->status == STATUS_OK) {
		switch (wr.op) {
		case ROCE_WR_SEND:
		case ROCE_WR_WRITE:
			for (uint32_t i = 0; i < op->len; i++)
				op->local[i] = (uint8_t)(wire_draw(w) >> 7);
			if (wr.op == ROCE_WR_WRITE)
				memcpy(s->model + offset, op->local, op->len);
			else
				memcpy(s->sent[s->sends++], op->local, op->len < 16 ? op->len : 16);
			break;
		case ROCE_WR_READ:
			op->expect = malloc(op->len + 1);
			memcpy(op->expect, s->model + offset, op->len);
			break;
		default:
			memcpy(&old, s->model + offset, 8);
			wr.compare = wire_draw(w) % 2 ? old : old + 1;
			wr.swap = wire_draw(w);
			new = wr.op == ROCE_WR_FAA ? old + wr.swap
			      : old == wr.compare  ? wr.swap
						   : old;
			memcpy(s->model + offset, &new, 8);
			op->expect = malloc(8);
			memcpy(op->expect, &old, 8);
		}
	}
	assert_int_equal(roce_post(s->host->qp, &wr), 0);
	s->posted++;
}

static struct roce_qp_conf draw_conf(struct wire *w, bool atoll)
{
	struct roce_qp_conf conf = pair_conf();

	conf.atoll = atoll;
	conf.mtu = 256u << wire_draw(w) % 5;
	conf.read_depth = conf.peer_depth = (uint16_t)(1u << wire_draw(w) % 6);
	conf.timeout_ns = 300000;
	conf.ack_delay_ns = atoll && wire_draw(w) % 2 ? 20000 : 0;
	return conf;
}

/* Fresh QPs whose PSNs soon wrap. */
static int connect_near_wrap(struct pair *p, const struct roce_qp_conf *conf)
{
	struct roce_qp_conf c[2] = {*conf, *conf};
	int err = 0;

	for (int e = 0; e < 2; e++) {
		struct pair_host *h = &p->host[e];

		while ((h->qp = roce_qp_new(h->dev, h)) && roce_qp_first_psn(h->qp) < 0xffff00)
			roce_qp_destroy(h->qp);
		h->errors = 0;
		c[!e].peer_address = h->address;
		c[!e].peer_qpn = roce_qp_number(h->qp);
		c[!e].peer_psn = roce_qp_first_psn(h->qp);
	}
	for (int e = 0; e < 2 && !err; e++)
		err = roce_qp_ready(p->host[e].qp, &c[e]);
	return err;
}

static void run(uint64_t seed, const struct wire_fault *fault, bool atoll, bool refusals)
{
	struct pair *p = pair_new(seed, MEMORY);
	struct side *sides = calloc(2, sizeof(*sides));
	struct roce_qp_conf conf = draw_conf(p->wire, atoll);
	unsigned idle = 0;

	p->wire->fault = *fault;
	if (seed % 2)
		assert_int_equal(connect_near_wrap(p, &conf), 0);
	else
		assert_int_equal(pair_connect(p, &conf), 0);
	for (int e = 0; e < 2; e++) {
		sides[e].host = &p->host[e];
		sides[e].other = &sides[!e];
		sides[e].model = calloc(1, MEMORY);
		p->host[e].test = &sides[e];
		p->host[e].on_complete = on_complete;
		p->host[e].on_receive = on_receive;
	}
	while (sides[0].completed < OPS || sides[1].completed < OPS) {
		for (int e = 0; e < 2; e++) {
			unsigned burst = (unsigned)(wire_draw(p->wire) % 8);

			while (burst-- && sides[e].posted < OPS && roce_sq_room(p->host[e].qp))
				post_one(&sides[e], refusals);
			p->host[e].busy = wire_draw(p->wire) % 64 == 0;
		}
		if (!pair_step(p))
			assert_true(idle++ < 1000);
		if (p->host[0].errors || p->host[1].errors) {
			print_message("seed %llu: QP error %d %d after %u, %u\n",
				      (unsigned long long)seed, p->host[0].why, p->host[1].why,
				      sides[0].completed, sides[1].completed);
			fail();
		}
	}
	for (int e = 0; e < 2; e++) {
		p->host[e].busy = false;
		assert_int_equal(sides[e].delivered, sides[e].sends);
	}
	assert_true(pair_settle(p, 100000));
	for (int e = 0; e < 2; e++) {
		assert_memory_equal(sides[e].model, p->host[!e].memory, MEMORY);
		assert_int_equal(sides[e].completed, OPS);
		free(sides[e].model);
	}
	free(sides);
	assert_true(pair_delete(p));
}

static unsigned rounds(unsigned n)
{
	const char *full = getenv("ATOLL_TEST_FULL");

	return full && *full == '1' ? n * 20 : n;
}

static uint64_t first_seed(void)
{
	const char *seed = getenv("ATOLL_SEED");

	return seed ? strtoull(seed, NULL, 0) : 1;
}

static void run_many(const struct wire_fault *fault, unsigned n, uint64_t salt)
{
	for (uint64_t i = 0; i < rounds(n); i++) {
		uint64_t seed = first_seed() + i;

		if (getenv("ATOLL_VERBOSE"))
			printf("seed %llu\n", (unsigned long long)seed);
		run(seed * 1001 + salt * 2, fault, i % 3, i % 3 == 2);
	}
}

static void test_clean(void **state)
{
	const struct wire_fault fault = {.delay_ns = 1500, .late_ns = 20000};

	(void)state;
	run_many(&fault, 6, 0);
}

static void test_loss(void **state)
{
	const struct wire_fault fault = {.delay_ns = 1500, .late_ns = 20000, .lose = 20000};

	(void)state;
	run_many(&fault, 9, 1);
}

static void test_repeats(void **state)
{
	const struct wire_fault fault = {.delay_ns = 3000, .late_ns = 20000, .repeat = 100000};

	(void)state;
	run_many(&fault, 9, 2);
}

static void test_reordering(void **state)
{
	const struct wire_fault fault = {.delay_ns = 3000, .late_ns = 15000, .reorder = 50000};

	(void)state;
	run_many(&fault, 9, 3);
}

static void test_everything(void **state)
{
	const struct wire_fault fault = {.delay_ns = 3000,
					 .late_ns = 30000,
					 .lose = 10000,
					 .repeat = 20000,
					 .reorder = 20000,
					 .spoil = 10000};

	(void)state;
	run_many(&fault, 18, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),      cmocka_unit_test(test_loss),
		cmocka_unit_test(test_repeats),    cmocka_unit_test(test_reordering),
		cmocka_unit_test(test_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
