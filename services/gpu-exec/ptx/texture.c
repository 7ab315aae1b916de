/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Textures and surfaces: PTX ISA 9.7.10, 9.7.11; filtering as in appendix "Texture Fetching" of the CUDA C++
 * Programming Guide: weights of nine bits, eight of them behind the point. Sums of a filter are made in double and
 * rounded once.
 *
 * A handle is the number of an object of the machine. Each texel is checked like any other access: what lay under a
 * texture may have been freed.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/lanes.h"
#include "services/gpu-exec/ptx/parse.h"

enum {
	FRACTION = 256, /* steps of a filter's weight */
	WIDTH_MAX = 1 << 28, /* texels; of linear memory */
	SIDE_MAX = 1 << 17,
	FACES = 6,
};

/* ------------------------------------------------------------------------------ objects */

static unsigned texel_bytes(const struct ptx_image *m)
{
	return m->channels * m->channel_bits / 8u;
}

static bool image_good(const struct ptx_image *m)
{
	if ((m->channels != 1 && m->channels != 2 && m->channels != 4) ||
	    (m->channel_bits != 8 && m->channel_bits != 16 && m->channel_bits != 32) || m->kind > PTX_CHANNEL_FLOAT ||
	    (m->kind == PTX_CHANNEL_FLOAT && m->channel_bits == 8))
		return false;
	if (m->width == 0 || m->width > WIDTH_MAX || m->height > SIDE_MAX || m->depth > SIDE_MAX || m->layers > SIDE_MAX ||
	    (m->depth && (!m->height || m->layers)) || m->pitch > UINT64_C(1) << 32 || m->slice > UINT64_C(1) << 40)
		return false;
	if (m->cube && (m->layers == 0 || m->layers % FACES || m->height != m->width))
		return false;
	return (!m->height || m->pitch >= (uint64_t)m->width * texel_bytes(m)) &&
	       ((!m->depth && !m->layers) || m->slice >= (m->height ? m->pitch : (uint64_t)m->width * texel_bytes(m)));
}

/* From the first texel to the end of the last. */
static uint64_t image_bytes(const struct ptx_image *m)
{
	uint64_t slices = m->depth ? m->depth : m->layers ? m->layers : 1, rows = m->height ? m->height : 1;

	return (slices - 1) * m->slice + (rows - 1) * m->pitch + (uint64_t)m->width * texel_bytes(m);
}

int ptx_object_set(struct ptx_machine *m, uint32_t handle, const struct ptx_texture *texture, bool surface)
{
	struct ptx_texture t = *texture;
	int rc = 0;

	if (handle == 0 || handle > PTX_OBJECTS_MAX || !image_good(&t.image) ||
	    t.wrap[0] > PTX_WRAP_BORDER || t.wrap[1] > PTX_WRAP_BORDER || t.wrap[2] > PTX_WRAP_BORDER ||
	    (t.linear && t.image.kind != PTX_CHANNEL_FLOAT && !t.read_float) ||
	    (t.read_float && t.image.kind != PTX_CHANNEL_FLOAT && t.image.channel_bits == 32) ||
	    !ptx_range_contains(m, t.image.base, image_bytes(&t.image)))
		return -EINVAL;
	for (unsigned k = 0; k < 3; k++) /* only what repeats itself can be outside of 0 to 1 */
		if (!t.normalized && (t.wrap[k] == PTX_WRAP_REPEAT || t.wrap[k] == PTX_WRAP_MIRROR))
			t.wrap[k] = PTX_WRAP_CLAMP;
	pthread_mutex_lock(&m->objects_lock);
	if (handle >= m->object_room) {
		unsigned room = m->object_room ? m->object_room : 64;
		struct object *list;

		while (room <= handle)
			room *= 2;
		list = realloc(m->objects, room * sizeof(*list));
		if (list) {
			memset(list + m->object_room, 0, (room - m->object_room) * sizeof(*list));
			m->objects = list;
			m->object_room = room;
		} else {
			rc = -ENOMEM;
		}
	}
	if (!rc && m->objects[handle].used)
		rc = -EEXIST;
	if (!rc) {
		m->objects[handle] = (struct object){true, surface, t};
		atomic_fetch_add(&m->objects_epoch, 1);
	}
	pthread_mutex_unlock(&m->objects_lock);
	return rc;
}

