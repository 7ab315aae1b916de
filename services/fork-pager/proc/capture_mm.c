/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings, as the snapshot has them, and the layout of the address space. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "services/fork-pager/proc/capture_impl.h"
#include "services/fork-pager/proc/procfs.h"

static const struct {
	char name[3];
	uint32_t flag;
} vm_flags[] = {
	{"gd", IMAGE_VMA_GROWSDOWN}, {"nr", IMAGE_VMA_NORESERVE},  {"hg", IMAGE_VMA_HUGEPAGE},
	{"nh", IMAGE_VMA_NOHUGEPAGE}, {"dd", IMAGE_VMA_DONTDUMP},  {"wf", IMAGE_VMA_WIPEONFORK},
	{"sr", IMAGE_VMA_SEQUENTIAL}, {"rr", IMAGE_VMA_RANDOM},    {"mg", IMAGE_VMA_MERGEABLE},
};

static bool named(const struct procfs_map *m, const char *name)
{
	return m->path_len == strlen(name) && memcmp(m->path, name, m->path_len) == 0;
}

static bool begins(const struct procfs_map *m, const char *text)
{
	return m->path_len >= strlen(text) && memcmp(m->path, text, strlen(text)) == 0;
}

static bool ends(const struct procfs_map *m, const char *text)
{
	size_t n = strlen(text);

	return m->path_len >= n && memcmp(m->path + m->path_len - n, text, n) == 0;
}

/* Shared memory, and files: which file. */
static int of_file(struct capture_work *w, const struct procfs_map *m, struct image_vma *v)
{
	size_t len = m->path_len;
	bool deleted = ends(m, " (deleted)");
	int file;

	if (deleted)
		len -= strlen(" (deleted)");
	file = capture_file_add(w, m->path, len, m->dev, m->ino, deleted);
	if (file < 0)
		return file;
	v->file = file;
	v->offset = m->offset;
	v->kind = m->shared ? IMAGE_VMA_SHARED : IMAGE_VMA_FILE;
	/* A file that nobody can open any more, and one that may change under the child, by value. */
	if (deleted || w->o->carry_files)
		v->flags |= IMAGE_VMA_WHOLE;
	return 0;
}

/* Programs jump to addresses inside it, so that of another kernel will not do. */
static int vdso_identify(struct capture_work *w, const struct procfs_map *m)
{
	static uint8_t code[65536];
	size_t len = m->end - m->start < sizeof(code) ? m->end - m->start : sizeof(code);
	uint32_t crc;

	if (pread(w->snapshot.mem_fd, code, len, (off_t)m->start) != (ssize_t)len)
		return -EIO;
	crc = image_crc32c(code, len);
	return capture_bytes_set(&w->c->image.host.vdso_id, &crc, sizeof(crc));
}

