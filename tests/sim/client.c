/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "tests/sim/world_impl.h"

/* ---------------------------------------------------------------- requests and their endings */

void tracks_drop(struct world *w, unsigned client)
{
	for (unsigned i = 0; i < TRACKED; i++)
		if (w->track[i].open && w->track[i].client == client)
			w->track[i].open = 0;
}

static struct track *track_new(struct world *w, unsigned client, uint8_t kind, uint64_t *cookie)
{
	for (unsigned i = 0; i < TRACKED; i++) {
		struct track *t = &w->track[(w->track_at + i) % TRACKED];

		if (t->open)
			continue;
		w->track_at = (w->track_at + i + 1) % TRACKED;
		memset(t, 0, sizeof(*t));
		t->open = 1;
		t->kind = kind;
		t->client = (uint16_t)client;
		*cookie = (uint64_t)(t - w->track);
		return t;
	}
	return NULL;
}

uint8_t payload_byte(uint64_t id, uint32_t i)
{
	return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

bool executed_ok(uint32_t status)
{
	switch (status) {
	case STATUS_AGAIN:
	case STATUS_BAD_MESSAGE:
	case STATUS_BAD_HANDLE:
	case STATUS_NO_RIGHT:
	case STATUS_NOT_SENT:
	case STATUS_LIMIT:
		return false;
	default:
		return true;
	}
}

static void client_reset(struct client *c, enum client_phase phase)
{
	c->phase = phase;
	c->busy = false;
	c->wait_ns = c->p.w->now + 200000 + draw(c->p.w) % 2000000;
}

/* A new life of the client: a new word, nothing known. */
static void client_identity(struct client *c)
{
	struct world *w = c->p.w;

	c->ledger = (struct ledger){.word = w->next_word};
	w->next_word = (w->next_word + 1) % (WORDS - 1);
	c->area_known = c->area_pending = false;
	c->have_region = false;
	c->faa_out = 0;
	c->chains = 0;
	c->mute = c->settling = false;
}

enum { COOKIE_LOOKUP = 1 << 20, COOKIE_GRANT, COOKIE_LANE, COOKIE_CLOSE };

void ledger_settle(struct client *c)
{
	struct world *w = c->p.w;
	struct service *s = &w->service[c->target];
	struct ledger *l = &c->ledger;
	uint64_t v;

	if (!c->have_region || c->life != s->life)
		return;
	v = *word_of(w, c->target, l->word);
	if (v - l->base < l->ok || v - l->base > l->ok + l->doubt)
		broken(w, "client %s: word %u is %llu, base %llu, %llu FAAs ended OK and %llu in doubt",
		       c->p.name, l->word, (unsigned long long)v, (unsigned long long)l->base,
		       (unsigned long long)l->ok, (unsigned long long)l->doubt);
	l->base = v;
	l->ok = l->doubt = 0;
	l->next_old = v;
	c->area_known = false;
	c->area_pending = false;
}

static uint64_t downs(struct world *w, unsigned node)
{
	return w->node[node].dp ? dp_counters(w->node[node].dp)[dp_counter_find("links.downs")] : 0;
}

/* It was told to wait for dp.credit. */
static void again_begin(struct client *c)
{
	struct world *w = c->p.w;

	w->totals->agains++;
	c->again_ns = w->now;
	c->again_life = w->service[c->target].life;
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = i ? c->target : c->p.node;

		c->again_dp[i] = w->node[n].dp;
		c->again_downs[i] = downs(w, n);
	}
}

/* Still waiting: has it been forgotten? */
static void again_check(struct client *c)
{
	struct world *w = c->p.w;
	bool same = c->again_life == w->service[c->target].life;

	if (w->now < c->again_ns + TOLD_NS)
		return;
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = i ? c->target : c->p.node;

		same = same && c->again_dp[i] == w->node[n].dp && c->again_downs[i] == downs(w, n);
	}
	if (same)
		broken(w, "%s: was told AGAIN and never that there is room", c->p.name);
	c->again_ns = 0;
}

