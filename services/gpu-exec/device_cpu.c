/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device that is this host's cores. Its memory is a window of this process's addresses, its
 * kernels run by ptx/; what is asked is done when the call returns.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "services/gpu-exec/device.h"
#include "services/gpu-exec/device_null.h"
#include "services/gpu-exec/extents.h"
#include "services/gpu-exec/ptx/fatbin.h"
#include "services/gpu-exec/ptx/ptx.h"

enum {
	PAGE = 4096,
	MEBI = 1 << 20,
	WINDOW_ALIGN = 64 << 10,
	SHARED_BLOCK = 48 << 10, /* without being asked for more, as all devices have it */
};

#define WINDOW_MAX (1ull << 44)

struct gpu_module {
	struct ptx_module *ptx;
};

struct cpu {
	struct gpu_device device;
	struct gpu_device_conf conf;
	struct ptx_machine *machine;
	struct extent *pieces;
	size_t count, room;
	struct extent *own; /* for modules, in the upper part of the window */
	size_t own_count, own_room;
	uint64_t used;
	unsigned multiprocessors, capability;
	struct ptx_fault fault;
};

static struct cpu *cpu_of(struct gpu_device *d)
{
	return (struct cpu *)d;
}

static uint64_t heap_end(const struct cpu *c)
{
	uint64_t size = c->conf.window_size;

	return c->conf.window_base + (size - size / GPU_WINDOW_OWN) / MEBI * MEBI;
}

/* ------------------------------------------------------------------ the window */

/* Gives whole pages of a freed piece back and clears the rest, which neighbours may share. */
static void scrub(uint64_t address, uint64_t size)
{
	uint64_t low = (address + PAGE - 1) / PAGE * PAGE, high = (address + size) / PAGE * PAGE;

	if (low >= high) {
		memset((void *)(uintptr_t)address, 0, size);
		return;
	}
	memset((void *)(uintptr_t)address, 0, low - address);
	memset((void *)(uintptr_t)high, 0, address + size - high);
	if (madvise((void *)(uintptr_t)low, high - low, MADV_DONTNEED))
		memset((void *)(uintptr_t)low, 0, high - low);
}

/* ------------------------------------------------------------------ variables of modules */

static void *own_alloc(void *user, uint64_t size, uint64_t align)
{
	struct cpu *c = user;
	uint64_t end = c->conf.window_base + c->conf.window_size, at = heap_end(c);

	if (size == 0 || size > c->conf.window_size || align > MEBI)
		return NULL;
	size = (size + PAGE - 1) / PAGE * PAGE;
	align = align < PAGE ? PAGE : align;
	if (size > c->conf.limit - c->used)
		return NULL;
	for (size_t k = 0; k <= c->own_count; k++) {
		uint64_t up = k < c->own_count ? c->own[k].address : end;

		at = (at + align - 1) / align * align;
		if (at < up && size <= up - at) {
			if (extent_add(&c->own, &c->own_count, &c->own_room, at, size))
				return NULL;
			c->used += size;
			return (void *)(uintptr_t)at;
		}
		if (k < c->own_count)
			at = c->own[k].address + c->own[k].size;
	}
	return NULL;
}

static void own_free(void *user, void *address, uint64_t size)
{
	struct cpu *c = user;
	uint64_t was = extent_remove(c->own, &c->own_count, (uint64_t)(uintptr_t)address);

	(void)size;
	c->used -= was;
	if (was)
		scrub((uint64_t)(uintptr_t)address, was);
}

/* ------------------------------------------------------------------ open, close, info */

static void cpu_print(void *user, const char *text, size_t n)
{
	struct cpu *c = user;

	if (c->conf.print)
		c->conf.print(c->conf.user, text, n);
}

static void cpu_close(struct gpu_device *d)
{
	struct cpu *c = cpu_of(d);

	if (c->machine)
		ptx_machine_destroy(c->machine);
	if (c->conf.window_base)
		munmap((void *)(uintptr_t)c->conf.window_base, c->conf.window_size);
	free(c->pieces);
	free(c->own);
	free(c);
}

