/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgdump - what passes through a dataplane, live, one line a record.
 *
 * Asks the dataplane for its trace ring (ipc: CTL_OP_TRACE), maps it read-only, and prints what is written
 * from then on. The writer never waits: an entry that was overwritten before it was read is counted and
 * said. An entry is copied first and its sequence looked at again afterwards, so no line is half of two.
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/sock.h"
#include "proto/proto.h"

enum { HEAD = 64, LINE = 1024, ANY = -1 };

static const char usage_text[] =
	"usage: msgdump [options] [RUN_DIR]\n"
	"\n"
	"Prints every record that a dataplane routes, live, until ^C. RUN_DIR is the node's; without it\n"
	"$ATOLL_SOCKET is taken. Only the node's owner may look.\n"
	"\n"
	"  --opcode GLOB     messages whose name matches, for example 'index.*' or dp.lookup\n"
	"  --endpoint N[/E]  of endpoint E of node N, as its source, destination or ring; N alone: the node\n"
	"  --node N          to or from another node N\n"
	"  --req ID          with this request id (0x for hexadecimal)\n"
	"  --point P         only there: from-ring, to-ring, to-link, from-link, verb, completion, refused\n"
	"  --no-verbs        neither verbs nor completions\n"
	"  --verbs           nothing else\n"
	"  --heartbeats      links' heartbeats, too\n"
	"  --status NAME     with this status, for example BAD_HANDLE; !OK: with any other than OK\n"
	"  --count N         end after N lines\n"
	"  --help            this text\n";

struct filter {
	const char *opcode;
	int64_t node, endpoint, other_node, point, status;
	bool status_not;
	bool req_set;
	uint64_t req;
	bool verbs, messages, heartbeats;
};

struct view {
	const struct proto_trace_entry *entries;
	const uint64_t *position;
	uint32_t mask;
	uint64_t at, lost;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* ---------------------------------------------------------------- the ring */

static int ring_open(struct view *v, const char *path, int *sock)
{
	struct proto_ctl_request q = {
		.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR, .op = CTL_OP_TRACE};
	struct proto_ctl_reply r;
	unsigned n = 1;
	struct stat st;
	int fd = -1, rc;
	void *p;

	*sock = sock_connect(path);
	if (*sock < 0) {
		fprintf(stderr, "msgdump: no dataplane answers at %s (%s): is the node up? (svcctl status)\n",
			path, strerror(-*sock));
		return *sock;
	}
	rc = sock_send(*sock, &q, sizeof(q), NULL, 0);
	if (!rc)
		rc = sock_recv_timeout(*sock, &r, sizeof(r), &fd, &n, 2000);
	if (rc) {
		fprintf(stderr, "msgdump: %s: %s\n", path, strerror(-rc));
		return rc;
	}
	r.text[sizeof(r.text) - 1] = 0;
	if (proto_ctl_reply_check(&r) != STATUS_OK || r.status != STATUS_OK || n != 1) {
		fprintf(stderr, "msgdump: %s\n", r.text[0] ? r.text : "the dataplane refuses the trace");
		return -EACCES;
	}
	if (r.slots == 0 || (r.slots & (r.slots - 1)) || fstat(fd, &st) ||
	    (uint64_t)st.st_size < HEAD + (uint64_t)r.slots * sizeof(*v->entries)) {
		fprintf(stderr, "msgdump: the trace ring is not what was said\n");
		return -EPROTO;
	}
	p = mmap(NULL, HEAD + (size_t)r.slots * sizeof(*v->entries), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		fprintf(stderr, "msgdump: the trace ring cannot be mapped: %s\n", strerror(errno));
		return -errno;
	}
	v->position = p;
	v->entries = (const void *)((const uint8_t *)p + HEAD);
	v->mask = r.slots - 1;
	v->at = __atomic_load_n(v->position, __ATOMIC_ACQUIRE);
	return 0;
}

/* The next entry, whole. 1, or 0 when there is none. */
static int ring_next(struct view *v, struct proto_trace_entry *out)
{
	for (;;) {
		uint64_t end = __atomic_load_n(v->position, __ATOMIC_ACQUIRE), seq;
		const struct proto_trace_entry *e;

		if (v->at == end)
			return 0;
		if (end - v->at > v->mask + 1ull) {
			v->lost += end - v->at - (v->mask + 1ull);
			v->at = end - (v->mask + 1ull);
		}
		e = &v->entries[v->at & v->mask];
		seq = __atomic_load_n(&e->seq, __ATOMIC_ACQUIRE);
		memcpy(out, e, sizeof(*out));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq == v->at + 1 && __atomic_load_n(&e->seq, __ATOMIC_RELAXED) == seq) {
			v->at++;
			return 1;
		}
		v->lost++;
		v->at++;
	}
}

