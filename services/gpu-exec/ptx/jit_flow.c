/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/ptx/jit_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	INSTRUCTIONS_MAX = 60000, /* of a function; longer ones are interpreted */
	SETS_MAX = 256 << 20,     /* bytes of all sets of registers */
};

bool flow_stops(const struct insn *i)
{
	return i->together || (i->kind != K_PLAIN && i->kind != K_BRA);
}

bool flow_float_result(const struct insn *i)
{
	if (i->kind != K_PLAIN || (i->type != T_F32 && i->type != T_F64))
		return false;
	switch (i->op) {
	case OP_ADD:
	case OP_SUB:
	case OP_MUL:
	case OP_DIV:
	case OP_FMA:
	case OP_RCP:
	case OP_SQRT:
		return i->rnd == RND_RN;
	default:
		return false;
	}
}

/* With a carry: it lies in a register that no operand names. */
static bool carries(const struct insn *i)
{
	return i->sub && !type_float(i->type) &&
	       (i->op == OP_ADD || i->op == OP_SUB || i->op == OP_MAD_LO || i->op == OP_MAD_HI);
}

/* ------------------------------------------------------------------------------ registers */

static int room_for(struct flow_regs *r, unsigned n)
{
	int32_t *uses, *defs;

	if (n <= r->room)
		return 0;
	uses = realloc(r->uses, n * sizeof(*uses));
	if (uses)
		r->uses = uses;
	defs = realloc(r->defs, n * sizeof(*defs));
	if (defs)
		r->defs = defs;
	if (!uses || !defs)
		return -ENOMEM;
	r->room = n;
	return 0;
}

void flow_regs_free(struct flow_regs *r)
{
	free(r->uses);
	free(r->defs);
	*r = (struct flow_regs){0};
}

static void add(const struct flow *f, int32_t *list, unsigned *count, int32_t reg)
{
	if (reg < 0) /* a constant, or nothing */
		return;
	list[(*count)++] = reg;
	if (f->function->reg_types[reg] == T_B128 && (uint32_t)reg + 1 < f->registers)
		list[(*count)++] = reg + 1;
}

static void use(const struct flow *f, struct flow_regs *r, int32_t reg)
{
	add(f, r->uses, &r->use_count, reg);
}

static void def(const struct flow *f, struct flow_regs *r, int32_t reg)
{
	add(f, r->defs, &r->def_count, reg);
}

int flow_regs(const struct flow *f, const struct insn *i, struct flow_regs *r)
{
	const struct call_site *site = i->ref;
	unsigned n = 32 + 2u * i->nx, first;

	r->use_count = r->def_count = 0;
	r->known = false;
	if (i->kind == K_CALL || i->kind == K_CALLI)
		n += 2 * (site->arg_count + site->ret_count);
	if (i->kind == K_RET)
		n += 2 * f->function->result_count;
	if (room_for(r, n))
		return -ENOMEM;
	use(f, r, i->guard);
	switch ((enum ptx_kind)i->kind) {
	case K_CALL:
	case K_CALLI:
		use(f, r, i->o[0]);
		for (unsigned k = 0; k < site->arg_count; k++)
			use(f, r, site->args[k].reg);
		/* what comes back is in the frame when the lane comes in again; a call whose guard
		 * is off leaves it as it was */
		for (unsigned k = 0; k < site->ret_count; k++)
			use(f, r, site->rets[k].reg);
		return 0;
	case K_RET:
		for (unsigned k = 0; k < f->function->result_count; k++)
			if (f->function->results[k].in_reg)
				use(f, r, f->function->results[k].reg);
		return 0;
	case K_BRA:
	case K_EXIT:
	case K_YIELD:
		r->known = true;
		return 0;
	default:
		break;
	}
	first = r->use_count;
	for (unsigned k = 0; k < 6; k++)
		use(f, r, i->o[k]);
	for (unsigned k = 0; k < i->nx; k++)
		use(f, r, i->x[k]);
	if (carries(i))
		use(f, r, HIDDEN_CARRY);
	if (flow_stops(i))
		return 0;
	if (i->op == OP_OTHER || i->op == OP_NONE || carries(i)) {
		for (unsigned k = first; k < r->use_count; k++)
			r->defs[r->def_count++] = r->uses[k];
		return 0;
	}
	/* Those that the compiler knows: one destination in front, loads and unpacking a list. */
	r->known = true;
	r->use_count = first;
	if (i->op == OP_ST || i->op == OP_PACK || i->op == OP_LD) {
		bool reads = i->op == OP_ST || (i->op == OP_PACK && i->sub);

		use(f, r, i->o[1]);
		if (i->op == OP_ST)
			use(f, r, i->o[0]);
		else
			def(f, r, i->o[0]);
		for (unsigned k = 0; k < i->nx; k++) {
			if (reads)
				use(f, r, i->x[k]);
			else
				def(f, r, i->x[k]);
		}
		return 0;
	}
	def(f, r, i->o[0]);
	for (unsigned k = 1; k < 6; k++) {
		if (i->op == OP_SETP && k == 4)
			def(f, r, i->o[k]);
		else
			use(f, r, i->o[k]);
	}
	return 0;
}

