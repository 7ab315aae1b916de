/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels as programs have them (tests/kernels/basic.cu), against the same in C. */
#include "tests/unit/ptx_rig.h"

static uint32_t draw(void)
{
	rig_seed = rig_seed * 1664525 + 1013904223;
	return rig_seed >> 8;
}

static float draw_float(void)
{
	return (float)(int)(draw() % 2000) / 1000.0f - 1.0f;
}

KERNEL_TEST(vadd, "basic.ptx")
{
	int n = 1000;
	float *a = rig_buffer(r, 4000), *b = rig_buffer(r, 4000), *c = rig_buffer(r, 4000);

	for (int k = 0; k < n; k++) {
		a[k] = (float)k;
		b[k] = (float)(k * k);
	}
	RUN(r, "vadd", G(4, 1, 1), G(256, 1, 1), 0, P(a), P(b), P(c), (uint64_t)n);
	for (int k = 0; k < n; k++)
		assert_true(c[k] == a[k] + b[k]);
}

KERNEL_TEST(saxpy, "basic.ptx")
{
	int n = 500;
	float *x = rig_buffer(r, 8000), *y = rig_buffer(r, 8000), want[2000];

	for (int k = 0; k < 4 * n; k++) {
		x[k] = (float)(k % 97) / 8;
		y[k] = (float)(k % 31);
		want[k] = fmaf(2.5f, x[k], y[k]);
	}
	RUN(r, "saxpy", G(4, 1, 1), G(128, 1, 1), 0, bits_of_float(2.5f), P(x), P(y), (uint64_t)n);
	assert_memory_equal(y, want, sizeof(want));
}

KERNEL_TEST(reduce, "basic.ptx")
{
	int n = 1000, want = 0, got = 0, *in = rig_buffer(r, 4000), *out = rig_buffer(r, 32);

	for (int k = 0; k < n; k++)
		want += in[k] = k * 7 - 1000;
	RUN(r, "reduce", G(8, 1, 1), G(128, 1, 1), 128 * 4, P(in), P(out), (uint64_t)n);
	for (int k = 0; k < 8; k++)
		got += out[k];
	assert_int_equal(got, want);
}

KERNEL_TEST(matmul, "basic.ptx")
{
	int n = 64;
	float *a = rig_buffer(r, 16384), *b = rig_buffer(r, 16384), *c = rig_buffer(r, 16384);

	for (int k = 0; k < n * n; k++) {
		a[k] = draw_float();
		b[k] = draw_float();
	}
	RUN(r, "matmul", G(4, 4, 1), G(16, 16, 1), 0, P(a), P(b), P(c), (uint64_t)n);
	for (int y = 0; y < n; y++)
		for (int x = 0; x < n; x++) {
			float sum = 0;

			for (int k = 0; k < n; k++)
				sum = fmaf(a[y * n + k], b[k * n + x], sum);
			assert_true(c[y * n + x] == sum);
		}
}

KERNEL_TEST(softmax, "basic.ptx")
{
	int n = 300, rows = 3;
	float *in = rig_buffer(r, 3600), *out = rig_buffer(r, 3600);

	for (int k = 0; k < n * rows; k++)
		in[k] = 5 * draw_float();
	RUN(r, "softmax", G(3, 1, 1), G(128, 1, 1), 0, P(in), P(out), (uint64_t)n);
	for (int row = 0; row < rows; row++) {
		double sum = 0;

		for (int k = 0; k < n; k++)
			sum += exp((double)in[row * n + k]);
		for (int k = 0; k < n; k++) {
			double want = exp((double)in[row * n + k]) / sum;

			assert_true(fabs((double)out[row * n + k] - want) < 1e-6 + 1e-5 * want);
		}
	}
}

