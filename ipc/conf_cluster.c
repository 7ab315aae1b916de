/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters: a directory for their shards, and whether it fits the rest of the configuration. */
#include <stdio.h>
#include <string.h>

#include "ipc/conf_impl.h"
#include "proto/index_directory.h"

/* Adds the words of @list, separated by commas. */
static bool words_add(char *out, size_t size, size_t *at, const char *list)
{
	const char *blanks = " \t";
	bool first = true;

	for (const char *w = list + strspn(list, blanks); *w; w += strspn(w, blanks)) {
		size_t n = strcspn(w, blanks);

		if (*at + n + 2 > size)
			return false;
		if (!first)
			out[(*at)++] = ',';
		first = false;
		memcpy(out + *at, w, n);
		*at += n;
		w += n;
	}
	out[*at] = 0;
	return true;
}

bool conf_cluster_directory(const struct conf_cluster *k, char *out, size_t size)
{
	size_t at = (size_t)snprintf(out, size, "%u:", k->version);

	if (at >= size || !words_add(out, size, &at, k->members))
		return false;
	if (!k->splits[0])
		return true;
	if (at + 2 > size)
		return false;
	out[at++] = ':';
	return words_add(out, size, &at, k->splits);
}

/* Is @member the service of this node? NULL if it is another node's, or its name. */
static const char *own_service(const struct node_conf *c, const char *member)
{
	size_t n = strlen(c->name);

	return strncmp(member, c->name, n) == 0 && member[n] == '/' ? member + n + 1 : NULL;
}

const struct conf_cluster *conf_cluster_of(const struct node_conf *c, const char *service, unsigned *member)
{
	const char *blanks = " \t";

	for (unsigned i = 0; i < c->nclusters; i++) {
		const char *w = c->clusters[i].members + strspn(c->clusters[i].members, blanks);

		for (*member = 0; *w; ++*member) {
			char name[2 * CONF_NAME_MAX + 2];
			size_t n = strcspn(w, blanks);
			const char *own;

			snprintf(name, sizeof(name), "%.*s", (int)(n < sizeof(name) ? n : 0), w);
			own = own_service(c, name);
			if (own && strcmp(own, service) == 0)
				return &c->clusters[i];
			w += n;
			w += strspn(w, blanks);
		}
	}
	return NULL;
}

static const struct conf_service *service_find(const struct node_conf *c, const char *name)
{
	for (unsigned i = 0; i < c->nservices; i++)
		if (strcmp(c->services[i].name, name) == 0)
			return &c->services[i];
	return NULL;
}

/* Is it --type tree that a shard is started with? */
static bool is_tree(const struct conf_service *s)
{
	char args[CONF_ARGS_MAX + 1], *save = NULL;
	bool type = false, tree = false;

	memcpy(args, s->args, sizeof(args));
	for (char *w = strtok_r(args, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		if (type || strncmp(w, "--type=", 7) == 0)
			tree = strcmp(type ? w : w + 7, "tree") == 0;
		type = strcmp(w, "--type") == 0;
	}
	return tree;
}

static void member_own(struct conf_reader *r, const struct conf_cluster *k, const struct index_directory *d,
		       const char *service)
{
	const struct conf_service *s = service_find(r->out, service);
	const char *base;
	unsigned member;

	if (!s) {
		conf_error(r, k->line, "[cluster %s] has the member %s/%s, but there is no [service %s]; add it, or"
			   " take the member out", k->name, r->out->name, service, service);
		return;
	}
	base = strrchr(s->exec, '/') ? strrchr(s->exec, '/') + 1 : s->exec;
	if (strcmp(base, "index-shard") != 0)
		conf_error(r, s->line, "[service %s] is a member of [cluster %s] and runs %s; its exec must be"
			   " index-shard", service, k->name, base);
	else if (is_tree(s) && !d->range && d->n > 1)
		conf_error(r, k->line, "[cluster %s] has no splits, but its member %s is a tree; add splits = KEY ..., the"
			   " first key of each member but the first", k->name, service);
	else if (!is_tree(s) && d->range)
		conf_error(r, k->line, "[cluster %s] has splits, but its member %s is a hash table; take them out, or add"
			   " --type tree to its args", k->name, service);
	if (conf_cluster_of(r->out, service, &member) != k)
		conf_error(r, k->line, "[cluster %s]: its member %s is one of another cluster, too", k->name, service);
}

static void member_other(struct conf_reader *r, const struct conf_cluster *k, const char *member)
{
	const struct node_conf *c = r->out;
	size_t n = strcspn(member, "/");

	for (unsigned i = 0; i < c->npeers; i++)
		if (strlen(c->peers[i].name) == n && strncmp(c->peers[i].name, member, n) == 0)
			return;
	conf_error(r, k->line, "[cluster %s] has the member %s, but there is no [peer %.*s]", k->name, member, (int)n,
		   member);
}

void conf_clusters_check(struct conf_reader *r)
{
	static struct index_directory d; /* large; configurations are read by one thread */

	for (unsigned i = 0; i < r->out->nclusters; i++) {
		const struct conf_cluster *k = &r->out->clusters[i];
		char text[INDEX_DIRECTORY_MAX + 1], why[256] = "";
		unsigned own = 0;

		if (!k->members[0])
			continue; /* said */
		if (!conf_cluster_directory(k, text, sizeof(text))) {
			conf_error(r, k->line, "[cluster %s]: its directory is longer than %d bytes", k->name,
				   INDEX_DIRECTORY_MAX);
			continue;
		}
		if (index_directory_parse(&d, text, strlen(text), why, sizeof(why))) {
			conf_error(r, k->line, "[cluster %s]: %s", k->name, why);
			continue;
		}
		for (unsigned m = 0; m < d.n; m++) {
			const char *service = own_service(r->out, d.name[m]);

			own += service != NULL;
			if (service)
				member_own(r, k, &d, service);
			else
				member_other(r, k, d.name[m]);
		}
		if (!own)
			conf_error(r, k->line, "[cluster %s] has no member on this node, %s; take the section out",
				   k->name, r->out->name);
	}
}
