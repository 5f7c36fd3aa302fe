//! Everything at once: loss, duplicates, reordering, crashes, partitions, compaction,
//! membership; then peace, and progress. The oracle watches throughout.

use consilium_consensus::MembershipChange;

use crate::cluster::{Cluster, id};

/// Proposes at whoever believes to lead; the outcome does not matter here.
fn propose(cluster: &mut Cluster, data: &str) {
    if let Some(leader) = cluster.leader() {
        let _ = cluster.core(leader).propose(data.to_owned().into());
        cluster.pump(leader);
    }
}

fn disturb(cluster: &mut Cluster) {
    let everyone = cluster.everyone();
    let victim = everyone[cluster.rng.below(everyone.len() as u64) as usize];
    match cluster.rng.below(8) {
        0 | 1 if cluster.is_up(victim) => cluster.crash(victim),
        0..=2 if !cluster.is_up(victim) => cluster.start(victim),
        3 => cluster.net.links.isolate(victim, &everyone),
        4 => cluster.net.links.heal(),
        5 if cluster.is_up(victim) => cluster.compact(victim),
        6 => {
            if let Some(leader) = cluster.leader() {
                let _ = cluster.core(leader).transfer_leadership(None);
                cluster.pump(leader);
            }
        }
        7 => {
            if let Some(leader) = cluster.leader() {
                let change = match cluster.rng.below(3) {
                    0 => vec![MembershipChange::AddLearner(victim)],
                    1 => vec![MembershipChange::AddVoter(victim)],
                    _ => everyone.iter().map(|node| MembershipChange::AddVoter(*node)).collect(),
                };
                let _ = cluster.core(leader).propose_membership(&change);
                cluster.pump(leader);
            }
        }
        _ => {}
    }
}

/// Runs one seed; returns how many commands were committed.
fn run(seed: u64) -> usize {
    println!("seed {seed}; replay: CONSILIUM_SEED={seed} cargo nextest run -p consilium-consensus safe_and_live");
    let mut cluster = Cluster::with_config(5, seed, |config| {
        config.cache_bytes_max = 200;
        config.snapshot_ticks_max = 40;
    });
    cluster.net.links.loss_per_mille = 50;
    cluster.net.links.duplicate_per_mille = 50;
    cluster.net.links.latency_max = 15;
    cluster.write_steps_max = 20;
    for i in 0..60 {
        propose(&mut cluster, &format!("{i}"));
        let ticks = 1 + cluster.rng.below(25);
        cluster.ticks(ticks);
        disturb(&mut cluster);
    }
    // Peace: all faults end, and the group has to make progress (I20).
    cluster.net.links.heal();
    cluster.net.links.loss_per_mille = 0;
    cluster.net.links.duplicate_per_mille = 0;
    for node in cluster.everyone() {
        if !cluster.is_up(node) {
            cluster.start(node);
        }
    }
    cluster.ticks(200);
    let everyone = cluster.everyone();
    cluster.until(600, "no progress after the faults", |cluster| {
        let Some(leader) = cluster.leader() else { return false };
        let leader = cluster.machine(leader);
        if leader.last().is_none_or(|last| last != "peace") {
            propose(cluster, "peace");
            cluster.ticks(10);
            return false;
        }
        everyone.iter().all(|node| cluster.machine(*node) == leader)
    });
    cluster.machine(id(1)).len()
}

#[test]
fn safe_and_live_under_faults() {
    let seeds = match std::env::var("CONSILIUM_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..200,
    };
    let count = seeds.clone().count();
    let committed: usize = seeds.map(run).sum();
    // A run in which nothing happens proves nothing.
    assert!(count == 1 || committed > 10 * count, "{committed} commands in {count} runs");
}
