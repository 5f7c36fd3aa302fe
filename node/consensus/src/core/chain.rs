//! The chain of hashes through the log: which entries those are that stand at an index.
//!
//! Raft takes two entries of one index and one term for the same. A leader that lies may have
//! two of them, so here every entry commits to the one before it: appends name the hash of the
//! entry that they go on from, and acknowledgements that of the entry which they name.
//!
//! What this node acknowledged in a term it never replaces in that term, whatever the leader
//! says: others may have counted it.

use raft::eraftpb::{Entry, Message, MessageType};

use super::Core;
use super::office::Office;
use crate::convert::{link_raft_entry, snapshot_from_raft};
use crate::entry::{entry_context, split_context};
use crate::ids::{LogHash, LogIndex, LogPosition, Term};
use crate::log::LogReader;
use crate::mandate::{TAIL_MAX, Tail};
use crate::reject::Reject;
use crate::seal::{Seal, SealedPosition};
use crate::snapshot::SnapshotMeta;

impl<R: LogReader> Core<R> {
    /// What the entry at an index commits to; `None` if it is not in the log, or not to be read.
    pub(super) fn hash_at(&self, index: LogIndex) -> Option<LogHash> {
        // What the library answers to a term that has passed names no entry.
        if index == LogIndex(0) {
            return Some(LogHash::NONE);
        }
        // A state that is not in place yet: its term is known already, so its hash must be, too.
        let installing = self.raw.raft.raft_log.unstable_snapshot().as_ref().map(snapshot_from_raft);
        if let Some(meta) = installing.filter(|meta| meta.index == index) {
            return Some(meta.hash);
        }
        let unstable = &self.raw.raft.raft_log.unstable;
        match index.0.checked_sub(unstable.offset) {
            Some(at) => {
                let entry = unstable.entries.get(usize::try_from(at).ok()?)?;
                split_context(&entry.context).map(|(hash, _)| hash)
            }
            None => self.view().hash(index),
        }
    }

    /// The entry at an index as its leader sealed it; `None` if it is not in the log, or not to
    /// be read, or not sealed.
    pub fn sealed_at(&self, index: LogIndex) -> Option<SealedPosition> {
        let unstable = &self.raw.raft.raft_log.unstable;
        let (hash, seal) = match index.0.checked_sub(unstable.offset) {
            Some(at) => split_context(&unstable.entries.get(usize::try_from(at).ok()?)?.context)?,
            None => self.view().sealed(index)?,
        };
        let position = LogPosition { index, term: self.term_at(index), hash };
        seal.map(|seal| SealedPosition { position, seal })
    }

    /// Puts beside the entries of an append what they have in this leader's log: the library may
    /// have put them into the message before they were sealed.
    pub(super) fn attach_seals(&self, entries: &mut [Entry]) {
        let unstable = &self.raw.raft.raft_log.unstable;
        for entry in entries.iter_mut().filter(|entry| entry.context.is_empty()) {
            let at = entry.index.checked_sub(unstable.offset).and_then(|at| usize::try_from(at).ok());
            if let Some(own) = at.and_then(|at| unstable.entries.get(at)) {
                entry.context.clone_from(&own.context);
            } else if let Some((hash, seal)) = self.view().sealed(LogIndex(entry.index)) {
                entry.context = entry_context(&hash, seal.as_ref());
            }
        }
    }

    /// Links and seals the entries that the library holds for itself and this node wrote: those
    /// of a leader have no hash yet. Nobody takes one that could not be sealed.
    pub(super) fn seal(&mut self) {
        let unstable = &self.raw.raft.raft_log.unstable;
        let unsealed = unstable.entries.iter().position(|entry| entry.context.is_empty());
        let Some(first) = unsealed else { return };
        let Some(mut before) = self.hash_at(LogIndex(unstable.offset + first as u64 - 1)) else { return };
        let (signer, me) = (&self.office.signer, self.config.id);
        for entry in &mut self.raw.raft.raft_log.unstable.entries[first..] {
            before = link_raft_entry(&before, entry);
            let position = LogPosition { index: LogIndex(entry.index), term: Term(entry.term), hash: before };
            entry.context = entry_context(&before, Seal::sign(signer, me, &position).as_ref());
        }
    }

    /// Whether the library may have what a leader sends. One of a term that has passed is
    /// answered without a look.
    ///
    /// # Errors
    /// As for the comparison with the log.
    pub(super) fn fits_log(&mut self, message: &mut Message) -> Result<bool, Reject> {
        if message.term == self.term().0 { self.link(message) } else { Ok(true) }
    }

    /// Compares what the leader of this term sends with this node's log, and makes room where
    /// it has another entry of an earlier term. Whether the library may have it.
    ///
    /// # Errors
    /// If the leader has two entries of its term for one index, or another one than was
    /// committed here.
    fn link(&mut self, message: &mut Message) -> Result<bool, Reject> {
        let told = std::mem::take(&mut message.context);
        let told = LogHash::try_from(told.as_slice()).map_err(|_| Reject::Field { name: "context" })?;
        let index = LogIndex(message.index);
        self.tally.enter(self.term());
        // The library answers by itself where it is, or that it has no such entry.
        if index < self.commit_index() || self.term_at(index).0 != message.log_term {
            return Ok(true);
        }
        if self.hash_at(index) != Some(told) {
            self.refuse_split(index, Term(message.log_term))?;
            self.heads.push(self.mismatch(message));
            return Ok(false);
        }
        let mut before = told;
        for entry in &mut message.entries {
            before = self.link_entry(&before, entry)?;
        }
        if let Some(at) = self.first_other(&message.entries) {
            let other = &message.entries[at];
            let (index, term) = (LogIndex(other.index), Term(other.term));
            self.refuse_split(index, term)?;
            // Where terms differ the library does so by itself.
            if self.term_at(index) == term {
                self.replace_tail(&message.entries[at..]);
            }
        }
        Ok(true)
    }

