/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of device.h, on every device that this machine has. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/gpu-exec/device_null.h"

#define MEBI	   (1ull << 20)
#define DEVICE_LIMIT (4 * MEBI)

static const struct gpu_device_ops *ops;
static struct gpu_device *dev;
static struct gpu_device_info info;
static struct gpu_module *mod;
static char printed[256];

static void print(void *user, const char *text, uint64_t n)
{
	size_t have = strlen(printed);

	(void)user;
	if (n >= sizeof(printed) - have)
		n = sizeof(printed) - have - 1;
	memcpy(printed + have, text, n);
	printed[have + n] = 0;
}

static char *file(const char *name, size_t *size)
{
	char path[512], *text;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", PTX_KERNELS, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	text = malloc(1 << 20);
	assert_non_null(text);
	*size = fread(text, 1, (1 << 20) - 1, f);
	text[*size] = 0;
	fclose(f);
	return text;
}

static int setup(void **state)
{
	struct gpu_device_conf conf = {
		.limit = DEVICE_LIMIT, .window_size = 256 * MEBI, .cores = 2, .print = print};
	char why[GPU_TEXT_MAX];
	int rc = ops->open(&conf, &dev, why);

	(void)state;
	if (rc)
		fail_msg("%s: %s", ops->name, why);
	printed[0] = 0;
	mod = NULL;
	ops->info(dev, &info);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (mod)
		ops->module_unload(dev, mod);
	ops->close(dev);
	return 0;
}

static void load(const char *text, size_t size)
{
	char why[GPU_TEXT_MAX];
	int rc = ops->module_load(dev, text, size, &mod, why);

	if (rc)
		fail_msg("%d: %s", rc, why);
}

static struct gpu_function *function(const char *name, struct gpu_function_info *i)
{
	struct gpu_function *f;
	uint32_t params[16][2];

	char why[GPU_TEXT_MAX];

	assert_int_equal(ops->function(dev, mod, name, &f, i, params, 16, why), 0);
	return f;
}

static const char kernels[] = "\
.version 7.0\n.target sm_70\n.address_size 64\n\
.visible .global .align 8 .u64 counter = 41;\n\
.visible .entry poke(.param .u64 to, .param .u32 v)\n\
{\n .reg .b64 %a; .reg .b32 %v;\n ld.param.u64 %a, [to];\n ld.param.u32 %v, [v];\n\
 st.global.u32 [%a], %v;\n ret;\n}\n\
.visible .entry trapped()\n{\n trap;\n ret;\n}\n\
.visible .entry count()\n\
{\n .reg .b64 %a;\n ld.global.u64 %a, [counter];\n add.s64 %a, %a, 1;\n st.global.u64 [counter], %a;\n ret;\n}\n\
.visible .entry few() .maxntid 32\n{\n ret;\n}\n";

static int poke(struct gpu_function *f, uint64_t to, uint32_t v)
{
	uint8_t params[16] = {0};
	struct gpu_launch l = {.grid = {1, 1, 1}, .block = {1, 1, 1}, .params = params};
	char why[GPU_TEXT_MAX];
	int rc;

	l.params_size = 12;
	memcpy(params, &to, 8);
	memcpy(params + 8, &v, 4);
	rc = ops->launch(dev, f, &l, why);
	return rc ? rc : ops->sync(dev);
}

