/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ports/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ports/drivers.h"
#include "ipc/idle.h"

enum {
	HELD_MAX = 512,
	REORDER_NS = 100000
};

struct held {
	struct pkt *pkt;
	uint64_t due_ns;
	uint64_t order;
};

struct fault_port {
	struct port port;
	struct port_ops ops; /* the wrapper's, with the inner one's capabilities */
	struct port *inner;
	double loss, dup, reorder, corrupt;
	uint64_t delay_ns, jitter_ns, bits_per_s;
	uint64_t rng, order, free_at_ns;
	uint64_t (*now_ns)(void *);
	void *now_arg;
	struct held heap[HELD_MAX]; /* by due time, then order; from 0 */
	uint32_t count;
	uint64_t hits[FAULT_KINDS];
	fault_rule_fn *rule;
	void *rule_arg;
};

static struct fault_port *from(struct port *p)
{
	return (struct fault_port *)p;
}

static uint64_t draw(struct fault_port *f)
{
	uint64_t z = f->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static int strikes(struct fault_port *f, uint32_t aimed, double share, enum fault_kind kind)
{
	/* drawn whether or not it can strike: one fault more does not move all others */
	int hit = (double)(draw(f) >> 11) * 0x1p-53 < share || (aimed >> kind & 1);

	f->hits[kind] += (uint64_t)hit;
	return hit;
}

static int before(const struct held *a, const struct held *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static void heap_add(struct fault_port *f, struct held h)
{
	uint32_t i = f->count++;

	for (; i && before(&h, &f->heap[(i - 1) / 2]); i = (i - 1) / 2)
		f->heap[i] = f->heap[(i - 1) / 2];
	f->heap[i] = h;
}

static void heap_drop_first(struct fault_port *f)
{
	struct held h = f->heap[--f->count];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < f->count) {
		if (child + 1 < f->count && before(&f->heap[child + 1], &f->heap[child]))
			child++;
		if (!before(&f->heap[child], &h))
			break;
		f->heap[i] = f->heap[child];
		i = child;
	}
	f->heap[i] = h;
}

/* Send what is due. */
static void release(struct fault_port *f)
{
	uint64_t now = f->now_ns(f->now_arg);

	while (f->count && f->heap[0].due_ns <= now) {
		if (!f->inner->ops->tx_burst(f->inner, &f->heap[0].pkt, 1))
			return;
		heap_drop_first(f);
	}
}

static uint64_t due(struct fault_port *f, const struct pkt *p, uint64_t now)
{
	uint64_t t = now;

	if (f->bits_per_s) {
		if (f->free_at_ns > t)
			t = f->free_at_ns;
		t += (uint64_t)p->len * 8u * 1000000000u / f->bits_per_s;
		f->free_at_ns = t;
	}
	t += f->delay_ns;
	if (f->jitter_ns)
		t += draw(f) % (f->jitter_ns + 1);
	return t;
}

static void hold(struct fault_port *f, struct pkt *p, uint64_t when)
{
	if (f->count == HELD_MAX) {
		f->hits[FAULT_OVERFLOW]++;
		f->inner->ops->free(f->inner, &p, 1);
		return;
	}
	heap_add(f, (struct held){p, when, f->order++});
}

static void damage(struct fault_port *f, struct pkt *p)
{
	uint64_t r = draw(f);
	/* behind the IP and UDP headers: a damaged address does what a loss does */
	uint32_t at = f->inner->ops->caps & PORT_L2 ? 14 : 0;
	uint32_t skip = at + (p->len > at && p->data[at] >> 4 == 6 ? 48 : 28);

	if (p->len > skip)
		p->data[skip + (r >> 8) % (p->len - skip)] ^= (uint8_t)(1u << (r & 7));
}

static void one(struct fault_port *f, struct pkt *p, uint64_t now)
{
	struct pkt *copy = NULL;
	uint64_t when = due(f, p, now);
	uint32_t aimed = f->rule ? f->rule(f->rule_arg, p) : 0;
	int lost = strikes(f, aimed, f->loss, FAULT_LOSS);
	int twice = strikes(f, aimed, f->dup, FAULT_DUP);
	int late = strikes(f, aimed, f->reorder, FAULT_REORDER);
	int bad = strikes(f, aimed, f->corrupt, FAULT_CORRUPT);

	if (lost) {
		f->inner->ops->free(f->inner, &p, 1);
		return;
	}
	if (twice && f->inner->ops->alloc(f->inner, &copy, 1) == 1) {
		if (copy->room >= p->len) {
			memcpy(copy->data, p->data, p->len);
			copy->len = p->len;
			hold(f, copy, when + f->delay_ns / 2);
		} else {
			f->inner->ops->free(f->inner, &copy, 1);
		}
	}
	if (bad)
		damage(f, p);
	if (late)
		when += f->delay_ns + REORDER_NS;
	if (when > now)
		f->hits[FAULT_DELAY]++;
	hold(f, p, when);
}

static unsigned fault_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct fault_port *f = from(p);
	uint64_t now = f->now_ns(f->now_arg);

	for (unsigned k = 0; k < n; k++)
		one(f, pkts[k], now);
	release(f);
	return n;
}

static unsigned fault_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct fault_port *f = from(p);

	if (f->count)
		release(f);
	return f->inner->ops->rx_burst(f->inner, pkts, n);
}

static int fault_start(struct port *p)
{
	return from(p)->inner->ops->start(from(p)->inner);
}

static unsigned fault_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	return from(p)->inner->ops->alloc(from(p)->inner, pkts, n);
}

