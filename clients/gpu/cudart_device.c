/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: what a device is. */
#include <stdio.h>
#include <string.h>

#include "clients/gpu/cudart.h"

/* struct cudaDeviceProp, as compiled programs have it. */
struct properties {
	char name[256], uuid[16], luid[8];
	unsigned luid_mask;
	size_t memory, shared_block;
	int registers_block, warp;
	size_t pitch;
	int threads_block, block[3], grid[3];
#if CUDART_MAJOR == 12
	int clock;
#endif
	size_t constant;
	int major, minor;
	size_t texture_alignment, texture_pitch_alignment;
#if CUDART_MAJOR == 12
	int overlap;
#endif
	int multiprocessors;
#if CUDART_MAJOR == 12
	int timeout;
#endif
	int integrated, map_host;
#if CUDART_MAJOR == 12
	int compute_mode;
#endif
	int texture_1d, texture_1d_mipmap;
#if CUDART_MAJOR == 12
	int texture_1d_linear;
#endif
	int texture_2d[2], texture_2d_mipmap[2], texture_2d_linear[3], texture_2d_gather[2], texture_3d[3],
		texture_3d_alt[3], texture_cube, texture_1d_layered[2], texture_2d_layered[3],
		texture_cube_layered[2], surface_1d, surface_2d[2], surface_3d[3], surface_1d_layered[2],
		surface_2d_layered[3], surface_cube, surface_cube_layered[2];
	size_t surface_alignment;
	int concurrent_kernels, ecc, pci_bus, pci_device, pci_domain, tcc, engines, unified;
#if CUDART_MAJOR == 12
	int memory_clock;
#endif
	int bus_width, l2, l2_persisting, threads_multiprocessor, priorities, l1_global, l1_local;
	size_t shared_multiprocessor;
	int registers_multiprocessor, managed, multi_gpu, multi_gpu_group, host_atomics;
#if CUDART_MAJOR == 12
	int single_to_double;
#endif
	int pageable, concurrent_managed, preemption, host_pointer, cooperative;
#if CUDART_MAJOR == 12
	int cooperative_multi;
#endif
	size_t shared_optin;
	int pageable_tables, managed_from_host, blocks_multiprocessor, policy_window;
	size_t reserved_shared;
	int host_register, sparse, host_register_read_only, timeline, pools, gdr;
	unsigned gdr_flush;
	int gdr_order;
	unsigned pool_handles;
	int deferred, ipc_event, cluster, unified_functions;
#if CUDART_MAJOR == 12
	int reserved2[2], reserved1[1], reserved[60];
#else
	int numa_config, numa_id, mps, host_numa_id;
	unsigned pci_id, pci_subsystem;
	int host_numa_ipc, reserved[56];
#endif
};

#if CUDART_MAJOR == 13
_Static_assert(sizeof(struct properties) == 1008, "as programs were compiled");
#else
_Static_assert(sizeof(struct properties) == 1032, "as programs were compiled");
#endif

EXPORT cudaError_t cudaGetDeviceProperties(struct properties *p, int d);
EXPORT cudaError_t cudaGetDeviceProperties(struct properties *p, int d)
{
	const struct gpu_result_info *i;
	struct gpu *g;
	int code = 0;

	if (!p)
		return rt_set(E_INVALID_VALUE);
	if (d < 0 || (unsigned)d >= gpu_count())
		return rt_set(GPUE_INVALID_DEVICE);
	g = gpu_get((unsigned)d, &code);
	if (!g)
		return rt_set(code);
	i = gpu_info(g);
	*p = (struct properties){
		.memory = i->memory,
		.shared_block = i->shared_block,
		.registers_block = (int)i->registers_block,
		.warp = (int)i->warp,
		.pitch = 0x7fffffff,
		.threads_block = (int)i->threads_block,
		.block = {(int)i->block_max[0], (int)i->block_max[1], (int)i->block_max[2]},
		.grid = {(int)i->grid_max[0], (int)i->grid_max[1], (int)i->grid_max[2]},
		.constant = i->constant_bytes,
		.major = (int)i->compute_major,
		.minor = (int)i->compute_minor,
		.texture_alignment = 512,
		.texture_pitch_alignment = 32,
		.multiprocessors = (int)i->multiprocessors,
		.surface_alignment = 512,
		.pci_bus = d + 1,
		.unified = 1,
		.map_host = 1,
		.managed = 1,
		.pools = 1,
		.bus_width = (int)i->memory_bus_bits,
		.l2 = (int)i->l2_bytes,
		.threads_multiprocessor = (int)i->threads_multiprocessor,
		.shared_multiprocessor = i->shared_multiprocessor,
		.registers_multiprocessor = (int)i->registers_block,
		.cooperative = 1,
		.shared_optin = i->shared_block_optin,
		.blocks_multiprocessor = (int)i->blocks_multiprocessor,
#if CUDART_MAJOR == 12
		.clock = (int)i->clock_khz,
		.memory_clock = (int)i->memory_clock_khz,
#endif
	};
	memcpy(p->name, i->name, sizeof(i->name));
	memcpy(p->uuid, i->uuid, sizeof(p->uuid));
	return 0;
}

#if CUDART_MAJOR == 12
EXPORT cudaError_t cudaGetDeviceProperties_v2(struct properties *p, int d);
EXPORT cudaError_t cudaGetDeviceProperties_v2(struct properties *p, int d)
{
	return cudaGetDeviceProperties(p, d);
}
#endif

EXPORT cudaError_t cudaDeviceGetAttribute(int *value, int a, int d);
EXPORT cudaError_t cudaDeviceGetAttribute(int *value, int a, int d)
{
	struct gpu *g;
	int code = 0;

	if (!value || a < 1 || a > 147)
		return rt_set(E_INVALID_VALUE);
	if (d < 0 || (unsigned)d >= gpu_count())
		return rt_set(GPUE_INVALID_DEVICE);
	g = gpu_get((unsigned)d, &code);
	if (!g)
		return rt_set(code);
	*value = a == 33 ? d + 1 : gpu_attribute(gpu_info(g), a);
	return 0;
}

EXPORT cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int d);
EXPORT cudaError_t cudaDeviceGetPCIBusId(char *text, int length, int d)
{
	if (!text || length < 13)
		return rt_set(E_INVALID_VALUE);
	if (d < 0 || (unsigned)d >= gpu_count())
		return rt_set(GPUE_INVALID_DEVICE);
	snprintf(text, (size_t)length, "0000:%02x:00.0", d + 1);
	return 0;
}

struct channel {
	int x, y, z, w, kind;
};

EXPORT struct channel cudaCreateChannelDesc(int x, int y, int z, int w, int kind);
EXPORT struct channel cudaCreateChannelDesc(int x, int y, int z, int w, int kind)
{
	return (struct channel){x, y, z, w, kind};
}
