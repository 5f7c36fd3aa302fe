//! What peers are told that lack certificates, and when peers are asked.
//!
//! A peer cannot verify anything above an epoch boundary without the boundary's
//! own certificate. So it is told that of the first boundary from where it
//! stands; the newest certificate only when no boundary lies between. Who votes for
//! what was certified just now is told nothing: the votes that did it are on their way
//! to him, too.

use std::collections::BTreeMap;

use consilium_proto::ids::{Height, NodeId};
use consilium_proto::vote::CertifiedHeader;

use super::round::RESEND_MS;
use super::{Effect, Voting};

/// Certified boundaries kept in memory; older ones are in the store.
const BOUNDARIES_MAX: usize = 64;

/// What was asked and told lately.
#[derive(Debug)]
pub(super) struct Answers {
    /// As of the last tick, monotonic.
    pub(super) now_ms: u64,
    /// Certified for a while: whoever still votes for it has missed votes.
    settled: Height,
    /// Certified at that moment, to be settled next.
    settling: (Height, u64),
    /// All certified boundaries above `known_above`.
    boundaries: BTreeMap<Height, CertifiedHeader>,
    known_above: Height,
    /// A boundary was certified since this was last looked at.
    boundary_passed: bool,
    /// The height and time of what each peer was told last.
    told: BTreeMap<NodeId, (Height, u64)>,
    /// The height that peers were last asked from, out of turn.
    asked: Option<Height>,
}

impl Answers {
    pub(super) fn new(certified: Height) -> Self {
        Self {
            now_ms: 0,
            settled: certified,
            settling: (certified, 0),
            boundaries: BTreeMap::new(),
            known_above: certified,
            boundary_passed: false,
            told: BTreeMap::new(),
            asked: None,
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, certified: Height, now_ms: u64) {
        self.now_ms = now_ms;
        let (height, since_ms) = self.settling;
        if now_ms.saturating_sub(since_ms) >= RESEND_MS / 2 {
            self.settled = height;
            self.settling = (certified, now_ms);
        }
    }

    pub(super) fn keep_boundary(&mut self, certified: CertifiedHeader) {
        self.boundary_passed = true;
        self.boundaries.insert(certified.header.height, certified);
        if self.boundaries.len() > BOUNDARIES_MAX
            && let Some((height, _)) = self.boundaries.pop_first()
        {
            self.known_above = height;
        }
    }

    pub(super) fn take_boundary_passed(&mut self) -> bool {
        std::mem::take(&mut self.boundary_passed)
    }

    /// Whether to tell a peer about a height: not the same again at once.
    fn may_tell(&mut self, peer: NodeId, height: Height) -> bool {
        let told = self.told.get(&peer);
        let recently =
            |(before, at_ms): &(Height, u64)| height <= *before && self.now_ms.saturating_sub(*at_ms) < RESEND_MS / 2;
        if told.is_some_and(recently) {
            return false;
        }
        self.told.insert(peer, (height, self.now_ms));
        true
    }
}

impl Voting {
    /// A peer votes for something certified. It lacks the certificate if it says so
    /// again, or comes late.
    pub(super) fn tell_voter(&mut self, peer: NodeId, height: Height, again: bool) {
        if again || height <= self.answers.settled {
            self.tell(peer, height);
        }
    }

    /// A peer has executed blocks from `height` on that it has no certificate for.
    pub fn uncertified_from(&mut self, peer: NodeId, height: Height) {
        self.tell(peer, height);
    }

    /// Tells a peer what it needs to certify `from` or more.
    pub(super) fn tell(&mut self, peer: NodeId, from: Height) {
        if peer == self.me || from > self.certified {
            return;
        }
        if from <= self.answers.known_above && self.answers.known_above > Height::GENESIS {
            if self.answers.may_tell(peer, from) {
                self.effects.push(Effect::SendStored { to: peer, from });
            }
            return;
        }
        let boundary = self.answers.boundaries.range(from..).next().map(|(_, certified)| certified);
        let Some(certified) = boundary.or(self.newest.as_ref()).cloned() else { return };
        if self.answers.may_tell(peer, certified.header.height) {
            self.effects.push(Effect::SendCertificate { to: peer, certified: Box::new(certified) });
        }
    }

    /// Asks for the next certificate without waiting for the next repetition,
    /// once for each height.
    pub(super) fn ask(&mut self) {
        let from = self.certified.next();
        if self.answers.asked != Some(from) {
            self.answers.asked = Some(from);
            self.effects.push(Effect::AskPeers { from });
        }
    }
}
