/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs_peer.c - every verb through libibverbs at the engine's region, and the engine's at ours.
 *
 *	verbs_peer DEVICE GID_INDEX CONTROL TCPPORT MTU TEST...
 *
 * The tests are in the table at the end. "mixed" takes its number of rounds from $ROUNDS and its seed
 * from $SEED. A line says what was wrong and ends the program with status 1.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/roce/roce.h"
#include "proto/atoll_proto.h"
#include "tests/interop/pattern.h"
#include "tests/interop/verbs.h"

enum {
	FAA_COUNT = 200,
	IN_FLIGHT = 8,
	SLOT = 65536,
	THEIRS = 1 << 20,   /* in both regions: where the engine's requests have their memory */
	COUNTER = 3 << 20,  /* ... and what atomics work on */
	RESULTS = 3 << 20 | 4096,
};

static const struct verbs_conf plain = {.reads = 16,
					.peer_reads = 16,
					.retry = 7,
					.rnr_retry = 7,
					.engine_reads = 16,
					.engine_peer_reads = 16,
					.engine_retry = 7,
					.engine_rnr = 7};

static const uint32_t sizes[] = {1,    3,    8,	   255,	 1023,	1024,	1025,
				 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20};

#define WANT(what, got, want)                                                                       \
	do {                                                                                        \
		uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                          \
		if (got_ != want_)                                                                  \
			errx(1, "%s:%d: %s: %" PRIu64 ", not %" PRIu64, __func__, __LINE__, what,   \
			     got_, want_);                                                          \
	} while (0)

/* What became of the engine's requests: the first failure, and why its QP failed. */
static void engine_wait(struct verbs *v, unsigned *why, unsigned *status)
{
	const char *at = verbs_ask(v, "wait 20000");
	int n;

	*status = 0;
	if (sscanf(at, "done %u%n", why, &n) != 1)
		errx(1, "the engine answers: %s", at);
	for (at += n; *at && !*status;) {
		if (sscanf(at, " %u%n", status, &n) != 1)
			break;
		at += n;
	}
}

static void engine_wait_ok(struct verbs *v)
{
	unsigned why, status;

	engine_wait(v, &why, &status);
	if (why || status)
		errx(1, "the engine's QP failed with %u, its request with status %u; %s", why, status,
		     verbs_try(v, "counters"));
}

static void engine_post(struct verbs *v, enum roce_wr_op op, uint64_t at, uint64_t remote_at,
			uint32_t len, uint64_t compare, uint64_t swap)
{
	verbs_ask(v, "post %d %" PRIu64 " %" PRIu64 " %u %u %" PRIu64 " %" PRIu64, op, at,
		  (uint64_t)(uintptr_t)v->buf + remote_at, v->mr->rkey, len, compare, swap);
}

/* ------------------------------------------------------------------ all is well */

static void test_write_read(struct verbs *v)
{
	verbs_connect(v, &plain);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint32_t len = sizes[i], at = i * 7;

		pattern_fill(v->buf, len, i);
		WANT("WRITE", verbs_do(v, IBV_WR_RDMA_WRITE, 0, len, v->va + at, v->rkey, 0, 0), 0);
		verbs_ask(v, "check %u %u %u", at, len, i);
		verbs_ask(v, "fill %u %u %u", at, len, 100 + i);
		WANT("READ", verbs_do(v, IBV_WR_RDMA_READ, 0, len, v->va + at, v->rkey, 0, 0), 0);
		WANT("contents", pattern_differs(v->buf, len, 100 + i), -1);
	}
	WANT("WRITE of nothing", verbs_do(v, IBV_WR_RDMA_WRITE, 0, 0, 0, 0, 0, 0), 0);
	WANT("READ of nothing", verbs_do(v, IBV_WR_RDMA_READ, 0, 0, 0, 0, 0, 0), 0);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint32_t len = sizes[i], at = i * 7;

		verbs_ask(v, "fill 0 %u %u", len, i);
		engine_post(v, ROCE_WR_WRITE, 0, at, len, 0, 0);
		engine_wait_ok(v);
		WANT("contents", pattern_differs(v->buf + at, len, i), -1);
		pattern_fill(v->buf + at, len, 100 + i);
		engine_post(v, ROCE_WR_READ, 0, at, len, 0, 0);
		engine_wait_ok(v);
		verbs_ask(v, "check 0 %u %u", len, 100 + i);
	}
	engine_post(v, ROCE_WR_WRITE, 0, 0, 0, 0, 0);
	engine_post(v, ROCE_WR_READ, 0, 0, 0, 0, 0);
	engine_wait_ok(v);
}

