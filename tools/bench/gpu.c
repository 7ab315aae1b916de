/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to have a device in another node. The same programs (gpu_work.c) run with the device in their
 * own process and with that of node b; turn by turn, on the same cores: what computes has the second one.
 */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench/beside.h"
#include "tools/bench/gpu.h"
#include "tools/bench/memory.h"

enum {
	LAUNCHES = 200000,
	BURST = 64,
	COPY = 64 << 20,
	WARM_NS = 1500000000,
	START_NS = 10000000, /* tries apart */
	START_TRIES = 500,
	HEARTBEAT_MS = 500, /* a busy machine is no dead node */
};

static const char services_format[] =
	"\n[service gpu-exec]\nexec = gpu-exec\nargs = --memory-mib 512\ncore = %d\n"
	"\n[service gpu-null]\nexec = gpu-exec\nargs = --memory-mib 64 --device null\ncore = %d\n";
static char services[sizeof(services_format) + 32];

/* ---------------------------------------------------------------- programs that are asked for figures */

int work_start(struct bench *b, struct work *w, const char *program, int core, const char *device,
	       const char *socket)
{
	int to[2], from[2];
	char path[600], line[64];

	snprintf(path, sizeof(path), "%s/tools/bench/%s", b->build, program);
	if (pipe(to) || pipe(from))
		return -errno;
	w->pid = fork();
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[0]), close(to[1]), close(from[0]), close(from[1]);
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		bench_pin(core);
		setenv("ATOLL_GPU", device, 1);
		if (socket)
			setenv("ATOLL_SOCKET", socket, 1);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	w->to = fdopen(to[1], "w");
	w->from = fdopen(from[0], "r");
	if (w->pid < 0 || !w->to || !w->from || !fgets(line, sizeof(line), w->from)) {
		fprintf(stderr, "atoll-bench: %s with device %s does not start\n", program, device);
		return -ECHILD;
	}
	return 0;
}

void work_end(struct work *w)
{
	if (w->to)
		fclose(w->to);
	if (w->from)
		fclose(w->from);
	if (w->pid > 0)
		waitpid(w->pid, NULL, 0);
	memset(w, 0, sizeof(*w));
}

int work_ask(struct work *w, double *out, unsigned n, const char *format, ...)
{
	char line[256], *at = line, *end;
	va_list args;

	va_start(args, format);
	vfprintf(w->to, format, args);
	va_end(args);
	fputc('\n', w->to);
	if (fflush(w->to) || !fgets(line, sizeof(line), w->from))
		return -ECHILD;
	for (unsigned i = 0; i < n; i++, at = end) {
		out[i] = strtod(at, &end);
		if (end == at)
			return -EPROTO;
	}
	return 0;
}

/* With a device of node b, as soon as it is there. */
static int remote_start(struct bench *b, struct work *w, const char *device, const struct nodes *n)
{
	char command[700];

	snprintf(command, sizeof(command), "ATOLL_SOCKET='%s' '%s/clients/gpu/agpu' smi --device %s >/dev/null 2>&1",
		 n->socket[0], b->build, device);
	for (unsigned i = 0; system(command); i++) {
		if (i == START_TRIES) {
			fprintf(stderr, "atoll-bench: %s of node b does not answer\n", device);
			return -ETIMEDOUT;
		}
		usleep(START_NS / 1000);
	}
	return work_start(b, w, "gpu_work", b->core[0], device, n->socket[0]);
}

/* ---------------------------------------------------------------- the same program here and there */

/* What a dataplane does that has nothing to do: looks, and lets others run. */
static void idle_poller(void *arg)
{
	uint64_t *looks = arg;

	for (;;) {
		__atomic_add_fetch(looks, 1, __ATOMIC_RELAXED);
		sched_yield();
	}
}

struct program {
	const char *name;
	unsigned steps, steps_quick;
};

static const struct program programs[] = {{"matmul", 8, 2}, {"training", 40, 20}, {"nbody", 3, 1}};

enum { PROGRAMS = sizeof(programs) / sizeof(programs[0]) };

struct overhead {
	struct rounds plain, control;
};

