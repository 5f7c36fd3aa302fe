//! One replica on one disk, and what it asks for done at once: writes are
//! reported, entries decoded and their signatures looked at.

use std::fmt;
use std::num::NonZeroU32;

use consilium_consensus::{Config, ElectionTicks, RaftId};
use consilium_ledger::{CheckedTransaction, StateReader, Table, is_signed_enrollment, keys};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{LedgerId, NodeId};
use consilium_proto::pb::SignerState;
use consilium_proto::signing::VerifyingKey;
use consilium_proto::transaction::Transaction;
use consilium_replica::block::CheckedBlock;
use consilium_replica::catch_up::audit;
use consilium_replica::disk::{write_for_vote, write_log};
use consilium_replica::start::{recover, write_genesis};
use consilium_replica::submission::{Submission, Verdict};
use consilium_replica::{AccessQuota, CachedLedger, Clock, Fault, Input, Output, Replica, Settings, Start};
use prost::Message;

use super::{Disk, LedgerPort, LogPort};
use crate::{Rules, keys as kit_keys};

/// A replica and its disk.
pub struct Node {
    pub replica: Replica<CachedLedger<LedgerPort>, LogPort>,
    pub disk: Disk,
    /// Outputs that are not done, though they could be.
    pub hold: fn(&Output) -> bool,
    held: Vec<Output>,
    ledger_id: LedgerId,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("me", &self.replica.me()).field("applied", &self.replica.applied()).finish()
    }
}

/// An election timeout of one value, distinct by node, so that nothing is drawn.
#[must_use]
pub fn settings(me: NodeId) -> Settings {
    let mut core = Config::new(RaftId::new(me.0).unwrap());
    let min = 8 + 2 * (me.0 as u32 % 16);
    core.election_ticks = ElectionTicks { min, max: min + 1 };
    Settings {
        core,
        blocks_in_flight: 4,
        log_entries_max: 1_000,
        log_entries_kept: 4,
        certificate_timeout_ms: 3_000,
        rights_patience_ms: 3_000,
        fetch_timeout_ms: 600,
        audit_ms: 3_600_000,
        queued_transactions_max: 10_000,
        queued_bytes_max: 64 << 20,
        access_quota: AccessQuota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX },
    }
}

impl Node {
    /// Starts on a disk; an empty one is given the genesis.
    ///
    /// # Errors
    /// As [`Replica::new`].
    pub fn start(genesis: &Genesis, settings: Settings, disk: Disk, now: Clock) -> Result<Self, Fault> {
        let me = NodeId(settings.core.id.get());
        if consilium_replica::ports::Ledger::tip(&disk.ledger)?.is_none() {
            write_genesis(&disk.ledger, genesis).unwrap();
        }
        let recovered = recover(&disk.ledger, &disk.log, &mut disk.guard.clone()).unwrap();
        let replica = Replica::new(Start {
            me,
            ledger_id: genesis.ledger_id,
            key: kit_keys::vote(me.0),
            introduction: None,
            settings,
            ledger: CachedLedger::new(disk.ledger.clone()),
            log: disk.log.clone(),
            rules: Box::new(Rules),
            recovered,
            now,
        })?;
        Ok(Self { replica, disk, hold: |_| false, held: Vec::new(), ledger_id: genesis.ledger_id })
    }

    /// Takes inputs and does what is asked for, until nothing is left to do here.
    /// Gives all outputs, also those that were done.
    pub fn settle(&mut self, now: Clock, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let mut inputs: Vec<Input> = inputs.into_iter().collect();
        let mut all = Vec::new();
        while !inputs.is_empty() {
            let outputs = self.replica.handle(now, inputs.drain(..));
            for output in &outputs {
                if (self.hold)(output) {
                    self.held.push(output.clone());
                } else {
                    inputs.extend(self.perform(output));
                }
            }
            all.extend(outputs);
        }
        all
    }

    /// What was held, and is not any more; nothing is held from here on.
    #[must_use]
    pub fn release(&mut self) -> Vec<Output> {
        self.hold = |_| false;
        std::mem::take(&mut self.held)
    }

    /// Does an output that concerns this node alone; gives the report.
    pub fn perform(&mut self, output: &Output) -> Vec<Input> {
        let Disk { ledger, log, guard, .. } = &mut self.disk;
        match output {
            Output::WriteLog(write) => {
                write_log(log, ledger, [write.clone()]).unwrap().into_iter().map(Input::Written).collect()
            }
            Output::WriteVote(write) => vec![Input::Written(write_for_vote(guard, log, ledger, *write).unwrap())],
            Output::Check { position, entry } => {
                let block = CheckedBlock::decode(entry.clone(), self.ledger_id).map(|block| self.verified(block));
                vec![Input::Checked { position: *position, block }]
            }
            Output::Audit(run) => {
                vec![Input::Audited { run: *run, audited: audit(ledger, self.ledger_id, *run).unwrap() }]
            }
            Output::Continue => vec![Input::Continue],
            Output::Send { .. }
            | Output::Forward { .. }
            | Output::Fetch { .. }
            | Output::FetchAttachments { .. }
            | Output::StopFetch(_)
            | Output::Answer { .. }
            | Output::ForwardedAnswer { .. }
            | Output::ReadAnswer { .. }
            | Output::TransferAnswer { .. }
            | Output::Executed(_)
            | Output::Applied(_)
            | Output::TurnIn { .. }
            | Output::Certified(_)
            | Output::Topology(_)
            | Output::Leader(_)
            | Output::Status(_)
            | Output::Raise(_)
            | Output::Clear(_)
            | Output::Notice(_)
            | Output::Halt(_) => Vec::new(),
        }
    }

    /// A block whose signatures were looked at.
    #[must_use]
    pub fn verified(&self, mut block: CheckedBlock) -> CheckedBlock {
        for checked in &mut block.transactions {
            checked.verified_under = self.key_of(checked).filter(|key| verifies(&checked.transaction, key));
        }
        block
    }

    /// A transaction whose signature was looked at.
    #[must_use]
    pub fn submission(&self, transaction: Transaction) -> Submission {
        let checked = CheckedTransaction { transaction, verified_under: None };
        let verdict = match self.key_of(&checked) {
            _ if is_signed_enrollment(&Rules, &checked.transaction) == Some(true) => Verdict::Enrollment,
            _ if checked.transaction.enrollment().is_some() => Verdict::BadSignature,
            Some(key) if verifies(&checked.transaction, &key) => Verdict::Good(key),
            Some(_) => Verdict::BadSignature,
            None => Verdict::UnknownAuthor,
        };
        Submission { transaction: checked.transaction, verdict }
    }

    fn key_of(&self, checked: &CheckedTransaction) -> Option<VerifyingKey> {
        let row = self.disk.ledger.get(Table::State, &keys::signer(&checked.transaction.head.author)).unwrap()?;
        VerifyingKey::from_bytes(&SignerState::decode(row).unwrap().signing_key).ok()
    }
}

fn verifies(transaction: &Transaction, key: &VerifyingKey) -> bool {
    transaction.signed().verify(key).is_ok()
}
