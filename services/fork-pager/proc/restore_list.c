/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of system calls that the threads of a child run in the stub. */
#include <asm/prctl.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "services/fork-pager/proc/frame.h"
#include "services/fork-pager/proc/restore_impl.h"

enum {
	CALLS_PER_THREAD = 40, /* without pending signals and timers */
	TIMER_RESTORE_IDS = 77, /* PR_TIMER_CREATE_RESTORE_IDS, Linux 6.15 */
};

void *restore_room(struct restore_work *w, size_t size, size_t align)
{
	size_t at = (w->used + align - 1) & ~(align - 1);

	if (w->error || at + size > w->arena_size - RESTORE_PARKING) {
		w->error = w->error ? w->error : -E2BIG;
		return NULL;
	}
	w->used = at + size;
	return w->arena + at; /* zero: nothing is given back */
}

struct stub_entry *restore_call(struct restore_work *w, struct restore_list *l, uint32_t op,
				uint32_t what, int64_t nr, const uint64_t args[6])
{
	static struct stub_entry nowhere;
	struct stub_entry *e;

	if (!l->entry || l->n == l->room) {
		w->error = w->error ? w->error : -E2BIG;
		return &nowhere;
	}
	e = &l->entry[l->n++];
	*e = (struct stub_entry){.nr = nr, .op = op, .what = what,
				 .failed = (uint64_t)&restore_state(w)->failed};
	if (args)
		memcpy(e->arg, args, sizeof(e->arg));
	return e;
}

#define CALL(op, what, nr, ...) restore_call(w, l, op, what, nr, (const uint64_t[6]){__VA_ARGS__})

static struct restore_list list_open(struct restore_work *w, unsigned room)
{
	return (struct restore_list){
		.entry = restore_room(w, room * sizeof(struct stub_entry), 64), .room = room};
}

/* ------------------------------------------------------------------ frames */

uint64_t restore_frame(struct restore_work *w, const struct image_thread *t)
{
	uint8_t *at = restore_room(w, frame_size(), FRAME_ALIGN);

	if (!at)
		return 0;
	frame_write(at, (uint64_t)at, &t->regs, t->xstate.data, t->xstate.len, t->sigmask, t->altstack_sp, t->altstack_size,
		    t->altstack_flags);
	return (uint64_t)at;
}

/* ------------------------------------------------------------------ parts of a list */

/* Ours already? Setting them takes a right, having them none. */
static bool groups_are(const struct image_creds *k)
{
	gid_t own[IMAGE_GROUPS_MAX];
	int n = getgroups(IMAGE_GROUPS_MAX, own);

	return n == (int)k->ngroups && (n == 0 || memcmp(own, k->groups, (size_t)n * sizeof(*own)) == 0);
}

static void identity(struct restore_work *w, struct restore_list *l)
{
	const struct image_creds *k = &w->im->creds;
	struct __user_cap_header_struct *h = restore_room(w, sizeof(*h), 8);
	struct __user_cap_data_struct *d = restore_room(w, 2 * sizeof(*d), 8);
	uint32_t *groups = restore_room(w, (k->ngroups + 1) * sizeof(*groups), 8);

	if (!h || !d || !groups)
		return;
	if (k->ngroups)
		memcpy(groups, k->groups, k->ngroups * sizeof(*groups));
	h->version = _LINUX_CAPABILITY_VERSION_3;
	for (unsigned i = 0; i < 2; i++) {
		d[i].effective = (uint32_t)(k->cap_effective >> 32 * i);
		d[i].permitted = (uint32_t)(k->cap_permitted >> 32 * i);
		d[i].inheritable = (uint32_t)(k->cap_inheritable >> 32 * i);
	}
	for (uint64_t cap = 0; cap < 64; cap++)
		if (!(k->cap_bounding >> cap & 1) && cap <= CAP_LAST_CAP && prctl(PR_CAPBSET_READ, cap) == 1)
			CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_CAPBSET_DROP, cap);
	if (k->uid[0] || k->uid[1])
		CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_SET_KEEPCAPS, 1);
	if (!groups_are(k))
		CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_setgroups, k->ngroups, (uint64_t)groups);
	CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_setresgid, k->gid[0], k->gid[1], k->gid[2]);
	CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_setresuid, k->uid[0], k->uid[1], k->uid[2]);
	CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_capset, (uint64_t)h, (uint64_t)d);
	CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_SET_KEEPCAPS, 0);
	for (uint64_t cap = 0; cap < 64; cap++)
		if (k->cap_ambient >> cap & 1)
			CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap);
	if (k->securebits)
		CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_SET_SECUREBITS, k->securebits);
	if (k->no_new_privs)
		CALL(STUB_OP_CALL, WHAT_CREDS, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
}

