// SPDX-License-Identifier: Apache-2.0
/*
 * Arrays, textures and surfaces: a picture turned by a filter that interpolates, the same from pitched memory, linear
 * memory by index, layers, a volume, and a surface that is written.
 *
 * prints: textures: all as expected
 */
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"

enum { W = 48, H = 20, L = 4 };

__global__ void turn(cudaTextureObject_t t, float *out, float angle)
{
	int x = (int)(blockIdx.x * blockDim.x + threadIdx.x), y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
	float u = (float)x / W - 0.5f, v = (float)y / H - 0.5f;

	if (x < W && y < H)
		out[y * W + x] = tex2D<float>(t, u * cosf(angle) - v * sinf(angle) + 0.5f, v * cosf(angle) + u * sinf(angle) + 0.5f);
}

__global__ void fetch(cudaTextureObject_t t, int *out)
{
	out[threadIdx.x] = tex1Dfetch<int>(t, (int)threadIdx.x - 2);
}

__global__ void layers(cudaTextureObject_t t, float *out)
{
	for (int l = 0; l < L; l++)
		out[(l * H + threadIdx.y) * W + threadIdx.x] = tex2DLayered<float>(t, threadIdx.x + 0.5f, threadIdx.y + 0.5f, l);
}

__global__ void volume(cudaTextureObject_t t, float4 *out)
{
	out[threadIdx.x] = tex3D<float4>(t, threadIdx.x + 0.5f, 1.5f, 2.5f);
}

__global__ void paint(cudaSurfaceObject_t s)
{
	uchar4 v = surf2Dread<uchar4>(s, (int)threadIdx.x * 4, (int)threadIdx.y);

	v.x += 1;
	v.w = (unsigned char)threadIdx.y;
	surf2Dwrite(v, s, (int)threadIdx.x * 4, (int)threadIdx.y);
}

static float mixed(const std::vector<float> &p, float u, float v)
{
	double x = (double)u * W - 0.5, y = (double)v * H - 0.5, lx = floor(x), ly = floor(y), sum = 0;
	double fx = rint((x - lx) * 256) / 256, fy = rint((y - ly) * 256) / 256;

	for (int k = 0; k < 4; k++) {
		int i = ((int)lx + k % 2 + 4 * W) % W, j = ((int)ly + k / 2 + 4 * H) % H;

		sum += (k % 2 ? fx : 1 - fx) * (k / 2 ? fy : 1 - fy) * (double)p[(size_t)(j * W + i)];
	}
	return (float)sum;
}

static int turned(const std::vector<float> &picture, const std::vector<float> &got, float angle)
{
	int wrong = 0;

	for (int y = 0; y < H; y++)
		for (int x = 0; x < W; x++) {
			float u = (float)x / W - 0.5f, v = (float)y / H - 0.5f;
			float want = mixed(picture, u * cosf(angle) - v * sinf(angle) + 0.5f, v * cosf(angle) + u * sinf(angle) + 0.5f);

			wrong += fabsf(got[(size_t)(y * W + x)] - want) > 0.02f; /* a weight may be the next one */
		}
	return wrong;
}