static void test_send(struct verbs *v)
{
	unsigned n = 0;

	verbs_connect(v, &plain);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes) && sizes[i] <= SLOT; i++) {
		uint32_t len = sizes[i];
		struct ibv_wc wc;

		pattern_fill(v->buf, len, i);
		WANT("SEND", verbs_do(v, IBV_WR_SEND, 0, len, 0, 0, 0, 0), 0);
		verbs_ask(v, "inbox %u %u", len, i);
		WANT("received", atoi(verbs_ask(v, "received")), ++n);
		verbs_post_recv(v, THEIRS, SLOT);
		verbs_ask(v, "fill 0 %u %u", len, 100 + i);
		engine_post(v, ROCE_WR_SEND, 0, 0, len, 0, 0);
		engine_wait_ok(v);
		wc = verbs_wait(v);
		WANT("RECV", wc.status, 0);
		WANT("length", wc.byte_len, len);
		WANT("contents", pattern_differs(v->buf + THEIRS, len, 100 + i), -1);
	}
	WANT("SEND of nothing", verbs_do(v, IBV_WR_SEND, 0, 0, 0, 0, 0, 0), 0);
	WANT("received", atoi(verbs_ask(v, "received")), ++n);
}

static void test_atomics(struct verbs *v)
{
	uint64_t sum = 0, want = 0, big = 0xfedcba9876543210u;

	verbs_connect(v, &plain);
	verbs_ask(v, "put %d 0", COUNTER);
	for (unsigned sent = 0, done = 0; done < FAA_COUNT;) {
		if (sent < FAA_COUNT && sent - done < 32) {
			verbs_post(v, IBV_WR_ATOMIC_FETCH_AND_ADD, RESULTS + 8 * sent, 8,
				   v->va + COUNTER, v->rkey, 3, 0);
			sent++;
		} else {
			WANT("FAA", verbs_wait(v).status, 0);
			done++;
		}
	}
	for (unsigned i = 0; i < FAA_COUNT; i++) {
		sum += verbs_get(v, RESULTS + 8 * i);
		want += 3 * i;
	}
	WANT("old values", sum, want);
	WANT("sum", strtoull(verbs_ask(v, "get %d", COUNTER), NULL, 10), 3 * FAA_COUNT);
	WANT("CAS", verbs_do(v, IBV_WR_ATOMIC_CMP_AND_SWP, RESULTS, 8, v->va + COUNTER, v->rkey,
			     3 * FAA_COUNT, big), 0);
	WANT("old value", verbs_get(v, RESULTS), 3 * FAA_COUNT);
	WANT("CAS that does not fit", verbs_do(v, IBV_WR_ATOMIC_CMP_AND_SWP, RESULTS, 8,
					       v->va + COUNTER, v->rkey, 1, 2), 0);
	WANT("old value", verbs_get(v, RESULTS), big);
	WANT("value", strtoull(verbs_ask(v, "get %d", COUNTER), NULL, 10), big);

	verbs_put(v, COUNTER, 0);
	for (unsigned i = 0; i < FAA_COUNT; i++)
		engine_post(v, ROCE_WR_FAA, RESULTS + 8 * i, COUNTER, 8, 0, 3);
	engine_wait_ok(v);
	WANT("sum", verbs_get(v, COUNTER), 3 * FAA_COUNT);
	for (unsigned i = 0; i < FAA_COUNT; i++)
		WANT("old value", strtoull(verbs_ask(v, "get %u", RESULTS + 8 * i), NULL, 10), 3 * i);
	engine_post(v, ROCE_WR_CAS, RESULTS, COUNTER, 8, 3 * FAA_COUNT, big);
	engine_wait_ok(v);
	WANT("old value", strtoull(verbs_ask(v, "get %d", RESULTS), NULL, 10), 3 * FAA_COUNT);
	WANT("value", verbs_get(v, COUNTER), big);
	engine_post(v, ROCE_WR_CAS, RESULTS, COUNTER, 8, 1, 2);
	engine_wait_ok(v);
	WANT("old value", strtoull(verbs_ask(v, "get %d", RESULTS), NULL, 10), big);
	WANT("value", verbs_get(v, COUNTER), big);
}

