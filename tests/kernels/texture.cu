// SPDX-License-Identifier: Apache-2.0
/* Textures and surfaces. nvcc -ptx -arch=sm_75. */
#define AT ((int)(blockIdx.x * blockDim.x + threadIdx.x))

extern "C" __global__ void tex_fetch(cudaTextureObject_t t, const int *n, float *out)
{
	out[AT] = tex1Dfetch<float>(t, n[AT]);
}

extern "C" __global__ void tex_line(cudaTextureObject_t t, const float *x, float *out)
{
	out[AT] = tex1D<float>(t, x[AT]);
}

extern "C" __global__ void tex_plane(cudaTextureObject_t t, const float *x, const float *y, float4 *out)
{
	out[AT] = tex2D<float4>(t, x[AT], y[AT]);
}

extern "C" __global__ void tex_ints(cudaTextureObject_t t, const float *x, const float *y, short2 *out)
{
	out[AT] = tex2D<short2>(t, x[AT], y[AT]);
}

extern "C" __global__ void tex_room(cudaTextureObject_t t, const float *x, const float *y, const float *z, float *out)
{
	out[AT] = tex3D<float>(t, x[AT], y[AT], z[AT]);
}

extern "C" __global__ void tex_layer(cudaTextureObject_t t, const float *x, const float *y, const int *l, float *out)
{
	out[AT] = tex2DLayered<float>(t, x[AT], y[AT], l[AT]);
}

extern "C" __global__ void tex_cube(cudaTextureObject_t t, const float *x, const float *y, const float *z, float *out)
{
	out[AT] = texCubemap<float>(t, x[AT], y[AT], z[AT]);
}

extern "C" __global__ void tex_gather(cudaTextureObject_t t, const float *x, const float *y, float4 *out)
{
	out[AT] = tex2Dgather<float4>(t, x[AT], y[AT], 0);
}

/* What is outside is 0, or the nearest inside. */
extern "C" __global__ void surf_read(cudaSurfaceObject_t s, const int *x, const int *y, int *out)
{
	out[AT * 2] = surf2Dread<int>(s, x[AT] * 4, y[AT], cudaBoundaryModeZero);
	out[AT * 2 + 1] = surf2Dread<int>(s, x[AT] * 4, y[AT], cudaBoundaryModeClamp);
}

extern "C" __global__ void surf_write(cudaSurfaceObject_t s, const int *x, const int *y)
{
	int a = surf2Dread<int>(s, x[AT] * 4, y[AT], cudaBoundaryModeZero);

	surf2Dwrite(a * 2 + 1, s, x[AT] * 4, y[AT], cudaBoundaryModeZero);
}

extern "C" __global__ void surf_trap(cudaSurfaceObject_t s, int x, int *out)
{
	out[AT] = surf2Dread<int>(s, x, 0);
}
