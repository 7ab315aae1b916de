/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/trace.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG "a note that is longer than what one record of the file takes, and goes on"

static char path[] = "/tmp/atoll-trace-XXXXXX";

static int begin(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
	(void)state;
	return unlink(path);
}

static struct trace_writer *fresh(void)
{
	struct trace_writer *w;

	assert_int_equal(trace_create(&w, path, "a program", 0), 0);
	return w;
}

static void load(struct trace *t)
{
	char err[128] = "";

	if (trace_load(t, path, err, sizeof(err)))
		fail_msg("%s", err);
}

static void what_is_written_is_read(void **state)
{
	struct trace_writer *w = fresh();
	int launch = trace_name(w, "cudaLaunchKernel"), wait = trace_name(w, "cudaStreamSynchronize");
	struct trace_call a = {.class = TRACE_ASYNC,
			       .name = (uint16_t)launch,
			       .stream = 3,
			       .gap_ns = 700,
			       .cpu_ns = 900,
			       .bytes_out = 128,
			       .at_ns = 5000};
	struct trace_call b = {.class = TRACE_SYNC,
			       .flags = TRACE_WAITS,
			       .name = (uint16_t)wait,
			       .thread = 1,
			       .stream = 3,
			       .at_ns = 8000,
			       .after = 1};
	struct trace t;

	(void)state;
	assert_int_equal(trace_name(w, "cudaLaunchKernel"), launch);
	assert_int_equal(trace_put(w, &a), 0);
	assert_int_equal(trace_put_device(w, 0, 123456), 0);
	assert_int_equal(trace_put(w, &b), 1);
	assert_int_equal(trace_note(w, LONG), 0);
	assert_int_equal(trace_note(w, "another"), 0);
	assert_int_equal(trace_finish(w, 9000), 0);
	load(&t);
	assert_int_equal(t.ncalls, 2);
	assert_false(t.cut);
	assert_int_equal(t.threads, 2);
	assert_int_equal(t.streams, 4);
	assert_int_equal(t.end_ns, 9000);
	assert_string_equal(t.program, "a program");
	assert_string_equal(t.notes, LONG "\nanother");
	assert_int_equal(t.calls[0].device_ns, 123456);
	assert_int_equal(t.calls[0].bytes_out, 128);
	assert_int_equal(t.calls[1].flags, TRACE_WAITS);
	assert_string_equal(trace_call_name(&t, &t.calls[1]), "cudaStreamSynchronize");
	trace_free(&t);
}

static void a_writer_that_was_cut_short_leaves_a_good_trace(void **state)
{
	struct trace_writer *w = fresh();
	struct trace_call c = {.class = TRACE_ASYNC, .name = (uint16_t)trace_name(w, "f")};
	struct trace t;

	(void)state;
	for (int i = 0; i < 3000; i++)
		assert_int_equal(trace_put(w, &c), i);
	assert_int_equal(trace_flush(w), 0);
	assert_int_equal(truncate(path, 64 * 2000 + 17), 0);
	load(&t);
	assert_true(t.cut);
	assert_int_equal(t.ncalls, 1998);
	trace_free(&t);
	assert_int_equal(trace_finish(w, 0), 0);
}

static void a_bad_call_is_refused_by_the_writer(void **state)
{
	struct trace_writer *w = fresh();
	struct trace_call good = {.class = TRACE_SYNC, .name = (uint16_t)trace_name(w, "f")}, c;
	struct trace t;

	(void)state;
#define REFUSED(field, value) \
	do { \
		c = good; \
		c.field = value; \
		assert_int_equal(trace_put(w, &c), -EINVAL); \
	} while (0)
	REFUSED(class, 3);
	REFUSED(flags, 0x80);
	REFUSED(name, 1);
	REFUSED(thread, TRACE_THREADS_MAX);
	REFUSED(stream, TRACE_STREAMS_MAX);
	REFUSED(gap_ns, TRACE_NS_MAX + 1);
	REFUSED(bytes_in, TRACE_BYTES_MAX + 1);
	REFUSED(after, 1);
	good.class = TRACE_LOCAL;
	REFUSED(bytes_out, 1);
	REFUSED(flags, TRACE_WAITS);
	assert_int_equal(trace_name(w, ""), -EINVAL);
	assert_int_equal(trace_name(w, "a\nb"), -EINVAL);
	assert_int_equal(trace_put_device(w, 0, 1), -EINVAL);
	assert_int_equal(trace_finish(w, 0), 0);
	load(&t);
	assert_int_equal(t.ncalls, 0);
	trace_free(&t);
}

