/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/admin.h"
#include "ipc/idle.h"
#include "tools/svcctl/confine.h"

enum { PATH_MAX_HERE = CONF_PATH_MAX + CONF_NAME_MAX + 32, LOCK_RETRY_US = 10000 };

static const char *in_dir(const char *dir, const char *file, char *path)
{
	snprintf(path, PATH_MAX_HERE, "%s/%s", dir, file);
	return path;
}

static const char *log_path(const char *dir, const char *name, const char *end, char *path)
{
	snprintf(path, PATH_MAX_HERE, "%s/log/%s.log%s", dir, name, end);
	return path;
}

int rundir_make(const char *dir, const struct conf_user *owner, char *err, size_t errlen)
{
	char path[PATH_MAX_HERE];
	struct stat st;
	int rc = 0;

	snprintf(path, sizeof(path), "%s", dir);
	/* The directories above it, too: a run directory's parent is often a temporary file system. */
	for (char *slash = strchr(path + 1, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		rc = mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
		*slash = '/';
	}
	if (!rc)
		rc = mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
	if (!rc && stat(dir, &st))
		rc = -errno;
	if (!rc && !S_ISDIR(st.st_mode))
		rc = -ENOTDIR;
	if (!rc && owner->set && geteuid() == 0 && chown(dir, owner->uid, owner->gid))
		rc = -errno;
	if (!rc)
		rc = mkdir(in_dir(dir, "log", path), 0755) && errno != EEXIST ? -errno : 0;
	if (!rc)
		rc = mkdir(in_dir(dir, CONFINE_ROOT, path), 0755) && errno != EEXIST ? -errno : 0;
	if (rc)
		snprintf(err, errlen, "run_dir %s cannot be used: %s", dir, strerror(-rc));
	return rc;
}

int rundir_lock(const char *dir, int wait_ms)
{
	char path[PATH_MAX_HERE];
	uint64_t until = clock_now_ns() + (uint64_t)wait_ms * 1000000u;
	int fd = open(in_dir(dir, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK || clock_now_ns() >= until) {
			int rc = errno == EWOULDBLOCK ? -EBUSY : -errno;

			close(fd);
			return rc;
		}
		usleep(LOCK_RETRY_US);
	}
	return fd;
}

void rundir_clean_dataplane(const char *dir)
{
	char path[PATH_MAX_HERE];

	unlink(in_dir(dir, ADMIN_SOCKET_NAME, path));
}

void rundir_clean(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t len;

	if (!d)
		return;
	/* Those of ports, too, which a dataplane that was killed could not remove. */
	while ((e = readdir(d))) {
		len = strlen(e->d_name);
		if (len > 5 && strcmp(e->d_name + len - 5, ".sock") == 0)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
}

void rundir_ended(const char *dir, const char *why)
{
	char path[PATH_MAX_HERE];
	int fd;

	in_dir(dir, "ended", path);
	unlink(path);
	if (!why)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	dprintf(fd, "%s\n", why);
	close(fd);
}

int rundir_why(const char *dir, char *out, size_t len)
{
	char path[PATH_MAX_HERE];
	int fd = open(in_dir(dir, "ended", path), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, out, len - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	out[n] = 0;
	out[strcspn(out, "\n")] = 0;
	return 0;
}

int rundir_state(const char *dir, const char *name, const struct conf_user *user)
{
	char path[PATH_MAX_HERE];

	if (mkdir(in_dir(dir, "state", path), 0755) && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/state/%s", dir, name);
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (geteuid() == 0 && user->set && lchown(path, user->uid, user->gid))
		return -errno;
	return 0;
}

int rundir_log_open(const char *dir, const char *name)
{
	char path[PATH_MAX_HERE];
	int fd = open(log_path(dir, name, "", path),
		      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);

	return fd < 0 ? -errno : fd;
}

/* The process appends to the file that it has open, so its contents move, not the file. */
void rundir_log_rotate(const char *dir, const char *name, uint32_t max_kib)
{
	char path[PATH_MAX_HERE], old[PATH_MAX_HERE];
	struct stat st;
	off_t at = 0;
	int from, to;

	if (stat(log_path(dir, name, "", path), &st) || st.st_size <= (off_t)max_kib * 1024)
		return;
	from = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	to = open(log_path(dir, name, ".1", old), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		  0644);
	while (from >= 0 && to >= 0 && at < st.st_size)
		if (sendfile(to, from, &at, (size_t)(st.st_size - at)) <= 0)
			break;
	if (from >= 0 && ftruncate(from, 0))
		dprintf(STDERR_FILENO, "svcctl: cannot cut %s: %s\n", path, strerror(errno));
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

void rundir_log_tail(const char *dir, const char *name, unsigned lines, char *out, size_t len)
{
	char path[PATH_MAX_HERE];
	int fd = open(log_path(dir, name, "", path), O_RDONLY | O_CLOEXEC);
	off_t size, from;
	ssize_t n = 0;
	char *at;

	out[0] = 0;
	if (fd < 0)
		return;
	size = lseek(fd, 0, SEEK_END);
	from = size > (off_t)len - 1 ? size - (off_t)len + 1 : 0;
	if (size > 0)
		n = pread(fd, out, len - 1, from);
	close(fd);
	if (n <= 0)
		return;
	out[n] = 0;
	at = out + n;
	for (unsigned i = 0; i <= lines && at > out; i++)
		while (at > out && *--at != '\n')
			;
	if (*at == '\n')
		at++;
	memmove(out, at, strlen(at) + 1);
}
