/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "tools/msgdump/recorder.h"

enum { ANSWER_MS = 5000, PATH_TEXT_MAX = 512 };

/* The supervisor's answer: '0' with a descriptor, or '1' and a sentence. */
static int ask(int sock, unsigned back, char *text, size_t len, int *fd)
{
	char request[32], control[CMSG_SPACE(sizeof(int))];
	struct iovec io = {text, len - 1};
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct pollfd p = {.fd = sock, .events = POLLIN};
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	snprintf(request, sizeof(request), "recorder %u", back);
	if (send(sock, request, strlen(request), MSG_NOSIGNAL) < 0)
		return -errno;
	if (poll(&p, 1, ANSWER_MS) != 1)
		return -ETIMEDOUT;
	n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n <= 0)
		return n ? -errno : -ECONNRESET;
	text[n] = 0;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 0;
}

static int take(struct recorder *r, int fd)
{
	struct stat st;
	void *p;
	int rc;

	if (fstat(fd, &st) || st.st_size <= 0)
		return -EPROTO;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	rc = recorder_parse(r, p, (size_t)st.st_size);
	munmap(p, (size_t)st.st_size);
	return rc;
}

int recorder_get(struct recorder *r, const char *run_dir, unsigned back)
{
	char path[PATH_TEXT_MAX], text[256] = "";
	int sock, fd, rc;

	snprintf(path, sizeof(path), "%s/svcctl.sock", run_dir);
	sock = sock_connect(path);
	if (sock < 0) {
		fprintf(stderr, "msgdump: no supervisor answers at %s (%s): with the node, its recorders are"
			" gone\n", path, strerror(-sock));
		return sock;
	}
	rc = ask(sock, back, text, sizeof(text), &fd);
	close(sock);
	if (!rc && fd < 0) {
		if (back)
			return 1;
		fprintf(stderr, "msgdump: %s\n", text + 1);
		return -ENODATA;
	}
	if (!rc)
		rc = take(r, fd);
	if (fd >= 0)
		close(fd);
	if (rc)
		fprintf(stderr, "msgdump: the recorder cannot be read: %s\n", strerror(-rc));
	return rc;
}