/* Rounds of each program: alone, beside an idle poller, remote. */
static int overheads(struct bench *b, struct work *remote, struct work *local, unsigned rounds, struct overhead *out)
{
	uint64_t *looks = bench_shared(4096);
	int rc = 0;

	for (unsigned p = 0; p < PROGRAMS; p++) {
		unsigned steps = b->quick ? programs[p].steps_quick : programs[p].steps;
		double plain, control, far;

		/* once, to have compiled it */
		rc = work_ask(remote, &far, 1, "%s 1", programs[p].name);
		if (!rc)
			rc = work_ask(local, &plain, 1, "%s 1", programs[p].name);
		for (unsigned r = 0; r < rounds && !rc; r++) {
			pid_t poller;

			rc = work_ask(local, &plain, 1, "%s %u", programs[p].name, steps);
			if (!rc)
				rc = work_ask(remote, &far, 1, "%s %u", programs[p].name, steps);
			if (rc)
				break;
			poller = bench_fork(b->core[1], idle_poller, looks);
			rc = work_ask(local, &control, 1, "%s %u", programs[p].name, steps);
			bench_kill(poller);
			rounds_add(&out[p].plain, far / plain - 1);
			rounds_add(&out[p].control, far / control - 1);
		}
	}
	return rc;
}

static void overheads_tell(const struct overhead *o, const char *suffix, double goal, double goal_control)
{
	char key[64];

	for (unsigned p = 0; p < PROGRAMS; p++) {
		snprintf(key, sizeof(key), "gpu.overhead.%s.%s", programs[p].name, *suffix ? suffix : "plain");
		result(key, &o[p].plain, "", goal);
		snprintf(key, sizeof(key), "gpu.overhead.%s.%s%scontrol", programs[p].name, suffix,
			 *suffix ? "_" : "");
		result(key, &o[p].control, "", goal_control);
	}
}

/* The same with so many microseconds more of round trip. */
static int overheads_far(struct bench *b, bool shm, struct work *local, unsigned us, const struct overhead *near)
{
	struct overhead o[PROGRAMS] = {0};
	struct work remote = {0};
	char suffix[16], key[64], fault[48];
	struct nodes n;
	int rc = nodes_begin(b, &n, shm);

	snprintf(fault, sizeof(fault), "fault:delay_us=%.1f/", us / 2.0);
	n.fault = fault;
	n.heartbeat_ms = HEARTBEAT_MS;
	if (!rc)
		rc = nodes_up(b, &n, shm, services);
	if (!rc)
		rc = remote_start(b, &remote, "b/gpu-exec", &n);
	if (!rc)
		rc = overheads(b, &remote, local, b->quick ? 1 : b->rounds, o);
	work_end(&remote);
	nodes_down(&n);
	if (rc)
		return rc;
	snprintf(suffix, sizeof(suffix), "rtt%u", us);
	overheads_tell(o, suffix, 0, 0);
	for (unsigned p = 0; p < PROGRAMS; p++) {
		snprintf(key, sizeof(key), "gpu.overhead.%s.%s_beyond", programs[p].name, suffix);
		result_one(key, rounds_median(&o[p].plain) - rounds_median(&near[p].plain), "", us <= 20 ? 0.05 : 0);
	}
	return 0;
}

static int handles(struct bench *b, struct work *remote, struct work *local)
{
	struct rounds ratio = {0}, chatty = {0}, trip = {0};
	unsigned n = b->quick ? 20 : 100;
	double near, far, sync;
	int rc = 0;

	for (unsigned r = 0; r < b->rounds && !rc; r++) {
		rc = work_ask(local, &near, 1, "handles %u", n);
		if (!rc)
			rc = work_ask(remote, &far, 1, "handles %u", n);
		if (!rc)
			rounds_add(&ratio, far / near);
		if (!rc)
			rc = work_ask(local, &near, 1, "chatty 1000");
		if (!rc)
			rc = work_ask(remote, &far, 1, "chatty 1000");
		if (!rc)
			rc = work_ask(remote, &sync, 1, "sync %u", b->quick ? 50 : 500);
		if (rc)
			return rc;
		rounds_add(&trip, sync);
		rounds_add(&chatty, far / (near + sync));
	}
	result("gpu.better_than_local", &ratio, "", 1.0);
	result("gpu.overhead.chatty", &chatty, "", 1.0);
	result("gpu.sync_ns", &trip, "ns", 0);
	return rc;
}

/* ---------------------------------------------------------------- calls */

