/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_rig.h - what the tests of port drivers share: opening ports, numbered IPv4 packets.
 *
 * A packet is IPv4 and UDP from one node to another, identification 0, with a payload that its
 * number and length give, so that whoever receives it can tell whether each byte is right.
 */
#ifndef ATOLL_TESTS_UNIT_PORT_RIG_H
#define ATOLL_TESTS_UNIT_PORT_RIG_H

#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataplane/port.h"

enum {
	RIG_UDP_PORT = 4791,
	RIG_HEADERS = 28
};

static inline uint64_t rig_now_ns(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline struct port *rig_open(const char *spec, struct port_conf conf)
{
	struct port *port = NULL;
	char err[256] = "";

	conf.udp_port = conf.udp_port ? conf.udp_port : RIG_UDP_PORT;
	if (port_open(&port, spec, &conf, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	assert_string_equal(err, "");
	assert_int_equal(port->ops->start(port), 0);
	return port;
}

/* Opening @spec fails with @rc and a sentence that has @word. */
static inline void rig_refused(const char *spec, int rc, const char *word)
{
	struct port_conf conf = {.address = ip_addr_v4(0x7f000001), .udp_port = RIG_UDP_PORT};
	struct port *port = NULL;
	char err[256] = "";

	assert_int_equal(port_open(&port, spec, &conf, err, sizeof(err)), rc);
	if (!strstr(err, word))
		fail_msg("%s: \"%s\" does not name %s", spec, err, word);
}

static inline uint8_t rig_byte(uint32_t number, uint32_t at)
{
	return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

static inline void rig_put(uint8_t *p, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static inline uint32_t rig_get(const uint8_t *p, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | p[i];
	return value;
}

/* @p->data: where the IPv4 header goes. @payload: at least 4 bytes. */
static inline void rig_packet(struct pkt *p, uint32_t src, uint32_t dst, uint32_t number,
			      uint32_t payload)
{
	uint8_t *h = p->data;

	assert_true(p->room >= RIG_HEADERS + payload);
	memset(h, 0, RIG_HEADERS);
	h[0] = 0x45;
	rig_put(h + 2, RIG_HEADERS + payload, 2);
	h[6] = 0x40;
	h[8] = 64;
	h[9] = 17;
	rig_put(h + 12, src, 4);
	rig_put(h + 16, dst, 4);
	rig_put(h + 20, RIG_UDP_PORT, 2);
	rig_put(h + 22, RIG_UDP_PORT, 2);
	rig_put(h + 24, 8 + payload, 2);
	rig_put(h + RIG_HEADERS, number, 4);
	for (uint32_t i = 4; i < payload; i++)
		h[RIG_HEADERS + i] = rig_byte(number, i);
	p->len = RIG_HEADERS + payload;
}

/* Is the IPv4 packet at @p->data whole? Its number goes to @number. */
static inline int rig_good(const struct pkt *p, uint32_t *number)
{
	const uint8_t *h = p->data;

	if (p->len < RIG_HEADERS + 4 || h[0] != 0x45 || rig_get(h + 2, 2) != p->len ||
	    rig_get(h + 4, 4) != 0x00004000 || h[9] != 17 || rig_get(h + 24, 2) != p->len - 20)
		return 0;
	*number = rig_get(h + RIG_HEADERS, 4);
	for (uint32_t i = 4; i < p->len - RIG_HEADERS; i++)
		if (h[RIG_HEADERS + i] != rig_byte(*number, i))
			return 0;
	return 1;
}

/* Send one. Return: what tx_burst returned; what it did not take is freed. */
static inline unsigned rig_send(struct port *port, uint32_t src, uint32_t dst, uint32_t number,
				uint32_t payload)
{
	struct pkt *p;
	unsigned sent;

	if (port->ops->alloc(port, &p, 1) != 1)
		return 0;
	assert_int_equal(p->len, 0);
	rig_packet(p, src, dst, number, payload);
	sent = port->ops->tx_burst(port, &p, 1);
	if (!sent)
		port->ops->free(port, &p, 1);
	return sent;
}

/* How many buffers @port has to give; they are given back. */
static inline unsigned rig_spare(struct port *port)
{
	static struct pkt *all[65536];
	unsigned n = 0, got;

	while (n < 65536 - PORT_BURST_MAX &&
	       (got = port->ops->alloc(port, all + n, PORT_BURST_MAX)) > 0)
		n += got;
	port->ops->free(port, all, n);
	return n;
}

static inline void rig_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

/* Enter a network namespace of our own with its loopback up; needs no privilege. 0 or negative
 * errno. */
static inline int rig_namespace(void)
{
	struct ifreq req = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	unsigned uid = getuid(), gid = getgid();
	char map[64];
	int sock, rc;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -errno;
	snprintf(map, sizeof(map), "0 %u 1\n", uid);
	rig_write("/proc/self/setgroups", "deny");
	rig_write("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1\n", gid);
	rig_write("/proc/self/gid_map", map);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	rc = ioctl(sock, SIOCSIFFLAGS, &req) ? -errno : 0;
	close(sock);
	return rc;
}

#endif
