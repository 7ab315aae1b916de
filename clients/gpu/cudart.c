/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: devices, errors, and the code that compiled programs register. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

static __thread cudaError_t last;

cudaError_t rt_set(cudaError_t code)
{
	if (code && code != GPUE_NOT_READY)
		last = code;
	return code;
}

cudaError_t rt_refuse(const char *function)
{
	if (getenv("ATOLL_GPU_VERBOSE"))
		fprintf(stderr, "atoll-gpu: %s is not supported\n", function);
	return rt_set(GPUE_NOT_SUPPORTED);
}

/* ------------------------------------------------------------------ errors */

/* What came in the meantime counts as an error of this thread. */
static cudaError_t error_now(void)
{
	struct gpu *g;
	int rc = 0;

	if (gpu_connected(order_device()) && order_gpu(&g) == 0) {
		rc = gpu_poll(g);
		if (!rc && !last)
			last = gpu_late_error(g);
	}
	return rc ? rc : last;
}

EXPORT cudaError_t cudaGetLastError(void);
EXPORT cudaError_t cudaGetLastError(void)
{
	cudaError_t rc = error_now();

	last = 0;
	return rc;
}

EXPORT cudaError_t cudaPeekAtLastError(void);
EXPORT cudaError_t cudaPeekAtLastError(void)
{
	return error_now();
}

EXPORT const char *cudaGetErrorString(cudaError_t code);
EXPORT const char *cudaGetErrorString(cudaError_t code)
{
	const char *s = gpu_error_text(code);

	return s ? s : "unrecognized error code";
}

EXPORT const char *cudaGetErrorName(cudaError_t code);
EXPORT const char *cudaGetErrorName(cudaError_t code)
{
	const char *s = gpu_error_name(code);

	return s ? s : "unrecognized error code";
}

/* ------------------------------------------------------------------ fat binaries */

struct rt_image {
	const void *fatbin;
	bool gone, managed; /* managed: it has variables that the host uses directly */
	struct {
		unsigned generation; /* 0: not loaded */
		uint32_t module;
		int error;
	} on[GPU_DEVICES_MAX];
};

struct variable {
	const void *host;
	void **pointer; /* of a managed one: the program's pointer to it */
	char *name;
	struct rt_image *image;
	struct {
		unsigned generation;
		uint64_t address, size;
	} on[GPU_DEVICES_MAX];
	struct variable *next;
};

enum { BUCKETS = 1024 };

static struct rt_kernel *kernels[BUCKETS];
static struct variable *variables[BUCKETS];
static pthread_mutex_t code_lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned bucket(const void *p)
{
	return (unsigned)((uintptr_t)p >> 4) % BUCKETS;
}

EXPORT void **__cudaRegisterFatBinary(void *fatbin);
EXPORT void **__cudaRegisterFatBinary(void *fatbin)
{
	struct rt_image *i = calloc(1, sizeof(*i));

	if (!i) {
		fprintf(stderr, "atoll-gpu: no memory for the program's device code\n");
		return NULL;
	}
	i->fatbin = fatbin;
	return (void **)i;
}

EXPORT void __cudaRegisterFatBinaryEnd(void **handle);
EXPORT void __cudaRegisterFatBinaryEnd(void **handle)
{
	(void)handle;
}

EXPORT void __cudaUnregisterFatBinary(void **handle);
EXPORT void __cudaUnregisterFatBinary(void **handle)
{
	struct rt_image *i = (struct rt_image *)handle;

	if (!i)
		return;
	pthread_mutex_lock(&code_lock);
	i->gone = true; /* its kernels may still be in a list; the session's end frees what the device has */
	pthread_mutex_unlock(&code_lock);
}

static void managed_init(struct rt_image *i);

/* A program calls it before it uses a managed variable. */
EXPORT char __cudaInitModule(void **handle);
EXPORT char __cudaInitModule(void **handle)
{
	if (handle && ((struct rt_image *)handle)->managed)
		managed_init((struct rt_image *)handle);
	return 1;
}

EXPORT void __cudaRegisterFunction(void **handle, const char *host, char *device_fun, const char *name, int limit,
				   void *tid, void *bid, void *block, void *grid, int *warp);
EXPORT void __cudaRegisterFunction(void **handle, const char *host, char *device_fun, const char *name, int limit,
				   void *tid, void *bid, void *block, void *grid, int *warp)
{
	struct rt_kernel *k = calloc(1, sizeof(*k));

	(void)device_fun, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)warp;
	if (!k || !handle || !(k->name = strdup(name))) {
		free(k);
		return; /* its launch is error 98 */
	}
	k->host = host;
	k->image = (struct rt_image *)handle;
	pthread_mutex_lock(&code_lock);
	k->next = kernels[bucket(host)];
	kernels[bucket(host)] = k;
	pthread_mutex_unlock(&code_lock);
}

