//! Somebody with a node's real certificate says over the peer protocol whatever Raft would
//! believe: that it leads, that something is committed, who votes, that a term has passed.
//! Nobody listens, whether the node has no seat or its voter's key was stolen.

use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{Impostor, Load, Network, alarms, eventually_async, short_epochs};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;

/// The node of a member with too little stake; the others vote.
const SEATLESS: usize = 4;

async fn usurp(network: &Network, usurper: usize, honest: &[usize]) -> anyhow::Result<()> {
    let impostor = Impostor::with_keys_of(network, usurper)?;
    let client = network.enrolled(honest[0], Role::Service, &format!("against-{usurper}")).await?.client;
    let term = network.status(honest[0]).await?.term;
    network.nodes[usurper].pause()?;
    let load = Load::start(vec![client.clone()]);
    load.more(5).await?;
    let elected = client.election(None).await?.state.validators.context("no validators")?;
    let validators = ValidatorSet::try_from(&elected)?;
    for _ in 0..3 {
        for node in honest {
            let status = network.status(*node).await?;
            impostor.tell_raft(network, *node, &impostor.lies(&status)).await?;
            let mandate = impostor.own_mandate(&validators, status.term + 1)?;
            let proof = pb::peer_message::Message::Mandate(mandate);
            impostor.say(network, *node, vec![proof]).await?;
            impostor.tell_raft(network, *node, &impostor.lies(&status)).await?;
        }
        // It went on all the while, under a leader of its own.
        load.more(5).await?;
        assert_ne!(network.leader_of(honest).await?, usurper);
    }
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    network.agreed_among(honest, acks.last().map_or(0, |ack| ack.height)).await?;
    for node in honest {
        let status = network.status(*node).await?;
        assert_eq!(alarms(&status), vec![], "node {node}");
        assert_ne!(status.leader, network.nodes[usurper].raft_id());
        // Terms may move by themselves; it claimed some that are a thousand later.
        assert!(status.term < term + 100, "node {node} was moved from term {term} to {}", status.term);
    }
    network.nodes[usurper].resume()?;
    eventually_async("the node itself is heard again", Duration::from_secs(30), || async {
        network.agreed(acks.last().map_or(0, |ack| ack.height)).await.map(drop)
    })
    .await
}

#[test]
fn usurper() {
    let parameters = pb::Parameters { max_validators: 4, ..short_epochs(3_000) };
    Network::of(5).parameters(parameters).stakes([100, 100, 100, 100, 10]).run(async |network| {
        network.settled(&[0, 1, 2, 3]).await?;
        usurp(network, SEATLESS, &[0, 1, 2, 3]).await?;
        // Any voter but the one that leads.
        let leader = network.leader().await?;
        let voter = (leader + 1) % SEATLESS;
        let honest: Vec<usize> = (0..SEATLESS).filter(|node| *node != voter).collect();
        usurp(network, voter, &honest).await
    });
}
