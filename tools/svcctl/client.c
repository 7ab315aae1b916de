/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/svcctl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/sock.h"
#include "tools/svcctl/json.h"
#include "tools/svcctl/node.h"
#include "tools/svcctl/rundir.h"

enum {
	ANSWER_MAX = 1 << 18,
	ANSWER_MS = 20000,
};

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---------------------------------------------------------------- targets */

/* A file, or a run_dir with or without a node.conf. */
static int target_find(const char *arg, struct target *t)
{
	static struct node_conf conf;
	struct conf_errors errors = {0};
	char file[LOCAL_PATH_MAX + 16];

	memset(t, 0, sizeof(*t));
	snprintf(file, sizeof(file), is_dir(arg) ? "%s/node.conf" : "%s", arg);
	if (access(file, R_OK) == 0) {
		conf_read(file, NULL, &conf, &errors);
		memcpy(t->run_dir, conf.run_dir, sizeof(t->run_dir));
		memcpy(t->name, conf.name, sizeof(t->name));
		snprintf(t->file, sizeof(t->file), "%.*s", LOCAL_PATH_MAX - 1, file);
	}
	if (!t->run_dir[0] && is_dir(arg) && strlen(arg) <= CONF_PATH_MAX)
		snprintf(t->run_dir, sizeof(t->run_dir), "%s", arg);
	if (!t->name[0])
		snprintf(t->name, sizeof(t->name), "%.63s", arg);
	if (!t->run_dir[0]) {
		fprintf(stderr, "svcctl: %s is neither a configuration file with a run_dir nor a"
			" run_dir\n", arg);
		return -ENOENT;
	}
	return 0;
}

static int local_targets(const char *dir, struct target *t)
{
	char files[LOCAL_NODES_MAX][LOCAL_PATH_MAX], own[128];
	unsigned n;

	if (!dir) {
		if (local_dir(own, sizeof(own))) {
			fprintf(stderr, "svcctl: %s is not yours\n", own);
			return -EPERM;
		}
		dir = own;
	}
	n = local_list(dir, files, LOCAL_NODES_MAX);
	for (unsigned i = 0; i < n; i++)
		if (target_find(files[i], &t[i]))
			return -ENOENT;
	if (n == 0) {
		fprintf(stderr, "svcctl: there are no nodes in %s; name a configuration file, or start"
			" some with svcctl up --local 2\n", dir);
		return -ENOENT;
	}
	return (int)n;
}

/* Arguments as targets; how many, or negative. */
int client_targets(int argc, char **argv, const char *dir, struct target *t)
{
	if (argc == 0)
		return local_targets(dir, t);
	if (argc > TARGETS_MAX) {
		fprintf(stderr, "svcctl: more than %d targets\n", TARGETS_MAX);
		return -E2BIG;
	}
	for (int i = 0; i < argc; i++)
		if (target_find(argv[i], &t[i]))
			return -ENOENT;
	return argc;
}

/* [TARGET] NAME, or [NODE/]NAME of the local nodes. */
int client_target(int argc, char **argv, const char *dir, struct target *out,
			   const char **name)
{
	static struct target t[TARGETS_MAX];
	const char *slash;
	int n;

	if (argc == 2) {
		*name = argv[1];
		return target_find(argv[0], out);
	}
	if (argc != 1) {
		fprintf(stderr, "svcctl: name a process, or a target and a process\n");
		return -EINVAL;
	}
	n = local_targets(dir, t);
	if (n < 0)
		return n;
	slash = strchr(argv[0], '/');
	*name = slash ? slash + 1 : argv[0];
	for (int i = 0; i < n; i++)
		if (slash ? strlen(t[i].name) == (size_t)(slash - argv[0]) &&
				    strncmp(t[i].name, argv[0], (size_t)(slash - argv[0])) == 0
			  : n == 1) {
			*out = t[i];
			return 0;
		}
	fprintf(stderr, "svcctl: which node? write NODE/%s\n", *name);
	return -ENOENT;
}

/* ---------------------------------------------------------------- talking to a supervisor */

