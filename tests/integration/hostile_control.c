/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on the control socket, their descriptors, and what belongs to others. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/hostile.h"

/* ---------------------------------------------------------------- the control socket */

static void said_bytes(const void *data, size_t len, const int *fds, unsigned nfds)
{
	int sock = sock_connect(ep->path), rc;
	struct proto_ctl_reply r;
	unsigned none = 0;

	if (sock < 0)
		give_up("connect", strerror(-sock));
	rc = sock_send(sock, data, len, fds, nfds);
	if (!rc)
		rc = sock_recv_timeout(sock, &r, sizeof(r), NULL, &none, WAIT_MS);
	snprintf(said, sizeof(said), "%s", rc ? rc == -ETIMEDOUT ? "nothing" : "hung up" : proto_status_name(r.status));
	close(sock);
}

static struct proto_ctl_request good_request(void)
{
	return (struct proto_ctl_request){.magic = PROTO_CTL_REQUEST_MAGIC, .major = PROTO_MAJOR,
					  .op = CTL_OP_COUNTERS};
}

void half_message(void)
{
	struct proto_ctl_request q = good_request();

	said_bytes(&q, 100, NULL, 0);
}

void long_message(void)
{
	char text[65536] = "";
	struct proto_ctl_request q = good_request();

	memcpy(text, &q, sizeof(q));
	said_bytes(text, sizeof(text), NULL, 0);
}

void bad_field(void)
{
	struct proto_ctl_request q = good_request();

	q.op = 77;
	said_bytes(&q, sizeof(q), NULL, 0);
}

void descriptors(void)
{
	struct proto_ctl_request q = good_request();
	const int fds[] = {0, 1};

	said_bytes(&q, sizeof(q), fds, 2);
}

/* Memory of its own making, unsealed, that it could shrink later. */
void own_memory(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_ALLOC, .size = 4096, .numa = 0xffffffff};
	int fd = memfd_create("mine", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, 4096))
		give_up("memfd", strerror(errno));
	control_ask(ep->sock, &q, &fd, 1);
}

void many_descriptors(void)
{
	struct proto_ctl_request q = good_request();
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = {&q, sizeof(q)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	int fds[253] = {0}, sock = sock_connect(ep->path);
	char byte;

	memset(&u, 0, sizeof(u));
	CMSG_FIRSTHDR(&mh)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&mh)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&mh)->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)), fds, sizeof(fds));
	if (sock < 0 || sendmsg(sock, &mh, 0) < 0)
		give_up("send", strerror(errno));
	got(recv(sock, &byte, 1, 0) <= 0 ? "hung up" : "answered", 0);
}

void slow_sender(void)
{
	struct proto_ctl_request q = good_request();
	struct timespec nap = {.tv_nsec = 20000000};
	int sock[20];

	/* they connect, say nothing for long, then half of what they have to say */
	for (unsigned i = 0; i < 20; i++)
		sock[i] = sock_connect(ep->path);
	for (unsigned i = 0; i < 20; i++) {
		nanosleep(&nap, NULL);
		if (sock[i] >= 0 && send(sock[i], &q, 1 + 12 * i, MSG_NOSIGNAL) > 0 && recv(sock[i], &q, sizeof(q), 0) > 0)
			give_up("half a request", "was answered");
	}
	got("hung up", 0);
}

void never_reads_answers(void)
{
	struct proto_ctl_request q = good_request();
	int sock = sock_connect(ep->path), rc = 0;

	for (unsigned i = 0; i < 100000 && !rc; i++)
		rc = sock_send(sock, &q, sizeof(q), NULL, 0);
	got(rc ? "hung up" : "answered", 0);
}

void other_regions(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_CLAIM, .key = 12345, .numa = 0xffffffff};

	control_ask(ep->sock, &q, NULL, 0);
}

void frees_others(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_REGION_FREE, .key = 12345};

	control_ask(ep->sock, &q, NULL, 0);
}

void plays_supervisor(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_ADMIN_SERVICE, .pid = 1, .uid = 0, .name = "echo"};

	q.pid = (uint32_t)getpid();
	control_ask(ep->sock, &q, NULL, 0);
}

void takes_name(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_ATTACH, .kind = CTL_KIND_SERVICE, .name = "other"};
	int sock = sock_connect(ep->path);

	if (sock < 0)
		give_up("connect", strerror(-sock));
	control_ask(sock, &q, NULL, 0);
}

void reads_trace(void)
{
	struct proto_ctl_request q = {.op = CTL_OP_TRACE};

	control_ask(ep->sock, &q, NULL, 0);
}
