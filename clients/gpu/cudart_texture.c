/* SPDX-License-Identifier: Apache-2.0 */
/* libcudart: texture and surface objects. A texture has one level; sRGB and views are not there. */
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cudart_array.h"
#include "proto/gpu_object.h"

enum { RESOURCE_ARRAY, RESOURCE_MIPMAP, RESOURCE_LINEAR, RESOURCE_PITCH };
enum { E_FILTER = 26, E_NORM = 27 }; /* cudaErrorInvalidFilterSetting, cudaErrorInvalidNormSetting */

enum {
	LINEAR_MAX = 1 << 27, /* elements */
	SIDE_MAX = 1 << 16,
	PITCH_ALIGN = 32,
};

struct resource_desc {
	int type;
	union {
		void *array;
		struct {
			void *p;
			struct channel_desc desc;
			size_t size;
		} linear;
		struct {
			void *p;
			struct channel_desc desc;
			size_t width, height, pitch;
		} pitch;
		int reserved[32];
	};
	unsigned flags;
};

struct texture_desc {
	int wrap[3], filter, read, srgb;
	float border[4];
	int normalized;
	unsigned anisotropy;
	int level_filter;
	float bias, least, most;
	int no_trilinear, seamless;
};

struct view_desc {
	int format;
	char rest[108];
};

struct object {
	unsigned device, generation;
	uint32_t handle;
	bool surface;
	struct resource_desc resource;
	struct texture_desc texture;
	struct object *next;
};

static struct object *objects;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void image_of_array(struct gpu_image *i, const struct array *a)
{
	bool slices = a->flags & (ARRAY_LAYERED | ARRAY_CUBE);

	*i = (struct gpu_image){.base = a->address, .pitch = a->pitch, .slice = a->slice, .width = (uint32_t)a->extent.width,
				.height = (uint32_t)a->extent.height, .depth = slices ? 0 : (uint32_t)a->extent.depth,
				.layers = slices ? (uint32_t)a->extent.depth : 0,
				.flags = (a->flags & ARRAY_CUBE ? 1u : 0u) << GPU_OBJECT_CUBE};
}

/* What a resource is made of, and of which device. */
static int image_of(const struct resource_desc *r, struct gpu_image *i, struct channel_desc *d, struct gpu **g)
{
	struct array *a;
	void *p;
	int rc;

	switch (r->type) {
	case RESOURCE_ARRAY:
		rc = array_get(r->array, &a);
		if (rc)
			return rc;
		*d = a->desc;
		*g = a->g;
		image_of_array(i, a);
		return 0;
	case RESOURCE_LINEAR:
		*d = r->linear.desc;
		p = r->linear.p;
		if (!channel_bytes(d) || r->linear.size / channel_bytes(d) == 0 || r->linear.size / channel_bytes(d) > LINEAR_MAX)
			return E_INVALID_VALUE;
		*i = (struct gpu_image){.width = (uint32_t)(r->linear.size / channel_bytes(d))};
		break;
	case RESOURCE_PITCH:
		*d = r->pitch.desc;
		p = r->pitch.p;
		if (!channel_bytes(d) || !r->pitch.width || !r->pitch.height || r->pitch.width > SIDE_MAX ||
		    r->pitch.height > SIDE_MAX || r->pitch.pitch % PITCH_ALIGN || r->pitch.pitch < r->pitch.width * channel_bytes(d))
			return E_INVALID_VALUE;
		*i = (struct gpu_image){.width = (uint32_t)r->pitch.width, .height = (uint32_t)r->pitch.height, .pitch = r->pitch.pitch};
		break;
	case RESOURCE_MIPMAP:
		return GPUE_NOT_SUPPORTED;
	default:
		return E_INVALID_VALUE;
	}
	i->base = (uint64_t)(uintptr_t)p;
	*g = gpu_of_address(i->base, NULL, NULL);
	return *g ? 0 : E_INVALID_VALUE;
}

static int object_new(struct gpu *g, struct gpu_image *i, const struct channel_desc *d, const struct resource_desc *r,
		      const struct texture_desc *t, bool surface, uint64_t *out)
{
	struct object *o = calloc(1, sizeof(*o));
	int rc = o ? 0 : GPUE_MEMORY;

	i->flags |= channel_count(d) << GPU_OBJECT_CHANNELS | (uint32_t)d->bits[0] / 8 << GPU_OBJECT_BYTES |
		    (uint32_t)d->kind << GPU_OBJECT_KIND | (uint32_t)surface << GPU_OBJECT_SURFACE;
	if (!rc)
		rc = gpu_object_make(g, i, &o->handle);
	if (rc) {
		free(o);
		return rc;
	}
	o->device = gpu_index(g);
	o->generation = order_generation(o->device);
	o->surface = surface;
	o->resource = *r;
	if (t)
		o->texture = *t;
	*out = o->handle;
	pthread_mutex_lock(&lock);
	o->next = objects;
	objects = o;
	pthread_mutex_unlock(&lock);
	return 0;
}

EXPORT cudaError_t cudaCreateTextureObject(uint64_t *out, const struct resource_desc *r, const struct texture_desc *t,
					   const struct view_desc *v);
