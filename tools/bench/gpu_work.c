/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs of the gpu benchmark. One source, linked twice: with the library that has its device in another
 * node, and with the one that has it in the process. Reads a line for each measurement, WORK ARGUMENT..., and
 * answers it with a line of numbers; ends with its input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clients/gpu/gpu.h"
#include "services/gpu-exec/device_null.h"

enum { BODIES = 2048, IN = 64, HIDDEN = 128, OUT = 10, ROWS = 64, N = 128 };

extern const char gpu_kernels_ptx[];

static struct gpu *g;
static uint32_t module;

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "gpu_work: %s: error %d\n", what, rc);
	exit(1);
}

static uint64_t memory(uint64_t size)
{
	uint64_t at;

	must(gpu_malloc(g, size, &at), "malloc");
	return at;
}

static struct gpu_kernel *kernel(const char *name)
{
	static struct {
		const char *name;
		struct gpu_kernel k;
	} known[16];
	unsigned i = 0;

	for (; i < 15 && known[i].name; i++)
		if (!strcmp(known[i].name, name))
			return &known[i].k;
	must(gpu_kernel_get(g, module, name, &known[i].k), name);
	known[i].name = strdup(name);
	return &known[i].k;
}

static void run(const char *name, unsigned gx, unsigned gy, unsigned bx, unsigned by, void **args)
{
	struct gpu_geometry l = {.grid = {gx, gy, 1}, .block = {bx, by, 1}};

	must(gpu_launch_args(g, kernel(name), &l, args), name);
}

static void finish(void)
{
	must(gpu_sync(g), "sync");
	must(gpu_late_error(g), "a call before sync");
}

static void fill(float *p, unsigned n, unsigned seed)
{
	for (unsigned i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (float)(seed >> 8) / (float)(1 << 23) - 1;
	}
}

/* ------------------------------------------------------------------ programs */

static void matmul(unsigned steps)
{
	static float a[N * N], b[N * N];
	uint64_t x = memory(sizeof(a)), y = memory(sizeof(a)), z = memory(sizeof(a));
	int n = N;

	fill(a, N * N, 1);
	fill(b, N * N, 2);
	must(gpu_copy_to_device(g, x, a, sizeof(a)), "copy");
	must(gpu_copy_to_device(g, y, b, sizeof(a)), "copy");
	for (unsigned s = 0; s < steps; s++)
		run("matmul", N / 16, N / 16, 16, 16, (void *[]){&x, &y, &z, &n});
	must(gpu_copy_to_host(g, a, z, sizeof(a)), "copy");
	must(gpu_free(g, x) | gpu_free(g, y) | gpu_free(g, z), "free");
}

static void nbody(unsigned steps)
{
	static float at[BODIES * 4];
	uint64_t x = memory(sizeof(at)), y = memory(sizeof(at)), v = memory(sizeof(at)), t;
	float dt = 1e-3f;
	int n = BODIES;

	fill(at, BODIES * 4, 3);
	must(gpu_copy_to_device(g, x, at, sizeof(at)), "copy");
	must(gpu_fill(g, v, 0, 0, 4, BODIES * 4, 1), "memset");
	for (unsigned s = 0; s < steps; s++) {
		run("nbody", BODIES / 256, 1, 256, 1, (void *[]){&x, &v, &y, &n, &dt});
		t = x, x = y, y = t;
	}
	must(gpu_copy_to_host(g, at, x, sizeof(at)), "copy");
	must(gpu_free(g, x) | gpu_free(g, y) | gpu_free(g, v), "free");
}

