/* SPDX-License-Identifier: Apache-2.0 */
/* Records of an endpoint: requests, replies, chains, polling. The session is in session.c. */
#include "ipc/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/endpoint_impl.h"

#define NONE 0xffff
enum { CALL_WAITING = 1, CALL_ABANDONED = 2 }; /* ep_pending.call */
#define CHECK_EVERY 256	    /* empty polls between looks at the clock */
#define CHECK_NS 1000000ull /* between looks at the control socket */

static void pending_init(struct ep_pending *t, unsigned n, uint16_t *free_list)
{
	for (unsigned i = 0; i < n; i++) {
		t[i].used = 0;
		t[i].gen = 1;
		t[i].next = (uint16_t)(i + 1 < n ? i + 1 : NONE);
	}
	*free_list = 0;
}

static struct ep_pending *pending_take(struct ep_pending *t, uint16_t *free_list, uint64_t *id)
{
	uint16_t i = *free_list;

	if (i == NONE)
		return NULL;
	*free_list = t[i].next;
	t[i].used = 1;
	t[i].call = 0;
	t[i].state = EP_LIVE;
	*id = (uint64_t)t[i].gen << 32 | i;
	return &t[i];
}

static void pending_put(struct ep_pending *t, struct ep_pending *p, uint16_t *free_list)
{
	p->used = 0;
	p->gen++;
	p->next = *free_list;
	*free_list = (uint16_t)(p - t);
}

static struct ep_pending *pending_find(struct ep_pending *t, unsigned n, uint64_t id)
{
	uint32_t i = (uint32_t)id;

	return i < n && t[i].used && t[i].gen == (uint32_t)(id >> 32) ? &t[i] : NULL;
}

struct atoll_endpoint *endpoint_new(void)
{
	struct atoll_endpoint *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return NULL;
	ep->sock = ep->wake_fd = ep->event_fd = -1;
	pending_init(ep->requests, EP_REQUESTS, &ep->request_free);
	pending_init(ep->chains, EP_CHAINS, &ep->chain_free);
	idle_init(&ep->idle, IDLE_MODE_AUTO, false);
	return ep;
}

int endpoint_bind(struct atoll_endpoint *ep, void *own, const void *peer, uint32_t slots,
		  uint32_t arena)
{
	int rc = channel_open(&ep->ch, own, peer, slots, arena);

	if (rc)
		return rc;
	ep->lost = false;
	ep->broken = 0;
	ep->dirty = false;
	return 0;
}

void atoll_set_handlers(struct atoll_endpoint *ep, const struct atoll_handlers *h, void *ctx)
{
	ep->handlers = *h;
	ep->ctx = ctx;
}

uint32_t atoll_source(const struct atoll_endpoint *ep)
{
	return ep->source;
}

uint32_t atoll_epoch(const struct atoll_endpoint *ep)
{
	return ep->epoch;
}

uint32_t atoll_node(const struct atoll_endpoint *ep)
{
	return ep->source >> 24;
}

uint64_t atoll_incarnation(const struct atoll_endpoint *ep)
{
	return ep->incarnation;
}

/* ---------------------------------------------------------------- sending */

static int message_put(struct atoll_endpoint *ep, struct proto_msg *m, const void *payload)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	unsigned n;
	int room;

	if (ep->lost)
		return -ENOTCONN;
	if (m->length > CHANNEL_PAYLOAD_MAX || (m->length && !payload) ||
	    m->nargs > PROTO_ARGS_MAX)
		return -EINVAL;
	n = proto_msg_slots(m);
	room = channel_room(&ep->ch, n, m->length);
	if (room <= 0) {
		if (room < 0)
			ep->broken = room;
		return room < 0 ? -ENOTCONN : -EAGAIN;
	}
	m->payload = 0;
	if (m->length)
		memcpy(channel_payload_alloc(&ep->ch, m->length, &m->payload), payload, m->length);
	n = proto_msg_pack(m, slots);
	channel_push(&ep->ch, slots, n);
	ep->dirty = true;
	return 0;
}

static int request_put(struct atoll_endpoint *ep, struct atoll_handle dst,
		       const struct proto_msg *m, const void *payload, uint64_t cookie,
		       struct ep_pending **out)
{
	struct ep_pending *p = NULL;
	struct proto_msg r = *m;
	uint64_t id = 0;
	int rc;

