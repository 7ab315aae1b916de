/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgdump - what passes through a dataplane: live from its trace ring, as text or JSON, filtered.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/msgdump/filter.h"
#include "tools/msgdump/place.h"
#include "tools/msgdump/ring.h"
#include "tools/msgdump/show.h"

enum { FILTER_TEXT_MAX = 4096, PATH_TEXT_MAX = 512 };

static const char usage_text[] =
	"usage: msgdump [options] [NODE] [FILTER]\n"
	"\n"
	"Prints every record that a dataplane routes, live, until ^C. NODE is its run_dir, its configuration\n"
	"file, or the name of a local node; without it $ATOLL_SOCKET is taken. Only its owner may look.\n"
	"\n"
	"  --json            one JSON object a line\n"
	"  --count N         end after N records\n"
	"  --heartbeats      links' heartbeats, too\n"
	"  --names FILE      names of nodes, from this configuration file\n"
	"  --help            this text\n"
	"\n"
	"FILTER, for example  opcode 'index.*' and dst node-b and status != ok\n"
	"  tests             FIELD VALUE, FIELD = VALUE, != < <= > >=; or a kind alone: request, reply, event,\n"
	"                    async, verb, completion, message; with and, or, not, ( )\n"
	"  opcode GLOB       name of the opcode, or its number       status NAME  of answers and verbs\n"
	"  src, dst EP       sender, receiver: NODE or NODE/NUMBER    endpoint EP  either, or whose ring it is\n"
	"  node NODE         either's node, or the link's             at NODE      node that saw it\n"
	"  point NAME        from-ring, to-ring, to-link, from-link, verb, completion, refused\n"
	"  op NAME           of a verb: READ, WRITE, CAS, FAA         payload GLOB its first bytes, as text\n"
	"  length, req, trace, budget, lane, cookie, arg0 to arg21, arg.NAME: numbers, 0x for hexadecimal\n"
	"A test of what a record does not have is false.\n"
	"\n"
	"For short:\n"
	"  --opcode GLOB, --endpoint EP, --node NODE, --req ID, --point NAME, --status NAME or !NAME: as above\n"
	"  --no-verbs        neither verbs nor completions\n"
	"  --verbs           nothing else\n";

