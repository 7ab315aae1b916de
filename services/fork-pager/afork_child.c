/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot that is open, and a child of it up to its first instruction. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "services/fork-pager/afork.h"
#include "services/fork-pager/pages/space.h"

/* As afork_say; what the command then ends with. */
#define trouble(rc, ...) (afork_say(rc, __VA_ARGS__), AFORK_EXIT_TROUBLE)

enum {
	FILLS_DUE = 32, /* of one connection, under way */
};

/* ------------------------------------------------------------------ opening */

static int image_read(struct afork_snapshot *s, int blob, const struct fork_control *a)
{
	size_t len = a->image_len + a->count * sizeof(struct page_run);
	const char *why = "";
	int rc;

	if (a->image_len > IMAGE_MAX || a->count > 1 << 20)
		return trouble(-EBADMSG, "the image makes no sense");
	s->image = malloc(len + 1);
	s->runs = malloc(a->count * sizeof(*s->runs) + 1);
	if (!s->image || !s->runs || pread(blob, s->image, len, 0) != (ssize_t)len)
		return trouble(-EIO, "the image cannot be read");
	memcpy(s->runs, s->image + a->image_len, a->count * sizeof(*s->runs));
	s->nruns = a->count;
	s->cache_size = a->cache_size;
	rc = image_decode(&s->im, s->image, a->image_len, &why);
	return rc ? trouble(rc, "the image is refused: %s", why) : 0;
}

static int opened(struct afork_snapshot *s, const char *node, const struct fork_handle *h, void (*meanwhile)(void *ctx), void *ctx)
{
	struct fork_control a = {.op = FORK_CONTROL_OPEN, .handle = *h};
	struct page_range *ranges;
	int fds[2] = {-1, -1}, rc;
	unsigned n = 2;

	s->sock = afork_connect(node);
	if (s->sock < 0)
		return AFORK_EXIT_TROUBLE;
	rc = afork_send(s->sock, &a, NULL, 0);
	if (!rc && meanwhile)
		meanwhile(ctx);
	if (!rc)
		rc = afork_answer(s->sock, &a, fds, &n);
	if (rc)
		return trouble(rc, "the snapshot cannot be had: %s", a.text[0] ? a.text : strerror(-rc));
	if (n != 2)
		return trouble(-EPROTO, "the fork-pager gave no memory");
	s->cache_fd = fds[0];
	rc = image_read(s, fds[1], &a);
	close(fds[1]);
	if (rc)
		return rc;
	/* Both sides must mean the same by a page's number. */
	ranges = calloc(s->im.nvmas + 1, sizeof(*ranges));
	if (!ranges || image_ranges(&s->im, ranges) != s->cache_size)
		rc = trouble(-EBADMSG, "the image and the page cache do not belong together");
	free(ranges);
	return rc;
}

/* Waits until no more than so many answers to FILL are due. */
static int fills_wait(struct afork_snapshot *s, unsigned due)
{
	struct fork_control a;
	int rc = 0;

	while (s->fills > due && !rc) {
		rc = afork_answer(s->sock, &a, NULL, NULL);
		s->fills--;
	}
	return rc ? trouble(rc, "%s", a.text[0] ? a.text : strerror(-rc)) : 0;
}

static int filled(void *ctx)
{
	return fills_wait(ctx, 0) ? -EIO : 0;
}

/* Asks only: the child is built meanwhile. */
static int fill(struct afork_snapshot *s, uint64_t page, uint64_t count)
{
	struct fork_control a = {.op = FORK_CONTROL_FILL, .page = page, .count = count};
	int rc = fills_wait(s, FILLS_DUE - 1);

	if (rc)
		return rc;
	rc = afork_send(s->sock, &a, NULL, 0);
	if (rc)
		return trouble(rc, "the fork-pager has ended");
	s->fills++;
	return 0;
}

/* What must be there at once: little, or everything where the kernel does not let us fill later. */
static int fill_first(struct afork_snapshot *s, bool all)
{
	uint64_t at = 0;
	int rc = 0;

	if (all)
		rc = fill(s, 0, s->cache_size / PAGES_SIZE);
	if (all)
		return rc ? rc : fills_wait(s, 0);
	for (uint32_t i = 0; i < s->im.nvmas && !rc; i++) {
		const struct image_vma *v = &s->im.vmas[i];

		if (restore_wants_whole(v))
			rc = fill(s, at, (v->end - v->start) / PAGES_SIZE);
		at += (v->end - v->start) / PAGES_SIZE;
	}
	return rc;
}

