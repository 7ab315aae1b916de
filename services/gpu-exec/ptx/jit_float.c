/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point in compiled code: the operations and comparisons of float.c and cvt.c that round
 * to nearest. */
#include "services/gpu-exec/ptx/jit.h"

static LLVMValueRef real(const struct jit_emit *e, unsigned bits, double v)
{
	return jit_same(e, LLVMConstReal(bits == 32 ? e->f32 : e->f64, v));
}

static LLVMValueRef unary(struct jit_emit *e, const char *name, LLVMValueRef v)
{
	return jit_intrinsic(e, name, LLVMTypeOf(v), &v, 1);
}

static LLVMValueRef binary(struct jit_emit *e, const char *name, LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef args[] = {a, b};

	return jit_intrinsic(e, name, LLVMTypeOf(a), args, 2);
}

/* A subnormal of 32 bits becomes a zero of its sign. */
static LLVMValueRef flushed(struct jit_emit *e, LLVMValueRef v)
{
	LLVMValueRef small = LLVMBuildFCmp(e->b, LLVMRealOLT, unary(e, "llvm.fabs", v),
					   real(e, 32, 0x1p-126), "");

	return LLVMBuildSelect(e->b, small, binary(e, "llvm.copysign", real(e, 32, 0), v), v, "");
}

static LLVMValueRef saturated(struct jit_emit *e, LLVMValueRef v, unsigned bits)
{
	LLVMValueRef zero = real(e, bits, 0), one = real(e, bits, 1);
	LLVMValueRef above = LLVMBuildFCmp(e->b, LLVMRealOGT, v, zero, "");
	LLVMValueRef over = LLVMBuildFCmp(e->b, LLVMRealOGT, v, one, "");

	return LLVMBuildSelect(e->b, above, LLVMBuildSelect(e->b, over, one, v, ""), zero, "");
}

/* A NaN gives the other, equal ones (zeros) are told apart by their signs. */
static LLVMValueRef min_max(struct jit_emit *e, bool min, LLVMValueRef a, LLVMValueRef b,
			    unsigned bits)
{
	LLVMTypeRef type = jit_int(e, bits);
	LLVMValueRef ai = LLVMBuildBitCast(e->b, a, type, ""),
		     bi = LLVMBuildBitCast(e->b, b, type, "");
	LLVMValueRef both = min ? LLVMBuildOr(e->b, ai, bi, "") : LLVMBuildAnd(e->b, ai, bi, "");
	LLVMValueRef less = LLVMBuildFCmp(e->b, min ? LLVMRealOLT : LLVMRealOGT, a, b, "");
	LLVMValueRef r = LLVMBuildSelect(e->b, less, a, b, "");

	r = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOEQ, a, b, ""),
			    LLVMBuildBitCast(e->b, both, LLVMTypeOf(a), ""), r, "");
	r = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, b, b, ""), a, r, "");
	return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealUNO, a, a, ""), b, r, "");
}

/* The functions that both executors share. */
static LLVMValueRef shared_functions(struct jit_emit *e, unsigned op, LLVMValueRef v, unsigned bits)
{
	LLVMTypeRef params[] = {e->i32, e->ptr}, vector = LLVMTypeOf(v);
	LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), params, 2, false);
	LLVMValueRef args[] = {jit_num(e, 32, op), e->scratch};
	const void *at = bits == 32 ? (const void *)(uintptr_t)jit_unary_f32
				    : (const void *)(uintptr_t)jit_unary_f64;

	LLVMSetAlignment(LLVMBuildStore(e->b, v, e->scratch), 64);
	LLVMBuildCall2(e->b, type, jit_pointer(e, at), args, 2, "");
	v = LLVMBuildLoad2(e->b, vector, e->scratch, "");
	LLVMSetAlignment(v, 64);
	return v;
}

static LLVMValueRef shared_function(struct jit_emit *e, unsigned op, LLVMValueRef v, unsigned bits)
{
	LLVMTypeRef params[] = {e->i32, jit_real(e, bits)};
	LLVMTypeRef type = LLVMFunctionType(params[1], params, 2, false);
	LLVMValueRef args[] = {jit_num(e, 32, op), v};
	const void *at = bits == 32 ? (const void *)(uintptr_t)unary_f32
				    : (const void *)(uintptr_t)unary_f64;

	if (e->width > 1)
		return shared_functions(e, op, v, bits);
	return LLVMBuildCall2(e->b, type, jit_pointer(e, at), args, 2, "");
}

