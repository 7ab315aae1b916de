/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold in the core between turns, for tests: every count is counted again. */
#include "dataplane/dp_impl.h"

bool dp_quiet(const struct dp *dp)
{
	return dp->npending == 0 && dp->nchains == 0;
}

/* A service that was started again under the same number has taken the place of its earlier life, whose
 * requests are about to fail. */
static bool link_has_service(const struct dp_link *l, uint32_t endpoint, uint32_t epoch)
{
	for (uint32_t i = 0; i < l->nservices; i++)
		if (l->services[i].endpoint == endpoint)
			return l->services[i].epoch == epoch;
	return false;
}

const char *dp_check(const struct dp *dp)
{
	uint32_t pending = 0, chains = 0, refs = 0, held = 0, here[256] = {0};
	struct dp_user users[DP_USERS_MAX] = {0};

	for (uint32_t i = 0; i < DP_PENDING_MAX; i++) {
		const struct dp_pending *p = &dp->pending[i];

		if (!p->used)
			continue;
		pending++;
		if (p->user)
			users[p->user - 1].requests++;
		if (p->from == PARTY_NODE)
			here[p->from_index]++;
		if (p->from == PARTY_ENDPOINT && (!dp->endpoints[p->from_index] ||
						  dp->endpoints[p->from_index]->epoch != p->from_epoch))
			return "a request outlives its origin";
		if (p->to == PARTY_ENDPOINT && (!dp->endpoints[p->to_index] ||
						dp->endpoints[p->to_index]->epoch != p->to_epoch))
			return "a request waits for an endpoint that has gone";
	}
	if (pending != dp->npending)
		return "requests are lost or counted twice";
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		const struct dp_link *l = dp->link_list[i];
		uint32_t used = 0, mine = 0, responders = 0;

		for (const struct dp_responder *r = l->responders; r; r = r->next)
			responders++;
		if (responders != l->nresponders)
			return "lanes of a peer are counted wrongly";
		if (l->requests_here != here[l->peer.node])
			return "requests of a peer are counted wrongly";
		for (uint32_t k = 0; k < l->nservices; k++)
			used += l->services[k].used;
		for (uint32_t k = l->to_list.next; k != DP_NONE; k = dp->pending[k].by_to.next)
			mine += dp->pending[k].job == JOB_FORWARD &&
				link_has_service(l, dp->pending[k].to_handle,
						 dp->pending[k].to_epoch);
		if (used != mine)
			return "credits are lost or made up";
		if (l->state != LINK_UP && (here[l->peer.node] || mine || l->responders))
			return "a link is down and something still waits on it";
	}
	for (uint32_t i = 0; i < DP_CHAINS_MAX; i++)
		if (dp->chains[i].used) {
			chains++;
			users[dp->chains[i].user].chains++;
			held += dp->chains[i].sent;
		}
	if (chains != dp->nchains)
		return "chains are lost or counted twice";
	for (uint32_t i = 0; i < DP_REGIONS_MAX; i++)
		if (dp->regions[i].used)
			refs += dp->regions[i].refs;
	if (refs != held)
		return "references to regions are lost or made up";
	for (uint32_t i = 0; i < DP_ENDPOINTS_MAX; i++) {
		const struct dp_endpoint *ep = dp->endpoints[i];
		uint32_t slots, bytes = 0, asked = 0, posted = 0;

		if (!ep)
			continue;
		for (uint32_t k = ep->from_list.next; k != DP_NONE; k = dp->pending[k].by_from.next) {
			asked++;
			bytes += channel_payload_room(dp->pending[k].max_reply);
		}
		for (uint32_t k = 0; k < DP_CHAINS_MAX; k++)
			posted += dp->chains[k].used && dp->chains[k].endpoint == i &&
				  dp->chains[k].epoch == ep->epoch;
		if (asked != ep->nasked || posted != ep->nchains)
			return "an endpoint's requests or chains are counted wrongly";
		slots = asked * DP_REPLY_SLOTS + posted;
		if (slots != ep->ch.reserved_slots || bytes != ep->ch.reserved_bytes)
			return "an endpoint's reservations do not match what it waits for";
		users[ep->user].endpoints++;
		for (unsigned k = 0; k < DP_LANES_MAX; k++)
			users[ep->user].lanes += ep->lanes[k] != NULL;
	}
	for (unsigned i = 0; i < DP_USERS_MAX; i++)
		if (users[i].endpoints != dp->users[i].endpoints ||
		    users[i].lanes != dp->users[i].lanes || users[i].chains != dp->users[i].chains ||
		    users[i].requests != dp->users[i].requests)
			return "a user is charged for what it has not, or not for what it has";
	return NULL;
}
