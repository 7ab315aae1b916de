/* SPDX-License-Identifier: Apache-2.0 */
/* Registers, signals and timers. */
#include <elf.h>
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

enum {
	RESTARTSYS = -512, /* include/linux/errno.h: never seen by programs, but by tracers */
	RESTARTNOINTR = -513,
	RESTARTNOHAND = -514,
	RESTART_BLOCK = -516,
	SYSCALL_LENGTH = 2, /* bytes of the instruction */
	XSTATE_BV = 512,    /* offset in the XSAVE area of the components in it */
};

/*
 * What the kernel does on the way back to the program: an interrupted call is made again. Of a sleep by duration the kernel
 * keeps to itself how long is left, but has written it to where the program wanted to know it (nanosleep(2)): then that is what is
 * slept. One that did not ask, and a poll with a timeout, are made again from their beginning. If the call itself cannot be told
 * any more it ends with EINTR.
 */
static void sleep_rest(struct image_regs *r)
{
	if (r->orig_rax == SYS_nanosleep && r->rsi)
		r->rdi = r->rsi;
	else if (r->orig_rax == SYS_clock_nanosleep && !(r->rsi & TIMER_ABSTIME) && r->r10)
		r->rdx = r->r10;
}

static void restart(struct image_regs *r)
{
	int64_t rax = (int64_t)r->rax;

	if ((int64_t)r->orig_rax < 0)
		return;
	switch (rax) {
	case RESTARTSYS:
	case RESTARTNOINTR:
	case RESTARTNOHAND:
	case RESTART_BLOCK:
		if (r->orig_rax == SYS_restart_syscall) {
			r->rax = (uint64_t)-EINTR;
		} else {
			if (rax == RESTART_BLOCK)
				sleep_rest(r);
			r->rax = r->orig_rax;
			r->rip -= SYSCALL_LENGTH;
		}
		break;
	default:
		break;
	}
	r->orig_rax = (uint64_t)-1;
}

static int xstate(struct capture_work *w, struct image_thread *t, pid_t tid)
{
	uint8_t area[IMAGE_XSTATE_MAX];
	struct iovec iov = {area, sizeof(area)};
	uint64_t in_use;

	memset(area, 0, sizeof(area));
	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov))
		return -errno;
	memcpy(&in_use, area + XSTATE_BV, sizeof(in_use));
	w->c->image.host.xfeatures |= in_use;
	w->c->image.host.xstate_size = (uint32_t)iov.iov_len;
	return capture_bytes_set(&t->xstate, area, (iov.iov_len + 7) & ~7ull);
}

static int pending(struct image_pending **list, uint32_t *n, pid_t tid, uint32_t flags)
{
	struct image_pending *p;

	for (uint64_t at = 0; at < IMAGE_PENDING_MAX; at++) {
		struct __ptrace_peeksiginfo_args a = {.off = at, .flags = flags, .nr = 1};
		siginfo_t info;

		_Static_assert(sizeof(info) == IMAGE_SIGINFO, "siginfo_t of the kernel");
		memset(&info, 0, sizeof(info));
		if (ptrace(PTRACE_PEEKSIGINFO, tid, &a, &info) != 1)
			break;
		p = capture_grow((void **)list, n, sizeof(*p));
		if (!p)
			return -ENOMEM;
		memcpy(p->info, &info, sizeof(info));
	}
	return 0;
}

/* A call that writes @len bytes to the scratch memory of the target. */
static int ask(struct capture_work *w, unsigned i, long nr, const uint64_t args[6], void *out,
	       size_t len, int64_t *ret)
{
	int rc = trace_call(&w->target, i, nr, args, ret);

	if (!rc && *ret >= 0 && len &&
	    pread(w->target.mem_fd, out, len, (off_t)w->scratch) != (ssize_t)len)
		return -EIO;
	return rc;
}

static int asked(struct capture_work *w, struct image_thread *t, unsigned i)
{
	const uint64_t stack[6] = {0, w->scratch}, tid_address[6] = {PR_GET_TID_ADDRESS, w->scratch};
	stack_t ss = {0};
	int64_t ret;
	int rc = ask(w, i, SYS_sigaltstack, stack, &ss, sizeof(ss), &ret);

	if (rc)
		return rc;
	if (ret == 0) {
		t->altstack_sp = (uint64_t)ss.ss_sp;
		t->altstack_size = ss.ss_size;
		t->altstack_flags = (uint32_t)ss.ss_flags & ~(uint32_t)SS_ONSTACK;
	}
	return ask(w, i, SYS_prctl, tid_address, &t->clear_tid, sizeof(t->clear_tid), &ret);
}

