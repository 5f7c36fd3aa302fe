//! A site outage, after which one disk is an older copy of itself: nobody is up who could
//! tell the node at its start what it has signed since.

use std::fs;

use consilium_e2e::{Load, Network, TestResult, copy_tree, nothing_lost};
use consilium_proto::names::Role;

async fn newest_vote(network: &Network, node: usize) -> anyhow::Result<u64> {
    let (status, raft_id) = (network.status(node).await?, network.nodes[node].raft_id());
    Ok(status.peers.iter().find(|peer| peer.raft_id == raft_id).map_or(0, |peer| peer.voted_height))
}

/// Ends all nodes, and brings them back together with the older copy of one disk. `kill` says
/// whether they had the time to end in order.
async fn outage(network: &mut Network, kill: bool) -> TestResult {
    let user = network.enrolled(0, Role::Service, "ehr").await?;
    let back = network.follower().await?;
    let copy = network.folder().join("older-copy");
    let remembered = newest_vote(network, back).await?;
    network.nodes[back].stop()?;
    copy_tree(&network.nodes[back].data_dir, &copy)?;
    network.nodes[back].restart()?;

    let load = Load::start(vec![user.client.clone(); 2]);
    load.more(30).await?;
    let (mut all, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    let newest = all.iter().map(|ack| ack.height).max().unwrap_or_default();
    network.agreed(newest).await?;
    let voted = newest_vote(network, back).await?;
    assert!(voted > remembered, "it voted for {remembered}, and then for {voted}: nothing would be forgotten");

    for node in &mut network.nodes {
        if kill { node.kill9()? } else { node.stop()? }
    }
    fs::remove_dir_all(&network.nodes[back].data_dir)?;
    copy_tree(&copy, &network.nodes[back].data_dir)?;
    network.nodes.iter_mut().try_for_each(consilium_e2e::Node::start)?;

    // It finds out when the others can be asked, and neither votes nor serves any more.
    let node = &mut network.nodes[back];
    let exit = node.wait_end();
    assert_eq!(exit.map_err(|e| format!("{e:#}\n{}", node.log_tail())).unwrap().code(), Some(1));
    assert!(node.log_contains(&["disk", "rolled back"]), "{}", node.log_tail());

    // The others are enough, and have everything.
    network.nodes.iter_mut().filter(|node| node.index != back).try_for_each(consilium_e2e::Node::wait_ready)?;
    let load = Load::start(vec![user.client.clone(); 2]);
    load.more(20).await?;
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    all.extend(acks);
    nothing_lost(network, &user, &all).await?;
    for node in network.running() {
        let alarms = network.status(node).await?.alarms;
        assert!(!alarms.iter().any(|alarm| alarm.name == "equivocation"), "node {node}: {alarms:?}");
    }
    Ok(())
}

#[test]
fn rolled_back_after_site_outage() {
    Network::of(4).run(async |network| outage(network, true).await);
}

#[test]
fn rolled_back_while_all_were_stopped() {
    Network::of(4).run(async |network| outage(network, false).await);
}
