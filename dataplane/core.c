/* SPDX-License-Identifier: Apache-2.0 */
/* The loop, endpoints, and their two-phase removal. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/dp_impl.h"

uint64_t dp_random(struct dp *dp)
{
	uint64_t z = dp->rng += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void dp_log(struct dp *dp, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!dp->conf.log)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	dp->conf.log(dp->conf.arg, line);
}

/* ---------------------------------------------------------------- lists of endpoints */

static void ring_unlink(struct dp *dp, struct dp_endpoint *ep)
{
	struct dp_endpoint **head = ep->idle ? &dp->idle : &dp->active;

	if (dp->idle_next == ep)
		dp->idle_next = ep->next == ep ? NULL : ep->next;
	if (ep->next == ep) {
		*head = NULL;
	} else {
		ep->prev->next = ep->next;
		ep->next->prev = ep->prev;
		if (*head == ep)
			*head = ep->next;
	}
	ep->prev = ep->next = NULL;
}

static void ring_link(struct dp *dp, struct dp_endpoint *ep, bool idle)
{
	struct dp_endpoint **head = idle ? &dp->idle : &dp->active;

	ep->idle = idle;
	if (!*head) {
		*head = ep->prev = ep->next = ep;
		return;
	}
	ep->next = *head;
	ep->prev = (*head)->prev;
	ep->prev->next = ep->next->prev = ep;
}

void endpoint_activate(struct dp *dp, struct dp_endpoint *ep)
{
	ep->active_ns = dp->now;
	if (!ep->idle)
		return;
	ring_unlink(dp, ep);
	ring_link(dp, ep, false);
}

struct dp_endpoint *endpoint_get(struct dp *dp, uint32_t index, uint32_t epoch)
{
	struct dp_endpoint *ep = index < DP_ENDPOINTS_MAX ? dp->endpoints[index] : NULL;

	return ep && ep->epoch == epoch && !ep->poison ? ep : NULL;
}

struct dp_endpoint *service_find(struct dp *dp, const char *name)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		if (ep && ep->kind == CTL_KIND_SERVICE && !ep->poison && !strcmp(ep->name, name))
			return ep;
	}
	return NULL;
}

/* ---------------------------------------------------------------- what goes on their rings */

void endpoint_poison(struct dp *dp, struct dp_endpoint *ep, const char *why)
{
	if (ep->poison)
		return;
	ep->poison = true;
	dp->doomed = true;
	dp_count(dp, DPC_POISONED);
	dp_log(dp, "endpoint %u (%s, pid %u) closed: %s", ep->index, ep->name, ep->pid, why);
}

bool endpoint_room(struct dp *dp, struct dp_endpoint *ep, uint32_t slots, uint32_t bytes)
{
	int rc = channel_room(&ep->ch, slots, bytes);

	if (rc < 0) {
		dp_count(dp, DPC_BAD_RING);
		endpoint_poison(dp, ep, "it claims to have read what was never written");
	}
	return rc > 0;
}

void endpoint_push(struct dp *dp, struct dp_endpoint *ep, struct proto_msg *m, const void *payload)
{
	uint64_t slots[PROTO_SLOTS_MAX * 8];
	unsigned n;

	m->payload = 0;
	if (m->length)
		memcpy(channel_payload_alloc(&ep->ch, m->length, &m->payload), payload, m->length);
	n = proto_msg_pack(m, slots);
	channel_push(&ep->ch, slots, n);
	ep->dirty = dp->dirty = true;
	if (dp_traced(dp))
		trace_record(dp, TRACE_POINT_TO_RING, dp_source(dp, ep->index),
			     dp_source(dp, ep->index), slots, n, payload, m->length);
}

bool endpoint_event(struct dp *dp, struct dp_endpoint *ep, uint16_t opcode, const uint64_t *args,
		    unsigned nargs)
{
	struct proto_msg m;

	if (ep->poison || !endpoint_room(dp, ep, 2, 0))
		return false;
	proto_request_init(&m, opcode);
	m.flags = MESSAGE_FLAG_EVENT;
	m.nargs = (uint8_t)nargs;
	memcpy(m.arg, args, nargs * sizeof(*args));
	recorder_note(dp, TRACE_POINT_TO_RING, dp_source(dp, ep->index), &m);
	endpoint_push(dp, ep, &m, NULL);
	endpoint_activate(dp, ep);
	dp_count(dp, DPC_EVENTS);
	return true;
}

