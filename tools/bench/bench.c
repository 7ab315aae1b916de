/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll-bench - what the layers reach, each against a raw probe of the machine's own limit.
 */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/bench.h"

double bench_tick_ns = 1;

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

bool bench_part(const struct bench *b, const char *name)
{
	return !b->part || !strcmp(b->part, name);
}

void bench_begin(struct bench *b)
{
	struct timespec pause = {.tv_nsec = 50000000};
	uint64_t ns, ticks;
	cpu_set_t set;
	unsigned n = 0;

	b->core[0] = b->core[1] = -1;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
			if (CPU_ISSET((size_t)i, &set))
				b->core[n++] = i;
	if (n == 1)
		b->core[1] = b->core[0];
	b->rounds = b->quick ? BENCH_ROUNDS_QUICK : BENCH_ROUNDS;
	/* other programs of the machine are not what is measured; not allowed is fine, too */
	setpriority(PRIO_PROCESS, 0, -10);
	ns = clock_now_ns();
	ticks = bench_ticks();
	nanosleep(&pause, NULL);
	ns = clock_now_ns() - ns;
	ticks = bench_ticks() - ticks;
	bench_tick_ns = (double)ns / (double)ticks;
}

struct latency bench_latency(uint32_t *ticks, size_t n)
{
	struct latency l = {0};

	if (!n)
		return l;
	qsort(ticks, n, sizeof(*ticks), by_value);
	l.p50 = ticks[n / 2] * bench_tick_ns;
	l.p99 = ticks[n * 99 / 100] * bench_tick_ns;
	l.p999 = ticks[n * 999 / 1000] * bench_tick_ns;
	return l;
}

void rounds_add(struct rounds *r, double v)
{
	if (r->n < BENCH_ROUNDS)
		r->v[r->n++] = v;
}

double rounds_median(const struct rounds *r)
{
	struct rounds s = *r;

	if (!s.n)
		return 0;
	qsort(s.v, s.n, sizeof(s.v[0]), by_double);
	return s.v[s.n / 2];
}

void latency_add(struct latency_rounds *r, struct latency l)
{
	rounds_add(&r->p50, l.p50);
	rounds_add(&r->p99, l.p99);
	rounds_add(&r->p999, l.p999);
}

/* ---------------------------------------------------------------- processes */

void bench_pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "atoll-bench: not pinned to core %d: %s\n", core, strerror(errno));
}

void *bench_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
		       -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "atoll-bench: %zu bytes of shared memory: %s\n", size, strerror(errno));
		exit(1);
	}
	return p;
}

pid_t bench_fork(int core, void (*f)(void *), void *arg)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		fprintf(stderr, "atoll-bench: fork: %s\n", strerror(errno));
		exit(1);
	}
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	bench_pin(core);
	f(arg);
	_exit(0);
}

void bench_kill(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int bench_wait(const uint32_t *flag)
{
	uint64_t end = clock_now_ns() + 10000000000ull;

	while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
		if (clock_now_ns() > end)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

/* ---------------------------------------------------------------- main */

static const struct {
	const char *name;
	int (*run)(struct bench *b);
} benches[] = {
	{"ipc", bench_ipc},
	{"wire", bench_wire},
	{"index", bench_index},
#ifdef ATOLL_HAVE_INDEX
	{"repair", bench_repair},
#endif
#ifdef ATOLL_HAVE_GPU
	{"gpu", bench_gpu},
#endif
#ifdef ATOLL_HAVE_FORK
	{"fork", bench_fork_remote},
#endif
	{"ops", bench_ops},
	{"rivals", bench_rivals},
};

/* Parts that can be run alone: a list with commas round each. */
static bool part_known(const char *name, const char *part)
{
	static const char parts[] = ",get,tree,death,ycsb,clients,dtx,scaling,redis,";
	char one[32];

	if (strcmp(name, "index") != 0 || strchr(part, ',') || strlen(part) > sizeof(one) - 3)
		return false;
	snprintf(one, sizeof(one), ",%s,", part);
	return strstr(parts, one);
}

static void usage(FILE *to)
{
	fputs("usage: atoll-bench ipc|wire|index|repair|gpu|fork|ops|rivals [--json] [--quick] [--part NAME] [--build DIR]\n"
	      "\n"
	      "  ipc      rings and routing inside a node\n"
	      "  wire     messages and verbs between two nodes\n"
	      "  index    the remote index\n"
	      "  repair   what a dead client leaves in it: how soon it is repaired\n"
	      "  gpu      CUDA calls on a device of the other node\n"
	      "  fork     a process forked onto the other node\n"
	      "  ops      start, restart and idle cost of a whole node\n"
	      "  rivals   other programs beside this one; those that are installed\n"
	      "\n"
	      "  --json   one JSON object instead of a table\n"
	      "  --quick  fewer rounds, shorter: to see that it works, not to quote\n"
	      "  --part   of index, one of: get, tree, death, ycsb, clients, redis, dtx, scaling\n"
	      "  --build  where the programs of the nodes are (that of this program)\n"
	      "\n"
	      "Figures are medians of 7 rounds, with their spread. Everything runs pinned, on the first two cores\n"
	      "that this process may use; whatever else runs there is part of what is measured.\n",
	      to);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"quick", no_argument, NULL, 'q'},
						{"part", required_argument, NULL, 'p'},
						{"build", required_argument, NULL, 'b'},
						{"help", no_argument, NULL, 'h'},
						{0}};
	struct bench b = {0};
	char self[512];
	ssize_t n;
	int c, rc;

	/* a benchmark that is killed takes its nodes with it */
	snprintf(self, sizeof(self), "%d", getpid());
	setenv("SVCCTL_WHILE_PID", self, 1);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'j':
			b.json = true;
			break;
		case 'q':
			b.quick = true;
			break;
		case 'p':
			b.part = optarg;
			break;
		case 'b':
			b.build = optarg;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	if (optind + 1 != argc) {
		usage(stderr);
		return 2;
	}
	/* BUILD/tools/bench/atoll-bench */
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0 && !b.build) {
		self[n] = 0;
		b.build = dirname(dirname(dirname(self)));
	}
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		if (strcmp(benches[i].name, argv[optind]) != 0)
			continue;
		if (b.part && !part_known(benches[i].name, b.part)) {
			fprintf(stderr, "atoll-bench: %s has no part %s to be run alone\n", benches[i].name, b.part);
			return 2;
		}
		bench_begin(&b);
		rc = benches[i].run(&b);
		if (rc) {
			fprintf(stderr, "atoll-bench: %s did not finish: %s\n", argv[optind],
				strerror(-rc));
			return 1;
		}
		results_print(&b);
		return 0;
	}
	fprintf(stderr, "atoll-bench: there is no benchmark %s; there are ipc, wire, index, repair, gpu, fork, ops and rivals\n",
		argv[optind]);
	return 2;
}
