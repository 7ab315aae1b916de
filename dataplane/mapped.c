/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/mapped.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/dp.h"

enum { MAPPED_MAX = DP_REGIONS_MAX + 2 * DP_ENDPOINTS_MAX };

/* The handler reads an entry whose size is not 0. */
static struct {
	_Atomic(uint8_t *) base;
	_Atomic size_t size;
	atomic_bool lost;
} mapped[MAPPED_MAX];
static atomic_uint top, nlost;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;
	unsigned n = atomic_load(&top);
	int saved = errno;

	(void)context;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *base = atomic_load(&mapped[i].base);
		size_t size = atomic_load(&mapped[i].size);

		if (!size || at < base || (size_t)(at - base) >= size)
			continue;
		if (mmap(base, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			break;
		if (!atomic_exchange(&mapped[i].lost, true))
			atomic_fetch_add(&nlost, 1);
		errno = saved;
		return;
	}
	signal(sig, SIG_DFL); /* it comes again */
}

int mapped_init(void)
{
	struct sigaction sa = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};

	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

int mapped_add(void *base, size_t size)
{
	for (unsigned i = 0; i < MAPPED_MAX; i++) {
		if (atomic_load(&mapped[i].size))
			continue;
		atomic_store(&mapped[i].lost, false);
		atomic_store(&mapped[i].base, base);
		atomic_store(&mapped[i].size, size);
		if (i >= atomic_load(&top))
			atomic_store(&top, i + 1);
		return 0;
	}
	return -ENOSPC;
}

void mapped_remove(const void *base)
{
	for (unsigned i = 0; base && i < atomic_load(&top); i++) {
		if (!atomic_load(&mapped[i].size) || atomic_load(&mapped[i].base) != base)
			continue;
		atomic_store(&mapped[i].size, 0);
		if (atomic_exchange(&mapped[i].lost, false))
			atomic_fetch_sub(&nlost, 1);
	}
}

void *mapped_lost(void)
{
	for (unsigned i = 0; atomic_load(&nlost) && i < atomic_load(&top); i++)
		if (atomic_load(&mapped[i].size) && atomic_exchange(&mapped[i].lost, false)) {
			atomic_fetch_sub(&nlost, 1);
			return atomic_load(&mapped[i].base);
		}
	return NULL;
}
