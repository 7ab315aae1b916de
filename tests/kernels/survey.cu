// SPDX-License-Identifier: Apache-2.0
/*
 * What CUDA C++ offers a kernel, once each, so that the compiler shows which instructions it makes of it. Nothing of
 * this is run: opcodes.py takes instructions from its PTX.
 */
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda/std/complex>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_pipeline.h>
#include <mma.h>

namespace cg = cooperative_groups;
using namespace nvcuda;

template <typename T> __global__ void atomics(T *p, T v, T *out)
{
	out[0] = atomicAdd(p, v);
	out[1] = atomicExch(p, v);
}

template <typename T> __global__ void atomics_int(T *p, T v, T *out)
{
	out[0] = atomicMin(p, v) + atomicMax(p, v) + atomicAnd(p, v) + atomicOr(p, v) + atomicXor(p, v) + atomicCAS(p, v, v + 1);
	out[1] = atomicAdd_system(p, v) + atomicAdd_block(p, v) + atomicCAS_block(p, v, v) + atomicMin_block(p, v);
}

__global__ void atomics_odd(unsigned *p, unsigned short *h, __half *hh, __half2 *h2, __nv_bfloat16 *b, __nv_bfloat162 *b2, unsigned v)
{
	p[0] = atomicInc(p, v) + atomicDec(p, v);
	h[0] = atomicCAS(h, (unsigned short)v, (unsigned short)1);
	hh[0] = atomicAdd(hh, __float2half(1.0f));
	h2[0] = atomicAdd(h2, __float2half2_rn(1.0f));
	b[0] = atomicAdd(b, __float2bfloat16(1.0f));
	b2[0] = atomicAdd(b2, __float2bfloat162_rn(1.0f));
}

template <typename T> __global__ void atomics_std(T *p, T v, T *out)
{
	cuda::atomic_ref<T, cuda::thread_scope_device> d(*p);
	cuda::atomic_ref<T, cuda::thread_scope_block> b(*p);
	cuda::atomic_ref<T, cuda::thread_scope_system> s(*p);

	out[0] = d.load(cuda::memory_order_acquire) + b.load(cuda::memory_order_relaxed) + s.load();
	d.store(v, cuda::memory_order_release);
	b.store(v, cuda::memory_order_relaxed);
	s.store(v);
	out[1] = d.fetch_add(v, cuda::memory_order_acq_rel) + b.fetch_add(v, cuda::memory_order_relaxed) + s.fetch_add(v);
	out[2] = d.exchange(v, cuda::memory_order_acquire) + s.exchange(v);
	d.compare_exchange_strong(v, out[3], cuda::memory_order_release);
	s.compare_exchange_weak(v, out[4]);
	cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_device);
	cuda::atomic_thread_fence(cuda::memory_order_acq_rel, cuda::thread_scope_block);
	cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_system);
	__threadfence();
	__threadfence_block();
	__threadfence_system();
}

template __global__ void atomics<int>(int *, int, int *);
template __global__ void atomics<unsigned>(unsigned *, unsigned, unsigned *);
template __global__ void atomics<unsigned long long>(unsigned long long *, unsigned long long, unsigned long long *);
template __global__ void atomics<float>(float *, float, float *);
__global__ void atomics_double(double *p, double v, double *out)
{
	out[0] = atomicAdd(p, v);
}
template __global__ void atomics_int<int>(int *, int, int *);
template __global__ void atomics_int<unsigned>(unsigned *, unsigned, unsigned *);
template __global__ void atomics_int<unsigned long long>(unsigned long long *, unsigned long long, unsigned long long *);
template __global__ void atomics_std<int>(int *, int, int *);
template __global__ void atomics_std<unsigned long long>(unsigned long long *, unsigned long long, unsigned long long *);
template __global__ void atomics_std<float>(float *, float, float *);
template __global__ void atomics_std<double>(double *, double, double *);

