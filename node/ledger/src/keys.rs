//! Keys of the tables beside the authenticated state, and those of the state by
//! re-export: their one table is [`consilium_proto::state`]. Numbers are
//! big-endian, so that the order of bytes is the order of values. Changing a key
//! breaks stored state.

use consilium_proto::hash::{Hash, sha256};
use consilium_proto::ids::{
    DisclosureId, EmergencyId, Height, KeyId, PatientPseudonym, RecordId, SearchTag, TimeMs, TransactionId,
};
use consilium_proto::names::SpiffeId;
use consilium_proto::state::{ListName, StateRow};
use consilium_proto::transaction::Slot;

pub use consilium_proto::state::describe;
pub use consilium_proto::state::keys::*;

use crate::table::Table;

const INDEX_MEMBER: u8 = b'm';
const INDEX_TAG: u8 = b't';
const INDEX_LOOKUP: u8 = b'l';
const INDEX_EMERGENCY: u8 = b'e';
const INDEX_EMERGENCY_ABOUT: u8 = b'y';
const INDEX_EMERGENCY_REQUEST: u8 = b'u';
const INDEX_PETITION_OF: u8 = b'q';
const INDEX_PETITION_TO: u8 = b'a';
const INDEX_WRITER: u8 = b'w';
const INDEX_LISTED: u8 = b'r';
const INDEX_CHANGE: u8 = b'c';
const INDEX_READ: u8 = b'v';
const INDEX_DISCLOSURE: u8 = b'd';
pub(crate) const MISSING_PAYLOAD: u8 = b'p';
pub(crate) const MISSING_DESCRIPTOR: u8 = b'd';
pub(crate) const MISSING_WRAP: u8 = b'w';
pub(crate) const MISSING_LOOKUP: u8 = b'l';
pub(crate) const MISSING_SALT_WRAP: u8 = b's';
pub(crate) const MISSING_TEXT: u8 = b'e';
pub(crate) const MISSING_PETITION_TEXT: u8 = b'q';
pub(crate) const MISSING_PETITION_ANSWER: u8 = b'a';
const TEXT_OF_PETITION: u8 = b'q';
const TEXT_OF_ANSWER: u8 = b'a';
const LOG_ENTRY: u8 = b'e';
const LOG_NODE: u8 = b'n';

/// Whether a key of the state is a record's or a patient's.
#[must_use]
pub fn is_of_patient(key: &[u8]) -> bool {
    match StateRow::of(key) {
        Some(
            StateRow::Record
            | StateRow::Patient
            | StateRow::Consent
            | StateRow::ConsentList
            | StateRow::AccessLog
            | StateRow::RecordList
            | StateRow::Emergency
            | StateRow::WrapRequest
            | StateRow::Care
            | StateRow::UnmatchedLog
            | StateRow::RecordLists
            | StateRow::Wrap
            | StateRow::Petition
            | StateRow::Disclosure
            | StateRow::RecordChange
            | StateRow::PatientSalt,
        ) => true,
        Some(
            StateRow::Member
            | StateRow::Node
            | StateRow::Signer
            | StateRow::EncryptionKey
            | StateRow::Identity
            | StateRow::Certificate
            | StateRow::Parameters
            | StateRow::Stake
            | StateRow::Participation
            | StateRow::Epoch
            | StateRow::Roster
            | StateRow::Penalty
            | StateRow::Proposal
            | StateRow::AccessPolicy
            | StateRow::Protocol
            | StateRow::Standing
            | StateRow::VoteKey
            | StateRow::FormerAuthority
            | StateRow::ReviewsDue
            | StateRow::PetitionsDue
            | StateRow::Custody
            | StateRow::CustodyWork
            | StateRow::CustodyDuties
            | StateRow::CustodyCount,
        )
        | None => false,
    }
}

