//! What others have acknowledged: each node counts for itself, and takes nobody's word for
//! what is committed, not the leader's either.
//!
//! Followers tell all that replicate, and not the leader alone, how far their log goes; so
//! does the leader. An entry is committed here once voters that are a majority of Raft's, and
//! have more than two thirds of the power, hold a *head* at or behind it: an entry of the
//! leader's own term, which covers all before it (Raft, section 5.4.2).
//!
//! Who votes behind a membership entry is known when that is applied: a node that lags, and has
//! both in its log, would count by voters of the past. It goes by the membership that the
//! leader's mandate names, if that is a later one.
//!
//! At the leader, what Raft would commit by itself is held back until it is counted.

use std::collections::BTreeSet;

use consilium_proto::ids::NodeId;
use raft::eraftpb::{Message, MessageType};

use super::Core;
use super::office::Office;
use crate::ids::{LogHash, LogIndex, LogPosition, RaftId, Term};
use crate::log::LogReader;
use crate::mandate::Mandate;
use crate::reject::Reject;

impl<R: LogReader> Core<R> {
    pub(super) fn term_at(&self, index: LogIndex) -> Term {
        Term(self.raw.raft.raft_log.term(index.0).unwrap_or_default())
    }

    /// Whether this node's word counts, as far as it knows.
    fn counts(&self, node: RaftId) -> bool {
        let elects = |mandate: &Mandate| mandate.candidacy.membership.is_voter(node);
        self.membership.is_voter(node) || self.office.electorate.has_seat(node) || self.ahead().is_some_and(elects)
    }

    /// Up to where this node's log is the leader's. One that ends in the leader's term is so to
    /// its end: nobody else writes entries of that term. So it is known after a restart, too,
    /// when the leader has nothing to send.
    pub(super) fn reach(&self) -> LogIndex {
        let last = LogIndex(self.raw.raft.raft_log.last_index());
        if self.term_at(last) == self.term() { last } else { self.tally.matched }
    }

    /// As much of it as is durable.
    fn own_head(&self) -> LogIndex {
        self.reach().min(LogIndex(self.raw.raft.raft_log.persisted))
    }

    /// How far this node may count: what it has of the leader's log, and nothing behind a
    /// membership entry before that is in force, since others may vote there. What the library
    /// holds for itself was not looked at yet.
    fn countable(&self) -> LogIndex {
        let seen = LogIndex(self.raw.raft.raft_log.unstable.offset - 1).min(self.reach());
        let applied = self.ahead().map_or(self.applied_index(), |mandate| mandate.candidacy.applied);
        self.changes.range(applied.next()..).next().map_or(seen, |change| seen.min(*change))
    }

    /// The newest entry that a quorum holds, no further than this node may count; zero if there
    /// is none.
    fn counted(&self) -> LogIndex {
        if self.tally.term != self.term() {
            return LogIndex(0);
        }
        let (me, own) = (self.config.id, self.own_head());
        let mut heads: Vec<(LogIndex, RaftId)> = self.tally.heads.iter().map(|(node, head)| (*head, *node)).collect();
        if self.term_at(own) == self.term() {
            heads.push((own, me));
        }
        self.held_by_quorum(heads).min(self.countable())
    }

    /// The newest index at or behind which a quorum has its heads; zero if there is none.
    fn held_by_quorum(&self, mut heads: Vec<(LogIndex, RaftId)>) -> LogIndex {
        heads.sort_unstable_by(|one, other| other.cmp(one));
        let mut holders = BTreeSet::new();
        let holds = |(head, node): (LogIndex, RaftId)| {
            holders.insert(node);
            self.is_quorum(&holders).then_some(head)
        };
        heads.into_iter().find_map(holds).unwrap_or_default()
    }

    /// The mandate of the leader, if that had applied more of the log when it was elected than
    /// this node has by now.
    fn ahead(&self) -> Option<&Mandate> {
        let mandate = self.office.mandate.as_ref().filter(|_| !self.is_leader());
        let is_ahead =
            |own: &&Mandate| own.candidacy.term == self.term() && own.candidacy.applied > self.applied_index();
        mandate.filter(is_ahead)
    }

    fn is_quorum(&self, holders: &BTreeSet<RaftId>) -> bool {
        let nodes: BTreeSet<NodeId> = holders.iter().map(|id| NodeId(id.get())).collect();
        let Office { electorate, .. } = &self.office;
        match self.ahead() {
            Some(mandate) => {
                let powerful =
                    electorate.is_quorum(&nodes) || electorate.is_quorum_ahead(&nodes, &mandate.validators_hash);
                powerful && mandate.candidacy.membership.has_majority(holders)
            }
            None => electorate.is_quorum(&nodes) && self.membership.has_majority(holders),
        }
    }

    /// The others that hold the leader's log up to an index, if they are a quorum without this
    /// node.
    pub fn held_by_others(&self, index: LogIndex) -> Option<BTreeSet<RaftId>> {
        if self.tally.term != self.term() {
            return None;
        }
        let heads = self.tally.heads.iter().filter(|(node, head)| **node != self.config.id && **head >= index);
        let holders: BTreeSet<RaftId> = heads.map(|(node, _)| *node).collect();
        self.is_quorum(&holders).then_some(holders)
    }

