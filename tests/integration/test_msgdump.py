#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""msgdump on a node that echoes: lines, filters, the loss of its dataplane, clear errors."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, Dir, status, svcctl, wait_for  # noqa: E402

MSGDUMP = os.path.join(BUILD, "tools/msgdump/msgdump")
CLIENT = os.path.join(BUILD, "tests/integration/kill_client")


def msgdump(*args, timeout=10, **more):
    env = {k: v for k, v in os.environ.items() if k != "ATOLL_SOCKET"}
    return subprocess.run([MSGDUMP, *args], capture_output=True, timeout=timeout, check=False,
                          env=env, **{"text": True, **more})


class Errors(unittest.TestCase):
    def test_says_what_is_wrong(self):
        for args, code, text in (([], 2, "give its RUN_DIR"), (["/nowhere"], 1, "is the node up"),
                                 (["--point", "moon", "/"], 2, "--point moon"),
                                 (["--status", "GREAT", "/"], 2, "--status GREAT"),
                                 (["--endpoint", "x", "/"], 2, "--endpoint x"),
                                 (["--count", "0", "/"], 2, "--count 0"),
                                 (["/", "status", "fine"], 2, "no status 'fine'\n  status fine\n         ^"),
                                 (["--read", "/nowhere"], 1, "/nowhere: No such file"),
                                 (["--read", "/dev/null"], 1, "the file is empty"),
                                 (["--read", "/proc/self/exe"], 1, "not a pcapng file"),
                                 (["--follow", "x", "/"], 2, "--follow x"),
                                 (["--recorder"], 2, "give its RUN_DIR"),
                                 (["--recorder", "/"], 1, "no supervisor answers"),
                                 (["--names", "/dev/null", "/"], 1, "/dev/null"),
                                 (["/nowhere.conf"], 1, "neither a run_dir")):
            out = msgdump(*args)
            self.assertEqual((out.returncode, out.stdout), (code, ""), args)
            self.assertIn(text, out.stderr)