/* ---------------------------------------------------------------- filters */

static bool touches(const struct filter *f, uint32_t endpoint)
{
	return endpoint >> 24 == (uint64_t)f->node &&
	       (f->endpoint == ANY || (endpoint & 0xffffff) == (uint64_t)f->endpoint);
}

static bool wanted(const struct filter *f, const struct proto_trace_entry *e)
{
	bool verb = e->point == TRACE_POINT_VERB || e->point == TRACE_POINT_COMPLETION;
	struct proto_msg m;
	const char *name;

	if (f->point != ANY && e->point != f->point)
		return false;
	if (verb ? !f->verbs : !f->messages)
		return false;
	if (f->node != ANY && verb && !touches(f, e->endpoint))
		return false;
	if (f->other_node != ANY && e->endpoint >> 24 != (uint64_t)f->other_node &&
	    e->peer >> 24 != (uint64_t)f->other_node)
		return false;
	if (verb) {
		struct proto_completion c;
		bool bad = false;

		if (f->opcode || f->req_set)
			return false;
		if (f->status == ANY && !f->status_not)
			return true;
		if (e->point != TRACE_POINT_COMPLETION)
			return false;
		memcpy(&c, e->slot0, sizeof(c));
		for (unsigned i = 0; i < c.count && i < PROTO_CHAIN_MAX; i++)
			bad |= f->status_not ? c.status[i] != STATUS_OK : c.status[i] == f->status;
		return bad;
	}
	proto_msg_unpack(e->slot0, 1, &m);
	if (m.opcode == OP_LINK_HEARTBEAT && !f->heartbeats)
		return false;
	if (f->node != ANY && !touches(f, e->endpoint) && !touches(f, e->peer) && !touches(f, m.src))
		return false;
	if (f->req_set && m.req_id != f->req)
		return false;
	if (f->status_not ? m.status == STATUS_OK : f->status != ANY && m.status != f->status)
		return false;
	if (f->opcode) {
		name = proto_op_name(m.opcode);
		if (!name || fnmatch(f->opcode, name, 0))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------- lines */

static void print(const struct proto_trace_entry *e, uint64_t start)
{
	static const char *const point[] = {
		[TRACE_POINT_FROM_RING] = "from-ring", [TRACE_POINT_TO_RING] = "to-ring",
		[TRACE_POINT_TO_LINK] = "to-link",     [TRACE_POINT_FROM_LINK] = "from-link",
		[TRACE_POINT_VERB] = "verb",	       [TRACE_POINT_COMPLETION] = "completion",
		[TRACE_POINT_REFUSED] = "refused",
	};
	uint8_t slots[2 * PROTO_SLOT_SIZE];
	char text[LINE], where[32];
	struct proto_msg m;
	unsigned n;

	memcpy(slots, e->slot0, PROTO_SLOT_SIZE);
	memcpy(slots + PROTO_SLOT_SIZE, e->slot1, PROTO_SLOT_SIZE);
	n = slots[3] < 1 ? 1 : slots[3] > 2 ? 2 : slots[3];
	switch (e->point) {
	case TRACE_POINT_VERB:
		proto_verb_text(text, sizeof(text), (const void *)slots,
				n == 2 ? (const void *)(slots + PROTO_SLOT_SIZE) : NULL);
		break;
	case TRACE_POINT_COMPLETION:
		proto_completion_text(text, sizeof(text), (const void *)slots);
		break;
	default:
		slots[3] = (uint8_t)n; /* what the trace does not keep is not printed */
		proto_msg_unpack(slots, n, &m);
		proto_message_text(text, sizeof(text), &m, e->data,
				   e->captured < sizeof(e->data) ? e->captured : sizeof(e->data));
	}
	if (e->endpoint & 0xffffff)
		snprintf(where, sizeof(where), "%u/%u", e->endpoint >> 24, e->endpoint & 0xffffff);
	else
		snprintf(where, sizeof(where), "node %u", e->endpoint >> 24);
	printf("%12.6f  %-10s %-8s %s\n", (double)(e->time_ns - start) / 1e9,
	       e->point < sizeof(point) / sizeof(point[0]) && point[e->point] ? point[e->point] : "?",
	       where, text);
}

/* ---------------------------------------------------------------- options */

static int point_of(const char *name)
{
	static const char *const names[] = {"from-ring", "to-ring",    "to-link", "from-link",
					    "verb",	 "completion", "refused"};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++)
		if (!strcmp(names[i], name))
			return TRACE_POINT_FROM_RING + i;
	return -1;
}

static int status_of(const char *name)
{
	for (int i = 0; i < STATUS_COUNT; i++)
		if (!strcasecmp(proto_status_name((unsigned)i), name))
			return i;
	return -1;
}

static bool number(const char *text, int64_t *out, char stop)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 0);
	return end != text && (*end == 0 || *end == stop) && !errno && *out >= 0;
}