fn tagged(tag: u8, part: &[u8]) -> Vec<u8> {
    [&[tag], part].concat()
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

/// Descriptors: same key as the version's.
#[must_use]
pub fn descriptor(id: &RecordId, number: u32) -> Vec<u8> {
    version(id, number)
}

/// Wraps: one recipient's wrap of one version.
#[must_use]
pub fn wrap(id: &RecordId, number: u32, recipient: &KeyId) -> Vec<u8> {
    let mut key = version(id, number);
    key.extend_from_slice(recipient.as_bytes());
    key
}

/// Lookups: one look-up of a patient, or wrap of a salt of its labels, by the hash that a row
/// commits to.
#[must_use]
pub fn lookup(patient: &PatientPseudonym, hash: &Hash) -> Vec<u8> {
    [&patient.0[..], hash.as_bytes()].concat()
}

/// Table and key of an attachment.
#[must_use]
pub fn attachment(slot: &Slot) -> (Table, Vec<u8>) {
    match slot {
        Slot::Payload { record, version } => (Table::Payloads, payload(record, *version)),
        Slot::Descriptor { record, version } => (Table::Descriptors, descriptor(record, *version)),
        Slot::Wrap { record, version, recipient } => (Table::Wraps, wrap(record, *version, recipient)),
        Slot::Lookup { patient, hash } | Slot::SaltWrap { patient, hash } => (Table::Lookups, lookup(patient, hash)),
        Slot::EmergencyText { emergency } => (Table::Texts, emergency.0.to_vec()),
        Slot::PetitionText { petition } => (Table::Texts, tagged(TEXT_OF_PETITION, &petition.0)),
        Slot::PetitionAnswer { petition } => (Table::Texts, tagged(TEXT_OF_ANSWER, &petition.0)),
    }
}

/// Missing: one attachment that is not here.
#[must_use]
pub fn missing(slot: &Slot) -> Vec<u8> {
    match slot {
        Slot::Payload { record, version } => tagged(MISSING_PAYLOAD, &payload(record, *version)),
        Slot::Descriptor { record, version } => tagged(MISSING_DESCRIPTOR, &descriptor(record, *version)),
        Slot::Wrap { record, version, recipient } => tagged(MISSING_WRAP, &wrap(record, *version, recipient)),
        Slot::Lookup { patient, hash } => tagged(MISSING_LOOKUP, &lookup(patient, hash)),
        Slot::SaltWrap { patient, hash } => tagged(MISSING_SALT_WRAP, &lookup(patient, hash)),
        Slot::EmergencyText { emergency } => tagged(MISSING_TEXT, &emergency.0),
        Slot::PetitionText { petition } => tagged(MISSING_PETITION_TEXT, &petition.0),
        Slot::PetitionAnswer { petition } => tagged(MISSING_PETITION_ANSWER, &petition.0),
    }
}

/// Logs: prefix of the entries of all logs.
#[must_use]
pub fn all_log_entries() -> Vec<u8> {
    vec![LOG_ENTRY]
}

/// Logs: prefix of the entries of the log to which a row of the state commits. Names of members
/// differ in length, so what stands here is a hash.
#[must_use]
pub fn log_entries(state_key: &[u8]) -> Vec<u8> {
    tagged(LOG_ENTRY, &sha256(&[state_key])[..16])
}

/// Logs: an entry by its place.
#[must_use]
pub fn log_entry(state_key: &[u8], place: u64) -> Vec<u8> {
    index_entry(log_entries(state_key), place)
}

/// Logs: a perfect subtree of a log's tree, of the one level that is kept.
#[must_use]
pub fn log_node(state_key: &[u8], index: u64) -> Vec<u8> {
    index_entry(tagged(LOG_NODE, &sha256(&[state_key])[..16]), index)
}

/// Transactions: where a transaction is.
#[must_use]
pub fn transaction(id: &TransactionId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// Tree: a tile of the ledger's tree, by the level of its hashes and its place among the tiles of
/// that level.
#[must_use]
pub fn tree_tile(level: u8, index: u64) -> Vec<u8> {
    let mut key = vec![level];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Blocks, certificates and positions: by height.
#[must_use]
pub fn height(height: Height) -> Vec<u8> {
    height.0.to_be_bytes().to_vec()
}

/// Index: prefix of who has written records of a patient, by their lists.
#[must_use]
pub fn index_writers(patient: &PatientPseudonym) -> Vec<u8> {
    tagged(INDEX_WRITER, &patient.0)
}

/// Index: prefix of who has written records of any patient, by patients.
#[must_use]
pub fn index_all_writers() -> Vec<u8> {
    vec![INDEX_WRITER]
}

/// The patient that such an entry is about.
#[must_use]
pub fn patient_of_writer(entry: &[u8]) -> Option<PatientPseudonym> {
    Some(PatientPseudonym(entry.get(1..1 + 16)?.try_into().ok()?))
}

/// Index: a member that has written into a list of records; its row holds the kind.
#[must_use]
pub fn index_writer(list: &ListName, member: &str) -> Vec<u8> {
    [&index_writers(&list.patient)[..], &[list.confidentiality], &list.kind, member.as_bytes()].concat()
}

/// The confidentiality of the list and the member that such an entry is about.
#[must_use]
pub fn writer_of_index(entry: &[u8]) -> Option<(u8, &str)> {
    let (confidentiality, rest) = entry.get(1 + 16..)?.split_first()?;
    Some((*confidentiality, std::str::from_utf8(rest.get(16..)?).ok()?))
}

/// Index: prefix of a member's records in a list of a patient.
#[must_use]
pub fn index_listed(list: &ListName, member: &str) -> Vec<u8> {
    let member = &sha256(&[member.as_bytes()])[..16];
    [&[INDEX_LISTED], &list.patient.0[..], &[list.confidentiality], &list.kind, member].concat()
}

/// Index: prefix of a member's records.
#[must_use]
pub fn index_member(member: &str) -> Vec<u8> {
    tagged(INDEX_MEMBER, &sha256(&[member.as_bytes()])[..16])
}

/// Index: prefix of a patient's petitions.
#[must_use]
pub fn index_petitions_of(patient: &PatientPseudonym) -> Vec<u8> {
    tagged(INDEX_PETITION_OF, &patient.0)
}

/// Index: prefix of the petitions that a member was asked.
#[must_use]
pub fn index_petitions_to(member: &str) -> Vec<u8> {
    tagged(INDEX_PETITION_TO, &sha256(&[member.as_bytes()])[..16])
}

/// Index: prefix of a member's records that carry, or carried, a tag.
#[must_use]
pub fn index_tag(member: &str, tag: &SearchTag) -> Vec<u8> {
    [&[INDEX_TAG], &sha256(&[member.as_bytes()])[..16], &tag.0[..]].concat()
}

/// Index: prefix of patients that a look-up's tag leads to.
#[must_use]
pub fn index_lookup(tag: &SearchTag) -> Vec<u8> {
    tagged(INDEX_LOOKUP, &tag.0)
}

/// Index: a patient that a look-up leads to, in the order in which it was said.
#[must_use]
pub fn index_patient_of(tag: &SearchTag, since: Height, patient: &PatientPseudonym, hash: &Hash) -> Vec<u8> {
    [&index_lookup(tag)[..], &since.0.to_be_bytes(), &patient.0, hash.as_bytes()].concat()
}

/// The patient and the look-up that such an entry is about.
#[must_use]
pub fn patient_of_index(entry: &[u8]) -> Option<(PatientPseudonym, Hash)> {
    let (rest, hash) = entry.split_last_chunk::<32>()?;
    let (_, patient) = rest.split_last_chunk::<16>()?;
    Some((PatientPseudonym(*patient), Hash::from_bytes(*hash)))
}

/// Index: prefix of what happened to emergencies.
#[must_use]
pub fn index_emergencies() -> Vec<u8> {
    vec![INDEX_EMERGENCY]
}

/// Index: prefix of what happened to emergencies in a block.
#[must_use]
pub fn index_emergencies_of(height: Height) -> Vec<u8> {
    tagged(INDEX_EMERGENCY, &height.0.to_be_bytes())
}

/// Index: an emergency that was declared or reviewed in a block.
#[must_use]
pub fn index_emergency(height: Height, id: &EmergencyId) -> Vec<u8> {
    [&index_emergencies_of(height)[..], &id.0].concat()
}

/// Index: prefix of what happened to emergencies of a patient.
#[must_use]
pub fn index_emergencies_about(patient: &PatientPseudonym) -> Vec<u8> {
    tagged(INDEX_EMERGENCY_ABOUT, &patient.0)
}

/// Index: an emergency of a patient that was declared or reviewed in a block.
#[must_use]
pub fn index_emergency_about(patient: &PatientPseudonym, height: Height, id: &EmergencyId) -> Vec<u8> {
    [&index_entry(index_emergencies_about(patient), height.0)[..], &id.0].concat()
}

/// The block and the emergency that an entry of either index is about.
#[must_use]
pub fn emergency_of_index(entry: &[u8]) -> Option<(Height, EmergencyId)> {
    let (rest, id) = entry.split_last_chunk::<16>()?;
    let (_, height) = rest.split_last_chunk::<8>()?;
    Some((Height(u64::from_be_bytes(*height)), EmergencyId(*id)))
}

/// Index: prefix of the requests for wraps of a member's records that are for emergencies, by their
/// numbers.
#[must_use]
pub fn index_emergency_requests(member: &str) -> Vec<u8> {
    tagged(INDEX_EMERGENCY_REQUEST, &sha256(&[member.as_bytes()])[..16])
}

/// Index: prefix of a member's disclosures.
#[must_use]
pub fn index_disclosures(member: &str) -> Vec<u8> {
    tagged(INDEX_DISCLOSURE, &sha256(&[member.as_bytes()])[..16])
}

/// Index: a disclosure, in the order of the times at which they were made.
#[must_use]
pub fn index_disclosure(member: &str, opened: TimeMs, id: &DisclosureId) -> Vec<u8> {
    [&index_entry(index_disclosures(member), opened.0)[..], &id.0].concat()
}

/// The time and the disclosure that such an entry is about.
#[must_use]
pub fn disclosure_of_index(entry: &[u8]) -> Option<(TimeMs, DisclosureId)> {
    let (rest, id) = entry.split_last_chunk::<16>()?;
    let (_, opened) = rest.split_last_chunk::<8>()?;
    Some((TimeMs(u64::from_be_bytes(*opened)), DisclosureId(*id)))
}

/// Index: prefix of changes of records.
#[must_use]
pub fn index_changes() -> Vec<u8> {
    vec![INDEX_CHANGE]
}

/// Index: a record of which a block has a newer version.
#[must_use]
pub fn index_change(height: Height, record: &RecordId) -> Vec<u8> {
    [&[INDEX_CHANGE], &height.0.to_be_bytes()[..], &record.0].concat()
}

/// The block and the record that such an entry is about.
#[must_use]
pub fn change_of_index(entry: &[u8]) -> Option<(Height, RecordId)> {
    let (rest, record) = entry.split_last_chunk::<16>()?;
    let (_, height) = rest.split_last_chunk::<8>()?;
    Some((Height(u64::from_be_bytes(*height)), RecordId(*record)))
}

/// Index: prefix of versions of a record that people of a member were permitted to read.
#[must_use]
pub fn index_reads_at(record: &RecordId, member: &str) -> Vec<u8> {
    [&[INDEX_READ], &record.0[..], &sha256(&[member.as_bytes()])[..16]].concat()
}

/// Index: prefix of versions of a record that one of them was permitted to read.
#[must_use]
pub fn index_reads_of(record: &RecordId, reader: &SpiffeId) -> Vec<u8> {
    let name = &sha256(&[reader.to_string().as_bytes()])[..16];
    [&index_reads_at(record, reader.member().as_str())[..], name].concat()
}

/// Index: a version that an identity was permitted to read; its row is the last time, a
/// `VersionRead`.
#[must_use]
pub fn index_read(record: &RecordId, reader: &SpiffeId, version: u32) -> Vec<u8> {
    [&index_reads_of(record, reader)[..], &version.to_be_bytes()].concat()
}

/// The version that such an entry is about.
#[must_use]
pub fn version_of_read(entry: &[u8]) -> Option<u32> {
    entry.last_chunk::<4>().map(|version| u32::from_be_bytes(*version))
}

/// Index: an entry under a prefix, in order of the records' creation.
#[must_use]
pub fn index_entry(mut prefix: Vec<u8>, sequence: u64) -> Vec<u8> {
    prefix.extend_from_slice(&sequence.to_be_bytes());
    prefix
}

#[cfg(test)]
mod tests;