static void client_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct client *c = ctx;
	struct world *w = c->p.w;
	struct track *t;
	uint32_t id;

	if (w->verbose > 1)
		printf("%12.6f %s: reply %llx %s\n", (double)w->now / 1e9, c->p.name,
		       (unsigned long long)cookie, proto_status_name(m->status));
	switch (cookie) {
	case COOKIE_LOOKUP:
		c->busy = false;
		if (m->status == STATUS_OK) {
			c->service = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
			c->again_ns = 0;
			c->phase = C_GRANT;
		} else {
			client_reset(c, C_LOOKUP);
		}
		return;
	case COOKIE_GRANT:
		c->busy = false;
		if (m->status == STATUS_OK && c->have_region)
			c->phase = c->lane_ok ? C_WORK : C_LANE;
		else
			client_reset(c, m->status == STATUS_AGAIN ? C_GRANT : C_LOOKUP);
		return;
	case COOKIE_LANE:
		c->busy = false;
		if (m->status != STATUS_OK) {
			client_reset(c, m->status == STATUS_FENCED ? C_WORK : C_LANE);
			c->mute = m->status == STATUS_FENCED;
			if (!c->mute && chance(w, 200000))
				client_reset(c, C_LOOKUP);
			return;
		}
		c->p.ep->lanes[0].used = true;
		c->p.ep->lanes[0].number = (uint32_t)m->arg[0];
		/* no ghosts: what the old lane had under way will not execute any more */
		endpoint_fail_chains(c->p.ep, STATUS_IN_DOUBT);
		if (c->chains == 0)
			ledger_settle(c);
		else
			broken(w, "%s: a lane was opened again and %u chains have not ended", c->p.name,
			       c->chains);
		c->lane_ok = true;
		c->phase = C_WORK;
		if (c->linger)
			c->wait_ns = w->now + draw(w) % 20000000;
		else if (chance(w, 300000))
			c->flap_ns = w->now + 20000 + draw(w) % 100000;
		c->linger = false;
		return;
	case COOKIE_CLOSE:
		c->closing = c->busy = c->lane_ok = c->p.ep->lanes[0].used = false;
		c->linger = true;
		if (c->phase == C_WORK)
			c->phase = C_LANE;
		return;
	default:
		break;
	}
	t = &w->track[cookie % TRACKED];
	if (!t->open || t->kind != 0) {
		broken(w, "%s: a request ended twice", c->p.name);
		return;
	}
	t->open = 0;
	id = t->identity;
	w->ended[id] = (uint8_t)(m->status + 1);
	if (!executed_ok(m->status) && w->executed[id])
		broken(w, "%s: request %u ended %s and was executed", c->p.name, id,
		       proto_status_name(m->status));
	if (m->status == STATUS_OK) {
		w->totals->ok++;
		if (w->executed[id] != 1)
			broken(w, "%s: request %u ended OK and was executed %u times", c->p.name, id,
			       w->executed[id]);
		if (m->arg[0] != id)
			broken(w, "%s: the answer to %u is that to %llu", c->p.name, id,
			       (unsigned long long)m->arg[0]);
		for (uint32_t i = 0; i < m->length; i++)
			if (((const uint8_t *)payload)[i] != payload_byte(id, i)) {
				broken(w, "%s: payload of %u is damaged at %u", c->p.name, id, i);
				break;
			}
	} else {
		w->totals->refused++;
		if (m->status == STATUS_AGAIN && t->service.slot == c->service.slot &&
		    t->service.gen == c->service.gen && !c->again_ns)
			again_begin(c);
		if (m->status == STATUS_BAD_HANDLE || m->status == STATUS_PEER_DIED ||
		    m->status == STATUS_UNREACHABLE || m->status == STATUS_NOT_SENT)
			if (c->phase == C_WORK && !c->closing && chance(w, 300000))
				client_reset(c, C_LOOKUP);
	}
}

static void client_event(void *ctx, const struct proto_msg *m)
{
	struct client *c = ctx;

	if (m->opcode == OP_DP_CREDIT && m->arg[0] == c->service.slot && m->arg[1] == c->service.gen)
		c->again_ns = 0;
	if (m->opcode != OP_DP_GRANTED)
		return;
	c->region = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
	c->have_region = true;
	if (c->life != m->arg[5]) { /* a new region: the word starts at what is there */
		c->life = m->arg[5];
		c->ledger.base = c->ledger.next_old = 0;
		c->ledger.ok = c->ledger.doubt = 0;
		c->ledger.word = c->p.w->next_word;
		c->p.w->next_word = (c->p.w->next_word + 1) % (WORDS - 1);
		if (c->life == c->p.w->service[c->target].life)
			c->ledger.base = c->ledger.next_old =
				*word_of(c->p.w, c->target, c->ledger.word);
		c->area_known = false; /* a chain of the old one may still use the local area */
	}
}

