// SPDX-License-Identifier: Apache-2.0
/*
 * CUB: device-wide reduce, scan, radix sort, histogram, select, run-length encoding; block-wide sort, scan and
 * reduction in a kernel of one's own; warp-wide reduction.
 *
 * nvcc: --extended-lambda
 * slow: to compile
 * prints: cub: all as expected
 */
#include <cub/cub.cuh>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

#include "check.h"

static int failures;


__global__ void block_ops(const int *in, int *sorted, int *scanned, int *sums)
{
	typedef cub::BlockRadixSort<int, 128, 4> Sort;
	typedef cub::BlockScan<int, 128> Scan;
	typedef cub::BlockReduce<int, 128> Reduce;
	typedef cub::BlockLoad<int, 128, 4, cub::BLOCK_LOAD_TRANSPOSE> Load;
	typedef cub::BlockStore<int, 128, 4, cub::BLOCK_STORE_WARP_TRANSPOSE> Store;
	__shared__ union {
		typename Sort::TempStorage sort;
		typename Scan::TempStorage scan;
		typename Reduce::TempStorage reduce;
		typename Load::TempStorage load;
		typename Store::TempStorage store;
	} temp;
	int items[4], copy[4], total;

	Load(temp.load).Load(in + blockIdx.x * 512, items);
	__syncthreads();
	int sum = Reduce(temp.reduce).Sum(items);
	if (threadIdx.x == 0)
		sums[blockIdx.x] = sum;
	__syncthreads();
	Sort(temp.sort).Sort(items);
	__syncthreads();
	for (int k = 0; k < 4; k++)
		copy[k] = items[k];
	Store(temp.store).Store(sorted + blockIdx.x * 512, copy); // changes it
	__syncthreads();
	Scan(temp.scan).ExclusiveSum(items, items, total);
	__syncthreads();
	Store(temp.store).Store(scanned + blockIdx.x * 512, items);
}