/* dp.peer_gone to one endpoint; kept for later when there is no room. */
void endpoint_peer_gone(struct dp *dp, struct dp_endpoint *ep, uint32_t source, uint32_t epoch,
			uint32_t why)
{
	const uint64_t args[3] = {source, epoch, why};
	uint32_t *more;

	if (!ep->nevents && endpoint_event(dp, ep, OP_DP_PEER_GONE, args, 3))
		return;
	dp_count(dp, DPC_EVENTS_LATE);
	more = realloc(ep->events, (ep->nevents + 1) * 3 * sizeof(*more));
	if (!more) {
		endpoint_poison(dp, ep, "no memory to tell it that a peer has gone");
		return;
	}
	ep->events = more;
	more += 3 * (size_t)ep->nevents++;
	more[0] = source;
	more[1] = epoch;
	more[2] = why;
}

static void events_retry(struct dp *dp, struct dp_endpoint *ep)
{
	uint32_t n = 0;

	for (; n < ep->nevents; n++) {
		const uint32_t *e = ep->events + 3 * (size_t)n;
		const uint64_t args[3] = {e[0], e[1], e[2]};

		if (!endpoint_event(dp, ep, OP_DP_PEER_GONE, args, 3))
			break;
	}
	ep->nevents -= n;
	memmove(ep->events, ep->events + 3 * (size_t)n, ep->nevents * 3 * sizeof(*ep->events));
}

void source_gone(struct dp *dp, uint32_t source, uint32_t epoch, uint32_t why)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		if (!ep)
			continue;
		for (uint32_t k = 0; k < ep->nwatched; k++) {
			uint32_t *w = ep->watched + 2 * (size_t)k;

			if (w[0] != source || (int32_t)(w[1] - epoch) > 0)
				continue;
			endpoint_peer_gone(dp, ep, w[0], w[1], why);
			ep->nwatched--;
			memcpy(w, ep->watched + 2 * (size_t)ep->nwatched, 2 * sizeof(*w));
			k--;
		}
	}
}

/* ---------------------------------------------------------------- coming and going */

/* Its place in the table of users, or -1. What has ended is charged to nobody: then the place is free. */
static int user_find(const struct dp *dp, uint32_t uid, bool trusted)
{
	int unused = -1;

	for (int i = 0; i < DP_USERS_MAX; i++) {
		const struct dp_user *u = &dp->users[i];

		if (!u->endpoints && !u->lanes && !u->requests && !u->chains)
			unused = unused < 0 ? i : unused;
		else if (u->uid == uid && u->trusted == trusted)
			return i;
	}
	return unused;
}

int dp_endpoint_add(struct dp *dp, const struct dp_attach *a, uint32_t *endpoint, uint32_t *epoch)
{
	struct dp_endpoint *ep;
	uint32_t i;
	int rc, user;

	if (a->kind == CTL_KIND_SERVICE && service_find(dp, a->name))
		return -EEXIST;
	user = user_find(dp, a->uid, a->trusted);
	if (user < 0)
		return -EUSERS;
	for (i = 1; i < DP_ENDPOINTS_MAX && dp->endpoints[i]; i++)
		;
	if (i == DP_ENDPOINTS_MAX)
		return -ENOSPC;
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return -ENOMEM;
	ep->handles = calloc(DP_HANDLES_MAX, sizeof(*ep->handles));
	rc = ep->handles ? channel_open(&ep->ch, a->own, a->peer, a->slots, a->arena) : -ENOMEM;
	if (rc) {
		free(ep->handles);
		free(ep);
		return rc;
	}
	ep->index = i;
	ep->epoch = ++dp->epoch;
	ep->kind = a->kind;
	ep->uid = a->uid;
	ep->user = (uint16_t)user;
	dp->users[user].uid = a->uid;
	dp->users[user].trusted = a->trusted;
	dp->users[user].quota = a->quota;
	dp->users[user].endpoints++;
	ep->pid = a->pid;
	snprintf(ep->name, sizeof(ep->name), "%s", a->name);
	ep->wake_fd = a->wake_fd;
	ep->cookie = a->cookie;
	ep->free_handle = DP_NONE;
	list_init(&ep->from_list);
	list_init(&ep->to_list);
	dp->endpoints[i] = ep;
	dp->nendpoints++;
	ring_link(dp, ep, true);
	endpoint_activate(dp, ep);
	dp->counters[DPC_ENDPOINTS] = dp->nendpoints;
	dp_count(dp, DPC_ATTACHED);
	*endpoint = i;
	*epoch = ep->epoch;
	return 0;
}