int ptx_object_clear(struct ptx_machine *m, uint32_t handle)
{
	int rc = -ENOENT;

	pthread_mutex_lock(&m->objects_lock);
	if (handle < m->object_room && m->objects[handle].used) {
		m->objects[handle].used = false;
		atomic_fetch_add(&m->objects_epoch, 1);
		rc = 0;
	}
	pthread_mutex_unlock(&m->objects_lock);
	return rc;
}

/* This thread's copy of the object; NULL after a fault. */
static const struct ptx_texture *object_find(struct warp *w, const struct insn *i, uint32_t l, bool surface)
{
	struct ptx_machine *m = w->grid->machine;
	struct worker *k = w->worker;
	uint64_t handle = op_col(w, i->o[1])[l], epoch = atomic_load_explicit(&m->objects_epoch, memory_order_acquire);

	if (k->object_handle != handle || k->objects_epoch != epoch || !k->object.used) {
		pthread_mutex_lock(&m->objects_lock);
		k->object.used = false;
		if (handle < m->object_room)
			k->object = m->objects[handle];
		pthread_mutex_unlock(&m->objects_lock);
		k->object_handle = handle;
		k->objects_epoch = epoch;
	}
	if (k->object.used && k->object.surface == surface)
		return &k->object.texture;
	warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, handle, "There is no %s object 0x%llx.", surface ? "surface" : "texture",
		   (unsigned long long)handle);
	return NULL;
}

/* ------------------------------------------------------------------------------ texels */

enum geometry { GEO_1D, GEO_2D, GEO_3D, GEO_A1D, GEO_A2D, GEO_CUBE, GEO_ACUBE };

/* How many coordinates there are, layer included, and how many of them are read. */
static const struct {
	const char *name;
	uint8_t given, dims;
	bool layered;
} geometries[] = {
	[GEO_1D] = {"1d", 1, 1, false},	  [GEO_2D] = {"2d", 2, 2, false},     [GEO_3D] = {"3d", 4, 3, false},
	[GEO_A1D] = {"a1d", 2, 1, true},  [GEO_A2D] = {"a2d", 4, 2, true},    [GEO_CUBE] = {"cube", 4, 3, false},
	[GEO_ACUBE] = {"acube", 4, 3, true},
};

/* A fetch: the four values that it gives, as bits or as numbers. */
union value {
	uint32_t u[4];
	float f[4];
};

static float channel_float(const struct ptx_texture *t, uint32_t v)
{
	unsigned bits = t->image.channel_bits;

	if (t->image.kind == PTX_CHANNEL_FLOAT)
		return bits == 16 ? half_to_float((uint16_t)v) : f32_of(v);
	if (t->image.kind == PTX_CHANNEL_UNSIGNED)
		return (float)v / (float)((1u << bits) - 1);
	return fmaxf((float)(bits == 8 ? S8(v) : S16(v)) / (float)((1u << (bits - 1)) - 1), -1.0f);
}

static uint32_t channel_get(const struct ptx_image *m, const uint8_t *p, unsigned c)
{
	uint32_t v = 0;

	memcpy(&v, p + c * m->channel_bits / 8u, m->channel_bits / 8u);
	if (m->kind == PTX_CHANNEL_SIGNED && m->channel_bits < 32)
		v = m->channel_bits == 8 ? A32(S8(v)) : A32(S16(v));
	return v;
}

static bool reads_float(const struct ptx_texture *t)
{
	return t->read_float || t->image.kind == PTX_CHANNEL_FLOAT;
}

