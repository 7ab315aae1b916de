#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A tree over two real nodes: what its program does, while its clients are killed and stopped."""
import os
import random
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from index_case import IndexCase  # noqa: E402
from node import status, wait_for  # noqa: E402

LINES = 8000
rng = random.Random(int(os.environ.get("ATOLL_SEED", "1")))
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"

SHARDS = """[service tree]
exec = index-shard
args = --type tree --heap-mib 64
[service table]
exec = index-shard
args = --groups 8 --heap-mib 4
"""


class Tree(IndexCase):
    TARGET = "b/tree"

    def setUp(self):
        super().setUp()
        self.up({"b": SHARDS}, LINES, lambda i: f"word-{i * 7919 % 99991:05}")

    def assert_whole(self):
        """Every line is there, in order, once; upwards and downwards."""
        self.expect(self.index("verify", self.words), 0, f"{LINES} right, 0 missing, 0 different")
        with open(self.words, encoding="utf-8") as f:
            want = sorted(f.read().split())
        for more in [], ["--reverse"]:
            out = self.index("scan", *more)
            self.assertEqual(out.returncode, 0, out.stderr)
            got = [line.split("\t")[0] for line in out.stdout.splitlines()]
            self.assertEqual(got, want[::-1] if more else want)
        self.expect(self.index("dump", "--check"), 0, f"^{LINES} entries, ")
        self.expect(self.index("fsck", "--repair"), 0,
                    rf"(?s)^repair: .*tree: {LINES} entries in \d+ nodes, 0 damaged\nheap: .* MiB "
                    r"allocated = .* left by the dead\nclean\n$")

    def test_commands(self):
        self.expect(self.index("--type", "tree", "get", "moon"), 1, "not in the index")
        self.expect(self.index("scan"), 0, "^$")
        self.expect(self.index("del", "moon"), 1, "not in the index")
        self.expect(self.index("insert", "moon", "one"), 0, "^$")
        self.expect(self.index("insert", "moon", "two"), 1, "in the index already")
        self.expect(self.index("update", "sun", "two"), 1, "not in the index")
        self.expect(self.index("put", "moon", "three"), 0, "^$")
        self.expect(self.index("get", "moon", node="b"), 0, "^three\n$")
        self.expect(self.index("put", "k" * 1024, "x" * 60000), 0, "^$")
        self.expect(self.index("get", "k" * 1024), 0, "^x{60000}\n$")
        self.expect(self.index("put", "io", ""), 0, "^$")
        self.assertEqual(self.index("scan").stdout,
                         "io\t\n" + "k" * 1024 + "\t" + "x" * 60000 + "\nmoon\tthree\n")
        self.assertEqual(self.index("scan", "--from", "j", "--limit", "1", "--reverse").stdout,
                         "io\t\n")
        self.assertEqual(self.index("scan", "--from", "l").stdout, "moon\tthree\n")
        self.expect(self.index("dump"), 0, "3 entries, 1030 bytes of keys, 60005 of values")
        self.expect(self.index("del", "moon"), 0, "^$")
        self.expect(self.index("get", "moon"), 1, "not in the index")
        # what cannot be is said
        self.expect(self.index("--type", "hash", "stat"), 2, '"b/tree" is a tree, not a hash table')
        self.expect(self.index("--type", "tree", "stat", target="b/table"), 2,
                    '"b/table" is a hash table, not a tree')
        self.expect(self.index("scan", target="b/table"), 2, "whose keys have no order")
        self.expect(self.index("--type", "bush", "stat"), 2, "--type is hash or tree")
        self.expect(self.index("get", "k" * 1025), 2, "1 to 1024 bytes")
        self.expect(self.index("scan", "--from", ""), 2, "1 to 1024 bytes")
        self.expect(self.index("scan", "--limit", "0"), 2, "--limit wants a number")

    def test_killed_clients(self):
        """Clients that write the same keys, killed at random; the others go on, nothing is damaged."""
        victims = []
        load = self.start("load", self.words)
        for i in range(60 if FULL else 8):
            victims.append(self.start("--in-flight", "64", "load", self.words,
                                      node=rng.choice("ab")))
            time.sleep(rng.uniform(0.01, 0.15))
            victims[i].kill()
        out, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, out)
        for v in victims:
            v.communicate()
        self.assert_whole()

    def test_stopped_client(self):
        """A client that is stopped holds a lock; it is fenced off, and learns so when it goes on."""
        stopped = self.start("--in-flight", "64", "load", self.words)
        time.sleep(0.2)
        stopped.send_signal(signal.SIGSTOP)
        load = self.start("--in-flight", "64", "load", self.words, node="b")
        out, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, out)
        stopped.send_signal(signal.SIGCONT)
        out, _ = stopped.communicate(timeout=60)
        self.assertEqual(stopped.returncode, 0, out)
        self.assert_whole()

    def test_restart(self):
        """The shard is killed; the tree is there again."""
        self.assertEqual(self.index("load", self.words).returncode, 0)
        os.kill(status(f"{self.dir.path}/b")["processes"]["tree"]["pid"], signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.index("stat").returncode == 0, 15, 0.1))
        self.assert_whole()


if __name__ == "__main__":
    unittest.main(verbosity=2)
