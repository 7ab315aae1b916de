/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index beside redis-server on a unix socket: one client, 16 operations in flight, records of YCSB's size, in
 * turn. redis-benchmark has no mixed load, so a workload of theirs is made of the rates of GET and SET by the shares of
 * the workload; its keys are uniform, ours are zipf's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/index_clients.h"
#include "tools/bench/rival.h"
#include "tools/bench/ycsb_run.h"

enum { RECORDS = 10000, WINDOW = 16, OVER = 3 /* workloads A, B, C */ };

static int ask(struct bench *b, const char *path, const char *what, unsigned n, double *rate)
{
	char client[320], text[RIVAL_TEXT_MAX], mark[16];
	struct rival_pair p = {.client = client, .patience_ms = 15000};
	const char *at;
	int rc;

	snprintf(client, sizeof(client), "redis-benchmark -s %s -c 1 -P %d -d %d -r %d -n %u -t %s --csv", path, WINDOW,
		 YCSB_VALUE, RECORDS, n, what);
	rc = rival_ask(b, &p, text);
	if (rc)
		return rc;
	snprintf(mark, sizeof(mark), "\"%s\",\"", strcmp(what, "get") ? "SET" : "GET");
	at = strstr(text, mark);
	*rate = at ? strtod(at + strlen(mark), NULL) : 0;
	return *rate > 0 ? 0 : -EPROTO;
}

static int round_run(struct bench *b, struct ycsb_table *t, const char *path, unsigned round, struct rounds over[OVER])
{
	unsigned n = b->quick ? 20000 : 100000;
	double get, set, ours[OVER];
	int rc = ask(b, path, "get", n, &get);

	if (!rc)
		rc = ask(b, path, "set", n, &set);
	for (unsigned w = 0; w < OVER && !rc; w++)
		rc = ycsb_run(t, &ycsb_workloads[w], WINDOW, round + 1, b->quick ? 100000000 : 300000000, &ours[w]);
	for (unsigned w = 0; w < OVER && !rc; w++) {
		double reads = ycsb_workloads[w].percent[YCSB_READ] / 100.0;

		rounds_add(&over[w], ours[w] * (reads / get + (1 - reads) / set));
	}
	return rc;
}

int redis_measure(struct bench *b, const struct nodes *n, const char *target, const struct atoll_index_options *options)
{
	char server[512], path[128];
	struct rival_pair p = {.server = server, .path = path};
	struct ycsb_table t = {.name = "redis"};
	struct rounds over[OVER] = {{{0}, 0}};
	double rate;
	pid_t pid;
	int rc;

	if (!rival_there("redis-server") || !rival_there("redis-benchmark")) {
		result_text("index.over_redis_is", "not measured: redis-server and redis-benchmark are not both installed");
		return 0;
	}
	snprintf(path, sizeof(path), "%s/redis.sock", n->dir);
	snprintf(server, sizeof(server),
		 "redis-server --port 0 --unixsocket %s --unixsocketperm 700 --appendonly no --daemonize no --dir %s", path,
		 n->dir);
	pid = rival_start(b, &p);
	if (pid < 0)
		return (int)pid;
	rc = ask(b, path, "set", RECORDS * 4, &rate);
	if (!rc)
		rc = bench_index_open(&t.ix, target, options);
	if (!rc)
		rc = ycsb_load(&t, RECORDS, WINDOW);
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = round_run(b, &t, path, i, over);
	for (unsigned w = 0; w < OVER && !rc; w++) {
		char key[32];

		snprintf(key, sizeof(key), "index.over_redis.%s", ycsb_workloads[w].name);
		result(key, &over[w], "", -1.5);
	}
	if (t.ix)
		atoll_index_close(t.ix);
	rival_end(pid);
	return rc;
}
