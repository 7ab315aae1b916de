/* SPDX-License-Identifier: Apache-2.0 */
/* Comparisons and selections: PTX ISA 9.7.6, 9.7.7. */
#include <math.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

#define BITS(COND)                                                                                 \
	do {                                                                                       \
		for (uint32_t l = 0; l < PTX_LANES; l++)                                           \
			r |= (uint32_t)(COND) << l;                                                \
	} while (0)

#define COMPARE_INT(name, T)                                                                       \
	static uint32_t name(unsigned cmp, const uint64_t *a, const uint64_t *b)                   \
	{                                                                                          \
		uint32_t r = 0;                                                                    \
                                                                                                   \
		switch (cmp) {                                                                     \
		case CMP_EQ:                                                                       \
			BITS(T(a[l]) == T(b[l]));                                                  \
			break;                                                                     \
		case CMP_NE:                                                                       \
			BITS(T(a[l]) != T(b[l]));                                                  \
			break;                                                                     \
		case CMP_LT:                                                                       \
			BITS(T(a[l]) < T(b[l]));                                                   \
			break;                                                                     \
		case CMP_LE:                                                                       \
			BITS(T(a[l]) <= T(b[l]));                                                  \
			break;                                                                     \
		case CMP_GT:                                                                       \
			BITS(T(a[l]) > T(b[l]));                                                   \
			break;                                                                     \
		default:                                                                           \
			BITS(T(a[l]) >= T(b[l]));                                                  \
		}                                                                                  \
		return r;                                                                          \
	}

COMPARE_INT(compare_u16, A16)
COMPARE_INT(compare_s16, S16)
COMPARE_INT(compare_u32, A32)
COMPARE_INT(compare_s32, S32)
COMPARE_INT(compare_u64, A64)
COMPARE_INT(compare_s64, S64)

static bool compare_float(unsigned cmp, double a, double b)
{
	bool unordered = a != a || b != b;

	switch (cmp) {
	case CMP_EQ:
		return a == b;
	case CMP_NE:
		return !unordered && a != b;
	case CMP_LT:
		return a < b;
	case CMP_LE:
		return a <= b;
	case CMP_GT:
		return a > b;
	case CMP_GE:
		return a >= b;
	case CMP_EQU:
		return unordered || a == b;
	case CMP_NEU:
		return a != b;
	case CMP_LTU:
		return !(a >= b);
	case CMP_LEU:
		return !(a > b);
	case CMP_GTU:
		return !(a <= b);
	case CMP_GEU:
		return !(a < b);
	case CMP_NUM:
		return !unordered;
	default:
		return unordered;
	}
}

/* Operands of a comparison of floats; @shift: which half of a pair. */
static double compare_in(const struct insn *i, unsigned type, uint64_t v, unsigned shift)
{
	double d;

	switch (type) {
	case T_F64:
		return f64_of(v);
	case T_F32:
		d = (double)f32_of(v);
		return i->ftz && fabs(d) < 0x1p-126 ? 0 : d;
	case T_F16:
	case T_F16X2:
		d = (double)half_to_float(A16(v >> shift));
		return i->ftz && fabs(d) < 0x1p-14 ? 0 : d;
	default:
		return (double)bf16_to_float(A16(v >> shift));
	}
}

static uint32_t compare_bits(const struct insn *i, const uint64_t *a, const uint64_t *b,
			     uint32_t mask, unsigned shift)
{
	uint32_t r = 0;

	switch (i->type2) {
	case T_U16:
	case T_B16:
		return compare_u16(i->cmp, a, b);
	case T_S16:
		return compare_s16(i->cmp, a, b);
	case T_U32:
	case T_B32:
		return compare_u32(i->cmp, a, b);
	case T_S32:
		return compare_s32(i->cmp, a, b);
	case T_U64:
	case T_B64:
		return compare_u64(i->cmp, a, b);
	case T_S64:
		return compare_s64(i->cmp, a, b);
	default:
		FOR_LANES(mask, l)
		r |= (uint32_t)compare_float(i->cmp, compare_in(i, i->type2, a[l], shift),
					     compare_in(i, i->type2, b[l], shift))
		     << l;
		return r;
	}
}

