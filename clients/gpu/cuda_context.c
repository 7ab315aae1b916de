/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda: devices, contexts, and how other functions are found. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cuda.h"

enum {
	VERSION = 13000,
	STACK = 32,
	NOT_INITIALIZED = 3,
	NO_CONTEXT = 201,
};

struct context {
	uint64_t magic;
	unsigned device, flags;
	bool primary;
};

#define MAGIC 0x61746f6c6c637478ull

#define PRIMARY(k) {MAGIC, k, 0, true}
static struct context primary[GPU_DEVICES_MAX] = {PRIMARY(0), PRIMARY(1), PRIMARY(2), PRIMARY(3),
						  PRIMARY(4), PRIMARY(5), PRIMARY(6), PRIMARY(7)};
static unsigned primary_held[GPU_DEVICES_MAX], made[GPU_DEVICES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialized;
static __thread struct context *stack[STACK];
static __thread unsigned depth;

int drv_refuse(const char *function)
{
	if (getenv("ATOLL_GPU_VERBOSE"))
		fprintf(stderr, "atoll-gpu: %s is not supported\n", function);
	return GPUE_NOT_SUPPORTED;
}

static int good(int device)
{
	if (!initialized)
		return NOT_INITIALIZED;
	return device < 0 || (unsigned)device >= gpu_count() ? GPUE_INVALID_DEVICE : 0;
}

static void current_set(struct context *c)
{
	if (c)
		order_device_set(c->device);
}

/* A thread that has used the runtime has the device's primary context without having asked. */
static struct context *current(void)
{
	unsigned d = order_device();

	if (depth)
		return stack[depth - 1];
	return order_active(d) ? &primary[d] : NULL;
}

int drv_gpu(struct gpu **g)
{
	if (!initialized && !current())
		return NOT_INITIALIZED;
	if (!current())
		return NO_CONTEXT;
	return order_gpu(g);
}

/* ------------------------------------------------------------------ start, errors */

API(cuInit(unsigned flags))
{
	if (flags)
		return GPUE_INVALID_VALUE;
	if (!gpu_count())
		return GPUE_NO_DEVICE;
	initialized = true;
	return 0;
}

API(cuDriverGetVersion(int *v))
{
	if (!v)
		return GPUE_INVALID_VALUE;
	*v = VERSION;
	return 0;
}

/* The driver's names are its own; of those that are the same error, the ones that programs meet. */
API(cuGetErrorName(int code, const char **name))
{
	static const struct {
		int code;
		const char *name;
	} names[] = {
		{0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"},
		{3, "CUDA_ERROR_NOT_INITIALIZED"}, {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"}, {100, "CUDA_ERROR_NO_DEVICE"},
		{101, "CUDA_ERROR_INVALID_DEVICE"}, {200, "CUDA_ERROR_INVALID_IMAGE"},
		{201, "CUDA_ERROR_INVALID_CONTEXT"}, {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
		{218, "CUDA_ERROR_INVALID_PTX"}, {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
		{301, "CUDA_ERROR_FILE_NOT_FOUND"}, {302, "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND"},
		{400, "CUDA_ERROR_INVALID_HANDLE"}, {500, "CUDA_ERROR_NOT_FOUND"}, {600, "CUDA_ERROR_NOT_READY"},
		{700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
		{702, "CUDA_ERROR_LAUNCH_TIMEOUT"}, {710, "CUDA_ERROR_ASSERT"}, {716, "CUDA_ERROR_MISALIGNED_ADDRESS"},
		{717, "CUDA_ERROR_INVALID_ADDRESS_SPACE"}, {718, "CUDA_ERROR_INVALID_PC"},
		{719, "CUDA_ERROR_LAUNCH_FAILED"}, {720, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE"},
		{801, "CUDA_ERROR_NOT_SUPPORTED"}, {999, "CUDA_ERROR_UNKNOWN"},
	};

	if (!name)
		return GPUE_INVALID_VALUE;
	*name = NULL;
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (names[k].code == code)
			*name = names[k].name;
	return *name ? 0 : GPUE_INVALID_VALUE;
}

API(cuGetErrorString(int code, const char **text))
{
	if (!text)
		return GPUE_INVALID_VALUE;
	*text = gpu_error_text(code);
	return *text ? 0 : GPUE_INVALID_VALUE;
}

/* ------------------------------------------------------------------ devices */

API(cuDeviceGetCount(int *n))
{
	if (!initialized || !n)
		return n ? NOT_INITIALIZED : GPUE_INVALID_VALUE;
	*n = (int)gpu_count();
	return 0;
}

API(cuDeviceGet(int *device, int ordinal))
{
	int rc = device ? good(ordinal) : GPUE_INVALID_VALUE;

	if (!rc)
		*device = ordinal;
	return rc;
}

static int info_of(int device, const struct gpu_result_info **i)
{
	int rc = good(device);
	struct gpu *g = rc ? NULL : gpu_get((unsigned)device, &rc);

	*i = g ? gpu_info(g) : NULL;
	return g || rc ? rc : GPUE_NO_DEVICE;
}

API(cuDeviceGetName(char *name, int size, int device))
{
	const struct gpu_result_info *i = NULL;
	int rc = name && size > 0 ? info_of(device, &i) : GPUE_INVALID_VALUE;

	if (!rc)
		snprintf(name, (size_t)size, "%.64s", i->name);
	return rc;
}

API(cuDeviceTotalMem_v2(size_t *bytes, int device))
{
	const struct gpu_result_info *i = NULL;
	struct gpu *g;
	uint64_t f, t = 0;
	int rc = bytes ? info_of(device, &i) : GPUE_INVALID_VALUE;

	if (!rc) {
		g = gpu_get((unsigned)device, &rc);
		rc = g ? gpu_memory(g, &f, &t) : rc;
		*bytes = t;
	}
	return rc;
}

API(cuDeviceGetUuid_v2(char uuid[16], int device))
{
	const struct gpu_result_info *i = NULL;
	int rc = uuid ? info_of(device, &i) : GPUE_INVALID_VALUE;

	if (!rc)
		memcpy(uuid, i->uuid, 16);
	return rc;
}

API(cuDeviceGetUuid(char uuid[16], int device))
{
	return cuDeviceGetUuid_v2(uuid, device);
}

API(cuDeviceGetAttribute(int *value, int attribute, int device))
{
	const struct gpu_result_info *i = NULL;
	int rc = value && attribute > 0 ? info_of(device, &i) : GPUE_INVALID_VALUE;

	if (!rc)
		*value = attribute == 33 ? device + 1 : gpu_attribute(i, attribute);
	return rc;
}

API(cuDeviceComputeCapability(int *major, int *minor, int device))
{
	const struct gpu_result_info *i = NULL;
	int rc = major && minor ? info_of(device, &i) : GPUE_INVALID_VALUE;

	if (!rc) {
		*major = (int)i->compute_major;
		*minor = (int)i->compute_minor;
	}
	return rc;
}

API(cuDeviceGetPCIBusId(char *text, int length, int device))
{
	int rc = text && length >= 13 ? good(device) : GPUE_INVALID_VALUE;

	if (!rc)
		snprintf(text, (size_t)length, "0000:%02x:00.0", device + 1);
	return rc;
}

API(cuDeviceCanAccessPeer(int *can, int device, int peer))
{
	int rc = can ? good(device) : GPUE_INVALID_VALUE;

	if (!rc)
		rc = good(peer);
	if (!rc)
		*can = 0;
	return rc;
}

/* ------------------------------------------------------------------ contexts */

API(cuDevicePrimaryCtxRetain(struct context **c, int device))
{
	int rc = c ? good(device) : GPUE_INVALID_VALUE;

	if (rc || !gpu_get((unsigned)device, &rc))
		return rc;
	pthread_mutex_lock(&lock);
	primary_held[device]++;
	pthread_mutex_unlock(&lock);
	*c = &primary[device];
	return 0;
}

/* Nobody holds a context of the device any more: what it had is freed. */
static void forget(unsigned device)
{
	struct gpu *g;
	int code;

	if (!gpu_connected(device) || !(g = gpu_get(device, &code)))
		return;
	gpu_sync(g);
	order_reset(device);
	gpu_reset(g);
}

API(cuDevicePrimaryCtxRelease_v2(int device))
{
	int rc = good(device);
	bool last = false;

	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	if (!primary_held[device])
		rc = NO_CONTEXT;
	else
		last = --primary_held[device] == 0 && !made[device];
	pthread_mutex_unlock(&lock);
	if (last)
		forget((unsigned)device);
	return rc;
}

API(cuDevicePrimaryCtxReset_v2(int device))
{
	int rc = good(device);

	if (!rc)
		forget((unsigned)device);
	return rc;
}

API(cuDevicePrimaryCtxSetFlags_v2(int device, unsigned flags))
{
	int rc = good(device);

	return rc ? rc : flags & ~0xffu ? GPUE_INVALID_VALUE : 0;
}

API(cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active))
{
	int rc = flags && active ? good(device) : GPUE_INVALID_VALUE;

	if (!rc) {
		*flags = 0;
		*active = gpu_connected((unsigned)device);
	}
	return rc;
}

static int push(struct context *c)
{
	if (depth == STACK)
		return GPUE_INVALID_VALUE;
	stack[depth++] = c;
	current_set(c);
	return 0;
}

API(cuCtxCreate_v2(struct context **c, unsigned flags, int device))
{
	int rc = c ? good(device) : GPUE_INVALID_VALUE;
	struct context *n;

	if (rc || !gpu_get((unsigned)device, &rc))
		return rc;
	n = malloc(sizeof(*n));
	if (!n)
		return GPUE_MEMORY;
	*n = (struct context){MAGIC, (unsigned)device, flags, false};
	rc = push(n);
	if (rc) {
		free(n);
		return rc;
	}
	pthread_mutex_lock(&lock);
	made[device]++;
	pthread_mutex_unlock(&lock);
	*c = n;
	return 0;
}

API(cuCtxCreate_v3(struct context **c, const void *affinity, int n, unsigned flags, int device))
{
	return affinity || n ? GPUE_NOT_SUPPORTED : cuCtxCreate_v2(c, flags, device);
}

struct context_params { /* affinities, and graphics that share the device */
	const void *affinity;
	int count;
	const void *graphics;
};

API(cuCtxCreate_v4(struct context **c, const struct context_params *p, unsigned flags, int device))
{
	if (p && (p->affinity || p->count || p->graphics))
		return GPUE_NOT_SUPPORTED;
	return cuCtxCreate_v2(c, flags, device);
}

API(cuCtxDestroy_v2(struct context *c))
{
	bool last;

	if (!c || c->magic != MAGIC || c->primary)
		return NO_CONTEXT;
	if (depth && stack[depth - 1] == c) {
		depth--;
		current_set(current());
	}
	c->magic = 0;
	pthread_mutex_lock(&lock);
	last = --made[c->device] == 0 && !primary_held[c->device];
	pthread_mutex_unlock(&lock);
	if (last)
		forget(c->device);
	free(c);
	return 0;
}

API(cuCtxPushCurrent_v2(struct context *c))
{
	return c && c->magic == MAGIC ? push(c) : NO_CONTEXT;
}

API(cuCtxPopCurrent_v2(struct context **c))
{
	if (!depth)
		return NO_CONTEXT;
	depth--;
	if (c)
		*c = stack[depth];
	current_set(depth ? stack[depth - 1] : NULL);
	return 0;
}

API(cuCtxSetCurrent(struct context *c))
{
	if (c && c->magic != MAGIC)
		return NO_CONTEXT;
	if (depth)
		depth--;
	return c ? push(c) : 0;
}

API(cuCtxGetCurrent(struct context **c))
{
	if (!initialized || !c)
		return c ? NOT_INITIALIZED : GPUE_INVALID_VALUE;
	*c = current();
	return 0;
}

API(cuCtxGetDevice(int *device))
{
	const struct context *c = current();

	if (!device || !c)
		return device ? NO_CONTEXT : GPUE_INVALID_VALUE;
	*device = (int)c->device;
	return 0;
}

API(cuCtxGetFlags(unsigned *flags))
{
	const struct context *c = current();

	if (!flags || !c)
		return flags ? NO_CONTEXT : GPUE_INVALID_VALUE;
	*flags = c->flags;
	return 0;
}

API(cuCtxGetApiVersion(struct context *c, unsigned *v))
{
	(void)c;
	if (!v)
		return GPUE_INVALID_VALUE;
	*v = 3020;
	return 0;
}

API(cuCtxGetStreamPriorityRange(int *least, int *greatest))
{
	if (least)
		*least = 0;
	if (greatest)
		*greatest = 0;
	return 0;
}

API(cuCtxSynchronize(void))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_sync(g);
	return rc ? rc : gpu_late_error(g);
}

/* ------------------------------------------------------------------ functions by name */

enum { STATUS_FOUND, STATUS_NONE, STATUS_TOO_OLD };

/*
 * A name without its suffix is the newest form that @version has. Streams have one order here, so that the
 * per-thread forms, which @flags may ask for, are the same functions.
 */
API(cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status))
{
	char form[128];
	const char *suffix[] = {"_v2", "", NULL};
	void *p = NULL;

	(void)flags;
	if (!name || !function)
		return GPUE_INVALID_VALUE;
	if (!strcmp(name, "cuCtxCreate"))
		suffix[0] = version >= 12050 ? "_v4" : version >= 11040 ? "_v3" : "_v2";
	for (unsigned k = 0; suffix[k] && !p; k++) {
		snprintf(form, sizeof(form), "%s%s", name, suffix[k]);
		p = drv_function(form);
	}
	*function = p;
	if (status)
		*status = p ? STATUS_FOUND : STATUS_NONE;
	return p ? 0 : GPUE_NOT_FOUND;
}

API(cuGetProcAddress(const char *name, void **function, int version, uint64_t flags))
{
	return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

API(cuGetExportTable(const void **table, const void *id))
{
	(void)id;
	if (table)
		*table = NULL;
	return GPUE_NOT_FOUND; /* what has no documentation is not offered */
}

/* ------------------------------------------------------------------ profilers */

API(cuProfilerStart(void))
{
	gpu_record(true);
	return 0;
}

API(cuProfilerStop(void))
{
	gpu_record(false);
	return 0;
}
