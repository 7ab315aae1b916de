# SPDX-License-Identifier: Apache-2.0
"""Names and numbers of this machine's system calls, as the compiler's headers have them.

usage: syscalls.py OUTPUT COMPILER...
"""
import re
import subprocess
import sys


def main():
    out, compiler = sys.argv[1], sys.argv[2:]
    text = subprocess.run([*compiler, "-E", "-dM", "-x", "c", "-"], input="#include <sys/syscall.h>\n",
                          capture_output=True, text=True, check=True).stdout
    names = sorted(set(re.findall(r"^#define __NR_([a-z0-9_]+) ", text, re.M)) - {"syscalls"})
    with open(out, "w", encoding="ascii") as f:
        f.write("/* Made by ipc/syscalls.py. */\n")
        for name in names:
            f.write(f'{{"{name}", __NR_{name}}},\n')


main()
