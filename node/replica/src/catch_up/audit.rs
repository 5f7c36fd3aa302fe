//! A slow walk over the own ledger, all the time: whether each attachment that a block
//! commits to is there, and is what it commits to. What this disk lost, or somebody changed
//! by hand, is noted as missing, and so looked for at the peers.
//!
//! The looks take a disk's time and are done outside of the replica, one run of blocks at a time;
//! how often is decided here. So much of the node's time is given to it: four MiB a second, of
//! which a block counts for two KiB at least. A hundred million small blocks take fourteen hours,
//! a terabyte three days. A walk ends where the ledger stood when it began: one that
//! followed a ledger which grows faster than it goes would never begin again, and never see what
//! is lost behind it. Where it stands is not kept: a start begins again.

use consilium_ledger::Table;
use consilium_ledger::missing::{Missing, is_wanted};
use consilium_proto::ids::{Height, LedgerId};
use consilium_proto::pb::Outcome;
use consilium_proto::transaction::Transaction;

use super::serve::stored;
use crate::io::Output;
use crate::notice::Notice;
use crate::ports::{Ledger, PortFault};

/// Bytes that are looked at in a millisecond: four MiB a second.
const BYTES_PER_MS: u64 = 4 * 1_024;
/// What a block counts for, however small it is: its rows have to be found.
const BLOCK_BYTES: u64 = 2 * 1_024;
/// Blocks of a run: there is one run a tick, which is every 50 ms.
const RUN_BLOCKS: u64 = 128;
/// Bytes after which a run ends: what a tick takes.
const RUN_BYTES: u64 = 256 * 1_024;
/// What is left of the time that a run was given is the next one's, so that ticks do not round it up.
const SPARED_MS_MAX: u64 = 100;

/// Blocks that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first one.
    pub first: Height,
    /// The last one, if they are not too large.
    pub last: Height,
}

/// What a look at blocks came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The last block that was looked at.
    pub upto: Height,
    /// Bytes that were looked at.
    pub bytes: u64,
    /// What is not there, or is not what its block commits to, by blocks.
    pub missing: Vec<Missing>,
}

impl Audited {
    /// A block that cannot be looked at is passed over.
    #[must_use]
    pub const fn passed_over(height: Height) -> Self {
        Self { upto: height, bytes: BLOCK_BYTES, missing: Vec::new() }
    }
}

/// Looks at the attachments of blocks, from the first one on, as far as it comes.
///
/// # Errors
/// If the disk fails, or the first block is none that was stored.
pub fn audit(ledger: &impl Ledger, id: LedgerId, run: Run) -> Result<Audited, PortFault> {
    let mut audited = look(ledger, id, run.first)?;
    while audited.upto < run.last && audited.bytes < RUN_BYTES {
        // One at which this fails is the first of the next run.
        let Ok(next) = look(ledger, id, audited.upto.next()) else { break };
        audited.upto = next.upto;
        audited.bytes += next.bytes;
        audited.missing.extend(next.missing);
    }
    Ok(audited)
}

fn look(ledger: &impl Ledger, id: LedgerId, height: Height) -> Result<Audited, PortFault> {
    let mut audited = Audited::passed_over(height);
    let block = ledger.block(height)?.ok_or_else(|| PortFault::corrupt("block", "absent"))?;
    for executed in block.transactions.iter().filter(|executed| executed.outcome == Outcome::Applied as i32) {
        let wire = executed.transaction.as_ref().ok_or_else(|| PortFault::corrupt("block", "no transaction"))?;
        let transaction = Transaction::parse_bare(wire, id).map_err(|e| PortFault::corrupt("block", e))?;
        audited.bytes += transaction.size() as u64;
        for attachment in &transaction.attachments {
            let commitment = attachment.commitment;
            let content = stored(ledger, &commitment.slot)?;
            audited.bytes += content.len() as u64;
            if commitment.check(&content).is_err() && is_wanted(ledger, &commitment.slot)? {
                audited.missing.push(Missing { commitment, height });
            }
        }
    }
    Ok(audited)
}

/// See the module.
#[derive(Default)]
pub(crate) struct Audit {
    /// Looked at so far.
    done: Height,
    /// Where this walk ends; `None` between two walks.
    end: Option<Height>,
    /// A run is being looked at.
    waiting: bool,
    /// Somebody missed something of it.
    wanted: Option<Height>,
    resume_ms: u64,
    began_ms: Option<u64>,
}

impl Audit {
    /// Time passes: asks for a look at the next certified blocks, if it is time. A walk
    /// begins anew so long after its begin, if it has come to its end; what was certified
    /// meanwhile is looked at then.
    pub(crate) fn tick(&mut self, certified: Height, (now_ms, walk_ms): (u64, u64), out: &mut Vec<Output>) {
        if self.waiting {
            return;
        }
        if let Some(height) = self.wanted.take().filter(|height| *height <= certified) {
            self.look(Run { first: height, last: height }, out);
            return;
        }
        if now_ms < self.resume_ms {
            return;
        }
        let rests = self.began_ms.is_some_and(|began_ms| now_ms.saturating_sub(began_ms) < walk_ms);
        if self.end.is_none() && !rests && certified > Height::GENESIS {
            (self.done, self.end, self.began_ms) = (Height::GENESIS, Some(certified), Some(now_ms));
        }
        if let Some(end) = self.end {
            let last = end.min(Height(self.done.0.saturating_add(RUN_BLOCKS)));
            self.look(Run { first: self.done.next(), last }, out);
        }
    }

    fn look(&mut self, run: Run, out: &mut Vec<Output>) {
        self.waiting = true;
        out.push(Output::Audit(run));
    }

    /// Somebody missed an attachment of a block: it is looked at next.
    pub(crate) fn want(&mut self, height: Height) {
        self.wanted = Some(height);
    }

    /// Blocks were looked at.
    pub(crate) fn audited(&mut self, run: Run, (upto, bytes): (Height, u64), now_ms: u64) {
        self.waiting = false;
        if self.end.is_some() && run.first == self.done.next() {
            self.done = upto;
            self.end = self.end.filter(|end| upto < *end);
        }
        let since_ms = self.resume_ms.max(now_ms.saturating_sub(SPARED_MS_MAX));
        self.resume_ms = since_ms.saturating_add(bytes / BYTES_PER_MS);
    }
}

/// Notes what a look at blocks has missed, so that it is looked for.
///
/// # Errors
/// If the disk fails.
pub(crate) fn note_lost(ledger: &impl Ledger, missed: &[Missing], out: &mut Vec<Output>) -> Result<(), PortFault> {
    missed.chunk_by(|one, next| one.height == next.height).try_for_each(|of_block| note_lost_of(ledger, of_block, out))
}

fn note_lost_of(ledger: &impl Ledger, missed: &[Missing], out: &mut Vec<Output>) -> Result<(), PortFault> {
    let Some(height) = missed.first().map(|missing| missing.height) else { return Ok(()) };
    let (mut rows, mut count) = (Vec::new(), 0);
    for missing in missed {
        // It may have been found since, or be known.
        let is_here = missing.commitment.check(&stored(ledger, &missing.commitment.slot)?).is_ok();
        if !is_here && ledger.get(Table::Missing, &missing.note().key)?.is_none() {
            rows.extend(missing.lost());
            count += 1;
        }
    }
    if count > 0 {
        ledger.write_attachments(rows)?;
        out.push(Output::Notice(Notice::AttachmentsLost { height, count }));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
