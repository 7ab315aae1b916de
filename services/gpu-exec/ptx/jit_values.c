/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/ptx/jit.h"

#include <string.h>

LLVMTypeRef jit_bits(const struct jit_emit *e, unsigned bits)
{
	switch (bits) {
	case 1:
		return e->i1;
	case 8:
		return e->i8;
	case 16:
		return e->i16;
	case 32:
		return e->i32;
	case 64:
		return e->i64;
	default:
		return e->i128;
	}
}

static LLVMTypeRef shaped(LLVMTypeRef type, unsigned width)
{
	return width > 1 ? LLVMVectorType(type, width) : type;
}

static unsigned width_of(LLVMValueRef v)
{
	LLVMTypeRef type = LLVMTypeOf(v);

	return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 1;
}

static unsigned reg_width(const struct jit_emit *e, int32_t reg)
{
	return e->wide && e->flow.varying[reg] ? PTX_LANES : 1;
}

LLVMTypeRef jit_int(const struct jit_emit *e, unsigned bits)
{
	return shaped(jit_bits(e, bits), e->width);
}

LLVMTypeRef jit_real(const struct jit_emit *e, unsigned bits)
{
	return shaped(bits == 32 ? e->f32 : e->f64, e->width);
}

LLVMTypeRef jit_reg_type(const struct jit_emit *e, int32_t reg)
{
	return shaped(jit_bits(e, jit_reg_bits(e, reg)), reg_width(e, reg));
}

LLVMValueRef jit_num(const struct jit_emit *e, unsigned bits, uint64_t v)
{
	return LLVMConstInt(jit_bits(e, bits), v, false);
}

LLVMValueRef jit_same(const struct jit_emit *e, LLVMValueRef constant)
{
	LLVMValueRef all[PTX_LANES];

	if (e->width == 1)
		return constant;
	for (unsigned l = 0; l < PTX_LANES; l++)
		all[l] = constant;
	return LLVMConstVector(all, PTX_LANES);
}

LLVMValueRef jit_const(const struct jit_emit *e, unsigned bits, uint64_t v)
{
	return jit_same(e, jit_num(e, bits, v));
}

LLVMValueRef jit_spread(struct jit_emit *e, LLVMValueRef v)
{
	LLVMTypeRef type = shaped(LLVMTypeOf(v), PTX_LANES);

	if (e->width == 1 || width_of(v) > 1)
		return v;
	if (LLVMIsConstant(v))
		return jit_same(e, v);
	v = LLVMBuildInsertElement(e->b, LLVMGetPoison(type), v, jit_num(e, 32, 0), "");
	return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(type),
				      LLVMConstNull(LLVMVectorType(e->i32, PTX_LANES)), "");
}

LLVMValueRef jit_pointer(const struct jit_emit *e, const void *at)
{
	return LLVMConstIntToPtr(jit_num(e, 64, (uint64_t)(uintptr_t)at), e->ptr);
}

LLVMBasicBlockRef jit_block(struct jit_emit *e)
{
	return LLVMAppendBasicBlockInContext(e->context, e->fn, "");
}

LLVMValueRef jit_load_env(struct jit_emit *e, unsigned offset, LLVMTypeRef type)
{
	LLVMValueRef at = jit_num(e, 64, offset);

	at = LLVMBuildGEP2(e->b, e->i8, e->env, &at, 1, "");
	return LLVMBuildLoad2(e->b, type, at, "");
}

unsigned jit_reg_bits(const struct jit_emit *e, int32_t reg)
{
	unsigned type = e->flow.function->reg_types[reg], bytes = type_bytes(type);

	if (reg == HIDDEN_CARRY) /* one bit a lane, like a predicate */
		return 1;
	return type == T_PRED ? 1 : type == T_NONE || bytes > 8 ? 64 : bytes * 8;
}

LLVMValueRef jit_resize(struct jit_emit *e, LLVMValueRef v, unsigned bits, bool is_signed)
{
	unsigned width = width_of(v);
	LLVMTypeRef type = shaped(jit_bits(e, bits), width), of = LLVMTypeOf(v);
	unsigned have = LLVMGetIntTypeWidth(width > 1 ? LLVMGetElementType(of) : of);

	if (have == bits)
		return v;
	if (have > bits)
		return LLVMBuildTrunc(e->b, v, type, "");
	return is_signed ? LLVMBuildSExt(e->b, v, type, "") : LLVMBuildZExt(e->b, v, type, "");
}

LLVMValueRef jit_intrinsic(struct jit_emit *e, const char *name, LLVMTypeRef type,
			   LLVMValueRef *args, unsigned count)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->module, id, &type, 1);

	return LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, &type, 1), fn, args, count,
			      "");
}

LLVMValueRef jit_variable(struct jit_emit *e, int32_t reg)
{
	if (e->end && e->flow.step[reg])
		return LLVMBuildLoad2(e->b, jit_bits(e, jit_reg_bits(e, reg)), e->ends[2 * reg + (int)e->end - 1], "");
	return LLVMBuildLoad2(e->b, jit_reg_type(e, reg), e->reg[reg], "");
}

