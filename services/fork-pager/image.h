/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - the descriptor of a snapshot: everything about a process but its pages.
 *
 * An image is written once, by proc/capture, and read on any node. Its size does not depend on how much
 * memory the process has: a mapping costs some ten bytes, a thread some hundred (of its extended registers
 * only what is in use). On the wire it is
 *
 *   0   u32 magic "AFRK"
 *   4   u16 version, u16 header bytes (32)
 *   8   u32 body bytes, u32 CRC-32C of the body
 *   16  u64 reserved, 0
 *   24  u32 reserved, 0; u32 CRC-32C of bytes 0 to 27
 *   32  body: sections in the order of struct image, numbers as LEB128, byte strings with their length
 *
 * The reader trusts nothing: each count is bounded before anything is allocated for it, each index is
 * checked against what it points into, ranges must ascend and lie in user space, and the body must end
 * where it says. A version that is not known is refused; sections are added at the end.
 *
 * The secret that lets somebody read a snapshot is not in it.
 */
#ifndef ATOLL_FORK_IMAGE_H
#define ATOLL_FORK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	IMAGE_MAGIC = 0x4b524641,
	IMAGE_VERSION = 2,
	IMAGE_HEADER = 32,
	IMAGE_MAX = 1 << 20, /* bytes */
	IMAGE_VMAS_MAX = 65536,
	IMAGE_THREADS_MAX = 1024,
	IMAGE_FDS_MAX = 4096,
	IMAGE_TIMERS_MAX = 256,
	IMAGE_PENDING_MAX = 256,
	IMAGE_WATCHES_MAX = 1024, /* of one epoll or inotify */
	IMAGE_PATH_MAX = 4096,
	IMAGE_GROUPS_MAX = 256,
	IMAGE_FILTERS_MAX = 32,
	IMAGE_LIMITS = 16,
	IMAGE_SIGNALS = 64,
	IMAGE_XSTATE_MAX = 16384,
	IMAGE_SIGINFO = 128,
	OOM_BIAS = 1000, /* oom_score_adj, which goes from -1000 to 1000, is kept with so much added */
	IMAGE_DATA_MAX = 1 << 19, /* bytes of pipes and small files inside the image */
	IMAGE_NONE = -1,
};

/* A byte string of the image; freed by image_free. */
struct image_bytes {
	uint8_t *data;
	uint32_t len;
};

enum image_vma_kind {
	IMAGE_VMA_ANON = 1,
	IMAGE_VMA_FILE = 2,	/* private mapping of a file */
	IMAGE_VMA_SHARED = 3,	/* shared memory: anonymous, memfd, or a file; copied */
	IMAGE_VMA_VDSO = 4,
	IMAGE_VMA_VVAR = 5,	/* [vvar] */
	IMAGE_VMA_VCLOCK = 6,	/* [vvar_vclock] */
};

enum image_vma_flag {
	IMAGE_VMA_GROWSDOWN = 1 << 0,
	IMAGE_VMA_LOCKED = 1 << 1,
	IMAGE_VMA_NORESERVE = 1 << 2,
	IMAGE_VMA_HUGEPAGE = 1 << 3,
	IMAGE_VMA_NOHUGEPAGE = 1 << 4,
	IMAGE_VMA_DONTDUMP = 1 << 5,
	IMAGE_VMA_WIPEONFORK = 1 << 6, /* contents are zero in the child */
	IMAGE_VMA_DONTFORK = 1 << 7,   /* not there in the child */
	IMAGE_VMA_SEQUENTIAL = 1 << 8,
	IMAGE_VMA_RANDOM = 1 << 9,
	IMAGE_VMA_MERGEABLE = 1 << 10,
	IMAGE_VMA_HEAP = 1 << 11,
	IMAGE_VMA_STACK = 1 << 12,
	IMAGE_VMA_WHOLE = 1 << 13, /* pages are carried whole, the file is not looked for */
	IMAGE_VMA_CHILD = 1 << 14, /* memory of a child whose pages are filled on demand: see PAGES_CHILD */
};