EXPORT cudaError_t cudaCreateTextureObject(uint64_t *out, const struct resource_desc *r, const struct texture_desc *t,
					   const struct view_desc *v)
{
	struct channel_desc d;
	struct gpu_image i;
	bool reads_float;
	struct gpu *g;
	int rc;

	if (!out || !r || !t)
		return rt_set(E_INVALID_VALUE);
	rc = image_of(r, &i, &d, &g);
	if (rc)
		return rt_set(rc);
	if ((v && v->format) || t->srgb)
		return rt_set(GPUE_NOT_SUPPORTED);
	reads_float = d.kind == 2 || t->read == 1;
	if ((t->read != 0 && t->read != 1) || (t->filter != 0 && t->filter != 1))
		return rt_set(E_INVALID_VALUE);
	if (t->read == 1 && d.kind != 2 && d.bits[0] == 32)
		return rt_set(E_NORM);
	if (t->filter == 1 && !reads_float)
		return rt_set(E_FILTER);
	for (unsigned k = 0; k < 3; k++) {
		if (t->wrap[k] < 0 || t->wrap[k] > 3)
			return rt_set(E_INVALID_VALUE);
		i.flags |= (uint32_t)(r->type == RESOURCE_LINEAR ? 3 : t->wrap[k]) << (GPU_OBJECT_WRAP + 2 * k);
	}
	i.flags |= (uint32_t)(t->filter == 1 && r->type != RESOURCE_LINEAR) << GPU_OBJECT_LINEAR |
		   (uint32_t)(t->normalized && r->type != RESOURCE_LINEAR) << GPU_OBJECT_NORMALIZED |
		   (uint32_t)(t->read == 1 && d.kind != 2) << GPU_OBJECT_READ_FLOAT;
	if (r->type != RESOURCE_LINEAR) /* what is outside of linear memory is 0 */
		memcpy(i.border, t->border, sizeof(i.border));
	return rt_set(object_new(g, &i, &d, r, t, false, out));
}

EXPORT cudaError_t cudaCreateSurfaceObject(uint64_t *out, const struct resource_desc *r);
EXPORT cudaError_t cudaCreateSurfaceObject(uint64_t *out, const struct resource_desc *r)
{
	struct channel_desc d;
	struct gpu_image i;
	struct gpu *g;
	int rc;

	if (!out || !r || r->type != RESOURCE_ARRAY)
		return rt_set(E_INVALID_VALUE);
	rc = image_of(r, &i, &d, &g);
	return rt_set(rc ? rc : object_new(g, &i, &d, r, NULL, true, out));
}

/* With the lock held: the link to it, of the current device if several have that handle. */
static struct object **find(uint64_t handle, bool surface)
{
	struct object **best = NULL;

	for (struct object **at = &objects; *at; at = &(*at)->next)
		if ((*at)->handle == handle && (*at)->surface == surface && (*at)->generation == order_generation((*at)->device) &&
		    (!best || (*at)->device == order_device()))
			best = at;
	return best;
}

static int object_end(uint64_t handle, bool surface)
{
	struct object **at, *o = NULL;
	struct gpu *g;
	int code = 0;

	if (!handle)
		return 0;
	pthread_mutex_lock(&lock);
	at = find(handle, surface);
	if (at) {
		o = *at;
		*at = o->next;
	}
	pthread_mutex_unlock(&lock);
	if (!o)
		return E_INVALID_VALUE;
	g = gpu_get(o->device, &code);
	if (g)
		code = gpu_object_end(g, o->handle);
	free(o);
	return code;
}

EXPORT cudaError_t cudaDestroyTextureObject(uint64_t handle);
EXPORT cudaError_t cudaDestroyTextureObject(uint64_t handle)
{
	return rt_set(object_end(handle, false));
}

EXPORT cudaError_t cudaDestroySurfaceObject(uint64_t handle);
EXPORT cudaError_t cudaDestroySurfaceObject(uint64_t handle)
{
	return rt_set(object_end(handle, true));
}

static int described(uint64_t handle, bool surface, struct resource_desc *r, struct texture_desc *t)
{
	struct object **at;

	if (!r && !t)
		return E_INVALID_VALUE;
	pthread_mutex_lock(&lock);
	at = find(handle, surface);
	if (at && r)
		*r = (*at)->resource;
	if (at && t)
		*t = (*at)->texture;
	pthread_mutex_unlock(&lock);
	return at ? 0 : E_INVALID_VALUE;
}

EXPORT cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *r, uint64_t handle);
EXPORT cudaError_t cudaGetTextureObjectResourceDesc(struct resource_desc *r, uint64_t handle)
{
	return rt_set(described(handle, false, r, NULL));
}

EXPORT cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *t, uint64_t handle);
EXPORT cudaError_t cudaGetTextureObjectTextureDesc(struct texture_desc *t, uint64_t handle)
{
	return rt_set(described(handle, false, NULL, t));
}

EXPORT cudaError_t cudaGetSurfaceObjectResourceDesc(struct resource_desc *r, uint64_t handle);
EXPORT cudaError_t cudaGetSurfaceObjectResourceDesc(struct resource_desc *r, uint64_t handle)
{
	return rt_set(described(handle, true, r, NULL));
}

EXPORT cudaError_t cudaDeviceGetTexture1DLinearMaxWidth(size_t *width, const struct channel_desc *d, int device);
EXPORT cudaError_t cudaDeviceGetTexture1DLinearMaxWidth(size_t *width, const struct channel_desc *d, int device)
{
	if (!width || !d || !channel_bytes(d))
		return rt_set(E_INVALID_VALUE);
	if (device < 0 || (unsigned)device >= gpu_count())
		return rt_set(GPUE_INVALID_DEVICE);
	*width = LINEAR_MAX;
	return 0;
}
