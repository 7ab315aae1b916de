/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/conf_impl.h"
#include "proto/atoll_proto.h"

enum value_kind {
	VALUE_NAME,
	VALUE_TEXT, /* `size` bytes with the terminator */
	VALUE_MORE, /* text that may be continued, joined by a blank */
	VALUE_GLUE, /* text that may be continued, joined by nothing */
	VALUE_DIR,
	VALUE_NUMBER,
	VALUE_POWER, /* 0 or a power of two */
	VALUE_CORE,
	VALUE_USER,
	VALUE_ADDRESS,
	VALUE_IDLE,
	VALUE_RESTART,
	VALUE_TRUST,
	VALUE_ALLOW, /* may be given any number of times */
};

struct key {
	enum conf_section section;
	const char *name;
	enum value_kind kind;
	size_t offset, size; /* in the section's object */
	uint32_t min, max;
	bool required;
	const char *preset; /* what holds without the key, as text */
	const char *help;
};

#define AT(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)

static const struct key keys[] = {
	{SECTION_NODE, "name", VALUE_NAME, AT(node_conf, name), 0, 0, true, NULL,
	 "how other nodes call this one"},
	{SECTION_NODE, "id", VALUE_NUMBER, AT(node_conf, id), 1, CONF_NODE_MAX, true, NULL,
	 "node number, unique among the nodes that talk to each other"},
	{SECTION_NODE, "run_dir", VALUE_DIR, AT(node_conf, run_dir), 0, 0, true, NULL,
	 "directory of the node's sockets and logs, made if it is not there"},
	{SECTION_NODE, "heartbeat_ms", VALUE_NUMBER, AT(node_conf, heartbeat_ms), 1, 10000, false,
	 "50", "between heartbeats of a link; three missed ones and it is down"},
	{SECTION_NODE, "idle", VALUE_IDLE, AT(node_conf, idle), 0, 0, false, "auto",
	 "what pollers do without work: auto, spin, yield or block"},
	{SECTION_NODE, "core", VALUE_CORE, AT(node_conf, core), 0, 0, false, "none",
	 "core that the dataplane is pinned to"},
	{SECTION_NODE, "keeper_core", VALUE_CORE, AT(node_conf, keeper_core), 0, 0, false, "none",
	 "core that the keeper is pinned to"},
	{SECTION_NODE, "user", VALUE_USER, AT(node_conf, user), 0, 0, false, "who starts the node",
	 "user that keeper and dataplane become, when root starts the node"},
	{SECTION_NODE, "log_max_kib", VALUE_NUMBER, AT(node_conf, log_max_kib), 16, 1 << 20, false,
	 "4096", "size at which a process's log is moved to NAME.log.1"},
	{SECTION_NODE, "trace_entries", VALUE_POWER, AT(node_conf, trace_entries), 64, 1 << 20,
	 false, "4096", "entries of the trace ring that msgdump reads, 0 for none"},
	{SECTION_NODE, "recorder_entries", VALUE_POWER, AT(node_conf, recorder_entries), 64, 1 << 15,
	 false, "1024", "records that the flight recorder keeps, 0 for none"},

	{SECTION_PORT, "port", VALUE_GLUE, AT(node_conf, port), 0, 0, true, NULL,
	 "driver and its arguments, DRIVER:ARGS; or none"},
	{SECTION_PORT, "address", VALUE_ADDRESS, AT(node_conf, address), 0, 0, true, NULL,
	 "the node's IPv4 or IPv6 address"},
	{SECTION_PORT, "udp_port", VALUE_NUMBER, AT(node_conf, udp_port), 1, 65535, false, "4791",
	 "UDP port of RoCEv2, the same on all nodes"},
	{SECTION_PORT, "mtu_bytes", VALUE_NUMBER, AT(node_conf, mtu_bytes), 576, 65535, false,
	 "what the port can", "largest IPv4 packet"},
	{SECTION_PORT, "buffers", VALUE_NUMBER, AT(node_conf, buffers), 64, 1 << 20, false,
	 "the driver's", "packet buffers"},
	{SECTION_PORT, "trust", VALUE_TRUST, AT(node_conf, trust_none), 0, 0, false, "not given",
	 "none: links to addresses that are not loopback are wanted, though nothing authenticates"
	 " them"},

	{SECTION_PEER, "id", VALUE_NUMBER, AT(conf_peer, id), 1, CONF_NODE_MAX, true, NULL,
	 "its node number"},
	{SECTION_PEER, "address", VALUE_ADDRESS, AT(conf_peer, address), 0, 0, true, NULL,
	 "its IP address, of the same family"},

	{SECTION_SERVICE, "exec", VALUE_TEXT, AT(conf_service, exec), 0, 0, true, NULL,
	 "program: a path, or the name of one that came with svcctl"},
	{SECTION_SERVICE, "args", VALUE_MORE, AT(conf_service, args), 0, 0, false, "none",
	 "its arguments, separated by blanks"},
	{SECTION_SERVICE, "core", VALUE_CORE, AT(conf_service, core), 0, 0, false, "none",
	 "core that it is pinned to"},
	{SECTION_SERVICE, "user", VALUE_USER, AT(conf_service, user), 0, 0, false,
	 "nobody if root starts the node", "user that it becomes, when root starts the node"},
	{SECTION_SERVICE, "restart", VALUE_RESTART, AT(conf_service, restart), 0, 0, false,
	 "always", "when it has ended: always, on-failure or never"},
	{SECTION_SERVICE, "backoff_ms", VALUE_NUMBER, AT(conf_service, backoff_ms), 1, 60000, false,
	 "10", "wait before the first restart; doubles each time"},
	{SECTION_SERVICE, "backoff_max_ms", VALUE_NUMBER, AT(conf_service, backoff_max_ms), 1,
	 3600000, false, "5000", "longest wait before a restart"},
	{SECTION_SERVICE, "backoff_reset_ms", VALUE_NUMBER, AT(conf_service, backoff_reset_ms), 1,
	 3600000, false, "10000", "alive for so long, it is restarted at once again"},

	{SECTION_CLUSTER, "version", VALUE_NUMBER, AT(conf_cluster, version), 1, UINT32_MAX, false, "1",
	 "of its directory: shards and clients that know of another one do not mix"},
	{SECTION_CLUSTER, "members", VALUE_MORE, AT(conf_cluster, members), 0, 0, true, NULL,
	 "its shards, NODE/SERVICE, separated by blanks, the same on all their nodes"},
	{SECTION_CLUSTER, "splits", VALUE_MORE, AT(conf_cluster, splits), 0, 0, false, "none: hash tables",
	 "trees: the first key of each member but the first, in order, separated by blanks; \\xNN for odd bytes"},

	{SECTION_LOOKUP, "allow", VALUE_ALLOW, 0, 0, 0, 0, false, "everybody, without this section",
	 "USER:SERVICE, either of them * for all; SERVICE may end in *; may be repeated"},

	{SECTION_LIMITS, "connections", VALUE_NUMBER, AT(conf_limits, connections), 1, 1 << 20, false,
	 "256", "connections to the control socket at a time"},
	{SECTION_LIMITS, "endpoints", VALUE_NUMBER, AT(conf_limits, endpoints), 1, 1 << 20, false,
	 "128", "processes attached at a time"},
	{SECTION_LIMITS, "ring_mib", VALUE_NUMBER, AT(conf_limits, ring_mib), 1, 1 << 26, false,
	 "1024", "MiB of all rings and arenas together"},
	{SECTION_LIMITS, "lanes", VALUE_NUMBER, AT(conf_limits, lanes), 1, 1 << 20, false,
	 "1024", "lanes open at a time"},
	{SECTION_LIMITS, "requests", VALUE_NUMBER, AT(conf_limits, requests), 1, 1 << 20, false,
	 "2048", "requests unanswered at a time"},
	{SECTION_LIMITS, "chains", VALUE_NUMBER, AT(conf_limits, chains), 1, 1 << 20, false,
	 "2048", "chains of verbs under way at a time; more wait in their rings"},
	{SECTION_LIMITS, "credits", VALUE_NUMBER, AT(conf_limits, credits), 1, 1 << 16, false,
	 "48", "of the 64 requests that a node may have unanswered at a service of another one"},
	{SECTION_LIMITS, "regions", VALUE_NUMBER, AT(conf_limits, regions), 1, 1 << 20, false,
	 "1024", "regions at a time"},
	{SECTION_LIMITS, "region_mib", VALUE_NUMBER, AT(conf_limits, region_mib), 1, 1 << 26, false,
	 "half of the machine's memory", "MiB of all regions together"},
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
_Static_assert(KEYS <= 64, "conf_reader.seen has a bit for each");

static const char *const idle_names[] = {
	[IDLE_MODE_AUTO] = "auto",
	[IDLE_MODE_SPIN] = "spin",
	[IDLE_MODE_YIELD] = "yield",
	[IDLE_MODE_BLOCK] = "block",
};

static const char *const restart_names[] = {
	[CONF_RESTART_ALWAYS] = "always",
	[CONF_RESTART_ON_FAILURE] = "on-failure",
	[CONF_RESTART_NEVER] = "never",
};

bool conf_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > CONF_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

/* A whole decimal number, and nothing else. */
static int number_parse(const char *text, uint32_t *out)
{
	uint64_t v = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		v = v * 10 + (uint64_t)(*text - '0');
		if (v > UINT32_MAX)
			return -ERANGE;
	}
	*out = (uint32_t)v;
	return 0;
}

