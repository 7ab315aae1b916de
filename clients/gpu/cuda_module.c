/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda: modules, libraries, kernels, launches. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/cuda.h"

#define MODULE_MAGIC   0x61746f6c6c6d6f64ull
#define FUNCTION_MAGIC 0x61746f6c6c66756eull

enum {
	LAUNCH_END = 0, /* CU_LAUNCH_PARAM_END */
	LAUNCH_BUFFER = 1,
	LAUNCH_SIZE = 2,
	FILE_NOT_FOUND = 301,
};

struct module;

struct function {
	uint64_t magic;
	struct module *module;
	struct gpu_kernel kernel;
	char *name;
	int shared_optin;
	struct function *next;
};

/* A module or a library: of one device. */
struct module {
	uint64_t magic;
	unsigned device, generation;
	uint32_t number;
	struct function *functions;
	pthread_mutex_t lock;
};

static int module_check(const struct module *m, struct gpu **g)
{
	int rc = drv_gpu(g);

	if (!rc && (!m || m->magic != MODULE_MAGIC || m->device != gpu_index(*g) ||
		    m->generation != order_generation(m->device)))
		rc = GPUE_HANDLE;
	return rc;
}

static int load(struct module **out, const void *image, size_t size)
{
	struct module *m;
	struct gpu *g;
	int rc = out && image ? drv_gpu(&g) : GPUE_INVALID_VALUE;

	if (rc)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m)
		return GPUE_MEMORY;
	*m = (struct module){.magic = MODULE_MAGIC, .device = gpu_index(g)};
	m->generation = order_generation(m->device);
	pthread_mutex_init(&m->lock, NULL);
	rc = gpu_module_load(g, image, size, &m->number);
	if (rc) {
		free(m);
		return rc;
	}
	*out = m;
	return 0;
}

API(cuModuleLoadData(struct module **m, const void *image))
{
	return load(m, image, 0);
}

enum { JIT_ERROR_LOG = 5, JIT_ERROR_LOG_BYTES = 6 };

/* Of the options only the log of errors is more than a hint: what is wrong with the module, ended by 0. */
static void log_fill(const char *text, unsigned n, const int *options, void **values)
{
	char *log = NULL;
	size_t room = 0;

	for (unsigned k = 0; k < n && options && values; k++) {
		if (options[k] == JIT_ERROR_LOG)
			log = values[k];
		if (options[k] == JIT_ERROR_LOG_BYTES)
			room = (unsigned)(uintptr_t)values[k];
	}
	if (log && room)
		snprintf(log, room, "%s", text);
}

API(cuModuleLoadDataEx(struct module **m, const void *image, unsigned n, int *options, void **values))
{
	char text[512] = "";
	struct gpu *g;
	int rc = load(m, image, 0);

	if (rc && !drv_gpu(&g))
		gpu_last_text(g, text, sizeof(text));
	log_fill(text, n, options, values);
	return rc;
}

API(cuModuleLoadFatBinary(struct module **m, const void *image))
{
	return load(m, image, 0);
}

API(cuLibraryLoadData(struct module **l, const void *image, int *jit, void **jit_values, unsigned n_jit, int *options,
		      void **values, unsigned n))
{
	(void)jit, (void)jit_values, (void)n_jit, (void)options, (void)values, (void)n;
	return load(l, image, 0);
}

static int load_file(struct module **m, const char *path)
{
	FILE *f = path ? fopen(path, "rbe") : NULL;
	char *image = NULL;
	long n = -1;
	int rc;

	if (!f)
		return path ? FILE_NOT_FOUND : GPUE_INVALID_VALUE;
	if (fseek(f, 0, SEEK_END) == 0)
		n = ftell(f);
	rewind(f);
	if (n > 0)
		image = calloc(1, (size_t)n + 1);
	rc = image && fread(image, 1, (size_t)n, f) == (size_t)n ? load(m, image, (size_t)n + 1) : FILE_NOT_FOUND;
	free(image);
	fclose(f);
	return rc;
}

API(cuModuleLoad(struct module **m, const char *path))
{
	return load_file(m, path);
}

API(cuLibraryLoadFromFile(struct module **l, const char *path, int *jit, void **jit_values, unsigned n_jit, int *options,
			  void **values, unsigned n))
{
	(void)jit, (void)jit_values, (void)n_jit, (void)options, (void)values, (void)n;
	return load_file(l, path);
}

API(cuModuleUnload(struct module *m))
{
	struct gpu *g;
	int rc = module_check(m, &g);

	if (rc)
		return rc;
	rc = gpu_module_unload(g, m->number);
	m->magic = 0;
	for (struct function *f = m->functions, *next; f; f = next) {
		next = f->next;
		f->magic = 0;
		free(f->name);
		free(f);
	}
	free(m);
	return rc;
}

API(cuLibraryUnload(struct module *l))
{
	return cuModuleUnload(l);
}

