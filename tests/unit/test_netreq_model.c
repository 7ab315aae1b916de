/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tools/netreq/sim.h"
#include "tools/netreq/synth.h"

/* A trace of the calls given, by hand. */
static struct trace of(struct trace_call *calls, size_t n)
{
	static char name[1][TRACE_NAME_MAX + 1] = {"f"};
	struct trace t = {.calls = calls, .ncalls = n, .names = name, .nnames = 1, .threads = 1, .streams = 1};

	for (size_t i = 0; i < n; i++) {
		t.threads = calls[i].thread >= t.threads ? calls[i].thread + 1u : t.threads;
		t.streams = calls[i].stream >= t.streams ? calls[i].stream + 1u : t.streams;
	}
	return t;
}

static const struct net bare = {.packet_payload = 4096, .chunk_bytes = 8192};

static double total(const struct trace *t, const struct net *net)
{
	struct model m;

	assert_int_equal(model_run(t, net, 0, NULL, &m), 0);
	return m.total_ns;
}

static double simulated(const struct trace *t, const struct net *net)
{
	struct sim_conf conf = {.traces = t, .same = true, .clients = 1, .net = *net};
	static struct sim_result r;

	assert_int_equal(sim_run(&conf, &r), 0);
	return r.total_ns[0];
}

#define BOTH(t, net, ns) \
	do { \
		assert_float_equal(total(t, net), ns, 0.01); \
		assert_float_equal(simulated(t, net), ns, 0.01); \
	} while (0)

static void a_question_costs_one_round_trip(void **state)
{
	struct trace_call c[] = {{.class = TRACE_SYNC, .gap_ns = 100, .cpu_ns = 50}};
	struct trace t = of(c, 1);
	struct net net = bare;

	(void)state;
	net.rtt_ns = 10000;
	net.push_ns = 300;
	net.serve_ns = 200;
	BOTH(&t, &net, 100 + 300 + 10000 + 200 + 50);
	assert_float_equal(total(&t, NULL), 150, 0.01);
}

/* Outstanding requests: the way through the network is travelled by all at once. */
static void pushed_calls_share_the_way(void **state)
{
	struct trace_call c[101];
	struct trace t = of(c, 101);
	struct net net = bare;

	(void)state;
	for (int i = 0; i < 100; i++)
		c[i] = (struct trace_call){.class = TRACE_ASYNC, .device_ns = 10};
	c[100] = (struct trace_call){.class = TRACE_SYNC, .flags = TRACE_WAITS};
	t = of(c, 101);
	net.rtt_ns = 20000;
	net.push_ns = 100;
	/* 101 pushes, there, the last is served at once, back */
	BOTH(&t, &net, 101 * 100 + 20000);
	/* without outstanding requests each waits for itself */
	struct model m;

	assert_int_equal(model_run(&t, &net, MODEL_ALL_SYNC, NULL, &m), 0);
	assert_float_equal(m.total_ns, 101 * (100 + 20000), 0.01);
}

static void a_window_of_messages_bounds_them(void **state)
{
	struct trace_call c[8];
	struct trace t = of(c, 8);
	struct net net = bare;

	(void)state;
	for (int i = 0; i < 8; i++)
		c[i] = (struct trace_call){.class = i < 7 ? TRACE_ASYNC : TRACE_SYNC};
	t = of(c, 8);
	net.rtt_ns = 1000;
	net.window = 2;
	BOTH(&t, &net, 4 * 1000);
}

static void bytes_take_their_time_on_each_wire(void **state)
{
	struct trace_call c[] = {{.class = TRACE_SYNC, .flags = TRACE_WAITS | TRACE_COPY, .bytes_out = 4000},
				 {.class = TRACE_SYNC, .flags = TRACE_WAITS | TRACE_COPY, .bytes_in = 4000}};
	struct trace t = of(c, 2);
	struct net net = bare;

	(void)state;
	net.gbps = 1; /* 8 ns a byte */
	net.rtt_ns = 1000;
	net.packet_bytes = 58;
	net.message_bytes = 64;
	BOTH(&t, &net, 2 * (1000 + 8 * (4000 + 64 + 58) + 8 * (64 + 58)));
}