/* ------------------------------------------------------------------ a child */

static int hand_over(struct afork_snapshot *s, struct restore_child *c)
{
	struct fork_control a = {.op = FORK_CONTROL_CHILD, .count = c->nplaces, .pid = c->pid, .page = s->fill_rate,
				 .flags = s->no_replay ? FORK_CONTROL_NO_REPLAY : 0};
	int fds[3] = {c->uffd, c->pidfd, -1}, rc;

	fds[2] = afork_file(c->places, c->nplaces * sizeof(*c->places), "", 0);
	if (fds[2] < 0)
		return trouble(-ENOMEM, "no memory");
	rc = afork_ask(s->sock, &a, fds, 3, NULL, NULL);
	close(fds[2]);
	if (rc)
		return trouble(rc, "the pager does not take the child: %s", a.text[0] ? a.text : strerror(-rc));
	if (s->keep) {
		int fd = fcntl(c->uffd, F_DUPFD_CLOEXEC, 0);

		if (fd < 0 || afork_keep_add(s->keep, a.page, fd)) {
			close_quietly(fd);
			return trouble(-ENOMEM, "no memory");
		}
	}
	return 0;
}

/* Until a child runs free we wait for it ourselves, and it may wait for pages: if nobody brings them any more, a signal
 * comes from the socket, and the child is ended. */
static struct {
	struct restore_child *volatile c;
	int sock;
	volatile sig_atomic_t fired;
} guarded;

static void guard(int sig)
{
	struct pollfd p = {.fd = guarded.sock, .events = POLLRDHUP};
	int saved = errno;

	(void)sig;
	if (guarded.c && poll(&p, 1, 0) > 0) {
		guarded.fired = 1;
		restore_kill(guarded.c);
	}
	errno = saved;
}

int afork_go(struct afork_snapshot *s, struct restore_child *c)
{
	struct sigaction sa = {.sa_handler = guard, .sa_flags = SA_RESTART}, before;
	int flags = fcntl(s->sock, F_GETFL), rc;

	guarded.c = c;
	guarded.sock = s->sock;
	guarded.fired = 0;
	if (sigaction(SIGIO, &sa, &before) || fcntl(s->sock, F_SETOWN, getpid()) || fcntl(s->sock, F_SETFL, flags | O_ASYNC)) {
		guarded.c = NULL;
		return trouble(-errno, "a child cannot be watched: %s", strerror(errno));
	}
	guard(SIGIO); /* it may have ended before */
	rc = restore_run(c);
	guarded.c = NULL;
	fcntl(s->sock, F_SETFL, flags);
	sigaction(SIGIO, &before, NULL);
	if (guarded.fired)
		rc = trouble(-ECONNRESET, "the pager has ended: its children end with it");
	else if (rc)
		rc = trouble(rc, "the child does not run: %s", strerror(-rc));
	return rc;
}

int afork_stand(struct afork_snapshot *s, struct restore_child *c, const struct restore_options *options)
{
	struct restore_options o = *options;
	int rc;

	o.filled = filled;
	o.filled_ctx = s;
	rc = restore_build(c, &s->im, &o);

	if (c->report.text[0])
		afork_pass(c->report.text);
	if (rc)
		return trouble(rc, "the child cannot be made: %s", strerror(-rc));
	return c->uffd >= 0 ? hand_over(s, c) : 0;
}

void afork_end(struct restore_child *c)
{
	restore_kill(c);
	if (c->pid > 0)
		waitpid(c->pid, NULL, __WALL);
	c->pid = 0;
	restore_free(c);
}

int afork_open(struct afork_snapshot *s, const char *node, const struct fork_handle *h, void (*meanwhile)(void *ctx), void *ctx)
{
	int rc;

	memset(s, 0, sizeof(*s));
	s->sock = s->cache_fd = -1;
	s->uffd_features = space_features();
	rc = opened(s, node, h, meanwhile, ctx);
	if (!rc && !s->uffd_features)
		afork_say(0, "userfaultfd is not allowed here: all pages are fetched first");
	return rc ? rc : fill_first(s, !s->uffd_features);
}

void afork_close(struct afork_snapshot *s)
{
	image_free(&s->im);
	free(s->image);
	free(s->runs);
	close_quietly(s->cache_fd);
	close_quietly(s->sock);
}
