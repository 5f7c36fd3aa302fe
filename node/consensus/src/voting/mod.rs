//! How a node votes on what it executed and learns what is certified, as a
//! state machine without I/O: the daemon and the simulator drive the same code.
//!
//! It owns which header this node signs and when (`round`), what becomes of the
//! votes of others (`votes`, `disputes`), when a header is certified
//! (`certify`), and what a peer that lacks certificates is told (`answers`). It
//! sees no clock, disk or network: inputs are methods, what is to be done comes
//! out as [`Effect`]s, in order. It holds the signing key, so that no signature
//! exists before the guard is durable. ES256 signatures are random: nothing
//! here depends on their bytes.
//!
//! **Epochs.** Heights up to and including a boundary are certified by the old
//! validators, heights above it by the next. A node always votes on a boundary
//! and never above one that is not certified, so every boundary has a
//! certificate of its own over exactly that height, which is what light clients
//! follow. That certificate is durable before this node votes above, so the
//! newest vote of a node is the only one that it may have to repeat; where the
//! certificate was lost with the ledger, the vote on the boundary comes first.
//!
//! **Everyone votes.** Nodes without a seat vote too, and so do those whose
//! block is certified already: that is how the ledger sees who is there. Only
//! seats count for certificates.

mod answers;
mod certify;
mod disputes;
mod effect;
mod round;
mod schedule;
mod votes;

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, LedgerId, NodeId};
use consilium_proto::signing::{SigningKey, VerifyingKey};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, Vote};

pub use self::effect::{Clock, Effect, Start, VoteGuard, VoteProblem, VotingError};
pub use self::schedule::ValidatorSchedule;
pub use self::votes::VOTES_PER_NODE_MAX;
use self::votes::{Added, Subject, Votes};

/// Heights at and below the certified one whose headers and votes are kept: for
/// presence, for evidence, and for telling peers what they lack.
pub const KEPT_BELOW: u64 = 64;
/// Executed headers kept; of more, the lowest go that neither end an epoch nor
/// are the guard's. A certificate for a newer one covers them.
pub const HEADERS_MAX: usize = 4_096;
/// Forged votes of one node that one look for its presence puts up with.
const PRESENCE_TRIES: usize = 4;

/// What this node executed at a height.
#[derive(Debug)]
struct Executed {
    header: Header,
    hash: HeaderHash,
    votable: bool,
    ends_epoch: bool,
}

impl Executed {
    fn subject(&self) -> Subject {
        (self.hash, self.header.tree_root)
    }

    /// Whether a vote says of this header what is not in it.
    fn has_another_root(&self, vote: &Vote) -> bool {
        vote.header_hash == self.hash && vote.tree_root != self.header.tree_root
    }
}

/// The voting of one node. See the module's documentation.
pub struct Voting {
    me: NodeId,
    key: Arc<SigningKey>,
    ledger_id: LedgerId,
    clock_skew_max_ms: u64,
    schedule: ValidatorSchedule,
    nodes: BTreeMap<NodeId, VerifyingKey>,
    /// Executed headers above `floor`.
    headers: BTreeMap<Height, Executed>,
    votes: Votes,
    disputes: disputes::Disputes,
    certified: Height,
    newest: Option<CertifiedHeader>,
    /// Certified by the validators of `certified + 1`, not executed here yet.
    waiting: BTreeMap<Height, CertifiedHeader>,
    answers: answers::Answers,
    round: round::Round,
    quarantined: bool,
    /// Whether it is known what this node voted for before.
    recalled: bool,
    effects: Vec<Effect>,
}

impl Voting {
    /// Starts from what the disk holds. Every header that is executed and not
    /// certified is to be given to [`Self::executed`] next, in order; at least
    /// those that end an epoch, the guard's, and the newest [`HEADERS_MAX`].
    #[must_use]
    pub fn new(start: Start) -> Self {
        let Start { me, key, ledger_id, clock_skew_max_ms, guard, certified: newest, validators, nodes } = start;
        let certified = newest.as_ref().map_or(Height::GENESIS, |c| c.header.height);
        Self {
            me,
            key,
            ledger_id,
            clock_skew_max_ms,
            schedule: ValidatorSchedule::new(certified.next(), validators),
            nodes,
            headers: BTreeMap::new(),
            votes: Votes::default(),
            disputes: disputes::Disputes::default(),
            certified,
            newest,
            waiting: BTreeMap::new(),
            answers: answers::Answers::new(certified),
            round: round::Round::new(guard),
            quarantined: false,
            recalled: true,
            effects: Vec::new(),
        }
    }

