//! All machines, the network between them, and the queue of what happens next.
//! One event at a time; after each, what left the machines goes on its way.

mod founding;
mod operators;
mod traffic;

use std::sync::Arc;

use consilium_kit::Rng;
use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::pb::action::Action;
use consilium_proto::transaction::Transaction;
use consilium_replica::topology::Topology;
use consilium_replica::{Input, RequestId};

use crate::bugs::Bug;
use crate::care::Care;
use crate::client::Client;
use crate::disk::CrashKind;
use crate::env::Env;
use crate::event::{Event, MachineId, Queue};
use crate::machine::Machine;
use crate::net::Network;
use crate::node::start;
use crate::node::state::State;
use crate::swarm::{Fault, Swarm};
use crate::trace::Trace;

/// Of a thousand transactions, those that are handed in at one node only.
const ONCE_PER_MILLE: u64 = 300;
/// Of a thousand reads, those beside which a reader asks once more for what it was permitted.
const AGAIN_PER_MILLE: u64 = 300;

/// A whole run.
pub struct World {
    /// What is shared.
    pub env: Env,
    /// The machines; an index is a [`MachineId`].
    pub machines: Vec<Machine>,
    /// The network.
    pub net: Network,
    /// The clients.
    pub client: Client,
    /// Two machines with one key, if they live.
    pub twins: Option<[MachineId; 2]>,
    /// Time for a fault.
    pub fault_due: bool,
    /// For whoever makes faults.
    pub trouble: Rng,
    queue: Queue,
    rng: Rng,
    disks: u64,
}

