//! Transactions on their way into a block: of clients, of peers, and those that a leader
//! must not leave out.

use std::collections::BTreeSet;

use consilium_consensus::{LogReader, Role, Term};
use consilium_ledger::{CheckedTransaction, lookup};
use consilium_proto::header::Leaf;
use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::pb::{ForwardResult, Outcome};
use consilium_proto::transaction::Transaction;

use super::Replica;
use super::inputs::raft_id;
use crate::block::CheckedBlock;
use crate::fault::Fault;
use crate::io::{CallId, Output, RequestId};
use crate::notice::Notice;
use crate::order::mempool::Queued;
use crate::order::quota::Count;
use crate::order::share::Share;
use crate::ports::{Ledger, PortFault};
use crate::submission::{Located, Refused, Submission, Verdict, WaitFor};

impl<L: Ledger, R: LogReader> Replica<L, R> {
    /// A client's transaction. What is executed already is answered at once: the same transaction
    /// may come any number of times, each time with a signature of its author. Whoever has only
    /// the body is told nothing, since for the outcome a node may hand out what was asked for.
    pub(super) fn submit(&mut self, submission: Submission, waiter: (RequestId, WaitFor, u64)) -> Result<(), Fault> {
        let (request, wait_for, deadline_ms) = waiter;
        if !self.waiters.is_there(request) {
            return Ok(());
        }
        let result = match self.executed_already(&submission.transaction)? {
            Some(_) if submission.verdict == Verdict::BadSignature => Some(Err(Refused::BadSignature)),
            // It has enrolled in what the verifiers had not seen yet.
            Some(_) if submission.verdict == Verdict::UnknownAuthor => Some(Err(Refused::Overloaded)),
            Some(located) if wait_for == WaitFor::Ordered || located.height <= self.certifier.certified() => {
                Some(Ok(located))
            }
            Some(_) if self.waiters.is_full() => Some(Err(Refused::Overloaded)),
            Some(located) => {
                self.waiters.wait_certified(located, (request, deadline_ms));
                None
            }
            None => match submission.admit() {
                Ok(checked) => self.take_submitted(checked, waiter)?.map(Err),
                // The author may have enrolled in what this node has not executed yet.
                Err(Refused::UnknownAuthor) if !self.is_current() => Some(Err(Refused::Overloaded)),
                Err(why) => Some(Err(why)),
            },
        };
        self.out.extend(result.map(|result| Output::Answer { request, result }));
        Ok(())
    }

    /// Whether this node has executed all that it knows to be in the log.
    fn is_current(&self) -> bool {
        let counted = self.core.leader().is_some() && !self.core.waits_for_quorum();
        counted && self.executor.index() >= self.core.commit_index()
    }

    /// Lets a client wait for what is executed nowhere yet; or says why not. Who is turned away
    /// for want of room, or sends the same again, is not counted for it.
    fn take_submitted(
        &mut self,
        checked: CheckedTransaction,
        waiter: (RequestId, WaitFor, u64),
    ) -> Result<Option<Refused>, PortFault> {
        let (share, id) = (self.right_of(&checked.transaction)?, checked.transaction.id);
        if share.is_none() && self.waiters.is_full() {
            return Ok(Some(Refused::Overloaded));
        }
        let known = self.waiters.is_awaited(&id) || self.rights.is_watched(&id);
        if !known && let Err(wait_ms) = self.count(&checked.transaction)? {
            return Ok(Some(Refused::OverQuota { wait_ms }));
        }
        let is_new_right = self.watch(&checked)? == Some(true);
        self.rights.share(&id, self.now.monotonic_ms);
        match self.waiters.room(share, checked.transaction.size()) {
            Some(room) => {
                self.waiters.wait(checked, waiter, room).map_or(Ok(()), |new| self.order(new))?;
                Ok(None)
            }
            // No load at a node keeps out what a leader must not leave out: it is taken though
            // there is no room for its client, who finds it executed when it asks again.
            None => {
                is_new_right.then(|| self.order(checked)).transpose()?;
                Ok(Some(Refused::Overloaded))
            }
        }
    }

