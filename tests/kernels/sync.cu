// SPDX-License-Identifier: Apache-2.0
/* Barriers in shared memory, copies that tell them, and what came late. nvcc -ptx -arch=sm_90. */
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_fp16.h>

namespace cg = cooperative_groups;
typedef cuda::barrier<cuda::thread_scope_block> barrier;

/* Half of the warps make numbers, half add them, by two barriers in turn. */
extern "C" __global__ void hand_over(int *out, int rounds)
{
	__shared__ barrier full, empty;
	__shared__ int box[64];
	int half = (int)blockDim.x / 2, t = (int)threadIdx.x, sum = 0;

	if (t == 0) {
		init(&full, blockDim.x);
		init(&empty, blockDim.x);
	}
	__syncthreads();
	for (int k = 0; k < rounds; k++) {
		if (t < half) {
			box[t] = t * k + 1;
			(void)full.arrive();
		} else {
			full.wait(full.arrive());
			sum += box[(t + k) % half];
		}
		if (t < half)
			empty.wait(empty.arrive());
		else
			(void)empty.arrive();
	}
	if (t >= half)
		out[blockIdx.x * half + t - half] = sum;
}

/* Threads leave one after the other; who stays goes on with those who are left. */
extern "C" __global__ void dropping(int *out)
{
	__shared__ barrier bar;
	__shared__ int steps;

	if (threadIdx.x == 0) {
		init(&bar, blockDim.x);
		steps = 0;
	}
	__syncthreads();
	for (int k = 0; k < (int)threadIdx.x; k++) {
		bar.arrive_and_wait();
		atomicAdd(&steps, 1);
	}
	bar.arrive_and_drop();
	__syncthreads();
	out[threadIdx.x] = steps;
}

/* Bulk copies of whole blocks, whose bytes a barrier counts. */
extern "C" __global__ void bulk(const int *in, int *out, int rounds)
{
	__shared__ alignas(16) int stage[256];
	__shared__ barrier bar;

	if (threadIdx.x == 0)
		init(&bar, blockDim.x);
	__syncthreads();
	for (int k = 0; k < rounds; k++) {
		barrier::arrival_token token;

		if (threadIdx.x == 0) {
			cuda::device::memcpy_async_tx(stage, in + k * 256, cuda::aligned_size_t<16>(sizeof(stage)), bar);
			token = cuda::device::barrier_arrive_tx(bar, 1, sizeof(stage));
		} else {
			token = bar.arrive();
		}
		bar.wait(std::move(token));
		for (int n = (int)threadIdx.x; n < 256; n += (int)blockDim.x)
			stage[n] = stage[n] * 2 + k;
		__syncthreads();
		if (threadIdx.x == 0) {
			asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(out + k * 256),
				     "r"((unsigned)__cvta_generic_to_shared(stage)), "r"(1024) : "memory");
			asm volatile("cp.async.bulk.commit_group;\n\tcp.async.bulk.wait_group.read 0;" ::: "memory");
		}
		__syncthreads();
	}
}

/* A pipeline of two stages. */
extern "C" __global__ void piped(const int *in, int *out, int rounds)
{
	__shared__ int stage[2][64];
	__shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
	auto block = cg::this_thread_block();
	auto pipe = cuda::make_pipeline(block, &state);
	int sum = 0;

	for (int k = 0; k <= rounds; k++) {
		if (k < rounds) {
			pipe.producer_acquire();
			cuda::memcpy_async(block, stage[k % 2], in + k * 64, cuda::aligned_size_t<16>(256), pipe);
			pipe.producer_commit();
		}
		if (k > 0) {
			pipe.consumer_wait();
			sum += stage[(k - 1) % 2][(threadIdx.x + k) % 64];
			pipe.consumer_release();
		}
	}
	out[threadIdx.x] = sum;
}

/* More come than it waits for. */
extern "C" __global__ void too_many(int *out)
{
	__shared__ barrier bar;

	if (threadIdx.x == 0)
		init(&bar, 3);
	__syncthreads();
	(void)bar.arrive(4);
	out[0] = 1;
}

extern "C" __global__ void late_ones(const int *a, const int *b, int *out)
{
	int t = (int)threadIdx.x, v, x = a[t], y = b[t];

	asm("min.s32.relu %0, %1, %2;" : "=r"(v) : "r"(x), "r"(y));
	out[t] = v;
	asm("max.s32.relu %0, %1, %2;" : "=r"(v) : "r"(x), "r"(y));
	out[t + 32] = v;
	asm("max.s16x2.relu %0, %1, %2;" : "=r"(v) : "r"(x), "r"(y));
	out[t + 64] = v;
	asm("vabsdiff4.u32.u32.u32 %0, %1, %2, %3;" : "=r"(v) : "r"(x), "r"(y), "r"(0));
	out[t + 96] = v;
	asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(v) : "r"(x), "r"(y), "r"(t));
	out[t + 128] = v;
}
