/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork-pager - holds snapshots of processes of this node, and fills the memory of children whose pages are
 * on others.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "services/fork-pager/server.h"

enum {
	EVENTS = 32,
	ACTIVE_NS = 2000000,   /* after a fault or a page it looks for the next one without sleeping */
	AGAIN_NS = 20000,      /* for faults that met a change of their memory */
	SWEEP_NS = 500000000,  /* for forks of children that have ended */
};

static const char usage[] =
	"usage: fork-pager [--window PAGES] [--cache-s SECONDS]\n"
	"A service of a node: svcctl starts it. It listens for afork on fork.sock in its state directory.\n"
	"  --window PAGES    asked for at once on a fault, 1 to 128; default 32\n"
	"  --cache-s SECONDS how long pages are kept after the last child; default 60\n";

void server_say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("fork-pager: ");
	vprintf(format, ap);
	printf("\n");
	va_end(ap);
}

int server_watch(struct server *v, int fd, enum watch_kind kind, void *ptr)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	if (fd < 0 || fd >= FDS_MAX)
		return -EMFILE;
	v->watch[fd].kind = (uint8_t)kind;
	v->watch[fd].ptr = ptr;
	if (epoll_ctl(v->epoll, EPOLL_CTL_ADD, fd, &e) == 0)
		return 0;
	v->watch[fd].kind = WATCH_NONE;
	return -errno;
}

void server_forget(struct server *v, int fd)
{
	if (fd < 0 || fd >= FDS_MAX || v->watch[fd].kind == WATCH_NONE)
		return;
	v->watch[fd].kind = WATCH_NONE;
	epoll_ctl(v->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* All descriptors that are readable. Not from inside atoll_poll: commands may ask the dataplane and wait. */
static void look(struct server *v)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(v->epoll, e, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		int fd = e[i].data.fd;
		void *ptr = v->watch[fd].ptr;

		switch ((enum watch_kind)v->watch[fd].kind) {
		case WATCH_LISTEN:
			control_accept(v);
			break;
		case WATCH_CONN:
			control_readable(v, ptr);
			break;
		case WATCH_CHILD:
			space_child_ready(ptr);
			break;
		case WATCH_PROCESS:
			child_ended(v, ptr);
			break;
		case WATCH_NONE:
			break;
		}
	}
	if (n > 0)
		v->active_ns = v->s->now_ns;
}

/* What is due, and when to come again. */
static void turn(struct service *s)
{
	struct server *v = s->state;
	uint64_t now = s->now_ns, next, step = UINT64_MAX;
	bool again = false;

	look(v);
	if (exports_step(v))
		again = true;
	for (unsigned i = 0; i < REMOTES_MAX; i++) {
		struct space *sp = v->remotes[i].space;

		if (!sp)
			continue;
		if (space_wants_again(sp)) {
			space_again(sp);
			again = true;
		}
		again |= space_step(sp, now, &step);
		if (now >= v->sweep_ns) {
			space_sweep(sp);
			children_keep(v, &v->remotes[i]);
		}
	}
	if (now >= v->sweep_ns)
		v->sweep_ns = now + SWEEP_NS;
	next = remotes_tick(v, now);
	if (step < next)
		next = step;
	if (v->nchildren && v->sweep_ns < next)
		next = v->sweep_ns;
	/* On few cores others need this one for what is waited for. */
	if (again || (!idle_few_cores() && now < v->active_ns + ACTIVE_NS))
		next = now;
	if (next < s->timer_ns)
		s->timer_ns = next;
}

static int number(const char *text, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n < min || n > max) {
		fprintf(stderr, "fork-pager: a number from %u to %u is wanted, not \"%s\"\n", min, max, text);
		return -EINVAL;
	}
	*out = (unsigned)n;
	return 0;
}

