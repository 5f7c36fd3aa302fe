//! Cutting blocks from the queue, while this node leads.

use consilium_consensus::{Core, LogIndex, LogReader, Role};
use consilium_proto::ids::{Height, NodeId, TimeMs, TransactionId};
use consilium_proto::observed::Observed;
use consilium_proto::transaction::Transaction;

use super::mempool::{Mempool, Queued};
use super::pace::{Pace, Wanted};
use super::share::Share;
use crate::block::CheckedBlock;
use crate::entries::Entries;
use crate::io::{Applied, Output};
use crate::notice::Notice;
use crate::topology::Topology;

/// Age of the newest block from which on one without transactions is made for who wants the
/// ledger's time to pass: nobody can fill the ledger with such blocks, whomever it asks.
const TIME_BLOCK_PAUSE_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Proposing {
    mempool: Mempool,
    /// Newest proposal of this node.
    proposed: LogIndex,
    pace: Pace,
    /// For which a turn is ordered already.
    turn_at_ms: u64,
    /// Somebody needs the ledger's time to pass this.
    time_wanted: Option<TimeMs>,
    in_flight_max: u64,
}

/// What a proposal is made of besides transactions.
pub(crate) struct Moment<'a> {
    pub(crate) me: NodeId,
    pub(crate) monotonic_ms: u64,
    pub(crate) wall: TimeMs,
    /// Whether the clock is apart from the other validators': its time is not for a block.
    pub(crate) apart: bool,
    pub(crate) applied: Applied,
    pub(crate) certified: Height,
    pub(crate) topology: &'a Topology,
}

impl Proposing {
    pub(crate) fn new(mempool: Mempool, in_flight_max: u64) -> Self {
        Self { mempool, proposed: LogIndex(0), pace: Pace::default(), turn_at_ms: 0, time_wanted: None, in_flight_max }
    }

    /// Queues a transaction.
    ///
    /// # Errors
    /// The transaction's id, if there is no room.
    pub(crate) fn push(&mut self, queued: Queued, monotonic_ms: u64) -> Result<(), TransactionId> {
        self.mempool.push(queued)?;
        self.pace.came(monotonic_ms);
        Ok(())
    }

    /// Whether a transaction is in the queue, or has a place of its own there if it is urgent.
    pub(crate) fn expects(&self, transaction: &Transaction, right_of: Option<&Share>) -> bool {
        let has_place = |share| self.mempool.has_place(share, transaction.size());
        self.mempool.holds(&transaction.id) || right_of.is_some_and(has_place)
    }

    /// This node does not lead any more: whoever waits for what was queued sends it
    /// to the next leader.
    pub(crate) fn clear(&mut self) {
        self.mempool.clear();
    }

    pub(crate) fn queued(&self) -> usize {
        self.mempool.len()
    }

    /// Somebody needs the ledger's time to pass a moment.
    /// What lies beyond `latest` is nobody's honest wish, and would shadow those of others.
    pub(crate) fn want_time(&mut self, after: TimeMs, latest: TimeMs) {
        if after <= latest {
            self.time_wanted = self.time_wanted.max(Some(after));
        }
    }

    /// Whether a block is to be proposed now.
    pub(crate) fn is_due<R: LogReader>(&self, core: &Core<R>, moment: &Moment<'_>) -> bool {
        self.has_turn(core, moment)
            && self.is_worth_while(moment)
            && (!self.mempool.is_empty() || self.time_block_due(moment))
    }

    fn has_turn<R: LogReader>(&self, core: &Core<R>, moment: &Moment<'_>) -> bool {
        core.role() == Role::Leader && !moment.apart && self.under_way(moment) < self.in_flight_max
    }

    fn under_way(&self, moment: &Moment<'_>) -> u64 {
        self.proposed.0.saturating_sub(moment.applied.index.0)
    }

    /// In how many milliseconds those that wait are worth a block, though no more come: once for each
    /// such moment, and `None` if only something else can make them so.
    pub(crate) fn take_turn_in<R: LogReader>(&mut self, core: &Core<R>, moment: &Moment<'_>) -> Option<u64> {
        let until_ms = self.wanted(moment).until_ms;
        let waits = !self.mempool.is_empty() && self.has_turn(core, moment) && !self.is_worth_while(moment);
        if !waits || until_ms == u64::MAX || until_ms == self.turn_at_ms {
            return None;
        }
        self.turn_at_ms = until_ms;
        Some(until_ms.saturating_sub(moment.monotonic_ms))
    }

    /// A block was executed here.
    pub(crate) fn executed(&mut self, monotonic_ms: u64) {
        self.pace.executed(monotonic_ms);
    }

    /// A block was certified.
    pub(crate) fn certified(&mut self, monotonic_ms: u64) {
        self.pace.certified(monotonic_ms, self.mempool.len());
    }

    /// What is urgent does not wait to be more.
    fn is_worth_while(&self, moment: &Moment<'_>) -> bool {
        let full = moment.topology.parameters().block_transactions_max as usize;
        self.mempool.holds_rights() || self.mempool.len() >= self.wanted(moment).count.min(full)
    }

    fn wanted(&self, moment: &Moment<'_>) -> Wanted {
        let is_certified = moment.certified >= moment.applied.height;
        self.pace.wanted(moment.monotonic_ms, self.under_way(moment), is_certified)
    }

    /// Whether a block without transactions is wanted: somebody waits for the
    /// ledger's time to pass, or the epoch is over and only a block can end it.
    fn time_block_due(&self, moment: &Moment<'_>) -> bool {
        if self.proposed > moment.applied.index {
            return false;
        }
        let age_ms = moment.wall.0.saturating_sub(moment.applied.time.0);
        let behind = |after| moment.applied.time <= after && moment.wall > after && age_ms >= TIME_BLOCK_PAUSE_MS;
        moment.wall >= moment.topology.epoch_ends() || self.time_wanted.is_some_and(behind)
    }

    /// Proposes a block. What does not fit into the queue any more when Raft does
    /// not take it comes back.
    ///
    /// # Errors
    /// The transactions that were lost, if Raft did not take the block.
    pub(crate) fn propose<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        moment: &Moment<'_>,
        observed: Observed,
        entries: &mut Entries,
        out: &mut Vec<Output>,
    ) -> Result<(), Vec<TransactionId>> {
        let parameters = moment.topology.parameters();
        let cut = self.mempool.cut(parameters.block_transactions_max as usize, parameters.block_bytes_max as usize);
        let (rights, transactions): (Vec<_>, _) =
            cut.into_iter().map(|queued| (queued.right_of, queued.checked)).unzip();
        let block = CheckedBlock { time: moment.wall, proposer: moment.me, observed, transactions };
        match core.propose(block.encode()) {
            Ok(proposed) => {
                let transactions = block.transactions.len();
                self.proposed = proposed.index;
                self.pace.proposed(moment.monotonic_ms, transactions);
                out.push(Output::Notice(Notice::Proposed { index: proposed.index, transactions }));
                entries.built(proposed, block);
                Ok(())
            }
            Err(error) => {
                out.push(Output::Notice(Notice::NotProposed(error.to_string())));
                let back = block.transactions.into_iter().zip(rights);
                let lost = back.filter_map(|(checked, right_of)| self.mempool.push(Queued { checked, right_of }).err());
                Err(lost.collect())
            }
        }
    }
}
