//! The network: latency (and so reordering), loss, duplicates, late messages,
//! partitions in both directions or one.

use std::collections::{BTreeMap, BTreeSet};

use consilium_kit::Rng;
use consilium_proto::ids::NodeId;

use crate::event::MachineId;
use crate::stats::Stats;
use crate::swarm::{Fault, Swarm};

/// The links between machines.
pub struct Network {
    rng: Rng,
    /// Links (from, to) that carry nothing.
    cuts: BTreeSet<(MachineId, MachineId)>,
    /// Which twin a machine speaks to, by the twins' raft id.
    routes: BTreeMap<(MachineId, NodeId), MachineId>,
    /// No loss, no duplicates, no delays.
    pub calm: bool,
}

impl Network {
    /// An intact network.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self { rng, cuts: BTreeSet::new(), routes: BTreeMap::new(), calm: false }
    }

    /// When a packet arrives: never, once, or twice.
    pub fn arrivals(
        &mut self,
        now: u64,
        (from, to): (MachineId, MachineId),
        swarm: &Swarm,
        stats: &mut Stats,
    ) -> Vec<u64> {
        if self.cuts.contains(&(from, to)) {
            return Vec::new();
        }
        let usual = now + 1 + self.rng.below(swarm.latency_max);
        if self.calm {
            return vec![usual];
        }
        if self.rng.chance(swarm.loss) {
            stats.fault(Fault::Loss);
            return Vec::new();
        }
        let late = self.rng.chance(swarm.delay);
        let first = if late { usual + self.rng.range(100, 1_500) } else { usual };
        if late {
            stats.fault(Fault::Delay);
        }
        let mut arrivals = vec![first];
        if self.rng.chance(swarm.duplicate) {
            stats.fault(Fault::Duplicate);
            arrivals.push(now + 1 + self.rng.below(swarm.latency_max * 4));
        }
        arrivals
    }

    /// Whether a link is cut; it then loses what it carries.
    #[must_use]
    pub fn is_cut(&self, from: MachineId, to: MachineId) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Cuts a link in one direction.
    pub fn cut(&mut self, from: MachineId, to: MachineId) {
        self.cuts.insert((from, to));
    }

    /// Restores all links.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Which of the machines with one raft id a machine speaks to.
    #[must_use]
    pub fn route(&self, from: MachineId, to: NodeId) -> Option<MachineId> {
        self.routes.get(&(from, to)).copied()
    }

    /// Draws again who speaks to which twin.
    pub fn draw_routes(&mut self, machines: usize, node: NodeId, twins: [MachineId; 2]) {
        for machine in 0..machines {
            let twin = twins[self.rng.below(2) as usize];
            self.routes.insert((machine, node), twin);
        }
    }

    /// All machines speak to one of the twins.
    pub fn clear_routes(&mut self) {
        self.routes.clear();
    }
}