int main()
{
	int failures = 0;
	std::vector<float> picture(W * H), got(W * H * L), all(W * H * L);
	cudaChannelFormatDesc one = cudaCreateChannelDesc<float>(), desc;
	cudaResourceDesc res = {}, back;
	cudaTextureDesc how = {}, same;
	cudaTextureObject_t t;
	cudaSurfaceObject_t s;
	cudaArray_t a, b;
	cudaExtent extent;
	unsigned flags;
	float *out;

	for (size_t k = 0; k < all.size(); k++)
		all[k] = (float)((k * 37 + k / 11) % 100) / 100;
	memcpy(picture.data(), all.data(), picture.size() * 4);
	CUDA(cudaMalloc(&out, got.size() * 16));

	/* an array, filtered, repeating itself */
	CUDA(cudaMallocArray(&a, &one, W, H));
	CUDA(cudaMemcpy2DToArray(a, 0, 0, picture.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
	CUDA(cudaArrayGetInfo(&desc, &extent, &flags, a));
	CHECK(desc.x == 32 && desc.y == 0 && desc.f == cudaChannelFormatKindFloat && extent.width == W && extent.height == H && !flags);
	res.resType = cudaResourceTypeArray;
	res.res.array.array = a;
	how.addressMode[0] = how.addressMode[1] = cudaAddressModeWrap;
	how.filterMode = cudaFilterModeLinear;
	how.normalizedCoords = 1;
	CUDA(cudaCreateTextureObject(&t, &res, &how, nullptr));
	turn<<<dim3(3, 2), dim3(16, 16)>>>(t, out, 0.5f);
	CUDA(cudaMemcpy(got.data(), out, W * H * 4, cudaMemcpyDeviceToHost));
	CHECK(turned(picture, got, 0.5f) == 0);
	CUDA(cudaGetTextureObjectResourceDesc(&back, t));
	CUDA(cudaGetTextureObjectTextureDesc(&same, t));
	CHECK(back.res.array.array == a && same.filterMode == cudaFilterModeLinear);
	CUDA(cudaDestroyTextureObject(t));
	CHECK(cudaDestroyTextureObject(t) == cudaErrorInvalidValue);
	CUDA(cudaMemcpy2DFromArray(got.data(), W * 4, a, 0, 0, W * 4, H, cudaMemcpyDeviceToHost));
	CHECK(memcmp(got.data(), picture.data(), W * H * 4) == 0);
	CHECK(cudaMemcpy2DToArray(a, 8, 0, picture.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
	CUDA(cudaMallocArray(&b, &one, W, H));
	CUDA(cudaMemcpy2DArrayToArray(b, 0, 0, a, 0, 0, W * 4, H));
	CUDA(cudaMemcpy2DFromArray(got.data(), W * 4, b, 0, 0, W * 4, H, cudaMemcpyDeviceToHost));
	CHECK(memcmp(got.data(), picture.data(), W * H * 4) == 0);
	CUDA(cudaFreeArray(a));
	CUDA(cudaFreeArray(b));

	/* the same from memory with a pitch */
	float *rows;
	size_t pitch;
	CUDA(cudaMallocPitch(&rows, &pitch, W * 4, H));
	CUDA(cudaMemcpy2D(rows, pitch, picture.data(), W * 4, W * 4, H, cudaMemcpyHostToDevice));
	res = {};
	res.resType = cudaResourceTypePitch2D;
	res.res.pitch2D = {rows, one, W, H, pitch};
	CUDA(cudaCreateTextureObject(&t, &res, &how, nullptr));
	turn<<<dim3(3, 2), dim3(16, 16)>>>(t, out, -1.0f);
	CUDA(cudaMemcpy(got.data(), out, W * H * 4, cudaMemcpyDeviceToHost));
	CHECK(turned(picture, got, -1.0f) == 0);
	CUDA(cudaDestroyTextureObject(t));

	/* linear memory: what is outside is 0 */
	int numbers[10], fetched[16];
	for (int k = 0; k < 10; k++)
		numbers[k] = k * k - 7;
	CUDA(cudaMemcpy(out, numbers, sizeof(numbers), cudaMemcpyHostToDevice));
	res = {};
	res.resType = cudaResourceTypeLinear;
	res.res.linear = {out, cudaCreateChannelDesc<int>(), sizeof(numbers)};
	how = {};
	CUDA(cudaCreateTextureObject(&t, &res, &how, nullptr));
	fetch<<<1, 16>>>(t, (int *)out + 64);
	CUDA(cudaMemcpy(fetched, (int *)out + 64, sizeof(fetched), cudaMemcpyDeviceToHost));
	for (int k = 0; k < 16; k++)
		CHECK(fetched[k] == (k < 2 || k >= 12 ? 0 : numbers[k - 2]));
	CUDA(cudaDestroyTextureObject(t));
	how.filterMode = cudaFilterModeLinear;
	CHECK(cudaCreateTextureObject(&t, &res, &how, nullptr) == cudaErrorInvalidFilterSetting);
	how.filterMode = cudaFilterModePoint;
	how.readMode = cudaReadModeNormalizedFloat;
	CHECK(cudaCreateTextureObject(&t, &res, &how, nullptr) == cudaErrorInvalidNormSetting);
	CHECK(cudaGetLastError() == cudaErrorInvalidNormSetting);

	/* layers, filled by one copy with three extents */
	cudaMemcpy3DParms copy = {};
	CUDA(cudaMalloc3DArray(&a, &one, make_cudaExtent(W, H, L), cudaArrayLayered));
	copy.srcPtr = make_cudaPitchedPtr(all.data(), W * 4, W, H);
	copy.dstArray = a;
	copy.extent = make_cudaExtent(W, H, L);
	copy.kind = cudaMemcpyHostToDevice;
	CUDA(cudaMemcpy3D(&copy));
	res = {};
	res.resType = cudaResourceTypeArray;
	res.res.array.array = a;
	how = {};
	CUDA(cudaCreateTextureObject(&t, &res, &how, nullptr));
	layers<<<1, dim3(W, H)>>>(t, out);
	CUDA(cudaMemcpy(got.data(), out, got.size() * 4, cudaMemcpyDeviceToHost));
	CHECK(memcmp(got.data(), all.data(), all.size() * 4) == 0);
	CUDA(cudaDestroyTextureObject(t));
	CUDA(cudaFreeArray(a));

	/* a volume of bytes, read as 0 to 1 */
	std::vector<unsigned char> bytes(8 * 4 * 3 * 4);
	std::vector<float> colours(8 * 4);
	for (size_t k = 0; k < bytes.size(); k++)
		bytes[k] = (unsigned char)(k * 13);
	cudaChannelFormatDesc four = cudaCreateChannelDesc<uchar4>();
	CUDA(cudaMalloc3DArray(&a, &four, make_cudaExtent(8, 4, 3), 0));
	copy = {};
	copy.srcPtr = make_cudaPitchedPtr(bytes.data(), 8 * 4, 8, 4);
	copy.dstArray = a;
	copy.extent = make_cudaExtent(8, 4, 3);
	copy.kind = cudaMemcpyHostToDevice;
	CUDA(cudaMemcpy3D(&copy));
	res.res.array.array = a;
	how = {};
	how.readMode = cudaReadModeNormalizedFloat;
	how.filterMode = cudaFilterModeLinear;
	for (int k = 0; k < 3; k++)
		how.addressMode[k] = cudaAddressModeClamp;
	CUDA(cudaCreateTextureObject(&t, &res, &how, nullptr));
	volume<<<1, 8>>>(t, (float4 *)out);
	CUDA(cudaMemcpy(colours.data(), out, 8 * 16, cudaMemcpyDeviceToHost));
	for (size_t k = 0; k < 32; k++)
		CHECK(fabsf(colours[k] - bytes[(2 * 4 + 1) * 32 + k] / 255.0f) < 1e-6f);
	CUDA(cudaDestroyTextureObject(t));
	CUDA(cudaFreeArray(a));

	/* a surface, written */
	CUDA(cudaMallocArray(&a, &four, 8, 4, cudaArraySurfaceLoadStore));
	CUDA(cudaMemcpy2DToArray(a, 0, 0, bytes.data(), 32, 32, 4, cudaMemcpyHostToDevice));
	res.res.array.array = a;
	CUDA(cudaCreateSurfaceObject(&s, &res));
	paint<<<1, dim3(8, 4)>>>(s);
	std::vector<unsigned char> painted(128);
	CUDA(cudaMemcpy2DFromArray(painted.data(), 32, a, 0, 0, 32, 4, cudaMemcpyDeviceToHost));
	for (size_t k = 0; k < 128; k++)
		CHECK(painted[k] == (k % 4 == 0 ? (unsigned char)(bytes[k] + 1) : k % 4 == 3 ? k / 32 : bytes[k]));
	CUDA(cudaDestroySurfaceObject(s));
	CUDA(cudaFreeArray(a));
	cudaMipmappedArray_t mip;
	CHECK(cudaMallocMipmappedArray(&mip, &four, make_cudaExtent(8, 8, 0), 3) == cudaErrorNotSupported);
	CUDA(cudaFree(rows));
	CUDA(cudaFree(out));
	CUDA(cudaDeviceSynchronize());
	cudaGetLastError();
	if (failures == 0)
		printf("textures: all as expected\n");
	return failures != 0;
}
