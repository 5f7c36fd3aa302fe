//! What a node finds on its machine: a disk, a clock, a key, and the way to others.

use std::sync::Arc;

use consilium_proto::ids::{NodeId, TimeMs};
use consilium_proto::signing::SigningKey;
use consilium_replica::peer::PeerMessage;
use consilium_replica::ports::{Ledger, PortFault};
use consilium_replica::topology::{Introduction, Topology};

use crate::bugs::Bug;
use crate::disk::{Disk, SimLedger};
use crate::env::{Env, Halt};
use crate::event::{MachineId, Packet, Send, Timer};
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
    pub introduction: Introduction,
    /// Grows with every start.
    pub incarnation: u64,
    /// Wall clock minus true time, in ms.
    pub clock_offset: i64,
    /// Nobody sets the clock.
    pub clock_is_far: bool,
    /// What it does against the rules.
    pub byzantine: Option<Fault>,
    /// Syncs take long.
    pub slow: bool,
    /// So much longer, all of them.
    pub sync_ms: u64,
}

impl Host {
    /// The wall clock.
    #[must_use]
    pub fn wall(&self, env: &Env) -> TimeMs {
        offset(env.true_time(), self.clock_offset)
    }

    /// Whether the oracle asks it.
    #[must_use]
    pub fn honest(&self) -> bool {
        self.byzantine.is_none()
    }

    /// The ledger as a replica gets it.
    #[must_use]
    pub fn ledger(&self, env: &Env) -> SimLedger {
        // What the log's writer does to it is not the replica's.
        let bug = env.bug.filter(|bug| *bug != Bug::LogBeforeLedger);
        SimLedger::new(&self.disk, bug)
    }

    /// The ledger as the log's writer gets it.
    #[must_use]
    pub fn writer_ledger(&self, env: &Env) -> SimLedger {
        SimLedger::new(&self.disk, env.bug)
    }

    /// The network as this disk knows it.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn topology(&self) -> Result<Topology, PortFault> {
        let ledger = self.disk.ledger_port();
        let (_, tip) = ledger.tip()?.ok_or_else(|| PortFault::corrupt("ledger", "empty"))?;
        Topology::load(&ledger, &tip.header, Some(&self.introduction))
    }

    /// Why the node goes down when its disk fails.
    #[must_use]
    pub fn failed(&self, fault: &PortFault) -> Halt {
        match self.disk.tripwire.borrow_mut().tripped.take() {
            Some(point) => Halt::Crash(point),
            None => Halt::Fault(fault.to_string()),
        }
    }

    /// Why the node goes down when what runs on it cannot go on.
    #[must_use]
    pub fn stopped(&self, fault: consilium_replica::Fault) -> Halt {
        match self.disk.tripwire.borrow_mut().tripped.take() {
            Some(point) => Halt::Crash(point),
            None => Halt::Fault(fault.to_string()),
        }
    }

    /// Says something on the stream to a peer. What is said in one step is one
    /// batch, or several: as the stream's task finds it.
    pub fn say(&self, env: &mut Env, to: NodeId, message: PeerMessage) {
        let together = env.rng.chance(500) || env.has(Bug::CertificateLostInBatch);
        let last = env.outbox.last_mut().filter(|send| send.machine == self.machine && send.to == to && together);
        match last.map(|send| &mut send.packet) {
            Some(Packet::Messages(messages)) => messages.push(message),
            Some(_) | None => self.send(env, to, Packet::Messages(vec![message])),
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
        let usual = 1 + env.rng.below(env.swarm.sync_max) + self.sync_ms;
        if self.slow { usual + env.rng.range(50, 400) } else { usual }
    }
}

/// A time that is off; the largest offset leads to the end of time.
#[must_use]
pub fn offset(time: TimeMs, by: i64) -> TimeMs {
    match by {
        i64::MAX => TimeMs(u64::MAX),
        _ => TimeMs(time.0.saturating_add_signed(by)),
    }
}

/// Seconds, hours, years, for ever; ahead or behind.
#[must_use]
pub fn far_offset(rng: &mut consilium_kit::Rng) -> i64 {
    let ms = match rng.below(4) {
        0 => rng.range(8_000, 60_000),
        1 => rng.range(60_000, 36_000_000),
        2 => rng.range(36_000_000, 1_000_000_000_000),
        _ => i64::MAX as u64,
    };
    if rng.chance(500) { ms as i64 } else { -(ms as i64) }
}
