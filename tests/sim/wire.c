/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wire.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/roce/packet.h"
#include "proto/proto.h"

enum { BUFFERS = 1024, ROOM = 4400, QUEUE = 256, FLIGHT_MAX = 65536 };

struct flight {
	uint64_t at, order;
	struct ip_addr to;
	uint32_t len;
	uint8_t *bytes;
};

struct buffer {
	struct pkt pkt;
	struct buffer *next;
	uint8_t bytes[PKT_HEADROOM + ROOM];
};

struct sim_port {
	struct port port;
	struct sim_wire *wire;
	struct ip_addr address;
	bool muted;
	struct buffer *buffers, *spare;
	struct buffer *queue[QUEUE];
	uint32_t head, tail;
	struct sim_port *next;
};

struct sim_wire {
	uint64_t rng, now, order;
	struct sim_rates rates;
	struct sim_port *ports;
	struct flight *heap;
	uint32_t count, room;
	enum sim_step last;
};

uint64_t sim_hits[SIM_FAULTS][SIM_STEPS];
const char *const sim_fault_names[SIM_FAULTS] = {"lost", "doubled", "reordered", "spoilt", "late",
						 "crash"};
const char *const sim_step_names[SIM_STEPS] = {
	"CM REQ",	"CM REP",    "CM RTU",	"CM DREQ",    "CM other", "heartbeat", "link.lookup",
	"link.grant",	"lane_open", "link.*",	"request",    "reply",	  "SEND part", "WRITE",
	"READ request", "READ data", "atomic",	"atomic ACK", "ACK",	  "NAK",       "verb status",
	"other"};

