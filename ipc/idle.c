/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/idle.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "proto/atoll_proto.h"

uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

bool idle_few_cores(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) < 4;
}

void idle_init(struct idle *idle, uint8_t mode, bool shared_core)
{
	idle->mode = mode;
	idle->shared_core = shared_core;
	idle->active_ns = clock_now_ns();
}

bool idle_step(struct idle *idle, uint64_t now_ns)
{
	switch (idle->mode) {
	case IDLE_MODE_SPIN:
		cpu_pause();
		return false;
	case IDLE_MODE_YIELD:
		sched_yield();
		return false;
	case IDLE_MODE_BLOCK:
		return true;
	default:
		break;
	}
	if (now_ns - idle->active_ns > (idle->shared_core ? IDLE_YIELD_NS : IDLE_SPIN_NS))
		return true;
	if (idle->shared_core)
		sched_yield();
	else
		cpu_pause();
	return false;
}
