//! One running node: the real Raft core, the real voting and the real rules, and
//! between them the wiring of the daemon (`node/src/runtime`), thread for thread:
//! driver (here), writer, applier, certifier, catching up. A thread of the daemon
//! that waits for a disk is a timer here.

pub mod apply;
pub mod catch_up;
pub mod certify;
pub mod chain;
mod inputs;
pub mod lead;
mod membership;
pub mod oversight;
pub mod repair;
pub mod start;
pub mod topology;
pub mod waiters;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};

use consilium_consensus::voting::Voting;
use consilium_consensus::{Core, LogEntry, LogIndex, Output, Role};
use consilium_ledger::{Tip, unseen_nodes};
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::vote::Vote;

use self::apply::{Applier, ApplierJob};
use self::catch_up::CatchUp;
use self::certify::{Certifier, CertifierInput};
use self::lead::Leading;
use self::start::TICK_MS;
use self::topology::Topology;
use self::waiters::Waiters;
use self::write::Writer;
use crate::disk::LogHandle;
use crate::env::{Env, Halt};
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
}
