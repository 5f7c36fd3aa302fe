//! A slow walk over the own ledger, all the time: whether each attachment that a block
//! commits to is there, and is what it commits to. What this disk lost, or somebody changed
//! by hand, is noted as missing, and so looked for at the peers.
//!
//! The look itself takes a disk's time and is done outside of the replica, one block at a
//! time; how often is decided here. A walk ends where the ledger stood when it began: one that
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

/// Bytes that are looked at in a millisecond: one MiB a second.
const BYTES_PER_MS: u64 = 1_024;

/// What a look at a block came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audited {
    /// Bytes that were looked at.
    pub bytes: u64,
    /// What is not there, or is not what the block commits to.
    pub missing: Vec<Missing>,
}

/// Looks at the attachments of a block.
///
/// # Errors
/// If the disk fails, or the block is none that was stored.
pub fn audit(ledger: &impl Ledger, id: LedgerId, height: Height) -> Result<Audited, PortFault> {
    let mut audited = Audited::default();
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
    /// Being looked at.
    waiting: Option<Height>,
    /// Somebody missed something of it.
    wanted: Option<Height>,
    resume_ms: u64,
    began_ms: Option<u64>,
}

impl Audit {
    /// Time passes: asks for a look at the next certified block, if it is time. A walk
    /// begins anew so long after its begin, if it has come to its end; what was certified
    /// meanwhile is looked at then.
    pub(crate) fn tick(&mut self, certified: Height, (now_ms, walk_ms): (u64, u64), out: &mut Vec<Output>) {
        if self.waiting.is_some() {
            return;
        }
        if let Some(height) = self.wanted.take().filter(|height| *height <= certified) {
            self.look(height, out);
            return;
        }
        if now_ms < self.resume_ms {
            return;
        }
        let rests = self.began_ms.is_some_and(|began_ms| now_ms.saturating_sub(began_ms) < walk_ms);
        if self.end.is_none() && !rests && certified > Height::GENESIS {
            (self.done, self.end, self.began_ms) = (Height::GENESIS, Some(certified), Some(now_ms));
        }
        if self.end.is_some() {
            self.look(self.done.next(), out);
        }
    }

    fn look(&mut self, height: Height, out: &mut Vec<Output>) {
        self.waiting = Some(height);
        out.push(Output::Audit(height));
    }

    /// Somebody missed an attachment of a block: it is looked at next.
    pub(crate) fn want(&mut self, height: Height) {
        self.wanted = Some(height);
    }

    /// A block was looked at.
    pub(crate) fn audited(&mut self, height: Height, bytes: u64, now_ms: u64) {
        self.waiting = None;
        if self.end.is_some() && height == self.done.next() {
            self.done = height;
            self.end = self.end.filter(|end| height < *end);
        }
        self.resume_ms = now_ms.saturating_add(bytes / BYTES_PER_MS);
    }
}

/// Notes what a look at a block has missed, so that it is looked for.
///
/// # Errors
/// If the disk fails.
pub(crate) fn note_lost(
    ledger: &impl Ledger,
    height: Height,
    missed: &[Missing],
    out: &mut Vec<Output>,
) -> Result<(), PortFault> {
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
        ledger.write_attachments(&rows)?;
        out.push(Output::Notice(Notice::AttachmentsLost { height, count }));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
