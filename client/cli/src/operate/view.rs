//! What nodes say about themselves, for people and for scripts.

use std::collections::BTreeMap;

use consilium_proto::pb;
use serde::Serialize;

use crate::context::escaped;
use crate::governance::view::member_status;
use crate::text::{table, time_ms, time_s};
use crate::validators::jail_text;

/// Expiries that people are shown; scripts get all.
const EXPIRIES_SHOWN: usize = 5;

/// A node's answer, or why there is none.
#[derive(Serialize)]
pub(super) struct StatusView {
    pub(super) endpoint: String,
    /// Absent if there is an error.
    #[serde(flatten)]
    pub(super) node: Option<NodeView>,
    pub(super) error: Option<String>,
}

/// A node as it sees itself.
#[derive(Serialize)]
pub(super) struct NodeView {
    spiffe_id: String,
    raft_id: u64,
    raft_role: &'static str,
    leader: u64,
    term: u64,
    first_index: u64,
    last_index: u64,
    commit_index: u64,
    applied_index: u64,
    applied_height: u64,
    certified_height: u64,
    tree_size: u64,
    state_root: String,
    queued_transactions: u64,
    /// Of the next block.
    epoch: u64,
    epoch_ends: String,
    /// What the leader does about voters; empty elsewhere.
    reconciliation: String,
    certificate_not_after: String,
    /// Soonest first.
    expiries: Vec<ExpiryView>,
    /// From then on validators with a quorum no longer all have a certificate.
    quorum_lost: Option<String>,
    /// Newest first.
    member_cuts: Vec<MemberCutView>,
    software_version: String,
    peers: Vec<PeerView>,
    alarms: Vec<AlarmView>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct ExpiryView {
    not_after: String,
    subject: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct MemberCutView {
    member: String,
    height: u64,
    connections: u64,
    execution_to_cut_us: u64,
    /// Absent if the last connection was closed before the certificate was known.
    certified_to_cut_us: Option<u64>,
}

#[derive(Serialize)]
struct PeerView {
    raft_id: u64,
    spiffe_id: String,
    client_address: String,
    voter: bool,
    voting_power: u64,
    matched_index: u64,
    voted_height: u64,
    connected: bool,
    /// Why, if it is.
    jailed: Option<&'static str>,
    member_status: &'static str,
}

#[derive(Serialize)]
struct AlarmView {
    name: String,
    message: String,
    since: String,
}

impl StatusView {
    /// Where clients reach the nodes that this one knows.
    pub(super) fn peer_addresses(&self) -> Vec<String> {
        let peers = self.node.iter().flat_map(|node| &node.peers);
        peers.map(|peer| peer.client_address.clone()).filter(|address| !address.is_empty()).collect()
    }
}

impl NodeView {
    /// From the node's answer.
    pub(super) fn new(s: pb::GetStatusResponse) -> Self {
        Self {
            raft_role: raft_role(s.raft_role()),
            spiffe_id: s.spiffe_id,
            raft_id: s.raft_id,
            leader: s.leader,
            term: s.term,
            first_index: s.first_index,
            last_index: s.last_index,
            commit_index: s.commit_index,
            applied_index: s.applied_index,
            applied_height: s.applied_height,
            certified_height: s.certified_height,
            tree_size: s.tree_size,
            state_root: hex::encode(s.state_root),
            queued_transactions: s.queued_transactions,
            epoch: s.epoch,
            epoch_ends: time_ms(s.epoch_ends_ms),
            reconciliation: s.reconciliation,
            certificate_not_after: time_s(s.certificate_not_after_s),
            expiries: s.expiries.into_iter().map(expiry).collect(),
            quorum_lost: (s.quorum_lost_s != 0).then(|| time_s(s.quorum_lost_s)),
            member_cuts: s.member_cuts.into_iter().map(cut).collect(),
            software_version: s.software_version,
            peers: s.peers.into_iter().map(peer).collect(),
            alarms: s.alarms.into_iter().map(alarm).collect(),
        }
    }
}

fn raft_role(role: pb::RaftRole) -> &'static str {
    match role {
        pb::RaftRole::Unspecified => "",
        pb::RaftRole::Leader => "leader",
        pb::RaftRole::Follower => "follower",
        pb::RaftRole::Candidate => "candidate",
        pb::RaftRole::PreCandidate => "pre-candidate",
    }
}

fn expiry_kind(kind: pb::ExpiryKind) -> &'static str {
    match kind {
        pb::ExpiryKind::Unspecified => "unknown",
        pb::ExpiryKind::NodeCertificate => "node certificate",
        pb::ExpiryKind::CaCertificate => "ca certificate",
        pb::ExpiryKind::RevocationList => "revocation list",
    }
}

fn expiry(e: pb::ExpiryForecast) -> ExpiryView {
    ExpiryView { not_after: time_s(e.not_after_s), kind: expiry_kind(e.kind()), subject: e.subject }
}

fn cut(c: pb::MemberCut) -> MemberCutView {
    MemberCutView {
        member: c.member,
        height: c.height,
        connections: c.connections,
        execution_to_cut_us: c.execution_to_cut_us,
        certified_to_cut_us: Some(c.certified_to_cut_us).filter(|us| *us != 0),
    }
}

fn peer(p: pb::PeerStatus) -> PeerView {
    PeerView {
        jailed: jail_text(p.jailed()),
        member_status: member_status(p.member_status()),
        raft_id: p.raft_id,
        spiffe_id: p.spiffe_id,
        client_address: p.client_address,
        voter: p.voter,
        voting_power: p.voting_power,
        matched_index: p.matched_index,
        voted_height: p.voted_height,
        connected: p.connected,
    }
}

