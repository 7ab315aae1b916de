/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's side of svcctl.sock. A request is one line of text, the answer one message: `0` or `1`
 * (an error), then text. `down` and `restart` are answered when it has happened.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "tools/svcctl/node.h"
#include "tools/svcctl/rundir.h"

enum { REQUEST_MAX = 128, RESTART_MS = 15000, KEEPER_MS = 1000 };

int control_listen(const char *run_dir)
{
	char path[CONF_PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", run_dir, RUNDIR_CONTROL);
	return sock_listen(path, 0600);
}

static void client_close(struct node_client *c)
{
	close(c->fd);
	*c = (struct node_client){.fd = -1, .wait = -1};
}

static void answer(struct node_client *c, char sign, const char *text)
{
	size_t len = strlen(text);
	char *msg = malloc(len + 1);

	if (msg) {
		msg[0] = sign;
		memcpy(msg + 1, text, len);
		/* Never waits: a client that does not read gets nothing. */
		send(c->fd, msg, len + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		free(msg);
	}
	client_close(c);
}

void control_accept(struct node *n)
{
	int fd = accept4(n->control, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who = {0};
	socklen_t len = sizeof(who);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) ||
	    (who.uid != 0 && who.uid != geteuid())) {
		close(fd);
		return;
	}
	for (unsigned i = 0; i < NODE_CLIENTS_MAX; i++)
		if (n->clients[i].fd < 0) {
			n->clients[i] = (struct node_client){.fd = fd, .wait = -1};
			return;
		}
	close(fd);
}

static void restart(struct node *n, struct node_client *c, const char *name)
{
	int i = node_proc_find(n, name);
	char text[NODE_TEXT_MAX];
	struct proc *p;

	if (i < 0) {
		snprintf(text, sizeof(text), "node %s has no process %s; svcctl status lists them",
			 n->conf->name, name);
		answer(c, '1', text);
		return;
	}
	p = &n->procs[i];
	if (p->kind == PROC_KEEPER) {
		answer(c, '1', "the keeper holds the node's memory and lives as long as the node; svcctl"
			       " down and up start a new one");
		return;
	}
	if (n->phase >= NODE_STOP_SERVICES) {
		answer(c, '1', "the node is ending");
		return;
	}
	c->wait = i;
	c->until_ns = n->now_ns + RESTART_MS * 1000000ull;
	p->backoff_ms = 0;
	p->again = true;
	if (p->pidfd >= 0) {
		proc_stop(p, n->now_ns);
	} else { /* between two lives, or never to be started again */
		c->ended = true;
		p->state = PROC_WAITING;
		p->retry_ns = n->now_ns;
	}
}

/* One request of the keeper, past acknowledgements that are still on their way. */
static int keeper_ask(struct node *n, struct keeper_msg *m, int *fd)
{
	uint16_t op = m->op;
	int rc = keeper_call(n->keeper_sock, m, fd);

	for (unsigned i = 0; i < 8 && m->op != op; i++) {
		unsigned nfds = 1;
		int got = -1;

		rc = sock_recv_timeout(n->keeper_sock, m, sizeof(*m), &got, &nfds, KEEPER_MS);
		if (rc)
			return rc;
		*fd = nfds ? got : -1;
		rc = m->error;
	}
	return rc;
}

static int by_age(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The flight recorder of the last dataplane but @which, as a descriptor beside the answer. */
static void recorder(struct node *n, struct node_client *c, const char *which)
{
	uint64_t keys[KEEPER_REGIONS_MAX];
	unsigned long back = strtoul(which, NULL, 10);
	struct keeper_msg m;
	unsigned count = 0;
	int fd = -1, rc = 0;

	for (uint64_t i = 0; i < KEEPER_REGIONS_MAX && !rc; i++) {
		m = (struct keeper_msg){.op = KEEPER_LIST, .size = i};
		rc = keeper_ask(n, &m, &fd);
		if (!rc && m.flags & KEEPER_FLAG_RECORDER)
			keys[count++] = m.key;
	}
	if (rc && rc != -ENOENT) {
		answer(c, '1', "the keeper does not answer");
		return;
	}
	qsort(keys, count, sizeof(keys[0]), by_age);
	if (back >= count) {
		answer(c, '1', count ? "there are no more recorders" :
				       "there is no flight recorder; recorder_entries = 0 in the configuration?");
		return;
	}
	m = (struct keeper_msg){.op = KEEPER_GET, .key = keys[back]};
	if (keeper_ask(n, &m, &fd) || fd < 0) {
		answer(c, '1', "the keeper does not give the recorder");
		return;
	}
	sock_send(c->fd, "0", 1, &fd, 1);
	close(fd);
	client_close(c);
}

void control_read(struct node *n, struct node_client *c)
{
	char request[REQUEST_MAX + 1], *text;
	ssize_t got = recv(c->fd, request, REQUEST_MAX, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || c->wait >= 0) {
		client_close(c);
		return;
	}
	request[got] = 0;
	if (strcmp(request, "status") == 0 || strcmp(request, "json") == 0) {
		text = request[0] == 's' ? status_text(n) : status_json(n);
		answer(c, text ? '0' : '1', text ? text : "out of memory");
		free(text);
	} else if (strcmp(request, "counters") == 0) {
		text = status_lines(n);
		answer(c, text ? '0' : '1', text ? text : "out of memory");
		free(text);
	} else if (strcmp(request, "down") == 0) {
		node_end(n, false, "svcctl down"); /* the hang-up is the answer */
	} else if (strncmp(request, "restart ", 8) == 0) {
		restart(n, c, request + 8);
	} else if (strncmp(request, "recorder ", 9) == 0) {
		recorder(n, c, request + 9);
	} else {
		answer(c, '1', "unknown request: is this svcctl of the same version?");
	}
}

void control_tick(struct node *n)
{
	char text[NODE_TEXT_MAX + CONF_NAME_MAX];

	for (unsigned i = 0; i < NODE_CLIENTS_MAX; i++) {
		struct node_client *c = &n->clients[i];
		const struct proc *p;

		if (c->fd < 0 || c->wait < 0)
			continue;
		p = &n->procs[c->wait];
		if (c->ended && p->state == PROC_READY) {
			snprintf(text, sizeof(text), "%s is ready, pid %d\n", p->name, p->pid);
			answer(c, '0', text);
		} else if (n->phase >= NODE_STOP_SERVICES) {
			answer(c, '1', "the node is ending");
		} else if (n->now_ns >= c->until_ns) {
			snprintf(text, sizeof(text), "%s is %s; its log says more (svcctl logs)%s%s",
				 p->name, proc_state_name(p->state), p->reason[0] ? "; last: " : "",
				 p->reason);
			answer(c, '1', text);
		}
	}
}
