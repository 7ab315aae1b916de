/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/netif.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/icmp.h"
#include "dataplane/icmp6.h"
#include "dataplane/roce/packet.h"

enum {
	NEIGHBOURS = 256, /* a power of two; nodes on one link */
	BACKLOG = 512,    /* packets that the port did not take; the engine stops far below */
	ETHER_BYTES = 14,
	ETHER_MIN = 60,
	ETHERTYPE_IPV4 = 0x0800,
	IP_ICMP = 1,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_IPV6 = 0x86dd,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	ARP_TRIES = 5,
};

static const uint64_t ARP_INTERVAL_NS = 20000000;   /* between requests for one address */
static const uint64_t ARP_HOLD_NS = 1000000000;     /* after ARP_TRIES without an answer */
static const uint64_t ARP_REFRESH_NS = 30000000000; /* ask again, and go on using it */
static const uint64_t ARP_EXPIRE_NS = 60000000000;  /* forget */
static const uint64_t BACKLOG_STALE_NS = 100000000; /* a port that takes nothing loses it */

struct wire_ether {
	uint8_t dst[6], src[6];
	be16 type;
};
_Static_assert(sizeof(struct wire_ether) == ETHER_BYTES, "Ethernet II");

struct wire_arp {
	be16 hardware, protocol;
	uint8_t hardware_len, protocol_len;
	be16 op;
	uint8_t sender_mac[6];
	be32 sender_ip;
	uint8_t target_mac[6];
	be32 target_ip;
};
_Static_assert(sizeof(struct wire_arp) == 28, "RFC 826 for Ethernet and IPv4");

struct neighbour {
	struct ip_addr address; /* none: free */
	bool known;
	bool wanted; /* this node sends there: strangers who ask do not take its place */
	uint8_t mac[6];
	uint8_t tries;
	uint64_t confirmed, asked;
	struct pkt *held; /* the first packet that found it unknown */
};

struct netif {
	struct port *port;
	struct ip_addr address;
	uint16_t udp_port;
	bool ethernet, v6;
	uint8_t solicited[6]; /* where neighbours ask for the address */
	void (*tap)(void *arg, bool out, const struct pkt *pkt);
	void *tap_arg;
	struct netif_stats stats;
	struct pkt *backlog[BACKLOG];
	uint32_t backlog_head, backlog_count;
	uint64_t backlog_moved;
	struct neighbour neighbours[NEIGHBOURS];
};

const char *const netif_stat_names[NETIF_STATS] = {
	"rx_not_ip", "rx_not_ours", "rx_malformed", "rx_echo", "tx_no_neighbour", "tx_overrun", "rx_discovery",
	"tx_discovery"};
const char *const netif_stat_help[NETIF_STATS] = {
	"frames of another type than the port's address has", "to another address, port or protocol",
	"with wrong lengths or checksums", "pings that were answered",
	"that found no MAC for their address; the first waits, the others are lost", "lost because the port took none",
	"ARP or neighbour discovery that came", "ARP or neighbour discovery that was sent"};

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct netif *netif_new(struct port *port, struct ip_addr address, uint16_t udp_port)
{
	struct netif *nif = calloc(1, sizeof(*nif));

	if (!nif)
		return NULL;
	nif->port = port;
	nif->address = address;
	nif->udp_port = udp_port;
	nif->ethernet = port->ops->caps & PORT_L2;
	nif->v6 = ip_addr_is_v6(address);
	icmp6_solicited_mac(nif->solicited, address);
	return nif;
}

void netif_delete(struct netif *nif)
{
	if (!nif)
		return;
	for (uint32_t i = 0; i < nif->backlog_count; i++)
		nif->port->ops->free(nif->port, &nif->backlog[(nif->backlog_head + i) % BACKLOG],
				     1);
	for (uint32_t i = 0; i < NEIGHBOURS; i++)
		if (nif->neighbours[i].held)
			nif->port->ops->free(nif->port, &nif->neighbours[i].held, 1);
	free(nif);
}

uint32_t netif_mtu(const struct netif *nif)
{
	return nif->port->mtu;
}

uint16_t netif_source_port(const struct netif *nif, uint32_t entropy)
{
	if (nif->port->ops->caps & PORT_UDP)
		return nif->udp_port;
	return (uint16_t)(0xc000 | (entropy & 0x3fff));
}

