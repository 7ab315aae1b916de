/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icrc.h - the invariant CRC of RoCEv2 packets (IBTA volume 1, 7.8.1 and annex A17).
 *
 * CRC-32 of Ethernet over eight bytes of 0xff (where InfiniBand has its local route header), then
 * the IPv4 packet without its last four bytes, with what routers may change set to ones: type of
 * service, time to live, header checksum, UDP checksum, and the reserved byte of the BTH. The
 * caller masks those fields in place, so that one pass over the packet is enough. The CRC is stored
 * little-endian behind the payload.
 *
 * ISA-L computes it where the build has it; otherwise eight tables, which works on any machine.
 */
#ifndef ATOLL_DATAPLANE_ROCE_ICRC_H
#define ATOLL_DATAPLANE_ROCE_ICRC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ICRC_BYTES = 4
};

/**
 * icrc_compute - the CRC of a packet whose variant fields are masked.
 * @packet: first byte of the IPv4 header
 * @len: bytes up to the place of the ICRC
 * Return: the value, to be stored little-endian.
 */
uint32_t icrc_compute(const uint8_t *packet, size_t len);

/* The same by tables, whatever the build has: the tests compare the two. */
uint32_t icrc_compute_tables(const uint8_t *packet, size_t len);

/**
 * icrc_is_identification - is all that is wrong with a packet its IPv4 identification?
 * @delta: the CRC that it has, exclusive or that which was computed; not 0
 * @len: bytes that the CRC was computed over
 *
 * A kernel that takes the IPv4 header off does not say what its identification was, and it counts.
 * The CRC is linear: a wrong identification changes it by one of 65,535 values, which depend on the
 * length alone. So the check is that of a 16-bit CRC then. Costs a few hundred steps.
 */
bool icrc_is_identification(uint32_t delta, size_t len);

/* Makes the tables. roce_dev_new calls it; a program that computes CRCs without a device must. */
void icrc_init(void);

#endif
