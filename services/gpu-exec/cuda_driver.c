/* SPDX-License-Identifier: Apache-2.0 */
#include "services/gpu-exec/cuda_driver.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
	bool must;
} functions[] = {
#define CUDA_ENTRY(type, member, name, must) {name, offsetof(struct cuda_driver, member), must},
	CUDA_DRIVER(CUDA_ENTRY)
#undef CUDA_ENTRY
};

const struct cuda_driver *cuda_driver_load(char *why, size_t size)
{
	static struct cuda_driver driver;
	static bool loaded;
	const char *path = getenv("ATOLL_CUDA_LIBRARY");
	int rc, count = 0;
	void *library;

	if (loaded)
		return &driver;
	if (!path || !*path)
		path = "libcuda.so.1";
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		snprintf(why, size, "there is no driver of a GPU here: %s", dlerror());
		return NULL;
	}
	for (size_t k = 0; k < sizeof(functions) / sizeof(functions[0]); k++) {
		void *f = dlsym(library, functions[k].name);

		if (!f && functions[k].must) {
			snprintf(why, size, "%s has no %s: the driver is older than 12.4", path, functions[k].name);
			dlclose(library);
			return NULL;
		}
		memcpy((char *)&driver + functions[k].offset, &f, sizeof(f));
	}
	rc = driver.init(0);
	if (!rc)
		rc = driver.device_count(&count);
	if (rc || !count) {
		snprintf(why, size, "%s finds no device (error %d)", path, rc ? rc : 100);
		return NULL; /* it stays: what it began cannot be taken back */
	}
	loaded = true;
	return &driver;
}
