/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dp.h"
#include "ipc/endpoint_impl.h"
#include "tests/sim/wire.h"

enum {
	NODES_MAX = 4,
	CLIENTS_MAX = 6,
	SLOTS = 256,
	ARENA = 65536,
	OP_GRANT_ME = 0x1f01, /* an opcode that no schema knows: the router passes it on */
	OP_SIM_ECHO = 0x1f02,
	WORDS = 4096,	      /* of a region: one for each identity of a client */
	AREA = 2048,	      /* bytes that each identity writes and reads */
	REGION = (WORDS * 8 + 256 * AREA + 4095) & ~4095,
	IDS = 1 << 16,
	MESSAGES_MIN = 2000,
	VERBS_MIN = 500,
	STEPS_MAX = 4000000,
	WINDOW = 8,
	TRACKED = 512,
};

struct half_pair {
	void *own, *peer; /* the dataplane's, the process's */
};

struct world;

/* A process with an endpoint. */
struct proc {
	struct world *w;
	unsigned node;
	uint16_t kind;
	char name[16];
	struct atoll_endpoint *ep; /* NULL: not running */
	struct half_pair halves;
	uint64_t restart_ns;
	bool attached;
};

struct fenced {
	uint32_t word;
	uint64_t value;
};

struct service {
	struct proc p;
	uint8_t *memory;
	struct atoll_handle region;
	bool published;
	uint64_t life; /* rises with each region */
	/* the client that asked last for a grant: candidates for fences */
	struct {
		uint32_t source, epoch, word;
	} known[16];
	unsigned nknown;
	struct {
		uint64_t token, id;
		struct proto_msg request;
		bool used;
	} grants[16]; /* dp.grant asked, the requester not yet answered */
	uint32_t fence_word[64], fence_epoch[64];
	unsigned fence_client[64];
	struct fenced fenced[64];
	unsigned nfenced;
};

enum client_phase { C_LOOKUP, C_GRANT, C_LANE, C_WORK };

/* What is known of the word that one identity adds to. */
struct ledger {
	uint32_t word;
	uint64_t base;	     /* value when everything before was settled */
	uint64_t ok, doubt;  /* of FAAs since */
	uint64_t next_old;   /* old value that the next OK must have, at least */
};

struct client {
	struct proc p;
	unsigned target; /* node whose service it uses */
	enum client_phase phase;
	struct atoll_handle service, region;
	bool have_region, busy;
	uint64_t life; /* of the service's region that it was granted */
	uint64_t wait_ns;
	uint8_t *local;
	struct atoll_handle local_handle;
	bool published;
	uint32_t lane;
	struct ledger ledger;
	uint8_t pattern; /* of its area, if area_known */
	bool area_known, area_pending;
	unsigned chains;
	uint32_t faa_out, faa_tail; /* FAAs posted and not ended */
	bool settling; /* the lane is being opened again: then what was in doubt is settled */
	bool mute; /* fenced: start a new identity */
	bool lane_ok;
	bool closing;
	uint64_t flap_ns; /* the lane is to be closed then, whatever is under way on it */
	bool linger;	  /* and the next one is to lie idle for a while */
};

/* A request or a chain that is to end once. */
struct track {
	uint8_t open;
	uint8_t kind; /* 0 request, 1 chain */
	uint8_t faas, writes, reads;
	uint16_t client;
	uint8_t pattern;
	uint32_t identity;
	uint64_t life;
};

struct node {
	struct dp *dp;
	struct port *port;
	uint64_t restart_ns;
};

struct world {
	uint64_t rng, now, incarnation;
	struct sim_wire *wire;
	unsigned nodes, nclients;
	struct node node[NODES_MAX + 1];
	struct service service[NODES_MAX + 1];
	struct client client[CLIENTS_MAX];
	uint8_t executed[IDS];
	uint8_t ended[IDS]; /* status + 1 of a request */
	uint32_t next_id, next_word;
	struct track track[TRACKED];
	uint32_t track_at;
	bool draining, calm;
	int verbose;
	const char *broken;
	char text[256];
	struct sim_totals *totals;
	uint64_t messages, verbs;
};

static uint64_t draw(struct world *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool chance(struct world *w, unsigned of_million)
{
	return draw(w) % 1000000 < of_million;
}

__attribute__((format(printf, 2, 3))) static void broken(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->broken)
		return;
	va_start(ap, fmt);
	vsnprintf(w->text, sizeof(w->text), fmt, ap);
	va_end(ap);
	w->broken = w->text;
}

static void on_log(void *arg, const char *line)
{
	struct world *w = arg;

	if (w->verbose)
		printf("%12.6f %s\n", (double)w->now / 1e9, line);
}

