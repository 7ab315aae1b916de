/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/packet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
	ETHER = 14,
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_IPV6 = 0x86dd,
	PROTOCOL_ICMP = 1,
	PROTOCOL_UDP = 17,
	PROTOCOL_ICMPV6 = 58,
	BTH = 12,
};

static uint32_t big(const uint8_t *p, unsigned bytes)
{
	uint32_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

/* IBTA vol. 1, table 38: reliable connection, of the others what Atoll's ports carry. */
static const char *opcode_name(uint8_t opcode)
{
	static const char *const rc[] = {
		"SEND_FIRST",	    "SEND_MIDDLE",	    "SEND_LAST",	  "SEND_LAST_IMM",
		"SEND_ONLY",	    "SEND_ONLY_IMM",	    "WRITE_FIRST",	  "WRITE_MIDDLE",
		"WRITE_LAST",	    "WRITE_LAST_IMM",	    "WRITE_ONLY",	  "WRITE_ONLY_IMM",
		"READ_REQUEST",	    "READ_RESPONSE_FIRST", "READ_RESPONSE_MIDDLE", "READ_RESPONSE_LAST",
		"READ_RESPONSE_ONLY", "ACKNOWLEDGE",	    "ATOMIC_ACKNOWLEDGE", "CMP_SWAP",
		"FETCH_ADD",
	};

	if (opcode < sizeof(rc) / sizeof(rc[0]))
		return rc[opcode];
	return opcode == 0x64 ? "UD_SEND_ONLY" : opcode == 0x81 ? "CNP" : "opcode ?";
}

static int udp_text(char *buf, size_t room, const char *from, const char *to, const uint8_t *p,
		    uint32_t len)
{
	int n;

	if (len < 8)
		return snprintf(buf, room, "%s -> %s UDP, cut short", from, to);
	n = snprintf(buf, room, "%s:%u -> %s:%u", from, big(p, 2), to, big(p + 2, 2));
	if (n < 0 || (size_t)n >= room)
		return n;
	/* the port may be moved: any datagram that could be one is shown as one */
	p += 8;
	len -= 8;
	if (len < BTH)
		return n + snprintf(buf + n, room - (size_t)n, " UDP, %u bytes", len);
	n += snprintf(buf + n, room - (size_t)n, " %s qp 0x%x psn %u", opcode_name(p[0]), big(p + 5, 3),
		      big(p + 9, 3));
	if ((size_t)n < room && p[8] & 0x80)
		n += snprintf(buf + n, room - (size_t)n, " ack");
	if ((size_t)n < room && p[0] == 0x11 && len >= BTH + 4)
		n += snprintf(buf + n, room - (size_t)n, " syndrome 0x%02x", p[BTH]);
	return n;
}

static int ip_text(char *buf, size_t room, const uint8_t *p, uint32_t len, int family)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	uint32_t head = family == AF_INET ? (p[0] & 15) * 4u : 40;
	uint8_t protocol;

	if (len < (family == AF_INET ? 20 : 40) || head < 20 || head > len)
		return snprintf(buf, room, "IP, malformed");
	inet_ntop(family, p + (family == AF_INET ? 12 : 8), from, sizeof(from));
	inet_ntop(family, p + (family == AF_INET ? 16 : 24), to, sizeof(to));
	protocol = p[family == AF_INET ? 9 : 6];
	if (protocol == PROTOCOL_UDP)
		return udp_text(buf, room, from, to, p + head, len - head);
	if ((protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) && len > head)
		return snprintf(buf, room, "%s -> %s ICMP%s type %u", from, to,
				protocol == PROTOCOL_ICMP ? "" : "v6", p[head]);
	return snprintf(buf, room, "%s -> %s protocol %u", from, to, protocol);
}

static int arp_text(char *buf, size_t room, const uint8_t *p, uint32_t len)
{
	char sender[INET_ADDRSTRLEN], target[INET_ADDRSTRLEN];

	if (len < 28)
		return snprintf(buf, room, "ARP, cut short");
	inet_ntop(AF_INET, p + 14, sender, sizeof(sender));
	inet_ntop(AF_INET, p + 24, target, sizeof(target));
	if (big(p + 6, 2) == 1)
		return snprintf(buf, room, "ARP %s asks for %s", sender, target);
	return snprintf(buf, room, "ARP %s is at %02x:%02x:%02x:%02x:%02x:%02x", sender, p[8], p[9], p[10],
			p[11], p[12], p[13]);
}

int packet_text(char *buf, size_t room, const uint8_t *frame, uint32_t len)
{
	uint32_t type;

	if (len < ETHER)
		return snprintf(buf, room, "a frame of %u bytes", len);
	type = big(frame + 12, 2);
	if (type == TYPE_ARP)
		return arp_text(buf, room, frame + ETHER, len - ETHER);
	if (len == ETHER || (type != TYPE_IPV4 && type != TYPE_IPV6))
		return snprintf(buf, room, "type 0x%04x", type);
	return ip_text(buf, room, frame + ETHER, len - ETHER, type == TYPE_IPV4 ? AF_INET : AF_INET6);
}