/* The place of index @n among @size; -1: it is the border. */
static int64_t wrapped(int64_t n, uint32_t size, enum ptx_wrap wrap)
{
	int64_t s = size, m;

	switch (wrap) {
	case PTX_WRAP_REPEAT:
		m = n % s;
		return m < 0 ? m + s : m;
	case PTX_WRAP_MIRROR:
		m = n % (2 * s);
		m = m < 0 ? m + 2 * s : m;
		return m < s ? m : 2 * s - 1 - m;
	case PTX_WRAP_CLAMP:
		return n < 0 ? 0 : n >= s ? s - 1 : n;
	default:
		return n < 0 || n >= s ? -1 : n;
	}
}

/* The texel at @n; 1 after a fault. */
static int texel(struct warp *w, const struct insn *i, uint32_t l, const struct ptx_texture *t, const int64_t n[3],
		 uint32_t layer, union value *v)
{
	const struct ptx_image *m = &t->image;
	const uint32_t size[3] = {m->width, m->height, m->depth};
	const uint64_t step[3] = {texel_bytes(m), m->pitch, m->slice};
	uint64_t at = (uint64_t)(uintptr_t)m->base + layer * m->slice;
	const uint8_t *p;

	*v = (union value){{0}};
	for (unsigned k = 0; k < 3 && size[k]; k++) {
		int64_t place = wrapped(n[k], size[k], t->wrap[k]);

		if (place < 0) {
			for (unsigned c = 0; c < m->channels; c++)
				v->f[c] = t->border[c];
			for (unsigned c = 0; c < m->channels && !reads_float(t); c++)
				v->u[c] = (uint32_t)(int32_t)t->border[c];
			return 0;
		}
		at += (uint64_t)place * step[k];
	}
	p = mem_peek(w, at, texel_bytes(m), false);
	if (!p)
		return warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, at, "The memory of the texture at 0x%llx is not there.",
				  (unsigned long long)at);
	for (unsigned c = 0; c < m->channels; c++) {
		v->u[c] = channel_get(m, p, c);
		if (reads_float(t))
			v->f[c] = channel_float(t, v->u[c]);
	}
	return 0;
}

/* A coordinate in texels. */
static double scaled(const struct ptx_texture *t, float x, uint32_t size)
{
	double v = t->normalized ? (double)x * size : (double)x;

	if (!(v > -1e15)) /* no number, too */
		return v < 0 ? -1e15 : 0;
	return v < 1e15 ? v : 1e15;
}

/* The weighted sum of the texels round a place. */
static int filtered(struct warp *w, const struct insn *i, uint32_t l, const struct ptx_texture *t, const double x[3],
		    unsigned dims, uint32_t layer, union value *v)
{
	double sum[4] = {0}, weight[3][2];
	int64_t first[3] = {0};

	for (unsigned k = 0; k < dims; k++) {
		double low = floor(x[k] - 0.5);

		first[k] = (int64_t)low;
		weight[k][1] = rint((x[k] - 0.5 - low) * FRACTION) / FRACTION;
		weight[k][0] = 1 - weight[k][1];
	}
	for (unsigned corner = 0; corner < 1u << dims; corner++) {
		int64_t n[3] = {0};
		double f = 1;
		union value one;

		for (unsigned k = 0; k < dims; k++) {
			n[k] = first[k] + (corner >> k & 1);
			f *= weight[k][corner >> k & 1];
		}
		if (f == 0)
			continue;
		if (texel(w, i, l, t, n, layer, &one))
			return 1;
		for (unsigned c = 0; c < 4; c++)
			sum[c] += f * (double)one.f[c];
	}
	for (unsigned c = 0; c < 4; c++)
		v->f[c] = (float)sum[c];
	return 0;
}

/* Which face of a cube a direction meets, and where on it, 0 to 1. */
static unsigned cube_face(const float d[3], float at[2])
{
	float x = fabsf(d[0]), y = fabsf(d[1]), z = fabsf(d[2]), m, s, t;
	unsigned face;

	if (x >= y && x >= z) {
		face = d[0] < 0;
		m = x;
		s = face ? d[2] : -d[2];
		t = -d[1];
	} else if (y >= z) {
		face = 2 + (d[1] < 0);
		m = y;
		s = d[0];
		t = face == 2 ? d[2] : -d[2];
	} else {
		face = 4 + (d[2] < 0);
		m = z;
		s = face == 4 ? d[0] : -d[0];
		t = -d[1];
	}
	at[0] = (s / m + 1) / 2;
	at[1] = (t / m + 1) / 2;
	return face;
}

