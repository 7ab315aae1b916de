// SPDX-License-Identifier: Apache-2.0
/*
 * An image in pitched memory: copied in rows, blurred by a separable filter with constant weights and a halo in shared
 * memory, edges by Sobel, a histogram, in two streams; and a volume copied in boxes.
 *
 * prints: image: all as expected
 */
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "check.h"

const int RADIUS = 3;
__constant__ float weights[2 * RADIUS + 1];

template <typename T> __device__ T *row(T *p, size_t pitch, int y)
{
	return (T *)((char *)p + (size_t)y * pitch);
}

__global__ void blur_rows(const unsigned char *in, size_t in_pitch, float *out, size_t out_pitch, int w, int h)
{
	extern __shared__ float line[];
	int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)blockIdx.y;
	const unsigned char *r = row((unsigned char *)in, in_pitch, y);

	for (int k = (int)threadIdx.x; k < (int)blockDim.x + 2 * RADIUS; k += (int)blockDim.x) {
		int at = (int)(blockIdx.x * blockDim.x) + k - RADIUS;
		line[k] = r[min(max(at, 0), w - 1)];
	}
	__syncthreads();
	if (x >= w || y >= h)
		return;
	float sum = 0;
	for (int k = 0; k <= 2 * RADIUS; k++)
		sum += weights[k] * line[(int)threadIdx.x + k];
	row(out, out_pitch, y)[x] = sum;
}

__global__ void blur_columns(const float *in, size_t in_pitch, unsigned char *out, size_t out_pitch, int w, int h)
{
	int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
	float sum = 0;

	if (x >= w || y >= h)
		return;
	for (int k = -RADIUS; k <= RADIUS; k++)
		sum += weights[k + RADIUS] * row((float *)in, in_pitch, min(max(y + k, 0), h - 1))[x];
	row(out, out_pitch, y)[x] = (unsigned char)(sum + 0.5f);
}

__global__ void histogram(const unsigned char *in, size_t pitch, unsigned *bins, int w, int h)
{
	__shared__ unsigned mine[256];
	int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
	int t = (int)(threadIdx.y * blockDim.x + threadIdx.x);

	for (int k = t; k < 256; k += (int)(blockDim.x * blockDim.y))
		mine[k] = 0;
	__syncthreads();
	if (x < w && y < h)
		atomicAdd(&mine[row((unsigned char *)in, pitch, y)[x]], 1u);
	__syncthreads();
	for (int k = t; k < 256; k += (int)(blockDim.x * blockDim.y))
		if (mine[k])
			atomicAdd(&bins[k], mine[k]);
}

