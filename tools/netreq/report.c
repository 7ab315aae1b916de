/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const double report_rtts_us[REPORT_RTTS] = {1, 2, 5, 10, 20, 50, 100, 200};
const double report_gbps[REPORT_RATES] = {0.1, 1, 10, 25, 100, 200, 400};

#define EVENTS_MAX 200000000u /* of a simulation: about a minute */

static uint64_t concerned(const struct trace *t, unsigned flag)
{
	uint64_t n = 0;

	for (size_t i = 0; i < t->ncalls; i++)
		n += t->calls[i].class == TRACE_SYNC && t->calls[i].flags & flag;
	return n;
}

static int change_find(struct report *r, struct report_change *c, unsigned change, uint64_t calls)
{
	const struct report_conf *conf = &r->conf;

	c->change = change;
	c->calls = calls;
	return need_find(r->t, &conf->net, conf->budget, conf->rtt_ns, conf->gbps, change, &c->need);
}

static void simulate(struct report *r, const struct net *net)
{
	struct sim_conf conf = {.traces = r->t,
				.same = true,
				.clients = 1,
				.net = *net,
				.seed = r->conf.seed,
				.events_max = EVENTS_MAX};

	r->sim_error = sim_run(&conf, &r->sim);
	r->simulated = r->need.local_ns > 0 ? r->sim.total_ns[0] / r->need.local_ns - 1 : 0;
	if (r->sim_error || (r->conf.clients == 1 && !r->conf.slots && !(r->conf.jitter > 0)))
		return;
	conf.clients = r->conf.clients;
	conf.slots = r->conf.slots;
	conf.jitter = r->conf.jitter;
	r->sim_error = sim_run(&conf, &r->sim);
}

static int top_find(struct report *r, const struct net *net)
{
	struct model_name *names = calloc(r->t->nnames + 1, sizeof(*names));
	struct model m;
	int rc = names ? model_run(r->t, net, 0, names, &m) : -ENOMEM;

	while (!rc && r->ntop < REPORT_TOP) {
		unsigned best = 0;

		for (unsigned i = 1; i < r->t->nnames; i++)
			if (names[i].blocked_ns > names[best].blocked_ns)
				best = i;
		if (!r->t->nnames || !(names[best].blocked_ns > 0))
			break;
		r->top[r->ntop++] = (struct report_top){best, names[best]};
		names[best].blocked_ns = 0;
	}
	free(names);
	return rc;
}

int report_make(struct report *r, const struct trace *t, const struct report_conf *conf)
{
	struct net net = conf->net;
	double rtt;
	int rc;

	memset(r, 0, sizeof(*r));
	r->t = t;
	r->conf = *conf;
	for (size_t i = 0; i < t->ncalls; i++)
		r->calls[t->calls[i].class]++;
	rc = need_find(t, &net, conf->budget, conf->rtt_ns, conf->gbps, 0, &r->need);
	if (!rc)
		rc = change_find(r, &r->local, MODEL_LOCAL, concerned(t, TRACE_COULD_LOCAL));
	if (!rc)
		rc = change_find(r, &r->async, MODEL_ASYNC, concerned(t, TRACE_COULD_ASYNC));
	if (!rc)
		rc = change_find(r, &r->both, MODEL_LOCAL | MODEL_ASYNC, r->local.calls + r->async.calls);
	if (rc)
		return rc;
	for (unsigned i = 0; i < REPORT_RTTS; i++) {
		rtt = report_rtts_us[i] * 1000;
		net.rtt_ns = rtt;
		for (unsigned k = 0; k < REPORT_RATES; k++) {
			net.gbps = report_gbps[k];
			r->overhead[i][k] = need_overhead(t, &net, r->need.local_ns, 0);
		}
		r->least_gbps[i] = need_gbps(t, &net, rtt, r->need.local_ns, conf->budget, 0);
		r->least_changed[i] = need_gbps(t, &net, rtt, r->both.need.local_ns, conf->budget,
						MODEL_LOCAL | MODEL_ASYNC);
	}
	/* where nothing will do, what is waited for over an ordinary network is what there is to be mended */
	net.rtt_ns = r->need.possible && !isinf(r->need.rtt_ns) ? r->need.rtt_ns : 10000;
	net.gbps = r->need.possible ? r->need.gbps : 100;
	r->all_sync = need_overhead(t, &net, r->need.local_ns, MODEL_ALL_SYNC);
	simulate(r, &net);
	return top_find(r, &net);
}

/* ---------------------------------------------------------------- text */

static void rtt_print(double ns)
{
	if (isinf(ns))
		printf("any round trip");
	else
		printf("a round trip of at most %.4g us", ns / 1000);
}

static void gbps_print(double gbps)
{
	if (gbps > 0)
		printf("at least %.3g Gb/s", gbps);
	else
		printf("any bandwidth");
}

