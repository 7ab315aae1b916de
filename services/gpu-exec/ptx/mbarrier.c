/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Barriers in shared memory, and bulk copies that tell them: PTX ISA 9.7.13.15, 9.7.9.25. A block runs on one thread,
 * so that plain loads and stores do. Copies are done at once: what waits for one finds it done.
 *
 * What is in the 64 bits is the machine's own affair: the phase, how many arrivals it takes, how many are still missing,
 * how many bytes.
 */
#include <string.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

enum { COUNT_MAX = (1 << 20) - 1, BULK_GRAIN = 16 };

struct state {
	bool phase;
	uint32_t expected, pending;
	int32_t bytes; /* that were announced and have not come */
};

/* From the lowest bit: bytes 23, pending 20, expected 20, phase 1. */
static struct state unpacked(uint64_t v)
{
	return (struct state){v >> 63, (uint32_t)(v >> 43) & COUNT_MAX, (uint32_t)(v >> 23) & COUNT_MAX,
			      (int32_t)((uint32_t)v << 9) >> 9};
}

static uint64_t packed(const struct state *s)
{
	return (uint64_t)s->phase << 63 | (uint64_t)s->expected << 43 | (uint64_t)s->pending << 23 |
	       ((uint32_t)s->bytes & 0x7fffff);
}

enum { DO_INIT, DO_INVAL, DO_ARRIVE, DO_DROP, DO_EXPECT, DO_ARRIVE_EXPECT, DO_COMPLETE, DO_TEST, DO_TEST_PARITY };

static void turn_over(struct state *s)
{
	if (s->pending || s->bytes)
		return;
	s->phase = !s->phase;
	s->pending = s->expected;
}

/* One lane's step; 1 after a fault. */
static int step(struct warp *w, const struct insn *i, uint32_t l, unsigned what, struct state *s, uint64_t n)
{
	bool arrives = what == DO_ARRIVE || what == DO_DROP || what == DO_ARRIVE_EXPECT;
	uint64_t arrivals = what == DO_ARRIVE_EXPECT ? 1 : n;
	int64_t bytes = what == DO_COMPLETE ? -(int64_t)n : what == DO_EXPECT || what == DO_ARRIVE_EXPECT ? (int64_t)n : 0;

	if (what == DO_INIT) {
		if (n == 0 || n > COUNT_MAX)
			return warp_fault(w, i, l, PTX_ERR_LAUNCH_FAILED, 0, "A barrier of %llu arrivals cannot be.",
					  (unsigned long long)n);
		*s = (struct state){.expected = (uint32_t)n, .pending = (uint32_t)n};
		return 0;
	}
	if (arrives && (arrivals == 0 || arrivals > s->pending))
		return warp_fault(w, i, l, PTX_ERR_LAUNCH_FAILED, 0, "%llu arrive at a barrier that waits for %u.",
				  (unsigned long long)arrivals, s->pending);
	bytes += s->bytes;
	if (n > COUNT_MAX || bytes > COUNT_MAX || bytes < -COUNT_MAX)
		return warp_fault(w, i, l, PTX_ERR_LAUNCH_FAILED, 0, "A barrier counts up to %d bytes.", COUNT_MAX);
	s->bytes = (int32_t)bytes;
	if (arrives)
		s->pending -= (uint32_t)arrivals;
	if (what == DO_DROP)
		s->expected -= (uint32_t)arrivals;
	if (arrives || what == DO_COMPLETE)
		turn_over(s);
	return 0;
}

/* o: result, base, count or token. sub: DO_*. imm: offset. */
static int mbarrier_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint32_t done = 0;

	FOR_LANES(mask, l)
	{
		uint64_t at = (uint64_t)i->imm + (i->o[1] != PTX_NONE ? op_col(w, i->o[1])[l] : 0);
		uint64_t v, n = i->o[2] == PTX_NONE ? 1 : op_col(w, i->o[2])[l];
		uint8_t *p = mem_at(w, i, l, i->space, at, 8, i->sub < DO_TEST);
		struct state s;

		if (!p)
			return 1;
		memcpy(&v, p, 8);
		s = unpacked(v);
		if (i->sub == DO_TEST || i->sub == DO_TEST_PARITY) {
			bool phase = i->sub == DO_TEST ? unpacked(n).phase : n & 1;

			done |= (uint32_t)(phase != s.phase) << l;
			continue;
		}
		if (i->sub == DO_INVAL)
			continue;
		if (step(w, i, l, i->sub, &s, i->sub == DO_INIT ? A32(n) : n))
			return 1;
		if (i->o[0] != PTX_NONE)
			op_col(w, i->o[0])[l] = v;
		v = packed(&s);
		memcpy(p, &v, 8);
	}
	if (i->sub >= DO_TEST)
		pred_set(w, i->o[0], mask, done);
	return 0;
}

