/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the compiler, where LLVM is not there. */
#include "services/gpu-exec/ptx/exec.h"

uint32_t jit_group_run(struct warp *w, uint32_t mask, uint32_t limit, uint32_t fuel)
{
	return group_run(w, mask, limit, fuel);
}

bool jit_block_turn(struct block *b)
{
	(void)b;
	return false;
}

bool jit_prepare(struct ptx_module *m, const struct ptx_function *f, bool groups)
{
	(void)m;
	(void)groups;
	(void)f;
	return false;
}

bool jit_ready(struct ptx_module *m, const struct ptx_function *f)
{
	(void)m;
	(void)f;
	return false;
}

void jit_release(struct ptx_module *m)
{
	(void)m;
}

const char *jit_name(void)
{
	return NULL;
}
