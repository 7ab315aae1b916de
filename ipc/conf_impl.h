/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_impl.h - the reader's state, shared by conf.c (lines, sections, what must fit together) and
 * conf_keys.c (the table of keys and how each value is read).
 */
#ifndef ATOLL_IPC_CONF_IMPL_H
#define ATOLL_IPC_CONF_IMPL_H

#include "ipc/conf.h"

enum conf_section {
	SECTION_NONE, /* before the first */
	SECTION_BAD,  /* its header was wrong: its keys are passed over */
	SECTION_NODE,
	SECTION_PORT,
	SECTION_PEER,
	SECTION_SERVICE,
	SECTION_CLUSTER,
	SECTION_LOOKUP,
	SECTION_LIMITS,
};

struct conf_reader {
	const char *name; /* of the file */
	const char *text;
	size_t len, pos;
	unsigned line;
	const struct conf_host *host;
	struct node_conf *out;
	struct conf_errors *errors;

	enum conf_section section;
	void *object;	    /* where its keys go: out, or a peer, a service, limits */
	uint64_t seen;	    /* keys of this section, by index in the table */
	bool had_key;	    /* the INI library takes an indented line for a continuation */
	bool continued;	    /* this line is one */
	unsigned node_line, port_line, lookup_line, address_line; /* 0: not seen */
};

/* Say an error at a line; 0: of the whole file. */
__attribute__((format(printf, 3, 4))) void conf_error(struct conf_reader *r, unsigned line,
							const char *fmt, ...);

/* One key of the current section, or one more line of it. Says what is wrong itself. */
void conf_key_set(struct conf_reader *r, const char *key, const char *value);
/* Keys that the current section must have and has not. */
void conf_keys_missing(struct conf_reader *r, unsigned line, const char *what);

/* Do the clusters of a whole configuration make sense? */
void conf_clusters_check(struct conf_reader *r);

/* A user by name or number. 0 or -ENOENT. */
int conf_user_find(const char *text, struct conf_user *out);
bool conf_name_ok(const char *name);

#endif
