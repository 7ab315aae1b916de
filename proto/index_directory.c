/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/index_directory.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/atoll_proto.h"
#include "proto/index_layout.h"

struct out {
	char *why;
	size_t size;
};

static int refuse(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct out *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(o->why, o->size, format, args);
	va_end(args);
	return -EINVAL;
}

/* A node's or service's name, as the configuration has it. */
static bool name_good(const char *s, size_t n)
{
	if (n == 0 || n > PROTO_NAME_MAX || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !(s[i] && strchr("._-", s[i])))
			return false;
	return true;
}

static int version_read(struct index_directory *d, const char *text, size_t len, struct out *o)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return refuse(o, "it does not begin with the number of its version");
		v = v * 10 + (uint64_t)(text[i] - '0');
		if (v > UINT32_MAX)
			break;
	}
	if (v == 0 || v > UINT32_MAX)
		return refuse(o, "its version is not a number from 1 to %u", UINT32_MAX);
	d->version = (uint32_t)v;
	return 0;
}

static int member_read(struct index_directory *d, const char *text, size_t len, struct out *o)
{
	const char *slash = memchr(text, '/', len);
	size_t node = slash ? (size_t)(slash - text) : 0;

	_Static_assert(2 * PROTO_NAME_MAX + 1 <= INDEX_MEMBER_NAME_MAX, "a member's name fits");
	if (!slash || !name_good(text, node) || !name_good(slash + 1, len - node - 1))
		return refuse(o, "the member \"%.*s\" is not NODE/SERVICE", (int)(len < 140 ? len : 140), text);
	if (d->n == INDEX_MEMBERS_MAX)
		return refuse(o, "it has more than %d members", INDEX_MEMBERS_MAX);
	memcpy(d->name[d->n], text, len);
	d->name[d->n][len] = 0;
	for (unsigned i = 0; i < d->n; i++)
		if (strcmp(d->name[i], d->name[d->n]) == 0)
			return refuse(o, "the member %s stands in it twice", d->name[i]);
	d->n++;
	return 0;
}

static int hex(char c)
{
	const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

static int order(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c ? c : alen < blen ? -1 : alen > blen;
}

/* @n: keys before it; @used: bytes of theirs. */
static int key_read(struct index_directory *d, unsigned n, size_t *used, const char *text, size_t len,
		    struct out *o)
{
	size_t at = *used;

	if (n + 1 >= d->n)
		return refuse(o, "it has %u members and so wants %u keys between them, not more", d->n, d->n - 1);
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '\\') {
			bool whole = len - i >= 4 && text[i + 1] == 'x';
			int high = whole ? hex(text[i + 2]) : -1, low = whole ? hex(text[i + 3]) : -1;

			if (high < 0 || low < 0)
				return refuse(o, "in a key \\ is followed by x and two hexadecimal digits");
			c = (uint8_t)(high << 4 | low);
			i += 3;
		} else if (c <= ' ' || c >= 0x7f || c == ':') {
			return refuse(o, "a key has a byte that must be written \\x%02x", c);
		}
		d->keys[(*used)++] = c; /* no more bytes than the text has */
	}
	if (*used == at || *used - at > INDEX_KEY_MAX)
		return refuse(o, "a key has 1 to %d bytes", INDEX_KEY_MAX);
	d->first[n + 1].at = (uint16_t)at;
	d->first[n + 1].len = (uint16_t)(*used - at);
	if (n && order(d->keys + d->first[n].at, d->first[n].len, d->keys + at, *used - at) >= 0)
		return refuse(o, "its keys are not in ascending order: the %uth is not above the one before", n + 1);
	return 0;
}

/* The part up to @stop or the end; *text and *len are set behind it. */
static size_t part(const char **text, size_t *len, char stop, bool *last)
{
	const char *end = memchr(*text, stop, *len);
	size_t n = end ? (size_t)(end - *text) : *len;

	*last = !end;
	*text += n + (end ? 1 : 0);
	*len -= n + (end ? 1 : 0);
	return n;
}

int index_directory_parse(struct index_directory *d, const char *text, size_t len, char *why, size_t size)
{
	struct out o = {why, size};
	const char *at = text, *list;
	bool last, end;
	size_t n, m, used = 0;
	unsigned keys = 0;
	int rc;

	memset(d, 0, sizeof(*d));
	if (len > INDEX_DIRECTORY_MAX)
		return refuse(&o, "it is longer than %d bytes", INDEX_DIRECTORY_MAX);
	n = part(&at, &len, ':', &last);
	rc = version_read(d, text, n, &o);
	if (rc)
		return rc;
	if (last)
		return refuse(&o, "it names no members");
	list = at;
	n = part(&at, &len, ':', &last);
	for (end = false; !end && !rc;) {
		const char *name = list;

		m = part(&list, &n, ',', &end);
		rc = member_read(d, name, m, &o);
	}
	if (rc || last)
		return rc;
	d->range = true;
	for (end = false; !end && !rc;) {
		const char *key = at;

		m = part(&at, &len, ',', &end);
		rc = key_read(d, keys++, &used, key, m, &o);
	}
	if (!rc && keys != d->n - 1)
		return refuse(&o, "it has %u members and so wants %u keys between them, not %u", d->n, d->n - 1, keys);
	return rc;
}

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

uint64_t index_directory_id(const struct index_directory *d)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (unsigned b = 0; b < 32; b += 8)
		h = mix(h, &(uint8_t){(uint8_t)(d->version >> b)}, 1);
	for (unsigned i = 0; i < d->n; i++)
		h = mix(h, d->name[i], strlen(d->name[i]) + 1);
	for (unsigned i = 1; i < d->n && d->range; i++) {
		const uint8_t len[2] = {(uint8_t)d->first[i].len, (uint8_t)(d->first[i].len >> 8)};

		h = mix(mix(h, len, 2), d->keys + d->first[i].at, d->first[i].len);
	}
	return h ? h : 1;
}

unsigned index_directory_by_key(const struct index_directory *d, const void *key, size_t klen)
{
	unsigned low = 0, high = d->n; /* the member is in [low, high) */

	while (high - low > 1) {
		unsigned mid = (low + high) / 2;

		if (order(d->keys + d->first[mid].at, d->first[mid].len, key, klen) <= 0)
			low = mid;
		else
			high = mid;
	}
	return low;
}
