/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads and stores in compiled code, each with the check that the interpreter makes. What is right
 * costs a subtraction and two comparisons; the rest is jit_reach's.
 */
#include "services/gpu-exec/ptx/jit.h"

static LLVMValueRef offset_of(struct jit_emit *e, LLVMValueRef base, LLVMValueRef at)
{
	return LLVMBuildGEP2(e->b, e->i8, base, &at, 1, "");
}

static LLVMValueRef address(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef at = jit_const(e, 64, (uint64_t)i->imm);

	if (i->o[1] != PTX_NONE)
		at = LLVMBuildAdd(e->b, jit_value(e, i->o[1], 64), at, "");
	if (i->space == SP_FRAME)
		at = LLVMBuildAdd(e->b, at,
				  jit_load_env(e, offsetof(struct jit_env, group_local), e->i64),
				  "");
	return at;
}

static LLVMValueRef aligned(struct jit_emit *e, LLVMValueRef at, unsigned bytes)
{
	at = LLVMBuildAnd(e->b, at, jit_const(e, 64, bytes - 1), "");
	return LLVMBuildICmp(e->b, LLVMIntEQ, at, jit_const(e, 64, 0), "");
}

/* If @ok then @quick, else what jit_reach says; a fault ends it. */
static LLVMValueRef reach(struct jit_emit *e, const struct insn *i, LLVMValueRef ok,
			  LLVMValueRef quick, LLVMValueRef at, LLVMValueRef site)
{
	LLVMTypeRef params[] = {e->ptr, e->ptr, e->i32, e->i64, e->ptr};
	LLVMTypeRef type = LLVMFunctionType(e->ptr, params, 5, false);
	LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b), slow = jit_block(e), go = jit_block(e);
	LLVMValueRef args[] = {e->warp, jit_pointer(e, i), e->lane, at, site}, p, phi;

	LLVMBuildCondBr(e->b, ok, go, slow);
	LLVMPositionBuilderAtEnd(e->b, slow);
	p = LLVMBuildCall2(e->b, type, jit_pointer(e, (const void *)(uintptr_t)jit_reach), args, 5,
			   "");
	LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, p, ""), e->fault, go);
	LLVMPositionBuilderAtEnd(e->b, go);
	phi = LLVMBuildPhi(e->b, e->ptr, "");
	LLVMAddIncoming(phi, &quick, &here, 1);
	LLVMAddIncoming(phi, &p, &slow, 1);
	return phi;
}

/* In an area with a base and a size of its own; addresses of 32 bits. */
static LLVMValueRef reach_area(struct jit_emit *e, const struct insn *i, unsigned bytes,
			       unsigned base_at, unsigned size_at)
{
	LLVMValueRef at = address(e, i), size = jit_load_env(e, size_at, e->i64), ok;

	at = LLVMBuildAnd(e->b, at, jit_const(e, 64, UINT32_MAX), "");
	ok = LLVMBuildICmp(e->b, LLVMIntULE, LLVMBuildAdd(e->b, at, jit_const(e, 64, bytes), ""),
			   size, "");
	ok = LLVMBuildAnd(e->b, ok, aligned(e, at, bytes), "");
	return reach(e, i, ok, offset_of(e, jit_load_env(e, base_at, e->ptr), at), at,
		     LLVMConstNull(e->ptr));
}

static LLVMValueRef reach_range(struct jit_emit *e, const struct insn *i, unsigned bytes)
{
	LLVMValueRef at = address(e, i), n[2], site, base, limit, ok;

	n[0] = jit_const(e, 64, e->sites++ * sizeof(struct jit_site));
	site = LLVMBuildGEP2(e->b, e->i8, jit_load_env(e, offsetof(struct jit_env, sites), e->ptr),
			     n, 1, "");
	base = LLVMBuildLoad2(e->b, e->i64, site, "");
	n[1] = jit_const(e, 64, offsetof(struct jit_site, limit));
	limit = LLVMBuildLoad2(e->b, e->i64, LLVMBuildGEP2(e->b, e->i8, site, n + 1, 1, ""), "");
	ok = LLVMBuildICmp(e->b, LLVMIntULT, LLVMBuildSub(e->b, at, base, ""), limit, "");
	ok = LLVMBuildAnd(e->b, ok, aligned(e, at, bytes), "");
	return reach(e, i, ok, LLVMBuildIntToPtr(e->b, at, e->ptr, ""), at, site);
}

