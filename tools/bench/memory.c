/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_request(void *ctx, const struct proto_msg *m, const void *payload)
{
	struct memory_service *s = ctx;
	struct proto_msg r = {.opcode = m->opcode, .nargs = 1, .arg = {m->arg[0]}};

	(void)payload;
	if (m->opcode == OP_MEMORY_SILENCE)
		return;
	if (m->opcode == OP_MEMORY_OPEN) {
		struct proto_msg g = {.opcode = OP_DP_GRANT,
				      .nargs = 5,
				      .arg = {s->region.slot, s->region.gen, RIGHT_READ | RIGHT_WRITE,
					      m->req_id, 1}};

		atoll_request(s->ep, ATOLL_DATAPLANE, &g, NULL, 0);
	}
	atoll_reply(s->ep, m->req_id, &r, NULL);
}

void memory_bind(struct memory_service *s, struct atoll_endpoint *ep, struct atoll_handle region)
{
	static const struct atoll_handlers handlers = {.request = on_request};

	s->ep = ep;
	s->region = region;
	atoll_set_handlers(ep, &handlers, s);
}

struct start {
	const char *socket, *name;
	uint32_t *ready;
};

static void memory_child(void *arg)
{
	struct start *st = arg;
	struct atoll_endpoint_conf conf = {
		.socket = st->socket, .name = st->name, .kind = CTL_KIND_SERVICE};
	struct memory_service s;
	struct atoll_endpoint *ep;
	struct atoll_region region;
	char err[256] = "";

	if (atoll_attach(&ep, &conf, err, sizeof(err)) ||
	    atoll_region_alloc(ep, MEMORY_REGION, 0, &region, err, sizeof(err))) {
		fprintf(stderr, "atoll-bench: %s\n", err);
		_exit(1);
	}
	memset(region.base, 2, MEMORY_REGION);
	memory_bind(&s, ep, region.handle);
	__atomic_store_n(st->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		int n = atoll_poll(ep, 64);

		if (n < 0)
			_exit(1);
		if (n == 0)
			atoll_idle(ep, 10000000);
	}
}

pid_t memory_start(struct bench *b, const struct nodes *n, const char *name)
{
	static uint32_t *ready;
	struct start st = {.socket = n->socket[1], .name = name};
	pid_t pid;
	int rc;

	if (!ready)
		ready = bench_shared(4096);
	*ready = 0;
	st.ready = ready;
	pid = bench_fork(b->core[1], memory_child, &st);
	rc = bench_wait(ready);
	if (rc) {
		bench_kill(pid);
		return rc;
	}
	return pid;
}
