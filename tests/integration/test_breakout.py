#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Services that have been taken over and try to get out, each in another way. None does; the node goes on."""
import os
import random
import shutil
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, HERE, SVCCTL, Dir, status, svcctl, wait_for  # noqa: E402

PROGRAM = os.path.join(BUILD, "tests/integration/breakout")
# Where no system call is denied, because the attempt is made of calls that every service needs.
BY_NAMESPACE = {"supervisor", "abstract", "other-name", "catch", "environment", "trace"}


class Breakout(unittest.TestCase):
    def test_ways(self):
        self.ways()

    def test_ways_unprivileged(self):
        """Where svcctl has no root either, its services have its own user number."""
        if os.getuid():
            self.skipTest("the other test is unprivileged already")
        if subprocess.run(["test", "-x", SVCCTL], user=65534, check=False).returncode:
            self.skipTest("nobody cannot reach the build directory")
        self.ways(user=65534, group=65534, extra_groups=[])

    def ways(self, **who):
        ways = subprocess.run([PROGRAM, "list"], capture_output=True, text=True,
                              check=True).stdout.split()
        self.assertGreaterEqual(len(ways), 20)
        for part in ways[:20], ways[20:]:  # a node has 32 services at most
            self.try_out(part, who)

    def try_out(self, ways, who):
        os.environ.pop("ATOLL_PATH", None)
        os.environ["SECRET_OF_THE_STARTER"] = "x"
        d = Dir()
        self.addCleanup(d.remove)
        if who:
            os.chown(d.path, who["user"], who["group"])
        programs = os.path.join(d.path, "bin")
        os.mkdir(programs)
        shutil.copy(PROGRAM, programs + "/breakout")
        shutil.copy(os.path.join(HERE, "breakout.policy"), programs)
        run_dir = os.path.join(d.path, "run")
        conf = (f"[node]\nname = t\nid = 1\nrun_dir = {run_dir}\n[port]\nport = uring:\n"
                f"address = 127.0.0.2\nudp_port = {random.randrange(20000, 60000)}\n"
                "[service echo]\nexec = echo\n")
        conf += "".join(f"[service {w}]\nexec = {programs}/breakout\nrestart = never\n" for w in ways)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as target:
            target.bind("\0atoll-breakout-target")
            target.listen()
            target.setblocking(False)
            out = svcctl("up", "-d", d.file("t.conf", conf), **who)
            with open(f"{run_dir}/log/dataplane.log", encoding="utf-8") as f:
                self.assertEqual(out.returncode, 0, out.stderr + f.read())
            done = wait_for(lambda: all(status(run_dir)["processes"].get(w, {}).get("state") == "ended"
                                        for w in ways) and status(run_dir), 20)
            self.assertTrue(done, status(run_dir))
            with self.assertRaises(BlockingIOError):
                target.accept()
        if any(p["warning"] for p in done["processes"].values()):
            self.skipTest("the kernel gives no namespaces here")
        for way in ways:
            with self.subTest(way=way):
                with open(f"{run_dir}/log/{way}.log", encoding="utf-8") as f:
                    said = f.read()
                ended = done["processes"][way]["last_exit"]
                self.assertNotIn("BROKE OUT", said)
                if way in BY_NAMESPACE:
                    self.assertIn(f"refused: {way}", said)
                else:
                    self.assertEqual(ended, "killed by signal 31 (SIGSYS)", said)
                    self.assertRegex(said, r"system call \w+ \(\d+\) is not on its policy page")
        # nobody else was harmed
        for name in ("keeper", "dataplane", "echo"):
            self.assertEqual(done["processes"][name]["state"], "ready")
            with open(f"{run_dir}/log/{name}.log", encoding="utf-8") as f:
                self.assertEqual(done["processes"][name]["restarts"], 0, f.read())
        self.assertEqual(svcctl("down", run_dir, **who).returncode, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