int client_ask(const struct target *t, const char *request, char **text)
{
	char path[CONF_PATH_MAX + 32];
	struct pollfd p = {.events = POLLIN};
	ssize_t n = -1;
	char *buf;
	int rc;

	*text = NULL;
	snprintf(path, sizeof(path), "%s/%s", t->run_dir, RUNDIR_CONTROL);
	p.fd = sock_connect(path);
	if (p.fd < 0)
		return p.fd;
	buf = malloc(ANSWER_MAX + 1);
	rc = buf ? sock_send(p.fd, request, strlen(request), NULL, 0) : -ENOMEM;
	if (!rc && poll(&p, 1, ANSWER_MS) > 0)
		n = recv(p.fd, buf, ANSWER_MAX, 0);
	close(p.fd);
	if (rc || n <= 0) {
		free(buf);
		return rc ? rc : n == 0 ? -ECONNRESET : -ETIMEDOUT;
	}
	buf[n] = 0;
	/* it may be somebody else's node, and goes to this one's terminal */
	for (char *c = buf; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\n' && *c != '\t') || *c == 127)
			*c = '?';
	*text = buf;
	return buf[0] == '0' ? 0 : 1;
}

static void say_down(const struct target *t, bool json)
{
	char why[NODE_TEXT_MAX] = "";
	bool known = rundir_why(t->run_dir, why, sizeof(why)) == 0;

	if (!json) {
		printf("node %s is down%s%s\n", t->name, known ? "; it ended: " : "", why);
		return;
	}
	json_member(stdout, "{", "node", t->name);
	json_member(stdout, ", ", "state", "down");
	json_member(stdout, ", ", "ended", why);
	json_member(stdout, ", ", "run_dir", t->run_dir);
	puts("}");
}

/* What went wrong: on stderr for people, else as an object with the member "error". */
static void say_error(const struct target *t, const char *process, const char *error, bool json)
{
	if (!json) {
		fprintf(stderr, "svcctl: %s\n", error);
		return;
	}
	json_member(stdout, "{", "node", t->name);
	if (process)
		json_member(stdout, ", ", "process", process);
	json_member(stdout, ", ", "error", error);
	puts("}");
}

int client_status(int n, const struct target *t, bool json)
{
	int exit_status = 0;

	for (int i = 0; i < n; i++) {
		char *text;
		int rc = client_ask(&t[i], json ? "json" : "status", &text);

		if (rc == 0) {
			fputs(text + 1, stdout);
		} else if (rc == -EACCES || rc == -EPERM) {
			fprintf(stderr, "svcctl: node %s belongs to another user\n", t[i].name);
			exit_status = 1;
		} else {
			say_down(&t[i], json);
			exit_status = 3; /* as systemctl does for what is not running */
		}
		free(text);
	}
	return exit_status;
}

int client_down(int n, const struct target *t, bool json)
{
	int exit_status = 0, lock;

	for (int i = 0; i < n; i++) {
		char *text;
		int rc = client_ask(&t[i], "down", &text);

		free(text);
		if (rc == -ENOENT || rc == -ECONNREFUSED) {
			say_down(&t[i], json);
			continue;
		}
		lock = rundir_lock(t[i].run_dir, 5000);
		if (rc != -ECONNRESET || lock < 0) {
			char why[CONF_NAME_MAX + 128];

			snprintf(why, sizeof(why), "node %s did not end: %s", t[i].name,
				 lock < 0 ? strerror(-lock) : strerror(-rc));
			say_error(&t[i], NULL, why, json);
			exit_status = 1;
		} else if (json) {
			say_down(&t[i], true);
		} else {
			printf("node %s is down\n", t[i].name);
		}
		if (lock >= 0)
			close(lock);
	}
	return exit_status;
}

int client_restart(const struct target *t, const char *name, bool json)
{
	char request[CONF_NAME_MAX + 16], *text, *end;
	int rc;

	snprintf(request, sizeof(request), "restart %.*s", CONF_NAME_MAX, name);
	rc = client_ask(t, request, &text);
	if (rc < 0) {
		say_down(t, json);
	} else if (rc) {
		text[strcspn(text, "\n")] = 0;
		say_error(t, name, text + 1, json);
	} else if (json) {
		/* "NAME is ready, pid N" */
		end = strrchr(text, ' ');
		json_member(stdout, "{", "node", t->name);
		json_member(stdout, ", ", "process", name);
		printf(", \"state\": \"ready\", \"pid\": %ld}\n", end ? strtol(end, NULL, 10) : 0);
	} else {
		fputs(text + 1, stdout);
	}
	free(text);
	return rc != 0;
}
