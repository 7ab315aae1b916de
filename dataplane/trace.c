/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace ring and the counters. The ring has one writer and any number of readers that it never
 * waits for: an entry's seq is 0 while it is written and its position + 1 when it is whole, so a reader
 * copies, looks again, and knows whether it was overwritten meanwhile.
 */
#include <stddef.h>
#include <stdio.h>

#include "dataplane/dp_impl.h"

enum { ETHER_BYTES = 14, TRACE_AHEAD = 8, PACKET_BYTES = 64 + 64 + 32 };
_Static_assert(offsetof(struct proto_trace_entry, seq) - offsetof(struct proto_trace_entry, slot0) ==
		       PACKET_BYTES, "a packet's bytes stand side by side");

/* Ask for a line that will be written. */
static inline void line_want(void *p)
{
#if defined(__x86_64__)
	/* the builtin is a prefetch for reading here, unless all of the program asks for more */
	__asm__ volatile("prefetchw %0" : : "m"(*(uint8_t *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

static struct proto_trace_entry *entry_begin(struct dp *dp, enum proto_trace_point point,
					     uint32_t endpoint, uint32_t peer)
{
	struct proto_trace_entry *e =
		(struct proto_trace_entry *)(dp->trace + 64) + (dp->trace_pos & dp->trace_mask);

	/* readers have the lines of what they read last: take them back before they are needed */
	for (unsigned i = 0; i < sizeof(*e); i += 64)
		line_want(dp->trace + 64 +
			  ((dp->trace_pos + TRACE_AHEAD) & dp->trace_mask) * sizeof(*e) + i);
	__atomic_store_n(&e->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	e->magic = PROTO_TRACE_ENTRY_MAGIC;
	e->point = (uint8_t)point;
	e->node = dp->conf.node;
	e->endpoint = endpoint;
	e->time_ns = dp->now;
	e->peer = peer;
	return e;
}

static void entry_end(struct dp *dp, struct proto_trace_entry *e)
{
	__atomic_store_n(&e->seq, dp->trace_pos + 1, __ATOMIC_RELEASE);
	dp->trace_pos++;
}

/* Where the writer is, told once a turn: readers ask all the time, and each answer costs the line. */
void trace_publish(struct dp *dp)
{
	__atomic_store_n((uint64_t *)dp->trace, dp->trace_pos, __ATOMIC_RELEASE);
}

/* A frame over as many entries as it needs. Where the kernel makes the frames, this one is made up, with
 * addresses that say who speaks: 02:00 and the IP address's last four bytes. */
static void packet(void *arg, bool out, const struct pkt *pkt)
{
	struct dp *dp = arg;
	bool bare = !(dp->port->ops->caps & PORT_L2);
	uint8_t head[ETHER_BYTES] = {[0] = 2, [6] = 2, [12] = 0x08};
	uint32_t skip = bare ? ETHER_BYTES : 0, len = pkt->len + skip, done = 0;

	if (bare && pkt->len >= 40 && pkt->data[0] >> 4 == 6) {
		head[12] = 0x86;
		head[13] = 0xdd;
		memcpy(head + 2, pkt->data + 36, 4);
		memcpy(head + 8, pkt->data + 20, 4);
	} else if (bare && pkt->len >= 20) {
		memcpy(head + 2, pkt->data + 16, 4);
		memcpy(head + 8, pkt->data + 12, 4);
	}
	do {
		enum proto_trace_point point = done ? TRACE_POINT_PACKET_MORE :
					       out  ? TRACE_POINT_PACKET_OUT :
						      TRACE_POINT_PACKET_IN;
		struct proto_trace_entry *e = entry_begin(dp, point, (uint32_t)dp->conf.node << 24, len);
		uint32_t n = len - done < PACKET_BYTES ? len - done : PACKET_BYTES, own = done ? 0 : skip;

		memset(e->slot0, 0, PACKET_BYTES);
		memcpy(e->slot0, head, own);
		memcpy(e->slot0 + own, pkt->data + done + own - skip, n - own);
		e->captured = n;
		entry_end(dp, e);
		done += n;
	} while (done < len);
}

void dp_trace(struct dp *dp, void *ring, uint32_t entries, bool packets)
{
	if (dp->trace)
		trace_publish(dp);
	dp->trace = ring;
	dp->trace_mask = entries - 1;
	dp->trace_pos = ring ? *(uint64_t *)ring : 0;
	if (dp->nif)
		netif_tap(dp->nif, ring && packets ? packet : NULL, dp);
}

void dp_recorder(struct dp *dp, struct proto_recorder_entry *entries, uint32_t count)
{
	dp->recorder = entries;
	dp->recorder_mask = count - 1;
}

void trace_record(struct dp *dp, enum proto_trace_point point, uint32_t endpoint, uint32_t peer,
		  const void *slots, unsigned n, const void *payload, uint32_t len)
{
	struct proto_trace_entry *e = entry_begin(dp, point, endpoint, peer);
	uint32_t keep = len < sizeof(e->data) ? len : (uint32_t)sizeof(e->data);

	e->captured = payload ? keep : 0;
	memcpy(e->slot0, slots, sizeof(e->slot0));
	if (point == TRACE_POINT_FROM_RING) /* the sender's own is not believed */
		memcpy(e->slot0 + offsetof(struct proto_message, src), &endpoint, sizeof(endpoint));
	if (n > 1)
		memcpy(e->slot1, (const uint8_t *)slots + 64, sizeof(e->slot1));
	else
		memset(e->slot1, 0, sizeof(e->slot1));
	if (payload && keep)
		memcpy(e->data, payload, keep);
	entry_end(dp, e);
}

void trace_message(struct dp *dp, enum proto_trace_point point, uint32_t endpoint, uint32_t peer,
		   const struct proto_msg *m, const void *payload)
{
	uint64_t slots[PROTO_SLOTS_MAX * 8];
	unsigned n;

	slots[7] = slots[15] = 0; /* the sequence words, which nobody fills in */
	n = proto_msg_pack(m, slots);
	trace_record(dp, point, endpoint, peer, slots, n, payload, m->length);
}

/* Who will get it; 0 if that is not to be seen yet. */
static uint32_t destination(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m)
{
	const struct dp_handle *h;
	const struct dp_pending *p;

	if (m->flags & MESSAGE_FLAG_REPLY) {
		p = pending_find(dp, m->req_id);
		if (!p || p->from == PARTY_NONE)
			return 0;
		return p->from == PARTY_NODE ? p->from_index << 24 : dp_source(dp, p->from_index);
	}
	if (m->dst_slot == 0)
		return dp_source(dp, 0);
	h = handle_get(ep, m->dst_slot, m->dst_gen);
	return h && h->object == OBJECT_ENDPOINT ? (uint32_t)h->node << 24 | h->index : 0;
}

void trace_from_ring(struct dp *dp, struct dp_endpoint *ep, const struct proto_msg *m,
		     const void *slots, unsigned n, const void *payload)
{
	trace_record(dp, TRACE_POINT_FROM_RING, m->src, destination(dp, ep, m), slots, n, payload,
		     m->length);
}

#define C(name, unit, help) {name, unit, help, COUNTER_SUM}
#define L(name, unit, help) {name, unit, help, COUNTER_LEVEL}
static const struct counter_info dp_counter_info[] = {
	[DPC_TURNS] = C("loop.turns", "turns", "turns of the polled loop"),
	[DPC_BUSY_TURNS] = C("loop.busy_turns", "turns", "turns that found something to do"),
	[DPC_MESSAGES] = C("messages", "messages", "taken from rings"),
	[DPC_REPLIES] = C("replies", "messages", "given to whoever asked"),
	[DPC_EVENTS] = C("events", "messages", "told to endpoints unasked"),
	[DPC_VERBS] = C("verbs", "verbs", "taken from rings"),
	[DPC_CHAINS] = C("chains", "chains", "taken from rings"),
	[DPC_COMPLETIONS] = C("completions", "chains", "ended and told"),
	[DPC_ENDPOINTS] = L("endpoints", "endpoints", "attached now"),
	[DPC_REGIONS] = L("regions", "regions", "published now"),
	[DPC_ATTACHED] = C("attached", "endpoints", "attached since the start"),
	[DPC_CLOSED] = C("closed", "endpoints", "detached, died or closed since the start"),
	[DPC_POISONED] = C("poisoned", "endpoints", "closed because they wrote nonsense"),
	[DPC_BAD_MESSAGE] = C("refused.bad_message", "requests", "a field out of range"),
	[DPC_BAD_HANDLE] = C("refused.bad_handle", "requests", "stale or invented handle"),
	[DPC_NO_RIGHT] = C("refused.no_right", "requests", "right not held"),
	[DPC_RANGE] = C("refused.range", "verbs", "past the end of a region"),
	[DPC_ALIGN] = C("refused.align", "verbs", "atomic not aligned to 8"),
	[DPC_FENCED] = C("refused.fenced", "verbs", "of a client that was fenced off"),
	[DPC_AGAIN] = C("refused.again", "requests", "no room at the destination"),
	[DPC_FORGED_SOURCE] = C("forged_source", "messages", "that claimed a source"),
	[DPC_BAD_REPLY] = C("bad_reply", "messages", "answers to what was not asked or has ended"),
	[DPC_BAD_VERB] = C("bad_verb", "verbs", "with a field out of range"),
	[DPC_BAD_RING] = C("bad_ring", "rings", "whose sequence or counts make no sense"),
	[DPC_TIMED_OUT] = C("failed.timed_out", "requests", "whose budget ran out"),
	[DPC_CANCELLED] = C("failed.cancelled", "requests", "cancelled, and verbs after a failed one"),
	[DPC_PEER_DIED] = C("failed.peer_died", "requests", "whose service ended"),
	[DPC_UNREACHABLE] = C("failed.unreachable", "requests", "whose node did not answer"),
	[DPC_LINKS_UP] = L("links.up", "links", "up now"),
	[DPC_LINK_UPS] = C("links.ups", "links", "came up since the start"),
	[DPC_LINK_DOWNS] = C("links.downs", "links", "went down since the start"),
	[DPC_LINK_BAD] = C("links.bad", "messages", "malformed, from another dataplane"),
	[DPC_LINK_TX] = C("links.tx", "messages", "sent to other nodes"),
	[DPC_LINK_RX] = C("links.rx", "messages", "received from other nodes"),
	[DPC_HEARTBEATS] = C("links.heartbeats", "messages", "sent"),
	[DPC_LANES] = L("lanes", "lanes", "open now"),
	[DPC_FENCES] = C("fences", "fences", "clients fenced off"),
	[DPC_REVOKES] = C("revokes", "regions", "revoked"),
	[DPC_GRANTS] = C("grants", "handles", "passed on"),
	[DPC_GRANTS_LOST] = C("grants_lost", "handles", "that found their receiver gone or full; the giver is told"),
	[DPC_LIMIT] = C("refused.limit", "requests", "a quota was used up, or a table full"),
	[DPC_QUOTA_LANES] = C("quota.lanes", "requests", "for lanes beyond the user's quota, or a node's"),
	[DPC_QUOTA_REQUESTS] = C("quota.requests", "requests", "beyond the user's quota: LIMIT"),
	[DPC_QUOTA_CHAINS] = C("quota.chains", "turns", "in which a chain waited for the user's quota"),
	[DPC_QUOTA_CREDITS] = C("quota.credits", "requests", "beyond the user's share of credits: AGAIN"),
	[DPC_STALLS] = C("stalls", "endpoints", "not served until they read what they are given"),
	[DPC_EVENTS_LATE] = C("events_late", "messages", "that had to wait for room"),
	[DPC_WAKES] = C("wakes", "wakes", "of sleeping processes"),
	[DPC_CM_REJECTS] = C("links.rejects", "links", "set-ups refused, either way"),
	[DPC_MAX_TURN_NS] = L("loop.max_turn_ns", "ns", "longest turn"),
};
_Static_assert(sizeof(dp_counter_info) / sizeof(dp_counter_info[0]) == DPC_OWN_COUNT,
	       "every counter is described");

uint32_t dp_counter_describe(struct counter_info *out)
{
	memcpy(out, dp_counter_info, sizeof(dp_counter_info));
	out += DPC_OWN_COUNT;
	for (unsigned i = 0; i < ROCE_C_COUNT; i++, out++) {
		memset(out, 0, sizeof(*out));
		snprintf(out->name, sizeof(out->name), "roce.%s", roce_counter_names[i]);
		strcpy(out->unit, "packets");
		snprintf(out->help, sizeof(out->help), "%s", roce_counter_help[i]);
	}
	for (unsigned i = 0; i < NETIF_STATS; i++, out++) {
		memset(out, 0, sizeof(*out));
		snprintf(out->name, sizeof(out->name), "net.%s", netif_stat_names[i]);
		strcpy(out->unit, "packets");
		snprintf(out->help, sizeof(out->help), "%s", netif_stat_help[i]);
	}
	return DPC_COUNT;
}

void dp_counters_move(struct dp *dp, uint64_t *values)
{
	memcpy(values, dp->counters, DPC_COUNT * sizeof(*values));
	dp->counters = values;
}

const uint64_t *dp_counters(struct dp *dp)
{
	if (dp->roce)
		memcpy(dp->counters + DPC_OWN_COUNT, roce_counters(dp->roce),
		       ROCE_C_COUNT * sizeof(*dp->counters));
	if (dp->nif)
		memcpy(dp->counters + DPC_OWN_COUNT + ROCE_C_COUNT, netif_stats(dp->nif),
		       sizeof(struct netif_stats));
	return dp->counters;
}

int dp_counter_find(const char *name)
{
	for (int i = 0; i < DPC_OWN_COUNT; i++)
		if (!strcmp(dp_counter_info[i].name, name))
			return i;
	if (!strncmp(name, "roce.", 5))
		for (int i = 0; i < ROCE_C_COUNT; i++)
			if (!strcmp(roce_counter_names[i], name + 5))
				return DPC_OWN_COUNT + i;
	return -1;
}