static void endpoint_free(struct dp_endpoint *ep)
{
	free(ep->handles);
	free(ep->granted);
	free(ep->watched);
	free(ep->events);
	free(ep);
}

int dp_endpoint_close(struct dp *dp, uint32_t endpoint, uint32_t epoch, uint32_t why)
{
	struct dp_endpoint *ep = endpoint < DP_ENDPOINTS_MAX ? dp->endpoints[endpoint] : NULL;
	uint32_t source = dp_source(dp, endpoint);
	void *cookie;

	if (!ep || ep->epoch != epoch)
		return -ENOENT;
	/* phase one: nothing is routed to it or taken from it any more */
	ep->poison = true;
	ring_unlink(dp, ep);
	/* still in the table: a request that it had put to itself is on both of its lists */
	pendings_of_gone(dp, &ep->from_list, &ep->to_list, STATUS_PEER_DIED);
	dp->endpoints[endpoint] = NULL;
	dp->nendpoints--;
	for (unsigned i = 0; i < DP_LANES_MAX; i++)
		if (ep->lanes[i])
			lane_free(dp, ep, ep->lanes[i]);
	regions_of_close(dp, endpoint, epoch);
	/* a handle to an endpoint of the other node needs nothing; tell the nodes that know this one */
	for (uint32_t i = 0; i < dp->nlinks; i++) {
		struct dp_link *l = dp->link_list[i];
		struct proto_msg m;

		/* it must be said: without a buffer left the link goes down, which says the same */
		if (l->state != LINK_UP)
			continue;
		proto_request_init(&m, OP_LINK_PEER_GONE);
		m.arg[0] = source;
		m.arg[1] = epoch;
		m.arg[2] = why;
		m.nargs = 3;
		link_send(dp, l, &m, NULL);
	}
	source_gone(dp, source, epoch, why);
	/* phase two: chains that still name its regions hold those by reference; the halves are free */
	cookie = ep->cookie;
	dp->users[ep->user].endpoints--;
	endpoint_free(ep);
	dp->counters[DPC_ENDPOINTS] = dp->nendpoints;
	dp_count(dp, DPC_CLOSED);
	if (dp->conf.endpoint_unused)
		dp->conf.endpoint_unused(dp->conf.arg, endpoint, epoch, cookie);
	return 0;
}

/* ---------------------------------------------------------------- one turn */

/* Take what an endpoint has written. */
static unsigned endpoint_drain(struct dp *dp, struct dp_endpoint *ep)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	unsigned done = 0;
	bool stuck = false;
	uint16_t magic;
	int n;

	if (ep->nevents) {
		events_retry(dp, ep);
		stuck = ep->nevents != 0;
	}
	while (done < DP_BUDGET && !ep->poison) {
		if (!ep->build_ready && !channel_pending(&ep->ch))
			break;
		stuck = true;
		/* what is taken can always be answered */
		if (!endpoint_room(dp, ep, DP_DRAIN_SLOTS, DP_DRAIN_BYTES))
			break;
		if (ep->build_ready) {
			if (!chain_submit(dp, ep))
				break;
			continue;
		}
		stuck = false;
		n = channel_pop(&ep->ch, slots);
		if (n <= 0) {
			if (n < 0) {
				dp_count(dp, DPC_BAD_RING);
				endpoint_poison(dp, ep, "its ring makes no sense");
			}
			break;
		}
		/* before it takes effect: what counts as not taken was never executed */
		channel_taken(&ep->ch);
		memcpy(&magic, slots, sizeof(magic));
		if (magic == PROTO_VERB_MAGIC) {
			if (!chain_take(dp, ep, slots, (unsigned)n))
				break;
		} else {
			route_message(dp, ep, slots, (unsigned)n);
		}
		done++;
	}
	if (done && !ep->poison) {
		channel_consumed(&ep->ch);
		ep->active_ns = dp->now;
	}
	if (done || !stuck || ep->poison) {
		ep->stalled_ns = 0;
	} else if (!ep->stalled_ns) {
		ep->stalled_ns = dp->now;
		dp_count(dp, DPC_STALLS);
	}
	return done;
}

