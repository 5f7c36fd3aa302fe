//! The Raft core: one node's part in ordering commands, driven from outside.
//!
//! [`Core`] owns the library's state and the little around it that makes it safe to use:
//! checked start, screened input, honest answers to proposals and reads, durability before
//! promises. It is a value without threads or locks; whoever owns it calls one method at a
//! time and then [`Core::take_output`] until that returns `None`.
//!
//! The steps of a driver's turn: inputs; `take_output`; send `messages`; have `persist` written
//! and `committed` applied; when that is done call `persisted` (then send `messages_after`) and
//! `applied`. Several writes may be under way at once.

mod chain;
mod counting;
mod drain;
mod elections;
mod followers;
mod members;
mod office;
mod progress;
mod propose;
mod reads;
mod snapshots;
mod start;
mod step;
mod tally;
mod voteless;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::eraftpb::Message;
use raft::{RawNode, StateRole};

use crate::config::Config;
use crate::ids::{LogIndex, LogPosition, RaftId, Term};
use crate::log::{LogError, LogReader};
use crate::log_view::LogView;
use crate::membership::Membership;
use crate::output::{IncomingSnapshot, LeaderChange, PersistSeq, ReadContext, ReadOutcome};
use crate::snapshot::SnapshotMeta;
use crate::status::{PeerProgress, PeerState, Role, Status};

use self::followers::Followers;
use self::office::Office;
use self::tally::Tally;
use self::voteless::Waiting;

pub use self::members::{MembershipError, MembershipOutcome};
pub use self::progress::{ApplyError, CompactError, PersistError};
pub use self::propose::{ProposeError, TransferError};
pub use self::reads::ReadError;
pub use self::snapshots::{InstallError, Installed, OfferError};
pub use self::start::StartError;
pub use self::step::StepError;

/// A write that was asked for and is not known to be durable.
struct PendingPersist {
    seq: PersistSeq,
    /// Replaces entries that an earlier write may still be putting down.
    overwrites: bool,
    /// Term and vote as of this write.
    vote: Vote,
    snapshot: Option<LogIndex>,
}

/// Term and vote: what a restart must not forget.
type Vote = (Term, Option<RaftId>);

/// The Raft core of one node.
pub struct Core<R: LogReader> {
    config: Config,
    raw: RawNode<LogView<R>>,
    membership: Membership,
    /// Peers that may speak although they are not in the configuration (yet).
    known: BTreeSet<RaftId>,
    pending: VecDeque<PendingPersist>,
    issued: PersistSeq,
    /// The library's number of the last round, with or without a write.
    ready_number: u64,
    acknowledged: PersistSeq,
    durable_vote: Vote,
    /// The last index given out for applying.
    handed_out: LogIndex,
    /// It is in force from here on.
    membership_since: LogIndex,
    /// Membership entries of the log that are not applied yet.
    changes: BTreeSet<LogIndex>,
    /// Ticks left for each read.
    reads: BTreeMap<ReadContext, u32>,
    read_outcomes: Vec<ReadOutcome>,
    leadership: LeaderChange,
    held: Option<IncomingSnapshot>,
    held_is_new: bool,
    /// The term of the message that brought it.
    held_term: Term,
    /// The leader whose messages are ignored in this term.
    distrusted: Option<(RaftId, Term)>,
    /// To whom no vote is granted.
    shunned: BTreeSet<RaftId>,
    /// Ticks since a follower's snapshot transfer began.
    snapshot_ages: BTreeMap<RaftId, u32>,
    office: Office,
    tally: Tally,
    /// Acknowledgements that wait for the next output.
    heads: Vec<Message>,
    followers: Followers,
    waiting: Waiting,
    /// Whether this node may stand for election.
    may_lead: bool,
    /// Whether it knows what it granted before.
    may_grant: bool,
    /// What it has acknowledged and does not hold any more.
    owed: Option<LogPosition>,
    ticks: u64,
}

