/* SPDX-License-Identifier: Apache-2.0 */
/* What descriptors and mappings refer to. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

enum {
	MEM_MAJOR = 1,
	TTY_MAJOR = 5,
	PTS_MAJOR = 136,
	PTS_MAJOR_LAST = 143,
};

static const char deleted_mark[] = " (deleted)";

static void identify(struct image_file *f, const struct stat *st)
{
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000ull + (uint64_t)st->st_mtim.tv_nsec;
	f->ino = st->st_ino;
	f->dev = st->st_dev;
	f->mode = st->st_mode;
}

/* Contents of an open file of the target, from its beginning, into the image. */
static int contents(struct capture_work *w, struct image_file *f, int fd, uint64_t size)
{
	char path[64];
	uint8_t *data;
	ssize_t n = 0;
	int in, rc;

	if (size > IMAGE_DATA_MAX) {
		capture_refuse(w, "descriptor %d: %" PRIu64 " bytes of a file without a name; %d are"
			       " possible", fd, size, IMAGE_DATA_MAX);
		f->kind = IMAGE_FILE_DROPPED;
		return 0;
	}
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", w->pid, fd);
	in = open(path, O_RDONLY | O_CLOEXEC);
	data = malloc(size + 1);
	if (in < 0 || !data) {
		rc = in < 0 ? -errno : -ENOMEM;
		if (in >= 0)
			close(in);
		free(data);
		return rc;
	}
	while ((uint64_t)n < size) {
		ssize_t got = pread(in, data + n, size - (uint64_t)n, n);

		if (got <= 0)
			break;
		n += got;
	}
	rc = capture_bytes_set(&f->data, data, (size_t)n);
	free(data);
	close(in);
	return rc;
}

/* ------------------------------------------------------------------ kinds */

static bool pipe_has_other_end(const struct capture_work *w, uint64_t ino, uint32_t flags);

/* What is in a pipe is copied without taking it out. */
static int pipe_contents(struct capture_work *w, struct image_file *f, int fd)
{
	static uint8_t buffer[1 << 20];
	char path[64];
	int in, out[2], waiting = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", w->pid, fd);
	in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return -errno;
	f->count = (uint64_t)fcntl(in, F_GETPIPE_SZ);
	if (ioctl(in, FIONREAD, &waiting) == 0 && waiting > 0 && pipe2(out, O_CLOEXEC) == 0) {
		fcntl(out[1], F_SETPIPE_SZ, (int)f->count);
		n = tee(in, out[1], (size_t)waiting, SPLICE_F_NONBLOCK);
		if (n > 0 && (size_t)n <= sizeof(buffer) && read(out[0], buffer, (size_t)n) == n)
			capture_bytes_set(&f->data, buffer, (size_t)n);
		if (n != waiting)
			capture_refuse(w, "descriptor %d: what is in the pipe (%d bytes)", fd,
				       waiting);
		close(out[0]);
		close(out[1]);
	}
	close(in);
	return 0;
}

static void standard_stream(struct image_file *f, int fd)
{
	f->kind = IMAGE_FILE_TTY;
	f->count = fd <= 2 ? (uint64_t)fd : 0;
}

static int of_pipe(struct capture_work *w, struct image_file *f, int fd)
{
	f->dev = 0;
	if (!pipe_has_other_end(w, f->ino, f->flags)) {
		if (fd <= 2) {
			standard_stream(f, fd);
			return 0;
		}
		capture_refuse(w, "descriptor %d: a pipe to another process", fd);
		f->kind = IMAGE_FILE_DROPPED;
		return 0;
	}
	f->kind = IMAGE_FILE_PIPE;
	return (f->flags & O_ACCMODE) == O_RDONLY ? pipe_contents(w, f, fd) : 0;
}

