// SPDX-License-Identifier: Apache-2.0
/* Products of matrices by a warp: wmma, and mma with fragments by hand and by ldmatrix. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

template <typename T, typename LA, typename LB, typename C> static __device__ void product(const T *a, const T *b, C *c)
{
	wmma::fragment<wmma::matrix_a, 16, 16, 16, T, LA> fa;
	wmma::fragment<wmma::matrix_b, 16, 16, 16, T, LB> fb;
	wmma::fragment<wmma::accumulator, 16, 16, 16, C> fc;

	wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
	wmma::load_matrix_sync(fa, a, 16);
	wmma::load_matrix_sync(fb, b, 16);
	wmma::mma_sync(fc, fa, fb, fc);
	for (int k = 0; k < fc.num_elements; k++)
		fc.x[k] = fc.x[k] * (C)2.0f;
	wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}

extern "C" __global__ void wmma_half(const __half *a, const __half *b, float *c)
{
	product<__half, wmma::row_major, wmma::col_major>(a, b, c);
}

extern "C" __global__ void wmma_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c)
{
	__shared__ __nv_bfloat16 s[256];

	for (int k = (int)threadIdx.x; k < 256; k += 32)
		s[k] = a[k];
	__syncwarp();
	product<__nv_bfloat16, wmma::col_major, wmma::row_major>(s, b, c);
}

extern "C" __global__ void wmma_half_sums(const __half *a, const __half *b, __half *c)
{
	product<__half, wmma::row_major, wmma::row_major>(a, b, c);
}

/* C (16 by 8) = A (16 by 16, rows) B (16 by 8, given as 8 rows of B's columns) */
extern "C" __global__ void mma_half(const __half *a, const __half *b, float *c)
{
	__shared__ __align__(16) __half sa[16 * 16], sb[8 * 16];
	int l = (int)threadIdx.x, g = l / 4, t = l % 4;
	unsigned ra[4], rb[2];
	float d[4] = {1, 2, 3, 4};

	for (int k = l; k < 256; k += 32)
		sa[k] = a[k];
	for (int k = l; k < 128; k += 32)
		sb[k] = b[k];
	__syncwarp();
	unsigned at = (unsigned)__cvta_generic_to_shared(&sa[(l % 16) * 16 + l / 16 * 8]);
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(at));
	at = (unsigned)__cvta_generic_to_shared(&sb[(l % 8) * 16 + l / 8 % 2 * 8]);
	asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(rb[0]), "=r"(rb[1]) : "r"(at));
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
	c[g * 8 + t * 2] = d[0];
	c[g * 8 + t * 2 + 1] = d[1];
	c[(g + 8) * 8 + t * 2] = d[2];
	c[(g + 8) * 8 + t * 2 + 1] = d[3];
}

/* C (16 by 8) = A (16 by 8) B (8 by 8) in tf32 */
extern "C" __global__ void mma_tf32(const float *a, const float *b, float *c)
{
	int l = (int)threadIdx.x, g = l / 4, t = l % 4;
	unsigned ra[4], rb[2];
	float d[4] = {};

	for (int k = 0; k < 4; k++)
		asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(ra[k]) : "f"(a[(g + k % 2 * 8) * 8 + t + k / 2 * 4]));
	for (int k = 0; k < 2; k++)
		asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rb[k]) : "f"(b[(t + k * 4) * 8 + g]));
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
	c[g * 8 + t * 2] = d[0];
	c[g * 8 + t * 2 + 1] = d[1];
	c[(g + 8) * 8 + t * 2] = d[2];
	c[(g + 8) * 8 + t * 2 + 1] = d[3];
}

