/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api NAME NODE [PID] - one use of clients/fork each; $ATOLL_SOCKET names the node of the snapshot. What is expected is printed by
 * parent and children, each line in one write.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clients/fork/atoll_fork.h"

static unsigned char block[4 << 20];
static int hooked;
static volatile int ticks;

static void hook(void *ctx)
{
	hooked = hooked * 10 + *(int *)ctx;
}

static void *tick(void *arg)
{
	(void)arg;
	for (;;) {
		ticks++;
		usleep(1000);
	}
	return NULL;
}

static unsigned sum(void)
{
	unsigned s = 0;

	for (size_t i = 0; i < sizeof(block); i++)
		s = s * 31 + block[i];
	return s;
}

static int bad(const char *what, int rc)
{
	printf("%s: %d: %s\n", what, rc, atoll_fork_error());
	return 1;
}

/* Returns twice, with another thread running; the child has hooks run, and none of the parent's descriptors. */
static int fork_once(const char *node)
{
	static int one = 1, two = 2;
	unsigned before = sum();
	int keep, child, status = -1, seen;
	pthread_t thread;

	pthread_create(&thread, NULL, tick, NULL);
	atoll_fork_hook(hook, &one);
	atoll_fork_hook(hook, &two);
	child = atoll_fork(node, 0);
	if (child < 0)
		return bad("fork", child);
	if (child == 0) {
		seen = ticks;
		while (ticks < seen + 3)
			usleep(1000);
		printf("child %d %d %d\n", getpid(), before == sum(), hooked);
		block[7]++; /* the child's own */
		fflush(stdout);
		_exit(7);
	}
	keep = child;
	/* Again, while a descriptor of the first is there and watched. */
	{
		int ep = epoll_create1(0);
		struct epoll_event e = {.events = EPOLLIN};

		epoll_ctl(ep, EPOLL_CTL_ADD, keep, &e);
		child = atoll_fork(node, 0);
		if (child == 0)
			_exit(fcntl(keep, F_GETFD) < 0 && errno == EBADF ? 0 : 9);
		if (child < 0)
			return bad("fork again", child);
		close(ep);
	}
	if (atoll_fork_wait(child, &status) || status)
		return bad("second", status);
	if (poll(&(struct pollfd){.fd = keep, .events = POLLIN}, 1, 20000) != 1)
		return bad("poll", -1);
	if (atoll_fork_wait(keep, &status))
		return bad("wait", -1);
	printf("parent %d %d %d %d\n", getpid(), before == sum(), hooked, WEXITSTATUS(status));
	if (wait(NULL) != -1 || errno != ECHILD)
		return bad("a child of ours", -1);
	return atoll_fork_wait(keep, &status) == -EBADF ? 0 : bad("waited twice", 0);
}

static int prepare(const char *node)
{
	char handle[ATOLL_FORK_HANDLE];
	unsigned char was = block[12345];
	int rc = atoll_fork_prepare(NULL, 0, handle), status = -1, fd;

	if (rc < 0)
		return bad("prepare", rc);
	if (rc == 1) {
		printf("child %d %d\n", block[12345] == was, handle[0]);
		return 0;
	}
	block[12345]++; /* after the snapshot */
	fd = atoll_fork_resume(node, handle, 3, 0);
	if (fd < 0)
		return bad("resume", fd);
	rc = atoll_fork_wait(fd, &status);
	if (rc || status)
		return bad("wait", rc);
	/* The other pager says that its last child has ended a little later. */
	for (int i = 0; (rc = atoll_fork_reclaim(NULL, handle, 0)) == -EBUSY && i < 300; i++)
		usleep(10000);
	if (rc)
		return bad("reclaim", rc);
	rc = atoll_fork_resume(node, handle, 1, 0);
	/* Whether the other node knows already decides what is said. */
	printf("gone %d %s\n", rc == -ENOENT || rc == -ESTALE,
	       strstr(atoll_fork_error(), "the snapshot cannot be had") ? "said" : atoll_fork_error());
	return 0;
}

static int refused(const char *node)
{
	char handle[ATOLL_FORK_HANDLE];
	int rc, pipes[2], other[2];
	pid_t pid;

	if (pipe(pipes) || pipe(other))
		return 1;
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	close(other[1]);
	rc = atoll_fork(node, 0);
	printf("%d %d %d\n", rc == -EOPNOTSUPP, strstr(atoll_fork_error(), "its child processes") != NULL,
	       strstr(atoll_fork_error(), "a pipe to another process") != NULL);
	/* Somebody else's process, by number: the child has the other end of our pipe. */
	rc = atoll_fork_prepare_pid(NULL, pid, 0, handle);
	printf("%d %d\n", rc, handle[0] != 0);
	rc = rc ? rc : atoll_fork_reclaim(NULL, handle, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	rc = atoll_fork("/nowhere", ATOLL_FORK_FORCE);
	if (rc == 0)
		_exit(1);
	printf("%d %d\n", rc < 0, strstr(atoll_fork_error(), "no fork-pager listens on /nowhere") != NULL);
	rc = atoll_fork_resume(node, "nonsense", 1, 0);
	printf("%d %d\n", rc == -EINVAL, strstr(atoll_fork_error(), "no handle") != NULL);
	setenv("ATOLL_AFORK", "/nowhere/afork", 1);
	rc = atoll_fork(node, 0);
	printf("%d %d\n", rc == -ENOENT, strstr(atoll_fork_error(), "was not found") != NULL);
	return 0;
}

/* Waits until it has another parent, and says who it is, and whether it has any capability. */
static int who(void)
{
	pid_t home = getppid();
	char line[256];
	unsigned long long caps = ~0ull;
	FILE *f;

	for (int i = 0; i < 6000 && getppid() == home; i++)
		usleep(5000);
	f = fopen("/proc/thread-self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "CapEff: %llx", &caps);
	printf("%u %u %llu\n", getuid(), getgid(), caps);
	return 0;
}

static void line_of(const char *path, const char *name)
{
	char text[256] = "";
	ssize_t n = readlink(path, text, sizeof(text) - 1);

	printf("%s %s\n", name, n > 0 ? text : strerror(errno));
}

/* Waits until it has another parent, and says where it lives. It has @what for "memory", then takes 64 MiB. */
static int where(const char *what)
{
	static const char *const names[] = {"pid", "mnt", "uts", "ipc", "net"};
	pid_t home = getppid();
	char path[64];
	FILE *f;

	for (int i = 0; i < 6000 && getppid() == home; i++)
		usleep(5000);
	if (strcmp(what, "memory") == 0) {
		unsigned char *p = malloc(64 << 20);

		for (size_t i = 0; p && i < 64 << 20; i += 4096)
			p[i] = 1;
		printf("has it\n");
		return 0;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		line_of(path, names[i]);
	}
	/* The number that it has inside, by a /proc that is of its namespace. */
	line_of("/proc/self", "self");
	printf("own %d\n", getpid());
	f = fopen("/proc/self/cgroup", "r");
	while (f && fgets(path, sizeof(path), f))
		if (strncmp(path, "0::", 3) == 0)
			printf("cgroup %s", path + 3);
	printf("there %d\n", access(what, F_OK) == 0);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "who") == 0)
		return who();
	if (strcmp(argv[1], "where") == 0)
		return where(argv[2]);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (unsigned char)(i * 2654435761u >> 13);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(argv[1], "fork") == 0)
		return fork_once(argv[2]);
	if (strcmp(argv[1], "prepare") == 0)
		return prepare(argv[2]);
	return refused(argv[2]);
}
