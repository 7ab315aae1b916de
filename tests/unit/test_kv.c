/* SPDX-License-Identifier: Apache-2.0 */
/* Places and checksums are part of the layout: they may not change from build to build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "clients/index/kv.h"

/* CRC-32C bit by bit, as RFC 3720 has it. */
static uint32_t crc_by_bits(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffff;

	while (n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

static void test_seal(void **state)
{
	static _Alignas(64) uint8_t block[INDEX_KV_ROOM_MAX];
	struct index_kv *kv = (struct index_kv *)block;

	(void)state;
	assert_int_equal(crc_by_bits((const uint8_t *)"123456789", 9), 0xe3069283);
	for (uint32_t vlen = 0; vlen < 3000; vlen += 1 + vlen / 7) {
		uint32_t size = (uint32_t)sizeof(*kv) + 9 + vlen;

		for (uint32_t i = 0; i < size; i++)
			block[i] = (uint8_t)(i * i + vlen);
		*kv = (struct index_kv){.klen = 9, .vlen = vlen, .cid = 7, .epoch = 3, .seq = vlen};
		kv_seal(kv);
		assert_int_equal(kv->crc, crc_by_bits(block + 4, size - 4));
		assert_true(kv_whole(kv, size));
		assert_true(kv_whole(kv, sizeof(block)));
		assert_false(kv_whole(kv, size - 1));
		block[size - 1] ^= 0x10;
		assert_false(kv_whole(kv, size));
	}
	kv->klen = 0;
	kv_seal(kv);
	assert_false(kv_whole(kv, sizeof(block)));
	kv->klen = 9;
	kv->vlen = UINT32_MAX - 32; /* no sum may wrap */
	assert_false(kv_whole(kv, sizeof(block)));
	assert_false(kv_whole(kv, 0));
}

static void test_place(void **state)
{
	static unsigned load[64][2];
	struct kv_place p, q;
	unsigned least = UINT32_MAX, most = 0;
	char key[16];

	(void)state;
	/* what the first release put where; a change is another layout version */
	kv_place(&p, "atoll", 5, 16384);
	assert_int_equal(p.fp, 220);
	assert_int_equal(p.combined[0], 1168896);
	assert_int_equal(p.combined[1], 2585664);
	for (unsigned i = 0; i < 64000; i++) {
		int n = snprintf(key, sizeof(key), "%u", i);

		kv_place(&p, key, (uint32_t)n, 64);
		for (unsigned k = 0; k < 2; k++) {
			uint64_t in = p.combined[k] % INDEX_GROUP_SIZE;

			assert_true(in == 0 || in == INDEX_LINE);
			assert_true(p.combined[k] / INDEX_GROUP_SIZE < 64);
			load[p.combined[k] / INDEX_GROUP_SIZE][in != 0]++;
		}
		assert_true(p.combined[0] / INDEX_GROUP_SIZE != p.combined[1] / INDEX_GROUP_SIZE);
		kv_place(&q, key, (uint32_t)n, INDEX_GROUPS_MIN);
		assert_true(q.combined[0] / INDEX_GROUP_SIZE + q.combined[1] / INDEX_GROUP_SIZE ==
			    1);
		assert_int_equal(q.fp, p.fp);
	}
	for (unsigned i = 0; i < 128; i++) {
		unsigned n = load[i / 2][i % 2];

		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	assert_true(least > 850 && most < 1150); /* of 1,000 each */
}

static void test_words(void **state)
{
	uint64_t w = index_slot_make(0xab, 0x123456 * 64ull, 65);

	(void)state;
	assert_int_equal(index_slot_fp(w), 0xab);
	assert_int_equal(index_slot_units(w), 2);
	assert_int_equal(index_slot_offset(w), 0x123456 * 64ull);
	assert_false(index_slot_pending(w));
	assert_true(index_slot_pending(w | INDEX_SLOT_PEND));
	assert_int_equal(
		index_slot_offset(w | INDEX_SLOT_PEND | INDEX_SLOT_MOVE | INDEX_SLOT_TAG_MASK),
		0x123456 * 64ull);
	assert_int_equal(index_slot_units(index_slot_make(0, 64, 254 * 64)), 254);
	assert_int_equal(index_slot_units(index_slot_make(0, 64, 254 * 64 + 1)), INDEX_LEN_LONG);
	assert_int_equal(index_slot_units(index_slot_make(0, 64, INDEX_KV_ROOM_MAX)),
			 INDEX_LEN_LONG);
	assert_int_equal(index_kv_room(INDEX_KEY_MAX, INDEX_VALUE_MAX), INDEX_KV_ROOM_MAX);
	assert_int_equal(index_kv_room(1, 39), 64);
	assert_int_equal(index_kv_room(1, 40), 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seal),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
