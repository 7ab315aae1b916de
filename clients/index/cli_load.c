/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation for every line of a file, many in flight, over the loss of the connection: what was
 * certainly not executed is given again, and of what is in doubt is asked what became of it, after the
 * reconnect has had the old identity fenced off. Where nobody can tell (a tree) the key is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clients/index/cli.h"
#include "ipc/idle.h"

enum {
	HISTOGRAM = 64 * 32, /* 32 steps an octave: 3% */
	VALUE_MAX = 48,
	RETRY_MS = 20,
	PROGRESS_NS = 100000000,
};

struct line {
	const char *text;
	uint32_t len;
	uint32_t number; /* from 1 */
};

enum want {
	WANT_PUT,
	WANT_LOOK,
	WANT_GET
};

/* Something to do, now or again. */
struct task {
	uint32_t line;
	enum want want;
	uint64_t ticket; /* WANT_LOOK: of the operation that is in doubt */
};

struct slot {
	struct load *load;
	struct task task;
	uint64_t begin_ns;
	struct slot *next;
};

struct load {
	struct cli *c;
	struct line *line;
	uint32_t lines, next; /* next line that has not been tried */
	uint64_t done, skipped;
	enum want want;
	struct task *again; /* one for each slot is enough: only what was in flight comes back */
	unsigned nagain;
	struct slot slot[ATOLL_INDEX_IN_FLIGHT_MAX], *free;
	uint64_t histogram[HISTOGRAM];
	uint64_t samples, from_ns, shown_ns;
	uint64_t losses, given_again, doubts, doubts_done, answered;
	uint64_t missing, different;
	enum atoll_result fatal; /* ATOLL_OK: none */
	unsigned fatal_status;
	uint32_t fatal_line;
	char *map;
	size_t size;
};

void cli_progress(const struct cli *c, const char *what, uint64_t done, uint64_t all,
		  uint64_t from_ns)
{
	static const char bar[] = "########################################";
	double seconds = (double)(clock_now_ns() - from_ns) / 1e9;
	int width = (int)sizeof(bar) - 1;
	int full = all ? (int)(done * (uint64_t)width / all) : width;

	if (c->quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s [%-*.*s] %3d%%  %" PRIu64 " of %" PRIu64 "  %.0f/s ", what, width,
		full, bar, all ? (int)(done * 100 / all) : 100, done, all,
		seconds > 0 ? (double)done / seconds : 0.0);
	if (done == all)
		fputc('\n', stderr);
	fflush(stderr);
}

/* ------------------------------------------------------------------ latencies */

static unsigned histogram_place(uint64_t ns)
{
	unsigned octave;

	if (ns < 32)
		return (unsigned)ns;
	octave = 63 - (unsigned)__builtin_clzll(ns);
	return (octave - 4) * 32 + ((unsigned)(ns >> (octave - 5)) & 31);
}

static double histogram_us(const struct load *l, double part)
{
	uint64_t rank = (uint64_t)(part * (double)l->samples), seen = 0;

	for (unsigned i = 0; i < HISTOGRAM; i++) {
		seen += l->histogram[i];
		if (seen > rank)
			return i < 32 ? i / 1e3
				      : (double)((uint64_t)(32 + i % 32) << (i / 32 - 1)) / 1e3;
	}
	return 0;
}

/* ------------------------------------------------------------------ the file */

static void value_make(const struct line *line, char *value)
{
	snprintf(value, VALUE_MAX, "%u %u", line->number, line->len);
}

static int file_read(struct load *l, const char *path)
{
	struct stat st;
	uint32_t number = 0, room = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st)) {
		fprintf(stderr, "atoll-index: %s: %s\n", path, strerror(errno));
		return -1;
	}
	l->size = (size_t)st.st_size;
	if (l->size) {
		l->map = mmap(NULL, l->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (l->map == MAP_FAILED) {
			fprintf(stderr, "atoll-index: %s: %s\n", path, strerror(errno));
			close(fd);
			return -1;
		}
	}
	close(fd);
	for (size_t at = 0; at < l->size;) {
		const char *end = memchr(l->map + at, '\n', l->size - at);
		size_t len = end ? (size_t)(end - (l->map + at)) : l->size - at;

		number++;
		if (len == 0 || len > ATOLL_INDEX_KEY_MAX) {
			l->skipped++;
			at += len + 1;
			continue;
		}
		if (l->lines == room) {
			struct line *more;

			room = room ? 2 * room : 4096;
			more = realloc(l->line, room * sizeof(*more));
			if (!more)
				return -1;
			l->line = more;
		}
		l->line[l->lines++] = (struct line){l->map + at, (uint32_t)len, number};
		at += len + 1;
	}
	return 0;
}

