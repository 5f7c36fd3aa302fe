//! Standing for election, granting, and proving who leads: what goes beside Raft's own
//! messages, in their `context`.
//!
//! - A granted vote carries the voter's signature. A candidate gives grants to Raft only once
//!   they make a [`Mandate`], so that nobody leads who cannot show one.
//! - A leader that hands over signs it; only with that does anybody who hears a leader look
//!   at a candidacy. A leader that renews its mandate hands over to itself.
//!
//! Nothing here may move Raft's term by the word of one peer.

use std::collections::BTreeMap;

use consilium_proto::ids::NodeId;
use raft::eraftpb::{Message, MessageType};

use super::Core;
use super::office::{Office, Probing, Standing, candidacy_of};
use crate::config::{Config, ElectionTicks};
use crate::ids::{LogIndex, LogPosition, RaftId, Term};
use crate::log::LogReader;
use crate::mandate::{Candidacy, Electorate, HandOver, Mandate, MandateError, Standpoint, Tail};
use crate::membership::Membership;
use crate::reject::Reject;
use crate::screen::{INDEX_MAX, TERM_AHEAD_MAX};

impl<R: LogReader> Core<R> {
    /// Whose grants count, and who is believed. Replaces the former.
    pub fn set_electorate(&mut self, electorate: Electorate) {
        self.office.electorate = electorate;
    }

    /// The proof of who leads the newest term that is proven here.
    pub fn mandate(&self) -> Option<&Mandate> {
        self.office.mandate.as_ref()
    }

    /// Takes the proof that another node leads. Its term is this node's from now on, if it was
    /// not yet, and what it says is heard.
    ///
    /// # Errors
    /// If it proves nothing here; nothing changed.
    pub fn take_mandate(&mut self, mandate: Mandate) -> Result<(), MandateError> {
        let Candidacy { term, candidate, .. } = mandate.candidacy;
        if term < self.term() {
            return Err(MandateError::Stale(term));
        }
        if term.0 > INDEX_MAX.min(self.term().0.saturating_add(TERM_AHEAD_MAX)) {
            return Err(MandateError::TermRange(term));
        }
        let proven = self.office.proven();
        if proven == Some((term, candidate)) {
            return Ok(());
        }
        if proven.is_some_and(|(newer, _)| newer > term) {
            return Err(MandateError::Stale(term));
        }
        self.office.electorate.verify(&mandate, &self.office.signer.ledger_id)?;
        if let Some((_, other)) = proven.filter(|(same, _)| *same == term) {
            return Err(MandateError::Contradicts { other, term });
        }
        self.office.mandate = Some(mandate);
        if term > self.term() {
            self.raw.raft.become_follower(term.0, candidate.get());
        }
        Ok(())
    }

    /// Has this leader elected again, in a later term: by the validators of today, or to be
    /// heard by a voter that is in a later term. Others may grant at once. Whether it is
    /// under way.
    pub fn renew_mandate(&mut self) -> bool {
        let can = self.is_leader() && self.first_unapplied_change().is_none() && self.stands();
        let pause = u64::from(self.config.election_ticks.min);
        self.office.renewal_waits = can && self.is_sole_voter() && !self.log_durable();
        if !can || self.office.renewal_waits || self.ticks.saturating_sub(self.office.renewed_at) < pause {
            return false;
        }
        let (me, term) = (self.config.id, self.term());
        let Some(hand_over) = self.sign_hand_over(me) else { return false };
        self.office.renewed_at = self.ticks;
        self.office.hand_over = Some(hand_over);
        let overtaken = self.office.overtaken.take().map_or(term, |(overtaken, _)| overtaken);
        self.raw.raft.become_follower(term.max(overtaken).0, raft::INVALID_ID);
        self.raw.raft.campaign(raft::CAMPAIGN_TRANSFER);
        true
    }

    /// Whether this leader, that votes alone, waits for its log to have itself elected again.
    pub(super) fn renewal_waits(&self) -> bool {
        self.office.renewal_waits && self.is_leader()
    }