/* ---------------------------------------------------------------- nodes */

static uint32_t address_of(unsigned node)
{
	return 0x0a000000u + node;
}

static void node_start(struct world *w, unsigned n)
{
	struct dp_peer_conf peers[NODES_MAX];
	struct dp_conf conf = {.node = (uint8_t)n,
			       .address = address_of(n),
			       .heartbeat_ms = 10,
			       .seed = draw(w),
			       .peers = peers,
			       .verb_depth = 16,
			       .arg = w,
			       .log = on_log};

	snprintf(conf.name, sizeof(conf.name), "n%u", n);
	for (unsigned i = 1; i <= w->nodes; i++) {
		struct dp_peer_conf *p = &peers[conf.npeers];

		if (i == n)
			continue;
		memset(p, 0, sizeof(*p));
		p->node = (uint8_t)i;
		p->address = address_of(i);
		snprintf(p->name, sizeof(p->name), "n%u", i);
		conf.npeers++;
	}
	w->node[n].port = sim_wire_port(w->wire, conf.address);
	w->node[n].dp = dp_new(&conf, w->node[n].port, w->now);
	if (!w->node[n].dp)
		broken(w, "out of memory");
}

/* ---------------------------------------------------------------- processes */

static const struct atoll_handlers service_handlers, client_handlers;

static bool proc_attach(struct proc *p, void *ctx, const struct atoll_handlers *handlers)
{
	struct world *w = p->w;
	size_t size = channel_half_size(SLOTS, ARENA);
	struct dp_attach a = {.kind = p->kind, .name = p->name, .slots = SLOTS, .arena = ARENA, .wake_fd = -1};
	uint32_t endpoint, epoch;
	bool fresh = !p->ep;

	p->halves.own = calloc(1, size);
	p->halves.peer = calloc(1, size);
	channel_format(p->halves.own, SLOTS, ARENA, 1);
	channel_format(p->halves.peer, SLOTS, ARENA, 1);
	a.own = p->halves.own;
	a.peer = p->halves.peer;
	if (dp_endpoint_add(w->node[p->node].dp, &a, &endpoint, &epoch)) {
		free(p->halves.own);
		free(p->halves.peer);
		return false;
	}
	if (fresh)
		p->ep = endpoint_new();
	endpoint_bind(p->ep, p->halves.peer, p->halves.own, SLOTS, ARENA);
	p->ep->source = p->node << 24 | endpoint;
	p->ep->epoch = epoch;
	atoll_set_handlers(p->ep, handlers, ctx);
	p->attached = true;
	return true;
}

static void halves_free(struct proc *p)
{
	free(p->halves.own);
	free(p->halves.peer);
	memset(&p->halves, 0, sizeof(p->halves));
	p->attached = false;
}

/* The process is gone: nobody hears how its requests end. */
static void proc_die(struct proc *p)
{
	static const struct atoll_handlers none;
	struct world *w = p->w;

	if (!p->ep)
		return;
	if (p->attached && w->node[p->node].dp)
		dp_endpoint_close(w->node[p->node].dp, p->ep->source & 0xffffff, p->ep->epoch, GONE_DIED);
	atoll_set_handlers(p->ep, &none, NULL);
	p->ep->verbs_taken = false;
	free(p->ep);
	p->ep = NULL;
	halves_free(p);
	p->restart_ns = w->now + 1000000 + draw(w) % 20000000;
}

static void tracks_drop(struct world *w, unsigned client)
{
	for (unsigned i = 0; i < TRACKED; i++)
		if (w->track[i].open && w->track[i].client == client)
			w->track[i].open = 0;
}

/* ---------------------------------------------------------------- requests and their endings */

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

static uint8_t payload_byte(uint64_t id, uint32_t i)
{
	return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

static bool executed_ok(uint32_t status)
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

static uint64_t *word_of(struct world *w, unsigned node, uint32_t word)
{
	return (uint64_t *)(void *)w->service[node].memory + word;
}

/* Everything that the client had under way has ended: what is in the word now is final. */
static void ledger_settle(struct client *c)
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
		c->closing = c->busy = c->lane_ok = false;
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
		if (m->status == STATUS_BAD_HANDLE || m->status == STATUS_PEER_DIED ||
		    m->status == STATUS_UNREACHABLE || m->status == STATUS_NOT_SENT)
			if (c->phase == C_WORK && !c->closing && chance(w, 300000))
				client_reset(c, C_LOOKUP);
	}
}

