//! One run: storm, then calm, then the last questions.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use consilium_consensus::{LogIndex, RaftId};
use consilium_kit::Rng;
use consilium_proto::ids::{Height, NodeId};

use crate::bugs::Bug;
use crate::chronicle::Commitments;
use crate::disk::CrashKind;
use crate::event::Event;
use crate::invariants::Violation;
use crate::invariants::i20_progress_resumes::{CALM_MS_MAX, Standing};
use crate::invariants::i28_attachments::Attachments;
use crate::machine::Machine;
use crate::nemesis::Nemesis;
use crate::node::SPLIT_SEEN;
use crate::node::state::State;
use crate::stats::Stats;
use crate::swarm::Swarm;
use crate::trace::Trace;
use crate::withheld;
use crate::world::World;

/// Counted for a run in which a traitor broke Raft itself: no progress, no fork.
pub const STOPPED_BY_TRAITOR: &str = "stopped by a traitor rather than forked";
/// Counted for a run in which nodes that are gone for good hold too much.
pub const STOPPED_WITHOUT_QUORUM: &str = "stopped without a quorum";

/// Counted for a run in which a traitor that led split the log, and was found out: half of the
/// honest hold one entry, half the other, and neither side can give in.
pub const STOPPED_BY_SPLIT: &str = "stopped by a split log that was told";

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The first violation, if any.
    pub violation: Option<Violation>,
    /// Counters.
    pub stats: Stats,
    /// Hash over the log.
    pub trace_hash: u64,
    /// Virtual time of the end.
    pub ended_ms: u64,
}

/// Runs a seed with the faults that it draws.
#[must_use]
pub fn run_seed(seed: u64, bug: Option<Bug>, print: bool) -> Outcome {
    let mut rng = Rng::new(seed);
    let swarm = match bug {
        Some(bug) if bug.wants_deeds() => Swarm::busy(&mut rng),
        Some(bug) => Swarm::focused(&mut rng, bug.needs()),
        None => Swarm::new(&mut rng),
    };
    run_swarm(seed, swarm, bug, print)
}

/// How often the end of the calm is looked for, milliseconds: that is a look at everything.
const LOOK_MS: u64 = 20;

/// Runs a seed with given parameters. A panic of the code under test is a
/// violation like any other.
#[must_use]
pub fn run_swarm(seed: u64, swarm: Swarm, bug: Option<Bug>, print: bool) -> Outcome {
    if print {
        println!("seed {seed}: {swarm:#?}");
    }
    let mut world = World::new(swarm, bug, seed, Trace::new(print));
    let result = catch_unwind(AssertUnwindSafe(|| run(&mut world)));
    if let Err(cause) = result {
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        world.env.oracle.fail("no panic", text.unwrap_or_default());
    }
    let World { mut env, .. } = world;
    let asked = env.swarm.asked.clone();
    env.stats.finish(&asked);
    env.stats.add("certified heights", env.oracle.highest().0);
    env.stats.add("transactions acknowledged", env.oracle.acknowledgements());
    env.stats.add("terms with a leader", env.oracle.raft.elections());
    env.stats.add("forks of uncertified blocks", env.oracle.roots.forks);
    let violation = env.oracle.violation().cloned();
    Outcome { seed, violation, stats: env.stats, trace_hash: env.trace.hash(), ended_ms: env.now }
}

fn run(world: &mut World) {
    let storm = world.env.swarm.storm_ms;
    let mut nemesis = Nemesis::new(world.trouble.clone());
    while world.step(storm) {
        nemesis.act(world);
    }
    if world.env.oracle.violation().is_none() {
        heal(world);
        withheld::check(world);
    }
    if world.env.oracle.violation().is_none() {
        calm(world);
    }
}

/// All faults are healed; everything that can run, runs.
fn heal(world: &mut World) {
    world.env.now = world.env.swarm.storm_ms;
    world.env.calm = true;
    world.env.note(format_args!("calm"));
    world.net.links.heal();
    world.net.links.calm = true;
    world.net.clear_routes();
    world.twins = None;
    for id in 0..world.machines.len() {
        let host = &mut world.machines[id].host;
        host.slow = false;
        if !host.clock_is_far {
            host.clock_offset = 0;
        }
        host.disk.tripwire.borrow_mut().armed = None;
        if matches!(world.machines[id].state, State::Down) {
            world.schedule(50, Event::Start(id));
        }
    }
}

/// Traitors are expelled; the network goes on.
fn calm(world: &mut World) {
    for id in 0..world.machines.len() {
        if !world.machines[id].host.honest() {
            world.crash(id, CrashKind::Process, None);
            world.machines[id].state = State::Out("expelled");
        }
    }
    let probe = world.client.probe(&mut world.env);
    world.schedule(1_000, Event::Retry(probe));
    let end = world.env.now + CALM_MS_MAX;
    let (mut look_at, mut commitments) = (world.env.now, Commitments::default());
    while world.env.deaf.is_none() && world.step(end) {
        if world.env.now >= look_at {
            if settled(world, &mut commitments) {
                break;
            }
            look_at = world.env.now + LOOK_MS;
        }
    }
    if world.env.oracle.violation().is_none() {
        finish(world, &mut commitments);
    }
}

