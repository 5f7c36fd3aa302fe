//! Proposals, tallies, members and rules, for people and for scripts.

use std::collections::BTreeMap;

use consilium_certs::CaBundle;
use consilium_proto::parameters::values;
use consilium_proto::pb;
use consilium_proto::transaction::Topic;
use serde::Serialize;

use super::effect::{Present, effects, summary};
use crate::context::escaped;
use crate::text::{table, time_ms, time_s};
use consilium_client::ClientError;

/// A proposal.
#[derive(Debug, Serialize, PartialEq, Eq)]
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
    pub(crate) tally: Option<TallyView>,
}

/// A tally.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct TallyView {
    /// Stake in favour.
    pub(crate) approving: u64,
    /// Stake against.
    pub(crate) rejecting: u64,
    /// All stake that counts.
    pub(crate) total: u64,
    /// The least stake that accepts.
    pub(crate) needed: u64,
    /// More than this share of the total.
    pub(crate) threshold: String,
    /// The members that count.
    pub(crate) members: Vec<TallyLineView>,
}

/// A member's say.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct TallyLineView {
    /// The member.
    pub(crate) member: String,
    /// Its stake.
    pub(crate) stake: u64,
    /// approve, reject, or nothing yet.
    pub(crate) choice: Option<&'static str>,
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
            tally: answer.tally.as_ref().map(TallyView::new),
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
        }
        if let Some(tally) = &self.tally {
            text += &format!("\n{}", tally.text(self.status == "open"));
        }
        text
    }
}

impl TallyView {
    /// A tally that was checked by the SDK.
    pub(crate) fn new(tally: &pb::Tally) -> Self {
        let line = |line: &pb::TallyLine| TallyLineView {
            member: line.member.clone(),
            stake: line.stake,
            choice: choice_text(line.choice()),
        };
        Self {
            approving: tally.approving,
            rejecting: tally.rejecting,
            total: tally.total,
            needed: tally.needed,
            threshold: format!("{}/{}", tally.numerator, tally.denominator),
            members: tally.lines.iter().map(line).collect(),
        }
    }

    /// The same with a member's say added or changed.
    pub(crate) fn with(mut self, member: &str, choice: pb::BallotChoice) -> Self {
        for line in self.members.iter_mut().filter(|line| line.member == member) {
            match line.choice {
                Some("approve") => self.approving = self.approving.saturating_sub(line.stake),
                Some("reject") => self.rejecting = self.rejecting.saturating_sub(line.stake),
                Some(_) | None => {}
            }
            line.choice = choice_text(choice);
            match choice {
                pb::BallotChoice::Approve => self.approving = self.approving.saturating_add(line.stake),
                pb::BallotChoice::Reject => self.rejecting = self.rejecting.saturating_add(line.stake),
                pb::BallotChoice::Unspecified => {}
            }
        }
        self
    }

    fn outlook(&self) -> String {
        match self.needed.saturating_sub(self.approving) {
            0 => "that is enough".to_owned(),
            left if u128::from(self.rejecting) + u128::from(self.needed) > u128::from(self.total) => {
                format!("{left} more are not left: it cannot be accepted")
            }
            left => format!("{left} more are needed"),
        }
    }

    /// The arithmetic and who has said what; while the vote is `open`, also
    /// what is left to do.
    pub(crate) fn text(&self, open: bool) -> String {
        let outlook = if open { format!(": {}", self.outlook()) } else { String::new() };
        let head = format!(
            "accepted with more than {} of {} stake: {} or more\nin favour {}, against {}{outlook}\n\n",
            self.threshold, self.total, self.needed, self.approving, self.rejecting
        );
        let rows = self
            .members
            .iter()
            .map(|line| vec![line.member.clone(), line.stake.to_string(), line.choice.unwrap_or("-").to_owned()]);
        head + &table(&["MEMBER", "STAKE", "SAYS"], rows)
    }
}

/// One line each, indented.
pub(crate) fn bullets<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> String {
    lines.into_iter().map(|line| format!("  - {}\n", escaped(line.as_ref()))).collect()
}

fn choice_text(choice: pb::BallotChoice) -> Option<&'static str> {
    match choice {
        pb::BallotChoice::Unspecified => None,
        pb::BallotChoice::Approve => Some("approve"),
        pb::BallotChoice::Reject => Some("reject"),
    }
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

/// A member.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct MemberView {
    /// Its id.
    pub(crate) id: String,
    /// For people.
    pub(crate) display_name: String,
    /// active, suspended or removed.
    pub(crate) status: &'static str,
    /// Its stake.
    pub(crate) stake: u64,
    /// End of the first CA that ends.
    pub(crate) ca_not_after: Option<String>,
    /// Its nodes.
    pub(crate) nodes: Vec<NodeView>,
}

