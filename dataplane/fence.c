/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fencing by (client, epoch). After fence_source returns, no verb of that source under that epoch or an
 * older one executes on a region of this node: its responders are destroyed with whatever they had
 * half done, new ones are refused, and a client on this node finds its verbs refused one by one. There
 * is one core, so the return is the acknowledgement.
 */
#include "dataplane/dp_impl.h"

bool fence_hit(const struct dp *dp, uint32_t source, uint32_t epoch)
{
	for (uint32_t i = 0; i < dp->nfences; i++)
		if (dp->fences[i].source == source)
			return (int32_t)(epoch - dp->fences[i].epoch) <= 0;
	return false;
}

static uint8_t fence_note(struct dp *dp, uint32_t source, uint32_t epoch)
{
	uint32_t i;

	for (i = 0; i < dp->nfences && dp->fences[i].source != source; i++)
		;
	if (i == dp->nfences) {
		if (i == DP_ENDPOINTS_MAX)
			return STATUS_LIMIT;
		dp->nfences++;
		dp->fences[i] = (struct fence_entry){source, epoch};
	} else if ((int32_t)(epoch - dp->fences[i].epoch) > 0) {
		dp->fences[i].epoch = epoch;
	}
	return STATUS_OK;
}

void fences_forget(struct dp *dp, uint8_t node)
{
	for (uint32_t i = 0; i < dp->nfences;)
		if (dp->fences[i].source >> 24 == node)
			dp->fences[i] = dp->fences[--dp->nfences];
		else
			i++;
}

uint8_t fence_source(struct dp *dp, uint32_t source, uint32_t epoch)
{
	uint8_t status = fence_note(dp, source, epoch);
	struct dp_link *l = dp->links[source >> 24];
	struct dp_endpoint *ep;

	if (status != STATUS_OK)
		return status;
	dp_count(dp, DPC_FENCES);
	if (source >> 24 == dp->conf.node) {
		ep = dp->endpoints[(source & 0xffffff) % DP_ENDPOINTS_MAX];
		if (ep && ep->index == (source & 0xffffff) && (int32_t)(ep->epoch - epoch) <= 0) {
			ep->fenced = true;
			for (unsigned i = 0; i < DP_LANES_MAX; i++)
				if (ep->lanes[i] && ep->lanes[i]->node == dp->conf.node)
					lane_kill(dp, ep->lanes[i], STATUS_FENCED);
		}
		return STATUS_OK;
	}
	if (!l)
		return STATUS_OK;
#ifdef ATOLL_PLANTED_BUGS
	if (dp_planted & DP_PLANTED_NO_FENCE)
		return STATUS_OK;
#endif
	for (struct dp_responder *r = l->responders, *next; r; r = next) {
		next = r->next;
		if (r->source == source && (int32_t)(r->epoch - epoch) <= 0)
			responder_free(dp, r);
	}
	if (l->state == LINK_UP) {
		struct proto_msg m;

		proto_request_init(&m, OP_LINK_FENCED);
		m.arg[0] = source;
		m.arg[1] = epoch;
		m.nargs = 2;
		link_send(dp, l, &m, NULL);
	}
	return STATUS_OK;
}
