/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptx_rig.h - runs kernels of tests/kernels in a test
 *
 * A test is run once for each executor; what its buffers hold at the end must be the same, bit by
 * bit.
 */
#ifndef ATOLL_TESTS_UNIT_PTX_RIG_H
#define ATOLL_TESTS_UNIT_PTX_RIG_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/gpu-exec/ptx/ptx.h"

#ifndef PTX_KERNELS
#define PTX_KERNELS "tests/kernels"
#endif

struct rig {
	struct ptx_machine *machine;
	struct ptx_module *module;
	enum ptx_executor executor;
	struct ptx_fault fault;
	unsigned buffers;
	void *buffer[16];
	size_t size[16];
	char printed[8192];
	size_t printed_size;
	bool cooperative;
};

/* For numbers that are the same in each run of a test. */
static uint32_t rig_seed __attribute__((unused));

static inline void rig_print(void *user, const char *text, size_t n)
{
	struct rig *r = user;

	if (n > sizeof(r->printed) - r->printed_size)
		n = sizeof(r->printed) - r->printed_size;
	memcpy(r->printed + r->printed_size, text, n);
	r->printed_size += n;
}

static inline char *rig_file(const char *name, size_t *size)
{
	char path[512], *text;
	FILE *f;
	long n;

	snprintf(path, sizeof(path), "%s/%s", PTX_KERNELS, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = ftell(f);
	rewind(f);
	text = malloc((size_t)n + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)n, f), n);
	text[n] = 0;
	fclose(f);
	*size = (size_t)n;
	return text;
}

static inline void rig_open_text(struct rig *r, enum ptx_executor executor, const char *text,
				 size_t size)
{
	struct ptx_machine_config config = {.cores = 2, .multiprocessors = 4, .print = rig_print, .user = r};
	struct ptx_source source = {text, size};
	struct ptx_error error;

	memset(r, 0, sizeof(*r));
	r->executor = executor;
	assert_int_equal(ptx_machine_create(&config, &r->machine), 0);
	if (ptx_module_load(r->machine, &source, 1, &r->module, &error))
		fail_msg("line %u: %s", error.line, error.text);
}

static inline void rig_open(struct rig *r, enum ptx_executor executor, const char *file)
{
	size_t size;
	char *text = rig_file(file, &size);

	rig_open_text(r, executor, text, size);
	free(text);
}

/* Sum over all buffers. */
static inline uint64_t rig_close(struct rig *r)
{
	uint64_t sum = 14695981039346656037u;

	for (unsigned k = 0; k < r->buffers; k++) {
		for (size_t n = 0; n < r->size[k]; n++)
			sum = (sum ^ ((uint8_t *)r->buffer[k])[n]) * 1099511628211u;
		assert_int_equal(ptx_range_remove(r->machine, r->buffer[k]), 0);
		free(r->buffer[k]);
	}
	ptx_module_unload(r->module);
	ptx_machine_destroy(r->machine);
	return sum;
}

static inline void *rig_buffer(struct rig *r, size_t size)
{
	void *p = aligned_alloc(256, (size + 255) / 256 * 256);

	assert_non_null(p);
	memset(p, 0, size);
	assert_int_equal(ptx_range_add(r->machine, p, size, 0), 0);
	r->buffer[r->buffers] = p;
	r->size[r->buffers++] = size;
	return p;
}

/* Arguments: each as 64 bits, cut to the parameter's size. */
static inline int rig_try(struct rig *r, const char *kernel, const uint32_t grid[3],
			  const uint32_t block[3], uint32_t shared, const uint64_t *args, unsigned n)
{
	const struct ptx_function *f = ptx_module_function_find(r->module, kernel);
	const struct ptx_function_info *info;
	uint8_t params[512] = {0};
	struct ptx_launch launch = {.function = f,
				    .grid = {grid[0], grid[1], grid[2]},
				    .block = {block[0], block[1], block[2]},
				    .shared_bytes = shared,
				    .params = params,
				    .cooperative = r->cooperative,
				    .executor = r->executor};

	if (!f)
		fail_msg("no kernel %s", kernel);
	info = ptx_function_info(f);
	assert_int_equal(info->param_count, n);
	for (unsigned k = 0; k < n; k++)
		memcpy(params + info->params[k].offset, &args[k],
		       info->params[k].size < 8 ? info->params[k].size : 8);
	launch.params_size = info->param_bytes;
	return ptx_launch(r->machine, &launch, &r->fault);
}

#define G(...) ((const uint32_t[3]){__VA_ARGS__})
#define P(x)   ((uint64_t)(uintptr_t)(x))
#define RUN(r, kernel, grid, block, shared, ...)                                                   \
	do {                                                                                       \
		const uint64_t args_[] = {__VA_ARGS__};                                            \
		int rc_ = rig_try(r, kernel, grid, block, shared, args_,                           \
				  sizeof(args_) / sizeof(args_[0]));                               \
                                                                                                   \
		if (rc_)                                                                           \
			fail_msg("%s: %d: %s", kernel, rc_, (r)->fault.text);                      \
	} while (0)

static inline uint64_t bits_of_float(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

/* Defines test_NAME, which runs check_NAME with each executor on @file. */
#define KERNEL_TEST(name, file)                                                                    \
	static void check_##name(struct rig *r);                                                   \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		uint64_t sum[3];                                                                   \
		struct rig r;                                                                      \
                                                                                                   \
		(void)state;                                                                       \
		for (unsigned e = 0; e < 3; e++) {                                                 \
			rig_open(&r, PTX_EXEC_INTERPRETER + e, file);                              \
			rig_seed = 1;                                                              \
			check_##name(&r);                                                          \
			sum[e] = rig_close(&r);                                                    \
		}                                                                                  \
		assert_int_equal(sum[0], sum[1]);                                                  \
		assert_int_equal(sum[0], sum[2]);                                                  \
	}                                                                                          \
	static void check_##name(struct rig *r)

#endif