/* Addresses anywhere, aligned as the contract says. */
static void *window_anywhere(uint64_t size)
{
	uint64_t all = size + WINDOW_ALIGN, skip;
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return p;
	skip = -(uint64_t)(uintptr_t)p % WINDOW_ALIGN;
	if (skip)
		munmap(p, skip);
	munmap(p + skip + size, WINDOW_ALIGN - skip);
	return p + skip;
}

static int window_reserve(struct cpu *c, char *why)
{
	uint64_t base = c->conf.window_base;
	void *p = base ? mmap((void *)(uintptr_t)base, c->conf.window_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0)
		       : window_anywhere(c->conf.window_size);
	int rc = errno;

	c->conf.window_base = 0;
	if (p == MAP_FAILED) {
		snprintf(why, GPU_TEXT_MAX, "%llu bytes of addresses cannot be reserved: %s",
			 (unsigned long long)c->conf.window_size, strerror(rc));
		return -rc;
	}
	c->conf.window_base = (uint64_t)(uintptr_t)p;
	if (base && c->conf.window_base != base) { /* a kernel that takes the address for a hint */
		snprintf(why, GPU_TEXT_MAX, "these addresses are taken");
		return -EEXIST;
	}
	return 0;
}

static int open_with(const struct gpu_device_ops *ops, enum ptx_executor executor,
		     const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX])
{
	struct cpu *c = calloc(1, sizeof(*c));
	struct ptx_machine_config m = {
		.cores = conf->cores,
		.multiprocessors = conf->multiprocessors,
		.compute_capability = conf->compute_capability,
		.executor = executor,
		.print = cpu_print,
		.alloc = own_alloc,
		.free = own_free,
		.user = c,
	};
	int rc;

	if (!c)
		return -ENOMEM;
	c->device.ops = ops;
	c->conf = *conf;
	c->capability = conf->compute_capability ? conf->compute_capability : 90;
	c->multiprocessors = conf->multiprocessors ? conf->multiprocessors
						   : conf->cores ? conf->cores : 1;
	m.compute_capability = c->capability;
	m.multiprocessors = c->multiprocessors;
	if (conf->window_size < 16 * MEBI || conf->window_size > WINDOW_MAX ||
	    conf->window_size % MEBI || conf->window_base % WINDOW_ALIGN ||
	    conf->limit > conf->window_size) {
		c->conf.window_base = 0;
		snprintf(why, GPU_TEXT_MAX, "window or limit is out of range");
		cpu_close(&c->device);
		return -EINVAL;
	}
	rc = window_reserve(c, why);
	if (!rc) {
		rc = ptx_machine_create(&m, &c->machine);
		if (rc)
			snprintf(why, GPU_TEXT_MAX, "no threads or memory to run kernels: %s",
				 strerror(-rc));
	}
	if (rc) {
		cpu_close(&c->device);
		return rc;
	}
	*out = &c->device;
	return 0;
}

static int cpu_open(const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX])
{
	return open_with(&gpu_device_cpu, PTX_EXEC_DEFAULT, conf, out, why);
}

static int interpreter_open(const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX])
{
	return open_with(&gpu_device_interpreter, PTX_EXEC_INTERPRETER, conf, out, why);
}

static void cpu_info(struct gpu_device *d, struct gpu_device_info *info)
{
	struct cpu *c = cpu_of(d);

	*info = (struct gpu_device_info){
		.memory = c->conf.limit,
		.window_base = c->conf.window_base,
		.window_size = c->conf.window_size,
		.module_base = heap_end(c),
		.compute_major = c->capability / 10,
		.compute_minor = c->capability % 10,
		.multiprocessors = c->multiprocessors,
		.warp = 32,
		.threads_block = 1024,
		.threads_multiprocessor = 2048,
		.blocks_multiprocessor = 32,
		.block_max = {1024, 1024, 64},
		.grid_max = {0x7fffffff, 65535, 65535},
		.registers_block = 65536,
		.shared_block = SHARED_BLOCK,
		.shared_block_optin = 227 << 10,
		.shared_multiprocessor = 228 << 10,
		.clock_khz = 1000000,
		.memory_clock_khz = 1000000,
		.memory_bus_bits = 64,
		.l2_bytes = MEBI,
		.constant_bytes = 64 << 10,
		.exact = true,
	};
	snprintf(info->name, sizeof(info->name), "Atoll CPU device (%s)",
		 d->ops == &gpu_device_interpreter ? "interpreter" : ptx_executor_name());
	memcpy(info->uuid, "atoll-cpu-device", 16);
}

