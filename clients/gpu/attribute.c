/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/gpu/gpu.h"

/* enum cudaDeviceAttr, and the driver's, whose numbers are the same; what is not here is a feature that the device has not: 0. */
int gpu_attribute(const struct gpu_result_info *i, int a)
{
	switch (a) {
	case 1:
		return (int)i->threads_block;
	case 2:
	case 3:
	case 4:
		return (int)i->block_max[a - 2];
	case 5:
	case 6:
	case 7:
		return (int)i->grid_max[a - 5];
	case 8:
		return (int)i->shared_block;
	case 9:
		return (int)i->constant_bytes;
	case 10:
		return (int)i->warp;
	case 11:
		return 0x7fffffff;
	case 12:
	case 82:
		return (int)i->registers_block;
	case 13:
		return (int)i->clock_khz;
	case 14:
	case 30:
		return 512;
	case 16:
		return (int)i->multiprocessors;
	case 36:
		return (int)i->memory_clock_khz;
	case 37:
		return (int)i->memory_bus_bits;
	case 38:
		return (int)i->l2_bytes;
	case 39:
		return (int)i->threads_multiprocessor;
	case 19: /* memory of the host can be mapped */
	case 41: /* unified addressing */
	case 83: /* managed memory; but not with both sides at once */
	case 95: /* cooperative launch */
	case 115: /* pools of memory */
		return 1;
	case 51:
		return 32;
	case 75:
		return (int)i->compute_major;
	case 76:
		return (int)i->compute_minor;
	case 81:
		return (int)i->shared_multiprocessor;
	case 87:
		return 2;
	case 97:
		return (int)i->shared_block_optin;
	case 106:
		return (int)i->blocks_multiprocessor;
	default:
		return 0;
	}
}
