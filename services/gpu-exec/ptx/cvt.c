/* SPDX-License-Identifier: Apache-2.0 */
/* Moves and conversions: PTX ISA 9.7.9. */
#include <fenv.h>
#include <math.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

/* ------------------------------------------------------------------------------ moves */

static int mov_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]);

	if (mask == UINT32_MAX && d != a)
		memcpy(d, a, PTX_LANES * sizeof(*d));
	else
		FOR_LANES(mask, l)
	d[l] = a[l];
	return 0;
}

RUN1(mov16, A16(a[l]))
RUN1(mov32, A32(a[l]))

static int pack_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	unsigned bits = (unsigned)i->imm;

	FOR_LANES(mask, l)
	{
		uint64_t v = 0;

		for (unsigned k = 0; k < i->nx; k++)
			v |= (op_col(w, i->x[k])[l] & ((UINT64_C(1) << bits) - 1)) << bits * k;
		d[l] = v;
	}
	return 0;
}

static int unpack_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]);
	unsigned bits = (unsigned)i->imm;

	FOR_LANES(mask, l)
	{
		uint64_t v = a[l];

		for (unsigned k = 0; k < i->nx; k++)
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] =
					v >> bits * k & ((UINT64_C(1) << bits) - 1);
	}
	return 0;
}

/* Between a register of 128 bits, two columns, and two of 64. */
static void lower_mov128(struct parser *p, struct stmt *s)
{
	struct operand *d = opd(p, s, 0), *a = opd(p, s, 1);
	int32_t to[2], from[2];

	for (unsigned k = 0; k < 2; k++) {
		if (a->kind == OPD_VEC && a->count == 2)
			from[k] = opd_value(p, &a->list[k], T_B64);
		else
			from[k] = opd_value(p, a, T_B128) + (int32_t)k;
		if (d->kind == OPD_VEC && d->count == 2)
			to[k] = opd_dst(p, &d->list[k], T_B64);
		else
			to[k] = opd_dst(p, d, T_B128) + (int32_t)k;
	}
	for (unsigned k = 0; k < 2; k++) {
		struct insn *i = emit(p, K_PLAIN, OP_OTHER, mov_run);

		i->o[0] = to[k];
		i->o[1] = from[k];
		i->type = T_B64;
	}
}

static void lower_pack(struct parser *p, struct stmt *s, unsigned type)
{
	struct operand *d = opd(p, s, 0), *a = opd(p, s, 1);
	bool pack = a->kind == OPD_VEC;
	struct operand *list = pack ? a : d;
	unsigned part = type_bytes(type) / (list->count ? list->count : 1);
	unsigned element = part == 1 ? T_B8 : part == 2 ? T_B16 : part == 4 ? T_B32 : T_NONE;
	int32_t x[4], whole;
	struct insn *i;

	if (element == T_NONE || list->count > 4 || list->count < 2 ||
	    (pack && d->kind == OPD_VEC))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The parts do not make the whole");
	for (unsigned k = 0; k < list->count; k++)
		x[k] = pack				     ? opd_value(p, &list->list[k], element)
		       : list->list[k].kind == OPD_SINK ? PTX_NONE
							: opd_dst(p, &list->list[k], element);
	whole = pack ? opd_dst(p, d, type) : opd_value(p, a, type);
	i = emit(p, K_PLAIN, OP_PACK, pack ? pack_run : unpack_run);
	i->x = copy_list(p, x, list->count);
	i->nx = (uint8_t)list->count;
	i->imm = part * 8;
	i->o[pack ? 0 : 1] = whole;
	i->type = (uint8_t)type;
	i->sub = pack;
}

static void lower_mov(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);
	struct operand *d = opd(p, s, 0), *a = opd(p, s, 1);
	struct insn *i;
	int32_t dst, from;

	want_operands(p, s, 2, 2);
	if (type == T_PRED) {
		lower_pred_logic(p, s, OP_MOV, 1);
		return;
	}
	if (type == T_B128) {
		lower_mov128(p, s);
		return;
	}
	if (a->kind == OPD_VEC || d->kind == OPD_VEC) {
		lower_pack(p, s, type);
		return;
	}
	if (a->kind == OPD_SREG) {
		dst = opd_dst(p, d, T_B16);
		i = emit(p, K_PLAIN, OP_SREG, run_sreg);
		i->o[0] = dst;
		i->sub = a->sreg;
		return;
	}
	from = opd_value(p, a, type);
	dst = opd_dst(p, d, type);
	i = emit(p, K_PLAIN, OP_MOV,
		 type_bytes(type) == 2	 ? mov16
		 : type_bytes(type) == 4 ? mov32
					 : mov_run);
	i->type = (uint8_t)type;
	i->o[0] = dst;
	i->o[1] = from;
}