/* ------------------------------------------------------------------ memory */

static int cpu_map(struct gpu_device *d, uint64_t address, uint64_t size)
{
	struct cpu *c = cpu_of(d);
	int rc;

	if (c->fault.code)
		return c->fault.code;
	if (size == 0 || size % GPU_GRAIN || address % GPU_GRAIN || address < c->conf.window_base ||
	    address >= heap_end(c) || size > heap_end(c) - address)
		return GPU_INVALID_VALUE;
	if (size > c->conf.limit - c->used)
		return GPU_OUT_OF_MEMORY;
	rc = extent_add(&c->pieces, &c->count, &c->room, address, size);
	if (rc)
		return rc;
	if (ptx_range_add(c->machine, (void *)(uintptr_t)address, size, 0)) {
		extent_remove(c->pieces, &c->count, address);
		return GPU_OUT_OF_MEMORY;
	}
	c->used += size;
	return 0;
}

static int cpu_unmap(struct gpu_device *d, uint64_t address)
{
	struct cpu *c = cpu_of(d);
	uint64_t size = extent_remove(c->pieces, &c->count, address);

	if (!size)
		return GPU_INVALID_VALUE;
	ptx_range_remove(c->machine, (void *)(uintptr_t)address);
	scrub(address, size);
	c->used -= size;
	return c->fault.code;
}

static int cpu_limit(struct gpu_device *d, uint64_t bytes)
{
	struct cpu *c = cpu_of(d);

	if (bytes < c->used || bytes > c->conf.window_size)
		return GPU_INVALID_VALUE;
	c->conf.limit = bytes;
	return 0;
}

static uint64_t cpu_used(struct gpu_device *d)
{
	return cpu_of(d)->used;
}

/* 0 if the device may touch all of it. */
static int check(struct cpu *c, uint64_t address, uint64_t size)
{
	if (c->fault.code)
		return c->fault.code;
	if (size && !ptx_range_contains(c->machine, (void *)(uintptr_t)address, size))
		return GPU_INVALID_VALUE;
	return 0;
}

static int cpu_copy_in(struct gpu_device *d, uint64_t to, const void *from, uint64_t size)
{
	int rc = check(cpu_of(d), to, size);

	if (!rc && size)
		memcpy((void *)(uintptr_t)to, from, size);
	return rc;
}

static int cpu_copy_out(struct gpu_device *d, void *to, uint64_t from, uint64_t size)
{
	int rc = check(cpu_of(d), from, size);

	if (!rc && size)
		memcpy(to, (void *)(uintptr_t)from, size);
	return rc;
}

