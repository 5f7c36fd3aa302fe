//! Who may have signed: the keys that the ledger enrolled so far, and their
//! signatures, verified in batches on all cores.
//!
//! A certificate counts if it verifies under a CA bundle of its member: that of
//! the genesis document, or one of a proposal on the ledger to admit the member
//! or to rotate its bundle. Whether a proposal was accepted is part of the
//! outcomes, which the validators signed.

use std::collections::BTreeMap;
use std::num::NonZero;

use bytes::Bytes;
use consilium_certs::contract::certificate_key;
use consilium_certs::contract::identity_rules::{claimed_member, verify_under};
use consilium_certs::{CaBundle, IdentityCertificate};
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{Fingerprint, Height, TimeMs, TransactionId};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb;
use consilium_proto::signing::{VerifyingKey, verify_batch};
use consilium_proto::transaction::{Enroll, signing_key_fingerprint};
use prost::Message;

use super::failure::VerifyFailure;

/// Signatures that wait to be verified together: enough to keep all cores
/// busy, few enough to name a failure soon.
const PENDING_MAX: usize = 4096;

/// A signature to verify.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) height: Height,
    pub(super) transaction: TransactionId,
    pub(super) key: VerifyingKey,
    pub(super) message: Vec<u8>,
    pub(super) signature: [u8; 64],
}

/// Enrolled keys and pending signatures.
#[derive(Debug)]
pub(super) struct Authors {
    /// By member, in the order in which they came up.
    bundles: BTreeMap<MemberId, Vec<CaBundle>>,
    keys: BTreeMap<Fingerprint, (SpiffeId, VerifyingKey)>,
    pending: Vec<Signed>,
}

impl Authors {
    /// Nobody is enrolled yet. A bundle outside the profile enrols nobody.
    pub(super) fn new(genesis: &Genesis) -> Self {
        let mut authors = Self { bundles: BTreeMap::new(), keys: BTreeMap::new(), pending: Vec::new() };
        for member in &genesis.members {
            authors.learn_bundle(member.id.as_str(), &member.ca_bundle);
        }
        authors
    }

    /// Takes the CA bundles that the actions of an applied transaction propose.
    pub(super) fn learn_bundles(&mut self, actions: &[Bytes]) {
        use pb::proposal_topic::Topic;
        let proposals = actions.iter().filter_map(|action| match pb::Action::decode(action.clone()).ok()?.action {
            Some(pb::action::Action::Propose(propose)) => propose.topic?.topic,
            _ => None,
        });
        for topic in proposals {
            match &topic {
                Topic::AdmitMember(pb::AdmitMember { member: Some(member) }) => {
                    self.learn_bundle(&member.id, &member.ca_bundle);
                }
                Topic::RotateCaBundle(rotate) => self.learn_bundle(&rotate.member, &rotate.ca_bundle),
                // None of these says who may sign.
                Topic::AdmitMember(pb::AdmitMember { member: None })
                | Topic::SuspendMember(_)
                | Topic::ReinstateMember(_)
                | Topic::RemoveMember(_)
                | Topic::AddNode(_)
                | Topic::ReplaceNode(_)
                | Topic::RetireNode(_)
                | Topic::AllotStake(_)
                | Topic::ChangeParameters(_)
                | Topic::SetAccessPolicy(_)
                | Topic::LiftPenalty(_)
                | Topic::ActivateProtocol(_) => {}
            }
        }
    }

    fn learn_bundle(&mut self, member: &str, ders: &[Bytes]) {
        let Ok(member) = member.parse::<MemberId>() else { return };
        if let Ok(bundle) = CaBundle::of_member(&member, ders) {
            self.bundles.entry(member).or_default().push(bundle);
        }
    }

    /// The key of an author, if enrolled.
    pub(super) fn key(&self, author: &Fingerprint) -> Option<&VerifyingKey> {
        self.keys.get(author).map(|(_, key)| key)
    }

    /// Whose identity an author is, if enrolled.
    pub(super) fn name(&self, author: &Fingerprint) -> Option<&SpiffeId> {
        self.keys.get(author).map(|(name, _)| name)
    }

    /// Takes an applied enrolment: its certificate verified under a bundle of
    /// its member at the block's time; its proofs were checked when it was parsed. Returns the
    /// certificate's key, which signed the transaction.
    pub(super) fn enroll(&mut self, enroll: &Enroll, time: TimeMs) -> Result<VerifyingKey, String> {
        let identity = self.verified(&enroll.chain, time)?;
        let key = certificate_key(&identity).ok_or("its key is not P-256")?;
        let name = identity.spiffe_id();
        if let Some(signing_key) = &enroll.signing_key {
            self.keys.insert(signing_key_fingerprint(signing_key), (name.clone(), signing_key.clone()));
        }
        self.keys.insert(enroll.fingerprint(), (name.clone(), key.clone()));
        Ok(key)
    }

    fn verified(&self, chain: &[Bytes], time: TimeMs) -> Result<IdentityCertificate, String> {
        let member = claimed_member(chain).ok_or("it is outside the profile")?;
        let bundles = self.bundles.get(&member).ok_or("its member is neither in the genesis nor proposed")?;
        let mut refused = None;
        for bundle in bundles.iter().rev() {
            // Revocation is part of the outcome, which the validators signed.
            match verify_under(chain, bundle, &[], time.0 / 1_000) {
                Ok(verified) => return Ok(verified.identity),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| "its member has no CA bundle".to_owned(), |error| error.to_string()))
    }

    /// Queues a signature; verifies when enough have gathered. Returns how
    /// many were verified.
    pub(super) fn push(&mut self, signed: Signed) -> Result<u64, VerifyFailure> {
        self.pending.push(signed);
        if self.pending.len() < PENDING_MAX { Ok(0) } else { self.flush() }
    }

    /// Verifies everything that waits.
    pub(super) fn flush(&mut self) -> Result<u64, VerifyFailure> {
        let pending = std::mem::take(&mut self.pending);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let part = pending.len().div_ceil(cores).max(1);
        let first_bad = std::thread::scope(|scope| {
            let parts: Vec<_> = pending.chunks(part).map(|items| scope.spawn(|| first_bad(items))).collect();
            // A thread that panicked verified nothing: its first item counts as bad.
            let found =
                parts.into_iter().enumerate().map(|(i, t)| t.join().unwrap_or(Some(0)).map(|bad| i * part + bad));
            found.flatten().min()
        });
        match first_bad.and_then(|i| pending.get(i)) {
            None => Ok(pending.len() as u64),
            Some(bad) => Err(VerifyFailure::Signature { height: bad.height, transaction: bad.transaction }),
        }
    }
}

fn first_bad(items: &[Signed]) -> Option<usize> {
    let batch: Vec<_> = items.iter().map(|s| (s.key.clone(), s.message.as_slice(), s.signature)).collect();
    verify_batch(&batch).iter().position(|good| !good)
}
