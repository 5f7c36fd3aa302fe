//! I28: at the end of the calm every honest node has every attachment that any honest node
//! has, as its block commits to it, and finds records and patients by those that it has. No two
//! transactions that took effect commit to one place: what is stored there could be that of one
//! only.

use std::collections::BTreeMap;

use consilium_ledger::{StateReader, Table, keys};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{NodeId, PatientPseudonym, RecordId};
use consilium_proto::patient::Lookup;
use consilium_proto::pb::{PatientState, RecordState};
use consilium_proto::record::Descriptor;
use consilium_proto::transaction::{Commitment, Slot};
use prost::Message;

use super::Check;
use crate::disk::LedgerStore;

/// Which attachments there are somewhere, and who lacks which.
#[derive(Default)]
pub struct Attachments {
    /// By place: what is committed to, whether somebody has it, and who has not.
    seen: BTreeMap<Slot, Seen>,
    /// Two transactions commit to it.
    disputed: Option<Slot>,
    /// Who has a descriptor or a look-up and finds nothing by it.
    blind: Option<NodeId>,
}

struct Seen {
    hash: Hash,
    somewhere: bool,
    lacking: Vec<NodeId>,
}

impl Attachments {
    /// Looks at the ledger of a node for what the blocks commit to.
    pub fn look(&mut self, node: NodeId, ledger: &LedgerStore, commitments: &[Commitment]) {
        commitments.iter().for_each(|commitment| self.attachment(node, ledger, commitment));
    }

    fn attachment(&mut self, node: NodeId, ledger: &LedgerStore, commitment: &Commitment) {
        let Commitment { slot, hash, .. } = *commitment;
        let (table, key) = keys::attachment(&slot);
        let held = ledger.get(table, &key).ok().flatten().unwrap_or_default();
        let seen = self.seen.entry(slot).or_insert_with(|| Seen { hash, somewhere: false, lacking: Vec::new() });
        if seen.hash != hash {
            self.disputed = Some(slot);
        }
        if commitment.check(&held).is_err() {
            return seen.lacking.push(node);
        }
        seen.somewhere = true;
        if !is_found(ledger, &slot, &held) {
            self.blind = Some(node);
        }
    }

    /// Compares.
    ///
    /// # Errors
    /// If a node lacks what another has.
    pub fn check(&self) -> Check {
        if let Some(slot) = self.disputed {
            return Err(format!("two transactions attach different contents as {slot:?}"));
        }
        let lacking = self.seen.iter().find(|(_, seen)| seen.somewhere && !seen.lacking.is_empty());
        if let Some((slot, Seen { lacking, .. })) = lacking {
            return Err(format!("{lacking:?} lack an attachment that others have: {slot:?}"));
        }
        match self.blind {
            Some(node) => Err(format!("{node} has a descriptor or a look-up and finds nothing by it")),
            None => Ok(()),
        }
    }
}

/// Whether the index leads from an attachment to what it is of.
fn is_found(ledger: &LedgerStore, slot: &Slot, held: &[u8]) -> bool {
    match slot {
        Slot::Descriptor { record, .. } => is_found_by_tags(ledger, record, held),
        Slot::Lookup { patient, hash } => is_found_by_lookup(ledger, patient, hash, held),
        Slot::Payload { .. }
        | Slot::Wrap { .. }
        | Slot::SaltWrap { .. }
        | Slot::EmergencyText { .. }
        | Slot::PetitionText { .. }
        | Slot::PetitionAnswer { .. } => true,
    }
}

fn is_found_by_tags(ledger: &LedgerStore, record: &RecordId, descriptor: &[u8]) -> bool {
    let Ok(descriptor) = Descriptor::decode(descriptor) else { return false };
    let row = ledger.get(Table::State, &keys::record(record)).ok().flatten();
    let Some(Ok(state)) = row.map(RecordState::decode) else { return false };
    descriptor.tags().iter().all(|tag| {
        let entry = keys::index_entry(keys::index_tag(&state.member, tag), state.sequence);
        ledger.get(Table::Index, &entry).ok().flatten().is_some_and(|id| id[..] == record.0)
    })
}

fn is_found_by_lookup(ledger: &LedgerStore, patient: &PatientPseudonym, hash: &Hash, lookup: &[u8]) -> bool {
    let (Ok(lookup), Some(state)) = (Lookup::decode(lookup), ledger.message::<PatientState>(&keys::patient(patient)))
    else {
        return false;
    };
    let own = state.lookups.iter().find(|own| own.sha256 == hash.as_bytes()[..]);
    own.is_some_and(|own| {
        let entry = keys::index_patient_of(&lookup.tag(), consilium_proto::ids::Height(own.height), patient, hash);
        matches!(ledger.get(Table::Index, &entry), Ok(Some(_)))
    })
}
