/* SPDX-License-Identifier: Apache-2.0 */
#include "services/echo/echo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void heap_add(struct echo *e, const struct proto_msg *m, uint64_t due_ns)
{
	uint32_t i = e->count++;

	for (; i && due_ns < e->heap[(i - 1) / 2].due_ns; i = (i - 1) / 2)
		e->heap[i] = e->heap[(i - 1) / 2];
	e->heap[i] = (struct echo_delayed){*m, due_ns};
}

static void heap_drop_first(struct echo *e)
{
	struct echo_delayed last = e->heap[--e->count];
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < e->count) {
		if (child + 1 < e->count && e->heap[child + 1].due_ns < e->heap[child].due_ns)
			child++;
		if (last.due_ns <= e->heap[child].due_ns)
			break;
		e->heap[i] = e->heap[child];
		i = child;
	}
	e->heap[i] = last;
}

static void delay(struct service *s, const struct proto_msg *m)
{
	struct echo *e = s->state;

	if (e->count == ECHO_DELAYED_MAX) {
		service_reply(s, m, STATUS_LIMIT, NULL, 0, NULL, 0);
		return;
	}
	heap_add(e, m, s->now_ns + m->arg[ARG_ECHO_DELAY_DELAY_US] * 1000);
	s->timer_ns = e->heap[0].due_ns;
}

static void echo_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	switch (m->opcode) {
	case OP_ECHO_ECHO:
		service_reply(s, m, STATUS_OK, &m->arg[ARG_ECHO_ECHO_A], 1, payload, m->length);
		break;
	case OP_ECHO_DELAY:
		delay(s, m);
		break;
	default:
		service_reply(s, m, STATUS_UNSUPPORTED, NULL, 0, NULL, 0);
	}
}

static void echo_timer(struct service *s)
{
	struct echo *e = s->state;

	while (e->count && e->heap[0].due_ns <= s->now_ns) {
		const struct proto_msg *m = &e->heap[0].request;

		service_reply(s, m, STATUS_OK, &m->arg[ARG_ECHO_DELAY_A], 1, NULL, 0);
		heap_drop_first(e);
	}
	if (e->count)
		s->timer_ns = e->heap[0].due_ns;
}

/* The dataplane was restarted: whoever waits has been told so, and the tokens are void. */
static void echo_reattached(struct service *s)
{
	((struct echo *)s->state)->count = 0;
	s->timer_ns = UINT64_MAX;
}

static int echo_init(struct service *s, int argc, char **argv)
{
	if (argc > 1) {
		fprintf(stderr, "echo: takes no arguments, not %s\n", argv[1]);
		return -EINVAL;
	}
	s->state = calloc(1, sizeof(struct echo));
	return s->state ? 0 : -ENOMEM;
}

static void echo_fini(struct service *s)
{
	free(s->state);
}

const struct service_ops echo_ops = {
	.name = "echo",
	.init = echo_init,
	.message = echo_message,
	.timer = echo_timer,
	.reattached = echo_reattached,
	.fini = echo_fini,
};
