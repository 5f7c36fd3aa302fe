//! Patients to whom tags lead, with proof.

use bytes::Bytes;
use consilium_proto::pb::FoundPatient;
use consilium_proto::state_tree::KeyHash;

use crate::keys;
use crate::roster::corrupt;
use crate::state_map;
use crate::table::Table;
use crate::view::{StateReader, StoreFault};

/// The patient of an entry of the index ([`keys::index_patient_of`]), proven. Entries of a tag
/// stand in the order in which it was said whose it is: the first is the one that counts.
///
/// # Errors
/// If the store fails, or lacks what it must hold.
pub fn resolve_patient<R: StateReader>(reader: &R, entry: &[u8]) -> Result<FoundPatient, StoreFault> {
    let absent = |what: &str| corrupt(format!("an entry of the index is {what}"));
    let (patient, hash) = keys::patient_of_index(entry).ok_or_else(|| absent("malformed"))?;
    let key = keys::patient(&patient);
    let state = reader.get(Table::State, &key)?.ok_or_else(|| absent("of an absent patient"))?;
    let lookup = reader.get(Table::Lookups, &keys::lookup(&patient, &hash))?;
    let proof = state_map::prove(reader, &KeyHash::of(&key));
    let proof = proof.map_err(|e| StoreFault::Corrupt { table: Table::Trie.name(), cause: e.to_string() })?;
    Ok(FoundPatient {
        patient: Bytes::copy_from_slice(&patient.0),
        lookup: lookup.ok_or_else(|| absent("of an absent look-up"))?,
        state,
        state_proof: proof.encode().into(),
    })
}
