/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drivers.h - the drivers that port.c lists.
 */
#ifndef ATOLL_DATAPLANE_PORTS_DRIVERS_H
#define ATOLL_DATAPLANE_PORTS_DRIVERS_H

#include "dataplane/port.h"

extern const struct port_ops port_loop_ops;  /* loop:NAME, between ports of one process */
extern const struct port_ops port_uring_ops; /* uring:, UDP by the kernel */
extern const struct port_ops port_dpdk_ops;  /* dpdk:DEVICE-OR-VDEV[;EAL-ARGS] */
extern const struct port_ops port_shm_ops;   /* shm:PATH,side=a|b, two processes of one machine */
extern const struct port_ops port_fault_ops; /* fault:KEY=VALUE,.../INNER */

#endif
