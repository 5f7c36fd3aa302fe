#!/usr/bin/env python3
"""Verifies a receipt against a genesis document, with nothing of this project
but its .proto files. A second implementation of docs/formats.md.

    pip install cryptography protobuf
    protoc -I proto --python_out=. proto/consilium/v1/*.proto
    PYTHONPATH=. python3 docs/examples/verify_receipt.py genesis.pb receipt.pb
"""
import hashlib
import struct
import sys

from consilium.v1 import block_pb2, genesis_pb2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def signing_input(domain, digest):
    return bytes([len(domain)]) + domain + digest


def header_hash(h):
    layout = b"".join([
        h.ledger_id, struct.pack(">Q", h.height), h.previous_hash,
        struct.pack(">QQQ", h.time_ms, h.epoch, h.tree_size), h.tree_root, h.state_root,
        h.validators_hash, h.next_validators_hash, struct.pack(">Q", h.proposer),
    ])
    return sha256(b"consilium/header/v1", layout)


def root_from_path(leaf, index, size, path):
    """RFC 9162, 2.1.3.2."""
    node, last = index, size - 1
    for sibling in path:
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


def vote_input(header):
    """COSE Sig_structure; see "Votes, certificates, receipts"."""
    protected = bytes.fromhex("a5012619018b01" "3a000111705820") + header_hash(header)
    protected += bytes.fromhex("3a00011171") + cbor_uint(header.height)
    protected += bytes.fromhex("3a000111725820") + header.ledger_id
    return b"\x84\x6aSignature1\x58" + bytes([len(protected)]) + protected + b"\x40\x58\x20" + header.tree_root


def signed(key, signature, message):
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def check(what, true):
    if not true:
        sys.exit(f"NOT VERIFIED: {what}")


class Validators:
    """Who certifies: power and key by raft id, and the quorum."""

    def __init__(self, seats, numerator, denominator):
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
        header, certificate, (numerator, denominator) = certified.header, certified.certificate, self.quorum
        check("a header is of another ledger", header.ledger_id == ledger)
        check(f"header {header.height} is of other validators", header.validators_hash == self.hash())
        check("a certificate is over another header", certificate.header_hash == header_hash(header))
        message = vote_input(header)
        signers = {s.validator for s in certificate.signatures
                   if s.validator in self.key and signed(self.key[s.validator], s.signature, message)}
        total, enough = sum(self.power.values()), sum(self.power[i] for i in signers)
        check(f"too little power signed header {header.height}", enough * denominator > total * numerator)
        return enough, total


def founders(genesis):
    nodes = [(n.raft_id, m.stake // len(m.nodes), n.vote_key) for m in genesis.members for n in m.nodes]
    return Validators(nodes, genesis.parameters.quorum_numerator, genesis.parameters.quorum_denominator)


def follow(validators, changes, ledger):
    """From the founders through all elections to those who certified the head."""
    height = 0
    for change in changes:
        header, n = change.boundary.header, change.next
        check("the changes of the validators are out of order", header.height > height)
        validators.verify(change.boundary, ledger)
        seats = [(s.validator, s.power, s.vote_key) for s in n.seats]
        check("a validator stands twice in a set", len({i for i, _, _ in seats}) == len(seats))
        validators, height = Validators(seats, n.quorum_numerator, n.quorum_denominator), header.height
        check("a header commits to other validators", header.next_validators_hash == validators.hash())
    return validators


def main(genesis_file, receipt_file):
    document, genesis, receipt = genesis_pb2.GenesisDocument(), genesis_pb2.Genesis(), block_pb2.Receipt()
    document.ParseFromString(open(genesis_file, "rb").read())
    genesis.ParseFromString(document.body)
    receipt.ParseFromString(open(receipt_file, "rb").read())
    ledger = sha256(signing_input(b"consilium/genesis/v1", sha256(document.body)))
    header, leaf = receipt.head.header, receipt.leaf

    check("the receipt is of another ledger", receipt.ledger_id == ledger)
    check("the leaf is above the head", leaf.height <= header.height)
    check("the index is outside the tree", receipt.leaf_index < header.tree_size)
    entry = leaf.transaction_id + struct.pack(">QI", leaf.height, leaf.outcome)
    root = root_from_path(sha256(b"\x00", entry), receipt.leaf_index, header.tree_size, receipt.inclusion_path)
    check("the leaf is not in the tree", root == header.tree_root)

    validators = follow(founders(genesis), receipt.set_changes, ledger)
    enough, total = validators.verify(receipt.head, ledger)
    print(f"verified: transaction {leaf.transaction_id.hex()} is at height {leaf.height} of ledger {ledger.hex()}")
    print(f"outcome {leaf.outcome}, signed by {enough} of {total} voting power, "
          f"after {len(receipt.set_changes)} changes of the validators")


if __name__ == "__main__":
    main(*sys.argv[1:])
