#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile client of another user tries one way after the other, while one that behaves goes on: what each way
got, which counter says so, and what the other client felt of it."""
import mmap
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, Dir, status, svcctl, wait_for  # noqa: E402

USER = 65533
LIMITS = {"connections": 60, "endpoints": 20, "ring_mib": 96, "lanes": 40, "requests": 100, "chains": 16,
          "credits": 24, "regions": 20, "region_mib": 64}


class Counters:
    """The dataplane's page of counters, by the control socket."""

    def __init__(self, path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.connect(path)
            s.send(struct.pack("<HBBH", 0xA710, 1, 0, 6).ljust(256, b"\0"))
            _, fds, _, _ = socket.recv_fds(s, 256, 4)
        self.page = mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)
        os.close(fds[0])
        count = struct.unpack_from("<I", self.page, 8)[0]
        names = [self.page[64 + 128 * i:104 + 128 * i].rstrip(b"\0").decode() for i in range(count)]
        self.index = {name: i for i, name in enumerate(names)}

    def __getitem__(self, name):
        return struct.unpack_from("<Q", self.page, 64 + 128 * 256 + 8 * self.index[name])[0]


class Hostile(unittest.TestCase):
    def node(self, name, number, peer, port):
        run_dir = os.path.join(self.dir.path, name)
        conf = (f"[node]\nname = {name}\nid = {number}\nrun_dir = {run_dir}\n"
                f"[port]\nport = uring:\naddress = 127.0.0.{number + 1}\nudp_port = {port}\n"
                f"[peer {peer}]\nid = {3 - number}\naddress = 127.0.0.{4 - number}\n"
                "[service echo]\nexec = echo\n[service other]\nexec = echo\n" +
                f"[limits {USER}]\n" + "".join(f"{k} = {v}\n" for k, v in LIMITS.items()))
        out = svcctl("up", "-d", self.dir.file(f"{name}.conf", conf))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.addCleanup(svcctl, "down", run_dir)
        return run_dir

    def felt(self):
        """Answers so far, wrong ones, longest time without one in ms since it was last asked."""
        self.good.stdin.write("\n")
        self.good.stdin.flush()
        return [int(v) for v in self.good.stdout.readline().split()]

    def test_ways(self):
        if os.getuid():
            self.skipTest("needs root, for a client of another user")
        os.environ.pop("ATOLL_PATH", None)
        self.dir = Dir()
        self.addCleanup(self.dir.remove)
        program = os.path.join(self.dir.path, "hostile")
        shutil.copy(os.path.join(BUILD, "tests/integration/hostile"), program)
        port = random.randrange(20000, 60000)
        a, b = self.node("a", 1, "b", port), self.node("b", 2, "a", port)
        env = dict(os.environ, ATOLL_SOCKET=f"{a}/dataplane.sock")
        count = Counters(env["ATOLL_SOCKET"])
        self.assertTrue(wait_for(lambda: count["links.up"] == 1))
        self.good = subprocess.Popen(  # pylint: disable=consider-using-with
            [program, "good"], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.good.stdout.close)
        self.addCleanup(self.good.stdin.close)
        self.addCleanup(self.good.wait)
        self.addCleanup(self.good.kill)
        self.felt()
        began, before = time.monotonic(), self.felt()[0]
        time.sleep(0.5)
        alone = (self.felt()[0] - before) / (time.monotonic() - began)
        out = subprocess.run([program, "list"], capture_output=True, text=True, check=True).stdout
        ways = [line.split("\t") for line in out.splitlines()]
        self.assertGreaterEqual(len(ways), 30)
        print(f"{'way':20} {'got':12} {'counter':22} {'by':>6}  beside it: {'rate':>6} {'gap':>6}")
        total, spent, computing, wrong_ways = 0, 0.0, alone, []
        for name, gets, counter in ways:
            was = count[counter] if counter != "-" else 0
            before = self.felt()[0]
            began = time.monotonic()
            out = subprocess.run([program, name], env=env, capture_output=True, text=True, timeout=20,
                                 user=USER, group=USER, extra_groups=[], check=False)
            got = out.stdout.strip()
            # what it leaves behind goes with it
            rose = wait_for(lambda: counter == "-" or count[counter] > was, 2)
            answers, bad, gap = self.felt()
            # a short way on a busy machine: whoever shares its core has not had a turn yet
            while answers == before and time.monotonic() - began < 3:
                time.sleep(0.01)
                answers, bad, more = self.felt()
                gap = max(gap, more)
            took = time.monotonic() - began
            total += answers - before
            spent += took
            by = count[counter] - was if counter != "-" else 0
            if name == "computes":
                computing = (answers - before) / took
            print(f"{name:20} {got:12} {counter:22} {by:6}  {(answers - before) / took / alone:16.2f} {gap:4} ms")
            if got != gets or not rose or bad or answers == before or gap > 2000:
                wrong_ways.append(f"{name}: {got} {out.stderr} instead of {gets}, {counter} by {by}; "
                                  f"beside it {answers - before} answers, {bad} wrong, {gap} ms without")
        print(f"rate beside all of it: {total / spent / alone:.2f} of that before")
        self.assertEqual(wrong_ways, [])
        # It has its turns on the same cores, as a process that does nothing with the node has, too; most of what is
        # left beside that one is left beside all of its ways.
        print(f"and {total / spent / computing:.2f} of that beside a process that only computes")
        self.assertGreater(total / spent / computing, 0.5)
        for run_dir in a, b:
            for name, p in status(run_dir)["processes"].items():
                self.assertEqual((p["state"], p["restarts"]), ("ready", 0), name)
        # nothing is left of it
        self.assertTrue(wait_for(lambda: count["lanes"] == 0 and count["regions"] == 0 and
                                 count["endpoints"] == 3, 5), (count["lanes"], count["regions"],
                                                               count["endpoints"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
