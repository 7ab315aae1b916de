/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ipc/sock.h"
#include "services/fork-pager/afork.h"
#include "services/fork-pager/pages/store.h"

int afork_connect(const char *node)
{
	const char *socket = getenv("ATOLL_SOCKET"), *slash = socket ? strrchr(socket, '/') : NULL;
	char path[256];
	int fd;

	if (!node && !slash) {
		afork_say(-EINVAL, "no node was named: --node RUN_DIR, or ATOLL_SOCKET");
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "%.*s/state/fork-pager/fork.sock",
		 node ? (int)strlen(node) : (int)(slash - socket), node ? node : socket);
	fd = sock_connect(path);
	if (fd < 0)
		afork_say(fd, "no fork-pager listens on %s: %s; does the node run one? (svcctl status)", path,
			  strerror(-fd));
	return fd;
}

int afork_answer(int sock, struct fork_control *a, int *got, unsigned *ngot)
{
	int rc = sock_recv_timeout(sock, a, sizeof(*a), got, ngot, AFORK_WAIT_MS);

	if (!rc && a->magic != FORK_CONTROL_MAGIC)
		rc = -EPROTO;
	if (rc) {
		snprintf(a->text, sizeof(a->text), "the fork-pager %s",
			 rc == -ETIMEDOUT ? "does not answer" : "has ended, or is of another build");
		return rc;
	}
	a->text[sizeof(a->text) - 1] = 0;
	return a->rc;
}

int afork_send(int sock, struct fork_control *q, const int *fds, unsigned nfds)
{
	q->magic = FORK_CONTROL_MAGIC;
	return sock_send(sock, q, sizeof(*q), fds, nfds);
}

int afork_ask(int sock, struct fork_control *q, const int *fds, unsigned nfds, int *got, unsigned *ngot)
{
	uint16_t op = q->op;
	int rc = afork_send(sock, q, fds, nfds);

	if (rc) {
		snprintf(q->text, sizeof(q->text), "the fork-pager has ended");
		return rc;
	}
	rc = afork_answer(sock, q, got, ngot);
	return !rc && q->op != op ? -EPROTO : rc;
}

int afork_file(const void *a, size_t alen, const void *b, size_t blen)
{
	int fd = memfd_create("afork", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, a, alen, 0) == (ssize_t)alen && pwrite(fd, b, blen, (off_t)alen) == (ssize_t)blen)
		return fd;
	close(fd);
	return -ENOMEM;
}

int afork_prepare(int sock, pid_t pid, const struct page_source *source, const void *image, size_t len,
		  struct fork_control *a)
{
	int fds[3] = {memfd_create("afork-pages", MFD_CLOEXEC), memfd_create("afork-tables", MFD_CLOEXEC), -1}, rc;
	int tables = fds[1];

	*a = (struct fork_control){.op = FORK_CONTROL_PREPARE, .pid = pid, .image_len = len,
				   .count = source->nranges};
	fds[2] = afork_file(image, len, source->ranges, source->nranges * sizeof(*source->ranges));
	rc = fds[0] < 0 || fds[1] < 0 || fds[2] < 0 ? -EMFILE : store_copy(source, fds[0], fds[1]);
	if (rc)
		snprintf(a->text, sizeof(a->text), "its pages cannot be copied: %s", strerror(-rc));
	for (unsigned i = 0; i < source->nranges; i++)
		if (source->ranges[i].kind == PAGES_CHILD)
			fds[1] = source->pagemap_fd;
	if (!rc)
		rc = afork_ask(sock, a, fds, 3, NULL, NULL);
	close_quietly(fds[0]);
	close_quietly(tables);
	close_quietly(fds[2]);
	if (rc)
		afork_say(rc, "the snapshot was not taken: %s", a->text[0] ? a->text : strerror(-rc));
	return rc;
}
