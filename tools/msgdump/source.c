/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int source_rings(struct source *s, const char *const *paths, unsigned n, bool packets)
{
	memset(s, 0, sizeof(*s));
	s->packets = packets;
	s->rings = calloc(n, sizeof(*s->rings));
	if (!s->rings)
		return -ENOMEM;
	for (; s->nrings < n; s->nrings++) {
		int rc = ring_open(&s->rings[s->nrings].ring, paths[s->nrings], packets);

		if (rc) {
			source_close(s);
			return rc;
		}
	}
	s->shift_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	return 0;
}

int source_file(struct source *s, const char *path)
{
	memset(s, 0, sizeof(*s));
	s->packets = true;
	s->file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	if (!s->file) {
		int rc = -errno;

		fprintf(stderr, "msgdump: %s: %s\n", path, strerror(errno));
		return rc;
	}
	s->reader = pcapng_open(s->file);
	return s->reader ? 0 : -ENOMEM;
}

void source_close(struct source *s)
{
	for (unsigned i = 0; i < s->nrings; i++)
		ring_close(&s->rings[i].ring);
	free(s->rings);
	pcapng_close(s->reader);
	if (s->file && s->file != stdin)
		fclose(s->file);
	memset(s, 0, sizeof(*s));
}

/* ---------------------------------------------------------------- rings */

static void ring_fill(struct source *s, struct source_ring *r)
{
	uint64_t lost = r->ring.lost;
	struct proto_trace_entry e;

	while (!r->ready && ring_next(&r->ring, &e)) {
		if (r->ring.lost != lost) {
			s->lost += r->ring.lost - lost;
			lost = r->ring.lost;
			r->packets.want = 0; /* what it had of one has a hole */
		}
		r->ready = event_next(&r->packets, &e, &r->next);
		if (r->ready && r->next.kind == EVENT_PACKET && !s->packets)
			r->ready = false; /* somebody else wants them */
	}
}

static int rings_next(struct source *s, struct event *out)
{
	struct source_ring *first = NULL;
	bool over = false;

	for (unsigned i = 0; i < s->nrings; i++) {
		struct source_ring *r = &s->rings[i];

		ring_fill(s, r);
		if (!r->ready && !r->over) {
			r->over = ring_over(&r->ring);
			ring_fill(s, r); /* what was written meanwhile */
		}
		if (r->ready && (!first || r->next.time_ns < first->next.time_ns))
			first = r;
		over |= r->over;
	}
	if (!first)
		return over ? -EPIPE : 0;
	*out = first->next;
	first->ready = false;
	return 1;
}

/* ---------------------------------------------------------------- files */

int source_next(struct source *s, struct event *out)
{
	struct proto_trace_entry e;
	struct pcapng_packet p;
	int rc;

	if (!s->reader)
		return rings_next(s, out);
	while ((rc = pcapng_next(s->reader, &p)) > 0) {
		if (p.link_type == PCAPNG_ETHERNET) {
			event_packet(out, p.time_ns, p.direction == PCAPNG_OUT, p.data, p.captured,
				     p.length);
			return 1;
		}
		if (p.link_type != PCAPNG_USER0 || p.captured != sizeof(e))
			continue; /* not of ours */
		memcpy(&e, p.data, sizeof(e));
		if (event_read(&e, out)) {
			out->time_ns = p.time_ns;
			return 1;
		}
	}
	if (rc < 0)
		fprintf(stderr, "msgdump: the file is no capture that can be read: %s\n",
			pcapng_error(s->reader));
	return rc;
}