static uint64_t draw(struct sim_wire *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool strikes(struct sim_wire *w, uint32_t rate)
{
	return draw(w) % 1000000 < rate;
}

void sim_wire_note(enum sim_fault f, enum sim_step s)
{
	sim_hits[f][s]++;
}

static enum sim_step step_of_message(const uint8_t *m, uint32_t len)
{
	uint16_t opcode, flags;

	if (len < 64)
		return STEP_SEND_PART;
	memcpy(&opcode, m + 4, 2);
	memcpy(&flags, m + 6, 2);
	switch (opcode) {
	case OP_LINK_HEARTBEAT:
		return STEP_HEARTBEAT;
	case OP_LINK_LOOKUP:
		return STEP_LOOKUP;
	case OP_LINK_GRANT:
		return STEP_GRANT;
	case OP_LINK_LANE_OPEN:
		return STEP_LANE_OPEN;
	default:
		break;
	}
	if (opcode < PROTO_SERVICE_FIRST)
		return STEP_LINK_OTHER;
	return flags & MESSAGE_FLAG_REPLY ? STEP_REPLY : STEP_REQUEST;
}

static enum sim_step step_of_mad(const uint8_t *mad, uint32_t len)
{
	if (len < 24)
		return STEP_CM_OTHER;
	switch (mad[16] << 8 | mad[17]) {
	case 0x10:
		return STEP_CM_REQ;
	case 0x13:
		return STEP_CM_REP;
	case 0x14:
		return STEP_CM_RTU;
	case 0x15:
		return STEP_CM_DREQ;
	default:
		return STEP_CM_OTHER;
	}
}

/* IP and UDP. */
static uint32_t heads(const uint8_t *p)
{
	return p[0] >> 4 == 6 ? 48 : 28;
}

static enum sim_step step_of(const uint8_t *p, uint32_t len)
{
	uint32_t at = heads(p);

	/* the BTH takes 12 bytes, the ICRC 4 */
	if (len < at + 16)
		return STEP_OTHER;
	p += at;
	len -= at;
	switch (p[0]) {
	case ROCE_OP_SEND_FIRST:
	case ROCE_OP_SEND_ONLY:
		return step_of_message(p + 12, len - 16);
	case ROCE_OP_SEND_MIDDLE:
	case ROCE_OP_SEND_LAST:
		return STEP_SEND_PART;
	case ROCE_OP_WRITE_FIRST:
	case ROCE_OP_WRITE_MIDDLE:
	case ROCE_OP_WRITE_LAST:
	case ROCE_OP_WRITE_ONLY:
		return STEP_WRITE;
	case ROCE_OP_READ_REQUEST:
		return STEP_READ;
	case ROCE_OP_READ_FIRST:
	case ROCE_OP_READ_MIDDLE:
	case ROCE_OP_READ_LAST:
	case ROCE_OP_READ_ONLY:
		return STEP_READ_DATA;
	case ROCE_OP_CAS:
	case ROCE_OP_FAA:
		return STEP_ATOMIC;
	case ROCE_OP_ATOMIC_ACK:
		return STEP_ATOMIC_ACK;
	case ROCE_OP_ACK:
		return p[12] & 0x60 ? STEP_NAK : STEP_ACK;
	case ROCE_OP_VERB_STATUS:
		return STEP_STATUS;
	case ROCE_OP_UD_SEND_ONLY:
		return step_of_mad(p + 20, len - 24);
	default:
		return STEP_OTHER;
	}
}

/* ---------------------------------------------------------------- packets on their way */

static bool before(const struct flight *a, const struct flight *b)
{
	return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void heap_add(struct sim_wire *w, struct flight f)
{
	uint32_t i;

	if (w->count == w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->heap = realloc(w->heap, w->room * sizeof(*w->heap));
	}
	for (i = w->count++; i && before(&f, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = f;
}

static struct flight heap_take(struct sim_wire *w)
{
	struct flight top = w->heap[0], f = w->heap[--w->count];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < w->count) {
		if (child + 1 < w->count && before(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!before(&w->heap[child], &f))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = f;
	return top;
}

static void send_one(struct sim_port *p, const uint8_t *data, uint32_t len)
{
	struct sim_wire *w = p->wire;
	const struct sim_rates *r = &w->rates;
	enum sim_step step = step_of(data, len);
	struct ip_addr to;
	uint64_t at = w->now + r->delay_ns + (r->jitter_ns ? draw(w) % r->jitter_ns : 0);
	unsigned copies = 1;

	if (data[0] >> 4 == 6)
		memcpy(to.b, data + 24, sizeof(to.b));
	else
		to = ip_addr_v4((uint32_t)data[16] << 24 | (uint32_t)data[17] << 16 |
				(uint32_t)data[18] << 8 | data[19]);
	w->last = step;
	if (strikes(w, r->loss)) {
		sim_wire_note(SIM_LOSS, step);
		return;
	}
	if (strikes(w, r->dup)) {
		sim_wire_note(SIM_DUP, step);
		copies = 2;
	}
	for (unsigned i = 0; i < copies; i++) {
		struct flight f = {.at = at, .order = w->order++, .to = to, .len = len};

		f.bytes = malloc(len);
		memcpy(f.bytes, data, len);
		if (strikes(w, r->corrupt)) {
			sim_wire_note(SIM_CORRUPT, step);
			/* behind the addresses: mostly a bit, sometimes a byte */
			f.bytes[heads(data) + draw(w) % (len - heads(data))] ^= (uint8_t)(strikes(w, 500000) ?
										1u << draw(w) % 8 :
										1 + draw(w) % 255);
		}
		if (strikes(w, r->reorder)) {
			sim_wire_note(SIM_REORDER, step);
			f.at += 4 * r->delay_ns + draw(w) % (8 * r->delay_ns + 1);
		} else if (strikes(w, r->late)) {
			sim_wire_note(SIM_DELAY, step);
			f.at += draw(w) % (r->late_ns + 1);
		}
		if (i)
			f.at += draw(w) % (16 * r->delay_ns + 1);
		if (w->count < FLIGHT_MAX)
			heap_add(w, f);
		else
			free(f.bytes);
	}
}

void sim_wire_advance(struct sim_wire *w, uint64_t now_ns)
{
	w->now = now_ns;
	while (w->count && w->heap[0].at <= now_ns) {
		struct flight f = heap_take(w);
		struct sim_port *p;

		for (p = w->ports; p && (!ip_addr_equal(p->address, f.to) || p->muted); p = p->next)
			;
		if (p && p->tail - p->head < QUEUE && p->spare && f.len <= ROOM) {
			struct buffer *b = p->spare;

			p->spare = b->next;
			b->pkt.data = b->bytes + PKT_HEADROOM;
			b->pkt.room = ROOM;
			b->pkt.len = f.len;
			memcpy(b->pkt.data, f.bytes, f.len);
			p->queue[p->tail++ % QUEUE] = b;
		}
		free(f.bytes);
	}
}

uint64_t sim_wire_next(const struct sim_wire *w)
{
	return w->count ? w->heap[0].at : UINT64_MAX;
}

enum sim_step sim_wire_last_step(const struct sim_wire *w)
{
	return w->last;
}

/* ---------------------------------------------------------------- ports */

static unsigned port_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	struct sim_port *s = (struct sim_port *)p;
	unsigned k = 0;

	for (; k < n && s->spare; k++) {
		struct buffer *b = s->spare;

		s->spare = b->next;
		b->pkt.data = b->bytes + PKT_HEADROOM;
		b->pkt.len = 0;
		b->pkt.room = ROOM;
		pkts[k] = &b->pkt;
	}
	return k;
}

static void port_free(struct port *p, struct pkt **pkts, unsigned n)
{
	struct sim_port *s = (struct sim_port *)p;

	for (unsigned k = 0; k < n; k++) {
		struct buffer *b = pkts[k]->drv;

		b->next = s->spare;
		s->spare = b;
	}
}

static unsigned port_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct sim_port *s = (struct sim_port *)p;
	unsigned k = 0;

	for (; k < n && s->head != s->tail; k++)
		pkts[k] = &s->queue[s->head++ % QUEUE]->pkt;
	return k;
}

static unsigned port_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct sim_port *s = (struct sim_port *)p;

	for (unsigned k = 0; k < n; k++) {
		if (!s->muted && pkts[k]->len > 28)
			send_one(s, pkts[k]->data, pkts[k]->len);
		port_free(p, &pkts[k], 1);
	}
	return n;
}

static int port_no_fd(struct port *p)
{
	(void)p;
	return -1;
}

static int port_yes(struct port *p)
{
	(void)p;
	return 1;
}

static int port_start(struct port *p)
{
	(void)p;
	return 0;
}

static void port_no_stats(struct port *p, struct port_stats *out)
{
	(void)p;
	memset(out, 0, sizeof(*out));
}

static void port_close(struct port *p)
{
	struct sim_port *s = (struct sim_port *)p, **at;

	for (at = &s->wire->ports; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	free(s->buffers);
	free(s);
}

static const struct port_ops sim_port_ops = {
	.name = "sim",
	.caps = PORT_UDP,
	.start = port_start,
	.alloc = port_alloc,
	.free = port_free,
	.rx_burst = port_rx,
	.tx_burst = port_tx,
	.wait_fd = port_no_fd,
	.arm = port_yes,
	.link_up = port_yes,
	.stats = port_no_stats,
	.close = port_close,
};

struct port *sim_wire_port(struct sim_wire *w, struct ip_addr address)
{
	struct sim_port *s = calloc(1, sizeof(*s));

	s->port.ops = &sim_port_ops;
	s->port.mtu = 1110; /* 1024 a packet: messages and verbs are cut */
	s->wire = w;
	s->address = address;
	s->buffers = calloc(BUFFERS, sizeof(*s->buffers));
	for (unsigned i = 0; i < BUFFERS; i++) {
		s->buffers[i].pkt.drv = &s->buffers[i];
		s->buffers[i].next = s->spare;
		s->spare = &s->buffers[i];
	}
	s->next = w->ports;
	w->ports = s;
	return &s->port;
}

void sim_port_mute(struct port *p)
{
	((struct sim_port *)p)->muted = true;
}

struct sim_wire *sim_wire_new(uint64_t seed)
{
	struct sim_wire *w = calloc(1, sizeof(*w));

	w->rng = seed;
	return w;
}

void sim_wire_rates(struct sim_wire *w, const struct sim_rates *r)
{
	w->rates = *r;
}

void sim_wire_delete(struct sim_wire *w)
{
	while (w->ports)
		port_close(&w->ports->port);
	while (w->count)
		free(w->heap[--w->count].bytes);
	free(w->heap);
	free(w);
}