static int of_socket(struct capture_work *w, struct image_file *f, int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(int), alen = sizeof(a);
	int sock = (int)syscall(SYS_pidfd_getfd, w->pidfd, fd, 0), listens = 0, type = 0, rc = 0;

	if (sock >= 0) {
		getsockopt(sock, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len);
		getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len);
	}
	if (sock >= 0 && listens && getsockname(sock, (struct sockaddr *)&a, &alen) == 0) {
		f->kind = IMAGE_FILE_LISTENER;
		f->mask = (uint64_t)type;
		rc = capture_bytes_set(&f->data, &a, alen);
	} else if (fd <= 2) {
		standard_stream(f, fd);
	} else {
		capture_refuse(w, "descriptor %d: a socket that is not listening", fd);
		f->kind = IMAGE_FILE_DROPPED;
	}
	if (sock >= 0)
		close(sock);
	return rc;
}

static uint64_t pair_ns(const char *info, const char *name)
{
	const char *v = procfs_field(info, name);
	unsigned long long s = 0, ns = 0;

	if (!v || sscanf(v, "(%llu, %llu)", &s, &ns) != 2)
		return 0;
	return s * 1000000000ull + ns;
}

static int watches(struct capture_work *w, struct image_file *f, const char *info, int fd)
{
	for (const char *at = info; at && *at;) {
		struct image_watch *x;
		unsigned long long data;
		unsigned events;
		int tfd;

		if (sscanf(at, "tfd: %d events: %x data: %llx", &tfd, &events, &data) == 3 && !capture_own_fd(w, tfd)) {
			if (f->nwatches == IMAGE_WATCHES_MAX) {
				capture_refuse(w, "descriptor %d: more than %d watched descriptors",
					       fd, IMAGE_WATCHES_MAX);
				break;
			}
			x = capture_grow((void **)&f->watches, &f->nwatches, sizeof(*x));
			if (!x)
				return -ENOMEM;
			*x = (struct image_watch){.fd = tfd, .events = events, .data = data};
		}
		at = strchr(at, '\n');
		if (at)
			at++;
	}
	return 0;
}

static int of_anonymous(struct capture_work *w, struct image_file *f, const char *what,
			const char *info, int fd)
{
	f->ino = f->dev = 0;
	if (strcmp(what, "[eventfd]") == 0) {
		f->kind = IMAGE_FILE_EVENTFD;
		f->count = procfs_number(info, "eventfd-count", 16, 0);
		f->mask = procfs_number(info, "eventfd-semaphore", 10, 0);
	} else if (strcmp(what, "[signalfd]") == 0) {
		f->kind = IMAGE_FILE_SIGNALFD;
		f->mask = procfs_number(info, "sigmask", 16, 0);
	} else if (strcmp(what, "[timerfd]") == 0) {
		f->kind = IMAGE_FILE_TIMERFD;
		f->clock = (uint32_t)procfs_number(info, "clockid", 10, 0);
		f->count = procfs_number(info, "ticks", 10, 0);
		f->mask = procfs_number(info, "settime flags", 8, 0);
		f->value_ns = pair_ns(info, "it_value");
		f->interval_ns = pair_ns(info, "it_interval");
	} else if (strcmp(what, "[eventpoll]") == 0) {
		f->kind = IMAGE_FILE_EPOLL;
		return watches(w, f, info, fd);
	} else if (strcmp(what, "inotify") == 0) {
		return capture_inotify(w, f, info, fd);
	} else {
		capture_refuse(w, "descriptor %d: %s", fd, what);
		f->kind = IMAGE_FILE_DROPPED;
	}
	return 0;
}

