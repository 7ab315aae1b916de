/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal of an endpoint in two phases (dataplane/dp.h, dataplane/control.h).
 *
 * A service that answers requests and owns a region dies at any moment. The control thread then tells the
 * polled loop to close it, waits until the loop says that nothing refers to the memory any more, and only
 * then unmaps. In the loop, closing stops routing at once and answers what is outstanding; the second phase
 * waits for packets that still refer to the memory. Nothing may touch memory that is unmapped, every
 * request is answered exactly once, and the memory is unmapped in the end.
 */
#define REQUESTS 3
#define READS 2 /* READs of the region by other nodes: each leaves a packet that refers to it */

mtype = { OPEN, CLOSING, GONE };

mtype state = OPEN;
bool mapped = true;
bool died, close_wanted, unused;
byte ring_in, ring_out;		/* requests to the service, its replies */
byte asked, answered, outstanding;
byte reads, references;		/* packets at the port */

active proctype service()
{
	do
	:: atomic { ring_in > 0 -> ring_in--; ring_out++ }
	:: died = true; break
	od
}

active proctype control()
{
	died;
	close_wanted = true;
#ifndef BROKEN_NO_WAIT
	unused;
#endif
	mapped = false
}

active proctype loop()
{
	do
	/* a request for the service comes in */
	:: atomic {
		asked < REQUESTS -> asked++;
		if
#ifdef BROKEN_ROUTES_WHILE_CLOSING
		:: state != GONE ->
#else
		:: state == OPEN ->
#endif
			assert(mapped); ring_in++; outstanding++
		:: else -> answered++
		fi
	   }
	/* a reply of the service */
#ifdef BROKEN_LATE_REPLY
	:: atomic { state != GONE && ring_out > 0 -> assert(mapped); ring_out--; answered++;
		    if :: outstanding > 0 -> outstanding-- :: else fi }
#else
	:: atomic { state == OPEN && ring_out > 0 -> assert(mapped); ring_out--; outstanding--;
		    answered++ }
#endif
	/* a READ from another node: its answer refers to the region until it has been sent */
	:: atomic { state == OPEN && reads < READS -> assert(mapped); reads++; references++ }
	:: atomic { references > 0 -> assert(mapped); references-- }
	/* first phase */
	:: atomic {
		close_wanted && state == OPEN -> state = CLOSING;
#ifndef BROKEN_NO_ANSWERS
		answered = answered + outstanding;
#endif
		outstanding = 0
	   }
	/* second phase */
#ifdef BROKEN_IGNORES_REFERENCES
	:: atomic { state == CLOSING -> state = GONE; unused = true }
#else
	:: atomic { state == CLOSING && references == 0 -> state = GONE; unused = true }
#endif
	:: atomic { state == GONE && asked == REQUESTS && references == 0 -> break }
	od;
	assert(answered == REQUESTS)
}
