/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world_impl.h"

/* ---------------------------------------------------------------- services */

static void service_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct service *s = ctx;
	struct world *w = s->p.w;
	struct proto_msg r = {.opcode = m->opcode, .nargs = 1, .arg = {m->arg[0]}};
	uint32_t id = (uint32_t)m->arg[0] % IDS;

	if (m->opcode == OP_SIM_ECHO) {
		if (++w->executed[id] > 1)
			broken(w, "request %u was executed twice", id);
		if (w->ended[id] && !executed_ok(w->ended[id] - 1u))
			broken(w, "request %u was executed after it had ended %s", id,
			       proto_status_name(w->ended[id] - 1u));
		for (uint32_t i = 0; i < m->length; i++)
			if (((const uint8_t *)payload)[i] != payload_byte(id, i)) {
				broken(w, "payload of %u arrives damaged at %u", id, i);
				break;
			}
		if (s->ndeferred < DEFERRED && (w->draining ? false : chance(w, 300000))) {
			s->deferred[s->ndeferred].token = m->req_id;
			s->deferred[s->ndeferred].id = id;
			s->deferred[s->ndeferred++].length = m->length;
			return;
		}
		r.length = m->length;
		atoll_reply(s->p.ep, m->req_id, &r, payload);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		if (!s->grants[i].used) {
			struct proto_msg g;
			unsigned k = s->nknown < 16 ? s->nknown++ : (unsigned)(draw(w) % 16);

			proto_request_init(&g, OP_DP_GRANT);
			g.arg[ARG_DP_GRANT_SLOT] = s->region.slot;
			g.arg[ARG_DP_GRANT_GEN] = s->region.gen;
			g.arg[ARG_DP_GRANT_RIGHTS] = RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC;
			g.arg[ARG_DP_GRANT_TOKEN] = m->req_id;
			g.arg[ARG_DP_GRANT_TAG] = s->life;
			g.nargs = 5;
			if (atoll_request(s->p.ep, ATOLL_DATAPLANE, &g, NULL, i))
				break;
			s->grants[i].used = true;
			s->grants[i].request = *m;
			s->known[k].source = m->src;
			s->known[k].epoch = m->src_epoch;
			return;
		}
	r.status = STATUS_LIMIT;
	atoll_reply(s->p.ep, m->req_id, &r, NULL);
}

static void service_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct service *s = ctx;
	struct world *w = s->p.w;

	(void)payload;
	if (cookie < 16) {
		struct proto_msg r = {.opcode = OP_GRANT_ME,
				      .status = m->status,
				      .nargs = 1,
				      .arg = {s->grants[cookie].request.arg[0]}};

		atoll_reply(s->p.ep, s->grants[cookie].request.req_id, &r, NULL);
		s->grants[cookie].used = false;
		return;
	}
	if (cookie >= COOKIE_FENCE && cookie < COOKIE_FENCE + 64 && m->status == STATUS_OK) {
		/* from now on this word must not change, unless its client is another one by now */
		unsigned k = (unsigned)(cookie - COOKIE_FENCE);
		const struct client *c = &w->client[s->fence_client[k]];
		struct fenced *f = &s->fenced[s->nfenced % 64];

		if (c->p.ep && c->ledger.word == s->fence_word[k] && c->p.ep->epoch != s->fence_epoch[k])
			return;
		s->nfenced++;
		f->word = s->fence_word[k];
		f->value = *word_of(w, s->p.node, f->word);
		w->totals->fences++;
	}
}

static const struct atoll_handlers service_handlers = {
	.request = service_request,
	.reply = service_reply,
};

void fences_check(struct service *s)
{
	unsigned n = s->nfenced < 64 ? s->nfenced : 64;

	for (unsigned i = 0; i < n; i++)
		if (s->fenced[i].word != WORDS - 1 && /* the last word is nobody's */
		    *word_of(s->p.w, s->p.node, s->fenced[i].word) != s->fenced[i].value)
			broken(s->p.w, "word %u of node %u changed after its client was fenced off",
			       s->fenced[i].word, s->p.node);
}

void service_start(struct service *s)
{
	struct world *w = s->p.w;

	if (!proc_attach(&s->p, s, &service_handlers)) {
		s->p.restart_ns = w->now + 1000000;
		return;
	}
	memset(s->grants, 0, sizeof(s->grants));
	s->nknown = s->nfenced = s->ndeferred = 0;
	s->busy_ns = 0;
	s->life = ++w->incarnation;
	memset(s->memory, 0, REGION);
	if (dp_region_add(w->node[s->p.node].dp, s->p.ep->source & 0xffffff, s->p.ep->epoch, s->life,
			  s->memory, REGION, &s->region))
		broken(w, "no room for a region");
}

void service_fence(struct service *s)
{
	struct world *w = s->p.w;

	for (unsigned i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[(i + draw(w)) % w->nclients];
		struct proto_msg m;

		if (!c->p.ep || c->target != s->p.node || c->life != s->life || !c->have_region)
			continue;
		for (unsigned k = 0; k < s->nknown; k++)
			if (s->known[k].source == c->p.ep->source &&
			    s->known[k].epoch == c->p.ep->epoch) {
				uint64_t slot = s->fence_next++ % 64;

				proto_request_init(&m, OP_DP_FENCE);
				m.arg[0] = c->p.ep->source;
				m.arg[1] = c->p.ep->epoch;
				m.nargs = 2;
				s->fence_word[slot] = c->ledger.word;
				s->fence_epoch[slot] = c->p.ep->epoch;
				s->fence_client[slot] = (unsigned)(c - w->client);
				atoll_request(s->p.ep, ATOLL_DATAPLANE, &m, NULL, COOKIE_FENCE + slot);
				return;
			}
	}
}

void service_revoke(struct service *s)
{
	struct proto_msg m;

	proto_request_init(&m, OP_DP_REVOKE);
	m.arg[0] = s->region.slot;
	m.arg[1] = s->region.gen;
	m.nargs = 2;
	if (!atoll_request(s->p.ep, ATOLL_DATAPLANE, &m, NULL, COOKIE_FENCE + 999))
		s->p.w->totals->revokes++;
}

void service_act(struct service *s)
{
	static uint8_t payload[PROTO_PAYLOAD_MAX];
	struct world *w = s->p.w;

	while (s->ndeferred && w->now >= s->busy_ns && (w->draining || chance(w, 100000))) {
		unsigned i = (unsigned)(draw(w) % s->ndeferred);
		struct proto_msg r = {.opcode = OP_SIM_ECHO,
				      .nargs = 1,
				      .arg = {s->deferred[i].id},
				      .length = s->deferred[i].length};

		for (uint32_t k = 0; k < r.length; k++)
			payload[k] = payload_byte(s->deferred[i].id, k);
		if (atoll_reply(s->p.ep, s->deferred[i].token, &r, payload))
			return;
		s->deferred[i] = s->deferred[--s->ndeferred];
	}
}
