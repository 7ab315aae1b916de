/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - the file in which every call of an accelerator program is recorded.
 *
 * A file is a run of records of 64 bytes, little-endian, naturally aligned, so that it can be written as the
 * program runs and read as far as it got: first a head, then in any order names of functions, calls, device
 * times that became known after their call was written, and notes; last an end with the number of calls.
 * Without an end the writer was cut short: what is there is still good.
 *
 * A call's number is its place among the calls of the file, from 0. Times are nanoseconds of one monotonic
 * clock since the head. A call says what it costs a program that has the device in its own host: gap_ns of the
 * thread's own work since its previous call returned, cpu_ns inside the call (without waiting), device_ns on
 * the device, in the order of its stream. What a call would cost over a network is for netreq to find out:
 *
 *   LOCAL  answered by the client library; no message
 *   ASYNC  a message is sent, nothing is waited for
 *   SYNC   a message is sent and its answer is waited for; with TRACE_WAITS the answer comes when the stream
 *          has done everything up to this call, with TRACE_WAITS_ALL when every stream has
 *
 * The writer is plain C on the C library, for use inside client libraries: it never ends the process, prints
 * nothing, and after the first error (a full disk) drops what follows and returns it. One writer may be used
 * by many threads. The reader trusts nothing: it checks every field of every record.
 */
#ifndef ATOLL_TOOLS_NETREQ_TRACE_H
#define ATOLL_TOOLS_NETREQ_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	TRACE_MAJOR = 1, /* another major: another format */
	TRACE_MINOR = 0, /* larger: records and flags that this reader does not know */
	TRACE_RECORD = 64,
	TRACE_NAMES_MAX = 4096,
	TRACE_NAME_MAX = 55,   /* bytes of a function's name */
	TRACE_PROGRAM_MAX = 31,
	TRACE_NOTE_MAX = 55,   /* bytes of one note; a longer text takes several */
	TRACE_THREADS_MAX = 1024,
	TRACE_STREAMS_MAX = 65536,
};

/* Largest number of calls that a reader takes, and largest value of a time (11 days) and a size. */
#define TRACE_CALLS_MAX (64u << 20)
#define TRACE_NS_MAX 1000000000000000ull
#define TRACE_BYTES_MAX (1ull << 44)
#define TRACE_MAGIC "ATOLTRC\n"

enum trace_kind {
	TRACE_HEAD = 0x41, /* the first byte of the magic */
	TRACE_CALL = 1,
	TRACE_NAME = 2,
	TRACE_DEVICE = 3,
	TRACE_NOTE = 4,
	TRACE_END = 5,
};

enum trace_class {
	TRACE_LOCAL = 0,
	TRACE_ASYNC = 1,
	TRACE_SYNC = 2,
};

enum trace_flag {
	TRACE_WAITS = 1 << 0,	    /* SYNC: returns when its stream has got this far */
	TRACE_WAITS_ALL = 1 << 1,   /* SYNC: returns when every stream has got this far */
	TRACE_COULD_LOCAL = 1 << 2, /* SYNC: asks what a client library could know */
	TRACE_COULD_ASYNC = 1 << 3, /* SYNC: the program need not have waited (a blocking copy to the device) */
	TRACE_COPY = 1 << 4,	    /* moves bytes between host and device */
	TRACE_FLAGS_KNOWN = (1 << 5) - 1,
};

enum trace_head_flag {
	TRACE_SYNTHETIC = 1 << 0, /* made from counts, not recorded */
	TRACE_HEAD_FLAGS_KNOWN = 1,
};

/* One call, as it stands in the file. */
struct trace_call {
	uint8_t kind;  /* TRACE_CALL */
	uint8_t class; /* enum trace_class */
	uint8_t flags; /* enum trace_flag */
	uint8_t reserved;
	uint16_t name;	 /* from trace_name */
	uint16_t thread; /* the program's threads, numbered from 0 */
	uint32_t stream; /* the program's streams, numbered from 0 */
	uint32_t cpu_ns; /* inside the call, on a local device, without waiting */
	uint64_t at_ns;	 /* when it was called */
	uint64_t gap_ns;
	uint64_t device_ns; /* 0: none, or not yet known: a TRACE_DEVICE follows */
	uint64_t bytes_out; /* arguments and data, client to device */
	uint64_t bytes_in;  /* results and data, device to client */
	uint64_t after;	    /* 0, or 1 + number of an earlier call, which must be done on the device first */
};

