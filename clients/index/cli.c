/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/index/cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ipc/idle.h"

static const char usage[] =
	"usage: atoll-index [OPTION...] COMMAND\n"
	"Reads and changes an index in the memory of another node.\n"
	"\n"
	"  get KEY            print the value\n"
	"  put KEY VALUE      insert or replace; VALUE - is read from standard input\n"
	"  insert KEY VALUE   only if the key is not there\n"
	"  update KEY VALUE   only if it is\n"
	"  del KEY            delete\n"
	"  load FILE          put every line of FILE: key the line, value its number and its "
	"length\n"
	"  verify FILE        read every line of FILE back and compare\n"
	"  dump               walk the whole table: print KEY, tab, VALUE; then what was found\n"
	"  scan               a tree: print KEY, tab, VALUE in the order of the keys, see --from\n"
	"  fsck               walk the whole table and account for every byte of the heap\n"
	"  stat               what the shard knows\n"
	"\n"
	"  --target NAME      the shard, NODE/SERVICE or SERVICE ($ATOLL_INDEX, or index-shard)\n"
	"  --socket PATH      control socket of this node's dataplane ($ATOLL_SOCKET)\n"
	"  --in-flight N      operations at once, 1 to 64 (16)\n"
	"  --lanes N          ordered streams of verbs, 1 to 16 (1)\n"
	"  --type T           what the index must be: hash or tree (any)\n"
	"  --from KEY         scan: begin at this key (at the end)\n"
	"  --limit N          scan: at most so many entries (all)\n"
	"  --reverse          scan: downwards\n"
	"  --shard            only the shard that is named, not its cluster: for stat, fsck and dump\n"
	"  --name NAME        of this client, for people to read (atoll-index)\n"
	"  --patience-ms N    how long to try to connect again after a loss (30000)\n"
	"  --check            load: verify afterwards; dump: print only what was found\n"
	"  --repair           fsck: finish what dead clients have left first\n"
	"  --quiet            no progress bar\n"
	"  --help             this text\n"
	"\n"
	"Exit status: 0 done, 1 not found (exists, differs, damaged), 2 failed.\n";

unsigned cli_lost(struct cli *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < atoll_index_members(c->ix) && atoll_index_members(c->ix) > 1; i++) {
		struct atoll_index *m = atoll_index_member(c->ix, i);

		if (!atoll_index_lost(m))
			continue;
		fprintf(stderr, "atoll-index: the member %s is not reached: %s\n", atoll_index_name(m),
			atoll_index_why(m));
		n++;
	}
	return n;
}

/* @what: the key. */
static int complain(struct cli *c, const char *what, enum atoll_result r)
{
	struct atoll_index *m = atoll_index_member(c->ix, atoll_index_member_of(c->ix, what, strlen(what)));

	if (atoll_index_members(c->ix) > 1 && atoll_result_class(r) != ATOLL_EXECUTED)
		fprintf(stderr, "atoll-index: %s, a key of the member %s: %s%s%s\n", what, atoll_index_name(m),
			atoll_result_text(r), atoll_index_lost(m) ? "; " : "", atoll_index_why(m));
	else
		fprintf(stderr, "atoll-index: %s: %s\n", what, atoll_result_text(r));
	return r == ATOLL_NOT_FOUND || r == ATOLL_EXISTS ? 1 : 2;
}

/* What became of an operation that got no answer? */
static enum atoll_result settled(struct cli *c, enum atoll_result r)
{
	uint64_t from = clock_now_ns();
	const char *why = "";
	bool executed;
	int rc;

	if (r != ATOLL_IN_DOUBT || !atoll_index_ticket(c->ix))
		return r;
	while ((rc = atoll_index_reconnect(c->ix, &why)) == -EAGAIN &&
	       clock_now_ns() - from < c->patience_ms * 1000000ull)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	if (rc || atoll_index_resolve(c->ix, atoll_index_ticket(c->ix), &executed))
		return r;
	return executed ? ATOLL_OK : ATOLL_UNREACHABLE;
}

