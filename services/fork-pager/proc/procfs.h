/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procfs.h - what /proc says about a process: mappings, descriptors, status.
 *
 * Text of the kernel's, read whole into memory and taken apart. Paths are "/proc/PID/..." of the caller's
 * own /proc.
 */
#ifndef ATOLL_FORK_PROCFS_H
#define ATOLL_FORK_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A whole file; freed by the caller, with a zero after it. NULL with errno. */
char *procfs_read(size_t *len, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Where a link leads; NULL with errno. Freed by the caller. */
char *procfs_link(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text after "NAME:" and blanks at the beginning of a line; NULL if there is none. */
const char *procfs_field(const char *text, const char *name);
uint64_t procfs_number(const char *text, const char *name, int base, uint64_t otherwise);
/* The last number of a line of several, as NSpid's. */
uint64_t procfs_last(const char *text, const char *name);

struct procfs_map {
	uint64_t start, end, offset, dev, ino;
	uint8_t prot;
	bool shared;
	const char *path; /* inside the text; "" if none */
	size_t path_len;
	const char *flags; /* VmFlags of smaps; "" for maps */
};

/* The mapping at *@at of maps or smaps, and *@at moves on. false at the end. */
bool procfs_map_next(const char **at, struct procfs_map *m);
/* Is a two-letter flag there? */
bool procfs_map_flag(const struct procfs_map *m, const char *flag);

#endif
