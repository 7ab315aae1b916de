/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "ipc/sock.h"

void admin_open(struct admin *a, int fd)
{
	if (a->fd >= 0)
		close(a->fd);
	if (a->counters)
		munmap((void *)(uintptr_t)a->counters, sizeof(*a->counters));
	*a = (struct admin){.fd = fd};
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_NONBLOCK);
}

int admin_ask(struct admin *a, uint16_t op, int proc, pid_t pid, uid_t uid, const char *name)
{
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC,
				      .major = PROTO_MAJOR,
				      .op = op,
				      .pid = (uint32_t)pid,
				      .uid = uid};
	unsigned at = (a->head + a->count) % ADMIN_QUEUE_MAX;
	int rc;

	if (a->fd < 0)
		return -ENOTCONN;
	if (a->count == ADMIN_QUEUE_MAX)
		return -EAGAIN;
	snprintf(q.name, sizeof(q.name), "%s", name ? name : "");
	rc = sock_send(a->fd, &q, sizeof(q), NULL, 0);
	if (rc)
		return rc == -EAGAIN ? rc : -ENOTCONN;
	if (a->count == 0)
		a->asked_ns = clock_now_ns();
	a->queue[at].op = op;
	a->queue[at].proc = (int16_t)proc;
	a->count++;
	return 0;
}

static void counters_map(struct admin *a, int fd)
{
	struct stat st;
	void *p;

	if (a->counters || fstat(fd, &st) || st.st_size < (off_t)sizeof(struct counters_page) ||
	    !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK))
		return;
	p = mmap(NULL, sizeof(struct counters_page), PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		a->counters = p;
}

int admin_read(struct admin *a, uint16_t *op, int *proc, struct proto_ctl_reply *reply)
{
	int fds[1], rc;
	unsigned nfds = 1;

	if (a->fd < 0)
		return -ENOTCONN;
	rc = sock_recv(a->fd, reply, sizeof(*reply), fds, &nfds);
	if (rc)
		return rc;
	reply->text[sizeof(reply->text) - 1] = 0;
	if (proto_ctl_reply_check(reply) != STATUS_OK || a->count == 0 ||
	    reply->op != a->queue[a->head].op)
		rc = -EPROTO;
	else if (reply->op == CTL_OP_COUNTERS && nfds)
		counters_map(a, fds[0]);
	if (nfds)
		close(fds[0]);
	if (rc)
		return rc;
	*op = a->queue[a->head].op;
	*proc = a->queue[a->head].proc;
	a->head = (a->head + 1) % ADMIN_QUEUE_MAX;
	a->count--;
	a->asked_ns = clock_now_ns();
	return 0;
}