KERNEL_TEST(nbody, "basic.ptx")
{
	int n = 256;
	float *p = rig_buffer(r, 4096), *f = rig_buffer(r, 4096);

	for (int k = 0; k < 4 * n; k++)
		p[k] = draw_float();
	RUN(r, "nbody", G(2, 1, 1), G(128, 1, 1), 0, P(p), P(f), (uint64_t)n);
	for (int i = 0; i < n; i++) {
		double sum[3] = {0};

		for (int k = 0; k < n; k++) {
			double d[3], s = 1e-3, inv;

			for (int j = 0; j < 3; j++) {
				d[j] = (double)p[4 * k + j] - (double)p[4 * i + j];
				s += d[j] * d[j];
			}
			inv = 1 / sqrt(s);
			for (int j = 0; j < 3; j++)
				sum[j] += (double)p[4 * k + 3] * inv * inv * inv * d[j];
		}
		for (int j = 0; j < 3; j++)
			assert_true(fabs(sum[j] - (double)f[4 * i + j]) < 1e-2 + 1e-3 * fabs(sum[j]));
	}
}

KERNEL_TEST(histogram, "basic.ptx")
{
	int n = 20000;
	uint8_t *in = rig_buffer(r, 20000);
	uint32_t *bins = rig_buffer(r, 1024), want[256] = {0};

	for (int k = 0; k < n; k++) {
		in[k] = (uint8_t)(draw() % 7 * draw());
		want[in[k]]++;
	}
	RUN(r, "histogram", G(6, 1, 1), G(256, 1, 1), 0, P(in), P(bins), (uint64_t)n);
	assert_memory_equal(bins, want, sizeof(want));
}

KERNEL_TEST(transpose, "basic.ptx")
{
	int w = 100, h = 70, *in = rig_buffer(r, 28000), *out = rig_buffer(r, 28000);

	for (int k = 0; k < w * h; k++)
		in[k] = k;
	RUN(r, "transpose", G(4, 3, 1), G(32, 8, 1), 0, P(in), P(out), (uint64_t)w, (uint64_t)h);
	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++)
			assert_int_equal(out[x * h + y], in[y * w + x]);
}

static int diverge(int v)
{
	int steps = 0;

	while (v != 1) {
		if (v & 1) {
			v = 3 * v + 1;
			if (v % 5 == 0)
				steps += 2;
			else if (v % 7 == 0)
				continue;
		} else {
			v /= 2;
		}
		if (++steps > 300)
			break;
		for (int k = 0; k < (v & 3); k++)
			if (k * v % 3 == 1)
				steps++;
	}
	return steps;
}

KERNEL_TEST(diverge, "basic.ptx")
{
	int n = 500, *in = rig_buffer(r, 2000), *out = rig_buffer(r, 2000);

	for (int k = 0; k < n; k++)
		in[k] = k + 1;
	RUN(r, "diverge", G(8, 1, 1), G(64, 1, 1), 0, P(in), P(out), (uint64_t)n);
	for (int k = 0; k < n; k++)
		assert_int_equal(out[k], diverge(in[k]));
}

static int switches(int v)
{
	int q = 0;

	switch (v & 15) {
	case 0:
		return v * 3;
	case 1:
		return v + 77;
	case 2:
		q = v ^ 0x5555;
		return q + 9;
	case 3:
		return 9;
	case 4:
		return (int)((unsigned)v << 3);
	case 5:
		return -v;
	case 7:
		return v / 7;
	case 8:
		return v % 11;
	case 9:
		return ~v;
	case 12:
		return v | 64;
	default:
		return 1;
	}
}

KERNEL_TEST(switches, "basic.ptx")
{
	int n = 256, *in = rig_buffer(r, 1024), *out = rig_buffer(r, 1024);

	for (int k = 0; k < n; k++)
		in[k] = k * 37 - 3000;
	RUN(r, "switches", G(2, 1, 1), G(128, 1, 1), 0, P(in), P(out), (uint64_t)n);
	for (int k = 0; k < n; k++)
		assert_int_equal(out[k], switches(in[k]));
}

KERNEL_TEST(spinlock, "basic.ptx")
{
	int *lock = rig_buffer(r, 4), *counter = rig_buffer(r, 4);

	RUN(r, "spinlock", G(3, 1, 1), G(48, 1, 1), 0, P(lock), P(counter));
	assert_int_equal(*counter, 144);
}

KERNEL_TEST(scan, "basic.ptx")
{
	int *in = rig_buffer(r, 4096), *out = rig_buffer(r, 4096), sum = 0;

	for (int k = 0; k < 1024; k++)
		in[k] = k % 13 - 4;
	RUN(r, "scan", G(1, 1, 1), G(1024, 1, 1), 0, P(in), P(out));
	for (int k = 0; k < 1024; k++)
		assert_int_equal(out[k], sum += in[k]);
}

