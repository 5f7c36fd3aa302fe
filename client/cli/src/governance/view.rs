//! Proposals, tallies, members and rules, for people and for scripts.

use consilium_certs::CaBundle;
use consilium_proto::parameters::values;
use consilium_proto::pb;
use consilium_proto::transaction::Topic;
use serde::Serialize;

use super::effect::{Present, effects, summary};
use super::tally;
use crate::context::escaped;
use crate::json;
use crate::text::{table, time_ms, time_s};
use consilium_client::ClientError;

/// A proposal.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct ProposalView {
    /// Its number.
    pub(crate) number: u64,
    /// open, expired, executed, rejected, cancelled or failed.
    pub(crate) status: &'static str,
    /// In a few words.
    pub(crate) topic: String,
    /// What it does; empty in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) effects: Vec<String>,
    /// The access policy that it sets, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// SPIFFE id of the author.
    pub(crate) proposer: String,
    /// Why.
    pub(crate) reason: String,
    /// Height of its opening.
    pub(crate) opened_height: u64,
    /// Time of its opening.
    pub(crate) opened: String,
    /// End of the vote.
    pub(crate) expires: String,
    /// Height of the block that closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed_height: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) failure: String,
    /// How it stands.
    #[serde(serialize_with = "json::optional")]
    pub(crate) tally: Option<pb::Tally>,
}

impl ProposalView {
    /// A proposal; with effects, if what they are told against is given.
    pub(crate) fn new(answer: &pb::GetProposalResponse, present: Option<&Present>) -> Result<Self, ClientError> {
        let missing = || ClientError::contradiction("the answer holds no proposal");
        let proposal = answer.proposal.as_ref().ok_or_else(missing)?;
        let topic = Topic::parse(proposal.topic.as_ref().ok_or_else(missing)?)?;
        let policy = match &topic {
            Topic::AccessPolicy(text) if present.is_some() => Some(text.clone()),
            _ => None,
        };
        Ok(Self {
            number: proposal.number,
            status: status(proposal, answer.time_ms),
            topic: summary(&topic),
            effects: present.map(|present| effects(&topic, present)).unwrap_or_default(),
            policy,
            proposer: proposal.proposer.clone(),
            reason: proposal.reason.clone(),
            opened_height: proposal.opened_height,
            opened: time_ms(proposal.opened_ms),
            expires: time_ms(proposal.expires_ms),
            closed_height: Some(proposal.closed_height).filter(|height| *height != 0),
            failure: proposal.failure.clone(),
            tally: answer.tally.clone(),
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "proposal {}: {}, {}\nby {}, opened {} at height {}, vote until {}\n",
            self.number, self.topic, self.status, self.proposer, self.opened, self.opened_height, self.expires
        );
        if let Some(height) = self.closed_height {
            text += &format!("closed at height {height}\n");
        }
        for (label, content) in [("reason", &self.reason), ("failed because", &self.failure)] {
            if !content.is_empty() {
                text += &format!("{label}: {}\n", escaped(content));
            }
        }
        if !self.effects.is_empty() {
            text += &format!("\nwhat it does:\n{}", bullets(&self.effects));
        }
        if let Some(policy) = &self.policy {
            let lines = policy.lines().map(|line| format!("  | {}\n", escaped(line)));
            text += &format!("\nthe access policy:\n{}", lines.collect::<String>());
            text += &format!("as a file, to test it: consilium governance show {} --policy FILE\n", self.number);
        }
        if let Some(tally) = &self.tally {
            text += &format!("\n{}", tally::text(tally, self.status == "open"));
        }
        text
    }
}

/// One line each, indented.
pub(crate) fn bullets<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> String {
    lines.into_iter().map(|line| format!("  - {}\n", escaped(line.as_ref()))).collect()
}

fn status(proposal: &pb::ProposalState, now_ms: u64) -> &'static str {
    match proposal.status() {
        pb::ProposalStatus::Open if now_ms > proposal.expires_ms => "expired",
        pb::ProposalStatus::Open => "open",
        pb::ProposalStatus::Executed => "executed",
        pb::ProposalStatus::Rejected => "rejected",
        pb::ProposalStatus::Cancelled => "cancelled",
        pb::ProposalStatus::Failed => "failed",
        pb::ProposalStatus::Unspecified => "unknown",
    }
}

