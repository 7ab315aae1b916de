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
	uint64_t sums[3];

	(void)state;
	for (unsigned e = 0; e < 3; e++) {
		static const enum ptx_executor all[] = {PTX_EXEC_INTERPRETER, PTX_EXEC_JIT, PTX_EXEC_DEFAULT};
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
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cub),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_change_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
