/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/netreq/replay.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/netreq/replay_node.h"
#include "tools/netreq/sim.h"

enum {
	QUESTIONS = 2000,
	PUSHES = 4000,
	COPIES = 500,
	/* the link's window shrinks, down to this (bytes), while round trips are longer than the shortest by this: what
	 * dataplane/roce/qp.h and requester.c call WINDOW_MIN and DELAY_TARGET_NS */
	REPLAY_SHRUNK = 32768,
	REPLAY_TARGET_NS = 40000,
};

static pid_t child(int core, void (*f)(const struct replay_session *), const struct replay_session *r)
{
	pid_t parent = getpid(), pid = fork();
	cpu_set_t set;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	sched_setaffinity(0, sizeof(set), &set); /* a core that is not there: wherever there is room */
	/* DPDK tells of its memory at length */
	if (!getenv("ATOLL_BENCH_LOG") && !freopen("/dev/null", "w", stderr))
		_exit(1);
	f(r);
	_exit(0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

/* Both nodes come up, the traces are played, both go. */
static int session(struct replay_session *r, const int core[2])
{
	static unsigned count;
	uint64_t end = clock_now_ns() + 2 * REPLAY_PATIENCE_MS * 1000000ull;
	double push_ns = r->s->push_ns;
	pid_t pid[2];
	int rc = 0;

	memset(r->s, 0, sizeof(*r->s));
	r->s->push_ns = push_ns;
	strcpy(r->dir, "/tmp/netreq-XXXXXX");
	if (!mkdtemp(r->dir))
		return -errno;
	r->side = (unsigned)getpid() + count++;
	pid[1] = child(core[1], replay_service, r);
	pid[0] = child(core[0], replay_client, r);
	while (!__atomic_load_n(&r->s->done, __ATOMIC_ACQUIRE) && !rc) {
		usleep(2000);
		for (int i = 0; i < 2; i++)
			if (pid[i] < 0 || waitpid(pid[i], NULL, WNOHANG) == pid[i]) {
				pid[i] = -1;
				rc = -ENODEV;
			}
		if (clock_now_ns() > end)
			rc = -ETIMEDOUT;
	}
	for (int i = 0; i < 2; i++)
		if (pid[i] > 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc ? rc : r->s->error;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Of the rounds of a trace that nothing disturbed; if there is none, the one that was disturbed least. */
static double median(const struct replay_shared *s, unsigned trace, double *disturbed)
{
	double v[REPLAY_TRIES];
	unsigned n = 0, least = 0;

	for (unsigned k = 0; k < s->tries[trace]; k++) {
		if (s->disturbed[trace][k] * REPLAY_DISTURBED < 1)
			v[n++] = s->total_ns[trace][k];
		if (s->disturbed[trace][k] < s->disturbed[trace][least])
			least = k;
	}
	if (n) {
		*disturbed = 0;
		qsort(v, n, sizeof(*v), by_value);
		return v[n / 2];
	}
	*disturbed = s->disturbed[trace][least];
	return s->total_ns[trace][least];
}

/* Bytes that the link lets be on the way: as many as make a round trip longer by what it bears. */
static uint32_t window_bytes(const struct net *net)
{
	double bytes = net->gbps / 8 * (net->rtt_ns + REPLAY_TARGET_NS);

	if (net->gbps <= 0 || bytes > net_default.window_bytes)
		return net_default.window_bytes;
	return bytes > REPLAY_SHRUNK ? (uint32_t)bytes : REPLAY_SHRUNK;
}

/* A trace of @n calls that are all alike, and one that waits. */
static int alike(struct trace *t, struct trace_call c, unsigned n)
{
	memset(t, 0, sizeof(*t));
	t->calls = calloc(n + 1, sizeof(*t->calls));
	if (!t->calls)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		t->calls[i] = c;
	t->calls[n] = (struct trace_call){.class = TRACE_SYNC};
	t->ncalls = n + 1;
	t->threads = t->streams = t->nnames = 1;
	return 0;
}

/* What the transport costs when nothing is added: questions one by one, as many pushes as go, as many bytes. */
static int calibrate(struct replay_session *r, const struct replay_conf *conf, struct net *net, double *worst)
{
	struct trace questions = {0}, pushes = {0}, copies = {0};
	double question, push, disturbed;
	int rc = alike(&questions, (struct trace_call){.class = TRACE_SYNC, .gap_ns = 2000}, QUESTIONS);

	if (!rc)
		rc = alike(&pushes, (struct trace_call){.class = TRACE_ASYNC}, PUSHES);
	r->delay_ns = r->gbps = 0;
	r->traces[0] = &questions;
	r->traces[1] = &pushes;
	if (!rc)
		rc = alike(&copies, (struct trace_call){.class = TRACE_ASYNC, .bytes_out = REPLAY_DATA}, COPIES);
	r->traces[2] = &copies;
	r->ntraces = 3;
	r->rounds = 5;
	r->s->push_ns = 0;
	if (!rc)
		rc = session(r, conf->core);
	if (!rc) {
		question = median(r->s, 0, worst) / (QUESTIONS + 1) - 2000;
		push = median(r->s, 1, &disturbed) / (PUSHES + 1);
		*worst = fmax(*worst, disturbed);
		net->gbps = (COPIES + 1) * 8.0 * REPLAY_DATA / median(r->s, 2, &disturbed);
		*worst = fmax(*worst, disturbed);
		net->push_ns = r->s->push_ns;
		net->serve_ns = push;
		net->rtt_ns = question - net->serve_ns - net->push_ns;
		if (net->rtt_ns < 0)
			net->rtt_ns = 0;
	}
	free(questions.calls);
	free(pushes.calls);
	free(copies.calls);
	return rc;
}

static bool port_there(const char *name)
{
	for (const struct port_ops *const *d = port_drivers; *d; d++)
		if (!strcmp((*d)->name, name))
			return true;
	return false;
}

/* The trace, and behind it a call that waits for everything. */
static int with_end(const struct trace *t, struct trace *out)
{
	*out = *t;
	out->calls = calloc(t->ncalls + 1, sizeof(*out->calls));
	if (!out->calls)
		return -ENOMEM;
	memcpy(out->calls, t->calls, t->ncalls * sizeof(*out->calls));
	for (size_t i = 0; i < t->ncalls; i++)
		out->calls[i].thread = 0;
	out->calls[t->ncalls] = (struct trace_call){.class = TRACE_SYNC, .flags = TRACE_WAITS_ALL};
	out->ncalls = t->ncalls + 1;
	out->threads = 1;
	out->nnames = t->nnames ? t->nnames : 1;
	return 0;
}

/* Plays it at this rate, and says what the formula and the simulation make of it. @net: as calibrated. */
static int measure(struct replay_session *r, const struct trace *whole, const struct replay_conf *conf,
		   struct net net, double gbps, struct replay_result *out)
{
	static struct sim_result simulated;
	struct sim_conf sim = {.traces = whole, .same = true, .clients = 1};
	struct model m;
	int rc;

	r->traces[0] = whole;
	r->ntraces = 1;
	r->rounds = conf->rounds;
	r->delay_ns = conf->delay_ns;
	r->gbps = gbps;
	r->s->push_ns = net.push_ns;
	rc = session(r, conf->core);
	if (rc)
		return rc;
	out->measured_ns = median(r->s, 0, &out->disturbed);
	net.rtt_ns += conf->delay_ns;
	/* the nodes' own work on the bytes is a wire of its own */
	if (gbps > 0 && gbps < net.gbps)
		net.gbps = gbps;
	net.window_bytes = window_bytes(&net);
	rc = model_run(whole, &net, 0, NULL, &m);
	out->predicted_ns = m.total_ns;
	sim.net = net;
	if (!rc)
		rc = sim_run(&sim, &simulated);
	out->simulated_ns = simulated.total_ns[0];
	if (!rc)
		rc = model_run(whole, NULL, 0, NULL, &m);
	out->local_ns = m.total_ns;
	out->error = fabs(out->predicted_ns - out->measured_ns) / out->measured_ns;
	out->sim_error = fabs(out->simulated_ns - out->measured_ns) / out->measured_ns;
	return rc;
}

/* At the least rate that the formula names for these nodes' costs, and at half of it. */
static int at_minimum(struct replay_session *r, const struct trace *whole, const struct replay_conf *conf,
		      struct replay_result *out)
{
	struct replay_result half = {0};
	struct net net = out->net;
	struct model local;
	int rc = model_run(whole, NULL, 0, NULL, &local);

	if (rc)
		return rc;
	net.window_bytes = 0; /* at the rate in question round trips are not what holds it up */
	out->gbps_min = need_gbps(whole, &net, net.rtt_ns + conf->delay_ns, local.total_ns, conf->budget, 0);
	if (isinf(out->gbps_min))
		return -ERANGE;
	rc = measure(r, whole, conf, out->net, out->gbps_min, out);
	if (!rc)
		rc = measure(r, whole, conf, out->net, out->gbps_min / 2, &half);
	out->half_ns = half.measured_ns;
	out->disturbed = fmax(out->disturbed, half.disturbed);
	return rc;
}

int replay_run(const struct trace *t, const struct replay_conf *conf, struct replay_result *out)
{
	static const char *const ports[] = {"shm", "uring"};
	struct replay_session r = {.rounds = conf->rounds};
	struct net net = net_default;
	double disturbed = 0;
	struct trace whole;
	int rc = with_end(t, &whole);

	if (rc)
		return rc;
	memset(out, 0, sizeof(*out));
	r.s = mmap(NULL, sizeof(*r.s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.s == MAP_FAILED) {
		free(whole.calls);
		return -ENOMEM;
	}
	rc = -ENODEV;
	for (unsigned i = 0; i < 2 && rc == -ENODEV; i++) {
		if ((conf->port && strcmp(conf->port, ports[i])) || !port_there(ports[i]))
			continue;
		r.port = ports[i];
		rc = calibrate(&r, conf, &net, &disturbed);
	}
	net.window = REPLAY_WINDOW;
	net.chunk_bytes = REPLAY_DATA;
	/* uring's packets have no Ethernet head where the rate is kept */
	net.packet_bytes = r.port && !strcmp(r.port, "uring") ? 44 : 58;
	out->net = net;
	out->port = r.port;
	/* a least rate for costs that are not the nodes' would mean nothing */
	if (!rc && conf->budget > 0 && disturbed > 0)
		rc = -EBUSY;
	if (!rc)
		rc = conf->budget > 0 ? at_minimum(&r, &whole, conf, out)
				      : measure(&r, &whole, conf, net, conf->gbps, out);
	out->disturbed = fmax(out->disturbed, disturbed);
	munmap(r.s, sizeof(*r.s));
	free(whole.calls);
	return rc;
}
