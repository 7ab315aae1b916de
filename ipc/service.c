/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/service.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/sandbox.h"
#include "ipc/sock.h"

enum {
	BURST = 64,
	REATTACH_MS = 10000,
	ATTACH_TRIES = 200,  /* a supervisor starts everything at once */
	ATTACH_PAUSE_MS = 10,
	BACK_PAUSE_MS = 5,
	REPLY_TRIES = 100000, /* yields for room in the ring: far longer than a live dataplane needs */
	LOOK_EVERY = 1024,   /* busy turns between looks at descriptors */
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct service *s = ctx;

	if (s->ops->message)
		s->ops->message(s, m, payload);
	else
		service_reply(s, m, STATUS_UNSUPPORTED, NULL, 0, NULL, 0);
}

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct service *s = ctx;

	if (s->ops->reply)
		s->ops->reply(s, cookie, m, payload);
}

static void on_event(void *ctx, const struct proto_msg *m)
{
	struct service *s = ctx;

	if (m->opcode == OP_DP_GRANTED && s->ops->granted)
		s->ops->granted(s, m);
	else if (m->opcode == OP_DP_PEER_GONE && s->ops->peer_gone)
		s->ops->peer_gone(s, (uint32_t)m->arg[0], (uint32_t)m->arg[1],
				  (uint32_t)m->arg[2]);
}

static void on_completion(void *ctx, const struct verb_completion *c)
{
	struct service *s = ctx;

	if (s->ops->completion)
		s->ops->completion(s, c);
}

void service_bind(struct service *s, struct atoll_endpoint *ep)
{
	static const struct atoll_handlers handlers = {
		.request = on_request,
		.reply = on_reply,
		.event = on_event,
		.completion = on_completion,
	};

	s->ep = ep;
	atoll_set_handlers(ep, &handlers, s);
}

int service_reply(struct service *s, const struct proto_msg *request, uint32_t status,
		  const uint64_t *args, unsigned nargs, const void *payload, uint32_t len)
{
	struct proto_msg r = {.opcode = request->opcode,
			      .status = (uint16_t)status,
			      .trace_id = request->trace_id,
			      .length = len,
			      .nargs = (uint8_t)nargs};
	unsigned tries = 0;
	int rc;

	if (request->flags & MESSAGE_FLAG_ASYNC)
		return 0;
	if (nargs > PROTO_ARGS_MAX)
		return -EINVAL;
	if (nargs)
		memcpy(r.arg, args, nargs * sizeof(*args));
	/* the dataplane always takes replies: a full ring is a matter of its next turn */
	while ((rc = atoll_reply(s->ep, request->req_id, &r, payload)) == -EAGAIN &&
	       tries++ < REPLY_TRIES) {
		atoll_flush(s->ep);
		sched_yield();
	}
	return rc;
}

int service_fd_add(struct service *s, int fd)
{
	if (s->nfds == SERVICE_FDS_MAX)
		return -ENOSPC;
	s->fds[s->nfds++] = fd;
	return 0;
}

void service_fd_remove(struct service *s, int fd)
{
	for (unsigned i = 0; i < s->nfds; i++)
		if (s->fds[i] == fd) {
			s->fds[i] = s->fds[--s->nfds];
			return;
		}
}

/* Looks at lifeline and descriptors; waits up to @timeout_ns. Layout: lifeline, event, socket, own. */
static void look(struct service *s, int lifeline, uint64_t timeout_ns)
{
	struct pollfd p[3 + SERVICE_FDS_MAX] = {{.fd = lifeline, .events = POLLIN}};
	struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
			      .tv_nsec = (long)(timeout_ns % 1000000000u)};
	unsigned n = s->nfds;
	int ready[SERVICE_FDS_MAX];
	int fds[2];

	atoll_wait_fds(s->ep, fds);
	p[1] = (struct pollfd){.fd = fds[0], .events = POLLIN};
	p[2] = (struct pollfd){.fd = fds[1], .events = 0};
	for (unsigned i = 0; i < n; i++)
		p[3 + i] = (struct pollfd){.fd = s->fds[i], .events = POLLIN};
	if (ppoll(p, 3 + n, &ts, NULL) <= 0)
		return;
	if (p[0].revents)
		s->stop = true; /* the supervisor is gone, or says so */
	memcpy(ready, s->fds, sizeof(ready));
	for (unsigned i = 0; i < n; i++)
		if (p[3 + i].revents && s->ops->fd)
			s->ops->fd(s, ready[i]);
}

