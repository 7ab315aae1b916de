/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - between the scheduler of warps and the compiler
 *
 * The scheduler decides which group runs. Where a kernel was compiled, each lane of the group runs
 * on its own up to an instruction that concerns several lanes; that one is then interpreted for all
 * lanes that have come there.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_EXEC_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_EXEC_H

#include "services/gpu-exec/ptx/internal.h"

/* Runs the group for about @fuel instructions, about up to @limit where other lanes are; how many it were. */
uint32_t jit_group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel);
/* Whose code is at @pc? */
const struct ptx_function *function_at(const struct ptx_module *m, uint32_t pc);

/* Interprets up to @fuel instructions of a group, up to @limit where other lanes are. */
uint32_t group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel);

/* A turn of a warp. True if it did something. */
bool warp_run(struct warp *w);
/* A turn of all warps of a block whose kernel is compiled. True if one of them did something. */
bool jit_block_turn(struct block *b);
/* The frame of lane @l is that of the group that runs. */
void group_select(struct warp *w, uint32_t l);
/* Where each lane is, of a warp that was flat. */
void warp_spread(struct warp *w);
void lanes_exit(struct warp *w, uint32_t mask);
/* Have all members of this instruction come, the lanes @m? Only if they are named at all. */
bool sync_complete(const struct warp *w, const struct insn *i, uint32_t m);
enum { WARP_TURN = 8192 }; /* instructions of a warp before others of its block */

static inline uint32_t warp_live(const struct warp *w)
{
	return w->present & ~w->exited;
}

/* Is it one that all threads of the block wait at, and nothing else? */
static inline bool barrier_plain(const struct warp *w, const struct insn *i)
{
	return i->sub == BAR_SYNC && i->o[1] < 0 && i->o[2] == PTX_NONE &&
	       w->columns[(size_t)~i->o[1] * PTX_LANES] < PTX_BARRIERS;
}

/* The lanes that are left of a flat warp wait at barrier @id. True: it may be complete, see barrier_try. */
static inline bool barrier_wait_flat(struct warp *w, uint8_t id)
{
	struct barrier *r = &w->block->barriers[id];
	uint32_t live = warp_live(w);

	r->expected = 0;
	r->waiting += live == UINT32_MAX ? PTX_LANES : (uint32_t)__builtin_popcount(live);
	w->in[LANE_RUN] = 0;
	w->in[LANE_BAR] = live;
	w->flat_bar = id;
	return r->waiting >= w->block->live;
}
/* Lets those go on who wait for lanes of their warp that have come; @force: or that will not. 1 after a fault. */
int sync_release(struct warp *w, bool force);
/* Lets those go on who wait at a barrier, if nobody is missing. */
void barrier_try(struct block *b, uint32_t id);

/* The lanes @mask go on at @pc. */
static inline void group_store(struct warp *w, uint32_t mask, uint32_t pc)
{
	if (mask == UINT32_MAX)
		for (uint32_t l = 0; l < PTX_LANES; l++)
			w->pc[l] = pc;
	else
		FOR_LANES(mask, l)
		w->pc[l] = pc;
}

/* Do the lanes @mask stand where lane @l does? */
static inline bool lanes_together(const struct warp *w, uint32_t mask, uint32_t l)
{
	uint32_t apart = 0;

	if (mask == UINT32_MAX) {
		for (uint32_t k = 0; k < PTX_LANES; k++)
			apart |= (w->pc[k] ^ w->pc[l]) | (w->fb[k] ^ w->fb[l]) | (w->lb[k] ^ w->lb[l]);
		return apart == 0;
	}
	FOR_LANES(mask, k)
	apart |= (w->pc[k] ^ w->pc[l]) | (w->fb[k] ^ w->fb[l]) | (w->lb[k] ^ w->lb[l]);
	return apart == 0;
}

/* Compiles a kernel and what it calls, for lanes or for groups. False: there is no compiler, or it cannot
 * compile this one. */
bool jit_prepare(struct ptx_module *m, const struct ptx_function *f, bool groups);
/* Is it already? */
bool jit_ready(struct ptx_module *m, const struct ptx_function *f);
void jit_release(struct ptx_module *m);
const char *jit_name(void);

#endif
