/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - what link.c and cm.c know of each other.
 *
 * cm.c makes a link by the CM handshake. The node with the smaller number sends REQ; accepting a REQ from
 * a node destroys every QP of earlier links and lanes with that node before REP is sent, so what was in
 * doubt there cannot execute any more once the link is up. Both hellos carry the incarnation of the
 * sender and the last incarnation of the receiver that it knew.
 */
#ifndef ATOLL_DATAPLANE_LINK_H
#define ATOLL_DATAPLANE_LINK_H

#include <errno.h>

#include "dataplane/dp_impl.h"

/* A message of the peer's arrived: it is alive, and has our REP if we wait for its RTU. */
void cm_heard(struct dp *dp, struct dp_link *l);
void cm_receive(struct dp *dp, struct ip_addr address, const void *mad, uint32_t len);
/* DREQ, if the link is up. */
void cm_goodbye(struct dp *dp, struct dp_link *l);

#endif
