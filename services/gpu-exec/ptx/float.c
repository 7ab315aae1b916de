/* SPDX-License-Identifier: Apache-2.0 */
/* Floating point: PTX ISA 9.7.3 to 9.7.5. Each operation rounds once, in the mode it says. */
#include <fenv.h>
#include <math.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

float min_f32(float a, float b)
{
	if (a != a)
		return b;
	if (b != b)
		return a;
	if (a == b)
		return signbit(a) ? a : b;
	return a < b ? a : b;
}

float max_f32(float a, float b)
{
	if (a != a)
		return b;
	if (b != b)
		return a;
	if (a == b)
		return signbit(a) ? b : a;
	return a > b ? a : b;
}

double min_f64(double a, double b)
{
	if (a != a)
		return b;
	if (b != b)
		return a;
	if (a == b)
		return signbit(a) ? a : b;
	return a < b ? a : b;
}

double max_f64(double a, double b)
{
	if (a != a)
		return b;
	if (b != b)
		return a;
	if (a == b)
		return signbit(a) ? b : a;
	return a > b ? a : b;
}

/* The approximations of a GPU are within an ulp or two; these are nearer. */
float unary_f32(unsigned op, float x)
{
	switch (op) {
	case OP_SQRT:
		return sqrtf(x);
	case OP_RCP:
		return 1.0f / x;
	case OP_RSQRT:
		return (float)(1.0 / sqrt((double)x));
	case OP_EX2:
		return exp2f(x);
	case OP_LG2:
		return log2f(x);
	case OP_SIN:
		return (float)sin((double)x);
	case OP_COS:
		return (float)cos((double)x);
	case OP_TANH:
		return tanhf(x);
	case OP_NEG:
		return -x;
	case OP_ABS:
		return fabsf(x);
	default:
		return x;
	}
}

double unary_f64(unsigned op, double x)
{
	switch (op) {
	case OP_SQRT:
		return sqrt(x);
	case OP_RCP:
		return 1.0 / x;
	case OP_RSQRT:
		return 1.0 / sqrt(x);
	case OP_EX2:
		return exp2(x);
	case OP_LG2:
		return log2(x);
	case OP_NEG:
		return -x;
	case OP_ABS:
		return fabs(x);
	default:
		return x;
	}
}

float fma_f32_directed(float a, float b, float c, unsigned rnd)
{
	double p = (double)a * (double)b, s = add_odd(p, (double)c);
	float f = (float)s;

	if (s != s)
		return f;
	if (s == 0)
		return rnd == RND_RM && (signbit(p) || signbit((double)c)) ? -0.0f : f;
	if (rnd == RND_RZ)
		rnd = s > 0 ? RND_RM : RND_RP;
	/* an infinity that comes of an infinite operand stays */
	if (rnd == RND_RM && (double)f > s)
		return nextafterf(f, -INFINITY);
	if (rnd == RND_RP && (double)f < s)
		return nextafterf(f, INFINITY);
	return f;
}

#define F(x) f32_of(x)
#define D(x) f64_of(x)

RUN2(add_f32, f32_bits(F(a[l]) + F(b[l])))
RUN2(sub_f32, f32_bits(F(a[l]) - F(b[l])))
RUN2(mul_f32, f32_bits(F(a[l]) * F(b[l])))
RUN2(div_f32, f32_bits(F(a[l]) / F(b[l])))
RUN3(fma_f32, f32_bits(fmaf(F(a[l]), F(b[l]), F(c[l]))))
RUN2(add_f64, f64_bits(D(a[l]) + D(b[l])))
RUN2(sub_f64, f64_bits(D(a[l]) - D(b[l])))
RUN2(mul_f64, f64_bits(D(a[l]) * D(b[l])))
RUN2(div_f64, f64_bits(D(a[l]) / D(b[l])))
RUN3(fma_f64, f64_bits(fma(D(a[l]), D(b[l]), D(c[l]))))

/* ------------------------------------------------------------------------------ all modes */

static int rounding_of(unsigned rnd)
{
	switch (rnd) {
	case RND_RZ:
		return FE_TOWARDZERO;
	case RND_RM:
		return FE_DOWNWARD;
	case RND_RP:
		return FE_UPWARD;
	default:
		return FE_TONEAREST;
	}
}

static float flush(float x)
{
	return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x;
}

enum { MINMAX_NAN = 1, MINMAX_XORSIGN = 2 };