__global__ void shared_atomics(int *out, float *fout, unsigned long long *lout)
{
	__shared__ int i;
	__shared__ unsigned u;
	__shared__ float f;
	__shared__ double d;
	__shared__ unsigned long long l;

	out[0] = atomicAdd(&i, 1) + atomicMin(&i, 2) + atomicMax(&i, 3) + atomicExch(&i, 4) + atomicCAS(&i, 5, 6);
	out[1] = (int)(atomicAnd(&u, 1u) + atomicOr(&u, 2u) + atomicXor(&u, 4u) + atomicInc(&u, 7u) + atomicDec(&u, 7u));
	fout[0] = atomicAdd(&f, 1.0f);
	fout[1] = (float)atomicAdd(&d, 1.0);
	lout[0] = atomicAdd(&l, 1ull) + atomicCAS(&l, 1ull, 2ull) + atomicMax(&l, 5ull);
	atomicAdd(&i, 1);
	atomicAdd(&f, 1.0f);
	atomicAdd(&l, 1ull);
	atomicMax(&i, 1);
	atomicOr(&u, 1u);
}

__global__ void warps(int *out, const int *in, double *dout, long long *lout)
{
	int v = in[threadIdx.x];
	int pred;

	out[0] = __shfl_sync(~0u, v, 3) + __shfl_up_sync(~0u, v, 1) + __shfl_down_sync(~0u, v, 1) + __shfl_xor_sync(~0u, v, 1, 16);
	dout[0] = __shfl_sync(~0u, dout[1], 3);
	lout[0] = __shfl_xor_sync(~0u, lout[1], 3);
	out[1] = __all_sync(~0u, v) + __any_sync(~0u, v) + (int)__ballot_sync(~0u, v) + __uni_sync(~0u, v);
	out[2] = (int)__match_any_sync(~0u, v) + (int)__match_all_sync(~0u, v, &pred) + pred;
	out[3] = (int)__match_any_sync(~0u, lout[2]) + (int)__match_all_sync(~0u, lout[2], &pred) + pred;
	out[4] = (int)__activemask();
	__syncwarp();
	__syncwarp(in[3]);
	out[5] = __syncthreads_count(v) + __syncthreads_and(v) + __syncthreads_or(v);
	__nanosleep(100);
	out[6] = (int)clock() + (int)clock64();
#if __CUDA_ARCH__ >= 800
	out[7] = (int)__reduce_add_sync(~0u, (unsigned)v) + __reduce_min_sync(~0u, v) + (int)__reduce_max_sync(~0u, (unsigned)v) +
		 (int)__reduce_and_sync(~0u, (unsigned)v) + (int)__reduce_or_sync(~0u, (unsigned)v) + (int)__reduce_xor_sync(~0u, (unsigned)v);
	out[8] = __reduce_add_sync(~0u, v) + __reduce_max_sync(~0u, v) + (int)__reduce_min_sync(~0u, (unsigned)v);
#endif
}

