/* SPDX-License-Identifier: Apache-2.0 */
/* What lanes of a warp tell each other, special registers, and leaving: PTX ISA 9.7.13, 10. */
#include <time.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

/* ------------------------------------------------------------------------------ special registers */

enum {
	SR_TID,
	SR_NTID = SR_TID + 3,
	SR_CTAID = SR_NTID + 3,
	SR_NCTAID = SR_CTAID + 3,
	SR_ZERO = SR_NCTAID + 3,
	SR_ONE,
	SR_LANEID,
	SR_WARPID,
	SR_NWARPID,
	SR_SMID,
	SR_NSMID,
	SR_GRIDID,
	SR_CLOCK,
	SR_CLOCK_HI,
	SR_CLOCK64,
	SR_TIMER,
	SR_TIMER_LO,
	SR_TIMER_HI,
	SR_MASK_EQ,
	SR_MASK_LE,
	SR_MASK_LT,
	SR_MASK_GE,
	SR_MASK_GT,
	SR_DYNAMIC_SIZE,
	SR_TOTAL_SIZE,
	SR_ENV1,
	SR_ENV2,
	SR_DYNAMIC_AT,
	SR_PARAMS,
	SR_FRAME,
};

static const struct {
	const char *name;
	uint8_t id;
} sregs[] = {
	{"%tid.x", SR_TID},
	{"%tid.y", SR_TID + 1},
	{"%tid.z", SR_TID + 2},
	{"%ntid.x", SR_NTID},
	{"%ntid.y", SR_NTID + 1},
	{"%ntid.z", SR_NTID + 2},
	{"%ctaid.x", SR_CTAID},
	{"%ctaid.y", SR_CTAID + 1},
	{"%ctaid.z", SR_CTAID + 2},
	{"%nctaid.x", SR_NCTAID},
	{"%nctaid.y", SR_NCTAID + 1},
	{"%nctaid.z", SR_NCTAID + 2},
	{"%clusterid.x", SR_CTAID},
	{"%clusterid.y", SR_CTAID + 1},
	{"%clusterid.z", SR_CTAID + 2},
	{"%nclusterid.x", SR_NCTAID},
	{"%nclusterid.y", SR_NCTAID + 1},
	{"%nclusterid.z", SR_NCTAID + 2},
	{"%cluster_ctaid.x", SR_ZERO},
	{"%cluster_ctaid.y", SR_ZERO},
	{"%cluster_ctaid.z", SR_ZERO},
	{"%cluster_nctaid.x", SR_ONE},
	{"%cluster_nctaid.y", SR_ONE},
	{"%cluster_nctaid.z", SR_ONE},
	{"%cluster_ctarank", SR_ZERO},
	{"%cluster_nctarank", SR_ONE},
	{"%laneid", SR_LANEID},
	{"%warpid", SR_WARPID},
	{"%nwarpid", SR_NWARPID},
	{"%smid", SR_SMID},
	{"%nsmid", SR_NSMID},
	{"%gridid", SR_GRIDID},
	{"%clock", SR_CLOCK},
	{"%clock_hi", SR_CLOCK_HI},
	{"%clock64", SR_CLOCK64},
	{"%globaltimer", SR_TIMER},
	{"%globaltimer_lo", SR_TIMER_LO},
	{"%globaltimer_hi", SR_TIMER_HI},
	{"%lanemask_eq", SR_MASK_EQ},
	{"%lanemask_le", SR_MASK_LE},
	{"%lanemask_lt", SR_MASK_LT},
	{"%lanemask_ge", SR_MASK_GE},
	{"%lanemask_gt", SR_MASK_GT},
	{"%dynamic_smem_size", SR_DYNAMIC_SIZE},
	{"%total_smem_size", SR_TOTAL_SIZE},
	{"%aggr_smem_size", SR_TOTAL_SIZE},
	{"%reserved_smem_offset_begin", SR_ZERO},
	{"%reserved_smem_offset_end", SR_ZERO},
	{"%envreg0", SR_ZERO},
	{"%envreg1", SR_ENV1},
	{"%envreg2", SR_ENV2},
	{"%envreg3", SR_ZERO},
	{"%pm0", SR_ZERO},
	{"%pm1", SR_ZERO},
	{"%pm2", SR_ZERO},
	{"%pm3", SR_ZERO},
	{"%current_graph_exec", SR_ZERO},
	{"%atoll_dynamic_shared", SR_DYNAMIC_AT},
	{"%atoll_params", SR_PARAMS},
	{"%atoll_frame", SR_FRAME},
};

