/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcudart: memory and copies. Whether an address is the device's is known from the address, as the
 * window of the device is reserved in this process, too; the kind that a program gives is checked against it.
 *
 * Copies to the host are done when the call returns, also asynchronous ones, and copies from it have left the
 * program's memory: CUDA allows that, and says it of memory that is not pinned.
 */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

#define A(p) ((uint64_t)(uintptr_t)(p))

enum { HOST_MAPPED = 2 }; /* cudaHostAllocMapped */

EXPORT cudaError_t cudaMalloc(void **p, size_t size);
EXPORT cudaError_t cudaMalloc(void **p, size_t size)
{
	uint64_t address;
	struct gpu *g;
	int rc;

	if (!p)
		return rt_set(E_INVALID_VALUE);
	*p = NULL;
	rc = order_gpu(&g);
	if (!rc)
		rc = gpu_malloc(g, size, &address);
	if (!rc)
		*p = (void *)(uintptr_t)address;
	return rt_set(rc);
}

EXPORT cudaError_t cudaFree(void *p);
EXPORT cudaError_t cudaFree(void *p)
{
	struct gpu *g;
	int rc;

	if (!p) { /* programs call it to have a context made */
		rc = order_gpu(&g);
		return rt_set(rc ? rc : gpu_poll(g));
	}
	g = gpu_of_address(A(p), NULL, NULL);
	if (!g) {
		rc = order_gpu(&g);
		return rt_set(!rc && (rc = gpu_poll(g)) == 0 ? E_INVALID_VALUE : rc);
	}
	return rt_set(gpu_free(g, A(p)));
}

EXPORT cudaError_t cudaMallocPitch(void **p, size_t *pitch, size_t width, size_t height);
EXPORT cudaError_t cudaMallocPitch(void **p, size_t *pitch, size_t width, size_t height)
{
	size_t n;

	if (!p || !pitch || width > (1ull << 40))
		return rt_set(E_INVALID_VALUE);
	*pitch = (width + 511) / 512 * 512;
	if (__builtin_mul_overflow(*pitch, height, &n))
		return rt_set(GPUE_MEMORY);
	return cudaMalloc(p, n);
}

EXPORT cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
EXPORT cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
	uint64_t f = 0, t = 0;
	struct gpu *g;
	int rc = order_gpu(&g);

	if (!rc)
		rc = gpu_memory(g, &f, &t);
	if (free_bytes)
		*free_bytes = f;
	if (total)
		*total = t;
	return rt_set(rc);
}

/* ------------------------------------------------------------------ memory of the host */

/* What cudaMallocHost gave: needed for cudaFreeHost and for pointer attributes. */
struct pinned {
	void *p;
	size_t size;
	unsigned flags, device;
	bool registered; /* the program's own */
	struct pinned *next;
};

static struct pinned *pinned;
static pthread_mutex_t pinned_lock = PTHREAD_MUTEX_INITIALIZER;

static cudaError_t pinned_add(void *p, size_t size, unsigned flags, bool registered)
{
	struct pinned *n = malloc(sizeof(*n));

	if (!n)
		return GPUE_MEMORY;
	*n = (struct pinned){p, size, flags, order_device(), registered, NULL};
	pthread_mutex_lock(&pinned_lock);
	n->next = pinned;
	pinned = n;
	pthread_mutex_unlock(&pinned_lock);
	return 0;
}

static bool pinned_remove(void *p, bool registered, unsigned *device)
{
	struct pinned *found = NULL;

	pthread_mutex_lock(&pinned_lock);
	for (struct pinned **at = &pinned; *at; at = &(*at)->next)
		if ((*at)->p == p && (*at)->registered == registered) {
			found = *at;
			*at = found->next;
			*device = found->device;
			break;
		}
	pthread_mutex_unlock(&pinned_lock);
	free(found);
	return found;
}

static bool pinned_find(const void *p, unsigned *flags)
{
	bool is = false;

	pthread_mutex_lock(&pinned_lock);
	for (const struct pinned *n = pinned; n && !is; n = n->next)
		if (A(p) - A(n->p) < n->size) {
			*flags = n->flags;
			is = true;
		}
	pthread_mutex_unlock(&pinned_lock);
	return is;
}