static int attach(struct service *s, const char *name)
{
	struct atoll_endpoint_conf conf = {.name = name, .kind = CTL_KIND_SERVICE};
	struct timespec pause = {.tv_nsec = ATTACH_PAUSE_MS * 1000000};
	struct atoll_endpoint *ep;
	char err[256] = "";
	int rc = -EINVAL;

	for (int i = 0; i < ATTACH_TRIES && !stopped; i++) {
		rc = atoll_attach(&ep, &conf, err, sizeof(err));
		if (rc == 0) {
			service_bind(s, ep);
			return 0;
		}
		if (rc != -ECONNREFUSED && rc != -ENOENT && rc != -EEXIST)
			break;
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "%s: cannot attach: %s\n", name, err);
	return rc;
}

/* Waits for a dataplane to listen again. 0; -EINTR: the service is to end; -ETIMEDOUT. The supervisor may
 * have ended with the old one, and then none comes. */
static int wait_back(struct service *s, int lifeline)
{
	const char *path = getenv("ATOLL_SOCKET");
	uint64_t until = clock_now_ns() + REATTACH_MS * 1000000ull;
	int fd;

	do {
		struct pollfd p = {.fd = lifeline, .events = POLLIN};

		if (poll(&p, 1, BACK_PAUSE_MS) > 0)
			s->stop = true;
		if (s->stop || stopped)
			return -EINTR;
		fd = path ? sock_connect(path) : -ENOENT;
	} while (fd < 0 && path && clock_now_ns() < until);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || !path ? 0 : -ETIMEDOUT;
}

static int turn(struct service *s, int lifeline, unsigned *busy)
{
	char err[256] = "";
	int n = atoll_poll(s->ep, BURST), rc;
	uint64_t wait = 1000000000u;

	s->now_ns = clock_now_ns();
	if (n == -ENOTCONN) {
		rc = wait_back(s, lifeline);
		if (rc == -EINTR)
			return 0;
		if (!rc)
			rc = atoll_reattach(s->ep, REATTACH_MS, err, sizeof(err));
		if (rc) {
			fprintf(stderr, "the dataplane did not come back: %s\n",
				err[0] ? err : strerror(-rc));
			return rc;
		}
		if (s->ops->reattached)
			s->ops->reattached(s);
		return 0;
	}
	if (n < 0) {
		fprintf(stderr, "the channel to the dataplane is broken: %s\n", strerror(-n));
		return n;
	}
	if (s->now_ns >= s->timer_ns && s->ops->timer) {
		s->timer_ns = UINT64_MAX;
		s->ops->timer(s);
	}
	if (s->ops->poll)
		n += (int)s->ops->poll(s);
	if (n > 0) {
		if (++*busy % LOOK_EVERY == 0)
			look(s, lifeline, 0);
		return 0;
	}
	atoll_flush(s->ep);
	if (s->timer_ns != UINT64_MAX)
		wait = s->timer_ns > s->now_ns ? s->timer_ns - s->now_ns : 0;
	if (wait > 1000000000u)
		wait = 1000000000u;
	if (atoll_idle_wants_sleep(s->ep) && wait) {
		if (atoll_sleep_begin(s->ep)) {
			look(s, lifeline, wait);
			atoll_sleep_end(s->ep);
		}
		return 0;
	}
	if (!wait)
		sched_yield(); /* it has something to do by itself: whoever shares the core comes in between */
	if (++*busy % LOOK_EVERY == 0) {
		look(s, lifeline, 0);
	}
	return 0;
}

int service_main(const struct service_ops *ops, int argc, char **argv)
{
	static const struct service_ops ended;
	struct service s = {.ops = ops, .timer_ns = UINT64_MAX};
	const char *name = getenv("ATOLL_SERVICE"), *line = getenv("ATOLL_LIFELINE");
	struct sigaction sa = {.sa_handler = on_signal};
	int lifeline = line ? atoi(line) : -1;
	unsigned busy = 0;
	int rc;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	rc = attach(&s, name ? name : ops->name);
	if (rc)
		return 1;
	s.now_ns = clock_now_ns();
	rc = ops->init ? ops->init(&s, argc, argv) : 0;
	if (!rc)
		rc = sandbox_enter(name ? name : ops->name);
	while (!rc && !s.stop && !stopped)
		rc = turn(&s, lifeline, &busy);
	if (ops->fini)
		ops->fini(&s);
	s.ops = &ended; /* what is still outstanding ends now: nobody is there to be told */
	atoll_detach(s.ep);
	return rc ? 1 : 0;
}
