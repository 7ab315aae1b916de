/* SPDX-License-Identifier: Apache-2.0 */
/*
 * afork serve - one connection, one forked child.
 *
 * The program whose snapshot is served listens on a unix socket, as a function of the Fn project does. Each worker is a process
 * that has one child standing complete in a container of its own, with that socket bound in it but not run. Whoever connects first gets
 * it: the worker connects to the child's socket, lets it run, and passes bytes to and fro until one side has
 * ended. Then the child is killed, with all that it has started, and the next one is made, when nobody waits for it. So state never passes from
 * one request to another, and what a connection waits for is the child's first instructions.
 *
 * The directory of the socket is an empty file system of the container's own: children do not meet.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/fork_report.h"
#include "services/fork-pager/afork.h"

enum {
	BUFFER = 65536,
	BACKLOG = 512,
	AGAIN_MS = 500, /* before a worker that has ended is replaced */
};

struct worker {
	struct afork_snapshot s;
	const struct afork_options *o;
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]; /* of the program */
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	int listen;
	struct box box;
	struct restore_child child;
};

static volatile sig_atomic_t ended;

static void on_end(int sig)
{
	ended = sig;
}

/* ------------------------------------------------------------------ one child */

/* Where the program listens. */
static int socket_find(struct worker *w)
{
	const struct image *im = &w->s.im;
	unsigned found = 0;

	for (uint32_t i = 0; i < im->nfiles; i++) {
		const struct image_file *f = &im->files[i];
		const struct sockaddr_un *a = (const struct sockaddr_un *)(const void *)f->data.data;
		size_t len;

		if (f->kind != IMAGE_FILE_LISTENER || f->data.len < sizeof(sa_family_t) + 2)
			continue;
		if (a->sun_family != AF_UNIX || a->sun_path[0] != '/') {
			afork_say(-EOPNOTSUPP, "it listens on something that is no unix socket with a path");
			return AFORK_EXIT_TROUBLE;
		}
		len = f->data.len - sizeof(sa_family_t);
		if (len > sizeof(a->sun_path))
			len = sizeof(a->sun_path);
		snprintf(w->socket, sizeof(w->socket), "%.*s", (int)len, a->sun_path);
		found++;
	}
	if (found != 1) {
		afork_say(-EOPNOTSUPP, "a program that is served listens on one unix socket, this one on %u", found);
		return AFORK_EXIT_TROUBLE;
	}
	snprintf(w->dir, sizeof(w->dir), "%s", w->socket);
	*strrchr(w->dir, '/') = 0;
	if (!w->dir[0]) {
		afork_say(-EOPNOTSUPP, "its socket lies in the root directory");
		return AFORK_EXIT_TROUBLE;
	}
	return 0;
}

static int child_stand(struct worker *w)
{
	struct restore_options ro = {.stdio = {-1, -1, -1}, .same_pids = true, .uffd_features = w->s.uffd_features,
				     .cache_fd = w->s.cache_fd, .runs = w->s.runs, .nruns = (unsigned)w->s.nruns,
				     .box = &w->box};
	struct box_options bo = w->o->box;
	char why[160];
	int rc;

	bo.private_dir = w->dir;
	rc = box_make(&w->box, &bo, why, sizeof(why));
	if (rc) {
		afork_say(rc, "%s", why);
		return AFORK_EXIT_TROUBLE;
	}
	rc = afork_stand(&w->s, &w->child, &ro);
	if (rc) {
		afork_end(&w->child);
		box_free(&w->box);
	}
	return rc;
}

static void child_end(struct worker *w)
{
	afork_end(&w->child);
	if (box_oom_kills(&w->box))
		afork_say(0, "a child went over its memory limit");
	box_free(&w->box);
}

/* The child's socket listens before the child runs. */
static int child_connect(struct worker *w)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int dir = box_open(&w->box, w->dir, O_PATH | O_DIRECTORY), fd, rc = 0;

	if (dir < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d%s", dir, strrchr(w->socket, '/')) >=
			      (int)sizeof(a.sun_path))
		rc = fd < 0 ? -errno : -ENAMETOOLONG;
	else if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		rc = -errno;
	close(dir);
	if (rc && fd >= 0)
		close(fd);
	return rc ? rc : fd;
}

