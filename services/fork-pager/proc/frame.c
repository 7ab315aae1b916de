/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/frame.h"

#include <string.h>
#include <sys/ucontext.h>

enum {
	FP_MAGIC1 = 0x46505853, /* FP_XSTATE_MAGIC1, asm/sigcontext.h */
	FP_MAGIC2 = 0x46505845,
	FP_SOFTWARE = 464, /* offset of struct _fpx_sw_bytes in the legacy area */
	XTILE_DATA = 18,   /* component of AMX, by permission only */
	UC_FLAGS = 7,	   /* UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
};

/* The kernel takes extended registers from a frame of exactly the size that a task of this host has:
 * up to the last component that needs no permission (Intel SDM, volume 1, 13.2). */
static uint32_t xstate_size(void)
{
	static uint32_t end;
	uint32_t most = 576;

	for (uint32_t i = 2; i < 63 && !end; i++) {
		uint32_t size = 0xd, offset, flags = i, d, low = 0xd, b, c = 0, high;

		__asm__("cpuid" : "+a"(low), "=b"(b), "+c"(c), "=d"(high));
		if (i == XTILE_DATA || !(((uint64_t)high << 32 | low) >> i & 1))
			continue;
		__asm__("cpuid" : "+a"(size), "=b"(offset), "+c"(flags), "=d"(d));
		if (offset + size > most)
			most = offset + size;
	}
	if (!end)
		end = most;
	return end;
}

size_t frame_size(void)
{
	return sizeof(ucontext_t) + FRAME_ALIGN + xstate_size() + sizeof(uint32_t);
}

void frame_write(uint8_t *out, uint64_t at, const struct image_regs *r, const void *xstate, size_t len, uint64_t sigmask,
		 uint64_t altstack_sp, uint64_t altstack_size, uint32_t altstack_flags)
{
	const uint64_t fp_at = (at + sizeof(ucontext_t) + FRAME_ALIGN - 1) & ~(uint64_t)(FRAME_ALIGN - 1);
	uint8_t *fp = out + (fp_at - at);
	uint32_t size = xstate_size(), magic2 = FP_MAGIC2;
	ucontext_t *uc = (ucontext_t *)(void *)out;
	uint64_t features;

	memset(out, 0, frame_size());
	memcpy(fp, xstate, len < size ? len : size);
	memcpy(&features, fp + 512, sizeof(features));
	features |= 3; /* x87 and SSE are always there */
	memcpy(fp + FP_SOFTWARE, &(uint32_t[2]){FP_MAGIC1, size + 4}, 8);
	memcpy(fp + FP_SOFTWARE + 8, &features, 8);
	memcpy(fp + FP_SOFTWARE + 16, &size, 4);
	memcpy(fp + size, &magic2, sizeof(magic2));
	uc->uc_flags = UC_FLAGS;
	uc->uc_stack.ss_sp = (void *)altstack_sp;
	uc->uc_stack.ss_size = altstack_size;
	uc->uc_stack.ss_flags = (int)altstack_flags;
	{
		const struct {
			int at;
			uint64_t v;
		} g[] = {
			{REG_R8, r->r8},   {REG_R9, r->r9},   {REG_R10, r->r10}, {REG_R11, r->r11},
			{REG_R12, r->r12}, {REG_R13, r->r13}, {REG_R14, r->r14}, {REG_R15, r->r15},
			{REG_RDI, r->rdi}, {REG_RSI, r->rsi}, {REG_RBP, r->rbp}, {REG_RBX, r->rbx},
			{REG_RDX, r->rdx}, {REG_RAX, r->rax}, {REG_RCX, r->rcx}, {REG_RSP, r->rsp},
			{REG_RIP, r->rip}, {REG_EFL, r->eflags},
			{REG_CSGSFS, 0x33 | 0x2bull << 48}, /* cs, gs, fs, ss of a 64-bit program */
		};

		for (size_t i = 0; i < sizeof(g) / sizeof(g[0]); i++)
			uc->uc_mcontext.gregs[g[i].at] = (greg_t)g[i].v;
	}
	uc->uc_mcontext.fpregs = (void *)fp_at;
	memcpy(&uc->uc_sigmask, &sigmask, sizeof(sigmask));
}
