//! The epochs of a chain: who certifies which heights, handed on from the
//! genesis validators by headers that the validators before them certified.

use std::collections::BTreeMap;

use consilium_proto::error::FieldError;
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TimeMs};
use consilium_proto::light_client::{SetChange, TrustError};
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};

use super::failure::VerifyFailure;
use crate::light_client::SetHistory;

/// How an epoch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) first_height: Height,
    /// Time of the block before.
    pub(super) start: TimeMs,
    pub(super) validators_hash: Hash,
}

/// The epochs as far as the chain was verified.
#[derive(Debug)]
pub(super) struct Epochs {
    history: SetHistory,
    /// The first header that changes the validators and has no certificate. It
    /// may be above all that is certified; a certificate above it proves nothing.
    unproven: Option<Height>,
    /// By number from 0. The next one may have been elected by the tip.
    begun: Vec<Begun>,
    tip: Option<Header>,
}

impl Epochs {
    pub(super) fn new(genesis: &Genesis) -> Result<Self, FieldError> {
        Ok(Self { history: SetHistory::new(genesis)?, unproven: None, begun: Vec::new(), tip: None })
    }

    /// The validators of the genesis document.
    pub(super) fn founders(&self) -> &ValidatorSet {
        self.history.at(Height::GENESIS)
    }

    /// The validators of a height up to the next one.
    pub(super) fn validators(&self, height: Height) -> Result<&ValidatorSet, VerifyFailure> {
        match self.unproven {
            Some(boundary) if height > boundary => {
                let what = "the validators change here, but the certificate of those before is missing";
                Err(VerifyFailure::SetChange { height: boundary, what })
            }
            Some(_) | None => Ok(self.history.at(height)),
        }
    }

    /// How often the validators changed.
    pub(super) fn changes(&self) -> u64 {
        self.history.below(Height(u64::MAX)).len() as u64
    }

    /// Takes the next block, whose link to the one before was checked.
    pub(super) fn block(&mut self, header: Header, entry: &pb::ArchiveBlock) -> Result<(), VerifyFailure> {
        match &self.tip {
            // The genesis header counts as the end of an epoch before the first.
            None => self.begun.push(begun_after(&header)),
            Some(parent) if parent.epoch != header.epoch => self.begun.push(begun_after(parent)),
            Some(_) => {}
        }
        self.check_change(&header, entry)?;
        self.tip = Some(header);
        Ok(())
    }

    fn check_change(&mut self, header: &Header, entry: &pb::ArchiveBlock) -> Result<(), VerifyFailure> {
        let height = header.height;
        let wrong = |what| VerifyFailure::SetChange { height, what };
        let malformed = |error| VerifyFailure::Malformed { height, error };
        if header.next_validators_hash == header.validators_hash {
            return match entry.next_validators {
                None => Ok(()),
                Some(_) => Err(wrong("names validators that follow, but they do not change here")),
            };
        }
        let next = entry.next_validators.as_ref();
        let next = next.ok_or_else(|| wrong("the validators change here, but those that follow are missing"))?;
        let next = ValidatorSet::try_from(next).map_err(|e| malformed(e.within("next_validators")))?;
        let Some(certificate) = &entry.certificate else {
            self.unproven.get_or_insert(height);
            return match next.hash() == header.next_validators_hash {
                true => Ok(()),
                false => Err(VerifyFailure::Untrusted { height, error: TrustError::OtherNextSet(height) }),
            };
        };
        let certificate = BlockCertificate::try_from(certificate).map_err(|e| malformed(e.within("certificate")))?;
        let boundary = CertifiedHeader { header: header.clone(), certificate };
        self.history.follow(SetChange { boundary, next }).map_err(|error| VerifyFailure::Untrusted { height, error })
    }

    /// Compares with what the state tells of all elections.
    pub(super) fn check_state(&self, elections: &BTreeMap<u64, Begun>) -> Result<(), VerifyFailure> {
        for (epoch, begun) in (0..).zip(&self.begun) {
            let differs = |what| VerifyFailure::Election { epoch, what };
            let told = elections.get(&epoch).ok_or_else(|| differs("is missing"))?;
            check_told(epoch, told, begun)?;
        }
        let known = self.begun.len() as u64;
        // The last block may have ended its epoch.
        let next = self.tip.as_ref().map(begun_after);
        match (elections.range(known..).next(), next) {
            (None, _) if self.changed_at_tip() => Err(VerifyFailure::Election { epoch: known, what: "is missing" }),
            (None, _) => Ok(()),
            (Some((epoch, told)), Some(next)) if *epoch == known && elections.range(known + 1..).next().is_none() => {
                check_told(*epoch, told, &next)
            }
            (Some((epoch, _)), _) => Err(VerifyFailure::Election { epoch: *epoch, what: "is of the future" }),
        }
    }

    fn changed_at_tip(&self) -> bool {
        self.tip.as_ref().is_some_and(|tip| tip.next_validators_hash != tip.validators_hash)
    }
}

/// The epoch that the block after `header` is the first of.
fn begun_after(header: &Header) -> Begun {
    Begun { first_height: header.height.next(), start: header.time, validators_hash: header.next_validators_hash }
}

fn check_told(epoch: u64, told: &Begun, begun: &Begun) -> Result<(), VerifyFailure> {
    let differs = |what| Err(VerifyFailure::Election { epoch, what });
    if told.validators_hash != begun.validators_hash {
        return differs("names other validators than the headers");
    }
    if told.first_height != begun.first_height {
        return differs("names another first height than the headers");
    }
    if told.start != begun.start {
        return differs("names another start than the headers");
    }
    Ok(())
}
