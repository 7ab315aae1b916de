/* SPDX-License-Identifier: Apache-2.0 */
/* What processes ask for on the control socket: a channel, regions, the trace, the counters. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "dataplane/control_impl.h"
#include "dataplane/mapped.h"
#include "ipc/channel.h"
#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "proto/proto.h"

static void reply_init(struct control *c, struct proto_ctl_reply *r,
		       const struct proto_ctl_request *q, uint8_t status)
{
	memset(r, 0, sizeof(*r));
	r->magic = PROTO_CTL_REPLY_MAGIC;
	r->major = PROTO_MAJOR;
	r->op = q->op;
	r->status = status;
	r->incarnation = c->incarnation;
}

/* Refuse, with a sentence. Keeps the connection. */
__attribute__((format(printf, 5, 6))) static bool
refuse(struct control *c, struct client *cl, const struct proto_ctl_request *q, uint8_t status,
       const char *fmt, ...)
{
	struct proto_ctl_reply r;
	va_list ap;

	control_count(c, CC_REFUSED);
	reply_init(c, &r, q, status);
	va_start(ap, fmt);
	vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	return sock_send(cl->sock, &r, sizeof(r), NULL, 0) == 0;
}

/* Does svcctl say that this process is one of the node's services? */
static bool is_service(const struct control *c, uint32_t pid, uint32_t uid)
{
	for (unsigned i = 0; i < c->nservices; i++)
		if (c->services[i].pid == pid && c->services[i].uid == uid)
			return true;
	return false;
}

/* A service may have its owner's user number and is not he. */
static bool is_owner(const struct control *c, const struct client *cl)
{
	return (cl->uid == 0 || cl->uid == geteuid()) && !is_service(c, cl->pid, cl->uid);
}

bool client_trusted(const struct control *c, uint32_t pid, uint32_t uid)
{
	return uid == 0 || uid == geteuid() || is_service(c, pid, uid);
}

/* ---------------------------------------------------------------- attach */

/* May this process be the service of that name? */
static bool service_allowed(struct control *c, const struct client *cl, const char *name)
{
	for (unsigned i = 0; i < c->nservices; i++)
		if (!strcmp(c->services[i].name, name))
			return c->services[i].pid == cl->pid && c->services[i].uid == cl->uid;
	for (unsigned i = 0; i < c->conf.node->nservices; i++)
		if (!strcmp(c->conf.node->services[i].name, name))
			return false; /* the supervisor will say which process it is */
	return is_owner(c, cl);
}

/* What is left of its user's limits, with a sentence and a counter where nothing is. Of @half bytes two. */
static const char *over_limits(struct control *c, const struct client *cl, const struct conf_limits *l,
			       size_t half)
{
	uint64_t bytes = 2 * half;
	unsigned n = 0;

	for (unsigned i = 0; i < c->top; i++) {
		const struct client *o = &c->clients[i];

		if (o == cl || o->uid != cl->uid || o->trusted != cl->trusted)
			continue;
		n += o->attached;
		bytes += o->own ? 2 * o->half_size : 0;
	}
	if (l->endpoints && n >= l->endpoints) {
		control_count(c, CC_QUOTA_ENDPOINTS);
		return "endpoints";
	}
	if (l->ring_mib && bytes > (uint64_t)l->ring_mib << 20) {
		control_count(c, CC_QUOTA_RINGS);
		return "MiB of rings (ring_mib)";
	}
	return NULL;
}

/* A half: made by the keeper, formatted here, mapped as @prot. */
static void *half_make(struct control *c, uint32_t slots, uint32_t arena, bool ours, int *fd)
{
	size_t size = channel_half_size(slots, arena);
	void *p;

	*fd = keeper_file(c, KEEPER_TRANSIENT, 0, size, 0, 0);
	if (*fd < 0)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, *fd, 0);
	if (p != MAP_FAILED && !file_present(p, size)) {
		munmap(p, size);
		p = MAP_FAILED;
	}
	if (p != MAP_FAILED) {
		channel_format(p, slots, arena, c->incarnation);
		/* the other side's half is only read from here on, and nobody else writes ours */
		if ((ours ? file_seal_writes(*fd) == 0 : mprotect(p, size, PROT_READ) == 0) &&
		    !mapped_add(p, size))
			return p;
		munmap(p, size);
	}
	close(*fd);
	*fd = -1;
	return NULL;
}