static uint32_t combine(const struct insn *i, uint32_t t, uint32_t c)
{
	switch (i->boolop) {
	case BOOL_AND:
		return t & c;
	case BOOL_OR:
		return t | c;
	case BOOL_XOR:
		return t ^ c;
	default:
		return t;
	}
}

/* o: p, a, b, c, q */
static int setp_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);
	uint32_t c = i->boolop ? pred_bits(w, i->o[3], i->neg & 1) : 0;
	uint32_t t = compare_bits(i, a, b, mask, 0), u = ~t;

	if (i->type2 == T_F16X2 || i->type2 == T_BF16X2)
		u = compare_bits(i, a, b, mask, 16);
	if (i->o[0] != PTX_NONE)
		pred_set(w, i->o[0], mask, combine(i, t, c));
	if (i->o[4] != PTX_NONE)
		pred_set(w, i->o[4], mask, combine(i, u, c));
	return 0;
}

static int set_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);
	uint32_t c = i->boolop ? pred_bits(w, i->o[3], i->neg & 1) : 0;
	uint32_t t = combine(i, compare_bits(i, a, b, mask, 0), c), u = 0;
	bool two = i->type2 == T_F16X2 || i->type2 == T_BF16X2;
	uint64_t yes;

	if (two)
		u = combine(i, compare_bits(i, a, b, mask, 16), c);
	switch (i->type) {
	case T_F32:
		yes = 0x3f800000;
		break;
	case T_F16:
	case T_F16X2:
		yes = 0x3c00;
		break;
	case T_BF16:
	case T_BF16X2:
		yes = 0x3f80;
		break;
	case T_U16:
	case T_S16:
		yes = 0xffff;
		break;
	default:
		yes = two ? 0xffff : 0xffffffff;
	}
	FOR_LANES(mask, l)
	d[l] = (t >> l & 1 ? yes : 0) | (two && u >> l & 1 ? yes << 16 : 0);
	return 0;
}

static unsigned take_compare(struct parser *p, struct stmt *s, bool *alias_unsigned)
{
	static const struct {
		const char *name;
		enum ptx_cmp cmp;
	} names[] = {{"eq", CMP_EQ},   {"ne", CMP_NE},	 {"lt", CMP_LT},   {"le", CMP_LE},
		     {"gt", CMP_GT},   {"ge", CMP_GE},	 {"lo", CMP_LT},   {"ls", CMP_LE},
		     {"hi", CMP_GT},   {"hs", CMP_GE},	 {"equ", CMP_EQU}, {"neu", CMP_NEU},
		     {"ltu", CMP_LTU}, {"leu", CMP_LEU}, {"gtu", CMP_GTU}, {"geu", CMP_GEU},
		     {"num", CMP_NUM}, {"nan", CMP_NAN}};

	*alias_unsigned = false;
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (has(s, names[k].name)) {
			*alias_unsigned = k >= 6 && k <= 9;
			return names[k].cmp;
		}
	stmt_fail(p, PTX_ERR_INVALID_PTX, "The comparison is missing");
}