int sreg_find(const char *at, uint32_t length)
{
	if (length < 2 || at[0] != '%')
		return -1;
	for (unsigned k = 0; k < sizeof(sregs) / sizeof(sregs[0]); k++)
		if (text_is(at, length, sregs[k].name))
			return sregs[k].id;
	return -1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t sreg_value(const struct warp *w, const struct insn *i, uint32_t l)
{
	struct grid *g = w->grid;
	const struct block *b = w->block;
	unsigned id = i->sub;
	uint64_t env;

	switch (id) {
	case SR_TID:
	case SR_TID + 1:
	case SR_TID + 2:
		return w->tid[id - SR_TID][l];
	case SR_NTID:
	case SR_NTID + 1:
	case SR_NTID + 2:
		return g->launch->block[id - SR_NTID];
	case SR_CTAID:
	case SR_CTAID + 1:
	case SR_CTAID + 2:
		return b->ctaid[id - SR_CTAID];
	case SR_NCTAID:
	case SR_NCTAID + 1:
	case SR_NCTAID + 2:
		return g->launch->grid[id - SR_NCTAID];
	case SR_ONE:
		return 1;
	case SR_LANEID:
		return l;
	case SR_WARPID:
		return w->index;
	case SR_NWARPID:
		return 64;
	case SR_SMID: {
		uint64_t n = ((uint64_t)b->ctaid[2] * g->launch->grid[1] + b->ctaid[1]) *
				     g->launch->grid[0] + b->ctaid[0];

		return n % g->machine->config.multiprocessors;
	}
	case SR_NSMID:
		return g->machine->config.multiprocessors;
	case SR_GRIDID:
		return g->grid_id;
	case SR_CLOCK:
		return A32(now_ns());
	case SR_CLOCK_HI:
	case SR_TIMER_HI:
		return now_ns() >> 32;
	case SR_CLOCK64:
		return now_ns();
	case SR_TIMER:
		return now_ns();
	case SR_TIMER_LO:
		return A32(now_ns());
	case SR_MASK_EQ:
		return 1u << l;
	case SR_MASK_LE:
		return UINT32_MAX >> (31 - l);
	case SR_MASK_LT:
		return (1u << l) - 1;
	case SR_MASK_GE:
		return A32(UINT32_MAX << l);
	case SR_MASK_GT:
		return A32((UINT64_C(0xffffffff) << l) << 1);
	case SR_DYNAMIC_SIZE:
		return g->launch->shared_bytes;
	case SR_TOTAL_SIZE:
		return g->shared_total;
	case SR_ENV1:
	case SR_ENV2: /* where the barrier of a cooperative grid is; 0 without one */
		env = g->launch->cooperative ? (uint64_t)(uintptr_t)g->workspace : 0;
		return id == SR_ENV1 ? env >> 32 : A32(env);
	case SR_DYNAMIC_AT:
		return g->shared_dynamic_at + (uint64_t)i->imm;
	case SR_PARAMS:
		return (uint64_t)(uintptr_t)g->params + (uint64_t)i->imm;
	case SR_FRAME:
		return w->group_local + (uint64_t)i->imm;
	default:
		return 0;
	}
}

int run_sreg(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);

	FOR_LANES(mask, l)
	d[l] = sreg_value(w, i, l);
	return 0;
}

/* ------------------------------------------------------------------------------ shfl */

enum { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };

/* o: d, a, b, c, p, members */
static int shfl_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]), value[PTX_LANES];
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]), *c = op_col(w, i->o[3]);
	uint32_t ok = 0;

	memcpy(value, a, sizeof(value));
	FOR_LANES(mask, l)
	{
		uint32_t n = A32(b[l]) & 31, clamp = A32(c[l]) & 31, segment = A32(c[l]) >> 8 & 31;
		uint32_t most = (l & segment) | (clamp & ~segment), least = l & segment;
		int32_t j;
		bool in;

		switch (i->sub) {
		case SHFL_UP:
			j = (int32_t)l - (int32_t)n;
			in = j >= (int32_t)most;
			break;
		case SHFL_DOWN:
			j = (int32_t)(l + n);
			in = j <= (int32_t)most;
			break;
		case SHFL_BFLY:
			j = (int32_t)(l ^ n);
			in = j <= (int32_t)most;
			break;
		default:
			j = (int32_t)(least | (n & ~segment));
			in = j <= (int32_t)most;
		}
		d[l] = A32(value[in ? j & 31 : (int32_t)l]);
		ok |= (uint32_t)in << l;
	}
	if (i->o[4] != PTX_NONE)
		pred_set(w, i->o[4], mask, ok);
	return 0;
}