	if (m->flags & (uint16_t)~MESSAGE_FLAG_ASYNC || m->max_reply > CHANNEL_PAYLOAD_MAX)
		return -EINVAL;
	if (ep->lost)
		return -ENOTCONN;
	if (!(m->flags & MESSAGE_FLAG_ASYNC)) {
		p = pending_take(ep->requests, &ep->request_free, &id);
		if (!p)
			return -EAGAIN;
		p->cookie = cookie;
		p->pos = ep->ch.tx_head;
	}
	r.req_id = id;
	r.dst_slot = dst.slot;
	r.dst_gen = dst.gen;
	r.src = r.src_epoch = 0;
	r.status = 0;
	rc = message_put(ep, &r, payload);
	if (rc && p)
		pending_put(ep->requests, p, &ep->request_free);
	if (!rc && out)
		*out = p;
	return rc;
}

int atoll_request(struct atoll_endpoint *ep, struct atoll_handle dst, const struct proto_msg *m,
		  const void *payload, uint64_t cookie)
{
	return request_put(ep, dst, m, payload, cookie, NULL);
}

int atoll_reply(struct atoll_endpoint *ep, uint64_t token, const struct proto_msg *m,
		const void *payload)
{
	struct proto_msg r = *m;

	r.flags = MESSAGE_FLAG_REPLY;
	r.req_id = token;
	r.dst_slot = r.dst_gen = 0;
	r.src = r.src_epoch = 0;
	r.max_reply = 0;
	r.budget_us = 0;
	return message_put(ep, &r, payload);
}

int atoll_post(struct atoll_endpoint *ep, uint32_t lane, const struct verb *chain, unsigned n,
	       uint64_t cookie)
{
	struct ep_pending *p;
	uint32_t slots = 0;
	uint64_t id;
	int room;

	if (ep->lost)
		return -ENOTCONN;
	if (lane >= EP_LANES || !ep->lanes[lane].used || verbs_chain_check(chain, n))
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		slots += chain[i].op >= VERB_CAS ? 2 : 1;
	room = channel_room(&ep->ch, slots, 0);
	if (room <= 0) {
		if (room < 0)
			ep->broken = room;
		return room < 0 ? -ENOTCONN : -EAGAIN;
	}
	/* a completion always has a place to be kept until the provider's poll */
	if (ep->chains_out + (ep->done_tail - ep->done_head) >= EP_DONE)
		return -EAGAIN;
	p = pending_take(ep->chains, &ep->chain_free, &id);
	if (!p)
		return -EAGAIN;
	ep->chains_out++;
	p->cookie = cookie;
	p->pos = ep->ch.tx_head;
	p->count = (uint8_t)n;
	p->lane = (uint16_t)lane;
	for (unsigned i = 0; i < n; i++) {
		const struct verb *v = &chain[i];
		struct {
			struct proto_verb head;
			struct proto_verb_operands more;
		} r;
		unsigned k = v->op >= VERB_CAS ? 2 : 1;

		r.head = (struct proto_verb){
			.magic = PROTO_VERB_MAGIC,
			.major = PROTO_MAJOR,
			.slots = (uint8_t)k,
			.op = v->op,
			.flags = (uint8_t)(v->flags | (i + 1 == n ? VERB_FLAG_CHAIN_END : 0)),
			.lane = (uint16_t)ep->lanes[lane].number,
			.len = v->len,
			.cookie = id,
			.remote_slot = v->remote.slot,
			.remote_gen = v->remote.gen,
			.remote_offset = v->remote_offset,
			.local_slot = v->local.slot,
			.local_gen = v->local.gen,
			.local_offset = v->local_offset,
		};
		if (k == 2)
			r.more = (struct proto_verb_operands){
				.compare = v->op == VERB_CAS ? v->compare : 0,
				.swap = v->swap,
			};
		channel_push(&ep->ch, &r, k);
	}
	ep->dirty = true;
	return 0;
}

