//! The applier: executes committed blocks in order and writes each one's rows
//! in one batch. The only writer of the ledger's tables.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consilium_consensus::{EntryKind, LogEntry, LogIndex, LogPosition, Membership};
use consilium_ledger::{BlockInput, CheckedTransaction, Executed, ExecutionError, Tip, execute};
use consilium_proto::header::Header;
use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::pb::{MemberState, MemberStatus};
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
    /// Committed entries, in order; and the memberships that entries among them
    /// put into force.
    Committed(Vec<LogEntry>, Vec<(LogIndex, Membership)>),
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
    /// Raft's membership as of `position`, if it changed since the block before.
    pub membership: Option<Membership>,
    /// In ledger order, with the attachments that still exist.
    pub transactions: Vec<CheckedTransaction>,
    /// As in the block.
    pub observed: Observed,
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
    /// In force, and not stored with a block yet.
    membership: Option<Membership>,
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
        Self {
            shared,
            blocks,
            verifier,
            driver,
            certifier,
            tip,
            applied,
            membership: None,
            cache: StateCache::default(),
        }
    }

    /// Runs until the driver is gone.
    ///
    /// # Errors
    /// If the store fails, or a certified block does not give its header.
    pub fn run(mut self, work: &Receiver<ApplierMsg>) -> Result<(), Fault> {
        while let Ok(message) = work.recv() {
            match message {
                ApplierMsg::Stop => return Ok(()),
                ApplierMsg::Committed(entries, memberships) => {
                    let last = entries.last().map(|e| e.index);
                    let mut memberships = memberships.into_iter().peekable();
                    for entry in entries {
                        if let Some((_, membership)) = memberships.next_if(|(index, _)| *index == entry.index)
                            && entry.index > self.applied
                        {
                            self.membership = Some(membership);
                        }
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
                    observed: &block.observed,
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
        let CertifiedBlock { header, position, membership, transactions, observed } = block;
        if header.height <= self.tip.header.height {
            return Ok(());
        }
        let input = BlockInput {
            time: TimeMs(header.time.0),
            proposer: NodeId(header.proposer.0),
            transactions: &transactions,
            observed: &observed,
        };
        let executed = self.execute(&input)?;
        if executed.tip.header != header {
            return Err(Fault::Diverged { height: header.height });
        }
        if membership.is_some() {
            self.membership = membership;
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
        let membership = self.membership.take();
        self.shared.ledger.write_block(position, &executed, membership.as_ref()).map_err(Fault::Storage)?;
        record_seconds("consilium_block_write_seconds", started);
        self.cache.update(&executed.rows);
        self.applied = position.index;
        self.tip = executed.tip;
        let header = &self.tip.header;
        let events = executed.events;
        let changed_members = events.changed_members().next().is_some();
        if events.changed_nodes() || changed_members {
            self.shared.topology.reload(&self.shared.ledger, header).map_err(Fault::Storage)?;
        }
        if changed_members {
            self.note_cuts(events.changed_members());
            self.shared.trust.reload(&self.shared.ledger, header.height).map_err(Fault::Storage)?;
        }
        if let Some(unseen) = events.unseen() {
            self.shared.sightings().unseen = unseen.clone();
        }
        let certified = self.shared.certified_height();
        self.shared.waiters.executed(executed.leaves.iter().map(|(_, leaf)| leaf), certified);
        events.expired().for_each(|id| self.shared.waiters.refuse(id, Refused::Expired));
        metrics::counter!("consilium_transactions_total").increment(executed.leaves.len() as u64);
        metrics::gauge!("consilium_applied_height").set(self.tip.header.height.0 as f64);
        self.publish();
        let header = Box::new(self.tip.header.clone());
        let message = CertifierMsg::Executed { header, votable: voted_on, next_set: events.next_set().cloned() };
        self.certifier.send(message).map_err(|_| Fault::Stopped("certifier"))?;
        if events.changed_nodes() {
            let keys = self.shared.topology.get().vote_keys();
            self.certifier.send(CertifierMsg::Nodes(keys)).map_err(|_| Fault::Stopped("certifier"))?;
        }
        Ok(())
    }

    /// Remembers which members this block cut off, so that the time until their
    /// last connection is closed can be measured.
    fn note_cuts<'a>(&self, changed: impl Iterator<Item = &'a MemberState>) {
        for member in changed.filter(|m| m.status != MemberStatus::Active as i32) {
            if self.shared.trust.stands(&member.id) {
                self.shared.member_cut(&member.id, self.tip.header.height);
            }
        }
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
