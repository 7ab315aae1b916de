/* SPDX-License-Identifier: Apache-2.0 */
/* svcctl: start, watch and end nodes. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/proto.h"
#include "tools/svcctl/client.h"
#include "tools/svcctl/doctor.h"
#include "tools/svcctl/json.h"
#include "tools/svcctl/local.h"
#include "tools/svcctl/logs.h"
#include "tools/svcctl/metrics.h"
#include "tools/svcctl/node.h"
#include "tools/svcctl/rundir.h"
#include "tools/svcctl/top.h"

static const char usage_text[] =
	"usage: svcctl COMMAND [options] [TARGET]\n"
	"\n"
	"  check FILE...          say everything that is wrong with configuration files\n"
	"  check --reference      every section and key that there is\n"
	"  up [-d] FILE           start a node; -d: return when all its services are ready\n"
	"      --while-pid PID    end the node when that process has ended; default: $SVCCTL_WHILE_PID\n"
	"  up --local N           N nodes on this machine (1 to 16), with a configuration made for them\n"
	"      --port uring|shm   kernel UDP (default), or the DPDK shared-memory link (two nodes)\n"
	"      --dir DIR          where; default: the user's run-time directory\n"
	"      --services A,B     on each node; all: every one that is built; default: echo and index-shard\n"
	"      --udp-port N       default 4791\n"
	"      --heartbeat-ms N   default 50\n"
	"      --idle MODE        auto (default), spin, yield or block\n"
	"      --keep             leave a node.conf that is there as it is\n"
	"  down [TARGET...]       end nodes\n"
	"  status [TARGET...]     processes, and what the dataplane has counted\n"
	"  top [TARGET...]        rates, busy cores, refusals and losses, as they are now\n"
	"      --once             one look, then end\n"
	"      --interval-ms N    between two looks; default 1000\n"
	"  metrics [TARGET...]    counters for Prometheus, at http://127.0.0.1:9479/metrics\n"
	"      --http-port N      another port; 0: one that is free\n"
	"      --once             print them, then end\n"
	"  restart [TARGET] NAME  end a process and start it again; returns when it is ready\n"
	"  doctor [FILE]          is this machine fit for that node? exit status 1: not quite\n"
	"      --fix              mend what can be mended safely, and say what was done\n"
	"      --sysroot DIR      look at DIR/proc, DIR/sys and DIR/dev instead of this machine\n"
	"  logs [-f] [TARGET] NAME  what a process has written; -f: go on\n"
	"  help                   this text\n"
	"\n"
	"With --json every command but help and metrics prints JSON, one object a line.\n"
	"A TARGET is a node's configuration file or run_dir. Without one: the nodes of up --local, in\n"
	"--dir DIR where that was given; a NAME is then NODE/PROCESS.\n";

static void say_error(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

/* For --json: *@arg counts. */
static void say_error_json(void *arg, const char *line)
{
	unsigned *n = arg;

	fputs((*n)++ ? ", " : "", stdout);
	json_string(stdout, line, strlen(line));
}

/* ---------------------------------------------------------------- check and up */

static int cmd_check(int argc, char **argv, bool reference, bool json)
{
	static struct node_conf conf;
	char exec[CONF_TEXT_MAX + 1];
	int bad = 0;

	if (reference) {
		conf_reference(stdout);
		return 0;
	}
	if (argc == 0) {
		fprintf(stderr, "svcctl: check wants files\n");
		return 2;
	}
	for (int i = 0; i < argc; i++) {
		unsigned said = 0;
		struct conf_errors errors = {.say = json ? say_error_json : say_error, .arg = &said};
		struct conf_host host;
		bool missing = false;

		conf_host_here(&host);
		if (json) {
			json_member(stdout, "{", "file", argv[i]);
			fputs(", \"errors\": [", stdout);
		}
		conf_read(argv[i], &host, &conf, &errors);
		for (unsigned s = 0; s < conf.nservices; s++)
			if (conf.services[s].exec[0] &&
			    program_find(conf.services[s].exec, exec, sizeof(exec))) {
				char text[CONF_TEXT_MAX + 256];

				snprintf(text, sizeof(text), "%.128s:%u: [service %s]: there is no program %s; write"
					 " its path", argv[i], conf.services[s].line, conf.services[s].name,
					 conf.services[s].exec);
				errors.say(errors.arg, text);
				missing = true;
			}
		if (errors.count || missing)
			bad = 1;
		if (json) {
			json_member(stdout, "], ", "node", conf.name);
			printf(", \"peers\": %u, \"services\": %u}\n", conf.npeers, conf.nservices);
		} else if (!errors.count && !missing)
			printf("%s: good; node %s, %u peers, %u services\n", argv[i], conf.name,
			       conf.npeers, conf.nservices);
	}
	return bad;
}

