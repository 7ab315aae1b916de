/* SPDX-License-Identifier: Apache-2.0 */
/*
 * afork - forks a running process, onto this node or another one.
 *
 * It stops and starts processes itself, with the rights of whoever types it; the fork-pager of the node
 * gets descriptors and moves pages. It stays as the parent of the children that it starts.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/fork_report.h"
#include "services/fork-pager/afork.h"
#include "services/fork-pager/proc/capture.h"

static const char usage[] =
	"usage: afork [--node RUN_DIR] prepare [--force] PID\n"
	"       afork [--node RUN_DIR] resume [-n COUNT] [--no-pids] HANDLE\n"
	"       afork [--node RUN_DIR] spawn [--force] [-n COUNT] [--no-pids] [--on RUN_DIR] PID\n"
	"       afork [--node RUN_DIR] serve --listen PATH [-n WORKERS] HANDLE\n"
	"       afork [--node RUN_DIR] reclaim [--force] HANDLE\n"
	"       afork [--node RUN_DIR] ls | stat\n"
	"\n"
	"prepare takes a snapshot of a process, which runs on, and prints a handle. resume starts children from it, on\n"
	"this node, and waits for them; its standard streams are theirs. spawn does both at once, on a node of this\n"
	"machine. serve starts a child for each connection to the unix socket PATH, and passes bytes between the two; the program\n"
	"itself listens on one unix socket. reclaim gives the snapshot's memory back. Without --node the node is that of\n"
	"$ATOLL_SOCKET.\n"
	"\n"
	"  --force    prepare: drop what cannot be carried, and say so; reclaim: although children need it\n"
	"  -n COUNT   children, 1 to 64\n"
	"  --no-pids  children get new process numbers, and no pid namespace\n"
	"  --on       node on which the children start\n"
	"  --fill MIB  fetch what no child has asked for, too, so many MiB a second: then they need the other node no more\n"
	"  --no-replay  children begin without the pages that earlier ones of the node have wanted\n"
	"  --container  children live in pid, mount, uts and ipc namespaces and a control group of their own; with\n"
	"  --net        a network of their own, too\n"
	"  --rootfs DIR as root directory, which has a directory /proc\n"
	"  --private DIR  an empty file system of their own there\n"
	"  --memory-mib N, --cpu-percent N  limits, the second of one core\n"
	"  --report, --self  for clients/fork\n";

enum {
	SELF_TRIES = 1000, /* of 0.2 ms, until the thread that asked waits for us */
	SELF_FDS_MAX = 64,
};

static int out(const char *what, int rc)
{
	afork_say(rc, "%s: %s", what, strerror(-rc));
	return 1;
}

static int handle_parse(const char *text, struct fork_handle *h)
{
	unsigned long long a, b;
	char end;

	memset(h, 0, sizeof(*h));
	if (sscanf(text, "%u/%u-%u-%16llx%16llx%c", &h->node, &h->slot, &h->epoch, &a, &b, &end) != 5 ||
	    strlen(strrchr(text, '-')) != 33) {
		afork_say(-EINVAL, "\"%s\" is no handle; it looks like 1/0-1- and 32 hexadecimal digits", text);
		return -EINVAL;
	}
	h->secret[0] = a;
	h->secret[1] = b;
	return 0;
}

static void handle_print(const struct fork_handle *h, bool secret, char *text, size_t len)
{
	if (secret)
		snprintf(text, len, "%u/%u-%u-%016llx%016llx", h->node, h->slot, h->epoch,
			 (unsigned long long)h->secret[0], (unsigned long long)h->secret[1]);
	else
		snprintf(text, len, "%u/%u-%u", h->node, h->slot, h->epoch);
}

/* ------------------------------------------------------------------ prepare */

static int prepare(const char *node, const struct afork_options *o, pid_t pid, struct fork_handle *h)
{
	const struct capture_options co = {.force = o->force, .self = o->self};
	struct capture c;
	struct fork_control a;
	uint8_t *image = NULL;
	size_t len = 0;
	int sock = afork_connect(node), rc;

	if (sock < 0)
		return sock;
	for (int i = 0; i < SELF_TRIES; i++) {
		rc = capture_take(&c, pid, &co);
		if (rc != -EBUSY)
			break;
		usleep(200);
	}
	if (c.report.text[0])
		afork_pass(c.report.text);
	if (rc) {
		close_quietly(sock);
		afork_say(rc, "process %d cannot be forked: %s", pid,
			  rc == -EOPNOTSUPP ? "see above; --force drops what can be dropped" : strerror(-rc));
		return rc;
	}
	rc = image_encode(&c.image, &image, &len);
	if (!rc)
		rc = afork_prepare(sock, pid, &c.source, image, len, &a);
	free(image);
	if (!rc) {
		*h = a.handle;
		if (o->verbose)
			afork_say(0, "paused for %.1f ms; %llu pages, %llu zero, %llu alike, %llu with ancestors; "
				     "descriptor of %zu bytes",
				  (double)c.pause_ns / 1e6, (unsigned long long)a.stat[0],
				  (unsigned long long)a.stat[1], (unsigned long long)a.stat[2],
				  (unsigned long long)a.stat[7], len);
	}
	capture_release(&c);
	close_quietly(sock);
	return rc;
}

