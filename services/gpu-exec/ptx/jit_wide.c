/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group's code: registers as vectors between the frame and variables, and accesses to memory. Addresses that follow
 * one another are one load or store, also where each eight do (blocks that are 8 or 16 threads wide), or one where each
 * eight are the same; others are looked at one by one, by jit_access. That is a function for each kind of
 * access, of which a kernel has few: in place it would take longer to compile than all else.
 *
 * All elements of a vector are computed, those of lanes that are not in the group too, but nothing of
 * theirs is ever stored.
 */
#include <stdio.h>

#include "services/gpu-exec/ptx/jit.h"

enum {
	ELEMENTS = 8, /* of an access of one lane, at the most */
	PART = 8,     /* lanes whose addresses may follow one another, or be the same, where not all do */
	PARTS = PTX_LANES / PART,
};

static LLVMValueRef at_offset(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef base, uint64_t n)
{
	LLVMValueRef at = jit_num(e, 64, n);

	return LLVMBuildGEP2(e->b, type, base, &at, 1, "");
}

static LLVMTypeRef vector(LLVMTypeRef type)
{
	return LLVMVectorType(type, PTX_LANES);
}

static LLVMValueRef load(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef at, unsigned align)
{
	LLVMValueRef v = LLVMBuildLoad2(e->b, type, at, "");

	LLVMSetAlignment(v, align);
	return v;
}

static void store(struct jit_emit *e, LLVMValueRef v, LLVMValueRef at, unsigned align)
{
	LLVMSetAlignment(LLVMBuildStore(e->b, v, at), align);
}

LLVMValueRef jit_lanes_of(struct jit_emit *e, LLVMValueRef predicate)
{
	return LLVMBuildAnd(e->b, LLVMBuildBitCast(e->b, predicate, e->i32, ""), e->mask, "");
}

void jit_wide_mask(struct jit_emit *e, LLVMValueRef lanes, bool part)
{
	LLVMValueRef args[2];

	e->mask = lanes;
	e->mask_vector = LLVMBuildBitCast(e->b, lanes, vector(e->i1), "");
	args[0] = lanes;
	args[1] = jit_num(e, 1, 0);
	e->lane = jit_intrinsic(e, "llvm.cttz", e->i32, args, 2); /* who speaks for all */
	e->lane64 = LLVMBuildZExt(e->b, e->lane, e->i64, "");
	e->masked = part;
	e->guard = part ? e->mask_vector : NULL;
	e->guard_lanes = part ? lanes : NULL;
}

void jit_wide_begin(struct jit_emit *e)
{
	jit_wide_mask(e, e->lane, false); /* the parameter */
	e->scratch = LLVMBuildAlloca(e->b, vector(e->i64), "");
	LLVMSetAlignment(e->scratch, 64);
	e->row = jit_load_env(e, offsetof(struct jit_env, row), e->i32);
	e->row = LLVMBuildICmp(e->b, LLVMIntNE, e->row, jit_num(e, 32, 0), "");
}

/* ------------------------------------------------------------------------------ the frame */

void jit_wide_put_away(struct jit_emit *e, int32_t reg)
{
	LLVMValueRef at = jit_slot(e, e->frame, reg), v, old;
	unsigned keep = e->width;

	if (jit_reg_bits(e, reg) == 1) {
		v = jit_variable(e, reg);
		v = flow_varies(&e->flow, reg) ? LLVMBuildBitCast(e->b, v, e->i32, "")
					       : LLVMBuildSExt(e->b, v, e->i32, "");
		v = LLVMBuildAnd(e->b, v, e->mask, "");
		old = LLVMBuildLoad2(e->b, e->i64, at, "");
		old = LLVMBuildAnd(e->b, old, LLVMBuildNot(e->b, LLVMBuildZExt(e->b, e->mask, e->i64, ""), ""), "");
		LLVMBuildStore(e->b, LLVMBuildOr(e->b, old, LLVMBuildZExt(e->b, v, e->i64, ""), ""), at);
		return;
	}
	e->width = PTX_LANES;
	v = jit_spread(e, jit_resize(e, jit_bits_of(e, reg), 64, false));
	v = LLVMBuildSelect(e->b, e->mask_vector, v, load(e, vector(e->i64), at, 8), "");
	store(e, v, at, 8);
	e->width = keep;
}