/* a * b + c in a directed mode; the same for both executors. */
static LLVMValueRef directed(struct jit_emit *e, const struct insn *i, LLVMValueRef *v)
{
	LLVMTypeRef params[] = {e->f32, e->f32, e->f32, e->i32};
	LLVMTypeRef type = LLVMFunctionType(e->f32, params, 4, false);
	LLVMValueRef args[] = {v[0], v[1], v[2], jit_const(e, 32, i->rnd)}, signs;

	switch (i->op) {
	case OP_FMA:
		break;
	case OP_ADD:
		args[1] = real(e, 32, 1);
		args[2] = v[1];
		break;
	case OP_SUB:
		args[1] = real(e, 32, 1);
		args[2] = LLVMBuildFNeg(e->b, v[1], "");
		break;
	case OP_MUL:
		signs = LLVMBuildXor(e->b, LLVMBuildBitCast(e->b, v[0], e->i32, ""),
				     LLVMBuildBitCast(e->b, v[1], e->i32, ""), "");
		signs = LLVMBuildAnd(e->b, signs, jit_const(e, 32, 0x80000000u), "");
		args[2] = LLVMBuildBitCast(e->b, signs, e->f32, "");
		break;
	default:
		return NULL;
	}
	return LLVMBuildCall2(e->b, type, jit_pointer(e, (const void *)(uintptr_t)fma_f32_directed),
			      args, 4, "");
}

static LLVMValueRef rsqrt_f32(struct jit_emit *e, LLVMValueRef v)
{
	v = unary(e, "llvm.sqrt", LLVMBuildFPExt(e->b, v, jit_real(e, 64), ""));
	return LLVMBuildFPTrunc(e->b, LLVMBuildFDiv(e->b, real(e, 64, 1), v, ""), jit_real(e, 32), "");
}

static bool neg_abs(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef v, sign = jit_const(e, bits, UINT64_C(1) << (bits - 1));

	if (i->sat || i->ftz || i->sub)
		return false;
	v = jit_value(e, i->o[1], bits); /* keeps what a NaN carries */
	v = i->op == OP_NEG ? LLVMBuildXor(e->b, v, sign, "")
			    : LLVMBuildAnd(e->b, v, LLVMBuildNot(e->b, sign, ""), "");
	jit_set(e, i->o[0], v);
	return true;
}

static bool arithmetic(struct jit_emit *e, const struct insn *i)
{
	unsigned bits = i->type == T_F32 ? 32 : 64;
	bool ftz = i->ftz && bits == 32;
	LLVMValueRef v[3] = {0}, r;

	if (i->op == OP_NEG || i->op == OP_ABS)
		return neg_abs(e, i, bits);
	if ((i->rnd != RND_RN && bits == 64) || ((i->op == OP_MIN || i->op == OP_MAX) && i->sub) ||
	    (bits == 64 && (i->sat || i->ftz)))
		return false;
	if (i->rnd != RND_RN && (i->rnd == RND_NONE || e->width > 1 || (i->op != OP_FMA && i->op != OP_ADD &&
							i->op != OP_SUB && i->op != OP_MUL)))
		return false;
	for (unsigned k = 0; k < 3; k++) {
		if (i->o[1 + k] == PTX_NONE)
			break;
		v[k] = jit_float(e, i->o[1 + k], bits);
		if (ftz)
			v[k] = flushed(e, v[k]);
	}
	switch (i->rnd == RND_RN ? i->op : OP_NONE) {
	case OP_NONE:
		r = directed(e, i, v);
		break;
	case OP_ADD:
		r = LLVMBuildFAdd(e->b, v[0], v[1], "");
		break;
	case OP_SUB:
		r = LLVMBuildFSub(e->b, v[0], v[1], "");
		break;
	case OP_MUL:
		r = LLVMBuildFMul(e->b, v[0], v[1], "");
		break;
	case OP_DIV:
		r = LLVMBuildFDiv(e->b, v[0], v[1], "");
		break;
	case OP_FMA:
		r = jit_intrinsic(e, "llvm.fma", jit_real(e, bits), v, 3);
		break;
	case OP_MIN:
	case OP_MAX:
		r = min_max(e, i->op == OP_MIN, v[0], v[1], bits);
		break;
	case OP_RCP:
		r = LLVMBuildFDiv(e->b, real(e, bits, 1), v[0], "");
		break;
	case OP_SQRT:
		r = unary(e, "llvm.sqrt", v[0]);
		break;
	case OP_RSQRT:
		r = bits == 32 ? rsqrt_f32(e, v[0]) : shared_function(e, i->op, v[0], bits);
		break;
	case OP_EX2:
	case OP_LG2:
	case OP_SIN:
	case OP_COS:
	case OP_TANH:
		r = shared_function(e, i->op, v[0], bits);
		break;
	default:
		return false;
	}
	if (ftz)
		r = flushed(e, r);
	if (i->sat)
		r = saturated(e, r, bits);
	jit_set_float(e, i->o[0], r, bits);
	return true;
}