/* ------------------------------------------------------------------------------ conversions */

static uint64_t zero_extend(uint64_t v, unsigned bytes)
{
	return bytes >= 8 ? v : v & ((UINT64_C(1) << 8 * bytes) - 1);
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
	return bytes >= 8 ? (int64_t)v : (int64_t)(v << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

/* What an integer result looks like in its register, which may be wider. */
static uint64_t widen(const struct insn *i, uint64_t v)
{
	unsigned bytes = type_bytes(i->type);

	if (type_signed(i->type))
		return zero_extend((uint64_t)sign_extend(v, bytes), i->regbits / 8u);
	return zero_extend(v, bytes);
}

static uint64_t int_to_int(const struct insn *i, uint64_t a)
{
	unsigned from = type_bytes(i->type2), to = type_bytes(i->type) * 8;
	bool ssrc = type_signed(i->type2), sdst = type_signed(i->type);
	__int128 v = ssrc ? sign_extend(a, from) : (__int128)zero_extend(a, from);

	if (i->sat) {
		__int128 least = sdst ? -((__int128)1 << (to - 1)) : 0;
		__int128 most = ((__int128)1 << (sdst ? to - 1 : to)) - 1;

		v = v < least ? least : v > most ? most : v;
	}
	return widen(i, (uint64_t)v);
}

static double round_integral(double v, unsigned rnd)
{
	switch (rnd) {
	case RND_RNI:
	case RND_RN:
		return rint(v);
	case RND_RMI:
	case RND_RM:
		return floor(v);
	case RND_RPI:
	case RND_RP:
		return ceil(v);
	default:
		return trunc(v);
	}
}

static double source_float(const struct insn *i, uint64_t a)
{
	double v;

	switch (i->type2) {
	case T_F16:
		v = (double)half_to_float(A16(a));
		break;
	case T_BF16:
		v = (double)bf16_to_float(A16(a));
		break;
	case T_F64:
		return f64_of(a);
	default:
		v = (double)f32_of(a);
	}
	if (i->ftz && i->type2 == T_F32 && fabs(v) < 0x1p-126)
		v = copysign(0, v);
	return v;
}

static uint64_t float_to_int(const struct insn *i, uint64_t a)
{
	double v = round_integral(source_float(i, a), i->rnd);
	unsigned bits = type_bytes(i->type) * 8;

	if (v != v)
		return 0;
	if (type_signed(i->type)) {
		double end = ldexp(1.0, (int)bits - 1);
		int64_t most = (int64_t)((UINT64_C(1) << (bits - 1)) - 1);

		return widen(i, (uint64_t)(v >= end ? most : v < -end ? -most - 1 : (int64_t)v));
	}
	if (v <= 0)
		return 0;
	if (v >= ldexp(1.0, (int)bits))
		return zero_extend(UINT64_MAX, bits / 8);
	return (uint64_t)v;
}

static uint64_t to_float(const struct insn *i, double v)
{
	volatile float f;

	if (i->sat)
		v = !(v > 0) ? 0 : v > 1 ? 1 : v;
	if (i->cmp == 1 && v < 0) /* .relu */
		v = 0;
	switch (i->type) {
	case T_F64:
		return f64_bits(v);
	case T_F16: {
		uint16_t h = half_from_double(v, i->rnd);

		return i->boolop && (h & 0x7fff) == 0x7c00 ? h - 1u : h; /* .satfinite */
	}
	case T_BF16: {
		uint16_t h = bf16_from_double(v, i->rnd);

		return i->boolop && (h & 0x7fff) == 0x7f80 ? h - 1u : h;
	}
	case T_TF32: {
		uint32_t t = tf32_from_float((float)v, i->rnd);

		return i->boolop && (t & 0x7fffffff) == 0x7f800000 ? t - 0x2000 : t;
	}
	default:
		f = (float)v; /* in the mode that was set */
		if (i->ftz && fabsf(f) < 0x1p-126f)
			f = copysignf(0, f);
		return f32_bits(f);
	}
}

static uint64_t int_to_float(const struct insn *i, uint64_t a)
{
	unsigned from = type_bytes(i->type2);
	bool is_signed = type_signed(i->type2);
	int64_t sv = sign_extend(a, from);
	uint64_t uv = zero_extend(a, from);

	if (i->type == T_F32) {
		volatile float f;

		if (is_signed)
			f = (float)sv;
		else
			f = (float)uv;
		if (i->sat)
			f = !(f > 0) ? 0 : f > 1 ? 1 : f;
		return f32_bits(f);
	} else {
		/* To a double in the mode that was set, odd where the target is narrower. */
		volatile double d;

		if (is_signed)
			d = (double)sv;
		else
			d = (double)uv;
		if (i->type != T_F64 && from == 8) {
			double high = is_signed ? (double)(sv >> 32) : (double)(uv >> 32);

			d = add_odd(high * 0x1p32, (double)(uint32_t)uv);
		}
		return to_float(i, d);
	}
}

static uint64_t float_to_float(const struct insn *i, uint64_t a)
{
	double v;

	if (i->type == i->type2 && i->rnd < RND_RNI && !i->sat && !i->ftz)
		return zero_extend(a, type_bytes(i->type));
	v = source_float(i, a);
	if (i->rnd >= RND_RNI && i->rnd <= RND_RPI)
		v = round_integral(v, i->rnd);
	return to_float(i, v);
}

static int mode_of(unsigned rnd)
{
	return rnd == RND_RZ ? FE_TOWARDZERO : rnd == RND_RM ? FE_DOWNWARD
					   : rnd == RND_RP ? FE_UPWARD
							   : FE_TONEAREST;
}

static int cvt_any(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]);
	bool to_f = type_float(i->type), from_f = type_float(i->type2);
	int mode = to_f ? mode_of(i->rnd) : FE_TONEAREST;

	if (mode != FE_TONEAREST)
		fesetround(mode);
	FOR_LANES(mask, l)
	d[l] = from_f ? (to_f ? float_to_float(i, a[l]) : float_to_int(i, a[l]))
		      : (to_f ? int_to_float(i, a[l]) : int_to_int(i, a[l]));
	if (mode != FE_TONEAREST)
		fesetround(FE_TONEAREST);
	return 0;
}

