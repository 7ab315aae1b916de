/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.h - one process of a node: how it is started, shut in, and ended.
 *
 * A process is forked, shuts itself in (own process group, log as stdout and stderr, nothing open but
 * what it is given, core, user, capabilities, network namespace, no_new_privs; with a policy page, all that confine.h does), and then waits until
 * the supervisor says go before it runs its program: so its pid is known, and can be told to the
 * dataplane, before any of its code has run. Until the program runs, a report socket carries what
 * went wrong, line by line: `!` begins a failure, `~` a warning.
 *
 * The child ends when its supervisor does: by PR_SET_PDEATHSIG, by the lifeline descriptor, and, if it
 * heeds neither, by the guard (guard.h).
 */
#ifndef ATOLL_SVCCTL_PROC_H
#define ATOLL_SVCCTL_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/conf.h"
#include "tools/svcctl/policy.h"

enum proc_kind { PROC_KEEPER, PROC_DATAPLANE, PROC_SERVICE };

enum proc_state {
	PROC_ENDED,   /* not there, and not to be started */
	PROC_WAITING, /* will be started at retry_ns */
	PROC_HELD,    /* forked, waits for go */
	PROC_RUNNING, /* runs its program, not attached yet */
	PROC_READY,   /* attached (service), answering (dataplane), running (keeper) */
	PROC_STOPPING,
};

enum { PROC_FDS_MAX = 4, PROC_TEXT_MAX = 200 };

/* How it is started. */
struct proc_spec {
	const char *name;
	enum proc_kind kind;
	const char *exec; /* absolute path */
	const char *args; /* separated by blanks, or NULL */
	const char *directory; /* of the cluster that it is a member of; NULL: of none */
	unsigned member;       /* which of its members */
	const char *arg1; /* one argument as it is, before args, or NULL */
	int core;
	struct conf_user user;
	uint64_t caps;	    /* capability bits that are kept */
	const struct policy *policy; /* NULL: only an empty network namespace, where isolate says so */
	int filter;	    /* descriptor of the compiled policy, -1 none */
	bool isolate;
	const char *run_dir;
	int log;	    /* descriptor for stdout and stderr */
	int lifeline;	    /* read end */
	int fds[PROC_FDS_MAX]; /* become descriptors 3, 4, 5; -1: none */
};

struct proc {
	char name[CONF_NAME_MAX + 1];
	enum proc_kind kind;
	enum proc_state state;
	const struct conf_service *conf; /* of a service */
	pid_t pid;
	uid_t uid;  /* its user, as the dataplane sees it */
	int pidfd;  /* -1: no process */
	int report; /* -1 once the program runs */
	uint64_t started_ns, retry_ns, kill_ns, asked_ns;
	uint64_t since_ns; /* running, but not ready */
	uint32_t backoff_ms, restarts;
	bool told;	 /* the dataplane knows its pid */
	bool asked;	 /* an ADMIN request about it is on its way */
	bool again;	 /* started again at once, without back-off, when it has ended */
	char reason[PROC_TEXT_MAX]; /* why it ended last; empty: never */
	char failure[PROC_TEXT_MAX]; /* its program could not be run */
	char warning[PROC_TEXT_MAX];
};

const char *proc_state_name(enum proc_state state);

/* Fork it; it waits for proc_go. 0 or negative errno. */
int proc_start(struct proc *p, const struct proc_spec *spec);
void proc_go(struct proc *p);
/* The report socket is readable: take what it says. Returns true when the program runs now. */
bool proc_report(struct proc *p);
/* Ask its process group to end; SIGKILL follows at kill_ns. */
void proc_stop(struct proc *p, uint64_t now_ns);
void proc_kill(struct proc *p);
/* The pidfd is readable: kill what is left of its group, reap it, say why in p->reason. Returns true
 * when it ended by itself with status 0. */
bool proc_reap(struct proc *p);

/* Capabilities that a port's driver needs beyond those of any process. */
uint64_t proc_port_caps(const char *port);

#endif
