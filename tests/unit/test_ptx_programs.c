/* SPDX-License-Identifier: Apache-2.0 */
/* Larger kernels: of libraries that programs use, and such as run long enough to be compiled on the way. */
#include "tests/unit/ptx_rig.h"

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

KERNEL_TEST(cub, "cub.ptx")
{
	int *in = rig_buffer(r, 512 * 4), *sorted = rig_buffer(r, 512 * 4), *scanned = rig_buffer(r, 512 * 4),
	    *sums = rig_buffer(r, 4 * 4), want[512];

	for (int k = 0; k < 512; k++)
		want[k] = in[k] = (int)((uint32_t)k * 2654435761u) >> 8;
	RUN(r, "cub_block", G(4, 1, 1), G(64, 1, 1), 0, P(in), P(sorted), P(scanned), P(sums));
	for (int b = 0; b < 4; b++) {
		int sum = 0;

		qsort(want + b * 128, 128, 4, compare);
		for (int k = 0; k < 128; k++) {
			assert_int_equal(scanned[b * 128 + k], sum);
			sum += want[b * 128 + k];
		}
		assert_int_equal(sums[b], sum);
	}
	assert_memory_equal(sorted, want, sizeof(want));
}

/* Small numbers that a half and a bf16 have exactly, and so their sums. */
static float small(int k)
{
	return (float)((k * 7 + k / 16 * 3) % 17 - 8) / 4;
}

/* Of numbers that it has exactly. */
static uint16_t half_of(float f, bool bf16)
{
	int exponent = 0;
	float m = frexpf(fabsf(f), &exponent); /* from a half to one */
	uint32_t u;

	memcpy(&u, &f, 4);
	if (bf16)
		return (uint16_t)(u >> 16);
	return f == 0 ? 0 : (uint16_t)((f < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | ((int)(m * 2048) & 0x3ff));
}

static float of_half(uint16_t h)
{
	float v = h & 0x7fff ? ldexpf((float)((h & 0x3ff) | 0x400), (h >> 10 & 31) - 25) : 0;

	return h >> 15 ? -v : v;
}

KERNEL_TEST(wmma, "matrix.ptx")
{
	static const char *const kernels[] = {"wmma_half", "wmma_bf16", "wmma_half_sums"};

	for (int which = 0; which < 3; which++) {
		uint16_t *a = rig_buffer(r, 512), *b = rig_buffer(r, 512), *ch = rig_buffer(r, 512);
		float *c = rig_buffer(r, 1024);

		for (int k = 0; k < 256; k++) {
			a[k] = half_of(small(k), which == 1);
			b[k] = half_of(small(k + 5), which == 1);
			c[k] = (float)(k % 5);
			ch[k] = half_of((float)(k % 5), false);
		}
		RUN(r, kernels[which], G(1, 1, 1), G(32, 1, 1), 0, P(a), P(b), which == 2 ? P(ch) : P(c));
		for (int i = 0; i < 16; i++)
			for (int j = 0; j < 16; j++) {
				float want = (float)((i * 16 + j) % 5);

				for (int k = 0; k < 16; k++)
					want += small(which == 1 ? i + k * 16 : i * 16 + k) *
						small((which == 0 ? j * 16 + k : k * 16 + j) + 5);
				assert_true((which == 2 ? of_half(ch[i * 16 + j]) : c[i * 16 + j]) == 2 * want);
			}
	}
}

KERNEL_TEST(mma, "matrix.ptx")
{
	uint16_t *a = rig_buffer(r, 512), *b = rig_buffer(r, 256);
	float *c = rig_buffer(r, 512), *fa = rig_buffer(r, 512), *fb = rig_buffer(r, 256);

	for (int k = 0; k < 256; k++)
		a[k] = half_of(small(k), false);
	for (int k = 0; k < 128; k++) {
		b[k] = half_of(small(k + 3), false);
		fa[k] = small(k + 1);
	}
	for (int k = 0; k < 64; k++)
		fb[k] = small(k + 2);
	RUN(r, "mma_half", G(1, 1, 1), G(32, 1, 1), 0, P(a), P(b), P(c));
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 8; j++) {
			float want = (float)(1 + j % 2 + i / 8 * 2);

			for (int k = 0; k < 16; k++)
				want += small(i * 16 + k) * small(j * 16 + k + 3);
			assert_true(c[i * 8 + j] == want);
		}
	RUN(r, "mma_tf32", G(1, 1, 1), G(32, 1, 1), 0, P(fa), P(fb), P(c));
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < 8; j++) {
			float want = 0;

			for (int k = 0; k < 8; k++)
				want += small(i * 8 + k + 1) * small(k * 8 + j + 2);
			assert_true(c[i * 8 + j] == want);
		}
}

