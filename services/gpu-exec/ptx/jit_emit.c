/* SPDX-License-Identifier: Apache-2.0 */
/* From the blocks of a function to LLVM's: entries, guards, branches, handlers, where lanes stop.
 */
#include "services/gpu-exec/ptx/jit.h"

#include <errno.h>
#include <stdlib.h>

static void types(struct jit_emit *e)
{
	LLVMContextRef c = e->context;

	e->i1 = LLVMInt1TypeInContext(c);
	e->i8 = LLVMInt8TypeInContext(c);
	e->i16 = LLVMInt16TypeInContext(c);
	e->i32 = LLVMInt32TypeInContext(c);
	e->i64 = LLVMInt64TypeInContext(c);
	e->i128 = LLVMInt128TypeInContext(c);
	e->f32 = LLVMFloatTypeInContext(c);
	e->f64 = LLVMDoubleTypeInContext(c);
	e->ptr = LLVMPointerTypeInContext(c, 0);
}

static void end_at(struct jit_emit *e, uint64_t value)
{
	LLVMBuildRet(e->b, jit_const(e, 64, value));
}

/* The code that puts away what was written and is needed at a block, and ends there. */
static LLVMBasicBlockRef leave_at(struct jit_emit *e, uint32_t n)
{
	if (!e->leave[n])
		e->leave[n] = jit_block(e);
	return e->leave[n];
}

static void leave_emit(struct jit_emit *e, uint32_t n)
{
	const struct flow_block *b = &e->flow.blocks[n];

	LLVMPositionBuilderAtEnd(e->b, e->leave[n]);
	for (uint32_t r = 0; r < e->flow.registers; r++)
		if (flow_stores(b, r))
			jit_put_away(e, (int32_t)r);
	end_at(e, b->first);
}

/* An instruction that the compiler does not know. */
static int handler_emit(struct jit_emit *e, const struct insn *i)
{
	LLVMTypeRef params[] = {e->ptr, e->ptr, e->i32};
	LLVMTypeRef type = LLVMFunctionType(e->i32, params, 3, false);
	LLVMValueRef args[3], bad;
	LLVMBasicBlockRef next = jit_block(e);

	if (flow_regs(&e->flow, i, &e->regs))
		return -ENOMEM;
	for (unsigned k = 0; k < e->regs.use_count; k++)
		if (e->regs.uses[k] != i->guard)
			jit_put_away(e, e->regs.uses[k]);
	args[0] = e->warp;
	args[1] = jit_pointer(e, i);
	args[2] = e->guard ? e->guard_lanes : e->wide ? e->mask : LLVMBuildTrunc(e->b, e->lane_bit, e->i32, "");
	bad = LLVMBuildCall2(e->b, type, jit_pointer(e, (const void *)(uintptr_t)i->run), args, 3,
			     "");
	bad = LLVMBuildICmp(e->b, LLVMIntNE, bad, jit_num(e, 32, 0), "");
	LLVMBuildCondBr(e->b, bad, e->fault, next);
	LLVMPositionBuilderAtEnd(e->b, next);
	for (unsigned k = 0; k < e->regs.def_count; k++)
		jit_take_back(e, e->regs.defs[k]);
	return 0;
}

static bool known_emit(struct jit_emit *e, const struct insn *i)
{
	return jit_emit_memory(e, i) || jit_emit_float(e, i) || jit_emit_int(e, i);
}

static int insn_emit(struct jit_emit *e, const struct insn *i)
{
	bool made;

	if (e->wide && i->op != OP_ST && i->o[0] >= 0 && e->flow.step[i->o[0]])
		for (e->end = 1; e->end <= 2; e->end++)
			known_emit(e, i);
	e->end = 0;
	e->width = e->wide && flow_insn_varies(&e->flow, i) ? PTX_LANES : 1;
	made = known_emit(e, i);
	e->width = 1;
	return made ? 0 : handler_emit(e, i);
}

/* The guard of an instruction that varies. Is there anybody for it? */
static LLVMValueRef guard_emit(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef pred;

	e->width = PTX_LANES;
	pred = jit_pred(e, i->guard, i->guard_neg);
	e->width = 1;
	e->guard_lanes = jit_lanes_of(e, pred);
	e->guard = e->masked ? LLVMBuildAnd(e->b, pred, e->mask_vector, "") : pred;
	return LLVMBuildICmp(e->b, LLVMIntNE, e->guard_lanes, jit_num(e, 32, 0), "");
}

