/* SPDX-License-Identifier: Apache-2.0 */
/* How a node's processes are started, and when again. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/keeper.h"
#include "ipc/sandbox.h"
#include "ipc/sock.h"
#include "proto/index_directory.h"
#include "tools/svcctl/node.h"
#include "tools/svcctl/rundir.h"

enum {
	MS = 1000000,
	BACKOFF_MS = 10, /* of the dataplane; a service's are configured */
	BACKOFF_MAX_MS = 5000,
	BACKOFF_RESET_MS = 10000,
	NOBODY = 65534,
};

static struct conf_user nobody(void)
{
	const struct passwd *pw = getpwnam("nobody");

	return (struct conf_user){true, pw ? pw->pw_uid : NOBODY, pw ? pw->pw_gid : NOBODY};
}

static int start(struct node *n, unsigned i, int fd3, int fd4, int fd5)
{
	struct proc *p = &n->procs[i];
	struct proc_spec s = {.name = p->name,
			      .kind = p->kind,
			      .exec = n->exec[i],
			      .core = CONF_NO_CORE,
			      .user = n->conf->user,
			      .isolate = true,
			      .policy = n->policy[i],
			      .filter = n->policy[i] ? n->filter[i] : -1,
			      .run_dir = n->conf->run_dir,
			      .lifeline = n->lifeline[0],
			      .fds = {fd3, fd4, fd5, -1}};
	char directory[INDEX_DIRECTORY_MAX + 1];
	const struct conf_cluster *cluster;
	int rc;

	switch (p->kind) {
	case PROC_KEEPER:
		s.core = n->conf->keeper_core;
		if (!s.user.set)
			s.user = nobody();
		break;
	case PROC_DATAPLANE:
		s.core = n->conf->core;
		s.arg1 = n->file;
		s.isolate = false;
		s.caps = proc_port_caps(n->conf->port);
		break;
	case PROC_SERVICE:
		s.core = p->conf->core;
		s.args = p->conf->args;
		cluster = conf_cluster_of(n->conf, p->name, &s.member);
		if (cluster && conf_cluster_directory(cluster, directory, sizeof(directory)))
			s.directory = directory;
		s.user = p->conf->user.set ? p->conf->user : nobody();
		rc = rundir_state(n->conf->run_dir, p->name, &s.user);
		if (rc)
			return rc;
		break;
	}
	if (s.policy)
		s.caps |= s.policy->start_caps;
	s.log = rundir_log_open(n->conf->run_dir, p->name);
	if (s.log < 0)
		return s.log;
	rc = proc_start(p, &s);
	close(s.log);
	if (!rc)
		guard_add(&n->guard, p->pidfd, p->pid);
	return rc;
}

static int start_keeper(struct node *n)
{
	int sv[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -errno;
	rc = start(n, NODE_KEEPER, sv[1], -1, -1);
	close(sv[1]);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	fcntl(sv[0], F_SETFL, O_NONBLOCK);
	n->keeper_sock = sv[0];
	proc_go(&n->procs[NODE_KEEPER]);
	return 0;
}

/* A dataplane needs a socket to the keeper and one to here, both new each time. */
static int start_dataplane(struct node *n)
{
	struct keeper_msg m = {.magic = KEEPER_MAGIC, .op = KEEPER_SUPERVISOR_DATAPLANE};
	int kd[2], ad[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, kd))
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ad)) {
		rc = -errno;
		close(kd[0]);
		close(kd[1]);
		return rc;
	}
	lseek(n->conf_fd, 0, SEEK_SET); /* shared with the one before */
	rc = sock_send(n->keeper_sock, &m, sizeof(m), &kd[0], 1);
	if (!rc)
		rc = start(n, NODE_DATAPLANE, n->conf_fd, kd[1], ad[1]);
	close(kd[0]);
	close(kd[1]);
	close(ad[1]);
	if (rc) {
		close(ad[0]);
		return rc;
	}
	admin_open(&n->admin, ad[0]);
	for (unsigned i = NODE_SERVICE0; i < n->nprocs; i++) {
		n->procs[i].told = n->procs[i].asked = false;
		if (n->procs[i].state == PROC_READY)
			n->procs[i].state = PROC_RUNNING; /* until it has attached to the new one */
		n->procs[i].since_ns = n->now_ns;
	}
	proc_go(&n->procs[NODE_DATAPLANE]);
	return 0;
}

