/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/replay_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/endpoint_impl.h"

enum { SLOTS = 4096, ARENA = 4 << 20, UDP_PORT = 47930 };

static void say(void *arg, const char *line)
{
	(void)arg;
	if (getenv("ATOLL_BENCH_LOG"))
		fprintf(stderr, "%s\n", line);
}

static void port_text(const struct replay_session *r, int side, char *out, size_t len)
{
	int n = 0;

	if (r->delay_ns > 0 || r->gbps > 0)
		n = snprintf(out, len, "fault:delay_us=%.3f,rate_mbps=%.3f/", r->delay_ns / 2000, r->gbps * 1000);
	if (!strcmp(r->port, "shm"))
		snprintf(out + n, len - (size_t)n, "shm:%s/link.sock,side=%c", r->dir, 'a' + side);
	else
		snprintf(out + n, len - (size_t)n, "%s:", r->port);
}

int replay_node_open(const struct replay_session *r, int side, struct replay_node *n)
{
	static struct dp_peer_conf peer;
	struct dp_conf conf = {.node = (uint8_t)(side + 1),
			       .address = ip_addr_v4(0x7f000002u + (uint32_t)side),
			       .udp_port = (uint16_t)(UDP_PORT + r->side % 64),
			       .heartbeat_ms = REPLAY_HEARTBEAT_MS,
			       .seed = clock_now_ns(),
			       .peers = &peer,
			       .npeers = 1,
			       .log = say};
	struct port_conf pc = {.address = conf.address, .udp_port = conf.udp_port};
	size_t size = channel_half_size(SLOTS, ARENA);
	struct dp_attach a = {.kind = side ? CTL_KIND_SERVICE : CTL_KIND_CLIENT,
			      .name = side ? "device" : "program",
			      .own = calloc(1, size),
			      .slots = SLOTS,
			      .arena = ARENA,
			      .wake_fd = -1};
	void *process = calloc(1, size);
	char spec[192], err[256] = "";
	uint32_t endpoint, epoch;
	int rc;

	memset(n, 0, sizeof(*n));
	n->still_ns = &r->s->still_ns[side];
	snprintf(conf.name, sizeof(conf.name), "%c", 'a' + side);
	peer = (struct dp_peer_conf){.node = (uint8_t)(2 - side), .address = ip_addr_v4(0x7f000003u - (uint32_t)side)};
	snprintf(peer.name, sizeof(peer.name), "%c", 'b' - side);
	port_text(r, side, spec, sizeof(spec));
	rc = port_open(&n->port, spec, &pc, err, sizeof(err));
	if (!rc)
		rc = n->port->ops->start(n->port);
	if (rc) {
		say(NULL, err);
		return -ENODEV;
	}
	n->dp = dp_new(&conf, n->port, clock_now_ns());
	n->ep = endpoint_new();
	if (!n->dp || !n->ep || !a.own || !process)
		return -ENOMEM;
	channel_format(a.own, SLOTS, ARENA, 1);
	channel_format(process, SLOTS, ARENA, 1);
	a.peer = process;
	rc = dp_endpoint_add(n->dp, &a, &endpoint, &epoch);
	if (!rc)
		rc = endpoint_bind(n->ep, process, a.own, SLOTS, ARENA);
	return rc;
}
