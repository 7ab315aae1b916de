// SPDX-License-Identifier: Apache-2.0
/*
 * Bodies that attract each other: positions in tiles of shared memory, in steps; the device's steps against the
 * host's, and the energy at the end.
 *
 * prints: nbody: all as expected
 */
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <vector>

#define CUDA(call) \
	do { \
		cudaError_t rc = (call); \
		if (rc) { \
			printf("line %d: %s: %s\n", __LINE__, #call, cudaGetErrorString(rc)); \
			return 1; \
		} \
	} while (0)

const int TILE = 64;
const float SOFT = 0.01f;

__global__ void forces(const float4 *position, float4 *acceleration, int n)
{
	__shared__ float4 tile[TILE];
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
	float4 me = position[i];
	float3 sum = {0, 0, 0};

	for (int t = 0; t < n; t += TILE) {
		tile[threadIdx.x] = position[t + (int)threadIdx.x];
		__syncthreads();
#pragma unroll 8
		for (int k = 0; k < TILE; k++) {
			float4 o = tile[k];
			float x = o.x - me.x, y = o.y - me.y, z = o.z - me.z;
			float d = x * x + y * y + z * z + SOFT;
			float r = rsqrtf(d), f = o.w * r * r * r;

			sum.x += f * x;
			sum.y += f * y;
			sum.z += f * z;
		}
		__syncthreads();
	}
	acceleration[i] = make_float4(sum.x, sum.y, sum.z, 0);
}

__global__ void move(float4 *position, float4 *speed, const float4 *acceleration, float dt)
{
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

	speed[i].x += acceleration[i].x * dt;
	speed[i].y += acceleration[i].y * dt;
	speed[i].z += acceleration[i].z * dt;
	position[i].x += speed[i].x * dt;
	position[i].y += speed[i].y * dt;
	position[i].z += speed[i].z * dt;
}

static void on_host(std::vector<float4> &p, std::vector<float4> &v, float dt)
{
	std::vector<float4> a(p.size());

	for (size_t i = 0; i < p.size(); i++) {
		double s[3] = {};
		for (const float4 &o : p) {
			double x = o.x - p[i].x, y = o.y - p[i].y, z = o.z - p[i].z, d = x * x + y * y + z * z + SOFT;
			double f = o.w / (d * sqrt(d));
			s[0] += f * x;
			s[1] += f * y;
			s[2] += f * z;
		}
		a[i] = make_float4((float)s[0], (float)s[1], (float)s[2], 0);
	}
	for (size_t i = 0; i < p.size(); i++) {
		v[i].x += a[i].x * dt;
		v[i].y += a[i].y * dt;
		v[i].z += a[i].z * dt;
		p[i].x += v[i].x * dt;
		p[i].y += v[i].y * dt;
		p[i].z += v[i].z * dt;
	}
}

int main()
{
	const int n = 256, steps = 10;
	const float dt = 0.01f;
	std::vector<float4> p(n), v(n), got(n);
	float4 *dp, *dv, *da;
	cudaEvent_t begin, end;
	float ms;

	for (int i = 0; i < n; i++) {
		p[i] = make_float4(sinf((float)i * 1.7f), cosf((float)i * 2.3f), sinf((float)i * 0.9f + 1), 1.0f / (float)n);
		v[i] = make_float4(0.1f * cosf((float)i), 0, -0.1f * sinf((float)i), 0);
	}
	CUDA(cudaMalloc(&dp, n * sizeof(float4)));
	CUDA(cudaMalloc(&dv, n * sizeof(float4)));
	CUDA(cudaMalloc(&da, n * sizeof(float4)));
	CUDA(cudaMemcpy(dp, p.data(), n * sizeof(float4), cudaMemcpyHostToDevice));
	CUDA(cudaMemcpy(dv, v.data(), n * sizeof(float4), cudaMemcpyHostToDevice));
	CUDA(cudaEventCreate(&begin));
	CUDA(cudaEventCreate(&end));
	CUDA(cudaEventRecord(begin));
	for (int s = 0; s < steps; s++) {
		forces<<<n / TILE, TILE>>>(dp, da, n);
		move<<<n / TILE, TILE>>>(dp, dv, da, dt);
	}
	CUDA(cudaEventRecord(end));
	CUDA(cudaEventSynchronize(end));
	CUDA(cudaEventElapsedTime(&ms, begin, end));
	CUDA(cudaMemcpy(got.data(), dp, n * sizeof(float4), cudaMemcpyDeviceToHost));
	for (int s = 0; s < steps; s++)
		on_host(p, v, dt);
	float worst = 0;
	for (int i = 0; i < n; i++)
		worst = fmaxf(worst, fmaxf(fabsf(got[i].x - p[i].x), fmaxf(fabsf(got[i].y - p[i].y), fabsf(got[i].z - p[i].z))));
	if (worst > 1e-4f || ms <= 0) {
		printf("off by %g, %g ms\n", worst, ms);
		return 1;
	}
	printf("nbody: all as expected\n");
	return 0;
}
