//! The links of the test kit between machines, and which twin a machine speaks to.

use std::collections::BTreeMap;

use consilium_kit::Rng;
use consilium_kit::net::{LinkFault, Links, Passage};
use consilium_proto::ids::NodeId;

use crate::event::MachineId;
use crate::stats::Stats;
use crate::swarm::{Fault, Swarm};

/// The network.
pub struct Network {
    /// The links between machines.
    pub links: Links<MachineId>,
    /// Which twin a machine speaks to, by the twins' raft id.
    routes: BTreeMap<(MachineId, NodeId), MachineId>,
}

impl Network {
    /// The network that a swarm asks for.
    #[must_use]
    pub fn new(rng: Rng, swarm: &Swarm) -> Self {
        let mut links = Links::new(rng, swarm.latency_max);
        links.loss_per_mille = swarm.loss;
        links.duplicate_per_mille = swarm.duplicate;
        links.delay_per_mille = swarm.delay;
        links.delay = (100, 1_500);
        Self { links, routes: BTreeMap::new() }
    }

    /// When a packet arrives: never, once, or twice.
    pub fn arrivals(&mut self, now: u64, (from, to): (MachineId, MachineId), stats: &mut Stats) -> Vec<u64> {
        let Passage { arrivals, faults } = self.links.passage(now, from, to);
        for fault in faults {
            match fault {
                // Counted when the link is cut.
                LinkFault::Cut => {}
                LinkFault::Loss => stats.fault(Fault::Loss),
                LinkFault::Delay => stats.fault(Fault::Delay),
                LinkFault::Duplicate => stats.fault(Fault::Duplicate),
            }
        }
        arrivals
    }

    /// Which of the machines with one raft id a machine speaks to.
    #[must_use]
    pub fn route(&self, from: MachineId, to: NodeId) -> Option<MachineId> {
        self.routes.get(&(from, to)).copied()
    }

    /// Draws again who speaks to which twin.
    pub fn draw_routes(&mut self, rng: &mut Rng, machines: usize, node: NodeId, twins: [MachineId; 2]) {
        for machine in 0..machines {
            let twin = twins[rng.below(2) as usize];
            self.routes.insert((machine, node), twin);
        }
    }

    /// All machines speak to one of the twins.
    pub fn clear_routes(&mut self) {
        self.routes.clear();
    }
}