static void test_memory(void **state)
{
	uint64_t base = info.window_base, heap = info.window_size - info.window_size / GPU_WINDOW_OWN;
	uint64_t own = ops->used(dev);
	uint8_t in[2000], out[2000];

	(void)state;
	assert_int_equal(info.memory, DEVICE_LIMIT);
	assert_int_equal(ops->map(dev, base, MEBI), 0);
	assert_int_equal(ops->map(dev, base + MEBI - 512, 512), 1);	/* over another */
	assert_int_equal(ops->map(dev, base + 2 * MEBI, 100), 1);	/* no multiple */
	assert_int_equal(ops->map(dev, base + 2 * MEBI + 1, 512), 1);
	assert_int_equal(ops->map(dev, base - 512, 512), 1);		/* outside */
	assert_int_equal(ops->map(dev, base + heap, 512), 1);		/* the device's own */
	assert_int_equal(ops->map(dev, base + 2 * MEBI, -512ull), 1);	/* wraps */
	assert_int_equal(ops->map(dev, base + MEBI, 0), 1);
	assert_int_equal(ops->used(dev), own + MEBI);

	for (unsigned k = 0; k < sizeof(in); k++)
		in[k] = (uint8_t)(k * 7);
	assert_int_equal(ops->copy_in(dev, base + 100, in, sizeof(in)), 0);
	assert_int_equal(ops->copy(dev, base + 5000, base + 100, sizeof(in)), 0);
	assert_int_equal(ops->copy(dev, base + 5010, base + 5000, 1500), 0); /* overlap */
	assert_int_equal(ops->copy_out(dev, out, base + 5010, 1500), 0);
	assert_memory_equal(out, in, 1500);
	assert_int_equal(ops->copy_in(dev, base + MEBI - 1, in, 2), 1);
	assert_int_equal(ops->copy_out(dev, out, base - 1, 2), 1);
	assert_int_equal(ops->copy_out(dev, out, base, -1ull), 1);
	assert_int_equal(ops->copy(dev, base, base + MEBI - 10, 20), 1);
	assert_int_equal(ops->copy_in(dev, base, in, 0), 0);

	assert_int_equal(ops->fill(dev, base, 0x1234abcd, 4, 100), 0);
	assert_int_equal(ops->fill(dev, base + 8, 0xee, 1, 3), 0);
	assert_int_equal(ops->fill(dev, base + 12, 0x5566, 2, 1), 0);
	assert_int_equal(ops->copy_out(dev, out, base, 16), 0);
	assert_memory_equal(out, "\xcd\xab\x34\x12\xcd\xab\x34\x12\xee\xee\xee\x12\x66\x55\x34\x12", 16);
	assert_int_equal(ops->fill(dev, base, 0, 4, MEBI / 4 + 1), 1);
	assert_int_equal(ops->fill(dev, base, 0, 4, 1ull << 62), 1);
	assert_int_equal(ops->fill(dev, base, 0, 3, 1), 1);

	/* What was freed cannot be reached, and comes back empty. */
	assert_int_equal(ops->unmap(dev, base + 512), 1);
	assert_int_equal(ops->unmap(dev, base), 0);
	assert_int_equal(ops->unmap(dev, base), 1);
	assert_int_equal(ops->copy_out(dev, out, base, 16), 1);
	assert_int_equal(ops->map(dev, base, 512), 0);
	assert_int_equal(ops->copy_out(dev, out, base, 16), 0);
	assert_memory_equal(out, (uint8_t[16]){0}, 16);
}

static void test_limit(void **state)
{
	uint64_t base = info.window_base, at = base;

	(void)state;
	for (at = base; at < base + DEVICE_LIMIT; at += 256 << 10)
		assert_int_equal(ops->map(dev, at, 256 << 10), 0);
	assert_int_equal(ops->used(dev), DEVICE_LIMIT);
	assert_int_equal(ops->map(dev, at, 512), 2);
	assert_int_equal(ops->unmap(dev, base + (256 << 10)), 0);
	assert_int_equal(ops->map(dev, at, (256 << 10) + 512), 2);
	assert_int_equal(ops->map(dev, at, 256 << 10), 0);
	assert_int_equal(ops->limit(dev, DEVICE_LIMIT - 512), 1);
	assert_int_equal(ops->limit(dev, DEVICE_LIMIT + 512), 0);
	assert_int_equal(ops->map(dev, at + MEBI, 1024), 2);
	assert_int_equal(ops->map(dev, at + MEBI, 512), 0);
}

