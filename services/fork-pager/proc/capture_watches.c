/* SPDX-License-Identifier: Apache-2.0 */
/* What an inotify watches. The kernel names it by a file handle only (fdinfo, proc(5)); its path is found by opening that. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

enum {
	HANDLE_MAX = 128, /* MAX_HANDLE_SZ, open_by_handle_at(2) */
	MINOR_BITS = 20,  /* of a device number as the kernel keeps it */
};

struct handle {
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + HANDLE_MAX];
	};
};

static bool handle_parse(struct handle *out, const char *hex, unsigned bytes, unsigned type)
{
	if (bytes > HANDLE_MAX)
		return false;
	out->h.handle_bytes = bytes;
	out->h.handle_type = (int)type;
	for (unsigned i = 0; i < bytes; i++) {
		unsigned v;

		if (sscanf(hex + 2 * i, "%2x", &v) != 1)
			return false;
		out->h.f_handle[i] = (unsigned char)v;
	}
	return true;
}

/* A path of it, through any mount of its file system; to be freed. */
static char *path_of(struct handle *h, unsigned device)
{
	char *mounts = procfs_read(NULL, "/proc/self/mountinfo"), *save, *line, *path = NULL;

	for (line = mounts ? strtok_r(mounts, "\n", &save) : NULL; line && !path; line = strtok_r(NULL, "\n", &save)) {
		unsigned maj, min;
		char where[4096];
		int mount, fd;

		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &maj, &min, where) != 3 ||
		    (maj << MINOR_BITS | min) != device)
			continue;
		mount = open(where, O_RDONLY | O_CLOEXEC);
		fd = mount < 0 ? -1 : open_by_handle_at(mount, &h->h, O_PATH | O_CLOEXEC);
		if (fd >= 0) {
			path = procfs_link("/proc/self/fd/%d", fd);
			close(fd);
		}
		if (mount >= 0)
			close(mount);
		if (path && (path[0] != '/' || strstr(path, " (deleted)"))) {
			free(path);
			path = NULL;
		}
	}
	free(mounts);
	return path;
}

static int ascending(const void *a, const void *b)
{
	const struct image_watch *x = a, *y = b;

	return (x->fd > y->fd) - (x->fd < y->fd);
}

static int watch_add(struct capture_work *w, struct image_file *f, const char *line, int fd)
{
	unsigned wd, device, mask, bytes, type;
	struct image_watch *x;
	struct handle h;
	char *path;
	int at = 0, rc;

	if (sscanf(line, "inotify wd:%x ino:%*x sdev:%x mask:%x ignored_mask:%*x fhandle-bytes:%x fhandle-type:%x f_handle:%n",
		   &wd, &device, &mask, &bytes, &type, &at) != 5 || !at || !handle_parse(&h, line + at, bytes, type)) {
		capture_refuse(w, "descriptor %d: inotify whose watches this kernel does not tell", fd);
		return 0;
	}
	path = path_of(&h, device);
	if (!path) {
		capture_refuse(w, "descriptor %d: inotify, watch %u: what it watches has no name, or we may not know it", fd, wd);
		return 0;
	}
	if (f->nwatches == IMAGE_WATCHES_MAX) {
		free(path);
		capture_refuse(w, "descriptor %d: more than %d watches", fd, IMAGE_WATCHES_MAX);
		return 0;
	}
	x = capture_grow((void **)&f->watches, &f->nwatches, sizeof(*x));
	if (!x) {
		free(path);
		return -ENOMEM;
	}
	*x = (struct image_watch){.fd = (int32_t)wd, .events = mask};
	rc = capture_bytes_set(&x->path, path, strlen(path));
	free(path);
	return rc;
}

int capture_inotify(struct capture_work *w, struct image_file *f, const char *info, int fd)
{
	int copy = (int)syscall(SYS_pidfd_getfd, w->pidfd, fd, 0), bytes = 0, rc = 0;

	f->kind = IMAGE_FILE_INOTIFY;
	for (const char *at = info; at && *at && !rc;) {
		if (strncmp(at, "inotify wd:", 11) == 0)
			rc = watch_add(w, f, at, fd);
		at = strchr(at, '\n');
		at = at ? at + 1 : NULL;
	}
	if (f->nwatches)
		qsort(f->watches, f->nwatches, sizeof(*f->watches), ascending);
	if (copy >= 0 && ioctl(copy, FIONREAD, &bytes) == 0 && bytes)
		capture_note(w, "not carried: events of inotify %d that it has not read (%d bytes)", fd, bytes);
	if (copy >= 0)
		close(copy);
	return rc;
}
