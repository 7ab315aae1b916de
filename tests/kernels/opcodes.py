#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One function for each form of instruction that texts of PTX contain: opcode, modifiers, types, kinds of operands.

    nvcc -ptx -std=c++17 --extended-lambda -arch=compute_90 -o a.ptx tests/kernels/survey.cu
    tests/kernels/opcodes.py -o tests/kernels/opcodes.ptx a.ptx b.ptx ...

A machine that loads what this writes says of each function whether it can run it (test_ptx_opcodes, `atoll-bench gpu`)."""

import argparse
import re
import sys

TOKEN = re.compile(r"%?[A-Za-z_$][\w$]*(?:\.[xyzw]\b)?|0[fFdD][0-9a-fA-F]+|\d[\w.]*|\S")
FLOW = {"bra", "brx", "call", "ret"}  # what a function consists of: the other tests cannot run without
SPECIAL = re.compile(r"%(tid|ntid|ctaid|nctaid|laneid|warpid|nwarpid|smid|nsmid|gridid|clock|lanemask|globaltimer|"
                     r"dynamic|total|aggr|envreg|pm\d|cluster|is_|n?clusterid|reserved|current)")


def comments_gone(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def pieces(text):
    """Statements and braces of scopes."""
    depth, start = 0, 0
    for m in re.finditer(r"[{};]", text):
        before, c = text[start:m.start()].strip(), m[0]
        before = re.sub(r"^(?:[$\w]+\s*:\s*)+", "", before)
        if depth:
            depth += {"{": 1, "}": -1}.get(c, 0)
        elif c == ";":
            yield before
            start = m.end()
        elif c == "{" and (not before or (before.startswith(".") and "=" not in before)):
            yield "{"
            start = m.end()
        elif c == "{":
            depth = 1
        else:
            yield "}"
            start = m.end()


def statements(text):
    """Each instruction with the types of the registers that are known where it is."""
    types, spaces = [{}], {}
    for line in text.split("\n"):
        m = re.search(r"\.(global|const|shared|local|param)\s.*?([A-Za-z_$][\w$]*)(?:\[\d*\])?\s*(?:[;=,)]|$)", line)
        if m:
            spaces[m[2]] = m[1]
    for s in pieces(text):
        s = " ".join(s.split())
        if s == "{":
            types.append({})
        elif s == "}":
            if len(types) > 1:
                types.pop()
        elif s.startswith(".reg"):
            m = re.match(r"\.reg\s*(\.\w+)\s*(.*)", s)
            for name in m[2].split(","):
                types[-1][re.sub(r"<\d+>$", "", name.strip())] = m[1]
        elif s and not s.startswith("."):
            yield s, types, spaces


def type_of(name, types):
    for scope in reversed(types):
        for key in (name, name.rstrip("0123456789")):
            if key in scope:
                return scope[key]
    return None


def normal(s, types, spaces):
    """The statement with names by kind, and what has to be declared for it; None: flow."""
    s = re.sub(r"^@!?\S+ ", "", s)
    opcode, _, rest = s.partition(" ")
    opcode = opcode.rstrip(";")
    if opcode.split(".")[0] in FLOW or not re.match(r"^[a-z]\w*(\.[\w:]+)*$", opcode):
        return None
    names, regs, symbols, out = {}, [], [], []
    for t in TOKEN.findall(rest.rstrip(";")):
        kind = type_of(t, types) if re.match(r"[%A-Za-z_$]", t) else None
        if kind:
            if t not in names:
                names[t] = f"%a{len(names)}"
                regs.append((names[t], kind))
            out.append(names[t])
        elif SPECIAL.match(t) or t in ("_", "WARP_SZ"):
            out.append(t)
        elif t in spaces:
            symbols.append(spaces[t])
            out.append(f"sym_{spaces[t]}")
        elif re.match(r"0[fF]", t):
            out.append("0f3F800000")
        elif re.match(r"0[dD]", t):
            out.append("0d3FF0000000000000")
        elif re.match(r"\d", t):
            keep = opcode.startswith(("lop3", "bar", "barrier", "cp.async", "prmt", "shf", "mbarrier", "bfe", "dp", "setmaxnreg"))
            out.append(t if keep and not opcode.startswith(("lop3", "prmt")) else "1")
        elif re.match(r"[A-Za-z_$]", t):
            symbols.append("function")
            out.append("sym_function")
        else:
            out.append(t)
    text = "".join(o + (" " if o == "," else "") for o in out).replace("-1", "1")
    text = re.sub(r"\+1(?=\])", "", text)
    return f"{opcode} {text}".strip(), tuple(regs), tuple(symbols)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("texts", nargs="+")
    p.add_argument("-o", "--output")
    args = p.parse_args()
    forms, seen = {}, set()
    for path in args.texts:
        with open(path, encoding="utf-8", errors="replace") as f:
            for found in statements(comments_gone(f.read())):
                rough = re.sub(r"\d+", "", found[0])
                if rough in seen:
                    continue
                seen.add(rough)
                n = normal(*found)
                if n:
                    # one of each opcode and its registers' types: constants in their place say nothing new
                    key = (n[0].split(" ")[0], tuple(k for _, k in n[1][:1]), n[2], n[0].count("{"))
                    forms.setdefault(key, n)
    out = ["// SPDX-License-Identifier: Apache-2.0", "// Made by opcodes.py: instructions that nvcc makes, one of each form.",
           ".version 9.0", ".target sm_90", ".address_size 64", ".global .align 16 .b8 sym_global[64];",
           ".const .align 16 .b8 sym_const[64];", ".shared .align 16 .b8 sym_shared[64];",
           ".func sym_function() { ret; }"]
    for n, key in enumerate(sorted(forms)):
        text, regs, symbols = forms[key]
        local = " .local .align 16 .b8 sym_local[64];" if "local" in symbols else ""
        declared = "".join(f" .reg {kind} {name};" for name, kind in regs)
        out.append(f".entry f{n}(.param .align 16 .b8 sym_param[64]) {{{local}{declared} {text}; ret; }}")
    body = "\n".join(out) + "\n"
    if args.output:
        with open(args.output, "w", encoding="ascii") as f:
            f.write(body)
    else:
        sys.stdout.write(body)
    print(f"{len(forms)} forms", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
