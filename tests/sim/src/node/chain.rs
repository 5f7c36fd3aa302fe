//! Blocks of a peer, checked against the chain so far and the certificates in
//! it before anything is executed. As `node/src/runtime/sync.rs` does.

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership, Term};
use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, LedgerId};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::BlockCertificate;

use crate::disk::LedgerStore;

/// A block whose header is known to be certified.
#[derive(Debug)]
pub struct CertifiedBlock {
    /// The header that executing it must give.
    pub header: Header,
    /// Where it stood in the sender's log.
    pub position: LogPosition,
    /// Raft's membership as of `position`, if it changed since the block before.
    pub membership: Option<Membership>,
    /// In ledger order.
    pub transactions: Vec<CheckedTransaction>,
    /// As in the block.
    pub observed: Observed,
}

/// The check.
pub struct ChainCheck {
    ledger: LedgerId,
    validators: ValidatorSet,
    tip: (Height, HeaderHash),
    waiting: Vec<CertifiedBlock>,
}

impl ChainCheck {
    /// Starts at a certified tip, or the genesis.
    #[must_use]
    pub fn new(ledger: LedgerId, validators: ValidatorSet, tip: (Height, HeaderHash)) -> Self {
        Self { ledger, validators, tip, waiting: Vec::new() }
    }

    /// Takes the next block; returns all that are now certified.
    ///
    /// # Errors
    /// Why the peer is not believed.
    pub fn push(
        &mut self,
        m: pb::FetchBlocksResponse,
    ) -> Result<Option<(Vec<CertifiedBlock>, BlockCertificate)>, String> {
        let block = m.block.ok_or("the block is absent")?;
        let header = block.header.as_ref().ok_or("the block has no header")?;
        let header = Header::try_from(header).map_err(|e| e.to_string())?;
        if header.height != self.tip.0.next() || header.previous_hash != self.tip.1 || header.ledger_id != self.ledger {
            return Err("the block does not continue the chain".into());
        }
        let certificate = m.certificate.as_ref().map(BlockCertificate::try_from).transpose();
        let certificate = certificate.map_err(|e| e.to_string())?;
        self.tip = (header.height, header.hash());
        let position = LogPosition { index: LogIndex(m.raft_index), term: Term(m.raft_term) };
        let membership = (!m.raft_membership.is_empty()).then(|| Membership::decode(&m.raft_membership)).transpose();
        let membership = membership.map_err(|e| e.to_string())?;
        let transactions = transactions(&block.transactions, m.attachments, self.ledger)?;
        let observed = Observed::of_block(&block).map_err(|e| e.to_string())?;
        self.waiting.push(CertifiedBlock { header: header.clone(), position, membership, transactions, observed });
        let Some(certificate) = certificate else { return Ok(None) };
        certificate.verify(&header, &self.validators).map_err(|e| e.to_string())?;
        Ok(Some((std::mem::take(&mut self.waiting), certificate)))
    }

    /// What came out was executed: from here on these validators certify.
    pub fn set_validators(&mut self, validators: ValidatorSet) {
        self.validators = validators;
    }
}

fn transactions(
    executed: &[pb::ExecutedTransaction],
    attachments: Vec<Bytes>,
    ledger: LedgerId,
) -> Result<Vec<CheckedTransaction>, String> {
    let mut left = attachments.into_iter();
    let mut out = Vec::with_capacity(executed.len());
    for executed in executed {
        let mut wire = executed.transaction.clone().ok_or("a transaction is absent")?;
        let count = Transaction::count_attachments(&wire, ledger).map_err(|e| e.to_string())?;
        wire.attachments = left.by_ref().take(count).collect();
        let transaction = Transaction::parse_stored(&wire, ledger).map_err(|e| e.to_string())?;
        out.push(CheckedTransaction { transaction, verified_under: None });
    }
    if left.next().is_some() { Err("more attachments than the transactions name".into()) } else { Ok(out) }
}

/// What a node serves: its blocks from a height on, up to its newest certificate.
#[must_use]
pub fn serve(ledger: &LedgerStore, id: LedgerId, from: Height, max: u64) -> Vec<pb::FetchBlocksResponse> {
    let certified = ledger.newest_certified().map_or(0, |certified| certified.header.height.0);
    let first = from.0.max(1);
    (first..=certified.min(first.saturating_add(max))).map_while(|h| served(ledger, id, Height(h))).collect()
}

fn served(ledger: &LedgerStore, id: LedgerId, height: Height) -> Option<pb::FetchBlocksResponse> {
    let block = ledger.block(height)?;
    let position = ledger.position(height).unwrap_or_default();
    let mut attachments = Vec::new();
    for executed in &block.transactions {
        // Attachments may always be erased; an empty one stands for each.
        let count = Transaction::count_attachments(executed.transaction.as_ref()?, id).ok()?;
        attachments.extend(std::iter::repeat_n(Bytes::new(), count));
    }
    Some(pb::FetchBlocksResponse {
        block: Some(block),
        raft_index: position.index.0,
        raft_term: position.term.0,
        attachments,
        certificate: ledger.certificate_at(height).map(Into::into),
        raft_membership: ledger.membership_changed_at(height).map(|m| m.encode().into()).unwrap_or_default(),
    })
}
