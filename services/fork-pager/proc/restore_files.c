/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of a child. Runs in the child, a clone of the restorer, before it enters the stub. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "services/fork-pager/proc/restore_impl.h"

enum {
	BACKLOG = 128,
	STATUS_FLAGS = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME,
};

static void say(struct restore_work *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct restore_work *w, const char *format, ...)
{
	struct arena_state *st = restore_state(w);
	size_t at = strlen(st->text);
	va_list ap;

	va_start(ap, format);
	vsnprintf(st->text + at, sizeof(st->text) - at, format, ap);
	va_end(ap);
	at = strlen(st->text);
	snprintf(st->text + at, sizeof(st->text) - at, "\n");
}

static const char *path_of(const struct image_file *f)
{
	return (const char *)f->path.data;
}

/* A description of its own for what @fd is, with other flags. */
static int reopen(int fd, uint32_t flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (int)(flags & (O_ACCMODE | STATUS_FLAGS)) | O_CLOEXEC);
}

static int by_value(struct restore_work *w, uint32_t i)
{
	const struct image_file *f = &w->im->files[i];
	const char *name = path_of(f);
	int fd = w->file_fd[i], copy;

	if (fd < 0) {
		if (f->kind == IMAGE_FILE_MEMFD && strncmp(name, "/memfd:", 7) == 0)
			name += 7;
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0)
			return -errno;
		if (write(fd, f->data.data, f->data.len) != (ssize_t)f->data.len)
			return -EIO;
	}
	if (ftruncate(fd, (off_t)f->size))
		return -errno;
	copy = reopen(fd, f->flags);
	if (f->seals)
		fcntl(fd, F_ADD_SEALS, f->seals);
	return copy < 0 ? -errno : copy;
}

/* Both ends, the first time that one of them is met. */
static int of_pipe(struct restore_work *w, uint32_t i, int *made)
{
	const struct image *im = w->im;
	const struct image_file *f = &im->files[i];
	int ends[2];

	if (made[i] >= 0)
		return made[i];
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	for (uint32_t k = 0; k < im->nfiles; k++) {
		const struct image_file *g = &im->files[k];
		bool theirs = (g->flags & O_ACCMODE) == O_RDONLY;

		if (g->kind != IMAGE_FILE_PIPE || g->ino != f->ino)
			continue;
		if (g->count)
			fcntl(ends[0], F_SETPIPE_SZ, (int)g->count);
		made[k] = fcntl(ends[theirs ? 0 : 1], F_DUPFD_CLOEXEC, w->high + 1);
		fcntl(made[k], F_SETFL, (int)(g->flags & STATUS_FLAGS));
		if (theirs && g->data.len &&
		    write(ends[1], g->data.data, g->data.len) != (ssize_t)g->data.len)
			return -EIO;
	}
	close(ends[0]);
	close(ends[1]);
	return made[i];
}

static int of_timerfd(const struct image_file *f)
{
	struct itimerspec its = {
		.it_value = {(time_t)(f->value_ns / 1000000000), (long)(f->value_ns % 1000000000)},
		.it_interval = {(time_t)(f->interval_ns / 1000000000),
				(long)(f->interval_ns % 1000000000)},
	};
	int fd = timerfd_create((int)f->clock, TFD_CLOEXEC);
	uint64_t ticks = f->count;
	/* It has expired and was not read: an interval goes on from there only when somebody reads. */
	bool expired = ticks && f->interval_ns && !f->value_ns;

	if (fd < 0)
		return -errno;
	if (expired)
		its.it_value.tv_nsec = 1;
	if (f->value_ns || expired)
		timerfd_settime(fd, 0, &its, NULL);
	if (expired)
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 100);
	if (ticks)
		ioctl(fd, _IOW('T', 0, uint64_t), &ticks); /* TFD_IOC_SET_TICKS */
	return fd;
}

static int of_listener(struct restore_work *w, const struct image_file *f)
{
	const struct sockaddr *a = (const struct sockaddr *)(const void *)f->data.data;
	int fd, on = 1;

	if (f->data.len < sizeof(a->sa_family))
		return -EBADMSG;
	fd = socket(a->sa_family, (int)(f->mask & 0xf) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a, f->data.len) || listen(fd, BACKLOG))
		say(w, "a listening socket does not listen here: %s", strerror(errno));
	return fd;
}

static int of_path(struct restore_work *w, const struct image_file *f)
{
	int flags = (int)f->flags & ~(O_CREAT | O_EXCL | O_TRUNC);
	int fd;

	if (f->kind == IMAGE_FILE_FIFO) /* the other end may be somewhere else, or come later */
		flags |= O_NONBLOCK;
	fd = open(path_of(f), flags | O_CLOEXEC);
	if (fd < 0) {
		int rc = -errno;

		say(w, "%s cannot be opened: %s", path_of(f), strerror(errno));
		return rc;
	}
	if (f->kind == IMAGE_FILE_FIFO)
		fcntl(fd, F_SETFL, (int)(f->flags & STATUS_FLAGS));
	return fd;
}

