/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - a process's policy page: everything that it may ask the kernel for, on one readable page.
 *
 * A page is text, one entry a line, each with its reason after " : ". Lines that begin with # are prose.
 *
 *   include NAME                     another page, NAME.policy beside this one or with svcctl's own
 *   allow CALL[?] [if COND [and COND]] : why   the system call; ?: where the machine has it
 *   refuse CALL[?] ERRNO : why       answered with that error, for libraries that try and do without
 *   keep NAMESPACE : why             not one of its own: user, mount, pid, ipc, uts, network
 *   start CAPABILITY : why           held until the start is over
 *   hold CAPABILITY : why            held for good
 *   limit RESOURCE VALUE : why       core, nofile, memlock, nproc, stack or as, in the units of setrlimit
 *   file PATH read|write : why       in its file system, which else has the libraries and its own directories
 *   proc : why                       a /proc, of its own processes
 *
 * A COND is `argN is V`, `argN within V|V` (no other bits) or `argN without V|V`; values are numbers or the
 * kernel's names. A call may stand on several lines; the first that fits counts. Everything else is denied.
 *
 * The page is compiled into a program for seccomp(2). The supervisor reads pages and makes namespaces and
 * limits from them; the process lays the filter on itself when its start is over (ipc/sandbox.h).
 */
#ifndef ATOLL_SVCCTL_POLICY_H
#define ATOLL_SVCCTL_POLICY_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	POLICY_RULES_MAX = 384,
	POLICY_CONDS_MAX = 3,
	POLICY_FILES_MAX = 24,
	POLICY_LIMITS_MAX = 8,
	POLICY_PATH_MAX = 128,
	POLICY_DEPTH_MAX = 4, /* of includes */
};

enum policy_keep {
	KEEP_USER = 1,
	KEEP_MOUNT = 2,
	KEEP_PID = 4,
	KEEP_IPC = 8,
	KEEP_UTS = 16,
	KEEP_NETWORK = 32,
};

/* (argument & mask) == value */
struct policy_cond {
	uint8_t arg;
	uint64_t mask, value;
};

struct policy_rule {
	int call;
	int refuse; /* the error, or 0: allowed */
	uint8_t nconds;
	struct policy_cond cond[POLICY_CONDS_MAX];
};

struct policy {
	struct policy_rule rule[POLICY_RULES_MAX];
	unsigned nrules;
	uint32_t keep; /* enum policy_keep */
	uint64_t start_caps, hold_caps;
	struct {
		int resource;
		uint64_t value;
	} limit[POLICY_LIMITS_MAX];
	unsigned nlimits;
	struct {
		char path[POLICY_PATH_MAX];
		bool write;
	} file[POLICY_FILES_MAX];
	unsigned nfiles;
	bool proc;
};

/**
 * policy_read - a page and what it includes.
 * @shared: directory of svcctl's own pages.
 * @err: gets FILE:LINE and what is wrong.
 * Return: 0, -ENOENT when there is no such page, -EINVAL.
 */
int policy_read(const char *path, const char *shared, struct policy *out, char *err, size_t errlen);

/**
 * policy_compile - the filter, at most @max instructions.
 * Return: how many, or -E2BIG.
 */
int policy_compile(const struct policy *p, struct sock_filter *code, unsigned max);

/**
 * policy_find - the page of a program: PROGRAM.policy beside it, or its name among svcctl's own.
 * Return: 0 and both paths, or -ENOENT when it has none.
 */
int policy_find(const char *program, char *path, size_t len, char *shared, size_t slen);

#endif
