/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda: memory, copies, streams and events. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cuda.h"

#define P(address) ((void *)(uintptr_t)(address))
#define A(pointer) ((uint64_t)(uintptr_t)(pointer))

API(cuMemAlloc_v2(device_pointer *p, size_t size))
{
	struct gpu *g;
	int rc = p && size ? drv_gpu(&g) : GPUE_INVALID_VALUE;

	return rc ? rc : gpu_malloc(g, size, p);
}

API(cuMemFree_v2(device_pointer p))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (rc || !p)
		return rc;
	g = gpu_of_address(p, NULL, NULL);
	return g ? gpu_free(g, p) : GPUE_INVALID_VALUE;
}

API(cuMemAllocPitch_v2(device_pointer *p, size_t *pitch, size_t width, size_t height, unsigned element))
{
	size_t n;

	if (!pitch || (element != 4 && element != 8 && element != 16) || width > (1ull << 40))
		return GPUE_INVALID_VALUE;
	*pitch = (width + 511) / 512 * 512;
	if (__builtin_mul_overflow(*pitch, height, &n))
		return GPUE_MEMORY;
	return cuMemAlloc_v2(p, n);
}

API(cuMemAllocAsync(device_pointer *p, size_t size, void *s))
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	return rc ? rc : cuMemAlloc_v2(p, size);
}

API(cuMemFreeAsync(device_pointer p, void *s))
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	return rc ? rc : p ? cuMemFree_v2(p) : GPUE_INVALID_VALUE;
}

API(cuMemGetInfo_v2(size_t *free_bytes, size_t *total))
{
	uint64_t f = 0, t = 0;
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_memory(g, &f, &t);
	if (free_bytes)
		*free_bytes = f;
	if (total)
		*total = t;
	return rc;
}

API(cuMemGetAddressRange_v2(device_pointer *base, size_t *size, device_pointer p))
{
	uint64_t b, n;

	if (!gpu_of_address(p, &b, &n))
		return GPUE_NOT_FOUND;
	if (base)
		*base = b;
	if (size)
		*size = n;
	return 0;
}

API(cuMemHostAlloc(void **p, size_t size, unsigned flags))
{
	uint64_t address;
	struct gpu *g;
	int rc = p && size && !(flags & ~7u) ? drv_gpu(&g) : GPUE_INVALID_VALUE;

	if (rc || !(flags & 2)) /* not mapped */
		return rc ? rc : gpu_host_alloc(g, size, p);
	rc = gpu_managed_new(g, size, &address);
	if (!rc)
		*p = P(address);
	return rc;
}

API(cuMemHostGetDevicePointer_v2(device_pointer *device, void *p, unsigned flags))
{
	struct gpu *g = gpu_of_address(A(p), NULL, NULL);

	if (!device || flags || !g || !gpu_is_managed(g, A(p)))
		return GPUE_INVALID_VALUE;
	*device = A(p);
	return 0;
}

API(cuMemAllocManaged(device_pointer *p, size_t size, unsigned flags))
{
	struct gpu *g;
	int rc = p && size && (flags == 1 || flags == 2) ? drv_gpu(&g) : GPUE_INVALID_VALUE;

	return rc ? rc : gpu_managed_new(g, size, p);
}

API(cuMemAllocHost_v2(void **p, size_t size))
{
	return cuMemHostAlloc(p, size, 0);
}

API(cuMemFreeHost(void *p))
{
	for (unsigned k = 0; k < GPU_DEVICES_MAX; k++) {
		int code;
		struct gpu *g = gpu_connected(k) ? gpu_get(k, &code) : NULL;

		if (g && (gpu_is_managed(g, A(p)) ? gpu_free(g, A(p)) : gpu_host_free(g, p)) == 0)
			return 0;
	}
	return GPUE_INVALID_VALUE;
}