static void variable_register(void **handle, const void *host, void **pointer, const char *name)
{
	struct variable *v = calloc(1, sizeof(*v));

	if (!v || !handle || !(v->name = strdup(name))) {
		free(v);
		return; /* its use is error 13 */
	}
	v->host = host;
	v->pointer = pointer;
	v->image = (struct rt_image *)handle;
	pthread_mutex_lock(&code_lock);
	v->next = variables[bucket(host)];
	variables[bucket(host)] = v;
	pthread_mutex_unlock(&code_lock);
}

EXPORT void __cudaRegisterVar(void **handle, char *host, char *device_address, const char *name, int external,
			      size_t size, int constant, int global);
EXPORT void __cudaRegisterVar(void **handle, char *host, char *device_address, const char *name, int external,
			      size_t size, int constant, int global)
{
	(void)device_address, (void)external, (void)size, (void)constant, (void)global;
	variable_register(handle, host, NULL, name);
}

EXPORT void __cudaRegisterHostVar(void **handle, const char *name, char *host, size_t size);
EXPORT void __cudaRegisterHostVar(void **handle, const char *name, char *host, size_t size)
{
	(void)handle, (void)name, (void)host, (void)size;
}

EXPORT void __cudaRegisterManagedVar(void **handle, void **host, char *device_address, const char *name,
				     int external, size_t size, int constant, int global);
EXPORT void __cudaRegisterManagedVar(void **handle, void **host, char *device_address, const char *name,
				     int external, size_t size, int constant, int global)
{
	(void)device_address, (void)external, (void)size, (void)constant, (void)global;
	variable_register(handle, host, host, name);
	if (handle)
		((struct rt_image *)handle)->managed = true;
}

/* The module of an image on this device. With code_lock held. */
static int image_load(struct gpu *g, struct rt_image *i, uint32_t *module)
{
	unsigned d = gpu_index(g), now = order_generation(d);

	if (i->gone)
		return GPUE_DEVICE_FUNCTION;
	if (i->on[d].generation != now) {
		i->on[d].error = gpu_module_load(g, i->fatbin, 0, &i->on[d].module);
		i->on[d].generation = now;
	}
	*module = i->on[d].module;
	return i->on[d].error;
}

struct rt_kernel *rt_kernel_find(const void *host)
{
	struct rt_kernel *k;

	pthread_mutex_lock(&code_lock);
	for (k = kernels[bucket(host)]; k && k->host != host; k = k->next)
		;
	if (!k) /* a handle, which is the entry itself? */
		for (unsigned b = 0; b < BUCKETS && !k; b++)
			for (k = kernels[b]; k && k != host; k = k->next)
				;
	pthread_mutex_unlock(&code_lock);
	return k;
}

int rt_kernel_get(struct gpu *g, struct rt_kernel *k, const struct gpu_kernel **out)
{
	unsigned d = gpu_index(g), now = order_generation(d);
	uint32_t module;
	int rc = 0;

	if (__atomic_load_n(&k->on[d].generation, __ATOMIC_ACQUIRE) == now) {
		*out = k->on[d].kernel;
		return k->on[d].refused;
	}
	pthread_mutex_lock(&code_lock);
	if (k->on[d].generation != now) {
		struct gpu_kernel *n = calloc(1, sizeof(*n));

		rc = n ? image_load(g, k->image, &module) : GPUE_MEMORY;
		if (!rc)
			rc = gpu_kernel_get(g, module, k->name, n);
		if (rc == GPUE_NOT_FOUND)
			rc = GPUE_DEVICE_FUNCTION;
		if (rc) {
			free(n);
		} else {
			k->on[d].refused = 0;
			k->on[d].kernel = n; /* one of an earlier life may still be looked at: it stays */
			__atomic_store_n(&k->on[d].generation, now, __ATOMIC_RELEASE);
		}
		if (rc == GPUE_NOT_SUPPORTED) {
			k->on[d].refused = rc;
			__atomic_store_n(&k->on[d].generation, now, __ATOMIC_RELEASE);
		}
	} else {
		rc = k->on[d].refused;
	}
	*out = k->on[d].kernel;
	pthread_mutex_unlock(&code_lock);
	return rc;
}

int rt_variable(struct gpu *g, const void *host, uint64_t *address, uint64_t *size)
{
	unsigned d = gpu_index(g), now = order_generation(d);
	struct variable *v;
	uint32_t module;
	int rc = 0;

	pthread_mutex_lock(&code_lock);
	for (v = variables[bucket(host)]; v && v->host != host; v = v->next)
		;
	if (!v) {
		rc = GPUE_SYMBOL;
	} else if (v->on[d].generation != now) {
		rc = image_load(g, v->image, &module);
		if (!rc)
			rc = gpu_variable_get(g, module, v->name, &v->on[d].address, &v->on[d].size);
		if (rc == GPUE_NOT_FOUND)
			rc = GPUE_SYMBOL;
		if (!rc)
			v->on[d].generation = now;
	}
	if (!rc) {
		*address = v->on[d].address;
		*size = v->on[d].size;
	}
	pthread_mutex_unlock(&code_lock);
	return rc;
}