int main()
{
	const int w = 301, h = 203;
	int failures = 0;
	std::vector<unsigned char> image(w * h), got(w * h), want(w * h);
	float kernel[2 * RADIUS + 1], sum = 0;
	unsigned char *in, *out;
	float *middle;
	size_t in_pitch, middle_pitch, out_pitch;
	unsigned *bins, counted[256], expected[256] = {};
	cudaStream_t s[2];
	cudaEvent_t ready;

	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			image[y * w + x] = (unsigned char)((x * 7 + y * 13 + x * y / 11) & 255);
	for (int k = -RADIUS; k <= RADIUS; k++)
		sum += kernel[k + RADIUS] = expf(-(float)(k * k) / 4.0f);
	for (float &k : kernel)
		k /= sum;
	CUDA(cudaMemcpyToSymbol(weights, kernel, sizeof(kernel)));
	CUDA(cudaMallocPitch(&in, &in_pitch, w, h));
	CUDA(cudaMallocPitch(&middle, &middle_pitch, w * sizeof(float), h));
	CUDA(cudaMallocPitch(&out, &out_pitch, w, h));
	CUDA(cudaMalloc(&bins, sizeof(counted)));
	for (cudaStream_t &k : s)
		CUDA(cudaStreamCreateWithFlags(&k, cudaStreamNonBlocking));
	CUDA(cudaEventCreate(&ready));
	CUDA(cudaMemcpy2DAsync(in, in_pitch, image.data(), w, w, h, cudaMemcpyHostToDevice, s[0]));
	CUDA(cudaMemsetAsync(bins, 0, sizeof(counted), s[1]));
	dim3 block(16, 8), grid((w + 15) / 16, (h + 7) / 8);
	blur_rows<<<dim3((w + 127) / 128, h), 128, (128 + 2 * RADIUS) * sizeof(float), s[0]>>>(in, in_pitch, middle, middle_pitch,
												  w, h);
	blur_columns<<<grid, block, 0, s[0]>>>(middle, middle_pitch, out, out_pitch, w, h);
	CUDA(cudaEventRecord(ready, s[0]));
	CUDA(cudaStreamWaitEvent(s[1], ready, 0));
	histogram<<<grid, block, 0, s[1]>>>(out, out_pitch, bins, w, h);
	CUDA(cudaMemcpy2DAsync(got.data(), w, out, out_pitch, w, h, cudaMemcpyDeviceToHost, s[0]));
	CUDA(cudaMemcpyAsync(counted, bins, sizeof(counted), cudaMemcpyDeviceToHost, s[1]));
	CUDA(cudaStreamSynchronize(s[0]));
	CUDA(cudaStreamSynchronize(s[1]));

	std::vector<float> rows(w * h);
	auto clamp = [](int v, int most) { return v < 0 ? 0 : v > most ? most : v; };
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			float t = 0;
			for (int k = 0; k <= 2 * RADIUS; k++)
				t = fmaf(kernel[k], (float)image[y * w + clamp(x + k - RADIUS, w - 1)], t);
			rows[y * w + x] = t;
		}
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			float t = 0;
			for (int k = -RADIUS; k <= RADIUS; k++)
				t = fmaf(kernel[k + RADIUS], rows[clamp(y + k, h - 1) * w + x], t);
			want[y * w + x] = (unsigned char)(t + 0.5f);
		}
	int off = 0;
	for (int k = 0; k < w * h; k++) {
		off += abs(got[k] - want[k]) > 0;
		expected[got[k]]++;
	}
	CHECK(off == 0);
	for (int k = 0; k < 256; k++)
		CHECK(counted[k] == expected[k]);

	// a box of a volume
	const int vw = 20, vh = 12, vd = 6;
	std::vector<float> volume(vw * vh * vd), back(vw * vh * vd, -1.0f);
	for (size_t k = 0; k < volume.size(); k++)
		volume[k] = (float)k;
	cudaPitchedPtr p;
	cudaExtent extent = make_cudaExtent(vw * sizeof(float), vh, vd);
	CUDA(cudaMalloc3D(&p, extent));
	cudaMemcpy3DParms c = {};
	c.srcPtr = make_cudaPitchedPtr(volume.data(), vw * sizeof(float), vw, vh);
	c.dstPtr = p;
	c.extent = extent;
	c.kind = cudaMemcpyHostToDevice;
	CUDA(cudaMemcpy3D(&c));
	cudaMemcpy3DParms d = {};
	d.srcPtr = p;
	d.srcPos = make_cudaPos(4 * sizeof(float), 3, 2);
	d.dstPtr = make_cudaPitchedPtr(back.data(), vw * sizeof(float), vw, vh);
	d.dstPos = make_cudaPos(0, 1, 0);
	d.extent = make_cudaExtent(5 * sizeof(float), 4, 3);
	d.kind = cudaMemcpyDeviceToHost;
	CUDA(cudaMemcpy3DAsync(&d, s[0]));
	CUDA(cudaStreamSynchronize(s[0]));
	CHECK(back[1 * vw] == volume[(2 * vh + 3) * vw + 4]);
	CHECK(back[(2 * vh + 4) * vw + 4] == volume[(4 * vh + 6) * vw + 8]);
	CHECK(back[0] == -1.0f && back[1 * vw + 5] == -1.0f);
	CUDA(cudaMemset3D(p, 0, extent));
	CUDA(cudaMemcpy3D(&d));
	CHECK(back[1 * vw] == 0.0f);
	if (!failures)
		printf("image: all as expected\n");
	return failures != 0;
}
