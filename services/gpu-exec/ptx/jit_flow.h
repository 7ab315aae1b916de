/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jit_flow.h - what the compiler knows of a function before it makes code of it
 *
 * Compiled code runs one lane. It runs on its own from an entry until it comes to an instruction
 * that concerns several lanes or the scheduler (it stops there), or has gone round loops for long.
 * Where it stops, the registers that are still needed lie in the lane's slots of the frame: it
 * stores those that it may have written since it came in. Where it enters, it loads those that it may
 * read before it stops again. What only passes through stays in the frame; kernels with many stops
 * and many registers would otherwise consist of little else than loads and stores.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_JIT_FLOW_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_JIT_FLOW_H

#include "services/gpu-exec/ptx/internal.h"

/* One straight piece of code; an instruction at which the lane stops is a piece of its own. */
struct flow_block {
	uint32_t first, end;
	bool stop;      /* the lane stops before it */
	bool entry;     /* lanes may come in here */
	bool reached;   /* there is a way to it */
	bool join;      /* other lanes may wait here */
	uint64_t *live; /* registers that are read before they are written, a bit each */
	uint64_t *dirty; /* that may have been written since the lane came in */
	uint64_t *need; /* that are read, or stored at a stop, before the lane stops again */
};

struct flow {
	const struct ptx_function *function;
	const struct insn *code; /* of the module */
	uint32_t first, end;
	uint32_t registers, words; /* words of a set of registers */
	struct flow_block *blocks;
	uint32_t block_count;
	uint32_t *block_at; /* by instruction, from first; that begin a block, else UINT32_MAX */
	bool *raw; /* registers that only float operations write: what a NaN of theirs carries is
		    * open until somebody looks */
	bool *varying; /* registers that differ between the lanes of a group; NULL: code for one lane */
	/*
	 * Pieces without stops and loops that a varying branch goes round, or into by another way: all lanes of a
	 * group go through, each block with those that are to be there. By instruction, from first: where the
	 * piece ends that it lies in, or 0. The branch, its head, is outside.
	 */
	uint32_t *piece_end;
	int32_t *step; /* of registers on a line: what a lane's has more than the last one's, else 0 */
	bool *passing; /* registers written by one instruction of a piece and of no use outside it */
	struct arena arena;
};

/* Registers of an instruction. */
struct flow_regs {
	int32_t *uses, *defs;
	unsigned use_count, def_count, room;
	bool known; /* it certainly writes all defs, if its guard lets it, and reads only uses */
};

/* @group: for code of groups. 0, -ENOMEM, -ENOTSUP (too long, or no way to follow it). Free in any case. */
int flow_make(struct flow *f, const struct ptx_function *function, bool group);
void flow_free(struct flow *f);

/* @r keeps its memory from call to call; regs_free at the end. 0 or -ENOMEM. */
int flow_regs(const struct flow *f, const struct insn *i, struct flow_regs *r);
void flow_regs_free(struct flow_regs *r);

/* jit_vary.c: finds what varies, and where lanes of a group part and meet: these are entries. 0 or -ENOMEM. */
int flow_vary(struct flow *f);
bool flow_varies(const struct flow *f, int32_t o);
/* jit_line.c: finds registers on a line. After flow_vary. 0 or -ENOMEM. */
int flow_lines(struct flow *f);
/* Does what the instruction does differ between lanes? (Which of them do it is not looked at.) */
bool flow_insn_varies(const struct flow *f, const struct insn *i);

static inline uint32_t flow_piece(const struct flow *f, uint32_t pc)
{
	return f->varying && pc < f->end ? f->piece_end[pc - f->first] : 0;
}

/* Does a piece begin after the branch at @pc? */
static inline bool flow_head(const struct flow *f, uint32_t pc)
{
	return !flow_piece(f, pc) && flow_piece(f, pc + 1) && flow_varies(f, f->code[pc].guard);
}

/* Must a lane stop before this one? */
bool flow_stops(const struct insn *i);
/* A result of a float operation that the compiler makes itself, whose NaN is that of the processor.
 */
bool flow_float_result(const struct insn *i);

/* Is it to be loaded where lanes come in at @b? */
static inline bool flow_loads(const struct flow_block *b, uint32_t reg)
{
	return b->need[reg / 64] >> (reg % 64) & 1;
}

/* Is it to be stored where lanes stop before @b? */
static inline bool flow_stores(const struct flow_block *b, uint32_t reg)
{
	return (b->live[reg / 64] & b->dirty[reg / 64]) >> (reg % 64) & 1;
}

#endif
