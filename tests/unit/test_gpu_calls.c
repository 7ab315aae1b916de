/* SPDX-License-Identifier: Apache-2.0 */
/* Calls as a hostile client writes them: wrong sizes, foreign handles, ranges that wrap; and many at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/gpu_dispatch.h"
#include "services/gpu-exec/worker_impl.h"

#define MEBI (1ull << 20)

enum { BOUNCE = 65536, GUARD = 4096, ROUNDS = 20000 };

static struct gpu_worker w;
static struct worker_page page;
static uint8_t *memory; /* the bounce region between two guards */
static uint64_t base;
static _Alignas(16) uint8_t out[2 * WORKER_PAYLOAD_MAX];
static uint8_t call[GPU_BATCH_MAX];
static uint32_t got;

static const char ptx[] = ".version 7.0\n.target sm_70\n.address_size 64\n\
.visible .global .align 8 .u64 v = 5;\n\
.visible .entry k(.param .u64 p)\n{\n .reg .b64 %a;\n ld.param.u64 %a, [p];\n st.global.u32 [%a], 1;\n ret;\n}\n";

static int setup(void **state)
{
	struct gpu_device_info info;

	(void)state;
	memset(&w, 0, sizeof(w));
	memory = malloc(BOUNCE + 2 * GUARD);
	assert_non_null(memory);
	memset(memory, 0xa5, BOUNCE + 2 * GUARD);
	w.ops = gpu_device_find("cpu");
	w.conf = (struct worker_conf){.bounce = memory + GUARD, .bounce_size = BOUNCE, .page = &page,
				      .device = {.limit = 4 * MEBI, .window_size = 64 * MEBI, .cores = 1,
						 .print = worker_print, .user = &w}};
	assert_int_equal(w.ops->open(&w.conf.device, &w.dev, w.text), 0);
	w.ops->info(w.dev, &info);
	base = info.window_base;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t k = 0; k < w.modules_room; k++)
		if (w.modules[k])
			w.ops->module_unload(w.dev, w.modules[k]);
	w.ops->close(w.dev);
	for (int k = 0; k < GUARD; k++) {
		assert_int_equal(memory[k], 0xa5);
		assert_int_equal(memory[GUARD + BOUNCE + k], 0xa5);
	}
	free(memory);
	free(w.modules);
	free(w.functions);
	free(w.events);
	free(w.image);
	free(w.printed);
	return 0;
}

/* As a session's process does it: looked at, then done. -1: it is malformed. */
static int run(uint32_t size)
{
	got = 0;
	if (!size || gpu_call_check(call, size) != size)
		return -1;
	return gpu_dispatch(&w, call, out, &got);
}

#define RUN(name, ...) run(gpu_put_##name(call, sizeof(call) __VA_OPT__(, ) __VA_ARGS__))

static void load(void)
{
	assert_int_equal(RUN(image_begin, sizeof(ptx)), 0);
	assert_int_equal(RUN(image_data, 0, ptx, sizeof(ptx)), 0);
	assert_int_equal(RUN(module_load, 3), 0);
	assert_int_equal(RUN(function_get, 3, 7, "k", 1), 0);
}

static void test_shape(void **state)
{
	struct gpu_call h;
	uint32_t size;

	(void)state;
	size = gpu_put_mem_map(call, sizeof(call), base, 512);
	assert_int_equal(size, 24);
	for (uint32_t k = 0; k < size; k++)
		assert_int_equal(gpu_call_check(call, k), 0);
	assert_int_equal(gpu_call_check(call, 100), size);
	memcpy(&h, call, sizeof(h));
	for (unsigned id = 0; id < 70000; id += id < 64 ? 1 : 997) {
		struct gpu_call other = {(uint16_t)id, h.size, h.data};

		memcpy(call, &other, sizeof(other));
		if (other.id == 0 || other.id >= GPU_CALLS)
			assert_int_equal(gpu_call_check(call, size), 0);
	}
	h.data = 1; /* a call that has none */
	memcpy(call, &h, sizeof(h));
	assert_int_equal(gpu_call_check(call, size), 0);
	size = gpu_put_copy_in_data(call, sizeof(call), base, "abc", 3);
	memcpy(&h, call, sizeof(h));
	h.data = UINT32_MAX - 20; /* would wrap round to its size */
	memcpy(call, &h, sizeof(h));
	assert_int_equal(gpu_call_check(call, size), 0);
	/* What does not fit is not written. */
	assert_int_equal(gpu_put_copy_in_data(call, 23, base, "abc", 3), 0);
	assert_int_equal(gpu_put_copy_in_data(call, sizeof(call), base, out, GPU_DATA_MAX + 1), 0);
}

