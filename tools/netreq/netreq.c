/* SPDX-License-Identifier: Apache-2.0 */
/* netreq - which network a program with a remote accelerator needs. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/netreq/replay.h"
#include "tools/netreq/report.h"
#include "tools/netreq/synth.h"

enum { PLOTS_MAX = 8 };

static const char usage[] =
	"Usage: netreq [OPTIONS] TRACE\n"
	"       netreq dump [--chrome] TRACE\n"
	"       netreq synth [--steps N] [--tflops N] NAME FILE | netreq synth --list\n"
	"       netreq replay [OPTIONS] TRACE\n"
	"\n"
	"Which round trip and bandwidth does the traced program need to run with its device in another host?\n"
	"\n"
	"  --budget-percent N   overhead allowed (5)\n"
	"  --rtt-us N           the round trip is given: the least bandwidth for it\n"
	"  --gbps N             the bandwidth is given: the longest round trip for it\n"
	"  --clients N          simulate that many clients (1)\n"
	"  --slots N            the device does so much at once (0: each stream by itself)\n"
	"  --jitter-percent N   in the simulation, gaps vary by so much (0)\n"
	"  --seed N             and are drawn from this (1)\n"
	"  --plot FILE          .png or .svg, by gnuplot; text: characters; may be repeated\n"
	"  --json               for programs\n"
	"  --chrome             dump for Chrome's trace viewer and Perfetto\n"
	"What sending costs (defaults in brackets):\n"
	"  --push-ns N          client's time for a message (300)\n"
	"  --serve-ns N         service's time for a message (300)\n"
	"  --local-ns N         a call that the client library answers (50)\n"
	"  --window N           messages without an answer (64; 0: any number)\n"
	"  --window-bytes N     bytes on the way in one direction (131072; 0: any number)\n"
	"  --message-bytes N    head of a message (128)\n"
	"  --packet-bytes N     heads of a packet (58)\n"
	"  --packet-payload N   what fits into one (4096)\n"
	"  --chunk-bytes N      data in a message (8192)\n"
	"Replay, over two real nodes in loops of their own:\n"
	"  --delay-us N         added to the round trip (0)\n"
	"  --gbps N             rate of the wire, 0: as fast as it goes (0)\n"
	"  --rounds N           the median of so many (3)\n"
	"  --minimum            at the least rate that keeps the budget with these nodes' costs, and at half of it\n"
	"  --cores A,B          to pin the two loops to (0,1)\n"
	"  --port shm|uring     how the nodes are joined (shm where there is DPDK)\n";

struct options {
	struct report_conf conf;
	struct replay_conf replay;
	const char *plots[PLOTS_MAX];
	unsigned nplots, steps;
	double delay_us;
	struct synth_speeds speeds;
	bool json, list, minimum, chrome;
};

static const struct option longs[] = {
	{"budget-percent", 1, NULL, 'b'}, {"rtt-us", 1, NULL, 'r'},	   {"gbps", 1, NULL, 'g'},
	{"clients", 1, NULL, 'c'},	  {"slots", 1, NULL, 's'},	   {"jitter-percent", 1, NULL, 'J'},
	{"seed", 1, NULL, 'S'},		  {"plot", 1, NULL, 'p'},	   {"json", 0, NULL, 'j'},
	{"push-ns", 1, NULL, 1},	  {"serve-ns", 1, NULL, 2},	   {"local-ns", 1, NULL, 3},
	{"window", 1, NULL, 4},		  {"window-bytes", 1, NULL, 5},	   {"message-bytes", 1, NULL, 6},
	{"packet-bytes", 1, NULL, 7},	  {"packet-payload", 1, NULL, 8}, {"chunk-bytes", 1, NULL, 9},
	{"delay-us", 1, NULL, 'd'},	  {"rounds", 1, NULL, 'n'},	   {"cores", 1, NULL, 'C'},
	{"port", 1, NULL, 'P'},		  {"steps", 1, NULL, 't'},	   {"tflops", 1, NULL, 'f'},
	{"list", 0, NULL, 'l'},		  {"help", 0, NULL, 'h'},	   {"minimum", 0, NULL, 'm'},
	{"chrome", 0, NULL, 'k'},
	{0},
};

static bool number(const char *s, double low, double high, double *out)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !(v >= low && v <= high)) {
		fprintf(stderr, "netreq: %s: must be a number from %g to %g\n", s, low, high);
		return false;
	}
	*out = v;
	return true;
}

static bool whole(const char *s, double low, double high, uint32_t *out)
{
	double v;

	if (!number(s, low, high, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool cores(const char *s, int core[2])
{
	if (sscanf(s, "%d,%d", &core[0], &core[1]) == 2 && core[0] >= 0 && core[1] >= 0)
		return true;
	fprintf(stderr, "netreq: --cores %s: must be two numbers, A,B\n", s);
	return false;
}

static bool take(struct options *o, int c)
{
	struct net *net = &o->conf.net;
	uint32_t u = 0;
	double v = 0;

	switch (c) {
	case 'b':
		if (!number(optarg, 0, 1e6, &v))
			return false;
		o->conf.budget = v / 100;
		return true;
	case 'r':
		if (!number(optarg, 0, 1e6, &v))
			return false;
		o->conf.rtt_ns = v * 1000;
		return true;
	case 'g':
		return number(optarg, 0, 1e5, &o->conf.gbps);
	case 'c':
		return whole(optarg, 1, SIM_CLIENTS_MAX, &o->conf.clients);
	case 's':
		return whole(optarg, 0, 1e6, &o->conf.slots);
	case 'J':
		if (!number(optarg, 0, 100, &v))
			return false;
		o->conf.jitter = v / 100;
		return true;
	case 'S':
		if (!whole(optarg, 0, 4294967295.0, &u))
			return false;
		o->conf.seed = u;
		return true;
	case 'p':
		if (o->nplots == PLOTS_MAX) {
			fprintf(stderr, "netreq: at most %d plots\n", PLOTS_MAX);
			return false;
		}
		o->plots[o->nplots++] = optarg;
		return true;
	case 'j':
		return o->json = true;
	case 'l':
		return o->list = true;
	case 1:
		return number(optarg, 0, 1e9, &net->push_ns);
	case 2:
		return number(optarg, 0, 1e9, &net->serve_ns);
	case 3:
		return number(optarg, 0, 1e9, &net->local_ns);
	case 4:
		return whole(optarg, 0, 1e6, &net->window);
	case 5:
		return whole(optarg, 0, 4e9, &net->window_bytes);
	case 6:
		return whole(optarg, 0, 65536, &net->message_bytes);
	case 7:
		return whole(optarg, 0, 65536, &net->packet_bytes);
	case 8:
		return whole(optarg, 64, 1e6, &net->packet_payload);
	case 9:
		return whole(optarg, 64, 1e9, &net->chunk_bytes);
	case 'd':
		return number(optarg, 0, 1e6, &o->delay_us);
	case 'n':
		return whole(optarg, 1, REPLAY_ROUNDS_MAX, &o->replay.rounds);
	case 'k':
		o->chrome = true;
		return true;
	case 'm':
		o->minimum = true;
		return true;
	case 'C':
		return cores(optarg, o->replay.core);
	case 'P':
		o->replay.port = optarg;
		return true;
	case 't':
		return whole(optarg, 1, 1e6, &o->steps);
	case 'f':
		return number(optarg, 0.001, 1e6, &o->speeds.tflops);
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		fputs("netreq: --help says what there is\n", stderr);
		return false;
	}
}

static int load(struct trace *t, const char *path)
{
	char err[256] = "";
	int rc = trace_load(t, path, err, sizeof(err));

	if (rc)
		fprintf(stderr, "netreq: %s: %s\n", path, err);
	else if (t->cut)
		fprintf(stderr, "netreq: %s: the trace was cut short; what is there is used\n", path);
	return rc;
}

static int run_report(const struct options *o, const char *path)
{
	static struct report r;
	struct trace t;
	int rc = load(&t, path), status = 0;

	if (rc)
		return 1;
	rc = report_make(&r, &t, &o->conf);
	if (rc) {
		fprintf(stderr, "netreq: %s: %s\n", path, strerror(-rc));
	} else if (o->json) {
		report_json(&r);
	} else {
		report_text(&r);
	}
	for (unsigned i = 0; i < o->nplots && !rc; i++) {
		bool text = !strcmp(o->plots[i], "text");
		int bad = text ? 0 : report_plot(&r, o->plots[i]);

		if (bad) {
			fprintf(stderr, "netreq: %s: %s\n", o->plots[i],
				bad == -ENOENT	 ? "there is no gnuplot, so the plot is in characters"
				: bad == -EINVAL ? "the name must end in .png or .svg, without quotes"
						 : "gnuplot did not make it");
			status = bad == -ENOENT ? status : 1;
		}
		if ((text || bad == -ENOENT) && !o->json)
			report_plot_text(&r);
	}
	trace_free(&t);
	return rc ? 1 : status;
}

static int run_dump(const struct options *o, const char *path)
{
	static const char *const classes[] = {"LOCAL", "ASYNC", "SYNC"};
	struct trace t;
	int rc;

	if (load(&t, path))
		return 1;
	if (o->chrome) {
		rc = trace_chrome(&t, stdout);
		trace_free(&t);
		if (rc)
			fprintf(stderr, "netreq: %s\n", strerror(-rc));
		return rc ? 1 : 0;
	}
	printf("# %s\n# %s\n# number at_ns thread stream class flags gap_ns cpu_ns device_ns bytes_out bytes_in after "
	       "function\n",
	       t.program, t.flags & TRACE_SYNTHETIC ? "synthetic" : "recorded");
	for (size_t i = 0; i < t.ncalls; i++) {
		const struct trace_call *c = &t.calls[i];

		printf("%zu %llu %u %u %s %#x %llu %u %llu %llu %llu ", i, (unsigned long long)c->at_ns, c->thread,
		       c->stream, classes[c->class], c->flags, (unsigned long long)c->gap_ns, c->cpu_ns,
		       (unsigned long long)c->device_ns, (unsigned long long)c->bytes_out,
		       (unsigned long long)c->bytes_in);
		if (c->after)
			printf("%llu", (unsigned long long)c->after - 1);
		else
			printf("-");
		printf(" %s\n", trace_call_name(&t, c));
	}
	trace_free(&t);
	return 0;
}

static int run_synth(const struct options *o, char **words, int n)
{
	struct trace t;
	int rc;

	if (o->list) {
		for (const struct synth_app *a = synth_apps; a->name; a++)
			printf("%-16s %s\n", a->name, a->text);
		return 0;
	}
	if (n != 2) {
		fputs("netreq: synth wants NAME and FILE; netreq synth --list names what there is\n", stderr);
		return 2;
	}
	rc = synth_make(&t, words[0], o->steps, &o->speeds);
	if (rc) {
		fprintf(stderr, "netreq: %s: %s\n", words[0],
			rc == -ENOENT ? "there is no such model; netreq synth --list names them" : strerror(-rc));
		return 1;
	}
	rc = synth_save(&t, words[1]);
	if (rc)
		fprintf(stderr, "netreq: %s: %s\n", words[1], strerror(-rc));
	trace_free(&t);
	return rc ? 1 : 0;
}

static int run_replay(struct options *o, const char *path)
{
	struct trace t;
	struct replay_result r;
	int rc;

	if (load(&t, path))
		return 1;
	o->replay.delay_ns = o->delay_us * 1000;
	o->replay.gbps = o->conf.gbps;
	o->replay.budget = o->minimum ? o->conf.budget : 0;
	rc = replay_run(&t, &o->replay, &r);
	if (rc) {
		fprintf(stderr, "netreq: replay: %s\n",
			rc == -ERANGE  ? "no rate keeps the overhead within the budget on these nodes"
			: rc == -EBUSY ? "others have the cores: what these nodes cost cannot be measured now"
				       : strerror(-rc));
	} else if (o->json && o->minimum) {
		printf("{\"gbps_min\": %.6g, \"budget\": %.4f, \"overhead_at_minimum\": %.6f, \"overhead_at_half\": %.6f, "
		       "\"disturbed\": %.4f, \"error\": %.6f, \"port\": \"%s\"}\n",
		       r.gbps_min, o->conf.budget, r.measured_ns / r.local_ns - 1, r.half_ns / r.local_ns - 1, r.disturbed,
		       r.error, r.port);
	} else if (o->json) {
		printf("{\"measured_ms\": %.6f, \"predicted_ms\": %.6f, \"simulated_ms\": %.6f, \"local_ms\": %.6f, "
		       "\"error\": %.6f, \"sim_error\": %.6f, \"disturbed\": %.4f, "
		       "\"base_rtt_us\": %.3f, \"push_ns\": %.1f, \"serve_ns\": %.1f, \"port\": \"%s\"}\n",
		       r.measured_ns / 1e6, r.predicted_ns / 1e6, r.simulated_ns / 1e6, r.local_ns / 1e6, r.error,
		       r.sim_error, r.disturbed, r.net.rtt_ns / 1000, r.net.push_ns, r.net.serve_ns, r.port);
	} else {
		printf("measured %.4g ms, predicted %.4g ms (off by %.1f%%), simulated %.4g ms (off by %.1f%%), %.4g ms with "
		       "the device in the same host: overhead %.1f%%\n",
		       r.measured_ns / 1e6, r.predicted_ns / 1e6, 100 * r.error, r.simulated_ns / 1e6, 100 * r.sim_error,
		       r.local_ns / 1e6, 100 * (r.measured_ns / r.local_ns - 1));
		if (o->minimum)
			printf("that was at %.3g Gb/s, the least rate for %.1f%%; at half of it the overhead was %.1f%%\n",
			       r.gbps_min, 100 * o->conf.budget, 100 * (r.half_ns / r.local_ns - 1));
		if (r.disturbed > 0)
			printf("no round went undisturbed: in the one measured, others had a loop's core for %.1f%% of the "
			       "time\n", 100 * r.disturbed);
		printf("round trip without what was added %.3g us, %.0f ns for a client to send, %.0f ns for the service "
		       "to take a message; over %s\n",
		       r.net.rtt_ns / 1000, r.net.push_ns, r.net.serve_ns, r.port);
	}
	trace_free(&t);
	return rc == -ENODEV ? 77 : rc == -EBUSY ? 75 : rc ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const char *const commands[] = {"dump", "synth", "replay"};
	struct options o = {.conf = {.net = net_default, .budget = 0.05, .rtt_ns = -1, .clients = 1, .seed = 1},
			    .replay = {.rounds = 3, .core = {0, 1}},
			    .steps = 10,
			    .speeds = synth_speeds_default};
	int c, command = -1;

	for (int i = 0; i < 3 && argc > 1; i++)
		if (!strcmp(argv[1], commands[i]))
			command = i;
	if (command >= 0) {
		argv++;
		argc--;
	}
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (!take(&o, c))
			return 2;
	if (command == 1)
		return run_synth(&o, argv + optind, argc - optind);
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (command == 0)
		return run_dump(&o, argv[optind]);
	return command == 2 ? run_replay(&o, argv[optind]) : run_report(&o, argv[optind]);
}
