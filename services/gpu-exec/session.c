/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/gpu-exec/nursery.h"

enum {
	REAP_NS = 1000000,
	BOUNCE_TAG = 1,
};

#define WINDOW_SIZE_MAX (1ull << 40)

static struct gpu_exec *exec_of(struct service *s)
{
	return s->state;
}

static void reply(struct service *s, const struct proto_msg *m, uint32_t status)
{
	service_reply(s, m, status, NULL, 0, NULL, 0);
}

static struct session *session_find(struct service *s, const struct proto_msg *m, uint64_t number)
{
	struct gpu_exec *e = exec_of(s);
	struct session *k = &e->session[(number & 0xff) % SESSIONS_MAX];

	if (k->state == SESSION_FREE || k->number != number || k->source != m->src ||
	    k->epoch != m->src_epoch)
		return NULL;
	return k;
}

/* ------------------------------------------------------------------ the end */

static void batch_answer(struct service *s, struct session *k, uint32_t status)
{
	struct session_batch *b = &k->batch[k->first];

	reply(s, &b->request, status);
	free(b->calls);
	b->calls = NULL;
	k->first = (k->first + 1) % SESSION_BATCHES_MAX;
	k->count--;
}

static void session_end(struct service *s, struct session *k, const char *why)
{
	if (k->state == SESSION_ENDING)
		return;
	printf("gpu-exec: session %u of %s ends: %s\n", k->number, k->program, why);
	if (k->state == SESSION_OPENING)
		reply(s, &k->open, STATUS_FAILED);
	while (k->count)
		batch_answer(s, k, STATUS_FAILED);
	if (!k->gone)
		nursery_kill(exec_of(s)->nursery, k->number);
	close(k->socket); /* leaves epoll, too */
	atoll_region_free(s->ep, &k->bounce);
	k->state = SESSION_ENDING;
	exec_of(s)->open--;
	s->timer_ns = s->now_ns;
}

/* The memory of a process that was killed is free when it can be reaped. */
bool session_reap(struct service *s)
{
	struct gpu_exec *e = exec_of(s);
	bool more = false;

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *k = &e->session[i];

		if (k->state != SESSION_ENDING)
			continue;
		if (!k->gone) {
			more = true;
			continue;
		}
		if (k->closing)
			reply(s, &k->close, STATUS_OK);
		munmap(k->page, sizeof(*k->page));
		e->leased -= k->leased;
		memset(k, 0, sizeof(*k));
	}
	return more;
}

void session_end_all(struct service *s)
{
	struct gpu_exec *e = exec_of(s);

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (e->session[i].state != SESSION_FREE)
			session_end(s, &e->session[i], "the dataplane has ended");
}

void session_peer_gone(struct service *s, uint32_t source, uint32_t epoch)
{
	struct gpu_exec *e = exec_of(s);

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *k = &e->session[i];

		if (k->state != SESSION_FREE && k->source == source && k->epoch == epoch)
			session_end(s, k, "its client is gone");
	}
}

/* ------------------------------------------------------------------ the beginning */

static int ask(struct service *s, struct session *k, uint16_t opcode, const uint64_t *args, unsigned n,
	       unsigned step)
{
	struct proto_msg m;

	proto_request_init(&m, opcode);
	memcpy(m.arg, args, n * sizeof(*args));
	m.nargs = (uint8_t)n;
	return atoll_request(s->ep, ATOLL_DATAPLANE, &m, NULL, (uint64_t)k->number << 8 | step);
}

static void opened(struct service *s, struct session *k)
{
	struct gpu_exec *e = exec_of(s);
	uint64_t args[4] = {k->number, SESSION_BOUNCE, e->session_memory, k->leased};

	if (k->todo || k->state != SESSION_OPENING)
		return;
	k->state = SESSION_UP;
	printf("gpu-exec: session %u of %s, process %u\n", k->number, k->program, k->pid);
	service_reply(s, &k->open, STATUS_OK, args, 4, NULL, 0);
}

