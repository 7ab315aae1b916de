/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device: its QPs by number, the way of a packet to its QP, turns to send, timers.
 *
 * Turns. QPs with something to send wait in two queues: fresh for those that had nothing before,
 * bulk for those whose last turn did not empty them. Fresh ones go first, one bulk turn after at
 * most BULK_AFTER of theirs, so that a small READ does not wait behind another QP's long one.
 */
#include "dataplane/roce/answers.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/roce/icrc.h"

#ifdef ATOLL_PLANTED_BUGS
unsigned roce_planted;
#endif

const char *const roce_counter_names[ROCE_C_COUNT] = {
	[ROCE_C_RX] = "rx",
	[ROCE_C_TX] = "tx",
	[ROCE_C_BAD_ICRC] = "dropped.bad_icrc",
	[ROCE_C_BAD_LENGTH] = "dropped.bad_length",
	[ROCE_C_BAD_OPCODE] = "dropped.bad_opcode",
	[ROCE_C_BAD_QPN] = "dropped.bad_qpn",
	[ROCE_C_BAD_PKEY] = "dropped.bad_pkey",
	[ROCE_C_BAD_VERSION] = "dropped.bad_version",
	[ROCE_C_BAD_PEER] = "dropped.bad_peer",
	[ROCE_C_BAD_PSN] = "dropped.bad_psn",
	[ROCE_C_BAD_STATE] = "dropped.bad_state",
	[ROCE_C_DUPLICATE] = "duplicates",
	[ROCE_C_SEQ_NAK] = "seq_naks",
	[ROCE_C_RNR_NAK] = "rnr_naks",
	[ROCE_C_RETRANSMIT] = "retransmits",
	[ROCE_C_TIMEOUT] = "timeouts",
	[ROCE_C_REPLAY] = "replays",
	[ROCE_C_REPLAY_MISS] = "replay_misses",
	[ROCE_C_ACCESS_DENIED] = "access_denied",
	[ROCE_C_CNP] = "cnps",
	[ROCE_C_NO_BUFFER] = "no_buffer",
};

const char *const roce_counter_help[ROCE_C_COUNT] = {
	[ROCE_C_RX] = "packets received",
	[ROCE_C_TX] = "packets sent",
	[ROCE_C_BAD_ICRC] = "dropped: bad ICRC",
	[ROCE_C_BAD_LENGTH] = "dropped: bad length",
	[ROCE_C_BAD_OPCODE] = "dropped: unknown or unexpected opcode",
	[ROCE_C_BAD_QPN] = "dropped: no such QP",
	[ROCE_C_BAD_PKEY] = "dropped: bad P_Key or Q_Key",
	[ROCE_C_BAD_VERSION] = "dropped: bad IP or transport version",
	[ROCE_C_BAD_PEER] = "dropped: not from the QP's peer",
	[ROCE_C_BAD_PSN] = "dropped: answer to nothing that was sent",
	[ROCE_C_BAD_STATE] = "dropped: QP not ready",
	[ROCE_C_DUPLICATE] = "duplicates",
	[ROCE_C_SEQ_NAK] = "sequence NAKs sent",
	[ROCE_C_RNR_NAK] = "RNR NAKs sent",
	[ROCE_C_RETRANSMIT] = "packets sent again",
	[ROCE_C_TIMEOUT] = "time-outs",
	[ROCE_C_REPLAY] = "atomics answered from saved results",
	[ROCE_C_REPLAY_MISS] = "duplicates with no saved result",
	[ROCE_C_ACCESS_DENIED] = "requests that failed their memory check",
	[ROCE_C_CNP] = "congestion notifications received",
	[ROCE_C_NO_BUFFER] = "no room: packet buffers or answers",
};

