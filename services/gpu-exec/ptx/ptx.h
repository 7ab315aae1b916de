/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ptx.h - runs PTX on the host's cores
 *
 * A machine is one GPU made of threads: its allowed memory, its heap for the kernels' malloc, its
 * textures, its worker threads. A module is one PTX text, or several linked, on a machine. A
 * launch runs a grid of one of the module's kernels to its end, on the calling thread and on as
 * many of the workers as it was told.
 *
 * Device memory is host memory: a device address is a host address, so a copy is a memcpy by the
 * caller. What a kernel may touch is what was added to the machine by ptx_range_add, its own
 * parameters, shared and local memory, and the variables of loaded modules, which the module adds
 * itself. Every access is checked; one that is outside ends the launch with error 700 and a detail
 * that names kernel, block, thread, address and PTX line. Nothing that a PTX text or a kernel does
 * ends the process or writes elsewhere.
 *
 * Error codes are CUDA's (cudaError_t; the driver's numbers are the same). 0 is success. What is
 * wrong in a text is an error of ptx_module_load with line and text. A function that is right but
 * that this machine cannot run is refused by itself, with all that call it: ptx_function_refused
 * says why, a launch of it is PTX_ERR_NOT_SUPPORTED, and the rest of its module runs. Nothing
 * computes wrong.
 *
 * Threads: any function may be called from any thread, and several launches may run at once. A
 * module must not be unloaded while a launch of it runs, a range not be removed while a kernel uses
 * it rightly (a kernel that uses it wrongly gets 700).
 *
 * Execution: a warp is 32 lanes, each with its own program counter. Lanes at the same place run
 * together, the lowest place first, so that they meet again where branches join; every so many
 * instructions the others get a turn, so that a lane may wait for another of its own warp.
 * The warps of a block take turns on one thread. Blocks are begun in the order of their number;
 * of a cooperative launch all are resident at once and take turns.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_PTX_PTX_H
#define ATOLL_SERVICES_GPU_EXEC_PTX_PTX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ptx_machine;
struct ptx_module;
struct ptx_function;

/* The numbers of cudaError_t that this library gives. */
enum ptx_code {
	PTX_OK = 0,
	PTX_ERR_INVALID_VALUE = 1,
	PTX_ERR_MEMORY = 2,
	PTX_ERR_CONFIGURATION = 9,	/* grid, block or shared memory over the limits, or 0 */
	PTX_ERR_NO_IMAGE = 209,		/* nothing in a fatbin that can be run here */
	PTX_ERR_INVALID_PTX = 218,
	PTX_ERR_PTX_VERSION = 222,	/* newer than the newest known */
	PTX_ERR_SYMBOL_MISSING = 302,	/* link: declared, used and nowhere defined */
	PTX_ERR_ILLEGAL_ADDRESS = 700,
	PTX_ERR_OUT_OF_RESOURCES = 701, /* block larger than the kernel's .maxntid */
	PTX_ERR_CANCELLED = 702,	/* ended by ptx_launch.cancel: cudaErrorLaunchTimeout */
	PTX_ERR_ASSERT = 710,
	PTX_ERR_MISALIGNED = 716,
	PTX_ERR_ADDRESS_SPACE = 717,
	PTX_ERR_INVALID_PC = 718,	/* call through a pointer to no function */
	PTX_ERR_LAUNCH_FAILED = 719,	/* trap, deadlock, stack overflow */
	PTX_ERR_TOO_LARGE = 720,	/* cooperative launch of more blocks than can be resident */
	PTX_ERR_NOT_SUPPORTED = 801,	/* right PTX that this machine cannot run; see text */
};

/* What went wrong in a load. */
struct ptx_error {
	int code;	 /* enum ptx_code */
	unsigned source; /* which text, from 0 */
	unsigned line;	 /* in that text, from 1; 0: no line */
	char text[400];	 /* one or more whole sentences, with the statement where there is one */
};

/* What went wrong in a launch; the first fault of any thread of the grid. */
struct ptx_fault {
	int code;
	uint32_t block[3], thread[3];
	uint64_t address; /* of the access, generic; 0: none */
	unsigned line;	  /* in the PTX, 0: unknown */
	char text[400];	  /* whole sentences */
};

/* ------------------------------------------------------------------------------ the machine */

enum ptx_executor {
	PTX_EXEC_DEFAULT, /* interpreted, compiled for lanes, then for groups of them, each when that pays */
	PTX_EXEC_INTERPRETER,
	PTX_EXEC_JIT,	 /* compiled for lanes; interpreter where there is no compiler */
	PTX_EXEC_GROUPS, /* compiled for groups, likewise */
};