__global__ void integers(unsigned *o, unsigned a, unsigned b, unsigned c, int s, int t, long long l, unsigned long long u, short h, signed char ch)
{
	o[0] = __popc(a) + __clz(s) + __ffs(s) + __brev(a) + __popcll(u) + __clzll(l) + (unsigned)__ffsll(l) + (unsigned)__brevll(u);
	o[1] = __byte_perm(a, b, c) + __funnelshift_l(a, b, c) + __funnelshift_r(a, b, c) + __funnelshift_lc(a, b, c) + __funnelshift_rc(a, b, c);
	o[2] = __umulhi(a, b) + (unsigned)__mulhi(s, t) + (unsigned)__umul64hi(u, u + 1) + (unsigned)__mul64hi(l, l + 1) + __umul24(a, b) + (unsigned)__mul24(s, t);
	o[3] = __sad(s, t, a) + __usad(a, b, c) + __hadd(s, t) + __rhadd(s, t) + __uhadd(a, b) + __urhadd(a, b);
	o[4] = (unsigned)__dp4a(s, t, s) + __dp4a(a, b, c) + (unsigned)__dp2a_lo(s, t, s) + __dp2a_hi(a, b, c) + (unsigned)__dp2a_hi(s, t, s);
	o[5] = a / b + a % b + (unsigned)(s / t) + (unsigned)(s % t) + (unsigned)(u / (u - 3)) + (unsigned)(u % (u - 3)) + (unsigned)(l / (l - 3)) + (unsigned)(l % (l - 3));
	o[6] = (a << (b & 31)) + (a >> (b & 31)) + (unsigned)(s >> (b & 31)) + (unsigned)(u >> (b & 63)) + (unsigned)(l >> (b & 63)) + (unsigned)(u << (b & 63));
	o[7] = min(a, b) + max(a, b) + (unsigned)min(s, t) + (unsigned)max(s, t) + (unsigned)min(l, l * 3) + (unsigned)max(u, u * 3) + (unsigned)abs(s) + (unsigned)llabs(l);
	o[8] = (a & b) ^ (a | c) ^ (~b & c);
	o[9] = __vadd2(a, b) + __vadd4(a, b) + __vsub2(a, b) + __vabsdiffu4(a, b) + __vmaxu4(a, b) + __vmins2(a, b) + __vcmpgtu4(a, b) + __vsadu4(a, b) + __vavgu4(a, b) + __vaddss2(a, b) + __vaddus4(a, b) + __vabs4(a) + __vneg2(a);
	o[10] = __vimax3_s32(s, t, 3) + __viaddmax_s32(s, t, 3) + __vimin_s32_relu(s, t) + (unsigned)__vimax3_s16x2(a, b, c) + (unsigned)__viaddmin_u16x2(a, b, c) + __vimax_s16x2_relu(a, b);
	o[11] = (unsigned)(short)(h * 3) + (unsigned)(h >> 2) + (unsigned)(signed char)(ch * 5) + (unsigned)(unsigned char)(ch + h) + (unsigned)((unsigned short)h / 3);
	o[12] = (unsigned)(((__int128)l * l) >> 64) + (unsigned)(((unsigned __int128)u * u + u) >> 64);
	o[13] = (a >> 5) & 0x1f;
	o[14] = (unsigned)((s << 7) >> 20);
}

