// SPDX-License-Identifier: Apache-2.0
/*
 * Cooperative groups: a grid that synchronizes, tiles of a warp, coalesced groups, partitions, group reductions.
 *
 * nvcc: -arch=sm_80
 * prints: cooperative: all as expected
 */
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cstdio>
#include <vector>

#include "check.h"

namespace cg = cooperative_groups;


/* Jacobi's method in one kernel: each step needs what all blocks did in the one before. */
__global__ void jacobi(float *a, float *b, int n, int steps)
{
	cg::grid_group grid = cg::this_grid();

	for (int s = 0; s < steps; s++) {
		for (int k = (int)grid.thread_rank(); k < n; k += (int)grid.size()) {
			float l = k ? a[k - 1] : 0.0f, r = k + 1 < n ? a[k + 1] : 1.0f;
			b[k] = 0.5f * (l + r);
		}
		grid.sync();
		float *t = a;
		a = b;
		b = t;
	}
}

__global__ void tiles(const int *in, int *sums, int *scans, int *groups)
{
	cg::thread_block block = cg::this_thread_block();
	cg::thread_block_tile<8> tile = cg::tiled_partition<8>(block);
	cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x), x = in[i];

	sums[i] = cg::reduce(tile, x, cg::plus<int>());
	scans[i] = cg::inclusive_scan(warp, x, cg::plus<int>());
	if (x & 1) {
		cg::coalesced_group g = cg::coalesced_threads();

		groups[i] = (int)(g.size() * 100 + g.thread_rank());
	} else {
		groups[i] = -1;
	}
	block.sync();
	auto parts = cg::labeled_partition(warp, x % 3);
	atomicAdd(&sums[i], (int)parts.size() * 1000000);
}

int main()
{
	int failures = 0, device = 0, cooperative = 0, blocks = 0, n = 1000, steps = 50;
	float *a, *b;

	CUDA(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, device));
	CHECK(cooperative == 1);
	CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, jacobi, 64, 0));
	CHECK(blocks > 0);
	CUDA(cudaMalloc(&a, n * sizeof(float)));
	CUDA(cudaMalloc(&b, n * sizeof(float)));
	CUDA(cudaMemset(a, 0, n * sizeof(float)));
	void *args[] = {&a, &b, &n, &steps};
	CUDA(cudaLaunchCooperativeKernel((void *)jacobi, dim3(4), dim3(64), args, 0, 0));
	std::vector<float> got(n), x(n), y(n);
	CUDA(cudaMemcpy(got.data(), a, n * sizeof(float), cudaMemcpyDeviceToHost));
	for (int s = 0; s < steps; s++) {
		for (int k = 0; k < n; k++)
			y[k] = 0.5f * ((k ? x[k - 1] : 0.0f) + (k + 1 < n ? x[k + 1] : 1.0f));
		x.swap(y);
	}
	CHECK(got == x);
	/* more than fit at once is refused */
	CHECK(cudaLaunchCooperativeKernel((void *)jacobi, dim3(1000000), dim3(64), args, 0, 0) ==
	      cudaErrorCooperativeLaunchTooLarge);
	(void)cudaGetLastError();

	const int m = 256;
	std::vector<int> in(m), sums(m), scans(m), groups(m);
	int *d[4];
	for (int k = 0; k < m; k++)
		in[k] = (k * 7919) % 101;
	for (int **p : {&d[0], &d[1], &d[2], &d[3]})
		CUDA(cudaMalloc(p, m * sizeof(int)));
	CUDA(cudaMemcpy(d[0], in.data(), m * sizeof(int), cudaMemcpyHostToDevice));
	tiles<<<2, 128>>>(d[0], d[1], d[2], d[3]);
	CUDA(cudaGetLastError());
	CUDA(cudaMemcpy(sums.data(), d[1], m * sizeof(int), cudaMemcpyDeviceToHost));
	CUDA(cudaMemcpy(scans.data(), d[2], m * sizeof(int), cudaMemcpyDeviceToHost));
	CUDA(cudaMemcpy(groups.data(), d[3], m * sizeof(int), cudaMemcpyDeviceToHost));
	for (int k = 0; k < m; k++) {
		int sum = 0, scan = 0, odd = 0, before = 0, same = 0;

		for (int j = k / 8 * 8; j < k / 8 * 8 + 8; j++)
			sum += in[j];
		for (int j = k / 32 * 32; j < k / 32 * 32 + 32; j++) {
			scan += j <= k ? in[j] : 0;
			odd += in[j] & 1;
			before += j < k ? in[j] & 1 : 0;
			same += in[j] % 3 == in[k] % 3;
		}
		CHECK(sums[k] == sum + same * 1000000);
		CHECK(scans[k] == scan);
		CHECK(groups[k] == (in[k] & 1 ? odd * 100 + before : -1));
	}
	if (!failures)
		printf("cooperative: all as expected\n");
	return failures != 0;
}