void halves_unmap(struct client *cl)
{
	mapped_remove(cl->own);
	mapped_remove(cl->peer);
	if (cl->own)
		munmap(cl->own, cl->half_size);
	if (cl->peer)
		munmap(cl->peer, cl->half_size);
	cl->own = cl->peer = NULL;
}

static bool attach(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	uint32_t slots = q->slots ? q->slots : CHANNEL_SLOTS_DEFAULT;
	uint32_t arena = q->arena ? q->arena : CHANNEL_ARENA_DEFAULT;
	struct command cmd = {.op = CMD_ATTACH};
	struct proto_ctl_reply r;
	int fds[4] = {-1, -1, -1, -1}, wake[2], rc;
	struct conf_limits l;
	const char *over;
	bool sent;

	if (cl->attached)
		return refuse(c, cl, q, STATUS_EXISTS, "this connection is attached already");
	if (!channel_size_ok(slots, arena))
		return refuse(c, cl, q, STATUS_BAD_MESSAGE,
			      "ring slots must be a power of two of 64 to 16384, the arena one of 64 KiB "
			      "to 16 MiB");
	cl->trusted = client_trusted(c, cl->pid, cl->uid); /* it may have been told since it connected */
	l = conf_limits_for(c->conf.node, cl->uid, cl->trusted);
	over = over_limits(c, cl, &l, channel_half_size(slots, arena));
	if (over)
		return refuse(c, cl, q, STATUS_LIMIT, "user %u has as many %s as [limits] allows",
			      cl->uid, over);
	if (q->kind == CTL_KIND_SERVICE && !service_allowed(c, cl, q->name))
		return refuse(c, cl, q, STATUS_DENIED,
			      "process %u may not be the service %s: start it by svcctl", cl->pid,
			      q->name);
	cl->half_size = channel_half_size(slots, arena);
	cl->peer = half_make(c, slots, arena, false, &fds[0]);
	cl->own = half_make(c, slots, arena, true, &fds[1]);
	cl->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* A pipe, for its ends are two open files. Of an event descriptor the process would hold the same one as
	 * we, and could make it one that blocks: the loop's next wake would be its last. */
	if (!pipe2(wake, O_CLOEXEC | O_NONBLOCK)) {
		fds[3] = wake[0];
		cl->event_fd = wake[1];
	}
	rc = -ENOMEM;
	if (cl->peer && cl->own && cl->wake_fd >= 0 && cl->event_fd >= 0) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

		cmd.attach = (struct dp_attach){.kind = q->kind,
						.name = q->name,
						.uid = cl->uid,
						.pid = cl->pid,
						.trusted = cl->trusted,
						.quota = {l.lanes, l.requests, l.chains, l.credits},
						.own = cl->own,
						.peer = cl->peer,
						.slots = slots,
						.arena = arena,
						.wake_fd = cl->event_fd,
						.cookie = cl};
		rc = epoll_ctl(c->conf.epoll, EPOLL_CTL_ADD, cl->wake_fd, &ev) ? -errno :
									     command_run(c, &cmd);
	}
	if (rc) {
		if (fds[0] >= 0)
			close(fds[0]);
		if (fds[1] >= 0)
			close(fds[1]);
		if (fds[3] >= 0)
			close(fds[3]);
		halves_unmap(cl);
		if (cl->wake_fd >= 0)
			close(cl->wake_fd);
		if (cl->event_fd >= 0)
			close(cl->event_fd);
		cl->wake_fd = cl->event_fd = -1;
		if (rc == -EEXIST)
			return refuse(c, cl, q, STATUS_EXISTS, "a service %s is attached already",
				      q->name);
		return refuse(c, cl, q, STATUS_LIMIT, "no room for another endpoint: %s",
			      strerror(-rc));
	}
	cl->attached = true;
	cl->endpoint = cmd.endpoint;
	cl->epoch = cmd.epoch;
	reply_init(c, &r, q, STATUS_OK);
	r.features = q->features & PROTO_FEATURES;
	r.slots = slots;
	r.arena = arena;
	r.src = c->node << 24 | cmd.endpoint;
	r.epoch = cmd.epoch;
	r.heartbeat_ms = c->conf.node->heartbeat_ms;
	r.idle = c->conf.node->idle;
	fds[2] = cl->wake_fd;
	sent = sock_send(cl->sock, &r, sizeof(r), fds, 4) == 0;
	close(fds[0]);
	close(fds[1]);
	close(fds[3]);
	return sent;
}