/* ------------------------------------------------------------------ bytes to and fro */

struct way {
	int from, to;
	size_t at, len; /* of `data`: what is still to be written */
	bool done;	/* no more will come */
	uint8_t data[BUFFER];
};

/* false: the other side has gone. */
static bool way_move(struct way *y)
{
	ssize_t n;

	if (y->len) {
		n = send(y->to, y->data + y->at, y->len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		y->at += (size_t)n;
		y->len -= (size_t)n;
		return true;
	}
	if (y->done)
		return true;
	n = recv(y->from, y->data, sizeof(y->data), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		y->done = true;
		shutdown(y->to, SHUT_WR);
		return true;
	}
	y->at = 0;
	y->len = (size_t)n;
	return way_move(y);
}

/* userfaultfds of what a child has forked: held so that no memory turns to zeros if the pager ends first. */
static struct {
	int *fd;
	size_t n;
} forks;

static int fork_keep(int fd)
{
	int *more = realloc(forks.fd, (forks.n + 1) * sizeof(*more));

	if (!more) {
		close(fd);
		return -ENOMEM;
	}
	forks.fd = more;
	forks.fd[forks.n++] = fd;
	return 0;
}

static void forks_close(void)
{
	for (size_t i = 0; i < forks.n; i++)
		close(forks.fd[i]);
	free(forks.fd);
	forks.fd = NULL;
	forks.n = 0;
}

/* Until the child has nothing more to say, or its client does not listen. What the pager says meanwhile is heard: 0, or it has ended. */
static int pass(struct worker *w, int client, int child)
{
	static struct way in, out;
	int rc = 0;

	in = (struct way){.from = client, .to = child};
	out = (struct way){.from = child, .to = client};
	while (!(out.done && !out.len) && !rc) {
		struct pollfd p[3] = {
			{.fd = in.len ? child : in.done ? -1 : client, .events = in.len ? POLLOUT : POLLIN},
			{.fd = out.len ? client : child, .events = out.len ? POLLOUT : POLLIN},
			{.fd = w->s.sock, .events = POLLIN},
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents && !way_move(&in))
			break;
		if (p[1].revents && !way_move(&out))
			break;
		if (p[2].revents) {
			struct fork_control a;
			int fd = -1;
			unsigned n = 1;

			rc = afork_answer(w->s.sock, &a, &fd, &n);
			if (a.op == FORK_CONTROL_LOST && rc == -EIO)
				afork_say(rc, "memory of a child is lost: %s", a.text);
			else if (a.op == FORK_CONTROL_SPARE && rc == 0 && n)
				rc = fork_keep(fd);
			else
				afork_say(rc, "%s", a.text);
		}
	}
	return rc == -EIO ? 0 : rc;
}

/* ------------------------------------------------------------------ workers */

/* Somebody connects: descriptor. -ECONNRESET: the pager has ended; -ECHILD: the child has, before anybody came. */
static int client_wait(struct worker *w)
{
	for (;;) {
		struct pollfd p[3] = {{.fd = w->listen, .events = POLLIN}, {.fd = w->s.sock, .events = POLLIN},
				      {.fd = w->child.pidfd, .events = POLLIN}};
		int fd;

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents)
			return -ECONNRESET; /* it has nothing to say of a child that does not run */
		if (p[2].revents)
			return -ECHILD;
		fd = accept4(w->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
}

static int serve_one(struct worker *w)
{
	int rc = child_stand(w), client, child;

	if (rc)
		return rc;
	client = client_wait(w);
	if (client < 0) {
		afork_say(client, client == -ECHILD ? "a child that stood ready was killed" : "the pager has ended");
		child_end(w);
		return client == -ECHILD ? 0 : AFORK_EXIT_TROUBLE;
	}
	child = child_connect(w);
	if (child < 0) {
		afork_say(child, "its socket %s: %s", w->socket, strerror(-child));
		rc = AFORK_EXIT_TROUBLE;
	} else {
		rc = afork_go(&w->s, &w->child);
		if (!rc && pass(w, client, child))
			rc = AFORK_EXIT_TROUBLE;
		close(child);
	}
	close(client); /* it need not wait for what follows */
	child_end(w);
	forks_close();
	return rc;
}

/* @ready: a byte there says that it has begun; -1: nobody waits for it. */
static _Noreturn void work(const char *node, const struct fork_handle *h, const struct afork_options *o, int listener,
			   int ready, pid_t parent)
{
	static struct worker w;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(AFORK_EXIT_TROUBLE);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	w.o = o;
	w.listen = listener;
	rc = afork_open(&w.s, node, h, NULL, NULL);
	if (!rc)
		rc = socket_find(&w);
	if (!rc && ready >= 0 && write(ready, "", 1) != 1)
		rc = AFORK_EXIT_TROUBLE;
	close_quietly(ready);
	while (!rc)
		rc = serve_one(&w);
	afork_close(&w.s);
	_exit(rc);
}

static int listen_on(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), probe;

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path)) {
		close_quietly(fd);
		return fd < 0 ? -errno : -ENAMETOOLONG;
	}
	strcpy(a.sun_path, path);
	/* One that nobody listens on any more is taken over, no other file is. */
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (struct sockaddr *)&a, sizeof(a)) && errno == ECONNREFUSED)
		unlink(path);
	close_quietly(probe);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, BACKLOG)) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static pid_t worker_start(const char *node, const struct fork_handle *h, const struct afork_options *o, int listener,
			  int ready)
{
	pid_t own = getpid(), pid = fork();

	if (pid == 0)
		work(node, h, o, listener, ready, own);
	return pid < 0 ? -errno : pid;
}

