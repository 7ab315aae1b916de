/* SPDX-License-Identifier: Apache-2.0 */
/* What the node's port needs of the machine's network. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/svcctl/doctor.h"

#define SAY(field, ...) snprintf(r->field, sizeof(r->field), __VA_ARGS__)

enum {
	NAME_BYTES = 64,
	HEADERS_V4 = 20 + 8 + 12 + 16 + 4, /* IPv4, UDP, BTH, RETH, ICRC: what is not payload of a RoCE packet */
	HEADERS_V6 = HEADERS_V4 + 20,
	ROCE_GOOD = 1024,
};

/* 32 hexadecimal digits, as /proc/net has IPv6 addresses. */
static bool address6_read(const char *hex, uint8_t out[16])
{
	for (unsigned i = 0; i < 16; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &out[i]) != 1)
			return false;
	return true;
}

/* /proc/net/if_inet6: address, index, prefix length, scope, flags, name. */
static bool address6_local(const struct doctor *d, struct ip_addr address)
{
	const size_t room = 1 << 16;
	char *all = malloc(room), *save = NULL;
	bool found = false;

	if (!all)
		return false;
	doctor_read(d, "/proc/net/if_inet6", all, room);
	for (char *line = strtok_r(all, "\n", &save); line && !found; line = strtok_r(NULL, "\n", &save)) {
		struct ip_addr a;

		found = address6_read(line, a.b) && ip_addr_equal(a, address);
	}
	free(all);
	return found;
}

/* /proc/net/ipv6_route: destination, its prefix length, source, its prefix length, next hop, metric, uses
 * (two), flags, interface. Longest prefix first; RTF_REJECT and the local table's are not ways out. */
static bool route6_to(const struct doctor *d, struct ip_addr address, char out[NAME_BYTES])
{
	enum { UP = 1, REJECT = 0x200 };
	const size_t room = 1 << 18;
	char *all = malloc(room), *save = NULL;
	unsigned best = 0;
	bool found = false;

	if (!all)
		return false;
	doctor_read(d, "/proc/net/ipv6_route", all, room);
	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char to[33], name[NAME_BYTES];
		struct ip_addr a;
		unsigned bits, flags, same = 0;

		if (sscanf(line, "%32s %x %*s %*x %*s %*x %*x %*x %x %63s", to, &bits, &flags, name) != 4 ||
		    strlen(to) != 32 || !address6_read(to, a.b) || !(flags & UP) || flags & REJECT)
			continue;
		while (same < bits && same < 128 &&
		       !((a.b[same / 8] ^ address.b[same / 8]) & 0x80 >> same % 8))
			same++;
		if (same < bits || (found && bits < best))
			continue;
		best = bits;
		strcpy(out, name);
		found = true;
	}
	free(all);
	return found;
}

/* Does the kernel hold @address for its own? /proc/net/fib_trie: the address, then "/32 host LOCAL". */
static bool address_local(const struct doctor *d, struct ip_addr address)
{
	char text[IP_ADDR_TEXT], want[IP_ADDR_TEXT + 8], *all;
	bool found = false;
	const size_t room = 1 << 18;

	if (ip_addr_is_loopback(address))
		return true;
	if (ip_addr_is_v6(address))
		return address6_local(d, address);
	ip_addr_text(address, text);
	snprintf(want, sizeof(want), "|-- %s\n", text);
	all = malloc(room);
	if (!all)
		return false;
	doctor_read(d, "/proc/net/fib_trie", all, room);
	for (const char *at = all; !found && (at = strstr(at, want)); at++) {
		const char *line = at + strlen(want);

		line += strspn(line, " ");
		found = strncmp(line, "/32 host LOCAL", 14) == 0;
	}
	free(all);
	return found;
}

