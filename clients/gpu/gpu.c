/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of a process: which there are, when they are connected, fork and the end. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/gpu/gpu_impl.h"

enum { PUMP_NS = 100000 };

static struct gpu gpus[GPU_DEVICES_MAX];
static bool connected[GPU_DEVICES_MAX];
static int failed[GPU_DEVICES_MAX]; /* the error of a connection that could not be made */
static char names[GPU_DEVICES_MAX][128];
static unsigned count;
static bool listed;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* ------------------------------------------------------------------ which there are */

/* A list of positions, as $CUDA_VISIBLE_DEVICES has it: it ends at the first that is none. */
static void hide(const char *visible, char all[][128], unsigned n)
{
	char *end;

	for (const char *p = visible; *p; p = end + (*end == ',')) {
		unsigned long i = strtoul(p, &end, 10);
		bool twice = false;

		if (end == p || (*end && *end != ',') || i >= n || count == GPU_DEVICES_MAX)
			break;
		for (unsigned k = 0; k < count; k++)
			twice |= !strcmp(names[k], all[i]);
		if (twice) { /* then there is none at all */
			count = 0;
			break;
		}
		memcpy(names[count++], all[i], sizeof(names[0]));
	}
}

static void list(void)
{
	const char *all = getenv("ATOLL_GPU"), *visible = getenv("CUDA_VISIBLE_DEVICES");
	char each[GPU_DEVICES_MAX][128], text[1024], *save = NULL;
	unsigned n = 0;

	if (listed)
		return;
	listed = true;
	snprintf(text, sizeof(text), "%s", all ? all : "");
	for (char *p = strtok_r(text, ",", &save); p && n < GPU_DEVICES_MAX; p = strtok_r(NULL, ",", &save))
		snprintf(each[n++], sizeof(each[0]), "%s", p);
	if (visible) {
		hide(visible, each, n);
	} else {
		memcpy(names, each, sizeof(names));
		count = n;
	}
	if (n == 0)
		fprintf(stderr, "atoll-gpu: no device: start the program by agpu run, or set ATOLL_GPU=NODE/SERVICE\n");
}

unsigned gpu_count(void)
{
	unsigned n;

	pthread_mutex_lock(&list_lock);
	list();
	n = count;
	pthread_mutex_unlock(&list_lock);
	return n;
}

const char *gpu_name(unsigned device)
{
	return device < gpu_count() ? names[device] : NULL;
}

/* ------------------------------------------------------------------ locks, and the thread that sends */

void gpu_lock(struct gpu *g)
{
	atomic_fetch_add_explicit(&g->waiters, 1, memory_order_relaxed);
	pthread_mutex_lock(&g->lock);
	atomic_fetch_sub_explicit(&g->waiters, 1, memory_order_relaxed);
	link_poll(g);
}

/* Calls that nobody sends? */
static bool left(const struct gpu *g)
{
	return !g->lost && (g->stalled || (g->open && g->open->length));
}

void gpu_unlock(struct gpu *g)
{
	if (g->pump_sleeps && left(g)) {
		g->pump_sleeps = false;
		pthread_cond_signal(&g->pump_wake);
	}
	pthread_mutex_unlock(&g->lock);
}

/* Sends what a program left in a batch when it went on to other things. */
static void *pump(void *arg)
{
	const struct timespec pause = {.tv_nsec = PUMP_NS};
	struct gpu *g = arg;

	pthread_mutex_lock(&g->lock);
	while (!g->pump_ends) {
		if (!left(g)) {
			g->pump_sleeps = true;
			pthread_cond_wait(&g->pump_wake, &g->lock);
			continue;
		}
		pthread_mutex_unlock(&g->lock);
		nanosleep(&pause, NULL);
		gpu_lock(g); /* polls, and sends if little is on the way */
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static int pump_start(struct gpu *g)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	g->pump_ends = g->pump_sleeps = false;
	rc = pthread_create(&g->pump, NULL, pump, g);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	g->pump_runs = rc == 0;
	return rc ? GPUE_MEMORY : 0;
}

static void pump_stop(struct gpu *g)
{
	if (!g->pump_runs)
		return;
	pthread_mutex_lock(&g->lock);
	g->pump_ends = true;
	pthread_cond_signal(&g->pump_wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->pump, NULL);
	g->pump_runs = false;
}

/* ------------------------------------------------------------------ connections */

/* A child has neither threads nor the ring of its parent: nothing of the device works there, as with CUDA. */
static void forked(void)
{
	pthread_mutex_init(&list_lock, NULL);
	for (unsigned k = 0; k < GPU_DEVICES_MAX; k++)
		if (connected[k]) {
			gpus[k].ep = NULL;
			gpus[k].lost = true;
			gpus[k].pump_runs = false;
			gpus[k].fault = GPUE_INITIALIZATION;
			pthread_mutex_init(&gpus[k].lock, NULL);
		}
}

static void at_start(void)
{
	pthread_atfork(NULL, NULL, forked);
}

static int connect_device(struct gpu *g, unsigned device)
{
	struct link_answer answer;
	int rc;

	memset(g, 0, sizeof(*g));
	g->index = device;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->pump_wake, NULL);
	rc = link_open(g, names[device]);
	if (!rc)
		rc = GPU_APPEND(g, info, 0);
	if (!rc)
		rc = link_result(g, &answer);
	if (!rc && answer.size != gpu_call_descs[GPU_CALL_INFO].result)
		rc = GPUE_UNAVAILABLE;
	if (!rc) {
		memcpy(&g->info, answer.data, sizeof(g->info));
		g->info.name[sizeof(g->info.name) - 1] = 0;
		g->heap_end = g->info.module_base;
		g->next_fit = g->window_base;
		rc = pump_start(g);
	}
	if (rc)
		link_close(g);
	return rc;
}