KERNEL_TEST(votes, "basic.ptx")
{
	int *in = rig_buffer(r, 128);
	uint32_t *out = rig_buffer(r, 128), odd = 0, two = 0, any = 0, all = 1;

	for (int k = 0; k < 32; k++) {
		in[k] = k * k % 97;
		odd |= (uint32_t)(in[k] & 1) << k;
		two |= (uint32_t)(in[k] >> 1 & 1) << k;
		any |= in[k] > 90;
	}
	RUN(r, "votes", G(1, 1, 1), G(32, 1, 1), 0, P(in), P(out));
	for (int k = 0; k < 32; k++) {
		uint32_t same = 0, want;

		for (int j = 0; j < 32; j++)
			same |= (uint32_t)((in[j] & 3) == (in[k] & 3)) << j;
		want = (odd ^ same * 3) + any * 5 + all * 7 + (in[k] & 2 ? two : 0);
		assert_int_equal(out[k], want);
	}
}

KERNEL_TEST(tiles, "basic.ptx")
{
	int *in = rig_buffer(r, 256), *out = rig_buffer(r, 512);

	for (int k = 0; k < 64; k++)
		in[k] = k * 5;
	RUN(r, "tiles", G(1, 1, 1), G(64, 1, 1), 0, P(in), P(out));
	for (int t = 0; t < 8; t++) {
		int sum = 0;

		for (int k = 0; k < 8; k++)
			sum += in[t * 8 + k];
		assert_int_equal(out[t], sum);
	}
	for (int w = 0; w < 2; w++) {
		int rank = 0, size = 0;

		for (int k = w * 32; k < w * 32 + 32; k++)
			size += k % 3 == 0;
		for (int k = w * 32; k < w * 32 + 32; k++)
			if (k % 3 == 0)
				assert_int_equal(out[64 + k], rank++ * 100 + size);
	}
}

KERNEL_TEST(barriers, "basic.ptx")
{
	int *out = rig_buffer(r, 1024);

	RUN(r, "barriers", G(1, 1, 1), G(256, 1, 1), 0, P(out));
	for (int k = 0; k < 256; k++)
		assert_int_equal(out[k], 86 * 4 + 2 + 1);
}

KERNEL_TEST(produce, "basic.ptx")
{
	int *out = rig_buffer(r, 1024);

	RUN(r, "produce", G(2, 1, 1), G(256, 1, 1), 0, P(out), 20);
	for (int t = 128; t < 256; t++) {
		int sum = 0;

		for (int k = 0; k < 20; k++)
			sum += k * 1000 + ((t + k) & 127);
		assert_int_equal(out[t], sum);
	}
}

KERNEL_TEST(grid_sum, "basic.ptx")
{
	int n = 256, *data = rig_buffer(r, 1024), *out = rig_buffer(r, 1024), want[256], old[256];

	for (int k = 0; k < n; k++)
		want[k] = data[k] = k;
	for (int round = 0; round < 5; round++) {
		memcpy(old, want, sizeof(old));
		for (int k = 0; k < n; k++)
			want[k] = old[k] + old[(k + 1) % n];
	}
	r->cooperative = true;
	RUN(r, "grid_sum", G(8, 1, 1), G(32, 1, 1), 0, P(data), P(out), 5);
	assert_memory_equal(out, want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vadd),	  cmocka_unit_test(test_saxpy),
		cmocka_unit_test(test_reduce),	  cmocka_unit_test(test_matmul),
		cmocka_unit_test(test_softmax),	  cmocka_unit_test(test_nbody),
		cmocka_unit_test(test_histogram), cmocka_unit_test(test_transpose),
		cmocka_unit_test(test_diverge),	  cmocka_unit_test(test_switches),
		cmocka_unit_test(test_spinlock),  cmocka_unit_test(test_scan),
		cmocka_unit_test(test_votes),	  cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_barriers),  cmocka_unit_test(test_produce),
		cmocka_unit_test(test_grid_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
