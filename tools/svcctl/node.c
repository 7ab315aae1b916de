/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/admin.h"
#include "ipc/idle.h"
#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "tools/svcctl/rundir.h"

enum {
	MS = 1000000,
	TICK_FAST_MS = 5,    /* while something is starting */
	TICK_SLOW_MS = 1000, /* log sizes, is everybody still attached */
	UP_MS = 20000,	     /* from start to all ready */
	LOCK_MS = 4000,	     /* an earlier node's guard may still be at work */
	TAIL_LINES = 6,
};

const char *node_phase_name(enum node_phase phase)
{
	switch (phase) {
	case NODE_STARTING:
		return "starting";
	case NODE_UP:
		return "up";
	case NODE_STOP_SERVICES:
	case NODE_STOP_DATAPLANE:
	case NODE_STOP_KEEPER:
		return "stopping";
	case NODE_OVER:
		return "over";
	}
	return "?";
}

__attribute__((format(printf, 2, 3))) static void node_log(const struct node *n, const char *fmt, ...)
{
	char text[512], when[32];
	time_t now = time(NULL);
	struct tm tm;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strftime(when, sizeof(when), "%F %T", localtime_r(&now, &tm));
	fprintf(stderr, "%s svcctl: node %s: %s\n", when, n->conf->name, text);
}

void node_end(struct node *n, bool failed, const char *fmt, ...)
{
	va_list ap;

	if (n->phase >= NODE_STOP_SERVICES)
		return;
	va_start(ap, fmt);
	vsnprintf(n->why, sizeof(n->why), fmt, ap);
	va_end(ap);
	node_log(n, n->phase == NODE_STARTING && failed ? "does not start: %s" : "ends: %s", n->why);
	n->failed = failed;
	n->phase = NODE_STOP_SERVICES;
	if (n->ready_fd >= 0) {
		dprintf(n->ready_fd, "%s\n", n->why);
		close(n->ready_fd);
		n->ready_fd = -1;
	}
}

