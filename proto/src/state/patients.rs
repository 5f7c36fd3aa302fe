//! Names of rows about patients that have several parts.

use super::KeyPart;
use crate::hash::{HASH_LEN, sha256};
use crate::ids::{KeyId, PatientPseudonym, RecordId};
use crate::pb::Confidentiality;

/// A list of the records of a patient that are of one kind and confidentiality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName {
    /// The patient.
    pub patient: PatientPseudonym,
    /// As in `Confidentiality`.
    pub confidentiality: u8,
    /// First bytes of the SHA-256 of the kind.
    pub kind: [u8; 16],
}

impl ListName {
    /// Names a list.
    #[must_use]
    pub fn new(patient: PatientPseudonym, confidentiality: Confidentiality, kind: &str) -> Self {
        let hash = sha256(&[kind.as_bytes()]);
        let kind = *hash.first_chunk().expect("a SHA-256 has more than 16 bytes");
        // The codes are 1 to 6.
        Self { patient, confidentiality: u8::try_from(confidentiality as i32).unwrap_or_default(), kind }
    }
}

impl KeyPart for ListName {
    fn append(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.patient.0);
        key.push(self.confidentiality);
        key.extend_from_slice(&self.kind);
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (patient, rest) = rest.split_first_chunk()?;
        let (confidentiality, rest) = rest.split_first()?;
        let patient = PatientPseudonym(*patient);
        Some(Self { patient, confidentiality: *confidentiality, kind: rest.try_into().ok()? })
    }

    fn shown(&self) -> String {
        format!("{} of {}, confidentiality {}", hex::encode(self.kind), self.patient, self.confidentiality)
    }
}

/// A request for a key wrap in a member's list of work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WrapRequestName {
    /// The custodian.
    pub member: String,
    /// From 0.
    pub number: u64,
}

impl WrapRequestName {
    /// Names a request.
    #[must_use]
    pub fn new(member: &str, number: u64) -> Self {
        Self { member: member.to_owned(), number }
    }
}

impl KeyPart for WrapRequestName {
    fn append(&self, key: &mut Vec<u8>) {
        // A trust domain has at most 255 characters.
        key.push(u8::try_from(self.member.len()).unwrap_or(u8::MAX));
        key.extend_from_slice(self.member.as_bytes());
        key.extend_from_slice(&self.number.to_be_bytes());
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (length, rest) = rest.split_first()?;
        let (member, rest) = rest.split_at_checked(usize::from(*length))?;
        let member = String::from_utf8(member.to_vec()).ok()?;
        Some(Self { member, number: u64::from_be_bytes(rest.try_into().ok()?) })
    }

    fn shown(&self) -> String {
        format!("{} of {}", self.number, self.member.shown())
    }
}

/// A member and a key for which its records are wrapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustodyName {
    /// Whose records.
    pub member: String,
    /// The key.
    pub key: KeyId,
}

impl CustodyName {
    /// Names a custody key.
    #[must_use]
    pub fn new(member: &str, key: KeyId) -> Self {
        Self { member: member.to_owned(), key }
    }
}

impl KeyPart for CustodyName {
    fn append(&self, key: &mut Vec<u8>) {
        // A trust domain has at most 255 characters.
        key.push(u8::try_from(self.member.len()).unwrap_or(u8::MAX));
        key.extend_from_slice(self.member.as_bytes());
        key.extend_from_slice(self.key.as_bytes());
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (length, rest) = rest.split_first()?;
        let (member, rest) = rest.split_at_checked(usize::from(*length))?;
        let key: &[u8; HASH_LEN] = rest.try_into().ok()?;
        Some(Self { member: String::from_utf8(member.to_vec()).ok()?, key: KeyId::from_bytes(*key) })
    }

    fn shown(&self) -> String {
        format!("{} of {}", self.key, self.member.shown())
    }
}

/// A patient and a member, in the order of patients.
fn append_pair(key: &mut Vec<u8>, patient: &PatientPseudonym, member: &str) {
    key.extend_from_slice(&patient.0);
    key.extend_from_slice(member.as_bytes());
}

fn parse_pair(rest: &[u8]) -> Option<(PatientPseudonym, String)> {
    let (patient, member) = rest.split_first_chunk()?;
    Some((PatientPseudonym(*patient), String::from_utf8(member.to_vec()).ok()?))
}

/// A patient and a member that cares for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CareName {
    /// The patient.
    pub patient: PatientPseudonym,
    /// The member.
    pub member: String,
}

impl CareName {
    /// Names a care relation.
    #[must_use]
    pub fn new(patient: PatientPseudonym, member: &str) -> Self {
        Self { patient, member: member.to_owned() }
    }
}

impl KeyPart for CareName {
    fn append(&self, key: &mut Vec<u8>) {
        append_pair(key, &self.patient, &self.member);
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (patient, member) = parse_pair(rest)?;
        Some(Self { patient, member })
    }

    fn shown(&self) -> String {
        format!("of {} to {}", self.member.shown(), self.patient)
    }
}

/// A patient and a member that labels its records.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaltName {
    /// The patient.
    pub patient: PatientPseudonym,
    /// The member.
    pub member: String,
}

impl SaltName {
    /// Names what the member has put.
    #[must_use]
    pub fn new(patient: PatientPseudonym, member: &str) -> Self {
        Self { patient, member: member.to_owned() }
    }
}

impl KeyPart for SaltName {
    fn append(&self, key: &mut Vec<u8>) {
        append_pair(key, &self.patient, &self.member);
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (patient, member) = parse_pair(rest)?;
        Some(Self { patient, member })
    }

    fn shown(&self) -> String {
        format!("of {} for patient {}", self.member.shown(), self.patient)
    }
}

/// A key for which a version of a record is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WrapName {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: u32,
    /// The recipient's key.
    pub recipient: KeyId,
}

impl KeyPart for WrapName {
    fn append(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.record.0);
        key.extend_from_slice(&self.version.to_be_bytes());
        key.extend_from_slice(self.recipient.as_bytes());
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (record, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let recipient: &[u8; HASH_LEN] = rest.try_into().ok()?;
        let (record, version) = (RecordId(*record), u32::from_be_bytes(*version));
        Some(Self { record, version, recipient: KeyId::from_bytes(*recipient) })
    }

    fn shown(&self) -> String {
        format!("of version {} of record {} for key {}", self.version, self.record, self.recipient)
    }
}