/* A register of the frame as its variable has it. @differ: NULL, or true is ored into it if lanes differ. */
static LLVMValueRef taken(struct jit_emit *e, int32_t reg, LLVMValueRef *differ)
{
	LLVMValueRef at = jit_slot(e, e->frame, reg), v, one, bad;
	unsigned bits = jit_reg_bits(e, reg);

	if (bits == 1) {
		v = LLVMBuildTrunc(e->b, LLVMBuildLoad2(e->b, e->i64, at, ""), e->i32, "");
		if (flow_varies(&e->flow, reg))
			return LLVMBuildBitCast(e->b, v, vector(e->i1), "");
		v = LLVMBuildAnd(e->b, v, e->mask, "");
		one = LLVMBuildICmp(e->b, LLVMIntNE, v, jit_num(e, 32, 0), "");
		bad = LLVMBuildAnd(e->b, one, LLVMBuildICmp(e->b, LLVMIntNE, v, e->mask, ""), "");
	} else {
		if (flow_varies(&e->flow, reg))
			return jit_resize(e, load(e, vector(e->i64), at, 8), bits, false);
		one = LLVMBuildGEP2(e->b, e->i64, at, &e->lane64, 1, "");
		one = LLVMBuildLoad2(e->b, e->i64, one, "");
		bad = NULL;
		if (differ) {
			e->width = PTX_LANES;
			v = LLVMBuildICmp(e->b, LLVMIntNE, load(e, vector(e->i64), at, 8), jit_spread(e, one), "");
			e->width = 1;
			bad = LLVMBuildICmp(e->b, LLVMIntNE, jit_lanes_of(e, v), jit_num(e, 32, 0), "");
		}
		one = jit_resize(e, one, bits, false);
	}
	if (differ)
		*differ = LLVMBuildOr(e->b, *differ, bad, "");
	return one;
}

void jit_wide_take_back(struct jit_emit *e, int32_t reg)
{
	LLVMValueRef at, n, v;

	jit_set(e, reg, taken(e, reg, NULL));
	for (unsigned end = 0; e->flow.step[reg] && end < 2; end++) {
		n = jit_num(e, 64, end * (PTX_LANES - 1));
		at = jit_slot(e, e->frame, reg);
		at = LLVMBuildGEP2(e->b, e->i64, at, &n, 1, "");
		v = jit_resize(e, LLVMBuildLoad2(e->b, e->i64, at, ""), jit_reg_bits(e, reg), false);
		LLVMBuildStore(e->b, v, e->ends[2 * reg + (int)end]);
	}
}

/* What entries have to look at: registers that are loaded and have one value for all. */
static bool looks(const struct jit_emit *e, const struct flow_block *b)
{
	for (uint32_t r = 0; r < e->flow.registers; r++)
		if (flow_loads(b, r) && !flow_varies(&e->flow, (int32_t)r))
			return true;
	return false;
}

void jit_wide_enter(struct jit_emit *e, const struct flow_block *b, LLVMBasicBlockRef to)
{
	LLVMValueRef differ = jit_num(e, 1, 0), whole;
	LLVMBasicBlockRef look, no;

	if (looks(e, b)) {
		look = jit_block(e);
		no = jit_block(e);
		whole = jit_load_env(e, offsetof(struct jit_env, whole), e->i32);
		whole = LLVMBuildICmp(e->b, LLVMIntNE, whole, jit_num(e, 32, 0), "");
		LLVMBuildCondBr(e->b, whole, no, look);
		LLVMPositionBuilderAtEnd(e->b, look);
		for (uint32_t r = 0; r < e->flow.registers; r++)
			if (flow_loads(b, r) && !flow_varies(&e->flow, (int32_t)r))
				taken(e, (int32_t)r, &differ);
		look = jit_block(e);
		LLVMBuildCondBr(e->b, differ, look, no);
		LLVMPositionBuilderAtEnd(e->b, look);
		LLVMBuildRet(e->b, jit_num(e, 64, JIT_DIFFER));
		LLVMPositionBuilderAtEnd(e->b, no);
	}
	for (uint32_t r = 0; r < e->flow.registers; r++)
		if (flow_loads(b, r))
			jit_wide_take_back(e, (int32_t)r);
	LLVMBuildBr(e->b, to);
}

