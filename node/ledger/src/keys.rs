//! Every key of every table. Numbers are big-endian, so that the order of
//! bytes is the order of values. Changing a key breaks stored state; changing
//! a key of [`Table::State`](crate::Table::State) breaks the state root.

use consilium_proto::hash::sha256;
use consilium_proto::ids::{
    Epoch, Fingerprint, Height, KeyId, NodeId, PatientPseudonym, RecordId, SearchTag, TransactionId,
};

const MEMBER: u8 = 0x01;
const NODE: u8 = 0x02;
const SIGNER: u8 = 0x03;
const ENCRYPTION_KEY: u8 = 0x04;
const IDENTITY: u8 = 0x05;
const RECORD: u8 = 0x06;
const CERTIFICATE: u8 = 0x08;
const PARAMETERS: u8 = 0x09;
const STAKE: u8 = 0x0a;
const PARTICIPATION: u8 = 0x0b;
const EPOCH: u8 = 0x0c;
const ROSTER: u8 = 0x0d;
const PENALTY: u8 = 0x0e;
const PROPOSAL: u8 = 0x0f;
const ACCESS_POLICY: u8 = 0x11;
const PROTOCOL: u8 = 0x12;
const STANDING: u8 = 0x13;
const VOTE_KEY: u8 = 0x14;

const INDEX_PATIENT: u8 = b'p';
const INDEX_MEMBER: u8 = b'm';
const INDEX_TAG: u8 = b't';

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    key.push(tag);
    parts.iter().for_each(|p| key.extend_from_slice(p));
    key
}

/// State: a member.
#[must_use]
pub fn member(id: &str) -> Vec<u8> {
    tagged(MEMBER, &[id.as_bytes()])
}

/// State: all members, as a prefix.
#[must_use]
pub fn members() -> Vec<u8> {
    vec![MEMBER]
}

/// State: a node.
#[must_use]
pub fn node(id: NodeId) -> Vec<u8> {
    tagged(NODE, &[&id.0.to_be_bytes()])
}

/// State: all nodes, as a prefix.
#[must_use]
pub fn nodes() -> Vec<u8> {
    vec![NODE]
}

/// State: an enrolled signer.
#[must_use]
pub fn signer(fingerprint: &Fingerprint) -> Vec<u8> {
    tagged(SIGNER, &[fingerprint.as_bytes()])
}

/// State: a recipient's key.
#[must_use]
pub fn encryption_key(id: &KeyId) -> Vec<u8> {
    tagged(ENCRYPTION_KEY, &[id.as_bytes()])
}

/// State: the newest enrolment of an identity.
#[must_use]
pub fn identity(spiffe_id: &str) -> Vec<u8> {
    tagged(IDENTITY, &[spiffe_id.as_bytes()])
}

/// State: a record.
#[must_use]
pub fn record(id: &RecordId) -> Vec<u8> {
    tagged(RECORD, &[&id.0])
}

/// Whether a key of the state is a record's.
#[must_use]
pub fn is_record(key: &[u8]) -> bool {
    key.first() == Some(&RECORD)
}

/// State: signers of a certificate.
#[must_use]
pub fn certificate(issuer_key_id: &[u8], serial: &[u8]) -> Vec<u8> {
    let length = u8::try_from(issuer_key_id.len()).unwrap_or(u8::MAX);
    tagged(CERTIFICATE, &[&[length], issuer_key_id, serial])
}

/// State: the parameters in force.
#[must_use]
pub fn parameters() -> Vec<u8> {
    vec![PARAMETERS]
}

/// State: how a member's stake is delegated.
#[must_use]
pub fn stake(member: &str) -> Vec<u8> {
    tagged(STAKE, &[member.as_bytes()])
}

/// State: who was seen in the current window and epoch.
#[must_use]
pub fn participation() -> Vec<u8> {
    vec![PARTICIPATION]
}

/// State: an election's outcome.
#[must_use]
pub fn epoch(epoch: Epoch) -> Vec<u8> {
    tagged(EPOCH, &[&epoch.0.to_be_bytes()])
}

/// State: all elections, as a prefix.
#[must_use]
pub fn epochs() -> Vec<u8> {
    vec![EPOCH]
}

/// State: which members, nodes and open proposals exist.
#[must_use]
pub fn roster() -> Vec<u8> {
    vec![ROSTER]
}

/// State: a penalty by its number.
#[must_use]
pub fn penalty(number: u64) -> Vec<u8> {
    tagged(PENALTY, &[&number.to_be_bytes()])
}

/// State: all penalties, as a prefix.
#[must_use]
pub fn penalties() -> Vec<u8> {
    vec![PENALTY]
}

/// State: a proposal by its number.
#[must_use]
pub fn proposal(number: u64) -> Vec<u8> {
    tagged(PROPOSAL, &[&number.to_be_bytes()])
}

/// State: all proposals, as a prefix.
#[must_use]
pub fn proposals() -> Vec<u8> {
    vec![PROPOSAL]
}

/// State: a version of the access policy.
#[must_use]
pub fn access_policy(version: u32) -> Vec<u8> {
    tagged(ACCESS_POLICY, &[&version.to_be_bytes()])
}

/// State: the version of the rules.
#[must_use]
pub fn protocol() -> Vec<u8> {
    vec![PROTOCOL]
}

/// State: jailing and announced absence of a node.
#[must_use]
pub fn standing(node: NodeId) -> Vec<u8> {
    tagged(STANDING, &[&node.0.to_be_bytes()])
}