    /// A leader that a voter has left behind in terms has itself elected again, unless it
    /// hears before of one that was elected in its place.
    pub(super) fn follow_overtaking(&mut self) {
        let Some((overtaken, since)) = self.office.overtaken else { return };
        if overtaken <= self.term() || !self.is_leader() {
            self.office.overtaken = None;
        } else if self.ticks.saturating_sub(since) >= u64::from(self.config.election_ticks.min) / 2
            && self.transferring_to().is_none()
        {
            self.renew_mandate();
        }
    }

    /// A peer answers from a later term. Voters alone count: they may be needed.
    pub(super) fn note_overtaken(&mut self, peer: RaftId, term: Term) {
        if self.is_leader() && self.membership.is_voter(peer) {
            let (newest, since) = self.office.overtaken.unwrap_or((term, self.ticks));
            self.office.overtaken = Some((newest.max(term), since));
        }
    }

    fn sign_hand_over(&self, to: RaftId) -> Option<HandOver> {
        let Office { signer, .. } = &self.office;
        let signature = signer.sign(&HandOver::signing_bytes(&signer.ledger_id, self.term(), to))?;
        Some(HandOver { term: self.term(), leader: self.config.id, signature })
    }

    /// Whoever won must be able to show it: one that leads as the only voter asked nobody.
    pub(super) fn settle_office(&mut self) {
        let (me, term) = (self.config.id, self.term());
        if !self.is_leader() || self.office.proven() == Some((term, me)) {
            return;
        }
        if self.office.standing.as_ref().is_none_or(|standing| standing.candidacy.term != term) {
            // The entry that opens the term is behind what it stood with.
            let last = LogIndex(self.raw.raft.raft_log.last_index().saturating_sub(1));
            let hash = self.hash_at(last).unwrap_or_default();
            let term_of_last = Term(self.raw.raft.raft_log.term(last.0).unwrap_or_default());
            let last = LogPosition { index: last, term: term_of_last, hash };
            let (applied, membership) = self.applied_membership();
            self.office.stand(me, Candidacy { term, candidate: me, last, applied, membership });
        }
        let Office { standing, electorate, signer, .. } = &self.office;
        let proof = standing.as_ref();
        match proof.and_then(|own| electorate.mandate(&own.candidacy, &own.grants, &signer.ledger_id)) {
            Some(mandate) => self.office.mandate = Some(mandate),
            None => self.raw.raft.become_follower(term.0, raft::INVALID_ID),
        }
    }

    /// Adds to a message of Raft what its receiver must see. Nothing goes out that could not
    /// be signed.
    pub(super) fn endorse(&mut self, mut message: Message) -> Option<Message> {
        match message.get_msg_type() {
            MessageType::MsgRequestVote => self.endorse_candidacy(&mut message),
            MessageType::MsgRequestPreVote => {
                message.context = self.tail(LogIndex(message.index)).encode();
            }
            MessageType::MsgRequestVoteResponse if !message.reject => {
                let to = RaftId::new(message.to);
                let asked = to.and_then(|to| self.office.asked.get(&to));
                let asked = asked.filter(|asked| asked.term.0 == message.term);
                message.context = self.office.grant(asked?)?.to_vec();
            }
            MessageType::MsgTimeoutNow => {
                message.context = self.sign_hand_over(RaftId::new(message.to)?)?.signature.to_vec();
            }
            MessageType::MsgAppend => {
                message.context = self.hash_at(LogIndex(message.index))?.as_bytes().to_vec();
                self.attach_seals(&mut message.entries);
            }
            MessageType::MsgAppendResponse if !message.reject && message.context.is_empty() => {
                message.context = self.hash_at(LogIndex(message.index))?.as_bytes().to_vec();
            }
            _ => {}
        }
        Some(message)
    }