static int plain_emit(struct jit_emit *e, const struct insn *i)
{
	LLVMBasicBlockRef next = NULL, with;
	LLVMValueRef cond = NULL;
	int rc;

	if (e->wide && flow_varies(&e->flow, i->guard))
		cond = guard_emit(e, i);
	else if (i->guard != PTX_NONE)
		cond = jit_pred(e, i->guard, i->guard_neg);
	e->passing = e->masked && !cond;
	if (cond) {
		with = jit_block(e);
		next = jit_block(e);
		LLVMBuildCondBr(e->b, cond, with, next);
		LLVMPositionBuilderAtEnd(e->b, with);
	}
	rc = insn_emit(e, i);
	e->guard = e->masked ? e->mask_vector : NULL;
	e->guard_lanes = e->masked ? e->mask : NULL;
	e->passing = false;
	if (next) {
		LLVMBuildBr(e->b, next);
		LLVMPositionBuilderAtEnd(e->b, next);
	}
	return rc;
}

static const struct flow_block *block_of(const struct jit_emit *e, uint32_t pc)
{
	return &e->flow.blocks[e->flow.block_at[pc - e->flow.first]];
}

static LLVMBasicBlockRef code_at(struct jit_emit *e, uint32_t pc)
{
	return e->block[e->flow.block_at[pc - e->flow.first]];
}

/* A branch that lanes may take or not: if all do the same, they go on. */
static void apart_emit(struct jit_emit *e, const struct insn *i, uint32_t pc, LLVMBasicBlockRef to)
{
	LLVMTypeRef params[] = {e->ptr, e->i32, e->i32, e->i32, e->i32};
	LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), params, 5, false);
	const struct flow_block *on = block_of(e, pc + 1), *at = block_of(e, i->target);
	LLVMBasicBlockRef some = jit_block(e), apart = jit_block(e);
	LLVMValueRef taken, args[5];

	e->width = PTX_LANES;
	taken = jit_pred(e, i->guard, i->guard_neg);
	e->width = 1;
	taken = jit_lanes_of(e, taken);
	LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, taken, jit_num(e, 32, 0), ""), code_at(e, pc + 1), some);
	LLVMPositionBuilderAtEnd(e->b, some);
	LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, taken, e->mask, ""), to, apart);
	LLVMPositionBuilderAtEnd(e->b, apart);
	for (uint32_t r = 0; r < e->flow.registers; r++)
		if (flow_stores(on, r) || flow_stores(at, r))
			jit_put_away(e, (int32_t)r);
	args[0] = e->warp;
	args[1] = taken;
	args[2] = e->mask;
	args[3] = jit_num(e, 32, i->target);
	args[4] = jit_num(e, 32, pc + 1);
	LLVMBuildCall2(e->b, type, jit_pointer(e, (const void *)(uintptr_t)jit_apart), args, 5, "");
	end_at(e, JIT_APART);
}

/* ------------------------------------------------------------------------------ pieces */

/* The @lanes are to be at @pc. Nothing if that is where the piece ends: there all are. */
static void piece_send(struct jit_emit *e, uint32_t pc, LLVMValueRef lanes)
{
	uint32_t n = e->flow.block_at[pc - e->flow.first];

	if (!flow_piece(&e->flow, pc))
		return;
	lanes = LLVMBuildOr(e->b, lanes, LLVMBuildLoad2(e->b, e->i32, e->in[n], ""), "");
	LLVMBuildStore(e->b, lanes, e->in[n]);
}

static LLVMValueRef lanes_taken(struct jit_emit *e, const struct insn *i)
{
	LLVMValueRef taken;

	if (i->guard == PTX_NONE)
		return e->mask;
	if (!flow_varies(&e->flow, i->guard))
		return LLVMBuildSelect(e->b, jit_pred(e, i->guard, i->guard_neg), e->mask, jit_num(e, 32, 0), "");
	e->width = PTX_LANES;
	taken = jit_pred(e, i->guard, i->guard_neg);
	e->width = 1;
	return jit_lanes_of(e, taken);
}

/* The branch before a piece, or one in it: who goes where. Then the next block. */
static void piece_branch(struct jit_emit *e, const struct insn *i, uint32_t pc)
{
	LLVMValueRef taken = lanes_taken(e, i), zero = jit_num(e, 32, 0), none;
	uint32_t end = flow_piece(&e->flow, pc + 1);

	if (!e->masked)
		for (uint32_t k = pc + 1; k < end; k++)
			if (e->flow.block_at[k - e->flow.first] != UINT32_MAX)
				LLVMBuildStore(e->b, zero, e->in[e->flow.block_at[k - e->flow.first]]);
	piece_send(e, i->target, taken);
	piece_send(e, pc + 1, LLVMBuildAnd(e->b, e->mask, LLVMBuildNot(e->b, taken, ""), ""));
	if (e->masked || i->target != end) {
		LLVMBuildBr(e->b, code_at(e, pc + 1));
		return;
	}
	none = LLVMBuildICmp(e->b, LLVMIntEQ, taken, e->mask, "");
	LLVMBuildCondBr(e->b, none, code_at(e, end), code_at(e, pc + 1));
}