/* The bits of a float, NaNs all the same. */
static LLVMValueRef float_bits(struct jit_emit *e, LLVMValueRef f, unsigned bits)
{
	LLVMValueRef same = LLVMBuildFCmp(e->b, LLVMRealORD, f, f, "");
	uint64_t nan = bits == 32 ? 0x7fffffff : UINT64_C(0xfff8000000000000);
	unsigned keep = e->width;

	e->width = width_of(f);
	f = LLVMBuildSelect(e->b, same, LLVMBuildBitCast(e->b, f, jit_int(e, bits), ""),
			    jit_const(e, bits, nan), "");
	e->width = keep;
	return f;
}

/* A register as others than float operations see it. */
LLVMValueRef jit_bits_of(struct jit_emit *e, int32_t reg)
{
	LLVMValueRef v = jit_variable(e, reg);
	unsigned bits = jit_reg_bits(e, reg);

	if (!e->flow.raw[reg])
		return v;
	return float_bits(e, LLVMBuildBitCast(e->b, v, shaped(bits == 32 ? e->f32 : e->f64, width_of(v)), ""),
			  bits);
}

static uint64_t constant(const struct jit_emit *e, int32_t o)
{
	return e->flow.function->module->constants[~o];
}

LLVMValueRef jit_value(struct jit_emit *e, int32_t o, unsigned bits)
{
	if (o < 0) {
		uint64_t v = constant(e, o);

		return jit_const(e, bits, bits < 64 ? v & ((UINT64_C(1) << bits) - 1) : v);
	}
	return jit_spread(e, jit_resize(e, jit_bits_of(e, o), bits, false));
}

LLVMValueRef jit_pred(struct jit_emit *e, int32_t o, bool negated)
{
	LLVMValueRef v = o < 0 ? jit_const(e, 1, constant(e, o) & 1) : jit_spread(e, jit_variable(e, o));

	return negated ? LLVMBuildNot(e->b, v, "") : v;
}

LLVMValueRef jit_float(struct jit_emit *e, int32_t o, unsigned bits)
{
	LLVMValueRef v;

	if (o < 0)
		v = jit_value(e, o, bits);
	else
		v = jit_spread(e, jit_resize(e, e->flow.raw[o] ? jit_variable(e, o) : jit_bits_of(e, o), bits,
					     false));
	return LLVMBuildBitCast(e->b, v, jit_real(e, bits), "");
}

void jit_set(struct jit_emit *e, int32_t reg, LLVMValueRef v)
{
	unsigned keep = e->width;

	if (reg < 0)
		return;
	v = jit_resize(e, v, jit_reg_bits(e, reg), false);
	if (e->end) {
		LLVMBuildStore(e->b, v, e->ends[2 * reg + (int)e->end - 1]);
		return;
	}
	e->width = reg_width(e, reg);
	v = jit_spread(e, v);
	if (e->guard && e->width > 1 && !(e->passing && e->flow.passing[reg]))
		v = LLVMBuildSelect(e->b, e->guard, v, jit_variable(e, reg), "");
	e->width = keep;
	LLVMBuildStore(e->b, v, e->reg[reg]);
}

void jit_set_float(struct jit_emit *e, int32_t reg, LLVMValueRef v, unsigned bits)
{
	if (reg < 0)
		return;
	jit_set(e, reg,
		e->flow.raw[reg] ? LLVMBuildBitCast(e->b, v, shaped(jit_bits(e, bits), width_of(v)), "")
				 : float_bits(e, v, bits));
}

/* ------------------------------------------------------------------------------ the frame */

LLVMValueRef jit_slot(struct jit_emit *e, LLVMValueRef base, int32_t reg)
{
	LLVMValueRef at = jit_num(e, 64, (uint64_t)reg * PTX_LANES);

	return LLVMBuildGEP2(e->b, e->i64, base, &at, 1, "");
}

void jit_put_away(struct jit_emit *e, int32_t reg)
{
	LLVMValueRef at, old, bit;

	if (e->wide) {
		jit_wide_put_away(e, reg);
		return;
	}
	if (jit_reg_bits(e, reg) != 1) {
		LLVMBuildStore(e->b, jit_resize(e, jit_bits_of(e, reg), 64, false),
			       jit_slot(e, e->column, reg));
		return;
	}
	/* predicates of all lanes lie in one slot */
	at = jit_slot(e, e->frame, reg);
	old = LLVMBuildAnd(e->b, LLVMBuildLoad2(e->b, e->i64, at, ""),
			   LLVMBuildNot(e->b, e->lane_bit, ""), "");
	bit = LLVMBuildShl(e->b, jit_resize(e, jit_variable(e, reg), 64, false), e->lane64, "");
	LLVMBuildStore(e->b, LLVMBuildOr(e->b, old, bit, ""), at);
}

void jit_take_back(struct jit_emit *e, int32_t reg)
{
	bool pred = jit_reg_bits(e, reg) == 1;
	LLVMValueRef v;

	if (e->wide) {
		jit_wide_take_back(e, reg);
		return;
	}
	v = LLVMBuildLoad2(e->b, e->i64, jit_slot(e, pred ? e->frame : e->column, reg), "");
	if (pred)
		v = LLVMBuildLShr(e->b, v, e->lane64, "");
	LLVMBuildStore(e->b, jit_resize(e, v, jit_reg_bits(e, reg), false), e->reg[reg]);
}
