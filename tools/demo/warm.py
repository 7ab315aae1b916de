# SPDX-License-Identifier: Apache-2.0
"""A program that is slow to warm up: it imports, and sorts a dictionary by anagrams. Then it waits until it finds itself
somewhere else, and answers a question. It knows nothing of Atoll.

Usage: warm.py WORDS [cold]; cold: it does not wait.
"""
import os
import sys
import time

import asyncio  # noqa: F401
import decimal  # noqa: F401
import email.message  # noqa: F401
import http.client  # noqa: F401
import json  # noqa: F401
import xml.dom.minidom  # noqa: F401

anagrams = {}
with open(sys.argv[1], encoding="utf-8") as f:
    for word in f:
        word = word.strip().lower()
        anagrams.setdefault("".join(sorted(word)), set()).add(word)

home = os.getppid()
if len(sys.argv) < 3:
    print("warm", flush=True)
    while os.getppid() == home:
        time.sleep(0.001)
print(time.monotonic(), *sorted(anagrams["aelrst"]))