static bool in_doubt(uint8_t status)
{
	return status == STATUS_UNREACHABLE || status == STATUS_IN_DOUBT ||
	       status == STATUS_REMOTE_ERROR;
}

static void client_completion(void *ctx, const struct verb_completion *v)
{
	struct client *c = ctx;
	struct world *w = c->p.w;
	struct track *t = &w->track[v->cookie % TRACKED];
	struct ledger *l = &c->ledger;
	uint64_t *old = (uint64_t *)(void *)(c->local + 64 * (v->cookie % TRACKED));
	uint8_t st;

	if (!t->open || t->kind != 1) {
		broken(w, "%s: a chain ended twice", c->p.name);
		return;
	}
	t->open = 0;
	c->chains--;
	st = v->status[0];
	if (st == STATUS_OK)
		w->totals->ok++;
	else if (in_doubt(st))
		w->totals->doubt++;
	else
		w->totals->refused++;
	if (w->verbose > 1)
		printf("%12.6f %s: chain %llx ends %s faas %u\n", (double)w->now / 1e9, c->p.name,
		       (unsigned long long)v->cookie, proto_status_name(st), t->faas);
	c->faa_out -= t->faas;
	for (unsigned i = 0; i < v->count && i < 3 && t->life == c->life; i++) {
		if (!t->faa[i])
			continue;
		if (v->status[i] == STATUS_OK) {
			l->ok++;
			if (old[i] < l->next_old || old[i] - l->base > l->ok + l->doubt + c->faa_out)
				broken(w, "%s: FAA returned %llu where %llu was due", c->p.name,
				       (unsigned long long)old[i], (unsigned long long)l->next_old);
			l->next_old = old[i] + 1;
		} else if (in_doubt(v->status[i])) {
			l->doubt++;
		}
	}
	if (t->writes || t->reads)
		c->area_pending = false;
	if (t->writes && t->life == c->life) {
		c->area_known = st == STATUS_OK;
		c->pattern = t->pattern;
		if (st != STATUS_OK && !in_doubt(st)) { /* it was not executed: not one byte of it */
			c->area_known = t->was_known;
			c->pattern = t->was;
		}
	}
	if (t->reads && st == STATUS_OK && c->area_known && t->pattern == c->pattern &&
	    t->life == c->life) {
		const uint8_t *area = c->local + 64 * TRACKED;

		for (unsigned i = 0; i < AREA; i++)
			if (area[i] != (uint8_t)(t->pattern + i)) {
				broken(w, "%s: what was written is not what is read, at %u", c->p.name, i);
				break;
			}
	}
	for (unsigned i = 0; i < v->count; i++)
		if (v->status[i] == STATUS_FENCED)
			c->mute = true;
	if (st == STATUS_UNREACHABLE || st == STATUS_NOT_SENT)
		c->lane_ok = false;
	if (st != STATUS_OK && !c->mute && c->phase == C_WORK && !c->closing) {
		if (st == STATUS_BAD_HANDLE || st == STATUS_NO_RIGHT)
			client_reset(c, C_LOOKUP);
		else if (!c->lane_ok)
			client_reset(c, C_LANE);
	}
}

static const struct atoll_handlers client_handlers = {
	.reply = client_reply,
	.event = client_event,
	.completion = client_completion,
};
/* ---------------------------------------------------------------- clients */