    fn endorse_candidacy(&mut self, message: &mut Message) {
        let hand_over = self.office.hand_over.filter(|_| message.context == raft::CAMPAIGN_TRANSFER);
        let (applied, membership) = self.applied_membership();
        let tail = self.tail(LogIndex(message.index));
        let standpoint = Standpoint { hand_over, tail, applied, membership };
        message.context = standpoint.encode();
        let candidacy = candidacy_of(message, standpoint);
        let is_new = |own: &Candidacy| self.office.standing.as_ref().is_none_or(|standing| standing.candidacy != *own);
        if let Some(candidacy) = candidacy.filter(is_new) {
            self.office.stand(self.config.id, candidacy);
        }
    }

    /// The seats that Raft does not ask: it asks its voters alone, and the power may be with
    /// some that are to become voters.
    pub(super) fn ask_voteless(&mut self, messages: &mut Vec<Message>) {
        let asks = |kind| matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        let Some(asked) = messages.iter().find(|message| asks(message.get_msg_type())).cloned() else { return };
        if asked.get_msg_type() == MessageType::MsgRequestPreVote {
            self.office.probing = None;
        }
        let seats = self.office.electorate.seats();
        let voteless = seats.filter(|seat| *seat != self.config.id && !self.membership.is_voter(*seat));
        messages.extend(voteless.map(|seat| Message { to: seat.get(), ..asked.clone() }));
    }

    /// A leader that is heard keeps others from being granted to, unless a third of the power
    /// wants another one: it can have nothing certified without them, and they may
    /// doubt it for a reason that this node does not see. So do replicas join a change of view
    /// that more than f others want (Castro and Liskov 1999, section 4.5.2). Gives what
    /// [`Self::restore_lease`] needs.
    pub(super) fn lift_lease(&mut self, from: RaftId, message: &Message) -> Option<(Term, usize)> {
        let (kind, wanted) = (message.get_msg_type(), Term(message.term));
        let asks = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if !asks || wanted <= self.term() {
            return None;
        }
        let Config { election_ticks: ElectionTicks { min, max }, .. } = &self.config;
        let (now, window, term) = (self.ticks, u64::from(min + max), self.term());
        let Office { wanting, electorate, .. } = &mut self.office;
        wanting.insert(from, (wanted, now));
        wanting.retain(|_, (wanted, since)| *wanted > term && now.saturating_sub(*since) <= window);
        let want = wanting.keys().map(|peer| NodeId(peer.get())).collect();
        let raft = &mut self.raw.raft;
        electorate.is_blocked_by(&want).then(|| {
            let timeout = raft.election_timeout();
            (term, std::mem::replace(&mut raft.election_elapsed, timeout))
        })
    }

    /// A candidate that would be granted to, and asks no further, changes nothing.
    pub(super) fn restore_lease(&mut self, lifted: Option<(Term, usize)>) {
        if let Some((_, elapsed)) = lifted.filter(|(term, _)| *term == self.term()) {
            self.raw.raft.election_elapsed = elapsed;
        }
    }

