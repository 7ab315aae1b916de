/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the model (model.h) each client and each shard has cores of its own, and what is found is what the protocol leaves
 * of them. Its costs are this machine's: a dataplane does some 0.9 million READs a second, and 2.2 GB/s. On the
 * machine all shards are in node b, whose dataplane has one core, and the client shares another one with its own: there
 * is nothing for a second shard to use, and the figures say what being spread costs.
 */
#include "tools/bench/index_scaling.h"

#include <stdio.h>
#include <string.h>

#include "tools/bench/index_clients.h"
#include "tools/bench/model.h"
#include "tools/bench/ycsb_run.h"

enum {
	RECORDS = 4000,
	HERE_WINDOW = 32,
	CLIENTS = 8,
	WINDOW = 16,
};

static const unsigned counts[] = {1, 2, 4};

static const struct model_cost cost = {.verb_ns = 1000, .byte_ns = 0.45, .chain_ns = 400, .wire_ns = 1000};

void scaling_services(const struct bench *b, char *sections, size_t size)
{
	size_t at = strlen(sections);

	for (unsigned c = 0; c < 3; c++) {
		for (unsigned i = 0; i < counts[c] && at < size; i++)
			at += (size_t)snprintf(sections + at, size - at,
					       "\n[service of%u-%u]\nexec = index-shard\nargs = --entries 20000 --heap-mib 128\n"
					       "core = %d\n", counts[c], i, b->core[1]);
		if (at < size)
			at += (size_t)snprintf(sections + at, size - at, "\n[cluster of%u]\nmembers =", counts[c]);
		for (unsigned i = 0; i < counts[c] && at < size; i++)
			at += (size_t)snprintf(sections + at, size - at, " b/of%u-%u", counts[c], i);
		if (at < size)
			at += (size_t)snprintf(sections + at, size - at, "\n");
	}
}

/* What is used most, if it is used up; else all wait for the way there and back. */
static const char *bottleneck(const struct model_result *r)
{
	const double enough = 0.9;

	if (r->shard >= enough && r->shard >= r->node)
		return r->idlest >= enough ? "the dataplanes of the shards' nodes"
		       : r->idlest >= 0.6  ? "the dataplane of the busiest shard's node"
					   : "the dataplane of the one shard that has the most popular record";
	if (r->node >= enough)
		return "the dataplane of the clients' nodes";
	if (r->client >= enough)
		return "the clients' cores";
	return r->shard > 0.75 ? "uneven shares: the busiest shard's dataplane now and then, else the way there and back"
			       : "the way there and back: more operations in flight would go";
}

static int model_part(struct bench *b)
{
	static const char *const names[] = {"A", "C"};
	uint64_t ops = b->quick ? 40000 : 200000;
	char key[64];

	for (int reads = 0; reads < 2; reads++)
		for (unsigned c = 0; c < 3; c++) {
			struct model_result r;
			int rc = model_run(&cost, counts[c], CLIENTS, WINDOW, ops, reads, &r);

			if (rc)
				return rc;
			snprintf(key, sizeof(key), "index.scaling.model_%s.%u", names[reads], counts[c]);
			result_one(key, r.rate, "op/s", 0);
			snprintf(key, sizeof(key), "index.scaling.model_%s_shard_busy.%u", names[reads], counts[c]);
			result_one(key, r.shard, "of the time", 0);
			snprintf(key, sizeof(key), "index.scaling.model_%s_idlest_shard_busy.%u", names[reads], counts[c]);
			result_one(key, r.idlest, "of the time", 0);
			snprintf(key, sizeof(key), "index.scaling.model_%s_bottleneck.%u", names[reads], counts[c]);
			result_text(key, bottleneck(&r));
		}
	return 0;
}

static double busy_turns(struct bench *b, const struct nodes *n, int side, double *all)
{
	static char text[1 << 17];
	const char *at;
	double busy = 0;

	*all = 0;
	if (nodes_status(b, n, side, text, sizeof(text)))
		return 0;
	at = strstr(text, "\"loop.turns\": ");
	if (!at || sscanf(at, "\"loop.turns\": %lf", all) != 1)
		return 0;
	at = strstr(text, "\"loop.busy_turns\": ");
	return at && sscanf(at, "\"loop.busy_turns\": %lf", &busy) == 1 ? busy : 0;
}

static int here_part(struct bench *b, const struct nodes *n, const struct atoll_index_options *options)
{
	uint64_t ns = b->quick ? 60000000 : 300000000;
	struct atoll_index_options o = *options;
	struct ycsb_table t[3] = {{.name = "of1"}, {.name = "of2"}, {.name = "of4"}};
	struct rounds rate[3] = {{{0}, 0}}, busy[3] = {{{0}, 0}};
	char key[64];
	int rc = 0;

	o.in_flight = HERE_WINDOW;
	for (unsigned c = 0; c < 3 && !rc; c++) {
		snprintf(key, sizeof(key), "b/of%u-0", counts[c]);
		rc = bench_index_open(&t[c].ix, key, &o);
		if (!rc)
			rc = ycsb_load(&t[c], RECORDS, HERE_WINDOW);
	}
	for (unsigned r = 0; r < b->rounds && !rc; r++)
		for (unsigned c = 0; c < 3 && !rc; c++) {
			double v = 0, all[2], turns[2];

			turns[0] = busy_turns(b, n, 1, &all[0]);
			rc = ycsb_run(&t[c], &ycsb_workloads[2], HERE_WINDOW, r + 1, ns, &v);
			turns[1] = busy_turns(b, n, 1, &all[1]);
			rounds_add(&rate[c], v);
			rounds_add(&busy[c], all[1] > all[0] ? (turns[1] - turns[0]) / (all[1] - all[0]) : 0);
		}
	for (unsigned c = 0; c < 3; c++)
		if (t[c].ix)
			atoll_index_close(t[c].ix);
	for (unsigned c = 0; c < 3 && !rc; c++) {
		snprintf(key, sizeof(key), "index.scaling.here_C.%u", counts[c]);
		result(key, &rate[c], "op/s", 0);
		snprintf(key, sizeof(key), "index.scaling.here_C_shard_busy.%u", counts[c]);
		result(key, &busy[c], "of its turns", 0);
		snprintf(key, sizeof(key), "index.scaling.here_C_bottleneck.%u", counts[c]);
		result_text(key, rounds_median(&busy[c]) >= 0.9 ? "the one core of the shards' dataplane"
							     : "the one core that the client and its dataplane share");
	}
	return rc;
}

int scaling_measure(struct bench *b, const struct nodes *n, const struct atoll_index_options *options)
{
	int rc = model_part(b);

	return rc ? rc : here_part(b, n, options);
}