/// State: the standing of all nodes, as a prefix.
#[must_use]
pub fn standings() -> Vec<u8> {
    vec![STANDING]
}

/// State: whose vote key a key is.
#[must_use]
pub fn vote_key(raw: &[u8]) -> Vec<u8> {
    tagged(VOTE_KEY, &[&sha256(&[raw])])
}

/// Versions: one version of a record.
#[must_use]
pub fn version(id: &RecordId, version: u32) -> Vec<u8> {
    let mut key = id.0.to_vec();
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// Payloads: same key as the version's.
#[must_use]
pub fn payload(id: &RecordId, number: u32) -> Vec<u8> {
    version(id, number)
}

/// Wraps: one recipient's wrap of one version.
#[must_use]
pub fn wrap(id: &RecordId, number: u32, recipient: &KeyId) -> Vec<u8> {
    let mut key = version(id, number);
    key.extend_from_slice(recipient.as_bytes());
    key
}

/// Transactions: where a transaction is.
#[must_use]
pub fn transaction(id: &TransactionId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// Tree: a perfect subtree of the ledger's tree.
#[must_use]
pub fn tree_node(level: u8, index: u64) -> Vec<u8> {
    let mut key = vec![level];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Blocks, certificates and positions: by height.
#[must_use]
pub fn height(height: Height) -> Vec<u8> {
    height.0.to_be_bytes().to_vec()
}

/// Index: prefix of a patient's records.
#[must_use]
pub fn index_patient(patient: &PatientPseudonym) -> Vec<u8> {
    tagged(INDEX_PATIENT, &[&patient.0])
}

/// Index: prefix of a member's records.
#[must_use]
pub fn index_member(member: &str) -> Vec<u8> {
    tagged(INDEX_MEMBER, &[&sha256(&[member.as_bytes()])[..16]])
}

/// Index: prefix of records that carry, or carried, a tag.
#[must_use]
pub fn index_tag(tag: &SearchTag) -> Vec<u8> {
    tagged(INDEX_TAG, &[&tag.0])
}

/// Index: an entry under a prefix, in order of the records' creation.
#[must_use]
pub fn index_entry(mut prefix: Vec<u8>, sequence: u64) -> Vec<u8> {
    prefix.extend_from_slice(&sequence.to_be_bytes());
    prefix
}

/// What a row of the state is about, in words, by its key: for reports and
/// never for rules.
#[must_use]
pub fn describe(key: &[u8]) -> String {
    let Some((tag, rest)) = key.split_first() else { return "an empty key".to_owned() };
    let text = || String::from_utf8_lossy(rest).escape_debug().to_string();
    let hex = || rest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let number = || rest.iter().fold(0u128, |n, byte| (n << 8) | u128::from(*byte));
    match *tag {
        MEMBER => format!("member {}", text()),
        NODE => format!("node {}", number()),
        SIGNER => format!("enrolled signer {}", hex()),
        ENCRYPTION_KEY => format!("encryption key {}", hex()),
        IDENTITY => format!("identity {}", text()),
        RECORD => format!("record {}", hex()),
        CERTIFICATE => format!("signers of certificate {}", hex()),
        PARAMETERS => "parameters".to_owned(),
        STAKE => format!("stake of member {}", text()),
        PARTICIPATION => "participation".to_owned(),
        EPOCH => format!("epoch {}", number()),
        ROSTER => "roster".to_owned(),
        PENALTY => format!("penalty {}", number()),
        PROPOSAL => format!("proposal {}", number()),
        ACCESS_POLICY => format!("access policy {}", number()),
        PROTOCOL => "protocol version".to_owned(),
        STANDING => format!("standing of node {}", number()),
        VOTE_KEY => format!("owner of vote key {}", hex()),
        _ => format!("unknown key {tag:02x}{}", hex()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_described() {
        let described = [
            (member("a.b"), "member a.b"),
            (node(NodeId(258)), "node 258"),
            (record(&RecordId([0xab; 16])), "record abababababababababababababababab"),
            (identity("spiffe://a.b/service/x"), "identity spiffe://a.b/service/x"),
            (stake("a\n"), "stake of member a\\n"),
            (epoch(Epoch(3)), "epoch 3"),
            (roster(), "roster"),
            (standing(NodeId(1)), "standing of node 1"),
            (vec![0xff, 1], "unknown key ff01"),
            (vec![], "an empty key"),
        ];
        for (key, words) in described {
            assert_eq!(describe(&key), words);
        }
    }

    #[test]
    fn keys_are_golden() {
        assert_eq!(node(NodeId(258)), [2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(certificate(&[9], &[7, 8]), [8, 1, 9, 7, 8]);
        assert_eq!(member("a.b"), b"\x01a.b");
        assert_eq!(stake("a.b"), b"\x0aa.b");
        assert_eq!(epoch(Epoch(3)), [12, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(penalty(1), [14, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(proposal(256), [15, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(access_policy(2), [17, 0, 0, 0, 2]);
        assert_eq!(standing(NodeId(1)), [19, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!([participation(), roster(), protocol()], [[11], [13], [18]]);
        assert_eq!(tree_node(3, 1), [3, 0, 0, 0, 0, 0, 0, 0, 1]);
        let entry = index_entry(index_tag(&SearchTag([1; 16])), 5);
        assert_eq!((entry.len(), entry[0], entry[24]), (25, b't', 5));
    }
}