void atoll_flush(struct atoll_endpoint *ep)
{
	uint64_t one = 1;

	if (!ep->dirty)
		return;
	ep->dirty = false;
	if (ep->wake_fd >= 0 && channel_wants_wake(&ep->ch))
		while (write(ep->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

/* ---------------------------------------------------------------- receiving */

static void completion_deliver(struct atoll_endpoint *ep, const struct verb_completion *c)
{
	ep->chains_out--;
	if (ep->verbs_taken)
		ep->done[ep->done_tail++ % EP_DONE] = *c;
	else if (ep->handlers.completion)
		ep->handlers.completion(ep->ctx, c);
}

static void reply_deliver(struct atoll_endpoint *ep, struct ep_pending *p, const struct proto_msg *m,
			  const void *payload)
{
	uint64_t cookie = p->cookie;
	uint8_t call = p->call;

	pending_put(ep->requests, p, &ep->request_free);
	if (call == CALL_ABANDONED)
		return;
	if (call) {
		*ep->call_reply = *m;
		if (m->length && payload && m->length <= ep->call_room)
			memcpy(ep->call_buf, payload, m->length);
		ep->call_done = true;
	} else if (ep->handlers.reply) {
		ep->handlers.reply(ep->ctx, cookie, m, payload);
	}
}

/* The dataplane checked what every message must keep; what its opcode says is checked here. */
static void request_deliver(struct atoll_endpoint *ep, const struct proto_msg *m,
			    const void *payload)
{
	struct proto_msg r = {.opcode = m->opcode, .status = STATUS_UNSUPPORTED};

	if (ep->handlers.request && (!proto_op_find(m->opcode) ||
				     (r.status = proto_message_check(m, PROTO_TO_SERVICE)) == STATUS_OK) &&
	    (!payload || (r.status = proto_payload_check(m, payload)) == STATUS_OK))
		ep->handlers.request(ep->ctx, m, payload);
	else if (!(m->flags & MESSAGE_FLAG_ASYNC))
		atoll_reply(ep, m->req_id, &r, NULL);
}

static void completion_take(struct atoll_endpoint *ep, const void *slots)
{
	struct proto_completion c;
	struct verb_completion out;
	struct ep_pending *p;

	memcpy(&c, slots, sizeof(c));
	p = pending_find(ep->chains, EP_CHAINS, c.cookie);
	if (!p || p->state != EP_LIVE)
		return;
	out.cookie = p->cookie;
	out.count = p->count;
	memcpy(out.status, c.status, sizeof(out.status));
	pending_put(ep->chains, p, &ep->chain_free);
	completion_deliver(ep, &out);
}

/* Takes one record; 1, 0 or -EPROTO. */
static int record_take(struct atoll_endpoint *ep)
{
	uint64_t slots[CHANNEL_RECORD_SLOTS * 8];
	const void *payload = NULL;
	struct ep_pending *p;
	struct proto_msg m;
	uint16_t magic;
	int n = channel_pop(&ep->ch, slots);

	if (n <= 0)
		return n;
	memcpy(&magic, slots, sizeof(magic));
	if (magic == PROTO_COMPLETION_MAGIC) {
		completion_take(ep, slots);
		return 1;
	}
	if (magic != PROTO_MESSAGE_MAGIC)
		return -EPROTO;
	proto_msg_unpack(slots, (unsigned)n, &m);
	if (m.length) {
		payload = channel_payload(&ep->ch, m.payload, m.length);
		if (!payload)
			return -EPROTO;
	}
	if (m.flags & MESSAGE_FLAG_REPLY) {
		p = pending_find(ep->requests, EP_REQUESTS, m.req_id);
		if (proto_op_find(m.opcode) && m.status == STATUS_OK &&
		    proto_message_check(&m, PROTO_TO_CLIENT) != STATUS_OK) {
			m.status = STATUS_FAILED; /* the service answers nonsense */
			m.length = 0;
		}
		if (p && p->state == EP_LIVE)
			reply_deliver(ep, p, &m, payload);
	} else if (m.flags & MESSAGE_FLAG_EVENT) {
		if (ep->handlers.event && proto_message_check(&m, PROTO_TO_CLIENT) == STATUS_OK)
			ep->handlers.event(ep->ctx, &m);
	} else {
		request_deliver(ep, &m, payload);
	}
	return 1;
}

void endpoint_check_lost(struct atoll_endpoint *ep, uint64_t now_ns)
{
	struct pollfd p = {.fd = ep->sock, .events = POLLIN};

	ep->checked_ns = now_ns;
	if (ep->sock >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)))
		ep->lost = true;
}

int atoll_poll(struct atoll_endpoint *ep, unsigned budget)
{
	unsigned done = 0;
	int n;

	atoll_flush(ep);
	if (ep->broken)
		return ep->broken;
	while (done < budget) {
		n = record_take(ep);
		if (n == 0)
			break;
		if (n < 0) {
			ep->broken = n;
			break;
		}
		done++;
	}
	if (done) {
		channel_consumed(&ep->ch);
		ep->empty_polls = 0;
		atoll_flush(ep);
		return (int)done;
	}
	if (ep->broken)
		return ep->broken;
	if (++ep->empty_polls % CHECK_EVERY == 0 && !ep->lost) {
		uint64_t now = clock_now_ns();

		if (now - ep->checked_ns > CHECK_NS)
			endpoint_check_lost(ep, now);
	}
	/* what the old dataplane had put on the ring has been delivered: now say so */
	return ep->lost ? -ENOTCONN : 0;
}

/* ---------------------------------------------------------------- loss of the session */

static void mark(struct ep_pending *t, unsigned n, uint32_t taken)
{
	for (unsigned i = 0; i < n; i++)
		if (t[i].used && t[i].state == EP_LIVE)
			t[i].state = (int32_t)(t[i].pos - taken) >= 0 ? EP_LOST_UNTAKEN :
									EP_LOST_TAKEN;
}

void endpoint_mark_lost(struct atoll_endpoint *ep)
{
	uint32_t taken;

	if (!ep->ch.peer)
		return;
	taken = __atomic_load_n(&ep->ch.peer->consumed_slots, __ATOMIC_ACQUIRE);
	if (taken - ep->ch.tx_consumed > ep->ch.tx_head - ep->ch.tx_consumed)
		taken = ep->ch.tx_head; /* nonsense: assume everything was taken */
	mark(ep->requests, EP_REQUESTS, taken);
	mark(ep->chains, EP_CHAINS, taken);
}

void endpoint_fail_requests(struct atoll_endpoint *ep, uint8_t taken)
{
	for (unsigned i = 0; i < EP_REQUESTS; i++) {
		struct ep_pending *p = &ep->requests[i];
		struct proto_msg m = {.flags = MESSAGE_FLAG_REPLY};

		if (!p->used || p->state == EP_LIVE)
			continue;
		m.status = p->state == EP_LOST_UNTAKEN ? STATUS_NOT_SENT : taken;
		reply_deliver(ep, p, &m, NULL);
	}
}

void endpoint_fail_chains(struct atoll_endpoint *ep, uint8_t taken)
{
	for (unsigned i = 0; i < EP_CHAINS; i++) {
		struct ep_pending *p = &ep->chains[i];
		struct verb_completion c;

		if (!p->used || p->state == EP_LIVE)
			continue;
		memset(&c, 0, sizeof(c));
		c.cookie = p->cookie;
		c.count = p->count;
		memset(c.status, p->state == EP_LOST_UNTAKEN ? STATUS_NOT_SENT : taken, p->count);
		pending_put(ep->chains, p, &ep->chain_free);
		completion_deliver(ep, &c);
	}
}

/* ---------------------------------------------------------------- waiting */

bool atoll_sleep_begin(struct atoll_endpoint *ep)
{
	return !ep->lost && !ep->broken && channel_sleep_begin(&ep->ch);
}

void atoll_sleep_end(struct atoll_endpoint *ep)
{
	char wakes[64];

	channel_sleep_end(&ep->ch);
	if (ep->event_fd >= 0)
		while (read(ep->event_fd, wakes, sizeof(wakes)) == (ssize_t)sizeof(wakes))
			; /* take back all of them: one that stays would end the next sleep at once */
}

int atoll_wait_fds(struct atoll_endpoint *ep, int fds[2])
{
	fds[0] = ep->event_fd;
	fds[1] = ep->sock;
	return 2;
}

bool atoll_idle_wants_sleep(struct atoll_endpoint *ep)
{
	uint64_t now = clock_now_ns();

	if (ep->empty_polls <= 1)
		idle_active(&ep->idle, now, false);
	return idle_step(&ep->idle, now) && ep->event_fd >= 0;
}

void atoll_idle(struct atoll_endpoint *ep, uint64_t timeout_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
			      .tv_nsec = (long)(timeout_ns % 1000000000u)};
	struct pollfd p[2] = {{.fd = ep->event_fd, .events = POLLIN},
			      {.fd = ep->sock, .events = POLLIN}};

	atoll_flush(ep);
	if (timeout_ns == 0 || !atoll_idle_wants_sleep(ep) || !atoll_sleep_begin(ep))
		return;
	if (ppoll(p, 2, &ts, NULL) > 0 && (p[1].revents & (POLLHUP | POLLERR)))
		ep->lost = true;
	atoll_sleep_end(ep);
}

