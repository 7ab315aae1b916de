/* SPDX-License-Identifier: Apache-2.0 */
/* Single operations, calls, address spaces, atomics and faults (tests/kernels/ops.cu). */
#include <fenv.h>
#include <pthread.h>
#include <time.h>

#include "services/gpu-exec/ptx/internal.h"
#include "tests/unit/ptx_rig.h"

#define N 512

typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

static u32 draw(void)
{
	static const u32 edge[] = {0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, UINT32_MAX, 0xffff8000};

	rig_seed = rig_seed * 1664525 + 1013904223;
	return rig_seed % 5 == 0 ? edge[rig_seed >> 8 & 7] : rig_seed ^ rig_seed >> 13;
}

static u32 mul_hi(u32 x, u32 y, u32 z)
{
	return (u32)((u64)x * y >> 32) + (u32)((s64)(int)x * (int)z >> 32);
}

static u32 mad_lo(u32 x, u32 y, u32 z)
{
	return x * y + z;
}

static u32 div_u(u32 x, u32 y, u32 z)
{
	return y ? x / y ^ x % y : z;
}

static u32 div_s(u32 x, u32 y, u32 z)
{
	return (int)y > 0 ? (u32)((int)x / (int)y ^ (int)x % (int)y) : z;
}

static u32 shifts(u32 x, u32 y, u32 z)
{
	u32 n = y & 63, m = z & 63;
	u32 p = n > 31 ? 0 : x << n, q = m > 31 ? 0 : x >> m, s = (u32)((int)x >> (n > 31 ? 31 : n));

	return p ^ q * 3 ^ s * 5;
}

static u32 funnel(u32 x, u32 y, u32 z)
{
	u64 v = (u64)y << 32 | x;
	u32 n = z & 63;

	return (u32)(v << (z & 31) >> 32) ^ (u32)(v >> (n > 32 ? 32 : n)) * 7;
}

static u32 count(u32 x, u32 y, u32 z)
{
	u32 v = y >> (z & 31), ones = 0, zeros = 0, first = 0;

	for (u32 k = 0; k < 32; k++)
		ones += x >> k & 1;
	while (zeros < 32 && !(v >> (31 - zeros) & 1))
		zeros++;
	for (u32 k = 32; k > 0; k--)
		if (z >> (k - 1) & 1)
			first = k;
	return ones + 100 * zeros + 10000 * first;
}

static u32 bfe_u(u32 x, u32 y, u32 z)
{
	u32 r = 0;

	for (u32 k = 0; k < (z & 63) && k < 32; k++)
		if ((y & 63) + k < 32)
			r |= (x >> ((y & 63) + k) & 1) << k;
	return r;
}

static u32 bfe_s(u32 x, u32 y, u32 z)
{
	u32 pos = y & 63, len = z & 63, top, r = 0;

	if (len == 0)
		return 0;
	top = pos + len - 1 > 31 ? 31 : pos + len - 1;
	for (u32 k = 0; k < 32; k++)
		r |= (k < len && pos + k <= 31 ? x >> (pos + k) & 1 : x >> top & 1) << k;
	return r;
}

static u32 bfi(u32 x, u32 y, u32 z)
{
	u32 pos = z & 63, len = z >> 8 & 63;

	for (u32 k = 0; k < len && pos + k < 32; k++)
		y = (y & ~(1u << (pos + k))) | (x >> k & 1) << (pos + k);
	return y;
}

static u32 prmt(u32 x, u32 y, u32 z)
{
	u64 v = (u64)y << 32 | x;
	u32 r = 0;

	for (u32 k = 0; k < 4; k++) {
		u32 byte = (u32)(v >> 8 * (z >> 4 * k & 7)) & 255;

		if (z >> 4 * k & 8)
			byte = byte >> 7 ? 255 : 0;
		r |= byte << 8 * k;
	}
	return r;
}

static u32 lop3(u32 x, u32 y, u32 z)
{
	return ((x & y) | (~x & z)) ^ y ^ z;
}