RUN1(cvt_s64_s32, (int64_t)S32(a[l]))
RUN1(cvt_f32_s32, f32_bits((float)S32(a[l])))
RUN1(cvt_f32_u32, f32_bits((float)A32(a[l])))
RUN1(cvt_f64_s32, f64_bits((double)S32(a[l])))
RUN1(cvt_f64_f32, f64_bits((double)f32_of(a[l])))
RUN1(cvt_f32_f16, f32_bits(half_to_float(A16(a[l]))))

static run_fn *cvt_fast(const struct insn *i)
{
	unsigned d = i->type, a = i->type2;
	bool plain = !i->sat && !i->ftz && (i->rnd == RND_NONE || i->rnd == RND_RN);

	if (!plain)
		return cvt_any;
	if (d == T_S64 && a == T_S32)
		return cvt_s64_s32;
	if ((d == T_U64 || d == T_S64 || d == T_U32 || d == T_S32) && (a == T_U32 || a == T_B32))
		return mov32;
	if ((d == T_U32 || d == T_S32) && i->regbits == 32 &&
	    (a == T_U64 || a == T_S64 || a == T_S32 || a == T_B64))
		return mov32;
	if (d == T_F32 && a == T_S32)
		return cvt_f32_s32;
	if (d == T_F32 && a == T_U32)
		return cvt_f32_u32;
	if (d == T_F64 && a == T_S32)
		return cvt_f64_s32;
	if (d == T_F64 && a == T_F32)
		return cvt_f64_f32;
	if (d == T_F32 && a == T_F16)
		return cvt_f32_f16;
	return cvt_any;
}

/* Two values into one register: d = {a, b}, a in the upper half. */
static int cvt_pair(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);
	struct insn one = *i;

	one.type = i->type == T_F16X2 ? T_F16 : T_BF16;
	FOR_LANES(mask, l)
	d[l] = to_float(&one, source_float(&one, a[l])) << 16 |
	       to_float(&one, source_float(&one, b[l]));
	return 0;
}

static bool is_fp8x2(unsigned t)
{
	return t == T_E4M3X2 || t == T_E5M2X2;
}

static int cvt_fp8(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = i->o[2] == PTX_NONE ? a : op_col(w, i->o[2]);

	FOR_LANES(mask, l)
	{
		if (is_fp8x2(i->type)) {
			bool e5 = i->type == T_E5M2X2;
			double hi = i->type2 == T_F32 ? (double)f32_of(a[l])
						      : (double)half_to_float(A16(a[l] >> 16));
			double lo = i->type2 == T_F32 ? (double)f32_of(b[l])
						      : (double)half_to_float(A16(a[l]));

			if (i->cmp == 1) {
				hi = hi < 0 ? 0 : hi;
				lo = lo < 0 ? 0 : lo;
			}
			d[l] = (uint64_t)fp8_from_double(hi, e5) << 8 | fp8_from_double(lo, e5);
		} else {
			bool e5 = i->type2 == T_E5M2X2;
			double hi = (double)fp8_to_float(A8(a[l] >> 8), e5);
			double lo = (double)fp8_to_float(A8(a[l]), e5);

			if (i->cmp == 1) {
				hi = hi < 0 ? 0 : hi;
				lo = lo < 0 ? 0 : lo;
			}
			d[l] = (uint64_t)half_from_double(hi, RND_RN) << 16 |
			       half_from_double(lo, RND_RN);
		}
	}
	return 0;
}