static void test_window(void **state)
{
	struct gpu_device_conf conf = {.limit = MEBI, .window_size = 16 * MEBI};
	struct gpu_device *other = NULL;
	struct gpu_device_info i;
	char why[GPU_TEXT_MAX] = "";
	uint64_t base;

	(void)state;
	conf.window_base = info.window_base; /* this one's */
	assert_int_equal(ops->open(&conf, &other, why), -EEXIST);
	assert_string_not_equal(why, "");
	assert_int_equal(ops->sync(dev), 0); /* it is none the worse */
	conf.window_base = 0;
	assert_int_equal(ops->open(&conf, &other, why), 0);
	ops->info(other, &i);
	base = i.window_base;
	ops->close(other);
	conf.window_base = base;
	if (info.exact) {
		assert_int_equal(ops->open(&conf, &other, why), 0);
		ops->info(other, &i);
		assert_int_equal(i.window_base, base);
		ops->close(other);
	}
	conf.window_size = MEBI;
	assert_int_equal(ops->open(&conf, &other, why), -EINVAL);
	conf.window_size = 16 * MEBI;
	conf.limit = 17 * MEBI;
	assert_int_equal(ops->open(&conf, &other, why), -EINVAL);
}

static void test_module(void **state)
{
	static const char wrong[] = ".version 7.0\n.target sm_70\n.address_size 64\n.entry k()\n{\n ret\n}\n";
	struct gpu_function_info i;
	struct gpu_function *f;
	uint32_t params[2][2];
	uint64_t at, size, value;
	char why[GPU_TEXT_MAX] = "";

	(void)state;
	load(kernels, sizeof(kernels));
	assert_int_equal(ops->function(dev, mod, "poke", &f, &i, params, 2, why), 0);
	assert_int_equal(i.param_count, 2);
	assert_int_equal(params[1][0], 8);
	assert_int_equal(params[1][1], 4);
	assert_int_equal(i.param_bytes, 12);
	assert_int_equal(ops->function(dev, mod, "nothing", &f, &i, params, 2, why), 500);
	assert_int_equal(ops->variable(dev, mod, "nothing", &at, &size), 500);
	assert_int_equal(ops->variable(dev, mod, "counter", &at, &size), 0);
	assert_int_equal(size, 8);
	if (info.exact)
		assert_in_range(at, info.window_base, info.window_base + info.window_size - 8);
	assert_int_equal(ops->copy_out(dev, &value, at, 8), 0);
	assert_int_equal(value, 41);
	f = function("count", &i);
	assert_int_equal(ops->launch(dev, f, &(struct gpu_launch){.grid = {1, 1, 1}, .block = {1, 1, 1}}, why), 0);
	assert_int_equal(ops->sync(dev), 0);
	assert_int_equal(ops->copy_out(dev, &value, at, 8), 0);
	assert_int_equal(value, 42);
	assert_int_equal(ops->used(dev) > 0, info.exact);
	ops->module_unload(dev, mod);
	mod = NULL;
	assert_int_equal(ops->used(dev), 0);
	assert_int_equal(ops->copy_out(dev, &value, at, 8), 1);

	assert_int_equal(ops->module_load(dev, wrong, sizeof(wrong), &mod, why), 218);
	assert_non_null(strstr(why, "line 7"));
	assert_int_equal(ops->module_load(dev, "\x50\xed\x55\xba\1\0\20\0\0\0\0\0\0\0\0\0", 16, &mod, why), 209);
	assert_string_not_equal(why, "");
	mod = NULL;
}