static uint32_t layer_of(const struct ptx_image *m, uint64_t layer)
{
	uint32_t n = m->cube ? m->layers / FACES : m->layers;

	return n == 0 ? 0 : A32(layer) >= n ? n - 1 : A32(layer);
}

/* Does the texture have the dimensions that the instruction reads? */
static bool geometry_fits(const struct ptx_image *m, unsigned geometry)
{
	unsigned dims = m->depth ? 3 : m->height ? 2 : 1;

	switch (geometry) {
	case GEO_CUBE:
		return m->cube && m->layers == FACES;
	case GEO_ACUBE:
		return m->cube;
	default:
		return geometries[geometry].dims == dims && geometries[geometry].layered == (m->layers > 0) && !m->cube;
	}
}

static const int32_t *coordinates(const struct insn *i)
{
	return i->x + 4;
}

/* Where a lane reads, in texels; the layer. */
static uint32_t place(const struct warp *w, const struct insn *i, uint32_t l, const struct ptx_texture *t, double x[3])
{
	const struct ptx_image *m = &t->image;
	const int32_t *c = coordinates(i);
	unsigned g = i->sub, dims = geometries[g].dims, first = geometries[g].layered;
	uint32_t layer = first ? layer_of(m, op_col(w, c[0])[l]) : 0;
	const uint32_t size[3] = {m->width, m->height, m->depth};

	if (g == GEO_CUBE || g == GEO_ACUBE) {
		float d[3], at[2];

		for (unsigned k = 0; k < 3; k++)
			d[k] = f32_of(op_col(w, c[first + k])[l]);
		layer = layer * FACES + cube_face(d, at);
		for (unsigned k = 0; k < 2; k++)
			x[k] = scaled(t, at[k], size[k]);
		return layer;
	}
	for (unsigned k = 0; k < dims; k++) {
		uint64_t v = op_col(w, c[first + k])[l];

		x[k] = i->type2 == T_F32 ? scaled(t, f32_of(v), size[k]) : (double)S32(v);
	}
	return layer;
}

static const struct ptx_texture *texture_find(struct warp *w, const struct insn *i, uint32_t l)
{
	const struct ptx_texture *t = object_find(w, i, l, false);

	if (!t || geometry_fits(&t->image, i->sub))
		return t;
	warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, 0, "The texture is not of the geometry %s.", geometries[i->sub].name);
	return NULL;
}

/* x: four results, then coordinates. o[1]: the handle. sub: geometry. type: of the result; type2: of coordinates. */
static int tex_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned dims = geometries[i->sub].dims == 3 && i->sub != GEO_3D ? 2 : geometries[i->sub].dims;

	FOR_LANES(mask, l)
	{
		const struct ptx_texture *t = texture_find(w, i, l);
		double x[3] = {0};
		uint32_t layer;
		union value v;

		if (!t)
			return 1;
		layer = place(w, i, l, t, x);
		if (t->linear && i->type2 == T_F32) {
			if (filtered(w, i, l, t, x, dims, layer, &v))
				return 1;
		} else {
			int64_t n[3];

			for (unsigned k = 0; k < 3; k++)
				n[k] = (int64_t)floor(x[k]);
			if (texel(w, i, l, t, n, layer, &v))
				return 1;
		}
		for (unsigned k = 0; k < i->vec; k++)
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] = v.u[k];
	}
	return 0;
}

