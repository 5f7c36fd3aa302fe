#!/usr/bin/env python3
"""Verifies receipts against a genesis document, with nothing of this project. A
second implementation of docs/formats.md; field numbers are those of the .proto files.

    pip install cryptography
    python3 docs/examples/verify_receipt.py genesis.pb RECEIPT_OR_FOLDER...

Prints one line for each receipt. Ends with 0 if all of them verify, else with 1.
"""
import hashlib
import os
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
except ImportError:
    sys.exit("NOT VERIFIED: the module cryptography is missing: pip install cryptography")

VALIDATORS_MAX, POWER_MAX, PATH_MAX = 128, 1 << 48, 64


class NotVerified(Exception):
    """Why something proves nothing."""


def check(what, true):
    if not true:
        raise NotVerified(what)


# Messages: what a field number means. A dict is a message, a list is repeated.
U64, U32, I32, BYTES = "u64", "u32", "i32", "bytes"
HEADER = {1: ("ledger_id", BYTES), 2: ("height", U64), 3: ("previous_hash", BYTES), 4: ("time_ms", U64),
          5: ("epoch", U64), 6: ("tree_size", U64), 7: ("tree_root", BYTES), 8: ("state_root", BYTES),
          9: ("validators_hash", BYTES), 10: ("next_validators_hash", BYTES), 11: ("proposer", U64),
          12: ("log_hash", BYTES)}
SIGNATURE = {1: ("validator", U64), 2: ("signature", BYTES)}
CERTIFICATE = {1: ("height", U64), 2: ("header_hash", BYTES), 3: ("signatures", [SIGNATURE])}
CERTIFIED = {1: ("header", HEADER), 2: ("certificate", CERTIFICATE)}
SEAT = {1: ("validator", U64), 2: ("power", U64), 3: ("vote_key", BYTES)}
SET = {1: ("seats", [SEAT]), 2: ("quorum_numerator", U32), 3: ("quorum_denominator", U32)}
CHANGE = {1: ("boundary", CERTIFIED), 2: ("next", SET)}
LEAF = {1: ("transaction_id", BYTES), 2: ("height", U64), 3: ("outcome", I32), 4: ("signature_sha256", BYTES)}
HEAD = {1: ("ledger_id", BYTES), 2: ("author", BYTES), 3: ("valid_until_ms", U64), 4: ("action_count", U64),
        5: ("actions_root", BYTES)}
SIGNED = {1: ("head", HEAD), 2: ("signature", BYTES)}
RECEIPT = {1: ("ledger_id", BYTES), 2: ("leaf", LEAF), 3: ("leaf_index", U64), 4: ("inclusion_path", [BYTES]),
           5: ("head", CERTIFIED), 6: ("set_changes", [CHANGE]), 7: ("signed", SIGNED)}
NODE = {2: ("raft_id", U64), 5: ("vote_key", BYTES)}
MEMBER = {4: ("stake", U64), 5: ("nodes", [NODE])}
PARAMETERS = {4: ("quorum_numerator", U32), 5: ("quorum_denominator", U32)}
GENESIS = {4: ("parameters", PARAMETERS), 5: ("members", [MEMBER])}
DOCUMENT = {1: ("body", BYTES)}


def varint(data, at):
    value = 0
    for n, byte in enumerate(data[at:at + 10]):
        value |= (byte & 0x7f) << 7 * n
        if byte < 0x80:
            check("a number is too large", value < 1 << 64)
            return value, at + n + 1
    raise NotVerified("a number does not end")


def field_key(data, at):
    key, at = varint(data, at)
    number, wire = key >> 3, key & 7
    check("a field has no valid number or type", key < 1 << 32 and number and wire < 6)
    return number, wire, at


def skip(data, at, number, wire, depth=0):
    """The end of a field, and where its content begins."""
    check("groups are nested too deeply", depth < 90)
    begin = at
    if wire == 0:
        _, end = varint(data, at)
    elif wire == 2:
        size, begin = varint(data, at)
        end = begin + size
    elif wire == 3:
        end = at
        while True:
            inner, inner_wire, end = field_key(data, end)
            if inner_wire == 4:
                check("a group ends that did not begin", inner == number)
                break
            end, _ = skip(data, end, inner, inner_wire, depth + 1)
    else:
        check("a group ends that did not begin", wire != 4)
        end = at + (8 if wire == 1 else 4)
    check("a field is cut off", end <= len(data))
    return end, begin


