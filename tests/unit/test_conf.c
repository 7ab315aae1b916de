/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/conf.h"
#include "proto/atoll_proto.h"

static struct node_conf conf;
static struct conf_host host;
static char said[65536];

static void say(void *arg, const char *line)
{
	(void)arg;
	strncat(said, line, sizeof(said) - strlen(said) - 2);
	strcat(said, "\n");
}

static int parse_bytes(const char *text, size_t len)
{
	struct conf_errors errors = {.say = say};
	int rc;

	said[0] = 0;
	memset(&host, 0, sizeof(host));
	host.core[0] = host.core[1] = host.core[5] = 1;
	rc = conf_parse("n.conf", text, len, &host, &conf, &errors);
	assert_true((rc == 0) == (errors.count == 0));
	return rc;
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

#define NODE "[node]\nname = a\nid = 1\nrun_dir = /run/a\n"
#define PORT "[port]\nport = uring:\naddress = 127.0.0.2\n"

/* The text is refused, and the errors are exactly these lines (prefixes). */
static void refused(const char *text, ...)
{
	const char *want, *at;
	va_list ap;

	assert_int_equal(parse(text), -22);
	at = said;
	va_start(ap, text);
	while ((want = va_arg(ap, const char *))) {
		if (strncmp(at, want, strlen(want)) != 0)
			fail_msg("wanted: %s\ngot: %s", want, at);
		at = strchr(at, '\n') + 1;
	}
	va_end(ap);
	if (*at)
		fail_msg("not wanted: %s", at);
}

static void test_whole(void **state)
{
	(void)state;
	assert_int_equal(parse("# a node\n"
			       NODE
			       "heartbeat_ms = 70 ; slow\nidle = yield\ncore = 1\nkeeper_core = none\n"
			       "user = 65534\nlog_max_kib = 64\ntrace_entries = 0\n"
			       "\n" PORT
			       "udp_port = 4800\nmtu_bytes = 1500\nbuffers = 1024\n"
			       "[peer b]\nid = 2\naddress = 127.0.0.3\n"
			       "[service echo]\nexec = atoll-echo\nargs = -v one\n  two\n\tthree\n"
			       "core = 5\nrestart = on-failure\nbackoff_ms = 20\n"
			       "[service idx]\nexec = /bin/true\n"
			       "[lookup]\nallow = *:echo\nallow = 0:*\nallow = 7:in*\n"
			       "[limits]\nlanes = 4\n[limits 0]\nregions = 9\nregion_mib = 100\n"),
			 0);
	assert_string_equal(conf.name, "a");
	assert_int_equal(conf.id, 1);
	assert_string_equal(conf.run_dir, "/run/a");
	assert_int_equal(conf.heartbeat_ms, 70);
	assert_int_equal(conf.idle, IDLE_MODE_YIELD);
	assert_int_equal(conf.core, 1);
	assert_int_equal(conf.keeper_core, CONF_NO_CORE);
	assert_true(conf.user.set);
	assert_int_equal(conf.user.uid, 65534);
	assert_int_equal(conf.trace_entries, 0);
	assert_string_equal(conf.port, "uring:");
	assert_true(ip_addr_equal(conf.address, ip_addr_v4(0x7f000002)));
	assert_int_equal(conf.udp_port, 4800);
	assert_int_equal(conf.npeers, 1);
	assert_string_equal(conf.peers[0].name, "b");
	assert_true(ip_addr_equal(conf.peers[0].address, ip_addr_v4(0x7f000003)));
	assert_int_equal(conf.nservices, 2);
	assert_string_equal(conf.services[0].args, "-v one two three");
	assert_int_equal(conf.services[0].core, 5);
	assert_int_equal(conf.services[0].restart, CONF_RESTART_ON_FAILURE);
	assert_int_equal(conf.services[0].backoff_ms, 20);
	assert_int_equal(conf.services[1].backoff_ms, 10);
	assert_false(conf.services[1].user.set);
	assert_true(conf_lookup_allowed(&conf, 1234, "echo"));
	assert_false(conf_lookup_allowed(&conf, 1234, "echo2"));
	assert_true(conf_lookup_allowed(&conf, 0, "anything"));
	assert_true(conf_lookup_allowed(&conf, 7, "index"));
	assert_false(conf_lookup_allowed(&conf, 8, "index"));
	assert_int_equal(conf_limits_of(&conf, 0)->regions, 9);
	assert_int_equal(conf_limits_of(&conf, 0)->lanes, 0);
	assert_int_equal(conf_limits_of(&conf, 5)->lanes, 4);
	/* a user's own section, else the one for everybody, else the defaults; who is trusted has its own only */
	assert_int_equal(conf_limits_for(&conf, 0, false).regions, 9);
	assert_int_equal(conf_limits_for(&conf, 0, false).lanes, CONF_LANES);
	assert_int_equal(conf_limits_for(&conf, 0, true).regions, 9);
	assert_int_equal(conf_limits_for(&conf, 0, true).lanes, 0);
	assert_int_equal(conf_limits_for(&conf, 5, false).lanes, 4);
	assert_int_equal(conf_limits_for(&conf, 5, false).connections, CONF_CONNECTIONS);
	assert_int_equal(conf_limits_for(&conf, 5, true).lanes, 0);
}

static void test_limits(void **state)
{
	struct conf_limits l;

	(void)state;
	assert_int_equal(parse(NODE "[limits]\nconnections = 1\nendpoints = 2\nring_mib = 3\nlanes = 4\n"
			       "requests = 5\nchains = 6\ncredits = 7\nregions = 8\nregion_mib = 9\n"), 0);
	l = conf_limits_for(&conf, 77, false);
	assert_int_equal(l.connections, 1);
	assert_int_equal(l.endpoints, 2);
	assert_int_equal(l.ring_mib, 3);
	assert_int_equal(l.lanes, 4);
	assert_int_equal(l.requests, 5);
	assert_int_equal(l.chains, 6);
	assert_int_equal(l.credits, 7);
	assert_int_equal(l.regions, 8);
	assert_int_equal(l.region_mib, 9);
}

static void test_presets(void **state)
{
	(void)state;
	assert_int_equal(parse(NODE), 0);
	assert_string_equal(conf.port, "");
	assert_int_equal(conf.heartbeat_ms, PROTO_HEARTBEAT_DEFAULT);
	assert_int_equal(conf.udp_port, 4791);
	assert_true(conf_lookup_allowed(&conf, 1, "x"));
	assert_null(conf_limits_of(&conf, 1));
	assert_int_equal(parse(NODE "[lookup]\n"), 0);
	assert_false(conf_lookup_allowed(&conf, 1, "x"));
	assert_int_equal(parse(NODE "[port]\nport = none\naddress = 127.0.0.1\n"), 0);
	assert_string_equal(conf.port, "");
}

static void test_structure(void **state)
{
	(void)state;
	refused("", "n.conf: has no [node] section", NULL);
	refused("name = a\n" NODE, "n.conf:1: name stands before the first section", NULL);
	refused(NODE "[node]\nid = 3\n", "n.conf:5: [node] is there already, in line 1", NULL);
	refused(NODE "[node x]\nid = 3\n", "n.conf:5: [node x]: this section has no name", NULL);
	refused(NODE "[prot]\nport = x\n", "n.conf:5: unknown section [prot]", NULL);
	refused(NODE "[port\nport = x\n", "n.conf:5: a section without its closing ]", NULL);
	refused(NODE "colour = red\n", "n.conf:5: unknown key colour; this section has name, id,",
		NULL);
	refused(NODE "nonsense\n", "n.conf:5: neither [section] nor key = value", NULL);
	refused(NODE "id = 2\n", "n.conf:5: id: given twice", NULL);
	refused(NODE "  heartbeat_ms = 20\n", "n.conf:5: this line begins with a blank and so", NULL);
	refused("[node]\nname = a\n", "n.conf:1: [node] has no id;", "n.conf:1: [node] has no run_dir;",
		NULL);
	refused(NODE "[peer b]\n[service s]\n", "n.conf:5: [peer b] has no id",
		"n.conf:5: [peer b] has no address", "n.conf:6: [service s] has no exec",
		"n.conf: has peers but no [port]", NULL);
}

static void test_values(void **state)
{
	(void)state;
	refused(NODE "core = 3\n",
		"n.conf:5: core = 3: there is no such core here; use one of 0-1,5, or none", NULL);
	refused(NODE "core = -1\nheartbeat_ms = 0\nidle = sleepy\nuser = no-such-user-here\n",
		"n.conf:5: core = -1", "n.conf:6: heartbeat_ms = 0: out of range; write a number from 1"
		" to 10000", "n.conf:7: idle = sleepy: not known; what pollers do without work: auto,",
		"n.conf:8: user = no-such-user-here: there is no such user", NULL);
	refused(NODE "heartbeat_ms = 20ms\ntrace_entries = 100\nlog_max_kib = 99999999999999999999\n",
		"n.conf:5: heartbeat_ms = 20ms: not a whole number",
		"n.conf:6: trace_entries = 100: not a power of two", "n.conf:7: log_max_kib = 9999", NULL);
	refused("[node]\nname = a/b\nid = 255\nrun_dir = run\n", "n.conf:2: name = a/b: not a name",
		"n.conf:3: id = 255: out of range", "n.conf:4: run_dir = run: not an absolute path", NULL);
	refused(NODE "[port]\nport = uring\naddress = 127.1\nudp_port = 65536\ntrust = all\n",
		"n.conf:7: address = 127.1: not an IPv4 or IPv6 address", "n.conf:8: udp_port = 65536: out",
		"n.conf:9: trust = all", "n.conf:5: port = uring: not DRIVER:ARGS", NULL);
	refused(NODE "[port]\nport = uring:\naddress = 224.0.0.1\n",
		"n.conf:7: address = 224.0.0.1: not the address of one host", NULL);
	refused(NODE "[lookup]\nallow = echo\nallow = 0:a*b\nallow = nobody-here:echo\n",
		"n.conf:6: allow = echo: not USER:SERVICE", "n.conf:7: allow = 0:a*b: a * may only",
		"n.conf:8: allow = nobody-here:echo: there is no user", NULL);
	refused(NODE "[service s]\nexec =\nbackoff_ms = 100\nbackoff_max_ms = 50\nrestart = maybe\n",
		"n.conf:6: exec: has no value", "n.conf:9: restart = maybe: not known",
		"n.conf:5: [service s]: backoff_ms is more than backoff_max_ms", NULL);
	refused(NODE "[service keeper]\nexec = x\n", "n.conf:5: [service keeper]: every node has", NULL);
	refused(NODE "[limits nobody-here]\n", "n.conf:5: [limits nobody-here]: there is no such", NULL);
	refused(NODE "[limits]\n[limits 3]\n[limits 3]\n", "n.conf:7: limits of this user are there "
		"already, in line 6", NULL);
}

static void test_peers(void **state)
{
	(void)state;
	refused(NODE PORT "[peer a]\nid = 1\naddress = 127.0.0.2\n",
		"n.conf:8: [peer a] has this node's own name",
		"n.conf:8: [peer a] has this node's own id", "n.conf:8: [peer a] has this node's own "
		"address", NULL);
	refused(NODE PORT "[peer b]\nid = 2\naddress = 127.0.0.3\n[peer c]\nid = 2\naddress = 127.0.0.3\n",
		"n.conf:11: [peer c] has the id 2 of [peer b] in line 8",
		"n.conf:11: [peer c] has the address of [peer b] in line 8", NULL);
	refused(NODE PORT "[peer b]\nid = 2\naddress = 127.0.0.3\n[peer b]\nid = 3\n",
		"n.conf:11: [peer b] is there already, in line 8", NULL);
	refused(NODE "[port]\nport = none\naddress = 127.0.0.2\n[peer b]\nid = 2\naddress = 127.0.0.3\n",
		"n.conf:5: port = none, but there are peers", NULL);
}

/* Links are not authenticated: other than loopback addresses only with trust = none. */
static void test_trust(void **state)
{
	(void)state;
	refused(NODE "[port]\nport = uring:\naddress = 10.0.0.1\n[peer b]\nid = 2\naddress = 10.0.0.2\n",
		"n.conf:7: 10.0.0.1 is not a loopback address, and links are not authenticated",
		"n.conf:8: 10.0.0.2 is not a loopback address", NULL);
	assert_int_equal(parse(NODE "[peer b]\nid = 2\naddress = 10.0.0.2\n"
			       "[port]\nport = uring:\naddress = 10.0.0.1\ntrust = none\n"), 0);
	assert_true(conf.trust_none);
}

static void test_ipv6(void **state)
{
	static const struct ip_addr own = {{0xfd, [15] = 2}};

	(void)state;
	assert_int_equal(parse(NODE "[peer b]\nid = 2\naddress = fd00::3\n"
			       "[port]\nport = uring:\naddress = fd00:0:0::2\ntrust = none\n"), 0);
	assert_true(ip_addr_equal(conf.address, own));
	assert_int_equal(conf.peers[0].address.b[15], 3);
	assert_int_equal(parse(NODE "[port]\nport = uring:\naddress = ::1\n"), 0);
	refused(NODE "[port]\nport = uring:\naddress = fd00::2\n[peer b]\nid = 2\naddress = 127.0.0.2\n",
		"n.conf:7: fd00::2 is not a loopback address",
		"n.conf:8: [peer b] has an IPv4 address and this node an IPv6 one", NULL);
	refused(NODE "[port]\nport = uring:\naddress = fe80::2\n",
		"n.conf:7: address = fe80::2: not the address of one host; link-local ones need", NULL);
	refused(NODE "[port]\nport = uring:\naddress = ::ffff:10.0.0.1\n", "n.conf:7: address = ::ffff:10.0.0.1: not an", NULL);
}

static void test_lines(void **state)
{
	char text[2048] = NODE;
	static const char nul[] = NODE "x\0y = 3\n";

	(void)state;
	memset(text + strlen(text), 'x', 300);
	refused(text, "n.conf:5: longer than 190 bytes", NULL);
	assert_int_equal(parse_bytes(nul, sizeof(nul) - 1), -22);
	assert_string_equal(said, "n.conf:5: holds a NUL byte: is this a text file?\n");
	assert_int_equal(parse("\xef\xbb\xbf[node]\r\nname = a\r\nid = 1\r\nrun_dir = /run/a"), 0);
	assert_string_equal(conf.run_dir, "/run/a");
	refused(NODE "\x1b[2J = 3\n", "n.conf:5: unknown key ?[2J;", NULL);
	strcpy(text, NODE "[service s]\nexec = x\nargs = a\n");
	for (int i = 0; i < 10; i++) {
		strcat(text, " ");
		memset(text + strlen(text), 'y', 150);
		strcat(text, "\n");
	}
	assert_int_equal(parse(text), -22);
	assert_non_null(strstr(said, "args: longer than 1023 bytes"));
}

static void test_many(void **state)
{
	char *text = malloc(1 << 20);
	size_t at = 0;

	(void)state;
	assert_non_null(text);
	at += (size_t)sprintf(text + at, "%s", NODE PORT);
	for (int i = 0; i < CONF_SERVICES_MAX + 2; i++)
		at += (size_t)sprintf(text + at, "[service s%d]\nexec = x\n", i);
	for (int i = 0; i < CONF_RULES_MAX + 1; i++)
		at += (size_t)sprintf(text + at, "%sallow = %d:x\n", i ? "" : "[lookup]\n", i);
	for (int i = 0; i < CONF_LIMITS_MAX + 1; i++)
		at += (size_t)sprintf(text + at, "[limits %d]\nlanes = 1\n", i);
	for (int i = 0; i < CONF_PEERS_MAX + 1; i++)
		at += (size_t)sprintf(text + at, "[peer p%d]\nid = %d\naddress = 127.0.1.%d\n", i,
				      i % 253 + 2, i);
	assert_int_equal(parse(text), -22);
	assert_non_null(strstr(said, "more than 32 services"));
	assert_non_null(strstr(said, "more than 64 rules"));
	assert_non_null(strstr(said, "limits for more than 32 users"));
	assert_non_null(strstr(said, "more than 253 peers"));
	assert_int_equal(conf.nservices, CONF_SERVICES_MAX);
	free(text);
}

static void test_files(void **state)
{
	char path[] = "/tmp/test_conf.XXXXXX";
	struct conf_errors errors = {.say = say};
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, NODE, strlen(NODE)), (ssize_t)strlen(NODE));
	said[0] = 0;
	assert_int_equal(conf_read_fd(fd, "x", NULL, &conf, &errors), 0);
	assert_int_equal(conf_read(path, NULL, &conf, &errors), 0);
	assert_string_equal(conf.name, "a");
	close(fd);
	unlink(path);
	assert_int_equal(conf_read(path, NULL, &conf, &errors), -2);
	assert_non_null(strstr(said, "cannot be opened: No such file"));
	assert_int_equal(conf_read("/", NULL, &conf, &errors), -21);
}

/* What the reference says is what holds. */
static void test_reference(void **state)
{
	char *text = NULL, want[64], *at;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(f);
	conf_reference(f);
	fclose(f);
	at = strstr(text, "heartbeat_ms");
	assert_non_null(at);
	snprintf(want, sizeof(want), "default: %d; 1 to 10000", PROTO_HEARTBEAT_DEFAULT);
	at = strstr(at, "default: ");
	assert_int_equal(strncmp(at, want, strlen(want)), 0);
	assert_non_null(strstr(text, "[limits USER]"));
	free(text);
}

static void test_host(void **state)
{
	int cores = 0;

	(void)state;
	conf_host_here(&host);
	for (int i = 0; i < CONF_CORES_MAX; i++)
		cores += host.core[i];
	assert_true(cores >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),	  cmocka_unit_test(test_presets), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_structure), cmocka_unit_test(test_values),
		cmocka_unit_test(test_peers),	  cmocka_unit_test(test_trust), cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_lines),	  cmocka_unit_test(test_many),
		cmocka_unit_test(test_files),	  cmocka_unit_test(test_host),
		cmocka_unit_test(test_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
