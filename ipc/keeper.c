/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "proto/atoll_proto.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct held {
	uint64_t key, size;
	uint32_t flags, uid;
	int fd;
};

struct keeper {
	struct held held[KEEPER_REGIONS_MAX];
	unsigned count;
};

static int file_make(uint64_t size, uint32_t flags)
{
	unsigned mfd = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = -1;

	if (size == 0 || size > (1ull << 40))
		return -EINVAL;
	if (flags & REGION_FLAG_HUGE)
		fd = memfd_create("atoll-region", mfd | MFD_HUGETLB);
	if (fd < 0)
		fd = memfd_create("atoll", mfd | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
		fd = memfd_create("atoll", mfd);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW)) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static struct held *held_find(struct keeper *k, uint64_t key)
{
	for (unsigned i = 0; i < k->count; i++)
		if (k->held[i].key == key)
			return &k->held[i];
	return NULL;
}

/* Answers @m in place. Returns the descriptor to send along, or -1; *@give: close it after sending. */
static int keeper_serve(struct keeper *k, struct keeper_msg *m, int *give)
{
	struct held *h;
	int fd;

	*give = 0;
	m->error = 0;
	switch (m->op) {
	case KEEPER_TRANSIENT:
		fd = file_make(m->size, m->flags);
		*give = 1;
		if (fd < 0)
			m->error = fd;
		return fd < 0 ? -1 : fd;
	case KEEPER_CREATE:
		if (m->key == 0 || held_find(k, m->key)) {
			m->error = -EEXIST;
			return -1;
		}
		if (k->count == KEEPER_REGIONS_MAX) {
			m->error = -ENOSPC;
			return -1;
		}
		fd = file_make(m->size, m->flags);
		if (fd < 0) {
			m->error = fd;
			return -1;
		}
		k->held[k->count++] = (struct held){m->key, m->size, m->flags, m->uid, fd};
		return fd;
	case KEEPER_GET:
		h = held_find(k, m->key);
		if (!h) {
			m->error = -ENOENT;
			return -1;
		}
		m->size = h->size;
		m->flags = h->flags;
		m->uid = h->uid;
		return h->fd;
	case KEEPER_DROP:
		h = held_find(k, m->key);
		if (!h) {
			m->error = -ENOENT;
			return -1;
		}
		close(h->fd);
		*h = k->held[--k->count];
		return -1;
	case KEEPER_LIST:
		if (m->size >= k->count) {
			m->error = -ENOENT;
			return -1;
		}
		h = &k->held[m->size];
		m->key = h->key;
		m->size = h->size;
		m->flags = h->flags;
		m->uid = h->uid;
		return -1;
	default:
		m->error = -EINVAL;
		return -1;
	}
}

/* The supervisor sees flight recorders and nothing else. False: it asked something else. */
static bool supervisor_asks(struct keeper *k, int sock, struct keeper_msg *m)
{
	int fd, give;

	if (m->op != KEEPER_LIST && m->op != KEEPER_GET)
		return false;
	fd = keeper_serve(k, m, &give);
	if (!m->error && !(m->flags & KEEPER_FLAG_RECORDER)) {
		/* a region's key would open it */
		m->key = m->size = 0;
		m->flags = m->uid = 0;
		m->error = m->op == KEEPER_GET ? -EACCES : 0;
		fd = -1;
	}
	sock_send(sock, m, sizeof(*m), &fd, fd >= 0);
	return true;
}

int keeper_run(int supervisor)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int dataplane = -1;

	if (!k)
		return 1;
	for (;;) {
		struct pollfd p[2] = {{.fd = supervisor, .events = POLLIN},
				      {.fd = dataplane, .events = POLLIN}};
		struct keeper_msg m;
		int fds[1], fd, give, rc;
		unsigned n = 1;

		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (p[0].revents) {
			rc = sock_recv(supervisor, &m, sizeof(m), fds, &n);
			if (rc == -EPROTO || rc == -EAGAIN)
				continue;
			if (rc)
				break; /* the supervisor is gone: the node is over */
			if (m.magic == KEEPER_MAGIC && n == 0 && supervisor_asks(k, supervisor, &m))
				continue;
			if (m.magic != KEEPER_MAGIC || m.op != KEEPER_SUPERVISOR_DATAPLANE || n != 1) {
				if (n)
					close(fds[0]);
				continue;
			}
			if (dataplane >= 0)
				close(dataplane);
			dataplane = fds[0];
			m.error = 0;
			sock_send(supervisor, &m, sizeof(m), NULL, 0);
			continue;
		}
		if (dataplane < 0 || !p[1].revents)
			continue;
		n = 0;
		rc = sock_recv(dataplane, &m, sizeof(m), NULL, NULL);
		if (rc == -EAGAIN)
			continue;
		if (rc || m.magic != KEEPER_MAGIC) {
			close(dataplane);
			dataplane = -1;
			continue;
		}
		fd = keeper_serve(k, &m, &give);
		rc = sock_send(dataplane, &m, sizeof(m), &fd, fd >= 0);
		if (give && fd >= 0)
			close(fd);
		if (rc) {
			close(dataplane);
			dataplane = -1;
		}
	}
	free(k);
	return 0;
}

int keeper_call(int sock, struct keeper_msg *msg, int *fd)
{
	unsigned n = 1;
	int rc, got = -1;

	msg->magic = KEEPER_MAGIC;
	msg->error = 0;
	*fd = -1;
	rc = sock_send(sock, msg, sizeof(*msg), NULL, 0);
	if (!rc)
		rc = sock_recv_timeout(sock, msg, sizeof(*msg), &got, &n, 1000);
	if (rc)
		return rc;
	*fd = n ? got : -1;
	return msg->error;
}
