/* SPDX-License-Identifier: Apache-2.0 */
/*
 * items NAME - a program that has something that a fork must carry, and checks it over and over.
 *
 * It goes round until SECONDS have passed (default 1.5) and says "good PID" at the end, or what was wrong at
 * once. It knows nothing of being forked: a child must say the same as one that never was.
 */
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/fork/check.h"

static double seconds = 1.5;

static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

static void item_memory(double until)
{
	const size_t n = 8 << 20;
	uint8_t *m = malloc(n), *guard, *locked;

	for (size_t i = 0; i < n; i++)
		m[i] = byte_at(i);
	guard = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	guard[0] = guard[8192] = 1;
	mprotect(guard + 4096, 4096, PROT_NONE);
	locked = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(locked, 5, 65536);
	mlock(locked, 65536);
	while (now() < until) {
		void *more = sbrk(4096);

		memset(more, 7, 4096);
		for (size_t i = 0; i < n; i++)
			CHECK(m[i] == byte_at(i));
		CHECK(guard[0] == 1 && guard[8192] == 1 && locked[65535] == 5);
		CHECK(write(-1, guard + 4096, 1) == -1);
	}
}

static void item_shared(double until)
{
	int fd = memfd_create("items", MFD_CLOEXEC);
	uint32_t *a, *b, *anon;

	CHECK(ftruncate(fd, 65536) == 0);
	a = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	anon = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (uint32_t k = 1; now() < until; k++) {
		uint32_t seen;

		a[k % 16384] = k;
		anon[k % 16384] = ~k;
		CHECK(b[k % 16384] == k && anon[k % 16384] == ~k);
		CHECK(pread(fd, &seen, 4, k % 16384 * 4) == 4 && seen == k);
	}
}

static volatile int stop_threads;

__attribute__((target("avx512f,avx512dq"))) static void *vectors(void *arg)
{
	static __thread uint64_t mine;
	uint64_t id = (uint64_t)arg, n = 0, out[8];
	__m512i v = _mm512_set1_epi64((long long)id + 1), sum = _mm512_setzero_si512();
	pid_t tid = (pid_t)syscall(SYS_gettid);

	mine = id;
	while (!stop_threads) {
		for (int i = 0; i < 1000; i++, n++) {
			sum = _mm512_add_epi64(sum, v);
			__asm__ volatile("" : "+v"(sum));
		}
		CHECK(mine == id && tid == (pid_t)syscall(SYS_gettid));
	}
	_mm512_storeu_si512(out, sum);
	for (int i = 0; i < 8; i++)
		CHECK(out[i] == n * (id + 1));
	return NULL;
}

static void item_threads(double until)
{
	pthread_t t[4];

	if (!__builtin_cpu_supports("avx512dq")) {
		printf("skip: no AVX-512\n");
		exit(77);
	}
	for (uint64_t i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, vectors, (void *)i) == 0);
	while (now() < until)
		usleep(1000);
	stop_threads = 1;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

static volatile sig_atomic_t caught, on_stack;
static char alternate[65536];

static void handler(int sig, siginfo_t *info, void *uc)
{
	char here;

	(void)uc;
	caught += sig == SIGUSR1 || info->si_value.sival_int == 77;
	on_stack = &here >= alternate && &here < alternate + sizeof(alternate);
}

static void item_signals(double until)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	sigset_t mask, pending, none;

	CHECK(sigaltstack(&ss, NULL) == 0);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN, &sa, NULL);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN);
	sigemptyset(&none);
	while (now() < until) {
		caught = 0;
		sigprocmask(SIG_BLOCK, &mask, NULL);
		raise(SIGUSR1);
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 77});
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 77});
		raise(SIGUSR2);
		for (int i = 0; i < 20000; i++)
			getppid();
		sigpending(&pending);
		CHECK(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGRTMIN));
		CHECK(caught == 0);
		sigprocmask(SIG_UNBLOCK, &mask, NULL);
		CHECK(caught == 3 && on_stack);
	}
}