__global__ void floats(float *o, double *d, float a, float b, float c, double x, double y, double z, int n, long long l, unsigned u, unsigned long long v)
{
	o[0] = a + b * c - a / b + sqrtf(c) + rsqrtf(a) + fabsf(b) + fminf(a, b) + fmaxf(b, c) + fmaf(a, b, c) + copysignf(a, b);
	o[1] = __fadd_rz(a, b) + __fadd_ru(a, b) + __fadd_rd(a, b) + __fmul_rz(a, b) + __fmul_ru(a, b) + __fmaf_rz(a, b, c) + __fmaf_rd(a, b, c) + __fsub_ru(a, b);
	o[2] = __fdividef(a, b) + __fdiv_rz(a, b) + __frcp_rn(a) + __frcp_rz(a) + __fsqrt_rn(a) + __fsqrt_rd(a) + __frsqrt_rn(a);
	o[3] = __expf(a) + __exp10f(a) + __logf(a) + __log2f(a) + __log10f(a) + __sinf(a) + __cosf(a) + __tanf(a) + __powf(a, b) + __saturatef(a);
	o[4] = sinf(a) + cosf(a) + tanf(a) + expf(a) + logf(a) + powf(a, b) + tanhf(a) + erff(a) + exp2f(a) + log2f(a) + log1pf(a) + expm1f(a) + cbrtf(a) + atan2f(a, b) + fmodf(a, b) + remainderf(a, b);
	o[5] = floorf(a) + ceilf(a) + truncf(a) + rintf(a) + roundf(a) + nearbyintf(a) + (float)lrintf(a) + ldexpf(a, n) + (isnan(a) ? 1.0f : 0.0f) + (isinf(b) ? 1.0f : 0.0f) + (signbit(a) ? 1 : 0);
	o[6] = (float)n + (float)l + (float)u + (float)v + (float)(int)a + (float)(unsigned)b + (float)(long long)c + (float)(unsigned long long)a + (float)(short)n + (float)(unsigned char)u + (float)x;
	o[7] = (float)__float2int_rz(a) + (float)__float2int_ru(a) + (float)__float2int_rd(a) + (float)__float2int_rn(a) + (float)__float2uint_rn(a) + (float)__float2ll_rd(a) + __int2float_rz(n) + __int2float_ru(n) + __uint2float_rd(u) + __ll2float_rz(l);
	o[8] = __int_as_float(n) + __uint_as_float(u) + (float)__float_as_int(a) + fdimf(a, b) + hypotf(a, b) + lgammaf(a) + tgammaf(a) + j0f(a) + normcdff(a) + sinpif(a) + rhypotf(a, b) + norm3df(a, b, c);
	d[0] = x + y * z - x / y + sqrt(z) + rsqrt(x) + fabs(y) + fmin(x, y) + fmax(y, z) + fma(x, y, z) + copysign(x, y);
	d[1] = __dadd_rz(x, y) + __dmul_ru(x, y) + __fma_rd(x, y, z) + __ddiv_rz(x, y) + __drcp_rn(x) + __drcp_ru(x) + __dsqrt_rn(x) + __dsqrt_rz(x) + __dsub_rd(x, y);
	d[2] = sin(x) + cos(x) + exp(x) + log(x) + pow(x, y) + tanh(x) + erf(x) + atan2(x, y) + cbrt(x) + fmod(x, y) + exp2(x) + tgamma(x);
	d[3] = floor(x) + ceil(x) + trunc(x) + rint(x) + round(x) + (double)n + (double)l + (double)u + (double)v + (double)(int)x + (double)(unsigned)y + (double)(long long)z + (double)(unsigned long long)x + (double)a;
	d[4] = __hiloint2double(n, n) + __double2hiint(x) + __double2loint(x) + __longlong_as_double(l) + (double)__double_as_longlong(x) + (double)__double2float_rz(x) + __double2int_rn(x) + (double)__double2ll_ru(x) + __int2double_rn(n) + __ll2double_rz(l) + __double2float_ru(x);
	d[5] = (isnan(x) ? 1 : 0) + (x < y ? 1 : 0) + (x != z ? 2 : 0) + (isfinite(y) ? 1 : 0) + (a >= b ? 1 : 0) + (!(a > c) ? 1 : 0);
}

