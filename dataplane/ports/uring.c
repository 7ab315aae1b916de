/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring.c - UDP by the kernel, through io_uring: no root, no hugepages, any network.
 *
 * `uring:` takes no arguments. The socket is bound to the node's address and UDP port and not
 * connected, and asks for path MTU discovery, so the kernel sends every datagram with the
 * don't-fragment bit and identification 0: what the invariant CRC was computed over. On receipt the
 * headers that the kernel took off are written again in front of the payload; the source port is
 * the sender's socket's.
 *
 * One multishot receive takes buffers from a ring that is shared with the kernel (Linux 6.0); each
 * holds the kernel's header and the sender's address right before the payload, where the packet's
 * own headers go then. Packets are no larger than the interface of the address sends
 * in one piece. A turn of the loop makes at most one system call to receive: it submits what was
 * queued and lets the kernel run the completions (DEFER_TASKRUN). A datagram that finds neither a
 * buffer nor room in the socket is lost, as on any network.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <liburing.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/ports/drivers.h"
#include "dataplane/ports/iface.h"

enum {
	BUFFERS = 4096,
	RECV_RING = 1024, /* buffers that the kernel holds, a power of two */
	RECV_GROUP = 0,
	SENDS = 512,
	ENTRIES = 1024,
	HEADERS_V4 = 28,    /* IPv4 and UDP */
	HEADERS_V6 = 48,
	MTU_DEFAULT = 4352, /* 4096 of RoCE payload and every header */
	MTU_MAX = 9000,
	SOCKET_BYTES = 8 << 20,
	BIND_TRIES = 100,      /* 10 ms apart */
	TAG_RECV = 0xffffffff, /* user_data; else the slot of a send */
};

/* What the kernel writes before a payload. */
#define FRONT_V4 ((uint32_t)(sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_in)))
#define FRONT_V6 ((uint32_t)(sizeof(struct io_uring_recvmsg_out) + sizeof(struct sockaddr_in6)))
_Static_assert(FRONT_V4 == 32 && FRONT_V6 == 44 && (int)PKT_HEADROOM >= 4,
	       "it begins at most 4 bytes before where the packet's headers go");

union name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct buffer {
	struct pkt pkt;
	uint32_t next;
	uint8_t *base; /* headroom, then the packet */
};

/* What the kernel reads and writes while an operation is under way. */
struct operation {
	struct msghdr msg;
	struct iovec iov;
	union name name;
	uint32_t buffer;
	uint32_t next;
};

struct uring_port {
	struct port port;
	struct io_uring ring;
	int sock, event;
	bool v6;
	uint32_t headers, front, name_len;
	struct ip_addr address;
	char iface[IFNAMSIZ]; /* that has it; empty: not known */
	uint16_t udp_port;
	uint32_t nbuffers, free_buffer;
	struct buffer *buffers;
	uint8_t *memory;
	size_t memory_size;
	struct operation send[SENDS];
	uint32_t free_send;
	struct msghdr recv_msg; /* of the multishot receive: how much front there is */
	struct io_uring_buf_ring *recv_ring;
	size_t recv_ring_size;
	uint32_t lent;  /* buffers in the ring */
	bool receiving; /* the multishot receive is under way */
	bool opened;
	bool queued;                  /* submissions since the last system call */
	bool deferred;                /* completions come only by a system call */
	struct pkt *ready[RECV_RING]; /* received, not handed out yet */
	uint32_t nready;
	struct port_stats stats;
};

enum {
	NONE = 0xffffffff
};

static struct uring_port *from(struct port *p)
{
	return (struct uring_port *)p;
}

static uint32_t buffer_take(struct uring_port *u)
{
	uint32_t i = u->free_buffer;

	if (i != NONE)
		u->free_buffer = u->buffers[i].next;
	return i;
}

static void buffer_put(struct uring_port *u, uint32_t i)
{
	u->buffers[i].next = u->free_buffer;
	u->free_buffer = i;
}

static void pkt_reset(struct uring_port *u, uint32_t i)
{
	struct buffer *b = &u->buffers[i];

	b->pkt.data = b->base + PKT_HEADROOM;
	b->pkt.len = 0;
	b->pkt.room = u->port.mtu;
}

static uint8_t *recv_base(const struct uring_port *u, uint32_t i)
{
	return u->buffers[i].base + PKT_HEADROOM + u->headers - u->front;
}

