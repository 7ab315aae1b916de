/* SPDX-License-Identifier: Apache-2.0 */
/* A session: its endpoint, its batches and their answers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clients/gpu/gpu_impl.h"
#include "ipc/idle.h"

enum {
	ANSWER_MS = 5000,
	LINK_MS = 3000,
	LINK_PAUSE_US = 20000,
	IDLE_NS = 1000000,
	SENT_EAGER = 2, /* fewer on the way: a call is sent at once */
	WINDOW_TRIES = 64,
};

/* Where device memory may lie: addresses that neither the C library nor the kernel like to use. */
#define WINDOW_FIRST 0x200000000000ull
#define WINDOW_STEP  (1ull << 38)
#define WINDOW_SIZE  (1ull << 36)

void link_lose(struct gpu *g, const char *why)
{
	if (!g->fault)
		g->fault = GPUE_UNAVAILABLE;
	if (!g->lost)
		fprintf(stderr, "atoll-gpu: %s is lost: %s\n", g->name, why);
	g->lost = true;
}

/* ------------------------------------------------------------------ answers */

static struct batch *batch_of(struct gpu *g, uint64_t seq)
{
	return &g->ring[seq % LINK_BATCHES];
}

static void batch_done(struct gpu *g, struct batch *b)
{
	b->state = BATCH_DONE;
	g->slots_free |= b->slots;
	b->slots = 0;
	while (g->first < g->next && batch_of(g, g->first)->state == BATCH_DONE) {
		g->done = g->first;
		g->first++;
	}
}

static void take_error(struct gpu *g, struct batch *b, const struct proto_msg *m, const void *payload)
{
	uint32_t n = m->length < LINK_TEXT ? m->length : LINK_TEXT;
	int error = (int)(uint32_t)m->arg[REPLY_GPU_CALLS_ERROR];
	bool own = b->wants && m->arg[REPLY_GPU_CALLS_RESULT] == m->arg[REPLY_GPU_CALLS_ERROR];

	memcpy(g->text, payload, n);
	g->text[n] = 0;
	if (m->arg[REPLY_GPU_CALLS_STATE] & GPU_STATE_STICKY) {
		if (!g->fault && n)
			fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, g->text);
		if (!g->fault)
			g->fault = error;
	} else {
		if (!g->late && !own) /* who waits for the call is told by its result */
			g->late = error;
		if (n && !own)
			fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, g->text);
	}
}

static void on_reply(void *ctx, uint64_t seq, const struct proto_msg *m, const void *payload)
{
	struct gpu *g = ctx;
	struct batch *b;

	if (seq < g->first || seq >= g->next || batch_of(g, seq)->state != BATCH_SENT)
		return;
	b = batch_of(g, seq);
	g->sent--;
	switch (m->status) {
	case STATUS_OK:
		g->printed |= (m->arg[REPLY_GPU_CALLS_STATE] & GPU_STATE_PRINTED) != 0;
		if (m->arg[REPLY_GPU_CALLS_ERROR])
			take_error(g, b, m, payload);
		if (b->wants) {
			b->wants->result = (int)(uint32_t)m->arg[REPLY_GPU_CALLS_RESULT];
			b->wants->size = m->arg[REPLY_GPU_CALLS_ERROR] ? 0 : m->length;
			memcpy(b->wants->data, payload, b->wants->size);
		}
		batch_done(g, b);
		break;
	case STATUS_AGAIN:     /* no room there, or no credit */
	case STATUS_CANCELLED: /* came before one that had no room */
		b->state = BATCH_REFUSED;
		g->stalled = true;
		break;
	default:
		link_lose(g, proto_status_text(m->status));
	}
}

static void on_completion(void *ctx, const struct verb_completion *c)
{
	struct gpu *g = ctx;

	if (c->cookie >= SLOTS)
		return;
	g->verb_status[c->cookie] = c->status[0];
	g->verbs_out &= ~(1u << c->cookie);
	if (c->status[0] != STATUS_OK)
		link_lose(g, proto_status_text(c->status[0]));
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct gpu *g = ctx;

	if (m->opcode != OP_DP_GRANTED)
		return;
	g->bounce = (struct atoll_handle){(uint32_t)m->arg[ARG_DP_GRANTED_SLOT],
					  (uint32_t)m->arg[ARG_DP_GRANTED_GEN]};
	g->bounce_granted = m->arg[ARG_DP_GRANTED_SIZE];
}

