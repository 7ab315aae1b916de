/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_impl.h - what the files of the capture share: one of them for each part of an image.
 *
 * Functions named *_paused run while the target stands still and are to be short; the others read the
 * snapshot.
 */
#ifndef ATOLL_FORK_CAPTURE_IMPL_H
#define ATOLL_FORK_CAPTURE_IMPL_H

#include "services/fork-pager/proc/capture.h"
#include "services/fork-pager/proc/trace.h"

struct capture_work {
	struct capture *c;
	const struct capture_options *o;
	pid_t pid;
	int pidfd;
	struct trace target;
	struct trace snapshot; /* n == 0 until there is one */
	uint64_t guard[2];     /* of trace_find_guard */
	uint64_t scratch;      /* address in the target of 4 KiB that are saved in `saved` */
	uint8_t saved[4096];
	uint32_t described; /* image.files that descriptors refer to; mapped ones follow */
};

/* A line that refuses, or with --force one that says what is dropped. true: drop it and go on. */
bool capture_refuse(struct capture_work *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void capture_note(struct capture_work *w, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Is it one of those that lead to helpers of the target? */
bool capture_own_fd(const struct capture_work *w, int fd);
int capture_bytes_set(struct image_bytes *b, const void *data, size_t len);
/* One more element of an array of @size; NULL without memory. */
void *capture_grow(void **array, uint32_t *n, size_t size);

/* capture_threads.c: registers, signals, timers. */
/* Does the thread that asked wait, so that it can be told apart in the child? 0 or -EBUSY. */
int capture_self_paused(struct capture_work *w);
int capture_threads_paused(struct capture_work *w);
int capture_timers_paused(struct capture_work *w);
int capture_prctls_paused(struct capture_work *w);
int capture_actions(struct capture_work *w);

/* capture_files.c: descriptors; a file that is mapped or run. */
int capture_files_paused(struct capture_work *w);
/* Index of the file of that identity in image.files, added if it is new; negative errno. */
int capture_file_add(struct capture_work *w, const char *path, size_t len, uint64_t dev,
		     uint64_t ino, bool deleted);

/* capture_mm.c: mappings, the layout of the address space. */
int capture_mm(struct capture_work *w);

/* capture_identity.c: who it is, where, and its limits. */
int capture_identity(struct capture_work *w);
/* What cannot be carried at all: namespaces, filters. */
int capture_obstacles(struct capture_work *w);
/* Process trees: looked at while it cannot make another one. */
void capture_children_paused(struct capture_work *w);

/* capture_watches.c: @info is its fdinfo. */
int capture_inotify(struct capture_work *w, struct image_file *f, const char *info, int fd);

#endif
