/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of small matrices by a whole warp: PTX ISA 9.7.14. wmma with m16n16k16 and mma with m16n8k16 (halves and
 * bf16) and m16n8k8 (tf32), ldmatrix. Sums are made in single, from the first product to the last, each
 * rounded once with its product: the interpreter does it for compiled kernels, too, so both agree.
 *
 * Where the elements of a wmma fragment lie is the machine's own affair (9.7.14.4); those of mma and ldmatrix are
 * the standard's.
 */
#include <math.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

enum { WMMA_A, WMMA_B, WMMA_C };

enum {
	SIDE = 16, /* of a wmma matrix */
	HALVES = 2, /* in a register */
};

static int all_lanes(struct warp *w, const struct insn *i, uint32_t mask)
{
	if (mask == UINT32_MAX)
		return 0;
	return warp_fault(w, i, (uint32_t)__builtin_ctz(mask), PTX_ERR_LAUNCH_FAILED, 0,
			  "A product of matrices needs all lanes of the warp.");
}

static float element_float(unsigned type, uint32_t bits)
{
	switch (type) {
	case T_F16:
		return half_to_float((uint16_t)bits);
	case T_BF16:
		return bf16_to_float((uint16_t)bits);
	case T_TF32:
		return f32_of(bits & 0xffffe000u);
	default:
		return f32_of(bits);
	}
}

static uint32_t element_bits(unsigned type, float v)
{
	return type == T_F16 ? half_from_double((double)v, RND_RN) : (uint32_t)f32_bits(v);
}

/* Element @e of the fragment in registers @x. */
static uint32_t fragment_get(const struct warp *w, const int32_t *x, unsigned bytes, unsigned e, uint32_t l)
{
	if (bytes == 4)
		return A32(op_col(w, x[e])[l]);
	return A16(op_col(w, x[e / HALVES])[l] >> (e % HALVES * 16));
}

static void fragment_set(struct warp *w, const int32_t *x, unsigned bytes, unsigned e, uint32_t l, uint32_t v)
{
	uint64_t *c = op_col(w, x[bytes == 4 ? e : e / HALVES]);

	if (bytes == 4)
		c[l] = v;
	else if (e % HALVES == 0)
		c[l] = (c[l] & 0xffff0000u) | v;
	else
		c[l] = (c[l] & 0xffffu) | v << 16;
}

/* ------------------------------------------------------------------------------ wmma */

/* A lane has a row (of B: a column), or half of one; @first: where its elements begin. */
static void wmma_place(unsigned elements, uint32_t l, unsigned *row, unsigned *first)
{
	*row = elements == SIDE ? l % SIDE : l / 2;
	*first = elements == SIDE ? 0 : l % 2 * (SIDE / 2);
}

static unsigned wmma_elements(const struct insn *i)
{
	return i->nx * (4 / type_bytes(i->type));
}

/* sub: which matrix; boolop: rows lie in memory one after the other; vec: a store. */
static int wmma_move_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type), n = wmma_elements(i);
	bool store = i->vec;

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	{
		uint64_t base = (uint64_t)i->imm + (i->o[1] != PTX_NONE ? op_col(w, i->o[1])[l] : 0);
		uint64_t ld = A32(op_col(w, i->o[2])[l]);
		unsigned major, first;

		wmma_place(n, l, &major, &first);
		for (unsigned e = 0; e < n; e++) {
			unsigned minor = first + e, row = i->sub == WMMA_B ? minor : major,
				 column = i->sub == WMMA_B ? major : minor;
			uint64_t at = base + (i->boolop ? row * ld + column : column * ld + row) * bytes;
			uint8_t *p = mem_at(w, i, l, i->space, at, bytes, store);
			uint32_t v = 0;

			if (!p)
				return 1;
			if (store) {
				v = fragment_get(w, i->x, bytes, e, l);
				memcpy(p, &v, bytes);
			} else {
				memcpy(&v, p, bytes);
				fragment_set(w, i->x, bytes, e, l, v);
			}
		}
	}
	return 0;
}

