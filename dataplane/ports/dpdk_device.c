/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dpdk_device.c - the life of a DPDK port's device.
 *
 * virtio-user in server mode does not become a device before its peer has connected. So it is made
 * on a thread of its own, and the port is one whose link is down until then; a peer that dies in
 * the middle of that is tried again. (Until then other virtual devices of this process wait: one
 * such port a process.) Later comings and goings are DPDK's affair, on its own threads, while rings
 * are polled.
 */
#include <errno.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/ports/dpdk_port.h"
#include "dataplane/ports/dpdk_socket.h"

enum {
	RETRY_NS = 50000000,
	CLOSE_TRIES = 200, /* times 10 ms */
};

static bool link_read(struct dpdk_port *d)
{
	struct rte_eth_link link = {0};

	return !rte_eth_link_get_nowait(d->id, &link) && link.link_status == RTE_ETH_LINK_UP;
}

/* A sleeping owner is to look again: what it armed may be gone. */
static void wake(struct dpdk_port *d)
{
	const uint64_t one = 1;

	if (d->wake >= 0 && write(d->wake, &one, sizeof(one)) < 0)
		return; /* it is full of wakes already */
}

/* On DPDK's threads. When the peer goes, vhost calls before it takes its device away, and so waits
 * for an owner that is about to use it (dpdk_poll.c). */
static int link_changed(uint16_t id, enum rte_eth_event_type event, void *arg, void *ret)
{
	struct dpdk_port *d = arg;

	(void)id;
	(void)event;
	(void)ret;
	pthread_mutex_lock(&d->lock);
	atomic_store_explicit(&d->link, link_read(d), memory_order_release);
	pthread_mutex_unlock(&d->lock);
	wake(d);
	return 0;
}

static int device_configure(struct dpdk_port *d, char *err, size_t errlen)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	uint32_t mtu = d->mtu_wanted, overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	unsigned node = (unsigned)rte_eth_dev_socket_id(d->id);
	int rc = rte_eth_dev_info_get(d->id, &info);

	if (rc)
		return rc;
	/* as ethdev reckons it */
	if (info.max_mtu != UINT16_MAX && info.max_rx_pktlen > info.max_mtu)
		overhead = info.max_rx_pktlen - info.max_mtu;
	if (mtu > info.max_mtu)
		mtu = info.max_mtu;
	if (info.max_rx_pktlen > overhead && mtu > info.max_rx_pktlen - overhead)
		mtu = info.max_rx_pktlen - overhead;
	if (mtu < info.min_mtu || mtu < DPDK_MTU_MIN) {
		snprintf(err, errlen, "dpdk: %s carries no IP packets of %u bytes", d->name, mtu);
		return -EINVAL;
	}
	if (!d->own_mac) {
		if (rte_eth_macaddr_get(d->id, &mac) == 0)
			memcpy(d->port.mac, &mac, sizeof(d->port.mac));
		d->port.mtu = mtu;
	}
	conf.rxmode.mtu = mtu;
	d->has_lsc = *info.dev_flags & RTE_ETH_DEV_INTR_LSC;
	conf.intr_conf.lsc = d->has_lsc;
	/* of others it is not known that they can: they are polled */
	d->has_intr = d->wait >= 0 && d->has_lsc;
	conf.intr_conf.rxq = d->has_intr;
	rc = rte_eth_dev_configure(d->id, 1, 1, &conf);
	if (!rc)
		rc = rte_eth_rx_queue_setup(d->id, 0, DPDK_RING, node, NULL, d->pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(d->id, 0, DPDK_RING, node, NULL);
	if (!rc && d->has_lsc)
		rc = rte_eth_dev_callback_register(d->id, RTE_ETH_EVENT_INTR_LSC, link_changed, d);
	/* neighbours ask by multicast; drivers that cannot tell let all through */
	if (!rc && d->v6)
		rte_eth_allmulticast_enable(d->id);
	if (rc)
		snprintf(err, errlen, "dpdk: %s cannot be configured: %s", d->name, strerror(-rc));
	return rc;
}

