/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children: opened, built, run, watched. Whatever serves their faults may end before they do; their userfaultfds
 * are held here as well, so that a child whose pager is gone waits, and is ended from here, instead of
 * reading what was never there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ipc/idle.h"
#include "ipc/sock.h"
#include "proto/fork_report.h"
#include "services/fork-pager/afork.h"
#include "services/fork-pager/proc/trace.h"

enum {
	LOST_MS = 200,	    /* for a child to end by its SIGBUS before it is killed */
};

struct resume {
	struct afork_snapshot s;
	struct restore_child child[AFORK_CHILDREN_MAX];
	struct box box[AFORK_CHILDREN_MAX];
	int status[AFORK_CHILDREN_MAX];
	bool running[AFORK_CHILDREN_MAX];
	int n, left;
	uint64_t kill_ns; /* when all that are left are killed; 0: not */
};

static volatile sig_atomic_t asked;

static void on_signal(int sig)
{
	asked = sig;
}

/* As afork_say; what the command then ends with. */
#define trouble(rc, ...) (afork_say(rc, __VA_ARGS__), AFORK_EXIT_TROUBLE)

static int start(struct resume *r, int i, struct restore_options *o)
{
	struct restore_child *c = &r->child[i];
	int rc;

	o->box = r->box[i].init ? &r->box[i] : NULL;
	rc = afork_stand(&r->s, c, o);
	if (!rc)
		rc = afork_go(&r->s, c);
	if (rc) {
		afork_end(c);
		box_free(&r->box[i]);
		return rc;
	}
	r->running[i] = true;
	r->left++;
	return 0;
}

static void kill_all(struct resume *r)
{
	for (int i = 0; i < r->n; i++)
		if (r->running[i])
			restore_kill(&r->child[i]);
}

static void kill_soon(struct resume *r)
{
	if (!r->kill_ns)
		r->kill_ns = clock_now_ns() + LOST_MS * 1000000ull;
}

/* ------------------------------------------------------------------ watching */

static void lost(void *ctx, int rc, const char *why)
{
	afork_say(rc, "memory of a child is lost: %s", why);
	kill_soon(ctx);
}

static void from_pager(struct resume *r)
{
	struct fork_control a;
	int fd[2] = {-1, -1};
	unsigned n = 2;
	int rc = sock_recv(r->s.sock, &a, sizeof(a), fd, &n);

	if (rc || a.magic != FORK_CONTROL_MAGIC) {
		close(r->s.sock);
		r->s.sock = -1;
		rc = r->kill_ns ? -ENODATA : afork_keep_take(r->s.keep, r->s.cache_fd, lost, r);
		if (!rc)
			return;
		afork_say(-ECONNRESET, "the pager has ended: its children end with it%s",
			  rc == -ENODATA ? ", for they had not all their pages" : "");
		kill_all(r);
		return;
	}
	a.text[sizeof(a.text) - 1] = 0;
	if (a.op == FORK_CONTROL_SPARE && n == 1 && afork_keep_add(r->s.keep, a.page, fd[0]) == 0) {
		n = 0;
	} else if (a.op == FORK_CONTROL_SPARE) {
		kill_soon(r); /* without it, it might read what was never there */
	} else if (a.op == FORK_CONTROL_WHOLE && n == 2) {
		afork_keep_whole(r->s.keep, a.page, fd[0], fd[1]);
		n = 0;
	}
	for (unsigned i = 0; i < n; i++)
		close(fd[i]);
	if (a.op == FORK_CONTROL_LOST) {
		afork_say(-EIO, "memory of a child is lost: %s", a.text);
		kill_soon(r);
	}
}

static void ended(struct resume *r, int i)
{
	struct restore_child *c = &r->child[i];

	pid_t got = waitpid(c->pid, &r->status[i], __WALL | WNOHANG);

	if (got < 0 && errno == ECHILD && trace_ended(c->pid, &r->status[i])) {
		got = c->pid;
	} else if (got < 0 && errno == ECHILD) { /* its pidfd says that it is over: nobody can say how */
		afork_say(-ECHILD, "how child %d ended is not known", c->pid);
		r->status[i] = W_EXITCODE(AFORK_EXIT_TROUBLE, 0);
	} else if (got != c->pid) {
		return;
	}
	c->pid = 0;
	r->running[i] = false;
	r->left--;
	restore_free(c);
	if (r->box[i].init && box_oom_kills(&r->box[i]))
		afork_say(-ENOMEM, "a child went over its memory limit");
	box_free(&r->box[i]);
}

