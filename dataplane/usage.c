/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each endpoint and each lane has done, for people: counted in the loop's own memory, and written to the slots of
 * the counters page a few times a second and before the loop sleeps. Where there are more than slots, the last are
 * left out.
 */
#include "dataplane/dp_impl.h"

enum { USAGE_NS = 50000000 };

static void usage_name(struct counters_slot *s, const struct dp_endpoint *ep)
{
	s->endpoint = ep->index;
	s->pid = ep->pid;
	memcpy(s->name, ep->name, sizeof(s->name) - 1); /* it is longer, and zero where it ends */
}

static uint32_t usage_lanes(struct dp *dp, const struct dp_endpoint *ep, uint32_t at)
{
	for (unsigned n = 0; n < DP_LANES_MAX && at < COUNTERS_SLOTS; n++) {
		struct counters_slot s = {.kind = SLOT_LANE, .lane = (uint16_t)n};
		const struct dp_lane *l = ep->lanes[n];

		if (!l || l->state != LANE_OPEN)
			continue;
		usage_name(&s, ep);
		s.node = l->node;
		s.depth = (uint16_t)l->depth;
		s.value[SLOT_CHAINS] = l->chains;
		s.value[SLOT_VERBS] = l->verbs;
		s.value[SLOT_BYTES] = l->bytes;
		s.value[SLOT_OPEN] = l->chains - l->ended;
		s.value[SLOT_LATENCY_NS] = l->latency_ns;
		if (l->q.qp)
			s.value[SLOT_RETRANSMITS] = roce_qp_stats(l->q.qp)->retransmits;
		counters_slot_write(&dp->slots[at++], &s);
	}
	return at;
}

static uint32_t usage_endpoint(struct dp *dp, const struct dp_endpoint *ep, uint32_t at)
{
	struct counters_slot s = {.kind = SLOT_ENDPOINT};

	if (at == COUNTERS_SLOTS)
		return at;
	usage_name(&s, ep);
	s.value[SLOT_MESSAGES] = ep->messages;
	s.value[SLOT_DELIVERED] = ep->ch.tx_head;
	s.value[SLOT_CHAINS] = ep->chains;
	s.value[SLOT_VERBS] = ep->verbs;
	s.value[SLOT_BYTES] = ep->bytes;
	s.value[SLOT_OPEN] = ep->nasked;
	counters_slot_write(&dp->slots[at++], &s);
	return usage_lanes(dp, ep, at);
}

void dp_usage(struct dp *dp, struct counters_slot *slots)
{
	dp->slots = slots;
}

void usage_publish(struct dp *dp)
{
	static const struct counters_slot none;
	uint32_t at = 0;

	dp->usage_ns = dp->now;
	for (unsigned i = 0, left = dp->nendpoints; left && i < DP_ENDPOINTS_MAX; i++)
		if (dp->endpoints[i]) {
			at = usage_endpoint(dp, dp->endpoints[i], at);
			left--;
		}
	for (uint32_t n = at; n < dp->slots_used; n++)
		counters_slot_write(&dp->slots[n], &none);
	dp->slots_used = at;
}

void usage_tick(struct dp *dp)
{
	if (dp->slots && dp->now - dp->usage_ns >= USAGE_NS)
		usage_publish(dp);
}
