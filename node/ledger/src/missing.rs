//! Attachments that an executed block commits to and that are not stored here: a peer
//! gave the block without them, or this disk lost them. What is missing is noted in a
//! table beside the state, in the batch of the block, until it is found elsewhere.
//! Headers know nothing of it: it differs from node to node.
//!
//! **Erasure.** An attachment that was erased on the ledger is not missing, and must never
//! be looked for or stored again. Nothing is erased yet. Whatever erases one deletes its
//! row of [`Table::Missing`] in the same transaction, and is asked in [`is_wanted`], which
//! decides for everybody: for what a look at the store misses, and for what a peer gives.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{EmergencyId, Height, KeyId, PatientPseudonym, PetitionId, RecordId};
use consilium_proto::limits::{
    DESCRIPTOR_BYTES_MAX, EMERGENCY_TEXT_BYTES_MAX, PETITION_TEXT_BYTES_MAX, WRAP_BYTES_MAX,
};
use consilium_proto::patient::Lookup;
use consilium_proto::pb::RecordState;
use consilium_proto::record::Descriptor;
use consilium_proto::transaction::{Commitment, Size, Slot};
use prost::Message;

use crate::keys;
use crate::table::Table;
use crate::view::{Row, StateReader, StoreFault};

/// Height, hash, size.
const VALUE_LEN: usize = 8 + 32 + 4;
/// Record and version.
const VERSION_LEN: usize = 16 + 4;

/// An attachment that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// What a transaction commits to.
    pub commitment: Commitment,
    /// The transaction's block.
    pub height: Height,
}

/// Whether an attachment that a block commits to is to be had, as the ledger stands: the
/// place for what is erased.
///
/// # Errors
/// If the store fails.
pub fn is_wanted(_: &impl StateReader, _: &Slot) -> Result<bool, StoreFault> {
    Ok(true)
}

impl Missing {
    /// The row that notes it.
    #[must_use]
    pub fn note(&self) -> Row {
        let size = match self.commitment.size {
            Size::Exactly(size) => size,
            Size::AtMost(_) => 0,
        };
        let parts = [&self.height.0.to_be_bytes()[..], self.commitment.hash.as_bytes(), &size.to_be_bytes()];
        let value = Bytes::from(parts.concat());
        Row { table: Table::Missing, key: keys::missing(&self.commitment.slot), value: Some(value) }
    }

    /// The row that forgets it.
    #[must_use]
    pub fn forget(&self) -> Row {
        Row { table: Table::Missing, key: keys::missing(&self.commitment.slot), value: None }
    }

    /// The rows that store what was found and is what the block commits to, by which records
    /// are found by it, and that note that it is not missing any more.
    ///
    /// # Errors
    /// If the store fails.
    pub fn found(&self, ledger: &impl StateReader, content: Bytes) -> Result<Vec<Row>, StoreFault> {
        let (table, key) = keys::attachment(&self.commitment.slot);
        let mut rows = self.index(ledger, &content)?;
        rows.extend([self.forget(), Row { table, key, value: Some(content) }]);
        Ok(rows)
    }

    /// The rows by which records or patients are found by an attachment.
    fn index(&self, ledger: &impl StateReader, content: &[u8]) -> Result<Vec<Row>, StoreFault> {
        match &self.commitment.slot {
            Slot::Payload { .. }
            | Slot::Wrap { .. }
            | Slot::EmergencyText { .. }
            | Slot::SaltWrap { .. }
            | Slot::PetitionText { .. }
            | Slot::PetitionAnswer { .. } => Ok(Vec::new()),
            Slot::Lookup { patient, .. } => Ok(lookup_row(content, patient, self.height).into_iter().collect()),
            Slot::Descriptor { record, .. } => {
                let state = ledger.get(Table::State, &keys::record(record))?.map(RecordState::decode).transpose();
                let corrupt = |e: prost::DecodeError| StoreFault::Corrupt { table: "state", cause: e.to_string() };
                let state = state.map_err(corrupt)?;
                Ok(state.map(|state| tag_rows(content, record, (&state.member, state.sequence))).unwrap_or_default())
            }
        }
    }