int atoll_call(struct atoll_endpoint *ep, struct atoll_handle dst, const struct proto_msg *m,
	       const void *payload, struct proto_msg *reply, void *buf, int timeout_ms)
{
	uint64_t end = clock_now_ns() + (uint64_t)timeout_ms * 1000000u, id;
	struct ep_pending *p;
	int rc;

	if (ep->call_reply || (m->flags & MESSAGE_FLAG_ASYNC))
		return -EINVAL;
	while ((rc = request_put(ep, dst, m, payload, 0, &p)) == -EAGAIN) {
		rc = atoll_poll(ep, 64);
		if (rc < 0)
			return -ENOTCONN;
		if (clock_now_ns() > end)
			return -ETIMEDOUT;
		if (rc == 0)
			atoll_idle(ep, 1000000);
	}
	if (rc)
		return rc;
	p->call = CALL_WAITING;
	id = (uint64_t)p->gen << 32 | (uint32_t)(p - ep->requests);
	ep->call_reply = reply;
	ep->call_buf = buf;
	ep->call_room = m->max_reply;
	ep->call_done = false;
	for (rc = 0; !ep->call_done;) {
		uint64_t now;
		int n = atoll_poll(ep, 64);

		if (ep->call_done)
			break;
		if (n < 0) {
			p->call = CALL_ABANDONED;
			rc = -ENOTCONN;
			break;
		}
		if (n > 0)
			continue;
		now = clock_now_ns();
		if (now > end) {
			struct proto_msg c = {.opcode = OP_DP_CANCEL,
					      .flags = MESSAGE_FLAG_ASYNC,
					      .arg = {id},
					      .nargs = 1};

			p->call = CALL_ABANDONED;
			atoll_request(ep, ATOLL_DATAPLANE, &c, NULL, 0);
			rc = -ETIMEDOUT;
			break;
		}
		atoll_idle(ep, end - now < 10000000 ? end - now : 10000000);
	}
	ep->call_reply = NULL;
	return rc;
}

