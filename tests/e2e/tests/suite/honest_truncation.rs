//! A later leader cuts away what only one honest node has in its log. That node once voted
//! with the longer log; it is started all the same, as often as it takes.

use std::time::Duration;

use consilium_e2e::{Load, Network, User, eventually_async, nothing_lost, record, submit_raw};
use consilium_proto::names::Role;
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(60);
/// Elections take five seconds and more: time to arrange what must happen before one.
const SLOW_ELECTIONS: &str = "election_ticks = 100\nblocks_in_flight = 16";
/// More entries than two elections add.
const ENTRIES: u64 = 8;

/// Hands a transaction to a node, and waits until its log is longer for it. Nobody waits
/// for the outcome.
async fn lengthen_log(network: &Network, user: &User, node: usize) -> anyhow::Result<u64> {
    let before = network.status(node).await?.last_index;
    let transaction = record(&user.client, "patient", b"{}")?.sign(&user.client)?;
    tokio::spawn(submit_raw(user.channel(&network.nodes[node])?, transaction));
    eventually_async("a longer log", PATIENCE, || async {
        let status = network.status(node).await?;
        anyhow::ensure!(status.last_index > before, "it ends at {before}, role {:?}", status.raft_role());
        Ok(status.last_index)
    })
    .await
}

fn voted_by(status: &pb::GetStatusResponse, raft_id: u64) -> u64 {
    status.peers.iter().find(|peer| peer.raft_id == raft_id).map_or(0, |peer| peer.voted_height)
}

/// The leader votes on a block while its log goes on behind it with entries that nobody
/// else has, and is killed. Answers with the height, and with where its log ends.
async fn vote_with_a_longer_log(network: &mut Network, user: &User, leader: usize) -> anyhow::Result<(u64, u64)> {
    let others: Vec<usize> = (0..4).filter(|node| *node != leader).collect();
    let height = network.agreed(1).await?.0 + 1;
    // It hears of no acknowledgement, so that it does not execute the block that all others do.
    others.iter().for_each(|node| network.links().cut_one_way(*node, leader));
    lengthen_log(network, user, leader).await?;
    network.agreed_among(&others, height).await?;
    network.links().isolate(&[leader]);
    let mut last = 0;
    for _ in 0..ENTRIES {
        last = lengthen_log(network, user, leader).await?;
    }
    // Now it hears of them.
    others.iter().for_each(|node| network.links().heal_one_way(*node, leader));
    let raft_id = network.nodes[leader].raft_id();
    eventually_async("its vote", PATIENCE, || async {
        let status = network.status(leader).await?;
        let voted = voted_by(&status, raft_id);
        anyhow::ensure!(voted == height && status.last_index == last, "voted {voted}, log to {}", status.last_index);
        Ok(())
    })
    .await?;
    network.nodes[leader].kill9()?;
    network.links().isolate(&[leader]);
    Ok((height, last))
}

/// Waits until a node's log ends where the leader's does, and answers with that.
async fn log_follows(network: &Network, node: usize, leader: usize) -> anyhow::Result<u64> {
    eventually_async("the leader's log", PATIENCE, || async {
        let (own, leading) = (network.status(node).await?, network.status(leader).await?);
        let same = own.last_index == leading.last_index && own.term == leading.term;
        anyhow::ensure!(same && own.commit_index == own.last_index, "{} of {}", own.last_index, leading.last_index);
        Ok(own.last_index)
    })
    .await
}

#[test]
fn honest_truncation() {
    Network::of(4).with_links().raft(SLOW_ELECTIONS).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let cut = network.leader().await?;
        let others: Vec<usize> = (0..4).filter(|node| *node != cut).collect();
        let (height, long) = vote_with_a_longer_log(network, &user, cut).await?;

        // Alone it starts with what it had.
        network.nodes[cut].start()?;
        eventually_async("its own log", PATIENCE, || async {
            let last = network.status(cut).await?.last_index;
            anyhow::ensure!(last == long, "the log ends at {last}, not at {long}");
            Ok(())
        })
        .await?;
        network.nodes[cut].kill9()?;

        // Nobody writes anything: the new leader's log stays short.
        let leader = network.leader_of(&others).await?;
        // A leader whose first entry the others do not hold yet could lose its office to the longer log.
        for node in others.iter().filter(|node| **node != leader) {
            log_follows(network, *node, leader).await?;
        }
        network.links().heal();
        for moment in 0..3 {
            network.nodes[cut].start()?;
            if moment > 0 {
                eventually_async("an answer", PATIENCE, || network.status(cut)).await?;
            }
            network.nodes[cut].kill9()?;
        }
        network.nodes[cut].restart()?;
        let short = log_follows(network, cut, leader).await?;
        println!("the log ended at {long} when the node voted for block {height}; it was cut to {short}");
        assert!(short < long, "nothing was cut: the log ended at {long}, and ends at {short}");

        // It has voted on nothing since, so its newest vote speaks of the longer log.
        for _start in 0..2 {
            network.nodes[cut].kill9()?;
            network.nodes[cut].restart()?;
            network.agreed(height).await?;
            assert!(network.status(cut).await?.last_index < long);
        }
        assert_eq!(network.agreed(height).await?.0, height);
        assert_eq!(network.status(cut).await?.alarms, vec![]);

        // It takes part: with another node away, its vote is needed.
        let away = others.into_iter().find(|node| *node != leader);
        network.nodes[away.unwrap()].kill9()?;
        let load = Load::start(vec![user.client.clone()]);
        load.more(10).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        network.nodes[away.unwrap()].restart()?;
        nothing_lost(network, &user, &acks).await
    });
}
