/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of records that are not messages: verbs, completions, control socket, link hello. */
#include "proto/proto.h"

#define BAD(field)                                                                                 \
	do {                                                                                       \
		*why = (field);                                                                    \
		return STATUS_BAD_MESSAGE;                                                         \
	} while (0)

static bool zeros(const void *p, size_t n)
{
	const unsigned char *b = p;
	unsigned char any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}

/* ---------------------------------------------------------------- verbs */

static uint8_t verb(const struct proto_verb *v, const struct proto_verb_operands *o,
		    const char **why)
{
	bool atomic = v->op == VERB_OP_CAS || v->op == VERB_OP_FAA;

	if (v->magic != PROTO_VERB_MAGIC)
		BAD("magic");
	if (v->major != PROTO_MAJOR)
		BAD("major");
	if (v->op < VERB_OP_READ || v->op > VERB_OP_FAA)
		BAD("op");
	if (v->slots != (atomic ? 2 : 1) || !o == atomic)
		BAD("slots");
	if (v->flags & ~(unsigned)VERB_FLAG_ALL)
		BAD("flags");
	if (v->len == 0 || v->len > PROTO_VERB_MAX || (atomic && v->len != 8))
		BAD("len");
	if (v->reserved0 || v->reserved1)
		BAD("reserved");
	if (o) {
		if (v->op == VERB_OP_FAA && o->compare)
			BAD("compare");
		if (!zeros(o->reserved, sizeof(o->reserved)) || o->reserved2)
			BAD("reserved");
	}
	if (v->remote_offset + v->len < v->len) {
		*why = "remote_offset";
		return STATUS_RANGE;
	}
	if (v->local_offset + v->len < v->len) {
		*why = "local_offset";
		return STATUS_RANGE;
	}
	if (atomic && (v->remote_offset & 7)) {
		*why = "remote_offset";
		return STATUS_ALIGN;
	}
	if (atomic && (v->local_offset & 7)) {
		*why = "local_offset";
		return STATUS_ALIGN;
	}
	return STATUS_OK;
}

static uint8_t completion(const struct proto_completion *c, const char **why)
{
	if (c->magic != PROTO_COMPLETION_MAGIC)
		BAD("magic");
	if (c->major != PROTO_MAJOR)
		BAD("major");
	if (c->slots != 1)
		BAD("slots");
	if (c->count < 1 || c->count > PROTO_CHAIN_MAX)
		BAD("count");
	for (unsigned i = 0; i < PROTO_CHAIN_MAX; i++)
		if (c->status[i] >= (i < c->count ? STATUS_COUNT : 1))
			BAD("status");
	if (c->reserved0 || !zeros(c->reserved, sizeof(c->reserved)))
		BAD("reserved");
	return STATUS_OK;
}