/* The interface that the kernel would send to @address by; from /proc/net/route, longest mask first. */
static bool route_to(const struct doctor *d, struct ip_addr address, char out[NAME_BYTES])
{
	char *all, *save = NULL;
	const size_t room = 1 << 16;
	uint32_t best = 0;
	bool found = false;

	if (ip_addr_is_loopback(address)) {
		strcpy(out, "lo");
		return true;
	}
	if (ip_addr_is_v6(address))
		return route6_to(d, address, out);
	all = malloc(room);
	if (!all)
		return false;
	doctor_read(d, "/proc/net/route", all, room);
	for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint32_t to, mask, host = htonl(ip_addr_low(address));
		char name[NAME_BYTES];

		if (sscanf(line, "%63s %" SCNx32 " %*x %*x %*d %*d %*d %" SCNx32, name, &to, &mask) != 3)
			continue;
		if ((host & mask) != to || (found && ntohl(mask) < best))
			continue;
		best = ntohl(mask);
		strcpy(out, name);
		found = true;
	}
	free(all);
	return found;
}

/* The interface or PCI device of a DPDK port. */
static bool port_iface(const struct node_conf *c, char out[NAME_BYTES])
{
	const char *at = strstr(c->port, "iface=");
	size_t n;

	if (!at)
		return false;
	n = strcspn(at + 6, ",;");
	if (n == 0 || n >= NAME_BYTES)
		return false;
	memcpy(out, at + 6, n);
	out[n] = 0;
	return !strchr(out, '/');
}

static bool port_pci(const struct node_conf *c, char out[NAME_BYTES])
{
	const char *at = strstr(c->port, "dpdk:");
	unsigned a, b, s, f;
	int used = 0;

	if (!at)
		return false;
	at += 5;
	if (sscanf(at, "%4x:%2x:%2x.%1u%n", &a, &b, &s, &f, &used) == 4 && used)
		snprintf(out, NAME_BYTES, "%04x:%02x:%02x.%u", a, b, s, f);
	else if (sscanf(at, "%2x:%2x.%1u%n", &b, &s, &f, &used) == 3 && used)
		snprintf(out, NAME_BYTES, "0000:%02x:%02x.%u", b, s, f);
	else
		return false;
	return true;
}

static void nic_pci(const struct doctor *d, const char *pci, struct doctor_result *r)
{
	char path[PATH_MAX], link[256] = "none";
	const char *driver = link;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", pci);
	if (!doctor_exists(d, path)) {
		r->verdict = DOCTOR_FAULT;
		SAY(found, "there is no PCI device %s", pci);
		SAY(means, "the port cannot be opened");
		SAY(mend, "look for the card with lspci and write its address into the configuration");
		return;
	}
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/driver", d->root, pci);
	n = readlink(path, link, sizeof(link) - 1);
	if (n > 0) {
		link[n] = 0;
		driver = strrchr(link, '/') ? strrchr(link, '/') + 1 : link;
	}
	SAY(found, "PCI device %s has the driver %.100s", pci, driver);
	if (!strcmp(driver, "vfio-pci") || !strcmp(driver, "mlx5_core") || !strcmp(driver, "mlx4_core")) {
		SAY(means, "DPDK can take it");
		return;
	}
	r->verdict = DOCTOR_FAULT;
	SAY(means, "DPDK needs vfio-pci there (or a driver of its own kind, as mlx5_core)");
	SAY(mend, "dpdk-devbind.py --bind=vfio-pci %s; the kernel loses the card with all its addresses then, so"
		  " svcctl does not do it", pci);
}