static void host_free(struct gpu *g, void *p)
{
	if (gpu_is_managed(g, A(p)))
		gpu_free(g, A(p));
	else
		gpu_host_free(g, p);
}

EXPORT cudaError_t cudaHostAlloc(void **p, size_t size, unsigned flags);
EXPORT cudaError_t cudaHostAlloc(void **p, size_t size, unsigned flags)
{
	uint64_t address = 0;
	struct gpu *g;
	int rc;

	if (!p || flags & ~7u)
		return rt_set(E_INVALID_VALUE);
	*p = NULL;
	if (size == 0)
		return 0;
	rc = order_gpu(&g);
	if (!rc && flags & HOST_MAPPED) /* kernels use it by the same address: managed memory is that */
		rc = gpu_managed_new(g, size, &address);
	else if (!rc)
		rc = gpu_host_alloc(g, size, p);
	if (rc)
		return rt_set(rc);
	if (flags & HOST_MAPPED)
		*p = (void *)(uintptr_t)address;
	rc = pinned_add(*p, size, flags, false);
	if (rc) {
		host_free(g, *p);
		*p = NULL;
	}
	return rt_set(rc);
}

EXPORT cudaError_t cudaMallocHost(void **p, size_t size);
EXPORT cudaError_t cudaMallocHost(void **p, size_t size)
{
	return cudaHostAlloc(p, size, 0);
}

EXPORT cudaError_t cudaFreeHost(void *p);
EXPORT cudaError_t cudaFreeHost(void *p)
{
	unsigned device;
	struct gpu *g;
	int code;

	if (!p)
		return 0;
	if (!pinned_remove(p, false, &device))
		return rt_set(E_INVALID_VALUE);
	g = gpu_get(device, &code);
	if (g)
		host_free(g, p); /* after a reset it is gone already */
	return 0;
}

EXPORT cudaError_t cudaHostRegister(void *p, size_t size, unsigned flags);
EXPORT cudaError_t cudaHostRegister(void *p, size_t size, unsigned flags)
{
	unsigned was;

	if (!p || !size || flags & ~15u)
		return rt_set(E_INVALID_VALUE);
	if (flags & 6) /* mapped, memory of a device */
		return rt_set(GPUE_NOT_SUPPORTED);
	if (pinned_find(p, &was))
		return rt_set(712); /* cudaErrorHostMemoryAlreadyRegistered */
	return rt_set(pinned_add(p, size, flags, true));
}

EXPORT cudaError_t cudaHostUnregister(void *p);
EXPORT cudaError_t cudaHostUnregister(void *p)
{
	unsigned device;

	return rt_set(pinned_remove(p, true, &device) ? 0 : 713); /* cudaErrorHostMemoryNotRegistered */
}

EXPORT cudaError_t cudaHostGetFlags(unsigned *flags, void *p);
EXPORT cudaError_t cudaHostGetFlags(unsigned *flags, void *p)
{
	return rt_set(flags && pinned_find(p, flags) ? 0 : E_INVALID_VALUE);
}

EXPORT cudaError_t cudaHostGetDevicePointer(void **device, void *p, unsigned flags);
EXPORT cudaError_t cudaHostGetDevicePointer(void **device, void *p, unsigned flags)
{
	struct gpu *g;

	if (!device || !p || flags)
		return rt_set(E_INVALID_VALUE);
	*device = NULL;
	g = gpu_of_address(A(p), NULL, NULL);
	if (!g || !gpu_is_managed(g, A(p))) /* not mapped: the program's own, or pinned without the flag */
		return rt_set(E_INVALID_VALUE);
	*device = p;
	return 0;
}

struct pointer_attributes {
	int type; /* 0 unregistered, 1 host, 2 device, 3 managed */
	int device;
	void *device_pointer, *host_pointer;
	long reserved[8];
};