static void thread_state(struct restore_work *w, struct restore_list *l,
			 const struct image_thread *t)
{
	struct sched_param *p = restore_room(w, sizeof(*p), 8);
	char *name = restore_room(w, sizeof(t->comm), 8);
	uint64_t *cores = restore_room(w, sizeof(t->affinity), 8);

	if (!p || !name || !cores)
		return;
	memcpy(name, t->comm, sizeof(t->comm));
	memcpy(cores, t->affinity, sizeof(t->affinity));
	p->sched_priority = t->priority;
	CALL(STUB_OP_CALL, WHAT_TLS, SYS_arch_prctl, ARCH_SET_FS, t->regs.fs_base);
	CALL(STUB_OP_CALL, WHAT_TLS, SYS_arch_prctl, ARCH_SET_GS, t->regs.gs_base);
	if (t->robust_list)
		CALL(STUB_OP_CALL, WHAT_TLS, SYS_set_robust_list, t->robust_list, t->robust_len);
	CALL(STUB_OP_CALL, WHAT_TLS, SYS_set_tid_address, t->clear_tid);
	CALL(STUB_OP_CALL, WHAT_NAME, SYS_prctl, PR_SET_NAME, (uint64_t)name);
	if (t->policy != SCHED_OTHER)
		CALL(STUB_OP_OPTIONAL, WHAT_SCHED, SYS_sched_setscheduler, 0, (uint64_t)t->policy,
		     (uint64_t)p);
	if (t->nice)
		CALL(STUB_OP_OPTIONAL, WHAT_SCHED, SYS_setpriority, 0, 0, (uint64_t)t->nice);
	CALL(STUB_OP_OPTIONAL, WHAT_SCHED, SYS_sched_setaffinity, 0, sizeof(t->affinity),
	     (uint64_t)cores);
	identity(w, l);
}

/* Only the receiver itself may queue what looks as if the kernel had sent it. */
static void pending(struct restore_work *w, struct restore_list *l, int32_t pid, int32_t tid,
		    const struct image_pending *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *info = restore_room(w, IMAGE_SIGINFO, 8);
		int32_t sig;

		if (!info)
			return;
		memcpy(info, p[i].info, IMAGE_SIGINFO);
		memcpy(&sig, info, sizeof(sig));
		if (sig < 1 || sig > IMAGE_SIGNALS)
			continue;
		if (tid)
			CALL(STUB_OP_OPTIONAL, WHAT_SIGNAL, SYS_rt_tgsigqueueinfo, (uint64_t)pid,
			     (uint64_t)tid, (uint64_t)sig, (uint64_t)info);
		else
			CALL(STUB_OP_OPTIONAL, WHAT_SIGNAL, SYS_rt_sigqueueinfo, (uint64_t)pid,
			     (uint64_t)sig, (uint64_t)info);
	}
}

