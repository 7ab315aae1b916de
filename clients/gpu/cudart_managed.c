/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: managed memory, which managed.c keeps the same on both sides; advice about it is taken and not needed. */
#include "clients/gpu/cudart.h"

#define A(p) ((uint64_t)(uintptr_t)(p))

enum {
	ATTACH_GLOBAL = 1,
	ATTACH_HOST = 2,
	ATTACH_SINGLE = 4,
	ADVICE_MAX = 6,
	RANGE_READ_MOSTLY = 1,
	RANGE_LAST = 8,
	LOCATION_NONE = -2, /* cudaInvalidDeviceId */
};

struct location {
	int type, id;
};

EXPORT cudaError_t cudaMallocManaged(void **p, size_t size, unsigned flags);
EXPORT cudaError_t cudaMallocManaged(void **p, size_t size, unsigned flags)
{
	uint64_t address = 0;
	struct gpu *g;
	int rc;

	if (!p || !size || (flags != ATTACH_GLOBAL && flags != ATTACH_HOST))
		return rt_set(E_INVALID_VALUE);
	*p = NULL;
	rc = order_gpu(&g);
	if (!rc)
		rc = gpu_managed_new(g, size, &address);
	if (!rc)
		*p = (void *)(uintptr_t)address;
	return rt_set(rc);
}

/* All of it in one allocation that is managed; 1. */
static int managed(const void *p, size_t size)
{
	struct gpu *g = gpu_of_address(A(p), NULL, NULL);

	return g && size && gpu_is_managed(g, A(p)) && gpu_owns(g, A(p), size) ? 0 : E_INVALID_VALUE;
}

static int prefetch(const void *p, size_t size, cudaStream_t s)
{
	struct order_stream stream;
	int rc = managed(p, size);

	return rc ? rc : order_stream_get(s, &stream, NULL);
}

static int advise(const void *p, size_t size, int advice)
{
	return advice < 1 || advice > ADVICE_MAX ? E_INVALID_VALUE : managed(p, size);
}

#if CUDART_MAJOR == 12
EXPORT cudaError_t cudaMemPrefetchAsync(const void *p, size_t size, int device, cudaStream_t s);
EXPORT cudaError_t cudaMemPrefetchAsync(const void *p, size_t size, int device, cudaStream_t s)
{
	return rt_set(device < -1 || device >= (int)gpu_count() ? GPUE_INVALID_DEVICE : prefetch(p, size, s));
}

EXPORT cudaError_t cudaMemAdvise(const void *p, size_t size, int advice, int device);
EXPORT cudaError_t cudaMemAdvise(const void *p, size_t size, int advice, int device)
{
	return rt_set(device < -1 || device >= (int)gpu_count() ? GPUE_INVALID_DEVICE : advise(p, size, advice));
}
#else
EXPORT cudaError_t cudaMemPrefetchAsync(const void *p, size_t size, struct location where, unsigned flags,
					cudaStream_t s);
EXPORT cudaError_t cudaMemPrefetchAsync(const void *p, size_t size, struct location where, unsigned flags,
					cudaStream_t s)
{
	(void)where;
	return rt_set(flags ? E_INVALID_VALUE : prefetch(p, size, s));
}

EXPORT cudaError_t cudaMemAdvise(const void *p, size_t size, int advice, struct location where);
EXPORT cudaError_t cudaMemAdvise(const void *p, size_t size, int advice, struct location where)
{
	(void)where;
	return rt_set(advise(p, size, advice));
}
#endif

/* Nothing is remembered of advice: what CUDA says of a range that none was given for. */
EXPORT cudaError_t cudaMemRangeGetAttribute(void *data, size_t data_size, int attribute, const void *p, size_t size);
EXPORT cudaError_t cudaMemRangeGetAttribute(void *data, size_t data_size, int attribute, const void *p, size_t size)
{
	if (!data || data_size < sizeof(int) || data_size % sizeof(int) || attribute < RANGE_READ_MOSTLY ||
	    attribute > RANGE_LAST || managed(p, size))
		return rt_set(E_INVALID_VALUE);
	for (size_t k = 0; k < data_size / sizeof(int); k++)
		((int *)data)[k] = attribute == RANGE_READ_MOSTLY ? 0 : LOCATION_NONE;
	return 0;
}

EXPORT cudaError_t cudaStreamAttachMemAsync(cudaStream_t s, void *p, size_t size, unsigned flags);
EXPORT cudaError_t cudaStreamAttachMemAsync(cudaStream_t s, void *p, size_t size, unsigned flags)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc && (flags & ~(unsigned)(ATTACH_GLOBAL | ATTACH_HOST | ATTACH_SINGLE)))
		rc = E_INVALID_VALUE;
	return rt_set(rc ? rc : managed(p, size ? size : 1));
}