/* ------------------------------------------------------------------------------ conversions */

static const char *integral(unsigned rnd)
{
	switch (rnd) {
	case RND_RNI:
	case RND_RN:
		return "llvm.rint";
	case RND_RMI:
	case RND_RM:
		return "llvm.floor";
	case RND_RPI:
	case RND_RP:
		return "llvm.ceil";
	default:
		return "llvm.trunc";
	}
}

static LLVMValueRef source(struct jit_emit *e, const struct insn *i)
{
	unsigned bits = i->type2 == T_F32 ? 32 : 64;
	LLVMValueRef v = jit_float(e, i->o[1], bits);

	return i->ftz && bits == 32 ? flushed(e, v) : v;
}

/* A whole number of @type as a register of @regbits has it. */
static LLVMValueRef widened(struct jit_emit *e, const struct insn *i, LLVMValueRef v)
{
	unsigned bits = type_bytes(i->type) * 8;

	v = jit_resize(e, v, bits, false);
	if (type_signed(i->type) && i->regbits > bits)
		v = jit_resize(e, v, i->regbits, true);
	return v;
}

static LLVMValueRef to_int(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef v = unary(e, integral(i->rnd), source(e, i));
	LLVMTypeRef types[2] = {jit_int(e, type_bytes(i->type) * 8), LLVMTypeOf(v)};
	bool is_signed = type_signed(i->type);
	unsigned id = is_signed ? LLVMLookupIntrinsicID("llvm.fptosi.sat", 15)
				: LLVMLookupIntrinsicID("llvm.fptoui.sat", 15);
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);

	v = LLVMBuildCall2(e->b, LLVMIntrinsicGetType(e->context, id, types, 2), fn, &v, 1, "");
	return widened(e, i, v);
}

static bool convert(struct jit_emit *e, const struct insn *i)
{
	bool from = i->type2 == T_F32 || i->type2 == T_F64,
	     to = i->type == T_F32 || i->type == T_F64;
	bool nearest = i->rnd == RND_NONE || i->rnd == RND_RN;
	unsigned bits = i->type == T_F32 ? 32 : 64, wide = type_bytes(i->type2) * 8;
	LLVMValueRef v;

	if ((i->sat && !(from && to)) || i->cmp || i->boolop || (type_float(i->type) && !to) ||
	    (type_float(i->type2) && !from) || i->type2 == T_B128 || i->type == T_B128)
		return false;
	if (!from && !to) {
		v = jit_resize(e, jit_value(e, i->o[1], wide), 64, type_signed(i->type2));
		jit_set(e, i->o[0], widened(e, i, v));
		return true;
	}
	if (!to) {
		jit_set(e, i->o[0], to_int(e, i));
		return true;
	}
	if (!from) {
		if (!nearest)
			return false;
		v = jit_value(e, i->o[1], wide);
		v = type_signed(i->type2) ? LLVMBuildSIToFP(e->b, v, jit_real(e, bits), "")
					  : LLVMBuildUIToFP(e->b, v, jit_real(e, bits), "");
		jit_set_float(e, i->o[0], v, bits);
		return true;
	}
	if (i->type == i->type2) {
		if (i->rnd >= RND_RNI && i->rnd <= RND_RPI) {
			v = unary(e, integral(i->rnd), source(e, i));
			if (i->sat)
				v = saturated(e, v, bits);
			if (i->ftz && bits == 32)
				v = flushed(e, v);
			jit_set_float(e, i->o[0], v, bits);
			return true;
		}
		if (i->sat || i->ftz) {
			v = source(e, i);
			if (i->sat)
				v = saturated(e, v, bits);
			jit_set_float(e, i->o[0], v, bits);
			return true;
		}
		jit_set(e, i->o[0], jit_value(e, i->o[1], bits));
		return true;
	}
	if (!nearest)
		return false;
	v = source(e, i);
	if (i->sat)
		v = saturated(e, v, i->type2 == T_F32 ? 32 : 64);
	if (i->type == T_F64) {
		v = LLVMBuildFPExt(e->b, v, jit_real(e, 64), "");
	} else {
		v = LLVMBuildFPTrunc(e->b, v, jit_real(e, 32), "");
		if (i->ftz)
			v = flushed(e, v);
	}
	jit_set_float(e, i->o[0], v, bits);
	return true;
}