static void endpoint_wake(struct dp *dp, struct dp_endpoint *ep)
{
	uint32_t taken;

	ep->dirty = false;
	if (!channel_wants_wake(&ep->ch))
		return;
	/* It sleeps, or has not run since it was woken: before it can sleep again it takes what it was woken for. If it had
	 * taken that already, between the push and this look, it finds nothing and sleeps again as it was. */
	taken = __atomic_load_n(&ep->ch.peer->consumed_slots, __ATOMIC_ACQUIRE);
	if (ep->woken && ep->woken_at == taken)
		return;
	ep->woken = taken != ep->ch.tx_head;
	ep->woken_at = taken;
	dp_count(dp, DPC_WAKES);
	if (ep->wake_fd >= 0 && dp->conf.wake)
		dp->conf.wake(dp->conf.arg, ep->wake_fd);
}

/* How most looks at an endpoint end. */
static inline bool endpoint_quiet(const struct dp_endpoint *ep)
{
	return !channel_pending(&ep->ch) && !ep->build_ready && !ep->nevents;
}

static unsigned endpoints_run(struct dp *dp)
{
	struct dp_endpoint *ep = dp->active, *last = ep ? ep->prev : NULL, *next;
	unsigned done = 0;

	for (; ep; ep = next) {
		next = ep == last ? NULL : ep->next;
		if (!endpoint_quiet(ep)) {
			done += endpoint_drain(dp, ep);
			continue;
		}
		ep->stalled_ns = 0;
		if (dp->now - ep->active_ns > DP_IDLE_AFTER_NS && !ep->again) {
			ring_unlink(dp, ep);
			ring_link(dp, ep, true);
		}
	}
	/* the idle ones share one look a turn */
	ep = dp->idle_next ? dp->idle_next : dp->idle;
	if (ep) {
		dp->idle_next = ep->next;
		if (channel_pending(&ep->ch) || ep->nevents) {
			endpoint_activate(dp, ep);
			done += endpoint_drain(dp, ep);
		}
	}
	return done;
}

static void endpoints_flush(struct dp *dp)
{
	struct dp_endpoint *first = dp->active, *ep = first;

	if (!dp->dirty || !ep)
		return;
	dp->dirty = false;
	do {
		if (ep->dirty)
			endpoint_wake(dp, ep);
		ep = ep->next;
	} while (ep != first);
}

/* Room came back at a service that had none: tell who was refused. */
static void again_check(struct dp *dp)
{
	struct dp_endpoint *first = dp->active, *ep = first;
	bool full = false;

	if (!ep)
		return;
	do {
		if (ep->again && endpoint_room(dp, ep, DP_REPLY_SLOTS * 4, DP_DRAIN_BYTES * 2)) {
			ep->again = false;
			credit_arrived(dp, dp->conf.node, ep->index);
			for (uint32_t i = 0; i < dp->nlinks; i++) {
				struct dp_link *l = dp->link_list[i];
				uint8_t bit = (uint8_t)(1 << (l->peer.node & 7));
				struct proto_msg m;

				if (!(ep->again_nodes[l->peer.node >> 3] & bit))
					continue;
				if (l->state == LINK_UP && !link_can_send(l, true)) {
					ep->again = true;
					continue;
				}
				ep->again_nodes[l->peer.node >> 3] &= (uint8_t)~bit;
				if (l->state != LINK_UP)
					continue;
				proto_request_init(&m, OP_LINK_CREDIT);
				m.arg[0] = ep->index;
				m.arg[1] = ep->epoch;
				m.arg[2] = DP_CREDITS;
				m.nargs = 3;
				link_send(dp, l, &m, NULL);
			}
		}
		full |= ep->again;
		ep = ep->next;
	} while (ep != first);
	dp->full = full;
}

