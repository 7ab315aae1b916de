/* SPDX-License-Identifier: Apache-2.0 */
/* atoll-keeper: descriptor 3 is the supervisor's socket. */
#include <signal.h>

#include "ipc/keeper.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's ^C goes to the supervisor */
	return keeper_run(3);
}
