/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carried NAME [SECONDS] - more of items.c: what a program has beside memory, threads and pipes, and how long it waits.
 *
 * "rest-CALL" waits for two seconds in one call: a child goes on with what was left of them, or, where the kernel gives no
 * program the means to know that, is interrupted or begins anew, as docs/fork.md says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/fork/check.h"

static void calls(int listener, const struct sockaddr *a, socklen_t len)
{
	int c = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), s;
	char text[2];

	CHECK(c >= 0 && connect(c, a, len) == 0);
	s = accept(listener, NULL, NULL);
	CHECK(s >= 0 && write(c, "hi", 2) == 2 && read(s, text, 2) == 2 && memcmp(text, "hi", 2) == 0);
	close(s);
	close(c);
}

/* Who connects to a listener can be accepted; an open connection cannot be carried, so it is made and ended in one go,
 * between two sleeps in which the program has none. */
static void item_unix_listener(double until)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/atoll-carried-%d", getpid());
	unlink(a.sun_path);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 7) == 0);
	while (now() < until)
		usleep(20000);
	calls(fd, (struct sockaddr *)&a, sizeof(a));
}

static void item_tcp_listener(double until)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1, listening = 0;
	socklen_t len = sizeof(a);

	/* The child on this very machine listens beside its parent. */
	CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 7) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	while (now() < until) {
		struct sockaddr_in b = {0};

		usleep(20000);
		len = sizeof(listening);
		CHECK(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening == 1);
		len = sizeof(b);
		CHECK(getsockname(fd, (struct sockaddr *)&b, &len) == 0 && b.sin_port == a.sin_port &&
		      b.sin_addr.s_addr == a.sin_addr.s_addr);
	}
}

/* Parent and child end at about the same time, and either may need it yet: whoever runs the tests removes it. */
static char *temporary(char *name, size_t size)
{
	const char *dir = getenv("TMPDIR");

	snprintf(name, size, "%s/atoll-carried-XXXXXX", dir ? dir : "/tmp");
	return name;
}

static void item_inotify(double until)
{
	char dir[128], path[192], buffer[4096];
	int in, wd;

	temporary(dir, sizeof(dir));
	CHECK(mkdtemp(dir));
	in = inotify_init1(IN_NONBLOCK);
	wd = inotify_add_watch(in, dir, IN_CREATE);
	CHECK(wd >= 0);
	while (now() < until)
		usleep(5000);
	while (read(in, buffer, sizeof(buffer)) > 0)
		; /* of the parent, or of the child */
	snprintf(path, sizeof(path), "%s/%d-%ld", dir, getppid(), random());
	close(open(path, O_CREAT | O_WRONLY, 0600));
	for (bool mine = false; !mine;) { /* one read may have the other's and ours */
		ssize_t n = read(in, buffer, sizeof(buffer));

		CHECK(n > 0);
		for (const char *at = buffer; at < buffer + n;) {
			const struct inotify_event *e = (const void *)at;

			CHECK(e->wd == wd && e->mask == IN_CREATE);
			mine |= strcmp(e->name, strrchr(path, '/') + 1) == 0;
			at += sizeof(*e) + e->len;
		}
	}
	unlink(path);
}

/* O_APPEND and a position of its own; a device that gives what it is asked for. */
static void item_append(double until)
{
	char name[128], c;
	int fd = mkstemp(temporary(name, sizeof(name))), zero = open("/dev/zero", O_RDONLY), full = open("/dev/full", O_WRONLY);
	int random_fd = open("/dev/urandom", O_RDONLY);

	close(fd);
	fd = open(name, O_RDWR | O_APPEND);
	CHECK(write(fd, "abcdef", 6) == 6 && lseek(fd, 3, SEEK_SET) == 3);
	while (now() < until) {
		CHECK(fcntl(fd, F_GETFL) & O_APPEND);
		CHECK(read(fd, &c, 1) == 1 && c == 'd' && lseek(fd, 3, SEEK_SET) == 3);
		CHECK(read(zero, &c, 1) == 1 && c == 0 && read(random_fd, &c, 1) == 1);
		CHECK(write(full, "x", 1) == -1 && errno == ENOSPC);
	}
}