    /// The rows that note that what is stored is not what was committed to, or nothing.
    #[must_use]
    pub fn lost(&self) -> [Row; 2] {
        let (table, key) = keys::attachment(&self.commitment.slot);
        [Row { table, key, value: None }, self.note()]
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreFault> {
        let corrupt = || StoreFault::Corrupt { table: Table::Missing.name(), cause: "length or kind".into() };
        let slot = slot(key).ok_or_else(corrupt)?;
        let value: &[u8; VALUE_LEN] = value.try_into().map_err(|_| corrupt())?;
        let (height, rest) = value.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (hash, size) = rest.split_first_chunk::<32>().ok_or_else(corrupt)?;
        let size = match (u32::from_be_bytes(size.try_into().map_err(|_| corrupt())?), &slot) {
            (0, Slot::Wrap { .. } | Slot::SaltWrap { .. }) => Size::AtMost(WRAP_BYTES_MAX),
            (0, Slot::Descriptor { .. }) => Size::AtMost(DESCRIPTOR_BYTES_MAX),
            (0, Slot::EmergencyText { .. }) => Size::AtMost(EMERGENCY_TEXT_BYTES_MAX),
            (0, Slot::PetitionText { .. } | Slot::PetitionAnswer { .. }) => Size::AtMost(PETITION_TEXT_BYTES_MAX),
            (size, _) => Size::Exactly(size),
        };
        let commitment = Commitment { slot, hash: Hash::from_bytes(*hash), size };
        Ok(Self { commitment, height: Height(u64::from_be_bytes(*height)) })
    }
}

/// The rows by which a member finds a record of its own by the tags of a descriptor: nothing that the rules
/// read, and nothing that a header commits to.
pub(crate) fn tag_rows(descriptor: &[u8], record: &RecordId, (member, sequence): (&str, u64)) -> Vec<Row> {
    let id = Bytes::copy_from_slice(&record.0);
    let tags = Descriptor::decode(descriptor).map(|descriptor| descriptor.tags().to_vec()).unwrap_or_default();
    let row = |tag| Row {
        table: Table::Index,
        key: keys::index_entry(keys::index_tag(member, &tag), sequence),
        value: Some(id.clone()),
    };
    tags.into_iter().map(row).collect()
}

/// The row by which a patient is found by a look-up: as [`tag_rows`].
pub(crate) fn lookup_row(content: &[u8], patient: &PatientPseudonym, since: Height) -> Option<Row> {
    let lookup = Lookup::decode(content).ok()?;
    let key = keys::index_patient_of(&lookup.tag(), since, patient, &lookup.hash());
    Some(Row { table: Table::Index, key, value: Some(Bytes::new()) })
}

fn slot(key: &[u8]) -> Option<Slot> {
    let (kind, key) = key.split_first()?;
    if [keys::MISSING_LOOKUP, keys::MISSING_SALT_WRAP].contains(kind) {
        let (patient, hash) = key.split_first_chunk::<16>()?;
        let (patient, hash) = (PatientPseudonym(*patient), Hash::try_from(hash).ok()?);
        return Some(match *kind {
            keys::MISSING_LOOKUP => Slot::Lookup { patient, hash },
            _ => Slot::SaltWrap { patient, hash },
        });
    }
    if *kind == keys::MISSING_TEXT {
        return Some(Slot::EmergencyText { emergency: EmergencyId(key.try_into().ok()?) });
    }
    if *kind == keys::MISSING_PETITION_TEXT {
        return Some(Slot::PetitionText { petition: PetitionId(key.try_into().ok()?) });
    }
    if *kind == keys::MISSING_PETITION_ANSWER {
        return Some(Slot::PetitionAnswer { petition: PetitionId(key.try_into().ok()?) });
    }
    let (version, rest) = key.split_first_chunk::<VERSION_LEN>()?;
    let (record, version) = version.split_first_chunk::<16>()?;
    let (record, version) = (RecordId(*record), u32::from_be_bytes(version.try_into().ok()?));
    match *kind {
        keys::MISSING_PAYLOAD if rest.is_empty() => Some(Slot::Payload { record, version }),
        keys::MISSING_DESCRIPTOR if rest.is_empty() => Some(Slot::Descriptor { record, version }),
        keys::MISSING_WRAP => Some(Slot::Wrap { record, version, recipient: KeyId::try_from(rest).ok()? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