/* The four texels of a filter's, one channel of each: vec is that channel. */
static int tld4_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	static const uint8_t corners[4][2] = {{0, 1}, {1, 1}, {1, 0}, {0, 0}};

	FOR_LANES(mask, l)
	{
		const struct ptx_texture *t = texture_find(w, i, l);
		double x[3] = {0};
		uint32_t layer;

		if (!t)
			return 1;
		layer = place(w, i, l, t, x);
		for (unsigned k = 0; k < 4; k++) {
			int64_t n[3] = {(int64_t)floor(x[0] - 0.5) + corners[k][0],
					(int64_t)floor(x[1] - 0.5) + corners[k][1], 0};
			union value v;

			if (texel(w, i, l, t, n, layer, &v))
				return 1;
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] = v.u[i->vec];
		}
	}
	return 0;
}

/* ------------------------------------------------------------------------------ lowering of tex */

static unsigned take_geometry(struct parser *p, struct stmt *s)
{
	for (unsigned g = 0; g < sizeof(geometries) / sizeof(geometries[0]); g++)
		if (has(s, geometries[g].name))
			return g;
	stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this geometry");
}

/* Coordinates in an address; @x has room for four. The handle. */
static int32_t take_address(struct parser *p, struct operand *o, unsigned geometry, unsigned type, int32_t *x)
{
	struct operand *c = o->list, one = {.kind = OPD_VEC, .count = 1, .list = c};
	unsigned layered = geometries[geometry].layered;

	if (o->kind != OPD_MEM || o->reg == PTX_NONE || o->offset || o->count == 0)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A handle and coordinates are missing");
	if (o->count > 1)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Samplers apart from textures are not supported");
	if (type_bytes(o->type) != 8)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A handle has 64 bits");
	if (c->kind != OPD_VEC)
		c = &one;
	if (c->count < geometries[geometry].dims + layered || c->count > 4)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "Wrong number of coordinates");
	for (unsigned k = 0; k < 4; k++)
		x[k] = k >= geometries[geometry].dims + layered ? PTX_NONE
								: opd_value(p, &c->list[k], k < layered ? T_U32 : type);
	return o->reg;
}

static void tex_emit(struct parser *p, struct stmt *s, run_fn *run, unsigned geometry, unsigned results, unsigned vec)
{
	unsigned type = need_type(p, s), coordinate = need_type(p, s);
	int32_t x[8] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE}, handle;
	struct operand *d = opd(p, s, 0);
	struct insn *i;

	if (type_bytes(type) != 4 || type == T_TF32 || type == T_F16X2 || (coordinate != T_F32 && coordinate != T_S32))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for these types");
	if (d->kind != OPD_VEC || d->count != results || d->pair != PTX_NONE || d->pair_sink)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported with this result");
	handle = take_address(p, opd(p, s, 1), geometry, coordinate, x + 4);
	for (unsigned k = 0; k < results; k++)
		x[k] = d->list[k].kind == OPD_SINK ? PTX_NONE : opd_dst(p, &d->list[k], type);
	i = emit(p, K_PLAIN, OP_OTHER, run);
	i->o[1] = handle;
	i->sub = (uint8_t)geometry;
	i->type = (uint8_t)type;
	i->type2 = (uint8_t)coordinate;
	i->vec = (uint8_t)vec;
	i->x = copy_list(p, x, 8);
	i->nx = 8;
}

static void lower_tex(struct parser *p, struct stmt *s)
{
	unsigned more = has(s, "level") ? 1 : has(s, "grad") ? 2 : 0, geometry, vec;

	has(s, "base");
	geometry = take_geometry(p, s);
	vec = take_vec(s);
	/* Of a texture without smaller forms there is one level, whatever level or slopes ask for. */
	want_operands(p, s, 2 + more, 2 + more);
	if (vec != 4)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported with this result");
	tex_emit(p, s, tex_run, geometry, vec, vec);
}

static void lower_tld4(struct parser *p, struct stmt *s)
{
	unsigned channel = has(s, "r") ? 0 : has(s, "g") ? 1 : has(s, "b") ? 2 : has(s, "a") ? 3 : 4, geometry, vec;

	geometry = take_geometry(p, s);
	vec = take_vec(s);
	if (channel == 4 || vec != 4 || (geometry != GEO_2D && geometry != GEO_A2D))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this channel or geometry");
	want_operands(p, s, 2, 2);
	tex_emit(p, s, tld4_run, geometry, 4, channel);
}