    /// What is to be done now, in order; the caller does all of it before the
    /// next input, and asks again after [`Self::remembered`].
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The highest height that is certified and executed here.
    #[must_use]
    pub fn certified(&self) -> Height {
        self.certified
    }

    /// The newest certified header; `None` until the first.
    #[must_use]
    pub fn newest_certified(&self) -> Option<&CertifiedHeader> {
        self.newest.as_ref()
    }

    /// The highest height that is certified and not executed here, as far as is known.
    #[must_use]
    pub fn certified_ahead(&self) -> Option<Height> {
        self.waiting.last_key_value().map(|(height, _)| *height)
    }

    /// The validator sets as this node knows them.
    #[must_use]
    pub fn schedule(&self) -> &ValidatorSchedule {
        &self.schedule
    }

    /// The guard as it is to be durable, whether or not it is yet.
    #[must_use]
    pub fn guard(&self) -> VoteGuard {
        self.round.guard
    }

    /// Whether this node has put itself aside.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// Puts this node aside: from now on it signs nothing and certifies nothing.
    pub fn quarantine(&mut self) {
        self.quarantined = true;
    }

    /// Whether this node may vote for more than its guard remembers: not before it knows that
    /// the guard has forgotten nothing.
    pub fn set_recalled(&mut self, recalled: bool) {
        self.recalled = recalled;
    }

    /// Tells the vote keys of all active nodes, seated or not. Votes of others
    /// are forgotten.
    pub fn set_nodes(&mut self, nodes: BTreeMap<NodeId, VerifyingKey>) {
        self.nodes = nodes;
        let Self { votes, nodes, schedule, .. } = self;
        votes.retain_nodes(|id| nodes.contains_key(&id) || schedule.key(id).is_some());
    }

    /// The ledger's tolerance of block times has changed.
    pub fn set_clock_skew_max_ms(&mut self, clock_skew_max_ms: u64) {
        self.clock_skew_max_ms = clock_skew_max_ms;
    }

    /// This node executed a block. `votable` says whether it may vote on it: not
    /// on blocks taken over as certified. `next_set` is given exactly when the
    /// header ends an epoch, also when the set stays the same.
    ///
    /// # Errors
    /// If the header names other validators than are known here, or the height
    /// was executed with another result, or the guarded vote cannot be signed.
    pub fn executed(
        &mut self,
        header: Header,
        votable: bool,
        next_set: Option<ValidatorSet>,
    ) -> Result<(), VotingError> {
        let (height, hash) = (header.height, header.hash());
        if height <= self.floor() {
            return Ok(());
        }
        if let Some(before) = self.headers.get(&height) {
            return if before.hash == hash { Ok(()) } else { Err(VotingError::Reexecuted { height }) };
        }
        let ends_epoch = next_set.is_some();
        if height > self.certified {
            self.follow(&header, next_set)?;
        }
        self.headers.insert(height, Executed { header, hash, votable, ends_epoch });
        self.trim();
        self.look_for_false_roots(height);
        self.look_for_dispute(height);
        if height == self.round.guard.voted_height {
            self.repeat_guarded_vote()?;
        }
        self.certify_executed(height);
        Ok(())
    }

    /// The set that follows must be the one that the header commits to.
    fn follow(&mut self, header: &Header, next_set: Option<ValidatorSet>) -> Result<(), VotingError> {
        let height = header.height;
        let next_hash = next_set.as_ref().map_or(header.validators_hash, ValidatorSet::hash);
        let expected = self.schedule.hash_at(height) == Some(header.validators_hash);
        if !expected || next_hash != header.next_validators_hash {
            return Err(VotingError::OtherValidators { height });
        }
        if let Some(next) = next_set {
            self.schedule.end_epoch(height, next);
        }
        Ok(())
    }

