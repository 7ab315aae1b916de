/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_dpdk.c - the physical limit of the shared-memory link: bare DPDK loops on the device that the
 * port shm: uses, started the same way, and nothing of Atoll's packet path.
 *
 * Two processes, one a core. The parent (side a, or b with --swap) plays ping-pong with the child,
 * one frame at a time, then with WINDOW of them under way, and then sends frames as fast as they are
 * taken; the child sends pings back, counts the stream, and says on request how many came in how long. Frames: Ethernet with a local
 * experimental type, then one byte that says which of these it is.
 */
#include <errno.h>
#include <getopt.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dataplane/ports/dpdk_eal.h"

enum kind {
	PING = 1,
	STREAM,
	QUERY,
	ANSWER
};

enum {
	BURST = 32,
	WINDOW = 32, /* as many READs as a lane has under way in the benchmark */
	KIND_AT = 14,
	COUNT_AT = 16, /* of ANSWER: frames, then nanoseconds */
	FRAME_MIN = 60,
	FRAME_MAX = 4378, /* MTU 4352, Ethernet, a VLAN tag or two */
	POOL = 4095,
	NS_MAX = 1 << 20, /* histogram of nanoseconds, the last for all above */
	WAIT_S = 10,
};

struct link {
	uint16_t id;
	struct rte_mempool *pool;
	double ns; /* a tick of the time stamp counter */
};

struct result {
	uint64_t p50, p99, p999, count, lost;
	double packets, bytes; /* a second, as received */
	double window;	       /* round trips a second with WINDOW under way */
};

static const uint8_t header[KIND_AT] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
					0,    0,    0,    0,    1,    0x88, 0xb5};

static int link_open(struct link *l, enum dpdk_shm_side side, const char *path, enum dpdk_huge huge)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)(1 + side)};
	struct dpdk_eal_conf eal = {.huge = huge};
	struct rte_eth_conf conf = {.rxmode.mtu = 4352};
	char name[32], args[256], err[256] = "";
	int rc = dpdk_eal_start(&eal, err, sizeof(err));

	if (rc) {
		fprintf(stderr, "raw_dpdk: %s\n", err);
		return rc;
	}
	l->ns = 1e9 / (double)rte_get_tsc_hz();
	l->pool = rte_pktmbuf_pool_create("raw", POOL, 256, 0, RTE_PKTMBUF_HEADROOM + 4416,
					  (int)rte_socket_id());
	rc = l->pool ? dpdk_shm_vdev(side, path, mac, name, sizeof(name), args, sizeof(args))
		     : -ENOMEM;
	if (!rc)
		rc = rte_eal_hotplug_add("vdev", name, args);
	if (!rc)
		rc = rte_eth_dev_get_port_by_name(name, &l->id);
	conf.intr_conf.lsc = 1;
	if (!rc)
		rc = rte_eth_dev_configure(l->id, 1, 1, &conf);
	if (!rc)
		rc = rte_eth_rx_queue_setup(l->id, 0, 256, rte_socket_id(), NULL, l->pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(l->id, 0, 256, rte_socket_id(), NULL);
	if (!rc)
		rc = rte_eth_dev_start(l->id);
	if (rc)
		fprintf(stderr, "raw_dpdk: no link over %s: %d\n", path, rc);
	return rc;
}

static uint8_t *frame(struct rte_mbuf *m, uint8_t kind, uint32_t size)
{
	uint8_t *data = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)size);

	memcpy(data, header, sizeof(header));
	data[KIND_AT] = kind;
	return data;
}

static void send_all(struct link *l, struct rte_mbuf **m, uint16_t n)
{
	uint16_t sent = rte_eth_tx_burst(l->id, 0, m, n);

	if (sent < n)
		rte_pktmbuf_free_bulk(m + sent, n - sent);
}

