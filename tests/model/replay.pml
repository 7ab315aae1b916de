/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Atomics on a lane execute at most once, and never after their status was told (docs/protocol.md).
 *
 * A requester posts atomics, at most WINDOW unanswered, and sends them again while no answer comes. The
 * network loses, doubles, delays and reorders packets without bound. The responder executes what it
 * expects next, and answers what it has executed already from its replay entries, as many as were agreed.
 * At any moment the requester may give up the connection: the responder destroys the old QP before it
 * accepts the new one, and only then the outstanding atomics end IN_DOUBT. QP numbers are not used again.
 */
#define OPS 3
#define WINDOW 2
#ifdef BROKEN_SHALLOW_REPLAY
#define DEPTH 1
#else
#define DEPTH 2
#endif
#define NET 3 /* packets on their way in each direction */

chan request = [NET] of { byte, byte, byte }; /* QP, PSN, operation */
chan answer = [NET] of { byte, byte, byte };  /* QP, PSN, operation whose result it is */

byte executed[OPS];
bool ended[OPS]; /* its user was told a status */

byte qp;	       /* the responder's; only one exists at a time */
byte expected;	       /* PSN */
byte replay[DEPTH];    /* operation by PSN modulo depth: stands for its result */

inline execute(op)
{
	assert(executed[op] == 0);
	assert(!ended[op]);
	executed[op]++
}

/* Loses packets; what doubles them is a receive that leaves them there. */
active proctype loss()
{
end:	do
	:: request??_,_,_
	:: answer??_,_,_
	od
}

active proctype responder()
{
	byte q, psn, op;

end:	do
	:: atomic {
		if
		:: request??q,psn,op
		:: request??<q,psn,op>
		fi;
		if
#ifdef BROKEN_REUSED_QPN
		:: false -> skip
#else
		:: q != qp -> skip /* of a QP that was destroyed */
#endif
		:: else ->
			if
#ifdef BROKEN_NO_REPLAY
			:: psn <= expected ->
				execute(op); replay[psn % DEPTH] = op;
				if :: psn == expected -> expected++ :: else fi;
				answer!q,psn,op
#else
			:: psn == expected && nfull(answer) ->
				execute(op);
				replay[psn % DEPTH] = op;
				expected++;
				answer!q,psn,op
			:: psn < expected && psn + WINDOW >= expected && nfull(answer) ->
				answer!q,psn,replay[psn % DEPTH]
#endif
			:: else -> skip /* older than any that may be unanswered, or ahead */
			fi
		fi;
		q = 0; psn = 0; op = 0
	   }
	od
}

active proctype requester()
{
	byte mine = 0, base = 0;	/* QP; operation that its PSN 0 stood for */
	byte first = 0, next = 0;	/* operations: unanswered from first, not posted from next */
	byte q, psn, op, i;

	do
	:: first == OPS -> break
	:: atomic { next < OPS && next - first < WINDOW && nfull(request) ->
		request!mine,next - base,next; next++ }
	/* again, from the oldest */
	:: atomic { first < next && nfull(request) -> request!mine,first - base,first }
	:: atomic {
		if
		:: answer??q,psn,op
		:: answer??<q,psn,op>
		fi;
		if
		:: q == mine && psn + base >= first && psn + base < next ->
			/* an answer acknowledges all before it only in order: take the oldest alone */
			if
			:: psn + base == first ->
				assert(op == first);
				assert(executed[first] == 1);
				ended[first] = true;
				first++
			:: else -> skip
			fi
		:: else -> skip
		fi;
		q = 0; psn = 0; op = 0
	   }
	/* gives up the connection, once */
	:: atomic { mine == 0 && first < next ->
#ifdef BROKEN_EARLY_STATUS
		i = first; do :: i < next -> ended[i] = true; i++ :: else -> break od
#endif
	   }
	   atomic {
		mine = 1; qp = 1; expected = 0; /* the old QP is destroyed, the new one accepted */
		i = first;
		do
		:: i < next -> ended[i] = true; i++
		:: else -> break
		od;
		i = 0; first = next; base = next
	   }
	od
}