bool netif_hides_identification(const struct netif *nif)
{
	return nif->port->ops->caps & PORT_UDP && !nif->v6; /* IPv6 has none */
}

uint32_t netif_backlog(const struct netif *nif)
{
	return nif->backlog_count;
}

unsigned netif_alloc(struct netif *nif, struct pkt **pkts, unsigned n)
{
	return nif->port->ops->alloc(nif->port, pkts, n);
}

void netif_free(struct netif *nif, struct pkt **pkts, unsigned n)
{
	if (n)
		nif->port->ops->free(nif->port, pkts, n);
}

void netif_tap(struct netif *nif, void (*tap)(void *arg, bool out, const struct pkt *pkt), void *arg)
{
	nif->tap = tap;
	nif->tap_arg = arg;
}

const struct netif_stats *netif_stats(const struct netif *nif)
{
	return &nif->stats;
}

/* ------------------------------------------------------------------ to the port */

static void push_port(struct netif *nif, uint64_t now_ns)
{
	while (nif->backlog_count) {
		uint32_t run = BACKLOG - nif->backlog_head;
		unsigned n = nif->backlog_count < run ? nif->backlog_count : run;
		unsigned took;

		if (n > PORT_BURST_MAX)
			n = PORT_BURST_MAX;
		took = nif->port->ops->tx_burst(nif->port, &nif->backlog[nif->backlog_head], n);
		if (took)
			nif->backlog_moved = now_ns;
		nif->backlog_head = (nif->backlog_head + took) % BACKLOG;
		nif->backlog_count -= took;
		if (took < n)
			return;
	}
}

static void send_frames(struct netif *nif, uint64_t now_ns, struct pkt **pkts, unsigned n)
{
	unsigned took = 0;

	for (unsigned i = 0; nif->tap && i < n; i++)
		nif->tap(nif->tap_arg, true, pkts[i]);
	push_port(nif, now_ns);
	while (took < n && !nif->backlog_count) {
		unsigned burst = n - took < PORT_BURST_MAX ? n - took : PORT_BURST_MAX;
		unsigned got = nif->port->ops->tx_burst(nif->port, pkts + took, burst);

		took += got;
		if (got < burst)
			break;
	}
	if (took < n && !nif->backlog_count)
		nif->backlog_moved = now_ns;
	for (; took < n && nif->backlog_count < BACKLOG; took++)
		nif->backlog[(nif->backlog_head + nif->backlog_count++) % BACKLOG] = pkts[took];
	if (took < n) {
		nif->stats.tx_overrun += n - took;
		netif_free(nif, pkts + took, n - took);
	}
}

/* ------------------------------------------------------------------ neighbours */

static void held_drop(struct netif *nif, struct neighbour *nb)
{
	if (nb->held)
		netif_free(nif, &nb->held, 1);
	nb->held = NULL;
}

enum make {
	LOOK,     /* for one that is there */
	MAKE_SEEN, /* or a free one, or in the place of one that nobody sends to */
	MAKE_WANTED, /* or in the place of one without an answer, too */
};

static struct neighbour *neighbour_find(struct netif *nif, struct ip_addr address, enum make make)
{
	struct neighbour *spare = NULL;
	uint32_t low = ip_addr_low(address);

	for (uint32_t i = 0; i < NEIGHBOURS; i++) {
		struct neighbour *nb = &nif->neighbours[(low + i) & (NEIGHBOURS - 1)];

		if (ip_addr_equal(nb->address, address))
			return nb;
		if (ip_addr_none(nb->address)) {
			spare = spare ? spare : nb;
			break; /* entries are never freed, only replaced */
		}
		if (!spare && (!nb->wanted || (make == MAKE_WANTED && !nb->known)))
			spare = nb;
	}
	if (make == LOOK || !spare)
		return NULL;
	held_drop(nif, spare);
	*spare = (struct neighbour){.address = address};
	return spare;
}

