//! This node's own votes. Invariant I9: the guard is durable before a signature
//! exists, and what it remembers is signed at most once with one header.

use std::ops::Bound;

use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TimeMs};
use consilium_proto::vote::Vote;

use super::votes::Subject;
use super::{Clock, Effect, Executed, VoteGuard, Voting, VotingError};

/// Votes made in one round, at most; older heights are covered by newer ones.
pub(super) const VOTES_PER_ROUND_MAX: usize = 32;
/// How often the newest vote is sent again, and certificates are asked for.
pub(super) const RESEND_MS: u64 = 500;

/// Where this node's votes stand.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) guard: VoteGuard,
    /// To be signed once the guard is durable.
    pending: Option<Vec<Header>>,
    /// Signed, on their way, and not counted here yet.
    uncounted: Vec<(Height, Subject)>,
    newest_vote: Option<Vote>,
    withheld: Option<Height>,
    resend_at_ms: u64,
}

impl Round {
    pub(super) fn new(guard: VoteGuard) -> Self {
        Self { guard, pending: None, uncounted: Vec::new(), newest_vote: None, withheld: None, resend_at_ms: 0 }
    }
}

impl Voting {
    /// Time has passed, or inputs have come: votes on what may be voted on, and
    /// repeats what may have been lost. Votes of one call share one guard write,
    /// so it is called once for many inputs.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn tick(&mut self, now: Clock) -> Result<(), VotingError> {
        self.answers.tick(self.certified, now.monotonic_ms);
        for (height, subject) in std::mem::take(&mut self.round.uncounted) {
            self.certify_by_votes(height, subject);
        }
        self.repeat_guarded_vote()?;
        if !self.quarantined && self.recalled && self.round.pending.is_none() {
            self.start_round(now);
        }
        self.resend(now.monotonic_ms);
        Ok(())
    }

    /// The guard lost a vote that others hold: it is remembered again, and covered by every
    /// later one.
    pub fn recall(&mut self, vote: &Vote) {
        if vote.height > self.round.guard.voted_height && self.round.pending.is_none() {
            let guard = VoteGuard { voted_height: vote.height, voted_header: vote.header_hash };
            self.round.guard = guard;
            self.round.pending = Some(Vec::new());
            self.effects.push(Effect::WriteGuard(guard));
        }
    }

    fn start_round(&mut self, now: Clock) {
        let latest = TimeMs(now.wall.0.saturating_add(self.clock_skew_max_ms));
        let (above, limit) = (self.round.guard.voted_height, self.limit());
        if above >= limit || !self.guard_holds() {
            return;
        }
        let new = self.headers.range((Bound::Excluded(above), Bound::Included(limit))).map(|(_, executed)| executed);
        let (mut votable, mut withheld) = (Vec::new(), None);
        for executed in new.filter(|executed| executed.votable) {
            if executed.header.time > latest {
                withheld = Some((executed.header.height, executed.header.time.0 - now.wall.0));
                break;
            }
            votable.push(executed);
        }
        let chosen = self.choose(&votable);
        if let Some((height, ahead_ms)) = withheld.filter(|(height, _)| self.round.withheld != Some(*height)) {
            self.round.withheld = Some(height);
            self.effects.push(Effect::Withheld { height, ahead_ms });
        }
        if let Some(newest) = chosen.last() {
            let guard = VoteGuard { voted_height: newest.height, voted_header: newest.hash() };
            self.round.guard = guard;
            self.round.pending = Some(chosen);
            self.effects.push(Effect::WriteGuard(guard));
        }
    }

    /// Whether this node's chain is the one that it voted for, or the one that
    /// the validators certified instead. A vote covers all heights below it: on
    /// another chain, even a vote above the guard would contradict the guard's.
    fn guard_holds(&self) -> bool {
        let VoteGuard { voted_height, voted_header } = self.round.guard;
        let same = |executed: &Executed| executed.hash == voted_header;
        voted_height <= self.certified || self.headers.get(&voted_height).is_some_and(same)
    }

    /// The newest ones that still need votes; if none does, the newest of all,
    /// which shows that this node is there. The boundary that limits a round
    /// is the newest then, and thus never left out.
    fn choose(&self, votable: &[&Executed]) -> Vec<Header> {
        let first = votable.partition_point(|executed| executed.header.height <= self.certified);
        let first = first.max(votable.len().saturating_sub(VOTES_PER_ROUND_MAX));
        let first = first.min(votable.len().saturating_sub(1));
        votable[first..].iter().map(|executed| executed.header.clone()).collect()
    }

    /// The guard is durable: its votes are signed and leave. What they certify is
    /// found with the next tick: peers shall not wait for that.
    ///
    /// # Errors
    /// If the key cannot sign.
    pub fn remembered(&mut self) -> Result<(), VotingError> {
        for header in self.round.pending.take().unwrap_or_default() {
            self.cast(&header)?;
        }
        self.round.resend_at_ms = self.answers.now_ms.saturating_add(RESEND_MS);
        Ok(())
    }

    /// Signs what the guard allows, and counts it here too.
    fn cast(&mut self, header: &Header) -> Result<(), VotingError> {
        if self.quarantined {
            return Ok(());
        }
        let vote = Vote::sign(self.me, header, &self.key)?;
        self.effects.push(Effect::BroadcastVote(vote.clone()));
        self.round.newest_vote = Some(vote.clone());
        let subject = (vote.header_hash, vote.tree_root);
        self.add_vote(vote, true);
        self.round.uncounted.push((header.height, subject));
        Ok(())
    }

    /// After a restart the vote that the guard remembers may not have left: it is made
    /// again when its block is executed again, and only for the very header that the
    /// guard holds. If it is above a boundary whose certificate was lost with the ledger,
    /// the vote on the boundary is made again first: the guarded vote covers it, and
    /// where all who voted above have lost it, nobody else could.
    pub(super) fn repeat_guarded_vote(&mut self) -> Result<(), VotingError> {
        match self.owed_vote() {
            Some(header) => self.cast(&header),
            None => Ok(()),
        }
    }

    fn owed_vote(&self) -> Option<Header> {
        let guard = self.round.guard;
        if guard.voted_height <= self.certified || self.round.pending.is_some() {
            return None;
        }
        self.headers.get(&guard.voted_height).filter(|executed| executed.hash == guard.voted_header)?;
        let height = guard.voted_height.min(self.limit());
        let said = self.round.newest_vote.as_ref().is_some_and(|vote| vote.height >= height);
        self.headers.get(&height).filter(|_| !said).map(|executed| executed.header.clone())
    }

    fn resend(&mut self, now_ms: u64) {
        if now_ms < self.round.resend_at_ms {
            return;
        }
        self.round.resend_at_ms = now_ms.saturating_add(RESEND_MS);
        let certified = self.certified;
        let lost = self.round.newest_vote.as_ref().filter(|vote| vote.height > certified && !self.quarantined);
        if let Some(vote) = lost {
            self.effects.push(Effect::BroadcastVote(vote.clone()));
        }
        if self.has_uncertified() {
            self.effects.push(Effect::AskPeers { from: certified.next() });
        }
    }

    /// Whether this node executed anything that is not certified.
    pub(super) fn has_uncertified(&self) -> bool {
        self.headers.last_key_value().is_some_and(|(tip, _)| *tip > self.certified)
    }
}