/* A kernel's printf: @text is what one call printed. Called from workers, one at a time. */
typedef void ptx_print_fn(void *user, const char *text, size_t length);

struct ptx_machine_config {
	unsigned cores;		     /* threads that run blocks, the caller's among them; 0: one */
	unsigned multiprocessors;    /* %nsmid, and bound of cooperative launches; 0: cores */
	unsigned compute_capability; /* as 10 * major + minor: 90; 0: 90 */
	uint64_t heap_bytes;	     /* for malloc in kernels; 0: 64 MiB */
	uint64_t stack_bytes;	     /* a thread's stack for calls, on top of frames; 0: 1 KiB */
	uint32_t shared_bytes_max;   /* of a block, static and dynamic; 0: 227 KiB */
	enum ptx_executor executor;
	ptx_print_fn *print; /* NULL: to nobody */
	void *user;
	/*
	 * Where variables of modules live, so that the caller may count and place them. NULL: by
	 * mmap. @address is what alloc gave. alloc returns NULL when there is no room. The memory
	 * must be zeroed and stay where it is. The machine adds it as a range itself.
	 */
	void *(*alloc)(void *user, uint64_t size, uint64_t align);
	void (*free)(void *user, void *address, uint64_t size);
};

/* 0, -ENOMEM or -EAGAIN (no threads). @config NULL: all defaults. */
int ptx_machine_create(const struct ptx_machine_config *config, struct ptx_machine **machine);

/* No launch may be running and no module be loaded. */
void ptx_machine_destroy(struct ptx_machine *machine);

/* "interpreter" or "llvm 14.0.6": what PTX_EXEC_DEFAULT means in this build. */
const char *ptx_executor_name(void);

enum ptx_range_flags {
	PTX_RANGE_READ_ONLY = 1, /* a store there is error 700 */
};

/**
 * ptx_range_add - let kernels use memory
 * Ranges must not overlap. Takes effect at once, for running kernels too.
 * Return: 0, -EINVAL (empty, wraps), -EEXIST (overlaps another), -ENOMEM.
 */
int ptx_range_add(struct ptx_machine *machine, const void *base, uint64_t size, unsigned flags);

/* -ENOENT if no range begins at @base. */
int ptx_range_remove(struct ptx_machine *machine, const void *base);

/* Is all of it in one range? What a service asks before it copies for a client. */
bool ptx_range_contains(struct ptx_machine *machine, const void *base, uint64_t size);

/* ------------------------------------------------------------------------------ modules */

struct ptx_source {
	const char *text; /* needs no final NUL; a NUL ends it */
	size_t size;
};

/**
 * ptx_module_load - parse, link and lower
 * @sources: one text, or several that are linked: .extern is resolved by .visible and .weak of
 *           the others; the first of several .weak is taken
 * Variables are allocated and initialised. The texts may go away afterwards.
 * Return: 0 or an error code, explained in @error (may be NULL).
 */
int ptx_module_load(struct ptx_machine *machine, const struct ptx_source *sources, unsigned count,
		    struct ptx_module **module, struct ptx_error *error);
void ptx_module_unload(struct ptx_module *module);

struct ptx_param {
	uint32_t offset, size, align; /* in the parameter block, bytes */
};

/* What the caller may know of a kernel or device function. Lives as long as the module. */
struct ptx_function_info {
	const char *name; /* mangled, as in the text */
	bool entry;	  /* a kernel: can be launched */
	unsigned param_count;
	const struct ptx_param *params;
	uint32_t param_bytes;	/* the whole block */
	uint32_t shared_bytes;	/* static */
	uint32_t local_bytes;	/* of a thread, stack included */
	uint32_t const_bytes;	/* of the module */
	uint32_t registers;	/* 32-bit ones that a GPU might use: an estimate */
	uint32_t max_threads;	/* of a block: .maxntid or .reqntid, else 1024 */
	uint32_t required[3];	/* .reqntid, else 0 */
	uint32_t min_blocks;	/* .minnctapersm, else 0 */
	unsigned ptx_version;	/* 10 * major + minor */
	unsigned target;	/* sm_75: 75 */
	uint64_t address;	/* what a function pointer to it holds */
};

unsigned ptx_module_function_count(const struct ptx_module *module);
/* Kernels and device functions in the order of the text; NULL past the end. */
const struct ptx_function *ptx_module_function(const struct ptx_module *module, unsigned index);
const struct ptx_function *ptx_module_function_find(const struct ptx_module *module,
						    const char *name);
