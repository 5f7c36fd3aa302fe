//! What operators and members do while the network runs.

use std::collections::BTreeSet;

use consilium_ledger::keys;
use consilium_proto::ids::NodeId;
use consilium_proto::pb::{self, NodeState, NodeStatus, RosterState, action::Action};
use consilium_replica::topology::{Introduction, NodeInfo};

use super::World;
use crate::disk::CrashKind;
use crate::event::{Event, MachineId};
use crate::node::state::State;

/// How often operators look at the network.
const OPERATE_MS: u64 = 300;

impl World {
    /// What a node is told of the others, as the ledger of a machine has them.
    pub fn introduction_by(&self, machine: MachineId) -> Introduction {
        let ledger = self.machines[machine].host.disk.ledger.borrow();
        let roster: RosterState = ledger.message(&keys::roster()).unwrap_or_default();
        let nodes = roster.nodes.iter().filter_map(|id| ledger.message::<NodeState>(&keys::node(NodeId(*id))));
        let nodes = nodes.filter_map(|node| NodeInfo::new(&node, true).ok()).collect();
        let height = ledger.tip().map(|(_, tip)| tip.header.height).unwrap_or_default();
        Introduction { nodes, height }
    }

    /// What operators do: new nodes on the ledger get machines, retired ones are
    /// switched off, open proposals get ballots.
    pub(super) fn operate(&mut self) {
        self.schedule(OPERATE_MS, Event::Operate);
        let Some(best) = self.best() else { return };
        if self.machines[best].node().is_none_or(|node| node.certified() < node.height()) {
            return;
        }
        let store = std::rc::Rc::clone(&self.machines[best].host.disk.ledger);
        let ledger = store.borrow();
        let nodes: Vec<NodeState> =
            ledger.scan(&keys::nodes()).filter_map(|row| prost::Message::decode(row.clone()).ok()).collect();
        let membership = self.machines[best].node().map(|n| n.status().raft.membership.clone()).unwrap_or_default();
        let in_raft: BTreeSet<NodeId> = membership
            .voters
            .iter()
            .chain(&membership.learners)
            .chain(&membership.voters_outgoing)
            .map(|id| NodeId(id.get()))
            .collect();
        let roster: RosterState = ledger.message(&keys::roster()).unwrap_or_default();
        drop(ledger);
        let introduction = self.introduction_by(best);
        for state in nodes {
            let node = NodeId(state.raft_id);
            let machine = self.machines.iter().position(|m| m.host.node == node);
            match (machine, state.status == NodeStatus::Retired as i32) {
                (None, false) => {
                    let id = self.add_machine(node, &state.member, &state.name, introduction.clone());
                    self.env.note(format_args!("{id} joins as node {node}"));
                    self.env.stats.count("nodes joined");
                    self.schedule(50, Event::Start(id));
                }
                // Raft may still count on its vote.
                (Some(id), true) if self.machines[id].in_use() && !in_raft.contains(&node) => {
                    self.crash(id, CrashKind::Process, None);
                    self.machines[id].state = State::Out("retired");
                    self.env.note(format_args!("{id} is switched off as node {node} is retired"));
                    self.env.stats.count("nodes retired");
                }
                (Some(_), _) | (None, true) => {}
            }
        }
        self.ballots(&roster);
    }

    fn ballots(&mut self, roster: &RosterState) {
        for proposal in &roster.open_proposals {
            for member in 0..self.env.swarm.members as usize {
                let choice = pb::BallotChoice::Approve as i32;
                self.submit_by_admin(member, Action::CastBallot(pb::CastBallot { proposal: *proposal, choice }));
            }
        }
    }
}