KERNEL_TEST(shapes, "matrix.ptx")
{
	static const struct {
		unsigned m, n, c;
		bool rows, bytes;
	} whole[] = {{16, 16, 0, false, false}, {32, 8, 256, false, false}, {8, 32, 512, false, false}, {16, 16, 768, true, true}};
	int8_t *a = rig_buffer(r, 512), *b = rig_buffer(r, 512);
	uint16_t *ha = rig_buffer(r, 1024), *hb = rig_buffer(r, 1024), *moved = rig_buffer(r, 256);
	int *c = rig_buffer(r, 4096), *d = rig_buffer(r, 512);
	float *f = rig_buffer(r, 2048);
	double *da = rig_buffer(r, 256), *db = rig_buffer(r, 256), *dc = rig_buffer(r, 512), *dd = rig_buffer(r, 512);

	for (int k = 0; k < 512; k++) {
		a[k] = (int8_t)(k * 37 + 11);
		b[k] = (int8_t)(k * 91 - 5);
		ha[k] = half_of(small(k), false);
		hb[k] = half_of(small(k + 7), false);
		f[k] = (float)(k % 7);
	}
	for (int k = 0; k < 1024; k++)
		c[k] = k % 11;
	for (int k = 0; k < 32; k++) {
		da[k] = 1.0 / (k + 1);
		db[k] = k - 9.25;
	}
	RUN(r, "wmma_s8", G(1, 1, 1), G(32, 1, 1), 0, P(a), P(b), P(c));
	for (unsigned w = 0; w < 4; w++)
		for (unsigned i = 0; i < whole[w].m; i++)
			for (unsigned j = 0; j < whole[w].n; j++) {
				unsigned at = whole[w].c + i * whole[w].n + j;
				int want = (int)at % 11;

				for (unsigned k = 0; k < 16; k++) {
					int x = a[i * 16 + k], y = b[whole[w].rows ? k * 16 + j : j * 16 + k];

					want += whole[w].bytes ? (uint8_t)x * (uint8_t)y : x * y;
				}
				assert_int_equal(c[at], want);
			}
	RUN(r, "wmma_shapes", G(1, 1, 1), G(32, 1, 1), 0, P(ha), P(hb), P(f));
	for (unsigned at = 0; at < 512; at++) {
		unsigned n = at < 256 ? 8 : 32, i = at % 256 / n, j = at % n;
		float want = (float)(at % 7);

		for (unsigned k = 0; k < 16; k++)
			want += small((int)(i * 16 + k)) * small((int)(j * 16 + k) + 7);
		assert_true(f[at] == want);
	}
	RUN(r, "wmma_double", G(1, 1, 1), G(32, 1, 1), 0, P(da), P(db), P(dc));
	RUN(r, "mma_double", G(1, 1, 1), G(32, 1, 1), 0, P(da), P(db), P(dd));
	for (unsigned i = 0; i < 8; i++)
		for (unsigned j = 0; j < 8; j++) {
			double x = 0, y = 0.5 + j % 2;

			for (unsigned k = 0; k < 4; k++) {
				x = fma(da[i * 4 + k], db[j * 4 + k], x);
				y = fma(da[i * 4 + k], db[k * 8 + j], y);
			}
			assert_true(dc[i * 8 + j] == x && dd[i * 8 + j] == y);
		}
	RUN(r, "mma_s8", G(1, 1, 1), G(32, 1, 1), 0, P(a), P(b), P(d));
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 8; j++) {
			int want = 1 + (int)(j % 2 + i / 8 * 2);

			for (unsigned k = 0; k < 32; k++)
				want += a[i * 32 + k] * b[j * 32 + k];
			assert_int_equal(d[i * 8 + j], want);
		}
	RUN(r, "matrix_moves", G(1, 1, 1), G(32, 1, 1), 0, P(ha), P(moved));
	for (unsigned k = 0; k < 64; k++) {
		assert_int_equal(moved[k], ha[k % 8 * 8 + k / 8]);
		assert_int_equal(moved[64 + k], ha[k]);
	}
}