    /// The newest index that a quorum of the others says to hold in this term, whether or not
    /// this node has the same there; zero if there is none.
    pub(super) fn said_to_be_held(&self) -> LogIndex {
        if self.tally.term != self.term() {
            return LogIndex(0);
        }
        let mut said = self.tally.heads.clone();
        for (node, ahead) in &self.tally.ahead {
            let newest = ahead.last_key_value().map_or(LogIndex(0), |(index, _)| *index);
            said.entry(*node).and_modify(|head| *head = newest.max(*head)).or_insert(newest);
        }
        said.remove(&self.config.id);
        self.held_by_quorum(said.into_iter().map(|(node, head)| (head, node)).collect())
    }

    /// A peer holds the leader's log up to an index.
    ///
    /// # Errors
    /// If it has another entry there than this node.
    pub(super) fn take_ack(&mut self, from: RaftId, message: &mut Message) -> Result<(), Reject> {
        let told = std::mem::take(&mut message.context);
        let told = LogHash::try_from(told.as_slice()).map_err(|_| Reject::Field { name: "context" })?;
        let (term, index) = (self.term(), LogIndex(message.index));
        self.tally.enter(term);
        let same = self.compare(&LogPosition { index, term: Term(message.log_term), hash: told })?;
        if message.log_term == term.0 && self.counts(from) {
            match same {
                true => self.note_head(from, index),
                false => self.tally.keep(from, index, told),
            }
        }
        Ok(())
    }

    fn note_head(&mut self, peer: RaftId, index: LogIndex) {
        let head = self.tally.heads.entry(peer).or_default();
        *head = index.max(*head);
    }

    /// Compares what was acknowledged ahead of this node's log with that by now.
    fn compare_ahead(&mut self) {
        let last = LogIndex(self.raw.raft.raft_log.last_index());
        for (peer, mut acked) in std::mem::take(&mut self.tally.ahead) {
            let later = acked.split_off(&last.next());
            let same = acked.into_iter().rev().find(|(index, hash)| self.hash_at(*index) == Some(*hash));
            same.into_iter().for_each(|(index, _)| self.note_head(peer, index));
            if !later.is_empty() {
                self.tally.ahead.insert(peer, later);
            }
        }
    }

    /// Does something at which Raft would commit by a majority of voters, or by the leader's
    /// word (an answer to a read commits in the library, too), and lets it commit no more
    /// than was counted.
    pub(super) fn hold_commit<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.raw.raft.raft_log.committed;
        let done = act(self);
        let most = if self.is_leader() { self.counted().0.max(before) } else { before };
        let log = &mut self.raw.raft.raft_log;
        log.committed = log.committed.min(most);
        done
    }

    fn commit_to(&mut self, counted: LogIndex) {
        let log = &mut self.raw.raft.raft_log;
        if counted.0 > log.committed {
            log.commit_to(counted.0);
        }
    }

    /// How far a peer has acknowledged the log in this term, as this node heard it.
    pub fn head_of(&self, peer: RaftId) -> Option<LogPosition> {
        let index = *self.tally.heads.get(&peer).filter(|_| self.tally.term == self.term())?;
        Some(LogPosition { index, term: self.term_at(index), hash: self.hash_at(index)? })
    }

    /// Whether the newest that this node has heard of the leader is not counted yet.
    pub fn waits_for_quorum(&self) -> bool {
        let last = LogIndex(self.raw.raft.raft_log.last_index());
        self.commit_index() < last && self.term_at(last) == self.term()
    }

    /// What was counted may reach further now that there are other acknowledgements, or this
    /// node's log, or who counts, is another.
    pub(super) fn recount(&mut self) {
        let term = self.term();
        self.tally.enter(term);
        self.compare_ahead();
        let counted = self.counted();
        self.commit_to(counted);
        if self.is_leader() && self.own_head() > self.tally.told {
            self.tell_head();
        }
    }

    /// Tells all others how far this node's log goes: they may have started since, or not
    /// have heard it.
    pub fn tell_head(&mut self) {
        let head = self.own_head();
        if self.counts(self.config.id) && head > LogIndex(0) && self.term_at(head) == self.term() {
            self.tally.told = head;
            let told: Vec<Message> = self.others().map(|to| self.head_for(to, head)).collect();
            self.heads.extend(told);
        }
    }

    fn others(&self) -> impl Iterator<Item = RaftId> + '_ {
        let Self { membership, config, .. } = self;
        membership.members().filter(move |id| *id != config.id)
    }

    fn head_for(&self, to: RaftId, head: LogIndex) -> Message {
        Message {
            msg_type: MessageType::MsgAppendResponse as i32,
            from: self.config.id.get(),
            to: to.get(),
            term: self.term().0,
            index: head.0,
            log_term: self.term_at(head).0,
            context: self.hash_at(head).unwrap_or_default().as_bytes().to_vec(),
            ..Message::default()
        }
    }

    /// What a follower acknowledges to the leader it tells the others, too, when as much is
    /// durable as the answer waits for.
    pub(super) fn share_acks(&mut self, messages: &mut Vec<Message>) {
        let (term, log) = (self.term(), &self.raw.raft.raft_log);
        let mut newest: Option<(u64, LogIndex)> = None;
        for message in messages.iter_mut() {
            let ack = message.get_msg_type() == MessageType::MsgAppendResponse && !message.reject;
            if ack && message.term == term.0 && message.index > 0 {
                message.log_term = log.term(message.index).unwrap_or_default();
                newest = newest.max(Some((message.to, LogIndex(message.index))));
            }
        }
        let Some((leader, index)) = newest else { return };
        self.tally.enter(term);
        self.tally.matched = index.max(self.tally.matched);
        if self.counts(self.config.id) && self.term_at(index) == term {
            let others = self.others().filter(|id| id.get() != leader);
            messages.extend(others.map(|to| self.head_for(to, index)));
        }
    }
}
