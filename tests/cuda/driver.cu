/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the driver's functions, with its kernels as PTX text; then the runtime beside them, on the same memory.
 *
 * nvcc: -lcuda -L/usr/local/cuda/lib64/stubs
 * prints: done 500500
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <cuda.h>
#include <cuda_runtime.h>

#define WANT(call, code)                                                                           \
	do {                                                                                       \
		CUresult rc_ = (call);                                                             \
		if (rc_ != (code)) {                                                               \
			const char *name_ = "?";                                                   \
			cuGetErrorName(rc_, &name_);                                               \
			printf("line %d: %s: %d %s\n", __LINE__, #call, (int)rc_, name_);          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)
#define CHECK(call) WANT(call, CUDA_SUCCESS)
#define TRUE(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("line %d: not so: %s\n", __LINE__, #what);                          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static const char ptx[] = R"(
.version 7.0
.target sm_70
.address_size 64
.visible .global .align 4 .u32 factor = 3;
.visible .entry scale(.param .u64 p, .param .u32 n)
{
	.reg .b64 %a, %o;
	.reg .b32 %i, %t, %n, %v, %f;
	.reg .pred %q;
	ld.param.u64 %a, [p];
	ld.param.u32 %n, [n];
	mov.u32 %i, %ctaid.x;
	mov.u32 %t, %ntid.x;
	mul.lo.u32 %i, %i, %t;
	mov.u32 %t, %tid.x;
	add.u32 %i, %i, %t;
	setp.ge.u32 %q, %i, %n;
	@%q ret;
	mul.wide.u32 %o, %i, 4;
	add.s64 %a, %a, %o;
	ld.global.u32 %v, [%a];
	ld.global.u32 %f, [factor];
	mul.lo.u32 %v, %v, %f;
	st.global.u32 [%a], %v;
	ret;
}
)";

__global__ void add(unsigned *p, unsigned n, unsigned *sum)
{
	unsigned i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		atomicAdd(sum, p[i]);
}

int main()
{
	static unsigned v[1000];
	CUdevice device;
	CUcontext context, other;
	CUmodule module;
	CUfunction f;
	CUstream stream;
	CUevent start, stop;
	CUdeviceptr p, g;
	size_t size, free_bytes, all;
	unsigned n = 1000, six = 6, *sum, got;
	int count, value;
	char name[100];
	float ms;
	void *proc;

	WANT(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
	CHECK(cuInit(0));
	CHECK(cuDeviceGetCount(&count));
	CHECK(cuDeviceGet(&device, 0));
	WANT(cuDeviceGet(&device, count), CUDA_ERROR_INVALID_DEVICE);
	CHECK(cuDeviceGetName(name, sizeof(name), device));
	CHECK(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device));
	TRUE(value == 32);
	WANT(cuMemAlloc(&p, 4000), CUDA_ERROR_INVALID_CONTEXT);
	CHECK(cuDevicePrimaryCtxRetain(&context, device));
	CHECK(cuCtxSetCurrent(context));
	CHECK(cuCtxGetCurrent(&other));
	TRUE(other == context);
	CHECK(cuMemGetInfo(&free_bytes, &all));

	WANT(cuModuleLoadData(&module, "this is no PTX"), CUDA_ERROR_INVALID_PTX);
	CHECK(cuModuleLoadData(&module, ptx));
	CHECK(cuModuleGetFunction(&f, module, "scale"));
	CUfunction none;
	WANT(cuModuleGetFunction(&none, module, "nothing"), CUDA_ERROR_NOT_FOUND);
	CHECK(cuModuleGetGlobal(&g, &size, module, "factor"));
	TRUE(size == 4);
	CHECK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
	TRUE(value == 1024);

	CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	CHECK(cuEventCreate(&start, 0));
	CHECK(cuEventCreate(&stop, 0));
	CHECK(cuMemAlloc(&p, sizeof(v)));
	for (unsigned i = 0; i < n; i++)
		v[i] = i + 1;
	CHECK(cuEventRecord(start, stream));
	CHECK(cuMemcpyHtoDAsync(p, v, sizeof(v), stream));
	void *args[] = {&p, &n};
	CHECK(cuLaunchKernel(f, 8, 1, 1, 128, 1, 1, 0, stream, args, NULL));
	CHECK(cuMemcpyHtoDAsync(g, &six, 4, stream));
	/* The parameters as one block */
	struct {
		CUdeviceptr p;
		unsigned n;
	} block = {p, n};
	size_t bytes = 12;
	void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &block, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
	CHECK(cuLaunchKernel(f, 8, 1, 1, 128, 1, 1, 0, stream, NULL, extra));
	CHECK(cuEventRecord(stop, stream));
	CHECK(cuStreamSynchronize(stream));
	CHECK(cuEventElapsedTime(&ms, start, stop));
	CHECK(cuMemcpyDtoH(v, p, sizeof(v)));
	for (unsigned i = 0; i < n; i++)
		TRUE(v[i] == (i + 1) * 18);
	WANT(cuLaunchKernel(f, 0, 1, 1, 128, 1, 1, 0, stream, args, NULL), (CUresult)9);
	WANT(cuMemcpyHtoD(p, v, sizeof(v) * 1000), CUDA_ERROR_INVALID_VALUE);

	/* The runtime knows that memory, and its stream is the driver's. */
	TRUE(cudaMalloc(&sum, 4) == cudaSuccess && cudaMemset(sum, 0, 4) == cudaSuccess);
	for (unsigned i = 0; i < n; i++)
		v[i] /= 18;
	CHECK(cuMemcpyHtoD(p, v, sizeof(v)));
	add<<<8, 128, 0, stream>>>((unsigned *)p, n, sum);
	TRUE(cudaStreamSynchronize(stream) == cudaSuccess);
	CHECK(cuMemcpyDtoH(&got, (CUdeviceptr)sum, 4));

	CHECK(cuGetProcAddress("cuMemAlloc", &proc, 12000, 0, NULL));
	TRUE(proc);
	CUdriverProcAddressQueryResult found;
	WANT(cuGetProcAddress("cuNoSuchThing", &proc, 12000, 0, &found), CUDA_ERROR_NOT_FOUND);
	CHECK(cuMemFree(p));
	WANT(cuMemFree(p), CUDA_ERROR_INVALID_VALUE);
	CHECK(cuModuleUnload(module));
	CHECK(cuStreamDestroy(stream));
	CHECK(cuDevicePrimaryCtxRelease(device));
	printf("done %u\n", got);
	return 0;
}
