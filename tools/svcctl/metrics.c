/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/metrics.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/idle.h"
#include "tools/svcctl/snapshot.h"

enum {
	REQUEST_MAX = 4096,
	PATIENCE_MS = 2000, /* for the whole of a request, and of an answer: others wait meanwhile */
	NAME_MAX_HERE = 96,
};

/* ---------------------------------------------------------------- the text */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

/* Is @word among those of @name, which are parted by underlines? */
static bool has_word(const char *name, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = name; (at = strstr(at, word)); at++)
		if ((at == name || at[-1] == '_') && (at[n] == 0 || at[n] == '_'))
			return true;
	return false;
}

/* The family's name; @scale: what the value is divided by. */
static void metric_name(const struct snapshot_counter *c, char out[NAME_MAX_HERE], double *scale)
{
	char name[48], unit[24];

	snprintf(name, sizeof(name), "%s", c->name);
	snprintf(unit, sizeof(unit), "%s", c->unit);
	*scale = 1;
	if (strcmp(unit, "ns") == 0) {
		strcpy(unit, "seconds");
		*scale = 1e9;
		if (ends_with(name, "_ns"))
			name[strlen(name) - 3] = 0;
	}
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	for (char *p = unit; *p; p++)
		if (!isalnum((unsigned char)*p))
			*p = '_';
	snprintf(out, NAME_MAX_HERE, "atoll_%s%s%s%s", name, has_word(name, unit) ? "" : "_",
		 has_word(name, unit) ? "" : unit, c->level ? "" : "_total");
}

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s ", name);
	for (; *help; help++)
		if (*help == '\\')
			fputs("\\\\", f);
		else
			fputc(*help, f);
	fprintf(f, "\n# TYPE %s %s\n", name, type);
}

/* One family has all nodes: the first that has the counter describes it. */
static void counter_family(FILE *f, int n, const struct snapshot *s, const struct snapshot_counter *c)
{
	char name[NAME_MAX_HERE], help[96];
	double scale;

	metric_name(c, name, &scale);
	snprintf(help, sizeof(help), "%s %s", strncmp(c->help, c->unit, strlen(c->unit)) ? c->unit : "", c->help);
	family(f, name, c->level ? "gauge" : "counter", help + strspn(help, " "));
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < s[i].ncounters; k++) {
			if (strcmp(s[i].counter[k].name, c->name) != 0)
				continue;
			fprintf(f, "%s{node=\"%s\"} ", name, s[i].node);
			if (scale == 1)
				fprintf(f, "%" PRIu64 "\n", s[i].counter[k].value);
			else
				fprintf(f, "%.9f\n", (double)s[i].counter[k].value / scale);
		}
}

static void process_families(FILE *f, int n, const struct snapshot *s)
{
	family(f, "atoll_process_up", "gauge", "1 when the process has attached, else 0");
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < s[i].nprocs; k++)
			fprintf(f, "atoll_process_up{node=\"%s\",process=\"%s\"} %d\n", s[i].node,
				s[i].proc[k].name, strcmp(s[i].proc[k].state, "ready") == 0);
	family(f, "atoll_process_restarts_total", "counter", "times that the process was started again");
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < s[i].nprocs; k++)
			fprintf(f, "atoll_process_restarts_total{node=\"%s\",process=\"%s\"} %u\n", s[i].node,
				s[i].proc[k].name, s[i].proc[k].restarts);
	family(f, "atoll_process_cpu_seconds_total", "counter",
	       "time on a core, of this life of the process; core -1: it is not pinned");
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < s[i].nprocs; k++)
			fprintf(f, "atoll_process_cpu_seconds_total{node=\"%s\",process=\"%s\",core=\"%d\"} %.9f\n",
				s[i].node, s[i].proc[k].name, s[i].proc[k].core,
				(double)s[i].proc[k].cpu_ns / 1e9);
}

/* Of endpoints and lanes. A lane's labels are its endpoint's and its own. */
static void slot_families(FILE *f, int n, const struct snapshot *s)
{
	static const struct {
		const char *name, *help;
		enum counters_slot_value value;
		bool endpoint, lane, level;
	} all[] = {
		{"messages", "taken from the ring", SLOT_MESSAGES, true, false, false},
		{"chains", "chains of verbs", SLOT_CHAINS, true, true, false},
		{"verbs", "verbs", SLOT_VERBS, true, true, false},
		{"bytes", "bytes that verbs were to move", SLOT_BYTES, true, true, false},
		{"open", "requests of an endpoint, chains of a lane that have not ended", SLOT_OPEN, true, true, true},
		{"retransmits", "packets sent again", SLOT_RETRANSMITS, false, true, false},
	};

	for (unsigned lane = 0; lane < 2; lane++)
		for (unsigned k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
			char name[NAME_MAX_HERE];

			if (!(lane ? all[k].lane : all[k].endpoint))
				continue;
			snprintf(name, sizeof(name), "atoll_%s_%s%s", lane ? "lane" : "endpoint", all[k].name,
				 all[k].level ? "" : "_total");
			family(f, name, all[k].level ? "gauge" : "counter", all[k].help);
			for (int i = 0; i < n; i++)
				for (unsigned m = 0; m < s[i].nslots; m++) {
					const struct snapshot_slot *o = &s[i].slot[m];

					if (o->lane != (lane > 0))
						continue;
					fprintf(f, "%s{node=\"%s\",endpoint=\"%s\",number=\"%u\",pid=\"%u\"", name,
						s[i].node, o->name, o->endpoint, o->pid);
					if (lane)
						fprintf(f, ",lane=\"%u\",peer=\"%u\"", o->number, o->node);
					fprintf(f, "} %" PRIu64 "\n", o->value[all[k].value]);
				}
		}
	family(f, "atoll_lane_latency_seconds", "gauge", "from a chain's submission to its end, a moving mean of samples");
	for (int i = 0; i < n; i++)
		for (unsigned m = 0; m < s[i].nslots; m++) {
			const struct snapshot_slot *o = &s[i].slot[m];

			if (o->lane)
				fprintf(f,
					"atoll_lane_latency_seconds{node=\"%s\",endpoint=\"%s\",number=\"%u\",pid=\"%u\","
					"lane=\"%u\",peer=\"%u\"} %.9f\n",
					s[i].node, o->name, o->endpoint, o->pid, o->number, o->node,
					(double)o->value[SLOT_LATENCY_NS] / 1e9);
		}
}

