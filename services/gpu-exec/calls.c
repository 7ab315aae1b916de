/* SPDX-License-Identifier: Apache-2.0 */
/* What each call of gpu_calls.toml does. The client may have written anything into it. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/gpu_dispatch.h"
#include "proto/gpu_object.h"
#include "services/gpu-exec/worker_impl.h"

#define IMAGE_MAX (512ull << 20)

int worker_room(void **table, uint32_t *room, size_t each, uint32_t handle)
{
	uint32_t n = *room ? *room : 64;
	void *p;

	if (handle < *room)
		return 0;
	if (handle >= WORKER_HANDLES_MAX)
		return GPU_INVALID_VALUE;
	while (n <= handle)
		n *= 2;
	p = realloc(*table, n * each);
	if (!p)
		return GPU_OUT_OF_MEMORY;
	memset((char *)p + *room * each, 0, (n - *room) * each);
	*table = p;
	*room = n;
	return 0;
}

/* A piece of the bounce region, or NULL. */
static uint8_t *bounce(const struct gpu_worker *w, uint32_t offset, uint32_t size)
{
	uint64_t room = w->conf.bounce_size;

	return offset <= room && size <= room - offset ? (uint8_t *)w->conf.bounce + offset : NULL;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ------------------------------------------------------------------ memory */

int gpu_do_mem_map(struct gpu_worker *w, const struct gpu_call_mem_map *a)
{
	return w->ops->map(w->dev, a->address, a->size);
}

int gpu_do_mem_unmap(struct gpu_worker *w, const struct gpu_call_mem_unmap *a)
{
	return w->ops->unmap(w->dev, a->address);
}

int gpu_do_copy_in(struct gpu_worker *w, const struct gpu_call_copy_in *a)
{
	const uint8_t *from = bounce(w, a->offset, a->size);

	if (!from)
		return GPU_INVALID_VALUE;
	add(&w->conf.page->bytes_in, a->size);
	return w->ops->copy_in(w->dev, a->to, from, a->size);
}

int gpu_do_copy_in_data(struct gpu_worker *w, const struct gpu_call_copy_in_data *a,
			const uint8_t *data, uint32_t data_size)
{
	add(&w->conf.page->bytes_in, data_size);
	return w->ops->copy_in(w->dev, a->to, data, data_size);
}

int gpu_do_copy_out(struct gpu_worker *w, const struct gpu_call_copy_out *a)
{
	uint8_t *to = bounce(w, a->offset, a->size);

	if (!to)
		return GPU_INVALID_VALUE;
	add(&w->conf.page->bytes_out, a->size);
	return w->ops->copy_out(w->dev, to, a->from, a->size);
}

int gpu_do_copy_out_data(struct gpu_worker *w, const struct gpu_call_copy_out_data *a, uint8_t *out,
			 uint32_t *n)
{
	int rc;

	if (a->size > GPU_DATA_MAX)
		return GPU_INVALID_VALUE;
	add(&w->conf.page->bytes_out, a->size);
	rc = w->ops->copy_out(w->dev, out, a->from, a->size);
	if (!rc)
		*n = a->size;
	return rc;
}

int gpu_do_copy(struct gpu_worker *w, const struct gpu_call_copy *a)
{
	return w->ops->copy(w->dev, a->to, a->from, a->size);
}

/* Does the last of the rows overflow? */
static bool rows_wrap(uint64_t at, uint64_t pitch, uint64_t height)
{
	uint64_t n;

	return height && (__builtin_mul_overflow(pitch, height - 1, &n) || __builtin_add_overflow(at, n, &n));
}

int gpu_do_copy_rows(struct gpu_worker *w, const struct gpu_call_copy_rows *a)
{
	int rc = 0;

	if (rows_wrap(a->to, a->to_pitch, a->height) || rows_wrap(a->from, a->from_pitch, a->height) ||
	    a->width > a->to_pitch || a->width > a->from_pitch)
		return GPU_INVALID_VALUE;
	if (a->width == 0)
		return 0;
	for (uint64_t y = 0; y < a->height && !rc; y++)
		rc = w->ops->copy(w->dev, a->to + y * a->to_pitch, a->from + y * a->from_pitch, a->width);
	return rc;
}

int gpu_do_fill(struct gpu_worker *w, const struct gpu_call_fill *a)
{
	uint64_t bytes;
	int rc = 0;

	if (rows_wrap(a->to, a->pitch, a->height) || __builtin_mul_overflow(a->width, a->element, &bytes) ||
	    (a->height > 1 && bytes > a->pitch))
		return GPU_INVALID_VALUE;
	if (bytes == 0)
		return 0;
	for (uint64_t y = 0; y < a->height && !rc; y++)
		rc = w->ops->fill(w->dev, a->to + y * a->pitch, a->value, a->element, a->width);
	return rc;
}

/* ------------------------------------------------------------------ modules */

int gpu_do_image_begin(struct gpu_worker *w, const struct gpu_call_image_begin *a)
{
	free(w->image);
	w->image = NULL;
	w->image_size = 0;
	if (a->size == 0 || a->size > IMAGE_MAX)
		return GPU_INVALID_VALUE;
	w->image = calloc(1, a->size + 1); /* a text is then ended by 0 */
	if (!w->image)
		return GPU_OUT_OF_MEMORY;
	w->image_size = a->size;
	return 0;
}

static int image_put(struct gpu_worker *w, uint64_t at, const uint8_t *from, uint32_t size)
{
	if (!from || !w->image || at > w->image_size || size > w->image_size - at)
		return GPU_INVALID_VALUE;
	memcpy(w->image + at, from, size);
	return 0;
}

int gpu_do_image_piece(struct gpu_worker *w, const struct gpu_call_image_piece *a)
{
	return image_put(w, a->position, bounce(w, a->offset, a->size), a->size);
}

int gpu_do_image_data(struct gpu_worker *w, const struct gpu_call_image_data *a, const uint8_t *data,
		      uint32_t data_size)
{
	return image_put(w, a->position, data, data_size);
}

int gpu_do_module_load(struct gpu_worker *w, const struct gpu_call_module_load *a,
		       struct gpu_result_module_load *result)
{
	uint64_t used = w->ops->used(w->dev);
	void *table = w->modules;
	int rc = worker_room(&table, &w->modules_room, sizeof(*w->modules), a->module);

	w->modules = table;
	if (rc)
		return rc;
	if (!w->image || w->modules[a->module])
		return GPU_INVALID_VALUE;
	rc = w->ops->module_load(w->dev, w->image, w->image_size, &w->modules[a->module], w->text);
	if (rc)
		w->modules[a->module] = NULL;
	free(w->image);
	w->image = NULL;
	w->image_size = 0;
	result->own = w->ops->used(w->dev) - used;
	return rc;
}

static struct gpu_module *module(const struct gpu_worker *w, uint32_t handle)
{
	return handle < w->modules_room ? w->modules[handle] : NULL;
}

int gpu_do_module_unload(struct gpu_worker *w, const struct gpu_call_module_unload *a)
{
	struct gpu_module *m = module(w, a->module);

	if (!m)
		return GPU_INVALID_HANDLE;
	for (uint32_t k = 0; k < w->functions_room; k++)
		if (w->functions[k].function && w->functions[k].module == a->module)
			w->functions[k].function = NULL;
	w->ops->module_unload(w->dev, m);
	w->modules[a->module] = NULL;
	return 0;
}

/* A name of the client as a string. */
static int name_take(char name[GPU_NAME_MAX + 1], const uint8_t *data, uint32_t size)
{
	if (size == 0 || size > GPU_NAME_MAX || memchr(data, 0, size))
		return GPU_INVALID_VALUE;
	memcpy(name, data, size);
	name[size] = 0;
	return 0;
}

int gpu_do_function_get(struct gpu_worker *w, const struct gpu_call_function_get *a,
			const uint8_t *data, uint32_t data_size, struct gpu_result_function_get *result,
			uint8_t *out, uint32_t *n)
{
	static uint32_t params[WORKER_PARAMS_MAX][2];
	struct gpu_module *m = module(w, a->module);
	char name[GPU_NAME_MAX + 1];
	struct gpu_function_info i;
	struct gpu_function *f;
	void *table = w->functions;
	int rc = name_take(name, data, data_size);

	if (!rc && !m)
		rc = GPU_INVALID_HANDLE;
	if (!rc)
		rc = worker_room(&table, &w->functions_room, sizeof(*w->functions), a->function);
	w->functions = table;
	if (!rc && w->functions[a->function].function)
		rc = GPU_INVALID_VALUE;
	if (!rc)
		rc = w->ops->function(w->dev, m, name, &f, &i, params, WORKER_PARAMS_MAX, w->text);
	if (!rc && (i.param_count > WORKER_PARAMS_MAX ||
		    i.param_count * sizeof(params[0]) > GPU_DATA_MAX - sizeof(*result)))
		rc = GPU_NOT_SUPPORTED;
	if (rc)
		return rc;
	w->functions[a->function] = (struct worker_function){f, a->module};
	*result = (struct gpu_result_function_get){
		.param_count = i.param_count,
		.param_bytes = i.param_bytes,
		.shared_bytes = i.shared_bytes,
		.local_bytes = i.local_bytes,
		.const_bytes = i.const_bytes,
		.registers = i.registers,
		.max_threads = i.max_threads,
		.ptx_version = i.ptx_version,
		.binary_version = i.binary_version,
	};
	memcpy(out, params, i.param_count * sizeof(params[0]));
	*n += (uint32_t)(i.param_count * sizeof(params[0]));
	return 0;
}

int gpu_do_variable_get(struct gpu_worker *w, const struct gpu_call_variable_get *a,
			const uint8_t *data, uint32_t data_size, struct gpu_result_variable_get *result)
{
	struct gpu_module *m = module(w, a->module);
	char name[GPU_NAME_MAX + 1];
	int rc = name_take(name, data, data_size);

	if (!rc && !m)
		rc = GPU_INVALID_HANDLE;
	return rc ? rc : w->ops->variable(w->dev, m, name, &result->address, &result->size);
}

int gpu_do_launch(struct gpu_worker *w, const struct gpu_call_launch *a, const uint8_t *data,
		  uint32_t data_size)
{
	struct gpu_launch l = {
		.grid = {a->grid_x, a->grid_y, a->grid_z},
		.block = {a->block_x, a->block_y, a->block_z},
		.shared_bytes = a->shared,
		.cooperative = a->flags & 1,
		.params = data,
		.params_size = data_size,
	};

	if (a->function >= w->functions_room || !w->functions[a->function].function)
		return GPU_INVALID_HANDLE;
	add(&w->conf.page->launches, 1);
	return w->ops->launch(w->dev, w->functions[a->function].function, &l, w->text);
}

/* ------------------------------------------------------------------ textures and surfaces */

static unsigned bits(uint32_t flags, unsigned from, unsigned n)
{
	return flags >> from & ((1u << n) - 1);
}

int gpu_do_object_make(struct gpu_worker *w, const struct gpu_call_object_make *a)
{
	struct gpu_object o = {
		.base = a->base, .pitch = a->pitch, .slice = a->slice,
		.width = a->width, .height = a->height, .depth = a->depth, .layers = a->layers,
		.channels = (uint8_t)bits(a->flags, GPU_OBJECT_CHANNELS, 4),
		.channel_bytes = (uint8_t)bits(a->flags, GPU_OBJECT_BYTES, 4),
		.kind = (uint8_t)bits(a->flags, GPU_OBJECT_KIND, 4),
		.linear = bits(a->flags, GPU_OBJECT_LINEAR, 1),
		.normalized = bits(a->flags, GPU_OBJECT_NORMALIZED, 1),
		.read_float = bits(a->flags, GPU_OBJECT_READ_FLOAT, 1),
		.surface = bits(a->flags, GPU_OBJECT_SURFACE, 1),
		.cube = bits(a->flags, GPU_OBJECT_CUBE, 1),
	};

	for (unsigned k = 0; k < 3; k++)
		o.wrap[k] = (uint8_t)bits(a->flags, GPU_OBJECT_WRAP + 2 * k, 2);
	memcpy(o.border, (const uint32_t[]){a->border_x, a->border_y, a->border_z, a->border_w}, sizeof(o.border));
	return w->ops->object_make ? w->ops->object_make(w->dev, a->object, &o) : GPU_NOT_SUPPORTED;
}

int gpu_do_object_end(struct gpu_worker *w, const struct gpu_call_object_end *a)
{
	return w->ops->object_end ? w->ops->object_end(w->dev, a->object) : GPU_NOT_SUPPORTED;
}

/* ------------------------------------------------------------------ events, the rest */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int gpu_do_event_record(struct gpu_worker *w, const struct gpu_call_event_record *a)
{
	void *table = w->events;
	int rc = worker_room(&table, &w->events_room, sizeof(*w->events), a->event);

	w->events = table;
	if (rc)
		return rc;
	rc = w->ops->sync(w->dev);
	w->events[a->event] = now_ns();
	return rc;
}

int gpu_do_event_elapsed(struct gpu_worker *w, const struct gpu_call_event_elapsed *a,
			 struct gpu_result_event_elapsed *result)
{
	if (a->from >= w->events_room || a->to >= w->events_room || !w->events[a->from] ||
	    !w->events[a->to])
		return GPU_INVALID_HANDLE;
	result->ns = w->events[a->to] - w->events[a->from];
	return 0;
}

int gpu_do_sync(struct gpu_worker *w)
{
	return w->ops->sync(w->dev);
}

int gpu_do_info(struct gpu_worker *w, struct gpu_result_info *r)
{
	struct gpu_device_info i;

	w->ops->info(w->dev, &i);
	memset(r, 0, sizeof(*r));
	memcpy(r->name, i.name, sizeof(r->name));
	memcpy(r->uuid, i.uuid, sizeof(r->uuid));
	r->memory = i.memory;
	r->module_base = i.module_base;
	r->constant_bytes = i.constant_bytes;
	r->compute_major = i.compute_major;
	r->compute_minor = i.compute_minor;
	r->multiprocessors = i.multiprocessors;
	r->warp = i.warp;
	r->threads_block = i.threads_block;
	r->threads_multiprocessor = i.threads_multiprocessor;
	r->blocks_multiprocessor = i.blocks_multiprocessor;
	memcpy(r->block_max, i.block_max, sizeof(r->block_max));
	memcpy(r->grid_max, i.grid_max, sizeof(r->grid_max));
	r->registers_block = i.registers_block;
	r->shared_block = i.shared_block;
	r->shared_block_optin = i.shared_block_optin;
	r->shared_multiprocessor = i.shared_multiprocessor;
	r->clock_khz = i.clock_khz;
	r->memory_clock_khz = i.memory_clock_khz;
	r->memory_bus_bits = i.memory_bus_bits;
	r->l2_bytes = i.l2_bytes;
	return 0;
}

void worker_print(void *user, const char *text, uint64_t size)
{
	struct gpu_worker *w = user;

	if (!w->printed)
		w->printed = malloc(WORKER_PRINTED_MAX);
	if (!w->printed || size > WORKER_PRINTED_MAX - w->printed_size) {
		w->printed_lost += size;
		return;
	}
	memcpy(w->printed + w->printed_size, text, size);
	w->printed_size += size;
}

int gpu_do_print_take(struct gpu_worker *w, uint8_t *out, uint32_t *n)
{
	size_t take = w->printed_size < GPU_DATA_MAX ? w->printed_size : GPU_DATA_MAX;

	if (take) {
		memcpy(out, w->printed, take);
		memmove(w->printed, w->printed + take, w->printed_size - take);
		w->printed_size -= take;
	}
	*n = (uint32_t)take;
	return 0;
}
