#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input from outside a process: the control socket and the wire. Each kind is counted, whoever did it is
told or dropped, and a client that keeps requests outstanding between the two nodes does not notice."""
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, Dir, status, svcctl, wait_for  # noqa: E402

SIZE = 256  # of a control request
ATTACH, REGION_ALLOC, REGION_CLAIM, TRACE, COUNTERS, ADMIN_SERVICE, ADMIN_STATUS = 1, 2, 3, 5, 6, 7, 8


def request(op=ATTACH, magic=0xA710, major=1, kind=1, slots=0, arena=0, size=0, flags=0, numa=0, key=0,
            pid=0, name=b"bad", tail=b""):
    head = struct.pack("<HBBHHQIIQIIQII64s", magic, major, 0, op, kind, 0, slots, arena, size, flags,
                       numa, key, pid, 0, name)
    return (head + tail).ljust(SIZE, b"\0")


def answer(data):
    """Status and text of a reply, None after a hang-up."""
    if len(data) != SIZE:
        return None
    magic, _, _, _, state = struct.unpack_from("<HBBHH", data)
    assert magic == 0xA711
    return state, data[96:].rstrip(b"\0").decode()


class BadInput(unittest.TestCase):
    def setUp(self):
        os.environ.pop("ATOLL_PATH", None)
        self.dir = Dir()
        self.addCleanup(self.dir.remove)
        self.port = random.randrange(20000, 60000)
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--services", "echo", "--udp-port",
                     str(self.port))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertTrue(wait_for(lambda: self.counter("a", "links.up") == 1 and
                                 self.counter("b", "links.up") == 1))
        env = dict(os.environ, ATOLL_SOCKET=self.socket("a"))
        self.client = subprocess.Popen(  # pylint: disable=consider-using-with
            [os.path.join(BUILD, "tests/integration/kill_client"), "b/echo"], env=env, text=True,
            stdout=subprocess.PIPE)
        self.addCleanup(self.client.stdout.close)
        self.addCleanup(self.client.wait)
        self.addCleanup(self.client.kill)
        self.assertEqual(self.client.stdout.readline(), "attached\n")

    def socket(self, node):
        return os.path.join(self.dir.path, node, "dataplane.sock")

    def counter(self, node, name):
        return status(os.path.join(self.dir.path, node)).get("counters", {}).get(name)

    def talk(self, data):
        """Sends one request on a connection of its own and says what came back."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(5)
            s.connect(self.socket("a"))
            s.send(data)
            try:
                return answer(s.recv(4096))
            except ConnectionResetError:
                return None

    def finish(self):
        """The honest client has noticed nothing: all its requests ended, and ended well."""
        restarts = [p["restarts"] for n in "ab" for p in
                    status(os.path.join(self.dir.path, n))["processes"].values()]
        self.assertEqual(set(restarts), {0})
        self.client.send_signal(signal.SIGTERM)
        out, _ = self.client.communicate(timeout=30)
        self.assertEqual(self.client.returncode, 0, out)
        lines = out.splitlines()  # "sent N ended N wrong N", then a line a status
        sent, ended = lines[0].split()[1], lines[0].split()[3]
        self.assertEqual(sent, ended)
        self.assertGreater(int(sent), 0)
        for line in lines[1:]:
            self.assertIn(line.split()[0], ("OK", "AGAIN"), out)

    def test_control_socket(self):
        malformed = 0
        # cut short, too long, and descriptors beside it: hung up
        for data in (b"x", request()[:100], request()[:255], request() + b"x", b"\0" * 4096):
            self.assertIsNone(self.talk(data))
            malformed += 1
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(5)
            s.connect(self.socket("a"))
            socket.send_fds(s, [request()], [0, 1])
            with self.assertRaises((ConnectionResetError, AssertionError)):
                self.assertNotEqual(s.recv(4096), b"")
            malformed += 1
        # a field out of range: BAD_MESSAGE, and which field
        bad = {
            "magic": request(magic=0xA711), "op": request(op=99), "kind": request(kind=3),
            "slots": request(slots=100), "arena": request(arena=1000), "name": request(name=b"a b"),
            "size": request(op=REGION_ALLOC, kind=0, name=b"", size=0),
            "flags": request(op=REGION_ALLOC, kind=0, name=b"", size=4096, flags=0x80),
            "key": request(op=TRACE, kind=0, name=b"", key=1),
            "reserved": request(tail=b"x"),
        }
        for field, data in bad.items():
            self.assertEqual(self.talk(data), (2, f"malformed request: {field}"))
            malformed += 1
        self.assertEqual(self.talk(request(major=2))[0], 19)  # UNSUPPORTED
        # what this process may not have
        self.assertEqual(self.talk(request(kind=2, name=b"echo"))[0], 18)  # DENIED: the supervisor's
        for op in (ADMIN_SERVICE, ADMIN_STATUS):
            self.assertEqual(self.talk(request(op=op, kind=0, pid=op == ADMIN_SERVICE))[0], 18)
        self.assertNotEqual(self.talk(request(op=REGION_ALLOC, kind=0, name=b"", size=4096))[0], 0)
        self.assertNotEqual(self.talk(request(op=REGION_CLAIM, kind=0, name=b"", key=5))[0], 0)
        self.assertTrue(wait_for(lambda: self.counter("a", "control.malformed") == malformed),
                        (self.counter("a", "control.malformed"), malformed))
        self.assertGreaterEqual(self.counter("a", "control.refused"), len(bad) + 6)
        # connections that say nothing, and many of them
        idle = []
        for _ in range(200):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.connect(self.socket("a"))
            idle.append(s)
        self.assertEqual(self.talk(request(op=COUNTERS, kind=0, name=b""))[0], 0)
        for s in idle:
            s.close()
        self.finish()

    def test_wire(self):
        """Packets from a stranger: each kind has a counter."""
        with open(os.path.join(self.dir.path, "a/node.conf"), encoding="utf-8") as f:
            address = [line.split()[-1] for line in f if line.startswith("address")][0]
        send = struct.pack(">BBHII", 0x04, 0x40, 0xffff, 0x000123, 0)  # of a QP that is not there
        kinds = {
            "roce.dropped.bad_length": [b"", b"x", send],
            "roce.dropped.bad_qpn": [send + b"\0" * 68],
            "roce.dropped.bad_pkey": [
                struct.pack(">BBHII", 0x04, 0x40, 0x1234, 0x123, 0) + b"\0" * 68],
            "roce.dropped.bad_version": [
                struct.pack(">BBHII", 0x04, 0x4f, 0xffff, 0x123, 0) + b"\0" * 68, b"\xff" * 200],
            # to the QP of connection management, which everybody may talk to
            "roce.dropped.bad_icrc": [
                struct.pack(">BBHIIII", 0x64, 0x40, 0xffff, 1, 0, 0x80010000, 1) + b"\0" * 260],
        }
        for name, packets in kinds.items():
            before = self.counter("a", name)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                for p in packets:
                    for _ in range(10):
                        s.sendto(p, (address, self.port))
            self.assertTrue(wait_for(lambda n=name, w=before + 10 * len(packets):
                                     self.counter("a", n) == w), (name, self.counter("a", name)))
        self.finish()


if __name__ == "__main__":
    unittest.main(verbosity=2)
