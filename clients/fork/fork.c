/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call returns twice. It starts afork, tells it the thread and the descriptor that it will wait on, and reads from that. afork
 * stops the program there. In the child the very same read returns -ECHILD, which a socket never says: written into the
 * registers of the snapshot, not into memory that another thread could see or change.
 */
#include "clients/fork/atoll_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "proto/fork_report.h"

enum {
	FDS_MAX = 64, /* as many as afork takes; of children that are not waited for yet */
	HOOKS_MAX = 64,
	ARGS_MAX = 24,
	STACK = 32768, /* of the two steps to afork: each calls execve and little else */
	HELPER_FD = 3,
};

static struct {
	pthread_mutex_t lock; /* fds, hooks; and held while a fork of the program itself is under way */
	int fds[FDS_MAX];
	unsigned nfds;
	struct {
		void (*fn)(void *);
		void *ctx;
	} hook[HOOKS_MAX];
	unsigned nhooks;
} lib = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local char last_error[512];

const char *atoll_fork_error(void)
{
	return last_error;
}

static int failed(int rc, const char *text)
{
	snprintf(last_error, sizeof(last_error), "%s", text);
	if (last_error[0] && last_error[strlen(last_error) - 1] == '\n')
		last_error[strlen(last_error) - 1] = 0;
	return rc;
}

/* ------------------------------------------------------------------ starting afork */

struct start {
	char *const *argv;
	int fd;
	sigset_t mask;
	pid_t pid;
	char *stack; /* of the second step */
	int error;
};

/* In the program's memory, in a process of its own: nothing but system calls. */
static int second(void *arg)
{
	struct start *s = arg;
	const char *named = getenv("ATOLL_AFORK");

	if (dup2(s->fd, HELPER_FD) < 0) {
		s->error = errno;
		_exit(127);
	}
	if (s->fd == HELPER_FD)
		fcntl(HELPER_FD, F_SETFD, 0);
	syscall(SYS_close_range, HELPER_FD + 1, ~0u, 0);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	if (named)
		execv(named, s->argv);
	else
		execv(ATOLL_AFORK_INSTALLED, s->argv);
	if (!named && errno == ENOENT)
		execvp("afork", s->argv);
	s->error = errno;
	_exit(127);
}