static uint64_t minmax_f32(const struct insn *i, float a, float b)
{
	float r;

	if (i->sub & MINMAX_NAN && (a != a || b != b))
		return 0x7fffffff;
	if (i->sub & MINMAX_XORSIGN) {
		r = i->op == OP_MIN ? min_f32(fabsf(a), fabsf(b)) : max_f32(fabsf(a), fabsf(b));
		return f32_bits(copysignf(r, signbit(a) != signbit(b) ? -1.0f : 1.0f));
	}
	return f32_bits(i->op == OP_MIN ? min_f32(a, b) : max_f32(a, b));
}

static uint64_t op_f32(const struct insn *i, uint64_t ab, uint64_t bb, uint64_t cb)
{
	/* volatile: the mode of rounding is set around this. */
	volatile float a = f32_of(ab), b = f32_of(bb), c = f32_of(cb), r;

	if (i->ftz) {
		a = flush(a);
		b = flush(b);
		c = flush(c);
	}
	switch (i->op) {
	case OP_ADD:
		r = a + b;
		break;
	case OP_SUB:
		r = a - b;
		break;
	case OP_MUL:
		r = a * b;
		break;
	case OP_DIV:
		r = a / b;
		break;
	case OP_FMA:
		r = fmaf(a, b, c);
		break;
	case OP_MIN:
	case OP_MAX:
		r = f32_of(minmax_f32(i, a, b));
		break;
	case OP_RCP:
		r = 1.0f / a;
		break;
	case OP_SQRT:
		r = sqrtf(a);
		break;
	case OP_NEG: /* keeps what a NaN carries */
	case OP_ABS: {
		uint64_t v = a != a || !i->ftz ? A32(ab) : f32_bits(a);

		return i->op == OP_NEG ? v ^ 0x80000000u : v & 0x7fffffffu;
	}
	default:
		r = unary_f32(i->op, a);
	}
	if (i->ftz)
		r = flush(r);
	if (i->sat)
		r = !(r > 0) ? 0 : r > 1 ? 1 : r;
	return f32_bits(r);
}

static uint64_t op_f64(const struct insn *i, uint64_t ab, uint64_t bb, uint64_t cb)
{
	volatile double a = f64_of(ab), b = f64_of(bb), c = f64_of(cb), r;

	switch (i->op) {
	case OP_ADD:
		r = a + b;
		break;
	case OP_SUB:
		r = a - b;
		break;
	case OP_MUL:
		r = a * b;
		break;
	case OP_DIV:
		r = a / b;
		break;
	case OP_FMA:
		r = fma(a, b, c);
		break;
	case OP_MIN:
		r = min_f64(a, b);
		break;
	case OP_MAX:
		r = max_f64(a, b);
		break;
	case OP_RCP:
		r = 1.0 / a;
		break;
	case OP_SQRT:
		r = sqrt(a);
		break;
	case OP_NEG:
		return ab ^ UINT64_C(1) << 63;
	case OP_ABS:
		return ab & ~(UINT64_C(1) << 63);
	default:
		r = unary_f64(i->op, a);
	}
	return f64_bits(r);
}

/* Sums and products of 32 bits in a directed mode. */
static uint64_t directed_f32(const struct insn *i, uint64_t ab, uint64_t bb, uint64_t cb)
{
	float a = f32_of(ab), b = f32_of(bb), c = f32_of(cb), r;

	if (i->ftz) {
		a = flush(a);
		b = flush(b);
		c = flush(c);
	}
	switch (i->op) {
	case OP_FMA:
		r = fma_f32_directed(a, b, c, i->rnd);
		break;
	case OP_MUL: /* a zero with the product's sign changes nothing */
		r = fma_f32_directed(a, b, signbit(a) != signbit(b) ? -0.0f : 0.0f, i->rnd);
		break;
	default:
		r = fma_f32_directed(a, 1, i->op == OP_SUB ? -b : b, i->rnd);
	}
	if (i->ftz)
		r = flush(r);
	if (i->sat)
		r = !(r > 0) ? 0 : r > 1 ? 1 : r;
	return f32_bits(r);
}

static int any_f(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = i->o[2] == PTX_NONE ? a : op_col(w, i->o[2]),
		       *c = i->o[3] == PTX_NONE ? a : op_col(w, i->o[3]);
	int mode = rounding_of(i->rnd);
	bool directed = mode != FE_TONEAREST;

	if (directed && i->type == T_F32 &&
	    (i->op == OP_FMA || i->op == OP_ADD || i->op == OP_SUB || i->op == OP_MUL)) {
		FOR_LANES(mask, l)
		d[l] = directed_f32(i, a[l], b[l], c[l]);
		return 0;
	}
	if (directed)
		fesetround(mode);
	if (i->type == T_F64) {
		FOR_LANES(mask, l)
		d[l] = op_f64(i, a[l], b[l], c[l]);
	} else {
		FOR_LANES(mask, l)
		d[l] = op_f32(i, a[l], b[l], c[l]);
	}
	if (directed)
		fesetround(FE_TONEAREST);
	return 0;
}

