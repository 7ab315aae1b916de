/* SPDX-License-Identifier: Apache-2.0 */
/* Atomics and fences: PTX ISA 9.7.13. Lanes go one after the other, lowest first. */
#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

enum {
	AT_AND,
	AT_OR,
	AT_XOR,
	AT_EXCH,
	AT_ADD,
	AT_INC,
	AT_DEC,
	AT_MIN,
	AT_MAX,
	AT_CAS,
};

static uint64_t half_add(uint64_t a, uint64_t b, unsigned type)
{
	bool bf = type == T_BF16 || type == T_BF16X2;
	unsigned n = type == T_F16X2 || type == T_BF16X2 ? 2 : 1;
	uint64_t r = 0;

	for (unsigned k = 0; k < n; k++) {
		uint16_t x = A16(a >> 16 * k), y = A16(b >> 16 * k);
		uint64_t v = bf ? bf16_from_double(add_odd((double)bf16_to_float(x),
							   (double)bf16_to_float(y)),
						   RND_RN)
				: half_from_double((double)half_to_float(x) +
							   (double)half_to_float(y),
						   RND_RN);

		r |= v << 16 * k;
	}
	return r;
}

static uint64_t half_minmax(uint64_t a, uint64_t b, const struct insn *i)
{
	bool bf = i->type == T_BF16 || i->type == T_BF16X2;
	unsigned n = i->type == T_F16X2 || i->type == T_BF16X2 ? 2 : 1;
	uint64_t r = 0;

	for (unsigned k = 0; k < n; k++) {
		uint16_t x = A16(a >> 16 * k), y = A16(b >> 16 * k);
		float u = bf ? bf16_to_float(x) : half_to_float(x);
		float v = bf ? bf16_to_float(y) : half_to_float(y);
		float m = i->sub == AT_MIN ? min_f32(u, v) : max_f32(u, v);

		r |= (uint64_t)(bf ? bf16_from_double((double)m, RND_RN)
				   : half_from_double((double)m, RND_RN))
		     << 16 * k;
	}
	return r;
}

/* What is to be in memory where @a is now. */
static uint64_t apply(const struct insn *i, uint64_t a, uint64_t b, uint64_t c)
{
	bool sign = type_signed(i->type);

	switch (i->sub) {
	case AT_AND:
		return a & b;
	case AT_OR:
		return a | b;
	case AT_XOR:
		return a ^ b;
	case AT_EXCH:
		return b;
	case AT_CAS:
		return a == b ? c : a;
	case AT_INC:
		return A32(a) >= A32(b) ? 0 : a + 1;
	case AT_DEC:
		return A32(a) == 0 || A32(a) > A32(b) ? b : a - 1;
	case AT_ADD:
		if (i->type == T_F32)
			return f32_bits(f32_of(a) + f32_of(b));
		if (i->type == T_F64)
			return f64_bits(f64_of(a) + f64_of(b));
		if (i->type >= T_F16 && i->type <= T_BF16X2)
			return half_add(a, b, i->type);
		return a + b;
	default:
		if (i->type == T_F32)
			return f32_bits(i->sub == AT_MIN ? min_f32(f32_of(a), f32_of(b))
							 : max_f32(f32_of(a), f32_of(b)));
		if (i->type >= T_F16 && i->type <= T_BF16X2)
			return half_minmax(a, b, i);
		if (type_bytes(i->type) == 4) {
			bool less = sign ? S32(a) < S32(b) : A32(a) < A32(b);

			return less == (i->sub == AT_MIN) ? a : b;
		} else {
			bool less = sign ? S64(a) < S64(b) : a < b;

			return less == (i->sub == AT_MIN) ? a : b;
		}
	}
}