/* ------------------------------------------------------------------------------ memory */

static LLVMValueRef addresses(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef at = jit_const(e, 64, (uint64_t)i->imm);

	if (i->o[1] != PTX_NONE)
		at = LLVMBuildAdd(e->b, jit_value(e, i->o[1], 64), at, "");
	if (i->space == SP_FRAME)
		at = LLVMBuildAdd(e->b, at,
				  jit_spread(e, jit_load_env(e, offsetof(struct jit_env, group_local), e->i64)), "");
	if (i->space == SP_SHARED || i->space == SP_LOCAL || i->space == SP_FRAME)
		at = LLVMBuildAnd(e->b, at, jit_const(e, 64, UINT32_MAX), "");
	return at;
}

/* Multiples of @step, from 0 on again after @part lanes. */
static LLVMValueRef steps(struct jit_emit *e, uint64_t step, unsigned part)
{
	LLVMValueRef v[PTX_LANES];

	for (unsigned l = 0; l < PTX_LANES; l++)
		v[l] = jit_num(e, 64, l % part * step);
	return LLVMConstVector(v, PTX_LANES);
}

static LLVMValueRef both(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildAnd(e->b, a, b, "");
}

static LLVMValueRef plus(struct jit_emit *e, LLVMValueRef a, uint64_t n)
{
	return LLVMBuildAdd(e->b, a, jit_num(e, 64, n), "");
}

/* Are @lanes accesses of @bytes, from @first on, in one memory, and the first aligned? And where that is for the host. */
static LLVMValueRef inside(struct jit_emit *e, const struct insn *i, LLVMValueRef first, unsigned bytes, unsigned lanes,
			   LLVMValueRef site, LLVMValueRef *place)
{
	LLVMValueRef ok = both(e, first, jit_num(e, 64, bytes - 1)), base, limit;

	ok = LLVMBuildICmp(e->b, LLVMIntEQ, ok, jit_num(e, 64, 0), "");
	if (i->space == SP_SHARED) {
		base = jit_load_env(e, offsetof(struct jit_env, shared), e->ptr);
		limit = jit_load_env(e, offsetof(struct jit_env, shared_total), e->i64);
		*place = LLVMBuildGEP2(e->b, e->i8, base, &first, 1, "");
		return both(e, ok, LLVMBuildICmp(e->b, LLVMIntULE, plus(e, first, (uint64_t)lanes * bytes), limit, ""));
	}
	base = LLVMBuildLoad2(e->b, e->i64, site, "");
	limit = LLVMBuildLoad2(e->b, e->i64, at_offset(e, e->i8, site, offsetof(struct jit_site, limit)), "");
	*place = LLVMBuildIntToPtr(e->b, first, e->ptr, "");
	first = LLVMBuildSub(e->b, first, base, "");
	ok = both(e, ok, LLVMBuildICmp(e->b, LLVMIntULT, first, limit, ""));
	if (lanes == 1)
		return ok;
	first = plus(e, first, (uint64_t)(lanes - 1) * bytes); /* wraps: then it is the first that is not inside */
	return both(e, ok, LLVMBuildICmp(e->b, LLVMIntULT, first, limit, ""));
}

/* Elements k of all lanes, of what lies lane after lane. */
static LLVMValueRef column(struct jit_emit *e, LLVMValueRef all, unsigned k, unsigned n)
{
	LLVMValueRef pick[PTX_LANES];

	if (n == 1)
		return all;
	for (unsigned l = 0; l < PTX_LANES; l++)
		pick[l] = jit_num(e, 32, l * n + k);
	return LLVMBuildShuffleVector(e->b, all, LLVMGetPoison(LLVMTypeOf(all)), LLVMConstVector(pick, PTX_LANES), "");
}

