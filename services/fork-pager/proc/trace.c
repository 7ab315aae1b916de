/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SYSCALL_STOP = SIGTRAP | 0x80,
};

#define ALL_SIGNALS (~0ull)

static int wait_stop(pid_t tid, int *status)
{
	for (;;) {
		pid_t got = waitpid(tid, status, __WALL);

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
	}
}

/* Until the stop that PTRACE_INTERRUPT asked for; signals on the way there are delivered. */
static int wait_interrupted(pid_t tid)
{
	int status, rc;

	for (;;) {
		rc = wait_stop(tid, &status);
		if (rc)
			return rc;
		if (status >> 16 == PTRACE_EVENT_STOP)
			return 0;
		/* A signal that is about to be delivered; ours is still to come. */
		if (ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status)))
			return -errno;
	}
}

static int thread_read(struct trace_thread *th)
{
	if (ptrace(PTRACE_GETREGS, th->tid, 0, &th->regs))
		return -errno;
	if (ptrace(PTRACE_GETSIGMASK, th->tid, sizeof(th->mask), &th->mask))
		return -errno;
	return 0;
}

static int thread_add(struct trace *t, pid_t tid)
{
	if (t->n == t->room) {
		unsigned room = t->room ? t->room * 2 : 8;
		struct trace_thread *more = realloc(t->threads, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->threads = more;
		t->room = room;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0))
		return -errno;
	t->threads[t->n++] = (struct trace_thread){.tid = tid};
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return -errno;
	return 0;
}

static bool have(const struct trace *t, pid_t tid)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->threads[i].tid == tid)
			return true;
	return false;
}

/* Seize what is not yet; how many that were, or negative errno. */
static int seize_more(struct trace *t)
{
	char path[64];
	struct dirent *e;
	int found = 0, rc = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	d = opendir(path);
	if (!d)
		return -ESRCH;
	while (rc >= 0 && (e = readdir(d))) {
		pid_t tid = (pid_t)atoi(e->d_name);

		if (tid <= 0 || have(t, tid))
			continue;
		rc = thread_add(t, tid);
		if (rc == -ESRCH && !have(t, tid))
			rc = 0; /* a thread that has just ended */
		found++;
	}
	closedir(d);
	return rc < 0 ? rc : found;
}

static int stop_all(struct trace *t)
{
	unsigned stopped = 0;
	int rc = thread_add(t, t->pid);

	while (!rc) {
		for (; stopped < t->n && !rc;) {
			rc = wait_interrupted(t->threads[stopped].tid);
			if (rc == -ESRCH && stopped > 0) {
				t->threads[stopped] = t->threads[--t->n];
				rc = 0;
				continue;
			}
			stopped++;
		}
		if (rc)
			break;
		/* A thread that runs can make another; when all stand, none is new. */
		rc = seize_more(t);
		if (rc <= 0)
			break;
		rc = 0;
	}
	for (unsigned i = 0; i < t->n && !rc; i++)
		rc = thread_read(&t->threads[i]);
	return rc;
}

int trace_stop(struct trace *t, pid_t pid)
{
	char path[64];
	int rc;

	*t = (struct trace){.pid = pid, .mem_fd = -1};
	rc = stop_all(t);
	if (!rc) {
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		t->mem_fd = open(path, O_RDWR | O_CLOEXEC);
		if (t->mem_fd < 0)
			rc = -errno;
	}
	if (rc)
		trace_release(t);
	return rc;
}

int trace_find_syscall(struct trace *t, uint64_t start, uint64_t end)
{
	static uint8_t code[65536];
	size_t want = end - start < sizeof(code) ? end - start : sizeof(code);
	ssize_t n = pread(t->mem_fd, code, want, (off_t)start);

	for (ssize_t i = 0; i + 1 < n; i++) {
		if (code[i] == 0x0f && code[i + 1] == 0x05) {
			t->syscall_at = start + (uint64_t)i;
			return 0;
		}
	}
	return -ENOENT;
}

/* Signals that come while a call is under way wait until it is over. */
static int call_begin(struct trace *t, struct trace_thread *th, unsigned long options)
{
	uint64_t all = ALL_SIGNALS;

	if (!th->used) {
		if (ptrace(PTRACE_SETSIGMASK, th->tid, sizeof(all), &all))
			return -errno;
		th->used = true;
	}
	(void)t;
	if (ptrace(PTRACE_SETOPTIONS, th->tid, 0, PTRACE_O_TRACESYSGOOD | options))
		return -errno;
	return 0;
}

