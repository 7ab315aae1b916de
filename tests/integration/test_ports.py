#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes on other ports than kernel UDP over IPv4, in a network namespace of the test's own: IPv6 over kernel UDP,
over packet sockets by DPDK on a veth pair; the kernel pings a node there."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__" and not os.environ.get("ATOLL_TEST_PORTS"):
    SPACE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--user", "--map-current-user", "--keep-caps", "--net"]
    if subprocess.run([*SPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
        print("SKIP: no network namespace of its own: unshare (util-linux), ip (iproute2), or the kernel lacks it")
        sys.exit(77)
    os.execvpe(SPACE[0], [*SPACE, sys.executable, *sys.argv], dict(os.environ, ATOLL_TEST_PORTS="1"))
from node import BUILD, Dir, status, svcctl, wait_for  # noqa: E402

subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
CLIENT = os.path.join(BUILD, "tests/integration/kill_client")
CONF = """[node]
name = {name}
id = {id}
run_dir = {dir}/{name}
heartbeat_ms = 20
[port]
port = {port}
address = {address}
trust = none
[peer {peer}]
id = {peer_id}
address = {peer_address}
"""


def drivers():
    out = subprocess.run([os.path.join(BUILD, "dataplane/atoll-dataplane"), "--drivers"],
                         capture_output=True, text=True, check=True)
    return out.stdout.split()


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Ports(unittest.TestCase):
    def setUp(self):
        os.environ.pop("ATOLL_PATH", None)
        self.dir = Dir()
        self.addCleanup(self.dir.remove)

    def up(self, ports, addresses):
        """Two nodes, echo on the second."""
        self.confs = []
        for i, name in enumerate("ab"):
            os.mkdir(f"{self.dir.path}/{name}")
            self.confs.append(self.dir.file(f"{name}/node.conf", CONF.format(
                name=name, id=i + 1, dir=self.dir.path, port=ports[i], address=addresses[i], peer="ba"[i],
                peer_id=2 - i, peer_address=addresses[1 - i]) + ("[service echo]\nexec = echo\n" if i else "")))
            out = svcctl("up", "-d", self.confs[i])
            if out.returncode and "no device came of" in out.stderr + self.log(name):
                self.skipTest(f"no such driver of DPDK here, or the kernel refuses it: {self.log(name).strip()}")
            self.assertEqual(out.returncode, 0, out.stderr + self.log(name))
        self.assertTrue(wait_for(lambda: self.links() == [1, 1], 10), self.log("a") + self.log("b"))

    def log(self, name):
        return svcctl("logs", f"{self.dir.path}/{name}", "dataplane").stdout

    def counters(self, i):
        return status(self.confs[i]).get("counters", {})

    def links(self):
        return [self.counters(i).get("links.up") for i in range(2)]

    def client(self):
        return subprocess.Popen([CLIENT, "b/echo"], stdout=subprocess.PIPE, text=True,
                                env=dict(os.environ, ATOLL_SOCKET=f"{self.dir.path}/a/dataplane.sock"))

    def talk(self, seconds=0.5):
        """Requests for a while: how they ended, by status."""
        client = self.client()
        try:
            client.wait(seconds)
        except subprocess.TimeoutExpired:
            client.terminate()
        text = client.communicate(timeout=30)[0]
        ended = {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if line.split()[0].isupper()}
        self.assertEqual(client.returncode, 0, text)
        return ended

    def test_ipv6_over_kernel_udp(self):
        for host in (2, 3):
            ip("addr", "replace", f"fd00::{host}/128", "dev", "lo", "nodad")
        self.up(["uring:", "uring:"], ["fd00::2", "fd00::3"])
        ended = self.talk()
        self.assertGreater(ended["OK"], 1000, ended)
        self.assertEqual(set(ended), {"OK"}, ended)
        # loopback's MTU of 65536 gives whole packets of 4096 bytes and every header
        self.assertIn("link to b is up, 4096 bytes a packet", self.log("a"))

    def veth(self):
        ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        self.addCleanup(ip, "link", "del", "v0")
        for name in ("v0", "v1"):
            ip("link", "set", name, "up")

    def test_ipv6_over_packet_sockets(self):
        if "dpdk" not in drivers():
            self.skipTest("built without DPDK")
        self.veth()
        self.up([f"dpdk:net_af_packet0,iface=v{i};huge=off;memory_mb=160" for i in range(2)], ["fd00::2", "fd00::3"])
        ended = self.talk()
        self.assertGreater(ended["OK"], 100, ended)
        self.assertEqual(set(ended), {"OK"}, ended)
        # 1500 less IPv6's headers
        self.assertIn("link to b is up, 1024 bytes a packet", self.log("a"))

    def test_af_xdp(self):
        if "dpdk" not in drivers():
            self.skipTest("built without DPDK")
        if os.getuid():
            self.skipTest("the driver loads a program into the kernel: only root may")
        self.veth()
        for name in ("v0", "v1"):  # room for what XDP puts before a frame in a page
            ip("link", "set", name, "mtu", "3498")
        self.up([f"dpdk:net_af_xdp{i},iface=v{i};huge=off;memory_mb=160" for i in range(2)], ["10.78.0.1", "10.78.0.2"])
        ended = self.talk()
        self.assertGreater(ended["OK"], 100, ended)
        self.assertEqual(set(ended), {"OK"}, ended)
        self.assertIn("link to b is up, 2048 bytes a packet", self.log("a"))

    def test_the_kernel_pings_a_node(self):
        """One end of the cable is the kernel's: it finds the node by neighbour discovery, and the node finds it."""
        if "dpdk" not in drivers():
            self.skipTest("built without DPDK")
        self.veth()
        ip("addr", "add", "fd00:1::1/64", "dev", "v0", "nodad")
        self.up(["uring:", "dpdk:net_af_packet0,iface=v1;huge=off;memory_mb=160"], ["fd00:1::1", "fd00:1::2"])
        ended = self.talk()
        self.assertEqual(set(ended), {"OK"}, ended)
        ping = subprocess.run(["ping", "-6", "-c", "3", "-i", "0.2", "-W", "2", "-s", "300", "fd00:1::2"],
                              capture_output=True, text=True, check=False) if self.has_ping() else None
        if ping:
            self.assertEqual(ping.returncode, 0, ping.stdout + ping.stderr)
        near = subprocess.run(["ip", "-6", "neigh", "show", "fd00:1::2"], capture_output=True, text=True, check=True)
        self.assertRegex(near.stdout, "lladdr")

    def test_link_down_and_up(self):
        """A cable that is pulled and put in again: said, counted, and every request ends."""
        if "dpdk" not in drivers():
            self.skipTest("built without DPDK")
        self.veth()
        self.up([f"dpdk:net_af_packet0,iface=v{i};huge=off;memory_mb=160" for i in range(2)],
                ["10.77.0.1", "10.77.0.2"])
        port = lambda: [self.counters(i).get("port.up") for i in range(2)]  # noqa: E731
        self.assertTrue(wait_for(lambda: port() == [1, 1]), self.counters(0))
        self.assertEqual([self.counters(i)["port.mtu"] for i in range(2)], [1500, 1500])
        client = self.client()
        self.addCleanup(client.kill)
        self.assertTrue(wait_for(lambda: self.counters(0)["links.tx"] > 200))
        for count in (1, 2):
            ip("link", "set", "v0", "down")  # and so v1 has no carrier
            self.assertTrue(wait_for(lambda: port() == [0, 0]), port())
            self.assertTrue(wait_for(lambda: self.links() == [0, 0]), self.links())
            self.assertEqual([self.counters(i)["port.downs"] for i in range(2)], [count, count])
            ip("link", "set", "v0", "up")
            self.assertTrue(wait_for(lambda: port() == [1, 1]), port())
            self.assertTrue(wait_for(lambda: self.links() == [1, 1]), self.links())
            before = self.counters(0)["links.rx"]
            self.assertTrue(wait_for(lambda: self.counters(0)["links.rx"] > before + 200), self.counters(0))
        client.terminate()
        text = client.communicate(timeout=30)[0]
        self.assertEqual(client.returncode, 0, text)  # each request has ended, once
        sent = re.search(r"(?m)^sent (\d+) ended (\d+) wrong 0$", text)
        self.assertTrue(sent and sent.group(1) == sent.group(2), text)
        self.assertRegex(text, r"(?m)^(UNREACHABLE|IN_DOUBT|NOT_SENT) ")
        self.assertRegex(self.log("a"), r"the port's link is down: requests to other nodes end as unreachable\n")
        self.assertIn("the port's link is up, 1500 bytes a packet", self.log("a"))

    def has_ping(self):
        return subprocess.run(["sh", "-c", "command -v ping"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    unittest.main(verbosity=2)
