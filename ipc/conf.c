/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "ipc/conf_impl.h"
#include "proto/atoll_proto.h"

void conf_error(struct conf_reader *r, unsigned line, const char *fmt, ...)
{
	char text[768];
	int at = line ? snprintf(text, sizeof(text), "%.200s:%u: ", r->name, line)
		      : snprintf(text, sizeof(text), "%.200s: ", r->name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + at, sizeof(text) - (size_t)at, fmt, ap);
	va_end(ap);
	/* What is quoted from the file may hold anything. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	r->errors->count++;
	if (r->errors->say)
		r->errors->say(r->errors->arg, text);
}

/* ---------------------------------------------------------------- sections */

static void section_end(struct conf_reader *r)
{
	const struct conf_service *s;
	const struct conf_peer *p;
	const struct conf_cluster *k;
	char what[CONF_NAME_MAX + 16];

	switch (r->section) {
	case SECTION_NODE:
		conf_keys_missing(r, r->node_line, "[node]");
		break;
	case SECTION_PORT:
		conf_keys_missing(r, r->port_line, "[port]");
		break;
	case SECTION_PEER:
		p = r->object;
		snprintf(what, sizeof(what), "[peer %s]", p->name);
		conf_keys_missing(r, p->line, what);
		break;
	case SECTION_SERVICE:
		s = r->object;
		snprintf(what, sizeof(what), "[service %s]", s->name);
		conf_keys_missing(r, s->line, what);
		break;
	case SECTION_CLUSTER:
		k = r->object;
		snprintf(what, sizeof(what), "[cluster %s]", k->name);
		conf_keys_missing(r, k->line, what);
		break;
	case SECTION_NONE:
	case SECTION_BAD:
	case SECTION_LOOKUP:
	case SECTION_LIMITS:
		break;
	}
	r->section = SECTION_BAD;
}

/* Sections that stand once and have no name. */
static void section_single(struct conf_reader *r, enum conf_section section, unsigned *line,
			   const char *kind, const char *name)
{
	if (*name)
		conf_error(r, r->line, "[%s %s]: this section has no name; write [%s]", kind, name,
			   kind);
	else if (*line)
		conf_error(r, r->line, "[%s] is there already, in line %u; put their keys together",
			   kind, *line);
	else
		r->section = section;
	if (!*line)
		*line = r->line;
	r->object = r->out;
}

static void section_peer(struct conf_reader *r, const char *name)
{
	struct node_conf *c = r->out;

	if (!conf_name_ok(name)) {
		conf_error(r, r->line, "[peer %s]: not a name; write [peer NAME] with the name that the"
			   " other node has in its [node] section", name);
		return;
	}
	for (unsigned i = 0; i < c->npeers; i++)
		if (strcmp(c->peers[i].name, name) == 0) {
			conf_error(r, r->line, "[peer %s] is there already, in line %u; remove one",
				   name, c->peers[i].line);
			return;
		}
	if (c->npeers == CONF_PEERS_MAX) {
		conf_error(r, r->line, "more than %d peers", CONF_PEERS_MAX);
		return;
	}
	r->object = &c->peers[c->npeers++];
	*(struct conf_peer *)r->object = (struct conf_peer){.line = r->line};
	memcpy(((struct conf_peer *)r->object)->name, name, strlen(name) + 1);
	r->section = SECTION_PEER;
}

static void section_service(struct conf_reader *r, const char *name)
{
	struct node_conf *c = r->out;
	struct conf_service *s;

	if (!conf_name_ok(name)) {
		conf_error(r, r->line, "[service %s]: not a name; write [service NAME] with up to %d"
			   " letters, digits and . _ -", name, CONF_NAME_MAX);
		return;
	}
	if (strcmp(name, "keeper") == 0 || strcmp(name, "dataplane") == 0) {
		conf_error(r, r->line, "[service %s]: every node has a %s of its own; choose another"
			   " name", name, name);
		return;
	}
	for (unsigned i = 0; i < c->nservices; i++)
		if (strcmp(c->services[i].name, name) == 0) {
			conf_error(r, r->line, "[service %s] is there already, in line %u; rename or"
				   " remove one", name, c->services[i].line);
			return;
		}
	if (c->nservices == CONF_SERVICES_MAX) {
		conf_error(r, r->line, "more than %d services", CONF_SERVICES_MAX);
		return;
	}
	s = &c->services[c->nservices++];
	*s = (struct conf_service){
		.core = CONF_NO_CORE,
		.restart = CONF_RESTART_ALWAYS,
		.backoff_ms = 10,
		.backoff_max_ms = 5000,
		.backoff_reset_ms = 10000,
		.line = r->line,
	};
	memcpy(s->name, name, strlen(name) + 1);
	r->object = s;
	r->section = SECTION_SERVICE;
}

static void section_cluster(struct conf_reader *r, const char *name)
{
	struct node_conf *c = r->out;

	if (!conf_name_ok(name)) {
		conf_error(r, r->line, "[cluster %s]: not a name; write [cluster NAME]", name);
		return;
	}
	for (unsigned i = 0; i < c->nclusters; i++)
		if (strcmp(c->clusters[i].name, name) == 0) {
			conf_error(r, r->line, "[cluster %s] is there already, in line %u; remove one", name,
				   c->clusters[i].line);
			return;
		}
	if (c->nclusters == CONF_CLUSTERS_MAX) {
		conf_error(r, r->line, "more than %d clusters", CONF_CLUSTERS_MAX);
		return;
	}
	r->object = &c->clusters[c->nclusters++];
	*(struct conf_cluster *)r->object = (struct conf_cluster){.version = 1, .line = r->line};
	memcpy(((struct conf_cluster *)r->object)->name, name, strlen(name) + 1);
	r->section = SECTION_CLUSTER;
}

static void section_limits(struct conf_reader *r, const char *name)
{
	struct node_conf *c = r->out;
	struct conf_limits l = {.any_user = !*name, .line = r->line};
	struct conf_user user;

	if (*name) {
		if (conf_user_find(name, &user)) {
			conf_error(r, r->line, "[limits %s]: there is no such user here; name another"
				   " or write its number", name);
			return;
		}
		l.uid = user.uid;
	}
	for (unsigned i = 0; i < c->nlimits; i++)
		if (c->limits[i].any_user == l.any_user && c->limits[i].uid == l.uid) {
			conf_error(r, r->line, "limits of this user are there already, in line %u; put"
				   " their keys together", c->limits[i].line);
			return;
		}
	if (c->nlimits == CONF_LIMITS_MAX) {
		conf_error(r, r->line, "limits for more than %d users", CONF_LIMITS_MAX);
		return;
	}
	c->limits[c->nlimits] = l;
	r->object = &c->limits[c->nlimits++];
	r->section = SECTION_LIMITS;
}

/* @text: what stands between the brackets. */
static void section_begin(struct conf_reader *r, char *text)
{
	char *kind = text + strspn(text, " \t"), *name, *end;

	section_end(r);
	r->had_key = false;
	r->seen = 0;
	end = kind + strlen(kind);
	while (end > kind && strchr(" \t", end[-1]))
		*--end = 0;
	name = kind + strcspn(kind, " \t");
	if (*name) {
		*name++ = 0;
		name += strspn(name, " \t");
	}
	if (strcmp(kind, "node") == 0)
		section_single(r, SECTION_NODE, &r->node_line, kind, name);
	else if (strcmp(kind, "port") == 0)
		section_single(r, SECTION_PORT, &r->port_line, kind, name);
	else if (strcmp(kind, "lookup") == 0)
		section_single(r, SECTION_LOOKUP, &r->lookup_line, kind, name);
	else if (strcmp(kind, "peer") == 0)
		section_peer(r, name);
	else if (strcmp(kind, "service") == 0)
		section_service(r, name);
	else if (strcmp(kind, "cluster") == 0)
		section_cluster(r, name);
	else if (strcmp(kind, "limits") == 0)
		section_limits(r, name);
	else
		conf_error(r, r->line, "unknown section [%s]; there are node, port, peer NAME, service"
			   " NAME, cluster NAME, lookup, limits and limits USER", kind);
}

/* ---------------------------------------------------------------- lines */

/* Looks at a line before the INI library does: it has no place for sections that are empty or wrong.
 * Returns false when the library is to see an empty line instead. */
static bool line_look(struct conf_reader *r, const char *line, size_t len)
{
	char copy[CONF_LINE_MAX + 1], *start, *close;

	if (len > CONF_LINE_MAX) {
		conf_error(r, r->line, "longer than %d bytes; args, port, members and splits may go on in a further line"
			   " that begins with a blank", CONF_LINE_MAX);
		return false;
	}
	if (memchr(line, 0, len)) {
		conf_error(r, r->line, "holds a NUL byte: is this a text file?");
		return false;
	}
	memcpy(copy, line, len);
	copy[len] = 0;
	start = copy + strspn(copy, " \t\r\v\f");
	r->continued = start > copy && r->had_key;
	if (!*start || *start == ';' || *start == '#' || r->continued)
		return true;
	if (*start == '[') {
		close = strchr(start, ']');
		if (!close) {
			conf_error(r, r->line, "a section without its closing ]");
			section_end(r);
			return false;
		}
		*close = 0;
		section_begin(r, start + 1);
		return true;
	}
	if (!strpbrk(start, "=:")) {
		conf_error(r, r->line, "neither [section] nor key = value; put # before a comment");
		return false;
	}
	return true;
}

static char *line_read(char *buf, int num, void *arg)
{
	struct conf_reader *r = arg;
	const char *line = r->text + r->pos, *end;
	size_t len = r->len - r->pos;

	if (r->pos == r->len || num < CONF_LINE_MAX + 3)
		return NULL;
	end = memchr(line, '\n', len);
	if (end)
		len = (size_t)(end - line);
	r->pos += len + (end ? 1 : 0);
	r->line++;
	if (len && line[len - 1] == '\r')
		len--;
	if (!line_look(r, line, len))
		len = 0;
	memcpy(buf, line, len);
	buf[len] = '\n';
	buf[len + 1] = 0;
	return buf;
}

static int key_value(void *arg, const char *section, const char *key, const char *value)
{
	struct conf_reader *r = arg;

	(void)section; /* the library cuts long ones */
	r->had_key = true;
	if (r->section == SECTION_NONE)
		conf_error(r, r->line, "%s stands before the first section; begin with [node]", key);
	else if (r->section != SECTION_BAD)
		conf_key_set(r, key, value ? value : "");
	return 1;
}

/* ---------------------------------------------------------------- what must fit together */

static void check_trust(struct conf_reader *r, unsigned line, struct ip_addr address)
{
	char text[IP_ADDR_TEXT];

	if (!r->out->trust_none && !ip_addr_none(address) && !ip_addr_is_loopback(address))
		conf_error(r, line, "%s is not a loopback address, and links are not authenticated: if"
			   " everybody on that network may be trusted, write trust = none in [port]",
			   ip_addr_text(address, text));
}

static void check_peers(struct conf_reader *r)
{
	const struct node_conf *c = r->out;

	for (unsigned i = 0; i < c->npeers; i++) {
		const struct conf_peer *p = &c->peers[i];

		check_trust(r, p->line, p->address);
		if (strcmp(p->name, c->name) == 0)
			conf_error(r, p->line, "[peer %s] has this node's own name; a node is not its"
				   " own peer", p->name);
		if (p->id && p->id == c->id)
			conf_error(r, p->line, "[peer %s] has this node's own id, %u; give each node"
				   " another", p->name, p->id);
		if (!ip_addr_none(p->address) && !ip_addr_none(c->address) &&
		    ip_addr_is_v4(p->address) != ip_addr_is_v4(c->address))
			conf_error(r, p->line, "[peer %s] has an IPv%d address and this node an IPv%d one; they"
				   " must be of one family", p->name, ip_addr_is_v4(p->address) ? 4 : 6,
				   ip_addr_is_v4(c->address) ? 4 : 6);
		if (!ip_addr_none(p->address) && ip_addr_equal(p->address, c->address))
			conf_error(r, p->line, "[peer %s] has this node's own address", p->name);
		for (unsigned j = 0; j < i; j++) {
			const struct conf_peer *q = &c->peers[j];

			if (p->id && p->id == q->id)
				conf_error(r, p->line, "[peer %s] has the id %u of [peer %s] in line"
					   " %u; give each node another", p->name, p->id, q->name,
					   q->line);
			if (!ip_addr_none(p->address) && ip_addr_equal(p->address, q->address))
				conf_error(r, p->line, "[peer %s] has the address of [peer %s] in line"
					   " %u", p->name, q->name, q->line);
		}
	}
}

static void check_whole(struct conf_reader *r)
{
	struct node_conf *c = r->out;

	if (!r->node_line)
		conf_error(r, 0, "has no [node] section; begin with [node], name = ..., id = ...,"
			   " run_dir = ...");
	if (!r->port_line && c->npeers)
		conf_error(r, 0, "has peers but no [port] section; add [port], port = uring:, address ="
			   " ...");
	if (strcmp(c->port, "none") == 0) {
		c->port[0] = 0;
		if (c->npeers)
			conf_error(r, r->port_line, "port = none, but there are peers");
	} else if (c->port[0] && !strchr(c->port, ':')) {
		conf_error(r, r->port_line, "port = %s: not DRIVER:ARGS; write, for example, uring:",
			   c->port);
	}
	check_trust(r, r->address_line, c->address);
	check_peers(r);
	conf_clusters_check(r);
	for (unsigned i = 0; i < c->nservices; i++) {
		const struct conf_service *s = &c->services[i];

		if (s->backoff_ms > s->backoff_max_ms)
			conf_error(r, s->line, "[service %s]: backoff_ms is more than backoff_max_ms",
				   s->name);
	}
	c->lookup_open = !r->lookup_line;
}

int conf_parse(const char *name, const char *text, size_t len, const struct conf_host *host,
	       struct node_conf *out, struct conf_errors *errors)
{
	struct conf_reader r = {.name = name,
				.text = text,
				.len = len,
				.host = host,
				.out = out,
				.errors = errors,
				.object = out};
	unsigned before = errors->count;

	*out = (struct node_conf){
		.heartbeat_ms = PROTO_HEARTBEAT_DEFAULT,
		.idle = IDLE_MODE_AUTO,
		.core = CONF_NO_CORE,
		.keeper_core = CONF_NO_CORE,
		.log_max_kib = 4096,
		.trace_entries = 4096,
		.recorder_entries = 1024,
		.udp_port = 4791, /* IANA: roce */
	};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		r.pos = 3;
	if (ini_parse_stream(line_read, &r, key_value, &r) < 0 || r.pos != r.len)
		conf_error(&r, r.line, "cannot be read as an INI file");
	section_end(&r);
	check_whole(&r);
	return errors->count == before ? 0 : -EINVAL;
}

int conf_read_fd(int fd, const char *name, const struct conf_host *host, struct node_conf *out,
		 struct conf_errors *errors)
{
	struct conf_reader r = {.name = name, .errors = errors};
	char *text = malloc(CONF_FILE_MAX + 1);
	size_t len = 0;
	int rc = 0;

	if (!text)
		return -ENOMEM;
	while (len <= CONF_FILE_MAX) {
		ssize_t n = pread(fd, text + len, CONF_FILE_MAX + 1 - len, (off_t)len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = -errno;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (len > CONF_FILE_MAX)
		rc = -EFBIG;
	if (rc)
		conf_error(&r, 0, "cannot be read: %s", strerror(-rc));
	else
		rc = conf_parse(name, text, len, host, out, errors);
	free(text);
	return rc;
}

int conf_read(const char *path, const struct conf_host *host, struct node_conf *out,
	      struct conf_errors *errors)
{
	struct conf_reader r = {.name = path, .errors = errors};
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0) {
		rc = -errno;
		conf_error(&r, 0, "cannot be opened: %s", strerror(-rc));
		return rc;
	}
	rc = conf_read_fd(fd, path, host, out, errors);
	close(fd);
	return rc;
}

void conf_host_here(struct conf_host *host)
{
	cpu_set_t *set = CPU_ALLOC(CONF_CORES_MAX);
	size_t size = CPU_ALLOC_SIZE(CONF_CORES_MAX);

	memset(host, 0, sizeof(*host));
	host->core[0] = 1;
	if (!set)
		return;
	if (sched_getaffinity(0, size, set) == 0)
		for (int i = 0; i < CONF_CORES_MAX; i++)
			host->core[i] = CPU_ISSET_S((size_t)i, size, set) ? 1 : 0;
	CPU_FREE(set);
}

/* ---------------------------------------------------------------- questions */

bool conf_lookup_allowed(const struct node_conf *conf, uint32_t uid, const char *service)
{
	if (conf->lookup_open)
		return true;
	for (unsigned i = 0; i < conf->nrules; i++) {
		const struct conf_rule *rule = &conf->rules[i];
		size_t n = strcspn(rule->pattern, "*");

		if (!rule->any_user && rule->uid != uid)
			continue;
		if (rule->pattern[n] == '*' ? strncmp(rule->pattern, service, n) == 0
					    : strcmp(rule->pattern, service) == 0)
			return true;
	}
	return false;
}

const struct conf_limits *conf_limits_of(const struct node_conf *conf, uint32_t uid)
{
	const struct conf_limits *any = NULL;

	for (unsigned i = 0; i < conf->nlimits; i++) {
		if (conf->limits[i].any_user)
			any = &conf->limits[i];
		else if (conf->limits[i].uid == uid)
			return &conf->limits[i];
	}
	return any;
}

struct conf_limits conf_limits_for(const struct node_conf *conf, uint32_t uid, bool trusted)
{
	const struct conf_limits *l = conf_limits_of(conf, uid);
	struct conf_limits r = l && !(trusted && l->any_user) ? *l : (struct conf_limits){.uid = uid};

	if (trusted)
		return r;
	r.connections = r.connections ? r.connections : CONF_CONNECTIONS;
	r.endpoints = r.endpoints ? r.endpoints : CONF_ENDPOINTS;
	r.ring_mib = r.ring_mib ? r.ring_mib : CONF_RING_MIB;
	r.lanes = r.lanes ? r.lanes : CONF_LANES;
	r.requests = r.requests ? r.requests : CONF_REQUESTS;
	r.chains = r.chains ? r.chains : CONF_CHAINS;
	r.credits = r.credits ? r.credits : CONF_CREDITS;
	r.regions = r.regions ? r.regions : CONF_REGIONS;
	return r;
}