static void watch(struct resume *r)
{
	while (r->left) {
		struct pollfd p[AFORK_CHILDREN_MAX + 2];
		int wait = -1, keep = r->n + 1;

		if (asked) {
			for (int i = 0; i < r->n; i++)
				if (r->running[i])
					kill(r->child[i].pid, asked);
			asked = 0;
		}
		if (r->kill_ns)
			wait = 20;
		if (afork_keep_again(r->s.keep))
			wait = 1;
		if (r->kill_ns && clock_now_ns() > r->kill_ns)
			kill_all(r);
		p[0] = (struct pollfd){.fd = r->s.sock, .events = POLLIN};
		for (int i = 0; i < r->n; i++)
			p[i + 1] = (struct pollfd){.fd = r->running[i] ? r->child[i].pidfd : -1, .events = POLLIN};
		p[keep] = (struct pollfd){.fd = afork_keep_fd(r->s.keep), .events = POLLIN};
		if (poll(p, (nfds_t)r->n + 2, wait) < 0)
			continue;
		if (p[keep].revents || afork_keep_again(r->s.keep))
			afork_keep_turn(r->s.keep);
		if (p[0].revents)
			from_pager(r);
		for (int i = 0; i < r->n; i++)
			if (p[i + 1].revents)
				ended(r, i);
	}
}

/* ------------------------------------------------------------------ whole */

static void resume_free(struct resume *r)
{
	afork_keep_free(r->s.keep);
	afork_close(&r->s);
	free(r);
}

/* Of the first child that did not end well. */
static int first_status(const struct resume *r)
{
	for (int i = 0; i < r->n; i++)
		if (r->status[i])
			return r->status[i];
	return 0;
}

static int exit_status(const struct resume *r)
{
	int s = first_status(r);

	if (!WIFSIGNALED(s))
		return WEXITSTATUS(s);
	afork_say(0, "the child was ended by signal %d (%s)", WTERMSIG(s), strsignal(WTERMSIG(s)));
	return 128 + WTERMSIG(s);
}

/* While the snapshot is being opened: a pid namespace for the first child. If it cannot be had, restore_build says so. */
static void first_box(void *ctx)
{
	const struct box_options o = {.pid_only = true};
	struct resume *r = ctx;
	char why[160];

	if (box_make(&r->box[0], &o, why, sizeof(why)))
		r->box[0] = (struct box){.pidfd = -1, .root = -1};
}

static int boxes(struct resume *r, const struct afork_options *o)
{
	char why[160] = "";
	int rc = 0;

	for (int i = 0; i < o->count && !rc; i++) {
		rc = box_make(&r->box[i], &o->box, why, sizeof(why));
		if (why[0] && (rc || i == 0))
			afork_say(rc, "%s", why);
	}
	return rc ? AFORK_EXIT_TROUBLE : 0;
}

/* From here on nothing else is asked of the pager. The answer comes among what comes unasked. */
static void keep_begin(struct resume *r)
{
	struct fork_control a = {.op = FORK_CONTROL_KEEP};

	afork_send(r->s.sock, &a, NULL, 0);
}

int afork_resume(const char *node, const struct fork_handle *h, const struct afork_options *o)
{
	struct restore_options ro = {.stdio = {-1, -1, -1}, .same_pids = !o->no_pids};
	struct sigaction sa = {.sa_handler = on_signal};
	struct resume *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return trouble(-ENOMEM, "no memory");
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	rc = afork_open(&r->s, node, h, ro.same_pids && !o->container ? first_box : NULL, r);
	if (!rc && o->container)
		rc = boxes(r, o);
	r->s.keep = afork_keep_new();
	if (!rc && !r->s.keep)
		rc = trouble(-ENOMEM, "no memory");
	r->s.no_replay = o->no_replay;
	r->s.fill_rate = (uint64_t)o->fill_mib << 20;
	ro.uffd_features = r->s.uffd_features;
	ro.cache_fd = r->s.cache_fd;
	ro.runs = r->s.runs;
	ro.nruns = (unsigned)r->s.nruns;
	for (; !rc && r->n < o->count; r->n++)
		rc = start(r, r->n, &ro);
	if (rc) {
		r->n -= r->n > 0 && !r->running[r->n - 1];
		kill_all(r);
	} else {
		afork_report(FORK_REPORT_STARTED, "", 0);
		keep_begin(r);
	}
	watch(r);
	if (!rc) {
		rc = exit_status(r);
		afork_report(FORK_REPORT_ENDED, "", first_status(r));
	}
	for (int i = 0; i < AFORK_CHILDREN_MAX; i++)
		if (r->box[i].init)
			box_free(&r->box[i]);
	resume_free(r);
	return rc;
}