/* Whose registers the members are: `.sync` forms wait for them. */
static int32_t members(struct parser *p, struct stmt *s, unsigned n, bool sync)
{
	return sync ? opd_value(p, opd(p, s, n), T_U32) : PTX_NONE;
}

/* d|p: the two halves. */
static int32_t split_pair(struct parser *p, const struct operand *o, int32_t *pred, unsigned type)
{
	struct operand first = *o;

	*pred = o->pair;
	if (o->pair != PTX_NONE && reg_type(p, o->pair) != T_PRED)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is followed by no predicate");
	first.pair = PTX_NONE;
	first.pair_sink = false;
	return opd_dst(p, &first, type);
}

static void lower_shfl(struct parser *p, struct stmt *s)
{
	bool sync = has(s, "sync");
	unsigned mode = has(s, "up") ? SHFL_UP : has(s, "down") ? SHFL_DOWN
					 : has(s, "bfly")	? SHFL_BFLY
					 : has(s, "idx")	? SHFL_IDX
								: 9;
	int32_t o[6];
	struct insn *i;

	need_type(p, s);
	if (mode == 9)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The mode is missing");
	want_operands(p, s, sync ? 5 : 4, sync ? 5 : 4);
	for (unsigned k = 1; k < 4; k++)
		o[k] = opd_value(p, &s->operand[k], T_B32);
	o[5] = members(p, s, 4, sync);
	o[0] = split_pair(p, &s->operand[0], &o[4], T_B32);
	i = emit(p, sync ? K_SYNC : K_PLAIN, OP_OTHER, shfl_run);
	i->together = true;
	memcpy(i->o, o, sizeof(o));
	i->sub = (uint8_t)mode;
}

/* ------------------------------------------------------------------------------ vote, match, redux */

enum { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };

static int vote_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint32_t q = pred_bits(w, i->o[1], i->neg & 1) & mask;
	bool t;

	switch (i->sub) {
	case VOTE_ALL:
		t = q == mask;
		break;
	case VOTE_ANY:
		t = q != 0;
		break;
	case VOTE_UNI:
		t = q == mask || q == 0;
		break;
	default:
		FOR_LANES(mask, l)
		op_col(w, i->o[0])[l] = q;
		return 0;
	}
	pred_set(w, i->o[0], mask, t ? UINT32_MAX : 0);
	return 0;
}

static void lower_vote(struct parser *p, struct stmt *s)
{
	bool sync = has(s, "sync"), neg;
	unsigned mode = has(s, "all") ? VOTE_ALL : has(s, "any") ? VOTE_ANY
					   : has(s, "uni")	 ? VOTE_UNI
					   : has(s, "ballot")	 ? VOTE_BALLOT
								 : 9;
	int32_t d, a, m;
	struct insn *i;

	need_type(p, s);
	if (mode == 9)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The mode is missing");
	want_operands(p, s, sync ? 3 : 2, sync ? 3 : 2);
	a = opd_pred(p, &s->operand[1], &neg);
	m = members(p, s, 2, sync);
	d = opd_dst(p, &s->operand[0], mode == VOTE_BALLOT ? T_B32 : T_PRED);
	i = emit(p, sync ? K_SYNC : K_PLAIN, OP_OTHER, vote_run);
	i->together = true;
	i->o[0] = d;
	i->o[1] = a;
	i->o[5] = m;
	i->neg = neg;
	i->sub = (uint8_t)mode;
}

/* o: d, a, -, -, p, members */
static int match_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]);
	uint64_t v[PTX_LANES];
	uint32_t same = 0;

	FOR_LANES(mask, l)
	v[l] = type_bytes(i->type) == 8 ? a[l] : A32(a[l]);
	FOR_LANES(mask, l)
	{
		same = 0;
		FOR_LANES(mask, k)
		same |= (uint32_t)(v[k] == v[l]) << k;
		if (!i->sub)
			op_col(w, i->o[0])[l] = same;
	}
	if (i->sub) {
		bool all = same == mask;

		FOR_LANES(mask, l)
		op_col(w, i->o[0])[l] = all ? mask : 0;
		if (i->o[4] != PTX_NONE)
			pred_set(w, i->o[4], mask, all ? UINT32_MAX : 0);
	}
	return 0;
}

