/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is the same in all lanes of a group. A register is, if whatever is written to it is made of such registers
 * by an instruction that does the same for all; by which way lanes came together does not count, for
 * it is looked at when they come in. Inside a piece that is gone through by some of the lanes (see jit_flow.h) that
 * holds only for what is of no use to the others: registers that only pass through it.
 */
#include "services/gpu-exec/ptx/jit_flow.h"

#include <errno.h>
#include <string.h>

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
			if (!varies && !flow_piece(f, pc))
				continue;
			for (unsigned k = 0; k < r.def_count; k++) {
				if (!varies && f->passing[r.defs[k]])
					continue;
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

/* ------------------------------------------------------------------------------ pieces */

enum { PIECE_MAX = 200 }; /* instructions; above, lanes may as well part */

static bool goes_into(const struct flow *f, uint32_t pc, uint32_t first, uint32_t end)
{
	const struct insn *i = &f->code[pc];
	const struct branch_table *t = i->ref;

	if (i->kind == K_BRA)
		return i->target >= first && i->target < end;
	for (unsigned k = 0; i->kind == K_BRX && k < t->count; k++)
		if (t->targets[k] >= first && t->targets[k] < end)
			return true;
	return false;
}

/* Where the piece after the branch at @pc ends, or 0: it is none. */
static uint32_t piece_after(const struct flow *f, uint32_t pc)
{
	uint32_t end = f->code[pc].target;

	if (end <= pc + 1)
		return 0;
	for (uint32_t k = pc + 1; k < end; k++) {
		const struct insn *i = &f->code[k];

		if (flow_stops(i) || (i->kind == K_BRA && i->target <= k))
			return 0;
		if (i->kind == K_BRA && i->target > end)
			end = i->target;
		if (end - pc > PIECE_MAX || end >= f->end)
			return 0;
	}
	for (uint32_t k = f->first; k < f->end; k++)
		if ((k < pc || k >= end) && goes_into(f, k, pc + 1, end))
			return 0;
	return end;
}

static bool live_at(const struct flow *f, uint32_t pc, int32_t reg)
{
	return f->blocks[f->block_at[pc - f->first]].live[reg / 64] >> (reg % 64) & 1;
}

/* Of a piece: what only passes through it. @writers: by register, how many instructions may write it. */
static int passing(struct flow *f, uint32_t head, uint32_t end, const uint8_t *writers, struct flow_regs *r)
{
	for (uint32_t pc = head + 1; pc < end; pc++) {
		int rc = flow_regs(f, &f->code[pc], r);

		if (rc)
			return rc;
		for (unsigned k = 0; k < r->def_count; k++)
			f->passing[r->defs[k]] = r->known && writers[r->defs[k]] == 1 &&
						 !live_at(f, head + 1, r->defs[k]) && !live_at(f, end, r->defs[k]) &&
						 !live_at(f, f->code[head].target, r->defs[k]);
	}
	return 0;
}

/* How many instructions may write each register, 2 for more. */
static int writers_count(const struct flow *f, uint8_t *writers, struct flow_regs *r)
{
	for (unsigned k = 0; k < f->function->formal_count; k++)
		if (f->function->formals[k].in_reg)
			writers[f->function->formals[k].reg] = 1;
	for (uint32_t pc = f->first; pc < f->end; pc++) {
		const struct insn *i = &f->code[pc];
		int rc = flow_regs(f, i, r);

		if (rc)
			return rc;
		for (unsigned k = 0; k < r->def_count; k++)
			writers[r->defs[k]] = (uint8_t)(writers[r->defs[k]] ? 2 : 1);
		for (unsigned k = 0; flow_stops(i) && k < r->use_count; k++)
			writers[r->uses[k]] = (uint8_t)(writers[r->uses[k]] ? 2 : 1);
	}
	return 0;
}

/* The outermost pieces, by what varies as far as is known. */
static int pieces(struct flow *f, const uint8_t *writers, bool *more)
{
	struct flow_regs r = {0};
	int rc = 0;

	for (uint32_t pc = f->first; pc < f->end && !rc; pc++) {
		const struct insn *i = &f->code[pc];
		uint32_t end = i->kind == K_BRA && flow_varies(f, i->guard) ? piece_after(f, pc) : 0;

		if (!end)
			continue;
		for (uint32_t k = pc + 1; k < end; k++) {
			*more |= f->piece_end[k - f->first] != end;
			f->piece_end[k - f->first] = end;
		}
		rc = passing(f, pc, end, writers, &r);
		pc = end - 1;
	}
	flow_regs_free(&r);
	return rc;
}

/* What varies makes pieces, and what is written in pieces varies. */
static int find(struct flow *f)
{
	uint8_t *writers = arena_alloc(&f->arena, f->registers);
	struct flow_regs r = {0};
	bool more = true;
	int rc;

	if (!writers)
		return -ENOMEM;
	rc = writers_count(f, writers, &r);
	flow_regs_free(&r);
	while (!rc && more) {
		more = false;
		rc = registers(f);
		memset(f->passing, 0, f->registers);
		if (!rc)
			rc = pieces(f, writers, &more);
	}
	return rc;
}

/* ------------------------------------------------------------------------------ where lanes part */

static void mark(struct flow *f, uint32_t pc, bool join)
{
	struct flow_block *b = pc >= f->first && pc < f->end ? &f->blocks[f->block_at[pc - f->first]] : NULL;

	if (!b || b->stop || flow_piece(f, pc))
		return;
	b->entry = true;
	b->join |= join;
}

int flow_vary(struct flow *f)
{
	bool apart = false;
	int rc;

	f->piece_end = arena_alloc(&f->arena, (f->end - f->first) * sizeof(*f->piece_end));
	f->passing = arena_alloc(&f->arena, f->registers);
	f->varying = arena_alloc(&f->arena, f->registers);
	rc = f->varying && f->passing && f->piece_end ? find(f) : -ENOMEM;
	if (rc)
		return rc;
	for (uint32_t pc = f->first; pc < f->end; pc++)
		if (f->code[pc].kind == K_BRA && flow_varies(f, f->code[pc].guard) && !flow_head(f, pc) &&
		    !flow_piece(f, pc)) {
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
