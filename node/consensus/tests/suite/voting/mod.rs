//! Tests of voting with real keys. This file builds chains of headers and nodes
//! for the others.

mod certifying;
mod epochs;
mod evidence;
mod random;
mod restarts;
mod rounds;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_consensus::voting::{Clock, Effect, Start, VoteGuard, Voting};
use consilium_kit::keys;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs, VotingPower};
use consilium_proto::signing::SigningKey;
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};

/// Wall clock at the start of a test, in milliseconds; blocks are a second older.
const NOW_MS: u64 = 1_000_000;
/// Tolerance of block times, in milliseconds.
const SKEW_MS: u64 = 500;

fn key(id: u64) -> Arc<SigningKey> {
    keys::vote(id)
}

/// The set of nodes and their powers.
fn set(seats: &[(u64, u64)]) -> ValidatorSet {
    let seat = |(id, power): &(u64, u64)| Validator {
        id: NodeId(*id),
        power: VotingPower(*power),
        key: key(*id).verifying_key(),
    };
    ValidatorSet::new(seats.iter().map(seat).collect(), Quorum::new(2, 3).unwrap()).unwrap()
}

fn equal(ids: &[u64]) -> ValidatorSet {
    set(&ids.iter().map(|id| (*id, 1)).collect::<Vec<_>>())
}

fn ledger() -> LedgerId {
    LedgerId::from_bytes([1; 32])
}

fn at(ms: u64) -> Clock {
    Clock { wall: TimeMs(NOW_MS + ms), monotonic_ms: ms }
}

/// A chain: one more set than boundaries.
struct Chain {
    sets: Vec<ValidatorSet>,
    boundaries: Vec<u64>,
}

impl Chain {
    /// One epoch without end, nodes 1 to 4 seated.
    fn of_four() -> Self {
        Self { sets: vec![equal(&[1, 2, 3, 4])], boundaries: Vec::new() }
    }

    fn new(sets: Vec<ValidatorSet>, boundaries: &[u64]) -> Self {
        Self { sets, boundaries: boundaries.to_vec() }
    }

    fn epoch(&self, height: u64) -> usize {
        self.boundaries.iter().filter(|b| **b < height).count()
    }

    fn set_at(&self, height: u64) -> &ValidatorSet {
        &self.sets[self.epoch(height)]
    }

    fn next_set(&self, height: u64) -> Option<ValidatorSet> {
        self.boundaries.contains(&height).then(|| self.sets[self.epoch(height) + 1].clone())
    }

    /// The header of a height on a branch; 0 is the right one.
    fn header(&self, height: u64, branch: u8) -> Header {
        Header {
            ledger_id: ledger(),
            height: Height(height),
            previous_hash: HeaderHash::from_bytes([0; 32]),
            time: TimeMs(NOW_MS - 1_000),
            epoch: Epoch(self.epoch(height) as u64),
            tree_size: height,
            tree_root: Hash::from_bytes([branch; 32]),
            state_root: Hash::from_bytes([branch; 32]),
            validators_hash: self.set_at(height).hash(),
            next_validators_hash: self.set_at(height + 1).hash(),
            proposer: NodeId(1),
            log_hash: Hash::from_bytes([0; 32]),
        }
    }

    fn vote(&self, id: u64, height: u64, branch: u8) -> Vote {
        Vote::sign(NodeId(id), &self.header(height, branch), &key(id)).unwrap()
    }

    fn certified(&self, signers: &[u64], height: u64, branch: u8) -> CertifiedHeader {
        let header = self.header(height, branch);
        let signatures = signers.iter().map(|id| (NodeId(*id), self.vote(*id, height, branch).signature)).collect();
        let certificate = BlockCertificate::new(Height(height), header.hash(), signatures);
        CertifiedHeader { header, certificate }
    }

    /// A node that starts with a guard and a certificate.
    fn start(&self, id: u64, guard: VoteGuard, certified: Option<CertifiedHeader>) -> Voting {
        let above = certified.as_ref().map_or(0, |c| c.header.height.0) + 1;
        Voting::new(Start {
            me: NodeId(id),
            key: key(id),
            ledger_id: ledger(),
            clock_skew_max_ms: SKEW_MS,
            guard,
            certified,
            validators: self.set_at(above).clone(),
            nodes: (1..=6).map(|id| (NodeId(id), key(id).verifying_key())).collect::<BTreeMap<_, _>>(),
        })
    }

    fn node(&self, id: u64) -> Voting {
        self.start(id, VoteGuard::NONE, None)
    }

    fn guard(&self, height: u64, branch: u8) -> VoteGuard {
        VoteGuard { voted_height: Height(height), voted_header: self.header(height, branch).hash() }
    }

    /// The node executes some heights of the right branch.
    fn execute(&self, voting: &mut Voting, heights: impl IntoIterator<Item = u64>) {
        for height in heights {
            voting.executed(self.header(height, 0), true, self.next_set(height)).unwrap();
        }
    }

    /// Direct votes of others for the right branch.
    fn votes(&self, voting: &mut Voting, from: &[u64], height: u64) {
        from.iter().for_each(|id| voting.vote(NodeId(*id), self.vote(*id, height, 0)));
    }
}

/// Does all effects; the guard is durable at once. Returns them in order.
fn drive(voting: &mut Voting) -> Vec<Effect> {
    let mut done = Vec::new();
    loop {
        let effects = voting.take_effects();
        if effects.is_empty() {
            return done;
        }
        for effect in effects {
            let guard = matches!(effect, Effect::WriteGuard(_));
            done.push(effect);
            if guard {
                voting.remembered().unwrap();
            }
        }
    }
}

fn round(voting: &mut Voting, ms: u64) -> Vec<Effect> {
    voting.tick(at(ms)).unwrap();
    drive(voting)
}

/// Heights of the votes sent.
fn voted(effects: &[Effect]) -> Vec<u64> {
    let heights = effects.iter().filter_map(|e| if let Effect::BroadcastVote(v) = e { Some(v.height.0) } else { None });
    heights.collect()
}

/// Heights certified, and whether each ends an epoch.
fn certified(effects: &[Effect]) -> Vec<(u64, bool)> {
    let of = |e: &Effect| match e {
        Effect::Certified { certified, ends_epoch } => Some((certified.header.height.0, *ends_epoch)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

fn asked(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|e| if let Effect::AskPeers { from } = e { Some(from.0) } else { None }).collect()
}

/// Whom a header of which height was sent to.
fn told(effects: &[Effect]) -> Vec<(u64, u64)> {
    let of = |e: &Effect| match e {
        Effect::SendCertificate { to, certified } => Some((to.0, certified.header.height.0)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// The nodes proven to have lied, with the height.
fn liars(effects: &[Effect]) -> Vec<(u64, u64)> {
    let of = |e: &Effect| match e {
        Effect::Evidence(e) => {
            assert!(e.verifies(&key(e.first.validator.0).verifying_key()));
            Some((e.first.validator.0, e.first.height.0))
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}
