/* SPDX-License-Identifier: Apache-2.0 */
/* Integer and logical instructions: PTX ISA 9.7.1, 9.7.2, 9.7.8 (logic and shift), 9.7.6 (compare). */
#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

RUN2(add16, A16(a[l] + b[l]))
RUN2(add32, A32(a[l] + b[l]))
RUN2(add64, a[l] + b[l])
RUN2(sub16, A16(a[l] - b[l]))
RUN2(sub32, A32(a[l] - b[l]))
RUN2(sub64, a[l] - b[l])
RUN2(and64, a[l] & b[l])
RUN2(or64, a[l] | b[l])
RUN2(xor64, a[l] ^ b[l])
RUN1(not16, A16(~a[l]))
RUN1(not32, A32(~a[l]))
RUN1(not64, ~a[l])
RUN1(cnot16, A16(a[l]) == 0)
RUN1(cnot32, A32(a[l]) == 0)
RUN1(cnot64, a[l] == 0)
RUN1(neg16, A16(0 - a[l]))
RUN1(neg32, A32(0 - a[l]))
RUN1(neg64, 0 - a[l])
RUN1(abs16, A16(S16(a[l]) < 0 ? 0 - a[l] : a[l]))
RUN1(abs32, A32(S32(a[l]) < 0 ? 0 - a[l] : a[l]))
RUN1(abs64, S64(a[l]) < 0 ? 0 - a[l] : a[l])

static int64_t clamp32(int64_t v)
{
	return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
}

RUN2(add32_sat, A32(clamp32((int64_t)S32(a[l]) + S32(b[l]))))
RUN2(sub32_sat, A32(clamp32((int64_t)S32(a[l]) - S32(b[l]))))

RUN2(mul16, A16(A32(a[l]) * A32(b[l])))
RUN2(mul32, A32(a[l] * b[l]))
RUN2(mul64, a[l] * b[l])
RUN2(mulhi_u16, A32(A16(a[l])) * A16(b[l]) >> 16)
RUN2(mulhi_s16, A16((S16(a[l]) * S16(b[l])) >> 16))
RUN2(mulhi_u32, A64(A32(a[l])) * A32(b[l]) >> 32)
RUN2(mulhi_s32, A32(((int64_t)S32(a[l]) * S32(b[l])) >> 32))
RUN2(mulhi_u64, A64(((unsigned __int128)a[l] * b[l]) >> 64))
RUN2(mulhi_s64, A64(((__int128)S64(a[l]) * S64(b[l])) >> 64))
RUN2(mulwide_u16, A32(A16(a[l])) * A16(b[l]))
RUN2(mulwide_s16, A32(S16(a[l]) * S16(b[l])))
RUN2(mulwide_u32, A64(A32(a[l])) * A32(b[l]))
RUN2(mulwide_s32, A64((int64_t)S32(a[l]) * S32(b[l])))

RUN3(mad16, A16(A32(a[l]) * A32(b[l]) + A32(c[l])))
RUN3(mad32, A32(a[l] * b[l] + c[l]))
RUN3(mad64, a[l] * b[l] + c[l])
RUN3(madhi_u16, A16((A32(A16(a[l])) * A16(b[l]) >> 16) + c[l]))
RUN3(madhi_s16, A16(((uint64_t)(S16(a[l]) * S16(b[l])) >> 16) + c[l]))
RUN3(madhi_u32, A32((A64(A32(a[l])) * A32(b[l]) >> 32) + c[l]))
RUN3(madhi_s32, A32((A64((int64_t)S32(a[l]) * S32(b[l])) >> 32) + c[l]))
RUN3(madhi_s32_sat, A32(clamp32((((int64_t)S32(a[l]) * S32(b[l])) >> 32) + S32(c[l]))))
RUN3(madhi_u64, A64(((unsigned __int128)a[l] * b[l]) >> 64) + c[l])
RUN3(madhi_s64, A64(((__int128)S64(a[l]) * S64(b[l])) >> 64) + c[l])
RUN3(madwide_u16, A32(A32(A16(a[l])) * A16(b[l]) + c[l]))
RUN3(madwide_s16, A32(A32(S16(a[l]) * S16(b[l])) + c[l]))
RUN3(madwide_u32, A64(A32(a[l])) * A32(b[l]) + c[l])
RUN3(madwide_s32, A64((int64_t)S32(a[l]) * S32(b[l])) + c[l])