/* Close what turned out broken during the turn. */
static void poisoned_reap(struct dp *dp)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		if (ep && ep->poison)
			dp_endpoint_close(dp, ep->index, ep->epoch, GONE_POISONED);
	}
}

unsigned dp_poll(struct dp *dp, uint64_t now_ns)
{
	unsigned done = 0;

	dp->now = now_ns;
	dp->delivered = dp->used = false;
	/* first what local processes ask for: they had the core until now and cannot go on without us */
	done += endpoints_run(dp);
	dp->used = done > 0;
	if (done && dp->roce)
		done += links_output(dp);
	if (dp->roce) {
		done += roce_input(dp->roce, now_ns, DP_INPUT_BUDGET);
		roce_timers(dp->roce, now_ns);
		if (dp->rx_len || dp->nmads)
			done += links_run(dp);
		if (dp->answered) {
			dp->answered = false;
			done += links_output(dp);
		}
	}
	if (dp->busy_head) {
		done += lanes_local_run(dp);
		dp->used = true;
	}
	if (dp->full)
		again_check(dp);
	if (now_ns - dp->ticked_ns >= DP_TICK_NS)
		links_tick(dp);
	usage_tick(dp);
	if (dp->ndeadlines)
		pending_deadlines(dp);
	if (dp->doomed) {
		dp->doomed = false;
		doomed_reap(dp);
		poisoned_reap(dp);
	}
	if (dp->roce) {
		done += links_output(dp);
		netif_tick(dp->nif, now_ns);
	}
	endpoints_flush(dp);
	if (dp_traced(dp))
		trace_publish(dp);
	dp_count(dp, DPC_TURNS);
	if (done)
		dp_count(dp, DPC_BUSY_TURNS);
	/* more is to come, even where this turn moved acknowledgements only */
	dp->used |= done && !dp_quiet(dp);
	return done;
}

/* A full endpoint that makes room need not wake us: when to look again. */
static uint64_t next_look(const struct dp *dp)
{
	const struct dp_endpoint *first = dp->active, *ep = first;
	uint64_t shortest = UINT64_MAX;

	if (!ep)
		return UINT64_MAX;
	do {
		uint64_t since = ep->stalled_ns ? ep->stalled_ns : ep->again ? ep->again_ns : dp->now;
		uint64_t lasted = dp->now - since;

		if (lasted < DP_LOOK_MIN_NS)
			lasted = DP_LOOK_MIN_NS;
		if (lasted > DP_LOOK_MAX_NS)
			lasted = DP_LOOK_MAX_NS;
		if ((ep->stalled_ns || ep->again) && lasted < shortest)
			shortest = lasted;
		ep = ep->next;
	} while (ep != first);
	return shortest == UINT64_MAX ? shortest : dp->now + shortest;
}

bool dp_delivered(const struct dp *dp)
{
	return dp->delivered;
}

bool dp_used(const struct dp *dp)
{
	return dp->used;
}

uint64_t dp_next_timer(const struct dp *dp)
{
	uint64_t t = links_next_timer(dp), look;

	if (dp->roce && roce_next_timer(dp->roce) < t)
		t = roce_next_timer(dp->roce);
	if (dp->ndeadlines && dp->deadline_scan_ns < t)
		t = dp->deadline_scan_ns;
	look = next_look(dp);
	return look < t ? look : t;
}

bool dp_sleep_begin(struct dp *dp)
{
	bool sleep = !dp->busy_head && !(dp->roce && roce_output_pending(dp->roce));

	for (unsigned i = 0; sleep && i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		/* one that has no room would keep us awake for as long as it likes */
		if (ep && !ep->stalled_ns &&
		    (ep->build_ready || ep->nevents || !channel_sleep_begin(&ep->ch))) {
			if (channel_pending(&ep->ch))
				endpoint_activate(dp, ep);
			sleep = false;
		}
	}
	if (sleep && dp->port && dp->port->ops->arm(dp->port) == 1)
		sleep = false;
	dp->sleep_until = sleep ? dp_next_timer(dp) : 0;
	if (!sleep)
		dp_sleep_end(dp);
	else if (dp->slots && dp->now - dp->usage_ns > DP_TICK_NS)
		usage_publish(dp);
	return sleep;
}