/* The child: for ever. */
static void reflect(struct link *l)
{
	uint64_t count = 0, first = 0, last = 0;

	for (;;) {
		struct rte_mbuf *in[BURST], *out[BURST];
		uint16_t n = rte_eth_rx_burst(l->id, 0, in, BURST), back = 0;
		uint64_t now = n ? rte_rdtsc() : 0;

		for (uint16_t i = 0; i < n; i++) {
			uint8_t *data = rte_pktmbuf_mtod(in[i], uint8_t *);
			double ns = (double)(last - first) * l->ns;

			if (data[KIND_AT] == PING) {
				out[back++] = in[i];
				continue;
			}
			if (data[KIND_AT] == QUERY) {
				data[KIND_AT] = ANSWER;
				memcpy(data + COUNT_AT, &count, 8);
				memcpy(data + COUNT_AT + 8, &ns, 8);
				out[back++] = in[i];
				continue;
			}
			first = count++ ? first : now;
			last = now;
			rte_pktmbuf_free(in[i]);
		}
		if (back)
			send_all(l, out, back);
	}
}

/* One frame there and back. Return: ticks, or 0 when none came. @data gets COUNT_AT onwards. */
static uint64_t exchange(struct link *l, uint8_t kind, uint32_t size, uint64_t limit,
			 uint8_t data[16])
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->pool), *in[BURST];
	uint8_t want = kind == PING ? PING : ANSWER;
	uint64_t start, now, took = 0;

	if (!m)
		return 0;
	frame(m, kind, size);
	start = rte_rdtsc();
	send_all(l, &m, 1);
	do {
		uint16_t n = rte_eth_rx_burst(l->id, 0, in, BURST);

		now = rte_rdtsc();
		for (uint16_t i = 0; i < n; i++) {
			const uint8_t *got = rte_pktmbuf_mtod(in[i], uint8_t *);

			if (got[KIND_AT] == want) {
				took = now - start;
				if (data)
					memcpy(data, got + COUNT_AT, 16);
			}
			rte_pktmbuf_free(in[i]);
		}
	} while (!took && now - start < limit);
	return took;
}

/* Round trips a second. What is lost is given up after a hundredth of a second. */
static double windowed(struct link *l, uint32_t size, double seconds)
{
	uint64_t hz = rte_get_tsc_hz(), start = rte_rdtsc(), now = start, heard = start, count = 0;
	uint64_t end = start + (uint64_t)(seconds * (double)hz);
	unsigned flying = 0;

	for (; now < end; now = rte_rdtsc()) {
		struct rte_mbuf *m[BURST];
		uint16_t want = (uint16_t)(WINDOW - flying), n;

		if (want && !rte_pktmbuf_alloc_bulk(l->pool, m, want)) {
			for (uint16_t i = 0; i < want; i++)
				frame(m[i], PING, size);
			send_all(l, m, want);
			flying += want;
		}
		n = rte_eth_rx_burst(l->id, 0, m, BURST);
		for (uint16_t i = 0; i < n; i++) {
			if (rte_pktmbuf_mtod(m[i], uint8_t *)[KIND_AT] == PING && flying) {
				flying--;
				count++;
			}
			rte_pktmbuf_free(m[i]);
		}
		if (n)
			heard = now;
		else if (now - heard > hz / 100)
			flying = 0;
	}
	return (double)count * (double)hz / (double)(now - start);
}

static uint64_t share(const uint32_t *histogram, uint64_t count, double part)
{
	uint64_t seen = 0;

	for (uint32_t ns = 0; ns < NS_MAX; ns++) {
		seen += histogram[ns];
		if ((double)seen >= part * (double)count)
			return ns;
	}
	return NS_MAX;
}