static void a_stream_is_in_order_and_waits_for_others(void **state)
{
	struct trace_call c[] = {{.class = TRACE_ASYNC, .stream = 0, .device_ns = 5000},
				 {.class = TRACE_ASYNC, .stream = 1, .device_ns = 100, .after = 1},
				 {.class = TRACE_ASYNC, .stream = 2, .device_ns = 700},
				 {.class = TRACE_SYNC, .stream = 2, .flags = TRACE_WAITS},
				 {.class = TRACE_SYNC, .flags = TRACE_WAITS_ALL}};
	struct trace t = of(c, 4);

	(void)state;
	t.streams = 3;
	BOTH(&t, &bare, 5100);
	t = of(c, 5);
	BOTH(&t, &bare, 5100);
	c[2].device_ns = 9000;
	BOTH(&t, &bare, 9000);
	assert_float_equal(total(&t, NULL), 9000, 0.01);
}

static void one_device_slot_makes_streams_wait(void **state)
{
	struct trace_call c[] = {{.class = TRACE_ASYNC, .stream = 0, .device_ns = 5000},
				 {.class = TRACE_ASYNC, .stream = 1, .device_ns = 3000},
				 {.class = TRACE_SYNC, .flags = TRACE_WAITS_ALL}};
	struct trace t = of(c, 3);
	struct sim_conf conf = {.traces = &t, .same = true, .clients = 1, .net = bare, .slots = 1};
	static struct sim_result r;

	(void)state;
	assert_int_equal(sim_run(&conf, &r), 0);
	assert_float_equal(r.total_ns[0], 8000, 0.01);
	conf.clients = 3;
	assert_int_equal(sim_run(&conf, &r), 0);
	assert_float_equal(r.worst_ns, 24000, 0.01);
	assert_float_equal(r.device_busy, 1, 0.001);
}

static void clients_share_a_wire(void **state)
{
	struct trace_call c[] = {{.class = TRACE_SYNC, .bytes_out = 1000000}};
	struct trace t = of(c, 1);
	struct sim_conf conf = {.traces = &t, .same = true, .clients = 4, .net = bare};
	static struct sim_result r;
	double one;

	(void)state;
	conf.net.gbps = 10;
	one = simulated(&t, &conf.net);
	assert_int_equal(sim_run(&conf, &r), 0);
	assert_true(r.worst_ns > 3.99 * one && r.worst_ns < 4.01 * one);
	/* they take turns: nobody is done long before the others */
	for (unsigned i = 0; i < 4; i++)
		assert_true(r.total_ns[i] > 3.9 * one);
}

