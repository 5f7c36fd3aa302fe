//! A machine, and whether a node runs on it.

use consilium_consensus::Membership;

use crate::crash_point::CrashPoint;
use crate::disk::{CrashKind, Disk, Lost};
use crate::env::Env;
use crate::host::Host;
use crate::node::Node;
use crate::node::state::State;
use crate::swarm::Fault;

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
            State::Down | State::Rebuilding(_) | State::Out(_) => None,
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
        *self.host.disk.tripwire.borrow_mut() = Default::default();
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
        self.host.disk.write_genesis(&env.fixture.genesis);
        // A log is cut too seldom for a machine to fail just then by chance.
        if env.swarm.has(Fault::CrashPoint) {
            self.host.disk.tripwire.borrow_mut().armed = Some((CrashPoint::AfterCut, 0));
        }
    }
}