static u32 minmax(u32 x, u32 y, u32 z)
{
	return (x < y ? x : y) + (u32)((int)y > (int)z ? y : z) - (u32)((int)x < (int)z ? x : z);
}

static u32 sad(u32 x, u32 y, u32 z)
{
	return ((x > y ? x - y : y - x) + z) ^ (((int)x > (int)y ? x - y : y - x) + z) * 3;
}

static s64 low24(u32 v)
{
	return (int)(v << 8) >> 8;
}

static u32 mul24(u32 x, u32 y, u32 z)
{
	return (u32)((u64)(x & 0xffffff) * (y & 0xffffff)) + (u32)(low24(x) * low24(z));
}

static u32 dot4(u32 x, u32 y, u32 z)
{
	u32 u = z, s = z;

	for (u32 k = 0; k < 32; k += 8) {
		u += (x >> k & 255) * (y >> k & 255);
		s += (u32)((int8_t)(x >> k) * (int8_t)(y >> k));
	}
	return u + s * 3;
}

static u32 choose(u32 x, u32 y, u32 z)
{
	return x < y ? z : ((int)x < (int)z) != (y == z) ? x : y;
}

static u32 narrow(u32 x, u32 y, u32 z)
{
	return (u32)(int8_t)x + (u32)(int16_t)y + (uint8_t)(z >> 8) + (uint16_t)(x >> 4);
}

static u32 sat_add(u32 x, u32 y, u32 z)
{
	s64 v = (s64)(int)x + (int)y;

	return (u32)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v) ^ z;
}

static const struct {
	const char *name;
	u32 (*f)(u32, u32, u32);
} ops[] = {
	{"mul_hi", mul_hi}, {"mad_lo", mad_lo}, {"div_u", div_u},   {"div_s", div_s},
	{"shifts", shifts}, {"funnel", funnel}, {"count", count},   {"bfe_u", bfe_u},
	{"bfe_s", bfe_s},   {"bfi", bfi},	{"prmt", prmt},	    {"lop3", lop3},
	{"minmax", minmax}, {"sad", sad},	{"mul24", mul24},   {"dot4", dot4},
	{"choose", choose}, {"narrow", narrow}, {"sat_add", sat_add},
};

KERNEL_TEST(words, "ops.ptx")
{
	u32 *v[4];

	for (unsigned k = 0; k < 4; k++)
		v[k] = rig_buffer(r, N * 4);
	for (unsigned k = 0; k < 3 * N; k++)
		v[k / N][k % N] = draw();
	for (unsigned t = 0; t < sizeof(ops) / sizeof(ops[0]); t++) {
		RUN(r, ops[t].name, G(4, 1, 1), G(128, 1, 1), 0, P(v[0]), P(v[1]), P(v[2]), P(v[3]), N);
		for (unsigned k = 0; k < N; k++)
			if (v[3][k] != ops[t].f(v[0][k], v[1][k], v[2][k]))
				fail_msg("%s(%#x, %#x, %#x) = %#x, not %#x", ops[t].name, v[0][k],
					 v[1][k], v[2][k], v[3][k],
					 ops[t].f(v[0][k], v[1][k], v[2][k]));
	}
}

static u64 carry(u64 x, u64 y, u64 z)
{
	return x + y - z;
}

static u64 mul64(u64 x, u64 y, u64 z)
{
	return x * y + (u64)((unsigned __int128)x * z >> 64) +
	       (u64)((__int128)(s64)y * (s64)z >> 64);
}

static u64 shift64(u64 x, u64 y, u64 z)
{
	return (x << (y & 63)) ^ (x >> (z & 63)) ^ (u64)((s64)z >> (y & 63));
}

static u64 mad_wide(u64 x, u64 y, u64 z)
{
	return (u64)(u32)x * (u32)y + z + (u64)((s64)(int)x * (int)(y >> 32));
}