const struct ptx_function_info *ptx_function_info(const struct ptx_function *function);

/* A variable of .global or .const. */
struct ptx_variable {
	const char *name;
	void *address;
	uint64_t size, align;
	bool constant;
};

/* PTX_OK, or PTX_ERR_NOT_SUPPORTED: it cannot be launched, and @error (may be NULL) says why. */
int ptx_function_refused(const struct ptx_function *function, struct ptx_error *error);

unsigned ptx_module_variable_count(const struct ptx_module *module);
const struct ptx_variable *ptx_module_variable(const struct ptx_module *module, unsigned index);
const struct ptx_variable *ptx_module_variable_find(const struct ptx_module *module,
						    const char *name);

/* ------------------------------------------------------------------------------ launches */

struct ptx_launch {
	const struct ptx_function *function;
	uint32_t grid[3], block[3];
	uint32_t shared_bytes;	/* dynamic */
	const void *params;	/* laid out as in ptx_function_info.params; copied */
	size_t params_size;	/* at least param_bytes, else PTX_ERR_INVALID_VALUE */
	unsigned cores;		/* at most that many threads; 0: all of the machine's */
	bool cooperative;	/* grid-wide synchronisation is used */
	const atomic_int *cancel; /* becomes not 0: ends within about a millisecond; may be NULL */
	enum ptx_executor executor; /* PTX_EXEC_DEFAULT: the machine's */
	uint64_t *instructions;	/* if not NULL: warp instructions that were interpreted are added */
};

/**
 * ptx_launch_check - all that makes a launch fail before anything runs
 * Return: 0 or the code that cudaLaunchKernel gives at once (9, 701, 720, 1).
 */
int ptx_launch_check(const struct ptx_machine *machine, const struct ptx_launch *launch,
		     struct ptx_fault *fault);

/**
 * ptx_launch - run a grid to its end
 * Checks first as ptx_launch_check. Memory written by the grid is visible to the caller after.
 * Return: 0 or an error code, explained in @fault (may be NULL).
 */
int ptx_launch(struct ptx_machine *machine, const struct ptx_launch *launch,
	       struct ptx_fault *fault);

/* Blocks of @block_threads that fit one multiprocessor at once, for occupancy: at least 0. */
unsigned ptx_function_occupancy(const struct ptx_machine *machine,
				const struct ptx_function *function, uint32_t block_threads,
				uint32_t shared_bytes);

/* ------------------------------------------------------------------------------ textures */

enum ptx_channel { PTX_CHANNEL_SIGNED, PTX_CHANNEL_UNSIGNED, PTX_CHANNEL_FLOAT };
enum ptx_wrap { PTX_WRAP_REPEAT, PTX_WRAP_CLAMP, PTX_WRAP_MIRROR, PTX_WRAP_BORDER };

/*
 * Texels lie in host memory in rows: x fastest, then y at @pitch bytes, then z (or layer, or
 * six faces of a cube) at @slice bytes. The numbers of enum ptx_wrap are cudaTextureAddressMode's.
 */
struct ptx_image {
	void *base;
	uint64_t pitch, slice;		/* bytes; 0 where there is one row, one slice */
	uint32_t width, height, depth;	/* texels; height, depth 0: fewer dimensions */
	uint32_t layers;		/* 0: not layered; of a cube six times as many as there are cubes */
	bool cube;
	uint8_t channels;		/* 1, 2 or 4 */
	uint8_t channel_bits;		/* 8, 16 or 32 */
	enum ptx_channel kind;
};

struct ptx_texture {
	struct ptx_image image;
	enum ptx_wrap wrap[3];
	bool linear;	 /* filter; else the nearest texel */
	bool normalized; /* coordinates in 0..1 */
	bool read_float; /* 8 and 16 bit integers are read as 0..1 or -1..1 */
	float border[4];
};

enum { PTX_OBJECTS_MAX = 1 << 20 };

/**
 * ptx_object_set - make a texture or surface object
 * @handle: what kernels have for it, 1 to PTX_OBJECTS_MAX
 * All of its memory must be in one range. Of a surface only the image counts. Coordinates that are not normalized are
 * clamped where they would repeat.
 * Return: 0, -EINVAL (what cannot be, or is not in a range), -EEXIST (the handle is taken), -ENOMEM.
 */
int ptx_object_set(struct ptx_machine *machine, uint32_t handle, const struct ptx_texture *texture, bool surface);

/* -ENOENT: there is none. */
int ptx_object_clear(struct ptx_machine *machine, uint32_t handle);

#endif
