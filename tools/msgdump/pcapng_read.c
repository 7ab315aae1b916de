/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/msgdump/pcapng_impl.h"

struct interface {
	uint16_t link_type;
	uint8_t resolution; /* as in if_tsresol: power of ten, or with the high bit of two */
	uint32_t snap;	    /* 0: none */
	int64_t offset_s;
};

struct pcapng {
	FILE *from;
	uint64_t at; /* of the block that is looked at */
	bool section, swapped;
	struct interface interfaces[PCAPNG_INTERFACES_MAX];
	unsigned ninterfaces;
	uint8_t *block; /* the body of one */
	uint32_t room;
	char error[160];
};

__attribute__((format(printf, 3, 4))) static int fail(struct pcapng *r, int rc, const char *fmt, ...)
{
	int n = snprintf(r->error, sizeof(r->error), "byte %" PRIu64 ": ", r->at);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return rc;
}

static uint32_t swap32(const struct pcapng *r, uint32_t v)
{
	return r->swapped ? __builtin_bswap32(v) : v;
}

static uint32_t get32(const struct pcapng *r, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return swap32(r, v);
}

static uint16_t get16(const struct pcapng *r, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return r->swapped ? __builtin_bswap16(v) : v;
}

/* ---------------------------------------------------------------- options */

/* The next option of @len bytes from *@at. 1; 0 at the end; -EPROTO. */
static int option_next(struct pcapng *r, const uint8_t *p, uint32_t len, uint32_t *at, uint16_t *code,
		       const uint8_t **value, uint16_t *size)
{
	if (*at == len)
		return 0;
	if (len - *at < 4)
		return fail(r, -EPROTO, "an option is cut short");
	*code = get16(r, p + *at);
	*size = get16(r, p + *at + 2);
	*at += 4;
	if (*code == OPTION_END)
		return 0;
	if (((*size + 3u) & ~3u) > len - *at)
		return fail(r, -EPROTO, "option %u reaches past its block", *code);
	*value = p + *at;
	*at += (*size + 3u) & ~3u;
	return 1;
}

static int interface_read(struct pcapng *r, const uint8_t *p, uint32_t len)
{
	struct interface *i = &r->interfaces[r->ninterfaces];
	const uint8_t *value;
	uint16_t code, size;
	uint32_t at = 8;
	int rc;

	if (len < 8)
		return fail(r, -EPROTO, "an interface's block is too short");
	if (r->ninterfaces == PCAPNG_INTERFACES_MAX)
		return fail(r, -EPROTO, "more than %d interfaces", PCAPNG_INTERFACES_MAX);
	*i = (struct interface){.link_type = get16(r, p), .resolution = 6, .snap = get32(r, p + 4)};
	while ((rc = option_next(r, p, len, &at, &code, &value, &size)) > 0) {
		if (code == OPTION_IF_TSRESOL && size == 1)
			i->resolution = value[0];
		if (code == OPTION_IF_TSOFFSET && size == 8) {
			uint64_t v;

			memcpy(&v, value, sizeof(v));
			i->offset_s = (int64_t)(r->swapped ? __builtin_bswap64(v) : v);
		}
	}
	if (rc)
		return rc;
	/* finer than this, 64 bits hold less than a second */
	if ((i->resolution & 0x80) ? (i->resolution & 0x7f) > 63 : i->resolution > 19)
		return fail(r, -EPROTO, "an interface counts time in units that cannot be: %u", i->resolution);
	r->ninterfaces++;
	return 0;
}

/* A time of an interface in nanoseconds; 0 if it is before 1970 or after 2554. */
static uint64_t nanoseconds(const struct interface *i, uint64_t t)
{
	unsigned __int128 ns = t;
	__int128 all;

	if (i->resolution & 0x80) {
		ns = (ns * 1000000000u) >> (i->resolution & 0x7f);
	} else {
		for (unsigned k = i->resolution; k < 9; k++)
			ns *= 10;
		for (unsigned k = i->resolution; k > 9; k--)
			ns /= 10;
	}
	all = (__int128)ns + (__int128)i->offset_s * 1000000000;
	return all < 0 || all > (__int128)UINT64_MAX ? 0 : (uint64_t)all;
}

/* ---------------------------------------------------------------- packets */

static int packet_read(struct pcapng *r, const uint8_t *p, uint32_t len, struct pcapng_packet *out)
{
	const struct interface *i;
	const uint8_t *value;
	uint16_t code, size;
	uint32_t at;
	int rc;

	if (len < 20)
		return fail(r, -EPROTO, "a packet's block is too short");
	if (get32(r, p) >= r->ninterfaces)
		return fail(r, -EPROTO, "a packet of interface %u; there are %u", get32(r, p), r->ninterfaces);
	i = &r->interfaces[get32(r, p)];
	*out = (struct pcapng_packet){.link_type = i->link_type,
				      .time_ns = nanoseconds(i, (uint64_t)get32(r, p + 4) << 32 |
									get32(r, p + 8)),
				      .captured = get32(r, p + 12),
				      .length = get32(r, p + 16),
				      .data = p + 20};
	if (out->captured > len - 20)
		return fail(r, -EPROTO, "a packet of %u bytes in a block with %u", out->captured, len - 20);
	at = 20 + ((out->captured + 3) & ~3u); /* len is a multiple of 4 */
	while ((rc = option_next(r, p, len, &at, &code, &value, &size)) > 0)
		if (code == OPTION_EPB_FLAGS && size == 4) {
			uint32_t direction = get32(r, value) & 3;

			out->direction = direction <= PCAPNG_OUT ? (uint8_t)direction : PCAPNG_UNKNOWN;
		}
	return rc ? rc : 1;
}