static void fault_free(struct port *p, struct pkt **pkts, unsigned n)
{
	from(p)->inner->ops->free(from(p)->inner, pkts, n);
}

static int fault_wait_fd(struct port *p)
{
	struct fault_port *f = from(p);

	/* what is held has no descriptor: with delays the port must be polled */
	return f->delay_ns || f->jitter_ns || f->bits_per_s || f->reorder > 0
		       ? -1
		       : f->inner->ops->wait_fd(f->inner);
}

static int fault_arm(struct port *p)
{
	struct fault_port *f = from(p);

	return f->count ? 1 : f->inner->ops->arm(f->inner);
}

static int fault_link_up(struct port *p)
{
	return from(p)->inner->ops->link_up(from(p)->inner);
}

static void fault_stats(struct port *p, struct port_stats *out)
{
	from(p)->inner->ops->stats(from(p)->inner, out);
}

static void fault_close(struct port *p)
{
	struct fault_port *f = from(p);

	while (f->count) {
		f->inner->ops->free(f->inner, &f->heap[0].pkt, 1);
		heap_drop_first(f);
	}
	f->inner->ops->close(f->inner);
	free(f);
}

void fault_counts(const struct port *p, uint64_t out[FAULT_KINDS])
{
	memcpy(out, ((const struct fault_port *)p)->hits, sizeof(((struct fault_port *)0)->hits));
}

void fault_rule_set(struct port *p, fault_rule_fn *rule, void *arg)
{
	struct fault_port *f = from(p);

	f->rule = rule;
	f->rule_arg = arg;
}

static uint64_t monotonic(void *arg)
{
	(void)arg;
	return clock_now_ns();
}

/* One KEY=VALUE. 0, or -EINVAL with a sentence. */
static int option(struct fault_port *f, const char *key, const char *value, char *err,
		  size_t errlen)
{
	const struct {
		const char *name;
		double *share;
		uint64_t *number;
		uint64_t unit;
	} keys[] = {
		{"loss", &f->loss, NULL, 0},
		{"dup", &f->dup, NULL, 0},
		{"reorder", &f->reorder, NULL, 0},
		{"corrupt", &f->corrupt, NULL, 0},
		{"delay_us", NULL, &f->delay_ns, 1000},
		{"jitter_us", NULL, &f->jitter_ns, 1000},
		{"rate_mbps", NULL, &f->bits_per_s, 1000000},
		{"seed", NULL, &f->rng, 1},
	};
	char *end;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(keys[i].name, key))
			continue;
		errno = 0;
		if (keys[i].share) {
			*keys[i].share = strtod(value, &end);
			if (*end || end == value || !(*keys[i].share >= 0 && *keys[i].share <= 1)) {
				snprintf(err, errlen, "fault: %s=%s: must be 0 to 1", key, value);
				return -EINVAL;
			}
		} else {
			/* seeds are whole; times and rates may have a fraction: 2.5 us, 0.5 Mb/s */
			uint64_t v = strtoull(value, &end, 10);

			if (*end == '.' && keys[i].unit > 1) {
				double d = strtod(value, &end);

				if (!*end && !errno && d >= 0 && d < 9e18 / (double)keys[i].unit) {
					*keys[i].number = (uint64_t)(d * (double)keys[i].unit + 0.5);
					return 0;
				}
			}
			if (*end || end == value || errno || v > UINT64_MAX / keys[i].unit ||
			    value[0] == '-') {
				snprintf(err, errlen, "fault: %s=%s: must be a number", key, value);
				return -EINVAL;
			}
			*keys[i].number = v * keys[i].unit;
		}
		return 0;
	}
	snprintf(err, errlen,
		 "fault: there is no \"%s\"; there are loss, dup, reorder, corrupt, delay_us, "
		 "jitter_us, rate_mbps, seed",
		 key);
	return -EINVAL;
}

static int fault_open(struct port **out, const struct port_conf *conf, char *err, size_t errlen)
{
	const char *slash = strchr(conf->args, '/');
	char text[256], *save = NULL;
	struct fault_port *f;
	int rc = 0;

	if (!slash || (size_t)(slash - conf->args) >= sizeof(text)) {
		snprintf(err, errlen,
			 "fault: wants KEY=VALUE,.../INNER, for example "
			 "fault:loss=0.01,seed=7/uring:");
		return -EINVAL;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->rng = conf->seed;
	f->now_ns = conf->now_ns ? conf->now_ns : monotonic;
	f->now_arg = conf->now_arg;
	memcpy(text, conf->args, (size_t)(slash - conf->args));
	text[slash - conf->args] = 0;
	for (char *w = strtok_r(text, ",", &save); w && !rc; w = strtok_r(NULL, ",", &save)) {
		char *value = strchr(w, '=');

		if (value)
			*value++ = 0;
		rc = option(f, w, value ? value : "", err, errlen);
	}
	if (!rc)
		rc = port_open(&f->inner, slash + 1, conf, err, errlen);
	if (rc) {
		free(f);
		return rc;
	}
	f->ops = port_fault_ops;
	f->ops.caps = f->inner->ops->caps & ~(uint32_t)PORT_LOSSLESS;
	f->port = *f->inner;
	f->port.ops = &f->ops;
	*out = &f->port;
	return 0;
}

const struct port_ops port_fault_ops = {
	.name = "fault",
	.open = fault_open,
	.start = fault_start,
	.alloc = fault_alloc,
	.free = fault_free,
	.rx_burst = fault_rx,
	.tx_burst = fault_tx,
	.wait_fd = fault_wait_fd,
	.arm = fault_arm,
	.link_up = fault_link_up,
	.stats = fault_stats,
	.close = fault_close,
};
