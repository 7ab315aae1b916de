#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""svcctl alone: real keeper, stand-ins for dataplane and services, everything that can go wrong."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, HERE, SVCCTL, Dir, status, svcctl, wait_for  # noqa: E402


class Svcctl(unittest.TestCase):
    def setUp(self):
        self.dir = Dir()
        self.addCleanup(self.dir.remove)
        self.run_dir = os.path.join(self.dir.path, "run")
        programs = os.path.join(self.dir.path, "bin")
        os.mkdir(programs)
        # Copies: the services' user may not be able to reach the source tree.
        shutil.copy(os.path.join(HERE, "fake_dataplane.py"), programs + "/atoll-dataplane")
        shutil.copy(os.path.join(HERE, "fake_service.py"), programs + "/fake-service")
        shutil.copy(os.path.join(HERE, "fake_service.policy"), programs + "/fake-service.policy")
        os.symlink(os.path.join(BUILD, "ipc/atoll-keeper"), programs + "/atoll-keeper")
        os.environ["ATOLL_PATH"] = programs

    def conf(self, services="", node="", name="t.conf"):
        return self.dir.file(name, f"[node]\nname = t\nid = 1\nrun_dir = {self.run_dir}\n{node}\n"
                             "[port]\nport = uring:\naddress = 127.0.0.2\n" + services)

    def service(self, name, args="", more=""):
        return f"[service {name}]\nexec = fake-service\nargs = {args}\n{more}\n"

    def up(self, conf, **more):
        out = svcctl("up", "-d", conf, **more)
        self.assertEqual(out.returncode, 0, out.stderr)

    def process(self, conf, name):
        return status(conf)["processes"][name]

    def log(self, name):
        with open(f"{self.run_dir}/log/{name}.log", encoding="utf-8") as f:
            return f.read()

    def assert_gone(self, seconds=1.0):
        left = wait_for(lambda: not self.dir.processes(), seconds)
        self.assertTrue(left, f"left: {self.dir.processes()}")
        self.assertTrue(wait_for(lambda: not self.dir.supervisors(), seconds))
        sockets = [f for f in os.listdir(self.run_dir) if f.endswith(".sock")]
        self.assertEqual(sockets, [])

    def test_up_and_down(self):
        core = max(os.sched_getaffinity(0))
        conf = self.conf(self.service("one", "a  b", f"core = {core}") + self.service("two"))
        self.up(conf)
        state = status(conf)
        self.assertEqual(state["state"], "up")
        self.assertEqual({p["state"] for p in state["processes"].values()}, {"ready"})
        self.assertEqual(state["counters"]["messages"], 42)
        said = self.log("one")
        self.assertIn("nnp 1", said)
        self.assertIn("caps 0000000000000000", said)
        self.assertIn(f"cpus [{core}]", said)
        self.assertIn("args ['a', 'b']", said)
        self.assertIn("fds [0, 1, 2, 6, 7]", said)
        if not state["processes"]["one"]["warning"]:
            self.assertIn("net ['lo']", said)
        if os.getuid() == 0:
            self.assertNotIn("uid 0 ", said)
        text = svcctl("status", conf).stdout
        self.assertRegex(text, r"one +\d+ +ready +0 +" + str(core))
        self.assertIn("messages", text)
        self.assertIn("uid", svcctl("logs", conf, "one").stdout)
        out = svcctl("down", conf)
        self.assertEqual((out.returncode, out.stdout), (0, "node t is down\n"))
        self.assert_gone()
        out = svcctl("status", conf)
        self.assertEqual((out.returncode, out.stdout), (3, "node t is down; it ended: svcctl down\n"))

    def test_foreground(self):
        conf = self.conf(self.service("one"))
        p = subprocess.Popen([SVCCTL, "up", conf], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True)
        self.assertEqual(p.stdout.readline(), f"node t is up: {self.run_dir}\n")
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(10), 0)
        p.stdout.close()
        self.assert_gone()

    def test_restart(self):
        conf = self.conf(self.service("one"))
        self.up(conf)
        before = status(conf)["processes"]
        out = svcctl("restart", conf, "one")
        self.assertRegex(out.stdout, r"^one is ready, pid \d+\n$")
        out = svcctl("restart", conf, "dataplane")
        self.assertRegex(out.stdout, r"^dataplane is ready, pid \d+\n$")
        self.assertIn("lives as long", svcctl("restart", conf, "keeper").stderr)
        self.assertIn("no process three", svcctl("restart", conf, "three").stderr)
        after = wait_for(lambda: status(conf)["processes"]["one"]["state"] == "ready" and
                         status(conf)["processes"])
        self.assertEqual(after["keeper"]["pid"], before["keeper"]["pid"])
        self.assertNotEqual(after["dataplane"]["pid"], before["dataplane"]["pid"])
        self.assertEqual([after[n]["restarts"] for n in ("keeper", "dataplane", "one")], [0, 1, 1])
        with open(f"{self.run_dir}/state/one/lives", encoding="ascii") as f:
            self.assertEqual(f.read(), "xx")  # its own directory outlives it

    def test_kill_dataplane(self):
        conf = self.conf(self.service("one"))
        self.up(conf)
        before = status(conf)["processes"]
        for i in range(1, 4):
            os.kill(self.process(conf, "dataplane")["pid"], signal.SIGKILL)
            self.assertTrue(wait_for(lambda: self.process(conf, "dataplane")["restarts"] == i and
                                     all(p["state"] == "ready"
                                         for p in status(conf)["processes"].values())))
        after = status(conf)["processes"]
        self.assertEqual(after["one"]["pid"], before["one"]["pid"])
        self.assertEqual(after["keeper"]["pid"], before["keeper"]["pid"])
        self.assertEqual(after["dataplane"]["last_exit"], "killed by signal 9 (SIGKILL)")

    def test_kill_service(self):
        conf = self.conf(self.service("one", "child"))
        self.up(conf)
        pid = self.process(conf, "one")["pid"]
        os.kill(pid, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.process(conf, "one")["restarts"] == 1 and
                                 self.process(conf, "one")["state"] == "ready"))
        # keeper, dataplane, the new service and its child; not the old one's child
        self.assertEqual(len(self.dir.processes()), 4)
        svcctl("down", conf)
        self.assert_gone()

    def test_kill_keeper(self):
        conf = self.conf(self.service("one"))
        self.up(conf)
        os.kill(self.process(conf, "keeper")["pid"], signal.SIGKILL)
        self.assert_gone(5)
        out = svcctl("status", conf)
        self.assertEqual(out.returncode, 3)
        self.assertIn("the keeper killed by signal 9", out.stdout)
        self.up(conf)

    def test_kill_supervisor(self):
        conf = self.conf(self.service("one") + self.service("deaf", "deaf child"))
        self.up(conf)
        pids = self.dir.supervisors()
        self.assertEqual(len(pids), 2)
        os.kill(min(pids), signal.SIGKILL)
        self.assert_gone(6)
        out = svcctl("status", conf)
        self.assertEqual((out.returncode, out.stdout),
                         (3, "node t is down; it ended: svcctl was killed; its processes were ended\n"))
        # The next one need not wait until the guard is through.
        self.up(conf)
        os.kill(min(self.dir.supervisors()), signal.SIGKILL)
        self.up(conf)
        svcctl("down", conf)
        self.assert_gone(3)

    def test_kill_guard(self):
        conf = self.conf(self.service("one"))
        self.up(conf)
        pids = self.dir.supervisors()
        os.kill(max(pids), signal.SIGKILL)
        self.assertTrue(wait_for(lambda: len(self.dir.supervisors()) == 2 and
                                 max(self.dir.supervisors()) != max(pids)))
        os.kill(min(pids), signal.SIGKILL)
        self.assert_gone(6)

    def test_stopped_processes(self):
        """SIGSTOP of the dataplane: status says so; down does not wait for it."""
        conf = self.conf(self.service("one"))
        self.up(conf)
        pid = self.process(conf, "dataplane")["pid"]
        os.kill(pid, signal.SIGSTOP)
        self.assertTrue(wait_for(lambda: self.process(conf, "dataplane")["state"] == "stuck", 6))
        began = time.monotonic()
        self.assertEqual(svcctl("down", conf).returncode, 0)
        self.assertLess(time.monotonic() - began, 5)
        self.assert_gone()

    def test_back_off(self):
        conf = self.conf(self.service("one") + self.service(
            "bad", "fail", "backoff_ms = 50\nbackoff_max_ms = 400"))
        p = subprocess.Popen([SVCCTL, "up", conf], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(2.0)
        bad = self.process(conf, "bad")
        self.assertEqual(bad["last_exit"], "ended with status 5")
        # 50, 100, 200, 400, 400, ... ms and what a start takes
        self.assertTrue(3 <= bad["restarts"] <= 7, bad)
        self.assertEqual(status(conf)["state"], "starting")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(10), 0)
        self.assert_gone()

    def test_restart_policy(self):
        conf = self.conf(self.service("well", "once", "restart = on-failure") +
                         self.service("never", "once", "restart = never") +
                         self.service("ever", "once"))
        self.up(conf)
        self.assertTrue(wait_for(lambda: self.process(conf, "ever")["restarts"] > 0))
        time.sleep(0.5)
        self.assertEqual(self.process(conf, "well")["state"], "ended")
        self.assertEqual(self.process(conf, "never")["state"], "ended")
        self.assertEqual(self.process(conf, "never")["last_exit"], "ended by itself")
        out = svcctl("restart", conf, "never")
        self.assertEqual(out.returncode, 0, out.stderr)

    def test_two_ups(self):
        conf = self.conf(self.service("one"))
        self.up(conf)
        out = svcctl("up", "-d", conf)
        self.assertEqual(out.returncode, 1)
        self.assertIn(f"a node is up in {self.run_dir} already", out.stderr)
        self.assertEqual(status(conf)["state"], "up")

    def test_stale_sockets(self):
        os.mkdir(self.run_dir)
        for name in ("dataplane.sock", "svcctl.sock"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.bind(f"{self.run_dir}/{name}")
        self.up(self.conf(self.service("one")))

    def test_dataplane_does_not_start(self):
        os.mkdir(self.run_dir)
        self.dir.file("run/fake", "exit")
        out = svcctl("up", "-d", self.conf(self.service("one")))
        self.assertEqual(out.returncode, 1)
        self.assertIn("the dataplane ended with status 3 before it was ready", out.stderr)
        self.assertIn("this is why", self.log("dataplane"))
        self.assert_gone()

    def test_dataplane_refuses(self):
        os.mkdir(self.run_dir)
        self.dir.file("run/fake", "refuse")
        out = svcctl("up", "-d", self.conf(self.service("one")))
        self.assertEqual(out.returncode, 1)
        self.assertIn("one: the dataplane refuses it: it has been told to", out.stderr)
        self.assert_gone(3)

    def test_bad_files(self):
        conf = self.conf("[service one]\nexec = no-such-program\n")
        out = svcctl("up", "-d", conf)
        self.assertEqual(out.returncode, 1)
        self.assertRegex(out.stderr, r"t.conf:9: \[service one\]: there is no program no-such-program")
        out = svcctl("check", conf)
        self.assertEqual(out.returncode, 1)
        self.assertRegex(out.stderr, r"t.conf:9: \[service one\]: there is no program no-such-program")
        text = self.dir.file("text", "not a program\n")
        os.chmod(text, 0o755)
        out = svcctl("up", "-d", self.conf(f"[service one]\nexec = {text}\n"))
        self.assertIn("one: cannot run", out.stderr)
        out = svcctl("up", "-d", self.conf("", "colour = red\ncore = 999"))
        self.assertRegex(out.stderr, r"t.conf:5: unknown key colour")
        self.assertRegex(out.stderr, r"t.conf:6: core = 999: there is no such core here; use one of")
        self.assertEqual(svcctl("check", "/no/such/file").returncode, 1)
        self.assertEqual(svcctl("frobnicate").returncode, 2)
        self.assertIn("heartbeat_ms", svcctl("check", "--reference").stdout)

    def test_log_rotation(self):
        conf = self.conf(self.service("one"), "log_max_kib = 16")
        self.up(conf)
        with open(f"{self.run_dir}/log/one.log", "a", encoding="utf-8") as f:
            f.write("x" * 20000 + "\n")
        self.assertTrue(wait_for(lambda: os.path.exists(f"{self.run_dir}/log/one.log.1")))
        self.assertTrue(wait_for(lambda: os.path.getsize(f"{self.run_dir}/log/one.log") == 0))
        out = svcctl("restart", conf, "one")
        self.assertEqual(out.returncode, 0)
        self.assertIn("x" * 20000, svcctl("logs", conf, "one").stdout)
        self.assertTrue(re.match("uid", self.log("one")))

    def test_unprivileged(self):
        if os.getuid() != 0:
            self.skipTest("the other tests are unprivileged already")
        if subprocess.run(["test", "-x", SVCCTL], user=65534, check=False).returncode:
            self.skipTest("nobody cannot reach the build directory")
        os.chown(self.dir.path, 65534, 65534)
        conf = self.conf(self.service("one"))
        self.up(conf, user=65534, group=65534, extra_groups=[])
        said = self.log("one")
        self.assertIn("uid 65534", said)
        self.assertIn("caps 0000000000000000", said)
        if not self.process(conf, "one")["warning"]:
            self.assertIn("net ['lo']", said)
        self.assertEqual(svcctl("down", conf, user=65534, group=65534).returncode, 0)
        self.assert_gone()


if __name__ == "__main__":
    unittest.main(verbosity=2)
