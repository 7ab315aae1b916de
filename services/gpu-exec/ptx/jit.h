/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jit.h - between the compiler's files, and what its code is given
 *
 * A function of PTX becomes one function of the machine that runs a group of lanes: from an entry (see
 * jit_flow.h) to where they have to stop. Compiled code does what it knows; other instructions
 * that concern one lane alone it leaves to their handlers, with its registers put into the frame
 * and taken back; at the rest it stops, and the scheduler interprets that one for all lanes that
 * have come there.
 *
 * A register is a vector, an element a lane, or one value where all lanes of a group have the same: if all that
 * is ever written to it is made of such values (jit_vary.c). Whether that is so of lanes that come in is looked at
 * there; if not (they may have come by different ways), the second form of the function runs, in which all
 * registers are values of one lane, lane after lane. It is made when it is first wanted. Lanes go on together: where a
 * branch parts them, each way's lanes stop at its beginning, and the scheduler takes one of them first, up to
 * where others wait.
 *
 * Both executors agree bit by bit: integers are exact, floats are rounded by the same operations of
 * the processor, every access is checked in the same way. What a NaN carries is not an operation's
 * result but the processor's; it is made 0x7fffffff (or the double of it) when anybody but another
 * float operation looks.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_JIT_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_JIT_H

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/TargetMachine.h>

#include "services/gpu-exec/ptx/jit_flow.h"

/* The memory that one instruction used last: an access at `at` is inside when at - base < limit. */
struct jit_site {
	uint64_t base, limit;
};

/* What compiled code reads beside warp and frame. */
struct jit_env {
	uint8_t *shared, *params;
	uint8_t *local; /* of this lane */
	uint64_t shared_total, local_bytes, group_local;
	struct jit_site *sites;
	uint32_t limit;	 /* where other lanes wait: a group stops there */
	uint32_t failed; /* an access was a fault */
	uint32_t whole;	 /* nothing can differ that must not: see struct warp */
	uint32_t row; /* and all lanes are there, numbered along x: registers on a line are on it */
	uint32_t rows; /* threads of a warp are numbered along x */
	uint64_t fuel; /* times round a loop before it stops at its head */
	uint32_t block[3], grid[3], ctaid[3];
};

/*
 * Where they have stopped. @lanes: those of a group, a bit each; in code for one lane, its number. In the upper half
 * of what it returns JIT_FAULT after a fault, JIT_DIFFER if lanes differ where they must not (nothing was done),
 * JIT_APART if their counters have been written.
 */
typedef uint64_t jit_fn(struct warp *w, uint64_t *frame, uint32_t lanes, uint32_t pc,
			struct jit_env *env);
#define JIT_FAULT  (UINT64_C(1) << 32)
#define JIT_DIFFER (UINT64_C(2) << 32)
#define JIT_APART  (UINT64_C(4) << 32)

enum { JIT_LEVELS = 3 };

/*
 * Of a module. `code` and `wide` have, by instruction: the function to enter by, NULL where nothing was
 * compiled, jit_step inside compiled functions where no lane enters.
 */
struct jit_module {
	struct {
		LLVMOrcLLJITRef lljit; /* made when it is wanted */
		LLVMTargetMachineRef target;
	} at[JIT_LEVELS];
	_Atomic(jit_fn *) *code; /* for one lane */
	_Atomic(jit_fn *) *wide; /* for a group */
	_Atomic uint32_t sites;
	unsigned functions;
};

/* In place of code where there is none but the rest of the function is compiled. */
uint64_t jit_step(struct warp *w, uint64_t *frame, uint32_t lane, uint32_t pc, struct jit_env *env);
/* The form for one lane of the function at @pc, when a group's does not do. Where there is none, jit_step. */
void jit_lane_compile(struct ptx_module *m, uint32_t pc);

/* The host address of an access that is in no memory known to its site; NULL after a fault. */
uint8_t *jit_reach(struct warp *w, const struct insn *i, uint32_t lane, uint64_t at,
		   struct jit_site *site);

/* What compiled code for groups calls, in jit_access.c. */
/*
 * A load or store of the lanes @mask, checked. @at: addresses, in their space. @data: element k of lane l at
 * k * 256 + l * its bytes. @site: NULL for shared and local memory. 0 after a fault.
 */
uint32_t jit_access(struct warp *w, const struct insn *i, uint32_t mask, struct jit_env *env,
		    struct jit_site *site, const uint64_t *at, uint64_t *data);
void jit_apart(struct warp *w, uint32_t taken, uint32_t mask, uint32_t to, uint32_t on);
void jit_unary_f32(uint32_t op, float *v);
void jit_unary_f64(uint32_t op, double *v);