/* ------------------------------------------------------------------ sending */

static void batch_send(struct gpu *g, struct batch *b)
{
	struct proto_msg m;
	int rc;

	proto_request_init(&m, OP_GPU_CALLS);
	m.arg[ARG_GPU_CALLS_SESSION] = g->session;
	m.arg[ARG_GPU_CALLS_SEQ] = b->seq;
	m.nargs = 2;
	m.length = b->length;
	m.max_reply = b->wants ? GPU_BATCH_MAX : LINK_TEXT;
	rc = g->stalled ? -EAGAIN : atoll_request(g->ep, g->service, &m, b->calls, b->seq);
	if (rc == 0) {
		b->state = BATCH_SENT;
		g->sent++;
		g->batches++;
	} else if (rc == -EAGAIN) {
		b->state = BATCH_REFUSED;
		g->stalled = true;
	} else {
		b->state = BATCH_REFUSED;
		link_lose(g, strerror(-rc));
	}
}

void link_flush(struct gpu *g)
{
	struct batch *b = g->open;

	if (!b || !b->length)
		return;
	g->open = NULL;
	batch_send(g, b);
	if (!g->lost)
		atoll_flush(g->ep);
}

/* What was refused goes out again, in order, once nothing else is on the way. */
static void resend(struct gpu *g)
{
	if (!g->stalled || g->sent)
		return;
	g->stalled = false;
	for (uint64_t seq = g->first; seq < g->next && !g->stalled; seq++)
		if (batch_of(g, seq)->state == BATCH_REFUSED)
			batch_send(g, batch_of(g, seq));
	if (!g->lost)
		atoll_flush(g->ep);
}

int link_poll(struct gpu *g)
{
	int n = 0;

	if (!g->lost) {
		n = atoll_poll(g->ep, 64);
		if (n < 0)
			link_lose(g, "the dataplane of this node has ended");
	}
	if (g->lost) {
		/* nothing comes any more: everything has ended */
		g->verbs_out = 0;
		g->sent = 0;
		for (; g->first < g->next; g->first++) {
			struct batch *b = batch_of(g, g->first);

			if (b->wants)
				b->wants->result = g->fault;
			b->wants = NULL;
			b->state = BATCH_DONE;
			g->slots_free |= b->slots;
			b->slots = 0;
			g->done = g->first;
		}
		g->open = NULL;
		return 0;
	}
	resend(g);
	if (g->open && g->open->length && g->sent < SENT_EAGER)
		link_flush(g);
	return n;
}

void link_idle(struct gpu *g)
{
	if (link_poll(g) || g->lost)
		return;
	atoll_idle(g->ep, IDLE_NS);
	if (atomic_load_explicit(&g->waiters, memory_order_relaxed)) {
		pthread_mutex_unlock(&g->lock);
		sched_yield();
		pthread_mutex_lock(&g->lock);
	}
}

int link_room(struct gpu *g, uint32_t bytes, uint8_t **at, uint32_t *room)
{
	while (!g->fault && !(g->open && GPU_BATCH_MAX - g->open->length >= bytes)) {
		if (g->open) {
			link_flush(g);
		} else if (g->next - g->first < LINK_BATCHES) {
			struct batch *b = batch_of(g, g->next);

			b->state = BATCH_OPEN;
			b->seq = g->next++;
			b->length = 0;
			b->wants = NULL;
			b->slots = 0;
			g->open = b;
		} else {
			link_idle(g);
		}
	}
	if (g->fault)
		return g->fault;
	*at = g->open->calls + g->open->length;
	*room = GPU_BATCH_MAX - g->open->length;
	return 0;
}

void link_append(struct gpu *g, uint32_t bytes)
{
	g->open->length += bytes;
	g->calls++;
}

void link_kick(struct gpu *g)
{
	if (g->sent < SENT_EAGER)
		link_flush(g);
}