/* ------------------------------------------------------------------------------ blocks */

static bool inside(const struct flow *f, uint32_t pc)
{
	return pc >= f->first && pc < f->end;
}

static int blocks_find(struct flow *f)
{
	uint32_t n = f->end - f->first, count = 0;
	uint8_t *mark = arena_alloc(&f->arena, n + 1);

	f->block_at = arena_alloc(&f->arena, ((size_t)n + 1) * sizeof(*f->block_at));
	if (!mark || !f->block_at)
		return -ENOMEM;
	/* 1: begins a block; 2: lanes come in */
	mark[0] = 1 | 2;
	for (uint32_t k = 0; k < n; k++) {
		const struct insn *i = &f->code[f->first + k];

		if (i->kind == K_BRA) {
			if (!inside(f, i->target))
				return -ENOTSUP;
			mark[i->target - f->first] |= i->target <= f->first + k ? 1 | 2 : 1;
			mark[k + 1] |= 1;
		} else if (flow_stops(i)) {
			mark[k] |= 1;
			mark[k + 1] |= 1 | 2;
		}
		if (i->kind == K_BRX) {
			const struct branch_table *t = i->ref;

			for (unsigned j = 0; j < t->count; j++) {
				if (!inside(f, t->targets[j]))
					return -ENOTSUP;
				mark[t->targets[j] - f->first] |= 1 | 2;
			}
		}
	}
	for (uint32_t k = 0; k < n; k++)
		count += mark[k] & 1;
	if ((uint64_t)count * f->words * 8 * 3 > SETS_MAX)
		return -ENOTSUP;
	f->blocks = arena_alloc(&f->arena, count * sizeof(*f->blocks));
	if (!f->blocks)
		return -ENOMEM;
	for (uint32_t k = 0; k < n; k++) {
		struct flow_block *b = &f->blocks[f->block_count];

		f->block_at[k] = UINT32_MAX;
		if (!(mark[k] & 1))
			continue;
		f->block_at[k] = f->block_count++;
		b->first = f->first + k;
		for (b->end = b->first + 1; b->end < f->end && !(mark[b->end - f->first] & 1);)
			b->end++;
		b->stop = flow_stops(&f->code[b->first]);
		b->entry = mark[k] & 2 && !b->stop;
		b->live = arena_alloc(&f->arena, 3 * f->words * sizeof(*b->live));
		if (!b->live)
			return -ENOMEM;
		b->dirty = b->live + f->words;
		b->need = b->dirty + f->words;
	}
	return 0;
}

static struct flow_block *block_of(const struct flow *f, uint32_t pc)
{
	return inside(f, pc) ? &f->blocks[f->block_at[pc - f->first]] : NULL;
}

/* ------------------------------------------------------------------------------ liveness */

static void set_union(uint64_t *to, const struct flow_block *from, uint32_t words)
{
	for (uint32_t k = 0; from && k < words; k++)
		to[k] |= from->live[k];
}

