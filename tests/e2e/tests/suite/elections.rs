//! Elections move seats, Raft follows, and nobody who writes meanwhile notices
//! more than a pause.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use consilium_e2e::{Load, Network, User, eventually, eventually_async, longest_pause, nothing_lost, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(60);
/// No one promises a pause; a minute would be a standstill.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Five nodes for four seats.
fn four_seats() -> pb::Parameters {
    pb::Parameters { max_validators: 4, ..short_epochs(1_500) }
}

/// The stake of a member all goes from one node to another.
async fn move_stake(admin: &User, from: u64, to: u64) -> anyhow::Result<()> {
    admin.client.redelegate(from, to, 100).await?;
    Ok(())
}

#[test]
fn seats_move_back_and_forth_under_load_and_nothing_is_lost() {
    Network::of(5).parameters(four_seats()).run(async |network| {
        let admin = network.enrolled(0, Role::Admin, "admin").await?;
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        network.settled(&[0, 1, 2, 3]).await?;
        let load = Load::start(vec![user.client.clone(); 3]);
        load.more(20).await?;
        let first = network.epoch().await?;
        for _round in 0..3 {
            move_stake(&admin, 1, 5).await?;
            network.settled(&[1, 2, 3, 4]).await?;
            let out = admin.client.election(None).await?.state;
            let node = |raft_id| out.candidates.iter().find(|c| c.node == raft_id).unwrap();
            assert_eq!(node(1).reason(), pb::NotSeatedReason::BelowMinSelfDelegation, "{out:?}");
            assert!(node(5).power > 0 && node(5).stake == 200, "{out:?}");
            load.more(10).await?;
            move_stake(&admin, 5, 1).await?;
            network.settled(&[0, 1, 2, 3]).await?;
            let back = admin.client.election(None).await?.state;
            let fifth = back.candidates.iter().find(|c| c.node == 5).unwrap();
            assert_eq!(fifth.reason(), pb::NotSeatedReason::Outranked, "{back:?}");
            load.more(10).await?;
        }
        let epochs = network.epoch().await? - first;
        let (acks, failures) = load.finish().await?;
        println!("{} writes over {epochs} epochs; longest pause {:?}", acks.len(), longest_pause(&acks));
        assert_eq!(failures, Vec::<String>::new());
        assert!(epochs >= 6, "{epochs} epochs");
        assert!(longest_pause(&acks) < PAUSE_MAX);
        nothing_lost(network, &user, &acks).await
    });
}

/// Watches the ends of some logs without a pause; which one gets a line with a
/// text first.
fn first_to_say(mut logs: Vec<File>, text: &str) -> anyhow::Result<usize> {
    let (mut seen, start) = (vec![String::new(); logs.len()], Instant::now());
    while start.elapsed() < PATIENCE {
        for (index, log) in logs.iter_mut().enumerate() {
            log.read_to_string(&mut seen[index])?;
            if seen[index].contains(text) {
                return Ok(index);
            }
        }
        std::thread::yield_now();
    }
    anyhow::bail!("no line with {text:?}")
}

fn at_the_end(path: &Path) -> anyhow::Result<File> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

#[test]
fn a_leader_killed_in_the_middle_of_a_membership_change_leaves_it_to_the_next() {
    Network::of(5).parameters(four_seats()).run(async |network| {
        let admin = network.enrolled(2, Role::Admin, "admin").await?;
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        network.settled(&[0, 1, 2, 3]).await?;
        let load = Load::start(vec![user.client.clone(); 2]);
        load.more(10).await?;
        // The stake of the third member carries the third or the fifth node
        // into the seats; whoever leads dies as soon as it changes voters.
        for (from, to, then) in [(3, 5, [0, 1, 3, 4]), (5, 3, [0, 1, 2, 3]), (3, 5, [0, 1, 3, 4])] {
            let logs = network.nodes.iter().map(|n| at_the_end(&n.log)).collect::<Result<Vec<_>, _>>()?;
            let watching = std::thread::spawn(move || first_to_say(logs, "changing the membership"));
            admin.client.redelegate(from, to, 100).await?;
            // Killed at once: no time for a round of questions to the runtime.
            let leader = tokio::task::spawn_blocking(move || watching.join().unwrap()).await??;
            network.nodes[leader].kill9()?;
            load.more(10).await?;
            network.nodes[leader].restart()?;
            network.settled(&then).await?;
        }
        let (acks, failures) = load.finish().await?;
        println!("{} writes; longest pause {:?}", acks.len(), longest_pause(&acks));
        assert_eq!(failures, Vec::<String>::new());
        assert!(longest_pause(&acks) < PAUSE_MAX);
        nothing_lost(network, &user, &acks).await
    });
}

#[test]
fn a_leader_that_loses_its_seat_hands_over_first() {
    // Elections take at least five seconds here: whoever leads sooner was asked to.
    let slow = "tick = \"50ms\"\nelection_ticks = 100";
    Network::of(5).raft(slow).parameters(four_seats()).run(async |network| {
        let admins = network.admins().await?;
        let user = network.enrolled(1, Role::Service, "ehr").await?;
        let leader = network.with_raft_id(network.settled(&[0, 1, 2, 3]).await?.leader).unwrap();
        let load = Load::start(vec![user.client.clone(); 3]);
        load.more(10).await?;
        let term = network.status(leader).await?.term;
        move_stake(&admins[leader], network.nodes[leader].raft_id(), 5).await?;
        let mut seated: Vec<usize> = (0..4).filter(|n| *n != leader).collect();
        seated.push(4);
        let status = network.settled(&seated).await?;
        load.more(10).await?;
        assert_ne!(status.leader, network.nodes[leader].raft_id());
        assert!(status.term <= term + 2, "{} to {}: more than a hand-over", term, status.term);
        eventually("the old leader's word", PATIENCE, || {
            let said = network.nodes[leader].log_contains(&["handing leadership over"]);
            if said { Ok(()) } else { Err("not said") }
        })?;
        let (acks, failures) = load.finish().await?;
        println!("hand-over of a leader without a seat: longest pause {:?}", longest_pause(&acks));
        assert_eq!(failures, Vec::<String>::new());
        assert!(longest_pause(&acks) < Duration::from_secs(4), "leaderless: an election, not a hand-over");
        Ok(())
    });
}

#[test]
fn leadership_goes_round() {
    let parameters = pb::Parameters { rotation_blocks: 40, ..short_epochs(60_000) };
    let slow = "tick = \"50ms\"\nelection_ticks = 60";
    Network::of(4).raft(slow).parameters(parameters).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let load = Load::start(vec![user.client.clone(); 2]);
        let mut led = BTreeSet::new();
        for _ in 0..4 {
            let leader = network.leader().await?;
            led.insert(leader);
            eventually_async("the next leader", PATIENCE, || async {
                let now = network.status(leader).await?.leader;
                anyhow::ensure!(now != 0 && now != network.nodes[leader].raft_id(), "{now} leads");
                Ok(())
            })
            .await?;
        }
        led.insert(network.leader().await?);
        let (acks, failures) = load.finish().await?;
        println!("rotation over {led:?}: longest pause {:?}", longest_pause(&acks));
        assert_eq!(led.len(), 4, "{led:?}");
        assert_eq!(failures, Vec::<String>::new());
        assert!(longest_pause(&acks) < Duration::from_secs(3), "leaderless: an election, not a hand-over");
        Ok(())
    });
}
