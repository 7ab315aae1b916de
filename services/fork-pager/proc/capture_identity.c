/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process is, where it is, what it may use; and what of it cannot be carried at all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

static void four(const char *status, const char *name, uint32_t out[4])
{
	const char *v = procfs_field(status, name);

	if (!v || sscanf(v, "%u %u %u %u", &out[0], &out[1], &out[2], &out[3]) != 4)
		memset(out, 0xff, 4 * sizeof(*out));
}

static int creds(struct image_creds *k, const char *status)
{
	const char *g = procfs_field(status, "Groups");
	char *end;

	four(status, "Uid", k->uid);
	four(status, "Gid", k->gid);
	while (g && *g && *g != '\n' && k->ngroups < IMAGE_GROUPS_MAX) {
		unsigned long v = strtoul(g, &end, 10);
		uint32_t *slot;

		if (end == g)
			break;
		slot = capture_grow((void **)&k->groups, &k->ngroups, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = (uint32_t)v;
		g = end + strspn(end, " ");
	}
	k->cap_inheritable = procfs_number(status, "CapInh", 16, 0);
	k->cap_permitted = procfs_number(status, "CapPrm", 16, 0);
	k->cap_effective = procfs_number(status, "CapEff", 16, 0);
	k->cap_bounding = procfs_number(status, "CapBnd", 16, 0);
	k->cap_ambient = procfs_number(status, "CapAmb", 16, 0);
	k->no_new_privs = procfs_number(status, "NoNewPrivs", 10, 0) != 0;
	return 0;
}

static int link_bytes(struct image_bytes *b, pid_t pid, const char *name)
{
	char *to = procfs_link("/proc/%d/%s", pid, name);
	int rc = to ? capture_bytes_set(b, to, strlen(to)) : 0;

	free(to);
	return rc;
}

/* Of its group and session: whether it leads them. */
static void session(struct capture_work *w, const char *status)
{
	struct image *im = &w->c->image;
	int32_t own = im->threads[0].tid;

	im->pgid = (int32_t)procfs_last(status, "NSpgid") == own ? own : 0;
	im->sid = (int32_t)procfs_last(status, "NSsid") == own ? own : 0;
}

int capture_identity(struct capture_work *w)
{
	struct image *im = &w->c->image;
	char *status = procfs_read(NULL, "/proc/%d/status", w->pid), *text;
	int rc;

	if (!status)
		return -ESRCH;
	rc = creds(&im->creds, status);
	im->umask = (uint32_t)procfs_number(status, "Umask", 8, 022) & 0777;
	session(w, status);
	free(status);
	for (int i = 0; i < IMAGE_LIMITS; i++) {
		struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};

		prlimit(w->pid, (enum __rlimit_resource)i, NULL, &l);
		im->limits[i] = (struct image_limit){l.rlim_cur, l.rlim_max};
	}
	if (!rc)
		rc = link_bytes(&im->cwd, w->pid, "cwd");
	if (!rc)
		rc = link_bytes(&im->root, w->pid, "root");
	text = procfs_read(NULL, "/proc/%d/oom_score_adj", w->pid);
	im->oom_score_adj = text ? (uint32_t)(strtol(text, NULL, 10) + OOM_BIAS) : OOM_BIAS;
	free(text);
	text = procfs_read(NULL, "/proc/%d/timerslack_ns", w->pid);
	im->timerslack_ns = text ? (uint32_t)strtoul(text, NULL, 10) : 50000;
	free(text);
	return rc;
}

/* ------------------------------------------------------------------ obstacles */

static void namespaces(struct capture_work *w)
{
	static const char *const names[] = {"user", "mnt", "net", "cgroup"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *theirs = procfs_link("/proc/%d/ns/%s", w->pid, names[i]);
		char *own = procfs_link("/proc/self/ns/%s", names[i]);

		if (theirs && own && strcmp(theirs, own) != 0)
			capture_refuse(w, "it has a %s namespace of its own", names[i]);
		free(theirs);
		free(own);
	}
}

/* The helper of a capture whose tracer was killed (snapshot_paused): a zombie that signals nobody. It is reaped. */
static bool remains(struct capture_work *w, long pid)
{
	char *stat = procfs_read(NULL, "/proc/%ld/stat", pid), *status = procfs_read(NULL, "/proc/%ld/status", pid);
	const char *at = stat ? strrchr(stat, ')') : NULL;
	uint64_t number = status ? procfs_last(status, "NSpid") : 0;
	bool zombie = at && strncmp(at, ") Z", 3) == 0;
	int64_t ret = -1;

	for (unsigned field = 2; zombie && at && field < 38; field++)
		at = strchr(at + 1, ' ');
	/* exit_signal, proc(5) */
	if (zombie && at && strtol(at, NULL, 10) == 0 && number)
		trace_call(&w->target, 0, SYS_wait4, (const uint64_t[6]){number, 0, 0x40000000 /* __WALL */, 0}, &ret);
	free(stat);
	free(status);
	return ret > 0;
}

/* Takes out of a list of processes what is ours: helpers that run our program, and remains. */
static void helpers_drop(struct capture_work *w, char *list)
{
	char *own = w->o->self ? procfs_link("/proc/self/exe") : NULL, *out = list, *at = list, *end;

	for (; strtol(at, &end, 10) > 0; at = end) {
		long pid = strtol(at, NULL, 10);
		char *exe = own ? procfs_link("/proc/%ld/exe", pid) : NULL;

		if (!(exe && strcmp(exe, own) == 0) && !remains(w, pid)) {
			memmove(out, at, (size_t)(end - at));
			out += end - at;
		}
		free(exe);
	}
	*out = 0;
	free(own);
}

void capture_children_paused(struct capture_work *w)
{
	for (unsigned i = 0; i < w->target.n; i++) {
		char *list = procfs_read(NULL, "/proc/%d/task/%d/children", w->pid,
					 w->target.threads[i].tid);

		if (list)
			helpers_drop(w, list);
		if (list && strspn(list, " \n") < strlen(list)) {
			list[strcspn(list, "\n")] = 0;
			capture_refuse(w, "its child processes (%s)", list);
		}
		free(list);
	}
}

/* Where it is in the file system, and whose share of the machine it has. */
static void surroundings(struct capture_work *w)
{
	char *root = procfs_link("/proc/%d/root", w->pid), *own = procfs_link("/proc/self/root");
	char *cgroup = procfs_read(NULL, "/proc/%d/cgroup", w->pid), *ours = procfs_read(NULL, "/proc/self/cgroup");

	if (root && own && strcmp(root, own) != 0)
		capture_refuse(w, "its root directory %s", root);
	if (cgroup && ours && strcmp(cgroup, ours) != 0)
		capture_note(w, "not carried: its control groups; a child is in those of whoever resumes it");
	free(root);
	free(own);
	free(cgroup);
	free(ours);
}

int capture_obstacles(struct capture_work *w)
{
	char *status = procfs_read(NULL, "/proc/%d/status", w->pid);

	if (!status)
		return -ESRCH;
	if (procfs_number(status, "Seccomp", 10, 0))
		capture_refuse(w, "its system call filter (seccomp mode %llu)",
			       (unsigned long long)procfs_number(status, "Seccomp", 10, 0));
	free(status);
	namespaces(w);
	surroundings(w);
	return 0;
}