/* ------------------------------------------------------------------------------ surfaces */

enum { OUTSIDE_TRAP, OUTSIDE_CLAMP, OUTSIDE_ZERO };

/* The bytes that a lane is at: 0; 1 after a fault; *p NULL: outside, and nothing happens. */
static int surface_at(struct warp *w, const struct insn *i, uint32_t l, bool write, uint8_t **p)
{
	const struct ptx_texture *t = object_find(w, i, l, true);
	unsigned g = i->sub, layered = geometries[g].layered, bytes = type_bytes(i->type) * i->vec;
	const int32_t *c = coordinates(i);
	uint64_t at;

	*p = NULL;
	if (!t)
		return 1;
	if (!geometry_fits(&t->image, g))
		return warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, 0, "The surface is not of the geometry %s.",
				  geometries[g].name);
	at = (uint64_t)(uintptr_t)t->image.base;
	if (layered)
		at += layer_of(&t->image, op_col(w, c[0])[l]) * t->image.slice;
	for (unsigned k = 0; k < geometries[g].dims; k++) {
		const int64_t size[3] = {(int64_t)t->image.width * texel_bytes(&t->image), t->image.height, t->image.depth};
		const uint64_t step[3] = {1, t->image.pitch, t->image.slice};
		int64_t n = S32(op_col(w, c[layered + k])[l]), last = k == 0 ? size[0] - bytes : size[k] - 1;

		if (k == 0 && n % bytes)
			return warp_fault(w, i, l, PTX_ERR_MISALIGNED, 0, "Byte %lld of a surface is not aligned to %u bytes.",
					  (long long)n, bytes);
		if (n < 0 || n > last) {
			if (i->cmp == OUTSIDE_ZERO)
				return 0;
			if (i->cmp == OUTSIDE_TRAP || last < 0)
				return warp_fault(w, i, l, PTX_ERR_LAUNCH_FAILED, 0,
						  "Coordinate %u of a surface is %lld, which is outside of it.", k,
						  (long long)n);
			n = n < 0 ? 0 : last;
		}
		at += (uint64_t)n * step[k];
	}
	*p = mem_peek(w, at, bytes, write);
	if (!*p)
		return warp_fault(w, i, l, PTX_ERR_ILLEGAL_ADDRESS, at, "The memory of the surface at 0x%llx is not there.",
				  (unsigned long long)at);
	return 0;
}

static int suld_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type);

	FOR_LANES(mask, l)
	{
		uint64_t v[4] = {0};
		uint8_t *p;

		if (surface_at(w, i, l, false, &p))
			return 1;
		for (unsigned k = 0; p && k < i->vec; k++)
			memcpy(&v[k], p + k * bytes, bytes);
		for (unsigned k = 0; k < i->vec; k++)
			if (i->x[k] != PTX_NONE)
				op_col(w, i->x[k])[l] = v[k];
	}
	return 0;
}

static int sust_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	unsigned bytes = type_bytes(i->type);

	FOR_LANES(mask, l)
	{
		uint8_t *p;

		if (surface_at(w, i, l, true, &p))
			return 1;
		for (unsigned k = 0; p && k < i->vec; k++)
			memcpy(p + k * bytes, &op_col(w, i->x[k])[l], bytes);
	}
	return 0;
}

