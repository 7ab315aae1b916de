/* SPDX-License-Identifier: Apache-2.0 */
/* The service: its options, its two regions and the file that remembers them, and the engine's I/O.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/service.h"
#include "services/index-shard/shard.h"

enum {
	TICK_NS = 1000000
};

static const char usage[] =
	"usage: index-shard [OPTION...]\n"
	"Hosts the memory of an index. Started by svcctl, as a service of a node.\n"
	"  --type T        hash (a table), or tree (keys in order) (hash)\n"
	"  --entries N     entries that the table is sized for at first, at 0.7 of its slots "
	"(200000)\n"
	"  --groups N      size of the table in groups of 21 slots, instead of --entries\n"
	"  --heap-mib N    memory for keys and values (256)\n"
	"  --clients N     clients at once, up to 1023 (1023)\n"
	"  --lease-ms N    silence of a client that others wait for, until it is declared dead "
	"(50); 0: never\n"
	"  --return-ms N   a client that was declared dead for its silence may come back for so long and ask what\n"
	"                  became of its operations; then its memory is given to others (10000)\n"
	"  --directory D   the cluster that this shard is a member of, VERSION:NODE/SERVICE,...[:KEY,...]: svcctl\n"
	"                  gives it, and --member, where its configuration has a [cluster] (none)\n"
	"  --member N      which of its members this is, counted from 0\n"
	"  --state DIR     directory for the file that finds the index again after a restart of "
	"this\n"
	"                  process ($ATOLL_STATE; without either, a restart begins with an empty "
	"index)\n"
	"  --help          this text\n";

struct options {
	uint64_t groups, heap_mib, clients, lease_ms, return_ms;
	uint32_t each; /* groups of a subtable, of which there are 2^depth */
	unsigned depth;
	uint32_t type; /* enum index_type */
	const char *state;
	const char *directory; /* text; NULL: this shard is no member of a cluster */
	uint64_t member;
	struct index_directory parsed;
	uint64_t directory_id; /* 0: none */
};

struct host {
	struct shard *shard;
	struct atoll_region table, control;
	struct store store;
};

/* ------------------------------------------------------------------ the engine's I/O */

static int io_ask(void *ctx, uint16_t opcode, const uint64_t *args, unsigned nargs, uint64_t cookie)
{
	struct service *s = ctx;
	struct proto_msg m;

	proto_request_init(&m, opcode);
	memcpy(m.arg, args, nargs * sizeof(*args));
	m.nargs = (uint8_t)nargs;
	return atoll_request(s->ep, ATOLL_DATAPLANE, &m, NULL, cookie);
}

static void io_reply(void *ctx, const struct proto_msg *request, uint32_t status,
		     const uint64_t *args, unsigned nargs, const void *payload, uint32_t len)
{
	service_reply(ctx, request, status, args, nargs, payload, len);
}

static uint64_t io_random(void *ctx)
{
	uint64_t r = 0;

	(void)ctx;
	while (r == 0)
		if (getrandom(&r, sizeof(r), 0) != sizeof(r))
			r = 0;
	return r;
}

static void io_say(void *ctx, const char *line)
{
	(void)ctx;
	printf("index-shard: %s\n", line);
}

static uint64_t io_now(void *ctx)
{
	(void)ctx;
	return clock_now_ns();
}

static const struct shard_io io = {
	.ask = io_ask,
	.reply = io_reply,
	.random = io_random,
	.now_ns = io_now,
	.say = io_say,
};

static void handles(struct service *s)
{
	struct host *h = s->state;
	struct atoll_handle t = atoll_region_handle(s->ep, &h->table);
	struct atoll_handle c = atoll_region_handle(s->ep, &h->control);

	shard_handles_set(h->shard, &(struct shard_handles){t.slot, t.gen, c.slot, c.gen});
}

/* ------------------------------------------------------------------ regions */

static void state_path(char *path, size_t size, const char *dir, const char *suffix)
{
	snprintf(path, size, "%s/regions%s", dir, suffix);
}