static int64_t s24(uint64_t v)
{
	return (int32_t)((uint32_t)v << 8) >> 8;
}

RUN2(mul24lo_u, A32((a[l] & 0xffffff) * (b[l] & 0xffffff)))
RUN2(mul24lo_s, A32(s24(a[l]) * s24(b[l])))
RUN2(mul24hi_u, A32((a[l] & 0xffffff) * (b[l] & 0xffffff) >> 16))
RUN2(mul24hi_s, A32((s24(a[l]) * s24(b[l])) >> 16))
RUN3(mad24lo_u, A32((a[l] & 0xffffff) * (b[l] & 0xffffff) + c[l]))
RUN3(mad24lo_s, A32((uint64_t)(s24(a[l]) * s24(b[l])) + c[l]))

/* Division by zero gives all ones, as GPUs do; the remainder is then the dividend. */
RUN2(div_u16, A16(b[l]) ? A16(a[l]) / A16(b[l]) : 0xffff)
RUN2(div_u32, A32(b[l]) ? A32(a[l]) / A32(b[l]) : UINT32_MAX)
RUN2(div_u64, b[l] ? a[l] / b[l] : UINT64_MAX)
RUN2(rem_u16, A16(b[l]) ? A16(a[l]) % A16(b[l]) : A16(a[l]))
RUN2(rem_u32, A32(b[l]) ? A32(a[l]) % A32(b[l]) : A32(a[l]))
RUN2(rem_u64, b[l] ? a[l] % b[l] : a[l])

