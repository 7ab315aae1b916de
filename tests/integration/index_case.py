# SPDX-License-Identifier: Apache-2.0
"""What tests of an index have in common: two nodes, and the program for the command line on either."""
import os
import random
import subprocess
import unittest

from node import BUILD, Dir, svcctl, two_nodes, wait_for

INDEX = os.path.join(BUILD, "clients/index/atoll-index")


class IndexCase(unittest.TestCase):
    """Set TARGET; setUp makes self.dir."""
    TARGET = "b/index"
    TIMEOUT = 60

    def setUp(self):
        os.environ.pop("ATOLL_PATH", None)
        self.dir = Dir()
        self.addCleanup(self.dir.remove)

    def up(self, services, lines, form):
        """Two nodes with @services (sections by node), and a file of words whose number i is form(i)."""
        for conf in two_nodes(self.dir, random.randrange(20000, 60000), services).values():
            out = svcctl("up", "-d", conf)
            self.assertEqual(out.returncode, 0, out.stderr)
        self.words_of(lines, form)
        self.assertTrue(wait_for(lambda: self.index("stat").returncode == 0, 15, 0.1))

    def words_of(self, lines, form):
        self.words = self.dir.file("words", "".join(form(i) + "\n" for i in range(lines)))

    def args(self, *args, node="a", target=None):
        return [INDEX, "--socket", f"{self.dir.path}/{node}/dataplane.sock", "--target",
                target or self.TARGET, *args]

    def index(self, *args, **more):
        return subprocess.run(self.args(*args, **more), capture_output=True, text=True,
                              timeout=self.TIMEOUT, check=False)

    def start(self, *args, **more):
        return subprocess.Popen(self.args(*args, **more), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def expect(self, out, code, pattern):
        self.assertEqual(out.returncode, code, out.stdout + out.stderr)
        self.assertRegex(out.stdout + out.stderr, pattern)
