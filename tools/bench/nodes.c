/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/nodes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/port.h"
#include "ipc/sock.h"

enum { UP_MS = 15000, DOWN_MS = 3000, UDP_SAMPLES = 4000, UDP_PORT = 47910 };

static struct nodes *running; /* for the way out */

static void on_exit_clean(void)
{
	if (running)
		nodes_down(running);
}

static void on_signal(int sig)
{
	/* the supervisors end with this process, and everything of theirs with them */
	if (running)
		nodes_down(running);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void pause_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

int nodes_begin(struct bench *b, struct nodes *n, bool shm)
{
	static bool registered;

	memset(n, 0, sizeof(*n));
	strcpy(n->dir, "/tmp/atoll-bench-XXXXXX");
	if (!mkdtemp(n->dir) || chmod(n->dir, 0755)) {
		fprintf(stderr, "atoll-bench: no directory %s: %s\n", n->dir, strerror(errno));
		return -errno;
	}
	running = n;
	if (!registered) {
		registered = true;
		atexit(on_exit_clean);
		signal(SIGINT, on_signal);
		signal(SIGTERM, on_signal);
		signal(SIGHUP, on_signal);
	}
	b->port = shm ? "shm (DPDK, virtio-user to vhost-user)" : "uring (kernel UDP over loopback)";
	return 0;
}

void nodes_port(const struct nodes *n, bool shm, int side, char *out, size_t len)
{
	const char *fault = n->fault ? n->fault : "";

	if (shm)
		snprintf(out, len, "%sshm:%s/link.sock,side=%c", fault, n->dir, 'a' + side);
	else
		snprintf(out, len, "%suring:", fault);
}

static int conf_write(struct bench *b, struct nodes *n, bool shm, int i, const char *services)
{
	char path[96], port[192], dir[sizeof(n->dir)];
	FILE *f;

	memcpy(dir, n->dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/%c", n->dir, 'a' + i);
	if (mkdir(path, 0755))
		return -errno;
	snprintf(n->socket[i], sizeof(n->socket[i]), "%s/%c/dataplane.sock", dir, 'a' + i);
	snprintf(path, sizeof(path), "%s/%c/node.conf", n->dir, 'a' + i);
	f = fopen(path, "wxe");
	if (!f)
		return -errno;
	nodes_port(n, shm, i, port, sizeof(port));
	fprintf(f, "[node]\nname = %c\nid = %d\nrun_dir = %s/%c\nheartbeat_ms = %d\ncore = %d\n", 'a' + i,
		i + 1, n->dir, 'a' + i, n->heartbeat_ms ? n->heartbeat_ms : NODES_HEARTBEAT_MS, b->core[i]);
	fprintf(f, "\n[port]\nport = %s\naddress = 127.0.0.%d\nudp_port = %d\n", port, i + 2, UDP_PORT);
	fprintf(f, "\n[peer %c]\nid = %d\naddress = 127.0.0.%d\n", 'b' - i, 2 - i, 3 - i);
	fprintf(f, "%s", i == 1 ? services : n->services_a ? n->services_a : "");
	return fclose(f) ? -EIO : 0;
}

static pid_t svcctl_start(struct bench *b, struct nodes *n, int i)
{
	char program[600], conf[96], log[96];
	pid_t parent = getpid(), pid;

	snprintf(program, sizeof(program), "%s/tools/svcctl/svcctl", b->build);
	snprintf(conf, sizeof(conf), "%s/%c/node.conf", n->dir, 'a' + i);
	snprintf(log, sizeof(log), "%s/%c.log", n->dir, 'a' + i);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* and the node ends with its supervisor */
	if (getppid() != parent || !freopen(log, "w", stdout) || dup2(1, 2) < 0)
		_exit(1);
	setpgid(0, 0);
	execl(program, program, "up", conf, (char *)NULL);
	fprintf(stderr, "%s: %s\n", program, strerror(errno));
	_exit(1);
}

static void log_show(const struct nodes *n, int i)
{
	char path[96], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%c.log", n->dir, 'a' + i);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "  node %c: %s", 'a' + i, line);
	if (f)
		fclose(f);
}

int nodes_up(struct bench *b, struct nodes *n, bool shm, const char *services)
{
	int rc = 0;

	for (int i = 0; i < 2 && !rc; i++)
		rc = conf_write(b, n, shm, i, services);
	for (int i = 0; i < 2 && !rc; i++)
		n->supervisor[i] = svcctl_start(b, n, i);
	for (int i = 0; i < 2 && !rc; i++) {
		uint64_t end = clock_now_ns() + UP_MS * 1000000ull;
		int fd;

		while ((fd = sock_connect(n->socket[i])) < 0 && !rc) {
			if (waitpid(n->supervisor[i], NULL, WNOHANG) == n->supervisor[i]) {
				n->supervisor[i] = 0;
				rc = -ECHILD;
			} else if (clock_now_ns() > end) {
				rc = -ETIMEDOUT;
			}
			pause_ms(10);
		}
		if (fd >= 0)
			close(fd);
		if (rc) {
			fprintf(stderr, "atoll-bench: node %c does not come up\n", 'a' + i);
			log_show(n, i);
		}
	}
	return rc;
}

int nodes_status(struct bench *b, const struct nodes *n, int side, char *text, size_t size)
{
	char command[800];
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command), "'%s/tools/svcctl/svcctl' status --json '%s/%c/node.conf'",
		 b->build, n->dir, 'a' + side);
	f = popen(command, "re");
	if (!f)
		return -errno;
	len = fread(text, 1, size - 1, f);
	text[len] = 0;
	pclose(f); /* it tells by its status whether the node is well: that is in the text */
	return len ? 0 : -EIO;
}

