//! Proposals on their way through a node: decoded and verified once, before
//! they commit, and handed to the applier by log position.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition};
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{LedgerId, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use prost::Message;

/// A decoded proposal.
#[derive(Debug)]
pub struct CheckedBlock {
    /// As proposed.
    pub time: TimeMs,
    /// The leader's own claim.
    pub proposer: NodeId,
    /// Those that passed the stateless checks.
    pub transactions: Vec<CheckedTransaction>,
    /// What the leader had seen.
    pub observed: Observed,
}

impl CheckedBlock {
    /// Decodes a log entry. A transaction that fails the stateless checks is
    /// left out, alike on every node; an honest leader proposes none.
    #[must_use]
    pub fn decode(entry: Bytes, ledger: LedgerId) -> Option<Self> {
        let proposal = pb::BlockProposal::decode(entry).ok()?;
        // Malformed observations count as none, alike on every node.
        let observed = Observed::of_proposal(&proposal).unwrap_or_default();
        let transactions = proposal
            .transactions
            .iter()
            .filter_map(|t| Transaction::parse(t, ledger).ok())
            .map(|transaction| CheckedTransaction { transaction, verified_under: None })
            .collect();
        Some(Self { time: TimeMs(proposal.time_ms), proposer: NodeId(proposal.proposer), transactions, observed })
    }
}

enum Slot {
    Queued,
    Working,
    Done(Option<CheckedBlock>),
}

/// Blocks under verification, by position in the log.
#[derive(Default)]
pub struct BlockQueue {
    slots: Mutex<BTreeMap<LogPosition, Slot>>,
    done: Condvar,
}

impl BlockQueue {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LogPosition, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces an entry that a verifier will look at.
    pub fn announce(&self, position: LogPosition) {
        self.lock().insert(position, Slot::Queued);
    }

    /// A verifier takes an entry; `false` if the applier was faster.
    #[must_use]
    pub fn start(&self, position: LogPosition) -> bool {
        match self.lock().get_mut(&position) {
            Some(slot @ Slot::Queued) => {
                *slot = Slot::Working;
                true
            }
            Some(Slot::Working | Slot::Done(_)) | None => false,
        }
    }

    /// A verifier is done, or the leader has built the block itself.
    pub fn finish(&self, position: LogPosition, block: Option<CheckedBlock>) {
        self.lock().insert(position, Slot::Done(block));
        self.done.notify_all();
    }

    /// The applier takes the entry: `Some` if a verifier has looked at it,
    /// waiting for one that is at it.
    #[must_use]
    pub fn take(&self, position: LogPosition) -> Option<Option<CheckedBlock>> {
        let mut slots = self.lock();
        loop {
            match slots.remove(&position) {
                None | Some(Slot::Queued) => return None,
                Some(Slot::Done(block)) => return Some(block),
                Some(Slot::Working) => {
                    slots.insert(position, Slot::Working);
                    slots = self.done.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Forgets what is at or below an index.
    pub fn forget(&self, applied: LogIndex) {
        self.lock().retain(|position, slot| position.index > applied || matches!(slot, Slot::Working));
    }
}