static int of_path(struct capture_work *w, struct image_file *f, const char *to,
		   const struct stat *st, int fd)
{
	size_t len = strlen(to), mark = sizeof(deleted_mark) - 1;
	unsigned major_nr = major(st->st_rdev);
	int rc;

	if (len > mark && strcmp(to + len - mark, deleted_mark) == 0) {
		f->deleted = true;
		len -= mark;
	}
	rc = capture_bytes_set(&f->path, to, len);
	if (rc)
		return rc;
	if (S_ISDIR(st->st_mode)) {
		f->kind = IMAGE_FILE_DIR;
	} else if (S_ISREG(st->st_mode)) {
		f->kind = strncmp(to, "/memfd:", 7) == 0 ? IMAGE_FILE_MEMFD : IMAGE_FILE_PATH;
		if (f->kind == IMAGE_FILE_MEMFD) {
			char path[64];
			int m;

			snprintf(path, sizeof(path), "/proc/%d/fd/%d", w->pid, fd);
			m = open(path, O_RDONLY | O_CLOEXEC);
			f->seals = m >= 0 ? (uint32_t)fcntl(m, F_GET_SEALS) & 0xffff : 0;
			if (m >= 0)
				close(m);
		}
		if (f->deleted || f->kind == IMAGE_FILE_MEMFD ||
		    (w->o->carry_files && f->size <= IMAGE_DATA_MAX))
			return contents(w, f, fd, f->size);
	} else if (S_ISCHR(st->st_mode) && major_nr == MEM_MAJOR) {
		f->kind = IMAGE_FILE_DEVICE;
	} else if (S_ISCHR(st->st_mode) &&
		   (major_nr == TTY_MAJOR || (major_nr >= PTS_MAJOR && major_nr <= PTS_MAJOR_LAST))) {
		standard_stream(f, fd);
	} else if (S_ISFIFO(st->st_mode)) {
		f->kind = IMAGE_FILE_FIFO;
	} else {
		capture_refuse(w, "descriptor %d: %s is a device", fd, to);
		f->kind = IMAGE_FILE_DROPPED;
	}
	return 0;
}

/* ------------------------------------------------------------------ descriptors */

static int describe(struct capture_work *w, struct image_file *f, int fd, const char *to,
		    const char *info, const struct stat *st)
{
	identify(f, st);
	if (strncmp(to, "pipe:", 5) == 0)
		return of_pipe(w, f, fd);
	if (strncmp(to, "socket:", 7) == 0)
		return of_socket(w, f, fd);
	if (strncmp(to, "anon_inode:", 11) == 0)
		return of_anonymous(w, f, to + 11, info, fd);
	return of_path(w, f, to, st, fd);
}

/* Two descriptors of one open file share its position. */
static int32_t same_description(const struct capture_work *w, int fd, uint64_t ino, uint64_t dev)
{
	const struct image *im = &w->c->image;

	for (uint32_t i = 0; i < im->nfds; i++) {
		const struct image_file *f = &im->files[im->fds[i].file];

		if (f->dev && (f->ino != ino || f->dev != dev))
			continue;
		if (syscall(SYS_kcmp, w->pid, w->pid, KCMP_FILE, im->fds[i].fd, fd) == 0)
			return im->fds[i].file;
	}
	return IMAGE_NONE;
}

static int descriptor(struct capture_work *w, int fd)
{
	struct image *im = &w->c->image;
	char path[64], *to = procfs_link("/proc/%d/fd/%d", w->pid, fd);
	char *info = procfs_read(NULL, "/proc/%d/fdinfo/%d", w->pid, fd);
	struct image_file *f;
	struct image_fd *d;
	struct stat st;
	uint32_t flags;
	int32_t same;
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", w->pid, fd);
	if (!to || !info || stat(path, &st)) {
		rc = -EIO;
		goto out;
	}
	flags = (uint32_t)procfs_number(info, "flags", 8, 0);
	same = same_description(w, fd, st.st_ino, st.st_dev);
	if (same == IMAGE_NONE) {
		f = capture_grow((void **)&im->files, &im->nfiles, sizeof(*f));
		if (!f) {
			rc = -ENOMEM;
			goto out;
		}
		same = (int32_t)im->nfiles - 1;
		f->flags = flags & ~(uint32_t)O_CLOEXEC;
		f->position = procfs_number(info, "pos", 10, 0);
		rc = describe(w, f, fd, to, info, &st);
	}
	d = rc ? NULL : capture_grow((void **)&im->fds, &im->nfds, sizeof(*d));
	if (d)
		*d = (struct image_fd){.fd = fd, .file = same, .cloexec = flags & O_CLOEXEC};
	else if (!rc)
		rc = -ENOMEM;
out:
	free(to);
	free(info);
	return rc;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int list_fds(pid_t pid, int *out, unsigned max)
{
	char path[64];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d)) && n <= max)
		if (e->d_name[0] != '.') {
			if (n < max)
				out[n] = atoi(e->d_name);
			n++;
		}
	closedir(d);
	if (n <= max)
		qsort(out, n, sizeof(*out), by_number);
	return (int)n;
}

