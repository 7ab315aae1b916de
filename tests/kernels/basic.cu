/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels as programs have them: memory, barriers, shared memory, warps, atomics. */
#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void vadd(const float *a, const float *b, float *c, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n)
		c[i] = a[i] + b[i];
}

extern "C" __global__ void saxpy(float alpha, const float4 *x, float4 *y, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	if (i < n) {
		float4 u = x[i], v = y[i];

		v.x += alpha * u.x;
		v.y += alpha * u.y;
		v.z += alpha * u.z;
		v.w += alpha * u.w;
		y[i] = v;
	}
}

extern "C" __global__ void reduce(const int *in, int *out, int n)
{
	extern __shared__ int s[];
	int i = blockIdx.x * blockDim.x + threadIdx.x;

	s[threadIdx.x] = i < n ? in[i] : 0;
	__syncthreads();
	for (int k = blockDim.x / 2; k > 0; k /= 2) {
		if (threadIdx.x < k)
			s[threadIdx.x] += s[threadIdx.x + k];
		__syncthreads();
	}
	if (threadIdx.x == 0)
		out[blockIdx.x] = s[0];
}

#define TILE 16
extern "C" __global__ void matmul(const float *a, const float *b, float *c, int n)
{
	__shared__ float as[TILE][TILE], bs[TILE][TILE];
	int row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
	float sum = 0;

	for (int t = 0; t < n / TILE; t++) {
		as[threadIdx.y][threadIdx.x] = a[row * n + t * TILE + threadIdx.x];
		bs[threadIdx.y][threadIdx.x] = b[(t * TILE + threadIdx.y) * n + col];
		__syncthreads();
		for (int k = 0; k < TILE; k++)
			sum += as[threadIdx.y][k] * bs[k][threadIdx.x];
		__syncthreads();
	}
	c[row * n + col] = sum;
}

extern "C" __global__ void softmax(const float *in, float *out, int n)
{
	__shared__ float part[32];
	const float *x = in + blockIdx.x * n;
	float most = -1e30f, sum = 0;
	int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;

	for (int i = threadIdx.x; i < n; i += blockDim.x)
		most = fmaxf(most, x[i]);
	for (int k = 16; k; k /= 2)
		most = fmaxf(most, __shfl_xor_sync(~0u, most, k));
	if (lane == 0)
		part[warp] = most;
	__syncthreads();
	for (int k = 0; k < blockDim.x / 32; k++)
		most = fmaxf(most, part[k]);
	__syncthreads();
	for (int i = threadIdx.x; i < n; i += blockDim.x)
		sum += expf(x[i] - most);
	for (int k = 16; k; k /= 2)
		sum += __shfl_xor_sync(~0u, sum, k);
	if (lane == 0)
		part[warp] = sum;
	__syncthreads();
	sum = 0;
	for (int k = 0; k < blockDim.x / 32; k++)
		sum += part[k];
	for (int i = threadIdx.x; i < n; i += blockDim.x)
		out[blockIdx.x * n + i] = expf(x[i] - most) / sum;
}

extern "C" __global__ void nbody(const float4 *p, float4 *force, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	float4 me = p[i];
	float x = 0, y = 0, z = 0;

	for (int k = 0; k < n; k++) {
		float4 q = p[k];
		float dx = q.x - me.x, dy = q.y - me.y, dz = q.z - me.z;
		float inv = rsqrtf(dx * dx + dy * dy + dz * dz + 1e-3f);
		float f = q.w * inv * inv * inv;

		x += f * dx;
		y += f * dy;
		z += f * dz;
	}
	force[i] = make_float4(x, y, z, 0);
}

extern "C" __global__ void histogram(const unsigned char *in, unsigned *bins, int n)
{
	__shared__ unsigned s[256];

	for (int i = threadIdx.x; i < 256; i += blockDim.x)
		s[i] = 0;
	__syncthreads();
	for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
		atomicAdd(&s[in[i]], 1);
	__syncthreads();
	for (int i = threadIdx.x; i < 256; i += blockDim.x)
		atomicAdd(&bins[i], s[i]);
}

extern "C" __global__ void transpose(const int *in, int *out, int w, int h)
{
	__shared__ int t[32][33];
	int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;

	for (int k = 0; k < 32; k += 8)
		if (x < w && y + k < h)
			t[threadIdx.y + k][threadIdx.x] = in[(y + k) * w + x];
	__syncthreads();
	x = blockIdx.y * 32 + threadIdx.x;
	y = blockIdx.x * 32 + threadIdx.y;
	for (int k = 0; k < 32; k += 8)
		if (x < h && y + k < w)
			out[(y + k) * h + x] = t[threadIdx.x][threadIdx.y + k];
}

