/* SPDX-License-Identifier: Apache-2.0 */
/* What the lowering of all instructions uses. A part of an opcode that nobody takes is an error. */
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/parse.h"

#define CODE_MAX      (16u << 20)
#define CONSTANTS_MAX (4u << 20)

const char *const type_names[T_TYPES] = {
	[T_PRED] = ".pred",	[T_B8] = ".b8",		[T_B16] = ".b16",
	[T_B32] = ".b32",	[T_B64] = ".b64",	[T_B128] = ".b128",
	[T_U8] = ".u8",		[T_U16] = ".u16",	[T_U32] = ".u32",
	[T_U64] = ".u64",	[T_S8] = ".s8",		[T_S16] = ".s16",
	[T_S32] = ".s32",	[T_S64] = ".s64",	[T_F16] = ".f16",
	[T_BF16] = ".bf16",	[T_F16X2] = ".f16x2",	[T_BF16X2] = ".bf16x2",
	[T_TF32] = ".tf32",	[T_F32] = ".f32",	[T_F64] = ".f64",
	[T_U16X2] = ".u16x2",	[T_S16X2] = ".s16x2",	[T_E4M3] = ".e4m3",
	[T_E5M2] = ".e5m2",	[T_E4M3X2] = ".e4m3x2", [T_E5M2X2] = ".e5m2x2",
	[T_B1] = ".b1",		[T_S4] = ".s4",		[T_U4] = ".u4",
};

unsigned type_bytes(unsigned type)
{
	switch (type) {
	case T_B8:
	case T_U8:
	case T_S8:
	case T_E4M3:
	case T_E5M2:
		return 1;
	case T_B16:
	case T_U16:
	case T_S16:
	case T_F16:
	case T_BF16:
	case T_E4M3X2:
	case T_E5M2X2:
		return 2;
	case T_B64:
	case T_U64:
	case T_S64:
	case T_F64:
		return 8;
	case T_B128:
		return 16;
	default:
		return 4;
	}
}

bool type_signed(unsigned type)
{
	return type == T_S8 || type == T_S16 || type == T_S32 || type == T_S64 || type == T_S16X2;
}

bool type_float(unsigned type)
{
	return type == T_F16 || type == T_BF16 || type == T_F32 || type == T_F64 || type == T_TF32;
}

unsigned parse_type_name(const char *at, uint32_t length)
{
	for (unsigned t = T_PRED; t < T_TYPES; t++)
		if (text_is(at, length, type_names[t]))
			return t;
	return T_NONE;
}

/* ------------------------------------------------------------------------------ instructions */

struct insn *emit(struct parser *p, unsigned kind, unsigned op, run_fn *run)
{
	struct ptx_module *m = p->m;
	struct insn *i;

	if (m->code_count == m->code_room) {
		uint32_t room = m->code_room ? 2 * m->code_room : 1024;
		struct insn *code;

		if (room > CODE_MAX)
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, p->stmt_line,
				   "A module has over 16 million instructions.");
		code = realloc(m->code, (size_t)room * sizeof(*code));
		if (!code)
			parse_fail(p, PTX_ERR_MEMORY, p->stmt_line,
				   "No memory for a module this large.");
		m->code = code;
		m->code_room = room;
	}
	i = &m->code[m->code_count++];
	*i = (struct insn){.run = run,
			   .kind = (uint8_t)kind,
			   .op = (uint16_t)op,
			   .guard = PTX_NONE,
			   .vec = 1,
			   .line = p->stmt_line};
	for (unsigned k = 0; k < 6; k++)
		i->o[k] = PTX_NONE;
	return i;
}

