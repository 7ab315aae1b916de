/* SPDX-License-Identifier: Apache-2.0 */
/* Integers, bits, moves and special registers in compiled code: what int.c, cvt.c and warp.c do. */
#include "services/gpu-exec/ptx/jit.h"

#include "services/gpu-exec/ptx/parse.h"

static LLVMValueRef ext(struct jit_emit *e, const struct insn *i, int32_t o, unsigned bits)
{
	return jit_resize(e, jit_value(e, o, bits), 2 * bits, type_signed(i->type));
}

/* The product of twice the width. */
static LLVMValueRef product(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	return LLVMBuildMul(e->b, ext(e, i, i->o[1], bits), ext(e, i, i->o[2], bits), "");
}

static LLVMValueRef upper(struct jit_emit *e, LLVMValueRef v, unsigned bits)
{
	v = LLVMBuildLShr(e->b, v, jit_const(e, 2 * bits, bits), "");
	return jit_resize(e, v, bits, false);
}

static LLVMValueRef is(struct jit_emit *e, LLVMValueRef v, unsigned bits, uint64_t what)
{
	return LLVMBuildICmp(e->b, LLVMIntEQ, v, jit_const(e, bits, what), "");
}

/* By zero: all ones and the dividend; the least by -1: itself and 0. */
static LLVMValueRef divide(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef a = jit_value(e, i->o[1], bits), b = jit_value(e, i->o[2], bits);
	LLVMValueRef zero = is(e, b, bits, 0), one = jit_const(e, bits, 1), r;
	bool is_signed = type_signed(i->type), rem = i->op == OP_REM;

	if (!is_signed) {
		LLVMValueRef d = LLVMBuildSelect(e->b, zero, one, b, "");

		r = rem ? LLVMBuildURem(e->b, a, d, "") : LLVMBuildUDiv(e->b, a, d, "");
	} else {
		LLVMValueRef minus = is(e, b, bits, UINT64_MAX);
		LLVMValueRef d =
			LLVMBuildSelect(e->b, LLVMBuildOr(e->b, zero, minus, ""), one, b, "");

		r = rem ? LLVMBuildSRem(e->b, a, d, "") : LLVMBuildSDiv(e->b, a, d, "");
		r = LLVMBuildSelect(e->b, minus,
				    rem ? jit_const(e, bits, 0) : LLVMBuildNeg(e->b, a, ""), r, "");
	}
	return LLVMBuildSelect(e->b, zero, rem ? a : jit_const(e, bits, UINT64_MAX), r, "");
}

static LLVMValueRef shift(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef a = jit_value(e, i->o[1], bits), n = jit_value(e, i->o[2], 32), r;
	LLVMValueRef over = LLVMBuildICmp(e->b, LLVMIntUGT, n, jit_const(e, 32, bits - 1), "");
	bool sign = i->op == OP_SHR && type_signed(i->type);

	n = LLVMBuildSelect(e->b, over, jit_const(e, 32, sign ? bits - 1 : 0), n, "");
	n = jit_resize(e, n, bits, false);
	if (sign)
		return LLVMBuildAShr(e->b, a, n, "");
	r = i->op == OP_SHR ? LLVMBuildLShr(e->b, a, n, "") : LLVMBuildShl(e->b, a, n, "");
	return LLVMBuildSelect(e->b, over, jit_const(e, bits, 0), r, "");
}

static LLVMValueRef min_max(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef a = jit_value(e, i->o[1], bits), b = jit_value(e, i->o[2], bits);
	bool min = i->op == OP_MIN, sign = type_signed(i->type);
	LLVMIntPredicate p =
		min ? (sign ? LLVMIntSLT : LLVMIntULT) : (sign ? LLVMIntSGT : LLVMIntUGT);

	return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, p, a, b, ""), a, b, "");
}

static LLVMValueRef count(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef args[] = {jit_value(e, i->o[1], bits), jit_num(e, 1, 0)};

	switch (i->op) {
	case OP_CLZ:
		return jit_intrinsic(e, "llvm.ctlz", jit_int(e, bits), args, 2);
	case OP_POPC:
		return jit_intrinsic(e, "llvm.ctpop", jit_int(e, bits), args, 1);
	default:
		return jit_intrinsic(e, "llvm.bitreverse", jit_int(e, bits), args, 1);
	}
}

static LLVMValueRef lop3(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef v[3], not [3], r = jit_const(e, 32, 0);

	for (unsigned k = 0; k < 3; k++) {
		v[k] = jit_value(e, i->o[1 + k], 32);
		not [k] = LLVMBuildNot(e->b, v[k], "");
	}
	for (unsigned t = 0; t < 8; t++) {
		LLVMValueRef m;

		if (!(i->imm >> t & 1))
			continue;
		m = LLVMBuildAnd(e->b, t & 4 ? v[0] : not [0], t & 2 ? v[1] : not [1], "");
		m = LLVMBuildAnd(e->b, m, t & 1 ? v[2] : not [2], "");
		r = LLVMBuildOr(e->b, r, m, "");
	}
	return r;
}

