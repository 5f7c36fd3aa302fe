//! The votes of others and of this node. It owns what is kept of them and who
//! contradicted itself, and knows neither blocks nor who certifies what.
//!
//! Signatures are checked when a vote is needed, not as it arrives: most votes
//! never are. A vote that turns out to be forged is dropped, and the count goes
//! on without it.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{Equivocation, Vote};

/// Votes kept of one node; of more, the lowest go. Bounds the memory that a
/// node can make others use, at its own expense only.
pub const VOTES_PER_NODE_MAX: usize = 1_024;
/// Different votes kept of one node for one height: the two of an equivocation.
const PER_HEIGHT_MAX: usize = 2;

/// What a vote is over: two votes with the same are one vote, whatever the
/// bytes of their signatures.
pub(super) type Subject = (HeaderHash, Hash);

/// What a vote led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is new, or replaces a copy that was not verified.
    New,
    /// It is known, or one more of a node that has lied already.
    Known,
    /// The signature is wrong.
    Forged,
    /// With another one, it proves a lie. Both are verified.
    Evidence(Box<Equivocation>),
}

/// Votes by node and height.
#[derive(Debug, Default)]
pub(super) struct Votes {
    by_node: BTreeMap<NodeId, BTreeMap<Height, Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    held: Vec<Held>,
    proven: bool,
}

#[derive(Debug)]
struct Held {
    vote: Vote,
    verified: bool,
}

impl Held {
    fn is_over(&self, subject: Subject) -> bool {
        (self.vote.header_hash, self.vote.tree_root) == subject
    }

    fn verify(&mut self, key: &VerifyingKey) -> bool {
        self.verified = self.verified || self.vote.verifies(key);
        self.verified
    }
}

impl Slot {
    fn add(&mut self, vote: Vote, verified: bool, key: &VerifyingKey) -> Added {
        let subject = (vote.header_hash, vote.tree_root);
        if let Some(held) = self.held.iter_mut().find(|held| held.is_over(subject)) {
            // A forged copy must not keep the real one out.
            if held.verified || held.vote.signature == vote.signature {
                return Added::Known;
            }
            if !verified && !vote.verifies(key) {
                return Added::Forged;
            }
            *held = Held { vote, verified: true };
            return Added::New;
        }
        // Of a node that is proven to lie no more is wanted, be it true or not.
        if self.proven && self.held.len() >= PER_HEIGHT_MAX {
            return Added::Known;
        }
        if self.held.is_empty() {
            self.held.push(Held { vote, verified });
            return Added::New;
        }
        if !verified && !vote.verifies(key) {
            return Added::Forged;
        }
        self.held.retain_mut(|held| held.verify(key));
        let evidence = match self.proven {
            true => None,
            false => self.held.iter().find_map(|held| Equivocation::new(held.vote.clone(), vote.clone()).ok()),
        };
        self.proven |= evidence.is_some();
        let keep = self.held.len() < PER_HEIGHT_MAX;
        if keep {
            self.held.push(Held { vote, verified: true });
        }
        match evidence {
            Some(evidence) => Added::Evidence(Box::new(evidence)),
            None if keep => Added::New,
            None => Added::Known,
        }
    }
}

impl Votes {
    /// Takes a vote; `key` is its signer's, `verified` says that its signature
    /// has been checked.
    pub(super) fn add(&mut self, vote: Vote, verified: bool, key: &VerifyingKey) -> Added {
        let of_node = self.by_node.entry(vote.validator).or_default();
        let added = of_node.entry(vote.height).or_default().add(vote, verified, key);
        if of_node.len() > VOTES_PER_NODE_MAX {
            of_node.pop_first();
        }
        added
    }

    /// What is voted for at a height.
    pub(super) fn subjects(&self, height: Height) -> BTreeSet<Subject> {
        let slots = self.by_node.values().filter_map(|of_node| of_node.get(&height));
        slots.flat_map(|slot| &slot.held).map(|held| (held.vote.header_hash, held.vote.tree_root)).collect()
    }

    /// The seats' power behind a header; forged votes may be among it.
    pub(super) fn power(&self, set: &ValidatorSet, height: Height, subject: Subject) -> u128 {
        let voted = set.seats().iter().filter(|seat| {
            let slot = self.by_node.get(&seat.id).and_then(|of_node| of_node.get(&height));
            slot.is_some_and(|slot| slot.held.iter().any(|held| held.is_over(subject)))
        });
        voted.map(|seat| u128::from(seat.power.0)).sum()
    }

