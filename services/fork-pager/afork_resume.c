/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children: opened, built, run, watched. Whatever serves their faults may end before they do; their userfaultfds
 * are held here as well, so that a child whose pager is gone waits, and is ended from here, instead of
 * reading what was never there.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ipc/idle.h"
#include "ipc/sock.h"
#include "proto/fork_report.h"
#include "services/fork-pager/afork.h"
#include "services/fork-pager/pages/space.h"
#include "services/fork-pager/proc/restore.h"

enum {
	LOST_MS = 200,	    /* for a child to end by its SIGBUS before it is killed */
};

struct resume {
	int sock;
	struct image im;
	uint8_t *image; /* and the runs behind it */
	struct page_run *runs;
	uint64_t nruns, cache_size;
	int cache_fd;
	struct restore_child child[AFORK_CHILDREN_MAX];
	int status[AFORK_CHILDREN_MAX];
	bool running[AFORK_CHILDREN_MAX];
	int n, left;
	int *spare; /* userfaultfds of forks of children */
	size_t nspare;
	uint64_t kill_ns; /* when all that are left are killed; 0: not */
};

static volatile sig_atomic_t asked;

static void on_signal(int sig)
{
	asked = sig;
}

/* As afork_say; what the command then ends with. */
#define trouble(rc, ...) (afork_say(rc, __VA_ARGS__), AFORK_EXIT_TROUBLE)

/* ------------------------------------------------------------------ opening */

static int image_read(struct resume *r, int blob, const struct fork_control *a)
{
	size_t len = a->image_len + a->count * sizeof(struct page_run);
	const char *why = "";
	int rc;

	if (a->image_len > IMAGE_MAX || a->count > 1 << 20)
		return trouble(-EBADMSG, "the image makes no sense");
	r->image = malloc(len + 1);
	r->runs = malloc(a->count * sizeof(*r->runs) + 1);
	if (!r->image || !r->runs || pread(blob, r->image, len, 0) != (ssize_t)len)
		return trouble(-EIO, "the image cannot be read");
	memcpy(r->runs, r->image + a->image_len, a->count * sizeof(*r->runs));
	r->nruns = a->count;
	r->cache_size = a->cache_size;
	rc = image_decode(&r->im, r->image, a->image_len, &why);
	return rc ? trouble(rc, "the image is refused: %s", why) : 0;
}

static int open_handle(struct resume *r, const char *node, const struct fork_handle *h)
{
	struct fork_control a = {.op = FORK_CONTROL_OPEN, .handle = *h};
	struct page_range *ranges;
	int fds[2] = {-1, -1}, rc;
	unsigned n = 2;

	r->sock = afork_connect(node);
	if (r->sock < 0)
		return AFORK_EXIT_TROUBLE;
	rc = afork_ask(r->sock, &a, NULL, 0, fds, &n);
	if (rc)
		return trouble(rc, "the snapshot cannot be had: %s", a.text[0] ? a.text : strerror(-rc));
	if (n != 2)
		return trouble(-EPROTO, "the fork-pager gave no memory");
	r->cache_fd = fds[0];
	rc = image_read(r, fds[1], &a);
	close(fds[1]);
	if (rc)
		return rc;
	/* Both sides must mean the same by a page's number. */
	ranges = calloc(r->im.nvmas + 1, sizeof(*ranges));
	if (!ranges || image_ranges(&r->im, ranges) != r->cache_size)
		rc = trouble(-EBADMSG, "the image and the page cache do not belong together");
	free(ranges);
	return rc;
}

static int fill(struct resume *r, uint64_t page, uint64_t count)
{
	struct fork_control a = {.op = FORK_CONTROL_FILL, .page = page, .count = count};
	int rc = afork_ask(r->sock, &a, NULL, 0, NULL, NULL);

	return rc ? trouble(rc, "%s", a.text[0] ? a.text : strerror(-rc)) : 0;
}

/* What must be there at once: little, or everything where the kernel does not let us fill later. */
static int fill_first(struct resume *r, bool all)
{
	uint64_t at = 0;
	int rc = 0;

	if (all)
		return fill(r, 0, r->cache_size / PAGES_SIZE);
	for (uint32_t i = 0; i < r->im.nvmas && !rc; i++) {
		const struct image_vma *v = &r->im.vmas[i];

		if (restore_wants_whole(v))
			rc = fill(r, at, (v->end - v->start) / PAGES_SIZE);
		at += (v->end - v->start) / PAGES_SIZE;
	}
	return rc;
}

/* ------------------------------------------------------------------ a child */

static int hand_over(struct resume *r, int i)
{
	struct restore_child *c = &r->child[i];
	struct fork_control a = {.op = FORK_CONTROL_CHILD, .count = c->nplaces, .pid = c->pid};
	int fds[3] = {c->uffd, c->pidfd, -1}, rc;

	fds[2] = afork_file(c->places, c->nplaces * sizeof(*c->places), "", 0);
	if (fds[2] < 0)
		return trouble(-ENOMEM, "no memory");
	rc = afork_ask(r->sock, &a, fds, 3, NULL, NULL);
	close(fds[2]);
	return rc ? trouble(rc, "the pager does not take the child: %s", a.text[0] ? a.text : strerror(-rc)) : 0;
}

/* Until a child runs free we wait for it ourselves, and it may wait for pages: if nobody brings them any more, it is
 * ended from another thread. */
struct guard {
	struct restore_child *c;
	int sock, done;
	bool fired;
};

