#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A table that grows from 168 slots over a real link, while its clients are killed and stopped."""
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

LINES = 12000
rng = random.Random(int(os.environ.get("ATOLL_SEED", "1")))
FULL = os.environ.get("ATOLL_TEST_FULL") == "1"

SHARD = """[service index]
exec = index-shard
args = --groups 8 --heap-mib 64 --return-ms {return_ms}
"""
WORKER = """[service worker]
exec = repair-worker
args = --target b/index
"""


class Resize(IndexCase):
    def setUp(self):
        super().setUp()
        self.workers = "ab" if self._testMethodName.startswith("test_worker") else ""
        shard = SHARD.format(return_ms=300 if self.workers else 10000)
        services = {name: (shard if name == "b" else "") + (WORKER if name in self.workers else "") for name in "ab"}
        self.up(services, LINES, lambda i: f"word-{i * 7919}")

    def dump_once(self):
        out = self.index("dump", "--check")
        return out if "not connected" not in out.stderr else None

    def fsck_once(self):
        out = self.index("fsck", "--repair")
        return out if "not connected" not in out.stderr else None

    def assert_whole(self):
        out = self.index("verify", self.words)
        self.assertIn(f"{LINES} right, 0 missing, 0 different", out.stdout + out.stderr)
        # a walk does not connect again where a busy machine makes the link be given up
        out = wait_for(lambda: self.dump_once(), 15, 0.1)
        self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
        self.assertIn("torn 0, duplicate 0, misplaced 0, pending 0", out.stdout)
        fsck = wait_for(lambda: self.fsck_once(), 15, 0.1)
        self.assertEqual(fsck.returncode, 0, fsck.stdout + fsck.stderr)
        self.assertRegex(fsck.stdout, r"(?s)heap: .* allocated = .*\nclean\n$")
        entries, slots = re.match(r"(\d+) entries in (\d+) slots", out.stdout).groups()
        self.assertEqual(int(entries), LINES)
        self.assertGreater(int(slots), 64 * 168, "it has not been split")

    def test_clients(self):
        """Two clients fill it, from either node."""
        loads = [self.start("load", self.words, node=n) for n in "ab"]
        for load in loads:
            out, _ = load.communicate(timeout=60)
            self.assertEqual(load.returncode, 0, out)
        self.assert_whole()

    def test_kills(self):
        """Of those who fill it some are killed at any moment, maybe in the middle of a split."""
        load = self.start("--in-flight", "4", "load", self.words)
        victims = []
        for _ in range(40 if FULL else 6):
            victims.append(self.start("--in-flight", "64", "load", self.words,
                                      node=rng.choice("ab")))
            time.sleep(rng.uniform(0.02, 0.2))
            victims[-1].kill()
        out, _ = load.communicate(timeout=60)
        for v in victims:
            v.communicate()
        self.assertEqual(load.returncode, 0, out)
        self.assert_whole()

    def test_stops(self):
        """One of them is stopped for longer than a lease, again and again: a zombie, which must do no harm
        when it wakes, and finishes under a new identity if it was fenced."""
        load = self.start("--in-flight", "4", "load", self.words)
        zombie = self.start("--in-flight", "64", "load", self.words, node="b")
        for _ in range(20 if FULL else 4):
            time.sleep(rng.uniform(0.02, 0.15))
            if zombie.poll() is not None:
                break
            zombie.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
            zombie.send_signal(signal.SIGCONT)
        for p in (load, zombie):
            out, _ = p.communicate(timeout=60)
            self.assertEqual(p.returncode, 0, out)
        self.assert_whole()

    def test_worker(self):
        """One on each node repairs what killed clients leave, while the workers themselves are killed: in the
        end nothing is left, and no client has come by to repair it."""
        load = self.start("--in-flight", "4", "load", self.words)
        for i in range(30 if FULL else 6):
            victim = self.start("--in-flight", "64", "load", self.words, node=rng.choice("ab"))
            time.sleep(rng.uniform(0.02, 0.2))
            victim.kill()
            victim.communicate()
            if i % 3 == 0:
                worker = status(f"{self.dir.path}/{'ab'[i % 2]}")["processes"]["worker"]
                if worker.get("pid"):
                    os.kill(worker["pid"], signal.SIGKILL)
        out, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, out)
        self.assertTrue(wait_for(lambda: "reached" in svcctl("logs", "--dir", self.dir.path,
                                                             "b/worker").stdout, 10, 0.1))
        self.assertTrue(wait_for(lambda: "pending 0" in self.index("dump", "--check").stdout, 10, 0.1))
        # and their memory is given back, and used again
        self.assertTrue(wait_for(lambda: "given back" in "".join(
            svcctl("logs", "--dir", self.dir.path, f"{n}/worker").stdout for n in "ab"), 10, 0.1))
        def used_again():
            # what was given back first, later victims may have taken: then it comes back once more
            out = self.index("load", self.words)
            self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
            return "came from what dead clients had left" in out.stdout

        self.assertTrue(wait_for(used_again, 30, 0.5))
        self.assert_whole()


if __name__ == "__main__":
    unittest.main(verbosity=2)