/* Lend free buffers to the kernel, and see that it receives. */
static void recv_refill(struct uring_port *u)
{
	uint32_t n = 0, i;

	while (u->lent < RECV_RING && (i = buffer_take(u)) != NONE) {
		/* so that the payload lies where it does in a packet */
		io_uring_buf_ring_add(u->recv_ring, recv_base(u, i), u->port.mtu - u->headers + u->front,
				      (unsigned short)i,
				      io_uring_buf_ring_mask(RECV_RING), (int)n++);
		u->lent++;
	}
	if (n)
		io_uring_buf_ring_advance(u->recv_ring, (int)n);
	if (!u->receiving) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

		if (!sqe)
			return;
		io_uring_prep_recvmsg_multishot(sqe, u->sock, &u->recv_msg, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = RECV_GROUP;
		io_uring_sqe_set_data64(sqe, TAG_RECV);
		u->receiving = u->queued = true;
	}
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* The headers as they were on the wire, but for what the invariant CRC masks. */
static void headers_write(struct uring_port *u, struct pkt *p, uint32_t payload, const union name *from)
{
	uint8_t *h = p->data, *udp = h + u->headers - 8;

	memset(h, 0, u->headers);
	if (u->v6) {
		h[0] = 0x60;
		put16(h + 4, payload + 8);
		h[6] = IPPROTO_UDP;
		h[7] = 64;
		memcpy(h + 8, &from->v6.sin6_addr, 16);
		memcpy(h + 24, u->address.b, 16);
		memcpy(udp, &from->v6.sin6_port, 2);
	} else {
		h[0] = 0x45;
		put16(h + 2, payload + HEADERS_V4);
		h[6] = 0x40; /* don't fragment */
		h[8] = 64;
		h[9] = IPPROTO_UDP;
		memcpy(h + 12, &from->v4.sin_addr, 4);
		memcpy(h + 16, u->address.b + 12, 4);
		memcpy(udp, &from->v4.sin_port, 2);
	}
	put16(udp + 2, u->udp_port);
	put16(udp + 4, payload + 8);
	p->len = payload + u->headers;
}

static void recv_done(struct uring_port *u, const struct io_uring_cqe *cqe)
{
	struct io_uring_recvmsg_out out;
	union name name;
	uint32_t i;

	if (!(cqe->flags & IORING_CQE_F_MORE))
		u->receiving = false;
	if (!(cqe->flags & IORING_CQE_F_BUFFER))
		return; /* no buffer was left: it starts again */
	i = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	u->lent--;
	pkt_reset(u, i);
	memcpy(&out, recv_base(u, i), sizeof(out));
	memcpy(&name, recv_base(u, i) + sizeof(out), u->name_len);
	if (cqe->res < (int)u->front || (out.flags & MSG_TRUNC) ||
	    name.any.sa_family != (u->v6 ? AF_INET6 : AF_INET) ||
	    out.payloadlen > u->port.mtu - u->headers || u->nready == RECV_RING) {
		u->stats.rx_dropped++;
		buffer_put(u, i);
		return;
	}
	headers_write(u, &u->buffers[i].pkt, out.payloadlen, &name);
	u->ready[u->nready++] = &u->buffers[i].pkt;
	u->stats.rx_packets++;
	u->stats.rx_bytes += out.payloadlen;
}

static void send_done(struct uring_port *u, uint32_t slot, int res)
{
	struct operation *o = &u->send[slot];

	if (res < 0)
		u->stats.tx_dropped++; /* lost like any packet: the engine sends it again */
	buffer_put(u, o->buffer);
	o->next = u->free_send;
	u->free_send = slot;
}

static void completions(struct uring_port *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe (&u->ring, head, cqe) {
		if (cqe->user_data == TAG_RECV)
			recv_done(u, cqe);
		else
			send_done(u, (uint32_t)cqe->user_data, cqe->res);
		n++;
	}
	io_uring_cq_advance(&u->ring, n);
	if (u->lent < RECV_RING / 2 || !u->receiving)
		recv_refill(u);
}

static void submit(struct uring_port *u)
{
	if (u->deferred)
		io_uring_submit_and_get_events(&u->ring);
	else if (u->queued)
		io_uring_submit(&u->ring);
	u->queued = false;
}

static unsigned uring_alloc(struct port *p, struct pkt **pkts, unsigned n)
{
	struct uring_port *u = from(p);
	unsigned k = 0;

	for (; k < n; k++) {
		uint32_t i = buffer_take(u);

		if (i == NONE)
			break;
		pkt_reset(u, i);
		pkts[k] = &u->buffers[i].pkt;
	}
	return k;
}

static void uring_free(struct port *p, struct pkt **pkts, unsigned n)
{
	struct uring_port *u = from(p);

	for (unsigned k = 0; k < n; k++)
		buffer_put(u, (uint32_t)((struct buffer *)pkts[k]->drv - u->buffers));
}

static unsigned uring_rx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct uring_port *u = from(p);
	unsigned k;

	if (!u->nready) {
		submit(u);
		completions(u);
	}
	k = u->nready < n ? u->nready : n;
	memcpy(pkts, u->ready, k * sizeof(*pkts));
	u->nready -= k;
	memmove(u->ready, u->ready + k, u->nready * sizeof(*pkts));
	return k;
}