static int simple_read(struct pcapng *r, const uint8_t *p, uint32_t len, struct pcapng_packet *out)
{
	uint32_t captured;

	if (len < 4)
		return fail(r, -EPROTO, "a packet's block is too short");
	if (!r->ninterfaces)
		return fail(r, -EPROTO, "a packet before any interface");
	captured = get32(r, p);
	if (r->interfaces[0].snap && captured > r->interfaces[0].snap)
		captured = r->interfaces[0].snap;
	if (captured > len - 4)
		return fail(r, -EPROTO, "a packet of %u bytes in a block with %u", captured, len - 4);
	*out = (struct pcapng_packet){.link_type = r->interfaces[0].link_type,
				      .captured = captured,
				      .length = get32(r, p),
				      .data = p + 4};
	return 1;
}

/* ---------------------------------------------------------------- blocks */

/* Exactly @len bytes. 1, 0 when the file ends before the first, negative errno. */
static int take(struct pcapng *r, void *to, uint32_t len)
{
	size_t got = fread(to, 1, len, r->from);

	if (got == len)
		return 1;
	if (ferror(r->from))
		return fail(r, -EIO, "cannot be read: %s", strerror(errno));
	return got == 0 ? 0 : fail(r, -EPROTO, "the file is cut short");
}

static int section_read(struct pcapng *r, const uint8_t *p, uint32_t len)
{
	if (len < 16)
		return fail(r, -EPROTO, "a section's block is too short");
	if (get16(r, p + 4) != 1)
		return fail(r, -EPROTO, "version %u of the format; 1 is known", get16(r, p + 4));
	r->section = true;
	r->ninterfaces = 0;
	return 0;
}

/* One block, its body (without type and lengths) in r->block. 1, 0, negative errno. */
static int block_read(struct pcapng *r, uint32_t *type, uint32_t *len)
{
	uint8_t head[12];
	uint32_t total, end, have = 8;
	int rc = take(r, head, 8);

	if (rc <= 0)
		return rc;
	memcpy(type, head, 4);
	if (*type == BLOCK_SECTION) {
		/* says first in which byte order everything is */
		uint32_t magic;

		rc = take(r, head + 8, 4);
		if (rc <= 0)
			return rc ? rc : fail(r, -EPROTO, "the file is cut short");
		memcpy(&magic, head + 8, 4);
		if (magic != BYTE_ORDER_MAGIC && magic != __builtin_bswap32(BYTE_ORDER_MAGIC))
			return fail(r, -EPROTO, "a section without its byte order");
		r->swapped = magic != BYTE_ORDER_MAGIC;
		have = 12;
	} else if (!r->section) {
		return fail(r, -EPROTO, "this is not a pcapng file");
	} else {
		*type = swap32(r, *type);
	}
	total = get32(r, head + 4);
	if (total < have + 4 || total % 4)
		return fail(r, -EPROTO, "a block of %u bytes", total);
	if (total > PCAPNG_BLOCK_MAX)
		return fail(r, -EPROTO, "a block of %u bytes; at most %d are read", total, PCAPNG_BLOCK_MAX);
	if (total > r->room) {
		uint8_t *more = realloc(r->block, total);

		if (!more)
			return fail(r, -ENOMEM, "out of memory");
		r->block = more;
		r->room = total;
	}
	*len = total - 12;
	memcpy(r->block, head + 8, have - 8);
	rc = take(r, r->block + (have - 8), total - have);
	if (rc <= 0)
		return rc ? rc : fail(r, -EPROTO, "the file is cut short");
	end = get32(r, r->block + *len);
	if (end != total)
		return fail(r, -EPROTO, "a block whose lengths differ: %u and %u", total, end);
	return 1;
}

struct pcapng *pcapng_open(FILE *from)
{
	struct pcapng *r = calloc(1, sizeof(*r));

	if (r)
		r->from = from;
	return r;
}

void pcapng_close(struct pcapng *r)
{
	if (!r)
		return;
	free(r->block);
	free(r);
}

const char *pcapng_error(const struct pcapng *r)
{
	return r->error;
}

int pcapng_next(struct pcapng *r, struct pcapng_packet *out)
{
	uint32_t type = 0, len = 0;
	int rc;

	for (;;) {
		rc = block_read(r, &type, &len);
		if (rc == 0 && !r->section)
			return fail(r, -EPROTO, "the file is empty");
		if (rc <= 0)
			return rc;
		switch (type) {
		case BLOCK_SECTION:
			rc = section_read(r, r->block, len);
			break;
		case BLOCK_INTERFACE:
			rc = interface_read(r, r->block, len);
			break;
		case BLOCK_PACKET:
			rc = packet_read(r, r->block, len, out);
			break;
		case BLOCK_SIMPLE:
			rc = simple_read(r, r->block, len, out);
			break;
		default:
			rc = 0;
		}
		r->at += len + 12;
		if (rc)
			return rc;
	}
}