/* ------------------------------------------------------------------------------ comparisons */

static LLVMValueRef compared(struct jit_emit *e, const struct insn *i)
{
	static const LLVMRealPredicate floats[] = {
		[CMP_EQ] = LLVMRealOEQ,  [CMP_NE] = LLVMRealONE,  [CMP_LT] = LLVMRealOLT,
		[CMP_LE] = LLVMRealOLE,  [CMP_GT] = LLVMRealOGT,  [CMP_GE] = LLVMRealOGE,
		[CMP_EQU] = LLVMRealUEQ, [CMP_NEU] = LLVMRealUNE, [CMP_LTU] = LLVMRealULT,
		[CMP_LEU] = LLVMRealULE, [CMP_GTU] = LLVMRealUGT, [CMP_GEU] = LLVMRealUGE,
		[CMP_NUM] = LLVMRealORD, [CMP_NAN] = LLVMRealUNO};
	static const LLVMIntPredicate ints[2][6] = {{[CMP_EQ] = LLVMIntEQ,
						     [CMP_NE] = LLVMIntNE,
						     [CMP_LT] = LLVMIntULT,
						     [CMP_LE] = LLVMIntULE,
						     [CMP_GT] = LLVMIntUGT,
						     [CMP_GE] = LLVMIntUGE},
						    {[CMP_EQ] = LLVMIntEQ,
						     [CMP_NE] = LLVMIntNE,
						     [CMP_LT] = LLVMIntSLT,
						     [CMP_LE] = LLVMIntSLE,
						     [CMP_GT] = LLVMIntSGT,
						     [CMP_GE] = LLVMIntSGE}};
	unsigned bits = type_bytes(i->type2) * 8;
	LLVMValueRef a, b;

	if (i->type2 == T_F32 || i->type2 == T_F64) {
		a = jit_float(e, i->o[1], bits);
		b = jit_float(e, i->o[2], bits);
		if (i->ftz && bits == 32) {
			a = flushed(e, a);
			b = flushed(e, b);
		}
		return LLVMBuildFCmp(e->b, floats[i->cmp], a, b, "");
	}
	if (i->type2 >= T_F16 || i->cmp > CMP_GE || bits < 16 || bits > 64)
		return NULL;
	return LLVMBuildICmp(e->b, ints[type_signed(i->type2)][i->cmp], jit_value(e, i->o[1], bits),
			     jit_value(e, i->o[2], bits), "");
}

static LLVMValueRef combined(struct jit_emit *e, const struct insn *i, LLVMValueRef t,
			     LLVMValueRef c)
{
	switch (i->boolop) {
	case BOOL_AND:
		return LLVMBuildAnd(e->b, t, c, "");
	case BOOL_OR:
		return LLVMBuildOr(e->b, t, c, "");
	case BOOL_XOR:
		return LLVMBuildXor(e->b, t, c, "");
	default:
		return t;
	}
}

static bool setp(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef t = compared(e, i), c;

	if (!t)
		return false;
	c = i->boolop ? jit_pred(e, i->o[3], i->neg & 1) : NULL;
	jit_set(e, i->o[0], combined(e, i, t, c));
	jit_set(e, i->o[4], combined(e, i, LLVMBuildNot(e->b, t, ""), c));
	return true;
}

bool jit_emit_float(struct jit_emit *e, const struct insn *i)
{
	if (i->op == OP_SETP)
		return setp(e, i);
	if (i->op == OP_CVT)
		return convert(e, i);
	if (i->type == T_F32 || i->type == T_F64)
		return arithmetic(e, i);
	return false;
}
