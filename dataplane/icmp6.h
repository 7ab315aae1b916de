/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icmp6.h - what of ICMPv6 a node on Ethernet needs: neighbour discovery and ping.
 *
 * Neighbour solicitation and advertisement (RFC 4861 4.3, 4.4, 7.1) and echo (RFC 4443 4.1, 4.2). No
 * routers are looked for and no address is made up: the node's address comes from its configuration, and
 * its peers are on the same link. All functions work on private memory, the IPv6 header first.
 */
#ifndef ATOLL_DATAPLANE_ICMP6_H
#define ATOLL_DATAPLANE_ICMP6_H

#include "ipc/ip_addr.h"

enum {
	ICMP6_DISCOVERY_BYTES = 40 + 24 + 8, /* a solicitation or advertisement with a MAC */
};

enum icmp6_kind {
	ICMP6_MALFORMED, /* lengths, checksum, or what RFC 4861 7.1 asks for */
	ICMP6_OTHER,
	ICMP6_SOLICITATION,
	ICMP6_ADVERTISEMENT,
	ICMP6_ECHO, /* a request */
};

struct icmp6_in {
	enum icmp6_kind kind;
	struct ip_addr src, dst; /* of the packet; src none: its sender has no address yet */
	uint32_t len;		 /* from the IPv6 header on, without padding */
	/* of solicitations and advertisements: */
	struct ip_addr target;
	bool has_mac, override;
	uint8_t mac[6];
};

/* ff02::1 on Ethernet. */
extern const uint8_t icmp6_all_nodes_mac[6];

/**
 * icmp6_parse - look at a packet that came in.
 * @len: bytes that there are, padding included
 * Return: true if it is ICMPv6, right behind the IPv6 header; @out->kind says what. false: something else.
 */
bool icmp6_parse(struct icmp6_in *out, const uint8_t *ip, uint32_t len);

/* Where neighbours ask for @address: its solicited-node group (RFC 4291 2.7.1) on Ethernet (RFC 2464 7). */
void icmp6_solicited_mac(uint8_t mac[6], struct ip_addr address);

/* A solicitation for @target: to its group if @group, else to itself. Return: ICMP6_DISCOVERY_BYTES. */
uint32_t icmp6_solicitation(uint8_t *ip, struct ip_addr own, struct ip_addr target, const uint8_t *mac,
			    bool group);
/* An advertisement of @own: to @to, who asked; none: to all nodes. Return: ICMP6_DISCOVERY_BYTES. */
uint32_t icmp6_advertisement(uint8_t *ip, struct ip_addr own, struct ip_addr to, const uint8_t *mac);
/* Turns the request @in of @ip into its answer. Return: its length. */
uint32_t icmp6_echo_answer(uint8_t *ip, const struct icmp6_in *in);

#endif