/* The other way: two vectors into one, @n elements of each lane in both. */
static LLVMValueRef interleaved(struct jit_emit *e, LLVMValueRef a, LLVMValueRef b, unsigned n)
{
	LLVMValueRef pick[ELEMENTS * PTX_LANES];

	for (unsigned l = 0; l < PTX_LANES; l++)
		for (unsigned k = 0; k < n; k++) {
			pick[2 * n * l + k] = jit_num(e, 32, n * l + k);
			pick[2 * n * l + n + k] = jit_num(e, 32, n * (PTX_LANES + l) + k);
		}
	return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(pick, 2 * n * PTX_LANES), "");
}

/* The ways to carry out an access but one by one. */
enum { WAY_ALL, WAY_PARTS, WAY_SAME, WAYS };

struct access {
	const struct insn *insn;
	unsigned bytes, whole; /* of an element, of a lane */
	LLVMValueRef at, lanes, site;
	LLVMValueRef place[WAYS][PARTS];
	LLVMBasicBlockRef way[WAYS]; /* NULL: not one */
};

static LLVMValueRef all_lanes(struct jit_emit *e, LLVMValueRef vector_of_bits)
{
	return LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildBitCast(e->b, vector_of_bits, e->i32, ""),
			     jit_num(e, 32, UINT32_MAX), "");
}

/* The first address of each part, in all its lanes. */
static LLVMValueRef leaders(struct jit_emit *e, LLVMValueRef at)
{
	LLVMValueRef pick[PTX_LANES];

	for (unsigned l = 0; l < PTX_LANES; l++)
		pick[l] = jit_num(e, 32, l / PART * PART);
	return LLVMBuildShuffleVector(e->b, at, LLVMGetPoison(LLVMTypeOf(at)), LLVMConstVector(pick, PTX_LANES), "");
}

/* Takes the @way if @ok and @parts pieces of @lanes are inside; else the builder stands where to go on. */
static void way_try(struct jit_emit *e, struct access *a, unsigned way, LLVMValueRef ok, unsigned parts, unsigned lanes)
{
	LLVMBasicBlockRef next = jit_block(e), look = jit_block(e);
	LLVMValueRef first;

	LLVMBuildCondBr(e->b, ok, look, next);
	LLVMPositionBuilderAtEnd(e->b, look);
	ok = jit_num(e, 1, 1);
	for (unsigned p = 0; p < parts; p++) {
		first = LLVMBuildExtractElement(e->b, a->at, jit_num(e, 32, p * PART), "");
		ok = both(e, ok, inside(e, a->insn, first, a->whole, lanes, a->site, &a->place[way][p]));
	}
	a->way[way] = jit_block(e);
	LLVMBuildCondBr(e->b, ok, a->way[way], next);
	LLVMPositionBuilderAtEnd(e->b, next);
}

/* Up to where it goes one by one; there the builder stands. */
static void access_begin(struct jit_emit *e, struct access *a)
{
	const struct insn *i = a->insn;
	bool near = i->space == SP_LOCAL || i->space == SP_FRAME;
	LLVMBasicBlockRef full, slow;
	LLVMValueRef first, ok;

	a->whole = a->bytes * i->vec;
	e->width = PTX_LANES;
	if (!near && i->vec <= 4) {
		full = jit_block(e);
		slow = jit_block(e);
		LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, a->lanes, jit_num(e, 32, UINT32_MAX), ""), full, slow);
		LLVMPositionBuilderAtEnd(e->b, full);
		first = LLVMBuildExtractElement(e->b, a->at, jit_num(e, 32, 0), "");
		ok = LLVMBuildAdd(e->b, jit_spread(e, first), steps(e, a->whole, PTX_LANES), "");
		way_try(e, a, WAY_ALL, all_lanes(e, LLVMBuildICmp(e->b, LLVMIntEQ, a->at, ok, "")), 1, PTX_LANES);
		ok = LLVMBuildAdd(e->b, leaders(e, a->at), steps(e, a->whole, PART), "");
		way_try(e, a, WAY_PARTS, all_lanes(e, LLVMBuildICmp(e->b, LLVMIntEQ, a->at, ok, "")), PARTS, PART);
		if (i->op == OP_LD) {
			ok = LLVMBuildICmp(e->b, LLVMIntEQ, a->at, leaders(e, a->at), "");
			way_try(e, a, WAY_SAME, all_lanes(e, ok), PARTS, 1);
		}
		LLVMBuildBr(e->b, slow);
		LLVMPositionBuilderAtEnd(e->b, slow);
	}
	e->width = 1;
}

