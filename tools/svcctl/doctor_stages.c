/* SPDX-License-Identifier: Apache-2.0 */
/* What a node may need of the machine, but for the network (doctor_net.c). */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "tools/svcctl/doctor.h"
#include "tools/svcctl/proc.h"

#define SAY(field, ...) snprintf(r->field, sizeof(r->field), __VA_ARGS__)

#define HUGE_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define CLOCK_DIR "/sys/devices/system/clocksource/clocksource0/"

enum {
	HUGE_MIB = 64,	   /* what the DPDK ports take at least (memory_mb) */
	HUGE_PAGE_MIB = 2,
	NOFILE_LEAST = 1024, /* five descriptors a process that attaches, and some hundred of its own */
	LISTED_CORES = 64,
};

static bool port_has(const struct doctor *d, const char *word)
{
	return d->conf && strstr(d->conf->port, word);
}

static bool port_dpdk(const struct doctor *d)
{
	return port_has(d, "dpdk:") || port_has(d, "shm:");
}

static const struct conf_service *service_of(const struct doctor *d, const char *program)
{
	for (unsigned i = 0; d->conf && i < d->conf->nservices; i++) {
		const char *exec = d->conf->services[i].exec, *slash = strrchr(exec, '/');

		if (!strcmp(slash ? slash + 1 : exec, program))
			return &d->conf->services[i];
	}
	return NULL;
}

/* ---------------------------------------------------------------- memory */

static void check_hugepages(const struct doctor *d, struct doctor_result *r)
{
	uint64_t all = 0, left = 0;
	bool there = doctor_number(d, HUGE_DIR "nr_hugepages", &all) == 0 &&
		     doctor_number(d, HUGE_DIR "free_hugepages", &left) == 0;
	bool must = port_has(d, "huge=on");

	if (there)
		SAY(found, "%" PRIu64 " hugepages of 2 MiB, %" PRIu64 " free", all, left);
	else
		SAY(found, "the kernel has no hugepages of 2 MiB");
	SAY(mend, "sysctl vm.nr_hugepages=%d, early after boot; or huge=off in the port", HUGE_MIB / HUGE_PAGE_MIB);
	if (!port_dpdk(d)) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "only DPDK ports use them");
	} else if (port_has(d, "huge=off")) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "the port has huge=off");
	} else if (left * HUGE_PAGE_MIB >= HUGE_MIB) {
		SAY(means, "enough for the port");
	} else {
		r->verdict = must ? DOCTOR_FAULT : DOCTOR_INFO;
		SAY(means, must ? "the port has huge=on and will not open"
				: "the port takes ordinary pages instead, and a little more time a packet");
	}
}

static int fix_hugepages(const struct doctor *d, struct doctor_result *r)
{
	char text[4096], number[32];
	const char *at;
	uint64_t now = 0, want, kib = 0;
	int rc = doctor_read(d, "/proc/meminfo", text, sizeof(text));

	at = strstr(text, "MemAvailable:");
	if (at)
		kib = strtoull(at + 13, NULL, 10);
	if (rc || kib / 1024 < HUGE_MIB * 16) {
		SAY(did, "nothing: less than %d MiB are available, and reserved pages are lost to others",
		    HUGE_MIB * 16);
		return -ENOMEM;
	}
	rc = doctor_number(d, HUGE_DIR "nr_hugepages", &now);
	want = now + HUGE_MIB / HUGE_PAGE_MIB;
	snprintf(number, sizeof(number), "%" PRIu64, want);
	if (!rc)
		rc = doctor_write(d, HUGE_DIR "nr_hugepages", number);
	if (rc)
		SAY(did, "nothing: %snr_hugepages: %s", HUGE_DIR, strerror(-rc));
	else
		SAY(did, "nr_hugepages raised from %" PRIu64 " to %" PRIu64 ", until the next boot", now, want);
	return rc;
}

/* ---------------------------------------------------------------- what this user may do */

/* Soft and hard limit by its name in /proc/self/limits; UINT64_MAX: unlimited. */
static bool limit_find(const char *text, const char *name, uint64_t *soft, uint64_t *hard)
{
	const char *at = strstr(text, name);
	uint64_t *out[2] = {soft, hard};
	char *end;

	if (!at)
		return false;
	at += strlen(name);
	for (int i = 0; i < 2; i++) {
		at += strspn(at, " ");
		*out[i] = UINT64_MAX;
		if (strncmp(at, "unlimited", 9) == 0) {
			at += 9;
			continue;
		}
		*out[i] = strtoull(at, &end, 10);
		if (end == at)
			return false;
		at = end;
	}
	return true;
}

