/* SPDX-License-Identifier: Apache-2.0 */
/*
 * programs.h - what roce_peer can be: the first word of its command line. Each returns the exit
 * status.
 */
#ifndef ATOLL_TESTS_INTEROP_PROGRAMS_H
#define ATOLL_TESTS_INTEROP_PROGRAMS_H

#include "tests/interop/peer.h"

/* The other end of ibv_rc_pingpong. */
int pingpong_main(int argc, char **argv);
/* The other end of rping. Exit status 3: the connection was refused. */
int rping_main(int argc, char **argv);
/* Does what verbs_peer tells it over TCP. */
int serve_main(int argc, char **argv);

#endif