__global__ void halves(__half *h, __half2 *h2, __nv_bfloat16 *b, __nv_bfloat162 *b2, float *f, int *n, double *d)
{
	h[0] = __hfma(h[1], h[2], h[3]) + h[4] * h[5] - h[6] / h[7] + hsqrt(h[1]) + hexp(h[2]) + hlog2(h[3]) + hrcp(h[4]) + __habs(h[5]) + -h[6];
	h[1] = __hmin(h[1], h[2]) + __hmax(h[3], h[4]) + hfloor(h[1]) + hceil(h[1]) + hrint(h[2]) + htrunc(h[2]) + hsin(h[1]) + hcos(h[2]) + htanh(h[3]) + hrsqrt(h[4]) + hexp2(h[5]);
#if __CUDA_ARCH__ >= 800
	h[4] = __hfma_relu(h[1], h[2], h[3]) + __hmin_nan(h[1], h[2]) + __hmax_nan(h[2], h[3]);
	h2[2] = __hfma2_relu(h2[1], h2[2], h2[3]);
#endif
	h[2] = __hadd_sat(h[1], h[2]) + __hfma_sat(h[1], h[2], h[3]) + __hmul_rn(h[1], h[2]) + htanh_approx(h[3]);
	n[0] = (h[1] < h[2]) + (h[3] == h[4]) + __hisnan(h[5]) + __half2int_rn(h[1]) + __half2int_rz(h[2]) + (int)__half2uint_ru(h[3]) + (int)__half2ll_rd(h[4]) + __half_as_short(h[5]) + __half2short_rn(h[6]) + __half2char_rz(h[1]);
	h[3] = __int2half_rn(n[1]) + __uint2half_rz((unsigned)n[2]) + __ll2half_rn(n[3]) + __float2half_rz(f[1]) + __float2half_ru(f[2]) + __double2half(d[0]) + __short2half_rn((short)n[4]) + __ushort2half_ru((unsigned short)n[4]);
	f[0] = __half2float(h[1]) + __low2float(h2[0]) + __high2float(h2[1]) + __bfloat162float(b[2]);
	h2[0] = __hfma2(h2[1], h2[2], h2[3]) + h2[4] * h2[5] - h2[6] + h2exp2(h2[1]) + h2rcp(h2[2]) + __habs2(h2[3]) + __hmin2(h2[1], h2[2]) + __hmax2(h2[3], h2[4]) + __hadd2_sat(h2[1], h2[2]) + __hneg2(h2[1]) + h2tanh_approx(h2[3]);
	h2[1] = __hlt2(h2[1], h2[2]) + __hgeu2(h2[3], h2[4]) + __lowhigh2highlow(h2[5]) + __lows2half2(h2[1], h2[2]) + __floats2half2_rn(f[1], f[2]) + __hcmadd(h2[1], h2[2], h2[3]);
	n[1] = __hbeq2(h2[1], h2[2]) + (int)__heq2_mask(h2[1], h2[2]) + (int)__hgt2_mask(h2[1], h2[2]);
#if __CUDA_ARCH__ >= 800
	b[0] = __hfma(b[1], b[2], b[3]) + b[4] * b[5] - b[6] / b[7] + hsqrt(b[1]) + hexp(b[2]) + hlog(b[3]) + __habs(b[5]) + -b[6] + __hmin(b[1], b[2]) + __hmax(b[3], b[4]) + htanh(b[3]) + hfloor(b[1]);
	b[1] = __float2bfloat16_rn(f[1]) + __float2bfloat16_rz(f[2]) + __int2bfloat16_rn(n[1]) + __double2bfloat16(d[1]) + __uint2bfloat16_rd((unsigned)n[1]) + __hfma_relu(b[1], b[2], b[3]) + __hmax_nan(b[2], b[3]);
	n[2] = (b[1] < b[2]) + (b[3] == b[4]) + __bfloat162int_rn(b[1]) + (int)__bfloat162uint_rz(b[2]) + (int)__bfloat162ll_ru(b[1]);
	b2[0] = __hfma2(b2[1], b2[2], b2[3]) + b2[4] * b2[5] - b2[6] + __habs2(b2[3]) + __hmin2(b2[1], b2[2]) + __hneg2(b2[1]) + __floats2bfloat162_rn(f[1], f[2]) + h2exp2(b2[1]) + __hlt2(b2[1], b2[2]);
#endif
	h[9] = __ldg(&h[10]) + __ldcs(&h[11]) + __shfl_sync(~0u, h[12], 1);
}

__global__ void eights(unsigned char *o, unsigned short *s, const float *f, const __half *h, const __half2 *h2, const double *d, __half *ho)
{
	o[0] = __nv_cvt_float_to_fp8(f[0], __NV_SATFINITE, __NV_E4M3);
	o[1] = __nv_cvt_float_to_fp8(f[1], __NV_SATFINITE, __NV_E5M2);
	o[2] = __nv_cvt_halfraw_to_fp8(h[0], __NV_SATFINITE, __NV_E4M3);
	s[0] = __nv_cvt_float2_to_fp8x2(make_float2(f[0], f[1]), __NV_SATFINITE, __NV_E4M3);
	s[1] = __nv_cvt_float2_to_fp8x2(make_float2(f[0], f[1]), __NV_SATFINITE, __NV_E5M2);
	s[2] = __nv_cvt_halfraw2_to_fp8x2(h2[0], __NV_SATFINITE, __NV_E4M3);
	ho[0] = __nv_cvt_fp8_to_halfraw(o[5], __NV_E4M3);
	ho[1] = __nv_cvt_fp8_to_halfraw(o[6], __NV_E5M2);
	o[3] = __nv_cvt_double_to_fp8(d[0], __NV_SATFINITE, __NV_E4M3);
}