/* ------------------------------------------------------------------ looking */

static int list(const char *node)
{
	struct fork_control a = {.op = FORK_CONTROL_LIST};
	int sock = afork_connect(node), rc;

	if (sock < 0)
		return 1;
	printf("%-12s %-8s %8s %8s %9s %9s %9s %9s %6s  %s\n", "SNAPSHOT", "STATE", "PID", "USER", "PAGES", "ZERO",
	       "ALIKE", "ELSEWHERE", "MIB", "HANDLE");
	rc = afork_ask(sock, &a, NULL, 0, NULL, NULL);
	while (!rc && a.more) {
		char name[32], text[FORK_HANDLE_TEXT];

		handle_print(&a.handle, false, name, sizeof(name));
		handle_print(&a.handle, true, text, sizeof(text));
		printf("%-12s %-8s %8d %8u %9llu %9llu %9llu %9llu %6llu  %s\n", name, a.text, a.pid, a.uid,
		       (unsigned long long)a.stat[0], (unsigned long long)a.stat[1],
		       (unsigned long long)a.stat[2], (unsigned long long)a.stat[7],
		       (unsigned long long)(a.stat[4] >> 20), text);
		rc = afork_answer(sock, &a, NULL, NULL);
	}
	close_quietly(sock);
	return rc ? out("ls", rc) : 0;
}

static int stats(const char *node)
{
	static const char *const names[20] = {
		"faults", "pages fetched", "reads", "pages mapped, shared", "faults whose page was there",
		"pages of zeros", "forks", "moves", "pages given back", "unmaps", NULL, "slowest fault, us",
		"processes now", "processes in all", "faults lost", "tries again", "pages replayed",
		"pages of the working set", "pages fetched behind", "pages not here yet"};
	struct fork_control a = {.op = FORK_CONTROL_STAT};
	int sock = afork_connect(node), rc;

	if (sock < 0)
		return 1;
	rc = afork_ask(sock, &a, NULL, 0, NULL, NULL);
	while (!rc && a.more) {
		char name[32];

		handle_print(&a.handle, false, name, sizeof(name));
		printf("snapshot %s: %llu MiB of memory, %llu pages stored\n", name,
		       (unsigned long long)(a.cache_size >> 20), (unsigned long long)a.count);
		for (unsigned i = 0; i < 20; i++) {
			if (names[i])
				printf("  %-28s %llu\n", names[i],
				       (unsigned long long)(i == 11 ? a.stat[i] / 1000 : a.stat[i]));
			else
				printf("  %-28s %llu\n", "mean fault, us",
				       (unsigned long long)(a.stat[0] ? a.stat[i] / a.stat[0] / 1000 : 0));
		}
		printf("  %-28s %llu\n", "pages from ancestors", (unsigned long long)a.page);
		if (a.text[0])
			printf("  %-28s %s\n", "last reason", a.text);
		rc = afork_answer(sock, &a, NULL, NULL);
	}
	close_quietly(sock);
	return rc ? out("stat", rc) : 0;
}

static int reclaim(const char *node, const struct fork_handle *h, bool force)
{
	struct fork_control a = {.op = FORK_CONTROL_RECLAIM, .handle = *h,
				 .flags = force ? FORK_CONTROL_FORCE : 0};
	int sock = afork_connect(node), rc;

	if (sock < 0)
		return 1;
	rc = afork_ask(sock, &a, NULL, 0, NULL, NULL);
	close_quietly(sock);
	if (rc)
		afork_say(rc, "reclaim: %s", a.text[0] ? a.text : strerror(-rc));
	return rc ? 1 : 0;
}

/* ------------------------------------------------------------------ the command line */

static bool number(const char *text, int max, int *n)
{
	char *end;
	long v = strtol(text, &end, 10);

	*n = (int)v;
	return end != text && !*end && v > 0 && v <= max;
}

/* "THREAD:FD,FD": what asked for a fork of itself. */
static bool self_parse(const char *text, struct capture_self *self, int *fds)
{
	char *end;

	*self = (struct capture_self){.thread = (pid_t)strtol(text, &end, 10), .fds = fds};
	for (char sep = ':'; *end == sep && self->nfds < SELF_FDS_MAX; sep = ',')
		fds[self->nfds++] = (int)strtol(end + 1, &end, 10);
	return self->thread > 0 && self->nfds && !*end;
}

static int resume(const char *node, const struct fork_handle *h, const struct afork_options *o)
{
	int rc = afork_resume(node, h, o);

	if (rc >= AFORK_EXIT_TROUBLE)
		afork_report(FORK_REPORT_FAILED, "", 0); /* after ENDED nobody listens any more */
	return rc;
}

