/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet.h - one line of text about an Ethernet frame: addresses, and what a RoCEv2 packet is about.
 * For more there is Wireshark, which reads what msgdump --write has written.
 */
#ifndef ATOLL_MSGDUMP_PACKET_H
#define ATOLL_MSGDUMP_PACKET_H

#include <stddef.h>
#include <stdint.h>

/* @len bytes of @frame are there, which may be fewer than it had. Like snprintf. */
int packet_text(char *buf, size_t room, const uint8_t *frame, uint32_t len);

#endif