/* The first worker shows whether it works at all. */
static pid_t worker_first(const char *node, const struct fork_handle *h, const struct afork_options *o, int listener)
{
	int ready[2];
	pid_t pid;
	char byte;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	pid = worker_start(node, h, o, listener, ready[1]);
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -ECHILD;
	}
	close(ready[0]);
	return pid;
}

int afork_serve(const char *node, const struct fork_handle *h, const struct afork_options *o, const char *path)
{
	struct sigaction sa = {.sa_handler = on_end};
	pid_t pids[AFORK_CHILDREN_MAX] = {0};
	int listener = listen_on(path), left = 0, rc = 0;

	if (listener < 0) {
		afork_say(listener, "%s: %s", path, strerror(-listener));
		return AFORK_EXIT_TROUBLE;
	}
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	for (int i = 0; i < o->count && !rc; i++) {
		pids[i] = i == 0 ? worker_first(node, h, o, listener) : worker_start(node, h, o, listener, -1);
		if (pids[i] < 0) {
			if (pids[i] != -ECHILD) /* it said why */
				afork_say(pids[i], "no worker: %s", strerror(-pids[i]));
			pids[i] = 0;
			rc = AFORK_EXIT_TROUBLE;
			break;
		}
		left++;
	}
	if (!rc) {
		printf("serving on %s\n", path);
		fflush(stdout);
		afork_report(FORK_REPORT_STARTED, "", 0);
	}
	while (!rc && !ended) {
		pid_t gone = waitpid(-1, NULL, 0);

		for (int i = 0; i < o->count && gone > 0 && !ended; i++)
			if (pids[i] == gone) {
				/* It said why. The pager may come back. */
				usleep(AGAIN_MS * 1000);
				pids[i] = ended ? 0 : worker_start(node, h, o, listener, -1);
				if (pids[i] <= 0)
					left--, pids[i] = 0;
			}
		if (left == 0)
			rc = AFORK_EXIT_TROUBLE;
	}
	unlink(path);
	for (int i = 0; i < o->count; i++)
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
	box_sweep();
	return rc;
}
