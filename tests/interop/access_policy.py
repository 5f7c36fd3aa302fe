#!/usr/bin/env python3
"""Decides the golden corpus of the access policy with another build of Cedar, and validates
the default policy against the schema there. The floor is taken from the corpus; that a
policy can only narrow it is checked here once more.

    make interop

installs cedarpy into a folder of its own, and runs this. Prints what differs. Ends with 0 if
nothing does, with 1 if anything does, and with 3 if cedarpy is not installed.
"""
import json
import pathlib
import re
import sys

try:
    import cedarpy
except ImportError:
    print("NOT RUN: cedarpy is not installed (make interop installs it)")
    sys.exit(3)

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRATE = ROOT / "node" / "policy"
COLUMNS = ("reader overdue kind purpose level author restricted accepted care consent emergency "
           "forbidden").split()
LEVELS = {"U": 1, "L": 2, "M": 3, "N": 4, "R": 5, "V": 6}
GROUNDS = {"AUTHOR", "CUSTODIAN", "PATIENT", "REPRESENTATIVE", "CONSENT", "EMERGENCY"}
EFFECTS = {"permitByName": "permit", "permitByBase": "permit", "denyAll": "denyByBase"}
CUSTODIAN = "st-mary.example"
INT64_MAX = 2**63 - 1


def name(kind, text):
    return {"__entity": {"type": kind, "id": text}}


def purposes():
    """The tree of purposes, read from the Rust table; emergencies stand below none."""
    text = (ROOT / "proto" / "src" / "purpose.rs").read_text()
    body = re.search(r"const fn parent\b.*?\n}\n", text, re.S).group(0)
    entities = []
    for names, above in re.findall(r"((?:\s*\|?\s*P::\w+)+)\s*=>\s*(None|Some\(P::\w+\))", body):
        above = re.findall(r"P::(\w+)", above)
        for purpose in re.findall(r"P::(\w+)", names):
            if purpose == "Unspecified":
                continue
            parents = [] if purpose in ("Btg", "Ertreat") else above
            entities.append({
                "uid": {"type": "Purpose", "id": purpose.upper()},
                "attrs": {},
                "parents": [{"type": "Purpose", "id": p.upper()} for p in parents],
            })
    return entities


def request(case, floor):
    member, role = re.match(r"spiffe://([^/]+)/([^/]+)/", case["reader"]).groups()
    context = {
        "reader": {
            "member": member,
            "role": name("Role", role),
            "overdueReviews": min(int(case["overdue"]), INT64_MAX),
        },
        "purpose": name("Purpose", case["purpose"]),
        "record": {
            "kind": "Observation",
            "confidentiality": LEVELS[case["level"]],
            "custodian": CUSTODIAN,
        },
        "ground": name("Ground", floor.lower()),
        "consent": {
            "effect": name("Effect", EFFECTS.get(case["consent"], case["consent"])),
            "namesReader": case["consent"] == "permitByName",
        },
        "emergency": case["emergency"] == "true",
        "relation": {
            "author": case["reader"] == case["author"],
            "authorMember": member == CUSTODIAN,
            "patient": case["accepted"] == "self",
            "representative": case["accepted"] in ("guardian", "proxy"),
            "underCare": case["care"] == "true",
        },
    }
    return {
        "principal": f'Identity::"{case["reader"]}"',
        "action": f'Action::"{case["kind"]}"',
        "resource": 'Record::"' + "ab" * 16 + '"',
        "context": context,
    }


def corpus():
    for line in (CRATE / "tests" / "corpus" / "default.txt").read_text().splitlines():
        if not line.startswith("#"):
            case, floor, decision = line.split(" | ")
            yield line, dict(zip(COLUMNS, case.split(" "), strict=True)), floor, decision


def main():
    policy = (CRATE / "src" / "default.cedar").read_text()
    schema = (CRATE / "src" / "schema.cedarschema").read_text()
    failed = 0
    validation = cedarpy.validate_policies(policy, schema)
    if not validation.validation_passed:
        print("the default policy does not validate:", validation.errors)
        failed += 1
    lines, requests = [], []
    cases = list(corpus())
    for line, case, floor, decision in cases:
        if floor in GROUNDS:
            lines.append((line, floor, decision))
            requests.append(request(case, floor))
        elif decision != floor:
            print("widens the floor:", line)
            failed += 1
    answers = cedarpy.is_authorized_batch(requests, policy, json.dumps(purposes()), schema)
    for (line, floor, decision), answer in zip(lines, answers, strict=True):
        given = floor if answer.allowed else "POLICY"
        if given != decision or answer.diagnostics.errors:
            print("differs:", line, "|", given, answer.diagnostics.errors)
            failed += 1
    print(f"{len(cases)} cases, {len(lines)} of them decided by cedarpy, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