    /// Counts a transaction of its author, if it is a request to read or an emergency; an error
    /// is how long there is none left.
    fn count(&mut self, transaction: &Transaction) -> Result<Result<(), u64>, PortFault> {
        let Some(count) = Count::of(transaction) else { return Ok(Ok(())) };
        // Of nobody who stands, the rules will have nothing.
        let author = lookup::standing_author(self.executor.ledger(), &transaction.head.author)?;
        let now_ms = self.now.monotonic_ms;
        Ok(author.map_or(Ok(()), |author| self.quotas.take(&author, count, now_ms)))
    }

    fn executed_already(&self, transaction: &Transaction) -> Result<Option<Located>, PortFault> {
        let Some(location) = self.executor.ledger().location(&transaction.id)? else { return Ok(None) };
        let outcome = Outcome::try_from(location.outcome).map_err(|e| PortFault::corrupt("transaction", e))?;
        Ok(Some(Located { height: location.height, outcome }))
    }

    /// Whose room a transaction takes, if it is urgent and its author has a say in such matters.
    fn right_of(&self, transaction: &Transaction) -> Result<Option<Share>, PortFault> {
        let Some(urgency) = transaction.urgency() else { return Ok(None) };
        let author = lookup::standing_author(self.executor.ledger(), &transaction.head.author)?;
        Ok(author.and_then(|author| Share::of(urgency, &author)))
    }

    /// Has a transaction ordered that somebody waits for here, or that is under watch. Without
    /// a leader it stays with those, and goes out when there is one.
    pub(super) fn order(&mut self, checked: CheckedTransaction) -> Result<(), PortFault> {
        if self.core.role() != Role::Leader {
            self.forwarding.push(checked);
            return Ok(());
        }
        let right_of = self.right_of(&checked.transaction)?;
        if let Err(id) = self.proposing.push(Queued { checked, right_of }, self.now.monotonic_ms) {
            self.waiters.refuse(&id, Refused::Overloaded, &mut self.out);
        }
        Ok(())
    }

    pub(super) fn forwarded(
        &mut self,
        request: RequestId,
        submissions: Vec<Option<Submission>>,
    ) -> Result<(), PortFault> {
        let mut results = Vec::with_capacity(submissions.len());
        for submission in submissions {
            results.push(match submission.map(Submission::admit) {
                Some(Ok(checked)) => self.take_forwarded(checked)?,
                Some(Err(_)) | None if self.takes_proposals() => ForwardResult::Invalid,
                Some(Err(_)) | None => ForwardResult::NotLeader,
            });
        }
        self.answers.push(Output::ForwardedAnswer { request, results });
        Ok(())
    }

    fn takes_proposals(&self) -> bool {
        self.core.role() == Role::Leader && !self.stopping
    }

    fn take_forwarded(&mut self, checked: CheckedTransaction) -> Result<ForwardResult, PortFault> {
        let watched = self.watch(&checked)?;
        if self.takes_proposals() {
            if let Some(result) = self.needs_no_block(&checked.transaction)? {
                return Ok(result);
            }
            let right_of = self.right_of(&checked.transaction)?;
            let expected = self.proposing.expects(&checked.transaction, right_of.as_ref());
            if !expected && self.count(&checked.transaction)?.is_err() {
                return Ok(ForwardResult::OverQuota);
            }
            return Ok(match self.proposing.push(Queued { checked, right_of }, self.now.monotonic_ms) {
                Ok(()) => ForwardResult::Queued,
                Err(_) => ForwardResult::Overloaded,
            });
        }
        let Some(is_new) = watched else { return Ok(ForwardResult::NotLeader) };
        if is_new {
            self.order(checked)?;
        }
        Ok(ForwardResult::Watched)
    }

