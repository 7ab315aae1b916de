/* SPDX-License-Identifier: Apache-2.0 */
/* Fat binaries, put together here in each packing; and cut and damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>

#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "services/gpu-exec/ptx/fatbin.h"

struct image {
	uint8_t bytes[8192];
	size_t size;
};

static void put(struct image *m, const void *p, size_t n)
{
	assert_true(m->size + n <= sizeof(m->bytes));
	memcpy(m->bytes + m->size, p, n);
	m->size += n;
}

static void begin(struct image *m)
{
	static const uint8_t head[16] = {0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0};

	m->size = 0;
	put(m, head, 16);
}

static void end(struct image *m)
{
	uint64_t n = m->size - 16;

	memcpy(m->bytes + 8, &n, 8);
}

static void entry(struct image *m, unsigned kind, unsigned arch, const char *text,
		  enum fatbin_packing packing)
{
	size_t length = strlen(text), packed = length;
	char out[4096];
	struct {
		uint16_t kind, version;
		uint32_t header;
		uint64_t padded;
		uint32_t packed, options;
		uint16_t minor, major;
		uint32_t arch, name, name_size;
		uint64_t flags, zero, unpacked;
	} h = {(uint16_t)kind, 0x101, 64, 0, 0, 0, 4, 8, arch, 0, 0, 0x11, 0, 0};

	memcpy(out, text, length);
#ifdef HAVE_LZ4
	if (packing == FATBIN_LZ4) {
		packed = (size_t)LZ4_compress_default(text, out, (int)length, sizeof(out));
		h.flags |= 0x2000;
	}
#endif
#ifdef HAVE_ZSTD
	if (packing == FATBIN_ZSTD) {
		packed = ZSTD_compress(out, sizeof(out), text, length, 3);
		h.flags |= 0x8000;
	}
#endif
	if (packing != FATBIN_PLAIN) {
		h.packed = (uint32_t)packed;
		h.unpacked = length;
	}
	h.padded = (packed + 7) & ~UINT64_C(7);
	put(m, &h, sizeof(h));
	memset(out + packed, 0, 8);
	put(m, out, h.padded);
}

static const char t50[] = ".version 8.4\n.target sm_50\n.address_size 64\n";
static const char t75[] = ".version 8.4\n.target sm_75\n.address_size 64\n";
static const char t95[] = ".version 8.4\n.target sm_95\n.address_size 64\n";

static void check_choice(enum fatbin_packing packing)
{
	struct image m;
	struct fatbin_texts t;
	char reason[200];

	begin(&m);
	entry(&m, FATBIN_CUBIN, 90, "\x7f" "ELF", FATBIN_PLAIN);
	entry(&m, FATBIN_PTX, 50, t50, packing);
	entry(&m, FATBIN_PTX, 95, t95, packing);
	entry(&m, FATBIN_PTX, 75, t75, packing);
	end(&m);
	assert_int_equal(fatbin_ptx_load(m.bytes, m.size, 90, &t, reason), 0);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.list[0].arch, 75);
	assert_int_equal(t.list[0].version, 84);
	assert_int_equal(memcmp(t.list[0].text, t75, strlen(t75)), 0);
	fatbin_texts_free(&t);
	assert_int_equal(fatbin_ptx_load(m.bytes, m.size, 30, &t, reason), 0);
	assert_int_equal(t.list[0].arch, 50);
	fatbin_texts_free(&t);
	/* Cut anywhere, and with any byte changed: an answer, no crash. */
	for (size_t n = 0; n < m.size; n++) {
		uint8_t *cut = malloc(n + 1);

		assert_non_null(cut);
		memcpy(cut, m.bytes, n);
		if (fatbin_ptx_load(cut, n, 90, &t, reason) == 0)
			fatbin_texts_free(&t);
		free(cut);
		m.bytes[n] ^= 0x81;
		if (fatbin_ptx_load(m.bytes, m.size, 90, &t, reason) == 0)
			fatbin_texts_free(&t);
		m.bytes[n] ^= 0x81;
	}
}

static void test_plain(void **state)
{
	(void)state;
	check_choice(FATBIN_PLAIN);
}

static void test_lz4(void **state)
{
	(void)state;
#ifdef HAVE_LZ4
	check_choice(FATBIN_LZ4);
#endif
}

static void test_zstd(void **state)
{
	(void)state;
#ifdef HAVE_ZSTD
	check_choice(FATBIN_ZSTD);
#endif
}

static void test_no_ptx(void **state)
{
	struct image m;
	struct fatbin_texts t;
	char reason[200];

	(void)state;
	begin(&m);
	entry(&m, FATBIN_CUBIN, 86, "\x7f" "ELF", FATBIN_PLAIN);
	end(&m);
	assert_int_equal(fatbin_ptx_load(m.bytes, m.size, 90, &t, reason), 209);
	assert_non_null(strstr(reason, "sm_86"));
	assert_int_equal(fatbin_ptx_load("nothing", 7, 90, &t, reason), 218);
	assert_int_equal(fatbin_ptx_load(t75, sizeof(t75), 90, &t, reason), 0);
	assert_int_equal(t.count, 1);
	fatbin_texts_free(&t);
}

/* A program has one for each of its files, in .nv_fatbin. */
static void test_elf(void **state)
{
	static struct {
		Elf64_Ehdr head;
		Elf64_Shdr section[3];
		char names[32];
		uint8_t data[2048];
	} elf;
	struct image m;
	struct fatbin_texts t;
	char reason[200];
	size_t at;

	(void)state;
	memcpy(elf.head.e_ident, ELFMAG, SELFMAG);
	elf.head.e_ident[EI_CLASS] = ELFCLASS64;
	elf.head.e_machine = EM_X86_64;
	elf.head.e_shoff = offsetof(__typeof__(elf), section);
	elf.head.e_shentsize = sizeof(Elf64_Shdr);
	elf.head.e_shnum = 3;
	elf.head.e_shstrndx = 1;
	memcpy(elf.names + 1, ".nv_fatbin", 11);
	elf.section[1] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
				      .sh_offset = offsetof(__typeof__(elf), names),
				      .sh_size = sizeof(elf.names)};
	begin(&m);
	entry(&m, FATBIN_PTX, 75, t75, FATBIN_PLAIN);
	end(&m);
	memcpy(elf.data, m.bytes, at = m.size);
	begin(&m);
	entry(&m, FATBIN_PTX, 50, t50, FATBIN_PLAIN);
	end(&m);
	memcpy(elf.data + at, m.bytes, m.size);
	elf.section[2] = (Elf64_Shdr){.sh_name = 1,
				      .sh_type = SHT_PROGBITS,
				      .sh_offset = offsetof(__typeof__(elf), data),
				      .sh_size = at + m.size};
	assert_int_equal(fatbin_ptx_load(&elf, sizeof(elf), 90, &t, reason), 0);
	assert_int_equal(t.count, 2);
	assert_int_equal(t.list[0].arch, 75);
	assert_int_equal(t.list[1].arch, 50);
	fatbin_texts_free(&t);
	elf.section[2].sh_size = UINT64_MAX;
	assert_int_equal(fatbin_ptx_load(&elf, sizeof(elf), 90, &t, reason), 209);
	elf.head.e_machine = 190;
	assert_int_equal(fatbin_ptx_load(&elf, sizeof(elf), 90, &t, reason), 209);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain), cmocka_unit_test(test_lz4),
		cmocka_unit_test(test_zstd),  cmocka_unit_test(test_no_ptx),
		cmocka_unit_test(test_elf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
