/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ip_addr.h - an IPv4 or IPv6 address in one form.
 *
 * Sixteen bytes in network order; an IPv4 address is mapped as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), as
 * RoCEv2's GIDs have it. All zero: none. Such an address is written as IPv4; a mapped one in text is
 * refused, so that each address has one way to be written.
 */
#ifndef ATOLL_IPC_IP_ADDR_H
#define ATOLL_IPC_IP_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	IP_ADDR_TEXT = 46 /* INET6_ADDRSTRLEN */
};

struct ip_addr {
	uint8_t b[16];
};

/* @address: host byte order. 0 gives the address that is none. */
static inline struct ip_addr ip_addr_v4(uint32_t address)
{
	struct ip_addr a = {{0}};

	if (!address)
		return a;
	a.b[10] = a.b[11] = 0xff;
	a.b[12] = (uint8_t)(address >> 24);
	a.b[13] = (uint8_t)(address >> 16);
	a.b[14] = (uint8_t)(address >> 8);
	a.b[15] = (uint8_t)address;
	return a;
}

/* The last four bytes, host byte order: of an IPv4 address all of it. */
static inline uint32_t ip_addr_low(struct ip_addr a)
{
	return (uint32_t)a.b[12] << 24 | (uint32_t)a.b[13] << 16 | (uint32_t)a.b[14] << 8 | a.b[15];
}

static inline bool ip_addr_equal(struct ip_addr a, struct ip_addr b)
{
	return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

static inline bool ip_addr_none(struct ip_addr a)
{
	return ip_addr_equal(a, (struct ip_addr){{0}});
}

static inline bool ip_addr_is_v4(struct ip_addr a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(a.b, mapped, sizeof(mapped)) == 0;
}

static inline bool ip_addr_is_v6(struct ip_addr a)
{
	return !ip_addr_is_v4(a) && !ip_addr_none(a);
}

/* 127.0.0.0/8 or ::1. */
bool ip_addr_is_loopback(struct ip_addr a);
/* Of one host, and the same whatever interface it is used on: not unspecified, 0.0.0.0/8, multicast,
 * reserved, or link-local. */
bool ip_addr_is_host(struct ip_addr a);
/* 0, or -EINVAL for what is neither. */
int ip_addr_parse(struct ip_addr *out, const char *text);
/* @buf: IP_ADDR_TEXT bytes. Return: it. */
const char *ip_addr_text(struct ip_addr a, char *buf);

#endif
