//! I28: at the end of the calm every honest node has every attachment that any honest node
//! has, as its record commits to it, and finds the record by the search tags that it has.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::{StateReader, Table, keys};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{KeyId, NodeId, RecordId};
use consilium_proto::pb::{RecordState, RecordVersion, WrapState};
use consilium_proto::record::Descriptor;
use consilium_proto::state::{StateKey, StateRow};
use prost::Message;

use super::Check;
use crate::disk::LedgerStore;

/// Which payloads, descriptors and wraps there are somewhere, and who lacks which. Nothing else
/// is attached to the simulator's transactions.
#[derive(Default)]
pub struct Attachments {
    /// By table and key: whether somebody has it, and who has not.
    seen: BTreeMap<(Table, Vec<u8>), (bool, Vec<NodeId>)>,
    /// Who has a descriptor and does not find the record by it.
    blind: Option<NodeId>,
}

impl Attachments {
    /// Looks at the ledger of a node.
    pub fn look(&mut self, node: NodeId, ledger: &LedgerStore) {
        for (_, value) in ledger.table(Table::Versions) {
            let Ok(version) = RecordVersion::decode(value.clone()) else { continue };
            let Ok(record) = RecordId::parse("record_id", &version.record_id) else { continue };
            let payload = (Table::Payloads, keys::payload(&record, version.version));
            self.attachment(node, ledger, payload, &version.payload_sha256);
            let descriptor = (Table::Descriptors, keys::descriptor(&record, version.version));
            let held = self.attachment(node, ledger, descriptor, &version.descriptor_sha256);
            if held.is_some_and(|held| !is_found(ledger, &record, &held)) {
                self.blind = Some(node);
            }
            for wrap in &version.wraps {
                let Ok(key) = KeyId::try_from(wrap.recipient_key_id.as_ref()) else { continue };
                let wrap_key = (Table::Wraps, keys::wrap(&record, version.version, &key));
                self.attachment(node, ledger, wrap_key, &wrap.wrap_sha256);
            }
        }
        for (key, value) in ledger.rows(&[StateRow::Wrap as u8]) {
            let (Some(StateKey::Wrap(name)), Ok(added)) = (StateKey::decode(key), WrapState::decode(value.clone()))
            else {
                continue;
            };
            if !added.wrap_sha256.is_empty() {
                let wrap_key = (Table::Wraps, keys::wrap(&name.record, name.version, &name.recipient));
                self.attachment(node, ledger, wrap_key, &added.wrap_sha256);
            }
        }
    }

    /// Its content, if it is what the version commits to.
    fn attachment(
        &mut self,
        node: NodeId,
        ledger: &LedgerStore,
        (table, key): (Table, Vec<u8>),
        hash: &[u8],
    ) -> Option<Bytes> {
        let held = ledger.get(table, &key).ok().flatten().unwrap_or_default();
        let (somewhere, lacking) = self.seen.entry((table, key)).or_default();
        if sha256(&[&held])[..] == *hash {
            *somewhere = true;
            return Some(held);
        }
        lacking.push(node);
        None
    }

    /// Compares.
    ///
    /// # Errors
    /// If a node lacks what another has.
    pub fn check(&self) -> Check {
        let lacking = self.seen.values().find(|(somewhere, lacking)| *somewhere && !lacking.is_empty());
        match lacking {
            Some((_, nodes)) => Err(format!("{nodes:?} lack an attachment that others have")),
            None => match self.blind {
                Some(node) => Err(format!("{node:?} has a descriptor and does not find the record by its tags")),
                None => Ok(()),
            },
        }
    }
}

/// Whether the index leads from the tags of a descriptor to the record.
fn is_found(ledger: &LedgerStore, record: &RecordId, descriptor: &[u8]) -> bool {
    let Ok(descriptor) = Descriptor::decode(descriptor) else { return false };
    let row = ledger.get(Table::State, &keys::record(record)).ok().flatten();
    let Some(Ok(state)) = row.map(RecordState::decode) else { return false };
    descriptor.tags().iter().all(|tag| {
        let entry = keys::index_entry(keys::index_tag(tag), state.sequence);
        ledger.get(Table::Index, &entry).ok().flatten().is_some_and(|id| id[..] == record.0)
    })
}
