/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "tools/netreq/trace.h"

enum { HOST = 1, DEVICE = 2 }; /* processes, as the viewer has them */

static void text(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			putc('\\', f);
		putc(c < ' ' || c > '~' ? '?' : c, f); /* names are any bytes: JSON is not */
	}
	putc('"', f);
}

static void name_put(FILE *f, const char *what, int process, uint32_t thread, const char *name, int number)
{
	char label[64];

	if (number >= 0)
		snprintf(label, sizeof(label), "%s %d", name, number);
	else
		snprintf(label, sizeof(label), "%s", name);
	fprintf(f, "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %u, \"args\": {\"name\": ", what, process, thread);
	text(f, label);
	fputs("}},\n", f);
}

static void span_put(FILE *f, const struct trace *t, const struct trace_call *c, int process, uint32_t thread,
		     uint64_t from_ns, uint64_t ns)
{
	static const char *const classes[] = {"LOCAL", "ASYNC", "SYNC"};

	fputs("{\"ph\": \"X\", \"name\": ", f);
	text(f, trace_call_name(t, c));
	fprintf(f,
		", \"cat\": \"%s\", \"pid\": %d, \"tid\": %u, \"ts\": %.3f, \"dur\": %.3f, \"args\": {\"bytes_out\": %llu, "
		"\"bytes_in\": %llu, \"stream\": %u}},\n",
		classes[c->class], process, thread, (double)from_ns / 1000, (double)ns / 1000,
		(unsigned long long)c->bytes_out, (unsigned long long)c->bytes_in, c->stream);
}

int trace_chrome(const struct trace *t, FILE *f)
{
	uint64_t *stream = calloc(t->streams, sizeof(*stream)), *done = calloc(t->ncalls + 1, sizeof(*done));

	if (!stream || !done) {
		free(stream);
		free(done);
		return -ENOMEM;
	}
	fputs("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n", f);
	for (uint32_t k = 0; k < t->threads; k++)
		name_put(f, "thread_name", HOST, k, "thread", (int)k);
	for (size_t i = 0; i < t->ncalls; i++) {
		const struct trace_call *c = &t->calls[i];
		uint64_t from = c->at_ns + c->cpu_ns;

		span_put(f, t, c, HOST, c->thread, c->at_ns, c->cpu_ns);
		if (c->class == TRACE_LOCAL)
			continue;
		from = stream[c->stream] > from ? stream[c->stream] : from;
		if (c->after && done[c->after - 1] > from)
			from = done[c->after - 1];
		if (c->device_ns) {
			if (!stream[c->stream])
				name_put(f, "thread_name", DEVICE, c->stream, "stream", (int)c->stream);
			span_put(f, t, c, DEVICE, c->stream, from, c->device_ns);
			stream[c->stream] = from + c->device_ns;
		}
		done[i] = from + c->device_ns;
	}
	name_put(f, "process_name", DEVICE, 0, "device", -1);
	fputs("{\"ph\": \"M\", \"name\": \"process_name\", \"pid\": 1, \"tid\": 0, \"args\": {\"name\": ", f);
	text(f, t->program[0] ? t->program : "program");
	fputs("}}\n]}\n", f);
	free(stream);
	free(done);
	return ferror(f) || fflush(f) ? -EIO : 0;
}