#define EXCHANGE(T)                                                                                \
	do {                                                                                       \
		T seen = __atomic_load_n((T *)(void *)p, __ATOMIC_RELAXED);                        \
                                                                                                   \
		while (!__atomic_compare_exchange_n((T *)(void *)p, &seen,                         \
						    (T)apply(i, seen, (T)b, (T)c), true,           \
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))           \
			;                                                                          \
		old = seen;                                                                        \
	} while (0)

static uint64_t exchange(const struct insn *i, uint8_t *p, uint64_t b, uint64_t c)
{
	uint64_t old;

	switch (type_bytes(i->type)) {
	case 2:
		EXCHANGE(uint16_t);
		break;
	case 4:
		EXCHANGE(uint32_t);
		break;
	default:
		EXCHANGE(uint64_t);
	}
	return old;
}

/* o: d, base, b, c */
static int atom_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	const uint64_t *b = op_col(w, i->o[2]), *c = i->o[3] == PTX_NONE ? b : op_col(w, i->o[3]);
	unsigned bytes = type_bytes(i->type);

	FOR_LANES(mask, l)
	{
		uint64_t at = (uint64_t)i->imm + (i->o[1] == PTX_NONE ? 0 : op_col(w, i->o[1])[l]);
		uint8_t *p;
		uint64_t old;

		if (i->space == SP_FRAME)
			at += w->group_local;
		p = mem_at(w, i, l, i->space, at, bytes, true);
		if (!p)
			return 1;
		old = exchange(i, p, b[l], c[l]);
		if (i->o[0] != PTX_NONE)
			op_col(w, i->o[0])[l] = old;
	}
	return 0;
}

/* A vector of floats is added element by element. */
static int atom_vec_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type);

	FOR_LANES(mask, l)
	{
		uint64_t at = (uint64_t)i->imm + (i->o[1] == PTX_NONE ? 0 : op_col(w, i->o[1])[l]);
		uint8_t *p = mem_at(w, i, l, i->space, at, bytes * i->vec, true);
		uint64_t old[8];

		if (!p)
			return 1;
		for (unsigned k = 0; k < i->vec; k++) {
			uint64_t b = op_col(w, i->x[i->vec + k])[l];

			old[k] = exchange(i, p + k * bytes, b, b);
		}
		for (unsigned k = 0; k < i->vec; k++)
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] = old[k];
	}
	return 0;
}

/* exch and cas of 128 bits, under one lock: all of these go through here. */
static pthread_mutex_t wide_lock = PTHREAD_MUTEX_INITIALIZER;

static int atom128_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	FOR_LANES(mask, l)
	{
		uint64_t at = (uint64_t)i->imm + (i->o[1] == PTX_NONE ? 0 : op_col(w, i->o[1])[l]);
		uint8_t *p = mem_at(w, i, l, i->space, at, 16, true);
		uint64_t old[2], b[2] = {op_col(w, i->o[2])[l], op_col(w, i->o[2] + 1)[l]};

		if (!p)
			return 1;
		pthread_mutex_lock(&wide_lock);
		memcpy(old, p, 16);
		if (i->sub == AT_EXCH) {
			memcpy(p, b, 16);
		} else if (old[0] == b[0] && old[1] == b[1]) {
			uint64_t c[2] = {op_col(w, i->o[3])[l], op_col(w, i->o[3] + 1)[l]};

			memcpy(p, c, 16);
		}
		pthread_mutex_unlock(&wide_lock);
		if (i->o[0] != PTX_NONE) {
			op_col(w, i->o[0])[l] = old[0];
			op_col(w, i->o[0] + 1)[l] = old[1];
		}
	}
	return 0;
}

static bool fits(unsigned op, unsigned type)
{
	unsigned bytes = type_bytes(type);
	bool half = type >= T_F16 && type <= T_BF16X2;

	switch (op) {
	case AT_AND:
	case AT_OR:
	case AT_XOR:
	case AT_EXCH:
		return bytes == 4 || bytes == 8 || (op == AT_EXCH && bytes == 16);
	case AT_CAS:
		return bytes >= 2;
	case AT_INC:
	case AT_DEC:
		return type == T_U32;
	case AT_ADD:
		return half || type == T_F32 || type == T_F64 ||
		       ((bytes == 4 || bytes == 8) && !type_float(type));
	default:
		return half || type == T_F32 || (!type_float(type) && (bytes == 4 || bytes == 8));
	}
}

