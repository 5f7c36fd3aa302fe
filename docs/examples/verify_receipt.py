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


def vote_input(header, root):
    """COSE Sig_structure; see "Votes, certificates, receipts"."""
    protected = bytes.fromhex("a3012619018b013a000111705820") + header
    return b"\x84\x6aSignature1\x58\x2e" + protected + b"\x40\x58\x20" + root


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


def main(genesis_file, receipt_file):
    document, genesis, receipt = genesis_pb2.GenesisDocument(), genesis_pb2.Genesis(), block_pb2.Receipt()
    document.ParseFromString(open(genesis_file, "rb").read())
    genesis.ParseFromString(document.body)
    receipt.ParseFromString(open(receipt_file, "rb").read())
    ledger = sha256(signing_input(b"consilium/genesis/v1", sha256(document.body)))
    header, certificate, leaf = receipt.head.header, receipt.head.certificate, receipt.leaf

    check("the receipt is of another ledger", receipt.ledger_id == header.ledger_id == ledger)
    check("the leaf is above the head", leaf.height <= header.height)
    check("the index is outside the tree", receipt.leaf_index < header.tree_size)
    entry = leaf.transaction_id + struct.pack(">QI", leaf.height, leaf.outcome)
    root = root_from_path(sha256(b"\x00", entry), receipt.leaf_index, header.tree_size, receipt.inclusion_path)
    check("the leaf is not in the tree", root == header.tree_root)

    power = {n.raft_id: m.stake // len(m.nodes) for m in genesis.members for n in m.nodes}
    key = {n.raft_id: n.vote_key for m in genesis.members for n in m.nodes}
    quorum = genesis.parameters
    validators = struct.pack(">II", quorum.quorum_numerator, quorum.quorum_denominator)
    for i in sorted(power):
        validators += struct.pack(">QQ", i, power[i]) + b"\x02" + key[i]
    check("the head is of other validators", header.validators_hash == sha256(b"consilium/validators/v1", validators))
    check("the certificate is over another head", certificate.header_hash == header_hash(header))
    message = vote_input(certificate.header_hash, header.tree_root)
    signers = {s.validator for s in certificate.signatures
               if s.validator in key and signed(key[s.validator], s.signature, message)}
    total, enough = sum(power.values()), sum(power[i] for i in signers)
    check("too little voting power signed", enough * quorum.quorum_denominator > total * quorum.quorum_numerator)
    print(f"verified: transaction {leaf.transaction_id.hex()} is at height {leaf.height} of ledger {ledger.hex()}")
    print(f"outcome {leaf.outcome}, signed by {enough} of {total} voting power")


if __name__ == "__main__":
    main(*sys.argv[1:])