/* ------------------------------------------------------------------------------ halves */

static double half_in(uint16_t v, bool bf, bool ftz)
{
	double d = (double)(bf ? bf16_to_float(v) : half_to_float(v));

	return ftz && fabs(d) < (bf ? 0x1p-126 : 0x1p-14) ? copysign(0, d) : d;
}

static uint16_t half_op(const struct insn *i, uint16_t ab, uint16_t bb, uint16_t cb, bool bf)
{
	double a = half_in(ab, bf, i->ftz), b = half_in(bb, bf, i->ftz),
	       c = half_in(cb, bf, i->ftz), r;
	uint16_t v;

	switch (i->op) {
	case OP_ADD:
		r = bf ? add_odd(a, b) : a + b;
		break;
	case OP_SUB:
		r = bf ? add_odd(a, -b) : a - b;
		break;
	case OP_MUL:
		r = a * b;
		break;
	case OP_FMA:
		r = add_odd(a * b, c);
		break;
	case OP_NEG:
		return ab ^ 0x8000;
	case OP_ABS:
		return ab & 0x7fff;
	case OP_MIN:
	case OP_MAX:
		if (i->sub & MINMAX_NAN && (a != a || b != b))
			return 0x7fff;
		if (i->sub & MINMAX_XORSIGN) {
			r = i->op == OP_MIN ? min_f64(fabs(a), fabs(b)) : max_f64(fabs(a), fabs(b));
			r = copysign(r, signbit(a) != signbit(b) ? -1.0 : 1.0);
		} else {
			r = i->op == OP_MIN ? min_f64(a, b) : max_f64(a, b);
		}
		break;
	default:
		r = (double)unary_f32(i->op, (float)a);
	}
	if (i->sat)
		r = !(r > 0) ? 0 : r > 1 ? 1 : r;
	if (i->cmp == 1 && r < 0) /* .relu */
		r = 0;
	v = bf ? bf16_from_double(r, i->rnd) : half_from_double(r, i->rnd);
	if (i->ftz && (v & (bf ? 0x7f80 : 0x7c00)) == 0)
		v &= 0x8000;
	return v;
}

static int any_half(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = i->o[2] == PTX_NONE ? a : op_col(w, i->o[2]),
		       *c = i->o[3] == PTX_NONE ? a : op_col(w, i->o[3]);
	bool bf = i->type == T_BF16 || i->type == T_BF16X2;
	bool two = i->type == T_F16X2 || i->type == T_BF16X2;

	FOR_LANES(mask, l)
	{
		uint32_t r = half_op(i, A16(a[l]), A16(b[l]), A16(c[l]), bf);

		if (two)
			r |= (uint32_t)half_op(i, A16(a[l] >> 16), A16(b[l] >> 16), A16(c[l] >> 16),
					       bf)
			     << 16;
		d[l] = r;
	}
	return 0;
}

/* ------------------------------------------------------------------------------ lowering */

static run_fn *fast_run(unsigned op, unsigned type)
{
	bool d = type == T_F64;

	switch (op) {
	case OP_ADD:
		return d ? add_f64 : add_f32;
	case OP_SUB:
		return d ? sub_f64 : sub_f32;
	case OP_MUL:
		return d ? mul_f64 : mul_f32;
	case OP_DIV:
		return d ? div_f64 : div_f32;
	case OP_FMA:
		return d ? fma_f64 : fma_f32;
	default:
		return any_f;
	}
}