__global__ void memory(int4 *o, const int4 *__restrict__ in, const double2 *__restrict__ d, char *c, short2 *s, float *f, const uchar4 *u, longlong4 *l, volatile int *v)
{
	o[0] = in[0];
	o[1] = __ldg(in + 1);
	o[2] = __ldcg(in + 2);
	o[3] = __ldca(in + 3);
	o[4] = __ldcs(in + 4);
	o[5] = __ldlu(in + 5);
	o[6] = __ldcv(in + 6);
	__stwb(o + 7, in[7]);
	__stcg(o + 8, in[8]);
	__stcs(o + 9, in[9]);
	__stwt(o + 10, in[10]);
	f[0] = (float)(d[0].x + d[0].y);
	c[0] = c[1];
	s[0] = s[1];
	c[2] = (char)(u[0].x + u[1].w);
	l[0] = l[1];
	v[0] = v[1];
	__builtin_assume_aligned(c, 16);
	f[1] = __isGlobal(c) + __isShared(c) + __isLocal(c) + __isConstant(c) + __isGridConstant(c);
	f[2] = (float)__cvta_generic_to_shared(c) + (float)__cvta_generic_to_global(c);
	memcpy(c + 16, c + 64, 33);
	memset(c + 100, 7, 19);
	assert(c[0]);
	void *m = malloc(10);
	printf("%p\n", m);
	free(m);
	if (f[4] > 1)
		__trap();
	if (f[5] > 1)
		__brkpt();
	if (f[6] > 1)
		asm volatile("exit;");
	__prof_trigger(1);
	f[3] = *(float *)alloca((size_t)c[0]);
}

__device__ int callee(int a, float4 b) __attribute__((noinline));
__device__ int callee(int a, float4 b)
{
	return a + (int)b.x;
}
struct base {
	__device__ virtual int f(int) { return 1; }
};
struct derived : base {
	__device__ int f(int a) override { return a * 2; }
};
__global__ void calls(int *o, int (*p)(int, float4), int n, base *b)
{
	o[0] = callee(1, make_float4(1, 2, 3, 4)) + p(3, make_float4(1, 1, 1, 1));
	derived d;
	base *q = n > 3 ? &d : b;
	o[1] = q->f(n);
	switch (n) {
	case 1: o[2] = 5; break;
	case 2: o[2] = n * 7; break;
	case 3: o[3] = n; break;
	case 4: o[4] = 11; break;
	case 5: o[5] = n + 3; break;
	case 6: o[6] = 1; break;
	case 9: o[7] = n / 3; break;
	}
}

__global__ void groups(int *o, const int *in)
{
	__shared__ int stage[256];
	auto grid = cg::this_grid();
	auto block = cg::this_thread_block();
	auto tile = cg::tiled_partition<16>(block);
	auto active = cg::coalesced_threads();

	grid.sync();
	block.sync();
	o[0] = cg::reduce(tile, in[threadIdx.x], cg::plus<int>()) + tile.any(in[1]) + (int)tile.ballot(in[2]) + tile.shfl_down(in[3], 1) + (int)tile.match_any(in[4]);
	o[1] = cg::inclusive_scan(tile, in[1]) + cg::exclusive_scan(tile, in[2]) + (int)active.thread_rank() + active.shfl(in[3], 0);
	cg::memcpy_async(block, stage, in, sizeof(int) * 256);
	cg::wait(block);
	o[2] = stage[threadIdx.x];
	auto part = cg::labeled_partition(active, in[7]);
	o[3] = (int)part.size() + cg::reduce(part, in[5], cg::greater<int>());
	if (cg::invoke_one_broadcast(active, [&] { return in[9]; }))
		o[4] = 1;
	auto token = grid.barrier_arrive();
	grid.barrier_wait(std::move(token));
}

