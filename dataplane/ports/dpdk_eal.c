/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ports/dpdk_eal.h"

#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>

enum {
	ARGS_MAX = 48,
	MEMORY_MB_MIN = 64, /* even: hugepages of 2 MiB */
};

static bool started, huge_used;

/* Can @bytes of hugepages be had? They are taken and given back: what the kernel counts as free may
 * be promised to others. */
static bool huge_free(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, bytes);
	return true;
}

static int first_cpu(const cpu_set_t *set)
{
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET((size_t)i, set))
			return i;
	return 0;
}

int dpdk_eal_start(const struct dpdk_eal_conf *conf, char *err, size_t errlen)
{
	static char memory[16], cpu[16], device[128];
	static char *argv[ARGS_MAX];
	uint32_t mb = conf->memory_mb > MEMORY_MB_MIN ? (conf->memory_mb + 1) & ~1u : MEMORY_MB_MIN;
	sigset_t pipe_only, before;
	cpu_set_t set;
	bool huge;
	int n = 0, rc;

	if (started)
		return 0;
	huge = conf->huge != DPDK_HUGE_OFF && huge_free((size_t)mb << 20);
	if (conf->huge == DPDK_HUGE_ON && !huge) {
		snprintf(err, errlen,
			 "dpdk: %u MiB of hugepages are not free: reserve more (vm.nr_hugepages) "
			 "or leave "
			 "huge=on out",
			 mb);
		return -ENOMEM;
	}
	if (conf->nargs > ARGS_MAX - 16) {
		snprintf(err, errlen, "dpdk: more than %d EAL arguments", ARGS_MAX - 16);
		return -E2BIG;
	}
	if (sched_getaffinity(0, sizeof(set), &set))
		return -errno;
	snprintf(memory, sizeof(memory), "%u", mb);
	snprintf(cpu, sizeof(cpu), "0@%d", first_cpu(&set));
	argv[n++] = (char *)"atoll";
	argv[n++] = (char *)"--lcores";
	argv[n++] = cpu;
	argv[n++] = (char *)"-m";
	argv[n++] = memory;
	argv[n++] = (char *)"--no-telemetry";
	argv[n++] = (char *)"--log-level=error";
	/* it repeats that the peer has gone until it has put it away; link_up says so */
	argv[n++] = (char *)"--log-level=pmd.net.virtio.driver:critical";
	if (huge) {
		argv[n++] = (char *)"--in-memory";
		argv[n++] = (char *)"--single-file-segments";
	} else {
		argv[n++] = (char *)"--no-huge";
		argv[n++] = (char *)"--no-shconf";
	}
	if (conf->device) {
		snprintf(device, sizeof(device), "%s", conf->device);
		argv[n++] = (char *)"-a";
		argv[n++] = device;
	} else {
		argv[n++] = (char *)"--no-pci";
	}
	for (unsigned i = 0; i < conf->nargs; i++)
		argv[n++] = conf->args[i];
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	rc = rte_eal_init(n, argv);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	sched_setaffinity(0, sizeof(set), &set);
	if (rc < 0) {
		snprintf(err, errlen,
			 "dpdk: the environment did not start: %s: see the lines of EAL above",
			 rte_strerror(rte_errno));
		return -EIO;
	}
	started = true;
	huge_used = huge;
	return 0;
}

bool dpdk_eal_huge(void)
{
	return huge_used;
}

int dpdk_shm_vdev(enum dpdk_shm_side side, const char *path, const uint8_t mac[6], char *name,
		  size_t namelen, char *args, size_t argslen)
{
	static unsigned count;
	int n;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	if (side == DPDK_SHM_A) {
		snprintf(name, namelen, "virtio_user%u", count++);
		n = snprintf(args, argslen,
			     "path=%s,queues=1,server=1,mac=%02x:%02x:%02x:%02x:%02x:%02x", path,
			     mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	} else {
		snprintf(name, namelen, "net_vhost%u", count++);
		n = snprintf(args, argslen, "iface=%s,queues=1,client=1", path);
	}
	return n < 0 || (size_t)n >= argslen ? -ENAMETOOLONG : 0;
}