int conf_user_find(const char *text, struct conf_user *out)
{
	const struct passwd *pw;
	uint32_t uid;

	if (number_parse(text, &uid) == 0) {
		if (uid == UINT32_MAX) /* (uid_t)-1: "no change" to setuid's family */
			return -ENOENT;
		pw = getpwuid(uid);
		*out = (struct conf_user){true, uid, pw ? pw->pw_gid : uid};
		return 0;
	}
	pw = *text ? getpwnam(text) : NULL;
	if (!pw)
		return -ENOENT;
	*out = (struct conf_user){true, pw->pw_uid, pw->pw_gid};
	return 0;
}

/* The cores that may be used, as "0-1,4". */
static void cores_text(const struct conf_host *host, char *out, size_t len)
{
	size_t at = 0;

	out[0] = 0;
	for (int i = 0; i < CONF_CORES_MAX && at + 16 < len; i++) {
		int first = i;

		if (!host->core[i])
			continue;
		while (i + 1 < CONF_CORES_MAX && host->core[i + 1])
			i++;
		at += (size_t)snprintf(out + at, len - at, i > first ? "%s%d-%d" : "%s%d",
				       at ? "," : "", first, i);
	}
}

static void set_core(struct conf_reader *r, const struct key *k, const char *v, int *out)
{
	char cores[128];
	uint32_t core;

	if (strcmp(v, "none") == 0) {
		*out = CONF_NO_CORE;
		return;
	}
	if (number_parse(v, &core) == 0 && core < CONF_CORES_MAX && (!r->host || r->host->core[core])) {
		*out = (int)core;
		return;
	}
	if (r->host)
		cores_text(r->host, cores, sizeof(cores));
	else
		snprintf(cores, sizeof(cores), "0-%d", CONF_CORES_MAX - 1);
	conf_error(r, r->line, "%s = %s: there is no such core here; use one of %s, or none", k->name,
		   v, cores);
}

