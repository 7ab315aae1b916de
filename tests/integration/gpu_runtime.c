/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the runtime's functions in plain C, with its kernel as PTX text: what nvcc makes of a program, by hand, so
 * that it runs where there is no nvcc. Managed memory, a captured graph, volumes, cuBLAS, and their errors.
 *
 *	gpu_runtime PTX
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dim3 {
	unsigned x, y, z;
};

struct pitched {
	void *p;
	size_t pitch, width, height;
};

struct extent {
	size_t width, height, depth;
};

int cudaMalloc(void **p, size_t size);
int cudaMallocManaged(void **p, size_t size, unsigned flags);
int cudaFree(void *p);
int cudaMemcpy(void *to, const void *from, size_t size, int kind);
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream);
int cudaMalloc3D(struct pitched *p, struct extent e);
int cudaMemset3D(struct pitched p, int value, struct extent e);
int cudaDeviceSynchronize(void);
int cudaProfilerStart(void);
int cudaProfilerStop(void);
int cudaGetLastError(void);
int cudaLaunchKernel(const void *host, struct dim3 grid, struct dim3 block, void **args, size_t shared, void *stream);
int cudaLaunchCooperativeKernel(const void *host, struct dim3 grid, struct dim3 block, void **args, size_t shared,
				void *stream);
int cudaStreamCreate(void **stream);
int cudaStreamDestroy(void *stream);
int cudaStreamSynchronize(void *stream);
int cudaStreamBeginCapture(void *stream, int mode);
int cudaStreamEndCapture(void *stream, void **graph);
int cudaGraphInstantiate(void **exec, void *graph, unsigned long long flags);
int cudaGraphLaunch(void *exec, void *stream);
int cudaGraphExecDestroy(void *exec);
int cudaGraphDestroy(void *graph);
void **__cudaRegisterFatBinary(void *image);
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit, void *tid,
			    void *bid, void *block, void *grid, int *warp);
int cublasCreate_v2(void **handle);
int cublasDestroy_v2(void *handle);
int cublasSgemm_v2(void *h, int opa, int opb, int m, int n, int k, const float *alpha, const float *a, int lda,
		   const float *b, int ldb, const float *beta, float *c, int ldc);
int cublasSdot_v2(void *h, int n, const float *x, int xs, const float *y, int ys, float *out);

enum { TO_DEVICE = 1, TO_HOST = 2, N = 1000 };

