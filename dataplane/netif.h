/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netif.h - a port with an IPv4 or an IPv6 address: Ethernet and ARP or neighbour discovery on L2 ports,
 * nothing on UDP ports.
 *
 * The engine above sends and receives packets of the address's family only. On L2 ports the interface
 * learns the peer's MAC by ARP or, for IPv6, by neighbour solicitation and advertisement (answers
 * requests for its own address, asks for others' with bounded retries),
 * answers ping (icmp.h), drops what is not UDP to its address and RoCE port, and counts what it
 * drops by reason. The first packet whose next hop is unknown waits for the answer to a request (it
 * may be a NAK, which nobody sends again); more are dropped: the engine's own retransmission brings them
 * again.
 */
#ifndef ATOLL_DATAPLANE_NETIF_H
#define ATOLL_DATAPLANE_NETIF_H

#include <stdbool.h>

#include "dataplane/port.h"

struct netif_stats {
	uint64_t rx_not_ip, rx_not_ours, rx_malformed, rx_echo, tx_no_neighbour, tx_overrun;
	uint64_t rx_arp, tx_arp; /* and neighbour discovery */
};

enum {
	NETIF_STATS = sizeof(struct netif_stats) / sizeof(uint64_t)
};
/* Of each, in the order of struct netif_stats. */
extern const char *const netif_stat_names[NETIF_STATS], *const netif_stat_help[NETIF_STATS];

struct netif;

/* Wraps @port (borrowed, must outlive it). Return: the interface, or NULL without memory. */
struct netif *netif_new(struct port *port, struct ip_addr address, uint16_t udp_port);
void netif_delete(struct netif *nif);

/* Largest IP packet, bytes. */
uint32_t netif_mtu(const struct netif *nif);
/* UDP source port for a flow: of the caller's choice on L2 ports; where the kernel sends, the one
 * that its socket is bound to, which the invariant CRC covers. */
uint16_t netif_source_port(const struct netif *nif, uint32_t entropy);
/* Does the port give 0 for the IPv4 identification of what it receives, whatever it was? */
bool netif_hides_identification(const struct netif *nif);
/* Packets that wait because the port did not take them yet: stop making more when it grows. */
uint32_t netif_backlog(const struct netif *nif);

unsigned netif_alloc(struct netif *nif, struct pkt **pkts, unsigned n);
void netif_free(struct netif *nif, struct pkt **pkts, unsigned n);
/* UDP packets for this address and port; data at the IP header, lengths checked: the IP
 * length and UDP length agree with each other and with pkt->len (padding trimmed). */
unsigned netif_rx(struct netif *nif, uint64_t now_ns, struct pkt **pkts, unsigned n);
/* Takes all @n packets: sends, or drops and counts. data at the IP header. Batches inside. */
void netif_tx(struct netif *nif, uint64_t now_ns, struct pkt **pkts, unsigned n);
/* Retries what the port did not take, ages neighbours. Once a loop. */
void netif_tick(struct netif *nif, uint64_t now_ns);
/* @tap sees each packet that is given to the port or was taken from it, as the port has it: a frame on
 * PORT_L2, else from the IP header on. NULL: nobody looks. */
void netif_tap(struct netif *nif, void (*tap)(void *arg, bool out, const struct pkt *pkt), void *arg);
const struct netif_stats *netif_stats(const struct netif *nif);

#endif