static void scheduling(struct image_thread *t, pid_t tid)
{
	struct sched_param p = {0};
	unsigned long head = 0;
	size_t len = 0;
	char *text;

	t->nice = getpriority(PRIO_PROCESS, (id_t)tid);
	t->policy = sched_getscheduler(tid);
	if (t->policy < 0)
		t->policy = SCHED_OTHER;
	if (sched_getparam(tid, &p) == 0)
		t->priority = p.sched_priority;
	syscall(SYS_sched_getaffinity, tid, sizeof(t->affinity), t->affinity);
	if (syscall(SYS_get_robust_list, tid, &head, &len) == 0) {
		t->robust_list = head;
		t->robust_len = head ? len : 0;
	}
	text = procfs_read(NULL, "/proc/%d/comm", tid);
	if (text) {
		text[strcspn(text, "\n")] = 0;
		snprintf(t->comm, sizeof(t->comm), "%s", text);
		free(text);
	}
}

static int thread(struct capture_work *w, struct image_thread *t, unsigned i)
{
	const struct trace_thread *th = &w->target.threads[i];
	struct __ptrace_rseq_configuration rseq = {0};
	char *status = procfs_read(NULL, "/proc/%d/task/%d/status", w->pid, th->tid);
	int rc;

	t->tid = status ? (int32_t)procfs_last(status, "NSpid") : 0;
	free(status);
	_Static_assert(sizeof(t->regs) == sizeof(th->regs), "registers as ptrace gives them");
	memcpy(&t->regs, &th->regs, sizeof(t->regs));
	if (w->o->self && th->tid == w->o->self->thread) {
		t->regs.rax = (uint64_t)-CAPTURE_IS_CHILD;
		t->regs.orig_rax = (uint64_t)-1;
	}
	restart(&t->regs);
	t->sigmask = th->mask;
	rc = xstate(w, t, th->tid);
	if (!rc)
		rc = pending(&t->pending, &t->npending, th->tid, 0);
	if (!rc)
		rc = asked(w, t, i);
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->tid, sizeof(rseq), &rseq) > 0 &&
	    rseq.rseq_abi_pointer) {
		t->rseq = rseq.rseq_abi_pointer;
		t->rseq_len = rseq.rseq_abi_size;
		t->rseq_sig = rseq.signature;
	}
	scheduling(t, th->tid);
	return rc;
}

int capture_self_paused(struct capture_work *w)
{
	const struct capture_self *self = w->o->self;

	for (unsigned i = 0; self && i < w->target.n; i++) {
		const struct user_regs_struct *r = &w->target.threads[i].regs;

		if (w->target.threads[i].tid == self->thread)
			return r->orig_rax == SYS_read && (int64_t)r->rax == RESTARTSYS && self->nfds &&
			       (int)r->rdi == self->fds[0] ? 0 : -EBUSY;
	}
	return self ? -EBUSY : 0;
}

int capture_threads_paused(struct capture_work *w)
{
	struct image *im = &w->c->image;
	int rc = 0;

	if (w->target.n > IMAGE_THREADS_MAX) {
		capture_refuse(w, "%u threads; %d are possible", w->target.n, IMAGE_THREADS_MAX);
		return -EOPNOTSUPP;
	}
	im->threads = calloc(w->target.n, sizeof(*im->threads));
	if (!im->threads)
		return -ENOMEM;
	im->nthreads = w->target.n;
	for (unsigned i = 0; i < w->target.n && !rc; i++)
		rc = thread(w, &im->threads[i], i);
	if (!rc)
		rc = pending(&im->pending, &im->npending, w->pid, PTRACE_PEEKSIGINFO_SHARED);
	return rc;
}

/* ------------------------------------------------------------------ timers */

static uint64_t ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000ull + (uint64_t)t->tv_nsec;
}

