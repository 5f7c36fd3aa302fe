#!/usr/bin/env python3
"""Verifies receipts against a genesis document, with nothing of this project. A
second implementation of docs/formats.md; field numbers are those of the .proto files.

    pip install cryptography
    python3 docs/examples/verify_receipt.py genesis.pb RECEIPT_OR_FOLDER...
    python3 docs/examples/verify_receipt.py --decision genesis.pb RECEIPT_OR_FOLDER...
    python3 docs/examples/verify_receipt.py --access-log genesis.pb FILE_OR_FOLDER...

The second form is for receipts of decisions, the third for whole lists of who has asked to read a
patient's records (`consilium access log --proof`). Prints one line for each receipt. Ends with 0 if all of them verify, else with 1.
"""
import hashlib
import os
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
except ImportError:
    sys.exit("NOT VERIFIED: the module cryptography is missing: pip install cryptography")

VALIDATORS_MAX, POWER_MAX, PATH_MAX, FOLLOWING_MAX = 128, 1 << 48, 64, 4096
APPLIED = 1
DISCLOSURE = 5  # as an AccessKind
YEAR_MS = 366 * 24 * 60 * 60 * 1000  # for which an entry may be sealed at most
UNIT_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"


class NotVerified(Exception):
    """Why something proves nothing."""


def check(what, true):
    if not true:
        raise NotVerified(what)


# Messages: what a field number means. A dict is a message, a list is repeated.
U64, U32, I32, BYTES, TEXT = "u64", "u32", "i32", "bytes", "text"
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
HEADER_PROOF = {1: ("header", HEADER), 2: ("following", [HEADER]), 3: ("certificate", CERTIFICATE)}
ROW = {1: ("key", BYTES), 2: ("value", BYTES), 3: ("proof", BYTES)}
ACTION_PROOF = {1: ("index", U64), 2: ("action", BYTES), 3: ("salt", BYTES), 4: ("path", [BYTES])}
DECIDED = {1: ("event", BYTES), 2: ("path", [BYTES]), 3: ("log", ROW), 4: ("header", HEADER_PROOF),
           5: ("request", ACTION_PROOF), 6: ("signer", ROW), 7: ("policy", ROW)}
DECISION_RECEIPT = {1: ("receipt", RECEIPT), 2: ("decision", DECIDED)}
VERSION = {1: ("record_id", BYTES), 2: ("version", U32)}
DECISION = {1: ("ground", I32), 2: ("consent_id", BYTES), 3: ("consent_version", U32), 4: ("records", [VERSION])}
TERMS = {1: ("disclosure_id", BYTES), 2: ("basis", U32), 3: ("order_sha256", BYTES), 4: ("recipient", U32),
         5: ("recipient_sha256", BYTES), 6: ("confirmed_by", TEXT)}
SEAL = {1: ("until_ms", U64), 2: ("basis", I32), 3: ("salt", BYTES), 4: ("basis_sha256", BYTES)}
LEGAL = {1: ("disclosure", TERMS), 2: ("seal", SEAL)}
EVENT = {1: ("sequence", U64), 2: ("transaction_id", BYTES), 3: ("reader", TEXT), 4: ("patient", BYTES),
         5: ("purpose", I32), 6: ("kind", I32), 7: ("decisions", [DECISION]), 8: ("query_sha256", BYTES),
         9: ("emergency_id", BYTES), 10: ("acting_sha256", BYTES), 11: ("project", BYTES),
         12: ("policy_version", U32), 13: ("time_ms", U64), 14: ("height", U64), 15: ("late_ms", U64),
         16: ("legal", LEGAL), 18: ("unit", TEXT)}
REQUEST = {1: ("patient", BYTES), 2: ("purpose", I32), 3: ("kind", I32), 4: ("records", [VERSION]),
           5: ("query_sha256", BYTES), 6: ("emergency_id", BYTES), 7: ("acting_sha256", BYTES), 8: ("project", BYTES),
           9: ("late_ms", U64), 10: ("sealed_by", {1: ("disclosure_id", BYTES), 2: ("salt", BYTES)})}
