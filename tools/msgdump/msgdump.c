/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msgdump - what passes through dataplanes: live from their trace rings, back from a capture, or the last
 * of it from a flight recorder; filtered; as text, as JSON or as a capture.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/keeper.h"
#include "tools/msgdump/filter.h"
#include "tools/msgdump/follow.h"
#include "tools/msgdump/place.h"
#include "tools/msgdump/recorder.h"
#include "tools/msgdump/show.h"
#include "tools/msgdump/source.h"

enum { FILTER_TEXT_MAX = 4096, PATH_TEXT_MAX = 512 };

/* Lines of the generated dissector, ended by NULL. */
extern const char *const msgdump_plugin[];

static const char usage_text[] =
	"usage: msgdump [options] [NODE...] [FILTER]\n"
	"\n"
	"Prints every record that dataplanes route, live, until ^C. A NODE is its run_dir, its configuration\n"
	"file, or the name of a local node; without one $ATOLL_SOCKET is taken. Only its owner may look.\n"
	"\n"
	"  --recorder        what the flight recorder holds: the last records of the node's dataplanes, those\n"
	"                    that have ended included; registers and payloads are not kept\n"
	"  --follow ID       one request across all NODEs given, by its trace id, as a waterfall: until it is\n"
	"                    answered, or of a capture\n"
	"  --json            one JSON object a line\n"
	"  --packets         the port's packets, too\n"
	"  --write FILE      a capture that Wireshark reads (pcapng), packets included; - is standard output\n"
	"  --no-packets      without them\n"
	"  --read FILE       what --write has written, instead of a node; - is standard input\n"
	"  --count N         end after N records\n"
	"  --heartbeats      links' heartbeats, too\n"
	"  --names FILE      names of nodes, from this configuration file\n"
	"  --plugin          print the plug-in by which Wireshark understands all this\n"
	"  --help            this text\n"
	"\n"
	"FILTER, for example  opcode 'index.*' and dst node-b and status != ok\n"
	"  tests             FIELD VALUE, FIELD = VALUE, != < <= > >=; or a kind alone: request, reply, event,\n"
	"                    async, verb, completion, message, packet; with and, or, not, ( )\n"
	"  opcode GLOB       name of the opcode, or its number       status NAME  of answers and verbs\n"
	"  src, dst EP       sender, receiver: NODE or NODE/NUMBER    endpoint EP  either, or whose ring it is\n"
	"  node NODE         either's node, or the link's             at NODE      node that saw it\n"
	"  point NAME        from-ring, to-ring, to-link, from-link, verb, completion, refused, packet-in,\n"
	"                    packet-out\n"
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
	struct place *places, names; /* names: of --names, or those of the first place */
	unsigned nplaces;
	char words[FILTER_TEXT_MAX]; /* the filter's */
	const char *read, *write;
	bool json, heartbeats, packets, no_packets, recorder;
	uint64_t count;
	uint32_t follow; /* 0: nothing */
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
	struct filter_names names = {place_node, &o->names};
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
		{"names", 1, NULL, 'N'},    {"read", 1, NULL, 'R'},	  {"write", 1, NULL, 'W'},
		{"follow", 1, NULL, 'f'},
		{"recorder", 0, NULL, 'F'}, {"plugin", 0, NULL, 'L'},
		{"packets", 0, NULL, 'P'},  {"no-packets", 0, NULL, 'Q'}, {NULL, 0, NULL, 0}};
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
			if (place_names(optarg, &o->names))
				return 1;
			break;
		case 'R':
			o->read = optarg;
			break;
		case 'W':
			o->write = optarg;
			break;
		case 'f':
			errno = 0;
			o->follow = (uint32_t)strtoul(optarg, &end, 0);
			if (errno || *end || optarg[0] < '0' || optarg[0] > '9' || o->follow == 0)
				return bad("follow", optarg);
			break;
		case 'F':
			o->recorder = true;
			break;
		case 'P':
			o->packets = true;
			break;
		case 'Q':
			o->no_packets = true;
			break;
		case 'c':
			errno = 0;
			o->count = strtoull(optarg, &end, 10);
			if (errno || *end || optarg[0] < '0' || optarg[0] > '9' || o->count == 0)
				return bad("count", optarg);
			break;
		case 'L':
			for (const char *const *line = msgdump_plugin; *line; line++)
				puts(*line);
			exit(fflush(stdout) ? 1 : 0);
		case 'H':
			fputs(usage_text, stdout);
			exit(0);
		default:
			return 2;
		}
	}
	o->packets = (o->packets || o->write) && !o->no_packets;
	o->places = calloc(SOURCE_RINGS_MAX, sizeof(*o->places));
	if (!o->places)
		return 1;
	for (; !o->read && optind < argc && place_is(argv[optind]); optind++, o->nplaces++) {
		if (o->nplaces == SOURCE_RINGS_MAX) {
			fprintf(stderr, "msgdump: more than %d nodes\n", SOURCE_RINGS_MAX);
			return 2;
		}
		if (place_find(argv[optind], &o->places[o->nplaces]))
			return 1;
	}
	if (!o->read && !o->nplaces && !socket) {
		fprintf(stderr, "msgdump: which node? give its RUN_DIR, or set ATOLL_SOCKET\n");
		return 2;
	}
	if (o->recorder && (o->read || o->nplaces != 1)) {
		fprintf(stderr, "msgdump: --recorder wants one NODE\n");
		return 2;
	}
	if (o->follow && (o->recorder || o->write || o->json)) {
		fprintf(stderr, "msgdump: --follow goes with neither --recorder nor --write nor --json\n");
		return 2;
	}
	if (!o->names.named && o->nplaces)
		o->names = o->places[0];
	rc = filter_words(o, argc - optind, argv + optind);
	return rc ? rc : filter_make(o, s, n);
}