/* The registers of a list, of which there may be @least or @most. */
static unsigned registers(struct parser *p, const struct operand *o, int32_t *x, unsigned least, unsigned most, bool write)
{
	if (o->kind != OPD_VEC || (o->count != least && o->count != most))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A list of %u registers is missing", most);
	for (unsigned k = 0; k < o->count; k++)
		x[k] = write ? opd_dst(p, &o->list[k], T_B32) : opd_value(p, &o->list[k], T_B32);
	return o->count;
}

static void wmma_move(struct parser *p, struct stmt *s, bool store)
{
	unsigned which = has(s, "a") ? WMMA_A : has(s, "b") ? WMMA_B : WMMA_C, space, type, n, list = store ? 1 : 0;
	bool row = has(s, "row");
	struct address a;
	struct insn *i;
	int32_t x[8], ld;

	if (which == WMMA_C && !has(s, store ? "d" : "c"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Which matrix is missing");
	if (!row && !has(s, "col"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The layout is missing");
	space = take_space(s);
	type = need_type(p, s);
	if (!has(s, "m16n16k16") ||
	    !(which == WMMA_C ? type == T_F16 || type == T_F32 : type == T_F16 || type == T_BF16))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
	want_operands(p, s, 2, 3);
	lower_address(p, &s->operand[1 - list], space, &a);
	if (which == WMMA_C)
		n = type == T_F32 ? 8 : 4;
	else
		n = type == T_F16 ? 8 : 4;
	registers(p, &s->operand[list], x, n, n, !store);
	ld = s->operands == 3 ? opd_value(p, &s->operand[2], T_U32) : const_of(p, SIDE);
	i = emit(p, K_SYNC, OP_OTHER, wmma_move_run);
	i->o[1] = a.base;
	i->o[2] = ld;
	i->o[5] = const_of(p, UINT32_MAX);
	i->imm = a.offset;
	i->space = (uint8_t)a.space;
	i->type = (uint8_t)type;
	i->sub = (uint8_t)which;
	i->boolop = row;
	i->vec = store;
	i->x = copy_list(p, x, n);
	i->nx = (uint8_t)n;
}

/* The numbers of registers of D, A, B, C in an instruction's list. */
struct parts {
	uint8_t d, a, b, c;
};

/* type: of A and B; type2: of C; cmp: of D. */
static int wmma_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct parts *n = i->ref;
	const int32_t *d = i->x, *a = d + n->d, *b = a + n->a, *c = b + n->b;
	unsigned ab = n->a * HALVES, out = n->d * (4 / type_bytes(i->cmp));
	float ma[SIDE][SIDE], mb[SIDE][SIDE], sum[SIDE][SIDE];

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	{
		unsigned major, first;

		wmma_place(ab, l, &major, &first);
		for (unsigned e = 0; e < ab; e++) {
			ma[major][first + e] = element_float(i->type, fragment_get(w, a, 2, e, l));
			mb[first + e][major] = element_float(i->type, fragment_get(w, b, 2, e, l));
		}
		wmma_place(SIDE / 2, l, &major, &first);
		for (unsigned e = 0; e < SIDE / 2; e++)
			sum[major][first + e] =
				element_float(i->type2, fragment_get(w, c, type_bytes(i->type2), e, l));
	}
	for (unsigned r = 0; r < SIDE; r++)
		for (unsigned s = 0; s < SIDE; s++)
			for (unsigned k = 0; k < SIDE; k++)
				sum[r][s] = fmaf(ma[r][k], mb[k][s], sum[r][s]);
	FOR_LANES(mask, l)
	{
		unsigned major, first;

		wmma_place(SIDE / 2, l, &major, &first);
		for (unsigned e = 0; e < out; e++)
			fragment_set(w, d, type_bytes(i->cmp), e, l, element_bits(i->cmp, sum[major][first + e]));
	}
	return 0;
}

static void product_emit(struct parser *p, struct stmt *s, run_fn *run, struct parts n, unsigned ab, unsigned c_type,
			 unsigned d_type)
{
	struct parts *kept = parse_alloc(p, sizeof(*kept));
	struct insn *i;
	int32_t x[32];

	*kept = n;
	want_operands(p, s, 4, 4);
	registers(p, &s->operand[0], x, n.d, n.d, true);
	registers(p, &s->operand[1], x + n.d, n.a, n.a, false);
	registers(p, &s->operand[2], x + n.d + n.a, n.b, n.b, false);
	registers(p, &s->operand[3], x + n.d + n.a + n.b, n.c, n.c, false);
	i = emit(p, K_SYNC, OP_OTHER, run);
	i->o[5] = const_of(p, UINT32_MAX);
	i->type = (uint8_t)ab;
	i->type2 = (uint8_t)c_type;
	i->cmp = (uint8_t)d_type;
	i->ref = kept;
	i->nx = (uint8_t)(n.d + n.a + n.b + n.c);
	i->x = copy_list(p, x, i->nx);
}

static void wmma_product(struct parser *p, struct stmt *s)
{
	unsigned t[4], n = 0, ab, c, d;
	uint8_t registers_ab;

	while (has(s, "row") || has(s, "col"))
		; /* how A and B lay in memory: their fragments know it */
	while (n < 4 && (t[n] = take_type(s)) != T_NONE)
		n++;
	if (n != 2 && n != 4)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Types are missing");
	d = t[0];
	c = t[n - 1];
	ab = n == 4 ? t[1] : T_F16;
	if (!has(s, "m16n16k16") || (ab != T_F16 && ab != T_BF16) || (n == 4 && t[2] != ab) ||
	    (c != T_F32 && c != T_F16) || (d != T_F32 && d != T_F16))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
	registers_ab = ab == T_F16 ? 8 : 4;
	product_emit(p, s, wmma_run,
		     (struct parts){d == T_F32 ? 8 : 4, registers_ab, registers_ab, c == T_F32 ? 8 : 4}, ab, c, d);
}

static void lower_wmma(struct parser *p, struct stmt *s)
{
	has(s, "sync");
	has(s, "aligned");
	if (has(s, "load"))
		wmma_move(p, s, false);
	else if (has(s, "store"))
		wmma_move(p, s, true);
	else if (has(s, "mma"))
		wmma_product(p, s);
	else
		stmt_fail(p, PTX_ERR_INVALID_PTX, "load, store or mma is missing");
}

/* ------------------------------------------------------------------------------ mma */

/* m16n8k16 of halves, m16n8k8 of halves and tf32: figures of 9.7.14.5. */
static int mma_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	enum { M = 16, N = 8, K = 16 };
	const struct parts *n = i->ref;
	const int32_t *d = i->x, *a = d + n->d, *b = a + n->a, *c = b + n->b;
	unsigned bytes = type_bytes(i->type) == 2 ? 2 : 4, each = bytes == 2 ? 2 : 1, depth = n->b * 4 * each;
	float ma[M][K], mb[K][N], sum[M][N];

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	{
		unsigned g = l / 4, t = l % 4;

		for (unsigned e = 0; e < n->a * each; e++) /* registers: upper rows, lower rows, further columns */
			ma[g + e / each % 2 * 8][e / each / 2 * 4 * each + t * each + e % each] =
				element_float(i->type, fragment_get(w, a, bytes, e, l));
		for (unsigned e = 0; e < n->b * each; e++)
			mb[e / each * 4 * each + t * each + e % each][g] =
				element_float(i->type, fragment_get(w, b, bytes, e, l));
		for (unsigned e = 0; e < 4; e++)
			sum[g + e / 2 * 8][t * 2 + e % 2] =
				element_float(i->type2, fragment_get(w, c, type_bytes(i->type2), e, l));
	}
	for (unsigned r = 0; r < M; r++)
		for (unsigned s = 0; s < N; s++)
			for (unsigned k = 0; k < depth; k++)
				sum[r][s] = fmaf(ma[r][k], mb[k][s], sum[r][s]);
	FOR_LANES(mask, l)
	for (unsigned e = 0; e < 4; e++)
		fragment_set(w, d, type_bytes(i->cmp), e, l,
			     element_bits(i->cmp, sum[l / 4 + e / 2 * 8][l % 4 * 2 + e % 2]));
	return 0;
}

static void lower_mma(struct parser *p, struct stmt *s)
{
	unsigned d, a, b, c;
	bool deep;

	has(s, "sync");
	has(s, "aligned");
	deep = has(s, "m16n8k16");
	if ((!deep && !has(s, "m16n8k8")) || !has(s, "row") || !has(s, "col"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape");
	d = need_type(p, s);
	a = need_type(p, s);
	b = need_type(p, s);
	c = need_type(p, s);
	if (a != b || (a != T_F16 && a != T_BF16 && (a != T_TF32 || deep)) || (d != T_F32 && d != T_F16) ||
	    (c != T_F32 && c != T_F16))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for these types");
	if (a == T_TF32)
		product_emit(p, s, mma_run, (struct parts){4, 4, 2, 4}, a, c, d);
	else
		product_emit(p, s, mma_run,
			     (struct parts){d == T_F32 ? 4 : 2, deep ? 4 : 2, deep ? 2 : 1, c == T_F32 ? 4 : 2}, a, c, d);
}

/* ------------------------------------------------------------------------------ ldmatrix */

/* Eight rows of eight halves each, one to four times: lane l says where a row is, each lane gets two halves of it. */
static int ldmatrix_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint16_t m[4][8][8];

	if (all_lanes(w, i, mask))
		return 1;
	for (uint32_t l = 0; l < i->nx * 8u; l++) {
		uint64_t at = (uint64_t)i->imm + (i->o[1] != PTX_NONE ? op_col(w, i->o[1])[l] : 0);
		const uint8_t *p = mem_at(w, i, l, i->space, at, sizeof(m[0][0]), false);

		if (!p)
			return 1;
		memcpy(m[l / 8][l % 8], p, sizeof(m[0][0]));
	}
	FOR_LANES(mask, l)
	for (unsigned k = 0; k < i->nx; k++) {
		unsigned r = l / 4, c = l % 4 * 2;
		uint32_t low = i->sub ? m[k][c][r] : m[k][r][c], high = i->sub ? m[k][c + 1][r] : m[k][r][c + 1];

		op_col(w, i->x[k])[l] = low | high << 16;
	}
	return 0;
}

static void lower_ldmatrix(struct parser *p, struct stmt *s)
{
	unsigned n, space;
	struct address a;
	struct insn *i;
	int32_t x[4];

	has(s, "sync");
	has(s, "aligned");
	n = has(s, "x4") ? 4 : has(s, "x2") ? 2 : has(s, "x1") ? 1 : 0;
	if (!n || !has(s, "m8n8"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape");
	want_operands(p, s, 2, 2);
	space = take_space(s);
	lower_address(p, &s->operand[1], space, &a);
	registers(p, &s->operand[0], x, n, n, true);
	i = emit(p, K_SYNC, OP_OTHER, ldmatrix_run);
	i->sub = has(s, "trans");
	if (need_type(p, s) != T_B16)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	i->o[1] = a.base;
	i->o[5] = const_of(p, UINT32_MAX);
	i->imm = a.offset;
	i->space = (uint8_t)a.space;
	i->type = T_B16;
	i->x = copy_list(p, x, n);
	i->nx = (uint8_t)n;
}

const struct lowering lower_matrix[] = {
	{"wmma", lower_wmma},
	{"mma", lower_mma},
	{"ldmatrix", lower_ldmatrix},
	{NULL, NULL},
};
