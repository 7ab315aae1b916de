/* SPDX-License-Identifier: Apache-2.0 */
/* Bits of integers: counts, fields, permutations, logic of three: PTX ISA 9.7.1, 9.7.8. */
#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

static uint32_t shf(uint32_t lo, uint32_t hi, uint32_t n, bool left, bool wrap)
{
	uint64_t v = (uint64_t)hi << 32 | lo;

	n = wrap ? n & 31 : n > 32 ? 32 : n;
	return left ? (uint32_t)(v << n >> 32) : (uint32_t)(v >> n);
}

RUN3(shf_lc, shf(A32(a[l]), A32(b[l]), A32(c[l]), true, false))
RUN3(shf_lw, shf(A32(a[l]), A32(b[l]), A32(c[l]), true, true))
RUN3(shf_rc, shf(A32(a[l]), A32(b[l]), A32(c[l]), false, false))
RUN3(shf_rw, shf(A32(a[l]), A32(b[l]), A32(c[l]), false, true))

RUN1(popc32, __builtin_popcount(A32(a[l])))
RUN1(popc64, __builtin_popcountll(a[l]))
RUN1(clz32, A32(a[l]) ? __builtin_clz(A32(a[l])) : 32)
RUN1(clz64, a[l] ? __builtin_clzll(a[l]) : 64)

static uint64_t reverse(uint64_t v)
{
	v = (v & UINT64_C(0x5555555555555555)) << 1 | (v >> 1 & UINT64_C(0x5555555555555555));
	v = (v & UINT64_C(0x3333333333333333)) << 2 | (v >> 2 & UINT64_C(0x3333333333333333));
	v = (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4 | (v >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f));
	return __builtin_bswap64(v);
}

RUN1(brev32, reverse(A32(a[l])) >> 32)
RUN1(brev64, reverse(a[l]))

static uint64_t find_bit(uint64_t v, unsigned bits, bool is_signed, bool shift)
{
	unsigned at;

	if (is_signed && v >> (bits - 1) & 1)
		v = ~v;
	if (bits < 64)
		v &= (UINT64_C(1) << bits) - 1;
	if (v == 0)
		return UINT32_MAX;
	at = 63 - (unsigned)__builtin_clzll(v);
	return shift ? bits - 1 - at : at;
}

RUN1(bfind_run, find_bit(a[l], type_bytes(i->type) * 8, type_signed(i->type), i->sub))

static uint64_t bfe(uint64_t v, unsigned pos, unsigned len, unsigned bits, bool is_signed)
{
	uint64_t sign, r;

	pos &= 0xff;
	len &= 0xff;
	if (bits == 32)
		v = A32(v);
	if (!is_signed || len == 0) {
		sign = 0;
	} else {
		unsigned top = pos + len - 1 < bits - 1 ? pos + len - 1 : bits - 1;

		sign = v >> top & 1;
	}
	r = pos < 64 ? v >> pos : 0;
	if (len < 64)
		r &= (UINT64_C(1) << len) - 1;
	if (sign) { /* above the field, and where the field leaves the value */
		unsigned from = pos + len > bits ? (bits > pos ? bits - pos : 0) : len;

		if (from < 64)
			r |= UINT64_MAX << from;
	}
	return bits == 32 ? A32(r) : r;
}

RUN3(bfe_u32, bfe(a[l], A32(b[l]), A32(c[l]), 32, false))
RUN3(bfe_s32, bfe(a[l], A32(b[l]), A32(c[l]), 32, true))
RUN3(bfe_u64, bfe(a[l], A32(b[l]), A32(c[l]), 64, false))
RUN3(bfe_s64, bfe(a[l], A32(b[l]), A32(c[l]), 64, true))

static uint64_t bfi(uint64_t a, uint64_t b, unsigned pos, unsigned len, unsigned bits)
{
	uint64_t field;

	pos &= 0xff;
	len &= 0xff;
	if (pos >= bits)
		return b;
	field = (len >= 64 ? UINT64_MAX : (UINT64_C(1) << len) - 1) << pos;
	b = (b & ~field) | (a << pos & field);
	return bits == 32 ? A32(b) : b;
}

static int bfi_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]), *c = op_col(w, i->o[3]),
		       *e = op_col(w, i->o[4]);
	unsigned bits = i->type == T_B64 ? 64 : 32;

	LANES_DO(bfi(a[l], b[l], A32(c[l]), A32(e[l]), bits));
}

static uint32_t field_mask(uint32_t pos, uint32_t len, bool wrap)
{
	uint64_t m;

	if (wrap) {
		pos &= 31;
		len &= 31;
	}
	if (pos > 31 || len == 0)
		return 0;
	m = (len >= 32 ? UINT64_C(0xffffffff) : (UINT64_C(1) << len) - 1) << pos;
	return (uint32_t)m;
}

RUN2(bmsk_run, field_mask(A32(a[l]), A32(b[l]), i->sub))

