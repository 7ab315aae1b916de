/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: arrays and copies to, from and between them. */
#include "clients/gpu/cudart_array.h"

#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_graph.h"

enum {
	ARRAY_MAGIC = 0x41726179,
	PITCH = 32, /* of rows, bytes */
	SIDE_MAX = 1 << 16,
	WIDTH_MAX = 1 << 27,
};

unsigned channel_count(const struct channel_desc *d)
{
	return 1u + (d->bits[1] > 0) + (d->bits[2] > 0) + (d->bits[3] > 0);
}

unsigned channel_bytes(const struct channel_desc *d)
{
	unsigned n = channel_count(d);
	int b = d->bits[0];

	if ((b != 8 && b != 16 && b != 32) || d->kind < 0 || d->kind > 2 || (d->kind == 2 && b == 8) || n == 3)
		return 0;
	for (unsigned k = 1; k < 4; k++)
		if (d->bits[k] != (k < n ? b : 0))
			return 0;
	return n * (unsigned)b / 8;
}

int array_get(void *handle, struct array **out)
{
	struct array *a = handle;

	if (!a || a->magic != ARRAY_MAGIC || a->generation != order_generation(gpu_index(a->g)))
		return GPUE_HANDLE;
	*out = a;
	return 0;
}

static int array_new(void **out, const struct channel_desc *d, struct extent e, unsigned flags)
{
	size_t rows = e.height ? e.height : 1, slices = e.depth ? e.depth : 1;
	struct array *a;
	int rc;

	if (!out || !d || !channel_bytes(d) || !e.width || e.width > WIDTH_MAX || e.height > SIDE_MAX || e.depth > SIDE_MAX)
		return E_INVALID_VALUE;
	if (flags & ~(unsigned)(ARRAY_LAYERED | ARRAY_SURFACE | ARRAY_CUBE | ARRAY_GATHER))
		return GPUE_NOT_SUPPORTED;
	if (flags & ARRAY_CUBE && (e.width != e.height || e.depth % 6 || !e.depth || (!(flags & ARRAY_LAYERED) && e.depth != 6)))
		return E_INVALID_VALUE;
	if ((flags & ARRAY_LAYERED && !e.depth) || (!(flags & (ARRAY_LAYERED | ARRAY_CUBE)) && e.depth && !e.height))
		return E_INVALID_VALUE;
	a = calloc(1, sizeof(*a));
	if (!a)
		return GPUE_MEMORY;
	*a = (struct array){.magic = ARRAY_MAGIC, .desc = *d, .extent = e, .flags = flags, .element = channel_bytes(d)};
	a->pitch = (e.width * a->element + PITCH - 1) / PITCH * PITCH;
	a->slice = a->pitch * rows;
	rc = order_gpu(&a->g);
	if (!rc)
		rc = gpu_malloc(a->g, a->slice * slices, &a->address);
	if (rc) {
		free(a);
		return rc;
	}
	a->generation = order_generation(gpu_index(a->g));
	*out = a;
	return 0;
}

EXPORT cudaError_t cudaMallocArray(void **out, const struct channel_desc *d, size_t width, size_t height, unsigned flags);
EXPORT cudaError_t cudaMallocArray(void **out, const struct channel_desc *d, size_t width, size_t height, unsigned flags)
{
	return rt_set(flags & (ARRAY_LAYERED | ARRAY_CUBE) ? E_INVALID_VALUE
							   : array_new(out, d, (struct extent){width, height, 0}, flags));
}

EXPORT cudaError_t cudaMalloc3DArray(void **out, const struct channel_desc *d, struct extent e, unsigned flags);
EXPORT cudaError_t cudaMalloc3DArray(void **out, const struct channel_desc *d, struct extent e, unsigned flags)
{
	return rt_set(array_new(out, d, e, flags));
}

EXPORT cudaError_t cudaFreeArray(void *handle);
EXPORT cudaError_t cudaFreeArray(void *handle)
{
	struct array *a = handle;
	int rc;

	if (!a)
		return rt_set(0);
	if (a->magic != ARRAY_MAGIC)
		return rt_set(GPUE_HANDLE);
	rc = a->generation == order_generation(gpu_index(a->g)) ? gpu_free(a->g, a->address) : 0;
	a->magic = 0;
	free(a);
	return rt_set(rc);
}

