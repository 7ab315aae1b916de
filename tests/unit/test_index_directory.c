/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clients/index/kv.h"
#include "proto/index_directory.h"
#include "proto/index_layout.h"

static struct index_directory d, e;
static char why[256];

static int parse(struct index_directory *out, const char *text)
{
	return index_directory_parse(out, text, strlen(text), why, sizeof(why));
}

static void refused(const char *text, const char *part)
{
	assert_int_equal(parse(&d, text), -22);
	if (!strstr(why, part))
		fail_msg("%s: wanted: %s\ngot: %s", text, part, why);
}

static void test_good(void **state)
{
	(void)state;
	assert_int_equal(parse(&d, "7:a/x,b/y.1,c/z"), 0);
	assert_int_equal(d.version, 7);
	assert_int_equal(d.n, 3);
	assert_false(d.range);
	assert_string_equal(d.name[1], "b/y.1");
	assert_int_equal(parse(&d, "1:a/x,b/y,c/z:g,n\\x00\\xFf"), 0);
	assert_true(d.range);
	assert_int_equal(d.first[2].len, 3);
	assert_memory_equal(d.keys + d.first[2].at, "n\0\xff", 3);
	assert_int_equal(parse(&d, "4294967295:a/x"), 0);
}

static void test_bad(void **state)
{
	char text[INDEX_DIRECTORY_MAX + 2], *at = text;

	(void)state;
	refused("", "version");
	refused("a/x", "does not begin with the number");
	refused("0:a/x", "not a number from 1");
	refused("4294967296:a/x", "not a number from 1");
	refused("99999999999999999999999:a/x", "not a number from 1");
	refused("1", "names no members");
	refused("1:", "\"\" is not NODE/SERVICE");
	refused("1:a/x,", "\"\" is not NODE/SERVICE");
	refused("1:a", "\"a\" is not NODE/SERVICE");
	refused("1:a/", "is not NODE/SERVICE");
	refused("1:/x", "is not NODE/SERVICE");
	refused("1:a/x/y", "is not NODE/SERVICE");
	refused("1:a/x,b/y,a/x", "a/x stands in it twice");
	refused("1:a/x,b/y:", "1 to 1024 bytes");
	refused("1:a/x,b/y:g,n", "wants 1 keys between them, not more");
	refused("1:a/x,b/y,c/z:g", "wants 2 keys between them, not 1");
	refused("1:a/x,b/y,c/z:n,g", "ascending");
	refused("1:a/x,b/y,c/z:g,g", "ascending");
	refused("1:a/x,b/y:g:h", "must be written \\x3a");
	refused("1:a/x,b/y:\\", "\\ is followed by");
	refused("1:a/x,b/y:\\x0", "\\ is followed by");
	refused("1:a/x,b/y:\\xg0", "\\ is followed by");
	refused("1:a/x,b/y:\\n00", "\\ is followed by");
	refused("1:a/x,b/y:\xc3\xa4", "must be written \\xc3");
	/* Too many members, and too long a text. */
	at += sprintf(at, "1:");
	for (unsigned i = 0; i <= INDEX_MEMBERS_MAX; i++)
		at += sprintf(at, "%sa/x%u", i ? "," : "", i);
	refused(text, "more than 64 members");
	memset(text, '1', sizeof(text));
	assert_int_equal(index_directory_parse(&d, text, sizeof(text), why, sizeof(why)), -22);
	/* Whatever is cut off, nothing is read behind it: seen by the address sanitizer. */
	for (size_t n = 0; n < 28; n++) {
		char *copy = malloc(n + 1);

		memcpy(copy, "12:a/x,b/y,c/z:g\\x00a,nabc\\xff", n);
		index_directory_parse(&d, copy, n, why, sizeof(why));
		free(copy);
	}
}

static void test_id(void **state)
{
	static const char *const others[] = {
		"2:a/x,b/y:g", "1:b/y,a/x:g", "1:a/x,b/y:h", "1:a/x,b/y", "1:a/x,b/z:g", "1:a/x,b/y,b/z:g,h",
	};

	(void)state;
	assert_int_equal(parse(&d, "1:a/x,b/y:g"), 0);
	assert_int_equal(parse(&e, "01:a/x,b/y:\\x67"), 0);
	assert_true(index_directory_id(&d) == index_directory_id(&e));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(parse(&e, others[i]), 0);
		assert_true(index_directory_id(&d) != index_directory_id(&e));
	}
}

static void test_range(void **state)
{
	(void)state;
	assert_int_equal(parse(&d, "1:a/x,b/y,c/z,c/w:g,n,na"), 0);
	assert_int_equal(index_directory_by_key(&d, "a", 1), 0);
	assert_int_equal(index_directory_by_key(&d, "fzzz", 4), 0);
	assert_int_equal(index_directory_by_key(&d, "g", 1), 1);
	assert_int_equal(index_directory_by_key(&d, "g\0", 2), 1);
	assert_int_equal(index_directory_by_key(&d, "m\xff", 2), 1);
	assert_int_equal(index_directory_by_key(&d, "n", 1), 2);
	assert_int_equal(index_directory_by_key(&d, "n\xff", 2), 3);
	assert_int_equal(index_directory_by_key(&d, "na", 2), 3);
	assert_int_equal(index_directory_by_key(&d, "\xff", 1), 3);
	assert_int_equal(parse(&d, "1:a/x"), 0);
	assert_int_equal(index_directory_by_key(&d, "g", 1), 0);
}

/* Slots are dealt out evenly, keys nearly so, and always in the same way. */
static void test_places(void **state)
{
	enum { KEYS = 30000 };

	(void)state;
	for (unsigned n = 1; n <= 7; n++) {
		unsigned slots[8] = {0}, keys[8] = {0};

		d.n = n;
		for (unsigned p = 0; p < INDEX_PLACES; p++)
			slots[index_directory_by_place(&d, p)]++;
		for (unsigned k = 0; k < KEYS; k++) {
			char key[16];
			int len = snprintf(key, sizeof(key), "word-%u", k);

			keys[index_directory_by_place(&d, kv_cluster_place(key, (uint32_t)len))]++;
		}
		for (unsigned i = 0; i < n; i++) {
			assert_in_range(slots[i], INDEX_PLACES / n, INDEX_PLACES / n + 1);
			assert_in_range(keys[i], KEYS / n * 94 / 100, KEYS / n * 106 / 100);
		}
	}
	/* What was put under a directory is found for ever: these are part of the layout. */
	assert_int_equal(kv_cluster_place("moon", 4), 287);
	assert_int_equal(kv_cluster_place("", 0), 112);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),  cmocka_unit_test(test_bad),    cmocka_unit_test(test_id),
		cmocka_unit_test(test_range), cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
