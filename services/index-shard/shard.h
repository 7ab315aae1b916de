/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - what an index shard decides: who is a client, who is dead, whose is which chunk.
 *
 * The shard is not on the data path. It answers index.open, index.chunk, index.suspect and
 *index.stat, and it alone declares a client dead:
 *
 *	FREE -> ALIVE		index.open
 *	ALIVE -> FENCING	the client has ended (dp.peer_gone), or opens again under its old
 *name FENCING -> DEAD		dp.fence has been acknowledged: no verb of it can land any more DEAD
 *-> ALIVE		the number is given to another client, with the next epoch
 *
 * A client that hangs has not ended. When somebody who waits for it suspects it, the shard looks at
 *its heartbeat: if that does not rise for a lease, by the shard's own clock, the client is declared
 *dead as if it had ended. Nobody is looked at whom nobody waits for.
 *
 * Everybody may believe DEAD, or a later epoch, because it is written only after the
 *acknowledgement. After a restart of the node's dataplane, or of the shard, all clients are DEAD at
 *once: the old registration of the regions is gone, and every right to them with it.
 *
 * An open is answered when the earlier identity that it names is DEAD, the client is watched and
 *has been granted the regions. The watch comes before the grants: a client that ended earlier than
 *the watch has no unanswered request any more, so that the grant fails, and is declared dead for
 *that.
 *
 * An open that names an identity of another index, which this one has taken the place of, ends with
 * NOT_FOUND: its client must learn that what it wrote is gone.
 *
 * Memory of the dead comes back by index.recycle, a segment and a map of it at a time, from whoever has
 * looked; it is handed out before what is new. Between the two it stays the dead one's in the segment table, so a
 * restart of the shard forgets the map and nothing else.
 *
 * The engine does no I/O of its own. What cannot be sent for lack of room is sent from shard_tick.
 */
#ifndef ATOLL_SERVICES_INDEX_SHARD_SHARD_H
#define ATOLL_SERVICES_INDEX_SHARD_SHARD_H

#include <stdbool.h>

#include "proto/index_directory.h"
#include "proto/proto.h"
#include "services/index-shard/store.h"

/* What the shard has done with it. All calls from the shard's thread; none may call back. */
struct shard_io {
	/* A request to the own dataplane, answered by shard_answer. 0 or negative: no room, try
	 * later. */
	int (*ask)(void *ctx, uint16_t opcode, const uint64_t *args, unsigned nargs,
		   uint64_t cookie);
	void (*reply)(void *ctx, const struct proto_msg *request, uint32_t status,
		      const uint64_t *args, unsigned nargs, const void *payload, uint32_t len);
	uint64_t (*random)(void *ctx);
	uint64_t (*now_ns)(void *ctx); /* monotonic */
	/* Something that an operator wants to know. */
	void (*say)(void *ctx, const char *line);
};

/* The regions' own handles, as dp.grant wants them; they change when the dataplane restarts. */
struct shard_handles {
	uint32_t table_slot, table_gen;
	uint32_t control_slot, control_gen;
};

struct shard;

/* @clients: how many may be alive at once, up to INDEX_CLIENTS - 1. NULL without memory. */
struct shard *shard_new(const struct store *store, unsigned clients, const struct shard_io *io,
			void *ctx);
void shard_free(struct shard *s);
/* Silence of a suspected client after which it is declared dead; 0 (at first): its end alone
 * decides. */
void shard_lease_set(struct shard *s, uint64_t lease_ns);
/* How long after its fence one may come back who has not ended, and ask what became of its operations:
 * until then its memory is not given to others. 0 at first. */
void shard_return_set(struct shard *s, uint64_t return_ns);
/* The directory of the cluster, in @len bytes of text, and which of its members this is. The text must stay. */
void shard_directory_set(struct shard *s, const char *text, uint32_t len, const struct index_directory *d,
			 unsigned member);
void shard_handles_set(struct shard *s, const struct shard_handles *h);

/* A request has come. */
void shard_message(struct shard *s, const struct proto_msg *m, const void *payload);
/* An own request has been answered. */
void shard_answer(struct shard *s, uint64_t cookie, uint32_t status);
/* A client has ended, or, if it @may_return, was lost sight of. */
void shard_peer_gone(struct shard *s, uint32_t source, uint32_t epoch, bool may_return);
/* The dataplane was restarted: all clients are dead, unanswered requests have gone. */
void shard_restarted(struct shard *s);
/* Sends what had no room. Returns whether there is still something: call again in a millisecond. */
bool shard_tick(struct shard *s);

#endif