    /// Looks at what goes beside a message, and clears it, or puts in its place what Raft is
    /// to see.
    pub(super) fn examine(&mut self, from: RaftId, message: &mut Message) -> Result<(), Reject> {
        match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote if !self.grants() => Err(Reject::Unrecalled),
            MessageType::MsgRequestVote => {
                let standpoint = Standpoint::decode(&message.context).ok_or(Reject::Field { name: "context" })?;
                let Standpoint { hand_over, applied, .. } = standpoint;
                if self.contradicts(applied, &standpoint.membership) {
                    return Err(Reject::FalseMembership { applied });
                }
                self.check_candidate(message, &standpoint.tail)?;
                let handed = hand_over.is_some_and(|hand_over| self.is_handed_over(from, message, &hand_over));
                message.context = if handed { raft::CAMPAIGN_TRANSFER.to_vec() } else { Vec::new() };
                let asked = candidacy_of(message, standpoint);
                self.office.asked.extend(asked.map(|candidacy| (from, candidacy)));
                Ok(())
            }
            MessageType::MsgRequestPreVote => {
                let tail = std::mem::take(&mut message.context);
                let tail = Tail::decode(&tail).ok_or(Reject::Field { name: "context" })?;
                self.check_candidate(message, &tail)
            }
            MessageType::MsgTimeoutNow => {
                let context = std::mem::take(&mut message.context);
                let signature = context.try_into().map_err(|_| Reject::Field { name: "context" })?;
                let hand_over = HandOver { term: Term(message.term), leader: from, signature };
                if !self.is_signed(&hand_over, self.config.id) {
                    return Err(Reject::Signature);
                }
                self.office.hand_over = Some(hand_over);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the leader that this node hears wants the candidate in its place.
    fn is_handed_over(&self, candidate: RaftId, message: &Message, hand_over: &HandOver) -> bool {
        let current = hand_over.term == self.term() && Some(hand_over.leader) == self.leader();
        current && message.term > self.term().0 && self.is_signed(hand_over, candidate)
    }

    /// Up to where this node has applied its log, and the membership there.
    fn applied_membership(&self) -> (LogIndex, Membership) {
        (self.applied_index(), self.membership.clone())
    }

    /// Whether another membership was in force at an index, as far as this node knows.
    fn contradicts(&self, applied: LogIndex, membership: &Membership) -> bool {
        (self.membership_since..=self.applied_index()).contains(&applied) && *membership != self.membership
    }

    fn is_signed(&self, hand_over: &HandOver, to: RaftId) -> bool {
        let Office { signer, electorate, .. } = &self.office;
        let signed = HandOver::signing_bytes(&signer.ledger_id, hand_over.term, to);
        electorate.is_signed_by(hand_over.leader, &signed, &hand_over.signature)
    }

    /// Takes a granted vote. Gives what Raft may be told by now: nothing before the grants
    /// make a mandate, and then all of them.
    pub(super) fn take_grant(&mut self, from: RaftId, mut message: Message) -> Result<Vec<Message>, Reject> {
        let context = std::mem::take(&mut message.context);
        let Office { signer, electorate, standing, .. } = &mut self.office;
        let standing = standing.as_mut().filter(|standing| standing.candidacy.term.0 == message.term);
        let standing = standing.ok_or(Reject::StaleTerm { term: Term(message.term) })?;
        if electorate.has_seat(from) {
            let grant = context.try_into().map_err(|_| Reject::Field { name: "context" })?;
            if !electorate.is_signed_by(from, &standing.candidacy.signing_bytes(&signer.ledger_id), &grant) {
                return Err(Reject::Signature);
            }
            standing.grants.insert(NodeId(from.get()), grant);
        }
        standing.held.insert(from, message);
        let mandate = |own: &Standing| electorate.mandate(&own.candidacy, &own.grants, &signer.ledger_id);
        standing.proven = standing.proven || mandate(standing).is_some();
        let due = if standing.proven { std::mem::take(&mut standing.held) } else { BTreeMap::new() };
        Ok(due.into_values().collect())
    }

    /// Takes the word of a voter that it would grant. Gives what Raft may be told by now: a
    /// candidate that cannot get a mandate would only disturb those that can.
    pub(super) fn take_pre_vote(&mut self, from: RaftId, message: Message) -> Vec<Message> {
        let (me, term) = (self.config.id, Term(message.term));
        let Office { electorate, probing, .. } = &mut self.office;
        if probing.as_ref().is_none_or(|probing| probing.term != term) {
            let would_grant = [NodeId(me.get())].into();
            *probing = Some(Probing { term, would_grant, held: BTreeMap::new() });
        }
        let Some(probing) = probing else { return Vec::new() };
        probing.would_grant.insert(NodeId(from.get()));
        probing.held.insert(from, message);
        let enough = electorate.is_quorum(&probing.would_grant);
        let due = if enough { std::mem::take(&mut probing.held) } else { BTreeMap::new() };
        due.into_values().collect()
    }
}
