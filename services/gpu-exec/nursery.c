/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/nursery.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/sandbox.h"

enum {
	WORKERS_MAX = 64,
	FD_KEPT =
		3, /* the one socket of a nursery, and of a worker; above it nothing is left open */
	FD_MAX = 1024,
	FDS = 3,
};

struct ask {
	uint32_t number;
	bool birth; /* else: kill */
	struct nursery_birth b;
};

static struct {
	uint32_t number;
	pid_t pid;
} workers[WORKERS_MAX];

/* ------------------------------------------------------------------ the service's side */

int nursery_birth(int nursery, uint32_t number, const struct nursery_birth *b, int socket, int page,
		  int bounce)
{
	struct ask a = {.number = number, .birth = true, .b = *b};
	struct iovec v = {&a, sizeof(a)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} c;
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = c.room,
			   .msg_controllen = sizeof(c.room)};
	const int fds[FDS] = {socket, page, bounce};

	memset(&c, 0, sizeof(c));
	c.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(fds)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&c.head), fds, sizeof(fds));
	if (sendmsg(nursery, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
}

int nursery_kill(int nursery, uint32_t number)
{
	struct ask a = {.number = number};
	struct iovec v = {&a, sizeof(a)};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};

	/* it reads at once: it does nothing else */
	return sendmsg(nursery, &m, MSG_NOSIGNAL) < 0 ? -EPIPE : 0;
}

int nursery_gone(int nursery, uint32_t *number)
{
	ssize_t n = recv(nursery, number, sizeof(*number), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*number))
		return 1;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
}

/* ------------------------------------------------------------------ its own side */

static void tell(uint32_t number)
{
	/* waits for a service that is slow: 64 numbers are less than the socket holds */
	if (send(FD_KEPT, &number, sizeof(number), MSG_NOSIGNAL) < 0)
		_exit(0);
}

static void reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (unsigned k = 0; k < WORKERS_MAX; k++)
			if (workers[k].pid == pid) {
				workers[k].pid = 0;
				tell(workers[k].number);
			}
}

/* In the child: nothing of the nursery's stays. */
static void child(const struct nursery_birth *b, const int *fds)
{
	struct worker_conf c = {
		.ops = gpu_device_find(b->device),
		.device = {.limit = b->limit,
			   .window_base = b->window_base,
			   .window_size = b->window_size,
			   .cores = b->cores,
			   .compute_capability = b->capability,
			   .kernel_ns = b->kernel_ns},
		.socket = FD_KEPT,
		.share = b->share,
		.bounce_size = b->bounce_size,
	};
	sigset_t none;

	c.page = mmap(NULL, sizeof(*c.page), PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	c.bounce = mmap(NULL, b->bounce_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
	if (!c.ops || c.page == MAP_FAILED || c.bounce == MAP_FAILED || dup2(fds[0], FD_KEPT) < 0)
		_exit(1);
	for (int fd = FD_KEPT + 1; fd < FD_MAX; fd++)
		close(fd);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	worker_run(&c);
}

static void birth(const struct ask *a, const int *fds)
{
	unsigned k = 0;

	while (k < WORKERS_MAX && workers[k].pid > 0)
		k++;
	if (k < WORKERS_MAX) {
		workers[k].number = a->number;
		workers[k].pid = fork();
		if (workers[k].pid == 0)
			child(&a->b, fds);
	}
	if (k == WORKERS_MAX || workers[k].pid < 0)
		tell(a->number);
}

/* One record of the service's. False: there is no service any more. */
static bool listen_once(void)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS * sizeof(int))];
	} c;
	struct ask a;
	struct iovec v = {&a, sizeof(a)};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = c.room,
			   .msg_controllen = sizeof(c.room)};
	ssize_t n = recvmsg(FD_KEPT, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fds[FDS];

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n != (ssize_t)sizeof(a))
		return false;
	if (a.birth) {
		if (m.msg_controllen < CMSG_LEN(sizeof(fds)))
			return false;
		memcpy(fds, CMSG_DATA(&c.head), sizeof(fds));
		a.b.device[sizeof(a.b.device) - 1] = 0;
		birth(&a, fds);
		for (unsigned k = 0; k < FDS; k++)
			close(fds[k]);
		return true;
	}
	for (unsigned k = 0; k < WORKERS_MAX; k++)
		if (workers[k].pid > 0 && workers[k].number == a.number)
			kill(workers[k].pid, SIGKILL);
	return true;
}

static void on_child(int sig)
{
	(void)sig; /* it ends a wait */
}

static void nursery(void)
{
	struct sigaction sa = {.sa_handler = on_child};
	sigset_t blocked, open;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "gpu-nursery");
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &open);
	sigdelset(&open, SIGCHLD);
	sigaction(SIGCHLD, &sa, NULL);
	for (;;) {
		struct pollfd p = {.fd = FD_KEPT, .events = POLLIN};

		reap();
		if (ppoll(&p, 1, NULL, &open) < 0)
			continue;
		if (!listen_once())
			_exit(0);
	}
}

int nursery_start(int *out)
{
	pid_t parent = getpid();
	int pair[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (sandbox_enter("gpu-nursery"))
			_exit(1);
		if (dup2(pair[1], FD_KEPT) < 0)
			_exit(1);
		for (int fd = FD_KEPT + 1; fd < FD_MAX; fd++)
			close(fd);
		if (getppid() != parent)
			_exit(0);
		nursery();
	}
	rc = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (rc)
		close(pair[0]);
	else
		*out = pair[0];
	return rc;
}
