/* SPDX-License-Identifier: Apache-2.0 */
/* Reads policy pages. */
#include "tools/svcctl/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/sandbox.h"

struct word {
	const char *name;
	uint64_t value;
};

#define W(name) {#name, (uint64_t)(name)}
/* Values of arguments that pages may name. */
static const struct word values[] = {
	W(PROT_READ), W(PROT_WRITE), W(PROT_EXEC), W(MAP_SHARED), W(MAP_PRIVATE), W(MAP_ANONYMOUS),
	W(MAP_FIXED), W(MAP_NORESERVE), W(MAP_POPULATE), W(MAP_STACK), W(AF_UNIX), W(AF_INET),
	W(SOCK_STREAM), W(SOCK_DGRAM), W(SOCK_SEQPACKET), W(SOCK_CLOEXEC), W(SOCK_NONBLOCK),
	W(O_RDONLY), W(O_WRONLY), W(O_RDWR), W(O_CREAT), W(O_TRUNC), W(O_CLOEXEC), W(O_APPEND),
	W(O_DIRECTORY), W(O_EXCL), W(O_NONBLOCK), W(O_NOFOLLOW), W(F_GETFL), W(F_SETFL), W(F_GETFD),
	W(F_SETFD), W(F_DUPFD_CLOEXEC), W(F_ADD_SEALS), W(F_GET_SEALS), W(F_SETLKW), W(F_SETLK),
	W(CLONE_VM), W(CLONE_FS), W(CLONE_FILES), W(CLONE_SIGHAND), W(CLONE_THREAD), W(CLONE_SYSVSEM),
	W(CLONE_SETTLS), W(CLONE_PARENT_SETTID), W(CLONE_CHILD_CLEARTID), W(CLONE_NEWUSER),
	W(CLONE_NEWNS), W(CLONE_NEWPID), W(CLONE_NEWNET), W(CLONE_NEWIPC), W(CLONE_NEWUTS),
	W(MADV_DONTNEED), W(MADV_FREE), {"MADV_POPULATE_READ", 22}, {"MADV_POPULATE_WRITE", 23},
};
static const struct word keeps[] = {
	{"user", KEEP_USER}, {"mount", KEEP_MOUNT}, {"pid", KEEP_PID},
	{"ipc", KEEP_IPC},   {"uts", KEEP_UTS},	    {"network", KEEP_NETWORK},
};
static const struct word caps[] = {
	W(CAP_IPC_LOCK),   W(CAP_NET_RAW), W(CAP_NET_ADMIN), W(CAP_BPF),	  W(CAP_SYS_ADMIN),
	W(CAP_SYS_PTRACE), W(CAP_CHOWN),   W(CAP_SETUID),    W(CAP_SETGID),	  W(CAP_DAC_OVERRIDE),
	W(CAP_SYS_CHROOT), W(CAP_KILL),	   W(CAP_SYS_NICE),  W(CAP_SYS_RESOURCE), W(CAP_CHECKPOINT_RESTORE),
	W(CAP_DAC_READ_SEARCH),
};
static const struct word limits[] = {
	{"core", RLIMIT_CORE},	 {"nofile", RLIMIT_NOFILE}, {"memlock", RLIMIT_MEMLOCK},
	{"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK},   {"as", RLIMIT_AS},
};
static const struct word errors[] = {W(EPERM), W(ENOSYS), W(EACCES), W(ENOENT), W(EINVAL), W(EAGAIN)};

struct page {
	const char *path, *shared;
	unsigned line, depth;
	struct policy *p;
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct page *g, const char *fmt, ...)
{
	int n = snprintf(g->err, g->errlen, "%s:%u: ", g->path, g->line);
	va_list ap;

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < g->errlen)
		vsnprintf(g->err + n, g->errlen - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool find(const struct word *w, size_t n, const char *name, uint64_t *out)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(w[i].name, name)) {
			*out = w[i].value;
			return true;
		}
	return false;
}
#define FIND(table, name, out) find(table, sizeof(table) / sizeof((table)[0]), name, out)