static void live_after(const struct flow *f, const struct flow_block *b, uint64_t *set)
{
	const struct insn *i = &f->code[b->end - 1];
	bool falls = true;

	memset(set, 0, f->words * sizeof(*set));
	switch ((enum ptx_kind)i->kind) {
	case K_BRA:
		set_union(set, block_of(f, i->target), f->words);
		falls = i->guard != PTX_NONE;
		break;
	case K_BRX: {
		const struct branch_table *t = i->ref;

		for (unsigned k = 0; k < t->count; k++)
			set_union(set, block_of(f, t->targets[k]), f->words);
		falls = i->guard != PTX_NONE;
		break;
	}
	case K_RET:
	case K_EXIT:
		falls = i->guard != PTX_NONE;
		break;
	default:
		break;
	}
	if (falls)
		set_union(set, block_of(f, b->end), f->words);
}

static int liveness(struct flow *f)
{
	struct flow_regs r = {0};
	uint64_t *set = arena_alloc(&f->arena, f->words * sizeof(*set));
	bool changed = set != NULL;
	int rc = set ? 0 : -ENOMEM;

	while (changed && !rc) {
		changed = false;
		for (uint32_t n = f->block_count; n-- > 0 && !rc;) {
			struct flow_block *b = &f->blocks[n];

			live_after(f, b, set);
			for (uint32_t pc = b->end; pc-- > b->first && !rc;) {
				const struct insn *i = &f->code[pc];

				rc = flow_regs(f, i, &r);
				if (r.known && i->guard == PTX_NONE)
					for (unsigned k = 0; k < r.def_count; k++)
						set[r.defs[k] / 64] &=
							~(UINT64_C(1) << r.defs[k] % 64);
				for (unsigned k = 0; k < r.use_count; k++)
					set[r.uses[k] / 64] |= UINT64_C(1) << r.uses[k] % 64;
			}
			for (uint32_t k = 0; k < f->words; k++)
				if (set[k] & ~b->live[k]) {
					b->live[k] |= set[k];
					changed = true;
				}
		}
	}
	flow_regs_free(&r);
	return rc;
}

/* Where may a lane be after @b without having stopped? In compiled code that is a branch or what follows. */
static unsigned ways_on(const struct flow *f, const struct flow_block *b, struct flow_block *to[2])
{
	const struct insn *i = &f->code[b->end - 1];
	unsigned n = 0;

	if (b->stop)
		return 0;
	if (i->kind == K_BRA)
		to[n++] = block_of(f, i->target);
	if ((i->kind != K_BRA || i->guard != PTX_NONE) && inside(f, b->end))
		to[n++] = block_of(f, b->end);
	return n;
}

/* What is written since lanes came in, along all ways that do not stop. */
static int dirty_find(struct flow *f)
{
	struct flow_regs r = {0};
	uint64_t *set = arena_alloc(&f->arena, f->words * sizeof(*set));
	bool changed = set != NULL;
	int rc = set ? 0 : -ENOMEM;

	while (changed && !rc) {
		changed = false;
		for (uint32_t n = 0; n < f->block_count && !rc; n++) {
			struct flow_block *b = &f->blocks[n], *to[2];
			unsigned ways = ways_on(f, b, to);

			memcpy(set, b->dirty, f->words * sizeof(*set));
			for (uint32_t pc = b->first; ways && pc < b->end && !rc; pc++) {
				rc = flow_regs(f, &f->code[pc], &r);
				for (unsigned k = 0; k < r.def_count; k++)
					set[r.defs[k] / 64] |= UINT64_C(1) << r.defs[k] % 64;
			}
			for (unsigned k = 0; k < ways; k++)
				for (uint32_t j = 0; j < f->words; j++)
					if (set[j] & ~to[k]->dirty[j]) {
						to[k]->dirty[j] |= set[j];
						changed = true;
					}
		}
	}
	flow_regs_free(&r);
	return rc;
}