static uint64_t caps_now(const struct doctor *d)
{
	char text[8192];
	const char *at;

	if (doctor_read(d, "/proc/self/status", text, sizeof(text)))
		return 0;
	at = strstr(text, "CapEff:");
	return at ? strtoull(at + 7, NULL, 16) : 0;
}

static void check_limits(const struct doctor *d, struct doctor_result *r)
{
	uint64_t files, files_hard, locked, locked_hard;
	char text[4096];

	if (doctor_read(d, "/proc/self/limits", text, sizeof(text)) ||
	    !limit_find(text, "Max open files", &files, &files_hard) ||
	    !limit_find(text, "Max locked memory", &locked, &locked_hard)) {
		r->verdict = DOCTOR_INFO;
		SAY(found, "/proc/self/limits cannot be read");
		return;
	}
	SAY(found, "open files %" PRIu64 " (at most %" PRIu64 "), locked memory %" PRIu64 " KiB%s", files,
	    files_hard, locked == UINT64_MAX ? 0 : locked / 1024, locked == UINT64_MAX ? " (unlimited)" : "");
	SAY(mend, "ulimit -n %d before svcctl up, or a nofile line in /etc/security/limits.conf; ulimit -l for"
		  " locked memory", 4 * NOFILE_LEAST);
	if (files < NOFILE_LEAST) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "the dataplane needs five descriptors for each process that attaches: it can serve"
			   " about %" PRIu64, files > 100 ? (files - 100) / 5 : 0);
	} else if (port_has(d, "huge=on") && locked != UINT64_MAX && locked < (uint64_t)HUGE_MIB << 20 &&
		   !(caps_now(d) & 1ull << CAP_IPC_LOCK)) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "the port's hugepages count as locked memory, and there is not enough of it");
	} else {
		SAY(means, "enough for %" PRIu64 " processes", (files - 100) / 5 > 1024 ? 1024 : (files - 100) / 5);
	}
}

static const char *const cap_names[] = {[CAP_NET_ADMIN] = "CAP_NET_ADMIN",
					[CAP_NET_RAW] = "CAP_NET_RAW",
					[CAP_IPC_LOCK] = "CAP_IPC_LOCK",
					[CAP_SYS_ADMIN] = "CAP_SYS_ADMIN",
					[CAP_BPF] = "CAP_BPF"};

static void check_capabilities(const struct doctor *d, struct doctor_result *r)
{
	uint64_t have = caps_now(d), need = 0, spaces = 1, clone = 1;
	char missing[128] = "";

	if (d->conf)
		need = proc_port_caps(d->conf->port) & ~(1ull << CAP_IPC_LOCK);
	for (unsigned c = 0; c < sizeof(cap_names) / sizeof(cap_names[0]); c++)
		if ((need & ~have & 1ull << c) && cap_names[c])
			snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), " %s",
				 cap_names[c]);
	doctor_number(d, "/proc/sys/user/max_user_namespaces", &spaces);
	doctor_number(d, "/proc/sys/kernel/unprivileged_userns_clone", &clone);
	SAY(found, "effective capabilities %016" PRIx64 "; user namespaces %s", have,
	    spaces && clone ? "allowed" : "refused by the kernel's settings");
	if (missing[0]) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "the port cannot be opened without%s", missing);
		SAY(mend, "start the node as root (its processes give up what they do not need), or use"
			  " port = uring:, which needs none");
	} else if (!(have & 1ull << CAP_SYS_ADMIN) && (!spaces || !clone)) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "services will see the node's files and network: they get no namespaces of their own");
		SAY(mend, "sysctl user.max_user_namespaces=15000 (and kernel.unprivileged_userns_clone=1 where"
			  " there is such a setting), or start the node as root");
	} else {
		SAY(means, need ? "what the port needs is there" : "the port needs none");
	}
}

/* ---------------------------------------------------------------- cores */

/* Is @core in a list such as 0-3,8? */
static bool list_has(const char *list, int core)
{
	while (*list) {
		char *end;
		long first = strtol(list, &end, 10), last = first;

		if (end == list)
			return false;
		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		if (core >= first && core <= last)
			return true;
		list = *end == ',' ? end + 1 : "";
	}
	return false;
}