struct options {
	struct filter *filter;
	struct place place;
	char words[FILTER_TEXT_MAX]; /* the filter's */
	const char *names;
	bool json, heartbeats;
	uint64_t count;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* ---------------------------------------------------------------- options */

static int bad(const char *option, const char *value)
{
	fprintf(stderr, "msgdump: --%s %s: not understood; msgdump --help says what there is\n", option,
		value);
	return 2;
}

/* Options that are short for a test are added to the words once names of nodes are known. */
struct shorthand {
	const char *field, *value; /* without a value: a whole test */
};

enum { SHORTHANDS = 16 };

static int filter_words(struct options *o, int argc, char **argv)
{
	size_t len = 0;

	for (int i = 0; i < argc; i++) {
		int n = snprintf(o->words + len, sizeof(o->words) - len, "%s%s", i ? " " : "", argv[i]);

		len += (size_t)n;
		if (len >= sizeof(o->words)) {
			fprintf(stderr, "msgdump: a filter of more than %d bytes\n", FILTER_TEXT_MAX - 1);
			return 2;
		}
	}
	return 0;
}

/* Says what is wrong with the filter, and points at it. */
static int filter_wrong(const char *text, const struct filter_error *e)
{
	fprintf(stderr, "msgdump: filter: %s\n  %s\n  %*s^\n", e->text, text, (int)e->at, "");
	return 2;
}

static int filter_make(struct options *o, const struct shorthand *s, unsigned n)
{
	struct filter_names names = {place_node, &o->place};
	struct filter_error err;
	char text[FILTER_TEXT_MAX];

	o->filter = filter_new();
	if (!o->filter)
		return 1;
	for (unsigned i = 0; i < n; i++) {
		bool not = strcmp(s[i].field, "status") == 0 && s[i].value[0] == '!';

		snprintf(text, sizeof(text), s[i].value[0] ? "%s %s '%s'" : "%s", s[i].field, not ? "!=" : "=",
			 s[i].value + not);
		if (filter_and(o->filter, text, &names, &err))
			return bad(s[i].field, s[i].value);
	}
	if (filter_and(o->filter, o->words, &names, &err))
		return filter_wrong(o->words, &err);
	return 0;
}

static int options_read(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"opcode", 1, NULL, 'o'},   {"endpoint", 1, NULL, 'e'},	  {"node", 1, NULL, 'n'},
		{"req", 1, NULL, 'r'},	    {"point", 1, NULL, 'p'},	  {"no-verbs", 0, NULL, 'V'},
		{"verbs", 0, NULL, 'v'},    {"heartbeats", 0, NULL, 'h'}, {"status", 1, NULL, 's'},
		{"count", 1, NULL, 'c'},    {"help", 0, NULL, 'H'},	  {"json", 0, NULL, 'j'},
		{"names", 1, NULL, 'N'},    {NULL, 0, NULL, 0}};
	struct shorthand s[SHORTHANDS];
	const char *socket = getenv("ATOLL_SOCKET");
	unsigned n = 0;
	char *end;
	int c, index, rc;

	while ((c = getopt_long(argc, argv, "+", options, &index)) != -1) {
		if (n == SHORTHANDS)
			return bad("...", "more options than there are");
		switch (c) {
		case 'o':
		case 'e':
		case 'n':
		case 'r':
		case 'p':
		case 's':
			if (!optarg[0])
				return bad(options[index].name, "''");
			s[n++] = (struct shorthand){options[index].name, optarg};
			break;
		case 'V':
			s[n++] = (struct shorthand){"message", ""};
			break;
		case 'v':
			s[n++] = (struct shorthand){"not message", ""};
			break;
		case 'h':
			o->heartbeats = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'N':
			o->names = optarg;
			break;
		case 'c':
			errno = 0;
			o->count = strtoull(optarg, &end, 10);
			if (errno || *end || optarg[0] < '0' || optarg[0] > '9' || o->count == 0)
				return bad("count", optarg);
			break;
		case 'H':
			fputs(usage_text, stdout);
			exit(0);
		default:
			return 2;
		}
	}
	if (optind < argc && place_is(argv[optind])) {
		if (place_find(argv[optind++], &o->place))
			return 1;
	} else if (!socket) {
		fprintf(stderr, "msgdump: which node? give its RUN_DIR, or set ATOLL_SOCKET\n");
		return 2;
	}
	if (o->names && place_names(o->names, &o->place))
		return 1;
	rc = filter_words(o, argc - optind, argv + optind);
	return rc ? rc : filter_make(o, s, n);
}

/* ---------------------------------------------------------------- live */

static bool wanted(const struct options *o, const struct event *ev)
{
	if (ev->kind == EVENT_MESSAGE && ev->msg.opcode == OP_LINK_HEARTBEAT && !o->heartbeats)
		return false;
	return filter_match(o->filter, ev);
}

static int live(const struct options *o)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	struct proto_trace_entry e;
	struct event ev;
	struct ring ring;
	uint64_t left = o->count, start = 0, told = 0;
	char path[PATH_TEXT_MAX];

	if (o->place.run_dir[0])
		snprintf(path, sizeof(path), "%s/dataplane.sock", o->place.run_dir);
	else
		snprintf(path, sizeof(path), "%s", getenv("ATOLL_SOCKET"));
	if (ring_open(&ring, path))
		return 1;
	while (!stopped && left > 0) {
		if (!ring_next(&ring, &e)) {
			if (fflush(stdout))
				break;
			if (ring_over(&ring)) {
				fprintf(stderr, "msgdump: the dataplane has ended\n");
				break;
			}
			nanosleep(&pause, NULL);
			continue;
		}
		if (ring.lost != told) {
			fprintf(o->json ? stderr : stdout,
				"        ...   %" PRIu64 " entries lost: more passes than is printed\n",
				ring.lost - told);
			told = ring.lost;
		}
		if (!event_read(&e, &ev))
			continue;
		if (!start)
			start = ev.time_ns;
		if (!wanted(o, &ev))
			continue;
		if (o->json)
			show_json(stdout, &ev);
		else
			show_text(stdout, &ev, start);
		left--;
	}
	ring_close(&ring);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "msgdump: cannot write: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct options o = {.count = UINT64_MAX};
	struct sigaction sa = {.sa_handler = on_signal};
	int rc = options_read(argc, argv, &o);

	if (!rc) {
		sigaction(SIGINT, &sa, NULL);
		sigaction(SIGTERM, &sa, NULL);
		signal(SIGPIPE, SIG_IGN);
		rc = live(&o);
	}
	filter_free(o.filter);
	return rc;
}
