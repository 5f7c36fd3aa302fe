//! Executes blocks in order and stores each in one batch: the only writer of the
//! ledger's rows. It never decides whether a block is to be executed.

use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::{BlockInput, Executed, IdentityRules, Tip, execute};
use consilium_proto::ids::Height;

use crate::block::CheckedBlock;
use crate::catch_up::CertifiedBlock;
use crate::fault::Fault;
use crate::io::Applied;
use crate::ports::Ledger;

/// What the rules ask of X.509.
pub type Rules = Box<dyn IdentityRules + Send>;

/// See the module.
pub(crate) struct Executor<L> {
    ledger: L,
    rules: Rules,
    tip: Tip,
    applied: LogIndex,
    /// In force, and not stored with a block yet.
    membership: Option<Membership>,
}

impl<L: Ledger> Executor<L> {
    /// Goes on from a tip.
    pub(crate) fn new(ledger: L, rules: Rules, (applied, tip): (LogIndex, Tip)) -> Self {
        Self { ledger, rules, tip, applied, membership: None }
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
        self.membership = Some(membership);
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
        let input = BlockInput { time, proposer, transactions: &transactions, observed: &observed };
        let executed = self.execute(&input)?;
        if executed.tip.header != header {
            let (own, certified) = (executed.tip.header.hash(), header.hash());
            return Err(Fault::Diverged { height: header.height, own, certified });
        }
        if membership.is_some() {
            self.membership = membership;
        }
        self.store(position, executed).map(Some)
    }

    fn execute(&self, input: &BlockInput<'_>) -> Result<Executed, Fault> {
        Ok(execute(&self.ledger, &*self.rules, &self.tip, input)?)
    }

    fn store(&mut self, position: LogPosition, executed: Executed) -> Result<Executed, Fault> {
        let membership = self.membership.take();
        self.ledger.write_block(position, &executed, membership.as_ref())?;
        self.applied = position.index;
        self.tip = executed.tip.clone();
        Ok(executed)
    }
}
