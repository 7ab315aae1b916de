/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk_eal.h - start of DPDK's environment, once a process.
 *
 * DPDK can be initialised once in the life of a process, and all its ports share what was chosen
 * then. The choice is made here: no shared configuration, no telemetry, no files, so that processes
 * do not see each other; memory from hugepages where enough of them are free, else from a memfd of
 * small pages, which shared-memory links can use as well; log lines from errors up. The calling
 * thread keeps its affinity and its signal mask. DPDK's own threads have SIGPIPE blocked: they
 * write to sockets of peers that may be dead.
 */
#ifndef ATOLL_DATAPLANE_PORTS_DPDK_EAL_H
#define ATOLL_DATAPLANE_PORTS_DPDK_EAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dpdk_huge {
	DPDK_HUGE_AUTO,
	DPDK_HUGE_ON,
	DPDK_HUGE_OFF
};

struct dpdk_eal_conf {
	enum dpdk_huge huge;
	uint32_t memory_mb; /* for everything that DPDK allocates */
	const char *device; /* allow this PCI device; NULL: PCI is not looked at */
	char *const *args;  /* further EAL arguments */
	unsigned nargs;
};

/**
 * dpdk_eal_start - initialise DPDK if this process has not yet; later calls keep the first one's
 * choice. Return: 0, or negative errno with a sentence in @err. From one thread at a time.
 */
int dpdk_eal_start(const struct dpdk_eal_conf *conf, char *err, size_t errlen);

/* Is the memory of this process's DPDK from hugepages? */
bool dpdk_eal_huge(void);

enum dpdk_shm_side {
	DPDK_SHM_A,
	DPDK_SHM_B
};

/**
 * dpdk_shm_vdev - name and arguments of the device at one side of a shared-memory link.
 * @mac: the Ethernet address of this side.
 *
 * Side a is virtio-user, in whose memory the rings are, and the server of the socket at @path; side
 * b is vhost-user, its client, which connects again whenever it is cut. Both may start, die and
 * start again in any order. @name is unique in the process. Return: 0, -ENAMETOOLONG.
 */
int dpdk_shm_vdev(enum dpdk_shm_side side, const char *path, const uint8_t mac[6], char *name,
		  size_t namelen, char *args, size_t argslen);

#endif
