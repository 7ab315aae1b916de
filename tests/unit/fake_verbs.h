/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_verbs.h - a verbs provider over plain memory, for tests of what works by verbs.
 *
 * It offers only what ipc/verbs.h promises. A world holds regions and up to FAKE_PROVIDERS
 * providers, and executes one step at a time, of a client and chain that its seed chooses: one
 * 64-byte line of a READ (the lines of neighbouring READs of a chain in any order), at most 256
 * bytes of a WRITE, or one atomic. Chains of one client run side by side, as if each had a lane of
 * its own.
 *
 * A client that is no longer polled has died: what it has sent may go on executing until
 * fake_fence, after which no verb of it does. fake_cut breaks a connection: all its chains end,
 * with IN_DOUBT for what was begun and for some of what was not, NOT_SENT for the rest; then its
 * polls say -ENOTCONN.
 */
#ifndef ATOLL_TESTS_FAKE_VERBS_H
#define ATOLL_TESTS_FAKE_VERBS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/verbs.h"
#include "proto/atoll_proto.h"

enum {
	FAKE_PROVIDERS = 16,
	FAKE_CHAINS = 96, /* outstanding of a client */
	FAKE_REGIONS = 16,
	FAKE_LINES = 4096, /* of a run of READs */
	FAKE_WON = 32,
};

struct fake_chain {
	bool ended;
	uint64_t cookie;
	unsigned n, at;  /* verbs, the one that executes */
	unsigned run;    /* READs from `at` on whose lines are being read */
	uint64_t done;   /* bytes of a WRITE, lines of a run of READs */
	uint16_t *order; /* of the lines of a run */
	struct verb verb[VERB_CHAIN_MAX];
	uint8_t status[VERB_CHAIN_MAX];
};

struct fake_client {
	struct verbs v;
	struct fake_world *world;
	bool fenced, cut;
	unsigned room;  /* chains that it takes at once */
	uint64_t steps; /* executed */
	uint32_t again; /* one verb in so many is answered AGAIN; 0 none */
	uint64_t limit; /* after so many it is fenced off by itself; 0 never */
	bool lose;      /* ... and no answer reaches it any more */
	unsigned won;   /* compare-and-swaps that swapped, ... */
	uint64_t won_word[FAKE_WON]; /* ... and the last words that they put in */
	uint8_t open[FAKE_CHAINS], ready[FAKE_CHAINS], idle[FAKE_CHAINS]; /* numbers of chains */
	unsigned nopen, nready, nidle;
	struct fake_chain chain[FAKE_CHAINS];
};

struct fake_region {
	uint8_t *base;
	uint64_t size;
};

struct fake_world {
	uint64_t random;
	uint64_t steps;
	unsigned nclients;
	struct fake_region region[FAKE_REGIONS]; /* handle slot i */
	bool idle_steps;  /* idle executes a step: for callers that wait inside */
	bool whole_verbs; /* a READ is one step, too: for tests of all interleavings */
	uint32_t (*choose)(void *arg, uint32_t n); /* instead of chance, where set */
	void *arg;
	/* told of each WRITE that has ended, and each CAS that has swapped: verb f->at of a chain */
	void (*watch)(struct fake_client *c, const struct fake_chain *f);
	struct fake_client client[FAKE_PROVIDERS]; /* nothing in those that were not added; they are large */
};

static inline uint64_t fake_random(struct fake_world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random * 0x2545f4914f6cdd1dull;
}

static inline uint32_t fake_below(struct fake_world *w, uint32_t n)
{
	return (uint32_t)((fake_random(w) >> 32) * n >> 32);
}

static inline unsigned fake_check(struct fake_world *w, const struct verb *v)
{
	if (v->remote.slot >= FAKE_REGIONS || !w->region[v->remote.slot].base ||
	    v->local.slot >= FAKE_REGIONS || !w->region[v->local.slot].base)
		return STATUS_BAD_HANDLE;
	if (v->remote_offset > w->region[v->remote.slot].size ||
	    v->len > w->region[v->remote.slot].size - v->remote_offset ||
	    v->local_offset > w->region[v->local.slot].size ||
	    v->len > w->region[v->local.slot].size - v->local_offset)
		return STATUS_RANGE;
	return STATUS_OK;
}

static inline int fake_post(struct verbs *v, uint32_t lane, const struct verb *chain, unsigned n,
			    uint64_t cookie)
{
	struct fake_client *c = (struct fake_client *)v;
	struct fake_chain *f;

	(void)lane;
	if (c->cut)
		return -ENOTCONN;
	if (verbs_chain_check(chain, n))
		return -EINVAL;
	if (!c->nidle || c->nopen + c->nready >= c->room)
		return -EAGAIN;
	c->open[c->nopen] = c->idle[--c->nidle];
	f = &c->chain[c->open[c->nopen++]];
	f->ended = false;
	f->cookie = cookie;
	f->n = n;
	f->at = f->run = 0;
	f->done = 0;
	memset(f->status, 0, sizeof(f->status));
	memcpy(f->verb, chain, n * sizeof(*chain));
	return 0;
}

