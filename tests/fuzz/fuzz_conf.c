/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a configuration file: refused with errors, or accepted as a whole. */
#include <stdint.h>
#include <stdlib.h>

#include "ipc/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct node_conf conf;
	struct conf_host host = {.core = {1, 1}};
	struct conf_errors errors = {0};
	int rc = conf_parse("fuzz", (const char *)data, size, &host, &conf, &errors);

	if ((rc == 0) != (errors.count == 0) || (rc == 0 && (conf.id == 0 || conf.run_dir[0] != '/')))
		abort();
	conf_lookup_allowed(&conf, 0, "echo");
	conf_limits_of(&conf, 0);
	return 0;
}
