//! Proof that a validator lied, good with nothing but its vote key: two votes for one
//! height that do not say the same, or one that says of a header what is not in it.
//!
//! Nothing here is evidence that an honest validator could make: it signs one header of
//! a height, with the root that stands in it.

use super::Vote;
use crate::error::FieldError;
use crate::hash::Hash;
use crate::header::Header;
use crate::ids::{HeaderHash, Height, LedgerId, NodeId};
use crate::pb;
use crate::signing::VerifyingKey;

/// A vote of a validator, and what it contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivocation {
    /// The vote; of two the one with the lower header hash, then the lower root.
    pub first: Vote,
    /// What shows that it, or the other, is a lie.
    pub second: Contradiction,
}

/// What a vote is refuted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// Another vote of the same validator for the same height: for another header, or
    /// for the same one with another tree root.
    Vote(Vote),
    /// The header that the vote names by its hash. It has another tree root than the
    /// vote says (or is of another height or ledger): a receipt made of such a vote
    /// verifies for leaves that are not on the ledger.
    Header(Box<Header>),
}

/// What two votes are compared by.
fn subject(vote: &Vote) -> (HeaderHash, Hash) {
    (vote.header_hash, vote.tree_root)
}

impl Equivocation {
    /// Puts two votes together, in order.
    ///
    /// # Errors
    /// If they are not by one validator for one height of one ledger, or say the same.
    /// Signatures are checked by [`Self::verifies`].
    pub fn new(one: Vote, other: Vote) -> Result<Self, FieldError> {
        let same = one.validator == other.validator && one.height == other.height && one.ledger_id == other.ledger_id;
        if !same || subject(&one) == subject(&other) {
            let reason = "must be two headers or roots of one height by one validator";
            return Err(FieldError::malformed("evidence", reason));
        }
        let in_order = subject(&one) < subject(&other);
        let (first, second) = if in_order { (one, other) } else { (other, one) };
        Ok(Self { first, second: Contradiction::Vote(second) })
    }

    /// A vote, and the header that it names and does not match. The header need not be
    /// of the chain: whoever signed its hash had it.
    ///
    /// # Errors
    /// If the vote names another header, or says of it what is true.
    pub fn of_header(vote: Vote, header: Header) -> Result<Self, FieldError> {
        if header.hash() != vote.header_hash {
            return Err(FieldError::malformed("evidence", "must hold the header that the vote names"));
        }
        let told = (vote.tree_root, vote.height, vote.ledger_id);
        if told == (header.tree_root, header.height, header.ledger_id) {
            return Err(FieldError::malformed("evidence", "holds a vote that is true"));
        }
        Ok(Self { first: vote, second: Contradiction::Header(Box::new(header)) })
    }

    /// Who lied.
    #[must_use]
    pub fn validator(&self) -> NodeId {
        self.first.validator
    }

    /// The ledger it lied about.
    #[must_use]
    pub fn ledger_id(&self) -> LedgerId {
        match &self.second {
            Contradiction::Vote(_) => self.first.ledger_id,
            Contradiction::Header(header) => header.ledger_id,
        }
    }

    /// The height it lied about.
    #[must_use]
    pub fn height(&self) -> Height {
        match &self.second {
            Contradiction::Vote(_) => self.first.height,
            Contradiction::Header(header) => header.height,
        }
    }

    /// Whether the signatures are by `key`, which then has lied.
    #[must_use]
    pub fn verifies(&self, key: &VerifyingKey) -> bool {
        let second = match &self.second {
            Contradiction::Vote(vote) => vote.verifies(key),
            // Compared when this was built: there is nothing signed about it.
            Contradiction::Header(_) => true,
        };
        second && self.first.verifies(key)
    }
}

impl TryFrom<&pb::Equivocation> for Equivocation {
    type Error = FieldError;

    fn try_from(m: &pb::Equivocation) -> Result<Self, FieldError> {
        let vote = |field: &'static str, vote: &pb::Vote| Vote::try_from(vote).map_err(|e| e.within(field));
        let first = m.first.as_ref().ok_or_else(|| FieldError::missing("first"))?;
        let first = vote("first", first)?;
        match (&m.second, &m.header) {
            (Some(second), None) => Self::new(first, vote("second", second)?),
            (None, Some(header)) => Self::of_header(first, Header::try_from(header).map_err(|e| e.within("header"))?),
            (None, None) => Err(FieldError::missing("second")),
            (Some(_), Some(_)) => Err(FieldError::malformed("header", "must not stand beside a second vote")),
        }
    }
}

impl From<&Equivocation> for pb::Equivocation {
    fn from(e: &Equivocation) -> Self {
        let (second, header) = match &e.second {
            Contradiction::Vote(vote) => (Some(vote.into()), None),
            Contradiction::Header(header) => (None, Some((&**header).into())),
        };
        Self { first: Some((&e.first).into()), second, header }
    }
}