void client_start(struct client *c)
{
	struct world *w = c->p.w;
	bool again = c->p.ep != NULL;

	if (!proc_attach(&c->p, c, &client_handlers)) {
		c->p.restart_ns = w->now + 1000000;
		return;
	}
	if (dp_region_add(w->node[c->p.node].dp, c->p.ep->source & 0xffffff, c->p.ep->epoch,
			  ++w->incarnation, c->local, 64 * TRACKED + AREA, &c->local_handle))
		broken(w, "no room for a local region");
	c->have_region = c->lane_ok = false;
	c->flap_ns = c->again_ns = 0;
	c->closing = false;
	c->p.ep->lanes[0].used = false;
	if (again) {
		/* joined the new dataplane: requests end now, chains when the lane is there again */
		endpoint_fail_requests(c->p.ep, STATUS_UNREACHABLE);
		/* the same word under a new epoch: a fence of the old one does not hold it */
		for (unsigned n = 1; n <= w->nodes; n++)
			for (unsigned i = 0; i < 64; i++)
				if (w->service[n].fenced[i].word == c->ledger.word)
					w->service[n].fenced[i].word = WORDS - 1;
	} else {
		client_identity(c);
		c->life = 0;
		do
			c->target = 1 + (unsigned)(draw(w) % w->nodes);
		while (chance(w, 800000) && c->target == c->p.node);
	}
	client_reset(c, C_LOOKUP);
}

static void request_send(struct client *c)
{
	struct world *w = c->p.w;
	static uint8_t payload[PROTO_PAYLOAD_MAX];
	struct proto_msg m;
	struct track *t;
	uint64_t cookie;
	uint32_t id = w->next_id, len;

	if (id >= IDS)
		return;
	t = track_new(w, (unsigned)(c - w->client), 0, &cookie);
	if (!t)
		return;
	len = chance(w, 700000) ? (uint32_t)(draw(w) % 64) :
				  (uint32_t)(draw(w) % (chance(w, 900000) ? 1500 : 8193));
	memset(&m, 0, sizeof(m));
	m.opcode = OP_SIM_ECHO;
	m.length = len;
	m.max_reply = (uint16_t)len;
	m.arg[0] = id;
	m.nargs = 1;
	if (chance(w, 50000))
		m.budget_us = 1 + (uint32_t)(draw(w) % 3000);
	for (uint32_t i = 0; i < len; i++)
		payload[i] = payload_byte(id, i);
	t->identity = id;
	t->service = c->service;
	if (atoll_request(c->p.ep, c->service, &m, payload, cookie)) {
		t->open = 0;
		return;
	}
	w->next_id++;
	w->messages++;
}

static void faa_add(struct client *c, struct track *t, struct verb *v, unsigned i)
{
	v->op = VERB_FAA;
	v->flags = i ? VERB_FENCE : 0;
	v->remote_offset = 8ull * c->ledger.word;
	v->swap = 1;
	t->faa[i] = 1;
	t->faas++;
}

static void verbs_post(struct client *c)
{
	struct world *w = c->p.w;
	struct verb v[3];
	struct track *t;
	uint64_t cookie;
	unsigned n = 0, kind = (unsigned)(draw(w) % 100);

	t = track_new(w, (unsigned)(c - w->client), 1, &cookie);
	if (!t)
		return;
	t->life = c->life;
	memset(v, 0, sizeof(v));
	for (unsigned i = 0; i < 3; i++) {
		v[i].remote = c->region;
		v[i].local = c->local_handle;
		v[i].local_offset = 64 * cookie + 8 * i;
		v[i].len = 8;
	}
	if (kind < 45) {
		faa_add(c, t, &v[n], n);
		n++;
	} else if (kind < 50) {
		/* the second fails, the third is cancelled: not executed */
		faa_add(c, t, &v[0], 0);
		v[1].op = VERB_READ;
		v[1].remote_offset = REGION - 4;
		faa_add(c, t, &v[2], 2);
		n = 3;
	} else if (kind < 70 && !c->area_pending) {
		t->was = c->pattern;
		t->was_known = c->area_known;
		t->pattern = (uint8_t)draw(w);
		for (unsigned i = 0; i < AREA; i++)
			c->local[64 * TRACKED + i] = (uint8_t)(t->pattern + i);
		v[n].op = VERB_WRITE;
		v[n].len = AREA;
		v[n].local_offset = 64 * TRACKED;
		v[n++].remote_offset = 8ull * WORDS + (c->ledger.word % 256) * (uint64_t)AREA;
		t->writes = 1;
		c->area_known = false;
		c->area_pending = true;
	} else if (kind < 85 && c->area_known && !c->area_pending) {
		memset(c->local + 64 * TRACKED, 0, AREA);
		v[n].op = VERB_READ;
		v[n].len = AREA;
		v[n].local_offset = 64 * TRACKED;
		v[n++].remote_offset = 8ull * WORDS + (c->ledger.word % 256) * (uint64_t)AREA;
		t->reads = 1;
		t->pattern = c->pattern;
		c->area_pending = true; /* the local area is in use */
		t->writes = 0;
	} else if (kind < 92) {
		/* a range that is not there: refused, and the rest cancelled */
		v[n].op = VERB_READ;
		v[n++].remote_offset = chance(w, 500000) ? REGION : (uint64_t)-8;
		v[n].op = VERB_READ;
		v[n++].remote_offset = 0;
	} else {
		v[n].op = VERB_READ;
		v[n++].remote_offset = 8ull * c->ledger.word;
		v[n].op = VERB_CAS;
		v[n].flags = VERB_FENCE;
		v[n].compare = ~0ull;
		v[n++].remote_offset = 8ull * c->ledger.word;
	}
	if (atoll_post(c->p.ep, 0, v, n, cookie)) {
		t->open = 0;
		if (t->writes || t->reads)
			c->area_pending = false;
		if (t->writes)
			c->area_known = t->was_known;
		return;
	}
	c->faa_out += t->faas;
	c->chains++;
	w->verbs += n;
}

