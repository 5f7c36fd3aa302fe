//! Executes blocks in order and stores each in one batch: the only writer of the
//! ledger's rows. It never decides whether a block is to be executed.

use consilium_consensus::{LogIndex, LogPosition, Membership, SnapshotMeta};
use consilium_ledger::{BlockInput, Executed, LedgerRules, Tip, execute};
use consilium_proto::ids::Height;

use crate::block::CheckedBlock;
use crate::catch_up::CertifiedBlock;
use crate::fault::Fault;
use crate::io::Applied;
use crate::ports::{Ledger, PortFault};

/// What the rules ask of X.509.
pub type Rules = Box<dyn LedgerRules + Send>;

/// See the module.
pub(crate) struct Executor<L> {
    ledger: L,
    rules: Rules,
    tip: Tip,
    applied: LogIndex,
    /// In force where the ledger stands.
    membership: Membership,
    /// It is not stored with a block yet.
    membership_is_new: bool,
}

impl<L: Ledger> Executor<L> {
    /// Goes on from a tip.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn new(ledger: L, rules: Rules, (applied, tip): (LogIndex, Tip)) -> Result<Self, PortFault> {
        let membership = ledger.membership_at(tip.header.height)?;
        Ok(Self { ledger, rules, tip, applied, membership, membership_is_new: false })
    }

    pub(crate) fn ledger(&self) -> &L {
        &self.ledger
    }

    pub(crate) fn tip(&self) -> &Tip {
        &self.tip
    }

    pub(crate) fn height(&self) -> Height {
        self.tip.header.height
    }

    pub(crate) fn index(&self) -> LogIndex {
        self.applied
    }

    pub(crate) fn applied(&self) -> Applied {
        let header = &self.tip.header;
        Applied { index: self.applied, height: header.height, time: header.time, header_hash: header.hash() }
    }

    /// A membership came into force with an entry that is now being applied; it is
    /// stored with the next block.
    pub(crate) fn follow_membership(&mut self, membership: Membership) {
        self.membership = membership;
        self.membership_is_new = true;
    }

    /// An entry that is no block counts as applied.
    pub(crate) fn pass(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// A committed block.
    pub(crate) fn run(&mut self, position: LogPosition, block: &CheckedBlock) -> Result<Executed, Fault> {
        let executed = self.execute(&BlockInput {
            time: block.time,
            proposer: block.proposer,
            transactions: &block.transactions,
            observed: &block.observed,
            log_hash: SnapshotMeta::log_hash(&position, &self.membership),
        })?;
        self.store(position, executed)
    }

    /// A block whose header is certified; `None` if it was executed before.
    ///
    /// # Errors
    /// [`Fault::Diverged`] if it gives another header here; nothing is stored then.
    pub(crate) fn take_over(&mut self, block: CertifiedBlock) -> Result<Option<Executed>, Fault> {
        let CertifiedBlock { header, position, membership, transactions, observed } = block;
        if header.height <= self.height() {
            return Ok(None);
        }
        let (time, proposer) = (header.time, header.proposer);
        let log_hash = SnapshotMeta::log_hash(&position, membership.as_ref().unwrap_or(&self.membership));
        let input = BlockInput { time, proposer, transactions: &transactions, observed: &observed, log_hash };
        let executed = self.execute(&input)?;
        if executed.tip.header != header {
            let (own, certified) = (executed.tip.header.hash(), header.hash());
            return Err(Fault::Diverged { height: header.height, own, certified });
        }
        membership.into_iter().for_each(|membership| self.follow_membership(membership));
        self.store(position, executed).map(Some)
    }

    fn execute(&self, input: &BlockInput<'_>) -> Result<Executed, Fault> {
        Ok(execute(&self.ledger, &*self.rules, &self.tip, input)?)
    }

    /// Gives back all but the rows.
    fn store(&mut self, position: LogPosition, mut executed: Executed) -> Result<Executed, Fault> {
        let membership = std::mem::take(&mut self.membership_is_new).then_some(&self.membership);
        self.ledger.write_block(position, &mut executed, membership)?;
        self.applied = position.index;
        self.tip = executed.tip.clone();
        Ok(executed)
    }
}