static void item_files(double until)
{
	const char *dir = getenv("TMPDIR");
	char name[128], gone[128], byte[4];
	int fd, lost, dup_fd, null = open("/dev/null", O_WRONLY);

	snprintf(name, sizeof(name), "%s/atoll-items-XXXXXX", dir ? dir : "/tmp");
	strcpy(gone, name);
	fd = mkstemp(name);
	lost = mkstemp(gone);
	unlink(gone);
	for (int i = 0; i < 4096; i++) {
		CHECK(write(fd, &(uint8_t){byte_at((uint64_t)i)}, 1) == 1);
		CHECK(write(lost, &(uint8_t){byte_at((uint64_t)i + 1)}, 1) == 1);
	}
	close(fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	dup_fd = dup(fd);
	for (uint64_t i = 0; now() < until; i++) {
		if (i % 4096 == 0)
			CHECK(lseek(fd, 0, SEEK_SET) == 0 && lseek(lost, 0, SEEK_SET) == 0);
		CHECK(read(i & 1 ? fd : dup_fd, byte, 1) == 1 && (uint8_t)byte[0] == byte_at(i % 4096));
		CHECK(read(lost, byte, 1) == 1 && (uint8_t)byte[0] == byte_at(i % 4096 + 1));
		CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(dup_fd, F_GETFD) == 0);
		CHECK(write(null, "x", 1) == 1);
	}
	/* A child may outlive the parent that made it. */
}

static void item_pipes(double until)
{
	int p[2], ev = eventfd(3, EFD_SEMAPHORE), ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, got;
	uint32_t next = 0, seen;
	uint64_t one;

	CHECK(pipe(p) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e) == 0);
	for (; next < 5; next++)
		CHECK(write(p[1], &next, 4) == 4);
	for (; now() < until; next++) {
		CHECK(write(p[1], &next, 4) == 4);
		CHECK(epoll_wait(ep, &got, 1, 1000) == 1 && got.data.u64 == e.data.u64);
		CHECK(read(p[0], &seen, 4) == 4 && seen == next - 5);
		CHECK(read(ev, &one, 8) == 8 && one == 1 && write(ev, &one, 8) == 8);
		CHECK(ioctl(p[0], FIONREAD, &seen) == 0 && seen == 20);
	}
}

static volatile sig_atomic_t ticks[3];

static void tick(int sig)
{
	ticks[sig == SIGALRM ? 0 : sig == SIGRTMIN + 1 ? 1 : 2]++;
}

static void item_timers(double until)
{
	struct itimerval it = {{0, 20000}, {0, 20000}};
	struct itimerspec its = {{0, 30000000}, {0, 30000000}};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
	int tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), expired = 0;
	sigset_t mask;
	int sfd;
	timer_t id;

	signal(SIGALRM, tick);
	signal(SIGRTMIN + 1, tick);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	sfd = signalfd(-1, &mask, 0);
	setitimer(ITIMER_REAL, &it, NULL);
	CHECK(timer_create(CLOCK_MONOTONIC, &ev, &id) == 0 && timer_settime(id, 0, &its, NULL) == 0);
	CHECK(timerfd_settime(tfd, 0, &its, NULL) == 0);
	while (now() < until) {
		double from = now(), last = from, gap = 0, t;
		struct signalfd_siginfo info;
		uint64_t n;

		ticks[0] = ticks[1] = 0;
		expired = 0;
		while (now() < from + 0.2) {
			expired += read(tfd, &n, 8) == 8;
			kill(getpid(), SIGUSR2);
			CHECK(read(sfd, &info, sizeof(info)) == sizeof(info) &&
			      info.ssi_signo == SIGUSR2);
			t = now(); /* once: between two looks it could stand still and nobody would see */
			gap = t - last > gap ? t - last : gap;
			last = t;
		}
		/* Unless it stood still for a part of that time, as one that is forked does: perhaps just before
		 * the loop looked at the time and ended. */
		t = now();
		gap = t - last > gap ? t - last : gap;
		CHECK(gap > 0.02 || (ticks[0] >= 3 && ticks[1] >= 2 && expired >= 1));
	}
}

