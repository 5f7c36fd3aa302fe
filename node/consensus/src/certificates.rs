//! Collects votes into block certificates. It owns which votes count, and
//! nothing of where they come from: no block is seen here, only heights and
//! hashes.
//!
//! Signatures are checked when the power behind a header suffices, not one by
//! one as votes arrive: most votes for old heights are never needed. A vote
//! that turns out to be forged is dropped, and the count goes on without it.
//! Two good votes of one validator for two headers of one height are evidence.

use std::collections::BTreeMap;

use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, Vote};

/// How far above the certified height votes are kept, in heights. Bounds the
/// memory that a validator can make others use.
pub const VOTE_WINDOW: u64 = 4_096;

/// Two signed votes of one validator for one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The one counted.
    pub first: Vote,
    /// The other.
    pub second: Vote,
}

/// What a vote led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// It counts, or is known already.
    Counted,
    /// It is for a height that needs no more votes, or one too far above.
    OutsideWindow,
    /// The sender has no seat.
    NoSeat,
    /// The signature is wrong.
    Forged,
    /// With it, a header is certified: the certificate covers all lower heights.
    Certified(BlockCertificate),
    /// The validator signed two headers of one height.
    Evidence(Box<Equivocation>),
}

/// Votes above the certified height.
#[derive(Debug)]
pub struct CertificateCollector {
    set: ValidatorSet,
    certified: Height,
    /// By height and validator; the first good vote for a height counts.
    votes: BTreeMap<Height, BTreeMap<NodeId, Held>>,
    /// The newest height of each validator, for status.
    newest: BTreeMap<NodeId, Height>,
}

#[derive(Clone, Debug)]
struct Held {
    vote: Vote,
    verified: bool,
}

impl CertificateCollector {
    /// Starts above a height that is certified.
    #[must_use]
    pub fn new(set: ValidatorSet, certified: Height) -> Self {
        Self { set, certified, votes: BTreeMap::new(), newest: BTreeMap::new() }
    }

    /// The highest height known to be certified.
    #[must_use]
    pub fn certified(&self) -> Height {
        self.certified
    }

    /// Newest height that each validator voted for, as far as its votes were kept.
    #[must_use]
    pub fn newest_votes(&self) -> &BTreeMap<NodeId, Height> {
        &self.newest
    }

    /// A certificate was had from elsewhere, and verified.
    pub fn advance(&mut self, certified: Height) {
        if certified > self.certified {
            self.certified = certified;
            self.votes = self.votes.split_off(&certified.next());
        }
    }

    /// Takes a vote.
    pub fn add(&mut self, vote: Vote) -> Collected {
        let Some(seat) = self.set.seat(vote.validator) else { return Collected::NoSeat };
        let height = vote.height;
        if height <= self.certified || height.0 > self.certified.0.saturating_add(VOTE_WINDOW) {
            return Collected::OutsideWindow;
        }
        let held = self.votes.entry(height).or_default();
        match held.get(&vote.validator) {
            Some(before) if before.vote.header_hash == vote.header_hash && before.vote.tree_root == vote.tree_root => {
                // A forged copy must not keep the real one out.
                if !before.verified && before.vote.signature != vote.signature && vote.verifies(&seat.key) {
                    held.insert(vote.validator, Held { vote: vote.clone(), verified: true });
                } else {
                    return Collected::Counted;
                }
            }
            Some(before) => {
                if !vote.verifies(&seat.key) {
                    return Collected::Forged;
                }
                if before.verified || before.vote.verifies(&seat.key) {
                    let first = before.vote.clone();
                    return Collected::Evidence(Box::new(Equivocation { first, second: vote }));
                }
                held.insert(vote.validator, Held { vote: vote.clone(), verified: true });
            }
            None => {
                held.insert(vote.validator, Held { vote: vote.clone(), verified: false });
            }
        }
        let newest = self.newest.entry(vote.validator).or_default();
        *newest = height.max(*newest);
        self.try_certify(height, vote.header_hash, vote.tree_root)
    }

    fn power(&self, height: Height, header: HeaderHash, root: Hash) -> u128 {
        let votes = self.votes.get(&height).into_iter().flatten();
        votes
            .filter(|(_, held)| held.vote.header_hash == header && held.vote.tree_root == root)
            .filter_map(|(id, _)| self.set.seat(*id))
            .map(|seat| u128::from(seat.power.0))
            .sum()
    }

    fn try_certify(&mut self, height: Height, header: HeaderHash, root: Hash) -> Collected {
        if !self.set.is_quorum(self.power(height, header, root)) {
            return Collected::Counted;
        }
        self.drop_forged(height, header, root);
        if !self.set.is_quorum(self.power(height, header, root)) {
            return Collected::Forged;
        }
        let votes = self.votes.get(&height).into_iter().flatten();
        let signatures = votes
            .filter(|(_, held)| held.vote.header_hash == header && held.vote.tree_root == root)
            .map(|(id, held)| (*id, held.vote.signature))
            .collect();
        self.advance(height);
        Collected::Certified(BlockCertificate::new(height, header, signatures))
    }