static int32_t constant_add(struct parser *p, uint64_t value)
{
	struct ptx_module *m = p->m;

	if (m->constant_count == m->constant_room) {
		uint32_t room = m->constant_room ? 2 * m->constant_room : 256;
		uint64_t *list;

		if (room > CONSTANTS_MAX)
			parse_fail(p, PTX_ERR_NOT_SUPPORTED, p->stmt_line, "Too many constants.");
		list = realloc(m->constants, room * sizeof(*list));
		if (!list)
			parse_fail(p, PTX_ERR_MEMORY, p->stmt_line, "No memory for constants.");
		m->constants = list;
		m->constant_room = room;
	}
	m->constants[m->constant_count] = value;
	return ~(int32_t)m->constant_count++;
}

static uint32_t value_slot(const struct ptx_module *m, uint64_t value)
{
	uint32_t h = (uint32_t)((value * UINT64_C(0x9e3779b97f4a7c15)) >> 32);

	for (;; h++) {
		uint32_t at = h & (m->constant_index_size - 1);

		if (m->constant_index[at] == 0 ||
		    m->constants[m->constant_index[at] - 1] == value)
			return at;
	}
}

int32_t const_of(struct parser *p, uint64_t value)
{
	struct ptx_module *m = p->m;
	uint32_t at;

	if (2 * m->constant_count >= m->constant_index_size) {
		uint32_t size = m->constant_index_size ? 2 * m->constant_index_size : 512;
		uint32_t *old = m->constant_index, old_size = m->constant_index_size;

		m->constant_index = calloc(size, sizeof(*m->constant_index));
		if (!m->constant_index) {
			m->constant_index = old;
			parse_fail(p, PTX_ERR_MEMORY, p->stmt_line, "No memory for constants.");
		}
		m->constant_index_size = size;
		for (uint32_t k = 0; k < old_size; k++)
			if (old[k])
				m->constant_index[value_slot(m, m->constants[old[k] - 1])] = old[k];
		free(old);
	}
	at = value_slot(m, value);
	if (m->constant_index[at] == 0) {
		int32_t c = constant_add(p, value);

		m->constant_index[at] = (uint32_t)~c + 1;
	}
	return ~(int32_t)(m->constant_index[at] - 1);
}

/* Its own constant, not found by value: the link fills it in. */
int32_t const_symbol(struct parser *p, struct symbol *sym, int64_t addend)
{
	struct constant_reloc *r = parse_alloc(p, sizeof(*r));
	int32_t c = constant_add(p, 0);

	*r = (struct constant_reloc){.next = p->m->constant_relocs,
				     .constant = (uint32_t)~c,
				     .symbol = sym,
				     .addend = addend,
				     .user = p->f,
				     .line = p->stmt_line,
				     .source = p->source};
	p->m->constant_relocs = r;
	return c;
}

/* ------------------------------------------------------------------------------ operands */

struct operand *opd(struct parser *p, struct stmt *s, unsigned n)
{
	if (n >= s->operands)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Operand %u is missing", n + 1);
	return &s->operand[n];
}

void want_operands(struct parser *p, struct stmt *s, unsigned least, unsigned most)
{
	if (s->operands < least || s->operands > most)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Wrong number of operands");
}

static uint64_t float_bits_as(struct parser *p, const struct operand *o, unsigned type)
{
	double d;
	float f;
	uint32_t u = (uint32_t)o->value;
	uint64_t bits = 0;

	if (o->float_bits == 32) {
		if (type == T_F32 || type == T_B32 || type == T_TF32 || type == T_U32 || type == T_S32)
			return u;
		memcpy(&f, &u, 4);
		d = (double)f;
	} else {
		if (o->float_bits == 64 && (type == T_B64 || type == T_U64 || type == T_S64))
			return o->value;
		memcpy(&d, &o->value, 8);
	}
	switch (type) {
	case T_F64:
		memcpy(&bits, &d, 8);
		return bits;
	case T_F32:
	case T_TF32:
		f = (float)d;
		memcpy(&bits, &f, 4);
		return bits;
	case T_F16:
		return half_from_double(d, RND_RN);
	case T_BF16:
		return bf16_from_double(d, RND_RN);
	default:
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A float where an integer should be");
	}
}