/* ---------------------------------------------------------------- regions */

static bool regions_full(struct control *c, const struct client *cl, uint64_t size)
{
	struct conf_limits l = conf_limits_for(c->conf.node, cl->uid, cl->trusted);
	uint64_t bytes = size;
	unsigned n = 1;

	if (!l.region_mib && !cl->trusted)
		l.region_mib = c->half_mib;
	for (unsigned i = 0; i < c->nregions; i++)
		if (c->regions[i].uid == cl->uid && c->regions[i].trusted == cl->trusted) {
			bytes += c->regions[i].size;
			n++;
		}
	if ((!l.regions || n <= l.regions) &&
	    (!l.region_mib || bytes <= (uint64_t)l.region_mib << 20))
		return false;
	control_count(c, CC_QUOTA_REGIONS);
	return true;
}

/* All of it is there: publish, answer. @fd is closed. */
static bool region_publish(struct control *c, struct client *cl, const struct proto_ctl_request *q,
			   struct region *g, int fd)
{
	struct command cmd = {.op = CMD_REGION,
			      .endpoint = cl->endpoint,
			      .epoch = cl->epoch,
			      .key = g->key,
			      .size = g->size,
			      .base = g->base};
	struct proto_ctl_reply r;
	bool sent;
	int rc;

	rc = command_run(c, &cmd);
	if (rc) {
		close(fd);
		region_forget(c, g, q->op == CTL_OP_REGION_ALLOC);
		return refuse(c, cl, q, STATUS_LIMIT, "no room for another region: %s", strerror(-rc));
	}
	reply_init(c, &r, q, STATUS_OK);
	r.size = g->size;
	r.slot = cmd.handle.slot;
	r.gen = cmd.handle.gen;
	r.key = g->key;
	sent = sock_send(cl->sock, &r, sizeof(r), &fd, 1) == 0;
	close(fd);
	return sent;
}

/* Every page is there before the loop can touch it. That may take long: others are served in between. */
static bool region_begin(struct control *c, struct client *cl, const struct proto_ctl_request *q,
			 struct region *g, int fd)
{
	g->base = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (g->base != MAP_FAILED && mapped_add(g->base, g->size)) {
		munmap(g->base, g->size);
		g->base = MAP_FAILED;
	}
	if (g->base == MAP_FAILED) {
		g->base = NULL;
		close(fd);
		region_forget(c, g, q->op == CTL_OP_REGION_ALLOC);
		return refuse(c, cl, q, STATUS_LIMIT, "no room for a region of %llu bytes",
			      (unsigned long long)q->size);
	}
	g->client = (int)(cl - c->clients);
	cl->grow.under_way = true;
	cl->grow.q = *q;
	cl->grow.key = g->key;
	cl->grow.done = 0;
	cl->grow.fd = fd;
	return client_grow(c, cl);
}

void client_grow_end(struct control *c, struct client *cl)
{
	struct region *g = region_find(c, cl->grow.key);

	cl->grow.under_way = false;
	close(cl->grow.fd);
	if (g)
		region_forget(c, g, cl->grow.q.op == CTL_OP_REGION_ALLOC);
}

