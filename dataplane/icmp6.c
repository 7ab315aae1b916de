/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/icmp6.h"

#include "dataplane/roce/packet.h"

enum {
	IP6 = sizeof(struct wire_ipv6),
	ICMP6 = 8, /* type, code, checksum, and four bytes more */
	DISCOVERY = 24,
	OPTION = 8,
	PROTOCOL_ICMPV6 = 58,
	ECHO6_REQUEST = 128,
	ECHO6_REPLY = 129,
	SOLICITATION = 135,
	ADVERTISEMENT = 136,
	OPTION_SOURCE = 1,
	OPTION_TARGET = 2,
	FLAG_SOLICITED = 0x40,
	FLAG_OVERRIDE = 0x20,
	HOPS_LINK = 255, /* nobody off the link can send it */
	HOPS = 64,
};
_Static_assert((int)ICMP6_DISCOVERY_BYTES == (int)IP6 + (int)DISCOVERY + (int)OPTION, "with a MAC");

const uint8_t icmp6_all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

/* RFC 4443 2.3: with the pseudo header of RFC 8200 8.1. Of what has its checksum: 0. */
static uint16_t checksum6(const uint8_t *ip, uint32_t len)
{
	uint32_t sum = len + PROTOCOL_ICMPV6;
	const uint8_t *p = ip + IP6;

	for (uint32_t i = 8; i < IP6; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	for (uint32_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (len & 1)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void checksum6_put(uint8_t *ip, uint32_t len)
{
	uint16_t sum;

	ip[IP6 + 2] = ip[IP6 + 3] = 0;
	sum = checksum6(ip, len);
	ip[IP6 + 2] = (uint8_t)(sum >> 8);
	ip[IP6 + 3] = (uint8_t)sum;
}

static bool is_multicast(struct ip_addr a)
{
	return a.b[0] == 0xff;
}

static struct ip_addr group_of(struct ip_addr address)
{
	struct ip_addr g = {{0xff, 0x02, [11] = 1, [12] = 0xff}};

	memcpy(g.b + 13, address.b + 13, 3);
	return g;
}

void icmp6_solicited_mac(uint8_t mac[6], struct ip_addr address)
{
	mac[0] = mac[1] = 0x33;
	mac[2] = 0xff;
	memcpy(mac + 3, address.b + 13, 3);
}

/* The options of a solicitation or advertisement: is there a MAC, and are they whole? */
static bool discovery_options(struct icmp6_in *out, const uint8_t *p, uint32_t len, uint8_t wanted)
{
	while (len) {
		uint32_t bytes;

		if (len < OPTION)
			return false;
		bytes = p[1] * 8u;
		if (!bytes || bytes > len)
			return false;
		if (p[0] == wanted && bytes == OPTION && !(p[2] & 1)) {
			memcpy(out->mac, p + 2, 6);
			out->has_mac = true;
		}
		p += bytes;
		len -= bytes;
	}
	return true;
}

static enum icmp6_kind discovery(struct icmp6_in *out, const uint8_t *ip, uint32_t len)
{
	const uint8_t *p = ip + IP6;
	bool asks = p[0] == SOLICITATION;

	if (len < DISCOVERY || ip[7] != HOPS_LINK || p[1])
		return ICMP6_MALFORMED;
	memcpy(out->target.b, p + 8, 16);
	if (is_multicast(out->target) || ip_addr_none(out->target) ||
	    !discovery_options(out, p + DISCOVERY, len - DISCOVERY, asks ? OPTION_SOURCE : OPTION_TARGET))
		return ICMP6_MALFORMED;
	if (asks) {
		if (ip_addr_none(out->src) &&
		    (out->has_mac || !ip_addr_equal(out->dst, group_of(out->target))))
			return ICMP6_MALFORMED;
		return ICMP6_SOLICITATION;
	}
	if (is_multicast(out->dst) && p[4] & FLAG_SOLICITED)
		return ICMP6_MALFORMED;
	out->override = p[4] & FLAG_OVERRIDE;
	return ICMP6_ADVERTISEMENT;
}

bool icmp6_parse(struct icmp6_in *out, const uint8_t *ip, uint32_t len)
{
	const struct wire_ipv6 *head = (const struct wire_ipv6 *)ip;
	uint32_t behind;

	memset(out, 0, sizeof(*out));
	if (len < IP6 || ip[0] >> 4 != 6 || head->next_header != PROTOCOL_ICMPV6)
		return false;
	behind = be16_get(head->payload_len);
	memcpy(out->src.b, head->src, 16);
	memcpy(out->dst.b, head->dst, 16);
	out->len = IP6 + behind;
	if (behind < ICMP6 || behind > len - IP6 || checksum6(ip, behind) || is_multicast(out->src))
		return true;
	switch (ip[IP6]) {
	case SOLICITATION:
	case ADVERTISEMENT:
		out->kind = discovery(out, ip, behind);
		break;
	case ECHO6_REQUEST:
		out->kind = ip[IP6 + 1] ? ICMP6_MALFORMED : ICMP6_ECHO;
		break;
	default:
		out->kind = ICMP6_OTHER;
	}
	return true;
}

static uint32_t discovery_build(uint8_t *ip, struct ip_addr own, struct ip_addr dst,
				struct ip_addr target, uint8_t type, uint8_t flags, const uint8_t *mac)
{
	struct wire_ipv6 *head = (struct wire_ipv6 *)ip;
	uint8_t *p = ip + IP6;

	memset(ip, 0, ICMP6_DISCOVERY_BYTES);
	ip[0] = 0x60;
	head->payload_len = be16_of(DISCOVERY + OPTION);
	head->next_header = PROTOCOL_ICMPV6;
	head->hop_limit = HOPS_LINK;
	memcpy(head->src, own.b, 16);
	memcpy(head->dst, dst.b, 16);
	p[0] = type;
	p[4] = flags;
	memcpy(p + 8, target.b, 16);
	p[DISCOVERY] = type == SOLICITATION ? OPTION_SOURCE : OPTION_TARGET;
	p[DISCOVERY + 1] = 1;
	memcpy(p + DISCOVERY + 2, mac, 6);
	checksum6_put(ip, DISCOVERY + OPTION);
	return ICMP6_DISCOVERY_BYTES;
}

uint32_t icmp6_solicitation(uint8_t *ip, struct ip_addr own, struct ip_addr target, const uint8_t *mac,
			    bool group)
{
	return discovery_build(ip, own, group ? group_of(target) : target, target, SOLICITATION, 0, mac);
}

uint32_t icmp6_advertisement(uint8_t *ip, struct ip_addr own, struct ip_addr to, const uint8_t *mac)
{
	static const struct ip_addr all_nodes = {{0xff, 0x02, [15] = 1}};

	if (ip_addr_none(to))
		return discovery_build(ip, own, all_nodes, own, ADVERTISEMENT, FLAG_OVERRIDE, mac);
	return discovery_build(ip, own, to, own, ADVERTISEMENT, FLAG_SOLICITED | FLAG_OVERRIDE, mac);
}

uint32_t icmp6_echo_answer(uint8_t *ip, const struct icmp6_in *in)
{
	struct wire_ipv6 *head = (struct wire_ipv6 *)ip;

	head->version_class_flow = be32_of(6u << 28);
	head->hop_limit = HOPS;
	memcpy(head->src, in->dst.b, 16);
	memcpy(head->dst, in->src.b, 16);
	ip[IP6] = ECHO6_REPLY;
	checksum6_put(ip, in->len - IP6);
	return in->len;
}
