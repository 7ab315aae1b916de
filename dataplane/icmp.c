/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/icmp.h"

#include <string.h>

#include "dataplane/roce/packet.h"

enum { IP = 20, ICMP = 8, PROTOCOL_ICMP = 1, ECHO_REPLY = 0, ECHO_REQUEST = 8, TTL = 64 };
_Static_assert(sizeof(struct wire_ipv4) == IP, "without options");

/* RFC 1071: what is summed with its checksum gives 0. */
static uint16_t checksum(const uint8_t *p, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (len & 1)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void checksum_put(uint8_t *at, uint16_t sum)
{
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

uint32_t icmp_echo_answer(uint8_t *ip, uint32_t len, uint32_t address)
{
	struct wire_ipv4 *head = (struct wire_ipv4 *)ip;
	uint8_t *icmp = ip + IP;
	uint32_t total, from;

	if (len < IP + ICMP || head->version_ihl != 0x45 || head->protocol != PROTOCOL_ICMP)
		return 0;
	total = be16_get(head->total_len);
	from = be32_get(head->src);
	if (total < IP + ICMP || total > len || be16_get(head->fragment) & 0x3fff || checksum(ip, IP) ||
	    be32_get(head->dst) != address)
		return 0;
	/* nobody, oneself, or more than one */
	if (from == 0 || from == address || from >> 28 >= 14 || from >> 24 == 127)
		return 0;
	if (icmp[0] != ECHO_REQUEST || icmp[1] != 0 || checksum(icmp, total - IP))
		return 0;
	head->dst = head->src;
	head->src = be32_of(address);
	head->ttl = TTL;
	memset(ip + 10, 0, 2);
	checksum_put(ip + 10, checksum(ip, IP));
	icmp[0] = ECHO_REPLY;
	memset(icmp + 2, 0, 2);
	checksum_put(icmp + 2, checksum(icmp, total - IP));
	return total;
}