void doctor_nic(const struct doctor *d, struct doctor_result *r)
{
	char name[NAME_BYTES], path[128], state[64] = "", text[IP_ADDR_TEXT];

	if (!d->conf || !d->conf->port[0]) {
		r->verdict = DOCTOR_INFO;
		SAY(found, "no port is configured");
		return;
	}
	if (strstr(d->conf->port, "shm:")) {
		SAY(found, "the port is shared memory");
		SAY(means, "it needs no network");
		return;
	}
	if (port_pci(d->conf, name)) {
		nic_pci(d, name, r);
		return;
	}
	if (port_iface(d->conf, name)) {
		snprintf(path, sizeof(path), "/sys/class/net/%s/operstate", name);
		if (doctor_line(d, path, state, sizeof(state))) {
			r->verdict = DOCTOR_FAULT;
			SAY(found, "there is no interface %s", name);
			SAY(means, "the port cannot be opened");
			SAY(mend, "ip link lists interfaces; correct iface= in the port");
		} else {
			SAY(found, "interface %s is %.60s", name, state);
			SAY(means, "the port sends and receives by it");
			if (!strcmp(state, "down")) {
				r->verdict = DOCTOR_FAULT;
				SAY(means, "nothing gets through until it is up");
				SAY(mend, "ip link set %s up", name);
			}
		}
		return;
	}
	ip_addr_text(d->conf->address, text);
	if (address_local(d, d->conf->address)) {
		SAY(found, "%s is an address of this machine", text);
		SAY(means, "the port can be opened");
		return;
	}
	r->verdict = DOCTOR_FAULT;
	SAY(found, "%s is not an address of this machine", text);
	SAY(means, "the kernel will not let the port have it");
	SAY(mend, "ip addr lists those that there are; correct address in [port], or ip addr add %s/%d dev NAME",
	    text, ip_addr_is_v6(d->conf->address) ? 64 : 24);
}

void doctor_mtu(const struct doctor *d, struct doctor_result *r)
{
	const struct node_conf *c = d->conf;
	char name[NAME_BYTES] = "", path[128];
	uint64_t mtu, headers;

	r->verdict = DOCTOR_INFO;
	if (!c || !c->port[0] || strstr(c->port, "shm:")) {
		SAY(found, "the port has no interface");
		return;
	}
	if (!port_iface(c, name) && !route_to(d, c->npeers ? c->peers[0].address : c->address, name)) {
		SAY(found, "the interface to the peers cannot be told");
		return;
	}
	snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", name);
	if (doctor_number(d, path, &mtu)) {
		SAY(found, "the MTU of %s cannot be read", name);
		return;
	}
	headers = ip_addr_is_v6(c->address) ? HEADERS_V6 : HEADERS_V4;
	SAY(found, "MTU of %s is %" PRIu64, name, mtu);
	SAY(mend, "ip link set %s mtu %u, on every machine and switch between; or mtu_bytes = %" PRIu64, name,
	    c->mtu_bytes ? c->mtu_bytes : 1500, mtu);
	if (c->mtu_bytes > mtu) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "mtu_bytes = %u is more than it carries: long packets are lost or cut up", c->mtu_bytes);
	} else if (mtu < ROCE_GOOD + headers) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "a RoCE packet carries 512 bytes or less then: half the throughput");
	} else {
		r->verdict = DOCTOR_GOOD;
		SAY(means, "a RoCE packet carries %d bytes", mtu >= 4096 + headers ? 4096
							      : mtu >= 2048 + headers ? 2048
										      : ROCE_GOOD);
	}
}

void doctor_rdma(const struct doctor *d, struct doctor_result *r)
{
	bool used = d->conf && strncmp(d->conf->port, "verbs:", 6) == 0;
	char path[PATH_MAX], state[64], active[NAME_BYTES] = "";
	unsigned devices = 0;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/sys/class/infiniband", d->root);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		devices++;
		snprintf(path, sizeof(path), "/sys/class/infiniband/%.60s/ports/1/state", e->d_name);
		if (doctor_line(d, path, state, sizeof(state)) == 0 && strstr(state, "ACTIVE"))
			snprintf(active, sizeof(active), "%.60s", e->d_name);
	}
	if (dir)
		closedir(dir);
	SAY(found, "%u RDMA device%s, %s%s", devices, devices == 1 ? "" : "s",
	    active[0] ? "active: " : "none active", active);
	if (!used) {
		r->verdict = DOCTOR_INFO;
		SAY(means, "the port is not RDMA hardware: RoCEv2 is done in software");
	} else if (!active[0]) {
		r->verdict = DOCTOR_FAULT;
		SAY(means, "the port cannot be opened");
		SAY(mend, "rdma link shows devices and their state; load the card's driver and connect it");
	} else {
		SAY(means, "the port can use it");
	}
}
