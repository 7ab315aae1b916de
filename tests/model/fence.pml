/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fencing, and the hand-over of a repair (clients/index/rtx.h, services/index-shard/shard.h).
 *
 * Client Z changes two words under a lock: record, both words, unlock. It may die before any verb, or hang and go on
 * as if nothing had been, which is the same as verbs that are long on their way. The shard has it fenced off at any moment and
 * says afterwards that it is dead. Repairers A and B find its lock, write their own record where there was one, take
 * the lock over by compare-and-swap, do all again, and unlock; A may die or be fenced off at any verb, too, and
 * then B takes over from it. Z, when it is told that it was fenced, comes back under a new identity N and makes its own change.
 *
 * Whoever gets the lock while it is free finds both words equal; what was fenced changes nothing any more; nobody waits
 * for ever.
 */
#define Z 1
#define A 2
#define B 3
#define N 4

byte lock;	/* whose */
byte x, y;	/* what it guards */
bool rec[5];	/* its log says what it does under the lock */
bool fenced[5];	/* by the dataplane: its verbs are refused */
bool dead[5];	/* the client table says so */
bool zended, zdone, ncame;

/* A verb of @me, which may die before it, and is told when it is refused. */
#define VERB(me, what) \
	if \
	:: mortal -> goto died \
	:: true \
	fi; \
	atomic { \
		if \
		:: fenced[me] -> goto refused \
		:: else -> what \
		fi \
	}

proctype shard(byte c)
{
#if defined(BROKEN_DEAD_BEFORE_FENCE)
	dead[c] = true;
	fenced[c] = true
#elif defined(BROKEN_NO_FENCE)
	dead[c] = true
#else
	fenced[c] = true;
	dead[c] = true
#endif
}

proctype client()
{
	bool mortal = true, got;

	VERB(Z, got = (lock == 0); lock = (lock == 0 -> Z : lock));
	assert(got);
#ifndef BROKEN_NO_RECORD
	VERB(Z, rec[Z] = true);
#endif
	VERB(Z, x = 1);
	VERB(Z, y = 1);
	VERB(Z, lock = 0; zdone = true);
	goto died;
refused:
	/* the open under a new identity is answered when the old one is dead */
	dead[Z];
	atomic { lock == 0 -> lock = N; assert(x == y) }
	x = 2;
	y = 2;
	atomic { lock = 0; ncame = true }
died:
	zended = true
}

proctype repairer(byte me)
{
	byte from;
	bool whole, got, mortal = (me == A);

end:	do
	:: atomic { lock != 0 && dead[lock] -> from = lock }
		whole = rec[from];
#ifndef BROKEN_NO_OWN_RECORD
		if
		:: whole -> VERB(me, rec[me] = true)
		:: else
		fi;
#endif
#ifdef BROKEN_TAKE_BLIND
		VERB(me, got = true; lock = me);
#else
		VERB(me, got = (lock == from); lock = (lock == from -> me : lock));
#endif
		if
		:: !got -> goto end
		:: else
		fi;
		if
		:: whole ->
			VERB(me, x = 1);
			VERB(me, y = 1)
		:: else
		fi;
		VERB(me, lock = 0)
	od;
refused:
died:
	skip
}

init
{
	atomic {
		run client();
		run repairer(A);
		run repairer(B);
		run shard(Z);
		run shard(A)
	}
	/* what may be left is repaired: nobody stands in the lock for ever */
	atomic { zended && lock == 0 && dead[Z] -> assert(x == y && (!ncame || x == 2) && (!zdone || ncame || x == 1)) }
}