static int cmd_doctor(int argc, char **argv, const char *root, bool fix, bool json)
{
	static struct node_conf conf;
	struct conf_errors errors = {.say = say_error};
	struct doctor d = {.root = root ? root : ""};

	if (argc > 1) {
		fprintf(stderr, "svcctl: doctor wants one configuration file, or none\n");
		return 2;
	}
	if (argc) {
		if (conf_read(argv[0], NULL, &conf, &errors))
			return 2;
		d.conf = &conf;
	}
	return doctor_run(&d, fix, json);
}

/* Become a background process whose output goes to the node's log. */
static int detach(const struct node_conf *conf)
{
	char err[NODE_TEXT_MAX];
	int null, log;

	if (rundir_make(conf->run_dir, &conf->user, err, sizeof(err))) {
		fprintf(stderr, "svcctl: %s\n", err);
		return -1;
	}
	log = rundir_log_open(conf->run_dir, "svcctl");
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (log < 0 || null < 0)
		return -1;
	setsid();
	fflush(NULL);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	close(null);
	close(log);
	return 0;
}

/* Start a supervisor in the background. Returns the descriptor that it reports to. */
static int spawn(const char *file, const struct node_conf *conf, int while_fd)
{
	int report[2];
	pid_t pid;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(report[0]);
		_exit(detach(conf) ? 1 : node_run(conf, file, report[1], while_fd));
	}
	close(report[1]);
	if (pid < 0) {
		close(report[0]);
		return -EAGAIN;
	}
	return report[0];
}

/* Wait for its word. 0: up. */
static int await(int fd, const char *name, const char *run_dir, bool json)
{
	char word[NODE_TEXT_MAX + 16] = "";
	size_t at = 0;
	ssize_t n;

	while (at < sizeof(word) - 1 && (n = read(fd, word + at, sizeof(word) - 1 - at)) > 0)
		at += (size_t)n;
	close(fd);
	word[at] = 0;
	word[strcspn(word, "\n")] = 0;
	if (json) {
		bool up = strcmp(word, "up") == 0;

		json_member(stdout, "{", "node", name);
		json_member(stdout, ", ", "state", up ? "up" : "down");
		json_member(stdout, ", ", "run_dir", run_dir);
		if (!up)
			json_member(stdout, ", ", "error",
				    word[0] ? word : "it ended without a word; its log says more");
		puts("}");
		return !up;
	}
	if (strcmp(word, "up") == 0) {
		printf("node %s is up: %s\n", name, run_dir);
		return 0;
	}
	fprintf(stderr, "svcctl: node %s did not start: %s\n", name,
		word[0] ? word : "it ended without a word; its log says more");
	return 1;
}

static int cmd_up(const char *file, bool background, bool json, int while_fd)
{
	static struct node_conf conf;
	struct conf_errors errors = {.say = say_error};
	struct conf_host host;
	char *real;
	int fd, rc;

	conf_host_here(&host);
	if (conf_read(file, &host, &conf, &errors))
		return 1;
	real = realpath(file, NULL);
	if (!real)
		return 1;
	if (background) {
		fd = spawn(real, &conf, while_fd);
		rc = fd < 0 ? 1 : await(fd, conf.name, conf.run_dir, json);
	} else {
		rc = node_run(&conf, real, -1, while_fd);
	}
	free(real);
	return rc;
}

static int cmd_up_local(const struct local_conf *local, bool json, int while_fd)
{
	static struct node_conf conf[LOCAL_NODES_MAX];
	char files[LOCAL_NODES_MAX][LOCAL_PATH_MAX], err[NODE_TEXT_MAX];
	struct conf_host host;
	int fds[LOCAL_NODES_MAX], bad = 0;

	conf_host_here(&host);
	if (local_write(local, files, err, sizeof(err))) {
		fprintf(stderr, "svcctl: %s\n", err);
		return 1;
	}
	for (unsigned i = 0; i < local->nodes; i++) {
		struct conf_errors errors = {.say = say_error};

		if (conf_read(files[i], &host, &conf[i], &errors))
			return 1;
	}
	for (unsigned i = 0; i < local->nodes; i++)
		fds[i] = spawn(files[i], &conf[i], while_fd);
	for (unsigned i = 0; i < local->nodes; i++)
		bad |= fds[i] < 0 || await(fds[i], conf[i].name, conf[i].run_dir, json);
	return bad;
}