    /// What a peer is told of a transaction that would come to nothing in a block: blocks are
    /// not filled with what is executed already, or can never be.
    fn needs_no_block(&self, transaction: &Transaction) -> Result<Option<ForwardResult>, PortFault> {
        let until = transaction.head.valid_until;
        let latest = self.block_times().end().0.saturating_add(VALIDITY_AHEAD_MAX_MS);
        if until < self.executor.applied().time || until.0 > latest {
            return Ok(Some(ForwardResult::Invalid));
        }
        // Who handed it over finds it in a block that it has not executed yet.
        Ok(self.executed_already(transaction)?.map(|_| ForwardResult::Queued))
    }

    /// Puts a transaction under watch that a leader must not leave out; what is executed
    /// already needs none.
    fn watch(&mut self, checked: &CheckedTransaction) -> Result<Option<bool>, PortFault> {
        let Some(share) = self.right_of(&checked.transaction)? else { return Ok(None) };
        if self.executed_already(&checked.transaction)?.is_some() {
            return Ok(None);
        }
        Ok(self.rights.watch(&share, checked, self.now.monotonic_ms))
    }

    /// The leader, or a node that was handed what a leader must not leave out, has answered.
    pub(super) fn forward_answered(&mut self, call: CallId, results: &[ForwardResult]) {
        let now_ms = self.now.monotonic_ms;
        self.rights.answered(call, results, now_ms);
        let wait_ms = self.quotas.each_ms();
        for (id, over_quota) in self.forwarding.answered(call, results, now_ms) {
            let why = if over_quota { Refused::OverQuota { wait_ms } } else { Refused::Overloaded };
            match self.rights.get(&id) {
                Some(checked) => self.forwarding.later(checked, now_ms),
                None => self.waiters.refuse(&id, why, &mut self.out),
            }
        }
    }

    /// A leader that leaves out what it must not is not followed, by those who vote; and is
    /// given all of it again.
    pub(super) fn watch_rights(&mut self) -> Result<(), PortFault> {
        let (applied, now_ms) = (self.executor.index(), self.now.monotonic_ms);
        // Of a leader that is not heard nobody knows what it has put into blocks.
        self.rights.leadership_changed(self.core.heard_leader(), now_ms);
        let Some(late) = self.rights.late(applied, self.core.commit_index(), now_ms) else { return Ok(()) };
        let leader = self.core.leader().map(|leader| NodeId(leader.get())).filter(|leader| *leader != self.me);
        let votes = raft_id(self.me).is_some_and(|me| self.core.membership().is_voter(me));
        if let Some(leader) = leader.filter(|_| votes) {
            self.out.push(Output::Notice(Notice::RightLeftOut { leader, transaction: late }));
            self.oversight.refuse_leader(&mut self.core, now_ms, &mut self.out);
        }
        self.rights.unexecuted().into_iter().try_for_each(|checked| self.order(checked))
    }

    /// Whose rights have come into a block: what nobody signed is nobody's.
    pub(super) fn note_rights(&mut self, block: &CheckedBlock, leaves: &[(u64, Leaf)]) -> Result<(), PortFault> {
        if self.rights.is_empty() {
            return Ok(());
        }
        let signed: BTreeSet<_> = leaves.iter().map(|(_, leaf)| leaf.transaction_id).collect();
        let transactions = block.transactions.iter().map(|checked| &checked.transaction);
        for transaction in transactions.filter(|transaction| signed.contains(&transaction.id)) {
            if let Some(share) = self.right_of(transaction)? {
                self.rights.executed(&share);
            }
        }
        Ok(())
    }

    /// A block held transactions that their authors had not signed: the leader that made it
    /// lies, and what it was given in their place is ordered again.
    pub(super) fn not_signed(&mut self, ids: &[TransactionId], term: Term) -> Result<(), Fault> {
        if !ids.is_empty() && term == self.core.term() {
            self.oversight.refuse_leader(&mut self.core, self.now.monotonic_ms, &mut self.out);
        }
        for id in ids {
            if let Some(own) = self.waiters.get(id).or_else(|| self.rights.get(id)) {
                self.order(own)?;
            }
        }
        Ok(())
    }
}
