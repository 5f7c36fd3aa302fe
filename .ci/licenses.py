#!/usr/bin/env python3
"""Checks the licences, bans and sources of all dependencies against deny.toml.

Reads `cargo metadata`; does what `cargo deny check licenses bans sources` does
with the lists of this project, without anything to install. Licences are SPDX
expressions: OR needs one allowed side, AND needs both. The old spelling "A/B"
means OR.
"""
import json
import re
import subprocess
import sys
import tomllib

TOKEN = re.compile(r"\(|\)|[A-Za-z0-9.+-]+|/")


def tokens(expression):
    words = TOKEN.findall(expression)
    joined = []
    for word in words:
        if joined and (word == "WITH" or joined[-1].endswith(" WITH")):
            joined[-1] += " " + word
        else:
            joined.append("OR" if word == "/" else word)
    return joined


def allowed(expression, allow):
    """Recursive descent over OR, AND and parentheses; AND binds tighter."""
    rest = tokens(expression)

    def term():
        word = rest.pop(0)
        if word == "(":
            value = either()
            if rest.pop(0) != ")":
                raise ValueError(expression)
            return value
        return word in allow

    def both():
        value = term()
        while rest and rest[0] == "AND":
            rest.pop(0)
            value = term() and value
        return value

    def either():
        value = both()
        while rest and rest[0] == "OR":
            rest.pop(0)
            value = both() or value
        return value

    value = either()
    if rest:
        raise ValueError(expression)
    return value


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def built(target):
    """(name, version) of what is really built: metadata alone also lists what
    only a disabled feature would bring."""
    tree = cargo("tree", "--locked", "--workspace", "--target", target, "--prefix", "none", "--format", "{p}")
    lines = (line.split() for line in tree.splitlines() if line.strip())
    return {(words[0], words[1].removeprefix("v")) for words in lines}


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allow = set(rules["licenses"]["allow"])
    banned = {ban["crate"]: ban["reason"] for ban in rules["bans"]["deny"]}
    used = set().union(*(built(target) for target in rules["graph"]["targets"]))
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked"))
    packages = [p for p in metadata["packages"] if (p["name"], p["version"]) in used]
    # As cargo-deny has it where deny.toml names none: cargo's own registry, and nothing else.
    registries = {p["source"] for p in packages if (p["source"] or "").startswith("registry+")}
    problems = [] if len(registries) <= 1 else [f"more than one registry: {', '.join(sorted(registries))}"]
    for package in sorted(packages, key=lambda p: (p["name"], p["version"])):
        name = f"{package['name']} {package['version']}"
        expression = package["license"]
        try:
            if not expression or not allowed(expression, allow):
                problems.append(f"{name}: licence {expression!r} is not allowed by deny.toml")
        except (ValueError, IndexError):
            problems.append(f"{name}: licence {expression!r} is not an SPDX expression")
        if package["name"] in banned:
            problems.append(f"{name}: banned: {banned[package['name']]}")
        if package["source"] not in registries | {None}:
            problems.append(f"{name}: source {package['source']} is not allowed by deny.toml")
        if package["source"] is not None:
            continue
        for dep in package["dependencies"]:
            if dep["req"] == "*" and not dep.get("path"):
                problems.append(f"{name}: dependency {dep['name']} has no version")
    for problem in problems:
        print("licences:", problem, file=sys.stderr)
    print(f"licences: {len(packages)} packages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