static int do_get(struct cli *c, const char *key)
{
	size_t size = ATOLL_INDEX_VALUE_MAX;
	char *value = malloc(size);
	enum atoll_result r;

	if (!value)
		return 2;
	r = atoll_index_get(c->ix, key, strlen(key), value, &size);
	if (r == ATOLL_OK) {
		fwrite(value, 1, size, stdout);
		putchar('\n');
	}
	free(value);
	return r == ATOLL_OK ? 0 : complain(c, key, r);
}

static int do_put(struct cli *c, enum atoll_op op, const char *key, const char *value)
{
	char *input = NULL;
	size_t size = strlen(value);
	enum atoll_result r;

	if (strcmp(value, "-") == 0) {
		input = malloc(ATOLL_INDEX_VALUE_MAX + 1);
		if (!input)
			return 2;
		size = fread(input, 1, ATOLL_INDEX_VALUE_MAX + 1, stdin);
		value = input;
	}
	if (size > ATOLL_INDEX_VALUE_MAX) {
		fprintf(stderr, "atoll-index: a value has at most %d bytes\n",
			ATOLL_INDEX_VALUE_MAX);
		free(input);
		return 2;
	}
	switch (op) {
	case ATOLL_INSERT:
		r = atoll_index_insert(c->ix, key, strlen(key), value, size);
		break;
	case ATOLL_UPDATE:
		r = atoll_index_update(c->ix, key, strlen(key), value, size);
		break;
	default:
		r = atoll_index_put(c->ix, key, strlen(key), value, size);
	}
	free(input);
	r = settled(c, r);
	return r == ATOLL_OK ? 0 : complain(c, key, r);
}

static int do_delete(struct cli *c, const char *key)
{
	enum atoll_result r = settled(c, atoll_index_delete(c->ix, key, strlen(key)));

	return r == ATOLL_OK ? 0 : complain(c, key, r);
}

/* ------------------------------------------------------------------ dump */

struct dump {
	struct cli *c;
	uint64_t from_ns;
};

static void print_escaped(const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		if (isprint(p[i]) && p[i] != '\\')
			putchar(p[i]);
		else if (p[i] >= 0x80)
			putchar(p[i]); /* UTF-8 stays as it is */
		else
			printf("\\x%02x", p[i]);
	}
}

static int dump_entry(void *arg, const void *key, size_t klen, const void *value, size_t vlen)
{
	(void)arg;
	print_escaped(key, klen);
	putchar('\t');
	print_escaped(value, vlen);
	putchar('\n');
	return ferror(stdout) ? -EPIPE : 0;
}

static void dump_progress(void *arg, uint64_t done, uint64_t all)
{
	const struct dump *d = arg;

	cli_progress(d->c, "dump", done, all, d->from_ns);
}

static int do_dump(struct cli *c)
{
	struct atoll_index_report r;
	struct dump d = {c, clock_now_ns()};
	FILE *out;
	int rc = atoll_index_dump(c->ix, c->check ? NULL : dump_entry, dump_progress, &d, &r);

	if (rc == -EBADMSG) {
		fprintf(stderr, "atoll-index: dump: a node or block of the tree is damaged\n");
		return 1;
	}
	if (rc) {
		if (!cli_lost(c))
			fprintf(stderr, "atoll-index: dump: %s\n", strerror(-rc));
		return 2;
	}
	out = c->check ? stdout : stderr;
	if (atoll_index_type(c->ix) == ATOLL_INDEX_TREE) {
		fprintf(out, "%" PRIu64 " entries, %" PRIu64 " bytes of keys, %" PRIu64 " of values\n",
			r.entries, r.key_bytes, r.value_bytes);
		return 0;
	}
	fprintf(out,
		"%" PRIu64 " entries in %" PRIu64 " slots (%.1f%%), %" PRIu64
		" bytes of keys, %" PRIu64 " of values\n",
		r.entries, r.slots, 100.0 * (double)r.entries / (double)r.slots, r.key_bytes,
		r.value_bytes);
	fprintf(out,
		"torn %" PRIu64 ", duplicate %" PRIu64 ", misplaced %" PRIu64 ", pending %" PRIu64
		"\n",
		r.torn, r.duplicates, r.misplaced, r.pending);
	if (r.first_bad)
		fprintf(out, "the first bad slot is at offset 0x%" PRIx64 " of the table region\n",
			r.first_bad);
	return r.torn || r.duplicates || r.misplaced;
}

