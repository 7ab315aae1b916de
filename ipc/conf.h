/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - a node's configuration file.
 *
 * One file describes one node: who it is, its port, its peers, its services, the clusters that these are members
 * of, who may look up what, and limits by user. The supervisor and the dataplane read the same file with the same reader. Reading
 * finds every error, not only the first; each is a line "FILE:LINE: what is wrong; how to mend it".
 * Nothing is half accepted: with any error the result must not be used.
 *
 * The syntax is that of INI files: [section NAME], key = value, comments after ; or #. A line that
 * begins with a space continues the value above it (args and port). All keys stand in one table, from
 * which the reference is printed too.
 */
#ifndef ATOLL_IPC_CONF_H
#define ATOLL_IPC_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ipc/ip_addr.h"

enum {
	CONF_NAME_MAX = 63,  /* bytes of a name */
	CONF_PATH_MAX = 80,  /* bytes of run_dir: a socket's path must fit sun_path */
	CONF_TEXT_MAX = 511, /* bytes of exec and port */
	CONF_ARGS_MAX = 1023,
	CONF_LINE_MAX = 190, /* bytes of a line: the INI library's buffer */
	CONF_FILE_MAX = 1 << 20,
	CONF_PEERS_MAX = 253,
	CONF_SERVICES_MAX = 32,
	CONF_RULES_MAX = 64,
	CONF_LIMITS_MAX = 32,
	CONF_CLUSTERS_MAX = 8,
	CONF_MEMBERS_MAX = 2047, /* bytes of a cluster's members, and of its splits */
	CONF_NODE_MAX = 254,
	CONF_CORES_MAX = 1024,
	CONF_NO_CORE = -1,
};

enum conf_restart { CONF_RESTART_ALWAYS, CONF_RESTART_ON_FAILURE, CONF_RESTART_NEVER };

/* A user that a process becomes. */
struct conf_user {
	bool set;
	uint32_t uid, gid;
};

struct conf_peer {
	char name[CONF_NAME_MAX + 1];
	uint32_t id;	  /* node number */
	struct ip_addr address; /* none: not given */
	unsigned line;
};

struct conf_service {
	char name[CONF_NAME_MAX + 1];
	char exec[CONF_TEXT_MAX + 1]; /* path, or the name of a program of this project */
	char args[CONF_ARGS_MAX + 1]; /* separated by blanks; no quoting */
	int core;		      /* CONF_NO_CORE: not pinned */
	struct conf_user user;
	uint8_t restart; /* enum conf_restart */
	uint32_t backoff_ms, backoff_max_ms, backoff_reset_ms;
	unsigned line; /* of the section */
};

/* An index over several shards, of which this node hosts some: proto/index_directory.h. */
struct conf_cluster {
	char name[CONF_NAME_MAX + 1];
	uint32_t version;
	char members[CONF_MEMBERS_MAX + 1]; /* NODE/SERVICE, separated by blanks */
	char splits[CONF_MEMBERS_MAX + 1];  /* keys, likewise; empty: a hash table */
	unsigned line;
};

/* One `allow` line: this user may look up services whose name matches. */
struct conf_rule {
	bool any_user;
	uint32_t uid;
	char pattern[CONF_NAME_MAX + 1]; /* a name, or a prefix and * */
};

/* What one user's processes may hold together; conf_limits_for says what 0 means. */
struct conf_limits {
	bool any_user; /* [limits]: for users without a section of their own */
	uint32_t uid;
	uint32_t connections, endpoints, ring_mib, lanes, requests, chains, credits, regions, region_mib;
	unsigned line;
};

enum { /* where nothing is configured: one user leaves room for others */
	CONF_CONNECTIONS = 256,
	CONF_ENDPOINTS = 128,
	CONF_RING_MIB = 1024,
	CONF_LANES = 1024,
	CONF_REQUESTS = 2048,
	CONF_CHAINS = 2048,
	CONF_CREDITS = 48,
	CONF_REGIONS = 1024,
};

struct node_conf {
	char name[CONF_NAME_MAX + 1];
	uint32_t id;
	char run_dir[CONF_PATH_MAX + 1];
	uint32_t heartbeat_ms;
	uint8_t idle; /* enum idle_mode */
	int core, keeper_core;
	struct conf_user user; /* of keeper and dataplane */
	uint32_t log_max_kib;
	uint32_t trace_entries; /* of the trace ring, a power of two; 0: none */
	uint32_t recorder_entries; /* of the flight recorder, likewise */

	char port[CONF_TEXT_MAX + 1]; /* driver:args; empty: no network */
	struct ip_addr address;	      /* none: not given */
	uint32_t udp_port, mtu_bytes, buffers;
	bool trust_none; /* links to other than loopback addresses are wanted as they are */

	struct conf_peer peers[CONF_PEERS_MAX];
	unsigned npeers;
	struct conf_service services[CONF_SERVICES_MAX];
	unsigned nservices;
	struct conf_cluster clusters[CONF_CLUSTERS_MAX];
	unsigned nclusters;
	struct conf_rule rules[CONF_RULES_MAX];
	unsigned nrules;
	bool lookup_open; /* no [lookup] section: every user may look up every service */
	struct conf_limits limits[CONF_LIMITS_MAX];
	unsigned nlimits;
};

/* What a configuration is checked against; NULL for readers that are pinned already. */
struct conf_host {
	uint8_t core[CONF_CORES_MAX]; /* 1: may be used */
};

/* This machine, as far as this process may use it. */
void conf_host_here(struct conf_host *host);

/* Where errors go: called once for each, with a whole line without its newline. */
struct conf_errors {
	void (*say)(void *arg, const char *line);
	void *arg;
	unsigned count;
};

/**
 * conf_parse - read a configuration from memory.
 * @name: of the file, for errors. @text: @len bytes, need not be terminated.
 * Return: 0, or -EINVAL after at least one error was said. *@out is filled in either way.
 */
int conf_parse(const char *name, const char *text, size_t len, const struct conf_host *host,
	       struct node_conf *out, struct conf_errors *errors);

/* Read it from an open descriptor (from its start) or from a path. 0, -EINVAL, or another negative
 * errno when it cannot be read (said, too). */
int conf_read_fd(int fd, const char *name, const struct conf_host *host, struct node_conf *out,
		 struct conf_errors *errors);
int conf_read(const char *path, const struct conf_host *host, struct node_conf *out,
	      struct conf_errors *errors);

/* May a process of @uid look up @service of this node? */
bool conf_lookup_allowed(const struct node_conf *conf, uint32_t uid, const char *service);
/* The limits of a user as they stand there; NULL: none are configured. */
const struct conf_limits *conf_limits_of(const struct node_conf *conf, uint32_t uid);
/* What holds for a process of @uid. @trusted, the node's owner and the services that svcctl started, have no
 * limits but those of a section that names their user: 0 is no limit. Others have the defaults, too; a region_mib
 * of 0 is the caller's to fill in. */
struct conf_limits conf_limits_for(const struct node_conf *conf, uint32_t uid, bool trusted);

/* The directory's text of a cluster, as index-shard wants it, in @size bytes; false: it does not fit. */
bool conf_cluster_directory(const struct conf_cluster *cluster, char *out, size_t size);

/* The cluster that a service of this node is a member of, and which one; NULL: of none. */
const struct conf_cluster *conf_cluster_of(const struct node_conf *conf, const char *service, unsigned *member);

/* Every section and key with its meaning, unit, range and default, as text. */
void conf_reference(FILE *out);

#endif
