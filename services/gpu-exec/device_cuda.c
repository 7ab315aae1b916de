/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device that is a GPU, by NVIDIA's driver. Everything is asked on the legacy default stream, so that it is done
 * in the order in which it was asked; launches, fills and copies on the device are not waited for.
 *
 * The window is a range of the driver's virtual addresses that is reserved at its beginning. What is mapped in it is
 * backed by memory in the driver's granules (2 MiB), each as long as something in it is allocated, and cleared when
 * it is given out. Where the driver has no management of virtual memory, the window is one allocation, wherever
 * the driver puts it. Variables of modules lie where the driver puts them, and are not counted.
 *
 * The driver may end the process on a damaged cubin: it is that of one session. What kernels print goes to the
 * process's standard output.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/cuda_driver.h"
#include "services/gpu-exec/device.h"
#include "services/gpu-exec/extents.h"
#include "services/gpu-exec/ptx/fatbin.h"

enum {
	MEBI = 1 << 20,
	MACHINE_CUDA = 190, /* EM_CUDA */
	SHARED_BLOCK = 48 << 10, /* more has to be asked for */
};

#define WINDOW_MAX (1ull << 44)

struct granule {
	uint64_t memory; /* the driver's handle */
	uint32_t users;	 /* allocations that lie in it, in part */
};

struct gpu_function {
	void *handle;
	char name[80]; /* of it the beginning */
	uint32_t max_threads, shared, param_count, param_bytes;
	uint32_t (*params)[2]; /* offset, size */
	int dynamic;	       /* shared bytes that were asked for */
	struct gpu_function *next;
};

struct gpu_module {
	void *handle;
	struct gpu_function *functions;
	struct extent *variables; /* that were asked for */
	size_t count, room;
	struct gpu_module *next;
};

struct cuda {
	struct gpu_device device;
	const struct cuda_driver *drv;
	struct gpu_device_conf conf;
	struct gpu_device_info info;
	int ordinal;
	void *context;
	uint64_t granule; /* bytes; 0: the window is one allocation */
	struct granule *granules;
	struct extent *extents;
	size_t count, room;
	uint64_t used;
	struct gpu_module *modules;
	int fault;
	char last[80]; /* the kernel that was launched last */
};

static struct cuda *cuda_of(struct gpu_device *d)
{
	return (struct cuda *)d;
}

/* Errors of the driver. One that ends the context stays. */
static int note(struct cuda *c, int rc)
{
	if (rc && gpu_error_sticky(rc) && !c->fault)
		c->fault = rc;
	return c->fault ? c->fault : rc;
}

/* This device is what the thread's calls are for from now on. */
static int enter(struct cuda *c)
{
	return c->fault ? c->fault : note(c, c->drv->ctx_set(c->context));
}

static uint64_t heap_end(const struct cuda *c)
{
	uint64_t size = c->conf.window_size;

	return c->conf.window_base + (size - size / GPU_WINDOW_OWN) / MEBI * MEBI;
}

/* ------------------------------------------------------------------ the window */

