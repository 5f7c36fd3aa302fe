//! One running node: the real Raft core, the real voting and the real rules, and
//! between them the wiring of the daemon (`node/src/runtime`), thread for thread:
//! driver (here), writer, applier, certifier, catching up. A thread of the daemon
//! that waits for a disk is a timer here.

pub mod apply;
pub mod catch_up;
pub mod certify;
pub mod chain;
pub mod lead;
pub mod oversight;
pub mod repair;
pub mod start;
pub mod topology;
pub mod waiters;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consilium_consensus::voting::Voting;
use consilium_consensus::{
    Core, EntryKind, LogEntry, LogIndex, Membership, MembershipOutcome, Output, RaftId, Role, StepError,
};
use consilium_ledger::{CheckedTransaction, Tip, unseen_nodes};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use consilium_proto::vote::Vote;

use self::apply::{Applier, ApplierJob};
use self::catch_up::CatchUp;
use self::certify::{Certifier, CertifierInput};
use self::lead::Leading;
use self::start::TICK_MS;
use self::topology::Topology;
use self::waiters::Waiters;
use self::write::Writer;
use crate::bugs::Bug;
use crate::byzantine::raft_wire::claimed_sender;
use crate::disk::LogHandle;
use crate::env::{CrashPoint, Env, Halt};
use crate::event::{Packet, Timer};
use crate::machine::Host;

/// A running node.
pub struct Node {
    /// Raft.
    pub core: Core<LogHandle>,
    pub(crate) voting: Voting,
    pub(crate) topology: Topology,
    pub(crate) writer: Writer,
    pub(crate) applier: Applier,
    pub(crate) certifier: Certifier,
    pub(crate) leading: Leading,
    pub(crate) waiters: Waiters,
    pub(crate) catch_up: CatchUp,
    /// The newest vote of each node, as it came.
    pub(crate) votes: BTreeMap<NodeId, Vote>,
    /// Nodes that the ledger has not seen in the current window.
    pub(crate) unseen: BTreeSet<NodeId>,
    /// Membership entries whose change a bug holds back.
    held_changes: Vec<LogEntry>,
    pub(crate) ticks: u64,
}

impl Node {
    /// Starts the threads.
    ///
    /// # Errors
    /// What is wrong with the disk.
    pub fn new(
        host: &mut Host,
        env: &mut Env,
        core: Core<LogHandle>,
        voting: Voting,
        (applied, tip): (LogIndex, Tip),
    ) -> Result<Self, Halt> {
        let ledger = &host.disk.ledger;
        let unseen = unseen_nodes(ledger).map_err(|e| Halt::Fault(e.to_string()))?;
        let mut node = Self {
            core,
            voting,
            topology: Topology::with_invitation(ledger, &host.invitation),
            writer: Writer::default(),
            applier: Applier::new(applied, tip),
            certifier: Certifier::default(),
            leading: Leading::default(),
            waiters: Waiters::default(),
            catch_up: CatchUp::default(),
            votes: start::no_votes(),
            unseen,
            held_changes: Vec::new(),
            ticks: 0,
        };
        node.core.set_known_peers(node.topology.speakers());
        for (header, next_set) in start::uncertified(&host.disk) {
            node.certifier.inputs.push_back(CertifierInput::Executed { header, votable: true, next_set });
        }
        if host.honest() {
            // What is on disk as certified now is what counts.
            env.oracle.boundary(host.node, None);
        }
        let first = env.rng.below(TICK_MS);
        host.timer(env, first, Timer::Tick);
        node.work(host, env)?;
        Ok(node)
    }

    /// Whether a node may speak here: one of the ledger; one that still has a seat
    /// at the next height to be certified, or a vote in Raft, although a block
    /// that is not certified has retired it.
    fn admits(&self, node: NodeId) -> bool {
        let seated = || self.voting.schedule().set_at(self.certified().next()).is_some_and(|s| s.seat(node).is_some());
        let in_raft = || RaftId::new(node.0).is_some_and(|id| self.core.status().membership.contains(id));
        self.topology.knows(node) || seated() || in_raft()
    }

    /// Those to whom votes and certificates go.
    pub(crate) fn peers(&self, me: NodeId) -> BTreeSet<NodeId> {
        let mut peers = self.topology.peers(me);
        let set = self.voting.schedule().set_at(self.certified().next());
        peers.extend(set.into_iter().flat_map(|set| set.seats()).map(|seat| seat.id));
        let membership = self.core.status().membership;
        let raft = membership.voters.iter().chain(&membership.learners).chain(&membership.voters_outgoing);
        peers.extend(raft.map(|id| NodeId(id.get())));
        peers.remove(&me);
        peers
    }

    /// The height that is applied.
    #[must_use]
    pub fn height(&self) -> Height {
        self.applier.tip.header.height
    }

    /// The height that is certified.
    #[must_use]
    pub fn certified(&self) -> Height {
        self.voting.certified()
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.core.role() == Role::Leader
    }