static void timers(struct restore_work *w, struct restore_list *l)
{
	const struct image *im = w->im;

	if (im->ntimers)
		CALL(STUB_OP_OPTIONAL, WHAT_TIMER, SYS_prctl, TIMER_RESTORE_IDS, 1);
	for (uint32_t i = 0; i < im->ntimers; i++) {
		const struct image_timer *t = &im->timers[i];
		struct sigevent *ev = restore_room(w, sizeof(*ev), 8);
		struct itimerspec *its = restore_room(w, sizeof(*its), 8);
		int32_t *id = restore_room(w, sizeof(*id), 8);

		if (!ev || !its || !id)
			return;
		*id = t->id;
		ev->sigev_notify = t->notify;
		ev->sigev_signo = t->signal;
		ev->sigev_value.sival_ptr = (void *)t->value;
		/* sigev_notify_thread_id of the kernel's structure */
		memcpy((uint8_t *)ev + 16, &t->tid, sizeof(t->tid));
		its->it_value = (struct timespec){(time_t)(t->value_ns / 1000000000),
						  (long)(t->value_ns % 1000000000)};
		its->it_interval = (struct timespec){(time_t)(t->interval_ns / 1000000000),
						     (long)(t->interval_ns % 1000000000)};
		CALL(STUB_OP_OPTIONAL, WHAT_TIMER, SYS_timer_create, (uint64_t)(int64_t)t->clock,
		     (uint64_t)ev, (uint64_t)id);
		if (t->value_ns)
			CALL(STUB_OP_OPTIONAL, WHAT_TIMER, SYS_timer_settime, (uint64_t)t->id, 0,
			     (uint64_t)its, 0);
	}
	if (im->ntimers)
		CALL(STUB_OP_OPTIONAL, WHAT_TIMER, SYS_prctl, TIMER_RESTORE_IDS, 0);
	for (unsigned i = 0; i < 3; i++) {
		const struct image_itimer *t = &im->itimers[i];
		struct itimerval *v = restore_room(w, sizeof(*v), 8);

		if (!v || !t->value_us)
			continue;
		v->it_value.tv_sec = (time_t)(t->value_us / 1000000);
		v->it_value.tv_usec = (suseconds_t)(t->value_us % 1000000);
		v->it_interval.tv_sec = (time_t)(t->interval_us / 1000000);
		v->it_interval.tv_usec = (suseconds_t)(t->interval_us % 1000000);
		CALL(STUB_OP_OPTIONAL, WHAT_TIMER, SYS_setitimer, i, (uint64_t)v, 0);
	}
}

/* Of the process, in its first thread, while nothing of it runs. */
static void process_state(struct restore_work *w, struct restore_list *l)
{
	const struct image *im = w->im;

	CALL(STUB_OP_CALL, WHAT_CLOSE, SYS_close_range, (uint64_t)w->high + 1, ~0u, 0);
	for (unsigned i = 0; i < IMAGE_LIMITS; i++) {
		uint64_t *lim = restore_room(w, 16, 8);

		if (!lim)
			return;
		lim[0] = im->limits[i].soft;
		lim[1] = im->limits[i].hard;
		CALL(STUB_OP_OPTIONAL, WHAT_LIMIT, SYS_prlimit64, 0, i, (uint64_t)lim, 0);
	}
	if (im->timerslack_ns)
		CALL(STUB_OP_OPTIONAL, WHAT_SCHED, SYS_prctl, PR_SET_TIMERSLACK, im->timerslack_ns);
	if (im->thp_disable)
		CALL(STUB_OP_OPTIONAL, WHAT_ADVICE, SYS_prctl, PR_SET_THP_DISABLE, 1);
}