KERNEL_TEST(longs, "ops.ptx")
{
	static const struct {
		const char *name;
		u64 (*f)(u64, u64, u64);
	} wide[] = {{"carry", carry}, {"mul64", mul64}, {"shift64", shift64}, {"mad_wide", mad_wide}};
	u64 *v[4];

	for (unsigned k = 0; k < 4; k++)
		v[k] = rig_buffer(r, N * 8);
	for (unsigned k = 0; k < 3 * N; k++)
		v[k / N][k % N] = (u64)draw() << 32 | draw();
	for (unsigned t = 0; t < 4; t++) {
		RUN(r, wide[t].name, G(4, 1, 1), G(128, 1, 1), 0, P(v[0]), P(v[1]), P(v[2]), P(v[3]),
		    N);
		for (unsigned k = 0; k < N; k++)
			assert_int_equal(v[3][k], wide[t].f(v[0][k], v[1][k], v[2][k]));
	}
}

/* In a mode of rounding: volatile keeps the compiler from computing before it is set. */
static double in_mode(int mode, char op, double x, double y)
{
	volatile double a = x, b = y, v;

	fesetround(mode);
	v = op == '+' ? a + b : a * b;
	fesetround(FE_TONEAREST);
	return v;
}

KERNEL_TEST(doubles, "ops.ptx")
{
	double *v[4];

	for (unsigned k = 0; k < 4; k++)
		v[k] = rig_buffer(r, N * 8);
	for (unsigned k = 0; k < 3 * N; k++)
		v[k / N][k % N] = (double)(int)draw() / 65537.0;
	RUN(r, "d_ops", G(4, 1, 1), G(128, 1, 1), 0, P(v[0]), P(v[1]), P(v[2]), P(v[3]), N);
	for (unsigned k = 0; k < N; k++) {
		double x = v[0][k], y = v[1][k], z = v[2][k];
		double want = in_mode(FE_TOWARDZERO, '+', x, y) + in_mode(FE_UPWARD, '*', y, z) +
			      fma(x, y, z) + x / y + sqrt(fabs(z));

		assert_true(v[3][k] == want || (want != want && v[3][k] != v[3][k]));
	}
	RUN(r, "d_libm", G(4, 1, 1), G(128, 1, 1), 0, P(v[0]), P(v[1]), P(v[2]), P(v[3]), N);
	for (unsigned k = 0; k < N; k++) {
		double x = v[0][k], y = v[1][k], z = v[2][k];
		double want = sin(x) + exp(y) + log(fabs(z) + 1) + pow(fabs(x), 0.3);

		assert_true(isinf(want) ? v[3][k] == want
					: fabs(v[3][k] - want) <= 1e-13 * fabs(want) + 1e-12);
	}
}

KERNEL_TEST(calls, "ops.ptx")
{
	u32 *in = rig_buffer(r, 256), *out = rig_buffer(r, 256), t[3] = {5, 6, 7};
	const struct ptx_function *f = ptx_module_function_find(r->module, "calls");
	uint8_t params[28];
	struct ptx_launch l = {.function = f, .grid = {1, 1, 1}, .block = {64, 1, 1},
			       .params = params, .params_size = 28, .executor = r->executor};

	for (u32 k = 0; k < 64; k++)
		in[k] = k * 5;
	memcpy(params, &in, 8);
	memcpy(params + 8, &out, 8);
	memcpy(params + 16, t, 12);
	assert_int_equal(ptx_launch(r->machine, &l, &r->fault), 0);
	for (u32 k = 0; k < 64; k++) {
		u32 x = in[k], a = t[0], b = t[1], c = t[2], fact = 1;

		if (x & 1) {
			a = t[1] + x;
			b = t[2];
			c = t[0];
		}
		for (u32 j = 2; j <= x % 8; j++)
			fact *= j;
		assert_int_equal(out[k], a + b * 10 + c * 100 + fact + (x >> 1 & 1 ? x * x : 2 * x));
	}
}