static void lower_surface(struct parser *p, struct stmt *s, bool load)
{
	unsigned geometry, vec, type, outside;
	struct operand *v = opd(p, s, load ? 0 : 1), one = {.kind = OPD_VEC, .count = 1, .list = v};
	int32_t x[8] = {PTX_NONE, PTX_NONE, PTX_NONE, PTX_NONE}, handle;
	struct insn *i;

	if (!has(s, "b"))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Surfaces with conversion are not supported");
	geometry = take_geometry(p, s);
	take_hints(s);
	vec = take_vec(s);
	type = need_type(p, s);
	outside = has(s, "clamp") ? OUTSIDE_CLAMP : has(s, "zero") ? OUTSIDE_ZERO : OUTSIDE_TRAP;
	has(s, "trap");
	want_operands(p, s, 2, 2);
	if (vec > 4 || type > T_B64 || type < T_B8 || geometry >= GEO_CUBE || vec * type_bytes(type) > 16)
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported for this type or geometry");
	if (v->kind != OPD_VEC)
		v = &one;
	if (v->count != vec)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A vector of %u is missing", vec);
	handle = take_address(p, opd(p, s, load ? 1 : 0), geometry, T_S32, x + 4);
	for (unsigned k = 0; k < vec; k++)
		x[k] = !load ? opd_value(p, &v->list[k], type)
		       : v->list[k].kind == OPD_SINK ? PTX_NONE : opd_dst(p, &v->list[k], type);
	i = emit(p, K_PLAIN, OP_OTHER, load ? suld_run : sust_run);
	i->o[1] = handle;
	i->sub = (uint8_t)geometry;
	i->type = (uint8_t)type;
	i->vec = (uint8_t)vec;
	i->cmp = (uint8_t)outside;
	i->x = copy_list(p, x, 8);
	i->nx = 8;
}

static void lower_suld(struct parser *p, struct stmt *s)
{
	lower_surface(p, s, true);
}

static void lower_sust(struct parser *p, struct stmt *s)
{
	lower_surface(p, s, false);
}

/* ------------------------------------------------------------------------------ questions */

enum { ASK_WIDTH, ASK_HEIGHT, ASK_DEPTH, ASK_LAYERS, ASK_NORMALIZED, ASK_LEVELS };

static int query_run(struct warp *w, const struct insn *i, uint32_t mask)
{
	FOR_LANES(mask, l)
	{
		const struct ptx_texture *t = object_find(w, i, l, i->vec);
		uint32_t v;

		if (!t)
			return 1;
		switch (i->sub) {
		case ASK_WIDTH:
			v = t->image.width;
			break;
		case ASK_HEIGHT:
			v = t->image.height;
			break;
		case ASK_DEPTH:
			v = t->image.depth;
			break;
		case ASK_LAYERS:
			v = t->image.layers;
			break;
		case ASK_NORMALIZED:
			v = t->normalized;
			break;
		default:
			v = 1;
		}
		op_col(w, i->o[0])[l] = v;
	}
	return 0;
}

static void lower_query(struct parser *p, struct stmt *s)
{
	static const char *const names[] = {"width", "height", "depth", "array_size", "normalized_coords", "num_mipmap_levels"};
	bool surface = text_is(s->part[0], s->part_length[0], "suq");
	unsigned what = 0;
	struct operand *o;
	struct insn *i;
	int32_t d;

	while (what < sizeof(names) / sizeof(names[0]) && !has(s, names[what]))
		what++;
	if (what == sizeof(names) / sizeof(names[0]))
		stmt_fail(p, PTX_ERR_NOT_SUPPORTED, "Not supported");
	need_type(p, s);
	want_operands(p, s, 2, 2);
	o = opd(p, s, 1);
	if (o->kind != OPD_MEM || o->reg == PTX_NONE || o->offset || o->count || type_bytes(o->type) != 8)
		stmt_fail(p, PTX_ERR_INVALID_PTX, "A handle is missing");
	d = opd_dst(p, opd(p, s, 0), T_B32);
	i = emit(p, K_PLAIN, OP_OTHER, query_run);
	i->o[0] = d;
	i->o[1] = o->reg;
	i->sub = (uint8_t)what;
	i->vec = surface;
}

const struct lowering lower_texture[] = {
	{"tex", lower_tex},   {"tld4", lower_tld4}, {"suld", lower_suld}, {"sust", lower_sust},
	{"txq", lower_query}, {"suq", lower_query}, {NULL, NULL},
};
