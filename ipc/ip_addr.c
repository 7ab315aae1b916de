/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/ip_addr.h"

#include <arpa/inet.h>
#include <errno.h>

bool ip_addr_is_loopback(struct ip_addr a)
{
	static const struct ip_addr one = {.b[15] = 1};

	return ip_addr_is_v4(a) ? a.b[12] == 127 : ip_addr_equal(a, one);
}

bool ip_addr_is_host(struct ip_addr a)
{
	if (ip_addr_none(a))
		return false;
	if (ip_addr_is_v4(a))
		return a.b[12] != 0 && a.b[12] < 224;
	return a.b[0] != 0xff && !(a.b[0] == 0xfe && (a.b[1] & 0xc0) == 0x80);
}

int ip_addr_parse(struct ip_addr *out, const char *text)
{
	struct in_addr v4;
	struct ip_addr a;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		a = ip_addr_v4(ntohl(v4.s_addr));
	} else if (inet_pton(AF_INET6, text, a.b) != 1 || ip_addr_is_v4(a)) {
		return -EINVAL;
	}
	*out = a;
	return 0;
}

const char *ip_addr_text(struct ip_addr a, char *buf)
{
	if (ip_addr_is_v4(a))
		inet_ntop(AF_INET, a.b + 12, buf, IP_ADDR_TEXT);
	else
		inet_ntop(AF_INET6, a.b, buf, IP_ADDR_TEXT);
	return buf;
}