API(cuPointerGetAttribute(void *data, int attribute, device_pointer p))
{
	uint64_t base, size;
	struct gpu *g = gpu_of_address(p, &base, &size);

	if (!data || !g) /* of the host: nothing is known of it here */
		return GPUE_INVALID_VALUE;
	switch (attribute) {
	case 2: /* memory type */
		*(unsigned *)data = 2;
		return 0;
	case 3: /* device pointer */
		*(uint64_t *)data = p;
		return 0;
	case 8: /* managed */
		*(unsigned *)data = gpu_is_managed(g, p);
		return 0;
	case 9: /* device */
		*(int *)data = (int)gpu_index(g);
		return 0;
	case 11:
		*(uint64_t *)data = base;
		return 0;
	case 12:
		*(size_t *)data = size;
		return 0;
	case 13: /* mapped */
		*(unsigned char *)data = 1;
		return 0;
	default:
		return GPUE_NOT_SUPPORTED;
	}
}

/* ------------------------------------------------------------------ copies */

static int copy(uint64_t to, uint64_t from, size_t size)
{
	struct gpu *g, *tg, *fg;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_poll(g);
	if (rc || !size)
		return rc;
	tg = gpu_of_address(to, NULL, NULL);
	fg = gpu_of_address(from, NULL, NULL);
	if (tg && fg)
		return tg == fg ? gpu_copy_on_device(tg, to, from, size) : GPUE_NOT_SUPPORTED;
	if (tg)
		return gpu_copy_to_device(tg, to, P(from), size);
	if (!fg)
		return GPUE_INVALID_VALUE;
	rc = gpu_copy_to_host(fg, P(to), from, size);
	return rc ? rc : gpu_wait(fg, 0); /* prints */
}

static int copy_in(uint64_t to, uint64_t from, size_t size, void *s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = copy(to, from, size);
	if (!rc && drv_gpu(&g) == 0)
		order_stream_used(s, g);
	return rc;
}

/* The side that must be the device's is: an address of the host there is an error, not a copy. */
static bool device(uint64_t p, size_t size)
{
	return !size || gpu_of_address(p, NULL, NULL);
}

API(cuMemcpy(device_pointer to, device_pointer from, size_t size))
{
	return copy(to, from, size);
}

API(cuMemcpyAsync(device_pointer to, device_pointer from, size_t size, void *s))
{
	return copy_in(to, from, size, s);
}

API(cuMemcpyHtoD_v2(device_pointer to, const void *from, size_t size))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_poll(g);
	return rc ? rc : device(to, size) ? copy(to, A(from), size) : GPUE_INVALID_VALUE;
}

API(cuMemcpyDtoH_v2(void *to, device_pointer from, size_t size))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_poll(g);
	return rc ? rc : device(from, size) ? copy(A(to), from, size) : GPUE_INVALID_VALUE;
}

API(cuMemcpyDtoD_v2(device_pointer to, device_pointer from, size_t size))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = gpu_poll(g);
	return rc ? rc : device(to, size) && device(from, size) ? copy(to, from, size) : GPUE_INVALID_VALUE;
}

API(cuMemcpyHtoDAsync_v2(device_pointer to, const void *from, size_t size, void *s))
{
	return device(to, size) ? copy_in(to, A(from), size, s) : GPUE_INVALID_VALUE;
}

API(cuMemcpyDtoHAsync_v2(void *to, device_pointer from, size_t size, void *s))
{
	return device(from, size) ? copy_in(A(to), from, size, s) : GPUE_INVALID_VALUE;
}

API(cuMemcpyDtoDAsync_v2(device_pointer to, device_pointer from, size_t size, void *s))
{
	return device(to, size) && device(from, size) ? copy_in(to, from, size, s) : GPUE_INVALID_VALUE;
}

static int fill(device_pointer p, size_t pitch, uint32_t value, uint32_t element, size_t width, size_t height, void *s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = drv_gpu(&g);

	if (!rc)
		rc = order_stream_get(s, &stream, NULL);
	if (!rc && width && height && !gpu_of_address(p, NULL, NULL))
		rc = gpu_poll(g) ? gpu_poll(g) : GPUE_INVALID_VALUE;
	if (!rc)
		rc = gpu_fill(g, p, pitch, value, element, width, height);
	if (!rc)
		order_stream_used(s, g);
	return rc;
}