/* Is there an end of the pipe for the other direction inside the process? */
static bool pipe_has_other_end(const struct capture_work *w, uint64_t ino, uint32_t flags)
{
	int fds[IMAGE_FDS_MAX];
	int n = list_fds(w->pid, fds, IMAGE_FDS_MAX);
	char want[64];
	bool found = false;

	snprintf(want, sizeof(want), "pipe:[%" PRIu64 "]", ino);
	for (int i = 0; i < n && i < IMAGE_FDS_MAX && !found; i++) {
		char *to = procfs_link("/proc/%d/fd/%d", w->pid, fds[i]);

		if (to && strcmp(to, want) == 0) {
			char *info = procfs_read(NULL, "/proc/%d/fdinfo/%d", w->pid, fds[i]);
			uint32_t theirs = (uint32_t)procfs_number(info, "flags", 8, flags);

			found = ((theirs ^ flags) & O_ACCMODE) != 0;
			free(info);
		}
		free(to);
	}
	return found;
}

int capture_files_paused(struct capture_work *w)
{
	int fds[IMAGE_FDS_MAX];
	int n = list_fds(w->pid, fds, IMAGE_FDS_MAX), rc = 0;

	if (n < 0)
		return n;
	if (n > IMAGE_FDS_MAX) {
		capture_refuse(w, "%d descriptors; %d are possible", n, IMAGE_FDS_MAX);
		n = IMAGE_FDS_MAX;
	}
	for (int i = 0; i < n && !rc; i++)
		if (!capture_own_fd(w, fds[i]))
			rc = descriptor(w, fds[i]);
	w->described = w->c->image.nfiles;
	return rc;
}

/* ------------------------------------------------------------------ mapped files */

/* The beginning of a program or library has its build id; of any other file, some of its contents. */
static void file_id(const char *path, struct image_bytes *id)
{
	uint8_t head[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));
	uint32_t crc;

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return;
	crc = image_crc32c(head, (size_t)n);
	capture_bytes_set(id, &crc, sizeof(crc));
}

int capture_file_add(struct capture_work *w, const char *path, size_t len, uint64_t dev,
		     uint64_t ino, bool deleted)
{
	struct image *im = &w->c->image;
	struct image_file *f;
	struct stat st;
	bool memory = len == 0 || path[0] != '/' || deleted;
	int rc;

	/* Memory that is open and mapped is one object. */
	for (uint32_t i = 0; i < im->nfiles; i++) {
		f = &im->files[i];
		if (i < w->described && !(f->kind == IMAGE_FILE_MEMFD || f->deleted))
			continue;
		if ((ino && f->ino == ino && minor(f->dev) == minor(dev)) ||
		    (!ino && f->path.len == len && memcmp(f->path.data, path, len) == 0))
			return (int)i;
	}
	f = capture_grow((void **)&im->files, &im->nfiles, sizeof(*f));
	if (!f)
		return -ENOMEM;
	rc = capture_bytes_set(&f->path, path, len);
	if (rc)
		return rc;
	f->kind = memory ? IMAGE_FILE_SHM : IMAGE_FILE_PATH;
	f->deleted = deleted;
	f->dev = dev;
	f->ino = ino;
	if (!memory && stat((const char *)f->path.data, &st) == 0) {
		identify(f, &st);
		file_id((const char *)f->path.data, &f->build_id);
	}
	return (int)im->nfiles - 1;
}