/* Steps of gradient descent; a batch goes to the device for each, its loss comes back. */
static void training(unsigned steps)
{
	static float w[HIDDEN * IN], x[ROWS * IN];
	static int label[ROWS];
	uint64_t w1 = memory(4 * IN * HIDDEN), b1 = memory(4 * HIDDEN), w2 = memory(4 * HIDDEN * OUT),
		 b2 = memory(4 * OUT), in = memory(sizeof(x)), h = memory(4 * ROWS * HIDDEN), y = memory(4 * ROWS * OUT),
		 dy = memory(4 * ROWS * OUT), dh = memory(4 * ROWS * HIDDEN), lab = memory(sizeof(label)),
		 total = memory(4);
	int i = IN, o = OUT, m = HIDDEN, rows = ROWS, yes = 1, no = 0;
	float rate = 0.05f, loss = 0, first = 0;

	fill(w, IN * HIDDEN, 4);
	for (unsigned k = 0; k < IN * HIDDEN; k++)
		w[k] *= 0.1f;
	must(gpu_copy_to_device(g, w1, w, 4 * IN * HIDDEN), "copy");
	must(gpu_copy_to_device(g, w2, w, 4 * HIDDEN * OUT), "copy");
	must(gpu_fill(g, b1, 0, 0, 4, HIDDEN, 1) | gpu_fill(g, b2, 0, 0, 4, OUT, 1), "memset");
	for (unsigned s = 0; s < steps; s++) {
		for (unsigned r = 0; r < ROWS; r++)
			label[r] = (int)(r + s % 4) % OUT;
		fill(x, ROWS * IN, 5 + s % 4);
		for (unsigned r = 0; r < ROWS; r++)
			x[r * IN + (unsigned)label[r]] += 2;
		must(gpu_copy_to_device(g, in, x, sizeof(x)), "copy");
		must(gpu_copy_to_device(g, lab, label, sizeof(label)), "copy");
		must(gpu_fill(g, total, 0, 0, 4, 1, 1), "memset");
		run("layer", ROWS, 1, HIDDEN, 1, (void *[]){&in, &w1, &b1, &h, &i, &m, &yes});
		run("layer", ROWS, 1, OUT, 1, (void *[]){&h, &w2, &b2, &y, &m, &o, &no});
		run("loss", 1, 1, ROWS, 1, (void *[]){&y, &lab, &dy, &total, &o, &rows});
		run("back", ROWS, 1, HIDDEN, 1, (void *[]){&dy, &w2, &h, &dh, &m, &o});
		run("learn", HIDDEN, 1, OUT, 1, (void *[]){&w2, &b2, &h, &dy, &m, &o, &rows, &rate});
		run("learn", IN, 1, HIDDEN, 1, (void *[]){&w1, &b1, &in, &dh, &i, &m, &rows, &rate});
		must(gpu_copy_to_host(g, &loss, total, 4), "copy");
		first = s ? first : loss;
	}
	if (steps >= 20 && !(loss < first)) {
		fprintf(stderr, "gpu_work: the loss went from %g to %g\n", (double)first, (double)loss);
		exit(1);
	}
	for (unsigned k = 0; k < 11; k++)
		must(gpu_free(g, (uint64_t[]){w1, b1, w2, b2, in, h, y, dy, dh, lab, total}[k]), "free");
}

static void chatty(unsigned launches)
{
	for (unsigned i = 0; i < launches; i++)
		run("nothing", 1, 1, 1, 1, NULL);
	finish();
}

/* Makes, asks and drops things all the time, and now and then has something done. */
static void handles(unsigned turns)
{
	uint64_t mark, x, y, z;
	uint32_t event;
	int n = 4096;

	for (unsigned i = 0; i < turns; i++) {
		x = memory(16384), y = memory(16384), z = memory(16384);
		must(gpu_event_new(g, &event), "event");
		run("vadd", 16, 1, 256, 1, (void *[]){&x, &y, &z, &n});
		must(gpu_event_record(g, event, &mark), "record");
		for (unsigned k = 0; k < 20; k++) {
			gpu_reached(g, mark);
			must(gpu_poll(g), "poll");
			must(gpu_late_error(g), "error");
		}
		must(gpu_free(g, x) | gpu_free(g, y) | gpu_free(g, z), "free");
	}
	finish();
}