static void lower_compare(struct parser *p, struct stmt *s, bool setp)
{
	bool low, neg = false, ftz, is_float;
	unsigned cmp = take_compare(p, s, &low), type = T_PRED, src;
	unsigned boolop = has(s, "and")	  ? BOOL_AND
			  : has(s, "or")  ? BOOL_OR
			  : has(s, "xor") ? BOOL_XOR
					  : BOOL_NONE;
	int32_t a, b, c = PTX_NONE, d = PTX_NONE, q = PTX_NONE;
	struct operand *dst;
	struct insn *i;

	ftz = has(s, "ftz");
	if (!setp)
		type = need_type(p, s);
	src = need_type(p, s);
	is_float = type_float(src) || src == T_F16X2 || src == T_BF16X2;
	if (src == T_PRED || type_bytes(src) == 1 || src == T_B128 || src == T_TF32 ||
	    src > T_BF16X2 + 3 || (!is_float && cmp >= CMP_EQU))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	if (!setp && type_bytes(type) != 4 && type != T_F16 && type != T_BF16 && type != T_U16 &&
	    type != T_S16)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	want_operands(p, s, boolop ? 4 : 3, boolop ? 4 : 3);
	a = opd_value(p, &s->operand[1], src);
	b = opd_value(p, &s->operand[2], src);
	if (boolop)
		c = opd_pred(p, &s->operand[3], &neg);
	dst = &s->operand[0];
	if (setp) {
		struct operand first = *dst;

		q = dst->pair;
		if (q != PTX_NONE && reg_type(p, q) != T_PRED)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is followed by no predicate");
		first.pair = PTX_NONE;
		first.pair_sink = false;
		d = first.kind == OPD_SINK ? PTX_NONE : opd_dst(p, &first, T_PRED);
	} else {
		d = opd_dst(p, dst, type);
	}
	i = emit(p, K_PLAIN, setp ? OP_SETP : OP_OTHER, setp ? setp_run : set_run);
	i->o[0] = d;
	i->o[1] = a;
	i->o[2] = b;
	i->o[3] = c;
	i->o[4] = q;
	i->type = (uint8_t)type;
	i->type2 = (uint8_t)(low && type_signed(src) ? src - (T_S8 - T_U8) : src);
	i->cmp = (uint8_t)cmp;
	i->boolop = (uint8_t)boolop;
	i->neg = neg;
	i->ftz = ftz;
}

static void lower_setp(struct parser *p, struct stmt *s)
{
	lower_compare(p, s, true);
}

static void lower_set(struct parser *p, struct stmt *s)
{
	lower_compare(p, s, false);
}

static int selp_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]);
	uint32_t c = pred_bits(w, i->o[3], i->neg & 1);

	LANES_DO(c >> l & 1 ? a[l] : b[l]);
}

static void lower_selp(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);
	int32_t a, b, c, d;
	bool neg;
	struct insn *i;

	want_operands(p, s, 4, 4);
	a = opd_value(p, &s->operand[1], type);
	b = opd_value(p, &s->operand[2], type);
	c = opd_pred(p, &s->operand[3], &neg);
	d = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, OP_SELP, selp_run);
	i->o[0] = d;
	i->o[1] = a;
	i->o[2] = b;
	i->o[3] = c;
	i->neg = neg;
	i->type = (uint8_t)type;
}

RUN3(slct_s32, S32(c[l]) >= 0 ? a[l] : b[l])
RUN3(slct_f32, f32_of(c[l]) >= 0 ? a[l] : b[l])

static void lower_slct(struct parser *p, struct stmt *s)
{
	bool ftz = has(s, "ftz");
	unsigned type = need_type(p, s), by = need_type(p, s);
	int32_t o[4];
	struct insn *i;

	if ((by != T_S32 && by != T_F32) || (ftz && by == T_F32))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	want_operands(p, s, 4, 4);
	o[1] = opd_value(p, &s->operand[1], type);
	o[2] = opd_value(p, &s->operand[2], type);
	o[3] = opd_value(p, &s->operand[3], by);
	o[0] = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, OP_OTHER, by == T_S32 ? slct_s32 : slct_f32);
	memcpy(i->o, o, sizeof(o));
	i->type = (uint8_t)type;
}

const struct lowering lower_compares[] = {
	{"setp", lower_setp}, {"set", lower_set}, {"selp", lower_selp}, {"slct", lower_slct}, {NULL, NULL},
};
