/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	BUFFER_RECORDS = 1024,
	BUCKETS = 2 * TRACE_NAMES_MAX, /* of the names' hash table: never more than half full */
};

struct trace_writer {
	pthread_mutex_t lock;
	int fd;
	int error; /* the first, negative; nothing is written after it */
	uint64_t calls;
	unsigned nnames, used;
	uint16_t bucket[BUCKETS]; /* 1 + name */
	char names[TRACE_NAMES_MAX][TRACE_NAME_MAX + 1];
	unsigned char buffer[BUFFER_RECORDS][TRACE_RECORD];
};

static int write_out(struct trace_writer *w)
{
	const unsigned char *at = w->buffer[0];
	size_t left = (size_t)w->used * TRACE_RECORD;

	w->used = 0;
	while (left && !w->error) {
		ssize_t n = write(w->fd, at, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			w->error = n ? -errno : -EIO;
			break;
		}
		at += n;
		left -= (size_t)n;
	}
	return w->error;
}

static int append(struct trace_writer *w, const void *record)
{
	if (w->error)
		return w->error;
	memcpy(w->buffer[w->used++], record, TRACE_RECORD);
	return w->used == BUFFER_RECORDS ? write_out(w) : 0;
}

int trace_create(struct trace_writer **out, const char *path, const char *program, unsigned flags)
{
	struct trace_head h = {.magic = TRACE_MAGIC,
			       .major = TRACE_MAJOR,
			       .minor = TRACE_MINOR,
			       .record = TRACE_RECORD,
			       .flags = (uint16_t)flags,
			       .started = (uint64_t)time(NULL)};
	struct trace_writer *w;
	int rc;

	if (flags & ~(unsigned)TRACE_HEAD_FLAGS_KNOWN)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (w->fd < 0) {
		rc = -errno;
		free(w);
		return rc;
	}
	pthread_mutex_init(&w->lock, NULL);
	for (size_t i = 0; i < TRACE_PROGRAM_MAX && program[i]; i++)
		h.program[i] = program[i] >= ' ' && program[i] < 127 ? program[i] : '?';
	append(w, &h);
	*out = w;
	return 0;
}

static int text_good(const char *s)
{
	if (!*s)
		return 0;
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 127)
			return 0;
	return 1;
}

static int text_append(struct trace_writer *w, uint8_t kind, unsigned name, const char *text, size_t len)
{
	struct trace_text r = {.kind = kind, .length = (uint8_t)len, .name = (uint16_t)name};

	memcpy(r.text, text, len);
	return append(w, &r);
}

static int name_find(struct trace_writer *w, const char *text)
{
	size_t len = strnlen(text, TRACE_NAME_MAX);
	uint32_t h = 2166136261u; /* FNV-1a */
	unsigned b;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 16777619u;
	for (b = h % BUCKETS; w->bucket[b]; b = (b + 1) % BUCKETS) {
		const char *have = w->names[w->bucket[b] - 1];

		if (!strncmp(have, text, len) && !have[len])
			return w->bucket[b] - 1;
	}
	if (w->nnames == TRACE_NAMES_MAX)
		return -ENOSPC;
	memcpy(w->names[w->nnames], text, len);
	w->bucket[b] = (uint16_t)++w->nnames;
	text_append(w, TRACE_NAME, w->nnames - 1, text, len);
	return w->error ? w->error : (int)w->nnames - 1;
}

int trace_name(struct trace_writer *w, const char *text)
{
	int rc;

	if (!text_good(text))
		return -EINVAL;
	pthread_mutex_lock(&w->lock);
	rc = name_find(w, text);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

static int call_good(const struct trace_writer *w, const struct trace_call *c)
{
	if (c->class == TRACE_LOCAL && (c->device_ns || c->bytes_out || c->bytes_in))
		return 0;
	if (c->class != TRACE_SYNC && c->flags & (TRACE_WAITS | TRACE_WAITS_ALL))
		return 0;
	return c->class <= TRACE_SYNC && !(c->flags & ~TRACE_FLAGS_KNOWN) && c->name < w->nnames &&
	       c->thread < TRACE_THREADS_MAX && c->stream < TRACE_STREAMS_MAX && c->at_ns <= TRACE_NS_MAX &&
	       c->gap_ns <= TRACE_NS_MAX && c->device_ns <= TRACE_NS_MAX && c->bytes_out <= TRACE_BYTES_MAX &&
	       c->bytes_in <= TRACE_BYTES_MAX && c->after <= w->calls && w->calls < TRACE_CALLS_MAX;
}

int64_t trace_put(struct trace_writer *w, const struct trace_call *c)
{
	struct trace_call r = *c;
	int64_t rc = -EINVAL;

	r.kind = TRACE_CALL;
	r.reserved = 0;
	pthread_mutex_lock(&w->lock);
	if (call_good(w, c)) {
		rc = append(w, &r);
		if (!rc)
			rc = (int64_t)w->calls++;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

int trace_put_device(struct trace_writer *w, uint64_t number, uint64_t device_ns)
{
	struct trace_device r = {.kind = TRACE_DEVICE, .call = number, .device_ns = device_ns};
	int rc = -EINVAL;

	pthread_mutex_lock(&w->lock);
	if (number < w->calls && device_ns <= TRACE_NS_MAX)
		rc = append(w, &r);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

int trace_note(struct trace_writer *w, const char *text)
{
	size_t left = strlen(text);
	int rc = 0;

	if (!text_good(text))
		return -EINVAL;
	pthread_mutex_lock(&w->lock);
	while (left && !rc) {
		size_t n = left < TRACE_NOTE_MAX ? left : TRACE_NOTE_MAX;

		rc = text_append(w, TRACE_NOTE, left > n, text, n); /* name 1: the text goes on */
		text += n;
		left -= n;
	}
	pthread_mutex_unlock(&w->lock);
	return rc;
}

int trace_flush(struct trace_writer *w)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	rc = write_out(w);
	pthread_mutex_unlock(&w->lock);
	return rc;
}

int trace_finish(struct trace_writer *w, uint64_t at_ns)
{
	struct trace_end r = {.kind = TRACE_END, .at_ns = at_ns < TRACE_NS_MAX ? at_ns : TRACE_NS_MAX};
	int rc;

	if (!w)
		return 0;
	r.calls = w->calls;
	append(w, &r);
	rc = write_out(w);
	if (close(w->fd) && !rc)
		rc = -errno;
	pthread_mutex_destroy(&w->lock);
	free(w);
	return rc;
}
