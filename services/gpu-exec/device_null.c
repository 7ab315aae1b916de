/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device that computes nothing: memory, modules and all checks are those of the cpu device, but a
 * kernel is not run: the time passes that it is said to take. For what protocols cost, and to replay
 * recorded timings without the device that they are of.
 *
 * So that a client can know that every launch arrived, in order and with its own parameters, each module has
 * one more variable, "atoll_null", of two u64: launches so far, and a hash of all their parameters.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/gpu-exec/device.h"
#include "services/gpu-exec/device_null.h"

struct null {
	struct gpu_device device;
	struct gpu_device *cpu;
	struct gpu_module *own;
	uint64_t variable; /* address */
	uint64_t count, hash;
	uint64_t ns; /* that a kernel takes */
};

static const struct gpu_device_ops *const cpu = &gpu_device_cpu;

static struct null *null_of(struct gpu_device *d)
{
	return (struct null *)d;
}

static void null_close(struct gpu_device *d)
{
	struct null *n = null_of(d);

	if (n->own)
		cpu->module_unload(n->cpu, n->own);
	cpu->close(n->cpu);
	free(n);
}

static int null_open(const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX])
{
	static const char text[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
				   ".visible .global .align 16 .u64 atoll_null[2];\n";
	struct null *n = calloc(1, sizeof(*n));
	uint64_t size;
	int rc;

	if (!n)
		return -ENOMEM;
	n->device.ops = &gpu_device_null;
	n->ns = conf->kernel_ns;
	rc = cpu->open(conf, &n->cpu, why);
	if (rc) {
		free(n);
		return rc;
	}
	if (cpu->module_load(n->cpu, text, sizeof(text), &n->own, why) ||
	    cpu->variable(n->cpu, n->own, "atoll_null", &n->variable, &size)) {
		null_close(&n->device);
		return -ENOMEM;
	}
	*out = &n->device;
	return 0;
}

static void null_info(struct gpu_device *d, struct gpu_device_info *info)
{
	cpu->info(null_of(d)->cpu, info);
	strcpy(info->name, "Atoll null device");
}

static int null_variable(struct gpu_device *d, struct gpu_module *module, const char *name, uint64_t *address,
			 uint64_t *size)
{
	struct null *n = null_of(d);

	return cpu->variable(n->cpu, strcmp(name, "atoll_null") ? module : n->own, name, address, size);
}

/* What launches have changed is there for who looks. */
static void publish(struct null *n)
{
	uint64_t now[2] = {n->count, n->hash};

	cpu->copy_in(n->cpu, n->variable, now, sizeof(now));
}

static int null_copy_out(struct gpu_device *d, void *to, uint64_t from, uint64_t size)
{
	publish(null_of(d));
	return cpu->copy_out(null_of(d)->cpu, to, from, size);
}

static int null_copy(struct gpu_device *d, uint64_t to, uint64_t from, uint64_t size)
{
	publish(null_of(d));
	return cpu->copy(null_of(d)->cpu, to, from, size);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int null_launch(struct gpu_device *d, struct gpu_function *function, const struct gpu_launch *l,
		       char text[GPU_TEXT_MAX])
{
	struct null *n = null_of(d);
	int rc = gpu_cpu_launch_check(n->cpu, function, l, text);

	if (rc)
		return rc;
	n->count++;
	n->hash = gpu_null_hash(n->hash, l->params, l->params_size);
	if (n->ns) {
		uint64_t until = now_ns() + n->ns;

		while (now_ns() < until)
			;
	}
	return 0;
}

/* ------------------------------------------------------------------ all else is the cpu device's */

static int null_map(struct gpu_device *d, uint64_t address, uint64_t size)
{
	return cpu->map(null_of(d)->cpu, address, size);
}

static int null_unmap(struct gpu_device *d, uint64_t address)
{
	return cpu->unmap(null_of(d)->cpu, address);
}

static int null_limit(struct gpu_device *d, uint64_t bytes)
{
	return cpu->limit(null_of(d)->cpu, bytes);
}

static uint64_t null_used(struct gpu_device *d)
{
	return cpu->used(null_of(d)->cpu);
}

static int null_copy_in(struct gpu_device *d, uint64_t to, const void *from, uint64_t size)
{
	return cpu->copy_in(null_of(d)->cpu, to, from, size);
}

static int null_fill(struct gpu_device *d, uint64_t to, uint32_t value, unsigned width, uint64_t count)
{
	return cpu->fill(null_of(d)->cpu, to, value, width, count);
}

static int null_module_load(struct gpu_device *d, const void *image, uint64_t size, struct gpu_module **module,
			    char text[GPU_TEXT_MAX])
{
	return cpu->module_load(null_of(d)->cpu, image, size, module, text);
}

static void null_module_unload(struct gpu_device *d, struct gpu_module *module)
{
	cpu->module_unload(null_of(d)->cpu, module);
}

static int null_function(struct gpu_device *d, struct gpu_module *module, const char *name,
			 struct gpu_function **function, struct gpu_function_info *info, uint32_t (*params)[2],
			 unsigned room, char text[GPU_TEXT_MAX])
{
	return cpu->function(null_of(d)->cpu, module, name, function, info, params, room, text);
}

static int null_object_make(struct gpu_device *d, uint32_t handle, const struct gpu_object *object)
{
	return cpu->object_make(null_of(d)->cpu, handle, object);
}

static int null_object_end(struct gpu_device *d, uint32_t handle)
{
	return cpu->object_end(null_of(d)->cpu, handle);
}

static int null_sync(struct gpu_device *d)
{
	return cpu->sync(null_of(d)->cpu);
}

static int null_fault(struct gpu_device *d, char text[GPU_TEXT_MAX])
{
	return cpu->fault(null_of(d)->cpu, text);
}

const struct gpu_device_ops gpu_device_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.info = null_info,
	.map = null_map,
	.unmap = null_unmap,
	.limit = null_limit,
	.used = null_used,
	.copy_in = null_copy_in,
	.copy_out = null_copy_out,
	.copy = null_copy,
	.fill = null_fill,
	.module_load = null_module_load,
	.module_unload = null_module_unload,
	.function = null_function,
	.object_make = null_object_make,
	.object_end = null_object_end,
	.variable = null_variable,
	.launch = null_launch,
	.sync = null_sync,
	.fault = null_fault,
};
