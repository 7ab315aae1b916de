/* SPDX-License-Identifier: Apache-2.0 */
/* One operation, or a few of a kind, a kernel: d[i] = f(a[i], b[i], c[i]). */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdio.h>

typedef unsigned u32;
typedef unsigned long long u64;
typedef long long s64;

#define OP(name, T, ...)                                                                           \
	extern "C" __global__ void name(const T *a, const T *b, const T *c, T *d, int n)           \
	{                                                                                          \
		int i = blockIdx.x * blockDim.x + threadIdx.x;                                     \
                                                                                                   \
		if (i < n) {                                                                       \
			T x = a[i], y = b[i], z = c[i], r;                                         \
                                                                                                   \
			__VA_ARGS__;                                                               \
			d[i] = r;                                                                  \
		}                                                                                  \
	}

OP(mul_hi, u32, r = __umulhi(x, y) + (u32)__mulhi((int)x, (int)z))
OP(mad_lo, u32, r = x * y + z)
OP(div_u, u32, r = y ? x / y ^ x % y : z)
OP(div_s, u32, r = (int)y > 0 ? (u32)((int)x / (int)y ^ (int)x % (int)y) : z)
OP(shifts, u32, u32 p, q, s; asm("shl.b32 %0, %1, %2;" : "=r"(p) : "r"(x), "r"(y & 63));
   asm("shr.u32 %0, %1, %2;" : "=r"(q) : "r"(x), "r"(z & 63));
   asm("shr.s32 %0, %1, %2;" : "=r"(s) : "r"(x), "r"(y & 63)); r = p ^ q * 3 ^ s * 5)
OP(funnel, u32, r = __funnelshift_l(x, y, z) ^ __funnelshift_rc(x, y, z & 63) * 7)
OP(count, u32, r = __popc(x) + 100 * __clz(y >> (z & 31)) + 10000 * __ffs(z))
OP(reverse, u32, r = __brev(x) ^ __byte_perm(y, z, 0x0123))
OP(bfe_u, u32, asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 63), "r"(z & 63)))
OP(bfe_s, u32, asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y & 63), "r"(z & 63)))
OP(bfi, u32, asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(x), "r"(y), "r"(z & 63), "r"(z >> 8 & 63)))
OP(prmt, u32, asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z)))
OP(lop3, u32, u32 p; asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(p) : "r"(x), "r"(y), "r"(z));
   asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(r) : "r"(p), "r"(y), "r"(z)))
