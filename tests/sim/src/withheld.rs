//! After the storm, and before a traitor is expelled that takes no transactions by which
//! members protect themselves: it is made the leader, and such a transaction is handed to
//! one honest node.

use consilium_consensus::RaftId;
use consilium_ledger::lookup;
use consilium_replica::Input;

use crate::event::MachineId;
use crate::invariants::i29_rights::RIGHT_MS_MAX;
use crate::machine::Machine;
use crate::node::state::State;
use crate::run::quorum_is_lost;
use crate::swarm::Fault;
use crate::world::World;

/// Virtual time within which the traitor comes to lead, if it can.
const LEAD_MS_MAX: u64 = 20_000;
/// Pause between two attempts to make it the leader.
const HAND_OVER_MS: u64 = 1_000;

/// See the module.
pub fn check(world: &mut World) {
    let withholds = |machine: &Machine| machine.host.byzantine == Some(Fault::WithholdRights);
    let Some(traitor) = world.machines.iter().position(withholds) else { return };
    if !comes_to_lead(world, traitor) || quorum_is_lost(world) {
        world.env.stats.count("rights that a traitor could not withhold");
        return;
    }
    let right = world.client.right(&mut world.env);
    let (id, asked) = (right.id, world.best());
    let Some(Machine { host, state: State::Up(node) }) = asked.map(|asked| &mut world.machines[asked]) else { return };
    // Of nobody who is enrolled, it would be no right.
    let author = lookup::standing_author(&*host.disk.ledger.borrow(), &right.head.author);
    if !author.is_ok_and(|author| author.is_some()) {
        world.env.stats.count("rights of an administrator who is not enrolled yet");
        return;
    }
    let at = host.node;
    world.env.note(format_args!("{at} is handed a right under a leader that takes none"));
    node.client(host, &mut world.env, right);
    let end = world.env.now + RIGHT_MS_MAX;
    let executed = |world: &World| {
        let honest = world.machines.iter().filter(|machine| machine.host.honest());
        honest.into_iter().any(|machine| machine.host.disk.ledger.borrow().location(&id).is_some())
    };
    while !executed(world) && world.step(end) {}
    world.env.stats.count("rights handed in under a traitor that takes none");
    if !executed(world) && quorum_is_lost(world) {
        return;
    }
    let done = executed(world);
    world.env.oracle.right(at, done);
}

/// Operators hand leadership to the traitor.
fn comes_to_lead(world: &mut World, traitor: MachineId) -> bool {
    let (node, end) = (world.machines[traitor].host.node, world.env.now + LEAD_MS_MAX);
    let to = RaftId::new(node.0);
    while world.env.now < end && world.env.oracle.violation().is_none() {
        if world.machines[traitor].node().is_some_and(|node| node.leads()) {
            return true;
        }
        for id in 0..world.machines.len() {
            world.give_leader(id, |request| Input::Transfer { request, to });
        }
        let next = world.env.now + HAND_OVER_MS;
        while world.step(next) {}
        world.env.now = next;
    }
    false
}
