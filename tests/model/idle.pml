/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleep and wake of a ring (ipc/channel.h): a record must never lie in a ring whose reader sleeps for good.
 *
 * Memory is as on x86 (TSO): a store becomes visible some time later, and a later load of its own core may
 * overtake it; a fence waits for it. The event descriptor counts, so that a wake before the sleep is not
 * lost. A reader that blocks with nobody left to wake it is an invalid end state, which spin reports.
 */
#define ITEMS 3

byte ring;	  /* records published, as other cores see it */
bool sleeping;	  /* the reader's flag, as other cores see it */
byte event;	  /* the event descriptor */

bool ring_dirty;  /* store buffers: a value on its way */
byte ring_store;
bool flag_dirty;
bool flag_store;

active proctype writer_buffer()
{
end:	do
	:: atomic { ring_dirty -> ring = ring_store; ring_dirty = false }
	od
}

active proctype reader_buffer()
{
end:	do
	:: atomic { flag_dirty -> sleeping = flag_store; flag_dirty = false }
	od
}

active proctype writer()
{
	byte i = 0;

	do
	:: i < ITEMS ->
		i++;
		atomic { ring_store = i; ring_dirty = true }
#ifndef BROKEN_WRITER_FENCE
		!ring_dirty;
#endif
#ifdef BROKEN_NO_WAKE
		skip
#else
		if
		:: sleeping -> event = 1
		:: else -> skip
		fi
#endif
	:: else -> break
	od
}

active proctype reader()
{
	byte taken = 0;

	do
	:: taken == ITEMS -> break
	:: taken < ITEMS && ring > taken -> taken++
	:: taken < ITEMS && ring == taken ->
		atomic { flag_store = true; flag_dirty = true }
#ifndef BROKEN_READER_FENCE
		!flag_dirty;
#endif
		if
#ifndef BROKEN_NO_SECOND_LOOK
		:: ring > taken -> skip
		:: ring == taken -> event > 0; event = 0
#else
		:: event > 0; event = 0
#endif
		fi;
		atomic { flag_store = false; flag_dirty = true }
	od;
	assert(taken == ITEMS)
}