static void set_address(struct conf_reader *r, const struct key *k, const char *v, struct ip_addr *out)
{
	struct ip_addr a;

	if (ip_addr_parse(&a, v)) {
		conf_error(r, r->line, "%s = %s: not an IPv4 or IPv6 address; write it as 127.0.0.2 or fd00::2",
			   k->name, v);
		return;
	}
	if (!ip_addr_is_host(a)) {
		conf_error(r, r->line, "%s = %s: not the address of one host%s", k->name, v,
			   ip_addr_is_v6(a) ? "; link-local ones need an interface: write a global or unique"
					      " local one, as fd00::2" : "");
		return;
	}
	*out = a;
	if (r->section == SECTION_PORT)
		r->address_line = r->line;
}

static void set_enum(struct conf_reader *r, const struct key *k, const char *v,
		     const char *const *names, unsigned n, uint8_t *out)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], v) == 0) {
			*out = (uint8_t)i;
			return;
		}
	conf_error(r, r->line, "%s = %s: not known; %s", k->name, v, k->help);
}

static void set_number(struct conf_reader *r, const struct key *k, const char *v, uint32_t *out)
{
	uint32_t n;

	if (number_parse(v, &n)) {
		conf_error(r, r->line, "%s = %s: not a whole number; write one from %u to %u", k->name,
			   v, k->min, k->max);
	} else if (k->kind == VALUE_POWER && n && (n & (n - 1))) {
		conf_error(r, r->line, "%s = %s: not a power of two; write 0, or one from %u to %u",
			   k->name, v, k->min, k->max);
	} else if ((n < k->min || n > k->max) && !(k->kind == VALUE_POWER && n == 0)) {
		conf_error(r, r->line, "%s = %s: out of range; write a number from %u to %u", k->name,
			   v, k->min, k->max);
	} else {
		*out = n;
	}
}

