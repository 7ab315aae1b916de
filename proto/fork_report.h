/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_report.h - what `afork` tells a program that started it through clients/fork.
 *
 * SOCK_SEQPACKET on the descriptor of --report; every message is one struct fork_report. The program says GO once, when
 * afork may trace it; all others come from afork: PREPARED with the handle, STARTED when all children run, ENDED
 * as its last word when all have ended, FAILED as its last word otherwise. prepare and reclaim end without ENDED. Both come from
 * one build, and `magic` changes with the layout.
 */
#ifndef ATOLL_PROTO_FORK_REPORT_H
#define ATOLL_PROTO_FORK_REPORT_H

#include <stdint.h>

enum {
	FORK_REPORT_MAGIC = 0x31524641, /* "AFR1" */
};

enum fork_report_kind {
	FORK_REPORT_GO = 1,
	FORK_REPORT_PREPARED = 2,
	FORK_REPORT_STARTED = 3,
	FORK_REPORT_ENDED = 4,
	FORK_REPORT_FAILED = 5,
	FORK_REPORT_DONE = 6, /* prepare, reclaim: last word */
};

struct fork_report {
	uint32_t magic;
	uint32_t kind;	/* enum fork_report_kind */
	int32_t rc;	/* FAILED: negative errno */
	int32_t status; /* ENDED: of the first child that did not end with 0, as waitpid(2) gives it, else 0 */
	char handle[64]; /* PREPARED; with the zero */
	char text[432];	 /* FAILED: why; ENDED: what was lost; with the zero */
};
_Static_assert(sizeof(struct fork_report) == 512, "report layout");

#endif
