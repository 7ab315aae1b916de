/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/proc/box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/fork-pager/proc/procfs.h"

enum {
	RMDIR_TRIES = 50, /* of 1 ms: a group is empty once its last process has been reaped */
	CPU_PERIOD_US = 100000,
};

/* ------------------------------------------------------------------ the first process */

struct trouble {
	int rc;
	char what[64];
};

static _Noreturn void fail(int fd, const char *what)
{
	struct trouble t = {.rc = -errno};

	snprintf(t.what, sizeof(t.what), "%s", what);
	if (write(fd, &t, sizeof(t)) != sizeof(t))
		_exit(126);
	_exit(125);
}

static void loopback_up(int fd)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &r))
		fail(fd, "the loopback interface");
	close(sock);
}

static void mounts(const struct box_options *o, int fd)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fail(fd, "a mount table of its own");
	if (o->rootfs) {
		if (mount(o->rootfs, o->rootfs, NULL, MS_BIND | MS_REC, NULL) || chdir(o->rootfs) ||
		    syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
			fail(fd, "its root directory");
	}
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		fail(fd, "its /proc");
	if (!o->private_dir)
		return;
	mkdir(o->private_dir, 0755);
	if (mount("none", o->private_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=1m,nr_inodes=256,mode=1777"))
		fail(fd, o->private_dir);
}

/* If whoever makes it has ended before the first line, nobody reads what is written below. */
static _Noreturn void live(const struct box_options *o, int fd)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "atoll-init");
	signal(SIGCHLD, SIG_IGN); /* orphans of the namespace vanish */
	if (!o->pid_only)
		mounts(o, fd);
	if (o->net)
		loopback_up(fd);
	if (write(fd, &(struct trouble){0}, sizeof(struct trouble)) != sizeof(struct trouble))
		_exit(126);
	syscall(SYS_close_range, 0, ~0u, 0);
	for (;;)
		pause();
}

static int init_make(struct box *b, const struct box_options *o, char *why, size_t len)
{
	struct clone_args a = {.flags = CLONE_NEWPID | CLONE_PIDFD, .exit_signal = SIGCHLD, .pidfd = (uint64_t)&b->pidfd};
	struct trouble t = {.rc = -ECHILD, .what = "its first process"};
	int ready[2];

	if (!o->pid_only)
		a.flags |= CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;
	if (o->net)
		a.flags |= CLONE_NEWNET;
	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	b->init = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (b->init == 0) {
		close(ready[0]);
		live(o, ready[1]);
	}
	close(ready[1]);
	if (b->init < 0) {
		int rc = -errno;

		b->init = 0;
		close(ready[0]);
		snprintf(why, len, "no namespaces: %s", strerror(-rc));
		return rc;
	}
	if (read(ready[0], &t, sizeof(t)) != sizeof(t))
		t.rc = -ECHILD;
	close(ready[0]);
	if (t.rc)
		snprintf(why, len, "no container: %s: %s", t.what, strerror(-t.rc));
	return t.rc;
}

/* ------------------------------------------------------------------ groups */