struct gpu *gpu_get(unsigned device, int *code)
{
	struct gpu *g = NULL;

	pthread_once(&once, at_start);
	pthread_mutex_lock(&list_lock);
	list();
	if (device >= count) {
		*code = count ? GPUE_INVALID_DEVICE : GPUE_NO_DEVICE;
	} else if (connected[device]) {
		g = &gpus[device];
	} else if (failed[device]) {
		*code = failed[device];
	} else {
		*code = failed[device] = connect_device(&gpus[device], device);
		connected[device] = !*code;
		g = *code ? NULL : &gpus[device];
	}
	pthread_mutex_unlock(&list_lock);
	return g;
}

bool gpu_connected(unsigned device)
{
	return device < GPU_DEVICES_MAX && connected[device];
}

const struct gpu_result_info *gpu_info(struct gpu *g)
{
	return &g->info;
}

unsigned gpu_index(const struct gpu *g)
{
	return g->index;
}

void gpu_reset(struct gpu *g)
{
	unsigned device = g->index;

	pump_stop(g);
	pthread_mutex_lock(&list_lock);
	link_close(g);
	connected[device] = false;
	failed[device] = 0;
	pthread_mutex_unlock(&list_lock);
}

struct gpu *gpu_of_address(uint64_t address, uint64_t *base, uint64_t *size)
{
	for (unsigned k = 0; k < GPU_DEVICES_MAX; k++) {
		struct gpu *g = &gpus[k];
		const struct piece *p;

		if (!connected[k] || address < g->window_base || address - g->window_base >= g->window_size)
			continue;
		gpu_lock(g);
		p = piece_find(g->pieces, g->pieces_count, address, 1);
		if (!p)
			p = piece_find(g->variables, g->variables_count, address, 1);
		if (p && base)
			*base = p->address;
		if (p && size)
			*size = p->size;
		gpu_unlock(g);
		return p ? g : NULL;
	}
	return NULL;
}

/* ------------------------------------------------------------------ errors, waiting */

int gpu_poll(struct gpu *g)
{
	int rc;

	gpu_lock(g);
	rc = g->fault;
	link_answered("error");
	gpu_unlock(g);
	return rc;
}

int gpu_late_error(struct gpu *g)
{
	int rc;

	gpu_lock(g);
	rc = g->late;
	g->late = 0;
	gpu_unlock(g);
	return rc;
}

/* What kernels printed, on this process's standard output. */
static void print(struct gpu *g)
{
	struct link_answer answer;

	while (g->printed && !g->lost) {
		g->printed = false; /* the answer says if there is more */
		if (GPU_APPEND(g, print_take, 0) || link_result(g, &answer) || !answer.size)
			break;
		fwrite(answer.data, 1, answer.size, stdout);
	}
}

int gpu_wait(struct gpu *g, uint64_t mark)
{
	int rc;

	gpu_lock(g);
	link_wait(g, mark);
	print(g);
	rc = g->fault;
	gpu_unlock(g);
	return rc ? rc : managed_pull(g);
}

int gpu_sync(struct gpu *g)
{
	return gpu_wait(g, gpu_mark(g));
}

void gpu_counts(struct gpu *g, uint64_t *round_trips, uint64_t *batches, uint64_t *calls)
{
	gpu_lock(g);
	*round_trips = g->round_trips;
	*batches = g->batches;
	*calls = g->calls;
	gpu_unlock(g);
}

__attribute__((destructor)) static void at_end(void)
{
	/* The service frees everything when it sees the endpoint gone; what is on the way is dropped. */
	for (unsigned k = 0; k < GPU_DEVICES_MAX; k++)
		if (connected[k] && gpus[k].ep && pthread_mutex_trylock(&gpus[k].lock) == 0) {
			gpus[k].lost = true; /* what is outstanding ends now, and nobody need be told */
			gpus[k].fault = GPUE_UNAVAILABLE;
			atoll_detach(gpus[k].ep);
			gpus[k].ep = NULL;
			pthread_mutex_unlock(&gpus[k].lock);
		}
}
