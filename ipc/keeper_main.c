/* SPDX-License-Identifier: Apache-2.0 */
/* atoll-keeper: descriptor 3 is the supervisor's socket. */
#include <signal.h>

#include "ipc/keeper.h"
#include "ipc/sandbox.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's ^C goes to the supervisor */
	if (sandbox_enter("keeper"))
		return 1;
	return keeper_run(3);
}