void dp_sleep_end(struct dp *dp)
{
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++) {
		struct dp_endpoint *ep = dp->endpoints[i];

		if (!ep)
			continue;
		channel_sleep_end(&ep->ch);
		if (channel_pending(&ep->ch))
			endpoint_activate(dp, ep);
	}
}

/* ---------------------------------------------------------------- making and ending */

struct dp *dp_new(const struct dp_conf *conf, struct port *port, uint64_t now_ns)
{
	struct dp *dp = calloc(1, sizeof(*dp));
	uint16_t udp = conf->udp_port ? conf->udp_port : ROCE_UDP_PORT;

	if (!dp)
		return NULL;
	dp->conf = *conf;
	dp->conf.peers = NULL;
	if (!dp->conf.heartbeat_ms)
		dp->conf.heartbeat_ms = PROTO_HEARTBEAT_DEFAULT;
	if (!dp->conf.verb_depth || dp->conf.verb_depth > ROCE_DEPTH_MAX)
		dp->conf.verb_depth = 64;
	dp->now = now_ns;
	dp->ticked_ns = now_ns;
	dp->rng = conf->seed;
	dp->counters = dp->own_counters;
	/* epochs rise over restarts too: a hundred attaches a second are fewer than the clock's steps */
	dp->epoch = conf->epoch ? conf->epoch : (uint32_t)(now_ns / 10000000u);
	/* later lives are larger, attempts of a life too: what comes late is told from what is new */
	dp->incarnation = (uint64_t)dp->epoch << 32 | (uint32_t)dp_random(dp) | 1;
	dp->next_tid = dp_random(dp) >> 1 | 1;
	dp->pending = calloc(DP_PENDING_MAX, sizeof(*dp->pending));
	dp->chains = calloc(DP_CHAINS_MAX, sizeof(*dp->chains));
	dp->fences = calloc(DP_ENDPOINTS_MAX, sizeof(*dp->fences));
	if (!dp->pending || !dp->chains || !dp->fences)
		goto fail;
	pending_init(dp);
	chain_init(dp);
	for (unsigned i = 0; i < DP_REGIONS_MAX; i++)
		dp->regions[i].gen = (uint32_t)dp_random(dp) & 0xfffff;
	if (port) {
		struct roce_dev_conf rc = {.address = conf->address,
					   .udp_port = udp,
					   .max_qps = 4096,
					   .seed = dp_random(dp)};

		dp->port = port;
		dp->nif = netif_new(port, conf->address, udp);
		dp->roce = dp->nif ? roce_dev_new(&rc, dp->nif, &dp_roce_host, dp) : NULL;
		if (!dp->roce)
			goto fail;
	}
	for (unsigned i = 0; i < conf->npeers && i < DP_PEERS_MAX; i++) {
		struct dp_link *l;

		if (!conf->peers[i].node || conf->peers[i].node == conf->node ||
		    dp->links[conf->peers[i].node])
			continue;
		l = calloc(1, sizeof(*l));
		if (!l)
			goto fail;
		l->dp = dp;
		l->peer = conf->peers[i];
		dp->links[l->peer.node] = l;
		dp->link_list[dp->nlinks++] = l;
	}
	if (links_init(dp))
		goto fail;
	return dp;
fail:
	dp_delete(dp);
	return NULL;
}

void dp_delete(struct dp *dp)
{
	if (!dp)
		return;
	for (unsigned i = 0; i < DP_ENDPOINTS_MAX; i++)
		if (dp->endpoints[i])
			dp_endpoint_close(dp, i, dp->endpoints[i]->epoch, GONE_CLOSED);
	links_free(dp);
	if (dp->roce)
		roce_dev_delete(dp->roce);
	if (dp->nif)
		netif_delete(dp->nif);
	free(dp->pending);
	free(dp->chains);
	free(dp->fences);
	free(dp);
}

uint64_t dp_incarnation(const struct dp *dp)
{
	return dp->incarnation;
}

bool dp_link_up(const struct dp *dp, uint8_t node)
{
	return dp->links[node] && dp->links[node]->state == LINK_UP;
}

bool dp_service_there(struct dp *dp, const char *name)
{
	return service_find(dp, name) != NULL;
}

#ifdef ATOLL_PLANTED_BUGS
unsigned dp_planted;
#endif
