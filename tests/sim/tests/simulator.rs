//! The simulator itself: equal seeds give equal runs, the faults that are asked
//! for happen, traitors below a third break nothing, and known bugs are found.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use consilium_kit::Rng;
use consilium_sim::bugs::Bug;
use consilium_sim::machine::Machine;
use consilium_sim::run::{Outcome, run_seed, run_swarm};
use consilium_sim::stats::Stats;
use consilium_sim::swarm::{Fault, Swarm};
use consilium_sim::trace::Trace;
use consilium_sim::world::World;

/// Seeds within which every known bug must be found.
const SEEDS_PER_BUG_MAX: u64 = 400;

/// Seeds within which a power cut tears a write.
const SEEDS_PER_TEAR_MAX: u64 = 200;

fn good(outcome: &Outcome) {
    let Outcome { seed, violation, .. } = outcome;
    assert_eq!(*violation, None, "replay: make sim SEED={seed}");
}

fn swarm_of(seed: u64, faults: &[Fault]) -> Swarm {
    let asked: BTreeSet<Fault> = faults.iter().copied().collect();
    Swarm::with(asked, &mut Rng::new(seed))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let traitors = Fault::BYZANTINE.map(|fault| [fault, Fault::Loss, Fault::PowerCut, Fault::Stake]);
    let chosen = (1..=12).map(|seed| (seed, None));
    let with_traitors = traitors.iter().zip(100..).map(|(faults, seed)| (seed, Some(faults.as_slice())));
    for (seed, faults) in chosen.chain(with_traitors) {
        let run = || match faults {
            Some(faults) => run_swarm(seed, swarm_of(seed, faults), None, false),
            None => run_seed(seed, None, false),
        };
        let (one, two) = (run(), run());
        assert_eq!((one.trace_hash, &one.stats), (two.trace_hash, &two.stats), "seed {seed} {faults:?}");
    }
}

