/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_roce - what the RoCEv2 engine itself costs, without any port.
 *
 * Two devices in one thread hand packet buffers to each other, so that one figure is the work of
 * both ends together. For changes to the engine; what users get is measured by bench_wire.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/netif.h"
#include "dataplane/roce/icrc.h"
#include "dataplane/roce/packet.h"
#include "dataplane/roce/roce.h"

enum {
	BUFFERS = 1024,
	ROOM = 4288,
	QUEUE = 1024,
	MEMORY = 1 << 20,
	ROUNDS = 7
};

struct buffer {
	struct pkt pkt;
	_Alignas(64) uint8_t bytes[PKT_HEADROOM + ROOM];
};

struct end {
	struct port port;
	struct end *peer;
	struct pkt *queue[QUEUE];
	unsigned head, tail;
	struct netif *nif;
	struct roce_dev *dev;
	struct roce_qp *qp;
	uint64_t done;
};

static struct pkt *pool[BUFFERS];
static unsigned pooled;
static uint8_t *memory;

static unsigned end_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	unsigned i;

	(void)p;
	for (i = 0; i < n && pooled; i++) {
		pkts[i] = pool[--pooled];
		pkts[i]->data = ((struct buffer *)pkts[i]->drv)->bytes + PKT_HEADROOM;
		pkts[i]->room = ROOM;
		pkts[i]->len = 0;
	}
	return i;
}

static void end_free(struct port *p, struct pkt **pkts, unsigned n)
{
	(void)p;
	while (n--)
		pool[pooled++] = pkts[n];
}

static unsigned end_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct end *e = (struct end *)p;
	unsigned i;

	for (i = 0; i < n && e->head != e->tail; i++)
		pkts[i] = e->queue[e->head++ % QUEUE];
	return i;
}

static unsigned end_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct end *to = ((struct end *)p)->peer;
	unsigned i;

	for (i = 0; i < n && to->tail - to->head < QUEUE; i++)
		to->queue[to->tail++ % QUEUE] = pkts[i];
	return i;
}

static const struct port_ops end_ops = {.name = "memory",
					.alloc = end_alloc,
					.free = end_free,
					.rx_burst = end_rx,
					.tx_burst = end_tx};

static void *host_memory(void *host, struct roce_qp *qp, uint32_t rkey, uint64_t va, uint32_t len,
			 uint32_t access, uint8_t *status)
{
	(void)host;
	(void)qp;
	(void)rkey;
	(void)access;
	(void)status;
	return va <= MEMORY && len <= MEMORY - va ? memory + va : NULL;
}

static void host_complete(void *host, struct roce_qp *qp, uint64_t cookie, uint8_t status)
{
	(void)qp;
	(void)cookie;
	if (status)
		exit(1);
	((struct end *)host)->done++;
}

static int host_receive(void *host, struct roce_qp *qp, const void *data, uint32_t len)
{
	(void)host;
	(void)qp;
	(void)data;
	(void)len;
	return 0;
}

static void host_error(void *host, struct roce_qp *qp, enum roce_error why)
{
	(void)host;
	(void)qp;
	(void)why;
}

