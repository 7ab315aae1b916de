/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_impl.h - what the files of libatoll_gpu share
 *
 * All of a connection is under its lock. Whoever waits gives the lock away between looks.
 */
#ifndef ATOLL_CLIENTS_GPU_IMPL_H
#define ATOLL_CLIENTS_GPU_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "clients/gpu/gpu.h"
#include "ipc/endpoint.h"

enum {
	LINK_BATCHES = 32, /* kept until they are answered; 64 requests may be on the way to a service */
	LINK_TEXT = 400,   /* bytes of a sentence in an answer */
	SLOT = 256 << 10,  /* a piece of the bounce region, bytes */
	SLOTS = 16,
};

enum batch_state {
	BATCH_EMPTY,
	BATCH_OPEN,    /* calls are appended */
	BATCH_SENT,
	BATCH_REFUSED, /* not executed: to be sent again, in order */
	BATCH_DONE,
};

struct link_answer { /* on the stack of who waits */
	int result;
	uint32_t size;
	_Alignas(8) uint8_t data[GPU_BATCH_MAX];
};

struct batch {
	enum batch_state state;
	uint64_t seq;
	uint32_t length;
	struct link_answer *wants; /* where what its last call gives is to go; NULL: nothing */
	uint32_t slots;	      /* of the bounce region that are free when it is done: bits */
	uint8_t calls[GPU_BATCH_MAX];
};

struct piece { /* of device memory; sorted by address */
	uint64_t address, size;
};

struct module {
	bool used;
	uint64_t own; /* bytes of the device's memory that its variables take */
};

struct gpu {
	unsigned index;
	pthread_mutex_t lock;
	_Atomic unsigned waiters; /* threads that want the lock while one waits for an answer */
	struct atoll_endpoint *ep;
	struct atoll_handle service, bounce;
	uint64_t bounce_granted; /* bytes */
	struct atoll_region local;
	uint32_t lane, node, session;
	char name[128];

	/* batches: seq first .. next - 1 are in the ring; the last may be open */
	struct batch *ring;
	uint64_t first, next;
	struct batch *open;
	unsigned sent;	    /* on the way */
	bool stalled;	    /* one was refused: nothing goes out until the rest is answered */
	uint64_t done;	    /* all up to this seq are answered */
	bool printed;	    /* kernels have printed */
	int fault;	    /* ends everything */
	bool lost;	    /* the service is */
	int late;	    /* of a call that nobody waited for */
	char text[LINK_TEXT + 1];
	uint64_t round_trips, batches, calls;

	/* the bounce region */
	uint32_t slots_free;
	uint8_t verb_status[SLOTS];
	uint32_t verbs_out; /* slots with a verb on the way: bits */

	/* memory */
	uint64_t window_base, window_size, heap_end, leased, used, quota;
	struct piece *pieces;
	size_t pieces_count, pieces_room;
	uint64_t next_fit;
	struct piece *variables; /* of modules, that were asked for */
	size_t variables_count, variables_room;

	struct pinned *pinned;
	struct piece *managed; /* that this process may touch, too */
	size_t managed_count, managed_room;
	bool managed_away; /* the device has what is in it */

	struct module *modules;
	uint32_t modules_count, functions, events;
	uint8_t *objects; /* by handle: is it one? */
	uint32_t objects_room;

	pthread_t pump;
	pthread_cond_t pump_wake;
	bool pump_runs, pump_ends, pump_sleeps;
	struct gpu_result_info info;
};

/* link.c: all with the lock held */
int link_open(struct gpu *g, const char *target);
void link_close(struct gpu *g);
int link_poll(struct gpu *g);
/* Room for a call of @bytes in the open batch; *at is where. 0 or the fault. */
int link_room(struct gpu *g, uint32_t bytes, uint8_t **at, uint32_t *room);
/* The call that was put there has @bytes. */
void link_append(struct gpu *g, uint32_t bytes);
/* Sends the open batch, if there is one with calls in it. */
void link_flush(struct gpu *g);
/* Sends it if little is on the way. */
void link_kick(struct gpu *g);
/* Waits until all up to @seq are done. 0 or the fault. */
int link_wait(struct gpu *g, uint64_t seq);
/* The call that was just put is the last of its batch; waits for what it gives. Its error. */
int link_result(struct gpu *g, struct link_answer *answer);
/* One turn of waiting for something. */
void link_idle(struct gpu *g);
/* The service is lost: says so once, and sets the fault. */
void link_lose(struct gpu *g, const char *why);
/* A call that needed no message: for who records. */
void link_answered(const char *name);
/* Asks for @bytes in all; 0 only asks what there is. 2: there is not as much. */
int link_lease(struct gpu *g, uint64_t bytes, uint64_t *more);

/* bulk.c: as gpu_copy_to_device and gpu_copy_to_host, of what was checked to be the device's */
int link_copy_in(struct gpu *g, uint64_t to, const void *from, uint64_t size);
int link_copy_out(struct gpu *g, void *to, uint64_t from, uint64_t size);
/* An image for the next module_load. */
int image_send(struct gpu *g, const void *image, uint64_t size);

/* memory.c: an allocation at a multiple of @align bytes */
int gpu_malloc_at(struct gpu *g, uint64_t size, uint64_t align, uint64_t *address);

/* managed.c, without the lock: before anything is asked of the device; after the program waited for it */
int managed_push(struct gpu *g);
int managed_pull(struct gpu *g);
/* The end of an allocation, with the lock held. */
void managed_remove(struct gpu *g, uint64_t address);

/* pinned.c: is all of it in a region of this connection? Which, and where. */
bool pinned_find(const struct gpu *g, const void *p, uint64_t size, struct atoll_handle *region, uint64_t *offset);
void pinned_drop_all(struct gpu *g);

/* pieces.c: sorted lists of ranges */
int piece_add(struct piece **list, size_t *n, size_t *room, uint64_t address, uint64_t size);
uint64_t piece_remove(struct piece *list, size_t *n, uint64_t address); /* its size, 0: none */
/* The piece that holds all of the range, NULL. */
const struct piece *piece_find(const struct piece *list, size_t n, uint64_t address, uint64_t size);
/* An address for @size bytes between @base and @end, from *@from on, then anywhere. 0: none. */
uint64_t piece_fit(const struct piece *list, size_t n, uint64_t base, uint64_t end, uint64_t *from,
		   uint64_t size);

/* Locks; and polls what has come. */
void gpu_lock(struct gpu *g);
void gpu_unlock(struct gpu *g);

/* Appends a call to the open batch. 0 or the fault. */
#define GPU_APPEND(g, name, bytes, ...)                                                            \
	({                                                                                         \
		uint8_t *at_;                                                                      \
		uint32_t room_;                                                                    \
		int rc_ = link_room(g, (bytes) + GPU_CALL_BYTES, &at_, &room_);                    \
                                                                                                   \
		if (!rc_)                                                                          \
			link_append(g, gpu_put_##name(at_, room_ __VA_OPT__(, ) __VA_ARGS__));     \
		rc_;                                                                               \
	})

/* Header and args of any call, bytes. */
#define GPU_CALL_BYTES 72u

#endif
