/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: launches, and what is known of kernels. */
#include <string.h>

#include "clients/gpu/cudart_graph.h"

enum {
	CALLS_DEEP = 16, /* launches whose arguments launch, nested */
};

struct configuration {
	struct dim3 grid, block;
	size_t shared;
	cudaStream_t stream;
};

static __thread struct configuration calls[CALLS_DEEP];
static __thread unsigned depth;

EXPORT unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared, void *stream);
EXPORT unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared, void *stream)
{
	if (depth == CALLS_DEEP)
		return 1;
	calls[depth++] = (struct configuration){grid, block, shared, stream};
	return 0;
}

EXPORT cudaError_t __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared, void *stream);
EXPORT cudaError_t __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared, void *stream)
{
	if (!depth)
		return rt_set(E_CONFIG_MISSING);
	depth--;
	*grid = calls[depth].grid;
	*block = calls[depth].block;
	*shared = calls[depth].shared;
	memcpy(stream, &calls[depth].stream, sizeof(cudaStream_t));
	return 0;
}

EXPORT cudaError_t __cudaGetKernel(void **handle, const void *host);
EXPORT cudaError_t __cudaGetKernel(void **handle, const void *host)
{
	*handle = rt_kernel_find(host);
	return *handle ? 0 : GPUE_DEVICE_FUNCTION; /* the launch says it */
}

/* Finds the kernel and its place; @l is what is asked. */
static int launch_check(struct rt_kernel *k, size_t shared, cudaStream_t s, struct gpu_geometry *l, struct gpu **g,
			const struct gpu_kernel **kernel)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, &l->stream);

	if (!rc && !k)
		rc = GPUE_DEVICE_FUNCTION;
	if (!rc)
		rc = order_gpu(g);
	if (!rc && stream.device != gpu_index(*g))
		rc = GPUE_HANDLE;
	if (!rc)
		rc = rt_kernel_get(*g, k, kernel);
	if (!rc && (shared > UINT32_MAX ||
		    (shared + (*kernel)->info.shared_bytes > gpu_info(*g)->shared_block &&
		     shared > (size_t)k->shared_optin)))
		rc = E_INVALID_VALUE;
	l->shared = (uint32_t)shared;
	return rc;
}

static int launch(struct rt_kernel *k, struct dim3 grid, struct dim3 block, void **args, size_t shared,
		  cudaStream_t s, bool cooperative)
{
	struct gpu_geometry l = {
		.grid = {grid.x, grid.y, grid.z},
		.block = {block.x, block.y, block.z},
		.cooperative = cooperative,
	};
	const struct gpu_kernel *kernel;
	struct graph_work w;
	struct gpu *g;
	int rc = launch_check(k, shared, s, &l, &g, &kernel);

	if (!rc && capture_any()) {
		rc = graph_kernel(&w, k, grid, block, args, shared, cooperative);
		if (!rc) {
			rc = capture_add(s, &w);
			if (rc != NO_CAPTURE)
				return rc;
			graph_work_free(&w);
			rc = 0;
		}
	}
	if (!rc)
		rc = gpu_launch_args(g, kernel, &l, args);
	if (!rc)
		order_stream_used(s, g);
	return rc;
}

int graph_kernel_run(const struct graph_work *w, cudaStream_t s)
{
	struct gpu_geometry l = {
		.grid = {w->kernel.grid.x, w->kernel.grid.y, w->kernel.grid.z},
		.block = {w->kernel.block.x, w->kernel.block.y, w->kernel.block.z},
		.cooperative = w->kernel.cooperative,
	};
	const struct gpu_kernel *kernel;
	struct gpu *g;
	int rc = launch_check(w->kernel.k, w->kernel.shared, s, &l, &g, &kernel);

	return rc ? rc : gpu_launch(g, kernel, &l, w->kernel.params, w->kernel.size);
}

