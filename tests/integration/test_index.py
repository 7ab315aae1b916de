#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The index over two real nodes: what its program does, and what it survives."""
import os
import random
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from index_case import IndexCase  # noqa: E402
from node import status, svcctl, wait_for  # noqa: E402

LINES = 10000
rng = random.Random(int(os.environ.get("ATOLL_SEED", "1")))


class Index(IndexCase):
    TARGET = "b/index-shard"
    TIMEOUT = 90

    def setUp(self):
        super().setUp()
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--services", "echo,index-shard",
                     "--udp-port", str(random.randrange(20000, 60000)))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.words_of(LINES, lambda i: f"word-{i * 7919}")

    def ready(self):
        return all(p["state"] == "ready" for n in "ab"
                   for p in status(f"{self.dir.path}/{n}")["processes"].values())

    def pid(self, node, name):
        return status(f"{self.dir.path}/{node}")["processes"][name]["pid"]

    def assert_whole(self):
        """Every line is there, and nothing in the table is damaged."""
        self.assertTrue(wait_for(lambda: self.index("stat").returncode == 0, 15, 0.1))
        self.expect(self.index("verify", self.words), 0, f"{LINES} right, 0 missing, 0 different")
        out = self.index("dump", "--check")
        self.expect(out, 0, "torn 0, duplicate 0, misplaced 0")
        self.assertEqual(int(re.match(r"(\d+) entries", out.stdout)[1]), LINES)

    def test_commands(self):
        self.expect(self.index("get", "moon"), 1, "not in the index")
        self.expect(self.index("update", "moon", "x"), 1, "not in the index")
        self.expect(self.index("insert", "moon", "one"), 0, "^$")
        self.expect(self.index("insert", "moon", "two"), 1, "in the index already")
        self.expect(self.index("put", "moon", "three"), 0, "^$")
        self.expect(self.index("get", "moon", node="b"), 0, "^three\n$")
        self.expect(self.index("put", "tab\there", "x" * 60000), 0, "^$")
        self.expect(self.index("get", "tab\there"), 0, "^x{60000}\n$")
        out = self.index("dump")
        self.assertEqual(sorted(out.stdout.splitlines()),
                         ["moon\tthree", "tab\\x09here\t" + "x" * 60000])
        self.expect(self.index("del", "moon"), 0, "^$")
        self.expect(self.index("del", "moon"), 1, "not in the index")
        self.expect(self.index("stat"), 0, "clients alive 1, dead [0-9]+\nheap: ")
        # what cannot be is said
        self.expect(self.index("get", "k" * 1025), 2, "1 to 1024 bytes")
        self.expect(self.index("put", "k", "-"), 0, "^$")
        self.expect(self.index("frob"), 2, "no command frob")
        self.expect(self.index("get"), 2, "wants 1 argument")
        self.expect(self.index("--in-flight", "65", "stat"), 2, "1 to 64")
        self.expect(self.index("load", "/nonexistent"), 2, "No such file")
        self.expect(self.index("--target", "b/nothing", "stat"), 2, 'no service "b/nothing"')
        self.expect(self.index("--target", "b/echo", "stat"), 2, "no index")
        self.expect(self.index("--socket", "/nonexistent", "stat"), 2, "no dataplane answers")

    def test_killed_clients(self):
        """Clients that write the same keys, killed at random; the others finish, nothing is damaged."""
        victims = []
        load = self.start("load", self.words)
        for i in range(60 if os.environ.get("ATOLL_TEST_FULL") == "1" else 6):
            victims.append(self.start("--in-flight", "64", "load", self.words,
                                      node=rng.choice("ab")))
            time.sleep(rng.uniform(0.01, 0.15))
            victims[i].kill()
        out, _ = load.communicate(timeout=90)
        self.assertEqual(load.returncode, 0, out)
        for v in victims:
            v.communicate()
        self.assert_whole()
        # their identities have been given up: only the one that asks is alive
        self.assertTrue(wait_for(
            lambda: "clients alive 1," in self.index("stat").stdout, 10, 0.1))

    def test_lost_index(self):
        """The node of the index is started again, and its memory is gone: a load does not go on as if."""
        long = self.dir.file("long", "".join(f"{i}\n" for i in range(200000)))
        load = self.start("--in-flight", "1", "load", long)
        self.assertTrue(wait_for(lambda: "clients alive 2" in self.index("stat").stdout, 5))
        self.assertEqual(svcctl("down", f"{self.dir.path}/b").returncode, 0)
        self.assertIsNone(load.poll(), "it was done too early")
        out = svcctl("up", "-d", f"{self.dir.path}/b/node.conf")
        self.assertEqual(out.returncode, 0, out.stderr)
        out, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 2, out)
        self.assertIn("was lost with its node", out)

    def test_restarts(self):
        """The dataplanes and the shard are killed under a load; it goes on, and the index stays."""
        for node, name in (("a", "dataplane"), ("b", "index-shard"), ("b", "dataplane")):
            for attempt in range(10):
                load = self.start("--in-flight", "64", "load", self.words)
                time.sleep(rng.uniform(0.02, 0.1))
                os.kill(self.pid(node, name), signal.SIGKILL)
                out, _ = load.communicate(timeout=90)
                self.assertTrue(wait_for(self.ready, 15, 0.1))
                if "was lost" in out:
                    break
                # before it had begun (it says so), or after it was done
                self.assertIn(load.returncode, (0, 2), out)
                self.assertLess(attempt, 9, f"{node}/{name} was never killed in time")
            self.assertEqual(load.returncode, 0, f"{node}/{name}: {out}")
        self.assert_whole()
        self.assertIn("the index of the last run",
                      svcctl("logs", "--dir", self.dir.path, "b/index-shard").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