static int reserve(struct cuda *c, char *why)
{
	const struct cuda_allocation_prop prop = {.type = CUDA_PINNED, .location = {CUDA_LOCATION_DEVICE, c->ordinal}};
	const struct cuda_driver *v = c->drv;
	uint64_t want = c->conf.window_base, at = 0;
	size_t granule = 0;
	int able = 0, rc;

	if (v->reserve && v->unreserve && v->granularity && v->create && v->release && v->map && v->unmap && v->access)
		v->device_attribute(&able, CUDA_VIRTUAL_MEMORY, c->ordinal);
	if (!able) {
		rc = v->mem_alloc(&at, c->conf.window_size);
		if (rc) {
			snprintf(why, GPU_TEXT_MAX,
				 "this driver has no virtual memory, and %llu MiB for a window at once neither (error %d)",
				 (unsigned long long)c->conf.window_size / MEBI, rc);
			return -ENOMEM;
		}
		if (want && at != want) {
			v->mem_free(at);
			snprintf(why, GPU_TEXT_MAX, "this driver gives no memory at %#llx", (unsigned long long)want);
			return -EEXIST;
		}
		c->conf.window_base = at;
		return 0;
	}
	rc = v->granularity(&granule, &prop, 0);
	if (rc || !granule || granule % GPU_GRAIN || c->conf.window_size % granule || want % granule) {
		snprintf(why, GPU_TEXT_MAX, "the window is not in granules of the driver (%zu bytes; error %d)", granule, rc);
		return -EINVAL;
	}
	rc = v->reserve(&at, c->conf.window_size, 0, want, 0);
	if (!rc && want && at != want) {
		v->unreserve(at, c->conf.window_size);
		rc = GPU_OUT_OF_MEMORY;
	}
	if (rc) {
		snprintf(why, GPU_TEXT_MAX, "the driver has no room for a window of %llu MiB at %#llx (error %d)",
			 (unsigned long long)c->conf.window_size / MEBI, (unsigned long long)want, rc);
		return want ? -EEXIST : -ENOMEM;
	}
	c->conf.window_base = at;
	c->granule = granule;
	c->granules = calloc(c->conf.window_size / granule, sizeof(*c->granules));
	if (c->granules)
		return 0;
	v->unreserve(at, c->conf.window_size);
	return -ENOMEM;
}

static int granule_back(struct cuda *c, uint64_t k)
{
	const struct cuda_allocation_prop prop = {.type = CUDA_PINNED, .location = {CUDA_LOCATION_DEVICE, c->ordinal}};
	const struct cuda_access access = {.location = prop.location, .flags = CUDA_READ_WRITE};
	uint64_t at = c->conf.window_base + k * c->granule;
	struct granule *g = &c->granules[k];
	int rc = c->drv->create(&g->memory, c->granule, &prop, 0);

	if (rc)
		return rc;
	rc = c->drv->map(at, c->granule, 0, g->memory, 0);
	if (!rc) {
		rc = c->drv->access(at, c->granule, &access, 1);
		if (rc)
			c->drv->unmap(at, c->granule);
	}
	if (rc)
		c->drv->release(g->memory);
	return rc;
}

/* One allocation less in granules @from to before @to. */
static void granules_leave(struct cuda *c, uint64_t from, uint64_t to)
{
	bool waited = false;

	for (uint64_t k = from; k < to; k++) {
		struct granule *g = &c->granules[k];

		if (--g->users)
			continue;
		if (!waited) /* what was asked may still use it */
			note(c, c->drv->ctx_sync());
		waited = true;
		c->drv->unmap(c->conf.window_base + k * c->granule, c->granule);
		c->drv->release(g->memory);
	}
}

static void granules_of(const struct cuda *c, uint64_t address, uint64_t size, uint64_t *from, uint64_t *to)
{
	*from = *to = 0;
	if (!c->granule)
		return;
	*from = (address - c->conf.window_base) / c->granule;
	*to = (address + size - 1 - c->conf.window_base) / c->granule + 1;
}

static int cuda_map(struct gpu_device *d, uint64_t address, uint64_t size)
{
	struct cuda *c = cuda_of(d);
	uint64_t from, to, k;
	int rc = enter(c);

	if (rc)
		return rc;
	if (size == 0 || size % GPU_GRAIN || address % GPU_GRAIN || address < c->conf.window_base ||
	    address >= heap_end(c) || size > heap_end(c) - address)
		return GPU_INVALID_VALUE;
	if (size > c->conf.limit - c->used)
		return GPU_OUT_OF_MEMORY;
	rc = extent_add(&c->extents, &c->count, &c->room, address, size);
	if (rc)
		return rc;
	granules_of(c, address, size, &from, &to);
	for (k = from; k < to && !rc; k++) {
		if (!c->granules[k].users)
			rc = granule_back(c, k);
		if (!rc)
			c->granules[k].users++;
	}
	if (rc)
		k--; /* that one is not there */
	if (!rc)
		rc = c->drv->fill8(address, 0, size, NULL); /* it may have been another's */
	if (rc) {
		granules_leave(c, from, k);
		extent_remove(c->extents, &c->count, address);
		return note(c, rc);
	}
	c->used += size;
	return 0;
}

