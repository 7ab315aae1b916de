/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/msgdump/ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/sock.h"

enum { HEAD = 64, ANSWER_MS = 2000 };

int ring_open(struct ring *v, const char *path, bool packets)
{
	struct proto_ctl_request q = {.magic = PROTO_CTL_REQUEST_MAGIC,
				      .major = PROTO_MAJOR,
				      .op = packets ? CTL_OP_TRACE_PACKETS : CTL_OP_TRACE};
	struct proto_ctl_reply r;
	unsigned n = 1;
	struct stat st;
	int fd = -1, rc;
	void *p;

	memset(v, 0, sizeof(*v));
	v->sock = sock_connect(path);
	if (v->sock < 0) {
		fprintf(stderr, "msgdump: no dataplane answers at %s (%s): is the node up? (svcctl status)\n",
			path, strerror(-v->sock));
		return v->sock;
	}
	rc = sock_send(v->sock, &q, sizeof(q), NULL, 0);
	if (!rc)
		rc = sock_recv_timeout(v->sock, &r, sizeof(r), &fd, &n, ANSWER_MS);
	if (rc) {
		fprintf(stderr, "msgdump: %s: %s\n", path, strerror(-rc));
		close(v->sock);
		return rc;
	}
	r.text[sizeof(r.text) - 1] = 0;
	if (proto_ctl_reply_check(&r) != STATUS_OK || r.status != STATUS_OK || n != 1) {
		fprintf(stderr, "msgdump: %s\n", r.text[0] ? r.text : "the dataplane refuses the trace");
		rc = -EACCES;
	} else if (r.slots == 0 || (r.slots & (r.slots - 1)) || fstat(fd, &st) ||
		   (uint64_t)st.st_size < HEAD + (uint64_t)r.slots * sizeof(*v->entries)) {
		fprintf(stderr, "msgdump: the trace ring is not what was said\n");
		rc = -EPROTO;
	} else {
		v->mask = r.slots - 1;
		p = mmap(NULL, HEAD + (size_t)r.slots * sizeof(*v->entries), PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED) {
			rc = -errno;
			fprintf(stderr, "msgdump: the trace ring cannot be mapped: %s\n", strerror(errno));
		} else {
			v->position = p;
			v->entries = (const void *)((const uint8_t *)p + HEAD);
			v->at = __atomic_load_n(v->position, __ATOMIC_ACQUIRE);
		}
	}
	if (n == 1)
		close(fd);
	if (rc)
		close(v->sock);
	return rc;
}

void ring_close(struct ring *v)
{
	munmap((void *)(uintptr_t)v->position, HEAD + ((size_t)v->mask + 1) * sizeof(*v->entries));
	close(v->sock);
}

int ring_next(struct ring *v, struct proto_trace_entry *out)
{
	for (;;) {
		uint64_t end = __atomic_load_n(v->position, __ATOMIC_ACQUIRE), seq;
		const struct proto_trace_entry *e;

		if (v->at == end)
			return 0;
		if (end - v->at > v->mask + 1ull) {
			v->lost += end - v->at - (v->mask + 1ull);
			v->at = end - (v->mask + 1ull);
		}
		e = &v->entries[v->at & v->mask];
		seq = __atomic_load_n(&e->seq, __ATOMIC_ACQUIRE);
		memcpy(out, e, sizeof(*out));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq == v->at + 1 && __atomic_load_n(&e->seq, __ATOMIC_RELAXED) == seq) {
			v->at++;
			return 1;
		}
		v->lost++;
		v->at++;
	}
}

bool ring_over(const struct ring *v)
{
	char byte;

	/* it says nothing more on this socket until it ends */
	return recv(v->sock, &byte, 1, MSG_DONTWAIT) == 0;
}