static void set_text(struct conf_reader *r, const struct key *k, const char *v, char *out)
{
	size_t have = r->continued ? strlen(out) : 0, len = strlen(v);
	size_t gap = have && k->kind == VALUE_MORE;

	if (have + gap + len >= k->size) {
		conf_error(r, r->line, "%s: longer than %zu bytes", k->name, k->size - 1);
		return;
	}
	if (len == 0 && k->required) {
		conf_error(r, r->line, "%s: has no value; %s", k->name, k->help);
		return;
	}
	if (gap)
		out[have] = ' ';
	memcpy(out + have + gap, v, len + 1);
}

static void set_dir(struct conf_reader *r, const struct key *k, const char *v, char *out)
{
	if (v[0] != '/')
		conf_error(r, r->line, "%s = %s: not an absolute path; begin it with /", k->name, v);
	else if (strlen(v) >= k->size)
		conf_error(r, r->line, "%s: longer than %zu bytes, so that a socket in it could not be"
			   " named; choose a shorter one", k->name, k->size - 1);
	else
		memcpy(out, v, strlen(v) + 1);
}

static void set_allow(struct conf_reader *r, const char *v)
{
	struct conf_rule rule = {0};
	struct conf_user user;
	const char *colon = strchr(v, ':');
	char who[CONF_NAME_MAX + 1], *star;
	size_t n = colon ? (size_t)(colon - v) : 0;

	if (!colon || n == 0 || n > CONF_NAME_MAX || strlen(colon + 1) > CONF_NAME_MAX ||
	    !colon[1]) {
		conf_error(r, r->line, "allow = %s: not USER:SERVICE; write, for example, *:echo", v);
		return;
	}
	memcpy(who, v, n);
	who[n] = 0;
	memcpy(rule.pattern, colon + 1, strlen(colon + 1) + 1);
	star = strchr(rule.pattern, '*');
	if (star && star[1]) {
		conf_error(r, r->line, "allow = %s: a * may only end the service's name", v);
		return;
	}
	if (strcmp(who, "*") == 0) {
		rule.any_user = true;
	} else if (conf_user_find(who, &user)) {
		conf_error(r, r->line, "allow = %s: there is no user %s here; name another or write its"
			   " number", v, who);
		return;
	} else {
		rule.uid = user.uid;
	}
	if (r->out->nrules == CONF_RULES_MAX) {
		conf_error(r, r->line, "allow: more than %d rules", CONF_RULES_MAX);
		return;
	}
	r->out->rules[r->out->nrules++] = rule;
}

