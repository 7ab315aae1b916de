#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""svcctl metrics and top, and --json of every command, over two real nodes."""
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, SVCCTL, Dir, svcctl, wait_for  # noqa: E402

INDEX = os.path.join(BUILD, "clients/index/atoll-index")

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'^({NAME})(?:\{{((?:{NAME}="[^"\\\n]*",?)*)\}})? (-?[0-9.e+]+|NaN|[+-]Inf)$')


def parse(text):
    """The exposition format, strictly: families of HELP, TYPE and samples, each in one piece."""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, what = line[7:].partition(" ")
            assert re.fullmatch(NAME, name) and what and name not in families, line
            current = families[name] = {"help": what, "type": None, "samples": {}}
            current["name"] = name
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current["name"] and kind in ("counter", "gauge") and not current["samples"], line
            current["type"] = kind
        else:
            m = SAMPLE.match(line)
            assert m and m.group(1) == current["name"] and current["type"], line
            assert m.group(2) not in current["samples"], line
            current["samples"][m.group(2)] = float(m.group(3))
    return families


def drip_until_closed(sock):
    for _ in range(100):
        time.sleep(0.3)
        try:
            sock.sendall(b"E")
        except OSError:
            return


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ.pop("ATOLL_PATH", None)
        cls.dir = Dir()
        cls.addClassCleanup(cls.dir.remove)
        out = svcctl("up", "--local", "2", "--json", "--dir", cls.dir.path, "--services", "echo,index-shard", "--udp-port",
                     str(random.randrange(20000, 30000)))
        assert out.returncode == 0, out.stderr
        cls.up = [json.loads(line) for line in out.stdout.splitlines()]

    def svcctl(self, *args, **more):
        return svcctl(*args, "--dir", self.dir.path, **more)

    def test_scrape(self):
        p = subprocess.Popen([SVCCTL, "metrics", "--http-port", "0", "--dir", self.dir.path],
                             stdout=subprocess.PIPE, text=True)
        try:
            url = p.stdout.readline().strip()
            self.assertRegex(url, r"^http://127\.0\.0\.1:\d+/metrics$")
            with urllib.request.urlopen(url, timeout=5) as r:
                self.assertTrue(r.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
                first = parse(r.read().decode("ascii"))
            port = int(url.split(":")[2].split("/")[0])
            with open("/proc/net/tcp", encoding="ascii") as f:
                here = [line.split()[1] for line in f if line.split()[1].endswith(f":{port:04X}") and
                        line.split()[3] == "0A"]
            self.assertEqual(here, [f"0100007F:{port:04X}"])  # loopback, and nowhere else
            with self.assertRaises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(url.replace("/metrics", "/other"), timeout=5)
            self.assertEqual(error.exception.code, 404)
            error.exception.close()
            with self.assertRaises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(url, data=b"x", timeout=5)
            self.assertEqual(error.exception.code, 405)
            error.exception.close()
            # Who sends a byte now and then keeps the others waiting for two seconds, not for as long as it likes.
            with socket.create_connection(("127.0.0.1", port)) as slow:
                slow.sendall(b"G")
                drip = threading.Thread(target=drip_until_closed, args=(slow,))
                drip.start()
                with urllib.request.urlopen(url, timeout=5) as r:
                    parse(r.read().decode("ascii"))
                drip.join(5)
                self.assertFalse(drip.is_alive())
            with urllib.request.urlopen(url, timeout=5) as r:
                second = parse(r.read().decode("ascii"))
        finally:
            p.terminate()
            self.assertEqual(p.wait(5), 0)
            p.stdout.close()
        for name, f in first.items():
            self.assertTrue(name.startswith("atoll_"), name)
            self.assertEqual(name.endswith("_total"), f["type"] == "counter", name)
            for labels, value in f["samples"].items():
                if f["type"] == "counter":
                    self.assertGreaterEqual(second[name]["samples"][labels], value, name)
        self.assertEqual(first["atoll_node_up"]["samples"], {'node="a"': 1, 'node="b"': 1})
        self.assertEqual(first["atoll_links_up"]["type"], "gauge")
        self.assertIn("atoll_process_cpu_seconds_total", first)
        # Every counter of the page is there, with its description.
        state = json.loads(self.svcctl("status", "--json").stdout.splitlines()[0])
        mine = [n for n in first if not re.search("process|atoll_(node|endpoint|lane)_", n)]
        self.assertEqual(len(mine), len(state["counters"]))

    def test_slots(self):
        """What each endpoint and each lane does, while it does; and none of it when it has gone."""
        with open(os.path.join(self.dir.path, "lines"), "w", encoding="ascii") as f:
            f.writelines(f"{i}\n" for i in range(1000000))
        load = subprocess.Popen([INDEX, "--socket", os.path.join(self.dir.path, "a", "dataplane.sock"), "--target",
                                 "b/index-shard", "--quiet", "load", f.name], stdout=subprocess.DEVNULL)

        def seen():
            out = self.svcctl("top", "--once", "--json", "--interval-ms", "300")
            top = json.loads(out.stdout.splitlines()[0])
            return [lane for lane in top["lanes"] if lane["pid"] == load.pid and lane["verbs"]] and top

        try:
            top = wait_for(seen, 30)
            lane = [lane for lane in top["lanes"] if lane["pid"] == load.pid][0]
            mine = [e for e in top["endpoints"] if e["pid"] == load.pid][0]
            self.assertEqual((lane["endpoint"], lane["node"], mine["number"]), ("atoll-index", 2, lane["number"]))
            self.assertGreater(lane["verbs"], 0)
            self.assertGreaterEqual(lane["bytes"], 8 * lane["verbs"] - 1)
            self.assertGreater(lane["latency_ns"], 1000)
            self.assertLessEqual(lane["open"], 64)
            labels = f'node="a",endpoint="atoll-index",number="{mine["number"]}",pid="{load.pid}"'
            scraped = parse(self.svcctl("metrics", "--once").stdout)
            self.assertGreater(scraped["atoll_endpoint_verbs_total"]["samples"][labels], 0)
            self.assertGreater(scraped["atoll_lane_verbs_total"]["samples"][labels + ',lane="0",peer="2"'], 0)
            for columns, header in (("100", "endpoint, lane"), ("40", " atoll-index")):
                out = self.svcctl("top", "--once", "--interval-ms", "50", env={**os.environ, "COLUMNS": columns})
                self.assertIn(header, out.stdout)
                self.assertTrue(all(len(line) <= int(columns) for line in out.stdout.splitlines()), out.stdout)
        finally:
            load.kill()
            load.wait()
        self.assertTrue(wait_for(lambda: f'pid="{load.pid}"' not in self.svcctl("metrics", "--once").stdout, 10))

    def test_once(self):
        families = parse(self.svcctl("metrics", "--once").stdout)
        self.assertEqual(families["atoll_messages_total"]["help"], "messages taken from rings")
        self.assertIn("atoll_loop_max_turn_seconds", families)

    def test_top(self):
        self.assertTrue(wait_for(lambda: "links.up\": 1.000" in self.svcctl(
            "top", "--once", "--json", "--interval-ms", "10").stdout))
        out = self.svcctl("top", "--once", "--json", "--interval-ms", "300")
        nodes = [json.loads(line) for line in out.stdout.splitlines()]
        self.assertEqual([n["node"] for n in nodes], ["a", "b"])
        for n in nodes:
            self.assertEqual({p["name"] for p in n["processes"]}, {"keeper", "dataplane", "echo", "index-shard"})
            self.assertTrue(all(0 <= p["busy"] < 2 for p in n["processes"]))
            self.assertGreater(n["rates"]["links.heartbeats"], 0)
            self.assertGreaterEqual(n["interval_ms"], 300)
        for width in (24, 40, 80, 120):
            out = self.svcctl("top", "--once", "--interval-ms", "10", env=dict(os.environ, COLUMNS=str(width)))
            self.assertEqual(out.returncode, 0, out.stderr)
            self.assertLessEqual(max(map(len, out.stdout.splitlines())), width)
            for word in ("dataplane", "retransmits", "no credit", "lanes", "attached"):
                self.assertIn(word, out.stdout)

    def test_json(self):
        self.assertEqual([(n["node"], n["state"]) for n in self.up], [("a", "up"), ("b", "up")])
        conf = f"{self.dir.path}/a/node.conf"
        good = json.loads(svcctl("check", "--json", conf).stdout)
        self.assertEqual((good["node"], good["errors"], good["peers"], good["services"]), ("a", [], 1, 2))
        bad = svcctl("check", "--json", "/dev/null")
        self.assertEqual(bad.returncode, 1)
        self.assertGreater(len(json.loads(bad.stdout)["errors"]), 0)
        out = json.loads(self.svcctl("restart", "--json", "b/echo").stdout)
        self.assertEqual((out["node"], out["process"], out["state"]), ("b", "echo", "ready"))
        self.assertGreater(out["pid"], 1)
        out = self.svcctl("restart", "--json", "b/keeper")
        self.assertEqual(out.returncode, 1)
        self.assertIn("lives as long", json.loads(out.stdout)["error"])
        lines = [json.loads(line) for line in self.svcctl("logs", "--json", "a/dataplane").stdout.splitlines()]
        self.assertTrue(any("runs, incarnation" in line["line"] for line in lines))
        self.assertEqual({(line["node"], line["process"]) for line in lines}, {("a", "dataplane")})
        out = svcctl("down", "--json", "/nonexistent")
        self.assertEqual(out.returncode, 1)

    def test_ends_at_once(self):
        for _ in range(10):
            p = subprocess.Popen([SVCCTL, "metrics", "--http-port", "0", "--dir", self.dir.path],
                                 stdout=subprocess.PIPE, text=True)
            self.addCleanup(p.kill)
            self.assertIn("http://", p.stdout.readline())
            p.terminate()  # it may be just about to wait
            self.assertEqual(p.wait(5), 0)
            p.stdout.close()

    def test_a_node_that_is_somebody_elses(self):
        """What it says goes to our terminal, but cannot command it."""
        path = os.path.join(self.dir.path, "evil")
        os.mkdir(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.bind(f"{path}/svcctl.sock")
            s.listen(8)

            def answer():
                for _ in range(3):
                    c, _ = s.accept()
                    with c:
                        c.recv(64)
                        c.send(b"0node\tevil\t\x1b]0;owned\x07\t5\nprocess\techo\t\x1b[2J\x7f\t1\t0\t0\n")

            t = threading.Thread(target=answer)
            t.start()
            for command in (["status"], ["top", "--once", "--interval-ms", "10"]):
                out = svcctl(*command, path).stdout
                self.assertIn("evil", out)
                self.assertNotRegex(out, r"[\x00-\x08\x0b-\x1f\x7f]")
            t.join(10)
        os.remove(f"{path}/svcctl.sock")
        os.rmdir(path)

    def test_down(self):
        """What is down is shown as such, and is no error to ask for."""
        path = os.path.join(self.dir.path, "c")
        os.mkdir(path)
        self.dir.file("c/node.conf", f"[node]\nname = c\nid = 9\nrun_dir = {path}\n[port]\nport = none\n"
                      "address = 127.0.0.9\n")
        self.addCleanup(os.remove, f"{path}/node.conf")
        self.assertEqual(parse(svcctl("metrics", "--once", path).stdout)["atoll_node_up"]["samples"],
                         {'node="c"': 0})
        out = svcctl("top", "--once", "--interval-ms", "10", path)
        self.assertEqual((out.returncode, out.stdout), (3, "node c is down\n"))
        out = json.loads(svcctl("down", "--json", path).stdout)
        self.assertEqual((out["node"], out["state"]), ("c", "down"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
