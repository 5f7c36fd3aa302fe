//! The blocks that a node gives to a peer that catches up: certified ones only,
//! up to a certificate, a bounded number at a time.

use bytes::Bytes;
use consilium_ledger::{StateReader, keys};
use consilium_proto::ids::{Height, LedgerId};
use consilium_proto::pb::{self, Outcome};
use consilium_proto::transaction::{Slot, Transaction};

use crate::ports::{Ledger, PortFault};

/// Blocks after which an answer ends with the next certificate.
const BLOCKS: u64 = 64;
/// Bytes of attachments and bodies after which it does.
const BYTES: usize = 32 * 1024 * 1024;

/// One answer.
#[derive(Debug)]
pub struct Serving {
    ledger_id: LedgerId,
    next: Height,
    last: Height,
    blocks: u64,
    bytes: usize,
}

impl Serving {
    /// From a height on, where everything up to `certified` is certified here.
    #[must_use]
    pub fn new(ledger_id: LedgerId, first: Height, certified: Height) -> Self {
        Self { ledger_id, next: first.max(Height::GENESIS.next()), last: certified, blocks: 0, bytes: 0 }
    }

    /// The next block; `None` at the end of the answer.
    ///
    /// # Errors
    /// If the disk fails or a block is not there.
    pub fn next<L: Ledger>(&mut self, ledger: &L) -> Result<Option<pb::FetchBlocksResponse>, PortFault> {
        if self.next > self.last {
            return Ok(None);
        }
        let block = self.block(ledger)?;
        self.blocks += 1;
        self.bytes += block.attachments.iter().map(Bytes::len).sum::<usize>();
        self.bytes += block.block.as_ref().map_or(0, prost::Message::encoded_len);
        if block.certificate.is_some() && (self.blocks >= BLOCKS || self.bytes >= BYTES) {
            self.last = self.next;
        }
        self.next = self.next.next();
        Ok(Some(block))
    }

    fn block<L: Ledger>(&self, ledger: &L) -> Result<pb::FetchBlocksResponse, PortFault> {
        let height = self.next;
        let block = ledger.block(height)?.ok_or_else(|| PortFault::corrupt("block", "absent"))?;
        let position = ledger.position(height)?.unwrap_or_default();
        let attachments = stored_attachments(ledger, self.ledger_id, &block)?;
        // The first block of an answer comes with the membership, changed or not.
        let membership = match self.blocks {
            0 => Some(ledger.membership_at(height)?),
            _ => ledger.membership_changed_at(height)?,
        };
        Ok(pb::FetchBlocksResponse {
            raft_membership: membership.map(|m| m.encode().into()).unwrap_or_default(),
            block: Some(block),
            raft_index: position.index.0,
            raft_term: position.term.0,
            raft_hash: position.hash.to_bytes(),
            attachments,
            certificate: ledger.certificate_at(height)?.as_ref().map(Into::into),
        })
    }
}

/// Attachments of a block in order, an empty entry for each that is not there (a
/// refused transaction's were never kept, an erased record's are gone, some may be
/// missing here). Which there are follows from the transactions alone.
///
/// # Errors
/// If the disk fails, or the block is none that was stored.
pub fn stored_attachments(ledger: &impl StateReader, id: LedgerId, block: &pb::Block) -> Result<Vec<Bytes>, PortFault> {
    let mut attachments = Vec::new();
    for executed in &block.transactions {
        let wire = executed.transaction.as_ref().ok_or_else(|| PortFault::corrupt("block", "no transaction"))?;
        let transaction = Transaction::parse_bare(wire, id).map_err(|e| PortFault::corrupt("block", e))?;
        let applied = executed.outcome == Outcome::Applied as i32;
        for attachment in &transaction.attachments {
            attachments.push(if applied { stored(ledger, &attachment.commitment.slot)? } else { Bytes::new() });
        }
    }
    Ok(attachments)
}

/// An attachment; nothing if it is not here.
pub(super) fn stored(ledger: &impl StateReader, slot: &Slot) -> Result<Bytes, PortFault> {
    let (table, key) = keys::attachment(slot);
    Ok(ledger.get(table, &key)?.unwrap_or_default())
}
