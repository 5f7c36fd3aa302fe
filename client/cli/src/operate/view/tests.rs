#![allow(clippy::unwrap_used)]
use super::*;

fn status() -> pb::GetStatusResponse {
    let peer = pb::PeerStatus {
        raft_id: 3,
        spiffe_id: "spiffe://c.example/node/n1".into(),
        jailed: pb::JailReason::MissedVotes.into(),
        member_status: pb::MemberStatus::Suspended.into(),
        ..Default::default()
    };
    let expiry = pb::ExpiryForecast {
        subject: "c.example".into(),
        kind: pb::ExpiryKind::CaCertificate.into(),
        not_after_s: 86_400,
    };
    pb::GetStatusResponse {
        raft_id: 1,
        certified_height: 9,
        epoch: 4,
        epoch_ends_ms: 60_000,
        reconciliation: "promotes 5, then demotes 3".into(),
        quorum_lost_s: 172_800,
        expiries: vec![expiry],
        held: Some(pb::BlockHeld { made_ms: 1_700_000_000_000, since_ms: 1_700_000_000_040 }),
        member_cuts: vec![pb::MemberCut {
            member: "c.example".into(),
            height: 8,
            execution_to_cut_us: 1_234,
            certified_to_cut_us: 56,
            connections: 2,
        }],
        peers: vec![peer],
        ..Default::default()
    }
}

fn view(endpoint: &str, status: pb::GetStatusResponse) -> StatusView {
    StatusView { endpoint: endpoint.into(), node: Some(status), error: None }
}

#[test]
fn the_text_says_what_needs_attention_once() {
    let mut slower = status();
    slower.reconciliation.clear();
    slower.certified_height = 8;
    slower.member_cuts[0].execution_to_cut_us = 20_001;
    slower.member_cuts[0].certified_to_cut_us = 0;
    let text = describe(&[view("a:1", status()), view("b:1", slower)]);
    let below: Vec<&str> = text.lines().skip(3).filter(|line| !line.is_empty()).collect();
    let expected = [
        "epoch 4, until 1970-01-01T00:01:00Z at the latest",
        "jailed: spiffe://c.example/node/n1 (raft id 3) for missed votes",
        "suspended: spiffe://c.example/node/n1 (raft id 3)",
        "if nobody renews, certificates of a quorum end on 1970-01-03T00:00:00Z",
        "ends 1970-01-02T00:00:00Z: ca certificate of c.example",
        "the leader 1: promotes 5, then demotes 3",
        "c.example was cut off at height 8: 4 connections on 2 nodes; the last closed 20.001 ms after the block \
         was executed (b:1), 0.056 ms after its certificate",
    ];
    assert_eq!(below, expected);
}

#[test]
fn what_a_node_that_is_silent_left_behind_is_harmless() {
    let silent = StatusView { endpoint: "b:1".into(), node: None, error: Some("no answer\u{7}".into()) };
    assert!(describe(&[silent]).ends_with("no answer\\u{7}"));
}

#[test]
fn scripts_get_the_status_as_nodes_send_it() {
    let silent = StatusView { endpoint: "b:1".into(), node: None, error: Some("no answer in time".into()) };
    json::snapshot::check("status", &[view("a:1", status()), silent]);
}