    /// Verifies the seats' votes for a header; returns whose were forged and
    /// are dropped, and the signatures of the others.
    pub(super) fn verified(
        &mut self,
        set: &ValidatorSet,
        height: Height,
        subject: Subject,
    ) -> (Vec<NodeId>, BTreeMap<NodeId, [u8; 64]>) {
        let (mut forged, mut signatures) = (Vec::new(), BTreeMap::new());
        for seat in set.seats() {
            let slot = self.by_node.get_mut(&seat.id).and_then(|of_node| of_node.get_mut(&height));
            let Some(slot) = slot else { continue };
            let Some(at) = slot.held.iter().position(|held| held.is_over(subject)) else { continue };
            if slot.held[at].verify(&seat.key) {
                signatures.insert(seat.id, slot.held[at].vote.signature);
            } else {
                slot.held.remove(at);
                forged.push(seat.id);
            }
        }
        (forged, signatures)
    }

    /// Verified votes of all nodes at a height; `key` gives a node's. Drops
    /// those that turn out to be forged.
    pub(super) fn verified_at<'k>(
        &mut self,
        height: Height,
        key: impl Fn(NodeId) -> Option<&'k VerifyingKey>,
    ) -> Vec<Vote> {
        let mut votes = Vec::new();
        for (id, of_node) in &mut self.by_node {
            let (Some(slot), Some(key)) = (of_node.get_mut(&height), key(*id)) else { continue };
            slot.held.retain_mut(|held| held.verify(key));
            votes.extend(slot.held.iter().map(|held| held.vote.clone()));
        }
        votes
    }

    /// The newest verified vote of a node that `wanted` accepts, among at most
    /// `tries` newest ones that it does. Drops those that turn out to be forged.
    pub(super) fn newest(
        &mut self,
        id: NodeId,
        key: &VerifyingKey,
        tries: usize,
        wanted: impl Fn(&Vote) -> bool,
    ) -> Option<Vote> {
        let of_node = self.by_node.get_mut(&id)?;
        let mut tried = 0;
        for slot in of_node.values_mut().rev() {
            let Some(at) = slot.held.iter().position(|held| wanted(&held.vote)) else { continue };
            if slot.held[at].verify(key) {
                return Some(slot.held[at].vote.clone());
            }
            slot.held.remove(at);
            tried += 1;
            if tried == tries {
                break;
            }
        }
        None
    }

    /// Verified votes at a height for the header that was executed here, with another root
    /// than stands in it, of nodes that nothing was proven of there; `key` gives a node's.
    /// Drops those that turn out to be forged.
    pub(super) fn false_roots<'k>(
        &mut self,
        height: Height,
        own: Subject,
        key: impl Fn(NodeId) -> Option<&'k VerifyingKey>,
    ) -> Vec<Vote> {
        let lies = |held: &Held| held.vote.header_hash == own.0 && held.vote.tree_root != own.1;
        let mut found = Vec::new();
        for (id, of_node) in &mut self.by_node {
            let Some(slot) = of_node.get_mut(&height).filter(|slot| !slot.proven) else { continue };
            let Some(key) = key(*id).filter(|_| slot.held.iter().any(lies)) else { continue };
            slot.held.retain_mut(|held| !lies(held) || held.verify(key));
            let lie = slot.held.iter().find(|held| lies(held));
            slot.proven = lie.is_some();
            found.extend(lie.map(|held| held.vote.clone()));
        }
        found
    }

    /// All nodes that votes are kept of.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.by_node.keys().copied()
    }

    /// Who voted at a height for another header or root than `own`; not verified.
    pub(super) fn others(&self, height: Height, own: Subject) -> impl Iterator<Item = NodeId> {
        let differs = move |slot: &Slot| slot.held.iter().any(|held| !held.is_over(own));
        self.by_node.iter().filter(move |(_, of_node)| of_node.get(&height).is_some_and(differs)).map(|(id, _)| *id)
    }

    /// Forgets the nodes that `known` does not name.
    pub(super) fn retain_nodes(&mut self, known: impl Fn(NodeId) -> bool) {
        self.by_node.retain(|id, _| known(*id));
    }

    /// Forgets what is below a height.
    pub(super) fn prune(&mut self, floor: Height) {
        self.by_node.values_mut().for_each(|of_node| *of_node = of_node.split_off(&floor));
        self.by_node.retain(|_, of_node| !of_node.is_empty());
    }
}
