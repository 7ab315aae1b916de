/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - a signal frame that holds a thread's registers: rt_sigreturn(2) from it goes on with them.
 *
 * It is what follows the return address in a frame of the kernel's: ucontext, and extended registers in
 * the format and the very size that a task of this machine has (arch/x86/kernel/signal_64.c, fpu/signal.c).
 */
#ifndef ATOLL_FORK_FRAME_H
#define ATOLL_FORK_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "services/fork-pager/image.h"

enum {
	FRAME_ALIGN = 64,
	FRAME_KEEP_ALTSTACK = 0x7f, /* for ss_flags: none that the kernel knows, so it leaves what is set */
};

/* Bytes of one, with room to align what is in it. */
size_t frame_size(void);
/**
 * frame_write - write one.
 * @out: frame_size() bytes, which are or will be at address @at in the thread's memory; @at is 16-aligned plus 8 or
 * FRAME_ALIGN-aligned. @xstate: as PTRACE_GETREGSET gives it, @len bytes.
 */
void frame_write(uint8_t *out, uint64_t at, const struct image_regs *r, const void *xstate, size_t len, uint64_t sigmask,
		 uint64_t altstack_sp, uint64_t altstack_size, uint32_t altstack_flags);

#endif