static int pending_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	FOR_LANES(mask, l)
	op_col(w, i->o[0])[l] = unpacked(op_col(w, i->o[1])[l]).pending;
	return 0;
}

static void take_scopes(struct stmt *s)
{
	has(s, "acquire");
	has(s, "release");
	has(s, "relaxed");
	has(s, "cta");
	has(s, "cluster"); /* of one block */
}

static struct insn *barrier_emit(struct parser *p, const struct address *a, unsigned what)
{
	struct insn *i = emit(p, K_PLAIN, OP_OTHER, mbarrier_run);

	i->together = true;
	i->o[1] = a->base;
	i->imm = a->offset;
	i->space = (uint8_t)a->space;
	i->sub = (uint8_t)what;
	i->type = T_B64;
	return i;
}

/* Whether the phase is over. Who asks in vain gives the turn to those it waits for. */
static void lower_wait(struct parser *p, struct stmt *s)
{
	bool parity = has(s, "parity");
	unsigned space;
	struct address a;
	int32_t n, d;
	struct insn *i;

	take_scopes(s);
	space = take_space(s);
	need_type(p, s);
	want_operands(p, s, 3, 4); /* how long a try may take follows */
	lower_address(p, &s->operand[1], space, &a);
	n = opd_value(p, &s->operand[2], parity ? T_U32 : T_B64);
	d = opd_dst(p, &s->operand[0], T_PRED);
	i = barrier_emit(p, &a, parity ? DO_TEST_PARITY : DO_TEST);
	i->o[0] = d;
	i->o[2] = n;
	i = emit(p, K_YIELD, OP_OTHER, NULL);
	i->guard = d;
	i->guard_neg = true;
}

/* What is done: `arrive.expect_tx` is one thing, and no order of the two. */
static unsigned take_action(struct stmt *s)
{
	if (has(s, "init"))
		return DO_INIT;
	if (has(s, "inval"))
		return DO_INVAL;
	if (has(s, "arrive"))
		return has(s, "expect_tx") ? DO_ARRIVE_EXPECT : DO_ARRIVE;
	if (has(s, "arrive_drop"))
		return DO_DROP;
	return has(s, "expect_tx") ? DO_EXPECT : has(s, "complete_tx") ? DO_COMPLETE : DO_TEST;
}

static void lower_mbarrier(struct parser *p, struct stmt *s)
{
	unsigned space, action, first, most;
	int32_t d = PTX_NONE, n = PTX_NONE;
	struct address a;
	struct insn *i;

	if (has(s, "test_wait") || has(s, "try_wait")) {
		lower_wait(p, s);
		return;
	}
	if (has(s, "pending_count")) {
		need_type(p, s);
		want_operands(p, s, 2, 2);
		n = opd_value(p, &s->operand[1], T_B64);
		d = opd_dst(p, &s->operand[0], T_B32);
		i = emit(p, K_PLAIN, OP_OTHER, pending_run);
		i->o[0] = d;
		i->o[1] = n;
		return;
	}
	action = take_action(s);
	if (action == DO_TEST || (action == DO_DROP && has(s, "expect_tx")))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	has(s, "noComplete");
	take_scopes(s);
	space = take_space(s);
	need_type(p, s);
	first = action >= DO_ARRIVE && action != DO_EXPECT && action != DO_COMPLETE;
	most = first + (action == DO_INVAL ? 1 : 2);
	if (action == DO_ARRIVE && s->operands == 1) /* what is far gives no token */
		first = 0;
	want_operands(p, s, first + (action == DO_INVAL || action == DO_ARRIVE || action == DO_DROP ? 1 : 2), most);
	lower_address(p, &s->operand[first], space, &a);
	if (s->operands > first + 1)
		n = opd_value(p, &s->operand[first + 1], T_U32);
	if (first && s->operand[0].kind != OPD_SINK)
		d = opd_dst(p, &s->operand[0], T_B64);
	i = barrier_emit(p, &a, action);
	i->o[0] = d;
	i->o[2] = n;
}

/* ------------------------------------------------------------------------------ asynchronous copies */

/* Copies of before are done: with one more expected that comes at once nothing changes; without, it comes. */
void lower_cp_arrive(struct parser *p, struct stmt *s)
{
	bool comes = has(s, "noinc");
	unsigned space;
	struct address a;

	has(s, "arrive");
	space = take_space(s);
	need_type(p, s);
	want_operands(p, s, 1, 1);
	lower_address(p, &s->operand[0], space, &a);
	barrier_emit(p, &a, comes ? DO_ARRIVE : DO_INVAL);
}

