/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll-demo: the client of the demonstration. It writes every line of a word list into a remote index
 * and reads it back, keeps requests outstanding at the echo service meanwhile, and goes on over
 * whatever is killed around it: each operation and each request ends with a status, and is given again
 * exactly when its status allows. It tells what happens in lines that demo.py reads:
 *
 *	progress PHASE DONE ALL		lost WHAT		joined MILLISECONDS
 *	result KEY VALUE
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/index/atoll_index.h"
#include "ipc/endpoint.h"
#include "ipc/idle.h"

enum {
	IN_FLIGHT = 16,
	ECHOES = 8,		/* requests kept outstanding */
	ECHO_DELAY_US = 30000,
	STEP = 2000,		/* words between lines of progress */
	JOIN_MS = 20000,
	DIE_POLLS = 8,
};

struct word {
	const char *text;
	uint32_t len;
	uint8_t state; /* enum word_state */
};

enum word_state { WORD_TODO, WORD_RUNS, WORD_DONE, WORD_DOUBT };

/* Latencies: 16 buckets for each doubling. */
struct histogram {
	uint64_t bucket[64 * 16];
	uint64_t count;
};

struct demo {
	struct word *words;
	uint32_t count;
	struct atoll_index *ix;
	uint32_t done, runs;
	uint64_t acked, retried, in_doubt, resolved, failed, differ;
	uint64_t results[ATOLL_RESULTS];
	struct histogram hist;
	/* echo */
	struct atoll_endpoint *ep;
	struct atoll_handle echo;
	bool echo_known, echo_asked;
	uint64_t echo_id, echo_out, echo_sent, echo_status[STATUS_COUNT];
	uint64_t echo_retry_ns;
	const char *echo_name;
};

struct op {
	struct demo *d;
	uint32_t word;
	uint64_t start_ns;
};

static struct op ops[ATOLL_INDEX_IN_FLIGHT_MAX];
static unsigned free_ops[ATOLL_INDEX_IN_FLIGHT_MAX], nfree;

static void hist_add(struct histogram *h, uint64_t ns)
{
	unsigned log = ns < 16 ? 4 : 63u - (unsigned)__builtin_clzll(ns);
	unsigned sub = ns < 16 ? (unsigned)ns : (unsigned)(ns >> (log - 4)) & 15;

	h->bucket[(log - 4) * 16 + sub]++;
	h->count++;
}

static double hist_us(const struct histogram *h, double share)
{
	uint64_t want = (uint64_t)((double)h->count * share), seen = 0;

	for (unsigned i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
		seen += h->bucket[i];
		if (seen > want)
			return (double)((16ull + i % 16) << (i / 16)) / 1000;
	}
	return 0;
}

static uint32_t value_of(const struct demo *d, uint32_t i, char *buf, size_t len)
{
	return (uint32_t)snprintf(buf, len, "%u %u", i + 1, d->words[i].len);
}

static int words_read(struct demo *d, const char *path)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t room = 0, cap = 0;
	ssize_t n;

	if (!f) {
		fprintf(stderr, "cannot read %s: %s (package wamerican has it)\n", path, strerror(errno));
		return -errno;
	}
	while ((n = getline(&line, &room, f)) > 0) {
		if (line[n - 1] == '\n')
			n--;
		if (n == 0 || n > ATOLL_INDEX_KEY_MAX)
			continue;
		if (d->count == cap) {
			cap = cap ? cap * 2 : 1 << 16;
			d->words = realloc(d->words, cap * sizeof(*d->words));
			if (!d->words)
				return -ENOMEM;
		}
		d->words[d->count++] =
			(struct word){.text = strndup(line, (size_t)n), .len = (uint32_t)n};
	}
	free(line);
	fclose(f);
	return d->count ? 0 : -EINVAL;
}

/* ---------------------------------------------------------------- echo, beside the index */

static void echo_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct demo *d = ctx;

	(void)payload;
	if (cookie == 0) { /* the lookup */
		d->echo_asked = false;
		d->echo_known = m->status == STATUS_OK;
		d->echo = (struct atoll_handle){(uint32_t)m->arg[0], (uint32_t)m->arg[1]};
		d->echo_retry_ns = clock_now_ns() + 5000000;
		return;
	}
	d->echo_out--;
	d->echo_status[m->status < STATUS_COUNT ? m->status : STATUS_FAILED]++;
	if (m->status == STATUS_OK && m->arg[0] != cookie)
		d->failed++;
	/* an echo changes nothing, so every ending but OK means: find the service again and ask anew */
	if (m->status != STATUS_OK && m->status != STATUS_AGAIN)
		d->echo_known = false;
}