/* V|V|V */
static bool value(const char *text, uint64_t *out)
{
	char buf[256], *save = NULL, *end;
	uint64_t v;

	*out = 0;
	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf) || !*buf)
		return false;
	for (char *t = strtok_r(buf, "|", &save); t; t = strtok_r(NULL, "|", &save)) {
		if (!FIND(values, t, &v)) {
			v = strtoull(t, &end, 0);
			if (*end)
				return false;
		}
		*out |= v;
	}
	return true;
}

static int call(struct page *g, char **words, unsigned n, bool refuse)
{
	struct policy_rule *r = &g->p->rule[g->p->nrules];
	size_t len = strlen(words[1]);
	bool optional = len && words[1][len - 1] == '?';
	uint64_t v;

	if (g->p->nrules == POLICY_RULES_MAX)
		return bad(g, "more than %d system calls", POLICY_RULES_MAX);
	*r = (struct policy_rule){0};
	if (optional)
		words[1][len - 1] = 0;
	r->call = syscall_number(words[1]);
	if (r->call < 0)
		return optional ? 0 : bad(g, "there is no system call %s here; %s? takes it where there is",
					  words[1], words[1]);
	if (refuse) {
		if (n != 3 || !FIND(errors, words[2], &v))
			return bad(g, "refuse CALL ERRNO: EPERM, ENOSYS, EACCES, ENOENT, EINVAL or EAGAIN");
		r->refuse = (int)v;
	}
	for (unsigned i = 2; !refuse && i < n; i += 4) {
		struct policy_cond *c = &r->cond[r->nconds++];
		const char *w = words[i];

		if (strcmp(w, i == 2 ? "if" : "and") || n < i + 4 || strncmp(words[i + 1], "arg", 3) ||
		    words[i + 1][3] < '0' || words[i + 1][3] > '5' || words[i + 1][4] ||
		    !value(words[i + 3], &v) || r->nconds > POLICY_CONDS_MAX)
			return bad(g, "a condition is: if argN is|within|without VALUE");
		c->arg = (uint8_t)(words[i + 1][3] - '0');
		w = words[i + 2];
		if (!strcmp(w, "is"))
			c->mask = UINT64_MAX, c->value = v;
		else if (!strcmp(w, "within"))
			c->mask = ~v;
		else if (!strcmp(w, "without"))
			c->mask = v;
		else
			return bad(g, "a condition is: if argN is|within|without VALUE");
	}
	g->p->nrules++;
	return 0;
}

static int page_read(struct page *g);

static int include(struct page *g, const char *name)
{
	struct page sub = *g;
	char path[512];
	const char *slash = strrchr(g->path, '/');

	if (g->depth == POLICY_DEPTH_MAX || strchr(name, '/'))
		return bad(g, "include %s: a name of a page, and not that deep", name);
	snprintf(path, sizeof(path), "%.*s/%s.policy", slash ? (int)(slash - g->path) : 1,
		 slash ? g->path : ".", name);
	if (access(path, R_OK))
		snprintf(path, sizeof(path), "%s/%s.policy", g->shared, name);
	sub.path = path;
	sub.depth++;
	if (access(path, R_OK))
		return bad(g, "there is no page %s", name);
	return page_read(&sub);
}