def decode(kinds, data, into=None):
    """Protocol buffers: unknown fields are ignored, the last of several counts, and
    several parts of a message are merged."""
    message = into if into is not None else {}
    at = 0
    while at < len(data):
        number, wire, at = field_key(data, at)
        end, begin = skip(data, at, number, wire)
        name, kind = kinds.get(number, (None, None))
        repeated = isinstance(kind, list)
        kind = kind[0] if repeated else kind
        if kind is not None:
            check(f"{name} is of another type", wire == (2 if kind is BYTES or isinstance(kind, dict) else 0))
            if isinstance(kind, dict):
                value = decode(kind, data[begin:end], None if repeated else message.get(name))
            else:
                value = data[begin:end] if kind is BYTES else varint(data, at)[0]
                value = value & 0xffffffff if kind in (U32, I32) else value
            if repeated:
                message.setdefault(name, []).append(value)
            else:
                message[name] = value
        at = end
    return message


def part(message, name):
    check(f"{name} is missing", name in message)
    return message[name]


def number(message, name):
    return message.get(name, 0)


def sized(message, name, size=32):
    value = message.get(name, b"")
    check(f"{name} has not {size} bytes", len(value) == size)
    return value


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def header_hash(h):
    return sha256(
        b"consilium/header/v1", sized(h, "ledger_id"), struct.pack(">Q", number(h, "height")),
        sized(h, "previous_hash"),
        struct.pack(">QQQ", number(h, "time_ms"), number(h, "epoch"), number(h, "tree_size")),
        sized(h, "tree_root"), sized(h, "state_root"), sized(h, "validators_hash"),
        sized(h, "next_validators_hash"), struct.pack(">Q", number(h, "proposer")), sized(h, "log_hash"))


def leaf_hash(receipt):
    """RFC 9162 leaf hash of what the ledger says of a transaction."""
    leaf = part(receipt, "leaf")
    entry = sized(leaf, "transaction_id") + struct.pack(">QI", number(leaf, "height"), number(leaf, "outcome"))
    return sha256(b"\x00", entry, sized(leaf, "signature_sha256"))


def check_signed(receipt):
    """What the author signed, where the receipt shows it, is what the leaf commits to."""
    if "signed" not in receipt:
        return
    leaf, signed = part(receipt, "leaf"), part(receipt, "signed")
    head, signature = part(signed, "head"), signed.get("signature", b"")
    check("a signature is too short or too long", len(signature) == 64)
    actions = number(head, "action_count")
    check("a transaction has no actions, or too many", 1 <= actions <= 1000)
    layout = b"".join((sized(head, "ledger_id"), sized(head, "author"),
                       struct.pack(">QQ", number(head, "valid_until_ms"), actions), sized(head, "actions_root")))
    domain = b"consilium/txid/v2"
    of_leaf = (sha256(bytes([len(domain)]), domain, sha256(layout)), sha256(signature))
    check("what the author signed is not what the leaf commits to",
          of_leaf == (sized(leaf, "transaction_id"), sized(leaf, "signature_sha256")))


def root_from_path(leaf, index, size, path):
    """RFC 9162, 2.1.3.2."""
    node, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            leaf = sha256(b"\x01", sibling, leaf)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            leaf = sha256(b"\x01", leaf, sibling)
        node, last = node >> 1, last >> 1
    return leaf if last == 0 else None


def cbor_uint(n):
    if n < 24:
        return bytes([n])
    size = next(size for size in (1, 2, 4, 8) if n < 1 << 8 * size)
    return bytes([0x17 + size.bit_length()]) + n.to_bytes(size, "big")


def key_id(key):
    """RFC 9679 thumbprint of a P-256 key."""
    return sha256(bytes.fromhex("a401022001215820"), key[1:33], bytes.fromhex("225820"), key[33:])


def vote_input(header, key):
    """COSE Sig_structure; see "Votes, certificates, receipts"."""
    protected = bytes.fromhex("a70126045820") + key_id(key) + bytes.fromhex("19018b01")
    protected += bytes.fromhex("3a000111705820") + header_hash(header)
    protected += bytes.fromhex("3a00011171") + cbor_uint(number(header, "height"))
    protected += bytes.fromhex("3a000111725820") + header["ledger_id"] + bytes.fromhex("3a0001117300")
    return b"\x84\x6aSignature1\x58" + bytes([len(protected)]) + protected + b"\x40\x58\x20" + header["tree_root"]


def public_key(point):
    check("a vote key is not an uncompressed point", len(point) == 65 and point[0] == 4)
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise NotVerified("a vote key is not on the curve") from None


def signed(key, signature, message):
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        public_key(key).verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