EXPORT cudaError_t __cudaLaunchKernel(void *kernel, struct dim3 grid, struct dim3 block, void **args, size_t shared,
				      cudaStream_t s);
EXPORT cudaError_t __cudaLaunchKernel(void *kernel, struct dim3 grid, struct dim3 block, void **args, size_t shared,
				      cudaStream_t s)
{
	return rt_set(launch(kernel, grid, block, args, shared, s, false));
}

EXPORT cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
				    size_t shared, cudaStream_t s);
EXPORT cudaError_t cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
				    size_t shared, cudaStream_t s)
{
	return rt_set(launch(rt_kernel_find(host), grid, block, args, shared, s, false));
}

EXPORT cudaError_t cudaLaunchCooperativeKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
					       size_t shared, cudaStream_t s);
EXPORT cudaError_t cudaLaunchCooperativeKernel(const void *host, struct dim3 grid, struct dim3 block, void **args,
					       size_t shared, cudaStream_t s)
{
	return rt_set(launch(rt_kernel_find(host), grid, block, args, shared, s, true));
}

struct attribute {
	int id;
	char pad[4];
	union {
		char bytes[64];
		int value;
	};
};

struct config {
	struct dim3 grid, block;
	size_t shared;
	cudaStream_t stream;
	struct attribute *attributes;
	unsigned count;
};

EXPORT cudaError_t cudaLaunchKernelExC(const struct config *c, const void *host, void **args);
EXPORT cudaError_t cudaLaunchKernelExC(const struct config *c, const void *host, void **args)
{
	bool cooperative = false;

	if (!c || (c->count && !c->attributes))
		return rt_set(E_INVALID_VALUE);
	for (unsigned k = 0; k < c->count; k++) {
		switch (c->attributes[k].id) {
		case 0: /* ignore */
		case 8: /* priority */
			break;
		case 2: /* cooperative */
			cooperative = c->attributes[k].value != 0;
			break;
		case 6: /* programmatic stream serialization: in order is one way to do it */
			break;
		default:
			return rt_set(GPUE_NOT_SUPPORTED);
		}
	}
	return rt_set(launch(rt_kernel_find(host), c->grid, c->block, args, c->shared, c->stream, cooperative));
}

/* ------------------------------------------------------------------ what is known of kernels */

struct func_attributes {
	size_t shared, constant, local;
	int threads, registers, ptx, binary, cache_ca, dynamic_shared, carveout, cluster_must, cluster[3],
		cluster_policy, cluster_portable, reserved[16];
};
_Static_assert(sizeof(struct func_attributes) == 144, "as programs were compiled");

static int kernel_of(const void *host, struct rt_kernel **k, const struct gpu_kernel **kernel, struct gpu **g)
{
	int rc = order_gpu(g);

	*k = rt_kernel_find(host);
	if (!rc && !*k)
		rc = GPUE_DEVICE_FUNCTION;
	return rc ? rc : rt_kernel_get(*g, *k, kernel);
}

EXPORT cudaError_t cudaFuncGetAttributes(struct func_attributes *a, const void *host);
EXPORT cudaError_t cudaFuncGetAttributes(struct func_attributes *a, const void *host)
{
	const struct gpu_kernel *kernel;
	struct rt_kernel *k;
	struct gpu *g;
	int rc = a ? kernel_of(host, &k, &kernel, &g) : E_INVALID_VALUE;

	if (rc)
		return rt_set(rc);
	*a = (struct func_attributes){
		.shared = kernel->info.shared_bytes,
		.constant = kernel->info.const_bytes,
		.local = kernel->info.local_bytes,
		.threads = (int)kernel->info.max_threads,
		.registers = (int)kernel->info.registers,
		.ptx = (int)kernel->info.ptx_version,
		.binary = (int)kernel->info.binary_version,
		.dynamic_shared = k->shared_optin ? k->shared_optin
						  : (int)(gpu_info(g)->shared_block - kernel->info.shared_bytes),
		.carveout = -1,
	};
	return 0;
}