/* Our own group of a hierarchy: its directory. "0::PATH" of version 2, "N:controllers:PATH" of version 1. */
static int own_group(const char *controller, char *out, size_t len)
{
	char *mine = procfs_read(NULL, "/proc/self/cgroup"), *mounts_of = procfs_read(NULL, "/proc/self/mounts"), *save, *line;
	char path[BOX_PATH] = "", point[BOX_PATH] = "";

	for (line = mine ? strtok_r(mine, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *list = strchr(line, ':'), *to = list ? strchr(list + 1, ':') : NULL;
		size_t n = strlen(controller);

		if (!to)
			continue;
		list++;
		if (n ? (size_t)(to - list) == n && strncmp(list, controller, n) == 0 : to == list)
			snprintf(path, sizeof(path), "%s", to + 1);
	}
	for (line = mounts_of ? strtok_r(mounts_of, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char at[256], type[32], options[256];

		if (sscanf(line, "%*s %255s %31s %255s", at, type, options) != 3)
			continue;
		if (controller[0] ? strcmp(type, "cgroup") == 0 && strstr(options, controller) &&
					    strlen(at) > strlen(controller) &&
					    strcmp(at + strlen(at) - strlen(controller), controller) == 0
				  : strcmp(type, "cgroup2") == 0)
			snprintf(point, sizeof(point), "%s", at);
	}
	free(mine);
	free(mounts_of);
	if (!path[0] || !point[0])
		return -ENOENT;
	/* Where the mount shows only a part of the tree, the path begins elsewhere. */
	if (snprintf(out, len, "%s%s", point, path[1] ? path : "") >= (int)len)
		return -ENAMETOOLONG;
	if (access(out, F_OK) && snprintf(out, len, "%s", point) >= (int)len)
		return -ENAMETOOLONG;
	return 0;
}

static int value_write(const char *dir, const char *file, const char *value)
{
	char path[BOX_PATH + 64];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static void sweep(const char *own)
{
	DIR *d = opendir(own);
	char path[BOX_PATH + 32];
	struct dirent *e;
	int pid;

	while (d && (e = readdir(d))) {
		if (sscanf(e->d_name, "afork-%d-", &pid) != 1 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		if (snprintf(path, sizeof(path), "%s/%.40s", own, e->d_name) < (int)sizeof(path))
			rmdir(path);
	}
	if (d)
		closedir(d);
}

void box_sweep(void)
{
	static const char *const controllers[BOX_GROUPS] = {"", "memory", "cpu"};
	char own[BOX_PATH - 64];

	for (unsigned i = 0; i < BOX_GROUPS; i++)
		if (own_group(controllers[i], own, sizeof(own)) == 0)
			sweep(own);
}

static int group_make(const char *controller, char *dir)
{
	static unsigned count;
	char own[BOX_PATH - 64];
	int rc = own_group(controller, own, sizeof(own));

	if (count == 0)
		box_sweep();

	if (rc)
		return rc;
	snprintf(dir, BOX_PATH, "%s/afork-%d-%u", own, getpid(), count++);
	if (mkdir(dir, 0755) == 0)
		return 0;
	rc = -errno;
	dir[0] = 0;
	return rc;
}

/* A limit: in version 2 if it has the controller, else in version 1. */
static int limit(struct box *b, unsigned slot, const char *controller, const char *file2, const char *value2,
		 const char *file1, const char *value1)
{
	int rc = b->group[0][0] ? value_write(b->group[0], file2, value2) : -ENOENT;

	if (rc == 0)
		return 0;
	rc = group_make(controller, b->group[slot]);
	return rc ? rc : value_write(b->group[slot], file1, value1);
}

static int groups(struct box *b, const struct box_options *o, char *why, size_t len)
{
	char value[64], pair[64];
	int rc = group_make("", b->group[0]);

	if (rc)
		snprintf(why, len, "no control group of its own: %s", strerror(-rc));
	rc = 0;
	if (o->memory_bytes) {
		snprintf(value, sizeof(value), "%llu", (unsigned long long)o->memory_bytes);
		rc = limit(b, 1, "memory", "memory.max", value, "memory.limit_in_bytes", value);
		if (rc)
			snprintf(why, len, "the memory limit cannot be had: %s", strerror(-rc));
	}
	if (!rc && o->cpu_percent) {
		snprintf(value, sizeof(value), "%u", o->cpu_percent * (CPU_PERIOD_US / 100));
		snprintf(pair, sizeof(pair), "%u %d", o->cpu_percent * (CPU_PERIOD_US / 100), CPU_PERIOD_US);
		rc = limit(b, 2, "cpu", "cpu.max", pair, "cpu.cfs_quota_us", value);
		if (rc)
			snprintf(why, len, "the limit of processor time cannot be had: %s", strerror(-rc));
	}
	return rc;
}

/* ------------------------------------------------------------------ the whole */

int box_make(struct box *b, const struct box_options *o, char *why, size_t len)
{
	char path[64];
	int rc;

	why[0] = 0;
	*b = (struct box){.pidfd = -1, .root = -1, .pid_only = o->pid_only, .net = o->net};
	rc = init_make(b, o, why, len);
	if (!rc && !o->pid_only) {
		snprintf(path, sizeof(path), "/proc/%d/root", b->init);
		b->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		rc = b->root < 0 ? -errno : groups(b, o, why, len);
	}
	if (rc)
		box_free(b);
	return rc;
}

int box_add(const struct box *b, pid_t pid)
{
	char text[16];
	int rc = 0;

	snprintf(text, sizeof(text), "%d", pid);
	for (unsigned i = 0; i < BOX_GROUPS && !rc; i++)
		if (b->group[i][0])
			rc = value_write(b->group[i], "cgroup.procs", text);
	return rc;
}

int box_enter(const struct box *b)
{
	int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | (b->net ? CLONE_NEWNET : 0);

	return b->pid_only || setns(b->pidfd, flags) == 0 ? 0 : -errno;
}

int box_open(const struct box *b, const char *path, int flags)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT};

	return b && b->root >= 0 ? (int)syscall(SYS_openat2, b->root, path, &how, sizeof(how)) : open(path, flags | O_CLOEXEC);
}

uint64_t box_oom_kills(const struct box *b)
{
	char *text = b->group[1][0]   ? procfs_read(NULL, "%s/memory.oom_control", b->group[1])
		     : b->group[0][0] ? procfs_read(NULL, "%s/memory.events", b->group[0])
				      : NULL;
	const char *at = text ? strstr(text, "oom_kill ") : NULL;
	uint64_t n = at ? (uint64_t)strtoull(at + strlen("oom_kill "), NULL, 10) : 0;

	free(text);
	return n;
}

void box_free(struct box *b)
{
	if (b->init > 0) {
		kill(b->init, SIGKILL);
		while (waitpid(b->init, NULL, 0) < 0 && errno == EINTR)
			;
	}
	for (unsigned i = 0; i < BOX_GROUPS; i++)
		for (unsigned n = 0; b->group[i][0] && rmdir(b->group[i]) && errno == EBUSY && n < RMDIR_TRIES; n++)
			usleep(1000);
	if (b->pidfd >= 0)
		close(b->pidfd);
	if (b->root >= 0)
		close(b->root);
	*b = (struct box){.pidfd = -1, .root = -1};
}