static void kernels(const char *name, unsigned times)
{
	unsigned n = 1 << 17;
	uint64_t x = memory(4 * n), y = memory(4 * n), z = memory(4 * n);
	int rows = !strcmp(name, "softmax") ? 512 : !strcmp(name, "matmul") ? N : (int)n, bodies = BODIES;
	float dt = 1e-3f;

	must(gpu_fill(g, x, 0, 0x3f000000, 4, n, 1) | gpu_fill(g, y, 0, 0x3e800000, 4, n, 1), "memset");
	for (unsigned i = 0; i < times; i++) {
		if (!strcmp(name, "vadd"))
			run(name, n / 256, 1, 256, 1, (void *[]){&x, &y, &z, &rows});
		else if (!strcmp(name, "reduce"))
			run(name, n / 256, 1, 256, 1, (void *[]){&x, &z, &rows});
		else if (!strcmp(name, "softmax"))
			run(name, n / 512, 1, 256, 1, (void *[]){&x, &z, &rows});
		else if (!strcmp(name, "matmul"))
			run(name, N / 16, N / 16, 16, 16, (void *[]){&x, &y, &z, &rows});
		else
			run("nbody", BODIES / 256, 1, 256, 1, (void *[]){&x, &y, &z, &bodies, &dt});
	}
	finish();
	must(gpu_free(g, x) | gpu_free(g, y) | gpu_free(g, z), "free");
}

/* ------------------------------------------------------------------ what calls cost */

/* Launches that each have parameters of their own, on the null device, which says what arrived. */
static void launches(unsigned n)
{
	struct gpu_geometry l = {.grid = {1, 1, 1}, .block = {1, 1, 1}};
	struct gpu_kernel *k = kernel("five");
	uint64_t at, size, before[2], after[2], p[5], t, cpu, hash;

	must(gpu_variable_get(g, module, "atoll_null", &at, &size), "the null device's variable");
	must(gpu_copy_to_host(g, before, at, sizeof(before)), "copy");
	hash = before[1];
	t = now_ns(CLOCK_MONOTONIC);
	cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < 5; j++)
			p[j] = (uint64_t)i * 5 + j + 2;
		must(gpu_launch(g, k, &l, p, sizeof(p)), "launch");
	}
	cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	finish();
	t = now_ns(CLOCK_MONOTONIC) - t;
	must(gpu_copy_to_host(g, after, at, sizeof(after)), "copy");
	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < 5; j++)
			p[j] = (uint64_t)i * 5 + j + 2;
		hash = gpu_null_hash(hash, p, sizeof(p));
	}
	if (after[0] - before[0] != n || hash != after[1]) {
		fprintf(stderr, "gpu_work: of %u launches %llu arrived%s\n", n,
			(unsigned long long)(after[0] - before[0]), hash == after[1] ? "" : ", not as they were");
		exit(1);
	}
	printf("%llu %llu\n", (unsigned long long)t, (unsigned long long)cpu);
}

/* What a launch takes of the client when its thread does nothing but launch: in bursts that find room. */
static void launch_cpu(unsigned bursts, unsigned burst)
{
	struct gpu_geometry l = {.grid = {1, 1, 1}, .block = {1, 1, 1}};
	struct gpu_kernel *k = kernel("five");
	uint64_t p[5] = {2, 3, 4, 5, 6}, t, sum = 0;

	for (unsigned b = 0; b < bursts; b++) {
		t = now_ns(CLOCK_THREAD_CPUTIME_ID);
		for (unsigned i = 0; i < burst; i++) {
			p[1] = i;
			must(gpu_launch(g, k, &l, p, sizeof(p)), "launch");
		}
		sum += now_ns(CLOCK_THREAD_CPUTIME_ID) - t;
		finish();
	}
	printf("%llu\n", (unsigned long long)sum);
}

static uint64_t round_trips(void)
{
	uint64_t r, b, c;

	gpu_counts(g, &r, &b, &c);
	return r;
}

/* Round trips of each class of calls: one waits, the others do not. */
static void rtts(void)
{
	uint64_t at, mark, first, asked, x = 0;
	uint32_t event;

	chatty(1); /* asks for the kernel */
	first = round_trips();
	chatty(1);
	first = round_trips() - first;
	asked = round_trips();
	at = memory(4096);
	must(gpu_event_new(g, &event), "event");
	run("nothing", 1, 1, 1, 1, NULL);
	must(gpu_event_record(g, event, &mark), "record");
	while (!gpu_reached(g, mark))
		usleep(50);
	must(gpu_poll(g) | gpu_late_error(g), "poll");
	asked = round_trips() - asked;
	mark = round_trips();
	must(gpu_copy_to_host(g, &x, at, 8), "copy");
	mark = round_trips() - mark;
	must(gpu_free(g, at), "free");
	printf("%llu %llu %llu\n", (unsigned long long)first, (unsigned long long)asked, (unsigned long long)mark);
}

