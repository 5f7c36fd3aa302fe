"""Validators, and the headers that they make final."""
import struct

from .keys import key_id, public_key, signed
from .trees import sha256
from .wire import check, number, part, sized

VALIDATORS_MAX, POWER_MAX, FOLLOWING_MAX = 128, 1 << 48, 4096


def header_hash(h):
    return sha256(
        b"consilium/header/v1", sized(h, "ledger_id"), struct.pack(">Q", number(h, "height")),
        sized(h, "previous_hash"),
        struct.pack(">QQQ", number(h, "time_ms"), number(h, "epoch"), number(h, "tree_size")),
        sized(h, "tree_root"), sized(h, "state_root"), sized(h, "validators_hash"),
        sized(h, "next_validators_hash"), struct.pack(">Q", number(h, "proposer")), sized(h, "log_hash"))


def cbor_uint(n):
    if n < 24:
        return bytes([n])
    size = next(size for size in (1, 2, 4, 8) if n < 1 << 8 * size)
    return bytes([0x17 + size.bit_length()]) + n.to_bytes(size, "big")


def vote_input(header, key):
    """COSE Sig_structure; see "Votes, certificates, receipts"."""
    protected = bytes.fromhex("a70126045820") + key_id(key) + bytes.fromhex("19018b01")
    protected += bytes.fromhex("3a000111705820") + header_hash(header)
    protected += bytes.fromhex("3a00011171") + cbor_uint(number(header, "height"))
    protected += bytes.fromhex("3a000111725820") + header["ledger_id"] + bytes.fromhex("3a0001117300")
    return b"\x84\x6aSignature1\x58" + bytes([len(protected)]) + protected + b"\x40\x58\x20" + header["tree_root"]


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
        header, certificate = part(certified, "header"), part(certified, "certificate")
        numerator, denominator = self.quorum
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
            message = vote_input(header, self.key[i])
            check(f"the signature of node {i} is wrong", signed(self.key[i], signature, message))
        total, enough = sum(self.power.values()), sum(self.power[i] for i, _ in signatures)
        check(f"too little power signed header {height}", enough * denominator > total * numerator)
        return enough, total


def founders(genesis):
    nodes = []
    for member in genesis.get("members", []):
        of_member = member.get("nodes", [])
        for node in of_member:
            power = number(member, "stake") // len(of_member)
            nodes.append((number(node, "raft_id"), power, node.get("vote_key", b"")))
    parameters = part(genesis, "parameters")
    return Validators(nodes, number(parameters, "quorum_numerator"), number(parameters, "quorum_denominator"))


def follow(founding, changes, ledger):
    """From the founders through all elections: each set, with the height above which it certifies."""
    sets = [(0, founding)]
    for change in changes:
        above, validators = sets[-1]
        boundary, after = part(change, "boundary"), part(change, "next")
        header = part(boundary, "header")
        check("the changes of the validators are out of order", number(header, "height") > above)
        validators.verify(boundary, ledger)
        seats = [(number(s, "validator"), number(s, "power"), s.get("vote_key", b"")) for s in after.get("seats", [])]
        following = Validators(seats, number(after, "quorum_numerator"), number(after, "quorum_denominator"))
        check("a header commits to other validators", header["next_validators_hash"] == following.hash())
        sets.append((number(header, "height"), following))
    return sets


def set_at(sets, height):
    """A set that has ended certifies nothing above its end, nor a later one anything below its beginning."""
    return next((validators for above, validators in reversed(sets) if above < height), sets[0][1])


def follows(header, before):
    return (number(header, "height") == number(before, "height") + 1
            and sized(header, "previous_hash") == header_hash(before)
            and number(header, "time_ms") >= number(before, "time_ms")
            and sized(header, "ledger_id") == sized(before, "ledger_id")
            and sized(header, "validators_hash") == sized(before, "next_validators_hash"))


def final_header(proof, sets, ledger):
    """A header that is final because a certified one follows it, and the height of that one."""
    first, following = part(proof, "header"), proof.get("following", [])
    check("there are too many headers", len(following) <= FOLLOWING_MAX)
    last = first
    for header in following:
        check("a header does not follow the one before", follows(header, last))
        last = header
    height = number(last, "height")
    set_at(sets, height).verify({"header": last, "certificate": part(proof, "certificate")}, ledger)
    return first, height


def newest_header(proof, sets, ledger):
    """A header that is shown alone: it is the last set that has certified it."""
    header, height = final_header(proof, sets, ledger)
    check("a header is not above the last change of the validators", height > sets[-1][0])
    return header
