// SPDX-License-Identifier: Apache-2.0
/*
 * What cuBLAS's functions do here, by kernels of this project: nvcc -ptx -arch=sm_80 kernels.cu makes kernels.ptx, which is
 * what is built in. Matrices have a stride for rows and one for columns, so that transposed ones are no case of
 * their own. Scalars are the host's, or lie on the device.
 *
 * A thread of a product has a tile of 4 by 4 in registers and waits for nobody: that suits devices whose
 * threads are loops of a processor; the blocks of a GPU would share what they read.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> __device__ T scalar(T value, const T *at)
{
	return at ? *at : value;
}

/* C = alpha A B + beta C, @batches times. Pointers are the matrices', or lists of them. */
template <typename T, typename In, typename Out>
__device__ void product(int m, int n, int k, T alpha, const T *alpha_at, const void *a, long long a_row, long long a_column,
			long long a_step, const void *b, long long b_row, long long b_column, long long b_step, T beta,
			const T *beta_at, void *c, long long ldc, long long c_step, int lists)
{
	int i0 = (int)(blockIdx.x * blockDim.x + threadIdx.x) * 4, j0 = (int)(blockIdx.y * blockDim.y + threadIdx.y) * 4;
	int z = (int)blockIdx.z;
	const In *ma = lists ? ((const In *const *)a)[z] : (const In *)a + z * a_step;
	const In *mb = lists ? ((const In *const *)b)[z] : (const In *)b + z * b_step;
	Out *mc = lists ? ((Out *const *)c)[z] : (Out *)c + z * c_step;
	T sum[4][4] = {};

	if (i0 >= m || j0 >= n)
		return;
	int rows = min(4, m - i0), columns = min(4, n - j0);
	alpha = scalar(alpha, alpha_at);
	beta = scalar(beta, beta_at);
	ma += i0 * a_row;
	mb += j0 * b_column;
	if (rows == 4 && columns == 4) {
#pragma unroll 1
		for (int l = 0; l < k; l++) {
			T x[4], y[4];
#pragma unroll
			for (int r = 0; r < 4; r++) {
				x[r] = (T)ma[r * a_row];
				y[r] = (T)mb[r * b_column];
			}
#pragma unroll
			for (int r = 0; r < 4; r++)
#pragma unroll
				for (int s = 0; s < 4; s++)
					sum[r][s] += x[r] * y[s];
			ma += a_column;
			mb += b_row;
		}
	} else {
#pragma unroll 1
		for (int l = 0; l < k; l++) {
#pragma unroll
			for (int r = 0; r < 4; r++)
#pragma unroll
				for (int s = 0; s < 4; s++)
					if (r < rows && s < columns)
						sum[r][s] += (T)ma[r * a_row] * (T)mb[s * b_column];
			ma += a_column;
			mb += b_row;
		}
	}
#pragma unroll
	for (int r = 0; r < 4; r++)
#pragma unroll
		for (int s = 0; s < 4; s++)
			if (r < rows && s < columns) {
				Out *at = mc + i0 + r + (j0 + s) * ldc;
				T v = alpha * sum[r][s];

				if (beta != (T)0) /* what is there may be no number otherwise */
					v += beta * (T)*at;
				*at = (Out)v;
			}
}

#define PRODUCT(name, T, In, Out)                                                                                       \
	extern "C" __global__ void name(int m, int n, int k, T alpha, const T *alpha_at, const void *a, long long a_row, \
					long long a_column, long long a_step, const void *b, long long b_row,           \
					long long b_column, long long b_step, T beta, const T *beta_at, void *c,        \
					long long ldc, long long c_step, int lists)                                     \
	{                                                                                                               \
		product<T, In, Out>(m, n, k, alpha, alpha_at, a, a_row, a_column, a_step, b, b_row, b_column, b_step,   \
				    beta, beta_at, c, ldc, c_step, lists);                                              \
	}

PRODUCT(gemm_s, float, float, float)
PRODUCT(gemm_d, double, double, double)
PRODUCT(gemm_h, float, __half, __half)
PRODUCT(gemm_hs, float, __half, float)
PRODUCT(gemm_b, float, __nv_bfloat16, __nv_bfloat16)
PRODUCT(gemm_bs, float, __nv_bfloat16, float)

/* Places of a vector: from its end when its step is negative. */
template <typename T> __device__ T *place(T *x, int n, int step, int k)
{
	return x + (long long)(step < 0 ? k - n + 1 : k) * step;
}

template <typename T> __device__ void reduce(T *shared, T x)
{
	shared[threadIdx.x] = x;
	__syncthreads();
	for (unsigned s = blockDim.x / 2; s; s /= 2) {
		if (threadIdx.x < s)
			shared[threadIdx.x] += shared[threadIdx.x + s];
		__syncthreads();
	}
}