/* Branches in branches in loops with breaks, differently for each lane. */
extern "C" __global__ void diverge(const int *in, int *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x, v, steps = 0;

	if (i >= n)
		return;
	v = in[i];
	while (v != 1) {
		if (v & 1) {
			v = 3 * v + 1;
			if (v % 5 == 0)
				steps += 2;
			else if (v % 7 == 0)
				continue;
		} else {
			v /= 2;
		}
		if (++steps > 300)
			break;
		for (int k = 0; k < (v & 3); k++)
			if (k * v % 3 == 1)
				steps++;
	}
	out[i] = steps;
}

extern "C" __global__ void switches(const int *in, int *out, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x, r = 0;

	if (i >= n)
		return;
	switch (in[i] & 15) {
	case 0: r = in[i] * 3; break;
	case 1: r = in[i] + 77; break;
	case 2: r = in[i] ^ 0x5555;
	case 3: r += 9; break;
	case 4: r = in[i] << 3; break;
	case 5: r = -in[i]; break;
	case 7: r = in[i] / 7; break;
	case 8: r = in[i] % 11; break;
	case 9: r = ~in[i]; break;
	case 12: r = in[i] | 64; break;
	default: r = 1;
	}
	out[i] = r;
}

/* A lock that lanes of one warp take from each other. */
extern "C" __global__ void spinlock(int *lock, int *counter)
{
	bool done = false;

	while (!done) {
		if (atomicCAS(lock, 0, 1) == 0) {
			*(volatile int *)counter = *(volatile int *)counter + 1;
			__threadfence();
			atomicExch(lock, 0);
			done = true;
		}
	}
}

extern "C" __global__ void scan(const int *in, int *out)
{
	__shared__ int part[32];
	int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, v = in[threadIdx.x];

	for (int k = 1; k < 32; k *= 2) {
		int u = __shfl_up_sync(~0u, v, k);

		if (lane >= k)
			v += u;
	}
	if (lane == 31)
		part[warp] = v;
	__syncthreads();
	if (warp == 0) {
		int p = part[lane];

		for (int k = 1; k < 32; k *= 2) {
			int u = __shfl_up_sync(~0u, p, k);

			if (lane >= k)
				p += u;
		}
		part[lane] = p;
	}
	__syncthreads();
	out[threadIdx.x] = v + (warp ? part[warp - 1] : 0);
}

extern "C" __global__ void votes(const int *in, unsigned *out)
{
	int v = in[threadIdx.x];
	unsigned r = __ballot_sync(~0u, v & 1);
	int all;

	r ^= __match_any_sync(~0u, v & 3) * 3;
	r += __match_all_sync(~0u, v & 1, &all) + all;
	r += __any_sync(~0u, v > 90) * 5 + __all_sync(~0u, v >= 0) * 7;
	if (v & 2)
		r += __activemask();
	out[threadIdx.x] = r;
}

extern "C" __global__ void tiles(const int *in, int *out)
{
	auto tile = cg::tiled_partition<8>(cg::this_thread_block());
	int v = in[threadIdx.x];

	for (int k = tile.size() / 2; k; k /= 2)
		v += tile.shfl_down(v, k);
	if (tile.thread_rank() == 0)
		out[threadIdx.x / 8] = v;
	if (threadIdx.x % 3 == 0) {
		auto g = cg::coalesced_threads();

		out[64 + threadIdx.x] = g.thread_rank() * 100 + g.size();
	}
}

extern "C" __global__ void barriers(int *out)
{
	int n = __syncthreads_count(threadIdx.x % 3 == 0);

	n = n * 4 + __syncthreads_and(threadIdx.x < 1000) * 2 + __syncthreads_or(threadIdx.x == 77);
	if (threadIdx.x < 64)
		asm volatile("bar.sync 1, 64;" ::: "memory");
	else
		asm volatile("bar.sync 2, %0;" ::"r"((int)blockDim.x - 64) : "memory");
	out[threadIdx.x] = n;
}

/* The first half makes, the second takes. */
extern "C" __global__ void produce(int *out, int n)
{
	__shared__ int slot[128];
	int sum = 0, half = threadIdx.x < 128;

	for (int k = 0; k < n; k++) {
		if (half) {
			slot[threadIdx.x] = k * 1000 + threadIdx.x;
			asm volatile("bar.arrive 3, 256;" ::: "memory");
			asm volatile("bar.sync 4, 256;" ::: "memory");
		} else {
			asm volatile("bar.sync 3, 256;" ::: "memory");
			sum += slot[(threadIdx.x + k) & 127];
			asm volatile("bar.arrive 4, 256;" ::: "memory");
		}
	}
	out[threadIdx.x] = sum;
}

extern "C" __global__ void grid_sum(int *data, int *out, int rounds)
{
	cg::grid_group g = cg::this_grid();
	int i = g.thread_rank(), n = g.size();

	for (int k = 0; k < rounds; k++) {
		int v = data[(i + 1) % n];

		g.sync();
		data[i] += v;
		g.sync();
	}
	out[i] = data[i];
}