/// The probe is certified, and every honest node has its certificate.
fn settled(world: &World, commitments: &mut Commitments) -> bool {
    world.client.probed
        && world.machines.iter().filter(|m| m.host.honest()).filter_map(|m| m.node()).all(|node| node.is_idle())
        && standings(world).iter().all(|s| s.certified >= world.env.oracle.highest())
        && attachments(world, commitments).check().is_ok()
}

fn attachments(world: &World, commitments: &mut Commitments) -> Attachments {
    let mut attachments = Attachments::default();
    let Some(best) = world.best() else { return attachments };
    commitments.read(&world.machines[best].host.disk.ledger.borrow(), world.env.fixture.genesis.ledger_id);
    for machine in world.machines.iter().filter(|m| m.host.honest() && m.in_use()) {
        attachments.look(machine.host.node, &machine.host.disk.ledger.borrow(), &commitments.all);
    }
    attachments
}

fn standings(world: &World) -> Vec<Standing> {
    let height = probe_height(world).unwrap_or_default();
    let nodes = world.machines.iter().filter(|m| m.host.honest() && m.in_use());
    nodes
        .map(|machine| Standing {
            node: machine.host.node,
            certified: machine.node().map_or(Height::GENESIS, |node| node.certified()),
            log_end: machine.host.disk.log.borrow().last(),
            header: machine.host.disk.ledger.borrow().header(height).map(|header| header.hash()),
        })
        .collect()
}

fn probe_height(world: &World) -> Option<Height> {
    let probe = world.client.probe?;
    let ledgers = world.machines.iter().filter(|m| m.host.honest() && m.in_use());
    ledgers.filter_map(|m| m.host.disk.ledger.borrow().location(&probe)).map(|l| l.height).next()
}

fn finish(world: &mut World, commitments: &mut Commitments) {
    let standings = standings(world);
    let probe = probe_height(world).filter(|_| world.client.probed);
    let stopped = probe.is_none() || !settled(world, commitments);
    if stopped
        && world.env.swarm.may_break_raft()
        && (world.env.oracle.roots.forks > 0 || world.env.oracle.raft.broken > 0)
    {
        // A traitor broke Raft itself: the network stops rather than forks.
        world.env.stats.count(STOPPED_BY_TRAITOR);
        return;
    }
    if stopped && world.env.stats.get(SPLIT_SEEN) > 0 && log_is_split(world) {
        // What no node alone can mend: it is told, and left to the members.
        world.env.stats.count(STOPPED_BY_SPLIT);
        return;
    }
    if stopped && quorum_is_lost(world) {
        world.env.stats.count(STOPPED_WITHOUT_QUORUM);
        return;
    }
    if let Some(node) = world.env.deaf {
        world.env.oracle.fail("I24 answered", format!("a client of node {node} waited in vain in the calm"));
    }
    world.env.oracle.finish(probe, &standings);
    world.env.oracle.attachments(&attachments(world, commitments));
    let genesis = world.env.fixture.genesis.clone();
    if let Some(best) = world.best() {
        let disk = &world.machines[best].host.disk;
        world.env.oracle.rights(&genesis, &disk.ledger.borrow(), &mut world.env.stats);
    }
    for machine in world.machines.iter().filter(|m| m.host.honest() && m.in_use()) {
        world.env.oracle.final_ledger(&genesis, &machine.host.disk.ledger.borrow());
    }
    if let Some(best) = world.best() {
        world.env.oracle.replay(&genesis, &world.machines[best].host.disk.ledger_port());
    }
}

/// Whether honest nodes hold two entries of one index and one term.
fn log_is_split(world: &World) -> bool {
    let mut held = BTreeMap::new();
    let logs = world.machines.iter().filter(|m| m.host.honest() && m.in_use()).map(|m| m.host.disk.log.borrow());
    logs.into_iter().any(|log| {
        let (first, last) = (log.durable_truncated().index.next(), log.last());
        let entries = (first.0..=last.0).filter_map(|index| log.entry(LogIndex(index)).ok());
        entries.into_iter().any(|entry| *held.entry((entry.index, entry.term)).or_insert(entry.hash) != entry.hash)
    })
}

/// Whether nodes that are gone for good hold too much power, or too many of
/// Raft's votes: then nothing is promised.
pub(crate) fn quorum_is_lost(world: &World) -> bool {
    let Some(best) = world.best().and_then(|best| world.machines[best].node()) else { return true };
    let counts = |m: &Machine| m.host.honest() && !m.host.clock_is_far && m.in_use();
    let here = |node: NodeId| world.machines.iter().any(|m| m.host.node == node && counts(m));
    let set = best.replica.topology().validators();
    let certifying = best.replica.voting().schedule().set_at(best.certified().next()).unwrap_or(set);
    let quorum = |set: &consilium_proto::validators::ValidatorSet| {
        let seats = set.seats().iter().filter(|seat| here(seat.id));
        set.is_quorum(seats.map(|seat| u128::from(seat.power.0)).sum())
    };
    let membership = &best.status().raft.membership;
    // While joint, both halves are needed.
    let majority = |voters: &BTreeSet<RaftId>| {
        let left = voters.iter().filter(|voter| here(NodeId(voter.get()))).count();
        left * 2 > voters.len() || voters.is_empty()
    };
    let elects = majority(&membership.voters) && majority(&membership.voters_outgoing);
    !quorum(set) || !quorum(certifying) || !elects
}
