//! How a node starts: what it finds on its disk is made durable, because a process
//! that was killed may have left it without a sync; then the disk is checked against
//! itself, and a catching up that a crash interrupted is finished. What the peers remember of
//! it is asked for later, in [`crate::recall`].

use consilium_consensus::{HardState, Initial, LogIndex, LogPosition, Membership, RaftId};
use consilium_ledger::{Executed, Tip, genesis_block};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::Height;
use consilium_proto::vote::Vote;

use crate::ports::{Guard, GuardRecord, Ledger, Log, LogStart, PortFault};

/// Why a node must not start from a disk.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartRefused {
    /// The disk failed, or contradicts itself.
    #[error(transparent)]
    Port(#[from] PortFault),
    /// A vote vouched for entries that are gone.
    #[error(
        "the Raft log ends at {last}, but this node has voted with a log up to {voted_with}: the disk has lost synced \
         writes. This node must not vote again under its raft id; see docs/operations.md, \"A disk that lost writes\""
    )]
    LogLost {
        /// Where the log ends.
        last: LogIndex,
        /// What the guard remembers of it.
        voted_with: LogIndex,
    },
    /// The genesis names no usable membership.
    #[error("genesis membership: {0}")]
    Membership(String),
    /// The genesis cannot be executed.
    #[error("genesis block: {0}")]
    Genesis(consilium_ledger::ExecutionError),
}

/// What a disk is known to have lost, and nobody can tell whether it had been promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Own votes up to this height; 0 if none.
    pub guard: Height,
    /// The end of the log.
    pub log: bool,
}

/// A disk that a replica can start from.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// For Raft.
    pub initial: Initial,
    /// Where the ledger stands.
    pub tip: Tip,
    /// What the guard remembers.
    pub guard: GuardRecord,
    /// What it may have forgotten.
    pub doubt: Doubt,
    /// What it remembers of the votes of others.
    pub votes: Vec<Vote>,
}

/// Checks a disk, and finishes what a crash interrupted between executing
/// certified blocks and replacing the log.
///
/// # Errors
/// [`StartRefused`]; nothing that was promised is lost by not starting.
pub fn recover(ledger: &impl Ledger, log: &impl Log, guard: &mut impl Guard) -> Result<Recovered, StartRefused> {
    let (guard, guard_is_damaged, log_is_damaged) = (guard.recall()?, guard.is_damaged(), log.is_damaged()?);
    log.sync()?;
    let synced = ledger.sync()?;
    let (mut hard_state, last) = (log.hard_state()?, log.last().index);
    log_reaches(&guard, last, hard_state)?;
    let (applied, tip) = ledger.tip()?.ok_or_else(|| PortFault::corrupt("ledger", "has no genesis block"))?;
    let lost = match (guard_is_damaged, log_is_damaged) {
        (false, _) => Height(0),
        // What is voted on was executed from a durable log, of which each entry is a block at most.
        (true, false) => Height(tip.header.height.0.saturating_add(last.0.saturating_sub(applied.0))),
        (true, true) => Height(u64::MAX),
    };
    let doubt = Doubt { guard: guard.doubted.max(lost), log: log_is_damaged };
    if applied > last {
        let position = ledger.position(tip.header.height)?.filter(|p| p.index == applied);
        let position = position.ok_or_else(|| PortFault::corrupt("ledger", "ahead of the log without a position"))?;
        hard_state = behind(hard_state, position);
        let start = LogStart::new(position, synced);
        log.reset_to(start.ok_or_else(|| PortFault::corrupt("ledger", "behind its own tip"))?, hard_state)?;
    }
    // What is applied was committed; the commit may have been on its way.
    hard_state.commit = hard_state.commit.max(applied);
    let membership = ledger.membership_at(tip.header.height)?;
    let initial = Initial { hard_state, membership, applied };
    Ok(Recovered { initial, tip, guard, doubt, votes: log.votes()? })
}

/// Whether a log that ends at `last` holds what the guard's vote vouched for.
///
/// # Errors
/// [`StartRefused::LogLost`].
pub fn log_reaches(guard: &GuardRecord, last: LogIndex, hard_state: HardState) -> Result<(), StartRefused> {
    match lost(guard, last, hard_state) {
        Some(voted_with) => Err(StartRefused::LogLost { last, voted_with }),
        None => Ok(()),
    }
}

/// How far the log must reach, if it does not. What is committed is never cut. What
/// is not may be, by a later leader: in a term above that of the last entry, which is
/// durable with the cut.
fn lost(guard: &GuardRecord, last: LogIndex, hard_state: HardState) -> Option<LogIndex> {
    let may_be_cut = hard_state.term > guard.last.term;
    let needed = if may_be_cut { guard.commit } else { guard.last.index };
    (last < needed).then_some(needed)
}

/// The hard state of a log that begins behind a position.
pub(crate) fn behind(hard_state: HardState, position: LogPosition) -> HardState {
    HardState { term: hard_state.term.max(position.term), commit: position.index, ..hard_state }
}

/// Executes the genesis document on an empty ledger and stores it.
///
/// # Errors
/// [`StartRefused`].
pub fn write_genesis(ledger: &impl Ledger, genesis: &Genesis) -> Result<Tip, StartRefused> {
    let mut executed: Executed = genesis_block(ledger, genesis).map_err(StartRefused::Genesis)?;
    // Also where this node is not among them: the log says what came after.
    let founders = genesis.nodes().filter_map(|(_, node)| RaftId::new(node.raft_id.0));
    let membership = Membership::new(founders, []);
    membership.validate().map_err(|e| StartRefused::Membership(e.to_string()))?;
    ledger.write_block(LogPosition::default(), &mut executed, Some(&membership))?;
    ledger.sync()?;
    Ok(executed.tip)
}