/* splitmix64: spreads a seed over QPNs, PSNs and ports; as unpredictable as the seed is. */
static uint64_t draw(struct roce_dev *dev)
{
	uint64_t z = dev->random += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct roce_dev *roce_dev_new(const struct roce_dev_conf *conf, struct netif *nif,
			      const struct roce_host *ops, void *host)
{
	struct roce_dev *dev = calloc(1, sizeof(*dev));
	uint32_t buckets = 16;
	uint32_t overhead = ip_addr_is_v6(conf->address) ? PACKET_DATA_OVERHEAD6
							 : PACKET_DATA_OVERHEAD;

	if (!dev || netif_mtu(nif) < overhead + PACKET_MAD_BYTES) {
		free(dev);
		return NULL;
	}
	icrc_init();
	while (buckets < 2 * conf->max_qps && buckets < 1 << 24)
		buckets *= 2;
	dev->table_mask = buckets - 1;
	dev->table = calloc(buckets, sizeof(*dev->table));
	dev->timers = calloc((size_t)conf->max_qps + 2, sizeof(*dev->timers));
	if (!dev->table || !dev->timers) {
		free(dev->table);
		free(dev->timers);
		free(dev);
		return NULL;
	}
	dev->nif = nif;
	dev->ops = ops;
	dev->host = host;
	dev->conf = *conf;
	/* What roce_qp_ready lets a QP send, and a MAD. */
	dev->packet_max = netif_mtu(nif);
	dev->data_overhead = overhead;
	if (dev->packet_max > overhead + ROCE_MTU_MAX)
		dev->packet_max = overhead + ROCE_MTU_MAX;
	dev->hides_identification = netif_hides_identification(nif);
	dev->random = conf->seed;
	dev->qpns_left = PACKET_QPN_MAX - 1;
	dev->next_qpn = 2 + (uint32_t)(draw(dev) % dev->qpns_left);
	dev->datagram_psn = (uint32_t)draw(dev) & 0xffffff;
	return dev;
}

void roce_dev_delete(struct roce_dev *dev)
{
	if (!dev)
		return;
	while (dev->all)
		roce_qp_destroy(dev->all);
	netif_free(dev->nif, dev->batch, dev->batch_count);
	netif_free(dev->nif, dev->spare, dev->spare_count);
	free(dev->table);
	free(dev->timers);
	free(dev);
}

/* ------------------------------------------------------------------ queue pairs */

static struct roce_qp *qp_find(const struct roce_dev *dev, uint32_t qpn)
{
	struct roce_qp *qp = dev->table[qpn & dev->table_mask];

	while (qp && qp->qpn != qpn)
		qp = qp->hash_next;
	return qp;
}

struct roce_qp *roce_qp_new(struct roce_dev *dev, void *owner)
{
	struct roce_qp *qp;

	if (dev->qps >= dev->conf.max_qps || !dev->qpns_left)
		return NULL;
	qp = calloc(1, sizeof(*qp));
	if (!qp)
		return NULL;
	qp->dev = dev;
	qp->owner = owner;
	qp->state = ROCE_QP_INIT;
	qp->qpn = dev->next_qpn;
	dev->next_qpn = dev->next_qpn == PACKET_QPN_MAX ? 2 : dev->next_qpn + 1;
	dev->qpns_left--;
	qp->first_psn = (uint32_t)draw(dev) & 0xffffff;
#ifdef ATOLL_PLANTED_BUGS
	if (PLANTED(ROCE_PLANT_LATE_QP) && dev->late_qpn) {
		qp->qpn = dev->late_qpn;
		qp->first_psn = dev->late_psn;
		dev->late_qpn = 0;
	}
#endif
	qp->begin_psn = qp->first_psn;
	qp->hash_next = dev->table[qp->qpn & dev->table_mask];
	dev->table[qp->qpn & dev->table_mask] = qp;
	qp->all_next = dev->all;
	if (dev->all)
		dev->all->all_prev = qp;
	dev->all = qp;
	dev->qps++;
	return qp;
}

int roce_qp_ready(struct roce_qp *qp, const struct roce_qp_conf *conf)
{
	struct roce_dev *dev = qp->dev;
	uint32_t shift = 0;

	while (shift < 16 && 1u << shift != conf->mtu)
		shift++;
	if (qp->state != ROCE_QP_INIT || conf->mtu < ROCE_MTU_MIN || conf->mtu > ROCE_MTU_MAX ||
	    shift == 16 || conf->mtu + dev->data_overhead > netif_mtu(dev->nif) ||
	    ip_addr_is_v6(conf->peer_address) != ip_addr_is_v6(dev->conf.address) ||
	    conf->peer_qpn < 2 || conf->peer_qpn > PACKET_QPN_MAX || conf->peer_psn > 0xffffff ||
	    conf->read_depth > ROCE_DEPTH_MAX || conf->peer_depth > ROCE_DEPTH_MAX ||
	    !conf->sq_depth || conf->sq_depth > ROCE_SQ_MAX || conf->retry_count > 7 ||
	    conf->rnr_retry > 7 || !conf->timeout_ns || conf->recv_max > ROCE_SEND_MAX)
		return -EINVAL;
	qp->conf = *conf;
	qp->mtu = conf->mtu;
	qp->mtu_shift = shift;
	packet_flow_init(&qp->flow, dev->conf.address, conf->peer_address,
			 netif_source_port(dev->nif, (uint32_t)draw(dev)), dev->conf.udp_port,
			 conf->peer_qpn);
	if (requester_init(qp) || responder_init(qp))
		return -ENOMEM; /* destroy frees what there is */
	qp->state = ROCE_QP_READY;
	return 0;
}

static void run_remove(struct roce_dev *dev, struct roce_qp *qp)
{
	struct run_queue *q = &dev->run[qp->running];

	if (qp->running == RUN_NONE)
		return;
	*(qp->run_prev ? &qp->run_prev->run_next : &q->first) = qp->run_next;
	*(qp->run_next ? &qp->run_next->run_prev : &q->last) = qp->run_prev;
	qp->running = RUN_NONE;
}

static void run_append(struct roce_dev *dev, struct roce_qp *qp, enum run_list list)
{
	struct run_queue *q = &dev->run[list];

	qp->running = (uint8_t)list;
	qp->run_next = NULL;
	qp->run_prev = q->last;
	*(q->last ? &q->last->run_next : &q->first) = qp;
	q->last = qp;
}

void dev_run(struct roce_dev *dev, struct roce_qp *qp)
{
	if (qp->running == RUN_NONE && qp->state == ROCE_QP_READY)
		run_append(dev, qp, RUN_FRESH);
}

void roce_qp_fail(struct roce_qp *qp, enum roce_error why)
{
	struct roce_dev *dev = qp->dev;

	if (qp->state == ROCE_QP_ERROR)
		return;
	qp->state = ROCE_QP_ERROR;
	run_remove(dev, qp);
	timer_remove(dev, qp);
	requester_flush(qp);
	dev->ops->error(dev->host, qp, why);
}

void roce_qp_destroy(struct roce_qp *qp)
{
	struct roce_dev *dev = qp->dev;
	struct roce_qp **at = &dev->table[qp->qpn & dev->table_mask];

	roce_qp_fail(qp, ROCE_ERR_CLOSED);
	while (*at != qp)
		at = &(*at)->hash_next;
	*at = qp->hash_next;
	*(qp->all_prev ? &qp->all_prev->all_next : &dev->all) = qp->all_next;
	if (qp->all_next)
		qp->all_next->all_prev = qp->all_prev;
	dev->qps--;
#ifdef ATOLL_PLANTED_BUGS
	dev->late_qpn = qp->qpn;
	dev->late_psn = qp->first_psn;
#endif
	free(qp->rq.sq);
	free(qp->rs.answers);
	free(qp->rs.saved);
	free(qp->rs.failures);
	free(qp->rs.recv);
	free(qp);
}

void roce_memory_revoke(struct roce_dev *dev, const void *base, size_t len)
{
	for (struct roce_qp *qp = dev->all; qp; qp = qp->all_next)
		if (qp->state == ROCE_QP_READY)
			responder_revoke(qp, base, len);
}

uint32_t roce_qp_number(const struct roce_qp *qp)
{
	return qp->qpn;
}

void roce_qp_begin_at(struct roce_qp *qp, uint32_t psn)
{
	qp->begin_psn = psn & 0xffffff;
}

uint32_t roce_qp_first_psn(const struct roce_qp *qp)
{
	return qp->first_psn;
}

void *roce_qp_owner(const struct roce_qp *qp)
{
	return qp->owner;
}

enum roce_qp_state roce_qp_state(const struct roce_qp *qp)
{
	return qp->state;
}

uint64_t roce_qp_rtt_ns(const struct roce_qp *qp)
{
	return qp->rq.shortest_rtt == UINT64_MAX ? 0 : qp->rq.shortest_rtt;
}

const struct roce_qp_stats *roce_qp_stats(const struct roce_qp *qp)
{
	return &qp->stats;
}

const uint64_t *roce_counters(const struct roce_dev *dev)
{
	return dev->counters;
}

/* ------------------------------------------------------------------ packets out */

static void flush(struct roce_dev *dev)
{
	if (dev->batch_count)
		netif_tx(dev->nif, dev->now, dev->batch, dev->batch_count);
	dev->batch_count = 0;
	dev->batch_bytes = 0;
}

struct pkt *dev_packet(struct roce_dev *dev)
{
	struct pkt *pkt;

	if (!dev->spare_count) {
		dev->spare_count = netif_alloc(dev->nif, dev->spare, OUTPUT_BATCH);
		if (!dev->spare_count) {
			dev->counters[ROCE_C_NO_BUFFER]++;
			return NULL;
		}
	}
	pkt = dev->spare[dev->spare_count - 1];
	if (pkt->room < dev->packet_max) { /* a port that breaks its word */
		dev->counters[ROCE_C_NO_BUFFER]++;
		return NULL;
	}
	dev->spare_count--;
	return pkt;
}

void dev_send(struct roce_dev *dev, struct roce_qp *qp, struct pkt *pkt)
{
	dev->counters[ROCE_C_TX]++;
	if (qp)
		qp->stats.tx_packets++;
	dev->batch[dev->batch_count++] = pkt;
	dev->batch_bytes += pkt->len;
	if (dev->batch_count == OUTPUT_BATCH || dev->batch_bytes >= OUTPUT_BATCH_BYTES)
		flush(dev);
}

int roce_send_datagram(struct roce_dev *dev, struct ip_addr address, const void *mad, uint32_t len)
{
	struct packet_flow flow;
	struct wire_deth *deth;
	struct pkt *pkt;
	uint8_t *body;

	if (len > PACKET_MAD_BYTES ||
	    ip_addr_is_v6(address) != ip_addr_is_v6(dev->conf.address))
		return -EINVAL;
	pkt = dev_packet(dev);
	if (!pkt)
		return -ENOBUFS;
	packet_flow_init(&flow, dev->conf.address, address, netif_source_port(dev->nif, 0),
			 dev->conf.udp_port, PACKET_QPN_CM);
	body = packet_begin(pkt, &flow, ROCE_OP_UD_SEND_ONLY, 0, dev->datagram_psn, sizeof(*deth),
			    PACKET_MAD_BYTES);
	dev->datagram_psn = psn_add(dev->datagram_psn, 1);
	deth = (struct wire_deth *)body;
	deth->qkey = be32_of(PACKET_QKEY_CM);
	deth->reserved = 0;
	deth->src_qpn = be24_of(PACKET_QPN_CM);
	memcpy(body + sizeof(*deth), mad, len);
	memset(body + sizeof(*deth) + len, 0, PACKET_MAD_BYTES - len);
	packet_seal(pkt, &flow);
	dev_send(dev, NULL, pkt);
	flush(dev);
	return 0;
}

/* Tell the peer that its packets met congestion (annex A17.9.3). */
static void send_cnp(struct roce_dev *dev, struct roce_qp *qp)
{
	struct pkt *pkt;
	uint8_t *body;

	if (qp->cnp_sent && dev->now - qp->cnp_sent < CNP_INTERVAL_NS)
		return;
	pkt = dev_packet(dev);
	if (!pkt)
		return;
	qp->cnp_sent = dev->now ? dev->now : 1;
	body = packet_begin(pkt, &qp->flow, ROCE_OP_CNP, 0, 0, 0, 16);
	memset(body, 0, 16);
	packet_seal(pkt, &qp->flow);
	dev_send(dev, qp, pkt);
	flush(dev);
}

/* One packet of a QP: answers and requests take turns. Bytes, 0: nothing to send, -ENOBUFS. */
static int output_one(struct roce_qp *qp)
{
	int n;

	qp->answers_turn = !qp->answers_turn;
	n = qp->answers_turn ? answers_output(qp) : requester_output(qp);
	if (n || qp->state != ROCE_QP_READY)
		return n;
	return qp->answers_turn ? requester_output(qp) : answers_output(qp);
}

/* Without building a packet to see it. */
static inline bool nothing_left(const struct roce_qp *qp)
{
	return qp->rq.next == qp->rq.tail && (!answers_pending(&qp->rs) || qp->ack_at);
}

static struct roce_qp *next_turn(struct roce_dev *dev)
{
	struct roce_qp *fresh = dev->run[RUN_FRESH].first, *bulk = dev->run[RUN_BULK].first;

	if (fresh && (!bulk || dev->fresh_turns < BULK_AFTER)) {
		dev->fresh_turns++;
		return fresh;
	}
	dev->fresh_turns = 0;
	return bulk;
}

bool roce_output_pending(const struct roce_dev *dev)
{
	return dev->run[RUN_FRESH].first || dev->run[RUN_BULK].first;
}

/* Apart, so that a turn without work does not pay for the registers that this one needs. */
static __attribute__((noinline)) unsigned output(struct roce_dev *dev, unsigned budget)
{
	unsigned sent = 0;
	int n = 0;

	while (sent < budget && n >= 0 && netif_backlog(dev->nif) < OUTPUT_BATCH) {
		struct roce_qp *qp = next_turn(dev);
		unsigned packets = 0;
		int bytes = 0;

		if (!qp)
			break;
		/* what the peer waits for goes before what only frees its window */
		if (answers_only_ack(&qp->rs))
			qp->answers_turn = true;
		do {
			n = nothing_left(qp) ? 0 : output_one(qp);
			if (n <= 0)
				break;
			sent++;
			packets++;
			bytes += n;
		} while (qp->state == ROCE_QP_READY && sent < budget && packets < TURN_PACKETS &&
			 bytes < TURN_BYTES);
		if (qp->running == RUN_NONE || n < 0)
			continue; /* it failed and has left the queue, or there are no buffers */
		run_remove(dev, qp);
		if (n > 0)
			run_append(dev, qp, RUN_BULK);
	}
	flush(dev);
	return sent;
}

unsigned roce_output(struct roce_dev *dev, uint64_t now_ns, unsigned budget)
{
	dev->now = now_ns;
	return roce_output_pending(dev) ? output(dev, budget) : 0;
}

/* ------------------------------------------------------------------ packets in */

/* @stock: it may be from a peer whose kernel or card numbers its IPv4 packets. Atoll's do not. */
static bool icrc_good(const struct roce_dev *dev, struct pkt *pkt, bool stock)
{
	uint32_t delta = packet_icrc_delta(pkt->data, pkt->len);

	return !delta || PLANTED(ROCE_PLANT_NO_ICRC) ||
	       (stock && dev->hides_identification &&
		icrc_is_identification(delta, pkt->len - ICRC_BYTES));
}

static void input_datagram(struct roce_dev *dev, const struct roce_rx *rx, struct pkt *pkt)
{
	if (rx->qpn != PACKET_QPN_CM)
		dev->counters[ROCE_C_BAD_QPN]++;
	else if (rx->payload_len != PACKET_MAD_BYTES)
		dev->counters[ROCE_C_BAD_LENGTH]++;
	else if (!icrc_good(dev, pkt, true))
		dev->counters[ROCE_C_BAD_ICRC]++;
	else
		dev->ops->datagram(dev->host, rx->src, rx->src_qpn, rx->payload, rx->payload_len);
}

static void input_one(struct roce_dev *dev, struct pkt *pkt)
{
	struct roce_rx rx;
	struct roce_qp *qp;
	int bad = packet_parse(&rx, pkt->data, pkt->len);

	dev->counters[ROCE_C_RX]++;
	if (bad) {
		dev->counters[bad]++;
		return;
	}
	if (rx.info & OPI_UD) {
		input_datagram(dev, &rx, pkt);
		return;
	}
	qp = qp_find(dev, rx.qpn);
	if (!qp) {
		dev->counters[ROCE_C_BAD_QPN]++;
		return;
	}
	if (!icrc_good(dev, pkt, !qp->conf.atoll)) {
		dev->counters[ROCE_C_BAD_ICRC]++;
		return;
	}
	if (qp->state != ROCE_QP_READY) {
		dev->counters[ROCE_C_BAD_STATE]++;
		return;
	}
	if (!ip_addr_equal(rx.src, qp->conf.peer_address)) {
		dev->counters[ROCE_C_BAD_PEER]++;
		return;
	}
	qp->stats.rx_packets++;
	if (rx.info & OPI_STATUS && !qp->conf.atoll) {
		dev->counters[ROCE_C_BAD_OPCODE]++;
	} else if (rx.info & OPI_CNP) {
		dev->counters[ROCE_C_CNP]++;
		requester_congested(qp);
	} else {
		if (rx.congested)
			send_cnp(dev, qp);
		if (rx.info & OPI_REQUEST)
			responder_input(qp, &rx);
		else
			requester_input(qp, &rx);
	}
}

unsigned roce_input(struct roce_dev *dev, uint64_t now_ns, unsigned budget)
{
	struct pkt *pkts[PORT_BURST_MAX];
	unsigned done = 0;

	dev->now = now_ns;
	while (done < budget) {
		unsigned want = budget - done < PORT_BURST_MAX ? budget - done : PORT_BURST_MAX;
		unsigned n = netif_rx(dev->nif, now_ns, pkts, want);

		for (unsigned i = 0; i < n; i++)
			input_one(dev, pkts[i]);
		netif_free(dev->nif, pkts, n);
		done += n;
		if (n < want)
			break;
	}
	return done;
}

/* ------------------------------------------------------------------ time */

static uint64_t qp_deadline(const struct roce_qp *qp)
{
	uint64_t due = requester_deadline(qp);

	return qp->ack_at && (!due || qp->ack_at < due) ? qp->ack_at : due;
}

uint64_t roce_next_timer(const struct roce_dev *dev)
{
	return dev->timer_count ? dev->timers[1]->timer_key : UINT64_MAX;
}

static __attribute__((noinline)) void timers_run(struct roce_dev *dev, uint64_t now_ns)
{
	struct roce_qp *qp;

	while ((qp = timer_take(dev, now_ns, qp_deadline))) {
		uint64_t due = requester_deadline(qp);

		if (qp->ack_at && qp->ack_at <= now_ns) {
			qp->ack_at = 0;
			dev_run(dev, qp);
		}
		if (due && due <= now_ns)
			requester_timer(qp, now_ns);
		else if (due)
			timer_set(dev, qp, due);
	}
}

void roce_timers(struct roce_dev *dev, uint64_t now_ns)
{
	dev->now = now_ns;
	if (roce_next_timer(dev) <= now_ns)
		timers_run(dev, now_ns);
}