static void test_launch(void **state)
{
	uint64_t base = info.window_base;
	struct gpu_function_info i;
	struct gpu_function *f;
	struct gpu_launch l;
	uint8_t params[28] = {0};
	char why[GPU_TEXT_MAX];
	float a[1000], c[1000];
	size_t size;
	char *text = file("basic.ptx", &size);

	(void)state;
	load(text, size);
	free(text);
	f = function("vadd", &i);
	assert_int_equal(i.param_bytes, 28);
	for (int k = 0; k < 1000; k++)
		a[k] = (float)k;
	assert_int_equal(ops->map(dev, base, 8192), 0);
	assert_int_equal(ops->map(dev, base + MEBI, 4096), 0);
	assert_int_equal(ops->copy_in(dev, base, a, sizeof(a)), 0);
	memcpy(params, &(uint64_t){base}, 8);
	memcpy(params + 8, &(uint64_t){base}, 8);
	memcpy(params + 16, &(uint64_t){base + MEBI}, 8);
	memcpy(params + 24, &(int){1000}, 4);
	l = (struct gpu_launch){.grid = {4, 1, 1}, .block = {256, 1, 1}, .params = params, .params_size = 28};
	assert_int_equal(ops->launch(dev, f, &l, why), 0);
	assert_int_equal(ops->sync(dev), 0);
	assert_int_equal(ops->copy_out(dev, c, base + MEBI, sizeof(c)), 0);
	for (int k = 0; k < 1000; k++)
		assert_true(c[k] == a[k] + a[k]);

	/* Wrong from the start: told at once, and nothing is broken by it. */
	l.block[0] = 1025;
	assert_int_equal(ops->launch(dev, f, &l, why), 9);
	l.block[0] = 0;
	assert_int_equal(ops->launch(dev, f, &l, why), 9);
	l.block[0] = 256;
	l.grid[1] = 65536;
	assert_int_equal(ops->launch(dev, f, &l, why), 9);
	l.grid[1] = 1;
	l.shared_bytes = 1 << 20;
	assert_int_equal(ops->launch(dev, f, &l, why), 1);
	l.shared_bytes = 0;
	l.params_size = 27;
	assert_int_equal(ops->launch(dev, f, &l, why), 1);
	l.params_size = 28;
	assert_int_equal(ops->launch(dev, f, &l, why), 0);
	assert_int_equal(ops->sync(dev), 0);
	assert_int_equal(ops->fault(dev, why), 0);
}

static void test_resources(void **state)
{
	struct gpu_launch l = {.grid = {1, 1, 1}, .block = {64, 1, 1}};
	struct gpu_function_info i;
	struct gpu_function *f;
	char why[GPU_TEXT_MAX];

	(void)state;
	load(kernels, sizeof(kernels));
	f = function("few", &i);
	assert_int_equal(i.max_threads, 32);
	assert_int_equal(ops->launch(dev, f, &l, why), 701);
	assert_int_equal(ops->sync(dev), 0);
}

static void test_illegal_address(void **state)
{
	uint64_t base = info.window_base;
	struct gpu_function_info i;
	struct gpu_function *f;
	uint32_t v = 0;
	char why[GPU_TEXT_MAX];

	(void)state;
	load(kernels, sizeof(kernels));
	f = function("poke", &i);
	assert_int_equal(ops->map(dev, base, 512), 0);
	assert_int_equal(poke(f, base + 508, 77), 0);
	assert_int_equal(ops->copy_out(dev, &v, base + 508, 4), 0);
	assert_int_equal(v, 77);
	assert_int_equal(poke(f, info.exact ? base + 512 : base + info.window_size, 1), 700);
	/* It stays. */
	assert_int_equal(ops->fault(dev, why), 700);
	assert_non_null(strstr(why, "poke"));
	assert_int_equal(ops->sync(dev), 700);
	assert_int_equal(poke(f, base, 1), 700);
	assert_int_equal(ops->copy_in(dev, base, &v, 4), 700);
	assert_int_equal(ops->copy_out(dev, &v, base, 4), 700);
	assert_int_equal(ops->map(dev, base + 512, 512), 700);
	/* Freeing works all the same, and another device is as good as new. */
	assert_int_equal(ops->unmap(dev, base), 700);
	assert_int_equal(ops->used(dev), info.exact ? 4096 : 0);
	ops->module_unload(dev, mod);
	ops->close(dev);
	setup(NULL);
	assert_int_equal(ops->map(dev, info.window_base, 512), 0);
	assert_int_equal(ops->sync(dev), 0);
}