static int measure(struct link *l, uint32_t size, double seconds, struct result *r)
{
	uint32_t *histogram = calloc(NS_MAX + 1, sizeof(*histogram));
	uint64_t hz = rte_get_tsc_hz(), end, took, count;
	uint8_t answer[16];
	double ns;

	if (!histogram)
		return -ENOMEM;
	/* the child may not be there yet; then warm up */
	end = rte_rdtsc() + WAIT_S * hz;
	for (int good = 0; good < 20000;) {
		good += exchange(l, PING, size, hz / 100, NULL) != 0;
		if (rte_rdtsc() > end) {
			free(histogram);
			return -ETIMEDOUT;
		}
	}
	end = rte_rdtsc() + (uint64_t)(seconds * (double)hz);
	while (rte_rdtsc() < end) {
		took = exchange(l, PING, size, hz / 100, NULL);
		if (took) {
			ns = (double)took * l->ns;
			histogram[ns < NS_MAX ? (uint32_t)ns : NS_MAX]++;
			r->count++;
		} else {
			r->lost++;
		}
	}
	r->p50 = share(histogram, r->count, 0.5);
	r->p99 = share(histogram, r->count, 0.99);
	r->p999 = share(histogram, r->count, 0.999);
	free(histogram);

	r->window = windowed(l, size, seconds);
	usleep(1000); /* the last come back to nobody */
	end = rte_rdtsc() + (uint64_t)(seconds * (double)hz);
	while (rte_rdtsc() < end) {
		struct rte_mbuf *m[BURST];
		uint16_t sent = 0;

		if (rte_pktmbuf_alloc_bulk(l->pool, m, BURST))
			continue;
		for (int i = 0; i < BURST; i++)
			frame(m[i], STREAM, size);
		while (sent < BURST && rte_rdtsc() < end + hz)
			sent = (uint16_t)(sent + rte_eth_tx_burst(l->id, 0, m + sent,
								  (uint16_t)(BURST - sent)));
		if (sent < BURST)
			rte_pktmbuf_free_bulk(m + sent, (unsigned)BURST - sent);
	}
	for (int tries = 0; tries < 100; tries++) {
		usleep(1000); /* let it take what is under way */
		if (!exchange(l, QUERY, FRAME_MIN, hz / 10, answer))
			continue;
		memcpy(&count, answer, 8);
		memcpy(&ns, answer + 8, 8);
		if (ns > 0) {
			r->packets = (double)count / ns * 1e9;
			r->bytes = r->packets * size;
		}
		return 0;
	}
	return -ETIMEDOUT;
}

static void print(const struct result *r, uint32_t size, const int cores[2], bool swap, bool json)
{
	if (json)
		printf("{\"raw_dpdk\": {\"frame_bytes\": %u, \"rtt_ns\": {\"p50\": %llu, \"p99\": "
		       "%llu, "
		       "\"p99_9\": %llu}, \"round_trips\": %llu, \"lost\": %llu, "
		       "\"window_per_s\": %.0f, \"packets_per_s\": %.0f, "
		       "\"bytes_per_s\": %.0f, \"hugepages\": %s, \"sender\": \"%s\", \"cores\": "
		       "[%d, %d]}}\n",
		       size, (unsigned long long)r->p50, (unsigned long long)r->p99,
		       (unsigned long long)r->p999, (unsigned long long)r->count,
		       (unsigned long long)r->lost, r->window, r->packets, r->bytes,
		       dpdk_eal_huge() ? "true" : "false", swap ? "b" : "a", cores[0], cores[1]);
	else
		printf("frames of %u bytes, side %s (core %d) to side %s (core %d), %s\n"
		       "  round trip  p50 %llu ns, p99 %llu ns, p99.9 %llu ns (%llu, %llu lost)\n"
		       "  %d at once  %.2f M round trips/s\n"
		       "  one way     %.2f M packets/s, %.2f GB/s\n",
		       size, swap ? "b" : "a", cores[0], swap ? "a" : "b", cores[1],
		       dpdk_eal_huge() ? "hugepages" : "no hugepages", (unsigned long long)r->p50,
		       (unsigned long long)r->p99, (unsigned long long)r->p999,
		       (unsigned long long)r->count, (unsigned long long)r->lost, WINDOW,
		       r->window / 1e6, r->packets / 1e6,
		       r->bytes / 1e9);
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "raw_dpdk: not pinned to core %d: %s\n", core, strerror(errno));
}

