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
