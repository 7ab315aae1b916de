/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is the same in all lanes of a group. A register is, if whatever is written to it is made of such registers
 * by an instruction that does the same for all; by which way lanes came together does not count, for
 * it is looked at when they come in.
 */
#include "services/gpu-exec/ptx/jit_flow.h"

#include <errno.h>

#include "services/gpu-exec/ptx/parse.h"

/* Special registers that a group has one value of. */
static bool same_for_all(unsigned sreg)
{
	static const struct {
		const char *name;
		unsigned length;
	} same[] = {{"%ntid.x", 7}, {"%ctaid.x", 8}, {"%nctaid.x", 9}};

	for (unsigned k = 0; k < 3; k++)
		if (sreg - (unsigned)sreg_find(same[k].name, same[k].length) < 3)
			return true;
	return false;
}

bool flow_varies(const struct flow *f, int32_t o)
{
	return o >= 0 && f->varying[o];
}

bool flow_insn_varies(const struct flow *f, const struct insn *i)
{
	bool varies = false;

	switch (i->op) {
	case OP_SREG:
		return !same_for_all(i->sub);
	case OP_OTHER:
	case OP_NONE:
		return true;
	case OP_LD:
		return i->space == SP_LOCAL || i->space == SP_FRAME || flow_varies(f, i->o[1]);
	case OP_ST:
		varies = i->space == SP_LOCAL || i->space == SP_FRAME || flow_varies(f, i->o[0]) ||
			 flow_varies(f, i->o[1]);
		break;
	case OP_CVTA:
		if (i->space == SP_LOCAL)
			return true;
		break;
	case OP_PACK:
		if (!i->sub)
			return flow_varies(f, i->o[1]);
		break;
	default:
		break;
	}
	for (unsigned k = 1; k < 6; k++)
		varies |= !(i->op == OP_SETP && k == 4) && flow_varies(f, i->o[k]);
	if (i->op == OP_ST || (i->op == OP_PACK && i->sub))
		for (unsigned k = 0; k < i->nx; k++)
			varies |= flow_varies(f, i->x[k]);
	return varies;
}

static int registers(struct flow *f)
{
	struct flow_regs r = {0};
	bool changed = true;
	int rc = 0;

	f->varying[HIDDEN_CARRY] = true;
	for (unsigned k = 0; k < f->function->formal_count; k++)
		if (f->function->formals[k].in_reg)
			f->varying[f->function->formals[k].reg] = true;
	while (changed && !rc) {
		changed = false;
		for (uint32_t pc = f->first; pc < f->end && !rc; pc++) {
			const struct insn *i = &f->code[pc];
			bool stops = flow_stops(i), varies;

			rc = flow_regs(f, i, &r);
			varies = stops || !r.known || flow_varies(f, i->guard) || flow_insn_varies(f, i);
			if (!varies)
				continue;
			for (unsigned k = 0; k < r.def_count; k++) {
				changed |= !f->varying[r.defs[k]];
				f->varying[r.defs[k]] = true;
			}
			/* what a stop writes is among what it names; its guard and its inputs may be, too */
			for (unsigned k = 0; stops && i->kind != K_BRA && k < r.use_count; k++) {
				if (r.uses[k] == i->guard || i->kind == K_EXIT || i->kind == K_RET)
					continue;
				changed |= !f->varying[r.uses[k]];
				f->varying[r.uses[k]] = true;
			}
		}
	}
	flow_regs_free(&r);
	return rc;
}

static void mark(struct flow *f, uint32_t pc, bool join)
{
	struct flow_block *b = pc >= f->first && pc < f->end ? &f->blocks[f->block_at[pc - f->first]] : NULL;

	if (!b || b->stop)
		return;
	b->entry = true;
	b->join |= join;
}

int flow_vary(struct flow *f)
{
	bool apart = false;
	int rc;

	f->varying = arena_alloc(&f->arena, f->registers);
	rc = f->varying ? registers(f) : -ENOMEM;
	if (rc)
		return rc;
	for (uint32_t pc = f->first; pc < f->end; pc++)
		if (f->code[pc].kind == K_BRA && flow_varies(f, f->code[pc].guard)) {
			mark(f, f->code[pc].target, false);
			mark(f, pc + 1, false);
			apart = true;
		}
	/* where the lanes that went round something meet the others */
	for (uint32_t pc = f->first; apart && pc < f->end; pc++)
		if (f->code[pc].kind == K_BRA && f->code[pc].target > pc)
			mark(f, f->code[pc].target, true);
	return 0;
}