pid_t nodes_pid(struct bench *b, const struct nodes *n, int side, const char *process)
{
	char text[16384], name[80];
	const char *at, *pid;

	if (nodes_status(b, n, side, text, sizeof(text)))
		return 0;
	snprintf(name, sizeof(name), "\"%s\"", process);
	at = strstr(text, name);
	pid = at ? strstr(at, "\"pid\"") : NULL;
	return pid ? (pid_t)strtol(pid + 5 + strspn(pid + 5, ": "), NULL, 10) : 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void nodes_stop(struct nodes *n)
{
	for (int i = 0; i < 2; i++)
		if (n->supervisor[i] > 0)
			kill(n->supervisor[i], SIGTERM);
	for (int i = 0; i < 2; i++) {
		uint64_t end = clock_now_ns() + DOWN_MS * 1000000ull;

		if (n->supervisor[i] <= 0)
			continue;
		while (waitpid(n->supervisor[i], NULL, WNOHANG) == 0 && clock_now_ns() < end)
			pause_ms(5);
		if (clock_now_ns() >= end) {
			kill(n->supervisor[i], SIGKILL);
			waitpid(n->supervisor[i], NULL, 0);
		}
		n->supervisor[i] = 0;
	}
}

void nodes_down(struct nodes *n)
{
	if (running == n)
		running = NULL;
	nodes_stop(n);
	if (n->dir[0])
		nftw(n->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	n->dir[0] = 0;
}

/* ---------------------------------------------------------------- raw probes */

static bool field(const char *text, const char *name, double *out)
{
	const char *at = strstr(text, name);

	if (!at)
		return false;
	*out = strtod(at + strlen(name) + strspn(at + strlen(name), "\": "), NULL);
	return true;
}

static int raw_dpdk_text(struct bench *b, double seconds, unsigned size, char *text, size_t room)
{
	char command[800];
	size_t len;
	FILE *f;

	snprintf(command, sizeof(command),
		 "'%s/tools/bench/raw_dpdk' --json --size %u --seconds %.2f --cores %d,%d 2>/dev/null", b->build,
		 size, seconds, b->core[0], b->core[1]);
	f = popen(command, "re");
	if (!f)
		return -errno;
	len = fread(text, 1, room - 1, f);
	text[len] = 0;
	return pclose(f) ? -ENODEV : 0;
}

static int raw_dpdk(struct bench *b, double seconds, struct latency *out)
{
	char text[2048];
	int rc = raw_dpdk_text(b, seconds, 64, text, sizeof(text));

	if (rc || !field(text, "\"p50\"", &out->p50) || !field(text, "\"p99\"", &out->p99) ||
	    !field(text, "\"p99_9\"", &out->p999))
		return -ENODEV;
	return 0;
}

int nodes_raw_limit(struct bench *b, struct nodes_limit *out)
{
	enum { HEADERS = 14 + 20 + 8 + 12, AETH = 4, ICRC = 4 };
	double seconds = b->quick ? 0.05 : 0.1, packets = 0;
	char text[2048];
	int rc = raw_dpdk_text(b, seconds, HEADERS + 64 + ICRC, text, sizeof(text));

	if (!rc && !field(text, "\"p50\"", &out->ping_ns))
		rc = -ENODEV;
	if (!rc)
		rc = raw_dpdk_text(b, seconds, HEADERS + AETH + 64 + ICRC, text, sizeof(text));
	if (!rc && !field(text, "\"window_per_s\"", &out->window))
		rc = -ENODEV;
	if (!rc)
		rc = raw_dpdk_text(b, seconds, HEADERS + AETH + 4096 + ICRC, text, sizeof(text));
	if (!rc && !field(text, "\"packets_per_s\"", &packets))
		rc = -ENODEV;
	out->bytes = packets * 4096;
	return rc;
}

static int udp_open(unsigned side)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(UDP_PORT + 1)}, there;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	there = here;
	here.sin_addr.s_addr = htonl(0x7f000002 + side);
	there.sin_addr.s_addr = htonl(0x7f000003 - side);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&here, sizeof(here)) ||
			connect(fd, (struct sockaddr *)&there, sizeof(there)))) {
		close(fd);
		return -errno;
	}
	return fd < 0 ? -errno : fd;
}

