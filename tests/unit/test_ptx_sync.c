/* SPDX-License-Identifier: Apache-2.0 */
/* Which instructions can be run (tests/kernels/opcodes.ptx); barriers in shared memory (sync.cu). */
#include "tests/unit/ptx_rig.h"

/* Of each form of instruction that nvcc makes of CUB, Thrust, the survey and the tests. */
static void test_opcodes(void **state)
{
	struct ptx_error error;
	unsigned all, refused = 0;
	struct rig r;

	(void)state;
	rig_open(&r, PTX_EXEC_INTERPRETER, "opcodes.ptx");
	all = ptx_module_function_count(r.module);
	for (unsigned k = 0; k < all; k++)
		if (ptx_function_refused(ptx_module_function(r.module, k), &error)) {
			printf("not supported: %s\n", error.text);
			refused++;
		}
	all--; /* the one that is there to be pointed at */
	printf("gpu.ptx.opcodes: %u of %u\n", all - refused, all);
	assert_true(all > 900);
	assert_int_equal(refused, 0);
	rig_close(&r);
}

KERNEL_TEST(hand_over, "sync.ptx")
{
	enum { HALF = 64, ROUNDS = 7 };
	int *out = rig_buffer(r, 3 * HALF * 4);

	RUN(r, "hand_over", G(3, 1, 1), G(2 * HALF, 1, 1), 0, P(out), ROUNDS);
	for (int n = 0; n < 3 * HALF; n++) {
		int want = 0, t = n % HALF + HALF;

		for (int k = 0; k < ROUNDS; k++)
			want += (t + k) % HALF * k + 1;
		assert_int_equal(out[n], want);
	}
}

KERNEL_TEST(dropping, "sync.ptx")
{
	int *out = rig_buffer(r, 70 * 4);

	RUN(r, "dropping", G(1, 1, 1), G(70, 1, 1), 0, P(out));
	for (int n = 0; n < 70; n++)
		assert_int_equal(out[n], 70 * 69 / 2);
}

KERNEL_TEST(bulk, "sync.ptx")
{
	int *in = rig_buffer(r, 5 * 1024), *out = rig_buffer(r, 5 * 1024);

	for (int n = 0; n < 5 * 256; n++)
		in[n] = n * 3 - 100;
	RUN(r, "bulk", G(1, 1, 1), G(96, 1, 1), 0, P(in), P(out), 5);
	for (int n = 0; n < 5 * 256; n++)
		assert_int_equal(out[n], in[n] * 2 + n / 256);
	/* what is read is not all the kernel's: an error, and nothing is written elsewhere */
	{
		uint64_t args[] = {P(in) + 4096, P(out), 5};

		assert_int_equal(rig_try(r, "bulk", G(1, 1, 1), G(96, 1, 1), 0, args, 3), PTX_ERR_ILLEGAL_ADDRESS);
		args[0] = P(in) + 4;
		assert_int_equal(rig_try(r, "bulk", G(1, 1, 1), G(96, 1, 1), 0, args, 3), PTX_ERR_MISALIGNED);
	}
}

KERNEL_TEST(piped, "sync.ptx")
{
	int *in = rig_buffer(r, 6 * 256), *out = rig_buffer(r, 256);

	for (int n = 0; n < 6 * 64; n++)
		in[n] = n * n;
	RUN(r, "piped", G(1, 1, 1), G(64, 1, 1), 0, P(in), P(out), 6);
	for (int n = 0; n < 64; n++) {
		int want = 0;

		for (int k = 1; k <= 6; k++)
			want += in[(k - 1) * 64 + (n + k) % 64];
		assert_int_equal(out[n], want);
	}
}

KERNEL_TEST(too_many, "sync.ptx")
{
	uint64_t args[] = {P(rig_buffer(r, 4))};

	assert_int_equal(rig_try(r, "too_many", G(1, 1, 1), G(1, 1, 1), 0, args, 1), PTX_ERR_LAUNCH_FAILED);
	assert_non_null(strstr(r->fault.text, "4 arrive at a barrier that waits for 3"));
}

static int positive(int v)
{
	return v < 0 ? 0 : v;
}

KERNEL_TEST(late_ones, "sync.ptx")
{
	int *a = rig_buffer(r, 128), *b = rig_buffer(r, 128), *out = rig_buffer(r, 5 * 128);

	for (int n = 0; n < 32; n++) {
		rig_seed = rig_seed * 1664525 + 1013904223;
		a[n] = (int)(rig_seed ^ rig_seed >> 15);
		rig_seed = rig_seed * 1664525 + 1013904223;
		b[n] = (int)(rig_seed ^ rig_seed >> 15);
	}
	RUN(r, "late_ones", G(1, 1, 1), G(32, 1, 1), 0, P(a), P(b), P(out));
	for (int n = 0; n < 32; n++) {
		uint32_t pair = 0, bytes = 0, sum = (uint32_t)n;

		assert_int_equal(out[n], positive(a[n] < b[n] ? a[n] : b[n]));
		assert_int_equal(out[n + 32], positive(a[n] > b[n] ? a[n] : b[n]));
		for (int k = 0; k < 32; k += 16) {
			int x = (int16_t)(a[n] >> k), y = (int16_t)(b[n] >> k);

			pair |= (uint32_t)positive(x > y ? x : y) << k;
		}
		for (int k = 0; k < 32; k += 8) {
			int d = abs((int)(uint8_t)(a[n] >> k) - (int)(uint8_t)(b[n] >> k));

			bytes |= (uint32_t)d << k;
			sum += (uint32_t)d;
		}
		assert_int_equal(out[n + 64], (int)pair);
		assert_int_equal(out[n + 96], (int)bytes);
		assert_int_equal(out[n + 128], (int)sum);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opcodes),	 cmocka_unit_test(test_hand_over), cmocka_unit_test(test_dropping),
		cmocka_unit_test(test_bulk),	 cmocka_unit_test(test_piped),	   cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_late_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
