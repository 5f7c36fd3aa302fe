//! Machines come into the world: founders, those that join, twins.

use std::sync::Arc;

use consilium_consensus::{Membership, RaftId};
use consilium_proto::ids::NodeId;
use consilium_replica::topology::Introduction;

use super::World;
use crate::disk::Disk;
use crate::event::{Event, MachineId};
use crate::host::Host;
use crate::machine::Machine;
use crate::node::state::State;

impl World {
    pub(super) fn found(&mut self) {
        for (node, member, name) in self.env.fixture.nodes() {
            let id = self.add_machine(node, &member, &name, Introduction::default());
            let at = self.rng.below(50);
            self.schedule(at, Event::Start(id));
        }
        if let Some(fault) = self.env.swarm.byzantine() {
            let traitor = self.rng.below(self.machines.len() as u64) as usize;
            self.machines[traitor].host.byzantine = Some(fault);
            let node = self.machines[traitor].host.node;
            self.env.traitors.insert(node);
            self.env.note(format_args!("{traitor} is a traitor: {fault:?}"));
        }
        for id in self.client.enrollments(&mut self.env) {
            self.schedule(1_000, Event::Retry(id));
        }
        self.schedule(1_500, Event::Submit);
        self.schedule(1_700, Event::Read);
        self.schedule(1_200, Event::Fault);
        self.schedule(1_000, Event::Operate);
    }

    /// A machine with a fresh disk.
    pub fn add_machine(&mut self, node: NodeId, member: &str, name: &str, introduction: Introduction) -> MachineId {
        let machine = self.machines.len();
        let founders = self.env.fixture.nodes().into_iter().filter_map(|(id, _, _)| RaftId::new(id.0));
        let membership = Membership::new(founders.collect::<Vec<_>>(), []);
        let key = self.env.fixture.vote_key(member, name);
        let host = Host {
            machine,
            node,
            member: member.to_owned(),
            name: name.to_owned(),
            key,
            disk: Disk::new(node, membership.clone()),
            disk_number: 0,
            introduction,
            incarnation: 0,
            clock_offset: 0,
            clock_is_far: false,
            byzantine: None,
            slow: false,
            sync_ms: 0,
        };
        self.machines.push(Machine { host, state: State::Down });
        self.disks += 1;
        let disks = self.disks;
        self.machines[machine].set_up(&self.env, membership, disks);
        machine
    }

    /// A second machine with the key and the disk of another.
    pub(crate) fn copy_machine(&mut self, of: MachineId) -> MachineId {
        let machine = self.machines.len();
        let original = &self.machines[of].host;
        let host = Host {
            machine,
            node: original.node,
            member: original.member.clone(),
            name: original.name.clone(),
            key: Arc::clone(&original.key),
            disk: original.disk.copy(),
            disk_number: original.disk_number,
            introduction: original.introduction.clone(),
            incarnation: 0,
            clock_offset: 0,
            clock_is_far: false,
            byzantine: original.byzantine,
            slow: false,
            sync_ms: 0,
        };
        self.machines.push(Machine { host, state: State::Down });
        self.schedule(1, Event::Start(machine));
        machine
    }

    /// A bug: the machine goes on under its raft id with an empty disk.
    pub(crate) fn set_up_again(&mut self, id: MachineId) {
        let membership = self.machines[id].host.disk.apart.borrow().clone();
        self.disks += 1;
        let disks = self.disks;
        self.machines[id].set_up(&self.env, membership, disks);
    }
}