static void udp_child(void *arg)
{
	char m[64];
	int fd = udp_open(1);

	__atomic_store_n((uint32_t *)arg, 1, __ATOMIC_RELEASE);
	while (fd >= 0)
		if (recv(fd, m, sizeof(m), 0) == sizeof(m))
			(void)!send(fd, m, sizeof(m), 0);
}

static int raw_udp(struct bench *b, struct latency *out)
{
	static uint32_t samples[UDP_SAMPLES];
	uint32_t *ready = bench_shared(4096);
	pid_t child = bench_fork(b->core[1], udp_child, ready);
	char m[64] = {0};
	int fd = udp_open(0), rc = fd < 0 ? fd : bench_wait(ready);

	for (unsigned i = 0; i < UDP_SAMPLES && !rc; i++) {
		uint64_t t = bench_ticks(), end = clock_now_ns() + 1000000000u;

		if (send(fd, m, sizeof(m), 0) != sizeof(m))
			rc = -errno;
		while (!rc && recv(fd, m, sizeof(m), 0) != sizeof(m))
			if (clock_now_ns() > end)
				rc = -ETIMEDOUT;
		samples[i] = (uint32_t)(bench_ticks() - t);
	}
	if (fd >= 0)
		close(fd);
	bench_kill(child);
	*out = bench_latency(samples, UDP_SAMPLES);
	return rc;
}

int nodes_raw(struct bench *b, bool shm, struct latency *out)
{
	return shm ? raw_dpdk(b, b->quick ? 0.1 : 0.3, out) : raw_udp(b, out);
}

bool nodes_shm_works(struct bench *b)
{
	struct latency l;

	for (const struct port_ops *const *d = port_drivers; *d; d++)
		if (!strcmp((*d)->name, "shm"))
			return raw_dpdk(b, 0.05, &l) == 0;
	return false;
}
