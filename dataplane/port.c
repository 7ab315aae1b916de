/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/ports/drivers.h"

const struct port_ops *const port_drivers[] = {
	&port_loop_ops,
#ifdef ATOLL_HAVE_URING
	&port_uring_ops,
#endif
#ifdef ATOLL_HAVE_DPDK
	&port_dpdk_ops,
	&port_shm_ops,
#endif
	&port_fault_ops,
	NULL,
};

int port_open(struct port **out, const char *spec, const struct port_conf *conf, char *err,
	      size_t errlen)
{
	const char *colon = strchr(spec, ':');
	size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
	struct port_conf own = *conf;
	size_t at;

	err[0] = 0;
	for (const struct port_ops *const *d = port_drivers; *d; d++)
		if (strlen((*d)->name) == len && !memcmp((*d)->name, spec, len)) {
			own.args = colon ? colon + 1 : "";
			return (*d)->open(out, &own, err, errlen);
		}
	at = (size_t)snprintf(
		err, errlen, "there is no port driver \"%.*s\" in this build; there are:", (int)len,
		spec);
	for (const struct port_ops *const *d = port_drivers; *d && at < errlen; d++)
		at += (size_t)snprintf(err + at, errlen - at, " %s", (*d)->name);
	return -ENOENT;
}