static void send_arp(struct netif *nif, uint64_t now_ns, struct pkt *pkt, uint16_t op,
		     const uint8_t *mac, struct ip_addr address)
{
	struct wire_ether *eth = (struct wire_ether *)pkt->data;
	struct wire_arp *arp = (struct wire_arp *)(pkt->data + ETHER_BYTES);

	memset(pkt->data, 0, ETHER_MIN);
	memcpy(eth->dst, mac, 6);
	memcpy(eth->src, nif->port->mac, 6);
	eth->type = be16_of(ETHERTYPE_ARP);
	arp->hardware = be16_of(1);
	arp->protocol = be16_of(ETHERTYPE_IPV4);
	arp->hardware_len = 6;
	arp->protocol_len = 4;
	arp->op = be16_of(op);
	memcpy(arp->sender_mac, nif->port->mac, 6);
	arp->sender_ip = be32_of(ip_addr_low(nif->address));
	if (op == ARP_REPLY)
		memcpy(arp->target_mac, mac, 6);
	arp->target_ip = be32_of(ip_addr_low(address));
	pkt->len = ETHER_MIN;
	nif->stats.tx_arp++;
	send_frames(nif, now_ns, &pkt, 1);
}

/* An Ethernet header before what icmp6.h has made. */
static void send_icmp6(struct netif *nif, uint64_t now_ns, struct pkt *pkt, uint32_t len,
		       const uint8_t *mac)
{
	struct wire_ether *eth = (struct wire_ether *)pkt->data;

	memmove(eth->dst, mac, 6);
	memcpy(eth->src, nif->port->mac, 6);
	eth->type = be16_of(ETHERTYPE_IPV6);
	pkt->len = ETHER_BYTES + len;
	send_frames(nif, now_ns, &pkt, 1);
}

static void send_solicitation(struct netif *nif, uint64_t now_ns, struct pkt *pkt,
			      const struct neighbour *nb)
{
	uint8_t group[6];
	uint32_t len = icmp6_solicitation(pkt->data + ETHER_BYTES, nif->address, nb->address,
					  nif->port->mac, !nb->known);

	icmp6_solicited_mac(group, nb->address);
	nif->stats.tx_arp++;
	send_icmp6(nif, now_ns, pkt, len, nb->known ? nb->mac : group);
}

static void ask(struct netif *nif, uint64_t now_ns, struct neighbour *nb)
{
	uint64_t wait = nb->tries < ARP_TRIES ? ARP_INTERVAL_NS : ARP_HOLD_NS;
	struct pkt *pkt;

	if (nb->asked && now_ns - nb->asked < wait)
		return;
	if (!netif_alloc(nif, &pkt, 1))
		return;
	if (nb->tries == ARP_TRIES)
		held_drop(nif, nb); /* it did not answer */
	nb->tries = nb->tries < ARP_TRIES ? nb->tries + 1 : 1;
	nb->asked = now_ns ? now_ns : 1;
	if (nif->v6)
		send_solicitation(nif, now_ns, pkt, nb);
	else
		send_arp(nif, now_ns, pkt, ARP_REQUEST, nb->known ? nb->mac : broadcast, nb->address);
}