void dpdk_device_remove(struct dpdk_port *d)
{
	if (!d->probed)
		return;
	if (d->has_lsc)
		rte_eth_dev_callback_unregister(d->id, RTE_ETH_EVENT_INTR_LSC, link_changed, d);
	if (d->begun)
		rte_eth_dev_stop(d->id);
	rte_eth_dev_close(d->id);
	if (!d->pci)
		rte_eal_hotplug_remove("vdev", d->name);
	d->probed = d->begun = false;
}

int dpdk_device_probe(struct dpdk_port *d, char *err, size_t errlen)
{
	char device[sizeof(d->name) + sizeof(d->args)];
	int rc = rte_eth_dev_get_port_by_name(d->name, &d->id);

	if (!rc) {
		snprintf(err, errlen, "dpdk: another port of this process has the device %s",
			 d->name);
		return -EBUSY;
	}
	if (d->pci) {
		snprintf(device, sizeof(device), "%s%s%s", d->name, d->args[0] ? "," : "", d->args);
		rc = rte_dev_probe(device);
	} else {
		rc = rte_eal_hotplug_add("vdev", d->name, d->args);
	}
	/* some drivers fail and only log it */
	if (rc || rte_eth_dev_get_port_by_name(d->name, &d->id)) {
		snprintf(err, errlen,
			 "dpdk: no device came of \"%s,%s\": is the driver's name right, and do "
			 "its arguments "
			 "name what exists and may be used?",
			 d->name, d->args);
		return -ENODEV;
	}
	d->probed = true;
	rc = device_configure(d, err, errlen);
	if (rc)
		dpdk_device_remove(d);
	return rc;
}

int dpdk_device_start(struct dpdk_port *d)
{
	int rc = rte_eth_dev_start(d->id);

	if (rc)
		return rc;
	d->begun = true;
	if (d->has_intr) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
		int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(d->id, 0);

		if (fd < 0 || epoll_ctl(d->wait, EPOLL_CTL_ADD, fd, &ev))
			return -EIO;
	}
	/* the callback may be running: end with what it would say */
	do {
		atomic_store(&d->link, !d->has_lsc || link_read(d));
	} while (d->has_lsc && atomic_load(&d->link) != link_read(d));
	atomic_store_explicit(&d->ready, true, memory_order_release);
	wake(d);
	return 0;
}

/* ------------------------------------------------------------------ virtio-user as a server */

static void *server_run(void *arg)
{
	const struct timespec nap = {.tv_nsec = RETRY_NS};
	struct dpdk_port *d = arg;
	char err[256];

	while (!atomic_load(&d->stop)) {
		int rc = dpdk_socket_clear(d->serves);

		if (!rc)
			rc = dpdk_device_probe(d, err, sizeof(err));
		if (!rc) {
			rc = dpdk_device_start(d);
			if (!rc)
				break;
			dpdk_device_remove(d);
		}
		if (rc != -EADDRINUSE)
			dpdk_sockets_close(d->serves);
		nanosleep(&nap, NULL);
	}
	atomic_store(&d->thread_done, true);
	return NULL;
}

/* The thread waits for a peer to connect: be one, until it has seen that it is to stop. Return:
 * false when a real peer holds it. */
bool dpdk_server_join(struct dpdk_port *d)
{
	const struct timespec nap = {.tv_nsec = 10000000};

	atomic_store(&d->stop, true);
	for (int i = 0; i < CLOSE_TRIES && !atomic_load(&d->thread_done); i++) {
		dpdk_socket_connect(d->serves, SOCK_STREAM);
		nanosleep(&nap, NULL);
	}
	if (!atomic_load(&d->thread_done)) {
		pthread_detach(d->thread);
		return false;
	}
	pthread_join(d->thread, NULL);
	return true;
}

int dpdk_server_begin(struct dpdk_port *d)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = -pthread_create(&d->thread, NULL, server_run, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	d->threaded = rc == 0;
	return rc;
}