/* ---------------------------------------------------------------- out */

static bool wanted(const struct options *o, const struct event *ev)
{
	if (ev->kind == EVENT_MESSAGE && ev->msg.opcode == OP_LINK_HEARTBEAT && !o->heartbeats)
		return false;
	return filter_match(o->filter, ev);
}

static int write_event(FILE *to, const struct event *ev, uint64_t shift_ns)
{
	struct pcapng_packet p = {.time_ns = ev->time_ns + shift_ns};

	if (ev->kind == EVENT_PACKET) {
		p.link_type = PCAPNG_ETHERNET;
		p.direction = ev->point == TRACE_POINT_PACKET_OUT ? PCAPNG_OUT : PCAPNG_IN;
		p.data = ev->packet;
		p.captured = ev->packet_captured;
		p.length = ev->packet_length;
	} else {
		p.link_type = PCAPNG_USER0;
		p.data = (const uint8_t *)&ev->entry;
		p.captured = p.length = sizeof(ev->entry);
	}
	return pcapng_write(to, &p);
}

/* Where text, JSON or the capture goes. */
static FILE *out_open(const struct options *o)
{
	FILE *to = !o->write || strcmp(o->write, "-") == 0 ? stdout : fopen(o->write, "wb");

	if (!to) {
		fprintf(stderr, "msgdump: %s: %s\n", o->write, strerror(errno));
		return NULL;
	}
	if (o->write && pcapng_begin(to)) {
		fprintf(stderr, "msgdump: %s: cannot be written\n", o->write);
		return NULL;
	}
	return to;
}

static int out_close(const struct options *o, FILE *to)
{
	bool failed = fflush(to) || ferror(to);

	if (to != stdout)
		failed |= fclose(to) != 0;
	if (failed)
		fprintf(stderr, "msgdump: %s: cannot be written: %s\n", o->write ? o->write : "output",
			strerror(errno));
	return failed ? 1 : 0;
}

static void put(const struct options *o, FILE *to, const struct event *ev, uint64_t start_ns,
		uint64_t shift_ns)
{
	/* an error stays with the stream */
	if (o->write)
		write_event(to, ev, shift_ns);
	else if (o->json)
		show_json(to, ev);
	else
		show_text(to, ev, start_ns);
}