/* One empty sync after the other. */
static void sync_ns(unsigned n)
{
	uint64_t t = now_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < n; i++) {
		run("nothing", 1, 1, 1, 1, NULL);
		finish();
	}
	printf("%llu\n", (unsigned long long)((now_ns(CLOCK_MONOTONIC) - t) / n));
}

static void copies(const char *way, bool pinned, uint64_t size, unsigned times)
{
	void *p = NULL;
	uint64_t at = memory(size), t;

	if (pinned)
		must(gpu_host_alloc(g, size, &p), "pinned memory");
	else
		p = malloc(size);
	if (!p)
		exit(1);
	memset(p, 1, size);
	must(gpu_copy_to_device(g, at, p, size), "copy"); /* the pages are there */
	finish();
	t = now_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < times; i++) {
		if (!strcmp(way, "h2d"))
			must(gpu_copy_to_device(g, at, p, size), "copy");
		else
			must(gpu_copy_to_host(g, p, at, size), "copy");
	}
	finish();
	t = now_ns(CLOCK_MONOTONIC) - t;
	must(gpu_free(g, at), "free");
	if (pinned)
		must(gpu_host_free(g, p), "pinned memory");
	else
		free(p);
	printf("%.0f\n", (double)size * times / (double)t * 1e9);
}

static void modules(void)
{
	uint64_t t = now_ns(CLOCK_MONOTONIC);
	uint32_t m;

	must(gpu_module_load(g, gpu_kernels_ptx, 0, &m), "module");
	t = now_ns(CLOCK_MONOTONIC) - t;
	must(gpu_module_unload(g, m), "module");
	printf("%llu\n", (unsigned long long)t);
}

/* ------------------------------------------------------------------ main */

static void timed(void (*f)(unsigned), unsigned n)
{
	uint64_t t = now_ns(CLOCK_MONOTONIC);

	f(n);
	printf("%llu\n", (unsigned long long)(now_ns(CLOCK_MONOTONIC) - t));
}

static bool work(const char *what, const char *a, const char *b, const char *c, const char *d)
{
	static const struct {
		const char *name;
		void (*f)(unsigned);
	} programs[] = {{"matmul", matmul}, {"nbody", nbody}, {"training", training}, {"chatty", chatty}, {"handles", handles}};
	unsigned n = (unsigned)strtoul(a, NULL, 10);
	uint64_t t;

	for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (!strcmp(what, programs[i].name))
			return timed(programs[i].f, n), true;
	if (!strcmp(what, "kernel")) {
		t = now_ns(CLOCK_MONOTONIC);
		kernels(a, (unsigned)strtoul(b, NULL, 10));
		printf("%llu\n", (unsigned long long)(now_ns(CLOCK_MONOTONIC) - t));
	} else if (!strcmp(what, "launches")) {
		launches(n);
	} else if (!strcmp(what, "launch_cpu")) {
		launch_cpu(n, (unsigned)strtoul(b, NULL, 10));
	} else if (!strcmp(what, "rtts")) {
		rtts();
	} else if (!strcmp(what, "sync")) {
		sync_ns(n);
	} else if (!strcmp(what, "copy")) {
		copies(a, !strcmp(b, "pinned"), strtoull(c, NULL, 10), (unsigned)strtoul(d, NULL, 10));
	} else if (!strcmp(what, "record")) {
		gpu_record(n);
		printf("0\n");
	} else if (!strcmp(what, "module")) {
		modules();
	} else {
		return false;
	}
	return true;
}

int main(void)
{
	char line[128], w[5][24];
	int code = 0;

	g = gpu_get(0, &code);
	must(g ? 0 : code, "device");
	must(gpu_module_load(g, gpu_kernels_ptx, 0, &module), "kernels");
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		memset(w, 0, sizeof(w));
		sscanf(line, "%23s %23s %23s %23s %23s", w[0], w[1], w[2], w[3], w[4]);
		if (!work(w[0], w[1], w[2], w[3], w[4])) {
			fprintf(stderr, "gpu_work: what is %s?\n", w[0]);
			return 1;
		}
		fflush(stdout);
	}
	return 0;
}
