/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of CUDA's driver, as a user has it: it opens libcuda.so.1, loads PTX, computes a picture, and
 * knows nothing of where the device is. Run by agpu its device is another node's.
 *
 * Usage: cuda-demo mandelbrot.ptx. It prints the picture, and whether the host computes the same.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 768, HEIGHT = 384, MOST = 200, BLOCK = 16, COLUMNS = 64, ROWS = 16 };

static const float left = -2.2f, top = -1.2f, step = 0.00415f;
static unsigned picture[WIDTH * HEIGHT];

static void *library;

static void *function(const char *name)
{
	void *p = dlsym(library, name);

	if (!p) {
		printf("libcuda.so.1 has no %s\n", name);
		exit(1);
	}
	return p;
}

static void check(int code, const char *what)
{
	if (code) {
		printf("%s: error %d\n", what, code);
		exit(1);
	}
}

static unsigned steps_here(int x, int y)
{
	float cx = left + step * (float)x, cy = top + step * (float)y, u = 0, v = 0;
	unsigned n = 0;

	while (n < MOST && u * u + v * v < 4) {
		float t = u * u - v * v + cx;

		v = 2 * u * v + cy;
		u = t;
		n++;
	}
	return n;
}

/* The device rounds once in a multiply-add, the host twice: at the edge a few points may differ. */
static unsigned differences(void)
{
	unsigned n = 0;

	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++)
			n += picture[y * WIDTH + x] != steps_here(x, y);
	return n;
}

static void draw(void)
{
	static const char shades[] = " .:-=+*%#";

	for (int r = 0; r < ROWS; r++) {
		putchar('|');
		for (int c = 0; c < COLUMNS; c++) {
			unsigned n = picture[r * (HEIGHT / ROWS) * WIDTH + c * (WIDTH / COLUMNS)], k = 0;

			if (n == MOST)
				k = 8;
			else
				for (; n > 3 && k < 7; k++)
					n = n * 2 / 3;
			putchar(shades[k]);
		}
		puts("|");
	}
}

int main(int argc, char **argv)
{
	int (*cu_init)(unsigned), (*device_get)(int *, int), (*name_get)(char *, int, int);
	int (*retain)(void **, int), (*set_current)(void *), (*load)(void **, const char *);
	int (*get)(void **, void *, const char *), (*alloc)(uint64_t *, size_t), (*release)(uint64_t);
	int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
		      void **);
	int (*copy)(void *, uint64_t, size_t);
	int device, width = WIDTH, height = HEIGHT;
	unsigned most = MOST, n;
	float x0 = left, y0 = top, s = step;
	void *context, *module, *kernel;
	uint64_t p;
	char name[128];

	library = argc == 2 ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
	if (!library) {
		printf("%s\n", argc == 2 ? "there is no libcuda.so.1 here" : "usage: cuda-demo mandelbrot.ptx");
		return 1;
	}
#define FIND(variable, symbol) memcpy(&variable, (void *[]){function(symbol)}, sizeof(variable))
	FIND(cu_init, "cuInit");
	FIND(device_get, "cuDeviceGet");
	FIND(name_get, "cuDeviceGetName");
	FIND(retain, "cuDevicePrimaryCtxRetain");
	FIND(set_current, "cuCtxSetCurrent");
	FIND(load, "cuModuleLoad");
	FIND(get, "cuModuleGetFunction");
	FIND(alloc, "cuMemAlloc_v2");
	FIND(release, "cuMemFree_v2");
	FIND(launch, "cuLaunchKernel");
	FIND(copy, "cuMemcpyDtoH_v2");
	check(cu_init(0), "cuInit");
	check(device_get(&device, 0), "cuDeviceGet");
	check(name_get(name, sizeof(name), device), "cuDeviceGetName");
	check(retain(&context, device), "cuDevicePrimaryCtxRetain");
	check(set_current(context), "cuCtxSetCurrent");
	check(load(&module, argv[1]), "cuModuleLoad");
	check(get(&kernel, module, "mandelbrot"), "cuModuleGetFunction");
	check(alloc(&p, sizeof(picture)), "cuMemAlloc");
	check(launch(kernel, WIDTH / BLOCK, HEIGHT / BLOCK, 1, BLOCK, BLOCK, 1, 0, NULL,
		     (void *[]){&p, &width, &height, &x0, &y0, &s, &most}, NULL),
	      "cuLaunchKernel");
	check(copy(picture, p, sizeof(picture)), "cuMemcpyDtoH");
	check(release(p), "cuMemFree");
	draw();
	n = differences();
	printf("%d points on \"%s\"; %u differ from the host's by rounding\n", WIDTH * HEIGHT, name, n);
	return n > WIDTH * HEIGHT / 50;
}
