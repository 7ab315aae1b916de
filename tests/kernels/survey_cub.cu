// SPDX-License-Identifier: Apache-2.0
/*
 * The algorithms of CUB and Thrust over several types, so that the compiler shows which instructions it makes of
 * them. Nothing of this is run: opcodes.py takes instructions from its PTX.
 */
#include <cub/cub.cuh>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <thrust/device_ptr.h>
#include <thrust/execution_policy.h>
#include <thrust/adjacent_difference.h>
#include <thrust/binary_search.h>
#include <thrust/extrema.h>
#include <thrust/inner_product.h>
#include <thrust/merge.h>
#include <thrust/partition.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/set_operations.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/unique.h>

template <typename T> void numbers(T *a, T *b, int *n, cudaStream_t s)
{
	size_t bytes = 0;
	cub::DoubleBuffer<T> keys(a, b);

	cub::DeviceReduce::Sum(nullptr, bytes, a, b, 100, s);
	cub::DeviceReduce::Min(nullptr, bytes, a, b, 100, s);
	cub::DeviceScan::InclusiveSum(nullptr, bytes, a, b, 100, s);
	cub::DeviceRadixSort::SortKeys(nullptr, bytes, keys, 100, 0, (int)sizeof(T) * 8, s);
	cub::DeviceRadixSort::SortPairs(nullptr, bytes, a, b, n, n + 100, 100, 0, (int)sizeof(T) * 8, s);
	cub::DeviceSelect::Unique(nullptr, bytes, a, b, n, 100, s);
	cub::DeviceRunLengthEncode::Encode(nullptr, bytes, a, b, n, n + 100, 100, s);
	cub::DeviceReduce::ReduceByKey(nullptr, bytes, n, n + 100, a, b, n + 200, cuda::std::plus<>{}, 100, s);
	cub::DeviceSegmentedReduce::Sum(nullptr, bytes, a, b, 10, n, n + 1, s);
	cub::DeviceTransform::Transform(a, b, 100, [] __device__(T x) { return x + x; }, s);
}

struct less_of {
	template <typename T> __device__ bool operator()(T a, T b) const { return a < b; }
};

void once(int *a, int *b, int *n, float *f, unsigned char *c, cudaStream_t s)
{
	size_t bytes = 0;
	thrust::device_ptr<int> i(a), o(b);

	cub::DeviceReduce::ArgMin(nullptr, bytes, f, f + 1, (long *)b, 100, s);
	cub::DeviceHistogram::HistogramEven(nullptr, bytes, c, n, 257, 0, 256, 100, s);
	cub::DeviceHistogram::HistogramRange(nullptr, bytes, f, n, 10, f, 100, s);
	cub::DeviceMergeSort::SortKeys(nullptr, bytes, a, 100, less_of{}, s);
	cub::DeviceMerge::MergeKeys(nullptr, bytes, a, 10, b, 10, n, less_of{}, s);
	cub::DevicePartition::Flagged(nullptr, bytes, a, c, b, n, 100, s);
	cub::DeviceSelect::If(nullptr, bytes, a, b, n, 100, [] __device__(int x) { return x > 3; }, s);
	cub::DeviceSegmentedSort::SortKeys(nullptr, bytes, a, b, 100, 10, n, n + 1, s);
	cub::DeviceSegmentedRadixSort::SortKeys(nullptr, bytes, a, b, 100, 10, n, n + 1, 0, 32, s);
	cub::DeviceAdjacentDifference::SubtractLeft(nullptr, bytes, a, 100, cuda::std::minus<>{}, s);
	cub::DeviceFor::Bulk(100, [=] __device__(int k) { b[k] = a[k]; }, s);
	cub::DeviceMemcpy::Batched(nullptr, bytes, (void **)a, (void **)b, n, 10, s);
	cub::DeviceScan::ExclusiveSumByKey(nullptr, bytes, a, f, f, 100, cuda::std::equal_to<>{}, s);
	thrust::sort(i, i + 100);
	thrust::stable_sort_by_key(i, i + 100, o);
	thrust::merge(i, i + 10, o, o + 10, thrust::device_ptr<int>(n));
	thrust::set_intersection(i, i + 10, o, o + 10, thrust::device_ptr<int>(n));
	thrust::lower_bound(i, i + 100, o, o + 10, thrust::device_ptr<int>(n));
	thrust::inner_product(i, i + 100, o, 0);
	thrust::minmax_element(i, i + 100);
	thrust::partition(i, i + 100, [] __device__(int x) { return x > 1; });
	thrust::unique_by_key(i, i + 100, o);
	thrust::adjacent_difference(i, i + 100, o);
}

template void numbers<int>(int *, int *, int *, cudaStream_t);
template void numbers<unsigned long long>(unsigned long long *, unsigned long long *, int *, cudaStream_t);
template void numbers<float>(float *, float *, int *, cudaStream_t);
template void numbers<double>(double *, double *, int *, cudaStream_t);
template void numbers<short>(short *, short *, int *, cudaStream_t);
template void numbers<unsigned char>(unsigned char *, unsigned char *, int *, cudaStream_t);
template void numbers<__half>(__half *, __half *, int *, cudaStream_t);
