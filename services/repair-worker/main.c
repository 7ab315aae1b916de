/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair-worker - finishes what dead clients have left in an index.
 *
 * It is a client of the index like any other, and does with verbs what any of them does that is held up
 * by the dead (clients/index/race_repair.c); it does it everywhere, and before somebody is held up. It
 * looks at the shard's count of deaths, and walks through the table when that has risen. It may be killed
 * at any instruction, and any number of it may run: what is half repaired has the shape of what is not
 * repaired at all. It keeps its connection open; where it is lost, it comes back under a new identity.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/index/atoll_index.h"
#include "ipc/idle.h"
#include "ipc/service.h"

enum {
	AGAIN_NS = 50000000, /* between tries to connect */
	LATER_NS = 1000000000, /* and to give back what the shard did not yet take */
};

static const char usage[] =
	"usage: repair-worker [OPTION...]\n"
	"Repairs what dead clients leave in a hash index, and gives their memory back. Started by svcctl, as a\n"
	"service of any node.\n"
	"  --target NAME    the shard, NODE/SERVICE or SERVICE on this node (index-shard)\n"
	"  --interval-ms N  between looks whether somebody has died, 1 to 60000 (2)\n"
	"  --help           this text\n";

struct worker {
	struct atoll_index *ix;
	const char *target;
	uint64_t interval_ns;
	uint64_t seen; /* deaths, when the last walk began that came to its end */
	bool walked;   /* one has, on this connection */
	uint64_t recycle_at; /* memory of the dead is to be looked for, or to be given back; 0 not */
	bool said;     /* that the index is not reached */
};

static void connect_to(struct worker *w)
{
	const struct atoll_index_options options = {.name = "repair-worker", .in_flight = 1, .shard_only = true};
	const char *why = "";
	int rc = w->ix ? atoll_index_reconnect(w->ix, &why)
		       : atoll_index_open(&w->ix, w->target, &options, &why);

	if (rc == -ESTALE) { /* another index has taken its place: begin anew with that */
		atoll_index_close(w->ix);
		w->ix = NULL;
	}
	if (rc) {
		if (!w->said)
			printf("repair-worker: %s: not reached yet: %s\n", w->target, why);
		w->said = true;
		return;
	}
	printf("repair-worker: %s: reached\n", w->target);
	w->said = w->walked = false;
}

/* Gives back what is free in the chunks of the dead. 0 or negative errno. */
static int recycle(struct worker *w)
{
	struct atoll_index_recycled r;
	int rc;

	if (!w->recycle_at || clock_now_ns() < w->recycle_at)
		return 0;
	rc = atoll_index_recycle(w->ix, &r);
	if (rc == -EBADMSG)
		printf("repair-worker: %s: the index is damaged, so no memory of the dead is given back\n",
		       w->target);
	if (rc == -EBADMSG)
		w->recycle_at = 0;
	if (rc || r.waiting)
		return w->recycle_at ? rc : 0;
	w->recycle_at = r.later ? clock_now_ns() + LATER_NS : 0;
	if (r.given)
		printf("repair-worker: %s: %" PRIu64 " segments of the dead given back, %" PRIu64
		       " KiB of them free\n",
		       w->target, r.given, r.bytes >> 10);
	return 0;
}

/* Has somebody died since the last walk? Then walk. 0 or negative errno. */
static int look(struct worker *w)
{
	struct atoll_index_repaired r;
	uint64_t deaths, from;
	int rc = atoll_index_deaths(w->ix, &deaths);

	if (rc || (w->walked && deaths == w->seen))
		return rc ? rc : recycle(w);
	from = clock_now_ns();
	rc = atoll_index_repair(w->ix, &r);
	if (rc)
		return rc;
	w->seen = deaths;
	w->walked = true;
	w->recycle_at = 1;
	if (r.inserts + r.splits + r.locks + r.bad)
		printf("repair-worker: %s: %" PRIu64 " inserts taken back, %" PRIu64 " splits finished, %" PRIu64
		       " locks freed, %" PRIu64 " places damaged, in %.1f ms\n",
		       w->target, r.inserts, r.splits, r.locks, r.bad,
		       (double)(clock_now_ns() - from) / 1e6);
	return 0;
}

static void worker_timer(struct service *s)
{
	struct worker *w = s->state;
	int rc = 0;

	if (!w->ix || atoll_index_lost(w->ix)) {
		connect_to(w);
	} else {
		rc = look(w);
		while (!rc && atoll_index_poll(w->ix) > 0)
			;
	}
	if (rc && rc != -ENOTCONN)
		printf("repair-worker: %s: %s\n", w->target, strerror(-rc));
	s->timer_ns = clock_now_ns() +
		      (rc || !w->ix || atoll_index_lost(w->ix) ? AGAIN_NS : w->interval_ns);
}

static int options_read(struct worker *w, int argc, char **argv)
{
	static const struct option list[] = {{"target", 1, NULL, 't'},
					     {"interval-ms", 1, NULL, 'i'},
					     {"help", 0, NULL, 'h'},
					     {NULL, 0, NULL, 0}};
	unsigned long ms = 2;
	char *end = NULL;
	int c;

	w->target = "index-shard";
	while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (c) {
		case 't':
			w->target = optarg;
			break;
		case 'i':
			ms = strtoul(optarg, &end, 10);
			if (end == optarg || *end || optarg[0] == '-' || ms < 1 || ms > 60000) {
				fprintf(stderr,
					"repair-worker: --interval-ms wants a number from 1 to 60000, not "
					"\"%s\"\n",
					optarg);
				return -EINVAL;
			}
			break;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "repair-worker: what is %s?\n", argv[optind]);
		return -EINVAL;
	}
	w->interval_ns = ms * 1000000;
	return 0;
}

static int worker_init(struct service *s, int argc, char **argv)
{
	struct worker *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	s->state = w;
	rc = options_read(w, argc, argv);
	s->timer_ns = s->now_ns; /* the index may come up later than we do */
	return rc;
}

static void worker_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	(void)payload;
	service_reply(s, m, STATUS_UNSUPPORTED, NULL, 0, NULL, 0);
}

static void worker_fini(struct service *s)
{
	struct worker *w = s->state;

	if (w && w->ix)
		atoll_index_close(w->ix);
	free(w);
}

static const struct service_ops worker_ops = {
	.name = "repair-worker",
	.init = worker_init,
	.message = worker_message,
	.timer = worker_timer,
	.fini = worker_fini,
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return fputs(usage, stdout) < 0;
	return service_main(&worker_ops, argc, argv);
}
