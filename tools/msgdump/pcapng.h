/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcapng.h - captures in files that Wireshark reads (draft-ietf-opsawg-pcapng).
 *
 * Written are one section with two interfaces: records, of link type USER0, each a whole struct
 * proto_trace_entry; and the port's packets, of link type Ethernet. Times are nanoseconds of the
 * real-time clock.
 *
 * The reader takes files of anybody: either byte order, several sections, any resolution of time,
 * blocks and options that it does not know. It trusts nothing in them: every length is checked against
 * what is there before it is used, and a file with a fault in it ends with a sentence that says where.
 */
#ifndef ATOLL_MSGDUMP_PCAPNG_H
#define ATOLL_MSGDUMP_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	PCAPNG_ETHERNET = 1,
	PCAPNG_USER0 = 147,
	PCAPNG_BLOCK_MAX = 1 << 20, /* bytes; a longer block is refused */
	PCAPNG_INTERFACES_MAX = 256,
};

enum pcapng_direction { PCAPNG_UNKNOWN, PCAPNG_IN, PCAPNG_OUT };

struct pcapng_packet {
	uint16_t link_type;
	uint8_t direction; /* enum pcapng_direction */
	uint64_t time_ns;  /* since 1970; 0 where the file has none */
	uint32_t length;   /* on the wire */
	uint32_t captured; /* bytes of data */
	const uint8_t *data;
};

/* Begin a file. 0 or negative errno. */
int pcapng_begin(FILE *to);
/* Only the two link types above. 0, -EINVAL, or another negative errno. */
int pcapng_write(FILE *to, const struct pcapng_packet *p);

struct pcapng;

/* NULL without memory. @from stays the caller's. */
struct pcapng *pcapng_open(FILE *from);
void pcapng_close(struct pcapng *r);
/**
 * pcapng_next - the next packet
 * Return: 1 with @out, whose data is valid until the next call; 0 at the end of the file; negative
 * errno: -EPROTO the file is wrong, -EIO it cannot be read; pcapng_error says what and where.
 */
int pcapng_next(struct pcapng *r, struct pcapng_packet *out);
const char *pcapng_error(const struct pcapng *r);

#endif