static void item_self(double until)
{
	pid_t pid = getpid(), group;
	char name[16];
	struct rlimit l;
	cpu_set_t set;

	CHECK(setpgid(0, 0) == 0 || errno == EPERM);
	group = getpgrp();
	CHECK(chdir("/usr/lib") == 0);
	umask(0127);
	prctl(PR_SET_NAME, "worker");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setpriority(PRIO_PROCESS, 0, 3);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	l = (struct rlimit){200, 300};
	setrlimit(RLIMIT_NOFILE, &l);
	while (now() < until) {
		char *where = getcwd(NULL, 0);
		mode_t m = umask(0127);

		CHECK(getpid() == pid && getpgrp() == group && m == 0127);
		CHECK(where && strcmp(where, "/usr/lib") == 0);
		free(where);
		CHECK(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "worker") == 0);
		CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
		CHECK(getpriority(PRIO_PROCESS, 0) == 3);
		CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == 200 && l.rlim_max == 300);
		CHECK(sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1);
	}
}

static void item_sleep(double until)
{
	int p[2];
	char c;

	CHECK(pipe(p) == 0);
	while (now() < until) {
		struct timespec t = {0, 50000000};
		double from = now();

		CHECK(nanosleep(&t, NULL) == 0);
		CHECK(now() - from >= 0.049);
		CHECK(syscall(SYS_ppoll, NULL, 0, &t, NULL, 8) == 0);
		CHECK(write(p[1], "x", 1) == 1 && read(p[0], &c, 1) == 1);
	}
}

/* One sleep that asks how long was left. */
static void rest(void)
{
	struct timespec t = {2, 0}, rem;
	double from = now();

	CHECK(nanosleep(&t, &rem) == 0 && now() - from >= 1.99);
}

static void item_limits_of_fork(double until)
{
	uint8_t *wiped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t before = getppid();

	CHECK(madvise(wiped, 4096, MADV_WIPEONFORK) == 0);
	memset(wiped, 9, 4096);
	/* A child has another parent; as after fork(2) what is to be wiped is zero in it, and only in it. */
	while (now() < until) {
		pid_t parent = getppid();
		uint8_t seen = ((volatile uint8_t *)wiped)[100];

		if (getppid() == parent) /* else it was forked in between */
			CHECK(seen == (parent == before ? 9 : 0));
	}
}

/* What a child of fork(2) would not have. */
static void item_identity(double until)
{
	char text[16] = "";
	int sig, reaper, fd;
	int root = geteuid() == 0;

	CHECK(prctl(PR_SET_PDEATHSIG, SIGURG) == 0);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	fd = open("/proc/self/oom_score_adj", O_RDWR);
	CHECK(write(fd, "321", 3) == 3);
	close(fd);
	if (root) {
		struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
		struct __user_cap_data_struct d[2];

		CHECK(syscall(SYS_capget, &h, d) == 0);
		d[0].inheritable |= 1u << CAP_NET_RAW;
		CHECK(syscall(SYS_capset, &h, d) == 0);
		CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	}
	while (now() < until) {
		CHECK(prctl(PR_GET_PDEATHSIG, &sig) == 0 && sig == SIGURG);
		CHECK(prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0 && reaper == 1);
		fd = open("/proc/self/oom_score_adj", O_RDONLY);
		CHECK(read(fd, text, sizeof(text)) == 4 && memcmp(text, "321", 3) == 0);
		close(fd);
		CHECK(!root || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 1);
		CHECK(prctl(PR_GET_DUMPABLE) == 1);
	}
}

static const struct {
	const char *name;
	void (*run)(double until);
} items[] = {
	{"memory", item_memory}, {"shared", item_shared}, {"threads", item_threads},
	{"signals", item_signals}, {"files", item_files}, {"pipes", item_pipes},
	{"timers", item_timers}, {"self", item_self}, {"sleep", item_sleep},
	{"wipe", item_limits_of_fork}, {"identity", item_identity},
};

int main(int argc, char **argv)
{
	if (argc > 2)
		seconds = atof(argv[2]);
	if (argc == 2 && strcmp(argv[1], "rest") == 0) {
		rest();
		printf("good %d\n", getpid());
		return 0;
	}
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (argc < 2) {
			printf("%s\n", items[i].name);
		} else if (strcmp(argv[1], items[i].name) == 0) {
			items[i].run(now() + seconds);
			printf("good %d\n", getpid());
			return 0;
		}
	}
	return argc < 2 ? 0 : 2;
}
