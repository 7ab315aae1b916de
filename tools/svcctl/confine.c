/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/svcctl/rundir.h"

/* sys/mount.h and linux/mount.h do not go together in older C libraries. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data);
int umount2(const char *target, int flags);

enum { FILE_PATH_MAX = 1024, DETACH = 2 };

/* What every dynamically linked program wants. */
static const char *const common[] = {
	"/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives",
	"/etc/localtime", "/dev/null", "/dev/urandom",
};

int confine_flags(const struct policy *p)
{
	static const struct {
		uint32_t keep;
		int flag;
	} all[] = {
		{KEEP_USER, CLONE_NEWUSER}, {KEEP_MOUNT, CLONE_NEWNS}, {KEEP_PID, CLONE_NEWPID},
		{KEEP_IPC, CLONE_NEWIPC},   {KEEP_UTS, CLONE_NEWUTS},  {KEEP_NETWORK, CLONE_NEWNET},
	};
	int flags = 0;

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!(p->keep & all[i].keep))
			flags |= all[i].flag;
	return flags;
}

static int file_write(pid_t pid, const char *name, const char *text)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

int confine_map(pid_t pid, const struct conf_user *user)
{
	bool root = geteuid() == 0;
	unsigned uid = root && user->set ? user->uid : geteuid();
	unsigned gid = root && user->set ? user->gid : getegid();
	char map[64];
	int rc = 0;

	if (!root)
		rc = file_write(pid, "setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (!rc)
		rc = file_write(pid, "uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return rc ? rc : file_write(pid, "gid_map", map);
}

static int flags_set(const char *path, uint64_t flags, bool below)
{
	struct mount_attr a = {.attr_set = flags};

	return syscall(SYS_mount_setattr, AT_FDCWD, path, below ? AT_RECURSIVE : 0, &a, sizeof(a))
		       ? -errno
		       : 0;
}

enum place { PLACE_FILE, PLACE_DIR, PLACE_ABOVE };

/* The directories above @path, and @path itself as a directory or a file, or not. */
static int place(char *path, size_t root, enum place what)
{
	int fd;

	for (char *slash = strchr(path + root + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (what == PLACE_ABOVE)
		return 0;
	if (what == PLACE_DIR)
		return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
	if (fd < 0)
		return errno == EROFS || errno == EACCES ? 0 : -errno;
	close(fd);
	return 0;
}

/* @from appears at @to below @root. What is not there is left out. */
static int bind_one(const char *root, const char *from, const char *to, bool write, bool below)
{
	char target[FILE_PATH_MAX], link[FILE_PATH_MAX];
	bool device = !strncmp(to, "/dev/", 5);
	struct stat st;
	ssize_t n;
	int rc;

	if (strcmp(from, to) == 0 && lstat(from, &st))
		return 0;
	if (snprintf(target, sizeof(target), "%s%s", root, to) >= (int)sizeof(target))
		return -ENAMETOOLONG;
	if (strcmp(from, to) == 0 && S_ISLNK(st.st_mode) && strcmp(to, "/etc/localtime")) {
		n = readlink(from, link, sizeof(link) - 1);
		if (n < 0)
			return -errno;
		link[n] = 0;
		rc = place(target, strlen(root), PLACE_ABOVE);
		if (rc)
			return rc;
		return symlink(link, target) && errno != EEXIST ? -errno : 0;
	}
	if (stat(from, &st))
		return errno == ENOENT ? 0 : -errno;
	rc = place(target, strlen(root), S_ISDIR(st.st_mode) ? PLACE_DIR : PLACE_FILE);
	if (rc)
		return rc;
	if (mount(from, target, NULL, 4096 /* MS_BIND */ | (below ? 16384 /* MS_REC */ : 0), NULL))
		return -errno;
	return flags_set(target, MOUNT_ATTR_NOSUID | (device ? 0 : MOUNT_ATTR_NODEV) |
				 (write ? 0 : MOUNT_ATTR_RDONLY), below);
}

/* The supervisor's socket is for the node's owner, and where svcctl has no root a service has his number. */
static int cover_socket(const char *root, const char *dir, const char *name)
{
	char target[FILE_PATH_MAX], null[FILE_PATH_MAX];

	if (snprintf(target, sizeof(target), "%s%s/%s", root, dir, name) >= (int)sizeof(target) ||
	    snprintf(null, sizeof(null), "%s/dev/null", root) >= (int)sizeof(null))
		return -ENAMETOOLONG;
	if (access(target, F_OK))
		return errno == ENOENT ? 0 : -errno;
	return mount(null, target, NULL, 4096 /* MS_BIND */, NULL) ? -errno : 0;
}

/* An empty directory in place of what is there. */
static int cover(const char *root, const char *dir, const char *name)
{
	char target[FILE_PATH_MAX];

	if (snprintf(target, sizeof(target), "%s%s/%s", root, dir, name) >= (int)sizeof(target))
		return -ENAMETOOLONG;
	if (access(target, F_OK))
		return 0;
	return mount("none", target, "tmpfs", 2 | 4 | 8 /* nosuid, nodev, noexec */,
		     "mode=755,size=64k,nr_inodes=64")
		       ? -errno
		       : 0;
}

int confine_files(const struct policy *p, const char *run_dir, const char *state, int program,
		  const char *exec, const char **what)
{
	char root[CONF_PATH_MAX + 16], path[CONF_PATH_MAX + 32];
	int rc = 0;

	snprintf(root, sizeof(root), "%s/" CONFINE_ROOT, run_dir);
	*what = "mount";
	if (mount(NULL, "/", NULL, 16384 | 262144 /* MS_REC | MS_PRIVATE */, NULL) ||
	    mount("none", root, "tmpfs", 2 | 4, "mode=755,size=1m,nr_inodes=1k"))
		return -errno;
	for (unsigned i = 0; i < sizeof(common) / sizeof(common[0]) && !rc; i++)
		rc = bind_one(root, *what = common[i], common[i], !strcmp(common[i], "/dev/null"), true);
	for (unsigned i = 0; i < p->nfiles && !rc; i++)
		rc = bind_one(root, *what = p->file[i].path, p->file[i].path, p->file[i].write, true);
	if (!rc && state) {
		*what = run_dir;
		rc = bind_one(root, run_dir, run_dir, false, false);
		if (!rc)
			rc = cover(root, run_dir, "log");
		if (!rc)
			rc = cover(root, run_dir, "state");
		if (!rc)
			rc = cover_socket(root, run_dir, RUNDIR_CONTROL);
		if (!rc)
			rc = bind_one(root, *what = state, state, true, false);
	}
	if (!rc && p->proc) {
		snprintf(path, sizeof(path), "%s/proc", root);
		*what = "/proc";
		if ((mkdir(path, 0555) && errno != EEXIST) ||
		    mount("proc", path, "proc", 2 | 4 | 8, NULL))
			rc = -errno;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", program);
	if (!rc) {
		char target[FILE_PATH_MAX];

		*what = exec;
		snprintf(target, sizeof(target), "%s%s", root, exec);
		/* beneath /usr it is there already */
		if (access(target, F_OK))
			rc = bind_one(root, path, exec, false, false);
	}
	if (!rc)
		rc = flags_set(root, MOUNT_ATTR_RDONLY, false);
	if (!rc && (chdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", DETACH) || chdir("/")))
		rc = -errno, *what = "pivot_root";
	if (rc)
		umount2(root, DETACH);
	return rc;
}

void confine_limits(const struct policy *p)
{
	for (unsigned i = 0; i < p->nlimits; i++) {
		struct rlimit now, want = {p->limit[i].value, p->limit[i].value};

		if (getrlimit((__rlimit_resource_t)p->limit[i].resource, &now))
			continue;
		if (want.rlim_max > now.rlim_max)
			want.rlim_max = want.rlim_cur = now.rlim_max;
		setrlimit((__rlimit_resource_t)p->limit[i].resource, &want);
	}
}