KERNEL_TEST(spaces, "ops.ptx")
{
	static const u32 table[8] = {3, 1, 4, 1, 5, 9, 2, 6};
	u32 *out = rig_buffer(r, 256);

	for (u32 n = 0; n < 4; n++) {
		RUN(r, "spaces", G(1, 1, 1), G(64, 1, 1), 0, P(out), n);
		for (u32 t = 0; t < 64; t++) {
			u32 mine[8], p;

			for (u32 k = 0; k < 8; k++)
				mine[k] = table[(k + t) & 7] * k;
			p = n & 1   ? ((t + n) & 63) * 3 + 1000
			    : n & 2 ? mine[(t + n) & 7] + 4000
				    : 40 + 2000;
			assert_int_equal(out[t], p + mine[n & 7] + (63 - t) * 3);
		}
	}
}

KERNEL_TEST(atomics, "ops.ptx")
{
	u32 *u = rig_buffer(r, 64);
	int *s = rig_buffer(r, 8);
	u64 *w = rig_buffer(r, 32);
	float *f = rig_buffer(r, 4);
	double *d = rig_buffer(r, 8);
	uint16_t *h = rig_buffer(r, 4);
	u32 n = 1024, xor = 0;
	u64 sum = 0, wide = 0;

	u[2] = UINT32_MAX;
	u[6] = UINT32_MAX;
	RUN(r, "atomics", G(8, 1, 1), G(128, 1, 1), 0, P(u), P(s), P(w), P(f), P(d), P(h));
	for (u32 k = 0; k < n; k++) {
		xor ^= k * 77;
		sum += (u64)k << 20;
		wide ^= (u64)k << 33;
	}
	assert_int_equal(u[0], n * (n - 1) / 2);
	assert_int_equal(u[1], 0u - 3 * n);
	assert_int_equal(u[2], 5);
	assert_int_equal(u[3], n - 1);
	assert_int_equal(u[4], n % 10);
	assert_int_equal(u[5], (7 - n % 7) % 7);
	assert_int_equal(u[6], 0);
	assert_int_equal(u[7], UINT32_MAX);
	assert_int_equal(u[8], xor);
	assert_int_equal(u[9], 2 * n);
	assert_int_equal(s[0], 10 - (int)(n - 1));
	assert_int_equal(s[1], (int)(n - 1) - 1000);
	assert_true(w[0] == sum && w[1] == (u64)(n - 1) * (n - 1) && w[2] == wide);
	assert_true(*f == 512 && *d == 256);
	assert_int_equal(h[0], 0x6400); /* 1024 */
	assert_int_equal(h[1], 0x6000); /* 512 */
}

KERNEL_TEST(talk, "ops.ptx")
{
	RUN(r, "talk", G(1, 1, 1), G(32, 1, 1), 0, 7);
	assert_int_equal(r->printed_size, strlen("7  2.50 text q 1099511627776 ff%\n"));
	assert_memory_equal(r->printed, "7  2.50 text q 1099511627776 ff%\n", r->printed_size);
}

KERNEL_TEST(heap, "ops.ptx")
{
	u32 *out = rig_buffer(r, 256);

	RUN(r, "heap", G(1, 1, 1), G(64, 1, 1), 0, P(out));
	for (u32 k = 0; k < 64; k++)
		assert_int_equal(out[k], 4 * k);
}

KERNEL_TEST(faults, "ops.ptx")
{
	u32 *p = rig_buffer(r, 4096);
	uint64_t args[] = {P(p), 0};

	assert_int_equal(rig_try(r, "beyond", G(1, 1, 1), G(32, 1, 1), 0, args, 2), 700);
	assert_int_equal(r->fault.thread[0], 7);
	assert_int_equal(r->fault.address, P(p) + (4u << 20));
	assert_non_null(strstr(r->fault.text, "beyond"));
	assert_int_equal(rig_try(r, "crooked", G(1, 1, 1), G(32, 1, 1), 0, args, 1), 716);
	assert_int_equal(r->fault.thread[0], 1);
	args[0] = 2;
	assert_int_equal(rig_try(r, "check", G(1, 1, 1), G(32, 1, 1), 0, args, 1), 719);
	args[0] = 1;
	assert_int_equal(rig_try(r, "check", G(1, 1, 1), G(32, 1, 1), 0, args, 1), 0);
	assert_int_equal(rig_try(r, "check", G(0, 1, 1), G(32, 1, 1), 0, args, 1), 9);
	assert_int_equal(rig_try(r, "check", G(1, 1, 1), G(1025, 1, 1), 0, args, 1), 9);
	memset(p, 0, 4096); /* how many lanes came to store is not told */
}