/* A change of identity resets these. */
static void after_identity(struct restore_work *w, struct restore_list *l)
{
	const struct image *im = w->im;

	if (im->dumpable < 2)
		CALL(STUB_OP_OPTIONAL, WHAT_CREDS, SYS_prctl, PR_SET_DUMPABLE, im->dumpable);
	if (im->subreaper)
		CALL(STUB_OP_CALL, WHAT_CREDS, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
	if (im->pdeathsig)
		CALL(STUB_OP_CALL, WHAT_SIGNAL, SYS_prctl, PR_SET_PDEATHSIG, im->pdeathsig);
}

static void finish(struct restore_work *w, struct restore_list *l, unsigned i)
{
	const struct image_thread *t = &w->im->threads[i];
	struct arena_state *st = restore_state(w);
	uint64_t frame = restore_frame(w, t);

	CALL(STUB_OP_ARRIVE, WHAT_SYNC, 0, (uint64_t)&st->arrived);
	CALL(STUB_OP_WAIT, WHAT_SYNC, 0, (uint64_t)&st->go);
	if (i == 0 && w->o->uffd_features)
		CALL(STUB_OP_CALL, WHAT_CLOSE, SYS_close, (uint64_t)w->high);
	/* It writes to memory that may have to be fetched, so somebody must be fetching by now. */
	if (t->rseq)
		CALL(STUB_OP_CALL, WHAT_RSEQ, SYS_rseq, t->rseq, t->rseq_len, 0, t->rseq_sig);
	pending(w, l, w->im->threads[0].tid, t->tid, t->pending, t->npending);
	if (i == 0) {
		pending(w, l, t->tid, 0, w->im->pending, w->im->npending);
		timers(w, l);
	}
	CALL(STUB_OP_RETURN, WHAT_RETURN, 0, frame);
}

static unsigned calls(const struct image_thread *t)
{
	unsigned bounding = 64, ambient = 64;

	return CALLS_PER_THREAD + bounding + ambient + t->npending;
}

static void clone_thread(struct restore_work *w, struct restore_list *l, unsigned i, uint64_t list)
{
	struct clone_args *a = restore_room(w, sizeof(*a), 8);
	pid_t *tid = restore_room(w, sizeof(*tid), 8);
	struct stub_entry *e;

	if (!a || !tid)
		return;
	*tid = w->im->threads[i].tid;
	a->flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	if (w->o->same_pids || w->o->box) {
		a->set_tid = (uint64_t)tid;
		a->set_tid_size = 1;
	}
	e = CALL(STUB_OP_CLONE, WHAT_THREAD, SYS_clone3, (uint64_t)a, sizeof(*a));
	e->next = list;
}

int restore_lists(struct restore_work *w)
{
	const struct image *im = w->im;
	struct restore_list first =
		list_open(w, restore_mm_calls(w) + calls(&im->threads[0]) + im->nthreads +
				     im->npending + im->ntimers * 2 + 64);

	w->list = (uint64_t)first.entry;
	restore_mm_list(w, &first);
	for (unsigned i = 1; i < im->nthreads && !w->error; i++) {
		struct restore_list other = list_open(w, calls(&im->threads[i]));

		thread_state(w, &other, &im->threads[i]);
		finish(w, &other, i);
		clone_thread(w, &first, i, (uint64_t)other.entry);
	}
	process_state(w, &first);
	thread_state(w, &first, &im->threads[0]);
	after_identity(w, &first);
	finish(w, &first, 0);
	return w->error;
}

void restore_dropped(struct restore_work *w)
{
	uint64_t said = 0;

	for (const struct stub_entry *e = (const struct stub_entry *)w->list; e->op != STUB_OP_ARRIVE; e++) {
		bool right = e->what == WHAT_CREDS || e->what == WHAT_LIMIT || e->what == WHAT_SCHED || e->what == WHAT_LOCK;

		if (e->op != STUB_OP_OPTIONAL || !right || e->result >= 0 || (said >> e->what & 1))
			continue;
		said |= 1ull << e->what;
		restore_say(&w->c->report, "not carried: %s: %s", restore_what(e->what), strerror((int)-e->result));
	}
}

const char *restore_what(uint32_t what)
{
	static const char *const text[WHAT_COUNT] = {
		[WHAT_VDSO] = "moving the vdso",
		[WHAT_UNMAP] = "unmapping what was there before",
		[WHAT_MAP] = "mapping memory",
		[WHAT_REGISTER] = "registering memory with userfaultfd",
		[WHAT_ADVICE] = "advice on memory",
		[WHAT_LOCK] = "locking memory",
		[WHAT_LAYOUT] = "the layout of the address space",
		[WHAT_TLS] = "thread-local storage",
		[WHAT_THREAD] = "making a thread with its number",
		[WHAT_NAME] = "the name of a thread",
		[WHAT_SCHED] = "scheduling of a thread",
		[WHAT_CLOSE] = "closing descriptors",
		[WHAT_CREDS] = "user, groups or capabilities",
		[WHAT_LIMIT] = "a resource limit",
		[WHAT_SYNC] = "waiting",
		[WHAT_RSEQ] = "restartable sequences",
		[WHAT_SIGNAL] = "a pending signal",
		[WHAT_TIMER] = "a timer",
		[WHAT_RETURN] = "returning to the program",
	};

	return what < WHAT_COUNT && text[what] ? text[what] : "a system call";
}
