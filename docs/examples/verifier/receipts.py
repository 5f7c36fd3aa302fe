"""Receipts: that a transaction is on the ledger."""
import struct

from .messages import RECEIPT
from .trees import domain, root_of, sha256
from .validators import follow
from .wire import check, decode, number, part, sized


def leaf_hash(receipt):
    """RFC 9162 leaf hash of what the ledger says of a transaction."""
    leaf = part(receipt, "leaf")
    entry = sized(leaf, "transaction_id") + struct.pack(">QI", number(leaf, "height"), number(leaf, "outcome"))
    return sha256(b"\x00", entry, sized(leaf, "signature_sha256"))


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


def check_receipt(founding, ledger, receipt):
    """What a receipt proves, in words, and all sets of validators up to the one that certified its head."""
    check("the receipt is of another ledger", sized(receipt, "ledger_id") == ledger)
    leaf, header = part(receipt, "leaf"), part(part(receipt, "head"), "header")
    height, size, index = number(header, "height"), number(header, "tree_size"), number(receipt, "leaf_index")
    check("the outcome is unknown", number(leaf, "outcome") != 0)
    check("the leaf is above the head", number(leaf, "height") <= height)
    check_signed(receipt)
    root = root_of(leaf_hash(receipt), index, size, receipt.get("inclusion_path", []))
    check("the leaf is not in the tree", root == sized(header, "tree_root"))

    changes = receipt.get("set_changes", [])
    sets = follow(founding, changes, ledger)
    above, validators = sets[-1]
    check(f"header {height} is of before the set that signed it", height > above)
    enough, total = validators.verify(receipt["head"], ledger)
    text = (f"transaction {leaf['transaction_id'].hex()} is at height {number(leaf, 'height')} of ledger "
            f"{ledger.hex()}, outcome {number(leaf, 'outcome')}, signed by {enough} of {total} voting power after "
            f"{len(changes)} changes of the validators")
    return text, sets


def verify(founding, ledger, data):
    """Says what a receipt proves."""
    text, _ = check_receipt(founding, ledger, decode(RECEIPT, data))
    return f"verified: {text}"
