/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - what gpu-exec asks of a device: a table of functions
 *
 * A device belongs to one session: its memory, its modules and its faults are nobody else's. Its
 * addresses lie in one window that is reserved when it is opened; the session chooses where in the
 * window each allocation lies and the device keeps count of the bytes, so that a client may give out
 * addresses itself and still never has more than its limit. The upper sixteenth of the window is
 * the device's own, for variables of modules.
 *
 * Return values are CUDA's error numbers (cudaError_t; the driver's are the same), 0 is success.
 * After a launch ended with a fault that CUDA calls sticky, `fault` tells it and whatever is asked of
 * the device returns its number; only closing the device ends that. Every argument is checked: a
 * session may ask for anything.
 *
 * One thread uses a device at a time. tests/unit/test_gpu_device.c holds every device to this contract.
 */
#ifndef ATOLL_SERVICES_GPU_EXEC_DEVICE_H
#define ATOLL_SERVICES_GPU_EXEC_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	GPU_GRAIN = 512,       /* allocations begin at multiples of it and are counted in it, bytes */
	GPU_WINDOW_OWN = 16,   /* one part in so many of the window is the device's own */
	GPU_NAME_MAX = 7000,   /* bytes of a name: those of templates are long */
	GPU_PARAMS_MAX = 4096, /* parameters of a kernel, bytes in all */
	GPU_TEXT_MAX = 400,    /* bytes of a sentence that explains an error, with its NUL */
};

/* Numbers of cudaError_t that devices return; what a launch may end with is in ptx.h, too. */
enum gpu_error {
	GPU_OK = 0,
	GPU_INVALID_VALUE = 1,
	GPU_OUT_OF_MEMORY = 2,
	GPU_INVALID_CONFIGURATION = 9,
	GPU_INVALID_SYMBOL = 13,
	GPU_NO_KERNEL_IMAGE = 209,
	GPU_INVALID_PTX = 218,
	GPU_INVALID_HANDLE = 400,
	GPU_NOT_FOUND = 500,
	GPU_ILLEGAL_ADDRESS = 700,
	GPU_LAUNCH_OUT_OF_RESOURCES = 701,
	GPU_NOT_SUPPORTED = 801,
};

/* Does this error end the context, so that everything after it fails with it? */
static inline bool gpu_error_sticky(int code)
{
	return code == 700 || code == 702 || code == 710 || (code >= 714 && code <= 719);
}

struct gpu_device_conf {
	uint64_t limit;	      /* bytes that may be allocated; 0: none */
	uint64_t window_base; /* where the window should be, 64 KiB aligned; 0: anywhere */
	uint64_t window_size; /* bytes, a multiple of 1 MiB */
	unsigned cores;	      /* of the host, for devices that run on them; 0: one */
	unsigned multiprocessors; /* that it says it has; 0: as it likes */
	unsigned compute_capability; /* that it says it has, 10 * major + minor; 0: as it likes */
	uint64_t kernel_ns; /* of the null device: what a kernel takes */
	/* What kernels print; called on any thread, one at a time. May be NULL. */
	void (*print)(void *user, const char *text, uint64_t size);
	void *user;
	const atomic_int *cancel; /* becomes not 0: what runs is to end soon. May be NULL. */
};

struct gpu_device_info {
	char name[64];
	char uuid[16];
	uint64_t memory;      /* bytes: the limit */
	uint64_t window_base, window_size, module_base; /* module_base: where its own part begins */
	uint32_t compute_major, compute_minor;
	uint32_t multiprocessors, warp, threads_block, threads_multiprocessor, blocks_multiprocessor;
	uint32_t block_max[3], grid_max[3];
	uint32_t registers_block, shared_block, shared_block_optin, shared_multiprocessor;
	uint32_t clock_khz, memory_clock_khz, memory_bus_bits, l2_bytes;
	uint64_t constant_bytes;
	/* Kernels' accesses are checked to the byte, modules' variables lie in the window and are counted, and a window
	 * may be anywhere that this process has room. Else as the driver has it: by pages, where it likes, not counted. */
	bool exact;
};

/* What may be known of a kernel. */
struct gpu_function_info {
	uint32_t param_count, param_bytes;
	uint32_t shared_bytes, local_bytes, const_bytes, registers, max_threads;
	uint32_t ptx_version, binary_version; /* architecture of its PTX, and of what runs: 10 * major + minor */
};

struct gpu_launch {
	uint32_t grid[3], block[3];
	uint32_t shared_bytes; /* dynamic */
	bool cooperative;
	const void *params;
	uint32_t params_size; /* bytes */
};