static atomic_int cancel;

static void *canceller(void *arg)
{
	(void)arg;
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	atomic_store(&cancel, 1);
	return NULL;
}

KERNEL_TEST(endless, "ops.ptx")
{
	u32 *p = rig_buffer(r, 4);
	pthread_t thread;
	struct ptx_launch l = {.function = ptx_module_function_find(r->module, "endless"),
			       .grid = {2, 1, 1}, .block = {64, 1, 1},
			       .params = &p, .params_size = 8, .cancel = &cancel,
			       .executor = r->executor};

	atomic_store(&cancel, 0);
	assert_int_equal(pthread_create(&thread, NULL, canceller, NULL), 0);
	assert_int_equal(ptx_launch(r->machine, &l, &r->fault), 702);
	pthread_join(thread, NULL);
}

/* What is wrong is said with its line when the module is loaded; what cannot be run, when its function is asked for. */
static void test_refused(void **state)
{
	static const struct {
		const char *body;
		int code;
		unsigned line;
	} bad[] = {
		{"add.s32 %r1, %r1, %r9;", 801, 6},
		{"\nfrob.b32 %r1, %r1;", 801, 7},
		{"add.rn.s32 %r1, %r1, 1;", 801, 6},
		{"bra nowhere;", 218, 6},
		{"mov.u32 %r1, 5", 218, 7},
		{"add.s32 %r1, %p1, 1;", 218, 6},
		{"call absent, ();", 218, 6},
		{"ld.global.u32 %r1, %r1;", 218, 6},
	};
	struct ptx_machine *m;

	(void)state;
	assert_int_equal(ptx_machine_create(NULL, &m), 0);
	for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		char text[512];
		struct ptx_source source = {text, sizeof(text)};
		struct ptx_module *module;
		struct ptx_error error;

		snprintf(text, sizeof(text),
			 ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n"
			 "{ .reg .b32 %%r<3>; .reg .pred %%p<2>;\n%s\n}\n",
			 bad[k].body);
		if (ptx_module_load(m, &source, 1, &module, &error) == 0) {
			ptx_function_refused(ptx_module_function_find(module, "k"), &error);
			ptx_module_unload(module);
		}
		if (error.code != bad[k].code || error.line != bad[k].line)
			fail_msg("%s: %d line %u: %s", bad[k].body, error.code, error.line,
				 error.text);
	}
	ptx_machine_destroy(m);
}

static const char partly[] = "\
.version 8.0\n.target sm_75\n.address_size 64\n\
.global .u32 out;\n\
.func (.reg .b32 %d) odd(.reg .b32 %a)\n\
{\n .shared .b8 room[64];\n .reg .b32 %r<2>; .reg .b64 %s;\n { mov.u64 %s, room; frob.b32 %r1, %a; }\n ret;\n}\n\
.func (.reg .b32 %d) over(.reg .b32 %a)\n{\n call (%d), odd, (%a);\n ret;\n}\n\
.visible .entry bad()\n{\n .reg .b32 %r<2>;\nL: bra M;\n call (%r1), over, (%r1);\nM: ret;\n}\n\
.visible .entry wide() .reqnctapercluster 2\n{\n ret;\n}\n\
.visible .entry good(.param .u32 v)\n\
{\n .reg .b32 %r<2>;\nL: ld.param.u32 %r1, [v];\n st.global.u32 [out], %r1;\n ret;\n}\n\
.visible .entry through()\n\
{\n .reg .b32 %r<2>; .reg .b64 %f;\nP: .callprototype (.reg .b32 _) _ (.reg .b32 _);\n\
 mov.u64 %f, odd;\n call (%r1), %f, (%r1), P;\n ret;\n}\n";