/* Where the program finds its managed variables: on the device that is current when it first asks. */
static void managed_init(struct rt_image *i)
{
	struct gpu *g;

	if (order_gpu(&g))
		return; /* what the program does next says so */
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct variable *v = variables[b]; v; v = v->next) {
			uint64_t address, size;

			if (v->image != i || !v->pointer || *v->pointer || rt_variable(g, v->host, &address, &size) ||
			    gpu_managed_variable(g, address, size))
				continue;
			*v->pointer = (void *)(uintptr_t)address;
		}
}

/* ------------------------------------------------------------------ devices */

EXPORT cudaError_t cudaGetDeviceCount(int *n);
EXPORT cudaError_t cudaGetDeviceCount(int *n)
{
	if (!n)
		return rt_set(E_INVALID_VALUE);
	*n = (int)gpu_count();
	return rt_set(*n ? 0 : GPUE_NO_DEVICE);
}

EXPORT cudaError_t cudaGetDevice(int *d);
EXPORT cudaError_t cudaGetDevice(int *d)
{
	if (!d)
		return rt_set(E_INVALID_VALUE);
	*d = (int)order_device();
	return rt_set(gpu_count() ? 0 : GPUE_NO_DEVICE);
}

EXPORT cudaError_t cudaSetDevice(int d);
EXPORT cudaError_t cudaSetDevice(int d)
{
	struct gpu *g;
	unsigned n = gpu_count();

	if (d < 0 || (unsigned)d >= n)
		return rt_set(n ? GPUE_INVALID_DEVICE : GPUE_NO_DEVICE);
	order_device_set((unsigned)d);
	return rt_set(order_gpu(&g)); /* makes its context, as it does since CUDA 12 */
}

EXPORT cudaError_t cudaInitDevice(int d, unsigned device_flags, unsigned flags);
EXPORT cudaError_t cudaInitDevice(int d, unsigned device_flags, unsigned flags)
{
	int code = 0;

	(void)device_flags, (void)flags;
	if (d < 0 || (unsigned)d >= gpu_count())
		return rt_set(GPUE_INVALID_DEVICE);
	return rt_set(gpu_get((unsigned)d, &code) ? 0 : code);
}

EXPORT cudaError_t cudaSetDeviceFlags(unsigned flags);
EXPORT cudaError_t cudaSetDeviceFlags(unsigned flags)
{
	return rt_set(flags & ~0xffu ? E_INVALID_VALUE : 0); /* how to wait: there is one way here */
}

EXPORT cudaError_t cudaGetDeviceFlags(unsigned *flags);
EXPORT cudaError_t cudaGetDeviceFlags(unsigned *flags)
{
	if (!flags)
		return rt_set(E_INVALID_VALUE);
	*flags = 0;
	return 0;
}

EXPORT cudaError_t cudaDeviceSynchronize(void);
EXPORT cudaError_t cudaDeviceSynchronize(void)
{
	struct gpu *g;
	int rc = capture_forbids(NULL, true);

	if (!rc)
		rc = order_gpu(&g);
	if (!rc)
		rc = gpu_sync(g);
	if (!rc)
		rc = gpu_late_error(g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaDeviceReset(void);
EXPORT cudaError_t cudaDeviceReset(void)
{
	struct gpu *g;

	if (gpu_connected(order_device()) && order_gpu(&g) == 0) {
		gpu_sync(g);
		order_reset(order_device());
		gpu_reset(g);
	}
	last = 0;
	return 0;
}

EXPORT cudaError_t cudaDriverGetVersion(int *v);
EXPORT cudaError_t cudaDriverGetVersion(int *v)
{
	if (!v)
		return rt_set(E_INVALID_VALUE);
	*v = CUDART_MAJOR * 1000;
	return 0;
}

EXPORT cudaError_t cudaRuntimeGetVersion(int *v);
EXPORT cudaError_t cudaRuntimeGetVersion(int *v)
{
	return cudaDriverGetVersion(v);
}

EXPORT cudaError_t cudaDeviceCanAccessPeer(int *can, int d, int peer);
EXPORT cudaError_t cudaDeviceCanAccessPeer(int *can, int d, int peer)
{
	unsigned n = gpu_count();

	if (!can || d < 0 || peer < 0 || (unsigned)d >= n || (unsigned)peer >= n)
		return rt_set(!can ? E_INVALID_VALUE : GPUE_INVALID_DEVICE);
	*can = 0;
	return 0;
}

EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
	if (least)
		*least = 0;
	if (greatest)
		*greatest = 0;
	return 0;
}

EXPORT cudaError_t cudaProfilerStart(void);
EXPORT cudaError_t cudaProfilerStart(void)
{
	gpu_record(true);
	return 0;
}

EXPORT cudaError_t cudaProfilerStop(void);
EXPORT cudaError_t cudaProfilerStop(void)
{
	gpu_record(false);
	return 0;
}