static int do_scan(struct cli *c)
{
	int rc = atoll_index_scan(c->ix, c->from, c->from ? strlen(c->from) : 0, c->reverse,
				  c->limit, dump_entry, NULL);

	if (rc == -EOPNOTSUPP)
		fprintf(stderr, "atoll-index: %s is a hash table, whose keys have no order: use dump\n",
			c->target);
	else if (rc == -EBADMSG)
		fprintf(stderr, "atoll-index: scan: a node or block of the tree is damaged\n");
	else if (rc && !cli_lost(c))
		fprintf(stderr, "atoll-index: scan: %s\n", strerror(-rc));
	return rc == -EBADMSG ? 1 : rc ? 2 : 0;
}

static int shard_print(const char *name, struct atoll_index *ix)
{
	struct atoll_index_shard s;
	int rc = atoll_index_shard_stat(ix, &s);

	if (rc) {
		fprintf(stderr, "atoll-index: %s does not answer: %s\n", name, strerror(-rc));
		return 2;
	}
	printf("clients alive %" PRIu64 ", dead %" PRIu64 "\n", s.clients, s.dead);
	printf("heap: %.1f of %.1f MiB handed out\n", (double)s.heap_used / (1 << 20),
	       (double)s.heap_size / (1 << 20));
	return 0;
}

static int do_stat(struct cli *c)
{
	unsigned n = atoll_index_members(c->ix);
	int rc;

	if (n == 1)
		return shard_print(c->target, c->ix);
	rc = cli_lost(c) ? 2 : 0;
	for (unsigned i = 0; i < n; i++) {
		struct atoll_index *m = atoll_index_member(c->ix, i);

		if (atoll_index_lost(m))
			continue;
		printf("member %u of %u, %s: ", i, n, atoll_index_name(m));
		if (shard_print(atoll_index_name(m), m))
			rc = 2;
	}
	return rc;
}

/* ------------------------------------------------------------------ command line */

static const struct command {
	const char *name;
	int args;
} commands[] = {
	{"get", 1},  {"put", 2},    {"insert", 2}, {"update", 2}, {"del", 1},
	{"load", 1}, {"verify", 1}, {"dump", 0}, {"fsck", 0},   {"scan", 0}, {"stat", 0},
};

static int run(struct cli *c, char **w)
{
	if (strcmp(w[0], "get") == 0)
		return do_get(c, w[1]);
	if (strcmp(w[0], "put") == 0)
		return do_put(c, ATOLL_PUT, w[1], w[2]);
	if (strcmp(w[0], "insert") == 0)
		return do_put(c, ATOLL_INSERT, w[1], w[2]);
	if (strcmp(w[0], "update") == 0)
		return do_put(c, ATOLL_UPDATE, w[1], w[2]);
	if (strcmp(w[0], "del") == 0)
		return do_delete(c, w[1]);
	if (strcmp(w[0], "load") == 0)
		return cli_load(c, w[1]);
	if (strcmp(w[0], "verify") == 0)
		return cli_verify(c, w[1]);
	if (strcmp(w[0], "dump") == 0)
		return do_dump(c);
	if (strcmp(w[0], "scan") == 0)
		return do_scan(c);
	if (strcmp(w[0], "fsck") == 0)
		return cli_fsck(c);
	return do_stat(c);
}

static int number(const char *name, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(optarg, &end, 10);

	if (end == optarg || *end || optarg[0] == '-' || n < min || n > max) {
		fprintf(stderr, "atoll-index: --%s wants a number from %u to %u, not \"%s\"\n",
			name, min, max, optarg);
		return -EINVAL;
	}
	*out = (unsigned)n;
	return 0;
}