/* The keys of the regions of an earlier life. 0 or negative errno. */
static int state_read(const char *dir, uint64_t key[2])
{
	char path[512];
	FILE *f;
	int n;

	state_path(path, sizeof(path), dir, "");
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fscanf(f, "table %" SCNx64 "\ncontrol %" SCNx64 "\n", &key[0], &key[1]);
	fclose(f);
	return n == 2 ? 0 : -EBADMSG;
}

static int state_write(const char *dir, const uint64_t key[2])
{
	char path[512], temporary[512];
	int fd, rc = 0;

	state_path(path, sizeof(path), dir, "");
	state_path(temporary, sizeof(temporary), dir, ".new");
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (dprintf(fd, "table %016" PRIx64 "\ncontrol %016" PRIx64 "\n", key[0], key[1]) < 0 ||
	    fsync(fd))
		rc = -errno;
	close(fd);
	if (!rc && rename(temporary, path))
		rc = -errno;
	return rc;
}

static int regions_make(struct service *s, const struct options *o)
{
	struct host *h = s->state;
	uint64_t segments = (o->heap_mib << 20) / INDEX_SEGMENT;
	uint64_t key[2];
	char err[256] = "";
	int rc;

	rc = atoll_region_alloc(
		s->ep,
		o->type == INDEX_TYPE_TREE ? index_tree_region_size(segments)
					   : index_table_region_size(o->each, o->depth, segments),
		REGION_FLAG_PERSIST | REGION_FLAG_SPARSE, &h->table, err, sizeof(err));
	if (!rc)
		rc = atoll_region_alloc(s->ep, index_control_region_size(segments),
					REGION_FLAG_PERSIST, &h->control, err, sizeof(err));
	if (rc) {
		fprintf(stderr, "index-shard: no memory for the index: %s\n", err);
		return rc;
	}
	*store_directory(h->control.base) = o->directory_id;
	key[0] = h->table.key;
	key[1] = h->control.key;
	if (o->state) {
		rc = state_write(o->state, key);
		if (rc) {
			fprintf(stderr, "index-shard: cannot write %s/regions: %s\n", o->state,
				strerror(-rc));
			return rc;
		}
	}
	if (o->type == INDEX_TYPE_TREE) {
		store_format_tree(&h->store, h->table.base, h->control.base, segments,
				  io_random(s));
		printf("index-shard: a new tree: heap of %" PRIu64 " MiB\n", o->heap_mib);
		return 0;
	}
	store_format(&h->store, h->table.base, h->control.base, o->each, o->depth, segments,
		     io_random(s));
	printf("index-shard: a new index: %" PRIu64 " slots, heap of %" PRIu64 " MiB\n",
	       ((uint64_t)o->each << o->depth) * INDEX_GROUP_BUCKETS * INDEX_BUCKET_SLOTS,
	       o->heap_mib);
	return 0;
}

