/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/trace.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 20 };

/* What is needed while a file is read, besides what becomes of it. */
struct reading {
	struct trace *t;
	size_t room;  /* calls that fit */
	size_t notes; /* bytes used, without the 0 */
	size_t notes_room;
	bool note_open; /* the last note goes on */
	bool ended;
	const char *bad; /* what is wrong with the record */
};

static bool zero(const void *p, size_t n)
{
	const unsigned char *b = p;

	while (n--)
		if (*b++)
			return false;
	return true;
}

static bool text_good(const char *s, size_t len, size_t room)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 127)
			return false;
	return zero(s + len, room - len);
}

static int bad(struct reading *r, const char *why)
{
	r->bad = why;
	return -EPROTO;
}

static int take_head(struct reading *r, const unsigned char *at)
{
	struct trace_head h;
	size_t len;

	memcpy(&h, at, sizeof(h));
	if (memcmp(h.magic, TRACE_MAGIC, sizeof(h.magic)))
		return bad(r, "this is no trace");
	if (h.major != TRACE_MAJOR) {
		r->bad = "a trace of another major version";
		return -EPROTONOSUPPORT;
	}
	len = strnlen(h.program, sizeof(h.program));
	if (h.record != TRACE_RECORD || (h.flags & ~TRACE_HEAD_FLAGS_KNOWN) || h.reserved ||
	    len == sizeof(h.program) || !text_good(h.program, len, sizeof(h.program)))
		return bad(r, "the head is broken");
	memcpy(r->t->program, h.program, sizeof(h.program));
	r->t->flags = h.flags;
	r->t->started = h.started;
	return 0;
}

static int take_call(struct reading *r, const unsigned char *at)
{
	struct trace *t = r->t;
	struct trace_call c;

	memcpy(&c, at, sizeof(c));
	if (t->ncalls == TRACE_CALLS_MAX) {
		r->bad = "more calls than can be read";
		return -E2BIG;
	}
	if (c.class > TRACE_SYNC)
		return bad(r, "a call of no known class");
	if (c.flags & ~TRACE_FLAGS_KNOWN || c.reserved)
		return bad(r, "a call with unknown flags");
	if (c.class != TRACE_SYNC && c.flags & (TRACE_WAITS | TRACE_WAITS_ALL))
		return bad(r, "a call that waits and is not SYNC");
	if (c.name >= t->nnames)
		return bad(r, "a call of a function without a name");
	if (c.thread >= TRACE_THREADS_MAX || c.stream >= TRACE_STREAMS_MAX)
		return bad(r, "a thread or stream out of range");
	if (c.at_ns > TRACE_NS_MAX || c.gap_ns > TRACE_NS_MAX || c.device_ns > TRACE_NS_MAX)
		return bad(r, "a time out of range");
	if (c.bytes_out > TRACE_BYTES_MAX || c.bytes_in > TRACE_BYTES_MAX)
		return bad(r, "a size out of range");
	if (c.after > t->ncalls)
		return bad(r, "a call that depends on a later one");
	if (c.class == TRACE_LOCAL && (c.device_ns || c.bytes_out || c.bytes_in))
		return bad(r, "a LOCAL call that uses the device or the network");
	if (t->ncalls == r->room) {
		size_t room = r->room ? 2 * r->room : 256;
		void *p = realloc(t->calls, room * sizeof(*t->calls));

		if (!p)
			return -ENOMEM;
		t->calls = p;
		r->room = room;
	}
	t->calls[t->ncalls++] = c;
	if (c.thread >= t->threads)
		t->threads = c.thread + 1u;
	if (c.stream >= t->streams)
		t->streams = c.stream + 1u;
	if (c.at_ns > t->end_ns)
		t->end_ns = c.at_ns;
	return 0;
}

static int take_name(struct reading *r, const unsigned char *at)
{
	struct trace *t = r->t;
	struct trace_text x;

	memcpy(&x, at, sizeof(x));
	if (x.name != t->nnames || x.name >= TRACE_NAMES_MAX || !x.length || x.length > TRACE_NAME_MAX ||
	    x.reserved || !text_good(x.text, x.length, sizeof(x.text)))
		return bad(r, "a broken name");
	if (!(t->nnames & (t->nnames - 1))) { /* room for 1, 2, 4, 8, ... */
		void *p = realloc(t->names, (t->nnames ? 2 * (size_t)t->nnames : 1) * sizeof(*t->names));

		if (!p)
			return -ENOMEM;
		t->names = p;
	}
	memset(t->names[t->nnames], 0, sizeof(*t->names));
	memcpy(t->names[t->nnames++], x.text, x.length);
	return 0;
}

