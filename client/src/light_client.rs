//! The validators, followed through the epochs from the genesis document.
//!
//! A set is trusted because the set before it certified a header that commits
//! to it, and the first because the genesis document names it. All of them are
//! kept, so that a header of any height is verified under the set of that
//! height: a set that has ended certifies nothing above its end. What a node
//! sends here is either proven or refused; nothing is believed because nobody
//! contradicts it.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
use tonic::Response;

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::validators_service;

/// Changes that are followed at most, so that no node can make a client follow
/// for ever.
pub const SET_CHANGES_MAX: usize = 100_000;

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
    history: RwLock<SetHistory>,
    /// Held by the one who asks a node for changes: the others wait for the
    /// same answer instead of asking, too.
    asking: tokio::sync::Mutex<()>,
}

impl Followed {
    pub(crate) fn new(genesis: &Genesis) -> Result<Self, FieldError> {
        Ok(Self { history: RwLock::new(SetHistory::new(genesis)?), asking: tokio::sync::Mutex::new(()) })
    }

    fn read(&self) -> RwLockReadGuard<'_, SetHistory> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, SetHistory> {
        self.history.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a receipt whose head can be judged ([`Client::follow_to`]).
    pub(crate) fn verify_receipt(&self, receipt: &Receipt, ledger: LedgerId) -> Result<(), ReceiptError> {
        receipt.verify(ledger, self.read().at(receipt.head.header.height))
    }

    /// What to ask a node for.
    fn request(&self) -> pb::ListSetChangesRequest {
        let history = self.read();
        let newest = history.newest();
        pb::ListSetChangesRequest {
            known_validators_hash: Bytes::copy_from_slice(newest.hash().as_bytes()),
            to_height: 0,
            after_height: newest.above().0,
        }
    }

    fn take(&self, answer: &pb::ListSetChangesResponse) -> Result<(), ClientError> {
        let change = answer.change.as_ref().ok_or_else(|| FieldError::missing("change"))?;
        let change = SetChange::try_from(change).map_err(|e| e.within("change"))?;
        let mut history = self.write();
        if history.changes.len() >= SET_CHANGES_MAX {
            return Err(ClientError::contradiction("the node sends more changes of the validators than there can be"));
        }
        Ok(history.follow(change)?)
    }
}

impl Client {
    /// The newest validators that were followed to. They certify blocks until
    /// their epoch has ended, which is noticed when a later header shows up.
    #[must_use]
    pub fn validators(&self) -> ValidatorSet {
        self.inner().validators.read().newest().set().clone()
    }

    /// The changes of the validators that lead from the genesis to the set
    /// which certifies a height, as far as they were followed.
    #[must_use]
    pub fn set_changes(&self, height: Height) -> Vec<SetChange> {
        self.inner().validators.read().below(height).to_vec()
    }

    /// The receipt with all that is needed to verify it from the genesis
    /// document alone. For a receipt that this client has verified.
    #[must_use]
    pub fn self_contained(&self, receipt: Receipt) -> Receipt {
        Receipt { set_changes: self.set_changes(receipt.head.header.height), ..receipt }
    }

    /// Checks that a header is final: certified by the validators of its
    /// height. Follows changes of the validators where needed.
    ///
    /// # Errors
    /// As [`Self::read`], or why the header is not believed.
    pub async fn verify_header(&self, header: &CertifiedHeader) -> Result<(), ClientError> {
        self.verify_certificate(&header.header, &header.certificate).await
    }

    /// As [`Self::verify_header`].
    pub(crate) async fn verify_certificate(
        &self,
        header: &Header,
        certificate: &BlockCertificate,
    ) -> Result<(), ClientError> {
        self.check_ledger(header)?;
        self.follow_to(header).await?;
        Ok(self.inner().validators.read().verify(header, certificate)?)
    }

    /// Follows changes until the header can be judged.
    pub(crate) async fn follow_to(&self, header: &Header) -> Result<(), ClientError> {
        if self.follow_until(|history| history.reaches(header)).await? {
            return Ok(());
        }
        let height = header.height;
        Err(ClientError::contradiction(format!("no node shows how the validators came to those of height {height}")))
    }

    /// The change of the validators at exactly this height, if nodes show one.
    pub(crate) async fn change_at(&self, height: Height) -> Result<Option<SetChange>, ClientError> {
        self.follow_until(|history| history.newest().above() >= height).await?;
        let history = self.inner().validators.read();
        Ok(history.below(height.next()).last().filter(|change| change.boundary.header.height == height).cloned())
    }

    /// Whether enough was followed, after asking each node at most once: one of
    /// them may be behind the one that sent what is to be judged.
    async fn follow_until(&self, enough: impl Fn(&SetHistory) -> bool) -> Result<bool, ClientError> {
        let validators = &self.inner().validators;
        if enough(&validators.read()) {
            return Ok(true);
        }
        let _one_at_a_time = validators.asking.lock().await;
        for _ in self.endpoints() {
            if enough(&validators.read()) {
                return Ok(true);
            }
            self.ask_for_changes().await?;
            if enough(&validators.read()) {
                return Ok(true);
            }
            self.inner().prefer_another();
        }
        Ok(false)
    }

    /// What was followed before a stream broke is kept, so that even a long
    /// chain over bad connections comes to its end.
    async fn ask_for_changes(&self) -> Result<(), ClientError> {
        let validators = &self.inner().validators;
        self.call(|channel, _left| async move {
            let mut answers = validators_service(channel).list_set_changes(validators.request()).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                if let Err(refused) = validators.take(&answer) {
                    return Ok(Response::new(Err(refused)));
                }
            }
            Ok(Response::new(Ok(())))
        })
        .await?
    }
}
