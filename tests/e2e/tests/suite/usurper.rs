//! Somebody with a node's real certificate says over the peer protocol whatever Raft would
//! believe: that it leads, that something is committed, who votes, that a term has passed.
//! Nobody listens, whether the node has no seat or its voter's key was stolen.

use std::time::Duration;

use anyhow::Context;
use consilium_e2e::{
    Impostor, Load, Network, RaftConfState, RaftEntry, RaftMessage, RaftSnapshot, RaftSnapshotMetadata,
    eventually_async, short_epochs,
};
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::validators::ValidatorSet;

const APPEND: i32 = 3;
const APPEND_RESPONSE: i32 = 4;
const REQUEST_VOTE: i32 = 5;
const VOTE_RESPONSE: i32 = 6;
const SNAPSHOT: i32 = 7;
const HEARTBEAT: i32 = 8;
const HEARTBEAT_RESPONSE: i32 = 9;
const TIMEOUT_NOW: i32 = 14;
/// The node of a member with too little stake; the others vote.
const SEATLESS: usize = 4;

/// What a usurper could say to a node that is where `status` shows.
fn lies(status: &pb::GetStatusResponse, me: u64) -> Vec<RaftMessage> {
    let (index, term) = (status.last_index, status.term);
    let claims = |msg_type, term| RaftMessage { msg_type, term, ..RaftMessage::default() };
    let entry = |entry_type, term, data: &[u8]| RaftEntry { entry_type, term, index: index + 1, data: data.to_vec() };
    let append = |claimed, entry| RaftMessage {
        log_term: term,
        index,
        entries: vec![entry],
        commit: index + 1,
        ..claims(APPEND, claimed)
    };
    // ConfChangeV2: change { type: AddNode, node_id: me }, change { type: RemoveNode, node_id: 1 }.
    let capture = [0x12, 0x04, 0x08, 0x00, 0x10, me as u8, 0x12, 0x04, 0x08, 0x01, 0x10, 0x01];
    let membership = RaftConfState { voters: vec![me], learners: (1..=5).filter(|id| *id != me).collect() };
    let metadata = RaftSnapshotMetadata { conf_state: Some(membership), index: index + 1_000, term: term + 3 };
    let forced = |context: &[u8]| RaftMessage {
        log_term: term,
        index: index + 1_000,
        context: context.to_vec(),
        ..claims(REQUEST_VOTE, term + 5)
    };
    vec![
        claims(HEARTBEAT, term + 1),
        claims(HEARTBEAT, term),
        RaftMessage { commit: index, ..claims(HEARTBEAT, term + 1) },
        append(term + 1, entry(0, term + 1, b"")),
        append(term + 1, entry(0, term, b"planted")),
        append(term, entry(0, term, b"planted")),
        append(term + 2, entry(2, term + 2, &capture)),
        RaftMessage { snapshot: Some(RaftSnapshot { metadata: Some(metadata) }), ..claims(SNAPSHOT, term + 3) },
        claims(APPEND_RESPONSE, term + 7),
        claims(HEARTBEAT_RESPONSE, term + 7),
        claims(VOTE_RESPONSE, term + 7),
        forced(b""),
        forced(b"CampaignTransfer"),
        forced(&[7; 80]),
        RaftMessage { context: vec![7; 64], ..claims(TIMEOUT_NOW, term) },
        claims(HEARTBEAT, term + 1_000),
    ]
}

async fn usurp(network: &Network, usurper: usize, honest: &[usize]) -> anyhow::Result<()> {
    let impostor = Impostor::with_keys_of(network, usurper)?;
    let client = network.enrolled(honest[0], Role::Service, &format!("against-{usurper}")).await?.client;
    let leader = network.leader_of(honest).await?;
    network.nodes[usurper].pause()?;
    let load = Load::start(vec![client.clone()]);
    load.more(5).await?;
    let elected = client.election(None).await?.state.validators.context("no validators")?;
    let validators = ValidatorSet::try_from(&elected)?;
    for _ in 0..3 {
        for node in honest {
            let status = network.status(*node).await?;
            let me = network.nodes[usurper].raft_id();
            impostor.tell_raft(network, *node, &lies(&status, me)).await?;
            let mandate = impostor.own_mandate(&validators, status.term + 1)?;
            let proof = pb::peer_message::Message::Mandate(mandate);
            impostor.say(network, *node, vec![proof]).await?;
            impostor.tell_raft(network, *node, &lies(&status, me)).await?;
        }
        // It went on all the while, under the same leader.
        load.more(5).await?;
        assert_eq!(network.leader_of(honest).await?, leader);
    }
    let (acks, failures) = load.finish().await?;
    assert_eq!(failures, Vec::<String>::new());
    network.agreed_among(honest, acks.last().map_or(0, |ack| ack.height)).await?;
    for node in honest {
        let status = network.status(*node).await?;
        assert_eq!(status.alarms, vec![], "node {node}");
        assert_eq!(status.leader, network.nodes[leader].raft_id());
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
        let term = network.status(0).await?.term;
        usurp(network, SEATLESS, &[0, 1, 2, 3]).await?;
        for node in 0..SEATLESS {
            assert_eq!(network.status(node).await?.term, term, "a node without a seat moved a term");
        }
        // Any voter but the one that leads.
        let leader = network.leader().await?;
        let voter = (leader + 1) % SEATLESS;
        let honest: Vec<usize> = (0..SEATLESS).filter(|node| *node != voter).collect();
        usurp(network, voter, &honest).await
    });
}