API(cuModuleGetFunction(struct function **out, struct module *m, const char *name))
{
	struct function *f;
	struct gpu *g;
	int rc = out && name ? module_check(m, &g) : GPUE_INVALID_VALUE;

	if (rc)
		return rc;
	pthread_mutex_lock(&m->lock);
	for (f = m->functions; f && strcmp(f->name, name); f = f->next)
		;
	if (!f) {
		f = calloc(1, sizeof(*f));
		rc = f && (f->name = strdup(name)) ? gpu_kernel_get(g, m->number, name, &f->kernel) : GPUE_MEMORY;
		if (rc) {
			if (f)
				free(f->name);
			free(f);
		} else {
			f->magic = FUNCTION_MAGIC;
			f->module = m;
			f->next = m->functions;
			m->functions = f;
		}
	}
	if (!rc)
		*out = f;
	pthread_mutex_unlock(&m->lock);
	return rc;
}

API(cuLibraryGetKernel(struct function **out, struct module *l, const char *name))
{
	return cuModuleGetFunction(out, l, name);
}

API(cuLibraryGetModule(struct module **out, struct module *l))
{
	struct gpu *g;
	int rc = out ? module_check(l, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		*out = l;
	return rc;
}

API(cuModuleGetGlobal_v2(device_pointer *address, size_t *size, struct module *m, const char *name))
{
	uint64_t a, n;
	struct gpu *g;
	int rc = name ? module_check(m, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		rc = gpu_variable_get(g, m->number, name, &a, &n);
	if (!rc && address)
		*address = a;
	if (!rc && size)
		*size = n;
	return rc;
}

API(cuLibraryGetGlobal(device_pointer *address, size_t *size, struct module *l, const char *name))
{
	return cuModuleGetGlobal_v2(address, size, l, name);
}

API(cuModuleGetLoadingMode(int *mode))
{
	if (!mode)
		return GPUE_INVALID_VALUE;
	*mode = 2; /* lazily */
	return 0;
}

/* ------------------------------------------------------------------ kernels */

static int function_check(const struct function *f, struct gpu **g)
{
	if (!f || f->magic != FUNCTION_MAGIC)
		return GPUE_HANDLE;
	return module_check(f->module, g);
}

API(cuKernelGetFunction(struct function **out, struct function *kernel))
{
	struct gpu *g;
	int rc = out ? function_check(kernel, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		*out = kernel;
	return rc;
}

API(cuFuncGetModule(struct module **out, struct function *f))
{
	struct gpu *g;
	int rc = out ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		*out = f->module;
	return rc;
}

API(cuFuncGetName(const char **name, struct function *f))
{
	struct gpu *g;
	int rc = name ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		*name = f->name;
	return rc;
}

API(cuFuncGetParamInfo(struct function *f, size_t index, size_t *offset, size_t *size))
{
	struct gpu *g;
	int rc = offset ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (!rc && index >= f->kernel.info.param_count)
		rc = GPUE_INVALID_VALUE;
	if (rc)
		return rc;
	*offset = f->kernel.params[index][0];
	if (size)
		*size = f->kernel.params[index][1];
	return 0;
}

API(cuFuncGetAttribute(int *value, int attribute, struct function *f))
{
	struct gpu *g;
	int rc = value ? function_check(f, &g) : GPUE_INVALID_VALUE;
	const struct gpu_result_function_get *i;

	if (rc)
		return rc;
	i = &f->kernel.info;
	switch (attribute) {
	case 0:
		*value = (int)i->max_threads;
		return 0;
	case 1:
		*value = (int)i->shared_bytes;
		return 0;
	case 2:
		*value = (int)i->const_bytes;
		return 0;
	case 3:
		*value = (int)i->local_bytes;
		return 0;
	case 4:
		*value = (int)i->registers;
		return 0;
	case 5:
		*value = (int)i->ptx_version;
		return 0;
	case 6:
		*value = (int)i->binary_version;
		return 0;
	case 8:
		*value = f->shared_optin ? f->shared_optin : (int)(gpu_info(g)->shared_block - i->shared_bytes);
		return 0;
	case 9:
		*value = -1;
		return 0;
	case 7:
	case 10:
	case 11:
	case 12:
	case 13:
	case 14:
	case 15:
		*value = 0;
		return 0;
	default:
		return GPUE_INVALID_VALUE;
	}
}

API(cuFuncSetAttribute(struct function *f, int attribute, int value))
{
	struct gpu *g;
	int rc = function_check(f, &g);

	if (rc)
		return rc;
	if (attribute == 9) /* preferred carveout: a hint */
		return 0;
	if (attribute != 8)
		return GPUE_NOT_SUPPORTED;
	if (value < 0 || (uint64_t)value + f->kernel.info.shared_bytes > gpu_info(g)->shared_block_optin)
		return GPUE_INVALID_VALUE;
	f->shared_optin = value;
	return 0;
}

API(cuFuncSetCacheConfig(struct function *f, int config))
{
	struct gpu *g;

	(void)config; /* a hint */
	return function_check(f, &g);
}

/* Parameters one by one, or as one block in @extra. */
static int launch(struct function *f, struct gpu_geometry *l, void *s, void **params, void **extra)
{
	struct order_stream stream;
	const void *block = NULL;
	size_t size = 0;
	struct gpu *g;
	int rc = function_check(f, &g);

	if (!rc)
		rc = order_stream_get(s, &stream, &l->stream);
	if (!rc && stream.device != gpu_index(g))
		rc = GPUE_HANDLE;
	if (!rc && l->shared + f->kernel.info.shared_bytes > gpu_info(g)->shared_block &&
	    l->shared > (uint32_t)f->shared_optin)
		rc = GPUE_INVALID_VALUE;
	if (!rc && params && extra)
		rc = GPUE_INVALID_VALUE;
	for (unsigned k = 0; !rc && extra && (uintptr_t)extra[k] != LAUNCH_END; k += 2) {
		if ((uintptr_t)extra[k] == LAUNCH_BUFFER)
			block = extra[k + 1];
		else if ((uintptr_t)extra[k] == LAUNCH_SIZE && extra[k + 1])
			size = *(const size_t *)extra[k + 1];
		else
			rc = GPUE_INVALID_VALUE;
	}
	if (!rc && !params && f->kernel.info.param_count && (!block || size > UINT32_MAX))
		rc = GPUE_INVALID_VALUE;
	if (rc)
		return rc;
	rc = params || !f->kernel.info.param_count ? gpu_launch_args(g, &f->kernel, l, params)
						   : gpu_launch(g, &f->kernel, l, block, (uint32_t)size);
	if (!rc)
		order_stream_used(s, g);
	return rc;
}

API(cuLaunchKernel(struct function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
		   unsigned shared, void *s, void **params, void **extra))
{
	struct gpu_geometry l = {.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared};

	return launch(f, &l, s, params, extra);
}

API(cuLaunchCooperativeKernel(struct function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
			      unsigned bz, unsigned shared, void *s, void **params))
{
	struct gpu_geometry l = {.grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared, .cooperative = true};

	return launch(f, &l, s, params, NULL);
}

struct launch_attribute {
	int id;
	char pad[4];
	union {
		char bytes[64];
		int value;
	};
};

struct launch_config {
	unsigned grid[3], block[3], shared;
	void *stream;
	struct launch_attribute *attributes;
	unsigned count;
};

API(cuLaunchKernelEx(const struct launch_config *c, struct function *f, void **params, void **extra))
{
	struct gpu_geometry l;

	if (!c || (c->count && !c->attributes))
		return GPUE_INVALID_VALUE;
	l = (struct gpu_geometry){.grid = {c->grid[0], c->grid[1], c->grid[2]},
				  .block = {c->block[0], c->block[1], c->block[2]},
				  .shared = c->shared};
	for (unsigned k = 0; k < c->count; k++) {
		switch (c->attributes[k].id) {
		case 0: /* ignore */
		case 6: /* programmatic stream serialization: in order is one way to do it */
		case 8: /* priority */
			break;
		case 2:
			l.cooperative = c->attributes[k].value != 0;
			break;
		default:
			return GPUE_NOT_SUPPORTED;
		}
	}
	return launch(f, &l, c->stream, params, extra);
}

/* ------------------------------------------------------------------ occupancy */

API(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, struct function *f, int threads, size_t shared,
							 unsigned flags))
{
	struct gpu *g;
	int rc = blocks && threads > 0 && !(flags & ~1u) ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		*blocks = (int)gpu_occupancy(gpu_info(g), &f->kernel, (unsigned)threads, shared);
	return rc;
}

API(cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, struct function *f, int threads, size_t shared))
{
	return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, threads, shared, 0);
}