/* ---------------------------------------------------------------- the command line */

struct options {
	bool background, json, follow, reference, keep, fix, once;
	const char *sysroot, *dir, *services, *idle, *while_pid;
	unsigned local, udp_port, heartbeat_ms, interval_ms, http_port;
	enum local_port port;
};

static int number(const char *option, const char *text, unsigned min, unsigned max, unsigned *out)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || end == text || v < min || v > max) {
		fprintf(stderr, "svcctl: --%s %s: write a number from %u to %u\n", option, text, min,
			max);
		return -EINVAL;
	}
	*out = (unsigned)v;
	return 0;
}

static int options_read(int argc, char **argv, struct options *o)
{
	enum { LOCAL = 256, PORT, DIR_, SERVICES, UDP, HEARTBEAT, IDLE, KEEP, JSON, REFERENCE,
	       FIX, SYSROOT, ONCE, INTERVAL, HTTP, WHILE };
	static const struct option longs[] = {
		{"local", 1, NULL, LOCAL},	   {"port", 1, NULL, PORT},
		{"dir", 1, NULL, DIR_},		   {"services", 1, NULL, SERVICES},
		{"udp-port", 1, NULL, UDP},	   {"heartbeat-ms", 1, NULL, HEARTBEAT},
		{"idle", 1, NULL, IDLE},	   {"keep", 0, NULL, KEEP},
		{"json", 0, NULL, JSON},	   {"reference", 0, NULL, REFERENCE},
		{"fix", 0, NULL, FIX},		   {"sysroot", 1, NULL, SYSROOT},
		{"once", 0, NULL, ONCE},	   {"interval-ms", 1, NULL, INTERVAL},
		{"http-port", 1, NULL, HTTP},	   {"while-pid", 1, NULL, WHILE},
		{"detach", 0, NULL, 'd'},	   {"follow", 0, NULL, 'f'},
		{NULL, 0, NULL, 0},
	};
	int c, rc = 0;

	while (!rc && (c = getopt_long(argc, argv, "df", longs, NULL)) != -1) {
		switch (c) {
		case 'd': o->background = true; break;
		case 'f': o->follow = true; break;
		case LOCAL: rc = number("local", optarg, 1, LOCAL_NODES_MAX, &o->local); break;
		case UDP: rc = number("udp-port", optarg, 1, 65535, &o->udp_port); break;
		case HEARTBEAT: rc = number("heartbeat-ms", optarg, 1, 10000, &o->heartbeat_ms); break;
		case DIR_: o->dir = optarg; break;
		case SERVICES: o->services = optarg; break;
		case IDLE: o->idle = optarg; break;
		case KEEP: o->keep = true; break;
		case JSON: o->json = true; break;
		case ONCE: o->once = true; break;
		case INTERVAL: rc = number("interval-ms", optarg, 10, 3600000, &o->interval_ms); break;
		case HTTP: rc = number("http-port", optarg, 0, 65535, &o->http_port); break;
		case WHILE: o->while_pid = optarg; break;
		case FIX: o->fix = true; break;
		case SYSROOT: o->sysroot = optarg; break;
		case REFERENCE: o->reference = true; break;
		case PORT:
			if (strcmp(optarg, "shm") == 0) {
				o->port = LOCAL_SHM;
			} else if (strcmp(optarg, "uring") != 0) {
				fprintf(stderr, "svcctl: --port %s: there are uring and shm\n", optarg);
				rc = -EINVAL;
			}
			break;
		default:
			rc = -EINVAL; /* getopt has said it */
		}
	}
	return rc;
}

/* Those that are built: @all, or the two that cost nothing while nobody uses them. */
static const char *services_built(bool all)
{
	static const char *const names[] = {"echo", "index-shard", "repair-worker", "gpu-exec", "fork-pager"};
	static char list[96];
	char path[CONF_TEXT_MAX + 1];

	for (unsigned i = 0; i < (all ? sizeof(names) / sizeof(names[0]) : 2); i++)
		if (program_find(names[i], path, sizeof(path)) == 0) {
			strcat(list, list[0] ? "," : "");
			strcat(list, names[i]);
		}
	return list;
}

/* *@fd: of the process that the node is to end with; -1 if there is none. */
static int while_open(const char *pid, int *fd)
{
	unsigned n;

	if (!pid)
		pid = getenv("SVCCTL_WHILE_PID");
	if (!pid || !pid[0])
		return 0;
	if (number("while-pid", pid, 1, INT_MAX, &n))
		return -EINVAL;
	*fd = (int)syscall(SYS_pidfd_open, (pid_t)n, 0);
	if (*fd >= 0)
		return 0;
	fprintf(stderr, "svcctl: --while-pid %s: %s: the node was to end with that process\n", pid,
		strerror(errno));
	return -errno;
}