void session_step(struct service *s, uint64_t cookie, const struct proto_msg *m)
{
	struct gpu_exec *e = exec_of(s);
	struct session *k = &e->session[(cookie >> 8 & 0xff) % SESSIONS_MAX];

	if (k->state == SESSION_FREE || k->number != cookie >> 8)
		return;
	if (m->status != STATUS_OK) {
		session_end(s, k, (cookie & 0xff) == STEP_WATCH ? "its client is gone" : "no grant");
		return;
	}
	k->todo &= (uint8_t)~cookie;
	opened(s, k);
}

/* What the worker counts. Its descriptor, or negative errno. */
static int page_make(struct session *k)
{
	int fd = memfd_create("gpu-session", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)sizeof(*k->page)) == 0)
		k->page = mmap(NULL, sizeof(*k->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!k->page || k->page == MAP_FAILED) {
		k->page = NULL;
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

/* @bounce: descriptor of the session's region. */
static int worker_start(struct service *s, struct session *k, uint64_t base, uint64_t size, int bounce)
{
	struct gpu_exec *e = exec_of(s);
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = k->number};
	struct nursery_birth b = {.cores = e->cores,
				  .capability = e->capability,
				  .share = e->share,
				  .limit = k->leased,
				  .window_base = base,
				  .window_size = size,
				  .bounce_size = SESSION_BOUNCE,
				  .kernel_ns = e->kernel_ns};
	int pair[2], rc, page;

	snprintf(b.device, sizeof(b.device), "%s", e->ops->name);
	page = page_make(k);
	if (page < 0)
		return page;
	rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
	if (!rc) {
		k->socket = pair[0];
		rc = epoll_ctl(e->epoll, EPOLL_CTL_ADD, k->socket, &ev) ? -errno : 0;
		if (!rc)
			rc = nursery_birth(e->nursery, k->number, &b, pair[1], page, bounce);
		close(pair[1]);
		if (rc)
			close(pair[0]);
	}
	close(page);
	if (rc)
		munmap(k->page, sizeof(*k->page));
	return rc;
}

static bool window_good(uint64_t base, uint64_t size)
{
	return size >= 16u << 20 && size <= WINDOW_SIZE_MAX && size % (1u << 20) == 0 &&
	       base % (64u << 10) == 0 && base + size > base && base + size < 1ull << 47;
}

void session_open(struct service *s, const struct proto_msg *m, const void *payload)
{
	struct gpu_exec *e = exec_of(s);
	uint64_t base = m->arg[ARG_GPU_OPEN_WINDOW_BASE], size = m->arg[ARG_GPU_OPEN_WINDOW_SIZE];
	uint64_t room = e->memory - e->leased;
	struct session *k = NULL;
	char err[256] = "";
	unsigned n = 0, i;
	int rc, bounce;

	if (m->arg[ARG_GPU_OPEN_VERSION] != GPU_CALLS_VERSION) {
		reply(s, m, STATUS_UNSUPPORTED);
		return;
	}
	if (!window_good(base, size) || size < e->session_memory) {
		reply(s, m, STATUS_RANGE);
		return;
	}
	for (i = SESSIONS_MAX; i-- > 0;)
		if (e->session[i].state == SESSION_FREE) {
			k = &e->session[i];
			n++;
		}
	if (!k || SESSIONS_MAX - n >= e->sessions_max) {
		reply(s, m, STATUS_LIMIT);
		return;
	}
	*k = (struct session){
		.number = ++e->life << 8 | (uint32_t)(k - e->session),
		.source = m->src,
		.epoch = m->src_epoch,
		.todo = STEP_GRANT | STEP_WATCH | STEP_WORKER,
		.open = *m,
		.seq = 1,
		.opened_ns = s->now_ns,
	};
	e->life &= 0xffffff;
	k->leased = SESSION_LEASE < e->session_memory ? SESSION_LEASE : e->session_memory;
	k->leased = k->leased < room ? k->leased : room / GPU_GRAIN * GPU_GRAIN;
	memcpy(k->program, payload, m->length < sizeof(k->program) ? m->length : sizeof(k->program) - 1);
	rc = atoll_region_alloc_fd(s->ep, SESSION_BOUNCE, 0, &k->bounce, &bounce, err, sizeof(err));
	if (rc) {
		printf("gpu-exec: no session: no bounce region: %s\n", err);
		reply(s, m, STATUS_LIMIT);
		return;
	}
	rc = worker_start(s, k, base, size, bounce);
	close(bounce);
	if (rc) {
		printf("gpu-exec: no session: no process: %s\n", strerror(-rc));
		atoll_region_free(s->ep, &k->bounce);
		reply(s, m, STATUS_LIMIT);
		return;
	}
	k->state = SESSION_OPENING;
	e->open++;
	e->leased += k->leased;
	{
		const uint64_t who[2] = {k->source, k->epoch};
		struct atoll_handle h = atoll_region_handle(s->ep, &k->bounce);
		const uint64_t grant[5] = {h.slot, h.gen, RIGHT_READ | RIGHT_WRITE, m->req_id, BOUNCE_TAG};

		if (ask(s, k, OP_DP_WATCH, who, 2, STEP_WATCH) ||
		    ask(s, k, OP_DP_GRANT, grant, 5, STEP_GRANT))
			session_end(s, k, "the ring to the dataplane is full");
	}
}

/* ------------------------------------------------------------------ batches */

/* 0, or -EAGAIN: the socket is full, or -EPIPE. */
static int hand_down(struct session *k, const struct worker_head *h, const void *payload)
{
	struct iovec v[2] = {{(void *)(uintptr_t)h, sizeof(*h)}, {(void *)(uintptr_t)payload, h->length}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = h->length ? 2 : 1};

	if (sendmsg(k->socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN : -EPIPE;
}

static void watch_room(struct gpu_exec *e, struct session *k, bool blocked)
{
	struct epoll_event ev = {.events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u32 = k->number};

	if (k->blocked != blocked && epoll_ctl(e->epoll, EPOLL_CTL_MOD, k->socket, &ev) == 0)
		k->blocked = blocked;
}

/* Hands down what waits, in order. -EPIPE: the worker is gone. */
static int drain(struct gpu_exec *e, struct session *k)
{
	int rc = 0;

	for (unsigned i = 0; i < k->count && !rc; i++) {
		struct session_batch *b = &k->batch[(k->first + i) % SESSION_BATCHES_MAX];
		struct worker_head h = {.kind = WORKER_BATCH,
					.length = b->request.length,
					.token = b->request.req_id,
					.seq = b->seq};

		if (!b->calls)
			continue;
		rc = hand_down(k, &h, b->calls);
		if (!rc) {
			free(b->calls);
			b->calls = NULL;
		}
	}
	watch_room(e, k, rc == -EAGAIN);
	return rc == -EAGAIN ? 0 : rc;
}

static void calls(struct service *s, struct session *k, const struct proto_msg *m, const void *payload)
{
	struct worker_head h = {.kind = WORKER_BATCH, .length = m->length, .token = m->req_id, .seq = k->seq};
	struct session_batch *b = &k->batch[(k->first + k->count) % SESSION_BATCHES_MAX];
	int rc = -EAGAIN;

	if (m->arg[ARG_GPU_CALLS_SEQ] != k->seq) {
		reply(s, m, STATUS_CANCELLED);
		return;
	}
	if (k->count == SESSION_BATCHES_MAX) {
		reply(s, m, STATUS_LIMIT);
		return;
	}
	if (!k->blocked)
		rc = hand_down(k, &h, payload);
	*b = (struct session_batch){.request = *m, .seq = k->seq};
	if (rc == -EAGAIN) {
		b->calls = malloc(m->length);
		if (!b->calls) {
			reply(s, m, STATUS_LIMIT);
			return;
		}
		memcpy(b->calls, payload, m->length);
		watch_room(exec_of(s), k, true);
	}
	k->count++;
	k->seq++;
	if (rc == -EPIPE)
		session_end(s, k, "its process has ended");
}

static void lease(struct service *s, struct session *k, const struct proto_msg *m)
{
	struct gpu_exec *e = exec_of(s);
	uint64_t want = m->arg[ARG_GPU_LEASE_BYTES], room = e->memory - e->leased, args[2];
	struct worker_head h = {.kind = WORKER_LIMIT};
	uint32_t status = STATUS_OK;

	if (want > k->leased) {
		if (want > e->session_memory || want - k->leased > room) {
			status = STATUS_LIMIT;
		} else if (k->blocked || (h.a[0] = want, hand_down(k, &h, NULL))) {
			/* The limit may not overtake batches; whoever asks now waits for them and asks again. */
			status = STATUS_LIMIT;
		} else {
			e->leased += want - k->leased;
			k->leased = want;
		}
	}
	room = e->memory - e->leased;
	args[0] = k->leased;
	args[1] = e->session_memory - k->leased < room ? e->session_memory - k->leased : room;
	service_reply(s, m, status, args, 2, NULL, 0);
}

static void stat_fill(struct gpu_stat_record *r, const struct session *k, uint64_t now_ns)
{
	const struct worker_page *p = k->page;

	*r = (struct gpu_stat_record){
		.session = k->number,
		.source = k->source,
		.pid = k->pid,
		.error = (uint32_t)atomic_load(&p->error),
		.leased = k->leased,
		.used = atomic_load(&p->used),
		.calls = atomic_load(&p->calls),
		.launches = atomic_load(&p->launches),
		.bytes_in = atomic_load(&p->bytes_in),
		.bytes_out = atomic_load(&p->bytes_out),
		.queued = k->count,
		.busy_ns = atomic_load(&p->busy_ns),
		.age_ms = (now_ns - k->opened_ns) / 1000000,
	};
	memcpy(r->program, k->program, sizeof(r->program));
}

static void stat(struct service *s, const struct proto_msg *m)
{
	struct gpu_exec *e = exec_of(s);
	struct gpu_stat_record r[16];
	uint64_t args[4] = {0, e->memory, e->leased, 0};
	unsigned n = 0, most = m->max_reply / sizeof(r[0]);

	if (most > sizeof(r) / sizeof(r[0]))
		most = sizeof(r) / sizeof(r[0]);
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *k = &e->session[i];

		if (k->state == SESSION_FREE)
			continue;
		args[0]++;
		if (i < m->arg[ARG_GPU_STAT_FIRST] || args[3])
			continue;
		if (n == most)
			args[3] = i;
		else
			stat_fill(&r[n++], k, s->now_ns);
	}
	service_reply(s, m, STATUS_OK, args, 4, r, (uint32_t)(n * sizeof(r[0])));
}

void session_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	struct session *k;

	if (m->opcode == OP_GPU_STAT) {
		stat(s, m);
		return;
	}
	k = session_find(s, m, m->arg[0]); /* in all of them the session comes first */
	if (!k || k->state == SESSION_OPENING) {
		reply(s, m, STATUS_NOT_FOUND);
		return;
	}
	if (m->opcode == OP_GPU_CLOSE && !k->closing) {
		k->closing = true;
		k->close = *m;
		session_end(s, k, "closed");
	} else if (k->state == SESSION_ENDING) {
		reply(s, m, STATUS_FAILED);
	} else if (m->opcode == OP_GPU_CALLS) {
		calls(s, k, m, payload);
	} else if (m->opcode == OP_GPU_LEASE) {
		lease(s, k, m);
	} else {
		reply(s, m, STATUS_UNSUPPORTED);
	}
}

/* ------------------------------------------------------------------ what workers say */

static void ready(struct service *s, struct session *k, const struct worker_head *h, const uint8_t *text)
{
	if (k->state != SESSION_OPENING || !(k->todo & STEP_WORKER))
		return;
	k->pid = (uint32_t)h->a[1];
	if (h->a[0] == 0) {
		k->todo &= (uint8_t)~STEP_WORKER;
		opened(s, k);
		return;
	}
	reply(s, &k->open, (int64_t)h->a[0] == -EEXIST ? STATUS_EXISTS : STATUS_FAILED);
	k->state = SESSION_UP; /* it is answered */
	printf("gpu-exec: %.*s\n", (int)h->length, (const char *)text);
	session_end(s, k, "its device cannot be opened");
}

static void answered(struct service *s, struct session *k, const struct worker_head *h, const uint8_t *payload)
{
	struct session_batch *b = &k->batch[k->first];
	uint64_t args[4] = {h->seq, h->a[0], h->a[1] & 3, h->a[2]};
	uint32_t length = h->length, most = b->request.max_reply;

	if (!k->count || b->calls || b->seq != h->seq || b->request.req_id != h->token ||
	    h->a[0] > UINT32_MAX || h->a[2] > UINT32_MAX) {
		session_end(s, k, "its process answers what it was not asked");
		return;
	}
	if (length > most && h->a[0])
		length = most; /* of a sentence the beginning */
	if (length > most) {
		batch_answer(s, k, STATUS_TOO_BIG);
		return;
	}
	service_reply(s, &b->request, STATUS_OK, args, 4, payload, length);
	k->first = (k->first + 1) % SESSION_BATCHES_MAX;
	k->count--;
}

/* What is in the socket. How many records. */
static unsigned listen_to(struct service *s, struct session *k)
{
	static _Alignas(16) uint8_t buffer[sizeof(struct worker_head) + WORKER_PAYLOAD_MAX];
	struct worker_head h;
	unsigned count = 0;

	while (k->state == SESSION_OPENING || k->state == SESSION_UP) {
		ssize_t n = recv(k->socket, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		count++;
		memcpy(&h, buffer, sizeof(h));
		if (n < (ssize_t)sizeof(h) || h.length != (size_t)n - sizeof(h)) {
			session_end(s, k, "its process has ended");
			break;
		}
		k->answers++;
		if (h.kind == WORKER_READY)
			ready(s, k, &h, buffer + sizeof(h));
		else
			answered(s, k, &h, buffer + sizeof(h));
	}
	return count;
}

/* Processes that are gone. Without a nursery there is no service: it ends, and is started again. */
static unsigned mourn(struct service *s)
{
	struct gpu_exec *e = exec_of(s);
	unsigned count = 0;
	uint32_t number;
	int rc;

	while ((rc = nursery_gone(e->nursery, &number)) > 0) {
		struct session *k = &e->session[(number & 0xff) % SESSIONS_MAX];

		count++;
		if (k->state == SESSION_FREE || k->number != number)
			continue;
		k->gone = true;
		session_end(s, k, "its process has ended");
		s->timer_ns = s->now_ns;
	}
	if (rc < 0 && !s->stop) {
		fprintf(stderr, "gpu-exec: the process that starts sessions has ended: so does the service\n");
		s->stop = true;
	}
	return count;
}

unsigned session_poll(struct service *s, bool look)
{
	struct gpu_exec *e = exec_of(s);
	struct epoll_event ev[SESSIONS_MAX];
	unsigned count = 0;
	int n;

	for (unsigned i = 0, left = e->open; i < SESSIONS_MAX && left; i++) {
		struct session *k = &e->session[i];

		left -= k->state == SESSION_OPENING || k->state == SESSION_UP;
		if ((k->state == SESSION_OPENING || k->state == SESSION_UP) &&
		    atomic_load_explicit(&k->page->answers, memory_order_acquire) != k->answers)
			count += listen_to(s, k);
	}
	if (!look)
		return count;
	n = epoll_wait(e->epoll, ev, SESSIONS_MAX, 0);
	for (int i = 0; i < n; i++) {
		struct session *k = &e->session[(ev[i].data.u32 & 0xff) % SESSIONS_MAX];

		if (ev[i].data.u32 == SESSION_NURSERY) {
			count += mourn(s);
			continue;
		}
		if (k->number != ev[i].data.u32)
			continue;
		count += listen_to(s, k);
		if ((ev[i].events & EPOLLOUT) && k->state == SESSION_UP && drain(e, k))
			session_end(s, k, "its process has ended");
	}
	return count;
}
