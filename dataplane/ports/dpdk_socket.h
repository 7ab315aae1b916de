/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk_socket.h - the Unix socket that a virtio-user serves, seen from outside.
 *
 * DPDK's virtio-user binds, listens and accepts by itself; a process that was killed leaves the
 * socket's name behind, and one that fails half-way leaves descriptors open. These calls put both
 * right.
 */
#ifndef ATOLL_DATAPLANE_PORTS_DPDK_SOCKET_H
#define ATOLL_DATAPLANE_PORTS_DPDK_SOCKET_H

/* Connect to @path and hang up. 0 or negative errno. @type: SOCK_STREAM, ... */
int dpdk_socket_connect(const char *path, int type);

/**
 * dpdk_socket_clear - take away the name that a server that is gone has left.
 *
 * A connection of another type shows whether somebody listens and disturbs nobody. Return: 0 when
 * the name is free now, -EADDRINUSE when somebody listens, -EEXIST when it is no socket, or another
 * negative errno.
 */
int dpdk_socket_clear(const char *path);

/* Close what has @path as its own address: a virtio-user that fails to come up leaves its sockets
 * open (DPDK 22.11), and a peer would wait in them for ever. */
void dpdk_sockets_close(const char *path);

#endif
