/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to have a node: how long it takes to start, how soon what died is back and those who waited
 * for it know, what it takes of the machine while nobody asks for anything. Every round is a life of its
 * own, so that no back-off of an earlier kill counts. Nodes are as `svcctl up --local` makes them, with all
 * services that are built.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ipc/endpoint.h"
#include "tools/bench/memory.h"
#include "tools/bench/nodes.h"
#include "tools/cpu_time.h"

enum {
	OPS_PROCS = 64,
	OPS_UP_MS = 20000,
	OPS_WAIT_MS = 5000,
	OPS_SETTLE_MS = 500, /* links are up, start-up work is over */
	OPS_IDLE_MS = 1000,
	OPS_UDP_PORT = 47910,
	OPS_STATUS_MAX = 1 << 18,
};

struct process {
	char name[64];
	pid_t pid;
};

struct waiter {
	struct atoll_endpoint *ep;
	bool replied;
	uint16_t status;
};

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

/* ---------------------------------------------------------------- nodes */

static void run_quietly(const char *command)
{
	char all[1024];

	snprintf(all, sizeof(all), "%s >/dev/null 2>&1", command);
	if (system(all) < 0)
		fprintf(stderr, "atoll-bench: %s: %s\n", command, strerror(errno));
}

/* Let svcctl write the configuration of @nodes nodes. */
static int configure(struct bench *b, struct nodes *n, unsigned nodes)
{
	char command[800], path[128];

	snprintf(command, sizeof(command),
		 "'%s/tools/svcctl/svcctl' up --local %u --udp-port %d --dir '%s'", b->build, nodes,
		 OPS_UDP_PORT, n->dir);
	run_quietly(command);
	snprintf(command, sizeof(command), "'%s/tools/svcctl/svcctl' down --dir '%s'", b->build, n->dir);
	run_quietly(command);
	for (unsigned i = 0; i < nodes; i++) {
		snprintf(path, sizeof(path), "%s/%c/node.conf", n->dir, 'a' + (int)i);
		snprintf(n->socket[i], sizeof(n->socket[i]), "%s/%c/dataplane.sock", n->dir, 'a' + (int)i);
		if (access(path, R_OK)) {
			fprintf(stderr, "atoll-bench: svcctl up --local %u made no %s\n", nodes, path);
			return -ENOENT;
		}
	}
	return 0;
}

/* In the foreground, so that it ends with this process. Its output in *@out. */
static int start(struct bench *b, struct nodes *n, int i, int *out)
{
	char program[600], conf[128];
	pid_t parent = getpid();
	int pipes[2];

	snprintf(program, sizeof(program), "%s/tools/svcctl/svcctl", b->build);
	snprintf(conf, sizeof(conf), "%s/%c/node.conf", n->dir, 'a' + i);
	if (pipe(pipes))
		return -errno;
	n->supervisor[i] = fork();
	if (n->supervisor[i] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(pipes[1], 1) < 0 || dup2(pipes[1], 2) < 0)
			_exit(1);
		close(pipes[0]);
		close(pipes[1]);
		setpgid(0, 0);
		execl(program, program, "up", conf, (char *)NULL);
		_exit(1);
	}
	close(pipes[1]);
	*out = pipes[0];
	return n->supervisor[i] < 0 ? -EAGAIN : 0;
}

/* Until it says that it is up. @fd is closed. */
static int await(int fd)
{
	uint64_t end = clock_now_ns() + OPS_UP_MS * 1000000ull;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char said[2048];
	size_t at = 0;
	ssize_t got;
	int rc = -ETIMEDOUT;

	said[0] = 0;
	while (clock_now_ns() < end && at < sizeof(said) - 1) {
		if (poll(&p, 1, 100) <= 0)
			continue;
		got = read(fd, said + at, sizeof(said) - 1 - at);
		if (got <= 0) {
			rc = -ECHILD;
			break;
		}
		at += (size_t)got;
		said[at] = 0;
		if (strstr(said, " is up: ")) {
			rc = 0;
			break;
		}
	}
	if (rc)
		fprintf(stderr, "atoll-bench: a node did not come up: %s\n", said);
	close(fd);
	return rc;
}