static int cuda_unmap(struct gpu_device *d, uint64_t address)
{
	struct cuda *c = cuda_of(d);
	uint64_t size = extent_remove(c->extents, &c->count, address), from, to;

	if (!size)
		return GPU_INVALID_VALUE;
	c->used -= size;
	if (enter(c))
		return c->fault; /* the context is to be destroyed, and frees all */
	granules_of(c, address, size, &from, &to);
	granules_leave(c, from, to);
	return c->fault;
}

static int cuda_limit(struct gpu_device *d, uint64_t bytes)
{
	struct cuda *c = cuda_of(d);

	if (bytes < c->used || bytes > c->conf.window_size)
		return GPU_INVALID_VALUE;
	c->conf.limit = bytes;
	return 0;
}

static uint64_t cuda_used(struct gpu_device *d)
{
	return cuda_of(d)->used;
}

/* ------------------------------------------------------------------ copies */

static bool inside(const struct extent *list, size_t n, uint64_t address, uint64_t size)
{
	size_t at = extent_after(list, n, address);

	return at < n && list[at].address <= address && size <= list[at].size - (address - list[at].address);
}

/* 0 if the device may touch all of it. */
static int check(struct cuda *c, uint64_t address, uint64_t size)
{
	int rc = enter(c);

	if (rc || !size || inside(c->extents, c->count, address, size))
		return rc;
	for (const struct gpu_module *m = c->modules; m; m = m->next)
		if (inside(m->variables, m->count, address, size))
			return 0;
	return GPU_INVALID_VALUE;
}

static int cuda_copy_in(struct gpu_device *d, uint64_t to, const void *from, uint64_t size)
{
	struct cuda *c = cuda_of(d);
	int rc = check(c, to, size);

	/* from memory that is not pinned it has been read when the call returns */
	return rc || !size ? rc : note(c, c->drv->copy_in(to, from, size));
}

static int cuda_copy_out(struct gpu_device *d, void *to, uint64_t from, uint64_t size)
{
	struct cuda *c = cuda_of(d);
	int rc = check(c, from, size);

	return rc || !size ? rc : note(c, c->drv->copy_out(to, from, size));
}

static int cuda_copy(struct gpu_device *d, uint64_t to, uint64_t from, uint64_t size)
{
	struct cuda *c = cuda_of(d);
	int rc = check(c, to, size);
	uint64_t between;

	if (!rc)
		rc = check(c, from, size);
	if (rc || !size || to == from)
		return rc;
	if (to >= from + size || from >= to + size)
		return note(c, c->drv->copy(to, from, size, NULL));
	/* ranges that overlap are not for the driver */
	rc = c->drv->mem_alloc(&between, size);
	if (rc)
		return note(c, rc);
	rc = c->drv->copy(between, from, size, NULL);
	if (!rc)
		rc = c->drv->copy(to, between, size, NULL);
	c->drv->mem_free(between); /* waits for what uses it */
	return note(c, rc);
}

static int cuda_fill(struct gpu_device *d, uint64_t to, uint32_t value, unsigned width, uint64_t count)
{
	struct cuda *c = cuda_of(d);
	uint64_t size;
	int rc;

	if ((width != 1 && width != 2 && width != 4) || to % width || __builtin_mul_overflow(count, width, &size))
		return GPU_INVALID_VALUE;
	rc = check(c, to, size);
	if (rc || !size)
		return rc;
	if (width == 1)
		rc = c->drv->fill8(to, (uint8_t)value, count, NULL);
	else if (width == 2)
		rc = c->drv->fill16(to, (uint16_t)value, count, NULL);
	else
		rc = c->drv->fill32(to, value, count, NULL);
	return note(c, rc);
}