/* ------------------------------------------------------------------ operations */

static void give_again(struct load *l, uint32_t line, enum want want)
{
	l->again[l->nagain++] = (struct task){.line = line, .want = want};
}

/* Connected again: what became of the operations in doubt? */
static void ask(struct load *l)
{
	for (unsigned i = 0; i < l->nagain; i++) {
		struct task *t = &l->again[i];
		bool executed;

		if (!t->ticket || atoll_index_resolve(l->c->ix, t->ticket, &executed))
			continue; /* the key is read */
		l->answered++;
		t->ticket = 0;
		if (executed) {
			l->doubts_done++;
			l->done++;
			*t = l->again[--l->nagain];
			i--;
		} else {
			l->given_again++;
			t->want = WANT_PUT;
		}
	}
}

static bool same(const struct line *line, const struct atoll_outcome *o)
{
	char value[VALUE_MAX];

	value_make(line, value);
	return o->value_len == strlen(value) && memcmp(o->value, value, o->value_len) == 0;
}

static void executed(struct load *l, struct slot *s, const struct atoll_outcome *o)
{
	const struct line *line = &l->line[s->task.line];
	bool there = o->result == ATOLL_OK;

	switch (s->task.want) {
	case WANT_PUT:
		l->done++;
		break;
	case WANT_LOOK: /* it was in doubt */
		if (there && same(line, o)) {
			l->doubts_done++;
			l->done++;
		} else {
			l->given_again++;
			give_again(l, s->task.line, WANT_PUT);
		}
		break;
	case WANT_GET:
		l->missing += !there;
		l->different += there && !same(line, o);
		l->done++;
		break;
	}
}

static void on_done(void *arg, const struct atoll_outcome *o)
{
	struct slot *s = arg;
	struct load *l = s->load;
	uint64_t now = clock_now_ns();

	switch (atoll_result_class(o->result)) {
	case ATOLL_EXECUTED:
		l->histogram[histogram_place(now - s->begin_ns)]++;
		l->samples++;
		executed(l, s, o);
		break;
	case ATOLL_UNKNOWN:
		l->doubts++;
		give_again(l, s->task.line, WANT_LOOK);
		l->again[l->nagain - 1].ticket = o->ticket;
		break;
	case ATOLL_NOT_EXECUTED:
		if (o->result == ATOLL_BUSY || atoll_index_lost(l->c->ix)) {
			l->given_again++;
			give_again(l, s->task.line, s->task.want);
		} else if (l->fatal == ATOLL_OK) {
			l->fatal = o->result;
			l->fatal_status = o->status;
			l->fatal_line = s->task.line;
		}
		break;
	}
	s->next = l->free;
	l->free = s;
}

static bool submit(struct load *l, struct task t)
{
	const struct line *line = &l->line[t.line];
	struct slot *s = l->free;
	char value[VALUE_MAX];
	enum atoll_op op = t.want == WANT_PUT ? ATOLL_PUT : ATOLL_GET;

	value_make(line, value);
	l->free = s->next;
	s->task = t;
	s->begin_ns = clock_now_ns();
	if (atoll_index_submit(l->c->ix, op, line->text, line->len, value,
			       op == ATOLL_PUT ? strlen(value) : 0, on_done, s)) {
		s->next = l->free;
		l->free = s;
		return false;
	}
	return true;
}

static void fill(struct load *l)
{
	while (l->free && l->nagain) {
		if (!submit(l, l->again[l->nagain - 1]))
			return;
		l->nagain--;
	}
	while (l->free && l->next < l->lines) {
		if (!submit(l, (struct task){.line = l->next, .want = l->want}))
			return;
		l->next++;
	}
}

static int connect_again(struct load *l)
{
	uint64_t from = clock_now_ns();
	const char *why = "";
	int rc;

	l->losses++;
	if (!l->c->quiet)
		fprintf(stderr,
			"%sconnection lost at %" PRIu64
			" of %u: %u to be given again or looked at\n",
			isatty(STDERR_FILENO) ? "\n" : "", l->done, l->lines, l->nagain);
	for (;;) {
		struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};

		rc = atoll_index_reconnect(l->c->ix, &why);
		if (rc != -EAGAIN || clock_now_ns() - from > l->c->patience_ms * 1000000ull)
			break;
		nanosleep(&pause, NULL);
	}
	if (rc) {
		fprintf(stderr, "atoll-index: connection lost, and not found again: %s\n", why);
		return -1;
	}
	if (!l->c->quiet)
		fprintf(stderr, "connected again after %.0f ms\n",
			(double)(clock_now_ns() - from) / 1e6);
	ask(l);
	return 0;
}