int32_t opd_value(struct parser *p, const struct operand *o, unsigned type)
{
	unsigned bytes = type_bytes(type);

	if (o->pair != PTX_NONE || o->pair_sink)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "'|' is not expected here");
	switch (o->kind) {
	case OPD_REG:
		if ((o->type == T_PRED) != (type == T_PRED))
			stmt_fail(p, PTX_ERR_INVALID_PTX, "A predicate is mixed with other types");
		if ((o->type == T_B128) != (type == T_B128))
			stmt_fail(p, PTX_ERR_INVALID_PTX, "A register of 128 bits is not expected");
		if (o->neg)
			stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "'!' is not supported here");
		return o->reg;
	case OPD_INT:
		if (type == T_PRED)
			return const_of(p, o->value ? UINT32_MAX : 0);
		if (type == T_F32 || type == T_F64) {
			if (o->value == 0)
				return const_of(p, 0);
			stmt_fail(p, PTX_ERR_INVALID_PTX, "An integer where a float should be");
		}
		return const_of(p, bytes >= 8 ? o->value
					      : o->value & ((UINT64_C(1) << 8 * bytes) - 1));
	case OPD_FLOAT:
		return const_of(p, float_bits_as(p, o, type));
	case OPD_SYM:
		if (o->sym->kind == SYM_LABEL || type == T_PRED)
			stmt_fail(p, PTX_ERR_INVALID_PTX, "'%s' has no value", o->sym->name);
		if (o->sym->kind == SYM_VAR && o->sym->var->dynamic_shared) {
			int32_t reg = reg_new(p, T_B64);
			struct insn *i = emit(p, K_PLAIN, OP_SREG, run_sreg);

			i->o[0] = reg;
			i->sub = (uint8_t)sreg_find("%atoll_dynamic_shared", 21);
			i->imm = o->offset;
			return reg;
		}
		if (o->sym->kind == SYM_PARAM && o->sym->known) { /* at the start of the block */
			int32_t reg = reg_new(p, T_B64);
			struct insn *i = emit(p, K_PLAIN, OP_SREG, run_sreg);

			i->o[0] = reg;
			i->sub = (uint8_t)sreg_find("%atoll_params", 13);
			i->imm = (int64_t)o->sym->offset + o->offset;
			return reg;
		}
		if (o->sym->kind == SYM_PARAM || (o->sym->kind == SYM_VAR &&
						  (o->sym->var->space == SP_LOCAL ||
						   o->sym->var->space == SP_FRAME))) {
			/* Frames lie where the call has put them. */
			int32_t reg = reg_new(p, T_B64);
			struct insn *i = emit(p, K_PLAIN, OP_SREG, run_sreg);

			i->o[0] = reg;
			i->sub = (uint8_t)sreg_find("%atoll_frame", 12);
			i->imm = o->offset + (int64_t)(o->sym->kind == SYM_PARAM
							       ? o->sym->offset
							       : o->sym->var->offset);
			return reg;
		}
		return const_symbol(p, o->sym, o->offset);
	case OPD_SREG: {
		int32_t reg = reg_new(p, T_B64);
		struct insn *i = emit(p, K_PLAIN, OP_SREG, run_sreg);

		i->o[0] = reg;
		i->sub = o->sreg;
		return reg;
	}
	default:
		stmt_fail(p, PTX_ERR_INVALID_PTX, "An operand is of the wrong form");
	}
}

int32_t opd_dst(struct parser *p, const struct operand *o, unsigned type)
{
	if (o->kind == OPD_SINK)
		return reg_new(p, type);
	if (o->kind != OPD_REG || o->neg)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The destination is no register");
	if ((o->type == T_PRED) != (type == T_PRED) || (o->type == T_B128) != (type == T_B128))
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The destination has the wrong type");
	if (type_bytes(o->type) < type_bytes(type) && type != T_PRED)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The destination is too narrow");
	return o->reg;
}

int32_t opd_pred(struct parser *p, const struct operand *o, bool *neg)
{
	*neg = o->neg;
	if (o->kind == OPD_INT)
		return const_of(p, o->value ? UINT32_MAX : 0);
	if (o->kind != OPD_REG || o->type != T_PRED)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A predicate is missing");
	return o->reg;
}