/* A block of a piece: for those who are to be there, if there are any. */
static int piece_emit(struct jit_emit *e, uint32_t n)
{
	const struct flow_block *b = &e->flow.blocks[n];
	LLVMValueRef lanes = LLVMBuildLoad2(e->b, e->i32, e->in[n], "");
	LLVMValueRef mask = e->mask, vector = e->mask_vector, lane = e->lane, lane64 = e->lane64;
	LLVMBasicBlockRef go = jit_block(e);
	const struct insn *last = &e->flow.code[b->end - 1];
	int rc = 0;

	LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, lanes, jit_num(e, 32, 0), ""), e->block[n + 1], go);
	LLVMPositionBuilderAtEnd(e->b, go);
	jit_wide_mask(e, lanes, true);
	for (uint32_t pc = b->first; pc < b->end && e->flow.code[pc].kind != K_BRA && !rc; pc++)
		rc = plain_emit(e, &e->flow.code[pc]);
	if (last->kind == K_BRA) {
		piece_branch(e, last, b->end - 1);
	} else {
		piece_send(e, b->end, lanes);
		LLVMBuildBr(e->b, e->block[n + 1]);
	}
	e->mask = mask;
	e->mask_vector = vector;
	e->lane = lane;
	e->lane64 = lane64;
	e->masked = false;
	e->guard = e->guard_lanes = NULL;
	return rc;
}

/* ------------------------------------------------------------------------------ blocks */

static void branch_emit(struct jit_emit *e, const struct insn *i, uint32_t pc)
{
	LLVMBasicBlockRef to = code_at(e, i->target);

	if (i->target <= pc) { /* round a loop: not for ever */
		LLVMBasicBlockRef back = jit_block(e), here = LLVMGetInsertBlock(e->b);
		LLVMValueRef left;

		LLVMPositionBuilderAtEnd(e->b, back);
		left = LLVMBuildSub(e->b, LLVMBuildLoad2(e->b, e->i64, e->fuel, ""),
				    jit_const(e, 64, 1), "");
		LLVMBuildStore(e->b, left, e->fuel);
		LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, left, jit_const(e, 64, 0), ""),
				leave_at(e, e->flow.block_at[i->target - e->flow.first]), to);
		LLVMPositionBuilderAtEnd(e->b, here);
		to = back;
	}
	if (i->guard == PTX_NONE)
		LLVMBuildBr(e->b, to);
	else if (e->wide && flow_head(&e->flow, pc))
		piece_branch(e, i, pc);
	else if (e->wide && flow_varies(&e->flow, i->guard))
		apart_emit(e, i, pc, to);
	else
		LLVMBuildCondBr(e->b, jit_pred(e, i->guard, i->guard_neg), to, code_at(e, pc + 1));
}

static int block_emit(struct jit_emit *e, uint32_t n)
{
	const struct flow_block *b = &e->flow.blocks[n];
	int rc = 0;

	LLVMPositionBuilderAtEnd(e->b, e->block[n]);
	if (flow_piece(&e->flow, b->first))
		return piece_emit(e, n);
	if (b->stop) {
		LLVMBuildBr(e->b, leave_at(e, n));
		return 0;
	}
	if (b->join) {
		LLVMBasicBlockRef go = jit_block(e);
		LLVMValueRef limit = jit_load_env(e, offsetof(struct jit_env, limit), e->i32);

		LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntULE, limit, jit_num(e, 32, b->first), ""),
				leave_at(e, n), go);
		LLVMPositionBuilderAtEnd(e->b, go);
	}
	for (uint32_t pc = b->first; pc < b->end && !rc; pc++) {
		const struct insn *i = &e->flow.code[pc];

		if (i->kind == K_BRA) { /* the last of its block */
			branch_emit(e, i, pc);
			return 0;
		}
		rc = plain_emit(e, i);
	}
	if (b->end < e->flow.end)
		LLVMBuildBr(e->b, e->block[n + 1]);
	else
		end_at(e, b->end); /* a function ends with a return, which is a stop */
	return rc;
}