void lower_float_op(struct parser *p, struct stmt *s, unsigned op, unsigned type)
{
	unsigned rnd = take_round(s), sub = 0;
	bool ftz = has(s, "ftz"), sat = has(s, "sat"), relu = has(s, "relu");
	bool half = type == T_F16 || type == T_BF16 || type == T_F16X2 || type == T_BF16X2;
	unsigned operands = op == OP_FMA								? 3
			    : op == OP_ADD || op == OP_SUB || op == OP_MUL || op == OP_DIV || op == OP_MIN ||
					      op == OP_MAX
				    ? 2
				    : 1;
	run_fn *run;
	struct insn *i;

	/* Approximations: as exact as the rounded form. */
	has(s, "approx");
	if (op == OP_DIV)
		has(s, "full");
	if (op == OP_MIN || op == OP_MAX) {
		sub |= has(s, "NaN") ? MINMAX_NAN : 0;
		if (has(s, "xorsign"))
			sub |= has(s, "abs") ? MINMAX_XORSIGN : 0;
	}
	if (type == T_TF32 || op == OP_REM || op == OP_OTHER || rnd > RND_RP || (relu && !half) ||
	    (half && op == OP_DIV))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	if (type == T_F64 && (ftz || sat) && op != OP_RCP && op != OP_RSQRT)
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".ftz and .sat are not for .f64");
	run = half ? any_half
	      : ftz || sat || (rnd != RND_NONE && rnd != RND_RN) ? any_f
								 : fast_run(op, type);
	i = lower_plain(p, s, op, run, type, operands);
	i->rnd = (uint8_t)(rnd == RND_NONE ? RND_RN : rnd);
	i->ftz = ftz;
	i->sat = sat;
	i->sub = (uint8_t)sub;
	i->cmp = relu;
}

#define LOWER(name, op)                                                                            \
	static void lower_##name(struct parser *p, struct stmt *s)                                 \
	{                                                                                          \
		lower_float_op(p, s, op, need_type(p, s));                                         \
	}

LOWER(fma, OP_FMA)
LOWER(sqrt, OP_SQRT)
LOWER(rcp, OP_RCP)
LOWER(rsqrt, OP_RSQRT)
LOWER(ex2, OP_EX2)
LOWER(lg2, OP_LG2)
LOWER(sin, OP_SIN)
LOWER(cos, OP_COS)
LOWER(tanh, OP_TANH)

RUN2(copysign32, (A32(a[l]) & 0x80000000u) | (A32(b[l]) & 0x7fffffffu))
RUN2(copysign64, (a[l] & UINT64_C(1) << 63) | (b[l] & ~(UINT64_C(1) << 63)))

static void lower_copysign(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);

	if (type != T_F32 && type != T_F64)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	lower_plain(p, s, OP_COPYSIGN, type == T_F64 ? copysign64 : copysign32, type, 2);
}

enum { TEST_FINITE, TEST_INFINITE, TEST_NUMBER, TEST_NAN, TEST_NORMAL, TEST_SUBNORMAL };

static int testp_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]);
	uint32_t r = 0;

	FOR_LANES(mask, l)
	{
		bool t = false, wide = i->type == T_F64;
		int class = wide ? fpclassify(f64_of(a[l])) : fpclassify(f32_of(a[l]));

		switch (i->sub) {
		case TEST_FINITE:
			t = class != FP_INFINITE && class != FP_NAN;
			break;
		case TEST_INFINITE:
			t = class == FP_INFINITE;
			break;
		case TEST_NUMBER:
			t = class != FP_NAN;
			break;
		case TEST_NAN:
			t = class == FP_NAN;
			break;
		case TEST_NORMAL:
			t = class == FP_NORMAL;
			break;
		default:
			t = class == FP_SUBNORMAL;
		}
		r |= (uint32_t)t << l;
	}
	pred_set(w, i->o[0], mask, r);
	return 0;
}

static void lower_testp(struct parser *p, struct stmt *s)
{
	static const char *const tests[] = {"finite",	   "infinite", "number",
					    "notanumber", "normal",   "subnormal"};
	unsigned type, test = 6;
	int32_t a, d;
	struct insn *i;

	for (unsigned k = 0; k < 6; k++)
		if (has(s, tests[k]))
			test = k;
	type = need_type(p, s);
	want_operands(p, s, 2, 2);
	if (test == 6 || (type != T_F32 && type != T_F64))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Unknown test");
	a = opd_value(p, &s->operand[1], type);
	d = opd_dst(p, &s->operand[0], T_PRED);
	i = emit(p, K_PLAIN, OP_OTHER, testp_run);
	i->o[0] = d;
	i->o[1] = a;
	i->type = (uint8_t)type;
	i->sub = (uint8_t)test;
}

const struct lowering lower_float[] = {
	{"fma", lower_fma},	{"sqrt", lower_sqrt}, {"rcp", lower_rcp},
	{"rsqrt", lower_rsqrt}, {"ex2", lower_ex2},   {"lg2", lower_lg2},
	{"sin", lower_sin},	{"cos", lower_cos},   {"tanh", lower_tanh},
	{"testp", lower_testp}, {"copysign", lower_copysign}, {NULL, NULL},
};