static LLVMValueRef funnel(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef low = jit_value(e, i->o[1], 64), high = jit_value(e, i->o[2], 64);
	LLVMValueRef n = jit_value(e, i->o[3], 32), v, most = jit_const(e, 32, 32);

	low = LLVMBuildAnd(e->b, low, jit_const(e, 64, UINT32_MAX), "");
	v = LLVMBuildOr(e->b, LLVMBuildShl(e->b, high, jit_const(e, 64, 32), ""), low, "");
	if (i->sub & 2)
		n = LLVMBuildAnd(e->b, n, jit_const(e, 32, 31), "");
	else
		n = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntUGT, n, most, ""), most, n,
				    "");
	n = jit_resize(e, n, 64, false);
	if (i->sub & 1)
		return LLVMBuildLShr(e->b, LLVMBuildShl(e->b, v, n, ""), jit_const(e, 64, 32), "");
	return LLVMBuildLShr(e->b, v, n, "");
}

static bool known(const struct jit_emit *e, int32_t o, uint32_t *v)
{
	if (o >= 0 || o == PTX_NONE)
		return false;
	*v = (uint32_t)e->flow.function->module->constants[~o];
	return true;
}

static LLVMValueRef ones(const struct jit_emit *e, unsigned n)
{
	return jit_const(e, 64, n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1);
}

/* With place and length known, as nearly all have. */
static LLVMValueRef bfe(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef v, r, sign;
	uint32_t pos, len, top, from;

	if (!known(e, i->o[2], &pos) || !known(e, i->o[3], &len))
		return NULL;
	pos &= 0xff;
	len &= 0xff;
	v = jit_resize(e, jit_value(e, i->o[1], bits), 64, false);
	r = pos < 64 ? LLVMBuildLShr(e->b, v, jit_const(e, 64, pos), "") : jit_const(e, 64, 0);
	r = LLVMBuildAnd(e->b, r, ones(e, len), "");
	if (!type_signed(i->type) || len == 0)
		return r;
	top = pos + len - 1 < bits - 1 ? pos + len - 1 : bits - 1;
	sign = LLVMBuildTrunc(e->b, LLVMBuildLShr(e->b, v, jit_const(e, 64, top), ""), jit_int(e, 1), "");
	from = pos + len > bits ? (bits > pos ? bits - pos : 0) : len;
	if (from >= 64)
		return r;
	return LLVMBuildSelect(
		e->b, sign, LLVMBuildOr(e->b, r, jit_const(e, 64, UINT64_MAX << from), ""), r, "");
}

static LLVMValueRef bfi(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef a, b;
	uint32_t pos, len;
	uint64_t field;

	if (!known(e, i->o[3], &pos) || !known(e, i->o[4], &len))
		return NULL;
	pos &= 0xff;
	len &= 0xff;
	b = jit_value(e, i->o[2], bits);
	if (pos >= bits)
		return b;
	field = (len >= 64 ? UINT64_MAX : (UINT64_C(1) << len) - 1) << pos;
	if (bits == 32)
		field &= UINT32_MAX;
	a = LLVMBuildShl(e->b, jit_value(e, i->o[1], bits), jit_const(e, bits, pos), "");
	a = LLVMBuildAnd(e->b, a, jit_const(e, bits, field), "");
	b = LLVMBuildAnd(e->b, b, LLVMBuildNot(e->b, jit_const(e, bits, field), ""), "");
	return LLVMBuildOr(e->b, a, b, "");
}

static LLVMValueRef permute(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef v, r = jit_const(e, 32, 0);
	uint32_t pick;

	if (!known(e, i->o[3], &pick) || i->sub)
		return NULL;
	v = LLVMBuildOr(e->b,
			LLVMBuildShl(e->b, jit_value(e, i->o[2], 64), jit_const(e, 64, 32), ""),
			LLVMBuildAnd(e->b, jit_value(e, i->o[1], 64), ones(e, 32), ""), "");
	for (unsigned k = 0; k < 4; k++) {
		unsigned n = pick >> 4 * k & 15;
		LLVMValueRef byte = LLVMBuildLShr(e->b, v, jit_const(e, 64, 8 * (n & 7)), "");

		byte = jit_resize(e, byte, 8, false);
		if (n & 8)
			byte = LLVMBuildAShr(e->b, byte, jit_const(e, 8, 7), "");
		byte = LLVMBuildShl(e->b, jit_resize(e, byte, 32, false), jit_const(e, 32, 8 * k),
				    "");
		r = LLVMBuildOr(e->b, r, byte, "");
	}
	return r;
}