impl World {
    /// The world of a seed, before anything happens.
    #[must_use]
    pub fn new(swarm: Swarm, bug: Option<Bug>, seed: u64, trace: Trace) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let env = Env::new(swarm, bug, rng.fork(1), trace);
        let net = Network::new(rng.fork(2), &env.swarm);
        let mut world = Self {
            env,
            machines: Vec::new(),
            net,
            client: Client::new(rng.fork(3), Care::new(rng.fork(6))),
            twins: None,
            fault_due: false,
            trouble: rng.fork(4),
            queue: Queue::default(),
            rng: rng.fork(5),
            disks: 0,
        };
        world.found();
        world
    }

    /// Schedules an event.
    pub fn schedule(&mut self, after: u64, event: Event) {
        self.queue.push(self.env.now + after.max(1), event);
    }

    /// Takes a machine down, and starts it again later.
    pub fn crash(&mut self, id: MachineId, kind: CrashKind, restart_after: Option<u64>) {
        self.machines[id].crash(kind, &mut self.env);
        self.env.stats.count("machines taken down");
        if let Some(after) = restart_after {
            self.schedule(after, Event::Start(id));
        }
    }

    /// Tells a node to stop; its process ends later.
    pub fn stop(&mut self, at: MachineId, after: u64) {
        let Machine { host, state } = &mut self.machines[at];
        if let State::Up(node) = state {
            node.push(host, &mut self.env, consilium_replica::Input::Stop);
            let incarnation = host.incarnation;
            self.schedule(after, Event::Stopped { at, incarnation });
        }
    }

    /// Asks a node for something, if it leads.
    pub fn give_leader(&mut self, id: MachineId, input: impl FnOnce(RequestId) -> Input) {
        let Machine { host, state } = &mut self.machines[id];
        if let State::Up(node) = state
            && node.leads()
        {
            // Nobody waits for the answer.
            node.push(host, &mut self.env, input(RequestId(0)));
        }
    }

    /// An administrator submits something.
    pub fn submit_by_admin(&mut self, member: usize, action: Action) {
        let id = self.client.by_admin(&mut self.env, member, action);
        self.schedule(1, Event::Retry(id));
    }

    /// The honest node that stands highest.
    #[must_use]
    pub fn best(&self) -> Option<MachineId> {
        let up = self.machines.iter().enumerate().filter(|(_, m)| m.host.honest());
        let up = up.filter_map(|(id, m)| m.node().map(|node| (id, node)));
        up.max_by_key(|(id, node)| (node.certified(), std::cmp::Reverse(*id))).map(|(id, _)| id)
    }

    /// The network as the best node knows it.
    #[must_use]
    pub fn topology(&self) -> Option<Arc<Topology>> {
        let best = self.best().and_then(|best| self.machines[best].node());
        best.map(|node| Arc::clone(node.replica.topology()))
    }

    /// The next event, until `end` or a violation. Returns whether there was one.
    pub fn step(&mut self, end: u64) -> bool {
        if self.env.oracle.violation().is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        if at > end {
            self.queue.push(at, event);
            return false;
        }
        self.env.now = at;
        self.env.stats.steps += 1;
        self.happen(event);
        if !self.fault_due {
            self.flush();
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { at, from, proven, packet } => {
                if !self.net.links.is_cut(from, at) {
                    self.arrive(at, proven, *packet);
                }
            }
            Event::Timer { at, incarnation, timer } => {
                if self.machines[at].host.incarnation == incarnation {
                    self.timer(at, timer);
                }
            }
            Event::Start(id) => self.start(id),
            Event::Stopped { at, incarnation } => {
                if self.machines[at].host.incarnation == incarnation {
                    self.crash(at, CrashKind::Process, Some(100));
                }
            }
            Event::Submit => self.submit(),
            Event::Read => self.read(),
            Event::Retry(id) => self.retry(id),
            Event::Operate => self.operate(),
            Event::Fault => self.fault_due = !self.env.calm,
            Event::Routes => self.routes(),
            Event::Heal => {
                self.net.links.heal();
                self.env.note(format_args!("the network heals"));
            }
            Event::FastDisk(id) => self.machines[id].host.slow = false,
        }
    }

    fn routes(&mut self) {
        if let Some(twins) = self.twins {
            let node = self.machines[twins[0]].host.node;
            self.net.draw_routes(&mut self.rng, self.machines.len(), node, twins);
            let after = self.rng.range(200, 900);
            self.schedule(after, Event::Routes);
        }
    }

    fn start(&mut self, id: MachineId) {
        if matches!(self.machines[id].state, State::Down) {
            let Machine { host, state } = &mut self.machines[id];
            let begun = start::begin(host, &mut self.env);
            self.env.note(format_args!("{id} starts"));
            match begun {
                Ok(next) => {
                    let out = if let State::Out(why) = next { Some(why) } else { None };
                    *state = next;
                    out.into_iter().for_each(|why| self.out(id, why));
                }
                Err(halt) => self.halted(id, Err(halt)),
            }
        }
    }

    /// A node will not run again. Losing a vote without losing a disk is a bug.
    fn out(&mut self, id: MachineId, why: &'static str) {
        self.env.note(format_args!("{id} is out: {why}"));
        self.env.stats.count("nodes out");
        if why != "retired" && self.machines[id].host.honest() {
            self.env.oracle.fail("I11 watermark", format!("machine {id} kept its disk and may not start: {why}"));
        }
    }

    fn submit(&mut self) {
        if self.env.calm {
            return;
        }
        let ledger = self.best().map(|best| std::rc::Rc::clone(&self.machines[best].host.disk.ledger));
        if let (Some(topology), Some(ledger)) = (self.topology(), ledger) {
            let burst = self.env.swarm.has(Fault::Overload) && self.rng.chance(60);
            let count = if burst { 3 * self.env.swarm.queued_max } else { self.rng.range(1, 3) as usize };
            if burst {
                self.env.stats.fault(Fault::Overload);
            }
            for _ in 0..count {
                let id = self.client.next(&mut self.env, &topology, &ledger.borrow());
                if self.rng.chance(ONCE_PER_MILLE) {
                    self.submit_once(id);
                } else {
                    self.retry(id);
                }
            }
        }
        let pause = self.rng.range(1, 2 * self.env.swarm.submit_pause);
        self.schedule(pause, Event::Submit);
    }

    /// A node that is up, at random.
    fn any_node(&mut self) -> Option<MachineId> {
        let up: Vec<MachineId> = (0..self.machines.len()).filter(|m| self.machines[*m].node().is_some()).collect();
        self.rng.pick(&up).copied()
    }

    fn read(&mut self) {
        if let Some(target) = self.any_node() {
            let Machine { host, state } = &mut self.machines[target];
            if let State::Up(node) = state {
                node.read(host, &mut self.env);
            }
        }
        // The answer to a reader was lost, who asks another node.
        let again = (!self.env.calm && self.rng.chance(AGAIN_PER_MILLE)).then(|| self.client.asked_before());
        if let Some(asked) = again.flatten() {
            self.try_any_node(asked);
        }
        let pause = self.rng.range(20, 400);
        self.schedule(pause, Event::Read);
    }

    /// A client tries one node and waits there: what that node loses nobody brings
    /// again.
    fn submit_once(&mut self, id: TransactionId) {
        if let Some(transaction) = self.client.open.remove(&id) {
            self.try_any_node(transaction);
        }
    }

    fn try_any_node(&mut self, transaction: Transaction) {
        let now = self.env.true_time();
        let Some(target) = self.any_node() else { return };
        let Machine { host, state } = &mut self.machines[target];
        let State::Up(node) = state else { return };
        if transaction.head.valid_until < now {
            node.want_time(host, &mut self.env, transaction.head.valid_until);
        } else {
            node.client(host, &mut self.env, transaction);
        }
    }

    /// A client tries a node; if that does not help, another one later.
    fn retry(&mut self, id: TransactionId) {
        let Some(transaction) = self.client.open.get(&id).cloned() else { return };
        if transaction.head.valid_until.0 + 5_000 < self.env.true_ms() {
            self.client.open.remove(&id);
            return;
        }
        self.try_any_node(transaction);
        let after = self.rng.range(500, 2_500);
        self.schedule(after, Event::Retry(id));
    }

    /// Whether the network can do without a machine for good: the rest of the
    /// seats is a quorum, and so is the rest of Raft's voters.
    #[must_use]
    pub fn may_lose(&self, id: MachineId) -> bool {
        let Some(best) = self.best().and_then(|best| self.machines[best].node()) else { return false };
        let node = self.machines[id].host.node;
        let here = |other: NodeId| other != node && self.machines.iter().any(|m| m.host.node == other && m.in_use());
        let set = best.replica.topology().validators();
        let power: u128 = set.seats().iter().filter(|s| here(s.id)).map(|s| u128::from(s.power.0)).sum();
        let voters = &best.status().raft.membership.voters;
        let left = voters.iter().filter(|voter| here(NodeId(voter.get()))).count();
        self.machines[id].host.honest() && set.is_quorum(power) && left > voters.len() / 2 && left >= 3
    }
}