#define WANT(call, code)                                                                                               \
	do {                                                                                                           \
		int rc_ = (call);                                                                                      \
                                                                                                                       \
		if (rc_ != (code)) {                                                                                   \
			printf("line %d: %s: %d, not %d\n", __LINE__, #call, rc_, code);                               \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)
#define CHECK(what) WANT(!(what), 0)

static const char vadd; /* its address is the kernel's */

static void program_register(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = calloc(1, 1 << 20);
	void **image;

	if (!f || !text || !fread(text, 1, (1 << 20) - 1, f)) {
		perror(path);
		exit(1);
	}
	fclose(f);
	image = __cudaRegisterFatBinary(text); /* kept: it is loaded when a kernel is wanted */
	__cudaRegisterFunction(image, &vadd, NULL, "vadd", -1, NULL, NULL, NULL, NULL, NULL);
}

static int launch(const float *a, const float *b, float *c, void *stream)
{
	int n = N;

	return cudaLaunchKernel(&vadd, (struct dim3){4, 1, 1}, (struct dim3){256, 1, 1},
				(void *[]){(void *)&a, (void *)&b, (void *)&c, &n}, 0, stream);
}

static void managed(void)
{
	float *a, *b;

	WANT(cudaMallocManaged((void **)&a, N * sizeof(*a), 3), 1);
	WANT(cudaMallocManaged((void **)&a, N * sizeof(*a), 1), 0);
	WANT(cudaMallocManaged((void **)&b, N * sizeof(*b), 1), 0);
	for (int round = 0; round < 3; round++) {
		for (int k = 0; k < N; k++)
			a[k] = (float)(k + round);
		WANT(launch(a, a, b, NULL), 0);
		WANT(cudaDeviceSynchronize(), 0);
		for (int k = 0; k < N; k++)
			CHECK(b[k] == 2 * (float)(k + round));
	}
	WANT(cudaFree(a), 0);
	WANT(cudaFree(a), 1);
	WANT(cudaFree(b), 0);
}

static void graph(void)
{
	float *a, *b, in[N], out[N];
	void *s, *g, *exec;

	WANT(cudaMalloc((void **)&a, sizeof(in)), 0);
	WANT(cudaMalloc((void **)&b, sizeof(in)), 0);
	WANT(cudaStreamCreate(&s), 0);
	WANT(cudaStreamEndCapture(s, &g), 401); /* nothing was begun */
	WANT(cudaStreamBeginCapture(s, 0), 0);
	WANT(cudaMemcpyAsync(a, in, sizeof(in), TO_DEVICE, s), 0);
	WANT(launch(a, a, b, s), 0);
	WANT(cudaMemcpyAsync(out, b, sizeof(out), TO_HOST, s), 0);
	WANT(cudaStreamEndCapture(s, &g), 0);
	WANT(cudaGraphInstantiate(&exec, g, 0), 0);
	WANT(cudaGraphDestroy(g), 0);
	for (int round = 0; round < 3; round++) {
		for (int k = 0; k < N; k++)
			in[k] = (float)(k * round);
		WANT(cudaGraphLaunch(exec, s), 0);
		WANT(cudaStreamSynchronize(s), 0);
		CHECK(out[N - 1] == (float)(2 * (N - 1) * round));
	}
	WANT(cudaGraphExecDestroy(exec), 0);
	WANT(cudaStreamBeginCapture(s, 0), 0);
	WANT(cudaStreamSynchronize(s), 900);
	WANT(launch(a, a, b, s), 901);
	WANT(cudaStreamEndCapture(s, &g), 901);
	WANT(launch(a, a, b, s), 0);
	WANT(cudaStreamDestroy(s), 0);
	WANT(cudaFree(a), 0);
	WANT(cudaFree(b), 0);
	(void)cudaGetLastError();
}

static void blas(void)
{
	float a[16], c[16], one = 1, zero = 0, *da, *dc, dot;
	void *h;

	for (int k = 0; k < 16; k++)
		a[k] = (float)(k + 1);
	WANT(cublasCreate_v2(&h), 0);
	WANT(cudaMalloc((void **)&da, sizeof(a)), 0);
	WANT(cudaMalloc((void **)&dc, sizeof(c)), 0);
	WANT(cudaMemcpy(da, a, sizeof(a), TO_DEVICE), 0);
	WANT(cublasSgemm_v2(h, 0, 1, 4, 4, 4, &one, da, 4, da, 4, &zero, dc, 4), 0);
	WANT(cublasSgemm_v2(h, 0, 1, 4, 4, 4, &one, da, 3, da, 4, &zero, dc, 4), 7);
	WANT(cublasSgemm_v2(NULL, 0, 1, 4, 4, 4, &one, da, 4, da, 4, &zero, dc, 4), 1);
	WANT(cudaMemcpy(c, dc, sizeof(c), TO_HOST), 0);
	CHECK(c[1 + 4 * 2] == 2 * 3 + 6 * 7 + 10 * 11 + 14 * 15);
	WANT(cublasSdot_v2(h, 16, da, 1, da, 1, &dot), 0);
	CHECK(dot == 1496.0f);
	WANT(cublasDestroy_v2(h), 0);
	WANT(cudaFree(da), 0);
	WANT(cudaFree(dc), 0);
}

int main(int argc, char **argv)
{
	struct pitched p;
	float *a;

	if (argc != 2)
		return 2;
	program_register(argv[1]);
	managed();
	graph();
	blas();
	WANT(cudaMalloc3D(&p, (struct extent){100, 10, 4}), 0);
	WANT(cudaProfilerStart(), 0);
	WANT(cudaMemset3D(p, 1, (struct extent){100, 10, 4}), 0);
	WANT(cudaDeviceSynchronize(), 0);
	WANT(cudaProfilerStop(), 0);
	WANT(cudaMemset3D(p, 1, (struct extent){100, 11, 4}), 1);
	WANT(cudaFree(p.p), 0);
	/* a cooperative launch that cannot be all there is refused at once */
	WANT(cudaMalloc((void **)&a, N * sizeof(*a)), 0);
	WANT(cudaLaunchCooperativeKernel(&vadd, (struct dim3){1 << 20, 1, 1}, (struct dim3){256, 1, 1},
					 (void *[]){&a, &a, &a, &(int){N}}, 0, NULL), 720);
	WANT(cudaGetLastError(), 720);
	WANT(cudaFree(a), 0);
	puts("all as expected");
	return 0;
}