impl<R: LogReader> Core<R> {
    /// One tick of the driver's clock. After a stall call it once or twice, not once for every
    /// tick missed, or a slow node starts elections for having been slow.
    pub fn tick(&mut self) {
        self.ticks += 1;
        let offered = self.transferring_to();
        if self.election_must_wait() {
            self.wait_for_leader();
        } else {
            self.raw.tick();
        }
        // The library gives up without a word after an election timeout.
        if let Some(peer) = offered.filter(|_| self.is_leader() && self.transferring_to().is_none()) {
            self.followers.declined(peer, self.term(), self.ticks);
        }
        self.age_reads();
        self.age_snapshots();
        self.follow_overtaking();
    }

    /// Time passes without this node standing for election. It may still grant: a leader that
    /// it has not heard of for an election timeout does not keep it from that.
    fn wait_for_leader(&mut self) {
        let raft = &mut self.raw.raft;
        raft.election_elapsed = (raft.election_elapsed + 1).min(raft.election_timeout());
    }

    /// Whether standing for election now would break an assumption of the library: that the
    /// log of a new leader is durable, and that a snapshot counts as applied; or whether this
    /// node is not to lead.
    fn election_must_wait(&self) -> bool {
        self.role() != Role::Leader
            && (!self.stands() || self.installing_snapshot() || (self.is_sole_voter() && !self.log_durable()))
    }

    /// Whoever votes alone wins at once, without having to ask anybody.
    fn is_sole_voter(&self) -> bool {
        let Membership { voters, voters_outgoing, .. } = &self.membership;
        self.membership.is_voter(self.config.id) && voters.len() == 1 && voters_outgoing.len() <= 1
    }

    fn installing_snapshot(&self) -> bool {
        self.pending.iter().any(|persist| persist.snapshot.is_some())
    }

    fn log_durable(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        !self.installing_snapshot() && log.last_index() == log.persisted
    }

    /// The role of this node in the current term.
    pub fn role(&self) -> Role {
        Role::from_raft(self.raw.raft.state)
    }

    /// The current term.
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    /// The leader of the current term, if one is known.
    pub fn leader(&self) -> Option<RaftId> {
        RaftId::new(self.raw.raft.leader_id)
    }

    fn transferring_to(&self) -> Option<RaftId> {
        self.raw.raft.lead_transferee.and_then(RaftId::new)
    }

