/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapped.h - memory that another process has, too, and can take away under the loop.
 *
 * Memory files are sealed against shrinking, but their owner may punch holes into them. Mostly the kernel fills
 * such a hole with a new page when the loop comes there; where it has none left (huge pages, a full machine) the
 * loop gets SIGBUS instead. The handler then puts private memory in place of the whole mapping, so that whoever
 * was at it can go on, and notes the mapping as lost; the control side closes what it belonged to. A SIGBUS
 * anywhere else ends the process as ever.
 *
 * mapped_add, mapped_remove and mapped_lost are for one thread, the control side's; faults may come on any.
 */
#ifndef ATOLL_DATAPLANE_MAPPED_H
#define ATOLL_DATAPLANE_MAPPED_H

#include <stddef.h>

/* Installs the handler. 0 or negative errno. */
int mapped_init(void);
/* A mapping that may be lost. -ENOSPC: as many as there can be. */
int mapped_add(void *base, size_t size);
/* Before it is unmapped. Of one that is not there nothing happens. */
void mapped_remove(const void *base);
/* One that was lost and has not been told yet, or NULL. */
void *mapped_lost(void);

#endif
