/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/top.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/svcctl/json.h"
#include "tools/svcctl/snapshot.h"

enum { WIDE = 72, LEAST = 24, MOST = 160, DEFAULT_COLUMNS = 80 };

/* Counters that are shown, as rates or as what there is. */
static const struct {
	const char *group, *label, *counter;
} rows[] = {
	{"messages", "taken", "messages"},
	{"messages", "answers", "replies"},
	{"messages", "events", "events"},
	{"messages", "no credit", "refused.again"},
	{"messages", "peer died", "failed.peer_died"},
	{"messages", "unreachable", "failed.unreachable"},
	{"verbs", "verbs", "verbs"},
	{"verbs", "chains", "chains"},
	{"verbs", "completions", "completions"},
	{"verbs", "lanes", "lanes"},
	{"port", "packets in", "roce.rx"},
	{"port", "packets out", "roce.tx"},
	{"port", "retransmits", "roce.retransmits"},
	{"port", "time-outs", "roce.timeouts"},
	{"port", "no buffer", "roce.no_buffer"},
	{"links", "up", "links.up"},
	{"links", "sent", "links.tx"},
	{"links", "received", "links.rx"},
	{"endpoints", "attached", "endpoints"},
	{"endpoints", "regions", "regions"},
	{"endpoints", "wakes", "wakes"},
	{"endpoints", "closed", "closed"},
};

static volatile sig_atomic_t over;

static void on_signal(int sig)
{
	(void)sig;
	over = 1;
}

static unsigned columns(void)
{
	struct winsize w;
	const char *text = getenv("COLUMNS");
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	if (!n && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0)
		n = w.ws_col;
	if (!n)
		n = DEFAULT_COLUMNS;
	return n < LEAST ? LEAST : n > MOST ? MOST : n;
}

/* A line, cut to the terminal's width. */
__attribute__((format(printf, 2, 3))) static void line(unsigned width, const char *fmt, ...)
{
	char text[MOST * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("%.*s\n", (int)width, text);
}

/* 7 columns at most: 9999, 12.3k, 4.56M. */
static void short_number(double v, char out[16])
{
	static const char units[] = " kMGT";
	unsigned u = 0;

	while (v >= 9999.5 && u < sizeof(units) - 2) {
		v /= 1000;
		u++;
	}
	snprintf(out, 16, "%.*f%.*s", u == 0 && v == (double)(uint64_t)v ? 0 : v < 100 ? 2 : 1, v, u ? 1 : 0,
		 units + u);
}

static const struct snapshot_counter *find(const struct snapshot *s, const char *name)
{
	for (unsigned i = 0; i < s->ncounters; i++)
		if (strcmp(s->counter[i].name, name) == 0)
			return &s->counter[i];
	return NULL;
}

/* Per second; of a level, what there is. A counter that fell began anew with its dataplane. */
static double rate(const struct snapshot *from, const struct snapshot *to, const char *name)
{
	const struct snapshot_counter *c = find(to, name);
	uint64_t before = snapshot_value(from, name);
	double s = (double)(to->taken_ns - from->taken_ns) / 1e9;

	if (!c)
		return 0;
	if (c->level)
		return (double)c->value;
	return (double)(c->value >= before ? c->value - before : c->value) / s;
}

/* Share of a core in this interval; -1: it was not there at its begin. */
static double busy(const struct snapshot *from, const struct snapshot *to, unsigned i)
{
	const struct snapshot_proc *p = &to->proc[i];

	for (unsigned k = 0; k < from->nprocs; k++)
		if (strcmp(from->proc[k].name, p->name) == 0 && from->proc[k].pid == p->pid && p->pid > 0)
			return (double)(p->cpu_ns - from->proc[k].cpu_ns) /
			       (double)(to->taken_ns - from->taken_ns);
	return -1;
}

static double turns_busy(const struct snapshot *from, const struct snapshot *to)
{
	double all = rate(from, to, "loop.turns");

	return all > 0 ? rate(from, to, "loop.busy_turns") / all : 0;
}

static void show_processes(unsigned width, const struct snapshot *from, const struct snapshot *to)
{
	bool wide = width >= WIDE;

	if (wide)
		line(width, "  %-20s %5s %6s  %-9s %8s %8s", "process", "core", "busy", "state", "restarts", "pid");
	for (unsigned i = 0; i < to->nprocs; i++) {
		const struct snapshot_proc *p = &to->proc[i];
		double b = busy(from, to, i);
		char core[16] = "-", share[16] = "-";

		if (p->core >= 0)
			snprintf(core, sizeof(core), "%d", p->core);
		if (b >= 0)
			snprintf(share, sizeof(share), "%.1f%%", b * 100);
		if (wide)
			line(width, "  %-20.20s %5s %6s  %-9s %8u %8d", p->name, core, share, p->state,
			     p->restarts, p->pid);
		else
			line(width, " %-12.12s %2s %6s", p->name, core, share);
	}
}

static void show_counters(unsigned width, const struct snapshot *from, const struct snapshot *to)
{
	unsigned across = width >= WIDE ? (width - 12) / 20 : 1, in_line = 0;
	const char *group = NULL;
	char text[MOST + 64] = "";

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char value[16], cell[64];

		if (!group || strcmp(group, rows[i].group) != 0 || in_line == across) {
			if (in_line)
				line(width, "%s", text);
			snprintf(text, sizeof(text), across == 1 ? " " : "  %-9s", group && !strcmp(group, rows[i].group)
											  ? "" : rows[i].group);
			in_line = 0;
		}
		group = rows[i].group;
		short_number(rate(from, to, rows[i].counter), value);
		snprintf(cell, sizeof(cell), " %-11.11s %7s", rows[i].label, value);
		strncat(text, cell, sizeof(text) - strlen(text) - 1);
		in_line++;
	}
	line(width, "%s", text);
}