int link_wait(struct gpu *g, uint64_t seq)
{
	if (g->open && g->open->seq <= seq)
		link_flush(g);
	if (g->done < seq && !g->lost)
		g->round_trips++;
	while (g->done < seq && !g->lost)
		link_idle(g);
	if (g->lost)
		link_poll(g); /* ends what is left */
	return g->fault;
}

int link_result(struct gpu *g, struct link_answer *answer)
{
	uint64_t seq = g->open->seq;
	int rc;

	answer->size = 0;
	answer->result = 0;
	g->open->wants = answer;
	link_flush(g);
	rc = link_wait(g, seq);
	return rc ? rc : answer->result;
}

void link_answered(const char *name)
{
	(void)name;
}

void gpu_record(bool on)
{
	(void)on;
}

/* ------------------------------------------------------------------ leases */

int link_lease(struct gpu *g, uint64_t bytes, uint64_t *more)
{
	struct proto_msg m, r;
	int rc;

	/* Nothing waits before it, so that the new limit is there when it is needed. */
	link_flush(g);
	if (link_wait(g, g->next - 1))
		return g->fault;
	proto_request_init(&m, OP_GPU_LEASE);
	m.arg[ARG_GPU_LEASE_SESSION] = g->session;
	m.arg[ARG_GPU_LEASE_BYTES] = bytes;
	m.nargs = 2;
	g->round_trips++;
	rc = atoll_call(g->ep, g->service, &m, NULL, &r, NULL, ANSWER_MS);
	if (rc || (r.status != STATUS_OK && r.status != STATUS_LIMIT)) {
		link_lose(g, rc ? strerror(-rc) : proto_status_text(r.status));
		return g->fault;
	}
	g->leased = r.arg[REPLY_GPU_LEASE_BYTES];
	if (more)
		*more = r.arg[REPLY_GPU_LEASE_FREE];
	return r.status == STATUS_OK ? 0 : GPUE_MEMORY;
}

/* ------------------------------------------------------------------ begin and end */

static const char *program_name(void)
{
	const char *s = strrchr(program_invocation_name, '/');

	return s ? s + 1 : program_invocation_name;
}

static int refuse(struct gpu *g, int code, const char *format, const char *why)
{
	char text[256];

	snprintf(text, sizeof(text), format, why);
	fprintf(stderr, "atoll-gpu: %s: %s\n", g->name, text);
	return code;
}

