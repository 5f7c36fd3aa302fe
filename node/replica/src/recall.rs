//! What this node promised before it started, as the others remember it.
//!
//! A disk can forget: a slot of the guard rots, a power cut damages the end of the log, an
//! operator puts yesterday's copy in its place. The disk alone does not show it. So a node
//! that starts grants nothing, and votes for nothing new, before nodes that are a quorum
//! together with it have said what they hold of it. Without a quorum nothing could be written
//! anyway: nobody waits for this who would not wait without it.
//!
//! A vote that the guard does not remember means that the disk was lost or rolled back, and
//! the node stops for good; unless the guard is known to have lost a record that may have held
//! it: then it is told it again, also by a peer that answers only after the next start. A node whose log has lost its end says nothing to Raft before it has been
//! answered, and grants nothing before its log reaches again what it had acknowledged.
//!
//! No peer may keep a node from its part by a lie: a vote counts only if this node's own key
//! signed it, and an acknowledgement only if more than liars can say it.

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::LogPosition;
use consilium_consensus::voting::VoteGuard;
use consilium_proto::ids::{Epoch, Height, LedgerId, NodeId};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::Vote;

use crate::fault::Fault;
use crate::io::Output;
use crate::peer::{PeerMessage, Recollection};
use crate::start::Doubt;

/// How often those are asked again that have not answered.
const RESEND_MS: u64 = 200;

/// See the module.
pub(crate) struct Recall {
    me: NodeId,
    ledger_id: LedgerId,
    key: VerifyingKey,
    doubt: Doubt,
    /// Who has answered, and how far this node has acknowledged the log there.
    answers: BTreeMap<NodeId, Option<LogPosition>>,
    /// The newest vote that the guard has lost.
    forgotten: Option<Vote>,
    settled: bool,
    due_ms: u64,
    /// The tick at which each peer was answered last.
    answered: BTreeMap<NodeId, u64>,
}

/// What a node that has asked enough others goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recalled {
    /// How many others have answered.
    pub(crate) answers: usize,
    /// The height of the vote that its guard has lost.
    pub(crate) vote: Option<Height>,
    /// How far its log must reach before it grants.
    pub(crate) owed: Option<LogPosition>,
    /// Its log was doubtful, and is not any more.
    pub(crate) log_trusted: bool,
}

impl Recall {
    pub(crate) fn new(me: NodeId, ledger_id: LedgerId, key: VerifyingKey, doubt: Doubt) -> Self {
        Self {
            me,
            ledger_id,
            key,
            doubt,
            answers: BTreeMap::new(),
            forgotten: None,
            settled: false,
            due_ms: 0,
            answered: BTreeMap::new(),
        }
    }

    /// Whether this node may not speak of its log yet.
    pub(crate) fn is_silent(&self) -> bool {
        self.doubt.log && !self.settled
    }

    /// Whether enough have answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Asks whom it has not heard, while that is needed.
    pub(crate) fn ask(
        &mut self,
        others: impl Iterator<Item = NodeId>,
        epoch: Epoch,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        if self.settled || now_ms < self.due_ms {
            return;
        }
        self.due_ms = now_ms.saturating_add(RESEND_MS);
        let unheard = others.filter(|peer| !self.answers.contains_key(peer));
        out.extend(unheard.map(|to| Output::Send { to, message: PeerMessage::Recall(epoch) }));
    }

    /// Whether to answer a peer that asks: once a tick at most.
    pub(crate) fn may_answer(&mut self, peer: NodeId, tick: u64) -> bool {
        self.answered.insert(peer, tick) != Some(tick)
    }

    /// A peer has told what it holds.
    ///
    /// # Errors
    /// If the disk was lost or rolled back.
    pub(crate) fn hear(&mut self, from: NodeId, told: Recollection, guard: VoteGuard) -> Result<(), Fault> {
        let Recollection { vote, acknowledged } = told;
        let own = |vote: &Vote| vote.validator == self.me && vote.ledger_id == self.ledger_id;
        let newer = vote.filter(own).filter(|vote| vote.height > guard.voted_height && vote.verifies(&self.key));
        if let Some(vote) = newer {
            if vote.height > self.doubt.guard {
                return Err(Fault::VoteForgotten(vote.height));
            }
            if self.forgotten.as_ref().is_none_or(|before| before.height < vote.height) {
                self.forgotten = Some(vote);
            }
        }
        self.answers.insert(from, acknowledged);
        Ok(())
    }

    /// Whether enough have answered, once: by the newest validators that this node knows.
    pub(crate) fn settle(&mut self, validators: &ValidatorSet) -> Option<Recalled> {
        if self.settled || !self.is_quorum(validators) {
            return None;
        }
        self.settled = true;
        let log = std::mem::take(&mut self.doubt.log);
        Some(Recalled {
            answers: self.answers.len(),
            vote: self.forgotten.as_ref().map(|vote| vote.height),
            owed: self.owed(validators).filter(|_| log),
            log_trusted: log,
        })
    }

    /// A vote that the guard is to be told: one that it has lost, and that is above all that it
    /// remembers. The last to answer may be the only one that holds it.
    pub(crate) fn lost_vote(&self, guard: VoteGuard) -> Option<&Vote> {
        self.forgotten.as_ref().filter(|vote| self.settled && vote.height > guard.voted_height)
    }

    fn is_quorum(&self, validators: &ValidatorSet) -> bool {
        let heard: BTreeSet<NodeId> = self.answers.keys().copied().chain([self.me]).collect();
        let (mut power, mut heads) = (0, 0);
        for seat in validators.seats().iter().filter(|seat| heard.contains(&seat.id)) {
            power += u128::from(seat.power.0);
            heads += 1;
        }
        validators.is_quorum(power) && heads * 2 > validators.seats().len()
    }

    /// The furthest position that so many say was acknowledged that no quorum is without one
    /// of them.
    fn owed(&self, validators: &ValidatorSet) -> Option<LogPosition> {
        let mut said: Vec<(LogPosition, NodeId)> =
            self.answers.iter().filter_map(|(peer, position)| Some(((*position)?, *peer))).collect();
        said.sort_unstable_by_key(|(position, _)| std::cmp::Reverse((position.term, position.index)));
        let mut others = validators.total_power();
        said.into_iter().find_map(|(position, peer)| {
            others -= validators.seat(peer).map_or(0, |seat| u128::from(seat.power.0));
            (!validators.is_quorum(others)).then_some(position)
        })
    }
}

#[cfg(test)]
mod tests;