/* ------------------------------------------------------------------ modules */

/* An image says itself how large it is, and the driver believes it: is all of it there? 0, 209, 218. */
static int image_check(const void *image, uint64_t size, char *text)
{
	uint64_t offset = 0, room;
	struct fatbin_entry entry;
	uint32_t magic = 0;
	Elf64_Ehdr e;
	int rc;

	memcpy(&magic, image, size < 4 ? size : 4);
	if (magic == FATBIN_MAGIC) {
		room = fatbin_size(image, size);
		rc = room ? fatbin_next(image, room, &offset, &entry) : -EBADMSG;
		if (rc < 0)
			snprintf(text, GPU_TEXT_MAX, "the fat binary is damaged");
		else if (rc == 0)
			snprintf(text, GPU_TEXT_MAX, "there is nothing in the fat binary");
		return rc < 0 ? GPU_INVALID_PTX : rc == 0 ? GPU_NO_KERNEL_IMAGE : 0;
	}
	if (memcmp(&magic, ELFMAG, 4))
		return 0;
	if (size >= sizeof(e)) {
		memcpy(&e, image, sizeof(e));
		if (e.e_machine == MACHINE_CUDA && e.e_shoff <= size &&
		    (uint64_t)e.e_shnum * e.e_shentsize <= size - e.e_shoff && e.e_phoff <= size &&
		    (uint64_t)e.e_phnum * e.e_phentsize <= size - e.e_phoff)
			return 0;
	}
	snprintf(text, GPU_TEXT_MAX, "an ELF file that is no cubin, or not all of one");
	return GPU_NO_KERNEL_IMAGE;
}

static int cuda_module_load(struct gpu_device *d, const void *image, uint64_t size, struct gpu_module **module,
			    char text[GPU_TEXT_MAX])
{
	struct cuda *c = cuda_of(d);
	int options[] = {CUDA_JIT_ERROR_LOG, CUDA_JIT_ERROR_LOG_BYTES}, rc = enter(c);
	char log[GPU_TEXT_MAX] = "", *copy;
	void *values[] = {log, (void *)(uintptr_t)(sizeof(log) - 1)};
	const char *said = NULL;
	struct gpu_module *m;

	*module = NULL;
	text[0] = 0;
	if (!rc)
		rc = size ? image_check(image, size, text) : GPU_INVALID_VALUE;
	if (rc)
		return rc;
	m = calloc(1, sizeof(*m));
	copy = size < SIZE_MAX ? malloc(size + 1) : NULL;
	if (!m || !copy) {
		free(m);
		free(copy);
		return GPU_OUT_OF_MEMORY;
	}
	memcpy(copy, image, size);
	copy[size] = 0; /* so that a text ends */
	rc = c->drv->module_load(&m->handle, copy, 2, options, values);
	free(copy);
	if (rc) {
		c->drv->error_string(rc, &said);
		snprintf(text, GPU_TEXT_MAX, "%.300s", log[0] ? log : said ? said : "the driver does not take the module");
		free(m);
		return note(c, rc);
	}
	m->next = c->modules;
	c->modules = m;
	*module = m;
	return 0;
}

static void module_free(struct gpu_module *m)
{
	while (m->functions) {
		struct gpu_function *f = m->functions;

		m->functions = f->next;
		free(f->params);
		free(f);
	}
	free(m->variables);
	free(m);
}

static void cuda_module_unload(struct gpu_device *d, struct gpu_module *module)
{
	struct cuda *c = cuda_of(d);
	struct gpu_module **at = &c->modules;

	while (*at != module)
		at = &(*at)->next;
	*at = module->next;
	if (!enter(c)) {
		note(c, c->drv->ctx_sync()); /* its kernels may be running */
		c->drv->module_unload(module->handle);
	}
	module_free(module);
}