/* What a texture or surface is; the numbers of wrap are cudaTextureAddressMode's. */
struct gpu_object {
	uint64_t base, pitch, slice;		 /* bytes */
	uint32_t width, height, depth, layers;	 /* elements; 0: not that dimension */
	uint8_t channels, channel_bytes;
	uint8_t kind; /* of a channel: 0 signed, 1 unsigned, 2 float */
	uint8_t wrap[3];
	bool linear, normalized, read_float, surface, cube;
	float border[4];
};

struct gpu_module;
struct gpu_function;

struct gpu_device {
	const struct gpu_device_ops *ops;
};

/**
 * struct gpu_device_ops - the functions of a device
 * @open: -EEXIST the window is taken, -ENOMEM, -EINVAL, -ENODEV; @why says it in a sentence.
 * @map: @size bytes at @address are allocated from now on; both multiples of GPU_GRAIN. 2 if that is
 *	more than the limit, 1 outside of the window or over another allocation.
 * @unmap: what was mapped at @address is free, its contents gone. 1 if nothing begins there.
 * @limit: may have @bytes in all from now on; less than it has: 1.
 * @used: bytes allocated.
 * @copy_in, @copy_out: between the device and this process's memory. 1 unless all of it lies in one
 *	allocation or one variable.
 * @copy: on the device; the ranges may overlap.
 * @fill: @count times the @width (1, 2 or 4) low bytes of @value.
 * @module_load: an image as programs have it: fat binary, ELF with fat binaries, PTX text. 209 there is
 *	nothing in it that runs here, 218 damaged or wrong PTX, 2 no room for its variables; @text explains.
 * @module_unload: its functions are void, its variables free.
 * @function: 500 not in the module, 801 it is there but cannot run here; @text explains. @params: sizes and offsets
 *	of up to @room parameters.
 * @variable: address and size; 500.
 * @launch: runs a kernel, to its end or until a later call. 1, 9, 701, 720 before anything ran: not sticky.
 * @object_make: @handle is what kernels have for it. 1 what cannot be, or memory that is not one allocation's; 2. NULL,
 *	as @object_end: the device has none.
 * @object_end: 400 there is none.
 * @sync: everything that was asked before is done. The fault if there was one.
 * @fault: 0 or the number of the fault that ended the context; @text explains.
 */
struct gpu_device_ops {
	const char *name;
	int (*open)(const struct gpu_device_conf *conf, struct gpu_device **out, char why[GPU_TEXT_MAX]);
	void (*close)(struct gpu_device *d);
	void (*info)(struct gpu_device *d, struct gpu_device_info *info);
	int (*map)(struct gpu_device *d, uint64_t address, uint64_t size);
	int (*unmap)(struct gpu_device *d, uint64_t address);
	int (*limit)(struct gpu_device *d, uint64_t bytes);
	uint64_t (*used)(struct gpu_device *d);
	int (*copy_in)(struct gpu_device *d, uint64_t to, const void *from, uint64_t size);
	int (*copy_out)(struct gpu_device *d, void *to, uint64_t from, uint64_t size);
	int (*copy)(struct gpu_device *d, uint64_t to, uint64_t from, uint64_t size);
	int (*fill)(struct gpu_device *d, uint64_t to, uint32_t value, unsigned width, uint64_t count);
	int (*module_load)(struct gpu_device *d, const void *image, uint64_t size,
			   struct gpu_module **module, char text[GPU_TEXT_MAX]);
	void (*module_unload)(struct gpu_device *d, struct gpu_module *module);
	int (*function)(struct gpu_device *d, struct gpu_module *module, const char *name,
			struct gpu_function **function, struct gpu_function_info *info,
			uint32_t (*params)[2], unsigned room, char text[GPU_TEXT_MAX]);
	int (*variable)(struct gpu_device *d, struct gpu_module *module, const char *name,
			uint64_t *address, uint64_t *size);
	int (*launch)(struct gpu_device *d, struct gpu_function *function,
		      const struct gpu_launch *launch, char text[GPU_TEXT_MAX]);
	int (*object_make)(struct gpu_device *d, uint32_t handle, const struct gpu_object *object);
	int (*object_end)(struct gpu_device *d, uint32_t handle);
	int (*sync)(struct gpu_device *d);
	int (*fault)(struct gpu_device *d, char text[GPU_TEXT_MAX]);
};

/* PTX on the host's cores. */
extern const struct gpu_device_ops gpu_device_cpu;
/* The same, never compiled: to compare with. */
extern const struct gpu_device_ops gpu_device_interpreter;
/* The same, but kernels do nothing for as long as they are said to take. */
extern const struct gpu_device_ops gpu_device_null;
/* A GPU, by NVIDIA's driver: device_cuda.c. */
extern const struct gpu_device_ops gpu_device_cuda;

/* The device of that name, NULL if this build has none. */
const struct gpu_device_ops *gpu_device_find(const char *name);

#endif