/// Proposals as a table.
pub(crate) fn proposal_table(views: &[ProposalView]) -> String {
    if views.is_empty() {
        return "no proposals\n".into();
    }
    let rows = views.iter().map(|view| {
        let tally = view.tally.as_ref();
        let numbers = tally.map_or_else(|| "-".into(), |t| format!("{} of {} needed", t.approving, t.needed));
        let topic = view.topic.clone();
        vec![view.number.to_string(), view.status.into(), topic, numbers, view.expires.clone(), view.proposer.clone()]
    });
    table(&["NUMBER", "STATUS", "TOPIC", "IN FAVOUR", "UNTIL", "BY"], rows)
}

pub(crate) fn member_status(status: pb::MemberStatus) -> &'static str {
    match status {
        pb::MemberStatus::Active => "active",
        pb::MemberStatus::Suspended => "suspended",
        pb::MemberStatus::Removed => "removed",
        pb::MemberStatus::Unspecified => "unknown",
    }
}

/// Standing of a node in a word.
pub(crate) fn node_status(status: pb::NodeStatus) -> &'static str {
    match status {
        pb::NodeStatus::Active => "active",
        pb::NodeStatus::Retiring => "retiring",
        pb::NodeStatus::Retired => "retired",
        pb::NodeStatus::Unspecified => "unknown",
    }
}

/// Members and their nodes as two tables.
pub(crate) fn member_tables(entries: &[pb::MemberEntry]) -> String {
    let members = entries.iter().filter_map(|entry| entry.member.as_ref()).map(|m| {
        let ca = CaBundle::from_ders(&m.ca_bundle).map_or_else(|_| "-".into(), |bundle| time_s(bundle.not_after()));
        vec![m.id.clone(), m.display_name.clone(), member_status(m.status()).into(), m.stake.to_string(), ca]
    });
    let nodes = entries.iter().flat_map(|entry| &entry.nodes).map(|n| {
        let name = format!("{}/{}", n.member, n.name);
        let replaces = if n.replaces == 0 { "-".into() } else { n.replaces.to_string() };
        let (peer, client) = (n.peer_address.clone(), n.client_address.clone());
        vec![n.raft_id.to_string(), name, node_status(n.status()).into(), replaces, peer, client]
    });
    let members = table(&["MEMBER", "NAME", "STATUS", "STAKE", "CA UNTIL"], members);
    members + "\n" + &table(&["ID", "NODE", "STATUS", "REPLACES", "PEERS", "CLIENTS"], nodes)
}

/// The rules in force.
pub(crate) fn rules_text(rules: &pb::GetRulesResponse) -> String {
    let parameters = rules.parameters.as_ref().map(values).unwrap_or_default();
    let mut rows: Vec<Vec<String>> =
        parameters.into_iter().map(|(name, value)| vec![name.to_owned(), value.to_string()]).collect();
    rows.sort();
    let mut text = table(&["PARAMETER", "VALUE"], rows);
    let protocol = rules.protocol.unwrap_or_default();
    text += &format!("\nprotocol version {}", protocol.version);
    if protocol.next_version != 0 {
        text += &format!(", version {} from height {} on", protocol.next_version, protocol.next_height);
    }
    match &rules.access_policy {
        None => text += "\nthe default access policy is in force (consilium policy default)\n",
        Some(policy) => {
            let (version, height, proposal) = (policy.version, policy.height, policy.proposal);
            text += &format!("\naccess policy {version}, from height {height}, by proposal {proposal}:\n");
            text.extend(policy.text.lines().map(|line| format!("  | {}\n", escaped(line))));
        }
    }
    text
}