static int cpu_copy(struct gpu_device *d, uint64_t to, uint64_t from, uint64_t size)
{
	int rc = check(cpu_of(d), to, size);

	if (!rc)
		rc = check(cpu_of(d), from, size);
	if (!rc && size)
		memmove((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
	return rc;
}

static int cpu_fill(struct gpu_device *d, uint64_t to, uint32_t value, unsigned width, uint64_t count)
{
	uint64_t size;
	int rc;

	if ((width != 1 && width != 2 && width != 4) || to % width ||
	    __builtin_mul_overflow(count, width, &size))
		return GPU_INVALID_VALUE;
	rc = check(cpu_of(d), to, size);
	if (rc)
		return rc;
	if (width == 1)
		memset((void *)(uintptr_t)to, (int)(value & 0xff), size);
	else if (width == 2)
		for (uint64_t k = 0; k < count; k++)
			((uint16_t *)(uintptr_t)to)[k] = (uint16_t)value;
	else
		for (uint64_t k = 0; k < count; k++)
			((uint32_t *)(uintptr_t)to)[k] = value;
	return 0;
}

/* ------------------------------------------------------------------ modules */

static int cpu_module_load(struct gpu_device *d, const void *image, uint64_t size,
			   struct gpu_module **module, char text[GPU_TEXT_MAX])
{
	struct cpu *c = cpu_of(d);
	struct ptx_source *sources;
	struct fatbin_texts texts;
	struct gpu_module *m;
	struct ptx_error error;
	char reason[200];
	int rc;

	text[0] = 0;
	if (c->fault.code)
		return c->fault.code;
	rc = fatbin_ptx_load(image, size, c->capability, &texts, reason);
	if (rc) {
		snprintf(text, GPU_TEXT_MAX, "%s", reason);
		return rc;
	}
	m = calloc(1, sizeof(*m));
	sources = calloc(texts.count, sizeof(*sources));
	rc = m && sources ? 0 : GPU_OUT_OF_MEMORY;
	for (unsigned k = 0; !rc && k < texts.count; k++)
		sources[k] = (struct ptx_source){texts.list[k].text, texts.list[k].size};
	if (!rc) {
		rc = ptx_module_load(c->machine, sources, texts.count, &m->ptx, &error);
		if (rc && error.line)
			snprintf(text, GPU_TEXT_MAX, "line %u of the PTX: %.350s", error.line, error.text);
		else if (rc)
			snprintf(text, GPU_TEXT_MAX, "%s", error.text);
	}
	free(sources);
	fatbin_texts_free(&texts);
	if (rc) {
		free(m);
		return rc;
	}
	*module = m;
	return 0;
}

static void cpu_module_unload(struct gpu_device *d, struct gpu_module *module)
{
	(void)d;
	ptx_module_unload(module->ptx);
	free(module);
}

static int cpu_function(struct gpu_device *d, struct gpu_module *module, const char *name,
			struct gpu_function **function, struct gpu_function_info *info,
			uint32_t (*params)[2], unsigned room, char text[GPU_TEXT_MAX])
{
	const struct ptx_function *f = ptx_module_function_find(module->ptx, name);
	const struct ptx_function_info *i;
	struct ptx_error error;

	text[0] = 0;
	if (!f || !ptx_function_info(f)->entry)
		return GPU_NOT_FOUND;
	if (ptx_function_refused(f, &error)) {
		snprintf(text, GPU_TEXT_MAX, "kernel %.80s, line %u of the PTX: %.250s", name, error.line, error.text);
		return GPU_NOT_SUPPORTED;
	}
	i = ptx_function_info(f);
	*info = (struct gpu_function_info){
		.param_count = i->param_count,
		.param_bytes = i->param_bytes,
		.shared_bytes = i->shared_bytes,
		.local_bytes = i->local_bytes,
		.const_bytes = i->const_bytes,
		.registers = i->registers,
		.max_threads = i->max_threads,
		.ptx_version = i->target,
		.binary_version = cpu_of(d)->capability,
	};
	for (unsigned k = 0; k < i->param_count && k < room; k++) {
		params[k][0] = i->params[k].offset;
		params[k][1] = i->params[k].size;
	}
	*function = (struct gpu_function *)(uintptr_t)f;
	return 0;
}

static int cpu_variable(struct gpu_device *d, struct gpu_module *module, const char *name,
			uint64_t *address, uint64_t *size)
{
	const struct ptx_variable *v = ptx_module_variable_find(module->ptx, name);

	(void)d;
	if (!v)
		return GPU_NOT_FOUND;
	*address = (uint64_t)(uintptr_t)v->address;
	*size = v->size;
	return 0;
}

/* ------------------------------------------------------------------ launches */

static struct ptx_launch launch_of(const struct cpu *c, struct gpu_function *function,
				   const struct gpu_launch *launch)
{
	return (struct ptx_launch){
		.function = (const struct ptx_function *)function,
		.grid = {launch->grid[0], launch->grid[1], launch->grid[2]},
		.block = {launch->block[0], launch->block[1], launch->block[2]},
		.shared_bytes = launch->shared_bytes,
		.params = launch->params,
		.params_size = launch->params_size,
		.cooperative = launch->cooperative,
		.cancel = c->conf.cancel,
	};
}

int gpu_cpu_launch_check(struct gpu_device *d, struct gpu_function *function, const struct gpu_launch *launch,
			 char text[GPU_TEXT_MAX])
{
	struct cpu *c = cpu_of(d);
	struct ptx_launch l = launch_of(c, function, launch);
	struct ptx_fault fault;
	int rc;

	text[0] = 0;
	if (c->fault.code)
		return c->fault.code;
	rc = ptx_launch_check(c->machine, &l, &fault);
	if (rc)
		snprintf(text, GPU_TEXT_MAX, "%s", fault.text);
	return rc;
}

static int cpu_launch(struct gpu_device *d, struct gpu_function *function,
		      const struct gpu_launch *launch, char text[GPU_TEXT_MAX])
{
	struct cpu *c = cpu_of(d);
	struct ptx_launch l = launch_of(c, function, launch);
	struct ptx_fault fault = {0};
	int rc;

	text[0] = 0;
	if (c->fault.code)
		return c->fault.code;
	rc = ptx_launch(c->machine, &l, &fault);
	if (rc) {
		snprintf(text, GPU_TEXT_MAX, "%s", fault.text);
		if (gpu_error_sticky(rc)) {
			c->fault = fault;
			c->fault.code = rc;
		}
	}
	return rc;
}

static int cpu_object_make(struct gpu_device *d, uint32_t handle, const struct gpu_object *o)
{
	struct cpu *c = cpu_of(d);
	struct ptx_texture t = {
		.image = {.base = (void *)(uintptr_t)o->base, .pitch = o->pitch, .slice = o->slice, .width = o->width,
			  .height = o->height, .depth = o->depth, .layers = o->layers, .cube = o->cube,
			  .channels = o->channels, .channel_bits = (uint8_t)(8 * o->channel_bytes),
			  .kind = (enum ptx_channel)o->kind},
		.wrap = {(enum ptx_wrap)o->wrap[0], (enum ptx_wrap)o->wrap[1], (enum ptx_wrap)o->wrap[2]},
		.linear = o->linear, .normalized = o->normalized, .read_float = o->read_float,
	};
	int rc = c->fault.code;

	memcpy(t.border, o->border, sizeof(t.border));
	if (!rc)
		rc = ptx_object_set(c->machine, handle, &t, o->surface);
	return rc == -ENOMEM ? GPU_OUT_OF_MEMORY : rc < 0 ? GPU_INVALID_VALUE : rc;
}

static int cpu_object_end(struct gpu_device *d, uint32_t handle)
{
	return ptx_object_clear(cpu_of(d)->machine, handle) ? GPU_INVALID_HANDLE : 0;
}

static int cpu_sync(struct gpu_device *d)
{
	return cpu_of(d)->fault.code;
}

static int cpu_fault(struct gpu_device *d, char text[GPU_TEXT_MAX])
{
	struct cpu *c = cpu_of(d);

	snprintf(text, GPU_TEXT_MAX, "%s", c->fault.code ? c->fault.text : "");
	return c->fault.code;
}

#define CPU_OPS \
	.close = cpu_close, \
	.info = cpu_info, \
	.map = cpu_map, \
	.unmap = cpu_unmap, \
	.limit = cpu_limit, \
	.used = cpu_used, \
	.copy_in = cpu_copy_in, \
	.copy_out = cpu_copy_out, \
	.copy = cpu_copy, \
	.fill = cpu_fill, \
	.module_load = cpu_module_load, \
	.module_unload = cpu_module_unload, \
	.function = cpu_function, \
	.variable = cpu_variable, \
	.launch = cpu_launch, \
	.object_make = cpu_object_make, \
	.object_end = cpu_object_end, \
	.sync = cpu_sync, \
	.fault = cpu_fault

const struct gpu_device_ops gpu_device_cpu = {.name = "cpu", .open = cpu_open, CPU_OPS};
const struct gpu_device_ops gpu_device_interpreter = {
	.name = "interpreter", .open = interpreter_open, CPU_OPS};

const struct gpu_device_ops *gpu_device_find(const char *name)
{
	static const struct gpu_device_ops *const all[] = {&gpu_device_cpu, &gpu_device_interpreter,
							 &gpu_device_null, &gpu_device_cuda};

	for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++)
		if (strcmp(all[k]->name, name) == 0)
			return all[k];
	return NULL;
}
