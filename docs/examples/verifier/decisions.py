"""Receipts of decisions: who asked for what, and what was decided."""
import struct

from .keys import signed, signed_by_ed25519
from .messages import ACTION, DECISION_RECEIPT, EVENT, LOG, POLICY, SIGNER
from .receipts import check_receipt, head_hash
from .trees import domain, root_of, row, sha256
from .validators import newest_header
from .wire import check, decode, number, part, sized

APPLIED = 1
DISCLOSURE = 5  # as an AccessKind
UNIT_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"


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
        check("the request is not signed", signed_by_ed25519(key[1:], signature, message))


def unit_of(event):
    """The unit of the reader, a code; empty if none."""
    unit = event.get("unit", "")
    check("the unit is no code", len(unit) <= 32 and not unit.strip(UNIT_LETTERS))
    return unit


def verify_decision(founding, ledger, data):
    """Says what a receipt of a decision proves."""
    message = decode(DECISION_RECEIPT, data)
    receipt, answer = part(message, "receipt"), part(message, "decision")
    _, sets = check_receipt(founding, ledger, receipt)
    leaf, signed_head = receipt["leaf"], part(receipt, "signed")
    state_root = sized(newest_header(part(answer, "header"), sets, ledger), "state_root")

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
    return (f"verified: {event['reader']}{of_unit} {did} patient {event['patient'].hex()}, "
            f"purpose {number(event, 'purpose')}, at height {number(event, 'height')}: {grounds}; "
            f"number {number(event, 'sequence')} of the {'member' if unmatched else 'patient'}'s log; "
            f"policy {version}, {text_hash}{sealed}")