static void the_same_seed_is_the_same_run(void **state)
{
	struct trace t;
	struct sim_conf conf = {.traces = &t, .same = true, .clients = 5, .net = net_default, .slots = 1, .jitter = 0.2};
	static struct sim_result a, b, c;

	(void)state;
	assert_int_equal(synth_make(&t, "resnet18-train", 1, &synth_speeds_default), 0);
	conf.net.gbps = 1;
	conf.seed = 7;
	assert_int_equal(sim_run(&conf, &a), 0);
	assert_int_equal(sim_run(&conf, &b), 0);
	conf.seed = 8;
	assert_int_equal(sim_run(&conf, &c), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_true(a.total_ns[i] == b.total_ns[i]);
	assert_true(a.mean_ns != c.mean_ns);
	trace_free(&t);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The formula and the simulation, over many random programs and networks. */
static void formula_and_simulation_agree(void **state)
{
	static const struct synth_shape shapes[] = {
		{.calls = 600, .threads = 1, .streams = 1, .local = 0.3, .sync = 0.02, .waits = 0.01, .gap_ns = 3000,
		 .device_ns = 8000, .cpu_ns = 2000},
		{.calls = 600, .threads = 1, .streams = 1, .sync = 0.3, .waits = 0.02, .gap_ns = 2000, .device_ns = 1000,
		 .cpu_ns = 500},
		{.calls = 400, .threads = 1, .streams = 2, .sync = 0.02, .waits = 0.02, .copies_out = 0.1,
		 .copies_in = 0.05, .gap_ns = 5000, .device_ns = 5000, .cpu_ns = 1000, .copy_bytes = 100000},
		{.calls = 600, .threads = 1, .streams = 4, .sync = 0.01, .waits = 0.05, .after = 0.2, .copies_out = 0.02,
		 .gap_ns = 1000, .device_ns = 20000, .cpu_ns = 1000, .copy_bytes = 4000},
		{.calls = 600, .threads = 3, .streams = 3, .sync = 0.05, .waits = 0.05, .copies_out = 0.02,
		 .copies_in = 0.02, .gap_ns = 4000, .device_ns = 6000, .cpu_ns = 1000, .copy_bytes = 20000},
		{.calls = 2000, .threads = 1, .streams = 1, .waits = 0.002, .gap_ns = 100, .device_ns = 300, .cpu_ns = 50},
	};
	static const double rtts[] = {0, 5000, 20000, 100000}, rates[] = {0, 0.1, 1, 10, 100};
	enum { SEEDS = 10, N = 6 * 4 * 5 * SEEDS };
	static double errors[N];
	unsigned n = 0, seeds = getenv("ATOLL_TEST_FULL") ? SEEDS : 2;

	(void)state;
	for (unsigned s = 0; s < 6; s++)
		for (unsigned seed = 0; seed < seeds; seed++) {
			struct trace t;

			assert_int_equal(synth_random(&t, &shapes[s], seed * 1000 + s), 0);
			for (unsigned i = 0; i < 4; i++)
				for (unsigned k = 0; k < 5; k++) {
					struct net net = net_default;
					double a, b;

					net.rtt_ns = rtts[i];
					net.gbps = rates[k];
					a = total(&t, &net);
					b = simulated(&t, &net);
					errors[n++] = fabs(a - b) / b;
					if (getenv("ATOLL_VERBOSE") && errors[n - 1] > 0.05)
						print_message("shape %u seed %u rtt %g rate %g: %g %g (%.3f)\n", s, seed,
							      rtts[i], rates[k], a, b, errors[n - 1]);
				}
			trace_free(&t);
		}
	qsort(errors, n, sizeof(*errors), by_value);
	print_message("formula against simulation, %u cases: median error %.4f, 99th percentile %.4f, worst %.4f\n", n,
		      errors[n / 2], errors[n * 99 / 100], errors[n - 1]);
	assert_true(errors[n / 2] <= 0.01);
	assert_true(errors[n - 1] <= 0.10);
}

/* What is printed as enough is enough, and a little less is not. */
static void the_need_is_the_least(void **state)
{
	const char *text = getenv("ATOLL_SEED");
	unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : 1, k = 0;

	(void)state;
	for (const struct synth_app *a = synth_apps; a->name; a++) {
		struct net net = net_default;
		struct trace t;
		struct need n;

		if (!getenv("ATOLL_TEST_FULL") && (k++ - seed) % 4) /* each takes a second or two */
			continue;
		print_message("%s (seed %u)\n", a->name, seed);
		assert_int_equal(synth_make(&t, a->name, 2, &synth_speeds_default), 0);
		assert_int_equal(need_find(&t, &net, 0.05, -1, 0, MODEL_LOCAL, &n), 0);
		assert_true(n.possible);
		assert_true(n.rtt_ns > 0 && n.gbps > 0);
		net.rtt_ns = n.rtt_ns;
		net.gbps = n.gbps;
		assert_true(need_overhead(&t, &net, n.local_ns, MODEL_LOCAL) <= 0.05);
		net.gbps = n.gbps * 0.98;
		assert_true(need_overhead(&t, &net, n.local_ns, MODEL_LOCAL) > 0.05);
		net.rtt_ns = n.rtt_max_ns * 1.02;
		net.gbps = 0;
		assert_true(need_overhead(&t, &net, n.local_ns, MODEL_LOCAL) > 0.05);
		trace_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_costs_one_round_trip),
		cmocka_unit_test(pushed_calls_share_the_way),
		cmocka_unit_test(a_window_of_messages_bounds_them),
		cmocka_unit_test(bytes_take_their_time_on_each_wire),
		cmocka_unit_test(a_stream_is_in_order_and_waits_for_others),
		cmocka_unit_test(one_device_slot_makes_streams_wait),
		cmocka_unit_test(clients_share_a_wire),
		cmocka_unit_test(the_same_seed_is_the_same_run),
		cmocka_unit_test(formula_and_simulation_agree),
		cmocka_unit_test(the_need_is_the_least),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
