/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/idle.h"

#include <sched.h>
#include <string.h>
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
	static _Atomic long cores;
	long n = cores;

	/* asked once: later, the process may be shut in and can look no more */
	if (!n)
		cores = n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 4;
}

/* Is the core to be kept for another look? */
static bool linger(struct idle *idle, uint64_t now_ns)
{
	if (!idle->expecting || idle->lingered)
		return false;
	if (!idle->lingering) {
		if (idle->trust < IDLE_TRUST_MAX / 2 && ++idle->probe % IDLE_PROBE_EVERY != 0)
			return false;
		idle->lingering = true;
		idle->linger_ns = now_ns;
	}
	if (now_ns - idle->linger_ns < IDLE_LINGER_NS)
		return true;
	idle->lingering = false;
	idle->lingered = true;
	if (idle->trust)
		idle->trust--;
	return false;
}

void idle_give(struct idle *idle)
{
	uint64_t from = clock_now_ns();

	if (idle->mode == IDLE_MODE_AUTO || idle->mode == IDLE_MODE_YIELD)
		sched_yield();
	idle->owed = false;
	idle->gave_ns = clock_now_ns();
	idle->away_ns = idle->gave_ns - from;
}

static void give_way(struct idle *idle, uint64_t now_ns)
{
	if (linger(idle, now_ns))
		cpu_pause();
	else
		idle_give(idle);
}

void idle_init(struct idle *idle, uint8_t mode, bool shared_core)
{
	memset(idle, 0, sizeof(*idle));
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
		give_way(idle, now_ns);
		return false;
	case IDLE_MODE_BLOCK:
		return true;
	default:
		break;
	}
	if (now_ns - idle->active_ns > (idle->shared_core ? IDLE_YIELD_NS : IDLE_SPIN_NS))
		return true;
	if (idle->shared_core)
		give_way(idle, now_ns);
	else
		cpu_pause();
	return false;
}