ACTION = {60: ("request_access", REQUEST), 71: ("confirm_disclosure", {1: ("disclosure_id", BYTES)})}
LOG = {1: ("count", U64), 2: ("root", BYTES)}
SIGNER = {1: ("spiffe_id", TEXT), 2: ("signing_key", BYTES)}
SEALED = {1: ("sequence", U64), 2: ("leaf_hash", BYTES), 3: ("until_ms", U64)}
SHOWN_LOG = {1: ("events", [BYTES]), 2: ("log", ROW), 3: ("consistency_path", [BYTES]), 4: ("header", HEADER_PROOF),
             5: ("sealed", [SEALED])}
LIST_PROOF = {3: ("format", U32), 4: ("set_changes", [CHANGE]),
              5: ("access_log", {1: ("patient", BYTES), 2: ("log", SHOWN_LOG)}), 6: ("record_lists", BYTES)}
POLICY = {1: ("version", U32), 2: ("text", TEXT)}
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


def utf8(name, data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotVerified(f"{name} is not UTF-8") from None


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
            has_length = isinstance(kind, dict) or kind in (BYTES, TEXT)
            check(f"{name} is of another type", wire == (2 if has_length else 0))
            if isinstance(kind, dict):
                value = decode(kind, data[begin:end], None if repeated else message.get(name))
            elif kind == TEXT:
                value = utf8(name, data[begin:end])
            else:
                value = data[begin:end] if kind == BYTES else varint(data, at)[0]
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


def domain(name):
    return bytes([len(name)]) + name


def head_hash(head):
    """Hash of the layout of what an author signs."""
    actions = number(head, "action_count")
    check("a transaction has no actions, or too many", 1 <= actions <= 1000)
    return sha256(sized(head, "ledger_id"), sized(head, "author"),
                  struct.pack(">QQ", number(head, "valid_until_ms"), actions), sized(head, "actions_root"))


def check_signed(receipt):
    """What the author signed, where the receipt shows it, is what the leaf commits to."""
    if "signed" not in receipt:
        return
    leaf, signed = part(receipt, "leaf"), part(receipt, "signed")
    head, signature = part(signed, "head"), signed.get("signature", b"")
    check("a signature is too short or too long", len(signature) == 64)
    of_leaf = (sha256(domain(b"consilium/txid/v2"), head_hash(head)), sha256(signature))
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


def root_of(leaf, index, size, path):
    """The root to which a path leads, or None."""
    check("the index is outside the tree", index < size)
    check("the path is malformed", len(path) <= PATH_MAX and all(len(sibling) == 32 for sibling in path))
    return root_from_path(leaf, index, size, path)


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


def check_receipt(founding, ledger, receipt):
    """What a receipt proves, in words, and the validators that certified its head."""
    check("the receipt is of another ledger", sized(receipt, "ledger_id") == ledger)
    leaf, header = part(receipt, "leaf"), part(part(receipt, "head"), "header")
    height, size, index = number(header, "height"), number(header, "tree_size"), number(receipt, "leaf_index")
    check("the outcome is unknown", number(leaf, "outcome") != 0)
    check("the leaf is above the head", number(leaf, "height") <= height)
    check_signed(receipt)
    root = root_of(leaf_hash(receipt), index, size, receipt.get("inclusion_path", []))
    check("the leaf is not in the tree", root == sized(header, "tree_root"))

    changes = receipt.get("set_changes", [])
    validators, above = follow(founding, changes, ledger)
    check(f"header {height} is of before the set that signed it", height > above)
    enough, total = validators.verify(receipt["head"], ledger)
    text = (f"transaction {leaf['transaction_id'].hex()} is at height {number(leaf, 'height')} of ledger "
            f"{ledger.hex()}, outcome {number(leaf, 'outcome')}, signed by {enough} of {total} voting power after "
            f"{len(changes)} changes of the validators")
    return text, validators, above


def verify(founding, ledger, data):
    """Says what a receipt proves."""
    text, _, _ = check_receipt(founding, ledger, decode(RECEIPT, data))
    return f"verified: {text}"


def follows(header, before):
    return (number(header, "height") == number(before, "height") + 1
            and sized(header, "previous_hash") == header_hash(before)
            and number(header, "time_ms") >= number(before, "time_ms")
            and sized(header, "ledger_id") == sized(before, "ledger_id")
            and sized(header, "validators_hash") == sized(before, "next_validators_hash"))


def final_header(proof, validators, above, ledger):
    """A header that is final because a certified one follows it."""
    first, following = part(proof, "header"), proof.get("following", [])
    check("there are too many headers", len(following) <= FOLLOWING_MAX)
    last = first
    for header in following:
        check("a header does not follow the one before", follows(header, last))
        last = header
    check("a header is of before the set that signed it", number(last, "height") > above)
    validators.verify({"header": last, "certificate": part(proof, "certificate")}, ledger)
    return first


def state_proof(data):
    """Where the path of a key ends (0 empty, 1 present, 2 another leaf, which comes with it), and
    the siblings from the root downwards. See "Authenticated state"."""
    check("a state proof ends too early", len(data) >= 4)
    terminal, count = data[1], int.from_bytes(data[2:4], "big")
    check("a state proof has another version, end or length", data[0] == 1 and terminal <= 2 and count <= 256)
    size = (count + 7) // 8
    at, bitmap = 4 + size, int.from_bytes(data[4:4 + size], "big")
    check("a state proof has spare bits", bitmap % (1 << 8 * size - count) == 0)
    other = (data[at:at + 32], data[at + 32:at + 64])
    at += 64 if terminal == 2 else 0
    siblings = []
    for i in range(count):
        sibling = bytes(32)
        if bitmap >> (8 * size - 1 - i) & 1:
            sibling, at = data[at:at + 32], at + 32
            check("a sibling is empty but written out", sibling != bytes(32))
        siblings.append(sibling)
    check("a state proof has another length", at == len(data))
    return terminal, other, siblings


def bit(place, depth):
    return place[depth // 8] >> 7 - depth % 8 & 1


def row(answer, name, key, state_root, kinds):
    """The message that the state holds under a key; None if it is proven to hold nothing."""
    shown = part(answer, name)
    check(f"{name} is another row", shown.get("key", b"") == key)
    value, place = shown.get("value", b""), sha256(key)
    terminal, other, siblings = state_proof(shown.get("proof", b""))
    if value or terminal == 1:
        check(f"{name} is proven to be absent", terminal == 1)
        node = sha256(b"\x00consilium/state/leaf/v1", place, sha256(value))
    elif terminal == 0:
        node = bytes(32)
    else:
        shared = all(bit(place, depth) == bit(other[0], depth) for depth in range(len(siblings)))
        check(f"{name}: the other leaf is not on the path", shared and other[0] != place)
        node = sha256(b"\x00consilium/state/leaf/v1", *other)
    for depth in reversed(range(len(siblings))):
        pair = (siblings[depth], node) if bit(place, depth) else (node, siblings[depth])
        node = sha256(b"\x01consilium/state/node/v1", *pair)
    check(f"{name} is not in the state", node == state_root)
    return decode(kinds, value) if value or terminal == 1 else None


def requested(message, records, seal):
    """What a request and its event both say."""
    fields = ("patient", "query_sha256", "emergency_id", "acting_sha256", "project")
    return ([message.get(field, b"") for field in fields],
            [number(message, field) for field in ("purpose", "kind", "late_ms")],
            sorted(record.get("record_id", b"") for record in records),
            None if seal is None else seal.get("salt", b""))


def disclosure_of(event):
    """What an event says of a disclosure; None if it is of none."""
    terms = event.get("legal", {}).get("disclosure")
    check("the event is of a disclosure and says nothing of it, or the other way round",
          (terms is not None) == (number(event, "kind") == DISCLOSURE))
    if terms is not None:
        sized(terms, "disclosure_id", 16)
    return terms


def check_request(head, answer, event):
    """The event says what the author has signed. Of a disclosure the author has confirmed that one;
    what was disclosed, and by whom, is the log's word."""
    shown = part(answer, "request")
    encoded = shown.get("action", b"")
    leaf = sha256(b"\x00", sized(shown, "salt"), encoded)
    root = root_of(leaf, number(shown, "index"), number(head, "action_count"), shown.get("path", []))
    check("the action is not in the transaction", root == sized(head, "actions_root"))
    action = decode(ACTION, encoded)
    check("the action that is shown is no request for access", len(action) == 1)
    if "confirm_disclosure" in action:
        terms = disclosure_of(event)
        same = terms is not None and terms["disclosure_id"] == action["confirm_disclosure"].get("disclosure_id", b"")
    else:
        request = part(action, "request_access")
        decided = [record for decision in event.get("decisions", []) for record in decision.get("records", [])]
        same = (requested(request, request.get("records", []), request.get("sealed_by"))
                == requested(event, decided, event.get("legal", {}).get("seal")))
    check("the event says something else than the request", same)


def check_author(signed_head, signer, event):
    """The reader that the event names has signed the request; of a disclosure, who confirmed it."""
    check("the author of the request is not enrolled", signer is not None)
    terms = disclosure_of(event)
    named = event.get("reader", "") if terms is None else terms.get("confirmed_by", "")
    check("the event names another reader than the author", signer.get("spiffe_id", "") == named)
    key, message = signer.get("signing_key", b""), domain(b"consilium/tx/v2") + head_hash(part(signed_head, "head"))
    signature = sized(signed_head, "signature", 64)
    if key[:1] == b"\x02":
        check("the request is not signed", signed(key[1:], signature, message))
    else:
        check("a signing key is unknown", key[:1] == b"\x01" and len(key) == 33)
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature, message)
        except InvalidSignature:
            raise NotVerified("the request is not signed") from None


def unit_of(event):
    """The unit of the reader, a code; empty if none."""
    unit = event.get("unit", "")
    check("the unit is no code", len(unit) <= 32 and not unit.strip(UNIT_LETTERS))
    return unit


def verify_decision(founding, ledger, data):
    """Says what a receipt of a decision proves."""
    message = decode(DECISION_RECEIPT, data)
    receipt, answer = part(message, "receipt"), part(message, "decision")
    _, validators, above = check_receipt(founding, ledger, receipt)
    leaf, signed_head = receipt["leaf"], part(receipt, "signed")
    state_root = sized(final_header(part(answer, "header"), validators, above, ledger), "state_root")

    encoded = answer.get("event", b"")
    event = decode(EVENT, encoded)
    check("the event is of another request", sized(event, "transaction_id") == leaf["transaction_id"])
    check("the event is not of the block in which the request took effect",
          number(leaf, "outcome") == APPLIED and number(leaf, "height") == number(event, "height"))
    reader = event.get("reader", "").split("/")
    check("the reader is no SPIFFE id", len(reader) == 5 and reader[:2] == ["spiffe:", ""])
    unit = unit_of(event)
    of_member = b"\x2c" + reader[2].encode()
    unmatched = part(answer, "log").get("key", b"") == of_member
    key = of_member if unmatched else b"\x23" + sized(event, "patient", 16)
    log = row(answer, "log", key, state_root, LOG) or {}
    root = root_of(sha256(b"\x00", encoded), number(event, "sequence"), number(log, "count"), answer.get("path", []))
    check("the event is not in the log", root == sized(log, "root"))

    head, version = part(signed_head, "head"), number(event, "policy_version")
    check_request(head, answer, event)
    check_author(signed_head, row(answer, "signer", b"\x03" + sized(head, "author"), state_root, SIGNER), event)
    policy = row(answer, "policy", b"\x11" + struct.pack(">I", version), state_root, POLICY)
    shown = policy is not None and number(policy, "version") == version
    check("the access policy is not shown", shown == (version > 0))
    text_hash = sha256(policy.get("text", "").encode()).hex() if policy is not None else "of the rules"
    grounds = ", ".join(f"ground {number(d, 'ground')} for {len(d.get('records', []))} records"
                        + (f" by consent {d['consent_id'].hex()} version {number(d, 'consent_version')}"
                           if d.get("consent_id") else "") for d in event.get("decisions", []))
    terms, seal = disclosure_of(event), event.get("legal", {}).get("seal")
    did = "asked for" if terms is None else (
        f"disclosed to an authority (recipient {number(terms, 'recipient')}, basis {number(terms, 'basis')}; "
        f"disclosure {terms['disclosure_id'].hex()}, confirmed by {terms.get('confirmed_by', '')}), of")
    sealed = "" if seal is None else f"; sealed until {number(seal, 'until_ms')} ms"
    of_unit = f" (unit {unit})" if unit else ""
    return (f"verified: {event['reader']}{of_unit} {did} patient {event['patient'].hex()}, purpose {number(event, 'purpose')}, "
            f"at height {number(event, 'height')}: {grounds}; number {number(event, 'sequence')} of the "
            f"{'member' if unmatched else 'patient'}'s log; policy {version}, {text_hash}{sealed}")


def tree_root(leaves):
    """RFC 9162, 2.1.1: perfect subtrees, the largest first, joined from the right."""
    subtrees = []
    for place, leaf in enumerate(leaves):
        while place & 1:
            place, leaf = place >> 1, sha256(b"\x01", subtrees.pop(), leaf)
        subtrees.append(leaf)
    root = subtrees.pop() if subtrees else sha256()
    while subtrees:
        root = sha256(b"\x01", subtrees.pop(), root)
    return root


def entries_of(shown, patient, now):
    """The leaves of a list in order; of what is sealed the file has nothing else."""
    sealed, events = list(shown.get("sealed", [])), list(shown.get("events", []))
    leaves, longest = [], 0
    for entry in sealed:
        sized(entry, "leaf_hash")
    sealed.reverse()
    events.reverse()
    while True:
        place = len(leaves)
        if sealed and number(sealed[-1], "sequence") == place:
            entry = sealed.pop()
            until = number(entry, "until_ms")
            check(f"entry {place} cannot be sealed so long, or is not any more", now < until <= now + YEAR_MS)
            longest = max(longest, until)
            leaves.append(entry["leaf_hash"])
        elif events:
            encoded = events.pop()
            event = decode(EVENT, encoded)
            check(f"entry {place} says that it is another", number(event, "sequence") == place)
            check(f"entry {place} is of another patient", sized(event, "patient", 16) == patient)
            unit_of(event)
            check("an entry before this one is sealed too long", longest <= number(event, "time_ms") + YEAR_MS)
            leaves.append(sha256(b"\x00", encoded))
        else:
            check("a sealed entry has no place", not sealed)
            return leaves


def verify_access_log(founding, ledger, data):
    """Says what a file proves of who has asked to read a patient's records."""
    file = decode(LIST_PROOF, data)
    check("the file is no list, or of a newer format", number(file, "format") == 1)
    check("the file is of something else, too", "record_lists" not in file)
    of = part(file, "access_log")
    patient, shown = sized(of, "patient", 16), part(of, "log")
    changes = file.get("set_changes", [])
    validators, above = follow(founding, changes, ledger)
    header = final_header(part(shown, "header"), validators, above, ledger)
    log = row(shown, "log", b"\x23" + patient, sized(header, "state_root"), LOG)
    count, root = (0, sha256()) if log is None else (number(log, "count"), sized(log, "root"))
    leaves = entries_of(shown, patient, number(header, "time_ms"))
    check(f"the list has {count} entries, and {len(leaves)} are shown", len(leaves) == count)
    check("an entry was changed, left out or put in", tree_root(leaves) == root)
    return (f"verified: the list of accesses to the records of patient {patient.hex()} has {count} entries, "
            f"{len(shown.get('sealed', []))} of them withheld (lawfully, by the word of whoever made the file), and is whole up to block {number(header, 'height')} at "
            f"{number(header, 'time_ms')} ms of ledger {ledger.hex()}")


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
    judges = {"--decision": verify_decision, "--access-log": verify_access_log}
    judge = judges.get(arguments[0], verify) if arguments else verify
    arguments = arguments if judge is verify else arguments[1:]
    if len(arguments) < 2:
        print("NOT VERIFIED: usage: verify_receipt.py [--decision | --access-log] genesis.pb FILE_OR_FOLDER...")
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
