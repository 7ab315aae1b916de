/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "tools/msgdump/pcapng_impl.h"

struct buffer {
	uint8_t bytes[512];
	uint32_t len;
};

static void put32(struct buffer *b, uint32_t v)
{
	memcpy(b->bytes + b->len, &v, sizeof(v));
	b->len += 4;
}

static void put_option(struct buffer *b, uint16_t code, const void *value, uint16_t len)
{
	put32(b, code | (uint32_t)len << 16);
	memcpy(b->bytes + b->len, value, len);
	memset(b->bytes + b->len + len, 0, (4u - len % 4u) % 4u);
	b->len += (len + 3u) & ~3u;
}

/* The block whose type and body are in @b, with both its lengths. */
static int block_write(FILE *to, struct buffer *b)
{
	uint32_t total = b->len + 4;

	memcpy(b->bytes + 4, &total, sizeof(total));
	put32(b, total);
	return fwrite(b->bytes, 1, b->len, to) == b->len ? 0 : -EIO;
}

static int interface_write(FILE *to, uint16_t link_type, const char *name)
{
	struct buffer b = {.len = 0};
	const uint8_t nanoseconds = 9;

	put32(&b, BLOCK_INTERFACE);
	put32(&b, 0);
	put32(&b, link_type);
	put32(&b, 0); /* packets are whole */
	put_option(&b, OPTION_IF_NAME, name, (uint16_t)strlen(name));
	put_option(&b, OPTION_IF_TSRESOL, &nanoseconds, 1);
	put32(&b, 0);
	return block_write(to, &b);
}

int pcapng_begin(FILE *to)
{
	static const char by[] = "msgdump";
	struct buffer b = {.len = 0};
	int rc;

	put32(&b, BLOCK_SECTION);
	put32(&b, 0);
	put32(&b, BYTE_ORDER_MAGIC);
	put32(&b, 1); /* version 1.0 */
	put32(&b, UINT32_MAX);
	put32(&b, UINT32_MAX); /* the section's length is not said */
	put_option(&b, OPTION_SHB_USERAPPL, by, sizeof(by) - 1);
	put32(&b, 0);
	rc = block_write(to, &b);
	if (!rc)
		rc = interface_write(to, PCAPNG_USER0, "records");
	return rc ? rc : interface_write(to, PCAPNG_ETHERNET, "port");
}

int pcapng_write(FILE *to, const struct pcapng_packet *p)
{
	struct buffer head = {.len = 0}, tail = {.len = 0};
	uint32_t pad = (4 - p->captured % 4) % 4, total, flags = p->direction;

	if ((p->link_type != PCAPNG_USER0 && p->link_type != PCAPNG_ETHERNET) ||
	    p->captured > PCAPNG_BLOCK_MAX - 128)
		return -EINVAL;
	put32(&head, BLOCK_PACKET);
	put32(&head, 0);
	put32(&head, p->link_type == PCAPNG_ETHERNET); /* the second interface */
	put32(&head, (uint32_t)(p->time_ns >> 32));
	put32(&head, (uint32_t)p->time_ns);
	put32(&head, p->captured);
	put32(&head, p->length);
	memset(tail.bytes, 0, pad);
	tail.len = pad;
	if (p->direction != PCAPNG_UNKNOWN) {
		put_option(&tail, OPTION_EPB_FLAGS, &flags, 4);
		put32(&tail, 0);
	}
	total = head.len + p->captured + tail.len + 4;
	memcpy(head.bytes + 4, &total, sizeof(total));
	put32(&tail, total);
	if (fwrite(head.bytes, 1, head.len, to) != head.len ||
	    fwrite(p->data, 1, p->captured, to) != p->captured ||
	    fwrite(tail.bytes, 1, tail.len, to) != tail.len)
		return -EIO;
	return 0;
}