    /// Whether its writer, applier and certifier have nothing to do.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.certifier.inputs.is_empty() && self.applier.queue.is_empty()
    }

    /// A packet arrives over the connection of `from`.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn packet(&mut self, host: &mut Host, env: &mut Env, from: NodeId, packet: Packet) -> Result<(), Halt> {
        let stranger = !self.admits(from);
        if stranger && !(env.has(Bug::StrangerMessage) && matches!(packet, Packet::Raft(_))) {
            // Refused at the handshake.
            return Ok(());
        }
        match packet {
            Packet::Raft(bytes) => self.step(host, env, from, bytes),
            Packet::Vote(vote) => {
                let newest = self.votes.get(&vote.validator).is_none_or(|before| before.height < vote.height);
                if newest && vote.validator == from {
                    self.votes.insert(from, vote.clone());
                }
                self.certifier.inputs.push_back(CertifierInput::Vote { from, vote });
            }
            Packet::Certificate(certified) => {
                self.certifier.inputs.push_back(CertifierInput::Certificate(certified));
            }
            Packet::AskCertificate(height) => {
                self.certifier.inputs.push_back(CertifierInput::UncertifiedFrom { peer: from, height });
            }
            Packet::Forward(transaction) => self.forwarded(host, env, &transaction),
            Packet::FetchBlocks { from: height, request } => {
                let id = env.fixture.genesis.ledger_id;
                let blocks = chain::serve(&host.disk.ledger, id, height, 64);
                env.stats.count("block fetches served");
                host.send(env, from, Packet::Blocks { blocks, request });
            }
            Packet::Blocks { blocks, request } => self.blocks_arrived(host, env, blocks, request),
            Packet::AskOwnVote => {
                let vote = self.votes.get(&from).cloned();
                host.send(env, from, Packet::OwnVote(Box::new(vote)));
            }
            Packet::OwnVote(_) => {}
        }
        self.work(host, env)
    }

    fn step(&mut self, host: &Host, env: &mut Env, proven: NodeId, bytes: Bytes) {
        // Where nobody lies there is nothing to compare.
        let claimed = if env.traitors.is_empty() { Some(proven) } else { claimed_sender(&bytes) };
        let from = if env.has(Bug::StrangerMessage) { claimed.unwrap_or(proven) } else { proven };
        let Some(peer) = RaftId::new(from.0) else { return };
        match self.core.step(peer, bytes) {
            Ok(()) if host.honest() => env.oracle.stepped(proven, claimed),
            Ok(()) => {}
            Err(StepError::Rejected { .. }) => env.stats.count("raft messages refused"),
            Err(_) => env.stats.count("raft messages ignored"),
        }
    }

    fn forwarded(&mut self, host: &mut Host, env: &mut Env, transaction: &pb::SignedTransaction) {
        let Ok(transaction) = Transaction::parse(transaction, env.fixture.genesis.ledger_id) else { return };
        if self.leads() {
            let mut checked = CheckedTransaction { transaction, verified_under: None };
            env.verify(&host.disk.ledger, &mut checked);
            if checked.verified_under.is_some() || checked.transaction.enrollment().is_some() {
                self.leading.push(checked);
            }
        }
    }

    /// A timer of this node.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn timer(&mut self, host: &mut Host, env: &mut Env, timer: Timer) -> Result<(), Halt> {
        match timer {
            Timer::Tick => self.tick(host, env),
            Timer::Writer => self.written(host, env)?,
            Timer::Applier => self.apply_next(host, env)?,
            Timer::Certifier => self.certifier_written(host, env)?,
            Timer::Fetch(request) => self.fetch_timed_out(request),
            Timer::OwnVotes | Timer::Repair => {}
        }
        self.work(host, env)
    }

    fn tick(&mut self, host: &mut Host, env: &mut Env) {
        host.timer(env, TICK_MS, Timer::Tick);
        self.ticks += 1;
        self.core.tick();
        self.lead(host, env);
        if self.ticks.is_multiple_of(10) {
            self.watch_certificates(host, env);
            self.compact(host, env);
        }
        self.certifier.tick_due = true;
    }

    /// Does all that can be done now.
    ///
    /// # Errors
    /// Why the node goes down.
    pub(crate) fn work(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        loop {
            self.propose(host, env)?;
            let mut busy = self.certify(host, env)?;
            while let Some(output) = self.core.take_output().map_err(|e| Halt::Fault(e.to_string()))? {
                busy = true;
                self.dispatch(host, env, output)?;
            }
            self.start_writing(host, env)?;
            self.start_applying(host, env);
            if !busy {
                break;
            }
        }
        if host.honest() {
            env.oracle.status(&self.core.status());
        }
        Ok(())
    }

    fn dispatch(&mut self, host: &mut Host, env: &mut Env, output: Output) -> Result<(), Halt> {
        let Output { messages, persist, committed, reads: _, leadership, snapshot_wanted, snapshot_offered } = output;
        for message in messages {
            host.send(env, NodeId(message.to.get()), Packet::Raft(message.bytes));
        }
        if let Some(round) = persist {
            self.writer.push(round);
        }
        if !committed.is_empty() {
            if host.honest() {
                committed.iter().for_each(|entry| env.oracle.committed(host.node, entry));
            }
            let memberships = self.apply_memberships(host, env, &committed)?;
            self.applier.queue.push_back(ApplierJob::Committed(committed, memberships));
        }
        if leadership.is_some() {
            self.leadership_changed(host, env);
        }
        if !snapshot_wanted.is_empty() {
            self.offer_snapshot(host, env);
        }
        if let Some(offer) = snapshot_offered {
            self.catch_up(host, env, offer);
        }
        Ok(())
    }

    /// Puts membership entries into force; returns what they led to, for the
    /// applier to store with the next block.
    fn apply_memberships(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        committed: &[LogEntry],
    ) -> Result<Vec<(LogIndex, Membership)>, Halt> {
        let mut memberships = Vec::new();
        for entry in committed.iter().filter(|e| matches!(e.kind, EntryKind::ConfChange(_))) {
            if env.has(Bug::LateConfChange) {
                self.held_changes.push(entry.clone());
            } else {
                memberships.extend(self.apply_membership(host, env, entry)?.map(|m| (entry.index, m)));
            }
        }
        Ok(memberships)
    }

    /// What a bug held back comes into force.
    pub(crate) fn apply_held_changes(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        for entry in std::mem::take(&mut self.held_changes) {
            self.apply_membership(host, env, &entry)?;
        }
        Ok(())
    }

    fn apply_membership(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        entry: &LogEntry,
    ) -> Result<Option<Membership>, Halt> {
        match self.core.apply_membership(entry) {
            Ok(MembershipOutcome::Applied(membership)) => {
                env.note(format_args!("{} membership {:?}", host.machine, ids(&membership)));
                env.stats.count("membership changes applied");
                if host.honest() {
                    env.oracle.membership(host.node, entry.index, &membership);
                }
                if env.has(Bug::MembershipApart) {
                    let mut log = host.disk.log.borrow_mut();
                    log.write_membership(&membership);
                    log.sync();
                }
                host.pass(CrashPoint::AfterMembership)?;
                Ok(Some(membership))
            }
            Ok(MembershipOutcome::Refused { reason }) => {
                env.note(format_args!("{} membership refused: {reason}", host.machine));
                env.stats.count("membership changes refused");
                if host.honest() {
                    env.oracle.membership_refused(&reason);
                }
                Ok(None)
            }
            Err(error) => Err(Halt::Fault(format!("membership out of order: {error}"))),
        }
    }

    fn leadership_changed(&mut self, host: &mut Host, env: &mut Env) {
        let status = self.core.status();
        env.note(format_args!("{} {:?} of {:?} in term {}", host.machine, status.role, status.leader, status.term));
        if status.role == Role::Leader {
            env.stats.count("elections won");
            if host.honest() {
                env.oracle.leads(status.term, host.node);
            }
        } else {
            self.leading.clear();
        }
        self.leading.changed(self.height());
        if let Some(leader) = status.leader {
            for transaction in self.waiters.unanswered() {
                self.submit(host, env, transaction, leader);
            }
        }
    }

    fn submit(&mut self, host: &mut Host, env: &mut Env, checked: CheckedTransaction, leader: RaftId) {
        if self.leads() {
            self.leading.push(checked);
        } else {
            let wire = Box::new(checked.transaction.to_wire());
            host.send(env, NodeId(leader.get()), Packet::Forward(wire));
        }
    }

    /// A client submits a transaction here.
    ///
    /// # Errors
    /// Why the node goes down.
    pub fn client(&mut self, host: &mut Host, env: &mut Env, transaction: Transaction) -> Result<(), Halt> {
        let id = transaction.id;
        if let Some(location) = host.disk.ledger.location(&id) {
            self.waiters.executed(id, location.height, location.outcome);
            let certified = self.certified();
            self.waiters.certified(certified, env);
            return Ok(());
        }
        let mut checked = CheckedTransaction { transaction, verified_under: None };
        env.verify(&host.disk.ledger, &mut checked);
        self.waiters.keep(checked.clone());
        if let Some(leader) = self.core.status().leader {
            self.submit(host, env, checked, leader);
        }
        self.work(host, env)
    }
}

/// A configuration as plain numbers: voters, learners, outgoing voters.
fn ids(membership: &Membership) -> [Vec<u64>; 3] {
    let plain = |set: &BTreeSet<RaftId>| set.iter().map(|id| id.get()).collect();
    [plain(&membership.voters), plain(&membership.learners), plain(&membership.voters_outgoing)]
}