/* 1: adopted; 0: there is nothing to adopt; negative errno. */
static int regions_adopt(struct service *s, const struct options *o)
{
	struct host *h = s->state;
	uint64_t key[2];
	const char *why;
	char err[256] = "";
	int rc;

	if (!o->state)
		return 0;
	rc = state_read(o->state, key);
	if (rc == -ENOENT)
		return 0;
	if (rc) {
		fprintf(stderr,
			"index-shard: cannot read %s/regions: %s; remove it to begin anew\n",
			o->state, strerror(-rc));
		return rc;
	}
	rc = atoll_region_claim(s->ep, key[0], &h->table, err, sizeof(err));
	if (rc == -ENOENT) /* the node was started again: its memory is gone */
		return 0;
	if (!rc)
		rc = atoll_region_claim(s->ep, key[1], &h->control, err, sizeof(err));
	if (rc) {
		fprintf(stderr, "index-shard: cannot claim the index of the last run: %s\n", err);
		return rc;
	}
	/* A life that ended before it formatted left zeros. */
	if (h->table.size >= INDEX_SUPER_SIZE &&
	    ((struct index_super *)h->table.base)->magic == 0) {
		atoll_region_free(s->ep, &h->table);
		atoll_region_free(s->ep, &h->control);
		return 0;
	}
	why = store_adopt(&h->store, h->table.base, h->table.size, h->control.base,
			  h->control.size);
	if (why) {
		fprintf(stderr,
			"index-shard: the regions of the last run are not taken: %s; remove "
			"%s/regions to begin anew\n",
			why, o->state);
		return -EBADMSG;
	}
	if (h->store.table->type != o->type) {
		fprintf(stderr,
			"index-shard: the index of the last run is a %s, not a %s; remove "
			"%s/regions to begin anew\n",
			h->store.table->type == INDEX_TYPE_TREE ? "tree" : "hash table",
			o->type == INDEX_TYPE_TREE ? "tree" : "hash table", o->state);
		return -EBADMSG;
	}
	if (*store_directory(h->control.base) != o->directory_id) {
		fprintf(stderr,
			"index-shard: the index of the last run was filled as %s, so its keys would not be found; "
			"give the shard the directory that it had, or remove %s/regions to begin anew\n",
			*store_directory(h->control.base) ? "a member of a cluster with another directory"
							  : "one that is alone",
			o->state);
		return -EBADMSG;
	}
	printf("index-shard: the index of the last run: %" PRIu64 " slots, heap %" PRIu64
	       " of %" PRIu64 " KiB handed out\n",
	       ((uint64_t)h->store.table->groups << h->store.table->depth) * INDEX_GROUP_BUCKETS *
		       INDEX_BUCKET_SLOTS,
	       h->store.used * (INDEX_SEGMENT >> 10), h->store.segments * (INDEX_SEGMENT >> 10));
	return 1;
}

/* ------------------------------------------------------------------ options */

static int number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || *out < min || *out > max) {
		fprintf(stderr,
			"index-shard: --%s wants a number from %" PRIu64 " to %" PRIu64
			", not \"%s\"\n",
			name, min, max, text);
		return -EINVAL;
	}
	return 0;
}

static int directory_read(struct options *o)
{
	char why[256] = "";

	if (!o->directory)
		return 0;
	if (index_directory_parse(&o->parsed, o->directory, strlen(o->directory), why, sizeof(why)))
		fprintf(stderr, "index-shard: --directory: %s\n", why);
	else if (o->member >= o->parsed.n)
		fprintf(stderr, "index-shard: --member %" PRIu64 ": the directory has %u members\n", o->member,
			o->parsed.n);
	else if (o->parsed.range && o->type != INDEX_TYPE_TREE)
		fprintf(stderr, "index-shard: a hash table is spread by hash: its directory has no keys; add --type tree "
				"or take them away\n");
	else if (!o->parsed.range && o->type == INDEX_TYPE_TREE && o->parsed.n > 1)
		fprintf(stderr, "index-shard: a tree is spread by range: its directory names the first key of each member "
				"but the first\n");
	else
		o->directory_id = index_directory_id(&o->parsed);
	return o->directory_id ? 0 : -EINVAL;
}

