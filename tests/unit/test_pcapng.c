/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/pcapng.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FILE_MAX = 4096 };

struct file {
	uint8_t bytes[FILE_MAX];
	size_t len;
};

static void swapped32(struct file *f, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(f->bytes + f->len, &v, 4);
	f->len += 4;
}

/* A record of 192 bytes, a packet of 61. */
static struct file written(void)
{
	struct file f = {.len = 0};
	FILE *to = fmemopen(f.bytes, sizeof(f.bytes), "w");
	uint8_t data[192];
	struct pcapng_packet p = {.link_type = PCAPNG_USER0,
				  .time_ns = 1700000000123456789,
				  .length = 192,
				  .captured = 192,
				  .data = data};

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	assert_int_equal(pcapng_begin(to), 0);
	assert_int_equal(pcapng_write(to, &p), 0);
	p.link_type = PCAPNG_ETHERNET;
	p.direction = PCAPNG_OUT;
	p.time_ns++;
	p.length = 1500;
	p.captured = 61;
	assert_int_equal(pcapng_write(to, &p), 0);
	p.link_type = 5;
	assert_int_equal(pcapng_write(to, &p), -EINVAL);
	f.len = (size_t)ftell(to);
	fclose(to);
	return f;
}

/* Reads all of it: how many packets, or a negative errno. Looks at every byte that it is given. */
static int all(const uint8_t *bytes, size_t len, char *error)
{
	FILE *from = len ? fmemopen((void *)(uintptr_t)bytes, len, "r") : fopen("/dev/null", "r");
	struct pcapng *r = pcapng_open(from);
	struct pcapng_packet p;
	volatile uint8_t seen = 0;
	int rc, n = 0;

	while ((rc = pcapng_next(r, &p)) > 0) {
		for (uint32_t i = 0; i < p.captured; i++)
			seen = p.data[i];
		n++;
	}
	if (rc < 0) {
		assert_true(pcapng_error(r)[0]);
		if (error)
			strcpy(error, pcapng_error(r));
	}
	(void)seen;
	pcapng_close(r);
	fclose(from);
	return rc ? rc : n;
}

static void what_is_written_is_read(void **state)
{
	struct file f = written();
	FILE *from = fmemopen(f.bytes, f.len, "r");
	struct pcapng *r = pcapng_open(from);
	struct pcapng_packet p;

	(void)state;
	assert_int_equal(pcapng_next(r, &p), 1);
	assert_int_equal(p.link_type, PCAPNG_USER0);
	assert_int_equal(p.direction, PCAPNG_UNKNOWN);
	assert_int_equal(p.time_ns, 1700000000123456789);
	assert_int_equal(p.captured, 192);
	assert_int_equal(p.data[191], 191);
	assert_int_equal(pcapng_next(r, &p), 1);
	assert_int_equal(p.link_type, PCAPNG_ETHERNET);
	assert_int_equal(p.direction, PCAPNG_OUT);
	assert_int_equal(p.time_ns, 1700000000123456790);
	assert_int_equal(p.captured, 61);
	assert_int_equal(p.length, 1500);
	assert_int_equal(p.data[60], 60);
	assert_int_equal(pcapng_next(r, &p), 0);
	assert_int_equal(pcapng_next(r, &p), 0);
	pcapng_close(r);
	fclose(from);
}

static void section(struct file *f)
{
	swapped32(f, 0x0A0D0D0A);
	swapped32(f, 28);
	swapped32(f, 0x1A2B3C4D);
	swapped32(f, 1 << 16);
	swapped32(f, UINT32_MAX);
	swapped32(f, UINT32_MAX);
	swapped32(f, 28);
}

/* @options: the words of one option, or none. */
static void interface(struct file *f, uint32_t snap, const uint32_t *options, unsigned n)
{
	swapped32(f, 1);
	swapped32(f, 20 + n * 4);
	swapped32(f, PCAPNG_ETHERNET << 16);
	swapped32(f, snap);
	for (unsigned i = 0; i < n; i++)
		swapped32(f, options[i]);
	swapped32(f, 20 + n * 4);
}

static void packet(struct file *f, uint32_t which, uint64_t time, uint32_t captured)
{
	swapped32(f, 6);
	swapped32(f, 36);
	swapped32(f, which);
	swapped32(f, (uint32_t)(time >> 32));
	swapped32(f, (uint32_t)time);
	swapped32(f, captured);
	swapped32(f, 4);
	swapped32(f, 0x01020304);
	swapped32(f, 36);
}

static uint64_t first_time(const struct file *f)
{
	FILE *from = fmemopen((void *)(uintptr_t)f->bytes, f->len, "r");
	struct pcapng *r = pcapng_open(from);
	struct pcapng_packet p;

	if (pcapng_next(r, &p) != 1)
		fail_msg("%s", pcapng_error(r));
	assert_int_equal(p.data[0], 1); /* in the order of the file */
	pcapng_close(r);
	fclose(from);
	return p.time_ns;
}

