//! What nodes say about themselves, for people and for scripts.

use std::collections::BTreeMap;

use consilium_proto::pb;
use serde::Serialize;

use crate::context::escaped;
use crate::governance::view::member_status;
use crate::json;
use crate::text::{table, time_ms, time_s};
use crate::validators::jail_text;

/// Expiries that people are shown; scripts get all.
const EXPIRIES_SHOWN: usize = 5;

/// A node's answer, or why there is none.
#[derive(Serialize)]
pub(super) struct StatusView {
    pub(super) endpoint: String,
    /// Null if there is an error.
    #[serde(serialize_with = "json::optional")]
    pub(super) node: Option<pb::GetStatusResponse>,
    pub(super) error: Option<String>,
}

impl StatusView {
    /// Where clients reach the nodes that this one knows.
    pub(super) fn peer_addresses(&self) -> Vec<String> {
        let peers = self.node.iter().flat_map(|node| &node.peers);
        peers.map(|peer| peer.client_address.clone()).filter(|address| !address.is_empty()).collect()
    }
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
            raft_role(node.raft_role()).to_owned(),
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
            let (name, message, since) = (escaped(&alarm.name), escaped(&alarm.message), time_ms(alarm.since_ms));
            text += &format!("\n{}: {name} since {since}: {message}", view.endpoint);
        }
    }
    text
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

/// Epoch, validators in trouble, and what ends soon.
fn network_text(node: &pb::GetStatusResponse) -> String {
    let mut text = format!("\nepoch {}, until {} at the latest", node.epoch, time_ms(node.epoch_ends_ms));
    for peer in &node.peers {
        let name = escaped(&peer.spiffe_id);
        if let Some(reason) = jail_text(peer.jailed()) {
            text += &format!("\njailed: {name} (raft id {}) for {reason}", peer.raft_id);
        }
        if !matches!(peer.member_status(), pb::MemberStatus::Unspecified | pb::MemberStatus::Active) {
            text += &format!("\n{}: {name} (raft id {})", member_status(peer.member_status()), peer.raft_id);
        }
    }
    if node.quorum_lost_s != 0 {
        let date = time_s(node.quorum_lost_s);
        text += &format!("\nif nobody renews, certificates of a quorum end on {date}");
    }
    for e in node.expiries.iter().take(EXPIRIES_SHOWN) {
        let kind = expiry_kind(e.kind());
        text += &format!("\nends {}: {kind} of {}", time_s(e.not_after_s), escaped(&e.subject));
    }
    text
}

/// Each suspension or removal once, with the slowest node's times.
fn cuts_text(views: &[StatusView]) -> String {
    let mut cuts: BTreeMap<(u64, &str), Vec<(&str, &pb::MemberCut)>> = BTreeMap::new();
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
        if let Some(slowest) = on_nodes.iter().map(|(_, cut)| cut.certified_to_cut_us).filter(|us| *us != 0).max() {
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
mod tests;
