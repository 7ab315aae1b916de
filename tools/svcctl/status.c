/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/admin.h"
#include "tools/svcctl/json.h"
#include "tools/svcctl/node.h"

enum { STUCK_MS = 2000 };

static void uptime(uint64_t ns, char *out, size_t len)
{
	uint64_t s = ns / 1000000000u;

	if (s < 120)
		snprintf(out, len, "%" PRIu64 " s", s);
	else if (s < 7200)
		snprintf(out, len, "%" PRIu64 " min", s / 60);
	else if (s < 172800)
		snprintf(out, len, "%" PRIu64 " h", s / 3600);
	else
		snprintf(out, len, "%" PRIu64 " d", s / 86400);
}

static int core_of(const struct node *n, const struct proc *p)
{
	return p->kind == PROC_KEEPER ? n->conf->keeper_core
	       : p->conf	      ? p->conf->core
				      : n->conf->core;
}

/* The dataplane's answers have been missing for so long that something is wrong with it. */
static bool dataplane_stuck(const struct node *n)
{
	return n->admin.fd >= 0 && n->admin.count &&
	       n->now_ns - n->admin.asked_ns > STUCK_MS * 1000000ull;
}

static uint32_t counters(const struct node *n)
{
	const struct counters_page *page = n->admin.counters;

	return page && counters_check(page, sizeof(*page)) == 0 && page->count <= COUNTERS_MAX
		       ? page->count
		       : 0;
}

static void print_row(FILE *f, const struct node *n, const struct proc *p)
{
	char up[32] = "-", pid[16] = "-", core[16] = "-";

	if (p->pidfd >= 0) {
		uptime(n->now_ns - p->started_ns, up, sizeof(up));
		snprintf(pid, sizeof(pid), "%d", p->pid);
	}
	if (core_of(n, p) != CONF_NO_CORE)
		snprintf(core, sizeof(core), "%d", core_of(n, p));
	fprintf(f, "  %-16s %8s  %-9s %8u %5s %8s  %s\n", p->name, pid,
		p->kind == PROC_DATAPLANE && dataplane_stuck(n) ? "stuck"
								: proc_state_name(p->state),
		p->restarts, core, up, p->reason[0] ? p->reason : "-");
}

char *status_text(const struct node *n)
{
	const struct counters_page *page = n->admin.counters;
	char *text = NULL, up[32];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	uptime(n->now_ns - n->started_ns, up, sizeof(up));
	fprintf(f, "node %s (id %u) is %s, %s; socket %s/%s\n", n->conf->name, n->conf->id,
		node_phase_name(n->phase), up, n->conf->run_dir, ADMIN_SOCKET_NAME);
	fprintf(f, "  %-16s %8s  %-9s %8s %5s %8s  %s\n", "process", "pid", "state", "restarts",
		"core", "uptime", "ended last because");
	for (unsigned i = 0; i < n->nprocs; i++)
		print_row(f, n, &n->procs[i]);
	for (unsigned i = 0; i < n->nprocs; i++)
		if (n->procs[i].warning[0])
			fprintf(f, "  warning: %s %s\n", n->procs[i].name, n->procs[i].warning);
	for (uint32_t i = 0, shown = 0; i < counters(n); i++) {
		uint64_t v = counters_read(page, i);

		if (v == 0)
			continue;
		if (shown++ == 0)
			fprintf(f, "  counters of the dataplane that are not 0\n");
		fprintf(f, "    %-24.39s %14" PRIu64 " %-8.15s %.71s\n", page->info[i].name, v,
			page->info[i].unit, page->info[i].help);
	}
	fclose(f);
	return text;
}

char *status_json(const struct node *n)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "{\"node\": \"%s\", \"id\": %u, \"state\": \"%s\", \"uptime_ms\": %" PRIu64
		", \"run_dir\": ", n->conf->name, n->conf->id, node_phase_name(n->phase),
		(n->now_ns - n->started_ns) / 1000000u);
	json_string(f, n->conf->run_dir, CONF_PATH_MAX);
	fprintf(f, ", \"supervisor\": {\"pid\": %d, \"guard_pid\": %d}", getpid(), n->guard.pid);
	fputs(", \"processes\": [", f);
	for (unsigned i = 0; i < n->nprocs; i++) {
		const struct proc *p = &n->procs[i];

		fprintf(f, "%s{\"name\": \"%s\", \"pid\": %d, \"state\": \"%s\", \"restarts\": %u",
			i ? ", " : "", p->name, p->pid,
			p->kind == PROC_DATAPLANE && dataplane_stuck(n) ? "stuck"
									: proc_state_name(p->state),
			p->restarts);
		fprintf(f, ", \"core\": %d, \"uptime_ms\": %" PRIu64 ", \"last_exit\": ", core_of(n, p),
			p->pidfd >= 0 ? (n->now_ns - p->started_ns) / 1000000u : 0);
		json_string(f, p->reason, sizeof(p->reason));
		fputs(", \"warning\": ", f);
		json_string(f, p->warning, sizeof(p->warning));
		fputc('}', f);
	}
	fputs("], \"counters\": {", f);
	for (uint32_t i = 0; i < counters(n); i++) {
		fputs(i ? ", " : "", f);
		json_string(f, n->admin.counters->info[i].name,
			     sizeof(n->admin.counters->info[i].name));
		fprintf(f, ": %" PRIu64, counters_read(n->admin.counters, i));
	}
	fputs("}}\n", f);
	fclose(f);
	return text;
}

char *status_lines(const struct node *n)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "node\t%s\t%s\t%" PRIu64 "\n", n->conf->name, node_phase_name(n->phase),
		(n->now_ns - n->started_ns) / 1000000u);
	for (unsigned i = 0; i < n->nprocs; i++) {
		const struct proc *p = &n->procs[i];

		fprintf(f, "process\t%s\t%s\t%d\t%u\t%d\n", p->name,
			p->kind == PROC_DATAPLANE && dataplane_stuck(n) ? "stuck" : proc_state_name(p->state),
			p->pid, p->restarts, core_of(n, p));
	}
	for (uint32_t i = 0; i < counters(n); i++) {
		const struct counter_info *c = &n->admin.counters->info[i];

		fprintf(f, "counter\t%.39s\t%.15s\t%s\t%" PRIu64 "\t%.70s\n", c->name, c->unit,
			c->kind == COUNTER_LEVEL ? "level" : "sum", counters_read(n->admin.counters, i), c->help);
	}
	for (uint32_t i = 0; counters(n) && i < COUNTERS_SLOTS; i++) {
		struct counters_slot s;

		if (!counters_slot_read(n->admin.counters, i, &s))
			continue;
		fprintf(f, "%s\t%s\t%u\t%u\t%u\t%u\t%u", s.kind == SLOT_LANE ? "lane" : "endpoint",
			s.name[0] ? s.name : "client", s.endpoint, s.pid, s.lane, s.node, s.depth);
		for (unsigned k = 0; k < SLOT_VALUES; k++)
			fprintf(f, "\t%" PRIu64, s.value[k]);
		fputc('\n', f);
	}
	fclose(f);
	return text;
}
