"""The messages that are read, with the field numbers of the .proto files."""
from .wire import BYTES, I32, TEXT, U32, U64

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
LIST_NAME = {1: ("kind", TEXT), 2: ("confidentiality", U32)}
LIST_NAMES = {1: ("lists", [LIST_NAME])}
LIST_ENTRY = {1: ("record_id", BYTES), 2: ("version", U32), 3: ("sequence", U64), 4: ("time_ms", U64)}
SHOWN_LIST = {1: ("list", ROW), 2: ("entries", [BYTES]), 3: ("consistency_path", [BYTES])}
SHOWN_LISTS = {1: ("record_lists", ROW), 2: ("lists", [SHOWN_LIST]), 3: ("header", HEADER_PROOF)}
LIST_PROOF = {3: ("format", U32), 4: ("set_changes", [CHANGE]),
              5: ("access_log", {1: ("patient", BYTES), 2: ("log", SHOWN_LOG)}),
              6: ("record_lists", {1: ("patient", BYTES), 2: ("kind", TEXT), 3: ("answers", [SHOWN_LISTS])})}
POLICY = {1: ("version", U32), 2: ("text", TEXT)}
NODE = {2: ("raft_id", U64), 5: ("vote_key", BYTES)}
MEMBER = {4: ("stake", U64), 5: ("nodes", [NODE])}
PARAMETERS = {4: ("quorum_numerator", U32), 5: ("quorum_denominator", U32)}
GENESIS = {4: ("parameters", PARAMETERS), 5: ("members", [MEMBER])}
DOCUMENT = {1: ("body", BYTES)}