/* Lane after lane, @n elements each, of parts. */
static LLVMValueRef joined(struct jit_emit *e, LLVMValueRef *part, unsigned n)
{
	LLVMValueRef pick[ELEMENTS * PTX_LANES], half[2];

	for (unsigned k = 0; k < n * PTX_LANES; k++)
		pick[k] = jit_num(e, 32, k);
	for (unsigned h = 0; h < 2; h++)
		half[h] = LLVMBuildShuffleVector(e->b, part[2 * h], part[2 * h + 1],
						 LLVMConstVector(pick, n * PTX_LANES / 2), "");
	return LLVMBuildShuffleVector(e->b, half[0], half[1], LLVMConstVector(pick, n * PTX_LANES), "");
}

static LLVMValueRef part_of(struct jit_emit *e, LLVMValueRef all, unsigned p, unsigned n)
{
	LLVMValueRef pick[ELEMENTS * PART];

	for (unsigned k = 0; k < n * PART; k++)
		pick[k] = jit_num(e, 32, p * n * PART + k);
	return LLVMBuildShuffleVector(e->b, all, LLVMGetPoison(LLVMTypeOf(all)), LLVMConstVector(pick, n * PART), "");
}

/* What all lanes read, lane after lane, by a way that is not one by one. */
static LLVMValueRef loaded(struct jit_emit *e, const struct access *a, unsigned way)
{
	LLVMTypeRef type = jit_bits(e, a->bytes * 8);
	LLVMValueRef part[PARTS];
	unsigned n = a->insn->vec;

	if (way == WAY_ALL)
		return load(e, LLVMVectorType(type, PTX_LANES * n), a->place[way][0], a->whole);
	for (unsigned p = 0; p < PARTS; p++) {
		LLVMValueRef pick[ELEMENTS * PART];

		if (way == WAY_PARTS) {
			part[p] = load(e, LLVMVectorType(type, PART * n), a->place[way][p], a->whole);
			continue;
		}
		for (unsigned k = 0; k < n * PART; k++)
			pick[k] = jit_num(e, 32, k % n);
		part[p] = load(e, LLVMVectorType(type, n), a->place[way][p], a->whole);
		part[p] = LLVMBuildShuffleVector(e->b, part[p], LLVMGetPoison(LLVMTypeOf(part[p])),
						 LLVMConstVector(pick, n * PART), "");
	}
	return joined(e, part, n);
}

static LLVMValueRef data_at(struct jit_emit *e, LLVMValueRef data, unsigned k)
{
	return at_offset(e, e->i64, data, k * PTX_LANES);
}