__global__ void barriers(int *o, const int *in, const double *din)
{
	__shared__ cuda::barrier<cuda::thread_scope_block> bar;
	__shared__ int stage[64];
	__shared__ double dstage[64];
	auto block = cg::this_thread_block();

	if (threadIdx.x == 0)
		init(&bar, blockDim.x);
	__syncthreads();
	cuda::memcpy_async(block, stage, in, cuda::aligned_size_t<16>(sizeof(stage)), bar);
	bar.arrive_and_wait();
	o[0] = stage[threadIdx.x];
	auto token = bar.arrive();
	bar.wait(std::move(token));
	o[1] = bar.try_wait_for(bar.arrive(), cuda::std::chrono::nanoseconds(100));
	bar.arrive_and_drop();
	cuda::memcpy_async(dstage + threadIdx.x, din + threadIdx.x, sizeof(double), bar);
	bar.wait_parity(in[0] & 1);
	auto pipe = cuda::make_pipeline();
	pipe.producer_acquire();
	cuda::memcpy_async(stage + threadIdx.x, in + threadIdx.x, sizeof(int), pipe);
	pipe.producer_commit();
	cuda::pipeline_consumer_wait_prior<0>(pipe);
	pipe.consumer_release();
	__pipeline_memcpy_async(stage + threadIdx.x, in + threadIdx.x, 4);
	__pipeline_memcpy_async(dstage + threadIdx.x, din + threadIdx.x, 8);
	__pipeline_memcpy_async((int4 *)stage + threadIdx.x, (const int4 *)in + threadIdx.x, 16);
	__pipeline_commit();
	__pipeline_wait_prior(1);
	o[2] = stage[threadIdx.x] + (int)dstage[threadIdx.x];
	__shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
	auto shared_pipe = cuda::make_pipeline(block, &state);
	shared_pipe.producer_acquire();
	cuda::memcpy_async(block, stage, in, sizeof(int) * 64, shared_pipe);
	shared_pipe.producer_commit();
	shared_pipe.consumer_wait();
	shared_pipe.consumer_release();
}

template <typename T, typename C, int M, int N, int K, typename LA, typename LB> __device__ void product(const T *a, const T *b, C *c)
{
	wmma::fragment<wmma::matrix_a, M, N, K, T, LA> fa;
	wmma::fragment<wmma::matrix_b, M, N, K, T, LB> fb;
	wmma::fragment<wmma::accumulator, M, N, K, C> fc;

	wmma::fill_fragment(fc, (C)0);
	wmma::load_matrix_sync(fa, a, 16);
	wmma::load_matrix_sync(fb, b, 16);
	wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
	wmma::mma_sync(fc, fa, fb, fc);
	wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
	wmma::store_matrix_sync(c, fc, 16, wmma::mem_col_major);
}

__global__ void matrices(const __half *h, float *f, __half *ho, const signed char *s, const unsigned char *u, int *n, const __nv_bfloat16 *b, const double *d, double *dd)
{
	typedef wmma::row_major R;
	typedef wmma::col_major C;

	product<__half, float, 16, 16, 16, R, C>(h, h, f);
	product<__half, float, 32, 8, 16, R, R>(h, h, f);
	product<__half, float, 8, 32, 16, C, C>(h, h, f);
	product<__half, __half, 16, 16, 16, C, R>(h, h, ho);
	product<signed char, int, 16, 16, 16, R, C>(s, s, n);
	product<unsigned char, int, 16, 16, 16, R, C>(u, u, n);
	product<signed char, int, 32, 8, 16, R, C>(s, s, n);
	product<signed char, int, 8, 32, 16, R, C>(s, s, n);
#if __CUDA_ARCH__ >= 800
	product<__nv_bfloat16, float, 16, 16, 16, R, C>(b, b, f);
	product<__nv_bfloat16, float, 32, 8, 16, R, C>(b, b, f);
	product<double, double, 8, 8, 4, R, C>(d, d, dd);
	wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, R> ta;
	wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, C> tb;
	wmma::fragment<wmma::accumulator, 16, 16, 8, float> tc;
	wmma::load_matrix_sync(ta, f, 8);
	wmma::load_matrix_sync(tb, f, 8);
	wmma::load_matrix_sync(tc, f, 16, wmma::mem_row_major);
	for (int k = 0; k < ta.num_elements; k++)
		ta.x[k] = wmma::__float_to_tf32(ta.x[k]);
	wmma::mma_sync(tc, ta, tb, tc);
	wmma::store_matrix_sync(f, tc, 16, wmma::mem_row_major);
#endif
}