static uint32_t saturate(int64_t v, unsigned type)
{
	unsigned bits = type == T_U16 || type == T_S16	 ? 16
			: type == T_U8 || type == T_S8	 ? 8
			: type == T_U4 || type == T_S4	 ? 4
							 : 32;
	bool sign = type_signed(type) || type == T_S4;
	int64_t most = (INT64_C(1) << (sign ? bits - 1 : bits)) - 1, least = sign ? -most - 1 : 0;

	v = v < least ? least : v > most ? most : v;
	return (uint32_t)((uint64_t)v & ((UINT64_C(1) << bits) - 1));
}

static int cvt_pack_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);
	const uint64_t *c = i->o[3] == PTX_NONE ? NULL : op_col(w, i->o[3]);
	unsigned bits = (unsigned)i->imm;

	FOR_LANES(mask, l)
	{
		uint64_t v = (uint64_t)saturate(S32(a[l]), i->type) << bits |
			     saturate(S32(b[l]), i->type);

		d[l] = A32(c ? (c[l] << 2 * bits) | v : v);
	}
	return 0;
}

static void lower_cvt_pack(struct parser *p, struct stmt *s)
{
	unsigned type, src;
	int32_t o[4] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE};
	struct insn *i;

	if (!has(s, "sat"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".sat is missing");
	type = need_type(p, s);
	src = need_type(p, s);
	take_type(s);
	want_operands(p, s, 3, 4);
	if (src != T_S32)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	for (unsigned k = 1; k < s->operands; k++)
		o[k] = opd_value(p, &s->operand[k], T_B32);
	o[0] = opd_dst(p, &s->operand[0], T_B32);
	i = emit(p, K_PLAIN, OP_OTHER, cvt_pack_run);
	memcpy(i->o, o, sizeof(o));
	i->type = (uint8_t)type;
	i->imm = type == T_U16 || type == T_S16 ? 16 : type == T_U8 || type == T_S8 ? 8 : 4;
}

static void lower_cvt(struct parser *p, struct stmt *s)
{
	unsigned rnd, type, src, operands;
	bool ftz, sat, relu, finite, pair;
	int32_t a, b = PTX_NONE, d;
	struct insn *i;

	if (has(s, "pack")) {
		lower_cvt_pack(p, s);
		return;
	}
	rnd = take_round(s);
	ftz = has(s, "ftz");
	sat = has(s, "sat");
	relu = has(s, "relu");
	finite = has(s, "satfinite");
	type = need_type(p, s);
	src = need_type(p, s);
	pair = (type == T_F16X2 || type == T_BF16X2 || is_fp8x2(type)) && src == T_F32;
	operands = pair ? 3 : 2;
	want_operands(p, s, operands, operands);
	if (type == T_PRED || src == T_PRED || type == T_E4M3 || type == T_E5M2 ||
	    (src > T_F64 && !is_fp8x2(src)) || (is_fp8x2(src) && type != T_F16X2) ||
	    ((src == T_F16X2 || src == T_BF16X2) && !(src == T_F16X2 && is_fp8x2(type))) ||
	    (type > T_F64 && !is_fp8x2(type)) || src == T_TF32 ||
	    ((type == T_F16X2 || type == T_BF16X2) && !pair && !is_fp8x2(src)))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "This conversion is not supported");
	a = opd_value(p, &s->operand[1], is_fp8x2(src) ? T_B16 : src);
	if (pair)
		b = opd_value(p, &s->operand[2], src);
	d = opd_dst(p, &s->operand[0], is_fp8x2(type) ? T_B16 : type_bytes(type) == 1 ? T_B8 : type);
	i = emit(p, K_PLAIN, OP_CVT, NULL);
	i->o[0] = d;
	i->o[1] = a;
	i->o[2] = b;
	i->type = (uint8_t)type;
	i->type2 = (uint8_t)src;
	i->rnd = (uint8_t)rnd;
	i->ftz = ftz;
	i->sat = sat;
	i->cmp = relu;
	i->boolop = finite;
	i->regbits = (uint8_t)(type_bytes(reg_type(p, d)) * 8);
	if (is_fp8x2(type) || is_fp8x2(src))
		i->run = cvt_fp8;
	else
		i->run = pair ? cvt_pair : cvt_fast(i);
	if (i->run == cvt_fp8 || i->run == cvt_pair)
		i->op = OP_OTHER;
}

const struct lowering lower_moves[] = {
	{"mov", lower_mov},
	{"cvt", lower_cvt},
	{NULL, NULL},
};
