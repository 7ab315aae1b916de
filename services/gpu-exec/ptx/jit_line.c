/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers whose values lie on a line over the lanes of a warp: what is made of the thread's number by sums and by
 * products with constants. What is loaded from, or stored to, such an address is one piece of memory, and it
 * takes two numbers to see it: those of the first and of the last lane. Compiled code computes them beside
 * the vector, which is then needed only where that fails.
 *
 * It holds while the warp is whole and its threads are numbered along x (env->row): then each register is
 * written by all lanes at once. Numbers of 32 bits may wrap, which is no matter until they are extended: what is
 * made of an extended one may be two lines, one 2^32 * c from the other, and its ends are not on one then, if it
 * was made of one only.
 */
#include <errno.h>

#include "services/gpu-exec/ptx/jit_flow.h"
#include "services/gpu-exec/ptx/parse.h"

enum { STEP_MAX = 1 << 20 };

enum shape { OPEN, SAME, LINE, NONE }; /* OPEN: nothing known yet */

struct line {
	enum shape shape;
	bool extended;
	int64_t step;
};

static bool small(int64_t v)
{
	return v >= -STEP_MAX && v <= STEP_MAX;
}

/* Operand @k as a constant, as the type has it. */
static bool constant(const struct flow *f, const struct insn *i, unsigned k, int64_t *v)
{
	uint64_t c;

	if (i->o[k] >= 0 || i->o[k] == PTX_NONE)
		return false;
	c = f->function->module->constants[~i->o[k]];
	*v = type_bytes(i->type) == 8 ? (int64_t)c
	     : type_signed(i->type)   ? (int64_t)(int32_t)(uint32_t)c
				      : (int64_t)(uint32_t)c;
	return small(*v);
}

static struct line operand(const struct flow *f, const struct line *of, const struct insn *i, unsigned k)
{
	struct line l = {.shape = SAME};

	if (i->o[k] < 0)
		return l;
	if (f->varying[i->o[k]])
		l = of[i->o[k]];
	if ((l.shape == SAME || (l.shape == LINE && l.step == 0)) && f->varying[i->o[k]])
		l.shape = NONE; /* compiled as a vector only */
	return l;
}

/* Do the registers of the instruction have the width of what it does, the first @wide? */
static bool exact(const struct flow *f, const struct insn *i, unsigned wide)
{
	unsigned bytes = type_bytes(i->type);

	for (unsigned k = 0; k < 4; k++) {
		unsigned want = k == 0 || (k == 3 && i->op == OP_MAD_WIDE) ? wide : bytes;

		if (i->o[k] >= 0 && type_bytes(f->function->reg_types[i->o[k]]) != want)
			return false;
	}
	return true;
}

static struct line sum(struct line a, struct line b, int sign)
{
	struct line r = {.shape = LINE, .extended = a.extended || b.extended, .step = a.step + sign * b.step};

	if (a.shape == NONE || b.shape == NONE || (a.extended && b.extended) || !small(r.step))
		return (struct line){.shape = NONE};
	if (a.shape == OPEN || b.shape == OPEN)
		return (struct line){.shape = OPEN};
	if (a.shape == SAME && b.shape == SAME)
		r.shape = SAME;
	return r;
}

static struct line times(struct line a, int64_t c)
{
	if (a.shape != LINE)
		return a;
	if (c == 0 || !small(a.step * c))
		return (struct line){.shape = NONE};
	a.step *= c;
	return a;
}

/* @a times @b, of which one must be a constant. */
static struct line product(const struct flow *f, const struct line *of, const struct insn *i)
{
	int64_t c;

	if (constant(f, i, 2, &c))
		return times(operand(f, of, i, 1), c);
	if (constant(f, i, 1, &c))
		return times(operand(f, of, i, 2), c);
	return sum(operand(f, of, i, 1), operand(f, of, i, 2), 1).shape == SAME
		       ? (struct line){.shape = SAME}
		       : (struct line){.shape = operand(f, of, i, 1).shape == OPEN ||
						operand(f, of, i, 2).shape == OPEN ? OPEN : NONE};
}

static struct line widened(struct line l)
{
	l.extended = l.shape == LINE;
	return l;
}

static struct line converted(const struct flow *f, const struct line *of, const struct insn *i, unsigned to,
			     unsigned from)
{
	struct line l = operand(f, of, i, 1);

	if (i->o[1] < 0 || type_bytes(f->function->reg_types[i->o[1]]) != from ||
	    type_bytes(f->function->reg_types[i->o[0]]) != to)
		return (struct line){.shape = NONE};
	if (to == 8 && from == 4)
		return widened(l);
	if (to == 4 && from == 8)
		l.extended = false;
	else if (to != from || to < 4)
		return (struct line){.shape = NONE};
	return l;
}

