/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same launches, each a SunRPC call on a unix socket: how most programs that forward CUDA calls do it. The
 * server takes the parameters and adds them up, the client waits for each answer.
 */
#include <rpc/rpc.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/gpu.h"

enum { PROGRAM = 0x20000199, VERSION = 1, LAUNCH = 1, PARAMETERS = 96 };

struct launch {
	char bytes[PARAMETERS]; /* as large as a launch of five parameters is here */
};

static bool_t xdr_launch(XDR *x, struct launch *l)
{
	return xdr_opaque(x, l->bytes, PARAMETERS);
}

static void serve(struct svc_req *q, SVCXPRT *x)
{
	static uint32_t sum;
	struct launch l;

	if (q->rq_proc != LAUNCH || !svc_getargs(x, (xdrproc_t)xdr_launch, (void *)&l)) {
		svcerr_noproc(x);
		return;
	}
	sum += (unsigned char)l.bytes[8];
	svc_sendreply(x, (xdrproc_t)xdr_u_int, (void *)&sum);
}

static void server(void *path)
{
	SVCXPRT *x = svcunix_create(RPC_ANYSOCK, 0, 0, path);

	if (!x || !svc_register(x, PROGRAM, VERSION, serve, 0))
		_exit(1);
	svc_run();
	_exit(1);
}

int gpu_rpc_rate(struct bench *b, const char *dir, unsigned n, double *rate)
{
	struct timeval wait = {.tv_sec = 5};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct launch l = {{0}};
	CLIENT *c = NULL;
	uint64_t t;
	int fd = RPC_ANYSOCK, rc = 0;
	pid_t pid;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/rpc", dir);
	pid = bench_fork(b->core[1], server, at.sun_path);
	for (unsigned i = 0; i < 200 && !c; i++) {
		usleep(5000);
		c = clntunix_create(&at, PROGRAM, VERSION, &fd, 0, 0);
	}
	if (!c)
		rc = -ECONNREFUSED;
	t = clock_now_ns();
	for (unsigned i = 0; i < n && !rc; i++) {
		uint32_t sum;

		memcpy(l.bytes + 8, &i, sizeof(i));
		if (clnt_call(c, LAUNCH, (xdrproc_t)xdr_launch, (void *)&l, (xdrproc_t)xdr_u_int, (void *)&sum, wait) !=
		    RPC_SUCCESS)
			rc = -EIO;
	}
	*rate = n / ((double)(clock_now_ns() - t) / 1e9);
	if (c)
		clnt_destroy(c);
	bench_kill(pid);
	unlink(at.sun_path);
	return rc;
}