static const struct atoll_handlers echo_handlers = {.reply = echo_reply};

static int echo_attach(struct demo *d)
{
	struct atoll_endpoint_conf conf = {.name = "demo-echo", .kind = CTL_KIND_CLIENT};
	char err[256];
	int rc = atoll_attach(&d->ep, &conf, err, sizeof(err));

	if (rc) {
		fprintf(stderr, "%s\n", err);
		return rc;
	}
	atoll_set_handlers(d->ep, &echo_handlers, d);
	return 0;
}

static int echo_turn(struct demo *d, bool more)
{
	struct proto_msg m;
	char err[256];
	int rc;

	if (!d->ep)
		return 0;
	if (!d->echo_known && !d->echo_asked && clock_now_ns() > d->echo_retry_ns) {
		proto_request_init(&m, OP_DP_LOOKUP);
		m.length = (uint32_t)strlen(d->echo_name);
		if (!atoll_request(d->ep, ATOLL_DATAPLANE, &m, d->echo_name, 0))
			d->echo_asked = true;
	}
	while (more && d->echo_known && d->echo_out < ECHOES) {
		proto_request_init(&m, OP_ECHO_DELAY);
		m.arg[0] = ++d->echo_id;
		m.arg[1] = ECHO_DELAY_US;
		m.nargs = 2;
		if (atoll_request(d->ep, d->echo, &m, NULL, d->echo_id))
			break;
		d->echo_out++;
		d->echo_sent++;
	}
	rc = atoll_poll(d->ep, 32);
	if (rc != -ENOTCONN)
		return rc < 0 ? rc : 0;
	printf("lost echo\n");
	d->echo_known = d->echo_asked = false;
	rc = atoll_reattach(d->ep, JOIN_MS, err, sizeof(err));
	if (rc)
		fprintf(stderr, "the dataplane did not come back: %s\n", err);
	return rc;
}

/* ---------------------------------------------------------------- the index */

static void word_ended(struct demo *d, struct op *op, const struct atoll_outcome *o)
{
	struct word *w = &d->words[op->word];

	d->results[o->result]++;
	d->runs--;
	free_ops[nfree++] = (unsigned)(op - ops);
	switch (atoll_result_class(o->result)) {
	case ATOLL_EXECUTED:
		hist_add(&d->hist, clock_now_ns() - op->start_ns);
		w->state = WORD_DONE;
		d->done++;
		d->acked++;
		break;
	case ATOLL_NOT_EXECUTED:
		w->state = WORD_TODO;
		d->retried++;
		if (o->result == ATOLL_FULL || o->result == ATOLL_NO_SPACE ||
		    o->result == ATOLL_REFUSED) {
			fprintf(stderr, "%.*s: %s\n", (int)w->len, w->text,
				atoll_result_text(o->result));
			d->failed++;
			w->state = WORD_DONE;
			d->done++;
		}
		break;
	case ATOLL_UNKNOWN:
		/* not given again before the key has been read */
		w->state = WORD_DOUBT;
		d->in_doubt++;
		break;
	}
}

static void on_put(void *arg, const struct atoll_outcome *o)
{
	struct op *op = arg;

	word_ended(op->d, op, o);
}

static void on_get(void *arg, const struct atoll_outcome *o)
{
	struct op *op = arg;
	struct demo *d = op->d;
	char want[32];
	uint32_t n = value_of(d, op->word, want, sizeof(want));
	bool same = o->result == ATOLL_OK && o->value_len == n && !memcmp(o->value, want, n);

	if (atoll_result_class(o->result) == ATOLL_EXECUTED && !same)
		d->differ++;
	word_ended(d, op, o);
}

/* A put that was in doubt: is it there? */
static void on_resolve(void *arg, const struct atoll_outcome *o)
{
	struct op *op = arg;
	struct demo *d = op->d;
	struct word *w = &d->words[op->word];
	char want[32];
	uint32_t n = value_of(d, op->word, want, sizeof(want));

	d->runs--;
	free_ops[nfree++] = (unsigned)(op - ops);
	if (o->result == ATOLL_OK && o->value_len == n && !memcmp(o->value, want, n)) {
		w->state = WORD_DONE;
		d->done++;
		d->acked++;
		d->resolved++;
	} else if (atoll_result_class(o->result) == ATOLL_EXECUTED) {
		w->state = WORD_TODO; /* it was not executed, and cannot be any more */
		d->resolved++;
	} else {
		w->state = WORD_DOUBT;
	}
}