/* ------------------------------------------------------------------ what must fail */

/* Ours at the engine: @want, and nothing has changed there. */
static void refused(struct verbs *v, const char *what, enum ibv_wr_opcode op, uint32_t len,
		    uint64_t remote, uint32_t rkey, enum ibv_wc_status want)
{
	verbs_connect(v, &plain);
	verbs_ask(v, "fill 0 8192 5");
	verbs_ask(v, "fill %d 8192 6", (4 << 20) - 8192);
	WANT(what, verbs_do(v, op, 0, len, remote, rkey, 0, 0), want);
	verbs_ask(v, "check 0 8192 5");
	verbs_ask(v, "check %d 8192 6", (4 << 20) - 8192);
}

static void test_refused(struct verbs *v)
{
	struct verbs_conf conf = plain;
	uint64_t end;

	verbs_connect(v, &plain);
	end = v->va + VERBS_REGION;
	memset(v->buf, 0x11, 8192);
	refused(v, "WRITE, bad rkey", IBV_WR_RDMA_WRITE, 3000, v->va, v->rkey ^ 0x100,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "READ, bad rkey", IBV_WR_RDMA_READ, 3000, v->va, v->rkey ^ 0x100,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "FAA, bad rkey", IBV_WR_ATOMIC_FETCH_AND_ADD, 8, v->va, v->rkey ^ 0x100,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "WRITE past the end", IBV_WR_RDMA_WRITE, 8192, end - 8191, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "READ past the end", IBV_WR_RDMA_READ, 8192, end - 8191, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "READ before the beginning", IBV_WR_RDMA_READ, 8, v->va - 1, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "WRITE round the end of addresses", IBV_WR_RDMA_WRITE, 8192, UINT64_MAX - 10,
		v->rkey, IBV_WC_REM_ACCESS_ERR);
	refused(v, "FAA past the end", IBV_WR_ATOMIC_FETCH_AND_ADD, 8, end, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	verbs_connect(v, &plain);
	verbs_ask(v, "fill 0 64 5");
	verbs_post_faa_unchecked(v, 0, v->va + 4);
	WANT("FAA, unaligned", verbs_wait(v).status, IBV_WC_REM_INV_REQ_ERR);
	verbs_ask(v, "check 0 64 5");
	refused(v, "SEND with immediate data", IBV_WR_SEND_WITH_IMM, 8, 0, 0,
		IBV_WC_REM_INV_REQ_ERR);
	refused(v, "WRITE with immediate data", IBV_WR_RDMA_WRITE_WITH_IMM, 8, v->va, v->rkey,
		IBV_WC_REM_INV_REQ_ERR);
	refused(v, "SEND of too much", IBV_WR_SEND, SLOT + 1, 0, 0, IBV_WC_REM_INV_REQ_ERR);
	verbs_ask(v, "access %d", ROCE_REMOTE_READ);
	refused(v, "WRITE without the right", IBV_WR_RDMA_WRITE, 8, v->va, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	refused(v, "FAA without the right", IBV_WR_ATOMIC_FETCH_AND_ADD, 8, v->va, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	verbs_ask(v, "access %d", ROCE_REMOTE_WRITE | ROCE_REMOTE_ATOMIC);
	refused(v, "READ without the right", IBV_WR_RDMA_READ, 8, v->va, v->rkey,
		IBV_WC_REM_ACCESS_ERR);
	verbs_ask(v, "access %d", ROCE_REMOTE_READ | ROCE_REMOTE_WRITE | ROCE_REMOTE_ATOMIC);
	/* no QP there any more: no answer. Seven tries are for ever in rxe. */
	conf.retry = 2;
	verbs_connect(v, &conf);
	verbs_ask(v, "close");
	WANT("WRITE to a closed QP", verbs_do(v, IBV_WR_RDMA_WRITE, 0, 8, v->va, v->rkey, 0, 0),
	     IBV_WC_RETRY_EXC_ERR);
}

/* The engine's at ours. */
static void engine_refused(struct verbs *v, const char *what, int access, enum roce_wr_op op,
			   uint32_t len, uint64_t remote_at, uint32_t rkey_xor, enum roce_error want)
{
	struct verbs_conf conf = plain;
	unsigned why, status;

	conf.access = access;
	verbs_connect(v, &conf);
	pattern_fill(v->buf, 8192, 5);
	pattern_fill(v->buf + VERBS_REGION - 8192, 8192, 6);
	verbs_ask(v, "fill %d 8192 7", THEIRS);
	verbs_ask(v, "post %d %d %" PRIu64 " %u %u 0 1", op, THEIRS,
		  (uint64_t)(uintptr_t)v->buf + remote_at, v->mr->rkey ^ rkey_xor, len);
	engine_wait(v, &why, &status);
	WANT(what, why, want);
	WANT(what, status, STATUS_REMOTE_ERROR);
	WANT("contents", pattern_differs(v->buf, 8192, 5), -1);
	WANT("contents", pattern_differs(v->buf + VERBS_REGION - 8192, 8192, 6), -1);
}

static void test_engine_refused(struct verbs *v)
{
	unsigned why, status;

	engine_refused(v, "WRITE, bad rkey", 0, ROCE_WR_WRITE, 3000, 0, 0xff00,
		       ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "READ, bad rkey", 0, ROCE_WR_READ, 3000, 0, 0xff00, ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "FAA, bad rkey", 0, ROCE_WR_FAA, 8, 0, 0xff00, ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "WRITE past the end", 0, ROCE_WR_WRITE, 8192, VERBS_REGION - 8191, 0,
		       ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "READ past the end", 0, ROCE_WR_READ, 8192, VERBS_REGION - 8191, 0,
		       ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "FAA, unaligned", 0, ROCE_WR_FAA, 8, 4, 0, ROCE_ERR_REMOTE_INVALID);
	engine_refused(v, "WRITE without the right", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ,
		       ROCE_WR_WRITE, 3000, 0, 0, ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "READ without the right", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
		       ROCE_WR_READ, 3000, 0, 0, ROCE_ERR_REMOTE_ACCESS);
	engine_refused(v, "FAA without the right", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
		       ROCE_WR_FAA, 8, 0, 0, ROCE_ERR_REMOTE_ACCESS);
	/* a receive that is too short */
	verbs_connect(v, &plain);
	verbs_post_recv(v, THEIRS, 100);
	engine_post(v, ROCE_WR_SEND, 0, 0, 101, 0, 0);
	engine_wait(v, &why, &status);
	if (why != ROCE_ERR_REMOTE_INVALID) /* the standard's; rxe of 6.1 gives the other */
		WANT("SEND of too much", why, ROCE_ERR_REMOTE_OP);
	/* no QP there any more: no answer */
	verbs_connect(v, &plain);
	ibv_destroy_qp(v->qp);
	v->qp = NULL;
	engine_post(v, ROCE_WR_WRITE, 0, 0, 8, 0, 0);
	engine_wait(v, &why, &status);
	WANT("WRITE to a closed QP", why, ROCE_ERR_RETRY);
	WANT("WRITE to a closed QP", status, STATUS_UNREACHABLE);
}

/* More READs and atomics in flight than the responder said it takes: none lost, none twice. */
static void test_depth(struct verbs *v)
{
	struct verbs_conf conf = plain;

	conf.reads = 16;
	conf.engine_peer_reads = 2;
	conf.engine_reads = 16;
	conf.peer_reads = 2;
	verbs_connect(v, &conf);
	verbs_ask(v, "put %d 0", COUNTER);
	verbs_ask(v, "fill 0 %d 9", SLOT);
	for (unsigned i = 0; i < 16; i++) {
		verbs_post(v, IBV_WR_RDMA_READ, i * 4096, 4096, v->va + i * 4096, v->rkey, 0, 0);
		verbs_post(v, IBV_WR_ATOMIC_FETCH_AND_ADD, RESULTS + 8 * i, 8, v->va + COUNTER,
			   v->rkey, 1, 0);
	}
	for (unsigned i = 0; i < 32; i++)
		WANT("READ or FAA", verbs_wait(v).status, 0);
	WANT("contents", pattern_differs(v->buf, SLOT, 9), -1);
	for (unsigned i = 0; i < 16; i++)
		WANT("old value", verbs_get(v, RESULTS + 8 * i), i);
	WANT("sum", strtoull(verbs_ask(v, "get %d", COUNTER), NULL, 10), 16);

	verbs_put(v, COUNTER, 0);
	pattern_fill(v->buf, SLOT, 10);
	for (unsigned i = 0; i < 16; i++) {
		engine_post(v, ROCE_WR_READ, i * 4096, i * 4096, 4096, 0, 0);
		engine_post(v, ROCE_WR_FAA, RESULTS + 8 * i, COUNTER, 8, 0, 1);
	}
	engine_wait_ok(v);
	verbs_ask(v, "check 0 %d 10", SLOT);
	WANT("sum", verbs_get(v, COUNTER), 16);
}

static void test_rnr(struct verbs *v)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	struct verbs_conf conf = plain;
	unsigned why, status;

	/* the engine has no room three times */
	verbs_connect(v, &plain);
	verbs_ask(v, "refuse 3");
	pattern_fill(v->buf, 5000, 1);
	WANT("SEND", verbs_do(v, IBV_WR_SEND, 0, 5000, 0, 0, 0, 0), 0);
	verbs_ask(v, "inbox 5000 1");
	WANT("received", atoi(verbs_ask(v, "received")), 1);
	/* ... and for ever */
	conf.rnr_retry = 2;
	verbs_connect(v, &conf);
	verbs_ask(v, "refuse 1000000");
	WANT("SEND, no room", verbs_do(v, IBV_WR_SEND, 0, 5000, 0, 0, 0, 0), IBV_WC_RNR_RETRY_EXC_ERR);
	/* we have none for 50 ms */
	verbs_connect(v, &plain);
	verbs_ask(v, "fill 0 5000 2");
	engine_post(v, ROCE_WR_SEND, 0, 0, 5000, 0, 0);
	engine_post(v, ROCE_WR_WRITE, 0, 0, 5000, 0, 0);
	nanosleep(&nap, NULL);
	verbs_post_recv(v, THEIRS, SLOT);
	engine_wait_ok(v);
	WANT("RECV", verbs_wait(v).status, 0);
	WANT("contents", pattern_differs(v->buf + THEIRS, 5000, 2), -1);
	WANT("contents", pattern_differs(v->buf, 5000, 2), -1);
	/* ... and for ever */
	conf.engine_rnr = 2;
	verbs_connect(v, &conf);
	engine_post(v, ROCE_WR_SEND, 0, 0, 5000, 0, 0);
	engine_wait(v, &why, &status);
	WANT("SEND, no room", why, ROCE_ERR_RNR);
}

/* ------------------------------------------------------------------ everything at once */

static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct op {
	unsigned kind; /* enum roce_wr_op */
	uint32_t at, len;
	uint64_t seed;
};

static void draw_ops(struct op *ops, uint64_t *random, uint32_t base)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		struct op *o = &ops[i];

		o->kind = ROCE_WR_SEND + (unsigned)(draw(random) % 5);
		o->len = 1 + (uint32_t)(draw(random) % (draw(random) % 2 ? 3000 : SLOT));
		o->at = base + i * SLOT + (uint32_t)(draw(random) % (SLOT - o->len + 1));
		o->seed = draw(random);
	}
}

