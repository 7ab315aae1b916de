/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/sock.h"
#include "tools/svcctl/rundir.h"

enum {
	GRACE_MS = 2000, /* for the node's processes to end by themselves */
	WATCHED_MAX = 128,
};

struct watched {
	pid_t pid;
	int pidfd;
};

struct guard_state {
	struct watched w[WATCHED_MAX];
	unsigned n;
};

/* Forget those that have ended, waiting up to @timeout_ms for one to, or for @sock. */
static void prune(struct guard_state *g, int sock, int timeout_ms)
{
	struct pollfd p[WATCHED_MAX + 1];
	unsigned n = g->n, left = 0;

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = g->w[i].pidfd, .events = POLLIN};
	p[n] = (struct pollfd){.fd = sock, .events = POLLIN};
	if (poll(p, n + 1, timeout_ms) <= 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (p[i].revents)
			close(g->w[i].pidfd);
		else
			g->w[left++] = g->w[i];
	}
	g->n = left;
}

static void end_node(struct guard_state *g, const char *run_dir)
{
	uint64_t until = clock_now_ns() + GRACE_MS * 1000000ull, now;

	while (g->n && (now = clock_now_ns()) < until)
		prune(g, -1, (int)((until - now) / 1000000u) + 1);
	for (unsigned i = 0; i < g->n; i++) {
		/* The group only while its leader is surely still that process. */
		if (syscall(SYS_pidfd_send_signal, g->w[i].pidfd, 0, NULL, 0) == 0)
			kill(-g->w[i].pid, SIGKILL);
		syscall(SYS_pidfd_send_signal, g->w[i].pidfd, SIGKILL, NULL, 0);
	}
	while (g->n)
		prune(g, -1, -1);
	rundir_clean(run_dir);
	rundir_ended(run_dir, "svcctl was killed; its processes were ended");
}

static _Noreturn void guard_run(int sock, int lock, const char *run_dir)
{
	static struct guard_state g;

	setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	/* Anything else would keep a pipe or socket of the node open. */
	dup2(sock, 3);
	dup2(lock, 4);
	syscall(SYS_close_range, 5, ~0u, 0);
	for (;;) {
		pid_t pid;
		int fd = -1, rc;
		unsigned nfds = 1;

		prune(&g, 3, -1);
		rc = sock_recv(3, &pid, sizeof(pid), &fd, &nfds);
		if (rc == -EAGAIN)
			continue;
		if (rc)
			break;
		if (nfds == 0)
			_exit(0); /* the farewell */
		if (g.n < WATCHED_MAX)
			g.w[g.n++] = (struct watched){pid, fd};
		else
			close(fd);
	}
	end_node(&g, run_dir);
	_exit(0);
}

int guard_start(struct guard *g, const char *run_dir, int lock)
{
	int sv[2], fds[2], rc;

	g->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	/* Above the numbers that guard_run puts its own on. */
	fds[0] = fcntl(sv[1], F_DUPFD_CLOEXEC, 16);
	fds[1] = fcntl(lock, F_DUPFD_CLOEXEC, 16);
	g->pid = fork();
	if (g->pid == 0) {
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		guard_run(fds[0], fds[1], run_dir);
	}
	rc = g->pid < 0 ? -errno : 0;
	close(fds[0]);
	close(fds[1]);
	close(sv[1]);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	fcntl(sv[0], F_SETFL, O_NONBLOCK);
	g->sock = sv[0];
	return 0;
}

int guard_add(struct guard *g, int pidfd, pid_t pid)
{
	int rc = g->sock < 0 ? -ENOTCONN : sock_send(g->sock, &pid, sizeof(pid), &pidfd, 1);

	if (rc && g->sock >= 0) {
		close(g->sock);
		g->sock = -1;
	}
	return rc;
}

void guard_dismiss(struct guard *g)
{
	pid_t none = 0;

	if (g->sock < 0)
		return;
	sock_send(g->sock, &none, sizeof(none), NULL, 0);
	close(g->sock);
	g->sock = -1;
	waitpid(g->pid, NULL, 0);
}