static int options_read(struct cli *c, int argc, char **argv)
{
	static const struct option list[] = {
		{"target", 1, NULL, 't'}, {"socket", 1, NULL, 's'}, {"in-flight", 1, NULL, 'i'},
		{"lanes", 1, NULL, 'l'},  {"name", 1, NULL, 'n'},   {"patience-ms", 1, NULL, 'p'},
		{"type", 1, NULL, 'T'},   {"from", 1, NULL, 'f'},   {"limit", 1, NULL, 'm'},
		{"reverse", 0, NULL, 'r'},
		{"shard", 0, NULL, 'S'},  {"check", 0, NULL, 'c'},  {"quiet", 0, NULL, 'q'}, {"repair", 0, NULL, 'R'},  {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int o, rc = 0;

	c->target = getenv("ATOLL_INDEX");
	if (!c->target)
		c->target = "index-shard";
	c->options.name = "atoll-index";
	c->patience_ms = 30000;
	while (!rc && (o = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (o) {
		case 't':
			c->target = optarg;
			break;
		case 's':
			c->options.socket = optarg;
			break;
		case 'i':
			rc = number("in-flight", 1, ATOLL_INDEX_IN_FLIGHT_MAX,
				    &c->options.in_flight);
			break;
		case 'l':
			rc = number("lanes", 1, 16, &c->options.lanes);
			break;
		case 'n':
			c->options.name = optarg;
			break;
		case 'p':
			rc = number("patience-ms", 0, 3600000, &c->patience_ms);
			break;
		case 'c':
			c->check = true;
			break;
		case 'T':
			c->options.type = strcmp(optarg, "tree") == 0	? ATOLL_INDEX_TREE
					  : strcmp(optarg, "hash") == 0 ? ATOLL_INDEX_HASH
									: 0;
			if (!c->options.type) {
				fprintf(stderr, "atoll-index: --type is hash or tree, not \"%s\"\n",
					optarg);
				rc = -EINVAL;
			}
			break;
		case 'f':
			c->from = optarg;
			if (strlen(c->from) == 0 || strlen(c->from) > ATOLL_INDEX_KEY_MAX) {
				fprintf(stderr, "atoll-index: a key has 1 to %d bytes\n",
					ATOLL_INDEX_KEY_MAX);
				rc = -EINVAL;
			}
			break;
		case 'm':
			rc = number("limit", 1, UINT_MAX, &c->limit);
			break;
		case 'r':
			c->reverse = true;
			break;
		case 'S':
			c->options.shard_only = true;
			break;
		case 'R':
			c->repair = true;
			break;
		case 'q':
			c->quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			rc = -EINVAL;
		}
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	const char *why = "";
	int rc, i;

	if (options_read(&c, argc, argv))
		return 2;
	argv += optind;
	argc -= optind;
	for (i = 0; argc && i < (int)(sizeof(commands) / sizeof(commands[0])); i++)
		if (strcmp(argv[0], commands[i].name) == 0)
			break;
	if (argc == 0 || i == sizeof(commands) / sizeof(commands[0])) {
		if (argc)
			fprintf(stderr, "atoll-index: there is no command %s\n", argv[0]);
		fputs(usage, stderr);
		return 2;
	}
	if (argc - 1 != commands[i].args) {
		fprintf(stderr, "atoll-index: %s wants %d arguments, see --help\n", argv[0],
			commands[i].args);
		return 2;
	}
	if (commands[i].args && strcmp(argv[0], "load") && strcmp(argv[0], "verify") &&
	    (strlen(argv[1]) == 0 || strlen(argv[1]) > ATOLL_INDEX_KEY_MAX)) {
		fprintf(stderr, "atoll-index: a key has 1 to %d bytes\n", ATOLL_INDEX_KEY_MAX);
		return 2;
	}
	if (c.options.shard_only && strcmp(argv[0], "stat") && strcmp(argv[0], "fsck") && strcmp(argv[0], "dump")) {
		fprintf(stderr, "atoll-index: %s would not know which keys are the shard's: leave --shard away\n",
			argv[0]);
		return 2;
	}
	if (atoll_index_open(&c.ix, c.target, &c.options, &why)) {
		fprintf(stderr, "atoll-index: %s\n", why);
		return 2;
	}
	rc = run(&c, argv);
	atoll_index_close(c.ix);
	if (fflush(stdout) || ferror(stdout))
		rc = 2;
	return rc;
}
