/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of small matrices by a whole warp: PTX ISA 9.7.14: wmma, mma, ldmatrix, stmatrix, movmatrix. Sums of
 * halves, bf16 and tf32 are made in single, of doubles in double, from the first product to the last, each rounded once
 * with its product. The interpreter does it for compiled kernels, too, so both agree.
 *
 * Where the elements of a wmma fragment lie is the machine's own affair (9.7.14.4); those of mma and ldmatrix are
 * the standard's.
 */
#include <math.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

enum { MATRIX_A, MATRIX_B, MATRIX_C };

enum { ELEMENTS_MAX = 512 }; /* of a matrix */

/* An element as it is computed with: f of halves, bf16, tf32 and single; d of double; i of integers. */
union number {
	float f;
	double d;
	int32_t i;
};

/* A product: sizes, what its matrices are made of, how many registers each has. */
struct product {
	uint8_t m, n, k;
	uint8_t a, b, c, d;		 /* enum ptx_type */
	uint8_t regs_a, regs_b, regs_c, regs_d; /* in the instruction's list: D, A, B, C */
	bool saturates;
};

static int all_lanes(struct warp *w, const struct insn *i, uint32_t mask)
{
	if (mask == UINT32_MAX)
		return 0;
	return warp_fault(w, i, (uint32_t)__builtin_ctz(mask), PTX_ERR_LAUNCH_FAILED, 0,
			  "A product of matrices needs all lanes of the warp.");
}

static union number number_of(unsigned type, uint64_t bits)
{
	switch (type) {
	case T_F16:
		return (union number){.f = half_to_float((uint16_t)bits)};
	case T_BF16:
		return (union number){.f = bf16_to_float((uint16_t)bits)};
	case T_TF32:
		return (union number){.f = f32_of(bits & 0xffffe000u)};
	case T_F64:
		return (union number){.d = f64_of(bits)};
	case T_S8:
		return (union number){.i = S8(bits)};
	case T_U8:
		return (union number){.i = (int32_t)A8(bits)};
	case T_S32:
		return (union number){.i = S32(bits)};
	default:
		return (union number){.f = f32_of(bits)};
	}
}

static uint64_t bits_of(unsigned type, union number v)
{
	switch (type) {
	case T_F16:
		return half_from_double((double)v.f, RND_RN);
	case T_F64:
		return f64_bits(v.d);
	case T_S32:
		return A32(v.i);
	default:
		return f32_bits(v.f);
	}
}

/* Elements in a register. */
static unsigned per_register(unsigned bytes)
{
	return bytes < 4 ? 4 / bytes : 1;
}

/* Element @e of the fragment in registers @x. */
static uint64_t fragment_get(const struct warp *w, const int32_t *x, unsigned bytes, unsigned e, uint32_t l)
{
	unsigned per = per_register(bytes);
	uint64_t v = op_col(w, x[e / per])[l] >> (e % per * bytes * 8);

	return bytes == 8 ? v : v & (UINT64_MAX >> (64 - 8 * bytes));
}

static void fragment_set(struct warp *w, const int32_t *x, unsigned bytes, unsigned e, uint32_t l, uint64_t v)
{
	unsigned per = per_register(bytes), shift = e % per * bytes * 8;
	uint64_t *c = &op_col(w, x[e / per])[l], mask = UINT64_MAX >> (64 - 8 * bytes);

	*c = per == 1 ? v : (*c & 0xffffffffu & ~(mask << shift)) | v << shift;
}

/*
 * D = A * B + C, in the order in which a row meets a column. @a: rows one after the other, @b: columns one after
 * the other. The sums begin as C.
 */
static void multiply(const struct product *p, const union number *a, const union number *b, union number *sum)
{
	for (unsigned r = 0; r < p->m; r++)
		for (unsigned s = 0; s < p->n; s++) {
			const union number *row = a + r * p->k, *column = b + s * p->k;
			union number *v = &sum[r * p->n + s];
			int64_t whole = v->i;

			if (p->a == T_F64) {
				for (unsigned k = 0; k < p->k; k++)
					v->d = fma(row[k].d, column[k].d, v->d);
			} else if (p->a == T_S8 || p->a == T_U8) {
				for (unsigned k = 0; k < p->k; k++)
					whole += row[k].i * column[k].i;
				if (p->saturates)
					whole = whole > INT32_MAX ? INT32_MAX : whole < INT32_MIN ? INT32_MIN : whole;
				v->i = S32(whole);
			} else {
				for (unsigned k = 0; k < p->k; k++)
					v->f = fmaf(row[k].f, column[k].f, v->f);
			}
		}
}

