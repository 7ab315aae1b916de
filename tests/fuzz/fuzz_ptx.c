/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a PTX text: refused with a sentence, or loaded and unloaded again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/gpu-exec/ptx/ptx.h"

enum { VARIABLES_MAX = 16 << 20 }; /* bytes of one variable that there is room for */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *variable_alloc(void *user, uint64_t size, uint64_t align)
{
	void *p = NULL;

	(void)user;
	if (size > VARIABLES_MAX || align > 4096 || posix_memalign(&p, align < 16 ? 16 : align, size ? size : 1))
		return NULL;
	memset(p, 0, size);
	return p;
}

static void variable_free(void *user, void *address, uint64_t size)
{
	(void)user;
	(void)size;
	free(address);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ptx_machine_config config = {
		.executor = PTX_EXEC_INTERPRETER, .alloc = variable_alloc, .free = variable_free};
	static struct ptx_machine *machine;
	struct ptx_source source = {(const char *)data, size};
	struct ptx_module *module = NULL;
	struct ptx_error error = {0};
	int rc;

	if (!machine && ptx_machine_create(&config, &machine))
		abort();
	rc = ptx_module_load(machine, &source, 1, &module, &error);
	if (rc && (error.code != rc || !memchr(error.text, 0, sizeof(error.text)) || !error.text[0])) {
		fprintf(stderr, "fuzz_ptx: refused with %d and without a reason\n", rc);
		abort();
	}
	if (rc)
		return 0;
	for (unsigned i = 0; i < ptx_module_function_count(module); i++) {
		const struct ptx_function_info *f = ptx_function_info(ptx_module_function(module, i));

		for (unsigned k = 0; k < f->param_count; k++)
			if (f->params[k].size > f->param_bytes || f->params[k].offset > f->param_bytes - f->params[k].size)
				abort();
	}
	ptx_module_unload(module);
	return 0;
}