static void need_print(const struct need *n)
{
	if (!n->possible) {
		printf("no network will do: without delay and limit the overhead is %.1f%%", 100 * n->floor);
		return;
	}
	rtt_print(n->rtt_ns);
	printf(" and ");
	gbps_print(n->gbps);
}

static void change_print(const struct report *r, const struct report_change *c, const char *what)
{
	if (!c->calls)
		return;
	printf("  %llu call%s %s: then ", (unsigned long long)c->calls, c->calls == 1 ? "" : "s", what);
	need_print(&c->need);
	if (c->need.possible && r->need.possible && !isinf(c->need.rtt_max_ns) && r->need.rtt_max_ns > 0)
		printf(" (%.3g times the round trip, if bandwidth is without limit)",
		       c->need.rtt_max_ns / r->need.rtt_max_ns);
	printf("\n");
}

static void advice_print(const struct report *r)
{
	printf("\nTo need less\n");
	change_print(r, &r->local, "could be answered by the client library");
	change_print(r, &r->async, "need not be waited for");
	if (r->local.calls && r->async.calls)
		change_print(r, &r->both, "of both kinds");
	if (!r->local.calls && !r->async.calls)
		printf("  nothing is known: no call that waits is marked as one that need not\n");
	for (unsigned i = 0; i < r->ntop; i++)
		printf("  %-40s %8llu calls that wait, %.3g us each\n", r->t->names[r->top[i].name],
		       (unsigned long long)r->top[i].sum.sync,
		       r->top[i].sum.sync ? r->top[i].sum.blocked_ns / (double)r->top[i].sum.sync / 1000 : 0);
	printf("  (without outstanding requests, each call waiting for its answer, the overhead would be %.1f%%)\n",
	       100 * r->all_sync);
}

static void sim_print(const struct report *r)
{
	if (r->sim_error) {
		printf("simulation: %s\n", r->sim_error == -ETIME ? "the trace is too long for it"
								  : strerror(-r->sim_error));
		return;
	}
	printf("simulation of one client there: overhead %.2f%% (formula: %.2f%%)\n", 100 * r->simulated,
	       100 * r->need.overhead);
	if (r->conf.clients > 1 || r->conf.slots || r->conf.jitter > 0)
		printf("simulation of %u client%s: overhead %.2f%% on average, %.2f%% at worst; busy: wire out %.0f%%, wire "
		       "back %.0f%%, service %.0f%%, device %.0f%%; a message waits %.3g us for the service\n",
		       r->conf.clients, r->conf.clients == 1 ? "" : "s",
		       100 * (r->sim.mean_ns / r->need.local_ns - 1), 100 * (r->sim.worst_ns / r->need.local_ns - 1),
		       100 * r->sim.wire_out_busy, 100 * r->sim.wire_in_busy, 100 * r->sim.service_busy,
		       100 * r->sim.device_busy, r->sim.service_wait_ns / 1000);
}

void report_text(const struct report *r)
{
	printf("%s: %zu calls (%llu LOCAL, %llu ASYNC, %llu SYNC), %.4g ms with the device in the same host%s\n",
	       r->t->program[0] ? r->t->program : "trace", r->t->ncalls, (unsigned long long)r->calls[TRACE_LOCAL],
	       (unsigned long long)r->calls[TRACE_ASYNC], (unsigned long long)r->calls[TRACE_SYNC],
	       r->need.local_ns / 1e6, r->t->cut ? "; the trace was cut short" : "");
	if (r->t->notes[0])
		printf("%s\n", r->t->notes);
	printf("\nFor an overhead of at most %.3g%%: ", 100 * r->conf.budget);
	need_print(&r->need);
	printf("\n");
	if (r->need.possible) {
		if (r->need.rtt_max_ns >= 0) {
			printf("  delay alone: ");
			rtt_print(r->need.rtt_max_ns);
			printf("; bandwidth alone: ");
			gbps_print(r->need.gbps_min);
			printf("\n");
		}
		sim_print(r);
	}
	printf("\nOverhead, %%   Gb/s:");
	for (unsigned k = 0; k < REPORT_RATES; k++)
		printf("%9.4g", report_gbps[k]);
	printf("   least Gb/s\n");
	for (unsigned i = 0; i < REPORT_RTTS; i++) {
		printf("round trip %5.4g us ", report_rtts_us[i]);
		for (unsigned k = 0; k < REPORT_RATES; k++)
			printf("%8.1f%c", 100 * r->overhead[i][k], r->overhead[i][k] <= r->conf.budget ? '*' : ' ');
		if (isinf(r->least_gbps[i]))
			printf("           -\n");
		else
			printf("%12.3g\n", r->least_gbps[i]);
	}
	printf("(* within the budget)\n");
	advice_print(r);
}
