/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that means harm. It attaches like any other and tries one way of doing it; then it says on stdout
 * what it got. test_hostile.py runs every way beside a client that behaves, and compares with what is listed here.
 *
 * usage: hostile list        a line a way: NAME, what it must get, the counter that must rise ("-": none)
 *        hostile WAY         (the control socket is in $ATOLL_SOCKET; a second node is b)
 *        hostile good        the client that behaves: for each line on stdin says how many were answered so far,
 *                            how many wrongly, and the longest time without an answer, ms
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/hostile.h"

struct atoll_endpoint *ep;
char said[256];
unsigned outstanding;

void got(const char *text, unsigned n)
{
	snprintf(said, sizeof(said), text, n);
}

void give_up(const char *what, const char *why)
{
	printf("cannot try: %s: %s\n", what, why);
	exit(1);
}

struct atoll_endpoint *attach(uint32_t slots, uint32_t arena, int *rc)
{
	struct atoll_endpoint_conf conf = {.name = "hostile", .kind = CTL_KIND_CLIENT, .slots = slots, .arena = arena};
	struct atoll_endpoint *e = NULL;
	char err[256] = "";

	*rc = atoll_attach(&e, &conf, err, sizeof(err));
	return *rc ? NULL : e;
}

/* How its channel ended, or not. */
void see_end(void)
{
	uint64_t end = clock_now_ns() + WAIT_MS * 1000000ull;

	atoll_flush(ep);
	while (clock_now_ns() < end && !ep->lost) {
		struct timespec nap = {.tv_nsec = 1000000};

		endpoint_check_lost(ep, clock_now_ns());
		nanosleep(&nap, NULL);
	}
	got(ep->lost ? "closed" : "still there", 0);
}

void wake(void)
{
	uint64_t one = 1;

	if (write(ep->wake_fd, &one, sizeof(one)) < 0)
		give_up("wake", strerror(errno));
}

static const struct {
	const char *name;
	void (*run)(void);
	const char *gets, *counter;
} ways[] = {
	{"seq-jump", seq_jump, "closed", "bad_ring"},
	{"seq-back", seq_back, "closed", "bad_ring"},
	{"torn-slot", torn_slot, "closed", "bad_ring"},
	{"slots-none", slots_none, "closed", "bad_ring"},
	{"slots-many", slots_many, "closed", "bad_ring"},
	{"bad-magic", bad_magic, "closed", "poisoned"},
	{"bad-length", bad_length, "closed", "bad_ring"},
	{"payload-far", payload_far, "closed", "bad_ring"},
	{"payload-crooked", payload_crooked, "closed", "bad_ring"},
	{"wrapped-tail", wrapped_tail, "closed", "bad_ring"},
	{"consumed-ahead", consumed_ahead, "closed", "bad_ring"},
	{"consumed-bytes", consumed_bytes, "closed", "bad_ring"},
	{"rewrite-published", rewrite_published, "done", "-"},
	{"forged-source", forged_source, "OK", "forged_source"},
	{"forged-reply", forged_reply, "OK", "bad_reply"},
	{"forged-handle", forged_handle, "BAD_HANDLE", "refused.bad_handle"},
	{"bad-opcode", bad_opcode, "BAD_MESSAGE", "refused.bad_message"},
	{"link-operation", link_operation, "BAD_MESSAGE", "refused.bad_message"},
	{"fence-others", fence_others, "NO_RIGHT", "refused.no_right"},
	{"watch-others", watch_others, "NO_RIGHT", "refused.no_right"},
	{"grant-others", grant_others, "BAD_HANDLE", "refused.bad_handle"},
	{"revoke-others", revoke_others, "BAD_HANDLE", "refused.bad_handle"},
	{"no-lane", no_lane, "BAD_HANDLE", "refused.bad_handle"},
	{"no-region", no_region, "BAD_HANDLE", "refused.bad_handle"},
	{"past-the-end", past_the_end, "RANGE", "refused.range"},
	{"mixed-chain", mixed_chain, "closed", "bad_verb"},
	{"punch-holes", punch_holes, "done", "-"},
	{"all-endpoints", all_endpoints, "LIMIT", "quota.endpoints"},
	{"all-rings", all_rings, "LIMIT", "quota.rings"},
	{"all-connections", all_connections, "hung up", "quota.connections"},
	{"all-lanes", all_lanes, "LIMIT", "quota.lanes"},
	{"all-lanes-away", all_lanes_away, "LIMIT", "quota.lanes"},
	{"all-regions", all_regions, "LIMIT", "quota.regions"},
	{"all-memory", all_memory, "LIMIT", "quota.regions"},
	{"all-requests", all_requests, "LIMIT", "quota.requests"},
	{"all-credits", all_credits, "AGAIN", "quota.credits"},
	{"all-chains", all_chains, "all ended", "quota.chains"},
	{"all-handles", all_handles, "LIMIT", "refused.limit"},
	{"never-reads", never_reads, "waits", "stalls"},
	{"wake-storm", wake_storm, "OK", "-"},
	{"blocking-wakes", blocking_wakes, "OK", "-"},
	{"closes-all", closes_all, "closed", "closed"},
	{"computes", computes, "done", "-"},
	{"attach-storm", attach_storm, "done", "attached"},
	{"half-message", half_message, "hung up", "control.malformed"},
	{"long-message", long_message, "hung up", "control.malformed"},
	{"bad-field", bad_field, "BAD_MESSAGE", "control.malformed"},
	{"descriptors", descriptors, "hung up", "control.malformed"},
	{"many-descriptors", many_descriptors, "hung up", "control.malformed"},
	{"own-memory", own_memory, "hung up", "control.malformed"},
	{"slow-sender", slow_sender, "hung up", "control.malformed"},
	{"never-reads-answers", never_reads_answers, "hung up", "-"},
	{"other-regions", other_regions, "NOT_FOUND", "control.refused"},
	{"frees-others", frees_others, "NOT_FOUND", "control.refused"},
	{"plays-supervisor", plays_supervisor, "DENIED", "control.refused"},
	{"takes-name", takes_name, "DENIED", "control.refused"},
	{"reads-trace", reads_trace, "DENIED", "control.refused"},
};

