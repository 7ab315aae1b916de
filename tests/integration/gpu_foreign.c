/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile client of gpu-exec: it uses the sessions of others, which it guesses, and no session at all.
 * Usage: gpu_foreign SESSION...   Exit: 0 each request was refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/endpoint.h"
#include "proto/gpu_calls.h"

static int failed;

static void want(struct atoll_endpoint *ep, struct atoll_handle h, uint16_t opcode, uint64_t a, uint64_t b,
		 uint32_t length, unsigned status)
{
	static uint8_t payload[8192], back[8192];
	struct proto_msg m, r;
	int rc;

	proto_request_init(&m, opcode);
	m.arg[0] = a;
	m.arg[1] = b;
	m.nargs = 2;
	m.length = length;
	m.max_reply = 8192;
	rc = atoll_call(ep, h, &m, payload, &r, back, 5000);
	if (rc || r.status != status) {
		printf("%s of session %llu: %d %s, not %s\n", proto_op_name(opcode), (unsigned long long)a, rc,
		       proto_status_name(r.status), proto_status_name(status));
		failed = 1;
	}
}

int main(int argc, char **argv)
{
	struct atoll_endpoint_conf conf = {.name = "foreign", .kind = CTL_KIND_CLIENT};
	struct atoll_endpoint *ep;
	struct atoll_handle h;
	char err[256] = "";
	uint32_t node;

	if (atoll_attach(&ep, &conf, err, sizeof(err)) || atoll_lookup(ep, getenv("ATOLL_GPU"), &h, &node, 5000)) {
		printf("no service: %s\n", err);
		return 1;
	}
	for (int k = 1; k < argc; k++) {
		uint64_t session = strtoull(argv[k], NULL, 10);

		for (uint64_t seq = 1; seq < 4; seq++)
			want(ep, h, OP_GPU_CALLS, session, seq, 64, STATUS_NOT_FOUND);
		want(ep, h, OP_GPU_LEASE, session, 1 << 20, 0, STATUS_NOT_FOUND);
		want(ep, h, OP_GPU_CLOSE, session, 0, 0, STATUS_NOT_FOUND);
	}
	want(ep, h, OP_GPU_CALLS, 0, 1, 64, STATUS_BAD_MESSAGE);
	want(ep, h, OP_GPU_OPEN, GPU_CALLS_VERSION + 1, 1ull << 40, 0, STATUS_UNSUPPORTED);
	want(ep, h, OP_GPU_OPEN, GPU_CALLS_VERSION, 1, 0, STATUS_RANGE); /* a window of no size */
	atoll_detach(ep);
	return failed;
}