/* Ends at once, so that afork is nobody's child. */
static int first(void *arg)
{
	struct start *s = arg;

	s->pid = clone(second, s->stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
	if (s->pid < 0)
		s->error = errno;
	_exit(0);
}

static int launch(struct start *s)
{
	static char stacks[2][STACK] __attribute__((aligned(64))); /* under the lock */
	sigset_t all;
	pid_t pid;

	s->stack = stacks[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &s->mask);
	pid = clone(first, stacks[0] + STACK, (int)(CLONE_VM | CLONE_VFORK), s); /* no signal at its end */
	if (pid < 0)
		s->error = errno;
	else
		while (waitpid(pid, NULL, (int)__WCLONE) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
	return -s->error;
}

static int fd_add(int fd)
{
	if (lib.nfds == FDS_MAX)
		return -EMFILE;
	lib.fds[lib.nfds++] = fd;
	return 0;
}

static void fd_drop(int fd)
{
	for (unsigned i = 0; i < lib.nfds; i++)
		if (lib.fds[i] == fd) {
			memmove(&lib.fds[i], &lib.fds[i + 1], (--lib.nfds - i) * sizeof(fd));
			break;
		}
	close(fd);
}

/* Linux with Yama lets children trace only who says so. */
static void let_trace(pid_t pid)
{
	prctl(PR_SET_PTRACER, (unsigned long)pid, 0, 0, 0);
}

/*
 * Starts afork with @args after its options. @self: it is to fork us. Our end of the socket, or negative errno. Under the lock.
 */
static int afork(const char *node, unsigned flags, bool self, const char *const *args)
{
	char *argv[ARGS_MAX], list[FDS_MAX * 12 + 16];
	struct fork_report go = {.magic = FORK_REPORT_MAGIC, .kind = FORK_REPORT_GO};
	struct start s = {.argv = argv};
	unsigned n = 0;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return failed(-errno, strerror(errno));
	rc = fd_add(pair[0]);
	if (rc) {
		close(pair[0]);
		close(pair[1]);
		return failed(rc, "too many children are not waited for yet");
	}
	argv[n++] = (char *)"afork";
	argv[n++] = (char *)"--report";
	argv[n++] = (char *)"3";
	if (self) {
		int at = snprintf(list, sizeof(list), "%ld:%d", syscall(SYS_gettid), pair[0]);

		for (unsigned i = 0; i < lib.nfds; i++)
			if (lib.fds[i] != pair[0])
				at += snprintf(list + at, sizeof(list) - (size_t)at, ",%d", lib.fds[i]);
		argv[n++] = (char *)"--self";
		argv[n++] = list;
	}
	if (node) {
		argv[n++] = (char *)"--node";
		argv[n++] = (char *)node;
	}
	if (flags & ATOLL_FORK_FORCE)
		argv[n++] = (char *)"--force";
	if (flags & ATOLL_FORK_NO_PIDS)
		argv[n++] = (char *)"--no-pids";
	while (*args)
		argv[n++] = (char *)*args++;
	argv[n] = NULL;
	s.fd = pair[1];
	rc = launch(&s);
	close(pair[1]);
	if (!rc && self)
		let_trace(s.pid);
	if (!rc)
		rc = sock_send(pair[0], &go, sizeof(go), NULL, 0);
	if (rc) {
		fd_drop(pair[0]);
		return failed(rc, s.error == ENOENT ? "the program afork was not found; $ATOLL_AFORK names it"
						    : strerror(-rc));
	}
	return pair[0];
}

/* ------------------------------------------------------------------ what it says */

/* The next word of it: 0; -ECHILD: we are the child; -ECONNRESET: it has ended. */
static int word(int fd, struct fork_report *r)
{
	long n;

	do {
		/* The C library's would make this a place where threads are cancelled, and keep the number in errno. */
		register long rax __asm__("rax") = SYS_read;

		__asm__ volatile("syscall" : "+r"(rax) : "D"(fd), "S"(r), "d"(sizeof(*r)) : "rcx", "r11", "memory");
		n = rax;
	} while (n == -EINTR);
	if (n == -ECHILD)
		return -ECHILD;
	if (n != (long)sizeof(*r) || r->magic != FORK_REPORT_MAGIC)
		return failed(-ECONNRESET, "afork has ended before its time");
	r->text[sizeof(r->text) - 1] = 0;
	r->handle[sizeof(r->handle) - 1] = 0;
	if (r->kind == FORK_REPORT_FAILED)
		return failed(r->rc < 0 ? r->rc : -EIO, r->text);
	return 0;
}

/* Words until @last. @handle: gets it, or NULL. */
static int words(int fd, enum fork_report_kind last, char *handle)
{
	struct fork_report r;
	int rc;

	do {
		rc = word(fd, &r);
		if (!rc && handle && r.kind == FORK_REPORT_PREPARED)
			memcpy(handle, r.handle, ATOLL_FORK_HANDLE);
	} while (!rc && r.kind != last);
	return rc;
}

/* In the child: what led to helpers of the parent is not here. */
static void is_child(void)
{
	unsigned n = lib.nhooks;

	lib.nfds = 0;
	last_error[0] = 0;
	pthread_mutex_unlock(&lib.lock); /* this thread holds it here as there */
	for (unsigned i = 0; i < n; i++)
		lib.hook[i].fn(lib.hook[i].ctx);
}

/* ------------------------------------------------------------------ calls */

int atoll_fork(const char *node, unsigned flags)
{
	char pid[16];
	const char *const args[] = {"--on", node, "spawn", pid, NULL};
	int fd, rc;

	if (!node)
		return failed(-EINVAL, "no node was named");
	snprintf(pid, sizeof(pid), "%d", getpid());
	pthread_mutex_lock(&lib.lock);
	fd = afork(NULL, flags, true, args);
	rc = fd < 0 ? fd : words(fd, FORK_REPORT_STARTED, NULL);
	if (rc == -ECHILD) {
		is_child();
		return 0;
	}
	if (rc && fd >= 0)
		fd_drop(fd);
	pthread_mutex_unlock(&lib.lock);
	return rc ? rc : fd;
}

int atoll_fork_prepare(const char *node, unsigned flags, char *handle)
{
	char pid[16];
	const char *const args[] = {"prepare", pid, NULL};
	int fd, rc;

	memset(handle, 0, ATOLL_FORK_HANDLE);
	snprintf(pid, sizeof(pid), "%d", getpid());
	pthread_mutex_lock(&lib.lock);
	fd = afork(node, flags & ATOLL_FORK_FORCE, true, args);
	rc = fd < 0 ? fd : words(fd, FORK_REPORT_DONE, handle);
	if (rc == -ECHILD) {
		is_child();
		return 1;
	}
	if (fd >= 0)
		fd_drop(fd);
	pthread_mutex_unlock(&lib.lock);
	return rc;
}

/* Words of an afork that does not fork us, until it ends. */
static int ask(const char *node, unsigned flags, const char *const *args, char *handle)
{
	int fd, rc;

	pthread_mutex_lock(&lib.lock);
	fd = afork(node, flags, false, args);
	pthread_mutex_unlock(&lib.lock);
	if (fd < 0)
		return fd;
	rc = words(fd, FORK_REPORT_DONE, handle);
	pthread_mutex_lock(&lib.lock);
	fd_drop(fd);
	pthread_mutex_unlock(&lib.lock);
	return rc;
}

int atoll_fork_prepare_pid(const char *node, pid_t pid, unsigned flags, char *handle)
{
	char text[16];
	const char *const args[] = {"prepare", text, NULL};

	memset(handle, 0, ATOLL_FORK_HANDLE);
	snprintf(text, sizeof(text), "%d", pid);
	return ask(node, flags & ATOLL_FORK_FORCE, args, handle);
}

int atoll_fork_reclaim(const char *node, const char *handle, unsigned flags)
{
	const char *const args[] = {"reclaim", handle, NULL};

	return ask(node, flags & ATOLL_FORK_FORCE, args, NULL);
}

int atoll_fork_resume(const char *node, const char *handle, unsigned count, unsigned flags)
{
	char n[16];
	const char *const args[] = {"-n", n, "resume", handle, NULL};
	int fd, rc;

	snprintf(n, sizeof(n), "%u", count);
	pthread_mutex_lock(&lib.lock);
	fd = afork(node, flags & ATOLL_FORK_NO_PIDS, false, args);
	pthread_mutex_unlock(&lib.lock);
	rc = fd < 0 ? fd : words(fd, FORK_REPORT_STARTED, NULL);
	if (rc && fd >= 0) {
		pthread_mutex_lock(&lib.lock);
		fd_drop(fd);
		pthread_mutex_unlock(&lib.lock);
	}
	return rc ? rc : fd;
}

int atoll_fork_wait(int fd, int *status)
{
	struct fork_report r;
	bool ours = false;
	int rc;

	pthread_mutex_lock(&lib.lock);
	for (unsigned i = 0; i < lib.nfds; i++)
		ours |= lib.fds[i] == fd;
	pthread_mutex_unlock(&lib.lock);
	if (!ours)
		return failed(-EBADF, "no descriptor of a child");
	do {
		rc = word(fd, &r);
	} while (!rc && r.kind != FORK_REPORT_ENDED);
	if (!rc) {
		failed(0, r.text);
		if (status)
			*status = r.status;
	}
	pthread_mutex_lock(&lib.lock);
	fd_drop(fd);
	pthread_mutex_unlock(&lib.lock);
	return rc;
}

int atoll_fork_hook(void (*fn)(void *ctx), void *ctx)
{
	int rc = -ENOMEM;

	pthread_mutex_lock(&lib.lock);
	if (lib.nhooks < HOOKS_MAX) {
		lib.hook[lib.nhooks].fn = fn;
		lib.hook[lib.nhooks++].ctx = ctx;
		rc = 0;
	}
	pthread_mutex_unlock(&lib.lock);
	return rc;
}
