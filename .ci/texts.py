#!/usr/bin/env python3
"""No Debug formats in texts for people: `{x:?}` shows the insides of a program, not what is wrong.

Looks at the sources of proto, certs, client and node outside of tests. What may stay is in
`.ci/texts.allow`, one `path: {x:?}` a line with its reason behind `#`.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ["proto/src", "certs/src", "client/src", "client/cli/src", "node/src"]
SOURCES += [f"node/{crate}/src" for crate in ("ledger", "consensus", "policy", "replica")]
TESTS = re.compile(r"(^|/)(tests?|fixture|[a-z_]*tests)(\.rs|/)")
MODULE_OF_TESTS = re.compile(r"^#\[cfg\(test\)\]\n(#\[[^\n]*\]\n)*mod [a-z_]+ \{", re.MULTILINE)
DEBUG = re.compile(r"\{[A-Za-z0-9_.]*:#?\?\}")


def found():
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.rs")):
            name = path.relative_to(ROOT).as_posix()
            if TESTS.search(name[len(source) :]):
                continue
            text = path.read_text(encoding="utf-8")
            tests = MODULE_OF_TESTS.search(text)
            text = text[: tests.start()] if tests else text
            for number, line in enumerate(text.splitlines(), 1):
                if not line.lstrip().startswith("//"):
                    for debug in DEBUG.findall(line):
                        yield f"{name}: {debug}", number


def main():
    allowed = {}
    for line in (ROOT / ".ci/texts.allow").read_text(encoding="utf-8").splitlines():
        entry, _, reason = line.partition("#")
        if entry.strip():
            allowed[entry.strip()] = reason.strip()
    bad = [f"{entry} has no reason" for entry, reason in allowed.items() if not reason]
    used = set()
    for entry, number in found():
        used.add(entry)
        if entry not in allowed:
            bad.append(f"{entry} (line {number}): say it in words, or allow it in .ci/texts.allow")
    for entry in sorted(set(allowed) - used):
        print(f"{entry}: is allowed and not there any more; take it out")
    print("\n".join(bad), end="\n" if bad else "")
    return 1 if bad else 0


sys.exit(main())