/* One timer of /proc/PID/timers: "ID: n", "signal: n/value", "notify: kind/tid.n", "ClockID: n". */
static int timer(struct capture_work *w, const char *text)
{
	struct image *im = &w->c->image;
	struct itimerspec left = {0};
	struct image_timer *t;
	unsigned long long value = 0;
	int id = 0, sig = 0, who = 0, rc;
	char how[16] = "", whom[8] = "";
	const char *f;
	int64_t ret;

	f = procfs_field(text, "ID");
	id = f ? atoi(f) : -1;
	f = procfs_field(text, "signal");
	if (!f || sscanf(f, "%d/%llx", &sig, &value) != 2)
		return -EIO;
	f = procfs_field(text, "notify");
	if (!f || sscanf(f, "%15[^/]/%7[^.].%d", how, whom, &who) != 3)
		return -EIO;
	t = capture_grow((void **)&im->timers, &im->ntimers, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->id = id;
	t->signal = sig;
	t->value = value;
	t->notify = strcmp(how, "none") == 0 ? SIGEV_NONE : SIGEV_SIGNAL;
	f = procfs_field(text, "ClockID");
	t->clock = f ? atoi(f) : 0;
	if (strcmp(whom, "tid") == 0) {
		char *status = procfs_read(NULL, "/proc/%d/task/%d/status", w->pid, who);

		t->notify |= SIGEV_THREAD_ID;
		t->tid = status ? (int32_t)procfs_last(status, "NSpid") : 0;
		free(status);
	}
	rc = ask(w, 0, SYS_timer_gettime, (const uint64_t[6]){(uint64_t)id, w->scratch}, &left,
		 sizeof(left), &ret);
	t->value_ns = ns(&left.it_value);
	t->interval_ns = ns(&left.it_interval);
	return rc;
}

int capture_timers_paused(struct capture_work *w)
{
	struct image *im = &w->c->image;
	char *text = procfs_read(NULL, "/proc/%d/timers", w->pid);
	int64_t ret;
	int rc = 0;

	for (unsigned i = 0; i < 3 && !rc; i++) {
		struct itimerval v = {0};

		rc = ask(w, 0, SYS_getitimer, (const uint64_t[6]){i, w->scratch}, &v, sizeof(v),
			 &ret);
		im->itimers[i].value_us =
			(uint64_t)v.it_value.tv_sec * 1000000 + (uint64_t)v.it_value.tv_usec;
		im->itimers[i].interval_us =
			(uint64_t)v.it_interval.tv_sec * 1000000 + (uint64_t)v.it_interval.tv_usec;
		/* It has expired and its signal is still pending: the kernel starts it anew when that is delivered, and
		 * says until then that nothing is left. One that is off has no interval. */
		if (i == ITIMER_REAL && !im->itimers[i].value_us)
			im->itimers[i].value_us = im->itimers[i].interval_us;
	}
	for (const char *at = text; at && !rc;) {
		at = strstr(at, "ID: ");
		if (!at)
			break;
		/* "ClockID: " ends in it, too. */
		if ((at == text || at[-1] == '\n') && im->ntimers < IMAGE_TIMERS_MAX)
			rc = timer(w, at);
		at++;
	}
	free(text);
	return rc;
}

/* What a process is told only about itself, and a fork does not inherit. */
int capture_prctls_paused(struct capture_work *w)
{
	int sig = 0, reaper = 0;
	int64_t ret;
	int rc = ask(w, 0, SYS_prctl, (const uint64_t[6]){PR_GET_PDEATHSIG, w->scratch}, &sig, sizeof(sig), &ret);

	if (!rc)
		rc = ask(w, 0, SYS_prctl, (const uint64_t[6]){PR_GET_CHILD_SUBREAPER, w->scratch}, &reaper,
			 sizeof(reaper), &ret);
	w->c->image.pdeathsig = sig > 0 && sig <= IMAGE_SIGNALS ? (uint32_t)sig : 0;
	w->c->image.subreaper = reaper != 0;
	return rc;
}

/* ------------------------------------------------------------------ of the snapshot */

int capture_actions(struct capture_work *w)
{
	struct image *im = &w->c->image;
	struct trace *s = &w->snapshot;
	uint64_t where = 0;
	uint8_t saved[32];
	int64_t ret;
	int rc = 0;

	/* The snapshot's own memory: any that can be written, and is put back. */
	where = (s->threads[0].regs.rsp - 256) & ~63ull;
	if (pread(s->mem_fd, saved, sizeof(saved), (off_t)where) != sizeof(saved))
		return -EIO;
	for (unsigned sig = 1; sig <= IMAGE_SIGNALS && !rc; sig++) {
		struct image_sigaction *a = &im->actions[sig - 1];
		uint64_t k[4] = {0};

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		rc = trace_call(s, 0, SYS_rt_sigaction, (const uint64_t[6]){sig, 0, where, 8}, &ret);
		if (!rc && (ret || pread(s->mem_fd, k, sizeof(k), (off_t)where) != sizeof(k)))
			rc = -EIO;
		*a = (struct image_sigaction){.handler = k[0], .flags = k[1], .restorer = k[2],
					      .mask = k[3]};
	}
	if (pwrite(s->mem_fd, saved, sizeof(saved), (off_t)where) != sizeof(saved))
		rc = rc ? rc : -EIO;
	im->mm.brk = 0;
	if (!rc) {
		rc = trace_call(s, 0, SYS_brk, (const uint64_t[6]){0}, &ret);
		im->mm.brk = (uint64_t)ret;
	}
	if (!rc && trace_call(s, 0, SYS_prctl, (const uint64_t[6]){PR_GET_THP_DISABLE}, &ret) == 0)
		im->thp_disable = ret > 0;
	if (!rc && trace_call(s, 0, SYS_prctl, (const uint64_t[6]){PR_GET_DUMPABLE}, &ret) == 0)
		im->dumpable = ret > 0 ? (uint32_t)ret : 0;
	if (!rc && trace_call(s, 0, SYS_prctl, (const uint64_t[6]){PR_GET_SECUREBITS}, &ret) == 0)
		im->creds.securebits = ret > 0 ? (uint32_t)ret : 0;
	return rc;
}