static int report_last(int rc)
{
	afork_report(rc ? FORK_REPORT_FAILED : FORK_REPORT_DONE, "", 0);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"node", 1, NULL, 'N'}, {"on", 1, NULL, 'o'},	  {"force", 0, NULL, 'f'},
		{"no-pids", 0, NULL, 'p'}, {"verbose", 0, NULL, 'v'}, {"help", 0, NULL, 'h'},
		{"container", 0, NULL, 'c'}, {"listen", 1, NULL, 'L'}, {"fill", 1, NULL, 'F'}, {"no-replay", 0, NULL, 'w'}, {"net", 0, NULL, 'n' + 256}, {"rootfs", 1, NULL, 'R'}, {"private", 1, NULL, 'P'},
		{"memory-mib", 1, NULL, 'M'}, {"cpu-percent", 1, NULL, 'C'},
		{"report", 1, NULL, 'r'}, {"self", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
	struct afork_options o = {.count = 1};
	struct capture_self self;
	int self_fds[SELF_FDS_MAX], report = -1;
	const char *node = NULL, *on = NULL, *listen = NULL, *what, *arg;
	struct fork_handle h;
	char text[FORK_HANDLE_TEXT];
	int c, pid;

	while ((c = getopt_long(argc, argv, "n:v", options, NULL)) != -1)
		switch (c) {
		case 'N':
			node = optarg;
			break;
		case 'o':
			on = optarg;
			break;
		case 'f':
			o.force = true;
			break;
		case 'p':
			o.no_pids = true;
			break;
		case 'v':
			o.verbose = true;
			break;
		case 'L':
			listen = optarg;
			break;
		case 'w':
			o.no_replay = true;
			break;
		case 'F':
			if (!number(optarg, 1 << 20, &o.fill_mib)) {
				fprintf(stderr, "afork: --fill wants MiB a second, not \"%s\"\n", optarg);
				return 2;
			}
			break;
		case 'c':
			o.container = true;
			break;
		case 'n' + 256:
			o.container = o.box.net = true;
			break;
		case 'R':
			o.container = true;
			o.box.rootfs = optarg;
			break;
		case 'P':
			o.container = true;
			o.box.private_dir = optarg;
			break;
		case 'M':
		case 'C':
			if (!number(optarg, c == 'M' ? 1 << 24 : 100 * 1024, &pid)) {
				fprintf(stderr, "afork: \"%s\" is no limit\n", optarg);
				return 2;
			}
			o.container = true;
			if (c == 'M')
				o.box.memory_bytes = (uint64_t)pid << 20;
			else
				o.box.cpu_percent = (unsigned)pid;
			break;
		case 'r':
			if (!number(optarg, 1 << 20, &report))
				return 2;
			break;
		case 's':
			if (!self_parse(optarg, &self, self_fds))
				return 2;
			o.self = &self;
			break;
		case 'n':
			if (!number(optarg, AFORK_CHILDREN_MAX, &o.count)) {
				fprintf(stderr, "afork: -n wants a number from 1 to %d\n", AFORK_CHILDREN_MAX);
				return 2;
			}
			break;
		case 'h':
			return fputs(usage, stdout) < 0;
		default:
			return 2;
		}
	if (report >= 0 && afork_report_open(report))
		return 2;
	what = optind < argc ? argv[optind] : "";
	arg = optind + 1 < argc ? argv[optind + 1] : NULL;
	if (strcmp(what, "ls") == 0 && !arg)
		return list(node);
	if (strcmp(what, "stat") == 0 && !arg)
		return stats(node);
	if (!arg || optind + 2 < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (strcmp(what, "serve") == 0) {
		if (!listen) {
			afork_say(-EINVAL, "serve wants --listen PATH");
			return report_last(2);
		}
		return handle_parse(arg, &h) ? report_last(2) : afork_serve(node, &h, &o, listen);
	}
	if (strcmp(what, "resume") == 0)
		return handle_parse(arg, &h) ? report_last(2) : resume(node, &h, &o);
	if (strcmp(what, "reclaim") == 0)
		return report_last(handle_parse(arg, &h) ? 2 : reclaim(node, &h, o.force));
	if (strcmp(what, "prepare") != 0 && strcmp(what, "spawn") != 0) {
		fputs(usage, stderr);
		return 2;
	}
	if (!number(arg, 1 << 22, &pid)) {
		afork_say(-EINVAL, "\"%s\" is no process number", arg);
		return report_last(2);
	}
	if (prepare(node, &o, pid, &h))
		return report_last(1);
	handle_print(&h, true, text, sizeof(text));
	afork_report(FORK_REPORT_PREPARED, text, 0);
	if (strcmp(what, "prepare") == 0) {
		if (report < 0)
			printf("%s\n", text);
		return report_last(0);
	}
	c = resume(on ? on : node, &h, &o);
	reclaim(node, &h, true);
	return c;
}
