/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/roce/icrc.h"

#include <string.h>

#ifdef ATOLL_HAVE_ISAL
#include <isa-l/crc.h>
#endif

enum {
	POLYNOMIAL = (int)0xedb88320u, /* CRC-32 of Ethernet, reflected */
	LENGTH_BITS = 14,              /* of packets whose identification is looked for */
	IDENTIFICATION_AT = 4,         /* in the IPv4 header */
};

/* The register after the eight bytes of 0xff, not inverted. */
static const uint32_t PREFIX_STATE = 0xdebb20e3u;

static uint32_t tables[8][256];
static uint32_t back[LENGTH_BITS]; /* x^(-8 * 2^i), the highest bit being x^0 */
static bool made;

#if defined(ATOLL_HAVE_ISAL) && defined(__x86_64__)
#define UPPER_HALVES 1
/*
 * ISA-L's AVX-512 routine returns with the upper halves of vector registers in use (seen in 2.30),
 * which slows every later SSE instruction of the program several times over until they are cleared.
 */
static bool has_avx;

static inline void clear_upper_halves(void)
{
	if (has_avx)
		__asm__ volatile("vzeroupper" ::
					 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
					   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
					   "xmm13", "xmm14", "xmm15");
}
#endif

/* a * b modulo the polynomial, reflected. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = (b & 1) ? (b >> 1) ^ (uint32_t)POLYNOMIAL : b >> 1;
	}
	return product;
}

bool icrc_is_identification(uint32_t delta, size_t len)
{
	size_t n = len - IDENTIFICATION_AT;

	if (len < IDENTIFICATION_AT || n >> LENGTH_BITS)
		return false;
	/* back by the zeros that follow it: its two bytes stand in the low half of the register */
	for (unsigned i = 0; n; i++, n >>= 1)
		if (n & 1)
			delta = multiply(delta, back[i]);
	return delta < 0x10000;
}

void icrc_init(void)
{
	uint32_t x = 1u << 31;

	if (made)
		return;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = (c & 1) ? (c >> 1) ^ (uint32_t)POLYNOMIAL : c >> 1;
		tables[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++) {
		for (int t = 1; t < 8; t++) {
			uint32_t c = tables[t - 1][i];

			tables[t][i] = (c >> 8) ^ tables[0][c & 0xff];
		}
	}
	for (int bit = 0; bit < 8; bit++)
		x = (x >> 31) ? (x ^ (uint32_t)POLYNOMIAL) << 1 | 1 : x << 1;
	for (unsigned i = 0; i < LENGTH_BITS; i++, x = multiply(x, x))
		back[i] = x;
#ifdef UPPER_HALVES
	has_avx = __builtin_cpu_supports("avx");
#endif
	made = true;
}

static inline uint32_t load_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap32(v);
#endif
	return v;
}

uint32_t icrc_compute_tables(const uint8_t *packet, size_t len)
{
	uint32_t c = PREFIX_STATE;

	while (len >= 8) {
		uint32_t lo = load_le32(packet) ^ c;
		uint32_t hi = load_le32(packet + 4);

		c = tables[7][lo & 0xff] ^ tables[6][(lo >> 8) & 0xff] ^
		    tables[5][(lo >> 16) & 0xff] ^ tables[4][lo >> 24] ^ tables[3][hi & 0xff] ^
		    tables[2][(hi >> 8) & 0xff] ^ tables[1][(hi >> 16) & 0xff] ^
		    tables[0][hi >> 24];
		packet += 8;
		len -= 8;
	}
	while (len--)
		c = (c >> 8) ^ tables[0][(c ^ *packet++) & 0xff];
	return ~c;
}

uint32_t icrc_compute(const uint8_t *packet, size_t len)
{
#ifdef ATOLL_HAVE_ISAL
	uint32_t crc = crc32_gzip_refl(~PREFIX_STATE, packet, len);

#ifdef UPPER_HALVES
	clear_upper_halves();
#endif
	return crc;
#else
	return icrc_compute_tables(packet, len);
#endif
}
