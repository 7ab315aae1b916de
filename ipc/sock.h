/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock.h - whole messages with descriptors over SOCK_SEQPACKET unix sockets.
 *
 * Every message has one fixed size. What is shorter, longer or carries more descriptors than asked for
 * is refused, and no descriptor leaks.
 */
#ifndef ATOLL_IPC_SOCK_H
#define ATOLL_IPC_SOCK_H

#include <stddef.h>
#include <sys/types.h>

enum { SOCK_FDS_MAX = 8 };

/* Sends @len bytes and @nfds descriptors. 0 or negative errno. Never raises SIGPIPE. */
int sock_send(int sock, const void *msg, size_t len, const int *fds, unsigned nfds);

/**
 * sock_recv - receive one message of exactly @len bytes with at most *@nfds descriptors (close-on-exec).
 * Return: 0; -ECONNRESET at the end of the connection; -EPROTO for a message of another size or with
 * too many descriptors (which have been closed); -EAGAIN on a nonblocking socket; other -errno.
 */
int sock_recv(int sock, void *msg, size_t len, int *fds, unsigned *nfds);

/* Like sock_recv, but gives up with -ETIMEDOUT after @timeout_ms. */
int sock_recv_timeout(int sock, void *msg, size_t len, int *fds, unsigned *nfds, int timeout_ms);

/* Listening and connecting SOCK_SEQPACKET sockets on a path; descriptor or negative errno. */
int sock_listen(const char *path, mode_t mode);
int sock_connect(const char *path);

#endif