static int64_t div_s(int64_t a, int64_t b)
{
	return b == 0 ? -1 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static int64_t rem_s(int64_t a, int64_t b)
{
	return b == 0 ? a : b == -1 ? 0 : a % b;
}

RUN2(div_s16, A16(div_s(S16(a[l]), S16(b[l]))))
RUN2(div_s32, A32(div_s(S32(a[l]), S32(b[l]))))
RUN2(div_s64, A64(div_s(S64(a[l]), S64(b[l]))))
RUN2(rem_s16, A16(rem_s(S16(a[l]), S16(b[l]))))
RUN2(rem_s32, A32(rem_s(S32(a[l]), S32(b[l]))))
RUN2(rem_s64, A64(rem_s(S64(a[l]), S64(b[l]))))

#define MINMAX(bits, U, S)                                                                         \
	RUN2(min_u##bits, U(a[l]) < U(b[l]) ? U(a[l]) : U(b[l]))                                   \
	RUN2(max_u##bits, U(a[l]) > U(b[l]) ? U(a[l]) : U(b[l]))                                   \
	RUN2(min_s##bits, U(S(a[l]) < S(b[l]) ? a[l] : b[l]))                                      \
	RUN2(max_s##bits, U(S(a[l]) > S(b[l]) ? a[l] : b[l]))
MINMAX(16, A16, S16)
MINMAX(32, A32, S32)
MINMAX(64, A64, S64)

RUN2(shl16, A32(b[l]) > 15 ? 0 : A16(a[l] << A32(b[l])))
RUN2(shl32, A32(b[l]) > 31 ? 0 : A32(a[l] << A32(b[l])))
RUN2(shl64, A32(b[l]) > 63 ? 0 : a[l] << A32(b[l]))
RUN2(shr_u16, A32(b[l]) > 15 ? 0 : A16(a[l]) >> A32(b[l]))
RUN2(shr_u32, A32(b[l]) > 31 ? 0 : A32(a[l]) >> A32(b[l]))
RUN2(shr_u64, A32(b[l]) > 63 ? 0 : a[l] >> A32(b[l]))
RUN2(shr_s16, A16(S16(a[l]) >> (A32(b[l]) > 15 ? 15 : A32(b[l]))))
RUN2(shr_s32, A32(S32(a[l]) >> (A32(b[l]) > 31 ? 31 : A32(b[l]))))
RUN2(shr_s64, A64(S64(a[l]) >> (A32(b[l]) > 63 ? 63 : A32(b[l]))))

RUN3(sad_u16, A16(c[l] + (A16(a[l]) < A16(b[l]) ? b[l] - a[l] : a[l] - b[l])))
RUN3(sad_s16, A16(c[l] + (S16(a[l]) < S16(b[l]) ? b[l] - a[l] : a[l] - b[l])))
RUN3(sad_u32, A32(c[l] + (A32(a[l]) < A32(b[l]) ? b[l] - a[l] : a[l] - b[l])))
RUN3(sad_s32, A32(c[l] + (S32(a[l]) < S32(b[l]) ? b[l] - a[l] : a[l] - b[l])))
RUN3(sad_u64, c[l] + (a[l] < b[l] ? b[l] - a[l] : a[l] - b[l]))
RUN3(sad_s64, c[l] + (S64(a[l]) < S64(b[l]) ? b[l] - a[l] : a[l] - b[l]))

static uint32_t dot(uint32_t a, uint32_t b, uint32_t c, const struct insn *i)
{
	bool as = i->type == T_S32, bs = i->type2 == T_S32;

	if (i->imm == 4) {
		for (unsigned k = 0; k < 4; k++)
			c += (uint32_t)((as ? S8(a >> 8 * k) : A8(a >> 8 * k)) *
					(bs ? S8(b >> 8 * k) : A8(b >> 8 * k)));
	} else {
		for (unsigned k = 0; k < 2; k++) {
			unsigned half = i->sub * 2 + k; /* dp2a.hi takes b's upper bytes */

			c += (uint32_t)((as ? S16(a >> 16 * k) : A16(a >> 16 * k)) *
					(bs ? S8(b >> 8 * half) : A8(b >> 8 * half)));
		}
	}
	return c;
}

RUN3(dot_run, dot(A32(a[l]), A32(b[l]), A32(c[l]), i))

/* Pairs of 16 bits. */
static uint32_t pair(uint32_t a, uint32_t b, unsigned sub, bool sign)
{
	uint32_t r = 0;

	for (unsigned k = 0; k < 32; k += 16) {
		int32_t x = sign ? S16(a >> k) : A16(a >> k), y = sign ? S16(b >> k) : A16(b >> k);
		int32_t v = sub == OP_ADD ? x + y : (sub == OP_MIN) == (x < y) ? x : y;

		r |= (uint32_t)A16(v) << k;
	}
	return r;
}

RUN2(pair_run, pair(A32(a[l]), A32(b[l]), i->sub, i->type == T_S16X2))

/* .relu: nothing below 0 */
static uint32_t pair_positive(uint32_t v)
{
	return (v >> 31 ? 0 : v & 0xffff0000u) | (v >> 15 & 1 ? 0 : v & 0xffffu);
}

static uint32_t word_positive(uint32_t a, uint32_t b, unsigned sub)
{
	int32_t x = S32(a), y = S32(b), v = (sub == OP_MIN) == (x < y) ? x : y;

	return v < 0 ? 0 : (uint32_t)v;
}

RUN2(pair_relu_run, pair_positive(pair(A32(a[l]), A32(b[l]), i->sub, true)))
RUN2(word_relu_run, word_positive(A32(a[l]), A32(b[l]), i->sub))

/* Differences of four bytes, each without its sign; `add`: their sum and c. */
static uint32_t differences(uint32_t a, uint32_t b, uint32_t c, bool sign, bool sum)
{
	uint32_t r = sum ? c : 0;

	for (unsigned k = 0; k < 32; k += 8) {
		int32_t x = sign ? S8(a >> k) : (int32_t)A8(a >> k), y = sign ? S8(b >> k) : (int32_t)A8(b >> k);
		uint32_t v = (uint32_t)(x < y ? y - x : x - y);

		r = sum ? r + v : r | v << k;
	}
	return r;
}

RUN3(vabsdiff4_run, differences(A32(a[l]), A32(b[l]), A32(c[l]), i->type == T_S32, i->sub))

/* ------------------------------------------------------------------------------ with carry */

static int carry_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]), *c = op_col(w, i->o[3]);
	unsigned bits = type_bytes(i->type) * 8;
	bool use = i->sub & 1, set = i->sub & 2;
	uint32_t in = pred_bits(w, HIDDEN_CARRY, false), out = 0;

	FOR_LANES(mask, l)
	{
		unsigned __int128 x = a[l], y = b[l], r, carry = use ? in >> l & 1 : 0;

		if (bits == 32) {
			x = A32(x);
			y = A32(y);
		}
		switch (i->op) {
		case OP_ADD:
			r = x + y + carry;
			break;
		case OP_SUB: /* the carry is a borrow */
			r = x - y - carry;
			break;
		default: { /* mad: the low or high half of the product */
			bool hi = i->op == OP_MAD_HI;
			unsigned __int128 z = bits == 32 ? A32(c[l]) : c[l];

			if (type_signed(i->type) && hi)
				x = bits == 32 ? (unsigned __int128)((__int128)S32(x) * S32(y))
					       : (unsigned __int128)((__int128)S64(x) * S64(y));
			else
				x = x * y;
			x = hi ? x >> bits : x;
			x = bits == 32 ? A32(x) : A64(x);
			r = x + z + carry;
		}
		}
		out |= (uint32_t)(r >> bits & 1) << l;
		d[l] = bits == 32 ? A32(r) : A64(r);
	}
	if (set)
		pred_set(w, HIDDEN_CARRY, mask, out);
	return 0;
}

static void lower_carry(struct parser *p, struct stmt *s, unsigned op, bool use)
{
	bool set = has(s, "cc");
	bool three = op == OP_MAD_LO || op == OP_MAD_HI;
	unsigned type = need_type(p, s);
	struct insn *i;

	if (type_bytes(type) < 4 || type_float(type))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	i = lower_plain(p, s, op, carry_run, type, three ? 3 : 2);
	if (!three)
		i->o[3] = i->o[2];
	i->sub = (uint8_t)((use ? 1 : 0) | (set ? 2 : 0));
}

/* ------------------------------------------------------------------------------ lowering */

/* The handler for 16, 32 and 64 bits; unsigned first, then signed. */
struct by_type {
	run_fn *u[3], *s[3];
};

static run_fn *pick(struct parser *p, const struct by_type *t, unsigned type)
{
	unsigned bytes = type_bytes(type);
	run_fn *run = NULL;

	if (!type_float(type) && type != T_PRED && type < T_F16)
		run = (type_signed(type) ? t->s : t->u)[bytes == 2 ? 0 : bytes == 4 ? 1 : 2];
	if (!run || bytes < 2 || bytes > 8)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	return run;
}

#define SAME(f) {{f##16, f##32, f##64}, {f##16, f##32, f##64}}
#define BOTH(f) {{f##_u16, f##_u32, f##_u64}, {f##_s16, f##_s32, f##_s64}}

static bool is_integer(struct parser *p, struct stmt *s, unsigned op, unsigned *type)
{
	*type = need_type(p, s);
	if (type_float(*type) || *type == T_F16X2 || *type == T_BF16X2) {
		lower_float_op(p, s, op, *type);
		return false;
	}
	return true;
}

static void lower_addsub(struct parser *p, struct stmt *s, unsigned op)
{
	static const struct by_type add = SAME(add), sub = SAME(sub);
	unsigned type;
	bool cc = false;

	for (uint32_t k = 1; k < s->parts; k++)
		cc |= text_is(s->part[k], s->part_length[k], "cc");
	if (cc) {
		lower_carry(p, s, op, false);
		return;
	}
	if (!is_integer(p, s, op, &type))
		return;
	if (type == T_U16X2 || type == T_S16X2) {
		if (op != OP_ADD)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
		lower_plain(p, s, OP_OTHER, pair_run, type, 2)->sub = OP_ADD;
		return;
	}
	if (has(s, "sat")) {
		if (type != T_S32)
			stmt_fail(p, PTX_ERR_INVALID_PTX, ".sat is for .s32");
		lower_plain(p, s, OP_OTHER, op == OP_ADD ? add32_sat : sub32_sat, type, 2);
		return;
	}
	lower_plain(p, s, op, pick(p, op == OP_ADD ? &add : &sub, type), type, 2);
}

static void lower_add(struct parser *p, struct stmt *s)
{
	lower_addsub(p, s, OP_ADD);
}

static void lower_sub(struct parser *p, struct stmt *s)
{
	lower_addsub(p, s, OP_SUB);
}

static void lower_addc(struct parser *p, struct stmt *s)
{
	lower_carry(p, s, OP_ADD, true);
}

static void lower_subc(struct parser *p, struct stmt *s)
{
	lower_carry(p, s, OP_SUB, true);
}

static void lower_mul(struct parser *p, struct stmt *s)
{
	static const struct by_type lo = SAME(mul), hi = BOTH(mulhi),
				    wide = {{mulwide_u16, mulwide_u32, NULL},
					    {mulwide_s16, mulwide_s32, NULL}};
	bool is_lo = has(s, "lo"), is_hi = has(s, "hi"), is_wide = has(s, "wide");
	unsigned type;

	if (!is_integer(p, s, OP_MUL, &type))
		return;
	if (is_wide) {
		struct insn *i;
		int32_t a, b, d;

		want_operands(p, s, 3, 3);
		a = opd_value(p, &s->operand[1], type);
		b = opd_value(p, &s->operand[2], type);
		d = opd_dst(p, &s->operand[0], type_bytes(type) == 2 ? T_B32 : T_B64);
		i = emit(p, K_PLAIN, OP_MUL_WIDE, pick(p, &wide, type));
		i->type = (uint8_t)type;
		i->o[0] = d;
		i->o[1] = a;
		i->o[2] = b;
	} else if (is_hi) {
		lower_plain(p, s, OP_MUL_HI, pick(p, &hi, type), type, 2);
	} else if (is_lo) {
		lower_plain(p, s, OP_MUL_LO, pick(p, &lo, type), type, 2);
	} else {
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".lo, .hi or .wide is missing");
	}
}

static void lower_mad(struct parser *p, struct stmt *s)
{
	static const struct by_type lo = SAME(mad), hi = BOTH(madhi),
				    wide = {{madwide_u16, madwide_u32, NULL},
					    {madwide_s16, madwide_s32, NULL}};
	bool is_lo = has(s, "lo"), is_hi = has(s, "hi"), is_wide = has(s, "wide");
	unsigned type;

	for (uint32_t k = 1; k < s->parts; k++)
		if (text_is(s->part[k], s->part_length[k], "cc")) {
			lower_carry(p, s, is_hi ? OP_MAD_HI : OP_MAD_LO, false);
			return;
		}
	if (!is_integer(p, s, OP_FMA, &type))
		return;
	if (is_wide) {
		struct insn *i;
		unsigned big = type_bytes(type) == 2 ? T_B32 : T_B64;
		int32_t a, b, c, d;

		want_operands(p, s, 4, 4);
		a = opd_value(p, &s->operand[1], type);
		b = opd_value(p, &s->operand[2], type);
		c = opd_value(p, &s->operand[3], big);
		d = opd_dst(p, &s->operand[0], big);
		i = emit(p, K_PLAIN, OP_MAD_WIDE, pick(p, &wide, type));
		i->type = (uint8_t)type;
		i->o[0] = d;
		i->o[1] = a;
		i->o[2] = b;
		i->o[3] = c;
	} else if (is_hi) {
		if (has(s, "sat"))
			lower_plain(p, s, OP_OTHER, madhi_s32_sat, type, 3);
		else
			lower_plain(p, s, OP_MAD_HI, pick(p, &hi, type), type, 3);
	} else if (is_lo) {
		lower_plain(p, s, OP_MAD_LO, pick(p, &lo, type), type, 3);
	} else {
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".lo, .hi or .wide is missing");
	}
}

