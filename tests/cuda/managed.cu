// SPDX-License-Identifier: Apache-2.0
/*
 * Memory that the host and kernels use by the same pointer: managed, a managed variable, mapped memory of the host,
 * and a structure whose pointers point into it.
 *
 * prints: managed: all as expected
 */
#include <cmath>
#include <cstdio>
#include <cstring>

#include "check.h"

__managed__ int total = 5;
__managed__ float table[100];

__global__ void add(int n, const float *x, float *y)
{
	int at = (int)(blockIdx.x * blockDim.x + threadIdx.x), step = (int)(blockDim.x * gridDim.x);

	for (int i = at; i < n; i += step)
		y[i] = x[i] + y[i];
}

__global__ void use_variables()
{
	atomicAdd(&total, 1);
	table[threadIdx.x] *= 2;
}

struct list {
	int value;
	list *next;
};

__global__ void walk(const list *l, int *sum)
{
	int n = 0;

	for (; l; l = l->next)
		n += l->value;
	*sum = n;
}

int main()
{
	const int n = 1 << 20;
	int failures = 0;
	float *x, *y;
	cudaDeviceProp prop;

	CUDA(cudaGetDeviceProperties(&prop, 0));
	CHECK(prop.managedMemory && prop.canMapHostMemory && !prop.concurrentManagedAccess);
	CUDA(cudaMallocManaged(&x, n * sizeof(float)));
	CUDA(cudaMallocManaged(&y, n * sizeof(float)));
	for (int i = 0; i < n; i++) {
		x[i] = 1.0f;
		y[i] = 2.0f;
	}
	add<<<(n + 255) / 256, 256>>>(n, x, y);
	CUDA(cudaDeviceSynchronize());
	float error = 0;
	for (int i = 0; i < n; i++)
		error = fmaxf(error, fabsf(y[i] - 3.0f));
	CHECK(error == 0);
	for (int round = 0; round < 3; round++) { // the host's turn and the device's
		y[round] = 10.0f;
		add<<<64, 256>>>(n, x, y);
		CUDA(cudaDeviceSynchronize());
		CHECK(y[round] == 11.0f && y[n - 1] == 4.0f + (float)round);
	}
	float host[4];
	x[1] = 42.0f; // before a copy, too
	CUDA(cudaMemcpy(host, x, sizeof(host), cudaMemcpyDefault));
	CHECK(host[0] == 1.0f && host[1] == 42.0f);
	host[2] = 7.0f;
	CUDA(cudaMemcpy(x, host, sizeof(host), cudaMemcpyHostToDevice));
	CHECK(x[2] == 7.0f);
	CUDA(cudaMemset(x, 0, 8));
	CUDA(cudaDeviceSynchronize());
	CHECK(x[0] == 0.0f && x[1] == 0.0f && x[2] == 7.0f);

	CHECK(total == 5);
	for (int i = 0; i < 100; i++)
		table[i] = (float)i;
	use_variables<<<1, 100>>>();
	CUDA(cudaDeviceSynchronize());
	CHECK(total == 105 && table[50] == 100.0f);

	list *nodes;
	int *sum;
	CUDA(cudaMallocManaged(&nodes, 10 * sizeof(list)));
	CUDA(cudaMallocManaged(&sum, sizeof(int)));
	for (int i = 0; i < 10; i++) {
		nodes[i].value = i;
		nodes[i].next = i < 9 ? &nodes[i + 1] : NULL;
	}
	walk<<<1, 1>>>(nodes, sum);
	cudaStream_t s;
	CUDA(cudaStreamCreate(&s));
	CUDA(cudaStreamSynchronize(0));
	CHECK(*sum == 45);

	float *mapped, *seen;
	CUDA(cudaHostAlloc(&mapped, 1000 * sizeof(float), cudaHostAllocMapped));
	CUDA(cudaHostGetDevicePointer(&seen, mapped, 0));
	for (int i = 0; i < 1000; i++)
		mapped[i] = (float)i;
	add<<<4, 256, 0, s>>>(1000, seen, seen);
	CUDA(cudaStreamSynchronize(s));
	CHECK(mapped[999] == 1998.0f);
	cudaPointerAttributes a;
	CUDA(cudaPointerGetAttributes(&a, y));
	CHECK(a.type == cudaMemoryTypeManaged && a.devicePointer == y && a.hostPointer == y);
	CUDA(cudaFree(x));
	CUDA(cudaFree(y));
	CUDA(cudaFreeHost(mapped));
	if (!failures)
		printf("managed: all as expected\n");
	return failures != 0;
}
