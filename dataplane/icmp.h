/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp.h - a node answers ping, so that a person can see that a port and its cable work.
 *
 * Echo alone (RFC 792, RFC 1122 3.2.2.6): whole datagrams to one's own address, without IP options.
 */
#ifndef ATOLL_DATAPLANE_ICMP_H
#define ATOLL_DATAPLANE_ICMP_H

#include <stdint.h>

/**
 * icmp_echo_answer - make an echo request its own answer, in place
 * @ip: from the IPv4 header on, @len bytes, padding included. Private memory.
 * @address: of this node, host byte order.
 * Return: the datagram's length; 0 if it is no good echo request to this node from a single host.
 */
uint32_t icmp_echo_answer(uint8_t *ip, uint32_t len, uint32_t address);

#endif