static struct line made(const struct flow *f, const struct line *of, const struct insn *i)
{
	struct line none = {.shape = NONE}, l;
	unsigned bytes = type_bytes(i->type);
	int64_t c;

	if (i->kind != K_PLAIN || i->together || i->o[0] < 0)
		return none;
	if (i->guard != PTX_NONE && flow_varies(f, i->guard))
		return none;
	if (i->op == OP_CVT)
		return type_float(i->type) || type_float(i->type2) || i->sat || i->cmp || i->boolop
			       ? none
			       : converted(f, of, i, bytes, type_bytes(i->type2));
	if (i->op == OP_CVTA)
		return i->space == SP_LOCAL ? none : converted(f, of, i, i->regbits / 8u, 8);
	if (i->op == OP_SREG)
		return i->sub == (unsigned)sreg_find("%tid.x", 6) && type_bytes(f->function->reg_types[i->o[0]]) == 4
			       ? (struct line){.shape = LINE, .step = 1}
			       : none;
	if ((bytes != 4 && bytes != 8) || type_float(i->type) ||
	    !exact(f, i, i->op == OP_MUL_WIDE || i->op == OP_MAD_WIDE ? 8 : bytes))
		return none;
	switch (i->op) {
	case OP_MOV:
		return operand(f, of, i, 1);
	case OP_ADD:
		return i->sub ? none : sum(operand(f, of, i, 1), operand(f, of, i, 2), 1);
	case OP_SUB:
		return i->sub ? none : sum(operand(f, of, i, 1), operand(f, of, i, 2), -1);
	case OP_MUL_LO:
		return product(f, of, i);
	case OP_MAD_LO:
		return i->sub ? none : sum(product(f, of, i), operand(f, of, i, 3), 1);
	case OP_MUL_WIDE:
		return bytes == 4 ? widened(product(f, of, i)) : none;
	case OP_MAD_WIDE:
		return bytes == 4 ? sum(widened(product(f, of, i)), operand(f, of, i, 3), 1) : none;
	case OP_SHL:
		l = operand(f, of, i, 1);
		return constant(f, i, 2, &c) && c >= 0 && c < 16 ? times(l, INT64_C(1) << c) : none;
	default:
		return none;
	}
}

/* Is it one of a piece that others than the lanes of a block have a use for? */
static bool partial(const struct flow *f, uint32_t pc, int32_t reg)
{
	return flow_piece(f, pc) && !f->passing[reg];
}

static bool met(struct line *have, struct line l)
{
	if (have->shape == OPEN && l.shape != OPEN) {
		*have = l;
		return true;
	}
	if (l.shape == OPEN || have->shape == NONE)
		return false;
	if (l.shape == have->shape && l.step == have->step && (l.extended == have->extended || have->extended))
		return false;
	if (l.shape == LINE && have->shape == LINE && l.step == have->step)
		have->extended = true;
	else
		have->shape = NONE;
	return true;
}

static int pass(const struct flow *f, struct line *of, struct flow_regs *r, bool *changed)
{
	for (uint32_t pc = f->first; pc < f->end; pc++) {
		const struct insn *i = &f->code[pc];
		struct line l;
		int rc = flow_regs(f, i, r);

		if (rc)
			return rc;
		l = r->known && r->def_count == 1 ? made(f, of, i) : (struct line){.shape = NONE};
		for (unsigned k = 0; k < r->def_count; k++)
			*changed |= met(&of[r->defs[k]], partial(f, pc, r->defs[k]) ? (struct line){.shape = NONE} : l);
		for (unsigned k = 0; flow_stops(i) && i->kind != K_BRA && k < r->use_count; k++)
			if (r->uses[k] != i->guard && i->kind != K_EXIT && i->kind != K_RET)
				*changed |= met(&of[r->uses[k]], (struct line){.shape = NONE});
	}
	return 0;
}

int flow_lines(struct flow *f)
{
	struct line *of = arena_alloc(&f->arena, f->registers * sizeof(*of));
	struct flow_regs r = {0};
	bool changed = true;
	int rc = 0;

	f->step = arena_alloc(&f->arena, f->registers * sizeof(*f->step));
	if (!of || !f->step)
		return -ENOMEM;
	of[HIDDEN_CARRY].shape = NONE;
	for (unsigned k = 0; k < f->function->formal_count; k++)
		if (f->function->formals[k].in_reg)
			of[f->function->formals[k].reg].shape = NONE;
	while (changed && !rc) {
		changed = false;
		rc = pass(f, of, &r, &changed);
	}
	for (uint32_t k = 0; k < f->registers; k++)
		f->step[k] = of[k].shape == LINE && f->varying[k] ? (int32_t)of[k].step : 0;
	flow_regs_free(&r);
	return rc;
}
