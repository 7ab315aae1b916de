/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The split of a subtable (clients/index/race_split.c) beside an update, an insert and a get.
 *
 * A subtable of two slots holds key J. Its splitter takes the lock, freezes every slot (MOVE), copies what is
 * committed into a half, and leads on to it with one word (next). It may die before any step; then a second
 * client, who waits until it is known to be dead, takes the lock over and goes on. Meanwhile an update
 * replaces J's word, an insert puts key K with PEND and commits it, and gets look for J. J is always found, with
 * the new word where the update had ended before; in the end J's new word and K are there, once each.
 */
#define J_OLD 1
#define J_NEW 2
#define K     3
#define VALUE 3
#define PEND  4
#define MOVE  8

byte s[2];	/* slots of the subtable */
byte h[2];	/* and of its half */
byte lock;	/* 0, 1: the first splitter's, 2: the second's */
bool next;	/* the half is valid */
bool dead;	/* the first splitter is, and is fenced off */
bool updated, inserted;
byte ended;

init
{
	atomic {
		s[0] = J_OLD;
		run splitter(1);
		run splitter(2);
		run updater();
		run inserter();
		run getter()
	}
}

/* Before what follows in the same step, the first splitter may die. */
inline may_die()
{
	if
	:: me == 1 -> dead = true; goto end
	:: true
	fi
}

inline freeze(x)
{
#ifdef BROKEN_EMPTY_NOT_FROZEN
	s[x] = (s[x] -> s[x] | MOVE : 0)
#else
	s[x] = s[x] | MOVE
#endif
}

proctype splitter(byte me)
{
	byte copy[2];

	if
	:: me == 1 -> atomic { lock == 0 -> may_die(); lock = 1 }
	:: me == 2 ->
		if
		:: atomic { dead && lock == 1 -> lock = 2 } /* CAS of its word */
		:: atomic { dead && lock == 0 && !next -> lock = 2 }
		:: lock == 0 && next -> goto end
		fi
	fi;
	atomic { may_die(); if :: next -> goto unlock :: else fi };
	atomic { may_die(); freeze(0) };
	atomic { may_die(); freeze(1) };
#ifdef BROKEN_EMPTY_NOT_FROZEN
	copy[0] = (s[0] & PEND -> 0 : s[0] & VALUE);
	copy[1] = (s[1] & PEND -> 0 : s[1] & VALUE);
#else
	d_step { /* nothing of it changes any more */
		copy[0] = (s[0] & PEND -> 0 : s[0] & VALUE);
		copy[1] = (s[1] & PEND -> 0 : s[1] & VALUE)
	};
#endif
#ifdef BROKEN_NEXT_FIRST
	atomic { may_die(); next = true };
#endif
	atomic { may_die(); h[0] = copy[0] };
	atomic { may_die(); h[1] = copy[1] };
	atomic { may_die(); next = true };
unlock:
	atomic { may_die(); lock = 0 };
end:	atomic { copy[0] = 0; copy[1] = 0; ended++ }
}

/* A look and a compare-and-swap of what was seen are one step here: if the word has changed in between, it
 * looks again, as if it had not yet looked. */
proctype updater()
{
	if
	:: atomic { s[0] == J_OLD -> s[0] = J_NEW; updated = true }
	:: atomic { (s[0] & MOVE) && next ->
		if
		:: h[0] == J_OLD -> h[0] = J_NEW
		:: else -> assert(h[1] == J_OLD); h[1] = J_NEW
		fi;
		updated = true
	   }
	fi;
	ended++
}

proctype inserter()
{
	byte mine;

	/* a free slot that is not frozen */
	if
	:: atomic { s[0] == 0 -> s[0] = K | PEND; mine = 0 }
	:: atomic { s[1] == 0 -> s[1] = K | PEND; mine = 1 }
	:: s[0] & MOVE -> goto half
	:: s[1] & MOVE -> goto half
	fi;
	atomic {
		if
		:: s[mine] == (K | PEND) -> s[mine] = K; inserted = true; goto end
#ifdef BROKEN_COMMITS_FROZEN
		:: s[mine] == (K | PEND | MOVE) -> s[mine] = K | MOVE; inserted = true; goto end
#else
		:: s[mine] == (K | PEND | MOVE) -> skip /* left out */
#endif
		fi
	};
half:
	next;
	if
	:: atomic { h[0] == 0 -> h[0] = K | PEND; mine = 0 }
	:: atomic { h[1] == 0 -> h[1] = K | PEND; mine = 1 }
	fi;
	h[mine] = K;
	inserted = true;
end:	ended++
}

proctype getter()
{
	byte a[2];
	bool was, leads;

	was = updated;
	a[0] = s[0];
	a[1] = s[1];
#ifndef BROKEN_GET_STAYS
	leads = next;
#endif
	if
	:: ((a[0] | a[1]) & MOVE) && leads -> a[0] = h[0]; a[1] = h[1]
	:: else
	fi;
	atomic {
		a[0] = (a[0] & PEND -> 0 : a[0] & VALUE);
		a[1] = (a[1] & PEND -> 0 : a[1] & VALUE);
		assert(a[0] == J_NEW || a[1] == J_NEW || (!was && (a[0] == J_OLD || a[1] == J_OLD)));
		a[0] = 0; a[1] = 0; was = false; leads = false;
		ended++
	}
}

#define HAS(t, v) (((t[0] & VALUE) == v) + ((t[1] & VALUE) == v))

active proctype judge()
{
	ended == 5;
	assert(updated && inserted && lock == 0 && next);
	assert(HAS(h, J_NEW) == 1 && HAS(h, K) == 1 && HAS(h, J_OLD) == 0)
}