/* The cores of the configuration, each once; how many. Which of them the loops share in @shared, -1 none. */
static unsigned conf_cores(const struct doctor *d, int *out, int *shared)
{
	unsigned n = 0;

	*shared = -1;
	for (unsigned i = 0; d->conf && i <= d->conf->nservices && n < LISTED_CORES; i++) {
		int core = i ? d->conf->services[i - 1].core : d->conf->core;
		bool seen = false;

		if (core == CONF_NO_CORE)
			continue;
		for (unsigned k = 0; k < n; k++)
			seen |= out[k] == core;
		if (seen)
			*shared = core;
		else
			out[n++] = core;
	}
	return n;
}

static void check_isolation(const struct doctor *d, struct doctor_result *r)
{
	char online[256] = "", isolated[256] = "";
	int core[LISTED_CORES], shared;
	unsigned n = conf_cores(d, core, &shared), alone = 0;

	doctor_line(d, "/sys/devices/system/cpu/online", online, sizeof(online));
	doctor_line(d, "/sys/devices/system/cpu/isolated", isolated, sizeof(isolated));
	SAY(found, "cores %.100s online, %.100s isolated", online[0] ? online : "(unknown)",
	    isolated[0] ? isolated : "none");
	for (unsigned i = 0; i < n; i++) {
		if (online[0] && !list_has(online, core[i])) {
			r->verdict = DOCTOR_FAULT;
			SAY(means, "the configuration wants core %d, which is not online", core[i]);
			SAY(mend, "name another core in the configuration");
			return;
		}
		alone += list_has(isolated, core[i]);
	}
	if (n && shared >= 0 && d->conf->idle == IDLE_MODE_SPIN) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "two loops that never give the core away (idle = spin) share core %d", shared);
		SAY(mend, "give each a core of its own, or write idle = auto");
	} else if (!n) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "no process is pinned: the scheduler chooses, at the cost of steady latency");
	} else if (alone == n) {
		SAY(means, "the node's cores are the node's alone");
	} else {
		r->verdict = DOCTOR_INFO;
		SAY(means, "other programs may run on %u of the node's %u cores, and delay it; isolcpus=, nohz_full="
			   " and rcu_nocbs= on the kernel's command line keep them off", n - alone, n);
	}
}

static void governor_path(int core, char *out, size_t len)
{
	snprintf(out, len, "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", core);
}

static void check_frequency(const struct doctor *d, struct doctor_result *r)
{
	int core[LISTED_CORES], shared, first;
	unsigned n = conf_cores(d, core, &shared);
	char path[128], governor[64];

	first = n ? core[0] : 0;
	governor_path(first, path, sizeof(path));
	if (doctor_line(d, path, governor, sizeof(governor))) {
		r->verdict = DOCTOR_INFO;
		SAY(found, "the kernel does not govern frequencies here");
		SAY(means, "firmware or a hypervisor does, if anybody");
		return;
	}
	SAY(found, "governor of core %d is %.60s", first, governor);
	if (!n) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "no process is pinned to a core");
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		governor_path(core[i], path, sizeof(path));
		if (doctor_line(d, path, governor, sizeof(governor)) || !strcmp(governor, "performance"))
			continue;
		r->verdict = DOCTOR_FAULT;
		SAY(found, "governor of core %d is %.60s", core[i], governor);
		SAY(means, "a core that has slept begins slowly: latencies of the first requests double");
		SAY(mend, "cpupower -c %d frequency-set -g performance", core[i]);
		return;
	}
	SAY(means, "all of the node's cores run at full frequency");
}

static int fix_frequency(const struct doctor *d, struct doctor_result *r)
{
	int core[LISTED_CORES], shared, rc = 0;
	unsigned n = conf_cores(d, core, &shared), done = 0;
	char path[128], governor[64];

	for (unsigned i = 0; i < n && !rc; i++) {
		governor_path(core[i], path, sizeof(path));
		if (doctor_line(d, path, governor, sizeof(governor)) || !strcmp(governor, "performance"))
			continue;
		rc = doctor_write(d, path, "performance");
		done += !rc;
	}
	if (rc)
		SAY(did, "governor of %u cores set to performance; %s: %s", done, path, strerror(-rc));
	else
		SAY(did, "governor of %u core%s set to performance, until the next boot", done,
		    done == 1 ? "" : "s");
	return rc;
}

/* ---------------------------------------------------------------- devices and the kernel */

