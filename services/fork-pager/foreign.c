/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of thing a descriptor is that somebody sent. Behind one may be a file system in user space, a pipe, or memory
 * that nobody serves, and whoever reads it waits for as long as its owner likes. So each is looked at by calls that ask
 * nobody: whether it has seals (then it is memory of this kernel), and what device it is of without asking that
 * for news. Only then is anything called that the thing behind it answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ipc/admin.h"
#include "services/fork-pager/server.h"

/* Linux 6.7; of older headers nothing is wanted. */
struct pagemap_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct pagemap_scan)

static struct {
	uint64_t anon, proc, process; /* devices of epolls, of /proc, of pidfds; 0: not known */
	bool scan;		      /* PAGEMAP_SCAN is there */
} own;

static uint64_t device_of(int fd)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st))
		return 0;
	return (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
}

static bool scans(int fd)
{
	struct pagemap_scan a = {.size = sizeof(a)};

	return ioctl(fd, PAGEMAP_SCAN_CALL, &a) >= 0;
}

/* Linux 6.7 */
static bool kernel_scans(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 7));
}

void foreign_init(int epoll)
{
	int proc = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), pid = (int)syscall(SYS_pidfd_open, getpid(), 0);
	const char *text = getenv(ADMIN_ENV_PROC);
	unsigned major, minor;

	own.anon = device_of(epoll);
	own.scan = kernel_scans();
	/* that of the node's processes, which is not this one's where it has a namespace of its own */
	if (text && sscanf(text, "%u:%u", &major, &minor) == 2)
		own.proc = (uint64_t)major << 32 | minor;
	else if (proc >= 0)
		own.proc = device_of(proc);
	if (proc >= 0)
		close(proc);
	if (pid >= 0) {
		own.process = device_of(pid);
		close(pid);
	}
}

bool foreign_is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

bool foreign_is_pagemap(int fd, uid_t uid)
{
	if (!own.proc || device_of(fd) != own.proc)
		return false;
	/* Where the kernel cannot tell it from other files of a process, root's word is taken. */
	return own.scan ? scans(fd) : uid == 0;
}

bool foreign_is_userfaultfd(int fd)
{
	struct uffdio_range r = {.start = PAGES_SIZE, .len = PAGES_SIZE};

	return own.anon && device_of(fd) == own.anon && ioctl(fd, UFFDIO_WAKE, &r) == 0;
}

bool foreign_is_process(int fd)
{
	return own.process && device_of(fd) == own.process;
}
