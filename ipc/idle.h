/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle.h - what a polling thread does when a turn of its loop found nothing.
 *
 * spin: a pause instruction; never gives the core away. yield: sched_yield. block: the caller is told
 * to sleep on its descriptors. auto: spins while it has a core to itself and was active within the
 * last SPIN_NS, yields on a shared core while a peer was active within the last YIELD_NS, then blocks.
 * A sleeping core costs 10 to 60 microseconds to wake; a hand-over by yield about 1 to 5. So a core is
 * handed over when a process has all that it waits for, rather than with each answer: what it could do with
 * one of many is not worth the way there and back.
 *
 * Who waits for an answer that another core is about to give does better to wait for it than to hand the
 * core over and get it back. A loop says so in `expecting`; whether it pays is learnt from whether answers
 * came meanwhile, for they cannot come from a process that shares the core.
 *
 * Many pollers of one core that yield to each other all run once for each turn of the one that they wait for. It
 * must do the more in its turn, the more they are: as long as it finds work it keeps the core for as long as it was
 * without it.
 */
#ifndef ATOLL_IPC_IDLE_H
#define ATOLL_IPC_IDLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	IDLE_SPIN_NS = 2000000,	 /* auto on an own core: about forty wakes' worth */
	IDLE_YIELD_NS = 1000000, /* auto on a shared core */
	IDLE_LINGER_NS = 3000,	 /* before a yield, when something is expected: a hand-over's worth */
	IDLE_BUSY_NS = 40000,	 /* longest without a yield on a shared core: ten hand-overs' worth */
	IDLE_OWED_NS = 500,	 /* and when somebody has been given all that he waited for */
	IDLE_TRUST_MAX = 8,
	IDLE_PROBE_EVERY = 32, /* one try in so many where it did not pay */
	IDLE_TURN_NS = 500000,	 /* longest turn of a loop that finds work, however long the others had */
};

struct idle {
	uint8_t mode;	  /* enum idle_mode of proto */
	bool shared_core; /* other pollers run on this core */
	bool expecting;	    /* the loop's: an answer is on its way, perhaps from another core */
	bool lingering;	    /* waiting for it */
	bool lingered;	    /* in vain, since work was last found */
	bool owed;	    /* somebody was given all that he waits for and has not run since */
	uint8_t trust;	    /* how often it came, lately */
	uint8_t probe;	    /* tries without trust */
	uint64_t active_ns; /* when work was last found */
	uint64_t gave_ns;   /* when the core was last got back */
	uint64_t away_ns;   /* and for how long it had been given */
	uint64_t linger_ns; /* since when it waits: loops may not ask the clock in every turn */
};

/* Monotonic clock, nanoseconds. */
uint64_t clock_now_ns(void);

/* Fewer cores than a node has pollers (dataplane, service, client, and one for everybody else): assume that
 * somebody else's poller wants this one. */
bool idle_few_cores(void);

/* @mode: enum idle_mode. */
void idle_init(struct idle *idle, uint8_t mode, bool shared_core);

/* Let the others of a shared core run. What the caller knows of the time is stale when this returns:
 * gave_ns says when that was. */
void idle_give(struct idle *idle);

/* How long a loop that finds work keeps the core. */
static inline uint64_t idle_turn_ns(const struct idle *idle)
{
	uint64_t least = idle->owed ? IDLE_OWED_NS : IDLE_BUSY_NS;

	if (idle->away_ns <= IDLE_BUSY_NS)
		return least;
	return idle->away_ns < IDLE_TURN_NS ? idle->away_ns : IDLE_TURN_NS;
}

/* Call after a turn that found work. On a shared core it gives way now and then, for a loop that is always
 * busy would come to no idle_step; sooner if the turn @delivered all that another process waits for. */
static inline void idle_active(struct idle *idle, uint64_t now_ns, bool delivered)
{
	idle->active_ns = now_ns;
	idle->owed |= delivered;
	if (idle->shared_core && now_ns > idle->gave_ns + idle_turn_ns(idle))
		idle_give(idle);
	idle->lingered = false;
	if (idle->lingering) {
		idle->lingering = false;
		if (idle->trust < IDLE_TRUST_MAX)
			idle->trust++;
	}
}

/* Call instead after a turn whose work was for nobody, as a heartbeat's is: it is no reason to stay awake. */
static inline void idle_upkeep(struct idle *idle, uint64_t now_ns)
{
	if (idle->shared_core && now_ns > idle->gave_ns + IDLE_BUSY_NS)
		idle_give(idle);
}

/**
 * idle_step - call after a turn that found nothing.
 * Return: true when the caller should sleep on its descriptors now (with the sleeping flag protocol of
 * channel.h); false after a pause or a yield.
 */
bool idle_step(struct idle *idle, uint64_t now_ns);

#endif