static void lower_match(struct parser *p, struct stmt *s)
{
	bool all = has(s, "all"), sync;
	unsigned type;
	int32_t d, a, m, q;
	struct insn *i;

	if (!all && !has(s, "any"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".any or .all is missing");
	sync = has(s, "sync");
	type = need_type(p, s);
	want_operands(p, s, 3, 3);
	a = opd_value(p, &s->operand[1], type);
	m = members(p, s, 2, sync);
	d = split_pair(p, &s->operand[0], &q, T_B32);
	i = emit(p, K_SYNC, OP_OTHER, match_run);
	i->o[0] = d;
	i->o[1] = a;
	i->o[4] = q;
	i->o[5] = m;
	i->type = (uint8_t)type;
	i->sub = all;
}

static int redux_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]);
	bool first = true, sign = i->type == T_S32;
	uint32_t r = 0;

	FOR_LANES(mask, l)
	{
		uint32_t v = A32(a[l]);

		if (first) {
			r = v;
			first = false;
			continue;
		}
		switch (i->sub) {
		case OP_ADD:
			r += v;
			break;
		case OP_AND:
			r &= v;
			break;
		case OP_OR:
			r |= v;
			break;
		case OP_XOR:
			r ^= v;
			break;
		case OP_MIN:
			if (i->type == T_F32)
				r = A32(f32_bits(min_f32(f32_of(r), f32_of(v))));
			else
				r = (sign ? S32(v) < S32(r) : v < r) ? v : r;
			break;
		default:
			if (i->type == T_F32)
				r = A32(f32_bits(max_f32(f32_of(r), f32_of(v))));
			else
				r = (sign ? S32(v) > S32(r) : v > r) ? v : r;
		}
	}
	FOR_LANES(mask, l)
	op_col(w, i->o[0])[l] = r;
	return 0;
}

static void lower_redux(struct parser *p, struct stmt *s)
{
	static const struct {
		const char *name;
		uint8_t op;
	} ops[] = {{"add", OP_ADD}, {"and", OP_AND}, {"or", OP_OR},
		   {"xor", OP_XOR}, {"min", OP_MIN}, {"max", OP_MAX}};
	uint8_t op = OP_NONE;
	bool sync = has(s, "sync");
	unsigned type;
	int32_t d, a, m;
	struct insn *i;

	for (unsigned k = 0; k < 6; k++)
		if (has(s, ops[k].name))
			op = ops[k].op;
	type = need_type(p, s);
	want_operands(p, s, 3, 3);
	if (op == OP_NONE || type_bytes(type) != 4 || (type == T_F32 && op < OP_MIN))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	a = opd_value(p, &s->operand[1], type);
	m = members(p, s, 2, sync);
	d = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_SYNC, OP_OTHER, redux_run);
	i->o[0] = d;
	i->o[1] = a;
	i->o[5] = m;
	i->type = (uint8_t)type;
	i->sub = op;
}

static int activemask_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	FOR_LANES(mask, l)
	op_col(w, i->o[0])[l] = mask;
	return 0;
}

static void lower_activemask(struct parser *p, struct stmt *s)
{
	struct insn *i;
	int32_t d;

	need_type(p, s);
	d = opd_dst(p, opd(p, s, 0), T_B32);
	i = emit(p, K_PLAIN, OP_OTHER, activemask_run);
	i->o[0] = d;
	i->together = true;
}

static int elect_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint32_t leader = (uint32_t)__builtin_ctz(mask);

	FOR_LANES(mask, l)
	op_col(w, i->o[0])[l] = leader;
	if (i->o[4] != PTX_NONE)
		pred_set(w, i->o[4], mask, 1u << leader);
	return 0;
}

static void lower_elect(struct parser *p, struct stmt *s)
{
	bool sync = has(s, "sync");
	int32_t d, m, q;
	struct insn *i;

	want_operands(p, s, 2, 2);
	m = members(p, s, 1, sync);
	d = split_pair(p, &s->operand[0], &q, T_B32);
	i = emit(p, K_SYNC, OP_OTHER, elect_run);
	i->o[0] = d;
	i->o[4] = q;
	i->o[5] = m;
}

/* ------------------------------------------------------------------------------ barriers */

static int sync_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	(void)w;
	(void)i;
	(void)mask;
	return 0;
}