int node_proc_find(const struct node *n, const char *name)
{
	for (unsigned i = 0; i < n->nprocs; i++)
		if (strcmp(n->procs[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

/* ---------------------------------------------------------------- what has happened */

static void ended_tail(const struct node *n, const struct proc *p)
{
	char tail[2048];

	rundir_log_tail(n->conf->run_dir, p->name, TAIL_LINES, tail, sizeof(tail));
	if (tail[0])
		fprintf(stderr, "last lines of %s/log/%s.log:\n%s", n->conf->run_dir, p->name, tail);
}

static void on_end(struct node *n, unsigned i)
{
	struct proc *p = &n->procs[i];
	bool held = p->state == PROC_HELD, wanted = p->state == PROC_STOPPING;
	bool well = proc_reap(p);

	if (p->kind == PROC_DATAPLANE) {
		admin_open(&n->admin, -1);
		rundir_clean_dataplane(n->conf->run_dir);
	}
	for (unsigned c = 0; c < NODE_CLIENTS_MAX; c++)
		if (n->clients[c].fd >= 0 && n->clients[c].wait == (int)i)
			n->clients[c].ended = true;
	if (n->phase >= NODE_STOP_SERVICES) {
		p->state = PROC_ENDED;
		return;
	}
	if (!wanted)
		node_log(n, "%s %s", p->name, p->reason);
	if (p->kind == PROC_KEEPER) {
		p->state = PROC_ENDED;
		node_end(n, true, "the keeper %s, and with it the node's memory is gone; start it again"
			 " with svcctl up", p->reason);
		return;
	}
	if (n->phase == NODE_STARTING && p->kind == PROC_DATAPLANE && !p->again) {
		ended_tail(n, p);
		p->state = PROC_ENDED;
		node_end(n, true, "the dataplane %s before it was ready; its log is %s/log/%s.log",
			 p->reason, n->conf->run_dir, p->name);
		return;
	}
	if (n->phase == NODE_STARTING && p->failure[0]) {
		p->state = PROC_ENDED;
		node_end(n, true, "%s: %s", p->name, p->failure);
		return;
	}
	if (p->conf && !held && !p->again &&
	    (p->conf->restart == CONF_RESTART_NEVER ||
	     (p->conf->restart == CONF_RESTART_ON_FAILURE && well))) {
		p->state = PROC_ENDED;
		return;
	}
	p->restarts++;
	node_proc_plan(p, n->now_ns);
}

static void on_answer(struct node *n, uint16_t op, int proc, const struct proto_ctl_reply *r)
{
	struct proc *p = proc >= 0 && (unsigned)proc < n->nprocs ? &n->procs[proc] : NULL;
	bool ok = r->status == STATUS_OK;

	if (!p || p->pidfd < 0)
		return;
	p->asked = false;
	switch (op) {
	case CTL_OP_ADMIN_SERVICE:
		p->told = ok;
		if (ok) {
			proc_go(p);
		} else {
			snprintf(p->failure, sizeof(p->failure), "the dataplane refuses it: %s",
				 r->text[0] ? r->text : proto_status_name(r->status));
			proc_kill(p);
		}
		break;
	case CTL_OP_ADMIN_STATUS:
		if (ok && p->state == PROC_RUNNING) {
			p->state = PROC_READY;
		} else if (!ok && p->state == PROC_READY && p->kind == PROC_SERVICE) {
			p->state = PROC_RUNNING;
			p->since_ns = n->now_ns;
		}
		break;
	default:
		break;
	}
}

static void read_admin(struct node *n)
{
	struct proto_ctl_reply r;
	uint16_t op;
	int proc, rc;

	while ((rc = admin_read(&n->admin, &op, &proc, &r)) == 0)
		on_answer(n, op, proc, &r);
	if (rc == -EAGAIN)
		return;
	/* It has hung up, or says what makes no sense; it is about to end, or made to. */
	admin_open(&n->admin, -1);
	if (n->phase < NODE_STOP_SERVICES && rc != -ECONNRESET)
		proc_kill(&n->procs[NODE_DATAPLANE]);
}

static void read_keeper(struct node *n)
{
	struct keeper_msg m;

	/* Acknowledgements; a hang-up is followed by its end. */
	if (sock_recv(n->keeper_sock, &m, sizeof(m), NULL, NULL) == -ECONNRESET) {
		close(n->keeper_sock);
		n->keeper_sock = -1;
	}
}

static void read_signals(struct node *n)
{
	struct signalfd_siginfo info;

	while (read(n->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		node_end(n, false, "SIG%s", sigabbrev_np((int)info.ssi_signo));
	}
}

/* What the node's processes left behind comes here, and so does the guard, which must not go missing. */
static void reap_others(struct node *n)
{
	siginfo_t info = {0};

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
		for (unsigned i = 0; i < n->nprocs; i++)
			if (n->procs[i].pid == info.si_pid)
				return; /* its pidfd says so, too; the rest next time */
		waitid(P_PID, (id_t)info.si_pid, &info, WEXITED);
		if (info.si_pid != n->guard.pid || n->phase >= NODE_STOP_SERVICES)
			continue;
		if (n->guard.sock >= 0)
			close(n->guard.sock);
		guard_start(&n->guard, n->conf->run_dir, n->lock);
		for (unsigned i = 0; i < n->nprocs; i++)
			if (n->procs[i].pidfd >= 0)
				guard_add(&n->guard, n->procs[i].pidfd, n->procs[i].pid);
	}
}

/* ---------------------------------------------------------------- what the time calls for */

static bool all_ready(const struct node *n)
{
	for (unsigned i = 0; i < n->nprocs; i++)
		if (n->procs[i].state != PROC_READY && n->procs[i].state != PROC_ENDED)
			return false;
	return true;
}

/* When a process that is not ready yet is asked after next. */
static uint64_t ask_again(const struct node *n, const struct proc *p)
{
	uint64_t wait = n->now_ns > p->since_ns ? (n->now_ns - p->since_ns) / 16 : 0;
	uint64_t least = (uint64_t)TICK_FAST_MS * MS, most = (uint64_t)TICK_SLOW_MS * MS;

	return p->asked_ns + (wait < least ? least : wait > most ? most : wait);
}

static void ask(struct node *n, unsigned i)
{
	struct proc *p = &n->procs[i];
	bool service = p->kind == PROC_SERVICE;

	if (p->asked || p->pidfd < 0 || p->state == PROC_STOPPING || p->kind == PROC_KEEPER)
		return;
	if (service && !p->told)
		p->asked = admin_ask(&n->admin, CTL_OP_ADMIN_SERVICE, (int)i, p->pid, p->uid, p->name) == 0;
	else if (p->state == PROC_RUNNING ? n->now_ns >= ask_again(n, p) : n->now_ns >= n->ask_ns)
		p->asked = admin_ask(&n->admin, CTL_OP_ADMIN_STATUS, (int)i, 0, 0,
				     service ? p->name : NULL) == 0;
	else
		return;
	p->asked_ns = n->now_ns; /* in vain, too: while there is nobody to ask, the next time is not now */
}

static void check_up(struct node *n)
{
	char text[NODE_TEXT_MAX];
	size_t at = 0;

	if (n->phase != NODE_STARTING)
		return;
	if (all_ready(n)) {
		n->phase = NODE_UP;
		node_log(n, "is up");
		if (n->ready_fd >= 0) {
			dprintf(n->ready_fd, "up\n");
			close(n->ready_fd);
			n->ready_fd = -1;
		} else {
			printf("node %s is up: %s\n", n->conf->name, n->conf->run_dir);
			fflush(stdout);
		}
		return;
	}
	if (n->now_ns - n->started_ns < (uint64_t)UP_MS * MS)
		return;
	for (unsigned i = 0; i < n->nprocs && at < sizeof(text) - 80; i++)
		if (n->procs[i].state != PROC_READY) {
			ended_tail(n, &n->procs[i]);
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s is %s",
					       at ? ", " : "", n->procs[i].name,
					       proc_state_name(n->procs[i].state));
		}
	node_end(n, true, "not ready within %d s: %s; look at the logs in %s/log", UP_MS / 1000, text,
		 n->conf->run_dir);
}

static void stop_phase(struct node *n)
{
	unsigned from = n->phase == NODE_STOP_SERVICES	  ? NODE_SERVICE0
			: n->phase == NODE_STOP_DATAPLANE ? NODE_DATAPLANE
							  : NODE_KEEPER;
	unsigned to = n->phase == NODE_STOP_SERVICES ? n->nprocs : from + 1;
	bool left = false;

	if (n->phase == NODE_STOP_KEEPER && n->keeper_sock >= 0) {
		close(n->keeper_sock); /* this is what ends it */
		n->keeper_sock = -1;
	}
	for (unsigned i = from; i < to; i++) {
		struct proc *p = &n->procs[i];

		proc_stop(p, n->now_ns);
		left |= p->pidfd >= 0;
		if (p->pidfd < 0)
			p->state = PROC_ENDED;
	}
	if (!left)
		n->phase++;
}

static void tick(struct node *n)
{
	if (n->phase < NODE_STOP_SERVICES) {
		for (unsigned i = 0; i < n->nprocs; i++)
			if (n->procs[i].state == PROC_WAITING && n->now_ns >= n->procs[i].retry_ns)
				node_proc_start(n, i);
		for (unsigned i = 0; i < n->nprocs; i++)
			ask(n, i);
		if (n->now_ns >= n->ask_ns)
			n->ask_ns = n->now_ns + (uint64_t)TICK_SLOW_MS * MS;
		if (n->procs[NODE_DATAPLANE].state == PROC_READY && !n->admin.counters_asked)
			n->admin.counters_asked =
				admin_ask(&n->admin, CTL_OP_COUNTERS, -1, 0, 0, NULL) == 0;
		check_up(n);
	}
	while (n->phase >= NODE_STOP_SERVICES && n->phase < NODE_OVER) {
		enum node_phase before = n->phase;

		stop_phase(n);
		if (n->phase == before)
			break;
	}
	for (unsigned i = 0; i < n->nprocs; i++)
		if (n->procs[i].state == PROC_STOPPING && n->now_ns >= n->procs[i].kill_ns) {
			proc_kill(&n->procs[i]);
			/* it may take its time to die, and is not helped by who spins meanwhile */
			n->procs[i].kill_ns = n->now_ns + (uint64_t)TICK_SLOW_MS * MS;
		}
	if (n->now_ns >= n->tick_ns) {
		n->tick_ns = n->now_ns + (uint64_t)TICK_SLOW_MS * MS;
		for (unsigned i = 0; i < n->nprocs; i++)
			rundir_log_rotate(n->conf->run_dir, n->procs[i].name, n->conf->log_max_kib);
	}
	reap_others(n);
	control_tick(n);
}

/* How long nothing needs to be done, ms. */
static int timeout(const struct node *n)
{
	uint64_t at = n->tick_ns;

	for (unsigned i = 0; i < n->nprocs; i++) {
		const struct proc *p = &n->procs[i];
		uint64_t want = p->state == PROC_WAITING	? p->retry_ns
				: p->state == PROC_STOPPING	? p->kill_ns
				: p->state == PROC_RUNNING && !p->asked && p->kind != PROC_KEEPER
					? ask_again(n, p)
					: UINT64_MAX;

		at = want < at ? want : at;
	}
	return at <= n->now_ns ? 0 : (int)((at - n->now_ns) / MS) + 1;
}

static void turn(struct node *n)
{
	struct pollfd p[5 + 2 * NODE_PROCS_MAX + NODE_CLIENTS_MAX];
	struct pollfd *pids = p + 5, *reports = pids + n->nprocs, *clients = reports + n->nprocs;

	p[0] = (struct pollfd){.fd = n->signals, .events = POLLIN};
	p[1] = (struct pollfd){.fd = n->control, .events = POLLIN};
	p[2] = (struct pollfd){.fd = n->keeper_sock, .events = POLLIN};
	p[3] = (struct pollfd){.fd = n->admin.fd, .events = POLLIN};
	p[4] = (struct pollfd){.fd = n->while_fd, .events = POLLIN};
	for (unsigned i = 0; i < n->nprocs; i++) {
		pids[i] = (struct pollfd){.fd = n->procs[i].pidfd, .events = POLLIN};
		reports[i] = (struct pollfd){.fd = n->procs[i].report, .events = POLLIN};
	}
	for (unsigned i = 0; i < NODE_CLIENTS_MAX; i++)
		clients[i] = (struct pollfd){.fd = n->clients[i].fd, .events = POLLIN};
	poll(p, (nfds_t)(clients + NODE_CLIENTS_MAX - p), timeout(n));
	n->now_ns = clock_now_ns();
	if (p[3].revents)
		read_admin(n);
	if (p[2].revents)
		read_keeper(n);
	for (unsigned i = 0; i < n->nprocs; i++) {
		if (reports[i].revents && n->procs[i].report >= 0 && proc_report(&n->procs[i]) &&
		    n->procs[i].kind == PROC_KEEPER && !n->procs[i].failure[0])
			n->procs[i].state = PROC_READY;
		if (pids[i].revents)
			on_end(n, i);
	}
	if (p[0].revents)
		read_signals(n);
	if (p[4].revents) {
		n->while_fd = -1; /* it stays readable */
		if (n->phase < NODE_STOP_SERVICES)
			node_end(n, false, "the process that it was to end with has ended");
	}
	for (unsigned i = 0; i < NODE_CLIENTS_MAX; i++)
		if (clients[i].revents)
			control_read(n, &n->clients[i]);
	if (p[1].revents)
		control_accept(n);
	tick(n);
}

/* ---------------------------------------------------------------- begin and end */

static void proc_init(struct node *n, const char *name, enum proc_kind kind,
		      const struct conf_service *conf)
{
	struct proc *p = &n->procs[n->nprocs++];

	snprintf(p->name, sizeof(p->name), "%s", name);
	p->kind = kind;
	p->conf = conf;
	p->pidfd = p->report = -1;
	p->state = PROC_WAITING;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What a node needs, in order; each says in n->why what is wrong. */
static int node_open(struct node *n)
{
	const struct node_conf *c = n->conf;
	int rc;

	proc_init(n, "keeper", PROC_KEEPER, NULL);
	proc_init(n, "dataplane", PROC_DATAPLANE, NULL);
	for (unsigned i = 0; i < c->nservices; i++)
		proc_init(n, c->services[i].name, PROC_SERVICE, &c->services[i]);
	if (node_find_programs(n) || node_find_policies(n) || rundir_make(c->run_dir, &c->user, n->why, sizeof(n->why)))
		return -1;
	n->conf_fd = open(n->file, O_RDONLY | O_CLOEXEC);
	n->lock = rundir_lock(c->run_dir, LOCK_MS);
	if (n->lock < 0) {
		snprintf(n->why, sizeof(n->why), n->lock == -EBUSY
				 ? "a node is up in %s already: svcctl down ends it, another run_dir"
				   " makes a second one"
				 : "the lock in %s cannot be taken; is it another user's?",
			 c->run_dir);
		return -1;
	}
	rundir_clean(c->run_dir);
	rundir_ended(c->run_dir, NULL);
	n->signals = open_signals();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	n->control = control_listen(c->run_dir);
	rc = guard_start(&n->guard, c->run_dir, n->lock);
	if (n->control < 0 || n->conf_fd < 0 || n->signals < 0 || rc ||
	    pipe2(n->lifeline, O_CLOEXEC)) {
		snprintf(n->why, sizeof(n->why), "cannot open what a node needs in %s: %s", c->run_dir,
			 strerror(n->control < 0 ? -n->control : rc ? -rc : errno));
		return -1;
	}
	return 0;
}

int node_run(const struct node_conf *conf, const char *file, int ready_fd, int while_fd)
{
	struct node *n = calloc(1, sizeof(*n));
	bool failed;

	if (!n)
		return 1;
	n->conf = conf;
	n->file = file;
	n->ready_fd = ready_fd;
	n->while_fd = while_fd;
	n->lock = n->control = n->signals = n->keeper_sock = n->conf_fd = -1;
	n->lifeline[0] = n->lifeline[1] = n->admin.fd = n->guard.sock = -1;
	for (unsigned i = 0; i < NODE_CLIENTS_MAX; i++)
		n->clients[i].fd = -1;
	n->started_ns = n->now_ns = clock_now_ns();
	if (node_open(n)) {
		char why[NODE_TEXT_MAX];

		memcpy(why, n->why, sizeof(why));
		node_end(n, true, "%s", why);
		if (n->control >= 0)
			rundir_clean(conf->run_dir);
		guard_dismiss(&n->guard);
		free(n);
		return 1;
	}
	tick(n);
	while (n->phase != NODE_OVER)
		turn(n);
	rundir_clean(conf->run_dir);
	rundir_ended(conf->run_dir, n->why);
	guard_dismiss(&n->guard);
	/* Clients that wait for the end see it by the hang-up, once the lock is free. */
	close(n->lock);
	failed = n->failed;
	free(n);
	return failed ? 1 : 0;
}