static int launches(struct bench *b, const struct nodes *nodes, struct work *null)
{
	struct rounds cpu = {0}, over = {0}, rate = {0}, rpc = {0}, over_rpc = {0};
	unsigned n = b->quick ? LAUNCHES / 10 : LAUNCHES;
	double v[2], raw, one;
	cpu_set_t all;
	int rc = 0;

	/* this process takes the client's part in what is compared with, and is anywhere again afterwards */
	sched_getaffinity(0, sizeof(all), &all);
	bench_pin(b->core[0]);
	for (unsigned r = 0; r < b->rounds && !rc; r++) {
		rc = work_ask(null, v, 2, "launches %u", n);
		if (!rc)
			rounds_add(&rate, n / v[0] * 1e9);
#ifdef ATOLL_HAVE_TIRPC
		if (!rc) {
			rc = gpu_rpc_rate(b, nodes->dir, n / 20, &raw);
			rounds_add(&rpc, raw);
			rounds_add(&over_rpc, n / v[0] * 1e9 / raw);
		}
#else
		(void)nodes;
#endif
		if (!rc)
			rc = work_ask(null, &one, 1, "launch_cpu %u %u", b->quick ? 50 : 500, BURST);
		if (!rc)
			rc = ipc_raw(b, &raw);
		if (rc)
			break;
		one /= (b->quick ? 50 : 500) * BURST;
		rounds_add(&cpu, one);
		rounds_add(&over, one / raw);
	}
	sched_setaffinity(0, sizeof(all), &all);
	if (rc)
		return rc;
	result("gpu.launch.client_ns", &cpu, "ns", 500);
	result("gpu.launch.client_ns_over_raw", &over, "", 1.5);
	result("gpu.launch.rate", &rate, "launches/s", -1e6);
	if (rpc.n) {
		result("gpu.launch.rate_over_rpc", &over_rpc, "", -20);
		result("gpu.launch.rpc_rate", &rpc, "launches/s", 0);
	} else {
		result_text("gpu.launch.rate_over_rpc", "this build has no libtirpc");
	}
	return 0;
}

static int trips(struct work *remote)
{
	double v[3];
	int rc = work_ask(remote, v, 3, "rtts");

	if (rc)
		return rc;
	result_one("gpu.sync.rtts", v[0], "", 1);
	result_one("gpu.query.rtts", v[1], "", 0);
	result_one("gpu.read.rtts", v[2], "", 1);
	return 0;
}

static int copies(struct bench *b, const struct nodes *n, struct work *remote)
{
	static const char *const ways[] = {"h2d", "d2h"}, *const kinds[] = {"pinned", "pageable"};
	struct rounds ratio[2][2] = {0}, bytes[2][2] = {0};
	uint64_t ns = b->quick ? 50000000 : 300000000;
	pid_t pid = memory_start(b, n, "memory");
	double wire, rate;
	char key[64];
	int rc = pid < 0 ? (int)pid : beside_open(n);

	for (unsigned r = 0; r < b->rounds && !rc; r++)
		for (unsigned k = 0; k < 4 && !rc; k++) {
			rc = beside_read1m(ns, &wire);
			if (!rc)
				rc = work_ask(remote, &rate, 1, "copy %s %s %u %u", ways[k & 1], kinds[k >> 1],
					      b->quick ? COPY / 8 : COPY, 4);
			if (rc)
				break;
			rounds_add(&bytes[k & 1][k >> 1], rate);
			rounds_add(&ratio[k & 1][k >> 1], rate / wire);
		}
	beside_close();
	bench_kill(pid);
	for (unsigned k = 0; k < 4 && !rc; k++) {
		snprintf(key, sizeof(key), "gpu.copy.%s%s", ways[k & 1], k >> 1 ? "_pageable" : "");
		result(key, &ratio[k & 1][k >> 1], "", k >> 1 ? -0.6 : -0.9);
		snprintf(key, sizeof(key), "gpu.copy.%s_%s_bytes", ways[k & 1], kinds[k >> 1]);
		result(key, &bytes[k & 1][k >> 1], "bytes/s", 0);
	}
	return rc;
}

/* Kernels are compiled in two steps, each when it pays: run until both are done. */
static int warm(struct work *w, const char *name, double ns)
{
	double t = 0, sum = 0;
	int rc = 0;

	do {
		rc = work_ask(w, &t, 1, "kernel %s 20", name);
		sum += t;
	} while (!rc && sum < ns);
	return rc;
}

static const char *const kernels[] = {"vadd", "reduce", "matmul", "softmax", "nbody"};

