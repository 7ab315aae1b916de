/* SPDX-License-Identifier: Apache-2.0 */
#include "services/fork-pager/pages/ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/fork-pager/pages/space_impl.h"

enum {
	PIECES_SPARE = 256, /* room beyond twice of what there is */
	PIECES_MAX = 1 << 24,
	WORDS = LEDGER_SECOND | LEDGER_EVENT | LEDGER_UNSAID,
};

static size_t size_for(size_t pieces)
{
	size_t bytes = sizeof(struct ledger) + 2 * pieces * sizeof(struct place);

	return (bytes + PAGES_SIZE - 1) & ~(size_t)(PAGES_SIZE - 1);
}

static void say(struct ledger *l, uint32_t word)
{
	__atomic_store_n(&l->word, word, __ATOMIC_SEQ_CST);
}

ssize_t ledger_event(struct space_child *c, struct uffd_msg *m)
{
	ssize_t n;

	if (!c->ledger)
		return space_message_read(c->uffd, m);
	memset(&c->ledger->event, 0, sizeof(c->ledger->event));
	say(c->ledger, c->ledger->word | LEDGER_EVENT);
	n = space_message_read(c->uffd, &c->ledger->event);
	*m = c->ledger->event;
	if (n != sizeof(*m))
		say(c->ledger, c->ledger->word & ~(uint32_t)LEDGER_EVENT);
	return n;
}

static void copy(struct space_child *c)
{
	struct ledger *l = c->ledger;
	unsigned to = !(l->word & LEDGER_SECOND);

	struct place *p = l->piece + (size_t)to * l->room;

	if (c->stuck || c->places.n + c->due.n > l->room) {
		say(l, l->word | LEDGER_UNSAID);
		return;
	}
	if (c->places.n)
		memcpy(p, c->places.piece, c->places.n * sizeof(*p));
	if (c->due.n)
		memcpy(p + c->places.n, c->due.piece, c->due.n * sizeof(*p));
	l->n[to] = (uint32_t)c->places.n;
	l->due[to] = (uint32_t)c->due.n;
	say(l, to ? LEDGER_SECOND : 0);
}

void ledger_write(struct space_child *c, const struct uffd_msg *m)
{
	if (!c->ledger)
		return;
	/* Whoever waits for a page asks the next one again; and a fork has been given away by now. */
	if (m->event == UFFD_EVENT_PAGEFAULT || m->event == UFFD_EVENT_FORK)
		say(c->ledger, c->ledger->word & ~(uint32_t)LEDGER_EVENT);
	else
		copy(c);
}

int space_child_ledger(struct space_child *c)
{
	size_t pieces = c->places.n * 2 + PIECES_SPARE, size = size_for(pieces);
	void *p = MAP_FAILED;

	c->ledger_fd = memfd_create("atoll-ledger", MFD_CLOEXEC);
	if (c->ledger_fd < 0)
		return -errno;
	if (pieces <= PIECES_MAX && ftruncate(c->ledger_fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, c->ledger_fd, 0);
	if (p == MAP_FAILED) {
		ledger_free(c);
		return -ENOMEM;
	}
	c->ledger = p;
	c->ledger_size = size;
	c->ledger->room = (uint32_t)pieces;
	copy(c);
	return c->ledger_fd;
}

void ledger_free(struct space_child *c)
{
	if (c->ledger)
		munmap(c->ledger, c->ledger_size);
	if (c->ledger_fd >= 0)
		close(c->ledger_fd);
	c->ledger = NULL;
	c->ledger_size = 0;
	c->ledger_fd = -1;
}

/* The last event, which the pager did not come to write down. */
static int follow(struct places *p, struct places *due, const struct uffd_msg *m)
{
	switch (m->event) {
	case 0:
	case UFFD_EVENT_PAGEFAULT:
		return 0;
	case UFFD_EVENT_REMAP:
		return places_move(p, due, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
	case UFFD_EVENT_REMOVE:
		return places_empty(p, m->arg.remove.start, m->arg.remove.end);
	case UFFD_EVENT_UNMAP:
		return places_unmap(p, due, m->arg.remove.start, m->arg.remove.end);
	default:
		return -EBUSY;
	}
}

int ledger_read(int fd, struct places *out, struct places *due)
{
	struct ledger head;
	struct place piece;
	struct stat st;
	uint64_t first;
	unsigned of;
	int rc = 0;

	if (fstat(fd, &st) || pread(fd, &head, sizeof(head), 0) != sizeof(head) || head.word & ~(uint32_t)WORDS)
		return -EBADMSG;
	if (head.word & LEDGER_UNSAID)
		return -EBUSY;
	of = head.word & LEDGER_SECOND ? 1 : 0;
	if (head.room > PIECES_MAX || head.n[of] > head.room || head.due[of] > head.room - head.n[of] ||
	    size_for(head.room) > (size_t)st.st_size)
		return -EBADMSG;
	first = sizeof(head) + (uint64_t)of * head.room * sizeof(piece);
	for (uint32_t i = 0; i < head.n[of] + head.due[of] && !rc; i++) {
		if (pread(fd, &piece, sizeof(piece), (off_t)(first + i * sizeof(piece))) != sizeof(piece))
			rc = -EBADMSG;
		else
			rc = places_add(i < head.n[of] ? out : due, &piece);
	}
	if (rc)
		return rc == -EINVAL ? -EBADMSG : rc;
	return head.word & LEDGER_EVENT ? follow(out, due, &head.event) : 0;
}
