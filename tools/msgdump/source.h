/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - where events come from: living dataplanes' rings, or a capture in a file.
 *
 * Times are of the monotonic clock for rings (shift_ns makes them times of the calendar) and of the
 * calendar for files.
 */
#ifndef ATOLL_MSGDUMP_SOURCE_H
#define ATOLL_MSGDUMP_SOURCE_H

#include "tools/msgdump/event.h"
#include "tools/msgdump/pcapng.h"
#include "tools/msgdump/ring.h"

enum { SOURCE_RINGS_MAX = 16 };

struct source_ring {
	struct ring ring;
	bool over;
	bool ready; /* next holds an event that was not given out */
	struct event next;
	struct event_packets packets;
};

struct source {
	struct source_ring *rings;
	unsigned nrings;
	FILE *file;
	struct pcapng *reader;
	bool packets;
	uint64_t lost;	   /* entries that were overwritten first */
	uint64_t shift_ns; /* add to a time for nanoseconds since 1970 */
};

/* Errors are said on stderr. 0 or negative errno. @paths: of control sockets. */
int source_rings(struct source *s, const char *const *paths, unsigned n, bool packets);
/* @path: "-" is the standard input. */
int source_file(struct source *s, const char *path);
void source_close(struct source *s);

/**
 * source_next - the next event; of several rings the earliest that is there
 * Return: 1; 0: none now (rings), no more (file); -EPIPE: a dataplane has ended and nothing is left of
 * it; another negative errno after it was said what is wrong with the file.
 */
int source_next(struct source *s, struct event *out);

#endif