static uint32_t extend(uint32_t v, uint32_t n, bool wrap, bool is_signed)
{
	if (wrap)
		n &= 31;
	if (n == 0)
		return 0;
	if (n >= 32)
		return v;
	v &= (1u << n) - 1;
	return is_signed && v >> (n - 1) ? v | (UINT32_MAX << n) : v;
}

RUN2(szext_run, extend(A32(a[l]), A32(b[l]), i->sub, i->type == T_S32))

static uint32_t nth_bit(uint32_t mask, uint32_t base, int32_t n)
{
	int32_t at = (int32_t)(base & 31);

	if (n == 0)
		return mask >> at & 1 ? (uint32_t)at : UINT32_MAX;
	for (int32_t step = n > 0 ? 1 : -1; at >= 0 && at < 32; at += step)
		if (mask >> at & 1 && (n -= step) == 0)
			return (uint32_t)at;
	return UINT32_MAX;
}

RUN3(fns_run, nth_bit(A32(a[l]), A32(b[l]), S32(c[l])))

static uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, unsigned table)
{
	uint32_t r = 0;

	if (table & 0x01)
		r |= ~a & ~b & ~c;
	if (table & 0x02)
		r |= ~a & ~b & c;
	if (table & 0x04)
		r |= ~a & b & ~c;
	if (table & 0x08)
		r |= ~a & b & c;
	if (table & 0x10)
		r |= a & ~b & ~c;
	if (table & 0x20)
		r |= a & ~b & c;
	if (table & 0x40)
		r |= a & b & ~c;
	if (table & 0x80)
		r |= a & b & c;
	return r;
}

static int lop3_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint64_t *d = op_col(w, i->o[0]);
	const uint64_t *a = op_col(w, i->o[1]), *b = op_col(w, i->o[2]), *c = op_col(w, i->o[3]);
	uint32_t any = 0;

	FOR_LANES(mask, l)
	{
		d[l] = lop3(A32(a[l]), A32(b[l]), A32(c[l]), (unsigned)i->imm);
		any |= (uint32_t)(d[l] != 0) << l;
	}
	if (i->boolop != BOOL_NONE) {
		uint32_t q = pred_bits(w, i->o[5], i->neg & 1);

		pred_set(w, i->o[4], mask, i->boolop == BOOL_AND ? any & q : any | q);
	}
	return 0;
}

enum { PRMT_PLAIN, PRMT_F4E, PRMT_B4E, PRMT_RC8, PRMT_ECL, PRMT_ECR, PRMT_RC16 };

static uint32_t prmt(uint32_t a, uint32_t b, uint32_t c, unsigned mode)
{
	uint64_t v = (uint64_t)b << 32 | a;
	uint32_t r = 0;

	for (unsigned k = 0; k < 4; k++) {
		unsigned n = c & 3, pick, byte;

		switch (mode) {
		case PRMT_PLAIN:
			pick = c >> 4 * k & 0xf;
			break;
		case PRMT_F4E:
			pick = n + k;
			break;
		case PRMT_B4E:
			pick = (n - k) & 7;
			break;
		case PRMT_RC8:
			pick = n;
			break;
		case PRMT_ECL:
			pick = k < n ? n : k;
			break;
		case PRMT_ECR:
			pick = k < n ? k : n;
			break;
		default:
			pick = (n & 1) * 2 + (k & 1);
		}
		byte = (unsigned)(v >> 8 * (pick & 7)) & 0xff;
		if (pick & 8)
			byte = byte & 0x80 ? 0xff : 0;
		r |= byte << 8 * k;
	}
	return r;
}

RUN3(prmt_run, prmt(A32(a[l]), A32(b[l]), A32(c[l]), i->sub))

/* ------------------------------------------------------------------------------ lowering */

static void lower_shf(struct parser *p, struct stmt *s)
{
	bool left = has(s, "l"), wrap;

	if (!left && !has(s, "r"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".l or .r is missing");
	wrap = has(s, "wrap");
	if (!wrap && !has(s, "clamp"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".wrap or .clamp is missing");
	need_type(p, s);
	lower_plain(p, s, OP_SHF, left ? (wrap ? shf_lw : shf_lc) : (wrap ? shf_rw : shf_rc), T_B32,
		    3)
		->sub = (uint8_t)((left ? 1 : 0) | (wrap ? 2 : 0));
}

/* One operand of @type, a result of 32 bits. */
static void lower_count(struct parser *p, struct stmt *s, unsigned op, run_fn *run32, run_fn *run64)
{
	bool shift = op == OP_OTHER && has(s, "shiftamt");
	unsigned type = need_type(p, s);
	int32_t a, d;
	struct insn *i;

	want_operands(p, s, 2, 2);
	a = opd_value(p, &s->operand[1], type);
	d = opd_dst(p, &s->operand[0], T_B32);
	i = emit(p, K_PLAIN, op, type_bytes(type) == 8 ? run64 : run32);
	i->type = (uint8_t)type;
	i->sub = shift;
	i->o[0] = d;
	i->o[1] = a;
}

static void lower_popc(struct parser *p, struct stmt *s)
{
	lower_count(p, s, OP_POPC, popc32, popc64);
}

static void lower_clz(struct parser *p, struct stmt *s)
{
	lower_count(p, s, OP_CLZ, clz32, clz64);
}

static void lower_bfind(struct parser *p, struct stmt *s)
{
	lower_count(p, s, OP_OTHER, bfind_run, bfind_run);
}

static void lower_brev(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);

	lower_plain(p, s, OP_BREV, type_bytes(type) == 8 ? brev64 : brev32, type, 1);
}

static void lower_bfe(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);
	run_fn *run = type == T_U32   ? bfe_u32
		      : type == T_S32 ? bfe_s32
		      : type == T_U64 ? bfe_u64
		      : type == T_S64 ? bfe_s64
				      : NULL;
	int32_t o[4];
	struct insn *i;

	if (!run)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	want_operands(p, s, 4, 4);
	o[1] = opd_value(p, &s->operand[1], type);
	o[2] = opd_value(p, &s->operand[2], T_U32);
	o[3] = opd_value(p, &s->operand[3], T_U32);
	o[0] = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, OP_BFE, run);
	memcpy(i->o, o, sizeof(o));
	i->type = (uint8_t)type;
}