static void the_other_byte_order_and_any_unit_of_time(void **state)
{
	static const uint32_t two10[] = {9 << 16 | 1, 0x8a000000}, ten3[] = {9 << 16 | 1, 0x03000000},
			      ten12[] = {9 << 16 | 1, 0x0c000000},
			      offset[] = {14 << 16 | 8, 0, 1000}, back[] = {14 << 16 | 8, UINT32_MAX, 0};
	struct file f;

	(void)state;
#define TIME(options, count, time) \
	(f.len = 0, section(&f), interface(&f, 0, options, count), packet(&f, 0, time, 4), first_time(&f))
	assert_int_equal(TIME(NULL, 0, 5), 5000);
	assert_int_equal(TIME(two10, 2, 2048), 2000000000);
	assert_int_equal(TIME(ten3, 2, 7), 7000000);
	assert_int_equal(TIME(ten12, 2, 7001), 7);
	assert_int_equal(TIME(offset, 3, 5), 1000000005000);
	assert_int_equal(TIME(back, 3, 5), 0);
	assert_int_equal(TIME(NULL, 0, UINT64_MAX), 0);
#undef TIME
}

static void wrong(const struct file *f, const char *says)
{
	char error[256] = "";

	assert_true(all(f->bytes, f->len, error) < 0);
	if (!strstr(error, says))
		fail_msg("\"%s\" does not say \"%s\"", error, says);
}

static void faults_are_named(void **state)
{
	static const uint32_t endless[] = {9 << 16 | 100}, unit[] = {9 << 16 | 1, 20u << 24};
	struct file f = {.len = 0}, good = written();

	(void)state;
	wrong(&f, "empty");
	f = good;
	f.len--;
	wrong(&f, "cut short");
	f = good;
	f.bytes[0] = 'x';
	wrong(&f, "not a pcapng file");
	f = good;
	f.bytes[8] = 0;
	wrong(&f, "byte order");
	f = good;
	f.bytes[4]++;
	wrong(&f, "a block of");
	f = good;
	memset(f.bytes + 4, 0x7c, 4);
	wrong(&f, "at most");
	f = good;
	f.bytes[12] = 9;
	wrong(&f, "version 9");
	f.len = 0;
	section(&f);
	packet(&f, 0, 0, 4);
	wrong(&f, "there are 0");
	f.len = 0;
	section(&f);
	interface(&f, 0, NULL, 0);
	packet(&f, 0, 0, 5);
	wrong(&f, "a packet of 5 bytes in a block with 4");
	f.len = 0;
	section(&f);
	interface(&f, 0, NULL, 0);
	packet(&f, 0, 0, UINT32_MAX);
	wrong(&f, "a packet of 4294967295 bytes");
	f.len = 0;
	section(&f);
	interface(&f, 0, endless, 1);
	wrong(&f, "option 9 reaches past");
	f.len = 0;
	section(&f);
	interface(&f, 0, unit, 2);
	wrong(&f, "units that cannot be");
	f.len = 0;
	section(&f);
	for (unsigned i = 0; i < 100; i++)
		interface(&f, 0, NULL, 0);
	section(&f); /* takes all of them away */
	packet(&f, 0, 0, 4);
	wrong(&f, "there are 0");
}

static void simple_packets_end_at_the_snap_length(void **state)
{
	struct file f = {.len = 0};

	(void)state;
	section(&f);
	interface(&f, 2, NULL, 0);
	swapped32(&f, 3);
	swapped32(&f, 20);
	swapped32(&f, 400);
	swapped32(&f, 0x01020304);
	swapped32(&f, 20);
	assert_int_equal(all(f.bytes, f.len, NULL), 1);
	assert_int_equal(first_time(&f), 0);
}

static void any_damage_is_seen_or_harmless(void **state)
{
	struct file f = written();

	(void)state;
	assert_int_equal(all(f.bytes, f.len, NULL), 2);
	for (size_t i = 0; i < f.len; i++) {
		uint8_t was = f.bytes[i];

		for (unsigned v = 0; v < 256; v += 5) {
			f.bytes[i] = (uint8_t)v;
			all(f.bytes, f.len, NULL);
		}
		f.bytes[i] = was;
	}
	for (size_t n = 0; n < f.len; n++)
		all(f.bytes, n, NULL);
}

static void a_full_disk_is_an_error(void **state)
{
	FILE *to = fopen("/dev/full", "w");
	uint8_t data[192] = {0};
	struct pcapng_packet p = {
		.link_type = PCAPNG_USER0, .length = 192, .captured = 192, .data = data};
	int rc = 0;

	(void)state;
	if (!to)
		skip();
	pcapng_begin(to);
	for (unsigned i = 0; i < 1000 && !rc; i++)
		rc = pcapng_write(to, &p);
	assert_int_equal(rc, -EIO);
	fclose(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(the_other_byte_order_and_any_unit_of_time),
		cmocka_unit_test(faults_are_named),
		cmocka_unit_test(simple_packets_end_at_the_snap_length),
		cmocka_unit_test(any_damage_is_seen_or_harmless),
		cmocka_unit_test(a_full_disk_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
