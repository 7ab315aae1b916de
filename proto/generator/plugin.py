# SPDX-License-Identifier: Apache-2.0
"""The dissector as lines of C strings."""

from generator import dissector


def emit(model):
    out = ["/* Generated from proto/schema.toml by proto/generate.py. */", "#include <stddef.h>",
           "extern const char *const msgdump_plugin[];", "const char *const msgdump_plugin[] = {"]
    for line in dissector.emit(model).split("\n"):
        text = line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
        out.append(f'\t"{text}",')
    return "\n".join(out + ["\tNULL};", ""])