    fn drop_forged(&mut self, height: Height, header: HeaderHash, root: Hash) {
        let Self { set, votes, .. } = self;
        let Some(votes) = votes.get_mut(&height) else { return };
        votes.retain(|id, held| {
            let concerned = held.vote.header_hash == header && held.vote.tree_root == root;
            if concerned && !held.verified {
                held.verified = set.seat(*id).is_some_and(|seat| held.vote.verifies(&seat.key));
            }
            !concerned || held.verified
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use consilium_proto::header::Header;
    use consilium_proto::ids::{Epoch, LedgerId, TimeMs, VotingPower};
    use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
    use consilium_proto::validators::{Quorum, Validator};

    struct Net {
        keys: Vec<SigningKey>,
        set: ValidatorSet,
    }

    fn net(powers: &[u64]) -> Net {
        let keys: Vec<_> = powers.iter().map(|_| SigningKey::generate(SignatureAlgorithm::Es256).unwrap()).collect();
        let seats = powers.iter().zip(&keys).zip(1..).map(|((power, key), id)| Validator {
            id: NodeId(id),
            power: VotingPower(*power),
            key: key.verifying_key(),
        });
        let set = ValidatorSet::new(seats.collect(), Quorum::new(2, 3).unwrap()).unwrap();
        Net { keys, set }
    }

    impl Net {
        fn header(&self, height: u64, salt: u8) -> Header {
            Header {
                ledger_id: LedgerId::from_bytes([1; 32]),
                height: Height(height),
                previous_hash: HeaderHash::from_bytes([0; 32]),
                time: TimeMs(1),
                epoch: Epoch(0),
                tree_size: 2,
                tree_root: Hash::from_bytes([salt; 32]),
                state_root: Hash::from_bytes([4; 32]),
                validators_hash: self.set.hash(),
                next_validators_hash: self.set.hash(),
                proposer: NodeId(1),
            }
        }

        fn vote(&self, id: u64, header: &Header) -> Vote {
            Vote::sign(NodeId(id), header, &self.keys[id as usize - 1]).unwrap()
        }
    }

    #[test]
    fn three_of_four_certify_and_the_certificate_verifies() {
        let net = net(&[1, 1, 1, 1]);
        let header = net.header(1, 9);
        let mut collector = CertificateCollector::new(net.set.clone(), Height::GENESIS);
        assert_eq!(collector.add(net.vote(1, &header)), Collected::Counted);
        assert_eq!(collector.add(net.vote(1, &header)), Collected::Counted);
        assert_eq!(collector.add(net.vote(2, &header)), Collected::Counted);
        let Collected::Certified(certificate) = collector.add(net.vote(3, &header)) else { panic!("not certified") };
        certificate.verify(&header, &net.set).unwrap();
        assert_eq!(collector.certified(), Height(1));
        assert_eq!(collector.add(net.vote(4, &header)), Collected::OutsideWindow);
    }

    #[test]
    fn power_counts_not_heads() {
        let net = net(&[7, 1, 1, 1]);
        let header = net.header(1, 9);
        let mut collector = CertificateCollector::new(net.set.clone(), Height::GENESIS);
        for id in [2, 3, 4] {
            assert_eq!(collector.add(net.vote(id, &header)), Collected::Counted);
        }
        assert!(matches!(collector.add(net.vote(1, &header)), Collected::Certified(_)));
    }

    #[test]
    fn a_forged_vote_neither_counts_nor_blocks() {
        let net = net(&[1, 1, 1, 1]);
        let header = net.header(1, 9);
        let mut collector = CertificateCollector::new(net.set.clone(), Height::GENESIS);
        let mut forged = net.vote(3, &header);
        forged.signature = [7; 64];
        collector.add(forged);
        collector.add(net.vote(1, &header));
        assert_eq!(collector.add(net.vote(2, &header)), Collected::Forged);
        assert!(matches!(collector.add(net.vote(3, &header)), Collected::Certified(_)));
    }

    #[test]
    fn double_signing_is_evidence() {
        let net = net(&[1, 1, 1, 1]);
        let mut collector = CertificateCollector::new(net.set.clone(), Height::GENESIS);
        let (one, other) = (net.vote(1, &net.header(1, 8)), net.vote(1, &net.header(1, 9)));
        collector.add(one.clone());
        let evidence = Collected::Evidence(Box::new(Equivocation { first: one, second: other.clone() }));
        assert_eq!(collector.add(other), evidence);
    }

    #[test]
    fn strangers_and_far_heights_are_refused() {
        let net = net(&[1, 1]);
        let mut collector = CertificateCollector::new(net.set.clone(), Height::GENESIS);
        let mut vote = net.vote(1, &net.header(1, 1));
        vote.validator = NodeId(77);
        assert_eq!(collector.add(vote), Collected::NoSeat);
        let far = net.vote(1, &net.header(VOTE_WINDOW + 1, 1));
        assert_eq!(collector.add(far), Collected::OutsideWindow);
    }
}