static int run_up(struct options *o, int argc, char **argv)
{
	struct local_conf local = {.nodes = o->local,
				   .port = o->port,
				   .udp_port = o->udp_port,
				   .heartbeat_ms = o->heartbeat_ms,
				   .services = !o->services ? services_built(false)
					    : !strcmp(o->services, "all") ? services_built(true) : o->services,
				   .idle = o->idle,
				   .keep = o->keep};
	char dir[128], *real = NULL;
	int rc, while_fd = -1;

	if (while_open(o->while_pid, &while_fd))
		return 1;
	if (!o->local) {
		if (argc == 1)
			{
			if (o->json && !o->background) {
				fprintf(stderr, "svcctl: up --json wants -d: in the foreground the output is the node's\n");
				return 2;
			}
			return cmd_up(argv[0], o->background, o->json, while_fd);
		}
		fprintf(stderr, "svcctl: up wants one configuration file, or --local N\n");
		return 2;
	}
	if (argc) {
		fprintf(stderr, "svcctl: up --local makes its own configuration: %s is too much\n",
			argv[0]);
		return 2;
	}
	if (o->port == LOCAL_SHM && o->local != 2) {
		fprintf(stderr, "svcctl: the shared-memory link joins two nodes: --local 2\n");
		return 2;
	}
	if (!o->dir && local_dir(dir, sizeof(dir))) {
		fprintf(stderr, "svcctl: %s is not yours; name another with --dir\n", dir);
		return 1;
	}
	if (o->dir) {
		if (mkdir(o->dir, 0755) && errno != EEXIST) {
			fprintf(stderr, "svcctl: %s: %s\n", o->dir, strerror(errno));
			return 1;
		}
		real = realpath(o->dir, NULL);
	}
	local.dir = real ? real : dir;
	rc = cmd_up_local(&local, o->json, while_fd);
	free(real);
	return rc;
}

static int run_metrics(int n, const struct target *t, const struct options *o)
{
	char *text;

	if (o->json) {
		fprintf(stderr, "svcctl: metrics is for Prometheus; status --json has the same as JSON\n");
		return 2;
	}
	if (!o->once)
		return metrics_serve(n, t, (uint16_t)o->http_port);
	text = metrics_text(n, t);
	if (!text) {
		fprintf(stderr, "svcctl: out of memory\n");
		return 1;
	}
	fputs(text, stdout);
	free(text);
	return 0;
}

int main(int argc, char **argv)
{
	static struct target t[TARGETS_MAX];
	struct options o = {.idle = "auto",
			    .udp_port = 4791,
			    .interval_ms = 1000,
			    .http_port = 9479,
			    .heartbeat_ms = PROTO_HEARTBEAT_DEFAULT};
	const char *command = argc > 1 ? argv[1] : "help", *name;
	int n;

	if (argc > 1) {
		argc--;
		argv++;
	}
	if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0) {
		fputs(usage_text, stdout);
		return 0;
	}
	if (options_read(argc, argv, &o))
		return 2;
	argc -= optind;
	argv += optind;
	if (strcmp(command, "check") == 0)
		return cmd_check(argc, argv, o.reference, o.json);
	if (strcmp(command, "doctor") == 0)
		return cmd_doctor(argc, argv, o.sysroot, o.fix, o.json);
	if (strcmp(command, "up") == 0)
		return run_up(&o, argc, argv);
	if (strcmp(command, "status") == 0 || strcmp(command, "down") == 0 ||
	    strcmp(command, "top") == 0 || strcmp(command, "metrics") == 0) {
		n = client_targets(argc, argv, o.dir, t);
		if (n < 0)
			return 1;
		switch (command[0]) {
		case 's': return client_status(n, t, o.json);
		case 'd': return client_down(n, t, o.json);
		case 't': return top_run(n, t, o.interval_ms, o.once, o.json);
		default: return run_metrics(n, t, &o);
		}
	}
	if (strcmp(command, "restart") == 0 || strcmp(command, "logs") == 0) {
		if (client_target(argc, argv, o.dir, &t[0], &name))
			return 1;
		return command[0] == 'r' ? client_restart(&t[0], name, o.json)
					 : logs_show(t[0].name, t[0].run_dir, name, o.follow, o.json);
	}
	fprintf(stderr, "svcctl: there is no command %s\n\n%s", command, usage_text);
	return 2;
}