    /// Whether a membership change may be under way: proposed and not applied, or joint.
    fn change_pending(&self) -> bool {
        self.raw.raft.has_pending_conf() || self.membership.is_joint()
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn current_leadership(&self) -> LeaderChange {
        LeaderChange { leader: self.leader(), term: self.term(), role: self.role() }
    }

    /// The membership in force here.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Highest index known to be committed.
    pub fn commit_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Up to where the membership in force is that of the log.
    fn applied_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.applied).max(self.membership_since)
    }

    fn commit(&self) -> LogPosition {
        let log = &self.raw.raft.raft_log;
        // The library keeps the term of every index from the truncated one to the last, and
        // the commit lies between; an error here would be its own fatal case.
        let term = log.term(log.committed).unwrap_or_default();
        let index = LogIndex(log.committed);
        LogPosition { index, term: Term(term), hash: self.hash_at(index).unwrap_or_default() }
    }

    fn view(&self) -> &LogView<R> {
        self.raw.store()
    }

    /// The peers that may speak besides the members of the configuration: nodes known to the
    /// ledger that are about to join. Replaces the former set.
    pub fn set_known_peers(&mut self, peers: impl IntoIterator<Item = RaftId>) {
        self.known = peers.into_iter().collect();
    }

    /// Whether this node may stand for election, or take leadership when it is handed over. A
    /// leader that may not lead is to hand over: nothing here makes it.
    pub fn set_may_lead(&mut self, may_lead: bool) {
        self.may_lead = may_lead;
    }

    /// Whether this node may vote for candidates, itself among them: not before it knows that
    /// its disk has forgotten nothing.
    pub fn set_may_grant(&mut self, may_grant: bool) {
        self.may_grant = may_grant;
    }

    /// Others hold that this node has acknowledged its log up to a position. Until it reaches
    /// as far again, it grants nothing.
    pub fn owe(&mut self, position: LogPosition) {
        self.owed = Some(position);
    }

    /// Whether it grants: what it may have promised before is known, and is in its log.
    pub fn grants(&self) -> bool {
        let (index, term) = (self.own_last(), self.term_at(self.own_last()));
        let reaches = |owed: LogPosition| (term, index) >= (owed.term, owed.index);
        self.may_grant && self.owed.is_none_or(reaches)
    }

    fn own_last(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    fn stands(&self) -> bool {
        self.may_lead && self.grants()
    }

    /// Ignores the present leader for the rest of this term, so that an election follows: for a
    /// follower that sees no certificates, or bad blocks. Once a quorum does so the leader is
    /// replaced. Returns the leader, or `None` if there is none or it is this node (which
    /// should transfer leadership instead).
    pub fn distrust_leader(&mut self) -> Option<RaftId> {
        let leader = self.leader().filter(|leader| *leader != self.config.id)?;
        self.distrusted = Some((leader, self.term()));
        Some(leader)
    }

    /// To whom this node grants no vote, whatever it was before. A node that has led, and was
    /// distrusted, may be elected by others all the same: then it is heard. For how long is
    /// the driver's to bound: the others may not be able to win.
    pub fn set_shunned(&mut self, shunned: BTreeSet<RaftId>) {
        self.shunned = shunned;
    }

    /// The leader, unless this node does not listen to it.
    #[must_use]
    pub fn heard_leader(&self) -> Option<RaftId> {
        let distrusted = self.distrusted.filter(|(_, term)| *term == self.term());
        self.leader().filter(|leader| distrusted.is_none_or(|(other, _)| other != *leader))
    }

    /// Listens to the leader again: the certificates that were missing have come.
    pub fn trust_leader(&mut self) {
        self.distrusted = None;
    }

    /// Tells Raft that messages to `peer` are not arriving, so that a leader probes again.
    pub fn report_unreachable(&mut self, peer: RaftId) {
        self.raw.report_unreachable(peer.get());
    }

    /// The first failure to read the log, after which this instance must be dropped.
    pub fn fault(&self) -> Option<LogError> {
        self.view().fault()
    }

    /// The driver's log reader.
    pub fn log_reader(&self) -> &R {
        self.view().reader()
    }

    /// A picture of the present state.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let mut peers = BTreeMap::new();
        if self.is_leader() {
            for (id, progress) in raft.prs().iter() {
                let peer = RaftId::new(*id).filter(|id| *id != self.config.id);
                peers.extend(peer.map(|id| (id, self.peer_progress(id, progress))));
            }
        }
        Status {
            id: self.config.id,
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
            commit: LogIndex(raft.raft_log.committed),
            applied: LogIndex(raft.raft_log.applied),
            persisted: LogIndex(raft.raft_log.persisted),
            truncated: self.view().truncated().index,
            last_index: LogIndex(raft.raft_log.last_index()),
            membership: self.membership.clone(),
            peers,
            change_pending: self.change_pending(),
            transferring_to: self.transferring_to(),
        }
    }

    fn peer_progress(&self, id: RaftId, progress: &raft::Progress) -> PeerProgress {
        PeerProgress {
            matched: LogIndex(progress.matched),
            state: match progress.state {
                raft::ProgressState::Probe => PeerState::Probe,
                raft::ProgressState::Replicate => PeerState::Replicate,
                raft::ProgressState::Snapshot => PeerState::Snapshot,
            },
            recently_active: self.recently_active(id),
            ticks_since_heard: self.followers.ticks_since_heard(id, self.term(), self.ticks),
            ticks_since_declined: self.followers.ticks_since_declined(id, self.term(), self.ticks),
        }
    }

    /// Whether `id` answered this leader within the shortest election timeout.
    fn recently_active(&self, id: RaftId) -> bool {
        let silence = self.followers.ticks_since_heard(id, self.term(), self.ticks);
        silence.is_some_and(|ticks| ticks <= u64::from(self.config.election_ticks.min))
    }

    /// The state on offer to followers, if any.
    pub fn offered_snapshot(&self) -> Option<&SnapshotMeta> {
        self.view().offered()
    }
}