static void check_gpu(const struct doctor *d, struct doctor_result *r)
{
	const struct conf_service *s = service_of(d, "gpu-exec");
	char version[128] = "";
	bool device = doctor_exists(d, "/dev/nvidiactl");

	doctor_line(d, "/proc/driver/nvidia/version", version, sizeof(version));
	if (device)
		SAY(found, "an NVIDIA device; %.120s", version[0] ? version : "its driver does not say its version");
	else
		SAY(found, "no NVIDIA device (/dev/nvidiactl)");
	if (!s) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "the configuration has no gpu-exec");
	} else if (strstr(s->args, "cuda") && !device) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "service %.60s is to use the device cuda, and will not find it", s->name);
		SAY(mend, "install the vendor's driver, or take the device cpu");
	} else if (!device) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "service %.60s runs programs on the host's cores", s->name);
	} else {
		SAY(means, "service %.60s can use it", s->name);
	}
}

static void check_userfaultfd(const struct doctor *d, struct doctor_result *r)
{
	bool used = service_of(d, "fork-pager"), device = doctor_exists(d, "/dev/userfaultfd");
	bool root = caps_now(d) & 1ull << CAP_SYS_PTRACE;
	uint64_t open = 0;
	int rc = doctor_number(d, "/proc/sys/vm/unprivileged_userfaultfd", &open);

	if (rc && !device)
		SAY(found, "the kernel has no userfaultfd");
	else
		SAY(found, "userfaultfd for everybody: %s; /dev/userfaultfd: %s", open ? "yes" : "no",
		    device ? "there" : "not there");
	if (!used) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "only fork-pager uses it, which the configuration does not have");
	} else if (rc && !device) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "children of fork-pager cannot get their pages on demand");
		SAY(mend, "a kernel with CONFIG_USERFAULTFD");
	} else if (!open && !root && !device) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "faults inside the kernel cannot be served to an ordinary user");
		SAY(mend, "sysctl vm.unprivileged_userfaultfd=1 (it makes some kernel bugs easier to abuse: that is"
			  " for you to decide), or start the node as root");
	} else {
		SAY(means, "fork-pager can use it");
	}
}

static void check_clocks(const struct doctor *d, struct doctor_result *r)
{
	char now[64] = "", all[256] = "";
	bool fast;

	if (doctor_line(d, CLOCK_DIR "current_clocksource", now, sizeof(now))) {
		r->verdict = DOCTOR_INFO;
		SAY(found, "the kernel does not say its clock source");
		return;
	}
	doctor_line(d, CLOCK_DIR "available_clocksource", all, sizeof(all));
	fast = !strcmp(now, "tsc") || !strcmp(now, "kvm-clock") || !strcmp(now, "arch_sys_counter") ||
	       !strncmp(now, "hyperv_clocksource_tsc", 22);
	SAY(found, "clock source %.60s, of %.200s", now, all[0] ? all : now);
	if (fast) {
		SAY(means, "read without a system call");
		return;
	}
	r->verdict = DOCTOR_FAULT;
	SAY(means, "every look at the clock is a system call and a slow device: loops spend their time on it");
	SAY(mend, strstr(all, "tsc") ? "echo tsc > " CLOCK_DIR "current_clocksource"
				     : "the kernel found the time stamp counter unsteady: look for tsc in its log");
}

static int fix_clocks(const struct doctor *d, struct doctor_result *r)
{
	char all[256] = "";
	int rc;

	doctor_line(d, CLOCK_DIR "available_clocksource", all, sizeof(all));
	if (!strstr(all, "tsc")) {
		SAY(did, "nothing: the kernel does not offer tsc");
		return -ENODEV;
	}
	/* offered only where the kernel holds it for steady */
	rc = doctor_write(d, CLOCK_DIR "current_clocksource", "tsc");
	if (rc)
		SAY(did, "nothing: current_clocksource: %s", strerror(-rc));
	else
		SAY(did, "clock source set to tsc, until the next boot");
	return rc;
}

const struct doctor_stage doctor_stages[] = {
	{"hugepages", check_hugepages, fix_hugepages},
	{"limits", check_limits, NULL},
	{"capabilities", check_capabilities, NULL},
	{"isolation", check_isolation, NULL},
	{"frequency", check_frequency, fix_frequency},
	{"nic", doctor_nic, NULL},
	{"mtu", doctor_mtu, NULL},
	{"rdma", doctor_rdma, NULL},
	{"gpu", check_gpu, NULL},
	{"userfaultfd", check_userfaultfd, NULL},
	{"clocks", check_clocks, fix_clocks},
	{NULL, NULL, NULL},
};