static void lower_bfi(struct parser *p, struct stmt *s)
{
	unsigned type = need_type(p, s);
	int32_t o[5];
	struct insn *i;

	if (type != T_B32 && type != T_B64)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Not for this type");
	want_operands(p, s, 5, 5);
	o[1] = opd_value(p, &s->operand[1], type);
	o[2] = opd_value(p, &s->operand[2], type);
	o[3] = opd_value(p, &s->operand[3], T_U32);
	o[4] = opd_value(p, &s->operand[4], T_U32);
	o[0] = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, OP_BFI, bfi_run);
	memcpy(i->o, o, sizeof(o));
	i->type = (uint8_t)type;
}

static void lower_bmsk(struct parser *p, struct stmt *s)
{
	bool wrap = has(s, "wrap");

	if (!wrap && !has(s, "clamp"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".wrap or .clamp is missing");
	lower_plain(p, s, OP_OTHER, bmsk_run, need_type(p, s), 2)->sub = wrap;
}

static void lower_szext(struct parser *p, struct stmt *s)
{
	bool wrap = has(s, "wrap");

	if (!wrap && !has(s, "clamp"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, ".wrap or .clamp is missing");
	lower_plain(p, s, OP_OTHER, szext_run, need_type(p, s), 2)->sub = wrap;
}

static void lower_fns(struct parser *p, struct stmt *s)
{
	lower_plain(p, s, OP_OTHER, fns_run, need_type(p, s), 3);
}

static void lower_lop3(struct parser *p, struct stmt *s)
{
	unsigned boolop = has(s, "or") ? BOOL_OR : has(s, "and") ? BOOL_AND : BOOL_NONE;
	struct operand *d = opd(p, s, 0), first = *d;
	int32_t o[6] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE};
	bool neg = false;
	struct insn *i;

	need_type(p, s);
	want_operands(p, s, boolop ? 6 : 5, boolop ? 6 : 5);
	first.pair = PTX_NONE;
	first.pair_sink = false;
	for (unsigned k = 1; k < 4; k++)
		o[k] = opd_value(p, &s->operand[k], T_B32);
	if (s->operand[4].kind != OPD_INT)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The table must be a constant");
	if (boolop) {
		o[4] = d->pair != PTX_NONE ? d->pair : reg_new(p, T_PRED);
		if (reg_type(p, o[4]) != T_PRED)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is followed by no predicate");
		o[5] = opd_pred(p, &s->operand[5], &neg);
	}
	o[0] = opd_dst(p, &first, T_B32);
	i = emit(p, K_PLAIN, boolop ? OP_OTHER : OP_LOP3, lop3_run);
	memcpy(i->o, o, sizeof(o));
	i->imm = (int64_t)s->operand[4].value & 0xff;
	i->boolop = (uint8_t)boolop;
	i->neg = neg;
	i->type = T_B32;
}

static void lower_prmt(struct parser *p, struct stmt *s)
{
	unsigned mode;

	need_type(p, s);
	mode = has(s, "f4e")	? PRMT_F4E
	       : has(s, "b4e")	? PRMT_B4E
	       : has(s, "rc8")	? PRMT_RC8
	       : has(s, "ecl")	? PRMT_ECL
	       : has(s, "ecr")	? PRMT_ECR
	       : has(s, "rc16") ? PRMT_RC16
				: PRMT_PLAIN;
	lower_plain(p, s, mode == PRMT_PLAIN ? OP_PRMT : OP_OTHER, prmt_run, T_B32, 3)->sub =
		(uint8_t)mode;
}

const struct lowering lower_bits[] = {
	{"shf", lower_shf},	  {"popc", lower_popc},	  {"clz", lower_clz},	{"bfind", lower_bfind},
	{"brev", lower_brev},	  {"bfe", lower_bfe},	  {"bfi", lower_bfi},	{"bmsk", lower_bmsk},
	{"szext", lower_szext},	  {"fns", lower_fns},	  {"lop3", lower_lop3}, {"prmt", lower_prmt},
	{NULL, NULL},
};
