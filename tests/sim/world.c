/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/dp_impl.h"
#include "tests/sim/world_impl.h"

uint64_t draw(struct world *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

bool chance(struct world *w, unsigned of_million)
{
	return draw(w) % 1000000 < of_million;
}

void broken(struct world *w, const char *fmt, ...)
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

static struct ip_addr address_of(const struct world *w, unsigned node)
{
	struct ip_addr v6 = {{0xfd, [14] = 1, [15] = (uint8_t)node}};

	return w->v6 ? v6 : ip_addr_v4(0x0a000000u + node);
}

/* Minor versions differ in feature bits. One node of the version before this one, one of the next, which says that it
 * can do what nobody here has heard of; the others of this one. */
static uint32_t features_of(const struct world *w, unsigned node)
{
	if (!w->mixed || node > 2)
		return 0;
	return node == 1 ? PROTO_FEATURES & ~(uint32_t)FEATURE_GRANT_ANSWER : PROTO_FEATURES | 1u << 30;
}

static void node_start(struct world *w, unsigned n)
{
	struct dp_peer_conf peers[NODES_MAX];
	struct dp_conf conf = {.node = (uint8_t)n,
			       .address = address_of(w, n),
			       .heartbeat_ms = 10,
			       .features = features_of(w, n),
			       /* no two lives of an endpoint number have one epoch */
			       .epoch = w->lives += 4096,
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
		p->address = address_of(w, i);
		snprintf(p->name, sizeof(p->name), "n%u", i);
		conf.npeers++;
	}
	w->node[n].port = sim_wire_port(w->wire, address_of(w, n));
	w->node[n].dp = dp_new(&conf, w->node[n].port, w->now);
	if (!w->node[n].dp)
		broken(w, "out of memory");
}

/* ---------------------------------------------------------------- processes */

bool proc_attach(struct proc *p, void *ctx, const struct atoll_handlers *handlers)
{
	struct world *w = p->w;
	/* a service with little room is full before its credits are used up */
	uint32_t slots = p->kind == CTL_KIND_SERVICE && w->narrow ? SLOTS_NARROW : SLOTS;
	size_t size = channel_half_size(slots, ARENA);
	struct dp_attach a = {
		.kind = p->kind, .name = p->name, .slots = slots, .arena = ARENA, .wake_fd = -1};
	uint32_t endpoint, epoch;
	bool fresh = !p->ep;

	p->halves.own = calloc(1, size);
	p->halves.peer = calloc(1, size);
	channel_format(p->halves.own, slots, ARENA, 1);
	channel_format(p->halves.peer, slots, ARENA, 1);
	a.own = p->halves.own;
	a.peer = p->halves.peer;
	if (dp_endpoint_add(w->node[p->node].dp, &a, &endpoint, &epoch)) {
		free(p->halves.own);
		free(p->halves.peer);
		return false;
	}
	if (fresh)
		p->ep = endpoint_new();
	endpoint_bind(p->ep, p->halves.peer, p->halves.own, slots, ARENA);
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

void proc_die(struct proc *p)
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

		if (s->p.ep)
			service_revoke(s);
	}
	if (chance(w, 300)) /* it is not scheduled for a while */
		w->service[1 + draw(w) % w->nodes].busy_ns = w->now + draw(w) % 5000000;
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
			service_act(s);
		if (s->p.ep && w->now >= s->busy_ns)
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
	for (unsigned i = 0; i < w->nclients; i++) {
		const struct client *c = &w->client[i];
		const struct dp_endpoint *ep;
		unsigned lanes = 0;

		if (!c->p.ep || !c->p.attached || !c->tidy)
			continue;
		ep = w->node[c->p.node].dp->endpoints[c->p.ep->source & 0xffffff];
		for (unsigned k = 0; k < DP_LANES_MAX; k++)
			lanes += ep->lanes[k] != NULL;
		if (lanes > 1)
			broken(w, "%s: has %u lanes and knows of one", c->p.name, lanes);
	}
}

static bool quiet(const struct world *w)
{
	for (unsigned i = 0; i < TRACKED; i++)
		if (w->track[i].open)
			return false;
	for (unsigned i = 0; i < w->nclients; i++)
		if (w->client[i].p.ep && w->client[i].again_ns)
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
	w->narrow = chance(w, 500000);
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
		c->tidy = i & 1;
		c->local = aligned_alloc(4096, (64 * TRACKED + AREA + 4095) & ~4095u);
		memset(c->local, 0, 64 * TRACKED + AREA);
	}
}

static const char *left_of_processes(const struct dp *dp)
{
	if (!dp_quiet(dp))
		return "something is outstanding after every process has ended";
	if (dp->counters[DPC_LANES] || dp->counters[DPC_REGIONS] || dp->counters[DPC_ENDPOINTS])
		return "lanes, regions or endpoints are left";
	for (uint32_t i = 0; i < dp->nlinks; i++)
		if (dp->link_list[i]->responders)
			return "a lane of a client that has gone is left";
	return NULL;
}

/* After every process has ended and the nodes have told each other, nothing of them may be left. */
static void leaks_check(struct world *w)
{
	const uint64_t limit = w->now + 200000000;
	const char *why = "";
	unsigned node = 0;

	while (why && w->now < limit) {
		sim_wire_advance(w->wire, w->now);
		for (unsigned n = 1; n <= w->nodes; n++)
			if (w->node[n].dp)
				dp_poll(w->node[n].dp, w->now);
		w->now += 20000;
		why = NULL;
		for (unsigned n = 1; n <= w->nodes && !why; n++) {
			why = w->node[n].dp ? left_of_processes(w->node[n].dp) : NULL;
			node = n;
		}
	}
	if (why)
		broken(w, "node %u: %s", node, why);
}

static void teardown(struct world *w)
{
	for (unsigned i = 0; i < w->nclients; i++) {
		proc_die(&w->client[i].p);
		if (w->client[i].p.ep)
			free(w->client[i].p.ep);
	}
	for (unsigned n = 1; n <= w->nodes; n++)
		proc_die(&w->service[n].p);
	if (!w->broken)
		leaks_check(w);
	for (unsigned n = 1; n <= w->nodes; n++) {
		if (w->node[n].dp) {
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
	w->v6 = seed % 4 == 3;
	w->mixed = seed % 3 == 2;
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