static void lower_atomic_op(struct parser *p, struct stmt *s, bool result)
{
	static const char *const names[] = {"and", "or",  "xor", "exch", "add",
					    "inc", "dec", "min", "max",	 "cas"};
	unsigned op = 10, space, type, vec, first = result ? 1 : 0;
	int32_t d = PTX_NONE, b, c = PTX_NONE;
	struct address a;
	struct insn *i;

	for (unsigned k = 0; k < 10; k++)
		if (has(s, names[k]))
			op = k;
	take_hints(s);
	has(s, "acq_rel");
	has(s, "noftz");
	if (has(s, "async"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	space = take_space(s);
	vec = take_vec(s);
	type = need_type(p, s);
	if (op == 10 || !fits(op, type))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type");
	want_operands(p, s, first + (op == AT_CAS ? 3 : 2), first + (op == AT_CAS ? 4 : 3));
	lower_address(p, &s->operand[first], space, &a);
	if (vec > 1) {
		struct operand *v = &s->operand[first + 1], *r = &s->operand[0];
		int32_t x[16];

		if (op == AT_CAS || v->kind != OPD_VEC || v->count != vec ||
		    (result && (r->kind != OPD_VEC || r->count != vec)))
			stmt_fail(p, PTX_ERR_INVALID_PTX, "A vector of %u is missing", vec);
		for (unsigned k = 0; k < vec; k++) {
			x[k] = !result || r->list[k].kind == OPD_SINK
				       ? PTX_NONE
				       : opd_dst(p, &r->list[k], type);
			x[vec + k] = opd_value(p, &v->list[k], type);
		}
		i = emit(p, K_PLAIN, OP_OTHER, atom_vec_run);
		i->x = copy_list(p, x, 2 * vec);
		i->vec = (uint8_t)vec;
		i->nx = (uint8_t)(2 * vec);
	} else {
		b = opd_value(p, &s->operand[first + 1], type);
		if (op == AT_CAS)
			c = opd_value(p, &s->operand[first + 2], type);
		if (result && s->operand[0].kind != OPD_SINK)
			d = opd_dst(p, &s->operand[0], type);
		i = emit(p, K_PLAIN, OP_OTHER, type == T_B128 ? atom128_run : atom_run);
		i->o[0] = d;
		i->o[2] = b;
		i->o[3] = c;
	}
	i->o[1] = a.base;
	i->imm = a.offset;
	i->space = (uint8_t)a.space;
	i->type = (uint8_t)type;
	i->sub = (uint8_t)op;
	i->together = true;
}

static void lower_atom(struct parser *p, struct stmt *s)
{
	lower_atomic_op(p, s, true);
}

static void lower_red(struct parser *p, struct stmt *s)
{
	lower_atomic_op(p, s, false);
}

static int fence_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	(void)w;
	(void)i;
	(void)mask;
	atomic_thread_fence(memory_order_seq_cst);
	return 0;
}

static void lower_fence(struct parser *p, struct stmt *s)
{
	static const char *const names[] = {"gl",	"sc",	"acq_rel",
					    "proxy",	"alias", "async",
					    "async::generic", "async.global", "global",
					    "shared",	"shared::cta", "sync_restrict::shared::cta",
					    "mbarrier_init", "sync_restrict::shared::cluster"};

	take_hints(s);
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		has(s, names[k]);
	emit(p, K_PLAIN, OP_OTHER, fence_run);
}

const struct lowering lower_atomic[] = {
	{"atom", lower_atom},
	{"red", lower_red},
	{"membar", lower_fence},
	{"fence", lower_fence},
	{NULL, NULL},
};
