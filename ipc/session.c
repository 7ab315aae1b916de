/* SPDX-License-Identifier: Apache-2.0 */
/* An endpoint's session with its dataplane: attach, reattach, lanes, regions. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/endpoint.h"
#include "ipc/endpoint_impl.h"
#include "ipc/sock.h"

enum { CONTROL_TIMEOUT_MS = 2000, RETRY_MS = 5 };

static void say(char *err, size_t len, const char *what, const char *why)
{
	if (err && len)
		snprintf(err, len, "%s: %s", what, why);
}

/* One request and its answer on the control socket. Closes what descriptors come with an error. */
static int control(int sock, struct proto_ctl_request *q, struct proto_ctl_reply *r, int *fds,
		   unsigned want, char *err, size_t errlen)
{
	unsigned n = SOCK_FDS_MAX;
	int got[SOCK_FDS_MAX], rc;

	q->magic = PROTO_CTL_REQUEST_MAGIC;
	q->major = PROTO_MAJOR;
	rc = sock_send(sock, q, sizeof(*q), NULL, 0);
	if (!rc || rc == -EPIPE) /* hung up already: perhaps with a reason */
		rc = sock_recv_timeout(sock, r, sizeof(*r), got, &n, CONTROL_TIMEOUT_MS);
	if (rc) {
		say(err, errlen, "the dataplane's control socket", strerror(-rc));
		return rc;
	}
	r->text[sizeof(r->text) - 1] = 0;
	if (proto_ctl_reply_check(r) != STATUS_OK || r->op != q->op)
		rc = -EPROTO;
	else if (r->status != STATUS_OK)
		rc = atoll_status_errno(r->status);
	else if (n != want)
		rc = -EPROTO;
	if (rc) {
		while (n)
			close(got[--n]);
		say(err, errlen, r->text[0] ? r->text : "the dataplane refused",
		    rc == -EPROTO ? "answer of another version" : proto_status_name(r->status));
		return rc;
	}
	if (want)
		memcpy(fds, got, want * sizeof(int));
	return 0;
}