static void test_mixed(struct verbs *v)
{
	unsigned rounds = (unsigned)atoi(getenv("ROUNDS") ? getenv("ROUNDS") : "20");
	uint64_t seed = strtoull(getenv("SEED") ? getenv("SEED") : "1", NULL, 0), random = seed;
	uint64_t added = 0, engine_added = 0;
	unsigned received = 0;
	struct op ours[IN_FLIGHT], theirs[IN_FLIGHT];

	verbs_connect(v, &plain);
	verbs_put(v, COUNTER, 0);
	verbs_ask(v, "put %d 0", COUNTER);
	for (unsigned round = 0; round < rounds; round++) {
		const struct op *sent = NULL;
		unsigned inbound = 0, seen = 0;

		draw_ops(ours, &random, 0);
		draw_ops(theirs, &random, THEIRS);
		for (unsigned i = 0; i < IN_FLIGHT; i++) {
			const struct op *o = &ours[i], *t = &theirs[i];

			if (o->kind == ROCE_WR_READ)
				verbs_ask(v, "fill %u %u %" PRIu64, o->at, o->len, o->seed);
			else if (o->kind <= ROCE_WR_WRITE)
				pattern_fill(v->buf + o->at, o->len, o->seed);
			if (t->kind == ROCE_WR_READ)
				pattern_fill(v->buf + t->at, t->len, t->seed);
			else if (t->kind <= ROCE_WR_WRITE)
				verbs_ask(v, "fill %u %u %" PRIu64, t->at, t->len, t->seed);
			if (t->kind == ROCE_WR_SEND)
				verbs_post_recv(v, 2 * THEIRS + inbound++ * SLOT, SLOT);
		}
		for (unsigned i = 0; i < IN_FLIGHT; i++) {
			const struct op *o = &ours[i], *t = &theirs[i];

			if (t->kind == ROCE_WR_FAA || t->kind == ROCE_WR_CAS) {
				engine_post(v, ROCE_WR_FAA, RESULTS, COUNTER, 8, 0, t->len);
				engine_added += t->len;
			} else {
				engine_post(v, t->kind, t->at, t->at, t->len, 0, 0);
			}
			if (o->kind == ROCE_WR_SEND) {
				verbs_post(v, IBV_WR_SEND, o->at, o->len, 0, 0, 0, 0);
				sent = o;
				received++;
			} else if (o->kind == ROCE_WR_WRITE) {
				verbs_post(v, IBV_WR_RDMA_WRITE, o->at, o->len, v->va + o->at,
					   v->rkey, 0, 0);
			} else if (o->kind == ROCE_WR_READ) {
				verbs_post(v, IBV_WR_RDMA_READ, o->at, o->len, v->va + o->at,
					   v->rkey, 0, 0);
			} else {
				verbs_post(v, IBV_WR_ATOMIC_FETCH_AND_ADD, RESULTS + 8, 8,
					   v->va + COUNTER, v->rkey, o->len, 0);
				added += o->len;
			}
		}
		engine_wait_ok(v);
		for (unsigned i = 0; i < IN_FLIGHT + inbound; i++) {
			struct ibv_wc wc = verbs_wait(v);

			if (wc.status)
				errx(1, "round %u of seed %" PRIu64 ": %s; %s", round, seed,
				     ibv_wc_status_str(wc.status), verbs_try(v, "counters"));
		}
		if (sent)
			verbs_ask(v, "inbox %u %" PRIu64, sent->len, sent->seed);
		for (unsigned i = 0; i < IN_FLIGHT; i++) {
			const struct op *o = &ours[i], *t = &theirs[i];

			if (o->kind == ROCE_WR_READ)
				WANT("READ", pattern_differs(v->buf + o->at, o->len, o->seed), -1);
			else if (o->kind == ROCE_WR_WRITE)
				verbs_ask(v, "check %u %u %" PRIu64, o->at, o->len, o->seed);
			if (t->kind == ROCE_WR_READ)
				verbs_ask(v, "check %u %u %" PRIu64, t->at, t->len, t->seed);
			else if (t->kind == ROCE_WR_WRITE)
				WANT("WRITE", pattern_differs(v->buf + t->at, t->len, t->seed), -1);
			else if (t->kind == ROCE_WR_SEND)
				WANT("SEND", pattern_differs(v->buf + 2 * THEIRS + seen++ * SLOT,
							     t->len, t->seed), -1);
		}
	}
	WANT("received", atoi(verbs_ask(v, "received")), received);
	WANT("sum", strtoull(verbs_ask(v, "get %d", COUNTER), NULL, 10), added);
	WANT("sum", verbs_get(v, COUNTER), engine_added);
	printf("%u requests each way: %s\n", rounds * IN_FLIGHT, verbs_ask(v, "counters"));
}

static const struct {
	const char *name;
	void (*run)(struct verbs *v);
} tests[] = {
	{"write_read", test_write_read},
	{"send", test_send},
	{"atomics", test_atomics},
	{"refused", test_refused},
	{"engine_refused", test_engine_refused},
	{"depth", test_depth},
	{"rnr", test_rnr},
	{"mixed", test_mixed},
};

int main(int argc, char **argv)
{
	struct verbs v;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 7)
		errx(2, "usage: verbs_peer DEVICE GID_INDEX CONTROL TCPPORT MTU TEST...");
	verbs_open(&v, argv[1], argv[2], argv[3], argv[4], argv[5]);
	for (int a = 6; a < argc; a++) {
		unsigned i = 0;

		while (i < sizeof(tests) / sizeof(*tests) && strcmp(argv[a], tests[i].name))
			i++;
		if (i == sizeof(tests) / sizeof(*tests))
			errx(2, "no test %s", argv[a]);
		tests[i].run(&v);
	}
	printf("%s\n", verbs_ask(&v, "counters"));
	return 0;
}
