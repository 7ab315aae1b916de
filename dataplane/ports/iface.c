/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ports/iface.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

int iface_running(int sock, const char *name)
{
	const int both = IFF_UP | IFF_RUNNING;
	struct ifreq req = {0};

	strncpy(req.ifr_name, name, sizeof(req.ifr_name) - 1);
	return !ioctl(sock, SIOCGIFFLAGS, &req) && (req.ifr_flags & both) == both;
}
