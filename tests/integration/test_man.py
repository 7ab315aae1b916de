#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages say every option that --help says; completion completes commands and options."""
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import BUILD, SOURCE  # noqa: E402

PROGRAMS = {
    "svcctl": "tools/svcctl/svcctl",
    "msgdump": "tools/msgdump/msgdump",
    "netreq": "tools/netreq/netreq",
    "atoll-bench": "tools/bench/atoll-bench",
    "atoll-index": "clients/index/atoll-index",
    "afork": "services/fork-pager/afork",
    "index-shard": "services/index-shard/index-shard",
    "repair-worker": "services/repair-worker/repair-worker",
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def built():
    return {n: os.path.join(BUILD, p) for n, p in PROGRAMS.items() if os.path.exists(os.path.join(BUILD, p))}


def help_of(path):
    out = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=10, check=False)
    return out.stdout + out.stderr


def options(text):
    return set(OPTION.findall(text)) - {"--help"}


class Man(unittest.TestCase):
    def page(self, name):
        with open(os.path.join(SOURCE, "docs/man", name + ".1"), encoding="utf-8") as f:
            return f.read().replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")

    def test_options(self):
        for name, path in built().items():
            with self.subTest(name):
                said = options(help_of(path))
                self.assertTrue(said)
                self.assertEqual(said - options(self.page(name)), set())

    def test_commands(self):
        for name in ("svcctl", "atoll-index", "atoll-bench"):
            if name not in built():
                continue
            with self.subTest(name):
                commands = set(re.findall(r"^  ([a-z][a-z-]*)(?: |$)", help_of(built()[name]), re.M)) - {"help"}
                self.assertGreater(len(commands), 3)
                page = self.page(name)
                self.assertEqual({c for c in commands if not re.search(rf"\b{c}\b", page)}, set())

    def test_pages_are_clean(self):
        if not shutil.which("groff"):
            self.skipTest("groff is not installed")
        for name in sorted(os.listdir(os.path.join(SOURCE, "docs/man"))):
            out = subprocess.run(["groff", "-man", "-ww", "-z", os.path.join(SOURCE, "docs/man", name)],
                                 capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(out.stderr, "", name)


class Completion(unittest.TestCase):
    def complete(self, program, *words):
        """What bash offers for the last word."""
        path = built()[program]
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_atoll "$1" "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}"')
        out = subprocess.run(["bash", "-c", script, "bash", os.path.join(SOURCE, "tools/completion/atoll.bash"),
                              path, *words], capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(out.stderr, "")
        return set(out.stdout.split())

    def test_commands(self):
        for name in ("svcctl", "atoll-index", "atoll-bench"):
            if name not in built():
                continue
            commands = set(re.findall(r"^  ([a-z][a-z-]*)(?: |$)", help_of(built()[name]), re.M))
            self.assertEqual(self.complete(name, ""), commands)
        self.assertEqual(self.complete("svcctl", "do"), {"doctor", "down"})

    def test_options(self):
        for name in ("svcctl", "atoll-index", "atoll-bench", "msgdump"):
            if name not in built():
                continue
            self.assertEqual(self.complete(name, "--") - {"--help"}, options(help_of(built()[name])))
        self.assertEqual(self.complete("svcctl", "up", "--ke"), {"--keep"})

    def test_values(self):
        self.assertEqual(self.complete("svcctl", "up", "--port", ""), {"uring", "shm"})
        self.assertEqual(self.complete("svcctl", "up", "--idle", "s"), {"spin"})


if __name__ == "__main__":
    unittest.main(verbosity=1)