EXPORT cudaError_t cudaPointerGetAttributes(struct pointer_attributes *a, const void *p);
EXPORT cudaError_t cudaPointerGetAttributes(struct pointer_attributes *a, const void *p)
{
	struct gpu *g;
	unsigned flags;

	if (!a)
		return rt_set(E_INVALID_VALUE);
	*a = (struct pointer_attributes){.device = -2};
	g = gpu_of_address(A(p), NULL, NULL);
	if (g) {
		bool managed = gpu_is_managed(g, A(p));

		a->type = managed ? pinned_find(p, &flags) ? 1 : 3 : 2;
		a->device = (int)gpu_index(g);
		a->device_pointer = (void *)(uintptr_t)A(p);
		if (managed)
			a->host_pointer = a->device_pointer;
	} else {
		a->host_pointer = (void *)(uintptr_t)A(p);
		if (pinned_find(p, &flags)) {
			a->type = 1;
			a->device = (int)order_device();
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ copies */

/* Between two devices: by way of this host. */
static int across(struct gpu *to_gpu, uint64_t to, struct gpu *from_gpu, uint64_t from, uint64_t size)
{
	uint64_t step = size < 8u << 20 ? size : 8u << 20;
	void *buffer = malloc(step);
	int rc = buffer ? 0 : GPUE_MEMORY;

	for (uint64_t at = 0; at < size && !rc; at += step) {
		uint64_t n = size - at < step ? size - at : step;

		rc = gpu_copy_to_host(from_gpu, buffer, from + at, n);
		if (!rc)
			rc = gpu_copy_to_device(to_gpu, to + at, buffer, n);
	}
	free(buffer);
	return rc;
}

/* The devices of both sides, checked against what the program says. NULL: this host. */
static int sides(const void *to, const void *from, int kind, struct gpu **tg, struct gpu **fg)
{
	if (kind < H2H || kind > ANY)
		return E_DIRECTION;
	*tg = gpu_of_address(A(to), NULL, NULL);
	*fg = gpu_of_address(A(from), NULL, NULL);
	if (((kind == H2D || kind == D2D) && !*tg) || ((kind == D2H || kind == D2D) && !*fg))
		return E_INVALID_VALUE;
	if (kind == H2H && ((*tg && !gpu_is_managed(*tg, A(to))) || (*fg && !gpu_is_managed(*fg, A(from)))))
		return E_INVALID_VALUE;
	return 0;
}

/* What everything returns once the current device has failed. */
static int fault(void)
{
	struct gpu *g;
	int rc = order_gpu(&g);

	return rc ? rc : gpu_poll(g);
}

static int copy(void *to, const void *from, size_t size, int kind)
{
	struct gpu *tg, *fg;
	int rc = fault();

	if (rc || !size)
		return rc ? rc : kind < H2H || kind > ANY ? E_DIRECTION : 0;
	if (!to || !from)
		return E_INVALID_VALUE;
	rc = sides(to, from, kind, &tg, &fg);
	if (rc)
		return rc;
	if (tg && fg) {
		rc = tg == fg ? gpu_copy_on_device(tg, A(to), A(from), size)
			      : across(tg, A(to), fg, A(from), size);
		return !rc && gpu_is_managed(tg, A(to)) ? gpu_sync(tg) : rc; /* the host may look at it now */
	}
	if (tg) {
		rc = gpu_copy_to_device(tg, A(to), from, size);
		return !rc && gpu_is_managed(tg, A(to)) ? gpu_sync(tg) : rc;
	}
	if (fg) {
		rc = gpu_copy_to_host(fg, to, A(from), size);
		return rc ? rc : gpu_wait(fg, 0); /* prints */
	}
	rc = order_gpu(&tg); /* on this host, after what the device still has to do */
	if (!rc)
		rc = gpu_sync(tg);
	if (!rc)
		memmove(to, from, size);
	return rc;
}

EXPORT cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind);
EXPORT cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int kind)
{
	int rc = capture_forbids(NULL, true);

	return rt_set(rc ? rc : copy(to, from, size, kind));
}

EXPORT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	struct graph_work w = {.kind = GRAPH_COPY, .copy = {to, from, size, size, size, 1, kind}};
	int rc = order_stream_get(s, &stream, NULL), captured = rc ? rc : capture_add(s, &w);

	if (captured != NO_CAPTURE)
		return rt_set(captured);
	rc = copy(to, from, size, kind);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size);