API(cuOccupancyAvailableDynamicSMemPerBlock(size_t *shared, struct function *f, int blocks, int threads))
{
	struct gpu *g;
	uint64_t n = 0;
	int rc = shared && blocks > 0 && threads > 0 ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (!rc)
		rc = gpu_occupancy_shared(gpu_info(g), &f->kernel, (unsigned)blocks, (unsigned)threads, &n);
	if (!rc)
		*shared = n;
	return rc;
}

/* The block size with which most threads are active, and the fewest blocks that fill the device with it. */
API(cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, struct function *f, size_t (*shared_of)(int),
					      size_t shared, int limit, unsigned flags))
{
	unsigned best = 0, blocks = 0, most;
	struct gpu *g;
	int rc = grid && block && limit >= 0 && !(flags & ~1u) ? function_check(f, &g) : GPUE_INVALID_VALUE;

	if (rc)
		return rc;
	most = f->kernel.info.max_threads;
	if (limit && (unsigned)limit < most)
		most = (unsigned)limit;
	*grid = *block = 0;
	for (unsigned n = (most + 31) / 32 * 32; n; n -= 32) {
		unsigned threads = n < most ? n : most, fit;

		fit = gpu_occupancy(gpu_info(g), &f->kernel, threads, shared_of ? shared_of((int)threads) : shared);
		if (fit * threads > best) {
			best = fit * threads;
			blocks = fit;
			*block = (int)threads;
		}
	}
	*grid = (int)(blocks * gpu_info(g)->multiprocessors);
	return 0;
}

API(cuOccupancyMaxPotentialBlockSize(int *grid, int *block, struct function *f, size_t (*shared_of)(int), size_t shared,
				     int limit))
{
	return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, f, shared_of, shared, limit, 0);
}
