//! A machine: a disk, a clock, and the node that runs on it, or does not.

use std::sync::Arc;

use consilium_consensus::Membership;
use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::signing::SigningKey;

use crate::disk::{CrashKind, Disk, Lost};
use crate::env::{CrashPoint, Env, Halt};
use crate::event::{MachineId, Packet, Send, Timer};
use crate::fixture::START_MS;
use crate::node::Node;
use crate::node::repair::Repair;
use crate::node::start::Asking;
use crate::node::topology::Invitation;
use crate::swarm::Fault;

/// What a node finds on its machine.
pub struct Host {
    /// The machine.
    pub machine: MachineId,
    /// The raft id.
    pub node: NodeId,
    /// The member that runs it.
    pub member: String,
    /// The node's name.
    pub name: String,
    /// Signs its votes.
    pub key: Arc<SigningKey>,
    /// The disk.
    pub disk: Disk,
    /// A number for each disk that was ever set up.
    pub disk_number: u64,
    /// What it was told of the others when it joined.
    pub invitation: Invitation,
    /// Grows with every start.
    pub incarnation: u64,
    /// Wall clock minus true time, in ms.
    pub clock_offset: i64,
    /// Where the machine is to fail, after how many passes.
    pub armed: Option<(CrashPoint, u32)>,
    /// What it does against the rules.
    pub byzantine: Option<Fault>,
    /// Syncs take long.
    pub slow: bool,
}

impl Host {
    /// The wall clock.
    #[must_use]
    pub fn wall(&self, env: &Env) -> TimeMs {
        TimeMs((START_MS + env.now).saturating_add_signed(self.clock_offset))
    }

    /// Whether the oracle asks it.
    #[must_use]
    pub fn honest(&self) -> bool {
        self.byzantine.is_none()
    }

    /// Fails here if this is where the machine is to fail.
    ///
    /// # Errors
    /// The crash.
    pub fn pass(&mut self, point: CrashPoint) -> Result<(), Halt> {
        match &mut self.armed {
            Some((armed, 0)) if *armed == point => {
                self.armed = None;
                Err(Halt::Crash(point))
            }
            Some((armed, left)) if *armed == point => {
                *left -= 1;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sends a packet.
    pub fn send(&self, env: &mut Env, to: NodeId, packet: Packet) {
        env.outbox.push(Send { machine: self.machine, from: self.node, to, packet });
    }

    /// Sets a timer.
    pub fn timer(&self, env: &mut Env, delay: u64, timer: Timer) {
        env.timer(delay, self.machine, self.incarnation, timer);
    }

    /// How long a sync takes now.
    pub fn sync_time(&self, env: &mut Env) -> u64 {
        let usual = 1 + env.rng.below(env.swarm.sync_max);
        if self.slow { usual + env.rng.range(50, 400) } else { usual }
    }
}

/// Whether a node runs.
pub enum State {
    /// It does not.
    Down,
    /// It asks its peers what it voted for.
    Asking(Box<Asking>),
    /// It rebuilds its ledger.
    Repairing(Box<Repair>),
    /// It runs.
    Up(Box<Node>),
    /// It will not run again: the disk was lost, or it was retired.
    Out(&'static str),
}

/// A machine.
pub struct Machine {
    /// What its node finds.
    pub host: Host,
    /// Whether its node runs.
    pub state: State,
}

impl Machine {
    /// The running node.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        match &self.state {
            State::Up(node) => Some(node),
            State::Down | State::Asking(_) | State::Repairing(_) | State::Out(_) => None,
        }
    }

    /// Whether it may be up again.
    #[must_use]
    pub fn in_use(&self) -> bool {
        !matches!(self.state, State::Out(_))
    }

    /// The machine goes down. What was not durable may be gone.
    pub fn crash(&mut self, kind: CrashKind, env: &mut Env) -> Lost {
        self.host.incarnation += 1;
        self.host.armed = None;
        if self.in_use() {
            self.state = State::Down;
        }
        let lost = self.host.disk.crash(kind, &mut env.rng);
        if lost.writes > 0 {
            env.stats.fault(Fault::LostWrites);
        }
        if lost.torn > 0 {
            env.stats.fault(Fault::TornWrite);
        }
        lost
    }

    /// Sets the disk up anew, as a new node does: the genesis block and nothing
    /// else.
    pub fn set_up(&mut self, env: &Env, membership: Membership, disk_number: u64) {
        self.host.disk = Disk::new(self.host.node, membership);
        self.host.disk_number = disk_number;
        crate::node::start::write_genesis(&mut self.host.disk, &env.fixture.genesis);
    }
}