/* Its parameters, from the driver. */
static int params_ask(struct cuda *c, struct gpu_function *f)
{
	size_t offset, size;
	int rc;

	while (!(rc = c->drv->func_param(f->handle, f->param_count, &offset, &size))) {
		void *p = realloc(f->params, (f->param_count + 1) * sizeof(*f->params));

		if (!p)
			return GPU_OUT_OF_MEMORY;
		f->params = p;
		if (offset > GPU_PARAMS_MAX || size > GPU_PARAMS_MAX - offset)
			return GPU_NOT_SUPPORTED;
		f->params[f->param_count][0] = (uint32_t)offset;
		f->params[f->param_count++][1] = (uint32_t)size;
		if (offset + size > f->param_bytes)
			f->param_bytes = (uint32_t)(offset + size);
	}
	return rc == GPU_INVALID_VALUE ? 0 : rc; /* that is how it says that there is none more */
}

static uint32_t attribute(struct cuda *c, void *f, int which)
{
	int v = 0;

	return c->drv->func_attribute(&v, which, f) || v < 0 ? 0 : (uint32_t)v;
}

static int cuda_function(struct gpu_device *d, struct gpu_module *module, const char *name,
			 struct gpu_function **function, struct gpu_function_info *info, uint32_t (*params)[2],
			 unsigned room, char text[GPU_TEXT_MAX])
{
	struct cuda *c = cuda_of(d);
	struct gpu_function *f = calloc(1, sizeof(*f));
	int rc = f ? enter(c) : GPU_OUT_OF_MEMORY;

	text[0] = 0;
	if (!rc)
		rc = c->drv->module_function(&f->handle, module->handle, name);
	if (!rc) {
		rc = params_ask(c, f);
		if (rc)
			snprintf(text, GPU_TEXT_MAX, "kernel %.80s: the driver does not tell its parameters", name);
	}
	if (rc) {
		free(f ? f->params : NULL);
		free(f);
		return note(c, rc);
	}
	f->max_threads = attribute(c, f->handle, CUDA_FUNC_MAX_THREADS);
	f->shared = attribute(c, f->handle, CUDA_FUNC_SHARED);
	snprintf(f->name, sizeof(f->name), "%s", name);
	*info = (struct gpu_function_info){
		.param_count = f->param_count,
		.param_bytes = f->param_bytes,
		.shared_bytes = f->shared,
		.local_bytes = attribute(c, f->handle, CUDA_FUNC_LOCAL),
		.const_bytes = attribute(c, f->handle, CUDA_FUNC_CONST),
		.registers = attribute(c, f->handle, CUDA_FUNC_REGISTERS),
		.max_threads = f->max_threads,
		.ptx_version = attribute(c, f->handle, CUDA_FUNC_PTX_VERSION),
		.binary_version = attribute(c, f->handle, CUDA_FUNC_BINARY_VERSION),
	};
	if (f->param_count)
		memcpy(params, f->params, (f->param_count < room ? f->param_count : room) * sizeof(*params));
	f->next = module->functions;
	module->functions = f;
	*function = f;
	return 0;
}

static int cuda_variable(struct gpu_device *d, struct gpu_module *module, const char *name, uint64_t *address,
			 uint64_t *size)
{
	struct cuda *c = cuda_of(d);
	size_t bytes = 0;
	int rc = enter(c);

	if (!rc)
		rc = note(c, c->drv->module_global(address, &bytes, module->handle, name));
	if (rc)
		return rc;
	*size = bytes;
	/* asked for twice: it is there already */
	return extent_add(&module->variables, &module->count, &module->room, *address, bytes) == GPU_OUT_OF_MEMORY
		       ? GPU_OUT_OF_MEMORY
		       : 0;
}

/* ------------------------------------------------------------------ launches */

/* What makes a launch fail at once. */
static int launch_check(const struct cuda *c, const struct gpu_function *f, const struct gpu_launch *l)
{
	uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];

	for (unsigned k = 0; k < 3; k++)
		if (!l->grid[k] || l->grid[k] > c->info.grid_max[k] || !l->block[k] || l->block[k] > c->info.block_max[k])
			return GPU_INVALID_CONFIGURATION;
	if (threads > c->info.threads_block)
		return GPU_INVALID_CONFIGURATION;
	if (threads > f->max_threads)
		return GPU_LAUNCH_OUT_OF_RESOURCES;
	if ((uint64_t)l->shared_bytes + f->shared > c->info.shared_block_optin || l->params_size < f->param_bytes)
		return GPU_INVALID_VALUE;
	return 0;
}