/* Flags of one mapping, as /proc says them. */
static int flags_have(const void *at, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	unsigned long long start, end;
	int here = 0, have = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			here = (uint64_t)at >= start && (uint64_t)at < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			have = strstr(line, flag) != NULL;
	}
	fclose(f);
	return have;
}

static void item_advice(double until)
{
	const struct {
		int advice;
		const char *flag;
	} of[] = {{MADV_DONTDUMP, " dd"}, {MADV_SEQUENTIAL, " sr"}, {MADV_RANDOM, " rr"}, {MADV_NOHUGEPAGE, " nh"}};
	enum { N = sizeof(of) / sizeof(of[0]) };
	char *m[N], *pinned, *hole;

	for (int i = 0; i < N; i++) {
		m[i] = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(madvise(m[i], 3 * 4096, of[i].advice) == 0);
		m[i][5000] = (char)i;
	}
	pinned = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mlock(pinned, 8192) == 0);
	hole = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(munmap(hole + 4096, 4096) == 0);
	while (now() < until) {
		unsigned char in;

		for (int i = 0; i < N; i++)
			CHECK(flags_have(m[i], of[i].flag) && m[i][5000] == (char)i);
		CHECK(flags_have(pinned, " lo"));
		CHECK(mincore(hole + 4096, 4096, &in) == -1 && errno == ENOMEM);
		CHECK(write(-1, hole, 1) == -1 && errno == EBADF);
	}
}

/* A robust mutex whose owner ends: the kernel's list of the thread says so to the next one. */
static pthread_mutex_t robust;
static volatile int end_now, locked;

static void *owner(void *arg)
{
	CHECK(pthread_mutex_lock(&robust) == 0);
	locked = 1;
	while (!end_now)
		usleep(1000);
	return arg;
}

static void item_robust(double until)
{
	pthread_mutexattr_t a;
	pthread_t t;

	CHECK(pthread_mutexattr_init(&a) == 0 && pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutex_init(&robust, &a) == 0 && pthread_create(&t, NULL, owner, NULL) == 0);
	while (now() < until) {
		usleep(2000);
		CHECK(!locked || pthread_mutex_trylock(&robust) == EBUSY);
	}
	end_now = 1;
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD);
}

/* ------------------------------------------------------------------ waits of two seconds */

static void rest_select(void)
{
	struct timeval t = {2, 0};

	CHECK(select(0, NULL, NULL, NULL, &t) == 0);
}

static void rest_pselect(void)
{
	struct timespec t = {2, 0};

	CHECK(pselect(0, NULL, NULL, NULL, &t, NULL) == 0);
}

static void rest_ppoll(void)
{
	struct timespec t = {2, 0};

	CHECK(ppoll(NULL, 0, &t, NULL) == 0);
}

static void rest_until(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += 2;
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == 0);
}

static void rest_poll(void)
{
	CHECK(poll(NULL, 0, 2000) == 0);
}

static void rest_epoll(void)
{
	struct epoll_event e;
	int rc = epoll_wait(epoll_create1(0), &e, 1, 2000);

	CHECK(rc == 0 || errno == EINTR); /* as when it was stopped: signal(7) */
	usleep(300000); /* whose end that is, the parent's, too: it is to live while it is forked */
}

static const struct {
	const char *name;
	void (*run)(double until);
	void (*rest)(void);
} items[] = {
	{"unix-listener", item_unix_listener, NULL}, {"tcp-listener", item_tcp_listener, NULL},
	{"inotify", item_inotify, NULL},	     {"append", item_append, NULL},
	{"advice", item_advice, NULL},		     {"robust", item_robust, NULL},
	{"rest-select", NULL, rest_select},	     {"rest-pselect", NULL, rest_pselect},
	{"rest-ppoll", NULL, rest_ppoll},	     {"rest-until", NULL, rest_until},
	{"rest-poll", NULL, rest_poll},		     {"rest-epoll", NULL, rest_epoll},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (argc < 2) {
			printf("%s\n", items[i].name);
			continue;
		}
		if (strcmp(argv[1], items[i].name) != 0)
			continue;
		if (items[i].rest)
			items[i].rest();
		else
			items[i].run(now() + (argc > 2 ? atof(argv[2]) : 1.5));
		printf("good %d\n", getpid());
		return 0;
	}
	return argc < 2 ? 0 : 2;
}