/* The way in: variables, then a switch by where the lane is. */
static void entries_emit(struct jit_emit *e, LLVMBasicBlockRef start)
{
	LLVMBasicBlockRef none = jit_block(e);
	LLVMValueRef to;

	LLVMPositionBuilderAtEnd(e->b, start);
	for (uint32_t r = 0; r < e->flow.registers; r++) {
		e->reg[r] = LLVMBuildAlloca(e->b, jit_reg_type(e, (int32_t)r), "");
		LLVMBuildStore(e->b, LLVMConstNull(jit_reg_type(e, (int32_t)r)), e->reg[r]);
	}
	for (uint32_t r = 0; e->wide && r < 2 * e->flow.registers; r++)
		if (e->flow.step[r / 2]) {
			e->ends[r] = LLVMBuildAlloca(e->b, jit_bits(e, jit_reg_bits(e, (int32_t)r / 2)), "");
			LLVMBuildStore(e->b, jit_num(e, jit_reg_bits(e, (int32_t)r / 2), 0), e->ends[r]);
		}
	e->fuel = LLVMBuildAlloca(e->b, e->i64, "");
	for (uint32_t n = 0; n < e->flow.block_count; n++)
		if (flow_piece(&e->flow, e->flow.blocks[n].first)) {
			e->in[n] = LLVMBuildAlloca(e->b, e->i32, "");
			LLVMBuildStore(e->b, jit_num(e, 32, 0), e->in[n]);
		}
	if (e->wide) {
		jit_wide_begin(e);
	} else {
		e->lane64 = LLVMBuildZExt(e->b, e->lane, e->i64, "");
		e->lane_bit = LLVMBuildShl(e->b, jit_const(e, 64, 1), e->lane64, "");
		e->column = LLVMBuildGEP2(e->b, e->i64, e->frame, &e->lane64, 1, "");
	}
	LLVMBuildStore(e->b, jit_load_env(e, offsetof(struct jit_env, fuel), e->i64), e->fuel);
	to = LLVMBuildSwitch(e->b, LLVMGetParam(e->fn, 3), none, e->flow.block_count);
	for (uint32_t n = 0; n < e->flow.block_count; n++) {
		const struct flow_block *b = &e->flow.blocks[n];
		LLVMBasicBlockRef in;

		if (!b->entry)
			continue;
		in = jit_block(e);
		LLVMAddCase(to, jit_const(e, 32, b->first), in);
		LLVMPositionBuilderAtEnd(e->b, in);
		if (e->wide) {
			jit_wide_enter(e, b, e->block[n]);
			continue;
		}
		for (uint32_t r = 0; r < e->flow.registers; r++)
			if (flow_loads(b, r))
				jit_take_back(e, (int32_t)r);
		LLVMBuildBr(e->b, e->block[n]);
	}
	LLVMPositionBuilderAtEnd(e->b, none);
	LLVMBuildUnreachable(e->b); /* who calls asks first */
	LLVMPositionBuilderAtEnd(e->b, e->fault);
	end_at(e, JIT_FAULT);
}

static int body_emit(struct jit_emit *e)
{
	uint32_t count = e->flow.block_count;
	LLVMBasicBlockRef start;
	int rc = 0;

	e->reg = calloc(e->flow.registers, sizeof(*e->reg));
	e->block = calloc(count, sizeof(*e->block));
	e->leave = calloc(count, sizeof(*e->leave));
	e->in = calloc(count, sizeof(*e->in));
	e->ends = calloc(e->flow.registers, 2 * sizeof(*e->ends));
	if (!e->ends || !e->reg || !e->block || !e->leave || !e->in)
		return -ENOMEM;
	start = jit_block(e); /* LLVM's first block has no way back into it, and its variables
				 become values */
	for (uint32_t n = 0; n < count; n++)
		e->block[n] = jit_block(e);
	e->fault = jit_block(e);
	entries_emit(e, start);
	for (uint32_t n = 0; n < count && !rc; n++)
		rc = block_emit(e, n);
	for (uint32_t n = 0; n < count && !rc; n++)
		if (e->leave[n])
			leave_emit(e, n);
	return rc;
}

int jit_emit_function(struct jit_emit *e, const char *name)
{
	LLVMTypeRef params[5];
	int rc;

	types(e);
	e->width = 1;
	params[0] = params[1] = params[4] = e->ptr;
	params[2] = params[3] = e->i32;
	e->fn = LLVMAddFunction(e->module, name, LLVMFunctionType(e->i64, params, 5, false));
	e->warp = LLVMGetParam(e->fn, 0);
	e->frame = LLVMGetParam(e->fn, 1);
	e->lane = LLVMGetParam(e->fn, 2);
	e->env = LLVMGetParam(e->fn, 4);
	e->b = LLVMCreateBuilderInContext(e->context);
	rc = body_emit(e);
	LLVMDisposeBuilder(e->b);
	flow_regs_free(&e->regs);
	free(e->reg);
	free(e->block);
	free(e->leave);
	free(e->in);
	free(e->ends);
	return rc;
}