/* Processes of node @i by its status; the supervisor and its guard are among them. */
static unsigned processes(struct bench *b, const struct nodes *n, int i, struct process *out)
{
	static char text[OPS_STATUS_MAX];
	unsigned count = 0;
	char *at, *end;

	if (nodes_status(b, n, i, text, sizeof(text)))
		return 0;
	at = strstr(text, "\"supervisor\": {");
	if (at && sscanf(at, "\"supervisor\": {\"pid\": %d, \"guard_pid\": %d", &out[0].pid,
			 &out[1].pid) == 2) {
		strcpy(out[0].name, "svcctl");
		strcpy(out[1].name, "guard");
		count = 2;
	}
	at = strstr(text, "\"processes\": [");
	end = at ? strstr(at, "\"counters\"") : NULL;
	while (at && count < OPS_PROCS && (at = strstr(at, "{\"name\": \"")) && at < end) {
		if (sscanf(at, "{\"name\": \"%63[^\"]\", \"pid\": %d", out[count].name,
			   &out[count].pid) == 2 && out[count].pid > 0)
			count++;
		at++;
	}
	return count;
}

static bool is_service(const struct process *p)
{
	return strcmp(p->name, "svcctl") && strcmp(p->name, "guard") && strcmp(p->name, "keeper") &&
	       strcmp(p->name, "dataplane");
}

/* ---------------------------------------------------------------- what an idle node takes */

