/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iface.h - is a kernel interface up? For ports that send through one and are not told.
 */
#ifndef ATOLL_DATAPLANE_PORTS_IFACE_H
#define ATOLL_DATAPLANE_PORTS_IFACE_H

/**
 * iface_running - ask the kernel (netdevice(7), SIOCGIFFLAGS).
 * @sock: any socket of the interface's network namespace
 * Return: 1 when it is up and has a carrier, 0 when not, or when there is none of that name. A system call:
 * not for the polled thread.
 */
int iface_running(int sock, const char *name);

#endif
