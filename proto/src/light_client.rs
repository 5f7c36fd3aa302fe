//! Following the validators from the genesis document: from a set that is
//! trusted, a header that it certified and that commits to another set makes
//! that one trusted. Nothing else ever does.

use crate::error::FieldError;
use crate::genesis::Genesis;
use crate::hash::Hash;
use crate::header::Header;
use crate::ids::{Height, LedgerId};
use crate::pb;
use crate::validators::ValidatorSet;
use crate::vote::{CertificateError, CertifiedHeader};

/// A change of the validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange {
    /// The header that ends the epoch, with its certificate by the old set.
    pub boundary: CertifiedHeader,
    /// The set from the next height on.
    pub next: ValidatorSet,
}

/// Why a change or a header is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It is of another ledger.
    #[error("header {0} is of another ledger")]
    OtherLedger(Height),
    /// The certificate is not by the trusted set.
    #[error("header {height}: {error}")]
    NotCertified {
        /// The header's height.
        height: Height,
        /// What is wrong.
        error: CertificateError,
    },
    /// The header commits to another set than the one given.
    #[error("header {0} commits to another next set than the one given")]
    OtherNextSet(Height),
    /// It is not above what was followed already.
    #[error("header {0} is not above the last change that was followed")]
    NotNewer(Height),
    /// The set certifies later heights only.
    #[error("header {height} is of before the set that signed it, which certifies heights above {above} only")]
    Backdated {
        /// The header's height.
        height: Height,
        /// The height of the change that made the set.
        above: Height,
    },
}

/// What is trusted now: the genesis set, then the last that was followed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedSet {
    ledger_id: LedgerId,
    set: ValidatorSet,
    hash: Hash,
    /// The set certifies heights above this one.
    above: Height,
}

impl TrustedSet {
    /// The set of the genesis document.
    ///
    /// # Errors
    /// If the document names no valid set.
    pub fn genesis(genesis: &Genesis) -> Result<Self, FieldError> {
        let set = genesis.validators()?;
        Ok(Self { ledger_id: genesis.ledger_id, hash: set.hash(), set, above: Height::GENESIS })
    }

    /// A set of the caller's own ledger, which it executed and knows to be certified.
    /// It certifies heights above the one given.
    #[must_use]
    pub fn of_ledger(ledger_id: LedgerId, set: ValidatorSet, above: Height) -> Self {
        Self { ledger_id, hash: set.hash(), set, above }
    }

    /// The trusted set.
    #[must_use]
    pub fn set(&self) -> &ValidatorSet {
        &self.set
    }

    /// Its hash, as in headers.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The height of the last change; the set certifies heights above it.
    #[must_use]
    pub fn above(&self) -> Height {
        self.above
    }

    /// Whether the set may certify a height. Where it ends is not known here: whoever
    /// follows a change forgets the set before it.
    ///
    /// # Errors
    /// If the height is not above the beginning of the set: keys of a later set must not
    /// be able to write the past anew.
    pub fn check_height(&self, height: Height) -> Result<(), TrustError> {
        let above = self.above;
        if height > above { Ok(()) } else { Err(TrustError::Backdated { height, above }) }
    }

    /// Checks a header against the trusted set.
    ///
    /// # Errors
    /// If it is not certified by exactly that set, or not above its beginning.
    pub fn verify(&self, header: &CertifiedHeader) -> Result<(), TrustError> {
        let height = header.header.height;
        if header.header.ledger_id != self.ledger_id {
            return Err(TrustError::OtherLedger(height));
        }
        self.check_height(height)?;
        header.verify(&self.set).map_err(|error| TrustError::NotCertified { height, error })
    }

    /// Follows one change.
    ///
    /// # Errors
    /// If the trusted set did not certify it; nothing changes.
    pub fn follow(&mut self, change: &SetChange) -> Result<(), TrustError> {
        let header = &change.boundary.header;
        if header.height <= self.above {
            return Err(TrustError::NotNewer(header.height));
        }
        self.verify(&change.boundary)?;
        self.advance(header, &change.next)
    }

    /// Moves on past a boundary header that was verified otherwise (by a chain
    /// of hashes below a certified header).
    ///
    /// # Errors
    /// If `next` is not what the header commits to.
    pub fn advance(&mut self, boundary: &Header, next: &ValidatorSet) -> Result<(), TrustError> {
        let hash = next.hash();
        if boundary.next_validators_hash != hash {
            return Err(TrustError::OtherNextSet(boundary.height));
        }
        self.set = next.clone();
        self.hash = hash;
        self.above = boundary.height;
        Ok(())
    }
}

impl TryFrom<&pb::SetChange> for SetChange {
    type Error = FieldError;

    fn try_from(m: &pb::SetChange) -> Result<Self, FieldError> {
        let boundary = m.boundary.as_ref().ok_or_else(|| FieldError::missing("boundary"))?;
        let next = m.next.as_ref().ok_or_else(|| FieldError::missing("next"))?;
        Ok(Self {
            boundary: CertifiedHeader::try_from(boundary).map_err(|e| e.within("boundary"))?,
            next: ValidatorSet::try_from(next).map_err(|e| e.within("next"))?,
        })
    }
}

impl From<&SetChange> for pb::SetChange {
    fn from(c: &SetChange) -> Self {
        Self { boundary: Some((&c.boundary).into()), next: Some((&c.next).into()) }
    }
}