static void *guard(void *arg)
{
	struct guard *g = arg;
	struct pollfd p[2] = {{.fd = g->sock, .events = POLLRDHUP}, {.fd = g->done, .events = POLLIN}};

	while (!p[1].revents) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents) {
			g->fired = true;
			restore_kill(g->c);
			break;
		}
	}
	return NULL;
}

static int run_guarded(struct resume *r, struct restore_child *c)
{
	int done[2], rc;
	struct guard g = {.c = c, .sock = r->sock};
	pthread_t thread;

	if (pipe2(done, O_CLOEXEC))
		return trouble(-errno, "%s", strerror(errno));
	g.done = done[0];
	rc = pthread_create(&thread, NULL, guard, &g);
	if (rc) {
		rc = trouble(-rc, "no thread to watch a child: %s", strerror(rc));
	} else {
		rc = restore_run(c);
		close(done[1]);
		done[1] = -1;
		pthread_join(thread, NULL);
		if (g.fired)
			rc = trouble(-ECONNRESET, "the pager has ended: its children end with it");
		else if (rc)
			rc = trouble(rc, "the child does not run: %s", strerror(-rc));
	}
	close(done[0]);
	close_quietly(done[1]);
	return rc;
}

static int start(struct resume *r, int i, const struct restore_options *o)
{
	struct restore_child *c = &r->child[i];
	int rc = restore_build(c, &r->im, o);

	if (c->report.text[0])
		afork_pass(c->report.text);
	if (rc)
		return trouble(rc, "the child cannot be made: %s", strerror(-rc));
	rc = c->uffd >= 0 ? hand_over(r, i) : 0;
	if (!rc)
		rc = run_guarded(r, c);
	if (rc) {
		restore_kill(c);
		waitpid(c->pid, NULL, __WALL);
		c->pid = 0;
		restore_free(c);
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

static void spare_keep(struct resume *r, int fd)
{
	int *more = realloc(r->spare, (r->nspare + 1) * sizeof(*more));

	if (!more) {
		kill_soon(r);
		close(fd);
		return;
	}
	r->spare = more;
	r->spare[r->nspare++] = fd;
}

static void from_pager(struct resume *r)
{
	struct fork_control a;
	int fd = -1;
	unsigned n = 1;
	int rc = sock_recv(r->sock, &a, sizeof(a), &fd, &n);

	if (rc || a.magic != FORK_CONTROL_MAGIC) {
		afork_say(-ECONNRESET, "the pager has ended: its children end with it");
		close(r->sock);
		r->sock = -1;
		kill_all(r);
		return;
	}
	a.text[sizeof(a.text) - 1] = 0;
	if (n)
		spare_keep(r, fd);
	if (a.op == FORK_CONTROL_LOST) {
		afork_say(-EIO, "memory of a child is lost: %s", a.text);
		kill_soon(r);
	}
}

static void ended(struct resume *r, int i)
{
	struct restore_child *c = &r->child[i];

	if (waitpid(c->pid, &r->status[i], __WALL | WNOHANG) != c->pid)
		return;
	c->pid = 0;
	r->running[i] = false;
	r->left--;
	restore_free(c);
}

static void watch(struct resume *r)
{
	while (r->left) {
		struct pollfd p[AFORK_CHILDREN_MAX + 1];
		int wait = -1;

		if (asked) {
			for (int i = 0; i < r->n; i++)
				if (r->running[i])
					kill(r->child[i].pid, asked);
			asked = 0;
		}
		if (r->kill_ns)
			wait = 20;
		if (r->kill_ns && clock_now_ns() > r->kill_ns)
			kill_all(r);
		p[0] = (struct pollfd){.fd = r->sock, .events = POLLIN};
		for (int i = 0; i < r->n; i++)
			p[i + 1] = (struct pollfd){.fd = r->running[i] ? r->child[i].pidfd : -1, .events = POLLIN};
		if (poll(p, (nfds_t)r->n + 1, wait) < 0)
			continue;
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
	for (size_t i = 0; i < r->nspare; i++)
		close(r->spare[i]);
	free(r->spare);
	image_free(&r->im);
	free(r->image);
	free(r->runs);
	close_quietly(r->cache_fd);
	close_quietly(r->sock);
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

int afork_resume(const char *node, const struct fork_handle *h, const struct afork_options *o)
{
	struct restore_options ro = {.stdio = {-1, -1, -1}, .same_pids = !o->no_pids,
				     .uffd_features = space_features()};
	struct sigaction sa = {.sa_handler = on_signal};
	struct resume *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return trouble(-ENOMEM, "no memory");
	r->sock = r->cache_fd = -1;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	rc = open_handle(r, node, h);
	if (!rc && !ro.uffd_features)
		afork_say(0, "userfaultfd is not allowed here: all pages are fetched first");
	if (!rc)
		rc = fill_first(r, !ro.uffd_features);
	ro.cache_fd = r->cache_fd;
	ro.runs = r->runs;
	ro.nruns = (unsigned)r->nruns;
	for (; !rc && r->n < o->count; r->n++)
		rc = start(r, r->n, &ro);
	if (rc) {
		r->n -= r->n > 0 && !r->running[r->n - 1];
		kill_all(r);
	}
	if (!rc)
		afork_report(FORK_REPORT_STARTED, "", 0);
	watch(r);
	if (!rc) {
		rc = exit_status(r);
		afork_report(FORK_REPORT_ENDED, "", first_status(r));
	}
	resume_free(r);
	return rc;
}