class Live(unittest.TestCase):
    def setUp(self):
        self.dir = Dir()
        self.addCleanup(self.dir.remove)
        out = svcctl("up", "--local", "2", "--dir", self.dir.path, "--services", "echo",
                     "--udp-port", str(random.randrange(20000, 60000)))
        self.assertEqual(out.returncode, 0, out.stderr)
        self.addCleanup(svcctl, "down", "--dir", self.dir.path)
        self.run_dir = os.path.join(self.dir.path, "a")
        self.client = subprocess.Popen(
            [CLIENT, "b/echo"], stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, ATOLL_SOCKET=f"{self.run_dir}/dataplane.sock"))
        self.addCleanup(self.client.wait)
        self.addCleanup(self.client.stdout.close)
        self.addCleanup(self.client.kill)
        self.assertEqual(self.client.stdout.readline(), "attached\n")

    def lines(self, *args):
        out = msgdump("--count", "20", *args, self.run_dir)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        return [line for line in out.stdout.splitlines() if "entries lost" not in line]

    def test_lines_and_filters(self):
        lines = self.lines("--opcode", "echo.*")
        self.assertEqual(len(lines), 20)
        for line in lines:
            self.assertRegex(line, r"^ *\d+\.\d{6}  (from|to)-(ring|link) +\S+.* +echo\.(echo|delay) ")
        times = [float(line.split()[0]) for line in lines]
        self.assertEqual(times, sorted(times))
        points = {line.split()[1] for line in lines}
        self.assertTrue(points & {"to-link", "from-link"}, lines)
        for line in self.lines("--point", "to-link", "--no-verbs"):
            self.assertEqual(line.split()[1], "to-link")
        for line in self.lines("--opcode", "echo.delay", "--node", "2"):
            self.assertIn(" echo.delay ", line)
        request = re.search(r"request (0x[0-9a-f]+)", "\n".join(
            self.lines("--opcode", "echo.delay", "--point", "from-ring"))).group(1)
        self.assertGreater(int(request, 16), -1)

    def test_filter_and_json(self):
        out = msgdump("--count", "20", "--json", self.run_dir, "opcode echo.* and dst b and request")
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        records = [json.loads(line) for line in out.stdout.splitlines()]
        self.assertEqual(len(records), 20)
        for r in records:
            self.assertEqual((r["node"], r["kind"]), (1, "request"), r)
            self.assertRegex(r["name"], r"^echo\.")
            self.assertRegex(r["dst"], "^2")
            self.assertRegex(r["src"], "^1/")
            self.assertIn(r["point"], ("from-ring", "to-link"))
        self.assertEqual({r["point"] for r in records}, {"from-ring", "to-link"})
        out = msgdump("--count", "5", "--json", self.run_dir, "reply", "and", "status", "=", "ok")
        for line in out.stdout.splitlines():
            self.assertEqual(json.loads(line)["status"], "OK")

    def test_capture_is_read_back(self):
        path = os.path.join(self.dir.path, "capture")
        out = msgdump("--write", path, "--count", "200", self.run_dir)
        self.assertEqual((out.returncode, out.stdout), (0, ""), out.stderr)
        out = msgdump("--read", path, "--json")
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        records = [json.loads(line) for line in out.stdout.splitlines()]
        self.assertEqual(len(records), 200)
        self.assertLess(abs(records[0]["time_ns"] / 1e9 - time.time()), 60)
        kinds = {r["kind"] for r in records}
        self.assertLessEqual({"request", "reply", "packet"}, kinds)
        points = {r["point"] for r in records}
        self.assertLessEqual({"packet-in", "packet-out", "from-ring", "to-ring"}, points)
        # What went to the link is in a packet that went out: its request id stands in the payload.
        frames = "".join(r["frame"] for r in records if r["point"] == "packet-out")
        sent = [r for r in records if r["point"] == "to-link" and r["kind"] == "request"]
        self.assertTrue(sent)
        there = [int(r["req"]).to_bytes(8, "little").hex() in frames for r in sent]
        self.assertGreater(sum(there), len(there) / 2)
        for r in records:
            if r["kind"] == "packet":
                self.assertEqual(len(r["frame"]), 2 * r["length"])
                self.assertRegex(r["text"], r"^127\.0\.0\.\d:\d+ -> 127\.0\.0\.\d:\d+ [A-Z_]+ qp 0x")
        only = msgdump("--read", path, "packet and length > 100").stdout.splitlines()
        self.assertEqual(len(only), sum(r["kind"] == "packet" and r["length"] > 100 for r in records))
        # And by way of pipes, without packets.
        out = msgdump("--write", "-", "--no-packets", "--read", path, "--count", "10", text=False)
        again = msgdump("--read", "-", "--json", text=False, input=out.stdout)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(len(again.stdout.splitlines()), 10)

    def test_several_nodes(self):
        out = msgdump("--count", "3000", "--json", self.run_dir, os.path.join(self.dir.path, "b"),
                      "opcode echo.*")
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.assertEqual({json.loads(line)["node"] for line in out.stdout.splitlines()}, {1, 2})

    def test_recorder_outlives_its_dataplane(self):
        def recorder(*words):
            out = msgdump("--recorder", self.run_dir, *words)
            self.assertEqual((out.returncode, out.stderr), (0, ""), out.stdout)
            return out.stdout.splitlines()

        self.lines("--opcode", "echo.*")
        before = status(self.run_dir)["processes"]["dataplane"]["pid"]
        self.assertEqual(sum(f"process {before}," in line for line in recorder()), 1)
        os.kill(before, signal.SIGKILL)
        # At once, whether or not there is a new one yet: the keeper has it.
        lines = recorder()
        heads = [i for i, line in enumerate(lines) if line.startswith("-- incarnation")]
        self.assertIn(f"process {before},", lines[heads[0]])
        last = lines[1:heads[1]] if len(heads) > 1 else lines[1:]
        self.assertGreater(len(last), 100)
        for line in last:
            self.assertRegex(line, r"^ *\d+\.\d{6}  [a-z-]+ +\S+")
            self.assertNotIn("heartbeat", line)
        times = [float(line.split()[0]) for line in last]
        self.assertEqual(times, sorted(times))
        self.assertTrue(any(" echo.echo request" in line for line in last))
        self.assertTrue(any(" from-link " in line for line in last))
        # The new one records for itself, and the old one's is still there; the filter holds for it, too.
        self.assertIsNotNone(wait_for(lambda: len([
            line for line in recorder("request") if line.startswith("-- ")]) == 2, 5))
        self.assertFalse([line for line in recorder("request") if " reply " in line])
        for _ in range(5):
            pid = status(self.run_dir)["processes"]["dataplane"]["pid"]
            os.kill(pid, signal.SIGKILL)
            self.assertIsNotNone(wait_for(lambda p=pid: status(self.run_dir)["processes"]["dataplane"]["state"]
                                          == "ready" and status(self.run_dir)["processes"]["dataplane"]["pid"]
                                          not in (0, p), 10))
        self.assertEqual(len([line for line in recorder() if line.startswith("-- ")]), 4)

    def waterfall(self, text):
        lines = text.splitlines()
        self.assertRegex(lines[0], r"^trace 0x[0-9a-f]+: \d+ sightings on 2 nodes, \d+\.\d{3} us$")
        rows = [re.match(r" *([\d.]+)  (.{40})  ([\d/]+) +([a-z-]+) +(echo\.[a-z]+) ([a-z]+)", line)
                for line in lines[1:] if not line.startswith("clock")]
        self.assertTrue(all(rows), text)
        times = [float(row.group(1)) for row in rows]
        self.assertEqual(times, sorted(times))
        steps = [(row.group(3).split("/")[0], row.group(4), row.group(6)) for row in rows]
        self.assertEqual(steps[0], ("1", "from-ring", "request"), text)
        self.assertEqual(steps[-1], ("1", "to-ring", "reply"), text)
        there = [("1", "from-ring", "request"), ("1", "to-link", "request"), ("2", "from-link", "request"),
                 ("2", "to-ring", "request")]
        self.assertEqual([s for s in steps if s in there], there)
        back = [("2", "to-link", "reply"), ("1", "from-link", "reply"), ("1", "to-ring", "reply")]
        self.assertEqual([s for s in steps if s in back], back)

    def test_follow(self):
        path, b = os.path.join(self.dir.path, "capture"), os.path.join(self.dir.path, "b")
        out = msgdump("--write", path, "--no-packets", "--count", "3000", self.run_dir, b, "opcode echo.*")
        self.assertEqual(out.returncode, 0, out.stderr)
        seen = {}
        for line in msgdump("--read", path, "--json", "reply and point to-ring").stdout.splitlines():
            record = json.loads(line)
            seen[record["trace"]] = record
        whole = [trace for trace in seen if len(msgdump(
            "--read", path, f"trace {trace}").stdout.splitlines()) >= 7][:1]
        self.assertTrue(whole)
        out = msgdump("--read", path, "--follow", str(whole[0]))
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.waterfall(out.stdout)
        # Live: one that is still to come.
        now = json.loads(msgdump("--count", "1", "--json", self.run_dir, "request and trace > 0").stdout)
        out = msgdump("--follow", str(now["trace"] + 5000), self.run_dir, b, timeout=30)
        self.assertEqual((out.returncode, out.stderr), (0, ""))
        self.waterfall(out.stdout)
        out = msgdump("--read", path, "--follow", "0xfffffff0")
        self.assertEqual(out.returncode, 1)
        self.assertIn("no message with trace id", out.stdout)

    def test_ends_with_the_dataplane(self):
        with subprocess.Popen([MSGDUMP, "--heartbeats", self.run_dir], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True) as dump:
            self.assertFalse(wait_for(lambda: dump.poll() is not None, 0.3))
            os.kill(status(self.run_dir)["processes"]["dataplane"]["pid"], signal.SIGKILL)
            self.assertIsNotNone(wait_for(lambda: dump.poll() is not None, 5))
            self.assertIn("the dataplane has ended", dump.stderr.read())


if __name__ == "__main__":
    unittest.main(verbosity=1)
