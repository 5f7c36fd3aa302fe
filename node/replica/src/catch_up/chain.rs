//! Checks blocks of a peer against the chain so far and the certificates in it.

use bytes::Bytes;
use consilium_consensus::{LogHash, LogIndex, LogPosition, Membership, Term};
use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, LedgerId};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::{Action, Attachment, Transaction};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};
use prost::Message;

/// Blocks of a peer that are held until a certificate covers them.
pub(super) const UNCERTIFIED_MAX: usize = 4_096;
/// Bytes of memory that they take together, looked at or not.
pub(super) const UNCERTIFIED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What is wrong with a block that would take more.
const TOO_MUCH: &str = "and those before it take too much memory without a certificate";

/// A block whose header is known to be certified.
#[derive(Debug, Clone)]
pub struct CertifiedBlock {
    /// The header that executing it must give.
    pub header: Header,
    /// Where it stood in the sender's log.
    pub position: LogPosition,
    /// Raft's membership as of `position`, if it changed since the block before.
    pub membership: Option<Membership>,
    /// In ledger order, with the attachments that still exist.
    pub transactions: Vec<CheckedTransaction>,
    /// As in the block.
    pub observed: Observed,
}

/// Why a block of a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("block {height} of the peer {problem}")]
pub struct ChainError {
    /// Its height.
    pub height: Height,
    /// What is wrong.
    pub problem: String,
}

/// See the module. Blocks come out when they are covered by a certificate.
#[derive(Debug)]
pub struct ChainCheck {
    ledger: LedgerId,
    validators: ValidatorSet,
    tip: (Height, HeaderHash),
    waiting: Vec<CertifiedBlock>,
    waiting_bytes: usize,
}

impl ChainCheck {
    /// Starts at a tip that is certified, or executed here and its next block to be
    /// certified by `validators`.
    #[must_use]
    pub fn new(ledger: LedgerId, validators: ValidatorSet, tip: (Height, HeaderHash)) -> Self {
        Self { ledger, validators, tip, waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Takes the next block; returns all that are now certified, and by what.
    ///
    /// # Errors
    /// If the block does not continue the chain, or its certificate is wrong.
    pub fn push(
        &mut self,
        m: pb::FetchBlocksResponse,
    ) -> Result<Option<(Vec<CertifiedBlock>, CertifiedHeader)>, ChainError> {
        let height = self.tip.0.next();
        self.take(m).map_err(|problem| ChainError { height, problem })
    }

    fn take(&mut self, m: pb::FetchBlocksResponse) -> Result<Option<(Vec<CertifiedBlock>, CertifiedHeader)>, String> {
        let certificate = m.certificate.as_ref().map(BlockCertificate::try_from).transpose();
        let certificate = certificate.map_err(|e| e.to_string())?;
        let block = self.parse(m)?;
        let header = block.header.clone();
        self.tip = (header.height, header.hash());
        self.waiting.push(block);
        let Some(certificate) = certificate else {
            let many = self.waiting.len() > UNCERTIFIED_MAX;
            return if many { Err("has too many before it without a certificate".into()) } else { Ok(None) };
        };
        certificate.verify(&header, &self.validators).map_err(|e| e.to_string())?;
        self.waiting_bytes = 0;
        Ok(Some((std::mem::take(&mut self.waiting), CertifiedHeader { header, certificate })))
    }

    /// Bytes of memory that blocks take which no certificate covers yet.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    fn parse(&mut self, m: pb::FetchBlocksResponse) -> Result<CertifiedBlock, String> {
        self.waiting_bytes += m.encoded_len();
        let block = m.block.ok_or("is absent")?;
        let header = block.header.as_ref().ok_or("has no header")?;
        let header = Header::try_from(header).map_err(|e| e.to_string())?;
        if header.height != self.tip.0.next() || header.previous_hash != self.tip.1 || header.ledger_id != self.ledger {
            return Err("does not continue the chain".into());
        }
        let hash = LogHash::try_from(m.raft_hash.as_ref()).map_err(|e| e.to_string())?;
        let position = LogPosition { index: LogIndex(m.raft_index), term: Term(m.raft_term), hash };
        let membership = (!m.raft_membership.is_empty()).then(|| Membership::decode(&m.raft_membership)).transpose();
        let membership = membership.map_err(|e| e.to_string())?;
        let transactions = self.transactions(&block.transactions, m.attachments)?;
        let observed = Observed::of_block(&block).map_err(|e| e.to_string())?;
        Ok(CertifiedBlock { header, position, membership, transactions, observed })
    }

    fn transactions(
        &mut self,
        executed: &[pb::ExecutedTransaction],
        attachments: Vec<Bytes>,
    ) -> Result<Vec<CheckedTransaction>, String> {
        let ledger = self.ledger;
        let mut left = attachments.into_iter();
        let mut out = Vec::with_capacity(executed.len());
        for executed in executed {
            let mut wire = executed.transaction.clone().ok_or("lacks a transaction")?;
            // The number of attachments follows from the body alone.
            let count = Transaction::count_attachments(&wire, ledger).map_err(|e| e.to_string())?;
            wire.attachments = left.by_ref().take(count).collect();
            let transaction = Transaction::parse_stored(&wire, ledger).map_err(|e| e.to_string())?;
            self.waiting_bytes += parsed_bytes(&transaction);
            if self.waiting_bytes > UNCERTIFIED_BYTES_MAX {
                return Err(TOO_MUCH.into());
            }
            out.push(CheckedTransaction { transaction, verified_under: None });
        }
        if left.next().is_some() { Err("has more attachments than its transactions name".into()) } else { Ok(out) }
    }

    /// What came out was executed: from here on these validators certify. The
    /// header that ends an epoch always comes with a certificate of its own, so no
    /// block of the next epoch is looked at before this is called.
    pub fn set_validators(&mut self, validators: ValidatorSet) {
        self.validators = validators;
    }
}

/// What a transaction takes in memory beside its bytes on the wire, which it shares: an
/// action may be a few bytes there.
fn parsed_bytes(transaction: &Transaction) -> usize {
    size_of::<CheckedTransaction>()
        + transaction.actions.len() * size_of::<Action>()
        + transaction.attachments.len() * size_of::<Attachment>()
}
