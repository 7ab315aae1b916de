/* SPDX-License-Identifier: Apache-2.0 */
/* How many blocks of a kernel a multiprocessor can have at once: CUDA C++ Programming Guide, "Compute capabilities". */
#include "clients/gpu/gpu.h"

enum {
	REGISTERS_GRAIN = 256,	/* of a warp */
	SHARED_RESERVED = 1024, /* of a block, by the system */
	SHARED_GRAIN = 128,
};

/* What a multiprocessor's threads and registers allow. */
static uint64_t by_threads(const struct gpu_result_info *i, const struct gpu_kernel *k, unsigned threads)
{
	uint64_t warps, registers, n;

	if (threads == 0 || threads > i->threads_block || threads > k->info.max_threads)
		return 0;
	warps = (threads + i->warp - 1) / i->warp;
	n = i->threads_multiprocessor / (warps * i->warp);
	if (n > i->blocks_multiprocessor)
		n = i->blocks_multiprocessor;
	registers = ((uint64_t)k->info.registers * i->warp + REGISTERS_GRAIN - 1) / REGISTERS_GRAIN * REGISTERS_GRAIN * warps;
	if (registers && i->registers_block / registers < n)
		n = i->registers_block / registers;
	return n;
}

unsigned gpu_occupancy(const struct gpu_result_info *i, const struct gpu_kernel *k, unsigned threads, uint64_t shared)
{
	uint64_t n = by_threads(i, k, threads);

	if (shared > i->shared_block_optin || shared + k->info.shared_bytes > i->shared_block_optin)
		return 0;
	shared += k->info.shared_bytes;
	if (i->shared_multiprocessor / (shared + SHARED_RESERVED) < n)
		n = i->shared_multiprocessor / (shared + SHARED_RESERVED);
	return (unsigned)n;
}

int gpu_occupancy_shared(const struct gpu_result_info *i, const struct gpu_kernel *k, unsigned blocks,
			 unsigned threads, uint64_t *shared)
{
	uint64_t each;

	if (blocks == 0 || blocks > by_threads(i, k, threads))
		return GPUE_INVALID_VALUE;
	each = i->shared_multiprocessor / blocks / SHARED_GRAIN * SHARED_GRAIN;
	each = each > SHARED_RESERVED + k->info.shared_bytes ? each - SHARED_RESERVED - k->info.shared_bytes : 0;
	if (each + k->info.shared_bytes > i->shared_block_optin)
		each = i->shared_block_optin - k->info.shared_bytes;
	*shared = each;
	return 0;
}
