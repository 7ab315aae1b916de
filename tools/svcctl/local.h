/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local.h - nodes of one machine whose configuration is made up here (`svcctl up --local N`).
 *
 * Each gets a directory DIR/a, DIR/b, ... with its node.conf, which is its run_dir, too; addresses
 * 127.0.0.2 and on; the cores in turn; and the services echo and index-shard. A node.conf that is
 * there already is replaced unless it is kept (--keep).
 */
#ifndef ATOLL_SVCCTL_LOCAL_H
#define ATOLL_SVCCTL_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOCAL_NODES_MAX = 16, LOCAL_PATH_MAX = 256 };

enum local_port { LOCAL_URING, LOCAL_SHM };

struct local_conf {
	const char *dir;
	unsigned nodes;
	enum local_port port;
	uint32_t udp_port, heartbeat_ms;
	const char *services; /* separated by commas */
	const char *idle;
	bool keep;
};

/* The directory without --dir: of this user. 0 or negative errno. */
int local_dir(char *out, size_t len);
/* Write the configurations; paths of the files in @files. 0, or negative errno with a sentence. */
int local_write(const struct local_conf *conf, char files[][LOCAL_PATH_MAX], char *err,
		size_t errlen);
/* All node.conf files in @dir, by name; how many. */
unsigned local_list(const char *dir, char files[][LOCAL_PATH_MAX], unsigned max);

#endif
