#!/usr/bin/env python3
"""Verifies receipts against a genesis document, with nothing of this project. A
second implementation of docs/formats.md; its parts are in the folder verifier beside it.

    pip install cryptography
    python3 docs/examples/verify_receipt.py genesis.pb RECEIPT_OR_FOLDER...
    python3 docs/examples/verify_receipt.py --decision genesis.pb RECEIPT_OR_FOLDER...
    python3 docs/examples/verify_receipt.py --access-log genesis.pb FILE_OR_FOLDER...
    python3 docs/examples/verify_receipt.py --record-lists genesis.pb FILE_OR_FOLDER...

The second form is for receipts of decisions, the third for whole lists of who has asked to read a
patient's records (`consilium access log --proof`), the fourth for the whole lists of the records that
a patient has (`consilium patient records --proof`). Prints one line for each receipt. Ends with 0 if
all of them verify, else with 1.
"""
import os
import sys

# Looking at a receipt leaves nothing behind.
sys.dont_write_bytecode = True

from verifier.access_log import verify_access_log
from verifier.decisions import verify_decision
from verifier.messages import DOCUMENT, GENESIS
from verifier.receipts import verify
from verifier.record_lists import verify_record_lists
from verifier.trees import domain, sha256
from verifier.validators import founders
from verifier.wire import NotVerified, decode

JUDGES = {"--decision": verify_decision, "--access-log": verify_access_log, "--record-lists": verify_record_lists}


def outcome_of(work):
    """A line, and whether it says yes. Whatever goes wrong is no proof."""
    try:
        return work(), True
    except NotVerified as why:
        return f"NOT VERIFIED: {why}", False
    except OSError as error:
        return f"NOT VERIFIED: cannot be read: {error.strerror}", False
    except Exception as error:  # A mistake in this file must not look like a proof either.
        return f"NOT VERIFIED: internal error: {error!r}", False


def read(file):
    with open(file, "rb") as opened:
        return opened.read()


def files_of(argument):
    """A folder that is empty or cannot be read is like a file that is not there."""
    try:
        inside = [os.path.join(argument, name) for name in sorted(os.listdir(argument))]
    except OSError:
        inside = []
    return inside or [argument]


def main(arguments):
    judge = JUDGES.get(arguments[0], verify) if arguments else verify
    arguments = arguments if judge is verify else arguments[1:]
    if len(arguments) < 2:
        print(f"NOT VERIFIED: usage: verify_receipt.py [{' | '.join(JUDGES)}] genesis.pb FILE_OR_FOLDER...")
        return 1
    sys.stdout.reconfigure(errors="backslashreplace")
    trusted = {}

    def load():
        body = decode(DOCUMENT, read(arguments[0])).get("body", b"")
        trusted["ledger"] = sha256(domain(b"consilium/genesis/v1"), sha256(body))
        trusted["founders"] = founders(decode(GENESIS, body))

    why, good = outcome_of(load)
    if not good:
        print(f"{arguments[0]}: {why}")
        return 1
    for file in [file for argument in arguments[1:] for file in files_of(argument)]:
        line, verified = outcome_of(lambda: judge(trusted["founders"], trusted["ledger"], read(file)))
        good = good and verified
        print(f"{file}: {line}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
