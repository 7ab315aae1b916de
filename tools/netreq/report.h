/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - what netreq says of a trace: computed once, printed as text, JSON or a plot.
 */
#ifndef ATOLL_TOOLS_NETREQ_REPORT_H
#define ATOLL_TOOLS_NETREQ_REPORT_H

#include "tools/netreq/sim.h"

enum { REPORT_RTTS = 8, REPORT_RATES = 7, REPORT_TOP = 5 };

extern const double report_rtts_us[REPORT_RTTS], report_gbps[REPORT_RATES];

struct report_conf {
	struct net net; /* costs */
	double budget, rtt_ns, gbps; /* as need_find has them */
	unsigned clients, slots;
	double jitter;
	uint64_t seed;
};

/* A change to the program, and what it would need then. */
struct report_change {
	unsigned change;
	uint64_t calls; /* that it concerns */
	struct need need;
};

struct report_top {
	unsigned name;
	struct model_name sum;
};

struct report {
	const struct trace *t;
	struct report_conf conf;
	uint64_t calls[3]; /* by class */
	struct need need;
	double all_sync;      /* overhead at the need's network without outstanding requests */
	double simulated;     /* overhead there by simulation, one client */
	int sim_error;	      /* why there is none */
	struct sim_result sim; /* of conf.clients */
	double overhead[REPORT_RTTS][REPORT_RATES];
	double least_gbps[REPORT_RTTS], least_changed[REPORT_RTTS]; /* INFINITY: not at this round trip */
	struct report_change local, async, both;
	struct report_top top[REPORT_TOP]; /* functions that are waited for longest */
	unsigned ntop;
};

/* 0 or -ENOMEM. Takes many passes over the trace: about a microsecond for each call and figure. */
int report_make(struct report *r, const struct trace *t, const struct report_conf *conf);
void report_text(const struct report *r);
void report_json(const struct report *r);
/* A plot of the least bandwidth over the round trip, in a file whose name ends in .png or .svg; 0, -ENOENT (no
 * gnuplot), -EINVAL (the name), -EIO. */
int report_plot(const struct report *r, const char *path);
/* The same in characters. */
void report_plot_text(const struct report *r);

#endif
