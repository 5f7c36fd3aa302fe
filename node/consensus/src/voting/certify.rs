//! When a header is certified: by votes that are counted here, or by a
//! certificate from a peer. Only heights that this node executed are certified
//! here, so that their validators are known for sure, and none above a boundary
//! that is not.

use consilium_proto::ids::Height;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};

use super::votes::Subject;
use super::{Effect, VoteProblem, Voting};

/// Certified headers of peers kept until they are executed here.
const WAITING_MAX: usize = 16;

impl Voting {
    /// A certified header from a peer, not verified.
    pub fn certificate(&mut self, certified: CertifiedHeader) {
        let height = certified.header.height;
        if self.quarantined || certified.header.ledger_id != self.ledger_id {
            return;
        }
        if height <= self.certified {
            self.compare(&certified);
            return;
        }
        let tip = self.headers.last_key_value().map_or(self.certified, |(tip, _)| *tip);
        if height <= tip {
            self.take_certificate(certified);
            self.settle();
            return;
        }
        let next = self.schedule.set_at(self.certified.next());
        if next.is_some_and(|set| certified.verify(set).is_ok()) {
            self.waiting.insert(height, certified);
            // The lowest ones are reached soonest.
            if self.waiting.len() > WAITING_MAX {
                self.waiting.pop_last();
            }
        } else {
            // It may be beyond a boundary: that certificate comes first.
            self.ask();
        }
    }

    /// A certificate for a height that needs none: if it is over another header
    /// than the one certified here, its signers have lied.
    fn compare(&mut self, certified: &CertifiedHeader) {
        let other = self.headers.get(&certified.header.height).is_some_and(|own| own.hash != certified.header.hash());
        if other {
            self.absorb(certified, false);
        }
    }

    /// Counts a certificate for an executed height, if it is time.
    fn take_certificate(&mut self, certified: CertifiedHeader) {
        let height = certified.header.height;
        let Some(set) = self.schedule.set_at(self.certified.next()) else { return };
        let Some(own) = self.headers.get(&height) else { return };
        let same = own.hash == certified.header.hash();
        if same && height > self.limit() {
            self.ask();
            return;
        }
        // Only this epoch's validators are trusted here, for this epoch only.
        let epoch = self.headers.range(self.certified.next()..).next().map(|(_, first)| first.header.epoch);
        if epoch != Some(certified.header.epoch) || certified.verify(set).is_err() {
            return;
        }
        self.absorb(&certified, true);
        if same {
            self.advance(certified);
        } else {
            self.diverged(height, certified.header.hash());
        }
    }

    /// Takes the votes out of a certificate: with others, they may prove a lie.
    fn absorb(&mut self, certified: &CertifiedHeader, verified: bool) {
        let CertifiedHeader { header, certificate } = certified;
        for (validator, signature) in certificate.signatures() {
            let vote = Vote {
                validator,
                ledger_id: header.ledger_id,
                height: header.height,
                header_hash: header.hash(),
                tree_root: header.tree_root,
                signature: *signature,
            };
            let good = verified || self.key_of(validator, header.height).is_some_and(|key| vote.verifies(key));
            if good {
                self.add_vote(vote, true);
            }
        }
    }

    /// A height was executed: what waited for it is looked at.
    pub(super) fn certify_executed(&mut self, height: Height) {
        if height <= self.certified || self.quarantined {
            return;
        }
        for subject in self.votes.subjects(height) {
            self.count(height, subject);
        }
        if let Some(certified) = self.waiting.remove(&height) {
            self.certificate(certified);
        }
        self.settle();
    }

    /// A vote came in.
    pub(super) fn certify_by_votes(&mut self, height: Height, subject: Subject) {
        self.count(height, subject);
        self.settle();
    }

    /// Certifies a header if the power behind it suffices.
    fn count(&mut self, height: Height, subject: Subject) {
        if self.quarantined || height <= self.certified || height > self.limit() {
            return;
        }
        let Some(own) = self.headers.get(&height) else { return };
        let same = own.hash == subject.0;
        let Some(set) = self.schedule.set_at(height) else { return };
        // A root that is not the header's makes no certificate.
        let malformed = same && own.subject() != subject;
        if malformed || !set.is_quorum(self.votes.power(set, height, subject)) {
            return;
        }
        let (forged, signatures) = self.votes.verified(set, height, subject);
        let power = signatures.keys().filter_map(|id| set.seat(*id)).map(|seat| u128::from(seat.power.0)).sum();
        let enough = set.is_quorum(power);
        let header = own.header.clone();
        // Those that were passed on were checked when they came.
        for validator in forged {
            let problem = VoteProblem::Forged;
            self.effects.push(Effect::Refused { from: validator, validator, height, problem });
        }
        if enough && same {
            let certificate = BlockCertificate::new(height, subject.0, signatures);
            self.advance(CertifiedHeader { header, certificate });
        } else if enough {
            self.diverged(height, subject.0);
        }
    }

    /// A quorum signed something else than this node executed: this node is
    /// wrong, and signs nothing more.
    fn diverged(&mut self, height: Height, certified: consilium_proto::ids::HeaderHash) {
        self.quarantined = true;
        let Some(own) = self.headers.get(&height).map(|own| own.hash) else { return };
        self.effects.push(Effect::Diverged { height, own, certified });
    }

    fn advance(&mut self, certified: CertifiedHeader) {
        let height = certified.header.height;
        let ends_epoch = self.headers.get(&height).is_some_and(|own| own.ends_epoch);
        self.certified = height;
        if ends_epoch {
            self.answers.keep_boundary(certified.clone());
        }
        self.newest = Some(certified.clone());
        self.effects.push(Effect::Certified { certified: Box::new(certified), ends_epoch });
        let above = Height(self.floor().0.saturating_add(1));
        self.headers = self.headers.split_off(&above);
        self.waiting = self.waiting.split_off(&height.next());
        self.votes.prune(above);
        self.disputes.prune(above);
        self.schedule.prune(above);
    }

    /// Once a boundary is certified, votes and certificates above it count.
    fn settle(&mut self) {
        while !self.quarantined && self.answers.take_boundary_passed() {
            let before = self.certified;
            let open: Vec<Height> = self.headers.range(before.next()..=self.limit()).map(|(h, _)| *h).collect();
            for height in open.into_iter().rev() {
                for subject in self.votes.subjects(height) {
                    self.count(height, subject);
                }
                if let Some(certified) = self.waiting.remove(&height) {
                    self.take_certificate(certified);
                }
                if self.certified > before || self.quarantined {
                    break;
                }
            }
            if self.has_uncertified() && self.certified == before {
                self.ask();
            }
        }
    }
}