/* Per second since @from; of what there is now, that. */
static double slot_rate(const struct snapshot *from, const struct snapshot *to, const struct snapshot_slot *s,
			enum counters_slot_value v)
{
	const struct snapshot_slot *before = snapshot_slot_find(from, s);
	uint64_t was = before ? before->value[v] : 0;

	if (v == SLOT_OPEN || v == SLOT_LATENCY_NS)
		return (double)s->value[v];
	if (v == SLOT_DELIVERED) /* a position in a ring: it wraps */
		return (uint32_t)(s->value[v] - was) / ((double)(to->taken_ns - from->taken_ns) / 1e9);
	return s->value[v] < was ? 0 : (double)(s->value[v] - was) / ((double)(to->taken_ns - from->taken_ns) / 1e9);
}

/* Of endpoints and lanes: `given` are slots of records on the endpoint's ring, `again` packets sent again. */
static void show_slots(unsigned width, const struct snapshot *from, const struct snapshot *to)
{
	bool wide = width >= WIDE;

	if (wide && to->nslots)
		line(width, "  %-22s %8s %8s %8s %8s %5s %8s %7s", "endpoint, lane", "messages", "given", "verbs", "bytes",
		     "open", "latency", "again");
	for (unsigned i = 0; i < to->nslots; i++) {
		const struct snapshot_slot *s = &to->slot[i];
		char name[64], text[SLOT_VALUES][16], latency[32] = "";

		for (unsigned k = 0; k < SLOT_VALUES; k++)
			short_number(slot_rate(from, to, s, k), text[k]);
		if (s->lane)
			snprintf(name, sizeof(name), "  lane %u, node %u", s->number, s->node);
		else
			snprintf(name, sizeof(name), "%.15s %u", s->name, s->endpoint);
		if (s->lane)
			snprintf(latency, sizeof(latency), "%.1f us", (double)s->value[SLOT_LATENCY_NS] / 1e3);
		if (!wide)
			line(width, " %-16.16s %7s", name, text[s->lane ? SLOT_VERBS : SLOT_MESSAGES]);
		else
			line(width, "  %-22.22s %8s %8s %8s %8s %5s %8s %7s", name, s->lane ? "" : text[SLOT_MESSAGES],
			     s->lane ? "" : text[SLOT_DELIVERED], text[SLOT_VERBS], text[SLOT_BYTES], text[SLOT_OPEN],
			     latency, s->lane ? text[SLOT_RETRANSMITS] : "");
	}
}