static int index_open(struct demo *d, const char *target)
{
	struct atoll_index_options o = {.in_flight = IN_FLIGHT, .name = "demo"};
	const char *why = "";
	int rc = -EAGAIN;

	for (int i = 0; i < 400; i++) { /* the nodes have just been started */
		rc = atoll_index_open(&d->ix, target, &o, &why);
		if (!rc)
			return 0;
		usleep(25000);
	}
	fprintf(stderr, "cannot open %s: %s\n", target, why);
	return rc;
}

static int index_join(struct demo *d)
{
	uint64_t start = clock_now_ns(), now;
	const char *why = "";
	int rc;

	printf("lost index\n");
	fflush(stdout);
	do {
		rc = atoll_index_reconnect(d->ix, &why);
		now = clock_now_ns();
		if (rc)
			usleep(2000);
	} while (rc && now - start < JOIN_MS * 1000000ull);
	if (rc) {
		fprintf(stderr, "cannot join again: %s\n", why);
		return rc;
	}
	printf("joined %.1f\n", (double)(now - start) / 1e6);
	return 0;
}

static bool submit(struct demo *d, uint32_t i, bool put)
{
	bool doubt = d->words[i].state == WORD_DOUBT;
	struct op *op = &ops[free_ops[nfree - 1]];
	char value[32];
	uint32_t n = value_of(d, i, value, sizeof(value));
	int rc;

	*op = (struct op){.d = d, .word = i, .start_ns = clock_now_ns()};
	rc = atoll_index_submit(d->ix, put && !doubt ? ATOLL_PUT : ATOLL_GET, d->words[i].text,
				d->words[i].len, value, put && !doubt ? n : 0,
				put ? doubt ? on_resolve : on_put : on_get, op);
	if (rc)
		return false;
	nfree--;
	d->runs++;
	d->words[i].state = WORD_RUNS;
	return true;
}

/* Every word once: put, or get and compare. */
static volatile sig_atomic_t die; /* in the middle of the next split */

static void on_die(int sig)
{
	(void)sig;
	die = 1;
}

/* A split counts as one more operation. It dies some polls after it has begun. */
static void maybe_die(const struct demo *d)
{
	static unsigned polls;

	polls = atoll_index_pending(d->ix) > d->runs ? polls + 1 : 0;
	if (die && polls > DIE_POLLS)
		raise(SIGKILL);
}

static int phase(struct demo *d, const char *name, bool put, bool echoes)
{
	uint32_t next = 0, told = 0;
	uint64_t start = clock_now_ns();
	int n, rc;

	memset(&d->hist, 0, sizeof(d->hist));
	for (uint32_t i = 0; i < d->count; i++)
		d->words[i].state = WORD_TODO;
	d->done = 0;
	while (d->done < d->count) {
		for (uint32_t looked = 0; nfree && looked < d->count && d->done + d->runs < d->count;
		     looked++) {
			uint8_t state = d->words[next].state;

			if ((state == WORD_TODO || state == WORD_DOUBT) && !submit(d, next, put))
				break;
			next = next + 1 == d->count ? 0 : next + 1;
		}
		n = atoll_index_poll(d->ix);
		if (n == -ENOTCONN) {
			rc = index_join(d);
			if (rc)
				return rc;
			continue;
		}
		if (n < 0)
			return n;
		if (!echoes)
			maybe_die(d);
		if (echoes && (rc = echo_turn(d, true)) < 0)
			return rc;
		if (n == 0)
			atoll_index_idle(d->ix);
		if (d->done / STEP != told / STEP) {
			told = d->done;
			printf("progress %s %u %u\n", name, d->done, d->count);
			fflush(stdout);
		}
	}
	start = clock_now_ns() - start;
	printf("result %s_rate %.0f\nresult %s_p50 %.1f\nresult %s_p99 %.1f\n", name,
	       (double)d->count * 1e9 / (double)start, name, hist_us(&d->hist, 0.5), name,
	       hist_us(&d->hist, 0.99));
	fflush(stdout);
	return 0;
}