_Static_assert(sizeof(struct trace_call) == TRACE_RECORD, "one record");
_Static_assert(offsetof(struct trace_call, stream) == 8, "layout");
_Static_assert(offsetof(struct trace_call, at_ns) == 16, "layout");
_Static_assert(offsetof(struct trace_call, after) == 56, "layout");

struct trace_head {
	char magic[8];
	uint16_t major, minor, record, flags;
	uint64_t started; /* seconds since 1970, for people */
	uint64_t reserved;
	char program[TRACE_PROGRAM_MAX + 1]; /* ended by 0 */
};

struct trace_text { /* TRACE_NAME and TRACE_NOTE */
	uint8_t kind, length; /* bytes of text, 0 behind it */
	uint16_t name;	      /* TRACE_NAME: its number */
	uint32_t reserved;
	char text[56];
};

struct trace_device {
	uint8_t kind;
	uint8_t reserved[7];
	uint64_t call; /* number of an earlier call */
	uint64_t device_ns;
	uint64_t reserved2[5];
};

struct trace_end {
	uint8_t kind;
	uint8_t reserved[7];
	uint64_t calls; /* in the file */
	uint64_t at_ns;
	uint64_t reserved2[5];
};

_Static_assert(sizeof(struct trace_head) == TRACE_RECORD, "one record");
_Static_assert(sizeof(struct trace_text) == TRACE_RECORD, "one record");
_Static_assert(sizeof(struct trace_device) == TRACE_RECORD, "one record");
_Static_assert(sizeof(struct trace_end) == TRACE_RECORD, "one record");

/* ---------------------------------------------------------------- writing */

struct trace_writer;

/**
 * trace_create - begin a file; what was at @path is replaced.
 * @program: for people; cut to TRACE_PROGRAM_MAX bytes.
 * @flags: enum trace_head_flag.
 * Return: 0 or negative errno.
 */
int trace_create(struct trace_writer **out, const char *path, const char *program, unsigned flags);

/**
 * trace_name - the number of a function's name, for trace_call.name. The same text gives the same number.
 * Return: 0 or more; -ENOSPC after TRACE_NAMES_MAX; -EINVAL (empty, control characters); negative errno.
 */
int trace_name(struct trace_writer *w, const char *text);

/**
 * trace_put - append a call. kind and reserved are filled in. Takes a lock and copies 64 bytes; once in some
 *	hundreds of calls it writes to the file.
 * Return: the call's number, or negative errno (-EINVAL: a field that the reader would refuse).
 */
int64_t trace_put(struct trace_writer *w, const struct trace_call *c);

/* The device time of call @number, which is not LOCAL, once it is known. 0 or negative errno. */
int trace_put_device(struct trace_writer *w, uint64_t number, uint64_t device_ns);

/* A sentence for people, in as many records as it takes. 0 or negative errno. */
int trace_note(struct trace_writer *w, const char *text);

/* Write out what is buffered (before a fork, at a signal). 0 or negative errno. */
int trace_flush(struct trace_writer *w);

/* End the file at @at_ns and free the writer. 0, or the first error that any call met. NULL is nothing. */
int trace_finish(struct trace_writer *w, uint64_t at_ns);

/* ---------------------------------------------------------------- reading */

struct trace {
	struct trace_call *calls; /* device times filled in */
	size_t ncalls;
	char (*names)[TRACE_NAME_MAX + 1];
	unsigned nnames;
	char *notes; /* one text, a line for each note; "" if there is none */
	char program[TRACE_PROGRAM_MAX + 1];
	uint32_t threads, streams; /* one more than the largest number in use; at least 1 */
	uint64_t started, end_ns;
	unsigned flags; /* enum trace_head_flag */
	int cut;	/* no end: the writer did not finish */
};

/**
 * trace_parse - check and take over a file's bytes.
 * @err: on failure, a sentence with the record's number.
 * Return: 0; -EPROTO (not such a file, or broken); -EPROTONOSUPPORT (another major); -E2BIG; -ENOMEM.
 */
int trace_parse(struct trace *out, const void *bytes, size_t size, char *err, size_t errlen);
/* trace_parse of the file @path; "-" is standard input. */
int trace_load(struct trace *out, const char *path, char *err, size_t errlen);
void trace_free(struct trace *t);
/**
 * trace_chrome - the trace as Chrome's trace viewer and Perfetto read it (Trace Event Format): each call on the track
 *	of its thread, its work on the track of its stream, as early as streams and dependencies let it begin.
 * Return: 0, -EIO, -ENOMEM.
 */
int trace_chrome(const struct trace *t, FILE *f);
/* The name of a call's function. */
const char *trace_call_name(const struct trace *t, const struct trace_call *c);

#endif
