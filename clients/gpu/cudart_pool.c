/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcudart: pools of memory, and limits of a device. Memory that is freed goes back at once, as a session does
 * everything in order: a pool keeps nothing, so that it is its attributes only.
 */
#include <stdlib.h>

#include "clients/gpu/cudart_graph.h"

struct pool {
	unsigned device;
	bool is_default;
	uint64_t threshold;
	int reuse[3];
};

enum { /* cudaMemPoolAttr */
	POOL_REUSE_FIRST = 1,
	POOL_REUSE_LAST = 3,
	POOL_THRESHOLD = 4,
	POOL_USED_LAST = 8,
	HANDLES_NONE = 0,
	ALLOCATION_PINNED = 1,
	LOCATION_DEVICE = 1,
};

#define DEFAULT(k) {k, true, 0, {1, 1, 1}}
static struct pool defaults[GPU_DEVICES_MAX] = {DEFAULT(0), DEFAULT(1), DEFAULT(2), DEFAULT(3),
						DEFAULT(4), DEFAULT(5), DEFAULT(6), DEFAULT(7)};
static struct pool *current[GPU_DEVICES_MAX];

static int device_check(int d)
{
	return d < 0 || (unsigned)d >= gpu_count() ? GPUE_INVALID_DEVICE : 0;
}

EXPORT cudaError_t cudaDeviceGetDefaultMemPool(struct pool **p, int d);
EXPORT cudaError_t cudaDeviceGetDefaultMemPool(struct pool **p, int d)
{
	int rc = p ? device_check(d) : E_INVALID_VALUE;

	if (!rc)
		*p = &defaults[d];
	return rt_set(rc);
}

EXPORT cudaError_t cudaDeviceGetMemPool(struct pool **p, int d);
EXPORT cudaError_t cudaDeviceGetMemPool(struct pool **p, int d)
{
	int rc = p ? device_check(d) : E_INVALID_VALUE;

	if (!rc)
		*p = current[d] ? current[d] : &defaults[d];
	return rt_set(rc);
}

EXPORT cudaError_t cudaDeviceSetMemPool(int d, struct pool *p);
EXPORT cudaError_t cudaDeviceSetMemPool(int d, struct pool *p)
{
	int rc = p ? device_check(d) : E_INVALID_VALUE;

	if (!rc && p->device != (unsigned)d)
		rc = GPUE_INVALID_DEVICE;
	if (!rc)
		current[d] = p;
	return rt_set(rc);
}

struct pool_properties {
	int allocation, handles, location, id;
	void *security;
	size_t most;
	unsigned short usage;
	unsigned char reserved[54];
};

EXPORT cudaError_t cudaMemPoolCreate(struct pool **out, const struct pool_properties *q);
EXPORT cudaError_t cudaMemPoolCreate(struct pool **out, const struct pool_properties *q)
{
	struct pool *p;
	int rc = out && q && q->allocation == ALLOCATION_PINNED ? 0 : E_INVALID_VALUE;

	if (!rc && (q->handles != HANDLES_NONE || q->location != LOCATION_DEVICE))
		rc = GPUE_NOT_SUPPORTED;
	if (!rc)
		rc = device_check(q->id);
	p = rc ? NULL : calloc(1, sizeof(*p));
	if (!rc && !p)
		rc = GPUE_MEMORY;
	if (rc)
		return rt_set(rc);
	*p = (struct pool){.device = (unsigned)q->id, .reuse = {1, 1, 1}};
	*out = p;
	return 0;
}

EXPORT cudaError_t cudaMemPoolDestroy(struct pool *p);
EXPORT cudaError_t cudaMemPoolDestroy(struct pool *p)
{
	if (!p || p->is_default)
		return rt_set(E_INVALID_VALUE);
	if (current[p->device] == p)
		current[p->device] = NULL;
	free(p);
	return 0;
}

EXPORT cudaError_t cudaMemPoolTrimTo(struct pool *p, size_t keep);
EXPORT cudaError_t cudaMemPoolTrimTo(struct pool *p, size_t keep)
{
	(void)keep; /* there is nothing that is kept */
	return rt_set(p ? 0 : E_INVALID_VALUE);
}

EXPORT cudaError_t cudaMemPoolSetAttribute(struct pool *p, int attribute, void *value);
EXPORT cudaError_t cudaMemPoolSetAttribute(struct pool *p, int attribute, void *value)
{
	if (!p || !value || attribute < POOL_REUSE_FIRST || attribute > POOL_USED_LAST)
		return rt_set(E_INVALID_VALUE);
	if (attribute <= POOL_REUSE_LAST)
		p->reuse[attribute - POOL_REUSE_FIRST] = *(const int *)value;
	else if (attribute == POOL_THRESHOLD)
		p->threshold = *(const uint64_t *)value;
	else if (*(const uint64_t *)value) /* high-water marks can be set back only */
		return rt_set(E_INVALID_VALUE);
	return 0;
}