static int take_note(struct reading *r, const unsigned char *at)
{
	struct trace *t = r->t;
	struct trace_text x;

	memcpy(&x, at, sizeof(x));
	if (x.name > 1 || !x.length || x.length > TRACE_NOTE_MAX || x.reserved ||
	    !text_good(x.text, x.length, sizeof(x.text)))
		return bad(r, "a broken note");
	if (r->notes + x.length + 2 > r->notes_room) {
		size_t room = 2 * r->notes_room + 256;
		void *p = realloc(t->notes, room);

		if (!p)
			return -ENOMEM;
		t->notes = p;
		r->notes_room = room;
	}
	if (r->notes && !r->note_open)
		t->notes[r->notes++] = '\n';
	memcpy(t->notes + r->notes, x.text, x.length);
	r->notes += x.length;
	t->notes[r->notes] = 0;
	r->note_open = x.name;
	return 0;
}

static int take_device(struct reading *r, const unsigned char *at)
{
	struct trace_device d;

	memcpy(&d, at, sizeof(d));
	if (d.call >= r->t->ncalls || d.device_ns > TRACE_NS_MAX || !zero(d.reserved, sizeof(d.reserved)) ||
	    !zero(d.reserved2, sizeof(d.reserved2)) || r->t->calls[d.call].class == TRACE_LOCAL)
		return bad(r, "a device time of no earlier call");
	r->t->calls[d.call].device_ns = d.device_ns;
	return 0;
}

static int take_end(struct reading *r, const unsigned char *at)
{
	struct trace_end e;

	memcpy(&e, at, sizeof(e));
	if (e.calls != r->t->ncalls || e.at_ns > TRACE_NS_MAX || !zero(e.reserved, sizeof(e.reserved)) ||
	    !zero(e.reserved2, sizeof(e.reserved2)))
		return bad(r, "the end does not fit what comes before");
	if (e.at_ns > r->t->end_ns)
		r->t->end_ns = e.at_ns;
	r->ended = true;
	return 0;
}

static int take(struct reading *r, const unsigned char *at)
{
	if (r->ended)
		return bad(r, "something behind the end");
	switch (at[0]) {
	case TRACE_CALL:
		return take_call(r, at);
	case TRACE_NAME:
		return take_name(r, at);
	case TRACE_DEVICE:
		return take_device(r, at);
	case TRACE_NOTE:
		return take_note(r, at);
	case TRACE_END:
		return take_end(r, at);
	default:
		return bad(r, "a record of no known kind");
	}
}

int trace_parse(struct trace *out, const void *bytes, size_t size, char *err, size_t errlen)
{
	const unsigned char *at = bytes;
	struct reading r = {.t = out, .notes_room = 1};
	size_t n = size / TRACE_RECORD, i;
	int rc;

	memset(out, 0, sizeof(*out));
	out->threads = out->streams = 1;
	out->notes = calloc(1, 1);
	if (!out->notes) {
		snprintf(err, errlen, "no memory");
		return -ENOMEM;
	}
	i = 1;
	rc = n ? take_head(&r, at) : bad(&r, "this is no trace");
	for (; i < n && !rc; i++)
		rc = take(&r, at + i * TRACE_RECORD);
	if (!rc && r.ended && size % TRACE_RECORD)
		rc = bad(&r, "something behind the end");
	out->cut = !r.ended;
	if (rc) {
		snprintf(err, errlen, "record %zu: %s", i - 1, r.bad ? r.bad : strerror(-rc));
		trace_free(out);
	}
	return rc;
}

static int slurp(FILE *f, unsigned char **out, size_t *size)
{
	unsigned char *b = NULL;
	size_t have = 0, room = 0, n;

	do {
		if (have == room) {
			void *p;

			if (room > (size_t)TRACE_CALLS_MAX * TRACE_RECORD * 2) {
				free(b);
				return -E2BIG;
			}
			room = room ? 2 * room : CHUNK;
			p = realloc(b, room);
			if (!p) {
				free(b);
				return -ENOMEM;
			}
			b = p;
		}
		n = fread(b + have, 1, room - have, f);
		have += n;
	} while (n);
	if (ferror(f)) {
		free(b);
		return -EIO;
	}
	*out = b;
	*size = have;
	return 0;
}

int trace_load(struct trace *out, const char *path, char *err, size_t errlen)
{
	bool in = !strcmp(path, "-");
	FILE *f = in ? stdin : fopen(path, "re");
	unsigned char *bytes = NULL;
	size_t size = 0;
	int rc;

	if (errlen)
		err[0] = 0;
	if (!f) {
		rc = -errno;
		snprintf(err, errlen, "%s", strerror(errno));
		return rc;
	}
	rc = slurp(f, &bytes, &size);
	if (!in)
		fclose(f);
	if (rc)
		snprintf(err, errlen, "%s", strerror(-rc));
	else
		rc = trace_parse(out, bytes, size, err, errlen);
	free(bytes);
	return rc;
}

void trace_free(struct trace *t)
{
	free(t->calls);
	free(t->names);
	free(t->notes);
	memset(t, 0, sizeof(*t));
}

const char *trace_call_name(const struct trace *t, const struct trace_call *c)
{
	return t->names[c->name];
}
