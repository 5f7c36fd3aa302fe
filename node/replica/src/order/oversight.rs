//! What every node looks at from time to time: whether the chain is being
//! certified, and whether the log is long enough to be cut.

use std::collections::BTreeSet;

use consilium_consensus::{Core, LogIndex, LogPosition, LogReader, Membership, RaftId, Role, Term};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::validators::{Validator, ValidatorSet};

use super::distrust::Distrusts;
use super::leading::hand_over;
use crate::alarm::{Alarm, AlarmName};
use crate::disk::LogWrite;
use crate::io::Output;
use crate::notice::Notice;
use crate::ports::{Ledger, PortFault};

/// Time that elected nodes may be without a vote in Raft: they catch up, and change places
/// one at a time.
const VOTELESS_MS: u64 = 60_000;

/// Time in which something that was proposed must be acknowledged by enough: elections take
/// about a second.
const QUORUMLESS_MS: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Oversight {
    certificate_timeout_ms: u64,
    log_entries_max: u64,
    log_entries_kept: u64,
    /// The last leader that was known.
    leader: Option<RaftId>,
    /// The certified height, and since when it has not moved.
    stalled_since: Option<(Height, u64)>,
    distrusting: bool,
    distrusts: Distrusts,
    /// The leader of a term proposed what was refused: it is not trusted again before.
    refused: Option<(Term, u64)>,
    /// Elected nodes that have no vote in Raft, since this moment.
    voteless_since: Option<u64>,
    /// Nothing above this index is counted though it should be, since this moment.
    uncounted_since: Option<(LogIndex, u64)>,
    /// Since when the leader is followed, or was changed for it: nothing could be counted before.
    changed_ms: u64,
    /// Since when this node has heard the present leader without a break.
    followed_since: Option<u64>,
    /// The term of the last membership entry that was refused.
    refused_membership: Option<Term>,
    compacting: bool,
}

impl Oversight {
    pub(crate) fn new(certificate_timeout_ms: u64, (log_entries_max, log_entries_kept): (u64, u64)) -> Self {
        Self {
            certificate_timeout_ms,
            log_entries_max,
            log_entries_kept,
            leader: None,
            stalled_since: None,
            distrusting: false,
            distrusts: Distrusts::new(certificate_timeout_ms),
            refused: None,
            voteless_since: None,
            uncounted_since: None,
            changed_ms: 0,
            followed_since: None,
            refused_membership: None,
            compacting: false,
        }
    }

    /// Another leader gets the time that the last one had; the same one, elected again,
    /// does not.
    pub(crate) fn leadership_changed(&mut self, leader: Option<RaftId>, now_ms: u64) {
        self.followed_since = leader.map(|_| now_ms);
        if leader.is_some() && leader != self.leader {
            self.leader = leader;
            self.stalled_since = None;
            self.changed_ms = now_ms;
        }
    }

    /// This node did not run for a while: what comes now may have waited for it.
    pub(crate) fn slept(&mut self, now_ms: u64) {
        self.followed_since = self.followed_since.map(|_| now_ms);
    }

    /// Milliseconds for which this node has heard the present leader without a break: what an
    /// honest one proposed before, and nobody else has, does not come only now.
    pub(crate) fn followed_ms(&self, now_ms: u64) -> u64 {
        self.followed_since.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }

    /// A membership was committed that the ledger does not ask for. Once may be the honest
    /// mistake of a leader that had not executed what came in between.
    pub(crate) fn refuse_membership<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        proposed: Term,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        let before = self.refused_membership.replace(proposed);
        if before == Some(proposed) && proposed == core.term() {
            self.refuse_leader(core, now_ms, out);
        }
    }

    /// The leader proposed what this node does not acknowledge. If others see it as
    /// this node does, they elect another one.
    pub(crate) fn refuse_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        if let Some(until_ms) = self.distrust_leader(core, now_ms, out) {
            self.refused = Some((core.term(), until_ms));
        }
    }

    /// Gives until when no vote is granted to the leader that is not followed any more.
    fn distrust_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) -> Option<u64> {
        let leader = core.distrust_leader()?;
        if !std::mem::replace(&mut self.distrusting, true) {
            out.push(Output::Notice(Notice::LeaderDistrusted(leader)));
        }
        let until_ms = self.distrusts.note(leader, now_ms);
        core.set_shunned(self.distrusts.shunned(now_ms));
        Some(until_ms)
    }

    /// Who leads, and is granted to: where nobody has led for long, everybody is.
    pub(crate) fn watch_leader<R: LogReader>(&mut self, core: &mut Core<R>, certified: Height, now_ms: u64) {
        self.distrusts.look(core.leader(), certified, now_ms);
        core.set_shunned(self.distrusts.shunned(now_ms));
    }

    /// A chain that is executed and not certified is the leader's to answer for: it
    /// hands over, or the others stop listening to it.
    pub(crate) fn watch_certificates<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        (applied, certified): (Height, Height),
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        if certified >= applied {
            self.stalled_since = None;
            self.trust_leader(core, now_ms, out);
            return out.push(Output::Clear(AlarmName::CertificatesStalled));
        }
        match self.stalled_since {
            Some((height, _)) if height != certified => {
                self.trust_leader(core, now_ms, out);
                self.stalled_since = Some((certified, now_ms));
            }
            None => self.stalled_since = Some((certified, now_ms)),
            Some((_, since)) if now_ms.saturating_sub(since) > self.certificate_timeout_ms => {
                self.stalled_since = Some((certified, now_ms));
                out.push(Output::Raise(Alarm::CertificatesStalled { applied, certified }));
                self.change_leader(core, now_ms, out);
            }
            Some(_) => {}
        }
    }

    /// Raft follows the election within seconds, unless nodes are away, or somebody keeps
    /// it from doing so.
    pub(crate) fn watch_voters(
        &mut self,
        elected: Option<&BTreeSet<RaftId>>,
        membership: &Membership,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        let voteless: Vec<NodeId> =
            elected.into_iter().flatten().filter(|id| !membership.is_voter(**id)).map(|id| NodeId(id.get())).collect();
        if voteless.is_empty() {
            self.voteless_since = None;
            return out.push(Output::Clear(AlarmName::SeatsWithoutVote));
        }
        if now_ms.saturating_sub(*self.voteless_since.get_or_insert(now_ms)) > VOTELESS_MS {
            out.push(Output::Raise(Alarm::SeatsWithoutVote(voteless)));
        }
    }

    /// What is proposed is acknowledged by enough within moments, or another leader is to
    /// try; if none can, who is missing is what an operator must know.
    pub(crate) fn watch_quorum<'a, R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        validators: &ValidatorSet,
        unheard: impl Iterator<Item = &'a Validator>,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        let (leads, waits) = (core.leader().is_some(), core.waits_for_quorum());
        let commit = core.commit_index();
        if leads && !waits {
            self.uncounted_since = None;
            return out.push(Output::Clear(AlarmName::NoQuorum));
        }
        let since = match self.uncounted_since {
            Some((index, since)) if index == commit => since,
            Some(_) | None => now_ms,
        };
        self.uncounted_since = Some((commit, since));
        let overdue = now_ms.saturating_sub(since.max(self.changed_ms)) > self.certificate_timeout_ms;
        if leads && waits && overdue {
            self.changed_ms = now_ms;
            match core.role() {
                Role::Leader => hand_over(core, None, out),
                Role::Follower | Role::Candidate | Role::PreCandidate => self.refuse_leader(core, now_ms, out),
            }
        }
        if now_ms.saturating_sub(since) > QUORUMLESS_MS {
            let (mut nodes, mut power) = (Vec::new(), 0);
            for seat in unheard {
                nodes.push(seat.id);
                power += u128::from(seat.power.0);
            }
            let percent = power * 100 / validators.total_power();
            out.push(Output::Raise(Alarm::NoQuorum { unheard: nodes, percent }));
        }
    }

    fn trust_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        let refused = self.refused.is_some_and(|(term, until_ms)| term == core.term() && now_ms < until_ms);
        if refused && !self.distrusts.is_leaderless(now_ms) {
            return;
        }
        core.trust_leader();
        if std::mem::take(&mut self.distrusting) {
            self.changed_ms = now_ms;
            self.slept(now_ms);
            out.push(Output::Notice(Notice::LeaderTrusted));
        }
    }

    /// A leader hands over; the others stop listening to it, and listen again after
    /// as long a time: where only this node lacks certificates, the leader is the
    /// one to get them from, and its term may never end.
    fn change_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        if core.role() == Role::Leader {
            hand_over(core, None, out);
        } else if self.distrusting {
            self.trust_leader(core, now_ms, out);
        } else {
            self.distrust_leader(core, now_ms, out);
        }
    }

    /// Cuts a long log: never above the newest certified block, which is what a
    /// snapshot can be offered of. Raft hears of it before the disk does: it must not
    /// look for an entry there that is gone.
    pub(crate) fn compact<L: Ledger, R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        ledger: &L,
        certified: Height,
        out: &mut Vec<Output>,
    ) -> Result<(), PortFault> {
        // What was executed from blocks of a peer is not in the log.
        let raft = core.status();
        let held = raft.applied.0.saturating_sub(raft.truncated.0);
        if self.compacting || held <= self.log_entries_max {
            return Ok(());
        }
        let height = Height(certified.0.saturating_sub(self.log_entries_kept));
        let held = |position: &LogPosition| position.index > raft.truncated && position.index <= raft.applied;
        let Some(position) = ledger.position(height)?.filter(held) else { return Ok(()) };
        match core.compact_to(position.index) {
            Ok(_) => {
                self.compacting = true;
                out.push(Output::WriteLog(LogWrite::Compact(position)));
            }
            Err(error) => out.push(Output::Notice(Notice::CompactionNotTaken(error.to_string()))),
        }
        Ok(())
    }

    /// The log was cut.
    pub(crate) fn compacted(&mut self) {
        self.compacting = false;
    }
}