/* Wait for the echoes that are out; each must end. */
static int echo_drain(struct demo *d)
{
	uint64_t end = clock_now_ns() + 10000000000ull;
	int rc;

	while (d->echo_out && clock_now_ns() < end) {
		rc = echo_turn(d, false);
		if (rc < 0)
			return rc;
		atoll_idle(d->ep, 1000000);
	}
	printf("result echo_unanswered %llu\nresult echo_sent %llu\n", (unsigned long long)d->echo_out,
	       (unsigned long long)d->echo_sent);
	for (unsigned s = 0; s < STATUS_COUNT; s++)
		if (d->echo_status[s])
			printf("result echo_%s %llu\n", proto_status_name(s),
			       (unsigned long long)d->echo_status[s]);
	return d->echo_out ? -ETIMEDOUT : 0;
}

/* Every entry of the dump must be a word with its value. */
static int on_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	struct demo *d = arg;
	char text[32], want[32];
	unsigned line = 0, len = 0;

	if (vlen < sizeof(text)) {
		memcpy(text, value, vlen);
		text[vlen] = 0;
		if (sscanf(text, "%u %u", &line, &len) == 2 && line >= 1 && line <= d->count &&
		    d->words[line - 1].len == klen && !memcmp(d->words[line - 1].text, key, klen) &&
		    value_of(d, line - 1, want, sizeof(want)) == vlen && !memcmp(want, value, vlen))
			return 0;
	}
	d->differ++;
	return 0;
}

static int run_load(struct demo *d, const char *target)
{
	struct atoll_index_report r;
	struct atoll_index_stats st;
	int rc = echo_attach(d);

	rc = rc ? rc : index_open(d, target);
	rc = rc ? rc : phase(d, "load", true, true);
	rc = rc ? rc : echo_drain(d);
	if (rc)
		return rc;
	printf("result acked %llu\nresult retried %llu\nresult in_doubt %llu\nresult resolved %llu\n",
	       (unsigned long long)d->acked, (unsigned long long)d->retried,
	       (unsigned long long)d->in_doubt, (unsigned long long)d->resolved);
	rc = phase(d, "read", false, false);
	if (rc)
		return rc;
	rc = atoll_index_dump(d->ix, on_entry, NULL, d, &r);
	if (rc)
		return rc;
	atoll_index_stats(d->ix, &st);
	printf("result words %u\nresult differ %llu\nresult failed %llu\nresult entries %llu\n"
	       "result torn %llu\nresult duplicates %llu\nresult misplaced %llu\nresult pending %llu\n"
	       "result leaked_bytes %llu\nresult cleared %llu\n",
	       d->count, (unsigned long long)d->differ, (unsigned long long)d->failed,
	       (unsigned long long)r.entries, (unsigned long long)r.torn,
	       (unsigned long long)r.duplicates, (unsigned long long)r.misplaced,
	       (unsigned long long)r.pending, (unsigned long long)st.leaked_bytes,
	       (unsigned long long)st.cleared);
	atoll_index_close(d->ix);
	atoll_detach(d->ep);
	return d->differ || d->failed || r.entries != d->count || r.torn || r.duplicates || r.misplaced ?
		       -EBADMSG :
		       0;
}

/* Writes the same words until somebody kills it; SIGUSR1: it kills itself in the middle of a split. */
static int run_writer(struct demo *d, const char *target)
{
	int rc = index_open(d, target);

	signal(SIGUSR1, on_die);
	printf("progress writer 0 %u\n", d->count);
	fflush(stdout);
	while (!rc)
		rc = phase(d, "writer", true, false);
	return rc;
}

int main(int argc, char **argv)
{
	static struct demo d;
	int rc;

	if (argc != 5) {
		fprintf(stderr, "usage: atoll-demo load|write WORDS INDEX ECHO\n"
				"  for example: atoll-demo load /usr/share/dict/words node-b/index node-b/echo\n");
		return 2;
	}
	for (nfree = 0; nfree < IN_FLIGHT; nfree++)
		free_ops[nfree] = nfree;
	d.echo_name = argv[4];
	rc = words_read(&d, argv[2]);
	if (!rc)
		rc = strcmp(argv[1], "load") ? run_writer(&d, argv[3]) : run_load(&d, argv[3]);
	if (rc)
		fprintf(stderr, "atoll-demo: %s\n", strerror(-rc));
	return rc ? 1 : 0;
}