static void test_handles(void **state)
{
	uint8_t params[8] = {0};
	char long_name[GPU_NAME_MAX + 1];

	(void)state;
	memset(long_name, 'k', sizeof(long_name));
	load();
	assert_int_equal(RUN(launch, 8, 0, 1, 1, 1, 1, 1, 1, 0, 0, params, 8), 400);
	assert_int_equal(RUN(launch, UINT32_MAX, 0, 1, 1, 1, 1, 1, 1, 0, 0, params, 8), 400);
	assert_int_equal(RUN(launch, 7, 0, 1, 1, 1, 1, 1, 1, 0, 0, params, 7), 1);
	assert_int_equal(RUN(launch, 7, 0, 0, 1, 1, 1, 1, 1, 0, 0, params, 8), 9);
	assert_int_equal(RUN(module_unload, 4), 400);
	assert_int_equal(RUN(module_unload, UINT32_MAX), 400);
	assert_int_equal(RUN(function_get, 4, 9, "k", 1), 400);
	assert_int_equal(RUN(function_get, 3, 7, "k", 1), 1); /* in use */
	assert_int_equal(RUN(function_get, 3, UINT32_MAX, "k", 1), 1);
	assert_int_equal(RUN(function_get, 3, 9, "k\0k", 3), 1);
	assert_int_equal(RUN(function_get, 3, 9, "", 0), 1);
	assert_int_equal(RUN(function_get, 3, 9, long_name, sizeof(long_name)), 1);
	assert_int_equal(RUN(function_get, 3, 9, "nothing", 7), 500);
	assert_int_equal(RUN(variable_get, 4, "v", 1), 400);
	assert_int_equal(RUN(variable_get, 3, "w", 1), 500);
	assert_int_equal(RUN(event_elapsed, 1, 2), 400);
	assert_int_equal(RUN(event_record, UINT32_MAX), 1);
	/* No image, a handle in use, an image that is none. */
	assert_int_equal(RUN(module_load, 5), 1);
	assert_int_equal(RUN(image_begin, 10), 0);
	assert_int_equal(RUN(module_load, 3), 1);
	assert_int_equal(RUN(module_load, UINT32_MAX), 1);
	assert_int_equal(RUN(module_load, 5), 218);
	/* Functions go with their module. */
	assert_int_equal(RUN(module_unload, 3), 0);
	assert_int_equal(RUN(launch, 7, 0, 1, 1, 1, 1, 1, 1, 0, 0, params, 8), 400);
	assert_int_equal(w.ops->used(w.dev), 0);
}