static int cuda_launch(struct gpu_device *d, struct gpu_function *f, const struct gpu_launch *l, char text[GPU_TEXT_MAX])
{
	struct cuda *c = cuda_of(d);
	uint8_t params[GPU_PARAMS_MAX]; /* a copy: parameters need not be aligned where they come from */
	void *at[GPU_PARAMS_MAX];
	int rc = enter(c);

	text[0] = 0;
	if (!rc)
		rc = launch_check(c, f, l);
	if (!rc && f->dynamic < (int)l->shared_bytes && l->shared_bytes + f->shared > SHARED_BLOCK) {
		rc = c->drv->func_set(f->handle, CUDA_FUNC_MAX_DYNAMIC_SHARED, (int)l->shared_bytes);
		f->dynamic = rc ? f->dynamic : (int)l->shared_bytes;
	}
	if (rc)
		return note(c, rc);
	if (f->param_bytes)
		memcpy(params, l->params, f->param_bytes);
	for (uint32_t k = 0; k < f->param_count; k++)
		at[k] = params + f->params[k][0];
	memcpy(c->last, f->name, sizeof(c->last));
	if (l->cooperative)
		rc = c->drv->launch_cooperative(f->handle, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
						l->block[2], l->shared_bytes, NULL, at);
	else
		rc = c->drv->launch(f->handle, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2],
				    l->shared_bytes, NULL, at, NULL);
	return note(c, rc);
}

static int cuda_sync(struct gpu_device *d)
{
	struct cuda *c = cuda_of(d);
	int rc = enter(c);

	return rc ? rc : note(c, c->drv->ctx_sync());
}

static int cuda_fault(struct gpu_device *d, char text[GPU_TEXT_MAX])
{
	struct cuda *c = cuda_of(d);
	const char *said = NULL;
	int rc;

	text[0] = 0;
	if (!enter(c)) {
		rc = c->drv->stream_query(NULL);
		note(c, rc == CUDA_NOT_READY ? 0 : rc);
	}
	if (!c->fault)
		return 0;
	c->drv->error_string(c->fault, &said);
	snprintf(text, GPU_TEXT_MAX, "%.200s; the kernel launched last was %s", said ? said : "an error without a name", c->last);
	return c->fault;
}

/* ------------------------------------------------------------------ open, close */

static uint32_t ask(const struct cuda *c, int which)
{
	int v = 0;

	return c->drv->device_attribute(&v, which, c->ordinal) || v < 0 ? 0 : (uint32_t)v;
}

static void info_fill(struct cuda *c)
{
	struct gpu_device_info *i = &c->info;

	*i = (struct gpu_device_info){
		.window_base = c->conf.window_base,
		.window_size = c->conf.window_size,
		.module_base = heap_end(c),
		.compute_major = ask(c, CUDA_COMPUTE_MAJOR),
		.compute_minor = ask(c, CUDA_COMPUTE_MINOR),
		.multiprocessors = ask(c, CUDA_MULTIPROCESSORS),
		.warp = ask(c, CUDA_WARP),
		.threads_block = ask(c, CUDA_MAX_THREADS_PER_BLOCK),
		.threads_multiprocessor = ask(c, CUDA_THREADS_PER_MULTIPROCESSOR),
		.blocks_multiprocessor = ask(c, CUDA_BLOCKS_PER_MULTIPROCESSOR),
		.registers_block = ask(c, CUDA_REGISTERS_PER_BLOCK),
		.shared_block = ask(c, CUDA_SHARED_PER_BLOCK),
		.shared_block_optin = ask(c, CUDA_SHARED_OPTIN),
		.shared_multiprocessor = ask(c, CUDA_SHARED_PER_MULTIPROCESSOR),
		.clock_khz = ask(c, CUDA_CLOCK_KHZ),
		.memory_clock_khz = ask(c, CUDA_MEMORY_CLOCK_KHZ),
		.memory_bus_bits = ask(c, CUDA_MEMORY_BUS_BITS),
		.l2_bytes = ask(c, CUDA_L2_BYTES),
		.constant_bytes = ask(c, CUDA_TOTAL_CONSTANT),
	};
	for (int k = 0; k < 3; k++) {
		i->block_max[k] = ask(c, CUDA_MAX_BLOCK_DIM_X + k);
		i->grid_max[k] = ask(c, CUDA_MAX_GRID_DIM_X + k);
	}
	c->drv->device_name(i->name, (int)sizeof(i->name) - 1, c->ordinal);
	c->drv->device_uuid(i->uuid, c->ordinal);
}