/* A warp that has lost lanes cannot multiply: an error, and nobody waits for ever. */
static void test_mma_alone(void **state)
{
	(void)state;
	for (unsigned e = 0; e < 2; e++) {
		static const uint32_t few[3] = {20, 1, 1};
		struct rig r;
		uint64_t args[3];

		rig_open(&r, e ? PTX_EXEC_JIT : PTX_EXEC_INTERPRETER, "matrix.ptx");
		for (unsigned k = 0; k < 3; k++)
			args[k] = P(rig_buffer(&r, 1024));
		assert_int_equal(rig_try(&r, "wmma_half", G(1, 1, 1), few, 0, args, 3), PTX_ERR_LAUNCH_FAILED);
		rig_close(&r);
	}
}

/* A block that a kernel was compiled for fits a multiprocessor, however many values its PTX names. */
static void test_registers(void **state)
{
	static const char text[] = ".version 8.0\n.target sm_80\n.address_size 64\n"
				   ".visible .entry a()\n.maxntid 384,1,1\n{\n.reg .b32 %r<2000>;\nret;\n}\n"
				   ".visible .entry b()\n{\n.reg .b32 %r<2000>;\nret;\n}\n"
				   ".visible .entry c()\n.maxntid 256,1,1\n.minnctapersm 4\n{\n.reg .b32 %r<900>;\nret;\n}\n";
	struct rig r;

	(void)state;
	rig_open_text(&r, PTX_EXEC_INTERPRETER, text, sizeof(text) - 1);
	for (unsigned k = 0; k < 3; k++) {
		const struct ptx_function_info *i = ptx_function_info(ptx_module_function(r.module, k));
		uint32_t blocks = i->min_blocks ? i->min_blocks : 1;

		assert_true(i->registers >= 16 && i->registers <= 255);
		assert_true(i->registers * i->max_threads * blocks <= 65536);
	}
	rig_close(&r);
}

/* Begun by the interpreter, ended by compiled code: the same as by either alone. */
static void test_change_over(void **state)
{
	uint64_t sums[4];

	(void)state;
	for (unsigned e = 0; e < 4; e++) {
		static const enum ptx_executor all[] = {PTX_EXEC_INTERPRETER, PTX_EXEC_JIT, PTX_EXEC_GROUPS, PTX_EXEC_DEFAULT};
		struct rig r;
		int n = 96;
		float *a, *b, *c;

		rig_open(&r, all[e], "basic.ptx");
		a = rig_buffer(&r, 4 * (size_t)(n * n));
		b = rig_buffer(&r, 4 * (size_t)(n * n));
		c = rig_buffer(&r, 4 * (size_t)(n * n));
		for (int k = 0; k < n * n; k++) {
			a[k] = (float)(k % 17) / 3;
			b[k] = (float)(k % 23) / 7;
		}
		for (int k = 0; k < 6; k++)
			RUN(&r, "matmul", G((uint32_t)n / 16, (uint32_t)n / 16, 1), G(16, 16, 1), 0, P(a), P(b), P(c),
			    (uint64_t)n);
		sums[e] = rig_close(&r);
	}
	assert_int_equal(sums[0], sums[1]);
	assert_int_equal(sums[0], sums[2]);
	assert_int_equal(sums[0], sums[3]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cub),
		cmocka_unit_test(test_wmma),
		cmocka_unit_test(test_mma), cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_mma_alone),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_change_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