/* Of a sparse region only what has been used: from the first such byte at *@at or behind, *@end. */
static void used_next(int fd, uint64_t size, uint64_t *at, uint64_t *end)
{
	off_t data = lseek(fd, (off_t)*at, SEEK_DATA), hole;

	*at = *end = size;
	if (data < 0 || (uint64_t)data >= size) /* ENXIO: no more */
		return;
	*at = (uint64_t)data;
	hole = lseek(fd, data, SEEK_HOLE);
	if (hole > data && (uint64_t)hole < size)
		*end = (uint64_t)hole;
}

bool client_grow(struct control *c, struct client *cl)
{
	struct region *g = region_find(c, cl->grow.key);
	uint64_t end = g->size;
	uint8_t *at;
	size_t n;

	if (g->flags & REGION_FLAG_SPARSE)
		used_next(cl->grow.fd, g->size, &cl->grow.done, &end);
	n = end - cl->grow.done < CONTROL_SLICE ? (size_t)(end - cl->grow.done) : CONTROL_SLICE;
	at = (uint8_t *)g->base + cl->grow.done;
	if (n && (!file_present(at, n) ||
		  (errno == EINVAL && mmap(at, n, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_POPULATE | MAP_FIXED, cl->grow.fd,
					   (off_t)cl->grow.done) == MAP_FAILED))) {
		client_grow_end(c, cl);
		return refuse(c, cl, &cl->grow.q, STATUS_LIMIT, "no memory for a region of %llu bytes",
			      (unsigned long long)cl->grow.q.size);
	}
	cl->grow.done += n;
	if (cl->grow.done < g->size)
		return true;
	cl->grow.under_way = false;
	return region_publish(c, cl, &cl->grow.q, g, cl->grow.fd);
}

static bool region_alloc(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	uint64_t page = q->flags & REGION_FLAG_HUGE ? 2u << 20 : 4096;
	uint64_t size = (q->size + page - 1) & ~(page - 1), key = 0;
	struct region *g;
	int fd;

	if (!cl->attached)
		return refuse(c, cl, q, STATUS_DENIED, "attach first");
	if (size < q->size || size == 0 || size > (1ull << 38))
		return refuse(c, cl, q, STATUS_BAD_MESSAGE, "a region has 1 byte to 256 GiB");
	if (c->nregions == KEEPER_REGIONS_MAX || regions_full(c, cl, size))
		return refuse(c, cl, q, STATUS_LIMIT,
			      "user %u has as many regions or as much memory as [limits] allows",
			      cl->uid);
	while (!key)
		if (getrandom(&key, sizeof(key), 0) != sizeof(key))
			return refuse(c, cl, q, STATUS_FAILED, "no randomness for the region's key");
	fd = keeper_file(c, KEEPER_CREATE, key, size, q->flags, cl->uid);
	if (fd < 0)
		return refuse(c, cl, q, STATUS_LIMIT, "the keeper gives no memory: %s", strerror(-fd));
	g = &c->regions[c->nregions++];
	*g = (struct region){
		.key = key, .size = size, .flags = q->flags, .uid = cl->uid, .trusted = cl->trusted,
		.client = -1};
	return region_begin(c, cl, q, g, fd);
}

static bool region_claim(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	struct region *g = region_find(c, q->key);
	int fd;

	if (!cl->attached)
		return refuse(c, cl, q, STATUS_DENIED, "attach first");
	if (!g || g->uid != cl->uid)
		return refuse(c, cl, q, STATUS_NOT_FOUND, "no region of this user has that key");
	if (g->base)
		return refuse(c, cl, q, STATUS_EXISTS, "the region is in use by another endpoint");
	fd = keeper_file(c, KEEPER_GET, q->key, g->size, 0, 0);
	if (fd < 0)
		return refuse(c, cl, q, STATUS_NOT_FOUND, "the keeper has lost the region: %s",
			      strerror(-fd));
	g->trusted = cl->trusted;
	return region_begin(c, cl, q, g, fd);
}

