# SPDX-License-Identifier: Apache-2.0
"""What tests of forks share: nodes with a fork-pager each, and afork on them."""
import os
import random
import subprocess
import time
import unittest

from node import BUILD, Dir, status, svcctl, wait_for

AFORK = os.path.join(BUILD, "services/fork-pager/afork")
MEMORY = os.path.join(BUILD, "tests/fork/memory")


def pids(pattern):
    """Processes whose command line contains a text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if pattern.encode() in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(p) for p in f.read().split()]


def building(pid):
    """Is it a child that does not run yet?"""
    try:
        return any("userfaultfd" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return True


class Forking(unittest.TestCase):
    NODES = 2

    @classmethod
    def setUpClass(cls):
        cls.dir = Dir()
        out = svcctl("up", "--local", str(cls.NODES), "--dir", cls.dir.path, "--services", "fork-pager", "--udp-port",
                     str(random.randrange(20000, 60000)))
        assert out.returncode == 0, out.stderr
        cls.nodes = [os.path.join(cls.dir.path, n) for n in "abcd"[:cls.NODES]]
        cls.a, cls.b = cls.nodes[:2]
        cls.linked()

    @classmethod
    def tearDownClass(cls):
        svcctl("down", "--dir", cls.dir.path)
        left = wait_for(lambda: not cls.dir.processes())
        cls.dir.remove()
        assert left, "processes were left"

    @classmethod
    def linked(cls):
        up = wait_for(lambda: all(status(n).get("counters", {}).get("links.up") == cls.NODES - 1 and
                                  all(p["state"] == "ready" for p in status(n)["processes"].values())
                                  for n in cls.nodes), 10)
        assert up, "the nodes are not linked"

    def afork(self, node, *args, timeout=60):
        return subprocess.run([AFORK, "--node", node, *args], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, check=False)

    def program(self, *command):
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (p.kill(), p.wait(), p.stdout.close()))
        return p

    def prepare(self, p, node=None):
        """The handle of a process, or of a number; at another instant while it has children of its own."""
        for _ in range(30):
            out = self.afork(node or self.a, "prepare", str(getattr(p, "pid", p)))
            if "its child processes" not in out.stderr and "it is traced" not in out.stderr:
                break
            time.sleep(0.015)
        self.assertEqual(out.returncode, 0, out.stderr)
        return out.stdout.strip()

    def resume(self, handle, *options, node=None):
        p = subprocess.Popen([AFORK, "--node", node or self.b, "resume", *options, handle], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(lambda: (p.kill(), p.wait(), p.stdout.close(), p.stderr.close()))
        return p

    def child_of(self, p, name="memory"):
        """The process that a resume has made, once it runs: not its helper."""
        def find():
            for pid in children(p.pid):
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    text = f.read()
                if f"Name:\t{name}\n" in text and "TracerPid:\t0\n" in text and not building(pid):
                    return pid
            return None
        pid = wait_for(find, 20)
        self.assertIsNotNone(pid, "no child runs")
        return pid

    def runs(self, node=None):
        """Is a child served on the other node?"""
        def some():
            lines = self.afork(node or self.b, "stat").stdout.splitlines()
            return any("processes now" in line and not line.endswith(" 0") for line in lines)
        self.assertTrue(wait_for(some, 20))

    def reclaim(self, handle, *options, node=None):
        """The other pager is told of the end of its last child a little later."""
        def done():
            out = self.afork(node or self.a, "reclaim", *options, handle)
            return out if out.returncode == 0 else None
        self.assertIsNotNone(wait_for(done, 3))
        # it goes once nobody can read it any more
        self.assertTrue(wait_for(lambda: handle not in self.afork(node or self.a, "ls").stdout, 3))

    def process(self, node, name):
        return status(node)["processes"][name]["pid"]