    /// The first entry in whose place this log has another one.
    fn first_other(&self, entries: &[Entry]) -> Option<usize> {
        let last = self.raw.raft.raft_log.last_index();
        let own = entries.iter().take_while(|entry| entry.index <= last);
        own.into_iter().position(|entry| {
            self.hash_at(LogIndex(entry.index)) != split_context(&entry.context).map(|(hash, _)| hash)
        })
    }

    /// Puts beside an entry what it commits to. One of the leader's own term must be sealed by
    /// it; who led another term is not known here.
    ///
    /// # Errors
    /// If it has not.
    fn link_entry(&self, before: &LogHash, entry: &mut Entry) -> Result<LogHash, Reject> {
        let hash = link_raft_entry(before, entry);
        let seal = split_context(&entry.context).and_then(|(_, seal)| seal);
        if entry.term == self.term().0 {
            let position = LogPosition { index: LogIndex(entry.index), term: self.term(), hash };
            let Office { signer, electorate, .. } = &self.office;
            let signed = Seal::signing_bytes(&signer.ledger_id, &position);
            let proven = self.office.proven().filter(|(term, _)| *term == self.term());
            let leader = proven.map(|(_, leader)| leader);
            let of_leader = |seal: &Seal| Some(seal.leader) == leader;
            let is_good = |seal: Seal| electorate.is_signed_by(seal.leader, &signed, &seal.signature);
            // Where the leader's key is not known, nothing could be proven either.
            let known = leader.is_some_and(|leader| electorate.has_seat(leader));
            if known && !seal.filter(of_leader).is_some_and(is_good) {
                return Err(Reject::Unsealed { index: position.index });
            }
        }
        entry.context = entry_context(&hash, seal.as_ref());
        Ok(hash)
    }

    /// The leader has another entry than stands here: whether this one must stay, since it was
    /// committed, or came from this leader. What that one replaces is of whatever term it says.
    fn refuse_split(&self, index: LogIndex, term: Term) -> Result<(), Reject> {
        if index <= self.commit_index() {
            return Err(Reject::Split { index, term });
        }
        if index <= self.reach() { Err(Reject::Split { index, term: self.term() }) } else { Ok(()) }
    }

    /// Whether this entry, which a peer has, is the one that stands here, if one does.
    ///
    /// # Errors
    /// If it is another one, of the same term.
    pub(super) fn compare(&self, told: &LogPosition) -> Result<bool, Reject> {
        let LogPosition { index, term, hash } = *told;
        let own = self.hash_at(index).filter(|_| self.term_at(index) == term);
        if own.is_some_and(|own| own != hash) { Err(Reject::Split { index, term }) } else { Ok(own.is_some()) }
    }

    /// What the last entries commit to, ending with the last one: those that this node does not
    /// know to be committed, as far as that is not too many, and the last one in any case.
    pub(super) fn tail(&self, last: LogIndex) -> Tail {
        let uncommitted = last.0.saturating_sub(self.commit_index().0).clamp(1, TAIL_MAX as u64);
        let first = last.0.saturating_sub(uncommitted - 1).max(1);
        Tail((first..=last.0).filter_map(|index| self.hash_at(LogIndex(index))).collect())
    }

    /// A candidate that has another entry than was committed here would take it back.
    ///
    /// # Errors
    /// If it is such a one.
    pub(super) fn check_candidate(&self, message: &Message, tail: &Tail) -> Result<(), Reject> {
        let (last, newest) = (LogIndex(message.index), LogIndex(self.raw.raft.raft_log.last_index()));
        if message.log_term < self.term_at(newest).0 {
            // The library refuses it, and answers.
            return Ok(());
        }
        let index = self.commit_index().min(last);
        // Of whatever term it says that it is: the hash commits to that, too.
        let both = tail.at(last, index).zip(self.hash_at(index));
        if both.is_some_and(|(told, own)| told != own) {
            return Err(Reject::Split { index, term: self.term_at(index) });
        }
        Ok(())
    }

    /// As the library does where terms differ.
    fn replace_tail(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        let log = &mut self.raw.raft.raft_log;
        log.append(entries);
        log.persisted = log.persisted.min(first - 1);
    }

    /// Where this log has another entry than the state that is about to replace it: the library
    /// would take it for the same one, of the same term, and keep the log.
    pub(super) fn drop_other_tail(&mut self, meta: &SnapshotMeta) {
        let other = self.raw.raft.raft_log.match_term(meta.index.0, meta.term.0)
            && self.hash_at(meta.index).is_some_and(|own| own != meta.hash);
        if other && meta.index > self.commit_index() {
            // Gone with the rest as soon as the library has the state.
            let (index, term) = (self.commit_index().0 + 1, meta.term.0 + 1);
            self.replace_tail(&[Entry { index, term, ..Entry::default() }]);
        }
    }

    /// The answer that this node has another entry there: the leader is to go on from what is
    /// committed.
    fn mismatch(&self, message: &Message) -> Message {
        let commit = self.commit_index();
        Message {
            msg_type: MessageType::MsgAppendResponse as i32,
            from: message.to,
            to: message.from,
            term: self.term().0,
            index: message.index,
            reject: true,
            reject_hint: commit.0,
            log_term: self.term_at(commit).0,
            commit: commit.0,
            ..Message::default()
        }
    }
}