/* A function that cannot run takes those with it that call it, and nobody else. */
static void test_refused_apart(void **state)
{
	static const struct {
		const char *name, *why;
		unsigned line;
	} refused[] = {{"odd", "'frob'", 9}, {"over", "calls odd", 9}, {"bad", "calls odd", 9}, {"wide", "Clusters", 24}};

	(void)state;
	for (unsigned e = PTX_EXEC_INTERPRETER; e <= PTX_EXEC_GROUPS; e++) {
		struct ptx_error error;
		struct rig r;
		u32 out;

		rig_open_text(&r, e, partly, sizeof(partly));
		for (unsigned k = 0; k < sizeof(refused) / sizeof(refused[0]); k++) {
			const struct ptx_function *f = ptx_module_function_find(r.module, refused[k].name);

			assert_non_null(f);
			assert_int_equal(ptx_function_refused(f, &error), 801);
			if (!strstr(error.text, refused[k].why) || error.line != refused[k].line)
				fail_msg("%s: line %u: %s", refused[k].name, error.line, error.text);
		}
		assert_int_equal(rig_try(&r, "bad", G(1, 1, 1), G(32, 1, 1), 0, NULL, 0), 801);
		assert_non_null(strstr(r.fault.text, "'frob'"));
		assert_int_equal(ptx_function_refused(ptx_module_function_find(r.module, "good"), NULL), 0);
		RUN(&r, "good", G(1, 1, 1), G(32, 1, 1), 0, 41 + e);
		memcpy(&out, ptx_module_variable_find(r.module, "out")->address, 4);
		assert_int_equal(out, 41 + e);
		assert_int_equal(rig_try(&r, "through", G(1, 1, 1), G(32, 1, 1), 0, NULL, 0), 719);
		assert_non_null(strstr(r.fault.text, "odd cannot run here"));
		rig_close(&r);
	}
}

/* The sum of a product rounded once, against the processor's own modes. */
static void test_directed(void **state)
{
	static const struct {
		int mode;
		unsigned rnd;
	} modes[] = {{FE_TOWARDZERO, RND_RZ}, {FE_DOWNWARD, RND_RM}, {FE_UPWARD, RND_RP}};
	static const float edge[] = {0.0f,    -0.0f,	1.0f,	  -1.0f,  0x1p-149f, -0x1p-149f,
				     0x1p-126f, 0x1.fffffep127f, -0x1.fffffep127f, INFINITY, -INFINITY, NAN};

	(void)state;
	for (unsigned n = 0; n < 300000; n++) {
		float v[3];

		for (unsigned k = 0; k < 3; k++) {
			u32 bits = draw() * 2654435761u ^ draw();

			/* exponents near each other, so that sums cancel */
			if (n & 1)
				bits = (bits & 0x807fffff) | (0x3c000000 + (bits & 0x07800000));
			memcpy(&v[k], &bits, 4);
			if (n % 7 == k)
				v[k] = edge[bits % 12];
		}
		if (n % 5 == 0)
			v[2] = -v[0] * v[1];
		for (unsigned m = 0; m < 3; m++) {
			volatile float a = v[0], b = v[1], c = v[2], want;
			float got = fma_f32_directed(v[0], v[1], v[2], modes[m].rnd);

			fesetround(modes[m].mode);
			want = fmaf(a, b, c);
			fesetround(FE_TONEAREST);
			if (want != want ? got == got : got != want || signbit(got) != signbit(want))
				fail_msg("mode %u: %a * %a + %a is %a, not %a", modes[m].rnd, (double)a,
					 (double)b, (double)c, (double)want, (double)got);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),	cmocka_unit_test(test_longs),
		cmocka_unit_test(test_doubles), cmocka_unit_test(test_calls),
		cmocka_unit_test(test_spaces),	cmocka_unit_test(test_atomics),
		cmocka_unit_test(test_talk),	cmocka_unit_test(test_heap),
		cmocka_unit_test(test_directed), cmocka_unit_test(test_faults),	cmocka_unit_test(test_endless),
		cmocka_unit_test(test_refused),	cmocka_unit_test(test_refused_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
