/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agpu.h - the parts of the command agpu
 */
#ifndef ATOLL_CLIENTS_GPU_AGPU_H
#define ATOLL_CLIENTS_GPU_AGPU_H

#include <stdbool.h>

/* Why this program cannot be run on a remote device, as far as its file tells; NULL: nothing speaks against it.
 * @replace: it has the CUDA runtime inside, which libatoll_gpu_static.so replaces. */
const char *agpu_refuse(const char *program, bool *replace);

/* Prints the devices of @list (NODE/SERVICE,...) and their sessions. Exit status. */
int agpu_smi(const char *list, bool json);

#endif