static unsigned uring_tx(struct port *p, struct pkt **pkts, unsigned n)
{
	struct uring_port *u = from(p);
	unsigned k = 0;

	for (; k < n && u->free_send != NONE; k++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		struct operation *o;
		const uint8_t *h = pkts[k]->data;
		uint32_t slot = u->free_send;

		if (!sqe)
			break;
		o = &u->send[slot];
		u->free_send = o->next;
		o->buffer = (uint32_t)((struct buffer *)pkts[k]->drv - u->buffers);
		o->iov.iov_base = pkts[k]->data + u->headers;
		o->iov.iov_len = pkts[k]->len - u->headers;
		memset(&o->name, 0, sizeof(o->name));
		if (u->v6) {
			o->name.v6.sin6_family = AF_INET6;
			memcpy(&o->name.v6.sin6_addr, h + 24, 16);
			memcpy(&o->name.v6.sin6_port, h + 42, 2);
		} else {
			o->name.v4.sin_family = AF_INET;
			memcpy(&o->name.v4.sin_addr, h + 16, 4);
			memcpy(&o->name.v4.sin_port, h + 22, 2);
		}
		o->msg = (struct msghdr){.msg_iov = &o->iov,
					 .msg_iovlen = 1,
					 .msg_name = &o->name,
					 .msg_namelen = u->name_len};
		io_uring_prep_sendmsg(sqe, u->sock, &o->msg, MSG_DONTWAIT);
		io_uring_sqe_set_data64(sqe, slot);
		u->stats.tx_packets++;
		u->stats.tx_bytes += pkts[k]->len - u->headers;
		u->queued = true;
	}
	/* the last batch of a turn goes out here, not at the next turn's receive */
	if (k && k < PORT_BURST_MAX)
		submit(u);
	return k;
}

static int uring_wait_fd(struct port *p)
{
	return from(p)->event;
}

