/* SPDX-License-Identifier: Apache-2.0 */
/* The service: its options, and what goes to which session. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "ipc/sandbox.h"
#include "services/gpu-exec/nursery.h"
#include "services/gpu-exec/session.h"

enum { REAP_PAUSE_NS = 1000000 };

static const char usage[] =
	"usage: gpu-exec [OPTION...]\n"
	"Runs CUDA calls of other hosts' programs on a device. Started by svcctl, as a service of a node.\n"
	"  --device NAME       the device: cpu, PTX on this host's cores; interpreter, the same without a\n"
	"                      compiler; null, where kernels only take time (cpu)\n"
	"  --memory-mib N      memory of the device, for all sessions (1024)\n"
	"  --session-mib N     memory that one session may have at most (all of it)\n"
	"  --share-percent N   a session may keep the device busy so much of the time (100)\n"
	"  --sessions N        sessions at once, each a process, up to 48 (16)\n"
	"  --cores N           threads that run a session's kernels (1)\n"
	"  --capability N      compute capability that it says it has, 10 * major + minor (90)\n"
	"  --kernel-ns N       null device: what a kernel takes (0)\n"
	"  --help              this text\n";

static int number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || *out < min || *out > max) {
		fprintf(stderr, "gpu-exec: --%s wants a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"\n",
			name, min, max, text);
		return -EINVAL;
	}
	return 0;
}

static int options_read(struct gpu_exec *e, int argc, char **argv)
{
	static const struct option list[] = {
		{"device", 1, NULL, 'd'},   {"memory-mib", 1, NULL, 'm'}, {"session-mib", 1, NULL, 'q'},
		{"sessions", 1, NULL, 's'}, {"cores", 1, NULL, 'c'},	  {"capability", 1, NULL, 'a'},
		{"kernel-ns", 1, NULL, 'k'},  {"share-percent", 1, NULL, 'p'},
		{NULL, 0, NULL, 0},
	};
	uint64_t memory = 1024, quota = 0, sessions = 16, cores = 1, capability = 90, kernel_ns = 0, share = 100;
	const char *device = "cpu";
	int c, rc = 0;

	while (!rc && (c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'm':
			rc = number("memory-mib", optarg, 1, 1 << 16, &memory);
			break;
		case 'q':
			rc = number("session-mib", optarg, 1, 1 << 16, &quota);
			break;
		case 's':
			rc = number("sessions", optarg, 1, SESSIONS_MAX, &sessions);
			break;
		case 'c':
			rc = number("cores", optarg, 1, 1024, &cores);
			break;
		case 'a':
			rc = number("capability", optarg, 50, 129, &capability);
			break;
		case 'p':
			rc = number("share-percent", optarg, 1, 100, &share);
			break;
		case 'k':
			rc = number("kernel-ns", optarg, 0, 1000000000, &kernel_ns);
			break;
		default:
			rc = -EINVAL;
		}
	}
	if (!rc && optind < argc) {
		fprintf(stderr, "gpu-exec: what is %s?\n", argv[optind]);
		rc = -EINVAL;
	}
	e->ops = gpu_device_find(device);
	if (!rc && !e->ops) {
		fprintf(stderr, "gpu-exec: this build has no device \"%s\"\n", device);
		rc = -ENODEV;
	}
	if (!rc && e->ops == &gpu_device_cuda) {
		fprintf(stderr, "gpu-exec: the cuda device is not for services yet: their sandbox does not let NVIDIA's driver "
				"open its devices\n");
		rc = -ENOTSUP;
	}
	e->memory = memory << 20;
	e->session_memory = quota && quota < memory ? quota << 20 : memory << 20;
	e->sessions_max = (unsigned)sessions;
	e->cores = (unsigned)cores;
	e->capability = (unsigned)capability;
	e->kernel_ns = kernel_ns;
	e->share = (unsigned)share;
	return rc;
}

static int nursery = -1;

static int gpu_init(struct service *s, int argc, char **argv)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = SESSION_NURSERY};
	struct gpu_exec *e = calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	s->state = e;
	e->epoll = -1;
	rc = options_read(e, argc, argv);
	if (rc)
		return rc;
	e->nursery = nursery;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, nursery, &ev)) {
		rc = -errno;
		fprintf(stderr, "gpu-exec: no epoll: %s\n", strerror(-rc));
		return rc;
	}
	rc = sandbox_give_up();
	if (rc) {
		fprintf(stderr, "gpu-exec: cannot give up what only sessions need: %s\n", strerror(-rc));
		return rc;
	}
	printf("gpu-exec: device %s, %" PRIu64 " MiB, %u sessions at most\n", e->ops->name, e->memory >> 20,
	       e->sessions_max);
	return service_fd_add(s, e->epoll);
}

static void gpu_message(struct service *s, const struct proto_msg *m, const void *payload)
{
	switch (m->opcode) {
	case OP_GPU_OPEN:
		session_open(s, m, payload);
		break;
	case OP_GPU_CALLS:
	case OP_GPU_LEASE:
	case OP_GPU_CLOSE:
	case OP_GPU_STAT:
		session_message(s, m, payload);
		break;
	default:
		service_reply(s, m, STATUS_UNSUPPORTED, NULL, 0, NULL, 0);
	}
}

static void gpu_reply(struct service *s, uint64_t cookie, const struct proto_msg *m, const void *payload)
{
	(void)payload;
	session_step(s, cookie, m);
}

static void gpu_peer_gone(struct service *s, uint32_t source, uint32_t epoch, uint32_t why)
{
	(void)why;
	session_peer_gone(s, source, epoch);
}

static void gpu_fd(struct service *s, int fd)
{
	(void)fd;
	session_poll(s, true);
}

static unsigned gpu_poll(struct service *s)
{
	return session_poll(s, false);
}

static void gpu_timer(struct service *s)
{
	if (session_reap(s))
		s->timer_ns = s->now_ns + REAP_PAUSE_NS;
}

static void gpu_fini(struct service *s)
{
	if (s->state)
		session_end_all(s);
	free(s->state);
}

static const struct service_ops gpu_ops = {
	.name = "gpu-exec",
	.init = gpu_init,
	.message = gpu_message,
	.reply = gpu_reply,
	.peer_gone = gpu_peer_gone,
	.fd = gpu_fd,
	.poll = gpu_poll,
	.timer = gpu_timer,
	.reattached = session_end_all,
	.fini = gpu_fini,
};

int main(int argc, char **argv)
{
	int rc;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return fputs(usage, stdout) < 0;
	/* before there is a ring */
	rc = nursery_start(&nursery);
	if (rc) {
		fprintf(stderr, "gpu-exec: no process to start sessions: %s\n", strerror(-rc));
		return 1;
	}
	return service_main(&gpu_ops, argc, argv);
}