static char made[64]; /* the socket; its directory */

static void clean(void)
{
	unlink(made);
	*strrchr(made, '/') = 0;
	rmdir(made);
}

/* Side a waits for its peer inside DPDK, for as long as there is none. */
static void on_alarm(int sig)
{
	static const char text[] = "raw_dpdk: the other side of the link does not come\n";

	(void)sig;
	(void)!write(2, text, sizeof(text) - 1);
	clean();
	_exit(1);
}

static void help(void)
{
	puts("raw_dpdk - ping-pong and one-way rate of the shared-memory link, by bare DPDK\n"
	     "\n"
	     "  --size BYTES     of a frame (64; 60 to 4378)\n"
	     "  --seconds S      of each of the three measurements (1)\n"
	     "  --cores A,B      of the sender and the receiver (0,1)\n"
	     "  --huge WHEN      auto, on or off: memory from hugepages (auto)\n"
	     "  --swap           the sender is side b (vhost), not a (virtio-user)\n"
	     "  --json           one JSON object\n"
	     "  --help");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"size", required_argument, NULL, 's'},  {"seconds", required_argument, NULL, 't'},
		{"cores", required_argument, NULL, 'c'}, {"huge", required_argument, NULL, 'g'},
		{"swap", no_argument, NULL, 'w'},        {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},        {0},
	};
	char dir[] = "/tmp/atoll-raw-XXXXXX";
	enum dpdk_huge huge = DPDK_HUGE_AUTO;
	bool swap = false, json = false;
	int cores[2] = {0, 1}, c, rc;
	struct result r = {0};
	double seconds = 1;
	uint32_t size = 64;
	struct link l;
	pid_t child;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			size = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 't':
			seconds = strtod(optarg, NULL);
			break;
		case 'c':
			if (sscanf(optarg, "%d,%d", &cores[0], &cores[1]) != 2)
				cores[0] = -1;
			break;
		case 'g':
			huge = !strcmp(optarg, "on")    ? DPDK_HUGE_ON
			       : !strcmp(optarg, "off") ? DPDK_HUGE_OFF
							: DPDK_HUGE_AUTO;
			break;
		case 'w':
			swap = true;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			help();
			return 0;
		default:
			return 2;
		}
	}
	if (size < FRAME_MIN || size > FRAME_MAX || seconds <= 0 || seconds > 600 || cores[0] < 0 ||
	    cores[1] < 0 || cores[0] >= CPU_SETSIZE || cores[1] >= CPU_SETSIZE) {
		fprintf(stderr, "raw_dpdk: a value is out of range: see --help\n");
		return 2;
	}
	if (!mkdtemp(dir)) {
		fprintf(stderr, "raw_dpdk: no directory %s: %s\n", dir, strerror(errno));
		return 1;
	}
	snprintf(made, sizeof(made), "%s/link.sock", dir);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(cores[1]);
		if (link_open(&l, swap ? DPDK_SHM_A : DPDK_SHM_B, made, huge))
			_exit(1);
		reflect(&l);
	}
	signal(SIGALRM, on_alarm);
	alarm((unsigned)(2 * WAIT_S + 3 * seconds));
	pin(cores[0]);
	rc = link_open(&l, swap ? DPDK_SHM_B : DPDK_SHM_A, made, huge);
	if (!rc)
		rc = measure(&l, size, seconds, &r);
	if (!rc)
		print(&r, size, cores, swap, json);
	else
		fprintf(stderr, "raw_dpdk: %s\n", strerror(-rc));
	fflush(stdout);
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	clean();
	_exit(rc ? 1 : 0); /* the device's peer is gone: nothing of it needs ending */
}