/* Put the Ethernet header of a neighbour that is known before the packet. */
static void put_ether(struct netif *nif, const struct neighbour *nb, struct pkt *pkt)
{
	struct wire_ether *eth;

	pkt->data -= ETHER_BYTES;
	pkt->len += ETHER_BYTES;
	pkt->room += ETHER_BYTES;
	eth = (struct wire_ether *)pkt->data;
	memcpy(eth->dst, nb->mac, 6);
	memcpy(eth->src, nif->port->mac, 6);
	eth->type = be16_of(nif->v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
}

/* Somebody has said what the neighbour's MAC is. */
static void neighbour_learn(struct netif *nif, uint64_t now_ns, struct neighbour *nb,
			    const uint8_t *mac)
{
	struct pkt *held = nb->held;

	memcpy(nb->mac, mac, 6);
	nb->known = true;
	nb->tries = 0;
	nb->confirmed = now_ns;
	nb->held = NULL;
	if (held) {
		put_ether(nif, nb, held);
		send_frames(nif, now_ns, &held, 1);
	}
}

/* Takes the packet. Only what is addressed to us teaches us anything. */
static void input_arp(struct netif *nif, uint64_t now_ns, struct pkt *pkt)
{
	struct wire_arp arp;
	struct neighbour *nb;
	struct ip_addr sender;
	uint16_t op;

	if (pkt->len < ETHER_BYTES + sizeof(arp)) {
		nif->stats.rx_malformed++;
		netif_free(nif, &pkt, 1);
		return;
	}
	memcpy(&arp, pkt->data + ETHER_BYTES, sizeof(arp));
	sender = ip_addr_v4(be32_get(arp.sender_ip));
	op = be16_get(arp.op);
	if (be16_get(arp.hardware) != 1 || be16_get(arp.protocol) != ETHERTYPE_IPV4 ||
	    arp.hardware_len != 6 || arp.protocol_len != 4 || arp.sender_mac[0] & 1) {
		nif->stats.rx_malformed++;
		netif_free(nif, &pkt, 1);
		return;
	}
	nif->stats.rx_arp++;
	if (!ip_addr_equal(ip_addr_v4(be32_get(arp.target_ip)), nif->address) || ip_addr_none(sender) ||
	    ip_addr_equal(sender, nif->address)) {
		netif_free(nif, &pkt, 1);
		return;
	}
	nb = neighbour_find(nif, sender, op == ARP_REQUEST ? MAKE_SEEN : LOOK);
	if (nb)
		neighbour_learn(nif, now_ns, nb, arp.sender_mac);
	if (op == ARP_REQUEST && pkt->room >= ETHER_MIN)
		send_arp(nif, now_ns, pkt, ARP_REPLY, arp.sender_mac, sender);
	else
		netif_free(nif, &pkt, 1);
}

/* ------------------------------------------------------------------ IPv4 */

static bool ip_checksum_good(const uint8_t *ip)
{
	uint32_t word[sizeof(struct wire_ipv4) / 4];
	uint64_t sum;

	/* of ones' complement: any order of bytes, and any size of the parts, give the same */
	memcpy(word, ip, sizeof(word));
	sum = (uint64_t)word[0] + word[1] + word[2] + word[3] + word[4];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* Is this the engine's? data at the IPv4 header; padding is trimmed. */
static bool input_ipv4(struct netif *nif, struct pkt *pkt)
{
	const struct wire_ipv4 *ip = (const struct wire_ipv4 *)pkt->data;
	const struct wire_udp *udp = (const struct wire_udp *)(pkt->data + sizeof(*ip));
	uint32_t total;

	if (pkt->len < sizeof(*ip) + sizeof(*udp) || ip->version_ihl >> 4 != 4) {
		nif->stats.rx_malformed++;
		return false;
	}
	if (!ip_addr_equal(ip_addr_v4(be32_get(ip->dst)), nif->address) || ip->protocol != 17) {
		nif->stats.rx_not_ours++;
		return false;
	}
	total = be16_get(ip->total_len);
	if (ip->version_ihl != 0x45 || total > pkt->len || total < sizeof(*ip) + sizeof(*udp) ||
	    be16_get(ip->fragment) & 0x3fff || (nif->ethernet && !ip_checksum_good(pkt->data))) {
		nif->stats.rx_malformed++;
		return false;
	}
	if (be16_get(udp->dst_port) != nif->udp_port) {
		nif->stats.rx_not_ours++;
		return false;
	}
	if (be16_get(udp->len) != total - sizeof(*ip)) {
		nif->stats.rx_malformed++;
		return false;
	}
	pkt->len = total;
	return true;
}

/* ------------------------------------------------------------------ IPv6 */

/* As input_ipv4. */
static bool input_ipv6(struct netif *nif, struct pkt *pkt)
{
	const struct wire_ipv6 *ip = (const struct wire_ipv6 *)pkt->data;
	const struct wire_udp *udp = (const struct wire_udp *)(pkt->data + sizeof(*ip));
	uint32_t behind;

	if (pkt->len < sizeof(*ip) + sizeof(*udp) || pkt->data[0] >> 4 != 6) {
		nif->stats.rx_malformed++;
		return false;
	}
	if (memcmp(ip->dst, nif->address.b, sizeof(ip->dst)) || ip->next_header != 17) {
		nif->stats.rx_not_ours++;
		return false;
	}
	behind = be16_get(ip->payload_len);
	if (behind > pkt->len - sizeof(*ip) || behind < sizeof(*udp)) {
		nif->stats.rx_malformed++;
		return false;
	}
	if (be16_get(udp->dst_port) != nif->udp_port) {
		nif->stats.rx_not_ours++;
		return false;
	}
	if (be16_get(udp->len) != behind) {
		nif->stats.rx_malformed++;
		return false;
	}
	pkt->len = (uint32_t)sizeof(*ip) + behind;
	return true;
}

/* Neighbour discovery and ping. true: the packet is taken. As with ARP, only what asks for our address, or
 * answers what we asked, teaches us anything. */
static bool input_icmp6(struct netif *nif, uint64_t now_ns, struct pkt *pkt)
{
	struct wire_ether *eth = (struct wire_ether *)pkt->data;
	uint8_t mac[6];
	struct neighbour *nb;
	struct icmp6_in in;

	if (!icmp6_parse(&in, pkt->data + ETHER_BYTES, pkt->len - ETHER_BYTES))
		return false;
	memcpy(mac, eth->src, 6);
	switch (in.kind) {
	case ICMP6_SOLICITATION:
		nif->stats.rx_arp++;
		if (!ip_addr_equal(in.target, nif->address) || ip_addr_equal(in.src, nif->address) ||
		    mac[0] & 1 || pkt->room < ETHER_BYTES + ICMP6_DISCOVERY_BYTES)
			break;
		nb = in.has_mac && !ip_addr_none(in.src) ? neighbour_find(nif, in.src, MAKE_SEEN) : NULL;
		if (nb) {
			neighbour_learn(nif, now_ns, nb, in.mac);
			memcpy(mac, in.mac, 6);
		}
		nif->stats.tx_arp++;
		/* who has no address yet only wants to know that this one is taken */
		if (ip_addr_none(in.src))
			memcpy(mac, icmp6_all_nodes_mac, 6);
		send_icmp6(nif, now_ns, pkt,
			   icmp6_advertisement(pkt->data + ETHER_BYTES, nif->address, in.src,
					       nif->port->mac), mac);
		return true;
	case ICMP6_ADVERTISEMENT:
		nif->stats.rx_arp++;
		nb = neighbour_find(nif, in.target, LOOK);
		if (nb && in.has_mac && (!nb->known || in.override || !memcmp(nb->mac, in.mac, 6)))
			neighbour_learn(nif, now_ns, nb, in.mac);
		break;
	case ICMP6_ECHO:
		if (!ip_addr_equal(in.dst, nif->address) || ip_addr_equal(in.src, nif->address) ||
		    !ip_addr_is_host(in.src) || memcmp(eth->dst, nif->port->mac, 6) || mac[0] & 1) {
			nif->stats.rx_not_ours++;
			break;
		}
		nif->stats.rx_echo++;
		send_icmp6(nif, now_ns, pkt, icmp6_echo_answer(pkt->data + ETHER_BYTES, &in), mac);
		return true;
	case ICMP6_MALFORMED:
		nif->stats.rx_malformed++;
		break;
	case ICMP6_OTHER:
		nif->stats.rx_not_ours++;
		break;
	}
	netif_free(nif, &pkt, 1);
	return true;
}

/* ------------------------------------------------------------------ frames */

/* Sends an echo request back to whom the frame came from, if it is one to this address alone. The neighbours
 * are not asked: nobody who pings can make this node learn or look for anything. */
static bool input_echo(struct netif *nif, uint64_t now_ns, struct pkt *pkt)
{
	struct wire_ether *eth = (struct wire_ether *)pkt->data;
	uint32_t len;

	if (pkt->len < ETHER_BYTES + sizeof(struct wire_ipv4) ||
	    pkt->data[ETHER_BYTES + offsetof(struct wire_ipv4, protocol)] != IP_ICMP ||
	    memcmp(eth->dst, nif->port->mac, 6) || eth->src[0] & 1)
		return false;
	len = icmp_echo_answer(pkt->data + ETHER_BYTES, pkt->len - ETHER_BYTES,
			       ip_addr_low(nif->address));
	if (!len)
		return false;
	nif->stats.rx_echo++;
	memcpy(eth->dst, eth->src, 6);
	memcpy(eth->src, nif->port->mac, 6);
	pkt->len = ETHER_BYTES + len;
	send_frames(nif, now_ns, &pkt, 1);
	return true;
}

/* Takes the packet if it is not the engine's. */
static bool input_frame(struct netif *nif, uint64_t now_ns, struct pkt *pkt)
{
	const struct wire_ether *eth = (const struct wire_ether *)pkt->data;

	if (nif->ethernet) {
		if (pkt->len < ETHER_BYTES) {
			nif->stats.rx_malformed++;
			goto drop;
		}
		if (memcmp(eth->dst, nif->port->mac, 6) &&
		    memcmp(eth->dst, nif->v6 ? nif->solicited : broadcast, 6)) {
			nif->stats.rx_not_ours++;
			goto drop;
		}
		if (!nif->v6 && be16_get(eth->type) == ETHERTYPE_ARP) {
			input_arp(nif, now_ns, pkt);
			return false;
		}
		if (be16_get(eth->type) != (nif->v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4)) {
			nif->stats.rx_not_ip++;
			goto drop;
		}
		if (nif->v6 ? input_icmp6(nif, now_ns, pkt) : input_echo(nif, now_ns, pkt))
			return false;
		pkt->data += ETHER_BYTES;
		pkt->len -= ETHER_BYTES;
		pkt->room -= ETHER_BYTES;
	}
	if (nif->v6 ? input_ipv6(nif, pkt) : input_ipv4(nif, pkt))
		return true;
drop:
	netif_free(nif, &pkt, 1);
	return false;
}

unsigned netif_rx(struct netif *nif, uint64_t now_ns, struct pkt **pkts, unsigned n)
{
	unsigned kept = 0;

	n = nif->port->ops->rx_burst(nif->port, pkts, n < PORT_BURST_MAX ? n : PORT_BURST_MAX);
	if (!n)
		return 0;
	for (unsigned i = 0; nif->tap && i < n; i++)
		nif->tap(nif->tap_arg, false, pkts[i]);
	for (unsigned i = 0; i < n; i++)
		if (input_frame(nif, now_ns, pkts[i]))
			pkts[kept++] = pkts[i];
	return kept;
}

/* Put the Ethernet header before the packet. false: nobody is known there yet, the packet is taken. */
static bool output_ethernet(struct netif *nif, uint64_t now_ns, struct pkt *pkt)
{
	struct neighbour *nb;
	struct ip_addr dst;

	if (nif->v6)
		memcpy(dst.b, ((const struct wire_ipv6 *)pkt->data)->dst, sizeof(dst.b));
	else
		dst = ip_addr_v4(be32_get(((const struct wire_ipv4 *)pkt->data)->dst));
	nb = neighbour_find(nif, dst, MAKE_WANTED);
	if (nb)
		nb->wanted = true;

	if (nb && nb->known && now_ns - nb->confirmed > ARP_REFRESH_NS) {
		nb->known = now_ns - nb->confirmed <= ARP_EXPIRE_NS;
		ask(nif, now_ns, nb);
	}
	if (!nb || !nb->known) {
		nif->stats.tx_no_neighbour++;
		if (nb)
			ask(nif, now_ns, nb);
		if (nb && !nb->held)
			nb->held = pkt;
		else
			netif_free(nif, &pkt, 1);
		return false;
	}
	put_ether(nif, nb, pkt);
	return true;
}

void netif_tx(struct netif *nif, uint64_t now_ns, struct pkt **pkts, unsigned n)
{
	struct pkt *frames[PORT_BURST_MAX];
	unsigned count = 0;

	if (!nif->ethernet) {
		send_frames(nif, now_ns, pkts, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		if (output_ethernet(nif, now_ns, pkts[i]))
			frames[count++] = pkts[i];
		if (count == PORT_BURST_MAX || (i + 1 == n && count)) {
			send_frames(nif, now_ns, frames, count);
			count = 0;
		}
	}
}

void netif_tick(struct netif *nif, uint64_t now_ns)
{
	if (!nif->backlog_count)
		return;
	push_port(nif, now_ns);
	if (!nif->backlog_count || now_ns - nif->backlog_moved < BACKLOG_STALE_NS)
		return;
	/* The other side of the port is gone: what waits here is of no use when it comes back. */
	nif->stats.tx_overrun += nif->backlog_count;
	for (; nif->backlog_count; nif->backlog_count--) {
		netif_free(nif, &nif->backlog[nif->backlog_head], 1);
		nif->backlog_head = (nif->backlog_head + 1) % BACKLOG;
	}
}