/* The same in OpenCL on PoCL, turn by turn on the same core. */
static int pocl(struct bench *b, struct work *local)
{
	struct work rival = {0};
	char key[64], path[600];
	int rc;

	snprintf(path, sizeof(path), "%s/tools/bench/gpu_pocl", b->build);
	if (access(path, X_OK) || access("/etc/OpenCL/vendors/pocl.icd", R_OK)) {
		result_text("gpu.cpu.pocl", "not installed (./atoll deps --bench)");
		return 0;
	}
	rc = work_start(b, &rival, "gpu_pocl", b->core[1], "", NULL);
	for (unsigned k = 0; k < 5 && !rc; k++) {
		struct rounds ratio = {0};
		double theirs, ours;

		rc = warm(&rival, kernels[k], WARM_NS / 10);
		for (unsigned r = 0; r < b->rounds && !rc; r++) {
			rc = work_ask(&rival, &theirs, 1, "kernel %s 10", kernels[k]);
			if (!rc)
				rc = work_ask(local, &ours, 1, "kernel %s 10", kernels[k]);
			if (!rc)
				rounds_add(&ratio, ours / theirs);
		}
		snprintf(key, sizeof(key), "gpu.cpu.jit_over_pocl.%s", kernels[k]);
		result(key, &ratio, "", 2);
	}
	work_end(&rival);
	return rc;
}

/* Compiled against interpreted, both in the process. */
static int executors(struct bench *b, struct work *local)
{
	struct work interpreter = {0};
	char key[64];
	int rc = work_start(b, &interpreter, "gpu_work_local", b->core[1], "interpreter", NULL);

	for (unsigned k = 0; k < (b->quick ? 1 : 5) && !rc; k++) {
		struct rounds ratio = {0};
		double slow, fast;

		rc = warm(local, kernels[k], b->quick ? 1 : WARM_NS);
		for (unsigned r = 0; r < (b->quick ? 1 : 3) && !rc; r++) {
			rc = work_ask(local, &fast, 1, "kernel %s 2", kernels[k]);
			if (!rc)
				rc = work_ask(&interpreter, &slow, 1, "kernel %s 1", kernels[k]);
			if (!rc)
				rounds_add(&ratio, 2 * slow / fast);
		}
		snprintf(key, sizeof(key), "gpu.cpu.interp_over_jit.%s", kernels[k]);
		result(key, &ratio, "", 0);
	}
	work_end(&interpreter);
	return rc;
}

static int modules(struct bench *b, struct work *remote)
{
	struct rounds r = {0};
	double ns;

	for (unsigned i = 0; i < b->rounds; i++) {
		int rc = work_ask(remote, &ns, 1, "module");

		if (rc)
			return rc;
		rounds_add(&r, ns / 1000);
	}
	result("gpu.module.again_us", &r, "us", 0);
	return 0;
}

int bench_gpu(struct bench *b)
{
	static const unsigned rtts[] = {5, 20, 100};
	struct overhead near[PROGRAMS] = {0};
	struct work local = {0}, remote = {0}, null = {0};
	bool shm = nodes_shm_works(b);
	char traces[] = "/tmp/atoll-bench-XXXXXX";
	struct nodes n;
	int rc = nodes_begin(b, &n, shm);

	n.heartbeat_ms = HEARTBEAT_MS;
	snprintf(services, sizeof(services), services_format, b->core[1], b->core[1]);
	if (!rc)
		rc = work_start(b, &local, "gpu_work_local", b->core[1], "cpu", NULL);
	if (!rc)
		rc = nodes_up(b, &n, shm, services);
	if (!rc)
		rc = remote_start(b, &remote, "b/gpu-exec", &n);
	if (!rc)
		rc = remote_start(b, &null, "b/gpu-null", &n);
	if (!rc)
		rc = trips(&remote);
	if (!rc)
		rc = launches(b, &n, &null);
	if (!rc)
		rc = overheads(b, &remote, &local, b->rounds, near);
	if (!rc)
		overheads_tell(near, "", 0.10, 0.05);
	if (!rc)
		rc = handles(b, &remote, &local);
	if (!rc)
		rc = modules(b, &remote);
	if (!rc)
		rc = copies(b, &n, &remote);
	work_end(&null);
	work_end(&remote);
	nodes_down(&n);
	for (unsigned i = b->quick ? 2 : 0; i < 3 && !rc; i++)
		rc = overheads_far(b, shm, &local, rtts[i], near);
	if (!rc)
		rc = executors(b, &local);
	if (!rc && !b->quick)
		rc = pocl(b, &local);
	work_end(&local);
	if (!rc && !mkdtemp(traces))
		rc = -errno;
	if (!rc) {
		rc = gpu_netreq(b, traces);
		rmdir(traces);
	}
	if (!rc)
		result_text("gpu.port", b->port);
	return rc;
}