static LLVMValueRef place(struct jit_emit *e, const struct insn *i, unsigned bytes)
{
	switch (i->space) {
	case SP_SHARED:
		return reach_area(e, i, bytes, offsetof(struct jit_env, shared),
				  offsetof(struct jit_env, shared_total));
	case SP_LOCAL:
	case SP_FRAME:
		return reach_area(e, i, bytes, offsetof(struct jit_env, local),
				  offsetof(struct jit_env, local_bytes));
	case SP_PARAM:
		if (i->o[1] == PTX_NONE && e->flow.function->info.entry && i->imm >= 0 &&
		    (uint64_t)i->imm + bytes <= e->flow.function->info.param_bytes &&
		    !((uint64_t)i->imm & (bytes - 1)))
			return offset_of(e,
					 jit_load_env(e, offsetof(struct jit_env, params), e->ptr),
					 jit_const(e, 64, (uint64_t)i->imm));
		return NULL;
	default:
		return reach_range(e, i, bytes);
	}
}

/* What a register of @regbits gets of a value of @type. */
LLVMValueRef jit_extended(struct jit_emit *e, LLVMValueRef v, unsigned type, unsigned regbits)
{
	bool is_signed = type == T_S8 || type == T_S16 || type == T_S32;
	unsigned bits = type_bytes(type) * 8;

	if (!is_signed || regbits <= bits)
		return v;
	return jit_resize(e, v, regbits >= 64 ? 64 : regbits, true);
}

static bool load_emit(struct jit_emit *e, const struct insn *i)
{
	unsigned bytes = type_bytes(i->type);
	LLVMTypeRef type = jit_int(e, bytes * 8);
	LLVMValueRef at = place(e, i, bytes * i->vec), v[8];

	if (!at)
		return false;
	for (unsigned k = 0; k < i->vec; k++) {
		v[k] = LLVMBuildLoad2(e->b, type, offset_of(e, at, jit_const(e, 64, k * bytes)),
				      "");
		v[k] = jit_extended(e, v[k], i->type, i->regbits);
	}
	for (unsigned k = 0; k < i->vec; k++)
		jit_set(e, i->vec == 1 ? i->o[0] : i->x[k], v[k]);
	return true;
}

static bool store_emit(struct jit_emit *e, const struct insn *i)
{
	unsigned bytes = type_bytes(i->type);
	LLVMValueRef at = place(e, i, bytes * i->vec);

	if (!at)
		return false;
	for (unsigned k = 0; k < i->vec; k++)
		LLVMBuildStore(e->b, jit_value(e, i->vec == 1 ? i->o[0] : i->x[k], bytes * 8),
			       offset_of(e, at, jit_const(e, 64, k * bytes)));
	return true;
}

static void cvta_emit(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef v = jit_value(e, i->o[1], 64), base = NULL;

	if (i->space == SP_SHARED)
		base = jit_load_env(e, offsetof(struct jit_env, shared), e->i64);
	else if (i->space == SP_LOCAL)
		base = jit_load_env(e, offsetof(struct jit_env, local), e->i64);
	if (base)
		base = jit_spread(e, base);
	if (base)
		v = i->sub ? LLVMBuildSub(e->b, v, base, "") : LLVMBuildAdd(e->b, v, base, "");
	if (i->sub && i->regbits == 32)
		v = jit_resize(e, v, 32, false);
	jit_set(e, i->o[0], v);
}

bool jit_emit_memory(struct jit_emit *e, const struct insn *i)
{
	if (e->width > 1 && (i->op == OP_LD || i->op == OP_ST))
		return jit_wide_memory(e, i);
	if (e->wide && i->op == OP_CVTA && i->space == SP_LOCAL)
		return false; /* each lane has its own */
	switch (i->op) {
	case OP_LD:
		return load_emit(e, i);
	case OP_ST:
		return store_emit(e, i);
	case OP_CVTA:
		cvta_emit(e, i);
		return true;
	default:
		return false;
	}
}
