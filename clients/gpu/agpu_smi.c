/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/gpu/agpu.h"
#include "ipc/endpoint.h"
#include "ipc/idle.h"
#include "proto/gpu_calls.h"

enum {
	ANSWER_MS = 5000,
	PINGS = 20,
	SESSIONS = 64,
};

struct state {
	uint64_t sessions, memory, leased;
	uint64_t round_trip_ns; /* the shortest of some */
	struct gpu_stat_record list[SESSIONS];
	unsigned count;
};

static int ask(struct atoll_endpoint *ep, struct atoll_handle h, uint64_t first, struct proto_msg *r, void *buffer)
{
	struct proto_msg m;
	int rc;

	proto_request_init(&m, OP_GPU_STAT);
	m.arg[ARG_GPU_STAT_FIRST] = first;
	m.nargs = 1;
	m.max_reply = PROTO_PAYLOAD_MAX;
	rc = atoll_call(ep, h, &m, NULL, r, buffer, ANSWER_MS);
	return rc ? rc : atoll_status_errno(r->status);
}

static int read_state(struct atoll_endpoint *ep, struct atoll_handle h, struct state *s)
{
	static uint8_t buffer[PROTO_PAYLOAD_MAX];
	struct proto_msg r;
	uint64_t next = 0;
	int rc;

	memset(s, 0, sizeof(*s));
	s->round_trip_ns = UINT64_MAX;
	for (int k = 0; k < PINGS; k++) {
		uint64_t t = clock_now_ns();

		rc = ask(ep, h, UINT32_MAX, &r, buffer);
		if (rc)
			return rc;
		t = clock_now_ns() - t;
		s->round_trip_ns = t < s->round_trip_ns ? t : s->round_trip_ns;
	}
	do {
		unsigned n;

		rc = ask(ep, h, next, &r, buffer);
		if (rc)
			return rc;
		n = r.length / (unsigned)sizeof(s->list[0]);
		if (n > SESSIONS - s->count)
			n = SESSIONS - s->count;
		memcpy(&s->list[s->count], buffer, n * sizeof(s->list[0]));
		s->count += n;
		s->sessions = r.arg[REPLY_GPU_STAT_SESSIONS];
		s->memory = r.arg[REPLY_GPU_STAT_MEMORY];
		s->leased = r.arg[REPLY_GPU_STAT_LEASED];
		next = r.arg[REPLY_GPU_STAT_NEXT];
	} while (next && s->count < SESSIONS);
	for (unsigned k = 0; k < s->count; k++)
		for (char *p = s->list[k].program; p < s->list[k].program + sizeof(s->list[k].program); p++) {
			if (p == s->list[k].program + sizeof(s->list[k].program) - 1)
				*p = 0;
			if (*p && ((unsigned char)*p < 32 || *p == '"' || *p == '\\' || *p == 127))
				*p = '?';
		}
	return 0;
}

static void print_text(const char *name, const struct state *s)
{
	printf("%s: %" PRIu64 " of %" PRIu64 " MiB leased, %" PRIu64 " session%s, round trip %.1f us\n", name,
	       s->leased >> 20, s->memory >> 20, s->sessions, s->sessions == 1 ? "" : "s",
	       (double)s->round_trip_ns / 1e3);
	if (s->count)
		printf("  %-8s %-20s %-10s %10s %12s %12s %8s %6s %9s %9s\n", "session", "program", "client", "MiB used",
		       "calls", "launches", "queued", "error", "busy s", "age s");
	for (unsigned k = 0; k < s->count; k++) {
		const struct gpu_stat_record *r = &s->list[k];
		char client[24];

		snprintf(client, sizeof(client), "%u/%u", r->source >> 24, r->source & 0xffffff);
		printf("  %-8u %-20s %-10s %10.1f %12" PRIu64 " %12" PRIu64 " %8" PRIu64 " %6u %9.1f %9.1f\n", r->session,
		       r->program, client, (double)r->used / 1048576.0, r->calls, r->launches, r->queued, r->error,
		       (double)r->busy_ns / 1e9, (double)r->age_ms / 1e3);
	}
}

static void print_json(const char *name, const struct state *s, bool first)
{
	printf("%s{\"device\": \"%s\", \"memory_bytes\": %" PRIu64 ", \"leased_bytes\": %" PRIu64
	       ", \"round_trip_us\": %.3f, \"sessions\": [",
	       first ? "" : ", ", name, s->memory, s->leased, (double)s->round_trip_ns / 1e3);
	for (unsigned k = 0; k < s->count; k++) {
		const struct gpu_stat_record *r = &s->list[k];

		printf("%s{\"session\": %u, \"program\": \"%s\", \"node\": %u, \"endpoint\": %u, \"pid\": %u, "
		       "\"error\": %u, \"leased_bytes\": %" PRIu64 ", \"used_bytes\": %" PRIu64 ", \"calls\": %" PRIu64
		       ", \"launches\": %" PRIu64 ", \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64
		       ", \"queued\": %" PRIu64 ", \"age_ms\": %" PRIu64
		       ", \"busy_ms\": %.3f}",
		       k ? ", " : "", r->session, r->program, r->source >> 24, r->source & 0xffffff, r->pid, r->error,
		       r->leased, r->used, r->calls, r->launches, r->bytes_in, r->bytes_out, r->queued, r->age_ms,
		       (double)r->busy_ns / 1e6);
	}
	printf("]}");
}

int agpu_smi(const char *list, bool json)
{
	struct atoll_endpoint_conf conf = {.name = "agpu", .kind = CTL_KIND_CLIENT};
	static struct state state;
	struct atoll_endpoint *ep;
	char text[1024], err[256] = "", *save = NULL;
	bool first = true;
	int rc = atoll_attach(&ep, &conf, err, sizeof(err)), status = 0;

	if (rc) {
		fprintf(stderr, "agpu: %s\n", err[0] ? err : strerror(-rc));
		return 1;
	}
	snprintf(text, sizeof(text), "%s", list);
	if (json)
		printf("[");
	for (char *name = strtok_r(text, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		struct atoll_handle h;
		uint32_t node;

		rc = atoll_lookup(ep, name, &h, &node, ANSWER_MS);
		if (!rc)
			rc = read_state(ep, h, &state);
		if (rc) {
			fprintf(stderr, "agpu: %s: %s\n", name,
				rc == -ENOENT ? "there is no such service; svcctl status tells what runs"
					      : strerror(-rc));
			status = 1;
			continue;
		}
		if (json)
			print_json(name, &state, first);
		else
			print_text(name, &state);
		first = false;
	}
	if (json)
		printf("]\n");
	atoll_detach(ep);
	return status;
}