/* Ends the way that the builder stands at: lanes one by one. */
static void one_by_one(struct jit_emit *e, const struct access *a, LLVMValueRef fn, LLVMValueRef *v)
{
	LLVMTypeRef params[] = {e->ptr, e->ptr, e->i32, e->ptr, e->ptr, e->ptr, e->ptr};
	LLVMTypeRef type = LLVMFunctionType(e->i32, params, 7, false), result = vector(jit_bits(e, a->bytes * 8));
	LLVMValueRef args[7], ok, n = jit_num(e, 32, (uint64_t)a->insn->vec * PTX_LANES);

	for (unsigned k = 0; k < 5; k++)
		args[k] = LLVMGetParam(fn, k);
	args[5] = LLVMBuildAlloca(e->b, vector(e->i64), "");
	args[6] = LLVMBuildArrayAlloca(e->b, e->i64, n, "");
	LLVMSetAlignment(args[5], 64);
	LLVMSetAlignment(args[6], 64);
	store(e, a->at, args[5], 64);
	for (unsigned k = 0; a->insn->op == OP_ST && k < a->insn->vec; k++)
		store(e, v[k], data_at(e, args[6], k), 64);
	ok = LLVMBuildCall2(e->b, type, jit_pointer(e, (const void *)(uintptr_t)jit_access), args, 7, "");
	n = jit_num(e, 64, offsetof(struct jit_env, failed));
	LLVMBuildStore(e->b, LLVMBuildXor(e->b, ok, jit_num(e, 32, 1), ""), LLVMBuildGEP2(e->b, e->i8, args[3], &n, 1, ""));
	for (unsigned k = 0; a->insn->op == OP_LD && k < a->insn->vec; k++)
		v[k] = load(e, result, data_at(e, args[6], k), 64);
}

static LLVMValueRef together(struct jit_emit *e, LLVMTypeRef type, LLVMValueRef *v, unsigned n)
{
	LLVMValueRef r = LLVMGetPoison(type);

	for (unsigned k = 0; k < n; k++)
		r = LLVMBuildInsertValue(e->b, r, v[k], k, "");
	return r;
}

static void access_body(struct jit_emit *e, struct access *a, LLVMValueRef fn, LLVMTypeRef result)
{
	const struct insn *i = a->insn;
	LLVMValueRef v[ELEMENTS], all;
	bool write = i->op == OP_ST;

	access_begin(e, a);
	for (unsigned k = 0; write && k < i->vec; k++)
		v[k] = LLVMGetParam(fn, 6 + k);
	one_by_one(e, a, fn, v);
	if (write)
		LLVMBuildRetVoid(e->b);
	else
		LLVMBuildRet(e->b, together(e, result, v, i->vec));
	for (unsigned way = 0; way < WAYS; way++) {
		if (!a->way[way])
			continue;
		LLVMPositionBuilderAtEnd(e->b, a->way[way]);
		if (!write) {
			all = loaded(e, a, way);
			for (unsigned k = 0; k < i->vec; k++)
				v[k] = column(e, all, k, i->vec);
			LLVMBuildRet(e->b, together(e, result, v, i->vec));
			continue;
		}
		all = v[0];
		if (i->vec == 2)
			all = interleaved(e, v[0], v[1], 1);
		else if (i->vec == 4)
			all = interleaved(e, interleaved(e, v[0], v[1], 1), interleaved(e, v[2], v[3], 1), 2);
		for (unsigned p = 0; way == WAY_PARTS && p < PARTS; p++)
			store(e, part_of(e, all, p, i->vec), a->place[way][p], a->whole);
		if (way == WAY_ALL)
			store(e, all, a->place[way][0], a->whole);
		LLVMBuildRetVoid(e->b);
	}
}

/* In a memory that is found by its address. */
static bool ranged(const struct insn *i)
{
	return i->space != SP_LOCAL && i->space != SP_FRAME && i->space != SP_SHARED;
}