int atoll_status_errno(uint32_t status)
{
	switch (status) {
	case STATUS_OK:
		return 0;
	case STATUS_AGAIN:
		return -EAGAIN;
	case STATUS_BAD_MESSAGE:
	case STATUS_ALIGN:
		return -EINVAL;
	case STATUS_BAD_HANDLE:
		return -EBADF;
	case STATUS_NO_RIGHT:
	case STATUS_DENIED:
		return -EACCES;
	case STATUS_RANGE:
		return -ERANGE;
	case STATUS_NOT_FOUND:
		return -ENOENT;
	case STATUS_EXISTS:
		return -EEXIST;
	case STATUS_PEER_DIED:
		return -EPIPE;
	case STATUS_UNREACHABLE:
	case STATUS_NOT_SENT:
		return -EHOSTUNREACH;
	case STATUS_IN_DOUBT:
		return -EINPROGRESS;
	case STATUS_FENCED:
		return -ESTALE;
	case STATUS_CANCELLED:
		return -ECANCELED;
	case STATUS_TIMED_OUT:
		return -ETIMEDOUT;
	case STATUS_TOO_BIG:
		return -EMSGSIZE;
	case STATUS_LIMIT:
		return -ENOSPC;
	case STATUS_UNSUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

/* ---------------------------------------------------------------- verbs provider */

static struct atoll_endpoint *from_verbs(struct verbs *v)
{
	return (struct atoll_endpoint *)((char *)v - offsetof(struct atoll_endpoint, verbs));
}

static int provider_post(struct verbs *v, uint32_t lane, const struct verb *chain, unsigned n,
			 uint64_t cookie)
{
	return atoll_post(from_verbs(v), lane, chain, n, cookie);
}

static void provider_flush(struct verbs *v)
{
	atoll_flush(from_verbs(v));
}

static int provider_poll(struct verbs *v, struct verb_completion *out, unsigned max)
{
	struct atoll_endpoint *ep = from_verbs(v);
	unsigned n = 0;
	int rc = 0;

	if (ep->done_head == ep->done_tail)
		rc = atoll_poll(ep, max);
	while (n < max && ep->done_head != ep->done_tail)
		out[n++] = ep->done[ep->done_head++ % EP_DONE];
	return n ? (int)n : rc < 0 ? rc : 0;
}

static void provider_idle(struct verbs *v)
{
	atoll_idle(from_verbs(v), 1000000);
}

static const struct verbs_ops provider_ops = {
	.post = provider_post,
	.flush = provider_flush,
	.poll = provider_poll,
	.idle = provider_idle,
};

struct verbs *atoll_verbs(struct atoll_endpoint *ep)
{
	ep->verbs.ops = &provider_ops;
	ep->verbs_taken = true;
	return &ep->verbs;
}
