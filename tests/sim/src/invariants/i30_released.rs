//! I30, G6: an honest node hands contents out for a certified event and nothing else, to who
//! made the request, for a while and while its member is active; and that event stays on every
//! honest ledger.

use std::collections::BTreeMap;

use consilium_ledger::log;
use consilium_proto::ids::{Height, NodeId, TimeMs, TransactionId};
use consilium_proto::limits::RELEASE_WINDOW_MS;
use consilium_proto::pb::AccessEvent;
use prost::Message;

use super::Check;
use crate::disk::LedgerStore;

/// Contents that leave a node.
#[derive(Clone, Debug)]
pub struct Release {
    /// The node.
    pub node: NodeId,
    /// The request.
    pub transaction: TransactionId,
    /// SPIFFE id of who is given them.
    pub reader: String,
    /// What was decided; `None` if nobody had asked the ledger.
    pub event: Option<AccessEvent>,
    /// The highest certificate on the node's disk.
    pub certified: Height,
    /// Time of the node's newest block.
    pub time: TimeMs,
    /// The reader's member is active, as far as the node knows.
    pub is_active: bool,
}

/// What was released for which event.
#[derive(Debug, Default)]
pub struct Releases {
    by_request: BTreeMap<TransactionId, AccessEvent>,
}

impl Releases {
    /// Contents leave a node.
    ///
    /// # Errors
    /// If they must not.
    pub fn released(&mut self, release: Release) -> Check {
        let Release { node, transaction, reader, event, certified, time, is_active } = release;
        let Some(event) = event else {
            return Err(format!("{node} hands contents to {reader} without an event"));
        };
        if event.height > certified.0 {
            return Err(format!("{node} hands out at height {certified} what height {} decided", event.height));
        }
        if event.reader != reader || event.transaction_id[..] != *transaction.as_bytes() {
            return Err(format!("{node} hands {reader} what {} asked for", event.reader));
        }
        if time.0 >= event.time_ms + RELEASE_WINDOW_MS {
            return Err(format!("{node} hands out at {time:?} what was decided at {}", event.time_ms));
        }
        if !is_active {
            return Err(format!("{node} hands contents to {reader}, whose member is not active"));
        }
        let first = self.by_request.entry(transaction).or_insert_with(|| event.clone());
        match *first == event {
            true => Ok(()),
            false => Err(format!("{node} hands out what another node decided differently")),
        }
    }

    /// Compares with the ledger of a node that has caught up.
    ///
    /// # Errors
    /// If an event is not there.
    pub fn check(&self, ledger: &LedgerStore) -> Check {
        for (id, event) in &self.by_request {
            let place = ledger.location(id).filter(|location| location.height.0 == event.height);
            let place = place.and_then(|location| location.log);
            let entry = place.and_then(|place| log::entry(ledger, &place.log, place.place).ok().flatten());
            if entry.is_none_or(|entry| entry[..] != event.encode_to_vec()) {
                return Err(format!(
                    "contents were handed out for an event of height {} that is not there",
                    event.height
                ));
            }
        }
        Ok(())
    }
}