static void names_run_out_with_an_error(void **state)
{
	struct trace_writer *w = fresh();
	char name[32];
	struct trace t;

	(void)state;
	for (int i = 0; i < TRACE_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(trace_name(w, name), i);
	}
	assert_int_equal(trace_name(w, "one more"), -ENOSPC);
	assert_int_equal(trace_name(w, "f7"), 7);
	assert_int_equal(trace_finish(w, 0), 0);
	load(&t);
	assert_int_equal(t.nnames, TRACE_NAMES_MAX);
	trace_free(&t);
}

static void a_full_disk_is_an_error_and_no_more(void **state)
{
	struct trace_writer *w;
	struct trace_call c = {.class = TRACE_ASYNC};
	int64_t rc = 0;

	(void)state;
	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(trace_create(&w, "/dev/full", "p", 0), 0);
	trace_name(w, "f");
	for (int i = 0; i < 2000 && rc >= 0; i++)
		rc = trace_put(w, &c);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(trace_put(w, &c), -ENOSPC);
	assert_int_equal(trace_finish(w, 0), -ENOSPC);
}

enum { THREADS = 4, EACH = 5000 };

static void *writes(void *arg)
{
	struct trace_writer *w = arg;
	struct trace_call c = {.class = TRACE_ASYNC, .name = (uint16_t)trace_name(w, "f")};

	for (int i = 0; i < EACH; i++)
		trace_put_device(w, (uint64_t)trace_put(w, &c), 5);
	return NULL;
}

static void many_threads_write_one_trace(void **state)
{
	struct trace_writer *w = fresh();
	pthread_t th[THREADS];
	struct trace t;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&th[i], NULL, writes, w), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
	assert_int_equal(trace_finish(w, 0), 0);
	load(&t);
	assert_int_equal(t.ncalls, THREADS * EACH);
	for (size_t i = 0; i < t.ncalls; i++)
		assert_int_equal(t.calls[i].device_ns, 5);
	trace_free(&t);
}

/* Every byte of a small file, changed to every value: an error, or a trace whose fields are in range. */
static void any_damage_is_seen_or_harmless(void **state)
{
	struct trace_writer *w = fresh();
	struct trace_call c = {.class = TRACE_SYNC, .name = (uint16_t)trace_name(w, "f"), .bytes_in = 4};
	unsigned char b[7 * TRACE_RECORD];
	struct trace t;
	char err[128];
	FILE *f;

	(void)state;
	trace_put(w, &c);
	trace_put_device(w, 0, 9);
	c.after = 1;
	trace_put(w, &c);
	trace_note(w, "note");
	assert_int_equal(trace_finish(w, 77), 0);
	f = fopen(path, "rb");
	assert_int_equal(fread(b, 1, sizeof(b), f), sizeof(b));
	fclose(f);
	for (size_t i = 0; i < sizeof(b); i++) {
		unsigned char was = b[i];

		for (unsigned v = 0; v < 256; v++) {
			b[i] = (unsigned char)v;
			err[0] = 0;
			if (trace_parse(&t, b, sizeof(b), err, sizeof(err))) {
				assert_true(err[0]);
				assert_null(t.calls);
				continue;
			}
			for (size_t k = 0; k < t.ncalls; k++) {
				assert_true(t.calls[k].after <= k);
				assert_true(t.calls[k].name < t.nnames);
				assert_true(t.calls[k].stream < t.streams && t.calls[k].thread < t.threads);
			}
			trace_free(&t);
		}
		b[i] = was;
	}
	for (size_t n = 0; n < sizeof(b); n++)
		if (!trace_parse(&t, b, n, err, sizeof(err))) {
			assert_true(t.cut);
			trace_free(&t);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_writer_that_was_cut_short_leaves_a_good_trace),
		cmocka_unit_test(a_bad_call_is_refused_by_the_writer),
		cmocka_unit_test(names_run_out_with_an_error),
		cmocka_unit_test(a_full_disk_is_an_error_and_no_more),
		cmocka_unit_test(many_threads_write_one_trace),
		cmocka_unit_test(any_damage_is_seen_or_harmless),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
