/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/snapshot.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/idle.h"
#include "tools/cpu_time.h"

enum { SLOT_FIELDS = 7 + SLOT_VALUES, FIELDS_MAX = SLOT_FIELDS };

/* Letters, digits and . _ - only: it goes into other formats as it is. */
static bool name_ok(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	return true;
}

static unsigned fields(char *line, char *out[FIELDS_MAX])
{
	unsigned n = 0;

	while (n < FIELDS_MAX && line) {
		out[n++] = line;
		line = strchr(line, '\t');
		if (line)
			*line++ = 0;
	}
	return n;
}

void snapshot_parse(char *text, struct snapshot *out)
{
	char *save = NULL, *f[FIELDS_MAX];

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned n = fields(line, f);

		if (n < 2 || !name_ok(f[1]))
			continue;
		if (strcmp(f[0], "node") == 0 && n == 4) {
			snprintf(out->node, sizeof(out->node), "%s", f[1]);
			snprintf(out->state, sizeof(out->state), "%s", f[2]);
			out->uptime_ms = strtoull(f[3], NULL, 10);
			out->up = true;
		} else if (strcmp(f[0], "process") == 0 && n == 6 && out->nprocs < SNAPSHOT_PROCS_MAX) {
			struct snapshot_proc *p = &out->proc[out->nprocs++];

			snprintf(p->name, sizeof(p->name), "%s", f[1]);
			snprintf(p->state, sizeof(p->state), "%s", f[2]);
			p->pid = atoi(f[3]);
			p->restarts = (unsigned)strtoul(f[4], NULL, 10);
			p->core = atoi(f[5]);
		} else if (strcmp(f[0], "counter") == 0 && n == 6 && out->ncounters < COUNTERS_MAX) {
			struct snapshot_counter *c = &out->counter[out->ncounters++];

			snprintf(c->name, sizeof(c->name), "%s", f[1]);
			snprintf(c->unit, sizeof(c->unit), "%s", f[2]);
			c->level = strcmp(f[3], "level") == 0;
			c->value = strtoull(f[4], NULL, 10);
			snprintf(c->help, sizeof(c->help), "%s", f[5]);
		} else if ((strcmp(f[0], "endpoint") == 0 || strcmp(f[0], "lane") == 0) && n == SLOT_FIELDS &&
			   out->nslots < COUNTERS_SLOTS) {
			struct snapshot_slot *s = &out->slot[out->nslots++];
			unsigned *const numbers[] = {&s->endpoint, &s->pid, &s->number, &s->node, &s->depth};

			snprintf(s->name, sizeof(s->name), "%s", f[1]);
			s->lane = f[0][0] == 'l';
			for (unsigned i = 0; i < 5; i++)
				*numbers[i] = (unsigned)strtoul(f[2 + i], NULL, 10);
			for (unsigned i = 0; i < SLOT_VALUES; i++)
				s->value[i] = strtoull(f[7 + i], NULL, 10);
		}
	}
}

void snapshot_take(const struct target *t, struct snapshot *out)
{
	char *text;

	memset(out, 0, sizeof(*out));
	snprintf(out->node, sizeof(out->node), "%s", t->name);
	strcpy(out->state, "down");
	if (client_ask(t, "counters", &text) == 0)
		snapshot_parse(text + 1, out);
	free(text);
	out->taken_ns = clock_now_ns();
	for (unsigned i = 0; i < out->nprocs; i++)
		if (out->proc[i].pid > 0)
			out->proc[i].cpu_ns = process_cpu_ns(out->proc[i].pid);
}

uint64_t snapshot_value(const struct snapshot *s, const char *name)
{
	for (unsigned i = 0; i < s->ncounters; i++)
		if (strcmp(s->counter[i].name, name) == 0)
			return s->counter[i].value;
	return 0;
}

const struct snapshot_slot *snapshot_slot_find(const struct snapshot *s, const struct snapshot_slot *like)
{
	for (unsigned i = 0; i < s->nslots; i++) {
		const struct snapshot_slot *o = &s->slot[i];

		if (o->lane == like->lane && o->endpoint == like->endpoint && o->pid == like->pid &&
		    o->number == like->number && o->node == like->node)
			return o;
	}
	return NULL;
}
