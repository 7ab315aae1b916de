/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/kv.h"

#include <string.h>

#include "proto/index_directory.h"

#ifdef ATOLL_HAVE_ISAL
#include <isa-l/crc.h>
#endif
#include <xxhash.h>

void kv_place(struct kv_place *out, const void *key, uint32_t klen, uint32_t groups)
{
	XXH128_hash_t h = XXH3_128bits(key, klen);
	uint64_t first = ((h.high64 & 0xffffffff) * groups) >> 32;
	uint64_t second = ((h.high64 >> 32) * (groups - 1)) >> 32;

	if (second >= first)
		second++;
	out->hash[0] = h.low64;
	out->hash[1] = h.high64;
	out->prefix = (uint32_t)h.low64;
	out->fp = (uint8_t)(h.low64 >> 32);
	out->combined[0] = index_combined_offset(first, (h.low64 >> 40) & 1);
	out->combined[1] = index_combined_offset(second, (h.low64 >> 41) & 1);
}

unsigned kv_cluster_place(const void *key, uint32_t klen)
{
	_Static_assert(INDEX_PLACES == 1024, "ten bits");
	return (unsigned)(XXH3_128bits(key, klen).low64 >> 42) & (INDEX_PLACES - 1);
}

uint32_t kv_prefix(const void *key, uint32_t klen)
{
	return (uint32_t)XXH3_128bits(key, klen).low64;
}

#ifdef ATOLL_HAVE_ISAL
uint32_t kv_crc32c(uint32_t before, const void *data, size_t len)
{
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, ~before);
}
#else
/* Where ISA-L is not to be had: a nibble at a time. The polynomial is Castagnoli's, reflected. */
uint32_t kv_crc32c(uint32_t before, const void *data, size_t len)
{
	static const uint32_t nibble[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *p = data;
	uint32_t crc = ~before;

	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}
#endif

static uint32_t kv_crc(const struct index_kv *kv)
{
	struct index_kv head = *kv;
	const size_t skip = sizeof(head.crc);
	uint32_t crc;

	head.flags = 0; /* others may set them */
	crc = kv_crc32c(0, (const uint8_t *)&head + skip, sizeof(head) - skip);
	return kv_crc32c(crc, kv + 1, head.klen + head.vlen);
}

void kv_seal(struct index_kv *kv)
{
	kv->crc = kv_crc(kv);
}

bool kv_whole(const struct index_kv *kv, uint64_t size)
{
	if (size < sizeof(*kv) || kv->klen == 0 || kv->klen > INDEX_KEY_MAX ||
	    kv->vlen > INDEX_VALUE_MAX || sizeof(*kv) + kv->klen + (uint64_t)kv->vlen > size)
		return false;
	return kv->crc == kv_crc(kv);
}

bool kv_key_is(const struct index_kv *kv, const void *key, uint32_t klen)
{
	return kv->klen == klen && memcmp(kv_key(kv), key, klen) == 0;
}