/* What is read before the lane stops, or stored when it does. After dirty_find. */
static int need_find(struct flow *f)
{
	struct flow_regs r = {0};
	uint64_t *set = arena_alloc(&f->arena, f->words * sizeof(*set));
	bool changed = set != NULL;
	int rc = set ? 0 : -ENOMEM;

	while (changed && !rc) {
		changed = false;
		for (uint32_t n = f->block_count; n-- > 0 && !rc;) {
			struct flow_block *b = &f->blocks[n], *to[2];
			unsigned ways = ways_on(f, b, to);

			memset(set, 0, f->words * sizeof(*set));
			for (unsigned k = 0; k < ways; k++)
				for (uint32_t j = 0; j < f->words; j++)
					set[j] |= to[k]->need[j];
			for (uint32_t pc = b->end; ways && pc-- > b->first && !rc;) {
				const struct insn *i = &f->code[pc];

				rc = flow_regs(f, i, &r);
				if (r.known && i->guard == PTX_NONE)
					for (unsigned k = 0; k < r.def_count; k++)
						set[r.defs[k] / 64] &= ~(UINT64_C(1) << r.defs[k] % 64);
				for (unsigned k = 0; k < r.use_count; k++)
					set[r.uses[k] / 64] |= UINT64_C(1) << r.uses[k] % 64;
			}
			/* lanes may stop here: always, or at the head of a loop */
			if (b->stop || b->entry)
				for (uint32_t j = 0; j < f->words; j++)
					set[j] |= b->live[j] & b->dirty[j];
			for (uint32_t j = 0; j < f->words; j++)
				if (set[j] & ~b->need[j]) {
					b->need[j] |= set[j];
					changed = true;
				}
		}
	}
	flow_regs_free(&r);
	return rc;
}

/* A constant that is no NaN, moved into a register of floats. */
static bool tame_constant(const struct flow *f, const struct insn *i)
{
	uint64_t v;

	if (i->op != OP_MOV || i->o[1] >= 0 || i->o[1] == PTX_NONE)
		return false;
	v = f->function->module->constants[~i->o[1]];
	return type_bytes(i->type) == 4   ? (v & 0x7fffffff) <= 0x7f800000
	       : type_bytes(i->type) == 8 ? (v & INT64_MAX) <= UINT64_C(0x7ff0000000000000)
					  : false;
}

static int raw_find(struct flow *f)
{
	struct flow_regs r = {0};
	bool *no = arena_alloc(&f->arena, f->registers);
	int rc = 0;

	f->raw = arena_alloc(&f->arena, f->registers);
	if (!no || !f->raw)
		return -ENOMEM;
	/* what comes from elsewhere */
	for (unsigned k = 0; k < f->function->formal_count; k++)
		if (f->function->formals[k].in_reg)
			no[f->function->formals[k].reg] = true;
	for (uint32_t pc = f->first; pc < f->end && !rc; pc++) {
		const struct insn *i = &f->code[pc];
		unsigned bytes = type_bytes(i->type);

		rc = flow_regs(f, i, &r);
		if (flow_float_result(i) && i->o[0] >= 0 &&
		    type_bytes(f->function->reg_types[i->o[0]]) == bytes) {
			f->raw[i->o[0]] = true;
			continue;
		}
		if (!flow_stops(i) && tame_constant(f, i))
			continue;
		for (unsigned k = 0; k < r.def_count; k++)
			no[r.defs[k]] = true;
		if (flow_stops(i)) /* what it writes is among what it uses */
			for (unsigned k = 0; k < r.use_count; k++)
				no[r.uses[k]] |= r.uses[k] != i->guard;
	}
	for (uint32_t k = 0; k < f->registers; k++)
		f->raw[k] = f->raw[k] && !no[k];
	flow_regs_free(&r);
	return rc;
}

int flow_make(struct flow *f, const struct ptx_function *function, bool group)
{
	int rc;

	*f = (struct flow){.function = function,
			   .code = function->module->code,
			   .first = function->first,
			   .end = function->end,
			   .registers = function->registers};
	f->words = (f->registers + 63) / 64;
	if (f->end - f->first > INSTRUCTIONS_MAX)
		return -ENOTSUP;
	rc = blocks_find(f);
	if (!rc)
		rc = liveness(f);
	if (!rc && group)
		rc = flow_vary(f);
	if (!rc && group)
		rc = flow_lines(f);
	if (!rc)
		rc = dirty_find(f);
	if (!rc)
		rc = need_find(f);
	if (!rc)
		rc = raw_find(f);
	return rc;
}

void flow_free(struct flow *f)
{
	arena_free(&f->arena);
}