#define VECTORS(p, T)                                                                                                   \
	extern "C" __global__ void axpy_##p(int n, T alpha, const T *alpha_at, const T *x, int xs, T *y, int ys)        \
	{                                                                                                               \
		alpha = scalar(alpha, alpha_at);                                                                        \
		_Pragma("unroll 1") for (int k = (int)(blockIdx.x * blockDim.x + threadIdx.x); k < n; k += (int)(gridDim.x * blockDim.x)) \
			*place(y, n, ys, k) += alpha * *place(x, n, xs, k);                                             \
	}                                                                                                               \
	extern "C" __global__ void scal_##p(int n, T alpha, const T *alpha_at, T *x, int xs)                            \
	{                                                                                                               \
		alpha = scalar(alpha, alpha_at);                                                                        \
		_Pragma("unroll 1") for (int k = (int)(blockIdx.x * blockDim.x + threadIdx.x); k < n; k += (int)(gridDim.x * blockDim.x)) \
			x[(long long)k * xs] *= alpha;                                                                  \
	}                                                                                                               \
	extern "C" __global__ void copy_##p(int n, T *x, int xs, T *y, int ys, int swap)                                \
	{                                                                                                               \
		_Pragma("unroll 1") for (int k = (int)(blockIdx.x * blockDim.x + threadIdx.x); k < n; k += (int)(gridDim.x * blockDim.x)) { \
			T *a = place(x, n, xs, k), *b = place(y, n, ys, k), t = *b;                                     \
			*b = *a;                                                                                        \
			if (swap)                                                                                       \
				*a = t;                                                                                 \
		}                                                                                                       \
	}                                                                                                               \
	/* one block. what: 0 product, 1 length, 2 sum of absolutes */                                                  \
	extern "C" __global__ void dot_##p(int n, const T *x, int xs, const T *y, int ys, T *out, int what)             \
	{                                                                                                               \
		__shared__ T shared[256];                                                                               \
		T sum = 0;                                                                                              \
		_Pragma("unroll 1") for (int k = (int)threadIdx.x; k < n; k += (int)blockDim.x) {                       \
			T v = *place(x, n, xs, k);                                                                      \
			sum += what == 2 ? (v < 0 ? -v : v) : v * (what ? v : *place(y, n, ys, k));                     \
		}                                                                                                       \
		reduce(shared, sum);                                                                                    \
		if (threadIdx.x == 0)                                                                                   \
			*out = what == 1 ? sqrt(shared[0]) : shared[0];                                                 \
	}                                                                                                               \
	/* one block: the first place of the largest or smallest, from 1 */                                             \
	extern "C" __global__ void most_##p(int n, const T *x, int xs, int *out, int least)                             \
	{                                                                                                               \
		__shared__ T best[256];                                                                                 \
		__shared__ int at[256];                                                                                 \
		T b = 0;                                                                                                \
		int w = n;                                                                                              \
		_Pragma("unroll 1") for (int k = (int)threadIdx.x; k < n; k += (int)blockDim.x) {                       \
			T v = x[(long long)k * xs];                                                                     \
			v = v < 0 ? -v : v;                                                                             \
			if (w == n || (least ? v < b : v > b)) {                                                        \
				b = v;                                                                                  \
				w = k;                                                                                  \
			}                                                                                               \
		}                                                                                                       \
		best[threadIdx.x] = b;                                                                                  \
		at[threadIdx.x] = w;                                                                                    \
		__syncthreads();                                                                                        \
		if (threadIdx.x == 0) {                                                                                 \
			_Pragma("unroll 1") for (unsigned t = 1; t < blockDim.x; t++) {                                 \
				if (at[t] == n)                                                                         \
					continue;                                                                       \
				if ((least ? best[t] < b : best[t] > b) || (best[t] == b && at[t] < w)) {               \
					b = best[t];                                                                    \
					w = at[t];                                                                      \
				}                                                                                       \
			}                                                                                               \
			*out = n ? w + 1 : 0;                                                                           \
		}                                                                                                       \
	}                                                                                                               \
	/* y = alpha A x + beta y */                                                                                    \
	extern "C" __global__ void gemv_##p(int m, int n, T alpha, const T *alpha_at, const T *a, long long row,        \
					    long long column, const T *x, int xs, T beta, const T *beta_at, T *y, int ys) \
	{                                                                                                               \
		int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);                                                   \
		T sum = 0;                                                                                              \
		if (i >= m)                                                                                             \
			return;                                                                                         \
		alpha = scalar(alpha, alpha_at);                                                                        \
		beta = scalar(beta, beta_at);                                                                           \
		_Pragma("unroll 1") for (int k = 0; k < n; k++)                                                         \
			sum += a[i * row + k * column] * *place(x, n, xs, k);                                           \
		T *at = place(y, m, ys, i);                                                                             \
		*at = alpha * sum + (beta != (T)0 ? beta * *at : (T)0);                                                 \
	}                                                                                                               \
	extern "C" __global__ void ger_##p(int m, int n, T alpha, const T *alpha_at, const T *x, int xs, const T *y,    \
					   int ys, T *a, long long lda)                                                 \
	{                                                                                                               \
		int i = (int)(blockIdx.x * blockDim.x + threadIdx.x), j = (int)blockIdx.y;                              \
		if (i < m)                                                                                              \
			a[i + j * lda] += scalar(alpha, alpha_at) * *place(x, m, xs, i) * *place(y, n, ys, j);          \
	}                                                                                                               \
	/* C = alpha A + beta B */                                                                                      \
	extern "C" __global__ void geam_##p(int m, T alpha, const T *alpha_at, const T *a, long long a_row,             \
					    long long a_column, T beta, const T *beta_at, const T *b, long long b_row,  \
					    long long b_column, T *c, long long ldc)                                    \
	{                                                                                                               \
		int i = (int)(blockIdx.x * blockDim.x + threadIdx.x), j = (int)blockIdx.y;                              \
		if (i >= m)                                                                                             \
			return;                                                                                         \
		alpha = scalar(alpha, alpha_at);                                                                        \
		beta = scalar(beta, beta_at);                                                                           \
		c[i + j * ldc] = (alpha != (T)0 ? alpha * a[i * a_row + j * a_column] : (T)0) +                         \
				 (beta != (T)0 ? beta * b[i * b_row + j * b_column] : (T)0);                            \
	}

VECTORS(s, float)
VECTORS(d, double)