static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option list[] = {
		{"entries", 1, NULL, 'e'}, {"groups", 1, NULL, 'g'},   {"heap-mib", 1, NULL, 'm'},
		{"clients", 1, NULL, 'c'}, {"lease-ms", 1, NULL, 'l'}, {"state", 1, NULL, 's'},
		{"type", 1, NULL, 't'},    {"return-ms", 1, NULL, 'r'},
		{"directory", 1, NULL, 'd'}, {"member", 1, NULL, 'n'}, {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0},
	};
	uint64_t entries = 200000;
	int c, rc = 0;

	*o = (struct options){.lease_ms = 50,
			      .return_ms = 10000,
			      .heap_mib = 256,
			      .type = INDEX_TYPE_HASH,
			      .clients = INDEX_CLIENTS - 1,
			      .state = getenv("ATOLL_STATE")};
	while (!rc && (c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (c) {
		case 'e':
			rc = number("entries", optarg, 1, 1ull << 34, &entries);
			break;
		case 'g':
			rc = number("groups", optarg, INDEX_GROUPS_MIN, 1 << 22, &o->groups);
			break;
		case 'm':
			rc = number("heap-mib", optarg, 1, 1 << 18, &o->heap_mib);
			break;
		case 'c':
			rc = number("clients", optarg, 1, INDEX_CLIENTS - 1, &o->clients);
			break;
		case 'l':
			rc = number("lease-ms", optarg, 0, 60000, &o->lease_ms);
			break;
		case 'r':
			rc = number("return-ms", optarg, 0, 3600000, &o->return_ms);
			break;
		case 't':
			o->type = strcmp(optarg, "tree") == 0   ? INDEX_TYPE_TREE
				  : strcmp(optarg, "hash") == 0 ? INDEX_TYPE_HASH
								: 0;
			if (!o->type) {
				fprintf(stderr, "index-shard: --type is hash or tree, not \"%s\"\n",
					optarg);
				rc = -EINVAL;
			}
			break;
		case 's':
			o->state = optarg;
			break;
		case 'd':
			o->directory = optarg;
			break;
		case 'n':
			rc = number("member", optarg, 0, INDEX_MEMBERS_MAX - 1, &o->member);
			break;
		default:
			rc = -EINVAL;
		}
	}
	if (!rc && optind < argc) {
		fprintf(stderr, "index-shard: what is %s?\n", argv[optind]);
		rc = -EINVAL;
	}
	if (!rc)
		rc = directory_read(o);
	if (o->groups == 0)
		o->groups = store_groups(entries);
	o->each = store_subtables(o->groups, &o->depth);
	return rc;
}

/* ------------------------------------------------------------------ the service */

static int index_init(struct service *s, int argc, char **argv)
{
	static struct options o; /* one service a process; the directory in it is large */
	struct host *h;
	int rc = options_read(&o, argc, argv);

	if (rc)
		return rc;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	s->state = h;
	rc = regions_adopt(s, &o);
	if (rc == 0)
		rc = regions_make(s, &o);
	if (rc < 0)
		return rc;
	h->shard = shard_new(&h->store, (unsigned)o.clients, &io, s);
	if (!h->shard)
		return -ENOMEM;
	shard_lease_set(h->shard, o.lease_ms * 1000000);
	shard_return_set(h->shard, o.return_ms * 1000000);
	if (o.directory_id)
		shard_directory_set(h->shard, o.directory, (uint32_t)strlen(o.directory), &o.parsed,
				    (unsigned)o.member);
	handles(s);
	return 0;
}

/* What found no room in the ring is sent a little later. */
static void tick_later(struct service *s)
{
	struct host *h = s->state;

	if (shard_tick(h->shard) && s->timer_ns == UINT64_MAX)
		s->timer_ns = s->now_ns + TICK_NS;
}

static void index_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	shard_message(((struct host *)s->state)->shard, m, payload);
	tick_later(s);
}

static void index_reply(struct service *s, uint64_t cookie, const struct proto_msg *m,
			const void *payload)
{
	struct host *h = s->state;

	(void)payload;
	shard_answer(h->shard, cookie, m->status);
	if (s->timer_ns == UINT64_MAX)
		s->timer_ns = s->now_ns + TICK_NS;
}

static void index_peer_gone(struct service *s, uint32_t source, uint32_t epoch, uint32_t why)
{
	/* Of a node that is silent the client may live. */
	shard_peer_gone(((struct host *)s->state)->shard, source, epoch, why == GONE_NODE);
	tick_later(s);
}

static void index_reattached(struct service *s)
{
	struct host *h = s->state;

	handles(s);
	shard_restarted(h->shard);
	s->timer_ns = UINT64_MAX;
}

static void index_fini(struct service *s)
{
	struct host *h = s->state;

	if (h) {
		shard_free(h->shard);
		free(h);
	}
}

static const struct service_ops index_ops = {
	.name = "index-shard",
	.init = index_init,
	.message = index_message,
	.reply = index_reply,
	.peer_gone = index_peer_gone,
	.timer = tick_later,
	.reattached = index_reattached,
	.fini = index_fini,
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return fputs(usage, stdout) < 0;
	return service_main(&index_ops, argc, argv);
}