void client_act(struct client *c)
{
	struct world *w = c->p.w;
	struct proto_msg m;
	char name[32];

	if (c->again_ns)
		again_check(c);
	if (c->busy || w->now < c->wait_ns || (w->draining && c->phase != C_LANE && !c->p.ep->lost &&
						c->chains == 0))
		return;
	switch (c->phase) {
	case C_LOOKUP:
		proto_request_init(&m, OP_DP_LOOKUP);
		m.length = (uint32_t)snprintf(name, sizeof(name), "n%u/mem", c->target);
		c->busy = !atoll_request(c->p.ep, ATOLL_DATAPLANE, &m, name, COOKIE_LOOKUP);
		break;
	case C_GRANT:
		memset(&m, 0, sizeof(m));
		m.opcode = OP_GRANT_ME;
		m.nargs = 1;
		m.arg[0] = 1;
		c->busy = !atoll_request(c->p.ep, c->service, &m, NULL, COOKIE_GRANT);
		break;
	case C_LANE:
		proto_request_init(&m, OP_DP_LANE_OPEN);
		m.arg[0] = c->target;
		m.arg[1] = 8;
		m.nargs = 2;
		if (chance(w, 100000))
			m.budget_us = 1 + (uint32_t)(draw(w) % 500);
		/* chains that ended UNREACHABLE are settled by the new lane */
		if (c->tidy && c->p.ep->lanes[0].used) {
			struct proto_msg close = {.opcode = OP_DP_LANE_CLOSE,
						  .flags = MESSAGE_FLAG_ASYNC,
						  .nargs = 1,
						  .arg = {c->p.ep->lanes[0].number}};

			if (atoll_request(c->p.ep, ATOLL_DATAPLANE, &close, NULL, 0))
				break;
		}
		c->p.ep->lanes[0].used = false;
		c->busy = !atoll_request(c->p.ep, ATOLL_DATAPLANE, &m, NULL, COOKIE_LANE);
		break;
	case C_WORK:
		if (c->mute) {
			/* fenced: this identity is over, the process starts anew */
			tracks_drop(w, (unsigned)(c - w->client));
			proc_die(&c->p);
			break;
		}
		if (w->draining)
			break;
		if (c->flap_ns && w->now >= c->flap_ns && c->lane_ok) {
			c->flap_ns = 0;
			proto_request_init(&m, OP_DP_LANE_CLOSE);
			m.arg[0] = c->p.ep->lanes[0].number;
			m.nargs = 1;
			c->busy = !atoll_request(c->p.ep, ATOLL_DATAPLANE, &m, NULL, COOKIE_CLOSE);
			c->closing = c->busy;
			break;
		}
		if (chance(w, 600000) && !c->again_ns)
			request_send(c);
		if (c->chains < WINDOW && chance(w, 500000))
			verbs_post(c);
		c->wait_ns = w->now + draw(w) % 60000;
		if (chance(w, 1500))
			client_reset(c, C_LOOKUP);
		else if (!c->flap_ns && chance(w, 10000))
			c->flap_ns = w->now + draw(w) % 100000;
		break;
	}
}
