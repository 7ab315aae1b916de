#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Children that are forked on, onto a third node and through as many hops as there can be: each page is read where it
lives, and an ancestor is there for as long as somebody needs it."""
import os
import re
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from forking import AFORK, MEMORY, Forking  # noqa: E402
from node import svcctl, wait_for  # noqa: E402

HOPS = 15


class Chain(Forking):
    NODES = 3

    def stat(self, node, handle):
        """Numbers of `afork stat` for one snapshot, by name."""
        text = self.afork(node, "stat").stdout
        part = re.search(rf"^snapshot {handle.rsplit('-', 1)[0]}:.*?(?=^snapshot |\Z)", text, re.M | re.S)
        self.assertIsNotNone(part, text)
        lines = [re.split(r"  +", line.strip(), maxsplit=1) for line in part[0].splitlines()[1:]]
        return {line[0]: line[-1] for line in lines}

    def test_three_nodes(self):
        """What B has never touched is read from A, by C itself; what it has changed, from B."""
        a, b, c = self.nodes
        for item in ("read", "threads"):
            parent = self.program(MEMORY, item, "2.2")
            time.sleep(0.3)
            first = self.prepare(parent)
            child = self.resume(first, node=b)
            pid = self.child_of(child)
            second = self.prepare(pid, node=b)
            elsewhere = int(self.afork(b, "ls").stdout.splitlines()[1].split()[7])
            self.assertGreater(elsewhere, 100)
            grandchild = self.resume(second, node=c)
            out, err = grandchild.communicate(timeout=60)
            self.assertEqual((grandchild.returncode, out), (0, f"good {parent.pid}\n"), err)
            stat = self.stat(c, second)
            self.assertGreater(int(stat["pages from ancestors"]), 100)
            self.assertEqual(stat["faults lost"], "0")
            for p in (child, parent):
                self.assertEqual(p.communicate(timeout=60)[0], out)
            # nobody runs any more, but the second one has pages in the first
            out = self.afork(a, "reclaim", first)
            self.assertEqual(out.returncode, 1)
            self.assertIn("need it", out.stderr)
            self.reclaim(second, node=b)
            self.reclaim(first, node=a)

    def test_reclaimed_by_force(self):
        """A descendant learns it, with the reason, when it needs a page."""
        a, b, c = self.nodes
        parent = self.program(MEMORY, "empty", "10")
        time.sleep(0.3)
        first = self.prepare(parent)
        child = self.resume(first, node=b)
        second = self.prepare(self.child_of(child), node=b)
        child.kill()
        child.wait()
        grandchild = self.resume(second, node=c)
        self.runs(c)
        self.reclaim(first, "--force", node=a)
        _, err = grandchild.communicate(timeout=30)
        self.assertNotEqual(grandchild.returncode, 0)
        name = first.rsplit("-", 1)[0]
        self.assertIn(f"ancestor {name}: it was reclaimed", err)
        self.assertIn(f"ancestor {name}: it was reclaimed", self.stat(c, second)["last reason"])
        self.assertTrue(wait_for(lambda: f"ancestor {name}: it was reclaimed" in
                                 svcctl("logs", c, "fork-pager").stdout, 3), svcctl("logs", c, "fork-pager").stdout)
        # and one that begins now, at once
        again = self.resume(second, node=c)
        _, err = again.communicate(timeout=30)
        self.assertNotEqual(again.returncode, 0)
        self.assertRegex(err, f"ancestor {name}: .*(reclaimed|no such)")
        self.reclaim(second, node=b)

    def test_chain(self):
        """To and fro between two nodes, each time from the last child."""
        a, b = self.nodes[:2]
        parent = self.program(MEMORY, "all", "1000")
        time.sleep(0.2)
        handles = [(a, self.prepare(parent))]
        last = None
        for hop in range(HOPS + 1):
            node = (b, a)[hop % 2]
            child = self.resume(handles[-1][1], node=node)
            pid = self.child_of(child)
            time.sleep(0.02)
            if hop == HOPS:
                out = self.afork(node, "prepare", str(pid))
                while "its child processes" in out.stderr:
                    out = self.afork(node, "prepare", str(pid))
                self.assertEqual(out.returncode, 1)
                self.assertIn("15 ancestors already", out.stderr)
            else:
                handles.append((node, self.prepare(pid, node=node)))
            if last:
                last.kill()
                last.wait()
            last = child
        # the last one knows of each page what must be in it: it has not complained, and goes on
        time.sleep(0.5)
        self.assertIsNone(last.poll())
        last.kill()
        self.assertEqual(last.communicate(timeout=20)[0], "")
        for node, handle in reversed(handles):
            self.reclaim(handle, node=node)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("a fork that keeps its pid, and events of userfaultfd, need root")
        sys.exit(77)
    if not os.path.exists(AFORK):
        print("afork is not in this build (x86-64 only)")
        sys.exit(77)
    unittest.main()
