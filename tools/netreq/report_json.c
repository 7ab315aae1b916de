/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/netreq/report.h"

static void text(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '\n')
			printf("\\n");
		else if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else
			putchar(*s);
	}
	putchar('"');
}

/* What is without bound is null. */
static void number(const char *key, double v, const char *behind)
{
	if (isfinite(v))
		printf("\"%s\": %.9g%s", key, v, behind);
	else
		printf("\"%s\": null%s", key, behind);
}

static void need(const struct need *n)
{
	printf("{\"possible\": %s, ", n->possible ? "true" : "false");
	number("floor", n->floor, ", ");
	number("rtt_us", n->possible ? n->rtt_ns / 1000 : INFINITY, ", ");
	number("gbps", n->possible ? n->gbps : INFINITY, ", ");
	number("overhead", n->overhead, ", ");
	number("rtt_max_us", n->rtt_max_ns >= 0 ? n->rtt_max_ns / 1000 : INFINITY, ", ");
	number("gbps_min", n->gbps_min, "}");
}

static void change(const char *key, const struct report_change *c, const char *behind)
{
	printf("    \"%s\": {\"calls\": %llu, \"need\": ", key, (unsigned long long)c->calls);
	need(&c->need);
	printf("}%s\n", behind);
}

void report_json(const struct report *r)
{
	printf("{\n  \"program\": ");
	text(r->t->program);
	printf(",\n  \"notes\": ");
	text(r->t->notes);
	printf(",\n  \"synthetic\": %s,\n  \"cut\": %s,\n", r->t->flags & TRACE_SYNTHETIC ? "true" : "false",
	       r->t->cut ? "true" : "false");
	printf("  \"calls\": {\"local\": %llu, \"async\": %llu, \"sync\": %llu},\n",
	       (unsigned long long)r->calls[TRACE_LOCAL], (unsigned long long)r->calls[TRACE_ASYNC],
	       (unsigned long long)r->calls[TRACE_SYNC]);
	printf("  ");
	number("local_ms", r->need.local_ns / 1e6, ", ");
	number("budget", r->conf.budget, ",\n");
	printf("  \"need\": ");
	need(&r->need);
	printf(",\n  \"all_sync\": %.9g,\n", r->all_sync);
	if (!r->sim_error) {
		printf("  \"simulation\": {\"overhead\": %.9g, \"clients\": %u, ", r->simulated, r->conf.clients);
		number("mean", r->sim.mean_ns / r->need.local_ns - 1, ", ");
		number("worst", r->sim.worst_ns / r->need.local_ns - 1, ", ");
		printf("\"wire_out_busy\": %.6g, \"wire_in_busy\": %.6g, \"service_busy\": %.6g, \"device_busy\": %.6g, "
		       "\"service_wait_us\": %.6g},\n",
		       r->sim.wire_out_busy, r->sim.wire_in_busy, r->sim.service_busy, r->sim.device_busy,
		       r->sim.service_wait_ns / 1000);
	}
	printf("  \"table\": [");
	for (unsigned i = 0; i < REPORT_RTTS; i++) {
		printf("%s\n    {\"rtt_us\": %g, ", i ? "," : "", report_rtts_us[i]);
		number("least_gbps", r->least_gbps[i], ", \"overhead\": {");
		for (unsigned k = 0; k < REPORT_RATES; k++)
			printf("%s\"%g\": %.6g", k ? ", " : "", report_gbps[k], r->overhead[i][k]);
		printf("}}");
	}
	printf("\n  ],\n  \"changes\": {\n");
	change("local", &r->local, ",");
	change("async", &r->async, ",");
	change("both", &r->both, "");
	printf("  },\n  \"waits\": [");
	for (unsigned i = 0; i < r->ntop; i++) {
		printf("%s\n    {\"name\": ", i ? "," : "");
		text(r->t->names[r->top[i].name]);
		printf(", \"calls\": %llu, \"blocked_us\": %.6g}", (unsigned long long)r->top[i].sum.sync,
		       r->top[i].sum.blocked_ns / 1000);
	}
	printf("\n  ]\n}\n");
}