/* The registers of a list, of which there are @n. */
static void registers(struct parser *p, const struct operand *o, int32_t *x, unsigned n, unsigned type, bool write)
{
	if (o->kind == OPD_REG && n == 1) {
		x[0] = write ? opd_dst(p, o, type) : opd_value(p, o, type);
		return;
	}
	if (o->kind != OPD_VEC || o->count != n)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A list of %u registers is missing", n);
	for (unsigned k = 0; k < n; k++)
		x[k] = write ? opd_dst(p, &o->list[k], type) : opd_value(p, &o->list[k], type);
}

static unsigned register_type(unsigned type)
{
	return type == T_F64 ? T_F64 : T_B32;
}

static void product_emit(struct parser *p, struct stmt *s, run_fn *run, const struct product *q)
{
	struct product *kept = parse_alloc(p, sizeof(*kept));
	struct insn *i;
	int32_t x[40], *at = x;

	*kept = *q;
	want_operands(p, s, 4, 4);
	registers(p, &s->operand[0], at, q->regs_d, register_type(q->d), true);
	registers(p, &s->operand[1], at += q->regs_d, q->regs_a, register_type(q->a), false);
	registers(p, &s->operand[2], at += q->regs_a, q->regs_b, register_type(q->b), false);
	registers(p, &s->operand[3], at += q->regs_b, q->regs_c, register_type(q->c), false);
	i = emit(p, K_SYNC, OP_OTHER, run);
	i->o[5] = const_of(p, UINT32_MAX);
	i->ref = kept;
	i->nx = (uint8_t)(q->regs_d + q->regs_a + q->regs_b + q->regs_c);
	i->x = copy_list(p, x, i->nx);
}

/* Which types go together: those of A and B, C and D. */
static bool types_fit(const struct product *q)
{
	switch (q->a) {
	case T_F16:
		return q->b == q->a && (q->c == T_F32 || q->c == T_F16) && (q->d == T_F32 || q->d == T_F16);
	case T_BF16:
	case T_TF32:
		return q->b == q->a && q->c == T_F32 && q->d == T_F32;
	case T_S8:
	case T_U8:
		return (q->b == T_S8 || q->b == T_U8) && q->c == T_S32 && q->d == T_S32;
	case T_F64:
		return q->b == q->a && q->c == T_F64 && q->d == T_F64;
	default:
		return false;
	}
}

/* ------------------------------------------------------------------------------ wmma */

static const struct shape {
	const char *name;
	uint8_t m, n, k;
} shapes[] = {{"m16n16k16", 16, 16, 16}, {"m32n8k16", 32, 8, 16}, {"m8n32k16", 8, 32, 16},
	      {"m16n16k8", 16, 16, 8},	 {"m8n8k4", 8, 8, 4}};

static struct product take_shape(struct parser *p, struct stmt *s)
{
	for (unsigned k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++)
		if (has(s, shapes[k].name))
			return (struct product){.m = shapes[k].m, .n = shapes[k].n, .k = shapes[k].k};
	stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
}

static bool shape_fits(const struct product *q, unsigned type)
{
	bool small = q->k == 16 && (type == T_F16 || type == T_BF16 || type == T_S8 || type == T_U8);

	return small || (q->k == 8 && type == T_TF32) || (q->k == 4 && type == T_F64);
}

/* Halves of A and B are there twice or more, the rest once. */
static uint8_t fragment_registers(const struct product *q, unsigned which, unsigned type)
{
	unsigned all = which == MATRIX_A ? q->m * q->k : which == MATRIX_B ? q->k * q->n : q->m * q->n;

	if (type == T_F16 && which != MATRIX_C)
		return 8;
	return (uint8_t)(all / PTX_LANES / per_register(type_bytes(type)));
}