static void show(unsigned width, const struct snapshot *from, const struct snapshot *to)
{
	if (!to->up) {
		line(width, "node %s is down", to->node);
		return;
	}
	line(width, "node %s is %s, %" PRIu64 " s", to->node, to->state, to->uptime_ms / 1000);
	show_processes(width, from, to);
	line(width, " loop: %.1f%% of turns busy", turns_busy(from, to) * 100);
	line(width, " longest turn %.1f us", (double)snapshot_value(to, "loop.max_turn_ns") / 1e3);
	if (width >= WIDE)
		line(width, "  a second, or what there is:");
	show_counters(width, from, to);
	show_slots(width, from, to);
}

static void show_json_slots(const struct snapshot *from, const struct snapshot *to, bool lanes)
{
	static const char *const names[SLOT_VALUES] = {"messages", "delivered_slots", "chains", "verbs", "bytes", "open",
						       "retransmits", "latency_ns"};
	bool more = false;

	for (unsigned i = 0; i < to->nslots; i++) {
		const struct snapshot_slot *s = &to->slot[i];

		if (s->lane != lanes)
			continue;
		json_member(stdout, more ? ", {" : "{", "endpoint", s->name);
		printf(", \"number\": %u, \"pid\": %u", s->endpoint, s->pid);
		if (lanes)
			printf(", \"lane\": %u, \"node\": %u, \"depth\": %u", s->number, s->node, s->depth);
		for (unsigned k = 0; k < SLOT_VALUES; k++)
			if (lanes ? k >= SLOT_CHAINS : k <= SLOT_OPEN)
				printf(", \"%s\": %.3f", names[k], slot_rate(from, to, s, k));
		putchar('}');
		more = true;
	}
}

static void show_json(const struct snapshot *from, const struct snapshot *to)
{
	json_member(stdout, "{", "node", to->node);
	json_member(stdout, ", ", "state", to->state);
	printf(", \"interval_ms\": %.0f, \"turns_busy\": %.4f, \"max_turn_ns\": %" PRIu64 ", \"processes\": [",
	       (double)(to->taken_ns - from->taken_ns) / 1e6, turns_busy(from, to),
	       snapshot_value(to, "loop.max_turn_ns"));
	for (unsigned i = 0; i < to->nprocs; i++) {
		double b = busy(from, to, i);

		json_member(stdout, i ? ", {" : "{", "name", to->proc[i].name);
		json_member(stdout, ", ", "state", to->proc[i].state);
		printf(", \"core\": %d, \"pid\": %d, \"restarts\": %u, \"busy\": %.4f}", to->proc[i].core,
		       to->proc[i].pid, to->proc[i].restarts, b < 0 ? 0 : b);
	}
	fputs("], \"rates\": {", stdout);
	for (unsigned i = 0; i < to->ncounters; i++) {
		json_string(stdout, to->counter[i].name, sizeof(to->counter[i].name));
		printf(": %.3f%s", rate(from, to, to->counter[i].name), i + 1 < to->ncounters ? ", " : "");
	}
	fputs("}, \"endpoints\": [", stdout);
	show_json_slots(from, to, false);
	fputs("], \"lanes\": [", stdout);
	show_json_slots(from, to, true);
	puts("]}");
}

int top_run(int n, const struct target *targets, unsigned interval_ms, bool once, bool json)
{
	struct snapshot *s = calloc(2 * (size_t)n, sizeof(*s)), *from = s, *to = s + n, *swap;
	struct timespec pause = {.tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1000000L};
	struct sigaction sa = {.sa_handler = on_signal};
	bool screen = !once && !json && isatty(STDOUT_FILENO);
	int status = 0;

	if (!s) {
		fprintf(stderr, "svcctl: out of memory\n");
		return 1;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	for (int i = 0; i < n; i++)
		snapshot_take(&targets[i], &from[i]);
	do {
		nanosleep(&pause, NULL);
		status = 0;
		if (screen)
			fputs("\033[H\033[2J", stdout);
		for (int i = 0; i < n; i++) {
			snapshot_take(&targets[i], &to[i]);
			status = to[i].up ? status : 3;
			if (json)
				show_json(&from[i], &to[i]);
			else
				show(columns(), &from[i], &to[i]);
		}
		fflush(stdout);
		swap = from;
		from = to;
		to = swap;
	} while (!once && !over && !ferror(stdout));
	free(s);
	return status;
}
