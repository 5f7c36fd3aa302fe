//! The writer: the only one to write the Raft log. All rounds that wait are
//! one batch with one sync (group commit); messages that vouch for a round
//! leave after its sync. The first failure stops the node.

use std::sync::Arc;
use std::time::Instant;

use consilium_consensus::{LogPosition, Persist};
use crossbeam_channel::{Receiver, Sender};

use super::driver::DriverMsg;
use super::shared::record_seconds;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;
use crate::storage::raft_log::RaftLog;
use crate::transport::Outbox;

/// Rounds written at once.
const ROUNDS_MAX: usize = 64;

/// Work for the writer.
#[derive(Debug)]
pub enum WriterMsg {
    /// A round of the core.
    Persist(Persist),
    /// Drop the log up to here; what it held is in the ledger.
    Compact(LogPosition),
    /// Write what came before, then end.
    Stop,
}

/// The writer's belongings.
pub struct Writer {
    /// The log.
    pub log: RaftLog,
    /// The ledger, synced before the log is compacted.
    pub ledger: Arc<LedgerStore>,
    /// To the peers.
    pub outbox: Outbox,
    /// Reports.
    pub driver: Sender<DriverMsg>,
}

impl Writer {
    /// Runs until the driver is gone.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn run(self, work: &Receiver<WriterMsg>) -> Result<(), StorageError> {
        while let Ok(first) = work.recv() {
            let mut rounds = Vec::new();
            let mut compaction = None;
            let mut next = Some(first);
            let mut stop = false;
            while let Some(message) = next.take() {
                match message {
                    WriterMsg::Persist(round) => rounds.push(round),
                    WriterMsg::Compact(position) => compaction = Some(position),
                    WriterMsg::Stop => {
                        stop = true;
                        break;
                    }
                }
                if rounds.len() < ROUNDS_MAX {
                    next = work.try_recv().ok();
                }
            }
            self.persist(rounds)?;
            if let Some(position) = compaction {
                self.compact(position)?;
            }
            if stop {
                return Ok(());
            }
        }
        Ok(())
    }

    fn persist(&self, rounds: Vec<Persist>) -> Result<(), StorageError> {
        let Some(last) = rounds.last() else { return Ok(()) };
        let seq = last.seq;
        let started = Instant::now();
        if rounds.iter().any(|round| round.snapshot.is_some()) {
            // The log is about to begin behind blocks that were just executed:
            // they must not be lost after it is (as before a compaction).
            self.ledger.sync()?;
        }
        self.log.persist(&rounds)?;
        record_seconds("consilium_log_persist_seconds", started);
        // The report goes first: an answer to one of the messages must not reach
        // the driver before it knows that the write is durable.
        let _ = self.driver.send(DriverMsg::Persisted(seq));
        for message in rounds.into_iter().flat_map(|round| round.messages_after) {
            self.outbox.send_raft(message);
        }
        Ok(())
    }

    fn compact(&self, position: LogPosition) -> Result<(), StorageError> {
        self.ledger.sync()?;
        self.log.compact_to(position)?;
        let _ = self.driver.send(DriverMsg::Compacted(position));
        Ok(())
    }
}
