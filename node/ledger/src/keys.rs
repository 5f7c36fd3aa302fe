//! Every key of every table. Numbers are big-endian, so that the order of
//! bytes is the order of values. Changing a key breaks stored state; changing
//! a key of [`Table::State`](crate::Table::State) breaks the state root.

use consilium_proto::hash::sha256;
use consilium_proto::ids::{Fingerprint, Height, KeyId, NodeId, PatientPseudonym, RecordId, SearchTag, TransactionId};

const MEMBER: u8 = 0x01;
const NODE: u8 = 0x02;
const SIGNER: u8 = 0x03;
const ENCRYPTION_KEY: u8 = 0x04;
const IDENTITY: u8 = 0x05;
const RECORD: u8 = 0x06;
const CERTIFICATE: u8 = 0x08;
const PARAMETERS: u8 = 0x09;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_golden() {
        assert_eq!(node(NodeId(258)), [2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(certificate(&[9], &[7, 8]), [8, 1, 9, 7, 8]);
        assert_eq!(member("a.b"), b"\x01a.b");
        assert_eq!(tree_node(3, 1), [3, 0, 0, 0, 0, 0, 0, 0, 1]);
        let entry = index_entry(index_tag(&SearchTag([1; 16])), 5);
        assert_eq!((entry.len(), entry[0], entry[24]), (25, b't', 5));
    }
}