static void test_trap(void **state)
{
	struct gpu_launch l = {.grid = {1, 1, 1}, .block = {1, 1, 1}};
	struct gpu_function_info i;
	char why[GPU_TEXT_MAX];

	(void)state;
	load(kernels, sizeof(kernels));
	if (ops->launch(dev, function("trapped", &i), &l, why) == 0)
		assert_int_equal(ops->sync(dev), 719);
	assert_int_equal(ops->fault(dev, why), 719);
}

/* On the null device a kernel changes nothing, but that it was launched, and with what, can be known. */
static void test_null(void **state)
{
	struct gpu_launch l = {.grid = {1, 1, 1}, .block = {1, 1, 1}};
	struct gpu_function_info i;
	struct gpu_function *f;
	uint64_t base = info.window_base, at, size, was[2] = {0}, hash = 0;
	struct {
		uint64_t to;
		uint32_t v;
	} __attribute__((packed)) p = {base, 7};
	char why[GPU_TEXT_MAX];
	uint32_t v;

	(void)state;
	load(kernels, sizeof(kernels));
	f = function("poke", &i);
	assert_int_equal(ops->map(dev, base, 512), 0);
	assert_int_equal(ops->variable(dev, mod, "atoll_null", &at, &size), 0);
	assert_int_equal(size, 16);
	l.params = &p;
	l.params_size = i.param_bytes;
	for (p.v = 0; p.v < 10; p.v++) {
		assert_int_equal(ops->launch(dev, f, &l, why), 0);
		hash = gpu_null_hash(hash, &p, i.param_bytes);
	}
	assert_int_equal(ops->sync(dev), 0);
	assert_int_equal(ops->copy_out(dev, was, at, 16), 0);
	assert_int_equal(was[0], 10);
	assert_int_equal(was[1], hash);
	assert_int_equal(ops->copy_out(dev, &v, base, 4), 0);
	assert_int_equal(v, 0);
	l.block[0] = 1025;
	assert_int_equal(ops->launch(dev, f, &l, why), 9);
	assert_int_equal(ops->copy_out(dev, was, at, 16), 0);
	assert_int_equal(was[0], 10);
}

/* Is there such a device here? With $ATOLL_CUDA_LIBRARY it is asked for, and has to be. */
static bool there(const char *name)
{
	struct gpu_device_conf conf = {.limit = MEBI, .window_size = 16 * MEBI};
	char why[GPU_TEXT_MAX] = "this build has none";
	struct gpu_device *d;
	int rc = -ENODEV;

	ops = gpu_device_find(name);
	if (ops)
		rc = ops->open(&conf, &d, why);
	if (!rc)
		ops->close(d);
	printf("%sdevice %s%s%s\n", rc ? "no " : "", name, rc ? ": " : "", rc ? why : "");
	fflush(stdout);
	return !rc || (rc != -ENODEV || getenv("ATOLL_CUDA_LIBRARY"));
}

int main(void)
{
	static const char *const names[] = {"cpu", "interpreter", "cuda"};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_module, setup, teardown),
		cmocka_unit_test_setup_teardown(test_launch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_illegal_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trap, setup, teardown),
	};
	const struct CMUnitTest null[] = {
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null, setup, teardown),
	};
	int failed = 0;

	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		if (there(names[k]))
			failed += cmocka_run_group_tests_name(names[k], tests, NULL, NULL);
	}
	ops = gpu_device_find("null");
	return failed + cmocka_run_group_tests_name("null", null, NULL, NULL);
}