const int32_t *copy_list(struct parser *p, const int32_t *list, unsigned n)
{
	int32_t *copy = parse_alloc(p, (n + 1) * sizeof(*copy));

	memcpy(copy, list, n * sizeof(*copy));
	return copy;
}

unsigned reg_type(const struct parser *p, int32_t reg)
{
	return reg < 0 ? T_NONE : p->reg_types[reg];
}

struct insn *lower_plain(struct parser *p, struct stmt *s, unsigned op, run_fn *run, unsigned type,
			 unsigned operands)
{
	int32_t o[4] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE};
	struct insn *i;

	want_operands(p, s, operands + 1, operands + 1);
	for (unsigned k = 1; k <= operands; k++)
		o[k] = opd_value(p, &s->operand[k], type);
	o[0] = opd_dst(p, &s->operand[0], type);
	i = emit(p, K_PLAIN, op, run);
	memcpy(i->o, o, sizeof(o));
	i->type = (uint8_t)type;
	return i;
}

/* ------------------------------------------------------------------------------ suffixes */

bool has(struct stmt *s, const char *part)
{
	for (uint32_t k = 1; k < s->parts; k++)
		if (!(s->used >> k & 1) && text_is(s->part[k], s->part_length[k], part)) {
			s->used |= 1u << k;
			return true;
		}
	return false;
}

unsigned take_type(struct stmt *s)
{
	for (uint32_t k = 1; k < s->parts; k++) {
		if (s->used >> k & 1)
			continue;
		for (unsigned t = T_PRED; t < T_TYPES; t++)
			if (text_is(s->part[k], s->part_length[k], type_names[t] + 1)) {
				s->used |= 1u << k;
				return t;
			}
	}
	return T_NONE;
}

unsigned need_type(struct parser *p, struct stmt *s)
{
	unsigned t = take_type(s);

	if (t == T_NONE)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "The type is missing");
	return t;
}

unsigned take_round(struct stmt *s)
{
	static const struct {
		const char *name;
		enum ptx_round round;
	} names[] = {{"rn", RND_RN},   {"rz", RND_RZ},	 {"rm", RND_RM},   {"rp", RND_RP},
		     {"rna", RND_RNA}, {"rni", RND_RNI}, {"rzi", RND_RZI}, {"rmi", RND_RMI},
		     {"rpi", RND_RPI}};

	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (has(s, names[k].name))
			return names[k].round;
	return RND_NONE;
}

unsigned take_space(struct stmt *s)
{
	static const struct {
		const char *name;
		enum ptx_space space;
	} names[] = {{"global", SP_GLOBAL},
		     {"const", SP_CONST},
		     {"shared", SP_SHARED},
		     {"shared::cta", SP_SHARED},
		     {"shared::cluster", SP_SHARED}, /* a cluster is one block */
		     {"local", SP_LOCAL},
		     {"param", SP_PARAM},
		     {"param::entry", SP_PARAM},
		     {"param::func", SP_PARAM}};

	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (has(s, names[k].name))
			return names[k].space;
	return SP_GENERIC;
}

unsigned take_vec(struct stmt *s)
{
	return has(s, "v2") ? 2 : has(s, "v4") ? 4 : has(s, "v8") ? 8 : 1;
}

void lower(struct parser *p, struct stmt *s)
{
	static const struct lowering *const tables[] = {lower_int,	 lower_bits,   lower_float,  lower_moves, lower_compares,
							lower_memory, lower_atomic, lower_warp,
							lower_matrix, lower_texture, lower_mbarriers};

	for (unsigned t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct lowering *l = tables[t]; l->name; l++)
			if (text_is(s->part[0], s->part_length[0], l->name)) {
				l->lower(p, s);
				return;
			}
	stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "The instruction '%.*s' is not supported",
		  s->part_length[0], s->part[0]);
}
