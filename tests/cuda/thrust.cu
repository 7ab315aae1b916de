// SPDX-License-Identifier: Apache-2.0
/*
 * Thrust: sort, sort by key, stable sort with an order of one's own, reduce, scan, transform, unique, and the like,
 * each against the C++ library's.
 *
 * nvcc: --extended-lambda
 * slow: to compile
 * prints: thrust: all as expected
 */
#include <thrust/adjacent_difference.h>
#include <thrust/binary_search.h>
#include <thrust/copy.h>
#include <thrust/count.h>
#include <thrust/device_vector.h>
#include <thrust/extrema.h>
#include <thrust/functional.h>
#include <thrust/host_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#include <thrust/unique.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

static int failures;

#define CHECK(what) \
	do { \
		if (!(what)) { \
			printf("line %d: %s\n", __LINE__, #what); \
			failures++; \
		} \
	} while (0)

struct pair {
	unsigned key, value;
};

struct by_low_bits {
	__host__ __device__ bool operator()(const pair &a, const pair &b) const
	{
		return (a.key & 0xff) < (b.key & 0xff);
	}
};

struct square {
	__host__ __device__ double operator()(float x) const
	{
		return (double)x * x;
	}
};

struct odd {
	__host__ __device__ bool operator()(unsigned x) const
	{
		return x & 1;
	}
};

int main()
{
	const unsigned n = 20011;
	unsigned state = 12345;
	std::vector<unsigned> h(n), hv(n);

	for (unsigned k = 0; k < n; k++) {
		state = state * 1664525u + 1013904223u;
		h[k] = state >> 8;
		hv[k] = k;
	}
	{ // radix sort of keys, up and down
		thrust::device_vector<unsigned> d(h.begin(), h.end());
		std::vector<unsigned> out(n), want(h);

		thrust::sort(d.begin(), d.end());
		thrust::copy(d.begin(), d.end(), out.begin());
		std::sort(want.begin(), want.end());
		CHECK(out == want);
		thrust::sort(d.begin(), d.end(), thrust::greater<unsigned>());
		thrust::copy(d.begin(), d.end(), out.begin());
		std::reverse(want.begin(), want.end());
		CHECK(out == want);
	}
	{ // by key, floats
		std::vector<float> f(n), fout(n);
		for (unsigned k = 0; k < n; k++)
			f[k] = (float)(int)(h[k] - 0x800000u) / 64.0f;
		thrust::device_vector<float> keys(f.begin(), f.end());
		thrust::device_vector<unsigned> values(hv.begin(), hv.end());
		std::vector<unsigned> vout(n), order(hv);

		thrust::sort_by_key(keys.begin(), keys.end(), values.begin());
		thrust::copy(keys.begin(), keys.end(), fout.begin());
		thrust::copy(values.begin(), values.end(), vout.begin());
		std::stable_sort(order.begin(), order.end(), [&](unsigned a, unsigned b) { return f[a] < f[b]; });
		for (unsigned k = 0; k < n; k++)
			if (fout[k] != f[order[k]] || f[vout[k]] != fout[k]) {
				CHECK(!"sort_by_key");
				break;
			}
	}
	{ // merge sort: an order of one's own
		std::vector<pair> p(n), out(n);
		for (unsigned k = 0; k < n; k++)
			p[k] = {h[k], k};
		thrust::device_vector<pair> d(p.begin(), p.end());

		thrust::stable_sort(d.begin(), d.end(), by_low_bits());
		thrust::copy(d.begin(), d.end(), out.begin());
		std::stable_sort(p.begin(), p.end(), by_low_bits());
		bool same = true;
		for (unsigned k = 0; k < n; k++)
			same = same && p[k].key == out[k].key && p[k].value == out[k].value;
		CHECK(same);
	}
	{ // reductions
		thrust::device_vector<unsigned> d(h.begin(), h.end());
		unsigned long long sum = thrust::reduce(d.begin(), d.end(), 0ull);
		CHECK(sum == std::accumulate(h.begin(), h.end(), 0ull));
		CHECK(*thrust::max_element(d.begin(), d.end()) == *std::max_element(h.begin(), h.end()));
		CHECK(thrust::min_element(d.begin(), d.end()) - d.begin() ==
		      std::min_element(h.begin(), h.end()) - h.begin());
		CHECK(thrust::count_if(d.begin(), d.end(), odd()) == std::count_if(h.begin(), h.end(), odd()));
		double norm = thrust::transform_reduce(thrust::make_counting_iterator(0), thrust::make_counting_iterator(1000),
						       square(), 0.0, thrust::plus<double>());
		CHECK(norm == 332833500.0);
	}
	{ // scans
		thrust::device_vector<unsigned> d(h.begin(), h.end()), e(n);
		std::vector<unsigned> out(n), want(n);

		thrust::inclusive_scan(d.begin(), d.end(), e.begin());
		thrust::copy(e.begin(), e.end(), out.begin());
		std::partial_sum(h.begin(), h.end(), want.begin());
		CHECK(out == want);
		thrust::exclusive_scan(d.begin(), d.end(), e.begin(), 7u);
		thrust::copy(e.begin(), e.end(), out.begin());
		for (unsigned k = n - 1; k; k--)
			want[k] = want[k - 1] + 7;
		want[0] = 7;
		CHECK(out == want);
		thrust::adjacent_difference(d.begin(), d.end(), e.begin());
		thrust::copy(e.begin(), e.end(), out.begin());
		std::adjacent_difference(h.begin(), h.end(), want.begin());
		CHECK(out == want);
	}
	{ // selection
		std::vector<unsigned> few(n);
		for (unsigned k = 0; k < n; k++)
			few[k] = h[k] % 50;
		std::sort(few.begin(), few.end());
		thrust::device_vector<unsigned> d(few.begin(), few.end()), keys(n), sums(n);
		auto end = thrust::reduce_by_key(d.begin(), d.end(), thrust::make_constant_iterator(1u), keys.begin(), sums.begin());
		CHECK(end.first - keys.begin() == 50);
		bool right = true;
		for (unsigned k = 0; k < 50; k++)
			right = right && sums[k] == (unsigned)std::count(few.begin(), few.end(), (unsigned)keys[k]);
		CHECK(right);
		CHECK(thrust::lower_bound(d.begin(), d.end(), 25u) - d.begin() ==
		      std::lower_bound(few.begin(), few.end(), 25u) - few.begin());
		auto last = thrust::unique(d.begin(), d.end());
		CHECK(last - d.begin() == 50 && d[49] == 49);
		thrust::device_vector<unsigned> c(h.begin(), h.end()), kept(n);
		auto stop = thrust::copy_if(c.begin(), c.end(), kept.begin(), odd());
		std::vector<unsigned> want;
		std::copy_if(h.begin(), h.end(), std::back_inserter(want), odd());
		std::vector<unsigned> got(stop - kept.begin());
		thrust::copy(kept.begin(), stop, got.begin());
		CHECK(got == want);
	}
	if (!failures)
		printf("thrust: all as expected\n");
	return failures != 0;
}
