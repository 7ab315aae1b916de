/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/conf.h"

/* Cores that may be used, in order; how many. */
static unsigned cores(int *out, unsigned max)
{
	struct conf_host host;
	unsigned n = 0;

	conf_host_here(&host);
	for (int i = 0; i < CONF_CORES_MAX && n < max; i++)
		if (host.core[i])
			out[n++] = i;
	return n;
}

int local_dir(char *out, size_t len)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (runtime && runtime[0] == '/')
		snprintf(out, len, "%s/atoll", runtime);
	else if (geteuid() == 0)
		snprintf(out, len, "/run/atoll");
	else
		snprintf(out, len, "/tmp/atoll-%u", geteuid());
	/* Under /tmp anybody could have made it. */
	if (lstat(out, &st) == 0 && (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
		return -EPERM;
	return 0;
}

/* The socket by which the two sides of the shared-memory link meet lies in the first one's directory. */
static void write_port(FILE *f, const struct local_conf *c, unsigned i)
{
	if (c->port == LOCAL_URING)
		fprintf(f, "port = uring:\n");
	else
		fprintf(f, "port = shm:%s/a/link.sock,side=%c\n", c->dir, 'a' + (int)i);
}

static void write_node(FILE *f, const struct local_conf *c, unsigned i)
{
	char services[256], *save = NULL;
	int core[LOCAL_NODES_MAX * 2];
	unsigned n = cores(core, LOCAL_NODES_MAX * 2);
	/* With a core for each poller the dataplane has its own; else a node has one core. */
	bool own = n >= 2 * c->nodes;
	int dataplane = core[(own ? 2 * i : i) % n], rest = core[(own ? 2 * i + 1 : i) % n];

	fprintf(f, "# Written by svcctl up --local; replaced by the next one unless --keep is given.\n");
	fprintf(f, "[node]\nname = %c\nid = %u\nrun_dir = %s/%c\n", 'a' + (int)i, i + 1, c->dir,
		'a' + (int)i);
	fprintf(f, "heartbeat_ms = %u\nidle = %s\ncore = %d\nkeeper_core = %d\n\n[port]\n",
		c->heartbeat_ms, c->idle, dataplane, rest);
	write_port(f, c, i);
	fprintf(f, "address = 127.0.0.%u\nudp_port = %u\n", i + 2, c->udp_port);
	for (unsigned j = 0; j < c->nodes; j++)
		if (j != i)
			fprintf(f, "\n[peer %c]\nid = %u\naddress = 127.0.0.%u\n", 'a' + (int)j, j + 1,
				j + 2);
	snprintf(services, sizeof(services), "%s", c->services);
	for (char *s = strtok_r(services, ",", &save); s; s = strtok_r(NULL, ",", &save))
		fprintf(f, "\n[service %s]\nexec = %s\ncore = %d\n", s, s, rest);
}

int local_write(const struct local_conf *c, char files[][LOCAL_PATH_MAX], char *err, size_t errlen)
{
	char path[LOCAL_PATH_MAX];
	FILE *f;

	if (mkdir(c->dir, 0755) && errno != EEXIST) {
		snprintf(err, errlen, "%s cannot be made: %s", c->dir, strerror(errno));
		return -errno;
	}
	for (unsigned i = 0; i < c->nodes; i++) {
		snprintf(path, sizeof(path), "%s/%c", c->dir, 'a' + (int)i);
		if (mkdir(path, 0755) && errno != EEXIST) {
			snprintf(err, errlen, "%s cannot be made: %s", path, strerror(errno));
			return -errno;
		}
		snprintf(files[i], LOCAL_PATH_MAX, "%.200s/%c/node.conf", c->dir, 'a' + (int)i);
		if (c->keep && access(files[i], R_OK) == 0)
			continue;
		unlink(files[i]); /* never written through a link */
		f = fopen(files[i], "wxe");
		if (!f) {
			snprintf(err, errlen, "%s cannot be written: %s", files[i], strerror(errno));
			return -errno;
		}
		write_node(f, c, i);
		if (fclose(f)) {
			snprintf(err, errlen, "%s cannot be written: %s", files[i], strerror(errno));
			return -EIO;
		}
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

unsigned local_list(const char *dir, char files[][LOCAL_PATH_MAX], unsigned max)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	if (!d)
		return 0;
	while ((e = readdir(d)) && n < max) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(files[n], LOCAL_PATH_MAX, "%.150s/%.64s/node.conf", dir, e->d_name);
		if (access(files[n], R_OK) == 0)
			n++;
	}
	closedir(d);
	qsort(files, n, LOCAL_PATH_MAX, by_name);
	return n;
}
