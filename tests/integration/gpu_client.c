/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of gpu-exec for tests, on the library below CUDA's names, so that no CUDA is needed:
 *
 *   gpu_client check KERNELS.ptx    copies, kernels, memory, errors, and what costs a round trip
 *   gpu_client copy                 says "ready", then copies until it is killed or fails
 *   gpu_client spin                 says "ready" with a kernel that does not end
 *   gpu_client fault                a kernel that writes where it may not
 *
 * Exit: 0 as expected; 3 the service was lost; 1 anything else, with a line that says what.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/gpu/gpu.h"

#define MEBI (1ull << 20)

static struct gpu *g;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

#define WANT(call, code)                                                                           \
	do {                                                                                       \
		int rc_ = (call), want_ = (code);                                                  \
                                                                                                   \
		if (rc_ == GPUE_UNAVAILABLE && want_ != rc_) {                                     \
			printf("lost at line %d\n", __LINE__);                                     \
			exit(3);                                                                   \
		}                                                                                  \
		if (rc_ != want_)                                                                  \
			die("line %d: %s is %d, not %d", __LINE__, #call, rc_, want_);             \
	} while (0)

#define TRUE(what)                                                                                 \
	do {                                                                                       \
		if (!(what))                                                                       \
			die("line %d: not so: %s", __LINE__, #what);                               \
	} while (0)

static const char own[] = "\
.version 7.0\n.target sm_70\n.address_size 64\n\
.visible .global .align 8 .u64 counter = 41;\n\
.visible .entry poke(.param .u64 to, .param .u32 v)\n\
{\n .reg .b64 %a; .reg .b32 %v;\n ld.param.u64 %a, [to];\n ld.param.u32 %v, [v];\n\
 st.global.u32 [%a], %v;\n ret;\n}\n\
.visible .entry add(.param .u64 to)\n\
{\n .reg .b64 %a; .reg .b32 %v;\n ld.param.u64 %a, [to];\n atom.global.add.u32 %v, [%a], 1;\n ret;\n}\n\
.visible .entry endless()\n{\nagain:\n bra again;\n}\n\
.visible .entry nothing()\n{\n ret;\n}\n";

static const struct gpu_geometry one = {.grid = {1, 1, 1}, .block = {1, 1, 1}};

static struct gpu_kernel *kernel(uint32_t module, const char *name)
{
	struct gpu_kernel *k = malloc(sizeof(*k));

	TRUE(k);
	WANT(gpu_kernel_get(g, module, name, k), 0);
	return k;
}

static uint64_t round_trips(void)
{
	uint64_t r, b, c;

	gpu_counts(g, &r, &b, &c);
	return r;
}

/* Sizes on both sides of every border: one call, several calls, pieces of the bounce region, all of it. */
static void check_copies(void)
{
	static const uint64_t sizes[] = {1,	  7999,	  8000,	  8001,	   31999,    32000,   32001,
					 262143,  262144, 262145, 4194303, 4194304,  4194305, 9000001};
	uint64_t most = 9000001, a, b;
	uint8_t *in = malloc(most), *out = malloc(most);

	TRUE(in && out);
	WANT(gpu_malloc(g, most + 3, &a), 0);
	WANT(gpu_malloc(g, most, &b), 0);
	for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		uint64_t n = sizes[k];

		for (uint64_t i = 0; i < n; i++)
			in[i] = (uint8_t)(i * 2654435761u >> 13) ^ (uint8_t)k;
		memset(out, 0, n);
		WANT(gpu_copy_to_device(g, a + 3, in, n), 0);
		WANT(gpu_copy_on_device(g, b, a + 3, n), 0);
		WANT(gpu_copy_to_host(g, out, b, n), 0);
		if (memcmp(in, out, n))
			die("a copy of %llu bytes is damaged", (unsigned long long)n);
	}
	WANT(gpu_fill(g, b, 0, 0x01020304, 4, 1000, 1), 0);
	WANT(gpu_copy_to_host(g, out, b + 3996, 4), 0);
	TRUE(!memcmp(out, "\4\3\2\1", 4));
	WANT(gpu_copy_rows_on_device(g, a + 512, 64, b, 128, 16, 10), 0);
	WANT(gpu_copy_to_host(g, out, a + 512 + 9 * 64, 16), 0);
	TRUE(!memcmp(out, "\4\3\2\1\4\3\2\1", 8));
	/* What is not there is refused at once. */
	WANT(gpu_copy_to_device(g, a + most, in, 4000), 1);
	WANT(gpu_copy_to_host(g, out, a - 1, 4), 1);
	WANT(gpu_copy_to_device(g, 4096, in, 4), 1);
	WANT(gpu_fill(g, b, 0, 0, 4, most, 1), 1);
	WANT(gpu_free(g, a + 512), 1);
	WANT(gpu_free(g, a), 0);
	WANT(gpu_free(g, a), 1);
	WANT(gpu_copy_to_host(g, out, a, 4), 1);
	WANT(gpu_free(g, b), 0);
	WANT(gpu_sync(g), 0);
	TRUE(gpu_late_error(g) == 0);
	free(in);
	free(out);
}

static void check_memory(void)
{
	uint64_t free_bytes, total, a[256], n = 0, piece = 16 * MEBI, sum = 0;

	WANT(gpu_memory(g, &free_bytes, &total), 0);
	TRUE(free_bytes <= total);
	while (n < 256 && free_bytes - sum >= piece) {
		WANT(gpu_malloc(g, piece, &a[n]), 0);
		n++;
		sum += piece;
	}
	/* To the last byte, and not one more. */
	if (free_bytes > sum) {
		WANT(gpu_malloc(g, free_bytes - sum, &a[n]), 0);
		n++;
	}
	WANT(gpu_malloc(g, 1, &a[n]), 2);
	WANT(gpu_free(g, a[1]), 0);
	WANT(gpu_malloc(g, piece + 1, &a[n]), 2);
	WANT(gpu_malloc(g, piece, &a[1]), 0);
	for (uint64_t k = 0; k < n; k++)
		WANT(gpu_free(g, a[k]), 0);
	WANT(gpu_malloc(g, UINT64_MAX, &a[0]), 2);
	WANT(gpu_malloc(g, total + 1, &a[0]), 2);
	WANT(gpu_sync(g), 0);
}

static void check_kernels(const char *path)
{
	static char text[1 << 20];
	FILE *f = fopen(path, "rb");
	struct gpu_geometry l = {.grid = {40, 1, 1}, .block = {256, 1, 1}};
	static float a[10000], c[10000];
	uint32_t module, n = 10000;
	uint64_t x, y, at, size, value;
	struct gpu_kernel *k;

	TRUE(f);
	size = fread(text, 1, sizeof(text) - 1, f);
	text[size] = 0;
	fclose(f);
	WANT(gpu_module_load(g, text, 0, &module), 0);
	k = kernel(module, "vadd");
	for (unsigned i = 0; i < n; i++)
		a[i] = (float)i;
	WANT(gpu_malloc(g, sizeof(a), &x), 0);
	WANT(gpu_malloc(g, sizeof(a), &y), 0);
	WANT(gpu_copy_to_device(g, x, a, sizeof(a)), 0);
	WANT(gpu_launch_args(g, k, &l, (void *[]){&x, &x, &y, &n}), 0);
	WANT(gpu_copy_to_host(g, c, y, sizeof(c)), 0);
	for (unsigned i = 0; i < n; i++)
		TRUE(c[i] == a[i] + a[i]);
	/* Errors of a launch's shape come at once and break nothing. */
	l.block[0] = 1025;
	WANT(gpu_launch_args(g, k, &l, (void *[]){&x, &x, &y, &n}), 9);
	l.block[0] = 256;
	l.shared = 1 << 20;
	WANT(gpu_launch_args(g, k, &l, (void *[]){&x, &x, &y, &n}), 1);
	WANT(gpu_kernel_get(g, module, "no_such_kernel", k), 500);
	WANT(gpu_module_unload(g, module), 0);
	WANT(gpu_module_load(g, "\x7f" "ELF nothing of use", 19, &module), 218);
	WANT(gpu_module_load(g, "no PTX", 7, &module), 218);
	WANT(gpu_module_load(g, own, 0, &module), 0);
	WANT(gpu_variable_get(g, module, "counter", &at, &size), 0);
	TRUE(size == 8);
	WANT(gpu_copy_to_host(g, &value, at, 8), 0);
	TRUE(value == 41);
	WANT(gpu_free(g, x), 0);
	WANT(gpu_free(g, y), 0);

	/* Launches in order, each done once: more than fit on the way. */
	k = kernel(module, "add");
	WANT(gpu_malloc(g, 4, &x), 0);
	WANT(gpu_fill(g, x, 0, 0, 4, 1, 1), 0);
	for (n = 0; n < 20000; n++)
		WANT(gpu_launch_args(g, k, &one, (void *[]){&x}), 0);
	WANT(gpu_copy_to_host(g, &n, x, 4), 0);
	TRUE(n == 20000);
	WANT(gpu_free(g, x), 0);
}

/* What the design says of round trips, counted. */
static void check_round_trips(void)
{
	uint32_t module, event;
	uint64_t mark, before, x;
	struct gpu_kernel *k;

	WANT(gpu_module_load(g, own, 0, &module), 0);
	k = kernel(module, "nothing");
	WANT(gpu_event_new(g, &event), 0);
	before = round_trips();
	WANT(gpu_malloc(g, 1000, &x), 0);
	for (int i = 0; i < 100; i++)
		WANT(gpu_launch(g, k, &one, NULL, 0), 0);
	WANT(gpu_event_record(g, event, &mark), 0);
	WANT(gpu_free(g, x), 0);
	while (!gpu_reached(g, mark))
		usleep(100);
	TRUE(gpu_poll(g) == 0);
	TRUE(round_trips() == before);
	WANT(gpu_launch(g, k, &one, NULL, 0), 0);
	WANT(gpu_sync(g), 0);
	TRUE(round_trips() <= before + 1);
	/* Nobody waits and nobody asks: it is done all the same. */
	WANT(gpu_launch(g, k, &one, NULL, 0), 0);
	mark = gpu_mark(g);
	usleep(300000);
	before = round_trips();
	WANT(gpu_wait(g, mark), 0);
	TRUE(round_trips() == before);
}

static void check_reset(void)
{
	uint64_t x;
	int code = 0;

	WANT(gpu_malloc(g, 100 * MEBI, &x), 0);
	gpu_reset(g);
	g = gpu_get(0, &code);
	WANT(code, 0);
	WANT(gpu_copy_to_host(g, &x, x, 4), 1);
}

static void fault(void)
{
	uint32_t module, v = 7;
	uint64_t x, beyond;
	struct gpu_kernel *k;
	int code = 0;

	WANT(gpu_module_load(g, own, 0, &module), 0);
	k = kernel(module, "poke");
	WANT(gpu_malloc(g, 512, &x), 0);
	beyond = x + 512;
	WANT(gpu_launch_args(g, k, &one, (void *[]){&beyond, &v}), 0);
	WANT(gpu_sync(g), 700);
	WANT(gpu_poll(g), 700);
	WANT(gpu_malloc(g, 512, &x), 700);
	WANT(gpu_launch_args(g, k, &one, (void *[]){&x, &v}), 700);
	WANT(gpu_copy_to_host(g, &v, x, 4), 700);
	gpu_reset(g);
	g = gpu_get(0, &code);
	WANT(code, 0);
	WANT(gpu_sync(g), 0);
}

static void copy_on(void)
{
	uint8_t *p = malloc(8 * MEBI);
	uint64_t x;

	TRUE(p);
	memset(p, 1, 8 * MEBI);
	WANT(gpu_malloc(g, 8 * MEBI, &x), 0);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		WANT(gpu_copy_to_device(g, x, p, 8 * MEBI), 0);
		WANT(gpu_copy_to_host(g, p, x, 8 * MEBI), 0);
	}
}

static void spin(void)
{
	uint32_t module;
	uint64_t x;

	WANT(gpu_malloc(g, 64 * MEBI, &x), 0);
	WANT(gpu_module_load(g, own, 0, &module), 0);
	WANT(gpu_launch(g, kernel(module, "endless"), &one, NULL, 0), 0);
	printf("ready\n");
	fflush(stdout);
	WANT(gpu_sync(g), 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int code = 0;

	g = gpu_get(0, &code);
	if (!g)
		die("no device: %d", code);
	if (!strcmp(what, "check") && argc == 3) {
		check_copies();
		check_memory();
		check_kernels(argv[2]);
		check_round_trips();
		check_reset();
	} else if (!strcmp(what, "fault")) {
		fault();
	} else if (!strcmp(what, "copy")) {
		copy_on();
	} else if (!strcmp(what, "spin")) {
		spin();
	} else {
		die("usage: gpu_client check KERNELS.ptx | copy | spin | fault");
	}
	printf("ok\n");
	return 0;
}
