//! Patients to whom tags lead, with proof.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{PatientPseudonym, SearchTag};
use consilium_proto::limits::RESOLVED_MAX;
use consilium_proto::pb::{FoundPatient, PatientState};
use consilium_proto::state_tree::KeyHash;
use prost::Message;

use crate::keys;
use crate::roster::corrupt;
use crate::state_map;
use crate::table::Table;
use crate::view::{StateReader, StoreFault};

/// One patient that the index names for a tag.
struct Candidate {
    patient: PatientPseudonym,
    hash: Hash,
    row: Bytes,
    /// Since which block it is said.
    since: u64,
}

/// Patients to whom a tag leads, of those that the index names with their look-ups' hashes: at
/// most [`RESOLVED_MAX`], those first of whom it was said first.
///
/// # Errors
/// If the store fails, or lacks what it must hold.
pub fn resolve_patients<R: StateReader>(
    reader: &R,
    tag: &SearchTag,
    named: impl IntoIterator<Item = (PatientPseudonym, Hash)>,
) -> Result<Vec<FoundPatient>, StoreFault> {
    let mut candidates = Vec::new();
    for (patient, hash) in named {
        let row = reader.get(Table::State, &keys::patient(&patient))?;
        let row = row.ok_or_else(|| corrupt(format!("{tag} leads to a patient who is absent")))?;
        let state = PatientState::decode(row.clone()).map_err(|e| corrupt(format!("patient: {e}")))?;
        let said = state.lookups.iter().find(|said| said.sha256 == hash.as_bytes()[..]);
        let since = said.ok_or_else(|| corrupt(format!("{tag} is none of {patient}")))?.height;
        candidates.push(Candidate { patient, hash, row, since });
    }
    candidates.sort_by_key(|candidate| (candidate.since, candidate.patient.0));
    candidates.truncate(RESOLVED_MAX);
    candidates.into_iter().map(|candidate| prove(reader, candidate)).collect()
}

fn prove<R: StateReader>(reader: &R, found: Candidate) -> Result<FoundPatient, StoreFault> {
    let Candidate { patient, hash, row, .. } = found;
    let lookup = reader.get(Table::Lookups, &keys::lookup(&patient, &hash))?;
    let proof = state_map::prove(reader, &KeyHash::of(&keys::patient(&patient)));
    let proof = proof.map_err(|e| StoreFault::Corrupt { table: Table::Trie.name(), cause: e.to_string() })?;
    Ok(FoundPatient {
        patient: Bytes::copy_from_slice(&patient.0),
        lookup: lookup.ok_or_else(|| corrupt("an index names a look-up that is absent".to_owned()))?,
        state: row,
        state_proof: proof.encode().into(),
    })
}