static void lower_madc(struct parser *p, struct stmt *s)
{
	bool hi = has(s, "hi");

	if (!hi && !has(s, "lo"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".lo or .hi is missing");
	lower_carry(p, s, hi ? OP_MAD_HI : OP_MAD_LO, true);
}

static void lower_mul24(struct parser *p, struct stmt *s)
{
	bool hi = has(s, "hi");
	unsigned type;

	has(s, "lo");
	type = need_type(p, s);
	lower_plain(p, s, OP_OTHER,
		    type == T_S32 ? (hi ? mul24hi_s : mul24lo_s) : (hi ? mul24hi_u : mul24lo_u), type,
		    2);
}

static void lower_mad24(struct parser *p, struct stmt *s)
{
	unsigned type;

	has(s, "lo");
	type = need_type(p, s);
	lower_plain(p, s, OP_OTHER, type == T_S32 ? mad24lo_s : mad24lo_u, type, 3);
}

#define LOWER(name, op, operands, ...)                                                             \
	static void lower_##name(struct parser *p, struct stmt *s)                                 \
	{                                                                                          \
		static const struct by_type t = __VA_ARGS__;                                       \
		unsigned type;                                                                     \
                                                                                                   \
		if (is_integer(p, s, op, &type))                                                   \
			lower_plain(p, s, op, pick(p, &t, type), type, operands);                  \
	}

LOWER(div, OP_DIV, 2, BOTH(div))
LOWER(rem, OP_REM, 2, BOTH(rem))
LOWER(neg, OP_NEG, 1, SAME(neg))
LOWER(abs, OP_ABS, 1, SAME(abs))
LOWER(sad, OP_OTHER, 3, BOTH(sad))

static void lower_minmax(struct parser *p, struct stmt *s, unsigned op)
{
	static const struct by_type min = BOTH(min), max = BOTH(max);
	unsigned type;

	if (!is_integer(p, s, op, &type))
		return;
	if ((type == T_S32 || type == T_S16X2) && has(s, "relu"))
		lower_plain(p, s, OP_OTHER, type == T_S32 ? word_relu_run : pair_relu_run, type, 2)->sub = (uint8_t)op;
	else if (type == T_U16X2 || type == T_S16X2)
		lower_plain(p, s, OP_OTHER, pair_run, type, 2)->sub = (uint8_t)op;
	else
		lower_plain(p, s, op, pick(p, op == OP_MIN ? &min : &max, type), type, 2);
}

static void lower_min(struct parser *p, struct stmt *s)
{
	lower_minmax(p, s, OP_MIN);
}

static void lower_max(struct parser *p, struct stmt *s)
{
	lower_minmax(p, s, OP_MAX);
}

/* and, or, xor, not of predicates: bits of all lanes at once. */
static int pred_logic(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint32_t a = pred_bits(w, i->o[1], i->neg & 1);
	uint32_t b = i->o[2] == PTX_NONE ? 0 : pred_bits(w, i->o[2], i->neg & 2);

	switch (i->sub) {
	case OP_AND:
		a &= b;
		break;
	case OP_OR:
		a |= b;
		break;
	case OP_XOR:
		a ^= b;
		break;
	case OP_NOT:
		a = ~a;
		break;
	default:
		break;
	}
	pred_set(w, i->o[0], mask, a);
	return 0;
}

void lower_pred_logic(struct parser *p, struct stmt *s, unsigned op, unsigned operands)
{
	struct insn *i;
	int32_t o[3] = {PTX_NONE, PTX_NONE, PTX_NONE};
	uint16_t neg = 0;

	want_operands(p, s, operands + 1, operands + 1);
	for (unsigned k = 1; k <= operands; k++) {
		bool n;

		o[k] = opd_pred(p, &s->operand[k], &n);
		neg |= (uint16_t)(n << (k - 1));
	}
	o[0] = opd_dst(p, &s->operand[0], T_PRED);
	i = emit(p, K_PLAIN, OP_PRED, pred_logic);
	memcpy(i->o, o, sizeof(o));
	i->sub = (uint8_t)op;
	i->neg = neg;
	i->type = T_PRED;
}

static void lower_logic(struct parser *p, struct stmt *s, unsigned op, unsigned operands,
			const struct by_type *t)
{
	unsigned type = need_type(p, s);

	if (type == T_PRED)
		lower_pred_logic(p, s, op, operands);
	else
		lower_plain(p, s, op, pick(p, t, type), type, operands);
}

#define LOGIC(name, op, operands, ...)                                                             \
	static void lower_##name(struct parser *p, struct stmt *s)                                 \
	{                                                                                          \
		static const struct by_type t = __VA_ARGS__;                                       \
                                                                                                   \
		lower_logic(p, s, op, operands, &t);                                               \
	}

LOGIC(and, OP_AND, 2, {{and64, and64, and64}, {0}})
LOGIC(or, OP_OR, 2, {{or64, or64, or64}, {0}})
LOGIC(xor, OP_XOR, 2, {{xor64, xor64, xor64}, {0}})
LOGIC(not, OP_NOT, 1, {{not16, not32, not64}, {0}})
LOGIC(cnot, OP_CNOT, 1, {{cnot16, cnot32, cnot64}, {0}})

/* The amount is 32 bits whatever the value is. */
static void lower_shift(struct parser *p, struct stmt *s, unsigned op, const struct by_type *t)
{
	unsigned type = need_type(p, s);
	run_fn *run = pick(p, t, type);
	int32_t a, b, d;
	struct insn *i;

	want_operands(p, s, 3, 3);
	a = opd_value(p, &s->operand[1], type);
	b = opd_value(p, &s->operand[2], T_U32);
	d = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, op, run);
	i->type = (uint8_t)type;
	i->o[0] = d;
	i->o[1] = a;
	i->o[2] = b;
}

