#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Indexes over three shards on two nodes: keys where they belong, scans in order, a member that is gone, and members
that do not agree."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from index_case import IndexCase  # noqa: E402
from node import status, svcctl, wait_for  # noqa: E402

LINES = 6000
MEMBERS = ["a/{0}-0", "b/{0}-1", "b/{0}-2"]


def cluster(name, more="", members=MEMBERS, version=1):
    return (f"[cluster {name}]\nversion = {version}\nmembers = " + " ".join(m.format(name) for m in members) + "\n" +
            more)


def shards(node, name, args):
    return "".join(f"[service {m.format(name)[2:]}]\nexec = index-shard\nargs = {args}\n"
                   for m in MEMBERS if m[0] == node)


def services(node):
    return (shards(node, "table", "--groups 8 --heap-mib 8") + cluster("table") +
            shards(node, "tree", "--type tree --heap-mib 16\nrestart = never") + cluster("tree", "splits = word-3 word-6\n"))


class Cluster(IndexCase):
    TARGET = "b/table-1"

    def setUp(self):
        super().setUp()
        self.up({node: services(node) for node in "ab"}, LINES, lambda i: f"word-{i * 7919 % 99991:05}")
        for name in "table", "tree":
            self.assertTrue(wait_for(lambda n=name: self.index("stat", target=f"b/{n}-1").returncode == 0, 15, 0.1))

    def pid(self, node, service):
        return status(f"{self.dir.path}/{node}")["processes"][service]["pid"]

    def alone(self, target):
        """Entries of one member."""
        out = self.index("--shard", "dump", "--check", target=target)
        self.assertEqual(out.returncode, 0, out.stderr)
        return int(out.stdout.split()[0])

    def word_of(self, member):
        """A word of the file that a member of the tree holds."""
        low = ["word-0", "word-3", "word-6"][member]
        with open(self.words, encoding="utf-8") as f:
            return next(w for w in f.read().split() if low <= w < f"word-{member * 3 + 3}")

    def test_spread(self):
        # a table: by hash, evenly; opened by any member, from any node
        self.expect(self.index("load", self.words), 0, f"loaded {LINES} lines")
        self.expect(self.index("verify", self.words, node="b", target="a/table-0"), 0,
                    f"{LINES} right, 0 missing, 0 different")
        parts = [self.alone(m.format("table")) for m in MEMBERS]
        self.assertEqual(sum(parts), LINES)
        self.assertTrue(all(LINES * 0.28 < n < LINES * 0.39 for n in parts), parts)
        self.expect(self.index("dump", "--check"), 0, f"^{LINES} entries in .*\ntorn 0, duplicate 0, misplaced 0")
        self.expect(self.index("fsck", "--repair"), 0, "(?s)cluster: 3 members\nheap: .*\nclean\n$")
        self.expect(self.index("stat"), 0, r"(?s)member 0 of 3, a/table-0: clients alive 1, .*member 2 of 3, b/table-2: ")
        self.expect(self.index("scan"), 2, "whose keys have no order")
        self.expect(self.index("--shard", "get", "moon"), 2, "leave --shard away")
        # a tree: by range, so in the order of all
        tree = "b/tree-2"
        self.expect(self.index("load", self.words, target=tree), 0, f"loaded {LINES} lines")
        with open(self.words, encoding="utf-8") as f:
            want = sorted(f.read().split())
        splits = ["word-3", "word-6"]
        for member, n in zip(MEMBERS, [sum(w < splits[0] for w in want), sum(splits[0] <= w < splits[1] for w in want),
                                       sum(w >= splits[1] for w in want)]):
            self.assertEqual(self.alone(member.format("tree")), n)
        for more, low, high in ([], 0, LINES), (["--reverse"], 0, LINES), (["--from", "word-299"], "word-299", None), \
                (["--from", "word-61", "--reverse"], None, "word-61"), (["--limit", "3000"], 0, 3000), \
                (["--limit", "3500", "--reverse"], LINES - 3500, LINES):
            if isinstance(low, int):
                expected = want[low:high]
            else:
                expected = [w for w in want if (low is None or w >= low) and (high is None or w <= high)]
            out = self.index("scan", *more, target=tree)
            self.assertEqual(out.returncode, 0, out.stderr)
            got = [line.split("\t")[0] for line in out.stdout.splitlines()]
            self.assertEqual(got, expected[::-1] if "--reverse" in more else expected, more)
        self.expect(self.index("fsck", target=tree), 0, f"(?s)tree: {LINES} entries in .*cluster: 3 members\n.*clean\n$")

    def test_member_gone(self):
        """A member that does not run: its keys fail and say so, all others are there; it comes back, and so do its keys."""
        tree = "a/tree-0"
        self.expect(self.index("load", self.words, target=tree), 0, f"loaded {LINES} lines")
        os.kill(self.pid("b", "tree-2"), 9)
        self.assertTrue(wait_for(lambda: self.index("stat", target=tree).returncode == 2, 10, 0.1))
        for member in 0, 1:
            self.expect(self.index("get", self.word_of(member), target=tree), 0, r"^\d+ 10\n$")
        lost = self.word_of(2)
        self.expect(self.index("get", lost, target=tree), 2,
                    f'^atoll-index: {lost}, a key of the member b/tree-2: not sent.*; there is no service "b/tree-2"')
        self.expect(self.index("stat", target=tree), 2,
                    r"(?s)member 1 of 3, b/tree-1: .*the member b/tree-2 is not reached: there is no service")
        self.expect(self.index("scan", "--limit", "10", target=tree), 0, "^(word-.*\n){10}$")
        self.expect(self.index("scan", target=tree), 2, "the member b/tree-2 is not reached")
        self.expect(self.index("dump", "--check", target=tree), 2, "the member b/tree-2 is not reached")
        self.expect(self.index("--patience-ms", "100", "verify", self.words, target=tree), 2,
                    'connection lost, and not found again: there is no service "b/tree-2"')
        self.expect(svcctl("restart", f"{self.dir.path}/b", "tree-2"), 0, "^")
        self.assertTrue(wait_for(lambda: self.index("stat", target=tree).returncode == 0, 15, 0.1))
        self.expect(self.index("verify", self.words, target=tree), 0, f"{LINES} right, 0 missing, 0 different")

    def test_killed_while_loading(self):
        """A shard is killed under load: the client waits for that member, and every line is there in the end."""
        load = self.start("--in-flight", "4", "load", self.words)
        self.assertTrue(wait_for(lambda: self.alone("b/table-2") > 200, 20, 0.01))
        os.kill(self.pid("b", "table-2"), 9)
        text, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, text)
        self.expect(self.index("verify", self.words), 0, f"{LINES} right, 0 missing, 0 different")
        self.expect(self.index("fsck", "--repair"), 0, "(?s)clean\n$")

    def test_disagreement(self):
        """Nodes whose configurations are of two minds: refused when the index is opened, and what was filled is kept."""
        self.expect(self.index("put", "moon", "one"), 0, "^$")
        conf = f"{self.dir.path}/b/node.conf"
        with open(conf, encoding="utf-8") as f:
            text = f.read()
        with open(conf, "w", encoding="utf-8") as f:
            f.write(text.replace("version = 1", "version = 2").replace("word-3", "word-4"))
        self.expect(svcctl("down", f"{self.dir.path}/b"), 0, "^")
        self.expect(svcctl("up", "-d", conf), 0, "^")
        self.assertTrue(wait_for(lambda: "has version" in self.index("stat", target="a/table-0").stderr, 15, 0.1))
        self.expect(self.index("stat", target="a/table-0"), 2,
                    '"b/table-1" has version 2 of its cluster\'s directory, others have version 1')
        with open(conf, "w", encoding="utf-8") as f:
            f.write(text.replace("word-3", "word-4"))
        self.expect(svcctl("down", f"{self.dir.path}/b"), 0, "^")
        self.expect(svcctl("up", "-d", conf), 0, "^")
        self.assertTrue(wait_for(lambda: self.index("stat", target="a/table-0").returncode == 0, 15, 0.1))
        self.expect(self.index("stat", target="a/tree-0"), 2,
                    '"b/tree-1" has another directory of its cluster than others, under the same version 1')

    def test_check(self):
        for change, line in [
            (("splits = word-3 word-6", "splits = word-6 word-3"), r"\[cluster tree\]: its keys are not in ascending order"),
            (("splits = word-3 word-6", "splits = word-3"), r"\[cluster tree\]: it has 3 members and so wants 2 keys"),
            (("splits = word-3 word-6\n", ""), r"\[cluster tree\] has no splits, but its member tree-1 is a tree"),
            (("members = a/table-0", "members = c/table-0"), r"has the member c/table-0, but there is no \[peer c\]"),
            (("[service table-1]", "[service other]"), r"has the member b/table-1, but there is no \[service table-1\]"),
            (("b/table-1 b/table-2", "b/table-1 b/table-1"), r"the member b/table-1 stands in it twice"),
            (("args = --groups 8", "args = --type tree"), r"\[cluster table\] has no splits, but its member table-1 is"),
        ]:
            with open(f"{self.dir.path}/b/node.conf", encoding="utf-8") as f:
                text = f.read()
            self.assertIn(change[0], text)
            out = svcctl("check", self.dir.file("bad.conf", text.replace(change[0], change[1], 1)))
            self.assertNotEqual(out.returncode, 0)
            self.assertTrue(re.search(r"bad.conf:\d+: .*" + line, out.stdout + out.stderr), out.stdout + out.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
