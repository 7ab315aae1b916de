/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle.h - what a polling thread does when a turn of its loop found nothing.
 *
 * spin: a pause instruction; never gives the core away. yield: sched_yield. block: the caller is told
 * to sleep on its descriptors. auto: spins while it has a core to itself and was active within the
 * last SPIN_NS, yields on a shared core while a peer was active within the last YIELD_NS, then blocks.
 * A sleeping core costs 10 to 60 microseconds to wake; a hand-over by yield about 5.
 */
#ifndef ATOLL_IPC_IDLE_H
#define ATOLL_IPC_IDLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	IDLE_SPIN_NS = 2000000,	 /* auto on an own core: about forty wakes' worth */
	IDLE_YIELD_NS = 1000000, /* auto on a shared core */
};

struct idle {
	uint8_t mode;	  /* enum idle_mode of proto */
	bool shared_core; /* other pollers run on this core */
	uint64_t active_ns; /* when work was last found */
};

/* Monotonic clock, nanoseconds. */
uint64_t clock_now_ns(void);

/* Fewer cores than a node has pollers (dataplane, service, client, and one for everybody else): assume that
 * somebody else's poller wants this one. */
bool idle_few_cores(void);

/* @mode: enum idle_mode. */
void idle_init(struct idle *idle, uint8_t mode, bool shared_core);

static inline void idle_active(struct idle *idle, uint64_t now_ns)
{
	idle->active_ns = now_ns;
}

/**
 * idle_step - call after a turn that found nothing.
 * Return: true when the caller should sleep on its descriptors now (with the sleeping flag protocol of
 * channel.h); false after a pause or a yield.
 */
bool idle_step(struct idle *idle, uint64_t now_ns);

#endif
