//! I28: at the end of the calm every honest node has every attachment that any honest node
//! has, as its record commits to it.

use std::collections::BTreeMap;

use consilium_ledger::{StateReader, Table, keys};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{NodeId, RecordId};
use consilium_proto::pb::RecordVersion;
use prost::Message;

use super::Check;
use crate::disk::LedgerStore;

/// Which payloads there are somewhere, and who lacks which. The simulator's records have
/// no other attachments.
#[derive(Default)]
pub struct Attachments {
    /// By key: whether somebody has it, and who has not.
    seen: BTreeMap<Vec<u8>, (bool, Vec<NodeId>)>,
}

impl Attachments {
    /// Looks at the ledger of a node.
    pub fn look(&mut self, node: NodeId, ledger: &LedgerStore) {
        for (_, value) in ledger.table(Table::Versions) {
            let Ok(version) = RecordVersion::decode(value.clone()) else { continue };
            let Ok(record) = RecordId::parse("record_id", &version.record_id) else { continue };
            let key = keys::payload(&record, version.version);
            let payload = ledger.get(Table::Payloads, &key).ok().flatten().unwrap_or_default();
            let (somewhere, lacking) = self.seen.entry(key).or_default();
            match sha256(&[&payload])[..] == version.payload_sha256[..] {
                true => *somewhere = true,
                false => lacking.push(node),
            }
        }
    }

    /// Compares.
    ///
    /// # Errors
    /// If a node lacks what another has.
    pub fn check(&self) -> Check {
        let lacking = self.seen.values().find(|(somewhere, lacking)| *somewhere && !lacking.is_empty());
        match lacking {
            Some((_, nodes)) => Err(format!("{nodes:?} lack a payload that others have")),
            None => Ok(()),
        }
    }
}