static inline void fake_flush(struct verbs *v)
{
	(void)v;
}

static inline int fake_poll(struct verbs *v, struct verb_completion *out, unsigned max)
{
	struct fake_client *c = (struct fake_client *)v;
	unsigned got = 0;

	while (got < max && c->nready) {
		unsigned pick = c->world->choose ? 0 : fake_below(c->world, c->nready);
		const struct fake_chain *f = &c->chain[c->ready[pick]];

		out[got].cookie = f->cookie;
		out[got].count = (uint8_t)f->n;
		memcpy(out[got].status, f->status, sizeof(f->status));
		got++;
		c->idle[c->nidle++] = c->ready[pick];
		c->ready[pick] = c->ready[--c->nready];
	}
	return got || !c->cut ? (int)got : -ENOTCONN;
}

static inline void fake_end(struct fake_client *c, unsigned pick)
{
	c->ready[c->nready++] = c->open[pick];
	c->open[pick] = c->open[--c->nopen];
}

static inline void fake_fail(struct fake_chain *f, unsigned status)
{
	f->status[f->at] = (uint8_t)status;
	for (unsigned i = f->at + 1; i < f->n; i++)
		f->status[i] = STATUS_CANCELLED;
	f->ended = true;
}

static inline uint64_t fake_lines(const struct verb *v)
{
	return (v->remote_offset % 64 + v->len + 63) / 64;
}

static inline uint64_t fake_run_lines(const struct fake_chain *f)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < f->run; i++)
		n += fake_lines(&f->verb[f->at + i]);
	return n;
}

/* The READs from f->at on whose lines may come in any order. */
static inline void fake_run_begin(struct fake_world *w, struct fake_chain *f)
{
	uint64_t total;

	while (f->at + f->run < f->n && f->verb[f->at + f->run].op == VERB_READ &&
	       (f->run == 0 || !(f->verb[f->at + f->run].flags & VERB_FENCE)) &&
	       !fake_check(w, &f->verb[f->at + f->run])) {
		f->run++;
		if (f->run > 1 && fake_run_lines(f) > FAKE_LINES) {
			f->run--;
			break;
		}
	}
	total = fake_run_lines(f);
	f->order = realloc(f->order, total * sizeof(*f->order));
	for (uint64_t i = 0; i < total; i++) {
		uint64_t j = fake_below(w, (uint32_t)i + 1);

		f->order[i] = f->order[j];
		f->order[j] = (uint16_t)i;
	}
}

static inline void fake_copy(struct fake_world *w, const struct verb *v, uint64_t from, uint64_t to)
{
	memcpy(w->region[v->local.slot].base + v->local_offset + from,
	       w->region[v->remote.slot].base + v->remote_offset + from, to - from);
}

static inline void fake_read_step(struct fake_world *w, struct fake_chain *f)
{
	uint64_t line;

	if (w->whole_verbs) {
		fake_copy(w, &f->verb[f->at], 0, f->verb[f->at].len);
		f->at++;
		return;
	}
	if (f->run == 0)
		fake_run_begin(w, f);
	line = f->order[f->done];
	for (unsigned i = 0; i < f->run; i++) {
		const struct verb *v = &f->verb[f->at + i];
		uint64_t n = fake_lines(v), to;

		if (line >= n) {
			line -= n;
			continue;
		}
		to = (line + 1) * 64 - v->remote_offset % 64;
		fake_copy(w, v, line ? line * 64 - v->remote_offset % 64 : 0,
			  to < v->len ? to : v->len);
		break;
	}
	if (++f->done == fake_run_lines(f)) {
		f->at += f->run;
		f->run = 0;
		f->done = 0;
	}
}

static inline void fake_write_step(struct fake_world *w, struct fake_client *c, struct fake_chain *f)
{
	const struct verb *v = &f->verb[f->at];
	uint64_t n = v->len - f->done < 256 ? v->len - f->done : 256;

	memcpy(w->region[v->remote.slot].base + v->remote_offset + f->done,
	       w->region[v->local.slot].base + v->local_offset + f->done, n);
	f->done += n;
	if (f->done == v->len) {
		if (w->watch)
			w->watch(c, f);
		f->at++;
		f->done = 0;
	}
}