/// A node of a member.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct NodeView {
    /// Raft id.
    pub(crate) raft_id: u64,
    /// Name in the SPIFFE id.
    pub(crate) name: String,
    /// active, retiring or retired.
    pub(crate) status: &'static str,
    /// For peers.
    pub(crate) peer_address: String,
    /// For clients.
    pub(crate) client_address: String,
    /// Raft id of the node in whose place it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replaces: Option<u64>,
}

/// Members as they are shown.
pub(crate) fn member_views(members: &[pb::MemberEntry]) -> Vec<MemberView> {
    members
        .iter()
        .map(|entry| {
            let member = entry.member.clone().unwrap_or_default();
            MemberView {
                status: member_status(member.status()),
                ca_not_after: CaBundle::from_ders(&member.ca_bundle).ok().map(|bundle| time_s(bundle.not_after())),
                nodes: entry.nodes.iter().map(node_view).collect(),
                id: member.id,
                display_name: member.display_name,
                stake: member.stake,
            }
        })
        .collect()
}

fn node_view(node: &pb::NodeState) -> NodeView {
    NodeView {
        raft_id: node.raft_id,
        name: node.name.clone(),
        status: node_status(node.status()),
        peer_address: node.peer_address.clone(),
        client_address: node.client_address.clone(),
        replaces: Some(node.replaces).filter(|id| *id != 0),
    }
}

/// Standing of a member in a word.
#[must_use]
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
pub(crate) fn member_tables(views: &[MemberView]) -> String {
    let members = views.iter().map(|m| {
        let ca = m.ca_not_after.clone().unwrap_or_else(|| "-".into());
        vec![m.id.clone(), m.display_name.clone(), m.status.into(), m.stake.to_string(), ca]
    });
    let nodes = views.iter().flat_map(|m| {
        m.nodes.iter().map(|n| {
            let name = format!("{}/{}", m.id, n.name);
            let replaces = n.replaces.map_or_else(|| "-".into(), |id| id.to_string());
            let (peer, client) = (n.peer_address.clone(), n.client_address.clone());
            vec![n.raft_id.to_string(), name, n.status.into(), replaces, peer, client]
        })
    });
    let members = table(&["MEMBER", "NAME", "STATUS", "STAKE", "CA UNTIL"], members);
    members + "\n" + &table(&["ID", "NODE", "STATUS", "REPLACES", "PEERS", "CLIENTS"], nodes)
}

/// The rules in force.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct RulesView {
    /// By name.
    pub(crate) parameters: BTreeMap<&'static str, u64>,
    /// Version of the rules.
    pub(crate) protocol_version: u32,
    /// The next version and its first height, if one is accepted.
    pub(crate) next_protocol: Option<(u32, u64)>,
    /// The access policy in force.
    pub(crate) access_policy: Option<PolicyView>,
}

/// An access policy.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct PolicyView {
    /// From 1.
    pub(crate) version: u32,
    /// From this height on.
    pub(crate) height: u64,
    /// The proposal that set it.
    pub(crate) proposal: u64,
    /// Its text.
    pub(crate) text: String,
}

impl RulesView {
    /// From a node's answer.
    pub(crate) fn new(rules: &pb::GetRulesResponse) -> Self {
        let protocol = rules.protocol.unwrap_or_default();
        let next = (protocol.next_version, protocol.next_height);
        let parameters = rules.parameters.as_ref().map(values).unwrap_or_default();
        let policy = rules.access_policy.clone().map(|p| PolicyView {
            version: p.version,
            height: p.height,
            proposal: p.proposal,
            text: p.text,
        });
        Self {
            parameters: parameters.into_iter().collect(),
            protocol_version: protocol.version,
            next_protocol: Some(next).filter(|(version, _)| *version != 0),
            access_policy: policy,
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let rows = self.parameters.iter().map(|(name, value)| vec![(*name).to_owned(), value.to_string()]);
        let mut text = table(&["PARAMETER", "VALUE"], rows);
        text += &format!("\nprotocol version {}", self.protocol_version);
        if let Some((version, height)) = self.next_protocol {
            text += &format!(", version {version} from height {height} on");
        }
        match &self.access_policy {
            None => text += "\nno access policy is set\n",
            Some(policy) => {
                let (version, height, proposal) = (policy.version, policy.height, policy.proposal);
                text += &format!("\naccess policy {version}, from height {height}, by proposal {proposal}:\n");
                text.extend(policy.text.lines().map(|line| format!("  | {}\n", escaped(line))));
            }
        }
        text
    }
}