#[test]
fn different_seeds_differ() {
    let hashes: BTreeSet<u64> = (1..=5).map(|seed| run_seed(seed, None, false).trace_hash).collect();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn every_kind_of_fault_happens_and_nothing_breaks() {
    let mut total = Stats::default();
    for seed in 1..=100 {
        let outcome = run_seed(seed, None, false);
        good(&outcome);
        total.merge(&outcome.stats);
    }
    for fault in Fault::USUAL.iter().map(|(fault, _)| fault).chain(&[Fault::LostWrites]) {
        assert!(total.faults.contains_key(fault), "{fault:?} never happened");
    }
    let events = [
        "epoch ends certified",
        "membership changes applied",
        "snapshots installed",
        "certified blocks taken over",
        "nodes joined",
        "nodes retired",
        "elections won",
        "rotations",
        "transactions acknowledged",
        "reads answered",
        "transactions turned away",
        "hand-overs",
        "attachments found elsewhere",
        "contents handed out",
        "requests that opened nothing",
        "requests not answered any more",
        "records permitted in emergencies",
        "records permitted to patients",
        "queries",
        "records labelled",
        "records denied by label",
        "records permitted by label",
        "wraps added for readers",
        "wraps added by deputies",
        "wraps added for custody keys",
        "hospitals that left to a successor",
        "disclosures by two persons",
        "entries sealed",
        "petitions answered",
    ];
    for event in events {
        assert!(total.get(event) > 0, "never: {event}");
    }
}

/// A torn write needs a power cut in the middle of one, on a disk slow enough
/// to be in the middle of something.
#[test]
fn a_write_torn_by_a_power_cut_breaks_nothing() {
    let tears = |seed| {
        let outcome = run_swarm(seed, swarm_of(seed, &[Fault::PowerCut, Fault::SlowDisk]), None, false);
        good(&outcome);
        outcome.stats.faults.contains_key(&Fault::TornWrite)
    };
    assert!((1..=SEEDS_PER_TEAR_MAX).any(tears), "no write was torn");
}

#[test]
fn a_traitor_below_a_third_breaks_nothing() {
    for fault in Fault::BYZANTINE {
        let mut happened = 0;
        for seed in 1..=32 {
            // A traitor may never come to where it could do this: then there are more runs.
            if seed > 8 && happened > 0 {
                break;
            }
            let mut faults = vec![fault];
            // With other faults around it, and alone.
            if seed > 3 {
                faults.extend([Fault::Loss, Fault::Partition, Fault::PowerCut, Fault::Stake, Fault::Compaction]);
                // What is lost is asked for.
                faults.push(Fault::LoseAttachments);
            }
            let outcome = run_swarm(seed, swarm_of(seed, &faults), None, false);
            assert_eq!(outcome.violation, None, "{fault:?}, seed {seed}");
            happened += outcome.stats.faults.get(&fault).copied().unwrap_or(0);
        }
        assert!(happened > 0, "{fault:?} never happened");
    }
}

#[test]
fn a_double_signer_is_caught_and_jailed() {
    let mut caught = 0;
    for seed in 1..=5 {
        let outcome = run_swarm(seed, swarm_of(seed, &[Fault::DoubleSign]), None, false);
        good(&outcome);
        caught += u64::from(outcome.stats.get("evidence found") > 0);
    }
    assert!(caught >= 4, "evidence was found in {caught} of 5 runs");
}

#[test]
fn a_leader_that_gives_out_two_entries_is_proven_to_lie() {
    let proven = |seed| {
        let outcome = run_swarm(seed, swarm_of(seed, &[Fault::Equivocate]), None, false);
        good(&outcome);
        outcome.stats.get("splits proven") > 0
    };
    assert!((1..=8).any(proven));
}

/// Steps until a moment, without faults.
fn run_until(world: &mut World, end: u64) {
    while world.step(end) {
        if std::mem::take(&mut world.fault_due) {
            world.flush();
        }
    }
}

fn leader_of(world: &World) -> usize {
    let leads = |machine: &Machine| machine.node().is_some_and(|node| node.leads());
    world.machines.iter().position(leads).expect("somebody leads")
}

/// Heights that are certified in so much virtual time.
fn certified_in(world: &mut World, ms: u64) -> u64 {
    let before = world.env.oracle.highest();
    let end = world.env.now + ms;
    run_until(world, end);
    world.env.oracle.highest().0 - before.0
}

/// 200 ms a sync, for good: another one leads, and much the same is certified as before.
#[test]
fn a_leader_on_a_slow_disk_hands_over() {
    let mut handed_over = 0;
    for seed in 1..=9 {
        let asked = swarm_of(seed, &[]);
        let stakes = vec![100; asked.members as usize];
        let swarm = Swarm { rotation_blocks: 0, submit_pause: 30, first_nodes: 1, stakes, ..asked };
        let mut world = World::new(swarm, None, seed, Trace::new(false));
        run_until(&mut world, 6_000);
        let usual = certified_in(&mut world, 4_000);
        let slow = leader_of(&world);
        world.machines[slow].host.sync_ms = 200;
        let slowed = certified_in(&mut world, 4_000);
        run_until(&mut world, 20_000);
        assert_ne!(leader_of(&world), slow, "seed {seed}");
        assert!(world.env.stats.get("looks at a slow log") > 0, "seed {seed}");
        let recovered = certified_in(&mut world, 4_000);
        println!("seed {seed}: {usual} heights in 4 s, {slowed} on a slow disk, {recovered} after it");
        // How many blocks there are depends on what is asked for, and on how much of it comes together.
        assert!(recovered * 3 >= usual * 2, "seed {seed}: {recovered} of {usual}");
        assert_eq!(world.env.oracle.violation(), None, "seed {seed}");
        let times = world.env.stats.get("hand-overs for a slow log");
        assert!(times <= 1, "seed {seed}: once in a minute at most");
        handed_over += times;
    }
    // In the others the node lost its seat for the votes that came late, and with it the lead.
    assert!(handed_over >= 3, "{handed_over} of 9");
}

/// Where all are slow nobody is better, and leadership stays where it is.
#[test]
fn nobody_hands_over_where_all_disks_are_slow() {
    let swarm = Swarm { rotation_blocks: 0, ..swarm_of(1, &[]) };
    let mut world = World::new(swarm, None, 1, Trace::new(false));
    run_until(&mut world, 6_000);
    world.machines.iter_mut().for_each(|machine| machine.host.sync_ms = 200);
    run_until(&mut world, 30_000);
    assert_eq!(world.env.stats.get("hand-overs for a slow log"), 0);
    assert!(world.env.stats.get("looks at a slow log") > 0);
}

#[test]
fn a_busy_network_is_good() {
    for seed in 1..=3 {
        good(&run_swarm(seed, Swarm::busy(&mut Rng::new(seed)), None, false));
    }
}

fn found(bug: Bug) {
    for seed in 1..=SEEDS_PER_BUG_MAX {
        if let Some(violation) = run_seed(seed, Some(bug), false).violation {
            println!("{bug:?} was found by seed {seed}, as {}: {}", violation.invariant, violation.what);
            return;
        }
    }
    panic!("{bug:?} was not found in {SEEDS_PER_BUG_MAX} seeds");
}

macro_rules! bugs {
    ($($name:ident: $bug:ident,)*) => {
        /// One test for each, so that they run side by side.
        mod known_bug_is_found {
            use super::*;

            $(#[test]
            fn $name() {
                found(Bug::$bug);
            })*

            #[test]
            fn and_all_are_here() {
                let tested = [$(Bug::$bug),*];
                assert!(Bug::ALL.iter().all(|bug| tested.contains(bug)));
            }
        }
    };
}

bugs! {
    skip_vote_guard: SkipVoteGuard,
    ack_before_sync: AckBeforeSync,
    late_conf_change: LateConfChange,
    count_heads: CountHeads,
    stranger_message: StrangerMessage,
    reuse_raft_id: ReuseRaftId,
    vote_past_boundary: VotePastBoundary,
    new_set_early: NewSetEarly,
    membership_apart: MembershipApart,
    log_before_ledger: LogBeforeLedger,
    retired_at_once: RetiredAtOnce,
    distrust_forever: DistrustForever,
    void_blocks: VoidBlocks,
    stale_cache: StaleCache,
    certificate_lost_in_batch: CertificateLostInBatch,
    read_of_deposed_leader: ReadOfDeposedLeader,
    lost_with_leadership: LostWithLeadership,
    unbounded_queue: UnboundedQueue,
    time_unchecked: TimeUnchecked,
    repair_waits_for_itself: RepairWaitsForItself,
    grants_unchecked: GrantsUnchecked,
    commit_from_leader: CommitFromLeader,
    chain_unchecked: ChainUnchecked,
    membership_unchecked: MembershipUnchecked,
    missing_forgotten: MissingForgotten,
    found_unindexed: FoundUnindexed,
    rights_unwatched: RightsUnwatched,
    watermark_of_the_end: WatermarkOfTheEnd,
    release_at_ordered: ReleaseAtOrdered,
    own_staff_unlogged: OwnStaffUnlogged,
    stale_consents: StaleConsents,
    wrap_of_ended_emergency: WrapOfEndedEmergency,
    one_person_discloses: OnePersonDiscloses,
    disclosure_unlogged: DisclosureUnlogged,
    emergency_unlogged: EmergencyUnlogged,
    stale_units: StaleUnits,
    deputy_for_all: DeputyForAll,
    permit_of_unknown_label: PermitOfUnknownLabel,
    denial_of_known_label: DenialOfKnownLabel,
    accepted_until_left: AcceptedUntilLeft,
}
