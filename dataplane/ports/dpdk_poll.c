/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk_poll.c - the polled part of a DPDK port.
 *
 * A packet is one mbuf; struct pkt lies in the mbuf's private area, so nothing is allocated. What
 * arrives in several segments, is too short for a header or comes back from ourselves (packet
 * sockets loop what they send) is dropped and counted. While the link is down, what is sent is
 * dropped as by a cable that is out: the other side may be a new process when it comes back.
 */
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <string.h>
#include <sys/epoll.h>

#include "dataplane/ports/dpdk_port.h"
#include "dataplane/ports/iface.h"

static struct rte_mbuf *mbuf_of(struct pkt *pkt)
{
	return (struct rte_mbuf *)((char *)pkt - sizeof(struct rte_mbuf));
}

static struct pkt *pkt_of(struct rte_mbuf *m)
{
	return (struct pkt *)rte_mbuf_to_priv(m);
}

static void pkt_set(struct rte_mbuf *m)
{
	struct pkt *pkt = pkt_of(m);

	pkt->data = rte_pktmbuf_mtod(m, uint8_t *);
	pkt->len = m->data_len;
	pkt->room = (uint32_t)m->buf_len - m->data_off;
	pkt->drv = m;
}

/* ------------------------------------------------------------------ the polled part */

unsigned dpdk_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = dpdk_from(p);
	struct rte_mbuf *m[PORT_BURST_MAX];
	unsigned done = 0;

	while (done < n) {
		unsigned k = n - done < PORT_BURST_MAX ? n - done : PORT_BURST_MAX;

		if (rte_pktmbuf_alloc_bulk(d->pool, m, k)) {
			m[0] = rte_pktmbuf_alloc(d->pool);
			if (!m[0])
				break;
			k = 1;
		}
		for (unsigned i = 0; i < k; i++) {
			pkt_set(m[i]);
			pkts[done++] = pkt_of(m[i]);
		}
	}
	return done;
}

void dpdk_free(struct port *p, struct pkt **pkts, unsigned n)
{
	(void)p;
	for (unsigned i = 0; i < n; i++)
		rte_pktmbuf_free_seg(mbuf_of(pkts[i]));
}

static unsigned receive(struct dpdk_port *d, struct pkt **pkts, unsigned n)
{
	struct rte_mbuf *m[PORT_BURST_MAX];
	unsigned got, kept = 0;

	got = rte_eth_rx_burst(d->id, 0, m, (uint16_t)(n < PORT_BURST_MAX ? n : PORT_BURST_MAX));
	for (unsigned i = 0; i < got; i++) {
		const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *);

		if (m[i]->nb_segs != 1 || m[i]->data_len < sizeof(*eth) ||
		    !memcmp(&eth->src_addr, d->port.mac, sizeof(d->port.mac))) {
			d->stats.rx_dropped++;
			rte_pktmbuf_free(m[i]);
			continue;
		}
		pkt_set(m[i]);
		d->stats.rx_bytes += m[i]->data_len;
		pkts[kept++] = pkt_of(m[i]);
	}
	d->stats.rx_packets += kept;
	return kept;
}

/* Devices that wake are those of the shared-memory link: the descriptor that their peer writes is
 * in ours, edge-triggered, because it is never read. Others are polled: a sleeping owner looks now
 * and then. */
int dpdk_wait_fd(struct port *p)
{
	return dpdk_from(p)->wait;
}

/* The peer's device may be taken away at any time; not while we hold the lock (dpdk_device.c). */
static void wakes(struct dpdk_port *d, bool on)
{
	pthread_mutex_lock(&d->lock);
	if (atomic_load(&d->link)) {
		if (on)
			rte_eth_dev_rx_intr_enable(d->id, 0);
		else
			rte_eth_dev_rx_intr_disable(d->id, 0);
	}
	pthread_mutex_unlock(&d->lock);
	d->armed = on;
}

int dpdk_arm(struct port *p)
{
	struct dpdk_port *d = dpdk_from(p);
	struct epoll_event old[4];

	if (d->wait < 0)
		return 0;
	epoll_wait(d->wait, old, 4, 0);
	if (!atomic_load_explicit(&d->ready, memory_order_acquire) || !d->has_intr)
		return 0;
	wakes(d, true);
	/* the peer writes its index, then reads whether to wake; we the other way about */
	atomic_thread_fence(memory_order_seq_cst);
	if (!d->nstash)
		d->nstash = receive(d, d->stash, PORT_BURST_MAX);
	return d->nstash > 0;
}

unsigned dpdk_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = dpdk_from(p);

	if (!atomic_load_explicit(&d->ready, memory_order_acquire))
		return 0;
	if (d->armed)
		wakes(d, false);
	if (d->nstash) {
		n = n < d->nstash ? n : d->nstash;
		memcpy(pkts, d->stash, n * sizeof(*pkts));
		d->nstash -= n;
		memmove(d->stash, d->stash + n, d->nstash * sizeof(*pkts));
		return n;
	}
	return receive(d, pkts, n);
}

unsigned dpdk_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct dpdk_port *d = dpdk_from(p);
	struct rte_mbuf *m[PORT_BURST_MAX];
	uint32_t len[PORT_BURST_MAX];
	unsigned sent;

	if (n > PORT_BURST_MAX)
		n = PORT_BURST_MAX;
	if (!atomic_load_explicit(&d->link, memory_order_acquire)) {
		d->stats.tx_dropped += n;
		dpdk_free(p, pkts, n);
		return n;
	}
	for (unsigned i = 0; i < n; i++) {
		m[i] = mbuf_of(pkts[i]);
		m[i]->data_off = (uint16_t)(pkts[i]->data - (uint8_t *)m[i]->buf_addr);
		m[i]->data_len = (uint16_t)pkts[i]->len;
		m[i]->pkt_len = len[i] = pkts[i]->len;
		m[i]->ol_flags = 0;
	}
	sent = rte_eth_tx_burst(d->id, 0, m, (uint16_t)n);
	for (unsigned i = 0; i < sent; i++)
		d->stats.tx_bytes += len[i];
	d->stats.tx_packets += sent;
	return sent;
}

int dpdk_link_up(struct port *p)
{
	struct dpdk_port *d = dpdk_from(p);

	return atomic_load_explicit(&d->link, memory_order_acquire) &&
	       (d->ask < 0 || iface_running(d->ask, d->iface));
}

void dpdk_stats(struct port *p, struct port_stats *out)
{
	*out = dpdk_from(p)->stats;
}
