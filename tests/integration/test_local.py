#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""svcctl up --local with the real dataplane and services: two nodes, what they may do, what they survive."""
import os
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, SVCCTL, Dir, status, svcctl, wait_for  # noqa: E402


def proc_status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def has_shm():
    out = subprocess.run([os.path.join(BUILD, "dataplane/atoll-dataplane"), "--drivers"],
                         capture_output=True, text=True, check=True)
    return "shm" in out.stdout.split()


class Local(unittest.TestCase):
    def setUp(self):
        os.environ.pop("ATOLL_PATH", None)
        self.dir = Dir()
        self.addCleanup(self.dir.remove)

    def up(self, *args, **more):
        self.port = random.randrange(20000, 60000)
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--services", "echo",
                     "--udp-port", str(self.port), *args, **more)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(out.stdout.count("is up"), 2)

    def node(self, name):
        return status(os.path.join(self.dir.path, name))

    def links(self):
        return [self.node(n).get("counters", {}).get("links.up") for n in "ab"]

    def assert_linked(self, seconds=5):
        self.assertTrue(wait_for(lambda: self.links() == [1, 1], seconds), self.links())

    def ready(self):
        return all(p["state"] == "ready" for n in "ab" for p in self.node(n)["processes"].values())

    def down(self, **more):
        out = svcctl("down", "--dir", self.dir.path, **more)
        self.assertEqual((out.returncode, out.stdout), (0, "node a is down\nnode b is down\n"))
        self.assert_down()
        for n in "ab":  # to its last line, and not by a signal on the way
            with open(f"{self.dir.path}/{n}/log/dataplane.log", encoding="utf-8") as f:
                self.assertIn("has ended", f.read().splitlines()[-1])

    def assert_down(self):
        self.assertTrue(wait_for(lambda: not self.dir.processes()), self.dir.processes())
        for n in "ab":
            left = [f for f in os.listdir(f"{self.dir.path}/{n}") if f.endswith(".sock")]
            self.assertEqual(left, [])

    def test_two_nodes(self):
        self.up()
        self.assert_linked()
        out = svcctl("status", "--dir", self.dir.path)
        self.assertEqual(out.returncode, 0)
        self.assertIn("node a (id 1) is up", out.stdout)
        self.assertIn("node b (id 2) is up", out.stdout)
        self.assertRegex(svcctl("restart", "--dir", self.dir.path, "a/echo").stdout, "echo is ready")
        self.assertIn("link to b is up",
                      svcctl("logs", "--dir", self.dir.path, "a/dataplane").stdout)
        self.assertIn("which node", svcctl("restart", "--dir", self.dir.path, "echo").stderr)
        self.down()

    def test_heartbeats_leave_it_asleep(self):
        """Between heartbeats a node without traffic sleeps: few turns of the loop, however fast it is."""
        self.up("--heartbeat-ms", "50")
        self.assert_linked()
        time.sleep(0.5)
        before = self.node("a")["counters"]
        time.sleep(1)
        after = self.node("a")["counters"]
        beats = after["links.heartbeats"] - before["links.heartbeats"]
        turns = after["loop.turns"] - before["loop.turns"]
        self.assertGreater(beats, 0)
        self.assertLess(turns, 150 * (beats + 4))  # awake for 1 ms each time: a thousand

    def test_isolation(self):
        self.up()
        own = os.readlink("/proc/self/ns/net")
        for name, p in self.node("a")["processes"].items():
            s = proc_status(p["pid"])
            for thread in os.listdir(f"/proc/{p['pid']}/task"):
                # capabilities are a thread's own: those started before the filter had some, too
                self.assertEqual(int(proc_status(f"{p['pid']}/task/{thread}")["CapPrm"], 16), 0, name)
            self.assertEqual(s["NoNewPrivs"], "1", name)
            if name != "dataplane":
                self.assertEqual(int(s["CapEff"], 16) | int(s["CapPrm"], 16) | int(s["CapAmb"], 16), 0)
                self.assertNotEqual(s["Uid"].split()[0], "0")
                if not p["warning"]:
                    self.assertNotEqual(os.readlink(f"/proc/{p['pid']}/ns/net"), own)
            else:
                # CAP_IPC_LOCK at most: the port is a UDP socket
                self.assertEqual(int(s["CapEff"], 16) & ~(1 << 14), 0)

    def test_dataplane_dies(self):
        self.up()
        self.assert_linked()
        for i in range(5):
            victim = "ab"[i % 2]
            echo = self.node(victim)["processes"]["echo"]["pid"]
            os.kill(self.node(victim)["processes"]["dataplane"]["pid"], signal.SIGKILL)
            self.assertTrue(wait_for(lambda: self.node(victim)["processes"]["dataplane"]["restarts"]
                                     == i // 2 + 1 and self.ready(), 5))
            self.assertEqual(self.node(victim)["processes"]["echo"]["pid"], echo)
            self.assert_linked()

    def test_killed_supervisor(self):
        self.up()
        pids = [p for p in self.dir.supervisors()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)  # the guards, too: what is left must end by itself
        self.assertTrue(wait_for(lambda: not self.dir.processes(), 5), self.dir.processes())
        self.up()
        self.assert_linked()

    def test_shared_memory_link(self):
        """The DPDK link: both sides come up, and come back after a death, in any order."""
        if not has_shm():
            self.skipTest("this build has no DPDK port")
        self.up("--port", "shm")
        self.assert_linked(10)
        for i in range(4):
            victim = "ab"[i % 2]
            os.kill(self.node(victim)["processes"]["dataplane"]["pid"], signal.SIGKILL)
            self.assertTrue(wait_for(lambda: self.node(victim)["processes"]["dataplane"]["restarts"]
                                     == i // 2 + 1 and self.ready(), 10))
            self.assert_linked(10)
        self.down()

    def test_ends_with_the_process_that_it_was_to_end_with(self):
        script = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(script.kill)
        self.up("--while-pid", str(script.pid))
        self.assert_linked()
        supervisors = [self.node(n)["supervisor"]["pid"] for n in "ab"]
        script.kill()
        script.wait()
        self.assert_down()
        self.assertTrue(wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in supervisors)))
        self.assertIn("the process that it was to end with has ended", str(self.node("a")))
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--while-pid", str(script.pid))
        self.assertEqual(out.returncode, 1)
        self.assertIn(f"--while-pid {script.pid}: No such process", out.stderr)
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--while-pid", "me")
        self.assertIn("write a number", out.stderr)

    def test_all_services(self):
        out = svcctl("up", "--local", "1", "--dir", self.dir.path, "--services", "all",
                     "--udp-port", str(random.randrange(20000, 60000)))
        self.assertEqual(out.returncode, 0, out.stderr)
        processes = self.node("a")["processes"]
        self.assertLessEqual({"keeper", "dataplane", "echo", "index-shard", "repair-worker"}, set(processes))
        self.assertEqual({p["state"] for p in processes.values()}, {"ready"}, processes)
        out = svcctl("down", "--dir", self.dir.path)
        self.assertEqual(out.stdout, "node a is down\n")

    def test_unprivileged(self):
        if os.getuid() != 0:
            self.skipTest("the other tests are unprivileged already")
        if subprocess.run(["test", "-x", SVCCTL], user=65534, check=False).returncode:
            self.skipTest("nobody cannot reach the build directory")
        os.chown(self.dir.path, 65534, 65534)
        self.up(user=65534, group=65534, extra_groups=[])
        self.assert_linked()
        for p in self.node("a")["processes"].values():
            self.assertEqual(proc_status(p["pid"])["Uid"].split()[0], "65534")
        self.down(user=65534, group=65534, extra_groups=[])
        # The shared-memory link takes no privilege and no hugepages either.
        if has_shm():
            self.up("--port", "shm", user=65534, group=65534, extra_groups=[])
            self.assert_linked(10)
            self.down(user=65534, group=65534, extra_groups=[])


if __name__ == "__main__":
    unittest.main(verbosity=2)