/* ------------------------------------------------------------------------------ moves */

static bool pack(struct jit_emit *e, const struct insn *i)
{
	unsigned bits = (unsigned)i->imm;
	LLVMValueRef v, part;

	if (!i->sub) {
		v = jit_value(e, i->o[1], 64);
		for (unsigned k = 0; k < i->nx; k++) {
			part = LLVMBuildLShr(e->b, v, jit_const(e, 64, bits * k), "");
			part = LLVMBuildAnd(e->b, part, ones(e, bits), "");
			if (i->x[k] != PTX_NONE)
				jit_set(e, i->x[k], part);
		}
		return true;
	}
	v = jit_const(e, 64, 0);
	for (unsigned k = 0; k < i->nx; k++) {
		part = LLVMBuildAnd(e->b, jit_value(e, i->x[k], 64), ones(e, bits), "");
		part = LLVMBuildShl(e->b, part, jit_const(e, 64, bits * k), "");
		v = LLVMBuildOr(e->b, v, part, "");
	}
	jit_set(e, i->o[0], v);
	return true;
}

static void predicates(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef a = jit_pred(e, i->o[1], i->neg & 1);
	LLVMValueRef b = i->o[2] == PTX_NONE ? NULL : jit_pred(e, i->o[2], i->neg & 2);

	switch (i->sub) {
	case OP_AND:
		a = LLVMBuildAnd(e->b, a, b, "");
		break;
	case OP_OR:
		a = LLVMBuildOr(e->b, a, b, "");
		break;
	case OP_XOR:
		a = LLVMBuildXor(e->b, a, b, "");
		break;
	case OP_NOT:
		a = LLVMBuildNot(e->b, a, "");
		break;
	default:
		break;
	}
	jit_set(e, i->o[0], a);
}