    /// A vote, from the peer that sent it: its own, or one passed on.
    pub fn vote(&mut self, from: NodeId, vote: Vote) {
        let (validator, height) = (vote.validator, vote.height);
        let direct = from == validator;
        match self.take_vote(vote, direct) {
            Ok(new) if direct && height <= self.certified => self.tell_voter(from, height, !new),
            Ok(_) => {}
            Err(problem) => self.effects.push(Effect::Refused { from, validator, height, problem }),
        }
    }

    /// Returns whether it is new here.
    fn take_vote(&mut self, vote: Vote, direct: bool) -> Result<bool, VoteProblem> {
        if vote.ledger_id != self.ledger_id {
            return Err(VoteProblem::OtherLedger);
        }
        let key = self.key_of(vote.validator, vote.height).ok_or(VoteProblem::Stranger)?;
        if vote.height <= self.floor() {
            return Ok(false);
        }
        // Only the transport vouches for a direct vote until it is needed; for
        // one passed on, nobody does.
        if !direct && !vote.verifies(key) {
            return Err(VoteProblem::Forged);
        }
        match self.add_vote(vote.clone(), !direct) {
            Added::Forged => return Err(VoteProblem::Forged),
            Added::Known => return Ok(false),
            Added::New | Added::Evidence(_) => {}
        }
        if self.headers.get(&vote.height).is_some_and(|own| own.has_another_root(&vote)) {
            self.look_for_false_roots(vote.height);
        }
        if direct {
            self.dispute(&vote);
        }
        self.certify_by_votes(vote.height, (vote.header_hash, vote.tree_root));
        Ok(true)
    }

    /// Stores a vote of a known node, and reports a lie.
    fn add_vote(&mut self, vote: Vote, verified: bool) -> Added {
        let Self { schedule, nodes, votes, .. } = self;
        let Some(key) = key_of(schedule, nodes, vote.validator, vote.height) else { return Added::Known };
        let added = votes.add(vote, verified, key);
        if let Added::Evidence(evidence) = &added {
            self.effects.push(Effect::Evidence(evidence.clone()));
        }
        added
    }

    /// For each node that `not_seen` names, its newest valid vote for a header
    /// that this node executed too: what a leader reports as presence.
    pub fn presence(&mut self, not_seen: impl Fn(NodeId) -> bool) -> Vec<Vote> {
        let Self { schedule, nodes, headers, votes, .. } = self;
        let matches = |vote: &Vote| {
            headers.get(&vote.height).is_some_and(|own| own.subject() == (vote.header_hash, vote.tree_root))
        };
        let wanted: Vec<_> = votes.nodes().filter(|id| not_seen(*id)).collect();
        let newest = |id| {
            let key = nodes.get(&id).or_else(|| schedule.key(id))?;
            votes.newest(id, key, PRESENCE_TRIES, matches)
        };
        wanted.into_iter().filter_map(newest).collect()
    }

    fn key_of(&self, id: NodeId, height: Height) -> Option<&VerifyingKey> {
        key_of(&self.schedule, &self.nodes, id, height)
    }

    /// What is at or below it is forgotten.
    fn floor(&self) -> Height {
        Height(self.certified.0.saturating_sub(KEPT_BELOW))
    }

    /// Nothing above it may be voted on or certified yet: the lowest boundary
    /// that is not certified.
    fn limit(&self) -> Height {
        self.schedule.boundary_above(self.certified).unwrap_or(Height(u64::MAX))
    }

    fn trim(&mut self) {
        while self.headers.len() > HEADERS_MAX {
            let guarded = self.round.guard.voted_height;
            let lowest = self.headers.iter().find(|(height, executed)| !executed.ends_epoch && **height != guarded);
            let Some(lowest) = lowest.map(|(height, _)| *height) else { return };
            self.headers.remove(&lowest);
        }
    }
}

/// The key of a seat of that height, else of a node, else of a seat at another
/// height.
fn key_of<'k>(
    schedule: &'k ValidatorSchedule,
    nodes: &'k BTreeMap<NodeId, VerifyingKey>,
    id: NodeId,
    height: Height,
) -> Option<&'k VerifyingKey> {
    let seat = schedule.set_at(height).and_then(|set| set.seat(id)).map(|seat| &seat.key);
    seat.or_else(|| nodes.get(&id)).or_else(|| schedule.key(id))
}
