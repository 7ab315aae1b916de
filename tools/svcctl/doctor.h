/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - is this machine fit for that node?
 *
 * One stage for each thing that a node may need of the machine. A stage looks (at files below a root
 * directory, so that tests can show it any machine), and says what it found, what that means for the
 * given configuration, and how to mend it. What the configuration does not use is information, never a
 * fault. With --fix a stage does what is safe: what changes no other program's behaviour for the worse and is
 * gone with the next boot. It says what it did, and looks again.
 */
#ifndef ATOLL_SVCCTL_DOCTOR_H
#define ATOLL_SVCCTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/conf.h"

enum { DOCTOR_TEXT_MAX = 320 };

enum doctor_verdict { DOCTOR_GOOD, DOCTOR_INFO, DOCTOR_FAULT };

struct doctor {
	const char *root;	      /* before /proc, /sys and /dev; "" for this machine */
	const struct node_conf *conf; /* NULL: no node in particular */
};

struct doctor_result {
	enum doctor_verdict verdict;
	char found[DOCTOR_TEXT_MAX], means[DOCTOR_TEXT_MAX], mend[DOCTOR_TEXT_MAX], did[DOCTOR_TEXT_MAX];
};

/**
 * struct doctor_stage - one thing to look at
 * @check: fill in @r, which is empty.
 * @fix: NULL: nothing here can be mended safely by a program. Else called on a fault: 0 and what was done in
 *	r->did; or negative errno and in r->did what could not be done.
 */
struct doctor_stage {
	const char *name;
	void (*check)(const struct doctor *d, struct doctor_result *r);
	int (*fix)(const struct doctor *d, struct doctor_result *r);
};

/* All stages in order, ended by one without a name. */
extern const struct doctor_stage doctor_stages[];

/* Look at everything and print it. Return: the exit status: 0 no faults, 1 faults. */
int doctor_run(const struct doctor *d, bool fix, bool json);

/* doctor_file.c: files below the root. The first line, or all, as text: 0 or negative errno. */
int doctor_read(const struct doctor *d, const char *path, char *out, size_t len);
int doctor_line(const struct doctor *d, const char *path, char *out, size_t len);
int doctor_number(const struct doctor *d, const char *path, uint64_t *out);
int doctor_write(const struct doctor *d, const char *path, const char *text);
bool doctor_exists(const struct doctor *d, const char *path);

/* doctor_net.c */
void doctor_nic(const struct doctor *d, struct doctor_result *r);
void doctor_mtu(const struct doctor *d, struct doctor_result *r);
void doctor_rdma(const struct doctor *d, struct doctor_result *r);

#endif
