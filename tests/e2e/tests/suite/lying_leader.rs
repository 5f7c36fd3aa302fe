//! A member whose node was really elected, with the others' grants, and then lies: whatever
//! it says, the chain of the others never forks, nothing certified is lost, and they go on
//! under another leader. How long that took is told.

use std::time::{Duration, Instant};

use anyhow::Context;
use consilium_e2e::{
    Ack, Lie, Load, Network, TestResult, User, eventually_async, headers_at, longest_pause, nothing_lost_among,
};
use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::header::Header;
use consilium_proto::names::Role;
use consilium_proto::pb;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_S: i64 = 3_600;
const TRAITOR: usize = 1;
const HONEST: [usize; 3] = [0, 2, 3];

/// Longer than a node remembers what it heard of a clock, and than a leader is followed before it
/// can be late: the tolerance of this network, and ten seconds.
const FORGOTTEN_MS: u64 = 20_000;

/// What must become of a leader that lies.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Another one leads.
    Replaced,
    /// It may go on leading: nobody listens to that lie.
    Either,
}

/// Has the traitor elected, by a hand-over of whoever leads.
async fn elect(network: &Network) -> anyhow::Result<()> {
    let traitor = network.nodes[TRAITOR].raft_id();
    let mut operators = Vec::new();
    for member in 0..network.members.len() {
        operators.push(network.user(member, Role::Admin, "operator").await?);
    }
    eventually_async("the traitor in the lead", PATIENCE, || async {
        let leader = network.leader().await?;
        if leader == TRAITOR {
            return Ok(());
        }
        let channel = operators[leader].channel(&network.nodes[leader])?;
        let request = pb::TransferLeadershipRequest { to: traitor };
        OperatorServiceClient::new(channel).transfer_leadership(request).await?;
        anyhow::bail!("{leader} leads")
    })
    .await
}

/// The certified chains of the honest, which are one.
async fn one_chain(network: &Network, user: &User) -> anyhow::Result<Vec<Header>> {
    let mut chains: Vec<Vec<Header>> = Vec::new();
    for node in HONEST {
        chains.push(headers_at(user.channel(&network.nodes[node])?).await?);
    }
    let common = chains.iter().map(Vec::len).min().unwrap_or_default();
    chains.iter_mut().for_each(|chain| chain.truncate(common));
    anyhow::ensure!(chains.windows(2).all(|pair| pair[0] == pair[1]), "the honest have different chains");
    for pair in chains[0].windows(2) {
        anyhow::ensure!(pair[1].previous_hash == pair[0].hash(), "a broken chain at {}", pair[1].height);
    }
    Ok(chains.swap_remove(0))
}

/// From the lie to the first certified transaction in a block of somebody else.
fn time_to_replace(acks: &[Ack], chain: &[Header], traitor: u64, since: Instant) -> Option<Duration> {
    let proposer = |ack: &&Ack| chain.iter().find(|h| h.height.0 == ack.height).map(|header| header.proposer.0);
    let after = acks.iter().filter(|ack| ack.at > since && proposer(ack).is_some_and(|node| node != traitor));
    after.map(|ack| ack.at - since).min()
}

/// Until a node that hears of no clock any more knows nothing of those of the others, and these have
/// followed it for so long that they look at how late its blocks are.
async fn forgets_clocks(network: &Network, user: &User) -> anyhow::Result<()> {
    let time = async || {
        let newest = one_chain(network, user).await?.pop().context("a block")?;
        anyhow::Ok(newest.time.0)
    };
    let from = time().await?;
    eventually_async("all clocks forgotten", PATIENCE, || async {
        anyhow::ensure!(time().await? > from + FORGOTTEN_MS, "it remembers them");
        Ok(())
    })
    .await
}

async fn tell_alarms(network: &Network, lie: Lie) -> TestResult {
    for node in HONEST {
        let alarms = network.status(node).await?.alarms;
        println!("{lie:?}: alarms of node {node}: {alarms:?}");
    }
    Ok(())
}

fn lying_leader(lie: Lie, fate: Fate) {
    Network::of(4).with_clocks().with_traitor(TRAITOR).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        elect(network).await?;
        let mut clients = Vec::new();
        for node in HONEST {
            clients.push(user.at(&network.nodes[node]).await?);
        }
        let load = Load::start(clients);
        load.more(30).await?;
        let traitor = network.nodes[TRAITOR].raft_id();
        assert_eq!(network.leader().await?, TRAITOR, "it leads before it lies");
        network.traitor().lie(lie);
        if lie == Lie::DeafToClocks {
            forgets_clocks(network, &user).await?;
            // Its certificates are valid since an hour ago.
            network.nodes[TRAITOR].clock()?.set(-HOUR_S / 2)?;
        }
        let since = Instant::now();
        load.more(30).await?;
        if fate == Fate::Replaced {
            eventually_async("another leader", PATIENCE, || async {
                let leader = network.leader_of(&HONEST).await?;
                anyhow::ensure!(leader != TRAITOR, "the traitor leads");
                Ok(())
            })
            .await?;
            load.more(30).await?;
        }
        let leader = network.status(HONEST[0]).await?.leader;
        // Whatever it does in the end, it falls silent.
        network.traitor().lie(Lie::Silence);
        let silent = Instant::now();
        load.more(10).await?;
        let (acks, failures) = load.finish().await?;
        assert_eq!(failures, Vec::<String>::new());
        nothing_lost_among(network, &HONEST, &user, &acks).await?;
        let chain = one_chain(network, &user).await?;
        let replaced = time_to_replace(&acks, &chain, traitor, since);
        println!("{lie:?}: certified under another leader after {replaced:?}; then raft id {leader} led");
        let replaced = time_to_replace(&acks, &chain, traitor, silent);
        println!("{lie:?}, then silence: certified under another leader after {replaced:?}");
        println!("{lie:?}: longest time without a certified transaction: {:?}", longest_pause(&acks));
        let back = chain.windows(2).filter(|pair| pair[1].time < pair[0].time).count();
        assert_eq!(back, 0, "the ledger's time went back");
        assert!(replaced.is_some(), "nobody else led");
        tell_alarms(network, lie).await
    });
}

#[test]
fn lying_leader_tells_half_of_the_others_another_log() {
    lying_leader(Lie::Fork, Fate::Replaced);
}

#[test]
fn lying_leader_tells_everybody_another_log() {
    lying_leader(Lie::ForkAll, Fate::Replaced);
}

#[test]
fn lying_leader_proposes_what_is_no_block() {
    lying_leader(Lie::Garbage, Fate::Replaced);
}

#[test]
fn lying_leader_proposes_what_cannot_be_read() {
    lying_leader(Lie::Garble, Fate::Either);
}

#[test]
fn lying_leader_dates_blocks_ahead() {
    lying_leader(Lie::DateAhead, Fate::Replaced);
}

#[test]
fn lying_leader_dates_blocks_back() {
    lying_leader(Lie::DateBack, Fate::Replaced);
}

#[test]
fn lying_leader_is_deaf_to_clocks() {
    lying_leader(Lie::DeafToClocks, Fate::Replaced);
}

#[test]
fn lying_leader_claims_that_all_is_committed() {
    lying_leader(Lie::ClaimCommit, Fate::Either);
}

#[test]
fn lying_leader_falls_silent() {
    lying_leader(Lie::Silence, Fate::Replaced);
}