/* To the next stop of a system call; other stops are passed. */
static int step(pid_t tid, pid_t *child)
{
	unsigned long message;
	int status, rc;

	if (ptrace(PTRACE_SYSCALL, tid, 0, 0))
		return -errno;
	for (;;) {
		rc = wait_stop(tid, &status);
		if (rc)
			return rc;
		if (WSTOPSIG(status) == SYSCALL_STOP)
			return 0;
		if (child && (status >> 16 == PTRACE_EVENT_CLONE ||
			      status >> 16 == PTRACE_EVENT_FORK)) {
			if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &message))
				return -errno;
			*child = (pid_t)message;
		}
		if (ptrace(PTRACE_SYSCALL, tid, 0, 0))
			return -errno;
	}
}

static int drive(struct trace *t, unsigned i, long nr, const uint64_t a[6], unsigned long options,
		 pid_t *child, int64_t *ret)
{
	struct trace_thread *th = &t->threads[i];
	struct user_regs_struct r = th->regs;
	int rc = call_begin(t, th, options);

	r.rax = (uint64_t)nr;
	r.orig_rax = (uint64_t)-1;
	r.rdi = a[0];
	r.rsi = a[1];
	r.rdx = a[2];
	r.r10 = a[3];
	r.r8 = a[4];
	r.r9 = a[5];
	r.rip = t->syscall_at;
	if (!rc && ptrace(PTRACE_SETREGS, th->tid, 0, &r))
		rc = -errno;
	if (!rc)
		rc = step(th->tid, child); /* it enters */
	if (!rc)
		rc = step(th->tid, child); /* it leaves */
	if (!rc && ptrace(PTRACE_GETREGS, th->tid, 0, &r))
		rc = -errno;
	if (!rc)
		*ret = (int64_t)r.rax;
	return rc;
}

int trace_call(struct trace *t, unsigned i, long nr, const uint64_t args[6], int64_t *ret)
{
	return drive(t, i, nr, args, 0, NULL, ret);
}

int trace_clone(struct trace *t, unsigned i, uint64_t flags, unsigned long options, pid_t *child,
		int64_t *ret)
{
	const uint64_t args[6] = {flags};
	int status, rc;

	*child = 0;
	rc = drive(t, i, SYS_clone, args, options | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK, child,
		   ret);
	if (rc)
		return rc;
	if (*ret < 0 || *child == 0)
		return *ret < 0 ? 0 : -EIO;
	return wait_stop(*child, &status);
}

/* Into a stop inside the kernel's signal code: from there interrupted calls are restarted. */
static void put_back(const struct trace_thread *th)
{
	ptrace(PTRACE_SETOPTIONS, th->tid, 0, 0);
	if (ptrace(PTRACE_INTERRUPT, th->tid, 0, 0) || ptrace(PTRACE_CONT, th->tid, 0, 0) ||
	    wait_interrupted(th->tid))
		return;
	ptrace(PTRACE_SETREGS, th->tid, 0, &th->regs);
	ptrace(PTRACE_SETSIGMASK, th->tid, sizeof(th->mask), &th->mask);
}

void trace_release(struct trace *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->threads[i].used)
			put_back(&t->threads[i]);
		ptrace(PTRACE_DETACH, t->threads[i].tid, 0, 0);
	}
	trace_forget(t);
}

int trace_adopt(struct trace *t, pid_t tid, const struct trace *from)
{
	char path[64];
	int rc;

	*t = (struct trace){.pid = tid, .mem_fd = -1, .syscall_at = from->syscall_at};
	t->threads = calloc(1, sizeof(*t->threads));
	if (!t->threads)
		return -ENOMEM;
	t->room = t->n = 1;
	t->threads[0] = (struct trace_thread){.tid = tid, .used = true};
	rc = thread_read(&t->threads[0]);
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	t->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (t->mem_fd < 0 && !rc)
		rc = -errno;
	return rc;
}

void trace_forget(struct trace *t)
{
	free(t->threads);
	if (t->mem_fd >= 0)
		close(t->mem_fd);
	*t = (struct trace){.mem_fd = -1};
}