static void test_ranges(void **state)
{
	(void)state;
	assert_int_equal(RUN(mem_map, base, MEBI), 0);
	assert_int_equal(RUN(copy_in, base, BOUNCE - 1, 2), 1);
	assert_int_equal(RUN(copy_in, base, UINT32_MAX, 2), 1);
	assert_int_equal(RUN(copy_in, base, 2, UINT32_MAX), 1);
	assert_int_equal(RUN(copy_in, base + MEBI - 1, 0, 2), 1);
	assert_int_equal(RUN(copy_in, base, 0, BOUNCE), 0);
	assert_int_equal(RUN(copy_out, base, BOUNCE - 1, 2), 1);
	assert_int_equal(RUN(copy_out, (uintptr_t)&w, 0, 8), 1); /* the process's own memory */
	assert_int_equal(RUN(copy_out, 0, 0, 8), 1);
	assert_int_equal(RUN(copy_out_data, base, GPU_DATA_MAX + 1), 1);
	assert_int_equal(RUN(copy_out_data, (uintptr_t)&w, 8), 1);
	assert_int_equal(RUN(copy_out_data, base, GPU_DATA_MAX), 0);
	assert_int_equal(got, GPU_DATA_MAX);
	assert_int_equal(RUN(copy, base, base + MEBI - 1, 2), 1);
	assert_int_equal(RUN(copy, base, base, UINT64_MAX), 1);
	assert_int_equal(RUN(copy_rows, base, 16, base, 16, 17, 2), 1);
	assert_int_equal(RUN(copy_rows, base, 1ull << 62, base, 16, 8, 5), 1);
	assert_int_equal(RUN(copy_rows, base, 16, base, 16, 8, 1ull << 62), 1);
	assert_int_equal(RUN(fill, base, 0, 4, 1ull << 62, 0, 4), 1);
	assert_int_equal(RUN(fill, base, 1ull << 40, 1ull << 62, 5, 0, 4), 1);
	assert_int_equal(RUN(fill, base, 8, 2, 3, 0, 3), 1);
	assert_int_equal(RUN(image_begin, 0), 1);
	assert_int_equal(RUN(image_begin, 1ull << 40), 1);
	assert_int_equal(RUN(image_data, 0, "x", 1), 1); /* there is none */
	assert_int_equal(RUN(image_begin, 100), 0);
	assert_int_equal(RUN(image_data, 99, "xy", 2), 1);
	assert_int_equal(RUN(image_data, UINT64_MAX, "x", 1), 1);
	assert_int_equal(RUN(image_piece, 0, BOUNCE - 1, 2), 1);
	assert_int_equal(RUN(image_piece, 0, 0, 100), 0);
}

static uint32_t seed = 1;

static uint32_t draw(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Values that are nearly right more often than not. */
static uint64_t value(void)
{
	static const uint64_t odd[] = {0, 1, 512, 4096, BOUNCE, 0x7fffffff, UINT32_MAX, 1ull << 40, UINT64_MAX};

	switch (draw() % 4) {
	case 0:
		return base + draw() % (2 * MEBI) / 512 * 512;
	case 1:
		return draw() % 10;
	case 2:
		return odd[draw() % (sizeof(odd) / sizeof(odd[0]))];
	default:
		return draw() % BOUNCE;
	}
}

static void test_random(void **state)
{
	(void)state;
	load();
	for (int k = 0; k < ROUNDS; k++) {
		uint16_t id = (uint16_t)(1 + draw() % (GPU_CALLS - 1));
		uint32_t n = gpu_call_descs[id].data ? draw() % 64 : 0, size;
		uint64_t args[16];
		uint8_t data[64];

		if (id == GPU_CALL_LAUNCH && draw() % 16) /* a fault ends the context, and the rest is dull */
			continue;
		for (unsigned i = 0; i < 16; i++)
			args[i] = draw() % 2 ? value() : value() << 32 | (value() & 0xffffffff);
		if (id == GPU_CALL_COPY_ROWS || id == GPU_CALL_FILL)
			args[id == GPU_CALL_FILL ? 3 : 5] %= 1000; /* rows: not for hours */
		for (unsigned i = 0; i < n; i++)
			data[i] = (uint8_t)draw();
		size = gpu_call_put(call, sizeof(call), id, args, gpu_call_descs[id].args, data, n);
		if (draw() % 8 == 0)
			call[draw() % 8] ^= (uint8_t)(1 << draw() % 8);
		size = gpu_call_check(call, size);
		if (size) {
			got = 0;
			gpu_dispatch(&w, call, out, &got);
			assert_in_range(got, 0, WORKER_PAYLOAD_MAX);
		}
		assert_in_range(w.ops->used(w.dev), 0, 4 * MEBI);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_shape, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