EXPORT cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t size)
{
	unsigned n = gpu_count();

	if (to_device < 0 || from_device < 0 || (unsigned)to_device >= n || (unsigned)from_device >= n)
		return rt_set(GPUE_INVALID_DEVICE);
	return rt_set(copy(to, from, size, D2D));
}

/* Rows: on a device in one call; else row by row, which may be many messages. */
int rt_copy_rows(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
		     size_t height, int kind)
{
	struct gpu *tg, *fg;
	int rc = fault();

	if (rc || !width || !height)
		return rc;
	if (width > to_pitch || width > from_pitch)
		return 12; /* cudaErrorInvalidPitchValue */
	if (to_pitch == width && from_pitch == width)
		return copy(to, from, width * height, kind);
	rc = sides(to, from, kind, &tg, &fg);
	if (rc)
		return rc;
	if (tg && tg == fg)
		return gpu_copy_rows_on_device(tg, A(to), to_pitch, A(from), from_pitch, width, height);
	for (size_t y = 0; y < height && !rc; y++)
		rc = copy((char *)to + y * to_pitch, (const char *)from + y * from_pitch, width, kind);
	return rc;
}

EXPORT cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
				size_t height, int kind);
EXPORT cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
				size_t height, int kind)
{
	return rt_set(rt_copy_rows(to, to_pitch, from, from_pitch, width, height, kind));
}

EXPORT cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
				     size_t width, size_t height, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
				     size_t width, size_t height, int kind, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	struct graph_work w = {.kind = GRAPH_COPY, .copy = {to, from, to_pitch, from_pitch, width, height, kind}};
	int rc = order_stream_get(s, &stream, NULL), captured = rc ? rc : capture_add(s, &w);

	if (captured != NO_CAPTURE)
		return rt_set(captured);
	rc = rt_copy_rows(to, to_pitch, from, from_pitch, width, height, kind);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}

/* ------------------------------------------------------------------ memset */

int rt_fill(void *p, size_t pitch, unsigned value, unsigned element, size_t width, size_t height)
{
	struct gpu *g;
	int rc = fault();

	if (rc || !width || !height)
		return rc;
	g = gpu_of_address(A(p), NULL, NULL);
	return g ? gpu_fill(g, A(p), pitch, value, element, width, height) : E_INVALID_VALUE;
}

EXPORT cudaError_t cudaMemset(void *p, int value, size_t n);
EXPORT cudaError_t cudaMemset(void *p, int value, size_t n)
{
	return rt_set(rt_fill(p, 0, (unsigned)value, 1, n, 1));
}

EXPORT cudaError_t cudaMemset2D(void *p, size_t pitch, int value, size_t width, size_t height);
EXPORT cudaError_t cudaMemset2D(void *p, size_t pitch, int value, size_t width, size_t height)
{
	return rt_set(rt_fill(p, pitch, (unsigned)value, 1, width, height));
}

static int fill_in(void *p, size_t pitch, int value, size_t width, size_t height, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	struct graph_work w = {.kind = GRAPH_FILL, .fill = {p, pitch, width, height, (unsigned)value, 1}};
	int rc = order_stream_get(s, &stream, NULL), captured = rc ? rc : capture_add(s, &w);

	if (captured != NO_CAPTURE)
		return captured;
	rc = rt_fill(p, pitch, (unsigned)value, 1, width, height);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rc;
}

EXPORT cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s);
EXPORT cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s)
{
	return rt_set(fill_in(p, 0, value, n, 1, s));
}

EXPORT cudaError_t cudaMemset2DAsync(void *p, size_t pitch, int value, size_t width, size_t height, cudaStream_t s);
EXPORT cudaError_t cudaMemset2DAsync(void *p, size_t pitch, int value, size_t width, size_t height, cudaStream_t s)
{
	return rt_set(fill_in(p, pitch, value, width, height, s));
}

