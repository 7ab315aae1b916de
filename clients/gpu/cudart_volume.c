/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: memory with three extents, as slices of rows. */
#include "clients/gpu/cudart_array.h"
#include "clients/gpu/cudart_graph.h"

#define A(p) ((uint64_t)(uintptr_t)(p))

struct pitched {
	void *p;
	size_t pitch, width, height;
};

struct position {
	size_t x, y, z;
};

struct copy_3d {
	void *from_array;
	struct position from_at;
	struct pitched from;
	void *to_array;
	struct position to_at;
	struct pitched to;
	struct extent extent;
	int kind;
};

enum { HEIGHTS_MAX = 1 << 20 };

EXPORT cudaError_t cudaMallocPitch(void **p, size_t *pitch, size_t width, size_t height);

EXPORT cudaError_t cudaMalloc3D(struct pitched *out, struct extent e);
EXPORT cudaError_t cudaMalloc3D(struct pitched *out, struct extent e)
{
	struct pitched p = {.width = e.width, .height = e.height};
	size_t rows;
	int rc;

	if (!out)
		return rt_set(E_INVALID_VALUE);
	if (__builtin_mul_overflow(e.height, e.depth, &rows))
		return rt_set(GPUE_MEMORY);
	rc = cudaMallocPitch(&p.p, &p.pitch, e.width, rows);
	if (!rc)
		*out = p;
	return rc;
}

/* Where a position lies, and whether a slice can be that high. */
static int place(const struct pitched *p, const struct position *at, const struct extent *e, char **out, size_t *slice)
{
	if (!p->p || p->pitch < e->width || at->x > p->pitch - e->width)
		return p->p ? 12 : E_INVALID_VALUE; /* cudaErrorInvalidPitchValue */
	if (p->height > HEIGHTS_MAX || at->y > HEIGHTS_MAX || at->z > HEIGHTS_MAX ||
	    ((e->depth > 1 || at->z) && at->y + e->height > p->height))
		return E_INVALID_VALUE;
	*slice = p->pitch * p->height;
	*out = (char *)p->p + at->z * *slice + at->y * p->pitch + at->x;
	return 0;
}

/*
 * An array as memory of so many bytes a row. Positions in an array, and the extent as soon as there is one, count
 * elements.
 */
static int array_pitched(void *handle, const struct position *at, const struct extent *e, struct pitched *p, struct position *bytes,
			 unsigned *element)
{
	struct array *a;
	int rc = array_get(handle, &a);
	size_t rows, slices;

	if (rc)
		return rc;
	rows = a->slice / a->pitch;
	slices = a->extent.depth ? a->extent.depth : 1;
	if (at->x > a->extent.width || e->width > a->extent.width - at->x || at->y > rows || e->height > rows - at->y ||
	    at->z > slices || e->depth > slices - at->z)
		return E_INVALID_VALUE;
	*p = (struct pitched){(void *)(uintptr_t)a->address, a->pitch, a->pitch, rows};
	*bytes = (struct position){at->x * a->element, at->y, at->z};
	*element = a->element;
	return 0;
}

/* The same copy without arrays. */
static int arrays_gone(struct copy_3d *c)
{
	unsigned from = 0, to = 0;
	int rc = 0;

	if (c->from_array)
		rc = array_pitched(c->from_array, &c->from_at, &c->extent, &c->from, &c->from_at, &from);
	if (!rc && c->to_array)
		rc = array_pitched(c->to_array, &c->to_at, &c->extent, &c->to, &c->to_at, &to);
	if (!rc && from && to && from != to)
		rc = E_INVALID_VALUE;
	if (!rc && (from || to))
		c->extent.width *= from ? from : to;
	return rc;
}

static int copy_3d(const struct copy_3d *given, cudaStream_t s, bool is_async)
{
	struct copy_3d plain = given ? *given : (struct copy_3d){0}, *c = &plain;
	size_t to_slice, from_slice;
	char *to, *from;
	int rc = given ? 0 : E_INVALID_VALUE;

	if (rc || !c->extent.width || !c->extent.height || !c->extent.depth)
		return rc;
	rc = arrays_gone(c);
	if (!rc)
		rc = place(&c->from, &c->from_at, &c->extent, &from, &from_slice);
	if (!rc)
		rc = place(&c->to, &c->to_at, &c->extent, &to, &to_slice);
	for (size_t z = 0; !rc && z < c->extent.depth; z++, to += to_slice, from += from_slice) {
		struct graph_work w = {.kind = GRAPH_COPY,
				       .copy = {to, from, c->to.pitch, c->from.pitch, c->extent.width,
						c->extent.height, c->kind}};
		int captured = is_async ? capture_add(s, &w) : NO_CAPTURE;

		rc = captured != NO_CAPTURE ? captured
					    : rt_copy_rows(to, c->to.pitch, from, c->from.pitch, c->extent.width,
							   c->extent.height, c->kind);
	}
	return rc;
}

EXPORT cudaError_t cudaMemcpy3D(const struct copy_3d *c);
EXPORT cudaError_t cudaMemcpy3D(const struct copy_3d *c)
{
	int rc = capture_forbids(NULL, true);

	return rt_set(rc ? rc : copy_3d(c, NULL, false));
}

EXPORT cudaError_t cudaMemcpy3DAsync(const struct copy_3d *c, cudaStream_t s);
EXPORT cudaError_t cudaMemcpy3DAsync(const struct copy_3d *c, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = copy_3d(c, s, true);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}

static int fill_3d(struct pitched p, int value, struct extent e, cudaStream_t s)
{
	struct position at = {0};
	size_t slice;
	char *to;
	int rc;

	if (!e.width || !e.height || !e.depth)
		return 0;
	rc = place(&p, &at, &e, &to, &slice);
	for (size_t z = 0; !rc && z < e.depth; z++, to += slice) {
		struct graph_work w = {.kind = GRAPH_FILL,
				       .fill = {to, p.pitch, e.width, e.height, (unsigned)value, 1}};

		rc = capture_add(s, &w);
		if (rc == NO_CAPTURE)
			rc = rt_fill(to, p.pitch, (unsigned)value, 1, e.width, e.height);
	}
	return rc;
}

EXPORT cudaError_t cudaMemset3D(struct pitched p, int value, struct extent e);
EXPORT cudaError_t cudaMemset3D(struct pitched p, int value, struct extent e)
{
	return rt_set(fill_3d(p, value, e, NULL));
}

EXPORT cudaError_t cudaMemset3DAsync(struct pitched p, int value, struct extent e, cudaStream_t s);
EXPORT cudaError_t cudaMemset3DAsync(struct pitched p, int value, struct extent e, cudaStream_t s)
{
	struct order_stream stream;
	struct gpu *g;
	int rc = order_stream_get(s, &stream, NULL);

	if (!rc)
		rc = fill_3d(p, value, e, s);
	if (!rc && order_gpu(&g) == 0)
		order_stream_used(s, g);
	return rt_set(rc);
}
