/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/roce/icrc.h"
#include "dataplane/roce/packet.h"
#include "tests/unit/roce_vectors.h"

static void check(const uint8_t *packet, size_t len)
{
	uint8_t copy[256];

	memcpy(copy, packet, len);
	assert_true(packet_icrc_ok(copy, (uint32_t)len));
	/* What routers change does not count; all else does. */
	for (size_t i = 0; i < len; i++) {
		bool variant =
			i == 1 || i == 8 || i == 10 || i == 11 || i == 26 || i == 27 || i == 32;

		memcpy(copy, packet, len);
		copy[i] ^= 0x10;
		assert_int_equal(packet_icrc_ok(copy, (uint32_t)len), variant);
	}
}

static void test_vectors(void **state)
{
	(void)state;
	check(read_request, sizeof(read_request));
	check(send_only, sizeof(send_only));
	check(write_only, sizeof(write_only));
	check(ack, sizeof(ack));
	check(faa, sizeof(faa));
}

/* One bit at a time, as the standard defines it. */
static uint32_t by_bits(const uint8_t *data, size_t len)
{
	uint32_t c = 0xffffffffu;

	for (size_t i = 0; i < 8 + len; i++) {
		c ^= i < 8 ? 0xff : data[i - 8];
		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ (0xedb88320u & -(c & 1));
	}
	return ~c;
}

static void test_all_lengths(void **state)
{
	uint8_t data[600];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i + 3);
	for (size_t from = 0; from < 9; from++) {
		for (size_t len = 0; len + from <= sizeof(data); len++) {
			uint32_t want = by_bits(data + from, len);

			assert_int_equal(icrc_compute_tables(data + from, len), want);
			assert_int_equal(icrc_compute(data + from, len), want);
		}
	}
}

/* Of a packet whose identification is not known, everything else is still checked. */
static void test_identification(void **state)
{
	static const struct {
		const uint8_t *packet;
		uint32_t len;
	} vectors[] = {
		{read_request, sizeof(read_request)}, {send_only, sizeof(send_only)},
		{write_only, sizeof(write_only)},     {ack, sizeof(ack)},
		{faa, sizeof(faa)},
	};
	static uint8_t big[4200];
	uint8_t copy[256];

	(void)state;
	for (size_t v = 0; v < sizeof(vectors) / sizeof(*vectors); v++) {
		uint32_t len = vectors[v].len, delta;

		for (uint32_t bit = 0; bit < 8 * len; bit++) {
			memcpy(copy, vectors[v].packet, len);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			delta = packet_icrc_delta(copy, len);
			if (delta)
				assert_int_equal(icrc_is_identification(delta, len - ICRC_BYTES),
						 bit / 8 == 4 || bit / 8 == 5);
		}
	}
	for (size_t len = 6; len <= sizeof(big); len++) {
		uint32_t crc = icrc_compute(big, len), other;

		big[4] ^= (uint8_t)len;
		big[5] ^= 0x81;
		other = icrc_compute(big, len);
		assert_true(icrc_is_identification(crc ^ other, len));
		big[len / 2 > 6 ? len / 2 : 3] ^= 0x20;
		assert_false(icrc_is_identification(crc ^ icrc_compute(big, len), len));
	}
	assert_false(icrc_is_identification(1, 3));
	assert_false(icrc_is_identification(1, 1 << 20));
}

static int setup(void **state)
{
	(void)state;
	icrc_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_all_lengths),
		cmocka_unit_test(test_identification),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