/* Map a memory file that must be sealed at exactly @size bytes. */
static void *map_file(int fd, size_t size, int prot)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) || (uint64_t)st.st_size < size ||
	    (fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return NULL;
	p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void session_close(struct atoll_endpoint *ep)
{
	if (ep->own_map)
		munmap(ep->own_map, ep->map_size);
	if (ep->peer_map)
		munmap(ep->peer_map, ep->map_size);
	if (ep->sock >= 0)
		close(ep->sock);
	if (ep->wake_fd >= 0)
		close(ep->wake_fd);
	if (ep->event_fd >= 0)
		close(ep->event_fd);
	ep->own_map = ep->peer_map = NULL;
	ep->sock = ep->wake_fd = ep->event_fd = -1;
	memset(&ep->ch, 0, sizeof(ep->ch));
}

/* Connect and attach; on success the endpoint has a channel. */
static int session_open(struct atoll_endpoint *ep, char *err, size_t errlen)
{
	struct proto_ctl_request q = {.op = CTL_OP_ATTACH,
				      .kind = ep->conf.kind,
				      .features = PROTO_FEATURES,
				      .slots = ep->conf.slots,
				      .arena = ep->conf.arena,
				      .key = ep->secret};
	struct proto_ctl_reply r;
	int fds[4] = {-1, -1, -1, -1}, sock, rc;

	memcpy(q.name, ep->name, sizeof(q.name));
	sock = sock_connect(ep->path);
	if (sock < 0) {
		if (err && errlen)
			snprintf(err, errlen, "no dataplane answers at %s (%s): is the node up? (svcctl up)",
				 ep->path, strerror(-sock));
		return sock;
	}
	rc = control(sock, &q, &r, fds, 4, err, errlen);
	if (rc) {
		close(sock);
		return rc;
	}
	ep->sock = sock;
	ep->wake_fd = fds[2];
	ep->event_fd = fds[3];
	fcntl(ep->event_fd, F_SETFL, O_NONBLOCK);
	rc = -EPROTO;
	if (channel_size_ok(r.slots, r.arena)) {
		ep->map_size = channel_half_size(r.slots, r.arena);
		ep->own_map = map_file(fds[0], ep->map_size, PROT_READ | PROT_WRITE);
		ep->peer_map = map_file(fds[1], ep->map_size, PROT_READ);
		if (ep->own_map && ep->peer_map)
			rc = endpoint_bind(ep, ep->own_map, ep->peer_map, r.slots, r.arena);
	}
	close(fds[0]);
	close(fds[1]);
	if (rc) {
		say(err, errlen, "the dataplane's channel", "its memory is not what was agreed");
		session_close(ep);
		return rc;
	}
	ep->source = r.src;
	ep->epoch = r.epoch;
	ep->incarnation = r.incarnation;
	ep->secret = r.key;
	idle_init(&ep->idle, ep->conf.idle ? ep->conf.idle : (uint8_t)r.idle, idle_few_cores());
	return 0;
}

int atoll_attach(struct atoll_endpoint **out, const struct atoll_endpoint_conf *conf, char *err,
		 size_t errlen)
{
	const char *path = conf->socket ? conf->socket : getenv("ATOLL_SOCKET");
	struct atoll_endpoint *ep;
	int rc;

	if (!path) {
		say(err, errlen, "no dataplane was named", "set ATOLL_SOCKET to RUN_DIR/dataplane.sock");
		return -EINVAL;
	}
	if (strlen(path) >= sizeof(ep->path) || !conf->name || !conf->name[0] ||
	    strlen(conf->name) > PROTO_NAME_MAX) {
		say(err, errlen, "attach", "the socket's path or the endpoint's name is too long or empty");
		return -EINVAL;
	}
	ep = endpoint_new();
	if (!ep)
		return -ENOMEM;
	ep->conf = *conf;
	strcpy(ep->path, path);
	strcpy(ep->name, conf->name);
	rc = session_open(ep, err, errlen);
	if (rc) {
		free(ep);
		return rc;
	}
	*out = ep;
	return 0;
}

void atoll_detach(struct atoll_endpoint *ep)
{
	endpoint_mark_lost(ep);
	endpoint_fail_requests(ep, STATUS_UNREACHABLE);
	endpoint_fail_chains(ep, STATUS_UNREACHABLE);
	for (unsigned i = 0; i < EP_REGIONS; i++)
		if (ep->regions[i].used && ep->regions[i].base)
			munmap(ep->regions[i].base, ep->regions[i].size);
	session_close(ep);
	free(ep);
}

static int region_request(struct atoll_endpoint *ep, struct proto_ctl_request *q,
			  struct proto_ctl_reply *r, int *fd, char *err, size_t errlen)
{
	int rc;

	if (ep->lost || ep->sock < 0)
		return -ENOTCONN;
	rc = control(ep->sock, q, r, fd, fd ? 1 : 0, err, errlen);
	if (rc == -ECONNRESET || rc == -EPIPE) {
		ep->lost = true;
		rc = -ENOTCONN;
	}
	return rc;
}

int atoll_reattach(struct atoll_endpoint *ep, int timeout_ms, char *err, size_t errlen)
{
	uint64_t end = clock_now_ns() + (uint64_t)timeout_ms * 1000000u;
	struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
	int rc;

	endpoint_mark_lost(ep);
	for (unsigned i = 0; i < EP_LANES; i++)
		ep->lanes[i].open = false;
	session_close(ep);
	ep->lost = true;
	while ((rc = session_open(ep, err, errlen)) != 0) {
		if (clock_now_ns() > end || rc == -EACCES || rc == -EPROTO)
			return rc == -EACCES || rc == -EPROTO ? rc : -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < EP_REGIONS; i++) {
		struct proto_ctl_request q = {.op = CTL_OP_REGION_CLAIM, .key = ep->regions[i].key};
		struct proto_ctl_reply r;
		int fd;

		if (!ep->regions[i].used)
			continue;
		rc = region_request(ep, &q, &r, &fd, err, errlen);
		if (rc)
			return rc;
		close(fd);
		ep->regions[i].handle = (struct atoll_handle){r.slot, r.gen};
	}
	endpoint_fail_requests(ep, STATUS_UNREACHABLE);
	for (unsigned i = 0; i < EP_LANES; i++) {
		if (!ep->lanes[i].used)
			continue;
		/* its node may be slow to see that our old dataplane is gone */
		do {
			rc = endpoint_lane_join(ep, &ep->lanes[i], 500);
			if (rc == -EHOSTUNREACH || rc == -EAGAIN)
				nanosleep(&pause, NULL);
		} while (rc && rc != -ENOTCONN && clock_now_ns() < end);
		if (rc) {
			say(err, errlen, "the lane to the other node did not open again",
			    strerror(-rc));
			return rc == -ENOTCONN ? rc : -ETIMEDOUT;
		}
	}
	endpoint_fail_chains(ep, STATUS_IN_DOUBT);
	return 0;
}

/* ---------------------------------------------------------------- lanes, names */

int endpoint_lane_join(struct atoll_endpoint *ep, struct ep_lane *lane, int timeout_ms)
{
	struct proto_msg q = {.opcode = OP_DP_LANE_OPEN, .nargs = 2, .arg = {lane->node, lane->depth}};
	struct proto_msg r;
	int rc = atoll_call(ep, ATOLL_DATAPLANE, &q, NULL, &r, NULL, timeout_ms);

	if (rc)
		return rc;
	if (r.status != STATUS_OK)
		return atoll_status_errno(r.status);
	lane->number = (uint32_t)r.arg[REPLY_DP_LANE_OPEN_LANE];
	lane->open = true;
	return 0;
}

int atoll_lane_open(struct atoll_endpoint *ep, uint32_t node, uint32_t depth, uint32_t *lane,
		    int timeout_ms)
{
	for (uint32_t i = 0; i < EP_LANES; i++) {
		struct ep_lane *l = &ep->lanes[i];
		int rc;

		if (l->used)
			continue;
		*l = (struct ep_lane){.node = node, .depth = depth};
		rc = endpoint_lane_join(ep, l, timeout_ms);
		l->used = rc == 0;
		*lane = i;
		return rc;
	}
	return -ENOSPC;
}

int atoll_lane_close(struct atoll_endpoint *ep, uint32_t lane, int timeout_ms)
{
	struct proto_msg q = {.opcode = OP_DP_LANE_CLOSE, .nargs = 1}, r;
	struct ep_lane *l = lane < EP_LANES ? &ep->lanes[lane] : NULL;
	int rc = 0;

	if (!l || !l->used)
		return -EINVAL;
	l->used = false;
	if (l->open) {
		q.arg[ARG_DP_LANE_CLOSE_LANE] = l->number;
		rc = atoll_call(ep, ATOLL_DATAPLANE, &q, NULL, &r, NULL, timeout_ms);
	}
	return rc || !l->open ? rc : atoll_status_errno(r.status);
}

int atoll_lookup(struct atoll_endpoint *ep, const char *name, struct atoll_handle *out,
		 uint32_t *node, int timeout_ms)
{
	struct proto_msg q = {.opcode = OP_DP_LOOKUP, .length = (uint32_t)strlen(name)}, r;
	int rc;

	if (q.length == 0 || q.length > 127)
		return -EINVAL;
	rc = atoll_call(ep, ATOLL_DATAPLANE, &q, name, &r, NULL, timeout_ms);
	if (rc)
		return rc;
	if (r.status != STATUS_OK)
		return atoll_status_errno(r.status);
	out->slot = (uint32_t)r.arg[REPLY_DP_LOOKUP_SLOT];
	out->gen = (uint32_t)r.arg[REPLY_DP_LOOKUP_GEN];
	if (node)
		*node = (uint32_t)r.arg[REPLY_DP_LOOKUP_NODE];
	return 0;
}

/* ---------------------------------------------------------------- regions */

/* @keep: NULL, or where its descriptor goes. */
static int region_open(struct atoll_endpoint *ep, struct proto_ctl_request *q,
		       struct atoll_region *out, int *keep, char *err, size_t errlen)
{
	struct proto_ctl_reply r;
	uint32_t i;
	void *base;
	int fd, rc;

	for (i = 0; i < EP_REGIONS && ep->regions[i].used; i++)
		;
	if (i == EP_REGIONS) {
		say(err, errlen, "region", "this endpoint has as many regions as it may");
		return -ENOSPC;
	}
	rc = region_request(ep, q, &r, &fd, err, errlen);
	if (rc)
		return rc;
	base = map_file(fd, r.size, PROT_READ | PROT_WRITE);
	if (!base || !keep)
		close(fd);
	else
		*keep = fd;
	if (!base) {
		say(err, errlen, "region", "its memory cannot be mapped");
		return -ENOMEM;
	}
	ep->regions[i] = (struct ep_region){.handle = {r.slot, r.gen},
					    .base = base,
					    .size = r.size,
					    .key = r.key,
					    .flags = q->flags,
					    .used = true};
	*out = (struct atoll_region){.handle = {r.slot, r.gen},
				     .base = base,
				     .size = r.size,
				     .key = r.key,
				     .flags = q->flags,
				     .index = i};
	return 0;
}

int atoll_region_alloc(struct atoll_endpoint *ep, uint64_t size, uint32_t flags,
		       struct atoll_region *out, char *err, size_t errlen)
{
	struct proto_ctl_request q = {
		.op = CTL_OP_REGION_ALLOC, .size = size, .flags = flags, .numa = 0xffffffff};

	return region_open(ep, &q, out, NULL, err, errlen);
}

int atoll_region_alloc_fd(struct atoll_endpoint *ep, uint64_t size, uint32_t flags,
			  struct atoll_region *out, int *fd, char *err, size_t errlen)
{
	struct proto_ctl_request q = {
		.op = CTL_OP_REGION_ALLOC, .size = size, .flags = flags, .numa = 0xffffffff};

	return region_open(ep, &q, out, fd, err, errlen);
}

int atoll_region_claim(struct atoll_endpoint *ep, uint64_t key, struct atoll_region *out, char *err,
		       size_t errlen)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_CLAIM, .key = key, .numa = 0xffffffff};

	return region_open(ep, &q, out, NULL, err, errlen);
}

int atoll_region_free(struct atoll_endpoint *ep, struct atoll_region *region)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_FREE, .key = region->key};
	struct proto_ctl_reply r;
	struct ep_region *g;
	int rc;

	if (region->index >= EP_REGIONS || !ep->regions[region->index].used)
		return -EINVAL;
	g = &ep->regions[region->index];
	rc = region_request(ep, &q, &r, NULL, NULL, 0);
	munmap(g->base, g->size);
	memset(g, 0, sizeof(*g));
	region->base = NULL;
	return rc;
}

struct atoll_handle atoll_region_handle(const struct atoll_endpoint *ep,
					const struct atoll_region *region)
{
	return ep->regions[region->index].handle;
}