static uint32_t backoff_first(const struct proc *p)
{
	return p->conf ? p->conf->backoff_ms : BACKOFF_MS;
}

void node_proc_plan(struct proc *p, uint64_t now_ns)
{
	uint32_t most = p->conf ? p->conf->backoff_max_ms : BACKOFF_MAX_MS;
	uint64_t reset_ms = p->conf ? p->conf->backoff_reset_ms : BACKOFF_RESET_MS;

	if (p->backoff_ms == 0 || now_ns - p->started_ns >= reset_ms * MS)
		p->backoff_ms = backoff_first(p);
	p->retry_ns = now_ns + (p->again ? 0 : (uint64_t)p->backoff_ms * MS);
	if (!p->again)
		p->backoff_ms = p->backoff_ms * 2 > most ? most : p->backoff_ms * 2;
	p->state = PROC_WAITING;
}

void node_proc_start(struct node *n, unsigned i)
{
	struct proc *p = &n->procs[i];
	int rc;

	switch (p->kind) {
	case PROC_KEEPER:
		rc = start_keeper(n);
		break;
	case PROC_DATAPLANE:
		rc = start_dataplane(n);
		break;
	case PROC_SERVICE:
	default:
		rc = start(n, i, -1, -1, -1);
		break;
	}
	if (!rc)
		return;
	snprintf(p->reason, sizeof(p->reason), "cannot be started: %s", strerror(-rc));
	if (p->kind == PROC_KEEPER)
		node_end(n, true, "the keeper %s", p->reason);
	node_proc_plan(p, n->now_ns);
}

int node_find_programs(struct node *n)
{
	for (unsigned i = 0; i < n->nprocs; i++) {
		const struct proc *p = &n->procs[i];
		const char *name = p->conf			 ? p->conf->exec
				   : p->kind == PROC_KEEPER	 ? "atoll-keeper"
								 : "atoll-dataplane";

		if (program_find(name, n->exec[i], sizeof(n->exec[i])) == 0)
			continue;
		if (p->conf)
			snprintf(n->why, sizeof(n->why), "%.100s:%u: [service %.40s]: there is no program"
				 " %.60s", n->file, p->conf->line, p->name, name);
		else
			snprintf(n->why, sizeof(n->why), "there is no program %.60s next to svcctl; is the"
				 " build complete? (./atoll build)", name);
		return -ENOENT;
	}
	return 0;
}

/* Compiled, in a memory file that nobody can change any more. */
static int filter_make(const struct policy *p)
{
	static struct sock_filter code[SANDBOX_FILTER_MAX];
	int count = policy_compile(p, code, SANDBOX_FILTER_MAX), fd;
	size_t size;

	if (count < 0)
		return count;
	size = (size_t)count * sizeof(code[0]);
	fd = memfd_create("atoll-filter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (write(fd, code, size) == (ssize_t)size &&
	    !fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fd;
	close(fd);
	return -EIO;
}

int node_find_policies(struct node *n)
{
	char path[CONF_TEXT_MAX + 16], shared[CONF_TEXT_MAX + 64], err[192];

	for (unsigned i = 0; i < n->nprocs; i++) {
		const struct proc *p = &n->procs[i];
		const char *name = n->exec[i];

		if (p->kind == PROC_DATAPLANE && n->conf->port[0] && !strstr(n->conf->port, "uring:"))
			name = "atoll-dataplane-dpdk";
		if (policy_find(name, path, sizeof(path), shared, sizeof(shared)))
			continue; /* status says so */
		n->policy[i] = malloc(sizeof(*n->policy[i]));
		if (!n->policy[i])
			return -ENOMEM;
		if (policy_read(path, shared, n->policy[i], err, sizeof(err))) {
			snprintf(n->why, sizeof(n->why), "%s", err);
			return -EINVAL;
		}
		n->filter[i] = filter_make(n->policy[i]);
		if (n->filter[i] < 0) {
			snprintf(n->why, sizeof(n->why), "%.200s: too long, or no memory: %s", path,
				 strerror(-n->filter[i]));
			return -EINVAL;
		}
	}
	return 0;
}