/* ---------------------------------------------------------------- control socket */

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool proto_name_check(const char *name, size_t len)
{
	if (len < 1 || len > PROTO_NAME_MAX || !name_char(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!name_char(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

/* A name in a field of fixed size, padded with NULs, which it need not end with if @full. */
static bool name_field(const char *name, size_t size, bool may_be_empty, bool full)
{
	size_t n = strnlen(name, size);

	if ((n == size && !full) || !zeros(name + n, size - n))
		return false;
	return n == 0 ? may_be_empty : proto_name_check(name, n);
}

/* A ring or arena size: 0 for the default, or a power of two in a range. */
static bool size_good(uint32_t n, uint32_t min, uint32_t max)
{
	return n == 0 || ((n & (n - 1)) == 0 && n >= min && n <= max);
}

/* Fields of a request that an op may use; all others are zero. */
enum use {
	USE_KIND = 1 << 0,
	USE_SLOTS = 1 << 1, /* and arena */
	USE_SIZE = 1 << 2,  /* and flags */
	USE_KEY = 1 << 3,
	USE_PID = 1 << 4,
	USE_NAME = 1 << 5,
	USE_NO_NAME = 1 << 6, /* a name, or none */
};

static unsigned ctl_uses(unsigned op)
{
	switch ((enum proto_ctl_op)op) {
	case CTL_OP_ATTACH:
		return USE_KIND | USE_SLOTS | USE_KEY | USE_NAME;
	case CTL_OP_REGION_ALLOC:
		return USE_SIZE;
	case CTL_OP_REGION_CLAIM:
	case CTL_OP_REGION_FREE:
		return USE_KEY;
	case CTL_OP_ADMIN_SERVICE:
		return USE_PID | USE_NAME;
	case CTL_OP_ADMIN_STATUS:
		return USE_NAME | USE_NO_NAME;
	case CTL_OP_TRACE:
	case CTL_OP_TRACE_PACKETS:
	case CTL_OP_COUNTERS:
		break;
	}
	return 0;
}

static uint8_t ctl_request(const struct proto_ctl_request *q, const char **why)
{
	unsigned uses = ctl_uses(q->op);

	if (q->magic != PROTO_CTL_REQUEST_MAGIC)
		BAD("magic");
	if (q->major != PROTO_MAJOR)
		BAD("major");
	if (q->op < CTL_OP_ATTACH || q->op > CTL_OP_TRACE_PACKETS)
		BAD("op");
	if (q->reserved0 || !zeros(q->reserved2, sizeof(q->reserved2)))
		BAD("reserved");
	if (uses & USE_KIND ? q->kind < CTL_KIND_CLIENT || q->kind > CTL_KIND_SERVICE : q->kind)
		BAD("kind");
	if (uses & USE_SLOTS ? !size_good(q->slots, PROTO_RING_SLOTS_MIN, PROTO_RING_SLOTS_MAX)
			     : q->slots)
		BAD("slots");
	if (uses & USE_SLOTS ? !size_good(q->arena, PROTO_ARENA_MIN, PROTO_ARENA_MAX) : q->arena)
		BAD("arena");
	if (uses & USE_SIZE ? !q->size || q->size > INT64_MAX : q->size)
		BAD("size");
	if (uses & USE_SIZE ? q->flags & ~(uint32_t)REGION_FLAG_ALL : q->flags)
		BAD("flags");
	if (!(uses & USE_KEY) && q->key)
		BAD("key");
	if (!(uses & USE_PID) != !q->pid || q->pid > INT32_MAX)
		BAD("pid");
	if (!(uses & USE_PID) && q->uid)
		BAD("uid");
	if (!(uses & USE_NAME) || ((uses & USE_NO_NAME) && !q->name[0])
		    ? !zeros(q->name, sizeof(q->name))
		    : !name_field(q->name, sizeof(q->name), q->kind == CTL_KIND_CLIENT, false))
		BAD("name");
	return STATUS_OK;
}

static uint8_t ctl_reply(const struct proto_ctl_reply *r, const char **why)
{
	size_t n = strnlen(r->text, sizeof(r->text));

	if (r->magic != PROTO_CTL_REPLY_MAGIC)
		BAD("magic");
	if (r->major != PROTO_MAJOR)
		BAD("major");
	if (r->op < CTL_OP_ATTACH || r->op > CTL_OP_TRACE_PACKETS)
		BAD("op");
	if (r->status >= STATUS_COUNT)
		BAD("status");
	if (r->reserved0 || !zeros(r->reserved1, sizeof(r->reserved1)))
		BAD("reserved");
	if (!size_good(r->slots, PROTO_RING_SLOTS_MIN, PROTO_RING_SLOTS_MAX))
		BAD("slots");
	if (!size_good(r->arena, PROTO_ARENA_MIN, PROTO_ARENA_MAX))
		BAD("arena");
	if (r->idle > IDLE_MODE_BLOCK)
		BAD("idle");
	if (n == sizeof(r->text) || !zeros(r->text + n, sizeof(r->text) - n))
		BAD("text");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)r->text[i] < 0x20 || r->text[i] == 0x7f)
			BAD("text");
	return STATUS_OK;
}

/* ---------------------------------------------------------------- links */

static uint8_t link_hello(const struct proto_link_hello *h, const char **why)
{
	if (h->magic != PROTO_LINK_HELLO_MAGIC)
		BAD("magic");
	if (h->major != PROTO_MAJOR) {
		*why = "major";
		return STATUS_UNSUPPORTED;
	}
	if (h->node < 1 || h->node > PROTO_NODE_MAX)
		BAD("node");
	if (h->incarnation == 0)
		BAD("incarnation");
	if (h->heartbeat_ms < 1 || h->heartbeat_ms > PROTO_HEARTBEAT_MAX)
		BAD("heartbeat_ms");
	if (h->mtu < PROTO_MTU_MIN || h->mtu > PROTO_MTU_MAX || (h->mtu & (h->mtu - 1)))
		BAD("mtu");
	if (!name_field(h->name, sizeof(h->name), false, true))
		BAD("name");
	return STATUS_OK;
}

/* ---------------------------------------------------------------- both forms of each */

uint8_t proto_verb_check(const struct proto_verb *v, const struct proto_verb_operands *operands)
{
	const char *why;

	return verb(v, operands, &why);
}

const char *proto_verb_why(const struct proto_verb *v, const struct proto_verb_operands *operands)
{
	const char *why = NULL;

	verb(v, operands, &why);
	return why;
}

uint8_t proto_completion_check(const struct proto_completion *c)
{
	const char *why;

	return completion(c, &why);
}

const char *proto_completion_why(const struct proto_completion *c)
{
	const char *why = NULL;

	completion(c, &why);
	return why;
}

uint8_t proto_ctl_request_check(const struct proto_ctl_request *q)
{
	const char *why;

	return ctl_request(q, &why);
}

const char *proto_ctl_request_why(const struct proto_ctl_request *q)
{
	const char *why = NULL;

	ctl_request(q, &why);
	return why;
}

uint8_t proto_ctl_reply_check(const struct proto_ctl_reply *r)
{
	const char *why;

	return ctl_reply(r, &why);
}

const char *proto_ctl_reply_why(const struct proto_ctl_reply *r)
{
	const char *why = NULL;

	ctl_reply(r, &why);
	return why;
}

uint8_t proto_link_hello_check(const struct proto_link_hello *h)
{
	const char *why;

	return link_hello(h, &why);
}

const char *proto_link_hello_why(const struct proto_link_hello *h)
{
	const char *why = NULL;

	link_hello(h, &why);
	return why;
}