/*
 * Elements lie one after the other in the fragments of the lanes, from the first lane on: rows of A and C, columns of B.
 * sub: which matrix; boolop: rows lie in memory one after the other; vec: a store. ref: the product.
 */
static int wmma_move_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct product *q = i->ref;
	unsigned bytes = type_bytes(i->type), each = i->nx * per_register(bytes);
	unsigned minors = i->sub == MATRIX_C ? q->n : q->k, majors = i->sub == MATRIX_B ? q->n : q->m;
	bool store = i->vec;

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	{
		uint64_t base = (uint64_t)i->imm + (i->o[1] != PTX_NONE ? op_col(w, i->o[1])[l] : 0);
		uint64_t ld = A32(op_col(w, i->o[2])[l]);

		for (unsigned e = 0; e < each; e++) {
			unsigned n = (l * each + e) % (majors * minors), major = n / minors, minor = n % minors,
				 row = i->sub == MATRIX_B ? minor : major, column = i->sub == MATRIX_B ? major : minor;
			uint64_t at = base + (i->boolop ? row * ld + column : column * ld + row) * bytes;
			uint8_t *p = mem_at(w, i, l, i->space, at, bytes, store);
			uint64_t v = 0;

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

static void wmma_move(struct parser *p, struct stmt *s, bool store)
{
	unsigned which = has(s, "a") ? MATRIX_A : has(s, "b") ? MATRIX_B : MATRIX_C, space, type, n, list = store ? 1 : 0;
	bool row = has(s, "row"), fits;
	struct product *q = parse_alloc(p, sizeof(*q));
	struct address a;
	struct insn *i;
	int32_t x[8], ld;

	if (which == MATRIX_C && !has(s, store ? "d" : "c"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Which matrix is missing");
	if (!row && !has(s, "col"))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The layout is missing");
	*q = take_shape(p, s);
	space = take_space(s);
	type = need_type(p, s);
	if (which != MATRIX_C)
		fits = shape_fits(q, type);
	else
		fits = q->k == 4 ? type == T_F64 : type == T_F32 || (q->k == 16 && (type == T_F16 || type == T_S32));
	if (!fits)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
	want_operands(p, s, 2, 3);
	lower_address(p, &s->operand[1 - list], space, &a);
	n = fragment_registers(q, which, type);
	registers(p, &s->operand[list], x, n, register_type(type), !store);
	/* without a stride rows, or columns, lie close together */
	ld = s->operands == 3 ? opd_value(p, &s->operand[2], T_U32)
			      : const_of(p, which == MATRIX_A ? (row ? q->k : q->m)
					    : which == MATRIX_B ? (row ? q->n : q->k)
								: (row ? q->n : q->m));
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
	i->ref = q;
	i->x = copy_list(p, x, n);
	i->nx = (uint8_t)n;
}

/* A fragment as numbers, each where its place is. */
static void gather(const struct warp *w, const int32_t *x, unsigned regs, unsigned type, unsigned all, union number *to)
{
	unsigned bytes = type_bytes(type), each = regs * per_register(bytes);

	for (uint32_t l = 0; l < PTX_LANES; l++)
		for (unsigned e = 0; e < each; e++)
			to[(l * each + e) % all] = number_of(type, fragment_get(w, x, bytes, e, l));
}

static int wmma_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct product *q = i->ref;
	const int32_t *d = i->x, *a = d + q->regs_d, *b = a + q->regs_a, *c = b + q->regs_b;
	union number ma[ELEMENTS_MAX] = {0}, mb[ELEMENTS_MAX] = {0}, sum[ELEMENTS_MAX] = {0};
	unsigned bytes = type_bytes(q->d), each = q->regs_d * per_register(bytes), all = q->m * q->n;

	if (all_lanes(w, i, mask))
		return 1;
	gather(w, a, q->regs_a, q->a, q->m * q->k, ma);
	gather(w, b, q->regs_b, q->b, q->k * q->n, mb);
	gather(w, c, q->regs_c, q->c, all, sum);
	multiply(q, ma, mb, sum);
	FOR_LANES(mask, l)
	for (unsigned e = 0; e < each; e++)
		fragment_set(w, d, bytes, e, l, bits_of(q->d, sum[(l * each + e) % all]));
	return 0;
}

static void wmma_product(struct parser *p, struct stmt *s)
{
	struct product q = take_shape(p, s);
	unsigned t[4], n = 0;

	while (has(s, "row") || has(s, "col"))
		; /* how A and B lay in memory: their fragments know it */
	while (n < 4 && (t[n] = take_type(s)) != T_NONE)
		n++;
	if (n != 2 && n != 4)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Types are missing");
	q.d = (uint8_t)t[0];
	q.c = (uint8_t)t[n - 1];
	q.a = n == 4 ? (uint8_t)t[1] : T_F16;
	q.b = n == 4 ? (uint8_t)t[2] : T_F16;
	q.saturates = has(s, "satfinite");
	if (q.a == T_F64)
		has(s, "rn");
	if (!types_fit(&q) || q.a != q.b || !shape_fits(&q, q.a) || (q.saturates && type_float(q.a)))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
	q.regs_a = fragment_registers(&q, MATRIX_A, q.a);
	q.regs_b = fragment_registers(&q, MATRIX_B, q.b);
	q.regs_c = fragment_registers(&q, MATRIX_C, q.c);
	q.regs_d = fragment_registers(&q, MATRIX_C, q.d);
	product_emit(p, s, wmma_run, &q);
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

/* Figures of 9.7.14.5: registers are upper rows, lower rows, then further columns; lanes by four share a row. */
static int mma_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const struct product *q = i->ref;
	const int32_t *d = i->x, *a = d + q->regs_d, *b = a + q->regs_a, *c = b + q->regs_b;
	unsigned bytes = type_bytes(q->a), each = per_register(bytes), halves = q->m / 8, mine = q->m * q->n / PTX_LANES;
	union number ma[ELEMENTS_MAX] = {0}, mb[ELEMENTS_MAX] = {0}, sum[ELEMENTS_MAX] = {0};

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	{
		unsigned g = l / 4, t = l % 4;

		for (unsigned e = 0; e < q->regs_a * each; e++) {
			unsigned r = e / each, row = g + r % halves * 8, column = (r / halves * 4 + t) * each + e % each;

			ma[row * q->k + column] = number_of(q->a, fragment_get(w, a, bytes, e, l));
		}
		for (unsigned e = 0; e < q->regs_b * each; e++)
			mb[g * q->k + (e / each * 4 + t) * each + e % each] =
				number_of(q->b, fragment_get(w, b, bytes, e, l));
		for (unsigned e = 0; e < mine; e++)
			sum[(g + e / 2 * 8) * q->n + t * 2 + e % 2] =
				number_of(q->c, fragment_get(w, c, type_bytes(q->c), e, l));
	}
	multiply(q, ma, mb, sum);
	FOR_LANES(mask, l)
	for (unsigned e = 0; e < mine; e++)
		fragment_set(w, d, type_bytes(q->d), e, l,
			     bits_of(q->d, sum[(l / 4 + e / 2 * 8) * q->n + l % 4 * 2 + e % 2]));
	return 0;
}

static void lower_mma(struct parser *p, struct stmt *s)
{
	/* how deep each may be, in bytes of a row of A: 16, and half and twice as much where there is that */
	static const struct {
		const char *name;
		uint8_t m, k;
		uint8_t bytes[3]; /* of A's elements */
	} forms[] = {{"m16n8k32", 16, 32, {1}},	  {"m16n8k16", 16, 16, {1, 2, 8}}, {"m16n8k8", 16, 8, {2, 4, 8}},
		     {"m16n8k4", 16, 4, {4, 8}}, {"m8n8k16", 8, 16, {1}},	  {"m8n8k4", 8, 4, {8}}};
	struct product q = {.n = 8};
	const uint8_t *bytes = NULL;
	unsigned each;

	has(s, "sync");
	has(s, "aligned");
	for (unsigned k = 0; k < sizeof(forms) / sizeof(forms[0]) && !bytes; k++)
		if (has(s, forms[k].name)) {
			q.m = forms[k].m;
			q.k = forms[k].k;
			bytes = forms[k].bytes;
		}
	if (!bytes || !has(s, "row") || !has(s, "col"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape");
	q.saturates = has(s, "satfinite");
	q.d = (uint8_t)need_type(p, s);
	q.a = (uint8_t)need_type(p, s);
	q.b = (uint8_t)need_type(p, s);
	q.c = (uint8_t)need_type(p, s);
	if (q.a == T_F64)
		has(s, "rn");
	if (!types_fit(&q) || (q.saturates && type_float(q.a)) || !memchr(bytes, (int)type_bytes(q.a), 3) ||
	    (q.a == T_F64 && q.m == 8) != (q.m == 8 && q.k == 4))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for these types");
	each = per_register(type_bytes(q.a));
	q.regs_a = (uint8_t)(q.m * q.k / PTX_LANES / each);
	q.regs_b = (uint8_t)(q.k * q.n / PTX_LANES / each);
	q.regs_c = (uint8_t)(q.m * q.n / PTX_LANES / per_register(type_bytes(q.c)));
	q.regs_d = (uint8_t)(q.m * q.n / PTX_LANES / per_register(type_bytes(q.d)));
	product_emit(p, s, mma_run, &q);
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

/* The other way: where lane l says, row l % 8 of matrix l / 8 is stored. */
static int stmatrix_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint16_t m[4][8][8];

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	for (unsigned k = 0; k < i->nx; k++)
		for (unsigned h = 0; h < 2; h++) {
			unsigned r = l / 4, c = l % 4 * 2 + h;
			uint16_t v = A16(op_col(w, i->x[k])[l] >> (16 * h));

			if (i->sub)
				m[k][c][r] = v;
			else
				m[k][r][c] = v;
		}
	for (uint32_t l = 0; l < i->nx * 8u; l++) {
		uint64_t at = (uint64_t)i->imm + (i->o[1] != PTX_NONE ? op_col(w, i->o[1])[l] : 0);
		uint8_t *p = mem_at(w, i, l, i->space, at, 16, true);

		if (!p)
			return 1;
		memcpy(p, m[l / 8][l % 8], 16);
	}
	return 0;
}

/* Eight rows of eight halves, over the lanes, turned round. */
static int movmatrix_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	uint16_t m[8][8];

	if (all_lanes(w, i, mask))
		return 1;
	FOR_LANES(mask, l)
	for (unsigned h = 0; h < 2; h++)
		m[l % 4 * 2 + h][l / 4] = A16(op_col(w, i->o[1])[l] >> (16 * h));
	FOR_LANES(mask, l)
	op_col(w, i->o[0])[l] = (uint32_t)m[l / 4][l % 4 * 2] | (uint32_t)m[l / 4][l % 4 * 2 + 1] << 16;
	return 0;
}

/* ldmatrix, or stmatrix: the same with address and registers in the other order. */
static void lower_matrix_move(struct parser *p, struct stmt *s, bool store)
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
	lower_address(p, &s->operand[!store], space, &a);
	registers(p, &s->operand[store], x, n, T_B32, !store);
	i = emit(p, K_SYNC, OP_OTHER, store ? stmatrix_run : ldmatrix_run);
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

static void lower_ldmatrix(struct parser *p, struct stmt *s)
{
	lower_matrix_move(p, s, false);
}

static void lower_stmatrix(struct parser *p, struct stmt *s)
{
	lower_matrix_move(p, s, true);
}

static void lower_movmatrix(struct parser *p, struct stmt *s)
{
	struct insn *i;
	int32_t a, d;

	has(s, "sync");
	has(s, "aligned");
	if (!has(s, "m8n8") || !has(s, "trans") || need_type(p, s) != T_B16)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this shape or type");
	want_operands(p, s, 2, 2);
	a = opd_value(p, &s->operand[1], T_B32);
	d = opd_dst(p, &s->operand[0], T_B32);
	i = emit(p, K_SYNC, OP_OTHER, movmatrix_run);
	i->o[0] = d;
	i->o[1] = a;
	i->o[5] = const_of(p, UINT32_MAX);
}

const struct lowering lower_matrix[] = {
	{"wmma", lower_wmma},
	{"mma", lower_mma},
	{"ldmatrix", lower_ldmatrix},
	{"stmatrix", lower_stmatrix},
	{"movmatrix", lower_movmatrix},
	{NULL, NULL},
};