static int bad(const char *option, const char *value)
{
	fprintf(stderr, "msgdump: %s %s: not understood; msgdump --help says what there is\n", option,
		value);
	return 2;
}

static int options_read(int argc, char **argv, struct filter *f, int64_t *count)
{
	static const struct option options[] = {
		{"opcode", 1, NULL, 'o'},     {"endpoint", 1, NULL, 'e'}, {"node", 1, NULL, 'n'},
		{"req", 1, NULL, 'r'},	      {"point", 1, NULL, 'p'},	  {"no-verbs", 0, NULL, 'V'},
		{"verbs", 0, NULL, 'v'},      {"heartbeats", 0, NULL, 'h'}, {"status", 1, NULL, 's'},
		{"count", 1, NULL, 'c'},      {"help", 0, NULL, 'H'},	  {NULL, 0, NULL, 0}};
	int64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'o':
			f->opcode = optarg;
			break;
		case 'e':
			if (!number(optarg, &f->node, '/') ||
			    (strchr(optarg, '/') &&
			     !number(strchr(optarg, '/') + 1, &f->endpoint, 0)))
				return bad("--endpoint", optarg);
			break;
		case 'n':
			if (!number(optarg, &f->other_node, 0))
				return bad("--node", optarg);
			break;
		case 'r':
			errno = 0;
			f->req = strtoull(optarg, NULL, 0);
			f->req_set = true;
			if (errno)
				return bad("--req", optarg);
			break;
		case 'p':
			f->point = point_of(optarg);
			if (f->point < 0)
				return bad("--point", optarg);
			break;
		case 's':
			if (!strcmp(optarg, "!OK")) {
				f->status_not = true;
				break;
			}
			f->status = status_of(optarg);
			if (f->status < 0)
				return bad("--status", optarg);
			break;
		case 'V':
			f->verbs = false;
			break;
		case 'v':
			f->messages = false;
			break;
		case 'h':
			f->heartbeats = true;
			break;
		case 'c':
			if (!number(optarg, &n, 0) || n == 0)
				return bad("--count", optarg);
			*count = n;
			break;
		case 'H':
			fputs(usage_text, stdout);
			exit(0);
		default:
			return 2;
		}
	return 0;
}

int main(int argc, char **argv)
{
	struct filter f = {.node = ANY,
			   .endpoint = ANY,
			   .other_node = ANY,
			   .point = ANY,
			   .status = ANY,
			   .verbs = true,
			   .messages = true};
	struct timespec pause = {.tv_nsec = 2000000};
	struct sigaction sa = {.sa_handler = on_signal};
	struct proto_trace_entry e;
	struct view v = {0};
	int64_t count = INT64_MAX;
	uint64_t start = 0, told = 0;
	char path[256];
	int sock, rc = options_read(argc, argv, &f, &count);

	if (rc)
		return rc;
	if (optind < argc)
		snprintf(path, sizeof(path), "%s/dataplane.sock", argv[optind]);
	else if (getenv("ATOLL_SOCKET"))
		snprintf(path, sizeof(path), "%s", getenv("ATOLL_SOCKET"));
	else {
		fprintf(stderr, "msgdump: which node? give its RUN_DIR, or set ATOLL_SOCKET\n");
		return 2;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (ring_open(&v, path, &sock))
		return 1;
	while (!stopped && count > 0) {
		char byte;

		if (!ring_next(&v, &e)) {
			fflush(stdout);
			/* the socket says nothing more until the dataplane ends */
			if (recv(sock, &byte, 1, MSG_DONTWAIT) == 0) {
				fprintf(stderr, "msgdump: the dataplane has ended\n");
				break;
			}
			nanosleep(&pause, NULL);
			continue;
		}
		if (v.lost != told) {
			printf("        ...   %" PRIu64 " entries lost: more passes than is printed\n",
			       v.lost - told);
			told = v.lost;
		}
		if (!start)
			start = e.time_ns;
		if (wanted(&f, &e)) {
			print(&e, start);
			count--;
		}
	}
	fflush(stdout);
	close(sock);
	return 0;
}