static bool described_before(const struct snapshot *s, int node, const char *name)
{
	for (int i = 0; i < node; i++)
		for (unsigned k = 0; k < s[i].ncounters; k++)
			if (strcmp(s[i].counter[k].name, name) == 0)
				return true;
	return false;
}

char *metrics_text(int n, const struct target *targets)
{
	struct snapshot *s = calloc((size_t)n, sizeof(*s));
	char *text = NULL;
	size_t len;
	FILE *f = s ? open_memstream(&text, &len) : NULL;

	if (!f) {
		free(s);
		return NULL;
	}
	for (int i = 0; i < n; i++)
		snapshot_take(&targets[i], &s[i]);
	family(f, "atoll_node_up", "gauge", "1 when all services of the node were ready and it is not ending");
	for (int i = 0; i < n; i++)
		fprintf(f, "atoll_node_up{node=\"%s\"} %d\n", s[i].node, strcmp(s[i].state, "up") == 0);
	family(f, "atoll_node_uptime_seconds", "gauge", "since the supervisor was started");
	for (int i = 0; i < n; i++)
		if (s[i].up)
			fprintf(f, "atoll_node_uptime_seconds{node=\"%s\"} %.3f\n", s[i].node,
				(double)s[i].uptime_ms / 1e3);
	process_families(f, n, s);
	slot_families(f, n, s);
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < s[i].ncounters; k++)
			if (!described_before(s, i, s[i].counter[k].name))
				counter_family(f, n, s, &s[i].counter[k]);
	fclose(f);
	free(s);
	return text;
}

/* ---------------------------------------------------------------- the server */

static volatile sig_atomic_t over;
static sigset_t waiting_mask; /* signals come while something is waited for, and at no other time: none is missed */

static void on_signal(int sig)
{
	(void)sig;
	over = 1;
}

/* Waits for @events until @until. False: not in time, or a signal came. */
static bool wait_until(int fd, short events, uint64_t until)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now = clock_now_ns(), left = now < until ? until - now : 0;
	struct timespec t = {.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};

	return left && ppoll(&p, 1, &t, &waiting_mask) == 1;
}

static void send_all(int fd, const char *text, size_t len, uint64_t until)
{
	while (len && wait_until(fd, POLLOUT, until)) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			continue;
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static void answer(int fd, const char *status, const char *type, const char *body, bool head)
{
	uint64_t until = clock_now_ns() + PATIENCE_MS * 1000000ull;
	char text[256];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			 status, type, strlen(body));

	send_all(fd, text, (size_t)n, until);
	if (!head)
		send_all(fd, body, strlen(body), until);
}

/* One request: GET or HEAD of /metrics. */
static void serve_one(int fd, int n, const struct target *targets)
{
	uint64_t until = clock_now_ns() + PATIENCE_MS * 1000000ull;
	char request[REQUEST_MAX + 1] = "", method[8], path[256];
	size_t at = 0;
	ssize_t got;
	bool head;
	char *text;

	while (at < REQUEST_MAX && !strstr(request, "\r\n\r\n") && !strstr(request, "\n\n")) {
		if (!wait_until(fd, POLLIN, until))
			return;
		got = recv(fd, request + at, REQUEST_MAX - at, MSG_DONTWAIT);
		if (got <= 0)
			return;
		at += (size_t)got;
		request[at] = 0;
	}
	if (sscanf(request, "%7[A-Z] %255[^ \r\n]", method, path) != 2) {
		answer(fd, "400 Bad Request", "text/plain", "not a request\n", false);
		return;
	}
	head = strcmp(method, "HEAD") == 0;
	if (!head && strcmp(method, "GET") != 0) {
		answer(fd, "405 Method Not Allowed", "text/plain", "GET or HEAD\n", false);
		return;
	}
	path[strcspn(path, "?")] = 0;
	if (strcmp(path, "/metrics") != 0) {
		answer(fd, "404 Not Found", "text/plain", "the metrics are at /metrics\n", head);
		return;
	}
	text = metrics_text(n, targets);
	answer(fd, text ? "200 OK" : "503 Service Unavailable", "text/plain; version=0.0.4; charset=utf-8",
	       text ? text : "", head);
	free(text);
}

int metrics_serve(int n, const struct target *targets, uint16_t port)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t ending;
	socklen_t len = sizeof(here);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) || listen(fd, 16) ||
	    getsockname(fd, (struct sockaddr *)&here, &len)) {
		fprintf(stderr, "svcctl: 127.0.0.1:%u: %s; choose another with --http-port\n", port,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return 1;
	}
	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, &waiting_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	printf("http://127.0.0.1:%u/metrics\n", ntohs(here.sin_port));
	fflush(stdout);
	while (!over) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int client;

		if (ppoll(&p, 1, NULL, &waiting_mask) != 1)
			continue;
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				poll(NULL, 0, 100); /* it stays in the queue: do not spin on it */
			continue;
		}
		serve_one(client, n, targets);
		close(client);
	}
	close(fd);
	return 0;
}
