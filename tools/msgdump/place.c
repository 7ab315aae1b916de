/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/svcctl/local.h"

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The configuration of a local node of that name. */
static bool local_find(const char *name, char *file, size_t len)
{
	char dir[128];
	int n;

	if (strchr(name, '/') || local_dir(dir, sizeof(dir)))
		return false;
	n = snprintf(file, len, "%s/%s/node.conf", dir, name);
	return n > 0 && (size_t)n < len && access(file, R_OK) == 0;
}

bool place_is(const char *word)
{
	char file[LOCAL_PATH_MAX];

	return word[0] == '/' || word[0] == '.' || is_dir(word) || local_find(word, file, sizeof(file));
}

static int conf_take(const char *file, struct place *out)
{
	struct conf_errors errors = {0};
	int rc = conf_read(file, NULL, &out->conf, &errors);

	/* with an error in it, it still tells names */
	out->named = out->conf.id != 0;
	return rc;
}

int place_find(const char *word, struct place *out)
{
	char file[CONF_PATH_MAX + 16];
	int n;

	memset(out, 0, sizeof(*out));
	if (is_dir(word)) {
		n = snprintf(file, sizeof(file), "%s/node.conf", word);
		if (n >= (int)sizeof(file) || strlen(word) > CONF_PATH_MAX) {
			fprintf(stderr, "msgdump: %s: a path of more than %d bytes\n", word, CONF_PATH_MAX);
			return -ENAMETOOLONG;
		}
		strcpy(out->run_dir, word);
		if (access(file, R_OK) == 0)
			conf_take(file, out);
		return 0;
	}
	if (!local_find(word, file, sizeof(file)))
		snprintf(file, sizeof(file), "%s", word);
	if (access(file, R_OK) == 0) {
		conf_take(file, out);
		memcpy(out->run_dir, out->conf.run_dir, sizeof(out->run_dir));
		if (out->run_dir[0])
			return 0;
	}
	fprintf(stderr, "msgdump: %s is neither a run_dir nor a configuration file with one: is the node up?"
		" (svcctl status)\n", word);
	return -ENOENT;
}

int place_names(const char *file, struct place *out)
{
	int rc = conf_take(file, out);

	if (!out->named)
		fprintf(stderr, "msgdump: %s: %s\n", file,
			rc && access(file, R_OK) ? strerror(errno) : "no configuration of a node");
	return out->named ? 0 : -ENOENT;
}

int place_node(void *arg, const char *name)
{
	const struct place *p = arg;

	if (!p->named)
		return -1;
	if (strcmp(p->conf.name, name) == 0)
		return (int)p->conf.id;
	for (unsigned i = 0; i < p->conf.npeers; i++)
		if (strcmp(p->conf.peers[i].name, name) == 0)
			return (int)p->conf.peers[i].id;
	return -1;
}