/* o: d, barrier, threads, predicate. sub: see BAR_* in internal.h. */
static void lower_bar(struct parser *p, struct stmt *s)
{
	unsigned sub, n = 0, type = T_NONE;
	int32_t o[6] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE};
	bool neg = false;
	struct insn *i;

	if (has(s, "warp")) {
		int32_t m;

		if (!has(s, "sync"))
			stmt_fail(p, PTX_ERR_INVALID_PTX, ".sync is missing");
		m = opd_value(p, opd(p, s, 0), T_U32);
		i = emit(p, K_SYNC, OP_OTHER, sync_run);
		i->o[5] = m;
		i->sub = SYNC_ONLY;
		return;
	}
	if (has(s, "cluster")) { /* of one block: waiting is the block's barrier */
		bool wait = has(s, "wait");

		if (!wait && !has(s, "arrive"))
			stmt_fail(p, PTX_ERR_INVALID_PTX, ".arrive or .wait is missing");
		has(s, "acquire");
		has(s, "release");
		has(s, "relaxed");
		has(s, "aligned");
		if (wait) {
			o[1] = const_of(p, PTX_BARRIERS - 1);
			i = emit(p, K_BAR, OP_OTHER, NULL);
			i->o[1] = o[1];
			i->sub = BAR_SYNC;
		} else {
			emit(p, K_PLAIN, OP_OTHER, sync_run);
		}
		return;
	}
	has(s, "cta");
	has(s, "aligned");
	sub = has(s, "sync")	 ? BAR_SYNC
	      : has(s, "arrive") ? BAR_ARRIVE
	      : has(s, "red")	 ? BAR_POPC
				 : 9;
	if (sub == BAR_POPC) {
		sub = has(s, "popc") ? BAR_POPC : has(s, "and") ? BAR_AND : has(s, "or") ? BAR_OR : 9;
		type = need_type(p, s);
	}
	if (sub == 9)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The operation is missing");
	if (sub >= BAR_POPC) {
		o[0] = opd_dst(p, opd(p, s, n++), sub == BAR_POPC ? T_B32 : T_PRED);
		if (s->operands < 3 || s->operands > 4)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "Wrong number of operands");
	}
	o[1] = opd_value(p, opd(p, s, n++), T_U32);
	if (n < s->operands && !(sub >= BAR_POPC && n + 1 == s->operands))
		o[2] = opd_value(p, opd(p, s, n++), T_U32);
	if (sub >= BAR_POPC)
		o[3] = opd_pred(p, opd(p, s, n++), &neg);
	if (n != s->operands || (sub == BAR_ARRIVE && o[2] == PTX_NONE))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Wrong number of operands");
	i = emit(p, K_BAR, OP_OTHER, NULL);
	memcpy(i->o, o, sizeof(o));
	i->neg = neg;
	i->sub = (uint8_t)sub;
	i->type = (uint8_t)type;
}

/* ------------------------------------------------------------------------------ the rest */

static int trap_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	return warp_fault(w, i, (uint32_t)__builtin_ctz(mask), PTX_ERR_LAUNCH_FAILED, 0,
			  i->sub ? "The kernel stopped at a breakpoint." : "The kernel trapped.");
}

static void lower_trap(struct parser *p, struct stmt *s)
{
	emit(p, K_PLAIN, OP_OTHER, trap_run)->sub = text_is(s->part[0], s->part_length[0], "brkpt");
}

static void lower_exit(struct parser *p, struct stmt *s)
{
	(void)s;
	emit(p, K_EXIT, OP_OTHER, NULL);
}

static void lower_ret(struct parser *p, struct stmt *s)
{
	has(s, "uni");
	emit(p, p->f->info.entry ? K_EXIT : K_RET, OP_OTHER, NULL);
}

static void lower_nanosleep(struct parser *p, struct stmt *s)
{
	need_type(p, s);
	emit(p, K_YIELD, OP_OTHER, NULL);
}

static void lower_nothing(struct parser *p, struct stmt *s)
{
	s->used = UINT32_MAX;
	emit(p, K_PLAIN, OP_OTHER, sync_run);
}

const struct lowering lower_warp[] = {
	{"shfl", lower_shfl},	    {"vote", lower_vote},	{"match", lower_match},
	{"redux", lower_redux},	    {"activemask", lower_activemask}, {"elect", lower_elect},
	{"bar", lower_bar},	    {"barrier", lower_bar},	{"trap", lower_trap},
	{"brkpt", lower_trap},	    {"exit", lower_exit},	{"ret", lower_ret},
	{"nanosleep", lower_nanosleep}, {"pmevent", lower_nothing}, {"setmaxnreg", lower_nothing},
	{"griddepcontrol", lower_nothing}, {NULL, NULL},
};