/* Asks for a session with a window that is free on both sides. */
static int introduce(struct gpu *g)
{
	const char *program = program_name();
	struct proto_msg m, r;
	char name[64];

	snprintf(name, sizeof(name), "%s", program);
	for (char *p = name; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			*p = '?';
	for (unsigned i = 0; i < WINDOW_TRIES; i++) {
		uint64_t base = WINDOW_FIRST + (i * GPU_DEVICES_MAX + g->index) * WINDOW_STEP;
		void *p = mmap((void *)(uintptr_t)base, WINDOW_SIZE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		int rc;

		if (p == MAP_FAILED)
			continue;
		if ((uint64_t)(uintptr_t)p != base) {
			munmap(p, WINDOW_SIZE);
			continue;
		}
		proto_request_init(&m, OP_GPU_OPEN);
		m.arg[ARG_GPU_OPEN_VERSION] = GPU_CALLS_VERSION;
		m.arg[ARG_GPU_OPEN_WINDOW_BASE] = base;
		m.arg[ARG_GPU_OPEN_WINDOW_SIZE] = WINDOW_SIZE;
		m.nargs = 3;
		m.length = (uint32_t)strlen(name);
		rc = atoll_call(g->ep, g->service, &m, name, &r, NULL, ANSWER_MS);
		if (!rc && r.status == STATUS_OK) {
			g->window_base = base;
			g->window_size = WINDOW_SIZE;
			g->session = (uint32_t)r.arg[REPLY_GPU_OPEN_SESSION];
			g->quota = r.arg[REPLY_GPU_OPEN_MEMORY];
			g->leased = r.arg[REPLY_GPU_OPEN_LEASE];
			if (g->bounce_granted < SLOT * SLOTS || r.arg[REPLY_GPU_OPEN_BOUNCE] < SLOT * SLOTS)
				return refuse(g, GPUE_UNAVAILABLE, "%s",
					      "it gave no region for copies, or one that is too small");
			return 0;
		}
		munmap(p, WINDOW_SIZE);
		if (rc)
			return refuse(g, GPUE_UNAVAILABLE, "no answer: %s", strerror(-rc));
		if (r.status == STATUS_LIMIT)
			return refuse(g, GPUE_UNAVAILABLE, "%s",
				      "it has as many sessions as it takes, or no memory for another");
		if (r.status == STATUS_UNSUPPORTED)
			return refuse(g, GPUE_UNAVAILABLE, "%s", "it is no gpu-exec, or of another version");
		if (r.status != STATUS_EXISTS)
			return refuse(g, GPUE_UNAVAILABLE, "no session: %s", proto_status_text(r.status));
	}
	return refuse(g, GPUE_UNAVAILABLE, "%s", "no range of addresses is free on both hosts");
}

static int find(struct gpu *g, const char *target)
{
	uint64_t until = clock_now_ns() + LINK_MS * 1000000ull;
	int rc;

	/* A link that is just being made is worth a moment. */
	while ((rc = atoll_lookup(g->ep, target, &g->service, &g->node, ANSWER_MS)) == -EHOSTUNREACH &&
	       clock_now_ns() < until)
		usleep(LINK_PAUSE_US);
	if (rc == -ENOENT)
		return refuse(g, GPUE_NO_DEVICE, "%s", "there is no such service; svcctl status tells what runs");
	if (rc == -EACCES)
		return refuse(g, GPUE_NO_DEVICE, "%s", "the configuration does not allow this user to use it");
	if (rc)
		return refuse(g, GPUE_NO_DEVICE, "its node does not answer: %s", strerror(-rc));
	rc = atoll_lane_open(g->ep, g->node, 16, &g->lane, ANSWER_MS);
	if (rc)
		return refuse(g, GPUE_UNAVAILABLE, "no lane to its node: %s", strerror(-rc));
	return 0;
}

int link_open(struct gpu *g, const char *target)
{
	static const struct atoll_handlers handlers = {
		.reply = on_reply, .event = on_event, .completion = on_completion};
	struct atoll_endpoint_conf conf = {
		.name = "gpu-client",
		.kind = CTL_KIND_CLIENT,
		/* Waiting for a device takes long; on a shared core the dataplane has better use for the time. */
		.idle = idle_few_cores() ? IDLE_MODE_BLOCK : IDLE_MODE_AUTO,
	};
	char err[256] = "";
	int rc;

	snprintf(g->name, sizeof(g->name), "%s", target);
	g->ring = calloc(LINK_BATCHES, sizeof(*g->ring));
	g->first = g->next = 1;
	g->slots_free = (1u << SLOTS) - 1;
	if (!g->ring)
		return GPUE_MEMORY;
	rc = atoll_attach(&g->ep, &conf, err, sizeof(err));
	if (rc) {
		g->ep = NULL;
		return refuse(g, GPUE_NO_DEVICE, "%s", err[0] ? err : strerror(-rc));
	}
	atoll_set_handlers(g->ep, &handlers, g);
	rc = atoll_region_alloc(g->ep, SLOT * SLOTS, 0, &g->local, err, sizeof(err));
	if (rc)
		return refuse(g, GPUE_UNAVAILABLE, "no memory for copies: %s", err);
	rc = find(g, target);
	return rc ? rc : introduce(g);
}

void link_close(struct gpu *g)
{
	g->lost = true; /* what is outstanding ends now, and nobody need be told */
	pinned_drop_all(g);
	if (g->ep)
		atoll_detach(g->ep);
	g->ep = NULL;
	if (g->window_base)
		munmap((void *)(uintptr_t)g->window_base, g->window_size);
	g->window_base = 0;
	free(g->ring);
	free(g->pieces);
	free(g->managed);
	free(g->variables);
	free(g->modules);
	free(g->objects);
	g->objects = NULL;
	g->objects_room = 0;
	g->ring = NULL;
	g->pieces = g->variables = g->managed = NULL;
	g->managed_count = 0;
	g->managed_away = false;
	g->modules = NULL;
}