EXPORT cudaError_t cudaMemPoolGetAttribute(struct pool *p, int attribute, void *value);
EXPORT cudaError_t cudaMemPoolGetAttribute(struct pool *p, int attribute, void *value)
{
	if (!p || !value || attribute < POOL_REUSE_FIRST || attribute > POOL_USED_LAST)
		return rt_set(E_INVALID_VALUE);
	if (attribute > POOL_THRESHOLD) /* what is allocated is not told apart by pools */
		return rt_set(GPUE_NOT_SUPPORTED);
	if (attribute <= POOL_REUSE_LAST)
		*(int *)value = p->reuse[attribute - POOL_REUSE_FIRST];
	else
		*(uint64_t *)value = p->threshold;
	return 0;
}

struct pool_location {
	int type, id;
};

struct pool_access {
	struct pool_location location;
	int flags;
};

enum { ACCESS_NONE = 0, ACCESS_BOTH = 3, E_PEER = 217 /* cudaErrorPeerAccessUnsupported */ };

/* A device reaches all that is its own, and nothing of another's. */
EXPORT cudaError_t cudaMemPoolSetAccess(struct pool *p, const struct pool_access *list, size_t count);
EXPORT cudaError_t cudaMemPoolSetAccess(struct pool *p, const struct pool_access *list, size_t count)
{
	int rc = p && (list || !count) ? 0 : E_INVALID_VALUE;

	for (size_t k = 0; !rc && k < count; k++) {
		bool own = list[k].location.id == (int)(p ? p->device : 0);

		if (list[k].location.type != LOCATION_DEVICE || list[k].flags < ACCESS_NONE || list[k].flags > ACCESS_BOTH ||
		    (own && list[k].flags != ACCESS_BOTH))
			rc = E_INVALID_VALUE;
		else
			rc = device_check(list[k].location.id);
		if (!rc && !own && list[k].flags)
			rc = E_PEER;
	}
	return rt_set(rc);
}

EXPORT cudaError_t cudaMemPoolGetAccess(int *flags, struct pool *p, const struct pool_location *location);
EXPORT cudaError_t cudaMemPoolGetAccess(int *flags, struct pool *p, const struct pool_location *location)
{
	int rc = flags && p && location && location->type == LOCATION_DEVICE ? device_check(location->id) : E_INVALID_VALUE;

	if (!rc)
		*flags = location->id == (int)p->device ? ACCESS_BOTH : ACCESS_NONE;
	return rt_set(rc);
}

EXPORT cudaError_t cudaMalloc(void **p, size_t size);

EXPORT cudaError_t cudaMallocFromPoolAsync(void **out, size_t size, struct pool *p, cudaStream_t s);
EXPORT cudaError_t cudaMallocFromPoolAsync(void **out, size_t size, struct pool *p, cudaStream_t s)
{
	struct order_stream stream;
	int rc = p ? order_stream_get(s, &stream, NULL) : E_INVALID_VALUE;

	if (!rc && stream.device != p->device)
		rc = GPUE_INVALID_DEVICE;
	if (!rc)
		rc = capture_forbids(s, false);
	return rc ? rt_set(rc) : cudaMalloc(out, size);
}

/* ------------------------------------------------------------------ limits, and hints about caches */

enum {
	LIMIT_STACK = 0,
	LIMIT_PRINTF = 1,
	LIMIT_HEAP = 2,
	LIMITS = 3,
};

/* What the devices have: they are not to be changed, so that less may be asked for and more may not. */
static const size_t limits[LIMITS] = {16 << 10, 1 << 20, 64 << 20};

EXPORT cudaError_t cudaDeviceGetLimit(size_t *value, int limit);
EXPORT cudaError_t cudaDeviceGetLimit(size_t *value, int limit)
{
	if (!value)
		return rt_set(E_INVALID_VALUE);
	if (limit < 0 || limit >= LIMITS)
		return rt_set(215); /* cudaErrorUnsupportedLimit */
	*value = limits[limit];
	return 0;
}

EXPORT cudaError_t cudaDeviceSetLimit(int limit, size_t value);
EXPORT cudaError_t cudaDeviceSetLimit(int limit, size_t value)
{
	if (limit < 0 || limit >= LIMITS)
		return rt_set(215);
	return rt_set(value <= limits[limit] ? 0 : GPUE_MEMORY);
}

EXPORT cudaError_t cudaDeviceGetCacheConfig(int *config);
EXPORT cudaError_t cudaDeviceGetCacheConfig(int *config)
{
	if (!config)
		return rt_set(E_INVALID_VALUE);
	*config = 0; /* no preference */
	return 0;
}

EXPORT cudaError_t cudaDeviceSetCacheConfig(int config);
EXPORT cudaError_t cudaDeviceSetCacheConfig(int config)
{
	return rt_set(config < 0 || config > 3 ? E_INVALID_VALUE : 0);
}