/* The kernel numbers watches one after the other: those that the program has given up are made and given up again. */
static int of_inotify(struct restore_work *w, const struct image_file *f)
{
	int fd = inotify_init1(IN_CLOEXEC), wd;

	for (uint32_t i = 0; fd >= 0 && i < f->nwatches; i++) {
		const struct image_watch *x = &f->watches[i];
		const char *path = (const char *)x->path.data;

		do {
			wd = inotify_add_watch(fd, path, x->events);
			if (wd >= 0 && wd != x->fd)
				inotify_rm_watch(fd, wd);
		} while (wd >= 0 && wd < x->fd);
		if (wd != x->fd)
			say(w, "%s is not watched any more: %s", path, wd < 0 ? strerror(errno) : "it is watched already");
	}
	/* What this has told of is nothing that the program has asked for. */
	for (char buffer[4096]; fd >= 0 && f->nwatches;) {
		int left = 0;

		if (ioctl(fd, FIONREAD, &left) || left == 0 || read(fd, buffer, sizeof(buffer)) <= 0)
			break;
	}
	return fd;
}

static int make(struct restore_work *w, uint32_t i, int *made)
{
	const struct image_file *f = &w->im->files[i];
	sigset_t mask;
	int fd;

	switch ((enum image_file_kind)f->kind) {
	case IMAGE_FILE_PATH:
		if (f->deleted)
			return by_value(w, i);
		return of_path(w, f);
	case IMAGE_FILE_DIR:
	case IMAGE_FILE_DEVICE:
	case IMAGE_FILE_FIFO:
		return of_path(w, f);
	case IMAGE_FILE_TTY:
		return fcntl(w->stdio[f->count % 3], F_DUPFD_CLOEXEC, w->high + 1);
	case IMAGE_FILE_PIPE:
		return of_pipe(w, i, made);
	case IMAGE_FILE_EVENTFD:
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (f->mask ? EFD_SEMAPHORE : 0));
		if (fd >= 0 && f->count && write(fd, &f->count, 8) != 8)
			return -EIO;
		return fd;
	case IMAGE_FILE_SIGNALFD:
		memset(&mask, 0, sizeof(mask));
		memcpy(&mask, &f->mask, sizeof(f->mask));
		return signalfd(-1, &mask, SFD_CLOEXEC);
	case IMAGE_FILE_TIMERFD:
		return of_timerfd(f);
	case IMAGE_FILE_EPOLL:
		return epoll_create1(EPOLL_CLOEXEC);
	case IMAGE_FILE_LISTENER:
		return of_listener(w, f);
	case IMAGE_FILE_MEMFD:
		return by_value(w, i);
	case IMAGE_FILE_INOTIFY:
		return of_inotify(w, f);
	case IMAGE_FILE_SHM:
	case IMAGE_FILE_SOCKETPAIR:
	case IMAGE_FILE_DROPPED:
		break;
	}
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int make_all(struct restore_work *w, int *made)
{
	const struct image *im = w->im;

	for (uint32_t k = 0; k < im->nfds; k++) {
		uint32_t i = (uint32_t)im->fds[k].file;
		const struct image_file *f = &im->files[i];
		int fd;

		if (made[i] >= 0)
			continue;
		fd = make(w, i, made);
		if (fd < 0) {
			say(w, "descriptor %d: %s", im->fds[k].fd,
			    strerror(fd == -1 ? errno : -fd));
			return fd == -1 ? -errno : fd;
		}
		if (fd <= w->high) {
			int up = fcntl(fd, F_DUPFD_CLOEXEC, w->high + 1);

			close(fd);
			fd = up;
		}
		if (fd < 0)
			return -EMFILE;
		made[i] = fd;
		if (f->position && (f->kind == IMAGE_FILE_PATH || f->kind == IMAGE_FILE_MEMFD ||
				    f->kind == IMAGE_FILE_DIR))
			lseek(fd, (off_t)f->position, SEEK_SET);
		if (f->kind >= IMAGE_FILE_EVENTFD && f->kind <= IMAGE_FILE_LISTENER)
			fcntl(fd, F_SETFL, (int)(f->flags & STATUS_FLAGS));
	}
	return 0;
}

/* Watches name descriptors by their numbers, so those must stand. */
static void watch(struct restore_work *w, const struct image_file *f, int fd)
{
	for (uint32_t i = 0; i < f->nwatches; i++) {
		const struct image_watch *x = &f->watches[i];
		struct epoll_event e = {.events = x->events, .data.u64 = x->data};

		if (epoll_ctl(fd, EPOLL_CTL_ADD, x->fd, &e))
			say(w, "descriptor %d is not watched any more: %s", x->fd, strerror(errno));
	}
}

int restore_files_child(struct restore_work *w)
{
	const struct image *im = w->im;
	struct rlimit limit;
	int *made = malloc((im->nfiles + 1) * sizeof(*made)), rc;

	if (!made)
		return -ENOMEM;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	for (uint32_t i = 0; i < im->nfiles; i++)
		made[i] = -1;
	rc = make_all(w, made);
	if (rc)
		return rc;
	syscall(SYS_close_range, 0, w->high - 1, 0);
	for (uint32_t k = 0; k < im->nfds; k++)
		if (dup3(made[im->fds[k].file], im->fds[k].fd, im->fds[k].cloexec ? O_CLOEXEC : 0) < 0)
			return -errno;
	for (uint32_t k = 0; k < im->nfds; k++) {
		uint32_t i = (uint32_t)im->fds[k].file;

		if (im->files[i].kind == IMAGE_FILE_EPOLL && made[i] >= 0) {
			watch(w, &im->files[i], im->fds[k].fd);
			made[i] = -1;
		}
	}
	return 0;
}