static bool region_free(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	struct command cmd = {.op = CMD_REGION_CLOSE, .key = q->key};
	struct region *g = region_find(c, q->key);
	struct proto_ctl_reply r;

	if (!g || !g->base || g->client != (int)(cl - c->clients))
		return refuse(c, cl, q, STATUS_NOT_FOUND, "this endpoint has no region with that key");
	g->flags &= ~(uint32_t)REGION_FLAG_PERSIST;
	command_run(c, &cmd);
	reply_init(c, &r, q, STATUS_OK);
	return sock_send(cl->sock, &r, sizeof(r), NULL, 0) == 0;
}

/* ---------------------------------------------------------------- seeing */

static bool trace(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	uint32_t entries = c->conf.node->trace_entries;
	struct proto_ctl_reply r;

	if (!is_owner(c, cl))
		return refuse(c, cl, q, STATUS_DENIED, "only the node's owner may see its messages");
	if (!entries)
		return refuse(c, cl, q, STATUS_UNSUPPORTED,
			      "trace_entries = 0 in the configuration: no trace");
	if (!c->trace) {
		size_t size = 64 + (size_t)entries * sizeof(struct proto_trace_entry);
		int fd = keeper_file(c, KEEPER_TRANSIENT, 0, size, 0, 0);
		void *p = fd < 0 ? MAP_FAILED :
				   mmap(NULL, size, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_POPULATE, fd, 0);

		if (p == MAP_FAILED || file_seal_writes(fd)) {
			if (p != MAP_FAILED)
				munmap(p, size);
			if (fd >= 0)
				close(fd);
			return refuse(c, cl, q, STATUS_LIMIT, "no memory for the trace ring");
		}
		c->trace = p;
		c->trace_size = size;
		c->trace_fd = fd;
	}
	if (!cl->traces) {
		cl->traces = true;
		if (c->tracers++ == 0)
			memset(c->trace, 0, c->trace_size);
		cl->packets = q->op == CTL_OP_TRACE_PACKETS;
		c->packet_tracers += cl->packets;
		trace_set(c);
	}
	reply_init(c, &r, q, STATUS_OK);
	r.size = c->trace_size;
	r.slots = entries;
	return sock_send(cl->sock, &r, sizeof(r), &c->trace_fd, 1) == 0;
}

bool client_request(struct control *c, struct client *cl, const struct proto_ctl_request *q)
{
	struct proto_ctl_request bad = *q;
	struct proto_ctl_reply r;

	if (q->magic == PROTO_CTL_REQUEST_MAGIC && q->major != PROTO_MAJOR)
		return refuse(c, cl, q, STATUS_UNSUPPORTED,
			      "this dataplane speaks version %u, the process version %u", PROTO_MAJOR,
			      q->major);
	if (proto_ctl_request_check(q) != STATUS_OK) {
		const char *why = proto_ctl_request_why(q);

		control_count(c, CC_MALFORMED);
		bad.op = 0;
		return refuse(c, cl, &bad, STATUS_BAD_MESSAGE, "malformed request: %s",
			      why ? why : "?");
	}
	switch (q->op) {
	case CTL_OP_ATTACH:
		return attach(c, cl, q);
	case CTL_OP_REGION_ALLOC:
		return region_alloc(c, cl, q);
	case CTL_OP_REGION_CLAIM:
		return region_claim(c, cl, q);
	case CTL_OP_REGION_FREE:
		return region_free(c, cl, q);
	case CTL_OP_TRACE:
	case CTL_OP_TRACE_PACKETS:
		return trace(c, cl, q);
	case CTL_OP_COUNTERS:
		reply_init(c, &r, q, STATUS_OK);
		r.size = sizeof(*c->page);
		return sock_send(cl->sock, &r, sizeof(r), &c->page_fd, 1) == 0;
	default:
		return refuse(c, cl, q, STATUS_DENIED, "only the supervisor may ask that");
	}
}