EXPORT cudaError_t cudaFuncGetName(const char **name, const void *host);
EXPORT cudaError_t cudaFuncGetName(const char **name, const void *host)
{
	struct rt_kernel *k = name ? rt_kernel_find(host) : NULL;

	if (k)
		*name = k->name;
	return rt_set(!name ? E_INVALID_VALUE : k ? 0 : GPUE_DEVICE_FUNCTION);
}

EXPORT cudaError_t cudaFuncGetParamInfo(const void *host, size_t index, size_t *offset, size_t *size);
EXPORT cudaError_t cudaFuncGetParamInfo(const void *host, size_t index, size_t *offset, size_t *size)
{
	const struct gpu_kernel *kernel;
	struct rt_kernel *k;
	struct gpu *g;
	int rc = offset ? kernel_of(host, &k, &kernel, &g) : E_INVALID_VALUE;

	if (!rc && index >= kernel->info.param_count)
		rc = E_INVALID_VALUE;
	if (rc)
		return rt_set(rc);
	*offset = kernel->params[index][0];
	if (size)
		*size = kernel->params[index][1];
	return 0;
}

EXPORT cudaError_t cudaFuncSetAttribute(const void *host, int attribute, int value);
EXPORT cudaError_t cudaFuncSetAttribute(const void *host, int attribute, int value)
{
	const struct gpu_kernel *kernel;
	struct rt_kernel *k;
	struct gpu *g;
	int rc = kernel_of(host, &k, &kernel, &g);

	if (rc)
		return rt_set(rc);
	switch (attribute) {
	case 8: /* most dynamic shared memory */
		if (value < 0 || (uint64_t)value + kernel->info.shared_bytes > gpu_info(g)->shared_block_optin)
			return rt_set(E_INVALID_VALUE);
		k->shared_optin = value;
		return 0;
	case 9: /* preferred carveout: a hint */
		return rt_set(value < -1 || value > 100 ? E_INVALID_VALUE : 0);
	default:
		return rt_set(GPUE_NOT_SUPPORTED);
	}
}

EXPORT cudaError_t cudaFuncSetCacheConfig(const void *host, int config);
EXPORT cudaError_t cudaFuncSetCacheConfig(const void *host, int config)
{
	(void)config; /* a hint */
	return rt_set(rt_kernel_find(host) ? 0 : GPUE_DEVICE_FUNCTION);
}

static int occupancy(int *blocks, const void *host, int threads, size_t shared)
{
	const struct gpu_kernel *kernel;
	struct rt_kernel *k;
	struct gpu *g;
	int rc = blocks && threads > 0 ? kernel_of(host, &k, &kernel, &g) : E_INVALID_VALUE;

	if (!rc)
		*blocks = (int)gpu_occupancy(gpu_info(g), kernel, (unsigned)threads, shared);
	return rc;
}

EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host, int threads,
								 size_t shared);
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host, int threads,
								 size_t shared)
{
	return rt_set(occupancy(blocks, host, threads, shared));
}

EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host, int threads,
									  size_t shared, unsigned flags);
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host, int threads,
									  size_t shared, unsigned flags)
{
	return rt_set(flags & ~1u ? E_INVALID_VALUE : occupancy(blocks, host, threads, shared));
}

EXPORT cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t *shared, const void *host, int blocks, int threads);
EXPORT cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t *shared, const void *host, int blocks, int threads)
{
	const struct gpu_kernel *kernel;
	struct rt_kernel *k;
	struct gpu *g;
	uint64_t n = 0;
	int rc = shared && blocks > 0 && threads > 0 ? kernel_of(host, &k, &kernel, &g) : E_INVALID_VALUE;

	if (!rc)
		rc = gpu_occupancy_shared(gpu_info(g), kernel, (unsigned)blocks, (unsigned)threads, &n);
	if (!rc)
		*shared = n;
	return rt_set(rc);
}
