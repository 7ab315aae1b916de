/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atoll-dataplane: the process around the core. Started by svcctl with the descriptors of ipc/admin.h;
 * runs the polled loop on its first thread and the control side on a second one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/control.h"
#include "dataplane/mapped.h"
#include "ipc/admin.h"
#include "ipc/idle.h"
#include "ipc/sandbox.h"

static struct control *control;

static void on_signal(int sig)
{
	(void)sig;
	if (control)
		control_stop(control);
}

static void say(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

/* Sleep until a process, the network, the control side or a timer wants the loop. */
static void loop_sleep(struct dp *dp, int epoll, int most_ms)
{
	struct epoll_event ev[16];
	uint64_t now, timer;
	int ms;

	if (!dp_sleep_begin(dp))
		return;
	now = clock_now_ns();
	timer = dp_next_timer(dp);
	timer = timer > now ? timer - now : 0;
	ms = timer > (uint64_t)most_ms * 1000000u ? most_ms : (int)((timer + 999999) / 1000000u);
	/* wakes are edge-triggered: nobody's descriptor is ever read here */
	if (epoll_wait(epoll, ev, 16, ms) < 0 && errno != EINTR)
		control_stop(control);
	dp_sleep_end(dp);
}

/* @most_ms: longest sleep; short where the port has no descriptor that wakes. */
static void loop(struct dp *dp, struct control *c, struct idle *idle, int epoll, int most_ms)
{
	uint64_t count = 0, now = clock_now_ns();
	unsigned done = 0;

	while (!control_stopped(c)) {
		/* asking the clock costs as much as an empty turn: it may be four of those old, but not
		 * older than what others did meanwhile */
		if (now < idle->gave_ns)
			now = idle->gave_ns;
		else if (done || (count & 3) == 0)
			now = clock_now_ns();
		done = dp_poll(dp, now);
		if (control_wanted(c)) {
			control_run(c);
			idle->active_ns = now;
			done++;
		}
		if ((++count & 0xfff) == 0)
			dp_counters(dp);
		idle->expecting = !dp_quiet(dp);
		if (done && dp_used(dp))
			idle_active(idle, now, dp_delivered(dp));
		else if (done)
			idle_upkeep(idle, now);
		else if (idle_step(idle, now)) {
			dp_counters(dp);
			loop_sleep(dp, epoll, most_ms);
		}
	}
}

/* More than one polled process of this node on the dataplane's core, or fewer cores than pollers. */
static bool core_shared(const struct node_conf *nc)
{
	for (unsigned i = 0; i < nc->nservices; i++)
		if (nc->core >= 0 && nc->services[i].core == nc->core)
			return true;
	return idle_few_cores();
}

int main(int argc, char **argv)
{
	static struct node_conf nc;
	static struct dp_peer_conf peers[CONF_PEERS_MAX];
	struct conf_errors errors = {.say = say};
	const char *line = getenv(ADMIN_ENV_LIFELINE);
	struct control_conf cc = {.node = &nc,
				  .keeper = ADMIN_FD_KEEPER,
				  .admin = ADMIN_FD_ADMIN,
				  .lifeline = line ? atoi(line) : -1};
	struct port_conf pc = {0};
	struct dp_conf dc = {0};
	struct port *port = NULL;
	struct sigaction sa = {.sa_handler = on_signal};
	struct timespec real;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct idle idle;
	struct dp *dp;
	char path[160], err[256] = "";
	int rc, epoll;

	setvbuf(stderr, NULL, _IOLBF, 0);
	if (argc == 2 && strcmp(argv[1], "--drivers") == 0) {
		for (const struct port_ops *const *d = port_drivers; *d; d++)
			printf("%s\n", (*d)->name);
		return 0;
	}
	if (conf_read_fd(ADMIN_FD_CONF, argc > 1 ? argv[1] : "configuration", NULL, &nc, &errors))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	if (mapped_init())
		return 1;
	snprintf(path, sizeof(path), "%s/%s", nc.run_dir, ADMIN_SOCKET_NAME);
	cc.socket = path;
	cc.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cc.epoll = epoll = epoll_create1(EPOLL_CLOEXEC);
	if (cc.wake < 0 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, cc.wake, &ev)) {
		fprintf(stderr, "dataplane: no event descriptors: %s\n", strerror(errno));
		return 1;
	}
	if (nc.port[0]) {
		pc.address = nc.address;
		pc.udp_port = (uint16_t)nc.udp_port;
		pc.buffers = nc.buffers;
		pc.mtu = nc.mtu_bytes;
		rc = port_open(&port, nc.port, &pc, err, sizeof(err));
		if (!rc)
			rc = port->ops->start(port);
		if (rc) {
			fprintf(stderr, "dataplane: port %s: %s\n", nc.port, err[0] ? err : strerror(-rc));
			return 1;
		}
		ev.events = EPOLLIN; /* the port empties its own */
		if (port->ops->wait_fd(port) >= 0)
			epoll_ctl(epoll, EPOLL_CTL_ADD, port->ops->wait_fd(port), &ev);
	}
	cc.port = port;
	rc = control_new(&control, &cc);
	if (rc)
		return 1;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	dc.node = (uint8_t)nc.id;
	memcpy(dc.name, nc.name, sizeof(dc.name));
	dc.address = nc.address;
	dc.udp_port = (uint16_t)nc.udp_port;
	dc.heartbeat_ms = nc.heartbeat_ms;
	if (getrandom(&dc.seed, sizeof(dc.seed), 0) != sizeof(dc.seed))
		dc.seed = clock_now_ns() ^ (uint64_t)getpid() << 40;
	/* the real-time clock, because the monotonic one starts anew with the machine */
	clock_gettime(CLOCK_REALTIME, &real);
	dc.epoch = (uint32_t)((uint64_t)real.tv_sec * 1000 + (uint64_t)real.tv_nsec / 1000000u);
	for (unsigned i = 0; i < nc.npeers; i++) {
		peers[i].node = (uint8_t)nc.peers[i].id;
		memcpy(peers[i].name, nc.peers[i].name, sizeof(peers[i].name));
		peers[i].address = nc.peers[i].address;
	}
	dc.peers = peers;
	dc.npeers = nc.npeers;
	control_callbacks(control, &dc);
	dp = dp_new(&dc, port, clock_now_ns());
	rc = dp ? control_start(control, dp) : -ENOMEM;
	if (rc) {
		fprintf(stderr, "dataplane: %s\n", strerror(-rc));
		return 1;
	}
	idle_init(&idle, nc.idle, core_shared(&nc));
	if (sandbox_enter("dataplane"))
		return 1;
	fprintf(stderr, "dataplane: node %s (%u) runs, incarnation %016llx, port %s\n", nc.name, nc.id,
		(unsigned long long)dp_incarnation(dp), port ? nc.port : "none");
	loop(dp, control, &idle, epoll, port && port->ops->wait_fd(port) < 0 ? 1 : 100);
	control_end(control); /* its thread looks at the core and at the port */
	dp_delete(dp);
	if (port)
		port->ops->close(port);
	control_delete(control);
	fprintf(stderr, "dataplane: node %s has ended\n", nc.name);
	return 0;
}