class Validators:
    """Who certifies: power and key by raft id, and the quorum."""

    def __init__(self, seats, numerator, denominator):
        check("a set has no validators, or too many", 0 < len(seats) <= VALIDATORS_MAX)
        check("a validator stands twice in a set", len({i for i, _, _ in seats}) == len(seats))
        check("a power is out of range", all(0 < power <= POWER_MAX for _, power, _ in seats))
        check("a quorum is out of range", 0 < denominator <= 1000 and 2 * denominator <= 3 * numerator
              and numerator < denominator)
        for _, _, key in seats:
            public_key(key)
        self.power = {i: power for i, power, _ in seats}
        self.key = {i: key for i, _, key in seats}
        self.quorum = (numerator, denominator)

    def hash(self):
        layout = struct.pack(">II", *self.quorum)
        for i in sorted(self.power):
            layout += struct.pack(">QQ", i, self.power[i]) + b"\x02" + self.key[i]
        return sha256(b"consilium/validators/v1", layout)

    def verify(self, certified, ledger):
        """Power that signed a header, and all of it."""
        header, certificate, (numerator, denominator) = part(certified, "header"), part(certified, "certificate"), self.quorum
        height, found = number(header, "height"), header_hash(header)
        check("a header is of another ledger", header["ledger_id"] == ledger)
        check(f"header {height} is of other validators", header["validators_hash"] == self.hash())
        check("a certificate is over another header",
              sized(certificate, "header_hash") == found and number(certificate, "height") == height)
        signatures = [(number(s, "validator"), sized(s, "signature", 64)) for s in certificate.get("signatures", [])]
        check("signatures are not in order", 0 < len(signatures) <= VALIDATORS_MAX
              and all(a < b for (a, _), (b, _) in zip(signatures, signatures[1:])))
        for i, signature in signatures:
            check(f"node {i} signed without a seat", i in self.key)
            check(f"the signature of node {i} is wrong", signed(self.key[i], signature, vote_input(header, self.key[i])))
        total, enough = sum(self.power.values()), sum(self.power[i] for i, _ in signatures)
        check(f"too little power signed header {height}", enough * denominator > total * numerator)
        return enough, total


def founders(genesis):
    nodes = []
    for member in genesis.get("members", []):
        of_member = member.get("nodes", [])
        for node in of_member:
            nodes.append((number(node, "raft_id"), number(member, "stake") // len(of_member), node.get("vote_key", b"")))
    parameters = part(genesis, "parameters")
    return Validators(nodes, number(parameters, "quorum_numerator"), number(parameters, "quorum_denominator"))


def follow(validators, changes, ledger):
    """From the founders through all elections to the last set, and the height above
    which that certifies."""
    above = 0
    for change in changes:
        boundary, after = part(change, "boundary"), part(change, "next")
        header = part(boundary, "header")
        check("the changes of the validators are out of order", number(header, "height") > above)
        validators.verify(boundary, ledger)
        seats = [(number(s, "validator"), number(s, "power"), s.get("vote_key", b"")) for s in after.get("seats", [])]
        validators = Validators(seats, number(after, "quorum_numerator"), number(after, "quorum_denominator"))
        above = number(header, "height")
        check("a header commits to other validators", header["next_validators_hash"] == validators.hash())
    return validators, above


def verify(founding, ledger, data):
    """Says what a receipt proves."""
    receipt = decode(RECEIPT, data)
    check("the receipt is of another ledger", sized(receipt, "ledger_id") == ledger)
    leaf, header = part(receipt, "leaf"), part(part(receipt, "head"), "header")
    height, size, index = number(header, "height"), number(header, "tree_size"), number(receipt, "leaf_index")
    check("the outcome is unknown", number(leaf, "outcome") != 0)
    check("the leaf is above the head", number(leaf, "height") <= height)
    check("the index is outside the tree", index < size)
    path = receipt.get("inclusion_path", [])
    check("the path is malformed", len(path) <= PATH_MAX and all(len(sibling) == 32 for sibling in path))
    check_signed(receipt)
    root = root_from_path(leaf_hash(receipt), index, size, path)
    check("the leaf is not in the tree", root == sized(header, "tree_root"))

    changes = receipt.get("set_changes", [])
    validators, above = follow(founding, changes, ledger)
    check(f"header {height} is of before the set that signed it", height > above)
    enough, total = validators.verify(receipt["head"], ledger)
    return (f"verified: transaction {leaf['transaction_id'].hex()} is at height {number(leaf, 'height')} of ledger "
            f"{ledger.hex()}, outcome {number(leaf, 'outcome')}, signed by {enough} of {total} voting power after "
            f"{len(changes)} changes of the validators")


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
    if len(arguments) < 2:
        print("NOT VERIFIED: usage: verify_receipt.py genesis.pb RECEIPT_OR_FOLDER...")
        return 1
    sys.stdout.reconfigure(errors="backslashreplace")
    trusted = {}

    def load():
        body = decode(DOCUMENT, read(arguments[0])).get("body", b"")
        domain = b"consilium/genesis/v1"
        trusted["ledger"] = sha256(bytes([len(domain)]), domain, sha256(body))
        trusted["founders"] = founders(decode(GENESIS, body))

    why, good = outcome_of(load)
    if not good:
        print(f"{arguments[0]}: {why}")
        return 1
    for file in [file for argument in arguments[1:] for file in files_of(argument)]:
        line, verified = outcome_of(lambda: verify(trusted["founders"], trusted["ledger"], read(file)))
        good = good and verified
        print(f"{file}: {line}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