static int copy(const struct options *o, struct source *s, FILE *to)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t left = o->count, start = 0, told = 0;
	static struct event ev;
	int rc = 0;

	while (!stopped && left > 0 && !ferror(to)) {
		rc = source_next(s, &ev);
		if (rc == -EPIPE) {
			fprintf(stderr, "msgdump: the dataplane has ended\n");
			return 0;
		}
		if (rc < 0 || (rc == 0 && s->reader))
			return rc;
		if (s->lost != told) {
			fprintf(o->json || o->write ? stderr : to,
				"        ...   %" PRIu64 " entries lost: more passes than is printed\n",
				s->lost - told);
			told = s->lost;
		}
		if (rc == 0) {
			fflush(to);
			nanosleep(&pause, NULL);
			continue;
		}
		if (!start)
			start = ev.time_ns;
		if (!wanted(o, &ev))
			continue;
		put(o, to, &ev, start, s->shift_ns);
		left--;
	}
	return 0;
}

/* Every recorder that the node has, from the oldest dataplane on. */
static int recorders(const struct options *o, FILE *to)
{
	struct recorder all[KEEPER_RECORDERS_MAX];
	uint64_t left = o->count;
	static struct event ev;
	unsigned n = 0;
	int rc = 0;

	while (n < KEEPER_RECORDERS_MAX && !(rc = recorder_get(&all[n], o->places[0].run_dir, n)))
		n++;
	for (unsigned i = n; i-- > 0; recorder_free(&all[i])) {
		const struct proto_recorder_head *h = &all[i].head;
		time_t started = (time_t)(h->started_ns / 1000000000);
		char when[32] = "?";
		struct tm tm;

		if (gmtime_r(&started, &tm))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
		if (!o->json && !o->write)
			fprintf(to, "-- incarnation %016" PRIx64 ", process %u, started %s: its last %u records\n",
				h->incarnation, h->pid, when, all[i].count);
		for (unsigned k = 0; k < all[i].count; k++)
			if (left && event_read(&all[i].entries[k], &ev) && wanted(o, &ev)) {
				put(o, to, &ev, h->started_ns - h->shift_ns, h->shift_ns);
				left--;
			}
	}
	return rc < 0;
}

/* A while after its answer, what other nodes still have of it is there, too. */
static int follow(const struct options *o, struct source *s, FILE *to)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	enum { TURNS_AFTER = 25 };
	static struct event ev;
	struct follow f;
	unsigned after = 0;
	int rc = follow_begin(&f, o->follow);

	while (!rc && !stopped && after < TURNS_AFTER) {
		rc = source_next(s, &ev);
		if (rc == 1) {
			rc = 0;
			if (filter_match(o->filter, &ev))
				follow_add(&f, &ev);
			continue;
		}
		if (rc == -EPIPE) {
			fprintf(stderr, "msgdump: a dataplane has ended\n");
			rc = 0;
			break;
		}
		if (rc || s->reader)
			break;
		after += follow_complete(&f);
		nanosleep(&pause, NULL);
	}
	if (!rc) {
		follow_order(&f);
		follow_print(&f, to);
		rc = f.count ? 0 : -ENOENT;
	}
	follow_end(&f);
	return rc;
}

static int source_open(const struct options *o, struct source *s)
{
	char text[SOURCE_RINGS_MAX][PATH_TEXT_MAX];
	const char *paths[SOURCE_RINGS_MAX];

	if (o->read)
		return source_file(s, o->read);
	for (unsigned i = 0; i < o->nplaces; i++) {
		snprintf(text[i], sizeof(text[i]), "%s/dataplane.sock", o->places[i].run_dir);
		paths[i] = text[i];
	}
	if (!o->nplaces)
		paths[0] = getenv("ATOLL_SOCKET");
	return source_rings(s, paths, o->nplaces ? o->nplaces : 1, o->packets);
}

int main(int argc, char **argv)
{
	static struct options o = {.count = UINT64_MAX};
	struct sigaction sa = {.sa_handler = on_signal};
	struct source s = {0};
	int rc = options_read(argc, argv, &o);
	FILE *to;

	if (rc)
		goto out;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	rc = 1;
	if (!o.recorder && source_open(&o, &s))
		goto out;
	to = out_open(&o);
	if (to) {
		rc = o.recorder ? recorders(&o, to) : o.follow ? follow(&o, &s, to) : copy(&o, &s, to);
		rc = rc ? 1 : 0;
		rc |= out_close(&o, to);
	}
	source_close(&s);
out:
	filter_free(o.filter);
	free(o.places);
	return rc;
}
