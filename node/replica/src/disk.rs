//! Writes that take a sync: what they consist of, in which order, and what is
//! reported. Whoever runs a replica gives all that waits to these functions at
//! once, on threads of its own; none of it is decided there.

use consilium_consensus::voting::VoteGuard;
use consilium_consensus::{LogIndex, LogPosition, Persist, PersistSeq};
use consilium_proto::ids::Height;
use consilium_proto::vote::Vote;

use crate::ports::{Guard, GuardRecord, Ledger, Log, LogBatch, LogStart, PortFault};

/// A write to the Raft log, strictly in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogWrite {
    /// A round of Raft.
    Round(Persist),
    /// Drop the log up to here; what it held is in the ledger.
    Compact(LogPosition),
    /// Remember votes of others. They are durable with the next round, or [`Self::Sync`].
    Votes(Vec<Vote>),
    /// Make durable what was written.
    Sync,
    /// The log is not to be called damaged any more.
    Trust,
}

/// A write that votes wait for, strictly in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteWrite {
    /// The guard, before a vote leaves (invariant I9).
    Guard {
        /// The vote.
        vote: VoteGuard,
        /// The log is committed at least up to here.
        commit: LogIndex,
        /// Votes up to this height may be lost.
        doubted: Height,
    },
    /// The certificate of an epoch's last block, before any vote of the next.
    Ledger,
}

/// The report of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Rounds up to this one.
    Log(PersistSeq),
    /// The log begins behind this.
    Compacted(LogPosition),
    /// The write that votes waited for.
    Vote,
}

/// Does all writes to the log that wait: the rounds as one batch with one sync
/// (group commit), then the newest compaction.
///
/// # Errors
/// The first failure. Nothing is reported then, and the node stops.
pub fn write_log(
    log: &impl Log,
    ledger: &impl Ledger,
    writes: impl IntoIterator<Item = LogWrite>,
) -> Result<Vec<Written>, PortFault> {
    let (mut rounds, mut votes, mut compaction, mut reports) = (Vec::new(), Vec::new(), None, Vec::new());
    let (mut sync, mut trust) = (false, false);
    for write in writes {
        match write {
            LogWrite::Round(round) => rounds.push(round),
            LogWrite::Compact(position) => compaction = Some(position),
            LogWrite::Votes(more) => votes.extend(more),
            LogWrite::Sync => sync = true,
            LogWrite::Trust => trust = true,
        }
    }
    if !rounds.is_empty() || !votes.is_empty() || sync || trust {
        let batch = LogBatch::new(&rounds, || ledger.sync())?.with_votes(&votes);
        let batch = if sync { batch.synced() } else { batch };
        log.append(&if trust { batch.trusting() } else { batch })?;
    }
    reports.extend(rounds.last().map(|last| Written::Log(last.seq)));
    if let Some(position) = compaction {
        let begins = rounds.iter().filter_map(|round| round.snapshot.as_ref()).map(|meta| meta.index).max();
        // A log that was replaced meanwhile may begin further on already.
        if begins.is_none_or(|begins| begins < position.index) {
            let start = LogStart::new(position, ledger.sync()?);
            log.compact_to(start.ok_or_else(|| PortFault::corrupt("log", "would be cut behind the ledger"))?)?;
        }
        reports.push(Written::Compacted(position));
    }
    Ok(reports)
}

/// Does a write that votes wait for. The watermark is what the log holds durably
/// now: a vote vouches for it.
///
/// # Errors
/// The failure. The vote must not leave, and the node stops.
pub fn write_for_vote(
    guard: &mut impl Guard,
    log: &impl Log,
    ledger: &impl Ledger,
    write: VoteWrite,
) -> Result<Written, PortFault> {
    match write {
        VoteWrite::Guard { vote, commit, doubted } => {
            let last = log.last();
            guard.write(GuardRecord { vote, last, commit: commit.min(last.index), doubted })?;
        }
        VoteWrite::Ledger => drop(ledger.sync()?),
    }
    Ok(Written::Vote)
}