static int pager_init(struct service *s, int argc, char **argv)
{
	static const struct option options[] = {
		{"window", 1, NULL, 'w'}, {"cache-s", 1, NULL, 'c'}, {NULL, 0, NULL, 0}};
	const char *state = getenv("ATOLL_STATE");
	struct rlimit files;
	struct server *v = calloc(1, sizeof(*v));
	unsigned window = 32, cache_s = 60;
	int c, rc = v ? 0 : -ENOMEM;

	while (!rc && (c = getopt_long(argc, argv, "", options, NULL)) != -1)
		rc = c == 'w'   ? number(optarg, 1, SLOT_PAGES, &window)
		     : c == 'c' ? number(optarg, 0, 86400, &cache_s)
				: -EINVAL;
	if (rc) {
		free(v);
		return rc;
	}
	s->state = v;
	v->s = s;
	v->window = window;
	v->cache_s = cache_s;
	v->listen = -1;
	if (snprintf(v->path, sizeof(v->path), "%s/fork.sock", state ? state : ".") >= (int)sizeof(v->path)) {
		fprintf(stderr, "fork-pager: the path of its state directory is too long\n");
		return -ENAMETOOLONG;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	v->epoll = epoll_create1(EPOLL_CLOEXEC);
	foreign_init(v->epoll);
	rc = v->epoll < 0 ? -errno : service_fd_add(s, v->epoll);
	if (!rc)
		rc = remotes_init(v);
	if (!rc)
		rc = control_init(v);
	s->timer_ns = 0;
	return rc;
}

static void pager_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	struct server *v = s->state;
	uint64_t stat[4] = {0, v->nchildren, 0, v->messages};

	(void)payload;
	switch (m->opcode) {
	case OP_FORK_OPEN:
	case OP_FORK_CLOSE:
	case OP_FORK_RECLAIM:
		exports_message(v, m);
		break;
	case OP_FORK_STAT:
		for (unsigned i = 0; i < EXPORTS_MAX; i++) {
			stat[0] += v->exports[i].used;
			stat[2] += v->exports[i].used ? v->exports[i].size : 0;
		}
		service_reply(s, m, STATUS_OK, stat, 4, NULL, 0);
		break;
	default:
		service_reply(s, m, STATUS_UNSUPPORTED, NULL, 0, NULL, 0);
	}
}

static void pager_reply(struct service *s, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct server *v = s->state;

	(void)payload;
	if (cookie & EXPORT_COOKIE)
		exports_revoked(v, cookie, m->status);
	else if (cookie & REMOTE_COOKIE)
		remotes_reply(v, cookie, m);
	s->timer_ns = s->now_ns;
}

static void pager_granted(struct service *s, const struct proto_msg *m)
{
	remotes_granted(s->state, m);
}

static void pager_peer_gone(struct service *s, uint32_t source, uint32_t epoch, uint32_t why)
{
	(void)why;
	exports_peer_gone(s->state, source, epoch);
}

static void pager_completion(struct service *s, const struct verb_completion *c)
{
	remotes_completion(s->state, c);
	s->timer_ns = s->now_ns;
}

static void pager_fd(struct service *s, int fd)
{
	(void)fd;
	turn(s);
}

static void pager_reattached(struct service *s)
{
	exports_reattached(s->state);
	remotes_reattached(s->state);
	s->timer_ns = s->now_ns;
}

static void pager_fini(struct service *s)
{
	struct server *v = s->state;

	if (!v)
		return;
	control_free(v);
	remotes_free(v);
	free(v);
	s->state = NULL;
}

static const struct service_ops pager_ops = {
	.name = "fork-pager",
	.init = pager_init,
	.message = pager_message,
	.reply = pager_reply,
	.granted = pager_granted,
	.peer_gone = pager_peer_gone,
	.fd = pager_fd,
	.timer = turn,
	.completion = pager_completion,
	.reattached = pager_reattached,
	.fini = pager_fini,
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return fputs(usage, stdout) < 0;
	return service_main(&pager_ops, argc, argv);
}