__global__ void warp_ops(const float *in, float *out)
{
	typedef cub::WarpReduce<float> Reduce;
	__shared__ typename Reduce::TempStorage temp[4];
	float x = in[blockIdx.x * blockDim.x + threadIdx.x];
	float most = Reduce(temp[threadIdx.x / 32]).Reduce(x, cuda::maximum<>());

	if (threadIdx.x % 32 == 0)
		out[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = most;
}

int main()
{
	const int n = 8192;
	std::vector<int> h(n), out(n), want(n);
	int *a, *b, *c, *count;
	void *temp = NULL;
	size_t bytes = 0, most = 0;
	unsigned state = 99;

	for (int &x : h) {
		state = state * 1664525u + 1013904223u;
		x = (int)(state >> 12) - (1 << 19);
	}
	CUDA(cudaMalloc(&a, n * sizeof(int)));
	CUDA(cudaMalloc(&b, n * sizeof(int)));
	CUDA(cudaMalloc(&c, n * sizeof(int)));
	CUDA(cudaMalloc(&count, sizeof(int)));
	CUDA(cudaMemcpy(a, h.data(), n * sizeof(int), cudaMemcpyHostToDevice));
	CUDA(cub::DeviceReduce::Sum(NULL, bytes, a, b, n));
	most = std::max(most, bytes);
	CUDA(cub::DeviceScan::InclusiveSum(NULL, bytes, a, b, n));
	most = std::max(most, bytes);
	CUDA(cub::DeviceRadixSort::SortPairs(NULL, bytes, a, b, a, c, n));
	most = std::max(most, bytes);
	CUDA(cudaMalloc(&temp, most + (1 << 20)));
	bytes = most + (1 << 20);

	CUDA(cub::DeviceReduce::Sum(temp, bytes, a, b, n));
	CUDA(cudaMemcpy(out.data(), b, sizeof(int), cudaMemcpyDeviceToHost));
	CHECK(out[0] == std::accumulate(h.begin(), h.end(), 0));
	CUDA(cub::DeviceReduce::Min(temp, bytes, a, b, n));
	CUDA(cudaMemcpy(out.data(), b, sizeof(int), cudaMemcpyDeviceToHost));
	CHECK(out[0] == *std::min_element(h.begin(), h.end()));
	CUDA(cub::DeviceScan::InclusiveSum(temp, bytes, a, b, n));
	CUDA(cudaMemcpy(out.data(), b, n * sizeof(int), cudaMemcpyDeviceToHost));
	std::partial_sum(h.begin(), h.end(), want.begin());
	CHECK(out == want);

	std::vector<int> index(n);
	std::iota(index.begin(), index.end(), 0);
	int *values;
	CUDA(cudaMalloc(&values, n * sizeof(int)));
	CUDA(cudaMemcpy(values, index.data(), n * sizeof(int), cudaMemcpyHostToDevice));
	CUDA(cub::DeviceRadixSort::SortPairs(temp, bytes, a, b, values, c, n));
	CUDA(cudaMemcpy(out.data(), c, n * sizeof(int), cudaMemcpyDeviceToHost));
	std::stable_sort(index.begin(), index.end(), [&](int x, int y) { return h[x] < h[y]; });
	CHECK(out == index);

	// histogram of the low bits
	CUDA(cub::DeviceHistogram::HistogramEven(temp, bytes, a, b, 17, -(1 << 19), 1 << 19, n));
	CUDA(cudaMemcpy(out.data(), b, 16 * sizeof(int), cudaMemcpyDeviceToHost));
	std::vector<int> bins(16);
	for (int x : h)
		bins[(x + (1 << 19)) >> 16]++;
	CHECK(std::equal(bins.begin(), bins.end(), out.begin()));

	// what is positive, in order
	CUDA(cub::DeviceSelect::If(temp, bytes, a, b, count, n, [] __host__ __device__ (int x) { return x > 0; }));
	int kept;
	CUDA(cudaMemcpy(&kept, count, sizeof(kept), cudaMemcpyDeviceToHost));
	CHECK(kept == std::count_if(h.begin(), h.end(), [](int x) { return x > 0; }));

	std::vector<int> runs(n);
	for (int k = 0; k < n; k++)
		runs[k] = k * k / 40000;
	CUDA(cudaMemcpy(a, runs.data(), n * sizeof(int), cudaMemcpyHostToDevice));
	CUDA(cub::DeviceRunLengthEncode::Encode(temp, bytes, a, b, c, count, n));
	CUDA(cudaMemcpy(&kept, count, sizeof(kept), cudaMemcpyDeviceToHost));
	CHECK(kept == runs[n - 1] + 1);
	CUDA(cudaMemcpy(out.data(), c, n * sizeof(int), cudaMemcpyDeviceToHost));
	CHECK(out[3] == std::count(runs.begin(), runs.end(), 3));

	// blocks
	int *sums;
	CUDA(cudaMalloc(&sums, 16 * sizeof(int)));
	CUDA(cudaMemcpy(a, h.data(), n * sizeof(int), cudaMemcpyHostToDevice));
	block_ops<<<n / 512, 128>>>(a, b, c, sums);
	CUDA(cudaGetLastError());
	CUDA(cudaMemcpy(out.data(), b, n * sizeof(int), cudaMemcpyDeviceToHost));
	for (int k = 0; k < n; k += 512) {
		std::vector<int> part(h.begin() + k, h.begin() + k + 512);
		std::sort(part.begin(), part.end());
		CHECK(std::equal(part.begin(), part.end(), out.begin() + k));
	}
	CUDA(cudaMemcpy(want.data(), c, n * sizeof(int), cudaMemcpyDeviceToHost));
	CHECK(want[512 + 5] == std::accumulate(out.begin() + 512, out.begin() + 517, 0));
	CUDA(cudaMemcpy(bins.data(), sums, 16 * sizeof(int), cudaMemcpyDeviceToHost));
	CHECK(bins[2] == std::accumulate(h.begin() + 1024, h.begin() + 1536, 0));

	std::vector<float> f(1024), fout(32);
	for (int k = 0; k < 1024; k++)
		f[k] = (float)h[k];
	float *fa, *fb;
	CUDA(cudaMalloc(&fa, 1024 * sizeof(float)));
	CUDA(cudaMalloc(&fb, 32 * sizeof(float)));
	CUDA(cudaMemcpy(fa, f.data(), 1024 * sizeof(float), cudaMemcpyHostToDevice));
	warp_ops<<<8, 128>>>(fa, fb);
	CUDA(cudaMemcpy(fout.data(), fb, 32 * sizeof(float), cudaMemcpyDeviceToHost));
	for (int k = 0; k < 32; k++)
		CHECK(fout[k] == *std::max_element(f.begin() + 32 * k, f.begin() + 32 * k + 32));
	if (!failures)
		printf("cub: all as expected\n");
	return failures != 0;
}
