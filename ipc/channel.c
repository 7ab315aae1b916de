/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/channel.h"

#include "proto/atoll_proto.h"

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

bool channel_size_ok(uint32_t slots, uint32_t arena)
{
	return power_of_two(slots) && slots >= CHANNEL_SLOTS_MIN && slots <= CHANNEL_SLOTS_MAX &&
	       power_of_two(arena) && arena >= CHANNEL_ARENA_MIN && arena <= CHANNEL_ARENA_MAX;
}

void channel_format(void *half, uint32_t slots, uint32_t arena, uint64_t incarnation)
{
	struct channel_header *h = half;

	h->magic = CHANNEL_MAGIC;
	h->major = PROTO_MAJOR;
	h->slots = slots;
	h->arena = arena;
	h->incarnation = incarnation;
}

int channel_open(struct channel *ch, void *own, const void *peer, uint32_t slots, uint32_t arena)
{
	const struct channel_header *h = peer;

	if (!channel_size_ok(slots, arena))
		return -EINVAL;
	if (h->magic != CHANNEL_MAGIC || h->major != PROTO_MAJOR || h->slots != slots ||
	    h->arena != arena)
		return -EPROTO;
	memset(ch, 0, sizeof(*ch));
	ch->own = own;
	ch->tx = (struct channel_slot *)((uint8_t *)own + CHANNEL_HEADER);
	ch->tx_arena = (uint8_t *)(ch->tx + slots);
	ch->peer = peer;
	ch->rx = (const struct channel_slot *)((const uint8_t *)peer + CHANNEL_HEADER);
	ch->rx_arena = (const uint8_t *)(ch->rx + slots);
	ch->tx_mask = ch->rx_mask = slots - 1;
	ch->tx_arena_mask = ch->rx_arena_mask = arena - 1;
	return 0;
}
