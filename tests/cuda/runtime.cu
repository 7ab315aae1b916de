/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program does with the runtime beside launching: streams, events, symbols, rows, attributes, printf.
 *
 * prints: block 1 of 2 says hello 1.50
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <cuda_runtime.h>

#define CHECK(call)                                                                                \
	do {                                                                                       \
		cudaError_t rc_ = (call);                                                            \
		if (rc_ != cudaSuccess) {                                                            \
			printf("line %d: %s: %s\n", __LINE__, #call, cudaGetErrorString(rc_));     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define TRUE(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: not so: %s\n", __LINE__, #what);                          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define TILE 16

__constant__ float weights[4];
__device__ int total;
struct pair {
	char tag;
	double x;
	short s[3];
};

__global__ void scale(float *p, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		p[i] = p[i] * weights[i % 4];
}

__global__ void count(const int *p, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n && p[i] > 0)
		atomicAdd(&total, 1);
}

__global__ void matmul(const float *a, const float *b, float *c, int n)
{
	__shared__ float as[TILE][TILE], bs[TILE][TILE];
	int row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
	float sum = 0;

	for (int t = 0; t < n / TILE; t++) {
		as[threadIdx.y][threadIdx.x] = a[row * n + t * TILE + threadIdx.x];
		bs[threadIdx.y][threadIdx.x] = b[(t * TILE + threadIdx.y) * n + col];
		__syncthreads();
		for (int k = 0; k < TILE; k++)
			sum += as[threadIdx.y][k] * bs[k][threadIdx.x];
		__syncthreads();
	}
	c[row * n + col] = sum;
}

__global__ void by_value(struct pair p, double *out)
{
	out[threadIdx.x] = p.x * p.s[threadIdx.x] + p.tag;
}

__global__ void dynamic(int *out)
{
	extern __shared__ int s[];

	s[threadIdx.x] = threadIdx.x;
	__syncthreads();
	out[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];
}

__global__ void hello(int n)
{
	if (threadIdx.x == 0)
		printf("block %d of %d says %s %.2f\n", blockIdx.x, n, "hello", 1.5);
}

__global__ void append(int *p, int v)
{
	*p = *p * 10 + v;
}

static void symbols()
{
	float w[4] = {1, 2, 3, 4}, h[1000], *d;
	int v[1000], zero = 0, found, *dv;
	void *p;
	size_t size;

	CHECK(cudaMemcpyToSymbol(weights, w, sizeof(w)));
	CHECK(cudaMalloc(&d, sizeof(h)));
	for (int i = 0; i < 1000; i++)
		h[i] = i;
	CHECK(cudaMemcpy(d, h, sizeof(h), cudaMemcpyHostToDevice));
	scale<<<10, 100>>>(d, 1000);
	CHECK(cudaMemcpy(h, d, sizeof(h), cudaMemcpyDefault));
	for (int i = 0; i < 1000; i++)
		TRUE(h[i] == i * w[i % 4]);
	CHECK(cudaFree(d));

	CHECK(cudaMemcpyToSymbol(total, &zero, sizeof(zero)));
	CHECK(cudaMalloc(&dv, sizeof(v)));
	for (int i = 0; i < 1000; i++)
		v[i] = i % 3 - 1;
	CHECK(cudaMemcpy(dv, v, sizeof(v), cudaMemcpyHostToDevice));
	count<<<10, 100>>>(dv, 1000);
	CHECK(cudaMemcpyFromSymbol(&found, total, sizeof(found)));
	TRUE(found == 333);
	CHECK(cudaGetSymbolAddress(&p, weights));
	CHECK(cudaGetSymbolSize(&size, weights));
	TRUE(size == 16);
	CHECK(cudaMemcpy(w, p, 16, cudaMemcpyDeviceToHost));
	TRUE(w[3] == 4);
	TRUE(cudaMemcpyToSymbol(weights, w, 17) == cudaErrorInvalidValue);
	CHECK(cudaFree(dv));
	cudaGetLastError();
}

struct seen {
	int value;
};

static void CUDART_CB look(void *user)
{
	((struct seen *)user)->value++;
}

static void CUDART_CB called(cudaStream_t, cudaError_t status, void *user)
{
	((struct seen *)user)->value += status == cudaSuccess ? 10 : 100;
}

static void streams()
{
	const int n = 64;
	std::vector<float> a(n * n), b(n * n), c(n * n);
	float *da, *db, *dc, ms = -1;
	cudaStream_t s, t;
	cudaEvent_t start, stop, other;
	int *order, got;

	for (int i = 0; i < n * n; i++) {
		a[i] = i % 7;
		b[i] = i % 5 - 2;
	}
	CHECK(cudaStreamCreate(&s));
	CHECK(cudaStreamCreateWithFlags(&t, cudaStreamNonBlocking));
	CHECK(cudaEventCreate(&start));
	CHECK(cudaEventCreate(&stop));
	CHECK(cudaEventCreateWithFlags(&other, cudaEventDisableTiming));
	CHECK(cudaMallocAsync(&da, n * n * 4, s));
	CHECK(cudaMallocAsync(&db, n * n * 4, s));
	CHECK(cudaMallocAsync(&dc, n * n * 4, s));
	TRUE(cudaEventElapsedTime(&ms, start, stop) == cudaErrorInvalidResourceHandle);
	CHECK(cudaEventRecord(start, s));
	CHECK(cudaMemcpyAsync(da, a.data(), n * n * 4, cudaMemcpyHostToDevice, s));
	CHECK(cudaMemcpyAsync(db, b.data(), n * n * 4, cudaMemcpyHostToDevice, s));
	matmul<<<dim3(n / TILE, n / TILE), dim3(TILE, TILE), 0, s>>>(da, db, dc, n);
	CHECK(cudaMemcpyAsync(c.data(), dc, n * n * 4, cudaMemcpyDeviceToHost, s));
	CHECK(cudaEventRecord(stop, s));
	CHECK(cudaEventSynchronize(stop));
	CHECK(cudaEventQuery(stop));
	CHECK(cudaStreamQuery(s));
	CHECK(cudaEventElapsedTime(&ms, start, stop));
	TRUE(ms > 0 && ms < 60000);
	for (int y = 0; y < n; y++)
		for (int x = 0; x < n; x++) {
			float sum = 0;

			for (int k = 0; k < n; k++)
				sum += a[y * n + k] * b[k * n + x];
			TRUE(c[y * n + x] == sum);
		}
	/* One stream after another, by an event. */
	CHECK(cudaMalloc(&order, 4));
	CHECK(cudaMemset(order, 0, 4));
	append<<<1, 1, 0, s>>>(order, 1);
	append<<<1, 1, 0, s>>>(order, 2);
	CHECK(cudaEventRecord(other, s));
	CHECK(cudaStreamWaitEvent(t, other, 0));
	append<<<1, 1, 0, t>>>(order, 3);
	CHECK(cudaStreamSynchronize(t));
	CHECK(cudaMemcpy(&got, order, 4, cudaMemcpyDeviceToHost));
	TRUE(got == 123);
	struct seen seen = {0};
	CHECK(cudaLaunchHostFunc(t, look, &seen));
	CHECK(cudaStreamAddCallback(t, called, &seen, 0));
	CHECK(cudaStreamSynchronize(t));
	TRUE(seen.value == 11);
	TRUE(cudaEventElapsedTime(&ms, start, other) == cudaErrorInvalidResourceHandle);
	CHECK(cudaFreeAsync(da, s));
	CHECK(cudaStreamDestroy(s));
	TRUE(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
	CHECK(cudaEventDestroy(start));
	TRUE(cudaEventQuery(start) == cudaErrorInvalidResourceHandle);
	cudaGetLastError();
}

static void rows()
{
	int h[20][30], back[20][30], *d, *e;
	size_t pitch, other;

	for (int y = 0; y < 20; y++)
		for (int x = 0; x < 30; x++)
			h[y][x] = y * 100 + x;
	CHECK(cudaMallocPitch((void **)&d, &pitch, sizeof(h[0]), 20));
	TRUE(pitch >= sizeof(h[0]));
	CHECK(cudaMallocPitch((void **)&e, &other, sizeof(h[0]), 20));
	CHECK(cudaMemset2D(d, pitch, 0xff, sizeof(h[0]), 20));
	CHECK(cudaMemcpy2D(d, pitch, h, sizeof(h[0]), 10 * sizeof(int), 20, cudaMemcpyHostToDevice));
	CHECK(cudaMemcpy2D(e, other, d, pitch, sizeof(h[0]), 20, cudaMemcpyDeviceToDevice));
	CHECK(cudaMemcpy2D(back, sizeof(back[0]), e, other, sizeof(h[0]), 20, cudaMemcpyDeviceToHost));
	for (int y = 0; y < 20; y++)
		for (int x = 0; x < 30; x++)
			TRUE(back[y][x] == (x < 10 ? h[y][x] : -1));
	CHECK(cudaFree(d));
	CHECK(cudaFree(e));
}

static void arguments()
{
	struct pair p = {3, 2.5, {1, 10, 100}};
	double out[3], *d;
	int s[1024], *ds, blocks;
	cudaFuncAttributes attributes;
	void *pinned;
	cudaPointerAttributes where;

	CHECK(cudaMalloc(&d, sizeof(out)));
	by_value<<<1, 3>>>(p, d);
	CHECK(cudaMemcpy(out, d, sizeof(out), cudaMemcpyDeviceToHost));
	TRUE(out[0] == 5.5 && out[1] == 28 && out[2] == 253);
	CHECK(cudaMalloc(&ds, sizeof(s)));
	dynamic<<<1, 1024, 4096>>>(ds);
	CHECK(cudaMemcpy(s, ds, sizeof(s), cudaMemcpyDeviceToHost));
	TRUE(s[0] == 1023 && s[1023] == 0);
	CHECK(cudaFuncGetAttributes(&attributes, matmul));
	const char *name;
	size_t offset, size;
	CHECK(cudaFuncGetName(&name, (const void *)matmul));
	TRUE(strstr(name, "matmul") != nullptr);
	CHECK(cudaFuncGetParamInfo((const void *)matmul, 1, &offset, &size));
	TRUE(offset == 8 && size == 8);
	TRUE(cudaFuncGetParamInfo((const void *)matmul, 99, &offset, &size) == cudaErrorInvalidValue);
	cudaMemPool_t pool;
	cudaMemAccessDesc access = {{cudaMemLocationTypeDevice, 0}, cudaMemAccessFlagsProtReadWrite};
	cudaMemAccessFlags may;
	CHECK(cudaDeviceGetDefaultMemPool(&pool, 0));
	CHECK(cudaMemPoolSetAccess(pool, &access, 1));
	CHECK(cudaMemPoolGetAccess(&may, pool, &access.location));
	TRUE(may == cudaMemAccessFlagsProtReadWrite);
	access.location.id = 99;
	TRUE(cudaMemPoolSetAccess(pool, &access, 1) == cudaErrorInvalidDevice);
	TRUE(cudaGetLastError() == cudaErrorInvalidDevice);
	TRUE(attributes.sharedSizeBytes == 2 * TILE * TILE * 4 && attributes.maxThreadsPerBlock == 1024);
	CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, matmul, 256, 0));
	TRUE(blocks > 0 && blocks <= 8);
	CHECK(cudaFuncSetAttribute(dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 << 10));
	dynamic<<<1, 32, 100 << 10>>>(ds);
	CHECK(cudaGetLastError());
	CHECK(cudaMallocHost(&pinned, 1000));
	CHECK(cudaPointerGetAttributes(&where, pinned));
	TRUE(where.type == cudaMemoryTypeHost);
	CHECK(cudaPointerGetAttributes(&where, (char *)ds + 100));
	TRUE(where.type == cudaMemoryTypeDevice && where.device == 0);
	CHECK(cudaPointerGetAttributes(&where, s));
	TRUE(where.type == cudaMemoryTypeUnregistered);
	CHECK(cudaFreeHost(pinned));
	CHECK(cudaDeviceSynchronize());
}

static void threads()
{
	std::vector<std::thread> many;

	for (int k = 0; k < 4; k++)
		many.emplace_back([k] {
			int *p, v = 0;

			CHECK(cudaMalloc(&p, 4));
			CHECK(cudaMemset(p, 0, 4));
			for (int i = 0; i < 50; i++)
				append<<<1, 1>>>(p, 0), append<<<1, 1>>>(p, 0);
			append<<<1, 1>>>(p, k);
			CHECK(cudaMemcpy(&v, p, 4, cudaMemcpyDeviceToHost));
			TRUE(v == k);
			/* an error is its thread's own */
			if (k == 2)
				TRUE(cudaMemcpy(p, &v, 1 << 20, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
			TRUE(cudaGetLastError() == (k == 2 ? cudaErrorInvalidValue : cudaSuccess));
			CHECK(cudaFree(p));
		});
	for (auto &t : many)
		t.join();
}

int main()
{
	size_t free_bytes, all;

	CHECK(cudaFree(0));
	CHECK(cudaMemGetInfo(&free_bytes, &all));
	TRUE(free_bytes <= all && all > 0);
	symbols();
	streams();
	rows();
	arguments();
	threads();
	hello<<<2, 32>>>(2);
	CHECK(cudaDeviceSynchronize());
	printf("done\n");
	return 0;
}
