/* SPDX-License-Identifier: Apache-2.0 */
/* The flight recorder's memory: made at the keeper, so that it can be read when this process is no more. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/control_impl.h"
#include "ipc/keeper.h"

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Lets go of the oldest until there is room for one more. */
static void prune(struct control *c)
{
	for (;;) {
		uint64_t oldest = UINT64_MAX;
		unsigned n = 0;
		int fd;

		for (uint64_t i = 0; i < KEEPER_REGIONS_MAX; i++) {
			struct keeper_msg m = {.op = KEEPER_LIST, .size = i};

			if (keeper_call(c->conf.keeper, &m, &fd))
				break;
			if (!(m.flags & KEEPER_FLAG_RECORDER))
				continue;
			n++;
			if (m.key < oldest)
				oldest = m.key;
		}
		if (n < KEEPER_RECORDERS_MAX)
			return;
		struct keeper_msg drop = {.op = KEEPER_DROP, .key = oldest};

		if (keeper_call(c->conf.keeper, &drop, &fd))
			return;
	}
}

int recorder_start(struct control *c)
{
	uint32_t entries = c->conf.node->recorder_entries;
	size_t size = sizeof(struct proto_recorder_head) + entries * sizeof(struct proto_recorder_entry);
	uint64_t now = clock_ns(CLOCK_REALTIME);
	struct proto_recorder_head *h;
	int fd, rc;

	if (!entries)
		return 0;
	prune(c);
	fd = keeper_file(c, KEEPER_CREATE, now, size, KEEPER_FLAG_RECORDER, 0);
	if (fd < 0)
		return fd;
	h = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	rc = h == MAP_FAILED ? -errno : file_seal_writes(fd);
	if (!rc && !file_present(h, size))
		rc = -ENOMEM;
	close(fd); /* the keeper has it */
	if (rc) {
		struct keeper_msg drop = {.op = KEEPER_DROP, .key = now};

		if (h != MAP_FAILED)
			munmap(h, size);
		keeper_call(c->conf.keeper, &drop, &fd);
		return rc;
	}
	h->major = PROTO_MAJOR;
	h->node = (uint8_t)c->node;
	h->entries = entries;
	h->incarnation = c->incarnation;
	h->started_ns = now;
	h->shift_ns = now - clock_ns(CLOCK_MONOTONIC);
	h->pid = (uint32_t)getpid();
	__atomic_store_n(&h->magic, PROTO_RECORDER_HEAD_MAGIC, __ATOMIC_RELEASE);
	dp_recorder(c->dp, (struct proto_recorder_entry *)(h + 1), entries);
	/* mapped as long as this process lives */
	return 0;
}