struct image_vma {
	uint64_t start, end; /* bytes, page aligned */
	uint8_t prot;	     /* PROT_* */
	uint8_t kind;	     /* enum image_vma_kind */
	uint32_t flags;	     /* enum image_vma_flag */
	int32_t file;	     /* FILE, SHARED: index into files, or IMAGE_NONE */
	uint64_t offset;     /* of the file, bytes */
	struct image_bytes name; /* set by PR_SET_VMA_ANON_NAME; may be empty */
};

/* Something that a mapping or a descriptor refers to. */
enum image_file_kind {
	IMAGE_FILE_PATH = 1,	 /* regular file, by path */
	IMAGE_FILE_DIR = 2,
	IMAGE_FILE_DEVICE = 3,	 /* /dev/null, zero, full, random, urandom */
	IMAGE_FILE_TTY = 4,	 /* of the caller: the child gets that of whoever resumes */
	IMAGE_FILE_PIPE = 5,	 /* `ino` ties both ends; `data` is what is in it */
	IMAGE_FILE_EVENTFD = 6,
	IMAGE_FILE_SIGNALFD = 7,
	IMAGE_FILE_TIMERFD = 8,
	IMAGE_FILE_EPOLL = 9,
	IMAGE_FILE_INOTIFY = 10,
	IMAGE_FILE_LISTENER = 11, /* listening TCP or unix socket */
	IMAGE_FILE_MEMFD = 12,	 /* `data` or the pages of a SHARED mapping hold its contents */
	IMAGE_FILE_FIFO = 13,	 /* named */
	IMAGE_FILE_SHM = 14,	 /* anonymous shared memory: only for mappings */
	IMAGE_FILE_SOCKETPAIR = 15, /* both ends inside the process; `ino`, `peer` */
	IMAGE_FILE_DROPPED = 16, /* not carried (--force): the descriptor reads as end of file */
};

struct image_watch {
	int32_t fd;	/* epoll: watched descriptor; inotify: watch number */
	uint32_t events;
	uint64_t data;
	struct image_bytes path; /* inotify */
};

/* One open file description: descriptors that share a position share one of these. */
struct image_file {
	uint8_t kind;
	uint32_t flags;	   /* open flags, octal of fdinfo */
	uint64_t position; /* bytes */
	uint64_t size, mtime_ns, ino, dev; /* identity of a path; dev is 0 for pipes and the like */
	uint32_t mode;
	struct image_bytes path;
	struct image_bytes build_id; /* of an ELF file */
	struct image_bytes data;     /* contents carried by value: pipes, deleted files, memfds, addresses */
	bool deleted;
	uint64_t count;	   /* eventfd: value; timerfd: expirations; pipe: capacity, bytes; listener: backlog */
	uint64_t mask;	   /* signalfd */
	uint32_t clock;	   /* timerfd */
	uint64_t value_ns, interval_ns;
	uint32_t seals;	   /* memfd */
	struct image_watch *watches;
	uint32_t nwatches;
};

struct image_fd {
	int32_t fd;
	int32_t file; /* index into files */
	bool cloexec;
};

struct image_pending {
	uint8_t info[IMAGE_SIGINFO]; /* siginfo_t as the kernel has it */
};

/* user_regs_struct of x86-64, as ptrace gives it. */
struct image_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip,
		cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs;
};

struct image_thread {
	int32_t tid; /* inside its pid namespace; threads[0].tid is the pid */
	struct image_regs regs;
	struct image_bytes xstate; /* as PTRACE_GETREGSET(NT_X86_XSTATE) */
	uint64_t sigmask;
	uint64_t altstack_sp, altstack_size;
	uint32_t altstack_flags;
	uint64_t robust_list, robust_len;
	uint64_t rseq, rseq_len;
	uint32_t rseq_sig;
	uint64_t clear_tid;
	int32_t nice, policy, priority;
	uint64_t affinity[16]; /* 1024 cores */
	char comm[16];
	struct image_pending *pending;
	uint32_t npending;
};