struct bulk {
	struct address to, from, barrier;
	bool tells;
};

static uint64_t address_of(const struct warp *w, const struct address *a, int32_t base, uint32_t l)
{
	return (uint64_t)a->offset + (base == PTX_NONE ? 0 : op_col(w, base)[l]);
}

/* A place of so many bytes, in shared memory or anywhere; NULL after a fault. */
static uint8_t *bulk_at(struct warp *w, const struct insn *i, uint32_t l, unsigned space, uint64_t at, uint64_t n, bool write)
{
	uint8_t *p;

	if (at % BULK_GRAIN || n % BULK_GRAIN) {
		warp_fault(w, i, l, PTX_ERR_MISALIGNED, at, "A bulk copy of %llu bytes at 0x%llx: both must be multiples of %d.",
			   (unsigned long long)n, (unsigned long long)at, BULK_GRAIN);
		return NULL;
	}
	if (space == SP_SHARED)
		at = (uint64_t)(uintptr_t)w->block->shared + A32(at);
	p = mem_peek(w, at, n, write);
	if (!p)
		warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, at,
			   "A bulk copy of %llu bytes at 0x%llx leaves the memory that the kernel may use.",
			   (unsigned long long)n, (unsigned long long)at);
	return p;
}

/* o: bases of to, from, barrier; bytes. ref: their offsets. */
static int bulk_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct bulk *b = i->ref;

	FOR_LANES(mask, l)
	{
		uint64_t n = A32(op_col(w, i->o[3])[l]), v;
		uint8_t *to, *from, *bar;
		struct state s;

		if (n) {
			to = bulk_at(w, i, l, b->to.space, address_of(w, &b->to, i->o[0], l), n, true);
			from = to ? bulk_at(w, i, l, b->from.space, address_of(w, &b->from, i->o[1], l), n, false) : NULL;
			if (!from)
				return 1;
			memmove(to, from, n);
		}
		if (!b->tells)
			continue;
		bar = mem_at(w, i, l, b->barrier.space, address_of(w, &b->barrier, i->o[2], l), 8, true);
		if (!bar)
			return 1;
		memcpy(&v, bar, 8);
		s = unpacked(v);
		if (step(w, i, l, DO_COMPLETE, &s, n))
			return 1;
		v = packed(&s);
		memcpy(bar, &v, 8);
	}
	return 0;
}

static int nothing(struct warp *w, const struct insn *i, uint32_t mask)
{
	(void)w;
	(void)i;
	(void)mask;
	return 0;
}

/* cp.async.bulk, less the forms of tensors. */
void lower_cp_bulk(struct parser *p, struct stmt *s)
{
	unsigned to, from, n;
	struct bulk *b;
	struct insn *i;
	int32_t size;

	if (has(s, "commit_group") || has(s, "wait_group")) {
		has(s, "read");
		emit(p, K_PLAIN, OP_OTHER, nothing);
		return;
	}
	if (has(s, "prefetch")) {
		s->used = UINT32_MAX;
		emit(p, K_PLAIN, OP_OTHER, nothing);
		return;
	}
	/* where to stands before where from */
	to = s->parts > 3 && text_is(s->part[3], s->part_length[3], "global") ? SP_GLOBAL : SP_SHARED;
	from = SP_SHARED;
	for (unsigned space; (space = take_space(s)) != SP_GENERIC;)
		from = to == SP_SHARED && space == SP_GLOBAL ? SP_GLOBAL : from;
	b = parse_alloc(p, sizeof(*b));
	b->tells = has(s, "mbarrier::complete_tx::bytes");
	has(s, "bulk_group");
	take_hints(s);
	n = b->tells ? 4 : 3;
	want_operands(p, s, n, n + 1); /* a cache policy may follow */
	lower_address(p, &s->operand[0], to, &b->to);
	lower_address(p, &s->operand[1], from, &b->from);
	if (b->tells)
		lower_address(p, &s->operand[3], SP_SHARED, &b->barrier);
	else
		b->barrier.base = PTX_NONE;
	size = opd_value(p, &s->operand[2], T_U32);
	i = emit(p, K_PLAIN, OP_OTHER, bulk_run);
	i->together = true;
	i->o[0] = b->to.base;
	i->o[1] = b->from.base;
	i->o[2] = b->barrier.base;
	i->o[3] = size;
	i->ref = b;
}

const struct lowering lower_mbarriers[] = {{"mbarrier", lower_mbarrier}, {NULL, NULL}};