static int entry(struct page *g, char **words, unsigned n)
{
	struct policy *p = g->p;
	uint64_t v, w;
	char *end;

	if (!strcmp(words[0], "allow") && n >= 2)
		return call(g, words, n, false);
	if (!strcmp(words[0], "refuse") && n >= 2)
		return call(g, words, n, true);
	if (!strcmp(words[0], "keep") && n == 2 && FIND(keeps, words[1], &v)) {
		p->keep |= (uint32_t)v;
		return 0;
	}
	if (!strcmp(words[0], "start") && n == 2 && FIND(caps, words[1], &v)) {
		p->start_caps |= 1ull << v;
		return 0;
	}
	if (!strcmp(words[0], "hold") && n == 2 && FIND(caps, words[1], &v)) {
		p->start_caps |= 1ull << v;
		p->hold_caps |= 1ull << v;
		return 0;
	}
	if (!strcmp(words[0], "limit") && n == 3 && FIND(limits, words[1], &v) &&
	    p->nlimits < POLICY_LIMITS_MAX) {
		w = strtoull(words[2], &end, 0);
		if (*end)
			return bad(g, "limit %s: %s is no number", words[1], words[2]);
		p->limit[p->nlimits].resource = (int)v;
		p->limit[p->nlimits++].value = w;
		return 0;
	}
	if (!strcmp(words[0], "file") && n == 3 && words[1][0] == '/' && !strstr(words[1], "..") &&
	    strlen(words[1]) < POLICY_PATH_MAX && p->nfiles < POLICY_FILES_MAX &&
	    (!strcmp(words[2], "read") || !strcmp(words[2], "write"))) {
		snprintf(p->file[p->nfiles].path, POLICY_PATH_MAX, "%s", words[1]);
		p->file[p->nfiles++].write = words[2][0] == 'w';
		return 0;
	}
	if (!strcmp(words[0], "proc") && n == 1) {
		p->proc = true;
		return 0;
	}
	return bad(g, "%s: not understood; man svcctl lists what a page may say", words[0]);
}

static int line(struct page *g, char *text)
{
	char *words[16], *save = NULL, *reason = strstr(text, " : ");
	unsigned n = 0;

	text[strcspn(text, "\n")] = 0;
	if (reason) {
		*reason = 0;
		reason += 3;
		reason += strspn(reason, " \t");
	}
	for (char *t = strtok_r(text, " \t", &save); t && n < 16; t = strtok_r(NULL, " \t", &save))
		words[n++] = t;
	if (n == 0)
		return 0;
	if (!strcmp(words[0], "include") && n == 2)
		return include(g, words[1]);
	if (!reason || !*reason)
		return bad(g, "%s %s has no reason: write it after \" : \"", words[0], n > 1 ? words[1] : "");
	return entry(g, words, n);
}

static int page_read(struct page *g)
{
	char text[512];
	FILE *f = fopen(g->path, "re");
	int rc = f ? 0 : -errno;

	for (g->line = 1; !rc && fgets(text, sizeof(text), f); g->line++) {
		if (!strchr(text, '\n') && !feof(f))
			rc = bad(g, "a line has at most %zu bytes", sizeof(text) - 2);
		else if (text[0] != '#')
			rc = line(g, text);
	}
	if (f)
		fclose(f);
	return rc;
}

int policy_read(const char *path, const char *shared, struct policy *out, char *err, size_t errlen)
{
	struct page g = {.path = path, .shared = shared, .p = out, .err = err, .errlen = errlen};
	int rc;

	memset(out, 0, sizeof(*out));
	snprintf(err, errlen, "%s cannot be read", path);
	rc = page_read(&g);
	return rc == -EINVAL || !rc ? rc : -ENOENT;
}

int policy_find(const char *program, char *path, size_t len, char *shared, size_t slen)
{
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *name = strrchr(program, '/');
	char *slash;

	name = name ? name + 1 : program;
	if (n <= 0)
		return -ENOENT;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	/* in the build beside svcctl, installed in the data directory */
	snprintf(shared, slen, "%s/policy", self);
	if (access(shared, X_OK))
		snprintf(shared, slen, "%s/../share/atoll/policy", self);
	snprintf(path, len, "%s.policy", program);
	if (access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR))
		snprintf(path, len, "%s/%s.policy", shared, name);
	/* one that is there and cannot be read is no reason to do without: policy_read will say so */
	return access(path, F_OK) && (errno == ENOENT || errno == ENOTDIR) ? -ENOENT : 0;
}