static void cuda_info(struct gpu_device *d, struct gpu_device_info *info)
{
	*info = cuda_of(d)->info;
	info->memory = cuda_of(d)->conf.limit;
}

static int cuda_open(const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX])
{
	const struct cuda_driver *drv;
	struct cuda *c;
	int rc;

	why[0] = 0;
	if (conf->window_size < 16 * MEBI || conf->window_size > WINDOW_MAX || conf->window_size % MEBI ||
	    conf->window_base % (64 << 10) || conf->limit > conf->window_size) {
		snprintf(why, GPU_TEXT_MAX, "the window is no multiple of 1 MiB, or smaller than 16 MiB or the limit");
		return -EINVAL;
	}
	drv = cuda_driver_load(why, GPU_TEXT_MAX);
	if (!drv)
		return -ENODEV;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->device.ops = &gpu_device_cuda;
	c->drv = drv;
	c->conf = *conf;
	/* the first; $CUDA_VISIBLE_DEVICES says which that is */
	rc = drv->device_get(&c->ordinal, 0);
	if (!rc)
		rc = drv->ctx_create(&c->context, 0, c->ordinal);
	if (rc) {
		snprintf(why, GPU_TEXT_MAX, "the driver makes no context on its device (error %d)", rc);
		free(c);
		return -ENODEV;
	}
	rc = reserve(c, why);
	if (rc) {
		drv->ctx_destroy(c->context);
		free(c);
		return rc;
	}
	info_fill(c);
	*out = &c->device;
	return 0;
}

static void cuda_close(struct gpu_device *d)
{
	struct cuda *c = cuda_of(d);
	bool alive = !enter(c) && !note(c, c->drv->ctx_sync());

	while (c->modules) {
		struct gpu_module *m = c->modules;

		c->modules = m->next;
		module_free(m); /* the context's end unloads it */
	}
	if (alive && c->granule)
		for (uint64_t k = 0; k < c->conf.window_size / c->granule; k++)
			if (c->granules[k].users) {
				c->granules[k].users = 1;
				granules_leave(c, k, k + 1);
			}
	if (c->granule)
		c->drv->unreserve(c->conf.window_base, c->conf.window_size);
	else if (alive)
		c->drv->mem_free(c->conf.window_base);
	c->drv->ctx_destroy(c->context);
	free(c->granules);
	free(c->extents);
	free(c);
}

const struct gpu_device_ops gpu_device_cuda = {
	.name = "cuda",
	.open = cuda_open,
	.close = cuda_close,
	.info = cuda_info,
	.map = cuda_map,
	.unmap = cuda_unmap,
	.limit = cuda_limit,
	.used = cuda_used,
	.copy_in = cuda_copy_in,
	.copy_out = cuda_copy_out,
	.copy = cuda_copy,
	.fill = cuda_fill,
	.module_load = cuda_module_load,
	.module_unload = cuda_module_unload,
	.function = cuda_function,
	.variable = cuda_variable,
	.launch = cuda_launch,
	.sync = cuda_sync,
	.fault = cuda_fault,
};