EXPORT cudaError_t cudaArrayGetInfo(struct channel_desc *d, struct extent *e, unsigned *flags, void *handle);
EXPORT cudaError_t cudaArrayGetInfo(struct channel_desc *d, struct extent *e, unsigned *flags, void *handle)
{
	struct array *a;
	int rc = array_get(handle, &a);

	if (rc)
		return rt_set(rc);
	if (d)
		*d = a->desc;
	if (e)
		*e = a->extent;
	if (flags)
		*flags = a->flags;
	return 0;
}

EXPORT cudaError_t cudaGetChannelDesc(struct channel_desc *d, void *handle);
EXPORT cudaError_t cudaGetChannelDesc(struct channel_desc *d, void *handle)
{
	return d ? cudaArrayGetInfo(d, NULL, NULL, handle) : rt_set(E_INVALID_VALUE);
}

/* ------------------------------------------------------------------ copies */

/* Where a place of an array is that has room for rows of @width bytes; x in bytes. */
static int array_place(void *handle, size_t x, size_t y, size_t width, size_t height, char **p, size_t *pitch)
{
	struct array *a;
	int rc = array_get(handle, &a);

	if (rc)
		return rc;
	if (x > a->extent.width * a->element || width > a->extent.width * a->element - x || y > a->slice / a->pitch ||
	    height > a->slice / a->pitch - y)
		return E_INVALID_VALUE;
	*p = (char *)(uintptr_t)(a->address + y * a->pitch + x);
	*pitch = a->pitch;
	return 0;
}