/* While code is made of a function. */
struct jit_emit {
	struct flow flow;
	bool wide; /* for a group */
	unsigned width; /* of the instruction that is made: PTX_LANES or 1 */
	LLVMValueRef mask, mask_vector;	 /* lanes of the group */
	LLVMValueRef guard, guard_lanes; /* those of them that the instruction is for, NULL: all */
	unsigned end; /* 1, 2: what is made is the first lane's, the last lane's, of a register on a line */
	LLVMValueRef *ends; /* variables for these, 2 a register; NULL for others */
	LLVMValueRef row;
	bool masked;	/* inside a piece: mask, lane and guard are those of a block */
	bool passing;	/* the instruction is for all of them: what only passes needs no choice */
	LLVMValueRef *in; /* variables: lanes that are to be in a block of a piece */
	LLVMValueRef scratch; /* a vector, for functions that are not compiled */
	LLVMContextRef context;
	LLVMModuleRef module;
	LLVMBuilderRef b;
	LLVMValueRef fn;
	LLVMTypeRef i1, i8, i16, i32, i64, i128, f32, f64, ptr;
	LLVMValueRef warp, frame, lane, lane64, lane_bit, env;
	LLVMValueRef column; /* of this lane: frame + lane */
	LLVMValueRef *reg;   /* variables, one a register */
	LLVMBasicBlockRef *block,
		*leave; /* code of a block; puts its live registers away and ends */
	LLVMBasicBlockRef fault;
	LLVMValueRef fuel;
	uint32_t sites; /* next number */
	struct flow_regs regs;
};

/**
 * jit_emit_function - make LLVM's form of a function
 * @name: that it is to have. @sites: first number of a site that is free; then the next.
 * Return: 0, -ENOMEM, -ENOTSUP.
 */
int jit_emit_function(struct jit_emit *e, const char *name);

/* jit_wide.c: what is other in a group's code */
void jit_wide_begin(struct jit_emit *e);
/* The entry of a block: registers are taken back, or it ends with JIT_DIFFER. */
void jit_wide_enter(struct jit_emit *e, const struct flow_block *b, LLVMBasicBlockRef to);
void jit_wide_put_away(struct jit_emit *e, int32_t reg);
void jit_wide_take_back(struct jit_emit *e, int32_t reg);
bool jit_wide_memory(struct jit_emit *e, const struct insn *i);
LLVMValueRef jit_lanes_of(struct jit_emit *e, LLVMValueRef predicate);
/* The group is @lanes from here on: a part of it, or the whole again (@part false). */
void jit_wide_mask(struct jit_emit *e, LLVMValueRef lanes, bool part);

/* jit_values.c: registers as values. Integers are of the width of the instruction, or single. */
LLVMTypeRef jit_bits(const struct jit_emit *e, unsigned bits);
LLVMTypeRef jit_int(const struct jit_emit *e, unsigned bits);
LLVMTypeRef jit_real(const struct jit_emit *e, unsigned bits);
LLVMValueRef jit_num(const struct jit_emit *e, unsigned bits, uint64_t v); /* single */
LLVMValueRef jit_const(const struct jit_emit *e, unsigned bits, uint64_t v);
LLVMValueRef jit_same(const struct jit_emit *e, LLVMValueRef constant);
/* A single value in all elements, if the instruction has vectors. */
LLVMValueRef jit_spread(struct jit_emit *e, LLVMValueRef v);
LLVMTypeRef jit_reg_type(const struct jit_emit *e, int32_t reg);
LLVMValueRef jit_slot(struct jit_emit *e, LLVMValueRef base, int32_t reg);
LLVMValueRef jit_bits_of(struct jit_emit *e, int32_t reg);
LLVMValueRef jit_variable(struct jit_emit *e, int32_t reg);
LLVMValueRef jit_extended(struct jit_emit *e, LLVMValueRef v, unsigned type, unsigned regbits);
LLVMValueRef jit_pointer(const struct jit_emit *e, const void *at);
LLVMValueRef jit_load_env(struct jit_emit *e, unsigned offset, LLVMTypeRef type);
unsigned jit_reg_bits(const struct jit_emit *e, int32_t reg); /* 1 for a predicate */
/* An operand as an integer of @bits, what is above cut off or zero. */
LLVMValueRef jit_value(struct jit_emit *e, int32_t o, unsigned bits);
LLVMValueRef jit_pred(struct jit_emit *e, int32_t o, bool negated);
LLVMValueRef jit_float(struct jit_emit *e, int32_t o, unsigned bits);
void jit_set(struct jit_emit *e, int32_t reg, LLVMValueRef v);
void jit_set_float(struct jit_emit *e, int32_t reg, LLVMValueRef v, unsigned bits);
/* Between variables and the frame. */
void jit_put_away(struct jit_emit *e, int32_t reg);
void jit_take_back(struct jit_emit *e, int32_t reg);
LLVMValueRef jit_resize(struct jit_emit *e, LLVMValueRef v, unsigned bits, bool is_signed);
LLVMValueRef jit_intrinsic(struct jit_emit *e, const char *name, LLVMTypeRef type,
			   LLVMValueRef *args, unsigned count);
LLVMBasicBlockRef jit_block(struct jit_emit *e);

/* jit_ops.c, jit_memory.c: false, not known: left to the handler */
bool jit_emit_int(struct jit_emit *e, const struct insn *i);
bool jit_emit_float(struct jit_emit *e, const struct insn *i);
bool jit_emit_memory(struct jit_emit *e, const struct insn *i);

#endif