static void lower_shl(struct parser *p, struct stmt *s)
{
	static const struct by_type t = SAME(shl);

	lower_shift(p, s, OP_SHL, &t);
}

static void lower_shr(struct parser *p, struct stmt *s)
{
	static const struct by_type t = BOTH(shr);

	lower_shift(p, s, OP_SHR, &t);
}

static void lower_dot(struct parser *p, struct stmt *s, unsigned n)
{
	bool hi = n == 2 && has(s, "hi");
	unsigned a, b;
	struct insn *i;

	if (n == 2 && !hi && !has(s, "lo"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".lo or .hi is missing");
	a = need_type(p, s);
	b = need_type(p, s);
	if ((a != T_U32 && a != T_S32) || (b != T_U32 && b != T_S32))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	i = lower_plain(p, s, OP_OTHER, dot_run, a, 3);
	i->type2 = (uint8_t)b;
	i->imm = n;
	i->sub = hi;
}

static void lower_vabsdiff4(struct parser *p, struct stmt *s)
{
	unsigned d = need_type(p, s), a = need_type(p, s), b = need_type(p, s);
	struct insn *i;

	if (type_bytes(d) != 4 || a != b || (a != T_U32 && a != T_S32))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for these types");
	i = lower_plain(p, s, OP_OTHER, vabsdiff4_run, a, 3);
	i->sub = has(s, "add");
}

static void lower_dp4a(struct parser *p, struct stmt *s)
{
	lower_dot(p, s, 4);
}

static void lower_dp2a(struct parser *p, struct stmt *s)
{
	lower_dot(p, s, 2);
}

const struct lowering lower_int[] = {
	{"add", lower_add},   {"sub", lower_sub},     {"addc", lower_addc},   {"subc", lower_subc},
	{"mul", lower_mul},   {"mad", lower_mad},     {"madc", lower_madc},   {"mul24", lower_mul24},
	{"mad24", lower_mad24}, {"div", lower_div},   {"rem", lower_rem},     {"neg", lower_neg},
	{"vabsdiff4", lower_vabsdiff4},
	{"abs", lower_abs},   {"sad", lower_sad},     {"min", lower_min},     {"max", lower_max},
	{"and", lower_and},   {"or", lower_or},	      {"xor", lower_xor},     {"not", lower_not},
	{"cnot", lower_cnot}, {"shl", lower_shl},     {"shr", lower_shr},     {"dp4a", lower_dp4a},
	{"dp2a", lower_dp2a}, {NULL, NULL},
};
