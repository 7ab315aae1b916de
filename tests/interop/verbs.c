/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/interop/verbs.h"

#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	WAIT_SECONDS = 20,
	TIMEOUT = 13,	   /* 33 ms: 4.096 us * 2^n */
	RNR_TIMER = 12,	   /* 0.64 ms */
	ENGINE_TIMEOUT_MS = 50,
	PSN = 0xfffff0,	   /* wraps soon */
	LINE = 512,
	ALL_RIGHTS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ |
		     IBV_ACCESS_REMOTE_ATOMIC,
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ the engine */

static const char *talk(struct verbs *v, const char *format, va_list ap)
{
	char line[LINE];
	size_t have = 0;
	int n = vsnprintf(line, sizeof(line) - 1, format, ap);

	line[n++] = '\n';
	if (send(v->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		err(1, "TCP to the engine");
	while (!have || v->answer[have - 1] != '\n') {
		ssize_t got = read(v->fd, v->answer + have, sizeof(v->answer) - 1 - have);

		if (got <= 0)
			errx(1, "the engine's program ended");
		have += (size_t)got;
	}
	v->answer[have - 1] = 0;
	return strncmp(v->answer, "ok ", 3) ? v->answer : v->answer + 3;
}

const char *verbs_try(struct verbs *v, const char *format, ...)
{
	va_list ap;
	const char *answer;

	va_start(ap, format);
	answer = talk(v, format, ap);
	va_end(ap);
	return answer;
}

const char *verbs_ask(struct verbs *v, const char *format, ...)
{
	va_list ap;
	const char *answer;

	va_start(ap, format);
	answer = talk(v, format, ap);
	va_end(ap);
	if (!strncmp(answer, "error", 5))
		errx(1, "asked \"%s\", the engine answers: %s", format, answer);
	return answer;
}

static int control_connect(const char *address, const char *port)
{
	const struct timespec nap = {.tv_nsec = 50000000};
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port)),
				 .sin_addr.s_addr = inet_addr(address)};

	for (int i = 0; i < 200; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
			return fd;
		close(fd);
		nanosleep(&nap, NULL);
	}
	err(1, "the engine's program does not accept at %s:%s", address, port);
}

/* ------------------------------------------------------------------ the library */

void verbs_open(struct verbs *v, const char *device, const char *gid_index, const char *control,
		const char *port, const char *mtu)
{
	struct ibv_device **list = ibv_get_device_list(NULL);

	memset(v, 0, sizeof(*v));
	for (int i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), device))
			v->ctx = ibv_open_device(list[i]);
	if (!v->ctx)
		errx(1, "no RDMA device %s", device);
	ibv_free_device_list(list);
	v->gid_index = atoi(gid_index);
	v->mtu = (unsigned)atoi(mtu);
	if (ibv_query_gid(v->ctx, 1, v->gid_index, &v->gid))
		err(1, "GID %s", gid_index);
	v->pd = ibv_alloc_pd(v->ctx);
	v->cq = ibv_create_cq(v->ctx, 4 * VERBS_DEPTH, NULL, NULL, 0);
	v->buf = aligned_alloc(4096, VERBS_REGION);
	if (!v->pd || !v->cq || !v->buf)
		err(1, "protection domain, completion queue or memory");
	memset(v->buf, 0, VERBS_REGION);
	v->fd = control_connect(control, port);
}