/* Its share of the memory that it maps, KiB; where that may not be seen, all of it. */
static uint64_t memory_kib(pid_t pid, bool *whole)
{
	char path[64], line[128];
	unsigned long kib = 0, pages = 0, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		found |= sscanf(line, "Pss: %lu", &kib) == 1;
	if (f)
		fclose(f);
	if (found)
		return kib;
	*whole = true;
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%*s %lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static int idle(struct bench *b, const struct nodes *n, double *share, double *mib, bool *whole)
{
	struct process p[OPS_PROCS];
	unsigned count = processes(b, n, 0, p);
	uint64_t before = 0, after = 0, kib = 0, start_ns, end_ns;

	if (count < 4)
		return -ESRCH;
	for (unsigned i = 0; i < count; i++)
		before += process_cpu_ns(p[i].pid);
	start_ns = clock_now_ns();
	nap(OPS_IDLE_MS);
	end_ns = clock_now_ns();
	for (unsigned i = 0; i < count; i++)
		after += process_cpu_ns(p[i].pid);
	for (unsigned i = 0; i < count; i++)
		kib += memory_kib(p[i].pid, whole);
	*share = (double)(after - before) / (double)(end_ns - start_ns);
	*mib = (double)kib / 1024;
	return 0;
}

/* ---------------------------------------------------------------- a service is killed */

static void on_reply(void *ctx, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	struct waiter *w = ctx;

	(void)cookie;
	(void)payload;
	w->replied = true;
	w->status = m->status;
}

/* A request waits at @p, which is stopped so that it cannot answer; then it is killed. */
static int kill_one(struct waiter *w, const struct process *p, double *told_ms, double *back_ms)
{
	struct proto_msg q = {.opcode = OP_MEMORY_SILENCE};
	uint64_t start_ns, end_ns;
	struct atoll_handle h;
	int rc = atoll_lookup(w->ep, p->name, &h, NULL, OPS_WAIT_MS);

	if (rc)
		return rc;
	kill(p->pid, SIGSTOP);
	w->replied = false;
	rc = atoll_request(w->ep, h, &q, NULL, 1);
	if (rc)
		return rc;
	atoll_flush(w->ep);
	nap(5);
	start_ns = clock_now_ns();
	end_ns = start_ns + OPS_WAIT_MS * 1000000ull;
	kill(p->pid, SIGKILL);
	while (!w->replied) {
		rc = atoll_poll(w->ep, 8);
		if (rc < 0)
			return rc;
		if (rc == 0)
			atoll_idle(w->ep, 1000000);
		if (clock_now_ns() > end_ns)
			return -ETIMEDOUT;
	}
	*told_ms = (double)(clock_now_ns() - start_ns) / 1e6;
	if (w->status != STATUS_PEER_DIED) {
		fprintf(stderr, "atoll-bench: a request at %s, which was killed, ended %s\n", p->name,
			proto_status_name(w->status));
		return -EIO;
	}
	while ((rc = atoll_lookup(w->ep, p->name, &h, NULL, 1000)) == -ENOENT && clock_now_ns() < end_ns)
		usleep(200);
	*back_ms = (double)(clock_now_ns() - start_ns) / 1e6;
	return rc;
}

/* Each service in turn; the slowest counts. */
static int kill_all(struct bench *b, const struct nodes *n, double *told_ms, double *back_ms)
{
	static const struct atoll_handlers handlers = {.reply = on_reply};
	struct atoll_endpoint_conf conf = {
		.socket = n->socket[0], .name = "bench", .kind = CTL_KIND_CLIENT};
	struct process p[OPS_PROCS];
	unsigned count = processes(b, n, 0, p);
	struct waiter w = {0};
	char err[256] = "";
	int rc = atoll_attach(&w.ep, &conf, err, sizeof(err));

	if (rc) {
		fprintf(stderr, "atoll-bench: %s\n", err);
		return rc;
	}
	atoll_set_handlers(w.ep, &handlers, &w);
	*told_ms = *back_ms = 0;
	for (unsigned i = 0; i < count && !rc; i++) {
		double told = 0, back = 0;

		if (!is_service(&p[i]))
			continue;
		rc = kill_one(&w, &p[i], &told, &back);
		if (rc)
			fprintf(stderr, "atoll-bench: after %s was killed: %s\n", p[i].name, strerror(-rc));
		*told_ms = told > *told_ms ? told : *told_ms;
		*back_ms = back > *back_ms ? back : *back_ms;
	}
	atoll_detach(w.ep);
	return rc;
}

/* ---------------------------------------------------------------- the whole */

struct ops_rounds {
	struct rounds up, told, back, cpu, mib;
	bool whole;
};

/* One node: how long its start takes, and what follows when each of its services is killed. */
static int life(struct bench *b, struct nodes *n, struct ops_rounds *r)
{
	double told = 0, back = 0;
	uint64_t start_ns = clock_now_ns();
	int out, rc = start(b, n, 0, &out);

	if (!rc)
		rc = await(out);
	if (rc)
		return rc;
	rounds_add(&r->up, (double)(clock_now_ns() - start_ns) / 1e6);
	rc = kill_all(b, n, &told, &back);
	rounds_add(&r->told, told);
	rounds_add(&r->back, back);
	nodes_stop(n);
	return rc;
}

/* Two nodes, linked, without traffic but their heartbeats. */
static int rest(struct bench *b, struct nodes *n, struct ops_rounds *r)
{
	double share = 0, mib = 0;
	int out[2], rc = 0;

	for (int i = 0; i < 2 && !rc; i++)
		rc = start(b, n, i, &out[i]);
	for (int i = 0; i < 2 && !rc; i++)
		rc = await(out[i]);
	nap(OPS_SETTLE_MS);
	if (!rc)
		rc = idle(b, n, &share, &mib, &r->whole);
	rounds_add(&r->cpu, share);
	rounds_add(&r->mib, mib);
	nodes_stop(n);
	return rc;
}

static void services_say(struct bench *b, const struct nodes *n)
{
	char list[96] = "", path[128], line[128], name[64];
	size_t at = 0;
	FILE *f;

	(void)b;
	snprintf(path, sizeof(path), "%s/a/node.conf", n->dir);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "[service %63[^]]]", name) == 1 && at < sizeof(list) - 1)
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "", name);
	if (f)
		fclose(f);
	result_text("ops.services", list[0] ? list : "none");
}

int bench_ops(struct bench *b)
{
	struct ops_rounds r = {0};
	struct nodes n;
	int rc = nodes_begin(b, &n, false);

	if (rc)
		return rc;
	rc = configure(b, &n, 1);
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = life(b, &n, &r);
	if (!rc)
		rc = configure(b, &n, 2);
	for (unsigned i = 0; i < b->rounds && !rc; i++)
		rc = rest(b, &n, &r);
	if (!rc) {
		services_say(b, &n);
		result("ops.up_ms", &r.up, "ms", 500);
		result("ops.service_restart_ms", &r.back, "ms", 100);
		result("ops.clients_told_ms", &r.told, "ms", 10);
		result("ops.idle_cpu", &r.cpu, "cores", 0.03);
		result("ops.idle_mib", &r.mib, "MiB", 150);
		result_text("ops.idle_mib_is", r.whole ? "resident, shared pages counted more than once"
						       : "proportional set sizes of all processes");
	}
	nodes_down(&n);
	return rc;
}
