/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - packets between ports of one process: tests and simulations.
 *
 * Every port that is opened as `loop:NAME` joins the segment NAME; a packet goes to the port that
 * has its destination address, or nowhere. A port's queue is bounded: what does not fit is not
 * accepted. There are no threads and no time: the order of calls decides everything. A packet is
 * copied into a buffer of the receiver's, so each port owns its buffers. Not for use from more than
 * one thread.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ports/drivers.h"

enum {
	BUFFERS = 2048,
	QUEUE = 1024,
	MTU_DEFAULT = 4352,
	MTU_MAX = 9000,
	NAME_MAX_BYTES = 32
};

struct loop_port {
	struct port port;
	char name[NAME_MAX_BYTES];
	struct ip_addr address;
	bool started;
	struct pkt *pkts;
	uint8_t *memory;
	size_t stride;
	uint32_t *spare, nspare, nbuffers;
	struct pkt *queue[QUEUE];
	uint32_t head, tail;
	struct port_stats stats;
	struct loop_port *next;
};

static struct loop_port *ports;

static struct loop_port *from(struct port *p)
{
	return (struct loop_port *)p;
}

static struct pkt *take(struct loop_port *l)
{
	struct pkt *p;

	if (!l->nspare)
		return NULL;
	p = &l->pkts[l->spare[--l->nspare]];
	p->data = l->memory + (size_t)(p - l->pkts) * l->stride + PKT_HEADROOM;
	p->len = 0;
	p->room = l->port.mtu;
	return p;
}

static void give(struct loop_port *l, struct pkt *p)
{
	l->spare[l->nspare++] = (uint32_t)(p - l->pkts);
}

static unsigned loop_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	unsigned k = 0;

	while (k < n && (pkts[k] = take(from(p))) != NULL)
		k++;
	return k;
}

static void loop_free(struct port *p, struct pkt **pkts, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		give(from(p), pkts[k]);
}

static unsigned loop_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct loop_port *l = from(p);
	unsigned k = 0;

	for (; k < n && l->head != l->tail; k++)
		pkts[k] = l->queue[l->head++ % QUEUE];
	return k;
}

static struct loop_port *find(const struct loop_port *l, const struct pkt *p)
{
	const uint8_t *h = p->data;
	struct ip_addr dst;

	if (p->len < 20 || (h[0] >> 4 == 6 && p->len < 40))
		return NULL;
	if (h[0] >> 4 == 6)
		memcpy(dst.b, h + 24, sizeof(dst.b));
	else
		dst = ip_addr_v4((uint32_t)h[16] << 24 | (uint32_t)h[17] << 16 | (uint32_t)h[18] << 8 |
				 h[19]);
	for (struct loop_port *o = ports; o; o = o->next)
		if (o->started && ip_addr_equal(o->address, dst) && !strcmp(o->name, l->name))
			return o;
	return NULL;
}

static unsigned loop_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct loop_port *l = from(p), *to;
	unsigned k = 0;

	for (; k < n; k++) {
		struct pkt *copy;

		to = find(l, pkts[k]);
		if (!to || pkts[k]->len > to->port.mtu) {
			l->stats.tx_dropped++;
			give(l, pkts[k]);
			continue;
		}
		if (to->tail - to->head == QUEUE || !(copy = take(to)))
			break;
		memcpy(copy->data, pkts[k]->data, pkts[k]->len);
		copy->len = pkts[k]->len;
		to->queue[to->tail++ % QUEUE] = copy;
		to->stats.rx_packets++;
		to->stats.rx_bytes += copy->len;
		l->stats.tx_packets++;
		l->stats.tx_bytes += copy->len;
		give(l, pkts[k]);
	}
	return k;
}

static int loop_wait_fd(struct port *p)
{
	(void)p;
	return -1;
}

static int loop_arm(struct port *p)
{
	return from(p)->head != from(p)->tail;
}

static int loop_link_up(struct port *p)
{
	for (struct loop_port *o = ports; o; o = o->next)
		if (&o->port != p && o->started && !strcmp(o->name, from(p)->name))
			return 1;
	return 0;
}

static void loop_stats(struct port *p, struct port_stats *out)
{
	*out = from(p)->stats;
}

static void loop_close(struct port *p)
{
	struct loop_port *l = from(p);

	for (struct loop_port **o = &ports; *o; o = &(*o)->next)
		if (*o == l) {
			*o = l->next;
			break;
		}
	free(l->pkts);
	free(l->memory);
	free(l->spare);
	free(l);
}

static int loop_open(struct port **out, const struct port_conf *conf, char *err, size_t errlen)
{
	struct loop_port *l;

	if (strlen(conf->args) >= NAME_MAX_BYTES) {
		snprintf(err, errlen, "loop: the segment's name has at most %d bytes",
			 NAME_MAX_BYTES - 1);
		return -EINVAL;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->port.ops = &port_loop_ops;
	l->port.mtu = conf->mtu && conf->mtu < MTU_MAX ? conf->mtu : MTU_DEFAULT;
	l->address = conf->address;
	strcpy(l->name, conf->args);
	l->nbuffers = conf->buffers ? conf->buffers : BUFFERS;
	l->stride = PKT_HEADROOM + ((l->port.mtu + 63u) & ~63u);
	l->pkts = calloc(l->nbuffers, sizeof(*l->pkts));
	l->spare = calloc(l->nbuffers, sizeof(*l->spare));
	l->memory = malloc(l->nbuffers * l->stride);
	if (!l->pkts || !l->spare || !l->memory) {
		loop_close(&l->port);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < l->nbuffers; i++)
		give(l, &l->pkts[i]);
	l->next = ports;
	ports = l;
	*out = &l->port;
	return 0;
}

static int loop_start(struct port *p)
{
	from(p)->started = true;
	return 0;
}

const struct port_ops port_loop_ops = {
	.name = "loop",
	.caps = PORT_UDP,
	.open = loop_open,
	.start = loop_start,
	.alloc = loop_alloc,
	.free = loop_free,
	.rx_burst = loop_rx,
	.tx_burst = loop_tx,
	.wait_fd = loop_wait_fd,
	.arm = loop_arm,
	.link_up = loop_link_up,
	.stats = loop_stats,
	.close = loop_close,
};