/* The function of this kind of access: of warp, instruction, lanes, env, site, addresses, and data if it stores. */
static LLVMValueRef access_function(struct jit_emit *e, const struct insn *i, LLVMTypeRef *type)
{
	struct access a = {.insn = i, .bytes = type_bytes(i->type)};
	LLVMTypeRef data = vector(jit_bits(e, a.bytes * 8)), params[6 + ELEMENTS], result, all[ELEMENTS];
	LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
	LLVMValueRef fn, caller = e->fn, env = e->env;
	unsigned n = 6, width = e->width;
	char name[40];

	for (unsigned k = 0; k < 5; k++)
		params[k] = k == 2 ? e->i32 : e->ptr;
	params[5] = vector(e->i64);
	for (unsigned k = 0; k < i->vec; k++)
		all[k] = data;
	while (i->op == OP_ST && n < 6u + i->vec)
		params[n++] = data;
	result = i->op == OP_ST ? LLVMVoidTypeInContext(e->context)
				: LLVMStructTypeInContext(e->context, all, i->vec, false);
	*type = LLVMFunctionType(result, params, n, false);
	snprintf(name, sizeof(name), "%s.%s.%u.%u", i->op == OP_ST ? "st" : "ld",
		 ranged(i) ? "range" : i->space == SP_SHARED ? "shared" : "near", a.bytes, i->vec);
	fn = LLVMGetNamedFunction(e->module, name);
	if (fn)
		return fn;
	fn = LLVMAddFunction(e->module, name, *type);
	LLVMSetLinkage(fn, LLVMInternalLinkage);
	LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
				LLVMCreateEnumAttribute(e->context, LLVMGetEnumAttributeKindForName("noinline", 8), 0));
	e->fn = fn;
	e->env = LLVMGetParam(fn, 3);
	LLVMPositionBuilderAtEnd(e->b, jit_block(e));
	a.lanes = LLVMGetParam(fn, 2);
	a.site = LLVMGetParam(fn, 4);
	a.at = LLVMGetParam(fn, 5);
	access_body(e, &a, fn, result);
	e->fn = caller;
	e->env = env;
	e->width = width;
	LLVMPositionBuilderAtEnd(e->b, here);
	return fn;
}

/* The address of the first or last lane, of an access whose address is on a line. */
static LLVMValueRef line_end(struct jit_emit *e, const struct insn *i, unsigned end)
{
	LLVMValueRef at;

	e->end = end;
	at = LLVMBuildAdd(e->b, jit_value(e, i->o[1], 64), jit_num(e, 64, (uint64_t)i->imm), "");
	e->end = 0;
	return i->space == SP_SHARED ? LLVMBuildAnd(e->b, at, jit_num(e, 64, UINT32_MAX), "") : at;
}

/*
 * Where lane after lane follows in one piece of memory, which its ends tell, all is read, also by lanes that are not
 * asked; and shared memory, that nobody else changes meanwhile, is written as it was for these.
 * Returns where that has been done, v is what was read. The builder stands where it has to be done otherwise.
 */
static LLVMBasicBlockRef line_emit(struct jit_emit *e, const struct insn *i, LLVMValueRef lanes, LLVMValueRef site,
				   LLVMValueRef *v)
{
	unsigned bytes = type_bytes(i->type), whole = bytes * i->vec;
	LLVMBasicBlockRef look = jit_block(e), good = jit_block(e), other = jit_block(e);
	LLVMValueRef first, last, ok = e->row, place, all, full;

	full = LLVMBuildICmp(e->b, LLVMIntEQ, lanes, jit_num(e, 32, UINT32_MAX), "");
	if (i->op == OP_ST && (i->space != SP_SHARED || i->vec > 1))
		ok = both(e, ok, full);
	LLVMBuildCondBr(e->b, ok, look, other);
	LLVMPositionBuilderAtEnd(e->b, look);
	first = line_end(e, i, 1);
	last = line_end(e, i, 2);
	ok = LLVMBuildICmp(e->b, LLVMIntEQ, last, plus(e, first, (uint64_t)(PTX_LANES - 1) * whole), "");
	ok = both(e, ok, inside(e, i, first, whole, PTX_LANES, site, &place));
	LLVMBuildCondBr(e->b, ok, good, other);
	LLVMPositionBuilderAtEnd(e->b, good);
	if (i->op == OP_LD) {
		all = load(e, LLVMVectorType(jit_bits(e, bytes * 8), PTX_LANES * i->vec), place, whole);
		for (unsigned k = 0; k < i->vec; k++)
			v[k] = column(e, all, k, i->vec);
	} else {
		e->width = PTX_LANES;
		for (unsigned k = 0; k < i->vec; k++)
			v[k] = jit_value(e, i->vec == 1 ? i->o[0] : i->x[k], bytes * 8);
		e->width = 1;
		all = v[0];
		if (i->vec == 2)
			all = interleaved(e, v[0], v[1], 1);
		else if (i->vec == 4)
			all = interleaved(e, interleaved(e, v[0], v[1], 1), interleaved(e, v[2], v[3], 1), 2);
		if (i->space == SP_SHARED && i->vec == 1 && e->guard) {
			LLVMBasicBlockRef some = jit_block(e), end = jit_block(e), every = jit_block(e);

			LLVMBuildCondBr(e->b, full, every, some);
			LLVMPositionBuilderAtEnd(e->b, some);
			last = load(e, LLVMTypeOf(all), place, whole);
			last = LLVMBuildSelect(e->b, LLVMBuildBitCast(e->b, lanes, vector(e->i1), ""), all, last, "");
			store(e, last, place, whole);
			LLVMBuildBr(e->b, end);
			LLVMPositionBuilderAtEnd(e->b, every);
			store(e, all, place, whole);
			LLVMBuildBr(e->b, end);
			good = end;
		} else {
			store(e, all, place, whole);
		}
	}
	LLVMPositionBuilderAtEnd(e->b, other);
	return good;
}

