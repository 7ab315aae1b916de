/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary heap of QPs by the time at which to look at them. Deadlines move with every answer, so
 * the heap does not follow them: a QP whose time comes and whose deadline has moved is put back.
 * Traffic costs nothing here, and an idle QP is not in the heap.
 */
#include "dataplane/roce/qp.h"

static void put(struct roce_dev *dev, uint32_t at, struct roce_qp *qp)
{
	dev->timers[at] = qp;
	qp->timer_at = at;
}

static void sift_up(struct roce_dev *dev, uint32_t at, struct roce_qp *qp)
{
	while (at > 1 && dev->timers[at / 2]->timer_key > qp->timer_key) {
		put(dev, at, dev->timers[at / 2]);
		at /= 2;
	}
	put(dev, at, qp);
}

static void sift_down(struct roce_dev *dev, uint32_t at, struct roce_qp *qp)
{
	for (;;) {
		uint32_t child = at * 2;

		if (child > dev->timer_count)
			break;
		if (child < dev->timer_count &&
		    dev->timers[child + 1]->timer_key < dev->timers[child]->timer_key)
			child++;
		if (dev->timers[child]->timer_key >= qp->timer_key)
			break;
		put(dev, at, dev->timers[child]);
		at = child;
	}
	put(dev, at, qp);
}

void timer_set(struct roce_dev *dev, struct roce_qp *qp, uint64_t when)
{
	if (!qp->timer_at) {
		qp->timer_key = when;
		sift_up(dev, ++dev->timer_count, qp);
	} else if (when < qp->timer_key) {
		qp->timer_key = when;
		sift_up(dev, qp->timer_at, qp);
	}
}

void timer_remove(struct roce_dev *dev, struct roce_qp *qp)
{
	uint32_t at = qp->timer_at;
	struct roce_qp *last;

	if (!at)
		return;
	qp->timer_at = 0;
	last = dev->timers[dev->timer_count--];
	if (last == qp)
		return;
	if (at > 1 && dev->timers[at / 2]->timer_key > last->timer_key)
		sift_up(dev, at, last);
	else
		sift_down(dev, at, last);
}

struct roce_qp *timer_take(struct roce_dev *dev, uint64_t now,
			   uint64_t (*deadline)(const struct roce_qp *))
{
	while (dev->timer_count && dev->timers[1]->timer_key <= now) {
		struct roce_qp *qp = dev->timers[1];
		uint64_t due = deadline(qp);

		if (due > now) {
			qp->timer_key = due;
			sift_down(dev, 1, qp);
			continue;
		}
		timer_remove(dev, qp);
		if (due)
			return qp;
	}
	return NULL;
}
