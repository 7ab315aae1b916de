/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - the last step of a process's start: from here on it can do only what its policy page says.
 *
 * The supervisor compiles the page (tools/svcctl/policy.h) into a program for the kernel's filter of system
 * calls and leaves it in a sealed memory file, whose descriptor is in $ATOLL_FILTER. A process does what it
 * must to get ready (open files, map devices, start threads), then calls sandbox_enter: the capabilities of all
 * of its threads go, the filter is laid on all of them, and neither comes back. Started by hand, without a supervisor,
 * there is no filter, and a process runs without.
 *
 * A call that the page does not list is not executed. The process writes its name to the log and ends by
 * SIGSYS; should somebody have replaced the handler, the call is not executed either.
 */
#ifndef ATOLL_IPC_SANDBOX_H
#define ATOLL_IPC_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_ENV_FILTER "ATOLL_FILTER" /* descriptor of the filter */
#define SANDBOX_ENV_CAPS "ATOLL_CAPS"	  /* capability bits that are kept after start, hexadecimal */

enum {
	SANDBOX_FD = 7,		   /* what the supervisor puts into ATOLL_FILTER */
	SANDBOX_FILTER_MAX = 4096, /* instructions: the kernel's BPF_MAXINSNS */
};

/**
 * sandbox_enter - drop capabilities and lay on the filter; for a process's main thread, once.
 * @name: of the process, for what is said on stderr.
 * Return: 0, also when there is no filter; or negative errno when there is one and it cannot be laid on: the
 * process must then end.
 */
int sandbox_enter(const char *name);

/**
 * sandbox_give_up - no executable memory, no new process or thread, no program, no signals to others, from here
 * on; for the process of a service that faces the ring, when a process that it started before has to do those.
 * The service's page then speaks of both, and this one has less. Comes before sandbox_enter.
 * Return: 0, or negative errno: the process must then end.
 */
int sandbox_give_up(void);

/* The number of a system call on this machine, or -ENOENT. */
int syscall_number(const char *name);
/* Its name; "?" for a number that is none. */
const char *syscall_name(int number);

#endif