/* ---------------------------------------------------------------- the one that behaves */

static uint64_t answered, wrong, longest_ns, last_ns;

static void good_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	uint64_t now = clock_now_ns();

	(void)ctx;
	if (m->status != STATUS_OK || m->arg[0] != cookie || m->length != 8 || memcmp(payload, &cookie, 8))
		wrong++;
	answered++;
	outstanding--;
	if (now - last_ns > longest_ns)
		longest_ns = now - last_ns;
	last_ns = now;
}

static void good(void)
{
	static const struct atoll_handlers handlers = {.reply = good_reply};
	struct atoll_handle h[2] = {service("echo"), service("b/echo")};
	struct pollfd in = {.fd = 0, .events = POLLIN};
	uint64_t next = 0;
	char line[8];

	atoll_set_handlers(ep, &handlers, NULL);
	last_ns = clock_now_ns();
	for (;;) {
		struct proto_msg m = {.opcode = OP_ECHO_ECHO, .nargs = 1, .length = 8, .max_reply = 8};

		while (outstanding < 8) {
			m.arg[0] = ++next;
			if (atoll_request(ep, h[next & 1], &m, &next, next))
				break;
			outstanding++;
		}
		if (atoll_poll(ep, 64) < 0)
			give_up("poll", "its channel has ended");
		if (next % 64 == 0 || outstanding == 8)
			atoll_idle(ep, 1000000);
		if (poll(&in, 1, 0) <= 0)
			continue;
		if (read(0, line, 1) <= 0)
			return;
		printf("%llu %llu %llu\n", (unsigned long long)answered, (unsigned long long)wrong,
		       (unsigned long long)(longest_ns / 1000000));
		fflush(stdout);
		longest_ns = 0;
	}
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "list";
	int rc;

	if (!strcmp(way, "list")) {
		for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
			printf("%s\t%s\t%s\n", ways[i].name, ways[i].gets, ways[i].counter);
		return 0;
	}
	ep = attach(0, 0, &rc);
	if (!ep)
		give_up("attach", strerror(-rc));
	if (!strcmp(way, "good")) {
		good();
		return 0;
	}
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(ways[i].name, way)) {
			ways[i].run();
			printf("%s\n", said);
			return 0;
		}
	give_up(way, "there is no such way");
	return 1;
}