static int uring_arm(struct port *p)
{
	struct uring_port *u = from(p);
	uint64_t n;

	if (read(u->event, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return 1;
	submit(u);
	completions(u);
	return u->nready || u->queued;
}

static int uring_link_up(struct port *p)
{
	struct uring_port *u = from(p);

	return !u->iface[0] || iface_running(u->sock, u->iface);
}

static void uring_stats(struct port *p, struct port_stats *out)
{
	*out = from(p)->stats;
}

static void uring_close(struct port *p)
{
	struct uring_port *u = from(p);
	struct io_uring_sync_cancel_reg all = {.fd = -1,
					       .flags = IORING_ASYNC_CANCEL_ANY |
							IORING_ASYNC_CANCEL_ALL,
					       .timeout = {.tv_sec = -1, .tv_nsec = -1}};

	/* the ring ends behind our back; an operation under way would keep the address till then */
	if (u->opened) {
		io_uring_register_sync_cancel(&u->ring, &all);
		io_uring_submit_and_get_events(&u->ring);
		io_uring_queue_exit(&u->ring);
	}
	if (u->sock >= 0)
		close(u->sock);
	if (u->event >= 0)
		close(u->event);
	if (u->recv_ring)
		munmap(u->recv_ring, u->recv_ring_size);
	if (u->memory)
		munmap(u->memory, u->memory_size);
	free(u->buffers);
	free(u);
}

static int fail(struct uring_port *u, int rc, char *err, size_t errlen, const char *what)
{
	snprintf(err, errlen, "uring: %s: %s", what, strerror(-rc));
	uring_close(&u->port);
	return rc;
}

/* Whole packets only, of this family; and over IPv6 those without a UDP checksum, too: RoCEv2 has the ICRC. */
static int socket_family(struct uring_port *u)
{
	int whole = u->v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO, on = 1;

	if (!u->v6)
		return setsockopt(u->sock, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole)) ? -errno : 0;
	if (setsockopt(u->sock, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &whole, sizeof(whole)) ||
	    setsockopt(u->sock, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) ||
	    setsockopt(u->sock, IPPROTO_UDP, UDP_NO_CHECK6_RX, &on, sizeof(on)))
		return -errno;
	return 0;
}

static int socket_open(struct uring_port *u, char *err, size_t errlen)
{
	const struct timespec nap = {.tv_nsec = 10000000};
	int bytes = SOCKET_BYTES, rc;
	char text[IP_ADDR_TEXT];
	union name sa = {0};

	if (u->v6) {
		sa.v6.sin6_family = AF_INET6;
		sa.v6.sin6_port = htons(u->udp_port);
		memcpy(&sa.v6.sin6_addr, u->address.b, 16);
	} else {
		sa.v4.sin_family = AF_INET;
		sa.v4.sin_port = htons(u->udp_port);
		memcpy(&sa.v4.sin_addr, u->address.b + 12, 4);
	}
	u->sock = socket(sa.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (u->sock < 0)
		return -errno;
	rc = socket_family(u);
	if (rc)
		return rc;
	/* the privileged forms first: they may pass the system's limit */
	if (setsockopt(u->sock, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(u->sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(u->sock, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(u->sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	/* a node that was killed has the address until the kernel has put its ring away */
	for (int i = 0; (rc = bind(u->sock, &sa.any, u->name_len) ? -errno : 0) &&
			rc == -EADDRINUSE && i < BIND_TRIES;
	     i++)
		nanosleep(&nap, NULL);
	if (rc) {
		snprintf(err, errlen,
			 "uring: cannot bind UDP port %u of %s: %s: is another node "
			 "running there?",
			 u->udp_port, ip_addr_text(u->address, text), strerror(-rc));
		return rc;
	}
	return 0;
}

static bool interface_has(const struct uring_port *u, const struct ifaddrs *i)
{
	const union name *sa = (const union name *)i->ifa_addr;
	const union name *mask = (const union name *)i->ifa_netmask;
	uint32_t own;

	if (!sa || sa->any.sa_family != (u->v6 ? AF_INET6 : AF_INET))
		return false;
	if (u->v6)
		return memcmp(&sa->v6.sin6_addr, u->address.b, 16) == 0;
	/* the loopback interface has all of its network's addresses */
	memcpy(&own, u->address.b + 12, 4);
	return !((own ^ sa->v4.sin_addr.s_addr) &
		 (i->ifa_flags & IFF_LOOPBACK && mask ? mask->v4.sin_addr.s_addr : 0xffffffff));
}

/* The largest packet of the interface that has the address; 0 when none has. */
static uint32_t interface_mtu(struct uring_port *u)
{
	struct ifaddrs *all, *i;
	uint32_t mtu = 0;

	if (getifaddrs(&all))
		return 0;
	for (i = all; i && !mtu; i = i->ifa_next) {
		struct ifreq req = {0};

		if (!interface_has(u, i))
			continue;
		strncpy(req.ifr_name, i->ifa_name, sizeof(req.ifr_name) - 1);
		memcpy(u->iface, req.ifr_name, sizeof(u->iface));
		if (!ioctl(u->sock, SIOCGIFMTU, &req) && req.ifr_mtu > 0)
			mtu = (uint32_t)req.ifr_mtu;
	}
	freeifaddrs(all);
	return mtu;
}

static int ring_open(struct uring_port *u)
{
	struct io_uring_params best = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN |
						IORING_SETUP_R_DISABLED,
				       .cq_entries = 4 * ENTRIES};
	struct io_uring_params plain = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
					.cq_entries = 4 * ENTRIES};
	int rc;

	if (io_uring_queue_init_params(ENTRIES, &u->ring, &best) == 0) {
		u->deferred = u->opened = true;
		return 0;
	}
	memset(&u->ring, 0, sizeof(u->ring));
	rc = io_uring_queue_init_params(ENTRIES, &u->ring, &plain);
	u->opened = rc == 0;
	return rc;
}

static int uring_open(struct port **out, const struct port_conf *conf, char *err, size_t errlen)
{
	struct uring_port *u = calloc(1, sizeof(*u));
	size_t stride;
	uint32_t mtu;
	int rc;

	if (!u)
		return -ENOMEM;
	u->sock = u->event = -1;
	u->port.ops = &port_uring_ops;
	u->port.mtu = conf->mtu && conf->mtu < MTU_MAX ? conf->mtu : MTU_DEFAULT;
	u->address = conf->address;
	u->v6 = ip_addr_is_v6(conf->address);
	u->headers = u->v6 ? HEADERS_V6 : HEADERS_V4;
	u->front = u->v6 ? FRONT_V6 : FRONT_V4;
	u->name_len = u->v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	u->udp_port = conf->udp_port;
	if (conf->args && conf->args[0]) {
		snprintf(err, errlen, "uring: takes no arguments, not \"%s\"", conf->args);
		uring_close(&u->port);
		return -EINVAL;
	}
	rc = socket_open(u, err, errlen);
	if (rc) {
		if (err[0]) {
			uring_close(&u->port);
			return rc;
		}
		return fail(u, rc, err, errlen, "socket");
	}
	mtu = interface_mtu(u);
	if (mtu && mtu < u->port.mtu)
		u->port.mtu = mtu;
	u->nbuffers = conf->buffers > RECV_RING + SENDS && conf->buffers <= 65536 ? conf->buffers
										  : BUFFERS;
	stride = (PKT_HEADROOM + u->port.mtu + 64 + 63) & ~(size_t)63;
	u->memory_size = stride * u->nbuffers;
	u->memory = mmap(NULL, u->memory_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	u->buffers = calloc(u->nbuffers, sizeof(*u->buffers));
	if (u->memory == MAP_FAILED || !u->buffers) {
		u->memory = u->memory == MAP_FAILED ? NULL : u->memory;
		return fail(u, -ENOMEM, err, errlen, "packet buffers");
	}
	u->free_buffer = NONE;
	for (uint32_t i = u->nbuffers; i-- > 0;) {
		u->buffers[i].base = u->memory + i * stride;
		u->buffers[i].pkt.drv = &u->buffers[i];
		buffer_put(u, i);
	}
	u->free_send = NONE;
	for (uint32_t i = 0; i < SENDS; i++) {
		u->send[i].next = u->free_send;
		u->free_send = i;
	}
	rc = ring_open(u);
	if (rc)
		return fail(u, rc, err, errlen,
			    "io_uring is not to be had here (sysctl kernel.io_uring_disabled?)");
	u->recv_ring_size = RECV_RING * sizeof(struct io_uring_buf);
	u->recv_ring = mmap(NULL, u->recv_ring_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (u->recv_ring == MAP_FAILED) {
		u->recv_ring = NULL;
		return fail(u, -ENOMEM, err, errlen, "receive ring");
	}
	u->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = u->event < 0 ? -errno : io_uring_register_eventfd(&u->ring, u->event);
	if (rc)
		return fail(u, rc, err, errlen, "event descriptor");
	*out = &u->port;
	return 0;
}

/* A filter of system calls does not see what is asked for through the ring: it is left what the port does. */
static int ring_restrict(struct uring_port *u)
{
	struct io_uring_restriction r[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SENDMSG},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_RECVMSG},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_BUFFER_SELECT},
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_PBUF_RING},
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_SYNC_CANCEL},
	};

	return syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_RESTRICTIONS, r,
		       sizeof(r) / sizeof(r[0]))
		       ? -errno
		       : 0;
}

/* On the polling thread: it alone may use the ring from now on. */
static int uring_start(struct port *p)
{
	struct uring_port *u = from(p);
	struct io_uring_buf_reg reg = {.ring_entries = RECV_RING, .bgid = RECV_GROUP};
	struct io_uring_cqe *cqe;
	int rc;

	rc = ring_restrict(u);
	if (rc)
		return rc;
	/* liburing 2.3 declares the call and does not export it */
	if (syscall(SYS_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return -errno;
	reg.ring_addr = (uint64_t)(uintptr_t)u->recv_ring;
	rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (rc)
		return rc;
	io_uring_buf_ring_init(u->recv_ring);
	u->recv_msg.msg_namelen = u->name_len;
	recv_refill(u);
	submit(u);
	/* a kernel that has buffer rings and no multishot recvmsg (5.19) says so at once */
	if (!io_uring_peek_cqe(&u->ring, &cqe) && cqe->user_data == TAG_RECV && cqe->res == -EINVAL)
		return -EOPNOTSUPP;
	return 0;
}

const struct port_ops port_uring_ops = {
	.name = "uring",
	.caps = PORT_UDP,
	.open = uring_open,
	.start = uring_start,
	.alloc = uring_alloc,
	.free = uring_free,
	.rx_burst = uring_rx,
	.tx_burst = uring_tx,
	.wait_fd = uring_wait_fd,
	.arm = uring_arm,
	.link_up = uring_link_up,
	.stats = uring_stats,
	.close = uring_close,
};