static const struct roce_host host_ops = {.memory = host_memory,
					  .complete = host_complete,
					  .receive = host_receive,
					  .error = host_error};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void start(struct end *ends)
{
	struct roce_qp_conf conf = {.mtu = 4096,
				    .read_depth = 32,
				    .peer_depth = 32,
				    .sq_depth = 256,
				    .retry_count = 7,
				    .rnr_retry = 7,
				    .timeout_ns = 1000000000,
				    .atoll = true,
				    .recv_max = 8192};

	for (unsigned i = 0; i < BUFFERS; i++) {
		struct buffer *b = aligned_alloc(64, sizeof(*b));

		if (!b)
			exit(1);
		memset(b, 0, sizeof(*b));
		b->pkt.drv = b;
		pool[pooled++] = &b->pkt;
	}
	for (unsigned e = 0; e < 2; e++) {
		struct roce_dev_conf dc = {
			.address = ip_addr_v4(1 + e), .udp_port = ROCE_UDP_PORT, .max_qps = 4, .seed = e};

		ends[e].port.ops = &end_ops;
		ends[e].port.mtu = 4200;
		ends[e].peer = &ends[!e];
		ends[e].nif = netif_new(&ends[e].port, ip_addr_v4(1 + e), ROCE_UDP_PORT);
		ends[e].dev = roce_dev_new(&dc, ends[e].nif, &host_ops, &ends[e]);
		ends[e].qp = roce_qp_new(ends[e].dev, NULL);
	}
	for (unsigned e = 0; e < 2; e++) {
		conf.peer_address = ip_addr_v4(1 + !e);
		conf.peer_qpn = roce_qp_number(ends[!e].qp);
		conf.peer_psn = roce_qp_first_psn(ends[!e].qp);
		if (roce_qp_ready(ends[e].qp, &conf))
			exit(1);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Nanoseconds a verb of both ends' work, median of ROUNDS, @window of them in flight. */
static double measure(struct end *ends, uint8_t op, uint32_t len, unsigned window, uint64_t count)
{
	static uint8_t *local;
	double rounds[ROUNDS];

	if (!local)
		local = calloc(1, MEMORY);
	for (unsigned r = 0; r < ROUNDS; r++) {
		uint64_t began = now_ns(), now = began, posted = ends[0].done, end = posted + count;

		while (ends[0].done < end) {
			while (posted < end && posted - ends[0].done < window) {
				struct roce_wr wr = {.op = op,
						     .flags = ROCE_WR_CHAIN_END,
						     .remote = op == ROCE_WR_FAA
								       ? 0
								       : (posted * 64) %
										 (MEMORY - len + 1),
						     .local = local,
						     .len = len,
						     .swap = 1};

				if (roce_post(ends[0].qp, &wr))
					break;
				posted++;
			}
			for (unsigned e = 0; e < 2; e++) {
				roce_input(ends[e].dev, now, 32);
				roce_output(ends[e].dev, now, 32);
			}
			now = now_ns();
		}
		rounds[r] = (double)(now_ns() - began) / (double)count;
	}
	qsort(rounds, ROUNDS, sizeof(*rounds), by_value);
	return rounds[ROUNDS / 2];
}

static double measure_icrc(uint32_t len)
{
	uint32_t sum = 0;
	uint64_t began = now_ns();
	const unsigned count = 1000000 / (1 + len / 256);

	for (unsigned i = 0; i < count; i++) {
		memory[0] = (uint8_t)sum;
		sum += icrc_compute(memory, len);
	}
	return (double)(now_ns() - began) / count + (sum == 1 ? 1 : 0);
}

int main(void)
{
	static struct end ends[2];
	double big;

	memory = calloc(1, MEMORY);
	if (!memory)
		return 1;
	start(ends);
	printf("ns a verb, both ends on one core, 32 in flight (4096 bytes a packet)\n");
	printf("%-24s %8.1f\n", "READ 8", measure(ends, ROCE_WR_READ, 8, 32, 200000));
	printf("%-24s %8.1f\n", "READ 64", measure(ends, ROCE_WR_READ, 64, 32, 200000));
	printf("%-24s %8.1f\n", "READ 1024", measure(ends, ROCE_WR_READ, 1024, 32, 100000));
	printf("%-24s %8.1f\n", "WRITE 64", measure(ends, ROCE_WR_WRITE, 64, 32, 200000));
	printf("%-24s %8.1f\n", "SEND 64", measure(ends, ROCE_WR_SEND, 64, 32, 200000));
	printf("%-24s %8.1f\n", "FAA", measure(ends, ROCE_WR_FAA, 8, 32, 200000));
	printf("%-24s %8.1f\n", "READ 64, one at a time",
	       measure(ends, ROCE_WR_READ, 64, 1, 200000));
	big = measure(ends, ROCE_WR_READ, MEMORY, 2, 200);
	printf("%-24s %8.1f (%.2f GB/s)\n", "READ 1 MiB", big, MEMORY / big);
	big = measure(ends, ROCE_WR_WRITE, MEMORY, 2, 200);
	printf("%-24s %8.1f (%.2f GB/s)\n", "WRITE 1 MiB", big, MEMORY / big);
	printf("%-24s %8.1f\n", "ICRC of 60 bytes", measure_icrc(60));
	printf("%-24s %8.1f\n", "ICRC of 4140 bytes", measure_icrc(4140));
	for (unsigned e = 0; e < 2; e++) {
		roce_dev_delete(ends[e].dev);
		netif_delete(ends[e].nif);
	}
	return 0;
}