struct image_sigaction {
	uint64_t handler, flags, restorer, mask;
};

struct image_timer {
	int32_t id;
	int32_t clock;
	int32_t notify, signal;
	int32_t tid; /* SIGEV_THREAD_ID */
	uint64_t value;
	uint64_t value_ns, interval_ns; /* time left; 0: not armed */
};

struct image_itimer {
	uint64_t value_us, interval_us;
};

/* struct prctl_mm_map without its pointers. */
struct image_mm {
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	struct image_bytes auxv;
	int32_t exe; /* index into files */
};

struct image_creds {
	uint32_t uid[4], gid[4]; /* real, effective, saved, filesystem */
	uint32_t *groups;
	uint32_t ngroups;
	uint64_t cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
	uint32_t securebits;
	bool no_new_privs;
};

struct image_limit {
	uint64_t soft, hard;
};

/* What must fit on the other node. */
struct image_host {
	uint64_t xfeatures;   /* XCR0 bits that the threads use */
	uint32_t xstate_size; /* bytes, of the capturing host */
	uint64_t vdso_size, vvar_size, vclock_size;
	struct image_bytes vdso_id; /* build id of the vdso */
	struct image_bytes release; /* uname -r */
	int64_t monotonic_ns, boottime_ns; /* at the snapshot */
};

struct image {
	struct image_host host;
	struct image_mm mm;
	struct image_vma *vmas;
	uint32_t nvmas;
	struct image_file *files;
	uint32_t nfiles;
	struct image_fd *fds;
	uint32_t nfds;
	struct image_thread *threads;
	uint32_t nthreads;
	struct image_sigaction actions[IMAGE_SIGNALS]; /* [signal - 1] */
	struct image_pending *pending;		       /* of the process */
	uint32_t npending;
	struct image_itimer itimers[3];
	struct image_timer *timers;
	uint32_t ntimers;
	struct image_creds creds;
	struct image_limit limits[IMAGE_LIMITS];
	struct image_bytes cwd, root, cgroup;
	uint32_t umask;
	int32_t pgid, sid; /* inside the namespace; 0: led by somebody outside */
	uint32_t pdeathsig, dumpable, timerslack_ns, oom_score_adj, thp_disable, subreaper;
	struct image_bytes *filters; /* seccomp programs, outermost first */
	uint32_t nfilters;
	uint64_t hook; /* address of the post-fork hook, 0 none */
};

/**
 * image_encode - write an image.
 * @out: to be freed by the caller. Return: 0, -E2BIG (larger than IMAGE_MAX), -ENOMEM, -EINVAL.
 */
int image_encode(const struct image *im, uint8_t **out, size_t *len);

/**
 * image_decode - read and check one. The bytes may come from anywhere.
 * @why: on failure, what is wrong with it; static text.
 * Return: 0; -EBADMSG (damaged, or what it says makes no sense), -EPROTO (another version), -ENOMEM.
 */
int image_decode(struct image *im, const void *data, size_t len, const char **why);

/* Frees what image_decode or a capture has filled in, and zeroes it. */
void image_free(struct image *im);

/* The bounds of every array and index, for an image made in memory. 0 or -EINVAL with @why. */
int image_check(const struct image *im, const char **why);

/* struct page_range of each mapping, for pages/: @out has room for im->nvmas. Returns the sum of all
 * lengths, which is the size of a page cache. */
struct page_range;
uint64_t image_ranges(const struct image *im, struct page_range *out);

/* CRC-32C (Castagnoli), as iSCSI has it. */
uint32_t image_crc32c(const void *data, size_t len);

#endif