API(cuMemsetD8_v2(device_pointer p, unsigned char v, size_t n))
{
	return fill(p, 0, v, 1, n, 1, NULL);
}

API(cuMemsetD16_v2(device_pointer p, unsigned short v, size_t n))
{
	return fill(p, 0, v, 2, n, 1, NULL);
}

API(cuMemsetD32_v2(device_pointer p, unsigned v, size_t n))
{
	return fill(p, 0, v, 4, n, 1, NULL);
}

API(cuMemsetD8Async(device_pointer p, unsigned char v, size_t n, void *s))
{
	return fill(p, 0, v, 1, n, 1, s);
}

API(cuMemsetD16Async(device_pointer p, unsigned short v, size_t n, void *s))
{
	return fill(p, 0, v, 2, n, 1, s);
}

API(cuMemsetD32Async(device_pointer p, unsigned v, size_t n, void *s))
{
	return fill(p, 0, v, 4, n, 1, s);
}

API(cuMemsetD2D8_v2(device_pointer p, size_t pitch, unsigned char v, size_t width, size_t height))
{
	return fill(p, pitch, v, 1, width, height, NULL);
}

API(cuMemsetD2D32_v2(device_pointer p, size_t pitch, unsigned v, size_t width, size_t height))
{
	return fill(p, pitch, v, 4, width, height, NULL);
}

/* ------------------------------------------------------------------ streams and events */

API(cuStreamCreate(void **s, unsigned flags))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	return rc ? rc : order_stream_new(s, flags, 0);
}

API(cuStreamCreateWithPriority(void **s, unsigned flags, int priority))
{
	(void)priority; /* there is one */
	return cuStreamCreate(s, flags);
}

API(cuStreamDestroy_v2(void *s))
{
	return order_stream_destroy(s);
}

API(cuStreamSynchronize(void *s))
{
	return order_stream_wait(s);
}

API(cuStreamQuery(void *s))
{
	return order_stream_query(s);
}

API(cuStreamWaitEvent(void *s, void *ev, unsigned flags))
{
	return order_stream_wait_event(s, ev, flags);
}

API(cuStreamIsCapturing(void *s, int *status))
{
	struct order_stream stream;
	int rc = status ? order_stream_get(s, &stream, NULL) : GPUE_INVALID_VALUE;

	if (!rc)
		*status = 0; /* capture cannot begin */
	return rc;
}

API(cuStreamGetFlags(void *s, unsigned *flags))
{
	struct order_stream stream;
	int rc = flags ? order_stream_get(s, &stream, NULL) : GPUE_INVALID_VALUE;

	if (!rc)
		*flags = stream.flags;
	return rc;
}

API(cuEventCreate(void **ev, unsigned flags))
{
	struct gpu *g;
	int rc = drv_gpu(&g);

	return rc ? rc : order_event_new(ev, flags);
}

API(cuEventDestroy_v2(void *ev))
{
	return order_event_destroy(ev);
}

API(cuEventRecord(void *ev, void *s))
{
	return order_event_record(ev, s);
}

API(cuEventQuery(void *ev))
{
	return order_event_query(ev);
}

API(cuEventSynchronize(void *ev))
{
	return order_event_wait(ev);
}

API(cuEventElapsedTime_v2(float *ms, void *from, void *to))
{
	return order_elapsed(ms, from, to);
}

API(cuEventElapsedTime(float *ms, void *from, void *to))
{
	return order_elapsed(ms, from, to);
}

/* Runs here and now, once everything before it is done: what comes after it then is later, too. */
API(cuLaunchHostFunc(void *s, void (*function)(void *), void *user))
{
	int rc = function ? order_stream_wait(s) : GPUE_INVALID_VALUE;

	if (!rc)
		function(user);
	return rc;
}
