/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>

#include "tools/netreq/model.h"

enum { STEPS = 40 }; /* of a bisection: to a relative 1e-9 of where it starts */

#define RTT_MAX_NS 1e9 /* nobody asks for a second */
#define GBPS_MAX 1e5
#define GBPS_MIN 1e-6

double need_overhead(const struct trace *t, const struct net *net, double local_ns, unsigned change)
{
	struct model m;
	int rc = model_run(t, net, change, NULL, &m);

	if (rc)
		return rc - 1;
	return local_ns > 0 ? m.total_ns / local_ns - 1 : 0;
}

/* Rounded away from what would not do, so that the figure printed is one that does. */
static double round_digits(double v, bool up)
{
	double unit;

	if (!(v > 0) || isinf(v))
		return v;
	unit = pow(10, floor(log10(v)) - 2);
	return (up ? ceil(v / unit) : floor(v / unit)) * unit;
}

static bool fits(const struct trace *t, const struct net *net, double local_ns, double budget, unsigned change)
{
	double o = need_overhead(t, net, local_ns, change);

	return o >= -1 && o <= budget;
}

double need_gbps(const struct trace *t, const struct net *base, double rtt_ns, double local_ns, double budget,
		 unsigned change)
{
	struct net net = *base;
	double low = log(GBPS_MIN), high = log(GBPS_MAX);

	net.rtt_ns = rtt_ns;
	net.gbps = 0;
	if (!fits(t, &net, local_ns, budget, change))
		return INFINITY;
	net.gbps = GBPS_MIN;
	if (fits(t, &net, local_ns, budget, change))
		return 0;
	for (int i = 0; i < STEPS; i++) {
		double mid = (low + high) / 2;

		net.gbps = exp(mid);
		if (fits(t, &net, local_ns, budget, change))
			high = mid;
		else
			low = mid;
	}
	return high > log(GBPS_MAX) - 1e-6 ? INFINITY : round_digits(exp(high), true);
}

static double longest_rtt(const struct trace *t, const struct net *base, double gbps, double local_ns, double budget,
			  unsigned change)
{
	struct net net = *base;
	double low = 0, high = RTT_MAX_NS;

	net.gbps = gbps;
	net.rtt_ns = high;
	if (fits(t, &net, local_ns, budget, change))
		return INFINITY;
	net.rtt_ns = 0;
	if (!fits(t, &net, local_ns, budget, change))
		return -1;
	for (int i = 0; i < STEPS; i++) {
		net.rtt_ns = (low + high) / 2;
		if (fits(t, &net, local_ns, budget, change))
			low = net.rtt_ns;
		else
			high = net.rtt_ns;
	}
	return round_digits(low, false);
}

int need_find(const struct trace *t, const struct net *base, double budget, double rtt_ns, double gbps,
	      unsigned change, struct need *out)
{
	struct net net = *base;
	struct model local;
	int rc = model_run(t, NULL, change, NULL, &local);

	if (rc)
		return rc;
	*out = (struct need){.budget = budget, .local_ns = local.total_ns};
	net.rtt_ns = net.gbps = 0;
	out->floor = need_overhead(t, &net, local.total_ns, change);
	if (out->floor < -1)
		return -ENOMEM;
	out->possible = out->floor <= budget;
	out->rtt_max_ns = longest_rtt(t, base, 0, local.total_ns, budget, change);
	out->gbps_min = need_gbps(t, base, 0, local.total_ns, budget, change);
	if (gbps > 0) {
		out->gbps = gbps;
		out->rtt_ns = rtt_ns >= 0 ? rtt_ns : longest_rtt(t, base, gbps, local.total_ns, budget, change);
		out->possible = out->possible && out->rtt_ns >= 0;
	} else {
		if (rtt_ns >= 0) {
			out->rtt_ns = rtt_ns;
		} else {
			/* what is left above the floor, half for delay and half for bandwidth */
			double half = out->floor + (budget - out->floor) / 2;

			out->rtt_ns = longest_rtt(t, base, 0, local.total_ns, half, change);
		}
		out->gbps = out->rtt_ns >= 0 ? need_gbps(t, base, isinf(out->rtt_ns) ? RTT_MAX_NS : out->rtt_ns,
							 local.total_ns, budget, change)
					     : INFINITY;
		out->possible = out->possible && out->rtt_ns >= 0 && !isinf(out->gbps);
	}
	net = *base;
	net.rtt_ns = isinf(out->rtt_ns) ? RTT_MAX_NS : out->rtt_ns;
	net.gbps = out->gbps == 0 ? GBPS_MIN : isinf(out->gbps) ? 0 : out->gbps;
	out->overhead = need_overhead(t, &net, local.total_ns, change);
	return 0;
}