static void modify(struct verbs *v, const struct verbs_conf *conf, uint32_t qpn, uint32_t psn,
		   uint32_t address)
{
	struct ibv_qp_attr init = {.qp_state = IBV_QPS_INIT,
				   .port_num = 1,
				   .qp_access_flags = ALL_RIGHTS};
	struct ibv_qp_attr rtr = {.qp_state = IBV_QPS_RTR,
				  .dest_qp_num = qpn,
				  .rq_psn = psn,
				  .max_dest_rd_atomic = (uint8_t)conf->peer_reads,
				  .min_rnr_timer = RNR_TIMER,
				  .ah_attr = {.is_global = 1, .port_num = 1}};
	struct ibv_qp_attr rts = {.qp_state = IBV_QPS_RTS,
				  .timeout = TIMEOUT,
				  .retry_cnt = (uint8_t)conf->retry,
				  .rnr_retry = (uint8_t)conf->rnr_retry,
				  .sq_psn = PSN,
				  .max_rd_atomic = (uint8_t)conf->reads};
	unsigned code = IBV_MTU_256;
	int rc;

	while (128u << code < v->mtu)
		code++;
	rtr.path_mtu = (enum ibv_mtu)code;
	rtr.ah_attr.grh.sgid_index = (uint8_t)v->gid_index;
	rtr.ah_attr.grh.hop_limit = 64;
	rtr.ah_attr.grh.dgid.raw[10] = rtr.ah_attr.grh.dgid.raw[11] = 0xff;
	address = htonl(address);
	memcpy(rtr.ah_attr.grh.dgid.raw + 12, &address, 4);
	rc = ibv_modify_qp(v->qp, &init,
			   IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	if (!rc)
		rc = ibv_modify_qp(v->qp, &rtr,
				   IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
					   IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
					   IBV_QP_MIN_RNR_TIMER);
	if (!rc)
		rc = ibv_modify_qp(v->qp, &rts,
				   IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
					   IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
					   IBV_QP_MAX_QP_RD_ATOMIC);
	if (rc)
		errx(1, "ibv_modify_qp: %s", strerror(rc));
}

void verbs_connect(struct verbs *v, const struct verbs_conf *conf)
{
	struct ibv_qp_init_attr_ex attr = {
		.send_cq = v->cq,
		.recv_cq = v->cq,
		.cap = {.max_send_wr = VERBS_DEPTH,
			.max_recv_wr = VERBS_DEPTH,
			.max_send_sge = 1,
			.max_recv_sge = 1},
		.qp_type = IBV_QPT_RC,
		.pd = v->pd,
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.send_ops_flags = IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD};
	uint32_t qpn, psn, size, address;
	struct ibv_wc wc;

	if (v->qp)
		ibv_destroy_qp(v->qp);
	while (ibv_poll_cq(v->cq, 1, &wc) > 0)
		;
	if (v->mr)
		ibv_dereg_mr(v->mr);
	v->mr = (ibv_reg_mr)(v->pd, v->buf, VERBS_REGION,
			     conf->access ? conf->access : ALL_RIGHTS);
	v->qp = ibv_create_qp_ex(v->ctx, &attr);
	if (!v->qp || !v->mr)
		err(1, "QP or memory region");
	if (sscanf(verbs_ask(v, "qp"), "qp %u %u %" SCNu64 " %u %u %u", &qpn, &psn, &v->va, &v->rkey,
		   &size, &address) != 6)
		errx(1, "the engine answers: %s", v->answer);
	modify(v, conf, qpn, psn, address);
	verbs_ask(v, "ready %u %u %u %u %u %u %u %u", v->qp->qp_num, PSN, v->mtu,
		  conf->engine_reads, conf->engine_peer_reads, conf->engine_retry, conf->engine_rnr,
		  ENGINE_TIMEOUT_MS);
}

void verbs_post(struct verbs *v, enum ibv_wr_opcode op, uint64_t at, uint32_t len, uint64_t remote,
		uint32_t rkey, uint64_t compare_or_add, uint64_t swap)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)v->buf + at, .length = len, .lkey = v->mr->lkey};
	struct ibv_send_wr wr = {.wr_id = at,
				 .sg_list = &sge,
				 .num_sge = len ? 1 : 0,
				 .opcode = op,
				 .send_flags = IBV_SEND_SIGNALED},
			   *bad;
	int rc;

	if (op == IBV_WR_ATOMIC_CMP_AND_SWP || op == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = remote;
		wr.wr.atomic.rkey = rkey;
		wr.wr.atomic.compare_add = compare_or_add;
		wr.wr.atomic.swap = swap;
	} else {
		wr.wr.rdma.remote_addr = remote;
		wr.wr.rdma.rkey = rkey;
	}
	rc = ibv_post_send(v->qp, &wr, &bad);
	if (rc)
		errx(1, "ibv_post_send of %d: %s", op, strerror(rc));
}

void verbs_post_faa_unchecked(struct verbs *v, uint64_t at, uint64_t remote)
{
	struct ibv_qp_ex *qpx = ibv_qp_to_qp_ex(v->qp);
	int rc;

	ibv_wr_start(qpx);
	qpx->wr_id = at;
	qpx->wr_flags = IBV_SEND_SIGNALED;
	ibv_wr_atomic_fetch_add(qpx, v->rkey, remote, 1);
	ibv_wr_set_sge(qpx, v->mr->lkey, (uintptr_t)v->buf + at, 8);
	rc = ibv_wr_complete(qpx);
	if (rc)
		errx(1, "ibv_wr_atomic_fetch_add: %s", strerror(rc));
}

void verbs_post_recv(struct verbs *v, uint64_t at, uint32_t len)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)v->buf + at, .length = len, .lkey = v->mr->lkey};
	struct ibv_recv_wr wr = {.wr_id = at, .sg_list = &sge, .num_sge = 1}, *bad;
	int rc = ibv_post_recv(v->qp, &wr, &bad);

	if (rc)
		errx(1, "ibv_post_recv: %s", strerror(rc));
}

struct ibv_wc verbs_wait(struct verbs *v)
{
	uint64_t until = now_ms() + WAIT_SECONDS * 1000;
	struct ibv_wc wc;

	for (;;) {
		int n = ibv_poll_cq(v->cq, 1, &wc);

		if (n < 0)
			errx(1, "ibv_poll_cq");
		if (n)
			return wc;
		if (now_ms() > until)
			errx(1, "no completion in %d s; the engine: %s", WAIT_SECONDS,
			     verbs_try(v, "counters"));
		sched_yield();
	}
}

enum ibv_wc_status verbs_do(struct verbs *v, enum ibv_wr_opcode op, uint64_t at, uint32_t len,
			    uint64_t remote, uint32_t rkey, uint64_t compare_or_add, uint64_t swap)
{
	verbs_post(v, op, at, len, remote, rkey, compare_or_add, swap);
	return verbs_wait(v).status;
}

uint64_t verbs_get(const struct verbs *v, uint64_t at)
{
	return __atomic_load_n((uint64_t *)(v->buf + at), __ATOMIC_ACQUIRE);
}

void verbs_put(struct verbs *v, uint64_t at, uint64_t value)
{
	__atomic_store_n((uint64_t *)(v->buf + at), value, __ATOMIC_RELEASE);
}