/* Now, or when the graph is launched that @s is captured into. @s is looked at if @later. */
static int rows(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, int kind,
		bool later, cudaStream_t s)
{
	struct graph_work w = {.kind = GRAPH_COPY, .copy = {to, from, to_pitch, from_pitch, width, height, kind}};
	struct order_stream stream;
	struct gpu *g;
	int rc = later ? order_stream_get(s, &stream, NULL) : 0, captured = NO_CAPTURE;

	if (!rc && later)
		captured = capture_add(s, &w);
	if (rc || captured != NO_CAPTURE)
		return rc ? rc : captured;
	rc = rt_copy_rows(to, to_pitch, from, from_pitch, width, height, kind);
	if (!rc && later && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rc;
}

static int copy_to(void *array, size_t x, size_t y, const void *from, size_t pitch, size_t width, size_t height, int kind,
		   bool later, cudaStream_t s)
{
	size_t to_pitch;
	char *to;
	int rc = array_place(array, x, y, width, height, &to, &to_pitch);

	return rt_set(rc ? rc : rows(to, to_pitch, from, pitch, width, height, kind, later, s));
}

static int copy_from(void *to, size_t pitch, void *array, size_t x, size_t y, size_t width, size_t height, int kind,
		     bool later, cudaStream_t s)
{
	size_t from_pitch;
	char *from;
	int rc = array_place(array, x, y, width, height, &from, &from_pitch);

	return rt_set(rc ? rc : rows(to, pitch, from, from_pitch, width, height, kind, later, s));
}

EXPORT cudaError_t cudaMemcpy2DToArray(void *array, size_t x, size_t y, const void *from, size_t pitch, size_t width,
				       size_t height, int kind);
EXPORT cudaError_t cudaMemcpy2DToArray(void *array, size_t x, size_t y, const void *from, size_t pitch, size_t width,
				       size_t height, int kind)
{
	return copy_to(array, x, y, from, pitch, width, height, kind, false, NULL);
}

EXPORT cudaError_t cudaMemcpy2DToArrayAsync(void *array, size_t x, size_t y, const void *from, size_t pitch, size_t width,
					    size_t height, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpy2DToArrayAsync(void *array, size_t x, size_t y, const void *from, size_t pitch, size_t width,
					    size_t height, int kind, cudaStream_t s)
{
	return copy_to(array, x, y, from, pitch, width, height, kind, true, s);
}

EXPORT cudaError_t cudaMemcpy2DFromArray(void *to, size_t pitch, void *array, size_t x, size_t y, size_t width,
					 size_t height, int kind);
EXPORT cudaError_t cudaMemcpy2DFromArray(void *to, size_t pitch, void *array, size_t x, size_t y, size_t width,
					 size_t height, int kind)
{
	return copy_from(to, pitch, array, x, y, width, height, kind, false, NULL);
}

EXPORT cudaError_t cudaMemcpy2DFromArrayAsync(void *to, size_t pitch, void *array, size_t x, size_t y, size_t width,
					      size_t height, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpy2DFromArrayAsync(void *to, size_t pitch, void *array, size_t x, size_t y, size_t width,
					      size_t height, int kind, cudaStream_t s)
{
	return copy_from(to, pitch, array, x, y, width, height, kind, true, s);
}

/*
 * Bytes that go on from the end of a row to the begin of the next, as the old functions have it: the rest of the
 * first row, whole rows, the begin of the last.
 */
static int flat(void *array, size_t x, size_t y, char *host, size_t count, int kind, bool to, bool later, cudaStream_t s)
{
	struct array *a;
	size_t width;
	int rc = array_get(array, &a);

	if (rc)
		return rt_set(rc);
	width = a->extent.width * a->element;
	if (x >= width)
		return rt_set(count ? E_INVALID_VALUE : 0);
	while (!rc && count) {
		size_t n = x || count < width ? (count < width - x ? count : width - x) : width, h = x || n < width ? 1 : count / width;

		rc = to ? copy_to(array, x, y, host, n, n, h, kind, later, s) : copy_from(host, n, array, x, y, n, h, kind, later, s);
		host += n * h;
		count -= n * h;
		y += h;
		x = 0;
	}
	return rc;
}

EXPORT cudaError_t cudaMemcpyToArray(void *array, size_t x, size_t y, const void *from, size_t count, int kind);
EXPORT cudaError_t cudaMemcpyToArray(void *array, size_t x, size_t y, const void *from, size_t count, int kind)
{
	return flat(array, x, y, (char *)(uintptr_t)from, count, kind, true, false, NULL);
}

EXPORT cudaError_t cudaMemcpyToArrayAsync(void *array, size_t x, size_t y, const void *from, size_t count, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpyToArrayAsync(void *array, size_t x, size_t y, const void *from, size_t count, int kind, cudaStream_t s)
{
	return flat(array, x, y, (char *)(uintptr_t)from, count, kind, true, true, s);
}

EXPORT cudaError_t cudaMemcpyFromArray(void *to, void *array, size_t x, size_t y, size_t count, int kind);
EXPORT cudaError_t cudaMemcpyFromArray(void *to, void *array, size_t x, size_t y, size_t count, int kind)
{
	return flat(array, x, y, to, count, kind, false, false, NULL);
}

EXPORT cudaError_t cudaMemcpyFromArrayAsync(void *to, void *array, size_t x, size_t y, size_t count, int kind, cudaStream_t s);
EXPORT cudaError_t cudaMemcpyFromArrayAsync(void *to, void *array, size_t x, size_t y, size_t count, int kind, cudaStream_t s)
{
	return flat(array, x, y, to, count, kind, false, true, s);
}

EXPORT cudaError_t cudaMemcpy2DArrayToArray(void *to, size_t tx, size_t ty, void *from, size_t fx, size_t fy, size_t width,
					    size_t height, int kind);
EXPORT cudaError_t cudaMemcpy2DArrayToArray(void *to, size_t tx, size_t ty, void *from, size_t fx, size_t fy, size_t width,
					    size_t height, int kind)
{
	size_t pitch;
	char *p;
	int rc = array_place(from, fx, fy, width, height, &p, &pitch);

	(void)kind; /* there is one way */
	return rc ? rt_set(rc) : copy_to(to, tx, ty, p, pitch, width, height, D2D, false, NULL);
}