static int mapping(struct capture_work *w, const struct procfs_map *m)
{
	struct image *im = &w->c->image;
	struct image_vma *v;
	bool on_demand;

	if (named(m, "[vsyscall]"))
		return 0;
	if ((procfs_map_flag(m, "io") || procfs_map_flag(m, "pf")) && !begins(m, "[vvar")) {
		capture_refuse(w, "device memory %.*s at %#llx", (int)m->path_len, m->path,
			       (unsigned long long)m->start);
		return 0;
	}
	on_demand = procfs_map_flag(m, "um") || procfs_map_flag(m, "ui");
	if (on_demand && (m->shared || !begins(m, "/memfd:atoll-pages"))) {
		/* Reading what is missing would wait for whoever fills it. Not to be dropped either. */
		capture_note(w, "cannot be carried: memory at %#llx that a userfaultfd of its own fills",
			     (unsigned long long)m->start);
		w->c->report.refused++;
		return -EOPNOTSUPP;
	}
	v = capture_grow((void **)&im->vmas, &im->nvmas, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->start = m->start;
	v->end = m->end;
	v->prot = m->prot;
	v->file = IMAGE_NONE;
	for (size_t i = 0; i < sizeof(vm_flags) / sizeof(vm_flags[0]); i++)
		if (procfs_map_flag(m, vm_flags[i].name))
			v->flags |= vm_flags[i].flag;
	if (named(m, "[vdso]")) {
		v->kind = IMAGE_VMA_VDSO;
		im->host.vdso_size += m->end - m->start;
		return vdso_identify(w, m);
	} else if (named(m, "[vvar]")) {
		v->kind = IMAGE_VMA_VVAR;
		im->host.vvar_size += m->end - m->start;
	} else if (named(m, "[vvar_vclock]")) {
		v->kind = IMAGE_VMA_VCLOCK;
		im->host.vclock_size += m->end - m->start;
	} else if (!m->shared && begins(m, "/memfd:atoll-pages")) {
		/* Memory of a child of ours; what it has not touched lies in the cache, or is not there yet. */
		v->kind = IMAGE_VMA_ANON;
		v->flags |= on_demand ? IMAGE_VMA_CHILD : IMAGE_VMA_WHOLE;
	} else if (!m->shared && (m->path_len == 0 || m->path[0] == '[')) {
		v->kind = IMAGE_VMA_ANON;
		if (named(m, "[heap]"))
			v->flags |= IMAGE_VMA_HEAP;
		if (named(m, "[stack]"))
			v->flags |= IMAGE_VMA_STACK;
		if (begins(m, "[anon:") && m->path_len > 7)
			return capture_bytes_set(&v->name, m->path + 6, m->path_len - 7);
	} else {
		return of_file(w, m, v);
	}
	return 0;
}

/* Locks are not inherited, so the snapshot has none: they are looked up in the target. */
static void locks(struct capture_work *w)
{
	struct image *im = &w->c->image;
	char *status = procfs_read(NULL, "/proc/%d/status", w->pid), *smaps;
	struct procfs_map m;
	const char *at;
	uint32_t i = 0;

	if (procfs_number(status, "VmLck", 10, 0) == 0) {
		free(status);
		return;
	}
	free(status);
	smaps = procfs_read(NULL, "/proc/%d/smaps", w->pid);
	for (at = smaps; procfs_map_next(&at, &m);) {
		if (!procfs_map_flag(&m, "lo"))
			continue;
		while (i < im->nvmas && im->vmas[i].end <= m.start)
			i++;
		for (uint32_t k = i; k < im->nvmas && im->vmas[k].start < m.end; k++)
			im->vmas[k].flags |= IMAGE_VMA_LOCKED;
	}
	free(smaps);
}

/* Fields of /proc/PID/stat, counted from 1 as proc(5) does. */
static int layout(struct capture_work *w)
{
	struct image_mm *mm = &w->c->image.mm;
	char *stat = procfs_read(NULL, "/proc/%d/stat", w->pid), *exe;
	uint64_t v[53] = {0};
	size_t len = 0;
	char *at, *auxv;
	struct procfs_map m = {0};
	int rc;

	at = stat ? strrchr(stat, ')') : NULL;
	for (unsigned field = 3; at && field < 53; field++) {
		at = strchr(at, ' ');
		if (at)
			v[field] = strtoull(++at, NULL, 10);
	}
	free(stat);
	mm->start_code = v[26];
	mm->end_code = v[27];
	mm->start_stack = v[28];
	mm->start_data = v[45];
	mm->end_data = v[46];
	mm->start_brk = v[47];
	mm->arg_start = v[48];
	mm->arg_end = v[49];
	mm->env_start = v[50];
	mm->env_end = v[51];
	auxv = procfs_read(&len, "/proc/%d/auxv", w->pid);
	if (!auxv)
		return -ESRCH;
	rc = capture_bytes_set(&mm->auxv, auxv, len);
	free(auxv);
	if (rc)
		return rc;
	exe = procfs_link("/proc/%d/exe", w->pid);
	mm->exe = IMAGE_NONE;
	m.path = exe;
	m.path_len = exe ? strlen(exe) : 0;
	if (exe) {
		bool deleted = ends(&m, " (deleted)");

		if (deleted)
			m.path_len -= strlen(" (deleted)");
		mm->exe = capture_file_add(w, exe, m.path_len, 0, 0, deleted);
	}
	free(exe);
	return 0;
}

int capture_mm(struct capture_work *w)
{
	struct image *im = &w->c->image;
	char *smaps = procfs_read(NULL, "/proc/%d/smaps", w->snapshot.pid);
	struct timespec mono, boot;
	struct utsname un;
	struct procfs_map m;
	const char *at;
	int rc = smaps ? 0 : -ESRCH;

	for (at = smaps; !rc && procfs_map_next(&at, &m);)
		rc = mapping(w, &m);
	free(smaps);
	if (rc)
		return rc;
	locks(w);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	im->host.monotonic_ns = mono.tv_sec * 1000000000ll + mono.tv_nsec;
	im->host.boottime_ns = boot.tv_sec * 1000000000ll + boot.tv_nsec;
	uname(&un);
	rc = capture_bytes_set(&im->host.release, un.release, strlen(un.release));
	return rc ? rc : layout(w);
}