fn alarm(a: pb::Alarm) -> AlarmView {
    AlarmView { name: a.name, message: a.message, since: time_ms(a.since_ms) }
}

/// All answers as a table, and below it what the nodes agree on or complain of.
pub(super) fn describe(views: &[StatusView]) -> String {
    let head =
        ["ENDPOINT", "NODE", "ID", "ROLE", "LEADER", "TERM", "APPLIED", "CERTIFIED", "QUEUE", "VERSION", "ALARMS"];
    let rows = views.iter().map(|view| match &view.node {
        None => vec![view.endpoint.clone(), "no answer".into()],
        Some(node) => vec![
            view.endpoint.clone(),
            node.spiffe_id.clone(),
            node.raft_id.to_string(),
            node.raft_role.to_owned(),
            node.leader.to_string(),
            node.term.to_string(),
            node.applied_height.to_string(),
            node.certified_height.to_string(),
            node.queued_transactions.to_string(),
            node.software_version.clone(),
            node.alarms.len().to_string(),
        ],
    });
    let mut text = table(&head, rows);
    // The node that is furthest on knows best about what all share.
    if let Some(node) = views.iter().filter_map(|v| v.node.as_ref()).max_by_key(|n| n.certified_height) {
        text += &network_text(node);
    }
    for node in views.iter().filter_map(|v| v.node.as_ref()) {
        if !node.reconciliation.is_empty() {
            text += &format!("\nthe leader {}: {}", node.raft_id, escaped(&node.reconciliation));
        }
    }
    text += &cuts_text(views);
    for view in views {
        if let Some(error) = &view.error {
            text += &format!("\n{}", escaped(error));
        }
        for alarm in view.node.iter().flat_map(|node| &node.alarms) {
            let (name, message) = (escaped(&alarm.name), escaped(&alarm.message));
            text += &format!("\n{}: {name} since {}: {message}", view.endpoint, alarm.since);
        }
    }
    text
}

/// Epoch, validators in trouble, and what ends soon.
fn network_text(node: &NodeView) -> String {
    let mut text = format!("\nepoch {}, until {} at the latest", node.epoch, node.epoch_ends);
    for peer in &node.peers {
        let name = escaped(&peer.spiffe_id);
        if let Some(reason) = &peer.jailed {
            text += &format!("\njailed: {name} (raft id {}) for {reason}", peer.raft_id);
        }
        if peer.member_status != "active" {
            text += &format!("\n{}: {name} (raft id {})", peer.member_status, peer.raft_id);
        }
    }
    if let Some(date) = &node.quorum_lost {
        text += &format!("\nif nobody renews, certificates of a quorum end on {date}");
    }
    for e in node.expiries.iter().take(EXPIRIES_SHOWN) {
        text += &format!("\nends {}: {} of {}", e.not_after, e.kind, escaped(&e.subject));
    }
    text
}

/// Each suspension or removal once, with the slowest node's times.
fn cuts_text(views: &[StatusView]) -> String {
    let mut cuts: BTreeMap<(u64, &str), Vec<(&str, &MemberCutView)>> = BTreeMap::new();
    for view in views {
        for cut in view.node.iter().flat_map(|node| &node.member_cuts) {
            cuts.entry((cut.height, &cut.member)).or_default().push((&view.endpoint, cut));
        }
    }
    let mut text = String::new();
    for ((height, member), on_nodes) in cuts.iter().rev() {
        let connections: u64 = on_nodes.iter().map(|(_, cut)| cut.connections).sum();
        let (nodes, member) = (on_nodes.len(), escaped(member));
        text += &format!("\n{member} was cut off at height {height}: {connections} connections on {nodes} nodes");
        if let Some((endpoint, slowest)) = on_nodes.iter().max_by_key(|(_, cut)| cut.execution_to_cut_us) {
            text += &format!(
                "; the last closed {} after the block was executed ({endpoint})",
                microseconds(slowest.execution_to_cut_us)
            );
        }
        if let Some(slowest) = on_nodes.iter().filter_map(|(_, cut)| cut.certified_to_cut_us).max() {
            text += &format!(", {} after its certificate", microseconds(slowest));
        }
    }
    text
}

/// Milliseconds with three digits.
fn microseconds(us: u64) -> String {
    format!("{}.{:03} ms", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests {
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
        let kind = pb::ExpiryKind::CaCertificate.into();
        let expiry = pb::ExpiryForecast { subject: "c.example".into(), kind, not_after_s: 86_400 };
        pb::GetStatusResponse {
            raft_id: 1,
            certified_height: 9,
            epoch: 4,
            epoch_ends_ms: 60_000,
            reconciliation: "promotes 5, then demotes 3".into(),
            quorum_lost_s: 172_800,
            expiries: vec![expiry],
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
        StatusView { endpoint: endpoint.into(), node: Some(NodeView::new(status)), error: None }
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
    fn scripts_get_every_field_and_null_for_what_is_not_known() {
        let json = serde_json::to_value(view("a:1", status())).unwrap();
        assert_eq!(json["epoch"], 4);
        assert_eq!(json["quorum_lost"], "1970-01-03T00:00:00Z");
        assert_eq!(json["peers"][0]["jailed"], "missed votes");
        assert_eq!(json["member_cuts"][0]["certified_to_cut_us"], 56);
        let quiet = serde_json::to_value(view("a:1", pb::GetStatusResponse::default())).unwrap();
        assert!(quiet["quorum_lost"].is_null());
        let silent = StatusView { endpoint: "b:1".into(), node: None, error: Some("no answer\u{7}".into()) };
        assert!(describe(&[silent]).ends_with("no answer\\u{7}"));
    }
}
