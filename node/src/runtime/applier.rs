//! The applier: executes committed blocks in order and writes each one's rows
//! in one batch. The only writer of the ledger's tables.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consilium_consensus::{EntryKind, LogEntry, LogIndex, LogPosition};
use consilium_ledger::{BlockInput, CheckedTransaction, Executed, ExecutionError, Tip, execute};
use consilium_proto::header::Header;
use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::pb;
use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::Fault;
use super::blocks::{BlockQueue, CheckedBlock};
use super::certifier::CertifierMsg;
use super::driver::DriverMsg;
use super::shared::{Applied, Shared, record_seconds};
use super::state_cache::StateCache;
use super::verifier::Verifier;
use super::waiters::Refused;
use crate::identity::rules::X509Rules;

/// Work for the applier.
#[derive(Debug)]
pub enum ApplierMsg {
    /// Committed entries, in order.
    Committed(Vec<LogEntry>),
    /// A certified block from a peer, to catch up by.
    Certified(Box<CertifiedBlock>, oneshot::Sender<Result<(), String>>),
    /// End.
    Stop,
}

/// A block whose header is known to be certified.
#[derive(Debug)]
pub struct CertifiedBlock {
    /// The header that executing it must give.
    pub header: Header,
    /// Where it stood in the sender's log.
    pub position: LogPosition,
    /// In ledger order, with the attachments that still exist.
    pub transactions: Vec<CheckedTransaction>,
    /// As in the block.
    pub observed_certificate: Option<pb::BlockCertificate>,
}

/// The applier's state.
pub struct Applier {
    shared: Arc<Shared>,
    blocks: Arc<BlockQueue>,
    verifier: Arc<Verifier>,
    driver: Sender<DriverMsg>,
    certifier: Sender<CertifierMsg>,
    tip: Tip,
    applied: LogIndex,
    cache: StateCache,
}

impl Applier {
    /// Starts at a tip.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        blocks: Arc<BlockQueue>,
        verifier: Arc<Verifier>,
        driver: Sender<DriverMsg>,
        certifier: Sender<CertifierMsg>,
        (applied, tip): (LogIndex, Tip),
    ) -> Self {
        Self { shared, blocks, verifier, driver, certifier, tip, applied, cache: StateCache::default() }
    }

    /// Runs until the driver is gone.
    ///
    /// # Errors
    /// If the store fails, or a certified block does not give its header.
    pub fn run(mut self, work: &Receiver<ApplierMsg>) -> Result<(), Fault> {
        while let Ok(message) = work.recv() {
            match message {
                ApplierMsg::Stop => return Ok(()),
                ApplierMsg::Committed(entries) => {
                    let last = entries.last().map(|e| e.index);
                    for entry in entries {
                        self.entry(entry)?;
                    }
                    if let Some(index) = last {
                        let _ = self.driver.send(DriverMsg::Applied(index));
                    }
                }
                ApplierMsg::Certified(block, reply) => {
                    let result = self.certified(*block);
                    let fault = result.as_ref().err().is_some_and(|e| matches!(e, Fault::Storage(_)));
                    let _ = reply.send(result.as_ref().map(|_| ()).map_err(ToString::to_string));
                    if fault {
                        return result;
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: LogEntry) -> Result<(), Fault> {
        if entry.index <= self.applied {
            return Ok(());
        }
        let position = entry.position();
        let block = match entry.kind {
            EntryKind::Normal(bytes) => self.block(position, bytes),
            EntryKind::ConfChange(_) | EntryKind::Empty => None,
        };
        match block {
            Some(block) => {
                let input = BlockInput {
                    time: block.time,
                    proposer: block.proposer,
                    transactions: &block.transactions,
                    observed_certificate: block.observed_certificate,
                };
                let executed = self.execute(&input)?;
                self.store(position, executed, true)
            }
            None => {
                self.applied = entry.index;
                self.publish();
                Ok(())
            }
        }
    }

    fn block(&self, position: LogPosition, bytes: Bytes) -> Option<CheckedBlock> {
        match self.blocks.take(position) {
            Some(block) => block,
            None => {
                let mut block = CheckedBlock::decode(bytes, self.shared.genesis.ledger_id);
                self.verifier.verify(block.iter_mut().flat_map(|b| b.transactions.iter_mut()));
                block
            }
        }
        .or_else(|| {
            tracing::error!(index = position.index.0, "a log entry is no block: the leader is faulty");
            None
        })
    }

    fn certified(&mut self, block: CertifiedBlock) -> Result<(), Fault> {
        let CertifiedBlock { header, position, transactions, observed_certificate } = block;
        if header.height <= self.tip.header.height {
            return Ok(());
        }
        let input = BlockInput {
            time: TimeMs(header.time.0),
            proposer: NodeId(header.proposer.0),
            transactions: &transactions,
            observed_certificate,
        };
        let executed = self.execute(&input)?;
        if executed.tip.header != header {
            return Err(Fault::Diverged { height: header.height });
        }
        self.store(position, executed, false)
    }

    fn execute(&self, input: &BlockInput<'_>) -> Result<Executed, Fault> {
        let started = Instant::now();
        let executed = execute(&self.cache.reader(&self.shared.ledger), &X509Rules, &self.tip, input)?;
        record_seconds("consilium_block_execute_seconds", started);
        Ok(executed)
    }

    fn store(&mut self, position: LogPosition, executed: Executed, voted_on: bool) -> Result<(), Fault> {
        let started = Instant::now();
        self.shared.ledger.write_block(position, &executed).map_err(Fault::Storage)?;
        record_seconds("consilium_block_write_seconds", started);
        if !executed.changed_members.is_empty() {
            self.shared.trust.reload(&self.shared.ledger).map_err(Fault::Storage)?;
        }
        self.cache.update(&executed.rows);
        self.applied = position.index;
        self.tip = executed.tip;
        let certified = self.shared.certified_height();
        self.shared.waiters.executed(executed.leaves.iter().map(|(_, leaf)| leaf), certified);
        executed.expired.iter().for_each(|id| self.shared.waiters.refuse(id, Refused::Expired));
        metrics::counter!("consilium_transactions_total").increment(executed.leaves.len() as u64);
        metrics::gauge!("consilium_applied_height").set(self.tip.header.height.0 as f64);
        self.publish();
        let message = CertifierMsg::Executed { header: Box::new(self.tip.header.clone()), votable: voted_on };
        self.certifier.send(message).map_err(|_| Fault::Stopped("certifier"))
    }

    fn publish(&self) {
        let header = &self.tip.header;
        self.shared.applied.send_replace(Applied {
            index: self.applied,
            height: header.height,
            time: header.time,
            header_hash: header.hash(),
        });
    }
}

impl From<ExecutionError> for Fault {
    fn from(error: ExecutionError) -> Self {
        Self::Execution(error)
    }
}
