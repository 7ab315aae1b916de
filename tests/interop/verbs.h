/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.h - libibverbs against the engine under remote control (serve.c): a device, one QP at a time
 * with one memory region, and the TCP connection on which the engine is told what to do.
 *
 * Whatever the library or the kernel refuses ends the program with a message; what the test is about
 * comes back as a status.
 */
#ifndef ATOLL_TESTS_INTEROP_VERBS_H
#define ATOLL_TESTS_INTEROP_VERBS_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	VERBS_REGION = 4 << 20,
	VERBS_DEPTH = 64,
};

struct verbs_conf {
	unsigned reads, peer_reads;		  /* max_rd_atomic, max_dest_rd_atomic */
	unsigned retry, rnr_retry;		  /* of the library's QP */
	unsigned engine_reads, engine_peer_reads; /* of the engine's */
	unsigned engine_retry, engine_rnr;
	int access; /* of the region; 0: all */
};

struct verbs {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_mr *mr;
	struct ibv_qp *qp;
	uint8_t *buf;
	union ibv_gid gid;
	int gid_index, fd;
	unsigned mtu;
	uint64_t va;   /* of the engine's region */
	uint32_t rkey; /* ... */
	char answer[4096];
};

void verbs_open(struct verbs *v, const char *device, const char *gid_index, const char *control,
		const char *port, const char *mtu);
/* A new pair of QPs, ready to send, in place of the last. */
void verbs_connect(struct verbs *v, const struct verbs_conf *conf);

/* Tell the engine a line; the answer without its "ok ". */
const char *verbs_ask(struct verbs *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, where "error ..." is an answer that the caller wants to see. */
const char *verbs_try(struct verbs *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Post one work request of @len bytes at @at of our region; @remote is an address of the engine's. */
void verbs_post(struct verbs *v, enum ibv_wr_opcode op, uint64_t at, uint32_t len, uint64_t remote,
		uint32_t rkey, uint64_t compare_or_add, uint64_t swap);
/* An FAA whose address the library does not look at: ibv_post_send refuses unaligned ones itself. */
void verbs_post_faa_unchecked(struct verbs *v, uint64_t at, uint64_t remote);
void verbs_post_recv(struct verbs *v, uint64_t at, uint32_t len);
/* The next completion; ends the program after 20 seconds without one. */
struct ibv_wc verbs_wait(struct verbs *v);
/* Post and wait: the status. */
enum ibv_wc_status verbs_do(struct verbs *v, enum ibv_wr_opcode op, uint64_t at, uint32_t len,
			    uint64_t remote, uint32_t rkey, uint64_t compare_or_add, uint64_t swap);
uint64_t verbs_get(const struct verbs *v, uint64_t at);
void verbs_put(struct verbs *v, uint64_t at, uint64_t value);

#endif