/* ------------------------------------------------------------------ allocation in order */

EXPORT cudaError_t cudaMallocAsync(void **p, size_t size, cudaStream_t s);
EXPORT cudaError_t cudaMallocAsync(void **p, size_t size, cudaStream_t s)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = capture_forbids(s, false); /* an allocation that each launch makes */
	return rc ? rt_set(rc) : cudaMalloc(p, size);
}

EXPORT cudaError_t cudaFreeAsync(void *p, cudaStream_t s);
EXPORT cudaError_t cudaFreeAsync(void *p, cudaStream_t s)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc && !p)
		rc = E_INVALID_VALUE;
	if (!rc)
		rc = capture_forbids(s, false);
	return rc ? rt_set(rc) : cudaFree(p);
}

/* ------------------------------------------------------------------ variables of the program */

static int symbol(const void *host, size_t size, size_t offset, uint64_t *address)
{
	uint64_t all;
	struct gpu *g;
	int rc = order_gpu(&g);

	if (!rc)
		rc = rt_variable(g, host, address, &all);
	if (!rc && (offset > all || size > all - offset))
		rc = E_INVALID_VALUE;
	*address += offset;
	return rc;
}

static int to_symbol(const void *host, const void *from, size_t size, size_t offset, int kind)
{
	uint64_t address;
	int rc = kind == H2D || kind == D2D || kind == ANY ? symbol(host, size, offset, &address) : E_DIRECTION;

	return rc ? rc : copy((void *)(uintptr_t)address, from, size, kind);
}

static int from_symbol(void *to, const void *host, size_t size, size_t offset, int kind)
{
	uint64_t address;
	int rc = kind == D2H || kind == D2D || kind == ANY ? symbol(host, size, offset, &address) : E_DIRECTION;

	return rc ? rc : copy(to, (void *)(uintptr_t)address, size, kind);
}

EXPORT cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t size, size_t offset, int kind);
EXPORT cudaError_t cudaMemcpyToSymbol(const void *host, const void *from, size_t size, size_t offset, int kind)
{
	return rt_set(to_symbol(host, from, size, offset, kind));
}

EXPORT cudaError_t cudaMemcpyFromSymbol(void *to, const void *host, size_t size, size_t offset, int kind);
EXPORT cudaError_t cudaMemcpyFromSymbol(void *to, const void *host, size_t size, size_t offset, int kind)
{
	return rt_set(from_symbol(to, host, size, offset, kind));
}

EXPORT cudaError_t cudaMemcpyToSymbolAsync(const void *host, const void *from, size_t size, size_t offset,
					   int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpyToSymbolAsync(const void *host, const void *from, size_t size, size_t offset,
					   int kind, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = capture_forbids(s, false);
	if (!rc)
		rc = to_symbol(host, from, size, offset, kind);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}

EXPORT cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *host, size_t size, size_t offset, int kind,
					     cudaStream_t s);
EXPORT cudaError_t cudaMemcpyFromSymbolAsync(void *to, const void *host, size_t size, size_t offset, int kind,
					     cudaStream_t s)
{
	struct order_stream stream;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = capture_forbids(s, false);
	return rt_set(rc ? rc : from_symbol(to, host, size, offset, kind));
}

EXPORT cudaError_t cudaGetSymbolAddress(void **p, const void *host);
EXPORT cudaError_t cudaGetSymbolAddress(void **p, const void *host)
{
	uint64_t address;
	int rc = p ? symbol(host, 0, 0, &address) : E_INVALID_VALUE;

	if (!rc)
		*p = (void *)(uintptr_t)address;
	return rt_set(rc);
}

EXPORT cudaError_t cudaGetSymbolSize(size_t *size, const void *host);
EXPORT cudaError_t cudaGetSymbolSize(size_t *size, const void *host)
{
	uint64_t address, n = 0;
	struct gpu *g;
	int rc = size ? order_gpu(&g) : E_INVALID_VALUE;

	if (!rc)
		rc = rt_variable(g, host, &address, &n);
	if (!rc)
		*size = n;
	return rt_set(rc);
}