static int run(struct load *l, const char *what)
{
	struct atoll_index *ix = l->c->ix;

	l->from_ns = l->shown_ns = clock_now_ns();
	while (l->done < l->lines && l->fatal == ATOLL_OK) {
		int n;

		if (!atoll_index_lost(ix))
			fill(l);
		n = atoll_index_poll(ix);
		if (n == 0)
			atoll_index_idle(ix);
		else if (n < 0 && connect_again(l))
			return -1;
		if (clock_now_ns() - l->shown_ns > PROGRESS_NS) {
			l->shown_ns = clock_now_ns();
			if (l->done < l->lines)
				cli_progress(l->c, what, l->done, l->lines, l->from_ns);
		}
	}
	while (atoll_index_pending(ix) && atoll_index_poll(ix) >= 0)
		;
	if (l->fatal != ATOLL_OK) {
		const struct line *line = &l->line[l->fatal_line];

		fprintf(stderr, "%satoll-index: line %u (%.*s): %s\n",
			isatty(STDERR_FILENO) && !l->c->quiet ? "\n" : "", line->number,
			(int)(line->len < 60 ? line->len : 60), line->text,
			atoll_result_text(l->fatal));
		return -1;
	}
	cli_progress(l->c, what, l->done, l->lines, l->from_ns);
	return 0;
}

static void summary(const struct load *l, const char *what)
{
	double seconds = (double)(clock_now_ns() - l->from_ns) / 1e9;
	struct atoll_index_stats stats;

	printf("%s %" PRIu64 " lines in %.2f s: %.0f/s, p50 %.1f us, p99 %.1f us\n", what, l->done,
	       seconds, seconds > 0 ? (double)l->done / seconds : 0.0, histogram_us(l, 0.5),
	       histogram_us(l, 0.99));
	atoll_index_stats(l->c->ix, &stats);
	if (stats.leaked_bytes)
		printf("%.1f MiB of other clients' chunks were left behind: %" PRIu64
		       " blocks replaced\n",
		       (double)stats.leaked_bytes / (1 << 20), stats.leaked_blocks);
	if (stats.reused_bytes)
		printf("%.1f MiB of replaced values were used again\n",
		       (double)stats.reused_bytes / (1 << 20));
	if (stats.recycled_bytes)
		printf("%.1f MiB came from what dead clients had left\n",
		       (double)stats.recycled_bytes / (1 << 20));
	if (l->skipped)
		printf("%" PRIu64 " lines were empty or too long for a key and left out\n",
		       l->skipped);
	if (l->losses)
		printf("the connection was lost %" PRIu64 " times: %" PRIu64
		       " given again, %" PRIu64 " in doubt, of which %" PRIu64 " had been done; %" PRIu64
		       " of them the index itself could tell\n",
		       l->losses, l->given_again, l->doubts, l->doubts_done, l->answered);
}

static struct load *load_new(struct cli *c, const char *path, enum want want)
{
	struct load *l = calloc(1, sizeof(*l));
	unsigned slots = c->options.in_flight ? c->options.in_flight : 16;

	if (l)
		l->again = calloc(ATOLL_INDEX_IN_FLIGHT_MAX, sizeof(*l->again));
	if (!l || !l->again) {
		free(l);
		fprintf(stderr, "atoll-index: no memory\n");
		return NULL;
	}
	l->c = c;
	l->want = want;
	for (unsigned i = 0; i < slots; i++) {
		l->slot[i].load = l;
		l->slot[i].next = l->free;
		l->free = &l->slot[i];
	}
	if (file_read(l, path)) {
		free(l->line);
		free(l->again);
		free(l);
		return NULL;
	}
	return l;
}

static void load_free(struct load *l)
{
	if (l->map)
		munmap(l->map, l->size);
	free(l->line);
	free(l->again);
	free(l);
}

int cli_verify(struct cli *c, const char *path)
{
	struct load *l = load_new(c, path, WANT_GET);
	int rc;

	if (!l)
		return 2;
	rc = run(l, "verify") ? 2 : 0;
	if (!rc) {
		summary(l, "read back");
		printf("%" PRIu64 " right, %" PRIu64 " missing, %" PRIu64 " different\n",
		       l->done - l->missing - l->different, l->missing, l->different);
		rc = l->missing || l->different;
	}
	load_free(l);
	return rc;
}

int cli_load(struct cli *c, const char *path)
{
	struct load *l = load_new(c, path, WANT_PUT);
	int rc;

	if (!l)
		return 2;
	rc = run(l, "load") ? 2 : 0;
	if (!rc)
		summary(l, "loaded");
	load_free(l);
	return !rc && c->check ? cli_verify(c, path) : rc;
}
