//! The validators, followed through the epochs from the genesis document.
//!
//! A set is trusted because the set before it certified a header that commits
//! to it, and the first because the genesis document names it. All of them are
//! kept, so that a header of any height is verified under the set of that
//! height: a set that has ended certifies nothing above its end. What a node
//! sends here is either proven or refused; nothing is believed because nobody
//! contradicts it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use consilium_proto::error::FieldError;
use consilium_proto::genesis::Genesis;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, LedgerId};
use consilium_proto::light_client::{SetChange, TrustError, TrustedSet};
use consilium_proto::pb;
use consilium_proto::receipt::{Receipt, ReceiptError};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};

use crate::error::ClientError;

/// Changes that are followed at most, so that no node can make a client follow
/// for ever.
pub const SET_CHANGES_MAX: usize = 100_000;

/// Certificates that are remembered as good: as many as answers are under at one time.
const CERTIFIED_KEPT: usize = 64;

/// Every set that was followed to, with the heights that it certifies.
#[derive(Debug, Clone)]
pub(crate) struct SetHistory {
    genesis: ValidatorSet,
    newest: TrustedSet,
    /// In order; each was certified by the set before it.
    changes: Vec<SetChange>,
}

impl SetHistory {
    pub(crate) fn new(genesis: &Genesis) -> Result<Self, FieldError> {
        let newest = TrustedSet::genesis(genesis)?;
        Ok(Self { genesis: newest.set().clone(), newest, changes: Vec::new() })
    }

    /// The newest set and where it begins.
    pub(crate) fn newest(&self) -> &TrustedSet {
        &self.newest
    }

    /// The set that certifies a height, as far as changes were followed.
    pub(crate) fn at(&self, height: Height) -> &ValidatorSet {
        self.below(height).last().map_or(&self.genesis, |change| &change.next)
    }

    /// The changes that lead from the genesis to the set of a height.
    pub(crate) fn below(&self, height: Height) -> &[SetChange] {
        let count = self.changes.partition_point(|change| change.boundary.header.height < height);
        &self.changes[..count]
    }

    /// Whether a header can be judged without following further changes.
    pub(crate) fn reaches(&self, header: &Header) -> bool {
        header.height <= self.newest.above() || header.validators_hash == self.newest.hash()
    }

    /// Checks a certificate under the set of the header's height.
    pub(crate) fn verify(&self, header: &Header, certificate: &BlockCertificate) -> Result<(), TrustError> {
        let height = header.height;
        certificate.verify(header, self.at(height)).map_err(|error| TrustError::NotCertified { height, error })
    }

    /// Follows a change; nothing is different after an error.
    pub(crate) fn follow(&mut self, change: SetChange) -> Result<(), TrustError> {
        self.newest.follow(&change)?;
        self.changes.push(change);
        Ok(())
    }
}

/// What all clones of a client share.
#[derive(Debug)]
pub(crate) struct Followed {
    history: Arc<RwLock<SetHistory>>,
    /// Found good, the newest last. Answers of one block share header and certificate, and
    /// judging its signatures costs more than all else that proves an answer. A certificate is
    /// known again only byte by byte: another one of the same header is judged by itself.
    certified: Arc<Mutex<VecDeque<CertifiedHeader>>>,
    /// Held by the one who asks a node for changes: the others wait for the
    /// same answer instead of asking, too.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

impl Followed {
    pub(crate) fn new(genesis: &Genesis) -> Result<Self, FieldError> {
        let history = Arc::new(RwLock::new(SetHistory::new(genesis)?));
        Ok(Self { history, certified: Arc::default(), asking: tokio::sync::Mutex::new(()) })
    }

    /// The same history for who asks on its own: whoever waits for an answer here
    /// may need a connection first, for which changes are followed, too.
    pub(crate) fn sharing(&self) -> Self {
        let (history, certified) = (Arc::clone(&self.history), Arc::clone(&self.certified));
        Self { history, certified, asking: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, SetHistory> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, SetHistory> {
        self.history.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn certified(&self) -> MutexGuard<'_, VecDeque<CertifiedHeader>> {
        self.certified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_certified(&self, head: &CertifiedHeader) -> bool {
        self.certified().iter().rev().any(|known| known == head)
    }

    fn remember(&self, head: CertifiedHeader) {
        let mut certified = self.certified();
        if certified.len() >= CERTIFIED_KEPT {
            certified.pop_front();
        }
        certified.push_back(head);
    }

    /// Checks the certificate of a header that can be judged ([`crate::Client::follow_to`]).
    pub(crate) fn verify(&self, head: &CertifiedHeader) -> Result<(), TrustError> {
        if !self.is_certified(head) {
            self.read().verify(&head.header, &head.certificate)?;
            self.remember(head.clone());
        }
        Ok(())
    }

    /// For a receipt whose head can be judged ([`crate::Client::follow_to`]).
    pub(crate) fn verify_receipt(&self, receipt: &Receipt, ledger: LedgerId) -> Result<(), ReceiptError> {
        if self.is_certified(&receipt.head) {
            return receipt.verify_under(ledger);
        }
        receipt.verify(ledger, self.read().at(receipt.head.header.height))?;
        self.remember(receipt.head.clone());
        Ok(())
    }

    /// What to ask a node for.
    pub(crate) fn request(&self) -> pb::ListSetChangesRequest {
        let history = self.read();
        let newest = history.newest();
        pb::ListSetChangesRequest {
            known_validators_hash: Bytes::copy_from_slice(newest.hash().as_bytes()),
            to_height: 0,
            after_height: newest.above().0,
        }
    }

    /// Follows a change of an answer to a question for those above a height. One
    /// that somebody else has followed meanwhile is passed over.
    pub(crate) fn take(&self, answer: &pb::ListSetChangesResponse, asked_above: Height) -> Result<(), ClientError> {
        let change = answer.change.as_ref().ok_or_else(|| FieldError::missing("change"))?;
        let change = SetChange::try_from(change).map_err(|e| e.within("change"))?;
        let mut history = self.write();
        if history.changes.len() >= SET_CHANGES_MAX {
            return Err(ClientError::contradiction("the node sends more changes of the validators than there can be"));
        }
        let height = change.boundary.header.height;
        let meanwhile = height > asked_above && height <= history.newest().above();
        if meanwhile && history.below(height.next()).last() == Some(&change) {
            return Ok(());
        }
        Ok(history.follow(change)?)
    }
}