static inline void fake_atomic_step(struct fake_world *w, struct fake_client *c, struct fake_chain *f)
{
	const struct verb *v = &f->verb[f->at];
	uint8_t *remote = w->region[v->remote.slot].base + v->remote_offset;
	uint64_t old;

	memcpy(&old, remote, 8);
	memcpy(w->region[v->local.slot].base + v->local_offset, &old, 8);
	if (v->op == VERB_FAA)
		old += v->swap;
	else if (old == v->compare) {
		c->won_word[c->won++ % FAKE_WON] = v->swap;
		if (w->watch)
			w->watch(c, f);
		old = v->swap;
	}
	memcpy(remote, &old, 8);
	f->at++;
}

static inline void fake_chain_step(struct fake_world *w, struct fake_client *c,
				   struct fake_chain *f)
{
	const struct verb *v = &f->verb[f->at];
	unsigned status = fake_check(w, v);

	if (status) {
		fake_fail(f, status);
		return;
	}
	if (v->op == VERB_READ)
		fake_read_step(w, f);
	else if (v->op == VERB_WRITE)
		fake_write_step(w, c, f);
	else
		fake_atomic_step(w, c, f);
	if (f->at == f->n)
		f->ended = true;
}

static inline void fake_fence(struct fake_client *c)
{
	c->fenced = true;
	while (c->nopen) {
		fake_fail(&c->chain[c->open[0]], STATUS_FENCED);
		fake_end(c, 0);
	}
}

static inline void fake_lose(struct fake_chain *f, unsigned status)
{
	memset(f->status, (int)status, f->n);
	f->ended = true;
}

/* Of what has been answered, and of what has been fenced off, the client learns nothing. */
static inline void fake_lose_all(struct fake_client *c)
{
	for (unsigned i = 0; i < c->nready; i++)
		fake_lose(&c->chain[c->ready[i]], STATUS_IN_DOUBT);
	c->cut = true;
}

/* Executes one step of one chain of those that are open; false if there is none. */
static inline bool fake_step(struct fake_world *w)
{
	unsigned all = 0, pick;

	for (unsigned c = 0; c < w->nclients; c++)
		all += w->client[c].nopen;
	if (!all)
		return false;
	if (!w->choose)
		pick = fake_below(w, all);
	else
		pick = all > 1 ? w->choose(w->arg, all) : 0;
	for (unsigned c = 0; c < w->nclients; c++) {
		struct fake_client *k = &w->client[c];

		if (pick >= k->nopen) {
			pick -= k->nopen;
			continue;
		}
		if (k->again && !k->chain[k->open[pick]].done && fake_below(w, k->again) == 0)
			fake_fail(&k->chain[k->open[pick]], STATUS_AGAIN);
		else
			fake_chain_step(w, k, &k->chain[k->open[pick]]);
		if (k->chain[k->open[pick]].ended)
			fake_end(k, pick);
		w->steps++;
		if (++k->steps == k->limit) {
			fake_fence(k);
			if (k->lose)
				fake_lose_all(k);
		}
		break;
	}
	return true;
}

static inline void fake_idle(struct verbs *v)
{
	struct fake_client *c = (struct fake_client *)v;

	if (c->world->idle_steps)
		fake_step(c->world);
}

static inline struct fake_client *fake_client_add(struct fake_world *w)
{
	static const struct verbs_ops ops = {fake_post, fake_flush, fake_poll, fake_idle};
	struct fake_client *c;

	if (w->nclients == FAKE_PROVIDERS)
		return NULL;
	c = &w->client[w->nclients++];
	memset(c, 0, offsetof(struct fake_client, chain));
	for (unsigned i = 0; i < FAKE_CHAINS; i++)
		c->chain[i].order = NULL;
	c->v.ops = &ops;
	c->world = w;
	c->room = FAKE_CHAINS;
	for (unsigned i = 0; i < FAKE_CHAINS; i++)
		c->idle[c->nidle++] = (uint8_t)i;
	return c;
}

static inline void fake_cut(struct fake_client *c)
{
	/* The answers of some that did execute are lost, too. */
	for (unsigned i = 0; i < c->nready; i++)
		if (fake_below(c->world, 2))
			fake_lose(&c->chain[c->ready[i]], STATUS_IN_DOUBT);
	while (c->nopen) {
		struct fake_chain *f = &c->chain[c->open[0]];
		bool begun = f->at || f->done || f->run;

		fake_lose(f, begun || fake_below(c->world, 2) ? STATUS_IN_DOUBT : STATUS_NOT_SENT);
		fake_end(c, 0);
	}
	c->cut = true;
}

static inline void fake_free(struct fake_world *w)
{
	for (unsigned c = 0; c < w->nclients; c++)
		for (unsigned i = 0; i < FAKE_CHAINS; i++)
			free(w->client[c].chain[i].order);
}

#endif