template <typename T> __global__ void textures(T *o, cudaTextureObject_t t, float x, float y, float z, int n)
{
	o[0] = tex1Dfetch<T>(t, n);
	o[1] = tex1D<T>(t, x);
	o[2] = tex2D<T>(t, x, y);
	o[3] = tex3D<T>(t, x, y, z);
	o[4] = tex1DLayered<T>(t, x, n);
	o[5] = tex2DLayered<T>(t, x, y, n);
	o[6] = texCubemap<T>(t, x, y, z);
	o[7] = texCubemapLayered<T>(t, x, y, z, n);
	o[8] = tex2DLod<T>(t, x, y, z);
	o[9] = tex2DGrad<T>(t, x, y, make_float2(x, y), make_float2(y, x));
	o[10] = tex1DLod<T>(t, x, z);
	o[11] = tex3DLod<T>(t, x, y, z, x);
}
template __global__ void textures<float>(float *, cudaTextureObject_t, float, float, float, int);
template __global__ void textures<float4>(float4 *, cudaTextureObject_t, float, float, float, int);
template __global__ void textures<uchar4>(uchar4 *, cudaTextureObject_t, float, float, float, int);
template __global__ void textures<int2>(int2 *, cudaTextureObject_t, float, float, float, int);
template __global__ void textures<unsigned short>(unsigned short *, cudaTextureObject_t, float, float, float, int);
__global__ void gathers(float4 *o, int4 *n, cudaTextureObject_t t, float x, float y)
{
	o[0] = tex2Dgather<float4>(t, x, y, 0);
	o[1] = tex2Dgather<float4>(t, x, y, 1);
	o[2] = tex2Dgather<float4>(t, x, y, 2);
	n[3] = tex2Dgather<int4>(t, x, y, 3);
}

template <typename T> __global__ void surfaces(T *o, cudaSurfaceObject_t s, int x, int y, int z)
{
	o[0] = surf1Dread<T>(s, x);
	o[1] = surf2Dread<T>(s, x, y);
	o[2] = surf3Dread<T>(s, x, y, z);
	o[3] = surf1DLayeredread<T>(s, x, y);
	o[4] = surf2DLayeredread<T>(s, x, y, z);
	o[5] = surf2Dread<T>(s, x, y, cudaBoundaryModeClamp);
	o[6] = surf2Dread<T>(s, x, y, cudaBoundaryModeZero);
	surf1Dwrite(o[0], s, x);
	surf2Dwrite(o[1], s, x, y);
	surf3Dwrite(o[2], s, x, y, z);
	surf1DLayeredwrite(o[3], s, x, y);
	surf2DLayeredwrite(o[4], s, x, y, z);
	surf2Dwrite(o[5], s, x, y, cudaBoundaryModeClamp);
	surf2Dwrite(o[6], s, x, y, cudaBoundaryModeZero);
}
template __global__ void surfaces<float>(float *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<float4>(float4 *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<uchar4>(uchar4 *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<short2>(short2 *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<unsigned char>(unsigned char *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<ushort4>(ushort4 *, cudaSurfaceObject_t, int, int, int);
template __global__ void surfaces<float2>(float2 *, cudaSurfaceObject_t, int, int, int);

#if __CUDA_ARCH__ >= 900
__global__ void __cluster_dims__(1, 1, 1) clusters(int *o)
{
	__shared__ int s[4];
	auto cluster = cg::this_cluster();

	cluster.sync();
	o[0] = *cluster.map_shared_rank(&s[1], 0) + (int)cluster.block_rank() + (int)cluster.num_blocks();
	cudaGridDependencySynchronize();
	cudaTriggerProgrammaticLaunchCompletion();
}
#endif
