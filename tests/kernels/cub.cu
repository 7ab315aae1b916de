// SPDX-License-Identifier: Apache-2.0
/*
 * CUB inside kernels: sort, scan and reduction of a block, reduction of a warp. Compiled by
 * nvcc -ptx -arch=sm_80; the text beside it is what the tests run.
 */
#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>

extern "C" __global__ void cub_block(const int *in, int *sorted, int *scanned, int *sums)
{
	typedef cub::BlockRadixSort<int, 64, 2> Sort;
	typedef cub::BlockScan<int, 64> Scan;
	typedef cub::BlockReduce<int, 64> Reduce;
	__shared__ union {
		typename Sort::TempStorage sort;
		typename Scan::TempStorage scan;
		typename Reduce::TempStorage reduce;
	} temp;
	int items[2], total, at = (int)(blockIdx.x * 128 + threadIdx.x * 2);

	items[0] = in[at];
	items[1] = in[at + 1];
	int sum = Reduce(temp.reduce).Sum(items);
	if (threadIdx.x == 0)
		sums[blockIdx.x] = sum;
	__syncthreads();
	Sort(temp.sort).Sort(items);
	__syncthreads();
	sorted[at] = items[0];
	sorted[at + 1] = items[1];
	Scan(temp.scan).ExclusiveSum(items, items, total);
	scanned[at] = items[0];
	scanned[at + 1] = items[1];
}
