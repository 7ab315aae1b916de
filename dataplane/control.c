/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/control_impl.h"
#include "dataplane/mapped.h"
#include "ipc/idle.h"
#include "ipc/keeper.h"
#include "ipc/sock.h"
#include "proto/proto.h"

/* ---------------------------------------------------------------- commands to the loop */

int command_run(struct control *c, struct command *cmd)
{
	uint64_t one = 1;

	if (atomic_load(&c->stopped))
		return -ESHUTDOWN;
	c->command = *cmd;
	atomic_store(&c->wanted, 1);
	if (write(c->conf.wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	while (sem_wait(&c->done) && errno == EINTR)
		;
	*cmd = c->command;
	return cmd->result;
}

bool control_wanted(struct control *c)
{
	return atomic_load_explicit(&c->wanted, memory_order_relaxed) != 0;
}

void control_run(struct control *c)
{
	struct command *m = &c->command;

	if (!atomic_load(&c->wanted))
		return;
	switch (m->op) {
	case CMD_ATTACH:
		m->result = dp_endpoint_add(c->dp, &m->attach, &m->endpoint, &m->epoch);
		break;
	case CMD_CLOSE:
		m->result = dp_endpoint_close(c->dp, m->endpoint, m->epoch, m->why);
		break;
	case CMD_REGION:
		m->result = dp_region_add(c->dp, m->endpoint, m->epoch, m->key, m->base, m->size,
					  &m->handle);
		break;
	case CMD_REGION_CLOSE:
		m->result = dp_region_close(c->dp, m->key);
		break;
	case CMD_TRACE:
		dp_trace(c->dp, m->base, m->entries, m->packets);
		m->result = 0;
		break;
	case CMD_SERVICE:
		m->found = m->attach.name[0] == 0 || dp_service_there(c->dp, m->attach.name);
		m->result = 0;
		break;
	case CMD_NONE:
		m->result = 0;
		break;
	}
	atomic_store(&c->wanted, 0);
	sem_post(&c->done);
}

/* ---------------------------------------------------------------- callbacks on the loop */

static void garbage_add(struct control *c, uint64_t key, uint32_t client)
{
	struct garbage *g = malloc(sizeof(*g));

	if (!g)
		return; /* stays mapped until the process ends */
	g->key = key;
	g->client = client;
	pthread_mutex_lock(&c->lock);
	g->next = c->garbage;
	c->garbage = g;
	pthread_mutex_unlock(&c->lock);
}

static void on_region_unused(void *arg, uint64_t key, void *base, uint64_t size)
{
	(void)base;
	(void)size;
	garbage_add(arg, key, 0);
}

static void on_endpoint_unused(void *arg, uint32_t endpoint, uint32_t epoch, void *cookie)
{
	struct control *c = arg;

	(void)endpoint;
	(void)epoch;
	garbage_add(c, 0, (uint32_t)((struct client *)cookie - c->clients));
}

static void on_wake(void *arg, int fd)
{
	(void)arg;
	if (write(fd, "w", 1) < 0)
		return; /* full means that it is awake already */
}

static void on_log(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "dataplane: %s\n", line);
}

static bool on_lookup(void *arg, uint32_t uid, const char *service)
{
	struct control *c = arg;

	return conf_lookup_allowed(c->conf.node, uid, service);
}

void control_callbacks(struct control *c, struct dp_conf *conf)
{
	conf->arg = c;
	conf->region_unused = on_region_unused;
	conf->endpoint_unused = on_endpoint_unused;
	conf->wake = on_wake;
	conf->log = on_log;
	conf->lookup_allowed = on_lookup;
}

/* ---------------------------------------------------------------- memory */

int file_seal_writes(int fd)
{
	return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) ? -errno : 0;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

bool file_present(void *p, size_t size)
{
	/* EINVAL: a kernel before 5.14, where MAP_POPULATE has done what it could */
	errno = 0;
	return madvise(p, size, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

int keeper_file(struct control *c, uint16_t op, uint64_t key, uint64_t size, uint32_t flags,
		uint32_t uid)
{
	struct keeper_msg m = {.op = op, .key = key, .size = size, .flags = flags, .uid = uid};
	struct stat st;
	int fd, rc = keeper_call(c->conf.keeper, &m, &fd);

	if (rc)
		return rc;
	if (fd < 0)
		return -EPROTO;
	/* the keeper is ours, but memory that can shrink would kill the loop */
	if (fstat(fd, &st) || (uint64_t)st.st_size < size ||
	    (fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW)) !=
		    (F_SEAL_SHRINK | F_SEAL_GROW)) {
		close(fd);
		return -EPROTO;
	}
	return fd;
}

struct region *region_find(struct control *c, uint64_t key)
{
	for (unsigned i = 0; i < c->nregions; i++)
		if (c->regions[i].key == key)
			return &c->regions[i];
	return NULL;
}

/* The core does not refer to it any more. */
void region_forget(struct control *c, struct region *r, bool drop)
{
	if (r->base) {
		mapped_remove(r->base);
		munmap(r->base, r->size);
	}
	r->base = NULL;
	r->client = -1;
	r->since_ns = clock_now_ns();
	if (drop) {
		struct keeper_msg m = {.op = KEEPER_DROP, .key = r->key};
		int fd;

		keeper_call(c->conf.keeper, &m, &fd);
		*r = c->regions[--c->nregions];
	}
}

/* What it has besides its endpoint ends. */
static void client_hang_up(struct control *c, struct client *cl)
{
	if (cl->traces) {
		cl->traces = false;
		c->tracers--;
		c->packet_tracers -= cl->packets;
		trace_set(c);
	}
	if (cl->grow.under_way)
		client_grow_end(c, cl);
	if (cl->sock >= 0) {
		close(cl->sock);
		c->connected--;
	}
	cl->sock = -1;
}

static void client_release(struct control *c, struct client *cl)
{
	client_hang_up(c, cl);
	/* the process may hold the same event: it must not go on waking the loop */
	if (cl->wake_fd >= 0)
		epoll_ctl(c->conf.epoll, EPOLL_CTL_DEL, cl->wake_fd, NULL);

	halves_unmap(cl);
	if (cl->wake_fd >= 0)
		close(cl->wake_fd);
	if (cl->event_fd >= 0)
		close(cl->event_fd);
	memset(cl, 0, sizeof(*cl));
	cl->sock = cl->wake_fd = cl->event_fd = -1;
}

static void garbage_collect(struct control *c)
{
	struct garbage *g, *next;

	pthread_mutex_lock(&c->lock);
	g = c->garbage;
	c->garbage = NULL;
	pthread_mutex_unlock(&c->lock);
	for (; g; g = next) {
		next = g->next;
		if (g->key) {
			struct region *r = region_find(c, g->key);

			if (r)
				region_forget(c, r, !(r->flags & REGION_FLAG_PERSIST));
		} else {
			client_release(c, &c->clients[g->client]);
		}
		free(g);
	}
}

/* ---------------------------------------------------------------- regions that outlived a dataplane */

static void regions_adopt(struct control *c)
{
	for (uint64_t i = 0;; i++) {
		struct keeper_msg m = {.op = KEEPER_LIST, .size = i};
		int fd;

		if (keeper_call(c->conf.keeper, &m, &fd) || c->nregions == KEEPER_REGIONS_MAX)
			return;
		if (m.flags & KEEPER_FLAG_RECORDER)
			continue;
		c->regions[c->nregions++] = (struct region){.key = m.key,
							    .size = m.size,
							    .flags = m.flags,
							    .uid = m.uid,
							    .client = -1,
							    .since_ns = clock_now_ns()};
	}
}

static void regions_expire(struct control *c)
{
	uint64_t now = clock_now_ns();

	for (unsigned i = 0; i < c->nregions; i++) {
		struct region *r = &c->regions[i];

		if (r->client < 0 && !r->base && !(r->flags & REGION_FLAG_PERSIST) &&
		    now - r->since_ns > CONTROL_GRACE_MS * 1000000ull) {
			region_forget(c, r, true);
			i--;
		}
	}
}

/* ---------------------------------------------------------------- connections */

void trace_set(struct control *c)
{
	struct command cmd = {.op = CMD_TRACE,
			      .base = c->tracers ? c->trace : NULL,
			      .entries = c->conf.node->trace_entries,
			      .packets = c->packet_tracers > 0};

	command_run(c, &cmd);
}

void client_close(struct control *c, struct client *cl, uint32_t why)
{
	struct command cmd = {.op = CMD_CLOSE,
			      .endpoint = cl->endpoint,
			      .epoch = cl->epoch,
			      .why = why};

	client_hang_up(c, cl);
	if (!cl->attached) {
		client_release(c, cl);
		return;
	}
	cl->attached = false;
	/* if the loop closed it already (poisoned), its garbage is on the way */
	command_run(c, &cmd);
	garbage_collect(c);
}

/* Memory that a process took away under the loop ends with what it belonged to. */
static void lost_close(struct control *c)
{
	void *base;

	while ((base = mapped_lost()) != NULL) {
		control_count(c, CC_LOST);
		for (unsigned i = 0; i < c->nregions; i++)
			if (c->regions[i].base == base) {
				struct command cmd = {.op = CMD_REGION_CLOSE, .key = c->regions[i].key};

				fprintf(stderr, "dataplane: a region of user %u closed: its pages are gone\n",
					c->regions[i].uid);
				c->regions[i].flags &= ~(uint32_t)REGION_FLAG_PERSIST;
				command_run(c, &cmd);
				break;
			}
		for (unsigned i = 0; i < c->top; i++)
			if (c->clients[i].attached &&
			    (c->clients[i].own == base || c->clients[i].peer == base)) {
				fprintf(stderr, "dataplane: endpoint %u (pid %u) closed: the pages of its "
					"rings are gone\n", c->clients[i].endpoint, c->clients[i].pid);
				client_close(c, &c->clients[i], GONE_POISONED);
				break;
			}
	}
}

/* Told before it has asked: most would attach. */
static void connection_refuse(struct control *c, int fd, uint32_t uid)
{
	struct proto_ctl_reply r = {.magic = PROTO_CTL_REPLY_MAGIC,
				    .major = PROTO_MAJOR,
				    .op = CTL_OP_ATTACH,
				    .status = STATUS_LIMIT,
				    .incarnation = c->incarnation};

	control_count(c, CC_QUOTA_CONNECTIONS);
	snprintf(r.text, sizeof(r.text), "user %u has as many connections as [limits] allows, or as there are",
		 uid);
	sock_send(fd, &r, sizeof(r), NULL, 0);
	close(fd);
}

static bool client_accept(struct control *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int fd = accept4(c->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned same = 0, unused = CONTROL_CLIENTS;
	struct conf_limits l;
	bool trusted;

	if (fd < 0)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
		close(fd);
		return true;
	}
	trusted = client_trusted(c, (uint32_t)cred.pid, cred.uid);
	l = conf_limits_for(c->conf.node, cred.uid, trusted);
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++) {
		const struct client *cl = &c->clients[i];

		if (cl->sock < 0 && !cl->own)
			unused = i < unused ? i : unused;
		else if (cl->sock >= 0 && cl->uid == cred.uid && cl->trusted == trusted)
			same++;
	}
	if (unused == CONTROL_CLIENTS || (l.connections && same >= l.connections) ||
	    (!trusted && c->connected >= CONTROL_CLIENTS - CONTROL_RESERVED)) {
		connection_refuse(c, fd, cred.uid);
		return true;
	}
	c->clients[unused] = (struct client){.sock = fd,
					     .uid = cred.uid,
					     .pid = (uint32_t)cred.pid,
					     .trusted = trusted,
					     .wake_fd = -1,
					     .event_fd = -1};
	c->connected++;
	if (unused >= c->top)
		c->top = unused + 1;
	return true;
}

static void client_read(struct control *c, struct client *cl)
{
	struct proto_ctl_request q;
	int rc = sock_recv(cl->sock, &q, sizeof(q), NULL, NULL);

	if (rc == -EAGAIN)
		return;
	if (rc == -EPROTO) /* shorter or longer than a request, or with descriptors */
		control_count(c, CC_MALFORMED);
	else if (!rc)
		control_count(c, CC_REQUESTS);
	if (rc || !client_request(c, cl, &q))
		client_close(c, cl, GONE_DIED);
}

/* ---------------------------------------------------------------- the supervisor */

static void admin_reply(struct control *c, const struct proto_ctl_request *q, uint8_t status, int fd)
{
	struct proto_ctl_reply r = {.magic = PROTO_CTL_REPLY_MAGIC,
				    .major = PROTO_MAJOR,
				    .op = q->op,
				    .status = status,
				    .incarnation = c->incarnation};

	sock_send(c->conf.admin, &r, sizeof(r), &fd, fd >= 0);
}

static void admin_service(struct control *c, const struct proto_ctl_request *q)
{
	unsigned i;

	for (i = 0; i < c->nservices && strcmp(c->services[i].name, q->name); i++)
		;
	if (i == CONTROL_SERVICES) {
		admin_reply(c, q, STATUS_LIMIT, -1);
		return;
	}
	if (i == c->nservices)
		c->nservices++;
	memcpy(c->services[i].name, q->name, sizeof(q->name));
	c->services[i].pid = q->pid;
	c->services[i].uid = q->uid;
	admin_reply(c, q, STATUS_OK, -1);
}

/* False when the supervisor is gone. */
static bool admin_read(struct control *c)
{
	struct command cmd = {.op = CMD_SERVICE};
	struct proto_ctl_request q;
	int rc = sock_recv(c->conf.admin, &q, sizeof(q), NULL, NULL);

	if (rc == -EAGAIN)
		return true;
	if (rc)
		return false;
	q.name[sizeof(q.name) - 1] = 0;
	if (proto_ctl_request_check(&q) != STATUS_OK) {
		admin_reply(c, &q, STATUS_BAD_MESSAGE, -1);
		return true;
	}
	switch (q.op) {
	case CTL_OP_ADMIN_SERVICE:
		admin_service(c, &q);
		break;
	case CTL_OP_ADMIN_STATUS:
		cmd.attach.name = q.name;
		rc = command_run(c, &cmd);
		admin_reply(c, &q, rc ? STATUS_FAILED : cmd.found ? STATUS_OK : STATUS_NOT_FOUND, -1);
		break;
	case CTL_OP_COUNTERS:
		admin_reply(c, &q, STATUS_OK, c->page_fd);
		break;
	default:
		admin_reply(c, &q, STATUS_UNSUPPORTED, -1);
	}
	return true;
}

/* ---------------------------------------------------------------- the thread */

/* Packets are lost while it is down; what is outstanding over it ends when heartbeats are missed. */
static void port_watch(struct control *c)
{
	bool up;

	if (!c->conf.port)
		return;
	up = c->conf.port->ops->link_up(c->conf.port);
	if (up == c->port_up)
		return;
	if (!up)
		control_count(c, CC_PORT_DOWNS);
	c->port_up = up;
	counter_set(&c->page->value[c->counters + CC_PORT_UP], up);
	fprintf(stderr, up ? "dataplane: the port's link is up, %u bytes a packet\n"
			   : "dataplane: the port's link is down: requests to other nodes end as unreachable\n",
		c->conf.port->mtu);
}

static void *control_thread(void *arg)
{
	struct control *c = arg;
	struct pollfd *p = calloc(CONTROL_CLIENTS + 3, sizeof(*p));

	while (p && !atomic_load(&c->stopped)) {
		unsigned top = c->top;
		bool growing = false;

		p[0] = (struct pollfd){.fd = c->listen, .events = POLLIN};
		p[1] = (struct pollfd){.fd = c->conf.admin, .events = POLLIN};
		p[2] = (struct pollfd){.fd = c->conf.lifeline, .events = POLLIN};
		for (unsigned i = 0; i < top; i++) {
			bool waits = c->clients[i].grow.under_way;

			p[3 + i] = (struct pollfd){.fd = c->clients[i].sock, .events = waits ? 0 : POLLIN};
			growing |= waits;
		}
		if (poll(p, 3 + top, growing ? 0 : 50) < 0 && errno != EINTR)
			break;
		lost_close(c);
		port_watch(c);
		garbage_collect(c);
		regions_expire(c);
		if ((p[1].revents && !admin_read(c)) || (p[2].revents & (POLLHUP | POLLIN)))
			break;
		for (unsigned i = 0; i < top; i++) {
			struct client *cl = &c->clients[i];

			if (cl->sock < 0 || cl->sock != p[3 + i].fd)
				continue;
			if (!p[3 + i].revents) {
				if (cl->grow.under_way && !client_grow(c, cl))
					client_close(c, cl, GONE_DIED);
				continue;
			}
			if (p[3 + i].revents & POLLIN)
				client_read(c, cl);
			else
				client_close(c, cl, GONE_DIED);
		}
		for (unsigned i = 0; p[0].revents && i < CONTROL_ACCEPTS && client_accept(c); i++)
			;
	}
	free(p);
	control_stop(c);
	return NULL;
}

static const struct counter_info control_counter_info[CC_COUNT] = {
	[CC_REQUESTS] = {"control.requests", "requests", "on the control socket", COUNTER_SUM},
	[CC_MALFORMED] = {"control.malformed", "requests", "cut short or with a field out of range", COUNTER_SUM},
	[CC_REFUSED] = {"control.refused", "requests", "answered with another status than OK", COUNTER_SUM},
	[CC_LOST] = {"control.lost", "mappings", "of rings and regions whose pages were taken away", COUNTER_SUM},
	[CC_QUOTA_CONNECTIONS] = {"quota.connections", "connections", "beyond the user's quota, or all", COUNTER_SUM},
	[CC_QUOTA_ENDPOINTS] = {"quota.endpoints", "requests", "for endpoints beyond the user's quota", COUNTER_SUM},
	[CC_QUOTA_RINGS] = {"quota.rings", "requests", "for ring memory beyond the user's quota", COUNTER_SUM},
	[CC_PORT_UP] = {"port.up", "ports", "1 while the link is up: a peer, or a carrier",
			COUNTER_LEVEL},
	[CC_PORT_DOWNS] = {"port.downs", "times", "the port's link has gone down", COUNTER_SUM},
	[CC_PORT_MTU] = {"port.mtu", "bytes", "largest IP packet that the port carries", COUNTER_LEVEL},
	[CC_QUOTA_REGIONS] = {"quota.regions", "requests", "for regions beyond the user's quota", COUNTER_SUM},
};

int control_new(struct control **out, const struct control_conf *conf)
{
	struct control *c = calloc(1, sizeof(*c));
	struct counter_info info[COUNTERS_MAX];
	int rc;

	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	c->page_fd = c->trace_fd = c->listen = -1;
	c->half_mib = (uint32_t)((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 21);
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		c->clients[i].sock = c->clients[i].wake_fd = c->clients[i].event_fd = -1;
	c->regions = calloc(KEEPER_REGIONS_MAX, sizeof(*c->regions));
	pthread_mutex_init(&c->lock, NULL);
	sem_init(&c->done, 0, 0);
	*out = c;
	if (!c->regions)
		return -ENOMEM;
	c->page_fd = keeper_file(c, KEEPER_TRANSIENT, 0, sizeof(*c->page), 0, 0);
	if (c->page_fd < 0) {
		fprintf(stderr, "dataplane: the keeper gives no memory: %s\n", strerror(-c->page_fd));
		return c->page_fd;
	}
	c->page = mmap(NULL, sizeof(*c->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		       c->page_fd, 0);
	if (c->page == MAP_FAILED) {
		c->page = NULL;
		return -ENOMEM;
	}
	rc = file_seal_writes(c->page_fd);
	if (rc)
		return rc;
	c->counters = dp_counter_describe(info);
	memcpy(info + c->counters, control_counter_info, sizeof(control_counter_info));
	counters_format(c->page, info, c->counters + CC_COUNT);
	regions_adopt(c);
	c->listen = sock_listen(conf->socket, 0666);
	if (c->listen < 0) {
		fprintf(stderr, "dataplane: cannot listen on %s: %s\n", conf->socket,
			strerror(-c->listen));
		return c->listen;
	}
	return 0;
}

int control_start(struct control *c, struct dp *dp)
{
	int rc;

	c->dp = dp;
	c->incarnation = dp_incarnation(dp);
	c->node = c->conf.node->id;
	dp_counters_move(dp, c->page->value);
	dp_usage(dp, c->page->slot);
	if (c->conf.port)
		counter_set(&c->page->value[c->counters + CC_PORT_MTU], c->conf.port->mtu);
	rc = recorder_start(c);
	if (rc)
		fprintf(stderr, "dataplane: no flight recorder: %s\n", strerror(-rc));
	if (pthread_create(&c->thread, NULL, control_thread, c))
		return -EAGAIN;
	c->started = true;
	return 0;
}

bool control_stopped(struct control *c)
{
	return atomic_load_explicit(&c->stopped, memory_order_relaxed) != 0;
}

void control_stop(struct control *c)
{
	uint64_t one = 1;

	atomic_store(&c->stopped, 1);
	if (write(c->conf.wake, &one, sizeof(one)) < 0)
		return; /* it is awake */
}

void control_end(struct control *c)
{
	control_stop(c);
	if (!c->started)
		return;
	/* a command that is still open is not executed any more */
	sem_post(&c->done);
	pthread_join(c->thread, NULL);
	c->started = false;
}

void control_delete(struct control *c)
{
	control_end(c);
	unlink(c->conf.socket);
	garbage_collect(c);
	for (unsigned i = 0; i < CONTROL_CLIENTS; i++)
		client_release(c, &c->clients[i]);
	for (unsigned i = 0; i < c->nregions; i++)
		if (c->regions[i].base)
			munmap(c->regions[i].base, c->regions[i].size);
	if (c->page)
		munmap(c->page, sizeof(*c->page));
	if (c->trace)
		munmap(c->trace, c->trace_size);
	if (c->page_fd >= 0)
		close(c->page_fd);
	if (c->trace_fd >= 0)
		close(c->trace_fd);
	if (c->listen >= 0)
		close(c->listen);
	sem_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	free(c->regions);
	free(c);
}