static void value_set(struct conf_reader *r, const struct key *k, const char *v)
{
	void *field = (char *)r->object + k->offset;

	switch (k->kind) {
	case VALUE_NAME:
		if (conf_name_ok(v))
			memcpy(field, v, strlen(v) + 1);
		else
			conf_error(r, r->line, "%s = %s: not a name; use up to %d letters, digits and"
				   " . _ -, and begin with none of . -", k->name, v, CONF_NAME_MAX);
		break;
	case VALUE_TEXT:
	case VALUE_MORE:
	case VALUE_GLUE:
		set_text(r, k, v, field);
		break;
	case VALUE_DIR:
		set_dir(r, k, v, field);
		break;
	case VALUE_NUMBER:
	case VALUE_POWER:
		set_number(r, k, v, field);
		break;
	case VALUE_CORE:
		set_core(r, k, v, field);
		break;
	case VALUE_USER:
		if (conf_user_find(v, field))
			conf_error(r, r->line, "%s = %s: there is no such user here; name another or"
				   " write its number", k->name, v);
		break;
	case VALUE_ADDRESS:
		set_address(r, k, v, field);
		break;
	case VALUE_IDLE:
		set_enum(r, k, v, idle_names, sizeof(idle_names) / sizeof(idle_names[0]), field);
		break;
	case VALUE_RESTART:
		set_enum(r, k, v, restart_names, sizeof(restart_names) / sizeof(restart_names[0]),
			 field);
		break;
	case VALUE_TRUST:
		if (strcmp(v, "none") == 0)
			*(bool *)field = true;
		else
			conf_error(r, r->line, "trust = %s: links cannot be authenticated yet; the only"
				   " value is none", v);
		break;
	case VALUE_ALLOW:
		set_allow(r, v);
		break;
	}
}

static void key_unknown(struct conf_reader *r, const char *key)
{
	char list[256];
	size_t at = 0;

	list[0] = 0;
	for (unsigned i = 0; i < KEYS && at + 32 < sizeof(list); i++)
		if (keys[i].section == r->section)
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s",
					       at ? ", " : "", keys[i].name);
	conf_error(r, r->line, "unknown key %s; this section has %s", key, list);
}

void conf_key_set(struct conf_reader *r, const char *key, const char *value)
{
	for (unsigned i = 0; i < KEYS; i++) {
		const struct key *k = &keys[i];
		uint64_t bit = 1ull << i;

		if (k->section != r->section || strcmp(k->name, key) != 0)
			continue;
		if (r->continued && k->kind != VALUE_MORE && k->kind != VALUE_GLUE)
			conf_error(r, r->line, "this line begins with a blank and so continues %s, which"
				   " has one line; begin it at the margin", key);
		else if (!r->continued && (r->seen & bit) && k->kind != VALUE_ALLOW)
			conf_error(r, r->line, "%s: given twice in this section; keep one", key);
		else
			value_set(r, k, value);
		r->seen |= bit;
		return;
	}
	key_unknown(r, key);
}

void conf_keys_missing(struct conf_reader *r, unsigned line, const char *what)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (keys[i].section == r->section && keys[i].required && !(r->seen & 1ull << i))
			conf_error(r, line, "%s has no %s; add: %s = ... (%s)", what, keys[i].name,
				   keys[i].name, keys[i].help);
}

void conf_reference(FILE *out)
{
	static const struct {
		enum conf_section section;
		const char *title;
	} sections[] = {
		{SECTION_NODE, "[node]"},
		{SECTION_PORT, "[port]"},
		{SECTION_PEER, "[peer NAME]     for each node that this one talks to"},
		{SECTION_SERVICE, "[service NAME]  for each service"},
		{SECTION_CLUSTER, "[cluster NAME]  an index over several shards, of which this node hosts some"},
		{SECTION_LOOKUP, "[lookup]"},
		{SECTION_LIMITS, "[limits USER]   for one user; [limits]: for each user without its own. The\n"
				 "                node's owner and its services have only limits that name their user"},
	};

	for (unsigned s = 0; s < sizeof(sections) / sizeof(sections[0]); s++) {
		fprintf(out, "%s%s\n", s ? "\n" : "", sections[s].title);
		for (unsigned i = 0; i < KEYS; i++) {
			const struct key *k = &keys[i];

			if (k->section != sections[s].section)
				continue;
			fprintf(out, "  %-17s %s\n", k->name, k->help);
			fprintf(out, "  %-17s %s", "",
				k->required ? "must be given" : "default: ");
			if (!k->required)
				fputs(k->preset, out);
			if (k->max)
				fprintf(out, "; %u to %u", k->min, k->max);
			fputc('\n', out);
		}
	}
}