static bool on_line(const struct jit_emit *e, const struct insn *i)
{
	int64_t whole = (int64_t)type_bytes(i->type) * i->vec;

	return i->o[1] >= 0 && e->flow.step[i->o[1]] == whole && (i->vec == 1 || i->vec == 2 || i->vec == 4) &&
	       i->space != SP_LOCAL && i->space != SP_FRAME;
}

bool jit_wide_memory(struct jit_emit *e, const struct insn *i)
{
	unsigned bytes = type_bytes(i->type);
	LLVMTypeRef type;
	LLVMValueRef fn, args[6 + ELEMENTS], r, failed, v[ELEMENTS], line[ELEMENTS];
	LLVMBasicBlockRef go, straight = NULL, called;

	if (i->space == SP_PARAM || i->type == T_B128 || i->vec > ELEMENTS)
		return false;
	fn = access_function(e, i, &type);
	args[0] = e->warp;
	args[1] = jit_pointer(e, i);
	args[2] = e->guard ? e->guard_lanes : e->mask;
	args[3] = e->env;
	args[4] = ranged(i) ? at_offset(e, e->i8, jit_load_env(e, offsetof(struct jit_env, sites), e->ptr),
					e->sites++ * sizeof(struct jit_site))
			    : LLVMConstNull(e->ptr);
	if (on_line(e, i)) {
		unsigned width = e->width;

		e->width = 1;
		straight = line_emit(e, i, args[2], args[4], line);
		e->width = width;
	}
	args[5] = addresses(e, i);
	for (unsigned k = 0; i->op == OP_ST && k < i->vec; k++)
		args[6 + k] = jit_value(e, i->vec == 1 ? i->o[0] : i->x[k], bytes * 8);
	r = LLVMBuildCall2(e->b, type, fn, args, i->op == OP_ST ? 6u + i->vec : 6, "");
	for (unsigned k = 0; i->op == OP_LD && k < i->vec; k++)
		v[k] = LLVMBuildExtractValue(e->b, r, k, "");
	failed = jit_load_env(e, offsetof(struct jit_env, failed), e->i32);
	go = jit_block(e);
	called = LLVMGetInsertBlock(e->b);
	LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntNE, failed, jit_num(e, 32, 0), ""), e->fault, go);
	if (straight) {
		LLVMPositionBuilderAtEnd(e->b, straight);
		LLVMBuildBr(e->b, go);
	}
	LLVMPositionBuilderAtEnd(e->b, go);
	for (unsigned k = 0; straight && i->op == OP_LD && k < i->vec; k++) {
		LLVMBasicBlockRef from[] = {called, straight};
		LLVMValueRef values[] = {v[k], line[k]};

		v[k] = LLVMBuildPhi(e->b, LLVMTypeOf(v[k]), "");
		LLVMAddIncoming(v[k], values, from, 2);
	}
	for (unsigned k = 0; i->op == OP_LD && k < i->vec; k++)
		jit_set(e, i->vec == 1 ? i->o[0] : i->x[k], jit_extended(e, v[k], i->type, i->regbits));
	return true;
}