static bool special(struct jit_emit *e, const struct insn *i)
{
	static const struct {
		const char *name;
		unsigned at;
	} triples[] = {{"%ntid.x", offsetof(struct jit_env, block)},
		       {"%ctaid.x", offsetof(struct jit_env, ctaid)},
		       {"%nctaid.x", offsetof(struct jit_env, grid)}};
	unsigned tid = (unsigned)sreg_find("%tid.x", 6);

	if (i->sub - tid < 3) {
		LLVMValueRef n = jit_num(e, 64,
					 offsetof(struct warp, tid) +
						 (i->sub - tid) * sizeof(uint32_t) * PTX_LANES);
		LLVMValueRef at = LLVMBuildGEP2(e->b, e->i8, e->warp, &n, 1, ""), v;

		LLVMValueRef last = jit_num(e, 64, PTX_LANES - 1);

		if (!e->wide || e->end == 2)
			at = LLVMBuildGEP2(e->b, e->i32, at, e->end == 2 ? &last : &e->lane64, 1, "");
		v = LLVMBuildLoad2(e->b, jit_int(e, 32), at, "");
		LLVMSetAlignment(v, 4);
		jit_set(e, i->o[0], v);
		return true;
	}
	for (unsigned k = 0; k < 3; k++) {
		unsigned first = (unsigned)sreg_find(triples[k].name, k == 2 ? 9 : k == 1 ? 8 : 7);

		if (i->sub - first < 3) {
			jit_set(e, i->o[0],
				jit_load_env(e, triples[k].at + 4 * (i->sub - first), e->i32));
			return true;
		}
	}
	if (i->sub == (unsigned)sreg_find("%laneid", 7)) {
		LLVMValueRef lanes[PTX_LANES];

		for (unsigned l = 0; l < PTX_LANES; l++)
			lanes[l] = jit_num(e, 32, l);
		jit_set(e, i->o[0], e->wide ? LLVMConstVector(lanes, PTX_LANES) : e->lane);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------ */

static LLVMValueRef computed(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef a, b;

	switch (i->op) {
	case OP_MUL_WIDE:
		return bits == 64 ? NULL : product(e, i, bits);
	case OP_MUL_HI:
		return upper(e, product(e, i, bits), bits);
	case OP_MAD_HI:
		return LLVMBuildAdd(e->b, upper(e, product(e, i, bits), bits),
				    jit_value(e, i->o[3], bits), "");
	case OP_MAD_WIDE:
		return bits == 64 ? NULL
				  : LLVMBuildAdd(e->b, product(e, i, bits),
						 jit_value(e, i->o[3], 2 * bits), "");
	case OP_MAD_LO:
		return LLVMBuildAdd(e->b,
				    LLVMBuildMul(e->b, jit_value(e, i->o[1], bits),
						 jit_value(e, i->o[2], bits), ""),
				    jit_value(e, i->o[3], bits), "");
	case OP_DIV:
	case OP_REM:
		return divide(e, i, bits);
	case OP_SHL:
	case OP_SHR:
		return shift(e, i, bits);
	case OP_MIN:
	case OP_MAX:
		return min_max(e, i, bits);
	case OP_CLZ:
	case OP_POPC:
	case OP_BREV:
		return bits < 32 ? NULL : count(e, i, bits);
	case OP_LOP3:
		return i->boolop ? NULL : lop3(e, i);
	case OP_SHF:
		return funnel(e, i);
	case OP_BFE:
		return bfe(e, i, bits);
	case OP_BFI:
		return bfi(e, i, bits);
	case OP_PRMT:
		return permute(e, i);
	default:
		break;
	}
	a = jit_value(e, i->o[1], bits);
	switch (i->op) {
	case OP_MOV:
		return a;
	case OP_NEG:
		return LLVMBuildNeg(e->b, a, "");
	case OP_ABS:
		b = LLVMBuildICmp(e->b, LLVMIntSLT, a, jit_const(e, bits, 0), "");
		return LLVMBuildSelect(e->b, b, LLVMBuildNeg(e->b, a, ""), a, "");
	case OP_NOT:
		return LLVMBuildNot(e->b, a, "");
	case OP_CNOT:
		return LLVMBuildZExt(e->b, is(e, a, bits, 0), jit_int(e, bits), "");
	default:
		break;
	}
	b = jit_value(e, i->o[2], bits);
	switch (i->op) {
	case OP_ADD:
		return LLVMBuildAdd(e->b, a, b, "");
	case OP_SUB:
		return LLVMBuildSub(e->b, a, b, "");
	case OP_MUL_LO:
		return LLVMBuildMul(e->b, a, b, "");
	case OP_AND:
		return LLVMBuildAnd(e->b, a, b, "");
	case OP_OR:
		return LLVMBuildOr(e->b, a, b, "");
	case OP_XOR:
		return LLVMBuildXor(e->b, a, b, "");
	default:
		return NULL;
	}
}

/* Ends with the compiler's own form of them, and not with the handler for a carry or a variant. */
static bool plain(const struct insn *i)
{
	switch (i->op) {
	case OP_ADD:
	case OP_SUB:
	case OP_MUL_LO:
	case OP_MUL_HI:
	case OP_MAD_LO:
	case OP_MAD_HI:
	case OP_MUL_WIDE:
	case OP_MAD_WIDE:
	case OP_DIV:
	case OP_REM:
	case OP_MIN:
	case OP_MAX:
	case OP_NEG:
	case OP_ABS:
	case OP_NOT:
	case OP_CNOT:
		return i->sub == 0;
	case OP_MOV:
	case OP_AND:
	case OP_OR:
	case OP_XOR:
	case OP_SHL:
	case OP_SHR:
	case OP_CLZ:
	case OP_POPC:
	case OP_BREV:
	case OP_LOP3:
	case OP_SHF:
	case OP_BFE:
	case OP_BFI:
	case OP_PRMT:
		return true;
	default:
		return false;
	}
}

static bool copysign_emit(struct jit_emit *e, const struct insn *i, unsigned bits)
{
	LLVMValueRef sign = jit_const(e, bits, UINT64_C(1) << (bits - 1));

	jit_set(e, i->o[0],
		LLVMBuildOr(e->b, LLVMBuildAnd(e->b, jit_value(e, i->o[1], bits), sign, ""),
			    LLVMBuildAnd(e->b, jit_value(e, i->o[2], bits),
					 LLVMBuildNot(e->b, sign, ""), ""),
			    ""));
	return true;
}

bool jit_emit_int(struct jit_emit *e, const struct insn *i)
{
	unsigned bits = type_bytes(i->type) * 8;
	LLVMValueRef v;

	switch (i->op) {
	case OP_PRED:
		predicates(e, i);
		return true;
	case OP_PACK:
		return pack(e, i);
	case OP_SREG:
		return special(e, i);
	case OP_SELP:
		bits = jit_reg_bits(e, i->o[0]);
		jit_set(e, i->o[0],
			LLVMBuildSelect(e->b, jit_pred(e, i->o[3], i->neg & 1),
					jit_value(e, i->o[1], bits), jit_value(e, i->o[2], bits),
					""));
		return true;
	case OP_COPYSIGN:
		return copysign_emit(e, i, bits);
	default:
		break;
	}
	if (!plain(i) || bits < 16 || bits > 64 || (i->op != OP_MOV && i->type >= T_F16))
		return false;
	v = computed(e, i, bits);
	if (!v)
		return false;
	jit_set(e, i->o[0], v);
	return true;
}
