/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.h - the page service: exports of snapshots, page caches, children that fault.
 *
 * One struct pages a service process, driven from the service's one thread: its functions are called from
 * the handlers of struct service_ops and by the control socket. It may have helper threads of its own
 * (copying an export, answering faults); they never touch the ring and never call back: `say`, `done`
 * and `ready` below come on the service's thread.
 */
#ifndef ATOLL_FORK_PAGES_H
#define ATOLL_FORK_PAGES_H

#include <stddef.h>

#include "ipc/service.h"
#include "services/fork-pager/pages/source.h"

struct pages;
struct pages_export;
struct pages_space;
struct pages_child;

/* A right to a snapshot: what `afork prepare` prints, NODE/SLOT-EPOCH-SECRET. */
struct fork_handle {
	uint32_t node;	/* that holds the snapshot */
	uint32_t slot;	/* of its table */
	uint32_t epoch; /* rises with every use of the slot */
	uint32_t reserved;
	uint64_t secret[2];
};

struct pages_config {
	uint32_t window;      /* pages asked for at once on a fault, 1 to 512 */
	uint32_t lanes, depth; /* verbs to a node, shared by all its spaces */
	uint64_t background_mib_s; /* rate of the background fill; 0: none */
};

struct pages_stats {
	uint64_t faults, fetched, zero, cached, copied, shared;	   /* pages */
	uint64_t events_fork, events_remap, events_remove, events_unmap;
	uint64_t messages;	     /* page messages, to or from the parent's pager */
	uint64_t latency_ns_sum, latency_ns_max; /* of a fault, from read(uffd) to wake */
	uint64_t lost;		     /* children that were told SIGBUS */
	char why[96];		     /* the last reason for that */
};

int pages_new(struct pages **out, struct service *s, const struct pages_config *config);
void pages_free(struct pages *p);

/* From the table of functions of the service; true: it was for pages/. */
bool pages_message(struct pages *p, const struct proto_msg *m, const void *payload);
bool pages_reply(struct pages *p, uint64_t cookie, const struct proto_msg *m, const void *payload);
void pages_granted(struct pages *p, const struct proto_msg *m);
void pages_completion(struct pages *p, const struct verb_completion *c);
void pages_peer_gone(struct pages *p, uint32_t source, uint32_t epoch);
bool pages_fd(struct pages *p, int fd);
/* To be called from the timer: returns the monotonic time of the next call, UINT64_MAX for none. */
uint64_t pages_tick(struct pages *p, uint64_t now_ns);
void pages_reattached(struct pages *p);

/**
 * pages_export_start - begin to copy a snapshot into a region that other nodes can READ.
 * @source: ranges are copied; the descriptors are pages/' own from here, also after an error.
 * @image: the descriptor, copied.
 * @done: called once, when the snapshot may be killed (0) or the export failed (negative errno).
 * @out_handle: good at once; what asks before the export is whole waits for it.
 * Return: 0, -ENOMEM, -ENOSPC (limit).
 */
int pages_export_start(struct pages *p, const struct page_source *source, const void *image,
		       size_t image_len, void (*done)(void *ctx, int rc), void *ctx,
		       struct pages_export **out, struct fork_handle *out_handle);
/* Reclaim by handle. 0; -ENOENT no such handle or wrong secret; -EBUSY children need it (not with force:
 * they learn REVOKED at their next read). The pages are wiped. */
int pages_reclaim(struct pages *p, const struct fork_handle *h, bool force);
void pages_export_stats(const struct pages_export *e, struct pages_stats *out);

/**
 * pages_space_open - the page cache of a handle on this node: one for all its children.
 * @ready: called once, maybe before this returns: the image was read (0) or why not (negative errno:
 *	-ENOENT, -EACCES wrong secret, -EHOSTUNREACH, -ESTALE, -EBADMSG).
 * Each open is to be closed. The cache stays a while after the last one, for later children.
 */
int pages_space_open(struct pages *p, const struct fork_handle *h,
		     void (*ready)(void *ctx, struct pages_space *s, int rc), void *ctx,
		     struct pages_space **out);
void pages_space_close(struct pages_space *s);
/* The descriptor, as it was exported; not yet checked by image_decode. */
const void *pages_space_image(const struct pages_space *s, size_t *len);
/* The ranges, after the caller has decoded the image: pages/ learns them only here. 0 or -EINVAL. */
int pages_space_layout(struct pages_space *s, const struct page_range *ranges, unsigned n);
/* The page cache: a memfd, which children map. Owned by the space. */
int pages_space_fd(const struct pages_space *s);
/* Runs of pages that the snapshot holds of a range of kind PAGES_FILE, ascending, for the places.
 * Asked after `ready`. Return: how many there are; at most @max are stored. */
unsigned pages_space_runs(const struct pages_space *s, unsigned range, struct page_run *out,
			  unsigned max);
/* Bring pages into the cache before anybody faults on them: for PLACE_FILLED, and for pages that the
 * first instructions surely need. @done comes once; negative errno when they cannot be had. */
int pages_space_fill(struct pages_space *s, const struct page_run *runs, unsigned n,
		     void (*done)(void *ctx, int rc), void *ctx);

/**
 * pages_child_add - serve a child's faults from here on.
 * @uffd: of the child, after UFFDIO_API with the features that pages_uffd_features gives; the places of
 *	kind CACHED and COPIED are registered. pages/ owns it from here, also after an error.
 * @pidfd: readable when the child has ended: its places are forgotten. Owned likewise.
 * @ended: called once, when the child or its memory is gone.
 */
int pages_child_add(struct pages_space *s, int uffd, int pidfd, const struct page_place *places,
		    unsigned nplaces, void (*ended)(void *ctx), void *ctx, struct pages_child **out);
/* Features that UFFDIO_API of a child must be asked for, of those that the kernel offers. */
uint64_t pages_uffd_features(void);
void pages_space_stats(const struct pages_space *s, struct pages_stats *out);

#endif