static void client_event(void *ctx, const struct proto_msg *m)
{
	struct client *c = ctx;

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
		c->area_known = c->area_pending = false;
	}
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
	else if (st == STATUS_UNREACHABLE || st == STATUS_IN_DOUBT)
		w->totals->doubt++;
	else
		w->totals->refused++;
	if (w->verbose > 1)
		printf("%12.6f %s: chain %llx ends %s faas %u\n", (double)w->now / 1e9, c->p.name,
		       (unsigned long long)v->cookie, proto_status_name(st), t->faas);
	if (t->life != c->life) {
		c->faa_out -= t->faas;
	} else if (t->faas) {
		c->faa_out -= t->faas;
		if (st == STATUS_OK) {
			l->ok++;
			if (*old < l->next_old || *old - l->base > l->ok + l->doubt + c->faa_out)
				broken(w, "%s: FAA returned %llu where %llu was due", c->p.name,
				       (unsigned long long)*old, (unsigned long long)l->next_old);
			l->next_old = *old + 1;
		} else if (st == STATUS_UNREACHABLE || st == STATUS_IN_DOUBT ||
			   st == STATUS_REMOTE_ERROR || st == STATUS_FENCED) {
			l->doubt += st != STATUS_FENCED;
		}
	}
	if (t->writes) {
		c->area_pending = false;
		c->area_known = st == STATUS_OK && t->life == c->life;
		c->pattern = t->pattern;
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
	if (st == STATUS_UNREACHABLE || st == STATUS_NOT_SENT || st == STATUS_IN_DOUBT)
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

enum { COOKIE_FENCE = 1 << 16 };

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

static void fences_check(struct service *s)
{
	unsigned n = s->nfenced < 64 ? s->nfenced : 64;

	for (unsigned i = 0; i < n; i++)
		if (s->fenced[i].word != WORDS - 1 && /* the last word is nobody's */
		    *word_of(s->p.w, s->p.node, s->fenced[i].word) != s->fenced[i].value)
			broken(s->p.w, "word %u of node %u changed after its client was fenced off",
			       s->fenced[i].word, s->p.node);
}

static void service_start(struct service *s)
{
	struct world *w = s->p.w;

	if (!proc_attach(&s->p, s, &service_handlers)) {
		s->p.restart_ns = w->now + 1000000;
		return;
	}
	memset(s->grants, 0, sizeof(s->grants));
	s->nknown = s->nfenced = 0;
	s->life = ++w->incarnation;
	memset(s->memory, 0, REGION);
	if (dp_region_add(w->node[s->p.node].dp, s->p.ep->source & 0xffffff, s->p.ep->epoch, s->life,
			  s->memory, REGION, &s->region))
		broken(w, "no room for a region");
}

/* Fence one of the clients that were granted the region. */
static void service_fence(struct service *s)
{
	struct world *w = s->p.w;

	for (unsigned i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[(i + draw(w)) % w->nclients];
		static uint32_t n;
		struct proto_msg m;

		if (!c->p.ep || c->target != s->p.node || c->life != s->life || !c->have_region)
			continue;
		for (unsigned k = 0; k < s->nknown; k++)
			if (s->known[k].source == c->p.ep->source &&
			    s->known[k].epoch == c->p.ep->epoch) {
				uint64_t slot = n++ % 64;

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

/* ---------------------------------------------------------------- clients */

static void client_start(struct client *c)
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
	c->flap_ns = 0;
	c->closing = false;
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
	if (atoll_request(c->p.ep, c->service, &m, payload, cookie)) {
		t->open = 0;
		return;
	}
	w->next_id++;
	w->messages++;
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
		v[i].local_offset = 64 * cookie;
		v[i].len = 8;
	}
	if (kind < 50) {
		v[n].op = VERB_FAA;
		v[n].remote_offset = 8ull * c->ledger.word;
		v[n++].swap = 1;
		t->faas = 1;
	} else if (kind < 70 && !c->area_pending) {
		c->pattern = (uint8_t)draw(w);
		t->pattern = c->pattern;
		for (unsigned i = 0; i < AREA; i++)
			c->local[64 * TRACKED + i] = (uint8_t)(c->pattern + i);
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
		return;
	}
	c->faa_out += t->faas;
	c->chains++;
	w->verbs += n;
}

static void client_act(struct client *c)
{
	struct world *w = c->p.w;
	struct proto_msg m;
	char name[32];

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
		/* chains that ended UNREACHABLE are settled by the new lane */
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
		if (chance(w, 600000))
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

/* ---------------------------------------------------------------- faults of processes and nodes */

static void node_crash(struct world *w, unsigned n, bool silent)
{
	struct node *node = &w->node[n];

	if (!node->dp)
		return;
	sim_wire_note(SIM_CRASH, sim_wire_last_step(w->wire));
	w->totals->node_crashes++;
	if (silent)
		sim_port_mute(node->port);
	/* processes of the node: clients live on and join the next dataplane, the service dies with it */
	for (unsigned i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[i];

		if (c->p.node != n || !c->p.ep || !c->p.attached)
			continue;
		c->p.ep->lost = true;
		endpoint_mark_lost(c->p.ep);
		c->p.attached = false; /* the halves die with the dataplane */
	}
	proc_die(&w->service[n].p);
	dp_delete(node->dp);
	node->dp = NULL;
	for (unsigned i = 0; i < w->nclients; i++)
		if (w->client[i].p.node == n && w->client[i].p.ep) {
			struct client *c = &w->client[i];

			c->p.ep->ch.peer = NULL;
			halves_free(&c->p);
			c->p.restart_ns = 0;
			c->busy = false;
		}
	node->port->ops->close(node->port);
	node->port = NULL;
	node->restart_ns = w->now + draw(w) % 60000000;
}

static void mischief(struct world *w)
{
	if (w->draining || w->calm)
		return;
	if (chance(w, 300)) {
		struct client *c = &w->client[draw(w) % w->nclients];

		if (c->p.ep && c->p.attached) {
			sim_wire_note(SIM_CRASH, sim_wire_last_step(w->wire));
			w->totals->crashes++;
			tracks_drop(w, (unsigned)(c - w->client));
			proc_die(&c->p);
		}
	}
	if (chance(w, 200)) {
		struct service *s = &w->service[1 + draw(w) % w->nodes];

		if (s->p.ep) {
			sim_wire_note(SIM_CRASH, sim_wire_last_step(w->wire));
			w->totals->crashes++;
			proc_die(&s->p);
			s->life = 0;
		}
	}
	if (chance(w, 500)) {
		struct service *s = &w->service[1 + draw(w) % w->nodes];

		if (s->p.ep)
			service_fence(s);
	}
	if (chance(w, 150)) {
		struct service *s = &w->service[1 + draw(w) % w->nodes];
		struct proto_msg m;

		if (s->p.ep) {
			proto_request_init(&m, OP_DP_REVOKE);
			m.arg[0] = s->region.slot;
			m.arg[1] = s->region.gen;
			m.nargs = 2;
			if (!atoll_request(s->p.ep, ATOLL_DATAPLANE, &m, NULL, COOKIE_FENCE + 999))
				w->totals->revokes++;
		}
	}
	if (chance(w, 100))
		node_crash(w, 1 + (unsigned)(draw(w) % w->nodes), chance(w, 600000));
}

/* ---------------------------------------------------------------- time */

static unsigned turn(struct world *w)
{
	unsigned done = 0;

	sim_wire_advance(w->wire, w->now);
	for (unsigned n = 1; n <= w->nodes; n++) {
		struct node *node = &w->node[n];
		struct service *s = &w->service[n];

		if (!node->dp && w->now >= node->restart_ns)
			node_start(w, n);
		if (!node->dp)
			continue;
		done += dp_poll(node->dp, w->now);
		if (!s->p.ep && w->now >= s->p.restart_ns)
			service_start(s);
		if (s->p.ep)
			done += (unsigned)(atoll_poll(s->p.ep, 8) > 0);
		if (s->p.ep && s->nfenced)
			fences_check(s);
	}
	for (unsigned i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[i];

		if (!w->node[c->p.node].dp)
			continue;
		if ((!c->p.ep || !c->p.attached) && w->now >= c->p.restart_ns &&
		    (!w->draining || c->p.ep))
			client_start(c);
		if (!c->p.ep || !c->p.attached)
			continue;
		if (chance(w, 500000)) /* it is not always scheduled */
			done += (unsigned)(atoll_poll(c->p.ep, 16) > 0);
		if (c->p.ep)
			client_act(c);
	}
	return done;
}

static void check_all(struct world *w)
{
	for (unsigned n = 1; n <= w->nodes && !w->broken; n++) {
		const char *why = w->node[n].dp ? dp_check(w->node[n].dp) : NULL;

		if (why)
			broken(w, "node %u: %s", n, why);
	}
}

static bool quiet(const struct world *w)
{
	for (unsigned i = 0; i < TRACKED; i++)
		if (w->track[i].open)
			return false;
	for (unsigned n = 1; n <= w->nodes; n++)
		if (!w->node[n].dp || !dp_quiet(w->node[n].dp))
			return false;
	return true;
}

static void step(struct world *w, uint64_t *steps)
{
	uint64_t next = w->now + 20000;

	mischief(w);
	if (turn(w))
		next = w->now + 2000;
	else if (sim_wire_next(w->wire) < next)
		next = sim_wire_next(w->wire);
	w->now = next > w->now ? next : w->now + 1000;
	if (++*steps % 4096 == 0)
		check_all(w);
}

static void setup(struct world *w)
{
	static const uint32_t rate[] = {0, 1000, 5000, 20000, 50000};
	struct sim_rates r = {
		.loss = rate[draw(w) % 5],
		.dup = rate[draw(w) % 5],
		.reorder = rate[draw(w) % 5],
		.corrupt = rate[draw(w) % 5],
		.late = rate[draw(w) % 4],
		.delay_ns = 1000 + draw(w) % 10000,
		.jitter_ns = draw(w) % 20000,
		.late_ns = 100000000, /* longer than it takes to restart a node or a lane */
	};

	w->nodes = 2 + (unsigned)(draw(w) % 3);
	w->nclients = 2 + (unsigned)(draw(w) % (CLIENTS_MAX - 1));
	w->calm = chance(w, 100000);
	w->wire = sim_wire_new(draw(w));
	sim_wire_rates(w->wire, &r);
	w->now = 1000000000;
	for (unsigned n = 1; n <= w->nodes; n++) {
		struct service *s = &w->service[n];

		s->p = (struct proc){.w = w, .node = n, .kind = CTL_KIND_SERVICE};
		strcpy(s->p.name, "mem");
		s->memory = aligned_alloc(4096, REGION);
		memset(s->memory, 0, REGION);
		node_start(w, n);
	}
	for (unsigned i = 0; i < w->nclients; i++) {
		struct client *c = &w->client[i];

		c->p = (struct proc){.w = w,
				     .node = 1 + (unsigned)(draw(w) % w->nodes),
				     .kind = CTL_KIND_CLIENT};
		snprintf(c->p.name, sizeof(c->p.name), "c%u", i);
		c->local = aligned_alloc(4096, (64 * TRACKED + AREA + 4095) & ~4095u);
		memset(c->local, 0, 64 * TRACKED + AREA);
	}
}

static void teardown(struct world *w)
{
	for (unsigned i = 0; i < w->nclients; i++) {
		proc_die(&w->client[i].p);
		if (w->client[i].p.ep)
			free(w->client[i].p.ep);
	}
	for (unsigned n = 1; n <= w->nodes; n++) {
		proc_die(&w->service[n].p);
		if (w->node[n].dp) {
			if (!w->broken && !dp_quiet(w->node[n].dp))
				broken(w, "node %u: something is outstanding after every process has ended", n);
			dp_delete(w->node[n].dp);
			w->node[n].port->ops->close(w->node[n].port);
		}
		free(w->service[n].memory);
	}
	for (unsigned i = 0; i < w->nclients; i++)
		free(w->client[i].local);
	sim_wire_delete(w->wire);
}

const char *sim_run(uint64_t seed, int verbose, struct sim_totals *totals)
{
	static struct world *w;
	static char text[256];
	uint64_t steps = 0, limit;
	const char *result;

	w = calloc(1, sizeof(*w));
	w->rng = seed * 0x9e3779b97f4a7c15ull + 1;
	w->verbose = verbose;
	w->totals = totals;
	setup(w);
	while (!w->broken && steps < STEPS_MAX &&
	       (w->messages < MESSAGES_MIN || w->verbs < VERBS_MIN) && w->next_id < IDS)
		step(w, &steps);
	if (!w->broken && steps >= STEPS_MAX)
		broken(w, "no progress: %llu messages and %llu verbs after %llu steps",
		       (unsigned long long)w->messages, (unsigned long long)w->verbs,
		       (unsigned long long)steps);
	/* everything that was begun must end, in a network that has stopped failing */
	w->draining = true;
	if (!w->broken) {
		const struct sim_rates good = {.delay_ns = 2000};

		sim_wire_rates(w->wire, &good);
	}
	for (limit = w->now + 3000000000ull; !w->broken && w->now < limit && !quiet(w);)
		step(w, &steps);
	if (!w->broken && !quiet(w))
		broken(w, "something never ended");
	check_all(w);
	for (unsigned i = 0; i < w->nclients && !w->broken; i++)
		if (w->client[i].p.ep && w->client[i].chains == 0 && w->client[i].phase == C_WORK)
			ledger_settle(&w->client[i]);
	totals->messages += w->messages;
	totals->verbs += w->verbs;
	totals->steps += steps;
	teardown(w);
	result = w->broken;
	if (result) {
		snprintf(text, sizeof(text), "%s", result);
		result = text;
	}
	free(w);
	return result;
}
