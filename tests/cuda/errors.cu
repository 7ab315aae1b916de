/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as CUDA has them: at once or later, once or for good, of a thread or of all. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <cuda_runtime.h>

#define WANT(call, code)                                                                           \
	do {                                                                                       \
		cudaError_t e = (call);                                                            \
		if (e != (code)) {                                                                 \
			printf("line %d: %s: %s, not %s\n", __LINE__, #call, cudaGetErrorName(e),  \
			       cudaGetErrorName(code));                                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

__global__ void fine(int *p)
{
	*p = 1;
}

__global__ void __launch_bounds__(64) bounded(int *p)
{
	*p = 2;
}

int main()
{
	size_t free_bytes, all;
	cudaStream_t stream;
	void *q, *host;
	int *p, v = 0, n;

	WANT(cudaGetDeviceCount(&n), cudaSuccess);
	WANT(cudaSetDevice(n), cudaErrorInvalidDevice);
	WANT(cudaGetLastError(), cudaErrorInvalidDevice);
	WANT(cudaGetLastError(), cudaSuccess);
	WANT(cudaMalloc(&p, 4), cudaSuccess);

	/* A launch's shape: at once, and once. */
	fine<<<1, 2048>>>(p);
	WANT(cudaPeekAtLastError(), cudaErrorInvalidConfiguration);
	WANT(cudaGetLastError(), cudaErrorInvalidConfiguration);
	WANT(cudaGetLastError(), cudaSuccess);
	fine<<<0, 1>>>(p);
	WANT(cudaGetLastError(), cudaErrorInvalidConfiguration);
	fine<<<dim3(1, 65536), 1>>>(p);
	WANT(cudaGetLastError(), cudaErrorInvalidConfiguration);
	fine<<<1, 1, 1 << 20>>>(p);
	WANT(cudaGetLastError(), cudaErrorInvalidValue);
	bounded<<<1, 128>>>(p);
	if (cudaGetLastError() == cudaSuccess) {
		printf("more threads than the kernel allows\n");
		return 1;
	}
	fine<<<1, 1>>>(p);
	WANT(cudaGetLastError(), cudaSuccess);
	WANT(cudaMemcpy(&v, p, 4, cudaMemcpyDeviceToHost), cudaSuccess);
	if (v != 1)
		return 1;

	/* Memory */
	WANT(cudaMemGetInfo(&free_bytes, &all), cudaSuccess);
	WANT(cudaMalloc(&q, all + 1), cudaErrorMemoryAllocation);
	WANT(cudaGetLastError(), cudaErrorMemoryAllocation);
	WANT(cudaMalloc(&q, 0), cudaSuccess);
	WANT(cudaFree(0), cudaSuccess);
	WANT(cudaFree((char *)p + 4), cudaErrorInvalidValue);
	WANT(cudaFree(&v), cudaErrorInvalidValue);
	WANT(cudaMemcpy(p, &v, 4, (cudaMemcpyKind)7), cudaErrorInvalidMemcpyDirection);
	WANT(cudaMemcpy(&v, &n, 4, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
	WANT(cudaMemcpy(p, &v, 4096, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
	WANT(cudaMemset(&v, 0, 4), cudaErrorInvalidValue);
	WANT(cudaDeviceEnablePeerAccess(0, 0), cudaErrorNotSupported);
	WANT(cudaHostAlloc(&host, 4, 64), cudaErrorInvalidValue);
	WANT(cudaStreamSynchronize((cudaStream_t)0x1234560), cudaErrorInvalidResourceHandle);
	cudaGetLastError();
	if (strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") ||
	    strcmp(cudaGetErrorName(cudaErrorIllegalAddress), "cudaErrorIllegalAddress"))
		return 1;

	/* What ends the context comes later and stays, for every thread. */
	WANT(cudaStreamCreate(&stream), cudaSuccess);
	fine<<<1, 1, 0, stream>>>(p + (64 << 20));
	WANT(cudaStreamSynchronize(stream), cudaErrorIllegalAddress);
	WANT(cudaGetLastError(), cudaErrorIllegalAddress);
	WANT(cudaGetLastError(), cudaErrorIllegalAddress);
	WANT(cudaMemcpy(&v, p, 4, cudaMemcpyDeviceToHost), cudaErrorIllegalAddress);
	WANT(cudaMalloc(&q, 4), cudaErrorIllegalAddress);
	WANT(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
	std::thread([] { WANT(cudaDeviceSynchronize(), cudaErrorIllegalAddress); }).join();

	/* A reset makes another context. */
	WANT(cudaDeviceReset(), cudaSuccess);
	WANT(cudaMalloc(&p, 4), cudaSuccess);
	fine<<<1, 1>>>(p);
	WANT(cudaMemcpy(&v, p, 4, cudaMemcpyDeviceToHost), cudaSuccess);
	printf("done %d\n", v);
	return 0;
}