OP(minmax, u32, r = min(x, y) + max((int)y, (int)z) - min((int)x, (int)z))
OP(sad, u32, r = __usad(x, y, z) ^ __sad((int)x, (int)y, z) * 3)
OP(mul24, u32, r = __umul24(x, y) + __mul24((int)x, (int)z))
OP(dot4, u32, r = __dp4a(x, y, z) + (u32)__dp4a((int)x, (int)y, (int)z) * 3)
OP(dot2, u32, r = __dp2a_lo(x, y, z) + (u32)__dp2a_hi((int)x, (int)y, (int)z) * 3)
OP(bfind, u32, u32 p; asm("bfind.u32 %0, %1;" : "=r"(p) : "r"(x)); asm("bfind.shiftamt.s32 %0, %1;" : "=r"(r) : "r"(y)); r += p * 100)
OP(choose, u32, r = (x < y) ? z : (((int)x < (int)z) != (y == z)) ? x : y)
OP(narrow, u32, r = (u32)(signed char)x + (u32)(short)y + (unsigned char)(z >> 8) + (unsigned short)(x >> 4))
OP(sat_add, u32, asm("add.sat.s32 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y)); r ^= z)
OP(halves16, u32, short p = (short)x, q = (short)y; r = (u32)(p * q) + (unsigned short)(p - q) + (u32)(q < 0 ? -q : q))
OP(mul64, u64, r = x * y + __umul64hi(x, z) + (u64)__mul64hi((s64)y, (s64)z))
OP(div64, u64, r = (y | 1) ? x / (y >> 20 | 1) + x % (z >> 30 | 1) : 0)
OP(sdiv64, u64, r = (u64)((s64)x / ((s64)z >> 40 | 1)) + (u64)((s64)x % ((s64)y >> 33 | 1)))
OP(shift64, u64, r = (x << (y & 63)) ^ (x >> (z & 63)) ^ (u64)((s64)z >> (y & 63)))
OP(count64, u64, r = __popcll(x) + 100 * __clzll(y) + 10000 * __ffsll(z) + (__brevll(x) & 1))
OP(carry, u64, u32 lo; u32 hi; asm("add.cc.u32 %0, %2, %4; addc.u32 %1, %3, %5;" : "=r"(lo), "=r"(hi)
   : "r"((u32)x), "r"((u32)(x >> 32)), "r"((u32)y), "r"((u32)(y >> 32)));
   r = (u64)hi << 32 | lo; asm("sub.cc.u32 %0, %2, %4; subc.u32 %1, %3, %5;" : "=r"(lo), "=r"(hi)
   : "r"((u32)r), "r"((u32)(r >> 32)), "r"((u32)z), "r"((u32)(z >> 32))); r = (u64)hi << 32 | lo)
OP(mad_wide, u64, r = (u64)(u32)x * (u32)y + z + (u64)((s64)(int)x * (int)(y >> 32)))

OP(f_round, float, r = __fadd_rz(x, y) + __fmul_ru(y, z) - __fadd_rd(x, z))
OP(f_fma, float, r = __fmaf_rz(x, y, z) + __fmaf_ru(z, y, x) - __fmaf_rd(x, x, y))
OP(f_div, float, r = __fdiv_rn(x, y) + __fsqrt_rn(fabsf(z)) + __frcp_rn(y) + __fdiv_rz(z, y))
OP(f_minmax, float, r = fminf(x, y) + fmaxf(y, z) - __saturatef(x))
OP(f_integral, float, r = floorf(x) + 2 * ceilf(y) + 4 * truncf(z) + 8 * rintf(x))
OP(f_compare, float, r = (x < y ? 1 : 0) + (y >= z ? 2 : 0) + (x == z ? 4 : 0) + (x != x ? 8 : 0) + (!(x < z) ? 16 : 0))
OP(f_ftz, float, float p; asm("add.ftz.f32 %0, %1, %2;" : "=f"(p) : "f"(x * 1e-38f), "f"(y * 1e-39f)); r = p * 1e30f)
OP(f_to_int, float, r = (float)(int)x + (float)(u32)fabsf(y) + (float)__float2int_rn(z) + (float)__float2ll_ru(x))
OP(f_from_int, float, r = __int2float_rz(__float_as_int(x)) + __uint2float_ru(__float_as_int(y)) + (float)(s64)(z * 1e15f))
OP(f_half, float, r = __half2float(__float2half_rn(x)) + __half2float(__float2half_rz(y)) + __bfloat162float(__float2bfloat16_rn(z)))
OP(h_ops, float, __half p = __float2half_rn(x); __half q = __float2half_rn(y); __half s = __float2half_rn(z);
   r = __half2float(__hfma(p, q, s)) + __half2float(__hadd(p, q)) * 3 + __half2float(__hmul(q, s)))
OP(h_pairs, float, __half2 p = __floats2half2_rn(x, y); __half2 q = __floats2half2_rn(z, x); __half2 s = __hfma2(p, q, p);
   r = __low2float(s) + __high2float(s) * 2 + (__hgt(__low2half(p), __low2half(q)) ? 100 : 0))
OP(b_pairs, float, __nv_bfloat162 p = __floats2bfloat162_rn(x, y); __nv_bfloat162 q = __floats2bfloat162_rn(z, y);
   __nv_bfloat162 s = __hfma2(p, q, p); r = __low2float(s) + __high2float(s) * 2)
OP(f_math, float, r = __expf(x) + __logf(fabsf(y) + 1) + __sinf(z) + __cosf(x) + rsqrtf(fabsf(y) + 1) + exp2f(z) + tanhf(x))
OP(f_libm, float, r = sinf(x) + expf(y) + powf(fabsf(z), 1.5f) + log1pf(fabsf(x)) + atan2f(x, y) + erff(z))
OP(d_ops, double, r = __dadd_rz(x, y) + __dmul_ru(y, z) + fma(x, y, z) + x / y + sqrt(fabs(z)))
OP(d_cvt, double, r = (double)(float)x + (double)(s64)y + (double)(int)z + floor(x) + (double)(u64)fabs(y) + __double2float_ru(z))
OP(d_libm, double, r = sin(x) + exp(y) + log(fabs(z) + 1) + pow(fabs(x), 0.3))

/* Addresses: the same place by its own space and by a generic pointer. */
__constant__ u32 table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
__device__ u32 total = 40;
__device__ u32 *total_at = &total;

extern "C" __global__ void spaces(u32 *out, u32 n)
{
	__shared__ u32 s[64];
	u32 mine[8], *p;

	for (int k = 0; k < 8; k++)
		mine[k] = table[(k + threadIdx.x) & 7] * k;
	s[threadIdx.x] = threadIdx.x * 3;
	__syncthreads();
	p = n & 1 ? &s[(threadIdx.x + n) & 63] : n & 2 ? &mine[(threadIdx.x + n) & 7] : total_at;
	out[threadIdx.x] = *p + mine[n & 7] + s[63 - threadIdx.x] + (__isShared(p) ? 1000 : 0) +
			   (__isGlobal(p) ? 2000 : 0) + (__isLocal(p) ? 4000 : 0);
}

struct triple {
	u32 a, b, c;
};

__device__ __noinline__ triple rotate(triple t, u32 k)
{
	triple r = {t.b + k, t.c, t.a};

	return r;
}

__device__ __noinline__ u32 factorial(u32 n)
{
	volatile u32 m = n;

	return n < 2 ? 1 : m * factorial(n - 1);
}

__device__ u32 twice(u32 x)
{
	return 2 * x;
}

__device__ u32 square(u32 x)
{
	return x * x;
}

typedef u32 (*step)(u32);
__device__ step steps[2] = {twice, square};

extern "C" __global__ void calls(const u32 *in, u32 *out, triple t)
{
	u32 x = in[threadIdx.x];

	if (x & 1)
		t = rotate(t, x);
	out[threadIdx.x] = t.a + t.b * 10 + t.c * 100 + factorial(x % 8) + steps[x >> 1 & 1](x);
}

extern "C" __global__ void atomics(u32 *u, int *s, u64 *w, float *f, double *d, __half2 *h)
{
	u32 i = blockIdx.x * blockDim.x + threadIdx.x;

	atomicAdd(u, i);
	atomicSub(u + 1, 3);
	atomicMin(u + 2, i + 5);
	atomicMax(u + 3, i);
	atomicInc(u + 4, 9);
	atomicDec(u + 5, 6);
	atomicAnd(u + 6, ~(1u << (i & 31)));
	atomicOr(u + 7, 1u << (i & 31));
	atomicXor(u + 8, i * 77);
	atomicMin(s, 10 - (int)i);
	atomicMax(s + 1, (int)i - 1000);
	atomicAdd(w, (u64)i << 20);
	atomicMax(w + 1, (u64)i * i);
	atomicXor(w + 2, (u64)i << 33);
	atomicAdd(f, 0.5f);
	atomicAdd(d, 0.25);
	atomicAdd(h, __floats2half2_rn(1, 0.5f));
	for (u32 old = u[9], seen;; old = seen) {
		seen = atomicCAS(u + 9, old, old + 2);
		if (seen == old)
			break;
	}
}

extern "C" __global__ void talk(int n)
{
	if (threadIdx.x == 1)
		printf("%d %5.2f %s %c %lld %x%%\n", n, 2.5, "text", 'q', 1ll << 40, 255u);
}

extern "C" __global__ void check(int n)
{
	if (n >= 2 && threadIdx.x == 3)
		asm volatile("trap;");
}

extern "C" __global__ void heap(u32 *out)
{
	u32 *p = (u32 *)malloc(16 + threadIdx.x * 4);

	for (u32 k = 0; k < 4; k++)
		p[k] = threadIdx.x * k;
	out[threadIdx.x] = p[3] + p[1];
	free(p);
}

extern "C" __global__ void endless(volatile u32 *p)
{
	while (*p == 0)
		;
}

extern "C" __global__ void beyond(u32 *p, u64 at)
{
	p[at + (threadIdx.x == 7 ? 1u << 20 : threadIdx.x)] = 1;
}

extern "C" __global__ void crooked(char *p)
{
	*(u32 *)(p + 2 * threadIdx.x) = 1;
}