/* Shapes and types of wmma: D (M by N) = A B + C, C and D one place. */
template <typename T, typename C, int M, int N, int K, typename LA, typename LB>
static __device__ void shaped(const T *a, int lda, const T *b, int ldb, C *c)
{
	wmma::fragment<wmma::matrix_a, M, N, K, T, LA> fa;
	wmma::fragment<wmma::matrix_b, M, N, K, T, LB> fb;
	wmma::fragment<wmma::accumulator, M, N, K, C> fc;

	wmma::load_matrix_sync(fc, c, N, wmma::mem_row_major);
	wmma::load_matrix_sync(fa, a, lda);
	wmma::load_matrix_sync(fb, b, ldb);
	wmma::mma_sync(fc, fa, fb, fc);
	wmma::store_matrix_sync(c, fc, N, wmma::mem_row_major);
}

extern "C" __global__ void wmma_s8(const signed char *a, const signed char *b, int *c)
{
	shaped<signed char, int, 16, 16, 16, wmma::row_major, wmma::col_major>(a, 16, b, 16, c);
	shaped<signed char, int, 32, 8, 16, wmma::row_major, wmma::col_major>(a, 16, b, 16, c + 256);
	shaped<signed char, int, 8, 32, 16, wmma::row_major, wmma::col_major>(a, 16, b, 16, c + 512);
	shaped<unsigned char, int, 16, 16, 16, wmma::row_major, wmma::row_major>((const unsigned char *)a, 16, (const unsigned char *)b, 16, c + 768);
}

extern "C" __global__ void wmma_shapes(const __half *a, const __half *b, float *c)
{
	shaped<__half, float, 32, 8, 16, wmma::row_major, wmma::col_major>(a, 16, b, 16, c);
	shaped<__half, float, 8, 32, 16, wmma::row_major, wmma::col_major>(a, 16, b, 16, c + 256);
}

extern "C" __global__ void wmma_double(const double *a, const double *b, double *c)
{
	shaped<double, double, 8, 8, 4, wmma::row_major, wmma::col_major>(a, 4, b, 4, c);
}

/* C (16 by 8) = A (16 by 32) B (32 by 8, given as its columns), eight bits */
extern "C" __global__ void mma_s8(const signed char *a, const signed char *b, int *c)
{
	int l = (int)threadIdx.x, g = l / 4, t = l % 4, d[4] = {1, 2, 3, 4};
	const int *wa = (const int *)a, *wb = (const int *)b;

	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
		     : "r"(wa[g * 8 + t]), "r"(wa[(g + 8) * 8 + t]), "r"(wa[g * 8 + 4 + t]), "r"(wa[(g + 8) * 8 + 4 + t]),
		       "r"(wb[g * 8 + t]), "r"(wb[g * 8 + 4 + t]));
	for (int k = 0; k < 4; k++)
		c[(g + k / 2 * 8) * 8 + t * 2 + k % 2] = d[k];
}

/* C (8 by 8) = A (8 by 4) B (4 by 8) in double */
extern "C" __global__ void mma_double(const double *a, const double *b, double *c)
{
	int l = (int)threadIdx.x, g = l / 4, t = l % 4;
	double d[2] = {0.5, 1.5};

	asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
		     : "+d"(d[0]), "+d"(d[1]) : "d"(a[g * 4 + t]), "d"(b[t * 8 + g]));
	c[g * 8 + t * 2] = d[0];
	c[g * 8 + t * 2 + 1] = d[1];
}

/* Each matrix of 8 by 8 as it was read, stored again and turned: out has both. */
extern "C" __global__ void matrix_moves(const __half *in, __half *out)
{
	__shared__ __align__(16) __half s[64];
	int l = (int)threadIdx.x;
	unsigned r, q, at = (unsigned)__cvta_generic_to_shared(&s[l % 8 * 8]);

	s[l * 2] = in[l * 2];
	s[l * 2 + 1] = in[l * 2 + 1];
	__syncwarp();
	asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(at));
	asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(q) : "r"(r));
	__syncwarp();
	asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(at), "r"(q) : "memory");
	__syncwarp();
	out[l * 2] = s[l * 2];
	out[l * 2 + 1] = s[l * 2 + 1];
	__syncwarp();
	asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(at), "r"(q) : "memory");
	__syncwarp();
	out[64 + l * 2] = s[l * 2];
	out[64 + l * 2 + 1] = s[l * 2 + 1];
}
