// SPDX-License-Identifier: Apache-2.0
/*
 * What kernels can do by themselves: printf, malloc and free, new and delete, virtual functions, function pointers,
 * recursion, constant and global variables, lambdas, assert.
 *
 * nvcc: --extended-lambda
 * prints: thread 3 of block 1: 2.50 abc 0x1f -7 100%
 * prints: device side: all as expected
 */
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "check.h"

__global__ void say()
{
	if (threadIdx.x == 3 && blockIdx.x == 1)
		printf("thread %d of block %u: %.2f %s 0x%x %lld 100%%\n", threadIdx.x, blockIdx.x, 2.5, "abc", 31, -7ll);
}

struct shape {
	__device__ virtual float area() const = 0;
	__device__ virtual ~shape() {}
};

struct square : shape {
	float side;
	__device__ square(float s) : side(s) {}
	__device__ float area() const override { return side * side; }
};

struct circle : shape {
	float radius;
	__device__ circle(float r) : radius(r) {}
	__device__ float area() const override { return 3.0f * radius * radius; }
};

__global__ void areas(float *out)
{
	shape *s;

	if (threadIdx.x % 2)
		s = new square((float)threadIdx.x);
	else
		s = new circle((float)threadIdx.x);
	out[threadIdx.x] = s->area();
	delete s;
}

__global__ void list(int *out)
{
	struct node {
		int value;
		node *next;
	} *head = NULL;

	for (int k = 0; k < 10; k++) {
		node *n = (node *)malloc(sizeof(node));
		if (!n) {
			out[threadIdx.x] = -1;
			return;
		}
		n->value = k * (int)threadIdx.x;
		n->next = head;
		head = n;
	}
	int sum = 0;
	while (head) {
		node *next = head->next;
		sum += head->value;
		free(head);
		head = next;
	}
	out[threadIdx.x] = sum;
}

typedef int (*operation)(int, int);

__device__ int add(int a, int b) { return a + b; }
__device__ int multiply(int a, int b) { return a * b; }
__device__ __noinline__ int power(int a, int b) { return b ? a * power(a, b - 1) : 1; }

__device__ operation table[3] = {add, multiply, power};
__constant__ int factors[4] = {1, 2, 3, 4};
__device__ int counter, history[64];
__device__ const char *greeting = "hi";

__global__ void apply(int *out)
{
	int k = (int)threadIdx.x;

	out[k] = table[k % 3](k, factors[k % 4]);
	history[atomicAdd(&counter, 1)] = k;
}

__global__ void get_pointer(operation *p)
{
	*p = multiply;
}

__global__ void call_pointer(operation p, int *out)
{
	*out = p(6, 7);
}

template <typename F> __global__ void each(int *p, int n, F f)
{
	int k = (int)(blockIdx.x * blockDim.x + threadIdx.x);

	if (k < n)
		p[k] = f(k);
}

__device__ __noinline__ int fibonacci(int n)
{
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__global__ void recurse(int *out)
{
	out[threadIdx.x] = fibonacci((int)threadIdx.x);
}

__global__ void must(int x)
{
	assert(x < 5 && "x is small");
}

int main()
{
	int failures = 0, *d, h[64];
	float *f, hf[64];

	say<<<2, 32>>>();
	CUDA(cudaDeviceSynchronize());
	CUDA(cudaMalloc(&d, sizeof(h)));
	CUDA(cudaMalloc(&f, sizeof(hf)));
	areas<<<1, 64>>>(f);
	CUDA(cudaMemcpy(hf, f, sizeof(hf), cudaMemcpyDeviceToHost));
	for (int k = 0; k < 64; k++)
		CHECK(hf[k] == (k % 2 ? 1.0f : 3.0f) * (float)(k * k));
	list<<<1, 64>>>(d);
	CUDA(cudaMemcpy(h, d, sizeof(h), cudaMemcpyDeviceToHost));
	for (int k = 0; k < 64; k++)
		CHECK(h[k] == 45 * k);

	int more[4] = {5, 3, 2, 1}, seen[64];
	CUDA(cudaMemcpyToSymbol(factors, more, sizeof(more)));
	apply<<<1, 64>>>(d);
	CUDA(cudaMemcpy(h, d, sizeof(h), cudaMemcpyDeviceToHost));
	for (int k = 0; k < 64; k++) {
		int b = more[k % 4], want = k % 3 == 0 ? k + b : k % 3 == 1 ? k * b : 1;
		if (k % 3 == 2)
			for (int j = 0; j < b; j++)
				want *= k;
		CHECK(h[k] == want);
	}
	int c;
	CUDA(cudaMemcpyFromSymbol(&c, counter, sizeof(c)));
	CHECK(c == 64);
	CUDA(cudaMemcpyFromSymbol(seen, history, sizeof(seen)));
	memset(h, 0, sizeof(h));
	for (int k = 0; k < 64; k++)
		h[seen[k] & 63]++;
	for (int k = 0; k < 64; k++)
		CHECK(h[k] == 1);
	void *address;
	size_t size;
	CUDA(cudaGetSymbolAddress(&address, history));
	CUDA(cudaGetSymbolSize(&size, history));
	CHECK(size == sizeof(seen));
	CUDA(cudaMemset(address, 0xff, size));
	CUDA(cudaMemcpyFromSymbol(seen, history, 4, 60));
	CHECK(seen[0] == -1);

	operation *slot, p;
	CUDA(cudaMalloc(&slot, sizeof(*slot)));
	get_pointer<<<1, 1>>>(slot);
	CUDA(cudaMemcpy(&p, slot, sizeof(p), cudaMemcpyDeviceToHost));
	call_pointer<<<1, 1>>>(p, d);
	CUDA(cudaMemcpy(h, d, 4, cudaMemcpyDeviceToHost));
	CHECK(h[0] == 42);
	int base = 100;
	each<<<2, 32>>>(d, 50, [=] __device__ (int k) { return base - k; });
	CUDA(cudaMemcpy(h, d, sizeof(h), cudaMemcpyDeviceToHost));
	CHECK(h[49] == 51);
	recurse<<<1, 16>>>(d);
	CUDA(cudaMemcpy(h, d, sizeof(h), cudaMemcpyDeviceToHost));
	CHECK(h[15] == 610 && h[10] == 55);
	must<<<1, 4>>>(9);
	CHECK(cudaDeviceSynchronize() == cudaErrorAssert);
	CHECK(cudaMalloc(&d, 4) == cudaErrorAssert); /* for good */
	CUDA(cudaDeviceReset());
	CUDA(cudaMalloc(&d, 4));
	if (!failures)
		printf("device side: all as expected\n");
	return failures != 0;
}
