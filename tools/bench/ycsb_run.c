/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/ycsb_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/idle.h"

struct run;

struct slot {
	struct run *run;
	struct slot *next;
	uint64_t record;
	bool insert, modify; /* modify: a put follows this get */
};

struct run {
	struct ycsb_table *t;
	struct slot slot[YCSB_WINDOW_MAX], *free;
	unsigned running;
	uint64_t done;
	const char *wrong; /* what went wrong, first of all */
	uint64_t wrong_record;
	uint8_t value[YCSB_VALUE];
};

/* The value of a record begins with its number; the rest does not matter. */
static void value_make(struct run *r, uint64_t record)
{
	memcpy(r->value, &record, sizeof(record));
}

static void wrong(struct run *r, const struct slot *s, const char *what)
{
	if (!r->wrong) {
		r->wrong = what;
		r->wrong_record = s->record;
	}
}

static void acknowledge(struct ycsb_table *t, uint64_t record)
{
	t->acked |= 1ull << (record - t->records);
	while (t->acked & 1) {
		t->acked >>= 1;
		t->records++;
	}
}

static void end(struct slot *s)
{
	s->next = s->run->free;
	s->run->free = s;
	s->run->running--;
	s->run->done++;
}

static void on_done(void *arg, const struct atoll_outcome *o);

static int give(struct slot *s, enum atoll_op op)
{
	struct run *r = s->run;
	char key[YCSB_KEY_MAX];
	size_t klen = ycsb_key(s->record, key);

	value_make(r, s->record);
	return atoll_index_submit(r->t->ix, op, key, klen, r->value,
				  op == ATOLL_GET ? 0 : sizeof(r->value), on_done, s);
}

static void on_done(void *arg, const struct atoll_outcome *o)
{
	struct slot *s = arg;
	struct run *r = s->run;

	if (o->result != ATOLL_OK)
		wrong(r, s, atoll_result_text(o->result));
	else if (o->op == ATOLL_GET &&
		 (o->value_len != YCSB_VALUE || memcmp(o->value, &s->record, sizeof(s->record))))
		wrong(r, s, "the value of another record");
	if (s->insert && o->result == ATOLL_OK)
		acknowledge(r->t, s->record);
	if (s->modify && !r->wrong) {
		s->modify = false;
		if (give(s, ATOLL_PUT) == 0)
			return;
		wrong(r, s, "the put behind a get was not taken");
	}
	end(s);
}

static int on_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct slot *s = arg;
	char want[YCSB_KEY_MAX];
	uint64_t record;

	memcpy(&record, value, vlen < sizeof(record) ? 0 : sizeof(record));
	if (vlen != YCSB_VALUE || ycsb_key(record, want) != klen || memcmp(key, want, klen) != 0)
		wrong(s->run, s, "a scan met the value of another record");
	return 0;
}

static void on_scanned(void *arg, enum atoll_result result, int rc, uint64_t entries)
{
	struct slot *s = arg;

	(void)rc;
	if (result != ATOLL_OK)
		wrong(s->run, s, atoll_result_text(result));
	else if (entries == 0) /* it begins at a record that is there */
		wrong(s->run, s, "a scan met nothing");
	end(s);
}

static int give_scan(struct slot *s, uint32_t length)
{
	char key[YCSB_KEY_MAX];
	size_t klen = ycsb_key(s->record, key);

	return atoll_index_scan_submit(s->run->t->ix, key, klen, false, length, on_entry, on_scanned,
				       s);
}

static int start(struct run *r, struct ycsb *y, const struct ycsb_workload *w)
{
	enum ycsb_op op = w ? ycsb_op(y, w) : YCSB_INSERT;
	struct slot *s = r->free;
	int rc;

	if (op == YCSB_INSERT && r->t->next - r->t->records >= YCSB_WINDOW_MAX)
		return -EAGAIN; /* the oldest is not acknowledged yet */
	y->records = r->t->records;
	s->insert = op == YCSB_INSERT;
	s->modify = op == YCSB_RMW;
	s->record = s->insert ? r->t->next : ycsb_record(y);
	if (op == YCSB_SCAN)
		rc = give_scan(s, ycsb_scan_length(y));
	else
		rc = give(s, op == YCSB_INSERT	 ? ATOLL_INSERT
			     : op == YCSB_UPDATE ? ATOLL_PUT
						 : ATOLL_GET);
	if (rc)
		return rc;
	r->free = s->next;
	r->running++;
	r->t->next += s->insert;
	return 0;
}

/* Until @n operations are done or the time is @end. */
static int drive(struct ycsb_table *t, struct ycsb *y, const struct ycsb_workload *w,
		 unsigned window, uint64_t n, uint64_t end, uint64_t *done)
{
	struct run r = {.t = t};
	uint64_t begun = 0;
	int rc = 0;

	memset(r.value, 'v', sizeof(r.value));
	for (unsigned i = 0; i < window; i++) {
		r.slot[i].run = &r;
		r.slot[i].next = r.free;
		r.free = &r.slot[i];
	}
	for (unsigned turn = 0; begun < n || r.running; turn++) {
		int ended;

		while (begun < n && r.free && (rc = start(&r, y, w)) == 0)
			begun++;
		if (rc == -EAGAIN)
			rc = 0;
		if (rc || r.wrong)
			n = begun;
		ended = atoll_index_poll(t->ix);
		if (ended < 0) {
			rc = ended;
			break;
		}
		if (ended == 0)
			atoll_index_idle(t->ix);
		if ((turn & 15) == 0 && clock_now_ns() >= end)
			n = begun;
	}
	while (atoll_index_pending(t->ix) && atoll_index_poll(t->ix) >= 0)
		atoll_index_idle(t->ix); /* a split that others would wait for */
	*done = r.done;
	if (rc || r.wrong) {
		fprintf(stderr, "atoll-bench: ycsb %s on the table \"%s\": %s", w ? w->name : "insert",
			t->name, r.wrong ? r.wrong : strerror(-rc));
		if (r.wrong)
			fprintf(stderr, " (record %llu of %llu)", (unsigned long long)r.wrong_record,
				(unsigned long long)t->records);
		fputc('\n', stderr);
		return rc ? rc : -EIO;
	}
	return 0;
}

int ycsb_load(struct ycsb_table *t, uint64_t n, unsigned window)
{
	struct ycsb y;
	uint64_t done;

	ycsb_begin(&y, YCSB_UNIFORM, 1, 1);
	return drive(t, &y, NULL, window, n, UINT64_MAX, &done);
}

int ycsb_run(struct ycsb_table *t, const struct ycsb_workload *w, unsigned window, uint64_t seed,
	     uint64_t ns, double *rate)
{
	struct ycsb y;
	uint64_t from, done;
	int rc;

	ycsb_begin(&y, w ? w->dist : YCSB_UNIFORM, t->records, seed);
	from = clock_now_ns();
	rc = drive(t, &y, w, window, UINT64_MAX, from + ns, &done);
	*rate = (double)done * 1e9 / (double)(clock_now_ns() - from);
	return rc;
}
